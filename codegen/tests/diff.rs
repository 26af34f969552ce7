//! One edit of a schema after another: the verdict, and what the user is told. The table is
//! `docs/COMPATIBILITY.md` of the project.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt::Write;
use std::path::Path;

use common::read;
use tagwire_codegen::diff::Verdict::{self, Breaking, Compatible, Same};
use tagwire_codegen::diff::{Comparison, compare};
use tagwire_codegen::fingerprint::fingerprint;
use tagwire_codegen::lock::{Lock, judge};
use tagwire_codegen::model::Model;

const HEAD: &str = "\
# Which schemas go together

Client and server compare the fingerprints of their schemas at the login; where they differ, the server compares the schemas \
themselves and gives a verdict. *Same*: they mean the same, whatever their comments, files and order. *Compatible*: one \
knows something that the other does not, or calls it otherwise, and all that both know means the same to both. \
*Breaking*: something that both know means one thing here and another there; a player would see wrong values, or \
nothing at all, and no error. Only messages with a tag, services, and what is reachable from them count.

The policy of the server says who may play. `compatible`, the default, admits *same* and *compatible*. `exact` admits *same* \
alone, for games whose clients are all built with the server. `off` admits everyone, for those who know better. A \
client that is not admitted is told every difference, those that break something first, in the words of the table.
";

const NOTE: &str = "\
Below, each edit was made to one schema; the client's is the one before it and the server's the one after. The other way round the \
verdict is the same, but where `from` is narrowed or widened: a client that sends less than it may disturbs nobody. The page is written by `codegen/tests/diff.rs`.
";

const GAME: &str = r#"syntax = "proto3";
package game.v1;
import "buf/validate/validate.proto";
import "common.proto";
import "tagwire/v1/options.proto";

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
  common.v1.Point spot = 8;
  Part.Slot slot = 9;
  string note = 10;
  bytes raw = 11;
  float speed = 12;
  oneof target {
    uint32 player = 13;
    string door = 14;
  }
  repeated string tags = 15;
}

message Part {
  string name = 1;
  message Slot {
    uint32 number = 1;
  }
  Slot held = 2;
}

message Unused {
  int32 x = 1;
}

enum Way {
  WAY_UNSPECIFIED = 0;
  WAY_UP = 1;
  WAY_DOWN = 2;
}

message Score {
  option (tagwire.v1.rules) = { tag: 6, from: SERVER };
  sint32 points = 1;
}

message Shout {
  option (tagwire.v1.rules) = { tag: 7, from: BOTH, to: ROOM };
  string text = 1;
}

message Cheer {
  option (tagwire.v1.rules) = { tag: 8, from: CLIENT };
}

message Ask {
  option (tagwire.v1.rules) = { tag: 4, from: CLIENT };
}

message Buy {
  option (tagwire.v1.rules) = { tag: 5, from: CLIENT };
}

message Rename {
  option (tagwire.v1.rules) = { tag: 10, from: CLIENT };
  string name = 1 [(buf.validate.field).string = { min_len: 3, prefix: "a" }];
  oneof reason {
    string why = 2;
  }
}

message Answer {
  string text = 1;
}

service Oracle {
  rpc Tell(Ask) returns (Answer);
  rpc Sell(Buy) returns (Answer);
}
"#;

const COMMON: &str = r#"syntax = "proto3";
package common.v1;

// A place on the map.
message Point {
  int32 x = 1;
  Kind kind = 2;
}

enum Kind {
  option allow_alias = true;
  KIND_NONE = 0;
  KIND_LAND = 1;
  KIND_GROUND = 1;
}
"#;

/// What is done, the texts that are replaced (each stands once in the two files), verdict, what is told.
type Row = (&'static str, &'static [(&'static str, &'static str)], Verdict, &'static [&'static str]);

#[rustfmt::skip]
const EDITS: &[(&str, &[Row])] = &[
    ("Messages and their rules", &[
        ("a message with a tag is added", &[("message Unused {", "message Unused {\n  option (tagwire.v1.rules) = { tag: 9, from: SERVER };")], Compatible,
            &["game.v1.Unused: tag 9 added"]),
        ("a message with a tag is removed", &[("message Score {\n  option (tagwire.v1.rules) = { tag: 6, from: SERVER };\n  sint32 points = 1;\n}\n", "")], Compatible,
            &["game.v1.Score: tag 6 removed"]),
        ("a message gets another tag", &[("tag: 2", "tag: 9")], Breaking,
            &["game.v1.Move: tag 2 became 9: the other side does not know it by this tag"]),
        ("a message is renamed, the tag stays", &[("message Score", "message Points")], Breaking,
            &["tag 6: game.v1.Score became game.v1.Points: each side takes what the other sends for its own"]),
        ("two messages change tags", &[("tag: 7", "tag: 8"), ("tag: 8, from: CLIENT }", "tag: 7, from: CLIENT }")], Breaking,
            &["game.v1.Cheer: tag 8 became 7: the other side does not know it by this tag",
              "game.v1.Shout: tag 7 became 8: the other side does not know it by this tag",
              "tag 7: game.v1.Shout became game.v1.Cheer: each side takes what the other sends for its own",
              "tag 8: game.v1.Cheer became game.v1.Shout: each side takes what the other sends for its own"]),
        ("`from` is widened to BOTH", &[("tag: 6, from: SERVER", "tag: 6, from: BOTH")], Compatible,
            &["game.v1.Score: from SERVER became BOTH"]),
        ("`from` is narrowed from BOTH", &[("tag: 7, from: BOTH, to: ROOM", "tag: 7, from: SERVER")], Breaking,
            &["game.v1.Shout: from BOTH became SERVER: a client that sends it is turned out"]),
        ("`from` changes sides", &[("tag: 8, from: CLIENT", "tag: 8, from: SERVER")], Breaking,
            &["game.v1.Cheer: from CLIENT became SERVER: a client that sends it is turned out"]),
        ("`to` changes", &[("from: CLIENT, to: ROOM", "from: CLIENT, to: ROOM_ALL")], Breaking,
            &["game.v1.Move: to ROOM became ROOM_ALL: it reaches others than the other side thinks"]),
        ("`to` goes to code", &[("from: BOTH, to: ROOM", "from: BOTH")], Breaking,
            &["game.v1.Shout: to ROOM became HANDLER: it reaches others than the other side thinks"]),
        ("`delivery` changes", &[("delivery: LATEST", "delivery: ORDERED")], Breaking,
            &["game.v1.Move: delivery LATEST became ORDERED: one side may lose what the other counts on"]),
        ("`access` changes", &[("tag: 8, from: CLIENT", "tag: 8, from: CLIENT, access: OPERATOR")], Compatible,
            &["game.v1.Cheer: access PLAYER became OPERATOR"]),
        ("`max_bytes` changes", &[("max_bytes: 64", "max_bytes: 128")], Compatible,
            &["game.v1.Move: max_bytes 64 became 128"]),
        ("`max_bytes` is left out", &[(", max_bytes: 64", "")], Compatible,
            &["game.v1.Move: max_bytes 64 became the server's limit"]),
        ("`max_rate` changes", &[("\"60/s\"", "\"61/s\"")], Compatible,
            &["game.v1.Move: max_rate 60/s became 61/s"]),
        ("`max_rate` is left out", &[(" max_rate: \"60/s\",", "")], Compatible,
            &["game.v1.Move: max_rate 60/s became the server's limit"]),
        ("several things at once", &[("tag: 2", "tag: 9"), ("\"60/s\"", "\"1/s\""), ("int32 x = 1;\n  optional", "string x = 1;\n  optional"), ("WAY_DOWN = 2;", "WAY_DOWN = 2; WAY_LEFT = 3;")], Breaking,
            &["game.v1.Move: tag 2 became 9: the other side does not know it by this tag",
              "game.v1.Move.x: int32 became string: what the other side sends in it is lost",
              "game.v1.Move: max_rate 60/s became 1/s",
              "game.v1.Way.WAY_LEFT: value 3 added"]),
    ]),
    ("Fields", &[
        ("a field is added", &[("int32 x = 1;\n  optional", "int32 x = 1;\n  int32 z = 20;\n  optional")], Compatible,
            &["game.v1.Move.z: int32 added"]),
        ("a field is removed", &[("  string note = 10;\n", "")], Compatible,
            &["game.v1.Move.note: string removed"]),
        ("a field of a nested message is removed", &[("    uint32 number = 1;\n", "")], Compatible,
            &["game.v1.Part.Slot.number: uint32 removed"]),
        ("a field that requires (proto2) is added", &[("syntax = \"proto3\";\npackage common.v1", "syntax = \"proto2\";\npackage common.v1"), ("int32 x = 1;\n  Kind kind = 2;", "optional int32 x = 1; optional Kind kind = 2; required bool on = 3;")], Breaking,
            &["common.v1.Point.on: required bool added: the side that has it cannot read the other's messages",
              "common.v1.Point.kind: common.v1.Kind became optional common.v1.Kind",
              "common.v1.Point.x: int32 became optional int32"]),
        ("a field becomes one that requires (proto2)", &[("syntax = \"proto3\";\npackage common.v1", "syntax = \"proto2\";\npackage common.v1"), ("int32 x = 1;\n  Kind kind = 2;", "required int32 x = 1; optional Kind kind = 2;")], Breaking,
            &["common.v1.Point.x: int32 became required int32: the side that requires it cannot read messages without it",
              "common.v1.Point.kind: common.v1.Kind became optional common.v1.Kind"]),
        ("a field is renamed", &[("int32 x = 1;\n  optional", "int32 left = 1;\n  optional")], Compatible,
            &["game.v1.Move.x: is called left now"]),
        ("a field gets another number", &[("string note = 10", "string note = 20")], Breaking,
            &["game.v1.Move.note: number 10 became 20: what the other side sends in it is lost or misread"]),
        ("two fields change names", &[("int32 x = 1;\n  optional int32 y = 2;", "int32 y = 1;\n  optional int32 x = 2;")], Breaking,
            &["game.v1.Move.x: number 1 became 2: what the other side sends in it is lost or misread",
              "game.v1.Move.y: number 2 became 1: what the other side sends in it is lost or misread"]),
        ("another type, of another form on the wire", &[("int32 x = 1;\n  optional", "string x = 1;\n  optional")], Breaking,
            &["game.v1.Move.x: int32 became string: what the other side sends in it is lost"]),
        ("another type, of the same form", &[("int32 x = 1;\n  optional", "sint32 x = 1;\n  optional")], Breaking,
            &["game.v1.Move.x: int32 became sint32: what the other side sends in it is misread"]),
        ("a wider type", &[("float speed", "double speed")], Breaking,
            &["game.v1.Move.speed: float became double: what the other side sends in it is lost"]),
        ("text becomes bytes", &[("string note", "bytes note")], Breaking,
            &["game.v1.Move.note: string became bytes: what the other side sends in it is misread"]),
        ("bytes become a message", &[("bytes raw", "Part raw")], Breaking,
            &["game.v1.Move.raw: bytes became game.v1.Part: what the other side sends in it is misread"]),
        ("another message", &[("common.v1.Point spot", "Unused spot")], Breaking,
            &["game.v1.Move.spot: common.v1.Point became game.v1.Unused: what the other side sends in it is misread"]),
        ("a message of a field is renamed", &[("message Slot", "message Place"), ("Slot held", "Place held"), ("Part.Slot slot", "Part.Place slot")], Breaking,
            &["game.v1.Move.slot: game.v1.Part.Slot became game.v1.Part.Place: what the other side sends in it is misread",
              "game.v1.Part.held: game.v1.Part.Slot became game.v1.Part.Place: what the other side sends in it is misread"]),
        ("an enum becomes a number", &[("  Way way", "  int32 way")], Breaking,
            &["game.v1.Move.way: game.v1.Way became int32: what the other side sends in it is misread"]),
        ("`optional` is left out", &[("optional int32 y", "int32 y")], Compatible,
            &["game.v1.Move.y: optional int32 became int32"]),
        ("`optional` is added", &[("int32 x = 1;\n  optional", "optional int32 x = 1;\n  optional")], Compatible,
            &["game.v1.Move.x: int32 became optional int32"]),
        ("one becomes many", &[("string note", "repeated string note")], Breaking,
            &["game.v1.Move.note: string became repeated string: what the other side sends in it is lost"]),
        ("many become one", &[("repeated int32 path", "int32 path")], Breaking,
            &["game.v1.Move.path: repeated int32 became int32: what the other side sends in it is lost"]),
        ("a list becomes a map", &[("repeated string tags", "map<string, string> tags")], Breaking,
            &["game.v1.Move.tags: repeated string became map<string, string>: what the other side sends in it is misread"]),
        ("a map gets other values", &[("map<string, int32>", "map<string, uint32>")], Breaking,
            &["game.v1.Move.counts: map<string, int32> became map<string, uint32>: what the other side sends in it is lost or misread"]),
        ("a map gets other keys", &[("map<string, int32>", "map<int32, int32>")], Breaking,
            &["game.v1.Move.counts: map<string, int32> became map<int32, int32>: what the other side sends in it is lost or misread"]),
        ("a map is renamed", &[("int32> counts", "int32> sums")], Compatible,
            &["game.v1.Move.counts: is called sums now"]),
        ("a field moves into a oneof", &[("  string note = 10;\n", ""), ("bool run = 4;", "bool run = 4; string note = 10;")], Breaking,
            &["game.v1.Move.note: moved into the oneof how: values that one side sends together clear each other on the other"]),
        ("a field moves out of a oneof", &[("    bool run = 4;\n    Part part = 5;\n  }", "    bool run = 4;\n  }\n  Part part = 5;")], Breaking,
            &["game.v1.Move.part: moved out of the oneof how: values that one side sends together clear each other on the other"]),
        ("a field moves to another oneof", &[("    Part part = 5;\n", ""), ("uint32 player = 13;", "uint32 player = 13; Part part = 5;")], Breaking,
            &["game.v1.Move.part: moved from the oneof how to target: values that one side sends together clear each other on the other"]),
        ("a oneof is renamed", &[("oneof how", "oneof way_of")], Compatible,
            &["game.v1.Move.how: the oneof is called way_of now"]),
        ("a oneof gets a new member", &[("bool run = 4;", "bool run = 4; bool swim = 20;")], Compatible,
            &["game.v1.Move.swim: bool added"]),
    ]),
    ("Enums", &[
        ("a value is added", &[("WAY_DOWN = 2;", "WAY_DOWN = 2;\n  WAY_LEFT = 3;")], Compatible,
            &["game.v1.Way.WAY_LEFT: value 3 added"]),
        ("a value is removed", &[("  WAY_DOWN = 2;\n", "")], Compatible,
            &["game.v1.Way.WAY_DOWN: value 2 removed"]),
        ("a value is renamed", &[("WAY_UP", "WAY_NORTH")], Compatible,
            &["game.v1.Way.WAY_UP: is called WAY_NORTH now"]),
        ("a value gets another number", &[("WAY_DOWN = 2", "WAY_DOWN = 3")], Breaking,
            &["game.v1.Way.WAY_DOWN: number 2 became 3: each side reads another value than was meant"]),
        ("two values change numbers", &[("WAY_UP = 1", "WAY_UP = 2"), ("WAY_DOWN = 2", "WAY_DOWN = 1")], Breaking,
            &["game.v1.Way.WAY_DOWN: number 2 became 1: each side reads another value than was meant",
              "game.v1.Way.WAY_UP: number 1 became 2: each side reads another value than was meant"]),
        ("a second name of a value is removed", &[("  option allow_alias = true;\n", ""), ("  KIND_GROUND = 1;\n", "")], Compatible,
            &["common.v1.Kind.KIND_GROUND: value 1 removed"]),
        ("the package is renamed", &[("package common.v1", "package common.v2"), ("common.v1.Point", "common.v2.Point")], Breaking,
            &["game.v1.Move.spot: common.v1.Point became common.v2.Point: what the other side sends in it is misread"]),
    ]),
    ("Services", &[
        ("a method is added", &[("service Oracle {", "message Beg {\n  option (tagwire.v1.rules) = { tag: 9, from: CLIENT };\n}\nservice Oracle {\n  rpc Give(Beg) returns (Answer);")], Compatible,
            &["game.v1.Beg: tag 9 added", "game.v1.Oracle.Give: method added"]),
        ("a method is removed with its request", &[("  rpc Sell(Buy) returns (Answer);\n", ""), ("message Buy {\n  option (tagwire.v1.rules) = { tag: 5, from: CLIENT };\n}\n", "")], Compatible,
            &["game.v1.Buy: tag 5 removed", "game.v1.Oracle.Sell: method removed"]),
        ("a method is removed, its request stays", &[("  rpc Sell(Buy) returns (Answer);\n", "")], Breaking,
            &["game.v1.Buy: a request became a push: what the other side sends is refused", "game.v1.Oracle.Sell: method removed"]),
        ("a push becomes a request", &[("rpc Sell(", "rpc Clap(Cheer) returns (Answer);\n  rpc Sell(")], Breaking,
            &["game.v1.Cheer: a push became a request: what the other side sends is refused", "game.v1.Oracle.Clap: method added"]),
        ("a method is renamed", &[("rpc Tell(", "rpc Say(")], Compatible,
            &["game.v1.Oracle.Tell: is called game.v1.Oracle.Say now"]),
        ("a method is renamed and gives another reply", &[("rpc Tell(Ask) returns (Answer)", "rpc Say(Ask) returns (Unused)")], Breaking,
            &["game.v1.Oracle.Tell: reply game.v1.Answer became game.v1.Unused: the answer is misread",
              "game.v1.Oracle.Tell: is called game.v1.Oracle.Say now"]),
        ("a method takes another request", &[("rpc Tell(Ask)", "rpc Tell(Cheer)")], Breaking,
            &["game.v1.Ask: a request became a push: what the other side sends is refused",
              "game.v1.Cheer: a push became a request: what the other side sends is refused",
              "game.v1.Oracle.Tell: request game.v1.Ask became game.v1.Cheer: what the other side asks is not answered"]),
        ("a method gives another reply", &[("rpc Tell(Ask) returns (Answer)", "rpc Tell(Ask) returns (Unused)")], Breaking,
            &["game.v1.Oracle.Tell: reply game.v1.Answer became game.v1.Unused: the answer is misread"]),
        ("a service is renamed", &[("service Oracle", "service Prophet")], Compatible,
            &["game.v1.Oracle: service removed",
              "game.v1.Oracle.Sell: is called game.v1.Prophet.Sell now",
              "game.v1.Oracle.Tell: is called game.v1.Prophet.Tell now",
              "game.v1.Prophet: service added"]),
        ("`at` changes", &[("service Oracle {", "service Oracle {\n  option (tagwire.v1.service) = { at: ROOM };")], Compatible,
            &["game.v1.Oracle: at SERVER became ROOM"]),
    ]),
    ("What does not count", &[
        ("comments", &[("// A move.", "// A pace.\n// In two lines.")], Same, &[]),
        ("comments of another package", &[("// A place on the map.\n", "")], Same, &[]),
        ("the order of messages", &[("message Score {\n  option (tagwire.v1.rules) = { tag: 6, from: SERVER };\n  sint32 points = 1;\n}\n", ""), ("service Oracle {", "message Score {\n  option (tagwire.v1.rules) = { tag: 6, from: SERVER };\n  sint32 points = 1;\n}\nservice Oracle {")], Same, &[]),
        ("the order of fields", &[("int32 x = 1;\n  optional int32 y = 2;", "optional int32 y = 2;\n  int32 x = 1;")], Same, &[]),
        ("the order of values", &[("WAY_UP = 1;\n  WAY_DOWN = 2;", "WAY_DOWN = 2;\n  WAY_UP = 1;")], Same, &[]),
        ("the order of methods", &[("  rpc Sell(Buy) returns (Answer);\n", ""), ("service Oracle {\n", "service Oracle {\n  rpc Sell(Buy) returns (Answer);\n")], Same, &[]),
        ("defaults of rules, written out", &[("tag: 4, from: CLIENT", "tag: 4, from: CLIENT, to: HANDLER, access: PLAYER, delivery: ORDERED, max_bytes: 0")], Same, &[]),
        ("how a rule is written", &[("tag: 6, from: SERVER", "from: SERVER tag: 0x6")], Same, &[]),
        ("messages that nothing with a tag reaches", &[("message Unused {\n  int32 x = 1;", "message Unused {\n  string other = 4;")], Same, &[]),
        ("`reserved`", &[("  WAY_UP = 1;", "  reserved 9;\n  WAY_UP = 1;"), ("  uint32 number = 1;", "  reserved 2, 3;\n  reserved \"old\";\n  uint32 number = 1;")], Same, &[]),
        ("`deprecated`, `json_name`, `packed`", &[("string note = 10;", "string note = 10 [deprecated = true, json_name = \"n\"];"), ("repeated int32 path = 6", "repeated int32 path = 6 [packed = false]")], Same, &[]),
    ]),
    ("Constraints", &[
        ("a constraint is added", &[("min_len: 3, prefix", "min_len: 3, max_len: 9, prefix")], Compatible,
            &["game.v1.Rename.name: rule string.max_len added; the server refuses what breaks it"]),
        ("a constraint is removed", &[("min_len: 3, prefix", "prefix")], Compatible,
            &["game.v1.Rename.name: rule string.min_len removed"]),
        ("a constraint is tightened or loosened", &[("min_len: 3, prefix", "min_len: 4, prefix")], Compatible,
            &["game.v1.Rename.name: rule string.min_len 3 became 4; the server refuses what breaks it"]),
        ("a constraint of a text changes", &[("prefix: \"a\"", "prefix: \"b\"")], Compatible,
            &["game.v1.Rename.name: rule string.prefix changed; the server refuses what breaks it"]),
        ("a constraint is given up for another field's", &[("[(buf.validate.field).string = { min_len: 3, prefix: \"a\" }]", ""), ("why = 2", "why = 2 [(buf.validate.field).string.min_len = 1]")], Compatible,
            &["game.v1.Rename.name: rule string.min_len removed",
              "game.v1.Rename.name: rule string.prefix removed",
              "game.v1.Rename.why: rule string.min_len added; the server refuses what breaks it"]),
        ("a oneof is required", &[("oneof reason {", "oneof reason {\n    option (buf.validate.oneof).required = true;")], Compatible,
            &["game.v1.Rename: rule required added; the server refuses what breaks it"]),
        ("constraints are written otherwise", &[("(buf.validate.field).string = { min_len: 3, prefix: \"a\" }", "(buf.validate.field).string.prefix = \"a\", (buf.validate.field).string.min_len = 3")], Same,
            &[]),
    ]),
];

fn base() -> Model {
    read(&[("game.proto", GAME), ("common.proto", COMMON)]).unwrap()
}

fn edited(edits: &[(&str, &str)]) -> Model {
    let (mut game, mut common) = (GAME.to_string(), COMMON.to_string());
    for (from, to) in edits {
        let matches = (game.matches(from).count(), common.matches(from).count());
        match matches {
            (1, 0) => game = game.replace(from, to),
            (0, 1) => common = common.replace(from, to),
            _ => panic!("{from:?} stands once in the base, not {matches:?} times"),
        }
    }
    read(&[("game.proto", &game), ("common.proto", &common)]).unwrap_or_else(|e| panic!("{edits:?}: {e}"))
}

fn told(comparison: &Comparison) -> Vec<String> {
    comparison.differences.iter().map(ToString::to_string).collect()
}

/// What holds for any two models.
fn consistent(theirs: &Model, ours: &Model, about: &str) -> Comparison {
    let there = compare(theirs, ours);
    let back = compare(ours, theirs);
    // The one thing that is not the same from both sides: what a client may send, and a server does not take.
    let one_way = |comparison: &Comparison| {
        comparison
            .differences
            .iter()
            .any(|d| d.breaks.as_deref() == Some("a client that sends it is turned out"))
    };
    if !one_way(&there) && !one_way(&back) {
        assert_eq!(there.verdict, back.verdict, "{about}: the other way round, {back:?}");
    }
    assert_eq!(there.differences.is_empty(), back.differences.is_empty(), "{about}");
    assert_eq!(there.verdict == Same, fingerprint(theirs) == fingerprint(ours), "{about}");
    for comparison in [&there, &back] {
        assert_eq!(comparison.verdict == Same, comparison.differences.is_empty(), "{about}");
        let breaking: Vec<bool> = comparison.differences.iter().map(|d| d.breaks.is_some()).collect();
        assert_eq!(comparison.verdict == Breaking, breaking.contains(&true), "{about}");
        assert!(breaking.is_sorted_by_key(|breaks| !breaks), "{about}: those that break come first");
    }
    there
}

#[test]
fn each_edit_has_its_verdict_and_words() {
    let base = base();
    let mut rows = 0;
    let mut wrong = vec![];
    let mut page = format!("{HEAD}\n{NOTE}");
    for (chapter, edits) in EDITS {
        write!(page, "\n## {chapter}\n\n| edit | verdict | what the user is told |\n|---|---|---|\n")
            .unwrap();
        for (edit, texts, verdict, expected) in *edits {
            rows += 1;
            let comparison = consistent(&base, &edited(texts), edit);
            let told = told(&comparison);
            if comparison.verdict != *verdict || told != *expected {
                wrong.push(format!("{edit}: {:?}\n{told:#?}", comparison.verdict));
            }
            let cell = if told.is_empty() { "-".to_string() } else { told.join("<br>") };
            let cell = cell.replace("map<", "map&lt;").replace(">:", "&gt;:").replace("> ", "&gt; ");
            writeln!(page, "| {edit} | {} | {cell} |", format!("{verdict:?}").to_lowercase()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{} of {rows}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows >= 60, "{rows}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMPATIBILITY.md");
    if std::fs::read_to_string(&path).ok().as_ref() != Some(&page) {
        std::fs::write(&path, page).unwrap();
        panic!("docs/COMPATIBILITY.md was another; it is rewritten, see `git diff`");
    }
}

#[test]
fn files_do_not_count() {
    let base = base();
    let named =
        read(&[("deep/other.proto", GAME), ("common.proto", COMMON)]).map_err(|e| panic!("{e}")).unwrap();
    assert_eq!(consistent(&base, &named, "a file's name").verdict, Same);

    let (head, tail) = GAME.split_once("message Part {").unwrap();
    let (tail, asks) = tail.split_once("message Score").unwrap();
    let head = head.replace("import \"common.proto\";", "import \"common.proto\";\nimport \"part.proto\";");
    let split = read(&[
        ("game.proto", &format!("{head}message Score{asks}")),
        ("part.proto", &format!("syntax = \"proto3\";\npackage game.v1;\nmessage Part {{{tail}")),
        ("common.proto", COMMON),
        ("beside.proto", "syntax = \"proto3\";\npackage beside;\nmessage Lone { int32 x = 1; }"),
    ])
    .unwrap();
    assert_eq!(consistent(&base, &split, "one file or more").verdict, Same);
}

/// Any edit against any other, so that differences meet each other.
#[test]
fn any_two_edits_agree_on_the_rules_of_a_comparison() {
    let models: Vec<(&str, Model)> =
        EDITS.iter().flat_map(|(_, edits)| *edits).map(|(edit, texts, ..)| (*edit, edited(texts))).collect();
    for (one, theirs) in &models {
        for (other, ours) in &models {
            consistent(theirs, ours, &format!("{one}, against {other}"));
        }
    }
}

/// What breaks between two sides breaks between two days too.
#[test]
fn a_lock_refuses_all_that_is_breaking() {
    let base = base();
    let text = Lock::of(&base, None).to_string();
    let lock = Lock::parse(&text, Path::new("schema.lock")).unwrap();
    for (edit, texts, verdict, _) in EDITS.iter().flat_map(|(_, edits)| *edits) {
        let now = edited(texts);
        let judgement = judge(&lock, &now);
        for difference in compare(&base, &now).differences.iter().filter(|d| d.breaks.is_some()) {
            assert!(!difference.fix.is_empty(), "{edit}: {difference}");
            let found = judgement.broken.iter().any(|b| {
                (&b.place, &b.what, Some(&b.breaks))
                    == (&difference.place, &difference.what, difference.breaks.as_ref())
            });
            assert!(found, "{edit}: {difference}\n{judgement:#?}");
        }
        assert!(*verdict != Breaking || !judgement.broken.is_empty(), "{edit}");
    }
}

#[test]
fn a_schema_against_nothing_is_compatible() {
    let none = read(&[("game.proto", "syntax = \"proto3\";\npackage game.v1;")]).unwrap();
    let comparison = consistent(&base(), &none, "nothing");
    assert_eq!(comparison.verdict, Compatible);
    assert!(told(&comparison).contains(&"game.v1.Move: tag 2 removed".to_string()));
    assert_eq!(consistent(&none, &none, "nothing twice").verdict, Same);
}

/// The presence of a map's parts is in the fingerprint, and no side can see it.
#[test]
fn what_has_no_words_of_its_own_is_told_by_the_listing() {
    let game = "syntax = \"proto3\";\npackage game.v1;\nimport \"tagwire/v1/options.proto\";\nimport \"old.proto\";\n\
        message M { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; old.Maps maps = 1; }";
    let old = |syntax: &str| {
        let old =
            format!("syntax = \"{syntax}\";\npackage old;\nmessage Maps {{ map<string, int32> m = 1; }}");
        read(&[("game.proto", game), ("old.proto", &old)]).unwrap()
    };
    let comparison = consistent(&old("proto2"), &old("proto3"), "proto2");
    assert_eq!(comparison.verdict, Compatible);
    assert_eq!(
        told(&comparison),
        ["schema: \"field 1 key string optional -\" became \"field 1 key string implicit -\""]
    );
}
