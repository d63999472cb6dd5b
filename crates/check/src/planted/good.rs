//! A history in which all is well: two people, a group of three and a large one, a move, a
//! takeover.

use crate::history::{
    AccountNo, Device, Event, GroupNo, Item, Lane, Message, MessageNo, Outcome, SessionNo, Target,
    What,
};

pub(super) const ANN: AccountNo = AccountNo(1);
pub(super) const BEN: AccountNo = AccountNo(2);
pub(super) const CAT: AccountNo = AccountNo(3);
pub(super) const ANN_PHONE: Device = Device { account: ANN, device: 1 };
pub(super) const BEN_PHONE: Device = Device { account: BEN, device: 1 };
pub(super) const BEN_LAPTOP: Device = Device { account: BEN, device: 2 };
pub(super) const CAT_PHONE: Device = Device { account: CAT, device: 1 };
pub(super) const FRIENDS: GroupNo = GroupNo(1);
pub(super) const CLUB: GroupNo = GroupNo(2);
pub(super) const LANE: Lane = Lane { session: SessionNo(1), lane: 0 };

const EVERYBODY: [Device; 4] = [ANN_PHONE, BEN_PHONE, BEN_LAPTOP, CAT_PHONE];

/// Builds a history event by event.
struct Book {
    events: Vec<Event>,
    heads: Vec<(AccountNo, u64)>,
}

impl Book {
    fn note(&mut self, at: u64, what: What) {
        self.events.push(Event { at, what });
    }

    /// A send and its answer.
    fn send(&mut self, at: u64, by: Device, number: u64, message: u64, to: Target) {
        let (message, body) = (MessageNo(message), message);
        self.note(at, What::Send { by, number, message, to, body, expires_at: 0 });
        let outcome = Outcome::Accepted;
        self.note(at + 500, What::Decided { by, number, outcome });
        // Answers may come again.
        self.note(at + 600, What::Decided { by, number, outcome });
    }

    /// The next place of an account's inbox, as each of its devices writes it.
    fn place(&mut self, at: u64, account: AccountNo, item: Item) {
        let head = match self.heads.iter_mut().find(|(who, _)| *who == account) {
            Some((_, head)) => head,
            None => {
                self.heads.push((account, 0));
                &mut self.heads.last_mut().expect("was pushed").1
            }
        };
        *head += 1;
        let place = *head;
        for by in EVERYBODY.into_iter().filter(|device| device.account == account) {
            self.note(at, What::Applied { by, stream: 1, place, item });
        }
    }
}

/// The message that begins the history.
pub(super) fn first_message() -> Message {
    message(1, ANN_PHONE, Target::Account(BEN), 1_000, None)
}

fn message(number: u64, from: Device, to: Target, clock: u64, conv_seq: Option<u64>) -> Message {
    Message { message: MessageNo(number), from, to, clock, conv_seq, body: number }
}

/// A history that no checker finds anything wrong with.
pub fn good() -> Vec<Event> {
    let mut book = Book { events: Vec::new(), heads: Vec::new() };
    for device in EVERYBODY {
        book.note(0, What::Linked { device, stream: 1, start: 0 });
    }
    two_people(&mut book);
    a_group(&mut book);
    a_large_group(&mut book);
    owners(&mut book);
    book.note(85_000, What::Healed);
    book.note(90_000, What::Ready);
    for by in EVERYBODY {
        let head = book.heads.iter().find(|(who, _)| *who == by.account).map_or(0, |(_, h)| *h);
        book.note(97_000, What::Drained { by, stream: 1, head });
    }
    book.note(98_000, What::CanarySearched { place: "the tables".to_owned(), bytes: 1 << 20 });
    book.note(100_000, What::End);
    book.events.sort_by_key(|event| event.at);
    book.events
}

fn two_people(book: &mut Book) {
    let (to_ben, to_ann) = (Target::Account(BEN), Target::Account(ANN));
    for (at, number, clock) in [(1_000, 1, 1_000), (3_000, 2, 2_000)] {
        book.send(at, ANN_PHONE, number, number, to_ben);
        let sent = message(number, ANN_PHONE, to_ben, clock, None);
        book.place(at + 700, ANN, Item::Own(Message { body: 0, ..sent }));
        book.place(at + 1_000, BEN, Item::Message(sent));
    }
    book.send(6_000, BEN_PHONE, 1, 3, to_ann);
    let reply = message(3, BEN_PHONE, to_ann, 3_000, None);
    book.place(6_700, BEN, Item::Own(reply));
    book.place(7_000, ANN, Item::Message(reply));
    let (by, of) = (ANN_PHONE, BEN);
    book.note(9_000, What::Receipt { by, of, delivered: 1_000, read: 0 });
    let conversation = Target::Account(ANN);
    book.note(10_000, What::Read { by: BEN_PHONE, conversation, clock: 1_000, private: false });
    book.note(11_000, What::Receipt { by, of, delivered: 2_000, read: 1_000 });
    for by in [BEN_PHONE, BEN_LAPTOP] {
        book.note(8_000, What::Receipt { by, of: ANN, delivered: 3_000, read: 0 });
    }
    book.note(11_000, What::Here { account: BEN, here: true });
    book.note(11_200, What::Watches { by, of, on: true });
    book.note(11_500, What::Presence { by, of, online: true });
    let (messages, whole_from) = (vec![MessageNo(1), MessageNo(2), MessageNo(3)], Some(0));
    let (by, asked_at) = (BEN_LAPTOP, 11_900);
    book.note(12_000, What::Fetched { by, asked_at, conversation, whole_from, messages });
}

/// A group of three: Cat makes it and takes the others in.
fn a_group(book: &mut Book) {
    let to = Target::Group(FRIENDS);
    let came = [(1, CAT, vec![CAT]), (2, ANN, vec![ANN, CAT]), (3, BEN, vec![ANN, BEN, CAT])];
    for (place, account, members) in came {
        let (at, name) = (14_000 + place * 500, 20 + place);
        let sent = message(name, CAT_PHONE, to, 10_000 + place, Some(place));
        book.send(at, CAT_PHONE, place, name, to);
        book.place(at + 50, CAT, Item::Own(Message { conv_seq: None, body: 0, ..sent }));
        for member in members {
            book.place(at + 70, member, Item::Message(sent));
        }
        for by in EVERYBODY {
            let (group, conv_seq, joined) = (FRIENDS, place, true);
            if account == CAT || by.account == account {
                book.note(at + 70, What::Member { by, group, conv_seq, account, joined });
            }
        }
    }
    let said = [(4, ANN_PHONE, 3, 4), (5, BEN_LAPTOP, 1, 5), (6, CAT_PHONE, 4, 6)];
    for (conv_seq, by, number, name) in said {
        let at = 16_000 + conv_seq * 1_000;
        let sent = message(name, by, to, 10_000 + conv_seq, Some(conv_seq));
        book.send(at, by, number, name, to);
        let own = Message { conv_seq: None, body: 0, ..sent };
        book.place(at + 550, by.account, Item::Own(own));
        for member in [ANN, BEN, CAT] {
            book.place(at + 700, member, Item::Message(sent));
        }
    }
}

/// A group that is large from the beginning: what is said there is read from its log, and the first of
/// it is erased.
fn a_large_group(book: &mut Book) {
    let to = Target::Group(CLUB);
    let said = |place: u64, by: Device| message(30 + place, by, to, 20_000 + place, Some(place));
    let own = |message: Message| Item::Own(Message { conv_seq: None, body: 0, ..message });
    let first = said(1, BEN_PHONE);
    book.send(24_000, BEN_PHONE, 2, 31, to);
    book.place(24_550, BEN, own(first));
    for member in [ANN, BEN, CAT] {
        book.place(24_700, member, Item::Message(first));
    }
    for by in EVERYBODY {
        book.note(24_700, What::Pulls { group: CLUB, behind: 1 });
        for account in [ANN, BEN, CAT] {
            let (group, conv_seq, joined) = (CLUB, 1, true);
            book.note(24_700, What::Member { by, group, conv_seq, account, joined });
        }
    }
    let behind = [said(2, BEN_LAPTOP), said(3, BEN_LAPTOP), said(4, BEN_LAPTOP)];
    for (number, message) in (2..).zip(behind) {
        let at = 25_000 + 100 * number;
        book.send(at, BEN_LAPTOP, number, message.message.0, to);
        book.place(at + 60, BEN, own(message));
    }
    let (group, more) = (CLUB, false);
    let early = behind[..2].to_vec();
    let by = ANN_PHONE;
    book.note(27_000, What::LogPage { by, group, behind: 1, told: 3, more, messages: early });
    let mut all = behind.to_vec();
    all[0].body = 0;
    for by in [BEN_PHONE, BEN_LAPTOP, CAT_PHONE] {
        let (behind, messages) = (1, all.clone());
        book.note(28_000, What::LogPage { by, group, behind, told: 4, more, messages });
    }
    let (by, messages) = (ANN_PHONE, all[2..].to_vec());
    book.note(28_000, What::LogPage { by, group, behind: 3, told: 4, more, messages });
    let message = all[0].message;
    book.note(28_000, What::ErasedInGroup { group, message, conv_seq: 4 });
    for by in EVERYBODY {
        book.note(97_000, What::LogDrained { by, group, head: 4 });
    }
}

fn owners(book: &mut Book) {
    let (first, second) = (SessionNo(1), SessionNo(2));
    book.note(500, What::Claimed { shard: 1, epoch: 1, session: first });
    book.note(500, What::Claimed { shard: 2, epoch: 1, session: first });
    book.note(600, What::Desired { shard: 1, owners: vec![first], declared: true });
    book.note(2_000, What::LetGo { lane: LANE, upto: 3, read_began: 1_900 });
    book.note(30_000, What::MoveBegan { shard: 2 });
    book.note(31_000, What::Released { shard: 2, epoch: 1 });
    book.note(32_000, What::Claimed { shard: 2, epoch: 2, session: second });
    book.note(33_000, What::MoveEnded { shard: 2 });
    book.note(40_000, What::Fault { kind: "kill an owner".to_owned() });
    book.note(41_000, What::LetGo { lane: LANE, upto: 5, read_began: 40_500 });
    book.note(45_000, What::Fenced { session: first });
    book.note(46_000, What::Sealed { lane: LANE, end: 5 });
    book.note(46_500, What::Sealed { lane: LANE, end: 5 });
    book.note(47_000, What::SealedRead { lane: LANE, hash: "4f".to_owned() });
    book.note(48_000, What::Claimed { shard: 1, epoch: 2, session: second });
    book.note(48_500, What::Desired { shard: 1, owners: vec![second], declared: true });
    book.note(
        49_000,
        What::Gauge { name: "entries of a lane".to_owned(), value: 9.0, max: 8_192.0 },
    );
    for act in ["rotate keys", "erase account 7", "revoke device 3"] {
        book.note(50_000, What::Audited { act: act.to_owned() });
    }
    let log = [
        (1, "", "a1", "rotate keys"),
        (2, "a1", "b2", "erase account 7"),
        (3, "b2", "c3", "revoke device 3"),
    ];
    for (seq, prev, hash, act) in log {
        let (prev, hash, act) = (prev.to_owned(), hash.to_owned(), act.to_owned());
        book.note(99_000 + seq, What::AuditEntry { seq, prev, hash, act });
    }
}
