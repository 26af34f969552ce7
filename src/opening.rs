//! The first bytes of a connection tell what it speaks; one port serves all.

/// What a new connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A login frame of this protocol.
    Tagwire,
    /// HTTP, maybe to become a WebSocket.
    Http,
    /// TLS; inside it the same question comes again.
    Tls,
    /// Nothing of ours: to be closed without a word.
    Unknown,
}

/// Judges the first bytes, as few as decide; `None` asks for more.
///
/// Second byte 1, or `FF 00`: a login. `GET ` or `HEAD `: HTTP. `16 03`: TLS.
pub fn sniff(first: &[u8]) -> Option<Opening> {
    const HTTP: [&[u8]; 2] = [b"GET ", b"HEAD "];
    match first {
        [] | [_] => None,
        [_, 1, ..] | [0xff, 0, ..] => Some(Opening::Tagwire),
        [0x16, 3, ..] => Some(Opening::Tls),
        _ if HTTP.iter().any(|method| first.starts_with(method)) => Some(Opening::Http),
        _ if HTTP.iter().any(|method| method.starts_with(first)) => None,
        _ => Some(Opening::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_first_two_bytes_are_sniffed_as_written() {
        for pair in 0..=u16::MAX {
            let [a, b] = pair.to_be_bytes();
            let expected = match (a, b) {
                (_, 1) | (0xff, 0) => Some(Opening::Tagwire),
                (0x16, 3) => Some(Opening::Tls),
                (b'G' | b'H', b'E') => None,
                _ => Some(Opening::Unknown),
            };
            assert_eq!(sniff(&[a, b]), expected, "{a:02x} {b:02x}");
        }
    }

    #[test]
    fn one_byte_never_decides_and_http_needs_its_method() {
        assert_eq!(sniff(&[]), None);
        for byte in 0..=u8::MAX {
            assert_eq!(sniff(&[byte]), None);
        }
        assert_eq!(sniff(b"GET"), None);
        assert_eq!(sniff(b"GET "), Some(Opening::Http));
        assert_eq!(sniff(b"GETS"), Some(Opening::Unknown));
        assert_eq!(sniff(b"GEX"), Some(Opening::Unknown));
        assert_eq!(sniff(b"HEAD"), None);
        assert_eq!(sniff(b"HEAD "), Some(Opening::Http));
        assert_eq!(sniff(b"HEAT"), Some(Opening::Unknown));
        assert_eq!(sniff(b"HET "), Some(Opening::Unknown));
    }
}
