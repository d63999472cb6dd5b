//! What the cases work with: identities that no other case has, and rows to write.

use std::sync::Arc;

use bytes::Bytes;
use iris_core::account::{Account, Device, InboxContent, InboxItem};
use iris_core::block::ChainHash;
use iris_core::clock::{Hlc, LogicalTimestamp, WallMs};
use iris_core::code::Code;
use iris_core::id::{
    AccountId, DeviceNo, GroupId, LaneId, LaneNo, MsgId, PublicKey, SessionId, ShardCount, ShardId,
    TenantNo,
};
use iris_core::message::{Address, Bodies, Message, Notice, Parcel};
use iris_core::seq::{BlockSeq, ClientSeq, Epoch, HomeGen, InboxSeq, OutboxSeq, ShardSeq};
use iris_core::shard::{AccountRow, Flush, InboxRun, OutboxItem, OutboxRow, PeerRow};
use iris_core::takeover::EpochRow;
use parking_lot::Mutex;

use crate::{Checkpoint, LogRow, ShardRef, Store, StoreError};

/// A store with a source of identities.
pub struct World<'a> {
    /// The store.
    pub store: &'a dyn Store,
    random: Mutex<fastrand::Rng>,
    next_shard: Mutex<u16>,
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl<'a> World<'a> {
    pub(super) fn new(store: &'a dyn Store, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let next_shard = Mutex::new(random.u16(..));
        Self { store, random: Mutex::new(random), next_shard }
    }

    /// A session that nobody knows.
    pub(super) fn session(&self) -> SessionId {
        SessionId::from_random(self.random.lock().u128(..).to_be_bytes())
    }

    /// A lane that nobody knows.
    pub(super) fn lane(&self) -> LaneId {
        LaneId { session: self.session(), lane: LaneNo(3) }
    }

    /// A shard that no other case uses.
    pub(super) fn shard(&self) -> ShardRef {
        let mut next = self.next_shard.lock();
        *next = next.wrapping_add(1);
        ShardRef { shard: ShardId::new(*next), home_gen: HomeGen(0) }
    }

    /// An account that nobody knows, wherever it lives.
    pub(super) fn account(&self) -> AccountId {
        let count = ShardCount::new(65_536).expect("a power of two");
        let mut random = self.random.lock();
        let shard = ShardId::new(random.u16(..));
        AccountId::in_shard(shard, count, TenantNo(0), random.u128(..))
    }

    /// A group that nobody knows, wherever it lives.
    pub(super) fn group(&self) -> GroupId {
        let count = ShardCount::new(65_536).expect("a power of two");
        let mut random = self.random.lock();
        let shard = ShardId::new(random.u16(..));
        GroupId::in_shard(shard, count, TenantNo(0), random.u128(..))
    }

    pub(super) fn random(&self) -> u64 {
        self.random.lock().u64(..)
    }

    /// An ownership of a new session.
    pub(super) fn ownership(&self, epoch: u32) -> EpochRow {
        EpochRow {
            epoch: Epoch(epoch),
            session: self.session(),
            lane: LaneNo(1),
            first_block: BlockSeq(10 * u64::from(epoch)),
            released_block: None,
        }
    }

    /// Writes a flush whose checkpoint is at its timestamp.
    pub(super) async fn flush(&self, shard: ShardRef, flush: &Flush) -> Result<(), String> {
        let damaged = self.store.materialize(shard, flush, checkpoint(flush)).await;
        match damaged.map_err(failed)? {
            damaged if damaged.is_empty() => Ok(()),
            damaged => Err(format!("rows that the store does not understand: {damaged:?}")),
        }
    }
}

/// An error of the store, where none was expected.
pub(super) fn failed(error: StoreError) -> String {
    format!("the store failed: {error:?}")
}

/// The timestamp of a position, and of the epoch that wrote it.
pub(super) fn at(epoch: u32, pos: u64) -> LogicalTimestamp {
    LogicalTimestamp::new(HomeGen(0), Epoch(epoch), ShardSeq(pos))
}

/// A checkpoint at a flush's own position, with other numbers that follow from it.
pub(super) fn checkpoint(flush: &Flush) -> Checkpoint {
    let epoch = u32::try_from(flush.timestamp.get() >> 36 & 0xf_ffff).expect("20 bits");
    Checkpoint {
        epoch: Epoch(epoch),
        pos: flush.checkpoint,
        block: BlockSeq(flush.checkpoint.0 + 7),
        clock: flush.clock,
    }
}

/// A flush of nothing but a checkpoint.
pub(super) fn empty_flush(epoch: u32, pos: u64) -> Flush {
    Flush::empty(ShardSeq(pos + 1), ShardSeq(pos), Hlc((1 << 40) + pos), at(epoch, pos))
}

/// A block of these bytes, with a hash that follows from its number.
pub(super) fn block(seq: u64, bytes: impl Into<Bytes>) -> LogRow {
    let prev = ChainHash::START.after(&seq.to_be_bytes());
    LogRow { seq: BlockSeq(seq), prev, block: bytes.into() }
}

/// A message of `size` bytes to an account.
pub(super) fn message(to: AccountId, client_seq: u64, size: usize) -> Arc<Message> {
    let mut body = vec![u8::try_from(client_seq % 251).expect("below 251"); size];
    for (place, byte) in body.iter_mut().zip(client_seq.to_be_bytes()) {
        *place = byte;
    }
    Arc::new(Message {
        sender: to,
        sender_device: DeviceNo(2),
        client_seq: ClientSeq(client_seq),
        msg_id: MsgId([9; 16]),
        to: Address::Account(to),
        bodies: Bodies::Shared(Bytes::from(body)),
        expires_at_ms: 1_900_000_000_000,
        clock: Hlc(1 << 41),
        about: None,
        group: None,
    })
}

/// A place with a message.
pub(super) fn place(to: AccountId, seq: u64, clock: u64, size: usize) -> InboxItem {
    let content = InboxContent::Message(message(to, seq, size));
    InboxItem { seq: InboxSeq(seq), clock: Hlc(clock), content }
}

/// Places with small messages that carry a clock, so that it is seen which row they came from.
pub(super) fn run(
    account: AccountId,
    places: impl IntoIterator<Item = u64>,
    clock: u64,
    timestamp: LogicalTimestamp,
) -> InboxRun {
    let items = places.into_iter().map(|seq| place(account, seq, clock, 40)).collect();
    InboxRun { account, items, timestamp }
}

/// A refusal, as it goes back.
pub(super) fn notice(account: AccountId) -> Notice {
    Notice {
        account,
        device: DeviceNo(2),
        client_seq: ClientSeq(8),
        msg_id: MsgId([4; 16]),
        code: Code::NoConversation,
    }
}

/// An account with two devices, one of them with everything that a device can have.
pub(super) fn account_row(
    account: AccountId,
    head: u64,
    timestamp: LogicalTimestamp,
) -> AccountRow {
    let mut state = Account::new(ShardSeq(head));
    state.head = InboxSeq(head);
    state.floor = InboxSeq(head / 2);
    let device = |name: &str| {
        Device::new(PublicKey([7; 32]), name.to_owned(), WallMs(1_700_000_000_000), InboxSeq(3))
    };
    let mut busy = device("phone");
    busy.revoked = true;
    busy.decided(ClientSeq(5), Some(Code::TooLarge));
    busy.refresh_current = 4;
    state.devices.insert(DeviceNo(1), busy);
    state.devices.insert(DeviceNo(2), device("tablet"));
    AccountRow { account, state, relations: false, memberships: false, timestamp }
}

/// What is known of a peer: numbers up to `next`, confirmed up to `confirmed`.
pub(super) fn peer_row(
    peer: ShardId,
    (next, confirmed): (u64, u64),
    forget_items: bool,
    timestamp: LogicalTimestamp,
) -> PeerRow {
    PeerRow {
        peer,
        out_next: OutboxSeq(next),
        out_confirmed: OutboxSeq(confirmed),
        in_next: OutboxSeq(next + 5),
        pos: ShardSeq(next),
        forget_items,
        timestamp,
    }
}

/// An item towards a peer.
pub(super) fn outbox_row(
    to: ShardId,
    account: AccountId,
    seq: u64,
    timestamp: LogicalTimestamp,
) -> OutboxRow {
    let parcel = if seq.is_multiple_of(2) {
        Parcel::Notice(notice(account))
    } else {
        Parcel::Message(message(account, seq, 100))
    };
    let item =
        OutboxItem { seq: OutboxSeq(seq), pos: ShardSeq(seq + 30), queued_at: WallMs(77), parcel };
    OutboxRow { to, item, timestamp }
}
