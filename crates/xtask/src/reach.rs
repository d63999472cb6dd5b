//! The way from this machine to a Service: its own address where there is a route to it, a
//! forwarded port elsewhere.
//!
//! Never leaves a forwarded port open longer than it is held.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{cluster::state::Backend, up::Job};

/// An address at which a Service answers while this is held.
#[derive(Debug)]
pub(crate) struct Reach {
    address: SocketAddr,
    forward: Option<Forward>,
}

/// The forwarder, and its output: it ends when it cannot tell of a connection.
#[derive(Debug)]
struct Forward {
    child: Child,
    _output: BufReader<ChildStdout>,
}

impl Reach {
    /// The way to a port of a Service.
    pub(crate) fn service(job: &Job, namespace: &str, service: &str, port: u16) -> Result<Self> {
        if !matches!(job.cluster()?.state().backend, Backend::Local { .. }) {
            return forward(job, namespace, service, port);
        }
        let host = job.cluster()?.service_ip(namespace, service)?.into();
        Ok(Self { address: SocketAddr::new(host, port), forward: None })
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        if let Some(Forward { child, .. }) = &mut self.forward {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn forward(job: &Job, namespace: &str, service: &str, port: u16) -> Result<Reach> {
    let what = [format!("service/{service}"), format!(":{port}")];
    let argv = job.kubectl()?.args(["-n", namespace, "port-forward"]).args(what).into_argv();
    let (program, args) = argv.0.split_first().context("no command")?;
    let mut child = Command::new(program)
        .args(args)
        .envs(argv.1)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().context("no output")?);
    // "Forwarding from 127.0.0.1:PORT -> ..."
    output.read_line(&mut line)?;
    let forward = Some(Forward { child, _output: output });
    let address = line.split(' ').nth(2).and_then(|address| address.parse().ok());
    let address = address.with_context(|| format!("no port is forwarded to {service}"))?;
    Ok(Reach { address, forward })
}
