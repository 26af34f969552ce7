//! Descriptor sets of strangers: the same model as from files, or a refusal that says what is wrong; at a bounded cost.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt::Write;
use std::time::{Duration, Instant};

use common::{game, read};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, MethodDescriptorProto, OneofDescriptorProto,
    ServiceDescriptorProto,
};
use tagwire_codegen::check::check;
use tagwire_codegen::diff::{Verdict, compare};
use tagwire_codegen::fingerprint::{fingerprint, listing};
use tagwire_codegen::load::{MAX_DESCRIPTOR_BYTES, load_descriptors, load_documented};
use tagwire_codegen::model::{Model, Origin};

fn round_trip(model: &Model) -> Model {
    let loaded = load_descriptors(&model.descriptor_set()).unwrap();
    check(&loaded).unwrap();
    assert_eq!(listing(&loaded), listing(model));
    assert_eq!(fingerprint(&loaded), fingerprint(model));
    assert_eq!(compare(&loaded, model).verdict, Verdict::Same);
    assert_eq!(loaded.descriptor_set(), model.descriptor_set());
    assert_eq!(loaded.packages(Origin::Game), model.packages(Origin::Game));
    loaded.descriptor_pool().unwrap();
    loaded
}

#[test]
fn the_example_comes_back() {
    let model = tagwire_codegen::read(&["../proto"]).unwrap();
    let loaded = round_trip(&model);
    for message in model.messages.iter().filter(|m| m.origin == Origin::Game) {
        let other = loaded.message(&message.full_name).unwrap();
        assert_eq!(
            (&other.scope, &other.oneofs, &other.name),
            (&message.scope, &message.oneofs, &message.name)
        );
        let written = |m: &tagwire_codegen::model::Message| m.rules.clone().map(|r| r.written);
        assert_eq!(written(other), written(message));
    }
}

#[test]
fn hard_names_and_shapes_come_back() {
    let loaded = round_trip(&tagwire_codegen::read(&["tests/golden/nasty"]).unwrap());
    // Again from what was made of it.
    round_trip(&loaded);
}

#[test]
fn all_kinds_of_presence_and_services_come_back() {
    round_trip(
        &read(&[
            (
                "game.proto",
                &game(
                    "import \"old.proto\"; import \"google/protobuf/wrappers.proto\"; import \"tagwire/v1/session.proto\";\n\
                     message A { option (tagwire.v1.rules) = { tag: 2, from: BOTH, to: ROOM_ALL, access: GUEST, \
                     delivery: UNRELIABLE, max_bytes: 7, max_rate: \"9/s\" };\n\
                     optional int32 a = 1; oneof one { int32 b = 2; } oneof two { A c = 3; int32 d = 4; }\n\
                     map<int32, A> e = 5; old.Old f = 6; google.protobuf.StringValue g = 7; tagwire.v1.Ping h = 8; }\n\
                     message Ask { option (tagwire.v1.rules) = { tag: 4, from: CLIENT }; }\n\
                     service S { option (tagwire.v1.service) = { at: ROOM }; rpc Do(Ask) returns (A); }",
                ),
            ),
            (
                "old.proto",
                "package old;\nmessage Old { required int32 a = 1; optional group B = 2 { optional int32 c = 1; }\n\
                 repeated int32 d = 3; map<int32, int32> e = 4; oneof f { int32 g = 5; } optional Kind h = 6;\n\
                 extensions 100 to 199; }\nextend Old { optional int32 i = 100; } enum Kind { ONE = 1; }",
            ),
        ])
        .unwrap(),
    );
}

// ---- hostile ones ----

fn field(name: &str, number: i32, of: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_string()),
        number: Some(number),
        label: Some(Label::Optional as i32),
        r#type: Some(of as i32),
        ..Default::default()
    }
}

fn typed(name: &str, number: i32, of: Type, type_name: &str) -> FieldDescriptorProto {
    FieldDescriptorProto { type_name: Some(type_name.to_string()), ..field(name, number, of) }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_string()), field, ..Default::default() }
}

fn file(name: &str, message_type: Vec<DescriptorProto>) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(name.to_string()),
        package: Some("p".to_string()),
        syntax: Some("proto3".to_string()),
        message_type,
        ..Default::default()
    }
}

fn importing(name: &str, imports: &[&str]) -> FileDescriptorProto {
    FileDescriptorProto {
        dependency: imports.iter().map(|i| (*i).to_string()).collect(),
        ..file(name, vec![])
    }
}

fn set(file: Vec<FileDescriptorProto>) -> Vec<u8> {
    FileDescriptorSet { file }.encode_to_vec()
}

/// A set of one file with these messages.
fn messages(messages: Vec<DescriptorProto>) -> Vec<u8> {
    set(vec![file("p.proto", messages)])
}

/// A length-delimited field, by hand.
fn wrapped(number: u32, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut out);
    prost::encoding::encode_varint(inner.len() as u64, &mut out);
    out.extend_from_slice(inner);
    out
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let text = load_descriptors(bytes).map(|_| ()).unwrap_err().to_string();
    assert_eq!(text, expected);
    assert!(text.len() < 4096 && !text.chars().any(char::is_control), "{text}");
}

#[test]
fn too_much_of_anything() {
    refused(&vec![0; MAX_DESCRIPTOR_BYTES + 1], "descriptors of 262145 bytes, limit 262144");
    let files = |n: usize| set((0..n).map(|i| file(&format!("{i}.proto"), vec![])).collect());
    assert!(load_descriptors(&files(256)).is_ok());
    refused(&files(257), "descriptors of more than 256 files");
    let many = "descriptors of more than 20000 messages, fields, enums, values and other parts";
    // Two bytes each in the set, a hundred times that in memory.
    for number in [3, 4, 5, 6, 7] {
        refused(&wrapped(1, &wrapped(number, &[]).repeat(20_000)), many);
    }
    for number in [2, 3, 4, 5, 6, 8, 9, 10] {
        refused(&wrapped(1, &wrapped(4, &wrapped(number, &[]).repeat(20_000))), many);
    }
    refused(&wrapped(1, &wrapped(5, &wrapped(2, &[]).repeat(20_000))), many);
    refused(&wrapped(1, &wrapped(6, &wrapped(2, &[]).repeat(20_000))), many);
    refused(&wrapped(1, &wrapped(9, &wrapped(1, &[]).repeat(20_000))), many);
    // Uninterpreted options, and our own rules over and over.
    for number in [999, 50700] {
        refused(&wrapped(1, &wrapped(8, &wrapped(number, &[]).repeat(20_000))), many);
        refused(&wrapped(1, &wrapped(4, &wrapped(7, &wrapped(number, &[]).repeat(20_000)))), many);
    }
}

fn nested(depth: usize) -> DescriptorProto {
    let mut inner = message("M", vec![]);
    for _ in 1..depth {
        inner = DescriptorProto { nested_type: vec![inner], ..message("M", vec![]) };
    }
    inner
}

#[test]
fn too_deep() {
    assert!(load_descriptors(&messages(vec![nested(32)])).is_ok());
    refused(&messages(vec![nested(33)]), "messages nested deeper than 32");
    let mut deepest = vec![];
    while deepest.len() < 250_000 {
        deepest = wrapped(3, &deepest);
    }
    refused(&wrapped(1, &wrapped(4, &deepest)), "messages nested deeper than 32");
    // Groups in options, which nobody counts but the decoder.
    let groups = [[0xe3, 0x03].repeat(60_000), [0xe4, 0x03].repeat(60_000)].concat();
    let text = load_descriptors(&wrapped(1, &wrapped(8, &groups))).unwrap_err().to_string();
    assert!(text.contains("recursion limit reached"), "{text}");
}

#[test]
fn editions_and_features() {
    let edition = |what: &str| {
        format!("p.proto: editions are not supported ({what}); write `syntax = \"proto3\";` there")
    };
    let mut plain = file("p.proto", vec![]);
    plain.syntax = Some("editions".to_string());
    refused(&set(vec![plain]), &edition("its syntax"));
    // edition = EDITION_2023, in a file that says proto3.
    let bytes = [file("p.proto", vec![]).encode_to_vec(), vec![14 << 3, 0xe8, 0x07]].concat();
    refused(&wrapped(1, &bytes), &edition("it says which"));
    refused(
        &wrapped(1, &[14 << 3, 1]),
        &edition("it says which").replace("p.proto", "a file without a name"),
    );
    let beside = |inner: Vec<u8>| wrapped(1, &[file("p.proto", vec![]).encode_to_vec(), inner].concat());
    let with = |path: &[u32]| {
        let inner = path.iter().rev().fold(vec![], |inner, number| wrapped(*number, &inner));
        beside(inner)
    };
    for path in [
        &[8, 50][..],
        &[4, 7, 12],
        &[4, 3, 7, 12],
        &[4, 2, 8, 21],
        &[4, 6, 8, 21],
        &[4, 8, 2, 1],
        &[4, 5, 3, 50],
        &[4, 4, 3, 7],
        &[5, 3, 7],
        &[5, 2, 3, 2],
        &[6, 3, 34],
        &[6, 2, 4, 35],
        &[7, 8, 21],
    ] {
        refused(&with(path), &edition("it has features"));
    }
    let mut other = file("p.proto", vec![]);
    other.syntax = Some("proto4\n".to_string());
    refused(&set(vec![other.clone()]), "p.proto: its syntax is proto4\\n, not proto2 or proto3");
    // Nothing is proto2, but an empty one is written by no compiler.
    other.syntax = Some(String::new());
    refused(&set(vec![other.clone()]), "p.proto: its syntax is , not proto2 or proto3");
    other.syntax = None;
    assert!(load_descriptors(&set(vec![other])).is_ok());
}

#[test]
fn garbage() {
    let not = |why: &str| format!("not an encoded google.protobuf.FileDescriptorSet: {why}");
    refused(&[], &not("no file in it"));
    refused(&[0x10, 0], &not("no file in it"));
    refused(b"syntax = \"proto3\";", &not("an unknown wire type"));
    refused(&[0x0c], &not("a group that ends only"));
    refused(&[0x0a], &not("it ends in the middle"));
    refused(&[0x0a, 5, 0], &not("it ends in the middle"));
    refused(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &not("it ends in the middle"));
    refused(&[0xff; 20], &not("a number of more than 10 bytes"));
    refused(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &not("a field number out of range"));
    refused(&[0x0f], &not("an unknown wire type"));
    let arena = tagwire_codegen::read(&["../proto"]).unwrap().descriptor_set();
    for cut in 1..arena.len() {
        assert!(load_descriptors(&arena[..cut]).is_err(), "{cut} of {} bytes", arena.len());
    }
    // Every byte another: refused or not, but no panic, and what passes can be compared.
    let model = load_descriptors(&arena).unwrap();
    let mut passed = 0;
    for at in 0..arena.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = arena.clone();
            bytes[at] ^= change;
            let Ok(other) = load_descriptors(&bytes) else { continue };
            if check(&other).is_ok() {
                passed += 1;
                assert_eq!(
                    compare(&other, &model).verdict == Verdict::Same,
                    fingerprint(&other) == fingerprint(&model)
                );
            }
        }
    }
    assert!(passed > 100, "{passed}");
    // Options that are none.
    for (options, why) in [(vec![0xff], "it ends in the middle"), (wrapped(1, &[0xff]), "")] {
        let bytes = wrapped(1, &[file("p.proto", vec![]).encode_to_vec(), wrapped(8, &options)].concat());
        let text = load_descriptors(&bytes).unwrap_err().to_string();
        assert!(text.starts_with(&not(why)), "{text}");
    }
    let rules = [message("M", vec![]).encode_to_vec(), wrapped(7, &wrapped(50700, &[0xff]))].concat();
    let bytes = wrapped(1, &[file("p.proto", vec![]).encode_to_vec(), wrapped(4, &rules)].concat());
    let text = load_descriptors(&bytes).unwrap_err().to_string();
    assert!(text.starts_with(&not("failed to decode Protobuf message")), "{text}");
}

#[test]
fn names_of_files() {
    refused(
        &set(vec![file("tagwire/v1/options.proto", vec![])]),
        "tagwire/v1/options.proto: tagwire has no file of its own there; leave it out, or rename it",
    );
    refused(
        &set(vec![file("google/protobuf/mine.proto", vec![])]),
        "google/protobuf/mine.proto: Google has no file of its own there; leave it out, or rename it",
    );
    refused(&set(vec![file("a.proto", vec![]), file("a.proto", vec![])]), "a.proto: twice in the set");
    let google = || file("google/protobuf/timestamp.proto", vec![]);
    refused(&set(vec![google(), google()]), "google/protobuf/timestamp.proto: twice in the set");
    let plain = "not letters, digits, spaces and _ . + - in a path without empty parts and ..";
    for (name, shown) in [
        ("", ""),
        ("a\n.proto", "a\\n.proto"),
        ("a\u{2028}b.proto", "a\\u{2028}b.proto"),
        ("a();.proto", "a();.proto"),
        ("a\u{2029}.proto", "a\\u{2029}.proto"),
        ("a*/b.proto", "a*/b.proto"),
        ("a`b.proto", "a`b.proto"),
        ("a\\b.proto", "a\\\\b.proto"),
        ("c:a.proto", "c:a.proto"),
        ("/a.proto", "/a.proto"),
        ("a//b.proto", "a//b.proto"),
        ("a/", "a/"),
        ("../a.proto", "../a.proto"),
        ("a/../b.proto", "a/../b.proto"),
        ("./a.proto", "./a.proto"),
        ("..", ".."),
    ] {
        let named = set(vec![file(name, vec![])]);
        let text = format!("a file: its name is \"{shown}\", {plain}");
        refused(&named, &text);
        assert_eq!(load_documented(&named).unwrap_err().to_string(), text);
    }
    for name in ["a.proto", "game-1/v1/a_b+c.d.proto", "..a/b..proto", "A", "my game.proto", "größe.proto"]
    {
        load_descriptors(&set(vec![file(name, vec![])])).unwrap();
    }
    refused(
        &set(vec![file(&"n".repeat(200_000), vec![])]),
        &format!("a name of 200000 bytes, limit 512: {}...", "n".repeat(160)),
    );
}

#[test]
fn their_copy_of_a_file_of_google_is_not_looked_at() {
    let mut theirs = file("google/protobuf/timestamp.proto", vec![message("Timestamp", vec![])]);
    theirs.package = Some("google.protobuf".to_string());
    theirs.dependency = vec!["nowhere.proto".to_string()];
    let mut mine = importing("p.proto", &["google/protobuf/timestamp.proto", "google/protobuf/api.proto"]);
    let of = typed("at", 1, Type::Message, ".google.protobuf.Timestamp");
    mine.message_type = vec![message("M", vec![of])];
    let model = load_descriptors(&set(vec![theirs, mine])).unwrap();
    assert_eq!(model.message("google.protobuf.Timestamp").unwrap().fields.len(), 2);
    let names: Vec<&str> = model.files.iter().map(|f| f.name.as_str()).collect();
    assert!(
        names.contains(&"google/protobuf/source_context.proto"),
        "what Google's import comes too: {names:?}"
    );
    assert_eq!(names.last(), Some(&"p.proto"));
}

#[test]
fn imports() {
    refused(
        &set(vec![importing("a.proto", &["b.proto"])]),
        "a.proto: imports b.proto, which is not in the set",
    );
    refused(&set(vec![importing("a.proto", &["a.proto"])]), "a.proto: imports a.proto, which is itself");
    refused(
        &set(vec![importing("a.proto", &["b.proto"]), importing("b.proto", &["a.proto"])]),
        "a.proto: imports b.proto, which comes behind it: they import each other, or are out of order",
    );
    refused(
        &set(vec![importing("a.proto", &["tagwire/v1/x.proto"])]),
        "a.proto: imports tagwire/v1/x.proto, which is not in the set",
    );
    let chain: Vec<_> = (0..256)
        .map(|i: usize| {
            let imports: Vec<String> = (0..i.min(70)).map(|at| format!("{at}.proto")).collect();
            importing(&format!("{i}.proto"), &imports.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    assert!(load_descriptors(&set(chain)).is_ok());
}

#[test]
fn names_of_things() {
    let plain = |name: &str| messages(vec![message(name, vec![])]);
    refused(&plain(""), "p: \"\" is not a name");
    refused(&plain("1M"), "p: \"1M\" is not a name");
    refused(&plain("a.b"), "p: \"a.b\" is not a name");
    refused(&plain("M tag=1\nfield"), "p: \"M tag=1\\nfield\" is not a name");
    refused(&plain("Größe"), "p: \"Größe\" is not a name");
    let long = "n".repeat(250_000);
    let limit = |bytes: usize, shown: &str| format!("a name of {bytes} bytes, limit 512: {shown}...");
    refused(&plain(&long), &limit(250_000, &long[..160]));
    refused(&plain(&long[..511]), &limit(513, &format!("p.{}", &long[..158])));
    assert!(load_descriptors(&plain(&long[..510])).is_ok());
    let inside = |field| messages(vec![message("M", vec![field])]);
    refused(&inside(field("", 1, Type::Int32)), "p.M: \"\" is not a name");
    refused(&inside(field("x int32", 1, Type::Int32)), "p.M: \"x int32\" is not a name");
    let mut package = file("p.proto", vec![]);
    package.package = Some("p..q".to_string());
    refused(&set(vec![package]), "p.proto: \"\" is not a name");
    let twice = vec![message("M", vec![]), message("M", vec![])];
    refused(&messages(twice), "p.proto: p.M is declared twice");
    let mut both = file("p.proto", vec![message("M", vec![])]);
    both.service = vec![ServiceDescriptorProto { name: Some("M".to_string()), ..Default::default() }];
    refused(&set(vec![both]), "p.proto: p.M is declared twice");
    let across =
        vec![file("a.proto", vec![message("M", vec![])]), file("b.proto", vec![message("M", vec![])])];
    refused(&set(across), "b.proto: p.M is declared twice");
    let mut stack = importing("a.proto", &["tagwire/v1/session.proto"]);
    stack.package = Some("tagwire.v1".to_string());
    stack.message_type = vec![message("Ping", vec![])];
    refused(&set(vec![stack]), "a.proto: tagwire.v1.Ping is declared twice");
    let fields = vec![field("x", 1, Type::Int32), field("x", 2, Type::Int32)];
    refused(&messages(vec![message("M", fields)]), "p.proto: p.M.x is declared twice");
}

#[test]
fn fields_and_types() {
    let inside = |fields| messages(vec![message("M", fields)]);
    let of = |of, name| inside(vec![typed("x", 1, of, name)]);
    for (name, shown) in
        [(".p.N", ".p.N"), ("M", "M"), ("p.M", "p.M"), ("", ""), (".", "."), ("..p.M", "..p.M")]
    {
        let expected = format!("p.M.x: its type is {shown}, which is not in the set");
        refused(&of(Type::Message, name), &expected);
        refused(&of(Type::Enum, name), &expected);
    }
    refused(&of(Type::Enum, ".p.M"), "p.M.x: its type is p.M, which is not an enum");
    refused(
        &of(Type::Message, ".google.protobuf.Timestamp"),
        "p.M.x: its type is .google.protobuf.Timestamp, which is not in the set",
    );
    for number in [0, -1, 19_000, 19_999, 536_870_912, i32::MIN] {
        let expected = format!("p.M.x: number {number} is out of range");
        refused(&inside(vec![field("x", number, Type::Int32)]), &expected);
    }
    let twice = vec![field("x", 1, Type::Int32), field("y", 1, Type::Int32)];
    refused(&inside(twice), "p.M: number 1 is given twice");
    let mut odd = field("x", 1, Type::Int32);
    odd.r#type = Some(19);
    refused(&inside(vec![odd.clone()]), "p.M.x: type 19 is none");
    odd.r#type = None;
    refused(&inside(vec![odd.clone()]), "p.M.x: type 0 is none");
    odd.r#type = Some(5);
    odd.label = Some(4);
    refused(&inside(vec![odd.clone()]), "p.M.x: label 4 is none");
    odd.label = None;
    for index in [-1, 0, 1, i32::MAX] {
        odd.oneof_index = Some(index);
        refused(&inside(vec![odd.clone()]), "p.M: x is in no oneof");
    }
    let mut empty = file("p.proto", vec![]);
    empty.enum_type = vec![EnumDescriptorProto { name: Some("E".to_string()), ..Default::default() }];
    refused(&set(vec![empty]), "p.E: has no values");
    let mut service = file("p.proto", vec![message("M", vec![])]);
    service.service = vec![ServiceDescriptorProto {
        name: Some("S".to_string()),
        method: vec![MethodDescriptorProto {
            name: Some("Do".to_string()),
            input_type: Some(".p.M".to_string()),
            output_type: Some(".p.S".to_string()),
            ..Default::default()
        }],
        ..Default::default()
    }];
    refused(&set(vec![service]), "p.S.Do: its type is p.S, which is not a message");
}

/// No model has them, but TypeScript is printed of them.
#[test]
fn extensions() {
    let extending = |name: &str, number: i32, extendee: &str| FieldDescriptorProto {
        extendee: Some(extendee.to_string()),
        ..field(name, number, Type::Int32)
    };
    // In the file, and in a message.
    let both = |one: &FieldDescriptorProto| {
        let base = || file("p.proto", vec![message("M", vec![])]);
        let outside = FileDescriptorProto { extension: vec![one.clone()], ..base() };
        let mut inside = base();
        inside.message_type[0].extension = vec![one.clone()];
        [(set(vec![outside]), "p"), (set(vec![inside]), "p.M")]
    };
    let refused_in_both = |one: &FieldDescriptorProto, expected: &str| {
        for (bytes, around) in both(one) {
            refused(&bytes, &expected.replace("AROUND", around));
        }
    };
    for (bytes, _) in both(&extending("x", 100, ".p.M")) {
        let model = load_descriptors(&bytes).unwrap();
        tagwire_codegen::typescript::print(&model, Origin::Game, None).unwrap();
    }
    let code = "y = (globalThis.pwned = 1); const z";
    refused_in_both(&extending(code, 100, ".p.M"), &format!("AROUND: \"{code}\" is not a name"));
    refused_in_both(&extending("", 100, ".p.M"), "AROUND: \"\" is not a name");
    for extendee in ["", ".p.N", "p.M", ".google.protobuf.FieldOptions"] {
        let expected = format!("AROUND.x: its type is {extendee}, which is not in the set");
        refused_in_both(&extending("x", 100, extendee), &expected);
    }
    let of = |of, name: &str| FieldDescriptorProto {
        extendee: Some(".p.M".to_string()),
        ..typed("x", 100, of, name)
    };
    refused_in_both(&of(Type::Message, ".p.N"), "AROUND.x: its type is .p.N, which is not in the set");
    refused_in_both(&of(Type::Enum, ".p.M"), "AROUND.x: its type is p.M, which is not an enum");
    refused_in_both(&extending("x", 0, ".p.M"), "AROUND.x: number 0 is out of range");
    let mut alone = extending("x", 100, ".p.M");
    alone.oneof_index = Some(0);
    refused_in_both(&alone, "AROUND.x: is an extension, and in a oneof");
    let mut twice = file("p.proto", vec![message("M", vec![])]);
    twice.extension = vec![extending("x", 100, ".p.M"), extending("x", 101, ".p.M")];
    refused(&set(vec![twice]), "p.proto: p.x is declared twice");
    let mut beside = file("p.proto", vec![message("M", vec![])]);
    beside.extension = vec![extending("M", 100, ".p.M")];
    refused(&set(vec![beside]), "p.proto: p.M is declared twice");
    let mut field_too = file("p.proto", vec![message("M", vec![field("x", 1, Type::Int32)])]);
    field_too.message_type[0].extension = vec![extending("x", 100, ".p.M")];
    refused(&set(vec![field_too]), "p.proto: p.M.x is declared twice");
    // What the printers have no type for.
    let mut service = file("p.proto", vec![message("M", vec![])]);
    service.service = vec![ServiceDescriptorProto { name: Some("S".to_string()), ..Default::default() }];
    service.extension = vec![extending("x", 100, ".p.S")];
    refused(&set(vec![service]), "p.x: its type is p.S, which is not a message");
    let mut map = file("p.proto", vec![message("M", vec![]), entry(key_value())]);
    map.extension = vec![extending("x", 100, ".p.E")];
    refused(&set(vec![map.clone()]), "p.x: its type is p.E, which is not a message");
    map.extension = vec![of(Type::Message, ".p.E")];
    refused(&set(vec![map.clone()]), "p.x: is the entry of a map, and not repeated");
    map.extension[0].label = Some(Label::Repeated as i32);
    refused(&set(vec![map]), "p.x: is an extension, and a map");
}

fn key_value() -> Vec<FieldDescriptorProto> {
    vec![field("key", 1, Type::Int32), field("value", 2, Type::Int32)]
}

/// A message `E` that says to be the entry of a map.
fn entry(fields: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto {
        options: Some(MessageOptions { map_entry: Some(true), ..Default::default() }),
        ..message("E", fields)
    }
}

#[test]
fn maps_that_are_none() {
    let of = |fields, label: Label| {
        let mut user = typed("x", 1, Type::Message, ".p.E");
        user.label = Some(label as i32);
        messages(vec![entry(fields), message("M", vec![user])])
    };
    assert!(load_descriptors(&of(key_value(), Label::Repeated)).is_ok());
    refused(&of(key_value(), Label::Optional), "p.M.x: is the entry of a map, and not repeated");
    let none = "p.E: says to be the entry of a map, and is not key and value";
    refused(&of(vec![], Label::Repeated), none);
    refused(&of(vec![field("key", 1, Type::Int32)], Label::Repeated), none);
    // As compilers write them, which printers take for granted.
    let mut turned = key_value();
    turned.reverse();
    refused(&of(turned, Label::Repeated), none);
    let named = vec![field("key", 1, Type::Int32), field("other", 2, Type::Int32)];
    refused(&of(named, Label::Repeated), none);
    let mut itself = typed("value", 2, Type::Message, ".p.E");
    itself.label = Some(Label::Repeated as i32);
    refused(&of(vec![field("key", 1, Type::Int32), itself], Label::Repeated), none);
    // Printers pass over it, and so over what is in it.
    let mut around = entry(key_value());
    around.nested_type = vec![message("In", vec![])];
    let user = message("M", vec![typed("x", 1, Type::Message, ".p.E.In")]);
    refused(&messages(vec![around, user]), none);
    let mut around = entry(key_value());
    around.enum_type = vec![EnumDescriptorProto {
        name: Some("In".to_string()),
        value: vec![EnumValueDescriptorProto {
            name: Some("A".to_string()),
            number: Some(0),
            ..Default::default()
        }],
        ..Default::default()
    }];
    refused(&messages(vec![around]), none);
    let mut around = entry(key_value());
    around.extension =
        vec![FieldDescriptorProto { extendee: Some(".p.E".to_string()), ..field("x", 100, Type::Int32) }];
    refused(&messages(vec![around]), none);
}

#[test]
fn rules_are_judged_by_the_same_check() {
    let tagged = |rules: &[u8]| {
        let with = [message("M", vec![]).encode_to_vec(), wrapped(7, &wrapped(50700, rules))].concat();
        wrapped(1, &[file("p.proto", vec![]).encode_to_vec(), wrapped(4, &with)].concat())
    };
    let text = |rules: &[u8]| check(&load_descriptors(&tagged(rules)).unwrap()).unwrap_err().to_string();
    assert!(text(&[]).starts_with("p.proto:1: p.M has rules but no tag"), "{}", text(&[]));
    assert!(text(&[8, 2]).contains("p.M does not say who may send it"));
    assert!(text(&[8, 1, 16, 1]).contains("p.M has tag 1, which belongs to tagwire itself"));
    // A rule of a newer stack is not lost.
    let model = load_descriptors(&tagged(&[8, 2, 16, 1, 40, 9])).unwrap();
    assert_eq!(model.message("p.M").unwrap().rules.as_ref().unwrap().delivery, "9");
    refused(&tagged(&[8, 2, 16, 1, 58, 1, b'\n']), "p.M: max_rate is \"\\n\"");
}

#[test]
fn what_is_made_in_circles_ends() {
    let a = message("A", vec![typed("b", 1, Type::Message, ".p.B"), typed("a", 2, Type::Message, ".p.A")]);
    let b = message("B", vec![typed("a", 1, Type::Message, ".p.A")]);
    let model = load_descriptors(&messages(vec![a, b])).unwrap();
    assert_eq!(listing(&model), "tagwire schema 1\n", "nothing has a tag");
}

/// Options of a field as bytes: `(buf.validate.field)` in these pieces.
fn constrained(pieces: &[&[u8]]) -> Vec<u8> {
    let options: Vec<u8> = pieces.iter().flat_map(|piece| wrapped(1159, piece)).collect();
    let field = [field("text", 1, Type::String).encode_to_vec(), wrapped(8, &options)].concat();
    let mut tag = vec![];
    for (number, value) in [(1, 2), (2, 1)] {
        prost::encoding::uint32::encode(number, &value, &mut tag);
    }
    let message =
        [message("M", vec![]).encode_to_vec(), wrapped(2, &field), wrapped(7, &wrapped(50700, &tag))]
            .concat();
    wrapped(1, &[file("p.proto", vec![]).encode_to_vec(), wrapped(4, &message)].concat())
}

#[test]
fn constraints_come_back() {
    let loaded = round_trip(&tagwire_codegen::read(&["tests/golden/valid"]).unwrap());
    assert!(loaded.files.iter().any(|f| f.name == "buf/validate/validate.proto"), "the built-in one");
    round_trip(&loaded);
    // `string.min_len = 3` and `string.max_len = 9`, in two options that compilers may write for one.
    let model = load_descriptors(&constrained(&[&[0x72, 2, 0x10, 3], &[0x72, 2, 0x18, 9]])).unwrap();
    check(&model).unwrap();
    assert!(
        listing(&model)
            .ends_with("field 1 text string implicit -\nrule string.max_len 9\nrule string.min_len 3\n")
    );
}

#[test]
fn constraints_are_judged_by_the_same_check() {
    let text =
        |rules: &[u8]| check(&load_descriptors(&constrained(&[rules])).unwrap()).unwrap_err().to_string();
    let refused_rule = |rules: &[u8], name: &str| {
        let text = text(rules);
        assert!(text.contains(&format!("has the rule `{name}`, which is not enforced here")), "{text}");
    };
    // CEL, one that we do not have, and one of the schema's own or of a newer validate.proto.
    refused_rule(&[0xba, 1, 0], "cel");
    refused_rule(&[0x72, 3, 0x88, 0x01, 1], "string.uri");
    refused_rule(&[0x72, 3, 0xf8, 0x3e, 1], "string.field 1007 of buf.validate.StringRules");
    assert!(text(&[0x1a, 2, 0x10, 3]).contains("has rules `int32`, which are for another type"));
    // A pattern is parsed, and not compiled: that would cost more than its length.
    assert!(text(&wrapped(14, &wrapped(6, b"(a\n"))).contains("\"(a\\n\" is no regular expression"));
    assert!(
        check(&load_descriptors(&constrained(&[&wrapped(14, &wrapped(6, br"\pL{1000}"))])).unwrap()).is_ok()
    );
    refused(
        &constrained(&[&[0x72, 9]]),
        "p.M: its constraints are malformed: failed to decode Protobuf message: buffer underflow",
    );
}

// ---- cost ----

/// The largest sets, each made to be slow in its own way, with the work that a server does for one.
#[test]
fn the_worst_sets_take_a_bounded_time() {
    type Make = Box<dyn Fn(usize) -> Vec<u8>>;
    let full = |make: Make| {
        // The most that fits: both limits are reached as near as may be.
        let (mut low, mut high) = (1usize, 30_000);
        while low < high {
            let middle = (low + high).div_ceil(2);
            let bytes = make(middle);
            let fits = bytes.len() <= MAX_DESCRIPTOR_BYTES
                && !load_descriptors(&bytes).is_err_and(|e| e.to_string().contains("more than"));
            if fits { low = middle } else { high = middle - 1 }
        }
        make(low)
    };
    // `option (tagwire.v1.rules) = { tag, from: CLIENT }`, by hand: prost-types cannot hold it.
    fn tagged(message: &DescriptorProto, tag: usize) -> Vec<u8> {
        let mut rules = vec![8];
        prost::encoding::encode_varint(tag as u64, &mut rules);
        rules.extend([16, 1]);
        wrapped(4, &[message.encode_to_vec(), wrapped(7, &wrapped(50700, &rules))].concat())
    }
    fn in_file(parts: &[Vec<u8>]) -> Vec<u8> {
        wrapped(1, &[file("p", vec![]).encode_to_vec(), parts.concat()].concat())
    }
    let next = |i: usize, of: usize| typed("f", 1, Type::Message, &format!(".p.M{:x}", (i + 1) % of));
    let worst: Vec<(&str, Make)> = vec![
        (
            "tagged messages",
            Box::new(|n| {
                in_file(
                    &(0..n)
                        .map(|i| tagged(&message(&format!("M{i:x}"), vec![]), 256 + i))
                        .collect::<Vec<_>>(),
                )
            }),
        ),
        (
            "tagged messages, each wrong",
            Box::new(|n| {
                in_file(&(0..n).map(|i| tagged(&message(&format!("M{i:x}"), vec![]), 2)).collect::<Vec<_>>())
            }),
        ),
        (
            "a chain of messages",
            Box::new(move |n| {
                let mut parts: Vec<_> = (0..n)
                    .map(|i| wrapped(4, &message(&format!("M{i:x}"), vec![next(i, n)]).encode_to_vec()))
                    .collect();
                parts[0] = tagged(&message("M0", vec![next(0, n)]), 2);
                in_file(&parts)
            }),
        ),
        (
            "one message of many fields",
            Box::new(|n| {
                in_file(&[tagged(
                    &message(
                        "M",
                        (0..n)
                            .map(|i| {
                                field(
                                    &format!("{:x}", i + 0xa_0000),
                                    1 + i as i32 + if i > 18_000 { 2000 } else { 0 },
                                    Type::Int32,
                                )
                            })
                            .collect(),
                    ),
                    2,
                )])
            }),
        ),
        (
            "one enum, numbers falling",
            Box::new(|n| {
                let value = (0..n)
                    .map(|i| EnumValueDescriptorProto {
                        name: Some(format!("{:x}", i + 0xa_0000)),
                        number: Some(-(i as i32)),
                        ..Default::default()
                    })
                    .collect();
                let one = EnumDescriptorProto { name: Some("E".into()), value, ..Default::default() };
                in_file(&[
                    wrapped(5, &one.encode_to_vec()),
                    tagged(&message("M", vec![typed("e", 1, Type::Enum, ".p.E")]), 2),
                ])
            }),
        ),
        (
            "a service of many methods",
            Box::new(|n| {
                let method = (0..n)
                    .map(|i| MethodDescriptorProto {
                        name: Some(format!("M{i:x}")),
                        input_type: Some(format!(".p.M{i:x}")),
                        output_type: Some(".p.M0".into()),
                        ..Default::default()
                    })
                    .collect();
                let service = ServiceDescriptorProto { name: Some("S".into()), method, ..Default::default() };
                let mut parts: Vec<_> =
                    (0..n).map(|i| tagged(&message(&format!("M{i:x}"), vec![]), 256 + i)).collect();
                parts.push(wrapped(6, &service.encode_to_vec()));
                in_file(&parts)
            }),
        ),
        (
            "a oneof a field",
            Box::new(|n| {
                let mut one = message("M", vec![]);
                for i in 0..n {
                    let mut field = field(&format!("f{i:x}"), 1 + i as i32, Type::Int32);
                    field.oneof_index = Some(i as i32);
                    one.field.push(field);
                    one.oneof_decl
                        .push(OneofDescriptorProto { name: Some(format!("o{i:x}")), ..Default::default() });
                }
                in_file(&[tagged(&one, 2)])
            }),
        ),
        (
            "long names, deep",
            Box::new(|n| {
                let mut inner = message("M", vec![]);
                inner.nested_type = (0..n).map(|i| message(&format!("M{i:x}"), vec![])).collect();
                for _ in 1..31 {
                    inner =
                        DescriptorProto { nested_type: vec![inner], ..message("AbcdefghijklmnO", vec![]) };
                }
                messages(vec![inner])
            }),
        ),
        (
            "imports of all by all",
            Box::new(|n| {
                let imports: Vec<String> = (0..n.min(256)).map(|i| format!("{i:x}")).collect();
                let imports: Vec<&str> = imports.iter().map(String::as_str).collect();
                set((0..n.min(256)).map(|i| importing(imports[i], &imports[..i.min(n / 4)])).collect())
            }),
        ),
        (
            "constraints",
            Box::new(|n| {
                let options = wrapped(8, &wrapped(1159, &wrapped(14, &wrapped(6, br"\pL{9}{9}"))));
                let field = |i: usize| {
                    let field = field(&format!("f{i:x}"), 1 + i as i32, Type::String).encode_to_vec();
                    wrapped(2, &[field, options.clone()].concat())
                };
                let fields: Vec<u8> = (0..n).flat_map(field).collect();
                let message = [
                    message("M", vec![]).encode_to_vec(),
                    fields,
                    wrapped(7, &wrapped(50700, &[8, 2, 16, 1])),
                ];
                wrapped(1, &[file("p.proto", vec![]).encode_to_vec(), wrapped(4, &message.concat())].concat())
            }),
        ),
        (
            "one constraint with many values",
            Box::new(|n| {
                let values = wrapped(3, &wrapped(6, &vec![1; n * 8]));
                let field = [field("f", 1, Type::Int32).encode_to_vec(), wrapped(8, &wrapped(1159, &values))]
                    .concat();
                let message = [
                    message("M", vec![]).encode_to_vec(),
                    wrapped(2, &field),
                    wrapped(7, &wrapped(50700, &[8, 2, 16, 1])),
                ];
                wrapped(1, &[file("p.proto", vec![]).encode_to_vec(), wrapped(4, &message.concat())].concat())
            }),
        ),
        (
            "one type named often",
            Box::new(|n| {
                let long = "n".repeat(200);
                let fields = (0..n)
                    .map(|i| typed(&format!("f{i:x}"), 1 + i as i32, Type::Message, &format!(".p.{long}")))
                    .collect();
                in_file(&[tagged(&message(&long, fields), 2)])
            }),
        ),
    ];
    let arena = tagwire_codegen::read(&["../proto"]).unwrap();
    load_descriptors(&arena.descriptor_set()).unwrap();
    let mut slowest = Duration::ZERO;
    let mut report = String::new();
    for (name, make) in worst {
        let bytes = full(make);
        let start = Instant::now();
        let model = load_descriptors(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let loaded = start.elapsed();
        let findings = check(&model).err().map_or(0, |findings| findings.0.len());
        let checked = start.elapsed();
        fingerprint(&model);
        let listed = start.elapsed();
        // Whatever the check said.
        let comparison = compare(&model, &arena);
        let compared = start.elapsed();
        assert_eq!(comparison.verdict == Verdict::Same, fingerprint(&model) == fingerprint(&arena));
        writeln!(
            report,
            "{name}: {} bytes, {} messages: {compared:.1?}: loaded {loaded:.1?}, checked {:.1?} ({findings} findings), \
             fingerprint {:.1?}, compared {:.1?} ({} differences)",
            bytes.len(),
            model.messages.len(),
            checked - loaded,
            listed - checked,
            compared - listed,
            comparison.differences.len(),
        )
        .unwrap();
        slowest = slowest.max(compared);
    }
    // Against itself with every number and type another: as many differences as there can be.
    let large = |of: Type, up: i32| {
        let fields = |up: i32| (0..4).map(|i| field(&format!("f{i}"), 1 + i + up, of)).collect();
        let parts = (0..2500).map(|i| tagged(&message(&format!("M{i:x}"), fields(up)), 256 + i));
        load_descriptors(&in_file(&parts.collect::<Vec<_>>())).unwrap()
    };
    let (one, other) = (large(Type::Int32, 0), large(Type::String, 1));
    let start = Instant::now();
    let comparison = compare(&one, &other);
    slowest = slowest.max(start.elapsed());
    writeln!(report, "all another: {} differences in {:.1?}", comparison.differences.len(), start.elapsed())
        .unwrap();
    assert!(comparison.differences.len() >= 10_000);
    println!("{report}slowest: {slowest:?}");
    // Without optimization, on a machine that is busy, much is allowed: what grows with the square takes minutes.
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 10_000 } else { 300 });
    assert!(slowest < limit, "{report}");
}
