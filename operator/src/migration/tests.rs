use iris_core::migration::{Ending, PlanHash, Seen, Step, Transition, after, plan_hash};
use iris_core::seq::Epoch;
use iris_crds::common::Time;
use iris_crds::conditions::{self, State, holds};
use iris_crds::migration::ResultName;
use iris_proto::control::{ShardPhase, ShardState};
use serde_json::json;

use super::observe::{seen_of, shard_of};
use super::wish::name_of;
use super::*;

fn object() -> IrisShardMigration {
    let object = json!({
        "apiVersion": "iris.dev/v1alpha1",
        "kind": "IrisShardMigration",
        "metadata": {"name": "m-7-e3-1", "namespace": "iris", "uid": "u", "generation": 2},
        "spec": {
            "clusterRef": {"name": "chat"},
            "shard": 7,
            "source": {"region": "eu", "owner": "eu-owner-0", "epoch": 3},
            "target": {"region": "eu", "owner": "eu-owner-1"},
        },
    });
    serde_json::from_value(object).unwrap()
}

fn entry<'a>(
    object: &'a IrisShardMigration,
    wish: &'a migration::Wish,
    learned: &'a Learned,
) -> Entry<'a> {
    Entry { object, wish, learned, term: 9, now: Time::from_unix(1000) }
}

fn to(step: Step) -> Transition {
    Transition {
        step,
        reason: "Because".to_owned(),
        message: "of this".to_owned(),
        plan: None,
        committed: None,
        reversible_until_s: None,
    }
}

fn hash() -> PlanHash {
    plan_hash(&wish_of(&object()).unwrap().order)
}

fn steps() -> Vec<Step> {
    let mut steps = vec![
        Step::Pending,
        Step::Planned,
        Step::Preparing,
        Step::HandingOff,
        Step::Aborting,
        Step::Verifying,
        Step::Soaking,
        Step::Reversing,
    ];
    let endings = [Ending::Succeeded, Ending::Aborted, Ending::Reversed, Ending::Failed];
    steps.extend(endings.map(Step::Ended));
    steps
}

#[test]
fn what_is_written_down_is_read_back() {
    let mut object = object();
    let wish = wish_of(&object).unwrap();
    let learned = Learned::default();
    let mut expected = journal_of(&object);
    for step in steps() {
        let transition = Transition {
            plan: (step == Step::Planned).then(hash),
            committed: (step == Step::Verifying).then_some(Epoch(4)),
            reversible_until_s: (step == Step::Soaking).then_some(5000),
            ..to(step)
        };
        object.status = Some(entry(&object, &wish, &learned).written(&transition));
        expected = after(&expected, &transition);
        assert_eq!(journal_of(&object), expected);
        let text = serde_json::to_value(&object).unwrap();
        let read: IrisShardMigration = serde_json::from_value(text).unwrap();
        assert_eq!(journal_of(&read), expected, "through the API server");
    }
    let status = object.status.unwrap();
    assert_eq!((status.operator_term, status.observed_generation), (Some(9), Some(2)));
    assert_eq!(status.result, Some(ResultName::Succeeded), "the first end is the end");
    assert_eq!(status.committed_epoch, Some(4));
}

#[test]
fn a_journal_is_bounded_and_keeps_the_newest() {
    let mut object = object();
    let wish = wish_of(&object).unwrap();
    for _ in 0..50 {
        let status = entry(&object, &wish, &Learned::default()).written(&to(Step::Pending));
        object.status = Some(status);
    }
    let history = object.status.unwrap().history;
    assert_eq!((history.len(), history[19].seq), (20, 50));
}

#[test]
fn whatever_is_said_the_conditions_can_be_written_and_do_not_contradict() {
    let notes = [
        None,
        Some(Note::Unreachable),
        Some(Note::RegionMissing),
        Some(Note::Refused(vec!["nobody serves it".to_owned()])),
        Some(Note::Paused),
        Some(Note::PauseDeferred),
        Some(Note::AwaitingApproval),
        Some(Note::OtherPlanApproved),
        Some(Note::Underway),
        Some(Note::Soaking),
        Some(Note::TooLateToAbort),
    ];
    for step in steps() {
        for note in &notes {
            let mut object = object();
            let wish = wish_of(&object).unwrap();
            let learned = Learned::default();
            object.status = Some(entry(&object, &wish, &learned).written(&to(step)));
            if let Some(note) = note {
                object.status = Some(entry(&object, &wish, &learned).said(note));
            }
            let list = object.status.unwrap().conditions;
            assert!(list.iter().all(|one| !one.reason.is_empty()), "{step:?} {note:?}");
            assert!(!(holds(&list, "Reconciling") && holds(&list, "Stalled")), "{step:?} {note:?}");
            let ended = matches!(step, Step::Ended(_));
            assert!(ended || holds(&list, "Reconciling") || holds(&list, "Stalled"));
            let succeeded = holds(&list, "Succeeded");
            assert_eq!(succeeded, step == Step::Ended(Ending::Succeeded), "{step:?} {note:?}");
        }
    }
}

#[test]
fn nobody_verified_what_had_a_further_owner_before_anybody_looked() {
    for (reason, verified) in [("Serving", State::True), ("MovedOn", State::Unknown)] {
        let mut object = object();
        let wish = wish_of(&object).unwrap();
        let learned = Learned::default();
        object.status = Some(entry(&object, &wish, &learned).written(&to(Step::Verifying)));
        let ends = to(Step::Ended(Ending::Succeeded));
        let ends = Transition { reason: reason.to_owned(), ..ends };
        object.status = Some(entry(&object, &wish, &learned).written(&ends));
        let conditions = object.status.unwrap().conditions;
        let found = conditions::find(&conditions, "Verified").unwrap();
        assert_eq!(found.status, verified, "{reason}");
    }
}

#[test]
fn words_say_what_to_do() {
    let mut object = object();
    object.spec.approval.mode = iris_crds::migration::ApprovalMode::Manual;
    let wish = wish_of(&object).unwrap();
    let learned = Learned { silence: Some("no route".to_owned()), ..Learned::default() };
    let planned = Transition { plan: Some(hash()), ..to(Step::Planned) };
    object.status = Some(entry(&object, &wish, &learned).written(&planned));
    let status = entry(&object, &wish, &learned).said(&Note::AwaitingApproval);
    let approved = conditions::find(&status.conditions, "Approved").unwrap();
    assert!(approved.message.contains(&format!("set spec.approval.planHash to {}", hash())));
    let silent = entry(&object, &wish, &learned).said(&Note::Unreachable);
    let why = conditions::find(&silent.conditions, "Reconciling").unwrap();
    assert!(why.message.contains("no route"), "{}", why.message);
    let gone = entry(&object, &wish, &learned).said(&Note::RegionMissing);
    let why = conditions::find(&gone.conditions, "Stalled").unwrap();
    assert!(why.message.contains("no IrisRegion iris/eu of cluster chat"), "{}", why.message);
}

#[test]
fn a_deletion_and_what_holds_it_back_are_seen() {
    let mut object = object();
    assert!(!wish_of(&object).unwrap().held);
    object.finalizers_mut().push("of.somebody/else".to_owned());
    assert!(!wish_of(&object).unwrap().held);
    object.finalizers_mut().push(MIGRATION_FINALIZER.to_owned());
    let at = "2026-01-01T00:00:00Z";
    object.metadata.deletion_timestamp = Some(serde_json::from_value(json!(at)).unwrap());
    let wish = wish_of(&object).unwrap();
    assert!(wish.held);
    assert_eq!(wish.deleted_at_s, Some(1_767_225_600));
}

#[test]
fn a_missing_answer_is_never_a_good_one() {
    let state = |phase: MovePhase| MoveState { phase: phase.into(), ..MoveState::default() };
    assert_eq!(seen_of(&state(MovePhase::Unspecified)), Seen::Unknown);
    assert_eq!(seen_of(&state(MovePhase::Unknown)), Seen::Absent);
    let ends = |phase| Answer { way: Way::Forward, state: state(phase) }.has_ended();
    assert!(ends(MovePhase::Committed) && ends(MovePhase::Aborted) && ends(MovePhase::Failed));
    assert!(!ends(MovePhase::Unknown) && !ends(MovePhase::Preparing));
    let shard = |phase: ShardPhase| {
        shard_of(&ShardState { phase: phase.into(), ..ShardState::default() }).serving
    };
    assert!(shard(ShardPhase::Serving) && shard(ShardPhase::Moving));
    let not = [ShardPhase::Unspecified, ShardPhase::Unclaimed, ShardPhase::Released];
    assert!(!not.into_iter().any(shard) && !shard(ShardPhase::Takeover));
}

#[test]
fn every_step_has_a_name_of_its_own() {
    let mut object = object();
    for step in steps() {
        let status =
            iris_crds::IrisShardMigrationStatus { step: Some(name_of(step)), ..Default::default() };
        object.status = Some(status);
        assert_eq!(journal_of(&object).step, step);
    }
}
