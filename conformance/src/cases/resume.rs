//! Coming back: whatever happens to connections, each counted frame arrives once, in both directions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tagwire::Message;
use tagwire::pb::tagwire::v1::{Disconnect, Member, Ping, Welcome};
use tagwire::prost::Message as _;

use super::cases;
use super::requests::{asked, reply};
use crate::driver::like;
use crate::peer::{Frame, Link, frame_of, raw_frame};
use crate::schema::conformance::v1::{Move, Note};
use crate::stage::{Stage, TOKEN, WHILE, quick, relayed, resumable, resumed, welcome};

cases!["resume";
    resume_is_the_same_login_beside_the_token,
    resume_counts_what_was_handled,
    resume_sends_again_what_was_not_handled,
    resume_sends_nothing_again_that_was_acknowledged,
    resume_sends_nothing_before_welcome,
    resume_that_is_cut_itself,
    resume_that_finds_the_server_full,
    resume_that_comes_too_late_for_the_login,
    resume_refused_begins_a_new_session,
    resume_refused_by_a_disconnect,
    resume_in_the_new_session_counts_anew,
    resume_behind_more_than_was_sent,
    resume_behind_less_than_was_acknowledged,
    resume_behind_what_is_kept_no_more,
    resume_without_a_token,
    resume_without_a_window,
    members_and_room_go_on,
    request_is_answered_over_a_cut,
    request_made_while_away,
    request_times_out_while_away,
    late_answer_after_a_resume,
    sent_while_away,
    cut_anywhere_on_the_way_to_the_server,
    cut_anywhere_on_the_way_to_the_client,
    plug_pulled_in_both_directions,
];

fn note(number: u32) -> Note {
    Note { number, text: "t".repeat(number as usize * 7 % 300) }
}

fn is_note(frame: &Frame, number: u32) -> Result<()> {
    ensure!(frame.tag == Note::TAG, "expected note {number}, got {frame:?}");
    let got = Note::decode(frame.payload.as_slice())?;
    ensure!(got == note(number), "expected note {number}, got note {}", got.number);
    Ok(())
}

fn say(stage: &mut Stage, number: u32) -> Result<()> {
    stage.note(number, &note(number).text)
}

fn resume_is_the_same_login_beside_the_token(stage: &mut Stage) -> Result<()> {
    let (mut link, first) = stage.asked(json!({ "reconnect": quick() }))?;
    link.send(&resumable())?;
    stage.driver.expect("connected")?;
    link.end()?;
    let mut link = stage.peer.accept()?;
    let mut second = link.login()?;
    let resume = second.resume.take().context("no resume")?;
    ensure!(second == first, "another login: {second:?}");
    ensure!(resume.token == TOKEN && resume.frames_received == 0 && resume.connection == 2, "{resume:?}");
    link.send(&resumed(0))?;
    let fields = json!({ "resumed": true, "attempts": 1, "lost": 0 });
    stage.driver.expect_like("reconnected", fields)?;
    Ok(())
}

fn resume_counts_what_was_handled(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    link.send(&note(1))?;
    link.raw(&raw_frame(777, b""))?;
    link.send(&Ping { sent_epoch: 1, ..Ping::default() })?;
    link.send(&relayed(3, &note(2)))?;
    // The beginning of another one does not count.
    link.raw(&frame_of(&note(3))[..5])?;
    link.end()?;
    let mut link = stage.back(2, 3, 0)?;
    link.raw(&frame_of(&note(3)))?;
    for number in 1..=3 {
        stage
            .driver
            .expect_like("message", json!({ "message": { "number": number, "text": note(number).text } }))?;
    }
    link.end()?;
    stage.back(3, 4, 0)?;
    Ok(())
}

fn resume_sends_again_what_was_not_handled(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    for number in 1..=10 {
        say(stage, number)?;
    }
    for number in 1..=10 {
        is_note(&link.frame()?, number)?;
    }
    link.reset()?;
    let mut link = stage.back(2, 0, 4)?;
    say(stage, 11)?;
    for number in 5..=11 {
        is_note(&link.frame()?, number)?;
    }
    link.reset()?;
    let mut link = stage.back(3, 0, 11)?;
    say(stage, 12)?;
    is_note(&link.frame()?, 12)
}

fn resume_sends_nothing_again_that_was_acknowledged(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    for number in 1..=5 {
        say(stage, number)?;
        is_note(&link.frame()?, number)?;
    }
    link.send(&Ping { frames_received: 3, ..Ping::default() })?;
    link.ping()?;
    link.reset()?;
    let mut link = stage.back(2, 0, 3)?;
    is_note(&link.frame()?, 4)?;
    is_note(&link.frame()?, 5)?;
    link.ping()?;
    Ok(())
}

fn resume_sends_nothing_before_welcome(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    say(stage, 1)?;
    is_note(&link.frame()?, 1)?;
    link.reset()?;
    let mut link = stage.asks_again(2, 0)?;
    say(stage, 2)?;
    link.silent(WHILE)?;
    link.send(&resumed(0))?;
    is_note(&link.frame()?, 1)?;
    is_note(&link.frame()?, 2)?;
    stage.driver.expect("reconnected")?;
    Ok(())
}

fn resume_that_is_cut_itself(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    link.send(&note(1))?;
    stage.driver.expect("message")?;
    say(stage, 1)?;
    is_note(&link.frame()?, 1)?;
    link.end()?;
    stage.asks_again(2, 1)?.reset()?;
    let mut link = stage.asks_again(3, 1)?;
    // The server had gone on, and the answer is lost halfway.
    let answer = frame_of(&resumed(1));
    link.raw(&answer[..answer.len() - 1])?;
    link.end()?;
    let mut link = stage.back(4, 1, 1)?;
    say(stage, 2)?;
    is_note(&link.frame()?, 2)
}

fn resume_that_finds_the_server_full(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    say(stage, 1)?;
    is_note(&link.frame()?, 1)?;
    link.reset()?;
    let mut link = stage.asks_again(2, 0)?;
    link.send(&Disconnect { code: 3003, retry_after_ms: 300, ..Disconnect::default() })?;
    link.end()?;
    let began = Instant::now();
    // That was about the connection: the session is still there.
    let mut link = stage.back(3, 0, 0)?;
    let waited = began.elapsed() + Duration::from_millis(5);
    ensure!(waited >= Duration::from_millis(300), "back after {waited:?}");
    is_note(&link.frame()?, 1)
}

fn resume_that_comes_too_late_for_the_login(stage: &mut Stage) -> Result<()> {
    stage.open_resumable()?.reset()?;
    let mut link = stage.asks_again(2, 0)?;
    link.send(&Disconnect { code: 3507, ..Disconnect::default() })?;
    link.end()?;
    stage.back(3, 0, 0)?;
    Ok(())
}

/// A client with a message and a request that nobody has acknowledged, and its connection is cut.
fn with_something_lost(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    link.send(&Member { player: 3, event: 1, name: "ann".into() })?;
    stage.driver.expect("member")?;
    say(stage, 1)?;
    is_note(&link.frame()?, 1)?;
    stage.ask(1, 1, json!({ "timeout_ms": 10_000 }))?;
    asked(&mut link, 1)?;
    link.reset()
}

fn another() -> Welcome {
    Welcome { session_id: 8, player_id: 42, resume_token: b"another one".as_slice().into(), ..resumable() }
}

/// What a client says when it is in another session.
fn is_another(stage: &mut Stage, link: &mut Link, why: u16) -> Result<()> {
    stage.driver.expect_like("response", json!({ "id": 1, "closed": why, "may_have_run": true }))?;
    stage.driver.expect_like("reconnected", json!({ "resumed": false, "lost": 2 }))?;
    like(&stage.state()?, &json!({ "player": 42, "room": "main", "members": [] }))?;
    say(stage, 2)?;
    is_note(&link.frame()?, 2)?;
    ensure!(link.ping()?.frames_received == 0, "the count goes on");
    Ok(())
}

fn resume_refused_begins_a_new_session(stage: &mut Stage) -> Result<()> {
    with_something_lost(stage)?;
    let mut link = stage.asks_again(2, 1)?;
    link.send(&another())?;
    is_another(stage, &mut link, 3002)
}

fn resume_refused_by_a_disconnect(stage: &mut Stage) -> Result<()> {
    with_something_lost(stage)?;
    let mut link = stage.asks_again(2, 1)?;
    link.send(&Disconnect { code: 3509, reason: "the session has ended".into(), ..Disconnect::default() })?;
    link.end()?;
    let mut link = stage.peer.accept()?;
    ensure!(link.login()?.resume.is_none(), "the client asks again for what was refused");
    link.send(&another())?;
    is_another(stage, &mut link, 3509)
}

fn resume_in_the_new_session_counts_anew(stage: &mut Stage) -> Result<()> {
    with_something_lost(stage)?;
    let mut link = stage.asks_again(2, 1)?;
    link.send(&another())?;
    is_another(stage, &mut link, 3002)?;
    link.reset()?;
    let mut link = stage.peer.accept()?;
    let resume = link.login()?.resume.context("no resume")?;
    ensure!(resume.token == b"another one".as_slice(), "another token");
    ensure!((resume.connection, resume.frames_received) == (2, 0), "{resume:?}");
    link.send(&Welcome { resumed: true, ..another() })?;
    stage.driver.expect_like("reconnected", json!({ "resumed": true }))?;
    is_note(&link.frame()?, 2)
}

/// The server goes on behind a count that cannot be: the client says so, and begins a new session.
fn impossible(stage: &mut Stage, handled: u64) -> Result<()> {
    let mut link = stage.asks_again(2, 0)?;
    link.send(&resumed(handled))?;
    let told: Disconnect = link.take()?;
    ensure!(told.code == 3504, "{told:?}");
    link.ended()?;
    link.end()?;
    let mut link = stage.peer.accept()?;
    ensure!(link.login()?.resume.is_none(), "the client asks for the same session again");
    link.send(&another())?;
    stage.driver.expect_like("reconnected", json!({ "resumed": false }))?;
    Ok(())
}

fn resume_behind_more_than_was_sent(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    say(stage, 1)?;
    is_note(&link.frame()?, 1)?;
    link.reset()?;
    impossible(stage, 2)
}

fn resume_behind_less_than_was_acknowledged(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    for number in 1..=3 {
        say(stage, number)?;
        is_note(&link.frame()?, number)?;
    }
    link.send(&Ping { frames_received: 3, ..Ping::default() })?;
    link.ping()?;
    link.reset()?;
    impossible(stage, 2)
}

fn resume_behind_what_is_kept_no_more(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    // Of more than 256 KiB without acknowledgement the oldest is forgotten.
    for _ in 0..6 {
        stage.note(0, &"x".repeat(60_000))?;
        link.frame()?;
    }
    link.reset()?;
    impossible(stage, 0)
}

/// Where the session is over with its connection, the next login is a new one.
fn is_not_resumed(stage: &mut Stage, answer: &Welcome) -> Result<()> {
    stage.opened(answer)?.end()?;
    let mut link = stage.peer.accept()?;
    ensure!(link.login()?.resume.is_none(), "the client asks for a session that is over");
    link.send(&welcome())?;
    stage.driver.expect_like("reconnected", json!({ "resumed": false }))?;
    Ok(())
}

fn resume_without_a_token(stage: &mut Stage) -> Result<()> {
    is_not_resumed(stage, &Welcome { resume_window_ms: 60_000, ..welcome() })
}

fn resume_without_a_window(stage: &mut Stage) -> Result<()> {
    is_not_resumed(stage, &Welcome { resume_window_ms: 0, ..resumable() })
}

fn members_and_room_go_on(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    link.send(&Member { player: 3, event: 1, name: "ann".into() })?;
    stage.driver.expect("member")?;
    link.end()?;
    // Welcome names the room in which the session is by then; the frames that lead there follow.
    let mut link = stage.asks_again(2, 1)?;
    link.send(&Welcome { room: "red1".into(), ..resumed(0) })?;
    stage.driver.expect_like("reconnected", json!({ "resumed": true }))?;
    let members = json!([{ "player": 3, "name": "ann", "away": false }]);
    like(&stage.state()?, &json!({ "room": "main", "members": members }))?;
    link.send(&relayed(3, &note(1)))?;
    stage.driver.expect_like("message", json!({ "name": "ann" }))?;
    Ok(())
}

fn request_is_answered_over_a_cut(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    stage.ask(1, 1, json!({ "timeout_ms": 10_000 }))?;
    let key = asked(&mut link, 1)?.key;
    link.reset()?;
    let mut link = stage.back(2, 0, 1)?;
    link.send(&reply(key, 5))?;
    stage.driver.expect_like("response", json!({ "id": 1, "message": { "number": 5 } }))?;
    // And one that is sent again: with the same key.
    stage.ask(2, 2, json!({ "timeout_ms": 10_000 }))?;
    let key = asked(&mut link, 2)?.key;
    link.reset()?;
    let mut link = stage.back(3, 1, 1)?;
    let again = asked(&mut link, 2)?.key;
    ensure!(again == key, "key {again} should be {key}");
    link.send(&reply(key, 6))?;
    stage.driver.expect_like("response", json!({ "id": 2, "message": { "number": 6 } }))?;
    Ok(())
}

fn request_made_while_away(stage: &mut Stage) -> Result<()> {
    stage.open_resumable()?.reset()?;
    let mut link = stage.asks_again(2, 0)?;
    stage.ask(1, 1, json!({ "timeout_ms": 10_000 }))?;
    stage.state()?;
    link.send(&resumed(0))?;
    stage.driver.expect("reconnected")?;
    let key = asked(&mut link, 1)?.key;
    link.send(&reply(key, 5))?;
    stage.driver.expect_like("response", json!({ "id": 1, "message": { "number": 5 } }))?;
    Ok(())
}

fn request_times_out_while_away(stage: &mut Stage) -> Result<()> {
    stage.open_resumable()?.reset()?;
    let mut link = stage.asks_again(2, 0)?;
    stage.ask(1, 1, json!({ "timeout_ms": 200 }))?;
    // It was not sent, and will not be.
    let fields = json!({ "id": 1, "status": "TIMEOUT", "may_have_run": false, "by_peer": false });
    stage.driver.expect_like("response", fields)?;
    link.send(&resumed(0))?;
    stage.driver.expect("reconnected")?;
    link.ping()?;
    Ok(())
}

fn late_answer_after_a_resume(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    stage.ask(1, 1, json!({ "timeout_ms": 200 }))?;
    let key = asked(&mut link, 1)?.key;
    link.reset()?;
    let mut link = stage.asks_again(2, 0)?;
    let fields = json!({ "id": 1, "status": "TIMEOUT", "may_have_run": true, "by_peer": false });
    stage.driver.expect_like("response", fields)?;
    link.send(&resumed(1))?;
    stage.driver.expect("reconnected")?;
    link.send(&reply(key, 5))?;
    ensure!(link.ping()?.frames_received == 1, "not counted");
    like(&stage.state()?["dropped"], &json!({ "misplaced": 1 }))
}

fn sent_while_away(stage: &mut Stage) -> Result<()> {
    stage.open_resumable()?.reset()?;
    let mut link = stage.asks_again(2, 0)?;
    for x in 1..=3 {
        say(stage, x)?;
        stage.tell("send", json!({ "type": "conformance.v1.Move", "message": { "x": x } }))?;
        stage.tell("send", json!({ "type": "conformance.v1.Spark", "message": { "number": x } }))?;
    }
    stage.state()?;
    link.send(&resumed(0))?;
    stage.driver.expect("reconnected")?;
    // Nothing of what is ORDERED is missing, of what is LATEST there is the last, of what is UNRELIABLE nothing.
    let (mut notes, mut moves) = (1, vec![]);
    for _ in 0..4 {
        let frame = link.frame()?;
        if frame.tag == Move::TAG {
            moves.push(Move::decode(frame.payload.as_slice())?.x);
        } else {
            is_note(&frame, notes)?;
            notes += 1;
        }
    }
    ensure!(notes == 4 && moves == [3], "{} notes, moves {moves:?}", notes - 1);
    link.ping()?;
    Ok(())
}

const CUTS: u32 = 25;

/// Says six more notes; how many there are.
fn say_more(stage: &mut Stage, said: u32) -> Result<u32> {
    for number in said + 1..=said + 6 {
        say(stage, number)?;
    }
    Ok(said + 6)
}

fn bytes_of(numbers: std::ops::RangeInclusive<u32>) -> usize {
    numbers.map(|number| frame_of(&note(number)).len()).sum()
}

fn cut_anywhere_on_the_way_to_the_server(stage: &mut Stage) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut link = stage.open_resumable()?;
    let (mut said, mut handled) = (0, 0);
    for cut in 0..CUTS {
        said = say_more(stage, said)?;
        let there = bytes_of(handled + 1..=said);
        for frame in link.frames_within(random.usize(0..=there.min(1200)))? {
            handled += 1;
            is_note(&frame, handled).with_context(|| format!("at cut {cut}"))?;
        }
        link.reset()?;
        link = stage.back(cut + 2, 0, handled.into())?;
    }
    while handled < said {
        handled += 1;
        is_note(&link.frame()?, handled)?;
    }
    link.ping()?;
    Ok(())
}

/// The note of that number as the server sends it; between them pings, which do not count.
fn told(number: u32) -> Vec<u8> {
    let note =
        if number.is_multiple_of(3) { frame_of(&relayed(3, &note(number))) } else { frame_of(&note(number)) };
    let ping = frame_of(&Ping { sent_epoch: number.into(), ..Ping::default() });
    if number.is_multiple_of(5) { [ping, note].concat() } else { note }
}

fn cut_anywhere_on_the_way_to_the_client(stage: &mut Stage) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(8);
    let mut link = stage.open_resumable()?;
    let mut handled = 0;
    for cut in 0..CUTS {
        let mut bytes = vec![];
        let mut whole = vec![];
        for number in handled + 1..=handled + 12 {
            bytes.extend_from_slice(&told(number));
            whole.push(bytes.len());
        }
        let at = random.usize(0..=bytes.len());
        link.raw(&bytes[..at])?;
        handled += u32::try_from(whole.iter().filter(|end| **end <= at).count())?;
        // All that was written arrives, the last of it within a frame.
        link.end()?;
        link = stage.back(cut + 2, handled.into(), 0).with_context(|| format!("at cut {cut}"))?;
    }
    link.raw(&told(handled + 1))?;
    for number in 1..=handled + 1 {
        let message = json!({ "number": number });
        let got = stage.driver.expect("message")?;
        ensure!(got["message"]["number"] == message["number"], "expected {message}, got {got}");
    }
    Ok(())
}

fn plug_pulled_in_both_directions(stage: &mut Stage) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(9);
    let mut link = stage.open_resumable()?;
    let (mut said, mut handled) = (0, 0);
    // Of the server's notes: how many were written at all, and from which on the client wants them.
    let (mut written, mut wanted) = (0, 1);
    for cut in 0..CUTS {
        said = say_more(stage, said)?;
        for number in wanted..=written.max(wanted) + random.u32(0..8) {
            // Without pings: their answers would be among what is counted below.
            link.send(&note(number))?;
            written = written.max(number);
        }
        let there = bytes_of(handled + 1..=said);
        for frame in link.frames_within(random.usize(0..=there.min(1200)))? {
            handled += 1;
            is_note(&frame, handled).with_context(|| format!("at cut {cut}"))?;
        }
        link.reset()?;
        link = stage.peer.accept()?;
        let resume = link.login()?.resume.context("no resume")?;
        let got = u32::try_from(resume.frames_received)?;
        ensure!((wanted - 1..=written).contains(&got), "{got} handled, of {written} written");
        wanted = got + 1;
        link.send(&resumed(handled.into()))?;
        stage.driver.expect_like("reconnected", json!({ "resumed": true, "lost": 0 }))?;
    }
    for number in wanted..=written + 1 {
        link.send(&note(number))?;
    }
    while handled < said {
        handled += 1;
        is_note(&link.frame()?, handled)?;
    }
    for number in 1..=written + 1 {
        let got = stage.driver.expect("message")?;
        ensure!(got["message"]["number"] == number, "expected note {number}, got {got}");
    }
    link.ping()?;
    Ok(())
}
