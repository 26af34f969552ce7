//! Any first bytes of a connection: nothing but a login comes in, and no secret is printed.
//!
//! Input: what happens after the login, number of sizes, sizes of the pieces, the stream.

use tagwire::Access;
use tagwire::frame::{Decoder, Limits};
use tagwire::opening::{Opening, sniff};
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message;
use tagwire::session::client::{ClientSession, Credentials, Event};
use tagwire::session::limits::SessionLimits;
use tagwire::session::login::{Login, MAX_LOGIN_BYTES};
use tagwire::session::outbox::OutboxLimits;
use tagwire::session::server::{Incoming, ServerSession};
use tagwire::session::{Dialect, Fault};
use tagwire::{Message as _, Tag};

use super::common::{MAX_FRAME_BYTES, NO_RATES, START, admission, frame, schema};
use super::input::{Input, cut};

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let then = input.byte();
    let sizes = input.bytes();
    let stream = input.0;
    let opening = sniffed(stream);

    let max_frame_bytes = if then & 1 == 0 { MAX_FRAME_BYTES } else { 100 };
    let mut session = ServerSession::new(schema(), SessionLimits { max_frame_bytes, ..NO_RATES });
    let limits = session.decoder_limits();
    assert_eq!(limits.only, Some(Tag(1)));
    assert_eq!(limits.max_frame_bytes, MAX_LOGIN_BYTES.min(max_frame_bytes));
    let Some(login) = first_frame(&mut session, limits, &cut(stream, sizes)) else { return };
    assert_eq!(opening, Some(Opening::Tagwire), "what logs in is sniffed as such");
    assert_eq!(session.dialect(), login.dialect);
    assert_eq!(session.decoder_limits(), limits, "nothing else is taken while the server decides");

    if then & 2 != 0 {
        let early = tagwire::Frame { tag: Tag(u16::from(then) + 1), payload: &[] };
        assert_eq!(session.handle_frame(START, early), Err(Fault::TooEarly(early.tag)));
        return;
    }
    let welcome = session.admit(START, admission(&login.username, Access::Player));
    assert_eq!(session.decoder_limits(), Limits { max_frame_bytes, only: None });
    assert_eq!(welcome.is_some(), login.dialect == Dialect::Native, "classic clients get no Welcome");
    let Some(welcome) = welcome else { return };
    let mut client = ClientSession::new(schema(), Credentials::default(), OutboxLimits::default());
    client.connect(START);
    let mut decoder = Decoder::new(client.decoder_limits());
    let frame = frame(&welcome);
    let mut bytes = frame.as_slice();
    let taken = decoder.next(&mut bytes).expect("a Welcome is a frame").expect("a whole one");
    let event = client.handle_frame(START, taken);
    assert_eq!(event, Ok(Event::Welcome(welcome)));
}

/// What the first bytes are taken for: decided once, whatever comes after.
fn sniffed(stream: &[u8]) -> Option<Opening> {
    let mut decided = None;
    for length in 0..=stream.len().min(8) {
        let now = sniff(&stream[..length]);
        assert!(decided.is_none() || now == decided, "more bytes changed what was decided");
        decided = now;
    }
    assert_eq!(sniff(stream), decided);
    assert!(stream.len() < 4 || decided.is_some(), "four bytes decide");
    decided
}

fn first_frame(session: &mut ServerSession, limits: Limits, pieces: &[&[u8]]) -> Option<Login> {
    let mut decoder = Decoder::new(limits);
    for mut piece in pieces.iter().copied() {
        let Some(frame) = decoder.next(&mut piece).ok()? else { continue };
        assert_eq!(frame.tag, v1::PlayerLogin::TAG, "nothing but a login");
        assert!(frame.payload.len() <= limits.max_frame_bytes);
        return match session.handle_frame(START, frame) {
            Ok(Incoming::Login(login)) => {
                keeps_secrets(&login, frame.payload);
                Some(login)
            }
            Err(fault @ (Fault::Login(_) | Fault::Version(_))) => {
                tells_nothing(&fault, frame.payload);
                None
            }
            other => panic!("not a login: {other:?}"),
        };
    }
    None
}

fn texts(value: &impl std::fmt::Debug) -> [String; 2] {
    [format!("{value:?}"), format!("{value:#?}")]
}

/// What is printed is the same whatever the secrets are.
fn keeps_secrets(login: &Login, payload: &[u8]) {
    let bare = Login { password: String::new(), token: String::new(), ..login.clone() };
    assert_eq!(texts(login), texts(&bare));
    assert_eq!(texts(&Incoming::Login(login.clone())), texts(&Incoming::Login(bare)));

    let message = v1::PlayerLogin::decode(payload).expect("it was decoded before");
    assert_eq!(message.client.is_some(), login.dialect == Dialect::Native);
    let mut bare = message.clone();
    (bare.password, bare.token) = (String::new(), String::new());
    if let Some(resume) = &mut bare.resume {
        resume.token = tagwire::bytes::Bytes::new();
    }
    assert_eq!(texts(&message), texts(&bare));
    assert_eq!(texts(&message.resume), texts(&bare.resume));
    if login.password.chars().count() >= 8 && !texts(&bare)[0].contains(&login.password) {
        assert!(!texts(login)[0].contains(&login.password));
    }
}

/// What a fault may say of any payload: names of ours, and words of the decoder's.
const VOCABULARY: [&str; 5] = [
    "the first frame is no login: failed to decode Protobuf message: ",
    "PlayerLogin.username PlayerLogin.password PlayerLogin.client PlayerLogin.token PlayerLogin.resume",
    "ClientInfo.protocol ClientInfo.fingerprint ClientInfo.sdk ClientInfo.version Resume.token Resume.frames_received",
    "buffer underflow, invalid wire type value, invalid tag value, invalid key value, unexpected end group tag, \
     delimited length exceeded, recursion limit reached, invalid string value: data is not UTF-8 encoded, invalid varint",
    "Login(DecodeError { description: InvalidWireType { value: expected actual }, BufferUnderflow, InvalidString, \
     InvalidVarint, InvalidKey, InvalidTag, UnexpectedEndGroup, DelimitedLengthExceeded, RecursionLimitReached, stack: [(",
];

/// A fault shows no password, unless that is a word of the fault's own.
fn tells_nothing(fault: &Fault, payload: &[u8]) {
    let mut read = v1::PlayerLogin::default();
    // Keeps what was read before the error.
    let _ = read.merge(payload);
    let password = read.password.as_str();
    if password.chars().count() < 8 || VOCABULARY.iter().any(|words| words.contains(password)) {
        return;
    }
    let said = format!("{fault} {fault:?}");
    assert!(!said.contains(password), "a fault that shows the password: {said}");
}
