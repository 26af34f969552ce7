//! From the text of a lock to what it remembers.

use std::path::Path;

use super::{Lock, LockError};
use crate::constraints::{Constant, Constraints, Ignore, MessageConstraints, OneofRule, Placed, Rule};
use crate::fingerprint;
use crate::model::{
    Enum, EnumValue, Field, File, Kind, Label, Location, Message, Method, Origin, Reserved, Rules, Service,
};

/// What the lines are about that come next.
enum Block {
    None,
    Message,
    Enum,
    Service,
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Lock, LockError> {
    let mut parser = Parser {
        lock: Lock::default(),
        block: Block::None,
        field: None,
        messages: vec![],
        enums: vec![],
        fingerprint: None,
        location: Location { path: path.to_path_buf(), line: 0 },
    };
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    match lines.next() {
        Some((_, "tagwire lock 1")) => {}
        other => {
            parser.location.line = other.map_or(1, |(at, _)| at + 1);
            return Err(parser.error("this is no lock of version 1 of tagwire"));
        }
    }
    for (at, line) in lines {
        parser.location.line = at + 1;
        if !line.trim().is_empty() && parser.line(line.trim_start()).is_none() {
            return Err(parser.error(&format!("this line means nothing in a lock: {}", shown(line))));
        }
    }
    parser.finish()
}

fn shown(line: &str) -> String {
    line.chars().take(100).flat_map(char::escape_debug).collect()
}

struct Parser {
    lock: Lock,
    block: Block,
    /// Number of the field that rules are of; `None`: they are of the message.
    field: Option<u32>,
    /// With whether they are retired.
    messages: Vec<(bool, Message)>,
    enums: Vec<(bool, Enum)>,
    fingerprint: Option<(String, usize)>,
    location: Location,
}

impl Parser {
    fn error(&self, what: &str) -> LockError {
        LockError {
            location: self.location.clone(),
            what: what.to_string(),
            fix: "take the file as it was last committed, without marks of a merge, and run \
                  `tagwire check --update`"
                .to_string(),
        }
    }

    fn finish(mut self) -> Result<Lock, LockError> {
        for (retired, message) in std::mem::take(&mut self.messages) {
            match retired {
                true => {
                    self.lock.retired.messages.insert(message.full_name.clone(), message);
                }
                false if message.full_name.starts_with("extend ") => self.lock.model.extensions.push(message),
                false => self.lock.model.messages.push(message),
            }
        }
        for (retired, one) in std::mem::take(&mut self.enums) {
            match retired {
                true => {
                    self.lock.retired.enums.insert(one.full_name.clone(), one);
                }
                false => self.lock.model.enums.push(one),
            }
        }
        let bytes = fingerprint::fingerprint(&self.lock.model);
        let own: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match &self.fingerprint {
            Some((written, _)) if *written == own => Ok(self.lock),
            Some((written, line)) => {
                self.location.line = *line;
                let what = format!(
                    "the fingerprint is {written}, and that of what it lists is {own}: it was edited"
                );
                Err(self.error(&what))
            }
            None => Err(self.error("it has no fingerprint: its end, or its beginning, is missing")),
        }
    }

    /// `None` for a line that is none.
    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "fingerprint" if self.fingerprint.is_none() => {
                self.fingerprint = Some((rest.to_string(), self.location.line));
            }
            "file" => self.file(rest)?,
            "enum" | "message" | "extend" | "service" => self.open(word, rest, false)?,
            "retired" => match (rest.split_once(' ')?, &self.block) {
                ((word @ ("enum" | "message" | "extend"), rest), _) => self.open(word, rest, true)?,
                (_, Block::Message) => {
                    let field = self.field(rest)?;
                    let name = self.messages.last()?.1.full_name.clone();
                    self.lock.retired.fields.insert((name, field.number), field);
                }
                ((number, name), Block::Enum) => {
                    let of = self.enums.last()?.1.full_name.clone();
                    self.lock.retired.values.insert((of, number.parse().ok()?), name.to_string());
                }
                _ => return None,
            },
            "field" if matches!(self.block, Block::Message) => {
                let field = self.field(rest)?;
                self.field = Some(field.number);
                self.messages.last_mut()?.1.fields.push(field);
            }
            "rule" if matches!(self.block, Block::Message) => self.rule(rest)?,
            "value" if matches!(self.block, Block::Enum) => {
                let (number, name) = rest.split_once(' ')?;
                let value = EnumValue {
                    name: name.to_string(),
                    number: number.parse().ok()?,
                    comment: String::new(),
                    location: self.location.clone(),
                };
                self.enums.last_mut()?.1.values.push(value);
            }
            "reserved" => {
                let reserved = match self.block {
                    Block::Message => &mut self.messages.last_mut()?.1.reserved,
                    Block::Enum => &mut self.enums.last_mut()?.1.reserved,
                    _ => return None,
                };
                if let Some(name) = rest.strip_prefix('"') {
                    reserved.names.push(name.strip_suffix('"')?.to_string());
                } else {
                    let (first, last) = rest.split_once(" to ").unwrap_or((rest, rest));
                    reserved.numbers.push((first.parse().ok()?, last.parse().ok()?));
                }
            }
            "method" if matches!(self.block, Block::Service) => {
                let mut parts = rest.split(' ');
                let method = Method {
                    name: parts.next()?.to_string(),
                    request: parts.next()?.to_string(),
                    reply: parts.next()?.to_string(),
                    streaming: false,
                    idempotency: parts.next().map(str::to_string),
                    comment: String::new(),
                    location: self.location.clone(),
                };
                self.lock.model.services.last_mut()?.methods.push(method);
            }
            _ => return None,
        }
        Some(())
    }

    fn file(&mut self, rest: &str) -> Option<()> {
        let (package, rest) = rest.split_once(' ')?;
        let (syntax, name) = rest.split_once(' ')?;
        self.lock.model.files.push(File {
            name: name.to_string(),
            path: self.location.path.clone(),
            origin: Origin::Game,
            package: if package == "-" { String::new() } else { package.to_string() },
            proto3: syntax == "proto3",
            imports: vec![],
            descriptor: vec![],
            documented: prost_types::FileDescriptorProto::default(),
        });
        Some(())
    }

    /// Begins a block.
    fn open(&mut self, word: &str, rest: &str, retired: bool) -> Option<()> {
        self.field = None;
        let (full_name, attributes) = rest.split_once(' ').unwrap_or((rest, ""));
        let name = full_name.rsplit('.').next()?.to_string();
        let location = self.location.clone();
        let origin = origin(full_name);
        match word {
            "enum" => {
                self.enums.push((
                    retired,
                    Enum {
                        full_name: full_name.to_string(),
                        package: String::new(),
                        scope: vec![],
                        name,
                        comment: String::new(),
                        origin,
                        values: vec![],
                        reserved: Reserved::default(),
                        location,
                    },
                ));
                self.block = Block::Enum;
            }
            "service" => {
                self.lock.model.services.push(Service {
                    full_name: full_name.to_string(),
                    package: String::new(),
                    name,
                    comment: String::new(),
                    location,
                    origin,
                    at: attributes.strip_prefix("at=")?.to_string(),
                    methods: vec![],
                });
                self.block = Block::Service;
            }
            _ => {
                let full_name = match word {
                    "extend" => format!("extend {full_name}"),
                    _ => full_name.to_string(),
                };
                let rules = match attributes.contains("tag=") {
                    true => Some(self.rules(attributes)?),
                    false => None,
                };
                self.messages.push((
                    retired,
                    Message {
                        full_name,
                        package: String::new(),
                        scope: vec![],
                        name,
                        comment: String::new(),
                        location,
                        origin: if word == "extend" { Origin::Game } else { origin },
                        rules,
                        fields: vec![],
                        oneofs: vec![],
                        map_entry: attributes.ends_with("map_entry"),
                        constraints: MessageConstraints::default(),
                        reserved: Reserved::default(),
                    },
                ));
                self.block = Block::Message;
            }
        }
        Some(())
    }

    fn rules(&self, attributes: &str) -> Option<Rules> {
        let get = |key: &str| {
            attributes.split(' ').find_map(|one| one.strip_prefix(key)?.strip_prefix('=')).map(str::to_string)
        };
        let rate: u32 = get("max_rate")?.parse().ok()?;
        Some(Rules {
            tag: Some(get("tag")?.parse().ok()?),
            from: Some(get("from")?).filter(|from| !from.is_empty()),
            to: get("to")?,
            access: get("access")?,
            delivery: get("delivery")?,
            max_bytes: get("max_bytes")?.parse().ok()?,
            max_rate: if rate == 0 { String::new() } else { format!("{rate}/s") },
            written: vec![],
            location: self.location.clone(),
        })
    }

    fn field(&self, text: &str) -> Option<Field> {
        let (text, default) = match text.split_once(" default=") {
            Some((text, default)) => (text, Some(default.to_string())),
            None => (text, None),
        };
        let parts: Vec<&str> = text.split(' ').collect();
        let (parts, group) = match parts.as_slice() {
            [parts @ .., "group"] => (parts, true),
            parts => (parts, false),
        };
        let [number, name, kind, label, oneof] = parts else { return None };
        Some(Field {
            name: (*name).to_string(),
            json_name: String::new(),
            number: number.parse().ok()?,
            kind: match kind.split_once(':') {
                Some(("message", name)) => Kind::Message(name.to_string()),
                Some(("enum", name)) => Kind::Enum(name.to_string()),
                _ => Kind::Scalar(SCALARS.iter().find(|scalar| *scalar == kind)?),
            },
            label: match *label {
                "implicit" => Label::Implicit,
                "optional" => Label::Optional,
                "required" => Label::Required,
                "repeated" => Label::Repeated,
                "map" => Label::Map,
                _ => return None,
            },
            oneof: (*oneof != "-").then(|| (*oneof).to_string()),
            constraints: None,
            default,
            group,
            comment: String::new(),
            location: self.location.clone(),
        })
    }

    fn rule(&mut self, text: &str) -> Option<()> {
        let (path, value) = text.split_once(' ')?;
        let message = &mut self.messages.last_mut()?.1;
        let Some(number) = self.field else {
            let names = || value.split(',').map(str::to_string).collect();
            match path {
                "oneof" => message.constraints.oneofs.push(OneofRule { fields: names(), required: false }),
                "oneof.required" => {
                    message.constraints.oneofs.push(OneofRule { fields: names(), required: true });
                }
                "required" => message.constraints.required.push(value.to_string()),
                _ => return None,
            }
            return Some(());
        };
        let field = message.fields.iter_mut().find(|f| f.number == number)?;
        let placed = field.constraints.get_or_insert_with(|| Placed {
            constraints: Constraints::default(),
            location: self.location.clone(),
        });
        add_rule(&mut placed.constraints, path, value)
    }
}

/// Adds one rule, by its path below `of`.
fn add_rule(of: &mut Constraints, path: &str, value: &str) -> Option<()> {
    match (path, value) {
        ("required", "true") => of.required = true,
        ("ignore", "zero") => of.ignore = Ignore::Zero,
        ("ignore", "always") => of.ignore = Ignore::Always,
        _ => {
            let (kind, rest) = path.split_once('.')?;
            of.kind = kind.to_string();
            let inner = match rest.split_once('.') {
                Some(("items", rest)) => Some((&mut of.items, rest)),
                Some(("keys", rest)) => Some((&mut of.keys, rest)),
                Some(("values", rest)) => Some((&mut of.values, rest)),
                _ => match rest {
                    "items" | "keys" | "values" => return None,
                    _ => None,
                },
            };
            match inner {
                Some((inner, rest)) => add_rule(inner.get_or_insert_default(), rest, value)?,
                None => of.rules.push(Rule { name: rest.to_string(), value: constant(kind, rest, value)? }),
            }
        }
    }
    Some(())
}

fn constant(kind: &str, rule: &str, value: &str) -> Option<Constant> {
    if matches!(rule, "in" | "not_in") {
        let values: Option<Vec<Constant>> =
            value.split(',').filter(|one| !one.is_empty()).map(|one| single(kind, one)).collect();
        return Some(Constant::List(values?));
    }
    single(kind, value)
}

fn single(kind: &str, value: &str) -> Option<Constant> {
    if let Some(digits) = value.strip_prefix('x') {
        let bytes: Option<Vec<u8>> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
            .collect();
        return match kind {
            "string" => String::from_utf8(bytes?).ok().map(Constant::Text),
            _ => bytes.map(Constant::Bytes),
        };
    }
    if let Ok(value) = value.parse() {
        return Some(Constant::Bool(value));
    }
    if matches!(kind, "float" | "double") {
        let bits = u64::from_str_radix(value, 16).ok().filter(|_| value.len() == 16)?;
        return Some(Constant::Float(f64::from_bits(bits)));
    }
    value.parse().map(Constant::Uint).or_else(|_| value.parse().map(Constant::Int)).ok()
}

const SCALARS: [&str; 15] = [
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64",
    "sfixed32", "sfixed64", "bool", "string", "bytes",
];

fn origin(full_name: &str) -> Origin {
    match full_name {
        name if name.starts_with("google.protobuf.") => Origin::Google,
        name if name.starts_with("buf.validate.") => Origin::Validate,
        name if name.starts_with("tagwire.v1.") => Origin::Stack,
        _ => Origin::Game,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_value_is_read_back() {
        assert_eq!(constant("string", "prefix", "x61"), Some(Constant::Text("a".to_string())));
        assert_eq!(constant("bytes", "prefix", "x"), Some(Constant::Bytes(vec![])));
        assert_eq!(constant("float", "lt", "3ff0000000000000"), Some(Constant::Float(1.0)));
        assert_eq!(constant("int32", "gte", "-1"), Some(Constant::Int(-1)));
        assert_eq!(constant("bool", "const", "false"), Some(Constant::Bool(false)));
        assert_eq!(
            constant("uint64", "in", "1,18446744073709551615"),
            Some(Constant::List(vec![Constant::Uint(1), Constant::Uint(u64::MAX)]))
        );
        assert_eq!(constant("string", "prefix", "x6"), None);
        assert_eq!(constant("int32", "lt", "one"), None);
    }
}
