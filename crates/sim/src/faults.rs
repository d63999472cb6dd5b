//! What breaks, and how it is mended.

use iris_check::history::{SessionNo, What};
use iris_core::id::ShardId;

use crate::network::Node;
use crate::plan::{Fault, Kind};
use crate::store::REPLICAS;
use crate::world::World;

/// So soon after the healing everything that is left over is mended.
const RESTART_US: u64 = 300_000;

impl World {
    pub(crate) fn break_something(&mut self, fault: Fault) {
        let kind = fault.kind;
        *self.book.faults.entry(kind.name()).or_default() += 1;
        self.note(What::Fault { kind: kind.name().to_owned() });
        let (now, us) = (self.now(), fault.us);
        match kind {
            Kind::KillOwner { pod } => {
                if let Some(owner) = self.running(pod) {
                    self.end_owner(owner, us.clamp(50_000, 4_000_000));
                }
            }
            Kind::FreezeOwner { pod } => {
                if let Some(owner) = self.running(pod).filter(|o| !self.owners[*o].frozen) {
                    self.freeze(owner, us);
                }
            }
            Kind::CutReplica { pod, replica } => {
                self.cut(Node::Pod(pod), Node::Replica(replica), us);
            }
            Kind::CutStore { pod } => {
                for replica in 0..REPLICAS {
                    self.cut(Node::Pod(pod), Node::Replica(replica), us);
                }
            }
            Kind::CutOwners { pod, other } if pod != other => {
                self.cut(Node::Pod(pod), Node::Pod(other), us);
            }
            Kind::CutOwners { .. } => {}
            Kind::CutControl { pod } => self.cut(Node::Pod(pod), Node::Control, us),
            Kind::CutEdge { edge, pod } => self.cut(Node::Edge(edge), Node::Pod(pod), us),
            Kind::KillEdge { edge } => self.kill_edge(edge),
            Kind::StopReplica { replica } => self.store.stop_replica(replica, now + us),
            Kind::StopStore => {
                for replica in 1..REPLICAS {
                    self.store.stop_replica(replica, now + us);
                }
            }
            Kind::SlowReplica { replica } => self.store.slow_replica(replica, now + us),
            Kind::SlowWriter { pod } => self.store.slow_writer(pod, now + us),
            Kind::LoseWrites { replica } => self.store.lose_writes(replica, now + us),
            Kind::BlurSwaps => self.store.blur_swaps(now + us),
            Kind::JumpClock { pod, ms } => self.clock_ms[pod] += ms,
            Kind::Misjudge { pod } => {
                if let Some(owner) = self.running(pod) {
                    self.control.misjudge(owner);
                }
            }
            Kind::TwoLeaders => self.control.two_leaders(now + us),
            Kind::Move { shard, pod } => {
                let shard = ShardId::new(u16::try_from(shard).expect("few shards"));
                self.begin_move(shard, pod);
            }
        }
    }

    /// Nothing is broken any more: from now on everything must settle.
    pub(crate) fn heal(&mut self) {
        self.store.heal();
        self.control.two_leaders(0);
        for owner in 0..self.owners.len() {
            if self.owners[owner].alive && self.owners[owner].frozen {
                self.thaw(owner);
            }
        }
        for pod in 0..self.plan.pods.len() {
            if self.running(pod).is_none() {
                self.agenda.after(RESTART_US, crate::world::Event::Start { pod });
            }
        }
        for device in 0..self.devices.len() {
            self.devices[device].come_back();
            let wake = crate::people::Wake::ReadOn;
            self.agenda.after(1, crate::world::Event::Device { device, wake });
            let wake = crate::people::Wake::Connect;
            self.agenda.after(1, crate::world::Event::Device { device, wake });
        }
        self.note(What::Healed);
        self.healed = true;
    }

    /// The end: what is there is looked at.
    pub(crate) fn finish(&mut self) {
        self.read_sealed_lanes();
        for device in 0..self.devices.len() {
            if let Some((stream, head)) = self.devices[device].drained() {
                let by = self.by(device);
                self.note(What::Drained { by, stream, head });
            }
            for (group, head, read) in self.logs_of(device) {
                if read {
                    let by = self.by(device);
                    let (group, head) = (self.book.group(group), head.0);
                    self.note(What::LogDrained { by, group, head });
                }
            }
        }
        self.look_for_bodies();
        self.count_groups();
        for shard in self.count.shards() {
            let owners: Vec<SessionNo> = self.control_owner(shard);
            self.note(What::Desired { shard: shard.into(), owners, declared: true });
        }
        self.note(What::End);
        let counts = self.store.counts.clone();
        let sometimes = &mut self.book.sometimes;
        sometimes.late_blocks += counts.rows_behind_seal;
        sometimes.unknown_swaps_done += counts.unknown_swaps_done;
        sometimes.unknown_swaps_undone += counts.unknown_swaps_undone;
        sometimes.old_reads += counts.old_reads;
        sometimes.unknown_writes += counts.unknown_writes;
    }
}
