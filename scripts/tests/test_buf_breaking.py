"""`tagwire check` refuses whatever the category WIRE of `buf breaking` refuses, on a corpus of changes.

Each case is an edit of one schema, of texts that stand in it once. Where we refuse and buf does not, the case
says why.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

GAME = """\
syntax = "proto3";
package game.v1;
import "old.proto";
import "tagwire/v1/options.proto";
import "google/protobuf/timestamp.proto";

message Move {
  option (tagwire.v1.rules) = { tag: 2, from: CLIENT, to: ROOM, delivery: LATEST, max_rate: "60/s" };
  int32 x = 1;
  optional int32 y = 2;
  Way way = 3;
  oneof how {
    bool run = 4;
    Part part = 5;
  }
  repeated int32 path = 6;
  map<string, int32> counts = 7;
  Part.Slot slot = 9;
  string note = 10;
  bytes raw = 11;
  float speed = 12;
  oneof target {
    uint32 player = 13;
    string door = 14;
  }
  fixed32 hash = 15;
  double far = 16;
  sint64 gap = 17;
  bool jump = 18;
  old.Record record = 19;
  google.protobuf.Timestamp when = 21;
  repeated Part parts = 22;
  reserved 30, 40 to 45;
  reserved "was";
}

message Part {
  string name = 1;
  message Slot {
    uint32 number = 1;
  }
  Slot held = 2;
}

message Unreached {
  int32 x = 1;
  string name = 2;
}

enum Way {
  WAY_UNSPECIFIED = 0;
  WAY_UP = 1;
  WAY_DOWN = 2;
  reserved 7, 9 to 11;
  reserved "WAY_WAS";
}

message Shout {
  option (tagwire.v1.rules) = { tag: 7, from: CLIENT };
  string text = 1;
}

message Ask {
  option (tagwire.v1.rules) = { tag: 4, from: CLIENT };
}

message Buy {
  option (tagwire.v1.rules) = { tag: 5, from: CLIENT };
}

message Answer {
  string text = 1;
}

service Oracle {
  rpc Tell(Ask) returns (Answer);
  rpc Sell(Buy) returns (Answer) {
    option idempotency_level = IDEMPOTENT;
  }
}
"""

OLD = """\
syntax = "proto2";
package old;
import "google/protobuf/descriptor.proto";

message Record {
  required int32 id = 1;
  optional string name = 2 [default = "nobody"];
  optional int32 level = 3 [default = 1];
  optional Grade grade = 4 [default = GRADE_B];
  optional group Spot = 5 {
    optional int32 at = 1;
  }
  optional string hint = 6;
  extensions 100 to 199;
}

enum Grade {
  GRADE_A = 1;
  GRADE_B = 2;
}

extend Record {
  optional string extra = 100;
}

extend google.protobuf.FieldOptions {
  optional string shown = 50001;
}
"""

# Why we refuse more.
WIDTH = "buf takes what can be decoded for compatible; the values are others"
NAME = "types are told apart by name"
MESSAGE = "rules of tagwire, which buf does not know"
HARMLESS = ""

# What is done, the edits, and where buf lets it pass: `HARMLESS`, or why we do not. `None`: buf refuses it.
Case = tuple[str, list[tuple[str, str]], str | None]
CASES: list[Case] = [
    # FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED
    ("a field is removed", [("  int32 x = 1;\n  opt", "  opt")], None),
    ("the last field of a nested message is removed", [("    uint32 number = 1;\n", "")], None),
    ("a field of a message that nothing reaches is removed", [("  string name = 2;\n", "")], None),
    ("a member of a oneof is removed", [("    bool run = 4;\n", "")], None),
    ("a map is removed", [("  map<string, int32> counts = 7;\n", "")], None),
    ("a field is removed, its name reserved", [("string note = 10;", 'reserved "note";')], None),
    ("an optional field of proto2 is removed", [("  optional string hint = 6;\n", "")], None),
    ("a field gets another number", [("string note = 10;", "string note = 50;")], None),
    ("a field is removed, its number reserved", [("string note = 10;", "reserved 10;")], HARMLESS),
    (
        "fields are removed, their range reserved",
        [("bytes raw = 11;\n  float speed = 12;", "reserved 11 to 12;")],
        HARMLESS,
    ),
    # FIELD_SAME_ONEOF
    (
        "a field moves into a oneof",
        [("  string note = 10;\n", ""), ("bool run = 4;", "bool run = 4; string note = 10;")],
        None,
    ),
    (
        "a field moves out of a oneof",
        [("    bool run = 4;\n", ""), ("  string note", "  bool run = 4;\n  string note")],
        None,
    ),
    (
        "a field moves to another oneof",
        [("    bool run = 4;\n", ""), ("    uint32 player", "    bool run = 4;\n    uint32 player")],
        None,
    ),
    ("a oneof is renamed", [("oneof how", "oneof way_of")], None),
    (
        "a oneof of one new field",
        [("bytes raw = 11;", "bytes raw = 11; oneof more { bool swim = 60; }")],
        HARMLESS,
    ),
    ("a oneof gets a new member", [("bool run = 4;", "bool run = 4; bool swim = 60;")], HARMLESS),
    # FIELD_WIRE_COMPATIBLE_TYPE
    ("int32 becomes string", [("int32 x = 1;\n  opt", "string x = 1;\n  opt")], None),
    ("int32 becomes sint32", [("int32 x = 1;\n  opt", "sint32 x = 1;\n  opt")], None),
    ("fixed32 becomes float", [("fixed32 hash", "float hash")], None),
    ("fixed32 becomes uint32", [("fixed32 hash", "uint32 hash")], None),
    ("double becomes int64", [("double far", "int64 far")], None),
    ("bytes become string", [("bytes raw", "string raw")], None),
    ("bytes become a message", [("bytes raw", "Part raw")], None),
    ("a message becomes bytes", [("Part.Slot slot", "bytes slot")], None),
    ("an enum becomes string", [("Way way", "string way")], None),
    ("another message", [("Part.Slot slot", "Part slot")], None),
    ("another message of Google's", [("google.protobuf.Timestamp when", "Part when")], None),
    ("values of a map change", [("map<string, int32>", "map<string, string>")], None),
    ("keys of a map change", [("map<string, int32>", "map<int32, int32>")], None),
    ("another message in a list", [("repeated Part parts", "repeated Answer parts")], None),
    (
        "a type changes where nothing reaches it",
        [("message Unreached {\n  int32 x", "message Unreached {\n  string x")],
        None,
    ),
    ("the type of an extension changes", [("string extra", "int32 extra")], None),
    ("the type of an option changes", [("string shown", "int32 shown")], None),
    (
        "a group becomes a message",
        [
            (
                "optional group Spot = 5 {\n    optional int32 at = 1;\n  }",
                "message Spot { optional int32 at = 1; }\n  optional Spot spot = 5;",
            )
        ],
        None,
    ),
    ("int32 becomes int64", [("int32 x = 1;\n  opt", "int64 x = 1;\n  opt")], WIDTH),
    ("int32 becomes uint32", [("int32 x = 1;\n  opt", "uint32 x = 1;\n  opt")], WIDTH),
    ("bool becomes int32", [("bool jump", "int32 jump")], WIDTH),
    ("sint64 becomes sint32", [("sint64 gap", "sint32 gap")], WIDTH),
    ("string becomes bytes", [("string note", "bytes note")], WIDTH),
    ("fixed32 becomes sfixed32", [("fixed32 hash", "sfixed32 hash")], WIDTH),
    ("values of a map become wider", [("map<string, int32>", "map<string, int64>")], WIDTH),
    ("an enum becomes int32", [("Way way", "int32 way")], None),
    ("an extension is removed", [("extend Record {\n  optional string extra = 100;\n}\n", "")], HARMLESS),
    ("an extension becomes many", [("optional string extra", "repeated string extra")], None),
    ("an extension gets a default", [("string extra = 100;", 'string extra = 100 [default = "x"];')], None),
    ("a field becomes an enum of closed values", [("optional string hint", "optional Grade hint")], None),
    # FIELD_WIRE_COMPATIBLE_CARDINALITY
    ("one becomes many", [("string note", "repeated string note")], None),
    ("many become one", [("repeated int32 path", "int32 path")], None),
    ("many messages become one", [("repeated Part parts", "Part parts")], None),
    ("a map becomes one message", [("map<string, int32> counts", "Part counts")], None),
    ("optional becomes many", [("optional int32 y", "repeated int32 y")], None),
    ("`optional` is left out", [("optional int32 y", "int32 y")], HARMLESS),
    ("`optional` is added", [("bytes raw", "optional bytes raw")], HARMLESS),
    # MESSAGE_SAME_REQUIRED_FIELDS
    (
        "a required field is added",
        [("optional string hint = 6;", "optional string hint = 6; required int32 more = 7;")],
        None,
    ),
    ("a required field becomes optional", [("required int32 id", "optional int32 id")], None),
    ("an optional field becomes required", [("optional string hint", "required string hint")], None),
    ("a required field is removed, its number reserved", [("required int32 id = 1;", "reserved 1;")], None),
    # FIELD_SAME_DEFAULT
    ("a default changes", [('default = "nobody"', 'default = "somebody"')], None),
    ("a default is left out", [(" [default = 1]", "")], None),
    ("a default is added", [("string hint = 6;", 'string hint = 6 [default = "x"];')], None),
    ("the default of an enum changes", [("default = GRADE_B", "default = GRADE_A")], None),
    # FILE_SAME_PACKAGE
    ("a package is renamed", [("package game.v1;", "package game.v2;")], None),
    (
        "an imported package is renamed",
        [
            ("package old;", "package older;"),
            ("old.Record record", "older.Record record"),
        ],
        None,
    ),
    # ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED
    ("a value is removed", [("  WAY_DOWN = 2;\n", "")], None),
    ("a value gets another number", [("WAY_DOWN = 2", "WAY_DOWN = 3")], None),
    ("a value is removed, its name reserved", [("WAY_DOWN = 2;", 'reserved "WAY_DOWN";')], None),
    ("a value of proto2 is removed", [("  GRADE_A = 1;\n", "")], None),
    ("a value is removed, its number reserved", [("WAY_DOWN = 2;", "reserved 2;")], HARMLESS),
    ("a value is renamed", [("WAY_UP", "WAY_NORTH")], HARMLESS),
    # RESERVED_ENUM_NO_DELETE
    ("a reserved number of an enum is removed", [("reserved 7, 9 to 11", "reserved 9 to 11")], None),
    ("a reserved range of an enum shrinks", [("reserved 7, 9 to 11", "reserved 7, 9 to 10")], None),
    ("a reserved name of an enum is removed", [('  reserved "WAY_WAS";\n', "")], None),
    # RESERVED_MESSAGE_NO_DELETE
    ("a reserved number is removed", [("reserved 30, 40 to 45", "reserved 40 to 45")], None),
    ("a reserved number is used", [("reserved 30, 40 to 45;", "reserved 40 to 45; int32 back = 30;")], None),
    ("a reserved range is split", [("40 to 45", "40 to 41, 43 to 45")], None),
    ("a reserved name is removed", [('  reserved "was";\n', "")], None),
    ("a reserved range grows", [("40 to 45", "39 to 46")], HARMLESS),
    (
        "reserved numbers are written otherwise",
        [("reserved 30, 40 to 45;", "reserved 40 to 42, 30; reserved 43 to 45;")],
        HARMLESS,
    ),
    # RPC_SAME_*
    ("a request becomes a stream", [("Tell(Ask)", "Tell(stream Ask)")], None),
    ("a reply becomes a stream", [("Tell(Ask) returns (Answer)", "Tell(Ask) returns (stream Answer)")], None),
    ("a method takes another request", [("Tell(Ask)", "Tell(Shout)")], None),
    ("a method gives another reply", [("Tell(Ask) returns (Answer)", "Tell(Ask) returns (Part)")], None),
    (
        "a method becomes idempotent",
        [
            (
                "Tell(Ask) returns (Answer);",
                "Tell(Ask) returns (Answer) { option idempotency_level = NO_SIDE_EFFECTS; }",
            )
        ],
        None,
    ),
    ("a method is idempotent no more", [(" {\n    option idempotency_level = IDEMPOTENT;\n  }", ";")], None),
    # What is no matter of the wire.
    ("nothing", [], HARMLESS),
    ("a comment", [("message Move {", "// Moves.\nmessage Move {")], HARMLESS),
    ("a field is added", [("  string note", "  int32 more = 50;\n  string note")], HARMLESS),
    ("a field is renamed", [("string note", "string remark")], HARMLESS),
    ("a value is added", [("WAY_DOWN = 2;", "WAY_DOWN = 2; WAY_LEFT = 3;")], HARMLESS),
    ("a message is added", [("message Ask {", "message More { int32 x = 1; }\nmessage Ask {")], HARMLESS),
    (
        "a message that nothing reaches is removed",
        [("message Unreached {\n  int32 x = 1;\n  string name = 2;\n}\n", "")],
        HARMLESS,
    ),
    (
        "a message with a tag is removed",
        [
            (
                "message Shout {\n  option (tagwire.v1.rules) = { tag: 7, from: CLIENT };\n"
                "  string text = 1;\n}\n",
                "",
            )
        ],
        HARMLESS,
    ),
    (
        "a method is removed with its request",
        [
            ("  rpc Tell(Ask) returns (Answer);\n", ""),
            ("message Ask {\n  option (tagwire.v1.rules) = { tag: 4, from: CLIENT };\n}\n", ""),
        ],
        HARMLESS,
    ),
    ("a method is renamed", [("rpc Tell", "rpc Say")], HARMLESS),
    ("`deprecated`", [("string note = 10;", "string note = 10 [deprecated = true];")], HARMLESS),
    ("a name in JSON", [("string note = 10;", 'string note = 10 [json_name = "N"];')], HARMLESS),
    # What only we refuse.
    ("a tag changes", [("tag: 2,", "tag: 9,")], MESSAGE),
    (
        "a tag is given to another",
        [
            ("tag: 7,", "tag: 8,"),
            (
                "message Ask {",
                "message More { option (tagwire.v1.rules) = { tag: 7, from: CLIENT }; }\nmessage Ask {",
            ),
        ],
        MESSAGE,
    ),
    ("the direction changes", [("tag: 7, from: CLIENT", "tag: 7, from: SERVER")], MESSAGE),
    ("the delivery changes", [("delivery: LATEST", "delivery: ORDERED")], MESSAGE),
    ("the target changes", [("to: ROOM,", "to: ROOM_ALL,")], MESSAGE),
    ("a message is renamed", [("message Shout", "message Yell")], NAME),
    (
        "a message of a list is renamed",
        [
            ("message Answer", "message Reply"),
            ("Tell(Ask) returns (Answer)", "Say(Ask) returns (Reply)"),
            ("Sell(Buy) returns (Answer)", "Trade(Buy) returns (Reply)"),
        ],
        NAME,
    ),
    ("a push becomes a request", [("rpc Tell", "rpc Yell(Shout) returns (Answer);\n  rpc Tell")], MESSAGE),
]

RULES = {
    "ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED",
    "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED",
    "FIELD_SAME_DEFAULT",
    "FIELD_SAME_ONEOF",
    "FIELD_WIRE_COMPATIBLE_CARDINALITY",
    "FIELD_WIRE_COMPATIBLE_TYPE",
    "FILE_SAME_PACKAGE",
    "MESSAGE_SAME_REQUIRED_FIELDS",
    "RESERVED_ENUM_NO_DELETE",
    "RESERVED_MESSAGE_NO_DELETE",
    "RPC_SAME_CLIENT_STREAMING",
    "RPC_SAME_IDEMPOTENCY_LEVEL",
    "RPC_SAME_REQUEST_TYPE",
    "RPC_SAME_RESPONSE_TYPE",
    "RPC_SAME_SERVER_STREAMING",
}

CONFIG = "version: v2\nbreaking:\n  use: [WIRE]\n"


def buf() -> pathlib.Path:
    return pathlib.Path(sys.executable).parent / "buf"


def folder(root: pathlib.Path, path: pathlib.Path, edits: list[tuple[str, str]]) -> pathlib.Path:
    """The schema after edits, with copies of the files that everyone has: buf finds none by itself."""
    texts = {"game.proto": GAME, "old.proto": OLD}
    for text, instead in edits:
        assert sum(t.count(text) for t in texts.values()) == 1, f"not there once: {text}"
        texts = {name: t.replace(text, instead) for name, t in texts.items()}
    for name, text in texts.items():
        path.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    shutil.copytree(root / "proto/tagwire", path / "tagwire")
    shutil.copytree(root / "codegen/proto/buf", path / "buf")
    (path / "buf.yaml").write_text(CONFIG)
    return path


def test_the_rules_of_buf_are_those_we_know(tmp_path: pathlib.Path) -> None:
    (tmp_path / "buf.yaml").write_text(CONFIG)
    command = [buf(), "config", "ls-breaking-rules", "--configured-only"]
    listed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r"^([A-Z_]+) .*\bWIRE\b", listed, re.MULTILINE)) == RULES


def test_what_buf_refuses_we_refuse(
    root: pathlib.Path, tagwire: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len({name for name, *_ in CASES}) == len(CASES) >= 60
    old = folder(root, tmp_path / "old", [])
    lock = old / "schema.lock"
    subprocess.run(
        [tagwire, "check", "--schema", old, "--update"], cwd=tmp_path, check=True, capture_output=True
    )
    triggered: set[str] = set()
    both, ours, harmless, wrong = [], [], [], []
    for at, (name, edits, expected) in enumerate(CASES):
        new = folder(root, tmp_path / str(at), edits)
        theirs = subprocess.run(
            [buf(), "breaking", "--against", old, "--error-format", "json"],
            cwd=new,
            capture_output=True,
            text=True,
        )
        # 100: breaking. Anything else but 0 is a schema that buf does not read: no case of ours.
        assert theirs.returncode in (0, 100), f"{name}: {theirs.stderr}"
        assert '"COMPILE"' not in theirs.stdout, f"{name}: {theirs.stdout}"
        triggered |= {json.loads(line)["type"] for line in theirs.stdout.splitlines()}
        codes = {}
        for against in (old, lock):
            result = subprocess.run(
                [tagwire, "check", "--schema", new, "--against", against],
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            # 2 only where the new schema itself is against the rules, as a stream is.
            assert result.returncode in (0, 1) or "error: " in result.stderr, f"{name}: {result.stderr}"
            codes[against] = result.returncode
        assert codes[old] == codes[lock], f"{name}: {codes}"
        refused = codes[old] != 0
        if theirs.returncode == 100:
            both.append(name)
            if not refused:
                wrong.append(f"buf alone refuses: {name}: {theirs.stdout}")
            elif expected is not None:
                wrong.append(f"buf refuses: {name}: {theirs.stdout}")
        elif refused:
            ours.append(f"{name}: {expected}")
            if not expected:
                wrong.append(f"we alone refuse: {name}: {result.stdout}{result.stderr}")
        else:
            harmless.append(name)
            if expected != HARMLESS:
                wrong.append(f"nobody refuses: {name}")
        shutil.rmtree(new)
    assert not wrong, "\n".join(wrong)
    assert triggered == RULES, RULES ^ triggered
    with capsys.disabled():
        print(
            f"\nchanges of a schema: {len(CASES)}; refused by buf and us {len(both)}, by buf alone 0, by us "
            f"alone {len(ours)}, by nobody {len(harmless)}; rules seen: {len(triggered)} of {len(RULES)}"
        )
        for line in ours:
            print(f"  by us alone: {line}")
