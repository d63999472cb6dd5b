//! etcd's words for ours.

use etcd_client::{
    Compare, CompareOp, Error, EventType, KeyValue, PutOptions, ResponseHeader, TxnOp,
};
use tonic::Code;

use super::EtcdCoord;
use crate::{CoordError, Event, Guard, Revision, Versioned, Write};

/// What a call may have done when its answer is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that matters.
    None,
    /// Everything.
    Possible,
}

impl Effect {
    pub(super) fn error(self, text: String) -> CoordError {
        match self {
            Self::None => CoordError::Unavailable(text),
            Self::Possible => CoordError::Unknown(text),
        }
    }
}

/// What a failure of etcd means.
pub(super) fn failed(error: Error, effect: Effect) -> CoordError {
    match error {
        Error::GRpcStatus(status) => match status.code() {
            Code::NotFound if status.message().contains("lease") => CoordError::LeaseGone,
            Code::OutOfRange if status.message().contains("compacted") => CoordError::Compacted,
            Code::Unauthenticated | Code::PermissionDenied => {
                CoordError::Denied(status.message().to_owned())
            }
            // Refused before anything was proposed.
            Code::InvalidArgument | Code::ResourceExhausted | Code::FailedPrecondition => {
                CoordError::Unavailable(status.message().to_owned())
            }
            _ => effect.error(told(&status)),
        },
        Error::LeaseKeepAliveError(_) => CoordError::LeaseGone,
        Error::InvalidUri(_) | Error::InvalidArgs(_) => CoordError::Denied(error.to_string()),
        Error::TransportError(error) => effect.error(chain(&error)),
        error => effect.error(error.to_string()),
    }
}

/// The message with its causes: "transport error" alone helps nobody.
fn told(status: &tonic::Status) -> String {
    let cause = std::error::Error::source(status).map(chain);
    match cause {
        Some(cause) => format!("{}: {cause}", status.message()),
        None => status.message().to_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(super) fn revision(header: Option<&ResponseHeader>) -> Result<Revision, CoordError> {
    let header = header.ok_or_else(|| CoordError::Unknown("etcd told no revision".to_owned()))?;
    Ok(Revision(header.revision()))
}

pub(super) fn versioned(kv: &KeyValue, prefix: &str) -> Result<Versioned, CoordError> {
    Ok(Versioned {
        key: key(kv, prefix)?,
        value: kv.value().to_vec().into(),
        modified: Revision(kv.mod_revision()),
    })
}

fn key(kv: &KeyValue, prefix: &str) -> Result<String, CoordError> {
    let key = std::str::from_utf8(kv.key()).ok().and_then(|key| key.strip_prefix(prefix));
    let key = key.ok_or_else(|| CoordError::Unavailable("etcd answered for another key".into()))?;
    Ok(key.to_owned())
}

pub(super) fn event(event: &etcd_client::Event, prefix: &str) -> Result<Event, CoordError> {
    let kv = event.kv().ok_or_else(|| CoordError::Unavailable("an event without a key".into()))?;
    Ok(match event.event_type() {
        EventType::Put => Event::Put(versioned(kv, prefix)?),
        EventType::Delete => {
            Event::Delete { key: key(kv, prefix)?, at: Revision(kv.mod_revision()) }
        }
    })
}

pub(super) fn guard(guard: &Guard, coord: &EtcdCoord) -> Compare {
    match guard {
        Guard::Absent(key) => Compare::version(coord.full(key), CompareOp::Equal, 0),
        Guard::Unchanged(key, revision) => {
            Compare::mod_revision(coord.full(key), CompareOp::Equal, revision.0)
        }
    }
}

pub(super) fn write(write: &Write, coord: &EtcdCoord) -> TxnOp {
    match write {
        Write::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(coord.full(key), value.to_vec(), options)
        }
        Write::Delete { key } => TxnOp::delete(coord.full(key), None),
    }
}
