use super::*;

fn grow(growing: &mut Growing, upto: u64) {
    while growing.next < upto {
        growing.add(&run(&Plan::draw(growing.next), None)).unwrap();
    }
    growing.keep().unwrap();
}

#[test]
fn a_summary_goes_on_where_it_ended_and_not_with_other_code() {
    let directory = std::env::temp_dir().join(format!("iris-sim-kept-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("summary.json");
    let mut whole = Growing::open(7, None).unwrap();
    grow(&mut whole, 11);
    for upto in [9, 11] {
        grow(&mut Growing::open(7, Some(&file)).unwrap(), upto);
    }
    let kept = Growing::open(7, Some(&file)).unwrap();
    assert_eq!((kept.next, kept.summary.trace), (11, whole.summary.trace));
    assert_eq!(kept.summary.events, whole.summary.events);
    assert!(Growing::open(8, Some(&file)).is_err(), "seeds of another beginning");
    let other = Growing { traces: vec![kept.traces[0] ^ 1], ..kept };
    other.keep().unwrap();
    let refused = Growing::open(7, Some(&file)).unwrap_err().to_string();
    assert!(refused.contains("other code"), "{refused}");
    std::fs::remove_dir_all(&directory).unwrap();
}
