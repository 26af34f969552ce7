//! A client of tagwire, written by hand as far as it is hot: login, the way into its room, acknowledgements, pongs, coming back.

use anyhow::{bail, ensure};
use prost::Message as _;
use tagwire::bytes::Bytes;
use tagwire::frame::encode_message;
use tagwire::pb::tagwire::v1;
use tagwire::{Fingerprint, Message, PROTOCOL_VERSION};

use super::plain::{frame, next, tag};
use super::{Dialect, Heard, Say, Seat};

/// What is acknowledged at the latest (docs/PROTOCOL.md, "Pings").
const ACKNOWLEDGE_FRAMES: u64 = 256;
const ACKNOWLEDGE_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    LoggingIn,
    Joining,
    Inside,
}

/// One session.
#[derive(Debug)]
pub struct Tagwire {
    seat: Seat,
    fingerprint: Fingerprint,
    state: State,
    resume_token: Bytes,
    /// The how manieth connection of the session this is.
    connection: u32,
    /// Counted frames that came.
    received: u64,
    acknowledged: u64,
    unacknowledged_bytes: usize,
    key: u64,
}

impl Tagwire {
    /// A player who is yet to log in.
    pub fn new(seat: &Seat) -> Self {
        Tagwire {
            seat: seat.clone(),
            fingerprint: crate::schema::schema().fingerprint(),
            state: State::LoggingIn,
            resume_token: Bytes::new(),
            connection: 1,
            received: 0,
            acknowledged: 0,
            unacknowledged_bytes: 0,
            key: 0,
        }
    }

    fn next_key(&mut self) -> u64 {
        self.key += 1;
        self.key
    }

    fn welcomed(&mut self, payload: &[u8], out: &mut Vec<u8>) -> anyhow::Result<bool> {
        let welcome = v1::Welcome::decode(payload)?;
        ensure!(welcome.resumed == (self.connection > 1), "the session was not resumed");
        self.resume_token = welcome.resume_token;
        let stays_outside = !self.seat.sends && !self.seat.receives;
        if welcome.resumed || stays_outside || self.seat.room == welcome.room {
            self.state = State::Inside;
            return Ok(true);
        }
        self.state = State::Joining;
        let join = v1::JoinRoom { room: self.seat.room.clone() };
        let request = v1::Request {
            key: self.next_key(),
            tag: u32::from(v1::JoinRoom::TAG.0),
            body: join.encode_to_vec().into(),
        };
        encode_message(&request, out);
        Ok(false)
    }

    fn acknowledge(&mut self, sent_epoch: u64, out: &mut Vec<u8>) {
        let ping = v1::Ping {
            sent_epoch,
            bounce_epoch: sent_epoch,
            frames_received: self.received,
            ..v1::Ping::default()
        };
        encode_message(&ping, out);
        self.acknowledged = self.received;
        self.unacknowledged_bytes = 0;
    }

    /// A frame of an open session that counts.
    fn counted(&mut self, tag: u16, payload: &[u8], heard: &mut dyn FnMut(Heard<'_>)) -> anyhow::Result<()> {
        self.received += 1;
        self.unacknowledged_bytes += payload.len();
        match tag {
            246 => heard(Heard::Body(field(payload, 3)?)),
            243 if self.state == State::Joining => {
                let response = v1::Response::decode(payload)?;
                ensure!(response.status == 0, "no room: {}", response.message);
                self.state = State::Inside;
                heard(Heard::Ready);
            }
            243 => heard(Heard::Body(field(payload, 4)?)),
            245 => bail!("the server gives notice: {}", v1::Notice::decode(payload)?.text),
            247 => {}
            2 | 4..=8 => heard(Heard::Body(payload)),
            _ => bail!("the server sent a frame with the tag {tag}"),
        }
        Ok(())
    }
}

/// The bytes of a field that is the last of a message, behind varints.
fn field(message: &[u8], number: u8) -> anyhow::Result<&[u8]> {
    let mut rest = message;
    while let [key, behind @ ..] = rest {
        rest = behind;
        let length = prost::encoding::decode_varint(&mut rest)?;
        if *key == number << 3 | 2 {
            ensure!(rest.len() as u64 == length, "the body is not the last field");
            return Ok(rest);
        }
        // Nothing but varints stands before it; of a Response that is no success, the status.
        ensure!(key & 7 == 0 && (number == 3 || *key != 3 << 3), "the answer is no success");
    }
    bail!("the message has no body")
}

impl Dialect for Tagwire {
    fn open(&mut self, out: &mut Vec<u8>) {
        let resume = (self.connection > 1).then(|| v1::Resume {
            token: self.resume_token.clone(),
            frames_received: self.received,
            connection: self.connection,
        });
        let login = v1::PlayerLogin {
            username: self.seat.name.clone(),
            password: "welcome".to_string(),
            client: Some(v1::ClientInfo {
                protocol: PROTOCOL_VERSION,
                fingerprint: Bytes::copy_from_slice(&self.fingerprint.0),
                sdk: "tagwire-bench".to_string(),
                version: env!("CARGO_PKG_VERSION").to_string(),
                ..v1::ClientInfo::default()
            }),
            resume,
            ..v1::PlayerLogin::default()
        };
        encode_message(&login, out);
    }

    fn say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>) {
        if what != Say::Request {
            return frame(tag(what), body, out);
        }
        let request = v1::Request {
            key: self.next_key(),
            tag: u32::from(tag(Say::Request)),
            body: Bytes::copy_from_slice(body),
        };
        encode_message(&request, out);
    }

    fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize> {
        let mut at = 0;
        while let Some((tag, payload, bytes)) = next(&input[at..]) {
            match tag {
                3 => {
                    let ping = v1::Ping::decode(payload)?;
                    if ping.sent_epoch != 0 {
                        self.acknowledge(ping.sent_epoch, out);
                        heard(Heard::Ping);
                    }
                }
                240 => {
                    if self.welcomed(payload, out)? {
                        heard(Heard::Ready);
                    }
                }
                241 => {
                    let told = v1::Disconnect::decode(payload)?;
                    bail!("the server ends the session: {} ({})", told.reason, told.code);
                }
                _ => self.counted(tag, payload, heard)?,
            }
            at += bytes;
        }
        if self.received - self.acknowledged >= ACKNOWLEDGE_FRAMES
            || self.unacknowledged_bytes >= ACKNOWLEDGE_BYTES
        {
            self.acknowledge(0, out);
        }
        Ok(at)
    }

    fn resumed(&self) -> Option<Box<dyn Dialect>> {
        Some(Box::new(Tagwire {
            seat: self.seat.clone(),
            state: State::LoggingIn,
            resume_token: self.resume_token.clone(),
            connection: self.connection + 1,
            ..*self
        }))
    }
}
