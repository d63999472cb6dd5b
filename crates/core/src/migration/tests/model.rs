//! A control plane and a shard as the operator's part must take them: orders are idempotent by id, an
//! abort holds for an order that comes later, and the shard's epoch only grows.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::migration::*;
use crate::seq::Epoch;

/// What goes wrong in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Nobody answers.
    Silent,
    /// The operator dies before the n-th effect.
    DiesBefore(usize),
    /// The order is delivered, and its answer is lost with the operator.
    DiesAfter(usize),
    /// An order is delivered only some rounds later.
    Late(usize),
    /// The owner dies: the shard goes elsewhere.
    Takeover,
}

impl Fault {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            4 => Just(Self::None),
            2 => Just(Self::Silent),
            2 => (0..4_usize).prop_map(Self::DiesBefore),
            2 => (0..4_usize).prop_map(Self::DiesAfter),
            2 => (1..8_usize).prop_map(Self::Late),
            1 => Just(Self::Takeover),
        ]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order_ {
    Execute(Way),
    Abort,
}

pub(super) struct World {
    pub(super) wish: Wish,
    pub(super) journal: Journal,
    pub(super) gone: bool,
    shard: Shard,
    forward: Option<Phase>,
    back: Option<Phase>,
    late: BTreeMap<usize, Vec<Order_>>,
    /// Everybody who ever had the shard, by epoch.
    owners: BTreeMap<Epoch, String>,
    /// The control plane finds the target unfit and gives the move up.
    refuses: bool,
    now_s: u64,
    rounds: usize,
}

impl World {
    pub(super) fn new(wish: Wish, refuses: bool) -> Self {
        let (epoch, owner) = (wish.order.epoch, wish.order.source.clone());
        Self {
            wish,
            journal: Journal::default(),
            gone: false,
            shard: Shard { epoch, owner: owner.clone(), serving: true },
            forward: None,
            back: None,
            late: BTreeMap::new(),
            owners: [(epoch, owner)].into(),
            refuses,
            now_s: 1000,
            rounds: 0,
        }
    }

    /// What the API server lets people change.
    pub(super) fn ask(&mut self, outcome: Outcome) {
        let committed = self.journal.committed.is_some();
        let ended = matches!(self.journal.step, Step::Ended(_));
        let allowed = match outcome {
            Outcome::Complete => false,
            Outcome::Abort => !committed && !ended,
            Outcome::Reverse => committed && !ended,
        };
        if allowed {
            self.wish.outcome = outcome;
        }
    }

    pub(super) fn delete(&mut self) {
        self.wish.deleted_at_s = Some(self.now_s);
        self.gone = !self.wish.held;
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        match self.journal.step {
            Step::Ended(ending) => Some(ending),
            _ => None,
        }
    }

    pub(super) fn round(&mut self, fault: Fault) {
        self.rounds += 1;
        self.now_s += 5;
        for order in self.late.remove(&self.rounds).unwrap_or_default() {
            self.deliver(order);
        }
        self.advance();
        if fault == Fault::Takeover {
            self.takeover();
        }
        let seen = if fault == Fault::Silent { Observed::NOTHING } else { self.observe() };
        let effects = decide(&self.wish, &self.journal, &seen, self.now_s);
        for (n, effect) in effects.into_iter().enumerate() {
            if fault == Fault::DiesBefore(n) {
                return;
            }
            if !self.perform(effect, fault) {
                return;
            }
            if fault == Fault::DiesAfter(n) {
                return;
            }
        }
    }

    /// Whether what comes after it is performed too.
    fn perform(&mut self, effect: Effect, fault: Fault) -> bool {
        match effect {
            Effect::Hold => self.wish.held = true,
            Effect::LetGo => {
                self.wish.held = false;
                self.gone = self.wish.deleted_at_s.is_some();
            }
            Effect::Write(transition) => {
                let before = self.journal.clone();
                self.journal = after(&before, &transition);
                assert_eq!(self.journal.seq, before.seq + 1);
                assert!(before.committed.is_none() || before.committed == self.journal.committed);
                assert!(!matches!(before.step, Step::Ended(_)), "written after the end");
            }
            Effect::Execute(way) => return self.send(Order_::Execute(way), fault),
            Effect::Abort => return self.send(Order_::Abort, fault),
            Effect::Say(_) | Effect::Again | Effect::WaitS(_) => {}
        }
        true
    }

    fn send(&mut self, order: Order_, fault: Fault) -> bool {
        match fault {
            Fault::Silent => false,
            Fault::Late(rounds) => {
                self.late.entry(self.rounds + rounds).or_default().push(order);
                false
            }
            Fault::None | Fault::DiesBefore(_) | Fault::DiesAfter(_) | Fault::Takeover => {
                self.deliver(order);
                true
            }
        }
    }

    fn deliver(&mut self, order: Order_) {
        match order {
            Order_::Execute(Way::Forward) => {
                let at_once = if self.shard.epoch == self.wish.order.epoch {
                    Phase::Preparing
                } else {
                    Phase::Failed
                };
                self.forward.get_or_insert(at_once);
            }
            Order_::Execute(Way::Back) => {
                let expected = self.journal.committed;
                let at_once = if Some(self.shard.epoch) == expected {
                    Phase::Preparing
                } else {
                    Phase::Failed
                };
                self.back.get_or_insert(at_once);
            }
            // Too late for one that the target has claimed; for one that has not come yet it holds.
            Order_::Abort => match self.forward {
                None | Some(Phase::Preparing | Phase::HandingOff) => {
                    self.forward = Some(Phase::Aborted);
                }
                Some(Phase::Committed(_) | Phase::Aborted | Phase::Failed) => {}
            },
        }
    }

    /// What the data plane does by itself meanwhile.
    fn advance(&mut self) {
        self.shard.serving = true;
        let (source, target) = (self.wish.order.source.clone(), self.wish.order.target.clone());
        let expected = self.wish.order.epoch;
        self.forward = self.forward.map(|phase| self.advanced(phase, expected, &target));
        if let (Some(phase), Some(committed)) = (self.back, self.journal.committed) {
            self.back = Some(self.advanced(phase, committed, &source));
        }
    }

    fn advanced(&mut self, phase: Phase, expected: Epoch, to: &str) -> Phase {
        match phase {
            Phase::Preparing if self.shard.epoch != expected => Phase::Aborted,
            Phase::Preparing if self.refuses => Phase::Failed,
            Phase::Preparing => Phase::HandingOff,
            Phase::HandingOff if self.shard.epoch != expected => Phase::Aborted,
            Phase::HandingOff => {
                let epoch = self.claim(to);
                self.shard.serving = false;
                Phase::Committed(epoch)
            }
            Phase::Committed(_) | Phase::Aborted | Phase::Failed => phase,
        }
    }

    fn takeover(&mut self) {
        self.claim("eu-owner-9");
    }

    fn claim(&mut self, owner: &str) -> Epoch {
        let epoch = self.shard.epoch.next();
        self.shard = Shard { epoch, owner: owner.to_owned(), serving: true };
        self.owners.insert(epoch, owner.to_owned());
        epoch
    }

    fn observe(&self) -> Observed {
        let as_move = |phase: Option<Phase>| match phase {
            None => Seen::Absent,
            Some(phase) => Seen::Known(Move {
                phase,
                reason: "Because".to_owned(),
                message: "of the model".to_owned(),
            }),
        };
        Observed {
            region: Seen::Known(()),
            plan: Seen::Known(Plan {
                source: self.shard.owner.clone(),
                epoch: self.shard.epoch,
                problems: Vec::new(),
            }),
            forward: as_move(self.forward),
            back: as_move(self.back),
            shard: Seen::Known(self.shard.clone()),
        }
    }

    /// What is still on its way arrives, and what it begins ends.
    pub(super) fn deliver_all(&mut self) {
        for order in std::mem::take(&mut self.late).into_values().flatten() {
            self.deliver(order);
        }
        for _ in 0..4 {
            self.advance();
        }
    }

    /// What the journal says is what happened to the shard.
    pub(super) fn check(&self) {
        let order = &self.wish.order;
        if let Some(committed) = self.journal.committed {
            assert_eq!(self.owners.get(&committed), Some(&order.target), "{:?}", self.owners);
        }
        match self.ending() {
            Some(Ending::Succeeded) => assert!(self.journal.committed.is_some()),
            Some(Ending::Aborted) => {
                assert!(!matches!(self.forward, Some(Phase::Committed(_))), "it did happen");
                assert!(
                    !matches!(self.forward, Some(Phase::Preparing | Phase::HandingOff)),
                    "it may still happen"
                );
            }
            Some(Ending::Reversed) => assert!(matches!(self.back, Some(Phase::Committed(_)))),
            Some(Ending::Failed) | None => {}
        }
    }
}
