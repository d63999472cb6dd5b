//! The way from this machine to a Service or a pod: its own address where there is a route to it, a
//! forwarded port elsewhere.
//!
//! Never leaves a forwarded port open longer than it is held.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::{Cluster, state::Backend};

/// An address at which a Service or a pod answers while this is held.
#[derive(Debug)]
pub(crate) struct Reach {
    address: SocketAddr,
    forwarder: Option<Forwarder>,
}

/// `kubectl port-forward`, which ends with this.
#[derive(Debug)]
struct Forwarder(Child);

impl Reach {
    /// The way to a port of a Service.
    pub(crate) fn service(
        cluster: &Cluster,
        namespace: &str,
        service: &str,
        port: u16,
    ) -> Result<Self> {
        if !matches!(cluster.state.backend, Backend::Local { .. }) {
            return Self::forward(cluster, namespace, &format!("service/{service}"), port);
        }
        let host = cluster.service_ip(namespace, service)?.into();
        Ok(Self { address: SocketAddr::new(host, port), forwarder: None })
    }

    /// A port of this machine that is forwarded to one of `what`, such as `pod/name`.
    pub(crate) fn forward(
        cluster: &Cluster,
        namespace: &str,
        what: &str,
        port: u16,
    ) -> Result<Self> {
        let ports = format!(":{port}");
        let forward = ["-n", namespace, "port-forward", what, &ports];
        let argv = cluster.kubectl_command().args(forward).into_argv();
        let (program, args) = argv.0.split_first().context("no command")?;
        let child = Command::new(program)
            .args(args)
            .envs(argv.1)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut forwarder = Forwarder(child);
        let mut output = BufReader::new(forwarder.0.stdout.take().context("no output")?);
        let mut line = String::new();
        // "Forwarding from 127.0.0.1:PORT -> ..."
        output.read_line(&mut line)?;
        let address = line.split(' ').nth(2).and_then(|address| address.parse().ok());
        let address = address.with_context(|| format!("no port is forwarded to {what}"))?;
        // It tells of each connection, and would wait for a reader.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Ok(Self { address, forwarder: Some(forwarder) })
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it still leads there: a forwarder ends with its pod.
    pub(crate) fn holds(&mut self) -> bool {
        self.forwarder.as_mut().is_none_or(|Forwarder(child)| matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
