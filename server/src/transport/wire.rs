//! A connection's bytes, both ways: its stream, and what is spoken on it.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use prometheus_client::metrics::counter::Counter;
use rustls::ServerConfig;
use socket2::SockRef;
use tagwire::CloseCode;
use tokio::time::Instant;

use super::layers::Layers;
use super::stream::Stream;
use super::{Broken, Kind};

/// Its task alone reads; all write who send. Without layers it is the stream itself, and nothing is between.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(super) stream: Stream,
    /// In a box, for most connections have none.
    layers: Option<Box<Mutex<Layers>>>,
    pub(super) bytes_received: Counter,
}

impl Wire {
    /// A stream alone. What is read from it is added to a counter.
    pub(crate) fn new(stream: Stream, bytes_received: Counter) -> Self {
        Wire { stream, layers: None, bytes_received }
    }

    /// The layers, which there are from then on.
    fn layers_mut(&mut self) -> (&mut Layers, &Stream) {
        let layers = self.layers.get_or_insert_default();
        (layers.get_mut().unwrap_or_else(PoisonError::into_inner), &self.stream)
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
            None => self.stream.try_write(bytes),
            Some(mut layers) => layers.write(&self.stream, bytes),
        }
    }

    /// True where something that counts as written waits for the socket: see to it that [`Wire::flush`] comes.
    pub(crate) fn is_pending(&self) -> bool {
        self.layers().is_some_and(|layers| layers.is_pending())
    }

    /// Writes what is held back, as much as the socket takes.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match self.layers() {
            None => Ok(()),
            Some(mut layers) => layers.flush(&self.stream),
        }
    }

    /// Ready when the socket may take something, or has failed: an error comes out of the write.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_writable(cx)
    }

    /// Reads through the layers: what came from the socket is `raw`, what it means goes behind `plain`. False: it is hardly
    /// frames any more.
    pub(super) fn unwrap(&self, raw: &[u8], plain: &mut Vec<u8>) -> bool {
        let Some(mut layers) = self.layers() else { return true };
        layers.unwrap(&self.stream, raw, plain);
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
            Some(mut layers) => layers.close(&self.stream, why),
        }
    }

    /// Says that nothing more comes. False: the peer is gone.
    pub(crate) fn shut_down(&self) -> bool {
        self.stream.shut_down()
    }

    /// True where the peer has closed the connection, even if something that it sent before was not read. Memory, which
    /// has no such thing, is always there.
    pub(crate) fn is_gone(&self) -> bool {
        self.stream.is_gone()
    }

    /// The TCP socket, for its options.
    pub(crate) fn tcp(&self) -> Option<SockRef<'_>> {
        self.stream.tcp()
    }

    pub(crate) fn kind(&self) -> Kind {
        match (&self.stream, self.layers().map(|layers| (layers.has_tls(), layers.has_websocket()))) {
            (Stream::Memory(_), _) => Kind::Memory,
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

    /// Writes all of it.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| self.poll_writable(cx)).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.settle().await
    }

    /// Writes what layers hold back.
    async fn settle(&mut self) -> io::Result<()> {
        while self.is_pending() {
            poll_fn(|cx| self.poll_writable(cx)).await;
            self.flush()?;
        }
        Ok(())
    }

    /// Shakes hands. `first`: what has come of it already. Gives what came behind it.
    pub(crate) async fn start_tls(
        &mut self,
        config: Arc<ServerConfig>,
        first: &[u8],
    ) -> Result<Vec<u8>, Broken> {
        let mut plain = vec![];
        let (layers, socket) = self.layers_mut();
        layers.start_tls(config)?;
        layers.unwrap(socket, first, &mut plain);
        loop {
            self.settle().await?;
            if !self.layers_mut().0.is_handshaking() {
                return Ok(plain);
            }
            if self.read(&mut plain).await? == 0 {
                return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// From here on all is WebSocket; `first` has come of it already. Gives the frames in it.
    pub(crate) fn start_websocket(&mut self, first: &[u8], max_message_bytes: usize) -> Vec<u8> {
        let mut plain = vec![];
        let (layers, socket) = self.layers_mut();
        layers.start_websocket(max_message_bytes);
        layers.unwrap_inner(socket, first, &mut plain);
        plain
    }
}
