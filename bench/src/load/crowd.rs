//! All clients of a run, and what they do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context as _, bail};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::cpu::now_ns;
use crate::dialect::{Dialect, Heard, Say};

const EVENTS: usize = 1024;
const READ_BYTES: usize = 256 * 1024;
/// Clients come from so many addresses: when half of the ports of one are taken, the kernel takes milliseconds to find another that is free.
const ADDRESSES: usize = 16;
/// A segment of TCP where packets have 1,500 bytes.
const THIN_SEGMENT_BYTES: u32 = 1460;
/// What the kernel keeps for a client on a thin line.
const THIN_BUFFER_BYTES: usize = 4096;

/// What happens in a workload. Clients are known by their place in the crowd.
pub trait Play {
    /// A body came, at `now_ns`.
    fn heard(&mut self, who: usize, body: &[u8], now_ns: u64);

    /// A ping came, and was answered.
    fn pinged(&mut self, _who: usize) {}

    /// All that a read brought was heard: the client, and others, may say something.
    fn turn(&mut self, _who: usize, _crowd: &mut Crowd) {}

    /// Says what is due, and when something is again. Called first when the play begins.
    fn due(&mut self, _now_ns: u64, _crowd: &mut Crowd) -> Option<u64> {
        None
    }

    /// It may end before its time.
    fn is_done(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct Client {
    socket: TcpStream,
    dialect: Box<dyn Dialect>,
    rest: Vec<u8>,
    out: Vec<u8>,
    is_dirty: bool,
    is_full: bool,
    is_ready: bool,
    /// It reads only when it is told to.
    is_slow: bool,
    /// It heard something since [`Crowd::listen`].
    has_heard: bool,
}

/// Clients with their sockets.
#[derive(Debug)]
pub struct Crowd {
    epoll: OwnedFd,
    port: u16,
    clients: Vec<Client>,
    dirty: Vec<usize>,
    ready: usize,
    scratch: Vec<u8>,
    failed: Option<anyhow::Error>,
    idle_ns: u64,
    heard_ns: u64,
    longest_silence_ns: u64,
}

impl Crowd {
    /// Nobody yet, for the server at that port of 127.0.0.1.
    ///
    /// # Errors
    /// The kernel has no epoll for us.
    pub fn new(port: u16) -> anyhow::Result<Self> {
        Ok(Crowd {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            port,
            clients: vec![],
            dirty: vec![],
            ready: 0,
            scratch: vec![0; READ_BYTES],
            failed: None,
            idle_ns: 0,
            heard_ns: 0,
            longest_silence_ns: 0,
        })
    }

    /// Another client connects, and says what it says first at the next turn.
    ///
    /// # Errors
    /// It cannot connect.
    pub fn connect(&mut self, dialect: Box<dyn Dialect>) -> anyhow::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        self.connect_by(socket, dialect)
    }

    /// The same for one on a thin line: its packets are as on a network, not as on loopback, and little of what it does not read waits in
    /// the sockets of both sides, where megabytes would have room.
    ///
    /// # Errors
    /// It cannot connect.
    pub fn connect_thinly(&mut self, dialect: Box<dyn Dialect>) -> anyhow::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_mss(THIN_SEGMENT_BYTES)?;
        socket.set_recv_buffer_size(THIN_BUFFER_BYTES)?;
        self.connect_by(socket, dialect)
    }

    fn connect_by(&mut self, socket: Socket, mut dialect: Box<dyn Dialect>) -> anyhow::Result<()> {
        let who = self.clients.len();
        let address = Ipv4Addr::new(127, 0, 0, 2 + (who % ADDRESSES) as u8);
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into()).context("connect")?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll::add(&self.epoll, &socket, EventData::new_u64(who as u64), EventFlags::IN)?;
        let mut out = Vec::new();
        dialect.open(&mut out);
        self.clients.push(Client {
            socket,
            dialect,
            rest: vec![],
            out,
            is_dirty: false,
            is_full: false,
            is_ready: false,
            is_slow: false,
            has_heard: false,
        });
        self.touch(who);
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// How long there was nothing to do, in all plays, nanoseconds.
    pub fn idle_ns(&self) -> u64 {
        self.idle_ns
    }

    /// From now on is known who hears something, and how long nobody does.
    pub fn listen(&mut self) {
        (self.heard_ns, self.longest_silence_ns) = (now_ns(), 0);
        self.clients.iter_mut().for_each(|client| client.has_heard = false);
    }

    /// The longest time in which nobody heard anything, since [`Crowd::listen`], nanoseconds.
    pub fn longest_silence_ns(&self) -> u64 {
        self.longest_silence_ns.max(now_ns().saturating_sub(self.heard_ns))
    }

    /// Whether a client heard something since [`Crowd::listen`].
    pub fn has_heard(&self, who: usize) -> bool {
        self.clients[who].has_heard
    }

    /// True where there is nobody.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many are not in yet.
    pub fn entering(&self) -> usize {
        self.clients.len() - self.ready
    }

    /// True when all are in.
    pub fn is_ready(&self) -> bool {
        self.ready == self.clients.len()
    }

    /// Cuts all connections. What opens the sessions again.
    ///
    /// # Errors
    /// The server has no such thing.
    pub fn cut(&mut self) -> anyhow::Result<Vec<Box<dyn Dialect>>> {
        self.dirty.clear();
        self.ready = 0;
        let resumed = |client: Client| client.dialect.resumed().context("sessions cannot be resumed");
        self.clients.drain(..).map(resumed).collect()
    }

    /// A client says something, which is written at the end of the turn.
    pub fn say(&mut self, who: usize, what: Say, body: &[u8]) {
        let client = &mut self.clients[who];
        client.dialect.say(what, body, &mut client.out);
        self.touch(who);
    }

    /// Ends the play with that.
    pub fn fail(&mut self, error: anyhow::Error) {
        self.failed.get_or_insert(error);
    }

    /// From now on the client reads only when [`Crowd::read_slowly`] is called.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn slow_down(&mut self, who: usize) -> anyhow::Result<()> {
        self.clients[who].is_slow = true;
        self.watch(who)
    }

    /// Reads at most so many bytes.
    ///
    /// # Errors
    /// The server has ended the connection, or said something that cannot be.
    pub fn read_slowly<P: Play + ?Sized>(
        &mut self,
        who: usize,
        bytes: usize,
        play: &mut P,
    ) -> anyhow::Result<()> {
        self.read(who, bytes, play)
    }

    fn touch(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if !client.is_dirty && !client.is_full {
            client.is_dirty = true;
            self.dirty.push(who);
        }
    }

    fn watch(&self, who: usize) -> anyhow::Result<()> {
        let client = &self.clients[who];
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, !client.is_slow);
        flags.set(EventFlags::OUT, client.is_full);
        epoll::modify(&self.epoll, &client.socket, EventData::new_u64(who as u64), flags)?;
        Ok(())
    }

    /// Plays until `end_ns`, or until it is done. It never sleeps: a server that writes to a client that sleeps pays for waking
    /// it, and the slower it is the more often, which no client on another machine would cost it.
    ///
    /// # Errors
    /// The server has ended a connection, or said something that cannot be.
    pub fn play<P: Play + ?Sized>(&mut self, play: &mut P, end_ns: u64) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut due = play.due(now_ns(), self);
        self.write_dirty()?;
        loop {
            let now = now_ns();
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if now >= end_ns || play.is_done() {
                return Ok(());
            }
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::default())) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll"),
            }
            if events.is_empty() && due.is_none_or(|due| now < due) {
                self.idle_ns += now_ns() - now;
                continue;
            }
            for event in &events {
                let (who, flags) = (event.data.u64() as usize, event.flags);
                if flags.intersects(EventFlags::OUT) {
                    let client = &mut self.clients[who];
                    client.is_full = false;
                    self.watch(who)?;
                    self.touch(who);
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    self.read(who, READ_BYTES, play)?;
                    play.turn(who, self);
                }
            }
            if let Some(at) = due
                && now_ns() >= at
            {
                due = play.due(now_ns(), self);
            }
            self.write_dirty()?;
        }
    }

    fn read<P: Play + ?Sized>(&mut self, who: usize, bytes: usize, play: &mut P) -> anyhow::Result<()> {
        let client = &mut self.clients[who];
        let read = match client.socket.read(&mut self.scratch[..bytes]) {
            Ok(0) => bail!("the server closed the connection of client {who}"),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(error).with_context(|| format!("client {who}")),
        };
        let now = now_ns();
        let (mut became_ready, mut has_heard) = (false, false);
        let mut heard = |heard: Heard<'_>| match heard {
            Heard::Body(body) => {
                has_heard = true;
                play.heard(who, body, now);
            }
            Heard::Ping => {
                has_heard = true;
                play.pinged(who);
            }
            Heard::Ready => became_ready = true,
        };
        let (input, out) = (&self.scratch[..read], &mut client.out);
        let taken = if client.rest.is_empty() {
            client.dialect.take(input, out, &mut heard).map(|taken| client.rest.extend(&input[taken..]))
        } else {
            client.rest.extend_from_slice(input);
            let taken = client.dialect.take(&client.rest, out, &mut heard);
            taken.map(|taken| drop(client.rest.drain(..taken)))
        };
        taken.with_context(|| format!("client {who}"))?;
        if became_ready && !client.is_ready {
            client.is_ready = true;
            self.ready += 1;
        }
        if has_heard {
            client.has_heard = true;
            self.longest_silence_ns = self.longest_silence_ns.max(now.saturating_sub(self.heard_ns));
            self.heard_ns = now;
        }
        if !self.clients[who].out.is_empty() {
            self.touch(who);
        }
        Ok(())
    }

    fn write_dirty(&mut self) -> anyhow::Result<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for who in dirty.drain(..) {
            let client = &mut self.clients[who];
            client.is_dirty = false;
            client.dialect.flush(&mut client.out);
            if client.out.is_empty() {
                continue;
            }
            match client.socket.write(&client.out) {
                Ok(written) if written == client.out.len() => client.out.clear(),
                Ok(written) => drop(client.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).with_context(|| format!("client {who}")),
            }
            if !client.out.is_empty() {
                client.is_full = true;
                self.watch(who)?;
            }
        }
        self.dirty = dirty;
        Ok(())
    }
}

/// Nothing but the way in.
#[derive(Debug, Default)]
pub struct Entering;

impl Play for Entering {
    fn heard(&mut self, _: usize, _: &[u8], _: u64) {}
}

impl Crowd {
    /// Waits until all are in.
    ///
    /// # Errors
    /// Not all are by `end_ns`, or somebody was refused.
    pub fn enter(&mut self, end_ns: u64) -> anyhow::Result<()> {
        while !self.is_ready() {
            let now = now_ns();
            if now >= end_ns {
                bail!("only {} of {} clients got in, in time", self.ready, self.clients.len());
            }
            self.play(&mut Entering, end_ns.min(now + 2_000_000))?;
        }
        Ok(())
    }
}
