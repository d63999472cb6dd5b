use futures::FutureExt as _;

use super::*;

/// As many as there are places for now.
fn take<'a>(places: &'a Places, is_quiet: bool) -> Vec<Place<'a>> {
    std::iter::from_fn(|| places.arrive().claim(is_quiet).now_or_never()).collect()
}

#[tokio::test(start_paused = true)]
async fn quiet_shards_leave_places_to_the_others() {
    let places = Places::new();
    let unknown = places.arrive();
    let quiet = take(&places, true);
    assert_eq!(quiet.len(), QUIET_CLAIMS);
    let others = take(&places, false);
    assert_eq!(others.len(), CLAIMS - QUIET_CLAIMS);
    drop((others, unknown, quiet));
    assert_eq!(take(&places, false).len(), CLAIMS, "not every place was given back");
}

#[tokio::test(start_paused = true)]
async fn quiet_shards_get_more_places_once_they_are_alone() {
    let places = Places::new();
    let other = places.arrive().claim(false).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(take(&places, true).len(), QUIET_CLAIMS, "somebody else is there");
    drop(other);
    tokio::time::advance(10 * ONE_MORE).await;
    assert_eq!(take(&places, true).len(), QUIET_CLAIMS + 10);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(take(&places, true).len(), CLAIMS);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_woken_when_a_place_is_given_back() {
    let places = Places::new();
    let _unknown = places.arrive();
    let mut quiet = take(&places, true);
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(places.arrive().claim(true))).collect();
    for wait in &mut waiting {
        assert!(wait.as_mut().now_or_never().is_none());
    }
    drop(quiet.split_off(QUIET_CLAIMS - 2));
    let woken = waiting.iter_mut().filter_map(|wait| wait.as_mut().now_or_never());
    let placed: Vec<_> = woken.collect();
    assert_eq!(placed.len(), 2);
}
