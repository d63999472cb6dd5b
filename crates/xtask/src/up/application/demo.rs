//! The product, shown: two people chat through two edges, and every shard moves to another owner while
//! others write to each other. What was seen is kept as a page, which `up` prints at its end.
//!
//! Never says anything that the programs did not say themselves.

use std::{fs, io::Read as _, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    super::{DEMO, Job, UpStep, always},
    NAMESPACE,
};
use crate::{cmd::Cmd, images::iris::Program};

/// What the soak sends, beside the moves.
const SOAK: [&str; 5] = ["soak", "--pairs=20", "--rate=200", "--duration=20s", "--json"];
/// The tables that a person would look at first.
const TABLES: &str = "iris,irr,irsm,irep";

pub(super) fn steps() -> Vec<UpStep> {
    vec![UpStep {
        name: DEMO,
        what: "two people chat, and every shard moves under traffic",
        after: &["iris-ready"],
        remedy: "read the log; cargo xtask kubectl iris status",
        is_done: always,
        run,
    }]
}

/// Where the page is.
pub(crate) fn page(job: &Job) -> PathBuf {
    job.env.state.join("demo.txt")
}

struct Stage<'a> {
    job: &'a Job,
    edges: Vec<String>,
    environment: Vec<(&'static str, String)>,
    programs: Vec<PathBuf>,
    page: String,
}

fn run(job: &Job) -> Result<()> {
    let cluster = job.cluster()?;
    let compiled = crate::images::iris::compile(&job.env, &[Program::of("cli")?])?;
    let programs = compiled.into_iter().flat_map(|(_, files)| files).collect();
    let (edges, environment) = (cluster.edges()?, cluster.client_environment()?);
    let mut stage = Stage { job, edges, environment, programs, page: String::new() };
    stage.chat()?;
    stage.moves()?;
    stage.tables()?;
    fs::write(page(job), &stage.page).context("cannot write the page")
}

impl Stage<'_> {
    fn say(&mut self, line: &str) {
        self.page.push_str(line);
        self.page.push('\n');
    }

    /// One of our programs.
    fn program(&self, name: &str) -> Result<Cmd> {
        let file = self.programs.iter().find(|file| file.file_name().is_some_and(|n| n == name));
        let command = self.job.env.cmd(file.with_context(|| format!("cargo built no {name}"))?);
        let environment = self.environment.iter();
        Ok(environment.fold(command, |command, (key, value)| command.env(key, value)))
    }

    /// `iris` as one person, at one edge.
    fn iris(&self, person: &str, edge: usize, args: &[&str]) -> Result<Cmd> {
        let edge = &self.edges[edge % self.edges.len()];
        Ok(self.program("iris")?.args(args).args(["--as", person, "--server", edge]))
    }

    fn chat(&mut self) -> Result<()> {
        // Each run has people of its own: the names of the last one are taken.
        let run = random_name()?;
        let (ada, grace) = (format!("ada-{run}"), format!("grace-{run}"));
        self.say("Two people, each at an edge of their own:");
        for (edge, person) in [&ada, &grace].into_iter().enumerate() {
            let password = super::new_password()?;
            self.iris(person, edge, &["register", person])?.stdin(password + "\n").run()?;
            self.say(&format!("  {person} registers at {}", self.edges[edge % self.edges.len()]));
        }
        let lines = [
            (0, &ada, &grace, "Hello, Grace. Does it reach you?"),
            (1, &grace, &ada, "It does, Ada. Through another edge."),
        ];
        for (edge, from, to, text) in lines {
            self.iris(from, edge, &["send", to, text])?.run()?;
            let listen = ["listen", "--count", "1", "--json"];
            let heard = self.iris(to, edge + 1, &listen)?.output()?;
            // What a device sent from elsewhere is among it.
            let lines = heard.lines().map(serde_json::from_str::<Value>);
            let lines = lines.collect::<Result<Vec<_>, _>>().context("what was heard")?;
            let heard = lines.iter().find(|line| line["event"] == "message");
            let heard = heard.with_context(|| format!("{to} heard nothing"))?;
            ensure!(heard["text"] == text, "{to} heard something else: {heard}");
            self.say(&format!("  {from}: {text}"));
        }
        self.say("");
        Ok(())
    }

    /// Every shard moves to another owner, while pairs write to each other.
    fn moves(&mut self) -> Result<()> {
        let (namespace, finished) = (["-n", NAMESPACE], ["delete", "irm", "--all"]);
        self.job.kubectl()?.args(namespace).args(finished).run()?;
        let soak = self.program("iris")?.args(SOAK);
        let soak = std::thread::spawn(move || soak.output());
        std::thread::sleep(std::time::Duration::from_secs(6));
        let kubeconfig = self.job.cluster()?.kubeconfig();
        let migrate = ["migrate", "--all", "--wait", "--timeout", "120s", "--json"];
        let migrated = self
            .program("kubectl-iris")?
            .env("KUBECONFIG", kubeconfig)
            .args(namespace)
            .args(migrate)
            .output();
        let ledger = soak.join().map_err(|_| anyhow::anyhow!("the soak panicked"))??;
        let migrated: Value = serde_json::from_str(migrated?.trim()).context("the moves")?;
        let ledger: Value = serde_json::from_str(ledger.trim()).context("the ledger")?;
        self.say("Every shard moves to another owner, while 20 pairs send 200 messages a second:");
        self.say(&format!("  moved {} shards, {} failed", migrated["moved"], migrated["failed"]));
        for field in ["acked", "delivered", "lost", "duplicated", "reordered", "gaps"] {
            self.say(&format!("  {field:<11} {}", ledger[field]));
        }
        let gap = &ledger["write_gap_ms"];
        self.say(&format!("  write gap   p50 {} ms, p99 {} ms", gap["p50"], gap["p99"]));
        self.say("");
        ensure!(ledger["ok"] == true, "the ledger is not clean: {ledger}");
        ensure!(migrated["failed"] == 0, "not every shard moved: {migrated}");
        Ok(())
    }

    fn tables(&mut self) -> Result<()> {
        let tables = self.job.kubectl()?.args(["-n", NAMESPACE, "get", TABLES]).output()?;
        self.say(tables.trim_end());
        Ok(())
    }
}

fn random_name() -> Result<String> {
    let mut bytes = [0; 4];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
