//! The server of tagwire: it takes connections, lets players in, and carries their messages.
//!
//! ```text
//! socket bytes -> connection (Decoder) -> tagwire::session::server (may it? now?) -> router -> rooms
//!                                                                                              |
//! socket <- flusher (one write a turn) <- session (outbox) <----------- frames encoded once <--+
//! ```
//!
//! - [`Config`]: what may be set. [`Sources`]: where it comes from. [`auth`]: who may come in. [`metrics`]: what is counted.
//! - [`run`]: a whole program. [`Server`]: start and stop. [`Control`]: change while it runs. `core`: what its parts share.
//! - `listener`: sockets and their acceptance. `door`: who may stand there. `connection`: one socket's life. `transport`: TCP,
//!   TLS, WebSocket, memory. `opening`: which of them a connection speaks; `http` and `tls` for two of them, `proxy_header`:
//!   whom a proxy speaks for. `login`: the way in. `exchange`: whether schemas fit. `session`: one player's handle; `link`: its connection. `resume`: whose session a
//!   connection may have again.
//! - `router`: what a message does. [`hook`]: who may watch and change it. `requests`: who answers what is asked.
//! - `rooms`: who hears whom, and where a game's code for rooms runs. `directory`: who is inside, and the timer wheel.
//! - `dynamic`: a schema read at run time. `flusher`: which sockets have something to be written.
//!
//! The rules of the conversation are not here but in the crate `tagwire`.

mod asking;
pub mod auth;
mod clock;
mod config;
mod connection;
mod constraints;
mod control;
mod core;
mod directory;
mod door;
mod dynamic;
mod exchange;
mod flusher;
pub mod hook;
mod http;
mod link;
mod listener;
mod login;
pub mod metrics;
mod opening;
mod program;
mod proxy_header;
mod reader;
mod requests;
mod resume;
mod rooms;
mod router;
mod server;
mod session;
mod tls;
mod transport;

pub use config::{
    AuthKind, Change, ClientCertificates, Config, ConfigError, DevAuth, FileAuth, Flag, JwtAlgorithm,
    JwtAuth, Limits, Loaded, LogFormat, Plaintext, SchemaAccess, SchemaComments, SchemaPolicy, Sources,
    TlsConfig, ValueError, log_filter,
};
pub use control::Control;
pub use dynamic::{SchemaError, read_schema};
pub use listener::{ListenError, bind, raise_descriptor_limit};
pub use program::run;
pub use server::{Connector, Server};
pub use tls::TlsError;
pub use transport::{MemoryStream, Peer};
