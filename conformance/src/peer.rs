//! The server that a case plays: exact bytes in and out, on real sockets of this machine.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tagwire::frame::{Decoder, Limits, MAX_FRAME_BYTES, encode, encode_message};
use tagwire::pb::tagwire::v1::{Ping, PlayerLogin};
use tagwire::prost::Message as _;
use tagwire::{Message, Tag};

use crate::driver::soon;

/// One frame of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) tag: Tag,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of a message in its frame.
pub(crate) fn frame_of<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = vec![];
    encode_message(message, &mut bytes);
    bytes
}

/// The bytes of a frame.
pub(crate) fn raw_frame(tag: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    encode(Tag(tag), payload, &mut bytes);
    bytes
}

/// Where clients connect to.
pub(crate) struct Peer {
    listener: Option<TcpListener>,
    address: SocketAddr,
}

impl Peer {
    pub(crate) fn bind() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port of this machine can be had")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Peer { listener: Some(listener), address })
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on connections are refused.
    pub(crate) fn close(&mut self) {
        self.listener = None;
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> Result<Link> {
        self.accept_within(soon())?.context("the client did not connect")
    }

    /// The next connection, if one comes in that time.
    pub(crate) fn accept_within(&self, time: Duration) -> Result<Option<Link>> {
        let by = Instant::now() + time;
        let listener = self.listener.as_ref().context("the listener is closed")?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => return Ok(Some(Link::new(stream)?)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() >= by {
                        return Ok(None);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Fails if a client connects within that time.
    pub(crate) fn nobody_comes(&self, time: Duration) -> Result<()> {
        ensure!(self.accept_within(time)?.is_none(), "the client connected again");
        Ok(())
    }
}

/// The server's end of one connection.
pub(crate) struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes read in all.
    read: usize,
}

impl Link {
    fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(soon()))?;
        Ok(Link { stream, buffer: vec![], read: 0 })
    }

    /// For who speaks no frames on it.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("the client takes no bytes")
    }

    /// Writes a message in its frame.
    pub(crate) fn send<M: Message>(&mut self, message: &M) -> Result<()> {
        self.raw(&frame_of(message))
    }

    /// Takes the next frame out of what was read. The client must write the short form wherever it fits.
    fn buffered(&mut self) -> Result<Option<Frame>> {
        let mut input = self.buffer.as_slice();
        let mut decoder = Decoder::new(Limits { max_frame_bytes: MAX_FRAME_BYTES, only: None });
        let frame = decoder.next(&mut input).context("the client sent what is no frame")?;
        let Some(frame) = frame.map(|frame| Frame { tag: frame.tag, payload: frame.payload.to_vec() }) else {
            return Ok(None);
        };
        let used = self.buffer.len() - input.len();
        let mut expected = vec![];
        encode(frame.tag, &frame.payload, &mut expected);
        ensure!(self.buffer[..used] == expected, "not the shortest form of a frame with tag {}", frame.tag);
        self.buffer.drain(..used);
        Ok(Some(frame))
    }

    /// Reads once; false: the client has shut down or reset its side.
    fn fill(&mut self, by: Instant, most: usize) -> Result<bool> {
        let left = by.saturating_duration_since(Instant::now());
        ensure!(
            !left.is_zero(),
            "the client sent nothing in time; {} bytes wait unfinished",
            self.buffer.len()
        );
        self.stream.set_read_timeout(Some(left))?;
        let mut chunk = vec![0; most.min(1 << 16)];
        match self.stream.read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                self.read += count;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the client sent nothing in time; {} bytes wait unfinished", self.buffer.len())
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The next frame, whatever it is.
    pub(crate) fn any_frame(&mut self) -> Result<Frame> {
        let by = Instant::now() + soon();
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            ensure!(self.fill(by, 1 << 16)?, "the client has closed the connection");
        }
    }

    /// The next frame that is no mere acknowledgement.
    pub(crate) fn frame(&mut self) -> Result<Frame> {
        loop {
            let frame = self.any_frame()?;
            let acknowledges = frame.tag == Ping::TAG
                && Ping::decode(frame.payload.as_slice()).is_ok_and(|ping| ping.sent_epoch == 0);
            if !acknowledges {
                return Ok(frame);
            }
        }
    }

    /// The next frame, which must be this message.
    pub(crate) fn take<M: Message>(&mut self) -> Result<M> {
        let frame = self.frame()?;
        ensure!(
            frame.tag == M::TAG,
            "expected {}, got tag {} {:02x?}",
            M::FULL_NAME,
            frame.tag,
            frame.payload
        );
        M::decode(frame.payload.as_slice()).with_context(|| format!("the client's {}", M::FULL_NAME))
    }

    /// The next frame of the client, which must be its login.
    pub(crate) fn login(&mut self) -> Result<PlayerLogin> {
        self.take()
    }

    /// Asks for a sign of life; what the client says of what it has handled. It must have sent nothing before.
    pub(crate) fn ping(&mut self) -> Result<Ping> {
        self.send(&Ping { sent_epoch: 77, ..Ping::default() })?;
        let answer: Ping = self.take()?;
        ensure!(answer.sent_epoch == 77, "the answer does not copy sentEpoch: {answer:?}");
        Ok(answer)
    }

    /// The client has shut down its side, and sent nothing before that was not taken.
    pub(crate) fn ended(&mut self) -> Result<()> {
        let by = Instant::now() + soon();
        loop {
            if let Some(frame) = self.buffered()? {
                bail!("expected the end of the connection, got tag {} {:02x?}", frame.tag, frame.payload);
            }
            if !self.fill(by, 1 << 16)? {
                ensure!(self.buffer.is_empty(), "the client ended within a frame: {:02x?}", self.buffer);
                return Ok(());
            }
        }
    }

    /// Fails if the client sends anything within that time.
    pub(crate) fn silent(&mut self, time: Duration) -> Result<()> {
        ensure!(self.buffer.is_empty(), "the client has sent {:02x?}", self.buffer);
        self.stream.set_read_timeout(Some(time))?;
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => bail!("the client has closed the connection"),
            Ok(_) => bail!("the client sent something"),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The whole frames within so many more bytes of the client, but for logins: reads exactly these and no more.
    pub(crate) fn frames_within(&mut self, bytes: usize) -> Result<Vec<Frame>> {
        let by = Instant::now() + soon();
        let until = self.read + bytes;
        let mut frames = vec![];
        while self.read < until {
            let more = until - self.read;
            ensure!(self.fill(by, more)?, "the client has closed the connection");
        }
        while let Some(frame) = self.buffered()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// Ends the server's side in the ordinary way: all that was written arrives.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Pulls the plug: what was not delivered is lost, and the client hears of a reset.
    pub(crate) fn reset(self) -> Result<()> {
        let socket = socket2::Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO))?;
        Ok(())
    }
}
