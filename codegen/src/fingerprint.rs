//! The fingerprint: 16 bytes that are equal for two schemas that mean the same, wherever they were generated.
//!
//! It is the first half of the SHA-256 of a listing, UTF-8 lines that end in `\n`:
//!
//! ```text
//! tagwire schema 1
//! enum arena.v1.Colour
//! value 0 COLOUR_UNSPECIFIED
//! message arena.v1.MouseEvent tag=2 from=CLIENT to=ROOM access=PLAYER delivery=LATEST max_bytes=0 max_rate=120
//! rule oneof x,y
//! field 1 x int32 implicit -
//! rule int32.gte 0
//! rule int32.lt 1920
//! message arena.v1.Point
//! field 1 where message:arena.v1.Place optional spot
//! service arena.v1.Lobby at=SERVER
//! method Rename arena.v1.RenameRequest arena.v1.RenameReply
//! ```
//!
//! Listed are the game's messages with a tag, its services, and every message and enum reachable from them by
//! fields, requests and replies. Blocks are sorted by kind, then by full name; fields by number, values by number,
//! then name; methods by name. A field has number, name, type (`message:` and `enum:` before a full name), label
//! (`implicit`, `optional`, `required`, `repeated`, `map`) and its oneof (`-` where it is in none). Comments, file
//! names, declaration order and the stack's own messages do not count.
//!
//! Constraints stand behind the field or the message that has them, each as `rule`, its path and its value, sorted as
//! bytes. A path is written as in a schema, without `(buf.validate.field).`: `required`, `string.min_len`,
//! `repeated.items.int32.gt`; `ignore` has the value `zero` or `always`; rules that are turned off and `example` are
//! left out. Whole numbers and booleans are decimal, and `true` or `false`; a `float` or `double` is the 16 hexadecimal
//! digits of the bits of its `double`; texts are hexadecimal after `x`, UTF-8, and so are bytes; a list is its values,
//! sorted and without doubles, joined by commas. A message's are `oneof` or `oneof.required` with the names of the
//! fields, sorted and joined by commas, and `required` with the name of a oneof. A schema without constraints has no
//! such lines, so that its fingerprint is what it was before there were any.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::constraints::{Constant, Constraints, Ignore, MessageConstraints};
use crate::model::{Enum, Field, Kind, Label, Message, Model, Origin, Service};

/// The fingerprint of the game's part of a model that passed its checks.
pub fn fingerprint(model: &Model) -> [u8; 16] {
    let hash = Sha256::digest(listing(model).as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    first
}

/// The listing that is hashed.
pub fn listing(model: &Model) -> String {
    let covered = Covered::of(model);
    let mut out = String::from("tagwire schema 1\n");
    let line = |out: &mut String, text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).and_then(|()| out.write_char('\n')).expect("writing to a String cannot fail");
    };
    for one in covered.enums.values() {
        line(&mut out, format_args!("enum {}", one.full_name));
        let mut values: Vec<_> = one.values.iter().map(|v| (v.number, &v.name)).collect();
        values.sort();
        for (number, name) in values {
            line(&mut out, format_args!("value {number} {name}"));
        }
    }
    for message in covered.messages.values() {
        line(&mut out, format_args!("message {}{}", message.full_name, rules(message)));
        for rule in message_lines(&message.constraints) {
            line(&mut out, format_args!("rule {rule}"));
        }
        for field in &message.fields {
            line(&mut out, format_args!("field {}", field_line(field)));
            for rule in field.constraints.iter().flat_map(|placed| constraint_lines(&placed.constraints)) {
                line(&mut out, format_args!("rule {rule}"));
            }
        }
    }
    for service in covered.services.values() {
        line(&mut out, format_args!("service {} at={}", service.full_name, service.at));
        let mut methods: Vec<_> = service.methods.iter().collect();
        methods.sort_by(|a, b| a.name.cmp(&b.name));
        for method in methods {
            line(&mut out, format_args!("method {} {} {}", method.name, method.request, method.reply));
        }
    }
    out
}

/// Number, name, type, label and oneof.
pub(crate) fn field_line(field: &Field) -> String {
    let kind = match &field.kind {
        Kind::Scalar(name) => (*name).to_string(),
        Kind::Message(name) => format!("message:{name}"),
        Kind::Enum(name) => format!("enum:{name}"),
    };
    let label = match field.label {
        Label::Implicit => "implicit",
        Label::Optional => "optional",
        Label::Required => "required",
        Label::Repeated => "repeated",
        Label::Map => "map",
    };
    let oneof = field.oneof.as_deref().unwrap_or("-");
    format!("{} {} {kind} {label} {oneof}", field.number, field.name)
}

/// With a blank before them; empty where the message has no tag.
pub(crate) fn rules(message: &Message) -> String {
    let Some((rules, tag)) = message.rules.as_ref().and_then(|r| Some((r, r.tag?))) else {
        return String::new();
    };
    format!(
        " tag={tag} from={} to={} access={} delivery={} max_bytes={} max_rate={}",
        rules.from.as_deref().unwrap_or_default(),
        rules.to,
        rules.access,
        rules.delivery,
        rules.max_bytes,
        rules.rate_per_second().ok().flatten().unwrap_or(0)
    )
}

/// Path and value of each rule of a field, sorted.
pub(crate) fn constraint_lines(constraints: &Constraints) -> Vec<String> {
    fn collect(before: &str, of: &Constraints, into: &mut Vec<String>) {
        if of.required {
            into.push(format!("{before}required true"));
        }
        match of.ignore {
            Ignore::Unset => {}
            Ignore::Zero => into.push(format!("{before}ignore zero")),
            Ignore::Always => into.push(format!("{before}ignore always")),
        }
        for rule in &of.rules {
            into.push(format!("{before}{}.{} {}", of.kind, rule.name, constant(&rule.value)));
        }
        for (name, inner) in [("items", &of.items), ("keys", &of.keys), ("values", &of.values)] {
            if let Some(inner) = inner {
                collect(&format!("{before}{}.{name}.", of.kind), inner, into);
            }
        }
    }
    let mut lines = vec![];
    collect("", constraints, &mut lines);
    lines.sort_unstable();
    lines
}

/// The same of a message as a whole.
pub(crate) fn message_lines(constraints: &MessageConstraints) -> Vec<String> {
    let oneofs = constraints.oneofs.iter().map(|rule| {
        let mut fields: Vec<&str> = rule.fields.iter().map(String::as_str).collect();
        fields.sort_unstable();
        format!("oneof{} {}", if rule.required { ".required" } else { "" }, fields.join(","))
    });
    let required = constraints.required.iter().map(|name| format!("required {name}"));
    let mut lines: Vec<String> = oneofs.chain(required).collect();
    lines.sort_unstable();
    lines
}

fn constant(value: &Constant) -> String {
    let hexadecimal =
        |bytes: &[u8]| bytes.iter().fold("x".to_string(), |out, byte| format!("{out}{byte:02x}"));
    match value {
        Constant::Bool(value) => value.to_string(),
        Constant::Int(value) => value.to_string(),
        Constant::Uint(value) => value.to_string(),
        Constant::Float(value) => format!("{:016x}", value.to_bits()),
        Constant::Text(value) => hexadecimal(value.as_bytes()),
        Constant::Bytes(value) => hexadecimal(value),
        Constant::List(list) => {
            let mut values: Vec<String> = list.iter().map(constant).collect();
            values.sort_unstable();
            values.dedup();
            values.join(",")
        }
    }
}

/// What the fingerprint covers of a model, by full name.
pub(crate) struct Covered<'a> {
    /// Tagged messages, requests, replies, and what is reachable from them.
    pub(crate) messages: BTreeMap<&'a str, &'a Message>,
    /// Enums reachable from them.
    pub(crate) enums: BTreeMap<&'a str, &'a Enum>,
    /// The game's services.
    pub(crate) services: BTreeMap<&'a str, &'a Service>,
}

impl<'a> Covered<'a> {
    /// What the fingerprint covers, and besides all that the game's files say.
    pub(crate) fn all(model: &'a Model) -> Self {
        let mut covered = Covered::of(model);
        let game = model.messages.iter().filter(|m| m.origin == Origin::Game).chain(&model.extensions);
        covered.messages.extend(game.map(|m| (m.full_name.as_str(), m)));
        let game = model.enums.iter().filter(|e| e.origin == Origin::Game);
        covered.enums.extend(game.map(|e| (e.full_name.as_str(), e)));
        covered
    }

    pub(crate) fn of(model: &'a Model) -> Self {
        // Indexed, and a list instead of recursion: the model may come from a stranger, who makes chains of
        // messages as long as a descriptor set holds.
        let messages: HashMap<&str, &Message> =
            model.messages.iter().map(|m| (m.full_name.as_str(), m)).collect();
        let enums: HashMap<&str, &Enum> = model.enums.iter().map(|e| (e.full_name.as_str(), e)).collect();
        let mut covered =
            Covered { messages: BTreeMap::new(), enums: BTreeMap::new(), services: BTreeMap::new() };
        let mut wanted: Vec<&str> =
            model.tagged(Origin::Game).iter().map(|(_, message, _)| message.full_name.as_str()).collect();
        for service in model.services.iter().filter(|s| s.origin == Origin::Game) {
            covered.services.insert(&service.full_name, service);
            wanted.extend(service.methods.iter().flat_map(|m| [m.request.as_str(), m.reply.as_str()]));
        }
        while let Some(name) = wanted.pop() {
            let Some(message) = messages.get(name) else { continue };
            if covered.messages.insert(&message.full_name, message).is_some() {
                continue;
            }
            for field in &message.fields {
                match &field.kind {
                    Kind::Message(name) => wanted.push(name),
                    Kind::Enum(name) => {
                        covered.enums.extend(enums.get(name.as_str()).map(|e| (e.full_name.as_str(), *e)));
                    }
                    Kind::Scalar(_) => {}
                }
            }
        }
        covered
    }
}
