//! Keys and values as bytes: numbers big-endian, so that keys sort as numbers do.

use bytes::Bytes;

use crate::StoreError;

/// The first byte of a key says what it is a key of. Pinned for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    /// The version of the format.
    Format = 1,
    /// (shard, home_gen, epoch): an ownership.
    Epoch = 2,
    /// (session, lane): where a lane ends.
    Seal = 3,
    /// (session): how many lanes it has.
    Lanes = 4,
    /// (session): who fenced it.
    Fence = 5,
    /// (session, lane, block): a block of the log.
    Block = 6,
    /// (shard): a checkpoint.
    Checkpoint = 7,
    /// (account): an account.
    Account = 8,
    /// (account, place): a place in an inbox.
    Place = 9,
    /// (shard, peer): what a shard knows of another.
    Peer = 10,
    /// (shard, peer, number): an item without confirmation.
    Item = 11,
    /// (shard, peer): up to where items were forgotten.
    Forgotten = 12,
    /// (tenant, handle): a name.
    Handle = 13,
    /// (account): what an account wishes of others.
    Relations = 14,
    /// (account, conversation, clock, place): where a message lies.
    Index = 15,
    /// (account, other): how far a conversation was received and read.
    Mark = 16,
    /// (account): the groups that it is in.
    Memberships = 17,
    /// (group): a group without its members.
    GroupState = 18,
    /// (group, account): a member of a group.
    GroupMember = 19,
    /// (group, place): a message of a group that is not small.
    GroupLog = 20,
    /// (shard, session): over what it panicked.
    Suspect = 21,
}

/// A key or a value that is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed(Vec<u8>);

impl Packed {
    pub(super) fn key(tag: Tag) -> Self {
        Self(vec![tag as u8])
    }

    pub(super) fn value() -> Self {
        Self(Vec::new())
    }

    pub(super) fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    pub(super) fn u16(self, number: u16) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn u32(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn u64(self, number: u64) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// Stored bytes that are taken apart from the front.
#[derive(Debug)]
pub(super) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let short = || StoreError::Corrupt("a stored value is too short".to_owned());
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, StoreError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, StoreError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> Bytes {
        Bytes::copy_from_slice(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_comes_apart_and_sorts_as_numbers() {
        let packed = Packed::value().u8(7).u16(300).u32(70_000).u64(1 << 40).raw(b"rest");
        let mut parts = Parts::of(packed.bytes());
        assert_eq!(parts.u8().unwrap(), 7);
        assert_eq!(parts.u16().unwrap(), 300);
        assert_eq!(parts.u32().unwrap(), 70_000);
        assert_eq!(parts.u64().unwrap(), 1 << 40);
        assert_eq!(parts.rest(), &b"rest"[..]);
        assert!(Parts::of(&[1, 2]).u64().is_err());
        let key = |number| Packed::key(Tag::Block).u64(number).into_vec();
        assert!(key(255) < key(256) && key(256) < key(1 << 33));
    }
}
