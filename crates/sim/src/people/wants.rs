//! What people do besides writing: they erase, read, watch, block, and look things up.

use std::collections::BTreeSet;

use iris_check::history::What;
use iris_core::id::AccountId;
use iris_core::message::{About, Act, Address};
use iris_core::relation::Wish;
use iris_core::seq::ConvSeq;
use iris_core::shard::{Conn, Fetch, HistoryPoint, Input, LinkNo};

use super::{Called, Looking, Wished, Written};
use crate::network::End;
use crate::packet::Packet;
use crate::world::World;

/// What was read is said again so often, until its mark comes back.
const READ_AGAIN_US: u64 = 3_000_000;
/// A page of history.
const PAGE: u32 = 8;
/// A person looks at a page at most so often: devices have few calls under way.
const CALLS_MAX: usize = 2;

pub(super) const NOWHERE: Conn = Conn { link: LinkNo(0), id: 0 };

impl World {
    /// Erases the newest message that the device knows of its account, for everybody.
    pub(super) fn erase_newest(&mut self, device: usize) {
        let state = &mut self.devices[device];
        let Some((to, msg_id, clock, place)) = state.disk.sent.pop_back() else { return };
        let about = About { act: Act::Delete, author: state.account, msg_id, clock, place };
        self.compose(device, Written { about: Some(about), ..Written::to(to) });
    }

    /// Writes the newest message that the device knows of its account anew.
    pub(super) fn edit_newest(&mut self, device: usize) {
        let state = &self.devices[device];
        let Some((to, msg_id, clock, place)) = state.disk.sent.back().copied() else { return };
        let about = About { act: Act::Edit, author: state.account, msg_id, clock, place };
        self.compose(device, Written { about: Some(about), ..Written::to(to) });
    }

    /// Does something about the newest message that the device has of a person.
    pub(super) fn answer_newest(&mut self, device: usize, person: usize, act: Act) {
        let Some(author) = self.account_of(person) else { return };
        let state = &self.devices[device];
        let Some((msg_id, clock)) = state.disk.newest.get(&author).copied() else { return };
        let about = About { act, author, msg_id, clock, place: ConvSeq(0) };
        let to = Address::Account(author);
        self.compose(device, Written { about: Some(about), ..Written::to(to) });
    }

    pub(super) fn read_of(&mut self, device: usize, person: usize, private: bool) {
        let Some(of) = self.account_of(person) else { return };
        let now = self.now();
        let state = &mut self.devices[device];
        let Some(clock) = state.disk.heard.get(&of).copied() else { return };
        let known = state.disk.marks.get(&of).map(|mark| mark.own_read).unwrap_or_default();
        if clock <= known {
            return;
        }
        state.disk.reads.insert(of, (clock, private));
        state.read_said_at = now;
        let by = self.by(device);
        let conversation = self.book.target(Address::Account(of));
        self.note(What::Read { by, conversation, clock: clock.0, private });
        self.say_reads(device);
    }

    pub(super) fn watch_person(&mut self, device: usize, person: usize, on: bool) {
        let Some(of) = self.account_of(person) else { return };
        let state = &mut self.devices[device];
        let disk = &mut state.disk;
        let changes = if on { disk.watches.insert(of) } else { disk.watches.remove(&of) };
        if !changes || !state.linked {
            return;
        }
        state.presences.remove(&of);
        let by = self.by(device);
        let of_no = self.book.account(of);
        self.note(What::Watches { by, of: of_no, on });
        self.call_shard(device, Called::Watch, |corr| Input::Subscribe {
            conn: NOWHERE,
            corr,
            accounts: vec![of],
            on,
        });
    }

    pub(super) fn block(&mut self, device: usize, person: usize, on: bool) {
        let Some(whom) = self.account_of(person) else { return };
        let asked_at = self.now();
        let state = &mut self.devices[device];
        if state.linked && whom != state.account {
            state.disk.wishes.push_back(Wished { whom, on, asked_at });
            let account = state.account;
            if on {
                self.blocked_once.insert((account, whom));
            }
            self.say_wish(device);
        }
    }

    pub(super) fn fetch(&mut self, device: usize, person: usize) {
        let Some(with) = self.account_of(person) else { return };
        self.look_through(device, Address::Account(with));
    }

    pub(super) fn look_through(&mut self, device: usize, with: Address) {
        let asked_at = self.now();
        if self.devices[device].calls.len() >= CALLS_MAX {
            return;
        }
        let looking = Looking { asked_at, with, pages: 0, messages: Vec::new() };
        self.fetch_page(device, looking, None);
    }

    pub(super) fn fetch_page(
        &mut self,
        device: usize,
        looking: Looking,
        before: Option<HistoryPoint>,
    ) {
        let conversation = looking.with;
        let fetch = Fetch { conversation, before, limit: PAGE };
        let called = Called::Fetch(looking);
        self.call_shard(device, called, |corr| Input::Fetch { conn: NOWHERE, corr, fetch });
    }

    /// What the owner of a shard knows only in memory is said to every new one.
    pub(super) fn say_everything(&mut self, device: usize) {
        let accounts: Vec<_> = self.devices[device].disk.watches.iter().copied().collect();
        if !accounts.is_empty() {
            let on = true;
            self.call_shard(device, Called::Watch, |corr| Input::Subscribe {
                conn: NOWHERE,
                corr,
                accounts,
                on,
            });
        }
        self.read_logs_anew(device);
        self.say_reads(device);
        self.devices[device].wishing = false;
        self.say_wish(device);
    }

    /// Says again what nobody confirmed.
    pub(super) fn say_what_has_no_answer(&mut self, device: usize) {
        if self.now() - self.devices[device].read_said_at >= READ_AGAIN_US {
            self.say_reads(device);
        }
        self.read_logs(device);
        self.say_wish(device);
    }

    fn say_reads(&mut self, device: usize) {
        let now = self.now();
        let state = &mut self.devices[device];
        let (Some(stream), true) = (state.conn, state.welcomed) else { return };
        state.read_said_at = now;
        for (with, (upto, private)) in state.disk.reads.clone() {
            let conversation = Address::Account(with);
            let input = Input::Read { conn: NOWHERE, conversation, upto, private };
            self.send(stream, End::Opener, Packet::FromDevice(Box::new(input)));
        }
    }

    /// One wish after the other: the last one counts.
    pub(super) fn say_wish(&mut self, device: usize) {
        let state = &mut self.devices[device];
        if state.wishing || !state.welcomed {
            return;
        }
        let Some(Wished { whom, on, .. }) = state.disk.wishes.front().copied() else { return };
        state.wishing = true;
        let wish = Wish::Block(whom, on);
        self.call_shard(device, Called::Wish, |corr| Input::Wish { conn: NOWHERE, corr, wish });
    }

    pub(super) fn call_shard(
        &mut self,
        device: usize,
        called: Called,
        input: impl FnOnce(u32) -> Input,
    ) {
        let state = &mut self.devices[device];
        let (Some(stream), true) = (state.conn, state.welcomed) else { return };
        state.next_corr += 1;
        let corr = state.next_corr;
        state.calls.insert(corr, called);
        self.send(stream, End::Opener, Packet::FromDevice(Box::new(input(corr))));
    }

    /// Somebody came or went.
    pub(super) fn note_here(&mut self, account: AccountId) {
        let here = self.is_here(account);
        let account = self.book.account(account);
        self.note(What::Here { account, here });
    }

    fn is_here(&self, account: AccountId) -> bool {
        self.devices.iter().any(|device| device.account == account && device.welcomed)
    }

    /// Whether everybody knows who of those whom they watch is there. Whom somebody ever blocked, they
    /// may not see.
    pub(crate) fn presences_are_true(&self) -> bool {
        self.devices.iter().all(|device| {
            device.disk.watches.iter().all(|of| {
                self.blocked_once.contains(&(*of, device.account))
                    || device.presences.get(of) == Some(&self.is_here(*of))
            })
        })
    }

    /// Whether whoever wrote something knows that it is there.
    pub(crate) fn receipts_arrived(&self) -> bool {
        let accounts: BTreeSet<_> = self.devices.iter().map(|device| device.account).collect();
        self.devices.iter().all(|reader| {
            reader.disk.heard.iter().all(|(writer, clock)| {
                let knows = |device: &super::Device| {
                    let mark = device.disk.marks.get(&reader.account);
                    mark.is_some_and(|mark| mark.delivered >= *clock)
                };
                let mut devices = self.devices.iter().filter(|d| d.account == *writer);
                !accounts.contains(writer)
                    || self.blocked_once.contains(&(reader.account, *writer))
                    || self.blocked_once.contains(&(*writer, reader.account))
                    || devices.all(knows)
            })
        })
    }
}
