//! From a descriptor set that a stranger sent to a [`Model`]. Nothing but this file and prost's decoder reads the
//! bytes: the library behind [`load`](crate::load::load) is written for the output of compilers, and promises no bound
//! on what anything else costs, nor that it never panics.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label as ProtoLabel, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use crate::load;
use crate::model::{
    Enum, EnumValue, Field, File, Kind, Label, Location, Message, Method, Model, Origin, Rules, Service,
};

/// Largest descriptor set that [`load_descriptors`] takes, bytes.
pub const MAX_DESCRIPTOR_BYTES: usize = 256 * 1024;

/// Most files in a descriptor set, Google's included.
pub const MAX_FILES: usize = 256;

/// Most parts of a descriptor set: messages, fields, enums, values, services, imports, options and whatever else
/// may be repeated. A field that is written in a file takes at least 13 bytes of a set; one that is made to cost
/// takes two, and a hundred times as much memory.
pub const MAX_PARTS: usize = 20_000;

/// Deepest nesting of messages; 1 is a message in no other.
pub const MAX_DEPTH: usize = 32;

/// Longest full name, and longest name of a file, bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// Why a descriptor set was refused. No text is longer than 4 KiB or holds control characters, whoever wrote
/// the set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorsError {
    /// Over [`MAX_DESCRIPTOR_BYTES`].
    #[error("descriptors of {bytes} bytes, limit {MAX_DESCRIPTOR_BYTES}")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Over [`MAX_FILES`].
    #[error("descriptors of more than {MAX_FILES} files")]
    TooManyFiles,
    /// Over [`MAX_PARTS`].
    #[error("descriptors of more than {MAX_PARTS} messages, fields, enums, values and other parts")]
    TooManyParts,
    /// Over [`MAX_DEPTH`].
    #[error("messages nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Over [`MAX_NAME_BYTES`].
    #[error("a name of {bytes} bytes, limit {MAX_NAME_BYTES}: {shown}")]
    LongName {
        /// How long.
        bytes: usize,
        /// How it begins.
        shown: String,
    },
    /// The bytes are no descriptor set.
    #[error("not an encoded google.protobuf.FileDescriptorSet: {why}")]
    Malformed {
        /// What is wrong with them.
        why: String,
    },
    /// A file is written in an edition of protobuf.
    #[error("{file}: editions are not supported ({what}); write `syntax = \"proto3\";` there")]
    Edition {
        /// Its name.
        file: String,
        /// By what it is seen.
        what: &'static str,
    },
    /// A file has a name that is the stack's or Google's, and is not one of those they have.
    #[error("{file}: {owner} has no file of its own there; leave it out, or rename it")]
    ForeignFile {
        /// Its name.
        file: String,
        /// Whose the name is.
        owner: &'static str,
    },
    /// Two files of one name.
    #[error("{file}: twice in the set")]
    TwoFiles {
        /// The name.
        file: String,
    },
    /// An import that cannot be followed.
    #[error("{file}: imports {import}, which {why}")]
    Import {
        /// The file.
        file: String,
        /// What it imports.
        import: String,
        /// What is wrong with that.
        why: &'static str,
    },
    /// Two things of one full name.
    #[error("{file}: {name} is declared twice")]
    TwoNames {
        /// The file of the second.
        file: String,
        /// The name.
        name: String,
    },
    /// A type that is not there.
    #[error("{place}: its type is {name}, {why}")]
    Type {
        /// Full name of the field or method.
        place: String,
        /// The type's name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something that no compiler writes.
    #[error("{place}: {what}")]
    Invalid {
        /// Full name of what it is, or the file.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// The built-in files cannot be compiled.
    #[error("internal: the built-in files: {0}")]
    BuiltIn(String),
}

type Result<T> = std::result::Result<T, DescriptorsError>;

/// The model of an encoded `google.protobuf.FileDescriptorSet` as [`Model::descriptor_set`] writes it: each file
/// behind those it imports, types by full names with a dot before them. Files of `tagwire/` are not in it and those
/// of `google/protobuf/` are passed over: of both, the built-in ones are used. The model has no comments, and every
/// line is 1. It keeps the rules of tagwire only after [`check`](crate::check::check); it then has the fingerprint of
/// the model that wrote the set, and goes to [`compare`](crate::diff::compare). What only matters to code printed from
/// it, or to [`Model::descriptor_pool`], is not checked: defaults, JSON names, the extensions of others.
///
/// The bytes may come from anyone. What they can cost:
///
/// - Before anything is allocated for them: their number ([`MAX_DESCRIPTOR_BYTES`]), and by a first walk over them the
///   numbers of files ([`MAX_FILES`]) and of all that may be repeated ([`MAX_PARTS`]), the depth of messages
///   ([`MAX_DEPTH`]). Editions and features are refused there. The depth of everything else is the grammar's, or
///   prost's (100).
/// - Memory: the parts, each with a full name of at most [`MAX_NAME_BYTES`]. Names are ASCII identifiers, so that no
///   listing or log line can be forged by them.
/// - Time: all is looked up in hash tables, types and imports are looked up once each and never followed, so
///   that it is linear in the bytes, however types and imports refer to each other. The worst that is known takes
///   0.1 s, and with
///   check, fingerprint and comparison little more (20,000 messages in 32 others, `tests/descriptors.rs`).
///
/// # Errors
/// The first thing that is wrong with them.
pub fn load_descriptors(bytes: &[u8]) -> Result<Model> {
    if bytes.len() > MAX_DESCRIPTOR_BYTES {
        return Err(DescriptorsError::TooLarge { bytes: bytes.len() });
    }
    let built_in = built_in()?;
    let files = arrange(decode(bytes)?, built_in)?;
    let mut types = HashMap::new();
    for file in &files {
        let package = file.proto.package();
        for message in &file.proto.message_type {
            declare_message(file, package, message, &mut types)?;
        }
        for one in &file.proto.enum_type {
            declare(file, join(package, one.name())?, Declared::Enum, &mut types)?;
        }
        for service in &file.proto.service {
            declare(file, join(package, service.name())?, Declared::Service, &mut types)?;
        }
    }
    let mut model = Model { files: vec![], messages: vec![], enums: vec![], services: vec![] };
    for file in files {
        Reader { file: &file, types: &types, rule_values: &built_in.rule_values }.read(&mut model)?;
        model.files.push(File {
            path: PathBuf::from(&file.name),
            origin: file.origin,
            package: file.proto.package().to_string(),
            proto3: file.proto.syntax() == "proto3",
            imports: file.proto.dependency.clone(),
            descriptor: file.bytes,
            documented: file.proto,
            name: file.name,
        });
    }
    Ok(model)
}

/// The files that everyone has, each behind its imports.
struct BuiltIn {
    files: Vec<File>,
    /// Names of the values of the enums of the stack, by the enum's full name and the number.
    rule_values: HashMap<(String, i32), String>,
}

fn built_in() -> Result<&'static BuiltIn> {
    static ONCE: OnceLock<std::result::Result<BuiltIn, String>> = OnceLock::new();
    let built_in = ONCE.get_or_init(|| {
        let model = load::load_built_in().map_err(|error| error.to_string())?;
        let stack = model.enums.iter().filter(|e| e.origin == Origin::Stack);
        let rule_values = stack
            .flat_map(|e| e.values.iter().map(|v| ((e.full_name.clone(), v.number), v.name.clone())))
            .collect();
        Ok(BuiltIn { files: model.files, rule_values })
    });
    built_in.as_ref().map_err(|why| DescriptorsError::BuiltIn(why.clone()))
}

/// A text of theirs, fit for a line of a log.
fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 160;
    let mut shown: String = text.chars().take(MAX_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown += "...";
    }
    shown
}

// ---- the first walk ----

/// What a part of the bytes encodes, as far as the walk needs to know.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Set,
    File,
    Message,
    Field,
    Enum,
    Value,
    Oneof,
    Service,
    Method,
    Range,
    /// Options, with the number of the field `features` of its kind.
    Options(u32),
    Source,
    /// Only counted.
    Leaf,
}

impl Part {
    /// What the field of that number holds, where it may be repeated or has parts. After descriptor.proto.
    fn child(self, number: u32) -> Option<Part> {
        Some(match (self, number) {
            (Part::Set, 1) => Part::File,
            (Part::File, 3) => Part::Leaf,
            (Part::File, 4) | (Part::Message, 3) => Part::Message,
            (Part::File, 5) | (Part::Message, 4) => Part::Enum,
            (Part::File, 6) => Part::Service,
            (Part::File, 7) | (Part::Message, 2 | 6) => Part::Field,
            (Part::File, 8) => Part::Options(50),
            (Part::File, 9) => Part::Source,
            (Part::Message, 5) => Part::Range,
            (Part::Message, 7) => Part::Options(12),
            (Part::Message, 8) => Part::Oneof,
            (Part::Message, 9 | 10) | (Part::Enum, 4 | 5) | (Part::Source, 1) => Part::Leaf,
            (Part::Field, 8) => Part::Options(21),
            (Part::Enum, 2) => Part::Value,
            (Part::Enum, 3) => Part::Options(7),
            (Part::Value, 3) => Part::Options(2),
            (Part::Oneof, 2) => Part::Options(1),
            (Part::Service, 2) => Part::Method,
            (Part::Service, 3) => Part::Options(34),
            (Part::Method, 4) => Part::Options(35),
            (Part::Range, 3) => Part::Options(50),
            // Their own repeated ones, among them `uninterpreted_option`.
            (Part::Options(_), _) => Part::Leaf,
            _ => return None,
        })
    }
}

/// Counts what is there, and refuses what no library should see. Nothing is allocated.
#[derive(Default)]
struct Walk<'a> {
    files: usize,
    parts: usize,
    file: &'a [u8],
}

impl<'a> Walk<'a> {
    fn walk(&mut self, part: Part, bytes: &'a [u8], depth: usize) -> Result<()> {
        let mut wire = Wire(bytes);
        while let Some((number, inner)) = wire.next()? {
            match (part, number) {
                (Part::File, 14) => return Err(self.edition("it says which")),
                (Part::Options(features), n) if n == features => return Err(self.edition("it has features")),
                _ => {}
            }
            let (Some(inner), Some(child)) = (inner, part.child(number)) else { continue };
            self.parts += 1;
            if child == Part::File {
                self.files += 1;
                self.file = inner;
            }
            let depth = depth + usize::from(child == Part::Message);
            if self.files > MAX_FILES {
                return Err(DescriptorsError::TooManyFiles);
            }
            if self.parts > MAX_PARTS {
                return Err(DescriptorsError::TooManyParts);
            }
            if depth > MAX_DEPTH {
                return Err(DescriptorsError::TooDeep);
            }
            match child {
                // Its texts hold what we need not look into.
                Part::Leaf => {}
                child => self.walk(child, inner, depth)?,
            }
        }
        Ok(())
    }

    fn edition(&self, what: &'static str) -> DescriptorsError {
        let mut wire = Wire(self.file);
        let mut name: &[u8] = b"a file without a name";
        while let Ok(Some((number, inner))) = wire.next() {
            if let (1, Some(inner)) = (number, inner) {
                name = inner;
            }
        }
        DescriptorsError::Edition { file: shown(&String::from_utf8_lossy(name)), what }
    }
}

/// The fields of an encoded message: <https://protobuf.dev/programming-guides/encoding/>.
struct Wire<'a>(&'a [u8]);

/// Number of a field, and its bytes where it is a message, a text or bytes.
type WireField<'a> = (u32, Option<&'a [u8]>);

impl<'a> Wire<'a> {
    fn next(&mut self) -> Result<Option<WireField<'a>>> {
        // Groups of custom options are passed over as a whole; how they nest is left to the decoder.
        let mut groups = 0u32;
        loop {
            if self.0.is_empty() && groups == 0 {
                return Ok(None);
            }
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).map_err(|_| malformed("a field number out of range"))?;
            let mut inner = None;
            match key & 7 {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let length = self.varint()?;
                    inner = Some(self.take(length)?);
                }
                3 => groups += 1,
                4 => groups = groups.checked_sub(1).ok_or_else(|| malformed("a group that ends only"))?,
                5 => {
                    self.take(4)?;
                }
                _ => return Err(malformed("an unknown wire type")),
            }
            if groups == 0 {
                return Ok(Some((number, inner)));
            }
        }
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for at in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or_else(|| malformed("it ends in the middle"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed("a number of more than 10 bytes"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| malformed("it ends in the middle"))?;
        self.0 = rest;
        Ok(taken)
    }
}

fn malformed(why: &str) -> DescriptorsError {
    DescriptorsError::Malformed { why: why.to_string() }
}

// ---- the files ----

/// The part of a file that prost-types drops: our options.
#[derive(Clone, PartialEq, prost::Message)]
struct RawFile {
    #[prost(message, repeated, tag = "4")]
    message: Vec<RawMessage>,
    #[prost(message, repeated, tag = "6")]
    service: Vec<RawService>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawMessage {
    #[prost(message, repeated, tag = "3")]
    nested: Vec<RawMessage>,
    #[prost(message, optional, tag = "7")]
    options: Option<RawMessageOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawMessageOptions {
    #[prost(message, optional, tag = "50700")]
    rules: Option<RawRules>,
}

/// `tagwire.v1.Rules`; the crate with the type itself is built with this one.
#[derive(Clone, PartialEq, prost::Message)]
struct RawRules {
    #[prost(uint32, tag = "1")]
    tag: u32,
    #[prost(int32, tag = "2")]
    from: i32,
    #[prost(int32, tag = "3")]
    to: i32,
    #[prost(int32, tag = "4")]
    access: i32,
    #[prost(int32, tag = "5")]
    delivery: i32,
    #[prost(uint32, tag = "6")]
    max_bytes: u32,
    #[prost(string, tag = "7")]
    max_rate: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawService {
    #[prost(message, optional, tag = "3")]
    options: Option<RawServiceOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawServiceOptions {
    #[prost(message, optional, tag = "50700")]
    rules: Option<RawServiceRules>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawServiceRules {
    #[prost(int32, tag = "1")]
    at: i32,
}

/// A file, decoded.
struct Decoded {
    name: String,
    origin: Origin,
    bytes: Vec<u8>,
    proto: FileDescriptorProto,
    raw: RawFile,
}

impl Decoded {
    fn new(name: String, origin: Origin, bytes: Vec<u8>, proto: FileDescriptorProto) -> Result<Self> {
        let raw = RawFile::decode(bytes.as_slice()).map_err(|e| malformed(&shown(&e.to_string())))?;
        Ok(Decoded { name, origin, bytes, proto, raw })
    }
}

/// The files of a set, within the limits.
fn decode(bytes: &[u8]) -> Result<Vec<(&[u8], FileDescriptorProto)>> {
    Walk::default().walk(Part::Set, bytes, 0)?;
    let mut files = vec![];
    let mut wire = Wire(bytes);
    while let Some((number, inner)) = wire.next()? {
        if let (1, Some(inner)) = (number, inner) {
            let file = FileDescriptorProto::decode(inner).map_err(|e| malformed(&shown(&e.to_string())))?;
            files.push((inner, file));
        }
    }
    match files.is_empty() {
        true => Err(malformed("no file in it")),
        false => Ok(files),
    }
}

/// The set's own files, behind the built-in ones that they import.
fn arrange(set: Vec<(&[u8], FileDescriptorProto)>, built_in: &BuiltIn) -> Result<Vec<Decoded>> {
    let known: HashSet<&str> = built_in.files.iter().map(|f| f.name.as_str()).collect();
    let mut all = HashSet::new();
    for (_, file) in &set {
        file_name(file.name())?;
        if !all.insert(file.name().to_string()) {
            return Err(DescriptorsError::TwoFiles { file: shown(file.name()) });
        }
    }
    let mut wanted: HashSet<String> = HashSet::new();
    let mut own: Vec<Decoded> = vec![];
    let mut before: HashSet<String> = HashSet::new();
    for (bytes, file) in set {
        let name = file.name().to_string();
        let owner = match name.split_once('/') {
            Some(("tagwire", _)) => Some("tagwire"),
            _ if name.starts_with("google/protobuf/") && !known.contains(name.as_str()) => Some("Google"),
            _ => None,
        };
        if let Some(owner) = owner {
            return Err(DescriptorsError::ForeignFile { file: shown(&name), owner });
        }
        if name.starts_with("google/protobuf/") {
            wanted.insert(name);
            continue;
        }
        match file.syntax() {
            "" | "proto2" | "proto3" => {}
            "editions" => {
                return Err(DescriptorsError::Edition { file: shown(&name), what: "its syntax" });
            }
            other => {
                return Err(DescriptorsError::Invalid {
                    place: shown(&name),
                    what: format!("its syntax is {}, not proto2 or proto3", shown(other)),
                });
            }
        }
        if !file.package().is_empty() {
            for part in file.package().split('.') {
                identifier(&name, part)?;
            }
        }
        for import in &file.dependency {
            if known.contains(import.as_str()) {
                wanted.insert(import.clone());
                continue;
            }
            let why = match () {
                () if before.contains(import) => continue,
                () if *import == name => "is itself",
                () if all.contains(import) => "comes behind it: they import each other, or are out of order",
                () => "is not in the set",
            };
            return Err(DescriptorsError::Import { file: shown(&name), import: shown(import), why });
        }
        before.insert(name.clone());
        own.push(Decoded::new(name, Origin::Game, bytes.to_vec(), file)?);
    }
    // From the last to the first, so that what a wanted one imports is wanted before it is looked at.
    for file in built_in.files.iter().rev() {
        if wanted.contains(&file.name) {
            wanted.extend(file.imports.iter().cloned());
        }
    }
    let mut files = vec![];
    for file in built_in.files.iter().filter(|f| wanted.contains(&f.name)) {
        let (name, bytes) = (file.name.clone(), file.descriptor.clone());
        files.push(Decoded::new(name, file.origin, bytes, file.documented.clone())?);
    }
    files.append(&mut own);
    Ok(files)
}

fn file_name(name: &str) -> Result<()> {
    if name.len() > MAX_NAME_BYTES {
        return Err(DescriptorsError::LongName { bytes: name.len(), shown: shown(name) });
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(DescriptorsError::Invalid {
            place: "a file".to_string(),
            what: format!("its name is \"{}\"", shown(name)),
        });
    }
    Ok(())
}

// ---- names ----

#[derive(Clone, Copy, PartialEq)]
enum Declared {
    Message { map_entry: bool },
    Enum,
    Service,
}

fn declare_message(
    file: &Decoded,
    scope: &str,
    message: &DescriptorProto,
    types: &mut HashMap<String, Declared>,
) -> Result<()> {
    let name = join(scope, message.name())?;
    let map_entry = is_map_entry(message);
    declare(file, name.clone(), Declared::Message { map_entry }, types)?;
    for child in &message.nested_type {
        declare_message(file, &name, child, types)?;
    }
    for child in &message.enum_type {
        declare(file, join(&name, child.name())?, Declared::Enum, types)?;
    }
    Ok(())
}

fn declare(
    file: &Decoded,
    name: String,
    what: Declared,
    types: &mut HashMap<String, Declared>,
) -> Result<()> {
    match types.insert(name.clone(), what) {
        None => Ok(()),
        Some(_) => Err(DescriptorsError::TwoNames { file: shown(&file.name), name }),
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|o| o.map_entry())
}

/// A full name, of allowed parts and length.
fn join(scope: &str, name: &str) -> Result<String> {
    identifier(scope, name)?;
    let full_name = match scope {
        "" => name.to_string(),
        scope => format!("{scope}.{name}"),
    };
    match full_name.len() {
        ..=MAX_NAME_BYTES => Ok(full_name),
        bytes => Err(DescriptorsError::LongName { bytes, shown: shown(&full_name) }),
    }
}

fn identifier(place: &str, name: &str) -> Result<()> {
    if name.len() > MAX_NAME_BYTES {
        return Err(DescriptorsError::LongName { bytes: name.len(), shown: shown(name) });
    }
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    match first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        true => Ok(()),
        false => Err(DescriptorsError::Invalid {
            place: shown(place),
            what: format!("\"{}\" is not a name", shown(name)),
        }),
    }
}

// ---- the model ----

struct Reader<'a> {
    file: &'a Decoded,
    types: &'a HashMap<String, Declared>,
    rule_values: &'a HashMap<(String, i32), String>,
}

impl Reader<'_> {
    fn read(&self, into: &mut Model) -> Result<()> {
        let (proto, raw) = (&self.file.proto, &self.file.raw);
        for (message, raw) in proto.message_type.iter().zip(&raw.message) {
            self.message(message, raw, proto.package(), &[], into)?;
        }
        for one in &proto.enum_type {
            into.enums.push(self.enumeration(one, proto.package(), &[])?);
        }
        for (service, raw) in proto.service.iter().zip(&raw.service) {
            into.services.push(self.service(service, raw)?);
        }
        Ok(())
    }

    fn location(&self) -> Location {
        Location { path: PathBuf::from(&self.file.name), line: 1 }
    }

    fn message(
        &self,
        message: &DescriptorProto,
        raw: &RawMessage,
        around: &str,
        scope: &[String],
        into: &mut Model,
    ) -> Result<()> {
        let full_name = join(around, message.name())?;
        let invalid = |what: String| DescriptorsError::Invalid { place: full_name.clone(), what };
        let rules = raw.options.as_ref().and_then(|o| o.rules.as_ref());
        let rules = rules.map(|rules| self.rules(rules, &full_name)).transpose()?;
        let mut members = vec![0usize; message.oneof_decl.len()];
        let mut synthetic = vec![false; message.oneof_decl.len()];
        for field in &message.field {
            let Some(index) = field.oneof_index else { continue };
            let index = usize::try_from(index).ok().filter(|i| *i < members.len());
            let index = index.ok_or_else(|| invalid(format!("{} is in no oneof", shown(field.name()))))?;
            members[index] += 1;
            synthetic[index] |= field.proto3_optional();
        }
        let oneofs: Vec<Option<&str>> = message
            .oneof_decl
            .iter()
            .enumerate()
            // As `optional` is written in proto3: alone in a oneof that is not in the source.
            .map(|(at, oneof)| (!(synthetic[at] && members[at] == 1)).then_some(oneof.name()))
            .collect();
        let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
        for name in message.oneof_decl.iter().map(|o| o.name()).chain(message.field.iter().map(|f| f.name()))
        {
            join(&full_name, name)?;
            if !names.insert(name) {
                return Err(DescriptorsError::TwoNames {
                    file: shown(&self.file.name),
                    name: format!("{full_name}.{name}"),
                });
            }
        }
        let mut fields = Vec::with_capacity(message.field.len());
        for field in &message.field {
            let field = self.field(field, &full_name, &oneofs)?;
            if !numbers.insert(field.number) {
                return Err(invalid(format!("number {} is given twice", field.number)));
            }
            fields.push(field);
        }
        fields.sort_by_key(|f| f.number);
        let map_entry = is_map_entry(message);
        if map_entry {
            let key_and_value = fields.len() == 2 && numbers.contains(&1) && numbers.contains(&2);
            let single = fields.iter().all(|f| !matches!(f.label, Label::Repeated | Label::Map));
            if !key_and_value || !single || rules.is_some() {
                return Err(invalid("says to be the entry of a map, and is not key and value".to_string()));
            }
        }
        into.messages.push(Message {
            package: self.file.proto.package().to_string(),
            scope: scope.to_vec(),
            name: message.name().to_string(),
            comment: String::new(),
            location: self.location(),
            origin: self.file.origin,
            rules,
            fields,
            oneofs: oneofs.into_iter().flatten().map(str::to_string).collect(),
            map_entry,
            full_name: full_name.clone(),
        });
        let mut inner = scope.to_vec();
        inner.push(message.name().to_string());
        for (child, raw) in message.nested_type.iter().zip(&raw.nested) {
            self.message(child, raw, &full_name, &inner, into)?;
        }
        for child in &message.enum_type {
            into.enums.push(self.enumeration(child, &full_name, &inner)?);
        }
        Ok(())
    }

    fn rules(&self, rules: &RawRules, message: &str) -> Result<Rules> {
        // It is shown where it is no rate.
        if rules.max_rate.len() > 64 || rules.max_rate.chars().any(char::is_control) {
            return Err(DescriptorsError::Invalid {
                place: message.to_string(),
                what: format!("max_rate is \"{}\"", shown(&rules.max_rate)),
            });
        }
        let written = [
            ("tag", rules.tag != 0),
            ("from", rules.from != 0),
            ("to", rules.to != 0),
            ("access", rules.access != 0),
            ("delivery", rules.delivery != 0),
            ("max_bytes", rules.max_bytes != 0),
            ("max_rate", !rules.max_rate.is_empty()),
        ];
        Ok(Rules {
            tag: (rules.tag != 0).then_some(rules.tag),
            from: (rules.from != 0).then(|| self.rule_value("Sender", rules.from)),
            to: self.rule_value("Target", rules.to),
            access: self.rule_value("Access", rules.access),
            delivery: self.rule_value("Delivery", rules.delivery),
            max_bytes: rules.max_bytes,
            max_rate: rules.max_rate.clone(),
            written: written.iter().filter(|(_, is)| *is).map(|(name, _)| (*name).to_string()).collect(),
            location: self.location(),
        })
    }

    /// Name of a value; its number, where a newer stack knows more of them.
    fn rule_value(&self, of: &str, number: i32) -> String {
        let key = (format!("tagwire.v1.{of}.Value"), number);
        self.rule_values.get(&key).cloned().unwrap_or_else(|| number.to_string())
    }

    fn field(&self, field: &FieldDescriptorProto, around: &str, oneofs: &[Option<&str>]) -> Result<Field> {
        let place = || format!("{around}.{}", field.name());
        let number = u32::try_from(field.number()).unwrap_or(0);
        if !matches!(number, 1..=18_999 | 20_000..=536_870_911) {
            let what = format!("number {} is out of range", field.number());
            return Err(DescriptorsError::Invalid { place: place(), what });
        }
        let kind = self.kind(field, &place)?;
        let map_entry = match &kind {
            Kind::Message(name) => self.types.get(name) == Some(&Declared::Message { map_entry: true }),
            _ => false,
        };
        let oneof = field.oneof_index.and_then(|i| oneofs.get(usize::try_from(i).ok()?).copied());
        let presence = oneof.is_some()
            || field.proto3_optional()
            || matches!(kind, Kind::Message(_))
            || self.file.proto.syntax() != "proto3";
        let label = match ProtoLabel::try_from(field.label.unwrap_or(ProtoLabel::Optional as i32)) {
            Ok(ProtoLabel::Repeated) if map_entry => Label::Map,
            _ if map_entry => {
                let what = "is the entry of a map, and not repeated".to_string();
                return Err(DescriptorsError::Invalid { place: place(), what });
            }
            Ok(ProtoLabel::Repeated) => Label::Repeated,
            Ok(ProtoLabel::Required) => Label::Required,
            Ok(ProtoLabel::Optional) if presence => Label::Optional,
            Ok(ProtoLabel::Optional) => Label::Implicit,
            Err(_) => {
                let what = format!("label {} is none", field.label.unwrap_or(0));
                return Err(DescriptorsError::Invalid { place: place(), what });
            }
        };
        Ok(Field {
            name: field.name().to_string(),
            number,
            kind,
            label,
            oneof: oneof.flatten().map(str::to_string),
            comment: String::new(),
        })
    }

    fn kind(&self, field: &FieldDescriptorProto, place: &impl Fn() -> String) -> Result<Kind> {
        let Ok(of) = Type::try_from(field.r#type.unwrap_or(0)) else {
            let what = format!("type {} is none", field.r#type.unwrap_or(0));
            return Err(DescriptorsError::Invalid { place: place(), what });
        };
        Ok(Kind::Scalar(match of {
            Type::Message | Type::Group => {
                let (name, what) = self.resolve(field.type_name(), place)?;
                return match what {
                    Declared::Message { .. } => Ok(Kind::Message(name)),
                    _ => Err(DescriptorsError::Type { place: place(), name, why: "which is not a message" }),
                };
            }
            Type::Enum => {
                let (name, what) = self.resolve(field.type_name(), place)?;
                return match what {
                    Declared::Enum => Ok(Kind::Enum(name)),
                    _ => Err(DescriptorsError::Type { place: place(), name, why: "which is not an enum" }),
                };
            }
            Type::Double => "double",
            Type::Float => "float",
            Type::Int32 => "int32",
            Type::Int64 => "int64",
            Type::Uint32 => "uint32",
            Type::Uint64 => "uint64",
            Type::Sint32 => "sint32",
            Type::Sint64 => "sint64",
            Type::Fixed32 => "fixed32",
            Type::Fixed64 => "fixed64",
            Type::Sfixed32 => "sfixed32",
            Type::Sfixed64 => "sfixed64",
            Type::Bool => "bool",
            Type::String => "string",
            Type::Bytes => "bytes",
        }))
    }

    fn resolve(&self, name: &str, place: &impl Fn() -> String) -> Result<(String, Declared)> {
        // Compilers write full names; those that a scope would have to complete are not searched for.
        let found = name.strip_prefix('.').and_then(|name| Some((name.to_string(), *self.types.get(name)?)));
        found.ok_or_else(|| DescriptorsError::Type {
            place: place(),
            name: shown(name),
            why: "which is not in the set",
        })
    }

    fn enumeration(&self, one: &EnumDescriptorProto, around: &str, scope: &[String]) -> Result<Enum> {
        let full_name = join(around, one.name())?;
        if one.value.is_empty() {
            return Err(DescriptorsError::Invalid { place: full_name, what: "has no values".to_string() });
        }
        let mut names = HashSet::new();
        for value in &one.value {
            join(&full_name, value.name())?;
            if !names.insert(value.name()) {
                return Err(DescriptorsError::TwoNames {
                    file: shown(&self.file.name),
                    name: format!("{full_name}.{}", value.name()),
                });
            }
        }
        let values = one.value.iter().map(|v| EnumValue {
            name: v.name().to_string(),
            number: v.number(),
            comment: String::new(),
        });
        Ok(Enum {
            package: self.file.proto.package().to_string(),
            scope: scope.to_vec(),
            name: one.name().to_string(),
            comment: String::new(),
            origin: self.file.origin,
            values: values.collect(),
            full_name,
        })
    }

    fn service(&self, service: &prost_types::ServiceDescriptorProto, raw: &RawService) -> Result<Service> {
        let full_name = join(self.file.proto.package(), service.name())?;
        let at = raw.options.as_ref().and_then(|o| o.rules.as_ref()).map_or(0, |rules| rules.at);
        let mut names = HashSet::new();
        let mut methods = Vec::with_capacity(service.method.len());
        for method in &service.method {
            let place = join(&full_name, method.name())?;
            if !names.insert(method.name()) {
                return Err(DescriptorsError::TwoNames { file: shown(&self.file.name), name: place });
            }
            let message = |name: &str| match self.resolve(name, &|| place.clone())? {
                (name, Declared::Message { map_entry: false }) => Ok(name),
                (name, _) => {
                    Err(DescriptorsError::Type { place: place.clone(), name, why: "which is not a message" })
                }
            };
            methods.push(Method {
                name: method.name().to_string(),
                request: message(method.input_type())?,
                reply: message(method.output_type())?,
                streaming: method.client_streaming() || method.server_streaming(),
                comment: String::new(),
                location: self.location(),
            });
        }
        Ok(Service {
            package: self.file.proto.package().to_string(),
            name: service.name().to_string(),
            comment: String::new(),
            location: self.location(),
            origin: self.file.origin,
            at: self.rule_value("Place", at),
            methods,
            full_name,
        })
    }
}
