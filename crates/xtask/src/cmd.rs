//! Running other programs: what they print goes to a log, what fails says which command it was,
//! what it said last and where the rest is.
//!
//! Never runs anything through a shell, and never prints.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How many of a failed command's last lines are repeated in its error.
const TAIL_LINES_MAX: usize = 12;

/// A command that waits or compiles for minutes must not outlive whoever asked for it, even one
/// that was killed. Daemons are children of such commands, which the order does not reach.
const ENDS_WITH_US: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

/// One command to run.
#[derive(Debug)]
pub(crate) struct Cmd {
    argv: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    log: Option<PathBuf>,
}

impl Cmd {
    /// A command by the name or path of its program.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            envs: Vec::new(),
            dir: None,
            stdin: None,
            log: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable for the command.
    #[must_use]
    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs the command in `dir`.
    #[must_use]
    pub(crate) fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Gives the command this standard input instead of none.
    #[must_use]
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Appends the command and all it prints to the file `log`.
    #[must_use]
    pub(crate) fn log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// Keeps what the command prints out of the log, for secrets.
    #[must_use]
    pub(crate) fn quiet(mut self) -> Self {
        self.log = None;
        self
    }

    /// Ends the command after `limit`, rounded up to whole seconds; it then counts as failed.
    #[must_use]
    pub(crate) fn timeout(mut self, limit: Duration) -> Self {
        let seconds = (limit.as_secs() + u64::from(limit.subsec_nanos() > 0)).to_string();
        let prefix = ["timeout", "-k", "2", &seconds].map(OsString::from);
        self.argv.splice(0..0, prefix);
        self
    }

    /// Runs the command to its end and fails unless it succeeds.
    pub(crate) fn run(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs the command to its end and gives what it wrote to its standard output.
    pub(crate) fn output(self) -> Result<String> {
        let output = self.finish()?;
        if !output.status.success() {
            bail!(self.failure(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the command to its end and says whether it succeeded; one that cannot start did not.
    pub(crate) fn succeeds(self) -> bool {
        self.finish().is_ok_and(|output| output.status.success())
    }

    /// Runs the command on this process's own terminal and gives its exit code.
    pub(crate) fn interactive(self) -> Result<u8> {
        self.shown(Stdio::inherit())
    }

    /// The same, with its standard output where its errors go: ours is another's.
    pub(crate) fn interactive_on_stderr(self) -> Result<u8> {
        self.shown(Stdio::from(std::io::stderr()))
    }

    fn shown(&self, output: Stdio) -> Result<u8> {
        let mut command = self.command(&[])?;
        command.stdout(output);
        let status = command.status().with_context(|| format!("cannot run {}", self.line()))?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }

    /// Starts the command, with its standard output for the caller to read. It ends with the thread that
    /// started it at the latest.
    pub(crate) fn start(self) -> Result<Child> {
        let mut command = self.command(&ENDS_WITH_US)?;
        let errors = self.log.as_deref().map(append).transpose()?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(errors.map_or_else(Stdio::null, Stdio::from));
        command.spawn().with_context(|| format!("cannot start {}", self.line()))
    }

    /// The command as one would type it.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        for (index, arg) in self.argv.iter().enumerate() {
            let arg = arg.to_string_lossy();
            let gap = if index == 0 { "" } else { " " };
            let plain = !arg.is_empty() && !arg.contains(|c: char| " \"'\\$\n{}".contains(c));
            let _ = if plain { write!(line, "{gap}{arg}") } else { write!(line, "{gap}{arg:?}") };
        }
        line
    }

    fn command(&self, prefix: &[&str]) -> Result<Command> {
        let prefix = prefix.iter().map(OsStr::new);
        let argv: Vec<&OsStr> = prefix.chain(self.argv.iter().map(OsString::as_os_str)).collect();
        let (program, args) = argv.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        command.args(args).envs(self.envs.iter().map(|(key, value)| (key, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        Ok(command)
    }

    fn finish(&self) -> Result<Output> {
        let mut command = self.command(&ENDS_WITH_US)?;
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.note(format!("$ {}\n", self.line()).as_bytes());
        let before = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.line()))?;
        let feeder = self.stdin.clone().zip(child.stdin.take()).map(|(bytes, mut pipe)| {
            // A thread, since the command may fill its output before it has read all its input.
            std::thread::spawn(move || pipe.write_all(&bytes))
        });
        let output = child.wait_with_output().with_context(|| format!("lost {}", self.line()))?;
        if let Some(feeder) = feeder {
            // A command that ends without reading its input says why in its own status.
            let _ = feeder.join();
        }
        self.note(&output.stdout);
        self.note(&output.stderr);
        self.note(
            format!("# {:.2} s, {}\n", before.elapsed().as_secs_f64(), output.status).as_bytes(),
        );
        Ok(output)
    }

    fn failure(&self, output: &Output) -> String {
        let said =
            if output.stderr.trim_ascii().is_empty() { &output.stdout } else { &output.stderr };
        let said = String::from_utf8_lossy(said);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL_LINES_MAX)..).unwrap_or_default();
        let mut text = format!("`{}` failed ({})", self.line(), output.status);
        for line in tail {
            let _ = write!(text, "\n    {line}");
        }
        text
    }

    fn note(&self, bytes: &[u8]) {
        let Some(log) = &self.log else { return };
        // A log that cannot be written must not stop the work it describes.
        if let Ok(mut file) = append(log) {
            let _ = file.write_all(bytes);
        }
    }
}

/// Opens a file for appending, with the directories above it.
pub(crate) fn append(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {parent:?}"))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("cannot open {path:?}"))
}

#[cfg(test)]
mod tests;
