//! Two devices of one account, and everything that may come between them and the receipts that follow
//! from what they have.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::super::rig::{PHONE, Rig, TABLET, delivered, receipts, remote};
use super::*;
use crate::id::DeviceNo;

/// What may happen to two devices of one account.
#[derive(Debug, Clone)]
enum Step {
    /// So many people write, from this one on.
    Write(u128, u128),
    /// One of the devices has so many more places on its disk, and says so.
    Ack(usize, u64),
    Release,
    /// The store answers a read with so many places at most, or does not.
    Answer(Option<usize>),
    Flush,
    /// A flush that is not written.
    Lost,
    Reconnect(usize),
    Crash,
    /// The shard is to leave, and stays.
    Stay,
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (2u128..5, 1u128..4).prop_map(|(from, count)| Step::Write(from, count)),
        8 => (0usize..2, 1u64..9).prop_map(|(device, count)| Step::Ack(device, count)),
        6 => Just(Step::Release),
        8 => (1usize..6).prop_map(|most| Step::Answer(Some(most))),
        1 => Just(Step::Answer(None)),
        3 => Just(Step::Flush),
        1 => Just(Step::Lost),
        3 => (0usize..2).prop_map(Step::Reconnect),
        2 => Just(Step::Crash),
        1 => Just(Step::Stay),
        4 => (1u64..400).prop_map(Step::Time),
    ]
}

/// A device as its client and its edge know it.
struct Device {
    no: DeviceNo,
    conn: Conn,
    cursor: u64,
    handed: u64,
}

struct World {
    rig: Rig,
    account: AccountId,
    devices: [Device; 2],
    /// Reads that the store has to answer: for deliveries, or for receipts.
    reads: VecDeque<(bool, u64, u64)>,
    /// Who wrote what is at each place, with the clock.
    written: Vec<(AccountId, Hlc)>,
    receipts: BTreeMap<AccountId, Hlc>,
}

impl World {
    fn new() -> Self {
        let mut rig = Rig::new();
        let account = rig.person(ANN);
        rig.open(account, TABLET);
        rig.flush();
        let devices = [PHONE, TABLET].map(|no| {
            let conn = rig.connect(account, no, 0);
            Device { no, conn, cursor: 0, handed: 0 }
        });
        let (reads, written) = (VecDeque::new(), Vec::new());
        Self { rig, account, devices, reads, written, receipts: BTreeMap::new() }
    }

    /// The newest clock of each writer that some device has on its disk.
    fn on_disks(&self) -> BTreeMap<AccountId, Hlc> {
        let most = self.devices.iter().map(|device| device.cursor).max().unwrap();
        let most = usize::try_from(most).unwrap();
        let mut newest = BTreeMap::new();
        for (writer, clock) in &self.written[..most] {
            newest.insert(*writer, *clock);
        }
        newest
    }

    fn take(&mut self, out: &[Effect]) {
        for effect in out {
            match effect {
                Effect::ReadForReceipts { after, upto, .. } => {
                    self.reads.push_back((true, after.0, upto.0));
                }
                Effect::LoadInbox { after, upto, .. } => {
                    self.reads.push_back((false, after.0, upto.0));
                }
                _ => {}
            }
        }
        for device in &mut self.devices {
            for item in delivered(out, device.conn) {
                device.handed = device.handed.max(item.seq.0);
            }
        }
        let had = self.on_disks();
        for receipt in receipts(out) {
            assert!(Some(&receipt.delivered) <= had.get(&receipt.to), "of what nobody has");
            let told = self.receipts.entry(receipt.to).or_default();
            *told = receipt.delivered.max(*told);
        }
    }

    fn reconnect(&mut self, n: usize) -> Vec<Effect> {
        let device = &mut self.devices[n];
        let mut attach = self.rig.attach(self.account, device.no, device.cursor);
        attach.delivered = InboxSeq(device.handed);
        device.conn = attach.conn;
        self.rig.step(Input::Attach(attach))
    }

    fn answer(&mut self, most: Option<usize>) -> Vec<Effect> {
        let Some((of_receipts, after, upto)) = self.reads.pop_front() else { return Vec::new() };
        let mut items = self.rig.places(self.account, after, upto);
        let items = most.map(|most| {
            items.truncate(most);
            items
        });
        let (account, after) = (self.account, InboxSeq(after));
        self.rig.step(if of_receipts {
            Input::ReceiptsRead { account, after, items }
        } else {
            Input::InboxLoaded { account, asked: after, items }
        })
    }

    fn step(&mut self, step: &Step) {
        let out = match *step {
            Step::Write(from, count) => {
                let mut out = Vec::new();
                for n in from..from + count {
                    let message = self.rig.message(remote(n), self.account);
                    self.written.push((message.sender, message.clock));
                    out.extend(self.rig.parcel(Parcel::Message(message.into())));
                }
                out
            }
            Step::Ack(n, count) => {
                let device = &mut self.devices[n];
                device.cursor = (device.cursor + count).min(device.handed);
                self.rig.step(ack(device.conn, device.cursor))
            }
            Step::Release => self.rig.release(),
            Step::Answer(most) => self.answer(most),
            Step::Flush => self.rig.flush(),
            Step::Lost => {
                let (_, out) = self.rig.capture(false);
                self.rig.shard.flush_failed();
                out
            }
            Step::Reconnect(n) => self.reconnect(n),
            Step::Crash => {
                // What is on its way between the two is lost, or is not: here none is.
                let out = self.rig.release();
                self.take(&out);
                self.rig.crash();
                self.reads.clear();
                let mut out = self.reconnect(0);
                out.extend(self.reconnect(1));
                out
            }
            Step::Stay => {
                self.rig.shard.set_admitting(false);
                let device = &mut self.devices[0];
                device.cursor = device.handed;
                let mut out = self.rig.step(ack(device.conn, device.cursor));
                out.extend(self.rig.flush());
                self.rig.shard.set_admitting(true);
                out.extend(self.rig.pass(1));
                out
            }
            Step::Time(ms) => self.rig.pass(ms),
        };
        self.take(&out);
    }

    /// Both devices get and acknowledge all that there is.
    fn finish(&mut self) {
        for _ in 0..60 {
            for step in [
                Step::Release,
                Step::Answer(Some(20)),
                Step::Time(250),
                Step::Ack(0, 1000),
                Step::Ack(1, 1000),
                Step::Flush,
            ] {
                self.step(&step);
            }
        }
        let most = self.written.len() as u64;
        assert_eq!(self.devices.each_ref().map(|device| device.cursor), [most; 2]);
        assert_eq!(self.receipts, self.on_disks());
        let state = self.rig.shard.account(self.account).unwrap();
        assert!(state.devices.values().all(|device| device.cursor.0 == most), "{state:?}");
        assert!(self.rig.shard.is_clean());
    }
}

proptest! {
    /// Whatever the order of messages, acks, flushes, reads, connections and deaths of owners: a receipt
    /// tells only what some device has, and in the end every writer is told all of it.
    #[test]
    fn receipts_tell_the_truth_and_all_of_it(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.finish();
    }
}
