//! The catalogue of faults, as data.
//!
//! The *owner* of a fault is the one with the most shards when it strikes.

use xtask::cluster::Fate;

/// A row of the matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// By what it is selected.
    pub name: &'static str,
    /// What happens, for people.
    pub what: &'static str,
    /// What happens.
    pub action: Action,
    /// What becomes of the epochs of the owner's shards: part of the proof.
    pub epochs: Epochs,
}

/// What becomes of the epochs of an owner's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epochs {
    /// It may lose them, and may not.
    Any,
    /// Somebody else has some of them.
    Raised,
    /// It keeps them, unless they move anyway.
    Kept,
}

/// A column of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Nothing else happens.
    Alone,
    /// The fault hits while all shards of the owner move away by `IrisShardMigration`s.
    Move,
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// The owner's packets from or to others have a fate.
    Packets {
        /// Which others.
        peer: Peer,
        /// Which direction.
        way: Way,
        /// What becomes of them.
        fate: Fate,
        /// For how long.
        seconds: u32,
    },
    /// The owner is cut off and reconnected every one to five seconds.
    Flap {
        /// From whom.
        peer: Peer,
        /// For how long in all.
        seconds: u32,
    },
    /// The owner's packets come later, both ways.
    Delay {
        /// By how much.
        delay: Delay,
        /// For how long.
        seconds: u32,
    },
    /// What the owner's node sends is limited.
    Bandwidth {
        /// To so much a second.
        kilobits: u32,
        /// For how long.
        seconds: u32,
    },
    /// Containers die as by `kill -9`, all at once.
    Kill(&'static [Role]),
    /// The owner stands still.
    Pause {
        /// By which means.
        by: Means,
        /// For how long.
        seconds: u32,
    },
    /// So many members of etcd stand still that the others decide nothing.
    EtcdQuorum {
        /// For how long.
        seconds: u32,
    },
    /// The API server is dead.
    ApiServer {
        /// For how long.
        seconds: u32,
    },
    /// Cassandra's commit log finds no room for its next segment, and Cassandra dies of it.
    FullDisk,
    /// Cassandra's disk is slow.
    SlowDisk {
        /// How many writes it takes a second.
        writes: u32,
        /// For how long.
        seconds: u32,
    },
}

/// With whom the owner talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Every Cassandra node.
    Cassandra,
    /// Every etcd member.
    Etcd,
    /// The owner with the most shards but one.
    NextOwner,
    /// All other owners and all edges.
    Dataplane,
    /// Everybody but its own node.
    Anyone,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Both.
    Both,
    /// To the owner.
    ToOwner,
    /// From the owner.
    FromOwner,
}

/// By how much packets are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// All of them.
    pub ms: u32,
    /// And by up to so much more, in their order.
    pub jitter_ms: u32,
    /// So many of a hundred are held back further: later ones overtake them.
    pub held_percent: u32,
    /// By so much.
    pub held_ms: u32,
}

/// Whose container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The owner with the most shards.
    Owner,
    /// The owner with the most shards but one.
    NextOwner,
    /// An edge.
    Edge,
    /// The control plane that leads.
    ControlPlane,
    /// The operator that leads.
    Operator,
    /// A member of etcd.
    Etcd,
    /// A Cassandra node.
    Cassandra,
}

/// How a process is made to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// SIGSTOP.
    Signal,
    /// The freezer of its control group.
    Freezer,
}

const fn packets(peer: Peer, way: Way, fate: Fate, seconds: u32) -> Action {
    Action::Packets { peer, way, fate, seconds }
}

const fn fault(name: &'static str, what: &'static str, action: Action) -> Fault {
    Fault { name, what, action, epochs: Epochs::Any }
}

/// One after which the owner's shards have new epochs.
const fn deposing(name: &'static str, what: &'static str, action: Action) -> Fault {
    Fault { name, what, action, epochs: Epochs::Raised }
}

/// One that costs the owner nothing.
const fn harmless(name: &'static str, what: &'static str, action: Action) -> Fault {
    Fault { name, what, action, epochs: Epochs::Kept }
}

const LATENCY: Delay = Delay { ms: 100, jitter_ms: 20, held_percent: 0, held_ms: 0 };
const REORDERING: Delay = Delay { ms: 0, jitter_ms: 0, held_percent: 20, held_ms: 40 };

/// Every fault, in the order of a full run.
pub const FAULTS: &[Fault] = &[
    fault(
        "partition-drop",
        "an owner and Cassandra, both ways, packets vanish, 20 s",
        packets(Peer::Cassandra, Way::Both, Fate::Drop, 20),
    ),
    fault(
        "partition-reset",
        "an owner and Cassandra, both ways, connections are reset, 20 s",
        packets(Peer::Cassandra, Way::Both, Fate::Reset, 20),
    ),
    fault(
        "partition-one-way-in",
        "Cassandra gets what an owner asks, its answers vanish, 15 s",
        packets(Peer::Cassandra, Way::ToOwner, Fate::Drop, 15),
    ),
    fault(
        "partition-one-way-out",
        "what an owner asks of Cassandra vanishes, 15 s",
        packets(Peer::Cassandra, Way::FromOwner, Fate::Drop, 15),
    ),
    fault(
        "partition-bridge",
        "two owners do not reach each other, everybody else reaches both, 15 s",
        packets(Peer::NextOwner, Way::Both, Fate::Drop, 15),
    ),
    // Its lease ends, and it serves on: with a stream to the leader it is alive.
    harmless(
        "partition-etcd",
        "an owner and etcd, both ways, longer than the owner's lease of 5 s, 20 s",
        packets(Peer::Etcd, Way::Both, Fate::Drop, 20),
    ),
    deposing(
        "partition-isolated",
        "an owner and everybody, both ways, 20 s",
        packets(Peer::Anyone, Way::Both, Fate::Drop, 20),
    ),
    fault(
        "partition-flapping",
        "an owner and Cassandra, cut and mended every 1 to 5 s, 24 s",
        Action::Flap { peer: Peer::Cassandra, seconds: 24 },
    ),
    fault(
        "loss-1",
        "1 % of an owner's packets are lost, both ways, 15 s",
        packets(Peer::Anyone, Way::Both, Fate::Lose(1.0), 15),
    ),
    fault(
        "loss-10",
        "10 % of an owner's packets are lost, both ways, 15 s",
        packets(Peer::Anyone, Way::Both, Fate::Lose(10.0), 15),
    ),
    fault(
        "loss-30",
        "30 % of an owner's packets are lost, both ways, 15 s",
        packets(Peer::Anyone, Way::Both, Fate::Lose(30.0), 15),
    ),
    fault(
        "latency-100ms",
        "an owner's packets come 100 to 120 ms late, both ways, 15 s",
        Action::Delay { delay: LATENCY, seconds: 15 },
    ),
    fault(
        "reordering",
        "20 % of an owner's packets are overtaken by those of the next 40 ms, both ways, 15 s",
        Action::Delay { delay: REORDERING, seconds: 15 },
    ),
    fault(
        "duplication",
        "30 % of what other owners and the edges send to an owner comes twice, 15 s",
        packets(Peer::Dataplane, Way::ToOwner, Fate::Double(30.0), 15),
    ),
    fault(
        "bandwidth",
        "the node of an owner sends at most 400 kbit/s (token bucket), 15 s",
        Action::Bandwidth { kilobits: 400, seconds: 15 },
    ),
    deposing("kill-owner", "kill -9 of an owner", Action::Kill(&[Role::Owner])),
    fault("kill-edge", "kill -9 of an edge", Action::Kill(&[Role::Edge])),
    fault(
        "kill-controlplane",
        "kill -9 of the control plane that leads",
        Action::Kill(&[Role::ControlPlane]),
    ),
    fault("kill-operator", "kill -9 of the operator that leads", Action::Kill(&[Role::Operator])),
    fault("kill-etcd", "kill -9 of a member of etcd", Action::Kill(&[Role::Etcd])),
    fault(
        "kill-cassandra",
        "kill -9 of Cassandra, until it is there again",
        Action::Kill(&[Role::Cassandra]),
    ),
    deposing(
        "kill-owner-edge",
        "kill -9 of an owner and an edge at once",
        Action::Kill(&[Role::Owner, Role::Edge]),
    ),
    deposing(
        "kill-two-owners",
        "kill -9 of two owners at once",
        Action::Kill(&[Role::Owner, Role::NextOwner]),
    ),
    fault(
        "stop-1s",
        "SIGSTOP of an owner for 1 s",
        Action::Pause { by: Means::Signal, seconds: 1 },
    ),
    deposing(
        "stop-8s",
        "SIGSTOP of an owner for 8 s, longer than its lease of 5 s",
        Action::Pause { by: Means::Signal, seconds: 8 },
    ),
    deposing(
        "stop-30s",
        "SIGSTOP of an owner for 30 s",
        Action::Pause { by: Means::Signal, seconds: 30 },
    ),
    deposing(
        "freeze-15s",
        "an owner is frozen by its control group for 15 s",
        Action::Pause { by: Means::Freezer, seconds: 15 },
    ),
    fault(
        "etcd-quorum-loss",
        "a majority of etcd's members is frozen for 20 s",
        Action::EtcdQuorum { seconds: 20 },
    ),
    fault(
        "apiserver-down",
        "kube-apiserver is killed and started 30 s later",
        Action::ApiServer { seconds: 30 },
    ),
    fault(
        "slow-disk",
        "Cassandra may write to its disk 20 times a second, 15 s",
        Action::SlowDisk { writes: 20, seconds: 15 },
    ),
    fault(
        "full-disk",
        "Cassandra dies as it finds no room for a new segment of its commit log, until it is there again",
        Action::FullDisk,
    ),
];

/// A fault that somebody may look for and that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// What it would be called.
    pub name: &'static str,
    /// Why it is not there.
    pub why: &'static str,
}

/// What is left out.
pub const LEFT_OUT: &[LeftOut] = &[LeftOut {
    name: "clock-jump",
    why: "an owner reads its time through the Clock seam, which nothing outside of the process reaches, and \
              pods of a node share the machine's clock; `cargo xtask sim` makes clocks jump",
}];

/// The cells that `cargo xtask test` runs: one of packets, and one of a kill, crossed with moves. What
/// stands still for long, and what of the whole region dies, its other scenarios have.
pub const SHORT: &[(&str, Column)] =
    &[("partition-one-way-in", Column::Alone), ("kill-owner", Column::Move)];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        let names = FAULTS.iter().map(|fault| fault.name);
        let names: Vec<_> = names.chain(LEFT_OUT.iter().map(|left| left.name)).collect();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(names.iter().all(|name| name.chars().all(plain)), "{names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn the_short_set_is_of_the_catalogue() {
        for (name, _) in SHORT {
            assert!(FAULTS.iter().any(|fault| fault.name == *name), "{name}");
        }
        assert!(SHORT.iter().any(|(_, column)| *column == Column::Move));
    }
}
