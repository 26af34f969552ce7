//! Field constraints at run time: the standard rules of `buf.validate` (protovalidate.com/reference/rules), as the
//! generator prints them for compiled types and as a server builds them for a schema that it reads when it starts.
//!
//! A value is judged where it lies, right after its message was decoded; the first broken rule ends it, so that what
//! a peer sends cannot make a long report. Time is linear in the message: patterns run in the crate `regex`, which
//! never backtracks, and lists are searched for doubles by hash. Which rules there are is said in one table of the
//! generator (`tagwire_codegen::constraints::SUPPORTED`); others never get here.

mod format;
mod rule;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

pub use rule::{Constant, Listed, MAX_PATTERN_BYTES, Pattern, Rule, Rules, Value};

/// A message whose schema has constraints. Printed by the generator.
pub trait Validate {
    /// Judges it, and what is in it.
    ///
    /// # Errors
    /// The first rule that is broken.
    fn validate(&self) -> Result<(), Violation>;
}

impl<T: Validate> Validate for Box<T> {
    fn validate(&self) -> Result<(), Violation> {
        (**self).validate()
    }
}

/// A broken rule: shown as `players[2].name: string.min_len: must be at least 3 characters`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    path: String,
    rule: String,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { path, rule, text } = self;
        match path.as_str() {
            "" => write!(f, "{rule}: {text}"),
            path => write!(f, "{path}: {rule}: {text}"),
        }
    }
}

/// Longest key of a map in a path, characters; the rest of a longer one is left out.
const MAX_SHOWN_KEY: usize = 64;

impl Violation {
    /// One of the field, or oneof, `name`. An empty name: of the message as a whole.
    pub fn new(name: &str, rule: impl Into<String>, text: impl Into<String>) -> Self {
        Violation { path: name.to_string(), rule: rule.into(), text: text.into() }
    }

    /// `required`, of the oneof `name`.
    pub fn oneof_required(name: &str) -> Self {
        Violation::new(name, "required", "exactly one field is required in oneof")
    }

    /// Where, from the message that was judged: `players[2].name`, `scores["red"]`. Empty: the message as a whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The rule's id as protovalidate has it: `string.min_len`, `required`, `message.oneof`.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The same, of a message in the field `name`.
    #[must_use]
    pub fn inside(self, name: &str) -> Self {
        self.before(name)
    }

    /// The same, of the item at `index` of the list `name`.
    #[must_use]
    pub fn at_index(self, name: &str, index: usize) -> Self {
        self.before(&format!("{name}[{index}]"))
    }

    /// The same, of what the map `name` has for `key`.
    #[must_use]
    pub fn at_key(self, name: &str, key: Value<'_>) -> Self {
        self.before(&match key {
            Value::Text(key) => {
                let mut shown: String =
                    key.chars().take(MAX_SHOWN_KEY).flat_map(char::escape_debug).collect();
                if key.chars().nth(MAX_SHOWN_KEY).is_some() {
                    shown += "...";
                }
                format!("{name}[\"{shown}\"]")
            }
            key => format!("{name}[{key}]"),
        })
    }

    fn before(self, element: &str) -> Self {
        let path = match self.path.as_str() {
            "" => element.to_string(),
            // A list's or a map's own rule inside of it: `[2]` has no dot before it.
            path if path.starts_with('[') => format!("{element}{path}"),
            path => format!("{element}.{path}"),
        };
        Violation { path, ..self }
    }
}

/// When the rules of a value are passed over: `buf.validate.Ignore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ignore {
    /// Where the field can be unset and is: `IGNORE_UNSPECIFIED`.
    #[default]
    Unset,
    /// Where it is unset or holds its type's zero: `IGNORE_IF_ZERO_VALUE`.
    Zero,
}

/// What holds for one field.
#[derive(Debug, Clone)]
pub struct FieldRules {
    /// Its name.
    pub name: Cow<'static, str>,
    /// True where it must be set: not unset, and not zero where unset cannot be told from it.
    pub required: bool,
    /// When the rest is passed over.
    pub ignore: Ignore,
    /// Rules of the value, the list or the map.
    pub own: Rules,
    /// Rules of each item of a list, or each value of a map, and when they are passed over.
    pub items: (Ignore, Rules),
    /// The same for the keys of a map.
    pub keys: (Ignore, Rules),
}

impl FieldRules {
    /// Judges a field whose type cannot tell unset from zero.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn plain<'a>(&self, value: impl Into<Value<'a>>) -> Result<(), Violation> {
        let value = value.into();
        if value.is_zero() {
            self.unset()?;
            if self.ignore == Ignore::Zero {
                return Ok(());
            }
        }
        self.own.check(value).map_err(|broken| broken.inside(&self.name))
    }

    /// Judges a field that may be unset: `optional`, or a member of a oneof.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn optional<'a>(&self, value: Option<impl Into<Value<'a>>>) -> Result<(), Violation> {
        match value {
            None => self.unset(),
            Some(value) => self.own.check(value.into()).map_err(|broken| broken.inside(&self.name)),
        }
    }

    /// Judges whether a message is there.
    ///
    /// # Errors
    /// `required`.
    pub fn present(&self, is: bool) -> Result<(), Violation> {
        if is { Ok(()) } else { self.unset() }
    }

    /// Judges a list of `length` items. Without rules for items their values are not looked at.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn list<'a>(
        &self,
        length: usize,
        items: impl Iterator<Item = Value<'a>> + Clone,
    ) -> Result<(), Violation> {
        if self.passes_over(length)? {
            return Ok(());
        }
        self.own
            .check_length(length)
            .and_then(|()| match self.own.unique() && !all_differ(items.clone()) {
                true => Err(self.own.broken("unique", "repeated value must contain unique items")),
                false => Ok(()),
            })
            .map_err(|broken| broken.inside(&self.name))?;
        if self.items.1.is_empty() {
            return Ok(());
        }
        for (index, item) in items.enumerate() {
            check_part(&self.items, item).map_err(|broken| broken.at_index(&self.name, index))?;
        }
        Ok(())
    }

    /// Judges a map of `length` entries. Messages as values are not judged here: for them
    /// `None` stands in.
    ///
    /// # Errors
    /// The first rule that it breaks; which of several entries is first is left to the map.
    pub fn map<'a>(
        &self,
        length: usize,
        entries: impl Iterator<Item = (Value<'a>, Option<Value<'a>>)>,
    ) -> Result<(), Violation> {
        if self.passes_over(length)? {
            return Ok(());
        }
        self.own.check_length(length).map_err(|broken| broken.inside(&self.name))?;
        for (key, value) in entries {
            value
                .map_or(Ok(()), |value| check_part(&self.items, value))
                .and_then(|()| check_part(&self.keys, key))
                .map_err(|broken| broken.at_key(&self.name, key))?;
        }
        Ok(())
    }

    fn passes_over(&self, length: usize) -> Result<bool, Violation> {
        if length == 0 {
            self.unset()?;
        }
        Ok(length == 0 && self.ignore == Ignore::Zero)
    }

    fn unset(&self) -> Result<(), Violation> {
        match self.required {
            true => Err(Violation::new(&self.name, "required", "value is required")),
            false => Ok(()),
        }
    }
}

fn check_part((ignore, rules): &(Ignore, Rules), value: Value<'_>) -> Result<(), Violation> {
    match *ignore == Ignore::Zero && value.is_zero() {
        true => Ok(()),
        false => rules.check(value),
    }
}

/// `message.oneof`: of the fields `names`, `set` are set.
///
/// # Errors
/// More than one is, or none of a required one.
pub fn at_most_one(names: &str, set: usize, required: bool) -> Result<(), Violation> {
    match set {
        0 if required => Err(Violation::new("", "message.oneof", format!("one of {names} must be set"))),
        0 | 1 => Ok(()),
        _ => Err(Violation::new("", "message.oneof", format!("only one of {names} can be set"))),
    }
}

/// Equal as in CEL: 0 is -0, and NaN is not itself.
fn all_differ<'a>(items: impl Iterator<Item = Value<'a>>) -> bool {
    let (mut numbers, mut bytes) = (HashSet::new(), HashSet::new());
    for item in items {
        let new = match item {
            Value::Text(value) => bytes.insert(value.as_bytes()),
            Value::Bytes(value) => bytes.insert(value),
            _ => item.number().is_none_or(|number| numbers.insert(number)),
        };
        if !new {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_from_the_outside() {
        let broken = Violation::new("name", "string.min_len", "must be at least 3 characters");
        let broken = broken.at_index("players", 2).at_key("rooms", Value::Text("a\"b")).inside("world");
        assert_eq!(
            broken.to_string(),
            "world.rooms[\"a\\\"b\"].players[2].name: string.min_len: must be at least 3 characters"
        );
    }

    #[test]
    fn a_long_key_is_cut() {
        let key = "ü".repeat(10_000);
        let broken = Violation::new("", "string.len", "").at_key("m", Value::Text(&key));
        assert_eq!(broken.path().chars().count(), MAX_SHOWN_KEY + "m[\"...\"]".len());
    }

    #[test]
    fn zero_is_minus_zero_and_nan_is_not_itself() {
        let floats = |values: &'static [f64]| all_differ(values.iter().map(|v| Value::Float(*v)));
        assert!(!floats(&[0.0, -0.0]));
        assert!(floats(&[f64::NAN, f64::NAN]));
        assert!(!floats(&[1.5, 2.0, 1.5]));
    }
}
