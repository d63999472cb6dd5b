//! Who is there, who writes, who is blocked.

use iris_client::{Client, Event, Outcome};
use iris_core::code::Code;
use iris_core::id::AccountId;
use iris_core::message::Address;
use iris_core::relation::{Audience, Wish};
use iris_core::signal::Presence;

use crate::people::{connected, next, next_text, person};
use crate::support::FakeEdge;
use crate::support::edge::Order;

async fn next_presence(client: &mut Client, of: AccountId) -> Presence {
    next(client, |event| match event {
        Event::Presence { account, presence } if account == of => Some(presence),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_watcher_sees_people_come_and_go() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let of = grace.login_data().account;
    connected(&mut grace).await;
    ada.handle().watch(of, true).await.unwrap();
    assert_eq!(next_presence(&mut ada, of).await, Presence::Online);
    grace.handle().away(true).await.unwrap();
    assert!(matches!(next_presence(&mut ada, of).await, Presence::Offline(_)));
    grace.handle().away(false).await.unwrap();
    assert_eq!(next_presence(&mut ada, of).await, Presence::Online);
    grace.close().await.unwrap();
    assert!(matches!(next_presence(&mut ada, of).await, Presence::Offline(at) if at.0 > 0));
}

#[tokio::test]
async fn a_watcher_goes_on_after_a_cut_and_a_move() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let of = grace.login_data().account;
    connected(&mut grace).await;
    ada.handle().watch(of, true).await.unwrap();
    assert_eq!(next_presence(&mut ada, of).await, Presence::Online);
    edge.owner().move_all();
    grace.handle().away(true).await.unwrap();
    while !matches!(next_presence(&mut ada, of).await, Presence::Offline(_)) {}
    edge.order(Order::Cut);
    grace.handle().away(false).await.unwrap();
    while next_presence(&mut ada, of).await != Presence::Online {}
}

#[tokio::test]
async fn presence_is_shown_to_those_who_may_see_it() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let (to_ada, of) = (ada.login_data().account, grace.login_data().account);
    connected(&mut grace).await;
    grace.handle().wish(Wish::Presence(Audience::Contacts)).await.unwrap();
    ada.handle().watch(of, true).await.unwrap();
    assert_eq!(next_presence(&mut ada, of).await, Presence::Hidden);
    grace.handle().wish(Wish::Contact(to_ada, true)).await.unwrap();
    assert_eq!(next_presence(&mut ada, of).await, Presence::Online);
    let wishes = grace.handle().wishes().await.unwrap();
    assert_eq!(wishes.presence, Audience::Contacts);
    assert!(wishes.contacts.contains(&to_ada));
}

#[tokio::test]
async fn typing_is_told_while_it_lasts() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let (from, to) = (ada.login_data().account, grace.login_data().account);
    connected(&mut ada).await;
    connected(&mut grace).await;
    for kind in [1, 0] {
        ada.handle().typing(Address::Account(to), kind).await.unwrap();
        let typing = next(&mut grace, |event| match event {
            Event::Typing(typing) => Some(typing),
            _ => None,
        });
        let typing = typing.await;
        assert_eq!((typing.from, typing.kind), (from, kind));
    }
}

#[tokio::test]
async fn nothing_of_a_blocked_account_arrives() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let (to_ada, to_grace) = (ada.login_data().account, grace.login_data().account);
    connected(&mut ada).await;
    grace.handle().wish(Wish::Block(to_ada, true)).await.unwrap();
    let receipt = ada.send(to_grace, "unwanted").await.unwrap();
    // Whoever is blocked learns nothing of it, or a late refusal, but no success.
    match receipt.await.unwrap().outcome {
        Outcome::Accepted => {}
        Outcome::Refused { code } => assert_eq!(code, u32::from(Code::Blocked.number())),
    }
    grace.handle().wish(Wish::Block(to_ada, false)).await.unwrap();
    ada.send(to_grace, "wanted").await.unwrap().await.unwrap();
    assert_eq!(next_text(&mut grace).await, "wanted");
}
