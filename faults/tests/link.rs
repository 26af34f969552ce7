//! The simulated link: what arrives, when, and how it ends.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod conversation;

use conversation::{Conversation, pattern};
use fastrand::Rng;
use proptest::prelude::*;
use tagwire_faults::ends::{Cut, Direction, Side};
use tagwire_faults::sim::{CutAt, InFlight, Link, Plan, Stall, StallAt};

/// All that one read after the other brings.
fn read_all(link: &mut Link, side: Side, now_us: u64) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = link.read(side, now_us) {
        assert!(!bytes.is_empty());
        all.extend_from_slice(bytes);
    }
    all
}

#[test]
fn a_clean_link_brings_all_at_once_and_no_end() {
    let mut link = Link::new(Plan::clean(), 1, 50);
    assert_eq!(link.next_event_us(), None);
    assert_eq!(link.write(Side::Client, 50, b"one"), 3);
    assert_eq!(link.write(Side::Client, 50, b"two"), 3);
    assert_eq!(link.next_event_us(), Some(50));
    assert_eq!(link.next_event_after_us(50), None);
    assert_eq!(link.read(Side::Server, 50), Some(&b"onetwo"[..]), "merged");
    assert_eq!(link.read(Side::Server, 50), None);
    assert_eq!(link.next_event_us(), None);
    assert!(!link.is_ended(Side::Client, 50) && !link.is_ended(Side::Server, 50));
    let bytes = link.bytes(Direction::ToServer);
    assert_eq!((bytes.written, bytes.delivered, bytes.lost), (6, 6, 0));
}

#[test]
fn latency_and_bandwidth_are_exact() {
    let plan = Plan { latency_us: 1_000, bytes_per_s: Some(1_000), ..Plan::clean() };
    let mut link = Link::new(plan, 1, 0);
    link.write(Side::Client, 0, &[1; 10]);
    link.write(Side::Client, 0, &[2; 10]);
    // 10 bytes take 10 ms.
    assert_eq!(link.next_event_us(), Some(11_000));
    assert_eq!(link.read(Side::Server, 10_999), None);
    assert_eq!(link.read(Side::Server, 11_000), Some(&[1; 10][..]));
    assert_eq!(link.next_event_us(), Some(21_000));
    assert_eq!(link.read(Side::Server, 21_000), Some(&[2; 10][..]));
}

#[test]
fn a_split_gives_pieces_of_all_sizes_up_to_its_own() {
    let mut link = Link::new(Plan { split: Some(4), ..Plan::clean() }, 1, 0);
    link.write(Side::Server, 0, &pattern(0, 1_000));
    let mut sizes = [0; 5];
    while let Some(bytes) = link.read(Side::Client, 0) {
        sizes[bytes.len()] += 1;
    }
    assert!(sizes[1..].iter().all(|count| *count > 50), "{sizes:?}");
}

#[test]
fn a_stall_holds_one_direction_until_its_end() {
    for at in [StallAt::Us(100), StallAt::Byte(2)] {
        let stall = Stall { direction: Direction::ToServer, at, for_us: 500 };
        let mut link = Link::new(Plan { stalls: vec![stall], ..Plan::clean() }, 1, 1_000);
        link.write(Side::Client, 1_050, b"ab");
        assert_eq!(read_all(&mut link, Side::Server, 1_050), b"ab");
        link.write(Side::Client, 1_100, b"cd");
        link.write(Side::Server, 1_100, b"other");
        assert_eq!(read_all(&mut link, Side::Client, 1_100), b"other");
        assert_eq!(link.next_event_us(), Some(1_600), "{at:?}");
        assert_eq!(read_all(&mut link, Side::Server, 1_599), b"");
        assert_eq!(read_all(&mut link, Side::Server, 1_600), b"cd");
    }
}

#[test]
fn a_stall_in_the_middle_of_a_write_holds_only_its_rest() {
    let stall = Stall { direction: Direction::ToServer, at: StallAt::Byte(3), for_us: 500 };
    let mut link = Link::new(Plan { stalls: vec![stall], ..Plan::clean() }, 1, 0);
    link.write(Side::Client, 0, b"abcdef");
    assert_eq!(read_all(&mut link, Side::Server, 0), b"abc");
    assert_eq!(read_all(&mut link, Side::Server, 500), b"def");
}

#[test]
fn a_full_buffer_takes_a_part_and_tells_when_there_is_room() {
    let mut link = Link::new(Plan { capacity_bytes: 4, latency_us: 10, ..Plan::clean() }, 1, 0);
    assert_eq!(link.room(Side::Client), 4);
    assert_eq!(link.write(Side::Client, 0, b"abcdef"), 4);
    assert_eq!(link.write(Side::Client, 5, b"ef"), 0);
    assert_eq!(link.write(Side::Server, 5, b"xy"), 2, "the other direction has a buffer of its own");
    assert_eq!(read_all(&mut link, Side::Server, 10), b"abcd");
    assert_eq!(link.next_event_us(), Some(10), "room");
    assert_eq!(link.write(Side::Client, 10, b"ef"), 2);
    assert_eq!(link.next_event_us(), Some(15));
    assert_eq!(read_all(&mut link, Side::Client, 15), b"xy");
    assert_eq!(read_all(&mut link, Side::Server, 20), b"ef");
    assert_eq!(link.next_event_us(), None);
}

#[test]
fn a_close_comes_after_the_last_byte() {
    let mut link = Link::new(Plan { latency_us: 10, split: Some(1), ..Plan::clean() }, 1, 0);
    link.write(Side::Client, 0, b"bye");
    link.close(Side::Client, 0);
    assert!(link.is_ended(Side::Client, 0));
    assert_eq!(link.write(Side::Client, 0, b"more"), 0);
    assert!(!link.is_ended(Side::Server, 9));
    assert_eq!(link.next_event_us(), Some(10));
    assert!(!link.is_ended(Side::Server, 10), "not all is read");
    assert_eq!(read_all(&mut link, Side::Server, 10), b"bye");
    assert!(link.is_ended(Side::Server, 10));
    assert_eq!(link.write(Side::Server, 10, b"lost"), 4);
    assert_eq!(link.read(Side::Client, 99), None);
    assert_eq!(link.next_event_us(), None);
}

#[test]
fn a_cut_is_at_its_byte_for_every_byte_direction_and_kind() {
    let text = pattern(0, 23);
    for cut_direction in Direction::BOTH {
        for byte in 0..=23 {
            for cut in Cut::ALL {
                for in_flight in InFlight::ALL {
                    let at = CutAt { direction: cut_direction, byte, cut, in_flight };
                    let plan = Plan { latency_us: 10, split: Some(5), ..Plan::clean() }.with_cut(at);
                    let mut link = Link::new(plan, byte, 0);
                    let (from, to) = (cut_direction.sender(), cut_direction.receiver());
                    // Both speak at once, in several writes; what goes back is on its way at the break.
                    for (index, chunk) in text.chunks(4).enumerate() {
                        assert_eq!(link.write(from, index as u64, chunk), chunk.len(), "{link:?}");
                        link.write(to, 9, b"");
                    }
                    link.write(to, 9, b"back");
                    let arrived = read_all(&mut link, to, 1_000);
                    assert_eq!(arrived, &text[..byte as usize], "{link:?}");
                    let back = read_all(&mut link, from, 1_000);
                    assert!(b"back".starts_with(&back), "{link:?}");
                    match in_flight {
                        InFlight::Lost => assert_eq!(back, b"", "{link:?}"),
                        InFlight::Arrives => assert_eq!(back, b"back", "{link:?}"),
                        InFlight::Drawn => {}
                    }
                    for side in Side::BOTH {
                        assert_eq!(link.is_ended(side, 1_000), cut.tells(side), "{side:?} of {link:?}");
                    }
                    assert_eq!(link.next_event_us(), None, "{link:?}");
                    // Nothing passes any more, either way.
                    for side in Side::BOTH {
                        assert_eq!(link.write(side, 2_000, b"later"), 5);
                    }
                    for side in Side::BOTH {
                        assert_eq!(read_all(&mut link, side, 9_000), b"", "{link:?}");
                    }
                    let bytes = link.bytes(cut_direction);
                    assert_eq!((bytes.delivered, bytes.lost), (byte, 23 - byte + 5), "{link:?}");
                }
            }
        }
    }
}

#[test]
fn drawn_in_flight_is_all_nothing_and_parts_by_the_seed() {
    let mut seen = [0; 9];
    for seed in 0..300 {
        let at = CutAt { in_flight: InFlight::Drawn, ..CutAt::new(Direction::ToServer, 1) };
        let mut link = Link::new(Plan::clean().with_cut(at), seed, 0);
        link.write(Side::Server, 0, b"12345678");
        link.write(Side::Client, 0, b"x");
        let arrived = read_all(&mut link, Side::Client, 0);
        assert!(b"12345678".starts_with(&arrived));
        seen[arrived.len()] += 1;
    }
    assert!(seen[0] > 80 && seen[8] > 80 && seen[1..8].iter().all(|count| *count > 2), "{seen:?}");
}

#[test]
fn what_was_read_before_the_break_is_not_lost_by_it() {
    let at = CutAt::new(Direction::ToServer, 3);
    let mut link = Link::new(Plan { latency_us: 100, ..Plan::clean() }.with_cut(at), 1, 0);
    link.write(Side::Server, 0, b"early");
    link.write(Side::Client, 50, b"abc");
    assert!(link.is_cut());
    link.write(Side::Server, 60, b"late");
    assert_eq!(link.next_event_us(), Some(100));
    assert_eq!(read_all(&mut link, Side::Client, 100), b"early");
    assert_eq!(link.next_event_us(), Some(150));
    assert!(!link.is_ended(Side::Client, 149));
    assert_eq!(read_all(&mut link, Side::Client, 150), b"", "late would have come at 160");
    assert!(link.is_ended(Side::Client, 150));
    assert_eq!(read_all(&mut link, Side::Server, 150), b"abc");
    assert!(link.is_ended(Side::Server, 150));
}

#[test]
fn who_is_blind_fills_its_buffer_and_hears_nothing() {
    for blind in Side::BOTH {
        for cut_direction in Direction::BOTH {
            let at = CutAt { cut: Cut::HalfOpen { blind }, ..CutAt::new(cut_direction, 2) };
            let plan = Plan { capacity_bytes: 8, ..Plan::clean() }.with_cut(at);
            let mut link = Link::new(plan, 1, 0);
            assert_eq!(link.write(cut_direction.sender(), 0, b"ab"), 2);
            assert_eq!(read_all(&mut link, cut_direction.receiver(), 0), b"ab");
            assert_eq!(link.write(blind, 1, b"123456789"), 8, "{link:?}");
            assert_eq!(link.write(blind, 2, b"9"), 0, "{link:?}");
            assert_eq!(link.write(blind, u64::MAX / 2, b"9"), 0, "{link:?}");
            assert_eq!(link.read(blind, u64::MAX / 2), None);
            assert!(!link.is_ended(blind, u64::MAX / 2));
            let told = blind.other();
            assert!(link.is_ended(told, 0));
            assert_eq!(link.write(told, 3, &[0; 100]), 100, "who was told is not held up");
            // That the other end closes is not heard either.
            link.close(told, 4);
            assert!(!link.is_ended(blind, u64::MAX / 2));
            assert_eq!(link.write(blind, 5, b"9"), 0);
            assert_eq!(link.next_event_us(), None);
        }
    }
}

#[test]
fn a_close_on_its_way_is_swallowed_by_a_cut_that_comes_first() {
    for (cut_us, heard) in [(15, false), (25, true)] {
        let mut link = Link::new(Plan { latency_us: 10, ..Plan::clean() }, 1, 0);
        link.close(Side::Server, 10);
        if heard {
            assert!(link.is_ended(Side::Client, 20));
        }
        link.cut(cut_us, Cut::HalfOpen { blind: Side::Client }, InFlight::Arrives);
        assert_eq!(link.is_ended(Side::Client, 1_000), heard);
    }
}

#[test]
fn a_cut_by_hand_drops_or_brings_what_is_on_its_way_in_both_directions() {
    for (in_flight, arrives) in [(InFlight::Lost, ""), (InFlight::Arrives, "hi")] {
        let mut link = Link::new(Plan { latency_us: 10, ..Plan::clean() }, 1, 0);
        for side in Side::BOTH {
            link.write(side, 0, b"hi");
        }
        link.cut(5, Cut::Both, in_flight);
        for side in Side::BOTH {
            assert_eq!(read_all(&mut link, side, 10), arrives.as_bytes());
            assert!(link.is_ended(side, 10));
        }
    }
}

#[test]
fn a_cut_counted_over_a_session_is_made_once_on_the_link_that_reaches_it() {
    let at = CutAt::new(Direction::ToServer, 7);
    let mut link = Link::new(Plan::clean().with_cut(at), 1, 0);
    assert_eq!(link.write(Side::Client, 0, b"12345"), 5);
    assert_eq!(read_all(&mut link, Side::Server, 0), b"12345");
    link.close(Side::Client, 0);
    let mut link = link.reconnect(100);
    link.write(Side::Client, 100, b"6789");
    assert_eq!(read_all(&mut link, Side::Server, 100), b"67");
    assert!(link.is_ended(Side::Server, 100));
    let mut link = link.reconnect(200);
    link.write(Side::Client, 200, b"89");
    assert_eq!(read_all(&mut link, Side::Server, 200), b"89");
    assert!(!link.is_cut());
    // At 0, too.
    let link = Link::new(Plan::clean().with_cut(CutAt::new(Direction::ToClient, 0)), 1, 0);
    assert!(link.is_cut() && !link.reconnect(1).is_cut());
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_does_not() {
    let mut rng = Rng::with_seed(3);
    let mut differ = 0;
    for _ in 0..50 {
        let plan = Plan { jitter_us: 5_000, split: Some(100), ..Plan::random(&mut rng) };
        let trace = |seed| Conversation::new(2_000).trace(&mut Link::new(plan.clone(), seed, 0));
        assert_eq!(trace(1), trace(1), "{plan:?}");
        differ += usize::from(trace(1) != trace(2));
    }
    assert!(differ > 45, "{differ}");
}

#[test]
fn any_plan_lets_a_conversation_through_in_bounded_time() {
    for seed in 0..500 {
        let plan = Plan::random(&mut Rng::with_seed(seed));
        let mut link = Link::new(plan, seed, 0);
        let outcome = Conversation::new(3_000).run(&mut link);
        assert!(outcome.complete, "{link:?}");
        // The slowest: 2 * 3,000 bytes at 10 kB/s, 16 bytes in a buffer, 70 ms for each of its fillings.
        assert!(outcome.ended_us < 60_000_000, "{} us: {link:?}", outcome.ended_us);
    }
}

#[test]
fn a_test_can_learn_the_totals_and_then_cut_at_every_byte() {
    let plan = Plan { latency_us: 500, jitter_us: 300, split: Some(9), capacity_bytes: 64, ..Plan::clean() };
    let mut link = Link::new(plan.clone(), 11, 0);
    assert!(Conversation::new(120).run(&mut link).complete);
    for direction in Direction::BOTH {
        let total = link.bytes(direction).written;
        assert_eq!(total, 120);
        for byte in 0..=total {
            let mut link = Link::new(plan.clone().with_cut(CutAt::new(direction, byte)), 11, 0);
            let outcome = Conversation::new(120).run(&mut link);
            assert_eq!(link.bytes(direction).delivered, byte, "{link:?}");
            assert!(outcome.told.iter().all(|told| *told), "{link:?}");
        }
    }
}

/// What proptest does to a link.
#[derive(Debug, Clone)]
enum Step {
    Write(Side, usize),
    Read(Side),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = prop_oneof![Just(Side::Client), Just(Side::Server)];
    let step = prop_oneof![
        (side.clone(), 0..300_usize).prop_map(|(side, size)| Step::Write(side, size)),
        side.prop_map(Step::Read),
        (0..30_000_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    /// Whatever is done: what arrives is a beginning of what was accepted, in order, each byte once; the counters agree.
    #[test]
    fn nothing_is_reordered_doubled_or_invented(seed: u64, cuts: bool, steps in steps()) {
        let mut rng = Rng::with_seed(seed);
        let mut plan = Plan::random(&mut rng);
        if cuts {
            plan = plan.with_cut(CutAt::random(&mut rng, 2_000, 2_000));
        }
        let capacity = plan.capacity_bytes;
        let mut link = Link::new(plan, seed, 0);
        let mut now_us = 0;
        let (mut written, mut arrived) = ([0; 2], [0; 2]);
        for step in steps {
            match step {
                Step::Write(side, size) => {
                    let at = &mut written[side as usize];
                    let room = link.room(side);
                    let accepted = link.write(side, now_us, &pattern(*at, size));
                    prop_assert!(accepted == size.min(room) || link.is_cut(), "{:?}", link);
                    *at += accepted;
                }
                Step::Read(side) => {
                    let at = &mut arrived[side.other() as usize];
                    while let Some(bytes) = link.read(side, now_us) {
                        prop_assert_eq!(bytes, &pattern(*at, bytes.len())[..]);
                        *at += bytes.len();
                    }
                }
                Step::Wait(us) => now_us += us,
            }
            for direction in Direction::BOTH {
                let bytes = link.bytes(direction);
                let side = direction.sender() as usize;
                prop_assert_eq!(bytes.written, written[side] as u64);
                prop_assert_eq!(bytes.delivered, arrived[side] as u64);
                let way = bytes.written - bytes.delivered - bytes.lost;
                prop_assert!(way <= capacity as u64, "{:?}", link);
            }
        }
        // In the end all arrives that is not lost.
        for side in Side::BOTH {
            let at = &mut arrived[side.other() as usize];
            while let Some(bytes) = link.read(side, u64::MAX / 2) {
                prop_assert_eq!(bytes, &pattern(*at, bytes.len())[..]);
                *at += bytes.len();
            }
            let bytes = link.bytes(side.receives());
            prop_assert_eq!(bytes.written, bytes.delivered + bytes.lost, "{:?}", link);
            prop_assert!(cuts || bytes.lost == 0);
        }
    }
}
