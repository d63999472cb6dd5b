//! An owner that was frozen past its takeover acknowledges nothing when it goes on.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::soak::Soak;
use crate::stage::{NAMESPACE, Stage, pause};

/// A pod's log, followed: what a container said last is gone with the next one otherwise.
struct Log(Child);

impl Log {
    fn follow(stage: &Stage, pod: &str) -> Self {
        let mut command = Command::new(xtask::programs::kubernetes().unwrap());
        command.args(["kubectl", "-n", NAMESPACE, "logs", "-f", "--since=1s", pod]);
        command.env("KUBECONFIG", stage.kubeconfig()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Ends the following; answers the lines with this message, by the lane that they are about.
    fn lanes(mut self, message: &str) -> BTreeMap<String, Value> {
        // It may have ended with its container.
        let _ = self.0.kill();
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let about = lines.filter(|line| line["message"] == message);
        about.filter_map(|line| Some((line["lane"].as_str()?.to_owned(), line))).collect()
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}

/// What the zombie ever acknowledged lies below what its successors sealed, lane by lane, by the word
/// of both; and nobody who was acknowledged misses anything.
#[test]
fn a_frozen_owner_acknowledges_nothing_after_its_takeover() {
    let stage = Stage::enter();
    let soak = Soak::start(&stage, 50, 500, 60);
    pause(8.0);
    let busy = |pod: &String| stage.metrics(pod).unwrap().sum("iris_owner_shards");
    let mut owners = stage.pods("owner").unwrap();
    owners.sort_by(|a, b| busy(a).total_cmp(&busy(b)));
    let zombie = owners.pop().unwrap();
    assert!(busy(&zombie) > 0.0, "{zombie} serves nothing");
    let last_words = Log::follow(&stage, &zombie);
    let heirs: Vec<_> = owners.iter().map(|pod| Log::follow(&stage, pod)).collect();
    stage.freeze(NAMESPACE, &zombie, "owner").unwrap();
    pause(30.0);
    stage.thaw(NAMESPACE, &zombie, "owner").unwrap();
    pause(10.0);
    let released = last_words.lanes("fenced");
    let mut sealed: BTreeMap<String, Value> = BTreeMap::new();
    heirs.into_iter().for_each(|heir| sealed.extend(heir.lanes("sealed")));
    assert!(!released.is_empty(), "the zombie never said that it saw its fence");
    for (lane, last) in &released {
        let seal = sealed.get(lane).unwrap_or_else(|| panic!("nobody sealed {lane}: {sealed:?}"));
        let (released, end) = (number(&last["released_below"]), number(&seal["end"]));
        println!("{lane}: released below {released}, sealed at {end}");
        assert!(released <= end, "{lane} acknowledged {released} of {end}");
    }
    soak.end();
    stage.healed();
}
