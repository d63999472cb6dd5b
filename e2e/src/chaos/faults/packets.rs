//! Faults of packets, at the node of the owner: everything from and to its pod passes there.

use std::time::{Duration, Instant};

use anyhow::Result;
use xtask::cluster::{Fate, Flow, Place};

use super::{Inflicted, tcp};
use crate::chaos::catalogue::{Delay, Peer, Way};
use crate::chaos::proof::Counter;
use crate::chaos::queue::{Delayer, QUEUE};
use crate::chaos::scene::Scene;
use crate::chaos::victims::Victims;

/// So many packets must have met a fault: a single one may be a stray.
const PACKETS_MIN: f64 = 10.0;
/// How long a state of a flapping link lasts, in seconds.
const FLAP_S: std::ops::Range<f64> = 1.0..5.0;
/// What is in a queue gets out of it before the program behind it ends, in seconds.
const DRAIN_S: f64 = 0.3;

pub(super) fn interfere(
    scene: &Scene,
    victims: &Victims,
    (peer, way): (Peer, Way),
    fate: Fate,
    seconds: u32,
) -> Result<Inflicted> {
    let owner = victims.owner()?;
    let twice = || tcp::count(scene, owner, &tcp::DUPLICATES);
    let before = twice()?;
    for flow in flows(victims, peer, way)? {
        scene.cluster.interfere(owner.node, flow, fate)?;
    }
    scene.pause(seconds.into())?;
    let met = scene.cluster.packets_met(owner.node)?;
    scene.cluster.spare(owner.node);
    let mut inflicted = Inflicted::now(vec![packets(what(fate), met)]);
    if matches!(fate, Fate::Double(_)) {
        // The rule counts what it copied, whether or not a copy ever arrived.
        let twice = twice()?.saturating_sub(before);
        inflicted.proof.push(packets("segments that the owner got a second time", twice));
    }
    Ok(inflicted)
}

/// Cut and mended, in turn. It begins cut and ends mended.
pub(super) fn flap(
    scene: &Scene,
    victims: &Victims,
    peer: Peer,
    seconds: u32,
) -> Result<Inflicted> {
    let node = victims.owner()?.node;
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let (mut cuts, mut dropped) = (0, 0);
    while Instant::now() < until {
        for flow in flows(victims, peer, Way::Both)? {
            scene.cluster.interfere(node, flow, Fate::Drop)?;
        }
        scene.pause(scene.draw(FLAP_S))?;
        let met = scene.cluster.packets_met(node)?;
        scene.cluster.spare(node);
        cuts += u32::from(met > 0);
        dropped += met;
        if Instant::now() < until {
            scene.pause(scene.draw(FLAP_S))?;
        }
    }
    let cuts = Counter::at_least(2.0, "cuts that dropped packets", cuts.into());
    Ok(Inflicted::now(vec![cuts, packets("packets dropped", dropped)]))
}

pub(super) fn delay(
    scene: &Scene,
    victims: &Victims,
    delay: Delay,
    seconds: u32,
) -> Result<Inflicted> {
    let owner = victims.owner()?;
    let node = owner.node;
    let early = || tcp::count(scene, owner, &tcp::OUT_OF_ORDER);
    let before = early()?;
    let seed = scene.draw(0.0..1e9).to_bits();
    let delayer = Delayer::start(Place::Node(node), delay, seed)?;
    for flow in flows(victims, Peer::Anyone, Way::Both)? {
        scene.cluster.interfere(node, flow, Fate::Queue(QUEUE))?;
    }
    scene.pause(seconds.into())?;
    let met = scene.cluster.packets_met(node)?;
    scene.cluster.spare(node);
    scene.pause(DRAIN_S)?;
    let done = delayer.end()?;
    let held_ms = done.held.as_secs_f64() * 1_000.0;
    #[expect(clippy::cast_precision_loss, reason = "fewer packets than an f64 counts exactly")]
    let mean_ms = held_ms / done.packets.max(1) as f64;
    let mut proof = vec![
        packets("packets that met the queue", met),
        packets("packets that went through it", done.packets),
        Counter::at_least(f64::from(delay.ms), "mean delay in ms", mean_ms),
    ];
    if delay.held_percent > 0 {
        proof.push(packets("packets that later ones overtook", done.overtaken));
        let early = early()?.saturating_sub(before);
        proof.push(packets("segments that the owner got too early", early));
    }
    Ok(Inflicted::now(proof))
}

pub(super) fn bandwidth(
    scene: &Scene,
    victims: &Victims,
    kilobits: u32,
    seconds: u32,
) -> Result<Inflicted> {
    let place = Place::Node(victims.owner()?.node);
    scene.cluster.bandwidth(place, kilobits)?;
    scene.pause(seconds.into())?;
    let held_back = scene.cluster.packets_held_back(place)?;
    scene.cluster.free_bandwidth(place);
    Ok(Inflicted::now(vec![packets("times that the limit held a packet back", held_back)]))
}

fn flows(victims: &Victims, peer: Peer, way: Way) -> Result<Vec<Flow>> {
    let owner = Some(victims.owner()?.ip);
    let peers = victims.peers(peer)?;
    let peers = peers.map_or_else(|| vec![None], |peers| peers.into_iter().map(Some).collect());
    let (to, from) = (way != Way::FromOwner, way != Way::ToOwner);
    let flows = peers.into_iter().flat_map(|peer| {
        let to = to.then_some(Flow { from: peer, to: owner });
        let from = from.then_some(Flow { from: owner, to: peer });
        to.into_iter().chain(from)
    });
    Ok(flows.collect())
}

fn what(fate: Fate) -> &'static str {
    match fate {
        Fate::Drop => "packets dropped",
        Fate::Reset => "packets answered by a reset",
        Fate::Lose(_) => "packets lost",
        Fate::Double(_) => "packets doubled",
        Fate::Queue(_) => "packets queued",
    }
}

fn packets(name: &str, count: u64) -> Counter {
    #[expect(clippy::cast_precision_loss, reason = "fewer packets than an f64 counts exactly")]
    Counter::at_least(PACKETS_MIN, name, count as f64)
}
