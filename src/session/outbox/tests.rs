//! The outbox: what is written, kept, replaced and written again, whatever the socket takes.

use super::*;
use crate::session::Dialect;
use crate::session::fan_out::FanOut;
use crate::tag::Tag;
use proptest::prelude::*;

const START: Now = Now { monotonic_us: 1, unix_us: 1 };
const LIMITS: OutboxLimits =
    OutboxLimits { max_frames: 1024, max_bytes: 1 << 20, max_kept_bytes: 0, max_stuck_us: 10_000_000 };

fn frame(tag: u16, length: usize) -> Vec<u8> {
    let mut out = vec![];
    frame::encode(Tag(tag), &vec![tag as u8; length], &mut out);
    out
}

fn payload(tag: u16, payload: u8) -> Vec<u8> {
    let mut out = vec![];
    frame::encode(Tag(tag), &[payload], &mut out);
    out
}

fn frames(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let frames = whole(bytes);
    let length: usize = frames.iter().map(|(tag, payload)| encoded_len(*tag, payload.len())).sum();
    assert_eq!(length, bytes.len(), "a frame was cut");
    frames
}

fn encoded_len(tag: u16, length: usize) -> usize {
    frame(tag, length).len()
}

fn tags(bytes: &[u8]) -> Vec<u16> {
    frames(bytes).into_iter().map(|(tag, _)| tag).collect()
}

fn latest(sender: u32, tag: u16) -> Lane {
    Lane::Latest { sender, tag: Tag(tag) }
}

/// Everything that the socket takes from now on.
fn drain(outbox: &mut Outbox) -> Vec<u8> {
    let mut out = vec![];
    while !outbox.is_empty() {
        out.extend_from_slice(outbox.unwritten());
        outbox.wrote(outbox.unwritten().len());
    }
    out
}

#[test]
fn what_is_urgent_never_cuts_a_frame() {
    // A short and an extended frame wait; whatever was written of them, the ping comes in whole.
    let waiting: Vec<u8> = [frame(5, 10), frame(300, 1000), frame(7, 3)].concat();
    for written in 0..waiting.len() {
        let mut outbox = Outbox::new(LIMITS);
        for one in [frame(5, 10), frame(300, 1000), frame(7, 3)] {
            outbox.push(&one, Lane::Ordered);
        }
        outbox.wrote(written);
        outbox.push_urgent(&frame(3, 9));
        let stream = [&waiting[..written], outbox.unwritten()].concat();
        let expected = match written {
            0 => [3, 5, 300, 7],
            1..=12 => [5, 3, 300, 7],
            13..=1020 => [5, 300, 3, 7],
            _ => [5, 300, 7, 3],
        };
        assert_eq!(tags(&stream), expected, "{written} written");
    }
}

#[test]
fn the_last_frame_drops_what_has_not_begun() {
    let mut outbox = Outbox::new(LIMITS);
    let waiting = [frame(5, 10), frame(6, 10), frame(7, 10)];
    for one in &waiting {
        outbox.push(one, Lane::Ordered);
    }
    outbox.wrote(14);
    outbox.push(&frame(8, 1), latest(1, 8));
    outbox.finish(&frame(241, 2));
    let stream = [&waiting.concat()[..14], &drain(&mut outbox)].concat();
    assert_eq!(tags(&stream), [5, 6, 241]);
    assert_eq!(outbox.committed, 2, "what was dropped has no place in the count");
}

#[test]
fn limits_count_what_waits() {
    let mut outbox = Outbox::new(OutboxLimits { max_frames: 2, max_bytes: 100, ..LIMITS });
    outbox.push(&frame(5, 10), Lane::Ordered);
    outbox.push(&frame(5, 10), Lane::Ordered);
    assert!(!outbox.is_over());
    outbox.push(&frame(5, 0), Lane::Ordered);
    assert!(outbox.is_over(), "three frames");
    outbox.wrote(12);
    assert!(!outbox.is_over());
    outbox.push(&frame(5, 83), latest(1, 5));
    assert!(outbox.is_over(), "149 bytes aside");
    outbox.forget_sender(1);
    outbox.push_urgent(&frame(3, 90));
    assert!(outbox.is_over(), "106 bytes");
    drain(&mut outbox);
    assert!(outbox.is_empty() && !outbox.is_over());
}

#[test]
fn while_the_socket_keeps_up_every_frame_is_sent() {
    let mut outbox = Outbox::new(LIMITS);
    for lane in [latest(1, 5), Lane::Unreliable, latest(1, 5), Lane::Ordered] {
        assert_eq!(outbox.push(&frame(5, 1), lane), Pushed::Appended);
    }
    assert_eq!(tags(&drain(&mut outbox)), [5; 4]);
}

#[test]
fn behind_a_full_socket_the_newest_of_each_sender_and_tag_waits() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.push(&payload(5, 0), latest(1, 5));
    outbox.push(&payload(5, 1), latest(1, 5));
    outbox.wrote(1);
    assert!(outbox.is_blocked());
    assert_eq!(outbox.push(&payload(5, 2), latest(1, 5)), Pushed::Aside);
    assert_eq!(outbox.push(&payload(5, 3), latest(1, 5)), Pushed::Replaced);
    assert_eq!(outbox.push(&payload(5, 20), latest(2, 5)), Pushed::Aside);
    assert_eq!(outbox.push(&payload(6, 30), latest(1, 6)), Pushed::Aside);
    assert_eq!(outbox.push(&payload(7, 9), Lane::Unreliable), Pushed::Dropped);
    assert_eq!(outbox.push(&payload(8, 9), Lane::Ordered), Pushed::Appended);
    let stream = [&payload(5, 0)[..1], &drain(&mut outbox)].concat();
    let expected = [(5, 0), (5, 1), (8, 9), (5, 3), (6, 30), (5, 20)];
    assert_eq!(frames(&stream), expected.map(|(tag, payload)| (tag, vec![payload])));
    assert_eq!(outbox.push(&payload(5, 4), latest(1, 5)), Pushed::Appended, "it keeps up again");
}

#[test]
fn who_leaves_takes_its_waiting_frames_along() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.push(&frame(5, 1), Lane::Ordered);
    outbox.wrote(0);
    for sender in 1..=3 {
        outbox.push(&payload(5, sender as u8), latest(sender, 5));
    }
    outbox.forget_sender(2);
    assert_eq!(frames(&drain(&mut outbox))[1..], [(5, vec![1]), (5, vec![3])]);
}

#[test]
fn written_frames_are_kept_until_they_are_acknowledged() {
    let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100, ..LIMITS });
    for _ in 0..3 {
        outbox.push(&frame(5, 8), Lane::Ordered);
    }
    outbox.push_urgent(&frame(3, 9));
    let all = drain(&mut outbox);
    assert_eq!(outbox.bytes, all);
    outbox.acknowledge(1).expect("one was sent");
    assert_eq!(tags(&outbox.bytes[outbox.kept..]), [5, 5]);
    outbox.acknowledge(0).expect("an old one says nothing");
    assert_eq!(outbox.acknowledge(4), Err(AckError { acknowledged: 4, committed: 3 }));
    outbox.acknowledge(3).expect("three were sent");
    assert!(outbox.bytes.is_empty());
}

#[test]
fn pings_are_not_kept_but_behind_what_is() {
    let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 1000, ..LIMITS });
    for _ in 0..3 {
        outbox.push_urgent(&frame(3, 20));
        drain(&mut outbox);
        assert!(outbox.bytes.is_empty(), "there is nothing to acknowledge");
    }
    for tag in [5, 3, 3] {
        outbox.push(&frame(tag, 20), Lane::Ordered);
    }
    drain(&mut outbox);
    assert_eq!(tags(&outbox.bytes), [5, 3, 3]);
    assert!(outbox.acknowledge(1).is_ok());
    assert!(outbox.bytes.is_empty());
}

#[test]
fn a_buffer_that_was_large_is_given_back() {
    let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100_000, ..LIMITS });
    for _ in 0..100 {
        outbox.push(&frame(5, 200), Lane::Ordered);
    }
    drain(&mut outbox);
    outbox.shrink();
    assert!(outbox.bytes.capacity() >= 100 * 202, "all of it is kept");
    assert!(outbox.acknowledge(99).is_ok());
    outbox.shrink();
    assert!(outbox.bytes.capacity() <= 2 * 202, "one is kept");
    assert!(outbox.acknowledge(100).is_ok());
    outbox.shrink();
    assert!(outbox.bytes.capacity() <= IDLE_BYTES);
    outbox.push_urgent(&frame(3, 20));
    drain(&mut outbox);
    outbox.shrink();
    assert!(outbox.bytes.capacity() > 0, "what a Ping takes stays for the next");
}

#[test]
fn on_the_next_socket_what_was_not_handled_is_written_again() {
    let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100, ..LIMITS });
    outbox.push(&frame(240, 3), Lane::Ordered);
    for tag in [5, 6, 7, 8] {
        outbox.push(&frame(tag, 8), Lane::Ordered);
    }
    outbox.wrote(29);
    outbox.push_urgent(&frame(3, 9));
    assert_eq!(outbox.rest_of_frame(), &frame(7, 8)[4..]);
    outbox.detach();
    assert_eq!(outbox.push(&frame(9, 8), latest(1, 9)), Pushed::Aside);
    assert_eq!(outbox.resume(3), Err(AckError { acknowledged: 3, committed: 2 }.into()));
    outbox.resume(1).expect("two were written");
    outbox.push_urgent(&frame(240, 3));
    assert_eq!(tags(&drain(&mut outbox)), [240, 6, 7, 8, 9]);
    outbox.acknowledge(3).expect("five were written");
    outbox.detach();
    let forgotten = Err(ResumeError::Forgotten { received: 2, forgotten: 3 });
    assert_eq!(outbox.resume(2), forgotten);
    outbox.resume(5).expect("five were written");
    assert_eq!(tags(&drain(&mut outbox)), []);
}

#[test]
fn what_is_written_again_is_over_no_limit() {
    let limits = OutboxLimits { max_frames: 3, max_bytes: 40, max_kept_bytes: 100, ..LIMITS };
    let mut outbox = Outbox::new(limits);
    for _ in 0..8 {
        outbox.push(&frame(5, 8), Lane::Ordered);
        drain(&mut outbox);
    }
    outbox.detach();
    outbox.resume(0).expect("all are kept");
    for waiting in 1..=3 {
        outbox.push(&frame(5, 8), Lane::Ordered);
        assert!(!outbox.is_over(), "{waiting} wait");
    }
    outbox.wrote(75);
    assert!(!outbox.is_over());
    outbox.push(&frame(5, 8), Lane::Ordered);
    assert!(outbox.is_over(), "four wait");
    drain(&mut outbox);
    assert!(!outbox.is_over());
}

#[test]
fn without_a_socket_what_waits_aside_is_not_forgotten() {
    let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100, ..LIMITS });
    outbox.detach();
    outbox.push(&frame(9, 1), latest(1, 9));
    assert_eq!(outbox.push(&frame(9, 2), latest(1, 9)), Pushed::Replaced);
    assert_eq!(outbox.push(&frame(7, 2), Lane::Unreliable), Pushed::Dropped);
    outbox.resume(0).expect("nothing was sent");
    assert_eq!(outbox.unwritten(), frame(9, 2));
}

#[test]
fn what_was_not_written_cannot_be_acknowledged() {
    let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100, ..LIMITS });
    outbox.push(&frame(5, 8), Lane::Ordered);
    outbox.push(&frame(5, 8), Lane::Ordered);
    outbox.wrote(15);
    assert_eq!(outbox.acknowledge(2), Err(AckError { acknowledged: 2, committed: 1 }));
}

#[test]
fn beyond_the_limit_the_oldest_is_forgotten() {
    let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 35, ..LIMITS });
    for _ in 0..10 {
        outbox.push(&frame(5, 8), Lane::Ordered);
        drain(&mut outbox);
    }
    assert_eq!((outbox.boundary - outbox.kept, outbox.forgotten), (30, 7));
    outbox.acknowledge(3).expect("they were sent");
    assert_eq!(outbox.forgotten, 7);
}

#[test]
fn a_blocked_socket_that_takes_nothing_for_ten_seconds_is_stuck() {
    let mut outbox = Outbox::new(LIMITS);
    let second = |n: u64| START.after_us(n * 1_000_000);
    outbox.push(&frame(5, 100), Lane::Ordered);
    assert!(!outbox.handle_timer(second(0)), "nothing was refused yet");
    outbox.wrote(1);
    assert!(!outbox.handle_timer(second(100)));
    assert!(!outbox.handle_timer(second(109)));
    outbox.wrote(1);
    assert!(!outbox.handle_timer(second(111)), "it took a byte");
    assert!(!outbox.handle_timer(second(120)));
    assert!(outbox.handle_timer(second(121)));
    drain(&mut outbox);
    assert!(!outbox.handle_timer(second(200)));
}

#[derive(Debug, Clone)]
enum Step {
    Ordered(u8),
    Latest(u32, u8),
    Unreliable(u8),
    Ping,
    Write(usize),
    Acknowledge,
    /// The socket is gone, and so is what it did not deliver: a part of what it took.
    Cut(usize),
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u8>().prop_map(Step::Ordered),
        (1..4u32, any::<u8>()).prop_map(|(sender, value)| Step::Latest(sender, value)),
        any::<u8>().prop_map(Step::Unreliable),
        Just(Step::Ping),
        (0..40usize).prop_map(Step::Write),
        Just(Step::Acknowledge),
        (0..60usize).prop_map(Step::Cut),
        Just(Step::Resume),
    ]
}

proptest! {
    /// Messages that come together are what they are one by one, whether the socket keeps up or not.
    #[test]
    fn what_comes_at_once_is_what_comes_one_by_one(
        lanes in prop::collection::vec((0u8..3, 1u32..3, any::<u8>()), 0..20),
        written in prop::option::of(0usize..30),
    ) {
        let mut fan_out = FanOut::new();
        for (lane, sender, value) in lanes {
            let lane = [Lane::Ordered, latest(sender, 6), Lane::Unreliable][usize::from(lane)];
            let tag = if value < 200 { Tag(6) } else { Tag(300) };
            fan_out.push(Some(sender), 0, tag, &[value], lane);
        }
        for dialect in [Dialect::Native, Dialect::Classic] {
            let [mut at_once, mut one_by_one] = [Outbox::new(LIMITS), Outbox::new(LIMITS)];
            for outbox in [&mut at_once, &mut one_by_one] {
                outbox.push(&frame(5, 20), Lane::Ordered);
                if let Some(written) = written {
                    outbox.wrote(written.min(outbox.unwritten().len()));
                }
            }
            let frames = fan_out.frames(dialect);
            let lost = at_once.push_all(frames);
            let (mut expected, mut rest) = (Lost::default(), frames.bytes());
            for lane in frames.lanes() {
                let (frame, others) = rest.split_at(frame::encoded_head(rest).len);
                rest = others;
                match one_by_one.push(frame, lane) {
                    Pushed::Replaced => expected.replaced += 1,
                    Pushed::Dropped => expected.dropped += 1,
                    Pushed::Appended | Pushed::Aside => {}
                }
            }
            prop_assert!(rest.is_empty(), "a lane for each");
            prop_assert_eq!(lost, expected);
            let sums = |outbox: &Outbox| (outbox.len(), outbox.frames(), outbox.committed);
            prop_assert_eq!(sums(&at_once), sums(&one_by_one));
            prop_assert_eq!(drain(&mut at_once), drain(&mut one_by_one));
            prop_assert_eq!(sums(&at_once), sums(&one_by_one));
        }
    }

    /// Whatever happens in whatever order: whole frames, ORDERED all, once and in order, LATEST newest last.
    #[test]
    fn the_stream_is_whole_and_in_order(steps in prop::collection::vec(step(), 1..200)) {
        let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 1 << 20, ..LIMITS });
        let (mut streams, mut ordered, mut newest) = (vec![vec![]], vec![], BTreeMap::new());
        let mut order = 0u32;
        // What the other side has handled, over all sockets but the last.
        let (mut handled, mut before, mut attached) = (vec![], 0, true);
        // Bytes of the last stream that the other side has for certain: it acknowledged them.
        let mut certain = 0;
        for step in steps.into_iter().chain([Step::Cut(7), Step::Resume]) {
            let stream = streams.last_mut().expect("one at least");
            match step {
                Step::Ordered(value) => {
                    ordered.push(vec![value]);
                    outbox.push(&payload(5, value), Lane::Ordered);
                }
                Step::Latest(sender, value) => {
                    order += 1;
                    newest.insert(sender, order);
                    let mut out = vec![];
                    let body = [&sender.to_be_bytes()[..], &order.to_be_bytes(), &[value]].concat();
                    frame::encode(Tag(6), &body, &mut out);
                    outbox.push(&out, latest(sender, 6));
                }
                Step::Unreliable(value) => {
                    outbox.push(&payload(7, value), Lane::Unreliable);
                }
                Step::Ping if attached => outbox.push_urgent(&frame(3, 9)),
                Step::Write(count) if attached => {
                    let count = count.min(outbox.unwritten().len());
                    stream.extend_from_slice(&outbox.unwritten()[..count]);
                    outbox.wrote(count);
                }
                Step::Acknowledge if attached => {
                    let received = before + counted_whole(stream);
                    certain = stream.len();
                    prop_assert!(outbox.acknowledge(received).is_ok());
                    prop_assert!(outbox.acknowledge(received + 1).is_err());
                }
                Step::Cut(lost) if attached => {
                    stream.truncate(stream.len().saturating_sub(lost).max(certain));
                    certain = 0;
                    handled.extend(whole(stream));
                    before += counted_whole(stream);
                    outbox.detach();
                    attached = false;
                }
                Step::Resume if !attached => {
                    prop_assert!(outbox.resume(before).is_ok(), "all that is not acknowledged is kept");
                    outbox.push_urgent(&frame(240, 3));
                    streams.push(vec![]);
                    attached = true;
                }
                Step::Ping | Step::Write(_) | Step::Acknowledge | Step::Cut(_) | Step::Resume => {}
            }
        }
        handled.extend(frames(&drain(&mut outbox)));
        let of = |tag| handled.iter().filter(move |f| f.0 == tag).map(|f| f.1.clone());
        prop_assert_eq!(of(5).collect::<Vec<_>>(), ordered);
        let mut last = BTreeMap::new();
        for body in of(6) {
            let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().expect("four bytes"));
            let (sender, order) = (number(0), number(4));
            prop_assert!(last.insert(sender, order).is_none_or(|before| before < order), "older after newer");
        }
        prop_assert_eq!(last, newest);
    }

    /// Whatever is written and acknowledged, no more is kept than may be, and a resume from what is not is refused.
    #[test]
    fn no_more_is_kept_than_may_be(writes in prop::collection::vec((0..40usize, 0..60usize), 1..60), kept in 0..100u32) {
        let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: kept, ..LIMITS });
        let mut stream = vec![];
        for (length, count) in writes {
            outbox.push(&frame(5, length), Lane::Ordered);
            let count = count.min(outbox.unwritten().len());
            stream.extend_from_slice(&outbox.unwritten()[..count]);
            outbox.wrote(count);
            prop_assert!(outbox.boundary - outbox.kept <= kept as usize);
        }
        let written = counted_whole(&stream);
        let forgotten = outbox.forgotten;
        for received in 0..=written + 1 {
            let expected = match received {
                _ if received < forgotten => Err(ResumeError::Forgotten { received, forgotten }),
                _ if received > written => Err(AckError { acknowledged: received, committed: written }.into()),
                _ => Ok(()),
            };
            prop_assert_eq!(outbox.may_resume(received), expected);
        }
    }
}

/// The frames that a reader of this stream has whole.
fn whole(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut decoder = frame::Decoder::default();
    let mut frames = vec![];
    while let Some(frame) = decoder.next(&mut bytes).expect("frames") {
        frames.push((frame.tag.0, frame.payload.to_vec()));
    }
    frames
}

/// The counted ones among them.
fn counted_whole(bytes: &[u8]) -> u64 {
    whole(bytes).iter().filter(|(tag, _)| is_counted(Tag(*tag))).count() as u64
}
