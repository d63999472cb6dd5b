//! The way from this machine to a Service or a pod: its own address where there is a route to it, a
//! forwarded port elsewhere.
//!
//! Never leaves a forwarded port open longer than it is held.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::Child,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{Cluster, state::Backend};

/// How long an API server may take to open a way.
const OPENING_MAX: Duration = Duration::from_secs(20);

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
        let mut forwarder = Forwarder(cluster.kubectl_command().args(forward).start()?);
        let output = forwarder.0.stdout.take().context("no output")?;
        let (first, told) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            // Whoever asked may have given up.
            let _ = first.send(lines.next());
            // It tells of each connection, and would wait for a reader.
            lines.for_each(drop);
        });
        let line = told.recv_timeout(OPENING_MAX).ok().flatten().unwrap_or_default();
        // "Forwarding from 127.0.0.1:PORT -> ..."
        let address = line.split(' ').nth(2).and_then(|address| address.parse().ok());
        let address = address.with_context(|| {
            format!("no port is forwarded to {what}; see {}", cluster.env.log().display())
        })?;
        Ok(Self { address, forwarder: Some(forwarder) })
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it still leads there: a forwarder ends with its pod, and when a connection through it
    /// ends badly.
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
