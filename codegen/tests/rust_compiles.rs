//! The golden Rust code, which `rust.rs` keeps fresh, compiles against the crate `tagwire` and does what it says.
#![allow(clippy::unwrap_used, reason = "tests")]

use tagwire::bytes::Bytes;
use tagwire::{Message, MessageSet, Tag};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod printed {
    include!("golden/nasty.rs");
}

use printed::nasty::r#type::self_ as words;
use printed::nasty::{Root, common, v1};

fn bytes(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

#[test]
fn tags_names_and_rules_are_those_of_the_schema() {
    assert_eq!(v1::Everything::TAG, Tag(256));
    assert_eq!(<words::Self_ as Message>::FULL_NAME, "nasty.type.self.Self");
    assert_eq!(words::default::Super::TAG, Tag(10));
    let rules = Root::RULES;
    assert_eq!((rules.from, rules.to), (tagwire::Sender::Both, tagwire::Target::Room));
    assert_eq!((rules.max_bytes, rules.max_rate), (Some(99), Some(7)));
    assert_eq!(v1::Empty::RULES.access, tagwire::Access::Operator);
    assert_eq!(v1::Keywords::RULES.delivery, tagwire::Delivery::Unreliable);
}

#[test]
fn all_messages_with_a_tag_are_in_the_schema() {
    let schema = printed::schema();
    let tags: Vec<u16> = schema.messages().iter().map(|m| m.tag.0).collect();
    assert_eq!(tags, [2, 4, 5, 6, 7, 8, 9, 10, 256]);
    let requests: Vec<u16> = schema.messages().iter().filter(|m| m.request).map(|m| m.tag.0).collect();
    assert_eq!(requests, [6]);
    let model = tagwire_codegen::read(&["tests/golden/nasty"]).unwrap();
    assert_eq!(schema.fingerprint().0, tagwire_codegen::fingerprint::fingerprint(&model));
    assert_eq!(schema.descriptors()[..], model.descriptor_set());
}

#[test]
fn what_clients_push_to_code_is_from_client() {
    assert_eq!(v1::FromClient::TAGS, [Tag(5), Tag(256)], "handled, and no request");
    let sent = v1::Everything {
        an_int32: -7,
        shape: Some(v1::everything::Shape::Circle(1.5)),
        ..Default::default()
    };
    let got = v1::FromClient::decode(Tag(256), bytes(&sent)).unwrap().unwrap();
    assert_eq!(got, v1::FromClient::Everything(sent));
}

#[test]
fn what_the_server_sends_or_relays_is_from_server() {
    assert_eq!(v1::FromServer::TAGS, [Tag(4), Tag(5)]);
    assert_eq!(printed::nasty::FromServer::TAGS, [Tag(2)]);
    let place = common::geo::Place { east: 2.0, ..Default::default() };
    let sent = Root { place: Some(place), ..Default::default() };
    let got = printed::nasty::FromServer::decode(Tag(2), bytes(&sent)).unwrap().unwrap();
    assert_eq!(got, printed::nasty::FromServer::Root(sent));
    let variant = words::FromServer::decode(Tag(10), Bytes::new()).unwrap().unwrap();
    assert_eq!(variant, words::FromServer::DefaultSuper(words::default::Super::default()));
}

#[test]
fn other_tags_are_none_and_bad_bytes_an_error() {
    assert!(v1::FromClient::decode(Tag(6), Bytes::new()).unwrap().is_none(), "a request");
    assert!(v1::FromClient::decode(Tag(4), Bytes::new()).unwrap().is_none(), "the server's");
    assert!(v1::FromClient::decode(Tag(999), Bytes::new()).unwrap().is_none());
    assert!(v1::FromClient::decode(Tag(256), Bytes::from_static(b"\x0a")).is_err());
}

tagwire::message_set! {
    /// What clients push, of two packages.
    enum FromClient {
        Words(words::FromClient),
        Nasty(v1::FromClient),
    }
}

#[test]
fn sets_of_several_packages_are_one() {
    assert_eq!(FromClient::TAGS, [words::FromClient::TAGS, v1::FromClient::TAGS].concat());
    let sent = v1::Everything { an_int32: 5, ..Default::default() };
    let got = FromClient::decode(Tag(256), bytes(&sent)).unwrap().unwrap();
    assert_eq!(got, FromClient::Nasty(v1::FromClient::Everything(sent)));
    assert!(FromClient::decode(Tag(999), Bytes::new()).unwrap().is_none());
    assert!(FromClient::decode(Tag(256), Bytes::from_static(b"\x0a")).is_err());
}
