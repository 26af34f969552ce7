//! Pings, acknowledgements, the server's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tagwire::Message;
use tagwire::pb::tagwire::v1::{Disconnect, Member, Ping, SchemaWanted};
use tagwire::prost::Message as _;

use super::cases;
use super::login::text_for;
use crate::peer::{Link, frame_of, raw_frame};
use crate::schema::conformance::v1::Note;
use crate::stage::{SERVER_TIME_US, Stage, WHILE, welcome};

cases!["ping";
    ping_is_answered_with_both_clocks,
    every_ping_is_answered,
    ping_that_asks_nothing_is_not_answered,
    answer_counts_what_was_handled,
    acknowledgement_after_256_frames,
    acknowledgement_after_64_kib,
    round_trip_is_told,
    the_servers_clock_is_followed,
    acknowledgement_of_what_was_not_sent,
    silent_server_is_left_after_ten_seconds,
];

fn now_us() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros().try_into()?)
}

fn ping_is_answered_with_both_clocks(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let before = now_us()?;
    link.send(&Ping { sent_epoch: SERVER_TIME_US + 1, ..Ping::default() })?;
    let answer: Ping = link.take()?;
    let after = now_us()?;
    ensure!(answer.sent_epoch == SERVER_TIME_US + 1, "{answer:?}");
    let bounced = answer.bounce_epoch;
    // Some clocks have whole milliseconds.
    ensure!(
        (before - 999..=after).contains(&bounced),
        "bounceEpoch {bounced} should be in {before} to {after}"
    );
    ensure!(answer.frames_received == 0 && answer.rtt_us == 0 && answer.received_epoch == 0, "{answer:?}");
    Ok(())
}

fn every_ping_is_answered(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let pings: Vec<u8> =
        (1..=20).flat_map(|sent_epoch| frame_of(&Ping { sent_epoch, ..Ping::default() })).collect();
    link.raw(&pings)?;
    for number in 1..=20 {
        let answer: Ping = link.take()?;
        ensure!(answer.sent_epoch == number, "the {number}th answer: {answer:?}");
    }
    Ok(())
}

fn ping_that_asks_nothing_is_not_answered(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&Ping { rtt_us: 5, ..Ping::default() })?;
    // Nor is an answer, which a server never sends.
    link.send(&Ping { sent_epoch: 1, bounce_epoch: 2, ..Ping::default() })?;
    link.silent(WHILE)?;
    link.ping()?;
    Ok(())
}

fn answer_counts_what_was_handled(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let note = Note { number: 1, text: String::new() };
    link.send(&note)?;
    link.raw(&raw_frame(777, b"nobody knows it"))?;
    link.raw(&raw_frame(2, b"\xff"))?;
    link.send(&Member { player: 3, event: 2, name: "ann".into() })?;
    // These have no number.
    link.send(&welcome())?;
    link.send(&SchemaWanted {})?;
    link.send(&Ping::default())?;
    let answer = link.ping()?;
    ensure!(answer.frames_received == 4, "4 frames count, the client says {}", answer.frames_received);
    link.send(&note)?;
    ensure!(link.ping()?.frames_received == 5, "the count does not go on");
    stage.driver.expect_like("message", json!({ "message": { "number": 1 } }))?;
    stage.driver.expect_like("member", json!({ "change": "JOINED" }))?;
    stage.driver.expect_like("message", json!({ "message": { "number": 1 } }))?;
    Ok(())
}

/// The next frame, which must be an acknowledgement.
fn acknowledged(link: &mut Link) -> Result<u64> {
    let frame = link.any_frame()?;
    ensure!(frame.tag == Ping::TAG, "expected an acknowledgement, got {frame:?}");
    let ping = Ping::decode(frame.payload.as_slice()).context("the client's Ping")?;
    ensure!(ping.sent_epoch == 0 && ping.bounce_epoch == 0, "expected an acknowledgement, got {ping:?}");
    Ok(ping.frames_received)
}

fn acknowledgement_after_256_frames(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    // Of a tag that nobody knows: they count too.
    link.raw(&raw_frame(777, b"").repeat(255))?;
    link.silent(WHILE)?;
    link.raw(&raw_frame(777, b""))?;
    ensure!(acknowledged(&mut link)? == 256, "not 256");
    link.raw(&raw_frame(777, b"").repeat(256))?;
    ensure!(acknowledged(&mut link)? == 512, "not 512");
    Ok(())
}

fn acknowledgement_after_64_kib(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    // Frames of 32 KiB, header included.
    let frame = raw_frame(777, &vec![0; 32 * 1024 - 8]);
    link.raw(&frame)?;
    link.silent(WHILE)?;
    link.raw(&frame)?;
    ensure!(acknowledged(&mut link)? == 2, "not 2");
    Ok(())
}

fn round_trip_is_told(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&Ping { sent_epoch: 1, rtt_us: 12_345, jitter_us: 678, ..Ping::default() })?;
    let _: Ping = link.take()?;
    let state = stage.state()?;
    crate::driver::like(&state, &json!({ "rtt_us": 12_345, "jitter_us": 678 }))
}

fn the_servers_clock_is_followed(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    // An hour after Welcome, half a round trip ago.
    let hour_us = 3_600_000_000;
    let sent_epoch = SERVER_TIME_US + hour_us;
    link.send(&Ping { sent_epoch, rtt_us: 200_000, ..Ping::default() })?;
    let _: Ping = link.take()?;
    for _ in 0..64 {
        link.send(&Ping { sent_epoch, rtt_us: 200_000, ..Ping::default() })?;
        let _: Ping = link.take()?;
    }
    let state = stage.state()?;
    let told = state["server_time_ms"].as_u64().context("no server_time_ms")?;
    let expected = sent_epoch / 1000;
    ensure!(
        (expected - 1000..expected + 15_000).contains(&told),
        "server_time_ms {told}, expected {expected} or so"
    );
    Ok(())
}

fn acknowledgement_of_what_was_not_sent(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    stage.note(1, &text_for(40))?;
    let _: Note = link.take()?;
    link.send(&Ping { frames_received: 2, ..Ping::default() })?;
    let told: Disconnect = link.take()?;
    ensure!(told.code == 3504, "{told:?}");
    link.ended()?;
    stage.driver.expect_like("closed", json!({ "code": 3504, "by_peer": false }))?;
    stage.peer.nobody_comes(WHILE)
}

fn silent_server_is_left_after_ten_seconds(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    let began = std::time::Instant::now();
    link.ended()?;
    let waited = began.elapsed().as_secs_f64();
    ensure!((9.0..14.0).contains(&waited), "the client left after {waited:.1} s");
    stage.back(2, 0, 0)?;
    Ok(())
}
