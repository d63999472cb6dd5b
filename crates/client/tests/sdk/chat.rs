//! People who write to each other.

use std::time::Duration;

use iris_client::place::Content;
use iris_client::store::{HistoryMax, MemoryStore};
use iris_client::{Client, Connector, Credentials, Event, Options, Outcome};
use tokio::time::timeout;

use crate::support::FakeEdge;

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn person(connector: &Connector, handle: &str) -> Client {
    let who = Credentials::new(handle, "a long password", "test");
    let store = MemoryStore::new(HistoryMax::PERSON);
    Client::register(connector, store, &who, Options::default()).await.unwrap()
}

/// The next text from somebody else.
pub(crate) async fn next_text(client: &mut Client) -> String {
    let found = timeout(SOON, async {
        loop {
            if let Event::Placed(place) = client.next().await.unwrap()
                && let Content::Incoming(incoming) = place.content
            {
                return String::from_utf8(incoming.body.to_vec()).unwrap();
            }
        }
    });
    found.await.expect("a message")
}

#[tokio::test]
async fn two_people_chat() {
    let edge = FakeEdge::start().await;
    let connector = edge.connector();
    let (mut ada, mut grace) = (person(&connector, "ada").await, person(&connector, "Grace").await);
    let to = ada.find_account("GRACE").await.unwrap();
    assert_eq!(to, grace.login_data().account);
    let decided = ada.send(to, "hello").await.unwrap().await.unwrap();
    assert_eq!(decided.outcome, Outcome::Accepted);
    assert_eq!(next_text(&mut grace).await, "hello");
    grace.send(ada.login_data().account, "hi").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut ada).await, "hi");
    let history = ada.handle().history(10, Some(to)).await.unwrap();
    let bodies: Vec<_> = history
        .iter()
        .map(|place| match &place.content {
            Content::Incoming(incoming) => incoming.body.clone(),
            Content::Sent(sent) => sent.body.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bodies, ["hello", "hi"]);
    ada.close().await.unwrap();
    grace.close().await.unwrap();
    connector.ended().await;
}
