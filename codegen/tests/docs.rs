//! The reference: what it says of a schema, that its examples are messages, and that no text of a schema is markup.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{game, read};
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;
use tagwire_codegen::docs::Reference;
use tagwire_codegen::model::Model;

fn files(model: &Model) -> BTreeMap<String, String> {
    Reference::of(model, None, "game").files()
}

/// The examples of a reference in Markdown, by full name.
fn examples(markdown: &str) -> Vec<(String, String)> {
    let mut found = vec![];
    for entry in markdown.split("\n#### <a id=\"").skip(1) {
        let (name, rest) = entry.split_once('"').unwrap();
        if let Some((_, rest)) = rest.split_once("\n```json\n") {
            found.push((name.to_string(), rest.split_once("\n```").unwrap().0.to_string()));
        }
    }
    found
}

/// With numbers as JSON knows them: 1 is 1.0, and 0.1 is the `float` that was written so.
fn numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map(|number| number as f32).into(),
        Value::Array(list) => list.into_iter().map(numbers).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, numbers(value))).collect(),
        other => other,
    }
}

/// They are read, and written again they are the same: canonical. What they hold is judged in `scripts/tests`.
#[test]
fn examples_are_canonical_json_of_their_messages() {
    for name in [
        "tests/golden/nasty",
        "tests/golden/valid",
        "tests/golden/hall",
        "../proto",
        "../examples/arena/proto",
    ] {
        let model = tagwire_codegen::read(&[Path::new(env!("CARGO_MANIFEST_DIR")).join(name)]).unwrap();
        let stack = tagwire_codegen::load::load_stack().unwrap();
        let markdown = &Reference::of(&model, Some(&stack), "game").files()["reference.md"];
        let pool = model.descriptor_pool().unwrap();
        let stack = stack.descriptor_pool().unwrap();
        let examples = examples(markdown);
        assert!(examples.len() > 18, "{name}: {}", examples.len());
        for (full_name, example) in examples {
            let descriptor =
                pool.get_message_by_name(&full_name).or(stack.get_message_by_name(&full_name)).unwrap();
            let mut reader = serde_json::Deserializer::from_str(&example);
            let message = DynamicMessage::deserialize(descriptor, &mut reader)
                .map_err(|e| panic!("{name}: {full_name}: {e}\n{example}"))
                .unwrap();
            reader.end().unwrap();
            let written = message
                .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
                .unwrap();
            let example: Value = serde_json::from_str(&example).unwrap();
            assert_eq!(numbers(written), numbers(example), "{full_name}");
        }
    }
}

#[test]
fn all_is_said() {
    let model = read(&[(
        "game.proto",
        &game(
            "import \"buf/validate/validate.proto\";\n\
             // Asks for a room. It may be full.\nmessage Ask {\n\
             option (tagwire.v1.rules) = { tag: 4, from: CLIENT, access: GUEST, max_rate: \"2/s\", max_bytes: 99 };\n\
             option (buf.validate.message).oneof = { fields: [\"a\", \"b\"] };\n\
             // How many.\n optional int32 a = 1 [(buf.validate.field).int32 = { gte: 1, lt: 9 }];\n\
             repeated Part b = 2 [(buf.validate.field).repeated = { max_items: 3, unique: false }];\n\
             map<string, Way> c = 3; oneof how { bool d = 4; Part e = 5; } }\n\
             message Part { bytes raw = 1 [(buf.validate.field).bytes.len = 4]; }\n\
             // Ways.\nenum Way { WAY_NONE = 0; WAY_UP = 1; // Up.\n}\n\
             message Told { option (tagwire.v1.rules) = { tag: 5, from: SERVER, delivery: LATEST }; }\n\
             // Knows.\nservice Oracle { option (tagwire.v1.service) = { at: ROOM };\n// Tells.\nrpc Tell(Ask) returns (Part); }\n",
        ),
    )])
    .map_err(|e| panic!("{e}"))
    .unwrap();
    let files = files(&model);
    let markdown = &files["reference.md"];
    for line in [
        "| 4 | [Ask](#game.v1.Ask) | players | the server's code | Asks for a room. |",
        "Asks for a room. It may be full.",
        "- allowed to: anyone, guests too",
        "- at most: 2 a second from each player, 99 bytes",
        "- request of: game.v1.Oracle.Tell",
        "- answered by: [game.v1.Part](#game.v1.Part)",
        "- at most one of a, b is set",
        "| 1 | a | int32 | optional<br>less than 9<br>at least 1 | How many. |",
        "| 2 | b | repeated [game.v1.Part](#game.v1.Part) | at most 3 of them |  |",
        "| 3 | c | map&lt;string, [game.v1.Way](#game.v1.Way)&gt; |  |  |",
        "| 4 | d | bool | in the oneof how, instead of e |  |",
        "| 1 | raw | bytes | exactly 4 bytes |  |",
        "- sent by: the server",
        "- delivery: latest: a newer one replaces one that still waits",
        "It has no fields.",
        "| 1 | WAY\\_UP | Up. |",
        "Answered by the room that the player is in.",
        "| Tell | [game.v1.Ask](#game.v1.Ask) | [game.v1.Part](#game.v1.Part) | Tells. |",
    ] {
        assert!(markdown.lines().any(|l| l == line), "{line}\n{markdown}");
    }
    assert_eq!(
        examples(markdown)[0].1,
        "{\n  \"a\": 3,\n  \"c\": {\n    \"key\": \"WAY_UP\"\n  },\n  \"d\": true\n}"
    );
    let page = &files["index.html"];
    for text in
        ["<article id=\"game.v1.Ask\">", "<a href=\"#game.v1.Part\">game.v1.Part</a>", "at least 1", "Tells."]
    {
        assert!(page.contains(text), "{text}");
    }
    let llms = &files["llms.txt"];
    for line in [
        "# game",
        "### message game.v1.Ask (tag 4)",
        "- int32 a = 1 (optional; less than 9; at least 1): How many.",
        "- map<string, game.v1.Way> c = 3",
        "- Tell(game.v1.Ask) returns game.v1.Part: Tells.",
        "- WAY_UP = 1: Up.",
    ] {
        assert!(llms.lines().any(|l| l == line), "{line}\n{llms}");
    }
    for text in files.values() {
        assert!(text.contains("do not edit"));
    }
    assert_eq!(files, self::files(&model));
}

/// Every link goes to a place of the same page, and every name is there.
#[test]
fn links_have_places() {
    let model =
        tagwire_codegen::read(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nasty")]).unwrap();
    let stack = tagwire_codegen::load::load_stack().unwrap();
    let files = Reference::of(&model, Some(&stack), "nasty").files();
    for (file, before, place) in [("index.html", "href=\"#", "id=\""), ("reference.md", "](#", "id=\"")] {
        let text = &files[file];
        let (mut links, end) = (0, if before.starts_with(']') { ')' } else { '"' });
        for link in text.split(before).skip(1) {
            let target = link.split_once(end).unwrap().0;
            assert!(text.contains(&format!("{place}{target}\"")), "{file}: {target}");
            links += 1;
        }
        assert!(links > 50, "{file}: {links}");
    }
    assert!(
        files["index.html"].contains("CloseCode.Value") && files["index.html"].contains("RESUME_REFUSED")
    );
}
