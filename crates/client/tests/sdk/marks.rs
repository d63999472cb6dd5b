//! How far conversations were received and read.

use iris_client::place::Content;
use iris_client::store::{FileStore, HistoryMax, Store as _};
use iris_client::{Client, Event, Options, Readers};
use iris_core::clock::Hlc;
use iris_core::id::AccountId;
use iris_core::mark::Mark;

use crate::people::{connected, device, memory, next, next_place, person, who};
use crate::support::FakeEdge;
use crate::support::edge::Order;

async fn next_mark(client: &mut Client, wanted: impl Fn(AccountId, Mark) -> bool) -> Mark {
    next(client, |event| match event {
        Event::Marked { with, mark } if wanted(with, mark) => Some(mark),
        _ => None,
    })
    .await
}

/// The clock of the next message from somebody else.
async fn next_clock(client: &mut Client) -> Hlc {
    loop {
        if let Content::Incoming(incoming) = next_place(client).await.content {
            return incoming.clock;
        }
    }
}

#[tokio::test]
async fn a_writer_learns_what_arrived_and_what_was_read() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let (to_ada, to_grace) = (ada.login_data().account, grace.login_data().account);
    ada.send(to_grace, "hello").await.unwrap().await.unwrap();
    let clock = next_clock(&mut grace).await;
    let mark = next_mark(&mut ada, |with, mark| with == to_grace && mark.delivered == clock).await;
    assert_eq!(mark.read, Hlc(0));
    grace.handle().read(to_ada, clock, Readers::Writer).await.unwrap();
    next_mark(&mut ada, |with, mark| with == to_grace && mark.read == clock).await;
    next_mark(&mut grace, |with, mark| with == to_ada && mark.own_read == clock).await;
    assert_eq!(ada.handle().marks().await.unwrap()[&to_grace].read, clock);
}

#[tokio::test]
async fn what_is_read_in_private_only_the_own_devices_know() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut phone = person(&connector, "grace").await;
    let mut laptop = device(&connector, "grace").await;
    connected(&mut laptop).await;
    let (to_ada, to_grace) = (ada.login_data().account, phone.login_data().account);
    ada.send(to_grace, "hello").await.unwrap().await.unwrap();
    let clock = next_clock(&mut phone).await;
    phone.handle().read(to_ada, clock, Readers::Own).await.unwrap();
    next_mark(&mut laptop, |with, mark| with == to_ada && mark.own_read == clock).await;
    // Had it been told, it would have come before this.
    ada.send(to_grace, "more").await.unwrap().await.unwrap();
    let more = next_clock(&mut phone).await;
    let mark = next_mark(&mut ada, |with, mark| with == to_grace && mark.delivered == more).await;
    assert_eq!(mark.read, Hlc(0));
}

#[tokio::test]
async fn a_device_that_was_away_is_told_later() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let directory = tempfile::tempdir().unwrap();
    let open = || FileStore::open(directory.path(), HistoryMax::PERSON).unwrap();
    let ada = Client::register(&connector, open(), &who("ada"), Options::default()).await.unwrap();
    let mut readers = Vec::new();
    for name in ["bob", "cyn", "dan", "eve", "fay"] {
        let options = Options::default();
        let store = memory();
        readers.push(Client::register(&connector, store, &who(name), options).await.unwrap());
    }
    for reader in &readers {
        ada.send(reader.login_data().account, "hello").await.unwrap().await.unwrap();
    }
    let to_ada = ada.login_data().account;
    ada.close().await.unwrap();
    let mut clocks = Vec::new();
    for reader in &mut readers {
        let clock = next_clock(reader).await;
        reader.handle().read(to_ada, clock, Readers::Writer).await.unwrap();
        next_mark(reader, |_, mark| mark.own_read == clock).await;
        clocks.push((reader.login_data().account, clock));
    }
    let mut ada = Client::open(&connector, open(), Options::default()).unwrap();
    let mut unread = clocks.clone();
    while !unread.is_empty() {
        let (with, mark) = next(&mut ada, |event| match event {
            Event::Marked { with, mark } => Some((with, mark)),
            _ => None,
        })
        .await;
        unread.retain(|(account, clock)| *account != with || mark.read < *clock);
    }
    ada.close().await.unwrap();
    let state = open().state().clone();
    assert!(clocks.iter().all(|(account, clock)| state.marks[account].read == *clock));
    assert!(state.marks_version > 0);
}

#[tokio::test]
async fn what_was_read_is_said_again_after_a_cut_and_a_move() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let (to_ada, to_grace) = (ada.login_data().account, grace.login_data().account);
    for round in 0..20 {
        ada.send(to_grace, format!("{round}")).await.unwrap().await.unwrap();
        let clock = next_clock(&mut grace).await;
        grace.handle().read(to_ada, clock, Readers::Writer).await.unwrap();
        if round % 2 == 0 {
            edge.order(Order::Cut);
        } else {
            edge.owner().move_all();
        }
        next_mark(&mut ada, |with, mark| with == to_grace && mark.read == clock).await;
    }
}
