//! An owner that wants to end waits until others have its shards.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::held::Held;

/// Where none leaves for so long, there is nobody to take them: the wait is given up.
const STANDSTILL: Duration = Duration::from_secs(25);

/// Whether nothing is held any more, after `patience` at most.
pub(super) async fn is_emptied(held: &Held, patience: Duration) -> bool {
    let mut version = held.version();
    let (began, mut left) = (Instant::now(), held.count());
    let mut moved = began;
    while left > 0 {
        let until = (began + patience).min(moved + STANDSTILL);
        let Ok(Ok(())) = timeout_at(until, version.changed()).await else { return false };
        let now = held.count();
        if now < left {
            moved = Instant::now();
        }
        left = now;
    }
    true
}

#[cfg(test)]
mod tests {
    use iris_core::id::ShardId;
    use iris_core::seq::Epoch;
    use tokio::time::sleep;

    use super::*;

    const SHARDS: u16 = 5;

    fn held() -> Held {
        let held = Held::new();
        for n in 0..SHARDS {
            held.begin(ShardId::new(n));
            held.served(ShardId::new(n), Epoch(1));
        }
        held
    }

    /// One shard leaves after another, with pauses. Answers whether they were waited for, and how long.
    async fn leaving(count: u16, pause: u64, patience: u64) -> (bool, u64) {
        let held = held();
        let leaves = async {
            for n in 0..count {
                sleep(Duration::from_secs(pause)).await;
                held.left(ShardId::new(n));
            }
            std::future::pending::<()>().await;
        };
        let began = Instant::now();
        let emptied = tokio::select! {
            emptied = is_emptied(&held, Duration::from_secs(patience)) => emptied,
            () = leaves => false,
        };
        (emptied, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn shards_that_leave_slowly_are_waited_for() {
        assert_eq!(leaving(SHARDS, 20, 300).await, (true, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_beyond_the_grace_of_the_pod_or_where_nothing_leaves() {
        assert_eq!(leaving(SHARDS, 20, 70).await, (false, 70));
        assert_eq!(leaving(2, 10, 300).await, (false, 20 + STANDSTILL.as_secs()));
        assert_eq!(leaving(0, 10, 300).await, (false, STANDSTILL.as_secs()));
    }
}
