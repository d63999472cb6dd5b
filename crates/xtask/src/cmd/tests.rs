use std::time::{Duration, Instant};

use super::Cmd;

#[test]
fn output_is_what_the_command_wrote() {
    assert_eq!(Cmd::new("echo").args(["a", "b"]).output().unwrap(), "a b\n");
}

#[test]
fn input_larger_than_a_pipe_passes_through() {
    let bytes = vec![b'x'; 1 << 20];
    assert_eq!(Cmd::new("cat").stdin(bytes).output().unwrap().len(), 1 << 20);
}

#[test]
fn a_failure_names_the_command_and_its_last_words() {
    let command = Cmd::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]);
    let error = command.run().unwrap_err().to_string();
    assert!(error.contains("exit 3") && error.contains("status: 3"), "{error}");
    assert!(error.contains("two") && !error.ends_with("one"), "{error}");
}

#[test]
fn a_missing_program_is_an_error_and_no_success() {
    let error = Cmd::new("no-such-program").run().unwrap_err().to_string();
    assert!(error.contains("no-such-program"), "{error}");
    assert!(!Cmd::new("no-such-program").succeeds());
}

#[test]
fn a_limit_ends_the_command() {
    let before = Instant::now();
    assert!(!Cmd::new("sleep").arg("30").timeout(Duration::from_millis(200)).succeeds());
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[test]
fn everything_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("deep/er.log");
    Cmd::new("sh").args(["-c", "echo out; echo err >&2"]).log(&log).run().unwrap();
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.starts_with("$ sh -c") && text.contains("out\n") && text.contains("err\n"));
}
