//! Colyseus 0.18: a seat is reserved over HTTP, then the same connection becomes a WebSocket of the room.
//!
//! ```text
//! POST /matchmake/joinOrCreate/relay {"room": NAME}  ->  {"processId": .., "roomId": .., "sessionId": ..}
//! GET /PROCESS/ROOM?sessionId=SESSION, as a WebSocket
//!
//! 10 | ..                          server: it is in, with what a state would need; client: 10 alone, and messages may come
//! 11 | code | text                 server: an error
//! 17 | type (a string of msgpack) | body    a message of bytes, in both directions
//! 14, 15                           a state and its patches, of which this room has none
//! ```

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::websocket::{Head, Link, Told, begin, end};
use super::{Dialect, Heard, Say, Seat};

const JOIN_ROOM: u8 = 10;
const ERROR: u8 = 11;
const ROOM_STATE: u8 = 14;
const ROOM_STATE_PATCH: u8 = 15;
const ROOM_DATA_BYTES: u8 = 17;

/// Where a string of msgpack that is shorter than 32 bytes says its length.
const SHORT_STRING: u8 = 0xa0;

#[derive(Debug)]
enum State {
    /// A seat is asked for.
    Reserving,
    /// A WebSocket, or asked for.
    Linked(Link),
}

/// A client of a room.
#[derive(Debug)]
pub struct Colyseus {
    room: String,
    state: State,
    /// What came of a message whose last frame is still to come.
    message: Vec<u8>,
}

impl Colyseus {
    /// One that has not begun.
    pub fn new(seat: &Seat) -> Self {
        Colyseus { room: seat.room.clone(), state: State::Reserving, message: vec![] }
    }
}

/// The path of the seat that the answer gives, and how many bytes the answer was. `None`: it is not whole.
fn reservation(input: &[u8]) -> anyhow::Result<Option<(String, usize)>> {
    let Some(head) = Head::read(input)? else { return Ok(None) };
    let length = head.field("Content-Length").context("an answer without a length")?;
    let bytes = head.bytes + length.parse::<usize>().context("the length of an answer")?;
    let Some(body) = input.get(head.bytes..bytes) else { return Ok(None) };
    ensure!(head.status == "200", "no seat: {} {}", head.status, String::from_utf8_lossy(body));
    let seat: Value = serde_json::from_slice(body).context("a seat")?;
    let part = |name: &str| seat[name].as_str().with_context(|| format!("a seat without {name}: {seat}"));
    let path = format!("/{}/{}?sessionId={}", part("processId")?, part("roomId")?, part("sessionId")?);
    Ok(Some((path, bytes)))
}

/// A whole message of the room.
fn hear(message: &[u8], out: &mut Vec<u8>, heard: &mut dyn FnMut(Heard<'_>)) -> anyhow::Result<()> {
    match message {
        [ROOM_DATA_BYTES, length, rest @ ..] if (SHORT_STRING..SHORT_STRING + 32).contains(length) => {
            let body =
                rest.get(usize::from(length - SHORT_STRING)..).context("a message that ends in its type")?;
            heard(Heard::Body(body));
        }
        [JOIN_ROOM, ..] => {
            let start = begin(out);
            out.push(JOIN_ROOM);
            end(start, out);
            heard(Heard::Ready);
        }
        [ROOM_STATE | ROOM_STATE_PATCH, ..] => {}
        [ERROR, rest @ ..] => bail!("the room refused: {}", String::from_utf8_lossy(rest)),
        _ => bail!("a message of {} bytes that begins {:?}", message.len(), &message[..message.len().min(8)]),
    }
    Ok(())
}

impl Dialect for Colyseus {
    fn open(&mut self, out: &mut Vec<u8>) {
        let body = json!({ "room": self.room }).to_string();
        let head = format!(
            "POST /matchmake/joinOrCreate/relay HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body.as_bytes());
    }

    fn say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>) {
        let kind: &[u8] = match what {
            Say::All => b"all",
            Say::Others | Say::Step | Say::CheckedStep | Say::Latest => b"others",
            Say::Request => b"request",
        };
        let start = begin(out);
        out.extend_from_slice(&[ROOM_DATA_BYTES, SHORT_STRING | kind.len() as u8]);
        out.extend_from_slice(kind);
        out.extend_from_slice(body);
        end(start, out);
    }

    fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize> {
        let mut at = 0;
        if let State::Reserving = self.state {
            let Some((path, bytes)) = reservation(input)? else { return Ok(0) };
            let link = Link::new(None);
            link.open(&path, out);
            self.state = State::Linked(link);
            at = bytes;
        }
        let (State::Linked(link), message) = (&mut self.state, &mut self.message) else { return Ok(at) };
        let taken = link.take(&input[at..], out, &mut |told, out| match told {
            Told::Open => Ok(()),
            Told::Part { bytes, last: true } if message.is_empty() => hear(bytes, out, heard),
            Told::Part { bytes, last } => {
                message.extend_from_slice(bytes);
                if last {
                    hear(message, out, heard)?;
                    message.clear();
                }
                Ok(())
            }
            Told::Ping => {
                heard(Heard::Ping);
                Ok(())
            }
        })?;
        Ok(at + taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(answer: &str) -> anyhow::Result<Option<(String, usize)>> {
        reservation(answer.as_bytes())
    }

    #[test]
    fn a_seat_is_where_the_answer_says() {
        let body = r#"{"name":"relay","sessionId":"s","roomId":"r","processId":"p"}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(seat(&answer).expect("whole"), Some(("/p/r?sessionId=s".to_string(), answer.len())));
        assert_eq!(seat(&answer[..answer.len() - 1]).expect("cut"), None);
        let refused = "HTTP/1.1 523 No\r\nContent-Length: 4\r\n\r\nfull";
        assert_eq!(seat(refused).expect_err("refused").to_string(), "no seat: 523 full");
        assert!(
            seat("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                .expect_err("empty")
                .to_string()
                .contains("processId")
        );
    }

    #[test]
    fn messages_are_told_and_refusals_are_errors() {
        let hear = |message: &[u8]| {
            let (mut all, mut out) = (vec![], vec![]);
            hear(message, &mut out, &mut |heard| all.push(format!("{heard:?}")))?;
            anyhow::Ok((all, out.len()))
        };
        assert_eq!(
            hear(&[17, 0xa3, b'a', b'l', b'l', 7, 8]).expect("bytes"),
            (vec!["Body([7, 8])".to_string()], 0)
        );
        assert_eq!(hear(&[10, 1, b't']).expect("joined"), (vec!["Ready".to_string()], 7));
        assert_eq!(hear(&[15, 1]).expect("a patch"), (vec![], 0));
        assert_eq!(
            hear(&[11, 3, 0xa1, b'x']).expect_err("refused").to_string().find("the room refused"),
            Some(0)
        );
        assert!(hear(&[17, 0xa3, b'a']).is_err() && hear(&[99]).is_err() && hear(&[]).is_err());
    }

    #[test]
    fn a_message_in_two_frames_is_one() {
        let seat = Seat { number: 0, name: "n".into(), room: "r".into(), sends: true, receives: true };
        let (mut client, mut out, mut heard) = (Colyseus::new(&seat), vec![], vec![]);
        let body = r#"{"sessionId":"s","roomId":"r","processId":"p"}"#;
        let seat = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        client.take(seat.as_bytes(), &mut out, &mut |_| panic!("heard")).expect("a seat");
        let asked = String::from_utf8(out.clone()).expect("text");
        assert!(asked.starts_with("GET /p/r?sessionId=s HTTP/1.1\r\n"), "{asked}");
        let key = asked.split_once("Key: ").expect("a key").1.trim();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let agreed = format!("HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
        let frames = [2, 3, 17, 0xa3, b'a', 0x80, 4, b'l', b'l', 7, 8];
        let come = [agreed.as_bytes(), &frames, &[0x82, 1, 14]].concat();
        let taken = client.take(&come, &mut out, &mut |it| heard.push(format!("{it:?}"))).expect("frames");
        assert_eq!((taken, heard), (come.len(), vec!["Body([7, 8])".to_string()]));
    }
}
