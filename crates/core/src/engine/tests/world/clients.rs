//! The people of the world: each a client with a disk of its own, as an SDK is.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::World;
use crate::account::{InboxContent, InboxItem};
use crate::clock::WallMs;
use crate::id::{AccountId, DeviceNo, MsgId, ShardId, TenantNo};
use crate::message::{Address, Bodies};
use crate::seq::{ClientSeq, ConvSeq, InboxSeq};
use crate::shard::{Attach, Conn, Input, LinkNo, Send, ToConn};

pub(super) struct Person {
    pub(super) account: AccountId,
    pub(super) conn: Option<Conn>,
    /// The connection that was told that it is attached: nothing else may come before.
    pub(super) greeted: Option<Conn>,
    pub(super) cursor: InboxSeq,
    pub(super) stream_gen: u32,
    pub(super) next: u64,
    /// Sends without ack, as the client's own disk has them.
    pub(super) unacked: VecDeque<(u64, Address)>,
    pub(super) acked: BTreeSet<u64>,
    pub(super) refused: BTreeSet<u64>,
    pub(super) received: Vec<(usize, u64)>,
    pub(super) own: Vec<u64>,
    pub(super) notices: usize,
    pub(super) delivered: usize,
    pub(super) reading: bool,
    pub(super) to_server: VecDeque<Input>,
}

impl Person {
    pub(super) fn new(account: AccountId) -> Self {
        Self {
            account,
            conn: None,
            greeted: None,
            cursor: InboxSeq(0),
            stream_gen: 0,
            next: 1,
            unacked: VecDeque::new(),
            acked: BTreeSet::new(),
            refused: BTreeSet::new(),
            received: Vec::new(),
            own: Vec::new(),
            notices: 0,
            delivered: 0,
            reading: true,
            to_server: VecDeque::new(),
        }
    }

    /// An edge attaches a connection of the device that began at `begun`.
    fn attach(&mut self, conn: Conn, begun: WallMs) {
        self.to_server.push_back(Input::Attach(Attach {
            conn,
            account: self.account,
            device: DeviceNo(1),
            cursor: self.cursor,
            delivered: self.cursor,
            stream_gen: self.stream_gen,
            window_messages: 256,
            window_bytes: 256 * 1024,
            marks: 0,
            begun,
        }));
    }
}

impl World {
    pub(in crate::engine::tests) fn send(&mut self, from: usize, to: usize) {
        let to = Address::Account(self.people[to].account);
        self.send_address(from, to);
    }

    pub(in crate::engine::tests) fn send_to_nobody(&mut self, from: usize) {
        let nobody = AccountId::in_shard(ShardId::new(3), self.count, TenantNo(0), u128::MAX);
        self.send_address(from, Address::Account(nobody));
    }

    fn send_address(&mut self, from: usize, to: Address) {
        self.ensure_connected(from);
        let person = &mut self.people[from];
        let seq = person.next;
        person.next += 1;
        person.unacked.push_back((seq, to));
        self.transmit(from, seq, to);
    }

    fn transmit(&mut self, from: usize, seq: u64, to: Address) {
        let person = &mut self.people[from];
        let Some(conn) = person.conn else { return };
        let mut id = [0; 16];
        id[0] = u8::try_from(from).unwrap();
        id[8..].copy_from_slice(&seq.to_be_bytes());
        let send = Send {
            client_seq: ClientSeq(seq),
            msg_id: MsgId(id),
            to,
            bodies: Bodies::Shared(Bytes::copy_from_slice(&id)),
            expires_at_ms: 0,
            about: None,
            change: None,
            roster: ConvSeq(0),
        };
        person.to_server.push_back(Input::Send { conn, send });
    }

    pub(super) fn ensure_connected(&mut self, n: usize) {
        if self.people[n].conn.is_none() {
            self.reconnect(n);
        }
    }

    pub(super) fn reconnect(&mut self, n: usize) {
        self.conns += 1;
        let conn = Conn { link: LinkNo(1), id: self.conns };
        let person = &mut self.people[n];
        person.conn = Some(conn);
        person.to_server.clear();
        person.attach(conn, self.now.wall);
    }

    /// An edge attaches a connection that its client left unnoticed, before the live one began. Answers
    /// whether the live one is served still, once everything has arrived.
    pub(in crate::engine::tests) fn survives_a_remnant(&mut self, n: usize) -> bool {
        self.ensure_connected(n);
        self.run_quietly();
        let (live, conn) = (self.people[n].conn, Conn { link: LinkNo(2), id: 1 });
        self.people[n].attach(conn, WallMs(0));
        self.network();
        self.run_quietly();
        live.is_some() && self.people[n].conn == live
    }

    /// Everything under way between clients and the owner arrives.
    pub(super) fn network(&mut self) {
        for n in 0..self.people.len() {
            while let Some(input) = self.people[n].to_server.pop_front() {
                let shard = self.people[n].account.shard(self.count);
                self.feed(shard, input);
            }
        }
        while let Some((conn, what)) = self.to_clients.pop_front() {
            if let Some(n) = self.people.iter().position(|p| p.conn == Some(conn)) {
                self.client(n, conn, what);
            }
        }
    }

    fn client(&mut self, n: usize, conn: Conn, what: ToConn) {
        let person = &mut self.people[n];
        // These clients send without waiting for the greeting, and are told to send again.
        let early =
            matches!(what, ToConn::Attached(_) | ToConn::Closed { .. } | ToConn::SendNack { .. });
        assert!(early || person.greeted == Some(conn), "before the greeting: {what:?}");
        match what {
            ToConn::Attached(attached) => {
                person.greeted = Some(conn);
                assert!(!attached.snapshot_needed, "no cursor is ever too old here");
                person.stream_gen = attached.stream_gen;
                let unacked: Vec<_> = person.unacked.iter().copied().collect();
                for (seq, to) in unacked {
                    self.transmit(n, seq, to);
                }
            }
            ToConn::SendAck { client_seq, refusals } => {
                while person.unacked.front().is_some_and(|(seq, _)| *seq <= client_seq.0) {
                    let (seq, _) = person.unacked.pop_front().unwrap();
                    person.acked.insert(seq);
                }
                for (seq, _) in refusals {
                    person.acked.remove(&seq.0);
                    person.refused.insert(seq.0);
                }
            }
            ToConn::SendNack { client_seq, .. } => {
                let again: Vec<_> = person
                    .unacked
                    .iter()
                    .filter(|(seq, _)| *seq >= client_seq.0)
                    .copied()
                    .collect();
                for (seq, to) in again {
                    self.transmit(n, seq, to);
                }
            }
            ToConn::Deliver { items, .. } => {
                person.delivered += items.len();
                for item in items {
                    let expected = self.people[n].cursor.next();
                    assert!(item.seq <= expected, "a gap in the stream");
                    if item.seq == expected {
                        self.people[n].cursor = item.seq;
                        self.apply(n, &item);
                    }
                }
                let person = &mut self.people[n];
                if person.reading {
                    person.to_server.push_back(Input::Ack { conn, seq: person.cursor });
                }
            }
            ToConn::Closed { .. } => person.conn = None,
            ToConn::Marks { .. }
            | ToConn::Presence { .. }
            | ToConn::Typing(_)
            | ToConn::Head { .. }
            | ToConn::LogPage { .. }
            | ToConn::Page { .. }
            | ToConn::Result { .. } => {}
        }
    }

    fn apply(&mut self, n: usize, item: &InboxItem) {
        match &item.content {
            InboxContent::Message(message) => {
                let sender = self.people.iter().position(|p| p.account == message.sender).unwrap();
                let to_me = message.to == Address::Account(self.people[n].account);
                let own_copies = self.people[n].own.iter().filter(|s| **s == message.client_seq.0);
                // A message to oneself has two places: the sender's and the recipient's.
                if sender == n && own_copies.count() == 0 {
                    self.people[n].own.push(message.client_seq.0);
                } else if to_me {
                    self.people[n].received.push((sender, message.client_seq.0));
                }
            }
            InboxContent::Notice(_) => self.people[n].notices += 1,
            InboxContent::Hole => panic!("nothing expires here"),
        }
    }

    pub(in crate::engine::tests) fn received(&self, n: usize) -> Vec<(usize, u64)> {
        self.people[n].received.clone()
    }

    pub(in crate::engine::tests) fn notices(&self, n: usize) -> usize {
        self.people[n].notices
    }

    pub(in crate::engine::tests) fn delivered(&self, n: usize) -> usize {
        self.people[n].delivered
    }

    pub(in crate::engine::tests) fn blocks_written(&self) -> usize {
        self.written
    }

    pub(in crate::engine::tests) fn set_reading(&mut self, n: usize, reading: bool) {
        self.people[n].reading = reading;
    }

    /// The promise.
    pub(in crate::engine::tests) fn check(&self) {
        for (n, person) in self.people.iter().enumerate() {
            assert!(person.unacked.is_empty(), "{n}: sends without an answer");
            assert!(person.refused.is_empty(), "{n}: refused {:?}", person.refused);
            assert_eq!(person.acked.len() as u64, person.next - 1, "{n}: acknowledged once each");
            assert_eq!(person.own.len() as u64, person.next - 1, "{n}: own copies");
            for sender in 0..self.people.len() {
                let seqs: Vec<_> =
                    person.received.iter().filter(|r| r.0 == sender).map(|r| r.1).collect();
                assert!(seqs.windows(2).all(|w| w[0] < w[1]), "{sender} to {n}: {seqs:?}");
            }
        }
        let received: usize = self.people.iter().map(|p| p.received.len() + p.notices).sum();
        let sent: u64 = self.people.iter().map(|p| p.next - 1).sum();
        let notices: usize = self.people.iter().map(|p| p.notices).sum();
        assert_eq!((received - notices + notices) as u64, sent, "every message arrived once");
    }
}
