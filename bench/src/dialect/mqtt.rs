//! MQTT 5 (OASIS standard, 2019) with QoS 0: what a client needs that publishes to the topic of its room and subscribes to it.
//!
//! ```text
//! packet: type and flags u8 | length of the rest varint | rest        texts have a length u16 before them; big-endian
//! client  10 CONNECT    "MQTT" | 5 | 02 clean start | keep alive u16, 0: none | no properties | client's name
//! server  20 CONNACK    flags | reason, 0: accepted | properties
//! client  82 SUBSCRIBE  packet u16 | no properties | topic | options: 4 = No Local
//! server  90 SUBACK     packet u16 | properties | reason, 0: granted QoS 0
//! both    30 PUBLISH    topic | properties | body
//! ```
//!
//! A subscription says whether one's own messages come back (No Local), and a client has one. As with NATS it is a matter of the
//! room: they do in rooms whose names begin with "echo". There, all messages are [`Say::All`]; elsewhere they are [`Say::Others`].

use anyhow::{Context as _, bail};

use super::nats::echoes;
use super::{Dialect, Heard, Say, Seat};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const DISCONNECT: u8 = 0xe0;

const NO_LOCAL: u8 = 4;

/// A client of a broker.
#[derive(Debug)]
pub struct Mqtt {
    connect: Vec<u8>,
    /// Empty: it does not receive.
    subscribe: Vec<u8>,
    /// What the rest of a message begins with, up to its body.
    publish: Vec<u8>,
}

impl Mqtt {
    /// One that has not begun.
    pub fn new(seat: &Seat) -> Self {
        let topic = format!("room/{}", seat.room);
        let mut rest = Vec::new();
        text("MQTT", &mut rest);
        rest.extend_from_slice(&[5, 2, 0, 0, 0]);
        text(&seat.name, &mut rest);
        let mut connect = Vec::new();
        packet(CONNECT, &[&rest], &mut connect);

        let mut subscribe = Vec::new();
        if seat.receives {
            let mut rest = vec![0, 1, 0];
            text(&topic, &mut rest);
            rest.push(if echoes(&seat.room) { 0 } else { NO_LOCAL });
            packet(SUBSCRIBE, &[&rest], &mut subscribe);
        }

        let mut publish = Vec::new();
        text(&topic, &mut publish);
        publish.push(0);
        Mqtt { connect, subscribe, publish }
    }
}

impl Dialect for Mqtt {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.connect);
    }

    fn say(&mut self, _what: Say, body: &[u8], out: &mut Vec<u8>) {
        packet(PUBLISH, &[&self.publish, body], out);
    }

    fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize> {
        let mut at = 0;
        while let Some((kind, rest, bytes)) = next(&input[at..])? {
            match kind {
                PUBLISH => heard(Heard::Body(body(rest).context("a message that is cut short")?)),
                CONNACK => match rest {
                    [_, 0, ..] if self.subscribe.is_empty() => heard(Heard::Ready),
                    [_, 0, ..] => out.append(&mut self.subscribe),
                    _ => bail!("the broker refuses the connection: {rest:02x?}"),
                },
                SUBACK => match rest.last() {
                    Some(0) => heard(Heard::Ready),
                    _ => bail!("the broker refuses the subscription: {rest:02x?}"),
                },
                DISCONNECT => bail!("the broker ends the connection: {rest:02x?}"),
                _ => bail!("the broker sent a packet {kind:02x}"),
            }
            at += bytes;
        }
        Ok(at)
    }
}

/// What is behind topic and properties.
fn body(rest: &[u8]) -> Option<&[u8]> {
    let (length, rest) = rest.split_first_chunk()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
    let (properties, bytes) = varint(rest)?;
    rest.get(bytes + properties..)
}

/// The first packet: type, rest, and the bytes of all of it. `None`: it is not whole.
fn next(input: &[u8]) -> anyhow::Result<Option<(u8, &[u8], usize)>> {
    let Some((&kind, after)) = input.split_first() else { return Ok(None) };
    let Some((length, bytes)) = varint(after) else {
        if after.len() >= 4 {
            bail!("the length of a packet has more than 4 bytes");
        }
        return Ok(None);
    };
    let whole = 1 + bytes + length;
    Ok(input.get(1 + bytes..whole).map(|rest| (kind, rest, whole)))
}

/// A number of up to 4 bytes, and how many those are. `None`: it does not end there.
fn varint(input: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    for (at, byte) in input.iter().take(4).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, at + 1));
        }
    }
    None
}

/// Appends a packet.
fn packet(kind: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(kind);
    prost::encoding::encode_varint(length as u64, out);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends a text with its length.
fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(room: &str, receives: bool) -> Seat {
        Seat { number: 0, name: "a".into(), room: room.into(), sends: true, receives }
    }

    /// What is heard of `input` when it comes in pieces of so many bytes, and what is said.
    fn listen(client: &mut Mqtt, input: &[u8], piece: usize) -> anyhow::Result<(Vec<String>, Vec<u8>)> {
        let (mut waiting, mut out, mut all) = (Vec::new(), Vec::new(), Vec::new());
        client.open(&mut out);
        for part in input.chunks(piece) {
            waiting.extend_from_slice(part);
            let taken = client.take(&waiting, &mut out, &mut |heard| {
                all.push(match heard {
                    Heard::Ready => "ready".into(),
                    Heard::Ping => "ping".into(),
                    Heard::Body(body) => format!("{} {:?}", body.len(), body.first()),
                });
            })?;
            waiting.drain(..taken);
        }
        assert!(waiting.is_empty(), "{waiting:?}");
        Ok((all, out))
    }

    #[test]
    fn what_a_broker_says_is_the_same_in_pieces() {
        let mut said = b"\x20\x03\x00\x00\x00\x90\x04\x00\x01\x00\x00".to_vec();
        // With a property (message expiry), and one that is large.
        said.extend_from_slice(b"\x30\x0c\x00\x03r/a\x05\x02\x00\x00\x00\x09x");
        packet(PUBLISH, &[b"\x00\x03r/a\x00", &[b'y'; 16384]], &mut said);
        for piece in [1, 7, 100_000] {
            let (heard, said) = listen(&mut Mqtt::new(&seat("a", true)), &said, piece).expect("good");
            assert_eq!(heard, ["ready", "1 Some(120)", "16384 Some(121)"]);
            assert_eq!(
                said,
                b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a\x82\x0c\x00\x01\x00\x00\x06room/a\x04"
            );
        }
    }

    #[test]
    fn who_does_not_receive_does_not_subscribe() {
        let accepted = b"\x20\x03\x00\x00\x00";
        let (heard, said) = listen(&mut Mqtt::new(&seat("echo-1", false)), accepted, 1000).expect("good");
        assert_eq!((heard, said.len()), (vec!["ready".to_owned()], 16));
        let (_, said) = listen(&mut Mqtt::new(&seat("echo-1", true)), accepted, 1000).expect("good");
        assert!(said.ends_with(b"room/echo-1\x00"), "{said:02x?}");
    }

    #[test]
    fn a_message_is_published_with_its_length() {
        let mut out = Vec::new();
        Mqtt::new(&seat("a", true)).say(Say::Others, &[7; 200], &mut out);
        assert_eq!(out[..12], *b"\x30\xd1\x01\x00\x06room/a\x00");
        assert_eq!(out[12..], [7; 200]);
    }

    #[test]
    fn what_cannot_be_ends_the_run() {
        let refused = b"\x20\x03\x00\x87\x00";
        let not_subscribed = b"\x90\x04\x00\x01\x00\x87";
        let ended = b"\xe0\x01\x8b";
        let long = b"\x30\xff\xff\xff\xff\x01";
        let short = b"\x30\x03\x00\x03r";
        for bad in [&refused[..], not_subscribed, ended, long, short] {
            listen(&mut Mqtt::new(&seat("a", true)), bad, 1000).expect_err("bad");
        }
    }
}
