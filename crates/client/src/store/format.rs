//! Records as bytes: protobuf, so that a later version reads what an earlier one wrote.

use bytes::Bytes;
use iris_core::id::{AccountId, DeviceNo, GroupId};
use iris_core::seq::{ClientSeq, ConvSeq, InboxSeq};
use iris_proto::client as wire;
use iris_proto::client_frames::{marks_from_wire, receipt_to_wire};
use prost::Message as _;

use crate::groups::KnownGroup;
use crate::key::Seed;
use crate::place::Place;

use super::{Login, Record, Tokens};

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(bytes, tag = "1")]
    Key(Vec<u8>),
    #[prost(message, tag = "2")]
    Login(StoredLogin),
    #[prost(message, tag = "3")]
    Tokens(StoredTokens),
    #[prost(message, tag = "4")]
    Bound(StoredBound),
    #[prost(uint64, tag = "5")]
    Decided(u64),
    #[prost(message, tag = "6")]
    Placed(StoredPlaced),
    #[prost(message, tag = "7")]
    Reset(StoredReset),
    #[prost(message, tag = "8")]
    Marked(wire::Receipt),
    #[prost(message, tag = "9")]
    Logged(StoredLogged),
    #[prost(message, tag = "10")]
    Groups(StoredGroups),
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredLogin {
    #[prost(string, tag = "1")]
    handle: String,
    #[prost(string, tag = "2")]
    tenant: String,
    #[prost(bytes = "vec", tag = "3")]
    account: Vec<u8>,
    #[prost(uint32, tag = "4")]
    device: u32,
    #[prost(string, tag = "5")]
    device_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredTokens {
    #[prost(string, tag = "1")]
    access: String,
    #[prost(uint64, tag = "2")]
    access_until_ms: u64,
    #[prost(string, tag = "3")]
    refresh: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredBound {
    #[prost(uint64, tag = "1")]
    client_seq: u64,
    #[prost(bytes = "bytes", tag = "2")]
    send: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredPlaced {
    #[prost(uint32, tag = "1")]
    stream_gen: u32,
    #[prost(uint64, tag = "2")]
    first: u64,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<wire::InboxEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredReset {
    #[prost(uint32, tag = "1")]
    stream_gen: u32,
    #[prost(uint64, tag = "2")]
    cursor: u64,
    #[prost(uint64, tag = "3")]
    numbers_from: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredLogged {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<wire::InboxEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredGroups {
    #[prost(bool, tag = "1")]
    listed: bool,
    #[prost(uint64, tag = "2")]
    holes: u64,
    #[prost(message, repeated, tag = "3")]
    known: Vec<StoredGroup>,
}

/// A place of 0 is none.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredGroup {
    #[prost(bytes = "vec", tag = "1")]
    group: Vec<u8>,
    #[prost(uint64, tag = "2")]
    last: u64,
    #[prost(bool, tag = "3")]
    anchored: bool,
    #[prost(uint64, tag = "4")]
    until: u64,
    #[prost(uint64, tag = "5")]
    pulls: u64,
    #[prost(uint64, tag = "6")]
    gaps: u64,
    #[prost(bool, tag = "7")]
    guessed: bool,
    #[prost(uint64, tag = "8")]
    holes: u64,
}

/// Appends a record, with its length in front.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    let kind = match record {
        Record::Key(seed) => Kind::Key(seed.bytes().to_vec()),
        Record::Login(login) => Kind::Login(StoredLogin {
            handle: login.handle.clone(),
            tenant: login.tenant.clone(),
            account: login.account.to_bytes().to_vec(),
            device: login.device.0,
            device_name: login.device_name.clone(),
        }),
        Record::Tokens(tokens) => Kind::Tokens(StoredTokens {
            access: tokens.access.clone(),
            access_until_ms: tokens.access_until_ms,
            refresh: tokens.refresh.clone(),
        }),
        Record::Bound { client_seq, send } => {
            Kind::Bound(StoredBound { client_seq: client_seq.0, send: send.clone() })
        }
        Record::Decided { upto } => Kind::Decided(upto.0),
        Record::Placed { stream_gen, places } => Kind::Placed(StoredPlaced {
            stream_gen: *stream_gen,
            first: places.first().map_or(0, |place| place.seq.0),
            entries: places.iter().map(Place::to_wire).collect(),
        }),
        Record::Reset { stream_gen, cursor, numbers_from } => Kind::Reset(StoredReset {
            stream_gen: *stream_gen,
            cursor: cursor.0,
            numbers_from: numbers_from.map_or(0, |seq| seq.0),
        }),
        Record::Marked { version, marks } => Kind::Marked(receipt_to_wire(marks, Some(*version))),
        Record::Logged { messages } => {
            Kind::Logged(StoredLogged { entries: messages.iter().map(Place::to_wire).collect() })
        }
        Record::Groups { listed, holes, known } => Kind::Groups(StoredGroups {
            listed: *listed,
            holes: *holes,
            known: known.iter().map(group_to_stored).collect(),
        }),
    };
    let stored = Stored { kind: Some(kind) };
    out.extend(stored.encode_length_delimited_to_vec());
}

/// The records of a batch; nothing when they are not what [`encode`] writes, or of a later version.
pub(super) fn decode(mut batch: Bytes) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !batch.is_empty() {
        let stored = Stored::decode_length_delimited(&mut batch).ok()?;
        records.push(record(stored.kind?)?);
    }
    Some(records)
}

fn record(kind: Kind) -> Option<Record> {
    Some(match kind {
        Kind::Key(seed) => Record::Key(Seed::from_bytes(&seed)?),
        Kind::Login(login) => Record::Login(Login {
            handle: login.handle,
            tenant: login.tenant,
            account: AccountId::from_bytes(&login.account).ok()?,
            device: DeviceNo(login.device),
            device_name: login.device_name,
        }),
        Kind::Tokens(tokens) => Record::Tokens(Tokens {
            access: tokens.access,
            access_until_ms: tokens.access_until_ms,
            refresh: tokens.refresh,
        }),
        Kind::Bound(bound) => {
            Record::Bound { client_seq: ClientSeq(bound.client_seq), send: bound.send }
        }
        Kind::Decided(upto) => Record::Decided { upto: ClientSeq(upto) },
        Kind::Placed(placed) => Record::Placed {
            stream_gen: placed.stream_gen,
            places: (placed.first..)
                .zip(placed.entries)
                .map(|(seq, entry)| Place::from_wire(InboxSeq(seq), entry).ok())
                .collect::<Option<_>>()?,
        },
        Kind::Marked(receipt) => marked(receipt)?,
        Kind::Logged(logged) => Record::Logged {
            messages: (logged.entries.into_iter())
                .map(|entry| Place::from_wire(InboxSeq(0), entry).ok())
                .collect::<Option<_>>()?,
        },
        Kind::Groups(groups) => Record::Groups {
            listed: groups.listed,
            holes: groups.holes,
            known: groups.known.iter().map(group_from_stored).collect::<Option<_>>()?,
        },
        Kind::Reset(reset) => Record::Reset {
            stream_gen: reset.stream_gen,
            cursor: InboxSeq(reset.cursor),
            numbers_from: (reset.numbers_from > 0).then_some(ClientSeq(reset.numbers_from)),
        },
    })
}

fn marked(receipt: wire::Receipt) -> Option<Record> {
    let version = receipt.version;
    Some(Record::Marked { version, marks: marks_from_wire(receipt).ok()? })
}

fn group_to_stored((group, known): &(GroupId, KnownGroup)) -> StoredGroup {
    StoredGroup {
        group: group.to_bytes().to_vec(),
        last: known.last.0,
        anchored: known.anchored,
        until: known.until.map_or(0, |place| place.0),
        pulls: known.pulls.map_or(0, |place| place.0),
        gaps: known.gaps,
        guessed: known.guessed,
        holes: known.holes,
    }
}

fn group_from_stored(stored: &StoredGroup) -> Option<(GroupId, KnownGroup)> {
    let place = |number: u64| (number > 0).then_some(ConvSeq(number));
    let known = KnownGroup {
        last: ConvSeq(stored.last),
        anchored: stored.anchored,
        until: place(stored.until),
        pulls: place(stored.pulls),
        gaps: stored.gaps,
        guessed: stored.guessed,
        holes: stored.holes,
    };
    Some((GroupId::from_bytes(&stored.group).ok()?, known))
}
