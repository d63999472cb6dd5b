//! The bytes of a journal: a line that says what it is, then batches.
//!
//! ```text
//! length:u32le  checksum:8 bytes of BLAKE3 over length and content  content
//! ```

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use bytes::{Buf as _, Bytes};

use super::{io_error, length, private, sync_directory};
use crate::store::StoreError;

const START: &[u8] = b"iris client journal 1\n";
/// Of any version.
const START_ANY: &[u8] = b"iris client journal ";
/// The length of an empty journal.
pub(super) const START_BYTES: u64 = START.len() as u64;
const HEADER_BYTES: usize = 12;

/// A batch as it is written.
pub(super) fn frame(batch: &[u8]) -> Vec<u8> {
    let size = u32::try_from(batch.len()).expect("a batch is far below 4 GiB");
    let mut framed = Vec::with_capacity(HEADER_BYTES + batch.len());
    framed.extend(size.to_le_bytes());
    framed.extend(checksum(size, batch));
    framed.extend(batch);
    framed
}

/// Reads a journal, batch by batch. Answers where its whole batches end; nothing when there is none.
pub(super) fn read(
    path: &Path,
    mut each: impl FnMut(Bytes) -> Option<()>,
) -> Result<Option<u64>, StoreError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error("read", path)(source)),
        Ok(_) => {}
    }
    let mut rest = Bytes::from(bytes);
    let total = length(&rest);
    if !begins(&rest, path)? {
        return Ok(None);
    }
    rest.advance(START.len());
    while let Some(batch) = take(&mut rest, total, path)? {
        let offset = total - length(&rest);
        each(batch).ok_or_else(|| damaged(path, offset, "a record that nobody writes"))?;
    }
    Ok(Some(total - length(&rest)))
}

/// Whether it is a journal of this version; a beginning that was never completed is none.
fn begins(bytes: &Bytes, path: &Path) -> Result<bool, StoreError> {
    if bytes.starts_with(START) {
        Ok(true)
    } else if START.starts_with(bytes) {
        Ok(false)
    } else if bytes.starts_with(START_ANY) {
        Err(StoreError::TooNew(path.display().to_string()))
    } else {
        Err(damaged(path, 0, "not a journal"))
    }
}

/// The next whole batch; nothing at the end or before a torn one, which can only be the last.
fn take(rest: &mut Bytes, total: u64, path: &Path) -> Result<Option<Bytes>, StoreError> {
    let offset = total - length(rest);
    let Some((header, content)) = rest.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let [a, b, c, d, sum @ ..] = *header;
    let size = u32::from_le_bytes([a, b, c, d]);
    let whole = size as usize <= content.len();
    if size == 0 || !whole {
        return Ok(None);
    }
    let last = size as usize == content.len();
    if checksum(size, &content[..size as usize]) != sum {
        return if last { Ok(None) } else { Err(damaged(path, offset, "a wrong checksum")) };
    }
    rest.advance(HEADER_BYTES);
    Ok(Some(rest.split_to(size as usize)))
}

/// Opens a journal for appending behind its whole batches; makes it where there is none.
pub(super) fn open(path: &Path, end: Option<u64>) -> Result<File, StoreError> {
    let Some(end) = end else {
        let (file, _) = write_new(path, std::iter::empty())?;
        return Ok(file);
    };
    let failed = io_error("open", path);
    let mut file = OpenOptions::new().write(true).open(path).map_err(&failed)?;
    if file.metadata().map_err(&failed)?.len() > end {
        file.set_len(end).and_then(|()| file.sync_all()).map_err(&failed)?;
    }
    file.seek(SeekFrom::Start(end)).map_err(&failed)?;
    Ok(file)
}

/// Writes a journal of these batches and leaves it open at its end; answers its size too.
pub(super) fn write_new(
    path: &Path,
    batches: impl Iterator<Item = Vec<u8>>,
) -> Result<(File, u64), StoreError> {
    let failed = io_error("write", path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = private(&mut options).open(path).map_err(&failed)?;
    let mut bytes = START.to_vec();
    let mut written = 0;
    for batch in batches {
        bytes.extend(frame(&batch));
        if bytes.len() > 1024 * 1024 {
            file.write_all(&bytes).map_err(&failed)?;
            written += length(&bytes);
            bytes.clear();
        }
    }
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(&failed)?;
    if let Some(directory) = path.parent() {
        sync_directory(directory)?;
    }
    Ok((file, written + length(&bytes)))
}

fn checksum(size: u32, content: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes());
    hasher.update(content);
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    [a, b, c, d, e, f, g, h]
}

fn damaged(path: &Path, offset: u64, why: &'static str) -> StoreError {
    StoreError::Damaged { path: path.display().to_string(), offset, why }
}
