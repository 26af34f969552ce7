//! The TypeScript printer: the modules around those of protobuf-es, what is stripped before it prints, and what it
//! refuses. That messages are printed as the plugin does, and that all of it compiles, is tested by
//! `scripts/test schema`.
#![allow(clippy::unwrap_used, reason = "tests")]

use prost_reflect::{DynamicMessage, Value};
use tagwire_codegen::model::{Model, Origin};
use tagwire_codegen::typescript::{Package, print, request};

mod common;

use common::{game, says_generated};

/// The schema of all that protobuf has. It breaks rules of tagwire: it is loaded, not checked.
fn thorny() -> Model {
    tagwire_codegen::load::load(&["../scripts/tests/typescript/thorny".into()]).unwrap()
}

fn golden_schema(name: &str) -> Model {
    tagwire_codegen::read(&[format!("tests/golden/{name}")]).unwrap()
}

#[test]
fn the_modules_of_packages_are_printed_as_before() {
    let mut changed = vec![];
    for (model, name) in
        [(golden_schema("hall"), "hall"), (golden_schema("nasty"), "nasty"), (thorny(), "thorny")]
    {
        let package = print(&model, Origin::Game, Some(name)).unwrap();
        for (path, text) in package.files.iter().filter(|(path, _)| path.ends_with("index.ts")) {
            if !common::is_golden(&format!("typescript/{name}/{path}"), text) {
                changed.push(format!("{name}/{path}"));
            }
        }
    }
    assert!(changed.is_empty(), "rewritten in codegen/tests/golden/typescript, see `git diff`: {changed:?}");
}

#[test]
fn every_file_says_that_it_is_generated() {
    let nasty = golden_schema("nasty");
    let fingerprint: String =
        tagwire_codegen::fingerprint::fingerprint(&nasty).iter().map(|b| format!("{b:02x}")).collect();
    for (path, text) in print(&nasty, Origin::Game, None).unwrap().files {
        assert!(says_generated(&text, "//"), "{path}");
        let first = text.lines().next().unwrap();
        assert!(first.ends_with(&format!(", fingerprint {fingerprint}; do not edit.")), "{path}: {first}");
        assert!(text.ends_with('\n'), "{path}");
    }
    let stack = tagwire_codegen::load::load_stack().unwrap();
    let package = print(&stack, Origin::Stack, None).unwrap();
    assert!(package.files.values().all(|text| says_generated(text, "//")));
    let names: Vec<_> = package.files.keys().collect();
    assert_eq!(names, ["tagwire/v1/room_pb.ts", "tagwire/v1/session_pb.ts"], "options are for the server");
}

#[test]
fn the_same_schema_is_printed_the_same() {
    assert_eq!(
        print(&thorny(), Origin::Game, Some("thorny")).unwrap(),
        print(&thorny(), Origin::Game, Some("thorny")).unwrap()
    );
}

/// The package printed of the files, or the error.
fn printed(files: &[(&str, &str)], name: Option<&str>) -> Result<Package, String> {
    let dir = common::folder(files);
    // What `check` finds for Rust is tested by `names.rs`.
    let model = common::load_any_names(dir.path()).map_err(|e| e.to_string())?;
    print(&model, Origin::Game, name).map_err(|e| common::bare(&e.to_string(), dir.path()))
}

fn file(package: &str, body: &str) -> String {
    format!("syntax = \"proto3\";\npackage {package};\n{body}\n")
}

#[test]
fn rules_are_written_without_defaults() {
    let body = "message Ask { option (tagwire.v1.rules) = { tag: 300, from: CLIENT, max_rate: \"3/s\" }; }\n\
                message Answer {}\nservice Oracle { rpc Tell(Ask) returns (Answer); }\n\
                message Wave { option (tagwire.v1.rules) = { tag: 2, from: BOTH, to: ROOM_ALL, access: GUEST, \
                delivery: UNRELIABLE, max_bytes: 64 }; }\n";
    let package = printed(&[("game.proto", &game(body))], None).unwrap();
    let index = &package.files["index.ts"];
    assert!(
        index.contains(
            "  messages: [\n    [WaveSchema, { tag: 2, from: \"BOTH\", to: \"ROOM_ALL\", access: \"GUEST\", \
             delivery: \"UNRELIABLE\", maxBytes: 64 }],\n    \
             [AskSchema, { tag: 300, from: \"CLIENT\", maxRate: 3, request: true }],\n  ],\n"
        ),
        "{index}"
    );
}

#[test]
fn names_of_two_packages_are_not_repeated_in_the_root() {
    let two = [
        ("a.proto", &*file("game.v1", "message Move {}\nmessage Old {}")),
        ("b.proto", &*file("game.v2", "message Move {}\nmessage New {}")),
    ];
    let package = printed(&two, None).unwrap();
    let index = &package.files["index.ts"];
    assert!(index.contains("\nexport * as v1 from \"./v1/index.js\";\nexport * as v2 from"), "{index}");
    assert!(index.contains("export {\n  type Old,\n  OldSchema,\n} from \"./a_pb.js\";"), "{index}");
    assert!(index.contains("export {\n  type New,\n  NewSchema,\n} from \"./b_pb.js\";"), "{index}");
    assert!(!index.contains("Move"), "{index}");
    assert!(package.files["v1/index.ts"].contains("  type Move,\n  MoveSchema,\n"));
}

#[test]
fn a_name_must_fit_every_language() {
    let one = [("a.proto", &*file("game", "message A {}"))];
    for name in ["", "my-game", "my.game", "2d", "../up", "a/b"] {
        assert_eq!(
            printed(&one, Some(name)).unwrap_err(),
            format!(
                "\"{name}\" cannot be the name of a package in every language\n  \
                 fix: choose another, of letters, digits and underscores: `--name my_game`"
            )
        );
    }
    let none = [("a.proto", "syntax = \"proto3\";\nmessage A {}\n")];
    assert_eq!(
        printed(&none, None).unwrap_err(),
        "the proto packages (none) do not begin with one name, so the TypeScript package has none\n  \
         fix: choose one: `--name my_game`, or `name = \"my_game\"` in [gen]"
    );
    assert!(printed(&none, Some("mine")).unwrap().files["index.ts"].contains("  name: \"mine\",\n"));
}

#[test]
fn two_things_of_one_name_are_refused() {
    let ask = "message A { option (tagwire.v1.rules) = { tag: 300, from: CLIENT }; }\n\
               message B { option (tagwire.v1.rules) = { tag: 301, from: CLIENT }; }\n";
    for (body, what) in [
        (
            format!("{ask}service Oracle {{ rpc Get(A) returns (A); rpc get(B) returns (B); }}\n"),
            "in game.v1.Oracle, Get and get would both be get",
        ),
        (
            "message M { oneof left_right { int32 a = 1; }\nint32 leftRight = 2; }".to_string(),
            "in game.v1.M, left_right and leftRight would both be leftRight",
        ),
        (
            "message M { enum Mood { MOOD_LOW = 0; mood_LOW = 1; } }".to_string(),
            "in game.v1.M.Mood, MOOD_LOW and mood_LOW would both be LOW",
        ),
    ] {
        match printed(&[("game.proto", &game(&body))], None) {
            Err(error) => {
                assert_eq!(error, format!("game.proto: {what} in TypeScript\n  fix: rename it"));
            }
            Ok(package) => panic!("{what}: {package:?}"),
        }
    }
}

#[test]
fn a_service_gives_way_to_a_message() {
    let ask = |name, tag| {
        format!("message {name} {{ option (tagwire.v1.rules) = {{ tag: {tag}, from: CLIENT }}; }}\n")
    };
    let body = ask("A", 300)
        + &ask("B", 301)
        + &ask("C", 302)
        + "message Out { message Lobby {} }\n\
                service Out_Lobby { rpc Ask(A) returns (A); rpc Request(B) returns (B); }\n\
                service Promise { rpc Ask(C) returns (C); }\n";
    let package = printed(&[("game.proto", &game(&body))], None).unwrap();
    let module = &package.files["v1/index.ts"];
    assert!(module.contains("  type Out_Lobby,\n  Out_LobbySchema,\n"), "{module}");
    assert!(module.contains("\nexport class Out_Lobby$ extends Service {\n"), "{module}");
    assert!(module.contains("\nexport class Promise$ extends Service {\n"), "{module}");
    // What the base class has keeps its name.
    assert!(module.contains("  request$(request: MessageInit<typeof BSchema>, "), "{module}");
}

/// All that a test says of a message of `google/protobuf/descriptor.proto`: without our options, and without options
/// of which nothing is left.
fn without_ours(message: &mut DynamicMessage) {
    let ours: Vec<_> = message
        .extensions()
        .map(|(e, _)| e)
        .filter(|e| e.full_name().starts_with("tagwire.v1.") || e.full_name().starts_with("buf.validate."))
        .collect();
    ours.iter().for_each(|e| message.clear_extension(e));
    let fields: Vec<_> = message.fields().map(|(field, _)| field).collect();
    for field in fields {
        match message.get_field_mut(&field) {
            Value::Message(inner) => {
                without_ours(inner);
                let nothing = inner.fields().next().is_none() && inner.extensions().next().is_none();
                if field.name() == "options" && nothing {
                    message.clear_field(&field);
                }
            }
            Value::List(all) => all.iter_mut().filter_map(Value::as_message_mut).for_each(without_ours),
            _ => {}
        }
    }
}

/// Names of imports: all of a file, and those that are public.
fn imports(file: &DynamicMessage) -> (Vec<String>, Vec<String>) {
    let all = file.get_field_by_name("dependency").unwrap();
    let all: Vec<String> = all.as_list().unwrap().iter().map(|v| v.as_str().unwrap().to_string()).collect();
    let public = file.get_field_by_name("public_dependency").unwrap();
    let at = |v: &Value| usize::try_from(v.as_i32().unwrap()).unwrap();
    let public = public.as_list().unwrap().iter().map(|v| all[at(v)].clone()).collect();
    (all, public)
}

#[test]
fn only_what_concerns_the_stack_is_stripped() {
    let model = thorny();
    let pool = model.descriptor_pool().unwrap();
    let kind = |name: &str| pool.get_message_by_name(name).unwrap();
    let bytes = request(&model, Origin::Game).unwrap();
    let request =
        DynamicMessage::decode(kind("google.protobuf.compiler.CodeGeneratorRequest"), &bytes[..]).unwrap();
    let files = request.get_field_by_name("proto_file").unwrap().into_owned();
    let mut seen = 0;
    for stripped in files.as_list().unwrap() {
        let mut stripped = stripped.as_message().unwrap().clone();
        let name = stripped.get_field_by_name("name").unwrap().as_str().unwrap().to_string();
        let known = model.files.iter().find(|f| f.name == name).unwrap();
        let mut whole =
            DynamicMessage::decode(kind("google.protobuf.FileDescriptorProto"), &known.descriptor[..])
                .unwrap();
        let (kept, public) = imports(&stripped);
        let (all, all_public) = imports(&whole);
        let gone: Vec<_> = all.iter().filter(|i| !kept.contains(i)).map(String::as_str).collect();
        let expected: &[&str] = match name.as_str() {
            // Other files have types that these do not use.
            "thorny/v1/comments.proto" | "thorny/v1/types.proto" | "thorny/old.proto" => {
                &["tagwire/v1/options.proto"]
            }
            "tagwire/v1/room.proto" => &["tagwire/v1/options.proto"],
            _ => &[],
        };
        assert_eq!(gone, expected, "{name}");
        assert_eq!(public, all_public, "{name}");
        without_ours(&mut whole);
        for field in ["dependency", "public_dependency", "weak_dependency", "source_code_info"] {
            stripped.clear_field_by_name(field);
            whole.clear_field_by_name(field);
        }
        assert_eq!(stripped, whole, "{name}");
        seen += 1;
    }
    assert!(seen > 11, "{seen} files");
}

#[test]
fn only_files_whose_types_are_used_are_printed_of_the_stack() {
    let plain = game("message A { option (tagwire.v1.rules) = { tag: 300, from: CLIENT }; }");
    let package = printed(&[("game.proto", &plain)], None).unwrap();
    let names: Vec<_> = package.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["game_pb.ts", "index.ts", "v1/index.ts"]);
    assert!(!package.files["game_pb.ts"].contains("options"));

    // Through an import that is public: the module which passes it on has it, too.
    let through = [
        (
            "game.proto",
            &*file("game.v1", "import \"pass.proto\";\nmessage A { tagwire.v1.Member.Event.Value e = 1; }"),
        ),
        ("pass.proto", &*file("game.v1", "import public \"tagwire/v1/room.proto\";")),
    ];
    let package = printed(&through, None).unwrap();
    assert!(package.files.contains_key("tagwire/v1/room_pb.ts"));
    let passes = &package.files["pass_pb.ts"];
    assert!(passes.contains("import { file_tagwire_v1_room } from \"./tagwire/v1/room_pb.js\";"), "{passes}");
    let uses = &package.files["game_pb.ts"];
    assert!(uses.contains("import type { Member_Event_Value } from \"./tagwire/v1/room_pb.js\";"), "{uses}");
}
