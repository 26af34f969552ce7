//! A server in this process, on a free port, and clients that speak to it over real sockets.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod callgrind;
pub mod crowd;
pub mod doors;
pub mod forge;
pub mod program;
pub mod raw;
pub mod returning;
pub mod siege;
pub mod strace;
pub mod table;
pub mod via;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tagwire::frame::{Decoder, encode, encode_message};
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1::{self, login_part};
use tagwire::prost::Message as _;
use tagwire::session::Fault;
use tagwire::session::client::{ClientSession, Credentials, Event};
use tagwire::session::outbox::OutboxLimits;
use tagwire::time::Now;
use tagwire::{CloseCode, Message, Schema, Tag};
use tagwire_server::metrics::Metrics;
use tagwire_server::{Config, Control, Server, bind};
use tokio::sync::oneshot;
use via::{End, IDENTITY, Via};

/// The full numbers of a test, and its judgements by the clock: a busy machine must not fail a quick run.
pub fn is_long() -> bool {
    std::env::var_os("TAGWIRE_LONG").is_some()
}

/// Nothing on loopback takes longer, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The schema as shipped, without the rates of its messages.
pub fn unlimited_schema() -> Schema {
    let schema = tagwire::pb::schema();
    let mut messages = schema.messages().to_vec();
    for message in &mut messages {
        message.rules.max_rate = None;
    }
    Schema::new(schema.fingerprint(), schema.descriptors().clone(), messages)
}

pub struct TestServer {
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    pub control: Control,
    /// What its threads are called, and no others of this process.
    thread_name: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_schema(tagwire::pb::schema(), change)
    }

    /// For tests that are about something else and send as fast as they can.
    pub fn unlimited(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_schema(unlimited_schema(), |config| {
            config.limits.max_frames_per_second = 0;
            config.limits.max_bytes_per_second = 0;
            config.limits.max_joins_per_second = 0;
            change(config);
        })
    }

    pub fn with_schema(schema: Schema, change: impl FnOnce(&mut Config)) -> Self {
        Self::with_game(schema, change, |server| server)
    }

    /// A server with code of a game.
    pub fn with_game(
        schema: Schema,
        change: impl FnOnce(&mut Config),
        game: impl FnOnce(Server) -> Server,
    ) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let thread_name = format!("server-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let mut config =
            Config { listen: vec!["127.0.0.1:0".parse().unwrap()], threads: 2, ..Config::default() };
        if Via::current().has_tls() {
            config.tls.certificate = IDENTITY.pem.to_str().unwrap().to_string();
        }
        change(&mut config);
        config.validate().unwrap();
        let server = game(Server::new(config.clone(), schema));
        let (metrics, control) = (server.metrics(), server.control());
        let runtime = match config.threads {
            1 => tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            threads => tokio::runtime::Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_name(&thread_name)
                .enable_all()
                .build()
                .unwrap(),
        };
        let listener = runtime.block_on(async { bind(config.listen[0]).unwrap() });
        let address = listener.local_addr().unwrap();
        via::register(address, server.connector());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(thread_name.clone()).spawn(move || {
            let shutdown = async { stopped.await.unwrap_or_default() };
            runtime.block_on(server.serve(vec![listener], shutdown)).unwrap();
        });
        TestServer { address, metrics, control, thread_name, stop: Some(stop), thread: Some(thread.unwrap()) }
    }

    /// The system's numbers of the server's threads; of those that run rooms in any server of this process, too.
    pub fn threads(&self) -> Vec<u32> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let named = |task: &PathBuf| {
            std::fs::read_to_string(task.join("comm"))
                .is_ok_and(|name| name.trim_end() == self.thread_name || name.trim_end() == "rooms")
        };
        tasks.filter(named).map(|t| t.file_name().unwrap().to_str().unwrap().parse().unwrap()).collect()
    }

    /// The CPU time of the server's threads so far, clock ticks.
    pub fn cpu_ticks(&self) -> u64 {
        self.threads()
            .iter()
            .map(|thread| program::cpu_ticks(&format!("/proc/self/task/{thread}/stat")))
            .sum()
    }

    /// Tells the server to stop, without waiting.
    pub fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap();
        }
    }

    pub fn stop(mut self) -> Arc<Metrics> {
        self.begin_stop();
        self.thread.take().unwrap().join().unwrap();
        Arc::clone(&self.metrics)
    }

    pub fn metric(&self, name: &str) -> f64 {
        self.metrics.snapshot().get(name).copied().unwrap_or(0.0)
    }

    /// Waits until a value is reached.
    pub fn wait_for(&self, name: &str, value: f64) {
        let start = Instant::now();
        while self.metric(name) != value {
            assert!(start.elapsed() < PATIENCE, "{name} is {}, not {value}", self.metric(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A classic client who is inside. Its login is not answered, so the counter tells.
    pub fn classic(&self, name: &str) -> Classic {
        let granted = "tagwire_logins_granted_total";
        let before = self.metric(granted);
        let mut client = Classic::connect(self.address);
        client.login(name, "welcome");
        self.wait_for(granted, before + 1.0);
        client
    }

    pub fn player(&self, name: &str) -> Player {
        Player::login(self.address, name, "welcome").unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // On a failing test too, so that the others have the machine for themselves.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

pub fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

pub fn frame<M: Message>(message: &M) -> Vec<u8> {
    let mut out = vec![];
    encode_message(message, &mut out);
    out
}

pub fn mouse(x: i32, y: i32) -> arena::MouseEvent {
    arena::MouseEvent { x, y, ..Default::default() }
}

/// A MouseEvent (LATEST) of about 60 KB: a field of a newer schema fills it, so that sockets are full soon.
pub fn large_mouse(x: i32) -> Vec<u8> {
    let filler = [hex("a206e0d403"), vec![7; 60_000]].concat();
    let payload = [mouse(x, 0).encode_to_vec(), filler].concat();
    let mut out = vec![];
    encode(Tag(2), &payload, &mut out);
    out
}

/// A frame as it came.
pub type Raw = (u16, Vec<u8>);

/// A client of the reference: sends bytes, sees bytes.
pub struct Classic {
    pub stream: End,
    decoder: Decoder,
    waiting: Vec<Raw>,
}

/// A connection that comes from this address, of this machine's many (127.0.0.0/8).
pub fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

impl Classic {
    pub fn connect(address: SocketAddr) -> Self {
        Self::by(End::connect(address))
    }

    pub fn over(stream: TcpStream) -> Self {
        Self::by(End::over(stream))
    }

    /// By whichever way.
    pub fn by(stream: End) -> Self {
        Classic { stream, decoder: Decoder::default(), waiting: vec![] }
    }

    /// What it takes of the server.
    pub fn set_limits(&mut self, limits: tagwire::frame::Limits) {
        self.decoder.set_limits(limits);
    }

    pub fn login(&mut self, name: &str, password: &str) {
        let login = v1::PlayerLogin {
            username: name.to_string(),
            password: password.to_string(),
            ..Default::default()
        };
        self.send(&frame(&login));
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Raw> {
        let start = Instant::now();
        loop {
            if !self.waiting.is_empty() {
                return Some(self.waiting.remove(0));
            }
            assert!(start.elapsed() < PATIENCE, "nothing came");
            if self.read() == Some(0) {
                return None;
            }
        }
    }

    /// Reads what is there, 0 bytes at the end. `None`: nothing came in a moment.
    fn read(&mut self) -> Option<usize> {
        let mut buffer = [0; 4096];
        let count = match self.stream.read(&mut buffer) {
            Ok(count) => count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(e) => panic!("not a clean end: {e}"),
        };
        let mut input = &buffer[..count];
        while let Some(frame) = self.decoder.next(&mut input).unwrap() {
            self.waiting.push((frame.tag.0, frame.payload.to_vec()));
        }
        Some(count)
    }

    /// True where a frame has come; waits a moment for one.
    pub fn has_more(&mut self) -> bool {
        !self.waiting.is_empty() || self.read().is_some_and(|read| read > 0)
    }

    /// The next frame that is no Ping.
    pub fn next_message(&mut self) -> Option<Raw> {
        loop {
            match self.next() {
                Some((3, _)) => {}
                other => return other,
            }
        }
    }

    /// Waits for a Ping: the login was accepted, and all that was sent before has been handled.
    pub fn wait_for_ping(&mut self) -> Vec<u8> {
        loop {
            match self.next() {
                Some((3, payload)) => return payload,
                Some(_) => {}
                None => panic!("closed"),
            }
        }
    }

    /// Everything until the server closes; no reset.
    pub fn rest(&mut self) -> Vec<Raw> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// A client of this protocol.
pub struct Player {
    pub stream: End,
    pub session: ClientSession,
    pub welcome: v1::Welcome,
    decoder: Decoder,
    events: Vec<Event>,
    start: Instant,
    /// The server asked for the schema.
    pub offered: bool,
    /// Every byte that came.
    pub received: Vec<u8>,
}

#[derive(Debug, PartialEq)]
pub struct Ended {
    pub code: Option<CloseCode>,
    pub reason: String,
    pub retry_after_ms: u32,
    pub findings: Vec<String>,
    pub refused: login_part::Value,
}

impl Player {
    pub fn login(address: SocketAddr, name: &str, password: &str) -> Result<Player, Ended> {
        Self::login_by(tagwire::pb::schema(), End::connect(address), name, password)
    }

    pub fn login_over(stream: TcpStream, name: &str, password: &str) -> Result<Player, Ended> {
        Self::login_with(tagwire::pb::schema(), stream, name, password)
    }

    /// A client whose stubs were made from this schema.
    pub fn login_with(
        schema: Schema,
        stream: TcpStream,
        name: &str,
        password: &str,
    ) -> Result<Player, Ended> {
        Self::login_by(schema, End::over(stream), name, password)
    }

    /// By whichever way.
    pub fn login_by(schema: Schema, stream: End, name: &str, password: &str) -> Result<Player, Ended> {
        let credentials = Credentials {
            username: name.to_string(),
            password: password.to_string(),
            ..Credentials::default()
        };
        let now = Now { monotonic_us: 0, unix_us: 1 };
        let mut session = ClientSession::new(Arc::new(schema), credentials, OutboxLimits::default());
        session.connect(now);
        let mut player = Player {
            stream,
            session,
            welcome: v1::Welcome::default(),
            decoder: Decoder::default(),
            events: vec![],
            start: Instant::now(),
            offered: false,
            received: vec![],
        };
        player.flush();
        loop {
            match player.next()? {
                Event::SchemaOffered => player.offered = true,
                Event::Welcome(welcome) => {
                    player.welcome = welcome;
                    return Ok(player);
                }
                other => panic!("first came {other:?}"),
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.welcome.player_id
    }

    /// The next thing that happens; an error is the end.
    pub fn next(&mut self) -> Result<Event, Ended> {
        let start = Instant::now();
        loop {
            if !self.events.is_empty() {
                return match self.events.remove(0) {
                    Event::Disconnect { code, reason, retry_after_ms, findings, refused } => {
                        Err(Ended { code: Some(code), reason, retry_after_ms, findings, refused })
                    }
                    event => Ok(event),
                };
            }
            assert!(start.elapsed() < PATIENCE, "nothing came");
            let mut buffer = [0; 65536];
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(Ended {
                        code: None,
                        reason: "EOF".to_string(),
                        retry_after_ms: 0,
                        findings: vec![],
                        refused: login_part::Value::Untold,
                    });
                }
                Ok(count) => count,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(e) => panic!("not a clean end: {e}"),
            };
            let mut input = &buffer[..count];
            self.received.extend_from_slice(input);
            let now = self.now();
            self.decoder.set_limits(self.session.decoder_limits());
            while let Some(frame) = self.decoder.next(&mut input).unwrap() {
                let ping = (frame.tag.0 == 3).then(|| v1::Ping::decode(frame.payload).unwrap());
                self.events.push(match (self.session.handle_frame(now, frame), ping) {
                    (Ok(event), _) => event,
                    // Bytes were sent that the session does not know of.
                    (Err(Fault::Acknowledged(_)), Some(ping)) => Event::Ping(ping),
                    (Err(fault), _) => panic!("{fault}"),
                });
            }
            self.flush();
        }
    }

    /// Waits for an event that `pick` wants; others are passed over.
    pub fn wait<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(picked) = pick(self.next().expect("the session goes on")) {
                return picked;
            }
            assert!(start.elapsed() < PATIENCE, "only other things came");
        }
    }

    /// The next message of the game.
    pub fn message(&mut self) -> (Option<u32>, Tag, Vec<u8>) {
        self.wait(|event| match event {
            Event::Message { sender, tag, payload } => Some((sender, tag, payload.to_vec())),
            _ => None,
        })
    }

    pub fn mouse(&mut self) -> (u32, arena::MouseEvent) {
        let (sender, tag, payload) = self.message();
        assert_eq!(tag, arena::MouseEvent::TAG);
        (sender.unwrap(), arena::MouseEvent::decode(payload.as_slice()).unwrap())
    }

    /// Waits for the end.
    pub fn ended(&mut self) -> Ended {
        let start = Instant::now();
        loop {
            if let Err(ended) = self.next() {
                return ended;
            }
            assert!(start.elapsed() < PATIENCE, "the session goes on");
        }
    }

    pub fn send<M: Message>(&mut self, message: &M) {
        self.session.send(message).unwrap();
        self.flush();
    }

    /// Loses the connection, as where a cable is pulled that was in the way.
    pub fn lose(&mut self) {
        self.stream.lose();
        self.session.disconnect();
    }

    /// Connects again and asks for the session that there was, whose last connection may still be open.
    pub fn come_back(&mut self, address: SocketAddr) -> Result<v1::Welcome, Ended> {
        self.come_back_by(End::connect(address))
    }

    /// By whichever way.
    pub fn come_back_by(&mut self, stream: End) -> Result<v1::Welcome, Ended> {
        self.session.disconnect();
        (self.stream, self.decoder) = (stream, Decoder::default());
        let taken = std::mem::take(&mut self.events);
        self.session.connect(self.now());
        self.flush();
        match self.next()? {
            Event::Welcome(welcome) => {
                // What was handled before comes before.
                self.events.splice(0..0, taken);
                Ok(welcome)
            }
            other => panic!("first came {other:?}"),
        }
    }

    fn now(&self) -> Now {
        let monotonic_us = self.start.elapsed().as_micros() as u64;
        Now { monotonic_us, unix_us: 1 + monotonic_us }
    }

    /// Goes for good.
    pub fn leave(mut self) {
        self.session.close(CloseCode::NORMAL, "");
        self.flush();
    }

    /// Writes what the session wants to send. The server may be gone already.
    pub fn flush(&mut self) {
        while !self.session.unwritten().is_empty() {
            let out = self.session.unwritten();
            let _ = self.stream.write_all(out);
            let count = out.len();
            self.session.wrote(count);
        }
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn request<M: Message>(&mut self, message: &M) -> v1::Response {
        let key = self.session.request(message).unwrap();
        self.flush();
        self.wait(|event| match event {
            Event::Response(response) if response.key == key => Some(response),
            _ => None,
        })
    }

    pub fn join(&mut self, room: &str) -> v1::Response {
        self.request(&v1::JoinRoom { room: room.to_string() })
    }
}
