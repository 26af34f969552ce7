//! What the fuzz targets run: one function each, from any bytes to a panic where a promise is broken.
//!
//! `tests/fuzz_seeds.rs` of the crate `tagwire` includes this file and runs the committed inputs; so nothing here
//! needs more than that crate's own dependencies.

pub mod frame_decoder;
pub mod input;
pub mod login;
pub mod messages;
pub mod proxy_header;
pub mod schema_loading;

#[path = "../../tests/common/mod.rs"]
pub mod common;

/// The server's, whose crate is more than a target needs.
#[path = "../../server/src/proxy_header.rs"]
mod parser;
