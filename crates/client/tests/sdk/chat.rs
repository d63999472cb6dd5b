//! People who write to each other.

use std::sync::Arc;

use iris_client::place::Content;
use iris_client::store::{FileStore, HistoryMax, Store as _};
use iris_client::{Carrier, Client, Draft, Event, Handler, Options, Outcome};
use iris_core::id::MsgId;
use iris_core::message::{Address, Bodies};
use iris_core::seq::ConvSeq;
use parking_lot::Mutex;

use crate::people::{connected, device, memory, next_place, next_text, person, who};
use crate::support::FakeEdge;

#[tokio::test]
async fn two_people_chat() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let (mut ada, mut grace) = (person(&connector, "ada").await, person(&connector, "Grace").await);
    let to = ada.find_account("GRACE").await.unwrap();
    assert_eq!(to, grace.login_data().account);
    let decided = ada.send(to, "hello").await.unwrap().await.unwrap();
    assert_eq!(decided.outcome, Outcome::Accepted);
    assert_eq!(next_text(&mut grace).await, "hello");
    grace.send(ada.login_data().account, "hi").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut ada).await, "hi");
    let history = ada.handle().history(10, Some(Address::Account(to))).await.unwrap();
    let body = |content: &Content| match content {
        Content::Incoming(incoming) => incoming.body.clone(),
        Content::Sent(sent) => sent.body.clone(),
        other => panic!("{other:?}"),
    };
    let bodies: Vec<_> = history.iter().map(|place| body(&place.content)).collect();
    assert_eq!(bodies, ["hello", "hi"]);
    ada.close().await.unwrap();
    grace.close().await.unwrap();
    connector.ended().await;
}

#[tokio::test]
async fn many_messages_go_out_at_once_and_arrive_in_order() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let (ada, mut grace) = (person(&connector, "ada").await, person(&connector, "grace").await);
    let to = grace.login_data().account;
    let drafts: Vec<_> = (0..200).map(|n| Draft::new(to, format!("{n}")).unwrap()).collect();
    let handle = ada.handle();
    let receipts = handle.send_all(drafts).await.unwrap();
    for (n, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.await.unwrap().outcome, Outcome::Accepted, "{n}");
        assert_eq!(next_text(&mut grace).await, format!("{n}"));
    }
    ada.close().await.unwrap();
}

#[tokio::test]
async fn a_websocket_carries_the_same() {
    let edge = FakeEdge::start();
    let (direct, web) = (edge.connector(), edge.connector_with(&[], Carrier::WebSocket));
    let (mut ada, mut grace) = (person(&web, "ada").await, person(&direct, "grace").await);
    let (to_ada, to_grace) = (ada.login_data().account, grace.login_data().account);
    let large = "x".repeat(60_000);
    for n in 0..20 {
        ada.send(to_grace, format!("{n}{large}")).await.unwrap();
        grace.send(to_ada, format!("{n}{large}")).await.unwrap();
    }
    for n in 0..20 {
        assert_eq!(next_text(&mut grace).await, format!("{n}{large}"));
        assert_eq!(next_text(&mut ada).await, format!("{n}{large}"));
    }
    ada.close().await.unwrap();
}

#[tokio::test]
async fn a_second_device_begins_where_it_was_linked_and_gets_copies() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let (mut phone, mut grace) =
        (person(&connector, "ada").await, person(&connector, "grace").await);
    let (ada, to) = (phone.login_data().account, grace.login_data().account);
    phone.send(to, "before").await.unwrap().await.unwrap();
    next_place(&mut phone).await;
    let mut laptop = device(&connector, "ada").await;
    assert_eq!(laptop.login_data().account, ada);
    assert_eq!(laptop.login_data().device.0, 2);
    connected(&mut laptop).await;
    phone.send(to, "after").await.unwrap().await.unwrap();
    let place = next_place(&mut laptop).await;
    assert_eq!(place.seq.0, 2, "the first one was there before");
    let Content::Sent(sent) = place.content else { panic!("{place:?}") };
    assert_eq!((sent.body.as_ref(), sent.device.0), (b"after".as_ref(), 1));
    let Content::Sent(own) = next_place(&mut phone).await.content else { panic!() };
    assert_eq!(own.body.len(), 0, "nobody needs to be sent what it sent");
    for text in ["before", "after"] {
        assert_eq!(next_text(&mut grace).await, text);
    }
}

#[tokio::test]
async fn one_body_for_each_device() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let ada = person(&connector, "ada").await;
    let mut phone = person(&connector, "grace").await;
    let mut laptop = device(&connector, "grace").await;
    connected(&mut laptop).await;
    let bodies = [1, 2].map(|n| (iris_core::id::DeviceNo(n), format!("for {n}").into()));
    let draft = Draft {
        to: Address::Account(phone.login_data().account),
        msg_id: MsgId([7; 16]),
        bodies: Bodies::PerDevice(bodies.into()),
        expires_at_ms: 0,
        about: None,
        change: None,
        roster: ConvSeq(0),
    };
    let receipt = ada.handle().send_draft(draft).await.unwrap();
    assert_eq!(receipt.msg_id(), MsgId([7; 16]));
    assert_eq!(receipt.await.unwrap().outcome, Outcome::Accepted);
    assert_eq!(next_text(&mut phone).await, "for 1");
    assert_eq!(next_text(&mut laptop).await, "for 2");
}

#[tokio::test]
async fn a_device_goes_on_after_a_restart() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let directory = tempfile::tempdir().unwrap();
    let open = || FileStore::open(directory.path(), HistoryMax::PERSON).unwrap();
    let grace = Client::register(&connector, open(), &who("grace"), Options::default()).await;
    let mut grace = grace.unwrap();
    let (to_ada, to_grace) = (ada.login_data().account, grace.login_data().account);
    ada.send(to_grace, "one").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut grace).await, "one");
    // Sent, and closed before anybody answered.
    let receipt = grace.send(to_ada, "late").await.unwrap();
    drop(receipt);
    grace.close().await.unwrap();
    ada.send(to_grace, "two").await.unwrap().await.unwrap();
    let store = open();
    assert_eq!(store.state().history.len(), 1);
    assert_eq!(store.state().next_client_seq.0, 2);
    let mut grace = Client::open(&connector, store, Options::default()).unwrap();
    assert_eq!(next_text(&mut grace).await, "two");
    assert_eq!(next_text(&mut ada).await, "late");
    grace.close().await.unwrap();
    assert!(open().state().undecided.is_empty());
}

struct Collect(Arc<Mutex<Vec<Event>>>);

impl Handler for Collect {
    fn event(&mut self, event: Event) {
        self.0.lock().push(event);
    }
}

#[tokio::test]
async fn a_handler_hears_everything_at_once() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let handler: Box<dyn Handler> = Box::new(Collect(Arc::clone(&heard)));
    let options = Options { handler: Some(handler), ..Options::default() };
    let ada = Client::register(&connector, memory(), &who("ada"), options).await.unwrap();
    let mut grace = person(&connector, "grace").await;
    let draft = Box::new(Draft {
        to: Address::Account(grace.login_data().account),
        msg_id: MsgId([9; 16]),
        bodies: Bodies::Shared("hello".into()),
        expires_at_ms: 0,
        about: None,
        change: None,
        roster: ConvSeq(0),
    });
    ada.handle().try_send(draft).unwrap();
    assert_eq!(next_text(&mut grace).await, "hello");
    ada.close().await.unwrap();
    let heard = heard.lock();
    let count = |wanted: fn(&Event) -> bool| heard.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Connected { .. })), 1);
    assert_eq!(count(|e| matches!(e, Event::Decided { msg_id: MsgId([9, ..]), .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::Placed(_))), 1, "its own copy");
    assert_eq!(count(|event| matches!(event, Event::Acked { .. })), 1);
}

#[tokio::test]
async fn a_consumer_that_sleeps_costs_nobody_memory_and_misses_nothing() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let (ada, mut grace) = (person(&connector, "ada").await, person(&connector, "grace").await);
    let to = grace.login_data().account;
    connected(&mut grace).await;
    for n in 0..1500 {
        ada.send(to, n.to_string()).await.unwrap().await.unwrap();
    }
    let state = grace.handle().history(2000, None).await.unwrap();
    assert!(state.len() < 330, "{} messages came though nobody took any", state.len());
    // The same credit is not given twice by connecting again.
    grace.handle().reconnect().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let again = grace.handle().history(2000, None).await.unwrap();
    assert!(again.len() < 430, "{} messages came though nobody took any", again.len());
    for n in 0..1500 {
        assert_eq!(next_text(&mut grace).await, n.to_string());
    }
    let widened = edge.knobs().widened.load(std::sync::atomic::Ordering::Relaxed);
    assert!(widened > 0, "the credit that was held back is given");
}
