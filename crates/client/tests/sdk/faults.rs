//! Connections that end at any moment, sends that are put off: nothing is lost, nothing comes twice.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use iris_client::store::{FileStore, HistoryMax};
use iris_client::{Carrier, Client, Event, Options, Outcome};
use tokio::task::JoinSet;

use crate::people::{connected, memory, next, next_text, who};
use crate::support::FakeEdge;
use crate::support::edge::Order;

const PEOPLE: usize = 4;
const MESSAGES: usize = 300;

/// Everybody writes to the next one while the edge does its worst.
async fn ordeal(carrier: Carrier, on_disk: bool, moves: bool) {
    let edge = FakeEdge::start();
    let sibling = edge.sibling();
    let connector = edge.connector_with(&[&sibling], carrier);
    let directory = tempfile::tempdir().unwrap();
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        let (who, options) = (who(&format!("person{n}")), Options::default());
        people.push(if on_disk {
            let path = directory.path().join(n.to_string());
            let store = FileStore::open(&path, HistoryMax::PERSON).unwrap();
            Client::register(&connector, store, &who, options).await.unwrap()
        } else {
            Client::register(&connector, memory(), &who, options).await.unwrap()
        });
    }
    for edge in [&edge, &sibling] {
        edge.knobs().cut_one_in.store(20, Relaxed);
        edge.knobs().nack_one_in.store(25, Relaxed);
        edge.knobs().nack_retry_ms.store(5, Relaxed);
        edge.knobs().window_messages.store(16, Relaxed);
    }
    let accounts: Vec<_> = people.iter().map(|p| p.login_data().account).collect();
    let mut tasks = JoinSet::new();
    for (n, mut client) in people.into_iter().enumerate() {
        let (to, handle) = (accounts[(n + 1) % PEOPLE], client.handle());
        let send = async move {
            let mut receipts = Vec::new();
            for m in 0..MESSAGES {
                receipts.push(handle.send(to, m.to_string()).await.unwrap());
                if m % 10 == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            for receipt in receipts {
                assert_eq!(receipt.await.unwrap().outcome, Outcome::Accepted);
            }
        };
        tasks.spawn(async move {
            let receive = async {
                for m in 0..MESSAGES {
                    assert_eq!(next_text(&mut client).await, m.to_string(), "{n}");
                }
            };
            tokio::join!(send, receive);
            let history = client.handle().history(10_000, None).await.unwrap();
            let places: Vec<_> = history.iter().map(|place| place.seq.0).collect();
            assert!(places.windows(2).all(|pair| pair[1] == pair[0] + 1), "dense");
        });
    }
    while moves && tasks.len() > 2 {
        edge.owner().move_all();
        tokio::time::sleep(Duration::from_millis(30)).await;
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let cuts = edge.knobs().cuts.load(Relaxed) + sibling.knobs().cuts.load(Relaxed);
    let nacked = edge.knobs().nacked.load(Relaxed) + sibling.knobs().nacked.load(Relaxed);
    assert!(cuts > 10 && nacked > 20, "{cuts} cuts, {nacked} nacks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordeal_in_memory() {
    ordeal(Carrier::Tls, false, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordeal_on_disk() {
    ordeal(Carrier::Tls, true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordeal_over_websockets() {
    ordeal(Carrier::WebSocket, false, false).await;
}

/// The process dies again and again; its disk stays.
#[tokio::test]
async fn a_process_that_is_killed_goes_on_where_its_disk_is() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let directory = tempfile::tempdir().unwrap();
    let open = || FileStore::open(directory.path(), HistoryMax::PERSON).unwrap();
    drop(iris_client::register(&connector, open(), &who("ada")).await.unwrap());
    let mut grace = crate::people::person(&edge.connector(), "grace").await;
    let to = grace.login_data().account;
    let mut bound = 0;
    for round in 0..12u64 {
        let ada = Client::open(&connector, open(), Options::default()).unwrap();
        for n in 0..20 {
            ada.send(to, format!("{round}.{n}")).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(round * 3)).await;
        // Dropped, not closed: whatever was not written is gone.
        drop(ada);
        connector.ended().await;
        let state = open();
        bound = iris_client::store::Store::state(&state).next_client_seq.0 - 1;
    }
    assert!(bound > 20, "{bound}");
    let ada = Client::open(&connector, open(), Options::default()).unwrap();
    let mut last = (0, None);
    for _ in 0..bound {
        let text = next_text(&mut grace).await;
        let (round, n) = text.split_once('.').unwrap();
        let this = (round.parse::<u64>().unwrap(), Some(n.parse::<u64>().unwrap()));
        assert!(this > last, "{this:?} after {last:?}");
        last = this;
    }
    ada.send(to, "end").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut grace).await, "end", "nothing more, nothing twice");
}

#[tokio::test]
async fn a_skipped_place_is_counted_and_fetched() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let ada = crate::people::person(&connector, "ada").await;
    let mut grace = crate::people::person(&connector, "grace").await;
    connected(&mut grace).await;
    let to = grace.login_data().account;
    edge.knobs().skip_place.store(true, Relaxed);
    // Its own copy comes first: it is ada who sees the gap, or grace.
    let mut ada = ada;
    for n in 0..3 {
        ada.send(to, n.to_string()).await.unwrap();
    }
    for n in 0..3 {
        assert_eq!(next_text(&mut grace).await, n.to_string());
    }
    let gap = |event: Event| matches!(event, Event::Gap { .. }).then_some(());
    tokio::select! {
        () = next(&mut ada, gap) => {}
        () = next(&mut grace, gap) => {}
    }
}

#[tokio::test]
async fn a_frame_that_nobody_may_send_ends_the_connection_only() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = crate::people::person(&connector, "ada").await;
    connected(&mut ada).await;
    edge.order(Order::Oversized);
    let text = next(&mut ada, |event| match event {
        Event::Disconnected { why, .. } => Some(format!("{why:?}")),
        _ => None,
    });
    assert!(text.await.contains("above the limit"));
    connected(&mut ada).await;
    edge.order(Order::Unknown(0x91));
    edge.order(Order::Unknown(0x51));
    let text = next(&mut ada, |event| match event {
        Event::Disconnected { why, .. } => Some(format!("{why:?}")),
        _ => None,
    });
    assert!(text.await.contains("unknown type"), "the first one is skipped");
    connected(&mut ada).await;
}

#[tokio::test]
async fn a_server_that_takes_messages_and_says_nothing_is_left() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = crate::people::person(&connector, "ada").await;
    connected(&mut ada).await;
    edge.knobs().mute.store(true, Relaxed);
    let receipt = ada.send(ada.login_data().account, "hello?").await.unwrap();
    let why = next(&mut ada, |event| match event {
        Event::Disconnected { why, .. } => Some(format!("{why:?}")),
        _ => None,
    });
    assert!(why.await.contains("6 seconds"));
    edge.knobs().mute.store(false, Relaxed);
    assert_eq!(receipt.await.unwrap().outcome, Outcome::Accepted);
}
