//! `conversation_index`: where the messages of a conversation lie in an account's inbox, newest first.
//!
//! A row says that there is a message, and the place what it is: a row whose place was erased or has
//! expired is passed over. Never deleted; a row expires with its place.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use iris_core::clock::Hlc;
use iris_core::id::AccountId;
use iris_core::message::Address;
use iris_core::seq::InboxSeq;
use iris_core::shard::{HistoryPoint, IndexRow};

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement};
use crate::cassandra::derived::{DerivedStatement, Slots, Stamped};
use crate::cassandra::value::{bigint, number};

/// Places of one message: one, two for a message to oneself, and as many more as there are accounts
/// that got one clock at one time.
const SAME_CLOCK: i32 = 64;

#[derive(Debug)]
pub(in crate::cassandra) struct ConversationIndex {
    insert: DerivedStatement,
    newest: Statement,
    before: Statement,
    at: Statement,
    ttl_s: i32,
}

impl ConversationIndex {
    pub(super) async fn prepare(client: &Client, ttl_s: i32) -> Result<Self, StoreError> {
        let table = "conversation_index";
        let columns = ["account", "conversation", "clock", "place"];
        let newest = "SELECT clock, place FROM {keyspace}.conversation_index \
                      WHERE account = ? AND conversation = ? LIMIT ?";
        let before = "SELECT clock, place FROM {keyspace}.conversation_index \
                      WHERE account = ? AND conversation = ? AND (clock, place) < (?, ?) LIMIT ?";
        let at = "SELECT clock, place FROM {keyspace}.conversation_index \
                  WHERE account = ? AND conversation = ? AND clock = ?";
        Ok(Self {
            insert: DerivedStatement::insert(client, table, &columns, true).await?,
            newest: client.prepare(Kind::Read, newest).await?,
            before: client.prepare(Kind::Read, before).await?,
            at: client.prepare(Kind::Read, at).await?,
            ttl_s,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        rows: &[IndexRow],
    ) -> Result<(), StoreError> {
        let mut partitions: BTreeMap<(AccountId, Address), Vec<_>> = BTreeMap::new();
        for row in rows {
            let conversation = key_of(row.conversation);
            let (clock, place) = (bigint("clock", row.clock.0)?, bigint("place", row.place.0)?);
            let stamped = Stamped {
                bytes: 64,
                values: (row.account.to_bytes(), conversation, clock, place, self.ttl_s),
                timestamp: row.timestamp,
            };
            partitions.entry((row.account, row.conversation)).or_default().push(stamped);
        }
        self.insert.write(client, slots, partitions.into_values().collect()).await
    }

    /// The newest points of a conversation before one, at most `limit`, newest first.
    pub(in crate::cassandra) async fn before(
        &self,
        client: &Client,
        (account, conversation): (AccountId, Address),
        before: Option<HistoryPoint>,
        limit: u32,
    ) -> Result<Vec<HistoryPoint>, StoreError> {
        let (account, conversation) = (account.to_bytes(), key_of(conversation));
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let mut points = Vec::new();
        let take = |row| taken(&mut points, row);
        match before {
            None => {
                let values = (account, conversation, limit);
                client.pages(&self.newest, limit, values, take).await?;
            }
            Some(HistoryPoint { clock, place }) => {
                let (clock, place) = (bigint("clock", clock.0)?, bigint("place", place.0)?);
                let values = (account, conversation, clock, place, limit);
                client.pages(&self.before, limit, values, take).await?;
            }
        }
        Ok(points)
    }

    /// The places of the messages with one clock.
    pub(in crate::cassandra) async fn at(
        &self,
        client: &Client,
        (account, conversation): (AccountId, Address),
        clock: Hlc,
    ) -> Result<Vec<InboxSeq>, StoreError> {
        let values = (account.to_bytes(), key_of(conversation), bigint("clock", clock.0)?);
        let mut points = Vec::new();
        client.pages(&self.at, SAME_CLOCK, values, |row| taken(&mut points, row)).await?;
        Ok(points.into_iter().map(|point| point.place).collect())
    }
}

fn taken(
    points: &mut Vec<HistoryPoint>,
    (clock, place): (i64, i64),
) -> Result<ControlFlow<()>, StoreError> {
    let clock = Hlc(number("clock", clock)?);
    points.push(HistoryPoint { clock, place: InboxSeq(number("place", place)?) });
    Ok(ControlFlow::Continue(()))
}

/// A conversation in a key. Pinned for ever.
fn key_of(conversation: Address) -> Vec<u8> {
    let (kind, id) = match conversation {
        Address::Account(account) => (1, account.to_bytes()),
        Address::Group(group) => (2, group.to_bytes()),
    };
    std::iter::once(kind).chain(id).collect()
}
