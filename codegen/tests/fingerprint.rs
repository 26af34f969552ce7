//! The fingerprint changes with the meaning of a schema and with nothing else.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{game, read};
use tagwire_codegen::fingerprint::{fingerprint, listing};

const BASE: &str = r#"
// A move.
message Move {
  option (tagwire.v1.rules) = { tag: 2, from: CLIENT, to: ROOM, delivery: LATEST, max_rate: "60/s", max_bytes: 64 };

  int32 x = 1;
  optional int32 y = 2;
  Way way = 3;
  oneof how {
    bool run = 4;
    Part part = 5;
  }
  repeated int32 path = 6;
  map<string, int32> counts = 7;
}

message Part {
  string name = 1;
}

message Unused {
  int32 x = 1;
}

enum Way {
  WAY_UNSPECIFIED = 0;
  WAY_UP = 1;
}

message Ask {
  option (tagwire.v1.rules) = { tag: 4, from: CLIENT };
}

message Answer {
  string text = 1;
}

service Oracle {
  rpc Tell(Ask) returns (Answer);
}
"#;

fn of(body: &str) -> [u8; 16] {
    fingerprint(&read(&[("game.proto", &game(body))]).unwrap())
}

/// The base with one text replaced.
fn edited(from: &str, to: &str) -> String {
    assert_eq!(BASE.matches(from).count(), 1, "{from:?} stands once in the base");
    BASE.replace(from, to)
}

#[test]
fn it_changes_with_the_meaning() {
    let base = of(BASE);
    let mut seen = vec![base];
    for (from, to) in [
        ("tag: 2", "tag: 5"),
        ("from: CLIENT, to: ROOM", "from: BOTH, to: ROOM"),
        ("to: ROOM", "to: ROOM_ALL"),
        ("delivery: LATEST", "delivery: UNRELIABLE"),
        ("\"60/s\"", "\"61/s\""),
        ("max_bytes: 64", "max_bytes: 65"),
        ("tag: 4, from: CLIENT", "tag: 4, from: CLIENT, access: OPERATOR"),
        ("int32 x = 1;\n  optional", "sint32 x = 1;\n  optional"),
        ("int32 x = 1;\n  optional", "int32 left = 1;\n  optional"),
        ("int32 x = 1;\n  optional", "int32 x = 8;\n  optional"),
        ("int32 x = 1;\n  optional", "int32 x = 1;\n  int32 z = 8;\n  optional"),
        ("optional int32 y", "int32 y"),
        ("repeated int32 path", "int32 path"),
        ("map<string, int32>", "map<string, uint32>"),
        ("map<string, int32>", "map<int32, int32>"),
        ("bool run = 4;\n    Part part = 5;\n  }", "bool run = 4;\n  }\n  Part part = 5;"),
        ("oneof how", "oneof way_of"),
        ("string name = 1", "bytes name = 1"),
        ("WAY_UP = 1", "WAY_UP = 2"),
        ("WAY_UP = 1;", "WAY_UP = 1;\n  WAY_DOWN = 2;"),
        ("WAY_UP", "WAY_UPWARD"),
        ("string text = 1", "repeated string text = 1"),
        ("rpc Tell(", "rpc Say("),
        ("service Oracle", "service Prophet"),
        ("service Oracle {", "service Oracle {\n  option (tagwire.v1.service) = { at: ROOM };"),
        ("  rpc Tell(Ask) returns (Answer);\n", ""),
        ("returns (Answer)", "returns (Unused)"),
        ("message Unused {", "message Unused {\n  option (tagwire.v1.rules) = { tag: 9, from: SERVER };"),
    ] {
        let other = of(&edited(from, to));
        assert!(!seen.contains(&other), "{from:?} -> {to:?} left the fingerprint as it was");
        seen.push(other);
    }
    let renamed = read(&[("game.proto", &game(BASE).replace("game.v1", "game.v2"))]).unwrap();
    assert!(!seen.contains(&fingerprint(&renamed)), "the package's name");
    let file = game(&edited("Way way", "common.Way way"));
    let file = file.replace("import", "import \"common.proto\";\nimport");
    let common = "syntax = \"proto3\";\npackage common;\nenum Way { WAY_UNSPECIFIED = 0; WAY_UP = 1; }";
    let moved = read(&[("game.proto", &file), ("common.proto", common)]).unwrap();
    assert!(!seen.contains(&fingerprint(&moved)), "a type of another package");
}

#[test]
fn it_does_not_change_with_the_writing() {
    let base = of(BASE);
    for (from, to) in [
        ("// A move.", "// A pace.\n// In two lines."),
        ("// A move.\n", ""),
        ("message Part {\n  string name = 1;\n}\n", ""),
        ("tag: 2, from: CLIENT", "from: CLIENT tag: 0x2"),
        (
            "tag: 4, from: CLIENT",
            "tag: 4, from: CLIENT, to: HANDLER, access: PLAYER, delivery: ORDERED, max_bytes: 0",
        ),
        ("message Unused {\n  int32 x = 1;\n}\n", ""),
        ("int32 x = 1;\n}", "int64 y = 2;\n}"),
        ("int32 x = 1;\n  optional int32 y = 2;", "optional int32 y = 2;\n  int32 x = 1;"),
        ("WAY_UP = 1;", "WAY_UP = 1;\n  reserved 5, 7 to 9;\n  reserved \"WAY_OLD\";"),
        ("string text = 1;", "reserved 7;\n  string text = 1 [deprecated = true, json_name = \"t\"];"),
    ] {
        let mut body = edited(from, to);
        if from.starts_with("message Part") {
            // Its place in the file changes, nothing else.
            body += from;
        }
        assert_eq!(of(&body), base, "{from:?} -> {to:?}");
    }
}

#[test]
fn files_do_not_count() {
    let base = of(BASE);
    let named = read(&[("deep/other.proto", &game(BASE))]).unwrap();
    assert_eq!(fingerprint(&named), base, "the file's name");

    let (head, tail) = BASE.split_once("message Part").unwrap();
    let split = read(&[
        ("a.proto", &game(&format!("import \"b.proto\";\n{head}"))),
        ("b.proto", &game(&format!("message Part{tail}"))),
    ])
    .unwrap();
    assert_eq!(fingerprint(&split), base, "one file or two");

    let beside = "syntax = \"proto3\";\npackage beside;\nmessage Lone { int32 x = 1; }";
    let more = read(&[("game.proto", &game(BASE)), ("beside.proto", beside)]).unwrap();
    assert_eq!(fingerprint(&more), base, "a file that nothing refers to");

    let dir = common::folder(&[("one/x.proto", beside), ("two/game.proto", &game(BASE))]);
    let roots = tagwire_codegen::read(&[dir.path().join("one"), dir.path().join("two")]).unwrap();
    assert_eq!(fingerprint(&roots), base, "two roots");
}

#[test]
fn what_is_reached_in_circles_is_listed_once() {
    let model = read(&[(
        "game.proto",
        &game(
            "message A { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; B b = 1; }\n\
             message B { A a = 1; repeated B more = 2; }\n",
        ),
    )])
    .unwrap();
    assert_eq!(
        listing(&model),
        "tagwire schema 1\n\
         message game.v1.A tag=2 from=CLIENT to=HANDLER access=PLAYER delivery=ORDERED max_bytes=0 max_rate=0\n\
         field 1 b message:game.v1.B optional -\n\
         message game.v1.B\n\
         field 1 a message:game.v1.A optional -\n\
         field 2 more message:game.v1.B repeated -\n"
    );
}

/// Two sides made by different versions of tagwire must agree on it, so it is kept word by word.
#[test]
fn the_listing_of_the_example_is_fixed() {
    let model = tagwire_codegen::read(&["../proto"]).unwrap();
    common::golden("arena.listing", &listing(&model));
}

#[test]
fn it_is_the_first_half_of_a_sha_256_of_the_listing() {
    use sha2::{Digest, Sha256};
    let model = read(&[("game.proto", &game(BASE))]).unwrap();
    assert_eq!(fingerprint(&model), Sha256::digest(listing(&model).as_bytes())[..16]);
    assert!(listing(&model).starts_with("tagwire schema 1\nenum game.v1.Way\nvalue 0 WAY_UNSPECIFIED\n"));
}

/// The listing's lines of one field with these constraints.
fn rules(field: &str) -> Vec<String> {
    let body = format!(
        "import \"buf/validate/validate.proto\";\n\
         message M {{ option (tagwire.v1.rules) = {{ tag: 2, from: CLIENT }}; {field} }}\n\
         enum E {{ E_NO = 0; }}"
    );
    let listing = listing(&read(&[("game.proto", &game(&body))]).unwrap());
    listing.lines().filter_map(|line| line.strip_prefix("rule ")).map(str::to_string).collect()
}

#[test]
fn constraints_are_listed_in_one_way() {
    assert_eq!(rules("string x = 1;"), [""; 0]);
    let written = rules(
        "string x = 1 [(buf.validate.field) = { required: true, string: { max_len: 9, in: [\"b\", \"a\", \"b\"] } }];",
    );
    assert_eq!(written, ["required true", "string.in x61,x62", "string.max_len 9"]);
    let apart = "string x = 1 [(buf.validate.field).string.in = \"a\", /* c */ (buf.validate.field).string.in = \"b\", \
                 (buf.validate.field).string.max_len = 9, (buf.validate.field).string.example = \"e\", \
                 (buf.validate.field).string.email = false, (buf.validate.field).required = true];";
    assert_eq!(rules(apart), written);
    assert_eq!(
        rules(
            "repeated float x = 1 [(buf.validate.field).repeated = { unique: true, items: { float: { lt: -0.5, finite: true }, ignore: IGNORE_IF_ZERO_VALUE } }];"
        ),
        [
            "repeated.items.float.finite true",
            "repeated.items.float.lt bfe0000000000000",
            "repeated.items.ignore zero",
            "repeated.unique true"
        ]
    );
    assert_eq!(
        rules(
            "map<string, E> x = 1 [(buf.validate.field).map = { keys: { string: { prefix: \"ü\" } }, values: { enum: { not_in: [1, -2] } } }];"
        ),
        ["map.keys.string.prefix xc3bc", "map.values.enum.not_in -2,1"]
    );
    assert_eq!(
        rules(
            "option (buf.validate.message).oneof = { fields: [\"y\", \"x\"], required: true }; int32 x = 1; int32 y = 2; \
               oneof o { option (buf.validate.oneof).required = true; int32 z = 3; }"
        ),
        ["oneof.required x,y", "required o"]
    );
    assert_eq!(rules("E x = 1 [(buf.validate.field).ignore = IGNORE_ALWAYS];"), ["ignore always"]);
}
