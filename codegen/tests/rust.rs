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
fn a_message_may_hold_nothing_but_types_of_others() {
    let text = "syntax = \"proto3\";\npackage game.v1;\nimport \"google/protobuf/timestamp.proto\";\n\
                import \"tagwire/v1/room.proto\";\nmessage At { google.protobuf.Timestamp at = 1; }\n\
                message Who { tagwire.v1.Member who = 1; }\n";
    let code = print(&read(&[("game.proto", text)]).unwrap(), Origin::Game).unwrap();
    assert!(code.contains("pub at: ::core::option::Option<::tagwire::prost_types::Timestamp>"), "{code}");
    assert!(code.contains("pub who: ::core::option::Option<::tagwire::pb::tagwire::v1::Member>"), "{code}");
    assert!(
        !code.contains("pub mod google") && !code.contains("pub struct Member"),
        "theirs are not printed: {code}"
    );
}

#[test]
fn a_map_of_enums_may_be_called_by_a_keyword() {
    let body = "enum K { ZERO = 0; }\nmessage A { map<string, K> type = 1; map<string, K> kind = 2; repeated K enum = 3; }";
    let code = print(&read(&[("game.proto", &game(body))]).unwrap(), Origin::Game).unwrap();
    assert!(code.contains("map = \"string, int32\", tag = \"1\""), "{code}");
    assert!(code.contains("map = \"string, enumeration(K)\", tag = \"2\""), "{code}");
}

#[test]
fn comments_do_not_turn_the_direction_of_code() {
    let body = "// before \u{202e} after \u{2069}\nmessage A {}";
    let code = print(&read(&[("game.proto", &game(body))]).unwrap(), Origin::Game).unwrap();
    assert!(code.contains(r"/// before \u{202e} after \u{2069}"), "{code}");
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
