//! Asking a person for a password, without showing it.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// Shows the terminal's input again when it goes.
struct Hidden(Termios);

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _restored = tcsetattr(io::stdin(), OptionalActions::Now, &self.0).is_ok();
    }
}

/// A line that is not shown while it is typed; from a pipe, its first line.
///
/// # Errors
/// When nothing is there to read.
pub(crate) fn password(question: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    let mut hidden = None;
    if stdin.is_terminal() {
        let before = tcgetattr(&stdin).map_err(io::Error::from)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(io::Error::from)?;
        hidden = Some(Hidden(before));
        let mut terminal = io::stderr();
        write!(terminal, "{question}: ")?;
        terminal.flush()?;
    }
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    if hidden.take().is_some() {
        writeln!(io::stderr())?;
    }
    let password = line.trim_end_matches(['\r', '\n']);
    if read? == 0 || password.is_empty() {
        return Err(Failure::new("no password was given")
            .hint("give it with --password, IRIS_PASSWORD, or as a line on standard input"));
    }
    Ok(password.to_owned())
}
