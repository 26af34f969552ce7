//! The vectors of messages, as a client receives them: what it finds, and what it drops and counts.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cases;
use crate::driver::like;
use crate::peer::raw_frame;
use crate::stage::Stage;

cases!["vectors";
    vectors_that_are_read,
    vectors_that_are_dropped,
];

/// How many there are of the two.
const READ: usize = 114;
const DROPPED: usize = 36;

#[derive(Deserialize)]
struct Vector {
    name: String,
    r#type: String,
    hex: String,
    client: String,
    json: Option<Value>,
}

/// Those that a client reads or drops, each in its frame.
fn vectors(stage: &Stage, client: &str, count: usize) -> Result<Vec<(Vector, Vec<u8>)>> {
    let all: Vec<Vector> = serde_json::from_str(include_str!("../../vectors/messages.json"))?;
    let schema = stage.schema();
    let some = all.into_iter().filter(|vector| vector.client == client).map(|vector| {
        let info = schema.messages().iter().find(|info| info.full_name == vector.r#type);
        let tag = info.with_context(|| format!("no {}", vector.r#type))?.tag;
        let bytes = vector.hex.as_bytes().chunks(2);
        let payload = bytes.map(|pair| anyhow::Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?));
        let payload = payload.collect::<Result<Vec<u8>>>()?;
        let frame = raw_frame(tag.0, &payload);
        Ok((vector, frame))
    });
    let some = some.collect::<Result<Vec<_>>>()?;
    ensure!(some.len() == count, "{} vectors, there should be {count}", some.len());
    Ok(some)
}

/// The same value, whatever the numbers are written like. A `float` may be told in full or as short as it can be.
fn same(one: &Value, other: &Value, float: bool) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) if float => one as f32 == other as f32,
            (one, other) => one == other,
        },
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other, float))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    other.get(name).is_some_and(|other| same(value, other, name == "float"))
                })
        }
        (one, other) => one == other,
    }
}

fn vectors_that_are_read(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    for (vector, frame) in vectors(stage, "reads", READ)? {
        link.raw(&frame)?;
        let report = stage.driver.expect("message").with_context(|| vector.name.clone())?;
        let told = vector.json.as_ref().context("no `json`")?;
        let right = report["type"] == vector.r#type && same(&report["message"], told, false);
        ensure!(right, "{}: {report} should be {told}", vector.name);
    }
    link.ping()?;
    like(&stage.state()?["dropped"], &json!({ "undecodable": 0 }))
}

fn vectors_that_are_dropped(stage: &mut Stage) -> Result<()> {
    let mut link = stage.open()?;
    for (at, (vector, frame)) in (1..).zip(vectors(stage, "drops", DROPPED)?) {
        link.raw(&frame)?;
        // Its answer shows that the client goes on, and has handled what came before.
        let answer = link.ping().with_context(|| vector.name.clone())?;
        ensure!(answer.frames_received == at, "{}: not counted", vector.name);
        let state = stage.state()?;
        like(&state["dropped"], &json!({ "undecodable": at })).with_context(|| vector.name.clone())?;
    }
    Ok(())
}
