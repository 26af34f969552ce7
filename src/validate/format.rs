//! The well-known formats, as <https://protovalidate.com/reference/rules> defines them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::rule::Value;

/// Whether `part` is somewhere in `value`.
pub(super) fn contains(value: Value<'_>, part: Value<'_>) -> bool {
    match (value, part) {
        (Value::Text(value), Value::Text(part)) => value.contains(part),
        (Value::Bytes(_), Value::Bytes([])) => true,
        // What is searched for is written in a schema: it is short.
        (Value::Bytes(value), Value::Bytes(part)) => value.windows(part.len()).any(|window| window == part),
        _ => false,
    }
}

fn text(value: Value<'_>, of: impl Fn(&str) -> bool) -> bool {
    matches!(value, Value::Text(text) if of(text))
}

/// The HTML standard's, section 4.10.5.1.5.
pub(super) fn email(value: Value<'_>) -> bool {
    text(value, |text| {
        let Some((local, domain)) = text.split_once('@') else { return false };
        let in_local = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
        !local.is_empty() && local.bytes().all(in_local) && domain.split('.').all(label)
    })
}

/// 1 to 63 letters, digits and hyphens, the last neither first nor last.
fn label(part: &str) -> bool {
    (1..=63).contains(&part.len())
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !part.starts_with('-')
        && !part.ends_with('-')
}

/// RFC 1034 section 3.5, with digits at the beginning as RFC 1123 allows; the last label is no number.
/// At most 253 bytes, a dot at the end not counted.
pub(super) fn hostname(value: Value<'_>) -> bool {
    text(value, is_hostname)
}

fn is_hostname(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn ip(value: Value<'_>) -> bool {
    match value {
        Value::Bytes(bytes) => matches!(bytes.len(), 4 | 16),
        value => ipv4(value) || ipv6(value),
    }
}

pub(super) fn ipv4(value: Value<'_>) -> bool {
    match value {
        Value::Bytes(bytes) => bytes.len() == 4,
        value => text(value, is_ipv4),
    }
}

fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

/// RFC 4291, with a zone as in RFC 4007: anything that is not empty and holds no NUL.
pub(super) fn ipv6(value: Value<'_>) -> bool {
    match value {
        Value::Bytes(bytes) => bytes.len() == 16,
        value => text(value, is_ipv6),
    }
}

fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(a, zone)| (a, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty() && !zone.contains('\0'))
}

pub(super) fn address(value: Value<'_>) -> bool {
    hostname(value) || ip(value)
}

/// A hostname, an IPv4 address, or an IPv6 address in brackets; a colon; a port from 0 to 65535.
pub(super) fn host_and_port(value: Value<'_>) -> bool {
    text(value, |text| {
        let Some((host, port)) = text.rsplit_once(':') else { return false };
        let is_host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').is_some_and(is_ipv6),
            None => is_hostname(host) || is_ipv4(host),
        };
        is_host && is_port(port)
    })
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit())
        && (port == "0" || !port.starts_with('0'))
        && port.parse::<u16>().is_ok()
}

pub(super) fn uuid(value: Value<'_>) -> bool {
    match value {
        Value::Bytes(bytes) => bytes.len() == 16,
        value => text(value, |text| {
            let parts: Vec<&str> = text.splitn(6, '-').collect();
            parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
                && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()))
        }),
    }
}

/// A UUID without its hyphens.
pub(super) fn tuuid(value: Value<'_>) -> bool {
    text(value, |text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// <https://github.com/ulid/spec>: Crockford's base 32 of 128 bits.
pub(super) fn ulid(value: Value<'_>) -> bool {
    text(value, |text| {
        let digit = |b: u8| b.is_ascii_alphanumeric() && !b"ILOUilou".contains(&b);
        text.len() == 26 && matches!(text.as_bytes()[0], b'0'..=b'7') && text.bytes().all(digit)
    })
}
