//! A faultless run is judged faultless, and each planted fault is found.

use super::*;

/// One group of three; the first two write in turn, ten messages each, from place 2 on.
fn faultless() -> GroupLedger {
    let mut ledger = GroupLedger::new(1, 3);
    (0..3).for_each(|reader| ledger.changed(0, reader, 1));
    for n in 0..10u64 {
        for member in 0..2 {
            assert_eq!(ledger.next_number(0, member), n);
            ledger.submitted(0, member, n * 1000);
            ledger.decided(0, member, n, true);
            for reader in 0..3 {
                let place = 2 + n * 2 + member as u64;
                ledger.delivered(0, reader, place, (member, n), n * 1000 + 5000);
            }
        }
    }
    ledger
}

/// One more message, at place 22, that nobody has yet.
fn one_more() -> GroupLedger {
    let mut ledger = faultless();
    ledger.submitted(0, 0, 20_000);
    ledger.decided(0, 0, 10, true);
    ledger
}

fn counts(ledger: GroupLedger) -> GroupCounts {
    ledger.close().0
}

#[test]
fn a_faultless_run() {
    let ledger = faultless();
    assert!(ledger.is_settled());
    assert_eq!(ledger.seen(0, 2), 21);
    let (counts, e2e) = ledger.close();
    let expected =
        GroupCounts { messages: 20, acked: 20, deliveries: 60, ..GroupCounts::default() };
    assert_eq!(counts, expected);
    assert!((e2e.percentile_ms(99.0) - 5.0).abs() < 0.01);
}

#[test]
fn a_message_that_one_member_never_gets_is_lost() {
    let mut ledger = one_more();
    assert!(!ledger.is_settled());
    for reader in 0..2 {
        ledger.delivered(0, reader, 22, (0, 10), 30_000);
    }
    assert!(!ledger.is_settled());
    assert_eq!(counts(ledger).lost, 1);
    assert_eq!(counts(one_more()).lost, 3, "by all of them, if it never had a place");
}

#[test]
fn a_message_that_comes_again_is_a_duplicate() {
    let mut ledger = faultless();
    ledger.delivered(0, 1, 7, (1, 2), 30_000);
    let counts = counts(ledger);
    assert_eq!((counts.duplicated, counts.deliveries, counts.gaps), (1, 60, 0));
}

#[test]
fn a_message_at_two_places_is_a_duplicate() {
    let mut ledger = faultless();
    ledger.delivered(0, 1, 22, (1, 2), 30_000);
    let counts = counts(ledger);
    assert_eq!((counts.duplicated, counts.deliveries), (1, 60));
}

#[test]
fn two_messages_at_one_place_are_two_orders() {
    let mut ledger = one_more();
    ledger.submitted(0, 1, 20_000);
    ledger.decided(0, 1, 10, true);
    ledger.delivered(0, 0, 22, (0, 10), 30_000);
    ledger.delivered(0, 1, 22, (1, 10), 30_000);
    assert_eq!(counts(ledger).reordered, 1);
}

#[test]
fn a_place_that_comes_behind_a_later_one_is_another_order_and_a_gap() {
    let mut ledger = one_more();
    ledger.submitted(0, 0, 21_000);
    ledger.decided(0, 0, 11, true);
    ledger.delivered(0, 2, 23, (0, 11), 30_000);
    ledger.delivered(0, 2, 22, (0, 10), 30_000);
    let counts = counts(ledger);
    assert_eq!((counts.reordered, counts.gaps, counts.duplicated), (1, 1, 0));
}

#[test]
fn a_place_that_never_comes_is_a_gap() {
    let mut ledger = faultless();
    ledger.changed(0, 0, 23);
    assert_eq!(counts(ledger).gaps, 1);
}

#[test]
fn a_member_begins_where_it_came() {
    let mut ledger = GroupLedger::new(1, 1);
    ledger.changed(0, 0, 40);
    ledger.changed(0, 0, 41);
    assert_eq!(counts(ledger), GroupCounts::default());
    let mut ledger = GroupLedger::new(1, 1);
    ledger.changed(0, 0, 40);
    ledger.changed(0, 0, 39);
    assert_eq!(counts(ledger).duplicated, 1, "what was before is not its to see");
}

#[test]
fn what_nobody_sent_or_was_refused_must_not_arrive() {
    let mut ledger = faultless();
    ledger.delivered(0, 0, 22, (1, 10), 30_000);
    ledger.submitted(0, 0, 20_000);
    ledger.decided(0, 0, 10, false);
    ledger.delivered(0, 0, 22, (0, 10), 30_000);
    ledger.decided(0, 0, 10, true);
    ledger.noticed(0, 2, 5);
    ledger.strayed();
    let counts = counts(ledger);
    assert_eq!((counts.unexpected, counts.refused, counts.lost), (5, 1, 0));
}

#[test]
fn what_a_group_refuses_is_not_lost_and_told_of() {
    let mut ledger = one_more();
    ledger.noticed(0, 0, 10);
    ledger.noticed(0, 0, 10);
    assert!(ledger.is_settled());
    let counts = counts(ledger);
    assert_eq!((counts.refused, counts.lost), (1, 0));
}

#[test]
fn what_has_no_answer_is_undecided() {
    let mut ledger = faultless();
    ledger.submitted(0, 1, 0);
    assert!(!ledger.is_settled());
    let counts = counts(ledger);
    assert_eq!((counts.undecided, counts.lost), (1, 0));
}
