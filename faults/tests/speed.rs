//! What a conversation through the simulated link costs. Run with `--nocapture` to see it.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::time::Instant;

use tagwire_faults::ends::{Cut, Direction, Side};
use tagwire_faults::sim::{CutAt, InFlight, Link, Plan};

const MESSAGE: [u8; 100] = [7; 100];

/// 20 KB: 100 messages of 100 bytes each way, in turns. Returns the bytes that arrived.
fn converse(link: &mut Link) -> u64 {
    let mut now_us = 0;
    let mut left = [100; 2];
    let mut owed = [0_usize; 2];
    let mut turn = [true, false];
    loop {
        let mut moved = false;
        for side in Side::BOTH {
            let own = side as usize;
            while let Some(bytes) = link.read(side, now_us) {
                owed[own] += bytes.len();
                moved = true;
            }
            while owed[own] >= MESSAGE.len() {
                owed[own] -= MESSAGE.len();
                turn[own] = true;
            }
            if turn[own] && left[own] > 0 && !link.is_ended(side, now_us) {
                link.write(side, now_us, &MESSAGE);
                (turn[own], left[own], moved) = (false, left[own] - 1, true);
            }
        }
        if !moved {
            match link.next_event_after_us(now_us) {
                Some(next_us) => now_us = next_us,
                None => return Direction::BOTH.map(|direction| link.bytes(direction).delivered).iter().sum(),
            }
        }
    }
}

#[test]
fn a_conversation_costs_next_to_nothing() {
    let slow = Plan { latency_us: 1_000, ..Plan::clean() };
    let bad =
        Plan { latency_us: 1_000, jitter_us: 500, split: Some(16), capacity_bytes: 4_096, ..Plan::clean() };
    let at = CutAt {
        cut: Cut::HalfOpen { blind: Side::Client },
        in_flight: InFlight::Drawn,
        ..CutAt::new(Direction::ToServer, 9_999)
    };
    for (name, plan, arrives) in [
        ("clean", Plan::clean(), Some(20_000)),
        ("latency", slow, Some(20_000)),
        ("jitter and split", bad.clone(), Some(20_000)),
        ("jitter, split and cut", bad.with_cut(at), None),
    ] {
        const ROUNDS: u32 = 500;
        let start = Instant::now();
        for seed in 0..ROUNDS {
            let arrived = converse(&mut Link::new(plan.clone(), seed.into(), 0));
            assert!(arrives.is_none_or(|arrives| arrives == arrived), "{arrived}");
        }
        let each = start.elapsed() / ROUNDS;
        println!("{name}: {} ns for a conversation of 20 KB in 200 messages", each.as_nanos());
        // Hundreds of times what was measured when optimized (README.md): a slow machine passes, a slip to
        // quadratic cost does not.
        assert!(each.as_micros() < 10_000, "{name}: {each:?}");
    }
}
