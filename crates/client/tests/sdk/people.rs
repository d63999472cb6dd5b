//! People for the tests.

use std::time::Duration;

use iris_client::place::{Content, Place};
use iris_client::store::{HistoryMax, MemoryStore};
use iris_client::{Client, Connector, Credentials, Event, Options};
use tokio::time::timeout;

/// Anything that takes longer is broken.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const PASSWORD: &str = "a long password";

pub(crate) fn memory() -> MemoryStore {
    MemoryStore::new(HistoryMax::PERSON)
}

pub(crate) fn who(handle: &str) -> Credentials {
    Credentials::new(handle, PASSWORD, "test")
}

pub(crate) async fn person(connector: &Connector, handle: &str) -> Client {
    Client::register(connector, memory(), &who(handle), Options::default()).await.unwrap()
}

/// Another device of a person.
pub(crate) async fn device(connector: &Connector, handle: &str) -> Client {
    Client::login(connector, memory(), &who(handle), Options::default()).await.unwrap()
}

/// The first event that `wanted` wants.
pub(crate) async fn next<T>(client: &mut Client, wanted: impl Fn(Event) -> Option<T>) -> T {
    let found = timeout(SOON, async {
        loop {
            if let Some(found) = wanted(client.next().await.expect("the client goes on")) {
                return found;
            }
        }
    });
    found.await.expect("it happens soon")
}

pub(crate) async fn connected(client: &mut Client) {
    next(client, |event| matches!(event, Event::Connected { .. }).then_some(())).await;
}

pub(crate) async fn next_place(client: &mut Client) -> Place {
    next(client, |event| match event {
        Event::Placed(place) => Some(place),
        _ => None,
    })
    .await
}

/// The next text from somebody else.
pub(crate) async fn next_text(client: &mut Client) -> String {
    next(client, |event| match event {
        Event::Placed(Place { content: Content::Incoming(incoming), .. }) => {
            Some(String::from_utf8(incoming.body.to_vec()).unwrap())
        }
        _ => None,
    })
    .await
}
