//! A history, arranged by what the checkers ask of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{AccountNo, Device, Event, GroupNo, Item, Message, MessageNo, Outcome, Target, What};

/// A history and its arrangements. See the module.
#[derive(Debug)]
pub struct Index<'a> {
    /// All of it, in order of time.
    pub events: &'a [Event],
    /// Every message that was sent.
    pub sends: BTreeMap<MessageNo, Sending>,
    /// The message under each number of each device.
    pub numbers: BTreeMap<(Device, u64), MessageNo>,
    /// Every device, with what it wrote to its disk.
    pub devices: BTreeMap<Device, DeviceLog>,
    /// Every inbox, as the first device says that has something at a place.
    pub inboxes: BTreeMap<(AccountNo, u32), BTreeMap<u64, Item>>,
    /// Where each message lies.
    pub places: BTreeMap<MessageNo, Vec<Placed>>,
    /// Who came to each group at which place, and who went.
    pub members: BTreeMap<GroupNo, Vec<(u64, AccountNo, bool)>>,
    /// When an account first had it on a device that it came to a group.
    pub came: BTreeMap<(GroupNo, AccountNo), u64>,
    /// What is at each place of each group, as the first device says that has it.
    pub orders: BTreeMap<GroupNo, BTreeMap<u64, Message>>,
    /// The place of each message that has one in a group.
    pub positions: BTreeMap<MessageNo, (GroupNo, u64)>,
    /// Behind which place the messages of large groups are not in inboxes.
    pub pulls: BTreeMap<GroupNo, u64>,
    /// At which place of a group a message of it is erased.
    pub erased_at: BTreeMap<(GroupNo, MessageNo), u64>,
    /// Which devices have everything of a large group's log.
    pub logs_drained: BTreeMap<(Device, GroupNo), u64>,
    /// Messages that were refused by their destination.
    pub notices: BTreeMap<MessageNo, u32>,
    /// When the first device of an account knew that a message was erased.
    pub erased: BTreeMap<(AccountNo, MessageNo), u64>,
    /// Whom accounts blocked.
    pub blocked: BTreeMap<(AccountNo, AccountNo), Vec<Block>>,
    /// When an account last let another one in again.
    unblocked: BTreeMap<(AccountNo, AccountNo), u64>,
    /// When everything that was broken was whole again.
    pub healed_at: Option<u64>,
    /// When the history ends.
    pub ends_at: u64,
}

/// A message as its sender knows it.
#[derive(Debug, Clone)]
pub struct Sending {
    /// When it was first sent.
    pub at: u64,
    /// By which device.
    pub by: Device,
    /// The device's number for it.
    pub number: u64,
    /// To whom.
    pub to: Target,
    /// A hash of the body.
    pub body: u64,
    /// When nobody needs it any more; 0 for never.
    pub expires_at: u64,
    /// What its device was told, each time, and when.
    pub told: Vec<(u64, Outcome)>,
}

impl Sending {
    /// When it was first called accepted, if it was.
    pub fn accepted_at(&self) -> Option<u64> {
        let accepted = |(_, outcome): &&(u64, Outcome)| *outcome == Outcome::Accepted;
        self.told.iter().find(accepted).map(|(at, _)| *at)
    }

    /// Whether it was refused for good.
    pub fn is_refused(&self) -> bool {
        self.told.iter().any(|(_, outcome)| matches!(outcome, Outcome::Refused(_)))
    }
}

/// A place of a message in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Whose inbox.
    pub account: AccountNo,
    /// The stream that places count in.
    pub stream: u32,
    /// Which place.
    pub place: u64,
    /// Whether it is the sender's own copy.
    pub own: bool,
    /// The message as it is there.
    pub message: Message,
}

/// What a device wrote to its disk.
#[derive(Debug, Clone, Default)]
pub struct DeviceLog {
    /// When it began, in which stream, behind which place.
    pub linked: Option<(u64, u32, u64)>,
    /// When it lost its access.
    pub revoked_at: Option<u64>,
    /// Its places, in the order in which it wrote them.
    pub applied: Vec<(u64, u32, u64, Item)>,
    /// The places that it was told are gone: when, the stream, the last of them.
    pub skipped: Vec<(u64, u32, u64)>,
    /// The head that it reached at the end, and its stream.
    pub drained: Option<(u32, u64)>,
}

/// An account blocked another one.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// From here on it may have been in force.
    pub asked_at: u64,
    /// From here on it was.
    pub done_at: u64,
    /// Until here it may have been; for ever where it was not lifted.
    pub until: u64,
    /// Nobody lifted it meanwhile: of two wishes at the same time either may have been the last one.
    pub sure: bool,
}

impl<'a> Index<'a> {
    /// Arranges a history whose events are in order of time.
    pub fn of(events: &'a [Event]) -> Self {
        let mut index = Self {
            events,
            sends: BTreeMap::new(),
            numbers: BTreeMap::new(),
            devices: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            places: BTreeMap::new(),
            members: BTreeMap::new(),
            came: BTreeMap::new(),
            orders: BTreeMap::new(),
            positions: BTreeMap::new(),
            pulls: BTreeMap::new(),
            erased_at: BTreeMap::new(),
            logs_drained: BTreeMap::new(),
            notices: BTreeMap::new(),
            erased: BTreeMap::new(),
            blocked: BTreeMap::new(),
            unblocked: BTreeMap::new(),
            healed_at: None,
            ends_at: events.last().map_or(0, |event| event.at),
        };
        for event in events {
            index.take(event);
        }
        for changes in index.members.values_mut() {
            changes.sort_unstable();
            changes.dedup();
        }
        index
    }

    fn take(&mut self, event: &Event) {
        let at = event.at;
        match &event.what {
            What::Linked { device, stream, start } => {
                self.devices.entry(*device).or_default().linked = Some((at, *stream, *start));
            }
            What::Revoked { device } => {
                self.devices.entry(*device).or_default().revoked_at = Some(at);
            }
            What::Send { by, number, message, to, body, expires_at } => {
                self.numbers.insert((*by, *number), *message);
                self.sends.entry(*message).or_insert_with(|| Sending {
                    at,
                    by: *by,
                    number: *number,
                    to: *to,
                    body: *body,
                    expires_at: *expires_at,
                    told: Vec::new(),
                });
            }
            What::Decided { by, number, outcome } => {
                let message = self.numbers.get(&(*by, *number));
                if let Some(sending) = message.and_then(|message| self.sends.get_mut(message)) {
                    sending.told.push((at, *outcome));
                }
            }
            What::Applied { by, stream, place, item } => {
                let log = self.devices.entry(*by).or_default();
                log.applied.push((at, *stream, *place, *item));
                self.place((by.account, *stream, *place), *item);
            }
            What::Skipped { by, stream, floor } => {
                self.devices.entry(*by).or_default().skipped.push((at, *stream, *floor));
            }
            What::Drained { by, stream, head } => {
                self.devices.entry(*by).or_default().drained = Some((*stream, *head));
            }
            What::Erased { account, message } => {
                self.erased.entry((*account, *message)).or_insert(at);
            }
            What::Member { by, group, conv_seq, account, joined } => {
                self.members.entry(*group).or_default().push((*conv_seq, *account, *joined));
                if *joined && by.account == *account {
                    self.came.entry((*group, *account)).or_insert(at);
                }
            }
            What::Pulls { group, behind } => {
                let known = self.pulls.entry(*group).or_insert(*behind);
                *known = (*known).min(*behind);
            }
            What::ErasedInGroup { group, message, conv_seq } => {
                self.erased_at.entry((*group, *message)).or_insert(*conv_seq);
            }
            What::LogPage { messages, .. } => messages.iter().for_each(|m| self.order(*m)),
            What::LogDrained { by, group, head } => {
                self.logs_drained.insert((*by, *group), *head);
            }
            What::Blocks { account, whom, on: true, asked_at } => {
                let pair = (*account, *whom);
                let sure = self.unblocked.get(&pair).is_none_or(|lifted| lifted < asked_at);
                let block = Block { asked_at: *asked_at, done_at: at, until: u64::MAX, sure };
                self.blocked.entry(pair).or_default().push(block);
            }
            What::Blocks { account, whom, on: false, asked_at } => {
                let pair = (*account, *whom);
                self.unblocked.insert(pair, at);
                for block in self.blocked.entry(pair).or_default() {
                    if block.done_at < *asked_at {
                        block.until = block.until.min(at);
                    } else {
                        block.sure = false;
                    }
                }
            }
            What::Healed => self.healed_at = Some(at),
            _ => {}
        }
    }

    fn place(&mut self, (account, stream, place): (AccountNo, u32, u64), item: Item) {
        let inbox = self.inboxes.entry((account, stream)).or_default();
        // A device that is not meant has a hole where another one has the message.
        if item == Item::Hole || inbox.contains_key(&place) {
            return;
        }
        inbox.insert(place, item);
        match item {
            Item::Message(message) | Item::Own(message) => {
                let own = matches!(item, Item::Own(_));
                let placed = Placed { account, stream, place, own, message };
                self.places.entry(message.message).or_default().push(placed);
                self.order(message);
            }
            Item::Notice { message, code } => {
                self.notices.insert(message, code);
            }
            Item::Hole => {}
        }
    }

    /// A message has a place in its group.
    fn order(&mut self, message: Message) {
        if let (Target::Group(group), Some(place)) = (message.to, message.conv_seq) {
            self.orders.entry(group).or_default().entry(place).or_insert(message);
            self.positions.entry(message.message).or_insert((group, place));
        }
    }

    /// Whether `account` may have blocked `whom` at some time from `at` on.
    pub fn may_block(&self, account: AccountNo, whom: AccountNo, at: u64) -> bool {
        let blocks = self.blocked.get(&(account, whom)).into_iter().flatten();
        blocks.clone().any(|block| block.until >= at)
    }

    /// Whether an account gets what is at a place of a group: from the one at which it came to the one
    /// at which it went.
    pub fn is_member(&self, group: GroupNo, account: AccountNo, place: u64) -> bool {
        let changes = self.members.get(&group).into_iter().flatten().rev();
        let mut before = changes.filter(|(at, who, joined)| {
            *who == account && if *joined { *at <= place } else { *at < place }
        });
        before.next().is_some_and(|(_, _, joined)| *joined)
    }

    /// Whether an account that came to a group before a place is put out again by the group itself: it could
    /// not be a member.
    pub fn is_declined(&self, group: GroupNo, account: AccountNo, place: u64) -> bool {
        let mut changes = self.members.get(&group).into_iter().flatten();
        let left = |(at, who, joined): &&(u64, AccountNo, bool)| {
            *who == account && !joined && *at >= place
        };
        let out = changes.find(left).and_then(|(at, ..)| self.orders.get(&group)?.get(at));
        out.is_some_and(|message| message.from.device == 0)
    }

    /// Whether an account came to a group behind a place.
    pub fn comes_behind(&self, group: GroupNo, account: AccountNo, place: u64) -> bool {
        let mut changes = self.members.get(&group).into_iter().flatten();
        changes.any(|(at, who, joined)| *joined && *who == account && *at > place)
    }

    /// Whether an account was ever no member of a group any more.
    pub fn has_left(&self, group: GroupNo, account: AccountNo) -> bool {
        let mut changes = self.members.get(&group).into_iter().flatten();
        changes.any(|(_, who, joined)| *who == account && !*joined)
    }

    /// Everybody who was in a group at any time.
    pub fn ever_in(&self, group: GroupNo) -> BTreeSet<AccountNo> {
        self.members.get(&group).into_iter().flatten().map(|(_, who, _)| *who).collect()
    }

    /// Whether messages at a place of a group are in no inbox.
    pub fn is_pulled(&self, group: GroupNo, place: u64) -> bool {
        self.pulls.get(&group).is_some_and(|behind| place > *behind)
    }

    /// Whether a device of an account reached the end of its inbox, and of a large group's log.
    pub fn has_all_of(&self, group: GroupNo, account: AccountNo) -> bool {
        self.devices.iter().any(|(device, log)| {
            let read = !self.pulls.contains_key(&group)
                || self.logs_drained.contains_key(&(*device, group));
            device.account == account && log.drained.is_some() && read
        })
    }
}
