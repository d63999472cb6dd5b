//! Streams of edges and of other owners.

use iris_core::id::ShardId;
use iris_core::seq::OutboxSeq;
use iris_core::shard::{Input, LinkNo, OutboxItem};
use iris_core::signal::Signal;

use crate::network::{End, StreamNo};
use crate::packet::{Delivery, News, Packet};
use crate::world::{Event, Party, World};

use super::Again;

impl World {
    /// The number of a stream that somebody opened to a lane.
    fn link_of(&mut self, owner: usize, stream: StreamNo) -> LinkNo {
        let state = &mut self.owners[owner];
        if let Some((link, _)) = state.links.iter().find(|(_, known)| **known == stream) {
            return *link;
        }
        state.next_link += 1;
        let link = LinkNo(state.next_link);
        state.links.insert(link, stream);
        link
    }

    pub(crate) fn owner_takes(&mut self, owner: usize, lane: u8, stream: StreamNo, packet: Packet) {
        match packet {
            Packet::Attach(mut attach, shard) => {
                let link = self.link_of(owner, stream);
                attach.conn.link = link;
                let conn = attach.conn.id;
                if self.serves(owner, lane, shard) {
                    self.feed(owner, shard, Input::Attach(attach));
                } else {
                    self.turn_away(owner, stream, shard, Some(conn));
                }
            }
            Packet::Input(shard, mut input) => {
                let link = self.link_of(owner, stream);
                if let Some(conn) = input.conn_mut() {
                    conn.link = link;
                }
                if self.serves(owner, lane, shard) {
                    self.feed(owner, shard, *input);
                } else if let Some(conn) = input.conn_mut().map(|conn| conn.id)
                    && !matches!(*input, Input::Detach { .. })
                {
                    self.turn_away(owner, stream, shard, Some(conn));
                }
            }
            Packet::Parcels(parcels) => self.take_parcels(owner, lane, stream, parcels),
            Packet::Signal(to, signal) => {
                if self.serves(owner, lane, to) {
                    self.feed(owner, to, Input::Signal(signal));
                }
            }
            Packet::News(news) => self.take_news(owner, news),
            Packet::Hello(_)
            | Packet::FromDevice(_)
            | Packet::ToDevice(_)
            | Packet::ToConn { .. }
            | Packet::Moved { .. } => unreachable!("nobody sends this to an owner"),
        }
    }

    fn serves(&self, owner: usize, lane: u8, shard: ShardId) -> bool {
        self.owners[owner].lanes[usize::from(lane)].engine.shard(shard).is_some()
    }

    fn turn_away(&mut self, owner: usize, stream: StreamNo, shard: ShardId, conn: Option<u64>) {
        let to = self.owners[owner].moved.get(&shard).copied();
        self.send(stream, End::Other, Packet::Moved { shard, conn, to });
    }

    /// Tells every edge where a shard went.
    pub(super) fn tell_moved(&mut self, owner: usize, shard: ShardId) {
        let lane = self.owners[owner].lane_of(shard);
        let streams: Vec<_> = self.owners[owner].links.values().copied().collect();
        for stream in streams {
            let of_edge = |(opener, other): &(Party, Party)| {
                matches!(opener, Party::Edge(_)) && *other == Party::Owner(owner, lane)
            };
            if self.parties.get(&stream).is_some_and(of_edge) {
                self.turn_away(owner, stream, shard, None);
            }
        }
    }

    pub(crate) fn owner_lost(&mut self, owner: usize, lane: u8, stream: StreamNo) {
        let now = self.now_at(self.owners[owner].pod);
        let state = &mut self.owners[owner];
        state.outgoing.retain(|_, known| *known != stream);
        let link = state.links.iter().find(|(_, known)| **known == stream).map(|(link, _)| *link);
        if let Some(link) = link {
            state.links.remove(&link);
            state.lanes[usize::from(lane)].engine.drop_link(now, link);
        }
    }

    pub(super) fn push(
        &mut self,
        owner: usize,
        from: ShardId,
        to: ShardId,
        items: Vec<OutboxItem>,
    ) {
        let deliveries = items
            .into_iter()
            .map(|item| Delivery { from, to, seq: item.seq, parcel: item.parcel })
            .collect::<Vec<_>>();
        if self.owners[owner].routes.get(&to).is_some_and(|route| route.owner == owner) {
            return self.take_deliveries(owner, None, deliveries);
        }
        if let Some(stream) = self.stream_to(owner, to) {
            self.send(stream, End::Opener, Packet::Parcels(deliveries));
        }
    }

    /// Signals to a shard that is not in the same lane.
    pub(super) fn signal_to(&mut self, owner: usize, to: ShardId, signal: Signal) {
        if self.owners[owner].routes.get(&to).is_some_and(|route| route.owner == owner) {
            // Another lane takes it once this one has done all that it is at.
            self.agenda.after(1, Event::Again { owner, again: Again::Signal { to, signal } });
        } else if let Some(stream) = self.stream_to(owner, to) {
            self.send(stream, End::Opener, Packet::Signal(to, signal));
        }
    }

    /// A signal of a shard of another lane of the same session.
    pub(super) fn signal_here(&mut self, owner: usize, to: ShardId, signal: Signal) {
        let state = &self.owners[owner];
        if state.alive && self.serves(owner, state.lane_of(to), to) {
            self.feed(owner, to, Input::Signal(signal));
        }
    }

    /// The stream to the lane of another session that serves a shard, begun where there is none.
    fn stream_to(&mut self, owner: usize, to: ShardId) -> Option<StreamNo> {
        let route = self.owners[owner].routes.get(&to).copied()?;
        let lanes = self.owners[route.owner].lane_count()?;
        let lane = u8::try_from(to.get() % u16::from(lanes)).expect("few lanes");
        let key = (route.owner, lane);
        if let Some(stream) = self.owners[owner].outgoing.get(&key) {
            return Some(*stream);
        }
        let stream = self.connect(Party::Owner(owner, 0), Party::Owner(route.owner, lane))?;
        self.owners[owner].outgoing.insert(key, stream);
        Some(stream)
    }

    fn take_parcels(&mut self, owner: usize, lane: u8, stream: StreamNo, parcels: Vec<Delivery>) {
        let link = self.link_of(owner, stream);
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            parcels.into_iter().partition(|delivery| self.serves(owner, lane, delivery.to));
        if let Some(delivery) = elsewhere.first() {
            let to = delivery.to;
            let known = self.owners[owner].moved.get(&to).copied();
            self.send(stream, End::Other, Packet::News(News::NotServing { to, known }));
        }
        self.take_deliveries(owner, Some(link), here);
    }

    fn take_deliveries(&mut self, owner: usize, link: Option<LinkNo>, parcels: Vec<Delivery>) {
        for Delivery { from, to, seq, parcel } in parcels {
            if !self.owners[owner].alive {
                return;
            }
            let lane = self.owners[owner].lane_of(to);
            if self.serves(owner, lane, to) {
                self.feed(owner, to, Input::Parcel { link, from, seq, parcel });
            }
        }
    }

    fn take_news(&mut self, owner: usize, news: News) {
        match news {
            News::Confirmed { from, to, upto } => {
                self.feed(owner, from, Input::Confirmed { to, upto });
            }
            News::Expected { from, to, next } => {
                self.feed(owner, from, Input::Expected { to, next });
            }
            News::NotServing { to, known } => {
                if let Some(known) = known {
                    self.learn_route(owner, to, known);
                }
            }
        }
    }

    pub(super) fn confirm(
        &mut self,
        owner: usize,
        to: ShardId,
        link: Option<LinkNo>,
        (from, upto): (ShardId, OutboxSeq),
    ) {
        self.tell_source(owner, link, News::Confirmed { from, to, upto });
    }

    pub(super) fn expect(
        &mut self,
        owner: usize,
        to: ShardId,
        link: Option<LinkNo>,
        (from, next): (ShardId, OutboxSeq),
    ) {
        self.tell_source(owner, link, News::Expected { from, to, next });
    }

    fn tell_source(&mut self, owner: usize, link: Option<LinkNo>, news: News) {
        match link {
            Some(link) => {
                if let Some(stream) = self.owners[owner].links.get(&link).copied() {
                    self.send(stream, End::Other, Packet::News(news));
                }
            }
            None => self.take_news(owner, news),
        }
    }

    /// A shard is somewhere else, by somebody's word.
    fn learn_route(&mut self, owner: usize, shard: ShardId, known: crate::control::Whereabouts) {
        let routes = &mut self.owners[owner].routes;
        if routes.get(&shard).is_none_or(|route| route.epoch < known.epoch) {
            routes.insert(shard, known);
            self.peer_ready(owner, shard);
        }
    }

    /// A destination can be reached, or can be reached elsewhere.
    pub(crate) fn peer_ready(&mut self, owner: usize, to: ShardId) {
        let waiting: Vec<_> = self.owners[owner]
            .lanes
            .iter()
            .flat_map(|lane| lane.engine.shards())
            .filter(|shard| shard.wanted_peers().contains(&to))
            .map(|shard| shard.key().id)
            .collect();
        for shard in waiting {
            if self.owners[owner].alive {
                self.feed(owner, shard, Input::PeerReady { to });
            }
        }
    }
}

impl super::Owner {
    /// How many lanes it has, while it lives.
    pub(crate) fn lane_count(&self) -> Option<u8> {
        self.alive.then(|| self.count())
    }
}
