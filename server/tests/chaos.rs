//! Many clients on a bad network, all at once: nobody misses a line, and nothing is left behind.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::program::Program;
use common::returning::{Phase, Returning, Story};
use common::siege::{empty, unlimited_proto, warm_up};
use common::*;
use tagwire_faults::proxy::{CutAfter, Faults, HalfOpen, Proxy};
use tokio::sync::watch;
use tokio::time::sleep;

struct Size {
    rooms: usize,
    of_room: usize,
    /// Each client loses so many connections at least.
    losses: u32,
    resumes: u32,
    /// Who sleeps for longer than its session waits.
    sleepers: usize,
    /// Of a hundred cuts.
    half_open_percent: u8,
    /// A connection is cut within so many bytes.
    cut_bytes: u64,
    /// So long sessions wait. Longer than it takes to notice that a connection is half-open (10 s), and to come back.
    window_ms: u64,
}

#[test]
fn many_clients_on_a_bad_network_miss_nothing() {
    let size = if is_long() {
        Size {
            rooms: 20,
            of_room: 10,
            losses: 5,
            resumes: 100,
            sleepers: 4,
            half_open_percent: 10,
            cut_bytes: 10_000,
            window_ms: 16_000,
        }
    } else {
        Size {
            rooms: 5,
            of_room: 4,
            losses: 4,
            resumes: 20,
            sleepers: 1,
            half_open_percent: 0,
            cut_bytes: 1_000,
            window_ms: 3_000,
        }
    };
    let seed = std::env::var("TAGWIRE_SEED").map_or(20_260_101, |seed| seed.parse().unwrap());
    let proto = unlimited_proto();
    let window = format!("limits.resume_window_ms={}", size.window_ms);
    let server = Program::start(&["--schema", proto.path().to_str().unwrap(), "--set", &window]);
    std::thread::sleep(Duration::from_millis(1500));
    let tasks = server.counted()["tagwire_tasks"];
    // The allocator has seen as many clients as there will be, and their buffers.
    let clients = size.rooms * size.of_room;
    warm_up(server.address, 3 * clients);
    server.wait_for_counts(&empty(tasks));
    let (before_kib, _) = server.memory();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let start = Instant::now();
    let (stories, counters) = runtime.block_on(chaos(&server, &size, seed));
    let lasted = start.elapsed();

    let lost: u32 = stories.iter().map(|story| story.lost).sum();
    let resumed: u32 = stories.iter().map(|story| story.resumed).sum();
    let fresh: u32 = stories.iter().map(|story| story.fresh).sum();
    let lines: u32 = stories.iter().map(|story| story.said).sum();
    let least = stories.iter().map(|story| story.lost).min().unwrap();
    println!(
        "{clients} clients in {} rooms, {lasted:.1?}: {lost} connections lost, {least} of each at least; {resumed} resumed, \
         {fresh} sessions begun afresh ({:.2} %); {lines} lines said in the last sessions; proxy: {counters}",
        size.rooms,
        100.0 * f64::from(fresh) / f64::from(fresh + resumed),
    );
    let faults: Vec<_> = stories.iter().flat_map(|story| &story.faults).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(least >= size.losses, "{least}");
    assert!(resumed >= size.resumes, "{resumed}");
    assert!(fresh >= 1, "no session was begun afresh: that it works was not seen");
    if is_long() {
        assert!(fresh * 100 < fresh + resumed, "{fresh} of {}", fresh + resumed);
    }
    for room in stories.chunks(size.of_room) {
        assert_eq!(missed(room), None);
    }
    server.wait_for_counts(&empty(tasks));
    let (after_kib, _) = server.memory();
    let counted = server.counted();
    let count = |name: &str| counted.get(name).copied().unwrap_or(0.0);
    println!(
        "the server: {} resumed, {} logins; resident {before_kib} KiB before, {after_kib} KiB after",
        count("tagwire_sessions_resumed_total"),
        count("tagwire_logins_granted_total"),
    );
    // The first sessions of those that were cut before their Welcome came are in neither count of the clients.
    assert!(count("tagwire_sessions_resumed_total") >= f64::from(resumed));
    assert!(after_kib <= before_kib + before_kib / 10, "{before_kib} KiB before, {after_kib} KiB after");
    server.stop();
}

/// What somebody in a room has not heard, if anything.
fn missed(room: &[Story]) -> Option<String> {
    let said: HashMap<u32, u32> = room.iter().map(|story| (story.player, story.said)).collect();
    room.iter().find_map(|story| {
        said.iter().find_map(|(player, said)| {
            let heard = story.heard.get(player).copied().unwrap_or(0);
            (heard != *said).then(|| format!("{} heard {heard} of {said} lines of {player}", story.player))
        })
    })
}

async fn chaos(server: &Program, size: &Size, seed: u64) -> (Vec<Story>, String) {
    let faults = Faults {
        cut: Some(CutAfter { direction: None, bytes: 100..=size.cut_bytes }),
        half_open_percent: size.half_open_percent,
        half_open: HalfOpen::Drawn,
        half_open_ms: 12_000,
        reset_percent: 50,
        delay_ms: 0..=5,
        split: Some(200),
        stall: None,
        ..Faults::none()
    };
    let proxy = Proxy::start(([127, 0, 0, 1], 0).into(), server.address, faults, seed).await.unwrap();
    let (phase, phases) = watch::channel(Phase::Talk);
    let schema = Arc::new(unlimited_schema());
    let mut living = vec![];
    for number in 0..size.rooms * size.of_room {
        let (name, room) = (format!("player{number}"), format!("room {}", number / size.of_room));
        let mut client =
            Returning::new(proxy.address(), Arc::clone(&schema), &name, &room, seed + number as u64);
        if number % size.of_room == 0 && number / size.of_room < size.sleepers {
            client.nap = Duration::from_millis(size.window_ms + 4_000);
        }
        let (told, story) = watch::channel(Story::default());
        living.push((tokio::spawn(client.live(phases.clone(), told)), story));
    }
    let stories = |living: &[(_, watch::Receiver<Story>)]| -> Vec<Story> {
        living.iter().map(|(_, story)| story.borrow().clone()).collect()
    };
    let start = Instant::now();
    while stories(&living).iter().any(|story| story.lost < size.losses) {
        assert!(start.elapsed() < Duration::from_secs(240), "{}", proxy.counters());
        sleep(Duration::from_millis(100)).await;
    }
    // From now on the network is good; who does not know yet that its connection is lost learns it.
    let counters = proxy.counters().to_string();
    proxy.set(Faults::none());
    phase.send_replace(Phase::Pause);
    let wait_for = async |done: &dyn Fn(&[Story]) -> bool| {
        let start = Instant::now();
        while !done(&stories(&living)) {
            assert!(start.elapsed() < Duration::from_secs(60), "{:#?}", stories(&living));
            sleep(Duration::from_millis(100)).await;
        }
    };
    // Who comes into the room anew has not heard what was said before.
    wait_for(&|stories| stories.iter().all(|story| story.is_open && story.joined)).await;
    sleep(Duration::from_secs(1)).await;
    let before: Vec<u32> = stories(&living).iter().map(|story| story.said).collect();
    phase.send_replace(Phase::Last);
    wait_for(&|stories| {
        let all_said = stories.iter().zip(&before).all(|(story, before)| story.said == before + 1);
        all_said && stories.chunks(size.of_room).all(|room| missed(room).is_none())
    })
    .await;
    // What comes twice.
    sleep(Duration::from_secs(1)).await;
    let seen = stories(&living);
    phase.send_replace(Phase::Leave);
    for (client, _) in living {
        client.await.unwrap();
    }
    proxy.stop().await;
    (seen, counters)
}
