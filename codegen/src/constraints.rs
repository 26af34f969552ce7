//! Field constraints: the options of `buf/validate/validate.proto` that a schema has, as plain data.
//!
//! What is not in [`SUPPORTED`] is kept by name, for [`check`](mod@crate::check) to refuse it: nothing is passed over.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use crate::model::Location;

/// The rules that are enforced, by the kind of value that they are written under. Beside them: `required`, `ignore`,
/// `items`, `keys` and `values` of lists and maps, `required` of a oneof, and `oneof` of a message; `example`, which
/// asks for nothing. Numbers have the rules of `number`, and `float` and `double` have `finite` too.
pub const SUPPORTED: [(&str, &[&str]); 6] = [
    ("number", &["const", "lt", "lte", "gt", "gte", "in", "not_in"]),
    ("bool", &["const"]),
    (
        "string",
        &[
            "const",
            "len",
            "min_len",
            "max_len",
            "len_bytes",
            "min_bytes",
            "max_bytes",
            "pattern",
            "prefix",
            "suffix",
            "contains",
            "not_contains",
            "in",
            "not_in",
            "email",
            "hostname",
            "ip",
            "ipv4",
            "ipv6",
            "address",
            "host_and_port",
            "uuid",
            "tuuid",
            "ulid",
        ],
    ),
    (
        "bytes",
        &[
            "const", "len", "min_len", "max_len", "prefix", "suffix", "contains", "in", "not_in", "ip",
            "ipv4", "ipv6", "uuid",
        ],
    ),
    ("enum", &["const", "defined_only", "in", "not_in"]),
    // Those of a list and of a map.
    ("container", &["min_items", "max_items", "unique", "min_pairs", "max_pairs"]),
];

/// Most values of an `in` or a `not_in`.
pub const MAX_LISTED: usize = 1000;

/// How many of what is refused are kept of one field or message: a stranger may write more than anyone reads.
const MAX_REFUSED: usize = 4;

/// True where a rule of that kind is enforced.
fn is_supported(kind: &str, rule: &str) -> bool {
    let of = match kind {
        "bool" | "string" | "bytes" | "enum" => kind,
        "repeated" | "map" => "container",
        "float" | "double" if rule == "finite" => return true,
        "any" | "duration" | "timestamp" | "field_mask" => return false,
        _ => "number",
    };
    SUPPORTED.iter().any(|(name, rules)| *name == of && rules.contains(&rule))
}

/// What holds for one field, or for each item, key or value in it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Constraints {
    /// True where it must be set.
    pub required: bool,
    /// When the rules are passed over.
    pub ignore: Ignore,
    /// Under which name the rules are written: `string`, `int32`, `repeated`. Empty: there are none.
    pub kind: String,
    /// The rules, in the order of their numbers in `validate.proto`.
    pub rules: Vec<Rule>,
    /// Of the items of a list.
    pub items: Option<Box<Constraints>>,
    /// Of the keys of a map.
    pub keys: Option<Box<Constraints>>,
    /// Of the values of a map.
    pub values: Option<Box<Constraints>>,
    /// What is written and not supported, by name.
    pub refused: Vec<String>,
}

/// `buf.validate.Ignore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ignore {
    /// Where the field can be unset and is: `IGNORE_UNSPECIFIED`.
    #[default]
    Unset,
    /// Where it is unset or zero: `IGNORE_IF_ZERO_VALUE`.
    Zero,
    /// Always, and what is in it too: `IGNORE_ALWAYS`.
    Always,
}

/// One rule: `min_len: 3`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub value: Constant,
}

/// A value that a rule names. Enums are numbers, a `float` is the `double` of the same value.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "named by what they hold")]
pub enum Constant {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Constant>),
}

/// What holds for a message beside its fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MessageConstraints {
    /// `(buf.validate.message).oneof`, in the order written.
    pub oneofs: Vec<OneofRule>,
    /// Names of its oneofs that are `(buf.validate.oneof).required`.
    pub required: Vec<String>,
    /// What is written and not supported, by name.
    pub refused: Vec<String>,
}

/// Fields of which at most one may be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneofRule {
    /// Their names.
    pub fields: Vec<String>,
    /// True where one must be.
    pub required: bool,
}

/// Constraints and the place of the field that has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// What holds.
    pub constraints: Constraints,
    /// Where it is written.
    pub location: Location,
}

impl Constraints {
    /// True where nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Constraints::default()
    }

    /// The value of the rule of that name.
    pub fn rule(&self, name: &str) -> Option<&Constant> {
        self.rules.iter().find(|rule| rule.name == name).map(|rule| &rule.value)
    }

    /// Those of a `buf.validate.FieldRules`.
    pub(crate) fn of(rules: &DynamicMessage) -> Self {
        let mut found = Constraints::default();
        for (field, value) in rules.fields() {
            match (field.name(), value) {
                ("required", Value::Bool(required)) => found.required = *required,
                ("ignore", Value::EnumNumber(0)) => {}
                ("ignore", Value::EnumNumber(1)) => found.ignore = Ignore::Zero,
                ("ignore", Value::EnumNumber(3)) => found.ignore = Ignore::Always,
                ("ignore", Value::EnumNumber(other)) => found.refused.push(format!("ignore = {other}")),
                ("cel" | "cel_expression", _) => found.refused.push(field.name().to_string()),
                (kind, Value::Message(inner)) => {
                    found.kind = kind.to_string();
                    found.of_kind(inner);
                }
                (other, _) => found.refused.push(other.to_string()),
            }
        }
        found.refused.extend(unknown(rules, ""));
        found.refused.truncate(MAX_REFUSED);
        found
    }

    fn of_kind(&mut self, rules: &DynamicMessage) {
        let kind = self.kind.clone();
        for (field, value) in rules.fields() {
            let name = field.name();
            match (kind.as_str(), name, value) {
                ("repeated", "items", Value::Message(inner)) => self.items = Some(Box::new(Self::of(inner))),
                ("map", "keys", Value::Message(inner)) => self.keys = Some(Box::new(Self::of(inner))),
                ("map", "values", Value::Message(inner)) => self.values = Some(Box::new(Self::of(inner))),
                (_, "example", _) => {}
                _ if !is_supported(&kind, name) => self.refused.push(format!("{kind}.{name}")),
                _ => match constant(value) {
                    // A rule that is turned off, as by `unique = false`, asks for nothing.
                    Some(Constant::Bool(false)) if name != "const" => {}
                    Some(Constant::List(list)) if list.len() > MAX_LISTED => {
                        self.refused.push(format!("{kind}.{name} of more than {MAX_LISTED} values"));
                    }
                    Some(value) => self.rules.push(Rule { name: name.to_string(), value }),
                    None => self.refused.push(format!("{kind}.{name}")),
                },
            }
        }
        self.refused.extend(unknown(rules, &format!("{kind}.")));
    }
}

impl MessageConstraints {
    /// True where nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == MessageConstraints::default()
    }

    /// Those of a `buf.validate.MessageRules`.
    pub(crate) fn add_message(&mut self, rules: &DynamicMessage) {
        for (field, value) in rules.fields() {
            match (field.name(), value) {
                ("oneof", Value::List(list)) => {
                    for rule in list.iter().filter_map(Value::as_message) {
                        self.add_rule(rule);
                    }
                }
                (other, _) => self.refused.push(other.to_string()),
            }
        }
        self.refused.extend(unknown(rules, ""));
        self.refused.truncate(MAX_REFUSED);
    }

    fn add_rule(&mut self, rule: &DynamicMessage) {
        let fields = names(rule);
        // They are listed and shown: nothing else may be in them.
        if fields.iter().any(|name| !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')) {
            self.refused.push("oneof with what is no name".to_string());
            return;
        }
        let required = rule.get_field_by_name("required").is_some_and(|v| v.as_bool() == Some(true));
        self.oneofs.push(OneofRule { fields, required });
        self.refused.extend(unknown(rule, "oneof."));
    }

    /// Those of a `buf.validate.OneofRules`, of the oneof `name`.
    pub(crate) fn add_oneof(&mut self, name: &str, rules: &DynamicMessage) {
        if rules.get_field_by_name("required").is_some_and(|v| v.as_bool() == Some(true)) {
            self.required.push(name.to_string());
        }
        self.refused.extend(unknown(rules, &format!("{name}: ")));
    }
}

fn names(rule: &DynamicMessage) -> Vec<String> {
    let fields = rule.get_field_by_name("fields");
    let list = fields.as_ref().and_then(|value| value.as_list()).unwrap_or_default();
    list.iter().filter_map(|name| name.as_str().map(str::to_string)).collect()
}

/// Rules of a schema's own, and those that a newer `validate.proto` has.
fn unknown(rules: &DynamicMessage, before: &str) -> Vec<String> {
    let extensions = rules.extensions().map(|(one, _)| format!("{before}[{}]", one.full_name()));
    let numbers = rules
        .unknown_fields()
        .map(|field| format!("{before}field {} of {}", field.number(), rules.descriptor().full_name()));
    extensions.chain(numbers).collect()
}

fn constant(value: &Value) -> Option<Constant> {
    Some(match value {
        Value::Bool(value) => Constant::Bool(*value),
        Value::I32(value) | Value::EnumNumber(value) => Constant::Int((*value).into()),
        Value::I64(value) => Constant::Int(*value),
        Value::U32(value) => Constant::Uint((*value).into()),
        Value::U64(value) => Constant::Uint(*value),
        Value::F32(value) => Constant::Float((*value).into()),
        Value::F64(value) => Constant::Float(*value),
        Value::String(value) => Constant::Text(value.clone()),
        Value::Bytes(value) => Constant::Bytes(value.to_vec()),
        Value::List(list) => Constant::List(list.iter().map(constant).collect::<Option<_>>()?),
        Value::Message(_) | Value::Map(_) => return None,
    })
}
