//! One replica leads: it holds a Lease, and stops acting before the Lease could be another's.
//!
//! Clocks of machines are never compared: a candidate takes a Lease over when it has seen it unchanged
//! for its whole duration by its own monotonic clock. A Lease fences nothing by itself, so what the
//! leader orders from others carries its term, which only grows.

mod election;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iris_core::clock::{MonoUs, Now};
use iris_runtime::clock::SharedClock;
use iris_runtime::metrics::Metrics;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, PostParams};
use prometheus::IntGauge;
use tokio::sync::watch;

use crate::error::{Error, Tried};
use election::{Decision, Sighting};

/// How elections go.
#[derive(Debug, Clone)]
pub struct Election {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// Who this is: different for every process, also for one that starts again in the same pod.
    pub holder: String,
    /// For how long a Lease is held without being renewed.
    pub duration: Duration,
    /// How often it is looked at, and renewed.
    pub interval: Duration,
}

impl Election {
    /// Every replica's defaults.
    pub fn new(namespace: &str, pod: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: "iris-operator".to_owned(),
            holder: format!("{pod}_{:08x}", fastrand::u32(..)),
            duration: Duration::from_secs(15),
            interval: Duration::from_secs(3),
        }
    }
}

/// The right to act, as long as it holds.
#[derive(Clone)]
pub struct Lead {
    until: Arc<AtomicU64>,
    clock: SharedClock,
    term: u64,
}

impl std::fmt::Debug for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lead(term {}, holds {})", self.term, self.holds())
    }
}

impl Lead {
    /// For tests of what a leader does.
    pub fn for_ever(clock: SharedClock, term: u64) -> Self {
        Self { until: Arc::new(AtomicU64::new(u64::MAX)), clock, term }
    }

    /// Whether it holds now.
    pub fn holds(&self) -> bool {
        self.clock.now().mono.0 < self.until.load(Ordering::Acquire)
    }

    /// Its number. Whoever leads later has a higher one.
    pub fn term(&self) -> u64 {
        self.term
    }

    fn extend(&self, until: MonoUs) {
        self.until.store(until.0, Ordering::Release);
    }

    fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
}

/// What an elected replica is.
#[derive(Debug)]
pub struct LeaderMetrics {
    leading: IntGauge,
    term: IntGauge,
}

impl LeaderMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            leading: metrics.gauge("iris_operator_leading", "1 while this replica leads"),
            term: metrics.gauge("iris_operator_term", "The term of this replica's last lead"),
        }
    }
}

/// Takes part in elections for ever. The channel has a lead while this replica has one.
pub async fn campaign(
    client: kube::Client,
    election: Election,
    clock: SharedClock,
    metrics: LeaderMetrics,
    leads: watch::Sender<Option<Lead>>,
) {
    let api: Api<Lease> = Api::namespaced(client, &election.namespace);
    let mut candidate = Candidate { election, clock, sighting: None, lead: None };
    loop {
        if let Err(error) = candidate.round(&api).await {
            tracing::warn!(%error, "the election had no answer");
        }
        candidate.drop_if_over();
        metrics.leading.set(i64::from(candidate.lead.is_some()));
        if let Some(lead) = &candidate.lead {
            metrics.term.set(i64::try_from(lead.term).unwrap_or(i64::MAX));
        }
        let now = candidate.lead.as_ref().map(Lead::term);
        leads.send_if_modified(|before| {
            let changed = before.as_ref().map(Lead::term) != now;
            if changed {
                before.clone_from(&candidate.lead);
            }
            changed
        });
        // With jitter, so that candidates do not meet again and again.
        tokio::time::sleep(candidate.election.interval.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
    }
}

/// Gives the Lease up, so that another replica need not wait for its end.
pub async fn resign(client: kube::Client, election: &Election, lead: Lead) -> Result<(), Error> {
    lead.end();
    let api: Api<Lease> = Api::namespaced(client, &election.namespace);
    let lease = api.get(&election.name).await.tried(|| "cannot read the Lease".to_owned())?;
    if let Some(released) = election::released(lease, &election.holder) {
        let params = PostParams::default();
        api.replace(&election.name, &params, &released)
            .await
            .tried(|| "cannot give the Lease up".to_owned())?;
    }
    Ok(())
}

struct Candidate {
    election: Election,
    clock: SharedClock,
    sighting: Option<Sighting>,
    lead: Option<Lead>,
}

impl Candidate {
    async fn round(&mut self, api: &Api<Lease>) -> Result<(), Error> {
        let lease = api
            .get_opt(&self.election.name)
            .await
            .tried(|| format!("cannot read Lease {}", self.election.name))?;
        // Taken before the request goes out: others count from when they see its effect.
        let now = self.clock.now();
        let sighting = Sighting::of(lease.as_ref(), self.sighting.take(), now.mono);
        let decision = election::decide(&self.election, lease, &sighting, now);
        self.sighting = Some(sighting);
        match decision {
            Decision::Wait => {
                self.lose("another replica holds the Lease");
                Ok(())
            }
            Decision::Create(lease) => {
                let made = api.create(&PostParams::default(), &lease).await;
                made.tried(|| "cannot make the Lease".to_owned())?;
                self.hold(election::term(&lease), now);
                Ok(())
            }
            Decision::Replace(lease) => {
                let params = PostParams::default();
                let made = api.replace(&self.election.name, &params, &lease).await;
                made.tried(|| "cannot take or renew the Lease".to_owned())?;
                self.hold(election::term(&lease), now);
                Ok(())
            }
        }
    }

    fn hold(&mut self, term: u64, asked: Now) {
        let duration = u64::try_from(self.election.duration.as_micros()).unwrap_or(u64::MAX);
        // A fifth is left for what is under way.
        let until = MonoUs(asked.mono.0.saturating_add(duration / 5 * 4));
        match &self.lead {
            Some(lead) if lead.term == term => lead.extend(until),
            _ => {
                tracing::info!(term, "this replica leads");
                let lead = Lead {
                    until: Arc::new(AtomicU64::new(until.0)),
                    clock: Arc::clone(&self.clock),
                    term,
                };
                self.lead = Some(lead);
            }
        }
    }

    fn drop_if_over(&mut self) {
        if self.lead.as_ref().is_some_and(|lead| !lead.holds()) {
            self.lose("the Lease could not be renewed in time");
        }
    }

    fn lose(&mut self, why: &str) {
        if let Some(lead) = self.lead.take() {
            lead.end();
            tracing::warn!(term = lead.term, why, "this replica no longer leads");
        }
    }
}
