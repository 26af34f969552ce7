//! Who asks for the schema, to make stubs of it, is told it or told why not; and no session comes of it.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use common::via::{End, Via};
use common::*;
use tagwire::bytes::Bytes;
use tagwire::pb::tagwire::v1::{self, login_part};
use tagwire::session::asking::{self, NotTold};
use tagwire::session::client::{Credentials, Event};
use tagwire::{Access, CloseCode, Schema};
use tagwire_codegen::load::load_documented;
use tagwire_server::auth::{Attempt, Authenticator, Denied, Identity};
use tagwire_server::{AuthKind, Config, SchemaAccess, SchemaComments, read_schema};

const TOLD: &str = "tagwire_schemas_told_total";
const DENIED: &str = "tagwire_logins_denied_total{reason=\"schema access\"}";

fn nobody() -> Credentials {
    Credentials::default()
}

fn player(name: &str, password: &str) -> Credentials {
    Credentials { username: name.to_string(), password: password.to_string(), ..nobody() }
}

/// What a tool does: asks, takes the one frame that comes, and sees the end behind it.
fn ask_by(mut stream: End, credentials: &Credentials) -> Result<Vec<u8>, NotTold> {
    stream.write_all(&asking::question(credentials, "test", "1")).unwrap();
    let mut client = Classic::by(stream);
    client.set_limits(asking::decoder_limits());
    let (tag, payload) = client.next().expect("an answer");
    assert_eq!(client.rest(), [], "the answer is the last frame");
    asking::answer(tagwire::Frame { tag: tagwire::Tag(tag), payload: &payload }).map(|bytes| bytes.to_vec())
}

fn ask(server: &TestServer, credentials: &Credentials) -> Result<Vec<u8>, NotTold> {
    ask_by(End::connect(server.address), credentials)
}

/// The refusal's code, its text, and which part of the login it was.
fn refusal(told: Result<Vec<u8>, NotTold>) -> (CloseCode, String, login_part::Value) {
    match told {
        Err(NotTold::Refused { code, reason, refused, .. }) => (code, reason, refused),
        other => panic!("{other:?}"),
    }
}

/// A schema that no socket takes at once, and how large it is.
fn large() -> (Schema, usize) {
    let length = 8 * 1024 * 1024;
    let descriptors = Bytes::from(vec![b'x'; length]);
    let schema = Schema::new(tagwire::Fingerprint([0; 16]), descriptors, vec![]);
    (schema, length)
}

fn arena() -> tagwire_codegen::model::Model {
    tagwire_codegen::read(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto")]).unwrap()
}

/// A game's own judge: who says "good" is a player, "guest" a guest.
struct Own;

impl Authenticator for Own {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        let access = match attempt.login.password.as_str() {
            "good" => Access::Player,
            "guest" => Access::Guest,
            _ => return Err(Denied::WrongPassword),
        };
        Ok(Identity::new(&attempt.login.username, access))
    }
}

fn judged(change: impl FnOnce(&mut Config)) -> TestServer {
    let change = |config: &mut Config| {
        config.auth = AuthKind::Game;
        change(config);
    };
    TestServer::with_game(tagwire::pb::schema(), change, |server| server.auth(Own))
}

#[test]
fn with_development_passwords_anyone_is_told_it_with_its_comments() {
    let server = TestServer::start();
    let told = ask(&server, &nobody()).unwrap();
    assert_eq!(told, arena().documented_set());
    let model = load_documented(&told).unwrap();
    assert!(model.message("arena.v1.MouseEvent").unwrap().comment.starts_with(char::is_alphabetic));
    assert_eq!(server.metric(TOLD), 1.0);
    // Credentials are not looked at.
    assert_eq!(ask(&server, &player("a", "wrong")), Ok(told));
    assert_eq!(server.metric(TOLD), 2.0);
}

#[test]
fn comments_stay_where_the_server_keeps_them() {
    let server = TestServer::with(|config| config.schema_comments = SchemaComments::Never);
    assert_eq!(ask(&server, &nobody()).unwrap(), tagwire::pb::schema().descriptors().to_vec());
}

#[test]
fn a_schema_that_is_read_at_the_start_is_told_as_one_that_is_compiled_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../codegen/tests/golden/hall");
    let server = TestServer::with_schema(read_schema(&path).unwrap(), |_| ());
    let files = tagwire_codegen::read(&[path]).unwrap();
    assert_eq!(ask(&server, &nobody()).unwrap(), files.documented_set());
}

#[test]
fn who_asks_takes_nobodys_name_and_is_seen_by_nobody() {
    let server = TestServer::start();
    let mut there = server.player("zoe");
    ask(&server, &player("zoe", "welcome")).unwrap();
    // Two Pings later nothing else has come: neither that somebody joined, nor that it was replaced.
    let mut pings = 0;
    while pings < 2 {
        match there.next().unwrap() {
            Event::Ping(_) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.metric("tagwire_logins_granted_total"), 1.0);
    assert_eq!(server.metric("tagwire_sessions"), 1.0);
    server.wait_for("tagwire_connections", 1.0);
}

#[test]
fn by_every_transport() {
    let server = TestServer::with(|config| {
        config.tls.certificate = common::via::IDENTITY.pem.to_str().unwrap().to_string();
    });
    for via in Via::ALL {
        let told = ask_by(via.run(|| End::connect(server.address)), &nobody()).unwrap();
        assert_eq!(told, arena().documented_set(), "{via:?}");
    }
}

#[test]
fn a_schema_that_is_larger_than_any_other_frame_is_told_too() {
    let (schema, length) = large();
    let server = TestServer::with_schema(schema, |config| {
        config.tls.certificate = common::via::IDENTITY.pem.to_str().unwrap().to_string();
    });
    for via in Via::ALL {
        assert_eq!(
            ask_by(via.run(|| End::connect(server.address)), &nobody()).unwrap().len(),
            length,
            "{via:?}"
        );
    }
}

#[test]
fn elsewhere_players_are_told_it_and_others_why_not() {
    let server = judged(|_| ());
    // Without comments, which not everybody who plays must read.
    let told = ask(&server, &player("zoe", "good")).unwrap();
    assert_eq!(told, tagwire::pb::schema().descriptors().to_vec());
    let refused =
        (CloseCode::LOGIN_REFUSED, "wrong name or password".to_string(), login_part::Value::Password);
    assert_eq!(refusal(ask(&server, &player("zoe", "bad"))), refused);
    for credentials in [nobody(), player("zoe", "guest")] {
        let (code, reason, part) = refusal(ask(&server, &credentials));
        assert_eq!((code, part), (CloseCode::LOGIN_REFUSED, login_part::Value::Name));
        assert!(reason.contains("to players alone (its setting schema_access)"), "{reason}");
    }
    assert_eq!((server.metric(TOLD), server.metric(DENIED)), (1.0, 2.0));
    let comments = judged(|config| config.schema_comments = SchemaComments::Always);
    assert_eq!(ask(&comments, &player("zoe", "good")).unwrap(), arena().documented_set());
}

/// Where guests may log in, who shows nothing is one, and so is whom the game's judge calls one.
#[test]
fn guests_are_no_players() {
    let server = judged(|config| config.guests = true);
    let guest = Player::login(server.address, "", "").unwrap();
    assert!(guest.welcome.name.starts_with("guest-"), "{}", guest.welcome.name);
    for credentials in [nobody(), player("zoe", "guest")] {
        let (code, reason, part) = refusal(ask(&server, &credentials));
        assert_eq!((code, part), (CloseCode::LOGIN_REFUSED, login_part::Value::Name));
        assert!(reason.contains("to players alone"), "{reason}");
    }
    ask(&server, &player("zoe", "good")).unwrap();
}

#[test]
fn nobody_is_nobody() {
    let server = TestServer::with(|config| config.schema_access = SchemaAccess::Nobody);
    let (code, reason, part) = refusal(ask(&server, &player("zoe", "welcome")));
    // No credentials would help.
    assert_eq!((code, part), (CloseCode::LOGIN_REFUSED, login_part::Value::Untold));
    assert_eq!(reason, "this server tells its schema to nobody (its setting schema_access)");
    assert_eq!(server.metric(TOLD), 0.0);
}

#[test]
fn the_setting_opens_what_a_games_own_judge_would_close() {
    let server = judged(|config| config.schema_access = SchemaAccess::Anyone);
    ask(&server, &nobody()).unwrap();
}

#[test]
fn who_guesses_passwords_by_asking_is_stopped_as_in_a_login() {
    let server = judged(|config| {
        config.limits.max_failed_logins_per_name = 2;
        config.limits.trusted = vec![];
    });
    for _ in 0..2 {
        refusal(ask(&server, &player("zoe", "bad")));
    }
    let (_, reason, _) = refusal(ask(&server, &player("zoe", "good")));
    assert!(reason.starts_with("too many logins failed"), "{reason}");
    // Nothing shown is nothing guessed.
    refusal(ask(&server, &nobody()));
    ask(&server, &player("eve", "good")).unwrap();
}

#[test]
fn a_full_server_says_so() {
    let server = TestServer::with(|config| config.limits.max_connections = 1);
    let _there = server.player("zoe");
    let (code, reason, _) = refusal(ask(&server, &nobody()));
    assert_eq!((code, reason.as_str()), (CloseCode::OVERLOAD, "the server is full (1 connections)"));
}

#[test]
fn where_logins_need_tls_so_does_asking() {
    let server = TestServer::with(|config| config.plaintext = tagwire_server::Plaintext::Deny);
    let (code, reason, part) = refusal(ask(&server, &nobody()));
    assert_eq!((code, part), (CloseCode::LOGIN_REFUSED, login_part::Value::Untold));
    assert!(reason.starts_with("this server asks for TLS"), "{reason}");
}

#[test]
fn a_schema_without_descriptors_cannot_be_told() {
    let schema = Schema::new(tagwire::Fingerprint([0; 16]), Bytes::new(), vec![]);
    let server = TestServer::with_schema(schema, |_| ());
    let (code, reason, part) = refusal(ask(&server, &nobody()));
    assert_eq!((code, part), (CloseCode::LOGIN_REFUSED, login_part::Value::Untold));
    assert_eq!(reason, "this server has no descriptors of its schema");
}

/// The large answer does not wait for ever for who reads nothing, and others are answered meanwhile.
#[test]
fn who_takes_nothing_is_left_at_the_deadline_of_the_login() {
    let (schema, length) = large();
    let server = TestServer::with_schema(schema, |config| config.limits.login_timeout_ms = 700);
    let mut deaf = TcpStream::connect(server.address).unwrap();
    deaf.write_all(&asking::question(&nobody(), "deaf", "1")).unwrap();
    server.wait_for(TOLD, 1.0);
    assert_eq!(ask(&server, &nobody()).unwrap().len(), length);
    server.wait_for("tagwire_logins_denied_total{reason=\"deadline\"}", 1.0);
    server.wait_for("tagwire_connections", 0.0);
}

#[test]
fn so_many_are_answered_at_once_and_the_next_is_told_to_wait() {
    let (schema, _) = large();
    let server = TestServer::with_schema(schema, |_| ());
    let deaf: Vec<_> = (1..=32)
        .map(|n| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(&asking::question(&nobody(), "deaf", "1")).unwrap();
            server.wait_for(TOLD, f64::from(n));
            stream
        })
        .collect();
    let told = ask(&server, &nobody());
    let Err(NotTold::Refused { code, retry_after_ms, .. }) = told else { panic!("{told:?}") };
    assert_eq!((code, retry_after_ms), (CloseCode::OVERLOAD, 1000));
    assert_eq!(server.metric("tagwire_limits_reached_total{limit=\"schemas told at once\"}"), 1.0);
    drop(deaf);
    server.wait_for("tagwire_connections", 0.0);
    ask(&server, &nobody()).unwrap();
}

#[test]
fn frames_behind_the_question_are_not_read() {
    let server = TestServer::start();
    let mut client = Classic::connect(server.address);
    client.set_limits(asking::decoder_limits());
    let mut bytes = asking::question(&nobody(), "test", "1");
    bytes.extend(frame(&v1::PlayerLogin { password: "welcome".to_string(), ..Default::default() }));
    client.send(&bytes);
    let tags: Vec<_> = client.rest().into_iter().map(|(tag, _)| tag).collect();
    assert_eq!(tags, [254]);
    assert_eq!(server.metric("tagwire_logins_granted_total"), 0.0);
}
