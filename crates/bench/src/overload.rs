//! What is still done while far more is asked for than can be, and how soon everything is as before.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use xtask::cluster::{
    Cluster,
    soak::{Load, Wiring},
};

use crate::pause;
use crate::traffic::{Second, Traffic};

/// Pairs of people who are there before, during and after.
const RESIDENTS: u32 = 100;
/// Pairs of people who come, ask for too much, and go.
const CROWD: u32 = 500;
/// The peak is looked for from this rate on, half as much more each time.
const FIRST_RATE: u32 = 2_000;
/// Above this the load would be the measurement.
const RATE_MAX: u32 = 40_000;
/// How long each rate is tried.
const STEP: Duration = Duration::from_secs(15);
/// So much of what is asked for must be done for the next rate to be tried.
const KEPT_UP: f64 = 0.9;
/// How long there is too much.
const OVER: Duration = Duration::from_secs(60);
/// The first seconds of a load are its beginning.
const WARM: Duration = Duration::from_secs(5);
/// Longer nobody waits until everything is as before.
const AFTER_MAX: Duration = Duration::from_secs(120);
/// In so many seconds in a row it must be.
const STEADY: usize = 5;
/// Accounts are made the first time.
const BEGUN_MAX: Duration = Duration::from_secs(900);
const RESIDENTS_FILE: &str = "soak-accounts.json";
const CROWD_FILE: &str = "crowd-accounts.json";

/// Looks for the peak, and then asks for `times` as much.
pub(crate) fn section(cluster: &Cluster, times: u32) -> Result<String> {
    let peak = peak(cluster)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 40,000")]
    let (half, over) = ((peak / 2.0) as u32, (peak * f64::from(times)) as u32);
    let residents = start(cluster, RESIDENTS, half, RESIDENTS_FILE)?;
    pause(WARM);
    let quiet_since = Instant::now();
    pause(STEP);
    let before = residents.since(quiet_since)?;
    let crowd = start(cluster, CROWD, over, CROWD_FILE)?;
    pause(WARM);
    let (accepted, began) = (accepted(cluster)?, Instant::now());
    pause(OVER);
    let during = per_second(cluster, accepted, began)?;
    let residents_during = residents.since(began)?;
    // They give up, and leave what was under way.
    let gone = Instant::now();
    crowd.give_up()?;
    let recovered = recovery(&residents, gone, f64::from(half) * 0.95)?;
    let report = residents.wind_up()?;
    ensure!(report.ok, "the ledger of the residents is not clean: {:?}", report.violations);
    let goodput = during / peak * 100.0;
    Ok(format!(
        "\n## Too much\n\nThe peak is the most messages a second that were accepted and acknowledged while the rate \
         rose by half every {} s, {CROWD} pairs: {peak:.0}. Then {RESIDENTS} pairs write half as much, {half} a second, and \
         beside them {CROWD} pairs want {times} times the peak, {over} a second, for {} s, and give up. Clients keep \
         to the credit that they are given, so what is too much waits with them.\n\n\
         | | accepted/s | of the peak | residents' acks/s | ack p50 ms | p99 ms |\n|---|---|---|---|---|---|\n\
         | before | {:.0} | | {:.0} | {:.1} | {:.1} |\n\
         | during | {during:.0} | {goodput:.0} % | {:.0} | {:.1} | {:.1} |\n\n\
         {:.1} s after the crowd began to go the residents' messages were acknowledged at 95 % of their rate and more for \
         {STEADY} s in a row{}. Of all the residents' messages: acked {}, lost {}, duplicated {}, reordered {}.\n",
        STEP.as_secs(),
        OVER.as_secs(),
        before.acked,
        before.acked,
        before.p50,
        before.p99,
        residents_during.acked,
        residents_during.p50,
        residents_during.p99,
        recovered.rate_s,
        recovered.latency_s.map_or_else(
            || ", and what had waited was not caught up with".to_owned(),
            |s| format!(", and after {s:.1} s what had waited was caught up with"),
        ),
        report.acked,
        report.lost,
        report.duplicated,
        report.reordered,
    ))
}

/// The most that is accepted in a second, at whichever rate.
fn peak(cluster: &Cluster) -> Result<f64> {
    let (mut best, mut rate) = (0.0_f64, FIRST_RATE);
    while rate <= RATE_MAX {
        let traffic = start(cluster, CROWD, rate, CROWD_FILE)?;
        pause(WARM);
        let (before, began) = (accepted(cluster)?, Instant::now());
        pause(STEP - WARM);
        let goodput = per_second(cluster, before, began)?;
        // What it has in hand would take a while, and nobody asks for it.
        traffic.give_up()?;
        eprintln!("of {rate} messages a second {goodput:.0} are accepted");
        best = best.max(goodput);
        if goodput < f64::from(rate) * KEPT_UP {
            break;
        }
        rate += rate / 2;
        pause(WARM);
    }
    ensure!(best > 0.0, "nothing is accepted");
    pause(WARM);
    Ok(best)
}

/// Traffic that nobody but its holder ends.
fn start(cluster: &Cluster, pairs: u32, rate: u32, accounts: &str) -> Result<Traffic> {
    let load = Load { pairs, rate, seconds: 3600 };
    Traffic::start(cluster, load, &Wiring { accounts, ..Wiring::default() }, BEGUN_MAX)
}

fn accepted(cluster: &Cluster) -> Result<f64> {
    cluster.metric("owner", "iris_messages_accepted_total")
}

fn per_second(cluster: &Cluster, before: f64, began: Instant) -> Result<f64> {
    let count = accepted(cluster)? - before;
    Ok(count / began.elapsed().as_secs_f64())
}

/// When everything was as before, in seconds.
struct Recovery {
    rate_s: f64,
    /// When acks took no longer than a second any more.
    latency_s: Option<f64>,
}

/// Waits until `rate` messages a second are acknowledged again, and for what had waited.
fn recovery(traffic: &Traffic, gone: Instant, rate: f64) -> Result<Recovery> {
    loop {
        pause(Duration::from_millis(500));
        let seconds = traffic.seconds()?;
        let over = gone.elapsed() > AFTER_MAX;
        let rate_s = again(&seconds, gone, |second| second.acked >= rate);
        let latency_s = for_good(&seconds, gone, |second| second.p99 < 1_000.0);
        match (rate_s, latency_s) {
            (Some(rate_s), Some(_)) => return Ok(Recovery { rate_s, latency_s }),
            (Some(rate_s), None) if over => return Ok(Recovery { rate_s, latency_s }),
            _ => ensure!(!over, "not as before after {} s", AFTER_MAX.as_secs()),
        }
    }
}

/// The first of some seconds in a row that are as they should be.
fn again(seconds: &[Second], from: Instant, good: impl Fn(&Second) -> bool) -> Option<f64> {
    let those: Vec<_> = seconds.iter().filter(|second| second.at >= from).collect();
    let row = those.windows(STEADY).find(|row| row.iter().all(|second| good(second)))?;
    Some((row[0].at - from).as_secs_f64())
}

/// From when on every second is as it should be, if the last ones are.
fn for_good(seconds: &[Second], from: Instant, good: impl Fn(&Second) -> bool) -> Option<f64> {
    let those: Vec<_> = seconds.iter().filter(|second| second.at >= from).collect();
    let first = those.iter().rposition(|second| !good(second)).map_or(0, |bad| bad + 1);
    (those.len() >= first + STEADY).then(|| (those[first].at - from).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dip_ends_what_was_for_good_and_not_what_was_so_again() {
        let from = Instant::now();
        let second = |(n, acked): (u64, f64)| Second {
            at: from + Duration::from_secs(n),
            acked,
            p50: 1.0,
            p99: 2.0,
        };
        let acked = [90.0, 10.0, 100.0, 99.0, 98.0, 97.0, 96.0];
        let mut seconds: Vec<_> = (1_u64..).zip(acked).map(second).collect();
        let good = |second: &Second| second.acked >= 95.0;
        assert_eq!(again(&seconds[..6], from, good), None, "too few");
        assert_eq!(for_good(&seconds[..6], from, good), None, "too few");
        assert_eq!(again(&seconds, from, good), Some(3.0));
        assert_eq!(for_good(&seconds, from, good), Some(3.0));
        seconds.push(second((8, 94.0)));
        assert_eq!(again(&seconds, from, good), Some(3.0));
        assert_eq!(for_good(&seconds, from, good), None);
    }
}
