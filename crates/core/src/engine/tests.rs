//! A small world: one lane, a store that loses nothing it acknowledged, clients that resend, and
//! crashes at any step. The great simulator is in `crates/sim`; this one guards every change here.

mod world;

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use world::{Step, World};

use super::{Action, Engine};
use crate::clock::{Hlc, MonoUs, Now, WallMs};
use crate::group::{Change, InGroup, Settings, Sizes};
use crate::id::{AccountId, DeviceNo, GroupId, MsgId, PublicKey, ShardCount, ShardId, TenantNo};
use crate::limits;
use crate::message::{Address, Bodies, Message, Parcel};
use crate::rate::Rates;
use crate::seq::{BlockSeq, ClientSeq, Epoch, HomeGen, OutboxSeq};
use crate::shard::{Input, Policy, Recovered, Shard, ShardKey, Token};

#[test]
fn two_people_chat() {
    let mut world = World::new(4, true);
    world.send(0, 1);
    world.send(1, 0);
    world.run_quietly();
    world.check();
    assert_eq!(world.received(1), [(0, 1)]);
    assert_eq!(world.received(0), [(1, 1)]);
}

#[test]
fn one_commit_serves_both_shards_of_a_lane() {
    let mut world = World::new(4, true);
    world.send(0, 1);
    world.run_quietly();
    let before = world.blocks_written();
    world.send(0, 1);
    world.commit();
    world.commit();
    assert_eq!(world.blocks_written() - before, 1, "sender's and recipient's entry in one block");
    assert_eq!(world.received(1).len(), 2);
    world.run_quietly();
    world.check();
}

/// After how many milliseconds what these inputs change is to be written.
fn written_after_ms(inputs: Vec<Input>) -> u64 {
    let at = |ms: u64| Now { wall: WallMs(1_000_000 + ms), mono: MonoUs(1_000_000 + ms * 1000) };
    let (id, count) = (ShardId::new(0), ShardCount::new(2).unwrap());
    let key = ShardKey { id, count, home_gen: HomeGen(0), epoch: Epoch(1) };
    let policy = Policy { history: true, rates: Rates::default(), groups: Sizes::default() };
    let shard = Shard::recover(key, policy, at(0).mono, Recovered::default()).unwrap();
    let (mut engine, mut out) = (Engine::new(1), Vec::new());
    engine.serve(at(0), shard, BlockSeq(0), &mut out);
    engine.tick(at(0), &mut out);
    inputs.into_iter().for_each(|input| engine.input(at(0), id, input, &mut out));
    for ms in (0..10_000).step_by(50) {
        engine.tick(at(ms), &mut out);
        for action in std::mem::take(&mut out) {
            match action {
                Action::Write(formed) => engine.written(formed.seq),
                Action::Materialize { .. } => return ms,
                _ => {}
            }
        }
        engine.fence_read(at(ms), at(ms).mono, engine.fence_cover(), &mut out);
    }
    panic!("never written");
}

#[test]
fn rows_that_somebody_waits_for_are_written_sooner_than_others() {
    let (id, count) = (ShardId::new(0), ShardCount::new(2).unwrap());
    let ann = AccountId::in_shard(id, count, TenantNo(0), 1);
    let key = PublicKey([1; 32]);
    let open = Input::Open { token: Token(1), account: ann, key, name: "phone".to_owned() };
    let plain = vec![open, Input::Loaded { account: ann, state: None }];
    assert!(written_after_ms(plain) >= limits::FLUSH_INTERVAL_MS - 100);

    let (team, from) = (GroupId::in_shard(id, count, TenantNo(0), 7), ShardId::new(1));
    let change = Some(Change::Create(Vec::new(), Settings::default()));
    let message = Message {
        sender: AccountId::in_shard(from, count, TenantNo(0), 2),
        sender_device: DeviceNo(1),
        client_seq: ClientSeq(1),
        msg_id: MsgId([1; 16]),
        to: Address::Group(team),
        bodies: Bodies::Shared(Bytes::new()),
        expires_at_ms: 0,
        clock: Hlc::at(WallMs(1_000_000)),
        about: None,
        group: Some(Box::new(InGroup { change, ..InGroup::default() })),
    };
    let parcel = Parcel::Message(Arc::new(message));
    let founded = vec![
        Input::Parcel { link: None, from, seq: OutboxSeq(1), parcel },
        Input::GroupLoaded { group: team, state: None },
    ];
    assert!(written_after_ms(founded) <= limits::FLUSH_AWAITED_MS + 200);
}

#[test]
fn a_message_to_nobody_comes_back_as_a_notice() {
    let mut world = World::new(2, true);
    world.send_to_nobody(0);
    world.send(0, 1);
    world.run_quietly();
    assert_eq!(world.notices(0), 1);
    world.check();
}

#[test]
fn a_device_without_credit_reads_later_from_the_store() {
    let mut world = World::new(2, true);
    world.set_reading(1, false);
    for _ in 0..600 {
        world.send(0, 1);
        world.run_quietly();
    }
    assert!(world.delivered(1) <= 256, "no more than its credit");
    world.crash();
    world.set_reading(1, true);
    world.run_quietly();
    world.check();
    assert_eq!(world.received(1).len(), 600);
}

#[test]
fn a_page_that_the_store_did_not_read_is_read_again() {
    let mut world = World::new(2, true);
    world.set_reading(1, false);
    for _ in 0..600 {
        world.send(0, 1);
        world.run_quietly();
    }
    world.crash();
    world.set_reading(1, true);
    world.step(Step::Reconnect(1));
    world.step(Step::Network);
    for _ in 0..3 {
        world.step(Step::FailLoad);
        world.step(Step::Network);
        world.step(Step::Time(150));
    }
    world.run_quietly();
    world.check();
    assert_eq!(world.received(1).len(), 600);
}

#[test]
fn a_remnant_of_a_connection_does_not_replace_the_live_one() {
    let mut world = World::new(2, true);
    world.send(0, 1);
    world.run_quietly();
    assert!(world.survives_a_remnant(1));
    world.send(0, 1);
    world.run_quietly();
    world.check();
    assert_eq!(world.received(1).len(), 2);
}

#[test]
fn a_drained_shard_serves_on_elsewhere() {
    let mut world = World::new(6, true);
    for n in 0..200 {
        world.send(n % 6, (n + 1) % 6);
        if n % 20 == 0 {
            world.move_shards();
        }
    }
    world.run_quietly();
    world.check();
}

#[test]
fn what_is_appended_while_a_shard_is_emptied_is_handed_over_not_written() {
    let mut world = World::new(6, true);
    for n in 0..6 {
        world.send(n, (n + 1) % 6);
    }
    world.commit();
    world.move_shards();
    // The rows of what was before are on their way; this is what comes meanwhile.
    for n in 0..6 {
        world.send(n, (n + 1) % 6);
    }
    world.commit();
    world.run_quietly();
    world.check();
    assert!(world.handed_over > 0);
}

#[test]
fn what_would_cost_the_target_too_much_is_written_while_the_shard_is_stopped() {
    let mut world = World::new(6, true).handing_over_at_most(0);
    for _ in 0..8 {
        world.move_shards();
        for n in 0..6 {
            world.send(n, (n + 1) % 6);
        }
        world.commit();
    }
    world.run_quietly();
    world.check();
    assert_eq!(world.handed_over, 0);
}

/// An engine whose writes and fence reads succeed at once.
struct Quiet {
    engine: Engine,
    ms: u64,
    count: ShardCount,
    accounts: u128,
}

impl Quiet {
    fn serving(shards: u16) -> Self {
        let count = ShardCount::new(2).unwrap();
        let mut quiet = Self { engine: Engine::new(1), ms: 0, count, accounts: 0 };
        for id in (0..shards).map(ShardId::new) {
            let key = ShardKey { id, count, home_gen: HomeGen(0), epoch: Epoch(1) };
            let (rates, groups) = (Rates::default(), Sizes::default());
            let policy = Policy { history: true, rates, groups };
            let now = quiet.now();
            let shard = Shard::recover(key, policy, now.mono, Recovered::default()).unwrap();
            quiet.engine.serve(now, shard, quiet.engine.next_block(), &mut Vec::new());
        }
        quiet
    }

    fn now(&self) -> Now {
        let (wall, mono) = (WallMs(1_000_000 + self.ms), MonoUs(1_000_000 + self.ms * 1000));
        Now { wall, mono }
    }

    /// A new account opens its first device; the block is committed. Answers what else is to be done,
    /// and how far the block's header says that rows have come.
    fn open(&mut self, shard: ShardId) -> (Vec<Action>, BlockSeq) {
        self.accounts += 1;
        let account = AccountId::in_shard(shard, self.count, TenantNo(0), self.accounts);
        let (key, name, token) = (PublicKey([1; 32]), String::new(), Token(1));
        let mut out = Vec::new();
        for input in
            [Input::Open { token, account, key, name }, Input::Loaded { account, state: None }]
        {
            self.engine.input(self.now(), shard, input, &mut out);
        }
        self.commit(out)
    }

    fn commit(&mut self, mut out: Vec<Action>) -> (Vec<Action>, BlockSeq) {
        self.ms += 200;
        self.engine.tick(self.now(), &mut out);
        let (mut rest, mut materialized) = (Vec::new(), BlockSeq(0));
        for action in out {
            match action {
                Action::Write(formed) => {
                    materialized = formed.header.materialized;
                    self.engine.written(formed.seq);
                }
                other => rest.push(other),
            }
        }
        let (now, cover) = (self.now(), self.engine.fence_cover());
        self.engine.fence_read(now, now.mono, cover, &mut rest);
        (rest, materialized)
    }
}

/// A takeover reads a lane from where its last block says that rows end. What a shard hands over has no
/// rows, and if its release is never applied it ends with the lane.
#[test]
fn no_block_passes_what_a_shard_hands_over_before_its_release_is_known() {
    let (leaving, staying) = (ShardId::new(0), ShardId::new(1));
    let mut quiet = Quiet::serving(2);
    quiet.open(leaving);
    // The flush that is under way is not the move's own: that one follows.
    quiet.engine.drain(quiet.now(), leaving, &mut Vec::new());
    quiet.open(leaving);
    let mut out = Vec::new();
    quiet.engine.flushed(quiet.now(), leaving, true, &mut out);
    assert!(out.iter().any(|action| matches!(action, Action::Materialize { .. })), "{out:?}");
    let tail_at = quiet.engine.next_block();
    quiet.open(leaving);
    let mut out = Vec::new();
    quiet.engine.flushed(quiet.now(), leaving, true, &mut out);
    let drained = out.into_iter().find_map(|action| match action {
        Action::Drained(drained) => Some(drained),
        _ => None,
    });
    assert!(drained.is_some_and(|drained| !drained.tail.is_empty()));
    assert!(quiet.engine.remove(leaving).is_some());
    for _ in 0..3 {
        let (_, materialized) = quiet.open(staying);
        assert!(materialized <= tail_at, "{materialized} is behind {tail_at}");
    }
    quiet.engine.released_shard(leaving);
    quiet.open(staying);
    let (_, materialized) = quiet.open(staying);
    assert!(materialized > tail_at, "{materialized} stays at {tail_at}");
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        30 => (0usize..6, 0usize..6).prop_map(|(from, to)| Step::Send(from, to)),
        10 => Just(Step::WriteOne),
        4 => Just(Step::WriteLast),
        10 => Just(Step::ReadFence),
        4 => Just(Step::LoadOne),
        1 => Just(Step::FailLoad),
        6 => Just(Step::Network),
        4 => (0usize..6).prop_map(Step::Reconnect),
        4 => Just(Step::FlushOne(true)),
        1 => Just(Step::FlushOne(false)),
        8 => (1u64..1500).prop_map(Step::Time),
        1 => Just(Step::Crash),
        1 => Just(Step::Move),
    ];
    proptest::collection::vec(step, 1..160)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Whatever the order of writes, reads, crashes, moves and reconnects: every acknowledged message
    /// is delivered exactly once and in order, and none that was refused is.
    #[test]
    fn nothing_acknowledged_is_lost_duplicated_or_reordered(
        steps in steps(),
        history in any::<bool>(),
        handed_max in prop_oneof![Just(0), Just(2), Just(512)],
    ) {
        let mut world = World::new(6, history).handing_over_at_most(handed_max);
        for step in steps {
            world.step(step);
        }
        world.run_quietly();
        world.check();
    }
}
