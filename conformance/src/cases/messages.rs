//! Messages of the game, both ways, and bytes that are none.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tagwire::Tag;
use tagwire::pb::tagwire::v1::{Disconnect, Member, Notice, Relayed};
use tagwire::prost::Message as _;

use super::cases;
use super::login::text_for;
use crate::driver::like;
use crate::peer::{frame_of, raw_frame};
use crate::schema::conformance::v1::{Move, Note, Spark, Told};
use crate::stage::{ME, Stage, WHILE, relayed};

cases!["messages";
    send_in_a_short_frame,
    send_an_empty_message,
    send_in_an_extended_frame,
    send_the_largest_message_and_none_larger,
    send_in_order,
    send_each_delivery_while_the_socket_takes_all,
    send_what_only_the_server_may,
    receive_from_the_server,
    receive_from_a_player,
    receive_what_oneself_sent,
    receive_from_who_is_not_known,
    receive_an_extended_frame,
    receive_an_extended_frame_that_would_be_short,
    receive_the_largest_frame,
    receive_in_single_bytes,
    receive_frames_cut_anywhere,
    receive_a_thousand_at_once,
    receive_fields_of_newer_senders,
    unknown_tags_are_dropped_and_counted,
    bytes_that_cannot_be_read_are_dropped_and_counted,
    what_the_other_side_alone_may_send_is_dropped_and_counted,
    notices_are_told,
    short_header_with_tag_0 = |stage| breaks(stage, b"\x05\x00", 3503),
    extended_header_with_tag_0 = |stage| breaks(stage, b"\xff\x00\x00\x00", 3503),
    frame_over_the_limit = |stage| breaks(stage, b"\xff\x00\x00\x02\x00\x01\x00\x41", 3505),
];

fn note(number: u32, text: &str) -> Note {
    Note { number, text: text.into() }
}

fn told(number: u32) -> Value {
    json!({ "type": "conformance.v1.Note", "message": { "number": number } })
}

fn send_in_a_short_frame(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.note(300, "go")?;
    let frame = link.frame()?;
    ensure!(frame.tag == Tag(2) && frame.payload == b"\x08\xac\x02\x12\x02go", "{frame:?}");
    Ok(())
}

fn send_an_empty_message(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.note(0, "")?;
    let frame = link.frame()?;
    ensure!(frame.tag == Tag(2) && frame.payload.is_empty(), "{frame:?}");
    Ok(())
}

fn send_in_an_extended_frame(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    for length in [255, 256] {
        // Which of the two forms is right is looked at where frames are read.
        stage.note(0, &text_for(length))?;
        let frame = link.frame()?;
        ensure!(frame.tag == Tag(2) && frame.payload.len() == length, "{} bytes", frame.payload.len());
    }
    Ok(())
}

fn send_the_largest_message_and_none_larger(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    stage.note(0, &text_for(65536))?;
    let largest: Note = link.take()?;
    ensure!(largest.encoded_len() == 65536, "{} bytes", largest.encoded_len());
    stage.note(0, &text_for(65537))?;
    stage.driver.expect_like("error", json!({ "about": "send" }))?;
    link.ping()?;
    Ok(())
}

fn send_in_order(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    for number in 1..=500 {
        stage.note(number, "")?;
    }
    for number in 1..=500 {
        let got: Note = link.take()?;
        ensure!(got.number == number, "number {} should be {number}", got.number);
    }
    Ok(())
}

fn send_each_delivery_while_the_socket_takes_all(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    for at in 1..=5 {
        let place = json!({ "type": "conformance.v1.Move", "message": { "x": at, "y": -at } });
        stage.tell("send", place)?;
        stage.tell("send", json!({ "type": "conformance.v1.Spark", "message": { "number": at } }))?;
        let got: Move = link.take()?;
        ensure!((got.x, got.y) == (at, -at), "{got:?}");
        let got: Spark = link.take()?;
        ensure!(got.number == at.cast_unsigned(), "{got:?}");
    }
    Ok(())
}

fn send_what_only_the_server_may(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    for kind in ["Told", "AskRequest", "AskReply"] {
        stage.tell("send", json!({ "type": format!("conformance.v1.{kind}"), "message": {} }))?;
        stage.driver.expect_like("error", json!({ "about": "send" }))?;
    }
    link.ping()?;
    Ok(())
}

fn receive_from_the_server(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&note(7, "hi"))?;
    let fields = json!({ "message": { "number": 7, "text": "hi" }, "player": 0, "name": "" });
    stage.driver.expect_like("message", fields)?;
    link.send(&note(0, ""))?;
    stage.driver.expect_like("message", json!({ "type": "conformance.v1.Note", "message": {} }))?;
    Ok(())
}

fn receive_from_a_player(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&Member { player: 3, event: 2, name: "ann".into() })?;
    link.send(&relayed(3, &Move { x: -5, y: 6 }))?;
    stage.driver.expect("member")?;
    let fields = json!({
        "type": "conformance.v1.Move", "message": { "x": -5, "y": 6 }, "player": 3, "name": "ann",
    });
    stage.driver.expect_like("message", fields)?;
    Ok(())
}

fn receive_what_oneself_sent(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&relayed(ME, &note(1, "")))?;
    stage.driver.expect_like("message", json!({ "player": ME, "name": "player1" }))?;
    Ok(())
}

fn receive_from_who_is_not_known(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.send(&relayed(4_000_000_000, &note(1, "")))?;
    stage.driver.expect_like("message", json!({ "player": 4_000_000_000_u32, "name": "" }))?;
    Ok(())
}

fn receive_an_extended_frame(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let text = "é".repeat(200);
    link.send(&note(1, &text))?;
    link.send(&Told { number: 2, text: String::new() })?;
    stage.driver.expect_like("message", json!({ "message": { "number": 1, "text": text } }))?;
    let fields = json!({ "type": "conformance.v1.Told", "message": { "number": 2 } });
    stage.driver.expect_like("message", fields)?;
    Ok(())
}

fn receive_an_extended_frame_that_would_be_short(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.raw(b"\xff\x00\x00\x02\x00\x00\x00\x02\x08\x07")?;
    stage.driver.expect_like("message", told(7))?;
    Ok(())
}

fn receive_the_largest_frame(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    // What the server takes may come back in a wrapper.
    let text = text_for(65536);
    let wrapped = relayed(4_000_000_000, &note(0, &text));
    ensure!(wrapped.encoded_len() > 65536, "not larger than what is sent");
    link.send(&wrapped)?;
    let got = stage.driver.expect("message")?;
    ensure!(got["message"]["text"] == text.as_str(), "another text");
    // As long as a frame may be.
    link.raw(&raw_frame(777, &vec![0; 65536 + 64]))?;
    ensure!(link.ping()?.frames_received == 2, "not handled");
    Ok(())
}

fn receive_in_single_bytes(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let bytes = [frame_of(&note(1, "one")), frame_of(&relayed(3, &note(2, ""))), frame_of(&Told::default())];
    for byte in bytes.concat() {
        link.raw(&[byte])?;
    }
    link.send(&note(9, ""))?;
    for message in
        [json!({ "number": 1, "text": "one" }), json!({ "number": 2 }), json!({}), json!({ "number": 9 })]
    {
        stage.driver.expect_like("message", json!({ "message": message }))?;
    }
    Ok(())
}

fn receive_frames_cut_anywhere(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let frames = [frame_of(&note(1, "one")), frame_of(&Told { number: 2, text: "t".repeat(300) })].concat();
    for at in (1..frames.len()).step_by(7) {
        let (one, other) = frames.split_at(at);
        link.raw(one)?;
        // The client has read it, or reads both at once: either is right.
        std::thread::yield_now();
        link.raw(other)?;
    }
    for _ in (1..frames.len()).step_by(7) {
        stage.driver.expect_like("message", json!({ "message": { "number": 1, "text": "one" } }))?;
        let second = stage.driver.expect("message")?;
        ensure!(second["message"]["number"] == 2, "{second}");
    }
    Ok(())
}

fn receive_a_thousand_at_once(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let frames: Vec<u8> = (1..=1000).flat_map(|number| frame_of(&note(number, ""))).collect();
    link.raw(&frames)?;
    for number in 1..=1000 {
        stage.driver.expect_like("message", told(number))?;
    }
    ensure!(link.ping()?.frames_received == 1000, "not 1000");
    Ok(())
}

fn receive_fields_of_newer_senders(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    // Field 100: a varint, then one of each other wire type.
    let newer =
        b"\xa0\x06\x01\xa1\x06\x01\x02\x03\x04\x05\x06\x07\x08\xa2\x06\x02hi\xa5\x06\x01\x02\x03\x04\x08\x05";
    link.raw(&raw_frame(2, newer))?;
    stage.driver.expect_like("message", told(5))?;
    Ok(())
}

fn unknown_tags_are_dropped_and_counted(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    link.raw(&raw_frame(9, b"\x08\x01"))?;
    link.raw(&raw_frame(60_000, b""))?;
    link.raw(&raw_frame(255, b""))?;
    link.send(&Relayed { player: 3, tag: 239, body: b"\x08\x01".as_slice().into() })?;
    link.send(&note(1, ""))?;
    stage.driver.expect_like("message", told(1))?;
    ensure!(link.ping()?.frames_received == 5, "all five count");
    like(&stage.state()?["dropped"], &json!({ "unknown": 4, "undecodable": 0 }))
}

fn bytes_that_cannot_be_read_are_dropped_and_counted(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    let bad: &[&[u8]] = &[
        b"\x08",             // cut in a number
        b"\x12\x05ab",       // longer than there is
        b"\x12\x02\xc3\x28", // not UTF-8
        b"\x0c",             // the end of a group that did not begin
        b"\x07",             // wire type 7
        b"\x00\x01",         // field 0
    ];
    for payload in bad {
        link.raw(&raw_frame(2, payload))?;
        link.send(&Relayed { player: 3, tag: 2, body: payload.to_vec().into() })?;
    }
    // Of the stack's own.
    for tag in [3, 243, 245, 246, 247, 249] {
        link.raw(&raw_frame(tag, b"\xff"))?;
    }
    link.send(&note(1, ""))?;
    stage.driver.expect_like("message", told(1))?;
    link.ping()?;
    let expected = 2 * bad.len() + 6;
    like(&stage.state()?["dropped"], &json!({ "unknown": 0, "undecodable": expected }))
}

fn what_the_other_side_alone_may_send_is_dropped_and_counted(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    // A Move is a player's; a Told is the server's.
    link.send(&Move { x: 1, y: 1 })?;
    link.send(&relayed(3, &Told::default()))?;
    link.send(&note(1, ""))?;
    stage.driver.expect_like("message", told(1))?;
    ensure!(link.ping()?.frames_received == 3, "all three count");
    like(&stage.state()?["dropped"], &json!({ "misplaced": 2 }))
}

fn notices_are_told(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    // 99 is a reason of a newer server.
    for reason in [1, 2, 3, 4, 5, 6, 99] {
        link.send(&Notice { reason, tag: 2, text: format!("because {reason}") })?;
        let fields = json!({ "reason": reason, "tag": 2, "text": format!("because {reason}") });
        stage.driver.expect_like("notice", fields)?;
    }
    Ok(())
}

/// After these bytes the client says why, and ends.
fn breaks(stage: &mut Stage, bytes: &[u8], code: u16) -> Result<()> {
    let mut link = stage.open_resumable()?;
    link.send(&note(1, ""))?;
    link.raw(bytes)?;
    let told: Disconnect = link.take()?;
    ensure!(told.code == u32::from(code), "{told:?}");
    // It does not wait for more of the frame.
    link.ended()?;
    stage.driver.expect("message")?;
    stage.driver.expect_like("closed", json!({ "code": code, "by_peer": false }))?;
    stage.peer.nobody_comes(WHILE)
}
