//! The end of a session, from either side: every close code, and whether the client comes back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tagwire::pb::tagwire::v1::{Disconnect, Welcome};

use super::cases;
use crate::driver::like;
use crate::peer::{frame_of, raw_frame};
use crate::schema::conformance::v1::Note;
use crate::stage::{Stage, WHILE, quick, resumable};

cases!["closing";
    client_leaves,
    client_leaves_with_a_code_and_a_reason,
    client_leaves_behind_what_it_sent,
    client_leaves_while_it_is_away,
    nothing_is_sent_after_the_end,
    code_3000_shutdown = comes_back::<3000>,
    code_3001_slow = comes_back::<3001>,
    code_3002_timeout_resumes,
    code_3003_overload = comes_back::<3003>,
    code_3499 = comes_back::<3499>,
    code_4000 = comes_back::<4000>,
    code_4499 = comes_back::<4499>,
    code_0_normal = ends::<0>,
    code_2999 = ends::<2999>,
    code_3500_replaced = ends::<3500>,
    code_3501_login_refused = ends::<3501>,
    code_3502_schema_mismatch = ends::<3502>,
    code_3503_malformed = ends::<3503>,
    code_3504_violation = ends::<3504>,
    code_3505_too_large = ends::<3505>,
    code_3506_rate_limited = ends::<3506>,
    code_3507_login_timeout = ends::<3507>,
    code_3508_kicked = ends::<3508>,
    code_3509_resume_refused = ends::<3509>,
    code_3510_version = ends::<3510>,
    code_3999 = ends::<3999>,
    code_4500 = ends::<4500>,
    code_4999 = ends::<4999>,
    never_back_before_the_server_asks,
    what_came_before_the_end_is_received,
    what_comes_after_the_end_is_ignored,
    end_that_cannot_be_read,
    end_without_a_word_and_no_way_back,
    client_gives_up,
];

fn client_leaves(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    stage.tell("close", json!({}))?;
    let frame = link.frame()?;
    ensure!(frame.tag.0 == 241 && frame.payload.is_empty(), "{frame:?}");
    link.ended()?;
    link.end()?;
    stage.driver.expect_like("closed", json!({ "code": 0, "by_peer": false }))?;
    stage.peer.nobody_comes(WHILE)
}

fn client_leaves_with_a_code_and_a_reason(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    stage.tell("close", json!({ "code": 4001, "reason": "won" }))?;
    let told: Disconnect = link.take()?;
    ensure!((told.code, told.reason.as_str()) == (4001, "won"), "{told:?}");
    link.ended()?;
    stage.driver.expect_like("closed", json!({ "code": 4001, "reason": "won", "by_peer": false }))?;
    // It meant it, although the code advises servers' clients to come back.
    stage.peer.nobody_comes(WHILE)
}

fn client_leaves_behind_what_it_sent(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    for number in 1..=200 {
        stage.note(number, "before the end")?;
    }
    stage.tell("close", json!({}))?;
    for number in 1..=200 {
        let got: Note = link.take()?;
        ensure!(got.number == number, "number {} should be {number}", got.number);
    }
    let _: Disconnect = link.take()?;
    link.ended()?;
    stage.driver.expect("closed")?;
    Ok(())
}

fn client_leaves_while_it_is_away(stage: &mut Stage) -> Result<()> {
    stage.open_resumable()?.reset()?;
    let link = stage.asks_again(2, 0)?;
    stage.tell("close", json!({}))?;
    stage.driver.expect_like("closed", json!({ "code": 0, "by_peer": false }))?;
    drop(link);
    stage.peer.nobody_comes(WHILE)
}

fn nothing_is_sent_after_the_end(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&Disconnect { code: 3508, ..Disconnect::default() })?;
    stage.driver.expect("closed")?;
    stage.note(1, "")?;
    stage.driver.expect_like("error", json!({ "about": "send" }))?;
    stage.ask(1, 1, json!({}))?;
    stage.driver.expect_like("response", json!({ "id": 1, "closed": 3508, "may_have_run": false }))?;
    link.ended()
}

/// With this code the server has ended the session: the client comes back to another one.
fn comes_back<const CODE: u32>(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    link.send(&Disconnect { code: CODE, reason: "later".into(), ..Disconnect::default() })?;
    link.end()?;
    link.ended()?;
    let mut link = stage.peer.accept()?;
    let login = link.login()?;
    ensure!(login.resume.is_none(), "the client asks for a session that the server has ended");
    ensure!((login.username.as_str(), login.password.as_str()) == ("player1", "welcome"), "another login");
    link.send(&Welcome { session_id: 8, ..resumable() })?;
    stage.driver.expect_like("reconnected", json!({ "resumed": false }))?;
    link.ping()?;
    Ok(())
}

fn code_3002_timeout_resumes(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    link.send(&Disconnect { code: 3002, reason: "you are silent".into(), ..Disconnect::default() })?;
    link.end()?;
    let mut link = stage.back(2, 0, 0)?;
    link.ping()?;
    Ok(())
}

/// With this code it does not come back.
fn ends<const CODE: u16>(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    link.send(&Disconnect { code: CODE.into(), reason: "because".into(), ..Disconnect::default() })?;
    link.end()?;
    link.ended()?;
    let closed = stage.ended_by_peer(CODE)?;
    like(&closed, &json!({ "reason": "because" }))
}

fn never_back_before_the_server_asks(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    let asked = Duration::from_millis(700);
    link.send(&Disconnect { code: 3000, retry_after_ms: 700, ..Disconnect::default() })?;
    link.end()?;
    let began = Instant::now();
    let mut link = stage.peer.accept()?;
    // Some clocks are read before, some after.
    let waited = began.elapsed() + Duration::from_millis(5);
    ensure!(waited >= asked, "back after {waited:?}, asked for {asked:?}");
    link.login()?;
    link.send(&resumable())?;
    stage.driver.expect("reconnected")?;
    Ok(())
}

fn what_came_before_the_end_is_received(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let notes = (1..=50).flat_map(|number| frame_of(&Note { number, text: String::new() }));
    let end = frame_of(&Disconnect { code: 3508, reason: "out".into(), ..Disconnect::default() });
    link.raw(&notes.chain(end).collect::<Vec<u8>>())?;
    link.end()?;
    for number in 1..=50 {
        stage.driver.expect_like("message", json!({ "message": { "number": number } }))?;
    }
    stage.driver.expect_like("closed", json!({ "code": 3508, "reason": "out" }))?;
    Ok(())
}

fn what_comes_after_the_end_is_ignored(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let end = frame_of(&Disconnect { code: 3508, ..Disconnect::default() });
    link.raw(&[end, frame_of(&Note { number: 1, text: String::new() })].concat())?;
    stage.driver.expect("closed")?;
    Ok(())
}

fn end_that_cannot_be_read(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open_resumable()?;
    link.raw(&raw_frame(241, b"\xff"))?;
    stage.ended_by_peer(3503)?;
    Ok(())
}

fn end_without_a_word_and_no_way_back(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({ "reconnect": false }))?;
    link.send(&resumable())?;
    stage.driver.expect("connected")?;
    link.end()?;
    stage.ended_by_peer(3002)?;
    Ok(())
}

fn client_gives_up(stage: &mut Stage) -> Result<()> {
    let mut reconnect = quick();
    reconnect["give_up_after_ms"] = 400.into();
    let (mut link, _) = stage.asked(json!({ "reconnect": reconnect }))?;
    link.send(&resumable())?;
    stage.driver.expect("connected")?;
    stage.peer.close();
    link.end()?;
    let began = Instant::now();
    stage.driver.expect_like("closed", json!({ "code": 3002, "by_peer": true }))?;
    ensure!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    Ok(())
}
