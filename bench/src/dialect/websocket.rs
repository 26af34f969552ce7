//! A WebSocket (RFC 6455) around another dialect, and its parts for dialects whose messages are those of the WebSocket.

use std::fmt;

use anyhow::{Context as _, bail, ensure};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use super::rest::Rest;
use super::{Dialect, Heard, Say};

/// The key of all masks. Not zero, which a server may take as a reason to skip its unmasking: it never could with a browser. Always
/// the same, for it hides nothing here, and costs no random numbers.
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

/// A head of HTTP is not larger, bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// No server here sends a larger frame, bytes; one that says so has lost its place in the stream.
const MAX_FRAME_BYTES: usize = 32 * 1024 * 1024;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A head of HTTP that has come whole: its first line, its fields, and how many bytes all of it was.
#[derive(Debug)]
pub struct Head<'a> {
    /// As in "101", whatever the text behind it.
    pub status: &'a str,
    first_line: &'a str,
    fields: &'a str,
    /// With the empty line.
    pub bytes: usize,
}

impl<'a> Head<'a> {
    /// The head at the start of what came; `None`: it is not whole.
    ///
    /// # Errors
    /// It is too long, or none of HTTP/1.1.
    pub fn read(input: &'a [u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = input.windows(4).take(MAX_HEAD_BYTES).position(|four| four == b"\r\n\r\n") else {
            ensure!(input.len() < MAX_HEAD_BYTES, "no end of a head in {} bytes", input.len());
            return Ok(None);
        };
        let head = str::from_utf8(&input[..end]).context("a head of HTTP that is no text")?;
        let (first_line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = first_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.with_context(|| format!("not HTTP/1.1: {first_line:?}"))?;
        Ok(Some(Head { status, first_line, fields, bytes: end + 4 }))
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        let mut fields = self.fields.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(its_name, _)| its_name.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// What comes over a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// The server has agreed to it. Once.
    Open,
    /// Bytes of a binary message. `last`: it ends with them.
    Part {
        /// As they are in a frame.
        bytes: &'a [u8],
        /// Nothing more belongs to this message.
        last: bool,
    },
    /// A ping, which was answered.
    Ping,
}

/// A client's end of a WebSocket, without what it carries.
#[derive(Debug)]
pub struct Link {
    subprotocol: Option<&'static str>,
    key: String,
    is_open: bool,
    /// A message has begun, and its last frame is still to come.
    is_within: bool,
}

impl Link {
    /// One that has not begun. `subprotocol`: the one that is asked for, and that the server must agree to.
    pub fn new(subprotocol: Option<&'static str>) -> Self {
        Link { subprotocol, key: generate_key(), is_open: false, is_within: false }
    }

    /// Asks for it, at a path of the server.
    pub fn open(&self, path: &str, out: &mut Vec<u8>) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n",
            self.key
        );
        out.extend_from_slice(head.as_bytes());
        if let Some(subprotocol) = self.subprotocol {
            out.extend_from_slice(format!("Sec-WebSocket-Protocol: {subprotocol}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Takes what came: the answer, then whole frames. What is told may append messages to `out`, which is handed on to it. As
    /// [`Dialect::take`], it returns how many bytes were taken.
    ///
    /// # Errors
    /// The server refused, closed, or broke a rule of the RFC.
    pub fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        told: &mut dyn FnMut(Told<'_>, &mut Vec<u8>) -> anyhow::Result<()>,
    ) -> anyhow::Result<usize> {
        let mut at = 0;
        if !self.is_open {
            let Some(head) = Head::read(input)? else { return Ok(0) };
            self.check(&head)?;
            at = head.bytes;
            self.is_open = true;
            told(Told::Open, out)?;
        }
        while let Some((first, payload, bytes)) = next(&input[at..])? {
            at += bytes;
            let (code, last) = (first & 0x0f, first & FINAL != 0);
            ensure!(code < CLOSE || (last && payload.len() <= 125), "a frame of control that cannot be");
            match code {
                BINARY | CONTINUATION => {
                    ensure!(self.is_within == (code == CONTINUATION), "messages within one another");
                    self.is_within = !last;
                    told(Told::Part { bytes: payload, last }, out)?;
                }
                PING => {
                    frame(PONG, payload, out);
                    told(Told::Ping, out)?;
                }
                PONG => {}
                CLOSE => match payload {
                    [high, low, reason @ ..] => bail!(
                        "the server closed with {}: {}",
                        u16::from_be_bytes([*high, *low]),
                        String::from_utf8_lossy(reason)
                    ),
                    _ => bail!("the server closed without a code"),
                },
                _ => bail!("a frame of kind {code}"),
            }
        }
        Ok(at)
    }

    fn check(&self, head: &Head<'_>) -> anyhow::Result<()> {
        ensure!(head.status == "101", "no WebSocket here: {}", head.first_line);
        ensure!(
            head.field("Sec-WebSocket-Accept") == Some(&derive_accept_key(self.key.as_bytes())),
            "the answer is to another key"
        );
        let agreed = head.field("Sec-WebSocket-Protocol");
        ensure!(agreed == self.subprotocol, "the subprotocol is {agreed:?}");
        ensure!(head.field("Sec-WebSocket-Extensions").is_none(), "an extension that was not asked for");
        Ok(())
    }
}

/// The first frame of what a server sent: first byte, payload, and the bytes of all of it. `None`: it is not whole.
fn next(input: &[u8]) -> anyhow::Result<Option<(u8, &[u8], usize)>> {
    let [first, second, ..] = *input else { return Ok(None) };
    ensure!(first & 0x70 == 0, "a frame of an extension that was not asked for");
    ensure!(second & MASKED == 0, "a frame with a mask");
    let (start, length) = match second {
        126 => {
            let Some(length) = input[2..].first_chunk() else { return Ok(None) };
            (4, usize::from(u16::from_be_bytes(*length)))
        }
        127 => {
            let Some(length) = input[2..].first_chunk() else { return Ok(None) };
            let length = u64::from_be_bytes(*length);
            ensure!(length <= MAX_FRAME_BYTES as u64, "a frame of {length} bytes");
            (10, length as usize)
        }
        length => (2, usize::from(length)),
    };
    Ok(input.get(start..start + length).map(|payload| (first, payload, start + length)))
}

/// Begins a binary message: what is appended until [`end`] is its payload. The result is for `end`.
#[must_use]
pub fn begin(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 2 + MASK.len()]);
    out.len()
}

/// Ends a message: writes its header and masks it. Where nothing was appended, there is none.
pub fn end(start: usize, out: &mut Vec<u8>) {
    let length = out.len() - start;
    if length == 0 {
        out.truncate(start - 2 - MASK.len());
    } else {
        finish(BINARY, start, out);
    }
}

/// Appends a whole frame.
fn frame(code: u8, payload: &[u8], out: &mut Vec<u8>) {
    let start = begin(out);
    out.extend_from_slice(payload);
    finish(code, start, out);
}

/// Writes the header of the frame whose payload begins at `start`. A longer one than was left room for moves the payload.
fn finish(code: u8, mut start: usize, out: &mut Vec<u8>) {
    let length = out.len() - start;
    let header = start - 2 - MASK.len();
    let wide = match length {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    };
    if wide > 0 {
        out.resize(out.len() + wide, 0);
        out.copy_within(start..start + length, start + wide);
        start += wide;
    }
    out[header] = FINAL | code;
    out[header + 1] = MASKED
        | match wide {
            0 => length as u8,
            2 => 126,
            _ => 127,
        };
    out[header + 2..header + 2 + wide].copy_from_slice(&(length as u64).to_be_bytes()[8 - wide..]);
    out[start - MASK.len()..start].copy_from_slice(&MASK);
    mask(&mut out[start..]);
}

/// In words: a byte at a time costs more than the rest of the frame.
fn mask(payload: &mut [u8]) {
    let word = u64::from(u32::from_ne_bytes(MASK)) * 0x1_0000_0001;
    let (words, rest) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(MASK.iter().cycle()) {
        *byte ^= key;
    }
}

/// No more is gathered for a message: half of what tagwire takes in one.
const GATHERED_BYTES: usize = 32 * 1024;

/// A dialect whose bytes go in binary messages: what it says in one call is one of them, or with tagwire in one turn. What comes is one stream of bytes to it,
/// wherever messages end.
pub struct WebSocket {
    inner: Box<dyn Dialect>,
    path: &'static str,
    link: Link,
    rest: Rest,
    /// What is said is gathered here for one message a turn, as tagwire's clients do; `None`: it is not.
    gathered: Option<Vec<u8>>,
}

impl WebSocket {
    /// Around `inner`, at a path of the server.
    pub fn new(inner: Box<dyn Dialect>, path: &'static str, subprotocol: Option<&'static str>) -> Self {
        WebSocket { inner, path, link: Link::new(subprotocol), rest: Rest::default(), gathered: None }
    }

    /// Around a dialect of tagwire's.
    pub fn tagwire(inner: Box<dyn Dialect>) -> Self {
        WebSocket { gathered: Some(vec![]), ..Self::new(inner, "/packets", Some("tagwire.v1")) }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("inner", &self.inner)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Dialect for WebSocket {
    fn open(&mut self, out: &mut Vec<u8>) {
        self.link.open(self.path, out);
    }

    fn say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>) {
        let Some(gathered) = &mut self.gathered else {
            let start = begin(out);
            self.inner.say(what, body, out);
            return end(start, out);
        };
        self.inner.say(what, body, gathered);
        if gathered.len() >= GATHERED_BYTES {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if let Some(gathered) = &mut self.gathered
            && !gathered.is_empty()
        {
            let start = begin(out);
            out.append(gathered);
            end(start, out);
        }
    }

    fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize> {
        let WebSocket { inner, link, rest, .. } = self;
        link.take(input, out, &mut |told, out| match told {
            Told::Open => {
                let start = begin(out);
                inner.open(out);
                end(start, out);
                Ok(())
            }
            Told::Part { bytes, .. } => {
                let start = begin(out);
                let taken = rest.feed(&mut **inner, bytes, out, heard);
                end(start, out);
                taken
            }
            Told::Ping => {
                heard(Heard::Ping);
                Ok(())
            }
        })
    }

    fn resumed(&self) -> Option<Box<dyn Dialect>> {
        let inner = self.inner.resumed()?;
        let gathered = self.gathered.as_ref().map(|_| vec![]);
        Some(Box::new(WebSocket { gathered, ..WebSocket::new(inner, self.path, self.link.subprotocol) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Seat;
    use crate::dialect::plain::{self, Plain};

    const ENTERED: [u8; 3] = [1, plain::ENTER, b'r'];

    fn plain() -> Box<dyn Dialect> {
        let seat = Seat { number: 0, name: "n".into(), room: "r".into(), sends: true, receives: true };
        Box::new(Plain::new(&seat))
    }

    fn answer(websocket: &WebSocket, more: &str) -> Vec<u8> {
        let accept = derive_accept_key(websocket.link.key.as_bytes());
        let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n";
        format!("{head}sec-websocket-accept: {accept}\r\n{more}\r\n").into_bytes()
    }

    /// A frame of a server, with a header as wide as it must be.
    fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len();
        let header = match length {
            0..=125 => vec![first, length as u8],
            126..=0xffff => [&[first, 126][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[first, 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        [header, payload.to_vec()].concat()
    }

    /// What a server reads: code and unmasked payload of each frame.
    fn read(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = vec![];
        while let [first, second, rest @ ..] = bytes {
            assert_eq!((first & 0xf0, second & MASKED), (FINAL, MASKED));
            let wide = match second & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let length = rest[..wide].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let length = if wide == 0 { usize::from(second & 0x7f) } else { length };
            // The shortest form (RFC 6455, section 5.2).
            assert_eq!(
                wide,
                if length < 126 {
                    0
                } else if length <= 0xffff {
                    2
                } else {
                    8
                }
            );
            let (key, payload) = rest[wide..][..4 + length].split_at(4);
            assert_ne!(key, [0; 4]);
            let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            frames.push((first & 0x0f, payload));
            bytes = &rest[wide + 4 + length..];
        }
        frames
    }

    /// Hands it over in pieces; what was heard, and what it said.
    fn take(websocket: &mut WebSocket, bytes: &[u8], piece: usize) -> anyhow::Result<(Vec<String>, Vec<u8>)> {
        let (mut heard, mut out, mut taken, mut there) = (vec![], vec![], 0, 0);
        while there < bytes.len() {
            there = bytes.len().min(there + piece);
            taken += websocket.take(&bytes[taken..there], &mut out, &mut |it| match it {
                Heard::Body(body) => heard.push(format!("{} {:?}", body.len(), body.last())),
                other => heard.push(format!("{other:?}")),
            })?;
        }
        assert_eq!(taken, bytes.len());
        Ok((heard, out))
    }

    fn opened() -> WebSocket {
        let mut websocket = WebSocket::new(plain(), "/", None);
        let head = answer(&websocket, "");
        take(&mut websocket, &head, head.len()).expect("agreed");
        websocket
    }

    fn refusal(frames: &[u8]) -> String {
        take(&mut opened(), frames, frames.len()).expect_err("refused").to_string()
    }

    #[test]
    fn it_asks_and_then_says_what_the_inner_one_says_first() {
        let mut websocket = WebSocket::tagwire(plain());
        let mut out = vec![];
        websocket.open(&mut out);
        let asked = String::from_utf8(out).expect("text");
        assert!(asked.starts_with("GET /packets HTTP/1.1\r\n") && asked.ends_with("\r\n\r\n"), "{asked}");
        assert!(asked.contains("Sec-WebSocket-Protocol: tagwire.v1\r\n"), "{asked}");
        let head = answer(&websocket, "Sec-WebSocket-Protocol: tagwire.v1\r\n");
        let (heard, out) = take(&mut websocket, &head, 1).expect("agreed");
        assert_eq!((heard, read(&out)), (vec![], vec![(BINARY, ENTERED.to_vec())]));
    }

    #[test]
    fn an_answer_that_does_not_agree_is_refused() {
        let refusal = |change: &dyn Fn(String) -> String| {
            let mut websocket = WebSocket::tagwire(plain());
            let head = answer(&websocket, "Sec-WebSocket-Protocol: tagwire.v1\r\n");
            let head = change(String::from_utf8(head).expect("text"));
            take(&mut websocket, head.as_bytes(), head.len()).expect_err("refused").to_string()
        };
        assert_eq!(
            refusal(&|head: String| head.replace("101 S", "403 S")),
            "no WebSocket here: HTTP/1.1 403 Switching Protocols"
        );
        assert_eq!(
            refusal(&|head: String| head.replace("accept: ", "accept: A")),
            "the answer is to another key"
        );
        assert_eq!(
            refusal(&|head: String| head.replace("tagwire.v1", "other")),
            "the subprotocol is Some(\"other\")"
        );
        let extended = "upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate";
        assert!(
            refusal(&|head: String| head.replace("upgrade: websocket", extended)).starts_with("an extension"),
            "{extended}"
        );
        assert!(refusal(&|_| "SSH-2.0\r\n\r\n".into()).starts_with("not HTTP/1.1"));
        assert!(refusal(&|_| "a".repeat(20_000)).starts_with("no end of a head"));
    }

    #[test]
    fn what_it_says_is_masked_and_of_the_shortest_form() {
        for bytes in [0, 1, 121, 123, 124, 1000, 0xffff - 8, 0xffff - 7, 70_000] {
            let body: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
            let (mut websocket, mut out, mut bare) = (opened(), b"before".to_vec(), vec![]);
            websocket.say(Say::Others, &body, &mut out);
            plain::frame(4, &body, &mut bare);
            assert!(out.starts_with(b"before"));
            assert_eq!(read(&out[6..]), [(BINARY, bare)], "{bytes}");
        }
    }

    #[test]
    fn what_comes_is_one_stream_however_it_is_cut() {
        let mut stream = ENTERED.to_vec();
        for bytes in [16, 1024, 70_000] {
            plain::frame(2, &vec![bytes as u8 | 1; bytes], &mut stream);
        }
        // Four frames of the inner one in as many of the WebSocket, cut elsewhere; two are one message, with a ping in between.
        let frames = [
            sent(FINAL | BINARY, &stream[..20]),
            sent(BINARY, &stream[20..30]),
            sent(FINAL | PING, b"why"),
            sent(FINAL | CONTINUATION, &stream[30..1000]),
            sent(FINAL | PONG, b""),
            sent(FINAL | BINARY, &stream[1000..]),
        ]
        .concat();
        for piece in [1, 7, 1000, frames.len()] {
            let (heard, out) = take(&mut opened(), &frames, piece).expect("frames");
            assert_eq!(heard, ["Ready", "16 Some(17)", "Ping", "1024 Some(1)", "70000 Some(113)"], "{piece}");
            assert_eq!(read(&out), [(PONG, b"why".to_vec())]);
        }
    }

    #[test]
    fn what_the_inner_one_owes_is_a_message() {
        let frames = sent(FINAL | BINARY, &[2, plain::PING, 8, 9]);
        let (heard, out) = take(&mut opened(), &frames, 1).expect("frames");
        assert_eq!(
            (heard, read(&out)),
            (vec!["Ping".to_string()], vec![(BINARY, vec![2, plain::PING, 8, 9])])
        );
    }

    #[test]
    fn what_ends_it_is_told() {
        assert_eq!(refusal(&sent(FINAL | CLOSE, b"\x0d\xb1slow")), "the server closed with 3505: slow");
        assert_eq!(refusal(&sent(FINAL | CLOSE, b"")), "the server closed without a code");
        assert_eq!(refusal(&[FINAL | BINARY, MASKED | 1, 0, 0, 0, 0, 7]), "a frame with a mask");
        assert_eq!(refusal(&sent(FINAL | 1, b"text")), "a frame of kind 1");
        assert_eq!(
            refusal(&sent(FINAL | 0x40 | BINARY, b"")),
            "a frame of an extension that was not asked for"
        );
        assert_eq!(refusal(&sent(FINAL | CONTINUATION, b"")), "messages within one another");
        assert_eq!(
            refusal(&[sent(BINARY, b""), sent(FINAL | BINARY, b"")].concat()),
            "messages within one another"
        );
        assert_eq!(refusal(&sent(PING, b"")), "a frame of control that cannot be");
        assert!(
            refusal(&[FINAL | BINARY, 127, 0, 0, 1, 0, 0, 0, 0, 0])
                .starts_with("a frame of 1099511627776 bytes")
        );
        assert_eq!(refusal(&sent(FINAL | BINARY, &[0, 99])), "the server sent a frame with the tag 99");
    }
}
