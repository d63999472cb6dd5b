//! An owner process: what the shell of the data plane does around the core, without its I/O.

mod acquire;
mod fence;
mod flush;
mod groups;
mod hand_over;
mod history;
mod lane;
mod links;
mod recover;
mod takeover;

use std::collections::{BTreeMap, BTreeSet};

use iris_check::history::What;
use iris_core::block::ChainHash;
use iris_core::engine::{Drained, Engine};
use iris_core::id::{AccountId, GroupId, LaneId, LaneNo, SessionId, ShardId};
use iris_core::seq::{BlockSeq, Epoch, InboxSeq};
use iris_core::shard::{Conn, Fetch, HistoryPoint, Input, LinkNo, LogFetch, Token};
use iris_core::signal::Signal;
use iris_core::takeover::Reading;

use crate::control::{Assignment, Board, Whereabouts};
use crate::network::{Node, StreamNo};
use crate::plan::Plan;
use crate::store::{Answer, Done, Key, Stored, Value};
use crate::world::{Event, World};

pub(crate) use acquire::{Acquire, AcquireStep};
pub(crate) use flush::FlushJob;
pub(crate) use hand_over::HandOver;
pub(crate) use recover::Hot;
pub(crate) use takeover::{TakeoverJob, chain_of};

/// An owner reports so often.
const REPORT_US: u64 = 400_000;

/// A process. See the module.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) pod: usize,
    pub(crate) id: SessionId,
    pub(crate) alive: bool,
    pub(crate) frozen: bool,
    /// What happened to it while it was frozen.
    pub(crate) deferred: Vec<Event>,
    pub(crate) deferred_answers: Vec<Done<Then>>,
    pub(crate) lanes: Vec<Lane>,
    fence: fence::Fence,
    pub(crate) held: BTreeMap<ShardId, Holding>,
    wanted: Assignment,
    takeovers: BTreeMap<SessionId, TakeoverJob>,
    acquires: BTreeMap<ShardId, Acquire>,
    hand_overs: BTreeMap<ShardId, HandOver>,
    pub(crate) routes: Board,
    moved: BTreeMap<ShardId, Whereabouts>,
    links: BTreeMap<LinkNo, StreamNo>,
    outgoing: BTreeMap<(usize, u8), StreamNo>,
    next_link: u32,
    /// Devices that are being opened, by their questions.
    questions: BTreeMap<Token, usize>,
    next_token: u64,
}

/// A lane, and what surrounds its engine.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) engine: Engine,
    hash: ChainHash,
    /// When it looks at the time next.
    tick_at: Option<u64>,
    /// What was released when that was last written down.
    let_go: BlockSeq,
}

/// What is going on with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    Acquiring,
    Serving(Epoch),
    Leaving(Epoch),
}

/// What goes on with an answer of the store.
#[derive(Debug)]
pub(crate) struct Then {
    pub(crate) owner: usize,
    pub(crate) next: Next,
}

#[derive(Debug)]
pub(crate) enum Next {
    Opened,
    Written { lane: u8, block: BlockSeq, row: Box<Stored> },
    FenceRead,
    Flushed { lane: u8, job: Box<FlushJob> },
    Account { lane: u8, shard: ShardId, account: AccountId },
    Inbox { lane: u8, shard: ShardId, account: AccountId, asked: InboxSeq, upto: InboxSeq },
    Receipts { shard: ShardId, account: AccountId, after: InboxSeq, upto: InboxSeq },
    Marks { shard: ShardId, account: AccountId, conn: Conn, above: u64 },
    FetchIndex { shard: ShardId, asked: Fetching },
    FetchPlaces { shard: ShardId, asked: Fetching, points: Vec<HistoryPoint> },
    Bodies { shard: ShardId, items: Box<history::Apart> },
    Group { shard: ShardId, group: GroupId },
    Roster { shard: ShardId, asked: groups::Asked, group: GroupId, after: Option<AccountId> },
    Log { shard: ShardId, asked: groups::Asked, fetch: LogFetch },
    EraseIndex { lane: u8, job: Box<FlushJob> },
    EraseLog { lane: u8, job: Box<FlushJob> },
    ErasePlaces { lane: u8, job: Box<FlushJob>, places: Vec<InboxSeq> },
    TakeOver { dead: SessionId, ask: iris_core::takeover::Ask },
    Acquire { shard: ShardId, step: AcquireStep },
    Released { shard: ShardId },
    AfterRelease { shard: ShardId },
}

/// A page of history that somebody waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetching {
    pub(crate) account: AccountId,
    pub(crate) conn: Conn,
    pub(crate) corr: u32,
    pub(crate) fetch: Fetch,
}

/// Something that is tried again after a while.
#[derive(Debug)]
pub(crate) enum Again {
    Open,
    Write { lane: u8, block: BlockSeq, row: Box<Stored> },
    Fence,
    Flush { lane: u8, job: Box<FlushJob> },
    TakeOver { dead: SessionId, ask: iris_core::takeover::Ask },
    Acquire { shard: ShardId, step: AcquireStep },
    Remove { drained: Drained },
    Release { shard: ShardId },
    AfterRelease { shard: ShardId },
    DrainPatience { shard: ShardId, turn: u64 },
    ClaimPatience { shard: ShardId, turn: u64 },
    LookAfter,
    Signal { to: ShardId, signal: Signal },
}

/// A call between processes: it arrives or it does not.
#[derive(Debug)]
pub(crate) enum Call {
    /// The control plane assigns.
    Assign(Assignment),
    /// The control plane says that this session is dead for it.
    End,
    /// The control plane wants a shard moved.
    Release { shard: ShardId, epoch: Epoch, target: usize },
    /// A source hands over.
    Claim { shard: ShardId, released: Epoch, hot: Option<Box<Hot>>, source: usize, turn: u64 },
    /// A target answers; nothing when it did not claim.
    Claimed { shard: ShardId, epoch: Option<Epoch>, turn: u64 },
    /// Somebody registers a device.
    Open { device: usize, shard: ShardId },
}

/// What an owner says of itself.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) owner: usize,
    pub(crate) serving: BTreeMap<ShardId, Epoch>,
}

impl Owner {
    fn new(pod: usize, id: SessionId, plan: &Plan, routes: Board) -> Self {
        let lanes = plan.pods[pod];
        let log = || iris_core::lane::Lane::with_blocks_of(lanes, plan.block_entries);
        let lane = |_| Lane {
            engine: Engine::over(log()).handing_over_at_most(plan.handed_max),
            hash: ChainHash::START,
            tick_at: None,
            let_go: BlockSeq(0),
        };
        Self {
            pod,
            id,
            alive: true,
            frozen: false,
            deferred: Vec::new(),
            deferred_answers: Vec::new(),
            lanes: (0..lanes).map(lane).collect(),
            fence: fence::Fence::default(),
            held: BTreeMap::new(),
            wanted: Assignment::default(),
            takeovers: BTreeMap::new(),
            acquires: BTreeMap::new(),
            hand_overs: BTreeMap::new(),
            routes,
            moved: BTreeMap::new(),
            links: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            next_link: 0,
            questions: BTreeMap::new(),
            next_token: 0,
        }
    }

    fn count(&self) -> u8 {
        u8::try_from(self.lanes.len()).expect("few lanes")
    }

    /// The lane of a shard.
    pub(crate) fn lane_of(&self, shard: ShardId) -> u8 {
        LaneNo::of_shard(shard, self.count()).0
    }

    fn lane_id(&self, lane: u8) -> LaneId {
        LaneId { session: self.id, lane: LaneNo(lane) }
    }

    /// The shards that it serves, with their ownerships.
    pub(crate) fn serving(&self) -> BTreeMap<ShardId, Epoch> {
        let serving = self.held.iter().filter_map(|(shard, holding)| match holding {
            Holding::Serving(epoch) => Some((*shard, *epoch)),
            Holding::Acquiring | Holding::Leaving(_) => None,
        });
        serving.collect()
    }

    /// Whether nothing is on its way to being released, to another shard or to a device.
    pub(crate) fn is_quiet(&self) -> bool {
        self.lanes.iter().all(|lane| {
            lane.engine
                .shards()
                .all(|shard| shard.is_handed_out() && shard.waiting_peers().next().is_none())
        })
    }
}

impl World {
    /// A pod starts an owner.
    pub(crate) fn start(&mut self, pod: usize) {
        if self.running(pod).is_some() {
            return;
        }
        let id = SessionId::from_random(self.random.bytes());
        let routes = self.control.board.clone();
        self.owners.push(Owner::new(pod, id, &self.plan, routes));
        let owner = self.owners.len() - 1;
        self.by_session.insert(id, owner);
        self.open(owner);
    }

    /// The owner that runs in a pod.
    pub(crate) fn running(&self, pod: usize) -> Option<usize> {
        self.owners.iter().rposition(|owner| owner.pod == pod && owner.alive)
    }

    /// A session records its lanes before its first claim.
    fn open(&mut self, owner: usize) {
        let id = self.owners[owner].id;
        let lanes = Value::Lanes(self.owners[owner].count());
        self.write(owner, vec![Stored::new(Key::Lanes(id), 0, lanes)], Next::Opened);
    }

    fn opened(&mut self, owner: usize) {
        self.agenda.after(1, Event::Report { owner });
        self.agenda.after(5_000_000, Event::Again { owner, again: Again::LookAfter });
        self.read_fence(owner);
    }

    /// An owner says what it serves, as often as it should.
    pub(crate) fn report(&mut self, owner: usize) {
        self.say(owner);
        self.agenda.after(REPORT_US, Event::Report { owner });
    }

    /// An owner says what it serves, once.
    fn say(&mut self, owner: usize) {
        let state = &self.owners[owner];
        let report = Report { owner, serving: state.serving() };
        let pod = state.pod;
        if !self.network.is_cut(Node::Pod(pod), Node::Control, self.now()) {
            let us = self.network.delay(&mut self.random);
            self.agenda.after(us, Event::Heard { owner, report });
        }
    }

    /// The process is gone: what it had in memory is, and its streams break.
    pub(crate) fn end_owner(&mut self, owner: usize, restart_us: u64) {
        let state = &mut self.owners[owner];
        if !state.alive {
            return;
        }
        state.alive = false;
        (state.frozen, state.deferred, state.deferred_answers) = (false, Vec::new(), Vec::new());
        // Dropped with the process.
        state.lanes.clear();
        let pod = state.pod;
        for stream in self.network.between(Node::Pod(pod), None) {
            self.close_stream(stream, None);
        }
        self.control.stream_broke(owner, self.agenda.now());
        self.agenda.after(restart_us, Event::Start { pod });
    }

    pub(crate) fn freeze(&mut self, owner: usize, us: u64) {
        self.owners[owner].frozen = true;
        self.agenda.after(us, Event::Thaw { owner });
    }

    /// A frozen owner lives what it missed, as fast as it can.
    pub(crate) fn thaw(&mut self, owner: usize) {
        let state = &mut self.owners[owner];
        if !state.alive {
            return;
        }
        state.frozen = false;
        let events = std::mem::take(&mut state.deferred);
        let answers = std::mem::take(&mut state.deferred_answers);
        // Timers, packets and answers that are due all at once come in any order.
        let mut order: Vec<Result<Event, Done<Then>>> =
            events.into_iter().map(Ok).chain(answers.into_iter().map(Err)).collect();
        if self.random.chance(300) {
            order.reverse();
        }
        for what in order {
            match what {
                Ok(event) => self.agenda.after(1, event),
                Err(done) => self.stored(done),
            }
        }
    }

    /// What an answer of the store leads to.
    pub(crate) fn answered(&mut self, done: Done<Then>) {
        let (owner, answer) = (done.then.owner, done.answer);
        match done.then.next {
            Next::Opened => match answer {
                Ok(_) => self.opened(owner),
                Err(_) => self.later(owner, Again::Open, 200_000),
            },
            Next::Written { lane, block, row } => match answer {
                Ok(_) => self.written(owner, lane, block),
                Err(_) => self.later(owner, Again::Write { lane, block, row }, 100_000),
            },
            Next::FenceRead => self.fence_read(owner, answer),
            Next::Flushed { lane, job } => self.flush_step(owner, lane, job, answer.is_ok()),
            Next::Account { lane, shard, account } => {
                self.account_read(owner, lane, (shard, account), answer);
            }
            Next::Inbox { lane, shard, account, asked, upto } => {
                self.inbox_read(owner, lane, (shard, account), (asked, upto), answer);
            }
            Next::Receipts { shard, account, after, upto } => {
                let items = answer.ok().map(|a| lane::page_of(Self::rows_of(a), after, upto));
                self.feed(owner, shard, Input::ReceiptsRead { account, after, items });
            }
            Next::Marks { shard, account, conn, above } => {
                self.marks_read(owner, shard, (account, conn, above), answer);
            }
            Next::FetchIndex { shard, asked } => self.index_read(owner, shard, asked, answer),
            Next::FetchPlaces { shard, asked, points } => {
                self.places_read(owner, shard, asked, (points, answer));
            }
            Next::Bodies { shard, items } => self.bodies_read(owner, shard, *items, answer),
            Next::Group { shard, group } => self.group_read(owner, shard, group, answer),
            Next::Roster { shard, asked, group, after } => {
                self.roster_read(owner, shard, (asked, group, after), answer);
            }
            Next::Log { shard, asked, fetch } => {
                self.log_read(owner, shard, (asked, fetch), answer);
            }
            Next::EraseLog { lane, job } => self.erase_log(owner, lane, job, answer),
            Next::EraseIndex { lane, job } => self.erase_place(owner, lane, job, answer),
            Next::ErasePlaces { lane, job, places } => {
                self.erase_rows(owner, lane, job, (places, answer));
            }
            Next::TakeOver { dead, ask } => self.takeover_answered(owner, dead, ask, answer),
            Next::Acquire { shard, step } => self.acquire_answered(owner, shard, step, answer),
            Next::Released { shard } => self.release_answered(owner, shard, answer),
            Next::AfterRelease { shard } => self.after_release(owner, shard, answer),
        }
    }

    pub(crate) fn again(&mut self, owner: usize, again: Again) {
        match again {
            Again::Open => self.open(owner),
            Again::Write { lane, block, row } => {
                let rows = vec![Stored::clone(&row)];
                self.write(owner, rows, Next::Written { lane, block, row });
            }
            Again::Fence => self.read_fence(owner),
            Again::Flush { lane, job } => self.write_flush(owner, lane, job),
            Again::TakeOver { dead, ask } => self.ask_for_takeover(owner, dead, ask),
            Again::Acquire { shard, step } => self.acquire_step(owner, shard, step),
            Again::Remove { drained } => self.remove_drained(owner, drained),
            Again::Release { shard } => self.send_release(owner, shard),
            Again::AfterRelease { shard } => self.look_after_release(owner, shard),
            Again::DrainPatience { shard, turn } => self.drain_takes_too_long(owner, shard, turn),
            Again::ClaimPatience { shard, turn } => {
                self.claim_answered(owner, shard, None, turn);
            }
            Again::Signal { to, signal } => self.signal_here(owner, to, signal),
            Again::LookAfter => {
                self.acquire_missing(owner);
                self.later(owner, Again::LookAfter, 5_000_000);
            }
        }
    }

    /// Tries something again after about so long.
    fn later(&mut self, owner: usize, again: Again, us: u64) {
        let us = us / 2 + self.random.between(0, us);
        self.agenda.after(us, Event::Again { owner, again });
    }

    pub(crate) fn call(&mut self, owner: usize, call: Call) {
        match call {
            Call::Assign(assignment) => {
                if assignment.revision > self.owners[owner].wanted.revision {
                    self.owners[owner].wanted = assignment;
                    self.acquire_missing(owner);
                }
            }
            Call::End => {
                let us = self.random.between(100_000, 1_500_000);
                self.end_owner(owner, us);
            }
            Call::Release { shard, epoch, target } => self.release(owner, shard, epoch, target),
            Call::Claim { shard, released, hot, source, turn } => {
                let hot = hot.map(|hot| *hot);
                self.claim_released(owner, shard, released, hot, (source, turn));
            }
            Call::Claimed { shard, epoch, turn } => self.claim_answered(owner, shard, epoch, turn),
            Call::Open { device, shard } => self.open_device(owner, device, shard),
        }
    }

    /// Calls an owner, from a node: it arrives unless they are cut off from each other.
    pub(crate) fn call_from(&mut self, from: Node, owner: usize, call: Call) {
        let pod = self.owners[owner].pod;
        if !self.network.is_cut(from, Node::Pod(pod), self.now()) {
            let us = self.network.delay(&mut self.random);
            self.agenda.after(us, Event::Call { owner, call });
        }
    }

    fn write(&mut self, owner: usize, rows: Vec<Stored>, next: Next) {
        let pod = self.owners[owner].pod;
        let (store, mut around) = self.store();
        store.write(pod, rows, Then { owner, next }, &mut around);
    }

    fn read(&mut self, owner: usize, query: crate::store::Query, next: Next) {
        let pod = self.owners[owner].pod;
        let (store, mut around) = self.store();
        store.read(pod, query, Then { owner, next }, &mut around);
    }

    fn swap(&mut self, owner: usize, swap: crate::store::Swap, next: Next) {
        let pod = self.owners[owner].pod;
        let (store, mut around) = self.store();
        store.swap(pod, swap, Then { owner, next }, &mut around);
    }

    fn read_epochs(&mut self, owner: usize, of: (ShardId, Reading), next: Next) {
        let pod = self.owners[owner].pod;
        let (store, mut around) = self.store();
        store.read_epochs(pod, of, Then { owner, next }, &mut around);
    }

    fn read_seal(&mut self, owner: usize, lane: LaneId, next: Next) {
        let pod = self.owners[owner].pod;
        let (store, mut around) = self.store();
        store.read_seal(pod, lane, Then { owner, next }, &mut around);
    }

    /// Begins to acquire every shard that should be here and is not.
    pub(crate) fn acquire_missing(&mut self, owner: usize) {
        let wanted: BTreeSet<ShardId> = self.owners[owner].wanted.shards.clone();
        for shard in wanted {
            let held = self.owners[owner].held.entry(shard);
            if let std::collections::btree_map::Entry::Vacant(free) = held {
                free.insert(Holding::Acquiring);
                self.acquire(owner, shard);
            }
        }
    }

    pub(crate) fn note(&mut self, what: What) {
        let now = self.now();
        self.book.note(now, what);
    }

    /// An unusable answer of the store would be a defect of the model.
    fn rows_of(answer: Answer) -> Vec<Stored> {
        match answer {
            Answer::Rows(rows) => rows,
            Answer::Written | Answer::Swapped(_) | Answer::Epochs(_) | Answer::Sealed(_) => {
                unreachable!("a read is answered with rows")
            }
        }
    }
}
