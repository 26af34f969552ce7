//! One `.pyi`: the classes of a proto package as a type checker sees them.
//!
//! All names of libraries are aliases that no name of the schema can hide, and all types are written by their full
//! path in the module: a class body sees its own members and the module, but not the classes around it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Printer, SYNC, google_file, google_module, is_keyword, is_message_member, line, list, method_name,
    sync_doc,
};
use crate::model::{Enum, Field, Kind, Label, Message, Origin, Service};

/// One `.pyi` in the making.
pub(super) struct Stub<'p, 'a> {
    printer: &'p Printer<'a>,
    path: &'p [String],
    /// Import lines.
    pub(super) imports: BTreeSet<String>,
    /// Other names for types of this module, for classes with a member of the type's own name.
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) body: String,
}

impl<'p, 'a> Stub<'p, 'a> {
    /// An empty one for the module at `path`.
    pub(super) fn new(printer: &'p Printer<'a>, path: &'p [String]) -> Self {
        Stub { printer, path, imports: BTreeSet::new(), aliases: BTreeMap::new(), body: String::new() }
    }

    /// The alias of a library, importing it.
    fn lib(&mut self, alias: &str) -> String {
        let name = format!("{alias}{}", self.printer.mark);
        let import = match alias {
            "_b" => format!("import builtins as {name}"),
            "_t" => format!("import typing as {name}"),
            "_abc" => format!("from collections import abc as {name}"),
            "_dt" => format!("import datetime as {name}"),
            "_containers" => format!("from google.protobuf.internal import containers as {name}"),
            "_enum" => format!("from google.protobuf.internal import enum_type_wrapper as {name}"),
            "_errors" => format!("from tagwire import errors as {name}"),
            "_service" => format!("from tagwire import service as {name}"),
            _ => format!("from google.protobuf import message as {name}"),
        };
        self.imports.insert(import);
        name
    }

    fn put(&mut self, depth: usize, text: std::fmt::Arguments<'_>) {
        line(&mut self.body, depth, text);
    }

    fn doc(&mut self, depth: usize, comment: &str) {
        if !comment.is_empty() {
            docstring(&mut self.body, depth, comment);
        }
    }

    /// How the type is written in a class of this module that has the names `members`.
    fn reference(&mut self, full_name: &str, members: &BTreeSet<&str>) -> String {
        let printer = self.printer;
        let mark = &printer.mark;
        let (module, path) = printer.places.get(full_name).cloned().unwrap_or_default();
        let dotted = path.join(".");
        if let Some(file) = google_file(printer.model, full_name) {
            let (package, library) = google_module(file);
            self.imports.insert(format!("from {package} import {library} as _{library}{mark}"));
            return format!("_{library}{mark}.{dotted}");
        }
        let origin = printer
            .model
            .messages
            .iter()
            .map(|m| (&m.full_name, m.origin))
            .chain(printer.model.enums.iter().map(|e| (&e.full_name, e.origin)))
            .find_map(|(name, origin)| (name == full_name).then_some(origin));
        if origin == Some(Origin::Stack) && printer.origin == Origin::Game {
            self.imports.insert(format!("from tagwire.gen import v1 as _tagwire_v1{mark}"));
            return format!("_tagwire_v1{mark}.{dotted}");
        }
        if module == self.path {
            let Some(first) = path.first() else { return dotted };
            if !members.contains(first.as_str()) {
                return dotted;
            }
            let alias = format!("_the_{first}{mark}");
            self.aliases.insert(alias.clone(), first.clone());
            return [vec![alias], path[1..].to_vec()].concat().join(".");
        }
        let up = ".".repeat(self.path.len() + 1);
        let Some((last, parents)) = module.split_last() else {
            // A module cannot import the root as a whole by a relative name; one class at a time it can.
            let first = path.first().cloned().unwrap_or_default();
            self.imports.insert(format!("from {up} import {first} as _root_{first}{mark}"));
            return [vec![format!("_root_{first}{mark}")], path[1..].to_vec()].concat().join(".");
        };
        let alias = format!("_{}{mark}", module.join("_"));
        self.imports.insert(format!("from {up}{} import {last} as {alias}", parents.join(".")));
        format!("{alias}.{dotted}")
    }

    /// The last part of a type's Python name.
    fn own_name(&self, full_name: &str, name: &str) -> String {
        let place = self.printer.places.get(full_name);
        place.and_then(|(_, path)| path.last().cloned()).unwrap_or_else(|| name.to_string())
    }

    /// Says how an inner type is reached whose name a class cannot have.
    fn renamed(&mut self, depth: usize, name: &str, proto: &str, full_name: &str) {
        if depth > 1 && name != proto {
            self.put(depth, format_args!("# Not {name} at run time: look up \"{full_name}\" in `SCHEMA`."));
        }
    }

    pub(super) fn enumeration(&mut self, one: &Enum, depth: usize) {
        let name = self.own_name(&one.full_name, &one.name);
        let (b, t, wrapper) = (self.lib("_b"), self.lib("_t"), self.lib("_enum"));
        let mark = &self.printer.mark;
        // The values have a type of their own. The metaclass cannot take it from the class that it makes.
        let (values, meta) = (format!("_{name}Values{mark}"), format!("_{name}Type{mark}"));
        self.put(depth, format_args!("\nclass {values}:"));
        self.put(depth + 1, format_args!("ValueType = {t}.NewType(\"ValueType\", {b}.int)"));
        self.put(depth, format_args!("\nclass {meta}({wrapper}._EnumTypeWrapper[{values}.ValueType]): ..."));
        self.put(depth, format_args!("\nclass {name}({values}, metaclass={meta}):"));
        self.doc(depth + 1, &one.comment);
        self.renamed(depth + 1, &name, &one.name, &one.full_name);
        let members = one.values.iter().map(|v| v.name.as_str()).collect();
        let its = self.reference(&one.full_name, &members);
        let (hidden, shown): (Vec<_>, Vec<_>) =
            one.values.iter().partition(|v| is_keyword(&v.name) || is_enum_member(&v.name));
        for value in shown {
            self.put(
                depth + 1,
                format_args!("{}: {t}.Final[{its}.ValueType]  # {}", value.name, value.number),
            );
            self.doc(depth + 1, &value.comment);
        }
        if !hidden.is_empty() {
            let hidden: Vec<_> = hidden.iter().map(|v| v.name.as_str()).collect();
            self.put(
                depth + 1,
                format_args!("# Not attributes here; use {name}.Value(\"...\"): {}.", hidden.join(", ")),
            );
            self.put(depth + 1, format_args!("..."));
        }
    }

    pub(super) fn message(&mut self, message: &Message, depth: usize) {
        let model = self.printer.model;
        let (t, base) = (self.lib("_t"), self.lib("_message"));
        let name = self.own_name(&message.full_name, &message.name);
        self.put(depth, format_args!("\n@{t}.final"));
        self.put(depth, format_args!("class {name}({base}.Message):"));
        self.doc(depth + 1, &message.comment);
        self.renamed(depth + 1, &name, &message.name, &message.full_name);

        let scope: Vec<String> = message.scope.iter().chain([&message.name]).cloned().collect();
        let within = |package: &str, outer: &[String]| package == message.package && outer == scope;
        let enums: Vec<&Enum> = model.enums.iter().filter(|e| within(&e.package, &e.scope)).collect();
        let nested: Vec<&Message> =
            model.messages.iter().filter(|m| within(&m.package, &m.scope) && !m.map_entry).collect();
        let values = enums.iter().flat_map(|e| e.values.iter().map(|v| v.name.as_str()));
        let fields = message.fields.iter().map(|f| f.name.as_str());
        let types: Vec<String> = enums
            .iter()
            .map(|e| (&e.full_name, &e.name))
            .chain(nested.iter().map(|m| (&m.full_name, &m.name)))
            .map(|(full_name, name)| self.own_name(full_name, name))
            .collect();
        let members: BTreeSet<&str> = values.chain(fields).chain(types.iter().map(String::as_str)).collect();

        for one in &enums {
            self.enumeration(one, depth + 1);
        }
        for one in nested {
            self.message(one, depth + 1);
        }
        for one in enums {
            let its = self.reference(&one.full_name, &members);
            for value in one.values.iter().filter(|v| !is_keyword(&v.name) && !is_message_member(&v.name)) {
                self.put(
                    depth + 1,
                    format_args!("{}: {t}.Final[{its}.ValueType]  # {}", value.name, value.number),
                );
            }
        }
        for field in &message.fields {
            if !is_keyword(&field.name) && !is_message_member(&field.name) {
                self.attribute(field, depth + 1, &members);
            }
        }
        self.hidden_fields(message, depth + 1);
        self.constructor(message, depth + 1, &members);
        self.presence(message, depth + 1);
    }

    pub(super) fn service(&mut self, service: &Service, name: &str) {
        let (b, abc) = (self.lib("_b"), self.lib("_abc"));
        let (base, errors) = (self.lib("_service"), self.lib("_errors"));
        let names: Vec<String> = service.methods.iter().map(method_name).collect();
        let members: BTreeSet<&str> = names.iter().map(String::as_str).chain([SYNC]).collect();
        let timeout = format!("timeout: {b}.float = 2.0");
        self.put(0, format_args!("\nclass {name}({base}.Service):"));
        self.doc(1, &service.comment);
        for (method, name) in service.methods.iter().zip(&names) {
            let (request, reply) =
                (self.reference(&method.request, &members), self.reference(&method.reply, &members));
            let head = format!("async def {name}(self, request: {request}, *, {timeout}) -> {reply}:");
            self.function(1, &head, &method.comment);
        }
        self.put(1, format_args!("\nclass {SYNC}({base}.SyncService):"));
        self.doc(2, &sync_doc(name));
        for (method, name) in service.methods.iter().zip(&names) {
            let (request, reply) =
                (self.reference(&method.request, &members), self.reference(&method.reply, &members));
            let head = format!(
                "def {name}(\n    self,\n    request: {request},\n    \
                 on_reply: {abc}.Callable[[{reply}], {b}.object],\n    *,\n    \
                 on_error: {abc}.Callable[[{errors}.TagwireError], {b}.object] | None = None,\n    \
                 {timeout},\n) -> None:"
            );
            self.function(2, &head, &method.comment);
        }
    }

    fn function(&mut self, depth: usize, head: &str, comment: &str) {
        if comment.is_empty() {
            self.put(depth, format_args!("{head} ..."));
        } else {
            self.put(depth, format_args!("{head}"));
            self.doc(depth + 1, comment);
        }
    }

    fn hidden_fields(&mut self, message: &Message, depth: usize) {
        let names = message.fields.iter().map(|f| f.name.as_str());
        let hidden: Vec<&str> = names.filter(|n| is_keyword(n) || is_message_member(n)).collect();
        if let Some(first) = hidden.first() {
            let use_ = format!("getattr(m, \"{first}\") and setattr(m, \"{first}\", ...)");
            self.put(depth, format_args!("# Not attributes here; use {use_}: {}.", hidden.join(", ")));
        }
    }

    /// Type of one value.
    fn value_type(&mut self, kind: &Kind, members: &BTreeSet<&str>) -> String {
        match kind {
            Kind::Message(name) => self.reference(name, members),
            Kind::Enum(name) => format!("{}.ValueType", self.reference(name, members)),
            Kind::Scalar(name) => {
                let builtin = match *name {
                    "double" | "float" => "float",
                    "bool" => "bool",
                    "string" => "str",
                    "bytes" => "bytes",
                    _ => "int",
                };
                format!("{}.{builtin}", self.lib("_b"))
            }
        }
    }

    /// Types of the keys and the values of a map, and whether those are messages.
    fn map_types(&mut self, field: &Field, members: &BTreeSet<&str>) -> (String, String, bool) {
        let model = self.printer.model;
        let Kind::Message(entry) = &field.kind else { return Default::default() };
        let Some(entry) = model.message(entry) else { return Default::default() };
        let mut kinds = entry.fields.iter().map(|f| &f.kind);
        let (Some(key), Some(value)) = (kinds.next(), kinds.next()) else { return Default::default() };
        let types = (self.value_type(key, members), self.value_type(value, members));
        (types.0, types.1, matches!(value, Kind::Message(_)))
    }

    fn attribute(&mut self, field: &Field, depth: usize, members: &BTreeSet<&str>) {
        let message = matches!(field.kind, Kind::Message(_));
        let held = match field.label {
            Label::Map => {
                let (key, value, messages) = self.map_types(field, members);
                let container = if messages { "MessageMap" } else { "ScalarMap" };
                format!("{}.{container}[{key}, {value}]", self.lib("_containers"))
            }
            Label::Repeated => {
                let one = self.value_type(&field.kind, members);
                let container =
                    if message { "RepeatedCompositeFieldContainer" } else { "RepeatedScalarFieldContainer" };
                format!("{}.{container}[{one}]", self.lib("_containers"))
            }
            _ => self.value_type(&field.kind, members),
        };
        let name = &field.name;
        if message || field.label == Label::Repeated {
            // Cannot be assigned: it is changed in place.
            let b = self.lib("_b");
            self.put(depth, format_args!("@{b}.property"));
            if field.comment.is_empty() {
                self.put(depth, format_args!("def {name}(self) -> {held}: ..."));
            } else {
                self.put(depth, format_args!("def {name}(self) -> {held}:"));
                self.doc(depth + 1, &field.comment);
            }
        } else {
            self.put(depth, format_args!("{name}: {held}"));
            self.doc(depth, &field.comment);
        }
    }

    fn constructor(&mut self, message: &Message, depth: usize, members: &BTreeSet<&str>) {
        let fields: Vec<&Field> =
            message.fields.iter().filter(|f| !is_keyword(&f.name) && !f.name.starts_with("__")).collect();
        if fields.is_empty() {
            self.put(depth, format_args!("def __init__(self) -> None: ..."));
            return;
        }
        let me = match fields.iter().any(|f| f.name == "self") {
            false => "self,".to_string(),
            true => format!("_self{}, /,", self.printer.mark),
        };
        self.put(depth, format_args!("def __init__("));
        self.put(depth + 1, format_args!("{me}"));
        self.put(depth + 1, format_args!("*,"));
        for field in fields {
            let taken = match field.label {
                Label::Map => {
                    let (key, value, _) = self.map_types(field, members);
                    format!("{}.Mapping[{key}, {value}] | None", self.lib("_abc"))
                }
                Label::Repeated => {
                    let one = self.value_type(&field.kind, members);
                    format!("{}.Iterable[{one}] | None", self.lib("_abc"))
                }
                Label::Implicit => self.value_type(&field.kind, members),
                Label::Optional | Label::Required => {
                    let one = self.value_type(&field.kind, members);
                    let other = match &field.kind {
                        Kind::Message(name) if name == "google.protobuf.Timestamp" => {
                            format!(" | {}.datetime", self.lib("_dt"))
                        }
                        Kind::Message(name) if name == "google.protobuf.Duration" => {
                            format!(" | {}.timedelta", self.lib("_dt"))
                        }
                        _ => String::new(),
                    };
                    format!("{one}{other} | None")
                }
            };
            self.put(depth + 1, format_args!("{}: {taken} = ...,", field.name));
        }
        self.put(depth, format_args!(") -> None: ..."));
    }

    /// The methods that take names of fields.
    fn presence(&mut self, message: &Message, depth: usize) {
        let (b, t) = (self.lib("_b"), self.lib("_t"));
        let oneofs = || message.oneofs.iter().map(String::as_str);
        let names = |has: &dyn Fn(&Field) -> bool| -> Vec<&str> {
            message.fields.iter().filter(|f| has(f)).map(|f| f.name.as_str()).collect()
        };
        let literal = |names: Vec<&str>| {
            // What takes no name at all takes nothing.
            if names.is_empty() { format!("{t}.NoReturn") } else { format!("{t}.Literal{}", list(&names)) }
        };
        let present = names(&|f| matches!(f.label, Label::Optional | Label::Required));
        let present = literal(present.into_iter().chain(oneofs()).collect());
        let all = literal(names(&|_| true).into_iter().chain(oneofs()).collect());
        self.put(depth, format_args!("def HasField(self, field_name: {present}) -> {b}.bool: ..."));
        self.put(depth, format_args!("def ClearField(self, field_name: {all}) -> None: ..."));
        if message.oneofs.is_empty() {
            let none = literal(vec![]);
            self.put(depth, format_args!("def WhichOneof(self, oneof_group: {none}) -> None: ..."));
        }
        for oneof in oneofs() {
            if message.oneofs.len() > 1 {
                self.put(depth, format_args!("@{t}.overload"));
            }
            let members = literal(names(&|f| f.oneof.as_deref() == Some(oneof)));
            let group = literal(vec![oneof]);
            self.put(
                depth,
                format_args!("def WhichOneof(self, oneof_group: {group}) -> {members} | None: ..."),
            );
        }
    }
}

/// The same for the values of an enum.
fn is_enum_member(name: &str) -> bool {
    matches!(name, "DESCRIPTOR" | "Name" | "Value" | "ValueType" | "items" | "keys" | "values" | "mro")
        || name.starts_with("__")
}

pub(super) fn docstring(out: &mut String, depth: usize, comment: &str) {
    let visible = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let text: String = comment.chars().map(visible).collect();
    let text = text.replace('\\', "\\\\").replace("\"\"\"", "\\\"\\\"\\\"");
    let text = text.strip_suffix('"').map_or_else(|| text.clone(), |rest| format!("{rest}\\\""));
    let end = if text.contains('\n') { "\n" } else { "" };
    line(out, depth, format_args!("\"\"\"{text}{end}\"\"\""));
}
