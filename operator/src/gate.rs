//! Whether what a region or a pool builds upon is ready: its cluster, and for a pool its region.
//! Until it is, what runs goes on running as it is, and nothing new is rolled out.

use std::sync::Arc;

use iris_crds::cluster::AdoptedImages;
use iris_crds::conditions::{self, State};
use iris_crds::{IrisCluster, IrisRegion};
use kube::ResourceExt;

use crate::error::Error;
use crate::hub::Stores;
use crate::status::Reported;

/// A cluster that regions and pools can build upon.
#[derive(Debug, Clone)]
pub struct ReadyCluster {
    /// The cluster.
    pub cluster: Arc<IrisCluster>,
    /// The images that its pods use.
    pub images: AdoptedImages,
}

/// The cluster, if there is one.
pub fn cluster(stores: &Stores, namespace: &str, name: &str) -> Result<Arc<IrisCluster>, Error> {
    stores.cluster(namespace, name).ok_or_else(|| {
        Error::blocked(
            "ClusterMissing",
            format!(
                "there is no IrisCluster {namespace}/{name}: create it, or correct spec.clusterRef"
            ),
        )
    })
}

/// The region, if there is one.
pub fn region(stores: &Stores, namespace: &str, name: &str) -> Result<Arc<IrisRegion>, Error> {
    stores.region(namespace, name).ok_or_else(|| {
        Error::blocked(
            "RegionMissing",
            format!(
                "there is no IrisRegion {namespace}/{name}: create it, or correct spec.regionRef"
            ),
        )
    })
}

/// Whether people have stopped the cluster.
pub fn check_running(cluster: &IrisCluster) -> Result<(), Error> {
    if cluster.spec.paused {
        let name = cluster.name_any();
        return Err(Error::waiting("ClusterPaused", format!("IrisCluster {name} is paused")));
    }
    Ok(())
}

/// Refuses until the cluster has its keys and its schema, as its spec wants them now.
pub fn ready(cluster: Arc<IrisCluster>) -> Result<ReadyCluster, Error> {
    check_running(&cluster)?;
    let name = cluster.name_any();
    let waiting = |why: String| {
        Err(Error::waiting("ClusterNotReady", format!("IrisCluster {name} is not ready: {why}")))
    };
    let Some(status) = &cluster.status else {
        return waiting("it was not looked at yet".to_owned());
    };
    if status.observed_generation != cluster.metadata.generation {
        return waiting("its spec has just been changed".to_owned());
    }
    if let Some(stalled) = conditions::find(IrisCluster::conditions(status), "Stalled")
        && stalled.status == State::True
    {
        return waiting(stalled.message.clone());
    }
    if status.pki.is_none() || status.keys.is_none() {
        return waiting("its keys are being made".to_owned());
    }
    let schema = status.schema.as_ref();
    let applied =
        schema.is_some_and(|schema| schema.applied.is_some() && schema.applied == schema.wanted);
    if !applied {
        let told = conditions::find(IrisCluster::conditions(status), "SchemaApplied");
        let told = told.map(|condition| condition.message.clone()).unwrap_or_default();
        return waiting(format!("the schema is not applied: {told}"));
    }
    match status.images.clone() {
        Some(images) => Ok(ReadyCluster { cluster, images }),
        None => waiting("its images are not decided".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use iris_crds::IrisClusterStatus;
    use iris_crds::cluster::{KeyStatus, PkiStatus, SchemaStatus};
    use iris_crds::common::Time;
    use iris_crds::conditions::Conditions;

    use super::*;
    use crate::cluster::tests::cluster;

    fn good() -> IrisCluster {
        let mut cluster = cluster();
        cluster.status = Some(IrisClusterStatus {
            observed_generation: Some(1),
            images: Some(AdoptedImages {
                dataplane: "d:1".to_owned(),
                control_plane: "c:1".to_owned(),
                request: 0,
            }),
            schema: Some(SchemaStatus {
                applied: Some("a".to_owned()),
                wanted: Some("a".to_owned()),
                ..SchemaStatus::default()
            }),
            pki: Some(PkiStatus {
                step: "Stable".to_owned(),
                fingerprint: String::new(),
                not_after: Time::from_unix(0),
                trusted: 1,
                rotation: 0,
            }),
            keys: Some(KeyStatus { signing: String::new(), published: vec![], rotation: 0 }),
            ..IrisClusterStatus::default()
        });
        cluster
    }

    #[test]
    fn a_cluster_is_ready_as_its_spec_is_now_or_not_at_all() {
        assert_eq!(ready(Arc::new(good())).unwrap().images.dataplane, "d:1");
        let spoil: [fn(&mut IrisCluster); 6] = [
            |cluster| cluster.metadata.generation = Some(2),
            |cluster| cluster.spec.paused = true,
            |cluster| cluster.status.as_mut().unwrap().schema.as_mut().unwrap().wanted = None,
            |cluster| cluster.status.as_mut().unwrap().pki = None,
            |cluster| cluster.status.as_mut().unwrap().images = None,
            |cluster| cluster.status = None,
        ];
        for (n, spoil) in spoil.into_iter().enumerate() {
            let mut cluster = good();
            spoil(&mut cluster);
            assert!(ready(Arc::new(cluster)).is_err(), "{n}");
        }
    }

    #[test]
    fn why_a_cluster_is_stuck_is_passed_on() {
        let mut cluster = good();
        let mut conditions = Conditions::new(&[], Some(1), Time::from_unix(0));
        conditions.set("Stalled", true, "SecretMissing", "Secret iris/cassandra is not there");
        cluster.status.as_mut().unwrap().conditions = conditions.into_vec();
        let error = ready(Arc::new(cluster)).unwrap_err();
        assert!(error.to_string().contains("Secret iris/cassandra"), "{error}");
    }
}
