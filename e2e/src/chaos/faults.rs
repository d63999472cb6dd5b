//! The drivers: each makes one kind of fault real, holds it, ends it, and tells what proves it.
//!
//! Never judges what Iris makes of it. What a driver that fails leaves behind, the cell ends.

mod packets;
mod processes;
mod tcp;

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::catalogue::Action;
use super::proof::Counter;
use super::scene::Scene;
use super::victims::{Pod, Victims};

/// A fault that was.
#[derive(Debug)]
pub(crate) struct Inflicted {
    /// From here on nothing acts on the cluster any more.
    pub(crate) ended: Instant,
    /// What proves it.
    pub(crate) proof: Vec<Counter>,
    /// Whose containers must be others afterwards.
    pub(crate) killed: Vec<Killed>,
}

/// A container that was killed.
#[derive(Debug, Clone)]
pub(crate) struct Killed {
    pub(crate) pod: Pod,
    /// Its identifier; what comes after it has another.
    pub(crate) container: String,
}

impl Inflicted {
    fn now(proof: Vec<Counter>) -> Self {
        Self { ended: Instant::now(), proof, killed: Vec::new() }
    }
}

/// Makes a fault happen, from its beginning to its end.
pub(crate) fn inflict(scene: &Scene, victims: &Victims, action: &Action) -> Result<Inflicted> {
    match *action {
        Action::Packets { peer, way, fate, seconds } => {
            packets::interfere(scene, victims, (peer, way), fate, seconds)
        }
        Action::Flap { peer, seconds } => packets::flap(scene, victims, peer, seconds),
        Action::Delay { delay, seconds } => packets::delay(scene, victims, delay, seconds),
        Action::Bandwidth { kilobits, seconds } => {
            packets::bandwidth(scene, victims, kilobits, seconds)
        }
        Action::Kill(roles) => processes::kill(scene, victims, roles),
        Action::Pause { by, seconds } => processes::pause(scene, &[victims.owner()?], by, seconds),
        Action::EtcdQuorum { seconds } => {
            let majority = victims.etcd.len() / 2 + 1;
            let members: Vec<_> = victims.etcd.iter().take(majority).collect();
            processes::pause(scene, &members, super::catalogue::Means::Freezer, seconds)
        }
        Action::ApiServer { seconds } => processes::api_server(scene, seconds),
        Action::FullDisk => {
            let cassandra = victims.cassandra.first().context("there is no Cassandra")?;
            processes::full_disk(scene, cassandra)
        }
        Action::SlowDisk { writes, seconds } => {
            let cassandra = victims.cassandra.first().context("there is no Cassandra")?;
            processes::slow_disk(scene, cassandra, writes, seconds)
        }
    }
}
