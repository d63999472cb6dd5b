//! Every error of a write that may have happened is unknown; every other one is definite.

use std::time::Duration;

use scylla::errors::{
    BrokenConnectionErrorKind, ConnectionPoolError, RequestAttemptError, WriteType,
};
use scylla::statement::Consistency;

use super::*;

fn database(kind: DbError) -> ExecutionError {
    ExecutionError::LastAttemptError(RequestAttemptError::DbError(kind, "why".to_owned()))
}

fn timeout(write_type: WriteType) -> DbError {
    let consistency = Consistency::LocalQuorum;
    DbError::WriteTimeout { consistency, received: 1, required: 2, write_type }
}

fn failure() -> DbError {
    DbError::WriteFailure {
        consistency: Consistency::LocalQuorum,
        received: 1,
        required: 2,
        numfailures: 1,
        write_type: WriteType::Simple,
    }
}

#[test]
fn a_write_that_may_have_happened_is_unknown() {
    let unclear = [
        database(timeout(WriteType::Simple)),
        database(timeout(WriteType::UnloggedBatch)),
        database(timeout(WriteType::Cas)),
        database(failure()),
        database(DbError::ServerError),
        database(DbError::ProtocolError),
        // CAS_WRITE_UNKNOWN has a code that the driver does not know.
        database(DbError::Other(0x1700)),
        ExecutionError::RequestTimeout(Duration::from_secs(2)),
        ExecutionError::LastAttemptError(RequestAttemptError::NonfinishedPagingState),
    ];
    for error in unclear {
        let write = of_execution(&error, Effect::Possible);
        assert!(matches!(write, StoreError::Unknown(_)), "{error}: {write:?}");
        let read = of_execution(&error, Effect::None);
        assert!(matches!(read, StoreError::Unavailable(_)), "{error}: {read:?}");
    }
}

#[test]
fn a_write_that_was_refused_had_no_effect() {
    let unavailable =
        DbError::Unavailable { consistency: Consistency::LocalQuorum, required: 2, alive: 1 };
    let refused = [
        database(unavailable),
        database(DbError::Overloaded),
        database(DbError::IsBootstrapping),
        ExecutionError::LastAttemptError(RequestAttemptError::UnableToAllocStreamId),
        ExecutionError::ConnectionPoolError(ConnectionPoolError::Initializing),
        ExecutionError::ConnectionPoolError(ConnectionPoolError::NodeDisabledByHostFilter),
        ExecutionError::EmptyPlan,
    ];
    for error in refused {
        for effect in [Effect::None, Effect::Possible] {
            let mapped = of_execution(&error, effect);
            assert!(matches!(mapped, StoreError::Unavailable(_)), "{error}: {mapped:?}");
        }
    }
}

#[test]
fn what_trying_again_cannot_help_says_so() {
    for kind in [DbError::Invalid, DbError::SyntaxError, DbError::ConfigError] {
        let mapped = of_execution(&database(kind), Effect::Possible);
        assert!(matches!(mapped, StoreError::Schema(_)), "{mapped:?}");
        assert!(!mapped.is_retryable());
    }
    for kind in [DbError::Unauthorized, DbError::AuthenticationError] {
        let mapped = of_execution(&database(kind), Effect::Possible);
        assert!(matches!(mapped, StoreError::Denied(_)), "{mapped:?}");
        assert!(!mapped.is_retryable());
    }
    let refused = ConnectionSetupRequestErrorKind::DbError(
        DbError::AuthenticationError,
        "bad credentials".to_owned(),
    );
    assert!(setup_denies(&refused));
    assert!(setup_denies(&ConnectionSetupRequestErrorKind::MissingAuthentication));
    assert!(!setup_denies(&ConnectionSetupRequestErrorKind::UnableToAllocStreamId));
    assert!(!denies(&ConnectionError::ConnectTimeout));
}

#[test]
fn a_connection_that_broke_without_a_reason_is_opened_again() {
    let opening = |error| {
        let pool = ConnectionPoolError::Broken { last_connection_error: error };
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(pool))
    };
    let broken = |kind: BrokenConnectionErrorKind| ConnectionError::BrokenConnection(kind.into());
    assert!(reason_was_lost(&opening(broken(BrokenConnectionErrorKind::ChannelError))));
    let alert = std::io::Error::other(format!("{ALERT}: CertificateRequired"));
    let refused = opening(broken(BrokenConnectionErrorKind::WriteError(alert)));
    assert!(!reason_was_lost(&refused));
    assert!(matches!(of_session(&refused), StoreError::Denied(_)));
    assert!(!reason_was_lost(&opening(ConnectionError::ConnectTimeout)));
    assert!(!reason_was_lost(&NewSessionError::EmptyKnownNodesList));
}
