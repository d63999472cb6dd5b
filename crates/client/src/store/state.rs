//! What the records of a store add up to.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use iris_core::id::AccountId;
use iris_core::mark::Mark;
use iris_core::message::{Act, Address};
use iris_core::seq::{ClientSeq, InboxSeq};
use iris_proto::client as wire;
use prost::Message as _;

use crate::groups::{Groups, Seen};
use crate::key::Seed;
use crate::place::{Content, Place, Sent};

use super::{Login, Record, Tokens};

/// Own messages that were decided and whose copy has not come back, for the history.
const SENT_KEPT: usize = 256;
/// Places in one record of a compacted store.
const PLACES_IN_RECORD: usize = 256;

/// How much of the past a store keeps; the server keeps the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryMax {
    /// In messages.
    pub messages: usize,
    /// In bytes.
    pub bytes: usize,
}

impl HistoryMax {
    /// For a person: the last 10,000 messages within 32 MiB.
    pub const PERSON: Self = Self { messages: 10_000, bytes: 32 * 1024 * 1024 };
    /// None, for load generation.
    pub const NONE: Self = Self { messages: 0, bytes: 0 };
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The device's key, once it has one.
    pub key: Option<Seed>,
    /// Whose device it is, once it was registered.
    pub login: Option<Login>,
    /// Its tokens.
    pub tokens: Option<Tokens>,
    /// The stream that `cursor` counts in; 0 while nothing was received.
    pub stream_gen: u32,
    /// The last place of the inbox that is here.
    pub cursor: InboxSeq,
    /// The number that the next message gets.
    pub next_client_seq: ClientSeq,
    /// Bound messages that are not decided, ascending and dense: their SEND payloads.
    pub undecided: VecDeque<(ClientSeq, Bytes)>,
    /// Every change of a mark up to this version is here.
    pub marks_version: u64,
    /// How far conversations were received and read, where a history is kept.
    pub marks: BTreeMap<AccountId, Mark>,
    /// The newest places, ascending.
    pub history: VecDeque<Place>,
    /// What it knows of groups.
    pub groups: Groups,
    /// The newest messages of large groups, each group's in its order.
    pub logged: VecDeque<Place>,
    history_max: HistoryMax,
    history_bytes: usize,
    logged_bytes: usize,
    sent: VecDeque<(ClientSeq, Bytes)>,
}

impl State {
    /// Of a store without records.
    pub fn new(history_max: HistoryMax) -> Self {
        Self {
            key: None,
            login: None,
            tokens: None,
            stream_gen: 0,
            cursor: InboxSeq(0),
            next_client_seq: ClientSeq(1),
            undecided: VecDeque::new(),
            marks_version: 0,
            marks: BTreeMap::new(),
            history: VecDeque::new(),
            groups: Groups::default(),
            logged: VecDeque::new(),
            history_max,
            history_bytes: 0,
            logged_bytes: 0,
            sent: VecDeque::new(),
        }
    }

    /// What it is after `record`.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Key(seed) => self.key = Some(seed),
            Record::Login(login) => self.login = Some(login),
            Record::Tokens(tokens) => self.tokens = Some(tokens),
            Record::Bound { client_seq, send } => {
                self.next_client_seq = client_seq.next();
                self.undecided.push_back((client_seq, send));
            }
            Record::Decided { upto } => self.decide(upto),
            Record::Placed { stream_gen, places } => {
                self.stream_gen = stream_gen;
                places.into_iter().for_each(|place| self.place(place));
            }
            Record::Logged { messages } => {
                messages.into_iter().for_each(|message| self.log(message));
            }
            Record::Groups { listed, holes, known } => {
                (self.groups.listed, self.groups.holes) = (listed, holes);
                known.into_iter().for_each(|(group, known)| self.groups.set(group, known));
            }
            Record::Marked { version, marks } => {
                self.marks_version = self.marks_version.max(version);
                if self.history_max.messages > 0 {
                    for (with, mark) in marks {
                        let known = self.marks.entry(with).or_default();
                        *known = known.merge(mark);
                    }
                }
            }
            Record::Reset { stream_gen, cursor, numbers_from } => {
                (self.stream_gen, self.cursor) = (stream_gen, cursor);
                self.groups.unanchor();
                if let Some(next) = numbers_from {
                    self.next_client_seq = next;
                    self.undecided.clear();
                    self.sent.clear();
                }
            }
        }
    }

    /// The records that make this state out of nothing.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let first = self.undecided.front().map_or(self.next_client_seq, |(seq, _)| *seq);
        let runs = (0..self.history.len()).step_by(PLACES_IN_RECORD);
        let places = runs.map(|from| Record::Placed {
            stream_gen: self.stream_gen,
            places: self.history.iter().skip(from).take(PLACES_IN_RECORD).cloned().collect(),
        });
        let reset = Record::Reset {
            stream_gen: self.stream_gen,
            cursor: self.cursor,
            numbers_from: Some(first),
        };
        let bound = self.undecided.iter().map(|(client_seq, send)| Record::Bound {
            client_seq: *client_seq,
            send: send.clone(),
        });
        let logged: Vec<_> = self.logged.iter().cloned().collect();
        let logged: Vec<_> = logged.chunks(PLACES_IN_RECORD).map(<[_]>::to_vec).collect();
        let logged = logged.into_iter().map(|messages| Record::Logged { messages });
        // Behind the places: those that are left may look as if some had been skipped.
        let groups: Vec<_> = self.groups.iter().map(|(group, known)| (group, *known)).collect();
        let (listed, holes) = (self.groups.listed, self.groups.holes);
        let groups: Vec<_> = match groups.as_slice() {
            [] => vec![Record::Groups { listed, holes, known: Vec::new() }],
            groups => (groups.chunks(PLACES_IN_RECORD))
                .map(|known| Record::Groups { listed, holes, known: known.to_vec() })
                .collect(),
        };
        let marks: Vec<_> = self.marks.iter().map(|(with, mark)| (*with, *mark)).collect();
        let runs: Vec<_> = marks.chunks(PLACES_IN_RECORD).map(<[_]>::to_vec).collect();
        let marked = runs.into_iter().map(|marks| Record::Marked { version: 0, marks });
        let all_marked = Record::Marked { version: self.marks_version, marks: Vec::new() };
        (self.key.clone().map(Record::Key).into_iter())
            .chain(self.login.clone().map(Record::Login))
            .chain(self.tokens.clone().map(Record::Tokens))
            .chain(places)
            .chain(logged)
            .chain([reset])
            .chain(groups)
            .chain(bound)
            .chain(marked)
            .chain([all_marked])
    }

    /// The newest `count` places that `wanted` wants, oldest first: what large groups' logs had comes
    /// behind what the inbox had, where both have it.
    pub fn newest(&self, count: usize, wanted: impl Fn(&Place) -> bool) -> Vec<Place> {
        let all = self.logged.iter().rev().chain(self.history.iter().rev());
        let found = all.filter(|place| wanted(place)).take(count);
        let mut found: Vec<_> = found.cloned().collect();
        found.reverse();
        found
    }

    fn decide(&mut self, upto: ClientSeq) {
        while self.undecided.front().is_some_and(|(seq, _)| *seq <= upto) {
            let Some(decided) = self.undecided.pop_front() else {
                return;
            };
            if self.history_max.messages > 0 {
                self.sent.push_back(decided);
            }
            if self.sent.len() > SENT_KEPT {
                self.sent.pop_front();
            }
        }
    }

    fn place(&mut self, mut place: Place) {
        self.cursor = place.seq;
        let own = self.login.as_ref().map(|login| login.account);
        let seen = own.map(|own| self.groups.placed(own, &place));
        if self.history_max.messages == 0 {
            return;
        }
        if seen == Some(Seen::ByLog) {
            place.content = Content::Hole;
        }
        if let Content::Sent(sent) = &mut place.content {
            self.fill_in(sent);
        }
        self.settle_own(&mut place);
        self.erase(&place);
        self.history_bytes += place.weight();
        self.history.push_back(place);
        while self.history.len() > self.history_max.messages
            || self.history_bytes > self.history_max.bytes
        {
            let Some(oldest) = self.history.pop_front() else {
                return;
            };
            self.history_bytes -= oldest.weight();
        }
    }

    /// A message of a large group's log.
    fn log(&mut self, mut place: Place) {
        let seen = place.in_group().map(|at| self.groups.logged(at));
        if self.history_max.messages == 0 || !matches!(seen, Some(Seen::Next | Seen::Behind(_))) {
            return;
        }
        self.settle_own(&mut place);
        self.erase(&place);
        self.logged_bytes += place.weight();
        self.logged.push_back(place);
        while self.logged.len() > self.history_max.messages
            || self.logged_bytes > self.history_max.bytes
        {
            let Some(oldest) = self.logged.pop_front() else { return };
            self.logged_bytes -= oldest.weight();
        }
    }

    /// A message of this account has its place in its group: it leaves the one where it was sent, and
    /// takes its body from there.
    fn settle_own(&mut self, place: &mut Place) {
        let Some(login) = &self.login else { return };
        let (own, device) = (login.account, login.device);
        let Content::Incoming(incoming) = &mut place.content else { return };
        let Some(group) = incoming.in_group.as_ref().map(|at| at.group) else { return };
        if incoming.sender.account != own {
            return;
        }
        let (msg_id, to) = (incoming.msg_id, Address::Group(group));
        let sent = self.history.iter_mut().rev().find_map(|place| match &mut place.content {
            Content::Sent(sent) if sent.msg_id == msg_id && sent.to == to => Some(place),
            Content::Sent(_) | Content::Incoming(_) | Content::Notice(_) | Content::Hole => None,
        });
        if let Some(place) = sent {
            self.history_bytes -= place.weight();
            if let Content::Sent(sent) = std::mem::replace(&mut place.content, Content::Hole)
                && incoming.body.is_empty()
            {
                incoming.body = sent.body;
            }
            self.history_bytes += place.weight();
        }
        if incoming.sender.device == device && incoming.body.is_empty() {
            let known = self.sent.iter().chain(&self.undecided);
            let known = known.filter_map(|(_, bytes)| wire::Send::decode(bytes.clone()).ok());
            let send = known.into_iter().find(|send| send.msg_id[..] == msg_id.0);
            incoming.body = send.map_or_else(Bytes::new, |send| send.body);
        }
    }

    /// A message that was deleted for everybody leaves this device too: its place stays.
    fn erase(&mut self, place: &Place) {
        let Some(own) = self.login.as_ref().map(|login| login.account) else { return };
        let Some(about) = place.about().filter(|about| about.act == Act::Delete) else { return };
        // Only who wrote it may delete it.
        if place.message(own).is_none_or(|(by, _)| by != about.author) {
            return;
        }
        let erased = Some((about.author, about.msg_id));
        for place in self.history.iter_mut().filter(|place| place.message(own) == erased) {
            self.history_bytes -= place.weight();
            place.content = Content::Hole;
            self.history_bytes += place.weight();
        }
        for place in self.logged.iter_mut().filter(|place| place.message(own) == erased) {
            self.logged_bytes -= place.weight();
            if let Content::Incoming(incoming) = &mut place.content {
                incoming.body = Bytes::new();
            }
            self.logged_bytes += place.weight();
        }
        self.sent.retain(|(_, payload)| {
            let send = wire::Send::decode(payload.clone());
            !send.is_ok_and(|send| send.msg_id[..] == about.msg_id.0)
        });
    }

    /// The server does not send the body of a message back to the device that sent it.
    fn fill_in(&self, sent: &mut Sent) {
        let own = self.login.as_ref().is_some_and(|login| login.device == sent.device);
        if !own || !sent.body.is_empty() {
            return;
        }
        let known = self.sent.iter().chain(&self.undecided);
        let payload = known.into_iter().find(|(seq, _)| *seq == sent.client_seq);
        let send = payload.and_then(|(_, bytes)| wire::Send::decode(bytes.clone()).ok());
        if let Some(send) = send
            && send.msg_id[..] == sent.msg_id.0
        {
            sent.body = send.body;
        }
    }
}
