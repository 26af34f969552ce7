//! `tagwire gen` and `tagwire check` as a user runs them: exit codes, texts, and which files are touched.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const GAME: &str = "syntax = \"proto3\";\npackage game.v1;\nimport \"tagwire/v1/options.proto\";\n\n\
                    message Move {\n  option (tagwire.v1.rules) = { tag: 2, from: CLIENT, to: ROOM };\n  int32 x = 1;\n}\n";

/// A folder with a good schema in `proto/game.proto`.
fn project() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("proto")).unwrap();
    fs::write(dir.path().join("proto/game.proto"), GAME).unwrap();
    dir
}

/// Exit code, standard output and standard error.
fn run(dir: &TempDir, args: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tagwire")).args(args).current_dir(dir.path()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn edit(dir: &TempDir, from: &str, to: &str) {
    let path = dir.path().join("proto/game.proto");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).unwrap();
}

fn exists(dir: &TempDir, path: &str) -> bool {
    dir.path().join(path).exists()
}

/// All files below a folder with their texts.
fn tree(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(tree(&path));
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_fresh_run_writes_a_second_changes_nothing() {
    let dir = project();
    let (code, out, err) = run(&dir, &["gen"]);
    assert_eq!((code, &*err), (0, ""));
    assert_eq!(out, "clients/python/gen/game: 7 written, 0 removed, 0 unchanged\n");
    assert!(exists(&dir, "clients/python/gen/game/v1/__init__.pyi"));
    let before = tree(dir.path());
    let (code, out, _) = run(&dir, &["gen"]);
    assert_eq!((code, &*out), (0, "clients/python/gen/game: 0 written, 0 removed, 7 unchanged\n"));
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn check_of_what_is_fresh() {
    let dir = project();
    run(&dir, &["gen"]);
    let (code, out, err) = run(&dir, &["gen", "--check"]);
    assert_eq!((code, &*out, &*err), (0, "clients/python/gen/game: fresh (7 files)\n", ""));
}

#[test]
fn check_after_an_edit_lists_and_writes_nothing() {
    let dir = project();
    run(&dir, &["gen"]);
    edit(&dir, "int32 x = 1;", "int32 x = 1;\n  int32 y = 2;");
    fs::remove_file(dir.path().join("clients/python/gen/game/py.typed")).unwrap();
    let ours = fs::read_to_string(dir.path().join("clients/python/gen/game/__init__.py")).unwrap();
    fs::write(dir.path().join("clients/python/gen/game/old.py"), ours).unwrap();
    let before = tree(dir.path());
    let (code, out, _) = run(&dir, &["gen", "--check"]);
    assert_eq!(code, 1);
    assert_eq!(
        out,
        "stale: clients/python/gen/game/_schema.py\n\
         missing: clients/python/gen/game/py.typed\n\
         stale: clients/python/gen/game/v1/__init__.pyi\n\
         superfluous: clients/python/gen/game/old.py\n\
         fix: run `scripts/gen`, or this command without `--check`, and commit what it changes\n"
    );
    assert_eq!(tree(dir.path()), before);
    let (code, out, _) = run(&dir, &["gen"]);
    assert_eq!((code, &*out), (0, "clients/python/gen/game: 3 written, 1 removed, 4 unchanged\n"));
    assert_eq!(run(&dir, &["gen", "--check"]).0, 0);
}

#[test]
fn check_before_the_first_run() {
    let dir = project();
    let (code, out, _) = run(&dir, &["gen", "--check"]);
    assert_eq!(code, 1);
    assert_eq!(out.lines().filter(|l| l.starts_with("missing: ")).count(), 7, "{out}");
    assert!(!exists(&dir, "clients"));
}

#[test]
fn a_file_of_somebody_else_is_not_touched() {
    for text in [&b"print('mine')\n"[..], b"", b"\xff\xfe"] {
        let dir = project();
        fs::create_dir_all(dir.path().join("clients/python/gen/game/v1")).unwrap();
        fs::write(dir.path().join("clients/python/gen/game/v1/__init__.py"), text).unwrap();
        let before = tree(dir.path());
        for args in [&["gen"][..], &["gen", "--check"]] {
            let (code, out, err) = run(&dir, args);
            assert_eq!((code, &*out), (2, ""));
            assert_eq!(
                err,
                "error: clients/python/gen/game/v1/__init__.py is in the way: tagwire did not generate it\n  \
                 fix: move it away, or choose another folder with `--out` or name with `--name`\n"
            );
            assert_eq!(tree(dir.path()), before, "nothing else was written either");
        }
    }
}

#[test]
fn what_is_printed_no_more_goes_and_others_stay() {
    let dir = project();
    run(&dir, &["gen"]);
    fs::write(dir.path().join("clients/python/gen/game/notes.txt"), "mine").unwrap();
    edit(&dir, "game.v1", "game.v2");
    let (code, out, _) = run(&dir, &["gen"]);
    assert_eq!((code, &*out), (0, "clients/python/gen/game: 5 written, 2 removed, 2 unchanged\n"));
    assert!(!exists(&dir, "clients/python/gen/game/v1"), "an empty folder goes too");
    assert!(exists(&dir, "clients/python/gen/game/v2/__init__.py"));
    assert!(exists(&dir, "clients/python/gen/game/notes.txt"));
}

#[test]
fn folders_and_names_by_flag() {
    let dir = project();
    fs::rename(dir.path().join("proto"), dir.path().join("schema")).unwrap();
    let (code, out, err) =
        run(&dir, &["gen", "--schema", "schema", "--lang", "python", "--out", "my/stubs", "--name", "mine"]);
    assert_eq!((code, &*out, &*err), (0, "my/stubs/mine: 9 written, 0 removed, 0 unchanged\n", ""));
    assert!(exists(&dir, "my/stubs/mine/game/v1/__init__.py"));
    assert!(!exists(&dir, "clients"));
}

#[test]
fn several_schema_folders() {
    let dir = project();
    fs::create_dir(dir.path().join("more")).unwrap();
    let more = "syntax = \"proto3\";\npackage game.more;\nimport \"game.proto\";\nmessage Moves { repeated game.v1.Move all = 1; }\n";
    fs::write(dir.path().join("more/moves.proto"), more).unwrap();
    let (code, out, _) = run(&dir, &["check", "--schema", "proto", "--schema", "more"]);
    assert!(code == 0 && out.starts_with("ok: 1 message, 0 services, fingerprint "), "{out}");
    assert_eq!(run(&dir, &["gen", "--schema", "proto", "--schema", "more"]).0, 0);
    assert!(exists(&dir, "clients/python/gen/game/more/__init__.py"));
}

#[test]
fn bad_flags() {
    let dir = project();
    let (code, _, err) = run(&dir, &["gen", "--chekc"]);
    assert!(code == 2 && err.contains("--chekc") && err.contains("--check"), "{err}");
    let (code, _, err) = run(&dir, &["gen", "--lang", "pyhton"]);
    assert!(code == 2 && err.contains("pyhton") && err.contains("a similar value exists: 'python'"), "{err}");
    let (code, _, err) = run(&dir, &["generate"]);
    assert!(code == 2 && err.contains("generate"), "{err}");
    assert_eq!(run(&dir, &[]).0, 2);
    let (code, _, err) = run(&dir, &["gen", "--name", "my-game"]);
    assert_eq!(
        (code, &*err),
        (
            2,
            "error: \"my-game\" cannot be a Python package's name\n  fix: choose another: `--name my_game`\n"
        )
    );
    assert!(!exists(&dir, "clients"));
}

#[test]
fn help_has_examples() {
    let dir = project();
    for args in [&["gen", "--help"][..], &["check", "--help"]] {
        let (code, out, _) = run(&dir, args);
        assert!(code == 0 && out.contains("\nExamples:\n"), "{out}");
        assert!(!out.contains("--stack"), "that is for scripts/gen");
    }
}

#[test]
fn a_missing_folder() {
    let dir = project();
    for command in ["gen", "check"] {
        let (code, _, err) = run(&dir, &[command, "--schema", "lost"]);
        assert!(code == 2 && err.starts_with("error: lost: "), "{err}");
    }
}

#[test]
fn a_schema_may_be_one_file() {
    let dir = project();
    for command in ["gen", "check"] {
        let (code, _, err) = run(&dir, &[command, "--schema", "proto/game.proto"]);
        assert_eq!((code, err.as_str()), (0, ""));
        let (code, _, err) = run(&dir, &[command, "--schema", "proto/lost.proto"]);
        assert!(code == 2 && err.starts_with("error: proto/lost.proto: "), "{err}");
    }
}

#[test]
fn a_folder_that_cannot_be_written() {
    let dir = project();
    fs::write(dir.path().join("clients"), "a file").unwrap();
    let (code, _, err) = run(&dir, &["gen"]);
    assert!(code == 2 && err.starts_with("error: clients/"), "{err}");
}

#[test]
fn a_doubled_tag() {
    let dir = project();
    fs::write(dir.path().join("proto/more.proto"), GAME.replace("Move", "Jump")).unwrap();
    let expected = "error: proto/more.proto:6: game.v1.Jump has tag 2, which game.v1.Move has too \
                    (proto/game.proto:5); a receiver could not tell them apart\n  \
                    fix: give one of them `tag: 4`, which is free\n";
    for command in ["gen", "check"] {
        assert_eq!(run(&dir, &[command]), (2, String::new(), expected.to_string()));
    }
    assert!(!exists(&dir, "clients"));
}

#[test]
fn each_finding_is_an_error() {
    let dir = project();
    edit(&dir, "tag: 2, from: CLIENT, to: ROOM", "tag: 3, to: ROOM, max_rate: \"fast\"");
    let (code, _, err) = run(&dir, &["check"]);
    assert_eq!(code, 2);
    assert_eq!(err.lines().filter(|l| l.starts_with("error: proto/game.proto:6: ")).count(), 3, "{err}");
}

#[test]
fn check_tells_what_there_is() {
    let dir = project();
    let (code, out, _) = run(&dir, &["check"]);
    assert_eq!(code, 0);
    let fingerprint = out.trim_end().strip_prefix("ok: 1 message, 0 services, fingerprint ").unwrap();
    assert!(fingerprint.len() == 32 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()), "{out}");
}

#[test]
fn the_stacks_own_stubs() {
    let dir = project();
    let (code, out, _) = run(&dir, &["gen", "--stack"]);
    assert_eq!((code, &*out), (0, "clients/python/tagwire/gen: 7 written, 0 removed, 0 unchanged\n"));
    assert!(exists(&dir, "clients/python/tagwire/gen/v1/__init__.py"));
    let schema = fs::read_to_string(dir.path().join("clients/python/tagwire/gen/_schema.py")).unwrap();
    assert!(schema.contains("\nfrom ..schema import Rules, Schema\n"));
    assert!(!schema.contains("descriptor.proto\\x12\\x0fgoogle.protobuf\""), "everyone has descriptor.proto");
    assert_eq!(run(&dir, &["gen", "--stack", "--name", "x"]).0, 2);
}

#[test]
fn the_stubs_of_this_repository_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for args in [&["gen", "--check"][..], &["gen", "--check", "--stack"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_tagwire")).args(args).current_dir(&root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
