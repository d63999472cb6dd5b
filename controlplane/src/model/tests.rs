use iris_core::seq::BlockSeq;

use super::*;

const SECOND: u64 = 1_000_000;

pub(crate) fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 16])
}

fn about(pod: &str, started_at_ms: u64) -> About {
    About {
        pod: pod.to_owned(),
        pod_uid: format!("{pod}-{started_at_ms}"),
        node: "n".to_owned(),
        zone: "z".to_owned(),
        address: format!("{pod}:7443"),
        lanes: 1,
        version: "1".to_owned(),
        started_at_ms,
    }
}

/// A region of three owners that serve everything.
pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) now: MonoUs,
}

impl World {
    pub(crate) fn new() -> Self {
        let wishes = Wishes { expected_owners: 3, ..Wishes::default() };
        let model = Model::new(ShardCount::new(64).unwrap(), MonoUs(0), wishes);
        let mut world = Self { model, now: MonoUs(0) };
        for n in 0..3 {
            world.join(n, &format!("owner-{n}"), 1);
        }
        assert!(world.model.place(world.now));
        world.serve_all();
        world
    }

    fn join(&mut self, n: u8, pod: &str, started: u64) {
        self.model.leased(session(n), about(pod, started), self.now);
        assert!(self.model.reports(session(n), about(pod, started), self.now));
    }

    /// Every session claims what it should have.
    fn serve_all(&mut self) {
        for shard in self.model.count().shards() {
            let Some(wanted) = self.model.desired(shard) else { continue };
            if self.model.serving(shard).map(|(s, _)| s) == Some(wanted) {
                continue;
            }
            let epoch = self.model.head(shard).map(|row| row.epoch).unwrap_or_default().next();
            self.model.holds(wanted, shard, epoch);
        }
    }

    /// Time passes, and everybody but the silent is heard.
    fn pass(&mut self, us: u64, silent: &[u8]) -> Vec<(SessionId, Death)> {
        let mut dead = Vec::new();
        for _ in 0..us / 100_000 {
            self.now.0 += 100_000;
            let members: Vec<_> = self.model.members().keys().copied().collect();
            for id in members {
                let quiet = silent.iter().any(|n| session(*n) == id)
                    || matches!(self.model.members()[&id].stream, Stream::Broken(_));
                if !quiet {
                    self.model.heard(id, self.now);
                }
            }
            dead.extend(self.model.find_dead(self.now));
        }
        dead
    }
}

#[test]
fn a_fresh_region_waits_for_its_owners() {
    let wishes = Wishes { expected_owners: 3, ..Wishes::default() };
    let mut model = Model::new(ShardCount::new(64).unwrap(), MonoUs(0), wishes);
    assert!(!model.place(MonoUs(60 * SECOND)), "an empty view orders nothing");
    model.leased(session(0), about("owner-0", 1), MonoUs(0));
    assert!(!model.place(MonoUs(SECOND)));
    assert!(model.place(MonoUs(20 * SECOND)), "but not for ever");
}

#[test]
fn placement_is_even_and_quiet() {
    let mut world = World::new();
    let assigned = world.model.assignments();
    let mut sizes: Vec<_> = assigned.values().map(|a| a.shards.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [21, 21, 22]);
    assert!(assigned.values().all(|a| a.dead.is_empty()));
    assert!(!world.model.place(world.now), "nothing changes at rest");
}

#[test]
fn a_broken_stream_is_death_after_a_short_grace() {
    let mut world = World::new();
    world.model.stream_broke(session(1), world.now);
    assert!(world.pass(200_000, &[]).is_empty());
    assert_eq!(world.pass(200_000, &[]), [(session(1), Death::StreamBroken)]);
    let orphans = world.model.assignments();
    assert!(!orphans.contains_key(&session(1)));
    assert!(world.model.place(world.now));
    let assigned = world.model.assignments();
    for n in [0, 2] {
        assert_eq!(assigned[&session(n)].shards.len(), 32);
        assert_eq!(assigned[&session(n)].dead, BTreeSet::from([session(1)]));
    }
    assert!(!world.model.reports(session(1), about("owner-1", 1), world.now), "it must end");
    world.serve_all();
    assert_eq!(world.model.forget_dead(), [session(1)]);
}

#[test]
fn a_stream_that_comes_back_in_time_is_no_death() {
    let mut world = World::new();
    world.model.stream_broke(session(1), world.now);
    world.pass(200_000, &[]);
    assert!(world.model.reports(session(1), about("owner-1", 1), world.now));
    assert!(world.pass(5 * SECOND, &[]).is_empty());
}

#[test]
fn silence_is_death_and_a_leader_that_slept_hears_first() {
    let mut world = World::new();
    assert_eq!(world.pass(2 * SECOND, &[2]), [(session(2), Death::Silent)]);
    let mut slept = World::new();
    slept.now.0 += 60 * SECOND;
    assert!(slept.model.find_dead(slept.now).is_empty(), "it was the leader that slept");
    assert!(slept.pass(SECOND, &[]).is_empty());
}

#[test]
fn many_deaths_at_once_are_not_believed_but_a_restarted_pod_is() {
    let mut world = World::new();
    let dead = world.pass(3 * SECOND, &[0, 1, 2]);
    assert_eq!(dead.len(), 1, "the first is believed");
    world.join(9, "owner-1", 2);
    world.join(10, "owner-2", 2);
    let dead = world.pass(200_000, &[0, 1, 2]);
    assert!(dead.iter().all(|(_, death)| *death == Death::Replaced), "{dead:?}");
    assert_eq!(dead.len(), 2);
    world.model.place(world.now);
    let assigned = world.model.assignments();
    let covered: usize = assigned.values().map(|a| a.shards.len()).sum();
    assert_eq!(covered, 64);
}

#[test]
fn whoever_is_silent_for_longer_is_dead_after_all() {
    let mut world = World::new();
    assert_eq!(world.pass(3 * SECOND, &[0, 1]).len(), 1);
    assert!(world.pass(3 * SECOND, &[0, 1]).is_empty(), "not within the same five seconds");
    assert_eq!(world.pass(2 * SECOND, &[0, 1]).len(), 1);
}

#[test]
fn half_of_the_owners_may_die_at_once() {
    let mut world = World::new();
    world.join(3, "owner-3", 1);
    assert_eq!(world.pass(3 * SECOND, &[0, 1, 2]).len(), 2);
}

#[test]
fn a_released_shard_finds_an_owner() {
    let mut world = World::new();
    let shard = ShardId::new(7);
    let (holder, epoch) = world.model.serving(shard).unwrap();
    world.model.left(holder, shard);
    let row = *world.model.head(shard).unwrap();
    world.model.found(shard, EpochRow { released_block: Some(BlockSeq(9)), ..row });
    assert_eq!(world.model.head(shard).unwrap().epoch, epoch);
    world.model.place(world.now);
    assert!(world.model.desired(shard).is_some());
    let assigned = world.model.assignments();
    assert!(assigned.values().all(|a| a.dead.is_empty()), "nobody is fenced for that");
}

#[test]
fn a_shard_in_a_move_is_left_alone() {
    let mut world = World::new();
    let shard = ShardId::new(3);
    let (holder, _) = world.model.serving(shard).unwrap();
    assert!(world.model.begin_move(shard));
    assert!(!world.model.begin_move(shard));
    world.model.stream_broke(holder, world.now);
    world.pass(SECOND, &[]);
    world.model.place(world.now);
    assert_eq!(world.model.desired(shard), Some(holder), "the move decides");
    world.model.end_move(shard, None);
    world.model.place(world.now);
    assert_ne!(world.model.desired(shard), Some(holder));
}

#[test]
fn who_wants_to_end_is_emptied_evenly() {
    let mut world = World::new();
    world.model.heard(session(0), world.now).unwrap().leaving = true;
    let moves = world.model.new_homes(session(0));
    let count = |n| moves.iter().filter(|(_, to)| *to == session(n)).count();
    let owned = |shard: &ShardId| world.model.desired(*shard) == Some(session(0));
    assert_eq!(moves.len(), world.model.count.shards().filter(owned).count());
    assert!(!moves.is_empty());
    assert_eq!(count(0), 0);
    assert!(count(1).abs_diff(count(2)) <= 2, "{} {}", count(1), count(2));
}

#[test]
fn followers_get_changes_and_the_board_when_they_must() {
    let mut world = World::new();
    let mut board = RouteBoard::new(world.model.count());
    assert!(board.update(&world.model));
    assert!(!board.update(&world.model));
    assert_eq!(board.since(0), None, "a new follower needs the board");
    let known = board.changes();
    assert_eq!(board.since(known), Some(BTreeSet::new()));
    let shard = ShardId::new(5);
    let (from, epoch) = world.model.serving(shard).unwrap();
    let to = session((0..3).find(|n| session(*n) != from).unwrap());
    world.model.left(from, shard);
    world.model.holds(to, shard, epoch.next());
    assert!(board.update(&world.model));
    assert_eq!(board.since(known), Some(BTreeSet::from([shard])));
    assert_eq!(board.route(shard), RouteChange { epoch: epoch.next(), session: Some(to) });
    world.model.stream_broke(to, world.now);
    world.pass(SECOND, &[]);
    board.update(&world.model);
    assert_eq!(board.since(known), None, "the sessions changed");
    assert_eq!(board.route(shard).session, None, "nobody serves it for the moment");
}
