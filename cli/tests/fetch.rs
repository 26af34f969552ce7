//! A schema that a running server is asked for: what comes, and what is said where nothing does.

#![allow(missing_docs, dead_code, clippy::unwrap_used)]

#[path = "../src/fetch.rs"]
mod fetch;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use fetch::{Credentials, FetchError, Trust, fetch};
use sha2::{Digest, Sha256};
use tagwire::CloseCode;
use tagwire::frame::encode_message;
use tagwire::pb::tagwire::v1::login_part::Value::{Name, Token, Untold};
use tagwire::pb::tagwire::v1::{self, login_part};
use tagwire_codegen::load::load_documented;
use tagwire_codegen::model::{Model, Origin};
use tagwire_codegen::python;
use tagwire_server::auth::{Attempt, Authenticator, Denied, Identity};
use tagwire_server::{AuthKind, Config, Plaintext, SchemaAccess, Server, bind, read_schema};
use tokio::sync::oneshot;

fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto")
}

/// A server in this process, until it is dropped.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn with(change: impl FnOnce(&mut Config), game: impl FnOnce(Server) -> Server) -> Self {
        let mut config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
        change(&mut config);
        let listen = config.listen[0];
        let server = game(Server::new(config, read_schema(&proto()).unwrap()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(async { bind(listen).unwrap() });
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let shutdown = async { stopped.await.unwrap_or_default() };
            runtime.block_on(server.serve(vec![listener], shutdown)).unwrap();
        });
        Running { address, stop: Some(stop), thread: Some(thread) }
    }

    fn start() -> Self {
        Self::with(|_| (), |server| server)
    }

    fn url(&self) -> String {
        format!("tagwire://{}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The password is "good".
struct Own;

impl Authenticator for Own {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        match attempt.login.password.as_str() {
            "good" => Ok(Identity::new(&attempt.login.username, tagwire::Access::Player)),
            _ => Err(Denied::WrongPassword),
        }
    }
}

fn nobody() -> Credentials {
    Credentials::default()
}

fn player(password: &str) -> Credentials {
    Credentials { username: "zoe".to_string(), password: password.to_string(), ..nobody() }
}

fn ask(url: &str) -> Result<Vec<u8>, FetchError> {
    fetch(url, &nobody(), &Trust::default())
}

/// What is wrong, and what helps.
fn told(error: &FetchError) -> String {
    error.to_string() + "\n" + &error.fix().unwrap_or_default()
}

fn stubs(model: &Model) -> impl PartialEq + std::fmt::Debug {
    python::print(model, Origin::Game, None).unwrap().files
}

#[test]
fn stubs_of_a_running_server_are_those_of_its_files() {
    let server = Running::start();
    for url in [server.url(), server.address.to_string(), format!("localhost:{}", server.address.port())] {
        let there = load_documented(&ask(&url).unwrap()).unwrap();
        let files = tagwire_codegen::read(&[proto()]).unwrap();
        assert_eq!(stubs(&there), stubs(&files));
    }
}

#[test]
fn by_tls_with_a_pin_or_an_authority_and_not_without() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (pem, ca) = (folder.path().join("server.pem"), folder.path().join("ca.pem"));
    std::fs::write(&pem, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let server =
        Running::with(|config| config.tls.certificate = pem.to_str().unwrap().to_string(), |server| server);
    let url = |host: &str| format!("tagwires://{host}:{}", server.address.port());
    let digest = Sha256::digest(made.cert.der());
    let pin = |digest: &[u8]| Trust {
        pin: Some(format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
        ca: None,
    };
    let authority = Trust { ca: Some(ca.clone()), pin: None };
    // The name in it does not matter to a pin.
    let there = fetch(&url("127.0.0.1"), &nobody(), &pin(&digest)).unwrap();
    assert_eq!(fetch(&url("localhost"), &nobody(), &authority).unwrap(), there);
    for (host, trust, what) in [
        ("localhost", Trust::default(), "nobody whom this machine trusts has signed"),
        ("127.0.0.1", authority.clone(), "is for another host"),
        ("localhost", pin(&[7; 32]), "pinned is sha256:0707"),
    ] {
        let error = fetch(&url(host), &nobody(), &trust).unwrap_err();
        assert!(matches!(error, FetchError::Tls { .. }) && told(&error).contains(what), "{}", told(&error));
    }
    // Files and pins that are none are told before anybody is asked.
    for (trust, what) in [
        (Trust { ca: Some(folder.path().join("none.pem")), pin: None }, "none.pem"),
        (Trust { ca: None, pin: Some("sha256:12".to_string()) }, "64 hexadecimal digits"),
        (Trust { ca: Some(ca), ..pin(&digest) }, "give --ca or --pin"),
    ] {
        let error = fetch("tagwires://localhost:1", &nobody(), &trust).unwrap_err();
        assert!(matches!(error, FetchError::Trust { .. }) && told(&error).contains(what), "{}", told(&error));
    }
}

#[test]
fn a_server_without_tls_is_not_asked_in_the_clear() {
    let server = Running::start();
    let error = ask(&format!("tagwires://localhost:{}", server.address.port())).unwrap_err();
    assert!(matches!(error, FetchError::Tls { .. }), "{}", told(&error));
    assert!(told(&error).contains("tagwire://"), "{}", told(&error));
}

#[test]
fn a_refusal_says_what_is_refused_and_what_helps() {
    let server = Running::with(|config| config.auth = AuthKind::Game, |server| server.auth(Own));
    assert!(fetch(&server.url(), &player("good"), &Trust::default()).is_ok());
    let refused =
        |credentials: Credentials| fetch(&server.url(), &credentials, &Trust::default()).unwrap_err();
    let wrong = refused(player("bad"));
    assert!(matches!(wrong, FetchError::Refused { part: login_part::Value::Password, .. }), "{wrong:?}");
    assert_eq!(
        told(&wrong),
        format!(
            "{} refuses: wrong name or password\nsee that name and password are those of a player there",
            server.url()
        )
    );
    let nothing = refused(nobody());
    assert!(nothing.to_string().contains("its setting schema_access"), "{nothing}");
    assert_eq!(nothing.fix().unwrap(), "show the name and password of a player, or a token");
}

/// To ask for a password that would not help could only give it away.
#[test]
fn where_credentials_would_not_help_nobody_is_asked_for_them() {
    let plain = Running::with(|config| config.plaintext = Plaintext::Deny, |server| server);
    let secure = plain.url().replace("tagwire://", "tagwires://");
    for credentials in [nobody(), player("good")] {
        let error = fetch(&plain.url(), &credentials, &Trust::default()).unwrap_err();
        assert!(matches!(error, FetchError::WantsTls { .. }), "{error:?}");
        assert!(error.to_string().contains("asks for TLS"), "{error}");
        assert_eq!(error.fix().unwrap(), format!("use {secure}, on the same port"));
    }
    let mute = Running::with(|config| config.schema_access = SchemaAccess::Nobody, |server| server);
    for credentials in [nobody(), player("good")] {
        let error = fetch(&mute.url(), &credentials, &Trust::default()).unwrap_err();
        assert!(error.to_string().contains("to nobody (its setting schema_access)"), "{error}");
        assert_eq!(error.fix().unwrap(), "make stubs from its .proto files instead");
    }
}

#[test]
fn refusals_of_other_kinds_have_advice_of_their_own() {
    let refusal = |code: CloseCode, reason: &str, refused: login_part::Value, retry_after_ms| {
        let reason = reason.to_string();
        let told = v1::Disconnect {
            code: code.0.into(),
            reason,
            retry_after_ms,
            refused: refused.into(),
            ..Default::default()
        };
        let mut bytes = vec![];
        encode_message(&told, &mut bytes);
        bytes
    };
    let files = "make stubs from its .proto files instead";
    for (code, reason, part, retry_after_ms, fix) in [
        (CloseCode::LOGIN_REFUSED, "this server has no descriptors of its schema", Untold, 0, files),
        (CloseCode::LOGIN_REFUSED, "the schema is larger than a frame may be", Untold, 0, files),
        (
            CloseCode::LOGIN_REFUSED,
            "too many logins failed; try again in 7 s",
            Untold,
            7000,
            "try again in 7 s",
        ),
        (
            CloseCode::VERSION,
            "protocol 1 is not served, but 2 to 3",
            Untold,
            0,
            "update the older of the two",
        ),
        (
            CloseCode::LOGIN_REFUSED,
            "to players alone",
            Name,
            0,
            "show the name and password of a player, or a token",
        ),
        (CloseCode::LOGIN_REFUSED, "the token has expired", Token, 0, "show a token"),
    ] {
        let (url, thread) = other(refusal(code, reason, part, retry_after_ms));
        let error = ask(&url).unwrap_err();
        assert!(error.to_string().ends_with(reason), "{error}");
        assert!(error.fix().unwrap().starts_with(fix), "{}", told(&error));
        thread.join().unwrap();
    }
}

#[test]
fn who_is_not_there_is_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for url in [format!("127.0.0.1:{port}"), "tagwire://no-such-host.invalid".to_string()] {
        let error = ask(&url).unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
        assert!(error.fix().unwrap().contains("`listen`"));
    }
}

/// Who was reached and goes is another matter than who was not.
#[test]
fn who_resets_the_connection_was_reached() {
    for (answer, what) in [
        (vec![], "breaks off: Connection reset"),
        (vec![10, 254, 1], "breaks off: in the middle of the answer: Connection reset"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // What is not read when a socket is closed makes a reset of its end.
            assert_eq!(stream.peek(&mut [0; 1]).unwrap(), 1);
            stream.write_all(&answer).unwrap();
        });
        let error = ask(&url).unwrap_err();
        assert!(matches!(error, FetchError::Cut { .. }) && told(&error).contains(what), "{}", told(&error));
        thread.join().unwrap();
    }
}

/// What is cut in TLS without a goodbye was not the handshake.
#[test]
fn an_answer_that_breaks_off_in_tls_does_not_make_one_doubt_tls() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let digest: String = Sha256::digest(made.cert.der()).iter().map(|byte| format!("{byte:02x}")).collect();
    let trust = Trust { pin: Some(format!("sha256:{digest}")), ca: None };
    for (answer, what) in [
        (&[10, 254, 1][..], "breaks off: in the middle of the answer: it ends"),
        (&[], "closes the connection without a word"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tagwires://localhost:{}", listener.local_addr().unwrap().port());
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let thread = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket);
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer).unwrap();
            stream.flush().unwrap();
        });
        let error = fetch(&url, &nobody(), &trust).unwrap_err();
        assert!(told(&error).contains(what) && !told(&error).contains("TLS"), "{}", told(&error));
        thread.join().unwrap();
    }
}

/// What answers with these bytes, and closes.
fn other(answer: Vec<u8>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 1024];
        let _ = stream.read(&mut question).unwrap();
        stream.write_all(&answer).unwrap();
    });
    (url, thread)
}

#[test]
fn what_is_no_server_of_ours_or_an_old_one_is_told_of() {
    let frame = |message: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = vec![];
        message(&mut bytes);
        bytes
    };
    let welcome = frame(&|bytes| encode_message(&v1::Welcome::default(), bytes));
    let full = frame(&|bytes| {
        let reason = "full\u{1b}[2J".to_string();
        let told = v1::Disconnect { code: 3003, reason, retry_after_ms: 4200, ..Default::default() };
        encode_message(&told, bytes);
    });
    for (answer, what) in [
        (welcome, "older than this command"),
        (full, "cannot answer now: full\u{fffd}[2J\ntry again in 5 s"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "no tagwire server"),
        (vec![0, 0, 1], "no tagwire server"),
        // A frame of 4 GB.
        (vec![0xff, 0, 0, 254, 0xff, 0xff, 0xff, 0xff], "no tagwire server"),
        (b"HT".to_vec(), "no tagwire server"),
        (vec![10], "closes the connection without a word"),
        (vec![], "closes the connection without a word"),
        (vec![10, 254, 1], "breaks off: in the middle of the answer: it ends"),
        (vec![10, 241], "breaks off: in the middle of the answer: it ends"),
        (vec![0xff, 0, 0, 254, 0, 1, 0, 0, 7, 7], "breaks off: in the middle of the answer: it ends"),
    ] {
        let (url, thread) = other(answer);
        let error = ask(&url).unwrap_err();
        assert!(told(&error).contains(what), "{}", told(&error));
        thread.join().unwrap();
    }
}
