//! `conversation_mark`: how far a conversation of two was received and read.
//!
//! Every cell only grows, so each is written with its own value as its timestamp: whatever order
//! writes arrive in, the greatest stays. There is no logical timestamp to get wrong.

use std::ops::ControlFlow;

use iris_core::clock::Hlc;
use iris_core::id::AccountId;
use iris_core::limits;
use iris_core::mark::Mark;
use iris_core::shard::{MarkRow, MarksPage};
use scylla::value::MaybeUnset;

use crate::StoreError;
use crate::cassandra::client::{Client, Kind, Statement, undecodable};
use crate::cassandra::derived::Together;
use crate::cassandra::value::{bigint, number};

/// Rows of one page.
const PAGE: i32 = 1024;
const COLUMNS: [&str; 4] = ["own_read", "delivered", "other_read", "version"];

type Row = (Vec<u8>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

#[derive(Debug)]
pub(in crate::cassandra) struct ConversationMark {
    raise: Statement,
    read: Statement,
}

impl ConversationMark {
    pub(super) async fn prepare(client: &Client) -> Result<Self, StoreError> {
        let raise = "UPDATE {keyspace}.conversation_mark USING TIMESTAMP ? \
                     SET own_read = ?, delivered = ?, other_read = ?, version = ? \
                     WHERE account = ? AND other = ?";
        let read = "SELECT other, own_read, delivered, other_read, version \
                    FROM {keyspace}.conversation_mark WHERE account = ? AND other > ?";
        Ok(Self {
            raise: client.prepare(Kind::Write, raise).await?,
            read: client.prepare(Kind::Read, read).await?,
        })
    }

    /// Adds a mark to what is written to its account's partition. Cells of one value are one statement,
    /// those that are 0 none.
    pub(in crate::cassandra) fn add<'a>(
        &'a self,
        row: &MarkRow,
        together: &mut Together<'a>,
    ) -> Result<(), StoreError> {
        let Mark { own_read, delivered, read, version } = row.mark;
        let cells = [own_read.0, delivered.0, read.0, version];
        for (index, value) in cells.into_iter().enumerate() {
            if value == 0 || cells[..index].contains(&value) {
                continue;
            }
            let stamp = bigint("mark", value)?;
            let cell = |other| {
                if other == value { MaybeUnset::Set(stamp) } else { MaybeUnset::Unset }
            };
            let [own_read, delivered, read, version] = cells.map(cell);
            let key = (row.account.to_bytes(), row.with.to_bytes());
            let values = (stamp, own_read, delivered, read, version, key.0, key.1);
            together.add_own(&self.raise, values);
        }
        Ok(())
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
