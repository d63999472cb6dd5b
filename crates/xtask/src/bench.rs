//! Figures of the running development cluster, as a page in `docs`: everything on it was measured by
//! the run that wrote it.
//!
//! Never a judgement: the machine is shared and small, and says so on the page.

use std::{fmt::Write as _, fs, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{cluster::Cluster, cmd::Cmd, programs, progress::Progress};

const PAGE: &str = "docs/benchmarks.md";
const NAMESPACE: &str = "iris";
/// Messages in a second, for each run.
const RATES: [u32; 4] = [200, 500, 2_000, 5_000];
const SECONDS: u32 = 20;
/// Pairs of connections that are idle while memory is read.
const IDLE_PAIRS: u32 = 500;
/// After so long every idle device is connected and quiet.
const SETTLED: Duration = Duration::from_secs(20);

/// Measures, and writes the page.
pub(crate) fn run(progress: &Progress) -> Result<()> {
    let cluster = Cluster::load()?;
    let mut page = heading(&cluster)?;
    page.push_str(
        "\n## Messages\n\nOpen loop: each latency counts from when the message should have been \
         sent. 100 pairs, 256 bytes, every message stored and acknowledged by its recipient.\n\n\
         | wanted/s | acked/s | ack p50 ms | ack p99 ms | end to end p50 ms | p99 ms | log rows per \
         message | lost, duplicated, reordered | generator kept up |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for rate in RATES {
        progress.say(&format!("{rate} messages a second for {SECONDS} s"));
        page.push_str(&messages(&cluster, rate)?);
    }
    progress.say(&format!("{} idle connections", IDLE_PAIRS * 2));
    page.push_str(&idle(&cluster)?);
    let path = cluster.env().repo_file(PAGE);
    fs::write(&path, &page).with_context(|| format!("cannot write {path:?}"))?;
    progress.say(&format!("written: {PAGE}"));
    Ok(())
}

fn heading(cluster: &Cluster) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or_default().replace("MemTotal:", "");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let date = cluster.env().cmd("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).quiet().output()?;
    let git = ["rev-parse", "--short", "HEAD"];
    let commit = cluster.env().cmd("git").args(git).dir(&cluster.env().repo).quiet().output()?;
    Ok(format!(
        "# Benchmarks\n\nWritten by `cargo xtask bench` on the development cluster of `cargo xtask up`: \
         three nodes, three owners, two edges, one Cassandra (`commitlog_sync: batch`, direct I/O), etcd, \
         all of Kubernetes and the generator share one machine. Other work on the machine shows in the \
         figures; ratios between runs of different days mean little.\n\n\
         {cores} cores ({}), {} memory, Linux {}; {}; commit {}.\n",
        model.trim_start_matches([' ', '\t', ':']),
        memory.trim(),
        kernel.trim(),
        date.trim(),
        commit.trim(),
    ))
}

/// `iris soak`, with the accounts that earlier runs made.
fn soak(cluster: &Cluster, pairs: u32, rate: u32, seconds: u32) -> Result<Cmd> {
    let accounts = cluster.logs().join(format!("bench-{pairs}.json"));
    let command = cluster.env().cmd(programs::own("iris")?).args(["soak", "--json"]).args([
        format!("--pairs={pairs}"),
        format!("--rate={rate}"),
        format!("--duration={seconds}s"),
        format!("--accounts-file={}", accounts.display()),
        "--connect-timeout=180s".to_owned(),
    ]);
    let environment = cluster.client_environment()?;
    Ok(environment.into_iter().fold(command, |command, (key, value)| command.env(key, value)))
}

fn messages(cluster: &Cluster, rate: u32) -> Result<String> {
    let before = counted(cluster)?;
    let report = soak(cluster, 100, rate, SECONDS)?.output()?;
    let after = counted(cluster)?;
    let report: Value = serde_json::from_str(report.trim()).context("the ledger")?;
    let rows = (after.0 - before.0) / (after.1 - before.1).max(1.0);
    let ledger = ["lost", "duplicated", "reordered"].map(|field| report[field].to_string());
    let kept_up = if report["generator"]["bottleneck"] == true { "no" } else { "yes" };
    let (ack, e2e) = (&report["ack_ms"], &report["e2e_ms"]);
    Ok(format!(
        "| {rate} | {} | {} | {} | {} | {} | {rows:.3} | {} | {kept_up} |\n",
        report["rate"]["acked"],
        ack["p50"],
        ack["p99"],
        e2e["p50"],
        e2e["p99"],
        ledger.join(", "),
    ))
}

/// Rows written to session logs, and messages accepted, by the owners' own count.
fn counted(cluster: &Cluster) -> Result<(f64, f64)> {
    let (mut rows, mut accepted) = (0.0, 0.0);
    for pod in pods(cluster, "owner")? {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/https:{pod}:9443/proxy/metrics");
        let text = cluster.kubectl_command().args(["get", "--raw", &path]).quiet().output()?;
        for line in text.lines() {
            let value = || line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
            if line.starts_with("iris_log_blocks_total") {
                rows += value().unwrap_or_default();
            } else if line.starts_with("iris_messages_accepted_total") {
                accepted += value().unwrap_or_default();
            }
        }
    }
    Ok((rows, accepted))
}

fn pods(cluster: &Cluster, role: &str) -> Result<Vec<String>> {
    let selector = format!("iris.dev/role={role}");
    let get = ["-n", NAMESPACE, "get", "pods", "-l", &selector, "-o=name"];
    let names = cluster.kubectl_command().args(get).quiet().output()?;
    Ok(names.lines().map(|line| line.trim_start_matches("pod/").to_owned()).collect())
}

/// Memory of the edges' control groups, which counts the kernel's socket buffers too.
fn memory(cluster: &Cluster) -> Result<u64> {
    let mut sum = 0;
    for pod in pods(cluster, "edge")? {
        let pids = cluster.container_pids(NAMESPACE, &pod, "edge")?;
        let pid = pids.first().context("an edge without a process")?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let (group, root) = memory_group(&groups).context("an edge without a control group")?;
        let dir = Path::new(root).join(group.trim_start_matches('/'));
        let v2 = dir.join("memory.current");
        let file = if v2.exists() { v2 } else { dir.join("memory.usage_in_bytes") };
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file:?}"))?;
        sum += text.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// The group that counts memory, and where its hierarchy is mounted.
fn memory_group(groups: &str) -> Option<(&str, &'static str)> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => Some((group, "/sys/fs/cgroup")),
            named if named.split(',').any(|c| c == "memory") => {
                Some((group, "/sys/fs/cgroup/memory"))
            }
            _ => None,
        }
    })
}

fn idle(cluster: &Cluster) -> Result<String> {
    // Once without being measured, so that the accounts exist; then with new edges, for memory that an
    // earlier load left behind would serve the connections and count as nothing.
    soak(cluster, IDLE_PAIRS, 1, 1)?.output().context("the warm-up of idle connections")?;
    let kubectl = |args: &[&str]| {
        let command = cluster.kubectl_command().args(["-n", NAMESPACE]).args(args);
        command.quiet().output()
    };
    kubectl(&["delete", "pods", "-l", "iris.dev/role=edge", "--wait"])?;
    cluster.wait(NAMESPACE, "irisedgepool/eu-public", "condition=Available", SETTLED * 6)?;
    thread::sleep(SETTLED);
    let before = memory(cluster)?;
    let command = soak(cluster, IDLE_PAIRS, 1, 60)?;
    let running = thread::spawn(move || command.output());
    thread::sleep(SETTLED * 2);
    let during = memory(cluster)?;
    running.join().map_err(|_| anyhow::anyhow!("the soak panicked"))??;
    ensure!(during > before, "{} connections took no memory", IDLE_PAIRS * 2);
    let each = (during - before) / u64::from(IDLE_PAIRS * 2);
    let mut text = String::from("\n## Idle connections\n\n");
    writeln!(
        text,
        "{} authenticated TLS 1.3 connections that do nothing: {each} bytes each, by the control \
         groups of both edges ({before} bytes before, {during} with them), the kernel's share included.",
        IDLE_PAIRS * 2
    )?;
    Ok(text)
}
