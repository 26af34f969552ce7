//! TLS and WebSocket between a socket and the frames, as state machines: neither waits nor knows of tasks.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use tagwire::CloseCode;
use tagwire::bytes::Bytes;
use tagwire::frame::whole_frames;
use tungstenite::error::CapacityError;
use tungstenite::protocol::frame::coding::CloseCode as WebSocketCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::Broken;
use super::overhead::Overhead;
use super::stream::Stream;

/// A message of a WebSocket is at most so large, bytes, or holds one larger frame alone.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Bytes of a message that are read at once. The buffer is zeroed for every read, and there are two a turn: one finds nothing more.
const READ_BUFFER_BYTES: usize = 1024;
/// A reason in a Close, and no more of it, bytes: a control frame holds 125, two are the code.
const MAX_CLOSE_REASON_BYTES: usize = 123;
/// The code of a WebSocket that is closed as it should be (RFC 6455, section 7.4.1).
const NORMAL_CLOSURE: u16 = 1000;

/// What is between the socket and the frames of one connection.
#[derive(Debug, Default)]
pub(super) struct Layers {
    tls: Option<Box<ServerConnection>>,
    websocket: Option<Box<WebSocketContext>>,
    /// What they add to the frames.
    pub(super) overhead: Overhead,
    /// The socket did not take all.
    pending: bool,
    end: Option<End>,
}

/// Why a layer gives nothing more.
#[derive(Debug)]
enum End {
    /// The peer has closed it, with this code if it was a WebSocket and told one.
    Closed(Option<u16>),
    Broken(Broken),
    /// That it is broken was told.
    Told,
}

impl Layers {
    pub(super) fn start_tls(&mut self, config: Arc<ServerConfig>) -> Result<(), rustls::Error> {
        self.tls = Some(Box::new(ServerConnection::new(config)?));
        Ok(())
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// From here on all is WebSocket.
    pub(super) fn start_websocket(&mut self, max_message_bytes: usize) {
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let config = bounded(config, max_message_bytes);
        self.websocket = Some(Box::new(WebSocketContext::new(Role::Server, Some(config))));
        self.overhead.set_max_message_bytes(max_message_bytes);
    }

    pub(super) fn has_websocket(&self) -> bool {
        self.websocket.is_some()
    }

    pub(super) fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.overhead.set_max_message_bytes(max_message_bytes);
        if let Some(websocket) = &mut self.websocket {
            websocket.set_config(|config| *config = bounded(*config, max_message_bytes));
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }

    /// The certificate that the peer has shown, DER.
    pub(super) fn certificate(&self) -> Option<Vec<u8>> {
        let shown = self.tls.as_ref()?.peer_certificates()?;
        shown.first().map(|certificate| certificate.to_vec())
    }

    /// The code with which the peer closed its WebSocket.
    pub(super) fn goodbye(&self) -> Option<u16> {
        match self.end {
            Some(End::Closed(code)) => code,
            _ => None,
        }
    }

    pub(super) fn take_end(&mut self) -> Option<Result<(), Broken>> {
        match std::mem::replace(self.end.as_mut()?, End::Told) {
            End::Broken(broken) => Some(Err(broken)),
            end => {
                self.end = Some(end);
                Some(Ok(()))
            }
        }
    }

    /// What came from the socket is `raw`; what it means goes behind `plain`. How it ends is told by
    /// [`Layers::take_end`].
    pub(super) fn unwrap(&mut self, socket: &Stream, raw: &[u8], plain: &mut Vec<u8>) {
        if self.end.is_some() {
            return;
        }
        let unwrapped = match self.tls {
            None => self.unwrap_messages(socket, raw, plain),
            Some(_) => {
                let mut inner = vec![];
                let target = if self.websocket.is_some() { &mut inner } else { &mut *plain };
                let end = self.unwrap_records(socket, raw, target);
                match self.websocket {
                    // What came before the end counts.
                    Some(_) => self.unwrap_messages(socket, &inner, plain).and_then(|own| Ok(own.or(end?))),
                    None => end,
                }
            }
        };
        self.finish(unwrapped);
    }

    /// The same for what has come through TLS already, or needs not.
    pub(super) fn unwrap_inner(&mut self, socket: &Stream, inner: &[u8], plain: &mut Vec<u8>) {
        let unwrapped = self.unwrap_messages(socket, inner, plain);
        self.finish(unwrapped);
    }

    fn finish(&mut self, unwrapped: Result<Option<End>, Broken>) {
        self.end = match unwrapped {
            Ok(end) => end,
            Err(broken) => Some(End::Broken(broken)),
        };
    }

    fn unwrap_records(
        &mut self,
        socket: &Stream,
        mut raw: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<Option<End>, Broken> {
        let Some(tls) = &mut self.tls else { return Ok(None) };
        while !raw.is_empty() {
            tls.read_tls(&mut raw)?;
            let state = match tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // An alert says what was wrong. If it cannot be written, the error is known here all the same.
                    let _ = flush_records(tls, socket);
                    return Err(error.into());
                }
            };
            let (ready, at) = (state.plaintext_bytes_to_read(), plain.len());
            plain.resize(at + ready, 0);
            tls.reader().read_exact(&mut plain[at..])?;
            if state.peer_has_closed() {
                return Ok(Some(End::Closed(None)));
            }
        }
        // Answers of the handshake, and to new keys.
        self.pending |= !flush_records(tls, socket)?;
        Ok(None)
    }

    fn unwrap_messages(
        &mut self,
        socket: &Stream,
        inner: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<Option<End>, Broken> {
        let Some(websocket) = &mut self.websocket else { return Ok(None) };
        // Pongs are written together below: each by itself, as tungstenite would, is a system call for six bytes.
        let mut below = Below { input: inner, tls: self.tls.as_deref_mut(), socket, is_reading: true };
        let mut answers = false;
        let end = loop {
            match websocket.read(&mut below) {
                Ok(Message::Binary(frames)) => {
                    // Also a frame that is not whole: its header may say more of what is wrong.
                    plain.extend_from_slice(&frames);
                    if frames.is_empty() || whole_frames(&frames, frames.len()) < frames.len() {
                        let why = "a message of a WebSocket holds whole frames".to_string();
                        return Err(Broken::WebSocket(CloseCode::MALFORMED, why));
                    }
                }
                Ok(Message::Text(_)) => {
                    let why = "messages of a WebSocket are binary here, not text".to_string();
                    return Err(Broken::WebSocket(CloseCode::MALFORMED, why));
                }
                Ok(Message::Close(close)) => break Some(End::Closed(close.map(|close| close.code.into()))),
                Ok(_) => answers = true,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(Error::Io(error)) => return Err(error.into()),
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => break Some(End::Closed(None)),
                Err(error @ Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                    return Err(Broken::WebSocket(CloseCode::TOO_LARGE, error.to_string()));
                }
                Err(error) => return Err(Broken::WebSocket(CloseCode::MALFORMED, error.to_string())),
            }
        };
        match end {
            // The answer to a Close; the peer may be gone by now.
            Some(_) => drop(self.flush(socket)),
            None if answers => self.flush(socket)?,
            None => {}
        }
        Ok(end)
    }

    /// Takes as much of `bytes` as the socket does, and what is held back of a message or a record that has begun.
    pub(super) fn write(&mut self, socket: &Stream, bytes: &[u8]) -> io::Result<usize> {
        if self.websocket.is_some() && matches!(self.end, Some(End::Closed(_))) {
            // As with a socket whose peer has closed it: what is lost is found out by reading.
            return Ok(bytes.len());
        }
        self.flush(socket)?;
        if self.pending {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut below = Below { input: &[], tls: self.tls.as_deref_mut(), socket, is_reading: false };
        let Some(websocket) = &mut self.websocket else {
            let taken = below.write(bytes)?;
            self.pending = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
            return Ok(taken);
        };
        let mut taken = 0;
        while taken < bytes.len() && !self.pending {
            let message = match whole_frames(&bytes[taken..], MAX_MESSAGE_BYTES) {
                // A rest of a frame is not for messages, and never comes.
                0 => bytes.len() - taken,
                whole => whole,
            };
            let frames = Bytes::copy_from_slice(&bytes[taken..taken + message]);
            websocket.write(&mut below, Message::Binary(frames)).map_err(to_io)?;
            taken += message;
            self.pending = !flushed(websocket.flush(&mut below).map_err(to_io))?;
        }
        self.pending |= self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        Ok(taken)
    }

    /// Writes what is held back, as much as the socket takes.
    pub(super) fn flush(&mut self, socket: &Stream) -> io::Result<()> {
        let mut below = Below { input: &[], tls: self.tls.as_deref_mut(), socket, is_reading: false };
        let messages = match &mut self.websocket {
            Some(websocket) => match websocket.flush(&mut below) {
                // Both have said goodbye; TLS has not.
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => true,
                written => flushed(written.map_err(to_io))?,
            },
            None => true,
        };
        let records = match &mut self.tls {
            Some(tls) => flush_records(tls, socket)?,
            None => true,
        };
        self.pending = !(messages && records);
        Ok(())
    }

    /// Says goodbye, with `why` where it can be told.
    pub(super) fn close(&mut self, socket: &Stream, why: Option<(CloseCode, &str)>) -> io::Result<()> {
        if let (Some(websocket), Some((code, reason))) = (&mut self.websocket, why)
            && websocket.can_write()
        {
            let code = if code == CloseCode::NORMAL { NORMAL_CLOSURE } else { code.0 };
            let most = MAX_CLOSE_REASON_BYTES.min(reason.len());
            let end = (0..=most).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
            let reason = &reason[..end];
            let frame = CloseFrame { code: WebSocketCode::from(code), reason: reason.into() };
            let mut below = Below { input: &[], tls: self.tls.as_deref_mut(), socket, is_reading: false };
            flushed(websocket.close(&mut below, Some(frame)).map_err(to_io))?;
        }
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush(socket)
    }
}

/// For messages of so many bytes, that come and go.
fn bounded(config: WebSocketConfig, max_message_bytes: usize) -> WebSocketConfig {
    // A message is begun when the last is written, so one is the most that waits, and pongs besides.
    let written = MAX_MESSAGE_BYTES.max(max_message_bytes) + MAX_MESSAGE_BYTES;
    config
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes))
        // `flush` writes, and nothing before.
        .write_buffer_size(written - 1)
        .max_write_buffer_size(written)
}

/// False where the socket would not take all.
fn flushed(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

fn to_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::BrokenPipe, error),
    }
}

/// Writes the records that wait. False: the socket did not take all.
fn flush_records(tls: &mut ServerConnection, socket: &Stream) -> io::Result<bool> {
    while tls.wants_write() {
        if !flushed(tls.write_tls(&mut Direct(socket)).map(drop))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The socket, for what wants a [`Write`].
struct Direct<'a>(&'a Stream);

impl Write for Direct<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is below a WebSocket: what has come, and where answers go.
struct Below<'a> {
    input: &'a [u8],
    tls: Option<&'a mut ServerConnection>,
    socket: &'a Stream,
    /// Answers wait.
    is_reading: bool,
}

impl Read for Below<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.input.read(into) {
            // What comes next comes later.
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            read => read,
        }
    }
}

impl Write for Below<'_> {
    /// Takes what the socket does, and of TLS all that is in a record that has begun: 64 KiB at most.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_reading {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let Some(tls) = &mut self.tls else { return self.socket.try_write(bytes) };
        let mut taken = 0;
        while taken < bytes.len() {
            if !flush_records(tls, self.socket)? {
                break;
            }
            taken += tls.writer().write(&bytes[taken..])?;
        }
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        flush_records(tls, self.socket)?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tagwire::Tag;
    use tagwire::frame::{EXTENDED_HEADER_BYTES, encode};
    use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
    use tungstenite::protocol::frame::{Frame, FrameHeader};

    use super::*;
    use crate::transport::memory::MemoryStream;

    const MOST: usize = 2000;

    /// The server's side, and what keeps it open.
    fn socket() -> (Stream, MemoryStream) {
        let (here, there) = MemoryStream::pair();
        (Stream::Memory(there), here)
    }

    /// What comes of `raw`, cut into pieces of these lengths over and over, and how it ends.
    fn unwrapped(raw: &[u8], pieces: &[usize]) -> (Vec<u8>, String) {
        let (socket, _here) = socket();
        let mut layers = Layers::default();
        layers.start_websocket(MOST);
        let (mut plain, mut rest, mut at) = (vec![], raw, 0);
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(pieces[at % pieces.len()].min(rest.len()));
            layers.unwrap(&socket, piece, &mut plain);
            (rest, at) = (later, at + 1);
        }
        let end = match layers.take_end() {
            None => "goes on".to_string(),
            Some(Ok(())) => format!("closed {:?}", layers.goodbye()),
            Some(Err(broken)) => broken.to_string(),
        };
        (plain, end)
    }

    fn masked(opcode: OpCode, payload: Vec<u8>, is_final: bool, mask: [u8; 4]) -> Vec<u8> {
        let header = FrameHeader { is_final, opcode, mask: Some(mask), ..FrameHeader::default() };
        let frame = Frame::from_payload(header, payload.into());
        let mut out = vec![];
        frame.format(&mut out).expect("memory");
        out
    }

    fn binary(payload: Vec<u8>) -> Vec<u8> {
        masked(OpCode::Data(Data::Binary), payload, true, [1, 2, 3, 4])
    }

    fn mouse(bytes: usize) -> Vec<u8> {
        let mut out = vec![];
        encode(Tag(2), &vec![7; bytes], &mut out);
        out
    }

    #[test]
    fn a_message_may_be_as_large_as_it_may_be_and_no_larger() {
        let largest = mouse(MOST - EXTENDED_HEADER_BYTES);
        assert_eq!(unwrapped(&binary(largest.clone()), &[100]), (largest, "goes on".to_string()));
        // The header alone decides, whole or in fragments.
        let larger = binary(mouse(MOST - EXTENDED_HEADER_BYTES + 1));
        let (plain, end) = unwrapped(&larger[..8], &[1]);
        assert!(plain.is_empty() && end.contains("Message too long: 2001 > 2000"), "{end}");
        let half = |last| {
            masked(
                OpCode::Data(if last { Data::Continue } else { Data::Binary }),
                vec![7; 1500],
                last,
                [0; 4],
            )
        };
        let (plain, end) = unwrapped(&[half(false), half(true)].concat(), &[100]);
        assert!(plain.is_empty() && end.contains("Message too long"), "{end}");
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        for (reason, bytes) in [("é".repeat(100), 122), ("x".repeat(200), 123), ("x".repeat(10), 10)] {
            let (socket, here) = socket();
            let mut layers = Layers::default();
            layers.start_websocket(MOST);
            let told = Some((CloseCode::KICKED, reason.as_str()));
            layers.close(&socket, told).expect("memory");
            let mut buffer = [0; 200];
            let mut buffer = tokio::io::ReadBuf::new(&mut buffer);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(here.read.poll_read(&mut cx, &mut buffer).is_ready());
            // FIN and Close, the length, the code.
            let head = [0x88, bytes + 2, (3508_u16 >> 8) as u8, 3508_u16 as u8];
            assert_eq!(buffer.filled()[..4], head);
            assert_eq!(buffer.filled()[4..], reason.as_bytes()[..usize::from(bytes)]);
        }
    }

    #[test]
    fn who_pings_and_reads_no_answers_is_given_no_memory_for_them() {
        let (socket, _here) = socket();
        let mut layers = Layers::default();
        layers.start_websocket(MOST);
        let ping = masked(OpCode::Control(Control::Ping), vec![1; 125], true, [9; 4]);
        for _ in 0..100_000 {
            layers.unwrap(&socket, &ping, &mut vec![]);
        }
        assert!(layers.is_pending());
        let held = format!("{:?}", layers.websocket.as_ref().expect("one")).len();
        // Each byte of its buffers is printed, in at most five characters.
        assert!(held < 5 * 3 * MAX_MESSAGE_BYTES, "{held}");
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_the_same_however_they_are_cut(
            raw in prop::collection::vec(any::<u8>(), 0..400),
            pieces in prop::collection::vec(1usize..40, 1..5),
        ) {
            prop_assert_eq!(unwrapped(&raw, &pieces), unwrapped(&raw, &[400]));
        }

        #[test]
        fn messages_come_to_the_same_however_they_are_cut_and_fragmented(
            sizes in prop::collection::vec(0usize..600, 1..6),
            fragments in 1usize..5,
            pieces in prop::collection::vec(1usize..40, 1..5),
            mask: [u8; 4],
        ) {
            let mut raw = vec![];
            let mut expected = vec![];
            for size in sizes {
                let frames = mouse(size);
                expected.extend_from_slice(&frames);
                let parts: Vec<_> = frames.chunks(frames.len().div_ceil(fragments)).collect();
                for (i, part) in parts.iter().enumerate() {
                    let opcode = OpCode::Data(if i == 0 { Data::Binary } else { Data::Continue });
                    raw.extend(masked(opcode, part.to_vec(), i + 1 == parts.len(), mask));
                    raw.extend(masked(OpCode::Control(Control::Ping), vec![], true, mask));
                }
            }
            prop_assert_eq!(unwrapped(&raw, &pieces), (expected, "goes on".to_string()));
        }
    }
}
