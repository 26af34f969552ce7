//! The constraints of a schema that is read when the server starts, held against messages without types.

use std::borrow::Cow;
use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage, Value as Dynamic};
use tagwire::validate::{
    Constant, FieldRules, Ignore, Listed, Pattern, Rule, Rules, Value, Violation, at_most_one,
};
use tagwire_codegen::check::translate_pattern;
use tagwire_codegen::constraints::{self, Constraints, MessageConstraints};
use tagwire_codegen::model::{Field, Kind, Label, Model, Origin};

/// What is to be checked of each message of a schema, by full name; one that is not there has nothing.
pub(crate) struct Constrained(HashMap<String, Message>);

struct Message {
    own: MessageConstraints,
    fields: Vec<Checked>,
}

struct Checked {
    number: u32,
    rules: Option<FieldRules>,
    /// True where the messages in it are judged too.
    nested: bool,
}

impl Constrained {
    /// Of a model that passed its checks.
    pub(crate) fn of(model: &Model) -> Self {
        let game = model.messages.iter().filter(|m| m.origin == Origin::Game && !m.map_entry);
        let messages = game.map(|message| {
            let fields = message.fields.iter().filter_map(|field| {
                let placed = field.constraints.as_ref().map(|placed| &placed.constraints);
                if placed.is_some_and(|of| of.ignore == constraints::Ignore::Always) {
                    return None;
                }
                let in_oneof = message.constraints.oneofs.iter().any(|o| o.fields.contains(&field.name));
                let rules = placed.map(|of| field_rules(model, field, of, in_oneof));
                let nested = matches!(field.kind, Kind::Message(_));
                (nested || rules.is_some()).then_some(Checked { number: field.number, rules, nested })
            });
            let message_rules = message.constraints.clone();
            (message.full_name.clone(), Message { own: message_rules, fields: fields.collect() })
        });
        Constrained(messages.collect())
    }

    /// Judges a message and what is in it. As deep as it is nested, which decoding has bounded.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn check(&self, message: &DynamicMessage) -> Result<(), Violation> {
        let descriptor = message.descriptor();
        let Some(rules) = self.0.get(descriptor.full_name()) else { return Ok(()) };
        for rule in &rules.own.oneofs {
            let set = rule.fields.iter().filter(|name| message.has_field_by_name(name)).count();
            at_most_one(&rule.fields.join(", "), set, rule.required)?;
        }
        for name in &rules.own.required {
            let mut oneof = descriptor.oneofs().filter(|oneof| oneof.name() == name);
            if !oneof.any(|oneof| oneof.fields().any(|field| message.has_field(&field))) {
                return Err(Violation::oneof_required(name));
            }
        }
        for checked in &rules.fields {
            let Some(field) = descriptor.get_field(checked.number) else { continue };
            if let Some(rules) = &checked.rules {
                own(message, &field, rules)?;
            }
            if checked.nested {
                self.nested(message, &field)?;
            }
        }
        Ok(())
    }

    fn nested(&self, message: &DynamicMessage, field: &FieldDescriptor) -> Result<(), Violation> {
        if !message.has_field(field) {
            return Ok(());
        }
        let name = field.name();
        match message.get_field(field).as_ref() {
            Dynamic::Message(inner) => self.check(inner).map_err(|broken| broken.inside(name)),
            Dynamic::List(list) => list.iter().enumerate().try_for_each(|(index, inner)| match inner {
                Dynamic::Message(inner) => self.check(inner).map_err(|broken| broken.at_index(name, index)),
                _ => Ok(()),
            }),
            Dynamic::Map(map) => map.iter().try_for_each(|(key, inner)| match inner {
                Dynamic::Message(inner) => {
                    self.check(inner).map_err(|broken| broken.at_key(name, self::key(key)))
                }
                _ => Ok(()),
            }),
            _ => Ok(()),
        }
    }
}

/// Holds a field against its own rules.
fn own(message: &DynamicMessage, field: &FieldDescriptor, rules: &FieldRules) -> Result<(), Violation> {
    let value = message.get_field(field);
    match value.as_ref() {
        Dynamic::List(list) => rules.list(list.len(), list.iter().filter_map(self::value)),
        Dynamic::Map(map) => {
            rules.map(map.len(), map.iter().map(|(key, value)| (self::key(key), self::value(value))))
        }
        Dynamic::Message(_) => rules.present(message.has_field(field)),
        one if field.supports_presence() => {
            let set = message.has_field(field);
            rules.optional(self::value(one).filter(|_| set))
        }
        one => self::value(one).map_or(Ok(()), |one| rules.plain(one)),
    }
}

/// `None`: a message.
fn value(value: &Dynamic) -> Option<Value<'_>> {
    Some(match value {
        Dynamic::Bool(value) => (*value).into(),
        Dynamic::I32(value) | Dynamic::EnumNumber(value) => (*value).into(),
        Dynamic::I64(value) => (*value).into(),
        Dynamic::U32(value) => (*value).into(),
        Dynamic::U64(value) => (*value).into(),
        Dynamic::F32(value) => (*value).into(),
        Dynamic::F64(value) => (*value).into(),
        Dynamic::String(value) => value.into(),
        Dynamic::Bytes(value) => value.into(),
        Dynamic::Message(_) | Dynamic::List(_) | Dynamic::Map(_) => return None,
    })
}

fn key(key: &MapKey) -> Value<'_> {
    match key {
        MapKey::Bool(key) => (*key).into(),
        MapKey::I32(key) => (*key).into(),
        MapKey::I64(key) => (*key).into(),
        MapKey::U32(key) => (*key).into(),
        MapKey::U64(key) => (*key).into(),
        MapKey::String(key) => key.into(),
    }
}

/// The rules of a field, as generated code has them.
fn field_rules(model: &Model, field: &Field, of: &Constraints, in_oneof: bool) -> FieldRules {
    let part = |part: &Option<Box<Constraints>>, field: Option<&Field>| match part {
        Some(of) if of.ignore != constraints::Ignore::Always => (ignore(of.ignore), rules(model, field, of)),
        _ => (Ignore::Unset, Rules::NONE),
    };
    let entry = |number: u32| {
        let Kind::Message(name) = &field.kind else { return None };
        model.message(name)?.fields.iter().find(|f| f.number == number)
    };
    let (items, keys) = match field.label {
        Label::Map => (part(&of.values, entry(2)), part(&of.keys, entry(1))),
        _ => (part(&of.items, Some(field)), (Ignore::Unset, Rules::NONE)),
    };
    FieldRules {
        name: Cow::Owned(field.name.clone()),
        required: of.required,
        ignore: if in_oneof { Ignore::Zero } else { ignore(of.ignore) },
        own: rules(model, Some(field), of),
        items,
        keys,
    }
}

fn ignore(ignore: constraints::Ignore) -> Ignore {
    match ignore {
        constraints::Ignore::Zero => Ignore::Zero,
        constraints::Ignore::Unset | constraints::Ignore::Always => Ignore::Unset,
    }
}

fn rules(model: &Model, field: Option<&Field>, of: &Constraints) -> Rules {
    let numbers = || match field.map(|f| &f.kind) {
        Some(Kind::Enum(name)) => {
            model.enums.iter().find(|e| e.full_name == *name).map(|e| e.numbers()).unwrap_or_default()
        }
        _ => vec![],
    };
    let rules = of.rules.iter().map(|one| rule(one, &numbers));
    Rules { kind: Cow::Owned(of.kind.clone()), rules: rules.collect() }
}

/// A rule that the checks let through, and this does not know, would be a mistake here: it is not passed over.
fn rule(rule: &constraints::Rule, numbers: &dyn Fn() -> Vec<i32>) -> Rule {
    use constraints::Constant as Written;
    match (rule.name.as_str(), &rule.value) {
        ("const", value) => Rule::Const(constant(value)),
        ("in", Written::List(list)) => Rule::In(listed(list)),
        ("not_in", Written::List(list)) => Rule::NotIn(listed(list)),
        ("lt", value) => Rule::Lt(constant(value)),
        ("lte", value) => Rule::Lte(constant(value)),
        ("gt", value) => Rule::Gt(constant(value)),
        ("gte", value) => Rule::Gte(constant(value)),
        ("finite", _) => Rule::Finite,
        ("len", Written::Uint(n)) => Rule::Len(*n),
        ("min_len", Written::Uint(n)) => Rule::MinLen(*n),
        ("max_len", Written::Uint(n)) => Rule::MaxLen(*n),
        ("len_bytes", Written::Uint(n)) => Rule::LenBytes(*n),
        ("min_bytes", Written::Uint(n)) => Rule::MinBytes(*n),
        ("max_bytes", Written::Uint(n)) => Rule::MaxBytes(*n),
        ("pattern", Written::Text(text)) => {
            let text = translate_pattern(text).expect("the checks have let it through");
            Rule::Pattern(Pattern::new(&text))
        }
        ("prefix", value) => Rule::Prefix(constant(value)),
        ("suffix", value) => Rule::Suffix(constant(value)),
        ("contains", value) => Rule::Contains(constant(value)),
        ("not_contains", value) => Rule::NotContains(constant(value)),
        ("email", _) => Rule::Email,
        ("hostname", _) => Rule::Hostname,
        ("ip", _) => Rule::Ip,
        ("ipv4", _) => Rule::Ipv4,
        ("ipv6", _) => Rule::Ipv6,
        ("address", _) => Rule::Address,
        ("host_and_port", _) => Rule::HostAndPort,
        ("uuid", _) => Rule::Uuid,
        ("tuuid", _) => Rule::Tuuid,
        ("ulid", _) => Rule::Ulid,
        ("defined_only", _) => Rule::DefinedOnly(numbers()),
        ("min_items", Written::Uint(n)) => Rule::MinItems(*n),
        ("max_items", Written::Uint(n)) => Rule::MaxItems(*n),
        ("unique", _) => Rule::Unique,
        ("min_pairs", Written::Uint(n)) => Rule::MinPairs(*n),
        ("max_pairs", Written::Uint(n)) => Rule::MaxPairs(*n),
        (name, value) => unreachable!("the rule {name} {value:?} passed the checks"),
    }
}

fn listed(list: &[constraints::Constant]) -> Listed {
    list.iter().map(constant).collect::<Vec<_>>().into()
}

fn constant(value: &constraints::Constant) -> Constant {
    use constraints::Constant as Written;
    match value {
        Written::Bool(value) => Constant::Bool(*value),
        Written::Int(value) => Constant::Int(*value),
        Written::Uint(value) => Constant::Uint(*value),
        Written::Float(value) => Constant::Float(*value),
        Written::Text(value) => Constant::Text(value.clone()),
        Written::Bytes(value) => Constant::Bytes(value.clone()),
        Written::List(_) => unreachable!("lists hold no lists"),
    }
}
