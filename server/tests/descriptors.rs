//! Out of descriptors: those inside go on, new connections wait, nothing spins and no log is flooded; when somebody
//! goes, who waits comes in. `TAGWIRE_LONG` takes more of everything, and judges CPU time and pings strictly.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::crowd::{Crowd, Talk};
use common::program::Program;
use common::*;

const BEGINS: &str = "no connection can be accepted now";
const OVER: &str = "connections are accepted again";

fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn times(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn without_descriptors_those_inside_go_on_and_the_others_wait_their_turn() {
    // The program itself needs about a dozen.
    let (descriptors, inside, outside, window) = match is_long() {
        true => (256, 200, 200, Duration::from_secs(10)),
        false => (64, 40, 40, Duration::from_secs(3)),
    };
    let server = Program::start_with_descriptors(descriptors, &["--threads", "2"]);
    let crowd = Crowd::new(1);
    let talk = || Talk { every: Duration::from_millis(200), next: Box::new(|_| frame(&mouse(1, 1))) };
    let mut players: Vec<_> = (0..inside)
        .map(|i| {
            let client = crowd.runtime.block_on(async {
                let mut client = crowd.native(server.address, &format!("inside{i}")).await;
                assert!(client.welcomed().await, "there are descriptors for {inside}");
                client
            });
            // Two speak; that is enough to see that it goes on, and little enough to see spinning.
            crowd.spawn(client, (i < 2).then(talk), |_, _| ())
        })
        .collect();
    // The kernel takes their connections and their logins, whether the server does or not.
    let (welcome, mut welcomed) = tokio::sync::mpsc::unbounded_channel();
    let waiting: Vec<_> = (0..outside)
        .map(|i| {
            let client = crowd.runtime.block_on(crowd.native(server.address, &format!("outside{i}")));
            let welcome = welcome.clone();
            crowd.spawn(client, None, move |_, event| {
                if matches!(event, tagwire::session::client::Event::Welcome(_)) {
                    welcome.send(i).unwrap();
                }
            })
        })
        .collect();
    wait_until("out of descriptors", || server.log().contains(BEGINS));
    std::thread::sleep(Duration::from_millis(500));
    let mut came = std::iter::from_fn(|| welcomed.try_recv().ok()).count();
    assert!(came < outside, "all {outside} came in with {descriptors} descriptors");

    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let before = (server.cpu_ticks(), count(&crowd.counts.messages), count(&crowd.counts.pings));
    let start = Instant::now();
    std::thread::sleep(window);
    let ticks = server.cpu_ticks() - before.0;
    let seconds = start.elapsed().as_secs_f64();
    let messages = (count(&crowd.counts.messages) - before.1) as f64 / seconds;
    let pings = (count(&crowd.counts.pings) - before.2) as f64 / seconds;
    let load = ticks as f64 / seconds;
    let sessions = inside + came;
    println!(
        "{descriptors} descriptors, {sessions} inside, {} waiting, {seconds:.1} s: {load:.1} % of a core, \
         {messages:.0} messages/s and {pings:.0} pings/s delivered",
        outside - came
    );
    assert_eq!(welcomed.try_recv().ok(), None, "nobody comes in where there is no descriptor");
    // 10 a second are spoken, and each is heard by all but its speaker; half of it is enough on a busy machine.
    assert!(messages > 5.0 * (sessions - 1) as f64, "{messages} messages/s");
    assert!(pings > 0.5 * sessions as f64, "{pings} pings/s");
    // A server that spins takes a whole core.
    let most = if is_long() { 10.0 } else { 50.0 };
    assert!(load < most, "{load} % of a core");
    let log = server.log();
    assert_eq!((times(&log, BEGINS), times(&log, OVER)), (1, 0), "{log}");

    // They go, one by one: a shortage that is not over is not told of twice.
    let left = outside - came;
    for _ in 0..left {
        players.pop().expect("more are inside than wait").abort();
        wait_until("another comes in", || {
            let new = std::iter::from_fn(|| welcomed.try_recv().ok()).count();
            came += new;
            new > 0 || came == outside
        });
    }
    assert_eq!(came, outside);
    // And one more, so that nobody waits and there is room.
    players.pop().unwrap().abort();
    wait_until("the shortage is over", || server.log().contains(OVER));
    let log = server.log();
    println!(
        "{}",
        log.lines().filter(|l| l.contains(BEGINS) || l.contains(OVER)).collect::<Vec<_>>().join("\n")
    );
    assert_eq!((times(&log, BEGINS), times(&log, OVER)), (1, 1), "{log}");
    let late = crowd.runtime.block_on(async {
        let mut client = crowd.native(server.address, "late").await;
        client.welcomed().await
    });
    assert!(late, "it goes on as before");

    crowd.leave.cancel();
    let seen = crowd.ended(players.into_iter().chain(waiting).collect());
    let gap = seen.iter().map(|one| one.longest_gap).max().unwrap();
    println!("longest between two pings: {gap:.2?}");
    if is_long() {
        assert!(gap < Duration::from_millis(1500), "{gap:?} without a ping");
    }
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}
