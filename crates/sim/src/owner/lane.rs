//! A lane's shell: it feeds the engine and performs what it wants.

use iris_core::account::InboxItem;
use iris_core::engine::{Action, Drained};
use iris_core::id::{AccountId, ShardId};
use iris_core::lane::Formed;
use iris_core::limits;
use iris_core::seq::{BlockSeq, InboxSeq};
use iris_core::shard::{DirectoryAnswer, Input, Token};

use crate::network::End;
use crate::packet::Packet;
use crate::store::{Answer, Block, Failed, Key, Query, Stored, Value};
use crate::world::{Event, World};

use super::groups::{Asked, account_of};
use super::history::{Apart, bodies_of};
use super::{Again, Fetching, FlushJob, Next};

/// How often a flush is tried before the shard captures it anew.
const FLUSH_TRIES: u32 = 8;

impl World {
    /// Feeds an input to a shard of a lane.
    pub(crate) fn feed(&mut self, owner: usize, shard: ShardId, input: Input) {
        let lane = self.owners[owner].lane_of(shard);
        let now = self.now_at(self.owners[owner].pod);
        let mut actions = Vec::new();
        let engine = &mut self.owners[owner].lanes[usize::from(lane)].engine;
        engine.input(now, shard, input, &mut actions);
        self.perform(owner, lane, actions);
        self.kick(owner, lane);
    }

    pub(crate) fn tick(&mut self, owner: usize, lane: u8) {
        self.owners[owner].lanes[usize::from(lane)].tick_at = None;
        self.kick(owner, lane);
    }

    /// Lets the engine do what time asks for, and asks to be woken for the rest.
    pub(crate) fn kick(&mut self, owner: usize, lane: u8) {
        if !self.owners[owner].alive {
            return;
        }
        let now = self.now_at(self.owners[owner].pod);
        let mut actions = Vec::new();
        let engine = &mut self.owners[owner].lanes[usize::from(lane)].engine;
        engine.tick(now, &mut actions);
        let began = self.now();
        self.note_release(owner, lane, began);
        self.perform(owner, lane, actions);
        if !self.owners[owner].alive {
            return;
        }
        let state = &mut self.owners[owner].lanes[usize::from(lane)];
        let next = state.engine.next_tick().0.saturating_sub(now.mono.0).max(50) + began;
        if state.tick_at.is_none_or(|at| at > next) {
            state.tick_at = Some(next);
            self.agenda.at(next, Event::Tick { owner, lane });
        }
        self.want_fence_read(owner);
    }

    pub(super) fn perform(&mut self, owner: usize, lane: u8, actions: Vec<Action>) {
        for action in actions {
            if self.owners[owner].alive {
                self.perform_one(owner, lane, action);
            }
        }
    }

    fn perform_one(&mut self, owner: usize, lane: u8, action: Action) {
        match action {
            Action::Write(formed) => self.write_block(owner, lane, formed),
            Action::Materialize { shard, flush, block } => {
                let engine = &self.owners[owner].lanes[usize::from(lane)].engine;
                let Some(key) = engine.shard(shard).map(iris_core::shard::Shard::key) else {
                    return;
                };
                let job = Box::new(FlushJob::new(shard, key.epoch, flush, block));
                self.write_flush(owner, lane, job);
            }
            Action::Load { shard, account } => {
                let next = Next::Account { lane, shard, account };
                self.read(owner, Query::Account(account), next);
            }
            Action::LoadInbox { shard, account, after, upto } => {
                let next = Next::Inbox { lane, shard, account, asked: after, upto };
                self.read(owner, Query::Inbox(account, upto), next);
            }
            Action::ReadForReceipts { shard, account, after, upto } => {
                let next = Next::Receipts { shard, account, after, upto };
                self.read(owner, Query::Inbox(account, upto), next);
            }
            Action::LoadMarks { shard, account, conn, above, .. } => {
                let next = Next::Marks { shard, account, conn, above };
                self.read(owner, Query::Marks(account), next);
            }
            Action::Fetch { shard, account, conn, corr, fetch } => {
                let asked = Fetching { account, conn, corr, fetch };
                let query = Query::Index(account, fetch.conversation);
                self.read(owner, query, Next::FetchIndex { shard, asked });
            }
            Action::LoadGroup { shard, group } => {
                self.read(owner, Query::Group(group), Next::Group { shard, group });
            }
            Action::ReadRoster { shard, account, conn, corr, group, after } => {
                let asked = Asked { account, conn, corr };
                self.read(owner, Query::Group(group), Next::Roster { shard, asked, group, after });
            }
            Action::ReadLog { shard, account, conn, corr, fetch } => {
                let asked = Asked { account, conn, corr };
                let query = Query::Log(fetch.group, fetch.after);
                self.read(owner, query, Next::Log { shard, asked, fetch });
            }
            Action::Signal { to, signal } => self.signal_to(owner, to, signal),
            Action::ToConn { conn, what, .. } => {
                if let Some(stream) = self.owners[owner].links.get(&conn.link).copied() {
                    self.send(stream, End::Other, Packet::ToConn { conn: conn.id, what });
                }
            }
            Action::Answer { token, answer } => self.answer_device(owner, token, answer),
            Action::Push { shard, to, items } => self.push(owner, shard, to, items),
            Action::Confirm { shard, link, from, upto } => {
                self.confirm(owner, shard, link, (from, upto));
            }
            Action::Expect { shard, link, from, next } => {
                self.expect(owner, shard, link, (from, next));
            }
            Action::Drained(drained) => self.drained(owner, drained),
        }
    }

    /// Freezes a block, and writes exactly that until the write succeeds.
    fn write_block(&mut self, owner: usize, lane: u8, formed: Formed) {
        let id = self.owners[owner].lane_id(lane);
        let state = &mut self.owners[owner].lanes[usize::from(lane)];
        let block = Block::new(state.hash, formed.header, formed.entries);
        state.hash = block.hash;
        let row = Stored::new(Key::Block(id, formed.seq), 0, Value::Block(block.into()));
        let row = Box::new(row);
        let rows = vec![Stored::clone(&row)];
        self.write(owner, rows, Next::Written { lane, block: formed.seq, row });
    }

    pub(super) fn written(&mut self, owner: usize, lane: u8, block: BlockSeq) {
        self.owners[owner].lanes[usize::from(lane)].engine.written(block);
        self.kick(owner, lane);
    }

    pub(super) fn write_flush(&mut self, owner: usize, lane: u8, job: Box<FlushJob>) {
        let rows = job.steps[job.step].clone();
        self.write(owner, rows, Next::Flushed { lane, job });
    }

    pub(super) fn flush_step(
        &mut self,
        owner: usize,
        lane: u8,
        mut job: Box<FlushJob>,
        written: bool,
    ) {
        if written {
            job.step += 1;
        } else {
            // All of it again, as the shell does.
            (job.step, job.erased, job.tries) = (0, 0, job.tries + 1);
        }
        let last = job.step + 1 == job.steps.len();
        if written && last && job.erased < job.erasures.len() {
            return self.erase_next(owner, lane, job);
        }
        let ended = job.step == job.steps.len() || job.tries == FLUSH_TRIES;
        if !ended && written {
            return self.write_flush(owner, lane, job);
        }
        if !ended {
            return self.later(owner, Again::Flush { lane, job }, 200_000);
        }
        let now = self.now_at(self.owners[owner].pod);
        let mut actions = Vec::new();
        let engine = &mut self.owners[owner].lanes[usize::from(lane)].engine;
        engine.flushed(now, job.shard, written, &mut actions);
        self.perform(owner, lane, actions);
        self.kick(owner, lane);
    }

    pub(super) fn account_read(
        &mut self,
        owner: usize,
        _lane: u8,
        (shard, account): (ShardId, AccountId),
        answer: Result<Answer, Failed>,
    ) {
        let input = match answer {
            Ok(answer) => {
                let state = account_of(Self::rows_of(answer));
                Input::Loaded { account, state }
            }
            Err(Failed) => Input::LoadFailed { account },
        };
        self.feed(owner, shard, input);
    }

    pub(super) fn inbox_read(
        &mut self,
        owner: usize,
        _lane: u8,
        (shard, account): (ShardId, AccountId),
        (asked, upto): (InboxSeq, InboxSeq),
        answer: Result<Answer, Failed>,
    ) {
        let items = answer.ok().map(|answer| page_of(Self::rows_of(answer), asked, upto));
        self.book.sometimes.read_back += u64::from(items.is_some());
        if let Some(places) = items.as_deref().and_then(bodies_of) {
            let items = Apart::Inbox { account, asked, items: items.unwrap_or_default() };
            let next = Next::Bodies { shard, items: Box::new(items) };
            return self.read(owner, Query::Bodies(places), next);
        }
        self.feed(owner, shard, Input::InboxLoaded { account, asked, items });
    }

    /// Somebody registers a device.
    pub(super) fn open_device(&mut self, owner: usize, device: usize, shard: ShardId) {
        let lane = usize::from(self.owners[owner].lane_of(shard));
        if self.owners[owner].lanes[lane].engine.shard(shard).is_none() {
            return;
        }
        let state = &mut self.owners[owner];
        state.next_token += 1;
        let token = Token(state.next_token);
        state.questions.insert(token, device);
        let (account, key, name) = self.devices[device].identity();
        self.feed(owner, shard, Input::Open { token, account, key, name });
    }

    fn answer_device(&mut self, owner: usize, token: Token, answer: DirectoryAnswer) {
        let Some(device) = self.owners[owner].questions.remove(&token) else { return };
        if let DirectoryAnswer::Tokens { device: number, .. } = answer {
            self.registered(device, number);
        }
    }

    /// A shard is ready to be released: whoever moves it is told, a moment later, as between tasks.
    fn drained(&mut self, owner: usize, drained: Drained) {
        let us = 20 + self.random.around(1_500);
        let again = Again::Remove { drained };
        self.agenda.after(us, Event::Again { owner, again });
    }
}

/// The wanted places of what was read: where runs overlap, the newer row counts; at most so many bytes.
pub(super) fn page_of(rows: Vec<Stored>, asked: InboxSeq, upto: InboxSeq) -> Vec<InboxItem> {
    let mut places: std::collections::BTreeMap<InboxSeq, (i64, InboxItem)> = Default::default();
    for row in rows {
        let Value::Run(items) = &row.cell.value else { continue };
        for item in items.iter().filter(|item| item.seq > asked && item.seq <= upto) {
            let known = places.get(&item.seq).map(|(stamp, _)| *stamp);
            if known.is_none_or(|stamp| stamp < row.cell.stamp) {
                places.insert(item.seq, (row.cell.stamp, item.clone()));
            }
        }
    }
    let mut bytes = 0;
    let fits = |(_, item): &(i64, InboxItem)| {
        let first = bytes == 0;
        bytes += item.weight();
        first || bytes <= limits::INBOX_LOAD_BYTES / 64
    };
    places.into_values().take_while(fits).map(|(_, item)| item).collect()
}
