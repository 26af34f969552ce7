//! From a descriptor set that a stranger sent to a [`Model`]. Nothing but this module and prost's decoder reads the
//! bytes: the library behind [`load`](crate::load::load) is written for the output of compilers, and promises no bound
//! on what anything else costs, nor that it never panics. `walk` counts and bounds first, `reader` makes the model.

mod reader;
mod walk;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use prost::Message as _;
use prost_reflect::MessageDescriptor;
use prost_types::{DescriptorProto, FileDescriptorProto};

use self::reader::Reader;
use self::walk::{Part, Walk, Wire};
use crate::load;
use crate::model::{File, Model, Origin};

/// Largest descriptor set that [`load_descriptors`] takes, bytes.
pub const MAX_DESCRIPTOR_BYTES: usize = 256 * 1024;

/// Most files in a descriptor set, Google's included.
pub const MAX_FILES: usize = 256;

/// Most parts of a descriptor set: messages, fields, enums, values, services, imports, options and whatever else
/// may be repeated. A field that is written in a file takes at least 13 bytes of a set; one that is made to cost
/// takes two, and a hundred times as much memory.
pub const MAX_PARTS: usize = 20_000;

/// Largest descriptor set that [`load_documented`] takes, bytes: as much as fits into a frame.
pub const MAX_DOCUMENTED_BYTES: usize = 16 * 1024 * 1024;

/// Most files of that.
pub const MAX_DOCUMENTED_FILES: usize = 16_384;

/// Most parts of that, comments included: some hundred megabytes at the worst.
pub const MAX_DOCUMENTED_PARTS: usize = 1_000_000;

/// Deepest nesting of messages; 1 is a message in no other.
pub const MAX_DEPTH: usize = 32;

/// Longest full name, and longest name of a file, bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// Why a descriptor set was refused. No text is longer than 4 KiB or holds control characters, whoever wrote
/// the set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorsError {
    /// Over [`MAX_DESCRIPTOR_BYTES`] or [`MAX_DOCUMENTED_BYTES`].
    #[error("descriptors of {bytes} bytes, limit {limit}")]
    TooLarge {
        /// How many.
        bytes: usize,
        /// How many may be.
        limit: usize,
    },
    /// Over [`MAX_FILES`] or [`MAX_DOCUMENTED_FILES`].
    #[error("descriptors of more than {limit} files")]
    TooManyFiles {
        /// How many may be.
        limit: usize,
    },
    /// Over [`MAX_PARTS`] or [`MAX_DOCUMENTED_PARTS`].
    #[error("descriptors of more than {limit} messages, fields, enums, values and other parts")]
    TooManyParts {
        /// How many may be.
        limit: usize,
    },
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
/// of `google/protobuf/` and `buf/validate/` are passed over: of all, the built-in ones are used. The model has the comments that are in
/// the set, and every line is 1. It keeps the rules of tagwire only after [`check`](crate::check::check); it then has the fingerprint of
/// the model that wrote the set, and goes to [`compare`](crate::diff::compare). Extensions, which no model has, are held to
/// the same rules as fields, since code is printed of them. Not checked is what is only ever printed as text, or matters
/// to [`Model::descriptor_pool`] alone: defaults, JSON names, options of others, whether a message lets itself be
/// extended by that number, whether a file imports what it names.
///
/// The bytes may come from anyone. What they can cost:
///
/// - Before anything is allocated for them: their number ([`MAX_DESCRIPTOR_BYTES`]), and by a first walk over them the
///   numbers of files ([`MAX_FILES`]) and of all that may be repeated ([`MAX_PARTS`]), the depth of messages
///   ([`MAX_DEPTH`]). Editions and features are refused there. The depth of everything else is the grammar's, or
///   prost's (100).
/// - Memory: the parts, each with a full name of at most [`MAX_NAME_BYTES`]. Names are ASCII identifiers, and those of files
///   plain relative paths, so that no listing, log line or printed file can be forged by them.
/// - Time: all is looked up in hash tables, types and imports are looked up once each and never followed, so
///   that it is linear in the bytes, however types and imports refer to each other. The worst that is known takes
///   0.1 s, and with
///   check, fingerprint and comparison little more (20,000 messages in 32 others, `tests/descriptors.rs`).
///
/// # Errors
/// The first thing that is wrong with them.
pub fn load_descriptors(bytes: &[u8]) -> Result<Model> {
    let most = Most { bytes: MAX_DESCRIPTOR_BYTES, files: MAX_FILES, parts: MAX_PARTS };
    load_within(bytes, most)
}

/// The model of what [`Model::documented_set`] writes: as [`load_descriptors`], for whoever asked for the set and waits for
/// it. It may be as large as a frame ([`MAX_DOCUMENTED_BYTES`], [`MAX_DOCUMENTED_FILES`], [`MAX_DOCUMENTED_PARTS`]), and what
/// is printed from the model is, byte for byte, what is printed from the model that wrote the set.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn load_documented(bytes: &[u8]) -> Result<Model> {
    let most = Most { bytes: MAX_DOCUMENTED_BYTES, files: MAX_DOCUMENTED_FILES, parts: MAX_DOCUMENTED_PARTS };
    load_within(bytes, most)
}

/// Bounds of a set.
#[derive(Clone, Copy)]
struct Most {
    bytes: usize,
    files: usize,
    parts: usize,
}

fn load_within(bytes: &[u8], most: Most) -> Result<Model> {
    if bytes.len() > most.bytes {
        return Err(DescriptorsError::TooLarge { bytes: bytes.len(), limit: most.bytes });
    }
    let built_in = built_in()?;
    let files = arrange(decode(bytes, most)?, built_in)?;
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
        for extension in &file.proto.extension {
            declare(file, join(package, extension.name())?, Declared::Extension, &mut types)?;
        }
    }
    let mut model = Model::default();
    for file in files {
        Reader::new(&file, &types, built_in).read(&mut model)?;
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
    /// `buf.validate.FieldRules`, `MessageRules` and `OneofRules`.
    field_rules: MessageDescriptor,
    message_rules: MessageDescriptor,
    oneof_rules: MessageDescriptor,
}

fn built_in() -> Result<&'static BuiltIn> {
    static ONCE: OnceLock<std::result::Result<BuiltIn, String>> = OnceLock::new();
    let built_in = ONCE.get_or_init(|| {
        let model = load::load_built_in().map_err(|error| error.to_string())?;
        let stack = model.enums.iter().filter(|e| e.origin == Origin::Stack);
        let rule_values = stack
            .flat_map(|e| e.values.iter().map(|v| ((e.full_name.clone(), v.number), v.name.clone())))
            .collect();
        let pool = model.descriptor_pool().map_err(|error| error.to_string())?;
        let rules = |name: &str| {
            pool.get_message_by_name(&format!("buf.validate.{name}")).ok_or(format!("no {name}"))
        };
        Ok(BuiltIn {
            field_rules: rules("FieldRules")?,
            message_rules: rules("MessageRules")?,
            oneof_rules: rules("OneofRules")?,
            files: model.files,
            rule_values,
        })
    });
    built_in.as_ref().map_err(|why| DescriptorsError::BuiltIn(why.clone()))
}

fn malformed(why: &str) -> DescriptorsError {
    DescriptorsError::Malformed { why: why.to_string() }
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
    #[prost(message, repeated, tag = "2")]
    field: Vec<RawField>,
    #[prost(message, repeated, tag = "8")]
    oneof: Vec<RawOneof>,
    #[prost(message, repeated, tag = "3")]
    nested: Vec<RawMessage>,
    #[prost(message, optional, tag = "7")]
    options: Option<RawMessageOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawMessageOptions {
    #[prost(message, optional, tag = "50700")]
    rules: Option<RawRules>,
    #[prost(bytes = "vec", repeated, tag = "1159")]
    validate: Vec<Vec<u8>>,
}

/// A field, or a oneof, of a message.
#[derive(Clone, PartialEq, prost::Message)]
struct RawField {
    #[prost(message, optional, tag = "8")]
    options: Option<RawFieldOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawOneof {
    #[prost(message, optional, tag = "2")]
    options: Option<RawFieldOptions>,
}

/// Options of `buf.validate`; what is written in several pieces is one message.
#[derive(Clone, PartialEq, prost::Message)]
struct RawFieldOptions {
    #[prost(bytes = "vec", repeated, tag = "1159")]
    validate: Vec<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1160")]
    predefined: Option<Vec<u8>>,
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
    /// Without comments.
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
fn decode(bytes: &[u8], most: Most) -> Result<Vec<(&[u8], FileDescriptorProto)>> {
    Walk::new(most).walk(Part::Set, bytes, 0)?;
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
    let mut files = Arranged { built_in, files: vec![], placed: HashSet::new() };
    let mut before: HashSet<String> = HashSet::new();
    for (bytes, file) in set {
        let name = file.name().to_string();
        let owner = match name.split_once('/') {
            Some(("tagwire", _)) => Some("tagwire"),
            _ if name.starts_with("buf/validate/") && !known.contains(name.as_str()) => Some("buf.validate"),
            _ if name.starts_with("google/protobuf/") && !known.contains(name.as_str()) => Some("Google"),
            _ => None,
        };
        if let Some(owner) = owner {
            return Err(DescriptorsError::ForeignFile { file: shown(&name), owner });
        }
        if known.contains(name.as_str()) {
            files.place_built_in(&name)?;
            continue;
        }
        // Left out, it is proto2.
        match file.syntax.as_deref() {
            None | Some("proto2" | "proto3") => {}
            Some("editions") => {
                return Err(DescriptorsError::Edition { file: shown(&name), what: "its syntax" });
            }
            Some(other) => {
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
                files.place_built_in(import)?;
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
        files.files.push(Decoded::new(name, Origin::Game, without_comments(bytes)?, file)?);
    }
    Ok(files.files)
}

/// Files in their order.
struct Arranged<'a> {
    built_in: &'a BuiltIn,
    files: Vec<Decoded>,
    /// The built-in ones among them.
    placed: HashSet<&'a str>,
}

impl<'a> Arranged<'a> {
    /// Puts a built-in file next, behind those that it imports, unless it has its place: where the set has it, so that what
    /// is made of the model has the order that its files had.
    fn place_built_in(&mut self, name: &str) -> Result<()> {
        let built_in: &'a BuiltIn = self.built_in;
        // They are not nested deeply: nobody else writes them.
        let Some(file) = built_in.files.iter().find(|f| f.name == name) else { return Ok(()) };
        if !self.placed.insert(&file.name) {
            return Ok(());
        }
        for import in &file.imports {
            self.place_built_in(import)?;
        }
        let (name, bytes) = (file.name.clone(), file.descriptor.clone());
        self.files.push(Decoded::new(name, file.origin, bytes, file.documented.clone())?);
        Ok(())
    }
}

/// An encoded file as compilers write it that are not asked for `source_code_info`, which is field 9.
fn without_comments(bytes: &[u8]) -> Result<Vec<u8>> {
    let (mut wire, mut without) = (Wire(bytes), Vec::with_capacity(bytes.len()));
    loop {
        let before = wire.0;
        let Some((number, _)) = wire.next()? else { return Ok(without) };
        if number != 9 {
            without.extend_from_slice(&before[..before.len() - wire.0.len()]);
        }
    }
}

/// Names become paths of what is printed, and stand in its comments: in them is nothing that leads elsewhere, or ends a line
/// in any language.
fn file_name(name: &str) -> Result<()> {
    if name.len() > MAX_NAME_BYTES {
        return Err(DescriptorsError::LongName { bytes: name.len(), shown: shown(name) });
    }
    let is_plain = |c: char| c.is_alphanumeric() || "_./+- ".contains(c);
    let leads_on = |part: &str| !matches!(part, "" | "." | "..");
    if !name.chars().all(is_plain) || !name.split('/').all(leads_on) {
        return Err(DescriptorsError::Invalid {
            place: "a file".to_string(),
            what: format!(
                "its name is \"{}\", not letters, digits, spaces and _ . + - in a path without empty parts and ..",
                shown(name)
            ),
        });
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Declared {
    Message { map_entry: bool },
    Enum,
    Service,
    Extension,
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
    for extension in &message.extension {
        declare(file, join(&name, extension.name())?, Declared::Extension, types)?;
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
