//! Ways for frames to come and go: TCP or memory below, TLS and WebSocket above it, or neither.
//!
//! ```text
//! frames <-> [WebSocket messages] <-> [TLS records] <-> bytes <-> TCP socket | memory
//!                     layers                                        socket
//! ```
//!
//! [`Wire`] is all of it for one connection.

mod layers;
mod memory;
mod overhead;
mod reading;
mod stream;
mod wire;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tagwire::CloseCode;

pub(crate) use layers::MAX_MESSAGE_BYTES;
pub use memory::MemoryStream;
pub(crate) use stream::Stream;
pub(crate) use wire::Wire;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A client on the network, at this address.
    Network(SocketAddr),
    /// A client in this process.
    Memory,
}

impl Peer {
    /// Its address; `None`: it has none, and nothing that is limited by address concerns it.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Peer::Network(address) => Some(address.ip()),
            Peer::Memory => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // In three lines of the log a login. The library takes 2.4 times as many instructions.
            Peer::Network(SocketAddr::V4(address)) => {
                let mut number = itoa::Buffer::new();
                let [first, rest @ ..] = address.ip().octets();
                f.write_str(number.format(first))?;
                for octet in rest {
                    f.write_str(".")?;
                    f.write_str(number.format(octet))?;
                }
                f.write_str(":")?;
                f.write_str(number.format(address.port()))
            }
            Peer::Network(address) => address.fmt(f),
            Peer::Memory => f.write_str("memory"),
        }
    }
}

/// How a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Tls,
    WebSocket,
    WebSocketTls,
    Memory,
}

impl Kind {
    /// For the counter.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Tcp => "tcp",
            Kind::Tls => "tls",
            Kind::WebSocket => "websocket",
            Kind::WebSocketTls => "websocket over tls",
            Kind::Memory => "memory",
        }
    }

    /// Nobody between the two ends can read or change what is sent.
    pub(crate) fn is_secure(self) -> bool {
        matches!(self, Kind::Tls | Kind::WebSocketTls | Kind::Memory)
    }
}

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The peer does not keep to the rules of WebSockets, or of ours for them.
    #[error("{1}")]
    WebSocket(CloseCode, String),
    /// What comes is hardly frames any more.
    #[error("TLS and WebSocket add too much to what is sent")]
    Overhead,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_shown_as_the_library_shows_it(address: SocketAddr) {
            prop_assert_eq!(Peer::Network(address).to_string(), address.to_string());
        }
    }
}
