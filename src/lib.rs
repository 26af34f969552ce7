//! The protocol of tagwire: how players and a game server talk, without a socket, a clock or a thread.
//!
//! Bytes and the time go in by argument; frames, messages and verdicts come out. The server, the clients and the
//! tests all run this same code.
//!
//! ```text
//! socket bytes -> opening::sniff -> frame::Decoder -> session::server (may it? now?) -> the server's router
//!                                                 \-> session::client
//! messages -> session::dialect (how for whom) -> session::outbox -> socket bytes
//! ```
//!
//! - [`frame`]: bytes to frames and back. [`opening`]: what a new connection speaks.
//! - [`tag`], [`close`]: the numbers of messages and of endings. [`name`]: who and where. [`rate`]: how often.
//! - [`schema`]: what a game's messages may do, as a value; several live in one process.
//! - [`validate`]: what a field may hold. [`service`], [`room`]: what a game's code is given, and what it may do.
//! - [`session`]: both sides of the conversation as state machines.
//! - [`pb`]: the types generated from `proto/`.
//!
//! It refuses to own: sockets, clocks, tasks, rooms, who a player is.

// Generated code says `::tagwire`, here as in any other crate.
extern crate self as tagwire;

pub mod close;
pub mod frame;
pub mod name;
pub mod opening;
pub mod pb;
pub mod rate;
pub mod room;
pub mod schema;
pub mod service;
pub mod session;
pub mod tag;
pub mod time;
pub mod validate;

pub use bytes;
pub use prost;
pub use prost_types;

pub use close::CloseCode;
pub use frame::Frame;
pub use schema::{
    Access, Delivery, Fingerprint, Invalid, Message, MessageInfo, MessageSet, Rules, Schema, Sender, Target,
};
pub use tag::Tag;

/// The version of the protocol that this crate speaks; `docs/PROTOCOL.md` describes it.
pub const PROTOCOL_VERSION: u32 = 1;
