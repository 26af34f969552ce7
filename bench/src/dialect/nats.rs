//! The text protocol of NATS (docs.nats.io, "NATS Protocol"): what a client needs that publishes to the subject of its room and
//! subscribes to it.
//!
//! ```text
//! server  INFO {...}\r\n                               first of all
//! client  CONNECT {...}\r\n SUB subject 1\r\n PING\r\n
//! server  PONG\r\n                                     all of that is done
//! client  PUB subject length\r\n body \r\n
//! server  MSG subject 1 length\r\n body \r\n
//! server  PING\r\n                                     client: PONG\r\n
//! ```
//!
//! Whether one's own messages come back is said once for a connection (`echo`), so it is a matter of the room: they do in rooms
//! whose names begin with "echo". There, all messages are [`Say::All`]; elsewhere they are [`Say::Others`].

use anyhow::{Context as _, bail};

use super::{Dialect, Heard, Say, Seat};

/// The longest line of a server: its INFO, a kilobyte in practice.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// A client of nats-server.
#[derive(Debug)]
pub struct Nats {
    /// What is said after the server's first line.
    hello: Vec<u8>,
    /// What a message begins with, up to its length.
    publish: Vec<u8>,
    ready: bool,
}

/// Whether senders hear themselves in this room.
pub(super) fn echoes(room: &str) -> bool {
    room.starts_with("echo")
}

impl Nats {
    /// One that has not begun.
    pub fn new(seat: &Seat) -> Self {
        let subject = format!("room.{}", seat.room);
        let mut hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"{}\",\"lang\":\"rust\",\"version\":\"1\",\
             \"protocol\":1,\"headers\":false,\"echo\":{}}}\r\n",
            seat.name,
            echoes(&seat.room)
        );
        if seat.receives {
            hello += &format!("SUB {subject} 1\r\n");
        }
        hello += "PING\r\n";
        Nats { hello: hello.into_bytes(), publish: format!("PUB {subject} ").into_bytes(), ready: false }
    }
}

impl Dialect for Nats {
    fn open(&mut self, _out: &mut Vec<u8>) {
        // The server speaks first.
    }

    fn say(&mut self, _what: Say, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.publish);
        decimal(body.len(), out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
    }

    fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                if rest.len() > MAX_LINE_BYTES {
                    bail!("the server's line has more than {MAX_LINE_BYTES} bytes");
                }
                return Ok(at);
            };
            let line = rest[..end].trim_ascii_end();
            let mut bytes = end + 1;
            if let Some(arguments) = line.strip_prefix(b"MSG ") {
                let length = length(arguments)?;
                let Some(body) = rest.get(bytes..bytes + length) else { return Ok(at) };
                match rest.get(bytes + length..bytes + length + 2) {
                    Some(b"\r\n") => {}
                    Some(_) => bail!("a message of {length} bytes does not end there"),
                    None => return Ok(at),
                }
                heard(Heard::Body(body));
                bytes += length + 2;
            } else if line == b"PING" {
                out.extend_from_slice(b"PONG\r\n");
                heard(Heard::Ping);
            } else if line == b"PONG" {
                if !self.ready {
                    self.ready = true;
                    heard(Heard::Ready);
                }
            } else if line.starts_with(b"INFO ") {
                // It comes again when a server has news.
                out.append(&mut self.hello);
            } else {
                bail!("the server said {:?}", String::from_utf8_lossy(line));
            }
            at += bytes;
        }
    }
}

/// The last word: `subject sid length`.
fn length(arguments: &[u8]) -> anyhow::Result<usize> {
    let digits = arguments.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .with_context(|| format!("no length in MSG {:?}", String::from_utf8_lossy(arguments)))
}

/// Appends a number in digits, without an allocation.
fn decimal(mut number: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(room: &str, receives: bool) -> Seat {
        Seat { number: 0, name: "a".into(), room: room.into(), sends: true, receives }
    }

    /// What is heard of `input` when it comes in pieces of so many bytes, and what is said.
    fn listen(client: &mut Nats, input: &[u8], piece: usize) -> anyhow::Result<(Vec<String>, String)> {
        let (mut waiting, mut out, mut all) = (Vec::new(), Vec::new(), Vec::new());
        client.open(&mut out);
        for part in input.chunks(piece) {
            waiting.extend_from_slice(part);
            let taken = client.take(&waiting, &mut out, &mut |heard| {
                all.push(match heard {
                    Heard::Ready => "ready".into(),
                    Heard::Ping => "ping".into(),
                    Heard::Body(body) => format!("{:?}", String::from_utf8_lossy(body)),
                });
            })?;
            waiting.drain(..taken);
        }
        assert!(waiting.is_empty(), "{waiting:?}");
        Ok((all, String::from_utf8(out)?))
    }

    #[test]
    fn what_a_server_says_is_the_same_in_pieces() {
        let said =
            b"INFO {\"x\":1} \r\nPONG\r\nMSG room.a 1 4\r\nM\r\nG\r\nPING\r\nMSG room.a 1 0\r\n\r\nPONG\r\n";
        for piece in [1, 7, 1000] {
            let (heard, said) = listen(&mut Nats::new(&seat("a", true)), said, piece).expect("good");
            assert_eq!(heard, ["ready", r#""M\r\nG""#, "ping", r#""""#]);
            assert!(said.ends_with("\"echo\":false}\r\nSUB room.a 1\r\nPING\r\nPONG\r\n"), "{said}");
        }
    }

    #[test]
    fn who_does_not_receive_does_not_subscribe() {
        let (_, said) = listen(&mut Nats::new(&seat("echo-1", false)), b"INFO {}\r\n", 1000).expect("good");
        assert!(said.ends_with("\"echo\":true}\r\nPING\r\n"), "{said}");
    }

    #[test]
    fn a_message_is_published_with_its_length() {
        for (body, length) in [(vec![b'x'; 16], "16"), (vec![], "0"), (vec![b'y'; 16384], "16384")] {
            let mut out = Vec::new();
            Nats::new(&seat("a", true)).say(Say::Others, &body, &mut out);
            let want = format!("PUB room.a {length}\r\n{}\r\n", String::from_utf8_lossy(&body));
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
    }

    #[test]
    fn what_cannot_be_ends_the_run() {
        for bad in [
            "-ERR 'maximum connections exceeded'\r\n",
            "MSG a 1 x\r\n",
            "MSG a 1 1\r\nxyz",
            "HMSG a 1 1 1\r\n",
        ] {
            listen(&mut Nats::new(&seat("a", true)), bad.as_bytes(), 1000).expect_err(bad);
        }
    }
}
