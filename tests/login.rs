//! Login, from both sides.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::*;
use tagwire::bytes::Bytes;
use tagwire::close::CloseCode;
use tagwire::frame::DecodeError;
use tagwire::pb::tagwire::v1::{self, login_part, verdict};
use tagwire::session::asking::{self, NotTold};
use tagwire::session::client::{Credentials, Event, SendError};
use tagwire::session::login::{Login, MAX_OFFER_BYTES};
use tagwire::session::server::Incoming;
use tagwire::session::{Dialect, Fault};
use tagwire::{Access, Frame, Message, Tag};

fn login_of(bytes: &str) -> Result<Option<Incoming<'static>>, Fault> {
    let bytes: Vec<u8> =
        (0..bytes.len()).step_by(2).map(|i| u8::from_str_radix(&bytes[i..i + 2], 16).unwrap()).collect();
    ServerSide::new().take_bytes(&bytes)
}

#[test]
fn test_server_reads_the_references_login() {
    let Ok(Some(Incoming::Login(login))) = login_of("12010a07706c6179657231120777656c636f6d65") else {
        panic!()
    };
    assert_eq!((login.username.as_str(), login.password.as_str()), ("player1", "welcome"));
    assert_eq!(login.dialect, Dialect::Classic);
    let Ok(Some(Incoming::Login(empty))) = login_of("0001") else { panic!() };
    assert_eq!((empty.username.as_str(), empty.password.as_str()), ("", ""));
}

#[test]
fn test_server_takes_nothing_but_a_login_first() {
    for bytes in ["040208011001", "0002", "090308c0aabbba9e8dfd02", "ff00000200000000"] {
        let Err(Fault::Frame(DecodeError::NotNow { only, .. })) = login_of(bytes) else { panic!("{bytes}") };
        assert_eq!(only, Tag(1));
    }
    assert!(matches!(login_of("0000"), Err(Fault::Frame(DecodeError::ShortTagZero { .. }))));
    let fault = login_of("0101ff").unwrap_err();
    assert!(matches!(fault, Fault::Login(_)));
    assert_eq!(CloseCode::from(&fault), CloseCode::MALFORMED);
}

#[test]
fn test_server_takes_a_login_of_at_most_8_kib() {
    let login = |length| {
        let login = v1::PlayerLogin { username: "x".repeat(length), ..Default::default() };
        ServerSide::new().take(&login)
    };
    assert!(matches!(login(8192 - 3), Ok(Some(Incoming::Login(_)))));
    let fault = login(8192 - 2).unwrap_err();
    assert_eq!(CloseCode::from(&fault), CloseCode::TOO_LARGE);
}

#[test]
fn test_server_names_the_version_it_speaks() {
    let client = Some(v1::ClientInfo { protocol: 2, ..Default::default() });
    let fault = ServerSide::new().take(&v1::PlayerLogin { client, ..Default::default() }).unwrap_err();
    assert_eq!(CloseCode::from(&fault), CloseCode::VERSION);
    assert_eq!(fault.to_string(), "protocol version 2 is not served; this server speaks version 1");
}

#[test]
fn test_server_takes_no_frame_while_it_decides() {
    let mut side = ServerSide::new();
    side.take(&v1::PlayerLogin::default()).unwrap();
    let fault = side.take(&v1::PlayerLogin::default()).unwrap_err();
    assert_eq!(CloseCode::from(&fault), CloseCode::VIOLATION);
}

#[test]
fn test_server_takes_one_login_a_connection() {
    let mut native = ServerSide::open(Dialect::Native, Access::Player);
    assert_eq!(native.take(&v1::PlayerLogin::default()), Err(Fault::SecondLogin));
    let mut classic = ServerSide::open(Dialect::Classic, Access::Player);
    assert!(matches!(classic.take(&v1::PlayerLogin::default()), Ok(Some(Incoming::Dropped(_)))));
}

#[test]
fn test_server_welcomes_new_clients_and_never_classic_ones() {
    let mut side = ServerSide::new();
    let mut client = ClientSide::new("player1", "welcome");
    let Ok(Some(Incoming::Login(login))) = side.take_bytes(&client.out()) else { panic!() };
    assert_eq!(login.dialect, Dialect::Native);
    assert_eq!(login.sdk, format!("tagwire-rust {}", env!("CARGO_PKG_VERSION")));
    let welcome = side.admit(&login, Access::Player).unwrap();
    assert_eq!(
        welcome,
        v1::Welcome {
            session_id: 1,
            player_id: 2,
            name: "player1".to_string(),
            protocol: 1,
            fingerprint: vec![7; 16].into(),
            verdict: verdict::Value::Same.into(),
            ping_interval_ms: 1000,
            limits: Some(v1::Limits { max_frame_bytes: MAX_FRAME_BYTES as u32, ..Default::default() }),
            server_time_us: START.unix_us,
            room: "main".to_string(),
            ..Default::default()
        }
    );
    assert!(!client.session.is_open());
    assert_eq!(client.take(&welcome), Ok(Event::Welcome(welcome)));
    assert!(client.session.is_open());

    let mut side = ServerSide::new();
    let Ok(Some(Incoming::Login(login))) = side.take(&v1::PlayerLogin::default()) else { panic!() };
    assert_eq!(side.admit(&login, Access::Player), None);
}

#[test]
fn a_schema_is_asked_for_offered_and_then_the_login_is_answered() {
    let mut client = ClientSide::new("player1", "welcome");
    let mut side = ServerSide::new();
    let Ok(Some(Incoming::Login(login))) = side.take_bytes(&client.out()) else { panic!() };
    let wanted = side.session.ask_schema();
    side.decoder.set_limits(side.session.decoder_limits());
    assert_eq!(frame(&wanted), [0, 253]);
    assert_eq!(client.take(&wanted), Ok(Event::SchemaOffered));
    let offer = client.out();
    let taken = side.take_bytes(&offer);
    assert_eq!(taken, Ok(Some(Incoming::Offer(schema().descriptors().clone()))));
    // While it is compared nothing is taken; the exchange does not count.
    assert_eq!(side.take_bytes(&offer), Err(Fault::TooEarly(v1::SchemaOffer::TAG)));
    assert_eq!(side.session.frames_received(), 0);
    let welcome = side.admit(&login, Access::Player).unwrap();
    assert_eq!(client.take(&welcome), Ok(Event::Welcome(welcome)));
    assert!(client.session.is_open());
}

#[test]
fn test_server_takes_nothing_but_the_schema_it_asked_for() {
    let asking = || {
        let mut side = ServerSide::new();
        let client = Some(v1::ClientInfo { protocol: 1, ..Default::default() });
        side.take(&v1::PlayerLogin { client, ..Default::default() }).unwrap();
        side.session.ask_schema();
        side.decoder.set_limits(side.session.decoder_limits());
        side
    };
    for (what, bytes) in [
        ("another message", frame(&ToRoom::new("hi"))),
        ("a Ping", frame(&v1::Ping::default())),
        ("a second login", frame(&v1::PlayerLogin::default())),
        ("256 KiB and one byte", vec![0xff, 0, 0, 254, 0, 4, 0, 1]),
    ] {
        assert!(matches!(asking().take_bytes(&bytes), Err(Fault::Frame(_))), "{what}");
    }
    let fault = asking().take_bytes(&[1, 254, 0xff]).unwrap_err();
    assert_eq!(CloseCode::from(&fault), CloseCode::MALFORMED);
    let descriptors = vec![0; MAX_OFFER_BYTES - 4].into();
    assert!(matches!(asking().take(&v1::SchemaOffer { descriptors }), Ok(Some(Incoming::Offer(_)))));
}

#[test]
fn test_client_offers_its_schema_once_and_before_welcome() {
    let wanted = v1::SchemaWanted {};
    let mut client = ClientSide::new("player1", "welcome");
    client.take(&wanted).unwrap();
    assert_eq!(client.take(&wanted), Err(Fault::TooEarly(v1::SchemaWanted::TAG)));
    let mut inside = ClientSide::open();
    assert_eq!(inside.take(&wanted), Ok(Event::Dropped(v1::SchemaWanted::TAG)));
    assert!(inside.sent().is_empty());
}

#[test]
fn test_client_is_told_what_differs() {
    let mut client = ClientSide::new("player1", "welcome");
    let findings = vec!["arena.v1.MouseEvent.x: int32 became string".to_string()];
    let disconnect = v1::Disconnect { code: 3502, findings: findings.clone(), ..Default::default() };
    let told = client.take(&disconnect).unwrap();
    assert!(matches!(told, Event::Disconnect { findings: told, .. } if told == findings));
}

#[test]
fn test_client_logs_in_with_its_fingerprint_and_sends_nothing_before_welcome() {
    let mut client = ClientSide::new("player1", "welcome");
    let sent = client.sent();
    let [(tag, payload)] = sent.as_slice() else { panic!("one frame: {sent:?}") };
    assert_eq!(*tag, v1::PlayerLogin::TAG);
    let login = Login::decode(payload).unwrap();
    assert_eq!(login.fingerprint, vec![7; 16]);
    assert_eq!(client.session.send(&ToRoom::new("hello")), Err(SendError::NotOpen));
    assert_eq!(client.session.request(&Asks::new("?")), Err(SendError::NotOpen));
    assert!(client.sent().is_empty());
}

#[test]
fn test_client_is_told_why_it_was_refused() {
    let mut client = ClientSide::new("player1", "wrong");
    let refusal =
        v1::Disconnect { code: 3501, reason: "wrong name or password".to_string(), ..Default::default() };
    let event = client.take(&refusal).unwrap();
    let Event::Disconnect { code, reason, .. } = event else { panic!("{event:?}") };
    assert_eq!((code, reason.as_str()), (CloseCode::LOGIN_REFUSED, "wrong name or password"));
}

#[test]
fn test_client_accepts_nothing_but_an_answer_to_its_login() {
    let mut client = ClientSide::new("player1", "welcome");
    assert_eq!(client.take(&v1::Ping::default()), Err(Fault::TooEarly(Tag(3))));
}

#[test]
fn no_secret_is_printed() {
    let login = v1::PlayerLogin {
        username: "player1".to_string(),
        password: "s3cret-p".to_string(),
        token: "s3cret-t".to_string(),
        resume: Some(v1::Resume { token: b"s3cret-r"[..].into(), frames_received: 5, connection: 2 }),
        ..Default::default()
    };
    let decoded = Login::decode(&tagwire::prost::Message::encode_to_vec(&login)).unwrap();
    let welcome = v1::Welcome { resume_token: b"s3cret-w"[..].into(), ..Default::default() };
    for text in [
        format!("{login:?}"),
        format!("{login:#?}"),
        format!("{:?}", login.resume),
        format!("{decoded:?}"),
        format!("{welcome:?}"),
    ] {
        assert!(!text.contains("s3cret") && !text.contains("115, 51"), "{text}");
    }
}

// ---- asking for the schema ----

fn asked(side: &mut ServerSide, credentials: &Credentials) -> Login {
    let question = asking::question(credentials, "tool", "2.1");
    match side.take_bytes(&question) {
        Ok(Some(Incoming::Login(login))) => login,
        other => panic!("{other:?}"),
    }
}

fn answered<M: Message>(message: &M) -> Result<Bytes, NotTold> {
    asking::answer(Frame { tag: M::TAG, payload: &message.encode_to_vec() })
}

#[test]
fn test_server_is_asked_for_its_schema_by_a_login_that_says_so() {
    let mut side = ServerSide::new();
    let credentials = Credentials {
        username: "zoe".to_string(),
        password: "secret".to_string(),
        token: "token".to_string(),
    };
    let login = asked(&mut side, &credentials);
    assert!(login.wants_schema);
    assert_eq!(
        (login.username.as_str(), login.password.as_str(), login.token.as_str()),
        ("zoe", "secret", "token")
    );
    assert_eq!(
        (login.dialect, login.sdk.as_str(), login.fingerprint.len()),
        (Dialect::Native, "tool 2.1", 0)
    );
    assert_eq!(
        side.take_bytes(&[0, 3]),
        Err(Fault::Frame(DecodeError::NotNow { tag: Tag(3), only: Tag(1) }))
    );
    let usual = v1::PlayerLogin {
        client: Some(v1::ClientInfo { protocol: 1, ..Default::default() }),
        ..Default::default()
    };
    let Ok(Some(Incoming::Login(login))) = ServerSide::new().take(&usual) else { panic!() };
    assert!(!login.wants_schema);
}

#[test]
fn test_client_reads_what_it_is_told_of_the_schema() {
    assert_eq!(
        answered(&v1::SchemaOffer { descriptors: Bytes::from_static(b"x") }),
        Ok(Bytes::from_static(b"x"))
    );
    let told = v1::Disconnect {
        code: 3501,
        reason: "the token has expired".to_string(),
        retry_after_ms: 7,
        refused: login_part::Value::Token.into(),
        ..Default::default()
    };
    let refused = NotTold::Refused {
        code: CloseCode::LOGIN_REFUSED,
        reason: "the token has expired".to_string(),
        retry_after_ms: 7,
        refused: login_part::Value::Token,
    };
    assert_eq!(answered(&told), Err(refused));
    // A server from before there was the question opens a session, or asks for the schema itself.
    assert_eq!(answered(&v1::Welcome::default()), Err(NotTold::TooOld));
    assert_eq!(answered(&v1::SchemaWanted {}), Err(NotTold::TooOld));
    assert_eq!(answered(&v1::Ping::default()), Err(NotTold::Fault(Fault::TooEarly(Tag(3)))));
    let unreadable = asking::answer(Frame { tag: Tag(254), payload: &[0xff] });
    assert!(matches!(unreadable, Err(NotTold::Fault(Fault::Malformed { .. }))), "{unreadable:?}");
    assert_eq!(asking::decoder_limits().max_frame_bytes, 16 * 1024 * 1024);
}

#[test]
fn test_client_is_told_which_part_of_its_login_was_refused() {
    for part in [login_part::Value::Untold, login_part::Value::Password, login_part::Value::Token] {
        let told = v1::Disconnect { code: 3501, refused: part.into(), ..Default::default() };
        let event = ClientSide::new("zoe", "x").take(&told);
        let Ok(Event::Disconnect { code: CloseCode::LOGIN_REFUSED, refused, .. }) = event else {
            panic!("{event:?}")
        };
        assert_eq!(refused, part);
    }
}
