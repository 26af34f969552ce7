//! The committed inputs of the fuzz targets, run as plain tests: what fuzzing once found stays found.

#![allow(missing_docs)]

use std::fs;
use std::path::Path;

#[allow(dead_code, unreachable_pub, reason = "the fuzz targets' own crate")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

fn run_seeds(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(&folder).expect("the folder of the seeds").map(|e| e.expect("a seed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seeds in {}", folder.display());
    for path in paths {
        // Shown only where it fails.
        println!("{}", path.display());
        run(&fs::read(&path).expect("a seed"));
    }
}

#[test]
fn frame_decoder() {
    run_seeds("frame_decoder", targets::frame_decoder::run);
}

#[test]
fn login() {
    run_seeds("login", targets::login::run);
}

#[test]
fn messages() {
    run_seeds("messages", targets::messages::run);
}

#[test]
fn proxy_header() {
    run_seeds("proxy_header", targets::proxy_header::run);
}

#[test]
fn schema_loading() {
    run_seeds("schema_loading", targets::schema_loading::run);
}
