//! How a client of each peer talks: bytes in, bytes out. Sockets and clocks are the engine's (`load`).

pub mod colyseus;
pub mod grpc;
pub mod mqtt;
pub mod nats;
pub mod plain;
mod rest;
pub mod tagwire;
pub mod tls;
pub mod websocket;

use std::fmt;

/// Who a connection is.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Its number among the connections of the run, from 0.
    pub number: u32,
    /// Its name, unique in the run.
    pub name: String,
    /// The room, topic or subject that it is in.
    pub room: String,
    /// It sends to others; false: it only receives (a subscriber).
    pub sends: bool,
    /// It receives what is sent to its room. One that neither sends nor receives needs no room.
    pub receives: bool,
}

/// What a client sends. The body is written by [`crate::body`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// Comes back to the sender, and to all others in its room.
    All,
    /// Goes to the others in its room.
    Others,
    /// The same: a step.
    Step,
    /// The same, and the server checks four constraints of it.
    CheckedStep,
    /// The same; only the last of a sender counts.
    Latest,
    /// Is answered with its own body.
    Request,
}

/// What a client hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// It is in, and may say something now. Once.
    Ready,
    /// A message, or the answer to a request: the body.
    Body(&'a [u8]),
    /// A ping, which was answered.
    Ping,
}

/// One client's side of a conversation. Cheap: a call or two a read, no allocation a message.
pub trait Dialect: fmt::Debug {
    /// The connection is open: appends what the client says first.
    fn open(&mut self, out: &mut Vec<u8>);

    /// Says a message, which is appended here or by the next [`Dialect::flush`]. Not before [`Heard::Ready`].
    fn say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>);

    /// Takes what came: as much of it as is whole, in order, and returns how many bytes those were; the rest comes again with more
    /// behind it. What the client owes for it (the next step of a login, a pong, an acknowledgement) is appended to `out`.
    ///
    /// # Errors
    /// The server said something that ends the run: a refusal, or bytes that cannot be.
    fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize>;

    /// All that is said this turn was: appends what waited for that, because it costs less together.
    fn flush(&mut self, _out: &mut Vec<u8>) {}

    /// What is needed to open this session again on a new connection, where the peer has such a thing.
    fn resumed(&self) -> Option<Box<dyn Dialect>> {
        None
    }
}
