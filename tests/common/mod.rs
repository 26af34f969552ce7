//! Two peers on a virtual clock, joined by bytes in memory.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use tagwire::frame::{Decoder, encode_message};
use tagwire::pb::tagwire::v1;
use tagwire::session::client::{ClientSession, Credentials, Event};
use tagwire::session::limits::SessionLimits;
use tagwire::session::login::Login;
use tagwire::session::outbox::OutboxLimits;
use tagwire::session::server::{Admission, Incoming, ServerSession};
use tagwire::session::{Dialect, Fault};
use tagwire::time::Now;
use tagwire::{Access, Delivery, Fingerprint, Message, MessageInfo, Rules, Schema, Sender, Tag, Target};

pub const START: Now = Now { monotonic_us: 1_000, unix_us: 1_676_110_573_000_000 };

/// Rules that leave everything at its default.
pub const PLAIN: Rules = Rules {
    from: Sender::Client,
    to: Target::Handler,
    access: Access::Player,
    delivery: Delivery::Ordered,
    max_bytes: None,
    max_rate: None,
};

macro_rules! message {
    ($name:ident, $tag:literal, $rules:expr) => {
        #[derive(Clone, PartialEq, tagwire::prost::Message)]
        #[prost(prost_path = "::tagwire::prost")]
        pub struct $name {
            #[prost(string, tag = "1")]
            pub text: String,
        }
        impl Message for $name {
            const TAG: Tag = Tag($tag);
            const FULL_NAME: &'static str = concat!("test.v1.", stringify!($name));
            const RULES: Rules = $rules;
        }
        impl $name {
            pub fn new(text: &str) -> Self {
                $name { text: text.to_string() }
            }
        }
    };
}

message!(ToRoom, 2, Rules { to: Target::Room, ..PLAIN });
message!(ToAll, 4, Rules { to: Target::RoomAll, max_bytes: Some(10), ..PLAIN });
message!(ToCode, 5, PLAIN);
message!(FromServer, 6, Rules { from: Sender::Server, ..PLAIN });
message!(ForOperators, 7, Rules { access: Access::Operator, ..PLAIN });
message!(ForGuests, 8, Rules { access: Access::Guest, ..PLAIN });
message!(Asks, 300, PLAIN);
message!(Slow, 9, Rules { to: Target::Room, max_rate: Some(2), ..PLAIN });
message!(SlowLatest, 10, Rules { to: Target::Room, delivery: Delivery::Latest, max_rate: Some(2), ..PLAIN });
message!(GuestAsks, 302, Rules { access: Access::Guest, max_bytes: Some(10), ..PLAIN });
message!(AsksSlowly, 301, Rules { max_rate: Some(2), ..PLAIN });

pub fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(
        Fingerprint([7; 16]),
        tagwire::bytes::Bytes::new(),
        vec![
            MessageInfo::push::<ToRoom>(),
            MessageInfo::push::<ToAll>(),
            MessageInfo::push::<ToCode>(),
            MessageInfo::push::<FromServer>(),
            MessageInfo::push::<ForOperators>(),
            MessageInfo::push::<ForGuests>(),
            MessageInfo::request::<Asks>(),
            MessageInfo::push::<Slow>(),
            MessageInfo::push::<SlowLatest>(),
            MessageInfo::request::<AsksSlowly>(),
            MessageInfo::request::<GuestAsks>(),
        ],
    ))
}

pub const MAX_FRAME_BYTES: usize = 64 * 1024;
pub const NO_RATES: SessionLimits = SessionLimits {
    max_frame_bytes: MAX_FRAME_BYTES,
    max_frames_per_second: 0,
    max_bytes_per_second: 0,
    max_joins_per_second: 0,
};

/// A server's side of a session, with its decoder.
pub struct ServerSide {
    pub session: ServerSession,
    pub decoder: Decoder,
    pub now: Now,
}

impl ServerSide {
    pub fn new() -> Self {
        Self::with(NO_RATES)
    }

    pub fn with(limits: SessionLimits) -> Self {
        let session = ServerSession::new(schema(), limits);
        let decoder = Decoder::new(session.decoder_limits());
        ServerSide { session, decoder, now: START }
    }

    /// A side whose player has been let in.
    pub fn open(dialect: Dialect, access: Access) -> Self {
        Self::open_with(NO_RATES, dialect, access)
    }

    pub fn open_with(limits: SessionLimits, dialect: Dialect, access: Access) -> Self {
        let mut side = Self::with(limits);
        let client =
            (dialect == Dialect::Native).then(|| v1::ClientInfo { protocol: 1, ..Default::default() });
        let login = v1::PlayerLogin { username: "player1".to_string(), client, ..Default::default() };
        let Ok(Some(Incoming::Login(login))) = side.take(&login) else { panic!("a login is a login") };
        side.admit(&login, access);
        side
    }

    pub fn admit(&mut self, login: &Login, access: Access) -> Option<v1::Welcome> {
        let welcome = self.session.admit(self.now, admission(&login.username, access));
        self.decoder.set_limits(self.session.decoder_limits());
        welcome
    }

    /// What the first frame of these bytes means.
    pub fn take_bytes(&mut self, bytes: &[u8]) -> Result<Option<Incoming<'static>>, Fault> {
        // The test forgets them; so what is made of them may live as long as it likes.
        let mut input: &'static [u8] = bytes.to_vec().leak();
        let frame = self.decoder.next(&mut input)?;
        let frame = frame.map(|f| tagwire::Frame { tag: f.tag, payload: f.payload.to_vec().leak() });
        frame.map(|frame| self.session.handle_frame(self.now, frame)).transpose()
    }

    pub fn take<M: Message>(&mut self, message: &M) -> Result<Option<Incoming<'static>>, Fault> {
        self.take_bytes(&frame(message))
    }
}

pub fn admission(name: &str, access: Access) -> Admission {
    Admission {
        session_id: 1,
        player_id: 2,
        name: name.to_string(),
        room: "main".to_string(),
        access,
        verdict: v1::verdict::Value::Same,
        resume_token: tagwire::bytes::Bytes::new(),
        resume_window_ms: 0,
    }
}

pub fn frame<M: Message>(message: &M) -> Vec<u8> {
    let mut out = vec![];
    encode_message(message, &mut out);
    out
}

/// A client's side of a session, with its decoder.
pub struct ClientSide {
    pub session: ClientSession,
    pub decoder: Decoder,
    pub now: Now,
}

impl ClientSide {
    pub fn new(username: &str, password: &str) -> Self {
        let credentials = Credentials {
            username: username.to_string(),
            password: password.to_string(),
            ..Credentials::default()
        };
        let mut session = ClientSession::new(schema(), credentials, OutboxLimits::default());
        session.connect(START);
        ClientSide { session, decoder: Decoder::default(), now: START }
    }

    /// A side that has been let in.
    pub fn open() -> Self {
        let mut side = Self::new("player1", "welcome");
        side.sent();
        let welcome = v1::Welcome {
            limits: Some(v1::Limits { max_frame_bytes: MAX_FRAME_BYTES as u32, ..Default::default() }),
            ..Default::default()
        };
        side.take(&welcome).unwrap();
        side
    }

    pub fn take<M: Message>(&mut self, message: &M) -> Result<Event, Fault> {
        self.take_bytes(&frame(message))
    }

    pub fn take_bytes(&mut self, bytes: &[u8]) -> Result<Event, Fault> {
        let mut input = bytes;
        self.decoder.set_limits(self.session.decoder_limits());
        let frame = self.decoder.next(&mut input)?.expect("one whole frame");
        self.session.handle_frame(self.now, frame)
    }

    /// The bytes it wants to send.
    pub fn out(&mut self) -> Vec<u8> {
        let mut out = vec![];
        while !self.session.unwritten().is_empty() {
            let count = self.session.unwritten().len();
            out.extend_from_slice(self.session.unwritten());
            self.session.wrote(count);
        }
        out
    }

    /// The frames it wants to send, as tags and payloads.
    pub fn sent(&mut self) -> Vec<(Tag, Vec<u8>)> {
        let out = self.out();
        let (mut input, mut decoder) = (out.as_slice(), Decoder::default());
        let mut frames = vec![];
        while let Some(frame) = decoder.next(&mut input).expect("own frames") {
            frames.push((frame.tag, frame.payload.to_vec()));
        }
        frames
    }
}
