//! Looking at Cassandra behind the store's back.

use iris_testing::Cassandra;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;

/// A session of the test's own.
pub(crate) async fn session(node: &Cassandra) -> Session {
    SessionBuilder::new().known_node(node.contact_point()).build().await.unwrap()
}

/// Executes a statement whose answer says nothing.
pub(crate) async fn run(session: &Session, cql: &str) {
    session.query_unpaged(cql, ()).await.unwrap_or_else(|error| panic!("{cql}: {error}"));
}

/// Every row of an answer.
pub(crate) async fn rows<R>(session: &Session, cql: &str) -> Vec<R>
where
    R: for<'a> DeserializeRow<'a, 'a>,
{
    let answer = session.query_unpaged(cql, ()).await;
    let answer = answer.unwrap_or_else(|error| panic!("{cql}: {error}"));
    let answer = answer.into_rows_result().unwrap();
    answer.rows::<R>().unwrap().map(Result::unwrap).collect()
}

/// How many rows a table has.
pub(crate) async fn count(session: &Session, table: &str) -> i64 {
    let rows = rows::<(i64,)>(session, &format!("SELECT count(*) FROM {table}")).await;
    rows[0].0
}
