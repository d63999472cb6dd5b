use super::super::rig::{PHONE, Rig, TABLET, THERE, foreign, remote, told};
use super::*;
use crate::clock::WallMs;
use crate::relation::{Audience, Wish};
use crate::shard::Input;

/// What watchers elsewhere are told.
fn presences(out: &[Effect]) -> Vec<(Vec<AccountId>, Presence)> {
    let presences = out.iter().filter_map(|effect| match effect {
        Effect::Signal { to: THERE, signal: Signal::Presence { to, presence, .. } } => {
            Some((to.clone(), *presence))
        }
        _ => None,
    });
    presences.collect()
}

/// The watches that are taken or given up elsewhere.
fn watches(out: &[Effect]) -> Vec<(AccountId, bool)> {
    let watches = out.iter().filter_map(|effect| match effect {
        Effect::Signal { to: THERE, signal: Signal::Watch { of, on, .. } } => Some((*of, *on)),
        _ => None,
    });
    watches.collect()
}

fn watch(rig: &mut Rig, by: AccountId, of: AccountId, on: bool) {
    rig.done(Input::Signal(Signal::Watch { by, of, on }));
}

/// Time passes, and what is decided meanwhile is released.
fn pass(rig: &mut Rig, ms: u64) -> Vec<(Vec<AccountId>, Presence)> {
    let mut out = rig.pass(ms);
    out.extend(rig.release());
    presences(&out)
}

/// Somebody of this shard whose owner has long been here.
fn settled() -> (Rig, AccountId) {
    let mut rig = Rig::new();
    let ann = rig.person(1);
    rig.pass(limits::PRESENCE_GRACE_MS);
    (rig, ann)
}

#[test]
fn a_watcher_is_told_who_is_there_and_who_leaves() {
    let (mut rig, ann) = settled();
    let ben = remote(2);
    watch(&mut rig, ben, ann, true);
    let never = Presence::Offline(WallMs(0));
    assert_eq!(pass(&mut rig, limits::LEAVE_DEBOUNCE_MS), [(vec![ben], never)]);
    let conn = rig.connect(ann, PHONE, 0);
    assert_eq!(pass(&mut rig, 10), [(vec![ben], Presence::Online)]);
    assert_eq!(pass(&mut rig, 5_000), [], "nothing changed");
    rig.done(Input::Detach { conn });
    let left = rig.now.wall;
    // When somebody left is logged with the next flush.
    rig.flush();
    let gone = (vec![ben], Presence::Offline(left));
    assert_eq!(pass(&mut rig, limits::LEAVE_DEBOUNCE_MS), [gone]);
    assert_eq!(rig.shard.account(ann).unwrap().last_seen, left);
}

#[test]
fn who_comes_back_at_once_was_never_away() {
    let (mut rig, ann) = settled();
    watch(&mut rig, remote(2), ann, true);
    let conn = rig.connect(ann, PHONE, 0);
    pass(&mut rig, 10);
    rig.done(Input::Detach { conn });
    assert_eq!(pass(&mut rig, limits::LEAVE_DEBOUNCE_MS / 2), []);
    rig.connect(ann, PHONE, 0);
    assert_eq!(pass(&mut rig, 10), []);
    assert_eq!(pass(&mut rig, 2 * limits::LEAVE_DEBOUNCE_MS), []);
}

#[test]
fn a_person_is_there_while_they_look_at_one_of_their_devices() {
    let (mut rig, ann) = settled();
    rig.open(ann, TABLET);
    let ben = remote(2);
    watch(&mut rig, ben, ann, true);
    let (phone, tablet) = (rig.connect(ann, PHONE, 0), rig.connect(ann, TABLET, 0));
    assert_eq!(pass(&mut rig, 10), [(vec![ben], Presence::Online)]);
    let away = |conn, away| Input::Away { conn, away };
    rig.done(away(phone, true));
    assert_eq!(pass(&mut rig, 2 * limits::LEAVE_DEBOUNCE_MS), []);
    rig.done(away(tablet, true));
    let gone = pass(&mut rig, limits::LEAVE_DEBOUNCE_MS);
    assert!(matches!(gone[..], [(_, Presence::Offline(_))]), "{gone:?}");
    rig.done(away(phone, false));
    assert_eq!(pass(&mut rig, 10), [(vec![ben], Presence::Online)]);
}

#[test]
fn a_new_owner_says_of_nobody_that_they_are_gone_before_they_had_time_to_come() {
    let (mut rig, ann) = settled();
    rig.connect(ann, PHONE, 0);
    rig.next_owner();
    let ben = remote(2);
    watch(&mut rig, ben, ann, true);
    assert_eq!(pass(&mut rig, limits::PRESENCE_GRACE_MS - 1), []);
    rig.connect(ann, PHONE, 0);
    assert_eq!(pass(&mut rig, 10), [(vec![ben], Presence::Online)]);
}

#[test]
fn presence_is_hidden_from_the_blocked_and_from_whom_it_is_not_for() {
    let (mut rig, ann) = settled();
    let (ben, eve) = (remote(2), remote(3));
    let conn = rig.connect(ann, PHONE, 0);
    for by in [ben, eve, foreign(4)] {
        watch(&mut rig, by, ann, true);
    }
    assert_eq!(pass(&mut rig, 10), [(vec![ben, eve], Presence::Online)]);
    rig.wish(conn, Wish::Block(ben, true));
    assert_eq!(pass(&mut rig, 10), [(vec![ben], Presence::Hidden)]);
    // Whatever happens now, who is blocked learns nothing of it.
    rig.done(Input::Detach { conn });
    rig.flush();
    let gone = pass(&mut rig, limits::LEAVE_DEBOUNCE_MS);
    assert!(matches!(&gone[..], [(to, Presence::Offline(_))] if *to == [eve]), "{gone:?}");
    let conn = rig.connect(ann, PHONE, 0);
    assert_eq!(pass(&mut rig, 10), [(vec![eve], Presence::Online)]);
    rig.wish(conn, Wish::Presence(Audience::Contacts));
    assert_eq!(pass(&mut rig, 10), [(vec![eve], Presence::Hidden)]);
    rig.wish(conn, Wish::Contact(eve, true));
    assert_eq!(pass(&mut rig, 10), [(vec![eve], Presence::Online)]);
}

#[test]
fn presence_is_told_when_what_it_follows_from_is_released() {
    let (mut rig, ann) = settled();
    let ben = remote(2);
    let conn = rig.connect(ann, PHONE, 0);
    watch(&mut rig, ben, ann, true);
    pass(&mut rig, 10);
    rig.step(Input::Wish { conn, corr: 1, wish: Wish::Block(ben, true) });
    assert_eq!(presences(&rig.pass(10)), [], "the wish is not released");
    assert_eq!(presences(&rig.release()), [(vec![ben], Presence::Hidden)]);
}

#[test]
fn a_watch_ends_unless_it_is_renewed_and_keeps_its_account_in_memory() {
    let (mut rig, ann) = settled();
    let ben = remote(2);
    rig.flush();
    watch(&mut rig, ben, ann, true);
    pass(&mut rig, limits::LEAVE_DEBOUNCE_MS);
    rig.pass(limits::ACCOUNT_IDLE_MS / 2);
    watch(&mut rig, ben, ann, true);
    let again = pass(&mut rig, limits::LEAVE_DEBOUNCE_MS);
    assert_eq!(again.len(), 1, "whoever renews may have forgotten what it was told");
    rig.pass(limits::ACCOUNT_IDLE_MS / 2);
    assert_eq!(rig.shard.evict(rig.now), 0);
    rig.pass(limits::WATCH_LEASE_MS);
    assert_eq!(rig.shard.evict(rig.now), 1);
    rig.connect(ann, PHONE, 0);
    assert_eq!(pass(&mut rig, 10), []);
}

#[test]
fn who_does_not_watch_any_more_is_told_nothing() {
    let (mut rig, ann) = settled();
    watch(&mut rig, remote(2), ann, true);
    watch(&mut rig, remote(2), ann, false);
    rig.connect(ann, PHONE, 0);
    assert_eq!(pass(&mut rig, limits::LEAVE_DEBOUNCE_MS), []);
}

#[test]
fn a_person_whose_last_device_is_revoked_is_gone() {
    let (mut rig, ann) = settled();
    let ben = remote(2);
    let conn = rig.connect(ann, PHONE, 0);
    watch(&mut rig, ben, ann, true);
    assert_eq!(pass(&mut rig, 10), [(vec![ben], Presence::Online)]);
    rig.done(Input::RevokeDevice { conn, corr: 1, device: PHONE });
    rig.pass(10);
    let left = rig.now.wall;
    rig.flush();
    let gone = (vec![ben], Presence::Offline(left));
    assert_eq!(pass(&mut rig, limits::LEAVE_DEBOUNCE_MS), [gone]);
}

#[test]
fn a_device_watches_while_it_is_here_and_its_shard_renews_that() {
    let (mut rig, ann) = settled();
    let ben = remote(2);
    let conn = rig.connect(ann, PHONE, 0);
    let subscribe = |on| Input::Subscribe { conn, corr: 1, accounts: vec![ben], on };
    assert_eq!(watches(&rig.done(subscribe(true))), [(ben, true)]);
    assert_eq!(watches(&rig.pass(limits::WATCH_RENEW_MS)), [(ben, true)]);
    assert_eq!(watches(&rig.pass(10)), []);
    // The shard of the other one has another owner.
    assert!(rig.shard.wanted_peers().contains(&THERE));
    assert_eq!(watches(&rig.step(Input::PeerReady { to: THERE })), [(ben, true)]);
    assert_eq!(watches(&rig.done(subscribe(false))), [(ben, false)]);
    assert_eq!(watches(&rig.pass(limits::WATCH_RENEW_MS)), []);
    // With the device its watches are gone.
    rig.done(subscribe(true));
    rig.done(Input::Detach { conn });
    assert_eq!(watches(&rig.pass(limits::WATCH_RENEW_MS)), []);
}

#[test]
fn a_watch_is_given_up_with_the_last_device_that_has_it() {
    let (mut rig, ann) = settled();
    rig.open(ann, TABLET);
    let ben = remote(2);
    let conns = [rig.connect(ann, PHONE, 0), rig.connect(ann, TABLET, 0)];
    let mut subscribe =
        |conn, on| watches(&rig.done(Input::Subscribe { conn, corr: 1, accounts: vec![ben], on }));
    for conn in conns {
        assert_eq!(subscribe(conn, true), [(ben, true)]);
    }
    assert_eq!(subscribe(conns[0], false), []);
    assert_eq!(subscribe(conns[1], false), [(ben, false)]);
}

#[test]
fn a_device_watches_so_many_and_is_told_of_no_other() {
    let (mut rig, ann) = settled();
    let conn = rig.connect(ann, PHONE, 0);
    let most = u128::try_from(limits::WATCHED_MAX).unwrap();
    let subscribe = |accounts: Vec<_>| Input::Subscribe { conn, corr: 1, accounts, on: true };
    let out = rig.done(subscribe((0..most).map(remote).collect()));
    let answer = |out: &[Effect]| told(out, conn);
    let done = ToConn::Result { corr: 1, answer: CallAnswer::Done };
    assert_eq!(answer(&out), [done]);
    let out = rig.done(subscribe(vec![remote(most)]));
    let refused = answer(&out);
    assert!(
        matches!(refused[..], [ToConn::Result { answer: CallAnswer::Refused(Code::Quota, _), .. }]),
        "{refused:?}"
    );
    let mut is = |of, presence| {
        let signal = Signal::Presence { of, to: vec![ann], presence };
        told(&rig.done(Input::Signal(signal)), conn)
    };
    let online = ToConn::Presence { of: remote(3), presence: Presence::Online };
    assert_eq!(is(remote(3), Presence::Online), [online]);
    assert_eq!(is(remote(most), Presence::Online), []);
}

#[test]
fn a_device_that_takes_nothing_now_is_told_the_newest_later() {
    let (mut rig, ann) = settled();
    let (conn, ben) = (rig.connect(ann, PHONE, 0), remote(2));
    rig.done(Input::Subscribe { conn, corr: 1, accounts: vec![ben], on: true });
    rig.shard.block(conn);
    for presence in [Presence::Online, Presence::Hidden] {
        let signal = Signal::Presence { of: ben, to: vec![ann], presence };
        assert_eq!(told(&rig.done(Input::Signal(signal)), conn), []);
    }
    let out = rig.done(Input::Writable { conn });
    assert_eq!(told(&out, conn), [ToConn::Presence { of: ben, presence: Presence::Hidden }]);
}

#[test]
fn watchers_of_one_account_are_bounded() {
    let (mut rig, ann) = settled();
    let most = u128::try_from(limits::WATCHERS_MAX).unwrap();
    for n in 0..=most {
        watch(&mut rig, remote(n + 2), ann, true);
    }
    rig.connect(ann, PHONE, 0);
    let told = pass(&mut rig, 10);
    assert_eq!(told.iter().map(|(to, _)| to.len()).sum::<usize>(), limits::WATCHERS_MAX);
}
