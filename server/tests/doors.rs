//! One port, many ways in: who comes by which, how the ways differ, and what they share.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::program::program_of_example;
use common::via::{End, IDENTITY, Via, client_config, tls_over};
use common::*;
use rustls::pki_types::PrivateKeyDer;
use tagwire::pb::arena::v1 as arena;
use tagwire::prost::Message as _;
use tagwire::{Access, CloseCode};
use tagwire_server::auth::{Attempt, Authenticator, Denied, Identity};
use tagwire_server::{AuthKind, ClientCertificates, Config, Plaintext, Server};

/// With a certificate.
fn start(change: impl FnOnce(&mut tagwire_server::Config)) -> TestServer {
    TestServer::with(|config| {
        config.tls.certificate = IDENTITY.pem.to_str().unwrap().to_string();
        change(config);
    })
}

fn by(via: Via, server: &TestServer, name: &str) -> Player {
    via.run(|| server.player(name))
}

fn chat(player: &mut Player, text: &str) {
    player.send(&arena::Chat { text: text.to_string() });
}

fn hear(player: &mut Player) -> (u32, String) {
    let (sender, _, payload) = player.message();
    (sender.unwrap(), arena::Chat::decode(payload.as_slice()).unwrap().text)
}

#[test]
fn all_ways_lead_to_one_room() {
    for threads in [1, 2] {
        let server = start(|config| config.threads = threads);
        let mut classic = server.classic("classic");
        let mut players: Vec<_> =
            Via::ALL.map(|via| by(via, &server, &format!("{via:?}"))).into_iter().collect();
        for speaker in 0..players.len() {
            let said = format!("this is {speaker}");
            chat(&mut players[speaker], &said);
            let id = players[speaker].id();
            for player in &mut players {
                assert_eq!(hear(player), (id, said.clone()));
            }
            assert_eq!(classic.next_message(), Some((4, arena::Chat { text: said }.encode_to_vec())));
        }
        classic.send(&frame(&arena::Chat { text: "classic".to_string() }));
        for player in &mut players {
            assert_eq!(hear(player), (1, "classic".to_string()));
        }
        for (name, count) in
            [("tcp", 2.0), ("tls", 1.0), ("websocket", 1.0), ("websocket over tls", 1.0), ("memory", 1.0)]
        {
            let metric = format!("tagwire_connections_opened_total{{transport=\"{name}\"}}");
            assert_eq!(server.metric(&metric), count, "{name}");
        }
        players.into_iter().for_each(Player::leave);
        drop(classic);
        server.wait_for("tagwire_connections", 0.0);
        assert_eq!(server.stop().snapshot()["tagwire_tasks"], 0.0);
    }
}

/// A session that began where nobody listens does not go on where somebody may.
#[test]
fn a_session_goes_on_by_another_way_but_not_from_tls_to_none() {
    let server = start(|config| config.limits.max_joins_per_second = 0);
    let mut refused = 0.0;
    for from in Via::ALL {
        for to in Via::ALL {
            let mut player = by(from, &server, "wanderer");
            let mut witness = by(Via::Tcp, &server, "witness");
            player.lose();
            server.wait_for("tagwire_sessions_away", 1.0);
            chat(&mut witness, "missed");
            let welcome = to.run(|| player.come_back(server.address)).unwrap();
            let secure = |via: Via| via.has_tls() || via == Via::Memory;
            // Refused, its password opens a new one.
            assert_eq!(welcome.resumed, !secure(from) || secure(to), "{from:?} to {to:?}");
            refused += f64::from(u8::from(!welcome.resumed));
            assert_eq!(server.metric("tagwire_resumes_refused_total{reason=\"no TLS\"}"), refused);
            if welcome.resumed {
                assert_eq!(hear(&mut player).1, "missed", "{from:?} to {to:?}");
            }
            chat(&mut player, "back");
            while hear(&mut witness).1 != "back" {}
            player.leave();
            witness.leave();
            server.wait_for("tagwire_sessions", 0.0);
        }
    }
}

#[test]
fn a_websocket_is_closed_with_our_code() {
    let server = start(|_| ());
    for via in [Via::WebSocket, Via::WebSocketTls] {
        let mut first = by(via, &server, "player1");
        let second = by(via, &server, "player1");
        assert_eq!(first.ended().code, Some(CloseCode::REPLACED));
        assert_eq!(first.ended().reason, "EOF");
        let (code, reason) = first.stream.closed_with().unwrap();
        assert_eq!((code, reason.as_str()), (3500, "you logged in again elsewhere"));
        // Also where no Disconnect is said, since a classic client does not know it.
        let mut classic = via.run(|| Classic::connect(server.address));
        classic.login("classic", "wrong");
        assert_eq!(classic.rest(), []);
        assert_eq!(classic.stream.closed_with().unwrap().0, 3501);
        second.leave();
    }
}

/// A page that is loaded again says 1001 or nothing; a program that closes its WebSocket means it.
#[test]
fn a_websocket_that_is_closed_on_purpose_ends_its_session() {
    let server = start(|_| ());
    for (code, ends) in [(1000, true), (4001, true), (3000, true), (1001, false), (1002, false)] {
        let mut player = by(Via::WebSocket, &server, "player1");
        let End::WebSocket(end) = &mut player.stream else { panic!("a WebSocket") };
        let frame = tungstenite::protocol::CloseFrame { code: code.into(), reason: "bye".into() };
        end.socket.close(Some(frame)).unwrap();
        end.socket.flush().ok();
        server.wait_for("tagwire_connections", 0.0);
        if ends {
            server.wait_for("tagwire_sessions", 0.0);
        } else {
            assert_eq!(server.metric("tagwire_sessions_away"), 1.0, "{code}");
            assert!(Via::WebSocket.run(|| player.come_back(server.address)).unwrap().resumed);
            player.leave();
            server.wait_for("tagwire_sessions", 0.0);
        }
    }
}

#[test]
fn a_ping_of_a_websocket_is_answered() {
    let server = start(|_| ());
    let mut player = by(Via::WebSocket, &server, "player1");
    let End::WebSocket(end) = &mut player.stream else { panic!("a WebSocket") };
    end.socket.send(tungstenite::Message::Ping(b"are you there".to_vec().into())).unwrap();
    let start = Instant::now();
    loop {
        match end.socket.read() {
            Ok(tungstenite::Message::Pong(payload)) => break assert_eq!(&payload[..], b"are you there"),
            Ok(_) | Err(tungstenite::Error::Io(_)) => assert!(start.elapsed() < PATIENCE),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Also where somebody speaks to it at that moment, and the write finds nobody: it was read first that it leaves.
#[test]
fn who_says_that_it_leaves_is_not_away() {
    for via in Via::ALL {
        let server = via.run(|| TestServer::unlimited(|config| config.threads = 2));
        let mut speaker = by(Via::Tcp, &server, "speaker");
        for round in 0..if is_long() { 200 } else { 40 } {
            let player = by(via, &server, "player");
            for _ in 0..5 {
                chat(&mut speaker, "are you there?");
            }
            player.leave();
            for _ in 0..5 {
                hear(&mut speaker);
            }
            server.wait_for("tagwire_connections", 1.0);
            assert_eq!(server.metric("tagwire_sessions"), 1.0, "{via:?}, round {round}");
        }
    }
}

/// More than sockets hold, over each way: nothing is lost, out of order or torn where writes are cut.
#[test]
fn a_slow_reader_gets_all_of_it_by_each_way() {
    for via in Via::ALL {
        let server = via.run(|| {
            TestServer::unlimited(|config| {
                config.limits.outbox_max_bytes = 64 << 20;
                config.limits.outbox_max_frames = 1 << 20;
                config.limits.outbox_max_kept_bytes = 64 << 20;
            })
        });
        let (mut reader, mut speaker) = (by(via, &server, "reader"), by(Via::Tcp, &server, "speaker"));
        let text = "x".repeat(1000);
        let mut said = 0;
        // Until something waits for it here, which the wheel sees once a second, and some more.
        let mut waited = 0;
        while waited < 200 {
            chat(&mut speaker, &format!("{said} {text}"));
            hear(&mut speaker);
            said += 1;
            waited += usize::from(server.metric("tagwire_outbox_bytes") > 0.0);
        }
        for line in 0..said {
            assert!(hear(&mut reader).1.starts_with(&format!("{line} ")), "{via:?}: line {line} of {said}");
        }
    }
}

#[test]
fn without_tls_nobody_logs_in_where_that_is_asked_for() {
    for (plaintext, admitted) in
        [(Plaintext::Deny, false), (Plaintext::Loopback, true), (Plaintext::Auto, true)]
    {
        let server = start(|config| config.plaintext = plaintext);
        for via in [Via::Tcp, Via::WebSocket] {
            let login = via.run(|| Player::login(server.address, "player1", "welcome"));
            match login {
                Ok(player) => {
                    assert!(admitted, "{plaintext:?}");
                    player.leave();
                }
                Err(refused) => {
                    assert!(!admitted, "{plaintext:?}: {refused:?}");
                    assert_eq!(refused.code, Some(CloseCode::LOGIN_REFUSED));
                    assert!(refused.reason.contains("tagwires://"), "{}", refused.reason);
                }
            }
        }
        if !admitted {
            let mut classic = Classic::connect(server.address);
            classic.login("classic", "welcome");
            assert_eq!(classic.rest(), []);
        }
        for via in [Via::Tls, Via::WebSocketTls, Via::Memory] {
            by(via, &server, "player1").leave();
        }
    }
}

/// What the proxy says of the client, then the client.
fn by_proxy(server: &TestServer, header: &[u8], name: &str) -> Result<Player, Ended> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(header).unwrap();
    Player::login_over(stream, name, "welcome")
}

#[test]
fn a_proxy_says_where_a_client_comes_from() {
    let server = start(|config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        config.limits.max_connections_per_address = 1;
    });
    let v1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 7777\r\n";
    let v2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[203, 0, 113, 8, 192, 0, 2, 1, 0xc3, 0x50, 0x1e, 0x61],
    ]
    .concat();
    // It is not on this machine, whatever the socket says: no TLS, no login.
    let refused = by_proxy(&server, v1, "a").err().unwrap();
    assert_eq!(refused.code, Some(CloseCode::LOGIN_REFUSED), "{}", refused.reason);
    server.wait_for("tagwire_connections", 0.0);
    for header in [v1.as_slice(), &v2] {
        Via::Tls.run(|| {
            let a = by_proxy(&server, header, "a").unwrap();
            let full = by_proxy(&server, header, "b").err().unwrap();
            assert_eq!(full.code, Some(CloseCode::OVERLOAD), "{}", full.reason);
            a.leave();
            server.wait_for("tagwire_connections", 0.0);
        });
    }
    // Of the proxy's own, as it does to see whether somebody is here.
    by_proxy(&server, b"PROXY UNKNOWN\r\n", "health").unwrap().leave();
    // The proxy without a header, and a stranger with one.
    let mut silent = Classic::connect(server.address);
    silent.login("a", "welcome");
    assert_eq!(silent.rest(), []);
    let stranger = connect_from("127.0.0.9", server.address);
    let mut stranger = Classic::over(stranger);
    stranger.send(v1);
    assert_eq!(stranger.rest(), []);
    server.wait_for("tagwire_connections", 0.0);
}

/// A certificate signed by `issuer`, or by itself, and its files.
struct Certificate {
    made: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Certificate {
    fn new(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_string()).collect();
        Certificate { made: rcgen::generate_simple_self_signed(names).unwrap() }
    }

    fn pem(&self) -> String {
        self.made.cert.pem() + &self.made.signing_key.serialize_pem()
    }
}

/// The example `local_player`: alone without a socket, and with others who came by one.
#[test]
fn the_same_game_is_for_one_and_for_many() {
    let run = |arguments: &[&str]| {
        let output = program_of_example("local_player", arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, error) = run(&[]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(said.contains("local sees: player 1 has 5\nlocal has won"), "{said}");

    let mut host = program_of_example("local_player", &["--open", "127.0.0.1:0"]).spawn().unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.next().unwrap().strip_prefix("open on ").unwrap().to_string();
    lines.find(|line| line == "others play on until Ctrl-C").unwrap();
    let (code, said, error) = run(&["--join", &address]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(said.contains("remote sees: player 2 has 5\nremote has won"), "{said}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&host), rustix::process::Signal::INT)
        .unwrap();
    assert_eq!(host.wait().unwrap().code(), Some(0));

    let (code, _, error) = run(&["--join", &address]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with(&format!("error: {address}: ")), "{error}");
    assert_eq!(run(&["--jump"]).0, Some(2));
}

/// The certificate that a new connection is shown.
fn shown(address: SocketAddr) -> Vec<u8> {
    let mut stream = tls_over(TcpStream::connect(address).unwrap(), any_certificate());
    stream.conn.complete_io(&mut stream.sock).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// Takes whatever it is shown.
fn any_certificate() -> Arc<rustls::ClientConfig> {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    #[derive(Debug)]
    struct Any(rustls::crypto::CryptoProvider);
    impl ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            m: &[u8],
            c: &CertificateDer<'_>,
            d: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms)
        }
        fn verify_tls13_signature(
            &self,
            m: &[u8],
            c: &CertificateDer<'_>,
            d: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
    let provider = rustls::crypto::ring::default_provider();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider.clone()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    Arc::new(builder.with_custom_certificate_verifier(Arc::new(Any(provider))).with_no_client_auth())
}

#[test]
fn a_new_certificate_is_for_new_connections_and_a_broken_one_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.pem");
    let (first, second) = (Certificate::new(&["localhost"]), Certificate::new(&["localhost"]));
    std::fs::write(&path, first.pem()).unwrap();
    let mut config = None;
    let server = TestServer::with(|new| {
        new.tls.certificate = path.to_str().unwrap().to_string();
        config = Some(new.clone());
    });
    let config = config.unwrap();
    assert_eq!(shown(server.address), first.made.cert.der().to_vec());
    let mut inside = tls_player(&server, any_certificate(), "inside").unwrap();

    std::fs::write(&path, second.pem()).unwrap();
    assert_eq!(shown(server.address), first.made.cert.der().to_vec(), "not before it is asked for");
    server.control.reload(config.clone());
    assert_eq!(shown(server.address), second.made.cert.der().to_vec());
    // Half a file, no file, another's key: all stays as it was.
    let mixed = second.made.cert.pem() + &first.made.signing_key.serialize_pem();
    for broken in [second.pem()[..200].to_string(), String::new(), mixed] {
        std::fs::write(&path, broken).unwrap();
        server.control.reload(config.clone());
        assert_eq!(shown(server.address), second.made.cert.der().to_vec());
    }
    std::fs::remove_file(&path).unwrap();
    server.control.reload(config);
    assert_eq!(shown(server.address), second.made.cert.der().to_vec());
    // Who was inside has noticed nothing.
    chat(&mut inside, "still here");
    assert_eq!(hear(&mut inside).1, "still here");
}

/// Knows players by their certificates.
struct ByCertificate(Vec<u8>);

impl Authenticator for ByCertificate {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        assert!(attempt.secure && attempt.peer.is_some_and(|ip| ip.is_loopback()));
        match attempt.certificate {
            Some(shown) if shown == self.0 => Ok(Identity::new("known", Access::Player)),
            Some(_) => Err(Denied::Refused("another certificate".to_string())),
            None => Ok(Identity::new("unknown", Access::Player)),
        }
    }
}

#[test]
fn an_authenticator_sees_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let me = Certificate::new(&["me"]);
    std::fs::write(&ca, me.made.cert.pem()).unwrap();
    let server = TestServer::with_game(
        tagwire::pb::schema(),
        |config| {
            config.tls.certificate = IDENTITY.pem.to_str().unwrap().to_string();
            config.tls.client_ca = ca.to_str().unwrap().to_string();
            config.tls.client_certificates = ClientCertificates::Optional;
        },
        |server| server.auth(ByCertificate(me.made.cert.der().to_vec())),
    );
    let key = PrivateKeyDer::try_from(me.made.signing_key.serialize_der()).unwrap();
    let shown = client_config(Some((me.made.cert.der().clone(), key)));
    let name = |config| tls_player(&server, config, "a").unwrap().welcome.name;
    assert_eq!(name(shown), "known");
    assert_eq!(name(client_config(None)), "unknown");
}

fn tls_player(server: &TestServer, config: Arc<rustls::ClientConfig>, name: &str) -> Result<Player, Ended> {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let end = End::Tls(Box::new(tls_over(stream, config)));
    Player::login_by(tagwire::pb::schema(), end, name, "welcome")
}

#[test]
fn clients_show_certificates_where_they_must() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let (me, stranger) = (Certificate::new(&["me"]), Certificate::new(&["stranger"]));
    std::fs::write(&ca, me.made.cert.pem()).unwrap();
    let config = |certificate: Option<&Certificate>| {
        client_config(certificate.map(|certificate| {
            let key = PrivateKeyDer::try_from(certificate.made.signing_key.serialize_der()).unwrap();
            (certificate.made.cert.der().clone(), key)
        }))
    };
    for (rule, without) in [(ClientCertificates::Required, false), (ClientCertificates::Optional, true)] {
        let server = start(|config| {
            config.tls.client_ca = ca.to_str().unwrap().to_string();
            config.tls.client_certificates = rule;
        });
        // Whether the handshake goes well; with TLS 1.3 a client hears of it after its own part.
        let goes_well = |certificate| {
            let mut stream = tls_over(TcpStream::connect(server.address).unwrap(), config(certificate));
            let login = tagwire::pb::tagwire::v1::PlayerLogin {
                username: "a".to_string(),
                password: "welcome".to_string(),
                client: Some(tagwire::pb::tagwire::v1::ClientInfo { protocol: 1, ..Default::default() }),
                ..Default::default()
            };
            stream.write_all(&frame(&login)).is_ok() && stream.read(&mut [0; 2]).is_ok_and(|read| read > 0)
        };
        assert!(goes_well(Some(&me)), "{rule:?}");
        assert!(!goes_well(Some(&stranger)), "{rule:?}");
        assert_eq!(goes_well(None), without, "{rule:?}");
    }
}

/// Admits everybody.
struct Open;

impl Authenticator for Open {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        Ok(Identity::new(&attempt.login.username, Access::Player))
    }
}

/// Else a game with an authenticator of its own would start without the TLS that its settings ask for.
#[test]
fn a_games_own_judge_mends_nothing_but_that_there_was_none() {
    let config = |certificate: &str, web: &str| {
        let mut config = Config { auth: AuthKind::Game, web: web.to_string(), ..Config::default() };
        config.tls.certificate = certificate.to_string();
        config
    };
    let why = |server: Server| server.check().unwrap_err().to_string();
    let server = |certificate, web| Server::new(config(certificate, web), tagwire::pb::schema());
    assert!(server("", "").auth(Open).check().is_ok());
    assert!(why(server("", "")).contains("the game brings no authenticator"));
    let tls = why(server("/no/such/cert.pem", "").auth(Open));
    assert!(tls.contains("/no/such/cert.pem") && !tls.contains("authenticator"), "{tls}");
    let web = why(server("", "/no/such/folder").auth(Open));
    assert!(web.contains("/no/such/folder") && !web.contains("authenticator"), "{web}");
    let all = why(server("/no/such/cert.pem", "/no/such/folder"));
    for part in ["/no/such/cert.pem", "/no/such/folder", "the game brings no authenticator"] {
        assert!(all.contains(part), "{all}");
    }
    let config = config("/no/such/cert.pem", "");
    assert!(why(Server::with_auth(config, tagwire::pb::schema(), Box::new(Open))).contains("cert.pem"));
}
