//! Streams of edges: their connections, and what becomes of what clients send.

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_core::id::ShardId;
use iris_core::shard::{Conn, Input, LinkNo};
use iris_proto::peer::{Moved, OwnerItem, owner_item};

use super::super::inputs::Whereabouts;
use super::Lane;
use crate::queue::{Pushed, Queue};

/// A stream of an edge.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) out: Arc<Queue<OwnerItem>>,
    /// Its attached connections, with the shard of each.
    conns: BTreeMap<u64, ShardId>,
}

impl Lane {
    pub(super) fn open_link(&mut self, link: LinkNo, out: Arc<Queue<OwnerItem>>) {
        self.links.insert(link, Link { out, conns: BTreeMap::new() });
    }

    pub(super) fn close_link(&mut self, link: LinkNo) {
        self.sources.remove(&link);
        if self.links.remove(&link).is_some() {
            self.engine.drop_link(self.deps.clock.now(), link);
        }
    }

    /// Inputs of clients, in order; those of shards that are not served here are told so.
    pub(super) fn clients(&mut self, link: LinkNo, inputs: Vec<(ShardId, Input)>) {
        for (shard, input) in inputs {
            let Some(open) = self.links.get_mut(&link) else { return };
            match &input {
                Input::Attach(attach) => {
                    let conn = attach.conn.id;
                    if self.engine.shard(shard).is_none() {
                        self.turn_away(link, conn, shard);
                        continue;
                    }
                    open.conns.insert(conn, shard);
                }
                Input::Detach { conn } => {
                    open.conns.remove(&conn.id);
                }
                _ => {}
            }
            self.feed(shard, input);
        }
    }

    fn turn_away(&mut self, link: LinkNo, conn: u64, shard: ShardId) {
        let whereabouts = self.moved.get(&shard).cloned().unwrap_or_default();
        self.send_item(link, conn, owner_item::Kind::Moved(moved_to_wire(shard, &whereabouts)), 64);
    }

    /// Tells every edge where a shard went.
    pub(super) fn tell_moved(&mut self, shard: ShardId, to: Whereabouts) {
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.send_item(link, 0, owner_item::Kind::Moved(moved_to_wire(shard, &to)), 64);
            if let Some(link) = self.links.get_mut(&link) {
                link.conns.retain(|_, of| *of != shard);
            }
        }
        self.moved.insert(shard, to);
    }

    /// Sends an item on a stream; a stream that falls behind gets no more deliveries until it catches up.
    pub(super) fn send_item(
        &mut self,
        link: LinkNo,
        conn: u64,
        kind: owner_item::Kind,
        bytes: usize,
    ) {
        let delivery = matches!(&kind, owner_item::Kind::Frame(frame) if frame.entries > 0);
        let Some(out) = self.out(link) else { return };
        match out.push(OwnerItem { conn, kind: Some(kind) }, bytes) {
            Pushed::Fine => {
                if delivery && out.is_congested() {
                    self.block(link, conn);
                }
            }
            Pushed::Congested => {
                let conns = self.links.get(&link).map(|l| l.conns.keys().copied().collect());
                let conns: Vec<u64> = conns.unwrap_or_default();
                for conn in conns {
                    self.block(link, conn);
                }
            }
            Pushed::Gone => {
                self.deps.metrics.streams_given_up.inc();
                self.close_link(link);
            }
        }
    }

    fn block(&mut self, link: LinkNo, conn: u64) {
        let shard = self.links.get(&link).and_then(|open| open.conns.get(&conn)).copied();
        if let Some(shard) = shard.and_then(|shard| self.engine.shard_mut(shard)) {
            shard.block(Conn { link, id: conn });
        }
    }

    pub(super) fn link_caught_up(&mut self, link: LinkNo) {
        let Some(open) = self.links.get(&link) else { return };
        let conns: Vec<_> = open.conns.iter().map(|(conn, shard)| (*conn, *shard)).collect();
        for (id, shard) in conns {
            self.feed(shard, Input::Writable { conn: Conn { link, id } });
        }
    }

    /// The shard closed a connection: the stream may go on without it.
    pub(super) fn forget_conn(&mut self, conn: Conn) {
        if let Some(link) = self.links.get_mut(&conn.link) {
            link.conns.remove(&conn.id);
        }
    }
}

pub(super) fn moved_to_wire(shard: ShardId, to: &Whereabouts) -> Moved {
    Moved {
        shard: shard.into(),
        epoch: to.epoch.0,
        session: to.session.map(|s| s.to_bytes().to_vec().into()).unwrap_or_default(),
        address: to.address.clone(),
    }
}
