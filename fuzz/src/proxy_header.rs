//! Any first bytes of a proxy's connection: decided once and in time, and the header ends where it says.
//!
//! Input: the bytes themselves.

use super::parser::{Header, MAX_BYTES, parse};

pub fn run(data: &[u8]) {
    let mut decided = Header::Incomplete;
    for length in 0..=data.len().min(MAX_BYTES + 1) {
        let now = parse(&data[..length]);
        if decided == Header::Incomplete {
            if let Header::Complete { len, source } = now {
                assert_eq!(len, length, "decided with the last byte of the header");
                assert!(!(data[0] == b'P' && len > 107), "a line of version 1 has 107 bytes at most");
                assert_eq!(
                    source.is_some(),
                    has_source(data),
                    "the proxy names whom it speaks for, or says that it does not"
                );
            }
            decided = now;
        }
        assert_eq!(now, decided, "more bytes changed what was decided");
    }
    assert_eq!(parse(data), decided);
    assert!(decided != Header::Incomplete || data.len() < MAX_BYTES, "bounded");
}

/// Of a header that is complete.
fn has_source(header: &[u8]) -> bool {
    match header[0] {
        b'P' => header[6] == b'T',
        _ => header[12] == 0x21 && matches!(header[13], 0x11 | 0x12 | 0x21 | 0x22),
    }
}
