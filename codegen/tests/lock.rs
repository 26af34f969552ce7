//! `schema.lock`: what is written is read back, and what must not come after it is found.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;

use common::{game, read};
use tagwire_codegen::fingerprint::{fingerprint, listing};
use tagwire_codegen::lock::{Lock, judge};
use tagwire_codegen::model::Model;

fn parse(text: &str) -> Lock {
    Lock::parse(text, Path::new("proto/schema.lock")).map_err(|e| panic!("{e}")).unwrap()
}

/// The same through its text, as it comes from a file.
fn locked(model: &Model, before: Option<&Lock>) -> Lock {
    parse(&Lock::of(model, before).to_string())
}

fn told(before: &Lock, now: &Model) -> Vec<String> {
    let judgement = judge(before, now);
    let broken = judgement.broken.iter().map(|b| {
        assert!(!b.fix.is_empty() && !b.who.is_empty(), "{b:?}");
        format!("{}: {}: {}", b.location.line, b.place, b.what)
    });
    broken.chain(judgement.changes.iter().map(|(place, what)| format!("+ {place}: {what}"))).collect()
}

const MOVE: &str = "message Move {\n  option (tagwire.v1.rules) = { tag: 2, from: CLIENT };\n";

/// A schema of one message with these fields from line 6 on, and whatever follows.
fn model(fields: &str) -> Model {
    read(&[("game.proto", &game(&format!("{MOVE}{fields}")))]).map_err(|e| panic!("{e}")).unwrap()
}

#[test]
fn a_lock_comes_back_as_it_was() {
    let folder = |name: &str| {
        tagwire_codegen::read(&[Path::new(env!("CARGO_MANIFEST_DIR")).join(name)])
            .map_err(|e| panic!("{name}: {e}"))
            .unwrap()
    };
    for name in [
        "tests/golden/nasty",
        "tests/golden/valid",
        "tests/golden/hall",
        "../proto",
        "../examples/arena/proto",
    ] {
        let model = folder(name);
        let text = Lock::of(&model, None).to_string();
        let lock = parse(&text);
        assert_eq!(lock.to_string(), text, "{name}");
        assert_eq!(listing(&lock.model), listing(&model), "{name}");
        assert_eq!(fingerprint(&lock.model), fingerprint(&model), "{name}");
        assert_eq!(told(&lock, &model), [""; 0], "{name}");
        // Nothing is retired by a schema that stayed as it was.
        assert_eq!(Lock::of(&model, Some(&lock)).to_string(), text, "{name}");
    }
}

#[test]
fn a_lock_says_all_that_counts() {
    let files = [
        (
            "old.proto",
            "syntax = \"proto2\";\npackage old;\nimport \"google/protobuf/descriptor.proto\";\n\
            message Part { optional string name = 1 [default = \"a b=\\n\"]; repeated group Slot = 2 { required int32 x = 1; } \
            extensions 100 to 199; reserved 3, 5 to 7, 200 to max; reserved \"was\"; }\n\
            extend Part { optional bool extra = 100; }\n\
            message Holder { extend google.protobuf.FieldOptions { repeated string notes = 50001; } }\n\
            enum E { E_NONE = 0; E_LOW = -2; reserved -1, 4 to max; reserved \"E_WAS\"; }\n",
        ),
        (
            "game.proto",
            &game(
                "import \"old.proto\";\nmessage Move {\n  option (tagwire.v1.rules) = { tag: 2, from: BOTH, max_rate: \"9/s\" };\n\
            old.Part part = 1; map<string, Alone> all = 2; oneof how { int32 a = 3; string b = 4; } optional int32 c = 5; old.E e = 6; }\n\
            message Alone { int32 x = 1; }\n\
            message Ask { option (tagwire.v1.rules) = { tag: 4, from: CLIENT }; }\n\
            service Oracle { rpc Tell(Ask) returns (Alone) { option idempotency_level = NO_SIDE_EFFECTS; } }\n\
            message Unreached { bytes raw = 1; }\n",
            ),
        ),
    ];
    let model = read(&files).map_err(|e| panic!("{e}")).unwrap();
    let text = Lock::of(&model, None).to_string();
    let lock = parse(&text);
    assert_eq!(lock.to_string(), text);
    assert_eq!(told(&lock, &model), [""; 0]);
    for line in [
        "file game.v1 proto3 game.proto",
        "file old proto2 old.proto",
        "extend old.Part",
        "  field 100 old.extra bool optional -",
        "extend google.protobuf.FieldOptions",
        "  field 50001 old.Holder.notes string repeated -",
        "  field 1 name string optional - default=a b=\\n",
        "  field 2 slot message:old.Part.Slot repeated - group",
        "  field 2 all message:game.v1.Move.AllEntry map -",
        "message game.v1.Move.AllEntry map_entry",
        "  field 3 a int32 optional how",
        "  reserved 5 to 7",
        "  reserved 200 to 536870911",
        "  reserved \"was\"",
        "  reserved -1",
        "  value -2 E_LOW",
        "  method Tell game.v1.Ask game.v1.Alone NO_SIDE_EFFECTS",
        "message game.v1.Unreached",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

/// Each line away, doubled or cut: an error with the line, or a lock that says so of itself; never a panic.
#[test]
fn a_damaged_lock_is_refused_or_says_less() {
    let model = tagwire_codegen::read(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/valid")])
        .map_err(|e| panic!("{e}"))
        .unwrap();
    let text = Lock::of(&model, None).to_string();
    let lines: Vec<&str> = text.lines().collect();
    let mut refused = 0;
    for at in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        let mut cut = lines.clone();
        cut[at] = &cut[at][..cut[at].len() / 2];
        for damaged in [without, cut] {
            let damaged = damaged.join("\n");
            match Lock::parse(&damaged, Path::new("schema.lock")) {
                Err(error) => {
                    assert!(error.to_string().starts_with("schema.lock:"), "{error}");
                    refused += 1;
                }
                // What the fingerprint does not cover: comments, blanks, names of files, what nothing reaches.
                Ok(lock) => assert_eq!(fingerprint(&lock.model), fingerprint(&model)),
            }
        }
    }
    assert!(refused > lines.len(), "{refused} of {}", 2 * lines.len());
    let merge = text.replacen("fingerprint", "<<<<<<< HEAD\nfingerprint", 1);
    let error = Lock::parse(&merge, Path::new("schema.lock")).unwrap_err().to_string();
    assert!(error.contains("schema.lock:4: this line means nothing in a lock: <<<<<<< HEAD"), "{error}");
    assert!(error.contains("without marks of a merge"), "{error}");
    let edited = text.replacen("int32 implicit", "int64 implicit", 1);
    assert_ne!(edited, text);
    let error = Lock::parse(&edited, Path::new("schema.lock")).unwrap_err().to_string();
    assert!(error.contains("it was edited"), "{error}");
    assert!(Lock::parse("", Path::new("schema.lock")).is_err());
    assert!(!Lock::is_one("syntax = \"proto3\";"));
}

const BASE: &str = "  int32 x = 1;\n  string note = 2;\n  Way way = 3;\n  oneof how { bool run = 4; bool fly = 5; }\n  reserved 8 to 9;\n  reserved \"was\";\n}\n\
    enum Way { WAY_NONE = 0; WAY_UP = 1; WAY_DOWN = 2; reserved 7; reserved \"WAY_WAS\"; }\n\
    message Shout {\n  option (tagwire.v1.rules) = { tag: 7, from: CLIENT };\n  string text = 1;\n}\n";

#[test]
fn what_only_a_history_can_tell() {
    let before = locked(&model(BASE), None);
    let removed = |what: &str, instead: &str| {
        assert!(BASE.contains(what), "{what}");
        told(&before, &model(&BASE.replacen(what, instead, 1)))
    };
    assert_eq!(
        removed("  string note = 2;\n", ""),
        ["4: game.v1.Move.note: string note removed, and its number 2 is not reserved"]
    );
    assert_eq!(removed("  string note = 2;\n", "  reserved 2;\n"), ["+ game.v1.Move.note: string removed"]);
    assert_eq!(
        removed(" WAY_DOWN = 2;", ""),
        ["13: game.v1.Way.WAY_DOWN: value 2 removed, and not reserved"]
    );
    assert_eq!(removed(" WAY_DOWN = 2;", " reserved 2;"), ["+ game.v1.Way.WAY_DOWN: value 2 removed"]);
    assert_eq!(removed("reserved 8 to 9;", "reserved 9, 8;"), [""; 0]);
    assert_eq!(
        removed("reserved 8 to 9;", "reserved 9 to 20;"),
        ["4: game.v1.Move: `reserved 8 to 9` removed"]
    );
    assert_eq!(removed("  reserved \"was\";\n", ""), ["4: game.v1.Move: `reserved \"was\"` removed"]);
    assert_eq!(removed("reserved 7; ", ""), ["13: game.v1.Way: `reserved 7` removed"]);
    assert_eq!(removed("reserved \"WAY_WAS\"; ", ""), ["13: game.v1.Way: `reserved \"WAY_WAS\"` removed"]);
    assert_eq!(removed("oneof how", "oneof way_of"), ["4: game.v1.Move.how: the oneof is called way_of now"]);
}

#[test]
fn a_file_keeps_its_package() {
    let one = |package: &str| {
        read(&[(
            "game.proto",
            &format!("syntax = \"proto3\";\npackage {package};\nmessage M {{ int32 x = 1; }}"),
        )])
        .unwrap()
    };
    let told = told(&locked(&one("game.v1"), None), &one("game.v2"));
    assert_eq!(told, ["1: game.proto: package game.v1 became game.v2"]);
}

#[test]
fn what_was_removed_is_remembered() {
    let first = model(BASE);
    // A message with a tag, and a field and a value without `reserved`, accepted knowingly.
    let (head, _) = BASE.split_once("message Shout").unwrap();
    let less = head.replace("  string note = 2;\n", "").replace(" WAY_DOWN = 2;", "");
    let second = locked(&model(&less), Some(&locked(&first, None)));
    let text = second.to_string();
    for line in [
        "  retired 2 note string implicit -",
        "  retired 2 WAY_DOWN",
        "retired message game.v1.Shout tag=7 from=CLIENT to=HANDLER access=PLAYER delivery=ORDERED max_bytes=0 max_rate=0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert_eq!(told(&second, &model(&less)), [""; 0]);
    // However long ago.
    let third = locked(&model(&less), Some(&second));
    assert_eq!(third.to_string(), text);

    let reused = less
        .replace("  int32 x = 1;\n", "  int32 x = 1;\n  int32 speed = 2;\n")
        .replace("WAY_UP = 1;", "WAY_UP = 1; WAY_LEFT = 2;")
        + "message Whisper {\n  option (tagwire.v1.rules) = { tag: 7, from: CLIENT };\n}\n";
    let now = model(&reused);
    assert_eq!(
        told(&third, &now),
        [
            "7: game.v1.Move.speed: int32 speed has the number 2, which once was string note",
            "13: game.v1.Way.WAY_LEFT: it has the number 2, which once was WAY_DOWN",
            "15: tag 7: game.v1.Whisper has it, and once it was game.v1.Shout's",
            "+ game.v1.Move.speed: int32 added",
            "+ game.v1.Way.WAY_LEFT: value 2 added",
            "+ game.v1.Whisper: tag 7 added",
        ]
    );
    // Taken knowingly, they are what they are now.
    let fourth = locked(&now, Some(&third));
    assert_eq!(told(&fourth, &now), [""; 0]);
    assert!(!fourth.to_string().contains("  retired 2"));
    assert!(fourth.to_string().contains("retired message game.v1.Shout\n"));

    // What comes back as it was harms nobody; a message that comes back otherwise is compared with what it was.
    assert_eq!(
        told(&third, &first),
        [
            "+ game.v1.Move.note: is back",
            "+ game.v1.Move.note: string added",
            "+ game.v1.Way.WAY_DOWN: is back",
            "+ game.v1.Way.WAY_DOWN: value 2 added",
        ]
    );
    let back = less
        + "message Shout {\n  option (tagwire.v1.rules) = { tag: 8, from: CLIENT };\n  int32 text = 1;\n}\n";
    assert_eq!(
        told(&third, &model(&back)),
        ["13: game.v1.Shout: tag 7 became 8", "15: game.v1.Shout.text: string became int32",]
    );
}

#[test]
fn who_is_hurt_is_said() {
    let before = locked(
        &model("  Part part = 1;\n}\nmessage Part { int32 x = 1; }\nmessage Lone { int32 x = 1; }\n"),
        None,
    );
    let now = model("  Part part = 1;\n}\nmessage Part { string x = 1; }\nmessage Lone { string x = 1; }\n");
    let who: Vec<String> = judge(&before, &now).broken.into_iter().map(|b| b.who).collect();
    assert_eq!(
        who,
        [
            "clients and servers of which one has the old schema and one the new: game.v1.Move (tag 2, clients to the server)",
            "whoever keeps it, or sends it inside of something else: no message with a tag has it",
        ]
    );
}
