//! Why a reconciliation did not get to its end, in words that say what to do.
//!
//! An error never decides what happens next; [`Error::remedy`] says who can help, and the controller
//! acts on that.

use std::time::Duration;

/// Why a reconciliation did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or did not answer.
    #[error("{action}: {}", told(source))]
    Api {
        /// What was tried.
        action: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// Another replica leads now.
    #[error("another replica of the operator leads now")]
    NotLeading,
    /// Something else must be ready first, and will be without anybody's help.
    #[error("{message}")]
    Waiting {
        /// One word.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// Somebody must do something.
    #[error("{message}")]
    Blocked {
        /// One word.
        reason: &'static str,
        /// For people, with what to do.
        message: String,
    },
    /// Keys or certificates cannot be made or read.
    #[error("{0}")]
    Pki(#[from] crate::pki::PkiError),
    /// A mistake in the operator.
    #[error("the operator is at fault: {0}")]
    Internal(String),
}

/// Who can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Time.
    Time,
    /// A person.
    Person,
}

impl Error {
    /// Something else must be ready first.
    pub fn waiting(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Waiting { reason, message: message.into() }
    }

    /// Somebody must do something.
    pub fn blocked(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Blocked { reason, message: message.into() }
    }

    /// One word in CamelCase, for conditions, Events and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Api { source, .. } => match status_code(source) {
                Some(403) => "Forbidden",
                Some(409) => "Conflict",
                Some(400 | 422) => "RefusedByApiServer",
                Some(404) => "NotFound",
                _ => "ApiServerUnavailable",
            },
            Self::NotLeading => "NotLeading",
            Self::Waiting { reason, .. } | Self::Blocked { reason, .. } => reason,
            Self::Pki(_) => "CertificateTrouble",
            Self::Internal(_) => "OperatorFault",
        }
    }

    /// Who can help.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Api { source, .. } => match status_code(source) {
                Some(400 | 403 | 422) => Remedy::Person,
                _ => Remedy::Time,
            },
            Self::NotLeading | Self::Waiting { .. } => Remedy::Time,
            Self::Blocked { .. } | Self::Pki(_) | Self::Internal(_) => Remedy::Person,
        }
    }

    /// The longest wait before the next try. What people mend is looked at often: nothing tells the
    /// operator of a Secret that has come.
    pub fn wait_max(&self) -> Duration {
        match self {
            Self::Waiting { .. } => Duration::from_secs(10),
            Self::Blocked { .. } | Self::NotLeading => Duration::from_secs(15),
            Self::Api { .. } | Self::Pki(_) | Self::Internal(_) => Duration::from_secs(60),
        }
    }

    /// Whether the object was not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source, .. } if status_code(source) == Some(404))
    }

    /// Whether somebody else was faster.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if status_code(source) == Some(409))
    }
}

/// Adds what was tried to an error of the API.
pub trait Tried<T> {
    /// What was tried, such as `cannot read Secret iris/cassandra`.
    fn tried(self, action: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Tried<T> for Result<T, kube::Error> {
    fn tried(self, action: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| {
            if crate::client::is_not_leading(&source) {
                return Error::NotLeading;
            }
            Error::Api { action: action(), source: Box::new(source) }
        })
    }
}

fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The API server's own words where it has any.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => iris_runtime::rpc::chain(other),
    }
}
