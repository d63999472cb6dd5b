//! The daemons of the local cluster: started in their namespaces and control groups, written
//! down with all that is needed to signal, stop and start them again, from any process.
//!
//! Never goes by a name: a process is ours when its start time and the machine's boot are those
//! that were written down, so a number used again for another process is never signalled.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{cgroup::Cgroup, plan::Place};
use crate::{cmd::Cmd, steps::wait_until};

/// Enters the control groups, becomes the daemon in the background and tells its number. The
/// number stays the same, since each program that follows replaces the one before.
const LAUNCH: &str = r#"
log=$1; doors=$2; shift 2
for door in $doors; do echo $$ > "$door" || exit 1; done
"$@" < /dev/null >> "$log" 2>&1 &
echo $!
"#;

/// All that is needed to start a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Its name, unique in the cluster.
    pub(crate) name: String,
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// Environment variables.
    pub(crate) env: BTreeMap<String, String>,
    /// The network namespace, and the control group, by the name of the place.
    pub(crate) place: String,
    /// The file that pins its mount namespace, for the daemons of a node.
    pub(crate) mounts: Option<PathBuf>,
    /// Its configuration files, written before it starts; a change of one is a change of it.
    pub(crate) files: BTreeMap<PathBuf, String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    spec: Spec,
    pid: i32,
    start: u64,
    boot: String,
}

/// The daemons of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    dir: PathBuf,
    logs: PathBuf,
}

impl Processes {
    /// The daemons written down in `dir`, which log in `logs`.
    pub(crate) fn new(dir: PathBuf, logs: PathBuf) -> Self {
        Self { dir, logs }
    }

    /// The names of all daemons written down, alive or not.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// The log of a daemon.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Starts a daemon, unless it runs already exactly as described; one that runs otherwise is
    /// ended first.
    pub(crate) fn ensure(&self, spec: &Spec) -> Result<()> {
        if let Ok(record) = self.read(&spec.name) {
            if record.spec == *spec && record.is_alive() {
                return Ok(());
            }
            self.stop(&spec.name, Duration::from_secs(10))?;
        }
        self.start(spec)
    }

    /// Whether a daemon runs exactly as described.
    pub(crate) fn runs_as(&self, spec: &Spec) -> bool {
        self.read(&spec.name).is_ok_and(|record| record.spec == *spec && record.is_alive())
    }

    /// The number of a daemon's process, if it is alive.
    pub(crate) fn pid(&self, name: &str) -> Option<i32> {
        self.read(name).ok().filter(Record::is_alive).map(|record| record.pid)
    }

    /// Sends a signal to a daemon.
    pub(crate) fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let record = self.read(name)?;
        if !record.signal(signal)? {
            bail!("{name} does not run");
        }
        Ok(())
    }

    /// Ends a daemon: asks, waits for `patience`, then kills. One that does not run is ended.
    pub(crate) fn stop(&self, name: &str, patience: Duration) -> Result<()> {
        let record = self.read(name)?;
        let tick = Duration::from_millis(20);
        // A stopped process would take no notice of the request.
        record.signal(Signal::TERM)?;
        record.signal(Signal::CONT)?;
        if wait_until(name, patience, tick, || Ok(!record.is_alive())).is_err() {
            record.signal(Signal::KILL)?;
            wait_until(name, Duration::from_secs(10), tick, || Ok(!record.is_alive()))?;
        }
        Ok(())
    }

    /// Starts a daemon that was written down before, exactly as it was.
    pub(crate) fn restart(&self, name: &str) -> Result<()> {
        let record = self.read(name)?;
        if record.is_alive() {
            bail!("{name} runs already");
        }
        self.start(&record.spec)
    }

    fn start(&self, spec: &Spec) -> Result<()> {
        let place: Place = spec.place.parse()?;
        let group = Cgroup::daemons(place);
        group.create()?;
        let doors: Vec<String> =
            group.doors().iter().map(|door| door.display().to_string()).collect();
        for (file, text) in &spec.files {
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent).with_context(|| format!("cannot make {parent:?}"))?;
            }
            fs::write(file, text).with_context(|| format!("cannot write {file:?}"))?;
        }
        let log = self.log(&spec.name);
        drop(crate::cmd::append(&log)?);
        let mut launch = Cmd::new("setsid")
            .args(["sh", "-c", LAUNCH, "launch"])
            .arg(&log)
            .arg(doors.join(" "))
            .args(super::netns::enter(place, spec.mounts.as_deref()))
            .args(&spec.argv);
        for (key, value) in &spec.env {
            launch = launch.env(key, value);
        }
        let pid: i32 = launch.output()?.trim().parse().context("no process number")?;
        let start = start_time(pid)
            .with_context(|| format!("{} ended at once; see {}", spec.name, log.display()))?;
        let record = Record { spec: spec.clone(), pid, start, boot: boot_id()? };
        fs::create_dir_all(&self.dir)?;
        // Written under another name first, so that a crash leaves the old record or the new.
        let file = self.dir.join(format!("{}.json", spec.name));
        let draft = self.dir.join(format!("{}.new", spec.name));
        fs::write(&draft, serde_json::to_vec_pretty(&record)?)?;
        fs::rename(draft, &file).with_context(|| format!("cannot write {file:?}"))
    }

    fn read(&self, name: &str) -> Result<Record> {
        let file = self.dir.join(format!("{name}.json"));
        let text = fs::read(&file).with_context(|| format!("no daemon {name}"))?;
        serde_json::from_slice(&text).with_context(|| format!("{file:?} is not readable"))
    }
}

impl Record {
    fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot) && start_time(self.pid) == Some(self.start)
    }

    /// Sends a signal and says whether there was still a process to send it to.
    fn signal(&self, signal: Signal) -> Result<bool> {
        if !boot_id().is_ok_and(|boot| boot == self.boot) {
            return Ok(false);
        }
        signal_if(self.pid, signal, || start_time(self.pid) == Some(self.start))
    }
}

/// Sends a signal to the process of that number if `is_ours` still holds once the process is
/// held, so that no other can have taken its number in between. Says whether it was sent.
pub(crate) fn signal_if(pid: i32, signal: Signal, is_ours: impl FnOnce() -> bool) -> Result<bool> {
    let Some(handle) = Pid::from_raw(pid) else { bail!("{pid} is no process") };
    let Ok(handle) = pidfd_open(handle, PidfdFlags::empty()) else {
        return Ok(false);
    };
    if !is_ours() {
        return Ok(false);
    }
    match pidfd_send_signal(handle, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot signal process {pid}")),
    }
}

/// When a process began, in clock ticks since the machine's boot; nothing for one that ended.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_start_time(&stat)
}

fn parse_start_time(stat: &str) -> Option<u64> {
    // The second field is a name in brackets, which may itself hold brackets and spaces.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    let state = fields.next()?;
    // The start is field 22 of the line, and the state is field 3.
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start)
}

fn boot_id() -> Result<String> {
    let file = Path::new("/proc/sys/kernel/random/boot_id");
    Ok(fs::read_to_string(file).context("the machine does not tell its boot")?.trim().to_owned())
}

#[cfg(test)]
mod tests;
