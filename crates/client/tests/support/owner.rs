//! The owner of every shard: the engine of `iris_core` with a disk that is durable at once.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use iris_core::clock::{MonoUs, Now, WallMs};
use iris_core::engine::{Action, Engine};
use iris_core::entry::Entry;
use iris_core::id::{AccountId, DeviceNo, PublicKey, ShardCount, ShardId, TenantNo};
use iris_core::seq::{Epoch, HomeGen, InboxSeq};
use iris_core::shard::{
    Attach, Conn, DirectoryAnswer, Input, LinkNo, Shard, ShardKey, ToConn, Token,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::rows::Rows;

const SHARDS: u32 = 8;
const LINK: LinkNo = LinkNo(1);
/// What the credit of a device can make wait, and more.
const TO_CLIENT_MAX: usize = 2048;

/// What an edge tells one of its connections.
#[derive(Debug)]
pub enum Told {
    Frame(ToConn),
    /// The shard went elsewhere and the connection with it: the number that is expected there.
    Moved(u64),
}

struct Attached {
    attach: Attach,
    shard: ShardId,
    to: mpsc::Sender<Told>,
    /// WELCOME went out.
    welcomed: bool,
    stream_gen: u32,
    delivered: InboxSeq,
}

pub struct Owner {
    state: Mutex<State>,
}

pub struct State {
    began: Instant,
    count: ShardCount,
    epoch: Epoch,
    history: bool,
    pub engine: Engine,
    pub rows: Rows,
    conns: HashMap<Conn, Attached>,
    questions: BTreeMap<u64, oneshot::Sender<DirectoryAnswer>>,
    next: u64,
    actions: Vec<Action>,
}

impl Owner {
    pub fn new(history: bool) -> Self {
        let mut state = State {
            began: Instant::now(),
            count: ShardCount::new(SHARDS).unwrap(),
            epoch: Epoch(1),
            history,
            engine: Engine::new(1),
            rows: Rows::default(),
            conns: HashMap::new(),
            questions: BTreeMap::new(),
            next: 0,
            actions: Vec::new(),
        };
        for shard in state.count.shards() {
            state.serve(shard, Vec::new());
        }
        state.run();
        Self { state: Mutex::new(state) }
    }

    /// Keeps house for ever.
    pub async fn tick(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.with(State::push_again);
        }
    }

    /// Changes something, then does everything that follows from it.
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state);
        state.run();
        result
    }

    /// Every shard goes to the next owner, which is this one again.
    pub fn move_all(&self) {
        self.with(|state| {
            for shard in state.count.shards() {
                let now = state.now();
                state.engine.drain(now, shard, &mut state.actions);
                state.run();
            }
        });
    }

    pub async fn open(&self, account: AccountId, key: PublicKey, name: &str) -> DirectoryAnswer {
        let answer = self.with(|state| {
            let (token, answer) = state.question();
            let input = Input::Open { token, account, key, name: name.to_owned() };
            state.input(account, input);
            answer
        });
        answer.await.unwrap()
    }

    pub async fn open_linked(&self, account: AccountId, key: PublicKey) -> DirectoryAnswer {
        let answer = self.with(|state| {
            let (token, answer) = state.question();
            state.input(account, Input::OpenLinked { token, account, key });
            answer
        });
        answer.await.unwrap()
    }

    pub async fn refresh(
        &self,
        account: AccountId,
        device: DeviceNo,
        generation: u32,
    ) -> DirectoryAnswer {
        let answer = self.with(|state| {
            let (token, answer) = state.question();
            state.input(account, Input::Refresh { token, account, device, generation });
            answer
        });
        answer.await.unwrap()
    }

    pub fn device_key(&self, account: AccountId, device: DeviceNo) -> Option<PublicKey> {
        self.with(|state| {
            let shard = state.engine.shard(account.shard(state.count))?;
            Some(shard.account(account)?.devices.get(&device)?.key)
        })
    }

    pub fn new_account(&self) -> AccountId {
        let random = fastrand::u128(..);
        let count = ShardCount::new(SHARDS).unwrap();
        let shard = ShardId::new(u16::try_from(random % u128::from(SHARDS)).unwrap());
        AccountId::in_shard(shard, count, TenantNo(0), random)
    }

    pub fn attach(&self, mut attach: Attach) -> (Conn, mpsc::Receiver<Told>) {
        let (to, told) = mpsc::channel(TO_CLIENT_MAX);
        let conn = self.with(|state| {
            state.next += 1;
            let conn = Conn { link: LINK, id: state.next };
            attach.conn = conn;
            let shard = attach.account.shard(state.count);
            let delivered = attach.cursor;
            let stream_gen = attach.stream_gen;
            let attached = Attached {
                attach: attach.clone(),
                shard,
                to,
                welcomed: false,
                stream_gen,
                delivered,
            };
            state.conns.insert(conn, attached);
            state.input(attach.account, Input::Attach(attach));
            conn
        });
        (conn, told)
    }

    pub fn detach(&self, account: AccountId, conn: Conn) {
        self.with(|state| {
            state.conns.remove(&conn);
            state.input(account, Input::Detach { conn });
        });
    }
}

impl State {
    pub fn now(&self) -> Now {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap();
        Now { wall: WallMs(iris_client::wall_ms()), mono: MonoUs(micros + 1_000_000) }
    }

    pub fn shard_of(&self, account: AccountId) -> &Shard {
        self.engine.shard(account.shard(self.count)).unwrap()
    }

    pub fn input(&mut self, account: AccountId, input: Input) {
        let (now, shard) = (self.now(), account.shard(self.count));
        self.engine.input(now, shard, input, &mut self.actions);
    }

    fn question(&mut self) -> (Token, oneshot::Receiver<DirectoryAnswer>) {
        let (reply, answer) = oneshot::channel();
        self.next += 1;
        self.questions.insert(self.next, reply);
        (Token(self.next), answer)
    }

    fn serve(&mut self, id: ShardId, tail: Vec<Entry>) {
        let key = ShardKey { id, count: self.count, home_gen: HomeGen(0), epoch: self.epoch };
        let now = self.now();
        let shard = self.rows.recover(key, self.history, now.mono, tail);
        let block = self.engine.next_block();
        self.engine.serve(now, shard, block, &mut self.actions);
    }

    fn run(&mut self) {
        loop {
            let now = self.now();
            self.engine.tick(now, &mut self.actions);
            for action in std::mem::take(&mut self.actions) {
                self.perform(now, action);
            }
            let cover = self.engine.fence_cover();
            self.engine.fence_read(now, now.mono, cover, &mut self.actions);
            if self.actions.is_empty() {
                return;
            }
        }
    }

    fn perform(&mut self, now: Now, action: Action) {
        match action {
            Action::Write(formed) => self.engine.written(formed.seq),
            Action::Materialize { shard, flush, .. } => {
                self.rows.write(shard, flush);
                self.engine.flushed(now, shard, true, &mut self.actions);
            }
            Action::Load { shard, account } => {
                let state = self.rows.accounts.get(&account).cloned();
                let input = Input::Loaded { account, state };
                self.engine.input(now, shard, input, &mut self.actions);
            }
            Action::LoadInbox { shard, account, after, upto } => {
                let items = Some(self.rows.inbox(account, after, upto));
                let input = Input::InboxLoaded { account, asked: after, items };
                self.engine.input(now, shard, input, &mut self.actions);
            }
            Action::ToConn { conn, what, .. } => self.tell(conn, what),
            Action::Answer { token, answer } => {
                if let Some(reply) = self.questions.remove(&token.0) {
                    drop(reply.send(answer));
                }
            }
            Action::Drained(drained) => {
                self.engine.remove(drained.shard).unwrap();
                self.epoch = self.epoch.next();
                self.serve(drained.shard, drained.tail);
                self.attach_again(drained.shard);
            }
            Action::ReadForReceipts { shard, account, after, upto } => {
                let items = Some(self.rows.inbox(account, after, upto));
                let input = Input::ReceiptsRead { account, after, items };
                self.engine.input(now, shard, input, &mut self.actions);
            }
            Action::LoadMarks { shard, account, conn, above, after } => {
                let page = Some(self.rows.marks(account, above, after));
                let input = Input::MarksLoaded { account, conn, page };
                self.engine.input(now, shard, input, &mut self.actions);
            }
            Action::Fetch { shard, account, conn, corr, fetch } => {
                let page = Some(self.rows.history(account, fetch));
                let input = Input::Fetched { account, conn, corr, fetch, page };
                self.engine.input(now, shard, input, &mut self.actions);
            }
            Action::LoadGroup { shard, group } => {
                let state = self.rows.group(group).map(Box::new);
                let input = Input::GroupLoaded { group, state };
                self.engine.input(now, shard, input, &mut self.actions);
            }
            Action::ReadRoster { shard, account, conn, corr, group, after } => {
                let page = Some(self.rows.roster(group, after));
                let input = Input::RosterRead { account, conn, corr, group, page };
                self.engine.input(now, shard, input, &mut self.actions);
            }
            Action::ReadLog { shard, account, conn, corr, fetch } => {
                let messages = Some(self.rows.log(fetch));
                let input = Input::LogRead { account, conn, corr, fetch, messages };
                self.engine.input(now, shard, input, &mut self.actions);
            }
            // The other shard is on its way: it is pushed to again.
            Action::Signal { .. }
            | Action::Push { .. }
            | Action::Confirm { .. }
            | Action::Expect { .. } => {}
        }
    }

    fn tell(&mut self, conn: Conn, what: ToConn) {
        let Some(attached) = self.conns.get_mut(&conn) else { return };
        let told = match what {
            ToConn::Attached(state) if attached.welcomed => Told::Moved(state.next_client_seq.0),
            ToConn::Attached(ref state) => {
                attached.welcomed = true;
                (attached.stream_gen, attached.delivered) = (state.stream_gen, state.start);
                Told::Frame(what)
            }
            ToConn::Deliver { ref items, .. } => {
                attached.delivered = items.last().unwrap().seq;
                Told::Frame(what)
            }
            ToConn::Marks { version: Some(version), .. } => {
                attached.attach.marks = version;
                Told::Frame(what)
            }
            ToConn::Marks { .. }
            | ToConn::Presence { .. }
            | ToConn::Typing(_)
            | ToConn::Page { .. }
            | ToConn::Head { .. }
            | ToConn::LogPage { .. }
            | ToConn::SendAck { .. }
            | ToConn::SendNack { .. }
            | ToConn::Result { .. }
            | ToConn::Closed { .. } => Told::Frame(what),
        };
        if attached.to.try_send(told).is_err() {
            self.conns.remove(&conn);
        }
    }

    /// What an edge does when a shard has another owner.
    fn attach_again(&mut self, shard: ShardId) {
        let here = self.conns.values().filter(|attached| attached.shard == shard);
        let again = here.map(|attached| Attach {
            delivered: attached.delivered,
            stream_gen: attached.stream_gen,
            ..attached.attach.clone()
        });
        for attach in again.collect::<Vec<_>>() {
            self.input(attach.account, Input::Attach(attach));
        }
    }

    fn push_again(&mut self) {
        let now = self.now();
        for from in self.count.shards() {
            let waiting = self.engine.shard(from).into_iter().flat_map(Shard::waiting_peers);
            for to in waiting.collect::<Vec<_>>() {
                self.engine.input(now, from, Input::PeerReady { to }, &mut self.actions);
            }
        }
    }
}
