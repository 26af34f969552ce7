//! The writing side of a connection.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use socket2::SockRef;
use tagwire::CloseCode;
use tokio::time::Instant;

use super::layers::Layers;
use super::stream::WriteHalf;
use super::{Broken, Kind};

#[derive(Debug)]
pub(crate) struct Outlet {
    socket: WriteHalf,
    /// In a box, for most connections have none.
    layers: Option<Box<Mutex<Layers>>>,
}

impl Outlet {
    pub(super) fn new(socket: WriteHalf) -> Self {
        Outlet { socket, layers: None }
    }

    /// The layers, which there are from then on.
    pub(super) fn layers_mut(&mut self) -> (&mut Layers, &WriteHalf) {
        let layers = self.layers.get_or_insert_default();
        (layers.get_mut().unwrap_or_else(PoisonError::into_inner), &self.socket)
    }

    fn layers(&self) -> Option<MutexGuard<'_, Layers>> {
        self.layers.as_ref().map(|layers| layers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn has_layers(&self) -> bool {
        self.layers.is_some()
    }

    /// Writes what it takes at once: with a WebSocket whole frames only. What layers hold back of it counts as written.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.layers() {
            None => self.socket.try_write(bytes),
            Some(mut layers) => layers.write(&self.socket, bytes),
        }
    }

    /// True where something that counts as written waits for the socket: see to it that [`Outlet::flush`] comes.
    pub(crate) fn is_pending(&self) -> bool {
        self.layers().is_some_and(|layers| layers.is_pending())
    }

    /// Writes what is held back, as much as the socket takes.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match self.layers() {
            None => Ok(()),
            Some(mut layers) => layers.flush(&self.socket),
        }
    }

    /// Ready when the socket may take something, or has failed: an error comes out of the write.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_writable(cx)
    }

    /// Reads through the layers: what came from the socket is `raw`, what it means goes behind `plain`. False: it is hardly
    /// frames any more.
    pub(super) fn unwrap(&self, raw: &[u8], plain: &mut Vec<u8>) -> bool {
        let Some(mut layers) = self.layers() else { return true };
        layers.unwrap(&self.socket, raw, plain);
        layers.overhead.take(raw.len(), plain.len(), Instant::now)
    }

    /// Whether a layer says that nothing more comes, or nothing more can be understood. An error is told once.
    pub(super) fn take_end(&self) -> Option<Result<(), Broken>> {
        self.layers()?.take_end()
    }

    /// The code with which the peer closed its WebSocket.
    pub(crate) fn goodbye(&self) -> Option<u16> {
        self.layers()?.goodbye()
    }

    /// Messages of a WebSocket may be so large from now on.
    pub(crate) fn set_max_message_bytes(&self, max_message_bytes: usize) {
        if let Some(mut layers) = self.layers() {
            layers.set_max_message_bytes(max_message_bytes);
        }
    }

    /// The layers may add so much in a second from now on; `None`: no limit.
    pub(crate) fn set_max_overhead(&self, per_second: Option<u64>) {
        if let Some(mut layers) = self.layers() {
            layers.overhead.admit(per_second, Instant::now());
        }
    }

    /// Has the layers say goodbye, with `why` where they can. What the socket does not take at once is pending.
    pub(crate) fn close(&self, why: Option<(CloseCode, &str)>) -> io::Result<()> {
        match self.layers() {
            None => Ok(()),
            Some(mut layers) => layers.close(&self.socket, why),
        }
    }

    /// Says that nothing more comes. False: the peer is gone.
    pub(crate) fn shut_down(&self) -> bool {
        self.socket.shut_down()
    }

    /// True where the peer has closed the connection, even if something that it sent before was not read. Memory, which
    /// has no such thing, is always there.
    pub(crate) fn is_gone(&self) -> bool {
        self.socket.is_gone()
    }

    /// The TCP socket, for its options.
    pub(crate) fn tcp(&self) -> Option<SockRef<'_>> {
        self.socket.tcp()
    }

    pub(crate) fn kind(&self) -> Kind {
        match (&self.socket, self.layers().map(|layers| (layers.has_tls(), layers.has_websocket()))) {
            (WriteHalf::Memory(_), _) => Kind::Memory,
            (_, None | Some((false, false))) => Kind::Tcp,
            (_, Some((true, false))) => Kind::Tls,
            (_, Some((false, true))) => Kind::WebSocket,
            (_, Some((true, true))) => Kind::WebSocketTls,
        }
    }

    /// The certificate that the peer has shown, DER.
    pub(crate) fn certificate(&self) -> Option<Vec<u8>> {
        self.layers()?.certificate()
    }
}
