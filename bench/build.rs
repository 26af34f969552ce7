//! Generates the Rust types of `proto/`; no protoc.

fn main() {
    tagwire_codegen::build(&["proto"], "schema.rs");
}
