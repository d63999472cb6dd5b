//! Where events go: to a handler at once, or through a bounded queue to whoever calls for the next.
//!
//! Places of the inbox and of groups are never dropped: what the application does not take is not
//! acknowledged, nor read on, so that what waits here is bounded.

use std::collections::VecDeque;

use iris_core::id::AccountId;
use iris_core::mark::Mark;
use tokio::sync::mpsc;

use crate::session::Event;

/// Beyond this many waiting events, those about the connection are dropped.
const NEWS_MAX: usize = 1024;

/// Takes every event of a client, on the client's task: it must not block and must return soon.
pub trait Handler: Send + 'static {
    /// Something happened.
    fn event(&mut self, event: Event);
}

pub(crate) enum Sink {
    /// With what it took since the session was told.
    Handler(Box<dyn Handler>, Taken),
    Stream {
        queue: mpsc::Sender<Event>,
        waiting: VecDeque<Event>,
    },
}

/// What the application took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Places of the inbox.
    pub(super) places: usize,
    /// Their weight.
    pub(super) bytes: usize,
    /// Messages of large groups.
    pub(super) logged: usize,
}

impl Taken {
    fn add(&mut self, event: &Event) {
        if let Event::Placed(place) = event {
            self.places += 1;
            self.bytes += place.weight();
        }
        self.logged += usize::from(matches!(event, Event::Logged(_)));
    }
}

impl Sink {
    pub(crate) fn handler(handler: Box<dyn Handler>) -> Self {
        Self::Handler(handler, Taken::default())
    }

    pub(crate) fn stream(queue: mpsc::Sender<Event>) -> Self {
        Self::Stream { queue, waiting: VecDeque::new() }
    }

    /// An event that somebody was told of by a receipt; handlers hear everything.
    pub(super) fn told(&mut self, event: Event) {
        if let Self::Handler(..) = self {
            self.add(event);
        }
    }

    pub(super) fn add(&mut self, event: Event) {
        match self {
            Self::Handler(handler, taken) => {
                taken.add(&event);
                handler.event(event);
            }
            Self::Stream { waiting, .. } => {
                let news = match &event {
                    Event::Acked { .. } => return,
                    Event::Connected { .. }
                    | Event::Disconnected { .. }
                    | Event::Nacked { .. }
                    | Event::Presence { .. }
                    | Event::Typing(_)
                    | Event::GroupGap(_)
                    | Event::Gap { .. } => true,
                    Event::Placed(_)
                    | Event::Logged(_)
                    | Event::Missed { .. }
                    | Event::Decided { .. }
                    | Event::Stopped(_) => false,
                    // The newest says what the others said; all of them are on the disk.
                    Event::Marked { with, mark } => return merge(waiting, *with, *mark),
                };
                if !news || waiting.len() < NEWS_MAX {
                    waiting.push_back(event);
                }
            }
        }
    }

    /// Hands on what the queue takes. Answers what went.
    pub(super) fn hand_over(&mut self) -> Taken {
        let mut went = Taken::default();
        let (queue, waiting) = match self {
            Self::Handler(_, taken) => return std::mem::take(taken),
            Self::Stream { queue, waiting } => (queue, waiting),
        };
        while !waiting.is_empty() {
            let Ok(permit) = queue.try_reserve() else { break };
            let Some(event) = waiting.pop_front() else { break };
            went.add(&event);
            permit.send(event);
        }
        went
    }

    /// Whether events wait for room.
    pub(super) fn lags(&self) -> bool {
        matches!(self, Self::Stream { waiting, .. } if !waiting.is_empty())
    }

    /// Ends when there is room.
    pub(super) async fn room(&mut self) {
        match self {
            // A queue that nobody reads any more takes nothing: its client is about to be dropped.
            Self::Stream { queue, .. } if queue.is_closed() => std::future::pending().await,
            Self::Stream { queue, .. } => drop(queue.reserve().await),
            Self::Handler(..) => {}
        }
    }
}

/// A mark that waits takes the later one in.
fn merge(waiting: &mut VecDeque<Event>, with: AccountId, mark: Mark) {
    let known = waiting.iter_mut().find_map(|event| match event {
        Event::Marked { with: known, mark } if *known == with => Some(mark),
        _ => None,
    });
    match known {
        Some(known) => *known = known.merge(mark),
        None => waiting.push_back(Event::Marked { with, mark }),
    }
}
