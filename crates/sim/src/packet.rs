//! What people, edges and owners tell each other.

use iris_core::code::Code;
use iris_core::id::{AccountId, DeviceNo, ShardId};
use iris_core::message::Parcel;
use iris_core::seq::{InboxSeq, OutboxSeq};
use iris_core::shard::{Attach, Input, ToConn};
use iris_core::signal::Signal;

use crate::control::Whereabouts;

/// See the module.
#[derive(Debug)]
pub(crate) enum Packet {
    /// A device to an edge, first.
    Hello(Hello),
    /// A device to an edge: what is for its shard. The connection in it is the edge's to fill in.
    FromDevice(Box<Input>),
    /// An edge to a device.
    ToDevice(ToDevice),
    /// An edge to an owner.
    Attach(Attach, ShardId),
    /// An edge to an owner.
    Input(ShardId, Box<Input>),
    /// An owner to an edge.
    ToConn { conn: u64, what: ToConn },
    /// An owner to an edge: a shard is elsewhere; of one connection, or of all.
    Moved { shard: ShardId, conn: Option<u64>, to: Option<Whereabouts> },
    /// A shard to a shard: worth nothing later.
    Signal(ShardId, Signal),
    /// A source to a destination.
    Parcels(Vec<Delivery>),
    /// A destination to a source.
    News(News),
}

/// How a device begins a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello {
    pub(crate) account: AccountId,
    pub(crate) device: DeviceNo,
    pub(crate) cursor: InboxSeq,
    pub(crate) stream_gen: u32,
    pub(crate) window_messages: u32,
    pub(crate) window_bytes: u32,
    pub(crate) marks: u64,
}

/// What an edge tells a device.
#[derive(Debug)]
pub(crate) enum ToDevice {
    /// As the shard says it.
    Shard(ToConn),
    /// This number and all above it should be sent again. Where the shard has another owner, whatever
    /// the device watched and read is to be said again, too.
    SendAgain { from: u64, after_ms: u32, another_owner: bool },
    /// The end of the connection.
    Error(Code),
}

/// An item of an outbox on its way.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) from: ShardId,
    pub(crate) to: ShardId,
    pub(crate) seq: OutboxSeq,
    pub(crate) parcel: Parcel,
}

/// What a destination says of an outbox.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News {
    Confirmed { from: ShardId, to: ShardId, upto: OutboxSeq },
    Expected { from: ShardId, to: ShardId, next: OutboxSeq },
    NotServing { to: ShardId, known: Option<Whereabouts> },
}
