//! What was measured on: the machine, the commit, and what the kernel counts.

use std::{fs, process::Command, thread};

use anyhow::{Context as _, Result, ensure};

/// The beginning of the page.
pub(crate) fn heading() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory = memory.lines().next().unwrap_or_default().replace("MemTotal:", "");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let date = told("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?;
    let commit = told("git", &["rev-parse", "--short", "HEAD"])?;
    Ok(format!(
        "# Benchmarks\n\nWritten by `cargo xtask bench` on the development cluster of `cargo xtask up`: \
         three nodes, three owners, two edges, one Cassandra (`commitlog_sync: batch`, direct I/O), etcd, \
         all of Kubernetes and the generator share one machine. Other work on the machine shows in the \
         figures; ratios between runs of different days mean little.\n\n\
         {cores} cores ({}), {} memory, Linux {}; {date}; commit {commit}.\n",
        model.trim_start_matches([' ', '\t', ':']),
        memory.trim(),
        kernel.trim(),
    ))
}

fn told(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {args:?} ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How often the machine's disks were told to make everything durable since it started.
pub(crate) fn disk_syncs() -> Result<u64> {
    let disks = fs::read_to_string("/proc/diskstats")?;
    // After the three columns that name a disk, flushes are the 16th; partitions count none.
    let flushes =
        disks.lines().filter_map(|line| line.split_whitespace().nth(18)?.parse::<u64>().ok());
    Ok(flushes.sum())
}

/// What the kernel takes for one TCP socket.
pub(crate) fn tcp_socket_bytes() -> Result<u64> {
    let slabs = fs::read_to_string("/proc/slabinfo").context("cannot read /proc/slabinfo")?;
    let line = slabs.lines().find_map(|line| line.strip_prefix("TCP "));
    // After the name: active objects, all objects, bytes of one.
    let bytes = line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
    bytes.context("/proc/slabinfo has no TCP sockets")
}
