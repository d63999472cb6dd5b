//! The table, walked at random: against answers of every kind, and against a model of a control plane
//! whose messages are lost, repeated and late.

mod model;

use proptest::prelude::*;

use super::*;
use model::{Fault, World};

fn order() -> Order {
    Order {
        shard: ShardId::new(17),
        region: "eu".to_owned(),
        source: "eu-owner-0".to_owned(),
        epoch: Epoch(41),
        target: "eu-owner-2".to_owned(),
        fence_ms_max: 2000,
    }
}

pub(super) fn wish() -> Wish {
    Wish {
        order: order(),
        outcome: Outcome::Complete,
        paused: false,
        approval: Approval::Automatic,
        soak_s: 0,
        deleted_at_s: None,
        held: false,
    }
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Pending),
        Just(Step::Planned),
        Just(Step::Preparing),
        Just(Step::HandingOff),
        Just(Step::Aborting),
        Just(Step::Verifying),
        Just(Step::Soaking),
        Just(Step::Reversing),
        Just(Step::Ended(Ending::Succeeded)),
        Just(Step::Ended(Ending::Failed)),
    ]
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Complete), Just(Outcome::Abort), Just(Outcome::Reverse)]
}

fn approvals() -> impl Strategy<Value = Approval> {
    let other: PlanHash = format!("b3:{}", "0".repeat(64)).parse().unwrap();
    prop_oneof![
        Just(Approval::Automatic),
        Just(Approval::Manual(None)),
        Just(Approval::Manual(Some(plan_hash(&order())))),
        Just(Approval::Manual(Some(other))),
    ]
}

fn wishes() -> impl Strategy<Value = Wish> {
    let times = prop_oneof![Just(None), Just(Some(0_u64)), Just(Some(5_000))];
    (outcomes(), any::<bool>(), approvals(), 0..100_u64, times, any::<bool>()).prop_map(
        |(outcome, paused, approval, soak_s, deleted_at_s, held)| Wish {
            order: order(),
            outcome,
            paused,
            approval,
            soak_s,
            deleted_at_s,
            held,
        },
    )
}

fn journals() -> impl Strategy<Value = Journal> {
    (steps(), prop_oneof![Just(None), Just(Some(Epoch(42)))], any::<bool>(), 0..9000_u64).prop_map(
        |(step, committed, planned, until)| Journal {
            seq: 7,
            step,
            plan: planned.then(|| plan_hash(&order())),
            committed,
            reversible_until_s: Some(until),
        },
    )
}

fn seen_of<T: Clone + std::fmt::Debug + 'static>(
    known: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Seen<T>> {
    prop_oneof![known.prop_map(Seen::Known), Just(Seen::Absent), Just(Seen::Unknown)]
}

fn moves() -> impl Strategy<Value = Move> {
    let phases = prop_oneof![
        Just(Phase::Preparing),
        Just(Phase::HandingOff),
        Just(Phase::Committed(Epoch(42))),
        Just(Phase::Aborted),
        Just(Phase::Failed),
    ];
    phases.prop_map(|phase| Move { phase, reason: String::new(), message: String::new() })
}

fn observations() -> impl Strategy<Value = Observed> {
    let plans = (40..44_u32, prop_oneof![Just(""), Just("eu-owner-0"), Just("x")], any::<bool>())
        .prop_map(|(epoch, source, problem)| Plan {
            source: source.to_owned(),
            epoch: Epoch(epoch),
            problems: problem.then(|| "the target is not there".to_owned()).into_iter().collect(),
        });
    let shards = (40..45_u32, prop_oneof![Just(""), Just("eu-owner-2")], any::<bool>()).prop_map(
        |(epoch, owner, serving)| Shard { epoch: Epoch(epoch), owner: owner.to_owned(), serving },
    );
    (seen_of(Just(())), seen_of(plans), seen_of(moves()), seen_of(moves()), seen_of(shards))
        .prop_map(|(region, plan, forward, back, shard)| Observed {
            region,
            plan,
            forward,
            back,
            shard,
        })
}

fn ends(effects: &[Effect]) -> Option<Ending> {
    effects.iter().find_map(|effect| match effect {
        Effect::Write(Transition { step: Step::Ended(ending), .. }) => Some(*ending),
        _ => None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// What holds for each row of the table, by itself.
    #[test]
    fn every_row_keeps_the_rules(
        wish in wishes(), journal in journals(), seen in observations(), now_s in 0..10_000_u64,
    ) {
        let effects = decide(&wish, &journal, &seen, now_s);
        let ended = matches!(journal.step, Step::Ended(_));
        if ended {
            prop_assert!(effects.iter().all(|effect| *effect == Effect::LetGo));
            return Ok(());
        }
        let writes: Vec<_> =
            effects.iter().filter(|effect| matches!(effect, Effect::Write(_))).collect();
        prop_assert!(writes.len() <= 1, "one transition at a time: {effects:?}");
        // Success needs evidence: the target's claim in the journal, and the shard as it is now or
        // a time that has passed since it was seen to serve.
        match ends(&effects) {
            Some(Ending::Succeeded) => prop_assert!(journal.committed.is_some()),
            Some(Ending::Aborted) => prop_assert!(
                !matches!(journal.step, Step::Verifying | Step::Soaking | Step::Reversing)
            ),
            Some(Ending::Reversed) => {
                let back = matches!(&seen.back, Seen::Known(back) if matches!(back.phase, Phase::Committed(_)));
                prop_assert!(back);
            }
            Some(Ending::Failed) | None => {}
        }
        // An order is written down before it is given, and given to nobody who does not want it.
        for (n, effect) in effects.iter().enumerate() {
            match effect {
                Effect::Execute(Way::Forward) => {
                    let intent = effects[..n].iter().any(|before| matches!(
                        before, Effect::Write(Transition { step: Step::Preparing, .. })
                    ));
                    let held = wish.held || effects[..n].contains(&Effect::Hold);
                    prop_assert!(matches!(journal.step, Step::Preparing | Step::HandingOff) || intent);
                    prop_assert!(held || !intent, "a deletion must find the order");
                    prop_assert!(!wish.unwanted() && !wish.paused);
                }
                Effect::Execute(Way::Back) => prop_assert_eq!(wish.outcome == Outcome::Reverse
                    || journal.step == Step::Reversing, true),
                Effect::Again => {
                    let acted = effects[..n].iter().any(|before| matches!(
                        before, Effect::Write(_) | Effect::Execute(_) | Effect::Abort
                    ));
                    prop_assert!(acted, "looking again at once without having done anything");
                }
                Effect::WaitS(seconds) => prop_assert!(*seconds >= 1 && *seconds <= SOAK_POLL_S),
                Effect::Hold | Effect::LetGo | Effect::Write(_) | Effect::Abort
                | Effect::Say(_) => {}
            }
        }
        // The last effect says when to look again, unless there is nothing left to look at.
        let last = effects.last();
        prop_assert!(
            matches!(last, Some(Effect::Again | Effect::WaitS(_) | Effect::LetGo))
                || ends(&effects).is_some(),
            "{effects:?}"
        );
    }

    /// No answer at all: nothing is concluded, whatever was wanted, once the move was ordered.
    #[test]
    fn silence_concludes_nothing(wish in wishes(), step in steps(), now_s in 0..10_000_u64) {
        let journal = Journal {
            seq: 3,
            step,
            plan: Some(plan_hash(&order())),
            committed: Some(Epoch(42)),
            reversible_until_s: Some(20_000),
        };
        let effects = decide(&wish, &journal, &Observed::NOTHING, now_s);
        let ordered = !matches!(step, Step::Pending | Step::Planned | Step::Ended(_));
        if ordered {
            prop_assert_eq!(ends(&effects), None, "{:?}", effects);
        }
    }

    /// From any start, with any faults for a while, the move ends as the model's shard says it did, and
    /// the object can be deleted.
    #[test]
    fn it_ends_and_tells_the_truth(
        faults in prop::collection::vec(Fault::any(), 0..60),
        outcome_at in prop::option::of((0..10_usize, outcomes())),
        deleted_at in prop::option::of(0..20_usize),
        paused in (0..10_usize, 0..10_usize),
        soak_s in prop_oneof![Just(0_u64), Just(30)],
        refuses in any::<bool>(),
    ) {
        let mut world = World::new(wish(), refuses);
        world.wish.soak_s = soak_s;
        for round in 0..400 {
            world.wish.paused = (paused.0..paused.0 + paused.1).contains(&round);
            if let Some((at, outcome)) = outcome_at && round == at {
                world.ask(outcome);
            }
            if deleted_at == Some(round) {
                world.delete();
            }
            if world.gone {
                break;
            }
            world.round(faults.get(round).copied().unwrap_or(Fault::None));
        }
        prop_assert!(world.gone || world.ending().is_some(), "stuck at {:?}", world.journal);
        prop_assert!(!world.wish.held, "an ended move is held back from deletion");
        world.deliver_all();
        world.check();
    }
}

#[test]
fn a_plan_is_known_by_what_it_does() {
    let hash = plan_hash(&order());
    assert_eq!(hash, plan_hash(&order()));
    assert_eq!(hash.to_string().parse::<PlanHash>().unwrap(), hash);
    let changes: [fn(&mut Order); 6] = [
        |order| order.shard = ShardId::new(18),
        |order| order.epoch = Epoch(42),
        |order| order.fence_ms_max = 1,
        |order| order.source.push('0'),
        |order| order.target.push('0'),
        |order| order.region.push('u'),
    ];
    for change in changes {
        let mut other = order();
        change(&mut other);
        assert_ne!(plan_hash(&other), hash, "{other:?}");
    }
}

#[test]
fn a_silent_control_plane_does_not_hold_a_deleted_move_for_ever() {
    let wish = Wish { deleted_at_s: Some(100), held: true, ..wish() };
    let journal = Journal { step: Step::Preparing, ..Journal::default() };
    let early = decide(&wish, &journal, &Observed::NOTHING, 100 + LET_GO_AFTER_S - 1);
    assert!(!early.contains(&Effect::LetGo));
    let late = decide(&wish, &journal, &Observed::NOTHING, 100 + LET_GO_AFTER_S);
    assert_eq!(late, vec![Effect::LetGo]);
}

#[test]
fn an_approval_is_of_one_plan() {
    let planned =
        Journal { step: Step::Planned, plan: Some(plan_hash(&order())), ..Journal::default() };
    let other: PlanHash = format!("b3:{}", "1".repeat(64)).parse().unwrap();
    let wish_with = |approval| Wish { approval, ..wish() };
    let refused =
        decide(&wish_with(Approval::Manual(Some(other))), &planned, &Observed::NOTHING, 0);
    assert_eq!(refused[0], Effect::Say(Note::OtherPlanApproved));
    let approved = Approval::Manual(Some(plan_hash(&order())));
    let runs = decide(&wish_with(approved), &planned, &Observed::NOTHING, 0);
    assert!(runs.contains(&Effect::Execute(Way::Forward)));
    // What was planned and approved is no longer what the spec says.
    let mut changed = wish();
    changed.order.fence_ms_max = 50;
    let replanned = decide(&changed, &planned, &Observed::NOTHING, 0);
    assert!(matches!(&replanned[0], Effect::Write(Transition { step: Step::Pending, .. })));
}
