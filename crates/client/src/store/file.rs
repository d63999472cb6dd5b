//! A store in one file: a journal of batches, each with a checksum and on the disk before anything
//! relies on it.
//!
//! A batch that was being written when the process died is dropped when the file is opened: nobody was
//! told of it. Anything else that does not add up is an error, never repaired silently.

mod journal;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{HistoryMax, Record, State, Store, StoreError, format};

/// A journal smaller than this is never rewritten.
const REWRITE_ABOVE_BYTES: u64 = 1024 * 1024;
/// A journal is rewritten when it is so many times as large as what it adds up to.
const REWRITE_FACTOR: u64 = 4;

const JOURNAL: &str = "journal";
const REWRITTEN: &str = "journal.new";
const LOCK: &str = "lock";

/// See the module.
#[derive(Debug)]
pub struct FileStore {
    state: State,
    directory: PathBuf,
    journal: File,
    journal_bytes: u64,
    /// The size of the journal when it was last rewritten.
    live_bytes: u64,
    broken: bool,
    /// Held as long as the store: the system lets it go however the process ends.
    _lock: File,
}

impl FileStore {
    /// Opens the store in `directory`, which is made where it does not exist, for its owner alone.
    ///
    /// # Errors
    /// When another process has it open, the disk refuses, or the journal is damaged.
    pub fn open(directory: &Path, history_max: HistoryMax) -> Result<Self, StoreError> {
        make_directory(directory)?;
        let lock = lock(directory)?;
        let path = directory.join(JOURNAL);
        let mut state = State::new(history_max);
        let found = journal::read(&path, |batch| {
            let records = format::decode(batch)?;
            records.into_iter().for_each(|record| state.apply(record));
            Some(())
        })?;
        let journal = journal::open(&path, found)?;
        let journal_bytes = found.unwrap_or(journal::START_BYTES);
        let mut store = Self {
            state,
            directory: directory.to_owned(),
            journal,
            journal_bytes,
            live_bytes: journal_bytes,
            broken: false,
            _lock: lock,
        };
        store.rewrite_if_large(REWRITE_ABOVE_BYTES)?;
        Ok(store)
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn write(&mut self, records: &[Record], durable: bool) -> Result<(), StoreError> {
        let mut batch = Vec::new();
        records.iter().for_each(|record| format::encode(record, &mut batch));
        let framed = journal::frame(&batch);
        let path = self.directory.join(JOURNAL);
        let failed = io_error("write", &path);
        self.journal.write_all(&framed).map_err(&failed)?;
        if durable {
            self.journal.sync_data().map_err(&failed)?;
        }
        self.journal_bytes += length(&framed);
        Ok(())
    }

    fn rewrite_if_large(&mut self, above: u64) -> Result<(), StoreError> {
        let limit = above.max(self.live_bytes.saturating_mul(REWRITE_FACTOR));
        if self.journal_bytes <= limit {
            return Ok(());
        }
        let batches = self.state.records().map(|record| {
            let mut batch = Vec::new();
            format::encode(&record, &mut batch);
            batch
        });
        let (from, to) = (self.directory.join(REWRITTEN), self.directory.join(JOURNAL));
        let (journal, bytes) = journal::write_new(&from, batches)?;
        fs::rename(&from, &to).map_err(io_error("replace", &to))?;
        sync_directory(&self.directory)?;
        (self.journal, self.journal_bytes, self.live_bytes) = (journal, bytes, bytes);
        Ok(())
    }
}

impl Store for FileStore {
    fn state(&self) -> &State {
        &self.state
    }

    fn append(&mut self, records: Vec<Record>, durable: bool) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        // Whether a failed write reached the disk is unknown: nothing may be built on it.
        self.broken = true;
        self.write(&records, durable)?;
        records.into_iter().for_each(|record| self.state.apply(record));
        self.rewrite_if_large(REWRITE_ABOVE_BYTES)?;
        self.broken = false;
        Ok(())
    }

    fn blocks(&self) -> bool {
        true
    }
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(io_error("make", directory))
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let file = private(OpenOptions::new().write(true).create(true).truncate(false)).open(&path);
    let file = file.map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(directory.display().to_string())),
        Err(TryLockError::Error(source)) => Err(io_error("lock", &path)(source)),
    }
}

/// Only its owner may read what holds a key.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// A rename is on the disk when its directory is.
fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(io_error("sync", directory))
}

fn io_error(what: &'static str, path: &Path) -> impl Fn(std::io::Error) -> StoreError + use<> {
    let path = path.display().to_string();
    move |source| StoreError::Io { what, path: path.clone(), source }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
