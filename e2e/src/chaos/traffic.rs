//! Traffic beside a fault: `iris soak` over every edge, and from what it says of itself every quarter of a
//! second, when the sends from before the end of the fault had their answers.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use xtask::cluster::Cluster;
use xtask::cluster::soak::{Load, Report, Soak, Wiring};

use super::scene::Scene;

/// How often the soak says how it goes. Nothing is known more precisely than that.
pub(crate) const TICK_MS: u32 = 250;
/// Traffic must have been smooth for so long to count as settled.
const SMOOTH: Duration = Duration::from_secs(2);
/// So many more sends than ever before the fault may be without an answer while traffic is smooth.
const SLACK: u64 = 10;
/// Accounts are made the first time, and devices connect.
const CONNECTING_MAX: Duration = Duration::from_secs(300);

/// What the soak said of the quarter second before a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tick {
    at: Instant,
    unanswered: u64,
    /// The longest wait among the acks of that time, from when the message was due.
    ack_max_ms: f64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Traffic {
    soak: Soak,
    said: Arc<Mutex<Said>>,
    reader: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Said {
    connected: bool,
    ended: bool,
    ticks: Vec<Tick>,
    last: String,
}

impl Traffic {
    /// Starts it, and waits until every device is connected. What it says goes to `log` too.
    pub(crate) fn start(scene: &Scene, load: Load, log: &Path) -> Result<Self> {
        Self::start_at(scene, load, log, None)
    }

    /// The same, at one address instead of every edge's own.
    pub(crate) fn start_at(
        scene: &Scene,
        load: Load,
        log: &Path,
        edge: Option<&str>,
    ) -> Result<Self> {
        let wiring = Wiring { edge, told_every_ms: Some(TICK_MS), ..Wiring::default() };
        let mut soak = Soak::start_wired(&scene.cluster, load, &wiring)?;
        let words = soak.words().context("the soak says nothing")?;
        let mut log = File::create(log).with_context(|| format!("cannot write {log:?}"))?;
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(words).lines().map_while(Result::ok) {
                // The log is for people; without it the cell goes on.
                let _ = writeln!(log, "{line}");
                heard.lock().hear(line, Instant::now());
            }
            heard.lock().ended = true;
        });
        let traffic = Self { soak, said, reader };
        scene.wait(CONNECTING_MAX, 0.05, || {
            let said = traffic.said.lock();
            ensure!(said.connected || said.ended, "not every device is connected: {}", said.last);
            Ok(())
        })?;
        let said = traffic.said.lock();
        ensure!(said.connected, "the soak ended at once: {}", said.last);
        drop(said);
        Ok(traffic)
    }

    /// The most sends that were without an answer at once so far.
    pub(crate) fn unanswered_max(&self) -> u64 {
        self.said.lock().ticks.iter().map(|tick| tick.unanswered).max().unwrap_or(0)
    }

    /// Waits until what was sent before `ended` has its answers and new sends get theirs at once, up to
    /// `limit` from then, and gives how long it took; nothing if it took longer.
    pub(crate) fn settle(
        &self,
        scene: &Scene,
        ended: Instant,
        quiet: u64,
        limit: Duration,
    ) -> Result<Option<f64>> {
        loop {
            // What was before is looked at too: the end may be a while ago.
            let found = settled(&self.said.lock().ticks, ended, quiet);
            if found.is_some() || ended.elapsed() > limit + SMOOTH {
                return Ok(found);
            }
            scene.pause(0.1)?;
        }
    }

    /// Sends nothing more, waits for what is under way, and gives the ledger.
    pub(crate) fn end(self) -> Result<Report> {
        self.soak.wind_up()?;
        let report = self.soak.end();
        // It ends with the soak's standard error.
        let _ = self.reader.join();
        report
    }
}

/// A soak to its end.
pub(crate) fn whole(cluster: &Cluster, load: Load) -> Result<Report> {
    let wiring = Wiring { told_every_ms: Some(TICK_MS), ..Wiring::default() };
    Soak::start_wired(cluster, load, &wiring)?.end()
}

impl Said {
    fn hear(&mut self, line: String, at: Instant) {
        self.connected |= line.contains("devices are connected");
        if let Some((unanswered, ack_max_ms)) = figures(&line) {
            self.ticks.push(Tick { at, unanswered, ack_max_ms });
        }
        self.last = line;
    }
}

/// The sends without an answer and the longest ack, from a line such as
/// `1.2s  sent 200/s ... unanswered 3  ack p50 1.2 p99 3.4 max 5.6 ms  retries 0 ...`.
fn figures(line: &str) -> Option<(u64, f64)> {
    let (_, after) = line.split_once("unanswered ")?;
    let unanswered = after.split_whitespace().next()?.parse().ok()?;
    let (_, after) = after.split_once(" max ")?;
    Some((unanswered, after.split_whitespace().next()?.parse().ok()?))
}

/// When traffic became smooth, in seconds after `ended`: the end of the last tick in which a send from
/// before got its ack, or too many were without one. Nothing until it has been smooth for a while.
fn settled(ticks: &[Tick], ended: Instant, quiet: u64) -> Option<f64> {
    let tick = Duration::from_millis(TICK_MS.into());
    let rough = |seen: &&Tick| {
        // An ack that waited for longer than since `ended` is of a send from before.
        let since_ms = (seen.at - tick).saturating_duration_since(ended).as_secs_f64() * 1_000.0;
        seen.at < ended + tick || seen.ack_max_ms >= since_ms || seen.unanswered > quiet + SLACK
    };
    let last_rough = ticks.iter().filter(|seen| seen.at >= ended).rfind(rough);
    let from = last_rough.map_or(ended, |seen| seen.at);
    let last = ticks.last()?.at;
    (last >= from + SMOOTH).then(|| (from - ended).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_a_line_of_progress() {
        let line = "  12.3s  sent 200/s  acked 199/s  delivered 199/s  unanswered 14  ack p50 1.2 p99 \
                    3.4 max 5.6 ms  retries 0  connections lost 0";
        assert_eq!(figures(line), Some((14, 5.6)));
        assert_eq!(figures("40 devices are connected; 200 messages/s"), None);
    }

    /// Ticks of a quarter second from the end of a fault on: the unanswered, the longest ack.
    fn ticks(ended: Instant, seen: &[(u64, f64)]) -> Vec<Tick> {
        let tick = |(n, (unanswered, ack_max_ms)): (u32, &(u64, f64))| Tick {
            at: ended + Duration::from_millis(u64::from(TICK_MS * n + 100)),
            unanswered: *unanswered,
            ack_max_ms: *ack_max_ms,
        };
        (1_u32..).zip(seen).map(tick).collect()
    }

    #[test]
    fn settled_is_after_the_last_ack_of_a_send_from_before() {
        let ended = Instant::now();
        let mut seen = vec![(400, 0.0), (400, 0.0), (300, 9_000.0), (100, 9_500.0)];
        assert_eq!(settled(&ticks(ended, &seen), ended, 5), None, "it goes on");
        seen.extend([(5, 4.0); 3]);
        assert_eq!(settled(&ticks(ended, &seen), ended, 5), None, "not smooth for long enough");
        seen.extend([(5, 4.0); 5]);
        let at = settled(&ticks(ended, &seen), ended, 5).unwrap();
        assert!((at - 1.1).abs() < 0.01, "{at}");
    }

    #[test]
    fn sends_without_an_answer_are_not_settled() {
        let ended = Instant::now();
        assert_eq!(settled(&ticks(ended, &[(5 + SLACK + 1, 4.0); 20]), ended, 5), None);
        assert!(settled(&ticks(ended, &[(5 + SLACK, 4.0); 20]), ended, 5).is_some());
        assert_eq!(settled(&[], ended, 5), None);
    }

    #[test]
    fn a_slow_ack_of_a_later_send_is_none_from_before() {
        let ended = Instant::now();
        let mut seen = vec![(5, 4.0); 8];
        // 2 s after the end somebody waited for a second.
        seen.push((5, 1_000.0));
        seen.extend([(5, 4.0); 8]);
        let at = settled(&ticks(ended, &seen), ended, 5).unwrap();
        assert!(at < 1.0, "{at}");
    }
}
