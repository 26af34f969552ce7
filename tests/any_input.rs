//! Whatever a peer sends, neither side panics, and both keep their word on what ends a session.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::*;
use proptest::prelude::*;
use tagwire::Access;
use tagwire::frame::encode;
use tagwire::session::client::Event;
use tagwire::session::{Dialect, Fault};

/// Frames that are close to real ones: the stack's and the schema's tags, payloads that often decode.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop_oneof![1..=8u16, 240..=255u16, Just(300u16), 1..=u16::MAX];
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (0..20u8, any::<u64>()).prop_map(|(field, value)| {
            let mut payload = vec![];
            tagwire::prost::encoding::uint64::encode(u32::from(field) + 1, &value, &mut payload);
            payload
        }),
        "[a-z]{0,20}".prop_map(|text| tagwire::prost::Message::encode_to_vec(&ToRoom::new(&text))),
    ];
    (tag, payload).prop_map(|(tag, payload)| {
        let mut out = vec![];
        encode(tagwire::Tag(tag), &payload, &mut out);
        out
    })
}

proptest! {
    #[test]
    fn test_server_judges_any_frames(frames in prop::collection::vec(frame(), 1..30), native in any::<bool>()) {
        let dialect = if native { Dialect::Native } else { Dialect::Classic };
        let mut side = ServerSide::open(dialect, Access::Player);
        for frame in frames {
            match side.take_bytes(&frame) {
                Ok(incoming) => prop_assert!(incoming.is_some(), "a whole frame went in"),
                Err(fault) => {
                    prop_assert!(native, "a classic client did something that ends it: {}", fault);
                    break;
                }
            }
        }
    }

    #[test]
    fn test_client_survives_any_frames(frames in prop::collection::vec(frame(), 1..30)) {
        let mut client = ClientSide::open();
        for frame in frames {
            let event = client.take_bytes(&frame);
            let lies = matches!(event, Err(Fault::Acknowledged(_)));
            prop_assert!(event.is_ok() || lies || frame[1] == 241 || frame[0] == 0xff, "{:?}", event);
            if matches!(event, Ok(Event::Disconnect { .. }) | Err(_)) {
                break;
            }
            prop_assert!(client.session.is_open());
        }
    }

    #[test]
    fn test_server_judges_any_first_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = ServerSide::new().take_bytes(&bytes);
    }
}
