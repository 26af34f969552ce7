//! The schema as templates see it. Every field is documented in `docs/guides/templates.md`; a test holds the two
//! together. `tagwire gen --model` prints it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use tagwire_codegen::constraints::{Constant, Constraints, Ignore};
use tagwire_codegen::fingerprint::fingerprint;
use tagwire_codegen::load::load_stack;
use tagwire_codegen::model::{self, Kind, Label, Model, Origin};
use tagwire_codegen::package::base64;

use crate::failure::Failure;

/// All of a game.
#[derive(Debug, Serialize)]
pub(super) struct Schema {
    name: String,
    generator: String,
    fingerprint: String,
    descriptors: String,
    files: Vec<File>,
    packages: Vec<Package>,
    messages: Vec<Message>,
    enums: Vec<Enum>,
    services: Vec<Service>,
    close_codes: Vec<CloseCode>,
}

#[derive(Debug, Serialize)]
struct File {
    name: String,
    package: String,
    syntax: &'static str,
    imports: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Package {
    name: String,
    files: Vec<String>,
    messages: Vec<String>,
    enums: Vec<String>,
    services: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Message {
    full_name: String,
    package: String,
    scope: Vec<String>,
    name: String,
    comment: String,
    file: String,
    deprecated: bool,
    tag: Option<u32>,
    rules: Option<Rules>,
    request: bool,
    fields: Vec<Field>,
    oneofs: Vec<Oneof>,
    constraints: Vec<OneofRule>,
}

#[derive(Debug, Serialize)]
struct Rules {
    from: String,
    to: String,
    access: String,
    delivery: String,
    max_bytes: u32,
    max_rate: u32,
}

#[derive(Debug, Serialize)]
struct Field {
    name: String,
    json_name: String,
    number: u32,
    label: &'static str,
    r#type: String,
    type_name: Option<String>,
    key: Option<Kinds>,
    value: Option<Kinds>,
    wire: u32,
    packed: bool,
    oneof: Option<String>,
    comment: String,
    deprecated: bool,
    constraints: Option<Constrained>,
}

/// What a map's keys or values are.
#[derive(Debug, Serialize)]
struct Kinds {
    r#type: String,
    type_name: Option<String>,
    wire: u32,
}

#[derive(Debug, Serialize)]
struct Oneof {
    name: String,
    fields: Vec<String>,
    required: bool,
}

#[derive(Debug, Serialize)]
struct OneofRule {
    fields: Vec<String>,
    required: bool,
}

#[derive(Debug, Serialize)]
struct Constrained {
    required: bool,
    ignore: &'static str,
    rules: Map<String, Value>,
    items: Option<Box<Constrained>>,
    keys: Option<Box<Constrained>>,
    values: Option<Box<Constrained>>,
}

#[derive(Debug, Serialize)]
struct Enum {
    full_name: String,
    package: String,
    scope: Vec<String>,
    name: String,
    comment: String,
    values: Vec<EnumValue>,
}

#[derive(Debug, Serialize)]
struct EnumValue {
    name: String,
    number: i32,
    comment: String,
}

#[derive(Debug, Serialize)]
struct Service {
    full_name: String,
    package: String,
    name: String,
    comment: String,
    at: String,
    methods: Vec<Method>,
}

#[derive(Debug, Serialize)]
struct Method {
    name: String,
    comment: String,
    request: String,
    reply: String,
    tag: Option<u32>,
}

#[derive(Debug, Serialize)]
struct CloseCode {
    name: String,
    number: i32,
    retryable: bool,
    comment: String,
}

/// What the descriptors say of a field, and the model does not.
struct Described {
    json_name: String,
    deprecated: bool,
    /// As it is written; nothing where it is left to the syntax.
    packed: Option<bool>,
}

impl Schema {
    /// The game's part of a model, under that name.
    ///
    /// # Errors
    /// None that a user could cause.
    pub(super) fn of(model: &Model, name: &str) -> Result<Self, Failure> {
        let view = View::new(model);
        let messages = model.messages.iter().filter(|m| m.origin == Origin::Game && !m.map_entry);
        let enums = model.enums.iter().filter(|e| e.origin == Origin::Game);
        let services = model.services.iter().filter(|s| s.origin == Origin::Game);
        Ok(Schema {
            name: name.to_string(),
            generator: format!("tagwire {}", env!("CARGO_PKG_VERSION")),
            fingerprint: fingerprint(model).iter().map(|b| format!("{b:02x}")).collect(),
            descriptors: base64(&model.descriptor_set(), true),
            files: model.files.iter().filter(|f| f.origin == Origin::Game).map(file).collect(),
            packages: packages(model),
            messages: messages.map(|m| view.message(m)).collect(),
            enums: enums.map(enumeration).collect(),
            services: services.map(|s| view.service(s)).collect(),
            close_codes: close_codes()?,
        })
    }
}

struct View<'a> {
    messages: HashMap<&'a str, &'a model::Message>,
    fields: HashMap<(String, u32), Described>,
    deprecated: HashMap<String, bool>,
    /// By path, which is what a message knows of its file.
    files: HashMap<&'a Path, &'a model::File>,
    requests: HashMap<&'a str, &'a model::Method>,
}

impl<'a> View<'a> {
    fn new(model: &'a Model) -> Self {
        let mut view = View {
            messages: model.messages.iter().map(|m| (m.full_name.as_str(), m)).collect(),
            fields: HashMap::new(),
            deprecated: HashMap::new(),
            files: model.files.iter().map(|f| (f.path.as_path(), f)).collect(),
            requests: model
                .services
                .iter()
                .flat_map(|s| &s.methods)
                .map(|m| (m.request.as_str(), m))
                .collect(),
        };
        for file in &model.files {
            for message in &file.documented.message_type {
                view.describe(&file.package, message);
            }
        }
        view
    }

    fn describe(&mut self, scope: &str, message: &prost_types::DescriptorProto) {
        let full_name =
            if scope.is_empty() { message.name().to_string() } else { format!("{scope}.{}", message.name()) };
        for field in &message.field {
            let options = field.options.as_ref();
            let number = u32::try_from(field.number()).unwrap_or(0);
            let described = Described {
                json_name: field.json_name().to_string(),
                deprecated: options.is_some_and(|o| o.deprecated()),
                packed: options.and_then(|o| o.packed),
            };
            self.fields.insert((full_name.clone(), number), described);
        }
        for inner in &message.nested_type {
            self.describe(&full_name, inner);
        }
        let deprecated = message.options.as_ref().is_some_and(|o| o.deprecated());
        self.deprecated.insert(full_name, deprecated);
    }

    fn message(&self, message: &model::Message) -> Message {
        let oneofs = message.oneofs.iter().map(|name| Oneof {
            name: name.clone(),
            fields: message
                .fields
                .iter()
                .filter(|f| f.oneof.as_ref() == Some(name))
                .map(|f| f.name.clone())
                .collect(),
            required: message.constraints.required.contains(name),
        });
        let constraints = message.constraints.oneofs.iter();
        let file = self.files.get(message.location.path.as_path());
        Message {
            full_name: message.full_name.clone(),
            package: message.package.clone(),
            scope: message.scope.clone(),
            name: message.name.clone(),
            comment: message.comment.clone(),
            file: file.map(|f| f.name.clone()).unwrap_or_default(),
            deprecated: self.deprecated.get(&message.full_name).copied().unwrap_or(false),
            tag: message.rules.as_ref().and_then(|r| r.tag),
            rules: message.rules.as_ref().map(rules),
            request: self.requests.contains_key(message.full_name.as_str()),
            fields: message.fields.iter().map(|f| self.field(message, f)).collect(),
            oneofs: oneofs.collect(),
            constraints: constraints
                .map(|o| OneofRule { fields: o.fields.clone(), required: o.required })
                .collect(),
        }
    }

    fn field(&self, message: &model::Message, field: &model::Field) -> Field {
        let described = self.fields.get(&(message.full_name.clone(), field.number));
        let (key, value) = match (&field.kind, field.label) {
            (Kind::Message(entry), Label::Map) => {
                let of = |n: u32| {
                    let entry = self.messages.get(entry.as_str())?;
                    entry.fields.iter().find(|f| f.number == n).map(kinds)
                };
                (of(1), of(2))
            }
            _ => (None, None),
        };
        let own = kinds(field);
        let map = field.label == Label::Map;
        // Proto2 packs only what is told to, proto3 all that is not told otherwise.
        let proto3 = self.files.get(message.location.path.as_path()).is_none_or(|f| f.proto3);
        let told = described.and_then(|d| d.packed).unwrap_or(proto3);
        let packed = field.label == Label::Repeated && !matches!(own.wire, LENGTH | GROUP) && told;
        Field {
            name: field.name.clone(),
            json_name: described.map_or_else(String::new, |d| d.json_name.clone()),
            number: field.number,
            label: match field.label {
                Label::Implicit => "implicit",
                Label::Optional => "optional",
                Label::Required => "required",
                Label::Repeated => "repeated",
                Label::Map => "map",
            },
            r#type: if map { "map".to_string() } else { own.r#type },
            type_name: if map { None } else { own.type_name },
            key,
            value,
            wire: if packed { LENGTH } else { own.wire },
            packed,
            oneof: field.oneof.clone(),
            comment: field.comment.clone(),
            deprecated: described.is_some_and(|d| d.deprecated),
            constraints: field.constraints.as_ref().map(|placed| constrained(&placed.constraints)),
        }
    }

    fn service(&self, service: &model::Service) -> Service {
        let methods = service.methods.iter().map(|method| Method {
            name: method.name.clone(),
            comment: method.comment.clone(),
            request: method.request.clone(),
            reply: method.reply.clone(),
            tag: self.messages.get(method.request.as_str()).and_then(|m| m.rules.as_ref()?.tag),
        });
        Service {
            full_name: service.full_name.clone(),
            package: service.package.clone(),
            name: service.name.clone(),
            comment: service.comment.clone(),
            at: service.at.clone(),
            methods: methods.collect(),
        }
    }
}

fn file(file: &model::File) -> File {
    File {
        name: file.name.clone(),
        package: file.package.clone(),
        syntax: if file.proto3 { "proto3" } else { "proto2" },
        imports: file.imports.clone(),
    }
}

fn packages(model: &Model) -> Vec<Package> {
    let mut by_name: BTreeMap<&str, Package> = BTreeMap::new();
    let empty = |name: &str| Package {
        name: name.to_string(),
        files: vec![],
        messages: vec![],
        enums: vec![],
        services: vec![],
    };
    for file in model.files.iter().filter(|f| f.origin == Origin::Game) {
        by_name.entry(&file.package).or_insert_with(|| empty(&file.package)).files.push(file.name.clone());
    }
    for message in model.messages.iter().filter(|m| m.origin == Origin::Game && !m.map_entry) {
        if let Some(package) = by_name.get_mut(message.package.as_str()) {
            package.messages.push(message.full_name.clone());
        }
    }
    for one in model.enums.iter().filter(|e| e.origin == Origin::Game) {
        if let Some(package) = by_name.get_mut(one.package.as_str()) {
            package.enums.push(one.full_name.clone());
        }
    }
    for service in model.services.iter().filter(|s| s.origin == Origin::Game) {
        if let Some(package) = by_name.get_mut(service.package.as_str()) {
            package.services.push(service.full_name.clone());
        }
    }
    by_name.into_values().collect()
}

fn rules(rules: &model::Rules) -> Rules {
    Rules {
        from: rules.from.clone().unwrap_or_default(),
        to: rules.to.clone(),
        access: rules.access.clone(),
        delivery: rules.delivery.clone(),
        max_bytes: rules.max_bytes,
        max_rate: rules.rate_per_second().ok().flatten().unwrap_or(0),
    }
}

/// Two of the wire types of protobuf's encoding, <https://protobuf.dev/programming-guides/encoding/>.
const LENGTH: u32 = 2;
const GROUP: u32 = 3;

fn kinds(field: &model::Field) -> Kinds {
    let (r#type, type_name) = match &field.kind {
        Kind::Scalar(name) => ((*name).to_string(), None),
        Kind::Message(name) => {
            let word = if field.group { "group" } else { "message" };
            (word.to_string(), Some(name.clone()))
        }
        Kind::Enum(name) => ("enum".to_string(), Some(name.clone())),
    };
    let wire = match r#type.as_str() {
        "double" | "fixed64" | "sfixed64" => 1,
        "float" | "fixed32" | "sfixed32" => 5,
        "string" | "bytes" | "message" => LENGTH,
        "group" => GROUP,
        // Varints.
        _ => 0,
    };
    Kinds { r#type, type_name, wire }
}

fn constrained(constraints: &Constraints) -> Constrained {
    let inner = |of: &Option<Box<Constraints>>| of.as_ref().map(|c| Box::new(constrained(c)));
    Constrained {
        required: constraints.required,
        ignore: match constraints.ignore {
            Ignore::Unset => "unset",
            Ignore::Zero => "zero",
            Ignore::Always => "always",
        },
        rules: constraints.rules.iter().map(|rule| (rule.name.clone(), constant(&rule.value))).collect(),
        items: inner(&constraints.items),
        keys: inner(&constraints.keys),
        values: inner(&constraints.values),
    }
}

fn constant(value: &Constant) -> Value {
    match value {
        Constant::Bool(value) => (*value).into(),
        Constant::Int(value) => (*value).into(),
        Constant::Uint(value) => (*value).into(),
        // JSON has no infinity; the words are those of JSON in protobuf.
        Constant::Float(value) if value.is_infinite() => {
            if *value > 0.0 {
                "Infinity".into()
            } else {
                "-Infinity".into()
            }
        }
        Constant::Float(value) if value.is_nan() => "NaN".into(),
        Constant::Float(value) => (*value).into(),
        Constant::Text(value) => value.clone().into(),
        Constant::Bytes(value) => base64(value, true).into(),
        Constant::List(values) => values.iter().map(constant).collect(),
    }
}

fn enumeration(one: &model::Enum) -> Enum {
    let value = |v: &model::EnumValue| EnumValue {
        name: v.name.clone(),
        number: v.number,
        comment: v.comment.clone(),
    };
    Enum {
        full_name: one.full_name.clone(),
        package: one.package.clone(),
        scope: one.scope.clone(),
        name: one.name.clone(),
        comment: one.comment.clone(),
        values: one.values.iter().map(value).collect(),
    }
}

fn close_codes() -> Result<Vec<CloseCode>, Failure> {
    let stack = load_stack()?;
    let codes = stack.enums.iter().filter(|e| e.full_name == "tagwire.v1.CloseCode.Value");
    let code = |v: &model::EnumValue| CloseCode {
        name: v.name.clone(),
        number: v.number,
        retryable: u16::try_from(v.number).is_ok_and(|number| tagwire::CloseCode(number).retryable()),
        comment: v.comment.clone(),
    };
    Ok(codes.flat_map(|e| &e.values).map(code).collect())
}
