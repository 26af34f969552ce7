//! The Rust printer: what it prints of a schema full of hard names and shapes, and what it refuses.
//! That the code compiles is tested by `rust_compiles.rs`, which includes it.
#![allow(clippy::unwrap_used, reason = "tests")]

use tagwire_codegen::model::Origin;
use tagwire_codegen::rust::print;

mod common;

use common::{game, read};

#[test]
fn the_hard_schema_is_printed_as_before() {
    let model = tagwire_codegen::read(&["tests/golden/nasty"]).unwrap();
    common::golden("nasty.rs", &print(&model, Origin::Game).unwrap());
}

#[test]
fn a_schema_with_a_service_is_printed_as_before() {
    let model = tagwire_codegen::read(&["tests/golden/lobby"]).unwrap();
    common::golden("lobby.rs", &print(&model, Origin::Game).unwrap());
}

#[test]
fn a_schema_with_services_of_rooms_is_printed_as_before() {
    let model = tagwire_codegen::read(&["tests/golden/table"]).unwrap();
    common::golden("table.rs", &print(&model, Origin::Game).unwrap());
}

#[test]
fn the_schema_of_the_arena_is_printed_as_before() {
    let model = tagwire_codegen::read(&["../examples/arena/proto"]).unwrap();
    common::golden("coins.rs", &print(&model, Origin::Game).unwrap());
}

#[test]
fn a_message_called_like_the_type_of_a_service_is_refused() {
    let body = "message Ask { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; }\nmessage Answer {}\n\
                service Lobby { rpc Tell(Ask) returns (Answer); }\nmessage LobbyServer {}";
    let error = print(&read(&[("game.proto", &game(body))]).unwrap(), Origin::Game).unwrap_err().to_string();
    assert!(error.contains("game.proto:7: message game.v1.LobbyServer has the name"), "{error}");
    assert!(error.contains("fix: rename the message"), "{error}");
}

#[test]
fn names_that_tagwire_adds_are_taken() {
    for name in ["FromClient", "FromServer"] {
        let model = read(&[("game.proto", &game(&format!("\nmessage {name} {{}}")))]).unwrap();
        let error = print(&model, Origin::Game).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!(
                "game.proto:5: message game.v1.{name} has the name of the enum that tagwire adds to its package\n  \
                 fix: rename the message"
            )),
            "{error}"
        );
    }
    let nested = "message Outer { message FromClient {} }";
    print(&read(&[("game.proto", &game(nested))]).unwrap(), Origin::Game).unwrap();
}

#[test]
fn an_inner_package_tagwire_is_the_games() {
    let text = "syntax = \"proto3\";\npackage foo.tagwire.v1;\nimport \"tagwire/v1/options.proto\";\n\
                message Poke { option (.tagwire.v1.rules) = { tag: 2, from: CLIENT, to: ROOM }; }\n";
    let code = print(&read(&[("foo.proto", text)]).unwrap(), Origin::Game).unwrap();
    assert!(code.contains("::tagwire::MessageInfo::push::<foo::tagwire::v1::Poke>()"), "{code}");
}

#[test]
fn a_schema_with_constraints_is_printed_as_before() {
    let model = tagwire_codegen::read(&["tests/golden/valid"]).unwrap_or_else(|error| panic!("{error}"));
    common::golden("valid.rs", &print(&model, Origin::Game).unwrap());
}
