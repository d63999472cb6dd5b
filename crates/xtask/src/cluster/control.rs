//! The control plane of the local cluster: etcd, the API server, the controller manager, the
//! scheduler and the gateway's kube-proxy, as processes of the machine.
//!
//! Never started by Kubernetes itself, so a test can stop each of them from outside.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

use super::{
    Local, kubeconfig,
    plan::{API_SERVICE, MACHINE, NodeId, PODS_CIDR, Place, SERVICES_CIDR},
    process::Spec,
};
use crate::{
    pki::{Authority, Subject},
    steps::wait_until,
    template::render,
};

/// The name of the gateway's kube-proxy.
const GATEWAY_PROXY: &str = "gateway-kube-proxy";

/// Makes the authority, every certificate and every configuration with a certificate in it.
pub(crate) fn certificates(local: &Local) -> Result<()> {
    let env = &local.env;
    let authority = Authority::open(env, local.pki(), "iris-dev")?;
    authority.token_keys(env, "service-account")?;
    let address = Place::Control.address();
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
    let mut alternatives: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
    alternatives.push("DNS:kubernetes.default.svc.cluster.local".to_owned());
    alternatives.push("IP:127.0.0.1".to_owned());
    alternatives.extend([address, API_SERVICE, MACHINE].map(|address| format!("IP:{address}")));
    let server = Subject {
        name: "kube-apiserver",
        common_name: "kube-apiserver",
        organization: None,
        alternatives: &alternatives,
    };
    authority.issue(env, &server)?;
    let users = [
        ("admin", "iris-admin", Some("system:masters")),
        ("apiserver-kubelet", "kube-apiserver-kubelet", Some("system:masters")),
        ("kube-controller-manager", "system:kube-controller-manager", None),
        ("kube-scheduler", "system:kube-scheduler", None),
        ("kube-proxy", "system:kube-proxy", None),
    ];
    for (name, common_name, organization) in users {
        let subject = Subject { name, common_name, organization, alternatives: &[] };
        let pair = authority.issue(env, &subject)?;
        kubeconfig::write(&local.kubeconfig_of(name), &authority.cert(), &pair)?;
    }
    for node in local.plan.nodes() {
        let name = node.to_string();
        let subject = Subject {
            name: &name,
            common_name: &format!("system:node:{node}"),
            organization: Some("system:nodes"),
            alternatives: &[format!("DNS:{node}"), format!("IP:{}", node.address())],
        };
        let pair = authority.issue(env, &subject)?;
        kubeconfig::write(&local.kubeconfig_of(&name), &authority.cert(), &pair)?;
    }
    Ok(())
}

/// Starts the control plane and waits until it serves.
pub(crate) fn start(local: &Local) -> Result<()> {
    fs::create_dir_all(local.env.state.join("etcd"))?;
    local.processes.ensure(&etcd(local))?;
    local.processes.ensure(&api_server(local))?;
    await_api(local, Duration::from_secs(120))?;
    for spec in [controller_manager(local), scheduler(local)] {
        local.processes.ensure(&spec)?;
    }
    Ok(())
}

/// Starts the gateway's kube-proxy.
pub(crate) fn start_gateway(local: &Local) -> Result<()> {
    local.processes.ensure(&gateway_proxy(local)?)
}

/// Whether the gateway's kube-proxy runs as it should.
pub(crate) fn gateway_runs(local: &Local) -> Result<bool> {
    Ok(local.processes.runs_as(&gateway_proxy(local)?))
}

/// Waits until the API server says that it is ready.
pub(crate) fn await_api(local: &Local, limit: Duration) -> Result<()> {
    let log = local.processes.log("kube-apiserver");
    wait_until("the API server is ready", limit, Duration::from_millis(200), || {
        local.processes.pid("kube-apiserver").context("it ended")?;
        Ok(local.kubectl(["get", "--raw=/readyz", "--request-timeout=5s"]).succeeds())
    })
    .with_context(|| format!("see {}", log.display()))
}

/// Whether every process of the control plane runs as it should.
pub(crate) fn runs(local: &Local) -> bool {
    let specs = [etcd(local), api_server(local), controller_manager(local), scheduler(local)];
    let ready = ["get", "--raw=/readyz", "--request-timeout=5s"];
    specs.iter().all(|spec| local.processes.runs_as(spec)) && local.kubectl(ready).succeeds()
}

fn spec(local: &Local, program: &str, place: Place, args: Vec<String>) -> Spec {
    let mut argv = vec![local.tool("iris-kube").display().to_string(), program.to_owned()];
    argv.extend(args);
    Spec {
        name: program.to_owned(),
        argv,
        env: Default::default(),
        place: place.to_string(),
        mounts: None,
        files: Default::default(),
    }
}

fn etcd(local: &Local) -> Spec {
    let args = vec![
        "--name=dev".to_owned(),
        format!("--data-dir={}", local.env.state.join("etcd").display()),
        // The namespace's own loopback: nobody but the API server is there.
        "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".to_owned(),
        "--initial-cluster=dev=http://127.0.0.1:2380".to_owned(),
        // What is in it lives as long as the cluster; a crash of the machine ends both.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        "--auto-compaction-mode=periodic".to_owned(),
        "--auto-compaction-retention=5m".to_owned(),
    ];
    spec(local, "etcd", Place::Control, args)
}

fn api_server(local: &Local) -> Spec {
    let pki = local.pki();
    let file = |name: &str| pki.join(name).display().to_string();
    let args = vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        format!("--advertise-address={}", Place::Control.address()),
        "--bind-address=0.0.0.0".to_owned(),
        "--secure-port=6443".to_owned(),
        format!("--service-cluster-ip-range={SERVICES_CIDR}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--anonymous-auth=false".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("kube-apiserver.crt")),
        format!("--tls-private-key-file={}", file("kube-apiserver.key")),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
        format!("--kubelet-client-certificate={}", file("apiserver-kubelet.crt")),
        format!("--kubelet-client-key={}", file("apiserver-kubelet.key")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", file("service-account.pub")),
        format!("--service-account-signing-key-file={}", file("service-account.key")),
        "--v=1".to_owned(),
    ];
    spec(local, "kube-apiserver", Place::Control, args)
}

fn controller_manager(local: &Local) -> Spec {
    let pki = local.pki();
    let file = |name: &str| pki.join(name).display().to_string();
    let args = vec![
        format!("--kubeconfig={}", local.kubeconfig_of("kube-controller-manager").display()),
        format!("--cluster-cidr={PODS_CIDR}"),
        format!("--service-cluster-ip-range={SERVICES_CIDR}"),
        // Each node's subnet is fixed by the plan.
        "--allocate-node-cidrs=false".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--service-account-private-key-file={}", file("service-account.key")),
        format!("--cluster-signing-cert-file={}", file("ca.crt")),
        format!("--cluster-signing-key-file={}", file("ca.key")),
        "--node-monitor-period=4s".to_owned(),
        "--node-monitor-grace-period=16s".to_owned(),
        // There is one of it, so there is nobody to elect against, and nothing to renew.
        "--leader-elect=false".to_owned(),
        "--profiling=false".to_owned(),
        "--v=1".to_owned(),
    ];
    spec(local, "kube-controller-manager", Place::Control, args)
}

fn scheduler(local: &Local) -> Spec {
    let args = vec![
        format!("--kubeconfig={}", local.kubeconfig_of("kube-scheduler").display()),
        "--leader-elect=false".to_owned(),
        "--profiling=false".to_owned(),
        "--v=1".to_owned(),
    ];
    spec(local, "kube-scheduler", Place::Control, args)
}

/// The gateway is no node, but a kube-proxy waits half a minute for the node of its name before
/// it does anything; under the name of the first node it gets the same rules at once.
fn gateway_proxy(local: &Local) -> Result<Spec> {
    proxy(local, Place::Gateway, GATEWAY_PROXY, NodeId::new(1)?)
}

/// A kube-proxy in a place's namespace, under the name of a node.
pub(crate) fn proxy(local: &Local, place: Place, name: &str, node: NodeId) -> Result<Spec> {
    let config = render(
        include_str!("../../../../dev/node/kube-proxy.yaml"),
        &[
            ("NAME", &node.to_string()),
            ("ADDRESS", &place.address().to_string()),
            ("KUBECONFIG", &local.kubeconfig_of("kube-proxy").display().to_string()),
            ("PODS_CIDR", PODS_CIDR),
        ],
    )?;
    let file = local.env.state.join("config").join(format!("{name}.yaml"));
    let args = vec![format!("--config={}", file.display())];
    let files = [(file, config)].into();
    Ok(Spec { name: name.to_owned(), files, ..spec(local, "kube-proxy", place, args) })
}
