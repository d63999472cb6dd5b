//! Moves under way: at most so many at once, watched until each has ended.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use iris_crds::IrisShardMigration;
use iris_crds::conditions;
use iris_crds::migration::ResultName;
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;
use crate::output::{Output, table};
use crate::soak::latency::{Latencies, Percentiles};

use super::args::Migrate;
use super::migrate::Orders;
use super::plan::Move;

/// How often to tell that nothing has changed.
const TELL: Duration = Duration::from_secs(10);

/// A move and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Followed {
    name: String,
    #[serde(flatten)]
    a_move: Move,
    step: String,
    result: Option<String>,
    write_pause_ms: Option<u32>,
    committed_epoch: Option<u32>,
    seconds: f64,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    #[serde(skip)]
    began: Instant,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    moved: usize,
    failed: usize,
    unfinished: usize,
    seconds: f64,
    write_pause_ms: Percentiles,
    moves: &'a [Followed],
}

/// The moves of one order.
struct Board {
    queue: VecDeque<Move>,
    active: BTreeMap<String, Followed>,
    ended: Vec<Followed>,
    /// How often a move may be ordered again, and how often each shard's was.
    retries: u8,
    again: BTreeMap<u32, u8>,
}

/// Why a move failed without harm: its shard had too much to write, and serves on where it is.
const SOURCE_NOT_READY: &str = "SourceNotReady";

pub(super) async fn run(
    mut orders: Orders,
    moves: Vec<Move>,
    args: &Migrate,
    output: &mut Output,
) -> Result<(), Failure> {
    let (began, total) = (Instant::now(), moves.len());
    let until = began + args.timeout;
    let mut watch = pin!(watcher(orders.api.clone(), watcher::Config::default()).default_backoff());
    let mut board = Board::new(moves, args.retries);
    let mut tell_at = Instant::now() + TELL;
    while !board.is_done() {
        while board.active.len() < usize::from(args.parallel)
            && let Some(a_move) = board.queue.pop_front()
        {
            let ordered = orders.order(&a_move).await;
            board.ordered(a_move, ordered);
        }
        if board.is_done() {
            break;
        }
        let before = board.ended.len();
        tokio::select! {
            event = watch.next() => match event {
                Some(Ok(event)) => board.watched(event),
                // The watch comes back by itself; what it missed is listed again.
                Some(Err(error)) => output.note(&format!("the API server: {error}")),
                None => return Err(Failure::new("the watch of the moves ended")),
            },
            () = sleep_until(tell_at.min(until)) => {}
        }
        if board.ended.len() > before || Instant::now() >= tell_at {
            tell_at = Instant::now() + TELL;
            output.note(&board.line(total));
        }
        if Instant::now() >= until {
            break;
        }
    }
    tell(board, began, args, output)
}

impl Board {
    fn new(moves: Vec<Move>, retries: u8) -> Self {
        let (active, ended, again) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { queue: moves.into(), active, ended, retries, again }
    }

    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.active.is_empty()
    }

    fn ordered(&mut self, a_move: Move, ordered: Result<String, Failure>) {
        match ordered {
            Ok(name) => {
                self.active.insert(name.clone(), Followed::new(name, a_move));
            }
            Err(failure) => {
                let mut refused = Followed::new(String::new(), a_move);
                refused.result = Some("Refused".to_owned());
                refused.why = failure.for_people();
                self.ended.push(refused);
            }
        }
    }

    fn watched(&mut self, event: watcher::Event<IrisShardMigration>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => self.seen(&object),
            watcher::Event::Delete(object) => {
                if let Some(mut gone) = self.active.remove(&object.name_any()) {
                    gone.result = Some("Deleted".to_owned());
                    gone.why = "somebody deleted it".to_owned();
                    self.end(gone);
                }
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn seen(&mut self, object: &IrisShardMigration) {
        let name = object.name_any();
        let (Some(followed), Some(status)) = (self.active.get_mut(&name), &object.status) else {
            return;
        };
        if let Some(step) = status.step {
            followed.step = format!("{step:?}");
        }
        followed.write_pause_ms = status.fence.as_ref().map(|fence| fence.millis);
        followed.committed_epoch = status.committed_epoch;
        let why = conditions::find(&status.conditions, "Succeeded")
            .or_else(|| conditions::find(&status.conditions, "Stalled"));
        let not_ready = why.is_some_and(|condition| condition.reason == SOURCE_NOT_READY);
        let why = why.map(|condition| condition.message.clone()).unwrap_or_default();
        if let Some(result) = status.result {
            followed.result = Some(format!("{result:?}"));
            followed.why = if result == ResultName::Succeeded { String::new() } else { why };
            if let Some(ended) = self.active.remove(&name) {
                self.end_or_retry(ended, not_ready);
            }
        } else {
            followed.why = why;
        }
    }

    fn end_or_retry(&mut self, ended: Followed, not_ready: bool) {
        let again = self.again.entry(ended.a_move.shard).or_default();
        if not_ready && *again < self.retries {
            *again += 1;
            self.queue.push_back(ended.a_move);
        } else {
            self.end(ended);
        }
    }

    fn end(&mut self, mut ended: Followed) {
        ended.seconds = seconds(ended.began);
        self.ended.push(ended);
    }

    fn line(&self, total: usize) -> String {
        let moved = self.ended.iter().filter(|one| one.succeeded()).count();
        let failed = self.ended.len() - moved;
        let failed = if failed > 0 { format!(", {failed} FAILED") } else { String::new() };
        let steps = self.active.values().map(|one| format!("{} {}", one.a_move.shard, one.step));
        let steps: Vec<_> = steps.take(8).collect();
        let under_way = if steps.is_empty() {
            String::new()
        } else {
            format!("; under way: {}", steps.join(", "))
        };
        format!("{moved} of {total} moved{failed}{under_way}")
    }
}

impl Followed {
    fn new(name: String, a_move: Move) -> Self {
        Self {
            name,
            a_move,
            step: "Ordered".to_owned(),
            result: None,
            write_pause_ms: None,
            committed_epoch: None,
            seconds: 0.0,
            why: String::new(),
            began: Instant::now(),
        }
    }

    fn succeeded(&self) -> bool {
        self.result.as_deref() == Some("Succeeded")
    }

    fn row(&self) -> Vec<String> {
        let pause = self.write_pause_ms.map_or_else(String::new, |ms| ms.to_string());
        let result = self.result.as_deref().unwrap_or("unfinished");
        vec![
            self.a_move.shard.to_string(),
            self.a_move.from.clone(),
            self.a_move.to.clone(),
            result.to_owned(),
            pause,
            format!("{:.1}", self.seconds),
            self.why.clone(),
        ]
    }
}

fn tell(board: Board, began: Instant, args: &Migrate, output: &mut Output) -> Result<(), Failure> {
    let Board { queue, active, ended, .. } = board;
    let mut moves = ended;
    for mut one in active.into_values() {
        one.seconds = seconds(one.began);
        moves.push(one);
    }
    let never = queue.len();
    moves.sort_by_key(|one| one.a_move.shard);
    let moved = moves.iter().filter(|one| one.succeeded()).count();
    let unfinished = moves.iter().filter(|one| one.result.is_none()).count() + never;
    let failed = moves.len() + never - moved - unfinished;
    let mut pauses = Latencies::default();
    moves.iter().filter_map(|one| one.write_pause_ms).for_each(|ms| {
        pauses.record(u64::from(ms) * 1000);
    });
    let write_pause_ms = pauses.percentiles();
    let ok = failed == 0 && unfinished == 0;
    let rows: Vec<_> = moves.iter().map(Followed::row).collect();
    let heads = ["SHARD", "FROM", "TO", "RESULT", "PAUSE-MS", "SECONDS", "WHY"];
    let Percentiles { p50, p99, max, .. } = write_pause_ms;
    let took = seconds(began);
    let text = format!(
        "{}\n{moved} moved, {failed} failed, {unfinished} unfinished in {took:.1} s; writes paused \
         p50 {p50:.0}, p99 {p99:.0}, at most {max:.0} ms",
        table(&heads, &rows)
    );
    let report =
        Report { ok, moved, failed, unfinished, seconds: took, write_pause_ms, moves: &moves };
    output.result(&text, &report)?;
    if unfinished > 0 {
        return Err(Failure::new(format!(
            "{unfinished} moves had not ended after {} s",
            args.timeout.as_secs()
        ))
        .hint(
            "those that were ordered go on by themselves: `kubectl get irm`; \
             `kubectl describe irm NAME` says what one waits for, --timeout waits longer",
        ));
    }
    if ok { Ok(()) } else { Err(Failure::told()) }
}

fn seconds(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use iris_crds::IrisShardMigrationStatus;
    use iris_crds::migration::{FenceReceipt, StepName};

    use super::*;

    fn a_move(shard: u32) -> Move {
        Move { shard, from: "a".to_owned(), to: "b".to_owned(), epoch: 1 }
    }

    fn object(name: &str, status: serde_json::Value) -> IrisShardMigration {
        let object = serde_json::json!({
            "apiVersion": "iris.dev/v1alpha1",
            "kind": "IrisShardMigration",
            "metadata": {"name": name},
            "spec": {
                "clusterRef": {"name": "chat"},
                "shard": 7,
                "source": {"region": "eu", "owner": "a", "epoch": 1},
                "target": {"region": "eu", "owner": "b"},
            },
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_move_is_followed_to_its_end() {
        let mut board = Board::new(vec![a_move(7)], 0);
        let first = board.queue.pop_front().unwrap();
        board.ordered(first, Ok("m-7-e1-1".to_owned()));
        let status = IrisShardMigrationStatus {
            step: Some(StepName::HandingOff),
            fence: Some(FenceReceipt { millis: 31, ..FenceReceipt::default() }),
            ..IrisShardMigrationStatus::default()
        };
        let mut status = serde_json::to_value(status).unwrap();
        board.watched(watcher::Event::Apply(object("m-7-e1-1", status.clone())));
        board.watched(watcher::Event::Apply(object("m-9-e1-1", status.clone())));
        assert!(board.line(1).contains("7 HandingOff"), "{}", board.line(1));
        status["result"] = "Succeeded".into();
        board.watched(watcher::Event::Apply(object("m-7-e1-1", status)));
        assert!(board.is_done() && board.ended[0].succeeded());
        assert_eq!(board.ended[0].write_pause_ms, Some(31));
    }

    #[test]
    fn refused_deleted_and_failed_moves_end_too() {
        let mut board = Board::new(Vec::new(), 2);
        board.ordered(a_move(1), Err(Failure::new("no")));
        board.ordered(a_move(2), Ok("m-2-e1-1".to_owned()));
        board.ordered(a_move(3), Ok("m-3-e1-1".to_owned()));
        board.watched(watcher::Event::Delete(object("m-2-e1-1", serde_json::json!({}))));
        let status = serde_json::json!({"result": "Failed"});
        board.watched(watcher::Event::Apply(object("m-3-e1-1", status)));
        assert!(board.is_done());
        assert!(board.ended.iter().all(|one| !one.succeeded()));
        assert_eq!(board.ended.len(), 3);
    }

    #[test]
    fn a_move_whose_shard_serves_on_is_ordered_again_but_not_for_ever() {
        let mut board = Board::new(vec![a_move(7)], 2);
        let status = serde_json::json!({"result": "Failed", "conditions": [{
            "type": "Succeeded", "status": "False", "reason": "SourceNotReady", "observedGeneration": 1,
            "message": "the shard could not be emptied; it serves on",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]});
        for n in 1..=3 {
            assert!(!board.is_done(), "order {n}");
            let again = board.queue.pop_front().unwrap();
            let name = format!("m-7-e1-{n}");
            board.ordered(again, Ok(name.clone()));
            board.watched(watcher::Event::Apply(object(&name, status.clone())));
        }
        assert!(board.is_done());
        assert_eq!(board.ended.len(), 1);
        assert!(board.ended[0].why.contains("serves on"));
    }
}
