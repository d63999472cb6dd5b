//! What the driver's errors mean: above all, whether a write may have had an effect.
//!
//! Never reports a write as without effect unless Cassandra said so or nothing was sent.

use rustls::AlertDescription;
use scylla::errors::{
    BrokenConnectionError, ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind,
    DbError, ExecutionError, MetadataError, NewSessionError, PrepareError, RequestAttemptError,
    UseKeyspaceError,
};

use crate::StoreError;

/// How rustls tells that the other side ended the connection and said why.
const ALERT: &str = "received fatal alert";

/// Whether the statement could change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// A read.
    None,
    /// A write, compare-and-swaps included.
    Possible,
}

impl Effect {
    /// It was sent, and nobody knows what became of it.
    fn unclear(self, text: String) -> StoreError {
        match self {
            Self::None => StoreError::Unavailable(text),
            Self::Possible => StoreError::Unknown(text),
        }
    }
}

/// Of a statement that was executed.
pub(super) fn of_execution(error: &ExecutionError, effect: Effect) -> StoreError {
    match error {
        ExecutionError::LastAttemptError(error) => of_attempt(error, effect),
        ExecutionError::RequestTimeout(_) => effect.unclear(error.to_string()),
        ExecutionError::ConnectionPoolError(error) => of_pool(error),
        ExecutionError::PrepareError(error) => of_prepare(error),
        ExecutionError::BadQuery(_) => StoreError::Schema(format!(
            "a value does not fit its column; run the schema migrations of this version: {error}"
        )),
        ExecutionError::EmptyPlan => {
            StoreError::Unavailable("no node of the configured datacenter is known".to_owned())
        }
        ExecutionError::SchemaAgreementError(_) | ExecutionError::MetadataError(_) => {
            effect.unclear(error.to_string())
        }
        ExecutionError::UseKeyspaceError(error) => of_use_keyspace(error),
        _ => effect.unclear(error.to_string()),
    }
}

fn of_attempt(error: &RequestAttemptError, effect: Effect) -> StoreError {
    match error {
        RequestAttemptError::DbError(kind, _) => of_database(kind, error.to_string(), effect),
        RequestAttemptError::UnableToAllocStreamId => StoreError::Unavailable(error.to_string()),
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_) => {
            StoreError::Schema(format!("a request cannot be formed: {error}"))
        }
        // Everything else came after the request was sent.
        _ => effect.unclear(error.to_string()),
    }
}

fn of_database(kind: &DbError, text: String, effect: Effect) -> StoreError {
    match kind {
        DbError::Unavailable { .. }
        | DbError::Overloaded
        | DbError::IsBootstrapping
        | DbError::RateLimitReached { .. }
        | DbError::Unprepared { .. } => StoreError::Unavailable(text),
        DbError::Unauthorized | DbError::AuthenticationError => StoreError::Denied(text),
        DbError::SyntaxError
        | DbError::Invalid
        | DbError::ConfigError
        | DbError::AlreadyExists { .. }
        | DbError::FunctionFailure { .. } => StoreError::Schema(text),
        // Timeouts and failures of replicas, broken servers, and codes that are not known here: a
        // compare-and-swap of unknown outcome has one of its own.
        _ => effect.unclear(text),
    }
}

/// Of a statement that was prepared: nothing was executed.
pub(super) fn of_prepare(error: &PrepareError) -> StoreError {
    match error {
        PrepareError::ConnectionPoolError(error) => of_pool(error),
        PrepareError::AllAttemptsFailed { first_attempt } => {
            match of_attempt(first_attempt, Effect::None) {
                StoreError::Schema(text) => {
                    StoreError::Schema(format!("run the schema migrations of this version: {text}"))
                }
                other => other,
            }
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Of a session that could not be opened.
pub(super) fn of_session(error: &NewSessionError) -> StoreError {
    match error {
        // At the start a refused handshake is a matter of certificates, whatever alert tells it.
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(error))
            if error.to_string().contains(ALERT) =>
        {
            StoreError::Denied(error.to_string())
        }
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(error)) => of_pool(error),
        NewSessionError::UseKeyspaceError(error) => of_use_keyspace(error),
        NewSessionError::IllegalConfig(_) | NewSessionError::EmptyKnownNodesList => {
            StoreError::Schema(error.to_string())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Whether a connection broke before the driver could tell why. A client that is refused in TLS 1.3
/// learns of it only after its own handshake: its first request can be there before the alert.
pub(super) fn reason_was_lost(error: &NewSessionError) -> bool {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(pool)) = error else {
        return false;
    };
    matches!(pool, ConnectionPoolError::Broken { last_connection_error } if broke(last_connection_error))
        && !pool.to_string().contains(ALERT)
}

fn broke(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::BrokenConnection(_) => true,
        ConnectionError::ConnectionSetupRequestError(setup) => {
            matches!(setup.error, ConnectionSetupRequestErrorKind::BrokenConnection(_))
        }
        _ => false,
    }
}

fn of_use_keyspace(error: &UseKeyspaceError) -> StoreError {
    match error {
        UseKeyspaceError::RequestError(error) => of_attempt(error, Effect::None),
        UseKeyspaceError::BadKeyspaceName(_) => StoreError::Schema(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Without a connection nothing was sent. Cassandra, or TLS before it, may refuse who we are.
fn of_pool(error: &ConnectionPoolError) -> StoreError {
    let text = error.to_string();
    match error {
        ConnectionPoolError::Broken { last_connection_error } if denies(last_connection_error) => {
            StoreError::Denied(text)
        }
        _ => StoreError::Unavailable(text),
    }
}

fn denies(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ConnectionSetupRequestError(setup) => setup_denies(&setup.error),
        ConnectionError::IoError(error) => io_denies(error),
        ConnectionError::BrokenConnection(error) => tls_denies(error),
        _ => false,
    }
}

fn setup_denies(error: &ConnectionSetupRequestErrorKind) -> bool {
    match error {
        ConnectionSetupRequestErrorKind::DbError(kind, _) => {
            matches!(kind, DbError::AuthenticationError | DbError::Unauthorized)
        }
        ConnectionSetupRequestErrorKind::MissingAuthentication
        | ConnectionSetupRequestErrorKind::StartAuthSessionError(_)
        | ConnectionSetupRequestErrorKind::AuthChallengeEvaluationError(_)
        | ConnectionSetupRequestErrorKind::AuthFinishError(_) => true,
        ConnectionSetupRequestErrorKind::BrokenConnection(error) => tls_denies(error),
        _ => false,
    }
}

/// In TLS 1.3 a refused client learns of it with its first read; the driver keeps only the text.
fn tls_denies(error: &BrokenConnectionError) -> bool {
    let text = error.to_string();
    let about = ["ertificate", "UnknownCA", "AccessDenied"];
    text.contains(ALERT) && about.iter().any(|word| text.contains(word))
}

fn io_denies(error: &std::io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        tls,
        Some(rustls::Error::AlertReceived(
            AlertDescription::AccessDenied
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRequired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::UnsupportedCertificate
        ))
    )
}

#[cfg(test)]
mod tests;
