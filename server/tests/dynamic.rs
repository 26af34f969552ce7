//! A schema that is read at run time judges as the compiled one does.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tagwire::Message;
use tagwire::pb::tagwire::v1;
use tagwire::prost::encoding::{self, WireType};
use tagwire_server::read_schema;

fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto")
}

#[test]
fn it_says_the_same_of_every_message() {
    let (read, compiled) = (read_schema(&proto()).unwrap(), tagwire::pb::schema());
    assert_eq!(read.fingerprint(), compiled.fingerprint());
    assert_eq!(read.descriptors(), compiled.descriptors());
    assert_eq!(format!("{:?}", read.messages()), format!("{:?}", compiled.messages()));
    // Names of files mean nothing.
    let file = read_schema(&proto().join("arena/v1/arena.proto")).unwrap();
    assert_eq!(file.fingerprint(), compiled.fingerprint());
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_the_fix() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("game.proto");
    std::fs::write(
        &file,
        "syntax = \"proto3\";\npackage g;\nimport \"tagwire/v1/options.proto\";\n\
         message A { option (tagwire.v1.rules) = { tag: 240, from: CLIENT }; }\n",
    )
    .unwrap();
    for path in [dir.path(), &file] {
        let error = read_schema(path).unwrap_err().to_string();
        assert!(error.contains("game.proto:4: ") && error.contains("fix: "), "{error}");
    }
    let error = read_schema(&dir.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

/// One field, of any number and wire type, with a payload that may be right.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![1u32..20, 1u32..4, Just(100)];
    let text =
        prop_oneof!["[a-zäß字]{0,8}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..12)];
    (number, 0u8..6, any::<u64>(), text).prop_map(|(number, kind, value, text)| {
        let mut out = vec![];
        match kind {
            0 => encoding::uint64::encode(number, &value, &mut out),
            1 => encoding::fixed64::encode(number, &value, &mut out),
            2 => encoding::fixed32::encode(number, &(value as u32), &mut out),
            3 => encoding::uint64::encode(number, &(value % 3), &mut out),
            4 => {
                encoding::encode_key(number, WireType::StartGroup, &mut out);
                encoding::encode_key(number, WireType::EndGroup, &mut out);
            }
            _ => encoding::bytes::encode(number, &text, &mut out),
        }
        out
    })
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop::collection::vec(field(), 0..6).prop_map(|fields| fields.concat());
    // One in four is cut or has a wrong byte.
    (fields, any::<u8>(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, how, at, byte)| {
        if !bytes.is_empty() {
            match how % 8 {
                0 => bytes.truncate(at.index(bytes.len())),
                1 => {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                _ => {}
            }
        }
        bytes
    })
}

/// What the compiled type and the descriptor say of these bytes.
fn both<M: Message>(pool: &DescriptorPool, payload: &[u8]) -> (bool, bool) {
    let descriptor = pool.get_message_by_name(M::FULL_NAME).unwrap();
    (M::decode(payload).is_ok(), DynamicMessage::decode(descriptor, payload).is_ok())
}

proptest! {
    #[test]
    fn it_judges_payloads_as_the_compiled_one(payload in payload()) {
        let (read, compiled) = (read_schema_once(), tagwire::pb::schema());
        for (read, compiled) in read.messages().iter().zip(compiled.messages()) {
            prop_assert_eq!(
                (read.check)(&payload).is_ok(),
                (compiled.check)(&payload).is_ok(),
                "{} {:02x?}", compiled.full_name, &payload
            );
        }
        // The stack's messages have what the example's lack: messages in messages, lists, bytes.
        let pool = stack();
        for (typed, dynamic) in [
            both::<v1::PlayerLogin>(pool, &payload),
            both::<v1::Welcome>(pool, &payload),
            both::<v1::Disconnect>(pool, &payload),
            both::<v1::Batch>(pool, &payload),
        ] {
            prop_assert_eq!(typed, dynamic, "{:02x?}", &payload);
        }
    }
}

fn read_schema_once() -> &'static tagwire::Schema {
    static SCHEMA: std::sync::OnceLock<tagwire::Schema> = std::sync::OnceLock::new();
    SCHEMA.get_or_init(|| read_schema(&proto()).unwrap())
}

fn stack() -> &'static DescriptorPool {
    static POOL: std::sync::OnceLock<DescriptorPool> = std::sync::OnceLock::new();
    POOL.get_or_init(|| tagwire_codegen::load::load_stack().unwrap().descriptor_pool().unwrap())
}
