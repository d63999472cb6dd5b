//! What was written before: pages of the server, and messages about messages.

use iris_client::place::{Content, Incoming};
use iris_client::{Client, Draft, Fetch};
use iris_core::id::{AccountId, MsgId};
use iris_core::message::{About, Act, Address, Bodies};
use iris_core::seq::ConvSeq;

use crate::people::{connected, device, next_place, next_text, person};
use crate::support::FakeEdge;

async fn next_incoming(client: &mut Client) -> Incoming {
    loop {
        if let Content::Incoming(incoming) = next_place(client).await.content {
            return incoming;
        }
    }
}

fn about(to: AccountId, act: Act, of: (&AccountId, &Incoming), text: &str, n: u8) -> Draft {
    let (author, message) = of;
    Draft {
        to: Address::Account(to),
        msg_id: MsgId([n; 16]),
        bodies: Bodies::Shared(text.to_owned().into()),
        expires_at_ms: 0,
        about: Some(About {
            act,
            author: *author,
            msg_id: message.msg_id,
            clock: message.clock,
            place: ConvSeq(0),
        }),
        change: None,
        roster: ConvSeq(0),
    }
}

#[tokio::test]
async fn a_new_device_reads_the_past_page_by_page() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let eve = person(&connector, "eve").await;
    let (to_ada, to_grace) = (ada.login_data().account, grace.login_data().account);
    for n in 0..25 {
        ada.send(to_grace, format!("a{n}")).await.unwrap().await.unwrap();
        assert_eq!(next_text(&mut grace).await, format!("a{n}"));
        grace.send(to_ada, format!("g{n}")).await.unwrap().await.unwrap();
        assert_eq!(next_text(&mut ada).await, format!("g{n}"));
        eve.send(to_grace, "elsewhere").await.unwrap().await.unwrap();
        next_text(&mut grace).await;
    }
    let mut tablet = device(&connector, "grace").await;
    connected(&mut tablet).await;
    let (mut before, mut texts, mut pages) = (None, Vec::new(), 0);
    loop {
        let fetch = Fetch { with: Address::Account(to_ada), before, limit: 7 };
        let page = tablet.handle().fetch(fetch).await.unwrap();
        assert!(page.places.len() <= 7);
        pages += 1;
        for place in page.places {
            match place.content {
                Content::Incoming(incoming) => texts.push(incoming.body),
                Content::Sent(sent) => texts.push(sent.body),
                other => panic!("{other:?}"),
            }
        }
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    texts.reverse();
    let expected: Vec<_> = (0..25).flat_map(|n| [format!("a{n}"), format!("g{n}")]).collect();
    assert_eq!(texts, expected);
    assert!(pages >= 8, "{pages}");
}

#[tokio::test]
async fn a_message_is_edited_answered_and_erased() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let (to_ada, to_grace) = (ada.login_data().account, grace.login_data().account);
    ada.send(to_grace, "secret").await.unwrap().await.unwrap();
    let secret = next_incoming(&mut grace).await;
    let edit = about(to_grace, Act::Edit, (&to_ada, &secret), "less secret", 1);
    ada.handle().send_draft(edit).await.unwrap().await.unwrap();
    let edited = next_incoming(&mut grace).await;
    assert_eq!(
        edited.about.map(|about| (about.act, about.msg_id)),
        Some((Act::Edit, secret.msg_id))
    );
    let react = about(to_ada, Act::React, (&to_ada, &secret), "\u{1f44d}", 2);
    grace.handle().send_draft(react).await.unwrap().await.unwrap();
    let reaction = next_incoming(&mut ada).await;
    assert_eq!(reaction.about.map(|about| about.act), Some(Act::React));
    let delete = about(to_grace, Act::Delete, (&to_ada, &secret), "", 3);
    ada.handle().send_draft(delete).await.unwrap().await.unwrap();
    assert_eq!(next_incoming(&mut grace).await.about.map(|about| about.act), Some(Act::Delete));
    // Neither on the device nor on the server.
    let here = grace.handle().history(10, Some(Address::Account(to_ada))).await.unwrap();
    let body = |place: &iris_client::place::Place| match &place.content {
        Content::Incoming(incoming) => Some(incoming.body.clone()),
        Content::Sent(sent) => Some(sent.body.clone()),
        Content::Notice(_) | Content::Hole => None,
    };
    assert!(here.iter().filter_map(body).all(|body| body != "secret"));
    let page = grace
        .handle()
        .fetch(Fetch { with: Address::Account(to_ada), before: None, limit: 50 })
        .await
        .unwrap();
    assert!(page.places.iter().filter_map(body).all(|body| body != "secret"));
    // Nobody erases what others wrote.
    let forged = about(to_ada, Act::Delete, (&to_ada, &edited), "", 4);
    let outcome = grace.handle().send_draft(forged).await.unwrap().await.unwrap().outcome;
    assert!(matches!(outcome, iris_client::Outcome::Refused { .. }), "{outcome:?}");
}
