//! What the server refuses, and what the client refuses to do.

use std::sync::atomic::Ordering::Relaxed;

use iris_client::place::{Content, Place};
use iris_client::store::{HistoryMax, MemoryStore, State};
use iris_client::{Client, ClientError, Event, Options, Outcome, Stop};
use iris_core::id::{AccountId, GroupId};
use iris_core::message::{Address, Bodies};
use iris_core::seq::{ConvSeq, InboxSeq};
use parking_lot::Mutex;
use std::sync::Arc;

use crate::people::{connected, next, next_text, person, who};
use crate::support::FakeEdge;

#[tokio::test]
async fn a_message_to_nobody_is_accepted_and_comes_back() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let nobody = AccountId::from_bytes(&[0; 16]).unwrap();
    let receipt = ada.send(nobody, "anyone?").await.unwrap();
    let msg_id = receipt.msg_id();
    assert_eq!(receipt.await.unwrap().outcome, Outcome::Accepted);
    let notice = next(&mut ada, |event| match event {
        Event::Placed(Place { content: Content::Notice(notice), .. }) => Some(notice),
        _ => None,
    });
    let notice = notice.await;
    assert_eq!((notice.msg_id, notice.code), (msg_id, 4106));
}

#[tokio::test]
async fn a_refusal_consumes_its_number_and_nothing_else() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let (ada, mut grace) = (person(&connector, "ada").await, person(&connector, "grace").await);
    let to = grace.login_data().account;
    let group = Address::Group(GroupId::from_bytes(&[1; 16]).unwrap());
    let draft = iris_client::Draft {
        to: group,
        msg_id: iris_core::id::MsgId([1; 16]),
        bodies: Bodies::Shared("x".into()),
        expires_at_ms: 0,
        about: None,
        change: None,
        roster: ConvSeq(0),
    };
    let first = ada.send(to, "one").await.unwrap();
    let refused = ada.handle().send_draft(draft).await.unwrap();
    let last = ada.send(to, "two").await.unwrap();
    assert_eq!(first.await.unwrap().outcome, Outcome::Accepted);
    let refused = refused.await.unwrap();
    assert_eq!((refused.client_seq.0, refused.outcome), (2, Outcome::Refused { code: 4106 }));
    assert_eq!(last.await.unwrap().client_seq.0, 3);
    assert_eq!(next_text(&mut grace).await, "one");
    assert_eq!(next_text(&mut grace).await, "two");
    let large = ada.send(to, vec![0; 65_537]).await.unwrap().await.unwrap_err();
    assert!(matches!(large, ClientError::Unsendable(_)), "{large}");
}

#[tokio::test]
async fn two_processes_with_one_identity_do_not_fight() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let kept = Arc::new(Mutex::new(State::new(HistoryMax::PERSON)));
    let store = iris_client::register(&connector, MemoryStore::on(&kept), &who("ada")).await;
    let mut first = Client::open(&connector, store.unwrap(), Options::default()).unwrap();
    connected(&mut first).await;
    let copy = MemoryStore::on(&kept);
    let mut second = Client::open(&connector, copy, Options::default()).unwrap();
    connected(&mut second).await;
    let stop = next(&mut first, |event| match event {
        Event::Stopped(stop) => Some(stop),
        _ => None,
    });
    assert_eq!(stop.await, Stop::Replaced);
    // A person asks for it.
    first.handle().reconnect().await.unwrap();
    connected(&mut first).await;
}

#[tokio::test]
async fn a_server_that_knows_more_than_this_device_is_not_believed() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    connected(&mut ada).await;
    edge.knobs().numbers_ahead.store(5, Relaxed);
    ada.handle().reconnect().await.unwrap();
    let stop = next(&mut ada, |event| match event {
        Event::Stopped(stop) => Some(stop),
        _ => None,
    });
    let text = stop.await.to_string();
    assert!(text.contains("older copy"), "{text}");
    let error = ada.send(ada.login_data().account, "x").await.unwrap().await.unwrap_err();
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn what_is_past_its_retention_is_missed_and_said_so() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let (ada, mut grace) = (person(&connector, "ada").await, person(&connector, "grace").await);
    let to = grace.login_data().account;
    connected(&mut grace).await;
    let mut sent = 0;
    let mut send = async |ada: &Client| {
        ada.send(to, sent.to_string()).await.unwrap().await.unwrap();
        sent += 1;
    };
    // Nobody reads: the credit runs out long before the tail that is kept in memory ends.
    for _ in 0..1200 {
        send(&ada).await;
    }
    let flushed_ms = iris_core::limits::FLUSH_INTERVAL_MS + 500;
    tokio::time::sleep(std::time::Duration::from_millis(flushed_ms)).await;
    edge.owner().with(|state| state.rows.expire(to, InboxSeq(700)));
    let mut seen = Vec::new();
    while seen.last() != Some(&"1199".to_owned()) {
        let text = next(&mut grace, |event| match event {
            Event::Missed { upto } => Some(format!("missed {upto}")),
            Event::Placed(Place { content: Content::Incoming(incoming), .. }) => {
                Some(String::from_utf8(incoming.body.to_vec()).unwrap())
            }
            _ => None,
        });
        seen.push(text.await);
    }
    let at = seen.iter().position(|text| text.starts_with("missed")).expect("something is missed");
    assert_eq!(seen[at], "missed 700");
    assert_eq!(seen[at + 1], "700", "the place behind the floor");
    let after: Vec<u64> = seen[at + 1..].iter().map(|text| text.parse().unwrap()).collect();
    assert!(after.windows(2).all(|pair| pair[1] == pair[0] + 1));
}
