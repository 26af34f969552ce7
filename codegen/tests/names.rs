//! Names that are different in a schema and would be the same in a language are refused, by name, file and line.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{game, read};

/// All that is found in a file whose body begins in line 4.
fn found(body: &str) -> String {
    match read(&[("game.proto", &game(body))]) {
        Ok(_) => String::new(),
        Err(found) => found,
    }
}

#[track_caller]
fn refused(body: &str, what: &str) {
    let found = found(body);
    assert_eq!(found.matches("\n  fix: ").count(), 1, "one finding, not: {found:?}");
    assert!(found.starts_with(what), "{found}\nnot: {what}");
}

#[test]
fn types_of_one_module() {
    refused(
        "message getUrl { message A {} }\nmessage get_URL { message B {} }",
        "game.proto:5: message game.v1.get_URL and message game.v1.getUrl (game.proto:4)",
    );
    refused(
        "message foo_bar {}\nmessage FooBar {}",
        "game.proto:5: message game.v1.FooBar and message game.v1.foo_bar (game.proto:4) would both be the type in \
         Rust `FooBar`\n  fix: rename one of them",
    );
    refused(
        "message Self {}\nenum self { ZERO = 0; }",
        "game.proto:5: enum game.v1.self and message game.v1.Self",
    );
    refused(
        "message Outer {\n  message URL {}\n  message Url {}\n}",
        "game.proto:6: message game.v1.Outer.Url and message game.v1.Outer.URL",
    );
    refused(
        "message Ask { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; }\nmessage lobby {}\n\
         service Lobby { rpc Do(Ask) returns (lobby); }",
        "game.proto:6: service game.v1.Lobby and message game.v1.lobby (game.proto:5)",
    );
}

#[test]
fn a_package_and_what_is_within_a_message() {
    let one = "syntax = \"proto3\";\npackage game;\nmessage Inner { message A {} }\n";
    let two = "syntax = \"proto3\";\n\npackage game.inner;\nmessage B {}\n";
    assert_eq!(
        read(&[("a.proto", one), ("b.proto", two)]).unwrap_err(),
        "b.proto:3: package game.inner and what is within message game.Inner (a.proto:3) would both be the module in \
         Rust `inner`\n  fix: rename one of them"
    );
    // A message with nothing inside has no module.
    let plain = one.replace("{ message A {} }", "{}");
    read(&[("a.proto", &plain), ("b.proto", two)]).unwrap();
}

#[test]
fn two_packages() {
    let one = "syntax = \"proto3\";\npackage game.fooBar;\nmessage A {}\n";
    let two = "syntax = \"proto3\";\npackage game.foo_bar;\nmessage B {}\n";
    let found = read(&[("a.proto", one), ("b.proto", two)]).unwrap_err();
    assert!(
        found.contains("b.proto:2: package game.foo_bar and package game.fooBar (a.proto:2) would"),
        "{found}"
    );
    read(&[("a.proto", one), ("b.proto", &one.replace('A', "B"))]).unwrap();
}

#[test]
fn fields_and_oneofs() {
    refused(
        "message A {\n  oneof FooBar { int32 x = 1; }\n  int32 foo_bar = 2;\n}",
        "game.proto:6: field game.v1.A.foo_bar and oneof game.v1.A.FooBar (game.proto:5) would both be the field in \
         Rust `foo_bar`",
    );
    refused(
        "message A {\n  oneof x_1 { int32 x = 1; }\n  int32 x1 = 2;\n}",
        "game.proto:6: field game.v1.A.x1 and oneof game.v1.A.x_1 (game.proto:5) would both be the property in \
         TypeScript `x1`",
    );
    // In proto3 the compiler refuses such fields itself.
    let old = "syntax = \"proto2\";\npackage old;\nmessage A {\n  oneof some {\n    int32 self = 1;\n    int32 Self = 2;\n  }\n}";
    assert_eq!(
        read(&[("old.proto", old)]).unwrap_err(),
        "old.proto:6: field old.A.Self and field old.A.self (old.proto:5) would both be the variant in Rust `Self_`\n  \
         fix: rename one of them"
    );
    refused(
        "message A {\n  oneof Some { int32 x = 1; }\n  message some {}\n  enum SomeOneOf { ZERO = 0; }\n}",
        "game.proto:5: oneof game.v1.A.Some and enum game.v1.A.SomeOneOf (game.proto:7) would both be the type in Rust \
         `SomeOneOf`",
    );
}

#[test]
fn methods_that_prost_derives() {
    refused(
        "enum K { ZERO = 0; }\nmessage A {\n  K x = 1;\n  K set_x = 2;\n}",
        "game.proto:7: field game.v1.A.set_x and field game.v1.A.x (game.proto:6) would both be the method in Rust \
         `set_x`",
    );
    refused(
        "enum K { ZERO = 0; }\nmessage A {\n  map<int32, K> x = 1;\n  optional int32 get_x = 2;\n}",
        "game.proto:7: field game.v1.A.get_x and field game.v1.A.x (game.proto:6) would both be the method in Rust \
         `get_x`",
    );
    refused(
        "enum K { ZERO = 0; }\nmessage A {\n  repeated K x = 1;\n  repeated K push_x = 2;\n}",
        "game.proto:7: field game.v1.A.push_x",
    );
    let plain = "enum K { ZERO = 0; }\nmessage A {\n  K x = 1;\n  int32 set_x = 2;\n  map<int32, K> type = 3;\n  K get_type = 4;\n}";
    assert_eq!(found(plain), "");
}

#[test]
fn values_of_an_enum() {
    refused(
        "enum Way {\n  WAY_NONE = 0;\n  None = 1;\n}",
        "game.proto:6: value game.v1.Way.None and value game.v1.Way.WAY_NONE (game.proto:5) would both be the variant \
         in Rust `None`",
    );
    refused(
        "enum Way {\n  option allow_alias = true;\n  WAY_ON = 0;\n  way_ON = 0;\n}",
        "game.proto:7: value game.v1.Way.way_ON and value game.v1.Way.WAY_ON (game.proto:6) would both be the value in \
         TypeScript `ON`",
    );
    // Of two names of one number Rust has the first.
    assert_eq!(found("enum Way {\n  option allow_alias = true;\n  WAY_NONE = 0;\n  None = 0;\n}"), "");
}

#[test]
fn methods_of_a_service() {
    let asks = "message A { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; }\n\
                message B { option (tagwire.v1.rules) = { tag: 4, from: CLIENT }; }\n";
    refused(
        &format!("{asks}service S {{\n  rpc GetURL(A) returns (A);\n  rpc get_url(B) returns (A);\n}}"),
        "game.proto:8: method game.v1.S.get_url and method game.v1.S.GetURL (game.proto:7) would both be the method in \
         Rust `get_url`",
    );
}

#[test]
fn names_that_tagwire_adds_are_taken() {
    refused(
        "\nmessage FromClient {}",
        "game.proto:5: message game.v1.FromClient and the enum that tagwire adds to game.v1 for what clients push would \
         both be the type in Rust `FromClient`\n  fix: rename one of them",
    );
    refused("enum from_server { ZERO = 0; }", "game.proto:4: enum game.v1.from_server and the enum that");
    let ask = "message Ask { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; }\n";
    refused(
        &format!("{ask}service Lobby {{ rpc Tell(Ask) returns (Ask); }}\nmessage LobbyServer {{}}"),
        "game.proto:5: what tagwire adds for the service game.v1.Lobby and message game.v1.LobbyServer (game.proto:6)",
    );
    refused(
        &format!("{ask}service From {{ rpc Tell(Ask) returns (Ask); }}"),
        "game.proto:5: what tagwire adds for the service game.v1.From and the enum that tagwire adds to game.v1",
    );
    assert_eq!(found("message Outer { message FromClient {} }"), "");
}

#[test]
fn variants_of_the_sets() {
    let rules = |tag: u32, from: &str| format!("option (tagwire.v1.rules) = {{ tag: {tag}, from: {from} }};");
    let two = |from: &str| {
        format!(
            "message A {{ message Bc {{ {} }} }}\nmessage ABc {{ {} }}",
            rules(2, "CLIENT"),
            rules(4, from)
        )
    };
    refused(
        &two("CLIENT"),
        "game.proto:5: message game.v1.ABc and message game.v1.A.Bc (game.proto:4) would both be the variant of \
         FromClient in Rust `ABc`",
    );
    assert_eq!(found(&two("SERVER")), "");
}

#[test]
fn nothing_is_left_of_bars() {
    refused(
        "message A {\n  int32 _ = 1;\n}",
        "game.proto:5: field game.v1.A._ has a name of bars alone, of which nothing is left in Rust\n  fix: give it a \
         name with a letter",
    );
    refused("message __ {}", "game.proto:4: message game.v1.__ has a name of bars alone");
}

#[test]
fn fields_that_every_object_has() {
    refused(
        "message A {\n  A has_own_property = 1;\n  A toString = 2;\n}",
        "game.proto:5: field game.v1.A.has_own_property would be the property `hasOwnProperty` in TypeScript, which every \
         object has: it would never be unset\n  fix: rename it",
    );
    refused(
        "message A {\n  oneof isPrototypeOf { int32 x = 1; }\n}",
        "game.proto:5: oneof game.v1.A.isPrototypeOf",
    );
    // Of a oneof's members a message has none itself.
    assert_eq!(found("message A { oneof x { int32 hasOwnProperty = 1; } }"), "");
}

#[test]
fn entries_of_maps_need_a_name() {
    refused(
        "message A {\n  map<int32, int32> _1 = 1;\n  repeated int32 _2 = 2;\n}",
        "game.proto:5: field game.v1.A._1 is a map, whose entries would be the message `1Entry`; Python's library refuses \
         the name\n  fix: begin the field's name with a letter",
    );
}

#[test]
fn the_same_name_in_different_places_is_fine() {
    let body = "message Foo {\n  message Foo { int32 foo = 1; }\n  enum Bar { FOO = 0; }\n  Foo foo = 1;\n  Bar bar = 2;\n  \
                oneof Baz { int32 a = 3; }\n  optional int32 set_foo = 4;\n}\nmessage foo_2 {}\nmessage _1 {}\nmessage _2 { int32 _3 = 1; }";
    assert_eq!(found(body), "");
}
