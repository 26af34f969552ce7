//! The types generated from `proto/`: [`tagwire::v1`] is the stack's own; with feature `arena` the games beside it
//! and their [`schema`].

// Generated: documented by the comments of the schema where these exist.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

include!(concat!(env!("OUT_DIR"), "/stack.rs"));

#[cfg(feature = "arena")]
include!(concat!(env!("OUT_DIR"), "/games.rs"));
