//! The vectors, as Rust reads them: the decoder of frames, the server's two checks of messages (compiled, and by
//! descriptors), and what is found in a message.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde::Deserialize;
use serde_json::Value;
use tagwire::Tag;
use tagwire::frame::{DecodeError, Decoder, Limits, encode};
use tagwire_server::read_schema;

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated from proto/")]
mod schema {
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}

/// How many there are. A language that reads fewer has not passed.
const FRAMES: usize = 57;
const MESSAGES: usize = 157;

#[derive(Deserialize)]
struct FrameVector {
    name: String,
    hex: String,
    limit: usize,
    #[serde(default)]
    login: bool,
    frames: Vec<Found>,
    error: Option<String>,
    rest: usize,
    shortest: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Found {
    tag: u16,
    payload: String,
}

#[derive(Deserialize)]
struct MessageVector {
    name: String,
    r#type: String,
    hex: String,
    client: String,
    server: String,
    json: Option<Value>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn vectors<T: for<'a> Deserialize<'a>>(name: &str) -> Vec<T> {
    serde_json::from_str(&std::fs::read_to_string(root().join("vectors").join(name)).unwrap()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a decoder finds in these chunks, how it ends, and whether it waits for more of a frame.
fn read(vector: &FrameVector, chunks: &[&[u8]]) -> (Vec<Found>, Option<String>, bool) {
    let only = vector.login.then_some(Tag(1));
    let mut decoder = Decoder::new(Limits { max_frame_bytes: vector.limit, only });
    let mut found = vec![];
    for chunk in chunks {
        let mut input = *chunk;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => found.push(Found { tag: frame.tag.0, payload: hex(frame.payload) }),
                Ok(None) => break,
                Err(error) => {
                    let error = match error {
                        DecodeError::TooLarge { .. } => "too_large",
                        DecodeError::NotNow { .. } => "not_now",
                        _ => "malformed",
                    };
                    return (found, Some(error.into()), false);
                }
            }
        }
    }
    (found, None, !decoder.is_empty())
}

#[test]
fn every_frame_is_read_however_it_is_cut() {
    let vectors: Vec<FrameVector> = vectors("frames.json");
    assert_eq!(vectors.len(), FRAMES);
    for vector in &vectors {
        let bytes = bytes(&vector.hex);
        let single: Vec<_> = bytes.chunks(1).collect();
        let mut ways = vec![vec![bytes.as_slice()], single];
        ways.extend((0..bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]));
        for chunks in ways {
            let (found, error, waits) = read(vector, &chunks);
            assert_eq!(found, vector.frames, "{}", vector.name);
            assert_eq!(error, vector.error, "{}", vector.name);
            assert_eq!(waits, vector.rest > 0, "{}", vector.name);
        }
        let mut written = vec![];
        for Found { tag, payload } in &vector.frames {
            encode(Tag(*tag), &self::bytes(payload), &mut written);
        }
        assert_eq!(written == bytes, vector.shortest, "{}: {}", vector.name, hex(&written));
    }
}

#[test]
fn every_message_is_accepted_or_refused_by_both_checks_of_the_server() {
    let vectors: Vec<MessageVector> = vectors("messages.json");
    assert_eq!(vectors.len(), MESSAGES);
    let schemas =
        [("compiled", schema::schema()), ("read", read_schema(Path::new(&root().join("proto"))).unwrap())];
    let mut wrong = vec![];
    for vector in &vectors {
        for (way, schema) in &schemas {
            let info = schema.messages().iter().find(|info| info.full_name == vector.r#type).unwrap();
            let got = if (info.check)(&bytes(&vector.hex)).is_ok() { "accepts" } else { "refuses" };
            if got != vector.server {
                wrong.push(format!("{}: the {way} check {got} it", vector.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn in_every_message_the_same_is_found() {
    let vectors: Vec<MessageVector> = vectors("messages.json");
    let model = tagwire_codegen::read(&[root().join("proto")]).unwrap();
    let pool: DescriptorPool = model.descriptor_pool().unwrap();
    let json = |message: &DynamicMessage| {
        message.serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new()).unwrap()
    };
    let mut read = 0;
    for vector in &vectors {
        let descriptor = pool.get_message_by_name(&vector.r#type).unwrap();
        let message = DynamicMessage::decode(descriptor.clone(), bytes(&vector.hex).as_slice());
        let Some(told) = &vector.json else {
            assert!(vector.client != "drops" || message.is_err(), "{}", vector.name);
            continue;
        };
        let told =
            DynamicMessage::deserialize(descriptor, told).unwrap_or_else(|e| panic!("{}: {e}", vector.name));
        assert_eq!(json(&message.unwrap()), json(&told), "{}", vector.name);
        read += 1;
    }
    assert!(read > MESSAGES / 2, "{read} were read");
}
