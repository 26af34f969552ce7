//! A server under attack: the honest players who stay all along, and what the server holds before and after.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tagwire::frame::Decoder;
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire::session::client::Event;
use tagwire::{CloseCode, PROTOCOL_VERSION, Tag};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::crowd::{Crowd, End, Seen, Talk};
use super::program::Program;
use super::{PATIENCE, Raw, frame, is_long, mouse};

const HONEST: usize = 4;
/// Chat may be said five times a second.
const CHAT_EVERY: Duration = Duration::from_millis(250);
/// What memory may be more afterwards in a quick run, besides a tenth, KiB: glibc keeps some of what is freed in blocks
/// of 64 KiB and more, once it has raised the size from which it maps each by itself (mallopt(3)); with
/// MALLOC_MMAP_THRESHOLD_=65536 it comes back. In a long run the warm-up is large enough to have it all before.
const KEPT_KIB: u64 = 4 << 10;
/// Those of the warm-up that share a room.
const WARM_ROOM: usize = 10;
/// Those of the warm-up that log in at the same time.
const WARM_AT_ONCE: usize = 100;

/// Players in a room of their own who chat all along.
struct Honest {
    crowd: Crowd,
    players: Vec<JoinHandle<Seen>>,
    talking: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    /// What did not come in its turn.
    faults: Arc<Mutex<Vec<String>>>,
    /// The longest between two Pings since the last attack, microseconds.
    gap_us: Arc<AtomicU64>,
}

impl Honest {
    fn start(address: SocketAddr) -> Self {
        let crowd = Crowd::new(1);
        let clients = crowd.runtime.block_on(async {
            let mut clients = vec![];
            for i in 0..HONEST {
                let mut client = crowd.native(address, &format!("honest{i}")).await;
                assert!(client.welcomed().await);
                client.join("honest").await;
                clients.push(client);
            }
            clients
        });
        let (talking, sent) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let faults: Arc<Mutex<Vec<String>>> = Arc::default();
        let gap_us = Arc::new(AtomicU64::new(0));
        let players = clients.into_iter().map(|client| {
            let (talking, sent, mut said) = (Arc::clone(&talking), Arc::clone(&sent), 0);
            let next = Box::new(move |_| {
                if !talking.load(Ordering::Relaxed) {
                    return vec![];
                }
                sent.fetch_add(1, Ordering::Relaxed);
                said += 1;
                frame(&arena::Chat { text: said.to_string() })
            });
            let (faults, mut heard) = (Arc::clone(&faults), HashMap::<_, u64>::new());
            let (gap_us, mut pinged_us) = (Arc::clone(&gap_us), None);
            crowd.spawn(client, Some(Talk { every: CHAT_EVERY, next }), move |now_us, event| match event {
                Event::Message { sender, payload, .. } => {
                    let last = heard.entry(*sender).or_default();
                    *last += 1;
                    let chat = arena::Chat::decode(payload.clone());
                    if !chat.as_ref().is_ok_and(|chat| chat.text == last.to_string()) {
                        faults.lock().unwrap().push(format!("{chat:?} of {sender:?} came for {last}"));
                    }
                }
                Event::Ping(ping) if ping.sent_epoch != 0 => {
                    let last = pinged_us.replace(now_us).unwrap_or(now_us);
                    gap_us.fetch_max(now_us - last, Ordering::Relaxed);
                }
                _ => {}
            })
        });
        let players = players.collect();
        Honest { crowd, players, talking, sent, faults, gap_us }
    }

    /// They leave when all that they said was heard by all of them, in order; the longest that one of them was
    /// without a Ping, and how much they said.
    fn leave(self) -> (Duration, u64) {
        self.talking.store(false, Ordering::Relaxed);
        std::thread::sleep(2 * CHAT_EVERY);
        let said = self.sent.load(Ordering::Relaxed);
        let all = said * HONEST as u64;
        let start = Instant::now();
        while self.crowd.counts.messages.load(Ordering::Relaxed) < all {
            assert!(start.elapsed() < PATIENCE, "{:?} of {all} messages", self.crowd.counts);
            std::thread::sleep(Duration::from_millis(10));
        }
        self.crowd.leave.cancel();
        let seen = self.crowd.ended(self.players);
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:#?}");
        assert!(seen.iter().all(|one| one.end == End::Left), "{seen:?}");
        println!("honest players heard {all} lines of chat of each other, all in order");
        (seen.iter().map(|one| one.longest_gap).max().unwrap(), said)
    }
}

/// A server that is attacked while honest players are on it.
pub struct Siege {
    pub server: Program,
    pub address: SocketAddr,
    honest: Honest,
    /// Resident, KiB, of a server that had as many honest clients and has none now.
    before_kib: u64,
    tasks: f64,
}

impl Siege {
    /// Lets `connections` honest clients come and go first, for an allocator keeps some of what it once had; then
    /// those come who stay.
    pub fn begin(server: Program, connections: usize) -> Self {
        let address = server.address;
        // The gauge of tasks is of the last turn of the wheel.
        std::thread::sleep(Duration::from_millis(1500));
        let (tasks, (start_kib, _)) = (server.counted()["tagwire_tasks"], server.memory());
        warm_up(address, connections);
        server.wait_for_counts(&empty(tasks));
        let (before_kib, peak_kib) = server.memory();
        println!(
            "resident: {start_kib} KiB at the start, {peak_kib} KiB with {connections} honest clients, \
             {before_kib} KiB without them again"
        );
        Siege { honest: Honest::start(address), server, address, before_kib, tasks }
    }

    /// Runs an attack, in which the server's memory may grow by so much at the most.
    pub fn attack<T>(&self, name: &str, most_bytes: usize, attack: impl FnOnce() -> T) -> T {
        let (before_kib, _) = self.server.memory();
        self.server.reset_peak();
        let start = Instant::now();
        let result = attack();
        let (_, peak_kib) = self.server.memory();
        let (grown, most_kib) = (peak_kib.saturating_sub(before_kib), most_bytes as u64 / 1024);
        let gap_ms = self.honest.gap_us.swap(0, Ordering::Relaxed) / 1000;
        println!(
            "{name}: {:.1?}, at most {gap_ms} ms without a ping, memory grew by {grown} KiB, {most_kib} KiB allowed",
            start.elapsed()
        );
        assert!(grown <= most_kib, "{name}: memory grew by {grown} KiB, {most_kib} KiB allowed");
        result
    }

    /// When all attackers have gone: all is as it was before they came. Returns what was counted, and how much of it
    /// the honest players said.
    pub fn end(self) -> (BTreeMap<String, f64>, u64) {
        let Siege { server, honest, before_kib, tasks, .. } = self;
        let only = HONEST as f64;
        server.wait_for_counts(&[
            ("tagwire_connections", only),
            ("tagwire_sessions", only),
            ("tagwire_rooms", 1.0),
        ]);
        let (gap, said) = honest.leave();
        server.wait_for_counts(&empty(tasks));
        let counted = server.counted();
        println!("counted: {counted:#?}");
        let (after_kib, _) = server.memory();
        let times = after_kib as f64 / before_kib as f64;
        println!("longest without a ping: {gap:.2?}");
        println!("resident: {before_kib} KiB before, {after_kib} KiB after: {times:.3} times");
        assert_eq!(counted.get("tagwire_panics_total"), None);
        // The promise is 1.5 s, and that of the server as it is shipped: five thousand who come at once are a second's work
        // of two cores for one that is not optimised (measured: 1.3 to 1.8 s without a ping, 1.0 s optimised). Elsewhere
        // only one that stands still is noticed.
        let is_judged = is_long() && !cfg!(debug_assertions);
        let most = Duration::from_millis(if is_judged { 1500 } else { 5000 });
        assert!(gap <= most, "{gap:?} without a ping");
        let kept_kib = if is_long() { 0 } else { KEPT_KIB };
        assert!(after_kib <= before_kib + before_kib / 10 + kept_kib, "memory did not come back");
        let (status, log) = server.stop();
        assert_eq!(status.code(), Some(0));
        let panic = log.lines().find(|line| line.contains("panicked"));
        assert_eq!(panic, None);
        (counted, said)
    }
}

/// Nobody is there.
/// What there is when nobody is there.
pub fn empty(tasks: f64) -> [(&'static str, f64); 6] {
    [
        ("tagwire_connections", 0.0),
        ("tagwire_sessions", 0.0),
        ("tagwire_sessions_away", 0.0),
        ("tagwire_rooms", 0.0),
        ("tagwire_outbox_bytes", 0.0),
        ("tagwire_tasks", tasks),
    ]
}

/// So many honest clients come, are all there at the same time, and go.
pub fn warm_up(address: SocketAddr, connections: usize) {
    let crowd = Arc::new(Crowd::new(2));
    let mut clients = vec![];
    for first in (0..connections).step_by(WARM_AT_ONCE) {
        let come = (first..connections.min(first + WARM_AT_ONCE)).map(|i| {
            let crowd = Arc::clone(&crowd);
            async move {
                let mut client = crowd.native(address, &format!("warm{i}")).await;
                assert!(client.welcomed().await);
                client.join(&format!("warm {}", i / WARM_ROOM)).await;
                client.send(&frame(&mouse(i as i32, 1)));
                client
            }
        });
        let come: Vec<_> = come.map(|come| crowd.runtime.spawn(come)).collect();
        clients.extend(crowd.runtime.block_on(async {
            let mut came = vec![];
            for one in come {
                came.push(one.await.unwrap());
            }
            came
        }));
    }
    let clients = clients.into_iter().map(|client| crowd.spawn(client, None, |_, _| ())).collect();
    std::thread::sleep(Duration::from_secs(1));
    crowd.leave.cancel();
    assert!(crowd.ended(clients).iter().all(|one| one.end == End::Left));
}

pub async fn dial(address: SocketAddr) -> TcpStream {
    let stream = timeout(PATIENCE, TcpStream::connect(address)).await.expect("connected").unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The first frame of a client of this protocol, or of the reference.
pub fn login(name: &str, is_native: bool) -> Vec<u8> {
    let client = v1::ClientInfo { protocol: PROTOCOL_VERSION, ..Default::default() };
    frame(&v1::PlayerLogin {
        username: name.to_string(),
        password: "welcome".to_string(),
        client: is_native.then_some(client),
        ..Default::default()
    })
}

/// A frame in the long form, whether it needs it or not; `length` may be a lie.
pub fn extended(tag: u16, length: u32, payload: &[u8]) -> Vec<u8> {
    [&[0xff, 0][..], &tag.to_be_bytes(), &length.to_be_bytes(), payload].concat()
}

/// Hands out every frame that comes, until `on` has had enough (then `None`) or the connection ends.
pub async fn read_frames(
    mut stream: impl AsyncRead + Unpin,
    mut on: impl FnMut(&Raw) -> bool,
) -> Option<End> {
    let mut buffer = vec![0; 16 * 1024];
    let limits = tagwire::frame::Limits { max_frame_bytes: 1 << 20, only: None };
    let mut decoder = Decoder::new(limits);
    loop {
        let count = match stream.read(&mut buffer).await {
            Ok(0) => return Some(End::Eof),
            Ok(count) => count,
            Err(_) => return Some(End::Reset),
        };
        let mut input = &buffer[..count];
        while let Some(frame) = decoder.next(&mut input).expect("the server sends frames") {
            if on(&(frame.tag.0, frame.payload.to_vec())) {
                return None;
            }
        }
    }
}

/// Reads to the end; how it ended, the code that was told, and how many frames came.
pub async fn read_to_end(stream: impl AsyncRead + Unpin) -> (End, Option<CloseCode>, usize) {
    let (mut told, mut frames) = (None, 0);
    let end = read_frames(stream, |frame| {
        frames += 1;
        told = told.or_else(|| close_code(frame));
        false
    });
    let end = end.await.expect("only the end ends it");
    (end, told, frames)
}

/// The code of a Disconnect.
pub fn close_code((tag, payload): &Raw) -> Option<CloseCode> {
    let is_disconnect = Tag(*tag) == <v1::Disconnect as tagwire::Message>::TAG;
    let disconnect = is_disconnect.then(|| v1::Disconnect::decode(payload.as_slice()).unwrap());
    disconnect.map(|disconnect| CloseCode(disconnect.code as u16))
}

/// The schema as shipped, without the rates of its messages, as files.
pub fn unlimited_proto() -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let (path, to): (PathBuf, _) =
                (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if path.is_dir() {
                copy(&path, &to);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut parts = text.split(", max_rate: \"");
                let mut kept = parts.next().unwrap().to_string();
                parts.for_each(|part| kept += part.split_once('"').unwrap().1);
                std::fs::write(to, kept).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto"), folder.path());
    folder
}
