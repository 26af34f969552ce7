//! SIGTERM while many play: everyone hears that the server stops and when to come back, then the end of the stream,
//! and never a reset. `TAGWIRE_LONG`: 1,000 clients.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::crowd::{Client, Crowd, End, Talk, endings};
use common::program::Program;
use common::*;
use rustix::process::Signal;
use tagwire::CloseCode;

const ROOM_MEMBERS: usize = 50;
/// A tenth of all are of the reference; they cannot leave the first room, so they speak less there.
const CLASSIC_EVERY: Duration = Duration::from_secs(1);
/// A game that reads ten times a second.
const NAP: Duration = Duration::from_millis(100);
/// Of each kind: half open, and inside without reading.
const FEW: usize = 5;

#[test]
fn sigterm_under_load_tells_everyone_and_resets_nobody() {
    let (clients, every) = match is_long() {
        true => (1000, Duration::from_millis(100)),
        false => (100, Duration::from_millis(50)),
    };
    let server = Program::start(&["--log", "warn,tagwire_server=info"]);
    let crowd = Crowd::new(2);
    let talk = |every| Some(Talk { every, next: Box::new(|now_us| frame(&mouse(now_us as i32, 1))) });
    let (mut native, mut classic) = (vec![], vec![]);
    for i in 0..clients {
        let name = format!("player{i}");
        crowd.runtime.block_on(async {
            if i % 10 == 0 {
                let client = crowd.classic(server.address, &name).await;
                return classic.push(crowd.spawn(client, talk(CLASSIC_EVERY), |_, _| ()));
            }
            let mut client = crowd.native(server.address, &name).await;
            // Every second one still speaks for a while when it has been told, for it has not looked.
            client.nap = NAP * (i % 2);
            assert!(client.welcomed().await);
            client.join(&format!("room {}", native.len() / ROOM_MEMBERS)).await;
            native.push(crowd.spawn(client, talk(every), |_, _| ()));
        });
    }
    let (mut half_open, mut deaf): (Vec<_>, Vec<Client>) = (vec![], vec![]);
    let login = hex("12010a07706c6179657231120777656c636f6d65");
    for i in 0..FEW {
        crowd.runtime.block_on(async {
            let mut client = crowd.connect(server.address, "half open", None).await;
            client.send(&login[..i * 4]);
            half_open.push(crowd.spawn(client, None, |_, _| ()));
            let client = crowd.connect(server.address, &format!("deaf{i}"), Some(4096)).await;
            let mut client = crowd.login(client);
            assert!(client.welcomed().await);
            client.join("deaf").await;
            deaf.push(client);
        });
    }
    // The sockets of the deaf are full soon, so that their last frame cannot go out.
    crowd.runtime.block_on(async {
        let mut loud = crowd.native(server.address, "loud").await;
        assert!(loud.welcomed().await);
        loud.join("deaf").await;
        let talk = Talk { every: Duration::from_millis(50), next: Box::new(|_| large_mouse(1)) };
        native.push(crowd.spawn(loud, Some(talk), |_, _| ()));
    });
    let before = crowd.counts.messages.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(1));
    let rate = crowd.counts.messages.load(std::sync::atomic::Ordering::Relaxed) - before;

    server.signal(Signal::TERM);
    let start = Instant::now();
    let native = crowd.ended(native);
    let (classic, half_open) = (crowd.ended(classic), crowd.ended(half_open));
    let all_told = start.elapsed();
    let (status, log) = server.wait();
    let down = start.elapsed();
    println!(
        "{clients} clients, {rate} messages/s delivered to new ones; after SIGTERM all knew within {all_told:.2?}, \
         exit {:?} after {down:.2?}\n  new: {:?}\n  classic: {:?}\n  half open: {:?}",
        status.code(),
        endings(&native),
        endings(&classic),
        endings(&half_open),
    );
    for one in &native {
        let told = one.told.as_ref().unwrap_or_else(|| panic!("{} was told nothing: {one:?}", one.name));
        assert_eq!((told.code, one.end), (Some(CloseCode::SHUTDOWN), End::Eof), "{one:?}");
        assert!(told.retry_after_ms > 0, "{one:?}");
    }
    for one in classic.iter().chain(&half_open) {
        assert_eq!((&one.told, one.end), (&None, End::Eof), "{one:?}");
    }
    let disconnects = format!("tagwire_disconnects_total{{code=\"3000\"}}={}", clients as usize + FEW + 1);
    assert!(log.contains(&disconnects), "no {disconnects} in\n{log}");
    assert!(
        !log.contains("tagwire_messages_conflated_total=0 "),
        "the sockets of the deaf were not full:\n{log}"
    );
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(down < Duration::from_secs(10), "{down:?}");
    assert!(log.contains("tagwire_sessions=0") && log.contains("tagwire_connections=0"), "{log}");
    drop(deaf);
}

/// They are connected as soon as the kernel says so, whether the server has looked or not.
#[test]
fn who_knocks_just_before_a_stop_is_closed_in_order() {
    for threads in [1, 2] {
        for _ in 0..20 {
            let mut server = TestServer::with(|config| config.threads = threads);
            let mut knocking: Vec<_> = (0..10).map(|_| Classic::connect(server.address)).collect();
            server.begin_stop();
            for client in &mut knocking {
                assert_eq!(client.rest(), []);
            }
            drop(knocking);
            server.stop();
        }
    }
}
