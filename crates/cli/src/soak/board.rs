//! What the devices of a run report: the ledger, the waits, and what happened to connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_client::place::{Content, Place};
use iris_client::{Event, Handler, Outcome, Why};
use iris_core::clock::Hlc;
use iris_core::code::Code;
use iris_core::id::AccountId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::groups::{Odd, Plan, Watched};
use super::ledger::Ledger;
use super::message::{Body, Tag};
use super::waits::Waits;

/// What the devices write to.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) run: u64,
    pub(super) payload_bytes: usize,
    pub(super) began: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ledger: Ledger,
    pub(super) waits: Vec<Waits>,
    pub(super) receipts: Receipts,
    pub(super) groups: Watched,
    pub(super) events: Events,
}

/// How far messages arrived, and how far their writers were told so, by writer.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    arrived: Vec<Hlc>,
    told: Vec<Hlc>,
}

impl Receipts {
    fn new(devices: usize) -> Self {
        Self { arrived: vec![Hlc(0); devices], told: vec![Hlc(0); devices] }
    }

    /// How many writers were not told of everything that arrived.
    pub(super) fn missing(&self) -> u64 {
        let pairs = self.arrived.iter().zip(&self.told);
        pairs.filter(|(arrived, told)| told < arrived).count() as u64
    }
}

/// What happened besides messages.
#[derive(Debug, Default, Clone)]
pub(super) struct Events {
    /// Times that the server asked to send again, by code.
    pub(super) retries: BTreeMap<String, u64>,
    /// Final refusals, by code.
    pub(super) refusals: BTreeMap<String, u64>,
    /// Ends of connections, by reason.
    pub(super) disconnects: BTreeMap<String, u64>,
    pub(super) connects: u64,
    pub(super) gaps: u64,
    /// Places of groups that a device found skipped.
    pub(super) group_gaps: u64,
    pub(super) missed: u64,
    pub(super) holes: u64,
    pub(super) damaged: u64,
    pub(super) foreign: u64,
    /// Writers that were not told of everything that arrived; counted at the end.
    pub(super) receipts_missing: u64,
    /// Copies of own messages.
    pub(super) copies: u64,
    /// Devices that gave up, with their words.
    pub(super) stopped: Vec<String>,
    /// The last words about a connection.
    pub(super) last_trouble: String,
}

impl Board {
    pub(super) fn new(run: u64, payload_bytes: usize, pairs: usize, plan: &Plan) -> Arc<Self> {
        let ledger = Ledger::new(pairs);
        let waits = vec![Waits::default(); plan.connected];
        let receipts = Receipts::new(pairs);
        let groups = Watched::new(pairs, plan.groups, plan.online);
        let state = State { ledger, waits, receipts, groups, events: Events::default() };
        Arc::new(Self { run, payload_bytes, began: Instant::now(), state: Mutex::new(state) })
    }

    /// Microseconds since the board was made.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Whether a device is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Away(String),
    Connected,
    Stopped(iris_client::Stop),
}

/// The handler of one device.
pub(super) struct Reporter {
    pub(super) board: Arc<Board>,
    pub(super) device: usize,
    /// The account of the other of the pair, where the device is of one.
    pub(super) partner: Option<AccountId>,
    pub(super) standing: watch::Sender<Standing>,
    /// It takes its time, which does not count.
    pub(super) is_slow: bool,
}

impl Handler for Reporter {
    fn event(&mut self, event: Event) {
        let now = self.board.now_us();
        match event {
            Event::Placed(place) => self.placed(place, now),
            Event::Decided { msg_id, outcome, .. } => {
                let mut state = self.board.state.lock();
                match Tag::of_msg_id(&msg_id, self.board.run) {
                    Some((direction, number)) => {
                        let accepted = outcome == Outcome::Accepted;
                        match state.groups.writer(direction) {
                            Some((group, member)) => {
                                state.groups.ledger.decided(group, member, number, accepted);
                            }
                            None => {
                                state.ledger.decided(direction as usize, number, accepted, now);
                            }
                        }
                        state.waits[self.device].decided(now);
                    }
                    // Left over from an earlier run, or a change of a group.
                    None => state.events.foreign += 1,
                }
                if let Outcome::Refused { code } = outcome {
                    *state.events.refusals.entry(named(code)).or_default() += 1;
                }
            }
            Event::Nacked { code, retry_in_ms, .. } => {
                let mut state = self.board.state.lock();
                *state.events.retries.entry(named(code)).or_default() += 1;
                state.ledger.put_off(self.device);
                state.waits[self.device].told_to_retry(now, u64::from(retry_in_ms) * 1000);
            }
            Event::Connected { .. } => {
                let mut state = self.board.state.lock();
                state.events.connects += 1;
                state.waits[self.device].connected(now);
                drop(state);
                self.standing.send_replace(Standing::Connected);
            }
            Event::Disconnected { why, .. } => {
                let (reason, words) = told(&why);
                let mut state = self.board.state.lock();
                *state.events.disconnects.entry(reason).or_default() += 1;
                state.waits[self.device].disconnected(now);
                state.events.last_trouble.clone_from(&words);
                drop(state);
                self.standing.send_replace(Standing::Away(words));
            }
            Event::Logged(place) => self.placed(place, now),
            Event::GroupGap(_) => self.board.state.lock().events.group_gaps += 1,
            Event::Gap { .. } => self.board.state.lock().events.gaps += 1,
            Event::Missed { .. } => self.board.state.lock().events.missed += 1,
            Event::Stopped(stop) => {
                let mut state = self.board.state.lock();
                state.waits[self.device].disconnected(now);
                state.events.stopped.push(stop.to_string());
                drop(state);
                self.standing.send_replace(Standing::Stopped(stop));
            }
            Event::Marked { with, mark } if Some(with) == self.partner => {
                let told = &mut self.board.state.lock().receipts.told[self.device];
                *told = mark.delivered.max(*told);
            }
            Event::Marked { .. }
            | Event::Presence { .. }
            | Event::Typing(_)
            | Event::Acked { .. } => {}
        }
    }
}

impl Reporter {
    fn placed(&self, place: Place, now: u64) {
        let board = &self.board;
        let mut state = board.state.lock();
        match place.content {
            Content::Incoming(incoming) if incoming.in_group.is_some() => {
                let of_run = (board.run, board.payload_bytes);
                match state.groups.arrived(self.device, &incoming, of_run, now) {
                    Ok(()) => {}
                    Err(Odd::Foreign) => state.events.foreign += 1,
                    Err(Odd::Damaged) => state.events.damaged += 1,
                }
            }
            Content::Incoming(incoming) => {
                match Tag::read(&incoming.body, board.run, board.payload_bytes) {
                    Body::Message(tag) => {
                        let direction = tag.direction as usize;
                        let expected = direction == (self.device ^ 1)
                            && Some(incoming.sender.account) == self.partner
                            && incoming.msg_id == tag.msg_id();
                        if expected {
                            let arrived = &mut state.receipts.arrived[direction];
                            *arrived = incoming.clock.max(*arrived);
                            let due = (!self.is_slow).then_some(tag.due_us);
                            state.ledger.delivered(direction, tag.number, due, now);
                        } else {
                            state.ledger.strayed();
                        }
                    }
                    Body::Foreign => state.events.foreign += 1,
                    Body::Damaged => state.events.damaged += 1,
                }
            }
            Content::Sent(_) => state.events.copies += 1,
            Content::Notice(notice) => match Tag::of_msg_id(&notice.msg_id, board.run) {
                Some((direction, number)) => {
                    *state.events.refusals.entry(named(notice.code)).or_default() += 1;
                    match state.groups.writer(direction) {
                        Some((group, member)) => {
                            state.groups.ledger.noticed(group, member, number);
                        }
                        None => state.ledger.noticed(direction as usize, number),
                    }
                }
                None => state.events.foreign += 1,
            },
            Content::Hole => state.events.holes += 1,
        }
    }
}

/// A code with its name.
pub(crate) fn named(code: u32) -> String {
    Code::from_number(code).map_or_else(|| code.to_string(), |name| format!("{code} {name:?}"))
}

/// Why a connection ended: for a table, and for people.
pub(crate) fn told(why: &Why) -> (String, String) {
    let (reason, words) = match why {
        Why::Lost(text) => ("lost".to_owned(), format!("the connection was lost: {text}")),
        Why::Unreachable(text) => ("unreachable".to_owned(), text.clone()),
        Why::Ended { code, text } => {
            (named(*code), format!("the server ended the connection: {} {text}", named(*code)))
        }
        Why::Leaving { code } => (named(*code), "the server asked to leave".to_owned()),
        Why::Gap => ("gap".to_owned(), "the server skipped a message".to_owned()),
        Why::Snapshot => ("snapshot".to_owned(), "the inbox goes on elsewhere".to_owned()),
        Why::Protocol(text) => {
            (format!("protocol: {text}"), format!("the server broke the protocol: {text}"))
        }
        Why::Asked => ("asked".to_owned(), "as asked".to_owned()),
    };
    (reason, words.trim_end().to_owned())
}
