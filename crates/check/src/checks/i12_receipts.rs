//! I12: receipts are true and never go back.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{AccountNo, Device, Index, Item, Target, What};

use super::{Bounds, Findings};

#[derive(Default)]
struct Known {
    /// The newest clock of a conversation that is on some device of an account.
    delivered: BTreeMap<(AccountNo, AccountNo), u64>,
    /// The newest clock that a person said to have read, where the other side may know.
    read: BTreeMap<(AccountNo, AccountNo), u64>,
    told: BTreeMap<(Device, AccountNo), (u64, u64)>,
    /// The newest clock of a conversation that has a message which is erased sooner or later.
    erased: BTreeMap<(AccountNo, AccountNo), u64>,
}

pub(super) fn check(index: &Index<'_>, _: &Bounds, findings: &mut Findings) {
    let erased = index.events.iter().filter_map(|event| match &event.what {
        What::Erased { message, .. } => Some(*message),
        _ => None,
    });
    let erased: BTreeSet<_> = erased.collect();
    let mut known = Known::default();
    for event in index.events {
        match &event.what {
            What::Applied { by, item: Item::Message(message), .. }
                if message.to == Target::Account(by.account) =>
            {
                let at = known.delivered.entry((by.account, message.from.account)).or_default();
                *at = message.clock.max(*at);
            }
            What::Applied { item: Item::Own(message), .. } if erased.contains(&message.message) => {
                if let Target::Account(to) = message.to {
                    let at = known.erased.entry((to, message.from.account)).or_default();
                    *at = message.clock.max(*at);
                }
            }
            // It may be in the place of what was erased meanwhile.
            What::Applied { by, item: Item::Hole, .. } => known.hole(by.account),
            What::Read { by, conversation: Target::Account(with), clock, private: false } => {
                let at = known.read.entry((by.account, *with)).or_default();
                *at = (*clock).max(*at);
            }
            What::Receipt { by, of, delivered, read } => {
                known.receipt(event.at, (*by, *of), (*delivered, *read), findings);
            }
            _ => {}
        }
    }
}

impl Known {
    /// A device has a hole: of whatever was erased of what was written to it, that may be the last.
    fn hole(&mut self, to: AccountNo) {
        for ((account, from), clock) in
            self.erased.iter().filter(|((account, _), _)| *account == to)
        {
            let at = self.delivered.entry((*account, *from)).or_default();
            *at = (*clock).max(*at);
        }
    }

    fn receipt(
        &mut self,
        at: u64,
        (by, of): (Device, AccountNo),
        (delivered, read): (u64, u64),
        findings: &mut Findings,
    ) {
        let has = self.delivered.get(&(of, by.account)).copied().unwrap_or_default();
        let said = self.read.get(&(of, by.account)).copied().unwrap_or_default();
        let name = format!("device {}/{} was told that account {}", by.account.0, by.device, of.0);
        if delivered > has {
            findings.add(at, format!("{name} has messages up to {delivered}; it has up to {has}"));
        }
        if read > said {
            findings.add(at, format!("{name} read up to {read}; it said up to {said}"));
        }
        if read > delivered {
            findings.add(at, format!("{name} read up to {read}, and has up to {delivered}"));
        }
        let before = self.told.insert((by, of), (delivered, read)).unwrap_or_default();
        if delivered < before.0 || read < before.1 {
            findings.add(at, format!("{name} has and read less than before"));
        }
    }
}
