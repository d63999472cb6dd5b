//! People, their devices with disks that lose what was not synced, a network that loses what was under
//! way, and a server that keeps its promises and no more.

mod end;
mod groups;
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use iris_core::clock::MonoUs;
use iris_core::id::{AccountId, DeviceNo, MsgId};
use iris_core::message::Bodies;
use iris_core::seq::ConvSeq;
use iris_proto::client as wire;
use iris_proto::frame::{Frame, FrameType, encode_message};
use prost::Message;

use crate::key::{DeviceKey, Seed};
use crate::session::{Config, Draft, Effect, Event, Input, Outcome, Session, Start, Ticket};
use crate::store::{HistoryMax, Record, State};

pub(super) use groups::TARGETS;

pub(super) const PEOPLE: usize = 2;
/// Two for each person.
pub(super) const DEVICES: usize = 4;
const CODE: u32 = 4105;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Submit { from: usize, to: usize, body: u8 },
    Sync(usize),
    ToServer(usize, usize),
    ToClient(usize, usize),
    Commit,
    Cut(usize),
    Crash(usize),
    Nack(usize, u32),
    Repeat(usize),
    GoAway(usize, u32),
    EndToken(usize),
    LogFault(usize, LogFault),
    Consume(usize),
    Time(u64),
}

/// What the next FETCH of a log meets.
#[derive(Debug, Clone, Copy)]
pub(super) enum LogFault {
    /// It is put off.
    Later,
    /// Nothing yet.
    Empty,
    /// What was there before is there again.
    Overlap,
}

/// How often what happened.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) resent: u64,
    pub(super) nacks: u64,
    pub(super) redelivered: u64,
    pub(super) refused: usize,
    pub(super) answered_again: u64,
    pub(super) lost_unsynced: u64,
    pub(super) accepted: usize,
    pub(super) logged: u64,
    pub(super) log_faults: u64,
}

struct Device {
    session: Session,
    /// What survives a crash, and what does not yet.
    disk: State,
    unsynced: VecDeque<(Ticket, Record)>,
    synced_binds: BTreeMap<u64, Bytes>,
    connected: bool,
    dialing: bool,
    wants_tokens: bool,
    to_server: VecDeque<Frame>,
    to_client: VecDeque<Frame>,
    /// Told to the application, not taken by it.
    offered: usize,
    offered_bytes: usize,
    offered_last: u64,
    /// The same of the large group's log.
    offered_log: usize,
    offered_log_last: u64,
    log_fault: Option<LogFault>,
    log_faults: u64,
    /// On the server: the head that the connection was told of.
    head_told: usize,
    /// On the server: attached, how far delivered, told of which decision, and the next NACK.
    attached: bool,
    delivered: u64,
    told: u64,
    nack: Option<u32>,
    token: u64,
    outcomes: BTreeMap<u64, Outcome>,
    lost_unsynced: u64,
    counters: crate::session::Counters,
}

#[derive(Clone)]
enum Item {
    Message {
        from: usize,
        seq: u64,
        payload: Bytes,
        own: bool,
    },
    /// A message of a group, by its place from 0.
    InGroup {
        group: usize,
        at: usize,
    },
}

#[derive(Default)]
struct Sender {
    decided: Vec<(Bytes, Option<u32>)>,
    committed: u64,
}

pub(super) struct World {
    now: MonoUs,
    devices: Vec<Device>,
    senders: Vec<Sender>,
    inboxes: Vec<Vec<Item>>,
    /// The small group and the large one: who wrote what, in their orders.
    orders: [Vec<(usize, Bytes)>; 2],
    /// Of the large one's log, for everybody to read.
    readable: usize,
    /// Decided and not yet durable: nobody hears of them.
    committed: Vec<usize>,
    tokens: u64,
    answered_again: u64,
    seeds: u64,
}

fn account(person: usize) -> AccountId {
    AccountId::from_bytes(&[u8::try_from(person + 1).unwrap(); 16]).unwrap()
}

fn person(device: usize) -> usize {
    device % PEOPLE
}

fn number(device: usize) -> DeviceNo {
    DeviceNo(u32::try_from(device / PEOPLE + 1).unwrap())
}

fn session(device: usize, disk: &State, seed: u64) -> Session {
    let key = DeviceKey::new(&Seed::from_bytes(&[1; 32]).unwrap()).unwrap();
    Session::new(
        Config::default(),
        Start {
            account: account(person(device)),
            device: number(device),
            key: Arc::new(key),
            access: None,
            stream_gen: disk.stream_gen,
            cursor: disk.cursor,
            marks: disk.marks_version,
            next_client_seq: disk.next_client_seq,
            undecided: disk.undecided.clone(),
            groups: disk.groups.clone(),
            seed,
        },
    )
}

impl World {
    pub(super) fn new() -> Self {
        let device = |n| {
            let disk = groups::disk(n);
            Device {
                session: session(n, &disk, n as u64),
                disk,
                unsynced: VecDeque::new(),
                synced_binds: BTreeMap::new(),
                connected: false,
                dialing: false,
                wants_tokens: false,
                to_server: VecDeque::new(),
                to_client: VecDeque::new(),
                offered: 0,
                offered_bytes: 0,
                offered_last: 0,
                offered_log: 0,
                offered_log_last: 1,
                log_fault: None,
                log_faults: 0,
                head_told: 0,
                attached: false,
                delivered: 0,
                told: 0,
                nack: None,
                token: 0,
                outcomes: BTreeMap::new(),
                lost_unsynced: 0,
                counters: crate::session::Counters::default(),
            }
        };
        Self {
            now: MonoUs(0),
            devices: (0..DEVICES).map(device).collect(),
            senders: (0..DEVICES).map(|_| Sender::default()).collect(),
            inboxes: vec![groups::first_items(); PEOPLE],
            orders: groups::orders(),
            readable: 1,
            committed: vec![0; PEOPLE],
            tokens: 0,
            answered_again: 0,
            seeds: 100,
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Submit { from, to, body } => self.submit(from, to, body),
            Step::Sync(d) => self.sync(d),
            Step::ToServer(d, n) => self.pass_to_server(d, n),
            Step::ToClient(d, n) => self.pass_to_client(d, n),
            Step::Commit => self.commit(),
            Step::Cut(d) => self.cut(d),
            Step::Crash(d) => self.crash(d),
            Step::Nack(d, ms) => self.devices[d].nack = Some(ms),
            Step::Repeat(d) => self.repeat(d),
            Step::GoAway(d, ms) => {
                let preferred_edges = Vec::new();
                let go = wire::GoAway { code: 1001, jitter_ms: ms, preferred_edges };
                self.push(d, FrameType::GoAway, &go);
            }
            Step::EndToken(d) => self.end_token(d),
            Step::LogFault(d, fault) => self.devices[d].log_fault = Some(fault),
            Step::Consume(d) => self.consume(d),
            Step::Time(ms) => self.now = MonoUs(self.now.0 + ms * 1000),
        }
        self.settle();
    }

    fn settle(&mut self) {
        for d in 0..DEVICES {
            let mut out = Vec::new();
            self.devices[d].session.settle(self.now, &mut out);
            self.perform(d, out);
            self.dial(d);
        }
    }

    fn input(&mut self, d: usize, input: Input) {
        let mut out = Vec::new();
        self.devices[d].session.step(self.now, input, &mut out);
        self.perform(d, out);
    }

    fn submit(&mut self, from: usize, to: usize, body: u8) {
        let mut out = Vec::new();
        let draft = Draft {
            to: groups::address(to),
            msg_id: MsgId([body; 16]),
            bodies: Bodies::Shared(vec![body; usize::from(body)].into()),
            expires_at_ms: 0,
            about: None,
            change: None,
            roster: ConvSeq(0),
        };
        self.devices[from].session.submit(&draft, &mut out).unwrap();
        self.perform(from, out);
    }

    fn perform(&mut self, d: usize, effects: Vec<Effect>) {
        let device = &mut self.devices[d];
        for effect in effects {
            match effect {
                Effect::Dial(_) => device.dialing = true,
                Effect::Hangup => {
                    (device.connected, device.dialing, device.attached) = (false, false, false);
                    device.to_server.clear();
                    device.to_client.clear();
                }
                Effect::Transmit(bytes) => {
                    let mut bytes = BytesMut::from(&bytes[..]);
                    let frame = Frame::decode(&mut bytes, 1 << 20).unwrap().unwrap();
                    device.check_outgoing(&frame);
                    if device.connected {
                        device.to_server.push_back(frame);
                    }
                }
                Effect::Persist { ticket, record } => device.unsynced.push_back((ticket, record)),
                Effect::RefreshTokens => device.wants_tokens = true,
                Effect::Event(event) => device.event(event),
                Effect::Called { .. } | Effect::Renumbered { .. } => panic!("never asked for"),
            }
        }
    }

    fn dial(&mut self, d: usize) {
        if self.devices[d].wants_tokens {
            self.tokens += 1;
            self.devices[d].wants_tokens = false;
            self.devices[d].token = self.tokens;
            let access = self.tokens.to_string();
            self.input(d, Input::Tokens { access, valid_ms: 600_000 });
        }
        if self.devices[d].dialing {
            self.devices[d].dialing = false;
            self.devices[d].connected = true;
            self.input(d, Input::Connected { binding: Some([7; 32]) });
        }
    }

    fn sync(&mut self, d: usize) {
        let device = &mut self.devices[d];
        let Some((upto, _)) = device.unsynced.back() else {
            return;
        };
        let upto = *upto;
        for (_, record) in device.unsynced.drain(..) {
            if let Record::Bound { client_seq, send } = &record {
                let before = device.synced_binds.insert(client_seq.0, send.clone());
                assert!(before.is_none(), "a number is bound once");
            }
            if let Record::Placed { places, .. } = &record {
                for (n, place) in (device.disk.cursor.0 + 1..).zip(places) {
                    assert_eq!(place.seq.0, n, "applied in order, each once");
                }
            }
            device.disk.apply(record);
        }
        self.input(d, Input::Stored { upto });
    }

    fn cut(&mut self, d: usize) {
        let device = &mut self.devices[d];
        if !device.connected {
            return;
        }
        (device.connected, device.attached) = (false, false);
        device.to_server.clear();
        device.to_client.clear();
        self.input(d, Input::Lost { text: String::new() });
    }

    /// The process dies: the disk stays as it was synced last.
    fn crash(&mut self, d: usize) {
        self.seeds += 1;
        let device = &mut self.devices[d];
        device.lost_unsynced += device.unsynced.len() as u64;
        device.remember_counters();
        device.unsynced.clear();
        (device.connected, device.dialing, device.attached) = (false, false, false);
        device.wants_tokens = false;
        device.to_server.clear();
        device.to_client.clear();
        (device.offered, device.offered_bytes) = (0, 0);
        device.offered_log = 0;
        device.session = session(d, &device.disk, self.seeds);
    }

    fn consume(&mut self, d: usize) {
        let device = &mut self.devices[d];
        let places = std::mem::take(&mut device.offered);
        let bytes = std::mem::take(&mut device.offered_bytes);
        let logged = std::mem::take(&mut device.offered_log);
        self.input(d, Input::Consumed { places, bytes });
        self.input(d, Input::LogTaken(logged));
    }

    fn pass_to_client(&mut self, d: usize, n: usize) {
        for _ in 0..n {
            let Some(frame) = self.devices[d].to_client.pop_front() else {
                return;
            };
            self.input(d, Input::Frame(frame));
        }
    }

    fn push(&mut self, d: usize, kind: FrameType, message: &impl Message) {
        self.answer(d, kind, None, message);
    }

    fn answer(&mut self, d: usize, kind: FrameType, corr: Option<u32>, message: &impl Message) {
        let device = &mut self.devices[d];
        if device.connected && device.attached {
            let mut bytes = BytesMut::new();
            encode_message(&mut bytes, kind, corr, message);
            device.to_client.push_back(Frame::decode(&mut bytes, 1 << 20).unwrap().unwrap());
        }
    }
}

impl Device {
    fn check_outgoing(&self, frame: &Frame) {
        if frame.known() == Some(FrameType::Send) {
            let send = wire::Send::decode(frame.payload.clone()).unwrap();
            let bound = self.synced_binds.get(&send.client_seq);
            assert_eq!(bound, Some(&frame.payload), "sent before it was on the disk");
        }
        if frame.known() == Some(FrameType::Hello) {
            let hello = wire::Hello::decode(frame.payload.clone()).unwrap();
            assert_eq!(hello.cursor, self.disk.cursor.0, "HELLO says what is on the disk");
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Placed(place) => {
                assert!(place.seq.0 > self.offered_last, "told in order, each once");
                self.offered_last = place.seq.0;
                self.offered += 1;
                self.offered_bytes += place.weight();
            }
            Event::Decided { client_seq, outcome, .. } => {
                let before = self.outcomes.insert(client_seq.0, outcome);
                assert!(before.is_none_or(|before| before == outcome), "two outcomes");
            }
            Event::Gap { expected, found } => panic!("{expected} {found}"),
            Event::Stopped(stop) => panic!("{stop}"),
            Event::Connected { .. }
            | Event::Disconnected { .. }
            | Event::Nacked { .. }
            | Event::Marked { .. }
            | Event::Presence { .. }
            | Event::Typing(_)
            | Event::Acked { .. } => {}
            Event::Logged(place) => {
                let at = place.in_group().unwrap().place.0;
                assert_eq!(at, self.offered_log_last + 1, "in order, each once");
                self.offered_log_last = at;
                self.offered_log += 1;
            }
            Event::GroupGap(skipped) => panic!("{skipped:?}"),
            Event::Missed { .. } => panic!("nothing expires here"),
        }
    }

    fn remember_counters(&mut self) {
        let counters = self.session.counters();
        self.counters.resent += counters.resent;
        self.counters.nacks += counters.nacks;
        self.counters.redelivered += counters.redelivered;
    }
}
