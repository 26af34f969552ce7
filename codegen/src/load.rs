//! From `.proto` files on disk to a [`Model`]. Uses a compiler written in Rust (protox): no protoc anywhere.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost_reflect::prost_types::source_code_info::Location as SourceLocation;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor,
    FileDescriptor, Kind as ReflectKind, MessageDescriptor, ReflectMessage, ServiceDescriptor, Syntax, Value,
};
use protox::file::{ChainFileResolver, File as ProtoxFile, FileResolver, GoogleFileResolver};

use crate::constraints::{Constraints, MessageConstraints, Placed};
pub use crate::descriptors::{
    DescriptorsError, MAX_DEPTH, MAX_DESCRIPTOR_BYTES, MAX_DOCUMENTED_BYTES, MAX_DOCUMENTED_FILES,
    MAX_DOCUMENTED_PARTS, MAX_FILES, MAX_NAME_BYTES, MAX_PARTS, load_descriptors, load_documented,
};
use crate::error::Error;
use crate::model::{
    Enum, EnumValue, Field, File, Kind, Label, Location, Message, Method, Model, Origin, RawFileSet, Rules,
    Service,
};
use crate::option_error;

/// The stack's own schema files, which every schema may import without having a copy.
const STACK: [(&str, &str); 3] = [
    ("tagwire/v1/options.proto", include_str!("../../proto/tagwire/v1/options.proto")),
    ("tagwire/v1/session.proto", include_str!("../../proto/tagwire/v1/session.proto")),
    ("tagwire/v1/room.proto", include_str!("../../proto/tagwire/v1/room.proto")),
];

/// The rules of field constraints, which every schema may import without having a copy. Where the file is from is
/// said beside it.
const VALIDATE: (&str, &str) =
    ("buf/validate/validate.proto", include_str!("../proto/buf/validate/validate.proto"));

/// The built-in files that are no schema of Google's.
fn built_in_texts() -> impl Iterator<Item = (String, String)> {
    STACK.into_iter().chain([VALIDATE]).map(|(name, text)| (name.to_string(), text.to_string()))
}

/// Loads all `.proto` files below the given folders; the folders are the roots that imports are relative to.
/// Files below `tagwire/` and `buf/validate/` of a root are passed over: the built-in ones are used. A root may be a
/// single `.proto` file instead: it and what it imports are loaded, imports relative to its folder.
///
/// # Errors
/// What keeps the files from being read or understood, with file and line. The rules of tagwire are not judged
/// here but by [`crate::check`].
pub fn load(roots: &[PathBuf]) -> Result<Model, Error> {
    let mut sources = BTreeMap::new();
    for root in roots {
        if root.is_file() {
            collect_file(root, &mut sources)?;
        } else {
            collect(root, root, &mut sources)?;
        }
    }
    if sources.is_empty() {
        let roots: Vec<_> = roots.iter().map(|r| r.display().to_string()).collect();
        return Err(Error::NoSchema { roots: roots.join(", ") });
    }
    for source in sources.values() {
        refuse_editions(source)?;
    }
    let names: Vec<String> = sources.keys().cloned().collect();
    compile(&names, sources)
}

/// Loads the stack's own schema.
///
/// # Errors
/// None that a user could cause.
pub fn load_stack() -> Result<Model, Error> {
    let names: Vec<String> = STACK.iter().map(|(name, _)| (*name).to_string()).collect();
    compile(&names, BTreeMap::new())
}

/// Google's files that the compiler has.
const GOOGLE: [&str; 12] = [
    "google/protobuf/any.proto",
    "google/protobuf/api.proto",
    "google/protobuf/compiler/plugin.proto",
    "google/protobuf/descriptor.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/source_context.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/type.proto",
    "google/protobuf/wrappers.proto",
];

/// Loads all files that a schema may import without having a copy.
pub(crate) fn load_built_in() -> Result<Model, Error> {
    let names = built_in_texts().map(|(name, _)| name).chain(GOOGLE.map(str::to_string)).collect::<Vec<_>>();
    compile(&names, BTreeMap::new())
}

#[derive(Clone)]
struct Source {
    path: PathBuf,
    text: String,
}

fn add(into: &mut BTreeMap<String, Source>, name: String, path: PathBuf) -> Result<(), Error> {
    let text = fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
    match into.insert(name.clone(), Source { path: path.clone(), text }) {
        Some(other) if other.path != path => Err(Error::TwoFiles { name, first: other.path, second: path }),
        _ => Ok(()),
    }
}

/// A file and, from its folder, what it imports; what is not there is left to the compiler to complain about.
fn collect_file(file: &Path, into: &mut BTreeMap<String, Source>) -> Result<(), Error> {
    let root = file.parent().unwrap_or(Path::new(""));
    let mut wanted = vec![file.file_name().unwrap_or_default().to_string_lossy().into_owned()];
    while let Some(name) = wanted.pop() {
        let path = root.join(&name);
        if into.get(&name).is_some_and(|known| known.path == path) || !path.is_file() {
            continue;
        }
        add(into, name.clone(), path)?;
        if let Ok(parsed) = ProtoxFile::from_source(&name, &into[&name].text) {
            let imports = parsed.file_descriptor_proto().dependency.iter();
            wanted.extend(imports.filter(|import| !is_built_in(import)).cloned());
        }
    }
    Ok(())
}

/// True for a file of the stack's, or of `buf.validate`, and for their folders.
fn is_built_in(name: &str) -> bool {
    name.starts_with("tagwire/") || name.starts_with("buf/validate/")
}

fn collect(root: &Path, dir: &Path, into: &mut BTreeMap<String, Source>) -> Result<(), Error> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    };
    for entry in fs::read_dir(dir).map_err(io(dir))? {
        let path = entry.map_err(io(dir))?.path();
        let name = path.strip_prefix(root).unwrap_or(&path);
        let name = name.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        if path.is_dir() {
            if !is_built_in(&format!("{name}/")) {
                collect(root, &path, into)?;
            }
        } else if path.extension().is_some_and(|e| e == "proto") {
            add(into, name, path)?;
        }
    }
    Ok(())
}

/// Descriptor libraries panic on editions or fail with a puzzle, so they are refused before any of them looks.
fn refuse_editions(source: &Source) -> Result<(), Error> {
    let (line, first) = first_statement(&source.text);
    match first.strip_prefix("edition") {
        Some(rest) if first_statement(rest).1.starts_with('=') => Err(Error::Edition {
            location: Location { path: source.path.clone(), line },
            statement: first.split_inclusive(';').next().unwrap_or(first).trim().to_string(),
        }),
        _ => Ok(()),
    }
}

/// The text from the first token that is not blank or a comment, and its line.
fn first_statement(text: &str) -> (usize, &str) {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else {
            let before = &text[..text.len() - rest.len()];
            return (before.matches('\n').count() + 1, rest);
        }
    }
}

/// Serves the files that were read, and the built-in ones.
struct Memory(BTreeMap<String, String>);

impl FileResolver for Memory {
    fn open_file(&self, name: &str) -> Result<ProtoxFile, protox::Error> {
        let text = self.0.get(name).ok_or_else(|| protox::Error::file_not_found(name))?;
        ProtoxFile::from_source(name, text)
    }
}

fn compile(names: &[String], sources: BTreeMap<String, Source>) -> Result<Model, Error> {
    let mut texts: BTreeMap<String, String> = built_in_texts().collect();
    texts.extend(sources.iter().map(|(name, source)| (name.clone(), source.text.clone())));
    let paths: HashMap<String, PathBuf> = sources.into_iter().map(|(name, s)| (name, s.path)).collect();

    let mut chain = ChainFileResolver::new();
    chain.add(Memory(texts.clone()));
    chain.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(chain);
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(names).map_err(|error| located(&error, &paths, &texts))?;
    let pool = compiler.descriptor_pool();
    // Encoded by the compiler: prost-types would drop our options.
    let set = compiler.encode_file_descriptor_set();
    let set: RawFileSet = prost::Message::decode(set.as_slice()).map_err(Error::Descriptor)?;

    let mut model = Model { files: vec![], messages: vec![], enums: vec![], services: vec![] };
    for ((file, meta), descriptor) in
        in_compiled_order(&pool, &compiler).into_iter().zip(compiler.files()).zip(set.file)
    {
        debug_assert_eq!(file.name(), meta.name());
        let reader = FileReader::new(&pool, &file, paths.get(file.name()));
        model.files.push(File {
            name: file.name().to_string(),
            path: reader.path.clone(),
            origin: reader.origin,
            package: file.package_name().to_string(),
            proto3: file.syntax() == Syntax::Proto3,
            imports: file.dependencies().map(|f| f.name().to_string()).collect(),
            descriptor: without_source(&descriptor)?,
            documented: file.file_descriptor_proto().clone(),
        });
        for message in file.messages() {
            reader.message(&message, &[], &mut model);
        }
        for one in file.enums() {
            model.enums.push(reader.enumeration(&one, &[]));
        }
        for service in file.services() {
            model.services.push(reader.service(&service));
        }
    }
    Ok(model)
}

/// A file's descriptor without field 9, the positions and comments.
fn without_source(descriptor: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bare = Vec::with_capacity(descriptor.len());
    let mut rest = descriptor;
    while !rest.is_empty() {
        let whole = rest;
        let (number, wire) = decode_key(&mut rest).map_err(Error::Descriptor)?;
        skip_field(wire, number, &mut rest, DecodeContext::default()).map_err(Error::Descriptor)?;
        if number != 9 {
            bare.extend_from_slice(&whole[..whole.len() - rest.len()]);
        }
    }
    Ok(bare)
}

fn in_compiled_order(pool: &DescriptorPool, compiler: &protox::Compiler) -> Vec<FileDescriptor> {
    compiler.files().filter_map(|meta| pool.get_file_by_name(meta.name())).collect()
}

/// protox says `name:line:column: what`; the name becomes the path that the user can open.
fn located(
    error: &protox::Error,
    paths: &HashMap<String, PathBuf>,
    texts: &BTreeMap<String, String>,
) -> Error {
    let mut text = format!("{error:?}");
    let mut why = None;
    if let Some(name) = error.file() {
        why = texts.get(name).and_then(|source| why_option(&text, name, source));
        let shown = paths.get(name).map_or_else(|| name.to_string(), |p| p.display().to_string());
        text = match text.strip_prefix(&format!("{name}:")) {
            Some(rest) => format!("{shown}:{rest}"),
            None => format!("{shown}: {text}"),
        };
    }
    if let Some((why, fix)) = why {
        text = format!("{text}: {why}\n  fix: {fix}");
    } else if text.contains("'tagwire.v1.rules' resolves to")
        || text.contains("'tagwire.v1.service' resolves to")
    {
        text += "\n  fix: an inner name `tagwire` hides ours; begin with a dot: `option (.tagwire.v1.rules)`";
    } else if text.contains("'buf.validate.") && text.contains(" resolves to") {
        text += "\n  fix: an inner name `buf` hides it; begin with a dot: `[(.buf.validate.field).string.min_len = 1]`";
    } else if text.contains("buf.validate.") {
        text += "\n  fix: write `import \"buf/validate/validate.proto\";`, and rules as in docs/guides/validation.md";
    } else if error.is_file_not_found() {
        text += "\n  fix: imports are relative to the schema's root folder; check the spelling of the path";
    }
    Error::Compile { text }
}

/// What is wrong inside of an option, and the fix.
fn why_option(text: &str, name: &str, source: &str) -> Option<(String, String)> {
    let mut place = text.strip_prefix(name)?.strip_prefix(':')?.splitn(3, ':');
    let (line, column) = (place.next()?.parse().ok()?, place.next()?.parse().ok()?);
    let mut compiler = protox::Compiler::with_file_resolver({
        let mut chain = ChainFileResolver::new();
        chain.add(Memory(built_in_texts().collect()));
        chain.add(GoogleFileResolver::new());
        chain
    });
    compiler.open_files(built_in_texts().map(|(name, _)| name)).ok()?;
    option_error::explain(&compiler.descriptor_pool(), place.next()?, source, line, column)
}

/// Field 8 of a field is its options, 1159 the extension of `buf.validate` in them.
const FIELD_OPTION: [i32; 2] = [8, 1159];

/// What is said before something, or else behind it.
pub(crate) fn comment(location: &SourceLocation) -> String {
    let text = location.leading_comments.as_ref().or(location.trailing_comments.as_ref());
    let lines = text.map(String::as_str).unwrap_or_default().trim_end().lines();
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}

struct FileReader<'a> {
    rules: Option<ExtensionDescriptor>,
    service: Option<ExtensionDescriptor>,
    validate: Validate,
    /// By their paths: a file has a location for each name in it, so that looking through them each time would
    /// cost seconds where there are hundreds of messages.
    locations: HashMap<&'a [i32], &'a SourceLocation>,
    /// Of the options of fields, in the order of the file.
    options: HashMap<&'a [i32], &'a SourceLocation>,
    path: PathBuf,
    origin: Origin,
}

impl<'a> FileReader<'a> {
    fn new(pool: &DescriptorPool, file: &'a FileDescriptor, path: Option<&PathBuf>) -> Self {
        let name = file.name();
        let source = file.file_descriptor_proto().source_code_info.as_ref();
        let (mut locations, mut options) = (HashMap::new(), HashMap::new());
        for location in source.iter().flat_map(|s| &s.location) {
            locations.entry(location.path.as_slice()).or_insert(location);
            // By the field's path: behind the option's stands the path of a rule that is written alone.
            if let Some(at) = location.path.windows(2).rposition(|two| two == FIELD_OPTION) {
                options.entry(&location.path[..at]).or_insert(location);
            }
        }
        FileReader {
            rules: pool.get_extension_by_name("tagwire.v1.rules"),
            service: pool.get_extension_by_name("tagwire.v1.service"),
            validate: Validate::of(pool),
            locations,
            options,
            path: path.cloned().unwrap_or_else(|| PathBuf::from(name)),
            origin: if path.is_some() {
                Origin::Game
            } else if name.starts_with("google/protobuf/") {
                Origin::Google
            } else if name == VALIDATE.0 {
                Origin::Validate
            } else {
                Origin::Stack
            },
        }
    }

    fn find(&self, path: &[i32]) -> Option<&'a SourceLocation> {
        self.locations.get(path).copied()
    }

    fn location(&self, path: &[i32]) -> Location {
        let line = self.find(path).and_then(|l| l.span.first()).copied().unwrap_or(0);
        Location { path: self.path.clone(), line: usize::try_from(line).unwrap_or(0) + 1 }
    }

    fn comment(&self, path: &[i32]) -> String {
        self.find(path).map(comment).unwrap_or_default()
    }

    fn message(&self, message: &MessageDescriptor, scope: &[String], into: &mut Model) {
        let mut fields: Vec<_> = message.fields().map(|f| self.field(&f)).collect();
        fields.sort_by_key(|f| f.number);
        into.messages.push(Message {
            full_name: message.full_name().to_string(),
            package: message.package_name().to_string(),
            scope: scope.to_vec(),
            name: message.name().to_string(),
            comment: self.comment(message.path()),
            location: self.location(message.path()),
            origin: self.origin,
            rules: self.message_rules(message),
            fields,
            oneofs: message.oneofs().filter(|o| !o.is_synthetic()).map(|o| o.name().to_string()).collect(),
            map_entry: message.is_map_entry(),
            constraints: self.validate.message(message),
        });
        let mut inner = scope.to_vec();
        inner.push(message.name().to_string());
        for child in message.child_messages() {
            self.message(&child, &inner, into);
        }
        for child in message.child_enums() {
            into.enums.push(self.enumeration(&child, &inner));
        }
    }

    fn message_rules(&self, message: &MessageDescriptor) -> Option<Rules> {
        let extension = self.rules.as_ref()?;
        let options = message.options();
        if !options.has_extension(extension) {
            return None;
        }
        let value = options.get_extension(extension);
        let rules = value.as_message()?;
        let number = |name: &str| rules.get_field_by_name(name).and_then(|v| v.as_u32()).unwrap_or(0);
        let text = |name: &str| {
            rules.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default()
        };
        let written: Vec<String> = rules.fields().map(|(f, _)| f.name().to_string()).collect();
        let from = enum_name(rules, "from");
        // The option's own place: field 7 of the message is its options, and our extension's number in them.
        let option_path: Vec<i32> = message.path().iter().copied().chain([7, 50700]).collect();
        let place = if self.find(&option_path).is_some() { &option_path } else { message.path() };
        Some(Rules {
            tag: written.iter().any(|w| w == "tag").then(|| number("tag")),
            from: (from != "UNSPECIFIED").then_some(from),
            to: enum_name(rules, "to"),
            access: enum_name(rules, "access"),
            delivery: enum_name(rules, "delivery"),
            max_bytes: number("max_bytes"),
            max_rate: text("max_rate"),
            written,
            location: self.location(place),
        })
    }

    fn field(&self, field: &FieldDescriptor) -> Field {
        let oneof = field.containing_oneof().filter(|o| !o.is_synthetic()).map(|o| o.name().to_string());
        let label = if field.is_map() {
            Label::Map
        } else {
            match field.cardinality() {
                Cardinality::Repeated => Label::Repeated,
                Cardinality::Required => Label::Required,
                Cardinality::Optional if field.supports_presence() => Label::Optional,
                Cardinality::Optional => Label::Implicit,
            }
        };
        Field {
            name: field.name().to_string(),
            number: field.number(),
            kind: kind(&field.kind()),
            label,
            oneof,
            constraints: self.constraints(field),
            comment: self.comment(field.path()),
        }
    }

    fn constraints(&self, field: &FieldDescriptor) -> Option<Placed> {
        let constraints = self.validate.field(field)?;
        let written = self.options.get(field.path());
        let location = self.location(written.map_or(field.path(), |l| &l.path));
        Some(Placed { constraints, location })
    }

    fn enumeration(&self, one: &EnumDescriptor, scope: &[String]) -> Enum {
        let mut values: Vec<_> = one.values().collect();
        // They come sorted by number; the last part of a path counts what is written.
        values.sort_by_key(|v| v.path().last().copied());
        Enum {
            full_name: one.full_name().to_string(),
            package: one.package_name().to_string(),
            scope: scope.to_vec(),
            name: one.name().to_string(),
            comment: self.comment(one.path()),
            origin: self.origin,
            values: values
                .iter()
                .map(|v| EnumValue {
                    name: v.name().to_string(),
                    number: v.number(),
                    comment: self.comment(v.path()),
                })
                .collect(),
        }
    }

    fn service(&self, service: &ServiceDescriptor) -> Service {
        let at = self.service.as_ref().and_then(|extension| {
            let options = service.options();
            let value = options.get_extension(extension);
            value.as_message().map(|rules| enum_name(rules, "at"))
        });
        Service {
            full_name: service.full_name().to_string(),
            package: service.package_name().to_string(),
            name: service.name().to_string(),
            comment: self.comment(service.path()),
            location: self.location(service.path()),
            origin: self.origin,
            at: at.unwrap_or_else(|| "SERVER".to_string()),
            methods: service
                .methods()
                .map(|m| Method {
                    name: m.name().to_string(),
                    request: m.input().full_name().to_string(),
                    reply: m.output().full_name().to_string(),
                    streaming: m.is_client_streaming() || m.is_server_streaming(),
                    comment: self.comment(m.path()),
                    location: self.location(m.path()),
                })
                .collect(),
        }
    }
}

/// The options of `buf.validate`, in the pool of a schema; all are `None` where it does not import them.
struct Validate {
    field: Option<ExtensionDescriptor>,
    message: Option<ExtensionDescriptor>,
    oneof: Option<ExtensionDescriptor>,
    predefined: Option<ExtensionDescriptor>,
}

impl Validate {
    fn of(pool: &DescriptorPool) -> Self {
        let get = |name: &str| pool.get_extension_by_name(&format!("buf.validate.{name}"));
        Validate {
            field: get("field"),
            message: get("message"),
            oneof: get("oneof"),
            predefined: get("predefined"),
        }
    }

    fn field(&self, field: &FieldDescriptor) -> Option<Constraints> {
        let options = field.options();
        let mut constraints = option(self.field.as_ref(), &options, Constraints::of);
        if self.predefined.as_ref().is_some_and(|extension| options.has_extension(extension)) {
            constraints.get_or_insert_default().refused.push("(buf.validate.predefined)".to_string());
        }
        constraints
    }

    fn message(&self, message: &MessageDescriptor) -> MessageConstraints {
        let mut found = MessageConstraints::default();
        option(self.message.as_ref(), &message.options(), |rules| found.add_message(rules));
        for oneof in message.oneofs() {
            option(self.oneof.as_ref(), &oneof.options(), |rules| found.add_oneof(oneof.name(), rules));
        }
        found
    }
}

/// What `read` makes of an extension of some options, where it is written.
fn option<T>(
    extension: Option<&ExtensionDescriptor>,
    options: &DynamicMessage,
    read: impl FnOnce(&DynamicMessage) -> T,
) -> Option<T> {
    let extension = extension.filter(|extension| options.has_extension(extension))?;
    options.get_extension(extension).as_message().map(read)
}

/// Name of the value of an enum field; its default's where it is not written.
fn enum_name(message: &DynamicMessage, field: &str) -> String {
    let Some(descriptor) = message.descriptor().get_field_by_name(field) else { return String::new() };
    let ReflectKind::Enum(of) = descriptor.kind() else { return String::new() };
    match message.get_field(&descriptor).as_ref() {
        Value::EnumNumber(number) => {
            of.get_value(*number).map_or_else(|| number.to_string(), |v| v.name().to_string())
        }
        _ => String::new(),
    }
}

fn kind(kind: &ReflectKind) -> Kind {
    Kind::Scalar(match kind {
        ReflectKind::Message(m) => return Kind::Message(m.full_name().to_string()),
        ReflectKind::Enum(e) => return Kind::Enum(e.full_name().to_string()),
        ReflectKind::Double => "double",
        ReflectKind::Float => "float",
        ReflectKind::Int32 => "int32",
        ReflectKind::Int64 => "int64",
        ReflectKind::Uint32 => "uint32",
        ReflectKind::Uint64 => "uint64",
        ReflectKind::Sint32 => "sint32",
        ReflectKind::Sint64 => "sint64",
        ReflectKind::Fixed32 => "fixed32",
        ReflectKind::Fixed64 => "fixed64",
        ReflectKind::Sfixed32 => "sfixed32",
        ReflectKind::Sfixed64 => "sfixed64",
        ReflectKind::Bool => "bool",
        ReflectKind::String => "string",
        ReflectKind::Bytes => "bytes",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_statement_is_found_behind_comments() {
        let text = "// edition = \"2023\";\n/* a\n b */\n  edition = \"2023\";\n";
        assert_eq!(first_statement(text), (4, "edition = \"2023\";\n"));
        assert_eq!(first_statement("/* open"), (1, ""));
        assert_eq!(first_statement(""), (1, ""));
    }
}
