//! Requests, their answers, and batches.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tagwire::pb::tagwire::v1::{Batch, Request, Response, status};
use tagwire::prost::Message as _;

use super::cases;
use crate::driver::like;
use crate::peer::Link;
use crate::schema::conformance::v1::{AskReply, AskRequest, Note};
use crate::stage::{Stage, question};

cases!["requests";
    request_carries_key_tag_and_body,
    keys_rise_from_1,
    reply_is_told,
    reply_that_is_empty,
    replies_in_another_order,
    status_invalid = |stage| failed(stage, status::Value::Invalid, "INVALID"),
    status_illegal = |stage| failed(stage, status::Value::Illegal, "ILLEGAL"),
    status_denied = |stage| failed(stage, status::Value::Denied, "DENIED"),
    status_unknown = |stage| failed(stage, status::Value::Unknown, "UNKNOWN"),
    status_unavailable = |stage| failed(stage, status::Value::Unavailable, "UNAVAILABLE"),
    status_timeout = |stage| failed(stage, status::Value::Timeout, "TIMEOUT"),
    status_internal = |stage| failed(stage, status::Value::Internal, "INTERNAL"),
    no_answer_in_time,
    late_answer_is_dropped,
    second_answer_is_dropped,
    answer_to_nothing_is_dropped,
    reply_that_cannot_be_read,
    requests_wait_while_messages_go_on,
    unanswered_at_the_end,
    batch_is_one_frame,
    batch_stops_on_error,
    batch_is_answered_one_by_one,
    batch_of_64_and_none_larger,
];

/// The next frame, which must ask the desk this number.
pub(super) fn asked(link: &mut Link, number: u32) -> Result<Request> {
    let request: Request = link.take()?;
    is_question(&request, number)?;
    Ok(request)
}

fn is_question(request: &Request, number: u32) -> Result<()> {
    let asked = AskRequest::decode(request.body.as_ref())?;
    ensure!(request.tag == 301 && asked.number == number, "{request:?} should ask {number}");
    Ok(())
}

/// A reply of the desk.
pub(super) fn reply(key: u64, number: u32) -> Response {
    let body = AskReply { number, text: String::new() }.encode_to_vec().into();
    Response { key, tag: 301, body, ..Response::default() }
}

fn replied(id: u32, number: u32) -> Value {
    json!({ "id": id, "message": { "number": number } })
}

fn request_carries_key_tag_and_body(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.ask(1, 5, json!({ "message": { "number": 5, "text": "t" } }))?;
    let frame = link.frame()?;
    // Request { key: 1 tag: 301 body: AskRequest { number: 5 text: "t" } }
    ensure!(frame.payload == b"\x08\x01\x10\xad\x02\x1a\x05\x08\x05\x12\x01t", "{frame:02x?}");
    link.send(&reply(1, 6))?;
    stage.driver.expect_like("response", replied(1, 6))?;
    Ok(())
}

fn keys_rise_from_1(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    for number in 1..=5 {
        stage.ask(number, number, json!({}))?;
        let request = asked(&mut link, number)?;
        ensure!(request.key == u64::from(number), "key {} should be {number}", request.key);
        link.send(&reply(request.key, number))?;
        stage.driver.expect_like("response", replied(number, number))?;
    }
    Ok(())
}

fn reply_is_told(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.ask(9, 1, json!({}))?;
    let key = asked(&mut link, 1)?.key;
    let body = AskReply { number: u32::MAX, text: "ß".repeat(300) }.encode_to_vec().into();
    link.send(&Response { body, ..reply(key, 0) })?;
    let message = json!({ "number": u32::MAX, "text": "ß".repeat(300) });
    stage.driver.expect_like("response", json!({ "id": 9, "message": message }))?;
    Ok(())
}

fn reply_that_is_empty(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.ask(1, 1, json!({}))?;
    let key = asked(&mut link, 1)?.key;
    link.send(&reply(key, 0))?;
    stage.driver.expect_like("response", json!({ "id": 1, "message": {} }))?;
    Ok(())
}

fn replies_in_another_order(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let mut keys = vec![];
    for number in 1..=10 {
        stage.ask(number, number, json!({}))?;
        keys.push((asked(&mut link, number)?.key, number));
    }
    for (key, number) in keys.into_iter().rev() {
        link.send(&reply(key, 100 + number))?;
        stage.driver.expect_like("response", replied(number, 100 + number))?;
    }
    Ok(())
}

fn failed(stage: &mut Stage, status: status::Value, name: &str) -> Result<()> {
    let mut link = stage.open()?;
    let told = Response { status: status.into(), message: "because".into(), ..Response::default() };
    stage.ask(1, 1, json!({}))?;
    let key = asked(&mut link, 1)?.key;
    link.send(&Response { key, tag: 301, code: 77, retry_after_ms: 1500, ..told.clone() })?;
    // What was cut short or failed has begun, whether the server says so or not.
    let begun = matches!(status, status::Value::Timeout | status::Value::Internal);
    let fields = json!({
        "id": 1, "status": name, "text": "because", "code": 77, "retry_after_ms": 1500, "may_have_run": begun,
        "by_peer": true,
    });
    stage.driver.expect_like("response", fields)?;
    stage.ask(2, 2, json!({}))?;
    let key = asked(&mut link, 2)?.key;
    link.send(&Response { key, tag: 301, may_have_run: true, ..told })?;
    let fields = json!({ "id": 2, "status": name, "code": 0, "retry_after_ms": 0, "may_have_run": true });
    stage.driver.expect_like("response", fields)?;
    Ok(())
}

fn no_answer_in_time(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let began = std::time::Instant::now();
    stage.ask(1, 1, json!({ "timeout_ms": 300 }))?;
    asked(&mut link, 1)?;
    let fields = json!({ "id": 1, "status": "TIMEOUT", "may_have_run": true, "by_peer": false });
    stage.driver.expect_like("response", fields)?;
    let waited = began.elapsed();
    ensure!(waited.as_millis() >= 290, "given up after {waited:?}");
    link.ping()?;
    Ok(())
}

fn late_answer_is_dropped(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.ask(1, 1, json!({ "timeout_ms": 100 }))?;
    let late = asked(&mut link, 1)?.key;
    stage.driver.expect_like("response", json!({ "id": 1, "status": "TIMEOUT" }))?;
    link.send(&reply(late, 1))?;
    stage.ask(2, 2, json!({}))?;
    let key = asked(&mut link, 2)?.key;
    ensure!(key > late, "keys rise");
    link.send(&reply(key, 2))?;
    stage.driver.expect_like("response", replied(2, 2))?;
    like(&stage.state()?["dropped"], &json!({ "misplaced": 1 }))
}

fn second_answer_is_dropped(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.ask(1, 1, json!({}))?;
    let key = asked(&mut link, 1)?.key;
    link.send(&reply(key, 1))?;
    link.send(&reply(key, 2))?;
    stage.driver.expect_like("response", replied(1, 1))?;
    link.ping()?;
    like(&stage.state()?["dropped"], &json!({ "misplaced": 1 }))
}

fn answer_to_nothing_is_dropped(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&reply(u64::MAX, 1))?;
    link.ping()?;
    like(&stage.state()?["dropped"], &json!({ "misplaced": 1 }))
}

fn reply_that_cannot_be_read(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.ask(1, 1, json!({}))?;
    let key = asked(&mut link, 1)?.key;
    link.send(&Response { body: b"\x08".as_slice().into(), ..reply(key, 0) })?;
    let got = stage.driver.expect_like("response", json!({ "id": 1 }))?;
    ensure!(got["error"].is_string(), "no `error` in {got}");
    like(&stage.state()?["dropped"], &json!({ "undecodable": 1 }))
}

fn requests_wait_while_messages_go_on(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.ask(1, 1, json!({ "timeout_ms": 10_000 }))?;
    let key = asked(&mut link, 1)?.key;
    for number in 1..=3 {
        stage.note(number, "")?;
        let got: Note = link.take()?;
        link.send(&got)?;
        stage.driver.expect_like("message", json!({ "message": { "number": number } }))?;
    }
    link.send(&reply(key, 1))?;
    stage.driver.expect_like("response", replied(1, 1))?;
    Ok(())
}

fn unanswered_at_the_end(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.ask(1, 1, json!({}))?;
    asked(&mut link, 1)?;
    link.send(&tagwire::pb::tagwire::v1::Disconnect { code: 3508, ..Default::default() })?;
    stage.driver.expect_like("response", json!({ "id": 1, "closed": 3508, "may_have_run": true }))?;
    stage.driver.expect_like("closed", json!({ "code": 3508 }))?;
    Ok(())
}

fn batch(stage: &mut Stage, ids: &[u32], stop_on_error: bool) -> Result<()> {
    let requests: Vec<_> = ids.iter().map(|id| question(*id, *id)).collect();
    stage.tell("batch", json!({ "requests": requests, "stop_on_error": stop_on_error }))
}

fn batch_is_one_frame(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.ask(7, 7, json!({}))?;
    asked(&mut link, 7)?;
    batch(stage, &[1, 2, 3], false)?;
    let batch: Batch = link.take()?;
    ensure!(!batch.stop_on_error && batch.requests.len() == 3, "{batch:?}");
    for (at, request) in (1..).zip(&batch.requests) {
        is_question(request, at)?;
        ensure!(request.key == u64::from(at) + 1, "key {} should be {}", request.key, at + 1);
        link.send(&reply(request.key, 10 + at))?;
    }
    link.send(&reply(1, 17))?;
    for id in [1, 2, 3, 7] {
        stage.driver.expect_like("response", replied(id, 10 + id))?;
    }
    Ok(())
}

fn batch_stops_on_error(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    batch(stage, &[1, 2], true)?;
    let batch: Batch = link.take()?;
    ensure!(batch.stop_on_error && batch.requests.len() == 2, "{batch:?}");
    let told =
        |status: status::Value, key| Response { key, tag: 301, status: status.into(), ..Response::default() };
    link.send(&told(status::Value::Illegal, batch.requests[0].key))?;
    link.send(&told(status::Value::Unavailable, batch.requests[1].key))?;
    stage.driver.expect_like("response", json!({ "id": 1, "status": "ILLEGAL" }))?;
    let fields = json!({ "id": 2, "status": "UNAVAILABLE", "may_have_run": false });
    stage.driver.expect_like("response", fields)?;
    Ok(())
}

fn batch_is_answered_one_by_one(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    batch(stage, &[1, 2, 3], false)?;
    let batch: Batch = link.take()?;
    let key = |at: usize| batch.requests[at].key;
    link.send(&reply(key(0), 1))?;
    stage.driver.expect_like("response", replied(1, 1))?;
    let denied = status::Value::Denied.into();
    link.send(&Response { key: key(1), tag: 301, status: denied, ..Response::default() })?;
    stage.driver.expect_like("response", json!({ "id": 2, "status": "DENIED" }))?;
    link.send(&reply(key(2), 3))?;
    stage.driver.expect_like("response", replied(3, 3))?;
    Ok(())
}

fn batch_of_64_and_none_larger(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let ids: Vec<u32> = (1..=65).collect();
    batch(stage, &ids, false)?;
    stage.driver.expect_like("error", json!({ "about": "batch" }))?;
    batch(stage, &ids[..64], false)?;
    let batch: Batch = link.take()?;
    ensure!(batch.requests.len() == 64, "{} requests", batch.requests.len());
    for (id, request) in (1..).zip(&batch.requests) {
        link.send(&reply(request.key, id))?;
    }
    for id in 1..=64 {
        stage.driver.expect_like("response", replied(id, id))?;
    }
    Ok(())
}
