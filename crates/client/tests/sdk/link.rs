//! Devices that come into an account because another one lets them in.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use iris_client::place::Content;
use iris_client::store::{FileStore, HistoryMax, Login, MemoryStore, Record, Store as _};
use iris_client::{Client, ClientError, Connector, Event, Fetch, LinkCode, Options, Stop};
use iris_core::id::DeviceNo;
use iris_core::message::Address;
use tokio::time::timeout;

use crate::people::{SOON, connected, memory, next, next_text, person};
use crate::support::FakeEdge;
use crate::support::edge::Order;

const ADA: (&str, &str) = ("Ada", "default");

/// A new device, and the code that it shows.
async fn shown() -> (MemoryStore, LinkCode) {
    iris_client::link_code(memory()).await.unwrap()
}

/// The device comes in with the next question.
async fn linked(connector: &Connector, store: MemoryStore) -> MemoryStore {
    iris_client::link(connector, store, ADA, SOON).await.unwrap()
}

fn open(connector: &Connector, store: MemoryStore) -> Client {
    Client::open(connector, store, Options::default()).unwrap()
}

#[tokio::test]
async fn a_device_comes_in_while_it_waits() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let phone = person(&connector, "ada").await;
    let (store, code) = shown().await;
    let typed: LinkCode = code.to_string().parse().unwrap();
    let waits = linked(&connector, store);
    let lets_in = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        phone.handle().link_device(typed, "tablet").await.unwrap()
    };
    let (store, device) = tokio::join!(waits, lets_in);
    assert_eq!(device, DeviceNo(2));
    let expected = Login {
        handle: "ada".to_owned(),
        tenant: "default".to_owned(),
        account: phone.login_data().account,
        device,
        device_name: "tablet".to_owned(),
    };
    assert_eq!(store.state().login, Some(expected));
    assert_eq!(phone.handle().link_device(typed, "again").await.unwrap(), device);
    let devices = phone.handle().devices().await.unwrap();
    assert_eq!((devices.len(), devices[1].name.as_str()), (2, "tablet"));
    let again = iris_client::link(&connector, store, ADA, SOON).await.unwrap_err();
    assert!(matches!(again, ClientError::LoggedIn { .. }), "{again}");
}

#[tokio::test]
async fn a_linked_device_is_a_device_like_any_other() {
    let edge = FakeEdge::start();
    edge.knobs().token_seconds.store(4, Relaxed);
    let connector = edge.connector();
    let mut phone = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let (ada, to_grace) = (phone.login_data().account, grace.login_data().account);
    grace.send(ada, "before").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut phone).await, "before");

    let (store, code) = shown().await;
    phone.handle().link_device(code, "tablet").await.unwrap();
    grace.send(ada, "between").await.unwrap().await.unwrap();
    let mut tablet = open(&connector, linked(&connector, store).await);
    assert_eq!(next_text(&mut tablet).await, "between", "it begins where it was let in");
    grace.send(ada, "after").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut tablet).await, "after");
    tablet.send(to_grace, "hello").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut grace).await, "hello");

    // What was before is there for the asking.
    let fetch = Fetch { with: Address::Account(to_grace), before: None, limit: 10 };
    let page = tablet.handle().fetch(fetch).await.unwrap();
    let mut texts = page.places.iter().filter_map(|place| match &place.content {
        Content::Incoming(incoming) => Some(incoming.body.as_ref()),
        _ => None,
    });
    assert!(texts.any(|text| text == b"before"), "{page:?}");

    // Its tokens are renewed, and it can be put out.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(edge.shared.directory.refreshes.load(Relaxed) >= 1);
    phone.handle().revoke(DeviceNo(2)).await.unwrap();
    let stop = next(&mut tablet, |event| match event {
        Event::Stopped(stop) => Some(stop),
        _ => None,
    });
    assert_eq!(stop.await, Stop::Revoked);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_until_the_tokens_are_used() {
    let edge = FakeEdge::start();
    edge.knobs().token_seconds.store(2, Relaxed);
    let connector = edge.connector();
    let phone = person(&connector, "ada").await;
    let (store, code) = shown().await;
    let key = store.state().key.clone().unwrap();
    phone.handle().link_device(code, "tablet").await.unwrap();
    // As if the answer had been lost: the key is there, the login is not.
    let without = || {
        let mut store = memory();
        store.append(vec![Record::Key(key.clone())], true).unwrap();
        store
    };
    let first = linked(&connector, without()).await;
    let second = linked(&connector, without()).await;
    assert_eq!(first.state().login, second.state().login);
    let mut tablet = open(&connector, first);
    connected(&mut tablet).await;
    let renewed = timeout(SOON, async {
        while edge.shared.directory.refreshes.load(Relaxed) < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    renewed.await.unwrap();
    let replayed = iris_client::link(&connector, without(), ADA, SOON).await.unwrap_err();
    assert!(matches!(replayed, ClientError::Refused { code: 2002, .. }), "{replayed}");
    edge.order(Order::Cut);
    connected(&mut tablet).await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told_what_to_do() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let phone = person(&connector, "ada").await;
    person(&connector, "eve").await;
    let brief = Duration::from_millis(400);
    let directory = tempfile::tempdir().unwrap();
    let files = || FileStore::open(directory.path(), HistoryMax::PERSON).unwrap();
    let (store, code) = iris_client::link_code(files()).await.unwrap();
    for whom in ["ada", "nobody"] {
        let (store, _) = shown().await;
        let error = iris_client::link(&connector, store, (whom, "default"), brief).await;
        let error = error.unwrap_err();
        assert!(matches!(error, ClientError::NotLinked { .. }), "{error}");
        assert!(error.to_string().contains("link code"), "{error}");
    }
    // Giving up is harmless: the same device shows the same code.
    let waits = iris_client::link(&connector, store, ADA, SOON);
    assert!(timeout(brief, waits).await.is_err());
    let (store, again) = iris_client::link_code(files()).await.unwrap();
    assert_eq!(again, code);
    phone.handle().link_device(code, "tablet").await.unwrap();
    // Ada let it in, and not Eve.
    let mut other = memory();
    other.append(vec![Record::Key(store.state().key.clone().unwrap())], true).unwrap();
    let error = iris_client::link(&connector, other, ("eve", "default"), brief).await.unwrap_err();
    assert!(matches!(error, ClientError::NotLinked { .. }), "{error}");
    // A server that is away for a while is waited for.
    edge.knobs().http_down.store(true, Relaxed);
    let back = async {
        tokio::time::sleep(brief).await;
        edge.knobs().http_down.store(false, Relaxed);
    };
    let (store, ()) = tokio::join!(iris_client::link(&connector, store, ADA, SOON), back);
    assert_eq!(store.unwrap().state().login.as_ref().unwrap().device, DeviceNo(2));
}

#[tokio::test]
async fn what_cannot_work_is_not_waited_for() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let phone = person(&connector, "ada").await;
    let handle = phone.handle();
    let (store, code) = shown().await;
    let long = handle.link_device(code, &"x".repeat(65)).await.unwrap_err();
    assert!(matches!(long, ClientError::Refused { code: 4204, .. }), "{long}");
    let device = handle.link_device(code, &"x".repeat(64)).await.unwrap();
    handle.revoke(device).await.unwrap();
    let revoked = handle.link_device(code, "again").await.unwrap_err();
    assert!(matches!(revoked, ClientError::Refused { code: 4204, .. }), "{revoked}");
    let revoked = iris_client::link(&connector, store, ADA, SOON).await.unwrap_err();
    assert!(matches!(revoked, ClientError::Refused { code: 2003, .. }), "{revoked}");
    edge.knobs().links_nobody.store(true, Relaxed);
    let (store, _) = shown().await;
    let older = iris_client::link(&connector, store, ADA, SOON).await.unwrap_err();
    assert!(older.to_string().contains("log in with the password"), "{older}");
}
