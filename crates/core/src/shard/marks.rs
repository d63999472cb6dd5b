//! Marks on their way to devices: those that change while a device is here, and before that those that
//! changed while it was away, read from the store.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::id::{AccountId, DeviceNo};
use crate::limits;
use crate::mark::Mark;

use super::Shard;
use super::effect::{Effect, ToConn};
use super::hot::Conn;
use super::input::MarksPage;

/// The marks that a device still has to be told.
#[derive(Debug, Clone, Default)]
pub(super) struct MarkFeed {
    /// The device knows every change up to this version.
    told: u64,
    /// Changes behind that, each conversation once.
    waiting: BTreeMap<AccountId, Mark>,
    /// More changed than may wait, up to this version: all of it is read.
    overflown: Option<u64>,
    reading: Reading,
}

/// Whether marks are read from the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Reading {
    /// What waits is all that there is.
    #[default]
    Not,
    /// Changes up to `target` are in the store; behind `after`, where some were read already.
    Wanted { target: u64, after: Option<AccountId> },
    /// They are being read. What was in no row yet when that began is `unwritten`: a row of it may be
    /// written behind the back of the read.
    Asked { target: u64, after: Option<AccountId>, unwritten: Vec<(AccountId, Mark)> },
}

impl MarkFeed {
    /// Of a device that knows every change up to `told`, of an account at version `newest`.
    pub(super) fn new(told: u64, newest: u64) -> Self {
        let reading = if told < newest {
            Reading::Wanted { target: newest, after: None }
        } else {
            Reading::Not
        };
        Self { told: told.min(newest), reading, ..Self::default() }
    }

    /// A mark changed.
    pub(super) fn add(&mut self, with: AccountId, mark: Mark) {
        if self.waiting.len() >= limits::MARKS_MAX && !self.waiting.contains_key(&with) {
            // A device that takes nothing now reads all of it later.
            let waiting = std::mem::take(&mut self.waiting);
            let newest = waiting.values().map(|mark| mark.version).max();
            self.overflown = newest.max(self.overflown).max(Some(mark.version));
            if !matches!(self.reading, Reading::Asked { .. }) {
                self.read_overflown();
            }
            return;
        }
        let known = self.waiting.entry(with).or_default();
        *known = known.merge(mark);
    }

    fn read_overflown(&mut self) {
        if let Some(target) = self.overflown.take() {
            self.reading = Reading::Wanted { target, after: None };
        }
    }
}

impl Shard {
    /// The next frame of marks for a device, or the wish to read some.
    pub(super) fn next_marks(
        &mut self,
        account: AccountId,
        device: DeviceNo,
        out: &mut Vec<Effect>,
    ) {
        let Some(hot) = self.hot_mut(account) else { return };
        let Some(attachment) = hot.attachments.get_mut(&device) else { return };
        if attachment.blocked || !attachment.greeted {
            return;
        }
        let (conn, feed) = (attachment.conn, &mut attachment.marks);
        match feed.reading {
            Reading::Asked { .. } => {}
            Reading::Wanted { target, after } => {
                out.push(Effect::LoadMarks { account, conn, above: feed.told, after });
                // What changes from here on waits by itself, so later pages need none of it.
                let unwritten = match after {
                    None => self.flushing.unwritten_marks(account),
                    Some(_) => Vec::new(),
                };
                let Some(hot) = self.hot_mut(account) else { return };
                let Some(attachment) = hot.attachments.get_mut(&device) else { return };
                attachment.marks.reading = Reading::Asked { target, after, unwritten };
            }
            Reading::Not if feed.waiting.is_empty() => {}
            Reading::Not => {
                let marks: Vec<_> = std::mem::take(&mut feed.waiting).into_iter().collect();
                let newest = marks.iter().map(|(_, mark)| mark.version).max();
                feed.told = feed.told.max(newest.unwrap_or_default());
                let what = ToConn::Marks { marks, version: Some(feed.told) };
                out.push(Effect::ToConn { conn, what });
            }
        }
    }

    /// The store's answer to [`Effect::LoadMarks`].
    pub(super) fn marks_loaded(
        &mut self,
        account: AccountId,
        conn: Conn,
        page: Option<MarksPage>,
        out: &mut Vec<Effect>,
    ) {
        // What an earlier attachment asked for is not what this one waits for.
        let Some((_, device)) = self.attached(conn) else { return };
        let Some(hot) = self.hot_mut(account) else { return };
        let Some(attachment) = hot.attachments.get_mut(&device) else { return };
        let feed = &mut attachment.marks;
        let Reading::Asked { target, after, unwritten } = std::mem::take(&mut feed.reading) else {
            return;
        };
        let Some(page) = page else {
            feed.reading = Reading::Wanted { target, after };
            feed.read_overflown();
            self.unread.insert(account);
            return;
        };
        let mut marks: BTreeMap<AccountId, Mark> = page.marks.into_iter().collect();
        for (with, mark) in unwritten {
            let known = marks.entry(with).or_default();
            *known = known.merge(mark);
        }
        marks.retain(|_, mark| mark.version > feed.told);
        let version = (page.next.is_none() && feed.overflown.is_none()).then_some(target);
        feed.reading = match page.next {
            Some(next) => Reading::Wanted { target, after: Some(next) },
            None => Reading::Not,
        };
        feed.read_overflown();
        feed.told = version.map_or(feed.told, |version| feed.told.max(version));
        let mut marks: Vec<_> = marks.into_iter().collect();
        while marks.len() > limits::MARKS_MAX {
            let rest = marks.split_off(limits::MARKS_MAX);
            let what = ToConn::Marks { marks: std::mem::replace(&mut marks, rest), version: None };
            out.push(Effect::ToConn { conn, what });
        }
        if !marks.is_empty() || version.is_some() {
            out.push(Effect::ToConn { conn, what: ToConn::Marks { marks, version } });
        }
        self.to_pump.insert(account);
    }

    /// A mark of an account changed, and that is released.
    pub(super) fn mark_released(&mut self, account: AccountId, with: AccountId, mark: Mark) {
        self.flushing.mark_released(account, with, mark);
        let Some(hot) = self.hot_mut(account) else { return };
        for attachment in hot.attachments.values_mut() {
            attachment.marks.add(with, mark);
        }
        self.to_pump.insert(account);
    }
}
