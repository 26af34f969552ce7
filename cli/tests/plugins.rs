//! `tagwire gen` by plugins for protoc: small ones made here, for what they may do wrong. A real one is in
//! `scripts/tests/test_plugins.py`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::{exists, project, run, tree, write};
use tempfile::TempDir;

/// A plugin that reads all and does what a line of shell says; its answer in octal escapes, as `printf` knows them.
fn plugin(dir: &TempDir, name: &str, line: &str) {
    let path = format!("node_modules/.bin/{name}");
    write(dir, &path, &format!("#!/bin/sh\ncat > request.bin\n{line}\n"));
    fs::set_permissions(dir.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The answer with one file.
fn answer(name: &str, content: &str) -> String {
    let mut file = vec![0x0a, u8::try_from(name.len()).unwrap()];
    file.extend(name.bytes());
    file.extend([0x7a, u8::try_from(content.len()).unwrap()]);
    file.extend(content.bytes());
    let mut all = vec![0x10, 1, 0x7a, u8::try_from(file.len()).unwrap()];
    all.extend(file);
    let octal: String = all.iter().map(|b| format!("\\{b:03o}")).collect();
    format!("printf '{octal}'")
}

fn args(name: &str) -> [&str; 7] {
    ["gen", "--plugin", name, "--options", "a=b,c", "--out", "out"]
}

#[test]
fn it_gets_the_schema_and_its_files_are_written() {
    let dir = project();
    plugin(&dir, "protoc-gen-x", &answer("game/v1/move.txt", "moved\n"));
    let (code, out, err) = run(&dir, &args("protoc-gen-x"));
    assert_eq!((code, &*out, &*err), (0, "out: 1 written, 0 removed, 0 unchanged\n", ""));
    assert_eq!(fs::read_to_string(dir.path().join("out/game/v1/move.txt")).unwrap(), "moved\n");
    let request = fs::read(dir.path().join("request.bin")).unwrap();
    let has = |bytes: &[u8]| request.windows(bytes.len()).any(|w| w == bytes);
    assert!(
        request.starts_with(b"\x0a\x18tagwire/v1/options.proto\x0a\x0agame.proto\x12\x05a=b,c"),
        "what is asked for"
    );
    assert!(has(b"google/protobuf/descriptor.proto"), "and all that it imports");
    assert!(has(b"\xe2\xe0\x18\x06\x08\x02\x10\x01\x18\x01"), "with the rules of Move");
    // The same again is nothing to do; a file less goes; what somebody else wrote is refused.
    assert_eq!(run(&dir, &args("protoc-gen-x")).1, "out: 0 written, 0 removed, 1 unchanged\n");
    plugin(&dir, "protoc-gen-x", &answer("b.txt", "b"));
    assert_eq!(run(&dir, &args("protoc-gen-x")).1, "out: 1 written, 1 removed, 0 unchanged\n");
    assert!(!exists(&dir, "out/game"));
    write(&dir, "out/c.txt", "mine");
    plugin(&dir, "protoc-gen-x", &answer("c.txt", "c"));
    let (code, _, err) = run(&dir, &args("protoc-gen-x"));
    assert!(code == 2 && err.starts_with("error: out/c.txt: it is in the way"), "{err}");
}

#[test]
fn settings_name_it_too() {
    let dir = project();
    plugin(&dir, "protoc-gen-x", &answer("a.txt", "a"));
    fs::create_dir(dir.path().join("below")).unwrap();
    for name in ["protoc-gen-x", "node_modules/.bin/protoc-gen-x"] {
        let text = format!("[[gen.output]]\nplugin = \"{name}\"\noptions = \"k=v\"\nout = \"out\"\n");
        write(&dir, "tagwire.toml", &text);
        // From a folder below: paths are the settings', and so are the programs beside them.
        let (code, out, err) = common::run_in(&dir.path().join("below"), &["gen"]);
        assert_eq!((code, &*err), (0, ""));
        assert!(out.starts_with("../out: "), "{out}");
    }
    write(&dir, "tagwire.toml", "[[gen.output]]\nplugin = \"protoc-gen-x\"\nname = \"x\"\noptions = [1]\n");
    let (code, _, err) = run(&dir, &["gen"]);
    assert!(code == 2 && err.starts_with("error: tagwire.toml:4: a plugin's options are a text"), "{err}");
    write(&dir, "tagwire.toml", "[[gen.output]]\nplugin = \"protoc-gen-x\"\nname = \"x\"\nout = \"o\"\n");
    let (_, _, err) = run(&dir, &["gen"]);
    assert!(err.starts_with("error: tagwire.toml:3: a plugin has no name to print under"), "{err}");
    write(&dir, "tagwire.toml", "\n[[gen.output]]\nplugin = \"protoc-gen-x\"\n");
    let (_, _, err) = run(&dir, &["gen"]);
    assert!(err.starts_with("error: tagwire.toml:2: it does not say where to write"), "{err}");
}

#[test]
fn what_goes_wrong_with_it_is_said() {
    let optional = "printf '\\172\\006\\012\\001\\141\\172\\001\\141'";
    let fails = "echo 'no such option: c' >&2; exit 3";
    let inserts = "printf '\\020\\001\\172\\011\\012\\001\\141\\022\\001\\142\\172\\001\\143'";
    let complains = "printf '\\012\\007too odd'";
    for (line, says) in [
        (fails.to_string(), "protoc-gen-x failed (exit status: 3): no such option: c\n"),
        ("exit 4".to_string(), "protoc-gen-x failed (exit status: 4): it said nothing\n"),
        (complains.to_string(), "error: protoc-gen-x: too odd\n"),
        ("echo hello".to_string(), "protoc-gen-x answered what is no CodeGeneratorResponse"),
        (inserts.to_string(), "protoc-gen-x wants to insert at \"b\" into a"),
        (
            optional.to_string(),
            "protoc-gen-x does not know `optional`, which Move.y has\n  fix: use a newer version of it\n",
        ),
        (answer("../a", "x"), "error: out: \"../a\" is no path of a file below it\n"),
        (answer("/tmp/a", "x"), "error: out: \"/tmp/a\" is no path of a file below it\n"),
    ] {
        let dir = project();
        common::edit(&dir, "int32 x = 1;", "int32 x = 1;\n  optional int32 y = 2;");
        plugin(&dir, "protoc-gen-x", &line);
        let before = tree(&dir.path().join("proto"));
        let (code, out, err) = run(&dir, &args("protoc-gen-x"));
        assert_eq!((code, &*out), (2, ""), "{line}");
        assert!(err.contains(says), "{line}: {err}");
        assert!(!exists(&dir, "out") && tree(&dir.path().join("proto")) == before);
    }
}

#[test]
fn one_that_reads_nothing_is_no_trouble() {
    let dir = project();
    // Far more than a pipe holds, so that writing it must fail.
    let many: String = (0..20_000).map(|i| format!("message M{i} {{ int32 x = 1; }}\n")).collect();
    write(&dir, "proto/many.proto", &format!("syntax = \"proto3\";\npackage game.many;\n{many}"));
    plugin(&dir, "protoc-gen-x", "");
    let path = dir.path().join("node_modules/.bin/protoc-gen-x");
    fs::write(&path, format!("#!/bin/sh\nexec <&-\n{}\n", answer("a.txt", "a"))).unwrap();
    let (code, out, err) = run(&dir, &args("protoc-gen-x"));
    assert_eq!((code, &*out, &*err), (0, "out: 1 written, 0 removed, 0 unchanged\n", ""));
}

#[test]
fn a_missing_one_names_the_command_that_installs_it() {
    let dir = project();
    for (name, fix) in [
        (
            "protoc-gen-connect-go",
            "install it: `go install connectrpc.com/connect/cmd/protoc-gen-connect-go@latest`",
        ),
        ("python_betterproto2", "install it: `pip install betterproto2_compiler`"),
        ("protoc-gen-ts_proto", "install it: `npm install --save-dev ts-proto`"),
        ("protoc-gen-of-nobody", "install it, or name the program by its path"),
    ] {
        let (code, out, err) = run(&dir, &args(name));
        assert_eq!((code, &*out), (2, ""));
        let what = format!(
            "error: the plugin {name} is missing: it is not in node_modules/.bin or .venv/bin of ., nor in PATH"
        );
        assert_eq!(err, format!("{what}\n  fix: {fix}\n"));
    }
    plugin(&dir, "protoc-gen-mine", "");
    let (_, _, err) = run(&dir, &args("mine"));
    assert!(err.ends_with("\n  fix: did you mean `protoc-gen-mine`?\n"), "{err}");
    let (code, _, err) = run(&dir, &args("./bin/lost"));
    assert!(code == 2 && err.starts_with("error: there is no plugin ./bin/lost\n"), "{err}");
    let (code, _, err) = run(&dir, &["gen", "--plugin", "protoc-gen-mine"]);
    assert!(
        code == 2 && err.starts_with("error: it is not said where to write what protoc-gen-mine makes\n"),
        "{err}"
    );
}
