//! What a schema declares, with the names that each thing has in TypeScript.

use std::collections::{HashMap, HashSet};

use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, ServiceDescriptorProto};

use crate::model::{File, Model};

use super::module::Symbol;
use super::names::{Kind, is_forgotten, salted};

/// Where well-known types come from.
const WELL_KNOWN: &str = "@bufbuild/protobuf/wkt";

/// One message, enum, service or extension.
pub(super) struct Item<'a> {
    pub(super) what: What<'a>,
    /// `arena.v1.MouseEvent`.
    pub(super) full_name: String,
    /// Where it stands in the descriptor, as comments are found by it.
    pub(super) path: Vec<i32>,
    /// Where the library finds it: positions among messages that are no map entries, then its own among its kind.
    pub(super) index: Vec<usize>,
    /// It is, or something around it.
    pub(super) deprecated: bool,
    /// Name of the type of its values. Only messages and enums have it.
    pub(super) shape: String,
    /// Name of its description: `MouseEventSchema`.
    pub(super) desc: String,
}

/// What an [`Item`] is.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    Message(&'a DescriptorProto),
    Enum(&'a EnumDescriptorProto),
    Service(&'a ServiceDescriptorProto),
    Extension(&'a FieldDescriptorProto),
}

/// A file of the schema.
pub(super) struct Declared<'a> {
    pub(super) file: &'a File,
    pub(super) deprecated: bool,
    /// Name of its own description.
    pub(super) desc: String,
    /// The module that is printed of it, or is the library's.
    pub(super) module: String,
    /// As they are printed: messages with what is in them, enums, services, extensions.
    pub(super) items: Vec<Item<'a>>,
}

/// All files of a model.
pub(super) struct Schema<'a> {
    pub(super) files: Vec<Declared<'a>>,
    /// File and item of each message and enum, by full name.
    types: HashMap<String, (usize, usize)>,
    /// The same of each service.
    services: HashMap<String, (usize, usize)>,
    /// The hidden messages behind maps, by full name.
    entries: HashMap<String, &'a DescriptorProto>,
}

impl<'a> Schema<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        let mut schema =
            Self { files: vec![], types: HashMap::new(), services: HashMap::new(), entries: HashMap::new() };
        for file in &model.files {
            let mut walk = Walk { items: vec![], entries: vec![] };
            walk.file(file);
            let names = Names::choose(file, &mut walk.items);
            for (at, item) in walk.items.iter().enumerate() {
                let place = (schema.files.len(), at);
                match item.what {
                    What::Message(_) | What::Enum(_) => schema.types.insert(item.full_name.clone(), place),
                    What::Service(_) => schema.services.insert(item.full_name.clone(), place),
                    What::Extension(_) => None,
                };
            }
            schema.entries.extend(walk.entries);
            schema.files.push(Declared {
                file,
                deprecated: file_deprecated(file),
                desc: names.file,
                module: module_of(&file.name),
                items: walk.items,
            });
        }
        schema
    }

    /// The file of that name. Only for names of the model.
    pub(super) fn file(&self, name: &str) -> &Declared<'a> {
        self.files.iter().find(|f| f.file.name == name).expect("a model has what its files import")
    }

    /// What has that full name, which may begin with a dot, and the module that it is in.
    pub(super) fn find(&self, full_name: &str) -> (&Item<'a>, &str) {
        let (file, item) = self.types[full_name.trim_start_matches('.')];
        (&self.files[file].items[item], &self.files[file].module)
    }

    /// The service of that full name. Only for names of the model.
    pub(super) fn service(&self, full_name: &str) -> (&Item<'a>, &'a ServiceDescriptorProto) {
        let (file, item) = self.services[full_name];
        let item = &self.files[file].items[item];
        match item.what {
            What::Service(service) => (item, service),
            _ => unreachable!("only services are in that table"),
        }
    }

    /// The type of values of that message or enum.
    pub(super) fn shape(&self, full_name: &str) -> Symbol {
        let (item, module) = self.find(full_name);
        Symbol::typed(&item.shape, module)
    }

    /// The key and the value of a map field; none for other fields.
    pub(super) fn map_entry(
        &self,
        field: &FieldDescriptorProto,
    ) -> Option<(&'a FieldDescriptorProto, &'a FieldDescriptorProto)> {
        let entry = self.entries.get(field.type_name().trim_start_matches('.'))?;
        let part = |number| entry.field.iter().find(|f| f.number() == number);
        Some((part(1)?, part(2)?))
    }
}

fn file_deprecated(file: &File) -> bool {
    file.documented.options.as_ref().is_some_and(prost_types::FileOptions::deprecated)
}

/// The module with the code of a file: the library has that of the well-known ones.
fn module_of(file: &str) -> String {
    let stem = file.strip_suffix(".proto").unwrap_or(file);
    match stem.strip_prefix("google/protobuf/") {
        Some("api" | "source_context" | "type") => format!("{WELL_KNOWN}/{stem}_pb.js"),
        Some(
            "any" | "compiler/plugin" | "descriptor" | "duration" | "empty" | "field_mask" | "struct"
            | "timestamp" | "wrappers",
        ) => WELL_KNOWN.to_string(),
        _ => format!("./{stem}_pb.js"),
    }
}

/// Collects the items of a file.
struct Walk<'a> {
    items: Vec<Item<'a>>,
    entries: Vec<(String, &'a DescriptorProto)>,
}

/// Numbers of fields in descriptor.proto, of which paths are made.
pub(super) mod number {
    pub(crate) const FILE_PACKAGE: i32 = 2;
    pub(crate) const FILE_MESSAGE: i32 = 4;
    pub(crate) const FILE_ENUM: i32 = 5;
    pub(crate) const FILE_SERVICE: i32 = 6;
    pub(crate) const FILE_EXTENSION: i32 = 7;
    pub(crate) const FILE_SYNTAX: i32 = 12;
    pub(crate) const MESSAGE_FIELD: i32 = 2;
    pub(crate) const MESSAGE_MESSAGE: i32 = 3;
    pub(crate) const MESSAGE_ENUM: i32 = 4;
    pub(crate) const MESSAGE_EXTENSION: i32 = 6;
    pub(crate) const MESSAGE_ONEOF: i32 = 8;
    pub(crate) const ENUM_VALUE: i32 = 2;
    pub(crate) const SERVICE_METHOD: i32 = 2;
}

/// A path with one step more.
pub(super) fn step(path: &[i32], number: i32, at: usize) -> Vec<i32> {
    let at = i32::try_from(at).expect("a descriptor has less than 2^31 parts");
    path.iter().copied().chain([number, at]).collect()
}

impl<'a> Walk<'a> {
    fn add(
        &mut self,
        what: What<'a>,
        full_name: String,
        path: Vec<i32>,
        index: Vec<usize>,
        deprecated: bool,
    ) {
        let (shape, desc) = (String::new(), String::new());
        self.items.push(Item { what, full_name, path, index, deprecated, shape, desc });
    }

    fn file(&mut self, file: &'a File) {
        let proto = &file.documented;
        let old = file_deprecated(file);
        let full = |name: &str| match proto.package() {
            "" => name.to_string(),
            package => format!("{package}.{name}"),
        };
        self.messages(&proto.message_type, &full, (&[], number::FILE_MESSAGE), &[], old);
        for (at, one) in proto.enum_type.iter().enumerate() {
            let old = old || one.options.as_ref().is_some_and(prost_types::EnumOptions::deprecated);
            let path = step(&[], number::FILE_ENUM, at);
            self.add(What::Enum(one), full(one.name()), path, vec![at], old);
        }
        for (at, service) in proto.service.iter().enumerate() {
            let old = old || service.options.as_ref().is_some_and(prost_types::ServiceOptions::deprecated);
            let path = step(&[], number::FILE_SERVICE, at);
            self.add(What::Service(service), full(service.name()), path, vec![at], old);
        }
        for (at, field) in proto.extension.iter().enumerate() {
            let old = old || field.options.as_ref().is_some_and(prost_types::FieldOptions::deprecated);
            let path = step(&[], number::FILE_EXTENSION, at);
            self.add(What::Extension(field), full(field.name()), path, vec![at], old);
        }
    }

    fn messages(
        &mut self,
        messages: &'a [DescriptorProto],
        full: &dyn Fn(&str) -> String,
        (outer, number): (&[i32], i32),
        index: &[usize],
        old: bool,
    ) {
        let mut seen = 0;
        for (at, message) in messages.iter().enumerate() {
            let full_name = full(message.name());
            if message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry) {
                self.entries.push((full_name, message));
                continue;
            }
            let index: Vec<usize> = index.iter().copied().chain([seen]).collect();
            seen += 1;
            let old = old || message.options.as_ref().is_some_and(prost_types::MessageOptions::deprecated);
            let path = step(outer, number, at);
            self.add(What::Message(message), full_name.clone(), path.clone(), index.clone(), old);
            let inner = |name: &str| format!("{full_name}.{name}");
            let below = (path.as_slice(), number::MESSAGE_MESSAGE);
            self.messages(&message.nested_type, &inner, below, &index, old);
            let inside = |at: usize| index.iter().copied().chain([at]).collect::<Vec<_>>();
            for (at, one) in message.enum_type.iter().enumerate() {
                let old = old || one.options.as_ref().is_some_and(prost_types::EnumOptions::deprecated);
                let path = step(&path, number::MESSAGE_ENUM, at);
                self.add(What::Enum(one), inner(one.name()), path, inside(at), old);
            }
            for (at, field) in message.extension.iter().enumerate() {
                let old = old || field.options.as_ref().is_some_and(prost_types::FieldOptions::deprecated);
                let path = step(&path, number::MESSAGE_EXTENSION, at);
                self.add(What::Extension(field), inner(field.name()), path, inside(at), old);
            }
        }
    }
}

/// Chooses the names of a file's items, none twice: first those of types, then those of descriptions.
struct Names {
    taken: HashSet<String>,
    file: String,
}

impl Names {
    fn choose(file: &File, items: &mut [Item<'_>]) -> Self {
        let mut names = Self { taken: HashSet::new(), file: String::new() };
        let offset = if file.package.is_empty() { 0 } else { file.package.len() + 1 };
        let plain = |item: &Item<'_>| item.full_name[offset..].replace('.', "_");
        for item in items.iter_mut() {
            match item.what {
                What::Message(_) => item.shape = names.take(Kind::Type, &plain(item)),
                What::Enum(_) => item.shape = names.take(Kind::Enum, &plain(item)),
                What::Service(_) | What::Extension(_) => {}
            }
        }
        let mut stem = String::from("file_");
        let mut word = true;
        for c in file.name.strip_suffix(".proto").unwrap_or(&file.name).chars() {
            let fits = c.is_ascii_alphanumeric() || c == '_';
            if fits {
                stem.push(c);
            } else if word {
                stem.push('_');
            }
            word = fits;
        }
        names.file = names.take(Kind::Value, &stem);
        for item in items.iter_mut() {
            let schema = matches!(item.what, What::Message(_) | What::Enum(_));
            item.desc =
                names.take(Kind::Value, &format!("{}{}", plain(item), if schema { "Schema" } else { "" }));
        }
        names
    }

    fn take(&mut self, kind: Kind, name: &str) -> String {
        let name = salted(name, |n| !self.taken.contains(n) && !is_forgotten(kind, n));
        self.taken.insert(name.clone());
        name
    }
}

/// The name of a module's file.
pub(super) fn file_of(module: &str) -> Option<String> {
    let stem = module.strip_prefix("./")?.strip_suffix(".js")?;
    Some(format!("{stem}.ts"))
}
