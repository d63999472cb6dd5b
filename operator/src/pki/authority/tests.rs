use super::*;

fn lifetimes() -> Lifetimes {
    Lifetimes { valid_s: 10_000, rotate_after_s: 5_000, settle_s: 300, leaf_s: 1_000, rotation: 0 }
}

/// All the states that a rotation goes through, with the time of each.
fn rotation() -> Vec<(u64, Authority)> {
    let lifetimes = lifetimes();
    let mut authority = Authority::create("chat", &lifetimes, 100_000).unwrap();
    let mut states = vec![(100_000, authority.clone())];
    for now_s in (100_000..108_000).step_by(100) {
        while let Some(next) = authority.advanced("chat", &lifetimes, now_s).unwrap() {
            next.check().unwrap();
            authority = next.clone();
            states.push((now_s, next));
        }
    }
    states
}

#[test]
fn a_rotation_takes_three_steps_at_their_times() {
    let states = rotation();
    let steps: Vec<_> = states.iter().map(|(at, state)| (*at, state.record.step)).collect();
    let expected = [
        (100_000, Step::Stable),
        (105_000, Step::Published),
        (105_300, Step::Switched),
        (106_600, Step::Stable),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn what_signs_was_trusted_before_and_is_trusted_after() {
    let states = rotation();
    for pair in states.windows(2) {
        let (before, after) = (&pair[0].1, &pair[1].1);
        // Pods see a bundle late, so each must trust what signs in the state before and after it.
        assert!(before.bundle().contains(after.current.certificate.trim()), "a pod that is late");
        let bundle = after.bundle();
        assert!(bundle.contains(after.current.certificate.trim()));
        let switched = after.record.step == Step::Switched;
        assert_eq!(
            bundle.contains(before.current.certificate.trim()),
            after.record.step != Step::Stable || before.current == after.current
        );
        assert_eq!(after.trusted(), if switched || after.next.is_some() { 2 } else { 1 });
    }
    let (first, last) = (&states[0].1, &states[3].1);
    assert!(!last.bundle().contains(first.current.certificate.trim()), "dropped in the end");
    assert_ne!(first.fingerprint().unwrap(), last.fingerprint().unwrap());
}

#[test]
fn people_can_ask_for_one_and_each_request_counts_once() {
    let mut lifetimes = lifetimes();
    let authority = Authority::create("chat", &lifetimes, 1000).unwrap();
    assert_eq!(authority.advanced("chat", &lifetimes, 1001).unwrap(), None);
    lifetimes.rotation = 1;
    let asked = authority.advanced("chat", &lifetimes, 1001).unwrap().unwrap();
    assert_eq!((asked.record.step, asked.record.rotation), (Step::Published, 1));
    assert_eq!(asked.advanced("chat", &lifetimes, 1002).unwrap(), None, "it settles first");
}

#[test]
fn an_authority_near_its_end_is_replaced_whatever_the_interval() {
    let mut lifetimes = lifetimes();
    lifetimes.rotate_after_s = 1_000_000;
    let authority = Authority::create("chat", &lifetimes, 1000).unwrap();
    assert_eq!(authority.not_after_s().unwrap(), 11_000);
    assert_eq!(authority.advanced("chat", &lifetimes, 9_699).unwrap(), None);
    assert!(authority.advanced("chat", &lifetimes, 9_700).unwrap().is_some());
}

#[test]
fn what_is_damaged_is_said_and_never_replaced() {
    let lifetimes = lifetimes();
    let good = Authority::create("chat", &lifetimes, 1000).unwrap();
    let other = Authority::create("chat", &lifetimes, 1000).unwrap();
    let mut crossed = good.clone();
    crossed.current.key = other.current.key;
    assert!(crossed.check().is_err(), "a key of another certificate");
    let mut torn = good;
    torn.current.certificate.truncate(80);
    assert!(torn.check().is_err());
    assert!(torn.advanced("chat", &lifetimes, 2000).is_err());
}
