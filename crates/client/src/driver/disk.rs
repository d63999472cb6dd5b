//! The store, written batch by batch: what comes while one batch is written goes with the next.

use std::collections::BTreeMap;
use std::mem;

use iris_core::id::AccountId;
use iris_core::mark::Mark;
use iris_core::message::Address;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock::wall_ms;
use crate::place::Place;
use crate::session::Ticket;
use crate::store::{Record, Store, StoreError};

type Written = (Box<dyn Store>, Result<(), StoreError>);

pub(crate) struct Disk {
    home: Home,
    queue: Vec<Record>,
    /// The last of them.
    upto: Ticket,
    /// Something waits for them.
    urgent: bool,
    /// A record of the driver's own is among them.
    extra: bool,
    waiting: Vec<Question>,
}

/// What is asked of the state, once it is here.
enum Question {
    History(usize, Option<Address>, oneshot::Sender<Vec<Place>>),
    Marks(oneshot::Sender<BTreeMap<AccountId, Mark>>),
}

enum Home {
    Here(Box<dyn Store>),
    Away {
        job: JoinHandle<Written>,
        upto: Ticket,
    },
    /// It failed.
    Gone,
}

impl Disk {
    pub(crate) fn new(store: Box<dyn Store>) -> Self {
        Self {
            home: Home::Here(store),
            queue: Vec::new(),
            upto: Ticket(0),
            urgent: false,
            extra: false,
            waiting: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, ticket: Ticket, record: Record, urgent: bool) {
        self.upto = ticket;
        self.urgent |= urgent;
        self.queue.push(record);
    }

    /// A record that no ticket names.
    pub(super) fn add_extra(&mut self, record: Record) {
        self.queue.push(record);
        (self.urgent, self.extra) = (true, true);
    }

    /// Whether a record of [`Disk::add_extra`] waits to be written.
    pub(super) fn has_extra(&self) -> bool {
        self.extra
    }

    pub(super) fn is_writing(&self) -> bool {
        matches!(self.home, Home::Away { .. })
    }

    /// Writes what is urgent, and what else waits with it. Answers when that is done at once.
    pub(super) fn write(&mut self) -> Option<Result<Ticket, StoreError>> {
        if !self.urgent {
            return None;
        }
        self.start(true)
    }

    fn start(&mut self, durable: bool) -> Option<Result<Ticket, StoreError>> {
        let mut store = match mem::replace(&mut self.home, Home::Gone) {
            Home::Here(store) => store,
            other => {
                self.home = other;
                return None;
            }
        };
        let records = mem::take(&mut self.queue);
        (self.urgent, self.extra) = (false, false);
        if store.blocks() {
            let upto = self.upto;
            let job = tokio::task::spawn_blocking(move || {
                let result = store.append(records, durable);
                (store, result)
            });
            self.home = Home::Away { job, upto };
            return None;
        }
        let result = store.append(records, durable);
        self.home = Home::Here(store);
        Some(result.map(|()| self.upto))
    }

    /// The end of the batch that is being written.
    pub(super) async fn written(&mut self) -> Result<Ticket, StoreError> {
        let Home::Away { job, upto } = &mut self.home else {
            return std::future::pending().await;
        };
        let (ended, upto) = (job.await, *upto);
        match ended {
            Ok((store, result)) => {
                self.home = Home::Here(store);
                self.answer_waiting();
                result.map(|()| upto)
            }
            Err(_) => {
                self.home = Home::Gone;
                Err(StoreError::Broken)
            }
        }
    }

    /// Answers with the newest places of a conversation, or of all.
    pub(super) fn history(
        &mut self,
        count: usize,
        with: Option<Address>,
        reply: oneshot::Sender<Vec<Place>>,
    ) {
        self.waiting.push(Question::History(count, with, reply));
        self.answer_waiting();
    }

    /// Answers with how far conversations were received and read.
    pub(super) fn marks(&mut self, reply: oneshot::Sender<BTreeMap<AccountId, Mark>>) {
        self.waiting.push(Question::Marks(reply));
        self.answer_waiting();
    }

    fn answer_waiting(&mut self) {
        if let Home::Here(store) = &self.home {
            let state = store.state();
            for question in self.waiting.drain(..) {
                // Whoever asked may have gone.
                let _gone = match question {
                    Question::History(count, with, reply) => {
                        let now_ms = wall_ms();
                        let wanted = |place: &Place| {
                            (with.is_none() || place.peer() == with) && !place.is_expired(now_ms)
                        };
                        reply.send(state.newest(count, wanted)).is_err()
                    }
                    Question::Marks(reply) => {
                        let mut marks = state.marks.clone();
                        for record in &self.queue {
                            let Record::Marked { marks: more, .. } = record else { continue };
                            for (with, mark) in more {
                                let known = marks.entry(*with).or_default();
                                *known = known.merge(*mark);
                            }
                        }
                        reply.send(marks).is_err()
                    }
                };
            }
        }
    }

    /// Writes everything that waits.
    pub(super) async fn close(&mut self) -> Result<(), StoreError> {
        while self.is_writing() {
            self.written().await?;
        }
        if self.queue.is_empty() {
            return Ok(());
        }
        match self.start(true) {
            Some(result) => result.map(|_| ()),
            None if self.is_writing() => self.written().await.map(|_| ()),
            None => Ok(()),
        }
    }
}
