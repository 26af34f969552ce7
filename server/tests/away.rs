//! Sessions that wait for their clients, by the thousand: what each costs, and that their end is no burden.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::crowd::{Crowd, Seen, Talk};
use common::program::Program;
use common::siege::{empty, warm_up};
use common::*;
use tagwire::pb::arena::v1 as arena;
use tagwire::prost::Message as _;
use tagwire::session::client::Event;
use tokio::task::JoinHandle;

const WINDOW: Duration = Duration::from_secs(6);
/// Waves in which sessions come whose cost is measured.
const WAVES: usize = 5;
/// The wheel has so many slots.
const SLOTS: f64 = 20.0;
const OF_ROOM: usize = 10;
/// What a session costs for which little waits, bytes: its entries in the tables, its keys, its buffer.
const MOST_BYTES: u64 = 4096;

/// A client in a room with nine others.
fn inside(crowd: &Crowd, address: SocketAddr, number: usize) -> JoinHandle<Seen> {
    let client = crowd.runtime.block_on(async {
        let mut client = crowd.native(address, &format!("p{number}")).await;
        assert!(client.welcomed().await);
        client.join(&format!("room {}", number / OF_ROOM)).await;
        client
    });
    crowd.spawn(client, None, |_, _| ())
}

/// They come in waves, so that what the allocator keeps of a wave's connections is used by those of the next: what grows is
/// the cost of those who are away.
#[test]
fn a_session_that_waits_costs_little() {
    let of_wave = if is_long() { 2_000 } else { 400 };
    let server = Program::start(&[]);
    let crowd = Crowd::new(1);
    let mut kib = vec![];
    for wave in 0..WAVES {
        let numbers = wave * of_wave..(wave + 1) * of_wave;
        let living: Vec<_> = numbers.map(|number| inside(&crowd, server.address, number)).collect();
        // Their first pings are acknowledged.
        std::thread::sleep(Duration::from_millis(2500));
        living.iter().for_each(|client| client.abort());
        server.wait_for_counts(&[
            ("tagwire_sessions_away", ((wave + 1) * of_wave) as f64),
            ("tagwire_connections", 0.0),
        ]);
        // What it was sent when the others of its room went waits: nine times AWAY.
        std::thread::sleep(Duration::from_millis(1500));
        kib.push(server.memory().0);
    }
    let grown = kib[WAVES - 1].saturating_sub(kib[0]) * 1024;
    let each = grown / ((WAVES - 1) * of_wave) as u64;
    println!("{} sessions away: {each} bytes each; resident after each wave {kib:?} KiB", WAVES * of_wave);
    assert!(each <= MOST_BYTES, "{each} bytes");
    server.stop();
}

#[test]
fn sessions_that_nobody_comes_back_to_end_slot_by_slot() {
    let count = if is_long() { 10_000 } else { 1_000 };
    let window = format!("limits.resume_window_ms={}", WINDOW.as_millis());
    let server = Program::start(&["--set", &window]);
    std::thread::sleep(Duration::from_millis(1500));
    let tasks = server.counted()["tagwire_tasks"];
    warm_up(server.address, 100);
    server.wait_for_counts(&empty(tasks));

    // One who stays, in a room of its own, and hears itself all the time.
    let honest = Crowd::new(1);
    let longest = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&longest);
    let mut client = honest.runtime.block_on(honest.native(server.address, "honest"));
    honest.runtime.block_on(async {
        assert!(client.welcomed().await);
        client.join("honest").await;
    });
    // MouseEvent may be sent 120 times a second and does not come back; a chat line comes back and may be said 5 times.
    let talk = Talk {
        every: Duration::from_millis(220),
        next: Box::new(|now_us| frame(&arena::Chat { text: now_us.to_string() })),
    };
    let stays = honest.spawn(client, Some(talk), move |now_us, event| {
        if let Event::Message { payload, .. } = event {
            let sent: u64 = arena::Chat::decode(payload.clone()).unwrap().text.parse().unwrap();
            seen.fetch_max(now_us - sent, Ordering::Relaxed);
        }
    });

    let crowd = Crowd::new(1);
    let living: Vec<_> = (0..count).map(|number| inside(&crowd, server.address, number)).collect();
    std::thread::sleep(Duration::from_secs(2));
    let quiet_us = longest.swap(0, Ordering::Relaxed);
    living.iter().for_each(|client| client.abort());
    server.wait_for_counts(&[("tagwire_sessions_away", count as f64)]);
    let lost = Instant::now();

    longest.store(0, Ordering::Relaxed);
    let sessions = || server.counted().get("tagwire_sessions").copied().unwrap_or(0.0);
    let (mut last, mut last_at, mut fastest) = (sessions(), Instant::now(), 0.0f64);
    let mut began = None;
    while last > 1.0 {
        assert!(lost.elapsed() < WINDOW + Duration::from_secs(20), "{last} are left");
        std::thread::sleep(Duration::from_millis(25));
        let (now, at) = (sessions(), Instant::now());
        if now < last {
            began.get_or_insert(last_at);
            // Of all, in a slot's time.
            let slots = (at - last_at).as_secs_f64() * SLOTS;
            fastest = fastest.max((last - now) / count as f64 / slots.max(1.0));
        }
        (last, last_at) = (now, at);
    }
    let ended = began.unwrap().elapsed();
    let echo_us = longest.load(Ordering::Relaxed);
    println!(
        "{count} sessions ended within {ended:.2?}, at most {:.1} % of them in a slot's time; longest echo {quiet_us} us \
         before, {echo_us} us meanwhile",
        100.0 * fastest
    );
    // A slot has a twentieth; samples are not in step with slots.
    assert!(fastest < 3.5 / SLOTS, "{:.1} % at once", 100.0 * fastest);
    honest.leave.cancel();
    honest.ended(vec![stays]);
    server.wait_for_counts(&empty(tasks));
    server.stop();
}
