//! The formats of Iris: what clients, pods, etcd and Cassandra exchange or keep, and the conversions
//! between them and the core's types.
//!
//! Conversions from bytes check every bound; conversions to bytes cannot fail. Nothing here decides.

pub mod client_frames;
pub mod coordinated_keys;
pub mod frame;
pub mod peer_signals;
pub mod stored_blocks;
mod stored_entries;
pub mod stored_groups;
pub mod stored_relations;
pub mod stored_rows;

macro_rules! generated {
    ($($(#[$doc:meta])* $name:ident = $package:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            clippy::all,
            clippy::use_self,
            reason = "generated; documented in the .proto"
        )]
        pub mod $name {
            tonic::include_proto!($package);
        }
    )*};
}

generated! {
    /// Payloads of the client protocol.
    client = "iris.client.v1",
    /// Between the pods of a region.
    peer = "iris.peer.v1",
    /// Between the control plane and the rest.
    control = "iris.control.v1",
    /// What etcd keeps.
    coordinated = "iris.coordinated.v1",
    /// Certificates for pods.
    issuer = "iris.issuer.v1",
    /// What Cassandra keeps.
    stored = "iris.stored.v1",
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not protobuf of this type.
    #[error("undecodable: {0}")]
    Undecodable(#[from] prost::DecodeError),
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is out of its bounds.
    #[error("{0} is out of bounds")]
    OutOfBounds(&'static str),
    /// A field is not an identifier.
    #[error(transparent)]
    Id(#[from] iris_core::id::IdError),
    /// The bytes were written by a later version.
    #[error("version {0} is newer than this program")]
    TooNew(u32),
    /// A later version says more in them.
    #[error("there is something in it that only a later version knows")]
    Later,
}
