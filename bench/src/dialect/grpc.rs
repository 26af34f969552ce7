//! gRPC over HTTP/2 without TLS (RFC 9113, RFC 7541, gRPC's PROTOCOL-HTTP2.md), as far as a client of our own server needs it
//! (`src/bin/tonic.rs`): no library, so that the generator of load costs less than the server.
//!
//! ```text
//! stream 1      /bench.v1.Game/Play, both ways as long as the connection; the room in the metadata
//! 3, 5, 7 ...   /bench.v1.Game/Ask, one each
//!
//! HTTP/2: length u24 | type u8 | flags u8 | stream u32 | payload
//! gRPC:   0 | length u32 | message                                 big-endian; may begin and end anywhere in the DATA of its stream
//! Play:   key u8 | length varint | body                            the fields 2, 4, 5, 7: what the tags are in plain.rs
//! Ask:    body
//! ```

use std::collections::VecDeque;

use anyhow::{Context as _, bail, ensure};

use super::{Dialect, Heard, Say, Seat, plain};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;
/// Of gRPC: what stands before a message.
const PREFIX_BYTES: usize = 5;
/// gRPC's usual limit.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// What a frame may carry where nobody said otherwise.
const FRAME_BYTES: usize = 16384;
/// What a side may send unasked where nobody said otherwise.
const WINDOW_BYTES: i64 = 65535;
/// What the server may send unasked, to the connection and to a stream: given back by halves, so that it never waits.
pub const OUR_WINDOW_BYTES: u32 = 16 << 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
const ACK: u8 = 1;
/// Of DATA and HEADERS.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

const PLAY: u32 = 1;
const FIRST_ASK: u32 = 3;
const LAST_STREAM: u32 = 0x7fff_ffff;

/// `:method POST` and `:scheme http` in the static table.
const POST_HTTP: [u8; 2] = [0x83, 0x86];
/// The headers of every request but the first, of which the server remembers the other four as the newest of its table: path,
/// authority, te, content-type.
const ASK_AGAIN: [u8; 6] = [POST_HTTP[0], POST_HTTP[1], 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62];

/// A client of such a server.
#[derive(Debug)]
pub struct Grpc {
    room: String,
    ready: bool,
    /// Something was said that the server's limits forbid: [`Dialect::say`] cannot tell.
    broken: Option<String>,
    /// What is being said, with its prefix.
    message: Vec<u8>,

    /// What may still be sent: to the connection, to the stream of play, and to each request from its beginning.
    window: i64,
    play_window: i64,
    ask_window: i64,
    max_frame: usize,
    max_streams: u32,

    /// What came since the window was last given back.
    came: u32,
    play_came: u32,
    /// The beginning of a message that is not whole.
    play: Vec<u8>,
    /// The requests in flight, in order; some may have ended.
    asks: VecDeque<Ask>,
    /// The stream of the first of them.
    oldest: u32,
    /// Buffers of those that ended.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Ask {
    /// As in `Grpc::play`.
    rest: Vec<u8>,
    answered: bool,
    ended: bool,
}

impl Grpc {
    /// One that has not begun.
    pub fn new(seat: &Seat) -> Self {
        Grpc {
            room: seat.room.clone(),
            ready: false,
            broken: None,
            message: Vec::new(),
            window: WINDOW_BYTES,
            play_window: WINDOW_BYTES,
            ask_window: WINDOW_BYTES,
            max_frame: FRAME_BYTES,
            max_streams: u32::MAX,
            came: 0,
            play_came: 0,
            play: Vec::new(),
            asks: VecDeque::new(),
            oldest: FIRST_ASK,
            spare: Vec::new(),
        }
    }

    /// Opens the stream of the next request.
    fn ask(&mut self, out: &mut Vec<u8>) -> anyhow::Result<u32> {
        ensure!(
            self.asks.len() < self.max_streams as usize,
            "a request above the {} streams at once that the server takes",
            self.max_streams
        );
        let stream = self.oldest + 2 * self.asks.len() as u32;
        ensure!(stream <= LAST_STREAM, "all streams of the connection were used");
        if stream == FIRST_ASK {
            let mut block = POST_HTTP.to_vec();
            // "With incremental indexing"; `:path`, `:authority` and `content-type` have their names in the static table.
            text(0x44, b"/bench.v1.Game/Ask", &mut block);
            text(0x41, b"localhost", &mut block);
            named(0x40, b"te", b"trailers", &mut block);
            text(0x5f, b"application/grpc", &mut block);
            frame(HEADERS, END_HEADERS, stream, &block, out);
        } else {
            frame(HEADERS, END_HEADERS, stream, &ASK_AGAIN, out);
        }
        self.asks.push_back(Ask {
            rest: self.spare.pop().unwrap_or_default(),
            answered: false,
            ended: false,
        });
        Ok(stream)
    }

    fn try_say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        message.extend_from_slice(&[0; PREFIX_BYTES]);
        if what != Say::Request {
            message.push(plain::tag(what) << 3 | 2);
            prost::encoding::encode_varint(body.len() as u64, &mut message);
        }
        message.extend_from_slice(body);
        let length = (message.len() - PREFIX_BYTES) as u32;
        message[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());

        let bytes = message.len() as i64;
        let stream_window = if what == Say::Request { self.ask_window } else { self.play_window };
        ensure!(
            bytes <= self.window.min(stream_window),
            "a message of {bytes} bytes, where the server lets {} come on the connection and {stream_window} on its stream",
            self.window
        );
        self.window -= bytes;
        let stream = if what == Say::Request {
            self.ask(out)?
        } else {
            self.play_window -= bytes;
            PLAY
        };
        let mut parts = message.chunks(self.max_frame).peekable();
        while let Some(part) = parts.next() {
            let ends = what == Say::Request && parts.peek().is_none();
            frame(DATA, if ends { END_STREAM } else { 0 }, stream, part, out);
        }
        self.message = message;
        Ok(())
    }

    fn settings(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        let (settings, []) = payload.as_chunks::<6>() else { bail!("SETTINGS of {} bytes", payload.len()) };
        for &[high, low, value @ ..] in settings {
            let value = u32::from_be_bytes(value);
            match u16::from_be_bytes([high, low]) {
                // Ours has four entries.
                HEADER_TABLE_SIZE => {
                    ensure!(
                        value >= 4096,
                        "the server keeps {value} bytes of headers; the client relies on 4096"
                    );
                }
                MAX_CONCURRENT_STREAMS => self.max_streams = value.saturating_sub(1),
                INITIAL_WINDOW_SIZE => {
                    self.play_window += i64::from(value) - self.ask_window;
                    self.ask_window = i64::from(value);
                }
                MAX_FRAME_SIZE => self.max_frame = value as usize,
                _ => {}
            }
        }
        Ok(())
    }

    fn ask_mut(&mut self, stream: u32) -> anyhow::Result<&mut Ask> {
        stream
            .checked_sub(self.oldest)
            .filter(|distance| distance % 2 == 0)
            .and_then(|distance| self.asks.get_mut(distance as usize / 2))
            .with_context(|| format!("the server said something on stream {stream}, where nothing was asked"))
    }

    fn data(
        &mut self,
        stream: u32,
        flags: u8,
        payload: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<()> {
        ensure!(flags & PADDED == 0, "DATA with padding");
        give_back(&mut self.came, 0, payload.len(), out);
        if stream == PLAY {
            ensure!(self.ready, "DATA before HEADERS");
            ensure!(flags & END_STREAM == 0, "the server ended the stream");
            give_back(&mut self.play_came, PLAY, payload.len(), out);
            return messages(&mut self.play, payload, &mut |message| {
                heard(Heard::Body(said(message)?));
                Ok(())
            });
        }
        let ask = self.ask_mut(stream)?;
        let answered = &mut ask.answered;
        messages(&mut ask.rest, payload, &mut |message| {
            ensure!(!*answered, "two answers to one request");
            *answered = true;
            heard(Heard::Body(message));
            Ok(())
        })?;
        ensure!(flags & END_STREAM == 0, "an answer without a status");
        Ok(())
    }

    fn headers(&mut self, stream: u32, flags: u8, heard: &mut dyn FnMut(Heard<'_>)) -> anyhow::Result<()> {
        ensure!(flags & END_HEADERS != 0, "headers in more than one frame");
        let ends = flags & END_STREAM != 0;
        if stream == PLAY {
            ensure!(
                !ends,
                if self.ready { "the server ended the stream" } else { "the server refused the stream" }
            );
            ensure!(!self.ready, "headers came twice");
            self.ready = true;
            heard(Heard::Ready);
            return Ok(());
        }
        let ask = self.ask_mut(stream)?;
        if !ends {
            return Ok(());
        }
        // Which status it was would need the server's table of headers; one with an answer before it is none of an error.
        ensure!(ask.answered && ask.rest.is_empty(), "a request on stream {stream} ended without an answer");
        ensure!(!ask.ended, "a request on stream {stream} ended twice");
        ask.ended = true;
        while self.asks.front().is_some_and(|ask| ask.ended) {
            self.oldest += 2;
            self.spare.extend(self.asks.pop_front().map(|ask| ask.rest));
        }
        Ok(())
    }
}

impl Dialect for Grpc {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(PREFACE);
        let mut settings = Vec::new();
        for (name, value) in [(ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, OUR_WINDOW_BYTES)] {
            settings.extend_from_slice(&name.to_be_bytes());
            settings.extend_from_slice(&u32::to_be_bytes(value));
        }
        frame(SETTINGS, 0, 0, &settings, out);
        let more = OUR_WINDOW_BYTES - WINDOW_BYTES as u32;
        frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes(), out);

        let mut block = POST_HTTP.to_vec();
        // "Without indexing", so that the table is the requests' alone.
        text(0x04, b"/bench.v1.Game/Play", &mut block);
        text(0x01, b"localhost", &mut block);
        named(0x00, b"te", b"trailers", &mut block);
        named(0x00, b"content-type", b"application/grpc", &mut block);
        named(0x00, b"room", self.room.as_bytes(), &mut block);
        frame(HEADERS, END_HEADERS, PLAY, &block, out);
    }

    fn say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>) {
        if self.broken.is_none()
            && let Err(error) = self.try_say(what, body, out)
        {
            self.broken = Some(format!("{error:#}"));
        }
    }

    fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize> {
        if let Some(broken) = &self.broken {
            bail!("{broken}");
        }
        let mut at = 0;
        while let Some(&[a, b, c, kind, flags, d, e, f, g]) = input[at..].first_chunk() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            ensure!(length <= FRAME_BYTES, "a frame of {length} bytes, limit {FRAME_BYTES}");
            let start = at + HEADER_BYTES;
            let Some(payload) = input.get(start..start + length) else { break };
            // Its highest bit is reserved.
            let stream = u32::from_be_bytes([d & 0x7f, e, f, g]);
            match kind {
                DATA => self.data(stream, flags, payload, out, heard)?,
                HEADERS => self.headers(stream, flags, heard)?,
                SETTINGS if flags & ACK == 0 => {
                    self.settings(payload)?;
                    frame(SETTINGS, ACK, 0, &[], out);
                }
                PING if flags & ACK == 0 => {
                    frame(PING, ACK, 0, payload, out);
                    heard(Heard::Ping);
                }
                WINDOW_UPDATE => {
                    let bytes = i64::from(number(payload)? & LAST_STREAM);
                    match stream {
                        0 => self.window += bytes,
                        PLAY => self.play_window += bytes,
                        // A request has what it needs from its beginning.
                        _ => {}
                    }
                }
                RST_STREAM => bail!("the server reset stream {stream}: error {}", number(payload)?),
                GOAWAY => bail!(
                    "the server said goodbye: error {}, {}",
                    number(payload.get(4..).unwrap_or_default())?,
                    payload.get(8..).unwrap_or_default().escape_ascii()
                ),
                PUSH_PROMISE | CONTINUATION => bail!("a frame of the type {kind}"),
                _ => {}
            }
            at = start + length;
        }
        Ok(at)
    }
}

/// Appends a frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
    out.extend_from_slice(payload);
}

/// A header whose name is in the static table, as literal text.
fn text(first: u8, value: &[u8], block: &mut Vec<u8>) {
    block.push(first);
    literal(value, block);
}

/// A header whose name is not.
fn named(first: u8, name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    block.push(first);
    literal(name, block);
    literal(value, block);
}

/// Text without Huffman's code: RFC 7541, sections 5.1 and 5.2.
fn literal(text: &[u8], block: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(length @ ..=0x7e) => block.push(length),
        _ => {
            block.push(0x7f);
            prost::encoding::encode_varint(text.len() as u64 - 0x7f, block);
        }
    }
    block.extend_from_slice(text);
}

fn number(payload: &[u8]) -> anyhow::Result<u32> {
    Ok(u32::from_be_bytes(*payload.first_chunk().context("a frame that is too short")?))
}

/// Notes what came, and gives the window back when half of it was used.
fn give_back(came: &mut u32, stream: u32, bytes: usize, out: &mut Vec<u8>) {
    *came += bytes as u32;
    if *came >= OUR_WINDOW_BYTES / 2 {
        frame(WINDOW_UPDATE, 0, stream, &came.to_be_bytes(), out);
        *came = 0;
    }
}

/// The messages in what a stream carries; what is not whole is kept in `rest`.
fn messages(
    rest: &mut Vec<u8>,
    mut data: &[u8],
    each: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if !rest.is_empty() {
        fill(rest, PREFIX_BYTES, &mut data);
        let Some(whole) = whole(rest)? else { return Ok(()) };
        fill(rest, whole, &mut data);
        if rest.len() < whole {
            return Ok(());
        }
        each(&rest[PREFIX_BYTES..])?;
        rest.clear();
    }
    while let Some(whole) = whole(data)? {
        let Some(message) = data.get(PREFIX_BYTES..whole) else { break };
        each(message)?;
        data = &data[whole..];
    }
    rest.extend_from_slice(data);
    Ok(())
}

/// Moves what is missing to `bytes`.
fn fill(rest: &mut Vec<u8>, bytes: usize, data: &mut &[u8]) {
    let missing = bytes.saturating_sub(rest.len()).min(data.len());
    let (part, behind) = data.split_at(missing);
    rest.extend_from_slice(part);
    *data = behind;
}

/// The bytes of a message with its prefix; `None`: that is not whole.
fn whole(data: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(&[compressed, length @ ..]) = data.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    ensure!(compressed == 0, "a compressed message");
    let length = u32::from_be_bytes(length) as usize;
    ensure!(length <= MAX_MESSAGE_BYTES, "a message of {length} bytes, limit {MAX_MESSAGE_BYTES}");
    Ok(Some(PREFIX_BYTES + length))
}

/// The body in what is played.
fn said(message: &[u8]) -> anyhow::Result<&[u8]> {
    let [0x12 | 0x22 | 0x2a | 0x3a, rest @ ..] = message else { bail!("a message that is none of ours") };
    let mut body = rest;
    let length = prost::encoding::decode_varint(&mut body)?;
    ensure!(body.len() as u64 == length, "a body of {} bytes that says {length}", body.len());
    Ok(body)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What a client made of bytes.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Taken {
        ready: usize,
        pings: usize,
        bodies: Vec<Vec<u8>>,
        out: Vec<u8>,
    }

    fn take(client: &mut Grpc, input: &[u8]) -> anyhow::Result<Taken> {
        let (mut taken, mut out) = (Taken::default(), Vec::new());
        let bytes = client.take(input, &mut out, &mut |heard| match heard {
            Heard::Ready => taken.ready += 1,
            Heard::Ping => taken.pings += 1,
            Heard::Body(body) => taken.bodies.push(body.to_vec()),
        })?;
        assert_eq!(bytes, input.len());
        taken.out = out;
        Ok(taken)
    }

    fn frames(frames: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, flags, stream, payload) in frames {
            frame(*kind, *flags, *stream, payload, &mut out);
        }
        out
    }

    /// One that is in.
    fn ready() -> Grpc {
        let seat =
            Seat { number: 0, name: "a".to_owned(), room: "b".to_owned(), sends: true, receives: true };
        let mut client = Grpc::new(&seat);
        client.open(&mut Vec::new());
        let taken = take(&mut client, &frames(&[(HEADERS, END_HEADERS, PLAY, b"")])).unwrap();
        assert_eq!(taken.ready, 1);
        client
    }

    fn refusal(client: &mut Grpc, input: &[u8]) -> String {
        format!("{:#}", take(client, input).unwrap_err())
    }

    fn setting(name: u16, value: u32) -> Vec<u8> {
        let payload = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
        frames(&[(SETTINGS, 0, 0, &payload)])
    }

    fn answer(body: &[u8]) -> Vec<u8> {
        [&[0][..], &(body.len() as u32).to_be_bytes(), body].concat()
    }

    #[test]
    fn what_is_owed_is_said() {
        let mut client = ready();
        let ping = frames(&[(PING, 0, 0, b"12345678"), (PING, ACK, 0, b"unasked!"), (SETTINGS, ACK, 0, b"")]);
        let taken = take(&mut client, &[setting(MAX_FRAME_SIZE, 20000), ping].concat()).unwrap();
        assert_eq!(taken.out, frames(&[(SETTINGS, ACK, 0, b""), (PING, ACK, 0, b"12345678")]));
        assert_eq!((taken.pings, client.max_frame), (1, 20000));
    }

    #[test]
    fn the_window_is_given_back_by_halves_to_the_connection_and_to_the_stream() {
        let mut client = ready();
        let message = answer(&[&[0x12, 0xf6, 0x7f][..], &[7; 16374]].concat());
        let data = frames(&[(DATA, 0, PLAY, &message[..16382])]);
        let half = OUR_WINDOW_BYTES / 2;
        for _ in 0..half / 16382 {
            let taken = take(&mut client, &data).unwrap();
            assert_eq!((taken.bodies.len(), taken.out.len()), (1, 0));
        }
        let came = (half / 16382 + 1) * 16382;
        let expected = frames(&[
            (WINDOW_UPDATE, 0, 0, &came.to_be_bytes()),
            (WINDOW_UPDATE, 0, PLAY, &came.to_be_bytes()),
        ]);
        assert_eq!(take(&mut client, &data).unwrap().out, expected);
        assert_eq!(take(&mut client, &data).unwrap().out, b"");
    }

    #[test]
    fn answers_overtake_each_other_and_begin_and_end_anywhere() {
        let mut client = ready();
        let mut out = Vec::new();
        for _ in 0..3 {
            client.say(Say::Request, b"?", &mut out);
        }
        let (first, second, third) = (answer(b"the first"), answer(b""), answer(b"the third"));
        let came = frames(&[
            (HEADERS, END_HEADERS, 7, b""),
            (DATA, 0, 7, &third[..3]),
            (HEADERS, END_HEADERS, 3, b""),
            (HEADERS, END_HEADERS, 5, b""),
            (DATA, 0, 5, &second[..4]),
            (DATA, 0, 3, &first[..3]),
            (DATA, 0, 3, &first[3..9]),
            (DATA, 0, 7, &third[3..]),
            (HEADERS, END_HEADERS | END_STREAM, 7, b""),
            (DATA, 0, 5, &second[4..]),
            (HEADERS, END_HEADERS | END_STREAM, 5, b""),
            (DATA, 0, 3, &first[9..12]),
            (DATA, 0, 3, &first[12..]),
        ]);
        let taken = take(&mut client, &came).unwrap();
        assert_eq!(taken.bodies, [b"the third".to_vec(), b"".to_vec(), b"the first".to_vec()]);
        assert_eq!((client.asks.len(), client.oldest), (3, 3));
        take(&mut client, &frames(&[(HEADERS, END_HEADERS | END_STREAM, 3, b"")])).unwrap();
        assert_eq!((client.asks.len(), client.oldest), (0, 9));
    }

    #[test]
    fn an_end_without_an_answer_ends_the_run() {
        let end = END_HEADERS | END_STREAM;
        let mut client = ready();
        assert_eq!(
            refusal(&mut client, &frames(&[(HEADERS, end, PLAY, b"")])),
            "the server ended the stream"
        );
        client.ready = false;
        let refused = refusal(&mut client, &frames(&[(HEADERS, end, PLAY, b"")]));
        assert_eq!(refused, "the server refused the stream");
        client = ready();
        client.say(Say::Request, b"?", &mut Vec::new());
        let part = frames(&[(DATA, 0, 3, &answer(b"part")[..6]), (HEADERS, end, 3, b"")]);
        assert_eq!(refusal(&mut client, &part), "a request on stream 3 ended without an answer");
        let unasked = frames(&[(DATA, 0, 5, b"")]);
        let refused = refusal(&mut client, &unasked);
        assert_eq!(refused, "the server said something on stream 5, where nothing was asked");
        let reset = frames(&[(RST_STREAM, 0, 3, &[0, 0, 0, 8])]);
        assert_eq!(refusal(&mut client, &reset), "the server reset stream 3: error 8");
        let goodbye = frames(&[(GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\x0btoo many")]);
        assert_eq!(refusal(&mut client, &goodbye), "the server said goodbye: error 11, too many");
        let large = frames(&[(DATA, 0, PLAY, &[0; 16385])]);
        assert_eq!(refusal(&mut client, &large), "a frame of 16385 bytes, limit 16384");
    }

    #[test]
    fn a_window_that_would_go_negative_ends_the_run() {
        let mut client = ready();
        let body = [7; 20000];
        let mut out = Vec::new();
        for _ in 0..3 {
            client.say(Say::All, &body, &mut out);
        }
        let before = out.len();
        client.say(Say::All, &body, &mut out);
        assert_eq!(out.len(), before);
        let refused = refusal(&mut client, b"");
        let expected = "a message of 20009 bytes, where the server lets 5508 come on the connection and 5508 on its stream";
        assert_eq!(refused, expected);

        // Room on the connection alone is not enough, nor is that on the stream.
        for (stream, fits) in [(vec![0], false), (vec![PLAY], false), (vec![0, PLAY], true)] {
            let mut client = ready();
            for _ in 0..3 {
                client.say(Say::All, &body, &mut out);
            }
            for stream in stream {
                let more = frames(&[(WINDOW_UPDATE, 0, stream, &20000_u32.to_be_bytes())]);
                take(&mut client, &more).unwrap();
            }
            client.say(Say::All, &body, &mut out);
            assert_eq!(client.broken.is_none(), fits);
        }

        // What a stream may have from its beginning counts for the one that is open, too.
        let mut client = ready();
        client.say(Say::All, &body, &mut out);
        take(&mut client, &setting(INITIAL_WINDOW_SIZE, 30000)).unwrap();
        assert_eq!((client.play_window, client.ask_window), (30000 - 20009, 30000));
    }

    #[test]
    fn requests_stay_within_the_streams_that_the_server_takes() {
        let mut client = ready();
        take(&mut client, &setting(MAX_CONCURRENT_STREAMS, 3)).unwrap();
        for _ in 0..3 {
            client.say(Say::Request, b"?", &mut Vec::new());
        }
        let refused = refusal(&mut client, b"");
        assert_eq!(refused, "a request above the 2 streams at once that the server takes");
    }

    #[test]
    fn a_large_message_goes_in_frames_of_the_servers_size() {
        let mut client = ready();
        let (mut out, body) = (Vec::new(), [7; 20000]);
        client.say(Say::Request, &body, &mut out);
        let whole = answer(&body);
        let parts = frames(&[(DATA, 0, 3, &whole[..16384]), (DATA, END_STREAM, 3, &whole[16384..])]);
        assert!(out.ends_with(&parts));
    }

    #[test]
    fn text_is_as_in_the_standard() {
        for (bytes, length) in [(126, vec![126]), (127, vec![127, 0]), (255, vec![127, 128, 1])] {
            let mut block = Vec::new();
            literal(&vec![b'a'; bytes], &mut block);
            assert_eq!(block[..length.len()], length);
            assert_eq!(block.len(), length.len() + bytes);
        }
    }
}
