//! The client's side of one session.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use crate::close::CloseCode;
use crate::frame::{self, Frame, encode_message};
use crate::pb::tagwire::v1;
use crate::schema::{Message, Schema, Sender, Target};
use crate::session::{Fault, PEER_TIMEOUT_US, Received};
use crate::tag::Tag;
use crate::time::Now;

/// Bytes that Relayed and Response may add to a body; they need at most 22.
pub const WRAPPER_BYTES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The login is not answered.
    Waiting,
    /// Neither is the schema that was offered.
    Offered,
    /// Inside.
    Open,
    /// Ended.
    Closed,
}

/// What a client shows to come in.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The name that is asked for; empty: any.
    pub username: String,
    /// What proves it.
    pub password: String,
}

/// What a frame of the server tells the client.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The server asked for this client's schema, and it was offered.
    SchemaOffered,
    /// The login was accepted.
    Welcome(v1::Welcome),
    /// A message of the game.
    Message {
        /// The player who sent it; `None`: the server.
        sender: Option<u32>,
        /// Its tag.
        tag: Tag,
        /// The encoded message, not checked.
        payload: Bytes,
    },
    /// The server asked for, and got, an answer; it told the last round trip.
    Ping(v1::Ping),
    /// The answer to a request.
    Response(v1::Response),
    /// Who is in the room.
    Member(v1::Member),
    /// The room has ended; the session is in none.
    RoomEnded(v1::RoomEnded),
    /// Something that was sent has been dropped.
    Notice(v1::Notice),
    /// The server ends the connection, or refuses the login.
    Disconnect {
        /// Why.
        code: CloseCode,
        /// Why, for people.
        reason: String,
        /// Not again before so many milliseconds.
        retry_after_ms: u32,
        /// With SCHEMA_MISMATCH: what differs.
        findings: Vec<String>,
    },
    /// A message that is not known here or cannot be read: to be counted.
    Dropped(Tag),
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Not before Welcome, not after the end.
    #[error("the session is not open")]
    NotOpen,
    /// The schema has no such message.
    #[error("the schema has no message with tag {0}")]
    Unknown(Tag),
    /// The schema lets only the server send it.
    #[error("{0} is sent by the server only")]
    Direction(Cow<'static, str>),
    /// It asks for an answer.
    #[error("{0} is a request")]
    Request(Cow<'static, str>),
    /// Over its `max_bytes`, or over what the server takes.
    #[error("{name} of {length} bytes, limit {limit}")]
    TooLarge {
        /// Its full name.
        name: &'static str,
        /// Its payload in bytes.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// The client's side of one session. What is to be sent is appended to the `out` of each call.
#[derive(Debug)]
pub struct ClientSession {
    schema: Arc<Schema>,
    state: State,
    received: Received,
    last_heard: Now,
    max_frame_bytes: usize,
    next_key: u64,
}

impl ClientSession {
    /// Begins a session: appends the login.
    pub fn connect(now: Now, schema: Arc<Schema>, credentials: &Credentials, out: &mut Vec<u8>) -> Self {
        let fingerprint = Bytes::copy_from_slice(&schema.fingerprint().0);
        let login = v1::PlayerLogin {
            username: credentials.username.clone(),
            password: credentials.password.clone(),
            client: Some(v1::ClientInfo {
                protocol: crate::PROTOCOL_VERSION,
                fingerprint,
                sdk: "tagwire-rust".to_string(),
                version: env!("CARGO_PKG_VERSION").to_string(),
            }),
            ..v1::PlayerLogin::default()
        };
        encode_message(&login, out);
        ClientSession {
            schema,
            state: State::Waiting,
            received: Received::default(),
            last_heard: now,
            max_frame_bytes: frame::DEFAULT_MAX_FRAME_BYTES,
            next_key: 1,
        }
    }

    /// When the server is to be given up if nothing comes; microseconds on the monotonic clock.
    pub fn deadline_us(&self) -> u64 {
        self.last_heard.monotonic_us + PEER_TIMEOUT_US
    }

    /// What the decoder may take now; changes with Welcome. What the server takes from a sender may come to us in a
    /// wrapper.
    pub fn decoder_limits(&self) -> frame::Limits {
        let largest = self.max_frame_bytes.max(frame::DEFAULT_MAX_FRAME_BYTES) + WRAPPER_BYTES;
        frame::Limits { max_frame_bytes: largest, only: None }
    }

    /// True from Welcome to the end.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Takes the next frame of the server.
    ///
    /// # Errors
    /// The connection must end.
    pub fn handle_frame(&mut self, now: Now, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<Event, Fault> {
        self.last_heard = now;
        let Frame { tag, payload } = frame;
        let payload = Bytes::copy_from_slice(payload);
        self.received.count(tag, payload.len());
        let malformed = |error| Fault::Malformed { tag, error };
        if tag == v1::Disconnect::TAG {
            self.state = State::Closed;
            let v1::Disconnect { code, reason, retry_after_ms, findings, .. } =
                v1::Disconnect::decode(payload).map_err(malformed)?;
            let code = CloseCode(u16::try_from(code).unwrap_or(u16::MAX));
            return Ok(Event::Disconnect { code, reason, retry_after_ms, findings });
        }
        match self.state {
            State::Waiting if tag == v1::SchemaWanted::TAG => {
                self.state = State::Offered;
                let offer = v1::SchemaOffer { descriptors: self.schema.descriptors().clone() };
                encode_message(&offer, out);
                Ok(Event::SchemaOffered)
            }
            State::Waiting | State::Offered if tag == v1::Welcome::TAG => {
                let welcome = v1::Welcome::decode(payload).map_err(malformed)?;
                if let Some(limits) = &welcome.limits {
                    self.max_frame_bytes = (limits.max_frame_bytes as usize).min(frame::MAX_FRAME_BYTES);
                }
                self.state = State::Open;
                Ok(Event::Welcome(welcome))
            }
            State::Waiting | State::Offered => Err(Fault::TooEarly(tag)),
            State::Closed => Ok(Event::Dropped(tag)),
            State::Open => {
                let event = self.handle_open(now, tag, payload, out);
                if self.received.is_due() {
                    let frames_received = self.received.tell();
                    encode_message(&v1::Ping { frames_received, ..v1::Ping::default() }, out);
                }
                // What cannot be read never ends a client.
                Ok(event.unwrap_or(Event::Dropped(tag)))
            }
        }
    }

    fn handle_open(
        &mut self,
        now: Now,
        tag: Tag,
        payload: Bytes,
        out: &mut Vec<u8>,
    ) -> Result<Event, prost::DecodeError> {
        Ok(match tag {
            v1::Ping::TAG => {
                let ping = v1::Ping::decode(payload)?;
                if ping.sent_epoch != 0 {
                    let answer = v1::Ping {
                        sent_epoch: ping.sent_epoch,
                        bounce_epoch: now.unix_us,
                        frames_received: self.received.tell(),
                        ..v1::Ping::default()
                    };
                    encode_message(&answer, out);
                }
                Event::Ping(ping)
            }
            v1::Relayed::TAG => {
                let v1::Relayed { player, tag, body } = v1::Relayed::decode(payload)?;
                let tag = Tag(u16::try_from(tag).unwrap_or(0));
                match self.schema.get(tag) {
                    Some(_) => Event::Message { sender: Some(player), tag, payload: body },
                    None => Event::Dropped(tag),
                }
            }
            v1::Response::TAG => Event::Response(v1::Response::decode(payload)?),
            v1::Member::TAG => Event::Member(v1::Member::decode(payload)?),
            v1::RoomEnded::TAG => Event::RoomEnded(v1::RoomEnded::decode(payload)?),
            v1::Notice::TAG => Event::Notice(v1::Notice::decode(payload)?),
            _ if self.schema.get(tag).is_some() => Event::Message { sender: None, tag, payload },
            _ => Event::Dropped(tag),
        })
    }

    /// Appends a message of the game.
    ///
    /// # Errors
    /// It may not be sent; nothing was appended.
    pub fn send<M: Message>(&self, message: &M, out: &mut Vec<u8>) -> Result<(), SendError> {
        if self.state != State::Open {
            return Err(SendError::NotOpen);
        }
        let (_, info) = self.schema.get(M::TAG).ok_or(SendError::Unknown(M::TAG))?;
        if info.rules.from == Sender::Server {
            return Err(SendError::Direction(info.full_name.clone()));
        }
        if info.request && info.rules.to == Target::Handler {
            return Err(SendError::Request(info.full_name.clone()));
        }
        self.check_size::<M>(message.encoded_len(), info.rules.max_bytes)?;
        encode_message(message, out);
        Ok(())
    }

    fn check_size<M: Message>(&self, length: usize, max_bytes: Option<u32>) -> Result<(), SendError> {
        let limit = max_bytes.map_or(self.max_frame_bytes, |bytes| self.max_frame_bytes.min(bytes as usize));
        if length > limit {
            return Err(SendError::TooLarge { name: M::FULL_NAME, length, limit });
        }
        Ok(())
    }

    /// Appends a request, of the game or of the stack; the Response has the returned key.
    ///
    /// # Errors
    /// It may not be sent; nothing was appended, and no key is used.
    pub fn request<M: Message>(&mut self, message: &M, out: &mut Vec<u8>) -> Result<u64, SendError> {
        if self.state != State::Open {
            return Err(SendError::NotOpen);
        }
        self.check_size::<M>(message.encoded_len(), M::RULES.max_bytes)?;
        let key = self.next_key;
        let body = message.encode_to_vec().into();
        let request = v1::Request { key, tag: u32::from(M::TAG.0), body };
        self.check_size::<v1::Request>(request.encoded_len(), None)?;
        self.next_key += 1;
        encode_message(&request, out);
        Ok(key)
    }

    /// Ends the session: appends the last frame.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        if self.state == State::Open {
            let disconnect =
                v1::Disconnect { code: u32::from(code.0), reason: reason.to_string(), ..Default::default() };
            encode_message(&disconnect, out);
        }
        self.state = State::Closed;
    }
}
