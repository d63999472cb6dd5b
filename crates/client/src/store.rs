//! The device's own durable memory: who it is, how far it has read, what it has sent and not heard of.
//!
//! A store keeps records in the order in which they were appended and can tell the state that they add
//! up to. It decides nothing: what to record, and what waits for it, is the session's.

mod file;
mod format;
mod memory;
mod state;

use bytes::Bytes;
use iris_core::id::{AccountId, DeviceNo, GroupId};
use iris_core::mark::Mark;
use iris_core::seq::{ClientSeq, InboxSeq};

use crate::groups::KnownGroup;
use crate::key::Seed;
use crate::place::Place;

pub use file::FileStore;
pub use memory::MemoryStore;
pub use state::{HistoryMax, State};

/// Who the device belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub handle: String,
    /// The tenant.
    pub tenant: String,
    /// The account.
    pub account: AccountId,
    /// The device's number in the account.
    pub device: DeviceNo,
    /// What its owner calls the device.
    pub device_name: String,
}

/// What the device shows to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// For HELLO.
    pub access: String,
    /// When the access token ends, wall-clock milliseconds.
    pub access_until_ms: u64,
    /// For a new access token, once.
    pub refresh: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens(until {} ms)", self.access_until_ms)
    }
}

/// One thing to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The device's key.
    Key(Seed),
    /// Whose device it is.
    Login(Login),
    /// New tokens; the ones before are worth nothing any more.
    Tokens(Tokens),
    /// A number is bound to a message, as the payload of its SEND.
    Bound {
        /// The number.
        client_seq: ClientSeq,
        /// The payload.
        send: Bytes,
    },
    /// Everything up to this number is decided.
    Decided {
        /// The number.
        upto: ClientSeq,
    },
    /// Contiguous places of the inbox.
    Placed {
        /// The stream that they count in.
        stream_gen: u32,
        /// Never empty.
        places: Vec<Place>,
    },
    /// Messages of one large group's log, in its order.
    Logged {
        /// Never empty; none of them has a place in the inbox.
        messages: Vec<Place>,
    },
    /// What is known of groups is this.
    Groups {
        /// Those that the account was in before it had this device are known.
        listed: bool,
        /// Holes that the inbox had.
        holes: u64,
        /// The groups that changed.
        known: Vec<(GroupId, KnownGroup)>,
    },
    /// Conversations were received or read further.
    Marked {
        /// With these every change up to this version is here; 0 while more follow.
        version: u64,
        /// How far, by whom the conversation is with.
        marks: Vec<(AccountId, Mark)>,
    },
    /// The inbox goes on from elsewhere: what lies between is gone.
    Reset {
        /// The stream from now on.
        stream_gen: u32,
        /// The place before the next one.
        cursor: InboxSeq,
        /// Where the device's numbers begin anew; the undecided messages are bound again after this.
        numbers_from: Option<ClientSeq>,
    },
}

/// Why a store does not work. None of it goes away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process: close that one, or use another profile")]
    Locked(String),
    /// The file is not what was written.
    #[error("{path} is damaged at byte {offset}: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A later version wrote it.
    #[error("{0} was written by a later version of this program: upgrade")]
    TooNew(String),
    /// An append failed before: what is on the disk is unknown.
    #[error("an earlier write failed: start again")]
    Broken,
}

/// See the module.
pub trait Store: Send + 'static {
    /// What the records add up to.
    fn state(&self) -> &State;

    /// Appends records, in order. With `durable` they are on the disk when this returns.
    ///
    /// # Errors
    /// After an error nothing is known of these records, and the store refuses everything.
    fn append(&mut self, records: Vec<Record>, durable: bool) -> Result<(), StoreError>;

    /// Whether [`Store::append`] may take long, so that it must not run on an asynchronous thread.
    fn blocks(&self) -> bool;
}
