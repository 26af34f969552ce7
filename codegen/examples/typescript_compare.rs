//! Writes into a folder what the TypeScript printer makes of a schema, and what `protoc-gen-es` is to be given so that
//! it prints the same: the test that compares the two runs it.
//!
//! Arguments: the folder, whose name the printed package gets, then those of the schema; none for the stack's own
//! messages. The rules of tagwire are not checked, so that a schema can have all that protobuf has.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tagwire_codegen::model::Origin;
use tagwire_codegen::{Error, load, typescript};

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, bytes));
    written.map_err(|source| Error::Io { path: path.to_path_buf(), source })
}

fn run() -> Result<(), Error> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let out = paths.next().unwrap_or_default();
    let roots: Vec<PathBuf> = paths.collect();
    let (model, origin) = match roots.is_empty() {
        true => (load::load_stack()?, Origin::Stack),
        false => (load::load(&roots)?, Origin::Game),
    };
    write(&out.join("request.bin"), &typescript::request(&model, origin)?)?;
    let name = out.file_name().and_then(OsStr::to_str);
    for (name, text) in typescript::print(&model, origin, name)?.files {
        write(&out.join("ours").join(name), text.as_bytes())?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
