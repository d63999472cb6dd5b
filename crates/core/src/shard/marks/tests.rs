use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::rig::{PHONE, Rig, remote, told};
use super::*;
use crate::clock::Hlc;
use crate::shard::Input;

/// A part of an account's marks that is read.
type Asked = (AccountId, Conn, u64, Option<AccountId>);

fn asked(out: &[Effect]) -> Vec<Asked> {
    let asked = |effect: &Effect| match effect {
        Effect::LoadMarks { account, conn, above, after } => {
            Some((*account, *conn, *above, *after))
        }
        _ => None,
    };
    out.iter().filter_map(asked).collect()
}

type Frame = (Vec<(AccountId, Mark)>, Option<u64>);

fn frames(out: &[Effect], conn: Conn) -> Vec<Frame> {
    let marks = told(out, conn).into_iter().filter_map(|what| match what {
        ToConn::Marks { marks, version } => Some((marks, version)),
        _ => None,
    });
    marks.collect()
}

fn mark(delivered: u64, read: u64, version: u64) -> Mark {
    Mark { delivered: Hlc(delivered), read: Hlc(read), version, ..Mark::default() }
}

/// The store's answer, `most` marks at once.
fn answer(rig: &Rig, (account, conn, above, after): Asked, most: usize) -> Input {
    let mut marks = rig.marks(account, above);
    marks.retain(|(with, _)| after.is_none_or(|after| *with > after));
    let more = marks.len() > most;
    marks.truncate(most);
    let next = marks.last().map(|(with, _)| *with).filter(|_| more);
    Input::MarksLoaded { account, conn, page: Some(MarksPage { marks, next }) }
}

#[test]
fn a_mark_that_changes_while_a_device_is_here_is_told_once_it_is_released() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    let conn = rig.connect(ann, PHONE, 0);
    rig.receipt(ben, ann, (7, 5));
    let out = rig.pass(500);
    assert!(frames(&out, conn).is_empty(), "not before its release");
    assert_eq!(frames(&rig.release(), conn), [(vec![(ben, mark(7, 5, 1))], Some(1))]);
    rig.receipt(ben, ann, (9, 9));
    assert_eq!(frames(&rig.release(), conn), [(vec![(ben, mark(9, 9, 2))], Some(2))]);
}

#[test]
fn a_device_that_was_away_is_told_what_changed_and_no_more() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    for n in 2..6 {
        rig.receipt(remote(n), ann, (7, 5));
    }
    rig.release();
    rig.flush();
    let mut attach = rig.attach(ann, PHONE, 0);
    attach.marks = 2;
    let conn = attach.conn;
    let asked = asked(&rig.done(Input::Attach(attach)));
    assert_eq!(asked, [(ann, conn, 2, None)]);
    let out = rig.done(answer(&rig, asked[0], 128));
    let (newer, version): (Vec<_>, _) = frames(&out, conn).pop().unwrap();
    assert_eq!((newer.len(), version), (2, Some(4)));
    // One that knows everything is told nothing.
    let mut attach = rig.attach(ann, PHONE, 0);
    attach.marks = 4;
    let conn = attach.conn;
    let out = rig.done(Input::Attach(attach));
    assert!(!out.iter().any(|effect| matches!(effect, Effect::LoadMarks { .. })));
    assert!(frames(&out, conn).is_empty());
}

#[test]
fn marks_that_are_flushed_while_marks_are_read_are_told() {
    let mut rig = Rig::new();
    let (ann, ben, eve) = (rig.person(1), remote(2), remote(3));
    rig.receipt(ben, ann, (7, 5));
    rig.release();
    rig.flush();
    // This one is in no row yet, and of this flush nobody knows when its rows are there.
    rig.receipt(eve, ann, (8, 6));
    rig.release();
    let (flush, _) = rig.capture(true);
    let attach = rig.attach(ann, PHONE, 0);
    let conn = attach.conn;
    let asked = asked(&rig.done(Input::Attach(attach)));
    assert_eq!(asked, [(ann, conn, 0, None)]);
    // The store read the rows as they are now.
    let answer = answer(&rig, asked[0], 128);
    rig.written(flush.unwrap());
    let out = rig.done(answer);
    let expected = vec![(ben, mark(7, 5, 1)), (eve, mark(8, 6, 2))];
    assert_eq!(frames(&out, conn), [(expected, Some(2))]);
}

#[test]
fn no_mark_is_told_before_its_release_though_marks_are_read_meanwhile() {
    let mut rig = Rig::new();
    let (ann, ben, eve) = (rig.person(1), remote(2), remote(3));
    rig.receipt(ben, ann, (7, 5));
    rig.release();
    rig.flush();
    let attach = rig.attach(ann, PHONE, 0);
    let conn = attach.conn;
    assert_eq!(asked(&rig.step(Input::Attach(attach))).len(), 1);
    // Asked again, because the store did not answer, with a decision under way.
    rig.receipt(eve, ann, (8, 6));
    rig.step(Input::MarksLoaded { account: ann, conn, page: None });
    let asked = asked(&rig.pass(100));
    assert_eq!(asked, [(ann, conn, 0, None)]);
    let mut seen = frames(&rig.step(answer(&rig, asked[0], 128)), conn);
    let early = seen.iter().flat_map(|(marks, _)| marks).any(|(with, _)| *with == eve);
    assert!(!early, "{seen:?}");
    seen.extend(frames(&rig.release(), conn));
    let marks: Vec<_> = seen.iter().flat_map(|(marks, _)| marks.iter().copied()).collect();
    assert_eq!(marks, [(ben, mark(7, 5, 1)), (eve, mark(8, 6, 2))]);
    assert_eq!(seen.last().and_then(|(_, version)| *version), Some(2));
}

#[test]
fn more_marks_than_may_wait_are_read_from_the_store_and_none_is_lost() {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    let conn = rig.connect(ann, PHONE, 0);
    rig.shard.block(conn);
    let count = limits::MARKS_MAX + 40;
    for n in 0..u128::try_from(count).unwrap() {
        rig.receipt(remote(n + 2), ann, (7, 5));
        rig.release();
    }
    rig.flush();
    let out = rig.done(Input::Writable { conn });
    assert!(frames(&out, conn).is_empty(), "what waited is read, too");
    let (mut seen, mut questions) = (Vec::new(), asked(&out));
    while let Some(question) = questions.pop() {
        let out = rig.done(answer(&rig, question, 100));
        seen.extend(frames(&out, conn));
        questions.extend(asked(&out));
    }
    let told: BTreeMap<_, _> = seen.iter().flat_map(|(marks, _)| marks.iter().copied()).collect();
    assert_eq!(told.len(), count);
    assert!(seen.iter().all(|(marks, _)| marks.len() <= limits::MARKS_MAX));
    let newest = rig.shard.account(ann).map(|state| state.marks);
    assert_eq!(seen.last().and_then(|(_, version)| *version), newest);
}

#[test]
fn an_answer_to_an_earlier_connection_is_none_to_this_one() {
    let mut rig = Rig::new();
    let (ann, ben) = (rig.person(1), remote(2));
    rig.receipt(ben, ann, (7, 5));
    rig.release();
    rig.flush();
    let first = rig.attach(ann, PHONE, 0);
    let early = asked(&rig.done(Input::Attach(first)));
    let second = rig.attach(ann, PHONE, 0);
    let conn = second.conn;
    let asked = asked(&rig.done(Input::Attach(second)));
    let out = rig.done(answer(&rig, early[0], 128));
    assert!(frames(&out, conn).is_empty());
    let out = rig.done(answer(&rig, asked[0], 128));
    assert_eq!(frames(&out, conn).len(), 1);
}

/// What may happen to a device that is to know its account's marks.
#[derive(Debug, Clone)]
enum Step {
    /// So many receipts come, each of another person, from one on.
    Receipts(u128, u128),
    Release,
    /// The store answers a read with so many marks, or does not.
    Answer(Option<usize>),
    Capture,
    Written(bool),
    Blocked(bool),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u128..200, 1u128..90).prop_map(|(from, count)| Step::Receipts(from, count)),
        6 => Just(Step::Release),
        5 => (1usize..60).prop_map(|most| Step::Answer(Some(most))),
        1 => Just(Step::Answer(None)),
        3 => Just(Step::Capture),
        3 => any::<bool>().prop_map(Step::Written),
        2 => any::<bool>().prop_map(Step::Blocked),
        2 => Just(Step::Reconnect),
    ]
}

/// A device, and what it has on its disk.
struct Device {
    rig: Rig,
    account: AccountId,
    conn: Conn,
    known: BTreeMap<AccountId, Mark>,
    version: u64,
    questions: VecDeque<Asked>,
    flush: Option<crate::shard::Flush>,
    clock: u64,
    released: BTreeMap<AccountId, Mark>,
    decided: Vec<(AccountId, Mark)>,
}

impl Device {
    fn new() -> Self {
        let mut rig = Rig::new();
        let account = rig.person(1);
        let conn = rig.connect(account, PHONE, 0);
        Self {
            rig,
            account,
            conn,
            known: BTreeMap::new(),
            version: 0,
            questions: VecDeque::new(),
            flush: None,
            clock: 0,
            released: BTreeMap::new(),
            decided: Vec::new(),
        }
    }

    /// The device takes what it is told. What it knows by a version's word, it must know.
    fn take(&mut self, out: &[Effect]) {
        self.questions.extend(asked(out));
        for (marks, version) in frames(out, self.conn) {
            assert!(marks.len() <= limits::MARKS_MAX);
            for (with, mark) in marks {
                let released = self.released.get(&with).copied().unwrap_or_default();
                assert_eq!(mark.merge(released), released, "told before its release");
                let known = self.known.entry(with).or_default();
                *known = known.merge(mark);
            }
            self.version = version.unwrap_or_default().max(self.version);
            let behind = |(with, mark): &(&AccountId, &Mark)| {
                mark.version <= self.version && self.known.get(with) != Some(mark)
            };
            assert_eq!(self.released.iter().find(behind), None, "at version {}", self.version);
        }
    }

    fn step(&mut self, step: &Step) {
        let out = match *step {
            Step::Receipts(from, count) => {
                for n in from..from + count {
                    self.clock += 1;
                    self.rig.receipt(remote(n), self.account, (self.clock, 0));
                    let version = self.rig.shard.account(self.account).unwrap().marks;
                    self.decided.push((remote(n), mark(self.clock, 0, version)));
                }
                Vec::new()
            }
            Step::Release => self.release(),
            Step::Answer(most) => {
                let Some(question) = self.questions.pop_front() else { return };
                let (account, conn, ..) = question;
                let input = match most {
                    Some(most) => answer(&self.rig, question, most),
                    None => Input::MarksLoaded { account, conn, page: None },
                };
                self.rig.step(input)
            }
            Step::Capture => self.capture(),
            Step::Written(written) => {
                match self.flush.take() {
                    Some(flush) if written => self.rig.written(flush),
                    Some(_) => self.rig.shard.flush_failed(),
                    None => {}
                }
                Vec::new()
            }
            Step::Blocked(true) => {
                self.rig.shard.block(self.conn);
                Vec::new()
            }
            Step::Blocked(false) => self.rig.step(Input::Writable { conn: self.conn }),
            Step::Reconnect => {
                let mut attach = self.rig.attach(self.account, PHONE, 0);
                (attach.marks, self.conn) = (self.version, attach.conn);
                self.rig.step(Input::Attach(attach))
            }
        };
        self.take(&out);
        let out = self.rig.pass(10);
        self.take(&out);
    }

    fn release(&mut self) -> Vec<Effect> {
        for (with, mark) in std::mem::take(&mut self.decided) {
            let known = self.released.entry(with).or_default();
            *known = known.merge(mark);
        }
        self.rig.release()
    }

    /// A flush is captured where none is under way; it is handed out once it is released.
    fn capture(&mut self) -> Vec<Effect> {
        if self.flush.is_some() {
            return Vec::new();
        }
        let mut out = Vec::new();
        self.flush = self.rig.shard.capture(self.rig.now, true, &mut out);
        out.extend(self.release());
        out
    }

    fn finish(&mut self) {
        for _ in 0..40 {
            for step in [
                Step::Release,
                Step::Written(true),
                Step::Capture,
                Step::Written(true),
                Step::Blocked(false),
                Step::Answer(Some(50)),
            ] {
                self.step(&step);
            }
        }
        assert_eq!(self.known, self.released);
        assert_eq!(self.version, self.rig.shard.account(self.account).unwrap().marks);
    }
}

proptest! {
    /// Whatever the order of changes, releases, flushes, reads and reconnections: a device that was told
    /// a version knows every change up to it, none before its release, and in the end all of them.
    #[test]
    fn a_device_knows_what_its_version_says(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut device = Device::new();
        steps.iter().for_each(|step| device.step(step));
        device.finish();
    }
}
