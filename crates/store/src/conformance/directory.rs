//! Handles.

use futures::future::join_all;

use super::fixture::{World, failed};
use super::{Verdict, same, suite};
use crate::{HandleClaim, HandleKey, HandleRecord, StoreError};

suite! {
    a_handle_that_nobody_claimed_names_nothing,
    a_handle_is_claimed_once,
    of_concurrent_claims_of_a_handle_one_wins,
    tenants_have_handles_of_their_own,
}

fn key(world: &World<'_>) -> HandleKey {
    let handle = format!("anna.{:x}.ä", world.random());
    HandleKey { tenant: iris_core::id::TenantId::default(), handle }
}

fn record(world: &World<'_>) -> HandleRecord {
    let password = format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA${:x}", world.random());
    HandleRecord { account: world.account(), password, created_at_ms: 1_700_000_000_123 }
}

async fn a_handle_that_nobody_claimed_names_nothing(world: &World<'_>) -> Verdict {
    same!(world.store.handle(&key(world)).await.map_err(failed)?, None, "the record");
    Ok(())
}

async fn a_handle_is_claimed_once(world: &World<'_>) -> Verdict {
    let (store, key, mine) = (world.store, key(world), record(world));
    let claim = store.claim_handle(&key, &mine).await.map_err(failed)?;
    same!(claim, HandleClaim::Claimed, "the claim");
    for other in [record(world), mine.clone()] {
        let claim = store.claim_handle(&key, &other).await.map_err(failed)?;
        same!(claim, HandleClaim::Taken(mine.clone()), "a second claim");
    }
    same!(store.handle(&key).await.map_err(failed)?, Some(mine), "the record");
    Ok(())
}

async fn of_concurrent_claims_of_a_handle_one_wins(world: &World<'_>) -> Verdict {
    let store = world.store;
    for _ in 0..4 {
        let key = key(world);
        let records: Vec<_> = (0..5).map(|_| record(world)).collect();
        let claims = join_all(records.iter().map(|mine| store.claim_handle(&key, mine))).await;
        let winner = store.handle(&key).await.map_err(failed)?.ok_or("nobody won")?;
        for (mine, claim) in records.iter().zip(claims) {
            match claim {
                Ok(HandleClaim::Claimed) => same!(*mine, winner, "who was told to have won"),
                Ok(HandleClaim::Taken(by)) => same!(by, winner, "who is said to have won"),
                Err(StoreError::Unknown(_)) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    Ok(())
}

async fn tenants_have_handles_of_their_own(world: &World<'_>) -> Verdict {
    let (store, here) = (world.store, key(world));
    let tenant = "acme-2".parse().map_err(|error| format!("{error:?}"))?;
    let there = HandleKey { tenant, ..here.clone() };
    let (mine, theirs) = (record(world), record(world));
    let claim = store.claim_handle(&here, &mine).await.map_err(failed)?;
    same!(claim, HandleClaim::Claimed, "the claim here");
    same!(store.handle(&there).await.map_err(failed)?, None, "the record there");
    let claim = store.claim_handle(&there, &theirs).await.map_err(failed)?;
    same!(claim, HandleClaim::Claimed, "the claim there");
    same!(store.handle(&here).await.map_err(failed)?, Some(mine), "the record here");
    Ok(())
}
