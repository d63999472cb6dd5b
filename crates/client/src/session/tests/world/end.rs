//! No more faults: everything settles, and then it must all be there.

use iris_core::clock::MonoUs;
use iris_core::seq::ClientSeq;
use iris_proto::client as wire;
use prost::Message as _;

use super::{DEVICES, Item, Seen, World, account, groups, person};
use crate::place::Content;
use crate::session::Outcome;

impl World {
    /// No more faults: everything settles.
    pub(in crate::session::tests) fn heal(&mut self) {
        for _ in 0..400 {
            for d in 0..DEVICES {
                self.devices[d].nack = None;
                self.pass_to_server(d, usize::MAX);
                self.pass_to_client(d, usize::MAX);
                self.sync(d);
                self.consume(d);
            }
            self.commit();
            self.now = MonoUs(self.now.0 + 300_000);
            self.settle();
        }
    }

    pub(in crate::session::tests) fn check(&self) {
        for (d, device) in self.devices.iter().enumerate() {
            assert_eq!(device.session.stopped(), None);
            assert!(device.session.is_open(), "{d} is connected in the end");
            assert_eq!(device.session.undecided(), 0, "{d}: everything is decided");
            let decided = &self.senders[d].decided;
            assert_eq!(decided.len(), device.synced_binds.len(), "{d}: as many as were bound");
            for (seq, (payload, refused)) in (1u64..).zip(decided) {
                assert_eq!(device.synced_binds.get(&seq), Some(payload), "as it was bound");
                // A decision may have been told to a process that died.
                if let Some(outcome) = device.outcomes.get(&seq) {
                    let expected =
                        refused.map_or(Outcome::Accepted, |code| Outcome::Refused { code });
                    assert_eq!(*outcome, expected, "{d}/{seq}");
                }
            }
            let items = &self.inboxes[person(d)];
            assert_eq!(device.disk.history.len(), items.len(), "{d}: everything is on the disk");
            self.check_log(d);
            for ((n, place), item) in (1..).zip(&device.disk.history).zip(items) {
                assert_eq!(place.seq.0, n);
                let (from, seq, payload, own) = match item {
                    Item::Message { from, seq, payload, own } => (from, seq, payload, own),
                    Item::InGroup { group, at } => {
                        self.check_in_group(place, *group, *at);
                        continue;
                    }
                };
                if groups::is_to_group(payload) {
                    assert_eq!(place.content, Content::Hole, "it has its place by now");
                    continue;
                }
                let send = wire::Send::decode(payload.clone()).unwrap();
                match &place.content {
                    Content::Incoming(incoming) => {
                        assert!(!own);
                        assert_eq!(incoming.body, send.body);
                        assert_eq!(incoming.sender.account, account(person(*from)));
                    }
                    Content::Sent(sent) => {
                        assert!(own);
                        assert_eq!(sent.client_seq, ClientSeq(*seq));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

impl Seen {
    pub(in crate::session::tests) fn add(&mut self, world: &World) {
        self.answered_again += world.answered_again;
        for (device, sender) in world.devices.iter().zip(&world.senders) {
            let counters = device.session.counters();
            self.resent += counters.resent + device.counters.resent;
            self.nacks += counters.nacks + device.counters.nacks;
            self.redelivered += counters.redelivered + device.counters.redelivered;
            self.lost_unsynced += device.lost_unsynced;
            self.refused += sender.decided.iter().filter(|(_, code)| code.is_some()).count();
            self.logged += device.offered_log_last - 1;
            self.log_faults += device.log_faults;
            self.accepted += sender.decided.iter().filter(|(_, code)| code.is_none()).count();
        }
    }
}
