//! The groups of a run on its board: whose they are, and what each member saw of them.

use std::collections::BTreeMap;

use iris_client::place::Incoming;
use iris_core::id::GroupId;

use super::super::message::{Body, Tag};
use super::ledger::GroupLedger;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::soak) struct Watched {
    pub(in crate::soak) ledger: GroupLedger,
    known: BTreeMap<GroupId, Members>,
    /// Directions of the pairs: those of groups come behind them.
    pairs: usize,
    /// Members of each group who are there.
    online: usize,
}

#[derive(Debug)]
struct Members {
    group: usize,
    /// Which member a device is.
    of_device: BTreeMap<usize, usize>,
}

/// What a message of a group turned out to be, where it was none for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::soak) enum Odd {
    /// Of another run.
    Foreign,
    /// Changed on its way.
    Damaged,
}

impl Watched {
    pub(in crate::soak) fn new(pairs: usize, groups: usize, online: usize) -> Self {
        let ledger = GroupLedger::new(groups, online);
        Self { ledger, known: BTreeMap::new(), pairs, online }
    }

    /// The next group, with the devices that are in it.
    pub(in crate::soak) fn add(&mut self, id: GroupId, devices: impl Iterator<Item = usize>) {
        let of_device = devices.enumerate().map(|(member, device)| (device, member)).collect();
        let group = self.known.len();
        self.known.insert(id, Members { group, of_device });
    }

    /// The direction of a member who writes to a group, in the names of messages.
    pub(in crate::soak) fn direction(&self, group: usize, member: usize) -> u32 {
        u32::try_from(self.pairs + group * self.online + member).unwrap_or(u32::MAX)
    }

    /// The group and the member of a direction; nothing for one of a pair.
    pub(in crate::soak) fn writer(&self, direction: u32) -> Option<(usize, usize)> {
        let at = (direction as usize).checked_sub(self.pairs)?;
        (self.online > 0).then(|| (at / self.online, at % self.online))
    }

    /// A device got a message of a group.
    pub(in crate::soak) fn arrived(
        &mut self,
        device: usize,
        incoming: &Incoming,
        (run, payload_bytes): (u64, usize),
        now: u64,
    ) -> Result<(), Odd> {
        let at = incoming.in_group.as_ref().ok_or(Odd::Foreign)?;
        let members = self.known.get(&at.group).ok_or(Odd::Foreign)?;
        let Some(reader) = members.of_device.get(&device).copied() else {
            self.ledger.strayed();
            return Ok(());
        };
        let group = members.group;
        if at.change.is_some() {
            self.ledger.changed(group, reader, at.place.0);
            return Ok(());
        }
        let named = Tag::of_msg_id(&incoming.msg_id, run);
        let writer = named.and_then(|(direction, number)| Some((self.writer(direction)?, number)));
        let Some(((_, member), number)) = writer.filter(|((of, _), _)| *of == group) else {
            self.ledger.strayed();
            return Ok(());
        };
        // The server does not send a body back to the device that wrote it.
        if !(member == reader && incoming.body.is_empty()) {
            match Tag::read(&incoming.body, run, payload_bytes) {
                Body::Message(tag) if tag.msg_id() == incoming.msg_id => {}
                Body::Message(_) | Body::Foreign | Body::Damaged => return Err(Odd::Damaged),
            }
        }
        self.ledger.delivered(group, reader, at.place.0, (member, number), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use iris_core::clock::Hlc;
    use iris_core::group::Change;
    use iris_core::id::{AccountId, DeviceId, DeviceNo};
    use iris_core::seq::ConvSeq;
    use iris_proto::client_frames::ToldPlace;

    use super::*;

    const RUN: (u64, usize) = (0x0123_4567_89ab_cdef, 64);

    fn id(n: u8) -> GroupId {
        GroupId::from_bytes(&[n; 16]).unwrap()
    }

    fn watched() -> Watched {
        let mut watched = Watched::new(4, 2, 3);
        watched.add(id(9), [0, 1, 2].into_iter());
        watched.add(id(3), [3, 0, 1].into_iter());
        watched
    }

    fn message(group: u8, place: u64, direction: u32, number: u64) -> Incoming {
        let tag = Tag { run: RUN.0, direction, number, due_us: 0 };
        Incoming {
            sender: DeviceId {
                account: AccountId::from_bytes(&[1; 16]).unwrap(),
                device: DeviceNo(1),
            },
            msg_id: tag.msg_id(),
            body: tag.body(RUN.1),
            expires_at_ms: 0,
            clock: Hlc(1),
            about: None,
            in_group: Some(Box::new(ToldPlace {
                group: id(group),
                place: ConvSeq(place),
                change: None,
                pulls: false,
            })),
        }
    }

    #[test]
    fn directions_of_groups_come_behind_those_of_pairs() {
        let watched = watched();
        assert_eq!(watched.writer(3), None);
        for (group, member) in [(0, 0), (0, 2), (1, 0), (1, 2)] {
            assert_eq!(watched.writer(watched.direction(group, member)), Some((group, member)));
        }
    }

    #[test]
    fn what_members_get_is_entered_for_them() {
        let mut watched = watched();
        let direction = watched.direction(1, 1);
        watched.ledger.submitted(1, 1, 0);
        watched.ledger.decided(1, 1, 0, true);
        let mut change = message(3, 1, 0, 0);
        change.in_group.as_mut().unwrap().change = Some(Change::Leave);
        for device in [3, 0, 1] {
            watched.arrived(device, &change, RUN, 5).unwrap();
            watched.arrived(device, &message(3, 2, direction, 0), RUN, 9).unwrap();
        }
        assert!(watched.ledger.is_settled());
        assert_eq!(watched.ledger.counts().deliveries, 3);
    }

    #[test]
    fn what_is_odd_is_told_apart() {
        let mut watched = watched();
        watched.ledger.submitted(0, 1, 0);
        let direction = watched.direction(0, 1);
        let good = message(9, 2, direction, 0);
        assert_eq!(watched.arrived(0, &message(7, 2, direction, 0), RUN, 9), Err(Odd::Foreign));
        let damaged = Incoming { body: good.body.slice(1..), ..good.clone() };
        assert_eq!(watched.arrived(0, &damaged, RUN, 9), Err(Odd::Damaged));
        let empty = Incoming { body: bytes::Bytes::new(), ..good.clone() };
        assert_eq!(watched.arrived(0, &empty, RUN, 9), Err(Odd::Damaged));
        assert_eq!(watched.arrived(1, &empty, RUN, 9), Ok(()), "who wrote it has the body");
        assert_eq!(watched.ledger.counts().unexpected, 0);
        watched.arrived(3, &good, RUN, 9).unwrap();
        watched.arrived(3, &message(3, 2, direction, 0), RUN, 9).unwrap();
        assert_eq!(watched.ledger.counts().unexpected, 2, "not of this group");
    }
}
