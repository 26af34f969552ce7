//! The TypeScript printer: messages for protobuf-es, and around them the schema and a class for each service.
//!
//! ```text
//! <name>/index.ts               SCHEMA, and the names that only one package has
//!        v1/index.ts            one module a package, `<name>.` taken off: its messages, enums, extensions, services
//!        arena/v1/arena_pb.ts   one module a file, where the file is in the schema
//! ```
//!
//! The modules of the files are, behind their first line, what `protoc-gen-es` 2.17.0 prints with
//! `target=ts,import_extension=js`: who knows that library knows ours, and may go back to its plugin. A test compares
//! the bytes. They are made from descriptors without the options of the stack and of `buf.validate`, and without the
//! imports that were there for those, so that no page loads what only a server reads.
//!
//! All imports but those of `@bufbuild/protobuf` and `@tagwire/client` are relative: the folder may lie anywhere. The
//! files are made to pass `tsc --strict` for any schema that protobuf-es can express; others are refused.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::fingerprint::fingerprint;
use crate::model::{Model, Origin};
use crate::package::{default_name, header, is_identifier};

pub use crate::package::Package;

mod bare;
mod comments;
mod index;
mod layout;
mod messages;
mod module;
pub(crate) mod names;
mod schema;

use index::Index;
use schema::Schema;

/// The parameter with which `protoc-gen-es` prints the same.
pub const PARAMETER: &str = "target=ts,import_extension=js";

/// Prints the messages of `origin` as the package `name`; without a name, the first part that all names of
/// packages share. Of the stack's own messages, which have no name, there are only the modules of the files.
///
/// # Errors
/// Where there is no such part, or names of the schema cannot stand in TypeScript.
pub fn print(model: &Model, origin: Origin, name: Option<&str>) -> Result<Package, Error> {
    let name = match (origin, name) {
        (Origin::Game, Some(name)) => checked_name(name)?,
        (Origin::Game, None) => checked_name(&default_name(model, "TypeScript package")?)?,
        _ => "tagwire".to_string(),
    };
    let mark = match origin {
        Origin::Game => fingerprint(model).iter().map(|b| format!("{b:02x}")).collect(),
        _ => String::new(),
    };
    let schema = Schema::new(model);
    let mut files = BTreeMap::new();
    for bare in &bare::bare(model, origin)? {
        let module = &schema.file(&bare.file.name).module;
        // Those of the library have their code there.
        let Some(path) = schema::file_of(module) else { continue };
        layout::check(&schema.file(&bare.file.name).items, &bare.file.path)?;
        let text = messages::print(&schema, bare)?;
        files.insert(path, header("//", &[&bare.file.name], &mark) + &text);
    }
    if origin == Origin::Game {
        files.extend(Index::new(model, &schema, &name, &mark).files());
    }
    Ok(Package { name, files })
}

/// What a plugin is to be given so that it prints the same: an encoded `google.protobuf.compiler.CodeGeneratorRequest`
/// with the descriptors that [`print`] prints from, comments included. For tests, which compare.
///
/// # Errors
/// As of [`print`].
#[doc(hidden)]
pub fn request(model: &Model, origin: Origin) -> Result<Vec<u8>, Error> {
    Ok(bare::request(&bare::bare(model, origin)?))
}

fn checked_name(name: &str) -> Result<String, Error> {
    if is_identifier(name) {
        return Ok(name.to_string());
    }
    Err(Error::Layout {
        what: format!("\"{name}\" cannot be the name of a package in every language"),
        fix: "choose another, of letters, digits and underscores: `--name my_game`".to_string(),
    })
}
