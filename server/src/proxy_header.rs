//! The header by which a proxy tells whom it speaks for: the PROXY protocol, versions 1 and 2.
//!
//! By "The PROXY protocol" of HAProxy (`proxy-protocol.txt`, sections 2.1 and 2.2; Debian has it in
//! `/usr/share/doc/haproxy`). Whom to believe is not decided here, and no byte is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A line of version 1 with its CRLF, bytes (section 2.1).
const MAX_V1_BYTES: usize = 107;
/// A header of version 2, bytes. The specification means it to fit into 536 (section 2), with a name of 255 and an id of
/// 128 in it; names out of certificates are the rest.
pub(crate) const MAX_BYTES: usize = 1024;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Before the addresses, bytes: the signature, version and command, family and protocol, length of the rest.
const FIXED_BYTES: usize = 16;
/// Type of the field with a checksum of the header.
const CRC32C: u8 = 3;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// More bytes are needed; never after [`MAX_BYTES`].
    Incomplete,
    /// The first `len` bytes are the header.
    Complete {
        len: usize,
        /// Who connected to the proxy. `None`: the proxy itself, or somebody who has no such address.
        source: Option<SocketAddr>,
    },
    /// No header, whatever comes; what was expected.
    Invalid(&'static str),
}

/// The length of the header and its source; `None` asks for more bytes.
type Parsed = Result<Option<(usize, Option<SocketAddr>)>, &'static str>;
/// A part of a line, and what follows it; `None` asks for more bytes.
type Part<'a, T> = Result<Option<(T, &'a [u8])>, &'static str>;

/// Judges the first bytes, as few as decide.
pub(crate) fn parse(bytes: &[u8]) -> Header {
    let parsed = match bytes.first() {
        None => Ok(None),
        Some(b'P') => parse_v1(bytes),
        Some(_) => parse_v2(bytes),
    };
    match parsed {
        Ok(None) => Header::Incomplete,
        Ok(Some((len, source))) => Header::Complete { len, source },
        Err(expected) => Header::Invalid(expected),
    }
}

/// What follows `constant`; `None` where that is not whole yet.
fn after<'a>(
    bytes: &'a [u8],
    constant: &[u8],
    expected: &'static str,
) -> Result<Option<&'a [u8]>, &'static str> {
    match bytes.strip_prefix(constant) {
        Some(rest) => Ok(Some(rest)),
        None if constant.starts_with(bytes) => Ok(None),
        None => Err(expected),
    }
}

/// `PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n`
fn parse_v1(bytes: &[u8]) -> Parsed {
    const EXPECTED: &str = "expected PROXY and TCP4, TCP6 or UNKNOWN";
    let Some(rest) = after(bytes, b"PROXY ", EXPECTED)? else { return Ok(None) };
    let parsed = if let Some(rest) = rest.strip_prefix(b"TCP4 ") {
        parse_addresses::<Ipv4Addr>(rest, 15, |byte| matches!(byte, b'0'..=b'9' | b'.'))
    } else if let Some(rest) = rest.strip_prefix(b"TCP6 ") {
        parse_addresses::<Ipv6Addr>(rest, 39, |byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
    } else if let Some(ignored) = rest.strip_prefix(b"UNKNOWN") {
        return parse_unknown(bytes, ignored);
    } else if [&b"TCP4 "[..], b"TCP6 ", b"UNKNOWN"].iter().any(|one| one.starts_with(rest)) {
        return Ok(None);
    } else {
        return Err(EXPECTED);
    };
    Ok(parsed?.map(|(source, after)| (bytes.len() - after.len(), Some(source))))
}

/// The rest of a line, each address in at most `max_bytes`: the source.
fn parse_addresses<A: FromStr + Into<IpAddr>>(
    rest: &[u8],
    max_bytes: usize,
    may_hold: fn(u8) -> bool,
) -> Part<'_, SocketAddr> {
    let Some((source, rest)) = address::<A>(rest, max_bytes, may_hold)? else { return Ok(None) };
    let Some((_destination, rest)) = address::<A>(rest, max_bytes, may_hold)? else { return Ok(None) };
    let Some((source_port, rest)) = port(rest, b' ')? else { return Ok(None) };
    let Some((_destination_port, rest)) = port(rest, b'\r')? else { return Ok(None) };
    let Some(rest) = after(rest, b"\n", "expected CRLF at the end of the line")? else { return Ok(None) };
    Ok(Some((SocketAddr::new(source.into(), source_port), rest)))
}

fn address<A: FromStr>(rest: &[u8], max_bytes: usize, may_hold: fn(u8) -> bool) -> Part<'_, A> {
    const EXPECTED: &str = "expected two addresses of the family";
    let Some((text, rest)) = field(rest, b' ', max_bytes, may_hold, EXPECTED)? else { return Ok(None) };
    let address = text.parse().map_err(|_| EXPECTED)?;
    Ok(Some((address, rest)))
}

fn port(rest: &[u8], end: u8) -> Part<'_, u16> {
    const EXPECTED: &str = "expected two ports without leading zeros";
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let Some((text, rest)) = field(rest, end, 5, is_digit, EXPECTED)? else { return Ok(None) };
    if text.len() > 1 && text.starts_with('0') {
        return Err(EXPECTED);
    }
    let port = text.parse().map_err(|_| EXPECTED)?;
    Ok(Some((port, rest)))
}

/// What stands before `end`, and what after it; `None` where the end has not come.
fn field<'a>(
    rest: &'a [u8],
    end: u8,
    max_bytes: usize,
    may_hold: fn(u8) -> bool,
    expected: &'static str,
) -> Part<'a, &'a str> {
    let length = rest.iter().take_while(|byte| may_hold(**byte)).count();
    let (text, rest) = rest.split_at(length);
    match rest.split_first() {
        _ if length > max_bytes => Err(expected),
        None => Ok(None),
        Some((byte, rest)) if *byte == end => Ok(Some((str::from_utf8(text).map_err(|_| expected)?, rest))),
        Some(_) => Err(expected),
    }
}

/// What else stands in such a line is to be ignored.
fn parse_unknown(bytes: &[u8], ignored: &[u8]) -> Parsed {
    if !matches!(ignored.first(), None | Some(b' ' | b'\r')) {
        return Err("expected a space or CRLF after UNKNOWN");
    }
    let line = &bytes[..bytes.len().min(MAX_V1_BYTES)];
    match line.windows(2).position(|pair| pair == b"\r\n") {
        Some(at) => Ok(Some((at + 2, None))),
        None if line.len() < MAX_V1_BYTES => Ok(None),
        None => Err("expected CRLF within 107 bytes"),
    }
}

/// How the addresses of version 2 are laid out.
#[derive(Clone, Copy)]
enum Family {
    /// To be ignored, all of the rest with it.
    Unspecified,
    V4,
    V6,
    Unix,
}

impl Family {
    fn bytes(self) -> usize {
        match self {
            Family::Unspecified => 0,
            Family::V4 => 2 * 4 + 2 * 2,
            Family::V6 => 2 * 16 + 2 * 2,
            Family::Unix => 2 * 108,
        }
    }
}

/// `signature | version and command u8 | family and protocol u8 | length u16 | addresses, fields`
fn parse_v2(bytes: &[u8]) -> Parsed {
    let Some(rest) = after(bytes, SIGNATURE, "expected a PROXY header")? else { return Ok(None) };
    let is_local = match rest.first() {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err("expected version 2 with LOCAL or PROXY"),
    };
    let family = match rest.get(1) {
        None => return Ok(None),
        Some(_) if is_local => Family::Unspecified,
        Some(0x00) => Family::Unspecified,
        // The player's address is what it is, even where a proxy makes a stream of datagrams.
        Some(0x11 | 0x12) => Family::V4,
        Some(0x21 | 0x22) => Family::V6,
        Some(0x31 | 0x32) => Family::Unix,
        Some(_) => return Err("expected a known family and protocol"),
    };
    let Some(high) = rest.get(2) else { return Ok(None) };
    let low = rest.get(3);
    let length = usize::from(u16::from_be_bytes([*high, *low.unwrap_or(&0)]));
    if FIXED_BYTES + length > MAX_BYTES {
        return Err("expected at most 1024 bytes");
    }
    if low.is_none() {
        return Ok(None);
    }
    if length < family.bytes() {
        return Err("expected space for the addresses");
    }
    let Some(header) = bytes.get(..FIXED_BYTES + length) else { return Ok(None) };
    let (addresses, fields) = header[FIXED_BYTES..].split_at(family.bytes());
    let source = match family {
        Family::Unspecified => return Ok(Some((header.len(), None))),
        Family::Unix => None,
        Family::V4 => source(addresses, |ip: [u8; 4]| ip.into()),
        Family::V6 => source(addresses, |ip: [u8; 16]| ip.into()),
    };
    judge_fields(header, fields)?;
    Ok(Some((header.len(), source)))
}

/// Of `source, destination, source's port, destination's port`, addresses of N bytes.
fn source<const N: usize>(addresses: &[u8], ip: impl Fn([u8; N]) -> IpAddr) -> Option<SocketAddr> {
    let (source, rest) = addresses.split_first_chunk()?;
    let (_destination, rest) = rest.split_first_chunk::<N>()?;
    let (port, _) = rest.split_first_chunk()?;
    Some(SocketAddr::new(ip(*source), u16::from_be_bytes(*port)))
}

/// Fields are `type u8 | length u16 | value`; the last ones of the header. Of their values only a checksum counts here.
fn judge_fields(header: &[u8], mut fields: &[u8]) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected fields that end with the header";
    while let Some((kind, rest)) = fields.split_first() {
        let (length, rest) = rest.split_first_chunk().ok_or(EXPECTED)?;
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(EXPECTED)?;
        if *kind == CRC32C {
            let at = header.len() - rest.len() - value.len();
            // As if it were zero where it stands.
            let sum = crc32c(header[..at].iter().chain(&[0; 4]).chain(rest));
            if value != sum.to_be_bytes() {
                return Err("expected the checksum of the header");
            }
        }
        fields = rest;
    }
    Ok(())
}

/// RFC 4960, appendix B. Bit by bit: once a connection, over a few hundred bytes at most.
fn crc32c<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let crc = bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL * (crc & 1)))
    });
    !crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("a short header");
        [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), rest].concat()
    }

    fn v2_of(source: SocketAddr, fields: &[u8]) -> Vec<u8> {
        let port = source.port().to_be_bytes();
        match source.ip() {
            IpAddr::V4(ip) => {
                v2(PROXY, 0x11, &[&ip.octets()[..], &[10, 0, 0, 1], &port, &[1, 187], fields].concat())
            }
            IpAddr::V6(ip) => {
                v2(PROXY, 0x21, &[&ip.octets()[..], &[9; 16], &port, &[1, 187], fields].concat())
            }
        }
    }

    fn v1_of(source: SocketAddr) -> Vec<u8> {
        let (family, to) = if source.is_ipv4() { ("TCP4", "10.0.0.1") } else { ("TCP6", "2001:db8::1") };
        format!("PROXY {family} {} {to} {} 443\r\n", source.ip(), source.port()).into()
    }

    fn field(kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).expect("a short value");
        [&[kind][..], &length.to_be_bytes(), value].concat()
    }

    /// Fills in the checksum, which stands last but for `after` bytes.
    fn summed(mut header: Vec<u8>, after: usize) -> Vec<u8> {
        let at = header.len() - after - 4;
        let sum = crc32c(header.iter());
        header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// The header alone, byte by byte, with something behind it.
    #[track_caller]
    fn is_complete(header: &[u8], source: Option<SocketAddr>) {
        let complete = Header::Complete { len: header.len(), source };
        for length in 0..header.len() {
            let start = &header[..length];
            assert_eq!(parse(start), Header::Incomplete, "{length} bytes: {}", start.escape_ascii());
        }
        assert_eq!(parse(header), complete, "{}", header.escape_ascii());
        for behind in [&[0xff, 0][..], b"\r\n", b"GET / HTTP/1.1\r\n", header] {
            assert_eq!(parse(&[header, behind].concat()), complete);
        }
    }

    /// The last byte is the one that cannot be.
    #[track_caller]
    fn is_refused_at_the_last_byte(bytes: &[u8]) {
        let (_, before) = bytes.split_last().expect("a byte");
        assert_eq!(parse(before), Header::Incomplete, "{}", before.escape_ascii());
        assert!(matches!(parse(bytes), Header::Invalid(_)), "{}: {:?}", bytes.escape_ascii(), parse(bytes));
    }

    #[test]
    fn lines_of_version_1_are_read_as_the_specification_writes_them() {
        for (line, source) in [
            ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", Some("192.168.0.1:56324")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", Some("0.0.0.0:0")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", Some("[2001:db8::1]:1")),
            ("PROXY TCP6 2001:DB8::A ::1 1 2\r\n", Some("[2001:db8::a]:1")),
            // How a proxy that listens for both families writes a client of the older one.
            ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", Some("[::ffff:192.0.2.7]:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN whatever\t\r it \n says\r\n", None),
        ] {
            is_complete(line.as_bytes(), source.map(address));
        }
        let long = "ffff:".repeat(7) + "ffff";
        let longest = format!("PROXY TCP6 {long} {long} 65535 65535\r\n");
        assert_eq!(longest.len(), 104);
        is_complete(longest.as_bytes(), Some(address(&format!("[{long}]:65535"))));
        let worst = format!("PROXY UNKNOWN {long} {long} 65535 65535\r\n");
        assert_eq!(worst.len(), MAX_V1_BYTES);
        is_complete(worst.as_bytes(), None);
    }

    #[test]
    fn a_wrong_line_is_refused_at_the_byte_that_makes_it_so() {
        for line in [
            "PRI",
            "PROXY\t",
            "PROXY  ",
            "PROXY t",
            "PROXY TCP5",
            "PROXY TCP4\r",
            "PROXY UD",
            "PROXY UNKNOWNS",
            "PROXY TCP4  ",
            "PROXY TCP4 a",
            "PROXY TCP4 :",
            "PROXY TCP4 1.2.3.4.5 ",
            "PROXY TCP4 01.2.3.4 ",
            "PROXY TCP4 256.1.1.1 ",
            "PROXY TCP4 1.2.3 ",
            "PROXY TCP4 1111111111111111",
            "PROXY TCP4 1.2.3.4 5.6.7.8  ",
            "PROXY TCP4 1.2.3.4 5.6.7.8 -",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +",
            "PROXY TCP4 1.2.3.4 5.6.7.8 080 ",
            "PROXY TCP4 1.2.3.4 5.6.7.8 00 ",
            "PROXY TCP4 1.2.3.4 5.6.7.8 65536 ",
            "PROXY TCP4 1.2.3.4 5.6.7.8 123456",
            "PROXY TCP4 1.2.3.4 5.6.7.8 80\r",
            "PROXY TCP4 1.2.3.4 5.6.7.8 80 90 ",
            "PROXY TCP4 1.2.3.4 5.6.7.8 80 90\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 80 90\r\r",
            "PROXY TCP4 1.2.3.4 5.6.7.8 80 65536\r",
            "PROXY TCP6 1.2.3.4 ",
            "PROXY TCP6 ::1%",
            "PROXY TCP6 ::1::1 ",
            "PROXY TCP6 00001::1 ",
            "PROXY TCP6 g",
        ] {
            is_refused_at_the_last_byte(line.as_bytes());
        }
        let mut endless = b"PROXY UNKNOWN".to_vec();
        endless.resize(MAX_V1_BYTES, b' ');
        is_refused_at_the_last_byte(&endless);
        // A CR as the last of so many is no end.
        endless[MAX_V1_BYTES - 1] = b'\r';
        is_refused_at_the_last_byte(&endless);
    }

    #[test]
    fn what_is_no_header_at_all_is_refused_at_once() {
        for first in (0..=u8::MAX).filter(|first| !matches!(first, b'P' | b'\r')) {
            assert!(matches!(parse(&[first]), Header::Invalid(_)), "{first:02x}");
        }
        is_refused_at_the_last_byte(b"\r\n\r\n\r");
        is_refused_at_the_last_byte(b"\r\n\r\n\0\r\nQUIT\r");
        assert_eq!(parse(b""), Header::Incomplete);
    }

    #[test]
    fn a_header_of_version_2_is_read_as_the_specification_lays_it_out() {
        let v4 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\xdc\x04\x01\xbb";
        is_complete(v4, Some(address("192.0.2.7:56324")));
        assert_eq!(v2_of(address("192.0.2.7:56324"), b""), v4);
        let v6 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xdc\x04\x01\xbb";
        is_complete(v6, Some(address("[2001:db8::7]:56324")));
        // Datagrams that a proxy made a stream of.
        is_complete(&v2(PROXY, 0x12, &v4[16..]), Some(address("192.0.2.7:56324")));
        is_complete(&v2(PROXY, 0x22, &v6[16..]), Some(address("[2001:db8::7]:56324")));
        for family in [0x31, 0x32] {
            is_complete(&v2(PROXY, family, &[b'/'; 216]), None);
        }
    }

    #[test]
    fn of_a_local_or_unspecified_header_only_the_length_counts() {
        is_complete(&v2(LOCAL, 0x00, b""), None);
        is_complete(&v2(PROXY, 0x00, b""), None);
        // Neither the family nor the rest is looked at; a checksum would be wrong.
        let fields = field(CRC32C, &[1; 4]);
        for rest in [&b"x"[..], &[7; 216], &fields] {
            is_complete(&v2(LOCAL, 0x11, rest), None);
            is_complete(&v2(LOCAL, 0xff, rest), None);
            is_complete(&v2(PROXY, 0x00, rest), None);
        }
    }

    #[test]
    fn what_version_2_does_not_know_is_refused_at_its_byte() {
        let known = [0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32];
        for byte in 0..=u8::MAX {
            let command = [&SIGNATURE[..], &[byte]].concat();
            let family = [&SIGNATURE[..], &[PROXY, byte]].concat();
            match byte {
                LOCAL | PROXY => assert_eq!(parse(&command), Header::Incomplete),
                _ => is_refused_at_the_last_byte(&command),
            }
            match known.contains(&byte) {
                true => assert_eq!(parse(&family), Header::Incomplete),
                false => is_refused_at_the_last_byte(&family),
            }
        }
        for (family, bytes) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
            is_refused_at_the_last_byte(&v2(PROXY, family, &vec![0; bytes - 1])[..FIXED_BYTES]);
            assert_eq!(parse(&v2(PROXY, family, &vec![0; bytes])[..FIXED_BYTES]), Header::Incomplete);
        }
    }

    #[test]
    fn a_header_of_version_2_is_bounded_before_its_bytes_have_come() {
        let longest = v2(LOCAL, 0, &[0; MAX_BYTES - FIXED_BYTES]);
        assert_eq!(longest.len(), MAX_BYTES);
        is_complete(&longest, None);
        is_refused_at_the_last_byte(&v2(LOCAL, 0, &[0; MAX_BYTES - FIXED_BYTES + 1])[..FIXED_BYTES]);
        // The upper byte of the length is enough.
        is_refused_at_the_last_byte(&v2(PROXY, 0x11, &[0; 0x400])[..FIXED_BYTES - 1]);
    }

    #[test]
    fn fields_end_with_the_header_and_are_skipped() {
        let source = address("192.0.2.7:56324");
        let (noop, id, ours) = (field(4, &[0; 3]), field(5, b"unique"), field(0xea, &[]));
        is_complete(&v2_of(source, &[&noop[..], &id, &ours].concat()), Some(source));
        for broken in [&noop[..1], &noop[..2], &noop[..5], &[&noop[..], &id[..8]].concat()] {
            is_refused_at_the_last_byte(&v2_of(source, broken));
            is_refused_at_the_last_byte(&v2(PROXY, 0x31, &[&[b'/'; 216][..], broken].concat()));
        }
    }

    #[test]
    fn a_checksum_must_be_right() {
        // The check value of this polynomial.
        assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
        let source = address("[2001:db8::7]:56324");
        let (sum, id) = (field(CRC32C, &[0; 4]), field(5, b"unique"));
        let last = summed(v2_of(source, &[&id[..], &sum].concat()), 0);
        let first = summed(v2_of(source, &[&sum[..], &id].concat()), id.len());
        for (header, sum_at) in [(&last, last.len() - sum.len()), (&first, FIXED_BYTES + 36)] {
            is_complete(header, Some(source));
            // Without its type it is no checksum.
            for at in (FIXED_BYTES..header.len()).filter(|at| *at != sum_at) {
                let mut wrong = header.clone();
                wrong[at] ^= 1;
                assert!(matches!(parse(&wrong), Header::Invalid(_)), "{at}");
            }
        }
        is_refused_at_the_last_byte(&v2_of(source, &field(CRC32C, &[0; 3])));
    }

    #[test]
    fn what_haproxy_2_6_wrote_is_read() {
        // server ... send-proxy-v2 proxy-v2-options crc32c,unique-id
        let id = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x23\x7f\0\0\x01\x7f\0\0\x01\xdf\xc8\x1b\x5a\
            \x03\0\x04\x8e\x6a\xcd\x87\x05\0\x0d7F000001:DFC8";
        is_complete(id, Some(address("127.0.0.1:57288")));
        // ... proxy-v2-options ssl,cert-cn,ssl-cipher,authority,crc32c
        let tls = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x4a\x7f\0\0\x01\x7f\0\0\x01\x94\x98\x1b\x5c\
            \x03\0\x04\x78\xcb\xfb\x7d\x02\0\x09localhost\
            \x20\0\x28\x01\0\0\0\0\x21\0\x07TLSv1.3\x23\0\x16TLS_AES_256_GCM_SHA384";
        is_complete(tls, Some(address("127.0.0.1:38040")));
    }

    /// Bytes close to a header: a real one, with some bytes changed.
    fn almost_a_header() -> impl Strategy<Value = Vec<u8>> {
        let source = any::<(IpAddr, u16)>().prop_map(SocketAddr::from);
        let field = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20));
        let fields = prop::collection::vec(field.prop_map(|(kind, value)| self::field(kind, &value)), 0..4);
        let header = (any::<bool>(), source, fields).prop_map(|(text, source, fields)| match text {
            true => v1_of(source),
            false => v2_of(source, &fields.concat()),
        });
        let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (header, edits).prop_map(|(mut header, edits)| {
            for (at, byte) in edits {
                *at.get_mut(&mut header) = byte;
            }
            header
        })
    }

    proptest! {
        #[test]
        fn any_source_comes_through(ip: IpAddr, port: u16, behind: Vec<u8>) {
            let source = SocketAddr::new(ip, port);
            for header in [v1_of(source), v2_of(source, &[])] {
                is_complete(&header, Some(source));
                let complete = Header::Complete { len: header.len(), source: Some(source) };
                prop_assert_eq!(parse(&[header, behind.clone()].concat()), complete);
            }
        }

        #[test]
        fn what_is_decided_stays_so_and_is_decided_in_time(
            bytes in prop_oneof![almost_a_header(), prop::collection::vec(any::<u8>(), 0..40)],
            behind in prop::collection::vec(any::<u8>(), 0..MAX_BYTES + 2),
        ) {
            let bytes = [bytes, behind].concat();
            let mut decided = Header::Incomplete;
            for length in 0..=bytes.len() {
                let now = parse(&bytes[..length]);
                if decided == Header::Incomplete {
                    if let Header::Complete { len, .. } = now {
                        prop_assert_eq!(len, length, "decided with its last byte");
                    }
                    decided = now;
                }
                prop_assert_eq!(now, decided);
            }
            prop_assert!(decided != Header::Incomplete || bytes.len() < MAX_BYTES);
        }
    }
}
