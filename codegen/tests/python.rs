//! The Python printer: what it prints of a schema full of hard names and shapes, and what it refuses.
//! That the files load and type-check is tested by `scripts/test schema`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tagwire_codegen::model::Origin;
use tagwire_codegen::python::{Package, print};

mod common;

use common::{game, read_any_names};

#[test]
fn the_hard_schema_is_printed_as_before() {
    is_printed_as_before("nasty");
}

#[test]
fn the_hard_services_are_printed_as_before() {
    is_printed_as_before("hall");
}

fn is_printed_as_before(schema: &str) {
    let model = tagwire_codegen::read(&[format!("tests/golden/{schema}")]).unwrap();
    let package = print(&model, Origin::Game, None).unwrap();
    assert_eq!(package.name, schema);
    // All files are compared before the first difference fails the test.
    let mut changed = vec![];
    for (name, text) in &package.files {
        if !common::is_golden(&format!("python/{schema}/{name}"), text) {
            changed.push(name);
        }
    }
    assert!(changed.is_empty(), "rewritten in codegen/tests/golden/python, see `git diff`: {changed:?}");
    let printed: BTreeSet<_> = package.files.keys().map(PathBuf::from).collect();
    let there = files(&Path::new("tests/golden/python").join(schema));
    assert_eq!(there, printed, "files that are printed no more are to be removed");
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    fn walk(root: &Path, dir: &Path, into: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                into.insert(path.strip_prefix(root).unwrap().to_path_buf());
            } else if !path.ends_with("__pycache__") {
                walk(root, &path, into);
            }
        }
    }
    let mut all = BTreeSet::new();
    walk(folder, folder, &mut all);
    all
}

#[test]
fn every_file_says_that_it_is_generated() {
    let game = |schema| tagwire_codegen::read(&[format!("tests/golden/{schema}")]).unwrap();
    let stack = tagwire_codegen::load::load_stack().unwrap();
    for package in [
        print(&game("nasty"), Origin::Game, None).unwrap(),
        print(&game("hall"), Origin::Game, None).unwrap(),
        print(&stack, Origin::Stack, None).unwrap(),
    ] {
        for (name, text) in &package.files {
            assert!(common::says_generated(text, "#"), "{name}");
            assert!(text.ends_with('\n') && !text.contains(" \n"), "{name} has blanks at line ends");
        }
    }
}

#[test]
fn the_same_schema_is_printed_the_same() {
    let one = tagwire_codegen::read(&["tests/golden/nasty"]).unwrap();
    let other = tagwire_codegen::read(&["tests/golden/nasty"]).unwrap();
    assert_eq!(print(&one, Origin::Game, None).unwrap(), print(&other, Origin::Game, None).unwrap());
}

/// The package printed of one file `game.proto`, or the error.
fn printed(files: &[(&str, &str)], name: Option<&str>) -> Result<Package, String> {
    print(&read_any_names(files).unwrap(), Origin::Game, name).map_err(|e| e.to_string())
}

fn file(package: &str, body: &str) -> String {
    format!("syntax = \"proto3\";\npackage {package};\n{body}\n")
}

#[test]
fn the_name_is_the_first_part_that_packages_share() {
    let two =
        [("a.proto", &*file("game.v1", "message A {}")), ("b.proto", &*file("game.common", "message B {}"))];
    let package = printed(&two, None).unwrap();
    assert_eq!(package.name, "game");
    let names: Vec<_> = package.files.keys().map(String::as_str).filter(|n| n.ends_with(".py")).collect();
    assert_eq!(names, ["__init__.py", "_schema.py", "common/__init__.py", "v1/__init__.py"]);
}

#[test]
fn packages_that_share_nothing_need_a_name() {
    let two =
        [("a.proto", &*file("arena.v1", "message A {}")), ("b.proto", &*file("common.geo", "message B {}"))];
    assert_eq!(
        printed(&two, None).unwrap_err(),
        "the proto packages arena.v1, common.geo do not begin with one name, so the Python package has none\n  \
         fix: choose one: `--name my_game`, or `name = \"my_game\"` in [gen]"
    );
    let package = printed(&two, Some("mine")).unwrap();
    assert!(package.files.contains_key("arena/v1/__init__.py"));
    assert!(package.files.contains_key("common/geo/__init__.py"));
    assert!(package.files["_schema.py"].contains("    name=\"mine\",\n"));

    let none = [("a.proto", "syntax = \"proto3\";\nmessage A {}\n")];
    assert!(printed(&none, None).unwrap_err().starts_with("the proto packages (none) do not begin"));
    let package = printed(&none, Some("mine")).unwrap();
    assert!(package.files["__init__.py"].contains("A = _SCHEMA.message(\"A\")\n"));
}

#[test]
fn names_that_python_cannot_have() {
    let one = [("a.proto", &*file("game", "message A {}"))];
    for (name, what) in [
        ("", "\"\" cannot be a Python package's name"),
        ("my-game", "\"my-game\" cannot be a Python package's name"),
        ("my.game", "\"my.game\" cannot be a Python package's name"),
        ("2d", "\"2d\" cannot be a Python package's name"),
        ("../up", "\"../up\" cannot be a Python package's name"),
        ("class", "\"class\" cannot be a Python package's name"),
        ("tagwire", "a Python package \"tagwire\" would hide the one that the stubs import"),
        ("google", "a Python package \"google\" would hide the one that the stubs import"),
    ] {
        let expected = format!("{what}\n  fix: choose another: `--name my_game`");
        assert_eq!(printed(&one, Some(name)).unwrap_err(), expected);
    }
    assert!(printed(&[("a.proto", &file("class.v1", "message A {}"))], None).is_err());
}

#[test]
fn names_that_would_lie_upon_each_other() {
    let twice = [("a.proto", &*file("game.geo", "message A {}")), ("b.proto", &*file("geo", "message B {}"))];
    assert_eq!(
        printed(&twice, Some("game")).unwrap_err(),
        "the proto packages \"game.geo\" and \"geo\" would both be the Python module game.geo\n  \
         fix: choose another name for the Python package: `--name my_game`"
    );
    let message =
        [("a.proto", &*file("game", "message geo {}")), ("b.proto", &*file("geo.v1", "message B {}"))];
    assert_eq!(
        printed(&message, Some("game")).unwrap_err(),
        "game.geo and a proto package would both be game.geo in Python\n  \
         fix: choose another name for the Python package: `--name my_game`"
    );
    let ours = [("a.proto", &*file("game._schema", "message A {}"))];
    assert!(
        printed(&ours, None)
            .unwrap_err()
            .starts_with("the proto package game._schema has the name of a file")
    );
}

#[test]
fn keywords_get_an_underscore_that_is_free() {
    let body = "message None {}\nmessage None_ {}\nmessage del { import it = 1; message import {} }\n";
    let package = printed(&[("a.proto", &file("game.import.v1", body))], None).unwrap();
    let module = &package.files["import_/v1/__init__.py"];
    assert!(module.contains("\nNone__ = _SCHEMA.message(\"game.import.v1.None\")\n"), "{module}");
    assert!(module.contains("\nNone_ = _SCHEMA.message(\"game.import.v1.None_\")\n"), "{module}");
    assert!(module.contains("\ndel_ = _SCHEMA.message(\"game.import.v1.del\")\n"), "{module}");
}

#[test]
fn keywords_without_a_package() {
    let text = "syntax = \"proto3\";\nmessage None {}\nmessage None_ {}\n";
    let package = printed(&[("a.proto", text)], Some("mine")).unwrap();
    assert!(package.files["__init__.py"].contains("\nNone__ = _SCHEMA.message(\"None\")\n"));
}

#[test]
fn names_of_two_packages_are_not_repeated_in_the_root() {
    let two = [
        ("a.proto", &*file("game.v1", "message Move {}\nmessage Old {}")),
        ("b.proto", &*file("game.v2", "message Move {}\nmessage New {}")),
    ];
    let package = printed(&two, None).unwrap();
    assert!(
        package.files["__init__.py"].contains("__all__ = [\"New\", \"Old\", \"SCHEMA\", \"v1\", \"v2\"]\n")
    );
}

#[test]
fn an_inner_package_tagwire_is_the_games() {
    let text = "syntax = \"proto3\";\npackage foo.tagwire.v1;\nimport \"tagwire/v1/options.proto\";\n\
                import \"tagwire/v1/room.proto\";\n\
                message Poke {\n  option (.tagwire.v1.rules) = { tag: 2, from: CLIENT, to: ROOM };\n  \
                Member mine = 1;\n  .tagwire.v1.Member theirs = 2;\n}\nmessage Member {}\n";
    let package = printed(&[("foo.proto", text)], None).unwrap();
    assert_eq!(package.name, "foo");
    assert!(
        package.files["_schema.py"].contains("Rules(tag=2, name=\"foo.tagwire.v1.Poke\", sender=\"CLIENT\"")
    );
    let stub = &package.files["tagwire/v1/__init__.pyi"];
    assert!(stub.contains("from tagwire.gen import v1 as _tagwire_v1\n"), "{stub}");
    assert!(stub.contains("def mine(self) -> Member: ...\n"), "{stub}");
    assert!(stub.contains("def theirs(self) -> _tagwire_v1.Member: ...\n"), "{stub}");
}

#[test]
fn rules_of_a_request_say_so() {
    let body = "message Ask { option (tagwire.v1.rules) = { tag: 300, from: CLIENT, max_rate: \"3/s\" }; }\n\
                message Answer {}\nservice Oracle { rpc Tell(Ask) returns (Answer); }\n";
    let package = printed(&[("game.proto", &game(body))], None).unwrap();
    assert!(package.files["_schema.py"].contains(
        "Rules(tag=300, name=\"game.v1.Ask\", sender=\"CLIENT\", target=\"HANDLER\", access=\"PLAYER\", \
         delivery=\"ORDERED\", max_bytes=0, max_rate=3, request=True),\n"
    ));
}

#[test]
fn a_schema_without_tags_has_no_rules() {
    let package = printed(&[("a.proto", &file("game", "message A {}"))], None).unwrap();
    assert!(package.files["_schema.py"].contains("    rules=(),\n"));
}

#[test]
fn methods_that_would_have_one_name_are_refused() {
    let body = "message A { option (tagwire.v1.rules) = { tag: 300, from: CLIENT }; }\n\
                message B { option (tagwire.v1.rules) = { tag: 301, from: CLIENT }; }\n\
                service Oracle { rpc GetURL(A) returns (A); rpc GetUrl(B) returns (B); }\n";
    assert_eq!(
        printed(&[("game.proto", &game(body))], None).unwrap_err(),
        "the methods GetURL and GetUrl of game.v1.Oracle would both be get_url in Python\n  \
         fix: rename one of them"
    );
}

#[test]
fn a_message_gives_way_to_a_service() {
    let body = "message None { option (tagwire.v1.rules) = { tag: 300, from: CLIENT }; }\n\
                service None_ { rpc Ask(None) returns (None); }\n";
    let package = printed(&[("game.proto", &game(body))], None).unwrap();
    let module = &package.files["v1/__init__.py"];
    assert!(module.contains("\nNone__ = _SCHEMA.message(\"game.v1.None\")\n"), "{module}");
    assert!(module.contains("\nclass None_(_service.Service):\n"), "{module}");
}

#[test]
fn a_service_with_the_name_of_a_package_is_refused() {
    let ask = "message A { option (tagwire.v1.rules) = { tag: 300, from: CLIENT }; }";
    let text = format!(
        "syntax = \"proto3\";\npackage game;\nimport \"tagwire/v1/options.proto\";\n{ask}\n\
         service geo {{ rpc Ask(A) returns (A); }}\n"
    );
    let two = [("a.proto", &*text), ("b.proto", &*file("geo.v1", "message B {}"))];
    assert!(
        printed(&two, Some("game"))
            .unwrap_err()
            .starts_with("game.geo and a proto package would both be game.geo in Python\n")
    );
}

#[test]
fn a_schema_with_constraints_is_printed_as_before() {
    is_printed_as_before("valid");
}
