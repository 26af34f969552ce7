//! What a server gives to who asks for its schema: the code that is printed from it is that which is printed from the files.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{game, read};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tagwire_codegen::load::{load_descriptors, load_documented};
use tagwire_codegen::model::{Model, Origin};
use tagwire_codegen::{python, rust, typescript};

/// Files whose order is another when the built-in ones come first, and comments at every kind of thing, with characters
/// that printers must mind.
fn several_files() -> Model {
    read(&[
        (
            "a.proto",
            &game(
                "// Of nobody.\n\n/* Detached, too. */\n\n// A \"\"\" message \\ of `a`.\n//   indented\n\
                 message A { option (tagwire.v1.rules) = { tag: 2, from: BOTH, to: ROOM };\n\
                 // Behind the option.\n\n// Detached in it.\n\n// Before x.\nint32 x = 1; // Behind x.\n int32 y = 2; // Behind y alone.\n\
                 // Of the oneof.\noneof one { /* In it: */ string z = 3; }\n\
                 // Inner.\nmessage B { // Of the brace.\n bool c = 1; }\n\
                 // Kind \u{1f600}.\nenum Kind { // Zero is nothing.\nNONE = 0; // Behind it.\n\
                 // One.\nONE = 1; }\n}",
            ),
        ),
        (
            "b.proto",
            &game(
                "import \"google/protobuf/timestamp.proto\"; import \"a.proto\"; import \"google/protobuf/empty.proto\";\n\
                 // Asks.\nmessage Ask { option (tagwire.v1.rules) = { tag: 4, from: CLIENT };\n\
                 google.protobuf.Timestamp when = 1; A a = 2; }\n\
                 // Serves.\nservice S { // Brace.\n// Does.\nrpc Do(Ask) returns (google.protobuf.Empty); // Done.\n}",
            ),
        ),
        ("c.proto", "syntax = \"proto3\";\n// Of the package.\npackage other.v1;\n// E.\nenum E { Z = 0; }"),
    ])
    .unwrap()
}

fn schemas() -> Vec<(&'static str, Model)> {
    let golden =
        |name: &'static str| (name, tagwire_codegen::read(&[format!("tests/golden/{name}")]).unwrap());
    let mut schemas: Vec<_> = ["nasty", "valid", "lobby", "hall", "table"].map(golden).into();
    schemas.push(("the example", tagwire_codegen::read(&["../proto"]).unwrap()));
    schemas.push(("several files", several_files()));
    schemas
}

/// Everything that is said of anything, by its place.
fn said(file: &FileDescriptorProto) -> Vec<(Vec<i32>, String, String, Vec<String>)> {
    let locations = file.source_code_info.iter().flat_map(|info| info.location.clone());
    let said = locations.map(|l| {
        let text = |text: Option<String>| text.unwrap_or_default();
        (l.path, text(l.leading_comments), text(l.trailing_comments), l.leading_detached_comments)
    });
    said.filter(|(_, before, behind, detached)| {
        !before.is_empty() || !behind.is_empty() || !detached.is_empty()
    })
    .collect()
}

#[test]
fn the_same_code_is_printed_from_what_travels_as_from_the_files() {
    for (name, model) in schemas() {
        let there = load_documented(&model.documented_set()).unwrap();
        let [here_printed, there_printed] =
            [&model, &there].map(|model| python::print(model, Origin::Game, Some("game")).unwrap());
        assert!(!here_printed.files.is_empty(), "{name}");
        assert!(here_printed.files == there_printed.files, "{name}");
        let [here_printed, there_printed] =
            [&model, &there].map(|model| typescript::print(model, Origin::Game, Some("game")).unwrap());
        assert!(!here_printed.files.is_empty(), "{name}");
        assert!(here_printed.files == there_printed.files, "{name}");
        let [here_printed, there_printed] =
            [&model, &there].map(|model| rust::print(model, Origin::Game).unwrap());
        assert!(here_printed == there_printed, "{name}");
        let [here_printed, there_printed] =
            [&model, &there].map(|model| typescript::print(model, Origin::Game, Some("game")).unwrap());
        assert!(here_printed.files.len() > 1, "{name}");
        assert!(here_printed.files == there_printed.files, "{name}");
    }
}

#[test]
fn the_model_of_what_travels_is_that_of_the_files() {
    for (name, model) in schemas() {
        let there = load_documented(&model.documented_set()).unwrap();
        assert_eq!(there.descriptor_set(), model.descriptor_set(), "{name}");
        assert_eq!(there.documented_set(), model.documented_set(), "{name}");
        fn names(model: &Model) -> Vec<&str> {
            model.files.iter().filter(|f| f.origin == Origin::Game).map(|f| f.name.as_str()).collect()
        }
        assert_eq!(names(&there), names(&model), "{name}");
        let games = |model: &Model| {
            let files = model.files.clone().into_iter();
            files.filter(|f| f.origin == Origin::Game).map(|f| f.documented).collect::<Vec<_>>()
        };
        let mut comments = 0;
        for (here, there) in games(&model).iter().zip(&games(&there)) {
            assert_eq!(said(here), said(there), "{name}");
            comments += said(here).len();
            let bare =
                |file: &FileDescriptorProto| FileDescriptorProto { source_code_info: None, ..file.clone() };
            assert_eq!(bare(here), bare(there), "{name}");
        }
        assert!(comments > 0, "{name}");
    }
}

/// For anyone else, too: an image as other tools write it.
#[test]
fn it_is_a_descriptor_set_with_comments_in_their_places() {
    let model = several_files();
    let set = FileDescriptorSet::decode(model.documented_set().as_slice()).unwrap();
    let names: Vec<_> = set.file.iter().map(FileDescriptorProto::name).collect();
    assert_eq!(
        names,
        ["a.proto", "google/protobuf/timestamp.proto", "google/protobuf/empty.proto", "b.proto", "c.proto"]
    );
    let of_x = said(&set.file[0]).into_iter().find(|(path, ..)| *path == [4, 0, 2, 0]).unwrap();
    assert_eq!(of_x.1, " Before x.\n");
    assert_eq!(of_x.2, " Behind x.\n");
    assert_eq!(of_x.3, [" Detached in it.\n"]);
    let empty = FileDescriptorSet::decode(model.descriptor_set().as_slice()).unwrap();
    assert!(empty.file.iter().all(|file| file.source_code_info.is_none()), "stubs carry no comments");
}

#[test]
fn a_set_without_comments_gives_the_same_code_but_for_them() {
    let model = several_files();
    let there = load_documented(&model.descriptor_set()).unwrap();
    assert_eq!(there.descriptor_set(), model.descriptor_set());
    assert!(there.messages.iter().all(|m| m.origin != Origin::Game || m.comment.is_empty()));
}

/// What is asked for may be larger than what is offered.
#[test]
fn a_large_schema_comes_back_by_the_one_way_and_is_refused_by_the_other() {
    let fields: String = (1..=40).map(|n| format!("// Number {n}.\nint32 field_{n} = {n};\n")).collect();
    let messages: String =
        (0..500).map(|n| format!("// Message {n}.\nmessage M{n} {{ {fields} }}\n")).collect();
    let model = read(&[("large.proto", &game(&messages))]).unwrap();
    let set = model.documented_set();
    assert!(set.len() > 512 * 1024, "{} bytes", set.len());
    assert_eq!(load_documented(&set).unwrap().documented_set(), set);
    let refused = load_descriptors(&set).unwrap_err().to_string();
    assert_eq!(refused, format!("descriptors of {} bytes, limit 262144", set.len()));
}
