//! Pairs of people who write to each other without a pause, and what became of it.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use iris_client::place::{Content, Place};
use iris_client::store::{HistoryMax, MemoryStore};
use iris_client::{Client, ClientError, Connector, Credentials, Event, Options, Outcome};
use iris_core::id::AccountId;
use iris_runtime::task::Tasks;
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout};

/// Whatever is on its way arrives within this time once everything is whole.
const SETTLE: Duration = Duration::from_secs(30);

/// Something that comes twice comes within this time.
const LINGER: Duration = Duration::from_millis(500);
/// Of what a member heard, so much is told when it fails.
const NEWS_MAX: usize = 12;

/// A person on a device without a disk. Who is told to come back does.
pub async fn register(connector: &Connector, handle: &str) -> anyhow::Result<Client> {
    let who = Credentials::new(handle, "a long password", "test");
    let deadline = Instant::now() + SETTLE;
    loop {
        let store = MemoryStore::new(HistoryMax::PERSON);
        match Client::register(connector, store, &who, Options::default()).await {
            Err(ClientError::TryLater { retry_after_ms, .. }) if Instant::now() < deadline => {
                sleep(Duration::from_millis(u64::from(retry_after_ms))).await;
            }
            registered => return Ok(registered?),
        }
    }
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
                let (one_sent, other_sent) = (watch::Sender::new(None), watch::Sender::new(None));
                let (from_one, from_other) = (one_sent.subscribe(), other_sent.subscribe());
                let both = tokio::try_join!(
                    member((one, to_other), period, stopped.clone(), (one_sent, from_other)),
                    member((other, to_one), period, stopped, (other_sent, from_one)),
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
    account: AccountId,
    accepted: u64,
    received: Vec<u64>,
    longest_wait: Duration,
    /// The last things that it heard besides messages.
    news: VecDeque<(Duration, String)>,
    began: Instant,
}

/// Sends until it is stopped, and stays until it has what the other one sent. Each tells the other how
/// many of its messages were accepted once all were decided.
async fn member(
    (mut client, to): (Client, AccountId),
    period: Duration,
    mut stopped: watch::Receiver<bool>,
    (own, others): (watch::Sender<Option<u64>>, watch::Receiver<Option<u64>>),
) -> anyhow::Result<Member> {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let handle = client.handle();
    // Decisions come in the order of the messages.
    let (mut receipts, mut sent) = (FuturesOrdered::new(), 0_u64);
    let mut member = Member {
        account: client.login_data().account,
        accepted: 0,
        received: Vec::new(),
        longest_wait: Duration::ZERO,
        news: VecDeque::new(),
        began: Instant::now(),
    };
    let mut sending = true;
    let mut quiet_since = Instant::now();
    loop {
        tokio::select! {
            _ = tick.tick(), if sending => {
                let text = sent.to_string();
                let began = Instant::now();
                let receipt = handle.send(to, text).await?;
                receipts.push_back(async move { (began, receipt.await) });
                sent += 1;
            }
            Some((began, decided)) = receipts.next() => {
                let outcome = decided?.outcome;
                ensure!(outcome == Outcome::Accepted, "a message was refused: {outcome:?}");
                member.longest_wait = member.longest_wait.max(began.elapsed());
                member.accepted += 1;
                quiet_since = Instant::now();
            }
            _ = stopped.changed(), if sending => {
                sending = false;
                quiet_since = Instant::now();
            }
            event = client.next() => {
                let event = event.context("the client ended")?;
                if see(event, &mut member)? {
                    quiet_since = Instant::now();
                }
            }
            () = sleep(Duration::from_millis(100)), if !sending => {}
        }
        if !sending && receipts.is_empty() {
            own.send_if_modified(|known| known.replace(member.accepted).is_none());
            let complete = others.borrow().is_some_and(|n| member.received.len() as u64 >= n);
            if complete && quiet_since.elapsed() > LINGER {
                break;
            }
            if quiet_since.elapsed() > SETTLE {
                // What is missing is for the comparison to say.
                break;
            }
        }
        ensure!(
            sending || quiet_since.elapsed() < SETTLE,
            "{} of {} messages were answered, then nothing more; last news: {:?}",
            member.accepted,
            sent,
            member.news,
        );
    }
    let closed = timeout(SETTLE, client.close()).await;
    closed.context("the client never closed")??;
    Ok(member)
}

/// Answers whether it was about a message.
fn see(event: Event, member: &mut Member) -> anyhow::Result<bool> {
    match event {
        Event::Placed(Place { content: Content::Incoming(incoming), .. }) => {
            let text = std::str::from_utf8(&incoming.body)?;
            member.received.push(text.parse()?);
        }
        Event::Gap { .. } | Event::Missed { .. } | Event::Stopped(_) => {
            anyhow::bail!("seen by a client: {event:?}")
        }
        Event::Acked { .. } | Event::Placed(_) => return Ok(false),
        event => {
            member.news.push_back((member.began.elapsed(), format!("{event:?}")));
            if member.news.len() > NEWS_MAX {
                member.news.pop_front();
            }
            return Ok(false);
        }
    }
    Ok(true)
}

fn compare(one: &Member, other: &Member) -> anyhow::Result<PairReport> {
    for (from, to) in [(one, other), (other, one)] {
        let expected: Vec<u64> = (0..from.accepted).collect();
        ensure!(
            to.received == expected,
            "{} messages were accepted from {} to {}, but {} arrived, of which the first that is wrong is \
             {:?}; last news {:?} and {:?}",
            from.accepted,
            from.account,
            to.account,
            to.received.len(),
            to.received.iter().zip(&expected).find(|(seen, wanted)| seen != wanted),
            from.news,
            to.news,
        );
    }
    Ok(PairReport {
        accepted: one.accepted + other.accepted,
        longest_wait: one.longest_wait.max(other.longest_wait),
    })
}
