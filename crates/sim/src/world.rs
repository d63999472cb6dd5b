//! The world of a run: who is in it, and what happens next.
//!
//! Everything here is driven by one agenda and one source of chance, so a plan is always the same run.

use std::collections::{BTreeMap, BTreeSet};

use iris_core::clock::{MonoUs, Now, WallMs};
use iris_core::id::{AccountId, GroupId, MsgId, SessionId, ShardCount, ShardId};

use crate::agenda::Agenda;
use crate::book::Book;
use crate::control::Control;
use crate::edge::Edge;
use crate::network::{End, Network, Node, StreamNo};
use crate::owner::{Again, Call, Owner, Then};
use crate::packet::Packet;
use crate::people::{Device, Wake};
use crate::plan::Plan;
use crate::random::Random;
use crate::store::{Around, Done, Step, Store};

/// The wall clock when a run begins, in milliseconds: any time does.
const WALL_MS: u64 = 1_700_000_000_000;
/// So long after everything is whole, nothing happens any more in a good run.
const SETTLING_US: u64 = 75_000_000;
/// A run that has more events than this goes in circles.
const EVENTS_MAX: u64 = 5_000_000;
/// So long nothing may be left to do before the end.
const CALM_US: u64 = 400_000;
/// How many edges there are.
pub(crate) const EDGES: usize = 2;

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// The store goes on with something.
    Store(Step),
    /// Something arrives at an end of a stream.
    Packet { stream: StreamNo, to: End, packet: Packet },
    /// An end of a stream learns that it is closed.
    Closed { party: Party, stream: StreamNo },
    /// A stream whose ends are cut off for too long is given up.
    GiveUp { stream: StreamNo },
    /// A lane's time has come.
    Tick { owner: usize, lane: u8 },
    /// An owner reads its fence though nothing waits for it.
    Fence { owner: usize, turn: u64 },
    /// An owner tries something again.
    Again { owner: usize, again: Again },
    /// A call reaches an owner.
    Call { owner: usize, call: Call },
    /// An owner says what it serves.
    Report { owner: usize },
    /// The control plane learns it.
    Heard { owner: usize, report: crate::owner::Report },
    /// A pod starts an owner.
    Start { pod: usize },
    /// A frozen owner goes on.
    Thaw { owner: usize },
    /// The control plane looks around.
    Govern,
    /// A move that nobody heard the end of is over.
    MoveOver(ShardId),
    /// Routes reach an edge or a pod.
    Routes { node: Node },
    /// A device's time has come.
    Device { device: usize, wake: Wake },
    /// An edge tries to attach a connection again.
    Attach { edge: usize, conn: u64 },
    /// A person does something.
    Deed(usize),
    /// Something breaks.
    Fault(usize),
    /// Nothing is broken any more.
    Heal,
    /// What waited for the network goes on.
    Network,
}

impl From<Step> for Event {
    fn from(step: Step) -> Self {
        Self::Store(step)
    }
}

/// Who is at an end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    Device(usize),
    Edge(usize),
    Owner(usize, u8),
}

/// See the module.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) count: ShardCount,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) random: Random,
    pub(crate) network: Network<Packet>,
    pub(crate) parties: BTreeMap<StreamNo, (Party, Party)>,
    pub(crate) store: Store<Then>,
    /// Every owner that there ever was; the last one of a pod is the one that runs, if any does.
    pub(crate) owners: Vec<Owner>,
    pub(crate) by_session: BTreeMap<SessionId, usize>,
    /// How far the wall clock of each pod is off.
    pub(crate) clock_ms: Vec<i64>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) control: Control,
    pub(crate) devices: Vec<Device>,
    pub(crate) book: Book,
    pub(crate) messages: u64,
    pub(crate) groups: Vec<GroupId>,
    /// Accounts that do not exist, and are taken into groups.
    pub(crate) nobodies: Vec<AccountId>,
    /// What some device knows to be erased in groups.
    pub(crate) erased_in_groups: BTreeSet<(GroupId, MsgId)>,
    /// Who wished to block whom at some time.
    pub(crate) blocked_once: BTreeSet<(AccountId, AccountId)>,
    pub(crate) conns: u64,
    /// Folds every event into the trace.
    trace: u64,
    pub(crate) healed: bool,
    /// Since when all is settled.
    settled_at: Option<u64>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let count = ShardCount::new(plan.shards).expect("a plan has a power of two");
        let mut world = Self {
            count,
            agenda: Agenda::new(),
            random: Random::new(plan.seed ^ 0x1915),
            network: Network::new(plan.slow_per_mille),
            parties: BTreeMap::new(),
            store: Store::new(),
            owners: Vec::new(),
            by_session: BTreeMap::new(),
            clock_ms: vec![0; plan.pods.len()],
            edges: (0..EDGES).map(|_| Edge::default()).collect(),
            control: Control::new(count),
            devices: Vec::new(),
            book: Book::default(),
            messages: 0,
            groups: Vec::new(),
            nobodies: Vec::new(),
            erased_in_groups: BTreeSet::new(),
            blocked_once: BTreeSet::new(),
            conns: 0,
            trace: 0,
            healed: false,
            settled_at: None,
            plan,
        };
        world.populate();
        for pod in 0..world.plan.pods.len() {
            let us = world.random.between(0, 200_000);
            world.agenda.after(us, Event::Start { pod });
        }
        world.agenda.after(1_000, Event::Govern);
        for (index, deed) in world.plan.deeds.iter().enumerate() {
            world.agenda.at(deed.at, Event::Deed(index));
        }
        for (index, fault) in world.plan.faults.iter().enumerate() {
            world.agenda.at(fault.at, Event::Fault(index));
        }
        world.agenda.at(world.plan.healed_at, Event::Heal);
        world
    }

    /// Runs to the end: until everything is settled after the healing, or does not settle.
    pub(crate) fn run(&mut self) {
        let end = self.plan.healed_at + SETTLING_US;
        while let Some(event) = self.agenda.next(end) {
            assert!(self.agenda.count() < EVENTS_MAX, "so many events mean that something storms");
            self.fold(&event);
            self.happen(event);
            if self.healed && self.stays_settled() {
                break;
            }
        }
        self.finish();
    }

    /// How many events there were, and what they fold to.
    pub(crate) fn trace(&self) -> (u64, u64) {
        (self.agenda.count(), self.trace)
    }

    fn fold(&mut self, event: &Event) {
        let mut mix = |value: u64| {
            self.trace = (self.trace ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        };
        mix(self.agenda.now());
        mix(match event {
            Event::Store(_) => 1,
            Event::Packet { stream, .. } => 2 + (stream.0 << 8),
            Event::Closed { stream, .. } | Event::GiveUp { stream } => 3 + (stream.0 << 8),
            Event::Tick { owner, lane } => 4 + ((*owner as u64) << 8) + (u64::from(*lane) << 32),
            Event::Fence { owner, .. } => 5 + ((*owner as u64) << 8),
            Event::Again { owner, .. } | Event::Call { owner, .. } => 6 + ((*owner as u64) << 8),
            Event::Report { owner } | Event::Heard { owner, .. } => 7 + ((*owner as u64) << 8),
            Event::Start { pod } => 8 + ((*pod as u64) << 8),
            Event::Thaw { owner } => 9 + ((*owner as u64) << 8),
            Event::Govern | Event::MoveOver(_) | Event::Routes { .. } | Event::Network => 10,
            Event::Device { device, .. } => 11 + ((*device as u64) << 8),
            Event::Attach { conn, .. } => 12 + (conn << 8),
            Event::Deed(index) => 13 + ((*index as u64) << 8),
            Event::Fault(index) => 14 + ((*index as u64) << 8),
            Event::Heal => 15,
        });
    }

    fn happen(&mut self, event: Event) {
        if let Some(owner) = self.owner_of(&event) {
            let owner = &mut self.owners[owner];
            if !owner.alive {
                return;
            }
            if owner.frozen {
                owner.deferred.push(event);
                return;
            }
        }
        match event {
            Event::Store(step) => self.go_on(step),
            Event::Packet { stream, to, packet } => self.arrive(stream, to, packet),
            Event::Closed { party, stream } => self.closed(party, stream),
            Event::GiveUp { stream } => self.give_up(stream),
            Event::Tick { owner, lane } => self.tick(owner, lane),
            Event::Fence { owner, turn } => self.idle_fence_read(owner, turn),
            Event::Again { owner, again } => self.again(owner, again),
            Event::Call { owner, call } => self.call(owner, call),
            Event::Report { owner } => self.report(owner),
            Event::Heard { owner, report } => self.heard(owner, report),
            Event::Start { pod } => self.start(pod),
            Event::Thaw { owner } => self.thaw(owner),
            Event::Govern => self.govern(),
            Event::MoveOver(shard) => {
                self.control.moving.remove(&shard);
            }
            Event::Routes { node } => self.learn_routes(node),
            Event::Device { device, wake } => self.wake(device, wake),
            Event::Attach { edge, conn } => self.attach(edge, conn),
            Event::Deed(index) => self.act(self.plan.deeds[index]),
            Event::Fault(index) => self.break_something(self.plan.faults[index]),
            Event::Heal => self.heal(),
            Event::Network => self.network_goes_on(),
        }
    }

    /// The owner that an event happens to: one that is frozen lives it later.
    fn owner_of(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Tick { owner, .. }
            | Event::Fence { owner, .. }
            | Event::Again { owner, .. }
            | Event::Call { owner, .. }
            | Event::Report { owner } => Some(*owner),
            Event::Packet { stream, to, .. } => match (self.parties.get(stream)?, to) {
                ((Party::Owner(owner, _), _), End::Opener)
                | ((_, Party::Owner(owner, _)), End::Other) => Some(*owner),
                _ => None,
            },
            Event::Closed { party: Party::Owner(owner, _), .. } => Some(*owner),
            Event::Store(_)
            | Event::Closed { .. }
            | Event::GiveUp { .. }
            | Event::Heard { .. }
            | Event::Start { .. }
            | Event::Thaw { .. }
            | Event::Govern
            | Event::MoveOver(_)
            | Event::Routes { .. }
            | Event::Device { .. }
            | Event::Attach { .. }
            | Event::Deed(_)
            | Event::Fault(_)
            | Event::Heal
            | Event::Network => None,
        }
    }

    /// What the clocks of a pod say.
    pub(crate) fn now_at(&self, pod: usize) -> Now {
        let now = self.agenda.now();
        let wall = WALL_MS + now / 1000;
        let wall = wall.saturating_add_signed(self.clock_ms[pod]);
        Now { wall: WallMs(wall), mono: MonoUs(1_000_000 + now) }
    }

    /// The wall clock of an edge.
    pub(crate) fn wall(&self) -> WallMs {
        WallMs(WALL_MS + self.agenda.now() / 1000)
    }

    pub(crate) fn now(&self) -> u64 {
        self.agenda.now()
    }

    /// The store and what it needs.
    pub(crate) fn store(&mut self) -> (&mut Store<Then>, Around<'_, Event, Packet>) {
        let Self { store, agenda, network, random, .. } = self;
        (store, Around { agenda, network, random })
    }

    fn go_on(&mut self, step: Step) {
        let (store, mut around) = self.store();
        if let Some(done) = store.step(step, &mut around) {
            self.stored(done);
        }
    }

    /// A statement of an owner ended.
    pub(crate) fn stored(&mut self, done: Done<Then>) {
        let owner = &mut self.owners[done.then.owner];
        if !owner.alive {
            return;
        }
        if owner.frozen {
            owner.deferred_answers.push(done);
            return;
        }
        self.answered(done);
    }

    fn arrive(&mut self, stream: StreamNo, to: End, packet: Packet) {
        let now = self.now();
        let Some(packet) = self.network.arrive(stream, to, packet, now) else { return };
        self.take_packet(stream, to, packet);
    }

    fn take_packet(&mut self, stream: StreamNo, to: End, packet: Packet) {
        let Some((opener, other)) = self.parties.get(&stream).copied() else { return };
        let party = match to {
            End::Opener => opener,
            End::Other => other,
        };
        match party {
            Party::Device(device) => self.device_takes(device, stream, packet),
            Party::Edge(edge) => self.edge_takes(edge, stream, packet),
            Party::Owner(owner, lane) => self.owner_takes(owner, lane, stream, packet),
        }
    }

    /// Opens a stream; nothing when the nodes are cut off from each other.
    pub(crate) fn connect(&mut self, opener: Party, other: Party) -> Option<StreamNo> {
        let (one, two) = (self.node(opener), self.node(other));
        if self.network.is_cut(one, two, self.now()) {
            return None;
        }
        let stream = self.network.open(one, two);
        self.parties.insert(stream, (opener, other));
        Some(stream)
    }

    fn node(&self, party: Party) -> Node {
        match party {
            Party::Device(_) => Node::People,
            Party::Edge(edge) => Node::Edge(edge),
            Party::Owner(owner, _) => Node::Pod(self.owners[owner].pod),
        }
    }

    /// Sends a packet from one end of a stream to the other.
    pub(crate) fn send(&mut self, stream: StreamNo, from: End, packet: Packet) {
        let (now, to) = (self.now(), from.opposite());
        if let Some(at) = self.network.arrival(stream, to, now, &mut self.random) {
            self.agenda.at(at, Event::Packet { stream, to, packet });
        }
    }

    /// Closes a stream; each end learns it a moment later, unless it closed the stream itself.
    pub(crate) fn close_stream(&mut self, stream: StreamNo, by: Option<Party>) {
        if !self.network.close(stream) {
            return;
        }
        let Some((opener, other)) = self.parties.remove(&stream) else { return };
        for party in [opener, other] {
            if by != Some(party) {
                let us = self.network.delay(&mut self.random);
                self.agenda.after(us, Event::Closed { party, stream });
            }
        }
    }

    fn closed(&mut self, party: Party, stream: StreamNo) {
        match party {
            Party::Device(device) => self.device_lost(device, stream),
            Party::Edge(edge) => self.edge_lost(edge, stream),
            Party::Owner(owner, lane) => self.owner_lost(owner, lane, stream),
        }
    }

    /// Cuts two nodes off each other for a while.
    pub(crate) fn cut(&mut self, one: Node, other: Node, us: u64) {
        let until = self.now() + us;
        self.network.cut(one, other, until);
        self.agenda.at(until + 1, Event::Network);
        for stream in self.network.between(one, Some(other)) {
            let patience = self.random.between(2_000_000, 4_000_000);
            self.agenda.after(patience, Event::GiveUp { stream });
        }
    }

    fn give_up(&mut self, stream: StreamNo) {
        let now = self.now();
        let cut = |(one, other)| self.network.is_cut(one, other, now);
        if self.network.ends(stream).is_some_and(cut) {
            self.close_stream(stream, None);
        }
    }

    fn network_goes_on(&mut self) {
        let now = self.now();
        for (stream, to, packet) in self.network.let_go(now) {
            self.agenda.after(1, Event::Packet { stream, to, packet });
        }
    }

    /// Whether all has been settled for a while: what is under way has arrived.
    fn stays_settled(&mut self) -> bool {
        let now = self.now();
        if !self.is_settled() {
            self.settled_at = None;
            return false;
        }
        let since = *self.settled_at.get_or_insert(now);
        now - since >= CALM_US
    }

    fn is_settled(&self) -> bool {
        self.now() > self.plan.healed_at + 1_000_000
            && self.devices.iter().all(Device::is_settled)
            && self.is_quiet()
            && self.presences_are_true()
            && self.receipts_arrived()
            && self.groups_are_settled()
    }
}
