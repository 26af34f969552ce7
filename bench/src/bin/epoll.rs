//! The limit: one thread and epoll. It frames what comes and copies it to whom it is for, once a wait; it decodes nothing, checks
//! nothing, limits nothing. What a server does beyond this is what its features cost.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tagwire_bench::dialect::plain::{ENTER, PING, next};

/// A single-threaded epoll server that frames and never decodes.
#[derive(Debug, Parser)]
struct Args {
    /// Port of 127.0.0.1 to listen on.
    #[arg(long)]
    port: u16,
    /// Ping each client so often, milliseconds. 0: never.
    #[arg(long, default_value_t = 0)]
    ping_ms: u64,
}

const LISTENER: u64 = u64::MAX;
const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;
/// Clients are pinged in so many groups, one after the other.
const PING_GROUPS: usize = 20;

#[derive(Debug)]
struct Client {
    socket: TcpStream,
    room: Option<usize>,
    /// The part of a frame that the last read ended in.
    rest: Vec<u8>,
    out: Vec<u8>,
    is_dirty: bool,
    /// The socket is full: it is written again when epoll says so.
    is_full: bool,
}

#[derive(Debug)]
struct Server {
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    rooms: HashMap<Vec<u8>, usize>,
    members: Vec<Vec<usize>>,
    dirty: Vec<usize>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    listener.set_reuse_address(true)?;
    listener.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)).into())?;
    listener.listen(4096)?;
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    Server {
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        clients: vec![],
        free: vec![],
        rooms: HashMap::new(),
        members: vec![],
        dirty: vec![],
    }
    .serve(&listener, Duration::from_millis(args.ping_ms))
}

impl Server {
    fn serve(&mut self, listener: &TcpListener, ping: Duration) -> anyhow::Result<()> {
        epoll::add(&self.epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let mut scratch = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(EVENTS);
        let step = ping / PING_GROUPS as u32;
        let (mut next_ping, mut group) = (Instant::now() + step, 0);
        loop {
            let timeout = (!ping.is_zero()).then(|| {
                let left = next_ping.saturating_duration_since(Instant::now());
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
            });
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref())?;
            for event in &events {
                let (flags, number) = (event.flags, event.data.u64());
                match number {
                    LISTENER => self.accept(listener)?,
                    number if flags.contains(EventFlags::OUT) => self.writable(number as usize)?,
                    number => self.read(number as usize, &mut scratch)?,
                }
            }
            if !ping.is_zero() && Instant::now() >= next_ping {
                next_ping += step;
                self.ping(group);
                group = (group + 1) % PING_GROUPS;
            }
            let mut dirty = std::mem::take(&mut self.dirty);
            for number in dirty.drain(..) {
                self.write(number)?;
            }
            self.dirty = dirty;
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> anyhow::Result<()> {
        loop {
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accept"),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let number = self.free.pop().unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), EventFlags::IN)?;
            let client =
                Client { socket, room: None, rest: vec![], out: vec![], is_dirty: false, is_full: false };
            self.clients[number] = Some(client);
        }
    }

    fn read(&mut self, number: usize, scratch: &mut [u8]) -> anyhow::Result<()> {
        let Some(client) = &mut self.clients[number] else { return Ok(()) };
        let read = match client.socket.read(scratch) {
            Ok(0) => return self.close(number),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(_) => return self.close(number),
        };
        let rest = std::mem::take(&mut client.rest);
        if rest.is_empty() {
            let taken = self.take(number, &scratch[..read]);
            self.keep(number, &scratch[taken..read]);
        } else {
            let whole = [&rest, &scratch[..read]].concat();
            let taken = self.take(number, &whole);
            self.keep(number, &whole[taken..]);
        }
        Ok(())
    }

    fn keep(&mut self, number: usize, rest: &[u8]) {
        if let Some(client) = &mut self.clients[number]
            && !rest.is_empty()
        {
            client.rest = rest.to_vec();
        }
    }

    /// Does what the whole frames ask; how many bytes they were.
    fn take(&mut self, from: usize, input: &[u8]) -> usize {
        let mut at = 0;
        while let Some((tag, payload, bytes)) = next(&input[at..]) {
            let frame = &input[at..at + bytes];
            let room = self.clients[from].as_ref().and_then(|client| client.room);
            match u8::try_from(tag) {
                Ok(ENTER) => {
                    self.enter(from, payload);
                    self.append(from, frame);
                }
                Ok(PING) => {}
                Ok(8) => self.append(from, frame),
                Ok(tag) => {
                    for at in 0..room.map_or(0, |room| self.members[room].len()) {
                        let to = self.members[room.unwrap_or(0)][at];
                        if tag == 2 || to != from {
                            self.append(to, frame);
                        }
                    }
                }
                Err(_) => {}
            }
            at += bytes;
        }
        at
    }

    fn enter(&mut self, number: usize, name: &[u8]) {
        let room = *self.rooms.entry(name.to_vec()).or_insert_with(|| {
            self.members.push(vec![]);
            self.members.len() - 1
        });
        self.members[room].push(number);
        if let Some(client) = &mut self.clients[number] {
            client.room = Some(room);
        }
    }

    fn append(&mut self, to: usize, frame: &[u8]) {
        let Some(client) = &mut self.clients[to] else { return };
        client.out.extend_from_slice(frame);
        if !client.is_dirty && !client.is_full {
            client.is_dirty = true;
            self.dirty.push(to);
        }
    }

    fn write(&mut self, number: usize) -> anyhow::Result<()> {
        let Some(client) = &mut self.clients[number] else { return Ok(()) };
        client.is_dirty = false;
        match client.socket.write(&client.out) {
            Ok(written) if written == client.out.len() => client.out.clear(),
            Ok(written) => drop(client.out.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return self.close(number),
        }
        let is_full = !client.out.is_empty();
        if is_full != client.is_full {
            client.is_full = is_full;
            let flags = if is_full { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(&self.epoll, &client.socket, EventData::new_u64(number as u64), flags)?;
        }
        Ok(())
    }

    fn writable(&mut self, number: usize) -> anyhow::Result<()> {
        if let Some(client) = &mut self.clients[number]
            && !client.is_dirty
        {
            client.is_dirty = true;
            self.dirty.push(number);
        }
        Ok(())
    }

    fn ping(&mut self, group: usize) {
        let mut frame = vec![8, PING];
        frame.extend_from_slice(&[7; 8]);
        for number in (group..self.clients.len()).step_by(PING_GROUPS) {
            self.append(number, &frame);
        }
    }

    fn close(&mut self, number: usize) -> anyhow::Result<()> {
        if let Some(client) = self.clients[number].take() {
            epoll::delete(&self.epoll, &client.socket)?;
            if let Some(room) = client.room {
                self.members[room].retain(|member| *member != number);
            }
            self.free.push(number);
        }
        Ok(())
    }
}
