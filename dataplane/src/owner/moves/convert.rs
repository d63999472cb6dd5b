//! What the source of a move hands over, as it travels.

#[cfg(test)]
mod tests;

use iris_core::account::Account;
use iris_core::block::BlockHeader;
use iris_core::clock::Hlc;
use iris_core::engine::Drained;
use iris_core::entry::Entry;
use iris_core::id::AccountId;
use iris_core::seq::ShardSeq;
use iris_core::shard::Shard;
use iris_proto::peer::{HandedOver, HotAccount};
use iris_proto::stored_groups::{memberships_from_stored, memberships_to_stored};
use iris_proto::stored_relations::{relations_from_stored, relations_to_stored};
use iris_proto::stored_rows::{account_from_stored, account_to_stored};
use iris_proto::{FormatError, stored_blocks};
use prost::Message as _;

use super::super::acquire::Hot;

/// Accounts that travel at most: beyond them the target reads on demand.
const ACCOUNTS_MAX: usize = 4096;
/// What they weigh at most, in bytes: a fraction of what one message may. Who is in many groups weighs
/// a hundred times what others do.
const ACCOUNTS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What the entries behind the checkpoint weigh at most, in bytes.
const TAIL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Nothing where the entries alone are too much for a message.
pub(super) fn to_wire(shard: &Shard, drained: &Drained) -> Option<HandedOver> {
    let account = |(account, state): (AccountId, &Account)| HotAccount {
        account: account.to_bytes().to_vec().into(),
        state: Some(account_to_stored(state)),
        relations: Some(relations_to_stored(&state.relations)),
        memberships: Some(memberships_to_stored(&state.groups)),
    };
    let mut bytes = 0;
    let accounts = shard.clean_accounts().take(ACCOUNTS_MAX).map(account).take_while(|account| {
        bytes += account.encoded_len();
        bytes <= ACCOUNTS_BYTES_MAX
    });
    let weight: usize = drained.tail.iter().map(Entry::weight).sum();
    (weight <= TAIL_BYTES_MAX).then(|| HandedOver {
        checkpoint: drained.checkpoint.0,
        clock: shard.clock().0,
        accounts: accounts.collect(),
        tail: stored_blocks::encode(BlockHeader::default(), &drained.tail),
    })
}

pub(super) fn from_wire(handed: HandedOver) -> Result<Hot, FormatError> {
    let (_, tail) = stored_blocks::decode(handed.tail)?;
    let mut hot = Hot {
        checkpoint: ShardSeq(handed.checkpoint),
        clock: Hlc(handed.clock),
        tail,
        ..Hot::default()
    };
    for account in handed.accounts {
        let id = AccountId::from_bytes(&account.account)?;
        // Its source knows of no groups: the row says which ones it is in, and is read on demand.
        let Some(memberships) = account.memberships else { continue };
        let state = account.state.ok_or(FormatError::Missing("state"))?;
        let mut state = account_from_stored(state)?;
        if let Some(relations) = account.relations {
            state.relations = relations_from_stored(relations)?;
        }
        state.groups = memberships_from_stored(memberships)?;
        hot.accounts.insert(id, Some(state));
    }
    Ok(hot)
}
