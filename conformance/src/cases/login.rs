//! The login, up to Welcome.

use anyhow::{Result, ensure};
use serde_json::json;
use tagwire::pb::tagwire::v1::{Ping, SchemaOffer, SchemaWanted, Welcome, verdict};
use tagwire::prost::Message as _;

use super::cases;
use crate::peer::{frame_of, raw_frame};
use crate::stage::{ME, Stage, WHILE, quick, welcome};

cases!["login";
    login_names_player_and_client,
    login_begins_with_the_bytes_of_the_reference,
    login_with_a_token,
    login_of_a_guest,
    welcome_is_told,
    welcome_in_single_bytes,
    nothing_is_said_before_welcome,
    welcome_of_another_protocol,
    welcome_that_cannot_be_read,
    no_answer_to_the_login,
    end_before_welcome_is_not_tried_again,
    another_server_answers,
    frame_over_the_limit_before_welcome,
    schema_is_offered_when_wanted,
    schema_is_offered_once_and_before_welcome_only,
];

fn login_names_player_and_client(stage: &mut Stage) -> Result<()> {
    let (mut link, login) = stage.asked(json!({}))?;
    ensure!((login.username.as_str(), login.password.as_str()) == ("player1", "welcome"), "{login:?}");
    ensure!(login.token.is_empty() && login.resume.is_none(), "{login:?}");
    let client = login.client.unwrap_or_default();
    ensure!(client.protocol == 1, "{client:?}");
    ensure!(
        client.fingerprint == stage.schema().fingerprint().0.as_slice(),
        "another fingerprint: {client:?}"
    );
    ensure!((1..=32).contains(&client.sdk.chars().count()), "{client:?}");
    ensure!((1..=32).contains(&client.version.chars().count()), "{client:?}");
    link.send(&welcome())?;
    stage.driver.expect("connected")?;
    Ok(())
}

fn login_begins_with_the_bytes_of_the_reference(stage: &mut Stage) -> Result<()> {
    let frame = stage.connect(json!({}))?.any_frame()?;
    let begin = b"\x0a\x07player1\x12\x07welcome";
    ensure!(frame.payload.starts_with(begin), "tag {} {:02x?}", frame.tag, frame.payload);
    stage.driver.expect("failed")?;
    Ok(())
}

fn login_with_a_token(stage: &mut Stage) -> Result<()> {
    let (mut link, login) = stage.asked(json!({ "username": "", "password": "", "token": "e30.e30.e30" }))?;
    ensure!(login.token == "e30.e30.e30" && login.password.is_empty(), "{login:?}");
    link.send(&welcome())?;
    stage.driver.expect("connected")?;
    Ok(())
}

fn login_of_a_guest(stage: &mut Stage) -> Result<()> {
    let (mut link, login) = stage.asked(json!({ "username": "", "password": "" }))?;
    ensure!(login.username.is_empty() && login.password.is_empty() && login.token.is_empty(), "{login:?}");
    ensure!(login.client.is_some(), "{login:?}");
    link.send(&Welcome { name: "guest-7".into(), ..welcome() })?;
    stage.driver.expect_like("connected", json!({ "name": "guest-7" }))?;
    Ok(())
}

fn welcome_is_told(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({}))?;
    link.send(&Welcome { name: "Ünï".into(), room: "lobby".into(), ..welcome() })?;
    let fields = json!({ "player": ME, "session": 7, "name": "Ünï", "room": "lobby", "verdict": "SAME" });
    stage.driver.expect_like("connected", fields)?;
    Ok(())
}

fn welcome_in_single_bytes(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({}))?;
    for byte in frame_of(&welcome()) {
        link.raw(&[byte])?;
    }
    stage.driver.expect_like("connected", json!({ "player": ME }))?;
    link.ping()?;
    Ok(())
}

fn nothing_is_said_before_welcome(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({}))?;
    link.send(&Ping { sent_epoch: 5, ..Ping::default() })?;
    link.raw(&raw_frame(2, b"\x08\x01"))?;
    link.raw(&raw_frame(300, b""))?;
    link.silent(WHILE)?;
    link.send(&welcome())?;
    stage.driver.expect("connected")?;
    let answer = link.ping()?;
    ensure!(answer.frames_received == 0, "frames from before Welcome were counted: {answer:?}");
    Ok(())
}

fn welcome_of_another_protocol(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({ "reconnect": quick() }))?;
    link.send(&Welcome { protocol: 2, ..welcome() })?;
    stage.driver.expect("failed")?;
    link.ended()?;
    stage.peer.nobody_comes(WHILE)
}

fn welcome_that_cannot_be_read(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({ "reconnect": quick() }))?;
    link.raw(&raw_frame(240, b"\x0a"))?;
    stage.driver.expect("failed")?;
    link.ended()?;
    stage.peer.nobody_comes(WHILE)
}

fn no_answer_to_the_login(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({ "timeout_ms": 300, "reconnect": quick() }))?;
    stage.driver.expect("failed")?;
    link.ended()?;
    stage.peer.nobody_comes(WHILE)
}

fn end_before_welcome_is_not_tried_again(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({ "reconnect": quick() }))?;
    link.end()?;
    stage.driver.expect("failed")?;
    stage.peer.nobody_comes(WHILE)
}

fn another_server_answers(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({ "reconnect": quick() }))?;
    link.raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
    link.end()?;
    stage.driver.expect("failed")?;
    stage.peer.nobody_comes(WHILE)
}

fn frame_over_the_limit_before_welcome(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({ "reconnect": quick() }))?;
    // 16 MiB are announced, none of them is awaited.
    link.raw(b"\xff\x00\x00\xf0\x01\x00\x00\x00")?;
    stage.driver.expect("failed")?;
    link.ended()?;
    stage.peer.nobody_comes(WHILE)
}

fn schema_is_offered_when_wanted(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({}))?;
    link.send(&SchemaWanted {})?;
    let offer: SchemaOffer = link.take()?;
    ensure!(offer.descriptors == stage.schema().descriptors(), "not the descriptors of the schema");
    link.send(&Welcome { verdict: verdict::Value::Compatible.into(), ..welcome() })?;
    stage.driver.expect_like("connected", json!({ "verdict": "COMPATIBLE" }))?;
    let answer = link.ping()?;
    ensure!(answer.frames_received == 0, "the exchange of schemas was counted: {answer:?}");
    Ok(())
}

fn schema_is_offered_once_and_before_welcome_only(stage: &mut Stage) -> Result<()> {
    let (mut link, _) = stage.asked(json!({}))?;
    link.raw(&[frame_of(&SchemaWanted {}), frame_of(&SchemaWanted {})].concat())?;
    let _: SchemaOffer = link.take()?;
    link.send(&welcome())?;
    stage.driver.expect("connected")?;
    link.send(&SchemaWanted {})?;
    // The next thing that the client says is this.
    link.ping()?;
    Ok(())
}

/// For those who need a payload of so many bytes: a text that makes `Note { text }` that long.
pub(super) fn text_for(payload_bytes: usize) -> String {
    let length = (0..payload_bytes).rev().find(|length| {
        let note = crate::schema::conformance::v1::Note { number: 0, text: "x".repeat(*length) };
        note.encoded_len() == payload_bytes
    });
    "x".repeat(length.unwrap_or_default())
}
