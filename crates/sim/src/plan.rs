//! A run, written down: the world, what people do in it, and what breaks.
//!
//! A seed draws a plan, and a plan with its seed is a run. A plan that fails is made smaller by leaving
//! parts of it out, and kept as a file.

mod draw;

pub(crate) use draw::NOBODIES;

use serde::{Deserialize, Serialize};

/// Everything that a run is made of but chance. Times are microseconds from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Draws delays, and whatever else is left to chance.
    pub seed: u64,
    /// How many shards there are: a power of two.
    pub shards: u32,
    /// How many lanes the sessions of each pod have.
    pub pods: Vec<u8>,
    /// How many devices each person has.
    pub people: Vec<u8>,
    /// Whether history is kept that every device has.
    pub history: bool,
    /// Messages that a device may send in a second.
    pub sends_per_second: u32,
    /// A block holds at most so many entries.
    pub block_entries: usize,
    /// Moves hand over entries whose replay needs at most so many rows.
    #[serde(default)]
    pub handed_max: usize,
    /// Whether a source hands over anything: it need not.
    #[serde(default)]
    pub hands_over: bool,
    /// How many groups there may be.
    #[serde(default)]
    pub groups: usize,
    /// Inboxes hold the messages of groups of so many in full.
    #[serde(default)]
    pub inline_members: usize,
    /// Inboxes hold the messages of groups of so many.
    #[serde(default)]
    pub pushed_members: usize,
    /// So many of a thousand requests take a hundred times as long as others.
    pub slow_per_mille: u32,
    /// When the last thing breaks is mended; from then on everything must settle.
    pub healed_at: u64,
    /// What people do.
    pub deeds: Vec<Deed>,
    /// What breaks.
    pub faults: Vec<Fault>,
}

/// Something that a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When.
    pub at: u64,
    /// Who.
    pub person: usize,
    /// On which of their devices.
    pub device: usize,
    /// What.
    pub act: Act,
}

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Writes to a person, or to nobody.
    Send {
        /// To whom; a number that no person has is an account that does not exist.
        to: usize,
    },
    /// Erases the newest message that it sent, for everybody.
    Erase,
    /// Writes the newest message that it sent anew.
    Edit,
    /// Reacts to the newest message that it has of a person.
    React {
        /// Of whom.
        of: usize,
    },
    /// Writes anew what is not its own: the newest message that it has of a person.
    Forge {
        /// Of whom.
        of: usize,
    },
    /// Reads what it has of a person.
    Read {
        /// Of whom.
        of: usize,
        /// Whether only its own devices may know.
        #[serde(default)]
        private: bool,
    },
    /// Watches whether a person is there, or does not any more.
    Watch {
        /// Whom.
        of: usize,
        /// Whether it does.
        on: bool,
    },
    /// Blocks a person, or does not any more.
    Block {
        /// Whom.
        whom: usize,
        /// Whether it does.
        on: bool,
    },
    /// Asks for a page of the conversation with a person.
    Fetch {
        /// With whom.
        with: usize,
    },
    /// Does something in a group.
    InGroup {
        /// Which one.
        group: usize,
        /// What.
        act: GroupAct,
    },
    /// Loses the connection and comes again.
    Reconnect,
    /// Reads nothing for so long: no acks, no credit.
    StopReading {
        /// For how long.
        us: u64,
    },
    /// Is switched off for so long.
    GoAway {
        /// For how long.
        us: u64,
    },
}

/// What a person may do in a group. People are the bits of a number; those above them are accounts that do
/// not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupAct {
    /// Makes it.
    Create {
        /// With whom.
        with: u32,
    },
    /// Takes people in.
    Add {
        /// Whom.
        who: u32,
    },
    /// Puts people out.
    Remove {
        /// Whom.
        who: u32,
    },
    /// Leaves it.
    Leave,
    /// Makes somebody an admin, or not any more.
    Promote {
        /// Whom.
        whom: usize,
        /// Whether they are to be one.
        admin: bool,
    },
    /// Lets only admins write and take people in, or everybody.
    Restrict {
        /// Whether only they may.
        on: bool,
    },
    /// Writes to it.
    Say {
        /// For which roster.
        roster: Roster,
    },
    /// Asks for a page of what is in the inbox of it.
    Look,
    /// Reads its log from the beginning.
    ReadLog,
    /// Reads its log on from what it has, whether it was told of more or not.
    Pry,
    /// Begins to write something.
    Type,
    /// Asks who is in it.
    Roster,
    /// Asks which groups its account is in.
    List,
}

/// A roster that a message is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Roster {
    /// Whichever there is.
    Any,
    /// The newest that the device knows.
    Known,
    /// The one before that.
    Old,
}

/// Something that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When.
    pub at: u64,
    /// For how long, where it lasts.
    pub us: u64,
    /// What.
    pub kind: Kind,
}

/// What may break, or be asked of the region at a bad time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `kill -9` of an owner; its pod starts a new one afterwards.
    KillOwner {
        /// Which pod.
        pod: usize,
    },
    /// An owner stands still, and goes on.
    FreezeOwner {
        /// Which pod.
        pod: usize,
    },
    /// An owner cannot reach one replica of the store.
    CutReplica {
        /// Which pod.
        pod: usize,
        /// Which replica.
        replica: usize,
    },
    /// An owner cannot reach the store.
    CutStore {
        /// Which pod.
        pod: usize,
    },
    /// Two owners cannot reach each other.
    CutOwners {
        /// The one.
        pod: usize,
        /// The other.
        other: usize,
    },
    /// An owner cannot reach the control plane.
    CutControl {
        /// Which pod.
        pod: usize,
    },
    /// An edge cannot reach an owner.
    CutEdge {
        /// Which edge.
        edge: usize,
        /// Which pod.
        pod: usize,
    },
    /// An edge is killed; another one takes its place at once.
    KillEdge {
        /// Which edge.
        edge: usize,
    },
    /// A replica of the store is down.
    StopReplica {
        /// Which.
        replica: usize,
    },
    /// All replicas but one are down.
    StopStore,
    /// A replica is slow.
    SlowReplica {
        /// Which.
        replica: usize,
    },
    /// What an owner writes takes long to reach any replica; what it reads does not.
    SlowWriter {
        /// Which pod.
        pod: usize,
    },
    /// Writes to a replica are lost, or come late.
    LoseWrites {
        /// Which.
        replica: usize,
    },
    /// Compare-and-swaps have no known outcome.
    BlurSwaps,
    /// The wall clock of an owner jumps.
    JumpClock {
        /// Which pod.
        pod: usize,
        /// By so many milliseconds.
        ms: i64,
    },
    /// The control plane takes an owner that is alive for dead.
    Misjudge {
        /// Which pod.
        pod: usize,
    },
    /// Two leaders order two owners to take over the same shards.
    TwoLeaders,
    /// A shard is moved.
    Move {
        /// Which.
        shard: u32,
        /// Where to.
        pod: usize,
    },
}

impl Kind {
    /// Its name, without what it hits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillOwner { .. } => "owner killed",
            Self::FreezeOwner { .. } => "owner frozen",
            Self::CutReplica { .. } => "owner cut off a replica",
            Self::CutStore { .. } => "owner cut off the store",
            Self::CutOwners { .. } => "owners cut off each other",
            Self::CutControl { .. } => "owner cut off the control plane",
            Self::CutEdge { .. } => "edge cut off an owner",
            Self::KillEdge { .. } => "edge killed",
            Self::StopReplica { .. } => "replica stopped",
            Self::StopStore => "store without a quorum",
            Self::SlowReplica { .. } => "replica slow",
            Self::SlowWriter { .. } => "writes of an owner slow",
            Self::LoseWrites { .. } => "writes lost or late",
            Self::BlurSwaps => "swaps of unknown outcome",
            Self::JumpClock { .. } => "clock jumps",
            Self::Misjudge { .. } => "live owner taken for dead",
            Self::TwoLeaders => "two leaders",
            Self::Move { .. } => "shard moved",
        }
    }
}
