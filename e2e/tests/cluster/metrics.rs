//! What the processes count, and what a message costs by their count.

use std::collections::BTreeMap;

use crate::soak::Soak;
use crate::stage::{NAMESPACE, Stage, pause};

/// Reads the metrics of pods through their admin ports.
pub(crate) struct Scrape<'a>(&'a Stage);

/// The metrics of one process at one time.
pub(crate) struct Sample(BTreeMap<String, f64>);

impl<'a> Scrape<'a> {
    pub(crate) fn new(stage: &'a Stage) -> Self {
        Self(stage)
    }

    pub(crate) fn of(&self, pod: &str) -> Sample {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/https:{pod}:9443/proxy/metrics");
        let text = self.0.kubectl(["get", "--raw", &path]).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Sample(values.collect())
    }

    /// The sum over every pod of a role.
    pub(crate) fn sum(&self, role: &str, metric: &str) -> f64 {
        self.0.pods(role).iter().map(|pod| self.of(pod).sum(metric)).sum()
    }
}

impl Sample {
    /// The sum of a metric over its labels.
    pub(crate) fn sum(&self, metric: &str) -> f64 {
        let named = self.0.iter().filter(|(name, _)| name.split('{').next() == Some(metric));
        named.map(|(_, value)| value).sum()
    }
}

#[test]
fn a_message_costs_a_fifth_of_a_log_row_at_2000_a_second() {
    let stage = Stage::enter();
    let scrape = Scrape::new(&stage);
    let soak = Soak::start(&stage, 100, 2_000, 40);
    pause(15.0);
    let count = || {
        ["iris_log_blocks_total", "iris_messages_accepted_total"]
            .map(|metric| scrape.sum("owner", metric))
    };
    let before = count();
    pause(15.0);
    let after = count();
    let (rows, messages) = (after[0] - before[0], after[1] - before[1]);
    println!("{rows} log rows for {messages} messages: {:.3} for each", rows / messages);
    soak.end();
    assert!(messages / 15.0 > 1_500.0, "the load was not there: {messages} in 15 s");
    assert!(rows / messages <= 0.2, "{rows} rows for {messages} messages");
}
