//! Registering, logging in, tokens.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use iris_client::store::{FileStore, HistoryMax, Record, Store as _};
use iris_client::{
    Carrier, Client, ClientError, Connector, Credentials, Event, Options, Outcome, Stop, Trust,
};

use crate::people::{PASSWORD, SOON, connected, device, memory, next, next_text, person, who};
use crate::support::FakeEdge;
use crate::support::edge::Order;

#[tokio::test]
async fn refusals_say_why() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let ada = person(&connector, "ada").await;
    let other = Credentials::new("ada", "another password", "test");
    let taken = iris_client::register(&connector, memory(), &other).await.unwrap_err();
    assert!(matches!(taken, ClientError::Refused { code: 4201, .. }), "{taken}");
    let wrong = iris_client::login(&connector, memory(), &other).await.unwrap_err();
    assert!(matches!(wrong, ClientError::Refused { code: 4202, .. }), "{wrong}");
    let short = Credentials::new("bob", "short", "test");
    let invalid = iris_client::register(&connector, memory(), &short).await.unwrap_err();
    assert!(matches!(invalid, ClientError::Refused { code: 4204, .. }), "{invalid}");
    let nobody = ada.find_account("nobody").await.unwrap_err();
    assert!(matches!(nobody, ClientError::Refused { code: 4203, .. }), "{nobody}");
    let fresh = Client::open(&connector, memory(), Options::default()).unwrap_err();
    assert!(matches!(fresh, ClientError::NotLoggedIn));
    assert!(iris_client::jwks(&connector).await.unwrap()["keys"].is_array());
}

#[tokio::test]
async fn a_lost_answer_leads_to_the_same_device() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let first = iris_client::register(&connector, memory(), &who("ada")).await.unwrap();
    // As if the answer had been lost: the key is there, the login is not.
    let mut store = memory();
    store.append(vec![Record::Key(first.state().key.clone().unwrap())], true).unwrap();
    let again = iris_client::register(&connector, store, &who("ada")).await.unwrap();
    assert_eq!(again.state().login, first.state().login);
    let other = iris_client::register(&connector, again, &who("bob")).await.unwrap_err();
    assert!(matches!(other, ClientError::LoggedIn { .. }), "{other}");
}

#[tokio::test]
async fn tokens_are_renewed_while_the_connection_goes_on() {
    let edge = FakeEdge::start();
    edge.knobs().token_seconds.store(4, Relaxed);
    let connector = edge.connector();
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path(), HistoryMax::PERSON).unwrap();
    let ada = Client::register(&connector, store, &who("ada"), Options::default()).await;
    let mut ada = ada.unwrap();
    connected(&mut ada).await;
    let quiet = tokio::time::timeout(Duration::from_secs(9), async {
        loop {
            let event = ada.next().await.unwrap();
            assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
        }
    });
    assert!(quiet.await.is_err(), "nothing happens");
    assert!(edge.shared.directory.refreshes.load(Relaxed) >= 2);
    ada.close().await.unwrap();
    // The newest refresh token is on the disk.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let store = FileStore::open(directory.path(), HistoryMax::PERSON).unwrap();
    let mut ada = Client::open(&connector, store, Options::default()).unwrap();
    connected(&mut ada).await;
}

#[tokio::test]
async fn an_expired_token_is_replaced_before_the_next_connection() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    connected(&mut ada).await;
    let before = edge.shared.directory.refreshes.load(Relaxed);
    edge.order(Order::Error { code: 2001, retry_after_ms: 0 });
    connected(&mut ada).await;
    assert_eq!(edge.shared.directory.refreshes.load(Relaxed), before + 1);
}

#[tokio::test]
async fn a_revoked_device_stops_and_says_so() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let phone = person(&connector, "ada").await;
    let mut laptop = device(&connector, "ada").await;
    connected(&mut laptop).await;
    let handle = phone.handle();
    let devices = handle.devices().await.unwrap();
    assert_eq!(
        devices.iter().map(|d| (d.device.0, d.revoked)).collect::<Vec<_>>(),
        [(1, false), (2, false)]
    );
    assert_eq!(devices[1].name, "test");
    handle.revoke(devices[1].device).await.unwrap();
    let stop = next(&mut laptop, |event| match event {
        Event::Stopped(stop) => Some(stop),
        _ => None,
    });
    assert_eq!(stop.await, Stop::Revoked);
    let refused = laptop.send(phone.login_data().account, "x").await.unwrap().await.unwrap_err();
    assert!(refused.needs_login(), "{refused}");
    assert!(handle.devices().await.unwrap()[1].revoked);
    let unknown = handle.revoke(iris_core::id::DeviceNo(9)).await.unwrap_err();
    assert!(matches!(unknown, ClientError::Refused { code: 4203, .. }), "{unknown}");
}

#[tokio::test]
async fn tokens_that_cannot_be_had_are_asked_for_again() {
    let edge = FakeEdge::start();
    edge.knobs().token_seconds.store(3, Relaxed);
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    connected(&mut ada).await;
    edge.knobs().http_down.store(true, Relaxed);
    tokio::time::sleep(Duration::from_secs(4)).await;
    edge.knobs().http_down.store(false, Relaxed);
    let mut bob = person(&connector, "bob").await;
    let receipt = ada.send(bob.login_data().account, "at last").await.unwrap();
    let decided = tokio::time::timeout(SOON, receipt).await.unwrap().unwrap();
    assert_eq!(decided.outcome, Outcome::Accepted);
    assert_eq!(next_text(&mut bob).await, "at last");
}

#[tokio::test]
async fn certificates_and_addresses_are_checked() {
    let edge = FakeEdge::start();
    let stranger = FakeEdge::start();
    let trust = Trust::Pem(stranger.ca_pem().as_bytes().to_vec());
    let edges = vec![edge.server().parse().unwrap()];
    let connector = Connector::new(edges, &trust, Carrier::Tls).unwrap();
    let error = iris_client::register(&connector, memory(), &who("ada")).await.unwrap_err();
    assert!(
        error.is_transient() && error.to_string().contains("invalid peer certificate"),
        "{error}"
    );
    let nowhere = vec!["localhost:1".parse().unwrap()];
    let connector = Connector::new(nowhere, &trust, Carrier::Tls).unwrap();
    let error = iris_client::login(&connector, memory(), &who("ada")).await.unwrap_err();
    assert!(error.to_string().contains("localhost:1"), "{error}");
    assert!(!error.to_string().contains(PASSWORD));
    assert!(Connector::new(Vec::new(), &trust, Carrier::Tls).is_err());
    let none =
        Connector::new(edge.connector().edges().to_vec(), &Trust::Pem(b"x".to_vec()), Carrier::Tls);
    assert!(none.is_err());
}
