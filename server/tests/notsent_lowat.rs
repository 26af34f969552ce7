//! What TCP_NOTSENT_LOWAT buys and costs: how old the values of a slow reader are, and the server's CPU time for a fast
//! one. `docs/DECISIONS.md` quotes it; `scripts/test --long rust` measures all candidates.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use tagwire::Tag;
use tagwire::frame::encode;
use tagwire::pb::arena::v1 as arena;
use tagwire::prost::Message as _;

/// A MouseEvent (LATEST) of about 1 KB.
fn kilobyte(x: i32) -> Vec<u8> {
    let payload = [mouse(x, 0).encode_to_vec(), hex("a206e807"), vec![7; 1000]].concat();
    let mut out = vec![];
    encode(Tag(2), &payload, &mut out);
    out
}

struct Measured {
    /// Newer values that had been sent when a slow reader got one, the median.
    behind: usize,
    /// Clock ticks for the whole stream to a fast reader.
    ticks: u64,
}

fn measure(lowat: u32, values: i32, megabytes: usize) -> Measured {
    let server = TestServer::unlimited(|config| {
        config.threads = 1;
        config.tcp_notsent_lowat_bytes = lowat;
    });

    // Slow: it reads only after everything was sent, a value at a time.
    let mut slow = server.player("slow");
    let mut pacer = server.player("pacer");
    let mut sender = server.player("sender");
    for x in 0..values {
        sender.send_bytes(&kilobyte(x));
        // The pacer has it, so the slow one's socket was offered it.
        while pacer.mouse().1.x < x {}
    }
    let mut received = 0;
    while slow.mouse().1.x < values - 1 {
        received += 1;
    }
    drop((slow, pacer));

    // Fast: a stream of chat, 128 KB at a time, to its sender and to another.
    const WINDOW: usize = 128;
    let chat = frame(&arena::Chat { text: "x".repeat(1000) }).repeat(WINDOW);
    let mut fast = server.player("fast");
    let windows = megabytes * 1000 / WINDOW;
    let before = server.cpu_ticks();
    let (read, was_read) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for _ in 0..windows {
            (0..WINDOW).for_each(|_| drop(fast.message()));
            read.send(()).unwrap();
        }
    });
    for _ in 0..windows {
        sender.send_bytes(&chat);
        (0..WINDOW).for_each(|_| drop(sender.message()));
        // On a busy machine it would else be too slow, and cut.
        was_read.recv().unwrap();
    }
    reader.join().unwrap();
    let ticks = server.cpu_ticks() - before;
    server.stop();
    Measured { behind: received, ticks }
}

#[test]
fn a_low_mark_keeps_the_values_of_a_slow_reader_fresh() {
    let default = tagwire_server::Config::default().tcp_notsent_lowat_bytes;
    let (candidates, megabytes) = match is_long() {
        true => (vec![0, 4096, 16_384, default, 131_072, 262_144], 200),
        false => (vec![0, default], 10),
    };
    println!("  lowat   stale values in sockets   CPU ticks for {megabytes} MB");
    let results: Vec<_> = candidates
        .iter()
        .map(|lowat| {
            let measured = measure(*lowat, 20_000, megabytes);
            println!("{lowat:>7} {:>25} {:>25}", measured.behind, measured.ticks);
            std::thread::sleep(Duration::from_millis(100));
            (*lowat, measured)
        })
        .collect();
    let of = |lowat| &results.iter().find(|(l, _)| *l == lowat).unwrap().1;
    assert!(of(default).behind < of(0).behind, "the mark changes nothing");
}
