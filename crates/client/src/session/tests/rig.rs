//! One session, and a test that plays the server, the disk and the network.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use iris_core::clock::MonoUs;
use iris_core::id::{AccountId, DeviceNo, MsgId};
use iris_core::message::{Address, Bodies};
use iris_core::seq::{ClientSeq, ConvSeq, InboxSeq};
use iris_proto::client::{self as wire, inbox_entry::Kind};
use iris_proto::frame::{Frame, FrameType, encode_message};
use prost::Message;

use crate::groups::Groups;
use crate::key::{DeviceKey, Seed};
use crate::session::{Config, Draft, Effect, Event, Input, Session, Start, Target, Ticket};
use crate::store::Record;

pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) now: MonoUs,
    pub(super) sent: Vec<Frame>,
    pub(super) events: Vec<Event>,
    pub(super) dials: Vec<Target>,
    pub(super) hangups: usize,
    pub(super) refreshes: usize,
    pub(super) called: Vec<Effect>,
    pub(super) records: Vec<Record>,
    pub(super) renumbered: Vec<(ClientSeq, ClientSeq)>,
    pub(super) issued: Ticket,
    /// The disk is instant.
    pub(super) instant: bool,
    /// The application takes everything at once.
    pub(super) eager: bool,
}

pub(super) fn start() -> Start {
    let key = DeviceKey::new(&Seed::from_bytes(&[1; 32]).unwrap()).unwrap();
    Start {
        account: AccountId::from_bytes(&[1; 16]).unwrap(),
        device: DeviceNo(1),
        key: Arc::new(key),
        access: Some(("token".into(), 900_000)),
        stream_gen: 1,
        cursor: InboxSeq(10),
        marks: 0,
        next_client_seq: ClientSeq(1),
        undecided: VecDeque::new(),
        groups: Groups { listed: true, ..Groups::default() },
        seed: 7,
    }
}

pub(super) fn welcome() -> wire::Welcome {
    wire::Welcome {
        connection_id: 1,
        proto: 1,
        resume: wire::Resume::Ok.into(),
        stream_gen: 1,
        next_client_seq: 1,
        keepalive_ms: 30_000,
        window: Some(wire::Window { messages: 4, bytes: 10_000 }),
        ..wire::Welcome::default()
    }
}

pub(super) fn deliver(first: u64, count: u64) -> wire::Deliver {
    let entry = |n: u64| wire::InboxEntry {
        clock_ms: n,
        kind: Some(Kind::Incoming(wire::Incoming {
            sender: vec![2; 16].into(),
            sender_device: 1,
            msg_id: vec![3; 16].into(),
            body: vec![0; 100].into(),
            expires_at_ms: 0,
            clock: n,
            about: None,
            in_group: None,
        })),
    };
    wire::Deliver { first_inbox_seq: first, entries: (first..first + count).map(entry).collect() }
}

impl Rig {
    pub(super) fn new(start: Start) -> Self {
        let mut rig = Self {
            session: Session::new(Config::default(), start),
            now: MonoUs(0),
            sent: Vec::new(),
            events: Vec::new(),
            dials: Vec::new(),
            hangups: 0,
            refreshes: 0,
            called: Vec::new(),
            records: Vec::new(),
            renumbered: Vec::new(),
            issued: Ticket(0),
            instant: true,
            eager: true,
        };
        rig.settle();
        rig
    }

    /// Connected, and served as `welcome` says.
    pub(super) fn open(start: Start, welcome: &wire::Welcome) -> Self {
        let mut rig = Self::new(start);
        rig.reopen(welcome);
        rig
    }

    pub(super) fn reopen(&mut self, welcome: &wire::Welcome) {
        assert!(!self.dials.is_empty(), "it dials");
        self.hello();
        self.server(FrameType::Welcome, welcome);
    }

    pub(super) fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.session.step(self.now, input, &mut out);
        self.perform(out);
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        let mut out = Vec::new();
        self.session.settle(self.now, &mut out);
        self.perform(out);
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now = MonoUs(self.now.0 + ms * 1000);
        self.settle();
    }

    /// Time goes on until the session wants something, at most so long. Answers how long it was.
    pub(super) fn pass_until_due(&mut self, max_ms: u64) -> u64 {
        let due = self.session.wake_at().map_or(u64::MAX, |at| at.0.saturating_sub(self.now.0));
        let ms = due.div_ceil(1000).min(max_ms);
        self.pass(ms);
        ms
    }

    pub(super) fn server(&mut self, kind: FrameType, message: &impl Message) {
        self.server_corr(kind, None, message);
    }

    pub(super) fn server_corr(&mut self, kind: FrameType, corr: Option<u32>, m: &impl Message) {
        let mut bytes = BytesMut::new();
        encode_message(&mut bytes, kind, corr, m);
        let frame = Frame::decode(&mut bytes, 1 << 20).unwrap().unwrap();
        self.input(Input::Frame(frame));
    }

    pub(super) fn submit(&mut self, body: usize) -> ClientSeq {
        let mut out = Vec::new();
        let draft = Draft {
            to: Address::Account(AccountId::from_bytes(&[2; 16]).unwrap()),
            msg_id: MsgId([5; 16]),
            bodies: Bodies::Shared(vec![b'x'; body].into()),
            expires_at_ms: 0,
            about: None,
            change: None,
            roster: ConvSeq(0),
        };
        let seq = self.session.submit(&draft, &mut out).unwrap();
        self.perform(out);
        self.settle();
        seq
    }

    pub(super) fn stored(&mut self) {
        let upto = self.issued;
        self.input(Input::Stored { upto });
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut places = (0, 0);
        let mut logged = 0;
        for effect in effects {
            match effect {
                Effect::Dial(target) => self.dials.push(target),
                Effect::Hangup => self.hangups += 1,
                Effect::Transmit(bytes) => {
                    let mut bytes = BytesMut::from(&bytes[..]);
                    self.sent.push(Frame::decode(&mut bytes, 1 << 20).unwrap().unwrap());
                }
                Effect::Persist { ticket, record } => {
                    assert_eq!(ticket, self.issued.next(), "writes are numbered densely");
                    self.issued = ticket;
                    self.records.push(record);
                }
                Effect::RefreshTokens => self.refreshes += 1,
                Effect::Called { .. } => self.called.push(effect),
                Effect::Renumbered { from, to } => self.renumbered.push((from, to)),
                Effect::Event(event) => {
                    if let Event::Placed(place) = &event {
                        places = (places.0 + 1, places.1 + place.weight());
                    }
                    logged += usize::from(matches!(event, Event::Logged(_)));
                    self.events.push(event);
                }
            }
        }
        if self.eager && places.0 > 0 {
            self.input(Input::Consumed { places: places.0, bytes: places.1 });
        }
        if self.eager && logged > 0 {
            self.input(Input::LogTaken(logged));
        }
        if self.instant && self.issued > Ticket(0) {
            let mut out = Vec::new();
            self.session.step(self.now, Input::Stored { upto: self.issued }, &mut out);
            if !out.is_empty() {
                self.perform(out);
            }
        }
    }

    pub(super) fn take_sent(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.sent)
    }

    /// The numbers of the SENDs since the last look.
    pub(super) fn sends(&mut self) -> Vec<u64> {
        let frames = self.take_sent().into_iter();
        let sends = frames.filter(|frame| frame.known() == Some(FrameType::Send));
        sends.map(|frame| wire::Send::decode(frame.payload).unwrap().client_seq).collect()
    }

    /// The ACKs since the last look.
    pub(super) fn acks(&mut self) -> Vec<u64> {
        let frames = self.take_sent().into_iter();
        let acks = frames.filter(|frame| frame.known() == Some(FrameType::Ack));
        acks.map(|frame| wire::Ack::decode(frame.payload).unwrap().inbox_seq).collect()
    }

    pub(super) fn hello(&mut self) -> wire::Hello {
        self.dials.clear();
        self.take_sent();
        self.input(Input::Connected { binding: Some([9; 32]) });
        let frame = self.take_sent().remove(0);
        assert_eq!(frame.known(), Some(FrameType::Hello));
        wire::Hello::decode(frame.payload).unwrap()
    }

    pub(super) fn placed(&self) -> Vec<u64> {
        let placed = self.events.iter().filter_map(|event| match event {
            Event::Placed(place) => Some(place.seq.0),
            _ => None,
        });
        placed.collect()
    }
}
