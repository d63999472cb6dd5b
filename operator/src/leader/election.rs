//! Who leads next: decided from what is read and for how long it was seen unchanged. Never from what
//! another machine's clock wrote.

use iris_core::clock::{MonoUs, Now};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::Election;

/// On the Lease: the term of its holder. `leaseTransitions` starts again when a Lease is deleted.
const TERM: &str = "iris.dev/term";

/// What to do.
#[derive(Debug)]
pub(super) enum Decision {
    /// Another holds it.
    Wait,
    /// There is none: make it.
    Create(Lease),
    /// Take it over, or renew it. Refused if it has changed since it was read.
    Replace(Lease),
}

/// A Lease as it was seen, and since when it has been so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighting {
    version: Option<String>,
    since: MonoUs,
}

impl Sighting {
    pub(super) fn of(lease: Option<&Lease>, before: Option<Self>, now: MonoUs) -> Self {
        let version = lease.and_then(|lease| lease.metadata.resource_version.clone());
        match before {
            Some(before) if before.version == version => before,
            _ => Self { version, since: now },
        }
    }
}

pub(super) fn decide(
    election: &Election,
    lease: Option<Lease>,
    sighting: &Sighting,
    now: Now,
) -> Decision {
    let Some(mut lease) = lease else {
        let metadata = ObjectMeta {
            name: Some(election.name.clone()),
            namespace: Some(election.namespace.clone()),
            ..ObjectMeta::default()
        };
        let mut lease = Lease { metadata, spec: None };
        take(election, &mut lease, now);
        return Decision::Create(lease);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    if holder == election.holder {
        renew(election, &mut lease, now);
        return Decision::Replace(lease);
    }
    let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or(0);
    let unchanged_us = now.mono.us_since(sighting.since);
    if holder.is_empty() || unchanged_us >= seconds.saturating_mul(1_000_000) {
        take(election, &mut lease, now);
        return Decision::Replace(lease);
    }
    Decision::Wait
}

/// The Lease without a holder, if `holder` has it.
pub(super) fn released(mut lease: Lease, holder: &str) -> Option<Lease> {
    let spec = lease.spec.as_mut()?;
    if spec.holder_identity.as_deref() != Some(holder) {
        return None;
    }
    spec.holder_identity = Some(String::new());
    Some(lease)
}

/// The term that a Lease is held with.
pub(super) fn term(lease: &Lease) -> u64 {
    let annotations = lease.metadata.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(TERM));
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn take(election: &Election, lease: &mut Lease, now: Now) {
    // Seconds since 1970 at least: a Lease that somebody deleted does not begin again at 1.
    let next = (term(lease) + 1).max(now.wall.0 / 1000);
    let annotations = lease.metadata.annotations.get_or_insert_default();
    annotations.insert(TERM.to_owned(), next.to_string());
    let spec = lease.spec.get_or_insert_default();
    spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
    spec.acquire_time = time(now);
    spec.holder_identity = Some(election.holder.clone());
    renew(election, lease, now);
}

fn renew(election: &Election, lease: &mut Lease, now: Now) {
    let seconds = i32::try_from(election.duration.as_secs()).unwrap_or(i32::MAX);
    let spec: &mut LeaseSpec = lease.spec.get_or_insert_default();
    spec.lease_duration_seconds = Some(seconds.max(1));
    spec.renew_time = time(now);
}

fn time(now: Now) -> Option<MicroTime> {
    let millis = i64::try_from(now.wall.0).ok()?;
    jiff::Timestamp::from_millisecond(millis).ok().map(MicroTime)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iris_core::clock::WallMs;

    use super::*;

    fn election(holder: &str) -> Election {
        Election {
            namespace: "iris-system".to_owned(),
            name: "iris-operator".to_owned(),
            holder: holder.to_owned(),
            duration: Duration::from_secs(15),
            interval: Duration::from_secs(3),
        }
    }

    fn at(seconds: u64) -> Now {
        Now { wall: WallMs(1_700_000_000_000), mono: MonoUs(seconds * 1_000_000) }
    }

    fn versioned(mut lease: Lease, version: &str) -> Lease {
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    fn first() -> Lease {
        let sighting = Sighting::of(None, None, MonoUs(0));
        match decide(&election("a"), None, &sighting, at(0)) {
            Decision::Create(lease) => versioned(lease, "1"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lease_is_taken_only_after_its_whole_duration_unchanged() {
        let lease = first();
        let seen = Sighting::of(Some(&lease), None, at(100).mono);
        let early = decide(&election("b"), Some(lease.clone()), &seen, at(114));
        assert!(matches!(early, Decision::Wait), "{early:?}");
        // Renewed at 114: the wait begins again.
        let renewed = versioned(lease.clone(), "2");
        let seen = Sighting::of(Some(&renewed), Some(seen), at(114).mono);
        let later = decide(&election("b"), Some(renewed.clone()), &seen, at(128));
        assert!(matches!(later, Decision::Wait), "{later:?}");
        let taken = decide(&election("b"), Some(renewed), &seen, at(129));
        let Decision::Replace(taken) = taken else { panic!("{taken:?}") };
        assert!(term(&taken) > term(&lease));
        let version = taken.metadata.resource_version.as_deref();
        assert_eq!(version, Some("2"), "refused by the API server if it has changed");
    }

    #[test]
    fn terms_grow_even_when_the_lease_was_deleted() {
        let lease = first();
        assert_eq!(term(&lease), 1_700_000_000);
        let released = released(lease.clone(), "a").unwrap();
        let sighting = Sighting::of(Some(&released), None, at(1).mono);
        let again = decide(&election("b"), Some(released), &sighting, at(1));
        let Decision::Replace(again) = again else { panic!("{again:?}") };
        assert_eq!(term(&again), 1_700_000_001);
        assert!(super::released(lease, "b").is_none(), "another's Lease is not released");
    }

    #[test]
    fn a_holder_renews_with_the_same_term() {
        let lease = first();
        let sighting = Sighting::of(Some(&lease), None, at(1).mono);
        let renewed = decide(&election("a"), Some(lease.clone()), &sighting, at(3));
        let Decision::Replace(renewed) = renewed else { panic!("{renewed:?}") };
        assert_eq!(term(&renewed), term(&lease));
    }
}
