//! What is said of each thing: the comments of the schema, and how it is declared there.

use std::collections::HashMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::field_options::JsType;
use prost_types::source_code_info::Location;
use prost_types::{EnumValueDescriptorProto, FieldDescriptorProto};

use crate::model::File;

use super::names::camel_case;
use super::schema::{Schema, number};

/// The comments of a file, by the place of what they are about.
pub(super) struct Comments<'a> {
    by_path: HashMap<&'a [i32], &'a Location>,
}

impl<'a> Comments<'a> {
    pub(super) fn of(file: &'a File) -> Self {
        let mut by_path = HashMap::new();
        for location in file.documented.source_code_info.iter().flat_map(|i| &i.location) {
            // A package or option that is written twice has the first one's.
            by_path.entry(location.path.as_slice()).or_insert(location);
        }
        Self { by_path }
    }

    /// The documentation of what is at `path`: the comments before and behind it, then `declared`.
    pub(super) fn text(&self, path: &[i32], declared: &str, deprecated: bool) -> String {
        let location = self.by_path.get(path);
        let both = location.map(|l| [&l.leading_comments, &l.trailing_comments]);
        let mut text = String::new();
        for comment in both.into_iter().flatten().flatten() {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&lines_of(comment));
            if text.ends_with('\n') {
                text.pop();
            }
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let lines: Vec<&str> = text.split('\n').map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
        let mark = if deprecated { "\n@deprecated" } else { "" };
        format!("{}@generated from {declared}{mark}", lines.join("\n"))
    }

    /// What stands at the top of a module: the comments on `syntax`, from which file it is, those on `package`.
    pub(super) fn preamble(&self, file: &File) -> String {
        let mut out = self.free(number::FILE_SYNTAX);
        let stem = file.name.strip_suffix(".proto").unwrap_or(&file.name);
        let package = match file.package.as_str() {
            "" => String::new(),
            package => format!("package {}, ", one_line(package)),
        };
        let syntax = if file.proto3 { "proto3" } else { "proto2" };
        out.push_str(&format!(
            "// @generated from file {}.proto ({package}syntax {syntax})\n",
            one_line(stem)
        ));
        out.push_str("/* eslint-disable */\n\n");
        out.push_str(&self.free(number::FILE_PACKAGE));
        out
    }

    /// Comments that stand by themselves before a statement of the file, and the one on it.
    fn free(&self, number: i32) -> String {
        let mut out = String::new();
        let location = self.by_path.get(&[number][..]);
        let all = location.map(|l| l.leading_detached_comments.iter().chain(&l.leading_comments));
        for comment in all.into_iter().flatten() {
            let comment = lines_of(comment);
            for line in comment.strip_suffix('\n').unwrap_or(&comment).split('\n') {
                out.push_str(&format!("//{line}\n"));
            }
            out.push('\n');
        }
        out
    }
}

/// A comment whose lines end as those of the printed file do. Two of the ends are none to Rust, but to JavaScript.
fn lines_of(comment: &str) -> String {
    comment.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}'], "\n")
}

/// A text within a comment of one line.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            _ => out.push(c),
        }
    }
    out
}

/// A field or an extension as it is declared, without options of the game's own.
pub(super) fn field(schema: &Schema<'_>, field: &FieldDescriptorProto, proto3: bool) -> String {
    let mut words = vec![];
    match schema.map_entry(field) {
        Some((key, value)) => words.push(format!("map<{}, {}>", type_name(key), type_name(value))),
        None => {
            let in_oneof = field.oneof_index.is_some() && !field.proto3_optional();
            let optional = if proto3 { field.proto3_optional() } else { !in_oneof };
            match field.label() {
                Label::Repeated => words.push("repeated".to_string()),
                Label::Required if !proto3 => words.push("required".to_string()),
                Label::Optional if optional => words.push("optional".to_string()),
                _ => {}
            }
            words.push(type_name(field));
        }
    }
    words.extend([field.name().to_string(), "=".to_string(), field.number().to_string()]);
    let options = options(field);
    if !options.is_empty() {
        words.push(format!("[{}]", options.join(", ")));
    }
    words.join(" ")
}

fn options(field: &FieldDescriptorProto) -> Vec<String> {
    let mut options = vec![];
    let written = field.options.as_ref();
    if let Some(packed) = written.and_then(|o| o.packed) {
        options.push(format!("packed = {packed}"));
    }
    if let Some(default) = &field.default_value {
        let text = matches!(field.r#type(), Type::String | Type::Bytes);
        // The first quote alone, as protobuf-es has it; this is a comment.
        let shown = if text { format!("\"{}\"", default.replacen('"', "\\\"", 1)) } else { default.clone() };
        options.push(format!("default = {shown}"));
    }
    if field.extendee.is_none() && field.json_name() != camel_case(field.name()) {
        options.push(format!("json_name = \"{}\"", field.json_name()));
    }
    if let Some(kind) = written.and_then(|o| o.jstype) {
        let name = JsType::try_from(kind).map_or("", |kind| kind.as_str_name());
        options.push(format!("jstype = {name}"));
    }
    // That it is written, whatever is written.
    if written.is_some_and(|o| o.deprecated.is_some()) {
        options.push("deprecated = true".to_string());
    }
    options
}

/// A value of an enum as it is declared.
pub(super) fn value(value: &EnumValueDescriptorProto) -> String {
    let old = value.options.as_ref().is_some_and(prost_types::EnumValueOptions::deprecated);
    let mark = if old { " [deprecated = true]" } else { "" };
    format!("{} = {}{mark}", value.name(), value.number())
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Group | Type::Enum => field.type_name().trim_start_matches('.').to_string(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase(),
    }
}
