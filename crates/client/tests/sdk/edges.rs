//! Several edges: asked to leave one, another one dies, shards change their owners.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use iris_client::{Carrier, Event, Why};
use tokio::time::Instant;

use crate::people::{connected, next, next_text, person};
use crate::support::FakeEdge;
use crate::support::edge::Order;

#[tokio::test]
async fn whoever_is_asked_to_leave_goes_to_another_edge() {
    let first = FakeEdge::start();
    let second = first.sibling();
    let connector = first.connector_with(&[&second], Carrier::Tls);
    let mut ada = person(&connector, "ada").await;
    connected(&mut ada).await;
    let (here, there) = if first.shared.orders.receiver_count() == 1 {
        (&first, &second)
    } else {
        (&second, &first)
    };
    let edges = vec![there.server()];
    here.order(Order::GoAway { jitter_ms: 300, edges });
    let began = Instant::now();
    let why = next(&mut ada, |event| match event {
        Event::Disconnected { why, retry_in_ms: 0 } => Some(why),
        _ => None,
    });
    assert_eq!(why.await, Why::Leaving { code: 1001 });
    connected(&mut ada).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(there.shared.orders.receiver_count(), 1);
}

#[tokio::test]
async fn an_edge_that_dies_is_replaced_by_another() {
    let first = FakeEdge::start();
    let second = first.sibling();
    let connector = first.connector_with(&[&second], Carrier::Tls);
    let mut people = Vec::new();
    for n in 0..6 {
        let mut client = person(&connector, &format!("person{n}")).await;
        connected(&mut client).await;
        people.push(client);
    }
    first.kill().await;
    let accounts: Vec<_> = people.iter().map(|p| p.login_data().account).collect();
    for (n, client) in people.iter().enumerate() {
        client.send(accounts[(n + 1) % 6], format!("from {n}")).await.unwrap();
    }
    for (n, client) in people.iter_mut().enumerate() {
        assert_eq!(next_text(client).await, format!("from {}", (n + 5) % 6));
    }
}

#[tokio::test]
async fn shards_that_move_under_load_lose_nothing() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let to = grace.login_data().account;
    let mut receipts = Vec::new();
    for n in 0..2000 {
        receipts.push(ada.send(to, n.to_string()).await.unwrap());
        if n % 100 == 50 {
            edge.owner().move_all();
            tokio::task::yield_now().await;
        }
    }
    for n in 0..2000 {
        assert_eq!(next_text(&mut grace).await, n.to_string());
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    assert_eq!(edge.knobs().accepted.load(Relaxed), 4, "two to register, two that stayed");
}

#[tokio::test]
async fn an_edge_that_is_away_for_a_while_is_waited_for() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let (ada, mut grace) = (person(&connector, "ada").await, person(&connector, "grace").await);
    let to = grace.login_data().account;
    connected(&mut grace).await;
    edge.knobs().closed.store(true, Relaxed);
    edge.order(Order::Cut);
    let receipt = ada.send(to, "patience").await.unwrap();
    let why = next(&mut grace, |event| match event {
        Event::Disconnected { why: Why::Unreachable(text), .. } => Some(text),
        _ => None,
    });
    assert!(why.await.contains("localhost"));
    edge.knobs().closed.store(false, Relaxed);
    assert_eq!(next_text(&mut grace).await, "patience");
    receipt.await.unwrap();
}
