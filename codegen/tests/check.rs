//! Each mistake in a schema is refused with its place, what it would break, and the fix.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

mod common;

use common::{bare, folder, game, read};
use tagwire_codegen::model::Origin;

/// The errors of a schema in the one file `game.proto`.
fn errors(body: &str) -> String {
    read(&[("game.proto", &game(body))]).map(drop).expect_err("the schema is wrong")
}

/// Errors of a message `A` with these rules; they stand in line 5.
fn rule_errors(rules: &str) -> String {
    errors(&format!("message A {{\n  option (tagwire.v1.rules) = {{ {rules} }};\n}}\n"))
}

#[track_caller]
fn assert_finding(errors: &str, place: &str, what: &str, fix: &str) {
    let expected = format!("{place}: {what}\n  fix: {fix}");
    assert!(errors.contains(&expected), "expected\n{expected}\nin\n{errors}");
}

#[test]
fn a_good_schema_passes() {
    read(&[("game.proto", &game("message A { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; }"))])
        .unwrap();
    read(&[("game.proto", &game("message PartOfOthers { int32 x = 1; }"))]).unwrap();
}

#[test]
fn the_schema_of_the_example_passes() {
    tagwire_codegen::read(&["../proto"]).unwrap();
}

#[test]
fn every_finding_is_told_in_the_order_of_the_files() {
    let all = errors(
        "message A { option (tagwire.v1.rules) = { tag: 1, from: CLIENT }; }\n\
         message B { option (tagwire.v1.rules) = { tag: 4 }; }\n\
         message C { option (tagwire.v1.rules) = { tag: 4, from: SERVER }; }\n",
    );
    let places: Vec<_> = all.lines().filter(|l| !l.starts_with("  fix")).map(|l| &l[..12]).collect();
    assert_eq!(places, ["game.proto:4", "game.proto:5", "game.proto:6"], "{all}");
}

#[test]
fn a_missing_tag() {
    assert_finding(
        &rule_errors("from: CLIENT"),
        "game.proto:5",
        "game.v1.A has rules but no tag; it has no number to travel under",
        "add `tag: 2`, which is free; or remove the rules if it is only part of others",
    );
}

#[test]
fn a_doubled_tag() {
    let body = "message A { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; }\n\
                message B { option (tagwire.v1.rules) = { tag: 2, from: SERVER }; }\n";
    assert_finding(
        &errors(body),
        "game.proto:5",
        "game.v1.B has tag 2, which game.v1.A has too (game.proto:4); a receiver could not tell them apart",
        "give one of them `tag: 4`, which is free",
    );
}

#[test]
fn a_doubled_tag_in_another_file() {
    let a = game("message A { option (tagwire.v1.rules) = { tag: 7, from: CLIENT }; }\n");
    let b = game("\n\nmessage B { option (tagwire.v1.rules) = { tag: 7, from: CLIENT }; }\n");
    let errors = read(&[("a.proto", &a), ("deep/b.proto", &b)]).map(drop).unwrap_err();
    assert_finding(
        &errors,
        "deep/b.proto:6",
        "game.v1.B has tag 7, which game.v1.A has too (a.proto:4); a receiver could not tell them apart",
        "give one of them `tag: 2`, which is free",
    );
}

#[test]
fn reserved_tags() {
    for tag in [1, 3, 240, 255, 65280, 65535] {
        assert_finding(
            &rule_errors(&format!("tag: {tag}, from: CLIENT")),
            "game.proto:5",
            &format!("game.v1.A has tag {tag}, which belongs to tagwire itself"),
            "use 2, 4 to 239 or 256 to 65279: `tag: 2` is free",
        );
    }
    for tag in [2, 4, 239, 256, 65279] {
        let body = format!("message A {{ option (tagwire.v1.rules) = {{ tag: {tag}, from: CLIENT }}; }}");
        read(&[("game.proto", &game(&body))]).unwrap();
    }
}

#[test]
fn tag_0_is_none() {
    assert_finding(
        &rule_errors("tag: 0, from: CLIENT"),
        "game.proto:5",
        "game.v1.A has rules but no tag; it has no number to travel under",
        "add `tag: 2`, which is free; or remove the rules if it is only part of others",
    );
}

#[test]
fn a_tag_that_is_too_large() {
    for tag in [65536, u32::MAX] {
        assert_finding(
            &rule_errors(&format!("tag: {tag}, from: CLIENT")),
            "game.proto:5",
            &format!("game.v1.A has tag {tag}; the wire has 16 bits for it"),
            "use 2, 4 to 239 or 256 to 65279: `tag: 2` is free",
        );
    }
    let errors = rule_errors("tag: 4294967296, from: CLIENT");
    assert!(errors.starts_with("game.proto:5:"), "{errors}");
}

#[test]
fn a_missing_sender() {
    for rules in ["tag: 2", "tag: 2, from: UNSPECIFIED"] {
        assert_finding(
            &rule_errors(rules),
            "game.proto:5",
            "game.v1.A does not say who may send it",
            "add `from: CLIENT`, `from: SERVER` or `from: BOTH`",
        );
    }
}

#[test]
fn rules_of_clients_beside_from_server() {
    for (rule, written) in
        [("to", "to: ROOM"), ("access", "access: GUEST"), ("max_rate", "max_rate: \"1/s\"")]
    {
        assert_finding(
            &rule_errors(&format!("tag: 2, from: SERVER, {written}")),
            "game.proto:5",
            &format!("game.v1.A has `{rule}` beside `from: SERVER`; the rule speaks of what clients send"),
            &format!("remove `{rule}`, or let clients send it: `from: BOTH`"),
        );
    }
    let good =
        "message A { option (tagwire.v1.rules) = { tag: 2, from: SERVER, delivery: LATEST, max_bytes: 9 }; }";
    read(&[("game.proto", &game(good))]).unwrap();
}

#[test]
fn a_rate_that_is_none() {
    for rate in
        ["20", "20/m", "0/s", "-1/s", "+1/s", " 1/s", "1.5/s", "/s", "1000001/s", "99999999999/s", "fast"]
    {
        assert_finding(
            &rule_errors(&format!("tag: 2, from: CLIENT, max_rate: \"{rate}\"")),
            "game.proto:5",
            &format!("game.v1.A has max_rate \"{rate}\", which is not a rate"),
            "write messages per second as \"N/s\", N from 1 to 1000000: `max_rate: \"20/s\"`",
        );
    }
    let good = "message A { option (tagwire.v1.rules) = { tag: 2, from: CLIENT, max_rate: \"1000000/s\" }; }";
    read(&[("game.proto", &game(good))]).unwrap();
}

#[test]
fn a_size_over_the_largest_frame() {
    assert_finding(
        &rule_errors("tag: 2, from: CLIENT, max_bytes: 16777217"),
        "game.proto:5",
        "game.v1.A has max_bytes 16777217; no frame is larger than 16777216",
        "write at most `max_bytes: 16777216`, or send it in pieces",
    );
}

#[test]
fn a_rule_that_does_not_exist() {
    assert_eq!(
        rule_errors("tag: 2, /* } */ sender: CLIENT"),
        "game.proto:5:3: invalid value of type 'tagwire.v1.Rules' for option '(tagwire.v1.rules)': \
         field 'sender' not found for message 'tagwire.v1.Rules'\n  \
         fix: write one of: tag, from, to, access, delivery, max_bytes, max_rate"
    );
    assert_eq!(
        rule_errors("tag: 2, max_rate: \"1/s\", from: PLAYER"),
        "game.proto:5:3: invalid value of type 'tagwire.v1.Rules' for option '(tagwire.v1.rules)': \
         value 'PLAYER' was not found for enum 'tagwire.v1.Sender.Value'\n  \
         fix: write one of: CLIENT, SERVER, BOTH"
    );
    let errors = rule_errors("tag: two");
    assert!(
        errors.contains("\n  fix: write it as in `{ tag: 2, from: CLIENT, max_rate: \"20/s\" }`"),
        "{errors}"
    );
}

/// Errors of a service whose request `Ask` has these rules; they stand in line 4.
fn request_errors(rules: &str) -> String {
    errors(&format!(
        "message Ask {{ option (tagwire.v1.rules) = {{ {rules} }}; }}\nmessage Answer {{}}\n\
         service Oracle {{ rpc Tell(Ask) returns (Answer); }}\n"
    ))
}

#[test]
fn a_request_that_is_relayed() {
    for to in ["ROOM", "ROOM_ALL"] {
        assert_finding(
            &request_errors(&format!("tag: 2, from: CLIENT, to: {to}")),
            "game.proto:4",
            &format!(
                "game.v1.Ask is the request of game.v1.Oracle.Tell; it is answered, not relayed (`to: {to}`)"
            ),
            "remove `to`, or make a message of its own for what goes to the room",
        );
    }
}

#[test]
fn a_request_that_may_be_lost() {
    for delivery in ["LATEST", "UNRELIABLE"] {
        assert_finding(
            &request_errors(&format!("tag: 2, from: CLIENT, delivery: {delivery}")),
            "game.proto:4",
            &format!(
                "game.v1.Ask is the request of game.v1.Oracle.Tell; it must arrive, so `delivery: {delivery}` cannot be"
            ),
            "remove `delivery`",
        );
    }
}

#[test]
fn a_request_that_no_client_may_send() {
    assert_finding(
        &request_errors("tag: 2, from: SERVER"),
        "game.proto:4",
        "game.v1.Ask is the request of game.v1.Oracle.Tell but no client may send it",
        "write `from: CLIENT`",
    );
}

#[test]
fn a_request_without_rules() {
    let body = "message Ask {}\nmessage Answer {}\nservice Oracle { rpc Tell(Ask) returns (Answer); }\n";
    assert_finding(
        &errors(body),
        "game.proto:4",
        "game.v1.Ask is the request of game.v1.Oracle.Tell but has no tag to travel under",
        "add `option (tagwire.v1.rules) = { tag: 2, from: CLIENT };`",
    );
}

#[test]
fn a_request_of_two_methods() {
    let body = "message Ask { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; }\nmessage Answer {}\n\
                service Oracle {\n  rpc Tell(Ask) returns (Answer);\n  rpc Hint(Ask) returns (Answer);\n}\n";
    assert_finding(
        &errors(body),
        "game.proto:8",
        "game.v1.Oracle.Hint takes game.v1.Ask, which game.v1.Oracle.Tell takes too; its tag would name both",
        "give each method a request message of its own",
    );
}

#[test]
fn a_stream() {
    for method in ["rpc Tell(stream Ask) returns (Answer);", "rpc Tell(Ask) returns (stream Answer);"] {
        let body = format!(
            "message Ask {{ option (tagwire.v1.rules) = {{ tag: 2, from: CLIENT }}; }}\nmessage Answer {{}}\n\
             service Oracle {{ {method} }}\n"
        );
        assert_finding(
            &errors(&body),
            "game.proto:6",
            "game.v1.Oracle.Tell is a stream; a request has one answer here",
            "remove `stream`, and let the server push a message `from: SERVER` as often as it likes",
        );
    }
}

#[test]
fn a_request_of_the_stack_or_of_google() {
    let with = |import: &str, request: &str| {
        read(&[(
            "game.proto",
            &game(&format!(
                "import \"{import}\";\nmessage Answer {{}}\nservice Oracle {{ rpc Tell({request}) returns (Answer); }}\n"
            )),
        )])
        .map(drop)
        .expect_err("it cannot travel in a Request of ours")
    };
    for (import, request) in [
        ("tagwire/v1/session.proto", "tagwire.v1.Ping"),
        ("google/protobuf/empty.proto", "google.protobuf.Empty"),
    ] {
        assert_finding(
            &with(import, request),
            "game.proto:6",
            &format!("game.v1.Oracle.Tell takes {request}, which is not a message of yours"),
            "take a message of your own, with a tag",
        );
    }
}

#[test]
fn an_edition() {
    for (text, line) in [
        ("edition = \"2023\";\npackage game.v1;\n", 1),
        ("// edition = \"2024\";\n\n/* two\n lines */ edition='2023' ;\n", 4),
        ("\u{feff}\tedition\n=\n\"2023\";", 1),
    ] {
        let errors = read(&[("game.proto", text)]).map(drop).unwrap_err();
        assert!(
            errors.starts_with(&format!("game.proto:{line}: editions are not supported: edition")),
            "{errors}"
        );
        assert!(errors.contains("\n  fix: write `syntax = \"proto3\";` there"), "{errors}");
    }
    let imported =
        [("a.proto", "edition = \"2023\";"), ("b.proto", "syntax = \"proto3\";\nimport \"a.proto\";")];
    assert!(read(&imported).map(drop).unwrap_err().starts_with("a.proto:1: editions"));
}

#[test]
fn an_edition_behind_a_comment_between_its_words() {
    let errors = read(&[("game.proto", "edition /* of */ = \"2023\";")]).map(drop).unwrap_err();
    assert!(errors.starts_with("game.proto:1: editions are not supported"), "{errors}");
}

#[test]
fn proto2() {
    let two = |first: &str| {
        format!(
            "{first}\npackage game.v1;\nimport \"tagwire/v1/options.proto\";\n\
             message A {{ option (tagwire.v1.rules) = {{ tag: 2, from: CLIENT }}; }}\n"
        )
    };
    for first in ["syntax = \"proto2\";", ""] {
        assert_finding(
            &read(&[("game.proto", &two(first))]).map(drop).unwrap_err(),
            "game.proto:4",
            "game.v1.A travels alone but its file is proto2; only proto3 messages may",
            "write `syntax = \"proto3\";` on the first line of the file",
        );
    }
    let old = "syntax = \"proto2\";\npackage game.old;\nmessage Old { required int32 x = 1; }\n";
    let new = game(
        "import \"old.proto\";\n\
         message A { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; game.old.Old old = 1; }\n",
    );
    read(&[("game.proto", &new), ("old.proto", old)]).unwrap();
}

#[test]
fn a_syntax_error() {
    let errors = errors("message A {\n  int32 x 1;\n}\n");
    assert!(errors.starts_with("game.proto:5:11: "), "{errors}");
}

#[test]
fn an_unknown_type() {
    let errors = errors("message A {\n  Nowhere x = 1;\n}\n");
    assert!(errors.starts_with("game.proto:5:3: ") && errors.contains("Nowhere"), "{errors}");
}

#[test]
fn a_missing_import() {
    let errors = errors("import \"common/lost.proto\";\n");
    assert!(errors.starts_with("game.proto:4:") && errors.contains("common/lost.proto"), "{errors}");
    assert!(errors.contains("\n  fix: imports are relative to the schema's root folder"), "{errors}");
}

#[test]
fn a_missing_import_of_our_options() {
    let errors = read(&[(
        "game.proto",
        "syntax = \"proto3\";\nmessage A {\n  option (tagwire.v1.rules) = { tag: 2 };\n}\n",
    )])
    .map(drop)
    .unwrap_err();
    assert!(errors.starts_with("game.proto:3:") && errors.contains("tagwire.v1.rules"), "{errors}");
}

/// A message with one field, or more, and constraints; the field is in line 6.
fn constrained(field: &str) -> String {
    let game = game(
        "import \"buf/validate/validate.proto\"; import \"google/protobuf/timestamp.proto\";\nmessage M {\n",
    );
    read(&[("game.proto", &format!("{game}{field}\n}}\nmessage N {{}}\nenum E {{ E_NO = 0; }}\n"))])
        .map(drop)
        .unwrap_err()
}

#[test]
fn constraints_that_are_not_enforced_are_refused_by_name() {
    for (field, rule) in [
        ("string x = 1 [(buf.validate.field).cel = { id: \"a\", expression: \"true\" }];", "cel"),
        ("string x = 1 [(buf.validate.field).cel_expression = \"this != ''\"];", "cel_expression"),
        ("string x = 1 [(buf.validate.field).string.uri = true];", "string.uri"),
        ("string x = 1 [(buf.validate.field).string.uri_ref = true];", "string.uri_ref"),
        ("string x = 1 [(buf.validate.field).string.ip_prefix = true];", "string.ip_prefix"),
        (
            "string x = 1 [(buf.validate.field).string.well_known_regex = KNOWN_REGEX_HTTP_HEADER_NAME];",
            "string.well_known_regex",
        ),
        (
            "google.protobuf.Timestamp x = 1 [(buf.validate.field).timestamp.lt_now = true];",
            "timestamp.lt_now",
        ),
        ("bytes x = 1 [(buf.validate.field).bytes.pattern = \"a\"];", "bytes.pattern"),
        (
            "repeated string x = 1 [(buf.validate.field).repeated.items.string.uri = true];",
            "repeated.items.string.uri",
        ),
        (
            "map<string, string> x = 1 [(buf.validate.field).map.keys.cel_expression = \"true\"];",
            "map.keys.cel_expression",
        ),
        (
            "string x = 1 [(buf.validate.predefined).cel = { id: \"a\", expression: \"true\" }];",
            "(buf.validate.predefined)",
        ),
        ("int32 x = 1; option (buf.validate.message).cel = { id: \"a\", expression: \"true\" };", "cel"),
        (
            "string x = 1 [(buf.validate.field).string.(mine) = 3];\n}\nextend buf.validate.StringRules {\n  optional int32 mine = 1000;",
            "string.[game.v1.mine]",
        ),
    ] {
        let errors = constrained(field);
        let place =
            if errors.contains("M.x") { "game.proto:6: game.v1.M.x" } else { "game.proto:5: game.v1.M" };
        let expected = format!("{place} has the rule `{rule}`, which is not enforced here");
        assert!(errors.starts_with(&expected), "{field}: {errors}");
        assert!(
            errors.contains("\n  fix: remove it, or use the rules in docs/guides/validation.md"),
            "{errors}"
        );
    }
}

#[test]
fn constraints_of_another_type_are_refused() {
    for (field, what) in [
        (
            "int32 x = 1 [(buf.validate.field).string.min_len = 1];",
            "rules `string`, which are for another type\n  fix: write them as `int32`",
        ),
        (
            "string x = 1 [(buf.validate.field).repeated.min_items = 1];",
            "rules `repeated`, which are for another type\n  fix: write them as `string`",
        ),
        (
            "repeated string x = 1 [(buf.validate.field).string.min_len = 1];",
            "rules `string`, which are for another type\n  fix: write them as `repeated`",
        ),
        (
            "repeated int32 x = 1 [(buf.validate.field).repeated.items.string.len = 1];",
            "rules `repeated.items.string`, which are for another type\n  fix: write them as `repeated.items.int32`",
        ),
        (
            "map<string, N> x = 1 [(buf.validate.field).map.values.string.len = 1];",
            "rules `map.values.string`, which are not enforced for messages\n  fix: remove them",
        ),
        (
            "N x = 1 [(buf.validate.field).string.len = 1];",
            "rules `string`, which are not enforced for messages\n  fix: remove them",
        ),
        (
            "repeated N x = 1 [(buf.validate.field).repeated.unique = true];",
            "the rule `repeated.unique`, which is not for messages",
        ),
        (
            "repeated int32 x = 1 [(buf.validate.field).repeated.items.required = true];",
            "the rule `repeated.items.required`, which asks for nothing there",
        ),
    ] {
        let errors = constrained(field);
        assert!(errors.starts_with(&format!("game.proto:6: game.v1.M.x has {what}")), "{field}: {errors}");
    }
}

#[test]
fn constraints_that_nothing_can_keep_are_refused() {
    for (field, what) in [
        (
            "string x = 1 [(buf.validate.field).string = { min_len: 3, max_len: 2 }];",
            "`string.min_len` 3 and `string.max_len` 2; nothing can be both",
        ),
        (
            "repeated E x = 1 [(buf.validate.field).repeated = { min_items: 3, max_items: 2 }];",
            "`repeated.min_items` 3 and `repeated.max_items` 2",
        ),
        ("double x = 1 [(buf.validate.field).double = { lt: nan }];", "the rule `double.lt` with nan"),
        (
            "string x = 1 [(buf.validate.field).string.pattern = \"(a\"];",
            "the rule `string.pattern`: \"(a\" is no regular expression: unclosed group",
        ),
        (
            "string x = 1 [(buf.validate.field).string.pattern = \"[a[b]]\"];",
            "the rule `string.pattern`: \"[a[b]]\" has a class in a class, which the libraries",
        ),
        (
            "repeated string x = 1 [(buf.validate.field).repeated.items.string.pattern = \"\\\\pL{1000}\"];",
            "the rule `string.pattern`: \"\\\\pL{1000}\" is larger than 262144 bytes",
        ),
    ] {
        let errors = constrained(field);
        assert!(errors.starts_with(&format!("game.proto:6: game.v1.M.x has {what}")), "{field}: {errors}");
    }
    for (option, what) in [
        ("{ fields: [\"x\", \"z\"] }", "names z, which is no field of it"),
        ("{ fields: [\"x\", \"x\"] }", "names x twice"),
        ("{ required: true }", "without fields"),
    ] {
        let errors =
            constrained(&format!("  option (buf.validate.message).oneof = {option};\n  int32 x = 1;"));
        assert!(
            errors.starts_with("game.proto:5: game.v1.M has a rule `oneof`") && errors.contains(what),
            "{errors}"
        );
    }
}

#[test]
fn mistakes_in_the_options_of_constraints_are_explained() {
    let errors = constrained("  string x = 1 [(buf.validate.field).string.minimum = 1];");
    assert!(errors.starts_with("game.proto:6:") && errors.contains("minimum"), "{errors}");
    let errors = read(&[(
        "game.proto",
        &game("message M {\n  string x = 1 [(buf.validate.field).string.len = 1];\n}"),
    )]);
    let errors = errors.map(drop).unwrap_err();
    assert!(errors.starts_with("game.proto:5:"), "{errors}");
    assert!(errors.contains("fix: write `import \"buf/validate/validate.proto\";`"), "{errors}");
}

#[test]
fn no_files() {
    let errors = read(&[("readme.txt", "")]).map(drop).unwrap_err();
    assert_eq!(
        errors,
        "DIR: no .proto file found\n  fix: name the folder that holds your schema, or write one there"
    );
}

#[test]
fn a_missing_folder() {
    let dir = folder(&[]);
    let errors = tagwire_codegen::read(&[dir.path().join("lost")]).map(drop).unwrap_err().to_string();
    assert!(bare(&errors, dir.path()).starts_with("lost: "), "{errors}");
}

#[test]
fn a_file_that_is_not_text() {
    let dir = folder(&[]);
    fs::write(dir.path().join("game.proto"), [0xff, 0xfe, 0]).unwrap();
    let errors = tagwire_codegen::read(&[dir.path()]).map(drop).unwrap_err().to_string();
    assert!(bare(&errors, dir.path()).starts_with("game.proto: "), "{errors}");
}

#[test]
fn two_roots_with_one_file() {
    let dir =
        folder(&[("one/game.proto", "syntax = \"proto3\";"), ("two/game.proto", "syntax = \"proto3\";")]);
    let errors = tagwire_codegen::read(&[dir.path().join("one"), dir.path().join("two")])
        .map(drop)
        .unwrap_err()
        .to_string();
    assert_eq!(
        bare(&errors, dir.path()),
        "one/game.proto and two/game.proto are both \"game.proto\" to imports\n  fix: rename one"
    );
}

#[test]
fn two_roots_import_each_other() {
    let dir = folder(&[
        ("one/a.proto", "syntax = \"proto3\";\npackage a;\nmessage A { int32 x = 1; }"),
        ("two/b.proto", "syntax = \"proto3\";\npackage b;\nimport \"a.proto\";\nmessage B { a.A a = 1; }"),
    ]);
    tagwire_codegen::read(&[dir.path().join("one"), dir.path().join("two")]).unwrap();
}

#[test]
fn one_file_and_what_it_imports() {
    let dir = folder(&[
        ("game.proto", &game("import \"parts/place.proto\";\nmessage A { parts.Place at = 1; }")),
        (
            "parts/place.proto",
            "syntax = \"proto3\";\npackage parts;\nimport \"parts/way.proto\";\nmessage Place { Way way = 1; }",
        ),
        ("parts/way.proto", "syntax = \"proto3\";\npackage parts;\nmessage Way {}"),
        ("broken.proto", "this is not looked at"),
        ("tagwire/v1/options.proto", "nor is this"),
    ]);
    let model = tagwire_codegen::read(&[dir.path().join("game.proto")]).unwrap();
    let mut games: Vec<_> =
        model.files.iter().filter(|f| f.origin == Origin::Game).map(|f| f.name.as_str()).collect();
    games.sort_unstable();
    assert_eq!(games, ["game.proto", "parts/place.proto", "parts/way.proto"]);
    let missing = folder(&[("game.proto", &game("import \"gone.proto\";"))]);
    let error =
        tagwire_codegen::read(&[missing.path().join("game.proto")]).map(drop).unwrap_err().to_string();
    assert!(error.contains("gone.proto") && error.contains("fix: imports are relative"), "{error}");
    let edition =
        folder(&[("game.proto", &game("import \"new.proto\";")), ("new.proto", "edition = \"2023\";")]);
    let error =
        tagwire_codegen::read(&[edition.path().join("game.proto")]).map(drop).unwrap_err().to_string();
    assert!(error.contains("new.proto:1: editions are not supported"), "{error}");
}

#[test]
fn descriptors_serve_code_without_types() {
    let model = read(&[("game.proto", &game("message A { string b = 1; }"))]).unwrap();
    let pool = model.descriptor_pool().unwrap();
    assert!(pool.get_message_by_name("game.v1.A").unwrap().get_field_by_name("b").is_some());
    assert!(pool.get_message_by_name("tagwire.v1.Rules").is_some());
}

#[test]
fn copies_of_our_files_are_passed_over() {
    let files = [
        ("tagwire/v1/options.proto", "syntax = \"proto3\";\npackage mine;"),
        ("game.proto", &game("message A {}")),
    ];
    read(&files).unwrap();
}

#[test]
fn an_inner_package_tagwire_writes_the_option_with_a_dot() {
    let file = |option: &str| {
        format!(
            "syntax = \"proto3\";\npackage foo.tagwire.v1;\nimport \"tagwire/v1/options.proto\";\n\
             message Ask {{ {option} }}\nmessage Answer {{}}\nservice Oracle {{ rpc Tell(Ask) returns (Answer); }}\n"
        )
    };
    read(&[("foo.proto", &file("option (.tagwire.v1.rules) = { tag: 2, from: CLIENT };"))]).unwrap();
    let hint = read(&[("foo.proto", &file(""))]).map(drop).unwrap_err();
    assert!(hint.contains("fix: add `option (.tagwire.v1.rules) = { tag: 2, from: CLIENT };`"), "{hint}");
    let hidden = read(&[("foo.proto", &file("option (tagwire.v1.rules) = { tag: 2, from: CLIENT };"))])
        .map(drop)
        .unwrap_err();
    assert!(hidden.starts_with("foo.proto:4:"), "{hidden}");
    assert!(hidden.contains("\n  fix: "), "{hidden}");
}

#[test]
fn the_generator_and_the_protocol_agree_on_what_is_reserved() {
    for tag in 0..=u16::MAX {
        assert_eq!(tagwire_codegen::check::is_reserved(tag.into()), tagwire::Tag(tag).is_reserved(), "{tag}");
    }
    assert_eq!(tagwire_codegen::check::MAX_FRAME_BYTES as usize, tagwire::frame::MAX_FRAME_BYTES);
}

#[test]
fn the_generator_and_the_protocol_agree_on_the_size_of_patterns() {
    assert_eq!(tagwire_codegen::check::MAX_PATTERN_BYTES, tagwire::validate::MAX_PATTERN_BYTES);
}

#[test]
fn the_guide_lists_each_rule_that_is_supported() {
    let guide = include_str!("../../docs/guides/validation.md");
    let (_, table) = guide.split_once("## Rules").unwrap();
    let (table, _) = table.split_once("They mean what").unwrap();
    for (kind, rules) in tagwire_codegen::constraints::SUPPORTED {
        for rule in rules {
            assert!(table.contains(&format!("`{rule}`")), "{kind}.{rule}");
        }
    }
}

#[test]
fn a_copy_of_validate_proto_is_passed_over() {
    let body = "import \"buf/validate/validate.proto\";\nmessage M { string x = 1 [(buf.validate.field).string.len = 1]; }";
    let files =
        [("game.proto", game(body)), ("buf/validate/validate.proto", "what an editor found".to_string())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let model = read(&files).unwrap();
    assert!(model.message("game.v1.M").unwrap().fields[0].constraints.is_some());
}

#[test]
fn messages_that_rules_are_written_with_are_for_options_only() {
    let errors = constrained("  buf.validate.StringRules x = 1;");
    assert!(
        errors.starts_with(
            "game.proto:5: game.v1.M.x is a buf.validate.StringRules, which is for options only"
        ),
        "{errors}"
    );
}

#[test]
fn the_example_of_the_guide_is_right() {
    let guide = include_str!("../../docs/guides/validation.md");
    let (_, example) = guide.split_once("```proto\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let model = read(&[("game.proto", &game(example))]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(model.message("game.v1.Rename").unwrap().fields.len(), 4);
}
