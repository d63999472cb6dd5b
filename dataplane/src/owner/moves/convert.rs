//! The hot state of a shard, as it travels.

#[cfg(test)]
mod tests;

use iris_core::account::Account;
use iris_core::clock::Hlc;
use iris_core::id::{AccountId, ShardCount};
use iris_core::seq::{OutboxSeq, ShardSeq};
use iris_core::shard::Shard;
use iris_proto::peer::{HotAccount, HotPeer, HotState};
use iris_proto::stored_groups::{memberships_from_stored, memberships_to_stored};
use iris_proto::stored_relations::{relations_from_stored, relations_to_stored};
use iris_proto::stored_rows::{PeerNumbers, account_from_stored, account_to_stored};
use iris_proto::{FormatError, stored};
use prost::Message as _;

use super::super::acquire::Hot;

/// Accounts that travel at most: beyond them the target reads on demand.
const ACCOUNTS_MAX: usize = 4096;
/// What they weigh at most, in bytes: a fraction of what one message may. Who is in many groups weighs
/// a hundred times what others do.
const ACCOUNTS_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) fn hot_to_wire(shard: &Shard) -> HotState {
    let account = |(account, state): (AccountId, &Account)| HotAccount {
        account: account.to_bytes().to_vec().into(),
        state: Some(account_to_stored(state)),
        relations: Some(relations_to_stored(&state.relations)),
        memberships: Some(memberships_to_stored(&state.groups)),
    };
    let mut bytes = 0;
    let accounts = shard.known_accounts().take(ACCOUNTS_MAX).map(account).take_while(|account| {
        bytes += account.encoded_len();
        bytes <= ACCOUNTS_BYTES_MAX
    });
    let peers = shard.peers().map(|(id, peer)| HotPeer {
        shard: id.into(),
        state: Some(stored::PeerState {
            out_next: peer.out_next.0,
            out_confirmed: peer.out_confirmed.0,
            in_next: peer.in_next.0,
            pos: peer.pos.0,
        }),
    });
    HotState {
        next_seq: shard.next_seq().0,
        clock: shard.clock().0,
        accounts: accounts.collect(),
        peers: peers.collect(),
    }
}

pub(super) fn hot_from_wire(count: ShardCount, hot: HotState) -> Result<Hot, FormatError> {
    let mut read =
        Hot { last_seq: ShardSeq(hot.next_seq).prev(), clock: Hlc(hot.clock), ..Hot::default() };
    for account in hot.accounts {
        let id = AccountId::from_bytes(&account.account)?;
        // Its source knows of no groups: the row says which ones it is in, and is read on demand.
        let Some(memberships) = account.memberships else { continue };
        let state = account.state.ok_or(FormatError::Missing("state"))?;
        let mut state = account_from_stored(state)?;
        if let Some(relations) = account.relations {
            state.relations = relations_from_stored(relations)?;
        }
        state.groups = memberships_from_stored(memberships)?;
        read.accounts.insert(id, Some(state));
    }
    for peer in hot.peers {
        let state = peer.state.ok_or(FormatError::Missing("state"))?;
        let numbers = PeerNumbers {
            out_next: OutboxSeq(state.out_next),
            out_confirmed: OutboxSeq(state.out_confirmed),
            in_next: OutboxSeq(state.in_next),
            pos: ShardSeq(state.pos),
        };
        read.peers.push((count.shard(peer.shard)?, numbers));
    }
    Ok(read)
}
