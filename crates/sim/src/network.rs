//! Who can reach whom, and how long it takes.
//!
//! A stream is a TCP connection: in order, and lost as a whole. While its ends are cut off from each
//! other nothing arrives on it; what was sent arrives when they are whole again, or never.

use std::collections::{BTreeMap, VecDeque};

use crate::random::Random;

/// A place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Pod(usize),
    Edge(usize),
    Replica(usize),
    Control,
    /// All people: between them and the edges nothing is cut off, connections only end.
    People,
}

/// A stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamNo(pub(crate) u64);

/// An end of a stream: the one that opened it, or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Opener,
    Other,
}

impl End {
    pub(crate) const fn opposite(self) -> Self {
        match self {
            Self::Opener => Self::Other,
            Self::Other => Self::Opener,
        }
    }
}

#[derive(Debug)]
struct Stream<P> {
    opener: Node,
    other: Node,
    /// When the last packet to each end arrives.
    arrivals: [u64; 2],
    /// What waits for the network, for each end.
    held: [VecDeque<P>; 2],
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Network<P> {
    cuts: BTreeMap<(Node, Node), u64>,
    streams: BTreeMap<StreamNo, Stream<P>>,
    count: u64,
    slow_per_mille: u32,
}

/// One way between two nodes, on average.
const DELAY_US: u64 = 250;

impl<P> Network<P> {
    pub(crate) fn new(slow_per_mille: u32) -> Self {
        Self { cuts: BTreeMap::new(), streams: BTreeMap::new(), count: 0, slow_per_mille }
    }

    /// One way between two nodes; now and then something takes long.
    pub(crate) fn delay(&self, random: &mut Random) -> u64 {
        let mean = if random.chance(self.slow_per_mille) { 100 * DELAY_US } else { DELAY_US };
        20 + random.around(mean)
    }

    /// Cuts two nodes off each other up to a time.
    pub(crate) fn cut(&mut self, one: Node, other: Node, until: u64) {
        let known = self.cuts.entry(pair(one, other)).or_default();
        *known = until.max(*known);
    }

    pub(crate) fn is_cut(&self, one: Node, other: Node, now: u64) -> bool {
        self.cuts.get(&pair(one, other)).is_some_and(|until| *until > now)
    }

    /// Until when two nodes are cut off.
    pub(crate) fn cut_until(&self, one: Node, other: Node) -> u64 {
        self.cuts.get(&pair(one, other)).copied().unwrap_or_default()
    }

    pub(crate) fn open(&mut self, opener: Node, other: Node) -> StreamNo {
        self.count += 1;
        let number = StreamNo(self.count);
        let held = [VecDeque::new(), VecDeque::new()];
        self.streams.insert(number, Stream { opener, other, arrivals: [0, 0], held });
        number
    }

    /// The ends of a stream that is open.
    pub(crate) fn ends(&self, stream: StreamNo) -> Option<(Node, Node)> {
        self.streams.get(&stream).map(|stream| (stream.opener, stream.other))
    }

    /// The streams that are open between two nodes, or of one.
    pub(crate) fn between(&self, one: Node, other: Option<Node>) -> Vec<StreamNo> {
        let is = |stream: &Stream<P>| match other {
            Some(other) => pair(stream.opener, stream.other) == pair(one, other),
            None => stream.opener == one || stream.other == one,
        };
        self.streams.iter().filter(|(_, stream)| is(stream)).map(|(number, _)| *number).collect()
    }

    /// Ends a stream: what is under way on it is lost. Answers whether it was open.
    pub(crate) fn close(&mut self, stream: StreamNo) -> bool {
        self.streams.remove(&stream).is_some()
    }

    /// When something that is sent to an end now arrives; nothing when the stream is closed.
    pub(crate) fn arrival(
        &mut self,
        stream: StreamNo,
        to: End,
        now: u64,
        random: &mut Random,
    ) -> Option<u64> {
        let us = self.delay(random);
        let stream = self.streams.get_mut(&stream)?;
        let last = &mut stream.arrivals[index(to)];
        *last = (now + us).max(*last + 1);
        Some(*last)
    }

    /// Something arrives: it is answered, unless its ends are cut off; then it is held.
    pub(crate) fn arrive(&mut self, stream: StreamNo, to: End, packet: P, now: u64) -> Option<P> {
        let (opener, other) = self.ends(stream)?;
        let cut = self.is_cut(opener, other, now);
        let stream = self.streams.get_mut(&stream)?;
        if cut || !stream.held[index(to)].is_empty() {
            stream.held[index(to)].push_back(packet);
            return None;
        }
        Some(packet)
    }

    /// What was held for streams whose ends reach each other again.
    pub(crate) fn let_go(&mut self, now: u64) -> Vec<(StreamNo, End, P)> {
        let mut packets = Vec::new();
        let cuts = &self.cuts;
        for (number, stream) in &mut self.streams {
            let until = cuts.get(&pair(stream.opener, stream.other));
            if until.is_some_and(|until| *until > now) {
                continue;
            }
            for end in [End::Opener, End::Other] {
                let held = std::mem::take(&mut stream.held[index(end)]);
                packets.extend(held.into_iter().map(|packet| (*number, end, packet)));
            }
        }
        packets
    }
}

const fn index(end: End) -> usize {
    match end {
        End::Opener => 0,
        End::Other => 1,
    }
}

fn pair(one: Node, other: Node) -> (Node, Node) {
    if one <= other { (one, other) } else { (other, one) }
}
