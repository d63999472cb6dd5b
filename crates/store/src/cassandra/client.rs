//! A session with Cassandra, and the few ways in which a statement may be executed.
//!
//! Consistency, time limit and repetition follow from the kind of a statement and from nothing else.
//! Never lowers a consistency, never repeats a write, and never speculates with one: a caller learns
//! the outcome of the one attempt there was.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::client::{Compression, PoolSize};
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::MaybeFirstRowError;
use scylla::policies::host_filter::DcHostFilter;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::{DefaultRetryPolicy, FallthroughRetryPolicy, RetryPolicy};
use scylla::policies::speculative_execution::{
    SimpleSpeculativeExecutionPolicy, SpeculativeExecutionPolicy,
};
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::Row;

use super::credentials::Credentials;
use super::errors::{self, Effect};
use super::levels::Levels;
use super::{CassandraConfig, Timeouts, tls};
use crate::{Cas, StoreError};

/// A read that got no answer for so long is sent to a second node as well.
const SPECULATE_AFTER: Duration = Duration::from_millis(50);

/// A connection whose node answers nothing for so long, twice, is given up: a frozen node keeps its
/// connections open and would swallow every third request.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Attempts to open a session, as long as each ends without a word of why.
const OPENINGS: u32 = 5;

/// What a statement is, and so how it is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A plain write whose repetition changes nothing: the same bytes, or a logical timestamp.
    Write,
    /// The same, of a block of the log.
    Append,
    /// A plain read.
    Read,
    /// The read of a fence.
    FenceRead,
    /// The read of a lane's tail: at every replica while replicas move.
    TailRead,
    /// A plain read of what compare-and-swaps wrote, at the level of their commits.
    SettledRead,
    /// A read that sees every compare-and-swap before it.
    SerialRead,
    /// A compare-and-swap.
    Cas,
}

impl Kind {
    fn effect(self) -> Effect {
        match self {
            Self::Write | Self::Append | Self::Cas => Effect::Possible,
            Self::Read
            | Self::FenceRead
            | Self::TailRead
            | Self::SettledRead
            | Self::SerialRead => Effect::None,
        }
    }
}

/// A statement with everything that decides how it is executed.
#[derive(Debug)]
pub(super) struct Statement {
    prepared: PreparedStatement,
    kind: Kind,
}

/// A session with the levels of its policy.
#[derive(Debug)]
pub(super) struct Client {
    session: Session,
    keyspace: String,
    levels: Levels,
    timeouts: Timeouts,
    /// Reads, which may be repeated and speculated with.
    reads: ExecutionProfileHandle,
    /// Everything else.
    once: ExecutionProfileHandle,
    /// Tails are read at every replica: a Cassandra node joins, leaves or is replaced.
    replicas_move: AtomicBool,
    /// Requests that were sent, each counted once however often the driver repeats it.
    requests: AtomicU64,
}

impl Client {
    /// Connects to the nodes of the configured datacenter, and to no others.
    pub(super) async fn connect(config: &CassandraConfig) -> Result<Self, StoreError> {
        config.check()?;
        let levels = Levels::of(config.ack_policy);
        let once = profile(config, levels, Arc::new(FallthroughRetryPolicy::new()), None);
        let speculation = SimpleSpeculativeExecutionPolicy {
            max_retry_count: 1,
            retry_interval: SPECULATE_AFTER,
        };
        let reads = profile(
            config,
            levels,
            Arc::new(DefaultRetryPolicy::new()),
            Some(Arc::new(speculation)),
        );
        let mut builder = SessionBuilder::new()
            .known_nodes(&config.contact_points)
            .host_filter(Arc::new(DcHostFilter::new(config.datacenter.clone())))
            .default_execution_profile_handle(once.clone())
            .connection_timeout(config.timeouts.connect)
            .keepalive_interval(KEEPALIVE)
            .keepalive_timeout(KEEPALIVE)
            .pool_size(PoolSize::PerHost(config.connections_per_node))
            .compression(None::<Compression>)
            .schema_agreement_timeout(config.timeouts.schema)
            .keyspaces_to_fetch([config.keyspace.clone()])
            .tcp_nodelay(true);
        if let Some(directory) = &config.credentials_path {
            builder = builder.authenticator_provider(Arc::new(Credentials::new(directory.clone())));
        }
        if let Some(directory) = &config.tls_path {
            builder =
                builder.tls_context(Some(tls::client_config(directory, &config.contact_points)?));
        }
        let session = open(&builder).await?;
        let client = Self {
            session,
            keyspace: config.keyspace.clone(),
            levels,
            timeouts: config.timeouts,
            reads,
            once,
            replicas_move: AtomicBool::new(false),
            requests: AtomicU64::new(0),
        };
        client.check_datacenter(&config.datacenter)?;
        Ok(client)
    }

    fn check_datacenter(&self, datacenter: &str) -> Result<(), StoreError> {
        let cluster = self.session.get_cluster_state();
        let known: std::collections::BTreeSet<_> =
            cluster.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
        if known.contains(datacenter) {
            return Ok(());
        }
        let known: Vec<_> = known.into_iter().collect();
        Err(StoreError::Schema(format!(
            "Cassandra has no datacenter {datacenter:?}, but {}: correct the name",
            known.join(", ")
        )))
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn keyspace(&self) -> &str {
        &self.keyspace
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_replicas_move(&self, moving: bool) {
        self.replicas_move.store(moving, Ordering::Relaxed);
    }

    /// Prepares a statement; `{keyspace}` in it stands for the keyspace.
    pub(super) async fn prepare(&self, kind: Kind, cql: &str) -> Result<Statement, StoreError> {
        let cql = cql.replace("{keyspace}", &self.keyspace);
        let mut prepared =
            self.session.prepare(cql).await.map_err(|error| errors::of_prepare(&error))?;
        let levels = self.levels;
        prepared.set_consistency(match kind {
            Kind::Write | Kind::Append => levels.write,
            Kind::Read | Kind::FenceRead | Kind::TailRead => levels.read,
            Kind::SerialRead => levels.serial_read,
            Kind::Cas | Kind::SettledRead => levels.commit,
        });
        prepared.set_serial_consistency((kind == Kind::Cas).then_some(levels.serial));
        prepared.set_request_timeout(Some(self.time_limit(kind)));
        prepared.set_execution_profile_handle(Some(match kind {
            Kind::Read | Kind::FenceRead | Kind::TailRead | Kind::SettledRead => self.reads.clone(),
            Kind::Write | Kind::Append | Kind::SerialRead | Kind::Cas => self.once.clone(),
        }));
        prepared.set_is_idempotent(match kind {
            Kind::Write
            | Kind::Append
            | Kind::Read
            | Kind::FenceRead
            | Kind::TailRead
            | Kind::SettledRead => true,
            Kind::SerialRead | Kind::Cas => false,
        });
        Ok(Statement { prepared, kind })
    }

    fn time_limit(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Write => self.timeouts.write,
            Kind::Append => self.timeouts.append,
            Kind::Read | Kind::TailRead | Kind::SettledRead => self.timeouts.read,
            Kind::FenceRead => self.timeouts.fence_read,
            Kind::SerialRead | Kind::Cas => self.timeouts.serial,
        }
    }

    /// Executes a write, whose answer says nothing.
    pub(super) async fn write(
        &self,
        statement: &Statement,
        values: impl SerializeRow,
    ) -> Result<(), StoreError> {
        self.execute(statement, values).await.map(drop)
    }

    /// Executes a read whose answer fits one message.
    pub(super) async fn read(
        &self,
        statement: &Statement,
        values: impl SerializeRow,
    ) -> Result<QueryRowsResult, StoreError> {
        rows(self.execute(statement, values).await?)
    }

    /// Executes a compare-and-swap.
    pub(super) async fn compare(
        &self,
        statement: &Statement,
        values: impl SerializeRow,
    ) -> Result<Swap, StoreError> {
        swap(self.execute(statement, values).await?)
    }

    async fn execute(
        &self,
        statement: &Statement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, StoreError> {
        self.count();
        self.session
            .execute_unpaged(&statement.prepared, values)
            .await
            .map_err(|error| errors::of_execution(&error, statement.kind.effect()))
    }

    /// Several statements on one partition, at once or not at all: a compare-and-swap.
    pub(super) async fn compare_batch(
        &self,
        statements: &[&Statement],
        values: impl scylla::serialize::batch::BatchValues,
    ) -> Result<Swap, StoreError> {
        let mut batch = self.batch(statements);
        batch.set_consistency(self.levels.commit);
        batch.set_serial_consistency(Some(self.levels.serial));
        batch.set_request_timeout(Some(self.time_limit(Kind::Cas)));
        batch.set_is_idempotent(false);
        swap(self.run_batch(&batch, values).await?)
    }

    /// Several plain writes to one partition.
    pub(super) async fn write_batch(
        &self,
        statements: &[&Statement],
        values: impl scylla::serialize::batch::BatchValues,
    ) -> Result<(), StoreError> {
        let mut batch = self.batch(statements);
        batch.set_consistency(self.levels.write);
        batch.set_request_timeout(Some(self.time_limit(Kind::Write)));
        batch.set_is_idempotent(true);
        self.run_batch(&batch, values).await.map(drop)
    }

    fn batch(&self, statements: &[&Statement]) -> Batch {
        let mut batch = Batch::new(BatchType::Unlogged);
        for statement in statements {
            batch.append_statement(statement.prepared.clone());
        }
        batch.set_execution_profile_handle(Some(self.once.clone()));
        batch
    }

    async fn run_batch(
        &self,
        batch: &Batch,
        values: impl scylla::serialize::batch::BatchValues,
    ) -> Result<QueryResult, StoreError> {
        self.count();
        self.session
            .batch(batch, values)
            .await
            .map_err(|error| errors::of_execution(&error, Effect::Possible))
    }

    /// Reads row by row, `page` rows with each request, until `take` breaks or nothing is left.
    pub(super) async fn pages<R, T>(
        &self,
        statement: &Statement,
        page: i32,
        values: impl SerializeRow,
        mut take: T,
    ) -> Result<(), StoreError>
    where
        R: for<'a> DeserializeRow<'a, 'a>,
        T: FnMut(R) -> Result<ControlFlow<()>, StoreError> + Send,
    {
        let mut prepared = statement.prepared.clone();
        prepared.set_page_size(page);
        if statement.kind == Kind::TailRead && self.replicas_move.load(Ordering::Relaxed) {
            prepared.set_consistency(Consistency::All);
        }
        let mut state = PagingState::start();
        loop {
            self.count();
            let answer = self.session.execute_single_page(&prepared, &values, state).await;
            let (result, next) =
                answer.map_err(|error| errors::of_execution(&error, statement.kind.effect()))?;
            let result = rows(result)?;
            for row in result.rows::<R>().map_err(unexpected)? {
                if take(row.map_err(undecodable)?)?.is_break() {
                    return Ok(());
                }
            }
            match next {
                PagingStateResponse::HasMorePages { state: more } => state = more,
                PagingStateResponse::NoMorePages => return Ok(()),
            }
        }
    }
}

/// Opens a session, anew if a connection broke and nobody knows why: whoever starts it should hear
/// that a certificate was refused and not that Cassandra is unreachable.
async fn open(builder: &SessionBuilder) -> Result<Session, StoreError> {
    let mut attempt = 1;
    loop {
        match builder.build().await {
            Err(error) if attempt < OPENINGS && errors::reason_was_lost(&error) => attempt += 1,
            ended => return ended.map_err(|error| errors::of_session(&error)),
        }
    }
}

fn profile(
    config: &CassandraConfig,
    levels: Levels,
    retries: Arc<dyn RetryPolicy>,
    speculation: Option<Arc<dyn SpeculativeExecutionPolicy>>,
) -> ExecutionProfileHandle {
    let nodes = DefaultPolicy::builder()
        .prefer_datacenter(config.datacenter.clone())
        .permit_dc_failover(false)
        .token_aware(true)
        .build();
    ExecutionProfile::builder()
        .consistency(levels.write)
        .serial_consistency(Some(levels.serial))
        .request_timeout(Some(config.timeouts.read))
        .load_balancing_policy(nodes)
        .retry_policy(retries)
        .speculative_execution_policy(speculation)
        .build()
        .into_handle()
}

/// What a compare-and-swap answered: whether it was applied and, if not, what it found instead.
#[derive(Debug)]
pub(super) struct Swap {
    pub(super) outcome: Cas,
    found: QueryRowsResult,
}

impl Swap {
    /// The value of a column of the row that was found, if there was a row and a value in it.
    pub(super) fn found(&self, column: &str) -> Option<scylla::value::CqlValue> {
        let index = self.found.column_specs().get_by_name(column)?.0;
        let row = self.found.maybe_first_row::<Row>().ok()??;
        row.columns.into_iter().nth(index)?
    }
}

fn swap(result: QueryResult) -> Result<Swap, StoreError> {
    // It may have been applied, and its answer cannot be read.
    let unclear = |text: String| StoreError::Unknown(text);
    let found = result.into_rows_result().map_err(|error| unclear(error.to_string()))?;
    let first = found.first_row::<Row>().map_err(|error| unclear(error.to_string()))?;
    let applied = first.columns.into_iter().next().flatten().and_then(|value| value.as_boolean());
    match applied {
        Some(true) => Ok(Swap { outcome: Cas::Applied, found }),
        Some(false) => Ok(Swap { outcome: Cas::Refused, found }),
        None => {
            Err(unclear("a compare-and-swap answered without saying whether it applied".into()))
        }
    }
}

fn rows(result: QueryResult) -> Result<QueryRowsResult, StoreError> {
    result.into_rows_result().map_err(unexpected)
}

/// The first row of an answer, if there is one.
pub(super) fn first<'a, R: DeserializeRow<'a, 'a>>(
    result: &'a QueryRowsResult,
) -> Result<Option<R>, StoreError> {
    result.maybe_first_row::<R>().map_err(|error| match error {
        MaybeFirstRowError::TypeCheckFailed(error) => unexpected(error),
        MaybeFirstRowError::DeserializationFailed(error) => undecodable(error),
    })
}

/// Another shape than asked for: another schema.
pub(super) fn unexpected(error: impl std::fmt::Display) -> StoreError {
    StoreError::Schema(format!("an answer has another shape than its statement: {error}"))
}

/// The right shape, and a value that cannot be.
pub(super) fn undecodable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
