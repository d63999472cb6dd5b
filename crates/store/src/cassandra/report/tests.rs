//! What makes a Cassandra unfit is seen, and said with what to do.

use super::*;

fn node(settings: &[(&str, &str)], version: &str) -> StoreReport {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let node = Node {
        address: "10.0.0.7:9042".to_owned(),
        version: version.to_owned(),
        settings: settings.iter().map(owned).collect(),
    };
    let mut report = StoreReport::default();
    judge_node(&node, &mut report);
    report
}

fn keyspace(options: Keyspace, policy: AckPolicy) -> StoreReport {
    let replication = options.copies.get("dc1").copied().unwrap_or_default();
    let mut report = StoreReport { replication, ..StoreReport::default() };
    judge_keyspace(&options, "iris", "dc1", policy, &mut report);
    report
}

fn copies(of: &[(&str, u32)]) -> Keyspace {
    Keyspace {
        durable: true,
        strategy: "NetworkTopologyStrategy".to_owned(),
        copies: of.iter().map(|(name, copies)| ((*name).to_owned(), *copies)).collect(),
        transient: Vec::new(),
    }
}

#[test]
fn a_node_that_may_lose_an_answered_write_is_unfit() {
    let good = [("commitlog_sync", "batch"), ("paxos_variant", "v2")];
    assert_eq!(node(&good, "5.0.9").unfit, Vec::<String>::new());
    let grouped = [("commitlog_sync", "group"), ("paxos_variant", "v2")];
    assert_eq!(node(&grouped, "5.0.9").unfit, Vec::<String>::new());
    let one = |settings: &[(&str, &str)], version| {
        let unfit = node(settings, version).unfit;
        assert_eq!(unfit.len(), 1, "{unfit:?}");
        unfit.into_iter().next().unwrap()
    };
    let periodic = one(&[("commitlog_sync", "periodic"), ("paxos_variant", "v2")], "5.0.9");
    assert!(periodic.contains("set commitlog_sync to batch or group"), "{periodic}");
    for variant in ["v1", "v1_without_linearizable_reads_or_rejected_writes"] {
        let old = one(&[("commitlog_sync", "batch"), ("paxos_variant", variant)], "5.0.9");
        assert!(old.contains("set paxos_variant to v2"), "{old}");
    }
    let ancient = one(&good, "4.1.7");
    assert!(ancient.contains("upgrade it to 5.0"), "{ancient}");
    let guarded = [good[0], good[1], ("minimum_timestamp_fail_threshold", "1d")];
    assert!(one(&guarded, "5.0.9").contains("logical timestamps"));
    assert_eq!(node(&[], "5.0.9").unfit.len(), 2, "what is not said counts as the default");
}

#[test]
fn a_keyspace_with_too_few_copies_is_for_development() {
    let fine = keyspace(copies(&[("dc1", 3)]), AckPolicy::HomeRegion);
    assert_eq!((fine.unfit.len(), fine.development_only.len()), (0, 0));
    let single = keyspace(copies(&[("dc1", 1)]), AckPolicy::HomeRegion);
    assert_eq!((single.unfit.len(), single.development_only.len()), (0, 1));
    assert!(single.development_only[0].contains("alter its replication to 3"));
    let elsewhere = keyspace(copies(&[("dc2", 3)]), AckPolicy::HomeRegion);
    assert_eq!(elsewhere.unfit.len(), 1);
    let majority = keyspace(copies(&[("dc1", 3), ("dc2", 3)]), AckPolicy::MajorityOfRegions);
    assert_eq!(majority.development_only.len(), 1);
}

#[test]
fn a_keyspace_that_keeps_no_log_is_unfit() {
    let hasty = Keyspace { durable: false, ..copies(&[("dc1", 3)]) };
    assert!(keyspace(hasty, AckPolicy::HomeRegion).unfit[0].contains("durable_writes = true"));
    let simple = Keyspace { strategy: "SimpleStrategy".to_owned(), ..copies(&[("dc1", 3)]) };
    assert_eq!(keyspace(simple, AckPolicy::HomeRegion).unfit.len(), 1);
    let transient = Keyspace { transient: vec!["dc1".to_owned()], ..copies(&[("dc1", 3)]) };
    assert_eq!(keyspace(transient, AckPolicy::HomeRegion).unfit.len(), 1);
}
