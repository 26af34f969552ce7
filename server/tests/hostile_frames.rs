//! Frames that mean harm: random ones, and good ones with bits flipped, ends cut off and halves exchanged, from many
//! clients of both dialects. Most reach the relay, or it would be the header's check alone that is tried. Nobody honest
//! notices, memory stays within its bounds, and nothing is left. `TAGWIRE_LONG`: a million, and pings judged strictly.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use common::forge::{After, Forge};
use common::program::Program;
use common::siege::*;
use common::*;
use tagwire::Message;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const ATTACKERS: usize = 48;
/// Clients before the attack: more than attackers, for a tenth of a small process is less than the code alone that
/// hostile frames are the first to run. (Four times as many frames leave as much resident as one time.)
const WARM_UP: usize = 3000;
/// Few hear each frame, for it is the frames that are many here.
const ROOM_MEMBERS: usize = 4;
/// One in so many is of the reference; those share the first room.
const CLASSIC_ONE_IN: usize = 4;
/// One in so many reads nothing.
const DEAF_ONE_IN: usize = 8;
/// A session's frames; a longer life would end by the number of its invalid ones.
const LIFE: Range<i64> = 1..600;
/// Frames of one write.
const BATCH: Range<usize> = 1..60;
/// And of one that reads nothing, and so lives longer: until more waits for it than may.
const DEAF_BATCH: Range<usize> = 1..6;
/// Milliseconds after a write.
const PAUSE: Range<u64> = 0..20;
/// What an attacker may hold of the server: a read (64 KiB) of which a turn took only a part, a partial frame (64 KiB,
/// in a vector that doubles), and what waits for it (1 MiB by `limits.outbox_max_bytes`, in a vector that doubles, and
/// as much aside).
const FULL_BYTES: usize = (64 << 10) + 2 * (64 << 10) + 3 * (1 << 20);
/// What the allocator and the tables of all sessions may take besides.
const FIXED_BYTES: usize = 8 << 20;

struct Attack {
    address: SocketAddr,
    seed: u64,
    /// Frames that may still be sent.
    left: AtomicI64,
    /// Frames that were sent, into a connection that the server had ended too.
    sent: AtomicU64,
    sessions: AtomicU64,
}

impl Attack {
    /// One session after another, until all frames are sent.
    async fn run(self: Arc<Self>, i: usize) {
        let mut forge = Forge::new(self.seed + i as u64);
        while self.left.load(Ordering::Relaxed) > 0 {
            self.session(i, &mut forge).await;
        }
    }

    async fn session(&self, i: usize, forge: &mut Forge) {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (is_native, is_deaf) = (!i.is_multiple_of(CLASSIC_ONE_IN), i % DEAF_ONE_IN == 1);
        let socket = TcpSocket::new_v4().unwrap();
        if is_deaf {
            socket.set_recv_buffer_size(4096).unwrap();
        }
        let (reader, mut writer) = socket.connect(self.address).await.unwrap().into_split();
        // Now and then it takes the name of another, who is then sent away.
        let name = match forge.0.u8(0..50) {
            0 => format!("attacker {}", number.saturating_sub(1)),
            _ => format!("attacker {number}"),
        };
        let mut out = login(&name, is_native);
        if is_native {
            let body = v1::JoinRoom { room: format!("room {}", i / ROOM_MEMBERS) }.encode_to_vec().into();
            out.extend(frame(&v1::Request { key: 1, tag: u32::from(v1::JoinRoom::TAG.0), body }));
        }
        let reading = (!is_deaf).then(|| tokio::spawn(read_to_end(reader)));
        let mut life = self.left.load(Ordering::Relaxed).min(forge.0.i64(LIFE));
        while life > 0 {
            let (mut after, mut count) = (After::More, 0);
            // What comes after the end of a session must do no harm either.
            for _ in 0..forge.0.usize(if is_deaf { DEAF_BATCH } else { BATCH }) {
                count += 1;
                if forge.next(&mut out) == After::Nothing {
                    after = After::Nothing;
                }
            }
            self.sent.fetch_add(count, Ordering::Relaxed);
            self.left.fetch_sub(count as i64, Ordering::Relaxed);
            life -= count as i64;
            // The server reads a deaf one all the time, however much waits for it.
            let written = timeout(PATIENCE, writer.write_all(&out)).await.expect("the server reads");
            out.clear();
            if written.is_err() || after == After::Nothing {
                break;
            }
            sleep(Duration::from_millis(forge.0.u64(PAUSE))).await;
        }
        // Most say that no more comes and see the end, the others just go.
        if forge.0.u8(0..10) > 0 {
            let _ = writer.shutdown().await;
            if let Some(reading) = reading {
                timeout(2 * PATIENCE, reading).await.expect("the server ends it").unwrap();
            }
        }
    }
}

#[test]
fn frames_that_mean_harm_reach_the_relay_and_leave_nothing_behind() {
    let frames = if is_long() { 1_000_000 } else { 50_000 };
    // What fails once fails again, as far as its order in time allows.
    let seed = std::env::var("TAGWIRE_SEED").map_or(20_260_101, |seed| seed.parse().unwrap());
    let proto = unlimited_proto();
    let server = Program::start(&[
        "--set",
        "limits.resume_window_ms=1000",
        "--schema",
        proto.path().to_str().unwrap(),
        "--set",
        "limits.max_frames_per_second=0",
        "--set",
        "limits.max_bytes_per_second=0",
    ]);
    let siege = Siege::begin(server, WARM_UP);
    let attack = Arc::new(Attack {
        address: siege.address,
        seed,
        left: AtomicI64::new(frames),
        sent: AtomicU64::new(0),
        sessions: AtomicU64::new(0),
    });
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    siege.attack("a flood of frames", ATTACKERS * FULL_BYTES + FIXED_BYTES, || {
        let mut attackers = JoinSet::new();
        for i in 0..ATTACKERS {
            attackers.spawn_on(Arc::clone(&attack).run(i), runtime.handle());
        }
        let all = Duration::from_secs(if is_long() { 500 } else { 60 });
        let ended = runtime.block_on(async { timeout(all, attackers.join_all()).await });
        ended.unwrap_or_else(|_| panic!("{:?} frames are left", attack.left));
    });
    drop(runtime);
    let said = |counted: &std::collections::BTreeMap<String, f64>| {
        let received = counted.iter().filter(|(name, _)| name.starts_with("tagwire_messages_received_total"));
        received.map(|(_, value)| value).sum::<f64>()
    };
    let (counted, honest) = siege.end();
    let (sent, sessions) = (attack.sent.load(Ordering::Relaxed), attack.sessions.load(Ordering::Relaxed));
    let received = said(&counted) - honest as f64 - WARM_UP as f64;
    let share = received / sent as f64;
    println!(
        "seed {seed}: {sent} frames of {sessions} sessions, {received} reached the relay: {:.1} %",
        share * 100.0
    );
    assert!(sent >= frames as u64);
    assert!(share >= 0.5, "too few reached the relay: {share}");
    // All that ends a session did.
    for code in [3503, 3504, 3505] {
        let name = format!("tagwire_disconnects_total{{code=\"{code}\"}}");
        assert!(counted.contains_key(&name), "no {name}");
    }
}
