//! The client's side of one session.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use crate::close::CloseCode;
use crate::frame::{self, Frame, encode_message};
use crate::pb::tagwire::v1::{self, login_part};
use crate::schema::{Message, Schema, Sender, Target};
use crate::session::outbox::{Lane, Outbox, OutboxLimits};
use crate::session::{Fault, PEER_TIMEOUT_US, Received};
use crate::tag::Tag;
use crate::time::Now;

/// Bytes that Relayed and Response may add to a body; they need at most 22.
pub const WRAPPER_BYTES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is no connection.
    Lost,
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
    /// Or this, which holds the name as well: a JWT, say.
    pub token: String,
}

/// What a frame of the server tells the client.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The server asked for this client's schema, and it was offered.
    SchemaOffered,
    /// The login was accepted. Where the Welcome is not `resumed`, the session is a new one: no request that was not
    /// answered will be, and nothing that waited is sent.
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
        /// With LOGIN_REFUSED: which part of the login it was, where that is told.
        refused: login_part::Value,
    },
    /// A message that is not known here or cannot be read: to be counted.
    Dropped(Tag),
}

/// Why a message cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Not before the first Welcome, not after the end.
    #[error("the session is not open")]
    NotOpen,
    /// As much waits as may: to be tried again when some of it is written.
    #[error("too much waits to be sent already")]
    Full,
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

/// The client's side of one session, over all its connections. Printing it shows no secret.
pub struct ClientSession {
    schema: Arc<Schema>,
    credentials: Credentials,
    limits: OutboxLimits,
    state: State,
    /// What opens the session again; empty: nothing does.
    token: Bytes,
    /// Connections that this session had.
    connections: u32,
    /// What goes before all else on this connection, and how much of it is written.
    opening: (Vec<u8>, usize),
    outbox: Outbox,
    received: Received,
    last_heard: Now,
    max_frame_bytes: usize,
    next_key: u64,
}

impl ClientSession {
    /// A session that is yet to begin, with [`ClientSession::connect`]. `limits`: of what waits for the server, and of
    /// what is kept to be sent again.
    pub fn new(schema: Arc<Schema>, credentials: Credentials, limits: OutboxLimits) -> Self {
        ClientSession {
            schema,
            credentials,
            limits,
            state: State::Lost,
            token: Bytes::new(),
            connections: 0,
            opening: (vec![], 0),
            outbox: Outbox::new(limits),
            received: Received::default(),
            last_heard: Now { monotonic_us: 0, unix_us: 0 },
            max_frame_bytes: frame::DEFAULT_MAX_FRAME_BYTES,
            next_key: 1,
        }
    }

    /// A connection stands: logs in, or comes back to the session that there was. Use a new decoder with it. After
    /// the end of the session this does nothing.
    pub fn connect(&mut self, now: Now) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Waiting;
        self.last_heard = now;
        self.connections += 1;
        let resume = self.is_resumable().then(|| v1::Resume {
            token: self.token.clone(),
            frames_received: self.received.frames(),
            connection: self.connections,
        });
        let login = v1::PlayerLogin {
            username: self.credentials.username.clone(),
            password: self.credentials.password.clone(),
            token: self.credentials.token.clone(),
            client: Some(v1::ClientInfo {
                protocol: crate::PROTOCOL_VERSION,
                fingerprint: Bytes::copy_from_slice(&self.schema.fingerprint().0),
                sdk: "tagwire-rust".to_string(),
                version: env!("CARGO_PKG_VERSION").to_string(),
                wants_schema: false,
            }),
            resume,
        };
        self.opening = (vec![], 0);
        encode_message(&login, &mut self.opening.0);
    }

    /// The connection is gone. A session that [is resumable](ClientSession::is_resumable) goes on to take what is sent,
    /// and waits for [`ClientSession::connect`].
    pub fn disconnect(&mut self) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Lost;
        self.opening = (vec![], 0);
        self.outbox.detach();
    }

    /// True where there is a session that can be had again after its connection is lost.
    pub fn is_resumable(&self) -> bool {
        !self.token.is_empty()
    }

    /// What the connection should take next.
    pub fn unwritten(&self) -> &[u8] {
        let (opening, written) = &self.opening;
        match self.state {
            _ if *written < opening.len() => &opening[*written..],
            State::Open | State::Closed => self.outbox.unwritten(),
            State::Lost | State::Waiting | State::Offered => &[],
        }
    }

    /// The connection took the first `count` bytes of [`ClientSession::unwritten`] and refused the rest.
    ///
    /// # Panics
    /// If there were not so many.
    pub fn wrote(&mut self, count: usize) {
        let (opening, written) = &mut self.opening;
        if *written < opening.len() {
            *written += count;
            assert!(*written <= opening.len(), "more written than there is");
            if *written == opening.len() {
                self.opening = (vec![], 0);
            }
        } else {
            self.outbox.wrote(count);
        }
    }

    /// True where the connection has refused bytes and not taken all since.
    pub fn is_blocked(&self) -> bool {
        self.outbox.is_blocked()
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

    /// True where the server is there: from Welcome to the end, or to the end of the connection.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// True from the end of the session on, which no connection brings back.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Counted frames of the server so far.
    pub fn frames_received(&self) -> u64 {
        self.received.frames()
    }

    /// Takes the next frame of the server.
    ///
    /// # Errors
    /// The connection must end.
    pub fn handle_frame(&mut self, now: Now, frame: Frame<'_>) -> Result<Event, Fault> {
        self.last_heard = now;
        let Frame { tag, payload } = frame;
        let payload = Bytes::copy_from_slice(payload);
        let malformed = |error| Fault::Malformed { tag, error };
        if tag == v1::Disconnect::TAG && self.state != State::Lost {
            return self.handle_disconnect(payload).map_err(malformed);
        }
        match self.state {
            State::Waiting if tag == v1::SchemaWanted::TAG => {
                self.state = State::Offered;
                let offer = v1::SchemaOffer { descriptors: self.schema.descriptors().clone() };
                encode_message(&offer, &mut self.opening.0);
                Ok(Event::SchemaOffered)
            }
            State::Waiting | State::Offered if tag == v1::Welcome::TAG => {
                let welcome = v1::Welcome::decode(payload).map_err(malformed)?;
                self.handle_welcome(&welcome)?;
                Ok(Event::Welcome(welcome))
            }
            State::Waiting | State::Offered => Err(Fault::TooEarly(tag)),
            State::Lost | State::Closed => Ok(Event::Dropped(tag)),
            State::Open => {
                self.received.count(tag, payload.len());
                let event = self.handle_open(now, tag, payload);
                if self.received.is_due() {
                    self.ping(v1::Ping::default());
                }
                // What cannot be read never ends a client.
                let event = event.unwrap_or(Event::Dropped(tag));
                if let Event::Ping(ping) = &event {
                    self.outbox.acknowledge(ping.frames_received)?;
                }
                Ok(event)
            }
        }
    }

    fn handle_disconnect(&mut self, payload: Bytes) -> Result<Event, prost::DecodeError> {
        let told = v1::Disconnect::decode(payload).inspect_err(|_| self.end())?;
        let refused = told.refused();
        let v1::Disconnect { code, reason, retry_after_ms, findings, .. } = told;
        let code = CloseCode(u16::try_from(code).unwrap_or(u16::MAX));
        // Before Welcome it says something of this connection, not of the session that was asked for.
        let goes_on = match self.state {
            State::Waiting | State::Offered => code.retryable() || code == CloseCode::LOGIN_TIMEOUT,
            _ => code == CloseCode::TIMEOUT,
        };
        if goes_on && self.is_resumable() {
            self.disconnect();
        } else {
            self.end();
        }
        Ok(Event::Disconnect { code, reason, retry_after_ms, findings, refused })
    }

    fn handle_welcome(&mut self, welcome: &v1::Welcome) -> Result<(), Fault> {
        if welcome.resumed {
            self.outbox.resume(welcome.frames_received)?;
        } else {
            self.token = welcome.resume_token.clone();
            self.connections = 1;
            let max_kept_bytes = if self.is_resumable() { self.limits.max_kept_bytes } else { 0 };
            self.outbox = Outbox::new(OutboxLimits { max_kept_bytes, ..self.limits });
            self.received = Received::default();
        }
        if let Some(limits) = &welcome.limits {
            self.max_frame_bytes = (limits.max_frame_bytes as usize).min(frame::MAX_FRAME_BYTES);
        }
        self.state = State::Open;
        Ok(())
    }

    fn end(&mut self) {
        self.state = State::Closed;
        self.token = Bytes::new();
        self.outbox.clear();
    }

    fn ping(&mut self, ping: v1::Ping) {
        let mut frame = Vec::with_capacity(48);
        encode_message(&v1::Ping { frames_received: self.received.tell(), ..ping }, &mut frame);
        self.outbox.push_urgent(&frame);
    }

    fn handle_open(&mut self, now: Now, tag: Tag, payload: Bytes) -> Result<Event, prost::DecodeError> {
        Ok(match tag {
            v1::Ping::TAG => {
                let ping = v1::Ping::decode(payload)?;
                if ping.sent_epoch != 0 {
                    self.ping(v1::Ping {
                        sent_epoch: ping.sent_epoch,
                        bounce_epoch: now.unix_us,
                        ..v1::Ping::default()
                    });
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

    /// Sends a message of the game: it is [unwritten](ClientSession::unwritten) then, or waits for the connection to
    /// come back.
    ///
    /// # Errors
    /// It may not be sent; nothing has changed.
    pub fn send<M: Message>(&mut self, message: &M) -> Result<(), SendError> {
        self.check_open()?;
        let (_, info) = self.schema.get(M::TAG).ok_or(SendError::Unknown(M::TAG))?;
        if info.rules.from == Sender::Server {
            return Err(SendError::Direction(info.full_name.clone()));
        }
        if info.request && info.rules.to == Target::Handler {
            return Err(SendError::Request(info.full_name.clone()));
        }
        let (lane, max_bytes) = (Lane::new(info.rules.delivery, 0, M::TAG), info.rules.max_bytes);
        self.check_size::<M>(message.encoded_len(), max_bytes)?;
        self.push(message, lane)
    }

    /// There is a session, of which the server may not know yet that this connection is its.
    fn check_open(&self) -> Result<(), SendError> {
        match self.state {
            State::Open => Ok(()),
            State::Lost | State::Waiting | State::Offered if self.is_resumable() => Ok(()),
            _ => Err(SendError::NotOpen),
        }
    }

    fn push<M: Message>(&mut self, message: &M, lane: Lane) -> Result<(), SendError> {
        if self.outbox.is_over() {
            return Err(SendError::Full);
        }
        let mut frame = Vec::new();
        encode_message(message, &mut frame);
        self.outbox.push(&frame, lane);
        Ok(())
    }

    fn check_size<M: Message>(&self, length: usize, max_bytes: Option<u32>) -> Result<(), SendError> {
        let limit = max_bytes.map_or(self.max_frame_bytes, |bytes| self.max_frame_bytes.min(bytes as usize));
        if length > limit {
            return Err(SendError::TooLarge { name: M::FULL_NAME, length, limit });
        }
        Ok(())
    }

    /// Sends a request, of the game or of the stack; the Response has the returned key.
    ///
    /// # Errors
    /// It may not be sent; nothing has changed, and no key is used.
    pub fn request<M: Message>(&mut self, message: &M) -> Result<u64, SendError> {
        self.check_open()?;
        let request = self.keyed(message, self.next_key)?;
        self.check_size::<v1::Request>(request.encoded_len(), None)?;
        self.push(&request, Lane::Ordered)?;
        self.next_key += 1;
        Ok(request.key)
    }

    /// Sends requests of one type in one frame; gives their keys.
    ///
    /// # Errors
    /// They may not be sent; nothing has changed, and no key is used.
    pub fn batch<M: Message>(
        &mut self,
        messages: &[M],
        stop_on_error: bool,
    ) -> Result<Range<u64>, SendError> {
        self.check_open()?;
        let keys = self.next_key..self.next_key + messages.len() as u64;
        let requests = keys.clone().zip(messages).map(|(key, message)| self.keyed(message, key));
        let batch = v1::Batch { requests: requests.collect::<Result<_, _>>()?, stop_on_error };
        self.check_size::<v1::Batch>(batch.encoded_len(), None)?;
        self.push(&batch, Lane::Ordered)?;
        self.next_key = keys.end;
        Ok(keys)
    }

    fn keyed<M: Message>(&self, message: &M, key: u64) -> Result<v1::Request, SendError> {
        self.check_size::<M>(message.encoded_len(), M::RULES.max_bytes)?;
        Ok(v1::Request { key, tag: u32::from(M::TAG.0), body: message.encode_to_vec().into() })
    }

    /// Ends the session: what waits is still to be written, and a last frame behind it.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.state == State::Open {
            let disconnect =
                v1::Disconnect { code: u32::from(code.0), reason: reason.to_string(), ..Default::default() };
            let mut frame = vec![];
            encode_message(&disconnect, &mut frame);
            self.outbox.push(&frame, Lane::Ordered);
            self.token = Bytes::new();
            self.state = State::Closed;
        } else if self.state != State::Closed {
            self.end();
        }
    }
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("username", &self.credentials.username)
            .field("state", &self.state)
            .field("connections", &self.connections)
            .field("frames_received", &self.received.frames())
            .finish_non_exhaustive()
    }
}
