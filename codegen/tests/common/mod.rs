//! Schemas for tests: written to a temporary folder, read as users' are.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part of this")]

use std::fs;
use std::path::Path;

use tagwire_codegen::Error;
use tagwire_codegen::model::Model;
use tempfile::TempDir;

/// Writes files, named by their path, into a new folder.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("files lie in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    dir
}

/// The model of a schema that is right, or its errors with paths as in `files`.
pub fn read(files: &[(&str, &str)]) -> Result<Model, String> {
    let dir = folder(files);
    tagwire_codegen::read(&[dir.path()]).map_err(|e| bare(&e.to_string(), dir.path()))
}

/// The same without a look at names that Rust cannot tell apart, for printers that can.
pub fn read_any_names(files: &[(&str, &str)]) -> Result<Model, String> {
    let dir = folder(files);
    load_any_names(dir.path()).map_err(|e| bare(&e.to_string(), dir.path()))
}

/// The same of a folder that is there.
pub fn load_any_names(dir: &Path) -> Result<Model, Error> {
    let model = tagwire_codegen::load::load(&[dir.to_path_buf()])?;
    tagwire_codegen::check::check(&model).map_err(Error::Check)?;
    Ok(model)
}

/// A text without the folder in its paths.
pub fn bare(text: &str, dir: &Path) -> String {
    text.replace(&format!("{}/", dir.display()), "").replace(&dir.display().to_string(), "DIR")
}

/// One file `game.proto`: proto3, package `game.v1`, our options imported; `body` begins in line 4.
pub fn game(body: &str) -> String {
    format!("syntax = \"proto3\";\npackage game.v1;\nimport \"tagwire/v1/options.proto\";\n{body}")
}

/// Compares with the file of that name in `tests/golden`. A difference fails the test and rewrites the file: look at
/// it with `git diff`, and commit it if it is meant.
#[track_caller]
pub fn golden(name: &str, text: &str) {
    assert!(
        is_golden(name, text),
        "codegen/tests/golden/{name} was another; it is rewritten, see `git diff`"
    );
}

/// The same for one file of many.
pub fn is_golden(name: &str, text: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return true;
    }
    fs::create_dir_all(path.parent().expect("files lie in a folder")).expect("a folder");
    fs::write(&path, text).expect("a file");
    false
}
