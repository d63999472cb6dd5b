use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{MACHINE, NODES_MAX, Place, Plan, SERVICES_CIDR, WHOLE_CIDR};

fn within(address: Ipv4Addr, cidr: &str) -> bool {
    let (base, bits) = cidr.split_once('/').unwrap();
    let base = u32::from(base.parse::<Ipv4Addr>().unwrap());
    let shift = 32 - bits.parse::<u32>().unwrap();
    u32::from(address) >> shift == base >> shift
}

#[test]
fn addresses_are_distinct_and_nothing_leaves_the_benchmark_range() {
    let plan = Plan::new(NODES_MAX).unwrap();
    let mut addresses: Vec<Ipv4Addr> = plan.places().map(Place::address).collect();
    addresses.push(MACHINE);
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len());
    for address in addresses {
        assert!(within(address, WHOLE_CIDR), "{address}");
        assert!(!within(address, SERVICES_CIDR), "{address}");
        assert!(plan.nodes().all(|node| !within(address, &node.pod_cidr())), "{address}");
    }
}

#[test]
fn names_read_back_and_fit_a_device_name() {
    for place in Plan::new(NODES_MAX).unwrap().places() {
        assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        assert!(place.netns().len() < 16);
    }
    for wrong in ["n0", "n10", "n", "m1", "", "fabric"] {
        assert!(wrong.parse::<Place>().is_err(), "{wrong}");
    }
}

#[test]
fn each_node_has_a_zone_of_its_own() {
    let zones: BTreeSet<String> = Plan::new(3).unwrap().nodes().map(|node| node.zone()).collect();
    assert_eq!(zones.into_iter().collect::<Vec<_>>(), ["zone-a", "zone-b", "zone-c"]);
}

#[test]
fn a_plan_without_nodes_or_with_too_many_is_refused() {
    assert!(Plan::new(0).is_err() && Plan::new(NODES_MAX + 1).is_err());
}

#[test]
fn a_node_speaks_for_its_pods_too() {
    assert_eq!("n2".parse::<Place>().unwrap().sources(), ["198.18.255.12/32", "198.18.2.0/24"]);
    assert_eq!(Place::Client.sources(), ["198.18.255.4/32"]);
}
