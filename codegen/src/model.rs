//! The schema as printers, checks and the fingerprint see it: plain owned data.
//!
//! Lists are flat and in the order of the files (sorted by name) and of the declarations in them, so that
//! everything made from a model is deterministic.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use prost_reflect::{DescriptorError, DescriptorPool};

use crate::constraints::{MessageConstraints, Placed};

/// Everything said by a set of `.proto` files and their imports.
#[derive(Debug, Clone)]
pub struct Model {
    /// The files, each behind what it imports.
    pub files: Vec<File>,
    /// All messages, nested ones behind their parents. Map entries are among them.
    pub messages: Vec<Message>,
    /// All enums.
    pub enums: Vec<Enum>,
    /// All services.
    pub services: Vec<Service>,
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The game's own.
    Game,
    /// `tagwire/v1/*.proto`.
    Stack,
    /// `google/protobuf/*.proto`.
    Google,
    /// `buf/validate/validate.proto`.
    Validate,
}

/// One `.proto` file.
#[derive(Debug, Clone)]
pub struct File {
    /// Name as in an import.
    pub name: String,
    /// Where it was read; the name where it is built in.
    pub path: PathBuf,
    /// Whose it is.
    pub origin: Origin,
    /// Its package; empty where it has none.
    pub package: String,
    /// True for `syntax = "proto3"`.
    pub proto3: bool,
    /// Names of the files it imports.
    pub imports: Vec<String>,
    /// The encoded `google.protobuf.FileDescriptorProto`, with options, without source positions and comments.
    pub descriptor: Vec<u8>,
    /// The same for libraries that print code themselves: with positions and comments, but without our options,
    /// which their types cannot hold.
    pub documented: prost_types::FileDescriptorProto,
}

impl File {
    /// The comments of the file with their places, an encoded field `source_code_info`; nothing where it has none.
    fn comments(&self) -> Vec<u8> {
        let written = self.documented.source_code_info.iter().flat_map(|info| &info.location);
        let location: Vec<_> = written
            .filter(|l| {
                l.leading_comments.is_some()
                    || l.trailing_comments.is_some()
                    || !l.leading_detached_comments.is_empty()
            })
            .cloned()
            .collect();
        if location.is_empty() {
            return vec![];
        }
        let source_code_info = Some(prost_types::SourceCodeInfo { location });
        let only = prost_types::FileDescriptorProto { source_code_info, ..Default::default() };
        prost::Message::encode_to_vec(&only)
    }
}

/// A place in a file, as an editor shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// `arena.v1.MouseEvent`.
    pub full_name: String,
    /// `arena.v1`.
    pub package: String,
    /// Names of the messages around it, outermost first.
    pub scope: Vec<String>,
    /// `MouseEvent`.
    pub name: String,
    /// The comment before it, lines without leading blanks, no trailing newline.
    pub comment: String,
    /// Where it is declared.
    pub location: Location,
    /// Whose it is.
    pub origin: Origin,
    /// Present where the message travels alone.
    pub rules: Option<Rules>,
    /// Its fields by number.
    pub fields: Vec<Field>,
    /// Names of its oneofs, without the synthetic ones of `optional`.
    pub oneofs: Vec<String>,
    /// True for the hidden entry message of a map field.
    pub map_entry: bool,
    /// What holds for it beside its fields.
    pub constraints: MessageConstraints,
}

/// What a message may do: `tagwire.v1.Rules`, with names of enum values as they are written in a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Number on the wire. `None`: not written.
    pub tag: Option<u32>,
    /// `CLIENT`, `SERVER`, `BOTH`. `None`: not written.
    pub from: Option<String>,
    /// `HANDLER`, `ROOM`, `ROOM_ALL`.
    pub to: String,
    /// `PLAYER`, `GUEST`, `OPERATOR`.
    pub access: String,
    /// `ORDERED`, `LATEST`, `UNRELIABLE`.
    pub delivery: String,
    /// Bytes; 0: the server's limit.
    pub max_bytes: u32,
    /// As written, `"120/s"`; empty: the server's limit.
    pub max_rate: String,
    /// Which of the rules are written out, for checks of what may stand beside what.
    pub written: Vec<String>,
    /// Where they are written.
    pub location: Location,
}

impl Rules {
    /// Messages per second of `max_rate`: `Ok(None)` where it is not written, an error where it is not `"N/s"` with
    /// N from 1 to 1,000,000.
    #[expect(
        clippy::result_unit_err,
        reason = "the caller has the text, and the only thing that can be wrong with it"
    )]
    pub fn rate_per_second(&self) -> Result<Option<u32>, ()> {
        if self.max_rate.is_empty() {
            return Ok(None);
        }
        let digits = self.max_rate.strip_suffix("/s").ok_or(())?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        match digits.parse::<u32>() {
            Ok(n @ 1..=1_000_000) => Ok(Some(n)),
            _ => Err(()),
        }
    }

    /// True where a client may send it.
    pub fn from_client(&self) -> bool {
        matches!(self.from.as_deref(), Some("CLIENT" | "BOTH"))
    }

    /// True where the server may send it of its own accord.
    pub fn from_server(&self) -> bool {
        matches!(self.from.as_deref(), Some("SERVER" | "BOTH"))
    }

    /// True where it goes on to the members of a room.
    pub fn relayed(&self) -> bool {
        self.to.starts_with("ROOM")
    }
}

/// A field of a message.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name as written.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// What it holds.
    pub kind: Kind,
    /// How many.
    pub label: Label,
    /// The real oneof it is in.
    pub oneof: Option<String>,
    /// What it may hold, where that is written.
    pub constraints: Option<Placed>,
    /// The comment before it.
    pub comment: String,
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// One, and "not set" cannot be told from the default.
    Implicit,
    /// One or none: `optional`, a message, or a member of a oneof.
    Optional,
    /// Exactly one (proto2).
    Required,
    /// A list.
    Repeated,
    /// A map; the kind names the entry message.
    Map,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `int32`, `string`, ... by its name in the language.
    Scalar(&'static str),
    /// A message, by full name.
    Message(String),
    /// An enum, by full name.
    Enum(String),
}

/// An enum.
#[derive(Debug, Clone)]
pub struct Enum {
    /// `arena.v1.Colour`.
    pub full_name: String,
    /// `arena.v1`.
    pub package: String,
    /// Names of the messages around it, outermost first.
    pub scope: Vec<String>,
    /// `Colour`.
    pub name: String,
    /// The comment before it.
    pub comment: String,
    /// Whose it is.
    pub origin: Origin,
    /// Values in the order written.
    pub values: Vec<EnumValue>,
}

/// A value of an enum.
#[derive(Debug, Clone)]
pub struct EnumValue {
    /// Its name as written.
    pub name: String,
    /// Its number.
    pub number: i32,
    /// The comment before it.
    pub comment: String,
}

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    /// `arena.v1.Lobby`.
    pub full_name: String,
    /// `arena.v1`.
    pub package: String,
    /// `Lobby`.
    pub name: String,
    /// The comment before it.
    pub comment: String,
    /// Where it is declared.
    pub location: Location,
    /// Whose it is.
    pub origin: Origin,
    /// `SERVER` or `ROOM`.
    pub at: String,
    /// Its methods in the order written.
    pub methods: Vec<Method>,
}

/// A method of a service.
#[derive(Debug, Clone)]
pub struct Method {
    /// `Rename`.
    pub name: String,
    /// Full name of the request message.
    pub request: String,
    /// Full name of the reply message.
    pub reply: String,
    /// True where either side is a `stream`.
    pub streaming: bool,
    /// The comment before it.
    pub comment: String,
    /// Where it is declared.
    pub location: Location,
}

impl Enum {
    /// Its numbers, each once, rising.
    pub fn numbers(&self) -> Vec<i32> {
        let mut numbers: Vec<i32> = self.values.iter().map(|v| v.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

impl Model {
    /// The message of that full name.
    pub fn message(&self, full_name: &str) -> Option<&Message> {
        self.messages.iter().find(|m| m.full_name == full_name)
    }

    /// The messages of `origin` that travel alone, by tag. Only for a model that passed its checks.
    pub fn tagged(&self, origin: Origin) -> Vec<(u16, &Message, &Rules)> {
        let mut tagged: Vec<_> = self
            .messages
            .iter()
            .filter(|m| m.origin == origin)
            .filter_map(|m| {
                let rules = m.rules.as_ref()?;
                Some((u16::try_from(rules.tag?).ok()?, m, rules))
            })
            .collect();
        tagged.sort_by_key(|(tag, ..)| *tag);
        tagged
    }

    /// The packages of `origin`, sorted.
    pub fn packages(&self, origin: Origin) -> Vec<&str> {
        let mut names: Vec<_> =
            self.files.iter().filter(|f| f.origin == origin).map(|f| f.package.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// True where the message is what a method takes: it then comes in a Request, never alone.
    pub fn is_request(&self, full_name: &str) -> bool {
        self.services.iter().flat_map(|s| &s.methods).any(|m| m.request == full_name)
    }

    /// Descriptors of all files, for code that handles messages it has no types of.
    ///
    /// # Errors
    /// None for a model that was loaded.
    pub fn descriptor_pool(&self) -> Result<DescriptorPool, DescriptorError> {
        let mut pool = DescriptorPool::new();
        let file = self.files.iter().map(|f| f.descriptor.clone().into()).collect();
        pool.decode_file_descriptor_set(prost::Message::encode_to_vec(&RawFileSet { file }).as_slice())?;
        Ok(pool)
    }

    /// The encoded `google.protobuf.FileDescriptorSet` that travels with stubs: the game's files and what they
    /// import, each behind its imports, without the stack's own, `descriptor.proto` and `validate.proto`, which
    /// everyone has.
    pub fn descriptor_set(&self) -> Vec<u8> {
        let files = self.travelling().map(|f| f.descriptor.clone().into());
        prost::Message::encode_to_vec(&RawFileSet { file: files.collect() })
    }

    /// The same, with the comments of the game's files and their places: what
    /// [`load_documented`](crate::load::load_documented) makes a model of from which the same code is printed.
    pub fn documented_set(&self) -> Vec<u8> {
        let files = self.travelling().map(|f| match f.origin {
            // Fields of an encoded message may come in any order: what is appended belongs to it.
            Origin::Game => [f.descriptor.as_slice(), &f.comments()].concat().into(),
            _ => f.descriptor.clone().into(),
        });
        prost::Message::encode_to_vec(&RawFileSet { file: files.collect() })
    }
}

impl Model {
    /// The files that stubs carry. What only the stack's files or `validate.proto` import stays with them.
    pub(crate) fn travelling(&self) -> impl Iterator<Item = &File> {
        let stays = |f: &File| {
            matches!(f.origin, Origin::Stack | Origin::Validate)
                || f.name == "google/protobuf/descriptor.proto"
        };
        let mut wanted: HashSet<&str> = HashSet::new();
        // From the last to the first, so that what a wanted one imports is wanted before it is looked at.
        for file in self.files.iter().rev().filter(|f| !stays(f)) {
            if file.origin == Origin::Game || wanted.contains(file.name.as_str()) {
                wanted.insert(&file.name);
                wanted.extend(file.imports.iter().map(String::as_str));
            }
        }
        self.files.iter().filter(move |f| !stays(f) && wanted.contains(f.name.as_str()))
    }
}

/// `google.protobuf.FileDescriptorSet` with its files left encoded: prost-types would drop the custom options.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RawFileSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) file: Vec<prost::bytes::Bytes>,
}
