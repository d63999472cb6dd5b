//! Two groups of everybody: a small one, whose messages are in all inboxes, and a large one with a log.

use bytes::Bytes;
use iris_core::group::{Change, Settings};
use iris_core::id::{DeviceNo, GroupId};
use iris_core::message::Address;
use iris_proto::client as wire;
use iris_proto::client_frames::{address_from_wire, address_to_wire, change_to_wire};
use iris_proto::frame::FrameType;
use prost::Message as _;

use super::{HistoryMax, Item, LogFault, PEOPLE, State, World, account, number, person};
use crate::place::{Content, Place};
use crate::store::{Login, Record};

/// Whoever may be written to: the people, the small group, the large one.
pub(in crate::session::tests) const TARGETS: usize = PEOPLE + 2;
const LARGE: usize = 1;
/// Messages in a page, at most.
const PAGE: usize = 3;

pub(super) fn id(group: usize) -> GroupId {
    GroupId::from_bytes(&[u8::try_from(group + 100).unwrap(); 16]).unwrap()
}

pub(super) fn address(to: usize) -> Address {
    match to.checked_sub(PEOPLE) {
        Some(group) => Address::Group(id(group)),
        None => Address::Account(account(to)),
    }
}

/// Both groups are there, and everybody is in them, from the first place of every inbox on.
pub(super) fn first_items() -> Vec<Item> {
    (0..2).map(|group| Item::InGroup { group, at: 0 }).collect()
}

pub(super) fn orders() -> [Vec<(usize, Bytes)>; 2] {
    let everybody = (0..PEOPLE).map(account).collect();
    let create = Change::Create(everybody, Settings::default());
    let create = wire::Send {
        msg_id: vec![0; 16].into(),
        change: Some(change_to_wire(&create)),
        ..wire::Send::default()
    };
    let create: Bytes = create.encode_to_vec().into();
    [vec![(0, create.clone())], vec![(0, create)]]
}

/// The store keeps its account's groups by whose it is.
pub(super) fn disk(device: usize) -> State {
    let mut disk = State::new(HistoryMax::PERSON);
    disk.apply(Record::Login(Login {
        handle: "somebody".into(),
        tenant: "default".into(),
        account: account(person(device)),
        device: number(device),
        device_name: "device".into(),
    }));
    disk
}

pub(super) fn is_to_group(payload: &Bytes) -> bool {
    group_of(payload).is_some()
}

/// The group that a SEND goes to.
pub(super) fn group_of(payload: &Bytes) -> Option<usize> {
    let send = wire::Send::decode(payload.clone()).unwrap();
    match address_from_wire(send.to?).unwrap() {
        Address::Group(group) => (0..2).find(|n| id(*n) == group),
        Address::Account(_) => None,
    }
}

impl World {
    /// A group takes a message.
    pub(super) fn order(&mut self, group: usize, from: usize, payload: Bytes) {
        let at = self.orders[group].len();
        self.orders[group].push((from, payload));
        if group != LARGE {
            for inbox in &mut self.inboxes {
                inbox.push(Item::InGroup { group, at });
            }
        }
    }

    /// A message of a group, as a device gets it.
    pub(super) fn in_group(&self, d: usize, group: usize, at: usize) -> wire::Incoming {
        let (from, payload) = &self.orders[group][at];
        let send = wire::Send::decode(payload.clone()).unwrap();
        let DeviceNo(sender_device) = number(*from);
        wire::Incoming {
            sender: account(person(*from)).to_bytes().to_vec().into(),
            sender_device,
            msg_id: send.msg_id,
            body: if *from == d { Bytes::new() } else { send.body },
            clock: at as u64,
            in_group: Some(wire::InGroup {
                group: id(group).to_bytes().to_vec().into(),
                place: at as u64 + 1,
                change: send.change,
                pull: group == LARGE,
            }),
            ..wire::Incoming::default()
        }
    }

    /// Those who are there are told how far the log can be read.
    pub(super) fn tell_head(&mut self, d: usize) {
        let device = &mut self.devices[d];
        if device.attached && device.head_told < self.readable {
            device.head_told = self.readable;
            let group = id(LARGE).to_bytes().to_vec().into();
            let head = wire::GroupHead { group, head: self.readable as u64 };
            let signal = wire::Signal { kind: Some(wire::signal::Kind::Head(head)) };
            self.push(d, FrameType::Signal, &signal);
        }
    }

    pub(super) fn fetch(&mut self, d: usize, corr: Option<u32>, fetch: wire::Fetch) {
        let to = address_from_wire(fetch.conversation.unwrap()).unwrap();
        assert_eq!(address_to_wire(to), address_to_wire(Address::Group(id(LARGE))));
        let behind = usize::try_from(fetch.behind.unwrap()).unwrap();
        let last = self.devices[d].disk.groups.get(id(LARGE)).map_or(0, |known| known.last.0);
        assert!(behind as u64 >= last, "it reads on, never back");
        let fault = self.devices[d].log_fault.take();
        self.devices[d].log_faults += u64::from(fault.is_some());
        let from = match fault {
            Some(LogFault::Later) => {
                let later = wire::CallResult { code: 4290, ..wire::CallResult::default() };
                return self.answer(d, FrameType::CallResult, corr, &later);
            }
            Some(LogFault::Empty) => {
                return self.answer(d, FrameType::LogPage, corr, &wire::LogPage::default());
            }
            Some(LogFault::Overlap) => behind.saturating_sub(2),
            None => behind,
        };
        let upto = self.readable.min(from + PAGE);
        let messages = (from..upto).map(|at| self.in_group(d, LARGE, at)).collect();
        let page = wire::LogPage { messages, more: upto < self.readable };
        self.answer(d, FrameType::LogPage, corr, &page);
    }

    // The end.

    /// Everything of the large group is here, in its order, each once.
    pub(super) fn check_log(&self, d: usize) {
        let device = &self.devices[d];
        let order = &self.orders[LARGE];
        assert_eq!(device.disk.logged.len(), order.len() - 1, "{d}: all of the log is here");
        assert_eq!(device.offered_log_last, order.len() as u64, "{d}: and was told");
        for (at, place) in (1..).zip(&device.disk.logged) {
            self.check_in_group(place, LARGE, at);
        }
        assert_eq!(device.disk.groups, *device.session.groups(), "{d}");
        for group in 0..2 {
            let known = device.disk.groups.get(id(group)).unwrap();
            assert_eq!((known.gaps, known.last.0), (0, self.orders[group].len() as u64));
        }
    }

    pub(super) fn check_in_group(&self, place: &Place, group: usize, at: usize) {
        let (from, payload) = &self.orders[group][at];
        let send = wire::Send::decode(payload.clone()).unwrap();
        let Content::Incoming(incoming) = &place.content else { panic!("{place:?}") };
        let told = incoming.in_group.as_ref().unwrap();
        assert_eq!((told.group, told.place.0), (id(group), at as u64 + 1));
        assert_eq!(incoming.sender.account, account(person(*from)));
        assert_eq!(incoming.body, send.body, "its body, also on the device that sent it");
    }
}
