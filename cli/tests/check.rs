//! `tagwire check` with `schema.lock`, revisions of git and files, as a user runs it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{edit, exists, run, run_in, write};
use serde_json::Value;
use tempfile::TempDir;

const GAME: &str = "syntax = \"proto3\";\npackage game.v1;\nimport \"tagwire/v1/options.proto\";\nimport \"part.proto\";\n\n\
    message Move {\n  option (tagwire.v1.rules) = { tag: 2, from: CLIENT, to: ROOM };\n  int32 x = 1;\n  Part part = 2;\n}\n\
    message Shout {\n  option (tagwire.v1.rules) = { tag: 4, from: CLIENT };\n}\n";
const PART: &str = "syntax = \"proto3\";\npackage game.v1;\n\nmessage Part {\n  string name = 1;\n}\n";

/// A project in a repository of its own, with a commit and a tag `v1`.
fn project() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "proto/game.proto", GAME);
    write(&dir, "proto/part.proto", PART);
    git(&dir, &["init", "-q"]);
    git(&dir, &["add", "-A"]);
    git(&dir, &["commit", "-q", "-m", "first"]);
    git(&dir, &["tag", "v1"]);
    dir
}

fn git(dir: &TempDir, args: &[&str]) {
    let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
    let output = Command::new("git").args(who).args(args).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn lock(dir: &TempDir) -> String {
    fs::read_to_string(dir.path().join("proto/schema.lock")).unwrap()
}

const BREAKING: &str = "\
breaking: proto/game.proto:8: game.v1.Move.x: int32 became string: what the other side sends in it is lost
  who: clients and servers of which one has the old schema and one the new: game.v1.Move (tag 2, clients to their room)
  fix: write `int32 x = 1` again; what is of the new type takes a new number and name
";

#[test]
fn a_lock_is_written_and_judges() {
    let dir = project();
    let (code, out, err) = run(&dir, &["check"]);
    assert_eq!((code, &*err), (0, ""));
    assert!(out.contains("proto/schema.lock: not there, so nothing is compared"), "{out}");
    assert!(!exists(&dir, "proto/schema.lock"));

    let (code, out, _) = run(&dir, &["check", "--update"]);
    assert!(code == 0 && out.starts_with("proto/schema.lock: written; commit it\nok: "), "{out}");
    let first = lock(&dir);
    assert!(first.contains("do not edit"), "{first}");
    let (_, out, _) = run(&dir, &["check", "--update"]);
    assert!(out.starts_with("proto/schema.lock: unchanged\nok: "), "{out}");
    let (code, out, _) = run(&dir, &["check"]);
    assert!(code == 0 && out.starts_with("proto/schema.lock: no change\nok: "), "{out}");

    edit(&dir, "  int32 x = 1;", "  int32 x = 1;\n  int32 y = 3;");
    let (code, out, _) = run(&dir, &["check"]);
    assert!(
        code == 0
            && out.starts_with(
                "compatible: game.v1.Move.y: int32 added\nproto/schema.lock: 1 change, all compatible\nok: "
            ),
        "{out}"
    );
    assert_eq!(lock(&dir), first);

    edit(&dir, "int32 x", "string x");
    for args in [&["check"][..], &["check", "--update"]] {
        let (code, out, err) = run(&dir, args);
        assert_eq!((code, &*err), (1, ""));
        assert!(out.starts_with(BREAKING), "{out}");
        assert!(out.contains("1 breaking change since proto/schema.lock\n"), "{out}");
        assert!(out.contains("--accept-breaking"), "{out}");
        assert_eq!(lock(&dir), first);
    }
    let (code, out, _) = run(&dir, &["check", "--update", "--accept-breaking"]);
    assert!(code == 0 && out.starts_with("breaking: ") && out.contains("written; commit it"), "{out}");
    assert!(lock(&dir).contains("  field 1 x string implicit -\n"));
    assert_eq!(run(&dir, &["check"]).0, 0);
}

#[test]
fn what_was_removed_is_not_given_away() {
    let dir = project();
    run(&dir, &["check", "--update"]);
    edit(&dir, "message Shout {\n  option (tagwire.v1.rules) = { tag: 4, from: CLIENT };\n}\n", "");
    edit(&dir, "  int32 x = 1;", "  reserved 1;");
    let (code, out, _) = run(&dir, &["check", "--update"]);
    assert_eq!(code, 0, "{out}");
    write(
        &dir,
        "proto/more.proto",
        &GAME.replace("Move", "Jump").replace("Shout", "Whisper").replace("tag: 2", "tag: 5"),
    );
    let (code, out, _) = run(&dir, &["check"]);
    assert_eq!(code, 1);
    assert!(
        out.contains(
            "breaking: proto/more.proto:12: tag 4: game.v1.Whisper has it, and once it was game.v1.Shout's"
        ),
        "{out}"
    );
    // Whatever it is compared with.
    assert_eq!(run(&dir, &["check", "--against", "v1"]).0, 1);
    fs::remove_file(dir.path().join("proto/more.proto")).unwrap();
    edit(&dir, "  reserved 1;", "");
    let (code, out, _) = run(&dir, &["check"]);
    assert!(code == 1 && out.contains("game.v1.Move: `reserved 1` removed"), "{out}");
    edit(&dir, "message Move {", "message Move {\n  string y = 1;\n");
    let (code, out, _) = run(&dir, &["check"]);
    assert!(code == 1 && out.contains("string y has the number 1, which once was int32 x"), "{out}");
}

#[test]
fn a_revision_of_git() {
    let dir = project();
    edit(&dir, "int32 x", "string x");
    let (code, out, err) = run(&dir, &["check", "--against", "v1"]);
    assert_eq!((code, &*err), (1, ""));
    assert!(out.starts_with(BREAKING) && out.ends_with("1 breaking change since v1\n"), "{out}");
    // From another folder, of one file, with the part that it imports.
    let (code, out, _) =
        run_in(&dir.path().join("proto"), &["check", "--schema", "game.proto", "--against", "v1~0"]);
    assert!(code == 1 && out.contains("breaking: game.proto:8: game.v1.Move.x"), "{out}");
    // Nothing is checked out, and nothing is left behind.
    let status = Command::new("git").args(["status", "--short"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&status.stdout), " M proto/game.proto\n");
    edit(&dir, "string x", "int32 x");
    // What the imported file was.
    write(&dir, "proto/part.proto", &PART.replace("string name", "bytes name"));
    let (code, out, _) = run(&dir, &["check", "--against", "HEAD"]);
    assert!(code == 1 && out.contains("proto/part.proto:5: game.v1.Part.name: string became bytes"), "{out}");
    write(&dir, "proto/part.proto", PART);
    assert_eq!(run(&dir, &["check", "--against", "HEAD"]).0, 0);
    // Removed with all around it: the place is where it was.
    git(&dir, &["mv", "proto/part.proto", "proto/piece.proto"]);
    edit(&dir, "part.proto", "piece.proto");
    write(&dir, "proto/piece.proto", &PART.replace("string name = 1;", ""));
    let (code, out, _) = run(&dir, &["check", "--against", "HEAD"]);
    assert!(
        code == 1 && out.contains("proto/piece.proto:4: game.v1.Part.name: string name removed"),
        "{out}"
    );
}

#[test]
fn files_and_folders() {
    let dir = project();
    run(&dir, &["check", "--update"]);
    fs::copy(dir.path().join("proto/schema.lock"), dir.path().join("old.lock")).unwrap();
    write(&dir, "old/game.proto", GAME);
    write(&dir, "old/part.proto", PART);
    let model = tagwire_codegen::read(&[dir.path().join("old")]).map_err(|e| panic!("{e}")).unwrap();
    fs::write(dir.path().join("old.bin"), model.descriptor_set()).unwrap();
    edit(&dir, "int32 x", "string x");
    for against in ["old.lock", "old", "old.bin", "old/game.proto"] {
        let (code, out, err) = run(&dir, &["check", "--against", against]);
        assert_eq!((code, &*err), (1, ""), "{against}");
        assert!(
            out.starts_with(BREAKING) && out.ends_with(&format!("since {against}\n")),
            "{against}: {out}"
        );
    }
}

#[test]
fn what_cannot_be_compared() {
    let dir = project();
    write(&dir, "text.txt", "nothing of the kind");
    write(&dir, "empty/README", "");
    write(&dir, "proto/schema.lock", "<<<<<<< HEAD\n");
    let (code, out, err) = run(&dir, &["check"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(
        err.starts_with("error: proto/schema.lock:1: this is no lock") && err.contains("  fix: "),
        "{err}"
    );
    fs::remove_file(dir.path().join("proto/schema.lock")).unwrap();
    for (against, expected) in [
        ("v2", "error: there is no file `v2` and no revision `v2` of git\n  fix: "),
        ("--version", "error: there is no file `--version` and no revision"),
        ("text.txt", "error: text.txt: it is no descriptor set: "),
        ("empty", "error: empty: no .proto file found"),
    ] {
        let (code, out, err) = run(&dir, &["check", &format!("--against={against}")]);
        assert_eq!((code, &*out), (2, ""), "{against}");
        assert!(err.starts_with(expected), "{against}: {err}");
    }
    git(&dir, &["rm", "-rq", "--cached", "proto"]);
    git(&dir, &["commit", "-qm", "none"]);
    let (code, _, err) = run(&dir, &["check", "--against", "HEAD"]);
    assert!(code == 2 && err.starts_with("error: HEAD:proto: no .proto file found"), "{err}");
    let outside = common::project();
    fs::remove_dir(outside.path().join(".git")).unwrap();
    let (code, _, err) = run(&outside, &["check", "--against", "HEAD"]);
    assert!(code == 2 && err.contains("no revision `HEAD` of git"), "{err}");
    assert_eq!(run(&dir, &["check", "--accept-breaking"]).0, 2);
}

#[test]
fn json_for_machines() {
    let dir = project();
    let json = |args: &[&str]| {
        let (code, out, err) = run(&dir, args);
        assert_eq!(err, "");
        (code, serde_json::from_str::<Value>(&out).unwrap())
    };
    let (code, value) = json(&["check", "--update", "--json"]);
    assert_eq!((code, &value["ok"], &value["written"]), (0, &true.into(), &true.into()));
    edit(&dir, "int32 x = 1;", "string x = 1; bool y = 3;");
    let (code, value) = json(&["check", "--json"]);
    assert_eq!((code, &value["ok"], &value["against"]), (1, &false.into(), &"proto/schema.lock".into()));
    let broken = &value["breaking"][0];
    assert_eq!((&broken["file"], &broken["line"]), (&"proto/game.proto".into(), &8.into()));
    assert_eq!(
        (&broken["place"], &broken["what"]),
        (&"game.v1.Move.x".into(), &"int32 became string".into())
    );
    assert_eq!(value["compatible"][0]["what"], "bool added");
    let (code, value) = json(&["check", "--json", "--against", "v2"]);
    assert_eq!((code, &value["ok"]), (2, &false.into()));
    assert!(value["errors"][0]["what"].as_str().unwrap().contains("no revision"));
}

#[test]
fn this_repository_is_as_its_locks_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for config in [&["check"][..], &["check", "--config", "examples/arena/tagwire.toml"]] {
        let (code, out, err) = run_in(&root, config);
        assert_eq!((code, &*err), (0, ""), "{out}");
        assert!(!out.contains("not there"), "{out}");
    }
}
