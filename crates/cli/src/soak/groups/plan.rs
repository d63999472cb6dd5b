//! Who is in which group of a run.
//!
//! The first accounts of a run are those that connect. Each group has so many of them in turn; accounts
//! that only exist fill it up, the same ones in every group. So a run needs no more accounts than the
//! larger of its pairs and one group.

use super::super::SoakArgs;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::soak) struct Plan {
    /// Groups.
    pub(in crate::soak) groups: usize,
    /// Members of each that are there, whoever makes it included.
    pub(in crate::soak) online: usize,
    /// Members of each that never are.
    pub(in crate::soak) silent: usize,
    /// Devices that connect.
    pub(in crate::soak) connected: usize,
}

impl Plan {
    pub(in crate::soak) fn of(args: &SoakArgs) -> Self {
        let pairs = args.pairs as usize * 2;
        let (groups, size) = (args.groups as usize, args.group_size as usize);
        if groups == 0 {
            return Self { groups: 0, online: 0, silent: 0, connected: pairs };
        }
        let online = args.group_online.map_or(size, |online| online as usize).clamp(1, size);
        Self { groups, online, silent: size - online, connected: pairs.max(online) }
    }

    /// All accounts of the run.
    pub(in crate::soak) fn accounts(&self) -> usize {
        self.connected + self.silent
    }

    /// Members of each group.
    pub(in crate::soak) fn size(&self) -> usize {
        self.online + self.silent
    }

    /// The device that is the `n`th member of a group that is there; the first one makes it.
    pub(in crate::soak) fn member(&self, group: usize, n: usize) -> usize {
        (group * self.online + n) % self.connected.max(1)
    }

    /// The devices of a group that are there, in the order of their numbers as members.
    pub(in crate::soak) fn members(&self, group: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.online).map(move |n| self.member(group, n))
    }

    /// Whom the maker of a group brings in: some of those who are there first and some last, so that a
    /// large group is joined both before and after it became large.
    pub(in crate::soak) fn others(&self, group: usize) -> Vec<usize> {
        let there: Vec<_> = self.members(group).skip(1).collect();
        let (first, last) = there.split_at(there.len() / 2);
        let silent = self.connected..self.accounts();
        first.iter().copied().chain(silent).chain(last.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan(groups: usize, online: usize, silent: usize, connected: usize) -> Plan {
        Plan { groups, online, silent, connected }
    }

    #[test]
    fn a_group_has_each_member_once() {
        for plan in [plan(5, 4, 0, 40), plan(3, 20, 6000, 40), plan(9, 7, 3, 7)] {
            for group in 0..plan.groups {
                let mut all: BTreeSet<_> = plan.others(group).into_iter().collect();
                assert_eq!(all.len(), plan.size() - 1, "{plan:?} {group}");
                assert!(all.insert(plan.member(group, 0)), "{plan:?} {group}");
                assert!(all.iter().all(|account| *account < plan.accounts()));
                let there: Vec<_> = plan.members(group).collect();
                assert!(there.iter().all(|device| *device < plan.connected));
                assert_eq!(there.len(), plan.online);
            }
        }
    }

    #[test]
    fn groups_take_turns_and_a_large_one_is_joined_before_and_after_it_is_large() {
        let plan = plan(2, 4, 6000, 8);
        assert_eq!(plan.members(0).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(plan.members(1).collect::<Vec<_>>(), [4, 5, 6, 7]);
        let others = plan.others(0);
        assert_eq!((others[0], others[1], others[6001], others[6002]), (1, 8, 2, 3));
    }
}
