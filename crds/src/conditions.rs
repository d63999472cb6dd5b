//! Conditions: what is true of an object now, in a form that programs read and people understand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::Time;

/// One thing that is true of an object, false, or not known.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Whether it holds.
    pub status: State,
    /// Why, for programs: one word in CamelCase.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
    /// Why, for people, and what to do about it.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: Time,
    /// The generation of the object that this was judged by.
    pub observed_generation: i64,
}

/// Whether a condition holds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// There is not enough evidence for either.
    Unknown,
}

impl From<bool> for State {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Longer messages are cut: an object has room for 1 MiB, and people for less.
const MESSAGE_CHARS_MAX: usize = 2048;

/// Conditions in the making: those of before, replaced one by one.
#[derive(Debug, Clone)]
pub struct Conditions {
    list: Vec<Condition>,
    generation: i64,
    now: Time,
}

impl Conditions {
    /// Starts from what the object has.
    pub fn new(before: &[Condition], generation: Option<i64>, now: Time) -> Self {
        Self { list: before.to_vec(), generation: generation.unwrap_or_default(), now }
    }

    /// Sets a condition. Its time of transition changes only when its status does.
    pub fn set(
        &mut self,
        kind: &str,
        status: impl Into<State>,
        reason: &str,
        message: impl Into<String>,
    ) {
        let (status, message) = (status.into(), shortened(message.into()));
        let before = self.list.iter_mut().find(|condition| condition.kind == kind);
        if let Some(condition) = before {
            if condition.status != status {
                condition.last_transition_time = self.now;
            }
            reason.clone_into(&mut condition.reason);
            condition.status = status;
            condition.message = message;
            condition.observed_generation = self.generation;
            return;
        }
        self.list.push(Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message,
            last_transition_time: self.now,
            observed_generation: self.generation,
        });
    }

    /// Sets the two conditions that kstatus reads: the object is on its way, or stuck, or neither.
    pub fn set_progress(&mut self, progress: Progress<'_>) {
        let quiet = "AsDesired";
        let (reconciling, stalled) = match progress {
            Progress::Done => ((false, quiet, ""), (false, quiet, "")),
            Progress::Underway { reason, message } => ((true, reason, message), (false, quiet, "")),
            Progress::Stuck { reason, message } => {
                ((false, reason, message), (true, reason, message))
            }
        };
        self.set("Reconciling", reconciling.0, reconciling.1, reconciling.2);
        self.set("Stalled", stalled.0, stalled.1, stalled.2);
    }

    /// Sets those to unknown that are not there yet: whoever waits for one must not take its absence
    /// for an answer.
    pub fn expect(&mut self, kinds: &[&str]) {
        for kind in kinds {
            if find(&self.list, kind).is_none() {
                self.set(kind, State::Unknown, "NotJudgedYet", "");
            }
        }
    }

    /// Removes a condition that no longer applies.
    pub fn remove(&mut self, kind: &str) {
        self.list.retain(|condition| condition.kind != kind);
    }

    /// The finished list.
    pub fn into_vec(self) -> Vec<Condition> {
        self.list
    }

    /// What has been set so far.
    pub fn as_slice(&self) -> &[Condition] {
        &self.list
    }
}

/// How an object stands to its spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// As the spec wants it.
    Done,
    /// On its way, without help.
    Underway {
        /// One word.
        reason: &'a str,
        /// For people.
        message: &'a str,
    },
    /// Somebody must do something.
    Stuck {
        /// One word.
        reason: &'a str,
        /// For people.
        message: &'a str,
    },
}

/// The condition of this type, if it is there.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// Whether the condition of this type holds.
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == State::True)
}

fn shortened(message: String) -> String {
    if message.chars().count() <= MESSAGE_CHARS_MAX {
        return message;
    }
    let mut cut: String = message.chars().take(MESSAGE_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_is_a_change_of_status_alone() {
        let mut first = Conditions::new(&[], Some(1), Time::from_unix(100));
        first.set("Available", true, "Serving", "all well");
        let first = first.into_vec();
        let mut second = Conditions::new(&first, Some(2), Time::from_unix(200));
        second.set("Available", true, "Serving", "better still");
        let second = second.into_vec();
        assert_eq!(second[0].last_transition_time, Time::from_unix(100));
        assert_eq!(second[0].observed_generation, 2);
        let mut third = Conditions::new(&second, Some(2), Time::from_unix(300));
        third.set("Available", false, "Down", "gone");
        assert_eq!(third.as_slice()[0].last_transition_time, Time::from_unix(300));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let mut conditions = Conditions::new(&[], None, Time::from_unix(0));
        conditions.set("Degraded", true, "Long", "ü".repeat(5000));
        assert_eq!(conditions.as_slice()[0].message.chars().count(), MESSAGE_CHARS_MAX);
    }

    #[test]
    fn an_object_is_never_stuck_and_on_its_way_at_once() {
        for progress in [
            Progress::Done,
            Progress::Underway { reason: "Rolling", message: "m" },
            Progress::Stuck { reason: "SecretMissing", message: "m" },
        ] {
            let mut conditions = Conditions::new(&[], None, Time::from_unix(0));
            conditions.set_progress(progress);
            let list = conditions.into_vec();
            assert!(!(holds(&list, "Reconciling") && holds(&list, "Stalled")));
            assert!(find(&list, "Reconciling").is_some() && find(&list, "Stalled").is_some());
        }
    }
}
