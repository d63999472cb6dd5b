//! What is said of reads and asked of the server, and said and asked again of another owner.

use iris_core::clock::Hlc;
use iris_proto::client as wire;
use iris_proto::frame::FrameType;
use prost::Message as _;

use super::rig::{Rig, start, welcome};
use super::rules::account;
use crate::session::{CallId, CallOp, Input, Readers};

#[test]
fn what_was_read_in_private_is_not_told_with_what_was_read_openly() {
    let mut rig = Rig::open(start(), &welcome());
    rig.take_sent();
    let with = iris_core::id::AccountId::from_bytes(&[3; 16]).unwrap();
    for (upto, who) in [(10, Readers::Own), (5, Readers::Writer)] {
        rig.input(Input::Read { with, upto: Hlc(upto), who });
    }
    let said = |rig: &mut Rig| -> Vec<(u64, bool)> {
        let receipts = rig.take_sent().into_iter();
        let receipts = receipts.filter(|frame| frame.known() == Some(FrameType::Receipt));
        let marks = receipts.flat_map(|f| wire::Receipt::decode(f.payload).unwrap().marks);
        marks.map(|mark| (mark.own_read, mark.private)).collect()
    };
    let found = said(&mut rig);
    assert!(found.contains(&(5, false)) && found.contains(&(10, true)), "{found:?}");
    assert!(!found.contains(&(10, false)), "{found:?}");
    // Another owner knows nothing of it.
    let changed = wire::signal::Kind::OwnerChanged(wire::OwnerChanged {});
    let changed = wire::Signal { kind: Some(changed) };
    rig.server(FrameType::Signal, &changed);
    assert_eq!(said(&mut rig), [(5, false), (10, true)]);
    // Once the mark is back there is nothing more to say.
    let mark = wire::Mark { conversation: Some(account(3)), own_read: 10, ..Default::default() };
    rig.server(FrameType::Receipt, &wire::Receipt { marks: vec![mark], version: 1 });
    rig.server(FrameType::Signal, &changed);
    assert_eq!(said(&mut rig), []);
}

#[test]
fn what_was_asked_of_an_owner_is_asked_of_the_next_one() {
    let mut rig = Rig::open(start(), &welcome());
    rig.take_sent();
    let (id, op) = (CallId(1), CallOp::ListDevices);
    rig.input(Input::Call { id, op, patience_ms: 20_000 });
    let calls = |rig: &mut Rig| {
        let sent = rig.take_sent();
        sent.iter().filter(|frame| frame.known() == Some(FrameType::Call)).count()
    };
    assert_eq!(calls(&mut rig), 1);
    let changed = wire::signal::Kind::OwnerChanged(wire::OwnerChanged {});
    let changed = wire::Signal { kind: Some(changed) };
    rig.server(FrameType::Signal, &changed);
    assert_eq!(calls(&mut rig), 1);
}

#[test]
fn what_an_owner_put_off_is_sent_to_the_next_one_at_once() {
    let mut rig = Rig::open(start(), &welcome());
    rig.take_sent();
    rig.submit(8);
    assert_eq!(rig.sends(), [1]);
    let put_off =
        wire::SendNack { client_seq: 1, code: 5001, retry_after_ms: 50, ..Default::default() };
    rig.server(FrameType::SendNack, &put_off);
    assert!(rig.sends().is_empty());
    // The next owner expects it.
    rig.server(FrameType::SendNack, &wire::SendNack { retry_after_ms: 0, ..put_off });
    let changed = wire::signal::Kind::OwnerChanged(wire::OwnerChanged {});
    rig.server(FrameType::Signal, &wire::Signal { kind: Some(changed) });
    assert_eq!(rig.sends(), [1]);
}
