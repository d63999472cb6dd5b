//! The fabric: one network namespace a place, each with one device on a bridge in a namespace of
//! its own, and static routes between them and from the machine.
//!
//! Never forwards anything off the machine: no namespace has a default route, and what has no
//! route inside the range is refused at once.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;

use super::plan::{
    FABRIC_NETNS, FABRIC_PREFIX, MACHINE, MACHINE_DEVICE, NODES_MAX, NodeId, Place, Plan,
    SERVICES_CIDR, WHOLE_CIDR,
};
use crate::{cmd::Cmd, env::Env};

/// Settings of each namespace, which are its own and not the machine's.
const SETTINGS: [&str; 5] = [
    "net.ipv4.ip_forward=1",
    // A request may come by the gateway and its answer go straight back.
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv6.conf.all.disable_ipv6=1",
    // The client and the gateway open connections by the ten thousand.
    "net.ipv4.ip_local_port_range=10240 65535",
];

/// The prefix of a command that runs it in a place's network namespace, and for a node's daemons
/// in its mount namespace. Unlike `ip netns exec` it leaves /sys and the control groups in sight.
pub(crate) fn enter(place: Place, mounts: Option<&Path>) -> Vec<String> {
    let mut prefix = vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", place.netns())];
    if let Some(file) = mounts {
        prefix.push(format!("--mount={}", file.display()));
    }
    prefix.push("--".to_owned());
    prefix
}

/// A command to run in a place's network namespace.
pub(crate) fn inside(env: &Env, place: Place) -> Cmd {
    let prefix = enter(place, None);
    prefix.iter().skip(1).fold(env.cmd("nsenter"), Cmd::arg)
}

/// Every namespace that a cluster of any size can have.
pub(crate) fn all_names() -> impl Iterator<Item = String> {
    let nodes = (1..=NODES_MAX).filter_map(|number| NodeId::new(number).ok());
    let fixed = [Place::Control, Place::Gateway, Place::Client];
    let places = fixed.into_iter().chain(nodes.map(Place::Node)).map(Place::netns);
    std::iter::once(FABRIC_NETNS.to_owned()).chain(places)
}

/// The names of our namespaces that are there.
pub(crate) fn present() -> Vec<String> {
    all_names().filter(|name| Path::new("/run/netns").join(name).exists()).collect()
}

/// Makes the whole fabric; what was there of it before must be gone.
pub(crate) fn create(env: &Env, plan: Plan) -> Result<()> {
    env.cmd("ip").args(["-batch", "-"]).stdin(fabric(plan)).run()?;
    env.cmd("ip").args(["-n", FABRIC_NETNS, "-batch", "-"]).stdin(ports(plan)).run()?;
    for place in plan.places() {
        let batch = addresses(plan, place);
        env.cmd("ip").args(["-n", &place.netns(), "-batch", "-"]).stdin(batch).run()?;
        inside(env, place).args(["sysctl", "-qw"]).args(SETTINGS).run()?;
    }
    env.cmd("ip").args(["-batch", "-"]).stdin(machine(plan)).run()
}

/// Removes the fabric, or what there is of it.
pub(crate) fn remove(env: &Env) -> Result<()> {
    for name in present() {
        env.cmd("ip").args(["netns", "del", &name]).run()?;
    }
    // The kernel takes the machine's device with the bridge's end of it, but a little later.
    if device_exists() {
        env.cmd("ip").args(["link", "del", MACHINE_DEVICE]).succeeds();
    }
    let show = ["route", "show", "type", "unreachable", WHOLE_CIDR];
    if env.cmd("ip").args(show).output()?.trim().is_empty() {
        return Ok(());
    }
    env.cmd("ip").args(["route", "del", "unreachable", WHOLE_CIDR]).run()
}

/// Whether the machine's own device on the fabric is there.
pub(crate) fn device_exists() -> bool {
    fs::exists(Path::new("/sys/class/net").join(MACHINE_DEVICE)).unwrap_or(false)
}

fn fabric(plan: Plan) -> String {
    let mut batch = format!(
        "netns add {FABRIC_NETNS}\n\
         link add br0 netns {FABRIC_NETNS} type bridge stp_state 0 forward_delay 0\n"
    );
    for place in plan.places() {
        let netns = place.netns();
        let _ = writeln!(batch, "netns add {netns}");
        let _ = writeln!(
            batch,
            "link add {place} netns {FABRIC_NETNS} type veth peer name eth0 netns {netns}"
        );
    }
    let _ = writeln!(
        batch,
        "link add machine netns {FABRIC_NETNS} type veth peer name {MACHINE_DEVICE}"
    );
    batch
}

fn ports(plan: Plan) -> String {
    let mut batch = "link set br0 up\n".to_owned();
    let names = plan.places().map(|place| place.to_string());
    for port in names.chain(std::iter::once("machine".to_owned())) {
        let _ = writeln!(batch, "link set {port} master br0 up");
    }
    batch
}

fn addresses(plan: Plan, place: Place) -> String {
    let mut batch = format!(
        "link set lo up\n\
         addr add {}/{FABRIC_PREFIX} dev eth0\n\
         link set eth0 up\n",
        place.address()
    );
    batch += &pod_routes(plan, place);
    // A node's own rules turn a Service into a pod, but only a packet that has a route meets them.
    batch += &match place {
        Place::Gateway => format!("route add unreachable {SERVICES_CIDR}\n"),
        Place::Control | Place::Client | Place::Node(_) => service_route(),
    };
    batch
}

fn pod_routes(plan: Plan, from: Place) -> String {
    let others = plan.nodes().filter(|node| Place::Node(*node) != from);
    others.fold(String::new(), |mut batch, node| {
        let _ = writeln!(batch, "route add {} via {}", node.pod_cidr(), node.address());
        batch
    })
}

fn service_route() -> String {
    format!("route add {SERVICES_CIDR} via {}\n", Place::Gateway.address())
}

fn machine(plan: Plan) -> String {
    let mut batch = format!(
        "addr add {MACHINE}/{FABRIC_PREFIX} dev {MACHINE_DEVICE}\n\
         link set {MACHINE_DEVICE} up\n\
         route replace unreachable {WHOLE_CIDR} metric 4096\n"
    );
    batch += &pod_routes(plan, Place::Client);
    batch += &service_route();
    batch
}
