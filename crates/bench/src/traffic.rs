//! A soak that says every second how it goes, for what has to know more than its end.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use xtask::cluster::{
    Cluster,
    soak::{Load, Report, Soak, Wiring},
};

use crate::pause;

const LOOK: Duration = Duration::from_millis(100);

/// See the module. It ends with whoever holds it.
pub(crate) struct Traffic {
    soak: Soak,
    told: Arc<Mutex<Told>>,
    /// It ends with the soak.
    _reader: thread::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Told {
    ended: bool,
    last: String,
    seconds: Vec<Second>,
}

/// What a soak said of a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Second {
    pub(crate) at: Instant,
    /// Messages that were acknowledged.
    pub(crate) acked: f64,
    /// How long that took, in milliseconds from when they should have been sent.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Traffic {
    /// Starts one, and waits until it sends: accounts and groups are made before, and devices connect.
    pub(crate) fn start(
        cluster: &Cluster,
        load: Load,
        wiring: &Wiring<'_>,
        begun_max: Duration,
    ) -> Result<Self> {
        let wiring = Wiring { told_every_ms: Some(1_000), ..*wiring };
        let mut soak = Soak::start_wired(cluster, load, &wiring)?;
        let words = soak.words().context("the soak says nothing")?;
        let told = Arc::new(Mutex::new(Told::default()));
        let heard = Arc::clone(&told);
        let reader = thread::spawn(move || {
            for line in BufReader::new(words).lines().map_while(Result::ok) {
                heard.lock().hear(line);
            }
            heard.lock().ended = true;
        });
        let traffic = Self { soak, told, _reader: reader };
        let until = Instant::now() + begun_max;
        while traffic.seconds()?.is_empty() {
            ensure!(Instant::now() < until, "it does not begin: {}", traffic.told.lock().last);
            pause(LOOK);
        }
        Ok(traffic)
    }

    /// What it said so far. One that has ended is an error: nobody told it to.
    pub(crate) fn seconds(&self) -> Result<Vec<Second>> {
        let told = self.told.lock();
        ensure!(!told.ended, "the soak ended: {}", told.last);
        Ok(told.seconds.clone())
    }

    /// The mean of the seconds since then.
    pub(crate) fn since(&self, from: Instant) -> Result<Second> {
        Ok(mean(&self.seconds()?, from))
    }

    /// Waits for its end, and gives its ledger.
    pub(crate) fn end(self) -> Result<Report> {
        self.soak.end()
    }

    /// Has it send nothing more, and gives its ledger.
    pub(crate) fn wind_up(self) -> Result<Report> {
        self.soak.wind_up()?;
        self.soak.end()
    }

    /// Has it end without what is under way.
    pub(crate) fn give_up(self) -> Result<()> {
        self.soak.give_up()
    }
}

impl Told {
    fn hear(&mut self, line: String) {
        if let Some((acked, p50, p99)) = figures(&line) {
            self.seconds.push(Second { at: Instant::now(), acked, p50, p99 });
        }
        self.last = line;
    }
}

/// What a line of progress says of acks: how many in a second, the median, and one of a hundred.
fn figures(line: &str) -> Option<(f64, f64, f64)> {
    let after = |word: &str| line.split_once(word)?.1.split([' ', '/']).next()?.parse().ok();
    Some((after("acked ")?, after("ack p50 ")?, after(" p99 ")?))
}

fn mean(seconds: &[Second], from: Instant) -> Second {
    let those: Vec<_> = seconds.iter().filter(|second| second.at >= from).collect();
    #[expect(clippy::cast_precision_loss, reason = "there are few seconds")]
    let count = those.len().max(1) as f64;
    let mean = |of: fn(&Second) -> f64| those.iter().map(|second| of(second)).sum::<f64>() / count;
    Second { at: from, acked: mean(|s| s.acked), p50: mean(|s| s.p50), p99: mean(|s| s.p99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_a_line_of_progress() {
        let line = "  12.3s  sent 200/s  acked 199/s  delivered 198/s  unanswered 14  ack p50 1.2 p99 \
                    3.4 max 5.6 ms  retries 0  connections lost 0";
        assert_eq!(figures(line), Some((199.0, 1.2, 3.4)));
        assert_eq!(figures("40 devices are connected; 200 messages/s"), None);
    }

    #[test]
    fn a_mean_is_of_what_came_since_then() {
        let from = Instant::now();
        let second = |n: u64, acked: f64| Second {
            at: from + Duration::from_secs(n),
            acked,
            p50: 1.0,
            p99: 2.0,
        };
        let all = mean(&[second(1, 90.0), second(2, 10.0), second(3, 20.0)], second(2, 0.0).at);
        assert!((all.acked - 15.0).abs() < 1e-9, "{all:?}");
    }
}
