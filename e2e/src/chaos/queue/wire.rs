//! What is said between the kernel's netfilter queue and its program (`linux/netfilter/nfnetlink_queue.h`).
//! Pure. Headers are in the machine's byte order, what is inside in the network's.

const SUBSYSTEM: u16 = 3 << 8;
const PACKET: u16 = SUBSYSTEM;
const VERDICT: u16 = SUBSYSTEM | 1;
const CONFIGURE: u16 = SUBSYSTEM | 2;
/// What the kernel says to a message that asked for its word.
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;

const HEADER_BYTES: usize = 16;
/// The header, and the few bytes that every message of netfilter has.
const START_BYTES: usize = HEADER_BYTES + 4;

const CONFIG_COMMAND: u16 = 1;
const CONFIG_PARAMS: u16 = 2;
const CONFIG_LENGTH_MAX: u16 = 3;
const BIND: u8 = 1;
/// Packets' numbers are told, and not what is in them.
const COPY_META: u8 = 1;
/// Packets that wait at most.
const LENGTH_MAX: u32 = 65_536;

const PACKET_HEADER: u16 = 1;
const VERDICT_HEADER: u16 = 2;
const ACCEPT: u32 = 1;

/// The messages that make a queue ours, each of which the kernel answers.
pub(super) fn configuration(queue: u16) -> [Vec<u8>; 3] {
    let mut params = 0_u32.to_be_bytes().to_vec();
    params.push(COPY_META);
    let attributes: [(u16, Vec<u8>); 3] = [
        (CONFIG_COMMAND, vec![BIND, 0, 0, 0]),
        (CONFIG_PARAMS, params),
        (CONFIG_LENGTH_MAX, LENGTH_MAX.to_be_bytes().to_vec()),
    ];
    attributes.map(|(kind, value)| {
        message(CONFIGURE, REQUEST | ACKNOWLEDGE, queue, &attribute(kind, &value))
    })
}

/// The message that lets a packet go on.
pub(super) fn pass(queue: u16, id: u32) -> Vec<u8> {
    let value = [ACCEPT.to_be_bytes(), id.to_be_bytes()].concat();
    message(VERDICT, REQUEST, queue, &attribute(VERDICT_HEADER, &value))
}

/// The numbers of the packets that the kernel tells of.
pub(super) fn packets(bytes: &[u8]) -> impl Iterator<Item = u32> {
    messages(bytes)
        .filter(|(kind, _)| *kind == PACKET)
        .filter_map(|(_, message)| packet_id(message))
}

/// The kernel's words on what it was told: 0, or an error.
pub(super) fn errors(bytes: &[u8]) -> impl Iterator<Item = i32> {
    let errors = messages(bytes).filter(|(kind, _)| *kind == ERROR);
    errors.filter_map(|(_, message)| {
        let code = message.get(HEADER_BYTES..)?.first_chunk()?;
        Some(i32::from_ne_bytes(*code))
    })
}

fn message(kind: u16, flags: u16, queue: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(START_BYTES + attributes.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Neither a number nor a sender: nothing is asked twice, and the kernel knows who asks.
    message.extend([0; 8]);
    // Any family, version 0.
    message.extend([0, 0]);
    message.extend(queue.to_be_bytes());
    message.extend(attributes);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut attribute = length.to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(padded(attribute.len()), 0);
    attribute
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// The messages in what was received, each with its kind.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let message = bytes.get(..length).filter(|message| message.len() >= HEADER_BYTES)?;
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some((kind, message))
    })
}

fn packet_id(message: &[u8]) -> Option<u32> {
    let mut rest = message.get(START_BYTES..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        if kind == PACKET_HEADER {
            return Some(u32::from_be_bytes(*value.first_chunk()?));
        }
        rest = rest.get(padded(length)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: u32) -> Vec<u8> {
        let mark = attribute(3, &[0, 0, 0, 1]);
        // A number, a protocol and a hook: seven bytes.
        let header = attribute(PACKET_HEADER, &[&id.to_be_bytes()[..], &[8, 0, 2]].concat());
        message(PACKET, 0, 77, &[mark, header].concat())
    }

    #[test]
    fn packets_are_found_in_what_the_kernel_says() {
        let bytes = [told(5), told(70_000)].concat();
        assert_eq!(packets(&bytes).collect::<Vec<_>>(), [5, 70_000]);
        for cut in 0..bytes.len() {
            assert!(packets(&bytes[..cut]).count() < 2, "half a message is none");
        }
        assert_eq!(packets(&message(PACKET, 0, 77, &[])).count(), 0);
    }

    #[test]
    fn the_kernels_word_is_read() {
        let mut answer = message(ERROR, 0, 0, &[]);
        answer[HEADER_BYTES..].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(errors(&answer).collect::<Vec<_>>(), [-1]);
        assert_eq!(errors(&told(5)).count(), 0);
    }

    #[test]
    fn a_verdict_is_the_header_and_one_attribute() {
        let verdict = pass(77, 9);
        assert_eq!(verdict.len(), 32);
        assert_eq!(verdict[18..20], 77_u16.to_be_bytes());
        assert_eq!(verdict[24..], [0, 0, 0, 1, 0, 0, 0, 9]);
        assert!(configuration(77).iter().all(|message| message.len() % 4 == 0));
    }
}
