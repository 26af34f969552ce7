//! The other end of a client whose speed is measured: a server of one player that costs less than any client.
//!
//! It prints its port, takes one connection, lets everybody in, sends what `--bursts` says from the player's first message
//! on, and stays until the player leaves. What the player sends is counted and acknowledged as `docs/PROTOCOL.md` has it, never decoded; requests are
//! answered with the fields that they came with; there is a ping each second.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Parser;
use prost::Message as _;
use tagwire::frame::{Decoder, Frame, encode_message};
use tagwire::pb::tagwire::v1::{
    Disconnect, Limits, Member, Ping, PlayerLogin, Relayed, Request, Response, Welcome, member, status,
    verdict,
};
use tagwire::{Message, PROTOCOL_VERSION};
use tagwire_bench::body;
use tagwire_bench::schema::bench::v1::Cast;

/// Frames that go out by one write.
const BURST: u32 = 64;
/// The number of a player who is not the one that is measured.
const OTHER: u32 = 2;
/// After so much the other side is told what was handled: `docs/PROTOCOL.md`, "Counting".
const ACK_FRAMES: u64 = 256;
const ACK_BYTES: usize = 64 * 1024;
const PING_EVERY: Duration = Duration::from_secs(1);
/// What hangs ends by itself.
const GIVE_UP: Duration = Duration::from_secs(600);
const READ_BYTES: usize = 64 * 1024;

#[derive(Parser)]
#[command(about = "A server of one player, with which the speed of clients is measured; prints its port")]
struct Options {
    /// Send this many bursts of 64 messages of another player, each once the one before was read; 0: send none
    #[arg(long, default_value_t = 0)]
    bursts: u64,
    /// Write them so that each ends within a frame: by a prime number of bytes, the next after those of 64 messages
    #[arg(long)]
    cut: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port of this machine")?;
    println!("{}", listener.local_addr()?.port());
    let (stream, peer) = listener.accept().context("waiting for the client")?;
    stream.set_nodelay(true)?;
    let mut far_end = FarEnd::new(stream, peer, options.cut)?;
    // By its first message the client says that it is ready.
    while far_end.frames_received == 0 && !far_end.over {
        far_end.hear()?;
    }
    for _ in 0..options.bursts {
        if far_end.over {
            break;
        }
        far_end.burst()?;
    }
    while !far_end.over {
        far_end.hear()?;
    }
    Ok(())
}

struct FarEnd {
    stream: TcpStream,
    queue: ReceiveQueue,
    decoder: Decoder,
    input: Vec<u8>,
    out: Vec<u8>,
    /// 64 messages, where each ends, the bytes of one write, and where in the messages the next write begins.
    burst: Vec<u8>,
    ends: Vec<usize>,
    write_bytes: usize,
    burst_at: usize,
    frames_received: u64,
    unacked_frames: u64,
    unacked_bytes: usize,
    began: Instant,
    ping_at: Instant,
    /// The player is logged in.
    open: bool,
    /// The player has left.
    over: bool,
}

impl FarEnd {
    fn new(stream: TcpStream, peer: SocketAddr, cut: bool) -> anyhow::Result<FarEnd> {
        let (mut burst, mut ends) = (Vec::new(), Vec::new());
        for number in 0..BURST {
            let mut cast = Vec::new();
            body::body(now_us() * 1000, number, body::MIN_BYTES, &mut cast);
            let tag = u32::from(Cast::TAG.0);
            encode_message(&Relayed { player: OTHER, tag, body: cast.into() }, &mut burst);
            ends.push(burst.len());
        }
        let write_bytes = if cut { prime_from(burst.len()) } else { burst.len() };
        let queue = ReceiveQueue::of(peer, stream.local_addr()?)?;
        let now = Instant::now();
        Ok(FarEnd {
            stream,
            queue,
            decoder: Decoder::default(),
            input: vec![0; READ_BYTES],
            out: Vec::new(),
            burst,
            ends,
            write_bytes,
            burst_at: 0,
            frames_received: 0,
            unacked_frames: 0,
            unacked_bytes: 0,
            began: now,
            ping_at: now + PING_EVERY,
            open: false,
            over: false,
        })
    }

    /// Writes 64 messages at once, or a little more that ends within one, and returns when the client has read them: so
    /// it gets them by one read, however fast either side is.
    fn burst(&mut self) -> anyhow::Result<()> {
        // What else is to be said goes where the message ends that the last write has cut.
        let held = std::mem::take(&mut self.out);
        let rest = self.rest_of_message();
        self.put_of_burst(rest);
        self.out.extend(held);
        self.put_of_burst(self.write_bytes - rest);
        self.write()?;
        let mut looks = 0_u32;
        while !self.queue.is_empty()? {
            looks += 1;
            if looks.is_multiple_of(256) {
                self.require_time()?;
            }
            std::thread::yield_now();
        }
        self.stream.set_nonblocking(true)?;
        let heard = self.hear();
        self.stream.set_nonblocking(false)?;
        heard
    }

    /// Reads once, and answers what came.
    fn hear(&mut self) -> anyhow::Result<()> {
        self.require_time()?;
        let until_ping = self.ping_at.saturating_duration_since(Instant::now());
        self.stream.set_read_timeout(Some(until_ping.max(Duration::from_millis(1))))?;
        match self.stream.read(&mut self.input) {
            Ok(0) => self.over = true,
            Ok(read) => self.take(read)?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.over = true,
            Err(error) => return Err(error).context("reading from the client"),
        }
        if self.open && Instant::now() >= self.ping_at {
            self.ping_at += PING_EVERY;
            self.put_ping(now_us());
        }
        self.flush()
    }

    fn take(&mut self, read: usize) -> anyhow::Result<()> {
        let input = std::mem::take(&mut self.input);
        let mut decoder = std::mem::take(&mut self.decoder);
        let mut rest = &input[..read];
        while let Some(frame) = decoder.next(&mut rest)? {
            self.handle(frame)?;
        }
        (self.input, self.decoder) = (input, decoder);
        if self.unacked_frames >= ACK_FRAMES || self.unacked_bytes >= ACK_BYTES {
            self.put_ping(0);
        }
        Ok(())
    }

    fn handle(&mut self, Frame { tag, payload }: Frame<'_>) -> anyhow::Result<()> {
        if tag == PlayerLogin::TAG {
            if self.open {
                bail!("the client logged in twice");
            }
            self.open = true;
            self.welcome(PlayerLogin::decode(payload)?);
            return Ok(());
        }
        if tag == Ping::TAG {
            return Ok(());
        }
        if tag == Disconnect::TAG {
            self.over = true;
            return Ok(());
        }
        self.frames_received += 1;
        self.unacked_frames += 1;
        self.unacked_bytes += payload.len();
        if tag == Request::TAG {
            let Request { key, tag, body } = Request::decode(payload)?;
            let status = status::Value::Ok.into();
            encode_message(&Response { key, tag, status, body, ..Response::default() }, &mut self.out);
        }
        Ok(())
    }

    /// Lets the client in, with a session that can be resumed: it has to keep what it sends.
    fn welcome(&mut self, login: PlayerLogin) {
        let fingerprint = login.client.map(|client| client.fingerprint).unwrap_or_default();
        let welcome = Welcome {
            session_id: 1,
            player_id: 1,
            name: login.username,
            protocol: PROTOCOL_VERSION,
            resume_token: vec![7; 24].into(),
            fingerprint,
            verdict: verdict::Value::Same.into(),
            ping_interval_ms: 1000,
            resume_window_ms: 60_000,
            limits: Some(Limits { max_frame_bytes: 64 * 1024, ..Limits::default() }),
            server_time_us: now_us(),
            room: "main".to_owned(),
            ..Welcome::default()
        };
        encode_message(&welcome, &mut self.out);
        let event = member::event::Value::Present.into();
        let other = Member { player: OTHER, name: "other".to_owned(), event };
        encode_message(&other, &mut self.out);
    }

    /// Asks for a sign of life at `sent_epoch`, or, with 0, for none; either acknowledges what was handled.
    fn put_ping(&mut self, sent_epoch: u64) {
        self.unacked_frames = 0;
        self.unacked_bytes = 0;
        let frames_received = self.frames_received;
        encode_message(&Ping { sent_epoch, frames_received, rtt_us: 100, ..Ping::default() }, &mut self.out);
    }

    fn put_of_burst(&mut self, bytes: usize) {
        self.out.extend(self.burst.iter().cycle().skip(self.burst_at).take(bytes));
        self.burst_at = (self.burst_at + bytes) % self.burst.len();
    }

    /// How much the other side has not got yet of a message that it has got the beginning of.
    fn rest_of_message(&self) -> usize {
        let begun = |&&end: &&usize| end >= self.burst_at;
        if self.burst_at == 0 { 0 } else { self.ends.iter().find(begun).map_or(0, |end| end - self.burst_at) }
    }

    /// Writes what there is to say, unless that would be within a message: then the next burst does.
    fn flush(&mut self) -> anyhow::Result<()> {
        if self.out.is_empty() || self.rest_of_message() > 0 { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        match self.stream.write_all(&self.out) {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.over = true;
            }
            written => written.context("writing to the client")?,
        }
        self.out.clear();
        Ok(())
    }

    fn require_time(&self) -> anyhow::Result<()> {
        if self.began.elapsed() > GIVE_UP {
            bail!("the client has not left after {} s", GIVE_UP.as_secs());
        }
        Ok(())
    }
}

/// What the kernel holds for a socket of this machine that its program has not read yet.
struct ReceiveQueue {
    /// Its two ends, as its line in the kernel's table has them.
    ends: String,
}

impl ReceiveQueue {
    fn of(socket: SocketAddr, peer: SocketAddr) -> anyhow::Result<ReceiveQueue> {
        Ok(ReceiveQueue { ends: format!(": {} {} ", table_address(socket)?, table_address(peer)?) })
    }

    /// Reads `/proc/net/tcp` (Linux), where the state and `tx_queue:rx_queue` in hexadecimal digits follow the ends.
    fn is_empty(&self) -> anyhow::Result<bool> {
        let table = std::fs::read_to_string("/proc/net/tcp").context("reading the table of TCP sockets")?;
        let Some((_, line)) = table.split_once(&self.ends) else { return Ok(true) };
        let queues = line.split_ascii_whitespace().nth(1).unwrap_or_default();
        Ok(queues.split_once(':').is_none_or(|(_, received)| received.bytes().all(|digit| digit == b'0')))
    }
}

fn table_address(address: SocketAddr) -> anyhow::Result<String> {
    let SocketAddr::V4(address) = address else { bail!("{address} is not IPv4") };
    Ok(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
}

/// The first prime number that is not less.
fn prime_from(number: usize) -> usize {
    (number..).find(|&one| (2..one).take_while(|by| by * by <= one).all(|by| one % by != 0)).unwrap_or(number)
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
