//! One rule, one value, and whether they fit.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use regex::{Regex, RegexBuilder};

use super::{Violation, format};

/// A value of a field. A `float` is the `double` of the same value, an enum its number.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "named by what they hold")]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// The zero of its type; -0.0 is not one, as it is sent where a zero is not.
    pub fn is_zero(&self) -> bool {
        match self {
            Value::Bool(value) => !value,
            Value::Int(value) => *value == 0,
            Value::Uint(value) => *value == 0,
            Value::Float(value) => value.to_bits() == 0,
            Value::Text(value) => value.is_empty(),
            Value::Bytes(value) => value.is_empty(),
        }
    }

    /// In the order of its type; `None` for NaN, and for values of different types.
    fn compare(&self, constant: &Constant) -> Option<Ordering> {
        match (self, constant) {
            (Value::Bool(a), Constant::Bool(b)) => Some(a.cmp(b)),
            (Value::Int(a), Constant::Int(b)) => Some(a.cmp(b)),
            (Value::Uint(a), Constant::Uint(b)) => Some(a.cmp(b)),
            (Value::Float(a), Constant::Float(b)) => a.partial_cmp(b),
            (Value::Text(a), Constant::Text(b)) => Some((*a).cmp(b)),
            (Value::Bytes(a), Constant::Bytes(b)) => Some((*a).cmp(b)),
            _ => None,
        }
    }

    /// What numbers have in common that are equal, as in CEL: 0 is -0. `None`: a NaN, which is not even itself, or no
    /// number.
    pub(super) fn number(&self) -> Option<u64> {
        match *self {
            Value::Bool(value) => Some(value.into()),
            Value::Int(value) => Some(value.cast_unsigned()),
            Value::Uint(value) => Some(value),
            Value::Float(value) => (!value.is_nan()).then(|| (value + 0.0).to_bits()),
            Value::Text(_) | Value::Bytes(_) => None,
        }
    }

    fn equals(&self, constant: &Constant) -> bool {
        self.compare(constant) == Some(Ordering::Equal)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Value::Text(value) => value.as_bytes(),
            Value::Bytes(value) => value,
            _ => &[],
        }
    }

    fn as_text(&self) -> &str {
        match self {
            Value::Text(value) => value,
            _ => "",
        }
    }

    /// Code points of a text, bytes of bytes.
    fn length(&self) -> u64 {
        match self {
            Value::Text(value) => value.chars().count() as u64,
            value => value.as_bytes().len() as u64,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Uint(value) => value.fmt(f),
            Value::Float(value) => value.fmt(f),
            Value::Text(value) => write!(f, "{value:?}"),
            Value::Bytes(value) => value.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

macro_rules! from {
    ($($of:ty => |$value:ident| $make:expr;)*) => {
        $(impl<'a> From<$of> for Value<'a> {
            fn from($value: $of) -> Self { $make }
        })*
    };
}
from! {
    bool => |value| Value::Bool(value);
    i32 => |value| Value::Int(value.into());
    i64 => |value| Value::Int(value);
    u32 => |value| Value::Uint(value.into());
    u64 => |value| Value::Uint(value);
    f32 => |value| Value::Float(value.into());
    f64 => |value| Value::Float(value);
    &'a bool => |value| Value::Bool(*value);
    &'a i32 => |value| Value::Int((*value).into());
    &'a i64 => |value| Value::Int(*value);
    &'a u32 => |value| Value::Uint((*value).into());
    &'a u64 => |value| Value::Uint(*value);
    &'a f32 => |value| Value::Float((*value).into());
    &'a f64 => |value| Value::Float(*value);
    &'a str => |value| Value::Text(value);
    &'a String => |value| Value::Text(value);
    &'a [u8] => |value| Value::Bytes(value);
    &'a Bytes => |value| Value::Bytes(value);
}

/// A value that a rule names.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "named by what they hold")]
pub enum Constant {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Constant {
    fn value(&self) -> Value<'_> {
        match self {
            Constant::Bool(value) => Value::Bool(*value),
            Constant::Int(value) => Value::Int(*value),
            Constant::Uint(value) => Value::Uint(*value),
            Constant::Float(value) => Value::Float(*value),
            Constant::Text(value) => Value::Text(value),
            Constant::Bytes(value) => Value::Bytes(value),
        }
    }
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

/// A regular expression in the syntax of the crate `regex`.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// Largest compiled regular expression, bytes; a test holds the generator to the same.
pub const MAX_PATTERN_BYTES: usize = 256 * 1024;

impl Pattern {
    /// Of this text, as the generator has translated it from RE2's syntax.
    ///
    /// # Panics
    /// If it cannot be compiled; the generator has done so within the same limit, and refused it otherwise.
    pub fn new(text: &str) -> Self {
        let compiled = RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build();
        Pattern(compiled.expect("the generator has compiled it"))
    }
}

/// A rule, named as in `buf/validate/validate.proto`. Of the bounds at most one is above and one below; with both, the
/// values between them are allowed or, where the upper is the smaller, those outside.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "they are buf.validate's: https://protovalidate.com/reference/rules")]
pub enum Rule {
    Const(Constant),
    In(Listed),
    NotIn(Listed),
    Lt(Constant),
    Lte(Constant),
    Gt(Constant),
    Gte(Constant),
    Finite,
    Len(u64),
    MinLen(u64),
    MaxLen(u64),
    LenBytes(u64),
    MinBytes(u64),
    MaxBytes(u64),
    Pattern(Pattern),
    Prefix(Constant),
    Suffix(Constant),
    Contains(Constant),
    NotContains(Constant),
    Email,
    Hostname,
    Ip,
    Ipv4,
    Ipv6,
    Address,
    HostAndPort,
    Uuid,
    Tuuid,
    Ulid,
    /// With the numbers of the enum, sorted.
    DefinedOnly(Vec<i32>),
    MinItems(u64),
    MaxItems(u64),
    Unique,
    MinPairs(u64),
    MaxPairs(u64),
}

/// Values of one type that a rule names, found in one step however many they are: a client may send a long list, each
/// item of which is looked for.
#[derive(Debug, Clone)]
pub struct Listed {
    /// As written.
    values: Vec<Constant>,
    numbers: HashSet<u64>,
    bytes: HashSet<Vec<u8>>,
}

impl From<Vec<Constant>> for Listed {
    fn from(values: Vec<Constant>) -> Self {
        let numbers = values.iter().filter_map(|one| one.value().number()).collect();
        let texts = values.iter().filter(|one| matches!(one, Constant::Text(_) | Constant::Bytes(_)));
        let bytes = texts.map(|one| one.value().as_bytes().to_vec()).collect();
        Listed { values, numbers, bytes }
    }
}

impl Listed {
    fn has(&self, value: Value<'_>) -> bool {
        match value {
            Value::Text(_) | Value::Bytes(_) => self.bytes.contains(value.as_bytes()),
            _ => value.number().is_some_and(|number| self.numbers.contains(&number)),
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.values.iter().map(Constant::to_string).collect::<Vec<_>>().join(", "))
    }
}

/// The rules of one value, by the kind that they are written under: `string`, `int32`, `repeated`.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Empty: none.
    pub kind: Cow<'static, str>,
    /// In the order of their numbers in `validate.proto`.
    pub rules: Vec<Rule>,
}

impl Rules {
    /// No rules.
    pub const NONE: Rules = Rules { kind: Cow::Borrowed(""), rules: vec![] };

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn unique(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Rule::Unique))
    }

    pub(super) fn broken(&self, rule: &str, text: impl Into<String>) -> Violation {
        Violation::new("", format!("{}.{rule}", self.kind), text)
    }

    /// Judges the number of items of a list, or of entries of a map.
    pub(super) fn check_length(&self, length: usize) -> Result<(), Violation> {
        let length = length as u64;
        for rule in &self.rules {
            match *rule {
                Rule::MinItems(n) if length < n => {
                    return Err(self.broken("min_items", format!("must contain at least {n} item(s)")));
                }
                Rule::MaxItems(n) if length > n => {
                    return Err(self.broken("max_items", format!("must contain no more than {n} item(s)")));
                }
                Rule::MinPairs(n) if length < n => {
                    return Err(self.broken("min_pairs", format!("map must be at least {n} entries")));
                }
                Rule::MaxPairs(n) if length > n => {
                    return Err(self.broken("max_pairs", format!("map must be at most {n} entries")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Judges a single value.
    pub(super) fn check(&self, value: Value<'_>) -> Result<(), Violation> {
        for rule in &self.rules {
            if let Some((id, text)) = self.check_one(rule, value) {
                return Err(self.broken(id, text));
            }
        }
        Ok(())
    }

    /// The id of the broken rule, and what it asks for.
    fn check_one(&self, rule: &Rule, value: Value<'_>) -> Option<(&'static str, String)> {
        // A rule that holds, as nearly all do, writes no text.
        let unless =
            |holds: bool, id: &'static str, text: &dyn Fn() -> String| (!holds).then(|| (id, text()));
        let length = || value.length();
        let bytes = || value.as_bytes().len() as u64;
        let unit = if matches!(value, Value::Text(_)) { "characters" } else { "bytes" };
        match rule {
            Rule::Const(c) => unless(value.equals(c), "const", &|| format!("must equal {c}")),
            Rule::In(list) => unless(list.has(value), "in", &|| format!("must be in list {list}")),
            Rule::NotIn(list) => {
                unless(!list.has(value), "not_in", &|| format!("must not be in list {list}"))
            }
            Rule::Lt(_) | Rule::Lte(_) | Rule::Gt(_) | Rule::Gte(_) => self.check_bounds(rule, value),
            Rule::Finite => unless(matches!(value, Value::Float(v) if v.is_finite()), "finite", &|| {
                "must be finite".to_string()
            }),
            Rule::Len(n) => unless(length() == *n, "len", &|| format!("must be {n} {unit}")),
            Rule::MinLen(n) => unless(length() >= *n, "min_len", &|| format!("must be at least {n} {unit}")),
            Rule::MaxLen(n) => unless(length() <= *n, "max_len", &|| format!("must be at most {n} {unit}")),
            Rule::LenBytes(n) => unless(bytes() == *n, "len_bytes", &|| format!("must be {n} bytes")),
            Rule::MinBytes(n) => {
                unless(bytes() >= *n, "min_bytes", &|| format!("must be at least {n} bytes"))
            }
            Rule::MaxBytes(n) => unless(bytes() <= *n, "max_bytes", &|| format!("must be at most {n} bytes")),
            Rule::Pattern(pattern) => unless(pattern.0.is_match(value.as_text()), "pattern", &|| {
                format!("does not match regex pattern `{}`", pattern.0)
            }),
            Rule::Prefix(c) => unless(value.as_bytes().starts_with(c.value().as_bytes()), "prefix", &|| {
                format!("does not have prefix {c}")
            }),
            Rule::Suffix(c) => unless(value.as_bytes().ends_with(c.value().as_bytes()), "suffix", &|| {
                format!("does not have suffix {c}")
            }),
            Rule::Contains(c) => {
                unless(format::contains(value, c.value()), "contains", &|| format!("does not contain {c}"))
            }
            Rule::NotContains(c) => {
                unless(!format::contains(value, c.value()), "not_contains", &|| format!("contains {c}"))
            }
            Rule::Email => self.check_format(value, "email", "email_empty", "email address", format::email),
            Rule::Hostname => {
                self.check_format(value, "hostname", "hostname_empty", "hostname", format::hostname)
            }
            Rule::Ip => self.check_format(value, "ip", "ip_empty", "IP address", format::ip),
            Rule::Ipv4 => self.check_format(value, "ipv4", "ipv4_empty", "IPv4 address", format::ipv4),
            Rule::Ipv6 => self.check_format(value, "ipv6", "ipv6_empty", "IPv6 address", format::ipv6),
            Rule::Address => self.check_format(
                value,
                "address",
                "address_empty",
                "hostname, or ip address",
                format::address,
            ),
            Rule::HostAndPort => self.check_format(
                value,
                "host_and_port",
                "host_and_port_empty",
                "host (hostname or IP address) and port pair",
                format::host_and_port,
            ),
            Rule::Uuid => self.check_format(value, "uuid", "uuid_empty", "UUID", format::uuid),
            Rule::Tuuid => self.check_format(value, "tuuid", "tuuid_empty", "trimmed UUID", format::tuuid),
            Rule::Ulid => self.check_format(value, "ulid", "ulid_empty", "ULID", format::ulid),
            Rule::DefinedOnly(numbers) => unless(
                matches!(value, Value::Int(v) if numbers.binary_search_by_key(&v, |n| i64::from(*n)).is_ok()),
                "defined_only",
                &|| "value must be one of the defined enum values".to_string(),
            ),
            // Of lists and maps: `check_length`, and the list itself.
            Rule::MinItems(_) | Rule::MaxItems(_) | Rule::Unique | Rule::MinPairs(_) | Rule::MaxPairs(_) => {
                None
            }
        }
    }

    /// An empty value has an id of its own, whatever the format.
    fn check_format(
        &self,
        value: Value<'_>,
        id: &'static str,
        empty: &'static str,
        what: &str,
        fits: fn(Value<'_>) -> bool,
    ) -> Option<(&'static str, String)> {
        if value.is_zero() {
            return Some((empty, format!("value is empty, which is not a valid {what}")));
        }
        (!fits(value)).then(|| (id, format!("must be a valid {what}")))
    }

    /// Two bounds are judged together, at the lower one.
    fn check_bounds(&self, rule: &Rule, value: Value<'_>) -> Option<(&'static str, String)> {
        let upper = self.rules.iter().find_map(|rule| match rule {
            Rule::Lt(c) => Some((c, false)),
            Rule::Lte(c) => Some((c, true)),
            _ => None,
        });
        let lower = self.rules.iter().find_map(|rule| match rule {
            Rule::Gt(c) => Some((c, false)),
            Rule::Gte(c) => Some((c, true)),
            _ => None,
        });
        if lower.is_some() && matches!(rule, Rule::Lt(_) | Rule::Lte(_)) {
            return None;
        }
        let below = |c: &Constant, equal: bool| match value.compare(c) {
            Some(Ordering::Less) => true,
            Some(Ordering::Equal) => equal,
            _ => false,
        };
        let above = |c: &Constant, equal: bool| match value.compare(c) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => equal,
            _ => false,
        };
        let upper_text = |c: &Constant, equal: bool| match equal {
            true => format!("less than or equal to {c}"),
            false => format!("less than {c}"),
        };
        let lower_text = |c: &Constant, equal: bool| match equal {
            true => format!("greater than or equal to {c}"),
            false => format!("greater than {c}"),
        };
        match (lower, upper) {
            (None, None) => None,
            (None, Some((c, equal))) => (!below(c, equal))
                .then(|| (if equal { "lte" } else { "lt" }, format!("must be {}", upper_text(c, equal)))),
            (Some((c, equal)), None) => (!above(c, equal))
                .then(|| (if equal { "gte" } else { "gt" }, format!("must be {}", lower_text(c, equal)))),
            (Some((low, low_in)), Some((high, high_in))) => {
                let inside = !matches!(high.value().compare(low), Some(Ordering::Less) | None);
                let (from, to) = (above(low, low_in), below(high, high_in));
                let (holds, word) = if inside { (from && to, "and") } else { (from || to, "or") };
                let id = match (low_in, high_in, inside) {
                    (false, false, true) => "gt_lt",
                    (false, false, false) => "gt_lt_exclusive",
                    (false, true, true) => "gt_lte",
                    (false, true, false) => "gt_lte_exclusive",
                    (true, false, true) => "gte_lt",
                    (true, false, false) => "gte_lt_exclusive",
                    (true, true, true) => "gte_lte",
                    (true, true, false) => "gte_lte_exclusive",
                };
                let text =
                    || format!("must be {} {word} {}", lower_text(low, low_in), upper_text(high, high_in));
                (!holds).then(|| (id, text()))
            }
        }
    }
}
