//! From `.proto` files to a checked model of a game's messages, and from it to code. No protoc is needed.
//!
//! ```text
//! .proto files, or a descriptor set -> load -> Model -> check -> fingerprint -> rust | python | typescript | diff
//! ```
//!
//! - [`load`]: reads and compiles the files; knows the stack's own without copies. Reads descriptor sets of strangers.
//! - [`model`]: what the files say, as plain data; every other part reads only this.
//! - [`constraints`]: what a field may hold, by `buf.validate`.
//! - [`check`](mod@check): the rules a schema must keep.
//! - [`fingerprint`](mod@fingerprint): the number that two sides compare.
//! - [`diff`]: what differs where the numbers do, and whether it matters.
//! - [`lock`]: what a schema was when it was released, and what may come after it.
//! - [`docs`]: a reference for people, browsers and language models.
//! - [`rust`], [`python`], [`typescript`]: one printer a language; spelling, no meaning.
//! - [`package`]: what the printers for other languages than Rust share.
//!
//! In a `build.rs`:
//!
//! ```no_run
//! tagwire_codegen::build(&["proto"], "schema.rs");
//! ```
//!
//! and in the crate, which depends on `tagwire`: `include!(concat!(env!("OUT_DIR"), "/schema.rs"));`

use std::path::{Path, PathBuf};
use std::{env, fs, process};

pub mod check;
pub mod constraints;
mod descriptors;
pub mod diff;
pub mod docs;
mod error;
pub mod fingerprint;
pub mod load;
pub mod lock;
pub mod model;
mod option_error;
pub mod package;
pub mod python;
pub mod rust;
pub mod typescript;

pub use error::{Error, Finding, Findings};
use model::{Model, Origin};

/// Loads and checks the schema below the folders `roots`.
///
/// # Errors
/// What is wrong with it, with places and fixes.
pub fn read(roots: &[impl AsRef<Path>]) -> Result<Model, Error> {
    let roots: Vec<PathBuf> = roots.iter().map(|r| r.as_ref().to_path_buf()).collect();
    let model = load::load(&roots)?;
    check::check(&model)
        .and_then(|()| check::check_patterns(&model))
        .and_then(|()| check::check_names(&model))
        .map_err(Error::Check)?;
    Ok(model)
}

/// For a `build.rs`: writes the Rust code of the schema below `roots` to `file` in `OUT_DIR` and tells cargo when
/// to do it again. Ends the build with the errors, one finding after another, if the schema has any.
pub fn build(roots: &[impl AsRef<Path>], file: &str) {
    for root in roots {
        println!("cargo:rerun-if-changed={}", root.as_ref().display());
    }
    finish(read(roots).and_then(|model| write(&model, Origin::Game, file)));
}

/// For the `build.rs` of the crate `tagwire` itself: the stack's own messages.
#[doc(hidden)]
pub fn build_stack(file: &str) {
    finish(load::load_stack().and_then(|model| write(&model, Origin::Stack, file)));
}

fn write(model: &Model, origin: Origin, file: &str) -> Result<(), Error> {
    let path = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(file);
    fs::write(&path, rust::print(model, origin)?).map_err(|source| Error::Io { path, source })
}

fn finish(result: Result<(), Error>) {
    if let Err(error) = result {
        eprintln!("error: {error}");
        process::exit(2);
    }
}
