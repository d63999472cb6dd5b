//! One client's connection: HELLO, then frames both ways, across changes of owner.
//!
//! Nothing of a message is kept here. When the owner changes, the client is attached to the new one at
//! the last place that it was handed, and told from which number on to send again.

mod attach;
mod frames;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use iris_core::code::Code;
use iris_core::limits;
use iris_proto::client;
use iris_proto::frame::{Frame, FrameError, FrameType, encode_message};
use iris_runtime::clock::SharedClock;
use iris_runtime::task::Tasks;
use prost::Message as _;
use tokio::time::Instant;

use super::admission::Place;
use super::carrier::{Sink, Source};
use super::config::EdgeConfig;
use super::hello::{self, Caller, Refused};
use super::links::{Links, Mailbox, ToClient};
use super::metrics::EdgeMetrics;
use super::registry::{Leave, Registry};
use crate::token::Tokens;

use attach::Attachment;

/// HELLO must come within this time.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// A write that takes longer is to a client that is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// A client that was asked to leave does so at a random time within this window.
const LEAVE_JITTER: Duration = Duration::from_secs(5);

/// What connections share.
pub(super) struct Shared {
    pub(super) config: EdgeConfig,
    pub(super) tokens: Tokens,
    pub(super) clock: SharedClock,
    pub(super) links: Arc<Links>,
    pub(super) metrics: EdgeMetrics,
    pub(super) registry: Arc<Registry>,
    pub(super) tasks: Tasks,
    pub(super) numbers: AtomicU64,
}

impl Shared {
    /// A number for a connection, unique in this process.
    pub(super) fn next_conn(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

/// What HELLO's proof is bound to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Binding {
    /// The TLS exporter's value.
    Exporter([u8; 32]),
    /// A nonce that the client is sent first.
    Nonce([u8; 32]),
}

/// Why a connection ends.
enum End {
    /// The client left, or its network did.
    Gone,
    /// With an ERROR frame.
    Error { code: Code, text: String, retry_after_ms: u32 },
}

impl From<Refused> for End {
    fn from((code, text): Refused) -> Self {
        Self::Error { code, text: text.to_owned(), retry_after_ms: 0 }
    }
}

/// A served connection. See the module.
struct Conn<'a, W> {
    shared: &'a Arc<Shared>,
    id: u64,
    caller: Caller,
    sink: &'a mut W,
    mailbox: Arc<Mailbox>,
    attachment: Attachment,
    /// Whether WELCOME was sent.
    welcomed: bool,
    /// Frames that came before the answer to the first attach; the credit bounds them.
    early: Vec<iris_proto::peer::Frame>,
    hello_at: Instant,
    heard_at: Instant,
    leave: Arc<Leave>,
    leave_by: Option<Instant>,
    lookups: frames::Lookups,
}

/// Serves a client until it leaves or is refused.
pub(super) async fn serve<R: Source, W: Sink>(
    shared: Arc<Shared>,
    (id, place): (u64, Place),
    (mut source, mut sink): (R, W),
    binding: Binding,
) {
    shared.metrics.connections.inc();
    let mut input = BytesMut::new();
    let end = match say_hello(&shared, &mut source, &mut sink, &mut input, binding).await {
        Ok(caller) => {
            let leave = shared.registry.enter(id);
            let mut conn = Conn::new(&shared, id, caller, &mut sink, leave);
            let end = conn.run(&mut source, &mut input).await;
            shared.registry.exit(id);
            end
        }
        Err(end) => end,
    };
    finish(&shared, &mut sink, end).await;
    shared.metrics.connections.dec();
    drop(place);
}

/// Reads and checks HELLO.
async fn say_hello<R: Source, W: Sink>(
    shared: &Shared,
    source: &mut R,
    sink: &mut W,
    input: &mut BytesMut,
    binding: Binding,
) -> Result<Caller, End> {
    let bound = match binding {
        Binding::Exporter(value) => value,
        Binding::Nonce(nonce) => {
            let challenge = client::Challenge { nonce: nonce.to_vec().into() };
            write(sink, encode(FrameType::Challenge, &challenge)).await?;
            nonce
        }
    };
    let frame = tokio::time::timeout(HELLO_PATIENCE, first_frame(source, input)).await;
    let frame = frame.map_err(|_| End::from((Code::Protocol, "HELLO did not come in time")))??;
    if frame.known() != Some(FrameType::Hello) {
        return Err((Code::Protocol, "the first frame must be HELLO").into());
    }
    let hello = client::Hello::decode(frame.payload);
    let hello = hello.map_err(|_| End::from((Code::Protocol, "HELLO cannot be decoded")))?;
    let now = shared.clock.now().wall;
    let checked = hello::check(&hello, &bound, &shared.tokens, now);
    let code = checked.as_ref().err().map_or(0, |(code, _)| code.number());
    shared.metrics.hellos.with_label_values(&[&code.to_string()]).inc();
    Ok(checked?)
}

async fn first_frame<R: Source>(source: &mut R, input: &mut BytesMut) -> Result<Frame, End> {
    loop {
        if let Some(frame) = decode(input)? {
            return Ok(frame);
        }
        match source.read(input).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(End::Gone),
        }
    }
}

/// Says why the connection ends, and ends it.
async fn finish<W: Sink>(shared: &Shared, sink: &mut W, end: End) {
    let code = match end {
        End::Gone => 0,
        End::Error { code, text, retry_after_ms } => {
            let error = client::Error {
                code: code.number().into(),
                verdict: iris_proto::client_frames::verdict_to_wire(code.verdict()).into(),
                retry_after_ms,
                text,
            };
            // A client that does not read its error has to do without.
            let _ = write(sink, encode(FrameType::Error, &error)).await;
            code.number()
        }
    };
    shared.metrics.closed.with_label_values(&[&code.to_string()]).inc();
    sink.close().await;
}

impl<'a, W: Sink> Conn<'a, W> {
    fn new(
        shared: &'a Arc<Shared>,
        id: u64,
        caller: Caller,
        sink: &'a mut W,
        leave: Arc<Leave>,
    ) -> Self {
        let now = Instant::now();
        Self {
            shared,
            id,
            attachment: Attachment::new(&caller, (now, shared.clock.now().wall)),
            caller,
            sink,
            mailbox: Arc::new(Mailbox::default()),
            welcomed: false,
            early: Vec::new(),
            hello_at: now,
            heard_at: now,
            leave,
            leave_by: None,
            lookups: frames::Lookups::default(),
        }
    }

    async fn run<R: Source>(&mut self, source: &mut R, input: &mut BytesMut) -> End {
        let end = match self.pump(source, input).await {
            Ok(()) => End::Gone,
            Err(end) => end,
        };
        self.detach();
        end
    }

    async fn pump<R: Source>(&mut self, source: &mut R, input: &mut BytesMut) -> Result<(), End> {
        let mut routes = self.shared.links.routes().version();
        self.attach("first");
        self.take_input(input).await?;
        loop {
            let deadline = self.deadline();
            let (reads, searching) = (self.may_read(), self.attachment.is_nowhere());
            tokio::select! {
                read = source.read(input), if reads => match read {
                    Ok(true) => {
                        self.heard_at = Instant::now();
                        self.take_input(input).await?;
                    }
                    Ok(false) | Err(_) => return Ok(()),
                },
                () = self.mailbox.news() => self.take_mail().await?,
                () = self.attachment.caught_up(), if !reads => {}
                _ = routes.changed(), if searching => self.attach("moved"),
                () = self.leave.asked() => self.say_goodbye().await?,
                found = self.lookups.next() => self.answer_lookup(found).await?,
                () = tokio::time::sleep_until(deadline) => self.on_time().await?,
            }
        }
    }

    /// A client of an owner that is behind is not read: TCP tells it so.
    fn may_read(&self) -> bool {
        !self.attachment.is_congested()
    }

    fn deadline(&self) -> Instant {
        let silent = self.heard_at + self.shared.config.keepalive * 2;
        let now_s = self.shared.clock.now().wall.0 / 1000;
        let left = Duration::from_secs(self.caller.expires_at_s.saturating_sub(now_s) + 1);
        let mut deadline = silent.min(Instant::now() + left);
        for due in [self.attachment.retry_at(), self.attachment.put_off_at()] {
            deadline = due.map_or(deadline, |due| deadline.min(due));
        }
        self.leave_by.map_or(deadline, |leave| deadline.min(leave))
    }

    async fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if now >= self.heard_at + self.shared.config.keepalive * 2 {
            return Err((Code::GoingAway, "nothing was heard for too long").into());
        }
        if self.caller.expires_at_s <= self.shared.clock.now().wall.0 / 1000 {
            return Err((Code::AuthExpired, "the access token has expired").into());
        }
        if self.leave_by.is_some_and(|leave| now >= leave) {
            return Err((Code::GoingAway, "this edge is ending").into());
        }
        if self.attachment.retry_at().is_some_and(|retry| now >= retry) {
            self.attach("moved");
        }
        self.put_off_unanswered().await
    }

    /// Asks the client to leave in its own time.
    async fn say_goodbye(&mut self) -> Result<(), End> {
        self.shared.metrics.drained.inc();
        self.leave_by = Some(Instant::now() + LEAVE_JITTER + Duration::from_secs(1));
        let go_away = client::GoAway {
            code: Code::GoingAway.number().into(),
            jitter_ms: u32::try_from(LEAVE_JITTER.as_millis()).unwrap_or(u32::MAX),
            preferred_edges: Vec::new(),
        };
        self.write(encode(FrameType::GoAway, &go_away), 1).await
    }

    async fn write(&mut self, bytes: Bytes, frames: u64) -> Result<(), End> {
        self.shared.metrics.frames_out.inc_by(frames);
        self.shared.metrics.bytes_out.inc_by(bytes.len() as u64);
        write(self.sink, bytes).await
    }

    /// Takes what owners sent, and writes what is for the client at once.
    async fn take_mail(&mut self) -> Result<(), End> {
        let mut out = BytesMut::new();
        let mut frames = 0;
        for (number, item) in self.mailbox.take() {
            if !self.attachment.is_at(number) {
                continue;
            }
            match item {
                // WELCOME comes first, whatever an owner does.
                ToClient::Frame(frame) if !self.welcomed => {
                    self.shared.metrics.early_frames.inc();
                    self.early.push(frame);
                }
                ToClient::Frame(frame) => {
                    frames += 1;
                    self.attachment.handed(&frame);
                    frames::pass_on(frame, &mut out);
                }
                ToClient::Attached(attached) => {
                    frames += 1;
                    self.attached(attached, &mut out)?;
                }
                ToClient::Closed(closed) => {
                    if !out.is_empty() {
                        self.write(std::mem::take(&mut out).freeze(), frames).await?;
                    }
                    self.closed(closed)?;
                }
                ToClient::Moved => self.leave_owner("moved", &mut out),
                ToClient::Lost => self.leave_owner("lost", &mut out),
            }
        }
        if out.is_empty() { Ok(()) } else { self.write(out.freeze(), frames).await }
    }
}

async fn write<W: Sink>(sink: &mut W, bytes: Bytes) -> Result<(), End> {
    match tokio::time::timeout(WRITE_PATIENCE, sink.write(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

/// The next frame, if all of it is there.
fn decode(input: &mut BytesMut) -> Result<Option<Frame>, End> {
    Frame::decode(input, limits::FRAME_BYTES_MAX).map_err(|error| match error {
        FrameError::TooLarge { .. } => {
            End::Error { code: Code::FrameTooLarge, text: error.to_string(), retry_after_ms: 0 }
        }
        FrameError::UnknownFlags(_) | FrameError::Truncated(_) => {
            End::Error { code: Code::Protocol, text: error.to_string(), retry_after_ms: 0 }
        }
    })
}

fn encode(kind: FrameType, message: &impl prost::Message) -> Bytes {
    let mut out = BytesMut::new();
    encode_message(&mut out, kind, None, message);
    out.freeze()
}
