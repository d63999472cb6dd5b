//! Protobuf by hand: what a later version would write is made from what this one writes.

use bytes::Bytes;

/// A field that no message of this version has.
pub(crate) const UNKNOWN: u32 = 1_000;

/// One field as it is written: its number, its wire type, and what follows its key. Of what is delimited
/// that is without the length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) number: u32,
    kind: u8,
    value: Vec<u8>,
}

const VARINT: u8 = 0;
const DELIMITED: u8 = 2;

/// The fields of a message.
pub(crate) fn fields(bytes: &[u8]) -> Vec<Field> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while !rest.is_empty() {
        let key = take_varint(&mut rest);
        let (number, kind) = (u32::try_from(key >> 3).unwrap(), u8::try_from(key & 7).unwrap());
        let length = if kind == VARINT {
            rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1
        } else {
            assert_eq!(kind, DELIMITED, "nothing that is stored uses another wire type");
            usize::try_from(take_varint(&mut rest)).unwrap()
        };
        let (value, after) = rest.split_at(length);
        found.push(Field { number, kind, value: value.to_vec() });
        rest = after;
    }
    found
}

/// The message of these fields.
pub(crate) fn message(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        put_varint(u64::from(field.number) << 3 | u64::from(field.kind), &mut bytes);
        if field.kind == DELIMITED {
            put_varint(field.value.len() as u64, &mut bytes);
        }
        bytes.extend(&field.value);
    }
    bytes
}

/// Changes every message at `path`: the fields that lead to it from the outermost one, which is at `[]`.
/// It fails where there is none: a path that leads nowhere would test nothing.
pub(crate) fn amend(bytes: &[u8], path: &[u32], change: &impl Fn(&mut Vec<Field>)) -> Bytes {
    let mut met = 0;
    let amended = amend_counted(bytes, path, change, &mut met);
    assert!(met > 0, "nothing is at {path:?}");
    amended.into()
}

fn amend_counted(
    bytes: &[u8],
    path: &[u32],
    change: &impl Fn(&mut Vec<Field>),
    met: &mut usize,
) -> Vec<u8> {
    let mut all = fields(bytes);
    match path {
        [] => {
            *met += 1;
            change(&mut all);
        }
        [first, rest @ ..] => {
            for field in all.iter_mut().filter(|field| field.number == *first) {
                field.value = amend_counted(&field.value, rest, change, met);
            }
        }
    }
    message(&all)
}

/// The messages at `path` say something more.
pub(crate) fn with_unknown(bytes: &[u8], path: &[u32]) -> Bytes {
    amend(bytes, path, &|fields| {
        let value = b"later".to_vec();
        fields.push(Field { number: UNKNOWN, kind: DELIMITED, value });
        fields.push(Field { number: UNKNOWN + 1, kind: VARINT, value: vec![0x81, 0x01] });
    })
}

/// What the messages at `path` say in field `number` they say in one that is not known: another variant
/// of a `oneof`.
pub(crate) fn renumbered(bytes: &[u8], path: &[u32], number: u32) -> Bytes {
    amend(bytes, path, &|fields| {
        for field in fields.iter_mut().filter(|field| field.number == number) {
            field.number = UNKNOWN;
        }
    })
}

/// The number in field `number` of the messages at `path`, where they have one, is another one.
pub(crate) fn with_number(bytes: &[u8], path: &[u32], number: u32, value: u64) -> Bytes {
    let mut written = Vec::new();
    put_varint(value, &mut written);
    amend(bytes, path, &|fields| {
        for field in fields.iter_mut().filter(|field| field.number == number) {
            assert_eq!(field.kind, VARINT, "field {number} is no number");
            field.value.clone_from(&written);
        }
    })
}

fn take_varint(rest: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, after) = rest.split_first().unwrap();
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
        shift += 7;
    }
}

fn put_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
}

#[test]
fn what_is_taken_apart_is_put_together_as_it_was() {
    assert_eq!(
        fields(&[8, 0xac, 0x02]),
        [Field { number: 1, kind: VARINT, value: vec![0xac, 0x02] }]
    );
    let nested = [0x12, 2, 8, 1];
    assert_eq!(message(&fields(&nested)), nested);
    assert_eq!(with_number(&nested, &[2], 1, 300)[..], [0x12, 3, 8, 0xac, 0x02]);
    assert_eq!(renumbered(&nested, &[], 2)[..2], [0xc2, 0x3e], "number 1000, delimited");
}
