//! `tagwire gen` by templates: the example for Lua with its interpreter, the rules of names, and what goes wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::{exists, project, run, write};
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tempfile::TempDir;

const ALL: &str = "\
syntax = \"proto3\";
package game.v1;
import \"tagwire/v1/options.proto\";

// Moves somebody.
message Mv {
  option (tagwire.v1.rules) = { tag: 2, from: CLIENT, to: ROOM, max_rate: \"20/s\" };
  uint32 entity = 1;
  float x = 2;
  float y = 3;
  string name = 4;
  bool jump = 5;
}

// All that there is.
message All {
  option (tagwire.v1.rules) = { tag: 256, from: SERVER };
  enum Mood { CALM = 0; ANGRY = -7; }
  message Inner { sint32 depth = 1; All again = 2; }
  double a = 1; float b = 2; int32 c = 3; int64 d = 4; uint32 e = 5; uint64 f = 6; sint32 g = 7; sint64 h = 8;
  fixed32 i = 9; fixed64 j = 10; sfixed32 k = 11; sfixed64 l = 12; bool m = 13; string n = 14; bytes o = 15;
  Mood p = 16; Inner q = 17; repeated sint64 r = 18; repeated string s = 19; optional int32 t = 20;
  oneof choice { int32 left = 21; string right = 22; }
  repeated double u = 200; repeated Inner v = 201; repeated Mood w = 202; repeated bool end = 203;
}
";

/// The message that all codecs agree on, and its bytes.
const VECTOR: (&str, &str) = (
    "{ entity = 123456, x = 1.5, y = -2.25, name = \"player_one\", jump = true }",
    "08c0c407150000c03f1d000010c0220a706c617965725f6f6e652801",
);

fn lua_templates() -> String {
    format!("{}/../examples/templates/lua", env!("CARGO_MANIFEST_DIR"))
}

/// A project with the printed Lua in `lua/`.
fn with_lua() -> TempDir {
    let dir = project();
    write(&dir, "proto/game.proto", ALL);
    let (code, out, err) = run(&dir, &["gen", "--template", &lua_templates(), "--out", "lua"]);
    assert_eq!((code, &*err), (0, ""));
    assert_eq!(out, "lua: 2 written, 0 removed, 0 unchanged\n");
    dir
}

fn lua(dir: &TempDir, script: &str) -> String {
    write(dir, "lua/test.lua", &format!("{HELPERS}\n{script}"));
    let output = Command::new("lua5.3")
        .arg("test.lua")
        .current_dir(dir.path().join("lua"))
        .output()
        .expect("lua5.3 is installed (Debian: apt-get install lua5.3)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const HELPERS: &str = "\
local game = require('game')
local function hex(bytes) return (bytes:gsub('.', function(c) return string.format('%02x', c:byte()) end)) end
local function unhex(text) return (text:gsub('..', function(two) return string.char(tonumber(two, 16)) end)) end
";

#[test]
fn lua_has_the_tags_and_rules() {
    let dir = with_lua();
    let out = lua(
        &dir,
        "print(game.tags[2], game.tags[256], game.fingerprint)
         local rules = game.messages['game.v1.Mv'].rules
         print(rules.from, rules.to, rules.delivery, rules.max_rate)
         print(game.enums['game.v1.All.Mood'].ANGRY, game.close_codes.TIMEOUT.number, game.close_codes.TIMEOUT.retryable, game.close_codes.KICKED.retryable)",
    );
    let (_, check, _) = run(&dir, &["check"]);
    let fingerprint = check.trim_end().rsplit(' ').next().unwrap();
    assert_eq!(
        out,
        format!("game.v1.Mv\tgame.v1.All\t{fingerprint}\nCLIENT\tROOM\tORDERED\t20\n-7\t3002\ttrue\tfalse\n")
    );
}

#[test]
fn lua_writes_the_vector_of_all_codecs() {
    let dir = with_lua();
    let (value, expected) = VECTOR;
    let script = format!(
        "local bytes = game.encode('game.v1.Mv', {value})
         print(hex(bytes))
         local back = game.decode('game.v1.Mv', unhex('{expected}'))
         print(back.entity, back.x, back.y, back.name, back.jump)"
    );
    assert_eq!(lua(&dir, &script), format!("{expected}\n123456\t1.5\t-2.25\tplayer_one\ttrue\n"));
}

/// Values in Lua, and as protobuf's text format has them.
const VALUES: [(&str, &str); 9] = [
    ("{}", ""),
    (
        "{ b = 1.5, c = -1, d = math.mininteger, e = 4294967295, f = -1, g = -2147483648, h = math.mininteger }",
        "b: 1.5 c: -1 d: -9223372036854775808 e: 4294967295 f: 18446744073709551615 g: -2147483648 \
         h: -9223372036854775808",
    ),
    (
        "{ i = 4294967295, j = -1, k = -5, l = math.mininteger, m = true, n = 'wörld\\0', o = '\\xff\\0', p = -7 }",
        "i: 4294967295 j: 18446744073709551615 k: -5 l: -9223372036854775808 m: true n: \"wörld\\000\" o: \"\\377\\000\" p: ANGRY",
    ),
    ("{ a = 0, b = 0.0, c = 0, n = '', m = false, p = 0 }", ""),
    ("{ a = 1/0, b = -1/0, t = 0 }", "a: inf b: -inf t: 0"),
    (
        "{ q = { depth = -3, again = { q = {} } }, r = { 0, -1, 1, 300, math.maxinteger }, s = { '', 'two' } }",
        "q { depth: -3 again { q {} } } r: [0, -1, 1, 300, 9223372036854775807] s: \"\" s: \"two\"",
    ),
    ("{ left = 0 }", "left: 0"),
    ("{ right = '' }", "right: \"\""),
    (
        "{ u = { 0, -1.25 }, v = { {}, { depth = 1 } }, w = { -7, 0 }, ['end'] = { true, false } }",
        "u: [0, -1.25] v {} v { depth: 1 } w: [ANGRY, CALM] end: [true, false]",
    ),
];

#[test]
fn lua_reads_and_writes_what_another_codec_does() {
    let dir = with_lua();
    let model = tagwire_codegen::read(&[dir.path().join("proto")]).unwrap();
    let pool: DescriptorPool = model.descriptor_pool().unwrap();
    let all = pool.get_message_by_name("game.v1.All").unwrap();
    let mut script = String::new();
    let mut expected = String::new();
    for (value, text) in VALUES {
        let bytes = DynamicMessage::parse_text_format(all.clone(), text).unwrap().encode_to_vec();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        // There, back, and there again; and behind a field that nobody knows.
        script += &format!(
            "print(hex(game.encode('game.v1.All', {value})))
             print(hex(game.encode('game.v1.All', game.decode('game.v1.All', unhex('{hex}')))))
             print(hex(game.encode('game.v1.All', game.decode('game.v1.All', unhex('{hex}' .. 'f87f01' .. 'fa7f026869')))))\n"
        );
        expected += &format!("{hex}\n{hex}\n{hex}\n");
    }
    assert_eq!(lua(&dir, &script), expected);
    // A zero below zero is another number, and is sent.
    let script = "print(hex(game.encode('game.v1.All', { a = -0.0, b = -0.0 })))";
    assert_eq!(lua(&dir, script), "0900000000000000801500000080\n");
    // Of a oneof the last counts, and bytes that end too early are an error, whichever.
    let hex = "a80101b2010161";
    let script = format!(
        "local back = game.decode('game.v1.All', unhex('{hex}')); print(back.left, back.right)
         local whole = unhex('{}')
         for n = 1, #whole - 1 do
           local ok, why = pcall(game.decode, 'game.v1.Mv', whole:sub(1, n))
           assert(ok or type(why) == 'string')
         end
         print(pcall(game.decode, 'game.v1.Mv', '\\x15\\0\\0'))",
        VECTOR.1
    );
    assert_eq!(lua(&dir, &script), "nil\ta\nfalse\tthe message ends within a number\n");
}

#[test]
fn what_the_example_cannot_do_it_refuses() {
    let dir = project();
    write(&dir, "proto/game.proto", &format!("{ALL}message M {{ map<string, int32> all = 1; }}\n"));
    let (code, out, err) = run(&dir, &["gen", "--template", &lua_templates(), "--out", "lua"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(
        err.contains("[schema].lua.jinja:") && err.contains("all is a map, which these templates leave out"),
        "{err}"
    );
    assert!(!exists(&dir, "lua"));
    fs::remove_file(dir.path().join("proto/game.proto")).unwrap();
    write(&dir, "proto/old.proto", OLD);
    let (code, out, err) = run(&dir, &["gen", "--template", &lua_templates(), "--out", "lua"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(
        err.contains("[schema].lua.jinja:") && err.contains("g is a group, which these templates leave out"),
        "{err}"
    );
}

/// What proto2 has alone.
const OLD: &str = "\
syntax = \"proto2\";
package game.old;
message Old {
  repeated int32 plain = 1; repeated int32 packed = 2 [packed = true]; repeated int32 never = 3 [packed = false];
  repeated string texts = 4;
  optional group G = 5 { optional int32 x = 1; }
  repeated group H = 6 { optional int32 x = 1; }
}
";

#[test]
fn the_model_tells_how_lists_and_groups_are_written() {
    let fields = |text: &str| {
        let dir = project();
        write(&dir, "proto/game.proto", text);
        let (code, out, err) = run(&dir, &["gen", "--model"]);
        assert_eq!((code, &*err), (0, ""));
        let model: serde_json::Value = serde_json::from_str(&out).unwrap();
        let fields = model["messages"][0]["fields"].as_array().unwrap().clone();
        fields
            .iter()
            .map(|f| {
                let text = |key: &str| f[key].as_str().unwrap_or_default().to_string();
                (text("name"), text("type"), f["wire"].as_u64().unwrap(), f["packed"].as_bool().unwrap())
            })
            .collect::<Vec<_>>()
    };
    let expected = |all: &[(&str, &str, u64, bool)]| -> Vec<_> {
        all.iter()
            .map(|(name, of, wire, packed)| (name.to_string(), of.to_string(), *wire, *packed))
            .collect()
    };
    assert_eq!(
        fields(OLD),
        expected(&[
            ("plain", "int32", 0, false),
            ("packed", "int32", 2, true),
            ("never", "int32", 0, false),
            ("texts", "string", 2, false),
            ("g", "group", 3, false),
            ("h", "group", 3, false),
        ])
    );
    let new = "syntax = \"proto3\"; package game.v1; message New { repeated int32 plain = 1; \
               repeated float packed = 2 [packed = true]; repeated float never = 3 [packed = false]; repeated New all = 4; }";
    assert_eq!(
        fields(new),
        expected(&[
            ("plain", "int32", 2, true),
            ("packed", "float", 2, true),
            ("never", "float", 5, false),
            ("all", "message", 2, false),
        ])
    );
}

#[test]
fn lua_merges_a_message_that_comes_twice() {
    let dir = with_lua();
    let model = tagwire_codegen::read(&[dir.path().join("proto")]).unwrap();
    let all = model.descriptor_pool().unwrap().get_message_by_name("game.v1.All").unwrap();
    // One field each, so that nothing of the first is said again; and one in a oneof of messages, below.
    let parts = [
        "q { depth: 1 again { n: \"a\" s: \"x\" left: 3 q { depth: 9 } } }",
        "q { again { c: 5 s: \"y\" q { again { t: 1 } } } }",
    ];
    let mut bytes = vec![];
    for part in parts {
        bytes.extend(DynamicMessage::parse_text_format(all.clone(), part).unwrap().encode_to_vec());
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let merged = DynamicMessage::decode(all, bytes.as_slice()).unwrap().encode_to_vec();
    assert_ne!(merged, bytes);
    let script = format!(
        "print(hex(game.encode('game.v1.All', game.decode('game.v1.All', unhex('{}')))))",
        hex(&bytes)
    );
    assert_eq!(lua(&dir, &script), format!("{}\n", hex(&merged)));
}

#[test]
fn lua_merges_within_a_oneof_until_another_member_comes() {
    let dir = project();
    write(
        &dir,
        "proto/game.proto",
        "syntax = \"proto3\"; package game.v1;\n\
         message In { int32 a = 1; int32 b = 2; }\n\
         message M { oneof one { In first = 1; In second = 2; } }\n",
    );
    let (code, _, err) = run(&dir, &["gen", "--template", &lua_templates(), "--out", "lua"]);
    assert_eq!((code, &*err), (0, ""));
    // first { a: 1 } first { b: 2 }; and the same with a second between.
    let script = "\
        local one = game.decode('game.v1.M', unhex('0a0208010a021002')).first
        print(one.a, one.b)
        local back = game.decode('game.v1.M', unhex('0a020801120208050a021002'))
        print(back.first.a, back.first.b, back.second)";
    assert_eq!(lua(&dir, script), "1\t2\n0\t2\tnil\n");
}

#[test]
fn lua_refuses_to_write_what_a_field_cannot_hold() {
    let dir = with_lua();
    for (value, says) in [
        ("{ entty = 1 }", "game.v1.All has no field entty"),
        ("{ 1 }", "game.v1.All has no field 1"),
        ("{ q = { depht = 1 } }", "game.v1.All.Inner has no field depht"),
        ("{ c = 2147483648 }", "c is 2147483648, out of the range of int32"),
        ("{ c = -2147483649 }", "c is -2147483649, out of the range of int32"),
        ("{ e = -1 }", "e is -1, out of the range of uint32"),
        ("{ e = 4294967296 }", "e is 4294967296, out of the range of uint32"),
        ("{ g = 2147483648 }", "g is 2147483648, out of the range of sint32"),
        ("{ i = -1 }", "i is -1, out of the range of fixed32"),
        ("{ k = 2147483648 }", "k is 2147483648, out of the range of sfixed32"),
        ("{ p = 2147483648 }", "p is 2147483648, out of the range of enum"),
        ("{ w = { 0, 2147483648 } }", "w is 2147483648, out of the range of enum"),
        ("{ c = 1.5 }", "c is 1.5, not a whole number"),
        ("{ d = 2.0^63 }", "d is 9.2233720368548e+18, not a whole number"),
        ("{ c = '1' }", "c is 1, not a whole number"),
        ("{ a = '1' }", "a is 1, not a number"),
        ("{ m = 1 }", "m is 1, not true or false"),
        ("{ n = 1 }", "n is 1, not a string"),
        ("{ q = 1 }", "q is 1, not a table"),
        ("{ r = 1 }", "r is 1, not a table"),
    ] {
        let script = format!("print(pcall(game.encode, 'game.v1.All', {value}))");
        assert_eq!(lua(&dir, &script), format!("false\t{says}\n"), "{value}");
    }
    // A float that is whole will do, and so will the least and the most.
    let script = "print(hex(game.encode('game.v1.All', { c = 3.0, e = 4294967295, p = -2147483648 })))";
    assert_eq!(lua(&dir, script), "180328ffffffff0f80018080808 0f8ffffffff01\n".replace(' ', ""));
}

/// A project whose settings name the folder `t` of templates with these files.
fn with_templates(files: &[(&str, &str)]) -> TempDir {
    let dir = project();
    write(&dir, "proto/game.proto", ALL);
    write(
        &dir,
        "proto/other.proto",
        "syntax = \"proto3\";\npackage game.other;\nmessage GetURL {}\nenum Kind { NONE = 0; }\n",
    );
    write(
        &dir,
        "tagwire.toml",
        "[gen]\nname = \"my\"\n[[gen.output]]\ntemplate = \"t\"\nout = \"out\"\noptions = { indent = 2, words = [\"a\"] }\n",
    );
    for (name, text) in files {
        write(&dir, &format!("t/{name}"), text);
    }
    dir
}

fn text(dir: &TempDir, path: &str) -> String {
    fs::read_to_string(dir.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn names_of_files_say_what_is_made() {
    let dir = with_templates(&[
        ("[schema].txt.jinja", "{{ schema.name }} {{ options.indent }} {{ options.words[0] }}\n"),
        ("[package:path]/[message:snake].txt.jinja", "{{ message.full_name }}\n"),
        ("of/[package].txt.jinja", "{% include '_head.jinja' %}{{ package.messages | length }}\n"),
        ("e/[enum].txt.jinja", "{{ enum.values[0].name }}\n"),
        ("_head.jinja", "package {{ package.name }}: "),
        ("runtime.txt", "{{ kept }}\n"),
        ("[service].txt.jinja", "never"),
        ("tagged/[message].txt.jinja", "{% if message.tag %}\n{{ message.tag }}\n{% endif %}"),
        (".hidden", "no"),
    ]);
    let (code, _, err) = run(&dir, &["gen"]);
    assert_eq!((code, &*err), (0, ""));
    assert_eq!(text(&dir, "out/my.txt"), "my 2 a\n");
    assert_eq!(text(&dir, "out/game/v1/mv.txt"), "game.v1.Mv\n");
    assert_eq!(text(&dir, "out/game/v1/all_inner.txt"), "game.v1.All.Inner\n");
    assert_eq!(text(&dir, "out/game/other/get_url.txt"), "game.other.GetURL\n");
    assert_eq!(text(&dir, "out/of/game.other.txt"), "package game.other: 1\n");
    assert_eq!(text(&dir, "out/e/Kind.txt"), "NONE\n");
    assert_eq!(text(&dir, "out/e/All_Mood.txt"), "CALM\n");
    assert_eq!(text(&dir, "out/runtime.txt"), "{{ kept }}\n");
    assert_eq!(text(&dir, "out/tagged/Mv.txt"), "2\n");
    assert!(!exists(&dir, "out/tagged/GetURL.txt"), "nothing to say is no file");
    assert!(!exists(&dir, "out/.hidden") && !exists(&dir, "out/_head.jinja"));
    let (code, out, _) = run(&dir, &["gen", "--check"]);
    assert!(code == 0 && out.starts_with("out: fresh ("), "{out}");
    // A message less is a file less, and a change of a template is a change.
    fs::remove_file(dir.path().join("proto/other.proto")).unwrap();
    write(&dir, "t/[schema].txt.jinja", "new\n");
    let (code, out, _) = run(&dir, &["gen", "--check"]);
    assert_eq!(code, 1);
    for line in
        ["stale: out/my.txt", "superfluous: out/game/other/get_url.txt", "superfluous: out/e/Kind.txt"]
    {
        assert!(out.contains(line), "{out}");
    }
}

#[test]
fn filters() {
    for (template, expected) in [
        ("{{ 'GetURL' | snake }} {{ 'get_url' | camel }} {{ 'get_url' | pascal }}", "get_url getUrl GetUrl"),
        ("{{ 'getUrl' | screaming }} {{ 'getUrl' | kebab }}", "GET_URL get-url"),
        ("{{ 'a\\n\\nb */ c' | comment('// ', indent=2) }}", "  // a\n  //\n  // b * / c"),
        ("{{ '<\"ä\\n' | json }} {{ [1, none, true] | json }}", "\"<\\\"ä\\n\" [1,null,true]"),
        (
            "{{ 'end' | keyword('lua') }} {{ 'end' | keyword('go') }} {{ 'let' | keyword('typescript') }}",
            "end_ end let_",
        ),
        (
            "{{ 'match' | keyword('python') }} {{ 'async' | keyword('csharp') }} {{ 'any' | keyword('typescript') }} \
             {{ 'string' | keyword('typescript') }} {{ 'string' | keyword('javascript') }}",
            "match_ async_ any_ string_ string",
        ),
        ("{{ '<&' }}", "<&"),
        ("{{ find_message('game.v1.Mv').tag }} {{ find_message('no') is undefined }}", "2 True"),
        ("{{ find_enum('game.other.Kind').name }}", "Kind"),
    ] {
        let dir = with_templates(&[("a.html.jinja", template)]);
        let (code, _, err) = run(&dir, &["gen"]);
        assert_eq!((code, &*err), (0, ""), "{template}");
        assert_eq!(text(&dir, "out/a.html"), expected);
    }
}

#[test]
fn what_is_wrong_with_a_template_names_file_and_line() {
    for (files, says) in [
        (&[("a.jinja", "\n{{ schema.nmae }}")][..], "t/a.jinja:2: undefined value"),
        (&[("a.jinja", "\n\n{% for x in %}")], "t/a.jinja:3: syntax error"),
        (&[("a.jinja", "{{ 1 | nofilter }}")], "t/a.jinja:1: "),
        (&[("a.jinja", "{% include '_b.jinja' %}"), ("_b.jinja", "\n{{ lost }}")], "t/_b.jinja:2: "),
        (&[("a.jinja", "{% include '_c.jinja' %}")], "t/a.jinja:1: "),
        (&[("a.jinja", "{{ refuse('not this') }}")], "t/a.jinja:1: invalid operation: not this"),
        (
            &[("a.jinja", "{{ 'x' | keyword('klingon') }}")],
            "t/a.jinja:1: invalid operation: no list of keywords for \"klingon\"; there are c, cpp, csharp, dart, \
             gdscript, go, java, javascript, kotlin, lua, python, rust, swift, typescript\n",
        ),
        (&[("[messag].jinja", "x")], "t/[messag].jinja: its name has [messag]"),
        (&[("[message.jinja", "x")], "t/[message.jinja: its name has a `[` without a `]`"),
        (&[("[message:loud].jinja", "x")], "t/[message:loud].jinja: there is no case `loud`"),
        (
            &[("[message]-[enum].jinja", "x")],
            "t/[message]-[enum].jinja: its name has both [message] and [enum]",
        ),
        (&[("a.jinja", "x"), ("a", "y")], "t/a.jinja: it makes a, which is made already"),
        (&[("notes.md", ""), ("_b.jinja", "")], "t: no template in it"),
        (&[], "t: No such file or directory"),
    ] {
        let dir = with_templates(files);
        for args in [&["gen"][..], &["gen", "--check"]] {
            let (code, out, err) = run(&dir, args);
            assert_eq!((code, &*out), (2, ""), "{files:?}: {err}");
            assert!(err.starts_with(&format!("error: {says}")), "{files:?}: {err}");
        }
        assert!(!exists(&dir, "out"));
    }
}

#[test]
fn a_folder_by_flag_needs_a_place() {
    let dir = with_templates(&[("a.txt.jinja", "{{ options.indent | default('none') }}")]);
    let (code, out, err) = run(&dir, &["gen", "--template", "u"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.starts_with("error: it is not said where to write what u makes\n  fix: "), "{err}");
    // One that the settings know keeps what they say of it.
    assert_eq!(run(&dir, &["gen", "--template", "t", "--out", "else"]).0, 0);
    assert_eq!(text(&dir, "else/a.txt"), "2");
}

#[test]
fn packages_that_share_nothing_need_a_name() {
    let dir = with_templates(&[("a.txt.jinja", "{{ schema.name }}")]);
    let settings = text(&dir, "tagwire.toml").replace("name = \"my\"\n", "");
    write(&dir, "tagwire.toml", &settings);
    write(&dir, "proto/other.proto", "syntax = \"proto3\"; package other.v1; message A {}");
    for args in [&["gen"][..], &["gen", "--model"]] {
        let (code, out, err) = run(&dir, args);
        assert_eq!((code, &*out), (2, ""));
        assert_eq!(
            err,
            "error: the proto packages game.v1, other.v1 do not begin with one name, so the game has none\n  \
             fix: choose one: `--name my_game`, or `name = \"my_game\"` in [gen]\n"
        );
    }
    assert_eq!(run(&dir, &["gen", "--name", "mine"]).0, 0);
    assert_eq!(text(&dir, "out/a.txt"), "mine");
}

#[test]
fn every_field_of_the_model_is_in_the_guide() {
    fn keys(of: &serde_json::Value, into: &mut BTreeSet<String>) {
        match of {
            serde_json::Value::Object(all) => {
                for (key, value) in all {
                    into.insert(key.clone());
                    // Its keys are the names of the rules of buf.validate.
                    if key != "rules" || value.get("from").is_some() {
                        keys(value, into);
                    }
                }
            }
            serde_json::Value::Array(all) => all.iter().for_each(|one| keys(one, into)),
            _ => {}
        }
    }
    let dir = project();
    let more = "import \"buf/validate/validate.proto\";
        message Maps { map<string, All> all = 1 [(buf.validate.field).map = { keys: { string: { min_len: 1 } } }]; repeated int32 n = 2 [(buf.validate.field).repeated.items.int32.gt = 3]; }
        message Ask { option (tagwire.v1.rules) = { tag: 3000, from: CLIENT };
          option (buf.validate.message).oneof = { fields: [\"a\", \"b\"], required: true }; optional int32 a = 1; optional int32 b = 2; }
        service Lobby { rpc Do(Ask) returns (Mv); }\n";
    write(&dir, "proto/game.proto", &format!("{ALL}{more}"));
    let (code, out, err) = run(&dir, &["gen", "--model"]);
    assert_eq!((code, &*err), (0, ""));
    let model: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(model["services"][0]["methods"][0]["tag"], 3000);
    assert_eq!(model["messages"][3]["fields"][0]["value"]["type_name"], "game.v1.All");
    let mut found = BTreeSet::new();
    keys(&model, &mut found);
    assert!(found.len() > 40, "{found:?}");
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/templates.md");
    let guide = fs::read_to_string(guide).unwrap();
    let missing: Vec<_> = found.iter().filter(|key| !guide.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in the guide: {missing:?}");
    // And each table has what its thing has, neither less nor more.
    for (title, thing) in [
        ("**`schema`**", &model),
        ("**A message**", &model["messages"][0]),
        ("**A field**", &model["messages"][0]["fields"][0]),
    ] {
        let table = guide.split_once(title).unwrap().1.trim_start().split("\n\n").next().unwrap();
        let firsts = table.lines().skip(2).filter_map(|line| line.split('|').nth(1));
        let told: BTreeSet<&str> = firsts.flat_map(|first| first.split('`').skip(1).step_by(2)).collect();
        let there: BTreeSet<&str> = thing.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(told, there, "{title}");
    }
}

#[test]
fn what_is_made_is_not_made_into_what_it_is_made_of() {
    let dir = with_templates(&[("a.txt.jinja", "1"), ("sub/b.txt", "2")]);
    for out in ["t", "t/out", "./t/../t/out"] {
        let (code, said, err) = run(&dir, &["gen", "--template", "t", "--out", out]);
        assert_eq!((code, &*said), (2, ""), "{out}");
        assert!(
            err.contains(" is in t, the folder of templates, and the next run would read it\n  fix: "),
            "{err}"
        );
        assert!(!exists(&dir, "t/out") && !exists(&dir, "t/a.txt"));
    }
    // Another template's, too; a folder around it is fine.
    write(&dir, "u/c.txt.jinja", "3");
    let outputs = |out: &str| {
        format!(
            "[[gen.output]]\ntemplate = \"t\"\nout = \"o\"\n[[gen.output]]\ntemplate = \"u\"\nout = \"{out}\"\n"
        )
    };
    write(&dir, "tagwire.toml", &outputs("t/u"));
    let (code, _, err) = run(&dir, &["gen"]);
    assert!(code == 2 && err.starts_with("error: t/u/c.txt: it is in t, the folder of templates"), "{err}");
    write(&dir, "tagwire.toml", &outputs("."));
    assert_eq!(run(&dir, &["gen"]).0, 0);
    // And nothing is made that the schema would be read from.
    write(&dir, "u/c.proto.jinja", "3");
    let (code, _, err) = run(&dir, &["gen", "--template", "u", "--out", "proto/gen"]);
    assert!(
        code == 2 && err.starts_with("error: proto/gen/c.proto: it is in proto, the folder of the schema"),
        "{err}"
    );
    fs::remove_file(dir.path().join("u/c.proto.jinja")).unwrap();
    assert_eq!(run(&dir, &["gen", "--template", "u", "--out", "proto/gen"]).0, 0);
}

#[test]
fn what_is_copied_may_be_any_bytes() {
    let dir = with_templates(&[("a.txt.jinja", "1")]);
    let logo = b"\x89PNG\r\n\x1a\n\x00\xff";
    fs::write(dir.path().join("t/logo.png"), logo).unwrap();
    for fresh in [false, true] {
        let (code, out, err) = run(&dir, &["gen", "--template", "t", "--out", "out"]);
        assert_eq!((code, &*err, out.contains("out: 0 written")), (0, "", fresh), "{out}");
        assert_eq!(fs::read(dir.path().join("out/logo.png")).unwrap(), logo);
    }
    // Line ends in it are not line ends.
    fs::write(dir.path().join("t/logo.png"), b"\x89PNG\n\x1a\n\x00\xff").unwrap();
    let (_, out, _) = run(&dir, &["gen", "--template", "t", "--out", "out"]);
    assert!(out.starts_with("out: 1 written"), "{out}");
    // A template is a text.
    fs::write(dir.path().join("t/a.txt.jinja"), b"\xff").unwrap();
    let (code, _, err) = run(&dir, &["gen", "--template", "t", "--out", "out"]);
    assert!(code == 2 && err.starts_with("error: t/a.txt.jinja:1: a template is a text in UTF-8"), "{err}");
}
