//! `docs/PROTOCOL.md` says what is true: its hex lines, its tags, its close codes.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, DynamicMessage};
use tagwire::Tag;
use tagwire::frame::encode;
use tagwire::prost::Message as _;
use tagwire_codegen::model::Origin;

const DOC: &str = include_str!("../docs/PROTOCOL.md");

/// All messages with a tag, ours and the example's, by full name.
fn tags() -> BTreeMap<String, u16> {
    let root = env!("CARGO_MANIFEST_DIR");
    let game = tagwire_codegen::read(&[format!("{root}/proto")]).unwrap();
    let stack = tagwire_codegen::load::load_stack().unwrap();
    let of = |model: &tagwire_codegen::model::Model, origin| {
        model.tagged(origin).iter().map(|(tag, m, _)| (m.full_name.clone(), *tag)).collect::<Vec<_>>()
    };
    of(&game, Origin::Game).into_iter().chain(of(&stack, Origin::Stack)).collect()
}

fn pool() -> DescriptorPool {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut compiler =
        protox::Compiler::new([format!("{root}/proto"), format!("{root}/codegen/proto")]).unwrap();
    let files = ["tagwire/v1/session.proto", "tagwire/v1/room.proto", "arena/v1/arena.proto"];
    compiler.include_imports(true).open_files(files).unwrap();
    compiler.descriptor_pool()
}

/// The lines inside fences of that language.
fn fenced(language: &str) -> Vec<&'static str> {
    let mut inside = false;
    let fence = format!("```{language}");
    let mut lines = vec![];
    for line in DOC.lines() {
        match line {
            _ if line == fence => inside = true,
            "```" => inside = false,
            _ if inside => lines.push(line),
            _ => {}
        }
    }
    lines
}

#[test]
fn every_hex_line_is_the_frame_of_the_message_beside_it() {
    let (tags, pool) = (tags(), pool());
    let lines = fenced("hex");
    assert!(lines.len() >= 15, "{} lines", lines.len());
    let mut wrong = String::new();
    for line in lines {
        let start = line.find(|c: char| c.is_alphabetic() && !c.is_ascii_hexdigit()).unwrap();
        let start = line[..start].rfind(' ').unwrap();
        let (hex, text) = line.split_at(start);
        let hex: String = hex.split_whitespace().collect();
        let (name, fields) = text.trim().split_once(' ').unwrap();
        let fields = fields.trim().strip_prefix('{').unwrap().strip_suffix('}').unwrap();
        let descriptor = pool.get_message_by_name(name).unwrap_or_else(|| panic!("no {name}"));
        let message =
            DynamicMessage::parse_text_format(descriptor, fields).unwrap_or_else(|e| panic!("{line}: {e}"));
        let mut frame = vec![];
        encode(Tag(tags[name]), &message.encode_to_vec(), &mut frame);
        let expected: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        if hex != expected {
            wrong += &format!("{} {} {}  {}\n", &expected[..2], &expected[2..4], &expected[4..], text.trim());
        }
    }
    assert!(wrong.is_empty(), "these lines should be:\n{wrong}");
}

/// The cells of all tables that are a number beside a name.
fn numbered_cells() -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for line in DOC.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        for pair in cells.windows(2) {
            if let Ok(number) = pair[0].parse() {
                found.insert(pair[1].to_string(), number);
            }
        }
    }
    found
}

#[test]
fn the_tables_of_tags_and_close_codes_are_complete_and_true() {
    let mut expected: BTreeMap<String, u32> = tags()
        .into_iter()
        .filter_map(|(name, tag)| Some((name.strip_prefix("tagwire.v1.")?.to_string(), u32::from(tag))))
        .collect();
    let codes = pool().get_enum_by_name("tagwire.v1.CloseCode.Value").unwrap();
    expected.extend(codes.values().map(|value| (value.name().to_string(), value.number() as u32)));
    assert_eq!(numbered_cells(), expected);
}
