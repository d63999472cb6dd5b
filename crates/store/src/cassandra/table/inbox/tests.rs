//! Cutting runs, and choosing among those that overlap.

use iris_core::account::InboxContent;
use iris_core::clock::Hlc;

use super::*;

fn item(seq: u64, clock: u64) -> InboxItem {
    InboxItem { seq: InboxSeq(seq), clock: Hlc(clock), content: InboxContent::Hole }
}

fn run(places: impl IntoIterator<Item = u64>) -> Vec<InboxItem> {
    places.into_iter().map(|seq| item(seq, 0)).collect()
}

fn cut(places: impl IntoIterator<Item = u64>) -> Vec<(u64, u64, u64)> {
    let items = run(places);
    let shown = |(bucket, first, piece): (u64, InboxSeq, &[InboxItem])| {
        (bucket, first.0, piece.last().unwrap().seq.0)
    };
    pieces(&items).map(shown).collect()
}

#[test]
fn a_run_is_cut_at_partitions_at_the_bound_of_a_row_and_at_gaps() {
    assert_eq!(cut([]), []);
    assert_eq!(cut(1..=5), [(0, 1, 5)]);
    assert_eq!(cut(1020..=1030), [(0, 1020, 1023), (1, 1024, 1030)]);
    assert_eq!(cut(10..=80), [(0, 10, 41), (0, 42, 73), (0, 74, 80)]);
    assert_eq!(cut([1, 2, 5, 6, 9]), [(0, 1, 2), (0, 5, 6), (0, 9, 9)]);
    assert_eq!(
        cut([7, 7, 3]),
        [(0, 7, 7), (0, 7, 7), (0, 3, 3)],
        "whatever comes, nothing is lost"
    );
}

fn taken(page: &Page) -> Vec<(u64, u64)> {
    page.taken.iter().map(|item| (item.seq.0, item.clock.0)).collect()
}

#[test]
fn each_place_comes_from_the_newest_row_that_has_it() {
    let mut page = Page::new(InboxSeq(2), InboxSeq(9), usize::MAX);
    page.settle(InboxSeq(1));
    page.offer((1..=6).map(|seq| item(seq, 100)).collect(), 7);
    page.settle(InboxSeq(4));
    page.offer((4..=10).map(|seq| item(seq, 200)).collect(), 5);
    page.settle(InboxSeq(5));
    page.offer((5..=5).map(|seq| item(seq, 300)).collect(), 9);
    page.settle(InboxSeq(1024));
    let expected = [(3, 100), (4, 100), (5, 300), (6, 100), (7, 200), (8, 200), (9, 200)];
    assert_eq!(taken(&page), expected);
}

#[test]
fn a_page_ends_before_it_weighs_too_much_but_never_empty() {
    let weight = item(1, 0).weight();
    let fill = |bytes_max| {
        let mut page = Page::new(InboxSeq(0), InboxSeq(100), bytes_max);
        page.offer(run(1..=10), 1);
        page.settle(InboxSeq(1024));
        (page.taken.len(), page.full)
    };
    assert_eq!(fill(0), (1, true));
    assert_eq!(fill(3 * weight), (3, true));
    assert_eq!(fill(3 * weight + 1), (3, true));
    assert_eq!(fill(10 * weight), (10, false));
}
