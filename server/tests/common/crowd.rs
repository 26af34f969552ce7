//! Many clients at once, cheap enough for thousands: tasks on few threads, the conversation by `ClientSession`.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tagwire::frame::Decoder;
use tagwire::pb::tagwire::v1::{self, status};
use tagwire::prost::Message as _;
use tagwire::session::Fault;
use tagwire::session::client::{ClientSession, Credentials, Event};
use tagwire::session::outbox::OutboxLimits;
use tagwire::time::Now;
use tagwire::{CloseCode, Schema};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{Ended, PATIENCE, frame};

/// What all clients of a crowd have seen together, while it goes on.
#[derive(Debug, Default)]
pub struct Counts {
    pub messages: AtomicU64,
    pub pings: AtomicU64,
}

pub struct Crowd {
    pub runtime: Runtime,
    pub counts: Arc<Counts>,
    /// Once cancelled, every client closes its socket.
    pub leave: CancellationToken,
    schema: Arc<Schema>,
    start: Instant,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server's orderly end.
    Eof,
    /// A reset, seen by a read or by a write.
    Reset,
    /// The client's own will.
    Left,
}

/// What one client has seen.
#[derive(Debug)]
pub struct Seen {
    pub name: String,
    pub messages: u64,
    pub pings: u64,
    /// Between two pings of the server, or the last and the end.
    pub longest_gap: Duration,
    /// The server's last words.
    pub told: Option<Ended>,
    pub end: End,
}

/// What a client says by itself.
pub struct Talk {
    pub every: Duration,
    /// The encoded frame; it is given microseconds of the crowd's clock.
    pub next: Box<dyn FnMut(u64) -> Vec<u8> + Send>,
}

pub struct Client {
    /// So long it looks away after a read, as a game does that reads once a picture.
    pub nap: Duration,
    stream: TcpStream,
    name: String,
    /// `None`: a classic client, which owes no answer to anything.
    session: Option<ClientSession>,
    decoder: Decoder,
    /// Not yet taken by the socket.
    out: Vec<u8>,
    start: Instant,
    counts: Arc<Counts>,
    leave: CancellationToken,
    messages: u64,
    pings: u64,
    last_ping: Option<Instant>,
    longest_gap: Duration,
    told: Option<Ended>,
    end: Option<End>,
}

impl Crowd {
    pub fn new(threads: usize) -> Self {
        Self::with_schema(threads, super::unlimited_schema())
    }

    /// Clients whose stubs were made from this schema.
    pub fn with_schema(threads: usize, schema: Schema) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Crowd {
            runtime: builder.worker_threads(threads).thread_name("crowd").enable_all().build().unwrap(),
            counts: Arc::default(),
            leave: CancellationToken::new(),
            schema: Arc::new(schema),
            start: Instant::now(),
        }
    }

    /// Microseconds on the clock by which all of its clients go.
    pub fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// A connected client that has said nothing. `receive_bytes`: the size of its socket's buffer, if not the
    /// system's.
    pub async fn connect(&self, address: SocketAddr, name: &str, receive_bytes: Option<u32>) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = timeout(PATIENCE, socket.connect(address)).await.expect("connected").unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            nap: Duration::ZERO,
            stream,
            name: name.to_string(),
            session: None,
            decoder: Decoder::default(),
            out: vec![],
            start: self.start,
            counts: Arc::clone(&self.counts),
            leave: self.leave.clone(),
            messages: 0,
            pings: 0,
            last_ping: None,
            longest_gap: Duration::ZERO,
            told: None,
            end: None,
        }
    }

    /// A client of this protocol that has sent its login; it waits for nothing.
    pub async fn native(&self, address: SocketAddr, name: &str) -> Client {
        let client = self.connect(address, name, None).await;
        self.login(client)
    }

    pub fn login(&self, mut client: Client) -> Client {
        let credentials = Credentials {
            username: client.name.clone(),
            password: "welcome".to_string(),
            ..Credentials::default()
        };
        let schema = Arc::clone(&self.schema);
        let mut session = ClientSession::new(schema, credentials, OutboxLimits::default());
        session.connect(client.now());
        client.session = Some(session);
        client.write();
        client
    }

    /// A client of the reference that has sent its login.
    pub async fn classic(&self, address: SocketAddr, name: &str) -> Client {
        let mut client = self.connect(address, name, None).await;
        client.send(&frame(&v1::PlayerLogin {
            username: name.to_string(),
            password: "welcome".to_string(),
            ..Default::default()
        }));
        client
    }

    /// Lets a client live to its end; see [`Client::run`].
    pub fn spawn(
        &self,
        client: Client,
        talk: Option<Talk>,
        on: impl FnMut(u64, &Event) + Send + 'static,
    ) -> JoinHandle<Seen> {
        self.runtime.spawn(client.run(talk, on))
    }

    /// Waits for all of them to end.
    pub fn ended(&self, clients: Vec<JoinHandle<Seen>>) -> Vec<Seen> {
        self.runtime.block_on(async {
            let mut all = Vec::with_capacity(clients.len());
            for client in clients {
                all.push(timeout(2 * PATIENCE, client).await.expect("it ends").unwrap());
            }
            all
        })
    }
}

impl Client {
    fn now(&self) -> Now {
        let monotonic_us = self.start.elapsed().as_micros() as u64;
        Now { monotonic_us, unix_us: 1 + monotonic_us }
    }

    /// Sends bytes, now or when the socket takes them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.write();
    }

    fn write(&mut self) {
        if let Some(session) = &mut self.session {
            take_unwritten(session, &mut self.out);
        }
        while !self.out.is_empty() && self.end.is_none() {
            match self.stream.try_write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.end = Some(End::Reset),
            }
        }
    }

    /// One read, and every event of it.
    fn read(&mut self, on: &mut impl FnMut(u64, &Event)) {
        // On the stack of the thread, not in every client.
        let mut buffer = [0; 16 * 1024];
        let count = match self.stream.try_read(&mut buffer) {
            Ok(0) => return self.end = Some(End::Eof),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.end = Some(End::Reset),
        };
        let now = self.now();
        let mut input = &buffer[..count];
        if let Some(session) = &self.session {
            self.decoder.set_limits(session.decoder_limits());
        }
        while let Some(frame) = self.decoder.next(&mut input).unwrap() {
            let Some(session) = &mut self.session else {
                match frame.tag.0 {
                    3 => Self::pinged(
                        &self.counts,
                        &mut self.pings,
                        &mut self.last_ping,
                        &mut self.longest_gap,
                    ),
                    _ => self.messages += 1,
                }
                continue;
            };
            let ping = (frame.tag.0 == 3).then(|| v1::Ping::decode(frame.payload).unwrap());
            let event = match (session.handle_frame(now, frame), ping) {
                (Ok(event), _) => event,
                // Bytes were sent that the session does not know of.
                (Err(Fault::Acknowledged(_)), Some(ping)) => Event::Ping(ping),
                (Err(fault), _) => panic!("{fault}"),
            };
            on(now.monotonic_us, &event);
            match event {
                Event::Message { .. } => {
                    self.messages += 1;
                    self.counts.messages.fetch_add(1, Ordering::Relaxed);
                }
                Event::Ping(ping) if ping.sent_epoch != 0 => {
                    Self::pinged(&self.counts, &mut self.pings, &mut self.last_ping, &mut self.longest_gap);
                }
                Event::Disconnect { code, reason, retry_after_ms, findings, refused } => {
                    self.told = Some(Ended { code: Some(code), reason, retry_after_ms, findings, refused });
                    // Whoever heard this says no more.
                    self.out.clear();
                }
                _ => {}
            }
        }
        self.write();
    }

    fn pinged(counts: &Counts, pings: &mut u64, last: &mut Option<Instant>, longest: &mut Duration) {
        *pings += 1;
        counts.pings.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if let Some(last) = last.replace(now) {
            *longest = (*longest).max(now - last);
        }
    }

    /// Reads until `pick` finds what it wants. `None`: the connection ended.
    pub async fn wait<T>(&mut self, mut pick: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        let mut picked = None;
        while picked.is_none() && self.end.is_none() {
            self.stream.readable().await.unwrap();
            self.read(&mut |_, event| picked = picked.take().or_else(|| pick(event)));
        }
        picked
    }

    /// Waits for the answer to the login; false: it did not come in.
    pub async fn welcomed(&mut self) -> bool {
        self.wait(|event| matches!(event, Event::Welcome(_)).then_some(())).await.is_some()
    }

    pub async fn join(&mut self, room: &str) {
        let session = self.session.as_mut().expect("classic clients stay where they are");
        let key = session.request(&v1::JoinRoom { room: room.to_string() }).unwrap();
        self.write();
        let answer = self.wait(|event| match event {
            Event::Response(response) if response.key == key => Some(response.status),
            _ => None,
        });
        assert_eq!(answer.await, Some(i32::from(status::Value::Ok)));
    }

    /// Reads, answers and talks until the end; `on` sees every event and the time, and costs no classic client
    /// anything.
    pub async fn run(mut self, talk: Option<Talk>, mut on: impl FnMut(u64, &Event)) -> Seen {
        let leave = self.leave.clone();
        let mut awake = Instant::now();
        let mut talk = talk.map(|talk| {
            let mut ticks = interval(talk.every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (ticks, talk.next)
        });
        let end = loop {
            if let Some(end) = self.end {
                break end;
            }
            let full = !self.out.is_empty();
            tokio::select! {
                ready = readable(&self.stream, awake, self.nap) => match ready {
                    Ok(()) => {
                        self.read(&mut on);
                        awake = Instant::now() + self.nap;
                    }
                    Err(_) => break End::Reset,
                },
                ready = self.stream.writable(), if full => match ready {
                    Ok(()) => self.write(),
                    Err(_) => break End::Reset,
                },
                () = tick(&mut talk), if talk.is_some() && !full && self.told.is_none() => {
                    let now = self.start.elapsed().as_micros() as u64;
                    let frame = talk.as_mut().map(|(_, next)| next(now)).unwrap_or_default();
                    self.send(&frame);
                }
                () = leave.cancelled() => {
                    if let Some(session) = &mut self.session {
                        session.close(CloseCode::NORMAL, "");
                        self.write();
                    }
                    break End::Left;
                }
            }
        };
        if let Some(last) = self.last_ping {
            self.longest_gap = self.longest_gap.max(last.elapsed());
        }
        let Client { name, messages, pings, longest_gap, told, .. } = self;
        Seen { name, messages, pings, longest_gap, told, end }
    }
}

fn take_unwritten(session: &mut ClientSession, out: &mut Vec<u8>) {
    while !session.unwritten().is_empty() {
        let count = session.unwritten().len();
        out.extend_from_slice(session.unwritten());
        session.wrote(count);
    }
}

async fn readable(stream: &TcpStream, awake: Instant, nap: Duration) -> io::Result<()> {
    if !nap.is_zero() {
        sleep_until(awake.into()).await;
    }
    stream.readable().await
}

async fn tick<T>(talk: &mut Option<(Interval, T)>) {
    if let Some((ticks, _)) = talk {
        ticks.tick().await;
    }
}

/// The value below which `percent` of the values are.
pub fn percentile(values: &mut [u64], percent: usize) -> u64 {
    values.sort_unstable();
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// How many were told which code and saw which end, for printing.
pub fn endings(seen: &[Seen]) -> std::collections::BTreeMap<(Option<CloseCode>, &'static str), usize> {
    let mut endings = std::collections::BTreeMap::new();
    for one in seen {
        let end = match one.end {
            End::Eof => "EOF",
            End::Reset => "reset",
            End::Left => "left",
        };
        *endings.entry((one.told.as_ref().and_then(|told| told.code), end)).or_default() += 1;
    }
    endings
}
