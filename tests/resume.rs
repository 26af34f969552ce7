//! Whatever byte a connection is cut at: what the two applications see is what they would have seen without.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

#[macro_use]
mod common;
mod conversation;

use std::time::Instant;

use conversation::{Act, Script, Seen, Went, Window, World, clean};
use tagwire_faults::ends::{Cut, Direction};
use tagwire_faults::sim::{CutAt, InFlight, Link, Plan};

/// Steps of the conversation.
const STEPS: u32 = 45;
const STEP_US: u64 = 60_000;

/// All deliveries, requests quick and slow, batches, changes of rooms, and one push that no single read holds.
fn script() -> Script {
    let mut script = vec![];
    for i in 1..=STEPS {
        let at = u64::from(i - 1) * STEP_US;
        let padded = |bytes: usize| format!("{i} {}", "x".repeat(bytes));
        let mut act = |act| script.push((at, act));
        act(Act::Say(padded(i as usize * 7 % 150)));
        act(Act::Move(i));
        act(Act::Blink(i));
        act(Act::Tell(padded(i as usize * 11 % 200)));
        act(Act::Other(7, i));
        act(Act::Other(8, i));
        act(Act::Spark(i));
        match i {
            24 => act(Act::Tell(padded(6000))),
            30 => act(Act::Say(padded(5000))),
            _ if i % 15 == 5 => act(Act::Join(format!("room {i}"))),
            _ if i % 10 == 2 => act(Act::AskAll((0..3).map(|n| format!("{n} of {i}")).collect())),
            _ if i % 4 == 1 => act(Act::Ask(format!("slow {i}"))),
            _ if i % 4 == 3 => act(Act::Ask(padded(20))),
            _ => {}
        }
    }
    script
}

fn is_long() -> bool {
    std::env::var_os("TAGWIRE_LONG").is_some()
}

/// A link that a read or a write of the largest messages does not do for.
fn link() -> Plan {
    Plan { latency_us: 5_000, split: Some(1_500), capacity_bytes: 4_096, ..Plan::clean() }
}

/// The conversation without a cut: what was seen, and the bytes of both directions.
fn uncut(script: &Script) -> (Seen, Went, u64, u64) {
    let mut world = World::new(script, Window::default(), |_, now_us| clean(now_us));
    let (seen, went) = world.run();
    let (to_server, to_client) = (world.bytes(0, Direction::ToServer), world.bytes(0, Direction::ToClient));
    (seen, went, to_server, to_client)
}

#[track_caller]
fn same(seen: &Seen, expected: &Seen, went: &Went, how: &dyn std::fmt::Debug) {
    // A difference is shown alone; whole conversations are long.
    assert_eq!(seen.said, expected.said, "{how:?} {went:?}");
    assert_eq!(seen.told, expected.told, "{how:?} {went:?}");
    assert_eq!(seen.heard, expected.heard, "{how:?} {went:?}");
    assert_eq!(seen.runs, expected.runs, "{how:?} {went:?}");
    assert_eq!(seen, expected, "{how:?} {went:?}");
    assert_eq!((went.stale, went.fresh, went.told_off), (0, 0, 0), "{how:?} {went:?}");
}

#[test]
fn the_conversation_is_long_enough_to_show_something() {
    let (seen, went, to_server, to_client) = uncut(&script());
    println!("{went:?}, {to_server} bytes to the server, {to_client} to the client");
    assert!(went.frames >= 300 && to_server >= 10_000 && to_client >= 10_000);
    assert_eq!((went.connections, went.resumes, went.stale), (1, 0, 0));
    assert!(seen.runs.len() >= 25 && seen.runs.values().all(|runs| *runs == 1));
    assert_eq!((seen.said.len(), seen.own_move), (46, STEPS));
    assert_eq!(seen.moved, [(7, STEPS), (8, STEPS)].into());
    assert_eq!(seen.members.len(), 9);
}

/// Every byte of the login and of the Welcome, and in quick runs every so manieth of the others.
fn offsets(total: u64) -> impl Iterator<Item = u64> {
    let step = if is_long() { 1 } else { 61 };
    (0..=total).filter(move |byte| *byte < 300 || byte % step == 0)
}

#[test]
fn a_cut_at_any_byte_changes_nothing_that_is_seen() {
    let script = script();
    let (expected, _, to_server, to_client) = uncut(&script);
    let (start, mut runs, mut resumes) = (Instant::now(), 0u32, 0u32);
    for (direction, total) in [(Direction::ToServer, to_server), (Direction::ToClient, to_client)] {
        for byte in offsets(total) {
            for cut in Cut::ALL {
                let at = CutAt { cut, ..CutAt::new(direction, byte) };
                let links = |number, now_us| match number {
                    0 => Link::new(link().with_cut(at), 1, now_us),
                    _ => clean(now_us),
                };
                let (seen, went) = World::new(&script, Window::default(), links).run();
                same(&seen, &expected, &went, &at);
                runs += 1;
                resumes += went.resumes;
            }
        }
    }
    println!("{runs} cuts, {resumes} resumes, {:.1?}", start.elapsed());
    assert!(resumes > runs / 2);
}

/// The second connection is cut, too: in its login, its Welcome, and in what is sent again.
#[test]
fn a_cut_at_any_byte_of_the_resume_changes_nothing_that_is_seen() {
    const FIRST: [u64; 2] = [3_001, 7_003];
    let script = script();
    let (expected, ..) = uncut(&script);
    let (start, mut runs, mut resumes) = (Instant::now(), 0u32, 0u32);
    let step = if is_long() { 1 } else { 31 };
    for first in FIRST {
        for first_cut in Cut::ALL {
            for direction in Direction::BOTH {
                for byte in
                    (0..2_500).filter(|byte| *byte < 250 && (is_long() || byte % 3 == 0) || byte % step == 0)
                {
                    for cut in Cut::ALL {
                        let cuts = [
                            CutAt { cut: first_cut, ..CutAt::new(Direction::ToClient, first) },
                            CutAt { cut, in_flight: InFlight::Arrives, ..CutAt::new(direction, byte) },
                        ];
                        let links = |number: usize, now_us| match cuts.get(number) {
                            Some(cut) => Link::new(link().with_cut(*cut), 1, now_us),
                            None => clean(now_us),
                        };
                        let (seen, went) = World::new(&script, Window::default(), links).run();
                        same(&seen, &expected, &went, &cuts);
                        runs += 1;
                        resumes += went.resumes;
                    }
                }
            }
        }
    }
    println!("{runs} conversations of two cuts, {resumes} resumes, {:.1?}", start.elapsed());
    assert!(resumes > runs);
}

/// Links that are bad in every way at once, cut up to ten times.
#[test]
fn up_to_ten_cuts_of_bad_links_change_nothing_that_is_seen() {
    let script = script();
    let (expected, _, to_server, to_client) = uncut(&script);
    let (start, mut resumes, mut most) = (Instant::now(), 0u32, 0);
    let seeds = if is_long() { 10_000 } else { 1_000 };
    let only = std::env::var("TAGWIRE_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    for seed in only.map_or(0..seeds, |seed| seed..seed + 1) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let cuts = rng.usize(1..=10);
        let links = |number: usize, now_us| {
            let plan = Plan::random(&mut rng);
            let link_seed = rng.u64(..);
            if number >= cuts {
                return Link::new(plan, link_seed, now_us);
            }
            // Mostly early, so that the conversation is not over before.
            let at = CutAt::random(&mut rng, to_server / 4, to_client / 4);
            Link::new(plan.with_cut(at), link_seed, now_us)
        };
        let (seen, went) =
            World::new(&script, Window { resume_us: 600_000_000, ..Window::default() }, links).run();
        same(&seen, &expected, &went, &format_args!("TAGWIRE_SEED={seed}"));
        resumes += went.resumes;
        most = most.max(went.resumes);
    }
    println!("{seeds} conversations, {resumes} resumes, at most {most} in one, {:.1?}", start.elapsed());
    assert!(u64::from(resumes) > seeds);
}
