//! A faultless run is judged faultless, and each planted fault is found.

use super::*;

/// Two directions, ten messages each, a millisecond apart, everything answered and delivered.
fn faultless() -> Ledger {
    let mut ledger = Ledger::new(2);
    for n in 0..10u64 {
        for direction in 0..2 {
            assert_eq!(ledger.next_number(direction), n);
            ledger.submitted(direction, n * 10_000);
        }
    }
    for n in 0..10u64 {
        for direction in 0..2 {
            ledger.decided(direction, n, true, n * 10_000 + 4_000);
            ledger.delivered(direction, n, Some(n * 10_000), n * 10_000 + 6_000);
        }
    }
    ledger
}

fn counts(ledger: Ledger) -> Counts {
    ledger.close(1_000_000).0
}

#[test]
fn a_faultless_run() {
    let ledger = faultless();
    assert!(ledger.is_settled());
    let (counts, measured) = ledger.close(1_000_000);
    let expected = Counts { submitted: 20, acked: 20, delivered: 20, ..Counts::default() };
    assert_eq!(counts, expected);
    assert_eq!((measured.ack.count(), measured.e2e.count()), (20, 20));
    assert!((measured.ack.percentile_ms(99.0) - 4.0).abs() < 0.01);
    assert!((measured.e2e.percentile_ms(99.0) - 6.0).abs() < 0.01);
    assert!((measured.gap.percentile_ms(99.0) - 4.0).abs() < 0.01);
    assert_eq!(measured.interruption.count(), 0);
}

#[test]
fn a_lost_message_is_found() {
    let mut ledger = faultless();
    ledger.submitted(0, 200_000);
    ledger.decided(0, 10, true, 204_000);
    assert!(!ledger.is_settled());
    assert_eq!(counts(ledger).lost, 1);
}

#[test]
fn a_lost_message_is_found_among_later_ones() {
    let mut ledger = Ledger::new(1);
    for n in 0..3 {
        ledger.submitted(0, n);
        ledger.decided(0, n, true, 10 + n);
    }
    ledger.delivered(0, 0, Some(0), 20);
    ledger.delivered(0, 2, Some(2), 21);
    let counts = counts(ledger);
    assert_eq!((counts.lost, counts.reordered, counts.duplicated), (1, 0, 0));
}

#[test]
fn what_was_never_acknowledged_is_not_lost_but_undecided() {
    let mut ledger = faultless();
    ledger.submitted(1, 200_000);
    assert!(!ledger.is_settled());
    let counts = counts(ledger);
    assert_eq!((counts.lost, counts.undecided), (0, 1));
}

#[test]
fn what_arrived_before_its_ack_is_not_lost() {
    let mut ledger = Ledger::new(1);
    ledger.submitted(0, 0);
    ledger.delivered(0, 0, Some(0), 5);
    assert!(!ledger.is_settled());
    ledger.decided(0, 0, true, 6);
    assert!(ledger.is_settled());
    assert_eq!(counts(ledger).lost, 0);
}

#[test]
fn a_duplicate_is_found() {
    let mut ledger = faultless();
    ledger.delivered(1, 4, Some(0), 300_000);
    let counts = counts(ledger);
    assert_eq!((counts.duplicated, counts.reordered, counts.delivered), (1, 0, 20));
}

#[test]
fn another_order_is_found() {
    let mut ledger = Ledger::new(1);
    for n in 0..4 {
        ledger.submitted(0, n);
        ledger.decided(0, n, true, 10 + n);
    }
    for n in [0, 2, 1, 3] {
        ledger.delivered(0, n, Some(n), 20);
    }
    let counts = counts(ledger);
    assert_eq!((counts.reordered, counts.lost, counts.duplicated), (1, 0, 0));
}

#[test]
fn what_nobody_sent_is_found() {
    let mut ledger = faultless();
    ledger.delivered(0, 10, Some(0), 300_000);
    ledger.delivered(7, 0, Some(0), 300_000);
    ledger.strayed();
    ledger.noticed(0, 99);
    assert_eq!(counts(ledger).unexpected, 4);
}

#[test]
fn what_was_refused_must_not_arrive() {
    let mut ledger = Ledger::new(1);
    ledger.submitted(0, 0);
    ledger.decided(0, 0, false, 5);
    assert!(ledger.is_settled());
    ledger.delivered(0, 0, Some(0), 6);
    let counts = counts(ledger);
    assert_eq!((counts.refused, counts.unexpected, counts.delivered), (1, 1, 0));
}

#[test]
fn a_notice_excuses_a_message() {
    let mut ledger = Ledger::new(1);
    ledger.submitted(0, 0);
    ledger.decided(0, 0, true, 5);
    ledger.noticed(0, 0);
    ledger.noticed(0, 0);
    assert!(ledger.is_settled());
    let counts = counts(ledger);
    assert_eq!((counts.noticed, counts.lost), (1, 0));
}

#[test]
fn answers_that_answer_nothing_are_found() {
    let mut ledger = faultless();
    ledger.decided(0, 10, true, 300_000);
    ledger.decided(0, 3, true, 300_000);
    ledger.decided(9, 0, true, 300_000);
    ledger.submitted(0, 300_000);
    ledger.submitted(0, 300_000);
    ledger.decided(0, 11, true, 300_001);
    assert_eq!(counts(ledger).misanswered, 4);
}

fn gaps(ledger: Ledger, now: u64) -> Vec<u64> {
    let measured = ledger.close(now).1;
    let found = measured.interruption.percentiles();
    vec![found.count, found.max.round() as u64]
}

#[test]
fn a_write_gap_is_the_wait_of_a_conversation_not_of_each_message() {
    let mut ledger = Ledger::new(1);
    (0..100).for_each(|n| ledger.submitted(0, n * 10_000));
    // Silence from 50 ms until 1000 ms, then every answer at once.
    (0..5).for_each(|n| ledger.decided(0, n, true, n * 10_000 + 10_000));
    (5..100).for_each(|n| ledger.decided(0, n, true, 1_000_000 + n));
    assert_eq!(gaps(ledger, 2_000_000), [1, 950]);
}

#[test]
fn a_pause_of_the_sender_is_no_gap() {
    let mut ledger = Ledger::new(1);
    ledger.submitted(0, 0);
    ledger.decided(0, 0, true, 5_000);
    ledger.submitted(0, 900_000);
    ledger.decided(0, 1, true, 905_000);
    assert_eq!(gaps(ledger, 1_000_000), [0, 0]);
}

#[test]
fn a_gap_that_does_not_end_counts_until_the_end() {
    let mut ledger = Ledger::new(1);
    ledger.submitted(0, 100_000);
    ledger.submitted(0, 200_000);
    assert_eq!(gaps(ledger, 1_100_000), [1, 1000]);
}

#[test]
fn latency_counts_from_when_a_message_was_due() {
    let mut ledger = Ledger::new(1);
    // Due at 0, given to a client that took none for two seconds.
    ledger.submitted(0, 0);
    ledger.decided(0, 0, true, 2_005_000);
    ledger.delivered(0, 0, Some(0), 2_007_000);
    let recent = ledger.take_recent_acks();
    assert!((recent.percentiles().max - 2005.0).abs() < 3.0);
    assert_eq!(ledger.take_recent_acks().count(), 0);
    let (_, measured) = ledger.close(3_000_000);
    assert!(measured.ack.percentiles().max > 2000.0);
    assert!(measured.e2e.percentiles().max > 2000.0);
}

#[test]
fn an_outage_is_a_gap_in_which_the_server_said_again_later() {
    let mut ledger = Ledger::new(2);
    for direction in 0..2 {
        (0..3).for_each(|n| ledger.submitted(direction, n * 10_000));
        ledger.decided(direction, 0, true, 5_000);
    }
    ledger.put_off(0);
    ledger.put_off(0);
    for direction in 0..2 {
        ledger.decided(direction, 1, true, 700_000);
        ledger.decided(direction, 2, true, 900_000);
    }
    let measured = ledger.close(1_000_000).1;
    assert_eq!(measured.interruption.count(), 4);
    let outage = measured.outage.percentiles();
    assert_eq!((outage.count, outage.max.round() as u64), (1, 690));
}
