//! Makes Rust types and traits of everything below `proto/`, at each build. No protoc is needed.

fn main() {
    tagwire_codegen::build(&["proto"], "schema.rs");
}
