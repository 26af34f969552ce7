//! Frames of an open session, close to real ones: both sides keep their promises, and the outbox keeps frames whole.
//!
//! Input: dialect, access, number of sizes, sizes of the pieces, then what happens: a kind, and what it needs.

use std::collections::{BTreeMap, VecDeque};

use tagwire::bytes::Bytes;
use tagwire::frame::{Decoder, encode};
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire::prost::encoding;
use tagwire::session::client::{ClientSession, Credentials, Event};
use tagwire::session::fan_out::FanOut;
use tagwire::session::limits::{Limit, SessionLimits};
use tagwire::session::outbox::{Lane, Outbox, OutboxLimits, Pushed};
use tagwire::session::ping::Pinger;
use tagwire::session::requests::Begin;
use tagwire::session::server::{Incoming, MAX_BATCH, Reply, ServerSession};
use tagwire::session::{Dialect, is_counted};
use tagwire::time::Now;
use tagwire::{Access, Frame, Message, Schema, Tag};

use super::common::{Asks, MAX_FRAME_BYTES, PLAIN, START, ToRoom, admission, schema};
use super::input::{Input, cut};

/// The schema's, the stack's, their neighbours.
const TAGS: [u16; 32] = [
    1, 2, 3, 4, 5, 6, 7, 8, 300, 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 252, 253, 254, 255, 256,
    9, 100, 299, 301, 65279, 65280, 65534, 65535,
];

/// Low enough to be reached.
const LIMITS: SessionLimits = SessionLimits {
    max_frame_bytes: MAX_FRAME_BYTES,
    max_frames_per_second: 150,
    max_bytes_per_second: 1 << 20,
    max_joins_per_second: 5,
};

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let dialect = input.pick(&[Dialect::Native, Dialect::Classic]);
    let access = input.pick(&[Access::Player, Access::Guest, Access::Operator]);
    let sizes = input.bytes();
    let mut server = Server::open(dialect, access);
    let mut client = Client::open();
    let mut outbox = Checked::new();
    let mut now = START;
    for _ in 0..512 {
        if input.is_empty() {
            break;
        }
        let kind = input.byte();
        match kind % 8 {
            0 => now = now.after_us(u64::from(input.byte()) * 10_000),
            1 => {
                let ping = server.pinger.next_ping(now, dialect, server.session.frames_received());
                let mut frame = vec![];
                assert!(dialect.encode_stack(&ping, &mut frame), "every dialect has Ping");
                client.take(now, &frame);
                outbox.push_urgent(&frame);
            }
            2 => match kind >> 4 & 7 {
                1 => outbox.acknowledge(input.number(1)),
                2 => outbox.forget_sender(u32::from(input.byte() & 3)),
                3 => outbox.handle_timer(now),
                _ => outbox.wrote(input.number(2) as usize),
            },
            3 => client.says(&mut input),
            _ => {
                let frame = frame(&mut input);
                if kind & 8 != 0 {
                    match kind >> 4 & 3 {
                        0 => outbox.finish(&frame),
                        1 => outbox.push_urgent(&frame),
                        2 => outbox.push(&frame, Lane::Ordered),
                        _ => outbox.push(&frame, lane(&frame, kind >> 6)),
                    }
                }
                if let Some(relayed) = server.take(now, &frame, sizes) {
                    outbox.push(&relayed, Lane::Ordered);
                    let event = client.take(now, &relayed);
                    assert!(
                        client.ended
                            || !client.session.is_open()
                            || matches!(event, Some(Event::Message { .. })),
                        "what the server relays is a message to the client: {event:?}"
                    );
                }
                client.take(now, &frame);
            }
        }
        for answer in std::mem::take(&mut client.sent) {
            outbox.push(&answer, Lane::Ordered);
        }
    }
    outbox.ends_whole();
}

fn lane(frame: &[u8], kind: u8) -> Lane {
    match kind {
        0 => Lane::Unreliable,
        sender => Lane::Latest { sender: u32::from(sender), tag: whole(frame)[0].0 },
    }
}

fn frame(input: &mut Input<'_>) -> Vec<u8> {
    let tag = match input.byte() {
        255 => (input.number(2) as u16).max(1),
        place => TAGS[usize::from(place) % TAGS.len()],
    };
    let mut out = vec![];
    encode(Tag(tag), &payload(input), &mut out);
    out
}

fn payload(input: &mut Input<'_>) -> Vec<u8> {
    let mut payload = vec![];
    match input.byte() % 8 {
        0 => payload.extend_from_slice(input.bytes()),
        1 => {
            let text = input.bytes();
            payload.extend_from_slice(&[10, text.len() as u8 & 127]);
            payload.extend_from_slice(text);
        }
        2 => {
            let field = u32::from(input.byte() % 20) + 1;
            encoding::uint64::encode(field, &input.number(8), &mut payload);
        }
        3 => {
            let (key, tag) = (input.number(1), input.number(3) as u32);
            let body = Bytes::copy_from_slice(input.bytes());
            v1::Request { key, tag, body }.encode_raw(&mut payload);
        }
        4 => {
            let (player, tag) = (input.number(1) as u32, input.number(3) as u32);
            let body = Bytes::copy_from_slice(input.bytes());
            v1::Relayed { player, tag, body }.encode_raw(&mut payload);
        }
        5 => {
            let sent_epoch = START.unix_us + input.number(3) * 10_000;
            let ping = v1::Ping { sent_epoch, frames_received: input.number(8), ..v1::Ping::default() };
            ping.encode_raw(&mut payload);
        }
        6 => {
            let (code, reason) = (input.number(3) as u32, String::from_utf8_lossy(input.bytes()).into());
            v1::Disconnect { code, reason, ..v1::Disconnect::default() }.encode_raw(&mut payload);
        }
        _ => {
            // A large one: sizes around which things change, and one of text that is valid.
            let length = input.pick(&[10, 11, 253, 255, 256, 1000, MAX_FRAME_BYTES - 4, MAX_FRAME_BYTES]);
            if input.byte() & 1 == 0 {
                payload.resize(length, b'x');
            } else {
                encoding::string::encode(1, &"x".repeat(length.saturating_sub(4)), &mut payload);
            }
        }
    }
    payload
}

struct Server {
    session: ServerSession,
    decoder: Decoder,
    pinger: Pinger,
    access: Access,
    counted: u64,
    highest_key: u64,
    last_notice: Option<Now>,
    /// When frames were not refused by a rate of the connection.
    taken_us: Vec<u64>,
    ended: bool,
}

impl Server {
    fn open(dialect: Dialect, access: Access) -> Self {
        let mut session = ServerSession::new(schema(), LIMITS);
        let client =
            (dialect == Dialect::Native).then(|| v1::ClientInfo { protocol: 1, ..Default::default() });
        let login = v1::PlayerLogin { client, ..Default::default() }.encode_to_vec();
        let taken = session.handle_frame(START, Frame { tag: Tag(1), payload: &login });
        assert!(matches!(taken, Ok(Incoming::Login(_))), "a login is a login");
        session.admit(START, admission("player1", access));
        Server {
            decoder: Decoder::new(session.decoder_limits()),
            session,
            pinger: Pinger::default(),
            access,
            counted: 0,
            highest_key: 0,
            last_notice: None,
            taken_us: vec![],
            ended: false,
        }
    }

    /// What one request came to, alone or in a batch.
    fn asked(&mut self, incoming: Incoming<'static>) {
        match incoming {
            Incoming::Request { key, tag, body } => {
                assert!(key > self.highest_key && tag.0 != 0, "keys rise");
                self.highest_key = key;
                let schema = schema();
                let info = schema.get(tag).map(|(_, info)| info);
                assert!(
                    tag == v1::JoinRoom::TAG
                        || info.is_some_and(|i| i.request && i.rules.access <= self.access)
                );
                assert!(info.is_none_or(|i| (i.check)(&body).is_ok()), "it was checked");
                // Some are answered at once, others never.
                if key % 3 == 0 {
                    let answer = v1::Response { key, ..v1::Response::default() };
                    self.session.requests().finish(&answer, |_| {});
                    assert_eq!(self.session.requests().begin(key, 1), Begin::Answered(answer));
                }
            }
            Incoming::Answered(response) => self.highest_key = self.highest_key.max(response.key),
            Incoming::Repeated => {}
            Incoming::Dropped(dropped) => match dropped.reply {
                Some(Reply::Response(response)) => self.refused(&response),
                other => panic!("a request is answered: {other:?}"),
            },
            other => panic!("no request: {other:?}"),
        }
    }

    /// A request over a limit is answered with when to ask again.
    fn refused(&mut self, response: &v1::Response) {
        assert!(response.key > self.highest_key && response.retry_after_ms > 0);
        self.highest_key = response.key;
    }

    /// Takes one frame; what it relays, as a native client gets it.
    fn take(&mut self, now: Now, frame: &[u8], sizes: &[u8]) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let dialect = self.session.dialect();
        let (mut relayed, mut asked, mut refused) = (None, vec![], None);
        let mut taken = 0;
        for mut piece in cut(frame, sizes) {
            let Some(frame) = self.decoder.next(&mut piece).expect("a frame within the limits") else {
                continue;
            };
            taken += 1;
            let Frame { tag, payload } = frame;
            let judged = self.session.handle_frame(now, frame);
            self.counted += u64::from(is_counted(tag));
            assert_eq!(self.session.frames_received(), self.counted, "counts rise, one by one");
            let incoming = match judged {
                Ok(incoming) => incoming,
                Err(fault) => {
                    assert_eq!(dialect, Dialect::Native, "a classic client did what ends it: {fault}");
                    assert!(!fault.to_string().is_empty());
                    self.ended = true;
                    return None;
                }
            };
            let schema = schema();
            let mut connection_is_over = false;
            match incoming {
                Incoming::Login(_) | Incoming::Offer(_) => panic!("it is inside already"),
                Incoming::Relay { message, tag: of, to_all, payload: checked } => {
                    assert_eq!((of, checked), (tag, payload));
                    is_allowed(&schema, message, frame, self.access);
                    assert_eq!(to_all, tag == Tag(4));
                    relayed = Some(fanned_out(frame));
                }
                Incoming::Push { message, tag: of, payload: checked } => {
                    assert_eq!((of, checked), (tag, payload));
                    is_allowed(&schema, message, frame, self.access);
                }
                Incoming::Request { key, tag: of, body } => {
                    assert_eq!((tag, dialect), (v1::Request::TAG, Dialect::Native));
                    asked.push(Incoming::Request { key, tag: of, body });
                }
                Incoming::Answered(response) => {
                    assert_eq!((tag, dialect), (v1::Request::TAG, Dialect::Native));
                    asked.push(Incoming::Answered(response));
                }
                Incoming::Repeated => assert_eq!((tag, dialect), (v1::Request::TAG, Dialect::Native)),
                Incoming::Batch { requests, .. } => {
                    assert_eq!((tag, dialect), (v1::Batch::TAG, Dialect::Native));
                    assert!(requests.len() <= MAX_BATCH);
                    asked.extend(requests);
                }
                Incoming::Ping(ping) => {
                    assert_eq!(tag, v1::Ping::TAG);
                    let rtt = self.pinger.handle_pong(now, &ping);
                    assert!(rtt.is_none_or(|rtt| rtt > 0 && self.pinger.rtt_us() == Some(rtt)));
                }
                Incoming::Leave { .. } => {
                    assert_eq!((tag, dialect), (v1::Disconnect::TAG, Dialect::Native));
                    self.ended = true;
                }
                Incoming::Dropped(dropped) => {
                    assert!(!dropped.text.is_empty());
                    connection_is_over = matches!(dropped.limit, Some(Limit::Frames(_) | Limit::Bytes(_)));
                    if let Some(reply) = &dropped.reply {
                        assert_eq!(dialect, Dialect::Native, "a classic client is never answered: {reply:?}");
                    }
                    match dropped.reply {
                        Some(Reply::Notice(notice)) => {
                            assert_eq!((dropped.tag, notice.tag), (tag, u32::from(tag.0)));
                            let since = self.last_notice.map(|last| now.monotonic_us - last.monotonic_us);
                            assert!(since.is_none_or(|us| us >= 1_000_000), "one Notice a second");
                            self.last_notice = Some(now);
                        }
                        Some(Reply::Response(response)) => {
                            assert_eq!(tag, v1::Request::TAG);
                            refused = Some(response);
                        }
                        None => {}
                    }
                }
            }
            if !connection_is_over {
                self.taken_us.push(now.monotonic_us);
                let a_second_ago = (now.monotonic_us + 1).saturating_sub(1_000_000);
                let recent = self.taken_us.iter().rev().take_while(|at| **at >= a_second_ago).count();
                assert!(recent <= 2 * LIMITS.max_frames_per_second as usize, "{recent} in a second");
            }
        }
        asked.into_iter().for_each(|request| self.asked(request));
        refused.iter().for_each(|response| self.refused(response));
        assert_eq!(taken, 1, "one whole frame went in");
        assert!(self.decoder.is_empty());
        if let Some(ping) = self.session.acknowledgement() {
            assert_eq!((dialect, ping.frames_received), (Dialect::Native, self.counted));
            assert_eq!(self.session.acknowledgement(), None, "told once");
        }
        relayed
    }
}

fn is_allowed(schema: &Schema, message: usize, frame: Frame<'_>, access: Access) {
    let info = &schema.messages()[message];
    assert_eq!(info.tag, frame.tag);
    assert!(info.rules.from_client() && info.rules.access <= access && !info.request);
    assert!(info.rules.max_bytes.is_none_or(|limit| frame.payload.len() <= limit as usize));
    assert!((info.check)(frame.payload).is_ok(), "it was checked");
}

/// What others get; checked to say the same in both dialects.
fn fanned_out(frame: Frame<'_>) -> Vec<u8> {
    let mut fan = FanOut::new();
    fan.push(Some(7), 0, frame.tag, frame.payload, Lane::Ordered);
    let classic = fan.frames(Dialect::Classic).bytes();
    if !classic.is_empty() {
        let [(tag, payload)] = whole(classic).try_into().expect("one frame");
        assert_eq!((tag, payload.as_slice()), (frame.tag, frame.payload));
        assert!(payload.len() < 256 && tag.0 < 240, "classic clients know the short form alone");
    }
    let native = fan.frames(Dialect::Native).bytes().to_vec();
    let [(tag, payload)] = whole(&native).try_into().expect("one frame");
    let relayed = v1::Relayed::decode(payload.as_slice()).expect("own frames");
    assert_eq!((tag, relayed.player, relayed.tag), (v1::Relayed::TAG, 7, u32::from(frame.tag.0)));
    assert_eq!(relayed.body, frame.payload);
    native
}

/// The frames of a stream that ends with one.
fn whole(mut bytes: &[u8]) -> Vec<(Tag, Vec<u8>)> {
    let limits = tagwire::frame::Limits { max_frame_bytes: 2 * MAX_FRAME_BYTES, only: None };
    let mut decoder = Decoder::new(limits);
    let mut frames = vec![];
    while let Some(frame) = decoder.next(&mut bytes).expect("own frames") {
        frames.push((frame.tag, frame.payload.to_vec()));
    }
    assert!(decoder.is_empty(), "a frame was cut");
    frames
}

struct Client {
    session: ClientSession,
    decoder: Decoder,
    /// Frames that it wants to send, one by one.
    sent: Vec<Vec<u8>>,
    counted: u64,
    told: u64,
    last_key: u64,
    ended: bool,
}

impl Client {
    fn open() -> Self {
        let mut session = ClientSession::new(schema(), Credentials::default(), OutboxLimits::default());
        session.connect(START);
        written(&mut session);
        let welcome = v1::Welcome::default().encode_to_vec();
        let welcomed = session.handle_frame(START, Frame { tag: v1::Welcome::TAG, payload: &welcome });
        assert!(matches!(welcomed, Ok(Event::Welcome(_))) && session.is_open());
        let decoder = Decoder::new(session.decoder_limits());
        Client { session, decoder, sent: vec![], counted: 0, told: 0, last_key: 0, ended: false }
    }

    fn take(&mut self, now: Now, mut bytes: &[u8]) -> Option<Event> {
        if self.ended {
            return None;
        }
        let frame = self.decoder.next(&mut bytes).expect("within the limits").expect("one whole frame");
        let tag = frame.tag;
        let was_open = self.session.is_open();
        let event = self.session.handle_frame(now, frame);
        let out = written(&mut self.session);
        self.counted += u64::from(is_counted(tag));
        assert_eq!(self.session.deadline_us(), now.monotonic_us + 10_000_000);
        for (tag, payload) in whole(&out) {
            assert_eq!(tag, v1::Ping::TAG, "it answers Pings, and acknowledges");
            let ping = v1::Ping::decode(payload.as_slice()).expect("own frames");
            assert!(ping.frames_received >= self.told, "counts only rise");
            assert_eq!(ping.frames_received, self.counted);
            self.told = ping.frames_received;
            self.keep(&ping);
        }
        match event {
            Ok(Event::Disconnect { .. }) => assert!(tag == v1::Disconnect::TAG && !self.session.is_open()),
            Ok(ref event) => {
                assert_eq!(self.session.is_open(), was_open, "{event:?}");
                assert!(was_open || (*event == Event::Dropped(tag) && out.is_empty()), "{event:?}");
            }
            Err(tagwire::session::Fault::Acknowledged(_)) => {
                assert_eq!(tag, v1::Ping::TAG);
                self.ended = true;
            }
            Err(ref fault) => {
                assert_eq!(tag, v1::Disconnect::TAG, "what cannot be read never ends a client: {fault}");
                self.ended = true;
            }
        }
        event.ok()
    }

    fn keep<M: Message>(&mut self, message: &M) {
        self.sent.push(super::common::frame(message));
    }

    /// What the game sends.
    fn says(&mut self, input: &mut Input<'_>) {
        let message = ToRoom { text: String::from_utf8_lossy(input.bytes()).into() };
        assert_eq!(self.session.send(&message).is_ok(), self.session.is_open());
        let asked = self.session.request(&Asks { text: message.text });
        let out = written(&mut self.session);
        match asked {
            Ok(key) => {
                assert!(key > self.last_key, "keys rise");
                self.last_key = key;
                assert_eq!(whole(&out).len(), 2);
            }
            Err(_) => assert!(!self.session.is_open() && out.is_empty(), "{:?}", PLAIN),
        }
    }
}

/// What a client wants to send: all of it is taken.
fn written(session: &mut ClientSession) -> Vec<u8> {
    let mut out = vec![];
    while !session.unwritten().is_empty() {
        let count = session.unwritten().len();
        out.extend_from_slice(session.unwritten());
        session.wrote(count);
    }
    out
}

/// An outbox, and a plain queue that it must agree with.
struct Checked {
    outbox: Outbox,
    limits: OutboxLimits,
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of the first one that are written.
    begun: usize,
    blocked: bool,
    aside: BTreeMap<(u32, Tag), Vec<u8>>,
    wire: Vec<u8>,
}

impl Checked {
    fn new() -> Self {
        let limits =
            OutboxLimits { max_frames: 6, max_bytes: 2000, max_kept_bytes: 300, max_stuck_us: 5_000_000 };
        Checked {
            outbox: Outbox::new(limits),
            limits,
            waiting: VecDeque::new(),
            begun: 0,
            blocked: false,
            aside: BTreeMap::new(),
            wire: vec![],
        }
    }

    fn push(&mut self, frame: &[u8], lane: Lane) {
        // As the server: who is over is sent nothing more.
        if self.outbox.is_over() {
            return;
        }
        let expected = match lane {
            Lane::Latest { sender, tag } if self.blocked => {
                match self.aside.insert((sender, tag), frame.to_vec()) {
                    Some(_) => Pushed::Replaced,
                    None => Pushed::Aside,
                }
            }
            Lane::Unreliable if self.blocked => Pushed::Dropped,
            _ => {
                self.waiting.push_back(frame.to_vec());
                Pushed::Appended
            }
        };
        assert_eq!(self.outbox.push(frame, lane), expected);
        self.agree();
    }

    /// Only what is not counted may be urgent.
    fn push_urgent(&mut self, frame: &[u8]) {
        if self.outbox.is_over() || counted(frame) > 0 {
            return;
        }
        self.outbox.push_urgent(frame);
        self.waiting.insert(usize::from(self.begun > 0), frame.to_vec());
        self.agree();
    }

    fn finish(&mut self, frame: &[u8]) {
        self.outbox.finish(frame);
        self.waiting.truncate(usize::from(self.begun > 0));
        self.waiting.push_back(frame.to_vec());
        self.aside.clear();
        self.agree();
    }

    fn wrote(&mut self, count: usize) {
        let count = count.min(self.outbox.unwritten().len());
        self.wire.extend_from_slice(&self.outbox.unwritten()[..count]);
        self.outbox.wrote(count);
        self.begun += count;
        while let Some(first) = self.waiting.front().filter(|first| first.len() <= self.begun) {
            self.begun -= first.len();
            self.waiting.pop_front();
        }
        self.blocked = !self.waiting.is_empty();
        if !self.blocked {
            self.waiting.extend(std::mem::take(&mut self.aside).into_values());
        }
        self.agree();
    }

    fn acknowledge(&mut self, frames_received: u64) {
        let taken = self.outbox.acknowledge(frames_received);
        assert_eq!(taken.is_ok(), frames_received <= counted(&self.wire), "{frames_received} acknowledged");
        self.agree();
    }

    fn forget_sender(&mut self, sender: u32) {
        self.outbox.forget_sender(sender);
        self.aside.retain(|key, _| key.0 != sender);
        self.agree();
    }

    fn handle_timer(&mut self, now: Now) {
        let stuck = self.outbox.handle_timer(now);
        assert!(!stuck || self.blocked, "only a socket that refused bytes is stuck");
        self.agree();
    }

    fn agree(&self) {
        let waiting: Vec<u8> = self.waiting.iter().flatten().skip(self.begun).copied().collect();
        assert!(self.outbox.unwritten() == waiting, "other bytes wait than were put in");
        let aside: usize = self.aside.values().map(|frame| frame.len() + 64).sum();
        assert_eq!(self.outbox.len(), waiting.len() + aside);
        assert_eq!(self.outbox.is_empty(), waiting.is_empty() && self.aside.is_empty());
        assert_eq!(self.outbox.is_blocked(), self.blocked);
        let max_bytes = self.limits.max_bytes as usize;
        let over = self.waiting.len() > self.limits.max_frames as usize
            || waiting.len() > max_bytes
            || aside > max_bytes;
        assert_eq!(self.outbox.is_over(), over);
    }

    fn ends_whole(mut self) {
        while !self.outbox.is_empty() {
            self.wrote(usize::MAX);
        }
        assert!(self.waiting.is_empty() && self.aside.is_empty());
        let frames = whole(&self.wire).iter().filter(|(tag, _)| is_counted(*tag)).count() as u64;
        self.acknowledge(frames);
        self.acknowledge(frames + 1);
    }
}

/// Counted frames that are whole in a stream.
fn counted(mut bytes: &[u8]) -> u64 {
    let limits = tagwire::frame::Limits { max_frame_bytes: 2 * MAX_FRAME_BYTES, only: None };
    let mut decoder = Decoder::new(limits);
    let mut count = 0;
    while let Some(frame) = decoder.next(&mut bytes).expect("own frames") {
        count += u64::from(is_counted(frame.tag));
    }
    count
}
