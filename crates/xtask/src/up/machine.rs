//! The first steps: that the machine can do it at all, and the packages that it lacks.
//!
//! Never removes or upgrades a package.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::{Job, UpStep, always};
use crate::env::Env;

/// Programs that come from Debian packages, and the package of each.
const PROGRAMS: [(&str, &str); 13] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("conntrack", "conntrack"),
    ("socat", "socat"),
    ("ethtool", "ethtool"),
    ("openssl", "openssl"),
    ("buildah", "buildah"),
    ("mmdebstrap", "mmdebstrap"),
    ("sysctl", "procps"),
];

/// What cargo calls besides rustc.
const COMPILERS: [(&str, &str); 2] = [("cc", "build-essential"), ("protoc", "protobuf-compiler")];

/// What protoc itself reads. Debian only recommends its package beside protoc's.
const WELL_KNOWN_PROTOS: (&str, &str) = ("google/protobuf/descriptor.proto", "libprotobuf-dev");

/// What the client in Python needs, where Debian's packages put it, and the package of each.
const PYTHON: [(&str, &str); 3] = [
    ("/usr/bin/python3", "python3"),
    ("/usr/lib/python3/dist-packages/google/protobuf", "python3-protobuf"),
    ("/usr/lib/python3/dist-packages/cryptography", "python3-cryptography"),
];

/// Programs that people install themselves, in a version of their choice.
const TOOLCHAIN: [(&str, &str); 3] = [
    ("go", "install Go 1.25 or later"),
    ("java", "install a JDK 17"),
    ("mvn", "install Maven 3.8 or later"),
];

const MEMORY_MIN_KB: u64 = 6 << 20;

/// The machine's steps for a cluster of its own.
pub(super) fn steps() -> Vec<UpStep> {
    vec![
        UpStep {
            name: "machine",
            what: "checking what the machine has",
            after: &[],
            remedy: "see the message; docs of the local cluster list what is needed",
            is_done: always,
            run: check,
        },
        UpStep {
            name: "packages",
            what: "installing Debian packages",
            after: &["machine"],
            remedy: "run `apt-get update`, check the package sources and the network, try again",
            is_done: |_| Ok(missing().is_empty()),
            run: |job| install(&job.env, &missing()),
        },
    ]
}

/// The machine's steps for a cluster that is elsewhere: only images are built here.
pub(super) fn steps_elsewhere() -> Vec<UpStep> {
    let check_tools = |_: &Job| {
        let lacking: Vec<&str> = missing();
        ensure!(lacking.is_empty(), "Debian packages that are missing: {}", lacking.join(", "));
        Ok(())
    };
    let mut steps = steps();
    for step in &mut steps {
        // Packages are installed by root only, and building images needs no root.
        if step.name == "machine" {
            step.run = |_| check_toolchain();
        } else if !rustix::process::geteuid().is_root() {
            step.run = check_tools;
        }
    }
    steps
}

fn check_toolchain() -> Result<()> {
    for (program, remedy) in TOOLCHAIN {
        ensure!(find(program).is_some(), "{program} is not here: {remedy}");
    }
    Ok(())
}

fn check(_: &Job) -> Result<()> {
    check_machine()
}

/// What tests need of the machine: compilers, and all that a local cluster needs where one is wanted.
pub(crate) fn prepare_for_tests(env: &Env, cluster: bool) -> Result<()> {
    if cluster {
        check_machine()?;
    } else {
        check_toolchain()?;
    }
    let mut lacking = if cluster { missing() } else { lacking_compilers() };
    lacking.extend(lacking_python());
    if lacking.is_empty() {
        return Ok(());
    }
    let root = rustix::process::geteuid().is_root();
    ensure!(root, "Debian packages that are missing: {}", lacking.join(", "));
    install(env, &lacking)
}

fn check_machine() -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "a local cluster needs Linux; use --context elsewhere");
    ensure!(rustix::process::geteuid().is_root(), "a local cluster needs root; try sudo -E");
    check_toolchain()?;
    let grouped = Path::new("/sys/fs/cgroup/cgroup.procs").exists()
        || Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists();
    ensure!(grouped, "control groups are not mounted at /sys/fs/cgroup");
    let memory = std::fs::read_to_string("/proc/meminfo").context("no /proc/meminfo")?;
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    if available.is_some_and(|kb: u64| kb < MEMORY_MIN_KB) {
        bail!("less than {} GB of memory is free", MEMORY_MIN_KB >> 20);
    }
    Ok(())
}

/// The packages whose programs are not here.
fn missing() -> Vec<&'static str> {
    let mut packages = lacking_of(&PROGRAMS);
    packages.extend(lacking_compilers());
    let plugins = ["/usr/lib/cni/ptp", "/opt/cni/bin/ptp"];
    if !plugins.iter().any(|plugin| Path::new(plugin).exists()) {
        packages.push("containernetworking-plugins");
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn lacking_compilers() -> Vec<&'static str> {
    let mut packages = lacking_of(&COMPILERS);
    let (proto, package) = WELL_KNOWN_PROTOS;
    // protoc looks in `include` beside the `bin` that it is in, and below /usr.
    let beside = find("protoc").and_then(|protoc| Some(protoc.parent()?.parent()?.join("include")));
    let known = beside.into_iter().chain(["/usr/include".into(), "/usr/local/include".into()]);
    if !known.into_iter().any(|include| include.join(proto).exists()) {
        packages.push(package);
    }
    packages
}

fn lacking_python() -> Vec<&'static str> {
    let lacking = PYTHON.iter().filter(|(path, _)| !Path::new(path).exists());
    lacking.map(|(_, package)| *package).collect()
}

fn lacking_of(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let lacking = programs.iter().filter(|(program, _)| find(program).is_none());
    lacking.map(|(_, package)| *package).collect()
}

fn install(env: &Env, packages: &[&str]) -> Result<()> {
    let apt = || env.cmd("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    apt().arg("update").run()?;
    apt().args(["install", "-y", "--no-install-recommends"]).args(packages).run()?;
    let mut still = missing();
    still.extend(lacking_python());
    let left: Vec<&str> = packages.iter().filter(|name| still.contains(name)).copied().collect();
    ensure!(left.is_empty(), "installed, but without the programs expected: {}", left.join(", "));
    Ok(())
}

fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
