//! Prints the checks of constraints: tables of rules, and the fields that are held against them.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use heck::{ToSnakeCase, ToUpperCamelCase};

use super::{keyword, path, type_name};
use crate::check::pattern;
use crate::constraints::{Constant, Constraints, Ignore, Rule};
use crate::error::Error;
use crate::model::{Enum, Field, Kind, Label, Message, Model, Origin};

/// Which messages have something to check, in them or in what they hold.
pub(super) struct Checked<'a> {
    messages: HashMap<&'a str, &'a Message>,
    enums: HashMap<&'a str, &'a Enum>,
    names: HashSet<&'a str>,
}

impl<'a> Checked<'a> {
    pub(super) fn of(model: &'a Model) -> Self {
        let game = || model.messages.iter().filter(|m| m.origin == Origin::Game);
        let mut checked = Checked {
            messages: game().map(|m| (m.full_name.as_str(), m)).collect(),
            enums: model.enums.iter().map(|e| (e.full_name.as_str(), e)).collect(),
            names: HashSet::new(),
        };
        let own = |m: &Message| !m.constraints.is_empty() || m.fields.iter().any(|f| rules(f).is_some());
        checked.names.extend(game().filter(|m| !m.map_entry && own(m)).map(|m| m.full_name.as_str()));
        // Until no more messages hold one of those.
        loop {
            let holds = |m: &Message| m.fields.iter().any(|f| checked.nested(f).is_some());
            let more: Vec<&str> = game()
                .filter(|m| !m.map_entry && !checked.names.contains(m.full_name.as_str()) && holds(m))
                .map(|m| m.full_name.as_str())
                .collect();
            if more.is_empty() {
                return checked;
            }
            checked.names.extend(more);
        }
    }

    pub(super) fn contains(&self, full_name: &str) -> bool {
        self.names.contains(full_name)
    }

    /// The message in a field, list or map that has something to check.
    fn nested(&self, field: &'a Field) -> Option<&'a str> {
        if rules(field).is_some_and(|of| of.ignore == Ignore::Always) {
            return None;
        }
        let name = match (&field.kind, field.label) {
            (Kind::Message(_), Label::Map) => match &self.entry(field, 2)?.kind {
                Kind::Message(name) => name,
                _ => return None,
            },
            (Kind::Message(name), _) => name,
            _ => return None,
        };
        self.names.get(name.as_str()).copied()
    }

    /// Key (1) or value (2) of a map.
    fn entry(&self, field: &Field, number: u32) -> Option<&'a Field> {
        let Kind::Message(name) = &field.kind else { return None };
        self.messages.get(name.as_str())?.fields.iter().find(|f| f.number == number)
    }

    /// The trait for a message that has something to check.
    pub(super) fn print(&self, message: &'a Message, out: &mut String) -> Result<(), Error> {
        let (mut tables, mut body) = (String::new(), String::new());
        for rule in &message.constraints.oneofs {
            let set = rule.fields.iter().filter_map(|name| {
                let field = message.fields.iter().find(|f| f.name == *name)?;
                Some(format!("usize::from({})", is_set(message, field)))
            });
            put(
                &mut body,
                2,
                format_args!(
                    "::tagwire::validate::at_most_one({:?}, {}, {})?;",
                    rule.fields.join(", "),
                    set.collect::<Vec<_>>().join(" + "),
                    rule.required
                ),
            );
        }
        for name in &message.constraints.required {
            let ident = keyword(name.to_snake_case());
            put(&mut body, 2, format_args!("if self.{ident}.is_none() {{"));
            put(
                &mut body,
                3,
                format_args!("return Err(::tagwire::validate::Violation::oneof_required({name:?}));"),
            );
            put(&mut body, 2, format_args!("}}"));
        }
        let mut count = 0;
        for field in &message.fields {
            if let Some(of) = rules(field).filter(|of| of.ignore != Ignore::Always) {
                // A rule `oneof` of the message lets its fields be zero.
                let in_oneof = message.constraints.oneofs.iter().any(|o| o.fields.contains(&field.name));
                self.table(field, of, in_oneof, &mut tables)?;
                self.own(message, field, count, &mut body);
                count += 1;
            }
            if self.nested(field).is_some() {
                nested(message, field, &mut body);
            }
        }
        let name = path(message);
        put(out, 0, format_args!("impl ::tagwire::validate::Validate for {name} {{"));
        put(
            out,
            1,
            format_args!(
                "fn validate(&self) -> ::core::result::Result<(), ::tagwire::validate::Violation> {{"
            ),
        );
        if count > 0 {
            put(out, 2, format_args!("#[allow(unused_imports)]"));
            put(
                out,
                2,
                format_args!(
                    "use ::tagwire::validate::{{Constant, FieldRules, Ignore, Pattern, Rule, Rules}};"
                ),
            );
            put(
                out,
                2,
                format_args!(
                    "static RULES: ::std::sync::LazyLock<[FieldRules; {count}]> = ::std::sync::LazyLock::new(|| ["
                ),
            );
            out.push_str(&tables);
            put(out, 2, format_args!("]);"));
        }
        out.push_str(&body);
        put(out, 2, format_args!("Ok(())"));
        put(out, 1, format_args!("}}"));
        put(out, 0, format_args!("}}"));
        Ok(())
    }

    fn table(&self, field: &Field, of: &Constraints, in_oneof: bool, out: &mut String) -> Result<(), Error> {
        let zero = of.ignore == Ignore::Zero || in_oneof;
        let part = |part: &Option<Box<Constraints>>, field: Option<&Field>| match part {
            Some(of) if of.ignore != Ignore::Always => {
                Ok(format!("({}, {})", ignore(of.ignore == Ignore::Zero), self.rules(of, field)?))
            }
            _ => Ok("(Ignore::Unset, Rules::NONE)".to_string()),
        };
        let (items, keys) = match field.label {
            Label::Map => (part(&of.values, self.entry(field, 2))?, part(&of.keys, self.entry(field, 1))?),
            _ => (part(&of.items, Some(field))?, part(&None, None)?),
        };
        put(
            out,
            3,
            format_args!(
                "FieldRules {{ name: {:?}.into(), required: {}, ignore: {}, own: {}, items: {items}, keys: {keys} }},",
                field.name,
                of.required,
                ignore(zero),
                self.rules(of, Some(field))?,
            ),
        );
        Ok(())
    }

    fn rules(&self, of: &Constraints, field: Option<&Field>) -> Result<String, Error> {
        if of.rules.is_empty() {
            return Ok("Rules::NONE".to_string());
        }
        let numbers = match field.map(|f| &f.kind) {
            Some(Kind::Enum(name)) => self.enums.get(name.as_str()).map(|e| e.numbers()).unwrap_or_default(),
            _ => vec![],
        };
        let rules: Result<Vec<String>, Error> =
            of.rules.iter().map(|rule| print_rule(rule, &numbers)).collect();
        Ok(format!("Rules {{ kind: {:?}.into(), rules: ::std::vec![{}] }}", of.kind, rules?.join(", ")))
    }

    /// Holds a field against the table at `index`.
    fn own(&self, message: &Message, field: &Field, index: usize, out: &mut String) {
        let ident = keyword(field.name.to_snake_case());
        let rules = format!("RULES[{index}]");
        let scalar = !matches!(field.kind, Kind::Message(_));
        let call = match field.label {
            Label::Map => {
                let value = self.entry(field, 2).is_some_and(|f| !matches!(f.kind, Kind::Message(_)));
                let value = if value { "Some(value.into())" } else { "None" };
                let ignored = if value == "None" { "_" } else { "value" };
                format!(
                    "map(self.{ident}.len(), self.{ident}.iter().map(|(key, {ignored})| (key.into(), {value})))"
                )
            }
            Label::Repeated if scalar => {
                format!("list(self.{ident}.len(), self.{ident}.iter().map(|item| item.into()))")
            }
            Label::Repeated => format!("list(self.{ident}.len(), ::core::iter::empty())"),
            _ if !scalar => format!("present({})", is_set(message, field)),
            Label::Optional => match &field.oneof {
                Some(_) => format!(
                    "optional(match &self.{} {{ Some({}(value)) => Some(value), _ => None }})",
                    oneof_ident(field),
                    variant(message, field)
                ),
                None => format!("optional(self.{ident}.as_ref())"),
            },
            // It is always set.
            Label::Required => format!("optional(Some(&self.{ident}))"),
            _ => format!("plain(&self.{ident})"),
        };
        put(out, 2, format_args!("{rules}.{call}?;"));
    }
}

fn rules(field: &Field) -> Option<&Constraints> {
    field.constraints.as_ref().map(|placed| &placed.constraints).filter(|of| !of.is_empty())
}

fn ignore(zero: bool) -> &'static str {
    if zero { "Ignore::Zero" } else { "Ignore::Unset" }
}

fn oneof_ident(field: &Field) -> String {
    keyword(field.oneof.as_deref().unwrap_or_default().to_snake_case())
}

/// The variant of a oneof's enum, which prost-build puts into a module named like the message.
fn variant(message: &Message, field: &Field) -> String {
    let modules = message.scope.iter().chain([&message.name]).map(|s| keyword(s.to_snake_case()) + "::");
    let oneof = field.oneof.as_deref().unwrap_or_default();
    format!("{}{}::{}", modules.collect::<String>(), type_name(oneof), type_name(&field.name))
}

/// Whether a field is set; where that cannot be told, whether it is not zero.
fn is_set(message: &Message, field: &Field) -> String {
    let ident = keyword(field.name.to_snake_case());
    match field.label {
        Label::Optional if field.oneof.is_some() => {
            format!("matches!(&self.{}, Some({}(_)))", oneof_ident(field), variant(message, field))
        }
        Label::Optional => format!("self.{ident}.is_some()"),
        Label::Required => "true".to_string(),
        Label::Repeated | Label::Map => format!("!self.{ident}.is_empty()"),
        Label::Implicit => format!("!::tagwire::validate::Value::from(&self.{ident}).is_zero()"),
    }
}

/// Judges the messages in a field.
fn nested(message: &Message, field: &Field, out: &mut String) {
    let ident = keyword(field.name.to_snake_case());
    let name = &field.name;
    let check = "::tagwire::validate::Validate::validate(inner)";
    let (head, place) = match field.label {
        Label::Map => (format!("for (key, inner) in &self.{ident}"), format!("at_key({name:?}, key.into())")),
        Label::Repeated => (
            format!("for (index, inner) in self.{ident}.iter().enumerate()"),
            format!("at_index({name:?}, index)"),
        ),
        Label::Required => (format!("let inner = &self.{ident};"), format!("inside({name:?})")),
        _ if field.oneof.is_some() => (
            format!("if let Some({}(inner)) = &self.{}", variant(message, field), oneof_ident(field)),
            format!("inside({name:?})"),
        ),
        _ => (format!("if let Some(inner) = &self.{ident}"), format!("inside({name:?})")),
    };
    put(out, 2, format_args!("{head} {{"));
    put(out, 3, format_args!("{check}.map_err(|broken| broken.{place})?;"));
    put(out, 2, format_args!("}}"));
}

fn print_rule(rule: &Rule, numbers: &[i32]) -> Result<String, Error> {
    let name = rule.name.to_upper_camel_case();
    Ok(match (rule.name.as_str(), &rule.value) {
        ("defined_only", _) => {
            let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
            format!("Rule::{name}(::std::vec![{}])", numbers.join(", "))
        }
        ("pattern", Constant::Text(text)) => {
            let text = pattern::translate(text).map_err(|(what, fix)| Error::Layout { what, fix })?;
            format!("Rule::{name}(Pattern::new({text:?}))")
        }
        // A rule that is only turned on: `email`, `unique`.
        (other, Constant::Bool(true)) if other != "const" => format!("Rule::{name}"),
        (other, Constant::Uint(value)) if is_length(other) => format!("Rule::{name}({value})"),
        (_, Constant::List(list)) => {
            let list: Vec<String> = list.iter().map(constant).collect();
            format!("Rule::{name}(::std::vec![{}].into())", list.join(", "))
        }
        (_, value) => format!("Rule::{name}({})", constant(value)),
    })
}

fn is_length(rule: &str) -> bool {
    rule.starts_with("min_") || rule.starts_with("max_") || rule.starts_with("len")
}

fn constant(value: &Constant) -> String {
    match value {
        Constant::Bool(value) => format!("Constant::Bool({value})"),
        Constant::Int(value) => format!("Constant::Int({value})"),
        Constant::Uint(value) => format!("Constant::Uint({value})"),
        Constant::Float(value) if value.is_finite() => format!("Constant::Float({value:?})"),
        Constant::Float(value) => format!("Constant::Float(f64::from_bits({:#x}))", value.to_bits()),
        Constant::Text(value) => format!("Constant::Text({value:?}.into())"),
        Constant::Bytes(value) => {
            let bytes: String = value.iter().map(|b| format!("\\x{b:02x}")).collect();
            format!("Constant::Bytes(b\"{bytes}\".to_vec())")
        }
        // Lists hold no lists.
        Constant::List(_) => String::new(),
    }
}

fn put(out: &mut String, indent: usize, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{:1$}{text}", "", indent * 4).expect("writing to a String cannot fail");
}
