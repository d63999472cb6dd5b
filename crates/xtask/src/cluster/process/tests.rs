use rustix::process::Signal;

use super::{Record, Spec, boot_id, parse_start_time, signal_if, start_time};
use crate::cmd::Cmd;

fn stat(name: &str, state: &str) -> String {
    let middle: Vec<String> = (4..22).map(|field| field.to_string()).collect();
    format!("77 ({name}) {state} {} 4242 23 24", middle.join(" "))
}

#[test]
fn the_start_time_is_found_whatever_the_name() {
    for name in ["sh", "a b", "a) S 1 (b", ")"] {
        assert_eq!(parse_start_time(&stat(name, "S")), Some(4242), "{name}");
    }
}

#[test]
fn a_process_that_ended_has_none() {
    assert_eq!(parse_start_time(&stat("sh", "Z")), None);
    assert_eq!(parse_start_time(""), None);
    assert_eq!(start_time(i32::MAX), None);
}

#[test]
fn only_the_process_that_was_written_down_is_signalled() {
    let pid: i32 = Cmd::new("sh")
        .args(["-c", "sleep 60 >/dev/null 2>&1 & echo $!"])
        .output()
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let spec = Spec {
        name: String::new(),
        argv: Vec::new(),
        env: Default::default(),
        place: String::new(),
        mounts: None,
        files: Default::default(),
    };
    let mut record =
        Record { spec, pid, start: start_time(pid).unwrap(), boot: boot_id().unwrap() };
    record.start += 1;
    assert!(!record.is_alive());
    assert!(!record.signal(Signal::KILL).unwrap());
    record.start -= 1;
    record.boot.push('x');
    assert!(!record.is_alive() && !record.signal(Signal::KILL).unwrap());
    record.boot.pop();
    assert!(record.is_alive());
    assert!(!signal_if(pid, Signal::KILL, || false).unwrap());
    assert!(record.is_alive());
    assert!(record.signal(Signal::KILL).unwrap());
}
