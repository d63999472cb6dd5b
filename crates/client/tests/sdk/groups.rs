//! Groups, against real shards.

use iris_client::place::{Content, Incoming, Place};
use iris_client::{Client, ClientError, Draft, Event, Fetch, LogFetch, Outcome};
use iris_core::group::{Change, Role, Settings, Who};
use iris_core::id::{AccountId, GroupId, PublicKey};
use iris_core::message::{About, Act, Address};
use iris_core::seq::ConvSeq;
use tokio::time::{sleep, timeout};

use crate::people::{SOON, connected, device, next, person};
use crate::support::FakeEdge;

const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

/// The next message of a group, by whichever way it comes.
async fn next_in_group(client: &mut Client) -> (Incoming, u64) {
    next(client, |event| match event {
        Event::Placed(Place { content: Content::Incoming(message), .. })
        | Event::Logged(Place { content: Content::Incoming(message), .. }) => {
            let place = message.in_group.as_ref()?.place.0;
            Some((message, place))
        }
        Event::GroupGap(skipped) => panic!("{skipped:?}"),
        _ => None,
    })
    .await
}

async fn next_refusal(client: &mut Client) -> u32 {
    next(client, |event| match event {
        Event::Placed(Place { content: Content::Notice(notice), .. }) => Some(notice.code),
        _ => None,
    })
    .await
}

fn account(client: &Client) -> AccountId {
    client.login_data().account
}

async fn say(client: &Client, group: GroupId, text: &str) {
    let draft = Draft::to(Address::Group(group), text.to_owned()).unwrap();
    let receipt = client.handle().send_draft(draft).await.unwrap();
    assert_eq!(receipt.await.unwrap().outcome, Outcome::Accepted);
}

async fn change(client: &Client, group: GroupId, change: Change) {
    let receipt = client.handle().change_group(group, change).await.unwrap();
    assert_eq!(receipt.await.unwrap().outcome, Outcome::Accepted);
}

fn called(name: &'static str) -> Settings {
    Settings { info: name.into(), ..Settings::default() }
}

#[tokio::test]
async fn members_see_one_order_and_their_own_messages_once() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let mut eve = person(&connector, "eve").await;
    let others = vec![account(&grace), account(&eve)];
    let (group, receipt) = ada.handle().create_group(others, called("team")).await.unwrap();
    assert_eq!(group.tenant(), account(&ada).tenant());
    receipt.await.unwrap();
    for client in [&mut ada, &mut grace, &mut eve] {
        let (message, place) = next_in_group(client).await;
        assert_eq!(place, 1);
        assert!(matches!(message.in_group.unwrap().change, Some(Change::Create(..))));
    }
    for n in 0..10 {
        say(&ada, group, &format!("a{n}")).await;
        say(&grace, group, &format!("g{n}")).await;
    }
    let mut orders = Vec::new();
    for client in [&mut ada, &mut grace, &mut eve] {
        let own = client.login_data().account;
        let mut order = Vec::new();
        for n in 0..20 {
            let (message, place) = next_in_group(client).await;
            assert_eq!(place, n + 2, "dense");
            assert_eq!(message.sender.account == own, message.body.is_empty(), "it has it");
            order.push(message.msg_id);
        }
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0], orders[2]);
    // In the local history each stands once, with its body.
    let here = ada.handle().history(100, Some(Address::Group(group))).await.unwrap();
    let bodies = here.iter().filter_map(|place| match &place.content {
        Content::Incoming(message) if !message.body.is_empty() => Some(message.body.clone()),
        Content::Sent(sent) => panic!("{sent:?}"),
        _ => None,
    });
    assert_eq!(bodies.count(), 20);
    let known = ada.handle().known_groups().await.unwrap();
    assert_eq!(known.get(group).unwrap().last, ConvSeq(21));
}

#[tokio::test]
async fn who_may_do_what() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let mut eve = person(&connector, "eve").await;
    connected(&mut eve).await;
    let settings = Settings { writers: Who::Admins, ..called("news") };
    let members = vec![account(&grace)];
    let (group, _receipt) = ada.handle().create_group(members, settings).await.unwrap();
    next_in_group(&mut ada).await;
    next_in_group(&mut grace).await;
    say(&eve, group, "let me in").await;
    assert_eq!(next_refusal(&mut eve).await, 4101);
    say(&grace, group, "may I?").await;
    assert_eq!(next_refusal(&mut grace).await, 4107);
    change(&grace, group, Change::Remove(vec![account(&ada)])).await;
    assert_eq!(next_refusal(&mut grace).await, 4107);
    change(&ada, group, Change::Promote(account(&grace), Role::Admin)).await;
    next_in_group(&mut grace).await;
    say(&grace, group, "now").await;
    let (message, place) = next_in_group(&mut grace).await;
    assert_eq!((message.sender.account, place), (account(&grace), 3));
    let mut draft = Draft::to(Address::Group(group), "for the first roster").unwrap();
    draft.roster = ConvSeq(1);
    ada.handle().send_draft(draft).await.unwrap().await.unwrap();
    assert_eq!(next_refusal(&mut ada).await, 4103);
    let nowhere = iris_client::new_group_id(account(&ada).tenant()).unwrap();
    say(&ada, nowhere, "anybody?").await;
    assert_eq!(next_refusal(&mut ada).await, 4106);
    let refused = eve.handle().list_members(group, None).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused { code: 4101, .. }), "{refused}");
}

#[tokio::test]
async fn members_come_go_and_are_listed() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let mut eve = person(&connector, "eve").await;
    let (group, _receipt) =
        ada.handle().create_group(vec![account(&grace)], called("team")).await.unwrap();
    say(&ada, group, "before").await;
    change(&ada, group, Change::Add(vec![account(&eve)])).await;
    assert_eq!(next_in_group(&mut eve).await.1, 3, "what was said before is not hers");
    say(&ada, group, "all").await;
    assert_eq!(next_in_group(&mut eve).await.0.body, "all");
    let handle = ada.handle();
    // A change is seen there once its rows are written.
    let seen = timeout(SOON, async {
        loop {
            match handle.list_members(group, None).await {
                Ok(page) if page.version == ConvSeq(3) => return,
                Ok(_) | Err(ClientError::Refused { code: 4106, .. }) => sleep(LOOK).await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    seen.await.expect("it is seen soon");
    let (mut members, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = handle.list_members(group, after).await.unwrap();
        assert_eq!((page.version, &page.settings.info[..]), (ConvSeq(3), &b"team"[..]));
        members.extend(page.members);
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((members.len(), pages), (3, 2));
    let admins = members.iter().filter(|(_, member)| member.role == Role::Admin);
    assert_eq!(admins.map(|(who, _)| *who).collect::<Vec<_>>(), [account(&ada)]);
    change(&eve, group, Change::Leave).await;
    assert_eq!(next_in_group(&mut eve).await.1, 5);
    let left = eve.handle().list_groups().await.unwrap();
    assert_eq!(
        (left[0].0, left[0].1.since, left[0].1.until),
        (group, ConvSeq(3), Some(ConvSeq(5)))
    );
    for _ in 0..5 {
        next_in_group(&mut grace).await;
    }
    say(&grace, group, "without her").await;
    change(&ada, group, Change::Add(vec![account(&eve)])).await;
    assert_eq!(next_in_group(&mut eve).await.1, 7);
    assert_eq!(eve.handle().known_groups().await.unwrap().get(group).unwrap().gaps, 0);
}

#[tokio::test]
async fn edits_and_deletes_name_the_place() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let (group, _receipt) =
        ada.handle().create_group(vec![account(&grace)], called("team")).await.unwrap();
    next_in_group(&mut ada).await;
    next_in_group(&mut grace).await;
    say(&ada, group, "a secret").await;
    let (said, place) = next_in_group(&mut grace).await;
    let mut draft = Draft::to(Address::Group(group), "").unwrap();
    draft.about = Some(About {
        act: Act::Delete,
        author: account(&ada),
        msg_id: said.msg_id,
        clock: said.clock,
        place: ConvSeq(place),
    });
    ada.handle().send_draft(draft).await.unwrap().await.unwrap();
    let (deleted, _) = next_in_group(&mut grace).await;
    assert_eq!(deleted.about.unwrap().place, ConvSeq(place));
    let mut tablet = device(&connector, "grace").await;
    connected(&mut tablet).await;
    let fetch = Fetch { with: Address::Group(group), before: None, limit: 50 };
    let page = tablet.handle().fetch(fetch).await.unwrap();
    let texts = page.places.iter().filter_map(|place| match &place.content {
        Content::Incoming(message) => Some(message.body.clone()),
        _ => None,
    });
    assert!(texts.clone().count() >= 1);
    assert!(!texts.collect::<Vec<_>>().contains(&"a secret".into()), "{page:?}");
}

/// Accounts that only exist.
async fn crowd(edge: &FakeEdge, count: u32) -> Vec<AccountId> {
    let mut accounts = Vec::new();
    for n in 0..count {
        let account = edge.owner().new_account();
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        edge.owner().open(account, PublicKey(key), "silent").await;
        accounts.push(account);
    }
    accounts
}

async fn next_logged(client: &mut Client) -> (Incoming, u64) {
    next(client, |event| match event {
        Event::Logged(Place { content: Content::Incoming(message), .. }) => {
            let place = message.in_group.as_ref()?.place.0;
            Some((message, place))
        }
        Event::GroupGap(skipped) => panic!("{skipped:?}"),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_large_group_is_read_from_its_log() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let mut late = person(&connector, "late").await;
    let crowd = crowd(&edge, 5_000).await;
    let (group, _receipt) =
        ada.handle().create_group(vec![account(&grace)], called("all")).await.unwrap();
    for some in crowd.chunks(256) {
        change(&ada, group, Change::Add(some.to_vec())).await;
    }
    let became_large = 1 + 20;
    let mut place = 0;
    while place < became_large {
        place = next_in_group(&mut grace).await.1;
    }
    change(&ada, group, Change::Add(vec![account(&late)])).await;
    assert_eq!(next_in_group(&mut late).await.1, became_large + 1);
    for n in 0..250 {
        say(&ada, group, &n.to_string()).await;
    }
    // A connection that ends in between loses nothing and repeats nothing.
    grace.handle().reconnect().await.unwrap();
    edge.owner().move_all();
    for client in [&mut grace, &mut late] {
        if client.login_data().handle == "grace" {
            assert_eq!(next_logged(client).await.1, became_large + 1);
        }
        for n in 0..250 {
            let (message, place) = next_logged(client).await;
            assert_eq!((message.body, place), (n.to_string().into(), became_large + 2 + n));
        }
    }
    // A device that is new hears what is said from now on.
    let mut tablet = device(&connector, "grace").await;
    connected(&mut tablet).await;
    sleep(std::time::Duration::from_millis(500)).await;
    say(&ada, group, "for all devices").await;
    let (message, place) = next_logged(&mut tablet).await;
    assert_eq!((&message.body[..], place), (&b"for all devices"[..], became_large + 252));
    assert_eq!(next_logged(&mut grace).await.1, place);
    let behind = ConvSeq(became_large + 1);
    let page = tablet.handle().read_log(LogFetch { group, behind, limit: 7 }).await.unwrap();
    assert_eq!((page.messages.len(), page.more), (7, true));
    let listed = grace.handle().list_groups().await.unwrap();
    assert_eq!(listed[0].1.pulls, Some(ConvSeq(became_large)));
    // Whoever leaves reads up to there.
    change(&late, group, Change::Leave).await;
    let mut last = 0;
    while last < place + 1 {
        last = next_logged(&mut late).await.1;
    }
    say(&ada, group, "without them").await;
    assert_eq!(next_logged(&mut grace).await.1, place + 1);
    assert_eq!(next_logged(&mut grace).await.1, place + 2);
    assert_eq!(late.handle().known_groups().await.unwrap().get(group).unwrap().last.0, last);
}

#[tokio::test]
async fn somebody_types_in_a_small_group() {
    let edge = FakeEdge::start();
    let connector = edge.connector();
    let mut ada = person(&connector, "ada").await;
    let mut grace = person(&connector, "grace").await;
    let (group, _receipt) =
        ada.handle().create_group(vec![account(&grace)], called("team")).await.unwrap();
    next_in_group(&mut ada).await;
    next_in_group(&mut grace).await;
    ada.handle().typing(Address::Group(group), 1).await.unwrap();
    let typing = next(&mut grace, |event| match event {
        Event::Typing(typing) => Some(typing),
        _ => None,
    })
    .await;
    assert_eq!((typing.from, typing.to), (account(&ada), Address::Group(group)));
}
