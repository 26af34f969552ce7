//! `schema.lock`: what a schema was when it was last released, and every tag and number that it ever used.
//!
//! A file for git: one statement a line, sorted, so that a change of the schema is a few lines of it. It is the listing
//! of the [`fingerprint`](mod@crate::fingerprint), indented, of all that the game's files say (the fingerprint's own
//! covers only what a tag or a service reaches), with what only a history needs: `file` with package and syntax,
//! `reserved`, defaults, groups, and `retired`: what was removed, whose tag or number is not for use again.
//!
//! ```text
//! tagwire lock 1
//! fingerprint d0e7b1c2...
//!
//! file game.v1 proto3 game.proto
//!
//! message game.v1.Move tag=2 from=CLIENT to=ROOM access=PLAYER delivery=LATEST max_bytes=0 max_rate=60
//!   field 1 x int32 implicit -
//!     rule int32.gte 0
//!   reserved 4 to 6
//!   reserved "old"
//!   retired 3 note string implicit -
//!
//! retired message game.v1.Shout tag=7 from=CLIENT to=HANDLER access=PLAYER delivery=ORDERED max_bytes=0 max_rate=0
//!   field 1 text string implicit -
//! ```
//!
//! `parse` reads it back into a [`Model`], and `judge` compares that with the schema of today: by the rules of
//! [`diff`](crate::diff), and by those of a history.

mod judge;
mod parse;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

pub use self::judge::{Broken, Judgement, judge};
use crate::fingerprint::{self, Covered};
use crate::model::{Enum, Field, Label, Location, Message, Model, Reserved, Service};

/// Name of the file, which lies in the folder of the schema.
pub const FILE_NAME: &str = "schema.lock";

const HEAD: &str = "\
# What this schema was when it was last released, and every tag and number it ever used. `tagwire check` compares with it.
# Written by `tagwire check --update`; do not edit it by hand. Commit it.
tagwire lock 1
";

/// A schema of some day, with what it remembers of the days before.
#[derive(Debug, Clone, Default)]
pub struct Lock {
    /// What it said. From a lock, it has no files but their names, packages and syntax.
    pub model: Model,
    /// What was removed from it.
    pub retired: Retired,
}

/// What a schema has no more, and must not give to others.
#[derive(Debug, Clone, Default)]
pub struct Retired {
    /// Messages, by full name, as they last were. One whose tag was given away knowingly has no rules any more.
    pub messages: BTreeMap<String, Message>,
    /// Enums, likewise.
    pub enums: BTreeMap<String, Enum>,
    /// Fields of messages that are still there, by the message's full name and the number.
    pub fields: BTreeMap<(String, u32), Field>,
    /// Names of values of enums that are still there, by the enum's full name and the number.
    pub values: BTreeMap<(String, i32), String>,
}

/// Why a text is no lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {what}\n  fix: {fix}")]
pub struct LockError {
    /// Where.
    pub location: Location,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Lock {
    /// What is to be remembered of a schema that comes after `before`.
    pub fn of(model: &Model, before: Option<&Lock>) -> Lock {
        let mut lock = Lock { model: model.clone(), retired: Retired::default() };
        if let Some(before) = before {
            lock.retired = before.retired.clone();
            lock.retired.add(&before.model, model);
        }
        lock.retired.forget_what_is_used(model);
        lock
    }

    /// Reads a lock. `path` is what findings call it.
    ///
    /// # Errors
    /// The first line that is none, or a fingerprint that is not that of the rest.
    pub fn parse(text: &str, path: &std::path::Path) -> Result<Lock, LockError> {
        parse::parse(text, path)
    }

    /// True where a file says that it is a lock.
    pub fn is_one(text: &str) -> bool {
        text.lines().any(|line| line == "tagwire lock 1")
    }
}

impl Retired {
    /// What `before` had and `now` has not.
    fn add(&mut self, before: &Model, now: &Model) {
        let (before, now) = (Covered::all(before), Covered::all(now));
        for (name, message) in before.messages.iter().filter(|(_, m)| !m.map_entry) {
            match now.messages.get(name) {
                None => {
                    self.messages.insert((*name).to_string(), (*message).clone());
                }
                Some(still) => {
                    let gone =
                        message.fields.iter().filter(|f| still.fields.iter().all(|s| s.number != f.number));
                    self.fields.extend(gone.map(|f| (((*name).to_string(), f.number), f.clone())));
                }
            }
        }
        for (name, one) in &before.enums {
            match now.enums.get(name) {
                None => {
                    self.enums.insert((*name).to_string(), (*one).clone());
                }
                Some(still) => {
                    let gone =
                        one.values.iter().filter(|v| still.values.iter().all(|s| s.number != v.number));
                    self.values.extend(gone.map(|v| (((*name).to_string(), v.number), v.name.clone())));
                }
            }
        }
    }

    /// What came back, or was given to others knowingly, is not kept away from them any longer.
    fn forget_what_is_used(&mut self, now: &Model) {
        let now = Covered::all(now);
        let tags: Vec<u32> =
            now.messages.values().filter_map(|m| m.rules.as_ref().and_then(|r| r.tag)).collect();
        self.messages.retain(|name, _| !now.messages.contains_key(name.as_str()));
        self.enums.retain(|name, _| !now.enums.contains_key(name.as_str()));
        for message in self.messages.values_mut() {
            if message.rules.as_ref().and_then(|r| r.tag).is_some_and(|tag| tags.contains(&tag)) {
                message.rules = None;
            }
        }
        self.fields.retain(|(name, number), _| {
            now.messages.get(name.as_str()).is_none_or(|m| m.fields.iter().all(|f| f.number != *number))
        });
        self.values.retain(|(name, number), _| {
            now.enums.get(name.as_str()).is_none_or(|e| e.values.iter().all(|v| v.number != *number))
        });
    }
}

/// The text of the file.
impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let covered = Covered::all(&self.model);
        f.write_str(HEAD)?;
        f.write_str("fingerprint ")?;
        for byte in fingerprint::fingerprint(&self.model) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("\n\n")?;
        let mut files: Vec<_> =
            self.model.files.iter().filter(|file| file.origin == crate::model::Origin::Game).collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        for file in files {
            let package = if file.package.is_empty() { "-" } else { &file.package };
            // The name comes last: it may have blanks.
            writeln!(f, "file {package} {} {}", if file.proto3 { "proto3" } else { "proto2" }, file.name)?;
        }
        for one in covered.enums.values() {
            f.write_char('\n')?;
            self.enumeration(f, one)?;
        }
        for message in covered.messages.values() {
            f.write_char('\n')?;
            self.message(f, message)?;
        }
        for service in covered.services.values() {
            f.write_char('\n')?;
            write_service(f, service)?;
        }
        for one in self.retired.enums.values() {
            f.write_str("\nretired ")?;
            self.enumeration(f, one)?;
        }
        for message in self.retired.messages.values() {
            f.write_str("\nretired ")?;
            self.message(f, message)?;
        }
        Ok(())
    }
}

impl Lock {
    fn enumeration(&self, f: &mut fmt::Formatter<'_>, one: &Enum) -> fmt::Result {
        writeln!(f, "enum {}", one.full_name)?;
        let mut values: Vec<_> = one.values.iter().map(|v| (v.number, &v.name)).collect();
        values.sort();
        for (number, name) in values {
            writeln!(f, "  value {number} {name}")?;
        }
        write_reserved(f, &one.reserved)?;
        let own = self.retired.values.iter().filter(|((name, _), _)| *name == one.full_name);
        for ((_, number), name) in own {
            writeln!(f, "  retired {number} {name}")?;
        }
        Ok(())
    }

    fn message(&self, f: &mut fmt::Formatter<'_>, message: &Message) -> fmt::Result {
        match message.full_name.strip_prefix("extend ") {
            Some(extended) => writeln!(f, "extend {extended}")?,
            None => {
                let entry = if message.map_entry { " map_entry" } else { "" };
                writeln!(f, "message {}{}{entry}", message.full_name, fingerprint::rules(message))?;
            }
        }
        for rule in fingerprint::message_lines(&message.constraints) {
            writeln!(f, "    rule {rule}")?;
        }
        for field in &message.fields {
            write_field(f, "field", field)?;
            for rule in field.constraints.iter().flat_map(|p| fingerprint::constraint_lines(&p.constraints)) {
                writeln!(f, "    rule {rule}")?;
            }
        }
        write_reserved(f, &message.reserved)?;
        let own = self.retired.fields.iter().filter(|((name, _), _)| *name == message.full_name);
        for (_, field) in own {
            write_field(f, "retired", field)?;
        }
        Ok(())
    }
}

fn write_field(f: &mut fmt::Formatter<'_>, word: &str, field: &Field) -> fmt::Result {
    write!(f, "  {word} {}", fingerprint::field_line(field))?;
    if field.group {
        f.write_str(" group")?;
    }
    if let Some(default) = &field.default {
        // Last: it may have blanks.
        write!(f, " default={default}")?;
    }
    f.write_char('\n')
}

fn write_reserved(f: &mut fmt::Formatter<'_>, reserved: &Reserved) -> fmt::Result {
    for (first, last) in &reserved.numbers {
        match first == last {
            true => writeln!(f, "  reserved {first}")?,
            false => writeln!(f, "  reserved {first} to {last}")?,
        }
    }
    for name in &reserved.names {
        writeln!(f, "  reserved \"{name}\"")?;
    }
    Ok(())
}

fn write_service(f: &mut fmt::Formatter<'_>, service: &Service) -> fmt::Result {
    writeln!(f, "service {} at={}", service.full_name, service.at)?;
    let mut methods: Vec<_> = service.methods.iter().collect();
    methods.sort_by(|a, b| a.name.cmp(&b.name));
    for method in methods {
        write!(f, "  method {} {} {}", method.name, method.request, method.reply)?;
        if let Some(level) = &method.idempotency {
            write!(f, " {level}")?;
        }
        f.write_char('\n')?;
    }
    Ok(())
}

/// What a field is, for a sentence: `string note`.
fn shown(field: &Field) -> String {
    let kind = match &field.kind {
        crate::model::Kind::Scalar(name) => name,
        crate::model::Kind::Message(name) | crate::model::Kind::Enum(name) => name.as_str(),
    };
    let many = if matches!(field.label, Label::Repeated | Label::Map) { "repeated " } else { "" };
    format!("{many}{kind} {}", field.name)
}
