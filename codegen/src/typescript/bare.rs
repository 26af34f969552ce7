//! Descriptors without what concerns only the stack, and the form in which protobuf-es carries them.
//!
//! Both work on the encoded file: types of a library would lose the options that a game defined itself.

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_varint, skip_field};

use crate::error::Error;
use crate::model::{File, Model, Origin};

use super::names::camel_case;

/// A part of a descriptor whose own parts matter here. After descriptor.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    File,
    Message,
    Field,
    Extension,
    Enum,
    Value,
    Oneof,
    Service,
    Method,
    Range,
    /// Options; the name of their message.
    Options(&'static str),
}

impl Part {
    fn child(self, number: u32) -> Option<Part> {
        Some(match (self, number) {
            (Part::File, 4) | (Part::Message, 3) => Part::Message,
            (Part::File, 5) | (Part::Message, 4) => Part::Enum,
            (Part::File, 6) => Part::Service,
            (Part::File, 7) | (Part::Message, 6) => Part::Extension,
            (Part::Message, 2) => Part::Field,
            (Part::Message, 5) => Part::Range,
            (Part::Message, 8) => Part::Oneof,
            (Part::Enum, 2) => Part::Value,
            (Part::Service, 2) => Part::Method,
            (Part::File, 8) => Part::Options("FileOptions"),
            (Part::Message, 7) => Part::Options("MessageOptions"),
            (Part::Field | Part::Extension, 8) => Part::Options("FieldOptions"),
            (Part::Enum, 3) => Part::Options("EnumOptions"),
            (Part::Value, 3) => Part::Options("EnumValueOptions"),
            (Part::Oneof, 2) => Part::Options("OneofOptions"),
            (Part::Service, 3) => Part::Options("ServiceOptions"),
            (Part::Method, 4) => Part::Options("MethodOptions"),
            (Part::Range, 3) => Part::Options("ExtensionRangeOptions"),
            _ => return None,
        })
    }
}

/// Numbers of the fields of a file that have a meaning of their own here.
mod file {
    pub(super) const DEPENDENCY: u32 = 3;
    pub(super) const SOURCE_CODE_INFO: u32 = 9;
    pub(super) const PUBLIC_DEPENDENCY: u32 = 10;
    pub(super) const WEAK_DEPENDENCY: u32 = 11;
}
const FIELD_NAME: u32 = 1;
const FIELD_JSON_NAME: u32 = 10;
/// The least number of a custom option. What descriptor.proto has itself lies below.
const FIRST_CUSTOM: u32 = 990;

/// One field of an encoded message.
struct Raw<'a> {
    number: u32,
    /// All of it, key included.
    whole: &'a [u8],
    /// Of a length-delimited field the value, else nothing.
    value: &'a [u8],
}

fn fields(mut bytes: &[u8]) -> Result<Vec<Raw<'_>>, Error> {
    let mut fields = vec![];
    while bytes.has_remaining() {
        let begin = bytes;
        let (number, wire) = decode_key(&mut bytes).map_err(Error::Descriptor)?;
        let inner = bytes;
        skip_field(wire, number, &mut bytes, DecodeContext::default()).map_err(Error::Descriptor)?;
        let mut value: &[u8] = &[];
        if wire == WireType::LengthDelimited {
            value = &inner[..inner.len() - bytes.len()];
            decode_varint(&mut value).map_err(Error::Descriptor)?;
        }
        fields.push(Raw { number, whole: &begin[..begin.len() - bytes.len()], value });
    }
    Ok(fields)
}

fn put(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    encode_varint(u64::from(number << 3 | 2), out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    encode_varint(u64::from(number << 3), out);
    encode_varint(value, out);
}

/// A file without our options and the imports that it has for those alone.
pub(super) struct Bare<'a> {
    /// What the model has of it.
    pub(super) file: &'a File,
    /// Names of the files that it still imports.
    pub(super) imports: Vec<&'a str>,
    /// The encoded descriptor, without positions.
    pub(super) descriptor: Vec<u8>,
}

/// The files that are printed for `origin`, and those that they import; each behind what it imports.
///
/// Files of the stack and `validate.proto` are among them only where a type of theirs is a type of a field, is
/// extended, or is asked with.
pub(super) fn bare(model: &Model, origin: Origin) -> Result<Vec<Bare<'_>>, Error> {
    let ours = |f: &File| matches!(f.origin, Origin::Stack | Origin::Validate);
    let wanted = |f: &File| f.origin == origin && f.name != "tagwire/v1/options.proto";
    let mut kept: HashSet<&str> = model.files.iter().filter(|f| wanted(f)).map(|f| f.name.as_str()).collect();
    let used: HashMap<&str, HashSet<&str>> = {
        let declared = declared(model);
        model.files.iter().map(|f| (f.name.as_str(), used_files(f, &declared))).collect()
    };
    // From the last to the first, so that what needs a file is known before the file is looked at.
    for file in model.files.iter().rev() {
        if kept.contains(file.name.as_str()) {
            kept.extend(&used[file.name.as_str()]);
            let plain = |name: &&str| model.files.iter().any(|f| f.name == *name && !ours(f));
            kept.extend(file.imports.iter().map(String::as_str).filter(plain));
        }
    }
    let stripped = options_of_ours(model);
    let files = model.files.iter().filter(|f| kept.contains(f.name.as_str()));
    files
        .map(|file| {
            let imports: Vec<&str> =
                file.imports.iter().map(String::as_str).filter(|name| kept.contains(name)).collect();
            let mut descriptor = vec![];
            strip_file(&mut descriptor, file, &imports, &stripped)?;
            Ok(Bare { file, imports, descriptor })
        })
        .collect()
}

/// The file that declares each message and enum at the top, by full name with a dot before it.
fn declared(model: &Model) -> HashMap<String, &str> {
    let mut declared = HashMap::new();
    for file in &model.files {
        let dot = if file.package.is_empty() { "" } else { "." };
        let names = file.documented.message_type.iter().map(|m| m.name());
        for name in names.chain(file.documented.enum_type.iter().map(|e| e.name())) {
            declared.insert(format!("{dot}{}.{name}", file.package), file.name.as_str());
        }
    }
    declared
}

/// Files that declare a type which this one uses.
fn used_files<'a>(file: &File, declared: &HashMap<String, &'a str>) -> HashSet<&'a str> {
    fn of_message<'m>(message: &'m prost_types::DescriptorProto, into: &mut Vec<&'m str>) {
        for field in message.field.iter().chain(&message.extension) {
            into.extend([field.type_name(), field.extendee()]);
        }
        message.nested_type.iter().for_each(|m| of_message(m, into));
    }
    let mut names = vec![];
    file.documented.message_type.iter().for_each(|m| of_message(m, &mut names));
    for field in &file.documented.extension {
        names.extend([field.type_name(), field.extendee()]);
    }
    for method in file.documented.service.iter().flat_map(|s| &s.method) {
        names.extend([method.input_type(), method.output_type()]);
    }
    // A nested type is found by the outermost one around it.
    let found = names.into_iter().filter_map(|name| {
        let ends = name.match_indices('.').map(|(at, _)| at).skip(1).chain([name.len()]);
        ends.into_iter().find_map(|end| declared.get(name.get(..end)?).copied())
    });
    found.collect()
}

/// The options that the stack and `validate.proto` define: the name of the extended message and the number.
fn options_of_ours(model: &Model) -> HashSet<(String, u32)> {
    let files = model.files.iter().filter(|f| matches!(f.origin, Origin::Stack | Origin::Validate));
    let all = files.flat_map(|f| &f.documented.extension);
    all.filter_map(|e| {
        let extended = e.extendee().strip_prefix(".google.protobuf.")?;
        Some((extended.to_string(), u32::try_from(e.number()).ok()?))
    })
    .collect()
}

fn strip_file(
    out: &mut Vec<u8>,
    file: &File,
    imports: &[&str],
    stripped: &HashSet<(String, u32)>,
) -> Result<(), Error> {
    // The lists of public and weak imports are positions in the list of imports.
    let position = |raw: &Raw<'_>| -> Result<Option<u64>, Error> {
        let mut value = raw.whole;
        decode_key(&mut value).map_err(Error::Descriptor)?;
        let old = decode_varint(&mut value).map_err(Error::Descriptor)?;
        let name = usize::try_from(old).ok().and_then(|at| file.imports.get(at));
        Ok(name.and_then(|n| imports.iter().position(|i| i == n)).map(|at| at as u64))
    };
    for raw in fields(&file.descriptor)? {
        match raw.number {
            file::DEPENDENCY => {
                if imports.iter().any(|i| i.as_bytes() == raw.value) {
                    out.extend_from_slice(raw.whole);
                }
            }
            file::PUBLIC_DEPENDENCY | file::WEAK_DEPENDENCY => {
                if let Some(at) = position(&raw)? {
                    put_number(out, raw.number, at);
                }
            }
            file::SOURCE_CODE_INFO => {}
            _ => strip_field(out, &raw, Part::File, stripped)?,
        }
    }
    Ok(())
}

fn strip_field(
    out: &mut Vec<u8>,
    raw: &Raw<'_>,
    part: Part,
    stripped: &HashSet<(String, u32)>,
) -> Result<(), Error> {
    let Some(child) = part.child(raw.number) else {
        out.extend_from_slice(raw.whole);
        return Ok(());
    };
    let mut inner = vec![];
    for field in fields(raw.value)? {
        match child {
            Part::Options(name) if stripped.contains(&(name.to_string(), field.number)) => {}
            _ => strip_field(&mut inner, &field, child, stripped)?,
        }
    }
    // Options of which nothing is left were not written at all.
    if !(matches!(child, Part::Options(_)) && inner.is_empty()) {
        put(out, raw.number, &inner);
    }
    Ok(())
}

/// The descriptor as protobuf-es embeds it: without imports, which stand beside it as code; without names in JSON
/// that are the usual ones; fields by rising number, custom options behind the others.
pub(super) fn embedded(descriptor: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = vec![];
    embed(&mut out, descriptor, Part::File)?;
    Ok(out)
}

fn embed(out: &mut Vec<u8>, bytes: &[u8], part: Part) -> Result<(), Error> {
    let mut fields = fields(bytes)?;
    match part {
        Part::File => fields.retain(|f| !matches!(f.number, file::DEPENDENCY | file::SOURCE_CODE_INFO)),
        // Of extensions the name stays: protobuf-es takes it off fields alone.
        Part::Field => {
            let name = fields.iter().find(|f| f.number == FIELD_NAME).map_or(&[][..], |f| f.value);
            let usual = camel_case(&String::from_utf8_lossy(name));
            fields.retain(|f| f.number != FIELD_JSON_NAME || f.value != usual.as_bytes());
        }
        _ => {}
    }
    fields.sort_by_key(|f| f.number.min(FIRST_CUSTOM));
    for field in fields {
        match part.child(field.number) {
            Some(child) => {
                let mut inner = vec![];
                embed(&mut inner, field.value, child)?;
                put(out, field.number, &inner);
            }
            None => out.extend_from_slice(field.whole),
        }
    }
    Ok(())
}

/// The request with which a plugin is asked for the files that are printed.
pub(super) fn request(files: &[Bare<'_>]) -> Vec<u8> {
    /// Numbers of the fields of `CodeGeneratorRequest`, in plugin.proto.
    const FILE_TO_GENERATE: u32 = 1;
    const PARAMETER: u32 = 2;
    const PROTO_FILE: u32 = 15;

    let mut out = vec![];
    for bare in files.iter().filter(|b| b.file.origin != Origin::Google) {
        put(&mut out, FILE_TO_GENERATE, bare.file.name.as_bytes());
    }
    put(&mut out, PARAMETER, super::PARAMETER.as_bytes());
    for bare in files {
        let mut descriptor = bare.descriptor.clone();
        if let Some(info) = &bare.file.documented.source_code_info {
            put(&mut descriptor, file::SOURCE_CODE_INFO, &info.encode_to_vec());
        }
        put(&mut out, PROTO_FILE, &descriptor);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_as_protobuf_es_writes_them() {
        // A message's options before its name; in those a custom one, then another, then one of Google's.
        let custom = |number: u32| {
            let mut out = vec![];
            put_number(&mut out, number, 1);
            out
        };
        let mut options = [custom(50_002), custom(50_001)].concat();
        put_number(&mut options, 3, 1);
        let mut message = vec![];
        put(&mut message, 7, &options);
        put(&mut message, 1, b"M");
        let mut file = vec![];
        put(&mut file, 12, b"proto3");
        put(&mut file, 4, &message);

        let mut options = vec![];
        put_number(&mut options, 3, 1);
        let options = [options, custom(50_002), custom(50_001)].concat();
        let mut message = vec![];
        put(&mut message, 1, b"M");
        put(&mut message, 7, &options);
        let mut expected = vec![];
        put(&mut expected, 4, &message);
        put(&mut expected, 12, b"proto3");
        assert_eq!(embedded(&file).expect("it is whole"), expected);
    }

    #[test]
    fn a_cut_descriptor_is_an_error() {
        assert!(embedded(&[0x0a, 5, b'a']).is_err());
        assert!(embedded(&[0x22, 3, 0x0a, 5, b'a']).is_err(), "within a message too");
    }
}
