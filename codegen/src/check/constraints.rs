//! Whether the constraints of a schema can be enforced, and make sense.

use std::collections::HashSet;

use super::Check;
use super::pattern;
use crate::constraints::{Constant, Constraints, Ignore};
use crate::model::{Field, Kind, Label, Location, Message};

/// How a finding names what it speaks of: `game.v1.Chat.text`, and within it `repeated.items.`.
#[derive(Clone, Copy)]
struct At<'a> {
    place: &'a str,
    location: &'a Location,
    before: &'a str,
}

impl Check<'_> {
    pub(super) fn constraints(&mut self, message: &Message) {
        for rule in &message.constraints.refused {
            self.unsupported(&message.location, &message.full_name, rule);
        }
        self.oneof_rules(message);
        for field in &message.fields {
            self.type_of(message, field);
            let Some(placed) = &field.constraints else { continue };
            let place = format!("{}.{}", message.full_name, field.name);
            let at = At { place: &place, location: &placed.location, before: "" };
            self.value(at, &placed.constraints, self.kind_of(field));
        }
    }

    /// No code is printed for the messages that rules are written with.
    fn type_of(&mut self, message: &Message, field: &Field) {
        let (Kind::Message(name) | Kind::Enum(name)) = &field.kind else { return };
        if name.starts_with("buf.validate.") {
            self.find(
                &message.location,
                format!("{}.{} is a {name}, which is for options only", message.full_name, field.name),
                "write a message of your own".to_string(),
            );
        }
    }

    fn unsupported(&mut self, location: &Location, place: &str, rule: &str) {
        self.find(
            location,
            format!("{place} has the rule `{rule}`, which is not enforced here; other tools would enforce it"),
            "remove it, or use the rules in docs/guides/validation.md; what they cannot say, the game's code must"
                .to_string(),
        );
    }

    fn oneof_rules(&mut self, message: &Message) {
        let names: HashSet<&str> = message.fields.iter().map(|f| f.name.as_str()).collect();
        for rule in &message.constraints.oneofs {
            let mut seen = HashSet::new();
            for name in &rule.fields {
                let what = match names.contains(name.as_str()) {
                    true if seen.insert(name) => continue,
                    true => format!("names {name} twice"),
                    false => format!("names {name}, which is no field of it"),
                };
                self.find(
                    &message.location,
                    format!("{} has a rule `oneof` that {what}", message.full_name),
                    "write each field once, by its name in the message".to_string(),
                );
                break;
            }
            if rule.fields.is_empty() {
                self.find(
                    &message.location,
                    format!("{} has a rule `oneof` without fields", message.full_name),
                    "write which: `oneof: { fields: [\"a\", \"b\"] }`".to_string(),
                );
            }
        }
    }

    /// Under which name the rules of a field are written.
    fn kind_of(&self, field: &Field) -> Expected {
        match field.label {
            Label::Repeated => Expected::List(single(&field.kind)),
            Label::Map => {
                let Kind::Message(entry) = &field.kind else { return Expected::Single(None) };
                let part = |number| {
                    let entry = self.messages.get(entry.as_str());
                    let part = entry.and_then(|e| e.fields.iter().find(|f| f.number == number));
                    part.and_then(|f| single(&f.kind))
                };
                Expected::Map(part(1), part(2))
            }
            _ => Expected::Single(single(&field.kind)),
        }
    }

    fn value(&mut self, at: At<'_>, of: &Constraints, expected: Expected) {
        let At { place, location, before } = at;
        for rule in &of.refused {
            self.unsupported(location, place, &format!("{before}{rule}"));
        }
        let fits = match expected {
            Expected::Single(kind) => kind,
            Expected::List(_) => Some("repeated"),
            Expected::Map(..) => Some("map"),
        };
        if !of.kind.is_empty() && fits != Some(of.kind.as_str()) {
            let (what, fix) = match fits {
                Some(fits) => ("which are for another type", format!("write them as `{before}{fits}`")),
                // What is wrong with those of Timestamp and the like has been said, rule by rule.
                None if !of.refused.is_empty() => return,
                None => (
                    "which are not enforced for messages",
                    "remove them: only a message's own fields have rules; write `optional` instead of a wrapper such \
                     as StringValue"
                        .to_string(),
                ),
            };
            self.find(location, format!("{place} has rules `{before}{}`, {what}", of.kind), fix);
            return;
        }
        if !before.is_empty() && of.required {
            self.find(
                location,
                format!("{place} has the rule `{before}required`, which asks for nothing there"),
                "remove it, or write a rule such as `min_len: 1`".to_string(),
            );
        }
        self.contradictions(at, of);
        self.patterns(at, of);
        let (item, key, value) = match expected {
            Expected::List(item) => (item, None, None),
            Expected::Map(key, value) => (None, key, value),
            Expected::Single(_) => (None, None, None),
        };
        if of.rule("unique").is_some() && item.is_none() {
            self.find(
                location,
                format!("{place} has the rule `repeated.unique`, which is not for messages"),
                "remove it; the game's code can compare them".to_string(),
            );
        }
        for (name, inner, kind) in
            [("items", &of.items, item), ("keys", &of.keys, key), ("values", &of.values, value)]
        {
            if let Some(inner) = inner {
                let before = format!("{}.{name}.", of.kind);
                self.part(At { place, location, before: &before }, inner, kind);
            }
        }
    }

    fn part(&mut self, at: At<'_>, of: &Constraints, kind: Option<&'static str>) {
        if kind.is_none() && of.ignore != Ignore::Unset {
            self.find(
                at.location,
                format!("{} has the rule `{}ignore`, which is not for messages", at.place, at.before),
                "remove it, or write `ignore: IGNORE_ALWAYS` for the field".to_string(),
            );
        }
        self.value(at, of, Expected::Single(kind));
    }

    /// Rules that no value can keep.
    fn contradictions(&mut self, at: At<'_>, of: &Constraints) {
        let number = |name: &str| match of.rule(name) {
            Some(Constant::Uint(n)) => Some(*n),
            _ => None,
        };
        for (low, high) in [
            ("min_len", "max_len"),
            ("min_len", "len"),
            ("len", "max_len"),
            ("min_bytes", "max_bytes"),
            ("min_bytes", "len_bytes"),
            ("len_bytes", "max_bytes"),
            ("min_items", "max_items"),
            ("min_pairs", "max_pairs"),
        ] {
            if let (Some(a), Some(b)) = (number(low), number(high))
                && a > b
            {
                self.find(
                    at.location,
                    format!(
                        "{} has `{}{kind}.{low}` {a} and `{kind}.{high}` {b}; nothing can be both",
                        at.place,
                        at.before,
                        kind = of.kind
                    ),
                    format!("write a `{low}` that is not above `{high}`"),
                );
            }
        }
        for rule in &of.rules {
            let not_a_number = |c: &Constant| matches!(c, Constant::Float(value) if value.is_nan());
            let has = match &rule.value {
                Constant::List(list) => list.iter().any(not_a_number),
                value => not_a_number(value),
            };
            if has {
                self.find(
                    at.location,
                    format!("{} has the rule `{}{}.{}` with nan", at.place, at.before, of.kind, rule.name),
                    "write a number; `finite: true` keeps nan out".to_string(),
                );
            }
        }
    }

    fn patterns(&mut self, at: At<'_>, of: &Constraints) {
        let Some(Constant::Text(text)) = of.rule("pattern") else { return };
        if let Err((what, fix)) = pattern::translate(text) {
            self.find(
                at.location,
                format!("{} has the rule `{}string.pattern`: {what}", at.place, at.before),
                fix,
            );
        }
    }
}

/// The kinds of rules that a field can have; `None` where it can have none, as a message.
#[derive(Clone, Copy)]
enum Expected {
    Single(Option<&'static str>),
    List(Option<&'static str>),
    Map(Option<&'static str>, Option<&'static str>),
}

fn single(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Scalar(name) => Some(name),
        Kind::Enum(_) => Some("enum"),
        Kind::Message(_) => None,
    }
}
