//! Prints a file's messages, enums, services and extensions, as protobuf-es does with `target=ts`.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::field_options::JsType;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, ServiceDescriptorProto};

use crate::error::Error;
use crate::package::base64;

use super::bare::{Bare, embedded};
use super::comments::{self, Comments};
use super::module::{Module, Piece, Symbol, doc, line, string};
use super::names::{camel_case, declared_property, enum_value, property, shared_prefix};
use super::schema::{Declared, Item, Schema, What, number, step};

/// The library of messages.
pub(super) const LIBRARY: &str = "@bufbuild/protobuf";
/// What of it is for printed code alone.
const CODE: &str = "@bufbuild/protobuf/codegenv2";

/// Tells bundlers that a call may be left out where its result is not used.
const PURE: &str = "/*@__PURE__*/";

/// The module of a file, without its first line.
pub(super) fn print(schema: &Schema<'_>, bare: &Bare<'_>) -> Result<String, Error> {
    let file = schema.file(&bare.file.name);
    let mut printer = Printer {
        schema,
        file,
        comments: Comments::of(bare.file),
        module: Module::new(&file.module),
        proto3: bare.file.proto3,
    };
    printer.description_of_file(bare)?;
    for item in &file.items {
        match item.what {
            What::Message(message) => printer.message(item, message),
            What::Enum(one) => printer.enumeration(item, one),
            What::Service(service) => printer.service(item, service),
            What::Extension(field) => printer.extension(item, field),
        }
    }
    Ok(printer.comments.preamble(bare.file) + &printer.module.finish())
}

struct Printer<'a> {
    schema: &'a Schema<'a>,
    file: &'a Declared<'a>,
    comments: Comments<'a>,
    module: Module,
    proto3: bool,
}

fn code_type(name: &str) -> Symbol {
    Symbol::typed(name, CODE)
}

fn code(name: &str) -> Symbol {
    Symbol::value(name, CODE)
}

/// The name of something that the module declares.
fn declared(name: &str) -> Piece {
    Piece::Declare(name.to_string())
}

impl Printer<'_> {
    fn own(&self, name: &str) -> Symbol {
        Symbol::value(name, self.module.path())
    }

    fn own_type(&self, name: &str) -> Symbol {
        Symbol::typed(name, self.module.path())
    }

    /// The end of a declaration: `= messageDesc(file_arena, 0);`.
    fn described(&mut self, item: &Item<'_>, function: &str) {
        let index: String = item.index.iter().map(|at| format!(", {at}")).collect();
        let file = self.own(&self.file.desc);
        line!(self.module, "  ", code(function), "(", file, index, ");");
        line!(self.module);
    }

    fn description_of_file(&mut self, bare: &Bare<'_>) -> Result<(), Error> {
        let old = if self.file.deprecated { "\n@deprecated" } else { "" };
        self.module.doc("", &format!("Describes the file {}.{old}", bare.file.name));
        let (name, kind) = (declared(&self.file.desc), code_type("GenFile"));
        line!(self.module, "export const ", name, ": ", kind, " = ", PURE);
        let mut pieces: Vec<Piece> = vec!["  ".into(), code("fileDesc").into(), "(".into()];
        pieces.push(string(&base64(&embedded(&bare.descriptor)?, false)).into());
        for (at, import) in bare.imports.iter().enumerate() {
            let file = self.schema.file(import);
            pieces.push(if at == 0 { ", [" } else { ", " }.into());
            pieces.push(Symbol::value(&file.desc, &file.module).into());
        }
        pieces.push(if bare.imports.is_empty() { ");" } else { "]);" }.into());
        self.module.line(pieces);
        line!(self.module);
        Ok(())
    }

    fn message(&mut self, item: &Item<'_>, message: &DescriptorProto) {
        let text = self.comments.text(&item.path, &format!("message {}", item.full_name), item.deprecated);
        self.module.doc("", &text);
        let base = Symbol::typed("Message", LIBRARY);
        let name = string(&item.full_name);
        line!(self.module, "export type ", declared(&item.shape), " = ", base, "<", name, "> & {");
        for (at, member) in members(message).into_iter().enumerate() {
            if at > 0 {
                line!(self.module);
            }
            match member {
                Member::Field(at) => self.field(item, message, at),
                Member::Oneof(oneof, fields) => self.oneof(item, message, oneof, &fields),
            }
        }
        line!(self.module, "};");
        line!(self.module);

        let mut text = format!(
            "Describes the message {}.\nUse `create({})` to create a new message.",
            item.full_name, item.desc
        );
        if item.deprecated {
            text.push_str("\n@deprecated");
        }
        self.module.doc("", &text);
        let (kind, shape) = (code_type("GenMessage"), self.own_type(&item.shape));
        line!(self.module, "export const ", declared(&item.desc), ": ", kind, "<", shape, "> = ", PURE);
        self.described(item, "messageDesc");
    }

    fn field_doc(&mut self, indent: &str, item: &Item<'_>, message: &DescriptorProto, at: usize) {
        let field = &message.field[at];
        let path = step(&item.path, number::MESSAGE_FIELD, at);
        let words = format!("field: {};", comments::field(self.schema, field, self.proto3));
        let old = field.options.as_ref().is_some_and(prost_types::FieldOptions::deprecated);
        let text = self.comments.text(&path, &words, old);
        self.module.doc(indent, &text);
    }

    fn field(&mut self, item: &Item<'_>, message: &DescriptorProto, at: usize) {
        self.field_doc("  ", item, message, at);
        let field = &message.field[at];
        let name = declared_property(&property(&camel_case(field.name())));
        let (kind, optional) = self.field_type(field, &item.full_name);
        let (before, behind) = if optional { ("?: ", " | undefined;") } else { (": ", ";") };
        let mut pieces: Vec<Piece> = vec!["  ".into(), name.into(), before.into()];
        pieces.extend(kind);
        pieces.push(behind.into());
        self.module.line(pieces);
    }

    fn oneof(&mut self, item: &Item<'_>, message: &DescriptorProto, oneof: usize, fields: &[usize]) {
        let name = message.oneof_decl[oneof].name();
        let path = step(&item.path, number::MESSAGE_ONEOF, oneof);
        let text = self.comments.text(&path, &format!("oneof {}.{name}", item.full_name), item.deprecated);
        self.module.doc("  ", &text);
        line!(self.module, "  ", declared_property(&property(&camel_case(name))), ": {");
        for (n, &at) in fields.iter().enumerate() {
            if n > 0 {
                line!(self.module, "  } | {");
            }
            self.field_doc("    ", item, message, at);
            let field = &message.field[at];
            let mut pieces: Vec<Piece> = vec!["    value: ".into()];
            pieces.extend(self.field_type(field, &item.full_name).0);
            pieces.push(";".into());
            self.module.line(pieces);
            line!(self.module, "    case: \"", camel_case(field.name()), "\";");
        }
        line!(self.module, "  } | { case: undefined; value?: undefined };");
    }

    /// The type of a field of the message `parent`, and whether it can be left out.
    fn field_type(&self, field: &FieldDescriptorProto, parent: &str) -> (Vec<Piece>, bool) {
        if let Some((key, value)) = self.schema.map_entry(field) {
            let key = match key.r#type() {
                Type::Int32 | Type::Fixed32 | Type::Uint32 | Type::Sfixed32 | Type::Sint32 => "number",
                _ => "string",
            };
            let value = match value.r#type() {
                Type::Message => self.message_type(value, parent, false),
                Type::Enum => self.schema.shape(value.type_name()).into(),
                scalar => scalar_type(scalar, false).into(),
            };
            return (vec!["{ [key: ".into(), key.into(), "]: ".into(), value, " }".into()], false);
        }
        let as_text = field.options.as_ref().is_some_and(|o| o.jstype() == JsType::JsString);
        let single = field.label() != Label::Repeated;
        let is_message = matches!(field.r#type(), Type::Message | Type::Group);
        let in_oneof = field.oneof_index.is_some() && !field.proto3_optional();
        let one = match field.r#type() {
            Type::Message | Type::Group => self.message_type(field, parent, single && !in_oneof),
            Type::Enum => self.schema.shape(field.type_name()).into(),
            scalar => scalar_type(scalar, as_text).into(),
        };
        if single {
            (vec![one], is_message || field.proto3_optional())
        } else {
            (vec![one, "[]".into()], false)
        }
    }

    /// The type of a message. `bare`: one of the wrappers, which are there so that a scalar can be absent, is shown as
    /// that scalar.
    fn message_type(&self, field: &FieldDescriptorProto, parent: &str, bare: bool) -> Piece {
        let (item, _) = self.schema.find(field.type_name());
        if bare && let Some(wrapped) = wrapped(item) {
            return scalar_type(wrapped, false).into();
        }
        if item.full_name == "google.protobuf.Struct" && parent != "google.protobuf.Value" {
            return Symbol::typed("JsonObject", LIBRARY).into();
        }
        self.schema.shape(field.type_name()).into()
    }

    fn enumeration(&mut self, item: &Item<'_>, one: &EnumDescriptorProto) {
        let text = self.comments.text(&item.path, &format!("enum {}", item.full_name), item.deprecated);
        self.module.doc("", &text);
        line!(self.module, "export enum ", declared(&item.shape), " {");
        let prefix = shared_prefix(one.name(), one.value.iter().map(|v| v.name())).len();
        for (at, value) in one.value.iter().enumerate() {
            if at > 0 {
                line!(self.module);
            }
            let path = step(&item.path, number::ENUM_VALUE, at);
            let old = value.options.as_ref().is_some_and(prost_types::EnumValueOptions::deprecated);
            let words = format!("enum value: {};", comments::value(value));
            let text = self.comments.text(&path, &words, old);
            self.module.doc("  ", &text);
            let name = enum_value(&value.name()[prefix..]);
            line!(self.module, "  ", name, " = ", value.number().to_string(), ",");
        }
        line!(self.module, "}");
        line!(self.module);

        let old = if item.deprecated { "\n@deprecated" } else { "" };
        self.module.doc("", &format!("Describes the enum {}.{old}", item.full_name));
        let (kind, shape) = (code_type("GenEnum"), self.own_type(&item.shape));
        line!(self.module, "export const ", declared(&item.desc), ": ", kind, "<", shape, "> = ", PURE);
        self.described(item, "enumDesc");
    }

    fn service(&mut self, item: &Item<'_>, service: &ServiceDescriptorProto) {
        let text = self.comments.text(&item.path, &format!("service {}", item.full_name), item.deprecated);
        self.module.doc("", &text);
        line!(self.module, "export const ", declared(&item.desc), ": ", code_type("GenService"), "<{");
        for (at, method) in service.method.iter().enumerate() {
            let path = step(&item.path, number::SERVICE_METHOD, at);
            let old = method.options.as_ref().is_some_and(prost_types::MethodOptions::deprecated);
            let words = format!("rpc {}.{}", item.full_name, method.name());
            let text = self.comments.text(&path, &words, old);
            line!(self.module, doc("  ", &text));
            line!(self.module, "  ", method_name(method.name()), ": {");
            let kind = match (method.client_streaming(), method.server_streaming()) {
                (true, true) => "bidi_streaming",
                (true, false) => "client_streaming",
                (false, true) => "server_streaming",
                (false, false) => "unary",
            };
            line!(self.module, "    methodKind: \"", kind, "\";");
            for (word, name) in [("input", method.input_type()), ("output", method.output_type())] {
                let (message, module) = self.schema.find(name);
                line!(self.module, "    ", word, ": typeof ", Symbol::typed(&message.desc, module), ";");
            }
            line!(self.module, "  },");
        }
        line!(self.module, "}> = ", PURE);
        self.described(item, "serviceDesc");
    }

    fn extension(&mut self, item: &Item<'_>, field: &FieldDescriptorProto) {
        let words = format!("extension: {};", comments::field(self.schema, field, self.proto3));
        let text = self.comments.text(&item.path, &words, item.deprecated);
        self.module.doc("", &text);
        let mut pieces: Vec<Piece> =
            vec!["export const ".into(), declared(&item.desc), ": ".into(), code_type("GenExtension").into()];
        pieces.extend(["<".into(), self.schema.shape(field.extendee()).into(), ", ".into()]);
        let parent = item.full_name.rsplit_once('.').map_or("", |(parent, _)| parent);
        pieces.extend(self.field_type(field, parent).0);
        pieces.extend(["> = ".into(), PURE.into()]);
        self.module.line(pieces);
        self.described(item, "extDesc");
    }
}

/// A method's name as a property.
pub(super) fn method_name(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    property(&first.into_iter().chain(chars).collect::<String>())
}

/// A property of a message.
pub(super) enum Member {
    /// A field by its position.
    Field(usize),
    /// A oneof by its position, and its fields.
    Oneof(usize, Vec<usize>),
}

/// The properties of a message, each oneof where its first field is.
pub(super) fn members(message: &DescriptorProto) -> Vec<Member> {
    let mut members: Vec<Member> = vec![];
    for (at, field) in message.field.iter().enumerate() {
        let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
        let Some(oneof) = oneof.and_then(|o| usize::try_from(o).ok()) else {
            members.push(Member::Field(at));
            continue;
        };
        let known = members.iter_mut().find_map(|m| match m {
            Member::Oneof(other, fields) if *other == oneof => Some(fields),
            _ => None,
        });
        match known {
            Some(fields) => fields.push(at),
            None => members.push(Member::Oneof(oneof, vec![at])),
        }
    }
    members
}

/// The scalar that a message of `google/protobuf/wrappers.proto` holds.
fn wrapped(item: &Item<'_>) -> Option<Type> {
    const WRAPPERS: [&str; 9] = [
        "BoolValue",
        "BytesValue",
        "DoubleValue",
        "FloatValue",
        "Int32Value",
        "Int64Value",
        "StringValue",
        "UInt32Value",
        "UInt64Value",
    ];
    let name = item.full_name.strip_prefix("google.protobuf.")?;
    match item.what {
        What::Message(message) if WRAPPERS.contains(&name) => Some(message.field.first()?.r#type()),
        _ => None,
    }
}

fn scalar_type(scalar: Type, long_as_text: bool) -> &'static str {
    match scalar {
        Type::String => "string",
        Type::Bool => "boolean",
        Type::Bytes => "Uint8Array",
        Type::Int64 | Type::Uint64 | Type::Sint64 | Type::Fixed64 | Type::Sfixed64 => {
            if long_as_text {
                "string"
            } else {
                "bigint"
            }
        }
        _ => "number",
    }
}
