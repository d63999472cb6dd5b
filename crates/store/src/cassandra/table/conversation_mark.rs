//! `conversation_mark`: how far a conversation of two was received and read.
//!
//! Every cell only grows, so each is written with its own value as its timestamp: whatever order
//! writes arrive in, the greatest stays. There is no logical timestamp to get wrong.

use std::ops::ControlFlow;

use futures::{StreamExt as _, TryStreamExt as _};
use iris_core::clock::Hlc;
use iris_core::id::AccountId;
use iris_core::limits;
use iris_core::mark::Mark;
use iris_core::shard::{MarkRow, MarksPage};

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, undecodable};
use crate::cassandra::derived::Slots;
use crate::cassandra::value::{bigint, number};

/// Rows of one page.
const PAGE: i32 = 1024;
/// Rows that are written at once.
const WRITES_AT_ONCE: usize = 16;
const COLUMNS: [&str; 4] = ["own_read", "delivered", "other_read", "version"];

type Row = (Vec<u8>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

#[derive(Debug)]
pub(in crate::cassandra) struct ConversationMark {
    raise: [Statement; 4],
    read: Statement,
}

impl ConversationMark {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let raise = async |column| {
            let cql = format!(
                "UPDATE {{keyspace}}.conversation_mark USING TIMESTAMP ? SET {column} = ? \
                 WHERE account = ? AND other = ?"
            );
            client.prepare(Kind::Write, &cql).await
        };
        let [own_read, delivered, other_read, version] = COLUMNS;
        let read = "SELECT other, own_read, delivered, other_read, version \
                    FROM {keyspace}.conversation_mark WHERE account = ? AND other > ?";
        Ok(Self {
            raise: [
                raise(own_read).await?,
                raise(delivered).await?,
                raise(other_read).await?,
                raise(version).await?,
            ],
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    pub(in crate::cassandra) async fn write(
        &self,
        client: &Client,
        slots: &Slots,
        rows: &[MarkRow],
    ) -> Result<(), StoreError> {
        let writes = rows.iter().copied().map(|row| self.raise(client, slots, row));
        futures::stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    async fn raise(&self, client: &Client, slots: &Slots, row: MarkRow) -> Result<(), StoreError> {
        let Mark { own_read, delivered, read, version } = row.mark;
        let values = [own_read.0, delivered.0, read.0, version];
        let mut statements = Vec::new();
        let mut bound = Vec::new();
        for (statement, value) in self.raise.iter().zip(values).filter(|(_, value)| *value != 0) {
            let value = bigint("mark", value)?;
            statements.push(statement);
            bound.push((value, value, row.account.to_bytes(), row.with.to_bytes()));
        }
        let _slot = slots.take().await?;
        match (statements.as_slice(), bound.as_slice()) {
            ([], _) => Ok(()),
            ([statement], [values]) => client.write(statement, values).await,
            _ => client.write_batch(&statements, bound).await,
        }
    }

    pub(in crate::cassandra) async fn read(
        &self,
        client: &Client,
        account: AccountId,
        above: u64,
        after: Option<AccountId>,
    ) -> Result<MarksPage, StoreError> {
        let mut page = MarksPage::default();
        let take = |(other, own_read, delivered, other_read, version): Row| {
            let with = AccountId::from_bytes(&other).map_err(undecodable)?;
            let value = |column, cell: Option<i64>| number(column, cell.unwrap_or_default());
            let [first, second, third, fourth] = COLUMNS;
            let mark = Mark {
                own_read: Hlc(value(first, own_read)?),
                delivered: Hlc(value(second, delivered)?),
                read: Hlc(value(third, other_read)?),
                version: value(fourth, version)?,
            };
            if mark.version <= above {
                return Ok(ControlFlow::Continue(()));
            }
            page.marks.push((with, mark));
            if page.marks.len() < limits::MARKS_MAX {
                return Ok(ControlFlow::Continue(()));
            }
            page.next = Some(with);
            Ok(ControlFlow::Break(()))
        };
        let after = after.map(|after| after.to_bytes().to_vec()).unwrap_or_default();
        client.pages(&self.read, PAGE, (account.to_bytes(), after), take).await?;
        Ok(page)
    }
}
