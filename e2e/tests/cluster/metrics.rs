//! What a message costs, by the count of the processes.

use crate::soak::Soak;
use crate::stage::{Stage, pause};

#[test]
fn a_message_costs_a_fifth_of_a_log_row_at_2000_a_second() {
    let stage = Stage::enter();
    let soak = Soak::start(&stage, 100, 2_000, 40);
    pause(15.0);
    let count = || {
        [
            "iris_log_blocks_total",
            "iris_messages_accepted_total",
            "iris_log_entries_total",
            "iris_log_write_seconds_sum",
        ]
        .map(|metric| stage.metric("owner", metric).unwrap())
    };
    let before = count();
    pause(15.0);
    let after = count();
    let [rows, messages, entries, writing] = std::array::from_fn(|n| after[n] - before[n]);
    println!(
        "{rows} log rows for {messages} messages: {:.3} for each; {:.1} entries a row, {:.1} ms a write",
        rows / messages,
        entries / rows,
        1_000.0 * writing / rows,
    );
    soak.end();
    assert!(messages / 15.0 > 1_500.0, "the load was not there: {messages} in 15 s");
    assert!(rows / messages <= 0.2, "{rows} rows for {messages} messages");
}

#[test]
fn one_control_plane_says_that_it_leads_and_who_follows() {
    let stage = Stage::enter();
    let sum = |metric: &str| stage.metric("controlplane", metric).unwrap();
    assert!((sum("iris_control_leading") - 1.0).abs() < f64::EPSILON);
    assert!(sum("iris_control_followers") >= 1.0, "the edges follow the routes");
}
