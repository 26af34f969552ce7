//! TLS and WebSocket around a small dialect of tagwire's, against the real server.

#![allow(missing_docs, clippy::unwrap_used)]

mod common_web;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use common_web::{Client, seat};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use tagwire::frame::encode_message;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire_bench::body::body;
use tagwire_bench::dialect::tls::{self, Tls};
use tagwire_bench::dialect::websocket::WebSocket;
use tagwire_bench::dialect::{Dialect, Heard, Say, plain};
use tagwire_server::{Config, Server, bind};
use tokio::sync::oneshot;

/// The shipped server with the schema of the benchmarks, in this process.
struct TestServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    fn start() -> Self {
        let mut config =
            Config { listen: vec!["127.0.0.1:0".parse().unwrap()], threads: 1, ..Config::default() };
        config.tls.certificate = "self-signed".to_string();
        config.validate().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = Server::new(config.clone(), tagwire_bench::schema::schema());
        let listener = runtime.block_on(async { bind(config.listen[0]).unwrap() });
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let shutdown = async { stopped.await.unwrap_or_default() };
            runtime.block_on(server.serve(vec![listener], shutdown)).unwrap();
        });
        TestServer { address, stop: Some(stop), thread: Some(thread) }
    }

    fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
        // A test that failed has said enough.
        let _ = self.thread.take().unwrap().join();
    }
}

/// Each has a name of its own.
static LOGINS: AtomicU32 = AtomicU32::new(0);

/// Logs in, waits for Welcome, and hears what is relayed.
#[derive(Debug)]
struct Login {
    password: &'static str,
}

impl Dialect for Login {
    fn open(&mut self, out: &mut Vec<u8>) {
        let client = v1::ClientInfo { protocol: 1, ..Default::default() };
        let login = v1::PlayerLogin {
            username: format!("p{}", LOGINS.fetch_add(1, Ordering::Relaxed)),
            password: self.password.to_string(),
            client: Some(client),
            ..Default::default()
        };
        encode_message(&login, out);
    }

    fn say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>) {
        plain::frame(plain::tag(what), body, out);
    }

    fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize> {
        let mut at = 0;
        while let Some((tag, payload, bytes)) = plain::next(&input[at..]) {
            match tag {
                240 => heard(Heard::Ready),
                3 => {
                    let asked = v1::Ping::decode(payload)?;
                    let answer =
                        v1::Ping { sent_epoch: asked.sent_epoch, bounce_epoch: 1, ..Default::default() };
                    encode_message(&answer, out);
                    // The server has seen an answer: it took a time.
                    if asked.rtt_us > 0 {
                        heard(Heard::Ping);
                    }
                }
                241 => anyhow::bail!("{}", v1::Disconnect::decode(payload)?.reason),
                246 => heard(Heard::Body(&v1::Relayed::decode(payload)?.body)),
                _ => {}
            }
            at += bytes;
        }
        Ok(at)
    }

    fn resumed(&self) -> Option<Box<dyn Dialect>> {
        Some(login())
    }
}

fn login() -> Box<dyn Dialect> {
    Box::new(Login { password: "welcome" })
}

fn websocket() -> Box<dyn Dialect> {
    Box::new(WebSocket::tagwire(login()))
}

fn in_tls(inner: Box<dyn Dialect>) -> Box<dyn Dialect> {
    Box::new(Tls::new(inner, tls::config().unwrap()).unwrap())
}

fn bodies() -> Vec<Vec<u8>> {
    // The last is larger than a record of TLS.
    let sizes = (1..=100).map(|_| 16).chain([126, 1024, 16384, 40_000]);
    sizes
        .enumerate()
        .map(|(i, bytes)| {
            let mut into = vec![];
            body(7, i as u32 + 1, bytes, &mut into);
            into
        })
        .collect()
}

/// Who speaks so is let in, and hears all of what two say in the room, in order.
fn talk(dialect: fn() -> Box<dyn Dialect>) {
    let server = TestServer::start();
    for piece in [1, 7, 65536] {
        let mut one = Client::enter(server.address, dialect(), piece);
        let mut other = Client::enter(server.address, dialect(), piece);
        let bodies = bodies();
        one.say_all(Say::All, &bodies);
        one.hear(&bodies);
        other.hear(&bodies);
        other.say(Say::Others, &bodies[0]);
        one.hear(&bodies[..1]);
        one.say(Say::All, &bodies[1]);
        one.hear(&bodies[1..2]);
        // Not what it said itself.
        other.hear(&bodies[1..2]);
        // What is owed for what was heard goes out as what is said.
        one.read_until(|client| client.pings > 0);
    }
}

#[test]
fn bare() {
    talk(login);
}

#[test]
fn in_a_websocket() {
    talk(websocket);
}

#[test]
fn in_tls_alone() {
    talk(|| in_tls(login()));
}

#[test]
fn in_a_websocket_in_tls() {
    talk(|| in_tls(websocket()));
}

#[test]
fn a_refusal_comes_through_each_layer() {
    let server = TestServer::start();
    let wrong = || Box::new(Login { password: "wrong" }) as Box<dyn Dialect>;
    for dialect in [wrong(), Box::new(WebSocket::tagwire(wrong())), in_tls(wrong())] {
        let refusal = Client::connect(server.address, dialect, 65536).refusal();
        assert_eq!(refusal, "wrong name or password");
    }
}

#[test]
fn no_websocket_where_none_is() {
    let server = TestServer::start();
    let refused = |path, subprotocol| {
        let dialect = Box::new(WebSocket::new(login(), path, subprotocol));
        Client::connect(server.address, dialect, 65536).refusal()
    };
    assert!(refused("/elsewhere", None).starts_with("no WebSocket here: HTTP/1.1 404"), "another path");
    assert!(refused("/packets", Some("graphql-ws")).starts_with("no WebSocket here: HTTP/1.1 400"));
}

#[test]
fn a_close_of_the_server_is_told() {
    let mut server = TestServer::start();
    #[derive(Debug)]
    struct Deaf(Login);
    impl Dialect for Deaf {
        fn open(&mut self, out: &mut Vec<u8>) {
            self.0.open(out);
        }
        fn say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>) {
            self.0.say(what, body, out);
        }
        fn take(
            &mut self,
            input: &[u8],
            _: &mut Vec<u8>,
            heard: &mut dyn FnMut(Heard<'_>),
        ) -> anyhow::Result<usize> {
            heard(Heard::Ready);
            Ok(input.len())
        }
    }
    let deaf = Box::new(WebSocket::tagwire(Box::new(Deaf(Login { password: "wrong" }))));
    let refusal = Client::connect(server.address, deaf, 65536).refusal();
    assert_eq!(refusal, "the server closed with 3501: wrong name or password");
    server.stop();
}

#[test]
fn what_is_opened_again_has_the_same_layers() {
    let server = TestServer::start();
    let first = in_tls(websocket());
    Client::enter(server.address, first.resumed().unwrap(), 65536);
}

#[test]
fn what_is_no_tls_ends_it() {
    let mut dialect = in_tls(login());
    let mut out = vec![];
    dialect.open(&mut out);
    assert_eq!(out[0], 0x16);
    let error =
        dialect.take(b"HTTP/1.1 400 Bad Request\r\n\r\n", &mut out, &mut |_| panic!("heard")).unwrap_err();
    assert!(error.to_string().contains("not of this TLS connection"), "{error:#}");
}

#[test]
fn records_that_come_together_are_all_heard() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut client = Tls::new(Box::new(plain::Plain::new(&seat(0, "r"))), tls::config().unwrap()).unwrap();
    let (mut said, mut come, mut heard) = (vec![], vec![], vec![]);
    client.open(&mut said);
    while server.is_handshaking() {
        server.read_tls(&mut &*said).unwrap();
        server.process_new_packets().unwrap();
        said.clear();
        while server.wants_write() {
            server.write_tls(&mut come).unwrap();
        }
        client.take(&come, &mut said, &mut |_| panic!("heard")).unwrap();
        come.clear();
    }
    // A record each.
    for byte in 0..5 {
        let mut frame = vec![];
        plain::frame(2, &[byte], &mut frame);
        server.writer().write_all(&frame).unwrap();
    }
    while server.wants_write() {
        server.write_tls(&mut come).unwrap();
    }
    let taken = client.take(&come, &mut said, &mut |it| heard.push(format!("{it:?}"))).unwrap();
    assert_eq!(taken, come.len());
    assert_eq!(heard, ["Body([0])", "Body([1])", "Body([2])", "Body([3])", "Body([4])"]);
}
