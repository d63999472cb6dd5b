//! The server of the world: it keeps its promises and no more.

use bytes::Bytes;
use iris_core::message::Address;
use iris_proto::client::{self as wire, inbox_entry::Kind};
use iris_proto::client_frames::address_from_wire;
use iris_proto::frame::FrameType;
use prost::Message as _;

use super::{CODE, DEVICES, Item, PEOPLE, World, account, groups, number, person};

impl World {
    pub(super) fn pass_to_server(&mut self, d: usize, n: usize) {
        for _ in 0..n {
            let Some(frame) = self.devices[d].to_server.pop_front() else {
                return;
            };
            match frame.known().unwrap() {
                FrameType::Hello => self.hello(d, &wire::Hello::decode(frame.payload).unwrap()),
                FrameType::Send => self.send(d, frame.payload),
                FrameType::Ack => {
                    let upto = wire::Ack::decode(frame.payload).unwrap().inbox_seq;
                    let device = &self.devices[d];
                    assert!(upto <= device.disk.cursor.0, "acknowledged before it was on the disk");
                    assert!(upto <= device.delivered, "acknowledged what was not delivered");
                }
                FrameType::Ping => {
                    let ping = wire::Ping::decode(frame.payload).unwrap();
                    self.push(d, FrameType::Pong, &ping);
                }
                FrameType::Call => {
                    let call = wire::Call::decode(frame.payload).unwrap().op.unwrap();
                    assert!(matches!(call, wire::call::Op::ListGroups(_)), "{call:?}");
                    let groups = wire::call_result::Result::Groups(wire::Memberships::default());
                    let result = wire::CallResult { result: Some(groups), ..Default::default() };
                    self.answer(d, FrameType::CallResult, frame.corr, &result);
                }
                FrameType::Fetch => {
                    let fetch = wire::Fetch::decode(frame.payload).unwrap();
                    self.fetch(d, frame.corr, fetch);
                }
                FrameType::AuthRefresh | FrameType::Window => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn hello(&mut self, d: usize, hello: &wire::Hello) {
        let device = &mut self.devices[d];
        device.attached = true;
        if hello.access_token != device.token.to_string() {
            let error = wire::Error { code: 2001, ..wire::Error::default() };
            self.push(d, FrameType::Error, &error);
            return;
        }
        device.delivered = hello.cursor;
        (device.told, device.head_told) = (0, 0);
        self.commit();
        let next_client_seq = self.senders[d].decided.len() as u64 + 1;
        let welcome = wire::Welcome {
            proto: 1,
            resume: wire::Resume::Ok.into(),
            stream_gen: 1,
            start: hello.cursor,
            head: self.inboxes[person(d)].len() as u64,
            next_client_seq,
            keepalive_ms: 30_000,
            window: Some(wire::Window { messages: 5, bytes: 2_000 }),
            ..wire::Welcome::default()
        };
        // Everything after WELCOME; what was pushed by the commit belongs behind it.
        let pushed: Vec<_> = self.devices[d].to_client.drain(..).collect();
        self.push(d, FrameType::Welcome, &welcome);
        self.devices[d].to_client.extend(pushed);
        self.tell(d, true);
        self.pump(d);
        self.tell_head(d);
    }

    fn send(&mut self, d: usize, payload: Bytes) {
        let send = wire::Send::decode(payload.clone()).unwrap();
        let next = self.senders[d].decided.len() as u64 + 1;
        if let Some(retry_after_ms) = self.devices[d].nack.take() {
            let nack = wire::SendNack {
                client_seq: send.client_seq,
                code: 5001,
                retry_after_ms,
                ..Default::default()
            };
            return self.push(d, FrameType::SendNack, &nack);
        }
        if send.client_seq < next {
            let index = usize::try_from(send.client_seq - 1).unwrap();
            assert_eq!(self.senders[d].decided[index].0, payload, "the same number, other bytes");
            self.answered_again += 1;
            return self.tell(d, true);
        }
        if send.client_seq > next {
            let nack = wire::SendNack { client_seq: next, code: 5001, ..Default::default() };
            return self.push(d, FrameType::SendNack, &nack);
        }
        let refused = send.msg_id[0].is_multiple_of(7).then_some(CODE);
        self.senders[d].decided.push((payload.clone(), refused));
        if let Some(group) = groups::group_of(&payload).filter(|_| refused.is_none()) {
            let item = Item::Message { from: d, seq: next, payload: payload.clone(), own: true };
            self.inboxes[person(d)].push(item);
            self.order(group, d, payload);
        } else if refused.is_none() {
            let Address::Account(to) = address_from_wire(send.to.unwrap()).unwrap() else {
                panic!("no groups here")
            };
            let to = (0..PEOPLE).find(|p| account(*p) == to).unwrap();
            let item = |own| Item::Message { from: d, seq: next, payload: payload.clone(), own };
            self.inboxes[person(d)].push(item(true));
            self.inboxes[to].push(item(false));
        }
    }

    /// Everything decided becomes durable, and those concerned hear of it.
    pub(super) fn commit(&mut self) {
        for p in 0..PEOPLE {
            self.committed[p] = self.inboxes[p].len();
        }
        for d in 0..DEVICES {
            self.senders[d].committed = self.senders[d].decided.len() as u64;
            self.tell(d, false);
            self.pump(d);
        }
        self.readable = self.orders[1].len();
        (0..DEVICES).for_each(|d| self.tell_head(d));
    }

    fn tell(&mut self, d: usize, again: bool) {
        let upto = self.senders[d].committed;
        if !self.devices[d].attached || upto == 0 || (!again && upto <= self.devices[d].told) {
            return;
        }
        let told = std::mem::replace(&mut self.devices[d].told, upto);
        let refusals = (1..).zip(&self.senders[d].decided);
        let refusals =
            refusals.filter(|(seq, (_, refused))| *seq > told && *seq <= upto && refused.is_some());
        let refusals = refusals.map(|(client_seq, _)| wire::Refusal { client_seq, code: CODE });
        let ack =
            wire::SendAck { client_seq: upto, server_time_ms: 0, refusals: refusals.collect() };
        self.push(d, FrameType::SendAck, &ack);
    }

    fn pump(&mut self, d: usize) {
        let committed = self.committed[person(d)] as u64;
        while self.devices[d].attached && self.devices[d].delivered < committed {
            let first = self.devices[d].delivered + 1;
            let last = committed.min(first + 2);
            let items = &self.inboxes[person(d)];
            let entries = (first..=last)
                .map(|seq| self.entry(d, &items[usize::try_from(seq - 1).unwrap()]))
                .collect();
            let deliver = wire::Deliver { first_inbox_seq: first, entries };
            self.push(d, FrameType::Deliver, &deliver);
            self.devices[d].delivered = last;
        }
    }

    /// The server delivers again what it delivered, from some place on.
    pub(super) fn repeat(&mut self, d: usize) {
        self.devices[d].delivered = self.devices[d].delivered.saturating_sub(4);
        self.pump(d);
    }

    pub(super) fn end_token(&mut self, d: usize) {
        self.devices[d].token = u64::MAX;
        let error = wire::Error { code: 2001, retry_after_ms: 10, ..wire::Error::default() };
        self.push(d, FrameType::Error, &error);
    }

    fn entry(&self, d: usize, item: &Item) -> wire::InboxEntry {
        let (from, seq, payload, own) = match item {
            Item::Message { from, seq, payload, own } => (from, seq, payload, own),
            Item::InGroup { group, at } => {
                let kind = Some(Kind::Incoming(self.in_group(d, *group, *at)));
                return wire::InboxEntry { clock_ms: 1, kind };
            }
        };
        entry(d, (*from, *seq, *own), payload)
    }
}

fn entry(d: usize, (from, seq, own): (usize, u64, bool), payload: &Bytes) -> wire::InboxEntry {
    let send = wire::Send::decode(payload.clone()).unwrap();
    let kind = if own {
        // What goes to a group comes back from it.
        let here = from == d || groups::is_to_group(payload);
        Kind::Sent(wire::Sent {
            device: number(from).0,
            client_seq: seq,
            msg_id: send.msg_id,
            to: send.to,
            body: if here { Bytes::new() } else { send.body },
            clock: 1,
            about: send.about,
            expires_at_ms: send.expires_at_ms,
        })
    } else {
        Kind::Incoming(wire::Incoming {
            sender: account(person(from)).to_bytes().to_vec().into(),
            sender_device: number(from).0,
            msg_id: send.msg_id,
            body: send.body,
            expires_at_ms: 0,
            clock: 1,
            about: send.about,
            in_group: None,
        })
    };
    wire::InboxEntry { clock_ms: 1, kind: Some(kind) }
}
