//! The disk: an ordered map whose writes are durable once [`Disk::sync`] returned.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use parking_lot::{Mutex, MutexGuard};
use tokio::task::JoinError;

use super::codec::{Packed, Parts, Tag};
use crate::StoreError;

/// Locks of compare-and-swaps: keys share them, and so few that they always fit a cache.
const STRIPES: usize = 64;

/// See the module.
pub(super) struct Disk {
    database: Database,
    rows: Keyspace,
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
    /// How many writes were handed to the journal.
    written: AtomicU64,
    /// How many of them are on the disk. Whoever holds it syncs for everybody who waits.
    synced: Arc<tokio::sync::Mutex<u64>>,
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
        let disk = Self {
            database,
            rows,
            stripes: std::iter::repeat_with(Mutex::default).take(STRIPES).collect(),
            hasher: RandomState::new(),
            written: AtomicU64::new(0),
            synced: Arc::default(),
        };
        disk.check_format(directory, format)?;
        Ok(disk)
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
        let found = self.rows.get(key.bytes()).map_err(unread)?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub(super) fn put(&self, key: &Packed, value: Packed) -> Result<(), StoreError> {
        let mut batch = self.batch();
        batch.put(key, value);
        self.commit(batch)
    }

    pub(super) fn batch(&self) -> Batch {
        Batch { writes: self.database.batch(), rows: self.rows.clone() }
    }

    /// Every write of a batch or none, in memory at once and on the disk with the next sync.
    pub(super) fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        batch.writes.commit().map_err(|error| StoreError::Unknown(error.to_string()))?;
        self.written.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// The rows `from..=upto`, ascending.
    pub(super) fn range(&self, from: &Packed, upto: &Packed) -> Rows<'_> {
        let rows = self.rows.range(from.bytes()..=upto.bytes());
        Rows(Box::new(rows.map(|row| row.into_inner().map(shared).map_err(unread))))
    }

    /// The rows from one key to another, descending.
    pub(super) fn backwards(&self, from: &Packed, upto: &Packed) -> Rows<'_> {
        let rows = self.rows.range(from.bytes()..=upto.bytes()).rev();
        Rows(Box::new(rows.map(|row| row.into_inner().map(shared).map_err(unread))))
    }

    /// The rows of a prefix, descending.
    pub(super) fn newest(&self, prefix: &Packed) -> Rows<'_> {
        let rows = self.rows.prefix(prefix.bytes()).rev();
        Rows(Box::new(rows.map(|row| row.into_inner().map(shared).map_err(unread))))
    }

    /// The rows of a prefix, ascending.
    pub(super) fn all(&self, prefix: &Packed) -> Rows<'_> {
        let rows = self.rows.prefix(prefix.bytes());
        Rows(Box::new(rows.map(|row| row.into_inner().map(shared).map_err(unread))))
    }

    /// Returns once everything that was written before is on the disk.
    pub(super) async fn sync(&self) -> Result<(), StoreError> {
        let mine = self.written.load(Ordering::Acquire);
        let mut synced = Arc::clone(&self.synced).lock_owned().await;
        if *synced >= mine {
            return Ok(());
        }
        let everything = self.written.load(Ordering::Acquire);
        let database = self.database.clone();
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
pub(super) struct Batch {
    writes: OwnedWriteBatch,
    rows: Keyspace,
}

impl Batch {
    pub(super) fn put(&mut self, key: &Packed, value: Packed) {
        self.writes.insert(&self.rows, key.bytes(), value.into_vec());
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.writes.remove(&self.rows, key);
    }
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
