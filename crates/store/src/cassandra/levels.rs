//! The consistency of every kind of statement, by what an acknowledgement promises.

use scylla::statement::{Consistency, SerialConsistency};

use super::AckPolicy;

/// The levels of one policy. A write at `write` and a read at `read` always share a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Levels {
    /// Plain writes: the log, fences, derived rows.
    pub(super) write: Consistency,
    /// Plain reads of the same.
    pub(super) read: Consistency,
    /// The electorate of compare-and-swaps.
    pub(super) serial: SerialConsistency,
    /// Serial reads: the same electorate.
    pub(super) serial_read: Consistency,
    /// The commit of a compare-and-swap, and plain reads of what those wrote. Each shares a replica with
    /// every quorum of the electorate, so what a compare-and-swap found is there for whoever saw its own.
    pub(super) commit: Consistency,
}

impl Levels {
    pub(super) fn of(policy: AckPolicy) -> Self {
        let everywhere = Self {
            write: Consistency::Quorum,
            read: Consistency::Quorum,
            serial: SerialConsistency::Serial,
            serial_read: Consistency::Serial,
            commit: Consistency::Quorum,
        };
        match policy {
            AckPolicy::HomeRegion => Self {
                write: Consistency::LocalQuorum,
                read: Consistency::LocalQuorum,
                serial: SerialConsistency::LocalSerial,
                serial_read: Consistency::LocalSerial,
                commit: Consistency::LocalQuorum,
            },
            AckPolicy::MajorityOfRegions => everywhere,
            AckPolicy::AllRegions => Self {
                write: Consistency::EachQuorum,
                read: Consistency::LocalQuorum,
                ..everywhere
            },
        }
    }
}
