//! The server's side of one session: what a frame of the client means, and whether it may be.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use crate::close::CloseCode;
use crate::frame::{self, Frame};
use crate::pb::tagwire::v1::{self, reason, status, verdict};
use crate::schema::{Access, Delivery, Message, Schema, Target};
use crate::session::limits::{Limit, Rates, SessionLimits, TooFast};
use crate::session::login::{Login, MAX_LOGIN_BYTES, MAX_OFFER_BYTES};
use crate::session::requests::{Begin, Requests};
use crate::session::{Dialect, Fault, Received};
use crate::tag::Tag;
use crate::time::Now;

/// Most requests of a Batch.
pub const MAX_BATCH: usize = 64;

/// At most one Notice in so long, microseconds.
const NOTICE_INTERVAL_US: u64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waiting for the login.
    Login,
    /// The login is with the authenticator, or the offered schema is being compared.
    Deciding,
    /// Waiting for the schema that was asked for.
    Offering,
    /// Inside.
    Open,
}

/// What a frame asks of the server.
#[derive(Debug, PartialEq)]
pub enum Incoming<'a> {
    /// Somebody wants in: answer with [`ServerSession::admit`] or end the connection. Read no frame before.
    Login(Login),
    /// The schema that was asked for, an encoded `google.protobuf.FileDescriptorSet`, not looked at yet. Answer with
    /// [`ServerSession::admit`] or end the connection; read no frame before.
    Offer(Bytes),
    /// To the members of the sender's room.
    Relay {
        /// Place of the message in the schema.
        message: usize,
        /// Its tag.
        tag: Tag,
        /// To the sender too.
        to_all: bool,
        /// Checked, to be forwarded as it is.
        payload: &'a [u8],
    },
    /// To code.
    Push {
        /// Place of the message in the schema.
        message: usize,
        /// Its tag.
        tag: Tag,
        /// Checked.
        payload: &'a [u8],
    },
    /// To be run and answered with a Response of that key, by [`Requests::finish`] and to the client.
    Request {
        /// What the answer is known by.
        key: u64,
        /// Tag of the message in the body: JoinRoom's, or of a request of the schema.
        tag: Tag,
        /// The encoded message. Checked, but for JoinRoom.
        body: Bytes,
    },
    /// A request that is not run: send this.
    Answered(v1::Response),
    /// A request that runs already: its answer will do.
    Repeated,
    /// Requests to be run one after the other. Each is a Request, Answered, Repeated or Dropped.
    Batch {
        /// In order.
        requests: Vec<Incoming<'static>>,
        /// After the first that is not OK the rest is not run.
        stop_on_error: bool,
    },
    /// An answer to a Ping, or an acknowledgement.
    Ping(v1::Ping),
    /// The client goes.
    Leave {
        /// Its code.
        code: CloseCode,
        /// Its reason.
        reason: String,
    },
    /// Nothing is to be done but to count it, and to send the notice where there is one.
    Dropped(Dropped),
}

/// A message that is not taken.
#[derive(Debug, PartialEq)]
pub struct Dropped {
    /// Its tag.
    pub tag: Tag,
    /// Why.
    pub reason: reason::Value,
    /// Why, for people.
    pub text: String,
    /// The limit it is over, with RATE_LIMITED.
    pub limit: Option<Limit>,
    /// What to send its sender; not every time, and never to a classic one.
    pub reply: Option<Reply>,
}

/// What the sender of a message that is not taken is sent.
#[derive(Debug, PartialEq)]
pub enum Reply {
    /// To a push.
    Notice(v1::Notice),
    /// To a request.
    Response(v1::Response),
}

/// The server's side of one session.
#[derive(Debug)]
pub struct ServerSession {
    schema: Arc<Schema>,
    limits: SessionLimits,
    rates: Rates,
    state: State,
    dialect: Dialect,
    access: Access,
    received: Received,
    requests: Arc<Requests>,
    /// When the last frame came, or the session began, microseconds on the monotonic clock.
    last_heard_us: u64,
    /// In a box, for most sessions give no reason for one.
    notices: Option<Box<Notices>>,
}

/// What the client was told of what it sent.
#[derive(Debug, Default)]
struct Notices {
    /// What will not change is said once for a tag: these.
    once: BTreeSet<Tag>,
    /// When the last one was sent, microseconds on the monotonic clock.
    last_us: u64,
}

/// What the server tells a player who is let in.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// Number of the session.
    pub session_id: u64,
    /// Number of the player.
    pub player_id: u32,
    /// The player's name here.
    pub name: String,
    /// The room it starts in.
    pub room: String,
    /// What it may do.
    pub access: Access,
    /// How its schema compares with the server's.
    pub verdict: verdict::Value,
    /// What opens the session again; empty: nothing does.
    pub resume_token: Bytes,
    /// So long it can be opened again after its connection was lost, milliseconds. 0: not at all.
    pub resume_window_ms: u32,
}

impl ServerSession {
    /// A session whose connection has just begun.
    pub fn new(schema: Arc<Schema>, limits: SessionLimits) -> Self {
        ServerSession {
            schema,
            limits,
            rates: Rates::default(),
            state: State::Login,
            dialect: Dialect::Classic,
            access: Access::Guest,
            received: Received::default(),
            requests: Arc::default(),
            last_heard_us: 0,
            notices: None,
        }
    }

    /// What the decoder may take now; changes when the session opens.
    pub fn decoder_limits(&self) -> frame::Limits {
        match self.state {
            State::Login | State::Deciding => frame::Limits {
                max_frame_bytes: MAX_LOGIN_BYTES.min(self.limits.max_frame_bytes),
                only: Some(v1::PlayerLogin::TAG),
            },
            State::Offering => {
                frame::Limits { max_frame_bytes: MAX_OFFER_BYTES, only: Some(v1::SchemaOffer::TAG) }
            }
            State::Open => frame::Limits { max_frame_bytes: self.limits.max_frame_bytes, only: None },
        }
    }

    /// What the session speaks; Classic until a login says otherwise.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The keys of the session, for those who run its requests.
    pub fn requests(&self) -> Arc<Requests> {
        Arc::clone(&self.requests)
    }

    /// Counted frames of the client so far.
    pub fn frames_received(&self) -> u64 {
        self.received.frames()
    }

    /// A Ping that only acknowledges, where one is due besides those of every second.
    pub fn acknowledgement(&mut self) -> Option<v1::Ping> {
        (self.dialect == Dialect::Native && self.received.is_due())
            .then(|| v1::Ping { frames_received: self.received.tell(), ..v1::Ping::default() })
    }

    /// Asks the client for its schema, once, after its credentials proved good. Send what is returned, and set the
    /// decoder's limits: the answer is the next frame, and the only one that is taken.
    pub fn ask_schema(&mut self) -> v1::SchemaWanted {
        self.state = State::Offering;
        v1::SchemaWanted {}
    }

    /// Lets the player in whose login was asked about. The Welcome is to be sent before anything else; classic
    /// clients get none.
    pub fn admit(&mut self, now: Now, admission: Admission) -> Option<v1::Welcome> {
        self.state = State::Open;
        self.access = admission.access;
        self.last_heard_us = now.monotonic_us;
        (self.dialect == Dialect::Native).then(|| self.welcome(now, admission, false))
    }

    /// Whether an open session may have another connection now. It counts as a room that is joined, for the members hear of
    /// it.
    ///
    /// # Errors
    /// It had too many of late: in so many microseconds it may.
    pub fn may_resume(&mut self, now: Now) -> Result<(), u64> {
        let limit = Limit::per_second(self.limits.max_joins_per_second, Limit::Joins);
        self.rates.take_message(now, v1::JoinRoom::TAG, limit).map_err(|too_fast| too_fast.wait_us)
    }

    /// Goes on with an open session on another connection. The Welcome is to be sent before anything else. `admission` is
    /// that of the beginning; only the room may be another one.
    pub fn resume(&mut self, now: Now, admission: Admission) -> v1::Welcome {
        let heard_us = mem::replace(&mut self.last_heard_us, now.monotonic_us);
        self.rates.make_up_for(now.monotonic_us.saturating_sub(heard_us));
        self.welcome(now, admission, true)
    }

    fn welcome(&mut self, now: Now, admission: Admission, resumed: bool) -> v1::Welcome {
        let fingerprint = self.schema.fingerprint();
        v1::Welcome {
            session_id: admission.session_id,
            player_id: admission.player_id,
            name: admission.name,
            protocol: crate::PROTOCOL_VERSION,
            resume_token: admission.resume_token,
            resumed,
            frames_received: self.received.tell(),
            fingerprint: Bytes::copy_from_slice(&fingerprint.0),
            verdict: admission.verdict.into(),
            ping_interval_ms: u32::try_from(super::ping::PING_INTERVAL_US / 1000).unwrap_or(u32::MAX),
            resume_window_ms: admission.resume_window_ms,
            limits: Some(v1::Limits {
                max_frame_bytes: u32::try_from(self.limits.max_frame_bytes).unwrap_or(u32::MAX),
                max_frames_per_second: self.limits.max_frames_per_second,
                max_bytes_per_second: self.limits.max_bytes_per_second,
            }),
            server_time_us: now.unix_us,
            room: admission.room,
            ..v1::Welcome::default()
        }
    }

    /// Takes the next frame of the client.
    ///
    /// # Errors
    /// The connection must end.
    pub fn handle_frame<'a>(&mut self, now: Now, frame: Frame<'a>) -> Result<Incoming<'a>, Fault> {
        match self.state {
            State::Login => {
                let login = Login::decode(frame.payload)?;
                self.dialect = login.dialect;
                self.state = State::Deciding;
                Ok(Incoming::Login(login))
            }
            State::Deciding => Err(Fault::TooEarly(frame.tag)),
            State::Offering => {
                let malformed = |error| Fault::Malformed { tag: frame.tag, error };
                let offer = v1::SchemaOffer::decode(Bytes::copy_from_slice(frame.payload));
                self.state = State::Deciding;
                Ok(Incoming::Offer(offer.map_err(malformed)?.descriptors))
            }
            State::Open => {
                self.received.count(frame.tag, frame.payload.len());
                self.last_heard_us = now.monotonic_us;
                let result = match self.rates.take_frame(now, &self.limits, frame.payload.len()) {
                    // Who leaves is let go, however much it sent before.
                    Err(too_fast) if frame.tag != v1::Disconnect::TAG => {
                        self.too_fast(now, frame, Delivery::Ordered, too_fast)
                    }
                    _ if frame.tag.is_reserved() => self.handle_stack(now, frame),
                    _ => self.handle_game(now, frame),
                };
                // From a classic client nothing is an offence: what cannot be taken is dropped.
                result.or_else(|fault| match self.dialect {
                    Dialect::Native => Err(fault),
                    Dialect::Classic => Ok(Incoming::Dropped(self.dropped(
                        now,
                        frame.tag,
                        reason::Value::Invalid,
                        fault.to_string(),
                    ))),
                })
            }
        }
    }

    fn handle_stack<'a>(&mut self, now: Now, frame: Frame<'a>) -> Result<Incoming<'a>, Fault> {
        let tag = frame.tag;
        let malformed = |error| Fault::Malformed { tag, error };
        if tag == v1::Ping::TAG {
            return Ok(Incoming::Ping(v1::Ping::decode(frame.payload).map_err(malformed)?));
        }
        if self.dialect == Dialect::Classic {
            return Ok(self.unknown(now, tag));
        }
        match tag {
            v1::PlayerLogin::TAG => Err(Fault::SecondLogin),
            v1::Disconnect::TAG => {
                let v1::Disconnect { code, reason, .. } =
                    v1::Disconnect::decode(frame.payload).map_err(malformed)?;
                let code = CloseCode(u16::try_from(code).unwrap_or(u16::MAX));
                Ok(Incoming::Leave { code, reason })
            }
            v1::Request::TAG => {
                let request = v1::Request::decode(frame.payload);
                self.handle_request(now, request.map_err(malformed)?, None)
            }
            v1::Batch::TAG => {
                let batch = v1::Batch::decode(frame.payload);
                self.handle_batch(now, batch.map_err(malformed)?)
            }
            v1::Welcome::TAG => Err(wrong_direction::<v1::Welcome>()),
            v1::Response::TAG => Err(wrong_direction::<v1::Response>()),
            v1::Notice::TAG => Err(wrong_direction::<v1::Notice>()),
            v1::Relayed::TAG => Err(wrong_direction::<v1::Relayed>()),
            v1::Member::TAG => Err(wrong_direction::<v1::Member>()),
            v1::RoomEnded::TAG => Err(wrong_direction::<v1::RoomEnded>()),
            v1::SchemaWanted::TAG => Err(wrong_direction::<v1::SchemaWanted>()),
            v1::JoinRoom::TAG => Ok(self.only_as_request(now, tag, v1::JoinRoom::FULL_NAME)),
            _ => Ok(self.unknown(now, tag)),
        }
    }

    fn handle_batch(&mut self, now: Now, batch: v1::Batch) -> Result<Incoming<'static>, Fault> {
        if batch.requests.len() > MAX_BATCH {
            return Err(Fault::Batch(batch.requests.len()));
        }
        let mut requests = Vec::with_capacity(batch.requests.len());
        for request in batch.requests {
            // Each costs what it would alone; their bytes came with the frame.
            let too_fast = self.rates.take_frame(now, &self.limits, 0).err();
            if let Some(too_fast) = too_fast {
                self.rates.strike(now, too_fast, Delivery::Ordered)?;
            }
            requests.push(self.handle_request(now, request, too_fast)?);
        }
        Ok(Incoming::Batch { requests, stop_on_error: batch.stop_on_error })
    }

    /// Judges a request. `too_fast`: the connection is over a limit already.
    fn handle_request(
        &mut self,
        now: Now,
        request: v1::Request,
        too_fast: Option<TooFast>,
    ) -> Result<Incoming<'static>, Fault> {
        let v1::Request { key, tag, body } = request;
        match self.requests.begin(key, tag) {
            Begin::Run => {}
            Begin::Running => return Ok(Incoming::Repeated),
            Begin::Answered(response) => return Ok(Incoming::Answered(response)),
        }
        let refused = |status: status::Value, message: String, retry_after_ms| {
            let status = status.into();
            let response =
                v1::Response { key, tag, status, message, retry_after_ms, ..v1::Response::default() };
            self.requests.finish(&response, |_| {});
            response
        };
        let Some(tag) = u16::try_from(tag).ok().filter(|tag| *tag != 0).map(Tag) else {
            let text = "tags are 1 to 65535".to_string();
            return Ok(Incoming::Answered(refused(status::Value::Unknown, text, 0)));
        };
        let found = self.schema.get(tag).map(|(_, info)| info);
        let limit = match tag {
            v1::JoinRoom::TAG => Limit::per_second(self.limits.max_joins_per_second, Limit::Joins),
            _ => found.and_then(|info| Limit::of(&info.rules)),
        };
        let over = match too_fast {
            Some(too_fast) => Some(too_fast),
            None => self.rates.take_message(now, tag, limit).err(),
        };
        if let Some(over) = over {
            if too_fast.is_none() {
                self.rates.strike(now, over, Delivery::Ordered)?;
            }
            let text = format!("too fast: {}", over.limit);
            let retry_after_ms = u32::try_from(over.wait_us.div_ceil(1000)).unwrap_or(u32::MAX);
            let response = refused(status::Value::Unavailable, text.clone(), retry_after_ms);
            return Ok(Incoming::Dropped(Dropped {
                tag,
                reason: reason::Value::RateLimited,
                text,
                limit: Some(over.limit),
                reply: Some(Reply::Response(response)),
            }));
        }
        let answer = |status, text| Ok(Incoming::Answered(refused(status, text, 0)));
        if tag == v1::JoinRoom::TAG {
            return Ok(Incoming::Request { key, tag, body });
        }
        let Some(info) = found else {
            return answer(
                status::Value::Unknown,
                format!("the server's schema has no message with tag {tag}"),
            );
        };
        let name = &info.full_name;
        if !info.request {
            return answer(
                status::Value::Unknown,
                format!("{name} is no request of a service: send it alone"),
            );
        }
        if info.rules.access > self.access {
            return answer(status::Value::Denied, format!("{name} is not for this session to ask"));
        }
        let invalid = match info.rules.max_bytes {
            Some(max) if body.len() > max as usize => {
                Some(format!("{name} of {} bytes, max_bytes {max}", body.len()))
            }
            _ => (info.check)(&body).err().map(|error| format!("{name}: {error}")),
        };
        match invalid {
            Some(text) => {
                let answer = answer(status::Value::Invalid, text);
                self.rates.strike_invalid(now)?;
                answer
            }
            None => Ok(Incoming::Request { key, tag, body }),
        }
    }

    fn handle_game<'a>(&mut self, now: Now, frame: Frame<'a>) -> Result<Incoming<'a>, Fault> {
        let Frame { tag, payload } = frame;
        let Some((message, info)) = self.schema.get(tag) else { return Ok(self.unknown(now, tag)) };
        let name = || info.full_name.clone();
        if !info.rules.from_client() {
            return Err(Fault::Direction { tag, name: name() });
        }
        if info.rules.access > self.access {
            return Err(Fault::Access { tag, name: name() });
        }
        if info.request {
            let name = name();
            return Ok(self.only_as_request(now, tag, &name));
        }
        if let Err(too_fast) = self.rates.take_message(now, tag, Limit::of(&info.rules)) {
            return self.too_fast(now, frame, info.rules.delivery, too_fast);
        }
        if let Some(limit) = info.rules.max_bytes
            && payload.len() > limit as usize
        {
            let text = format!("{} of {} bytes, max_bytes {limit}", info.full_name, payload.len());
            return self.invalid(now, tag, reason::Value::TooLarge, text);
        }
        if let Err(error) = (info.check)(payload) {
            let text = format!("{}: {error}", info.full_name);
            return self.invalid(now, tag, reason::Value::Invalid, text);
        }
        Ok(match info.rules.to {
            Target::Handler => Incoming::Push { message, tag, payload },
            Target::Room => Incoming::Relay { message, tag, to_all: false, payload },
            Target::RoomAll => Incoming::Relay { message, tag, to_all: true, payload },
        })
    }

    fn too_fast<'a>(
        &mut self,
        now: Now,
        frame: Frame<'_>,
        delivery: Delivery,
        too_fast: TooFast,
    ) -> Result<Incoming<'a>, Fault> {
        if self.dialect == Dialect::Native {
            self.rates.strike(now, too_fast, delivery)?;
            // A request is answered whatever becomes of it.
            if frame.tag == v1::Request::TAG
                && let Ok(request) = v1::Request::decode(frame.payload)
            {
                return self.handle_request(now, request, Some(too_fast));
            }
        }
        Ok(Incoming::Dropped(self.over(now, frame.tag, delivery, too_fast.limit)))
    }

    /// For a message that its room is too busy to deliver now.
    pub fn undelivered(&mut self, now: Now, tag: Tag, max_deliveries_per_second: u32) -> Dropped {
        let delivery = self.schema.get(tag).map_or(Delivery::Ordered, |(_, info)| info.rules.delivery);
        self.over(now, tag, delivery, Limit::Room(max_deliveries_per_second))
    }

    /// What may be lost is told of once for a tag, so that the author of the game learns of it.
    fn over(&mut self, now: Now, tag: Tag, delivery: Delivery, limit: Limit) -> Dropped {
        let name = self.schema.get(tag).map_or(Cow::Borrowed("frame"), |(_, info)| info.full_name.clone());
        let text = format!("{name} dropped: {limit}");
        let once = delivery != Delivery::Ordered;
        let reply = self.notice(now, tag, reason::Value::RateLimited, &text, once);
        Dropped { tag, reason: reason::Value::RateLimited, text, limit: Some(limit), reply }
    }

    fn invalid<'a>(
        &mut self,
        now: Now,
        tag: Tag,
        reason: reason::Value,
        text: String,
    ) -> Result<Incoming<'a>, Fault> {
        if self.dialect == Dialect::Native {
            self.rates.strike_invalid(now)?;
        }
        Ok(Incoming::Dropped(self.dropped(now, tag, reason, text)))
    }

    fn unknown<'a>(&mut self, now: Now, tag: Tag) -> Incoming<'a> {
        let text = format!("the server's schema has no message with tag {tag}");
        Incoming::Dropped(self.dropped(now, tag, reason::Value::Unknown, text))
    }

    fn only_as_request<'a>(&mut self, now: Now, tag: Tag, name: &str) -> Incoming<'a> {
        let text = format!("{name} asks for an answer: send it in a Request");
        Incoming::Dropped(self.dropped(now, tag, reason::Value::Unhandled, text))
    }

    /// For a message `to: HANDLER` that no code takes.
    pub fn unhandled(&mut self, now: Now, tag: Tag, name: &str) -> Dropped {
        self.dropped(now, tag, reason::Value::Unhandled, format!("the server has no code that takes {name}"))
    }

    /// For a message to a room from a session that is in none.
    pub fn roomless(&mut self, now: Now, tag: Tag, name: &str) -> Dropped {
        let text = format!("{name} goes to a room, and you are in none");
        self.dropped(now, tag, reason::Value::Roomless, text)
    }

    fn dropped(&mut self, now: Now, tag: Tag, reason: reason::Value, text: String) -> Dropped {
        // What will not change is said once for a tag.
        let once = matches!(reason, reason::Value::Unknown | reason::Value::Unhandled);
        let reply = self.notice(now, tag, reason, &text, once);
        Dropped { tag, reason, text, limit: None, reply }
    }

    /// What tells the client that something was dropped; at most one a second, and where `once` at most one for a tag.
    fn notice(&mut self, now: Now, tag: Tag, reason: reason::Value, text: &str, once: bool) -> Option<Reply> {
        let told = self.notices.as_ref().is_some_and(|notices| {
            now.monotonic_us.saturating_sub(notices.last_us) < NOTICE_INTERVAL_US
                || once && notices.once.contains(&tag)
        });
        (self.dialect == Dialect::Native && !told).then(|| {
            let notices = self.notices.get_or_insert_default();
            notices.last_us = now.monotonic_us;
            if once {
                notices.once.insert(tag);
            }
            Reply::Notice(v1::Notice { reason: reason.into(), tag: u32::from(tag.0), text: text.to_string() })
        })
    }
}

fn wrong_direction<M: Message>() -> Fault {
    Fault::Direction { tag: M::TAG, name: Cow::Borrowed(M::FULL_NAME) }
}
