//! What a lane asks of the store. Each job ends with a value that the lane takes as an input.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use iris_core::account::{Account, InboxItem};
use iris_core::engine::Action;
use iris_core::entry::{Entry, Op, Received};
use iris_core::id::{AccountId, ShardId};
use iris_core::lane::Formed;
use iris_core::limits;
use iris_core::seq::{BlockSeq, InboxSeq};
use iris_core::shard::{Conn, Fetch, Flush, HistoryPage, Input, MarksPage};
use iris_proto::stored_blocks;
use iris_runtime::backoff::Backoff;
use iris_store::{Checkpoint, DamagedRow, LogRow, ShardRef, StoreError};

use super::super::metrics::OwnerMetrics;
use super::Lane;
use super::groups::{Asked, OfGroup};

/// How often a flush is tried before the shard captures it anew.
const FLUSH_TRIES: u32 = 8;

/// The end of a job.
pub(super) enum Done {
    /// A block is durable.
    Written { seq: BlockSeq },
    /// An account was read, or not.
    Loaded { shard: ShardId, account: AccountId, state: Result<Option<Account>, StoreError> },
    /// An inbox was read, or not.
    InboxLoaded {
        shard: ShardId,
        account: AccountId,
        asked: InboxSeq,
        items: Result<Vec<InboxItem>, StoreError>,
    },
    /// Places were read to make receipts of them, or not.
    ReceiptsRead {
        shard: ShardId,
        account: AccountId,
        after: InboxSeq,
        items: Result<Vec<InboxItem>, StoreError>,
    },
    /// Marks were read, or not.
    MarksLoaded {
        shard: ShardId,
        account: AccountId,
        conn: Conn,
        page: Result<MarksPage, StoreError>,
    },
    /// A page of history was read, or not.
    Fetched { shard: ShardId, asked: Fetching, page: Result<HistoryPage, StoreError> },
    /// Something of a group was read, or not.
    OfGroup { shard: ShardId, done: OfGroup },
    /// The rows of a flush are written, or not.
    Flushed { shard: ShardId, written: bool, rows: usize },
}

/// A page of history that somebody waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetching {
    account: AccountId,
    conn: Conn,
    corr: u32,
    fetch: Fetch,
}

/// Rows that cannot be understood stay so; a store that does not answer is asked again.
fn account_read(
    metrics: &OwnerMetrics,
    shard: ShardId,
    account: AccountId,
    state: Result<Option<Account>, StoreError>,
) -> Input {
    match state {
        Ok(state) => Input::Loaded { account, state },
        Err(error @ StoreError::Corrupt(_)) => {
            metrics.damaged.with_label_values(&["account"]).inc();
            tracing::error!(%error, %shard, %account, "an account cannot be understood");
            Input::AccountDamaged { account }
        }
        Err(error) => {
            tracing::warn!(%error, %shard, "an account could not be read");
            Input::LoadFailed { account }
        }
    }
}

/// What an erasure met and did not understand: the rows of the flush are written all the same.
fn rows_damaged(metrics: &OwnerMetrics, shard: ShardId, damaged: &[DamagedRow]) {
    for DamagedRow { table, row, why } in damaged {
        metrics.damaged.with_label_values(&[table.name()]).inc();
        tracing::error!(
            %shard,
            table = table.name(),
            row,
            why,
            "what was deleted may still be in a row that cannot be understood"
        );
    }
}

impl Lane {
    pub(super) fn finish(&mut self, done: Done) {
        match done {
            Done::Written { seq } => {
                self.engine.written(seq);
                self.show_cover();
            }
            Done::Loaded { shard, account, state } => {
                self.feed(shard, account_read(&self.deps.metrics, shard, account, state));
            }
            Done::InboxLoaded { shard, account, asked, items } => {
                if let Err(error) = &items {
                    tracing::warn!(%error, %shard, "an inbox could not be read");
                }
                self.feed(shard, Input::InboxLoaded { account, asked, items: items.ok() });
            }
            Done::ReceiptsRead { shard, account, after, items } => {
                if let Err(error) = &items {
                    tracing::warn!(%error, %shard, "an inbox could not be read");
                }
                self.feed(shard, Input::ReceiptsRead { account, after, items: items.ok() });
            }
            Done::MarksLoaded { shard, account, conn, page } => {
                if let Err(error) = &page {
                    tracing::warn!(%error, %shard, "marks could not be read");
                }
                self.feed(shard, Input::MarksLoaded { account, conn, page: page.ok() });
            }
            Done::Fetched { shard, asked, page } => {
                if let Err(error) = &page {
                    tracing::warn!(%error, %shard, "history could not be read");
                }
                let Fetching { account, conn, corr, fetch } = asked;
                let page = page.ok();
                self.feed(shard, Input::Fetched { account, conn, corr, fetch, page });
            }
            Done::OfGroup { shard, done } => self.finish_of_group(shard, done),
            Done::Flushed { shard, written, rows } => {
                let outcome = if written { "written" } else { "failed" };
                self.deps.metrics.flushes.with_label_values(&[outcome]).inc();
                if written {
                    self.deps.metrics.derived_rows.inc_by(rows as u64);
                }
                let mut actions = Vec::new();
                let now = self.deps.clock.now();
                self.engine.flushed(now, shard, written, &mut actions);
                self.perform(actions);
            }
        }
    }

    /// Freezes a block's bytes and writes exactly them until the write succeeds.
    pub(super) fn write(&mut self, formed: Formed) {
        let Formed { seq, header, entries } = formed;
        let block = stored_blocks::encode(header, &entries);
        let prev = self.hash;
        self.hash = prev.after(&block);
        let metrics = self.deps.metrics.clone();
        metrics.blocks.inc();
        count(&metrics, &entries);
        metrics.entries.inc_by(entries.len() as u64);
        metrics.block_entries.observe(entries.len() as f64);
        metrics.block_bytes.inc_by(block.len() as u64);
        let (store, lane) = (Arc::clone(&self.deps.store), self.deps.lane);
        let row = LogRow { seq, prev, block };
        self.jobs.push(Box::pin(async move {
            let timer = metrics.write_s.start_timer();
            let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));
            loop {
                let chunk = seq.0 / limits::LOG_CHUNK_BLOCKS;
                let begins_chunk = seq.0.is_multiple_of(limits::LOG_CHUNK_BLOCKS);
                let opened =
                    if begins_chunk { store.open_chunk(lane, chunk).await } else { Ok(()) };
                let written = match opened {
                    Ok(()) => store.append(lane, &row).await,
                    Err(error) => Err(error),
                };
                match written {
                    Ok(()) => break,
                    Err(error) => {
                        metrics.write_retries.inc();
                        tracing::warn!(%error, %lane, block = %seq, "a block is written again");
                        backoff.wait().await;
                    }
                }
            }
            timer.observe_duration();
            Done::Written { seq }
        }));
    }

    pub(super) fn materialize(&self, shard: ShardId, flush: Flush, block: BlockSeq) {
        let Some(key) = self.engine.shard(shard).map(iris_core::shard::Shard::key) else { return };
        let shard_ref = ShardRef { shard, home_gen: key.home_gen };
        let checkpoint =
            Checkpoint { epoch: key.epoch, pos: flush.checkpoint, block, clock: flush.clock };
        let store = Arc::clone(&self.deps.store);
        let permits = Arc::clone(&self.deps.flush_permits);
        let metrics = self.deps.metrics.clone();
        self.jobs.push(Box::pin(async move {
            let rows = flush.rows();
            let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
            let mut written = false;
            for _ in 0..FLUSH_TRIES {
                let permit = permits.acquire().await;
                let result = store.materialize(shard_ref, &flush, checkpoint).await;
                drop(permit);
                match result {
                    Ok(damaged) => {
                        rows_damaged(&metrics, shard, &damaged);
                        written = true;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, %shard, "derived rows could not be written");
                        backoff.wait().await;
                    }
                }
            }
            Done::Flushed { shard, written, rows }
        }));
    }

    pub(super) fn load(&self, shard: ShardId, account: AccountId) {
        let store = Arc::clone(&self.deps.store);
        let permits = Arc::clone(&self.deps.load_permits);
        self.jobs.push(Box::pin(async move {
            let _permit = permits.acquire().await;
            Done::Loaded { shard, account, state: store.account(account).await }
        }));
    }

    pub(super) fn load_inbox(
        &self,
        shard: ShardId,
        account: AccountId,
        (asked, upto): (InboxSeq, InboxSeq),
    ) {
        let store = Arc::clone(&self.deps.store);
        let permits = Arc::clone(&self.deps.load_permits);
        self.jobs.push(Box::pin(async move {
            let _permit = permits.acquire().await;
            let items = store.inbox(account, asked, upto, limits::INBOX_LOAD_BYTES).await;
            Done::InboxLoaded { shard, account, asked, items }
        }));
    }

    fn read_for_receipts(
        &self,
        shard: ShardId,
        account: AccountId,
        (after, upto): (InboxSeq, InboxSeq),
    ) {
        let store = Arc::clone(&self.deps.store);
        let permits = Arc::clone(&self.deps.load_permits);
        self.jobs.push(Box::pin(async move {
            let _permit = permits.acquire().await;
            let items = store.inbox(account, after, upto, limits::INBOX_LOAD_BYTES).await;
            Done::ReceiptsRead { shard, account, after, items }
        }));
    }

    fn load_marks(
        &self,
        shard: ShardId,
        (account, conn): (AccountId, Conn),
        above: u64,
        after: Option<AccountId>,
    ) {
        let store = Arc::clone(&self.deps.store);
        let permits = Arc::clone(&self.deps.load_permits);
        self.jobs.push(Box::pin(async move {
            let _permit = permits.acquire().await;
            let page = store.marks(account, above, after).await;
            Done::MarksLoaded { shard, account, conn, page }
        }));
    }

    fn fetch(&self, shard: ShardId, asked: Fetching) {
        let store = Arc::clone(&self.deps.store);
        let permits = Arc::clone(&self.deps.load_permits);
        self.jobs.push(Box::pin(async move {
            let _permit = permits.acquire().await;
            let page = store.history(asked.account, asked.fetch).await;
            Done::Fetched { shard, asked, page }
        }));
    }

    /// Performs one action.
    pub(super) fn perform_one(&mut self, action: Action) {
        match action {
            Action::Write(formed) => self.write(formed),
            Action::Materialize { shard, flush, block } => self.materialize(shard, flush, block),
            Action::Load { shard, account } => self.load(shard, account),
            Action::LoadInbox { shard, account, after, upto } => {
                self.load_inbox(shard, account, (after, upto));
            }
            Action::ReadForReceipts { shard, account, after, upto } => {
                self.read_for_receipts(shard, account, (after, upto));
            }
            Action::LoadMarks { shard, account, conn, above, after } => {
                self.load_marks(shard, (account, conn), above, after);
            }
            Action::Fetch { shard, account, conn, corr, fetch } => {
                self.fetch(shard, Fetching { account, conn, corr, fetch });
            }
            Action::LoadGroup { shard, group } => self.load_group(shard, group),
            Action::ReadRoster { shard, account, conn, corr, group, after } => {
                self.read_roster(shard, Asked { account, conn, corr }, (group, after));
            }
            Action::ReadLog { shard, account, conn, corr, fetch } => {
                self.read_log(shard, Asked { account, conn, corr }, fetch);
            }
            Action::Signal { to, signal } => self.deps.router.signal(to, signal),
            Action::ToConn { shard, conn, what } => self.tell_conn(shard, conn, what),
            Action::Answer { token, answer } => self.answer(token, answer),
            Action::Push { shard, to, items } => self.push(shard, to, items),
            Action::Confirm { shard, link, from, upto } => self.confirm(shard, link, from, upto),
            Action::Expect { shard, link, from, next } => self.expect(shard, link, from, next),
            Action::Drained(drained) => {
                if let Some(done) = self.drains.remove(&drained.shard) {
                    // A mover that is gone cancelled its move.
                    let _ = done.send(drained);
                }
            }
        }
    }
}

fn count(metrics: &OwnerMetrics, entries: &[Entry]) {
    for entry in entries {
        match &entry.op {
            Op::Sent { .. } => metrics.accepted.inc(),
            Op::Received { outcome, .. } => count_received(metrics, outcome),
            Op::AccountCreated { .. }
            | Op::DeviceAdded { .. }
            | Op::DeviceRevoked { .. }
            | Op::RefreshRotated { .. }
            | Op::SendRefused { .. }
            | Op::Wished { .. }
            | Op::Progress(_) => {}
            Op::Marked { .. } => metrics.marked.inc(),
        }
    }
}

fn count_received(metrics: &OwnerMetrics, outcome: &Received) {
    match outcome {
        Received::Delivered { .. } => metrics.received.inc(),
        Received::Ordered { .. } => metrics.group_messages.inc(),
        Received::Shared { places, .. } => metrics.group_places.inc_by(places.len() as u64),
        Received::Refused { .. }
        | Received::Noticed { .. }
        | Received::Marked { .. }
        | Received::Dropped => {}
    }
}
