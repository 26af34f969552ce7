//! Clients that come back by themselves, and what each of them heard and missed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tagwire::Schema;
use tagwire::frame::Decoder;
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire::session::client::{ClientSession, Credentials, Event};
use tagwire::session::outbox::OutboxLimits;
use tagwire::time::Now;
use tagwire::{CloseCode, Message, Tag};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{interval, sleep, sleep_until, timeout};

/// What all of them are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Talk,
    /// Say nothing, come back, and be in the room.
    Pause,
    /// Say one line more, and hear that of all others.
    Last,
    Leave,
}

/// Lines and moves are said so often.
const TALK_EVERY: Duration = Duration::from_millis(500);
/// At most so long between the loss of a connection and the next.
const BACK_OFF: Duration = Duration::from_millis(200);

/// What a client was and heard, for as long as its last session lasted, and what it suffered in all.
#[derive(Debug, Default, Clone)]
pub struct Story {
    pub player: u32,
    /// Lines that it said in this session.
    pub said: u32,
    /// The last line that it heard of each player, itself too.
    pub heard: HashMap<u32, u32>,
    /// The last move of each.
    moved: HashMap<u32, u32>,
    /// Connections that were lost, before or after the login.
    pub lost: u32,
    pub resumed: u32,
    /// Sessions that began though there was one before.
    pub fresh: u32,
    pub joined: bool,
    pub is_open: bool,
    /// The one line more.
    said_last: bool,
    /// What came twice, not at all, or out of order.
    pub faults: Vec<String>,
}

pub struct Returning {
    name: String,
    address: SocketAddr,
    room: String,
    /// After its third loss it sleeps so long.
    pub nap: Duration,
    session: ClientSession,
    decoder: Decoder,
    stream: Option<TcpStream>,
    start: Instant,
    rng: fastrand::Rng,
    join_key: u64,
    story: Story,
}

impl Returning {
    pub fn new(address: SocketAddr, schema: Arc<Schema>, name: &str, room: &str, seed: u64) -> Self {
        let credentials = Credentials {
            username: name.to_string(),
            password: "welcome".to_string(),
            ..Credentials::default()
        };
        Returning {
            name: name.to_string(),
            address,
            room: room.to_string(),
            nap: Duration::ZERO,
            session: ClientSession::new(schema, credentials, OutboxLimits::default()),
            decoder: Decoder::default(),
            stream: None,
            start: Instant::now(),
            rng: fastrand::Rng::with_seed(seed),
            join_key: 0,
            story: Story::default(),
        }
    }

    fn now(&self) -> Now {
        let monotonic_us = self.start.elapsed().as_micros() as u64;
        Now { monotonic_us, unix_us: 1 + monotonic_us }
    }

    /// Lives until it is told to leave; its story is told as it goes on.
    pub async fn live(mut self, mut phase: watch::Receiver<Phase>, told: watch::Sender<Story>) {
        let mut talk = interval(TALK_EVERY);
        loop {
            if *phase.borrow() == Phase::Leave {
                break;
            }
            if self.stream.is_none() {
                self.connect().await;
                continue;
            }
            let stream = self.stream.as_ref().expect("connected");
            let deadline = self.start + Duration::from_micros(self.session.deadline_us());
            let blocked = !self.session.unwritten().is_empty();
            tokio::select! {
                ready = stream.readable() => match ready {
                    Ok(()) => self.read(),
                    Err(_) => self.lose(),
                },
                ready = stream.writable(), if blocked => match ready {
                    Ok(()) => self.write(),
                    Err(_) => self.lose(),
                },
                _ = talk.tick() => {
                    let phase = *phase.borrow();
                    let last = phase == Phase::Last && !self.story.said_last;
                    if self.story.joined && (last || phase == Phase::Talk) {
                        self.story.said_last |= last;
                        self.talk();
                    }
                },
                () = sleep_until(deadline.into()) => self.lose(),
                _ = phase.changed() => {}
            }
            self.story.is_open = self.session.is_open();
            told.send_replace(self.story.clone());
        }
        self.session.close(CloseCode::NORMAL, "");
        self.write();
    }

    async fn connect(&mut self) {
        let nap = if self.story.lost == 3 { self.nap } else { Duration::ZERO };
        sleep(nap + BACK_OFF.mul_f64(self.rng.f64())).await;
        if let Ok(Ok(stream)) = timeout(Duration::from_secs(2), TcpStream::connect(self.address)).await {
            stream.set_nodelay(true).unwrap();
            self.stream = Some(stream);
            self.decoder = Decoder::default();
            self.session.connect(self.now());
            self.write();
        }
    }

    fn lose(&mut self) {
        if self.stream.take().is_some() {
            self.story.lost += 1;
            self.session.disconnect();
        }
    }

    fn talk(&mut self) {
        let line = self.story.said + 1;
        if self.session.send(&arena::Chat { text: line.to_string() }).is_ok() {
            self.story.said = line;
        }
        let _ = self.session.send(&arena::MouseEvent { x: line as i32, ..Default::default() });
        self.write();
    }

    fn write(&mut self) {
        let Some(stream) = &self.stream else { return };
        while !self.session.unwritten().is_empty() {
            match stream.try_write(self.session.unwritten()) {
                Ok(count) => self.session.wrote(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.session.wrote(0);
                    return;
                }
                Err(_) => return self.lose(),
            }
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let stream = self.stream.as_ref().expect("connected");
        let count = match stream.try_read(&mut buffer) {
            Ok(0) => return self.lose(),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => return self.lose(),
        };
        let (now, mut input) = (self.now(), &buffer[..count]);
        loop {
            self.decoder.set_limits(self.session.decoder_limits());
            let Some(frame) = self.decoder.next(&mut input).expect("the proxy changes no byte") else {
                break;
            };
            match self.session.handle_frame(now, frame) {
                Ok(event) => self.handle(event),
                Err(fault) => {
                    self.story.faults.push(format!("{}: {fault}", self.name));
                    return self.lose();
                }
            }
        }
        self.write();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Welcome(welcome) if welcome.resumed => self.story.resumed += 1,
            Event::Welcome(welcome) => {
                let story = &mut self.story;
                story.fresh += u32::from(story.player != 0);
                (story.player, story.said, story.joined) = (welcome.player_id, 0, false);
                (story.heard, story.moved) = Default::default();
                let join = v1::JoinRoom { room: self.room.clone() };
                self.join_key = self.session.request(&join).expect("the session is open");
            }
            Event::Response(response) if response.key == self.join_key => {
                assert_eq!(response.status(), v1::status::Value::Ok, "{}", response.message);
                self.story.joined = true;
                (self.story.heard, self.story.moved) = Default::default();
            }
            Event::Message { sender: Some(sender), tag, payload } => self.hear(sender, tag, payload),
            Event::Notice(notice) => self.story.faults.push(format!("{}: {}", self.name, notice.text)),
            Event::Disconnect { code, reason, .. } if code != CloseCode::TIMEOUT => {
                self.story.faults.push(format!("{}: {code}: {reason}", self.name));
            }
            _ => {}
        }
    }

    fn hear(&mut self, sender: u32, tag: Tag, payload: tagwire::bytes::Bytes) {
        let story = &mut self.story;
        if tag == arena::Chat::TAG {
            let line: u32 = arena::Chat::decode(payload).unwrap().text.parse().unwrap();
            // Of those who were there before, from where one came in; of oneself all.
            let expected = match story.heard.get(&sender) {
                Some(last) => Some(last + 1),
                None => (sender == story.player).then_some(1),
            };
            if expected.is_some_and(|expected| line != expected) {
                story.faults.push(format!("{} heard line {line} of {sender} for {expected:?}", self.name));
            }
            story.heard.insert(sender, line);
        } else {
            let x = arena::MouseEvent::decode(payload).unwrap().x as u32;
            if story.moved.insert(sender, x).is_some_and(|last| last >= x) {
                story.faults.push(format!("{} saw {sender} move to {x} after a later move", self.name));
            }
        }
    }
}
