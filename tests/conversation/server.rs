//! The server's side: what `tagwire-server` does with these parts, without sockets.

use std::collections::BTreeMap;

use tagwire::frame::{Decoder, encode, encode_message};
use tagwire::pb::tagwire::v1::{self, member::event};
use tagwire::prost::Message as _;
use tagwire::session::login::Login;
use tagwire::session::outbox::{Lane, Outbox, OutboxLimits};
use tagwire::session::ping::Pinger;
use tagwire::session::resume::{ResumeRefused, ResumeToken};
use tagwire::session::server::{Admission, Incoming, ServerSession};
use tagwire::session::{Dialect, PEER_TIMEOUT_US};
use tagwire::time::Now;
use tagwire::{Access, CloseCode, Message};
use tagwire_faults::ends::Side;
use tagwire_faults::sim::Link;

use super::{Act, Ask, Blink, Move, Say, Told, number, schema};
use crate::common::{NO_RATES, START};

/// A slow handler takes so long.
const SLOW_US: u64 = 300_000;
const SECOND_US: u64 = 1_000_000;

/// What of a session outlives its connection.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub resume_us: u64,
    pub max_kept_bytes: u32,
}

impl Default for Window {
    fn default() -> Self {
        Window { resume_us: 60_000_000, max_kept_bytes: 256 * 1024 }
    }
}

/// A session, with or without a connection.
struct Hosted {
    protocol: ServerSession,
    outbox: Outbox,
    pinger: Pinger,
    token: ResumeToken,
    /// Its connection.
    connection: Option<usize>,
    away_since_us: u64,
    heard: bool,
    /// Answers of slow handlers, by when.
    late: Vec<(u64, v1::Response)>,
    ended: bool,
}

/// A connection.
struct Connection {
    decoder: Decoder,
    protocol: Option<ServerSession>,
    /// The session it is on.
    session: Option<usize>,
    over: bool,
}

/// A server for one player, whose application outlives its sessions.
pub struct Host {
    window: Window,
    connections: Vec<Connection>,
    sessions: Vec<Hosted>,
    pinged_us: u64,
    /// What the application has done while there was nobody to tell.
    unheard: Vec<Act>,
    pub said: Vec<String>,
    pub own_move: u32,
    last_blink: u32,
    pub runs: BTreeMap<u64, u32>,
    pub ran: Vec<String>,
    pub resumes: u32,
    pub refused: Vec<ResumeRefused>,
    pub stale: u32,
    pub frames: u64,
}

impl Host {
    pub fn new(window: Window) -> Self {
        Host {
            window,
            connections: vec![],
            sessions: vec![],
            pinged_us: 0,
            unheard: vec![],
            said: vec![],
            own_move: 0,
            last_blink: 0,
            runs: BTreeMap::new(),
            ran: vec![],
            resumes: 0,
            refused: vec![],
            stale: 0,
            frames: 0,
        }
    }

    /// A connection stands; its number is the next.
    pub fn accept(&mut self, number: usize) {
        assert_eq!(number, self.connections.len());
        let protocol = ServerSession::new(schema(), NO_RATES);
        let decoder = Decoder::new(protocol.decoder_limits());
        self.connections.push(Connection { decoder, protocol: Some(protocol), session: None, over: false });
    }

    pub fn sessions(&self) -> u32 {
        self.sessions.iter().filter(|session| session.protocol.frames_received() > 0).count() as u32
    }

    /// True where all was written, and handlers have ended.
    pub fn is_quiet(&self) -> bool {
        self.unheard.is_empty()
            && self.sessions.iter().filter(|session| !session.ended).all(|session| {
                session.connection.is_some() && session.outbox.is_empty() && session.late.is_empty()
            })
    }

    pub fn next_us(&self, now_us: u64) -> u64 {
        let late = self.sessions.iter().flat_map(|session| session.late.iter().map(|(at, _)| *at)).min();
        late.unwrap_or(u64::MAX).min(self.pinged_us + SECOND_US).max(now_us + 1)
    }

    /// What the application does by itself: to a player from whom it has heard.
    pub fn act(&mut self, act: &Act) {
        match self.sessions.last_mut().filter(|session| session.protocol.frames_received() > 0) {
            Some(session) => session.tell(act),
            None => self.unheard.push(act.clone()),
        }
    }

    pub fn handle_timers(&mut self, now: Now, links: &mut [Link]) {
        let now_us = now.monotonic_us - START.monotonic_us;
        for session in &mut self.sessions {
            let (due, late) =
                std::mem::take(&mut session.late).into_iter().partition(|(at, _)| *at <= now_us);
            session.late = late;
            for (_, response) in due {
                session.respond(&response);
            }
        }
        if now_us < self.pinged_us + SECOND_US {
            return;
        }
        self.pinged_us = now_us;
        for at in 0..self.sessions.len() {
            let session = &mut self.sessions[at];
            if session.ended {
                continue;
            }
            let Some(connection) = session.connection else {
                session.ended |= now_us >= session.away_since_us + self.window.resume_us;
                continue;
            };
            let heard = std::mem::take(&mut session.heard);
            if u64::from(session.pinger.handle_interval(heard)) * SECOND_US >= PEER_TIMEOUT_US {
                self.cut(now_us, connection, CloseCode::TIMEOUT, links);
                continue;
            }
            let received = session.protocol.frames_received();
            let ping = session.pinger.next_ping(now, Dialect::Native, received);
            session.outbox.push_urgent(&encoded(&ping));
        }
    }

    /// Reads, handles and writes what can be; true where anything moved.
    pub fn pump(&mut self, now: Now, links: &mut [Link]) -> bool {
        let now_us = now.monotonic_us - START.monotonic_us;
        let mut moved = false;
        for number in 0..self.connections.len() {
            moved |= self.read(now, number, links);
            let Some(session) = self.connections[number].session else { continue };
            let session = &mut self.sessions[session];
            if session.connection != Some(number) {
                continue;
            }
            while !session.outbox.is_empty() {
                let count = links[number].write(Side::Server, now_us, session.outbox.unwritten());
                session.outbox.wrote(count);
                moved |= count > 0;
                if session.outbox.is_blocked() {
                    break;
                }
            }
        }
        moved
    }

    fn read(&mut self, now: Now, number: usize, links: &mut [Link]) -> bool {
        let now_us = now.monotonic_us - START.monotonic_us;
        let mut moved = false;
        while !self.connections[number].over {
            let Some(bytes) = links[number].read(Side::Server, now_us) else {
                if links[number].is_ended(Side::Server, now_us) {
                    self.lose(now_us, number);
                    links[number].close(Side::Server, now_us);
                }
                break;
            };
            moved = true;
            let bytes = bytes.to_vec();
            let mut input = bytes.as_slice();
            // What is cut meanwhile reads nothing more.
            while !self.connections[number].over {
                let mut decoder = std::mem::take(&mut self.connections[number].decoder);
                let frame = decoder.next(&mut input).expect("whole frames");
                let Some(frame) = frame else {
                    self.connections[number].decoder = decoder;
                    break;
                };
                self.frames += 1;
                match self.connections[number].session {
                    None => {
                        let mut protocol =
                            self.connections[number].protocol.take().expect("a login comes once");
                        let incoming = protocol.handle_frame(now, frame).expect("a login");
                        let Incoming::Login(login) = incoming else { panic!("{incoming:?}") };
                        self.log_in(now, number, protocol, &login, links);
                    }
                    Some(session) => {
                        let hosted = &mut self.sessions[session];
                        hosted.heard = true;
                        let incoming = hosted.protocol.handle_frame(now, frame);
                        self.handle(now, session, incoming.expect("the client keeps the rules"));
                        let session = &mut self.sessions[session];
                        if let Some(ping) = session.protocol.acknowledgement() {
                            session.outbox.push(&encoded(&ping), Lane::Ordered);
                        }
                    }
                }
                let limits = match self.connections[number].session {
                    Some(session) => self.sessions[session].protocol.decoder_limits(),
                    None => Default::default(),
                };
                decoder.set_limits(limits);
                self.connections[number].decoder = decoder;
            }
        }
        moved
    }

    fn log_in(
        &mut self,
        now: Now,
        number: usize,
        protocol: ServerSession,
        login: &Login,
        links: &mut [Link],
    ) {
        let now_us = now.monotonic_us - START.monotonic_us;
        if let Some(resume) = &login.resume {
            match self.come_back(now, number, resume, links) {
                Ok(()) => return,
                Err(ResumeRefused::Late) => {
                    let told = v1::Disconnect {
                        code: CloseCode::RESUME_REFUSED.0.into(),
                        ..v1::Disconnect::default()
                    };
                    links[number].write(Side::Server, now_us, &encoded(&told));
                    links[number].close(Side::Server, now_us);
                    self.connections[number].over = true;
                    self.refused.push(ResumeRefused::Late);
                    return;
                }
                Err(refused) => self.refused.push(refused),
            }
        }
        // The newest of a name replaces the older.
        for at in 0..self.sessions.len() {
            if let Some(old) = self.sessions[at].connection {
                self.cut(now_us, old, CloseCode::REPLACED, links);
            }
            self.sessions[at].ended = true;
        }
        let id = self.sessions.len();
        let token = ResumeToken::new(7, id as u64, [id as u8; 16], false);
        let limits = OutboxLimits { max_kept_bytes: self.window.max_kept_bytes, ..OutboxLimits::default() };
        let mut session = Hosted {
            protocol,
            outbox: Outbox::new(limits),
            pinger: Pinger::default(),
            token,
            connection: Some(number),
            away_since_us: 0,
            heard: true,
            late: vec![],
            ended: false,
        };
        let admission = self.admission(&session.token);
        let welcome = session.protocol.admit(now, admission).expect("a client of this protocol");
        session.outbox.push(&encoded(&welcome), Lane::Ordered);
        self.sessions.push(session);
        self.connections[number].session = Some(id);
    }

    fn come_back(
        &mut self,
        now: Now,
        number: usize,
        resume: &v1::Resume,
        links: &mut [Link],
    ) -> Result<(), ResumeRefused> {
        let now_us = now.monotonic_us - START.monotonic_us;
        let (_, id) = ResumeToken::address(&resume.token)?;
        let at = id as usize;
        let session = self.sessions.get(at).ok_or(ResumeRefused::Wrong)?;
        session.token.check(resume, false)?;
        if session.ended {
            return Err(ResumeRefused::Gone);
        }
        session.outbox.may_resume(resume.frames_received)?;
        if let Some(old) = session.connection {
            self.cut(now_us, old, CloseCode::REPLACED, links);
        }
        let admission = self.admission(&self.sessions[at].token);
        let session = &mut self.sessions[at];
        session.outbox.resume(resume.frames_received)?;
        session.token.used(resume);
        let welcome = session.protocol.resume(now, admission);
        session.outbox.push_urgent(&encoded(&welcome));
        session.connection = Some(number);
        (session.pinger, session.heard) = (Pinger::default(), true);
        self.connections[number].session = Some(at);
        self.resumes += 1;
        Ok(())
    }

    fn admission(&self, token: &ResumeToken) -> Admission {
        Admission {
            session_id: 1,
            player_id: 2,
            name: "zoe".to_string(),
            room: "main".to_string(),
            access: Access::Player,
            verdict: v1::verdict::Value::Same,
            resume_token: token.to_bytes(),
            resume_window_ms: (self.window.resume_us / 1000) as u32,
        }
    }

    /// Says a last word on a connection, and reads nothing more of it.
    fn cut(&mut self, now_us: u64, number: usize, code: CloseCode, links: &mut [Link]) {
        if let Some(session) = self.connections[number].session {
            let told = v1::Disconnect { code: code.0.into(), ..v1::Disconnect::default() };
            let rest = self.sessions[session].outbox.rest_of_frame();
            links[number].write(Side::Server, now_us, &[rest, &encoded(&told)].concat());
        }
        links[number].close(Side::Server, now_us);
        self.lose(now_us, number);
    }

    fn lose(&mut self, now_us: u64, number: usize) {
        self.connections[number].over = true;
        let Some(session) = self.connections[number].session else { return };
        let session = &mut self.sessions[session];
        if session.connection == Some(number) {
            session.connection = None;
            session.away_since_us = now_us;
            session.outbox.detach();
        }
    }

    fn handle(&mut self, now: Now, at: usize, incoming: Incoming<'_>) {
        std::mem::take(&mut self.unheard).iter().for_each(|act| self.sessions[at].tell(act));
        let now_us = now.monotonic_us - START.monotonic_us;
        match incoming {
            Incoming::Push { payload, .. } => {
                let text = Say::decode(payload).expect("checked").text;
                self.sessions[at].push(&Told::new(&format!("heard {}", text.len())), Lane::Ordered);
                self.said.push(text);
            }
            Incoming::Relay { tag, payload, .. } if tag == Move::TAG => {
                let number = number(&Move::decode(payload).expect("checked").text);
                self.stale += u32::from(number <= self.own_move);
                self.own_move = number;
            }
            Incoming::Relay { payload, .. } => {
                let number = number(&Blink::decode(payload).expect("checked").text);
                self.stale += u32::from(number <= self.last_blink);
                self.last_blink = number;
            }
            Incoming::Request { key, tag, body } if tag == v1::JoinRoom::TAG => {
                let room = v1::JoinRoom::decode(body).expect("a JoinRoom").room;
                let reply = v1::JoinRoomReply { room };
                *self.runs.entry(key).or_default() += 1;
                let session = &mut self.sessions[at];
                session.respond(&answer(key, 248, &reply));
                for player in 10..13 {
                    let name = "other".to_string();
                    session.push(
                        &v1::Member { player, event: event::Value::Present.into(), name },
                        Lane::Ordered,
                    );
                }
            }
            Incoming::Request { key, tag, body } => {
                let text = Ask::decode(body).expect("checked").text;
                *self.runs.entry(key).or_default() += 1;
                let response = answer(key, tag.0, &Ask::new(&format!("answer to {text}")));
                let session = &mut self.sessions[at];
                match text.starts_with("slow") {
                    true => session.late.push((now_us + SLOW_US, response)),
                    false => session.respond(&response),
                }
                self.ran.push(text);
            }
            Incoming::Batch { requests, .. } => {
                requests.into_iter().for_each(|request| self.handle(now, at, request));
            }
            Incoming::Answered(response) => self.sessions[at].push(&response, Lane::Ordered),
            Incoming::Repeated => {}
            Incoming::Ping(ping) => {
                let session = &mut self.sessions[at];
                session.pinger.handle_pong(now, &ping);
                session.outbox.acknowledge(ping.frames_received).expect("no more than it was sent");
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Hosted {
    fn push<M: Message>(&mut self, message: &M, lane: Lane) {
        self.outbox.push(&encoded(message), lane);
    }

    fn respond(&mut self, response: &v1::Response) {
        if self.protocol.requests().finish(response, |_| {}) {
            self.push(response, Lane::Ordered);
        }
    }

    fn tell(&mut self, act: &Act) {
        match act {
            Act::Tell(text) => self.push(&Told::new(text), Lane::Ordered),
            Act::Other(player, number) => {
                let body = Move::new(&number.to_string()).encode_to_vec().into();
                let relayed = v1::Relayed { player: *player, tag: Move::TAG.0.into(), body };
                self.push(&relayed, Lane::Latest { sender: *player, tag: Move::TAG });
            }
            Act::Spark(number) => {
                let mut out = vec![];
                let body = Blink::new(&number.to_string()).encode_to_vec();
                encode(Blink::TAG, &body, &mut out);
                self.outbox.push(&out, Lane::Unreliable);
            }
            other => unreachable!("the client's: {other:?}"),
        }
    }
}

fn answer(key: u64, tag: u16, reply: &impl tagwire::prost::Message) -> v1::Response {
    v1::Response { key, tag: tag.into(), body: reply.encode_to_vec().into(), ..v1::Response::default() }
}

fn encoded<M: Message>(message: &M) -> Vec<u8> {
    let mut out = vec![];
    encode_message(message, &mut out);
    out
}
