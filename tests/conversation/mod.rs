//! A conversation between a client's side and a server's side of a session, over links that are cut, on a virtual clock; and
//! what the two applications saw of it.

mod server;

use std::collections::BTreeMap;

use tagwire::frame::Decoder;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire::session::client::{ClientSession, Credentials, Event, SendError};
use tagwire::session::outbox::OutboxLimits;
use tagwire::time::Now;
use tagwire::{CloseCode, Delivery, Fingerprint, Message, MessageInfo, Rules, Schema, Sender, Tag, Target};
use tagwire_faults::ends::{Direction, Side};
use tagwire_faults::sim::{Link, Plan};

pub use server::{Host, Window};

message!(Say, 4, PLAIN);
message!(Move, 5, Rules { to: Target::Room, delivery: Delivery::Latest, ..PLAIN });
message!(Blink, 6, Rules { to: Target::Room, delivery: Delivery::Unreliable, ..PLAIN });
message!(Told, 7, Rules { from: Sender::Server, ..PLAIN });
message!(Ask, 300, PLAIN);

use super::common::{PLAIN, START};

pub fn schema() -> std::sync::Arc<Schema> {
    std::sync::Arc::new(Schema::new(
        Fingerprint([9; 16]),
        tagwire::bytes::Bytes::new(),
        vec![
            MessageInfo::push::<Say>(),
            MessageInfo::push::<Move>(),
            MessageInfo::push::<Blink>(),
            MessageInfo::push::<Told>(),
            MessageInfo::request::<Ask>(),
        ],
    ))
}

/// What the client's application does, and what the server's does by itself.
#[derive(Debug, Clone)]
pub enum Act {
    Say(String),
    Move(u32),
    Blink(u32),
    Ask(String),
    AskAll(Vec<String>),
    Join(String),
    /// The server tells something, ORDERED.
    Tell(String),
    /// Another player moves, LATEST.
    Other(u32, u32),
    /// Something that may be lost.
    Spark(u32),
}

impl Act {
    fn is_clients(&self) -> bool {
        !matches!(self, Act::Tell(_) | Act::Other(..) | Act::Spark(_))
    }
}

/// Acts, each with its microsecond, in order.
pub type Script = Vec<(u64, Act)>;

/// What the two applications saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// By the client: ORDERED of the server.
    pub told: Vec<String>,
    /// The same, of what the server says to each Say.
    pub heard: Vec<String>,
    /// The last of each other player's moves.
    pub moved: BTreeMap<u32, u32>,
    /// The answers by key: status and body.
    pub answers: BTreeMap<u64, (i32, Vec<u8>)>,
    /// Who came, in order.
    pub members: Vec<(u32, i32)>,
    /// By the server: what the client said, ORDERED.
    pub said: Vec<String>,
    /// The client's last move.
    pub own_move: u32,
    /// How often the handler ran for each key.
    pub runs: BTreeMap<u64, u32>,
    /// In which order.
    pub ran: Vec<String>,
}

/// How a conversation went, besides what was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Went {
    pub connections: u32,
    pub resumes: u32,
    /// Sessions that began after the first.
    pub fresh: u32,
    /// Disconnects that the client was sent, TIMEOUT not among them.
    pub told_off: u32,
    /// Frames that were written, both ways.
    pub frames: u64,
    /// Moves that came out of their order.
    pub stale: u32,
    pub end_us: u64,
}

/// How long the client waits before it connects again.
const RECONNECT_US: u64 = 100_000;
/// A conversation that is not at its end by then has failed.
const PATIENCE_US: u64 = 600_000_000;
/// After the end, to see what comes twice.
const EPILOGUE_US: u64 = 2_000_000;

/// The world: a client, a server, and the links between them.
pub struct World<'a> {
    script: &'a Script,
    done: usize,
    now_us: u64,
    /// Gives the n-th link, from 0.
    links: Box<dyn FnMut(usize, u64) -> Link + 'a>,
    server: Host,
    open: Vec<Link>,
    client: ClientSession,
    decoder: Decoder,
    /// The client's link.
    link: Option<usize>,
    connect_us: Option<u64>,
    /// Of the client's acts: not taken yet, since too much waits.
    waiting: Vec<Act>,
    asked: usize,
    seen: Seen,
    went: Went,
}

/// A message's place in its series. Padding makes it as long as wanted.
pub fn number(text: &str) -> u32 {
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number first")
}

impl<'a> World<'a> {
    /// One whose n-th link, from 0, is what `links` makes at that microsecond.
    pub fn new(script: &'a Script, window: Window, links: impl FnMut(usize, u64) -> Link + 'a) -> Self {
        let credentials = Credentials {
            username: "zoe".to_string(),
            password: "welcome".to_string(),
            ..Credentials::default()
        };
        World {
            script,
            done: 0,
            now_us: 0,
            links: Box::new(links),
            server: Host::new(window),
            open: vec![],
            client: ClientSession::new(schema(), credentials, OutboxLimits::default()),
            decoder: Decoder::default(),
            link: None,
            connect_us: Some(0),
            waiting: vec![],
            asked: 0,
            seen: Seen::default(),
            went: Went::default(),
        }
    }

    /// Bytes that one link carried.
    pub fn bytes(&self, link: usize, direction: Direction) -> u64 {
        self.open[link].bytes(direction).written
    }

    /// Runs the conversation until both sides have nothing more to say; what was seen, and how it went.
    pub fn run(&mut self) -> (Seen, Went) {
        let mut quiet_since = None;
        while self.now_us < PATIENCE_US {
            self.turn();
            quiet_since = if self.is_quiet() { quiet_since.or(Some(self.now_us)) } else { None };
            if quiet_since.is_some_and(|since| self.now_us >= since + EPILOGUE_US) {
                break;
            }
            self.now_us = self.next_us();
        }
        let host = &self.server;
        let mut seen = self.seen.clone();
        (seen.said, seen.own_move) = (host.said.clone(), host.own_move);
        (seen.runs, seen.ran) = (host.runs.clone(), host.ran.clone());
        let went = Went {
            resumes: host.resumes,
            fresh: host.sessions().saturating_sub(1),
            stale: self.went.stale + host.stale,
            frames: self.went.frames + host.frames,
            end_us: self.now_us,
            ..self.went
        };
        (seen, went)
    }

    fn now(&self) -> Now {
        START.after_us(self.now_us)
    }

    fn is_quiet(&self) -> bool {
        self.done == self.script.len()
            && self.waiting.is_empty()
            && self.client.is_open()
            && self.client.unwritten().is_empty()
            && self.server.is_quiet()
            && self.seen.answers.len() == self.asked
    }

    fn next_us(&self) -> u64 {
        let script = self.script.get(self.done).map(|(at, _)| *at);
        let links = self.open.iter().filter_map(|link| link.next_event_after_us(self.now_us)).min();
        let silence = self.link.map(|_| self.client.deadline_us() - START.monotonic_us);
        let due = [script, links, silence, self.connect_us, Some(self.server.next_us(self.now_us))];
        due.into_iter().flatten().min().unwrap_or(PATIENCE_US).max(self.now_us + 1)
    }

    /// Everything that is due now, until nothing moves any more.
    fn turn(&mut self) {
        let now = self.now();
        while let Some((_, act)) = self.script.get(self.done).filter(|(at, _)| *at <= self.now_us) {
            self.done += 1;
            match act.is_clients() {
                true => self.waiting.push(act.clone()),
                false => self.server.act(act),
            }
        }
        if self.connect_us.is_some_and(|at| at <= self.now_us) {
            self.connect();
        }
        if self.link.is_some() && self.now().monotonic_us >= self.client.deadline_us() {
            self.lose();
        }
        self.server.handle_timers(now, &mut self.open);
        loop {
            self.act();
            let moved = self.flush() | self.read();
            if !(self.server.pump(now, &mut self.open) | moved) {
                break;
            }
        }
    }

    fn connect(&mut self) {
        self.connect_us = None;
        let number = self.went.connections as usize;
        self.went.connections += 1;
        self.open.push((self.links)(number, self.now_us));
        self.link = Some(number);
        self.server.accept(number);
        self.decoder = Decoder::default();
        self.client.connect(self.now());
    }

    /// The client's connection is of no more use.
    fn lose(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.open[link].close(Side::Client, self.now_us);
        self.client.disconnect();
        self.connect_us = Some(self.now_us + RECONNECT_US);
    }

    /// What the client's application does.
    fn act(&mut self) {
        let mut rest = vec![];
        for act in std::mem::take(&mut self.waiting) {
            let full = !rest.is_empty();
            let done = match &act {
                // What waits must not be passed by.
                _ if full => Err(SendError::Full),
                Act::Say(text) => self.client.send(&Say::new(text)),
                Act::Move(number) => self.client.send(&Move::new(&number.to_string())),
                Act::Blink(number) => self.client.send(&Blink::new(&number.to_string())),
                Act::Ask(text) => self.client.request(&Ask::new(text)).map(|_| self.asked += 1),
                Act::AskAll(texts) => {
                    let asks: Vec<_> = texts.iter().map(|text| Ask::new(text)).collect();
                    self.client.batch(&asks, false).map(|keys| self.asked += keys.count())
                }
                Act::Join(room) => {
                    self.client.request(&v1::JoinRoom { room: room.clone() }).map(|_| self.asked += 1)
                }
                Act::Tell(_) | Act::Other(..) | Act::Spark(_) => unreachable!("the server's"),
            };
            match done {
                Ok(()) => {}
                // Before the first Welcome there is no session; a full one has room later.
                Err(SendError::Full | SendError::NotOpen) => rest.push(act),
                Err(error) => panic!("{act:?}: {error}"),
            }
        }
        self.waiting = rest;
    }

    fn flush(&mut self) -> bool {
        let Some(link) = self.link else { return false };
        let mut moved = false;
        while !self.client.unwritten().is_empty() {
            let count = self.open[link].write(Side::Client, self.now_us, self.client.unwritten());
            self.client.wrote(count);
            moved |= count > 0;
            if count == 0 {
                break;
            }
        }
        moved
    }

    fn read(&mut self) -> bool {
        let now = self.now();
        let mut moved = false;
        while let Some(link) = self.link {
            let Some(bytes) = self.open[link].read(Side::Client, self.now_us) else {
                if self.open[link].is_ended(Side::Client, self.now_us) {
                    self.lose();
                }
                break;
            };
            moved = true;
            let bytes = bytes.to_vec();
            let mut input = bytes.as_slice();
            loop {
                self.decoder.set_limits(self.client.decoder_limits());
                let Some(frame) = self.decoder.next(&mut input).expect("whole frames") else { break };
                self.went.frames += 1;
                let event = self.client.handle_frame(now, frame).expect("the server keeps the rules");
                self.handle(event);
            }
        }
        moved
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Message { sender: None, tag, payload } if tag == Told::TAG => {
                let text = Told::decode(payload).expect("Told").text;
                match text.starts_with("heard") {
                    true => self.seen.heard.push(text),
                    false => self.seen.told.push(text),
                }
            }
            Event::Message { sender: Some(player), tag, payload } if tag == Move::TAG => {
                let number = number(&Move::decode(payload).expect("Move").text);
                let last = self.seen.moved.insert(player, number);
                self.went.stale += u32::from(last.is_some_and(|last| last >= number));
            }
            Event::Response(response) => {
                let answer = (response.status, response.body.to_vec());
                let before = self.seen.answers.insert(response.key, answer);
                assert_eq!(before, None, "key {} was answered twice", response.key);
            }
            Event::Member(member) => self.seen.members.push((member.player, member.event)),
            Event::Disconnect { code, .. } => self.went.told_off += u32::from(code != CloseCode::TIMEOUT),
            Event::Welcome(_) | Event::Ping(_) | Event::Message { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// As a link that is new: for the n-th connection of a conversation over clean ones.
pub fn clean(now_us: u64) -> Link {
    Link::new(Plan::clean(), 1, now_us)
}
