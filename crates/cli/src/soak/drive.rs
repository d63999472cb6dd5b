//! A run: gather, connect, send at the rate, settle, judge.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{FutureExt as _, join_all};
use iris_client::Draft;
use iris_core::id::AccountId;
use iris_core::message::{Address, Bodies};
use iris_core::seq::ConvSeq;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connect::connector;
use crate::failure::Failure;
use crate::output::Output;
use crate::profile::Server;

use super::SoakArgs;
use super::board::Board;
use super::groups::{self, Plan, Traffic};
use super::latency::Latencies;
use super::message::Tag;
use super::people::{self, Connected, Device};
use super::progress::Progress;
use super::report::{GroupReport, Report, Run};
use super::schedule::{Roles, Schedule};
use super::waits::Longest;

/// How often the schedule is looked at.
const TICK: Duration = Duration::from_millis(1);
/// How often the ledger is looked at after the last message.
const LOOK: Duration = Duration::from_millis(10);
/// Longer nobody waits for a device to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Sends what is due.
struct Sender<'a> {
    board: &'a Board,
    schedule: Schedule,
    /// When the first message is due, in the board's time.
    from_us: u64,
    connected: &'a [Connected],
    /// The devices that write: the senders, in their order.
    writers: Vec<usize>,
    /// To whom each sender writes.
    to: Vec<AccountId>,
    /// Messages that are due and that a client has not taken yet, by sender.
    waiting: Vec<u64>,
    /// Those of all senders.
    waiting_all: u64,
    /// The next message of the run.
    next: u64,
    lag: Latencies,
    held_back: u64,
}

pub(super) async fn run(
    output: &mut Output,
    server: &Server,
    args: &SoakArgs,
) -> Result<Report, Failure> {
    let connector = connector(server)?;
    let (name, number) = people::random_name()?;
    let devices = people::gather(output, &connector, args, &name).await?;
    let plan = Plan::of(args);
    let board = Board::new(number, args.payload as usize, args.pairs as usize * 2, &plan);
    // They take their time from the beginning: what groups are made of is no message.
    let (pace, pause) = watch::channel(Some(args.slow_pause));
    let connected = people::connect(&connector, args, &board, &devices, &pause).await?;
    let rate = args.rate;
    output.note(&format!("{} devices are connected; {rate} messages/s", connected.len()));
    let groups = groups::make(output, &plan, &board, &connected, &devices).await?;
    let before = std::mem::take(&mut board.state().events);
    board.state().events.group_gaps = before.group_gaps;
    let mut sender = Sender::new(&board, args, &connected, &devices);
    let mut traffic = Traffic::new(&board, args, &connected, plan, groups);
    let cpu = cpu_us();
    let mut churn = Churn::new(args, &connected);
    let interrupted = send(output, args, &mut sender, &mut traffic, &mut churn).await?;
    let (sent_us, cpu_us) = (board.now_us(), cpu_us().saturating_sub(cpu));
    let churned = churn.done;
    pace.send_replace(None);
    settle(output, args, &mut sender, &mut traffic).await?;
    let Sender { from_us, lag, held_back, next: offered, .. } = sender;
    let ended_us = board.now_us();
    // What happens from here on is the end's own doing.
    let state = std::mem::take(&mut *board.state());
    join_all(connected.into_iter().map(|one| timeout(GOODBYE, one.close()))).await;
    if let Some(path) = &args.accounts_file {
        people::keep(path, &devices)?;
    }
    let (counts, measured) = state.ledger.close(ended_us);
    let in_groups = (plan.groups > 0).then(|| {
        let (counts, e2e) = state.groups.ledger.close();
        GroupReport::new(&plan, &counts, &e2e, state.events.group_gaps)
    });
    let receipts_missing = state.receipts.missing();
    let events = super::board::Events { receipts_missing, ..state.events };
    let longest = state.waits.iter().map(|waits| waits.longest(ended_us));
    let run = Run {
        servers: server.servers.clone(),
        pairs: args.pairs,
        slow: Roles::of(args).slow(),
        churned,
        connections: u32::try_from(plan.connected).unwrap_or(u32::MAX),
        rate,
        payload_bytes: args.payload,
        interrupted,
        offered,
        sending_us: sent_us.saturating_sub(from_us),
        lag: lag.percentiles(),
        held_back,
        cpu_us,
        reconnects: events.connects,
        longest: longest.fold(Longest::default(), Longest::max),
    };
    Ok(Report::new(run, &counts, &measured, events, in_groups))
}

/// Sends at the rate until the time is over. Answers whether somebody ended it before.
async fn send(
    output: &mut Output,
    args: &SoakArgs,
    sender: &mut Sender<'_>,
    traffic: &mut Traffic<'_>,
    churn: &mut Churn<'_>,
) -> Result<bool, Failure> {
    let mut progress = Progress::starting(sender.from_us);
    let mut tell_at = Instant::now() + args.progress;
    let mut tick = Instant::now();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    while !(sender.is_done() && traffic.is_done()) {
        tick = (tick + TICK).max(Instant::now());
        tokio::select! {
            () = sleep_until(tick) => {
                sender.send_due();
                traffic.send_due();
                churn.churn_due();
            }
            signal = &mut interrupt => {
                signal?;
                return Ok(true);
            }
        }
        if !args.progress.is_zero() && Instant::now() >= tell_at {
            tell_at += args.progress;
            let line = progress.line(&mut sender.board.state(), sender.board.now_us());
            output.note(&line);
        }
    }
    Ok(false)
}

/// Devices that give their connections up and come back, in turn.
struct Churn<'a> {
    connected: &'a [Connected],
    rate: f64,
    began: Instant,
    done: u64,
}

impl<'a> Churn<'a> {
    fn new(args: &SoakArgs, connected: &'a [Connected]) -> Self {
        Self { connected, rate: args.churn.unwrap_or(0.0), began: Instant::now(), done: 0 }
    }

    fn churn_due(&mut self) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a run has fewer of them than an f64 counts exactly"
        )]
        let due = (self.began.elapsed().as_secs_f64() * self.rate) as u64;
        while self.done < due {
            let device = usize::try_from(self.done).unwrap_or(usize::MAX) % self.connected.len();
            // A client that is busy is told later, and one that ended has said so itself.
            if self.connected[device].handle.reconnect().now_or_never().is_none() {
                return;
            }
            self.done += 1;
        }
    }
}

/// Waits for what is under way.
async fn settle(
    output: &mut Output,
    args: &SoakArgs,
    sender: &mut Sender<'_>,
    traffic: &mut Traffic<'_>,
) -> Result<(), Failure> {
    sender.stop();
    traffic.stop();
    let until = Instant::now() + args.settle;
    let mut told = false;
    while !(sender.is_settled() && traffic.is_settled()) && Instant::now() < until {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {
                sender.send_due();
                traffic.send_due();
            }
            signal = tokio::signal::ctrl_c() => {
                signal?;
                return Ok(());
            }
        }
        if !std::mem::replace(&mut told, true) {
            output.note("all is sent; waiting for what is under way");
        }
    }
    // A duplicate may come behind the last message.
    tokio::time::sleep(LOOK * 20).await;
    Ok(())
}

impl<'a> Sender<'a> {
    fn new(
        board: &'a Board,
        args: &SoakArgs,
        connected: &'a [Connected],
        devices: &[Device],
    ) -> Self {
        let writers = Roles::of(args).writers();
        Self {
            board,
            schedule: Schedule::new(args.rate, writers.len(), args.duration),
            from_us: board.now_us(),
            connected,
            to: writers.iter().map(|device| devices[device ^ 1].account).collect(),
            waiting: vec![0; writers.len()],
            writers,
            waiting_all: 0,
            next: 0,
            lag: Latencies::default(),
            held_back: 0,
        }
    }

    /// Whether the last message was due.
    fn is_done(&self) -> bool {
        self.next == self.schedule.total()
    }

    /// Nothing more becomes due.
    fn stop(&mut self) {
        self.schedule.end_at(self.next);
    }

    /// Whether every message is with its client, answered and delivered, and its writer knows it.
    fn is_settled(&self) -> bool {
        let state = self.board.state();
        self.waiting_all == 0 && state.ledger.is_settled() && state.receipts.missing() == 0
    }

    fn send_due(&mut self) {
        let now = self.board.now_us().saturating_sub(self.from_us);
        if self.waiting_all > 0 {
            for sender in 0..self.waiting.len() {
                self.hand_over(sender);
            }
        }
        while self.next < self.schedule.due_by(now) {
            let sender = self.schedule.sender(self.next);
            self.lag.record(now.saturating_sub(self.schedule.due_at(self.next)));
            self.next += 1;
            self.waiting[sender] += 1;
            self.waiting_all += 1;
            self.hand_over(sender);
            self.held_back += u64::from(self.waiting[sender] > 0);
        }
    }

    /// Gives a client what waits for it, as far as it takes it.
    fn hand_over(&mut self, sender: usize) {
        let device = self.writers[sender];
        // Asked first: far more may be due than clients take, and a message is made for each try.
        while self.waiting[sender] > 0 && self.connected[device].handle.has_room() {
            let mut state = self.board.state();
            let number = state.ledger.next_number(device);
            let due_us = self.from_us + self.schedule.due_of(sender, number);
            let direction = u32::try_from(device).unwrap_or(u32::MAX);
            let tag = Tag { run: self.board.run, direction, number, due_us };
            let draft = draft(&tag, self.to[sender], tag.body(self.board.payload_bytes));
            if self.connected[device].handle.try_send(draft).is_err() {
                return;
            }
            state.ledger.submitted(device, due_us);
            let now = self.board.now_us();
            state.waits[device].submitted(now);
            drop(state);
            self.waiting[sender] -= 1;
            self.waiting_all -= 1;
        }
    }
}

fn draft(tag: &Tag, to: AccountId, body: Bytes) -> Box<Draft> {
    let (to, bodies) = (Address::Account(to), Bodies::Shared(body));
    let (about, change, roster) = (None, None, ConvSeq(0));
    Box::new(Draft { to, msg_id: tag.msg_id(), bodies, expires_at_ms: 0, about, change, roster })
}

/// What the process has used of the processors, in microseconds.
fn cpu_us() -> u64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let whole = u64::try_from(used.tv_sec).unwrap_or(0) * 1_000_000;
    whole + u64::try_from(used.tv_nsec / 1000).unwrap_or(0)
}
