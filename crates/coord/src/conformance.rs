//! What every implementation does alike. Each check works below a prefix of its own, so that they can
//! share one store.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::time::timeout;

use crate::election::{Candidate, Elected};
use crate::{Commit, CoordError, Event, Guard, Revision, SharedCoord, Write};

/// Something that happens soon happens within this time.
const SOON: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(2);

type Check = Result<(), String>;

/// Runs every check; the error names the one that failed.
pub async fn all(coord: SharedCoord) -> Check {
    let named = |name: &'static str| move |error: String| format!("{name}: {error}");
    values(&coord).await.map_err(named("values"))?;
    commits(&coord).await.map_err(named("commits"))?;
    watches(&coord).await.map_err(named("watches"))?;
    contention(&coord).await.map_err(named("contention"))?;
    leases(&coord).await.map_err(named("leases"))?;
    election(&coord).await.map_err(named("election"))?;
    deposed(&coord).await.map_err(named("deposed"))
}

fn put(key: &str, value: &'static str) -> Write {
    Write::Put { key: key.to_owned(), value: Bytes::from_static(value.as_bytes()), lease: None }
}

fn delete(key: &str) -> Write {
    Write::Delete { key: key.to_owned() }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, wanted: &T) -> Check {
    if seen == wanted {
        return Ok(());
    }
    Err(format!("{what}: {seen:?} instead of {wanted:?}"))
}

fn text(error: CoordError) -> String {
    error.to_string()
}

async fn done(coord: &SharedCoord, guards: &[Guard], writes: &[Write]) -> Result<Revision, String> {
    match coord.commit(guards, writes).await.map_err(text)? {
        Commit::Done(revision) => Ok(revision),
        Commit::Conflict => Err(format!("{guards:?} did not hold")),
    }
}

async fn value(coord: &SharedCoord, key: &str) -> Result<Option<String>, String> {
    let found = coord.get(key).await.map_err(text)?;
    Ok(found.map(|found| String::from_utf8_lossy(&found.value).into_owned()))
}

async fn values(coord: &SharedCoord) -> Check {
    expect("absent", &value(coord, "values/a").await?, &None)?;
    let first = done(coord, &[], &[put("values/b", "2"), put("values/a", "1")]).await?;
    let second = done(coord, &[], &[put("values/a", "3")]).await?;
    expect("revisions grow", &(second > first), &true)?;
    let found = coord.get("values/a").await.map_err(text)?.ok_or("values/a is gone")?;
    expect("modified", &found.modified, &second)?;
    expect("key", &found.key.as_str(), &"values/a")?;
    let (listed, at) = coord.list("values/").await.map_err(text)?;
    let keys: Vec<_> = listed.iter().map(|found| found.key.as_str()).collect();
    expect("ascending", &keys, &vec!["values/a", "values/b"])?;
    expect("a list is at least as new", &(at >= second), &true)?;
    let other = coord.list("values/b/").await.map_err(text)?.0;
    expect("below another prefix", &other.len(), &0)?;
    done(coord, &[], &[delete("values/a"), delete("values/never")]).await?;
    expect("deleted", &value(coord, "values/a").await?, &None)
}

async fn commits(coord: &SharedCoord) -> Check {
    let key = "commits/a".to_owned();
    let absent = Guard::Absent(key.clone());
    let revision = done(coord, std::slice::from_ref(&absent), &[put(&key, "1")]).await?;
    let again = coord.commit(&[absent], &[put(&key, "2")]).await.map_err(text)?;
    expect("it exists", &again, &Commit::Conflict)?;
    let unchanged = Guard::Unchanged(key.clone(), revision);
    let later = done(coord, std::slice::from_ref(&unchanged), &[put(&key, "3")]).await?;
    let both = [Guard::Unchanged(key.clone(), later), unchanged.clone()];
    let stale = coord.commit(&both, &[put("commits/b", "1"), delete(&key)]).await.map_err(text)?;
    expect("it changed since", &stale, &Commit::Conflict)?;
    expect("nothing was done", &value(coord, "commits/b").await?, &None)?;
    expect("neither half", &value(coord, &key).await?, &Some("3".to_owned()))?;
    done(coord, &[], &[delete(&key)]).await?;
    let gone = coord.commit(&[Guard::Unchanged(key.clone(), later)], &[]).await.map_err(text)?;
    expect("it is gone", &gone, &Commit::Conflict)?;
    // Made anew, it is another one.
    done(coord, &[Guard::Absent(key.clone())], &[put(&key, "3")]).await?;
    let old = coord.commit(&[Guard::Unchanged(key, later)], &[]).await.map_err(text)?;
    expect("it was made anew", &old, &Commit::Conflict)
}

async fn watches(coord: &SharedCoord) -> Check {
    let before = done(coord, &[], &[put("watches/a", "1")]).await?;
    let first = done(coord, &[], &[put("watches/b", "2")]).await?;
    done(coord, &[], &[put("watchesnot", "3")]).await?;
    let mut events = coord.watch("watches/", before).await.map_err(text)?;
    let second = done(coord, &[], &[delete("watches/a")]).await?;
    let third = done(coord, &[], &[put("watches/a", "4")]).await?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = timeout(SOON, events.next()).await.map_err(|_| "no event came")?;
        seen.push(match event.ok_or("the watch ended")?.map_err(text)? {
            Event::Put(put) => (put.key, put.modified, true),
            Event::Delete { key, at } => (key, at, false),
        });
    }
    let wanted = vec![
        ("watches/b".to_owned(), first, true),
        ("watches/a".to_owned(), second, false),
        ("watches/a".to_owned(), third, true),
    ];
    expect("events", &seen, &wanted)
}

/// Of many who compare and swap at once, exactly one succeeds each time.
async fn contention(coord: &SharedCoord) -> Check {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 10;
    done(coord, &[], &[put("contention", "")]).await?;
    let writer = || async {
        let mut won = 0;
        while won < ROUNDS {
            let found = coord.get("contention").await.map_err(text)?.ok_or("the key is gone")?;
            let mut value = found.value.to_vec();
            value.push(b'x');
            let guard = Guard::Unchanged("contention".to_owned(), found.modified);
            let put = Write::Put { key: "contention".to_owned(), value: value.into(), lease: None };
            if coord.commit(&[guard], &[put]).await.map_err(text)? != Commit::Conflict {
                won += 1;
            }
            tokio::task::yield_now().await;
        }
        Ok::<_, String>(())
    };
    for outcome in futures::future::join_all((0..WRITERS).map(|_| writer())).await {
        outcome?;
    }
    let found = value(coord, "contention").await?.unwrap_or_default();
    expect("every success counts once", &found.len(), &(WRITERS * ROUNDS))
}

async fn leases(coord: &SharedCoord) -> Check {
    let lease = coord.grant(TTL).await.map_err(text)?;
    let kept = coord.grant(TTL).await.map_err(text)?;
    let bound = |key: &str, lease| Write::Put {
        key: key.to_owned(),
        value: Bytes::new(),
        lease: Some(lease),
    };
    let at = done(coord, &[], &[bound("leases/a", lease), bound("leases/b", kept)]).await?;
    let mut events = coord.watch("leases/", at).await.map_err(text)?;
    let gone = async {
        let event = events.next().await.ok_or("the watch ended")?.map_err(text)?;
        match event {
            Event::Delete { key, .. } => expect("which ends", &key.as_str(), &"leases/a"),
            Event::Put(put) => Err(format!("{} was set", put.key)),
        }
    };
    let renewing = async {
        loop {
            if let Err(error) = coord.renew(kept).await {
                return Err::<(), _>(text(error));
            }
            tokio::time::sleep(TTL / 4).await;
        }
    };
    tokio::select! {
        gone = timeout(SOON, gone) => gone.map_err(|_| "the lease never ended")??,
        kept = renewing => kept?,
    }
    expect("renewed", &value(coord, "leases/b").await?.is_some(), &true)?;
    expect("ended", &coord.renew(lease).await, &Err(CoordError::LeaseGone))?;
    let late = coord.commit(&[], &[bound("leases/c", lease)]).await;
    expect("too late", &late, &Err(CoordError::LeaseGone))?;
    coord.revoke(kept).await.map_err(text)?;
    expect("revoked", &value(coord, "leases/b").await?, &None)?;
    expect("revoked twice", &coord.revoke(kept).await, &Err(CoordError::LeaseGone))
}

fn candidate(coord: &SharedCoord, key: &str, value: &'static str) -> Candidate {
    Candidate {
        coord: SharedCoord::clone(coord),
        key: key.to_owned(),
        value: Bytes::from_static(value.as_bytes()),
        ttl: TTL,
    }
}

async fn elected(candidate: &Candidate) -> Result<Elected, String> {
    timeout(SOON, candidate.campaign(|_| {})).await.map_err(|_| "nobody was elected".to_owned())
}

/// One leads, the other hears of it, and follows when the first resigns.
async fn election(coord: &SharedCoord) -> Check {
    let (one, other) = (candidate(coord, "election", "one"), candidate(coord, "election", "other"));
    let first = elected(&one).await?;
    done(coord, std::slice::from_ref(&first.guard), &[put("election/done", "1")]).await?;
    let mut heard = Vec::new();
    let second = {
        let waiting = other.campaign(|leader| heard.push(leader));
        tokio::pin!(waiting);
        let early = timeout(TTL * 2, &mut waiting);
        // A leader that renews is not replaced.
        tokio::select! {
            early = early => expect("two lead", &early.is_err(), &true)?,
            error = one.hold(&first) => return Err(format!("lost without cause: {error}")),
        }
        one.resign(first.clone()).await;
        timeout(SOON, waiting).await.map_err(|_| "the other was not elected")?
    };
    expect("heard", &heard.first(), &Some(&Some(Bytes::from_static(b"one"))))?;
    expect("terms grow", &(second.term > first.term), &true)?;
    let old = coord.commit(&[first.guard], &[put("election/done", "2")]).await.map_err(text)?;
    expect("a former leader writes nothing", &old, &Commit::Conflict)?;
    other.resign(second).await;
    Ok(())
}

/// A leader that does not renew is replaced, and learns it.
async fn deposed(coord: &SharedCoord) -> Check {
    let (one, other) = (candidate(coord, "deposed", "one"), candidate(coord, "deposed", "other"));
    let first = elected(&one).await?;
    let second = elected(&other).await?;
    expect("terms grow", &(second.term > first.term), &true)?;
    let learnt = timeout(SOON, one.hold(&first)).await;
    expect("it learns", &learnt.is_ok(), &true)?;
    other.resign(second).await;
    Ok(())
}
