//! Clients whose schema is another than the server's: asked for it, compared, admitted or told what differs.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::net::TcpStream;
use std::path::Path;

use common::*;
use tagwire::bytes::Bytes;
use tagwire::pb::tagwire::v1::{self, verdict};
use tagwire::prost::Message as _;
use tagwire::session::client::Event;
use tagwire::{CloseCode, Fingerprint, Schema};
use tagwire_server::{SchemaPolicy, read_schema};

/// The example's schema with something replaced.
fn edited(edits: &[(&str, &str)]) -> Schema {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/arena/v1/arena.proto");
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("arena.proto");
    std::fs::write(&file, text).unwrap();
    read_schema(&file).unwrap()
}

const NEWER: (&str, &str) = ("int32 y = 2;", "int32 y = 2;\n  float pressure = 9;");
const OTHER: (&str, &str) = ("int32 x = 1;", "string x = 1;");

fn login(server: &TestServer, schema: &Schema, name: &str) -> Result<Player, Ended> {
    Player::login_with(schema.clone(), TcpStream::connect(server.address).unwrap(), name, "welcome")
}

fn compared(server: &TestServer, verdict: &str) -> f64 {
    server.metric(&format!("tagwire_schemas_compared_total{{verdict=\"{verdict}\"}}"))
}

#[test]
fn a_client_of_the_same_schema_is_asked_for_nothing() {
    let server = TestServer::start();
    let player = server.player("a");
    assert_eq!((player.offered, player.welcome.verdict), (false, verdict::Value::Same.into()));
    assert_eq!(compared(&server, "SAME"), 1.0);
}

#[test]
fn a_client_that_differs_by_additions_comes_in_and_is_asked_once() {
    let server = TestServer::start();
    let newer = edited(&[NEWER]);
    let mut old = server.player("old");
    let mut first = login(&server, &newer, "first").unwrap();
    assert_eq!((first.offered, first.welcome.verdict), (true, verdict::Value::Compatible.into()));
    // Its fingerprint is known now.
    let second = login(&server, &newer, "second").unwrap();
    assert_eq!((second.offered, second.welcome.verdict), (false, verdict::Value::Compatible.into()));
    assert_eq!(compared(&server, "COMPATIBLE"), 2.0);
    // What it sends reaches an older client with the field that this one does not know.
    let payload = [mouse(3, 4).encode_to_vec(), vec![0x4d, 0, 0, 0x80, 0x3f]].concat();
    let mut bytes = vec![];
    tagwire::frame::encode(tagwire::Tag(2), &payload, &mut bytes);
    first.send_bytes(&bytes);
    let (sender, _, got) = old.message();
    assert_eq!((sender, got), (Some(first.id()), payload));
    old.send(&mouse(5, 6));
    assert_eq!(first.mouse().1, mouse(5, 6));
}

#[test]
fn a_client_with_other_constraints_comes_in_and_is_held_to_the_servers() {
    let server = TestServer::start();
    let looser = edited(&[("[(buf.validate.field).enum.defined_only = true]", "")]);
    let mut player = login(&server, &looser, "looser").unwrap();
    assert_eq!((player.offered, player.welcome.verdict), (true, verdict::Value::Compatible.into()));
    player.send(&tagwire::pb::arena::v1::PickColour { colour: 9 });
    let notice = player.wait(|event| match event {
        Event::Notice(notice) => Some(notice),
        _ => None,
    });
    assert!(notice.text.starts_with("arena.v1.PickColour: colour: enum.defined_only: "), "{}", notice.text);
}

#[test]
fn a_client_that_contradicts_is_told_every_difference() {
    let server = TestServer::start();
    let mut bystander = server.player("bystander");
    let other = edited(&[OTHER, ("tag: 4,", "tag: 9,")]);
    for offered in [true, false] {
        let ended = login(&server, &other, "other").err().unwrap();
        assert_eq!(ended.code, Some(CloseCode::SCHEMA_MISMATCH), "asked for it: {offered}");
        assert_eq!(ended.reason, "the schemas contradict each other in 2 places");
        let text = ended.findings.join("\n");
        assert!(text.contains("arena.v1.MouseEvent.x: string became int32"), "{text}");
        assert!(text.contains("arena.v1.Chat"), "{text}");
    }
    assert_eq!(compared(&server, "BREAKING"), 2.0);
    assert_eq!(server.metric("tagwire_logins_denied_total{reason=\"schema\"}"), 2.0);
    bystander.wait(|event| matches!(event, Event::Ping(_)).then_some(()));
    assert_eq!(server.metric("tagwire_sessions"), 1.0);
}

#[test]
fn a_server_that_is_strict_admits_its_own_schema_alone_and_one_that_is_not_all() {
    let strict = TestServer::with(|config| config.schema_policy = SchemaPolicy::Exact);
    strict.player("same");
    let ended = login(&strict, &edited(&[NEWER]), "newer").err().unwrap();
    assert_eq!(ended.code, Some(CloseCode::SCHEMA_MISMATCH));
    assert!(ended.reason.contains("its own schema alone"), "{}", ended.reason);
    assert!(
        ended.findings.iter().any(|f| f.contains("arena.v1.MouseEvent.pressure")),
        "{:?}",
        ended.findings
    );
    let none = Schema::new(Fingerprint([0; 16]), Bytes::new(), vec![]);
    assert!(login(&strict, &none, "none").is_err());

    let open = TestServer::with(|config| config.schema_policy = SchemaPolicy::Off);
    let player = login(&open, &edited(&[OTHER]), "other").unwrap();
    assert_eq!((player.offered, player.welcome.verdict), (false, verdict::Value::NotCompared.into()));
}

#[test]
fn a_classic_client_has_no_schema_to_compare() {
    let server = TestServer::with(|config| config.schema_policy = SchemaPolicy::Exact);
    let mut classic = server.classic("classic");
    classic.wait_for_ping();
}

#[test]
fn only_with_good_credentials_is_a_schema_looked_at() {
    let server = TestServer::start();
    let other = edited(&[OTHER]);
    let stream = TcpStream::connect(server.address).unwrap();
    let ended = Player::login_with(other, stream, "a", "wrong").err().unwrap();
    assert_eq!(ended.code, Some(CloseCode::LOGIN_REFUSED));
}

/// What a client offers that is not the schema of its fingerprint, or no schema at all.
#[test]
fn an_offer_that_is_false_ends_the_login() {
    let server = TestServer::start();
    let mut honest = server.player("honest");
    let newer = edited(&[NEWER]);
    let other = edited(&[OTHER]);
    for (what, descriptors, code) in [
        ("another schema", other.descriptors().clone(), CloseCode::VIOLATION),
        ("nothing", Bytes::new(), CloseCode::VIOLATION),
        ("garbage", Bytes::from(vec![0xff; 1000]), CloseCode::VIOLATION),
        ("half of it", newer.descriptors().slice(..100), CloseCode::VIOLATION),
    ] {
        let offer = Schema::new(newer.fingerprint(), descriptors, newer.messages().to_vec());
        let ended = login(&server, &offer, "liar").err().unwrap();
        assert_eq!(ended.code, Some(code), "{what}: {}", ended.reason);
        assert!(ended.reason.contains("the schema that was offered"), "{what}: {}", ended.reason);
    }
    // Nothing of it is remembered against those who tell the truth.
    assert!(login(&server, &newer, "newer").unwrap().offered);
    honest.wait(|event| matches!(event, Event::Ping(_)).then_some(()));
}

#[test]
fn who_does_not_offer_in_time_is_told_so() {
    let server = TestServer::with(|config| config.limits.login_timeout_ms = 300);
    let mut client = Classic::connect(server.address);
    let info = v1::ClientInfo { protocol: 1, fingerprint: vec![9; 16].into(), ..Default::default() };
    let login = v1::PlayerLogin { password: "welcome".to_string(), client: Some(info), ..Default::default() };
    client.send(&frame(&login));
    let rest = client.rest();
    let [(253, wanted), (241, last)] = rest.as_slice() else { panic!("{rest:?}") };
    assert!(wanted.is_empty());
    let disconnect = v1::Disconnect::decode(last.as_slice()).unwrap();
    assert_eq!(disconnect.code, u32::from(CloseCode::LOGIN_TIMEOUT.0));
    assert_eq!(server.metric("tagwire_logins_denied_total{reason=\"deadline\"}"), 1.0);
}
