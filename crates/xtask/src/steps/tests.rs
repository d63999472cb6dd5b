use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, bail};

use super::{Context, Step, check, run, wait_until};
use crate::progress::Progress;

#[derive(Clone, Default)]
struct Notes {
    name: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Context for Notes {
    fn for_step(&self, name: &str) -> Self {
        Self { name: name.to_owned(), seen: Arc::clone(&self.seen) }
    }
    fn log(&self) -> PathBuf {
        PathBuf::from(format!("/logs/{}.log", self.name))
    }
}

fn note(notes: &Notes) -> Result<()> {
    let mut seen = notes.seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.push(notes.name.clone());
    Ok(())
}

fn fail(_: &Notes) -> Result<()> {
    bail!("it broke")
}

fn step(name: &'static str, after: &'static [&'static str]) -> Step<Notes> {
    Step { name, what: "", after, remedy: "mend it", is_done: |_| Ok(false), run: note }
}

fn seen(notes: &Notes) -> Vec<String> {
    notes.seen.lock().unwrap().clone()
}

#[test]
fn a_step_runs_after_all_that_it_needs() {
    let steps = [step("a", &[]), step("b", &["a"]), step("c", &[]), step("d", &["b", "c"])];
    let notes = Notes::default();
    let reports = run(&steps, &notes, &Progress::new()).unwrap();
    assert_eq!(reports.len(), 4);
    let seen = seen(&notes);
    let place = |name: &str| seen.iter().position(|other| other == name).unwrap();
    assert!(place("a") < place("b") && place("d") == 3, "{seen:?}");
}

#[test]
fn what_is_done_is_not_done_again() {
    let mut steps = [step("a", &[]), step("b", &["a"])];
    steps[0].is_done = |_| Ok(true);
    let notes = Notes::default();
    let reports = run(&steps, &notes, &Progress::new()).unwrap();
    assert_eq!(seen(&notes), ["b"]);
    assert!(reports[0].already_done && !reports[1].already_done);
}

#[test]
fn a_failure_stops_what_comes_after_and_says_how_to_go_on() {
    let mut steps = [step("a", &[]), step("b", &["a"]), step("c", &["b"])];
    steps[1].run = fail;
    let notes = Notes::default();
    let error = run(&steps, &notes, &Progress::new()).unwrap_err().to_string();
    assert_eq!(error, "b: it broke\n  remedy: mend it\n  log:    /logs/b.log");
    assert_eq!(seen(&notes), ["a"]);
}

#[test]
fn a_list_that_could_wait_for_ever_is_refused() {
    assert!(check(&[step("a", &["b"]), step("b", &[])]).is_err());
    assert!(check(&[step("a", &[]), step("a", &[])]).is_err());
    assert!(check(&[step("a", &["missing"])]).is_err());
    assert!(check(&[step("a", &[]), step("b", &["a"])]).is_ok());
}

#[test]
fn waiting_ends_with_the_last_reason() {
    let tick = Duration::from_millis(1);
    let mut left = 3;
    let count_down = || {
        left -= 1;
        Ok(left == 0)
    };
    wait_until("zero", Duration::from_secs(5), tick, count_down).unwrap();
    let error = wait_until("never", tick, tick, || bail!("still not")).unwrap_err();
    assert_eq!(format!("{error:#}"), "never: not within 0 s: still not");
}
