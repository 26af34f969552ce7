//! What messages carry, written and read by hand: the generator of load must cost less than the servers.
//!
//! ```text
//! 09 sent_ns u64 LE | 15 number u32 LE | 18 kind u8                        16 bytes; the fields 1, 2, 3 of bench.v1.Echo
//!                                      | 22 length varint | padding        larger ones: field 4
//! 09 sent_ns u64 LE | 10 x u8 | 18 y u8 | 20 z u8 | 28 heading u8          17 bytes; bench.v1.Step
//! ```

/// The smallest body of all messages but steps.
pub const MIN_BYTES: usize = 16;
/// The body of a step.
pub const STEP_BYTES: usize = 17;

/// A body of `bytes` bytes: 16, or 18 and more, of which up to 17 too many may come where a length needs another byte.
pub fn body(sent_ns: u64, number: u32, bytes: usize, into: &mut Vec<u8>) {
    into.push(0x09);
    into.extend_from_slice(&sent_ns.to_le_bytes());
    into.push(0x15);
    into.extend_from_slice(&number.to_le_bytes());
    into.extend_from_slice(&[0x18, 1]);
    if bytes > MIN_BYTES {
        into.push(0x22);
        let mut rest = bytes - MIN_BYTES - 1;
        let length_bytes = if rest <= 0x80 {
            1
        } else if rest <= 0x4001 {
            2
        } else {
            3
        };
        rest = rest.saturating_sub(length_bytes);
        prost::encoding::encode_varint(rest as u64, into);
        into.resize(into.len() + rest, 0x55);
    }
}

/// A step, within the bounds of the checked one.
pub fn step(sent_ns: u64, into: &mut Vec<u8>) {
    into.push(0x09);
    into.extend_from_slice(&sent_ns.to_le_bytes());
    into.extend_from_slice(&[0x10, 7, 0x18, 9, 0x20, 50, 0x28, 90]);
}

/// When it was sent; `None`: that is none of ours.
pub fn sent_ns(body: &[u8]) -> Option<u64> {
    let (0x09, rest) = body.split_first().map(|(first, rest)| (*first, rest))? else { return None };
    Some(u64::from_le_bytes(*rest.first_chunk()?))
}

/// Its number; `None`: a step, or none of ours.
pub fn number(body: &[u8]) -> Option<u32> {
    let rest = body.get(9..)?;
    let (0x15, rest) = rest.split_first().map(|(first, rest)| (*first, rest))? else { return None };
    Some(u32::from_le_bytes(*rest.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::schema::bench::v1::{Echo, Step};

    #[test]
    fn a_body_is_what_the_schema_says() {
        for bytes in [16, 18, 100, 145, 146, 147, 1024, 16384, 20000] {
            let mut written = Vec::new();
            body(7_000_000_007, 300, bytes, &mut written);
            assert!(written.len().abs_diff(bytes) <= 1, "{bytes}: {}", written.len());
            let read = Echo::decode(&*written).expect("a message");
            assert_eq!((read.sent_ns, read.number, read.kind), (7_000_000_007, 300, 1));
            assert_eq!((sent_ns(&written), number(&written)), (Some(7_000_000_007), Some(300)));
        }
    }

    #[test]
    fn a_step_is_what_the_schema_says() {
        let mut written = Vec::new();
        step(42, &mut written);
        assert_eq!(written.len(), STEP_BYTES);
        let read = Step::decode(&*written).expect("a message");
        assert_eq!(read, Step { sent_ns: 42, x: 7, y: 9, z: 50, heading: 90 });
        assert_eq!((sent_ns(&written), number(&written)), (Some(42), None));
    }
}
