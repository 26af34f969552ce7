//! Clients that are driven by a dialect, one read after another.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tagwire_bench::dialect::{Dialect, Heard, Say, Seat};

/// Nothing on loopback takes longer, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn seat(number: u32, room: &str) -> Seat {
    Seat { number, name: format!("p{number}"), room: room.to_string(), sends: true, receives: true }
}

pub struct Client {
    stream: TcpStream,
    dialect: Box<dyn Dialect>,
    /// How much of what came the dialect gets to see at once.
    piece: usize,
    input: Vec<u8>,
    pub is_ready: bool,
    pub bodies: VecDeque<Vec<u8>>,
    pub pings: usize,
}

impl Client {
    pub fn connect(address: SocketAddr, mut dialect: Box<dyn Dialect>, piece: usize) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut out = vec![];
        dialect.open(&mut out);
        stream.write_all(&out).unwrap();
        Client { stream, dialect, piece, input: vec![], is_ready: false, bodies: VecDeque::new(), pings: 0 }
    }

    /// One that is in.
    pub fn enter(address: SocketAddr, dialect: Box<dyn Dialect>, piece: usize) -> Self {
        let mut client = Self::connect(address, dialect, piece);
        client.read_until(|client| client.is_ready);
        client
    }

    pub fn say(&mut self, what: Say, body: &[u8]) {
        let mut out = vec![];
        self.dialect.say(what, body, &mut out);
        self.dialect.flush(&mut out);
        self.stream.write_all(&out).unwrap();
    }

    /// All of them in one write.
    pub fn say_all(&mut self, what: Say, bodies: &[Vec<u8>]) {
        let mut out = vec![];
        for body in bodies {
            self.dialect.say(what, body, &mut out);
        }
        self.dialect.flush(&mut out);
        self.stream.write_all(&out).unwrap();
    }

    #[track_caller]
    pub fn read_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_enough(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "this never came; {} bodies and {} pings did",
                self.bodies.len(),
                self.pings
            );
            self.read().unwrap();
        }
    }

    /// What comes next are these bodies, in this order and unchanged.
    #[track_caller]
    pub fn hear(&mut self, bodies: &[Vec<u8>]) {
        self.read_until(|client| client.bodies.len() >= bodies.len());
        for (i, body) in bodies.iter().enumerate() {
            let heard = self.bodies.pop_front().unwrap();
            // Not printed: they are long.
            assert!(heard == *body, "body {i} of {} bytes is one of {}", body.len(), heard.len());
        }
    }

    /// How the server ended it.
    pub fn refusal(&mut self) -> String {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Err(error) = self.read() {
                return format!("{error:#}");
            }
        }
        panic!("nothing ended it");
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 65536];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => anyhow::bail!("the end"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => return Err(error.into()),
        };
        for piece in buffer[..count].chunks(self.piece) {
            self.input.extend_from_slice(piece);
            let Client { dialect, input, is_ready, bodies, pings, .. } = &mut *self;
            let mut out = vec![];
            let taken = dialect.take(input, &mut out, &mut |heard| match heard {
                Heard::Ready => {
                    assert!(!*is_ready, "ready twice");
                    *is_ready = true;
                }
                Heard::Body(body) => bodies.push_back(body.to_vec()),
                Heard::Ping => *pings += 1,
            })?;
            self.input.drain(..taken);
            self.stream.write_all(&out)?;
        }
        Ok(())
    }
}
