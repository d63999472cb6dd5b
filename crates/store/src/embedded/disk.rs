//! The disk: an ordered map whose writes are durable once [`Disk::sync`] returned. In a simulation it
//! is one in memory, which outlives whoever writes to it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::task::JoinError;

use super::codec::{Packed, Parts, Tag};
use crate::StoreError;

/// Locks of compare-and-swaps: keys share them, and so few that they always fit a cache.
const STRIPES: usize = 64;

/// See the module.
pub(super) struct Disk {
    kept: Kept,
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
    /// How many writes were handed to the journal.
    written: AtomicU64,
    /// How many of them are on the disk. Whoever holds it syncs for everybody who waits.
    synced: Arc<tokio::sync::Mutex<u64>>,
}

/// Where the rows are.
enum Kept {
    Files { database: Database, rows: Keyspace },
    Memory(RwLock<BTreeMap<Vec<u8>, Bytes>>),
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("written", &self.written).finish_non_exhaustive()
    }
}

impl Disk {
    pub(super) fn open(directory: &Path, format: u32) -> Result<Self, StoreError> {
        // The journal is flushed by `sync` alone: one place decides what is durable.
        let database = Database::builder(directory)
            .manual_journal_persist(true)
            .open()
            .map_err(|error| unopened(directory, &error))?;
        let rows = database
            .keyspace("rows", KeyspaceCreateOptions::default)
            .map_err(|error| unopened(directory, &error))?;
        let disk = Self::of(Kept::Files { database, rows });
        disk.check_format(directory, format)?;
        Ok(disk)
    }

    pub(super) fn in_memory() -> Self {
        Self::of(Kept::Memory(RwLock::default()))
    }

    fn of(kept: Kept) -> Self {
        Self {
            kept,
            stripes: std::iter::repeat_with(Mutex::default).take(STRIPES).collect(),
            hasher: RandomState::new(),
            written: AtomicU64::new(0),
            synced: Arc::default(),
        }
    }

    fn check_format(&self, directory: &Path, format: u32) -> Result<(), StoreError> {
        let key = Packed::key(Tag::Format);
        match self.get(&key)? {
            Some(found) => match Parts::of(&found).u32()? {
                found if found > format => Err(StoreError::Schema(format!(
                    "{} was written in format {found}, and this program knows formats up to \
                     {format}: use the newer program",
                    directory.display()
                ))),
                _ => Ok(()),
            },
            None => self.put(&key, Packed::value().u32(format)),
        }
    }

    /// The lock of whatever is compared and swapped under `key`.
    pub(super) fn lock(&self, key: &Packed) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(key.bytes());
        let index = usize::try_from(hash % (STRIPES as u64)).unwrap_or_default();
        self.stripes[index].lock()
    }

    pub(super) fn get(&self, key: &Packed) -> Result<Option<Bytes>, StoreError> {
        match &self.kept {
            Kept::Files { rows, .. } => {
                let found = rows.get(key.bytes()).map_err(unread)?;
                Ok(found.map(|value| Bytes::copy_from_slice(&value)))
            }
            Kept::Memory(rows) => Ok(rows.read().get(key.bytes()).cloned()),
        }
    }

    pub(super) fn put(&self, key: &Packed, value: Packed) -> Result<(), StoreError> {
        let mut batch = self.batch();
        batch.put(key, value);
        self.commit(batch)
    }

    pub(super) fn batch(&self) -> Batch {
        match &self.kept {
            Kept::Files { database, rows } => {
                Batch::Files { writes: database.batch(), rows: rows.clone() }
            }
            Kept::Memory(_) => Batch::Memory(Vec::new()),
        }
    }

    /// Every write of a batch or none, in memory at once and on the disk with the next sync.
    pub(super) fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        match (batch, &self.kept) {
            (Batch::Files { writes, .. }, _) => {
                writes.commit().map_err(|error| StoreError::Unknown(error.to_string()))?;
            }
            (Batch::Memory(writes), Kept::Memory(rows)) => {
                let mut rows = rows.write();
                for (key, value) in writes {
                    match value {
                        Some(value) => drop(rows.insert(key, value)),
                        None => drop(rows.remove(&key)),
                    }
                }
            }
            (Batch::Memory(_), Kept::Files { .. }) => {
                return Err(StoreError::Unavailable("a batch of another disk".to_owned()));
            }
        }
        self.written.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// The rows `from..=upto`, ascending.
    pub(super) fn range(&self, from: &Packed, upto: &Packed) -> Rows<'_> {
        match &self.kept {
            Kept::Files { rows, .. } => {
                let rows = rows.range(from.bytes()..=upto.bytes());
                Rows(Box::new(rows.map(|row| row.into_inner().map(shared).map_err(unread))))
            }
            Kept::Memory(rows) => {
                copied(rows, from.bytes().to_vec()..=upto.bytes().to_vec(), false)
            }
        }
    }

    /// The rows from one key to another, descending.
    pub(super) fn backwards(&self, from: &Packed, upto: &Packed) -> Rows<'_> {
        match &self.kept {
            Kept::Files { rows, .. } => {
                let rows = rows.range(from.bytes()..=upto.bytes()).rev();
                Rows(Box::new(rows.map(|row| row.into_inner().map(shared).map_err(unread))))
            }
            Kept::Memory(rows) => copied(rows, from.bytes().to_vec()..=upto.bytes().to_vec(), true),
        }
    }

    /// The rows of a prefix, descending.
    pub(super) fn newest(&self, prefix: &Packed) -> Rows<'_> {
        match &self.kept {
            Kept::Files { rows, .. } => {
                let rows = rows.prefix(prefix.bytes()).rev();
                Rows(Box::new(rows.map(|row| row.into_inner().map(shared).map_err(unread))))
            }
            Kept::Memory(rows) => copied(rows, below(prefix.bytes()), true),
        }
    }

    /// The rows of a prefix, ascending.
    pub(super) fn all(&self, prefix: &Packed) -> Rows<'_> {
        match &self.kept {
            Kept::Files { rows, .. } => {
                let rows = rows.prefix(prefix.bytes());
                Rows(Box::new(rows.map(|row| row.into_inner().map(shared).map_err(unread))))
            }
            Kept::Memory(rows) => copied(rows, below(prefix.bytes()), false),
        }
    }

    /// Returns once everything that was written before is on the disk.
    pub(super) async fn sync(&self) -> Result<(), StoreError> {
        let Kept::Files { database, .. } = &self.kept else { return Ok(()) };
        let mine = self.written.load(Ordering::Acquire);
        let mut synced = Arc::clone(&self.synced).lock_owned().await;
        if *synced >= mine {
            return Ok(());
        }
        let everything = self.written.load(Ordering::Acquire);
        let database = database.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = database.persist(PersistMode::SyncAll);
            if done.is_ok() {
                *synced = everything;
            }
            done
        });
        let done = done.await.map_err(interrupted)?;
        done.map_err(|error| StoreError::Unknown(format!("the disk did not sync: {error}")))
    }
}

/// Rows that are read one after another.
pub(super) struct Rows<'a>(Box<dyn Iterator<Item = Result<(Bytes, Bytes), StoreError>> + 'a>);

impl Iterator for Rows<'_> {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Writes that happen together.
pub(super) enum Batch {
    Files {
        writes: OwnedWriteBatch,
        rows: Keyspace,
    },
    /// What each key becomes; nothing is removed.
    Memory(Vec<(Vec<u8>, Option<Bytes>)>),
}

impl Batch {
    pub(super) fn put(&mut self, key: &Packed, value: Packed) {
        match self {
            Self::Files { writes, rows } => writes.insert(rows, key.bytes(), value.into_vec()),
            Self::Memory(writes) => {
                writes.push((key.bytes().to_vec(), Some(value.into_vec().into())));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        match self {
            Self::Files { writes, rows } => writes.remove(rows, key),
            Self::Memory(writes) => writes.push((key.to_vec(), None)),
        }
    }
}

/// Every key with a prefix. Keys are shorter than what is filled up with here.
fn below(prefix: &[u8]) -> RangeInclusive<Vec<u8>> {
    let mut last = prefix.to_vec();
    last.resize(prefix.len() + 256, u8::MAX);
    prefix.to_vec()..=last
}

fn copied(
    rows: &RwLock<BTreeMap<Vec<u8>, Bytes>>,
    range: RangeInclusive<Vec<u8>>,
    backwards: bool,
) -> Rows<'static> {
    if range.is_empty() {
        return Rows(Box::new(std::iter::empty()));
    }
    let rows = rows.read();
    let row = |(key, value): (&Vec<u8>, &Bytes)| Ok((Bytes::copy_from_slice(key), value.clone()));
    let mut found: Vec<_> = rows.range(range).map(row).collect();
    if backwards {
        found.reverse();
    }
    Rows(Box::new(found.into_iter()))
}

fn shared((key, value): (fjall::UserKey, fjall::UserValue)) -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value))
}

fn unread(error: fjall::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn unopened(directory: &Path, error: &fjall::Error) -> StoreError {
    let directory = directory.display();
    match error {
        fjall::Error::Locked => {
            StoreError::Unavailable(format!("{directory} is in use by another process"))
        }
        fjall::Error::InvalidVersion(_) => {
            StoreError::Schema(format!("{directory} was written by another program: {error}"))
        }
        _ => StoreError::Unavailable(format!("{directory} cannot be opened: {error}")),
    }
}

/// The runtime ended, or the work panicked, before it answered.
pub(super) fn interrupted(error: JoinError) -> StoreError {
    StoreError::Unknown(format!("interrupted: {error}"))
}
