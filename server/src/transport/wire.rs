//! Both sides of a connection, as long as it is not clear what is spoken on it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use rustls::ServerConfig;

use super::inlet::{Inlet, poll_read};
use super::outlet::Outlet;
use super::stream::{ReadHalf, Stream};
use super::{Broken, Kind};

#[derive(Debug)]
pub(crate) struct Wire {
    half: ReadHalf,
    outlet: Outlet,
    bytes_received: Counter,
}

impl Wire {
    /// A socket alone. What is read from it is added to a counter.
    pub(crate) fn new(stream: Stream, bytes_received: Counter) -> Self {
        let (half, write) = stream.split();
        Wire { half, outlet: Outlet::new(write), bytes_received }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.outlet.kind()
    }

    /// Reads once; what came of it goes behind `plain`. 0: the peer sends no more.
    pub(crate) async fn read(&mut self, plain: &mut Vec<u8>) -> Result<usize, Broken> {
        let Wire { half, outlet, bytes_received } = self;
        let mut take = |bytes: &[u8]| plain.extend_from_slice(bytes);
        poll_fn(|cx| poll_read(half, outlet, bytes_received, cx, &mut take)).await
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.outlet.try_write(bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| self.outlet.poll_writable(cx)).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.settle().await
    }

    /// Writes what layers hold back.
    async fn settle(&mut self) -> io::Result<()> {
        while self.outlet.is_pending() {
            poll_fn(|cx| self.outlet.poll_writable(cx)).await;
            self.outlet.flush()?;
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
        let (layers, socket) = self.outlet.layers_mut();
        layers.start_tls(config)?;
        layers.unwrap(socket, first, &mut plain);
        loop {
            self.settle().await?;
            if !self.outlet.layers_mut().0.is_handshaking() {
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
        let (layers, socket) = self.outlet.layers_mut();
        layers.start_websocket(max_message_bytes);
        layers.unwrap_inner(socket, first, &mut plain);
        plain
    }

    /// The two sides.
    pub(crate) fn split(self) -> (Inlet, Outlet) {
        (Inlet::new(self.half, self.bytes_received), self.outlet)
    }
}
