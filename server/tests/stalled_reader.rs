//! One that reads nothing among many who do, in one room: it is cut by the rule, within its bounds of memory, and the
//! others' messages come as soon as without it. `TAGWIRE_LONG`: a room of 1,000.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::crowd::{Crowd, End, Talk, percentile};
use common::*;
use tagwire::pb::arena::v1 as arena;
use tagwire::prost::Message as _;
use tagwire::session::client::Event;

const TEXT_BYTES: usize = 1000;
/// A Chat of that length, in its wrapper, with room to spare.
const MAX_FRAME_BYTES: usize = TEXT_BYTES + 40;
/// Small, so that it is full soon.
const OUTBOX_BYTES: usize = 64 * 1024;

struct Size {
    receivers: usize,
    rounds: usize,
    /// A chat so often.
    every: Duration,
    seconds: f64,
}

struct Measured {
    p50_us: u64,
    p99_us: u64,
    longest_gap: Duration,
    /// The largest value of the gauge of waiting bytes, all sessions together.
    peak_bytes: f64,
}

/// A line of chat that tells when it was sent.
fn stamped(now_us: u64) -> Vec<u8> {
    frame(&arena::Chat { text: format!("{now_us:<TEXT_BYTES$}") })
}

fn run(size: &Size, with_stalled: bool) -> Measured {
    let server = TestServer::unlimited(|config| {
        config.limits.max_room_members = size.receivers + 2;
        config.limits.max_frame_bytes = 8192;
        config.limits.outbox_max_bytes = OUTBOX_BYTES as u32;
        // It answers no Ping, and its socket takes nothing: bytes, not time, are what this is about.
        (config.limits.peer_timeout_ms, config.limits.outbox_max_stuck_ms) = (60_000, 60_000);
    });
    let crowd = Crowd::new(1);
    let delays: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (mut receivers, mut stalled) = (vec![], None);
    for i in 0..size.receivers {
        // In the middle, so that a fan-out that waits for it keeps half of the room waiting.
        if with_stalled && i == size.receivers / 2 {
            stalled = Some(crowd.runtime.block_on(async {
                let client = crowd.connect(server.address, "stalled", Some(4096)).await;
                let mut client = crowd.login(client);
                assert!(client.welcomed().await);
                client
            }));
        }
        let delays = Arc::clone(&delays);
        let client = crowd.runtime.block_on(async {
            let mut client = crowd.native(server.address, &format!("receiver{i}")).await;
            assert!(client.welcomed().await);
            client
        });
        receivers.push(crowd.spawn(client, None, move |now_us, event| {
            if let Event::Message { payload, .. } = event {
                let chat = arena::Chat::decode(payload.clone()).unwrap();
                delays.lock().unwrap().push(now_us - chat.text.trim_end().parse::<u64>().unwrap());
            }
        }));
    }
    let (sent, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let sender = crowd.runtime.block_on(async {
        let mut client = crowd.native(server.address, "sender").await;
        assert!(client.welcomed().await);
        client
    });
    let next = Box::new({
        let (sent, done) = (Arc::clone(&sent), Arc::clone(&done));
        move |now_us| match done.load(Ordering::Relaxed) {
            true => vec![],
            false => {
                sent.fetch_add(1, Ordering::Relaxed);
                stamped(now_us)
            }
        }
    });
    receivers.push(crowd.spawn(sender, Some(Talk { every: size.every, next }), |_, _| ()));
    let start = Instant::now();
    let mut peak_bytes = 0.0_f64;
    let cut = || server.metric("tagwire_disconnects_total{code=\"3001\"}") == 1.0;
    while start.elapsed().as_secs_f64() < size.seconds || with_stalled && !cut() {
        assert!(start.elapsed() < 3 * PATIENCE, "never cut");
        peak_bytes = peak_bytes.max(server.metric("tagwire_outbox_bytes"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.metric("tagwire_disconnects_total{code=\"3001\"}"), f64::from(u8::from(with_stalled)));
    drop(stalled);

    // Everyone else gets all of it, and is still there.
    done.store(true, Ordering::Relaxed);
    std::thread::sleep(2 * size.every);
    let all = sent.load(Ordering::Relaxed) * receivers.len() as u64;
    let waiting = Instant::now();
    while crowd.counts.messages.load(Ordering::Relaxed) < all {
        assert!(waiting.elapsed() < PATIENCE, "{:?} of {all} messages", crowd.counts.messages);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.metric("tagwire_sessions"), receivers.len() as f64);
    crowd.leave.cancel();
    let seen = crowd.ended(receivers);
    let sent = sent.load(Ordering::Relaxed);
    assert!(seen.iter().all(|one| one.end == End::Left && one.messages == sent));
    let longest_gap = seen.iter().map(|one| one.longest_gap).max().unwrap();
    server.stop();

    let mut delays = std::mem::take(&mut *delays.lock().unwrap());
    assert_eq!(delays.len() as u64, sent * size.receivers as u64);
    let (p50_us, p99_us) = (percentile(&mut delays, 50), percentile(&mut delays, 99));
    Measured { p50_us, p99_us, longest_gap, peak_bytes }
}

#[test]
fn one_who_reads_nothing_is_cut_and_delays_nobody() {
    let size = match is_long() {
        true => Size { receivers: 1000, rounds: 5, every: Duration::from_millis(100), seconds: 15.0 },
        false => Size { receivers: 100, rounds: 2, every: Duration::from_millis(10), seconds: 1.5 },
    };
    let log = tempfile::NamedTempFile::new().unwrap();
    let file: Arc<File> = Arc::new(log.reopen().unwrap());
    tracing_subscriber::fmt().with_ansi(false).with_writer(file).init();

    println!("{} receivers, a chat of {TEXT_BYTES} bytes every {:?}", size.receivers, size.every);
    println!("stalled   p50 ms   p99 ms   longest between pings   most bytes waiting (of all)");
    let mut p99 = [vec![], vec![]];
    for round in 0..2 * size.rounds {
        // Each comes first as often as the other.
        let with_stalled = (round + round / 2) % 2 == 1;
        let Measured { p50_us, p99_us, longest_gap, peak_bytes } = run(&size, with_stalled);
        let (p50, gap) = (p50_us as f64 / 1e3, format!("{longest_gap:.2?}"));
        println!("{with_stalled:>7} {p50:>8.2} {:>8.2} {gap:>23} {peak_bytes:>29}", p99_us as f64 / 1e3);
        p99[usize::from(with_stalled)].push(p99_us);
        if is_long() {
            let bound = OUTBOX_BYTES + (size.receivers + 2) * MAX_FRAME_BYTES;
            assert!(peak_bytes <= bound as f64, "{peak_bytes} bytes waited, {bound} may");
            assert!(longest_gap < Duration::from_secs(3), "{longest_gap:?} without a ping");
        }
    }
    let [without, with] = p99.map(|mut p99| percentile(&mut p99, 50) as f64 / 1e3);
    println!("median of p99: {without:.2} ms without, {with:.2} ms with: {:.2} times", with / without);

    // Its outbox was judged whenever it grew, so what the log says is the most that it ever held.
    let log = std::fs::read_to_string(log.path()).unwrap();
    let cuts: Vec<_> = log.lines().filter(|line| line.contains("session of stalled")).collect();
    assert_eq!(cuts.len(), size.rounds, "{cuts:?}");
    for cut in cuts {
        assert!(cut.contains("3001"), "{cut}");
        let (before, _) = cut.split_once(" bytes in ").unwrap();
        let waited: usize = before.rsplit(' ').next().unwrap().parse().unwrap();
        println!("cut with {waited} bytes waiting, {OUTBOX_BYTES} allowed");
        assert!((OUTBOX_BYTES + 1..=OUTBOX_BYTES + MAX_FRAME_BYTES).contains(&waited), "{cut}");
    }
    if is_long() {
        assert!(with <= 1.3 * without, "p99 {with:.2} ms with one who stalls, {without:.2} ms without");
    }
}
