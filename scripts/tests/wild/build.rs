//! The Rust types of the schema beside this file, and a table of those that travel alone.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    tagwire_codegen::build(&["proto"], "schema.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let printed = fs::read_to_string(out.join("schema.rs")).expect("it was just written");
    // `schema()` names each type: `::tagwire::MessageInfo::push::<wild::shapes::Tree>(),`. The requests are all empty.
    let types = printed.lines().filter_map(|line| {
        let (_, rest) = line.split_once("::tagwire::MessageInfo::push::<")?;
        Some(rest.split_once(">()")?.0)
    });
    let arms: String = types
        .map(|path| {
            format!("    (<schema::{path} as tagwire::Message>::FULL_NAME, again::<schema::{path}>),\n")
        })
        .collect();
    let table = format!("static TYPES: &[(&str, fn(&[u8]) -> Result<Vec<u8>, String>)] = &[\n{arms}];\n");
    fs::write(out.join("types.rs"), table).expect("OUT_DIR can be written to");
}
