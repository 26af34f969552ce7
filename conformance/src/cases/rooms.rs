//! Who is in the room, changing rooms, rooms that end.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tagwire::pb::tagwire::v1::{
    JoinRoom, JoinRoomReply, Member, Request, Response, RoomEnded, member::event, status,
};
use tagwire::prost::Message as _;

use super::cases;
use crate::driver::like;
use crate::peer::Link;
use crate::schema::conformance::v1::Note;
use crate::stage::{Stage, relayed};

cases!["rooms";
    members_come_and_go,
    member_that_is_away_keeps_its_name,
    what_happens_to_members_that_nobody_knows,
    join_is_a_request,
    join_is_the_boundary_between_two_rooms,
    join_of_the_room_one_is_in_changes_nothing,
    join_that_is_refused_changes_nothing,
    room_that_ends,
    join_after_the_end_of_the_room,
];

fn member(player: u32, event: event::Value, name: &str) -> Member {
    Member { player, event: event.into(), name: name.into() }
}

fn is_in(state: &Value, room: &str, members: Value) -> Result<()> {
    like(state, &json!({ "room": room, "members": members }))
}

/// The client asks for a room; gives the key.
fn asked(link: &mut Link, room: &str) -> Result<u64> {
    let request: Request = link.take()?;
    let join = JoinRoom::decode(request.body.as_ref())?;
    ensure!(request.tag == 248 && join.room == room, "{request:?} should ask for {room}");
    Ok(request.key)
}

fn joined(key: u64, room: &str) -> Response {
    let body = JoinRoomReply { room: room.into() }.encode_to_vec().into();
    Response { key, tag: 248, body, ..Response::default() }
}

fn members_come_and_go(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    for (event, name, change, is) in [
        (event::Value::Present, "ann", "PRESENT", json!([{ "player": 3, "name": "ann", "away": false }])),
        (event::Value::Away, "", "AWAY", json!([{ "player": 3, "name": "ann", "away": true }])),
        (event::Value::Back, "", "BACK", json!([{ "player": 3, "name": "ann", "away": false }])),
        (event::Value::Left, "", "LEFT", json!([])),
        (event::Value::Joined, "ann", "JOINED", json!([{ "player": 3, "name": "ann", "away": false }])),
    ] {
        link.send(&member(3, event, name))?;
        let away = change == "AWAY";
        let fields = json!({ "change": change, "player": 3, "name": "ann", "away": away });
        stage.driver.expect_like("member", fields)?;
        is_in(&stage.state()?, "main", is)?;
    }
    Ok(())
}

fn member_that_is_away_keeps_its_name(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&member(3, event::Value::Present, "ann"))?;
    link.send(&member(3, event::Value::Away, ""))?;
    link.send(&relayed(3, &Note { number: 1, text: String::new() }))?;
    stage.driver.expect_like("member", json!({ "change": "PRESENT" }))?;
    stage.driver.expect_like("member", json!({ "change": "AWAY" }))?;
    stage.driver.expect_like("message", json!({ "player": 3, "name": "ann" }))?;
    Ok(())
}

fn what_happens_to_members_that_nobody_knows(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&Member { player: 3, event: 99, name: "ann".into() })?;
    ensure!(link.ping()?.frames_received == 1, "not counted");
    let state = stage.state()?;
    is_in(&state, "main", json!([]))?;
    like(&state["dropped"], &json!({ "unknown": 1 }))
}

fn join_is_a_request(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.tell("join", json!({ "id": 1, "room": "red1" }))?;
    let frame = link.frame()?;
    // The bytes of docs/PROTOCOL.md, "Messages and rooms".
    ensure!(frame.payload == b"\x08\x01\x10\xf8\x01\x1a\x06\x0a\x04red1", "{frame:02x?}");
    link.raw(b"\x0d\xf3\x08\x01\x10\xf8\x01\x22\x06\x0a\x04red1")?;
    stage.driver.expect_like("response", json!({ "id": 1, "message": { "room": "red1" } }))?;
    is_in(&stage.state()?, "red1", json!([]))
}

fn join_is_the_boundary_between_two_rooms(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let note = |number| Note { number, text: String::new() };
    link.send(&member(3, event::Value::Present, "ann"))?;
    stage.driver.expect("member")?;
    stage.tell("join", json!({ "id": 1, "room": "red1" }))?;
    let key = asked(&mut link, "red1")?;
    link.send(&relayed(3, &note(1)))?;
    link.send(&joined(key, "red1"))?;
    link.send(&member(4, event::Value::Present, "bob"))?;
    link.send(&relayed(4, &note(2)))?;
    stage.driver.expect_like("message", json!({ "message": { "number": 1 }, "name": "ann" }))?;
    stage.driver.expect_like("member", json!({ "change": "PRESENT", "player": 4 }))?;
    stage.driver.expect_like("message", json!({ "message": { "number": 2 }, "name": "bob" }))?;
    stage.driver.expect_like("response", json!({ "id": 1, "message": { "room": "red1" } }))?;
    is_in(&stage.state()?, "red1", json!([{ "player": 4, "name": "bob", "away": false }]))
}

fn join_of_the_room_one_is_in_changes_nothing(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&member(3, event::Value::Present, "ann"))?;
    stage.driver.expect("member")?;
    stage.tell("join", json!({ "id": 1, "room": "main" }))?;
    let key = asked(&mut link, "main")?;
    link.send(&joined(key, "main"))?;
    stage.driver.expect_like("response", json!({ "id": 1, "message": { "room": "main" } }))?;
    is_in(&stage.state()?, "main", json!([{ "player": 3, "name": "ann", "away": false }]))
}

fn join_that_is_refused_changes_nothing(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&member(3, event::Value::Present, "ann"))?;
    stage.driver.expect("member")?;
    stage.tell("join", json!({ "id": 1, "room": "red1" }))?;
    let key = asked(&mut link, "red1")?;
    let status = status::Value::Unavailable.into();
    link.send(&Response { key, tag: 248, status, retry_after_ms: 100, ..Response::default() })?;
    let fields = json!({ "id": 1, "status": "UNAVAILABLE", "retry_after_ms": 100 });
    stage.driver.expect_like("response", fields)?;
    is_in(&stage.state()?, "main", json!([{ "player": 3, "name": "ann", "away": false }]))
}

fn room_that_ends(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&member(3, event::Value::Present, "ann"))?;
    link.send(&RoomEnded { room: "main".into(), reason: "the game is over".into() })?;
    stage.driver.expect("member")?;
    let fields = json!({ "room": "main", "reason": "the game is over" });
    stage.driver.expect_like("room_ended", fields)?;
    is_in(&stage.state()?, "", json!([]))
}

fn join_after_the_end_of_the_room(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&RoomEnded { room: "main".into(), reason: String::new() })?;
    stage.driver.expect("room_ended")?;
    stage.tell("join", json!({ "id": 1, "room": "main" }))?;
    let key = asked(&mut link, "main")?;
    link.send(&joined(key, "main"))?;
    link.send(&member(4, event::Value::Present, "bob"))?;
    stage.driver.expect_like("response", json!({ "id": 1 }))?;
    stage.driver.expect("member")?;
    is_in(&stage.state()?, "main", json!([{ "player": 4, "name": "bob", "away": false }]))
}
