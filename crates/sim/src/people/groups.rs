//! What people do in groups, and what their devices know of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use iris_check::history::What;
use iris_core::clock::WallMs;
use iris_core::group::{Change, Membership, Reach, Role, Settings, Who};
use iris_core::id::{AccountId, GroupId, ShardId, TenantNo};
use iris_core::message::{Address, Message};
use iris_core::seq::ConvSeq;
use iris_core::shard::{Input, LogFetch};

use super::wants::NOWHERE;
use super::{Called, Written};
use crate::book::message_no;
use crate::network::End;
use crate::packet::Packet;
use crate::plan::{GroupAct, NOBODIES, Roster};
use crate::store::{Query, Stored, Value};
use crate::world::World;

/// A page of a log: few, so that there are several pages.
const PAGE: u32 = 5;

/// What a device knows of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Whether its account is in it, or was.
    membership: Option<Membership>,
    /// The newest roster that it knows, and the one before.
    version: ConvSeq,
    version_before: ConvSeq,
    /// It has everything of the log up to here.
    read: ConvSeq,
    /// It was told that the log goes up to here.
    head: ConvSeq,
}

impl Known {
    /// Up to where it may read the log.
    fn readable(&self) -> ConvSeq {
        let pulled = self.membership.filter(|known| known.pulls.is_some());
        pulled.map_or(ConvSeq(0), |known| known.until.unwrap_or(self.head))
    }
}

/// A device reads a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    group: GroupId,
    behind: ConvSeq,
    told: ConvSeq,
    /// It reads on from what it has; otherwise it only looks.
    on: bool,
}

impl World {
    pub(super) fn make_groups(&mut self) {
        for _ in 0..self.plan.groups {
            let (shard, random) = (self.any_shard(), self.random.bits());
            let group = GroupId::in_shard(shard, self.count, TenantNo(0), random);
            self.book.group(group);
            self.groups.push(group);
        }
        for _ in 0..NOBODIES {
            let (shard, random) = (self.any_shard(), self.random.bits());
            self.nobodies.push(AccountId::in_shard(shard, self.count, TenantNo(0), random));
        }
    }

    fn any_shard(&mut self) -> ShardId {
        let shard = self.random.between(0, u64::from(self.count.get()) - 1);
        ShardId::new(u16::try_from(shard).expect("few shards"))
    }

    /// Those whom a plan names by bits.
    fn those(&self, who: u32) -> Vec<AccountId> {
        let people = (0..self.plan.people.len()).filter_map(|person| self.account_of(person));
        let all = people.chain(self.nobodies.iter().copied()).enumerate();
        all.filter(|(bit, _)| who & (1 << bit) != 0).map(|(_, account)| account).collect()
    }

    pub(super) fn act_in_group(&mut self, device: usize, group: usize, act: GroupAct) {
        let Some(group) = self.groups.get(group).copied() else { return };
        let known = self.devices[device].disk.groups.get(&group).cloned().unwrap_or_default();
        let only_admins = |on| if on { Who::Admins } else { Who::Members };
        let change = match act {
            GroupAct::Create { with } => Change::Create(self.those(with), Settings::default()),
            GroupAct::Add { who } => Change::Add(self.those(who)),
            GroupAct::Remove { who } => Change::Remove(self.those(who)),
            GroupAct::Leave => Change::Leave,
            GroupAct::Promote { whom, admin } => {
                let Some(whom) = self.account_of(whom) else { return };
                Change::Promote(whom, if admin { Role::Admin } else { Role::Member })
            }
            GroupAct::Restrict { on } => {
                let (writers, adders) = (only_admins(on), only_admins(on));
                Change::Set(Settings { writers, adders, ..Settings::default() })
            }
            GroupAct::Say { roster } => {
                let roster = match roster {
                    Roster::Any => ConvSeq(0),
                    Roster::Known => known.version,
                    Roster::Old => known.version_before,
                };
                let to = Address::Group(group);
                return self.compose(device, Written { roster, ..Written::to(to) });
            }
            GroupAct::Look => return self.look_through(device, Address::Group(group)),
            GroupAct::ReadLog => {
                let told = known.readable().min(known.head);
                let reading = Reading { group, behind: ConvSeq(0), told, on: false };
                return self.ask_for_log(device, reading);
            }
            GroupAct::Pry => {
                let told = known.readable().min(known.head);
                let reading = Reading { group, behind: known.read, told, on: false };
                return self.ask_for_log(device, reading);
            }
            GroupAct::Type => {
                let state = &self.devices[device];
                let (Some(stream), true) = (state.conn, state.welcomed) else { return };
                let to = Address::Group(group);
                let input = Input::Types { conn: NOWHERE, to, kind: 1 };
                return self.send(stream, End::Opener, Packet::FromDevice(Box::new(input)));
            }
            GroupAct::Roster => {
                return self.call_shard(device, Called::Roster, |corr| Input::Roster {
                    conn: NOWHERE,
                    corr,
                    group,
                    after: None,
                });
            }
            GroupAct::List => {
                return self.call_shard(device, Called::Groups, |corr| Input::ListGroups {
                    conn: NOWHERE,
                    corr,
                });
            }
        };
        let to = Address::Group(group);
        self.compose(device, Written { change: Some(change), ..Written::to(to) });
    }

    /// Something of a group is at a place of the inbox.
    pub(super) fn take_from_group(
        &mut self,
        device: usize,
        group: GroupId,
        message: &Arc<Message>,
    ) {
        let Some(place) = message.place() else { return };
        self.book.sometimes.in_groups += 1;
        let state = &mut self.devices[device];
        let account = state.account;
        let known = state.disk.groups.entry(group).or_default();
        let before = known.membership;
        let at = (place, WallMs(0));
        let after = Membership::after(before, account, message.sender, message.change(), at);
        known.membership = after.or(before);
        let pulls = known.membership.and_then(|known| known.pulls);
        if after.is_some()
            && let Some(behind) = pulls
        {
            known.read = known.read.max(behind);
        }
        self.learn_from_group(device, group, message);
        if let Some(about) = message.erases() {
            let account = self.book.account(account);
            let message = iris_check::history::MessageNo(message_no(about.msg_id));
            self.book.sometimes.erasures_in_groups += 1;
            self.note(What::Erased { account, message });
        }
        self.read_log_on(device, group);
    }

    /// What a device knows of a group from a message, wherever it has it from.
    fn learn_from_group(&mut self, device: usize, group: GroupId, message: &Arc<Message>) {
        let Some(place) = message.place() else { return };
        let by = self.by(device);
        let group_no = self.book.group(group);
        if place.reach == Reach::Pull {
            self.note(What::Pulls { group: group_no, behind: place.seq.0 });
        }
        if let Some(change) = message.change() {
            let known = self.devices[device].disk.groups.entry(group).or_default();
            if place.seq > known.version {
                known.version_before = known.version;
                known.version = place.seq;
            }
            let (come, go): (Vec<_>, Vec<_>) = match change {
                Change::Create(who, _) => {
                    (who.iter().copied().chain([message.sender]).collect(), Vec::new())
                }
                Change::Add(who) => (who.clone(), Vec::new()),
                Change::Remove(who) => (Vec::new(), who.clone()),
                Change::Leave => (Vec::new(), vec![message.sender]),
                Change::Promote(..) | Change::Set(_) => (Vec::new(), Vec::new()),
            };
            let changes = come.into_iter().map(|who| (who, true));
            for (who, joined) in changes.chain(go.into_iter().map(|who| (who, false))) {
                let (group, conv_seq, account) = (group_no, place.seq.0, self.book.account(who));
                self.note(What::Member { by, group, conv_seq, account, joined });
            }
        }
        let own = message.sender == self.devices[device].account;
        if let Some(about) = message.erases() {
            let sent = &mut self.devices[device].disk.sent;
            sent.retain(|(_, msg_id, ..)| *msg_id != about.msg_id);
            let erased = iris_check::history::MessageNo(message_no(about.msg_id));
            self.erased_in_groups.insert((group, about.msg_id));
            let (group, conv_seq) = (group_no, place.seq.0);
            self.note(What::ErasedInGroup { group, message: erased, conv_seq });
        } else if own && message.change().is_none() && !message.bodies.is_empty() {
            self.may_erase(device, message);
        }
    }

    pub(super) fn head_is(&mut self, device: usize, group: GroupId, head: ConvSeq) {
        let known = self.devices[device].disk.groups.entry(group).or_default();
        known.head = known.head.max(head);
        self.read_log_on(device, group);
    }

    /// Reads what the device does not have of a group's log, page by page.
    fn read_log_on(&mut self, device: usize, group: GroupId) {
        let state = &self.devices[device];
        let Some(known) = state.disk.groups.get(&group) else { return };
        let (behind, readable) = (known.read, known.readable());
        let reads = |called: &Called| matches!(called, Called::Log(r) if r.group == group && r.on);
        // Who left knows its last place, and not whether that is a row yet.
        let told = readable.min(known.head);
        if behind < readable && !state.calls.values().any(reads) {
            self.ask_for_log(device, Reading { group, behind, told, on: true });
        }
    }

    pub(super) fn read_logs(&mut self, device: usize) {
        let groups: Vec<_> = self.devices[device].disk.groups.keys().copied().collect();
        for group in groups {
            self.read_log_on(device, group);
        }
    }

    /// Whoever was asked is gone: what it answers is not waited for.
    pub(super) fn read_logs_anew(&mut self, device: usize) {
        self.devices[device].calls.retain(|_, called| !matches!(called, Called::Log(_)));
        self.read_logs(device);
    }

    fn ask_for_log(&mut self, device: usize, reading: Reading) {
        let (group, after) = (reading.group, reading.behind);
        let fetch = LogFetch { group, after, upto: None, limit: PAGE };
        self.call_shard(device, Called::Log(reading), |corr| Input::FetchLog {
            conn: NOWHERE,
            corr,
            fetch,
        });
    }

    pub(super) fn read_log_page(
        &mut self,
        device: usize,
        corr: u32,
        messages: &[Arc<Message>],
        more: bool,
    ) {
        let Some(called) = self.devices[device].calls.remove(&corr) else { return };
        let Called::Log(Reading { group, behind, told, on }) = called else {
            let now = self.now();
            let text = format!("device {device} got a page of a log that it did not ask for");
            return self.book.unreadable.push((now, text));
        };
        let by = self.by(device);
        self.book.sometimes.pulled_pages += u64::from(!messages.is_empty());
        let noted = messages.iter().map(|message| self.book.message(message)).collect();
        let (group_no, behind, told) = (self.book.group(group), behind.0, told.0);
        let page = What::LogPage { by, group: group_no, behind, told, more, messages: noted };
        self.note(page);
        for message in messages {
            let Some(place) = message.place() else { continue };
            let known = self.devices[device].disk.groups.entry(group).or_default();
            let fresh = on && place.seq > known.read;
            if fresh {
                known.read = place.seq;
                self.learn_from_group(device, group, message);
            }
        }
        // A page with nothing on it is asked for again a moment later.
        if on && !messages.is_empty() {
            self.read_log_on(device, group);
        }
    }

    /// How far the log of a group goes, as its shard or anybody knows.
    fn log_head(&self, group: GroupId) -> ConvSeq {
        let told = self.devices.iter().filter_map(|device| device.disk.groups.get(&group));
        let told = told.map(|known| known.head).max().unwrap_or_default();
        self.group_now(group).map_or(told, |state| state.head.max(told))
    }

    /// The large groups that a device's account is in, and whether the device has their logs.
    pub(crate) fn logs_of(&self, device: usize) -> Vec<(GroupId, ConvSeq, bool)> {
        let groups = self.devices[device].disk.groups.iter();
        let pulled = groups.filter(|(_, known)| {
            known.membership.is_some_and(|known| known.until.is_none() && known.pulls.is_some())
        });
        let read = pulled.map(|(group, known)| {
            let head = self.log_head(*group);
            (*group, head, known.read >= head)
        });
        read.collect()
    }

    /// Whether every log is read to its end, and nobody is in a group who does not exist.
    pub(crate) fn groups_are_settled(&self) -> bool {
        let read = |device: usize| self.logs_of(device).iter().all(|(_, _, read)| *read);
        let real = |group: &GroupId| {
            self.group_now(*group).is_none_or(|state| {
                let members = || state.members.keys();
                members().all(|who| self.nobodies.contains(who))
                    || !members().any(|who| self.nobodies.contains(who))
            })
        };
        let rows = self.erased_in_groups.is_empty() || self.shards_are_clean();
        rows && (0..self.devices.len()).all(read) && self.groups.iter().all(real)
    }

    /// Messages that were erased, and whose bodies some replicas would still answer with. Nothing of it is
    /// under way any more.
    pub(crate) fn look_for_bodies(&mut self) {
        let erased: BTreeSet<_> = self.erased_in_groups.clone();
        for (group, msg_id) in erased {
            let kept = |rows: Vec<Stored>| {
                rows.into_iter().any(|row| match row.cell.value {
                    Value::Log(message) => message.msg_id == msg_id && !message.bodies.is_empty(),
                    _ => false,
                })
            };
            let answers = self.store.look(&Query::Log(group, ConvSeq(0)));
            if self.shards_are_clean() && answers.into_iter().any(kept) {
                let message = iris_check::history::MessageNo(message_no(msg_id));
                let group = self.book.group(group);
                self.note(What::BodyKept { group, message });
            }
        }
    }

    /// Whether derived rows have everything.
    fn shards_are_clean(&self) -> bool {
        let serving = self.owners.iter().filter(|owner| owner.alive);
        let mut engines = serving.flat_map(|owner| &owner.lanes).map(|lane| &lane.engine);
        engines.all(|engine| engine.shards().all(|shard| shard.dirty_from().is_none()))
    }

    /// What became of the groups, for the counts.
    pub(crate) fn count_groups(&mut self) {
        let reaches: Vec<_> =
            self.groups.iter().filter_map(|group| Some(self.group_now(*group)?.reach)).collect();
        let sometimes = &mut self.book.sometimes;
        for reach in reaches {
            sometimes.apart += u64::from(reach == Reach::Apart);
            sometimes.pulled += u64::from(reach == Reach::Pull);
        }
    }
}
