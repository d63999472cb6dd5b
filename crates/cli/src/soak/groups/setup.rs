//! Makes the groups of a run: by changes of at most 256 members, and waits until those who are there
//! know that they are in.

use std::time::Duration;

use iris_client::{Outcome, new_group_id};
use iris_core::group::{Change, Settings};
use iris_core::id::{AccountId, GroupId};
use iris_core::limits::GROUP_CHANGE_MEMBERS_MAX;
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, refused_by_group};
use crate::output::Output;

use super::super::board::Board;
use super::super::people::{Connected, Device};
use super::Plan;

/// How often is looked whether everybody is in.
const LOOK: Duration = Duration::from_millis(20);
/// For how long at most a change may take to be seen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Makes every group. The board knows their ids before anything of them can arrive.
pub(in crate::soak) async fn make(
    output: &mut Output,
    plan: &Plan,
    board: &Board,
    connected: &[Connected],
    devices: &[Device],
) -> Result<Vec<GroupId>, Failure> {
    let mut groups = Vec::with_capacity(plan.groups);
    for group in 0..plan.groups {
        let maker = plan.member(group, 0);
        let id = new_group_id(devices[maker].account.tenant())?;
        board.state().groups.add(id, plan.members(group));
        groups.push(id);
    }
    if groups.is_empty() {
        return Ok(groups);
    }
    let began = Instant::now();
    for (n, id) in groups.iter().enumerate() {
        let others = plan.others(n).into_iter().map(|other| devices[other].account).collect();
        let changes = make_one(*id, others, &connected[plan.member(n, 0)]).await?;
        everybody_is_in(plan, board, n, changes).await?;
        if (n + 1).is_multiple_of(20) {
            output.note(&format!("{} of {} groups", n + 1, groups.len()));
        }
    }
    let (count, size) = (groups.len(), plan.size());
    let seconds = began.elapsed().as_secs_f64();
    output.note(&format!("{count} groups of {size} were made in {seconds:.1} s"));
    Ok(groups)
}

/// Answers how many changes it took: the place of the last one.
async fn make_one(
    group: GroupId,
    others: Vec<AccountId>,
    maker: &Connected,
) -> Result<u64, Failure> {
    let mut changes = 0;
    for change in changes_of(&others) {
        let receipt = maker.handle.change_group(group, change).await?;
        if let Outcome::Refused { code } = receipt.await?.outcome {
            return Err(refused_by_group(code));
        }
        changes += 1;
    }
    Ok(changes)
}

/// What makes a group of these.
fn changes_of(others: &[AccountId]) -> Vec<Change> {
    let mut steps = others.chunks(GROUP_CHANGE_MEMBERS_MAX).map(<[_]>::to_vec);
    let settings = Settings { info: "soak".into(), ..Settings::default() };
    let first = Change::Create(steps.next().unwrap_or_default(), settings);
    std::iter::once(first).chain(steps.map(Change::Add)).collect()
}

/// Those who came with the last change are in when they saw it, and the others before.
async fn everybody_is_in(
    plan: &Plan,
    board: &Board,
    group: usize,
    changes: u64,
) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let (seen, stopped, refused) = {
            let state = board.state();
            let ledger = &state.groups.ledger;
            let seen: Vec<_> = (0..plan.online).map(|n| ledger.seen(group, n)).collect();
            (seen, state.events.stopped.first().cloned(), ledger.counts().refused)
        };
        if let Some(stopped) = stopped {
            return Err(Failure::new(format!("a device gave up: {stopped}")));
        }
        if seen.iter().all(|seen| *seen >= changes) {
            return Ok(());
        }
        if Instant::now() >= until || refused > 0 {
            let there = seen.iter().filter(|seen| **seen >= changes).count();
            let text = format!(
                "group {group} was not made in {} s: {there} of {} members know all {changes} changes",
                PATIENCE.as_secs(),
                plan.online
            );
            return Err(Failure::new(text)
                .hint("an account is in at most 1,024 groups: name another --accounts-file"));
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_group_is_made_by_changes_within_the_bound() {
        let account = |n: u32| {
            let mut bytes = [0; 16];
            bytes[12..].copy_from_slice(&n.to_be_bytes());
            AccountId::from_bytes(&bytes).unwrap()
        };
        let others: Vec<_> = (0..6000).map(account).collect();
        let changes = changes_of(&others);
        assert_eq!(changes.len(), 24);
        assert!(matches!(&changes[0], Change::Create(who, _) if who.len() == 256));
        assert!(changes[1..].iter().all(|change| matches!(change, Change::Add(_))));
        let named: Vec<_> = changes.iter().flat_map(Change::about).copied().collect();
        assert_eq!(named, others);
        let group = new_group_id(account(0).tenant()).unwrap();
        assert!(changes.iter().all(|change| change.check(group).is_ok()));
        assert_eq!(changes_of(&[]).len(), 1, "alone");
    }
}
