//! A message as canonical protobuf JSON, with values that the constraints let through.

use std::collections::HashMap;

use crate::check::translate_pattern;
use crate::constraints::{Constant, Constraints, Ignore};
use crate::model::{Enum, Field, Kind, Label, Message, Model};
use crate::package::base64;

/// Deepest nesting that is shown; what has to be there is shown below it too.
const MAX_DEPTH: usize = 4;
/// Most items of a list that asks for many.
const MAX_ITEMS: u64 = 20;

/// A value of JSON; objects keep their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Writes examples of the messages of one model.
pub(super) struct Examples<'a> {
    messages: HashMap<&'a str, &'a Message>,
    enums: HashMap<&'a str, &'a Enum>,
}

impl<'a> Examples<'a> {
    pub(super) fn of(model: &'a Model) -> Self {
        Examples {
            messages: model.messages.iter().map(|m| (m.full_name.as_str(), m)).collect(),
            enums: model.enums.iter().map(|e| (e.full_name.as_str(), e)).collect(),
        }
    }

    /// The text of one, indented by two blanks a level.
    pub(super) fn text(&self, message: &Message) -> String {
        let mut out = String::new();
        self.message(message, &mut vec![]).write(0, &mut out);
        out
    }

    fn message(&self, message: &'a Message, inside: &mut Vec<&'a str>) -> Json {
        inside.push(&message.full_name);
        let mut members: Vec<(String, Json)> = vec![];
        for field in &message.fields {
            if self.is_shown(message, field)
                && let Some(value) = self.field(field, inside)
            {
                members.push((field.json_name.clone(), value));
            }
        }
        inside.pop();
        Json::Object(members)
    }

    /// Of a oneof, and of fields that exclude each other, the first is.
    fn is_shown(&self, message: &Message, field: &Field) -> bool {
        // An ignored message may be anything; groups have names of their own in JSON, and are hardly met.
        if field.group {
            return false;
        }
        if let Some(oneof) = &field.oneof {
            let first = message.fields.iter().find(|f| f.oneof.as_ref() == Some(oneof));
            if first.is_some_and(|first| first.number != field.number) {
                return false;
            }
        }
        message.constraints.oneofs.iter().all(|rule| {
            let first = message.fields.iter().find(|f| rule.fields.contains(&f.name));
            !rule.fields.contains(&field.name) || first.is_some_and(|first| first.number == field.number)
        })
    }

    fn field(&self, field: &Field, inside: &mut Vec<&'a str>) -> Option<Json> {
        let none = Constraints::default();
        let rules = field.constraints.as_ref().map_or(&none, |placed| &placed.constraints);
        let needed = rules.required || field.label == Label::Required;
        if let Kind::Message(name) = &field.kind
            && !needed
            && (inside.contains(&name.as_str()) || inside.len() >= MAX_DEPTH)
        {
            return None;
        }
        // A chain of what is required in circles has no end, and no value either.
        if inside.len() > 4 * MAX_DEPTH {
            return None;
        }
        match field.label {
            Label::Repeated => {
                let count = count(rules, "min_items", "max_items")?;
                let items = rules.items.as_deref().unwrap_or(&none);
                let values: Option<Vec<Json>> =
                    (0..count).map(|at| self.value(&field.name, &field.kind, items, at, inside)).collect();
                values.map(Json::List)
            }
            Label::Map => {
                let Kind::Message(entry) = &field.kind else { return None };
                let entry = self.messages.get(entry.as_str())?;
                let part = |number: u32| entry.fields.iter().find(|f| f.number == number);
                let (key, value) = (part(1)?, part(2)?);
                let count = count(rules, "min_pairs", "max_pairs")?;
                let keys = rules.keys.as_deref().unwrap_or(&none);
                let values = rules.values.as_deref().unwrap_or(&none);
                if let Kind::Message(name) = &value.kind
                    && inside.contains(&name.as_str())
                {
                    return None;
                }
                let mut pairs = vec![];
                for at in 0..count {
                    let key = match self.value("key", &key.kind, keys, at, inside)? {
                        Json::Text(text) | Json::Number(text) => text,
                        Json::Bool(value) => value.to_string(),
                        _ => return None,
                    };
                    pairs.push((key, self.value(&field.name, &value.kind, values, at, inside)?));
                }
                Some(Json::Object(pairs))
            }
            _ => self.value(&field.name, &field.kind, rules, 0, inside),
        }
    }

    /// The value `at` of a list, each another; 0 where there is one.
    fn value(
        &self,
        name: &str,
        kind: &Kind,
        rules: &Constraints,
        at: u64,
        inside: &mut Vec<&'a str>,
    ) -> Option<Json> {
        let free = Constraints::default();
        let rules = if rules.ignore == Ignore::Always { &free } else { rules };
        match kind {
            Kind::Message(name) => match well_known(name) {
                Some(value) => value,
                None => Some(self.message(self.messages.get(name.as_str())?, inside)),
            },
            // Only a value that is left out elsewhere.
            Kind::Enum(name) if name == "google.protobuf.NullValue" => None,
            Kind::Enum(name) => self.enumeration(self.enums.get(name.as_str())?, rules, at),
            Kind::Scalar("bool") => match rules.rule("const") {
                Some(Constant::Bool(value)) => Some(Json::Bool(*value)),
                _ => Some(Json::Bool(at == 0)),
            },
            Kind::Scalar("string") => Some(Json::Text(text(name, rules, at))),
            Kind::Scalar("bytes") => Some(Json::Text(base64(&bytes(rules, at), true))),
            Kind::Scalar(scalar @ ("float" | "double")) => Some(float(scalar, rules, at)),
            Kind::Scalar(scalar) => {
                let value = integer(name, scalar, rules, at).to_string();
                Some(match scalar.ends_with("64") {
                    true => Json::Text(value),
                    false => Json::Number(value),
                })
            }
        }
    }

    fn enumeration(&self, of: &Enum, rules: &Constraints, at: u64) -> Option<Json> {
        let listed = |name: &str| match rules.rule(name) {
            Some(Constant::List(list)) => list.iter().filter_map(whole).collect(),
            _ => vec![],
        };
        let (allowed, refused) = (listed("in"), listed("not_in"));
        let fits =
            |number: i128| !refused.contains(&number) && (allowed.is_empty() || allowed.contains(&number));
        let number = match rules.rule("const").and_then(whole) {
            Some(number) => number,
            None => {
                // Those that say something come first; then the zero, then what has no name.
                let mut numbers: Vec<i128> = of.numbers().into_iter().map(i128::from).collect();
                numbers.sort_by_key(|n| (*n == 0, *n < 0));
                numbers.extend(allowed.iter().copied());
                let fitting: Vec<i128> = numbers.into_iter().filter(|n| fits(*n)).collect();
                *fitting.get(usize::try_from(at).ok()? % fitting.len().max(1))?
            }
        };
        let named = of.values.iter().find(|v| i128::from(v.number) == number);
        Some(named.map_or_else(|| Json::Number(number.to_string()), |v| Json::Text(v.name.clone())))
    }
}

/// How many there are; `None`: the field is better left out.
fn count(rules: &Constraints, min: &str, max: &str) -> Option<u64> {
    let limit = |name: &str| rules.rule(name).and_then(whole).and_then(|n| u64::try_from(n).ok());
    let (min, max) = (limit(min).unwrap_or(0), limit(max).unwrap_or(u64::MAX));
    let count = min.max(1);
    (count <= max && count <= MAX_ITEMS).then_some(count)
}

/// How Google's own messages are written: <https://protobuf.dev/programming-guides/json/>. `Some(None)`: not at all.
fn well_known(name: &str) -> Option<Option<Json>> {
    let text = |text: &str| Some(Json::Text(text.to_string()));
    Some(match name.strip_prefix("google.protobuf.")? {
        "Timestamp" => text("2026-01-31T12:00:00Z"),
        "Duration" => text("1.500s"),
        "FieldMask" => text("name"),
        "Empty" => Some(Json::Object(vec![])),
        "Struct" => Some(Json::Object(vec![("key".to_string(), Json::Text("value".to_string()))])),
        "Value" => text("value"),
        "ListValue" => Some(Json::List(vec![Json::Text("value".to_string())])),
        "BoolValue" => Some(Json::Bool(true)),
        "StringValue" => text("hello"),
        "BytesValue" => text("AQID"),
        "DoubleValue" | "FloatValue" => Some(Json::Number("1.5".to_string())),
        "Int32Value" | "UInt32Value" => Some(Json::Number("3".to_string())),
        "Int64Value" | "UInt64Value" => text("3"),
        // It would need a type that the reader knows.
        "Any" => None,
        _ => return None,
    })
}

fn whole(value: &Constant) -> Option<i128> {
    match value {
        Constant::Int(value) => Some((*value).into()),
        Constant::Uint(value) => Some((*value).into()),
        _ => None,
    }
}

fn integer(name: &str, scalar: &str, rules: &Constraints, at: u64) -> i128 {
    let at = i128::from(at);
    let rule = |name: &str| rules.rule(name).and_then(whole);
    let listed = |name: &str| match rules.rule(name) {
        Some(Constant::List(list)) => list.iter().filter_map(whole).collect(),
        _ => vec![],
    };
    if let Some(value) = rule("const") {
        return value;
    }
    let (allowed, refused): (Vec<i128>, Vec<i128>) = (listed("in"), listed("not_in"));
    let low = rule("gte").or(rule("gt").map(|n| n + 1));
    let high = rule("lte").or(rule("lt").map(|n| n - 1));
    let (least, most) = match scalar {
        "int32" | "sint32" | "sfixed32" => (i32::MIN.into(), i32::MAX.into()),
        "uint32" | "fixed32" => (0, u32::MAX.into()),
        "uint64" | "fixed64" => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    };
    let fits = |n: i128| {
        let within = match (low, high) {
            // Written the other way round, what lies between is refused.
            (Some(low), Some(high)) if low > high => n >= low || n <= high,
            (low, high) => low.is_none_or(|low| n >= low) && high.is_none_or(|high| n <= high),
        };
        within
            && (least..=most).contains(&n)
            && !refused.contains(&n)
            && (allowed.is_empty() || allowed.contains(&n))
    };
    let plausible = match name.rsplit('_').next().unwrap_or_default() {
        "x" => 120,
        "y" => 80,
        "ms" => 1500,
        "us" => 1_500_000,
        "port" => 7777,
        _ => 3,
    };
    let from = |start: i128| (0..64).map(move |step| start + step);
    let candidates = allowed
        .iter()
        .copied()
        .chain(from(plausible + at))
        .chain(low.into_iter().flat_map(|low| from(low + at)))
        .chain(high.into_iter().flat_map(|high| (0..64).map(move |step| high - at - step)));
    candidates.into_iter().find(|n| fits(*n)).unwrap_or(plausible)
}

fn float(scalar: &str, rules: &Constraints, at: u64) -> Json {
    let number = |value: &Constant| match value {
        Constant::Float(value) => Some(*value),
        other => whole(other).map(|n| n as f64),
    };
    let rule = |name: &str| rules.rule(name).and_then(number);
    let listed = |name: &str| match rules.rule(name) {
        Some(Constant::List(list)) => list.iter().filter_map(number).collect(),
        _ => vec![],
    };
    let (allowed, refused): (Vec<f64>, Vec<f64>) = (listed("in"), listed("not_in"));
    let fits = |n: f64| {
        let above = rule("gt").is_none_or(|limit| n > limit) && rule("gte").is_none_or(|limit| n >= limit);
        let below = rule("lt").is_none_or(|limit| n < limit) && rule("lte").is_none_or(|limit| n <= limit);
        let (low, high) = (rule("gt").or(rule("gte")), rule("lt").or(rule("lte")));
        let within = match (low, high) {
            (Some(low), Some(high)) if low >= high => above || below,
            _ => above && below,
        };
        within && !refused.contains(&n) && (allowed.is_empty() || allowed.contains(&n))
    };
    let value = rule("const").unwrap_or_else(|| {
        let shift = at as f64;
        let mut candidates = allowed.clone();
        candidates.extend([1.5 + shift, 2.5 + shift, 0.25 + shift / 100.0]);
        if let (Some(low), Some(high)) = (rule("gt").or(rule("gte")), rule("lt").or(rule("lte"))) {
            candidates.push((low + high) / 2.0);
        }
        candidates.extend(rule("gt").or(rule("gte")).map(|low| low + 1.0 + shift));
        candidates.extend(rule("lt").or(rule("lte")).map(|high| high - 1.0 - shift));
        candidates.extend(rule("gte").into_iter().chain(rule("lte")));
        candidates.into_iter().find(|n| fits(*n)).unwrap_or(1.5)
    });
    // A `float` is kept as the `double` of its value, which has more digits than it needs.
    let shown = match scalar {
        "float" => format!("{}", value as f32),
        _ => format!("{value}"),
    };
    match value {
        value if value.is_nan() => Json::Text("NaN".to_string()),
        value if value.is_infinite() => {
            Json::Text(if value > 0.0 { "Infinity" } else { "-Infinity" }.to_string())
        }
        _ => Json::Number(shown),
    }
}

fn text(name: &str, rules: &Constraints, at: u64) -> String {
    let texts = |name: &str| match rules.rule(name) {
        Some(Constant::List(list)) => list.iter().filter_map(as_text).collect(),
        _ => vec![],
    };
    let allowed: Vec<&str> = texts("in");
    let mut candidates: Vec<String> =
        rules.rule("const").and_then(as_text).map(str::to_string).into_iter().collect();
    candidates.extend(allowed.iter().map(|one| (*one).to_string()));
    let formats = [
        ("email", "player@example.org"),
        ("hostname", "game.example.org"),
        ("ip", "192.0.2.1"),
        ("ipv4", "192.0.2.1"),
        ("ipv6", "2001:db8::1"),
        ("address", "game.example.org"),
        ("host_and_port", "game.example.org:7777"),
        ("uuid", "0190a5b4-7c3e-7abc-8def-0123456789ab"),
        ("tuuid", "0190a5b47c3e7abc8def0123456789ab"),
        ("ulid", "01J9ZV6T6D8M5Q3W7X2Y4K0ABC"),
    ];
    let is_on = |rule: &str| rules.rule(rule) == Some(&Constant::Bool(true));
    candidates.extend(formats.iter().filter(|(rule, _)| is_on(rule)).map(|(_, one)| (*one).to_string()));
    if let Some(pattern) = rules.rule("pattern").and_then(as_text) {
        candidates.extend((0..12).filter_map(|longer| sample(pattern, longer)));
    }
    let plausible = match name {
        name if name.contains("name") || name == "player" || name == "user" => "player_one",
        name if name.contains("url") => "https://example.org/",
        "key" => "key",
        name if name.contains("room") => "main",
        _ => "hello",
    };
    let number = if at == 0 { String::new() } else { (at + 1).to_string() };
    let part = |name: &str| rules.rule(name).and_then(as_text).unwrap_or_default().to_string();
    let (prefix, suffix, contains) = (part("prefix"), part("suffix"), part("contains"));
    let length = |name: &str| {
        let value = rules.rule(name).and_then(whole);
        value.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= 200)
    };
    let wanted = [length("len"), length("len_bytes"), length("min_len"), length("min_bytes")];
    let most = [length("max_len"), length("max_bytes")];
    for body in [plausible, "abc", "1", "X", ""] {
        let body = format!("{number}{body}");
        let around = |body: &str| format!("{prefix}{body}{contains}{suffix}");
        candidates.push(around(&body));
        // By characters or by bytes: body is ASCII, what is around it may not be.
        for wanted in wanted.iter().chain(&most).flatten() {
            for taken in [around("").chars().count(), around("").len()] {
                let filled: String = body
                    .chars()
                    .chain("abcdefghij".chars().cycle())
                    .take(wanted.saturating_sub(taken))
                    .collect();
                candidates.push(around(&filled));
            }
        }
    }
    let skip = usize::try_from(at).unwrap_or(0);
    let mut fitting: Vec<String> = vec![];
    for candidate in candidates {
        if !fitting.contains(&candidate) && text_fits(&candidate, rules) {
            fitting.push(candidate);
        }
    }
    let index = skip.min(fitting.len().saturating_sub(1));
    fitting.into_iter().nth(index).unwrap_or_else(|| plausible.to_string())
}

fn as_text(value: &Constant) -> Option<&str> {
    match value {
        Constant::Text(text) => Some(text),
        _ => None,
    }
}

/// Whether what is made passes; formats are taken from a list, and are not looked at again.
fn text_fits(text: &str, rules: &Constraints) -> bool {
    rules.rules.iter().all(|rule| {
        let number = whole(&rule.value).and_then(|n| usize::try_from(n).ok());
        let (chars, bytes) = (text.chars().count(), text.len());
        let listed = |text: &str| match &rule.value {
            Constant::List(list) => list.iter().filter_map(as_text).any(|one| one == text),
            _ => false,
        };
        let other = as_text(&rule.value).unwrap_or_default();
        match rule.name.as_str() {
            "const" => text == other,
            "len" => Some(chars) == number,
            "min_len" => number.is_some_and(|n| chars >= n),
            "max_len" => number.is_none_or(|n| chars <= n),
            "len_bytes" => Some(bytes) == number,
            "min_bytes" => number.is_some_and(|n| bytes >= n),
            "max_bytes" => number.is_none_or(|n| bytes <= n),
            "prefix" => text.starts_with(other),
            "suffix" => text.ends_with(other),
            "contains" => text.contains(other),
            "not_contains" => !text.contains(other),
            "in" => listed(text),
            "not_in" => !listed(text),
            "pattern" => translate_pattern(other)
                .and_then(|pattern| regex::Regex::new(&pattern).ok())
                .is_some_and(|pattern| pattern.is_match(text)),
            "email" => text.contains('@'),
            "hostname" | "address" => text.contains(".example.org"),
            "ip" | "ipv4" => text == "192.0.2.1",
            "ipv6" => text == "2001:db8::1",
            "host_and_port" => text.ends_with(":7777"),
            "uuid" => text.len() == 36 && text.starts_with("0190"),
            "tuuid" => text.len() == 32 && text.starts_with("0190"),
            "ulid" => text.len() == 26 && text.starts_with("01J"),
            _ => true,
        }
    })
}

/// A text that a regular expression matches, its repetitions `longer` than they need to be.
fn sample(pattern: &str, longer: u32) -> Option<String> {
    fn write(hir: &regex_syntax::hir::Hir, longer: u32, out: &mut String) -> Option<()> {
        use regex_syntax::hir::{Class, HirKind};
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => out.push_str(std::str::from_utf8(&literal.0).ok()?),
            HirKind::Class(Class::Unicode(class)) => {
                let has = |c: char| class.ranges().iter().any(|r| (r.start()..=r.end()).contains(&c));
                // Each another, so that what is made looks like a word.
                let nice: Vec<char> =
                    "abcdefghijkmnpqrstuvwxyzABC123 -_.ß".chars().filter(|c| has(*c)).collect();
                let first = class.ranges().first()?.start();
                out.push(nice.get(out.len() % nice.len().max(1)).copied().unwrap_or(first));
            }
            HirKind::Class(Class::Bytes(class)) => {
                out.push(char::from(class.ranges().first()?.start()));
            }
            HirKind::Repetition(repetition) => {
                let count = (repetition.min + longer).min(repetition.max.unwrap_or(u32::MAX));
                for _ in 0..count.min(200) {
                    write(&repetition.sub, longer, out)?;
                }
            }
            HirKind::Capture(capture) => write(&capture.sub, longer, out)?,
            HirKind::Concat(parts) => {
                for part in parts {
                    write(part, longer, out)?;
                }
            }
            HirKind::Alternation(parts) => write(parts.first()?, longer, out)?,
        }
        (out.len() <= 4096).then_some(())
    }
    let hir = regex_syntax::parse(&translate_pattern(pattern)?).ok()?;
    let mut out = String::new();
    write(&hir, longer, &mut out)?;
    Some(out)
}

fn bytes(rules: &Constraints, at: u64) -> Vec<u8> {
    fn as_bytes(value: &Constant) -> Option<&[u8]> {
        match value {
            Constant::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
    if let Some(bytes) = rules.rule("const").and_then(as_bytes) {
        return bytes.to_vec();
    }
    if let Some(Constant::List(list)) = rules.rule("in") {
        let skip = usize::try_from(at).unwrap_or(0) % list.len().max(1);
        return list.get(skip).and_then(as_bytes).unwrap_or_default().to_vec();
    }
    let is_on = |rule: &str| rules.rule(rule) == Some(&Constant::Bool(true));
    if is_on("uuid") || is_on("ipv6") {
        return vec![1; 16];
    }
    if is_on("ip") || is_on("ipv4") {
        return vec![192, 0, 2, 1];
    }
    let part = |name: &str| rules.rule(name).and_then(as_bytes).unwrap_or_default().to_vec();
    let length = |name: &str| rules.rule(name).and_then(whole).and_then(|n| usize::try_from(n).ok());
    let around = part("prefix").len() + part("contains").len() + part("suffix").len();
    let wanted = length("len").unwrap_or_else(|| {
        3.max(around).max(length("min_len").unwrap_or(0)).min(length("max_len").unwrap_or(usize::MAX))
    });
    let first = u8::try_from(at % 200).unwrap_or(0);
    let body =
        (0..wanted.saturating_sub(around).min(4096)).map(|i| first + u8::try_from(i % 50 + 1).unwrap_or(1));
    [part("prefix"), body.collect(), part("contains"), part("suffix")].concat()
}

impl Json {
    fn write(&self, level: usize, out: &mut String) {
        let line = |level: usize, out: &mut String| {
            out.push('\n');
            out.push_str(&"  ".repeat(level));
        };
        match self {
            Json::Bool(value) => out.push_str(&value.to_string()),
            Json::Number(number) => out.push_str(number),
            Json::Text(text) => quote(text, out),
            Json::List(list) if list.is_empty() => out.push_str("[]"),
            Json::List(list) => {
                out.push('[');
                for (at, value) in list.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    line(level + 1, out);
                    value.write(level + 1, out);
                }
                line(level, out);
                out.push(']');
            }
            Json::Object(members) if members.is_empty() => out.push_str("{}"),
            Json::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    line(level + 1, out);
                    quote(name, out);
                    out.push_str(": ");
                    value.write(level + 1, out);
                }
                line(level, out);
                out.push('}');
            }
        }
    }
}

/// Anything that a page could take for its own end is escaped too.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '<' | '>' | '&' | '`' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn samples_match() {
        for pattern in ["^[a-z]+\\d{2,3}$", "a|b", "^\\w+\\s\\S\\b", "(?i)^stra\\pL+e$", "^[^a-z]$", "x{3,}"]
        {
            let text = sample(pattern, 1).unwrap();
            assert!(
                regex::Regex::new(&translate_pattern(pattern).unwrap()).unwrap().is_match(&text),
                "{pattern}: {text}"
            );
        }
    }
}
