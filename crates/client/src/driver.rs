//! The shell around one session: a task that polls the connection, the disk, the clock and the
//! application, feeds the session and performs its effects in order.
//!
//! Whatever the protocol says is decided in [`crate::session`]; here is no rule of it.

mod command;
mod disk;
mod sink;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use iris_core::clock::MonoUs;
use iris_core::seq::ClientSeq;
use iris_proto::frame::Frame;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use crate::account;
use crate::connector::Connector;
use crate::error::ClientError;
use crate::key::DeviceKey;
use crate::net::{Dialed, EdgeAddr, HttpError, Wire, dial, rotation};
use crate::session::{CallId, CallOp, Draft, Effect, Event, Input, Refresh, Session, Stop, Target};
use crate::store::{Record, StoreError, Tokens};

pub use command::Decided;
pub(crate) use command::{CallReply, Command, DecidedReply};
pub(crate) use disk::Disk;
pub use sink::Handler;
pub(crate) use sink::Sink;
use sink::Taken;

/// Commands that are taken before the session does anything else.
const COMMANDS_IN_TURN: usize = 64;
/// Longer than this nobody waits for a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Without anything due the task looks after itself so often.
const IDLE: Duration = Duration::from_secs(3600);

type Dialing = Pin<Box<dyn Future<Output = Result<Dialed, String>> + Send>>;
type Refreshing = Pin<Box<dyn Future<Output = Result<(Tokens, u64), HttpError>> + Send>>;

/// What a driver begins with.
pub(crate) struct Parts {
    pub(crate) connector: Connector,
    pub(crate) session: Session,
    pub(crate) disk: Disk,
    pub(crate) sink: Sink,
    pub(crate) key: Arc<DeviceKey>,
    pub(crate) refresh_token: Option<String>,
    /// The edge to try first.
    pub(crate) edge: Option<EdgeAddr>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) stop: CancellationToken,
}

/// See the module.
pub(crate) struct Driver {
    connector: Connector,
    session: Session,
    disk: Disk,
    sink: Sink,
    key: Arc<DeviceKey>,
    refresh_token: Option<String>,
    commands: mpsc::Receiver<Command>,
    stop: CancellationToken,
    began: Instant,
    wire: Option<Wire>,
    dialing: Option<Dialing>,
    refreshing: Option<Refreshing>,
    /// Tokens that are being written to the disk, and for how long they are good.
    new_tokens: Option<(Tokens, u64)>,
    timer: Pin<Box<Sleep>>,
    edge: Option<EdgeAddr>,
    receipts: VecDeque<(ClientSeq, oneshot::Sender<DecidedReply>)>,
    calls: HashMap<CallId, oneshot::Sender<CallReply>>,
    next_call: u64,
    /// Who waits until the server knows everything that was read.
    reads_said: Vec<oneshot::Sender<()>>,
    frames: Vec<Frame>,
    effects: Vec<Effect>,
    closing: Option<oneshot::Sender<Result<(), StoreError>>>,
    failure: Option<StoreError>,
}

/// What ended the wait.
enum Woken {
    Command(Option<Command>),
    Frames(Result<(), String>),
    Dialed(Result<Dialed, String>),
    Stored(Result<crate::session::Ticket, StoreError>),
    Refreshed(Result<(Tokens, u64), HttpError>),
    RoomForEvents,
    Time,
    Stop,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { connector, session, disk, sink, key, refresh_token, edge, commands, stop } =
            parts;
        Self {
            connector,
            session,
            disk,
            sink,
            key,
            refresh_token,
            commands,
            stop,
            began: Instant::now(),
            wire: None,
            dialing: None,
            refreshing: None,
            new_tokens: None,
            timer: Box::pin(tokio::time::sleep(IDLE)),
            edge,
            receipts: VecDeque::new(),
            calls: HashMap::new(),
            next_call: 0,
            reads_said: Vec::new(),
            frames: Vec::new(),
            effects: Vec::new(),
            closing: None,
            failure: None,
        }
    }

    /// Runs until the client is closed or dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.turn();
            match self.wait().await {
                Woken::Command(Some(command)) => {
                    self.command(command);
                    self.more_commands();
                }
                Woken::Command(None) | Woken::Stop => break,
                Woken::Frames(result) => self.received(result),
                Woken::Dialed(result) => self.dialed(result),
                Woken::Stored(result) => self.stored(result),
                Woken::Refreshed(result) => self.refreshed(result),
                Woken::RoomForEvents | Woken::Time => {}
            }
            if self.closing.is_some() {
                break;
            }
        }
        self.finish().await;
    }

    fn now(&self) -> MonoUs {
        MonoUs(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.session.step(now, input, &mut effects);
        self.perform(&mut effects);
        self.effects = effects;
    }

    /// Everything that is due, until nothing is.
    fn turn(&mut self) {
        loop {
            let now = self.now();
            let mut effects = std::mem::take(&mut self.effects);
            self.session.settle(now, &mut effects);
            self.perform(&mut effects);
            self.effects = effects;
            if self.session.unsaid_reads() == 0 {
                for reply in self.reads_said.drain(..) {
                    let _gone = reply.send(()).is_err();
                }
            }
            let stored = self.disk.write();
            let Taken { places, bytes, logged } = self.sink.hand_over();
            if places > 0 {
                self.input(Input::Consumed { places, bytes });
            }
            if logged > 0 {
                self.input(Input::LogTaken(logged));
            }
            match stored {
                Some(result) => self.stored(result),
                None if places + logged == 0 => return self.set_timer(),
                None => {}
            }
        }
    }

    /// The timer is moved only to fire earlier: firing in vain costs less than moving it each time.
    fn set_timer(&mut self) {
        let due = self.session.wake_at().map(|at| self.began + Duration::from_micros(at.0));
        let current = self.timer.deadline();
        let passed = current <= Instant::now();
        match due {
            Some(due) if due < current || passed => self.timer.as_mut().reset(due),
            None if passed => self.timer.as_mut().reset(Instant::now() + IDLE),
            Some(_) | None => {}
        }
    }

    async fn wait(&mut self) -> Woken {
        let Self { commands, wire, dialing, refreshing, disk, sink, timer, stop, frames, .. } =
            self;
        let frame_bytes_max = self.session.frame_bytes_max();
        let takes_commands = !self.session.is_full();
        tokio::select! {
            () = stop.cancelled() => Woken::Stop,
            result = received(wire, frame_bytes_max, frames), if wire.is_some() => {
                Woken::Frames(result)
            }
            result = disk.written(), if disk.is_writing() => Woken::Stored(result),
            result = polled(dialing), if dialing.is_some() => Woken::Dialed(result),
            result = polled(refreshing), if refreshing.is_some() => Woken::Refreshed(result),
            () = sink.room(), if sink.lags() => Woken::RoomForEvents,
            command = commands.recv(), if takes_commands => Woken::Command(command),
            () = timer.as_mut() => Woken::Time,
        }
    }

    fn received(&mut self, result: Result<(), String>) {
        let mut frames = std::mem::take(&mut self.frames);
        for frame in frames.drain(..) {
            self.input(Input::Frame(frame));
        }
        self.frames = frames;
        if let Err(text) = result {
            self.wire = None;
            self.input(Input::Lost { text });
        }
    }

    fn dialed(&mut self, result: Result<Dialed, String>) {
        self.dialing = None;
        match result {
            Ok(Dialed { wire, binding, edge }) => {
                (self.wire, self.edge) = (Some(wire), Some(edge));
                self.input(Input::Connected { binding });
            }
            Err(text) => self.input(Input::Unreachable { text }),
        }
    }

    fn stored(&mut self, result: Result<crate::session::Ticket, StoreError>) {
        match result {
            Ok(upto) => {
                self.input(Input::Stored { upto });
                let durable = !self.disk.has_extra();
                if let Some((tokens, valid_ms)) = self.new_tokens.take_if(|_| durable) {
                    self.refresh_token = Some(tokens.refresh);
                    self.input(Input::Tokens { access: tokens.access, valid_ms });
                }
            }
            Err(error) => {
                tracing::error!(%error, "the local state cannot be written");
                self.failure = Some(error);
                self.input(Input::StoreFailed);
            }
        }
    }

    fn refreshed(&mut self, result: Result<(Tokens, u64), HttpError>) {
        self.refreshing = None;
        let why = match result {
            Ok((tokens, valid_ms)) => {
                self.disk.add_extra(Record::Tokens(tokens.clone()));
                self.new_tokens = Some((tokens, valid_ms));
                return;
            }
            Err(HttpError::Refused { code, text, retry_after_ms }) => {
                Refresh::Refused { code, retry_after_ms, text }
            }
            Err(HttpError::Unreachable(text) | HttpError::Malformed(text)) => {
                Refresh::Unreachable { text }
            }
        };
        self.input(Input::NoTokens(why));
    }

    fn perform(&mut self, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            let urgent = effect.is_urgent();
            match effect {
                Effect::Dial(target) => self.dial(&target),
                Effect::Hangup => (self.wire, self.dialing) = (None, None),
                Effect::Transmit(bytes) => {
                    if let Some(wire) = &mut self.wire {
                        wire.queue(&bytes);
                    }
                }
                Effect::Persist { ticket, record } => self.disk.add(ticket, record, urgent),
                Effect::RefreshTokens => self.refresh(),
                Effect::Called { id, answer } => {
                    if let Some(reply) = self.calls.remove(&id) {
                        // Whoever asked may have gone.
                        let _gone = reply.send(answer).is_err();
                    }
                }
                Effect::Renumbered { from, to } => self.renumber(from, to),
                Effect::Event(event) => self.event(event),
            }
        }
    }

    fn dial(&mut self, target: &Target) {
        let edges = self.connector.edges();
        let random = fastrand::usize(..edges.len());
        let order = rotation(target, edges, self.edge.as_ref(), random);
        let connector = self.connector.clone();
        self.dialing = Some(Box::pin(async move { dial(&connector, &order).await }));
    }

    fn refresh(&mut self) {
        let (connector, key) = (self.connector.clone(), Arc::clone(&self.key));
        let token = self.refresh_token.clone();
        self.refreshing = Some(Box::pin(async move {
            let Some(token) = token else {
                let text = "there is no refresh token".to_owned();
                return Err(HttpError::Refused { code: 2002, text, retry_after_ms: 0 });
            };
            account::refresh(&connector, &key, &token).await
        }));
    }

    fn event(&mut self, event: Event) {
        match &event {
            Event::Decided { client_seq, outcome, .. } => {
                let waits = self.receipts.front().is_some_and(|(seq, _)| seq == client_seq);
                if let Some((_, reply)) = self.receipts.pop_front_if(|_| waits) {
                    let decided = Decided { client_seq: *client_seq, outcome: *outcome };
                    // A dropped receipt is nobody's.
                    let _gone = reply.send(Ok(decided)).is_err();
                    return self.sink.told(event);
                }
            }
            Event::Stopped(stop) => self.fail_receipts(stop),
            Event::Connected { .. }
            | Event::Disconnected { .. }
            | Event::Placed(_)
            | Event::Logged(_)
            | Event::GroupGap(_)
            | Event::Missed { .. }
            | Event::Nacked { .. }
            | Event::Acked { .. }
            | Event::Marked { .. }
            | Event::Presence { .. }
            | Event::Typing(_)
            | Event::Gap { .. } => {}
        }
        self.sink.add(event);
    }

    fn fail_receipts(&mut self, stop: &Stop) {
        for (_, reply) in self.receipts.drain(..) {
            let _gone = reply.send(Err(ClientError::Stopped(stop.clone()))).is_err();
        }
    }

    fn renumber(&mut self, from: ClientSeq, to: ClientSeq) {
        for (seq, _) in &mut self.receipts {
            *seq = ClientSeq(to.0 + from.until(*seq));
        }
    }

    fn more_commands(&mut self) {
        for _ in 0..COMMANDS_IN_TURN {
            if self.session.is_full() || self.closing.is_some() {
                return;
            }
            match self.commands.try_recv() {
                Ok(command) => self.command(command),
                Err(_) => return,
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Send { draft, receipt } => self.send(&draft, receipt),
            Command::Call { op, patience_ms, reply } => self.call(op, patience_ms, reply),
            Command::History { count, with, reply } => self.disk.history(count, with, reply),
            Command::Marks { reply } => self.disk.marks(reply),
            Command::Groups { reply } => {
                let _gone = reply.send(self.session.groups().clone()).is_err();
            }
            Command::ReadsSaid { reply } => self.reads_said.push(reply),
            Command::Tell(input) => self.input(input),
            Command::Reconnect => self.input(Input::Reconnect),
            Command::Close { reply } => self.closing = Some(reply),
        }
    }

    fn send(&mut self, draft: &Draft, receipt: Option<oneshot::Sender<DecidedReply>>) {
        let refused = match self.session.stopped() {
            Some(stop) => ClientError::Stopped(stop.clone()),
            None => {
                let mut effects = std::mem::take(&mut self.effects);
                let bound = self.session.submit(draft, &mut effects);
                self.perform(&mut effects);
                self.effects = effects;
                match bound {
                    Ok(client_seq) => {
                        self.receipts.extend(receipt.map(|receipt| (client_seq, receipt)));
                        return;
                    }
                    Err(unsendable) => ClientError::Unsendable(unsendable),
                }
            }
        };
        if let Some(receipt) = receipt {
            let _gone = receipt.send(Err(refused)).is_err();
        }
    }

    fn call(&mut self, op: CallOp, patience_ms: u64, reply: oneshot::Sender<CallReply>) {
        self.next_call += 1;
        let id = CallId(self.next_call);
        self.calls.insert(id, reply);
        self.input(Input::Call { id, op, patience_ms });
    }

    /// Everything that is not on the disk goes there, and the server hears a goodbye.
    async fn finish(mut self) {
        self.turn();
        let mut result = self.disk.close().await;
        if let Some(wire) = self.wire.take() {
            // A server that does not listen any more is not waited for.
            let _heard = tokio::time::timeout(GOODBYE, wire.close()).await.is_ok();
        }
        self.receipts.clear();
        if let Some(failure) = self.failure.take() {
            result = Err(failure);
        }
        if let Some(reply) = self.closing.take() {
            let _gone = reply.send(result).is_err();
        }
    }
}

async fn received(
    wire: &mut Option<Wire>,
    frame_bytes_max: u32,
    frames: &mut Vec<Frame>,
) -> Result<(), String> {
    std::future::poll_fn(|cx| match wire {
        Some(wire) => wire.poll_frames(cx, frame_bytes_max, frames),
        None => std::task::Poll::Pending,
    })
    .await
}

/// The future's result; pending for ever where there is none.
async fn polled<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    std::future::poll_fn(|cx| match future {
        Some(future) => Pin::new(future).poll(cx),
        None => std::task::Poll::Pending,
    })
    .await
}
