//! People who write to each other.

use std::sync::Arc;
use std::time::Duration;

use iris_client::place::{Content, Place};
use iris_client::store::{HistoryMax, MemoryStore, Store as _};
use iris_client::{Carrier, Client, Credentials, Event, Options, Outcome};
use iris_e2e::region::Shape;
use iris_testing::traffic::register;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::start;

const SOON: Duration = Duration::from_secs(30);

/// The next text from somebody else.
async fn next_text(client: &mut Client) -> String {
    let found = timeout(SOON, async {
        loop {
            let event = client.next().await.expect("the client goes on");
            if let Event::Placed(Place { content: Content::Incoming(incoming), .. }) = event {
                return String::from_utf8(incoming.body.to_vec()).unwrap();
            }
        }
    });
    found.await.expect("it arrives soon")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_chat_through_two_edges() {
    let (region, _files) = start(Shape::default()).await;
    let (left, right) = (
        region.connector_to(0, Carrier::Tls).unwrap(),
        region.connector_to(1, Carrier::WebSocket).unwrap(),
    );
    let mut ada = register(&left, "ada").await.unwrap();
    let mut grace = register(&right, "grace").await.unwrap();
    let to = ada.find_account("GRACE").await.unwrap();
    assert_eq!(to, grace.login_data().account);
    let decided = ada.send(to, "hello").await.unwrap().await.unwrap();
    assert_eq!(decided.outcome, Outcome::Accepted);
    assert_eq!(next_text(&mut grace).await, "hello");
    grace.send(ada.login_data().account, "hi").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut ada).await, "hi");
    region.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_to_the_absent_waits_for_them() {
    let (region, _files) = start(Shape::default()).await;
    let connector = region.connector().unwrap();
    let ada = register(&connector, "ada").await.unwrap();
    let who = Credentials::new("grace", "a long password", "phone");
    let nothing = MemoryStore::new(HistoryMax::PERSON).state().clone();
    let kept = Arc::new(Mutex::new(nothing));
    let store = || MemoryStore::on(&kept);
    let grace = Client::register(&connector, store(), &who, Options::default()).await.unwrap();
    let to = grace.login_data().account;
    grace.close().await.unwrap();
    for n in 0..200 {
        ada.send(to, format!("{n}")).await.unwrap();
    }
    ada.send(to, "last").await.unwrap().await.unwrap();
    let mut grace = Client::open(&connector, store(), Options::default()).unwrap();
    for n in 0..200 {
        assert_eq!(next_text(&mut grace).await, format!("{n}"));
    }
    assert_eq!(next_text(&mut grace).await, "last");
    region.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_device_gets_everything() {
    let (region, _files) = start(Shape::default()).await;
    let connector = region.connector().unwrap();
    let ada = register(&connector, "ada").await.unwrap();
    let mut phone = register(&connector, "grace").await.unwrap();
    let who = Credentials::new("grace", "a long password", "laptop");
    let store = MemoryStore::new(HistoryMax::PERSON);
    let mut laptop = Client::login(&connector, store, &who, Options::default()).await.unwrap();
    timeout(SOON, async { while !matches!(laptop.next().await, Some(Event::Connected { .. })) {} })
        .await
        .unwrap();
    let to = phone.login_data().account;
    for n in 0..50 {
        ada.send(to, format!("{n}")).await.unwrap();
    }
    for n in 0..50 {
        assert_eq!(next_text(&mut phone).await, format!("{n}"));
        assert_eq!(next_text(&mut laptop).await, format!("{n}"));
    }
    region.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_out_at_once_and_for_good() {
    let (region, _files) = start(Shape::default()).await;
    let connector = region.connector().unwrap();
    let phone = register(&connector, "grace").await.unwrap();
    let who = Credentials::new("grace", "a long password", "laptop");
    let store = MemoryStore::new(HistoryMax::PERSON);
    let mut laptop = Client::login(&connector, store, &who, Options::default()).await.unwrap();
    let device = laptop.login_data().device;
    phone.handle().revoke(device).await.unwrap();
    let stopped = timeout(SOON, async {
        loop {
            match laptop.next().await {
                Some(Event::Stopped(stop)) => return format!("{stop:?}"),
                Some(_) => {}
                None => panic!("the client ended without a word"),
            }
        }
    });
    let stopped = stopped.await.unwrap();
    assert!(stopped.contains("evoked") || stopped.contains("Login"), "{stopped}");
    let devices = phone.handle().devices().await.unwrap();
    assert!(devices.iter().all(|known| known.device != device || known.revoked), "{devices:?}");
    region.stop().await;
}
