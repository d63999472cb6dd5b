//! An owner that was frozen past its takeover acknowledges nothing when it goes on.

use crate::metrics::Scrape;
use crate::soak::Soak;
use crate::stage::{NAMESPACE, Stage, pause};

#[test]
fn a_frozen_owner_acknowledges_nothing_after_its_takeover() {
    let stage = Stage::enter();
    let soak = Soak::start(&stage, 50, 500, 60);
    pause(8.0);
    let pod = stage.pods("owner").remove(0);
    let scrape = Scrape::new(&stage);
    let before = scrape.of(&pod);
    assert!(before.sum("iris_messages_accepted_total") > 0.0, "{pod} served nobody");
    stage.freeze(NAMESPACE, &pod, "owner").unwrap();
    pause(30.0);
    let taken_over: f64 =
        stage.pods("owner")[1..].iter().map(|p| scrape.of(p).sum("iris_takeovers_total")).sum();
    assert!(taken_over > 0.0, "nobody took its shards over");
    stage.thaw(NAMESPACE, &pod, "owner").unwrap();
    // Its own words, from the container that was frozen: it saw the fence, and what it released.
    pause(10.0);
    let log = stage
        .kubectl(["-n", NAMESPACE, "logs", &pod, "-c", "owner", "--previous", "--tail=200"])
        .unwrap();
    assert!(log.contains("fenced by session"), "it never learnt of its fence: {log}");
    let acked_late =
        log.lines().filter(|line| line.contains("acknowledged after the fence")).count();
    assert_eq!(acked_late, 0, "{log}");
    soak.end();
    stage.healed();
}
