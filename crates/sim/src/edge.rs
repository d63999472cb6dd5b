//! Edges: they pass frames on, and attach a connection to whoever serves its shard.

use std::collections::BTreeMap;

use iris_core::clock::WallMs;
use iris_core::code::Code;
use iris_core::id::{AccountId, DeviceNo, ShardId};
use iris_core::seq::InboxSeq;
use iris_core::shard::{Attach, Conn, Input, LinkNo, ToConn};

use crate::control::{Board, Whereabouts};
use crate::network::{End, Node, StreamNo};
use crate::packet::{Hello, Packet, ToDevice};
use crate::world::{Event, Party, World};

/// A client whose shard is between owners is tried again so often, and less often the longer it takes.
const RETRY_US: u64 = 20_000;
const RETRY_US_MAX: u64 = 250_000;
/// While no owner serves the client, its sends are answered after so long.
const OWNERLESS_US: u64 = 1_000_000;

/// An edge. See the module.
#[derive(Debug, Default)]
pub(crate) struct Edge {
    routes: Board,
    conns: BTreeMap<u64, EdgeConn>,
    links: BTreeMap<(usize, u8), StreamNo>,
}

/// A client's connection.
#[derive(Debug)]
struct EdgeConn {
    client: StreamNo,
    account: AccountId,
    device: DeviceNo,
    shard: ShardId,
    begun: WallMs,
    cursor: InboxSeq,
    told_cursor: InboxSeq,
    handed: InboxSeq,
    stream_gen: u32,
    window_messages: u32,
    window_bytes: u32,
    marks: u64,
    state: State,
    retry_us: u64,
    /// Since when nobody serves the client, however often owners were asked meanwhile.
    unserved_since: u64,
    /// The lowest number that came while nobody served the client, and has no answer.
    unanswered: Option<u64>,
    welcomed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Nowhere,
    Asked(StreamNo),
    Served(StreamNo),
}

impl EdgeConn {
    fn new(client: StreamNo, hello: Hello, shard: ShardId, (begun, now): (WallMs, u64)) -> Self {
        Self {
            client,
            account: hello.account,
            device: hello.device,
            shard,
            begun,
            cursor: hello.cursor,
            told_cursor: hello.cursor,
            handed: hello.cursor,
            stream_gen: hello.stream_gen,
            window_messages: hello.window_messages,
            window_bytes: hello.window_bytes,
            marks: hello.marks,
            state: State::Nowhere,
            retry_us: RETRY_US,
            unserved_since: now,
            unanswered: None,
            welcomed: false,
        }
    }

    fn is_at(&self, stream: StreamNo) -> bool {
        matches!(self.state, State::Asked(at) | State::Served(at) if at == stream)
    }
}

impl World {
    pub(crate) fn edge_learns(&mut self, edge: usize, shard: ShardId, known: Whereabouts) {
        let routes = &mut self.edges[edge].routes;
        if routes.get(&shard).is_none_or(|route| route.epoch < known.epoch) {
            routes.insert(shard, known);
            let waiting =
                |conn: &EdgeConn| conn.shard == shard && matches!(conn.state, State::Nowhere);
            let conns = self.edges[edge].conns.iter().filter(|(_, conn)| waiting(conn));
            let conns: Vec<_> = conns.map(|(number, _)| *number).collect();
            for conn in conns {
                self.attach(edge, conn);
            }
        }
    }

    pub(crate) fn edge_takes(&mut self, edge: usize, stream: StreamNo, packet: Packet) {
        match packet {
            Packet::Hello(hello) => {
                self.conns += 1;
                let (number, shard) = (self.conns, hello.account.shard(self.count));
                let times = (self.wall(), self.now());
                let conn = EdgeConn::new(stream, hello, shard, times);
                self.edges[edge].conns.insert(number, conn);
                self.attach(edge, number);
            }
            Packet::FromDevice(input) => self.pass_to_owner(edge, stream, *input),
            Packet::ToConn { conn, what } => self.pass_to_client(edge, stream, conn, what),
            Packet::Moved { shard, conn, to } => {
                if let Some(to) = to {
                    self.edge_learns(edge, shard, to);
                }
                self.moved_away(edge, stream, shard, conn);
            }
            Packet::ToDevice(_)
            | Packet::Attach(..)
            | Packet::Input(..)
            | Packet::Parcels(_)
            | Packet::Signal(..)
            | Packet::News(_) => unreachable!("nobody sends this to an edge"),
        }
    }

    /// The stream to the lane that serves a shard, opened where there is none.
    fn link_to(&mut self, edge: usize, shard: ShardId) -> Option<StreamNo> {
        let route = self.edges[edge].routes.get(&shard).copied()?;
        let lanes = self.owners[route.owner].lane_count()?;
        let lane = u8::try_from(shard.get() % u16::from(lanes)).expect("few lanes");
        let key = (route.owner, lane);
        if let Some(stream) = self.edges[edge].links.get(&key) {
            return Some(*stream);
        }
        let stream = self.connect(Party::Edge(edge), Party::Owner(route.owner, lane))?;
        self.edges[edge].links.insert(key, stream);
        Some(stream)
    }

    /// Asks the owner of a connection's shard to serve it, if one is known.
    pub(crate) fn attach(&mut self, edge: usize, number: u64) {
        self.put_off_unanswered(edge, number);
        let Some(conn) = self.edges[edge].conns.get(&number) else { return };
        if !matches!(conn.state, State::Nowhere) {
            return;
        }
        let shard = conn.shard;
        let Some(link) = self.link_to(edge, shard) else {
            return self.try_attach_later(edge, number);
        };
        let Some(mut conn) = self.edges[edge].conns.remove(&number) else { return };
        // Each time it has another number: what an owner says to an earlier attachment is not for this
        // one, though it comes by the same stream.
        self.conns += 1;
        let number = self.conns;
        conn.state = State::Asked(link);
        conn.told_cursor = conn.cursor;
        let attach = Attach {
            conn: Conn { link: LinkNo(0), id: number },
            account: conn.account,
            device: conn.device,
            cursor: conn.cursor,
            delivered: conn.handed,
            stream_gen: conn.stream_gen,
            window_messages: conn.window_messages,
            window_bytes: conn.window_bytes,
            marks: conn.marks,
            begun: conn.begun,
        };
        self.edges[edge].conns.insert(number, conn);
        self.send(link, End::Opener, Packet::Attach(attach, shard));
    }

    fn try_attach_later(&mut self, edge: usize, conn: u64) {
        let Some(state) = self.edges[edge].conns.get_mut(&conn) else { return };
        let us = state.retry_us;
        state.retry_us = (2 * us).min(RETRY_US_MAX);
        self.agenda.after(us, Event::Attach { edge, conn });
    }

    fn conn_of(&self, edge: usize, client: StreamNo) -> Option<u64> {
        let conns = self.edges[edge].conns.iter();
        conns.filter(|(_, conn)| conn.client == client).map(|(number, _)| *number).next()
    }

    /// A frame of a device: passed on as it is, or answered here while nobody serves it.
    fn pass_to_owner(&mut self, edge: usize, client: StreamNo, mut input: Input) {
        let Some(number) = self.conn_of(edge, client) else { return };
        let Some(conn) = self.edges[edge].conns.get_mut(&number) else { return };
        if let Input::Ack { seq, .. } = &input {
            conn.cursor = conn.cursor.max(*seq);
        }
        input.conn_mut().expect("devices send what has a connection").id = number;
        match (conn.state, &input) {
            (State::Served(link), _) => {
                let shard = conn.shard;
                self.send(link, End::Opener, Packet::Input(shard, Box::new(input)));
            }
            (State::Nowhere | State::Asked(_), Input::Send { send, .. }) if conn.welcomed => {
                let lowest = conn.unanswered.get_or_insert(send.client_seq.0);
                *lowest = send.client_seq.0.min(*lowest);
                self.put_off_unanswered(edge, number);
            }
            _ => {}
        }
    }

    /// Tells a client that nobody serves for a while to send again.
    fn put_off_unanswered(&mut self, edge: usize, number: u64) {
        let now = self.now();
        let Some(conn) = self.edges[edge].conns.get_mut(&number) else { return };
        if now - conn.unserved_since >= OWNERLESS_US
            && let Some(from) = conn.unanswered.take()
        {
            let client = conn.client;
            let what = ToDevice::SendAgain { from, after_ms: 500, another_owner: false };
            self.send(client, End::Other, Packet::ToDevice(what));
        }
    }

    fn pass_to_client(&mut self, edge: usize, stream: StreamNo, number: u64, what: ToConn) {
        let Some(conn) = self.edges[edge].conns.get_mut(&number).filter(|c| c.is_at(stream)) else {
            return;
        };
        let client = conn.client;
        match what {
            ToConn::Attached(attached) => {
                conn.state = State::Served(stream);
                conn.retry_us = RETRY_US;
                conn.unanswered = None;
                let (shard, cursor) = (conn.shard, conn.cursor);
                if cursor > conn.told_cursor {
                    conn.told_cursor = cursor;
                    let at = Conn { link: LinkNo(0), id: number };
                    let ack = Input::Ack { conn: at, seq: cursor };
                    self.send(stream, End::Opener, Packet::Input(shard, Box::new(ack)));
                }
                let Some(conn) = self.edges[edge].conns.get_mut(&number) else { return };
                let what = if conn.welcomed && attached.snapshot_needed {
                    ToDevice::Error(Code::CursorTooOld)
                } else if conn.welcomed {
                    self.book.sometimes.reattached += 1;
                    let from = attached.next_client_seq.0;
                    ToDevice::SendAgain { from, after_ms: 0, another_owner: true }
                } else {
                    conn.welcomed = true;
                    conn.stream_gen = attached.stream_gen;
                    conn.handed = conn.handed.max(attached.start);
                    ToDevice::Shard(ToConn::Attached(attached))
                };
                self.send(client, End::Other, Packet::ToDevice(what));
            }
            ToConn::Closed { code: Code::OwnerMoving, .. } => self.go_nowhere(edge, number),
            ToConn::Closed { code, .. } => {
                self.edges[edge].conns.remove(&number);
                self.send(client, End::Other, Packet::ToDevice(ToDevice::Error(code)));
            }
            what @ (ToConn::SendAck { .. }
            | ToConn::SendNack { .. }
            | ToConn::Deliver { .. }
            | ToConn::Marks { .. }
            | ToConn::Presence { .. }
            | ToConn::Typing(_)
            | ToConn::Head { .. }
            | ToConn::LogPage { .. }
            | ToConn::Page { .. }
            | ToConn::Result { .. }) => {
                if let ToConn::Marks { version: Some(version), .. } = &what {
                    conn.marks = conn.marks.max(*version);
                }
                if let ToConn::Deliver { items, .. } = &what
                    && let Some(last) = items.last()
                {
                    conn.handed = conn.handed.max(last.seq);
                }
                // WELCOME comes first, whatever an owner does.
                if conn.welcomed {
                    self.send(client, End::Other, Packet::ToDevice(ToDevice::Shard(what)));
                }
            }
        }
    }

    fn go_nowhere(&mut self, edge: usize, number: u64) {
        let now = self.now();
        let Some(conn) = self.edges[edge].conns.get_mut(&number) else { return };
        if let State::Asked(link) | State::Served(link) = conn.state {
            let (shard, at) = (conn.shard, Conn { link: LinkNo(0), id: number });
            if matches!(conn.state, State::Served(_)) {
                conn.unserved_since = now;
            }
            conn.state = State::Nowhere;
            self.send(
                link,
                End::Opener,
                Packet::Input(shard, Box::new(Input::Detach { conn: at })),
            );
        }
        self.try_attach_later(edge, number);
    }

    fn moved_away(&mut self, edge: usize, stream: StreamNo, shard: ShardId, only: Option<u64>) {
        let leaves = |(number, conn): &(&u64, &EdgeConn)| {
            conn.is_at(stream) && conn.shard == shard && only.is_none_or(|one| one == **number)
        };
        let conns = self.edges[edge].conns.iter().filter(leaves);
        let conns: Vec<_> = conns.map(|(number, conn)| (*number, conn.state)).collect();
        for (number, state) in conns {
            self.go_nowhere(edge, number);
            if matches!(state, State::Served(_)) {
                // What was sent to the owner of before may have found the shard gone.
                if let Some(conn) = self.edges[edge].conns.get_mut(&number) {
                    conn.unanswered = Some(0);
                }
                self.attach(edge, number);
            }
        }
    }

    /// A stream of an edge broke: to an owner, or to a client.
    pub(crate) fn edge_lost(&mut self, edge: usize, stream: StreamNo) {
        if let Some(number) = self.conn_of(edge, stream) {
            self.detach(edge, number);
            return;
        }
        self.edges[edge].links.retain(|_, link| *link != stream);
        let now = self.now();
        let conns = self.edges[edge].conns.iter().filter(|(_, conn)| conn.is_at(stream));
        let conns: Vec<_> = conns.map(|(number, _)| *number).collect();
        for number in conns {
            let Some(conn) = self.edges[edge].conns.get_mut(&number) else { continue };
            let served = matches!(conn.state, State::Served(_));
            if served {
                conn.unserved_since = now;
            }
            conn.state = State::Nowhere;
            let client = conn.client;
            if served {
                // Nobody knows what the lost owner decided: everything undecided is sent again.
                let again = ToDevice::SendAgain { from: 0, after_ms: 300, another_owner: false };
                self.send(client, End::Other, Packet::ToDevice(again));
            }
            self.attach(edge, number);
        }
    }

    fn detach(&mut self, edge: usize, number: u64) {
        let Some(conn) = self.edges[edge].conns.remove(&number) else { return };
        if let State::Asked(link) | State::Served(link) = conn.state {
            let at = Conn { link: LinkNo(0), id: number };
            let input = Input::Detach { conn: at };
            self.send(link, End::Opener, Packet::Input(conn.shard, Box::new(input)));
        }
    }

    /// Streams to sessions that are dead for the control plane are closed.
    pub(crate) fn close_dead_links(&mut self, edge: usize) {
        let dead = |owner: usize| self.control.is_dead(owner);
        let links = self.edges[edge].links.iter().filter(|((owner, _), _)| dead(*owner));
        let links: Vec<_> = links.map(|(_, link)| *link).collect();
        for link in links {
            self.close_stream(link, Some(Party::Edge(edge)));
            self.edge_lost(edge, link);
        }
    }

    /// An edge dies: all of its streams break, and another one takes its place at once.
    pub(crate) fn kill_edge(&mut self, edge: usize) {
        self.edges[edge] = Edge { routes: self.control.board.clone(), ..Edge::default() };
        for stream in self.network.between(Node::Edge(edge), None) {
            self.close_stream(stream, Some(Party::Edge(edge)));
        }
    }
}
