//! What people do in groups, from a seed.

use super::{BEGIN, SECOND};
use crate::plan::{Act, Deed, Fault, GroupAct, Kind, Roster};
use crate::random::Random;

/// So many of a thousand worlds have groups.
const WORLDS_PER_MILLE: u32 = 700;
/// So many of a thousand groups put somebody out whose owner does not hear of it.
const FAREWELLS_PER_MILLE: u32 = 300;
/// How many accounts that do not exist are taken into groups.
pub(crate) const NOBODIES: usize = 2;

/// Groups, and what is done in them.
pub(super) struct Groups {
    pub(super) count: usize,
    pub(super) inline_members: usize,
    pub(super) pushed_members: usize,
    pub(super) deeds: Vec<Deed>,
    pub(super) faults: Vec<Fault>,
}

pub(super) fn draw(
    random: &mut Random,
    busy_us: u64,
    (people, pods): (&[u8], usize),
    faults: &[Fault],
) -> Groups {
    // Few people: for a group to be large, large must be little.
    let sizes = [(64, 5_000), (1, 5_000), (2, 3), (2, 4), (3, 5), (1, 2), (1, 1), (4, 6)];
    let (inline_members, pushed_members) = *random.pick(&sizes);
    let mut groups =
        Groups { count: 0, inline_members, pushed_members, deeds: Vec::new(), faults: Vec::new() };
    if !random.chance(WORLDS_PER_MILLE) {
        return groups;
    }
    groups.count = random.index(3) + 1;
    for group in 0..groups.count {
        // Whoever makes it is its admin, and does what others may not.
        let maker = random.index(people.len());
        let mut draw = Draw { random, people, group, maker };
        draw.beginning(&mut groups.deeds);
        draw.life(busy_us, &mut groups.deeds);
        draw.bursts(faults, &mut groups.deeds);
        draw.farewells(busy_us, pods, &mut groups);
    }
    groups
}

struct Draw<'a> {
    random: &'a mut Random,
    people: &'a [u8],
    group: usize,
    maker: usize,
}

impl Draw<'_> {
    fn by(&mut self, person: usize, at: u64, act: GroupAct) -> Deed {
        let device = self.random.index(usize::from(self.people[person]));
        Deed { at, person, device, act: Act::InGroup { group: self.group, act } }
    }

    /// Mostly an admin, where only those may.
    fn admin(&mut self) -> usize {
        if self.random.chance(750) { self.maker } else { self.random.index(self.people.len()) }
    }

    /// Some people, each of them with this chance.
    fn some(&mut self, per_mille: u32) -> u32 {
        let mut who = 0;
        for person in 0..self.people.len() {
            who |= u32::from(self.random.chance(per_mille)) << person;
        }
        for nobody in 0..NOBODIES {
            who |= u32::from(self.random.chance(120)) << (self.people.len() + nobody);
        }
        who
    }

    fn beginning(&mut self, deeds: &mut Vec<Deed>) {
        let at = BEGIN + self.random.between(0, 2 * SECOND);
        let with = self.some(650);
        deeds.push(self.by(self.maker, at, GroupAct::Create { with }));
    }

    fn life(&mut self, busy_us: u64, deeds: &mut Vec<Deed>) {
        let pause = *self.random.pick(&[60_000, 150_000, 400_000]);
        let mut at = BEGIN + SECOND;
        let most = deeds.len() + 250;
        while at < BEGIN + busy_us && deeds.len() < most {
            at += self.random.around(pause);
            let anybody = self.random.index(self.people.len());
            let one = self.random.index(self.people.len());
            let deed = match self.random.between(0, 99) {
                0..=5 => {
                    let (by, who) = (self.admin(), self.some(250));
                    self.by(by, at, GroupAct::Add { who })
                }
                6..=9 => {
                    let (by, who) = (self.admin(), 1 << one);
                    self.by(by, at, GroupAct::Remove { who })
                }
                10 => self.by(anybody, at, GroupAct::Leave),
                11..=12 => {
                    let (by, admin) = (self.admin(), self.random.chance(600));
                    self.by(by, at, GroupAct::Promote { whom: one, admin })
                }
                13 => {
                    let (by, on) = (self.admin(), self.random.chance(300));
                    self.by(by, at, GroupAct::Restrict { on })
                }
                14..=17 => self.by(anybody, at, GroupAct::Say { roster: Roster::Known }),
                18..=19 => self.by(anybody, at, GroupAct::Say { roster: Roster::Old }),
                20..=24 => self.by(anybody, at, GroupAct::Look),
                25..=27 => self.by(anybody, at, GroupAct::ReadLog),
                28..=30 => self.by(anybody, at, GroupAct::Type),
                31..=32 => self.by(anybody, at, GroupAct::Roster),
                33 => self.by(anybody, at, GroupAct::List),
                34 => {
                    let with = self.some(500);
                    self.by(anybody, at, GroupAct::Create { with })
                }
                35..=36 => Deed { act: Act::Erase, ..self.by(anybody, at, GroupAct::Look) },
                _ => self.by(anybody, at, GroupAct::Say { roster: Roster::Any }),
            };
            deeds.push(deed);
        }
    }

    /// People write to it, and change it, most while something breaks.
    fn bursts(&mut self, faults: &[Fault], deeds: &mut Vec<Deed>) {
        for fault in faults {
            if !self.random.chance(250) {
                continue;
            }
            let person = self.random.index(self.people.len());
            let mut at = fault.at.saturating_sub(self.random.between(0, 300_000)).max(BEGIN);
            let pause = self.random.between(500, 20_000);
            for _ in 0..self.random.between(5, 60) {
                at += self.random.around(pause);
                let one = 1 << self.random.index(self.people.len());
                let deed = match self.random.between(0, 19) {
                    0 => self.by(self.maker, at, GroupAct::Add { who: one }),
                    1 => self.by(self.maker, at, GroupAct::Remove { who: one }),
                    _ => self.by(person, at, GroupAct::Say { roster: Roster::Any }),
                };
                deeds.push(deed);
            }
        }
    }

    /// Somebody is put out of it while their owner does not hear of it, and looks at what is said afterwards.
    fn farewells(&mut self, busy_us: u64, pods: usize, groups: &mut Groups) {
        if !self.random.chance(FAREWELLS_PER_MILLE) {
            return;
        }
        let mut at = BEGIN + 2 * SECOND + self.random.between(0, busy_us);
        let us = self.random.between(400_000, 2_500_000);
        let pod = self.random.index(pods);
        let other = (pod + 1 + self.random.index(pods - 1)) % pods;
        groups.faults.push(Fault { at, us, kind: Kind::CutOwners { pod, other } });
        let end = at + us;
        let all = self.people.len();
        let (out, person) = (self.random.index(all), self.random.index(all));
        at += self.random.between(10_000, 200_000);
        groups.deeds.push(self.by(self.maker, at, GroupAct::Remove { who: 1 << out }));
        while at < end {
            at += self.random.around(50_000);
            let says = [self.maker, person][self.random.index(2)];
            groups.deeds.push(self.by(says, at, GroupAct::Say { roster: Roster::Any }));
            groups.deeds.push(self.by(out, at + 40_000, GroupAct::Pry));
        }
    }
}
