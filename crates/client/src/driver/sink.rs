//! Where events go: to a handler at once, or through a bounded queue to whoever calls for the next.
//!
//! Places of the inbox are never dropped: what the application does not take is not acknowledged, so that
//! the server's credit bounds what waits here.

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
    /// With how many places it took, and their weight, since the session was told.
    Handler(Box<dyn Handler>, (usize, usize)),
    Stream {
        queue: mpsc::Sender<Event>,
        waiting: VecDeque<Event>,
    },
}

impl Sink {
    pub(crate) fn handler(handler: Box<dyn Handler>) -> Self {
        Self::Handler(handler, (0, 0))
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
            Self::Handler(handler, (places, bytes)) => {
                if let Event::Placed(place) = &event {
                    *places += 1;
                    *bytes += place.weight();
                }
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
                    | Event::Gap { .. } => true,
                    Event::Placed(_)
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

    /// Hands on what the queue takes. Answers how many places went, and their weight.
    pub(super) fn hand_over(&mut self) -> (usize, usize) {
        let (mut places, mut bytes) = (0, 0);
        let (queue, waiting) = match self {
            Self::Handler(_, taken) => return std::mem::take(taken),
            Self::Stream { queue, waiting } => (queue, waiting),
        };
        while !waiting.is_empty() {
            let Ok(permit) = queue.try_reserve() else { break };
            let Some(event) = waiting.pop_front() else { break };
            if let Event::Placed(place) = &event {
                places += 1;
                bytes += place.weight();
            }
            permit.send(event);
        }
        (places, bytes)
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
