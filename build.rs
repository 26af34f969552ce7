//! Generates Rust code from `proto/` with tagwire's own generator; no protoc.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    tagwire_codegen::build_stack("stack.rs");
    if std::env::var_os("CARGO_FEATURE_ARENA").is_some() {
        tagwire_codegen::build(&["proto"], "games.rs");
    }
}
