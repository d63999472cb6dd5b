//! Pairs of people who write to each other without a pause, and what became of it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use iris_client::place::{Content, Place};
use iris_client::store::{HistoryMax, MemoryStore};
use iris_client::{Client, Connector, Credentials, Event, Options, Outcome};
use iris_runtime::task::Tasks;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};

/// Whatever is on its way arrives within this time once everything is whole.
const SETTLE: Duration = Duration::from_secs(60);

/// A person on a device without a disk.
pub async fn register(connector: &Connector, handle: &str) -> anyhow::Result<Client> {
    let who = Credentials::new(handle, "a long password", "test");
    let store = MemoryStore::new(HistoryMax::PERSON);
    Ok(Client::register(connector, store, &who, Options::default()).await?)
}

/// Traffic that runs until it is ended.
pub struct Traffic {
    stop: watch::Sender<bool>,
    pairs: Vec<tokio::sync::oneshot::Receiver<anyhow::Result<PairReport>>>,
    _tasks: Tasks,
}

/// What became of one pair's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairReport {
    /// Messages that the server accepted.
    pub accepted: u64,
    /// The longest that a message waited for its acknowledgement.
    pub longest_wait: Duration,
}

impl Traffic {
    /// `pairs` pairs, each member of which sends a message every `period`.
    pub async fn start(
        connector: &Connector,
        pairs: usize,
        period: Duration,
    ) -> anyhow::Result<Self> {
        let tasks = Tasks::new();
        let stop = watch::Sender::new(false);
        let mut reports = Vec::new();
        for pair in 0..pairs {
            let one = register(connector, &format!("one{pair}")).await?;
            let other = register(connector, &format!("other{pair}")).await?;
            let (report, reported) = tokio::sync::oneshot::channel();
            let stopped = stop.subscribe();
            tasks.spawn("pair", async move {
                let (to_one, to_other) = (one.login_data().account, other.login_data().account);
                let both = tokio::try_join!(
                    member(one, to_other, period, stopped.clone()),
                    member(other, to_one, period, stopped),
                );
                // Nobody listens any more only when the test failed already.
                let _ = report.send(both.and_then(|(one, other)| compare(&one, &other)));
            });
            reports.push(reported);
        }
        Ok(Self { stop, pairs: reports, _tasks: tasks })
    }

    /// Ends the sending, waits for what is on its way, and fails unless everything that was accepted
    /// arrived once and in order.
    pub async fn end(self) -> anyhow::Result<PairReport> {
        self.stop.send_replace(true);
        let mut total = PairReport { accepted: 0, longest_wait: Duration::ZERO };
        for pair in self.pairs {
            let report = pair.await.context("a pair vanished")??;
            ensure!(report.accepted > 0, "a pair sent nothing");
            total.accepted += report.accepted;
            total.longest_wait = total.longest_wait.max(report.longest_wait);
        }
        Ok(total)
    }
}

/// What one member sent and saw.
struct Member {
    accepted: u64,
    received: Vec<u64>,
    longest_wait: Duration,
}

/// What a member has not yet been told of.
struct Waiting {
    began: Vec<Instant>,
    answered: usize,
}

async fn member(
    mut client: Client,
    to: iris_core::id::AccountId,
    period: Duration,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<Member> {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let handle = client.handle();
    let mut waiting = Waiting { began: Vec::new(), answered: 0 };
    let mut member = Member { accepted: 0, received: Vec::new(), longest_wait: Duration::ZERO };
    let mut sending = true;
    let mut quiet_since = Instant::now();
    loop {
        tokio::select! {
            _ = tick.tick(), if sending => {
                let text = (waiting.began.len() as u64).to_string();
                drop(handle.send(to, text).await?);
                waiting.began.push(Instant::now());
            }
            _ = stopped.changed(), if sending => {
                sending = false;
                quiet_since = Instant::now();
            }
            event = client.next() => {
                let event = event.context("the client ended")?;
                if see(event, &mut waiting, &mut member)? {
                    quiet_since = Instant::now();
                }
            }
            () = tokio::time::sleep(Duration::from_millis(500)), if !sending => {}
        }
        let decided = waiting.answered == waiting.began.len();
        if !sending && decided && quiet_since.elapsed() > Duration::from_secs(2) {
            break;
        }
        ensure!(sending || quiet_since.elapsed() < SETTLE, "messages are never answered");
    }
    let closed = timeout(SETTLE, client.close()).await;
    closed.context("the client never closed")??;
    Ok(member)
}

/// Answers whether it was about a message.
fn see(event: Event, waiting: &mut Waiting, member: &mut Member) -> anyhow::Result<bool> {
    match event {
        Event::Decided { client_seq, outcome, .. } => {
            ensure!(outcome == Outcome::Accepted, "{client_seq:?} was refused: {outcome:?}");
            let began = waiting.began.get(waiting.answered).context("an answer too many")?;
            member.longest_wait = member.longest_wait.max(began.elapsed());
            waiting.answered += 1;
            member.accepted += 1;
        }
        Event::Placed(Place { content: Content::Incoming(incoming), .. }) => {
            let text = std::str::from_utf8(&incoming.body)?;
            member.received.push(text.parse()?);
        }
        Event::Gap { .. } | Event::Missed { .. } | Event::Stopped(_) => {
            anyhow::bail!("seen by a client: {event:?}")
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn compare(one: &Member, other: &Member) -> anyhow::Result<PairReport> {
    for (from, to) in [(one, other), (other, one)] {
        let expected: Vec<u64> = (0..from.accepted).collect();
        ensure!(
            to.received == expected,
            "{} messages were accepted, but {} arrived, of which the first that is wrong is {:?}",
            from.accepted,
            to.received.len(),
            to.received.iter().zip(&expected).find(|(seen, wanted)| seen != wanted),
        );
    }
    Ok(PairReport {
        accepted: one.accepted + other.accepted,
        longest_wait: one.longest_wait.max(other.longest_wait),
    })
}
