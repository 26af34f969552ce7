//! From decoded files, whose names are known, to the parts of a model.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use prost_reflect::{DynamicMessage, MessageDescriptor};
use prost_types::field_descriptor_proto::{Label as ProtoLabel, Type};
use prost_types::source_code_info::Location as SourceLocation;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto};

use super::{
    BuiltIn, Declared, Decoded, DescriptorsError, RawFieldOptions, RawMessage, RawRules, RawService, Result,
    is_map_entry, join, shown,
};
use crate::constraints::{Constraints, MessageConstraints, Placed};
use crate::load::{comment, default, idempotency, reserved};
use crate::model::{Enum, EnumValue, Field, Kind, Label, Location, Message, Method, Model, Rules, Service};

/// Where something is declared.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The full name of what it is in.
    around: &'a str,
    /// Names of the messages around it, outermost first.
    scope: &'a [String],
    /// Its path in the file, as comments are found by.
    path: &'a [i32],
}

/// Reads one decoded file into a model; of a name it believes only what was declared.
pub(super) struct Reader<'a> {
    pub(super) file: &'a Decoded,
    pub(super) types: &'a HashMap<String, Declared>,
    pub(super) built_in: &'a BuiltIn,
    /// By the place of what they are about: numbers of fields and indexes, from the file inwards.
    comments: HashMap<&'a [i32], &'a SourceLocation>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        file: &'a Decoded,
        types: &'a HashMap<String, Declared>,
        built_in: &'a BuiltIn,
    ) -> Self {
        let locations = file.proto.source_code_info.iter().flat_map(|info| &info.location);
        let mut comments = HashMap::new();
        // The first counts, as where files are read.
        locations.for_each(|location| {
            comments.entry(location.path.as_slice()).or_insert(location);
        });
        Reader { file, types, built_in, comments }
    }

    fn comment(&self, path: &[i32]) -> String {
        self.comments.get(path).map(|location| comment(location)).unwrap_or_default()
    }

    pub(super) fn read(&self, into: &mut Model) -> Result<()> {
        let (proto, raw) = (&self.file.proto, &self.file.raw);
        for ((message, raw), at) in proto.message_type.iter().zip(&raw.message).zip(0..) {
            self.message(message, raw, Place { around: proto.package(), scope: &[], path: &[4, at] }, into)?;
        }
        for (one, at) in proto.enum_type.iter().zip(0..) {
            let place = Place { around: proto.package(), scope: &[], path: &[5, at] };
            into.enums.push(self.enumeration(one, place)?);
        }
        for ((service, raw), at) in proto.service.iter().zip(&raw.service).zip(0..) {
            into.services.push(self.service(service, raw, &[6, at])?);
        }
        proto.extension.iter().try_for_each(|one| self.extension(one, proto.package()))
    }

    /// Looks at an extension as at a field. The model has none, but printers that work on descriptors print them.
    fn extension(&self, extension: &FieldDescriptorProto, around: &str) -> Result<()> {
        let place = join(around, extension.name())?;
        let invalid =
            |what: &str| Err(DescriptorsError::Invalid { place: place.clone(), what: what.to_string() });
        self.message_named(extension.extendee(), &place)?;
        if extension.oneof_index.is_some() {
            return invalid("is an extension, and in a oneof");
        }
        match self.field(extension, &|| place.clone(), &[])?.label {
            Label::Map => invalid("is an extension, and a map"),
            _ => Ok(()),
        }
    }

    fn location(&self) -> Location {
        Location { path: PathBuf::from(&self.file.name), line: 1 }
    }

    fn message(
        &self,
        message: &DescriptorProto,
        raw: &RawMessage,
        Place { around, scope, path }: Place<'_>,
        into: &mut Model,
    ) -> Result<()> {
        let inside = |number, at| [path, &[number, at]].concat();
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
        let fields = message.field.iter().chain(&message.extension);
        for name in message.oneof_decl.iter().map(|o| o.name()).chain(fields.map(|f| f.name())) {
            join(&full_name, name)?;
            if !names.insert(name) {
                return Err(DescriptorsError::TwoNames {
                    file: shown(&self.file.name),
                    name: format!("{full_name}.{name}"),
                });
            }
        }
        let mut fields = Vec::with_capacity(message.field.len());
        for ((field, raw), at) in message.field.iter().zip(&raw.field).zip(0..) {
            let mut field = self.field(field, &|| format!("{full_name}.{}", field.name()), &oneofs)?;
            field.constraints = self.constraints(raw.options.as_ref(), &full_name)?;
            field.comment = self.comment(&inside(2, at));
            if !numbers.insert(field.number) {
                return Err(invalid(format!("number {} is given twice", field.number)));
            }
            fields.push(field);
        }
        fields.sort_by_key(|f| f.number);
        let map_entry = is_map_entry(message);
        if map_entry {
            let written = message.field.iter().map(|f| (f.name(), f.number()));
            let key_and_value = written.eq([("key", 1), ("value", 2)]);
            let single = fields.iter().all(|f| !matches!(f.label, Label::Repeated | Label::Map));
            // Printers leave it out, with all that is in it.
            let empty = message.nested_type.is_empty()
                && message.enum_type.is_empty()
                && message.extension.is_empty();
            if !key_and_value || !single || !empty || rules.is_some() {
                return Err(invalid("says to be the entry of a map, and is not key and value".to_string()));
            }
        }
        into.messages.push(Message {
            package: self.file.proto.package().to_string(),
            scope: scope.to_vec(),
            name: message.name().to_string(),
            comment: self.comment(path),
            location: self.location(),
            origin: self.file.origin,
            rules,
            fields,
            oneofs: oneofs.into_iter().flatten().map(str::to_string).collect(),
            map_entry,
            constraints: self.message_constraints(message, raw, &full_name)?,
            reserved: reserved(
                message.reserved_range.iter().map(|r| (r.start().into(), i64::from(r.end()) - 1)),
                message.reserved_name.iter().map(String::as_str),
            ),
            full_name: full_name.clone(),
        });
        let mut inner = scope.to_vec();
        inner.push(message.name().to_string());
        for ((child, raw), at) in message.nested_type.iter().zip(&raw.nested).zip(0..) {
            let place = Place { around: &full_name, scope: &inner, path: &inside(3, at) };
            self.message(child, raw, place, into)?;
        }
        for (child, at) in message.enum_type.iter().zip(0..) {
            let place = Place { around: &full_name, scope: &inner, path: &inside(4, at) };
            into.enums.push(self.enumeration(child, place)?);
        }
        message.extension.iter().try_for_each(|one| self.extension(one, &full_name))
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
        self.built_in.rule_values.get(&key).cloned().unwrap_or_else(|| number.to_string())
    }

    /// `place`: its full name.
    fn field(
        &self,
        field: &FieldDescriptorProto,
        place: &impl Fn() -> String,
        oneofs: &[Option<&str>],
    ) -> Result<Field> {
        let number = u32::try_from(field.number()).unwrap_or(0);
        if !matches!(number, 1..=18_999 | 20_000..=536_870_911) {
            let what = format!("number {} is out of range", field.number());
            return Err(DescriptorsError::Invalid { place: place(), what });
        }
        let kind = self.kind(field, place)?;
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
            json_name: field.json_name().to_string(),
            number,
            kind,
            label,
            oneof: oneof.flatten().map(str::to_string),
            constraints: None,
            default: default(field.default_value.as_deref()),
            group: field.r#type == Some(Type::Group as i32),
            comment: String::new(),
            location: nowhere(),
        })
    }

    fn constraints(&self, options: Option<&RawFieldOptions>, place: &str) -> Result<Option<Placed>> {
        let Some(options) = options else { return Ok(None) };
        let rules = self.rules_of(&self.built_in.field_rules, &options.validate, place)?;
        let mut constraints = rules.as_ref().map(Constraints::of);
        if options.predefined.is_some() {
            constraints.get_or_insert_default().refused.push("(buf.validate.predefined)".to_string());
        }
        Ok(constraints.map(|constraints| Placed { constraints, location: self.location() }))
    }

    fn message_constraints(
        &self,
        message: &DescriptorProto,
        raw: &RawMessage,
        place: &str,
    ) -> Result<MessageConstraints> {
        let mut found = MessageConstraints::default();
        if let Some(options) = &raw.options
            && let Some(rules) = self.rules_of(&self.built_in.message_rules, &options.validate, place)?
        {
            found.add_message(&rules);
        }
        for (oneof, raw) in message.oneof_decl.iter().zip(&raw.oneof) {
            if let Some(options) = &raw.options
                && let Some(rules) = self.rules_of(&self.built_in.oneof_rules, &options.validate, place)?
            {
                found.add_oneof(oneof.name(), &rules);
            }
        }
        Ok(found)
    }

    /// The pieces of one option. The library is given a descriptor of ours, and bytes: that it is made for.
    fn rules_of(
        &self,
        of: &MessageDescriptor,
        pieces: &[Vec<u8>],
        place: &str,
    ) -> Result<Option<DynamicMessage>> {
        if pieces.is_empty() {
            return Ok(None);
        }
        let rules = DynamicMessage::decode(of.clone(), pieces.concat().as_slice());
        rules.map(Some).map_err(|error| DescriptorsError::Invalid {
            place: place.to_string(),
            what: format!("its constraints are malformed: {}", shown(&error.to_string())),
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

    /// The full name of a message that is no entry of a map, as `place` names it.
    fn message_named(&self, name: &str, place: &str) -> Result<String> {
        match self.resolve(name, &|| place.to_string())? {
            (name, Declared::Message { map_entry: false }) => Ok(name),
            (name, _) => {
                Err(DescriptorsError::Type { place: place.to_string(), name, why: "which is not a message" })
            }
        }
    }

    fn enumeration(
        &self,
        one: &EnumDescriptorProto,
        Place { around, scope, path }: Place<'_>,
    ) -> Result<Enum> {
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
        let values = one.value.iter().zip(0..).map(|(v, at)| EnumValue {
            name: v.name().to_string(),
            number: v.number(),
            comment: self.comment(&[path, &[2, at]].concat()),
            location: nowhere(),
        });
        Ok(Enum {
            package: self.file.proto.package().to_string(),
            scope: scope.to_vec(),
            name: one.name().to_string(),
            comment: self.comment(path),
            origin: self.file.origin,
            values: values.collect(),
            reserved: reserved(
                one.reserved_range.iter().map(|r| (r.start().into(), r.end().into())),
                one.reserved_name.iter().map(String::as_str),
            ),
            location: self.location(),
            full_name,
        })
    }

    fn service(
        &self,
        service: &prost_types::ServiceDescriptorProto,
        raw: &RawService,
        path: &[i32],
    ) -> Result<Service> {
        let full_name = join(self.file.proto.package(), service.name())?;
        let at = raw.options.as_ref().and_then(|o| o.rules.as_ref()).map_or(0, |rules| rules.at);
        let mut names = HashSet::new();
        let mut methods = Vec::with_capacity(service.method.len());
        for (method, at) in service.method.iter().zip(0..) {
            let place = join(&full_name, method.name())?;
            if !names.insert(method.name()) {
                return Err(DescriptorsError::TwoNames { file: shown(&self.file.name), name: place });
            }
            methods.push(Method {
                name: method.name().to_string(),
                request: self.message_named(method.input_type(), &place)?,
                reply: self.message_named(method.output_type(), &place)?,
                streaming: method.client_streaming() || method.server_streaming(),
                idempotency: idempotency(method.options.as_ref()),
                comment: self.comment(&[path, &[2, at]].concat()),
                location: self.location(),
            });
        }
        Ok(Service {
            package: self.file.proto.package().to_string(),
            name: service.name().to_string(),
            comment: self.comment(path),
            location: self.location(),
            origin: self.file.origin,
            at: self.rule_value("Place", at),
            methods,
            full_name,
        })
    }
}

/// The place of what there may be thousands of: a path costs memory, and no finding of a check names it.
fn nowhere() -> Location {
    Location { path: PathBuf::new(), line: 1 }
}
