//! A small project, and the command run in it.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

pub(crate) const GAME: &str = "syntax = \"proto3\";\npackage game.v1;\nimport \"tagwire/v1/options.proto\";\n\n\
                    message Move {\n  option (tagwire.v1.rules) = { tag: 2, from: CLIENT, to: ROOM };\n  int32 x = 1;\n}\n";

/// A folder with a good schema in `proto/game.proto`. It ends the search for settings.
pub(crate) fn project() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".git")).unwrap();
    write(&dir, "proto/game.proto", GAME);
    dir
}

/// Writes a file of the project.
pub(crate) fn write(dir: &TempDir, path: &str, text: &str) {
    let path = dir.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Exit code, standard output and standard error.
pub(crate) fn run(dir: &TempDir, args: &[&str]) -> (i32, String, String) {
    run_in(dir.path(), args)
}

/// The same in a folder.
pub(crate) fn run_in(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tagwire")).args(args).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Replaces a text in the schema.
pub(crate) fn edit(dir: &TempDir, from: &str, to: &str) {
    let path = dir.path().join("proto/game.proto");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).unwrap();
}

/// Whether a file or folder is there.
pub(crate) fn exists(dir: &TempDir, path: &str) -> bool {
    dir.path().join(path).exists()
}

/// All files below a folder with their texts.
pub(crate) fn tree(dir: &Path) -> Vec<(String, Vec<u8>)> {
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
