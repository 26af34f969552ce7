//! The program: what it logs, how it stops, what it says to bad input.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};

use common::program::{Program, command, run};
use common::via::{IDENTITY, Via};
use common::*;
use rustix::process::{Pid, Signal, kill_process};
use tagwire::CloseCode;

const PASSWORDS: [&str; 3] = ["tops3cret", "wr0ng-guess", "t0ken-guess"];

fn config(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn the_log_tells_who_came_and_what_they_sent_and_never_a_password() {
    let settings = config(&format!("[dev_auth]\npassword = \"{}\"\n", PASSWORDS[0]));
    let server = Program::start(&["--log", "trace", "--config", settings.path().to_str().unwrap()]);
    let mut player = Player::login(server.address, "player1", PASSWORDS[0]).unwrap();
    let refused = Player::login(server.address, "player2", PASSWORDS[1]).err().unwrap();
    assert_eq!(refused.code, Some(CloseCode::LOGIN_REFUSED));
    let mut classic = Classic::connect(server.address);
    classic.login("classic\n1", PASSWORDS[1]);
    assert_eq!(classic.rest(), []);
    let mut with_token = Classic::connect(server.address);
    with_token.send(&frame(&tagwire::pb::tagwire::v1::PlayerLogin {
        username: "player3".to_string(),
        token: PASSWORDS[2].to_string(),
        ..Default::default()
    }));
    assert_eq!(with_token.rest(), []);
    let mut classic = Classic::connect(server.address);
    classic.login("classic1", PASSWORDS[0]);
    classic.wait_for_ping();
    player.send(&mouse(1, 2));
    assert!(classic.next_message().is_some());
    let address = server.address;
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0));
    for line in [
        format!("server up on {address}"),
        "client connected from 127.0.0.1:".to_string(),
        "ACCESS GRANTED for player1 from".to_string(),
        "ACCESS GRANTED for classic1 from".to_string(),
        "ACCESS DENIED for player2 from".to_string(),
        "ACCESS DENIED for classic\\n1 from".to_string(),
        "wrong name or password".to_string(),
        "message arena.v1.MouseEvent of 4 bytes from player1".to_string(),
        "server down".to_string(),
    ] {
        assert!(log.contains(&line), "no {line:?} in\n{log}");
    }
    for password in PASSWORDS {
        assert!(!log.contains(password), "{password} in\n{log}");
    }
}

#[test]
fn a_certificate_is_made_or_read_again_at_sighup() {
    let made = Program::start(&["--tls", "self-signed"]);
    let log = made.wait_for_log("clients pin sha256:");
    let pin: String =
        log.split("sha256:").nth(1).unwrap().chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(pin.len(), 64, "{log}");
    made.signal(Signal::HUP);
    let log = made.wait_for_log("settings read again");
    assert_eq!(log.matches(&pin).count(), 2, "it stays the same while the server runs: {log}");
    assert_eq!(made.stop().0.code(), Some(0));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.pem");
    std::fs::copy(&IDENTITY.pem, &path).unwrap();
    let server = Program::start(&["--tls", path.to_str().unwrap()]);
    let mut player = Via::Tls.run(|| Player::login(server.address, "player1", "welcome")).unwrap();
    std::fs::write(&path, "no certificate").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("ERROR the certificate stays as it is: tls.certificate = ");
    server.wait_for_log("settings read again");
    let mut other = Via::WebSocketTls.run(|| Player::login(server.address, "player2", "welcome")).unwrap();
    player.send(&mouse(1, 2));
    assert_eq!(other.mouse(), (player.id(), mouse(1, 2)));
    assert_eq!(server.stop().0.code(), Some(0));
}

#[test]
fn sigterm_and_sigint_end_it_cleanly_for_all() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Program::start(&[]);
        let mut player = Player::login(server.address, "player1", "welcome").unwrap();
        let mut classic = Classic::connect(server.address);
        classic.login("classic1", "welcome");
        classic.wait_for_ping();
        server.signal(signal);
        assert_eq!(player.ended().code, Some(CloseCode::SHUTDOWN));
        assert_eq!(player.ended().reason, "EOF");
        classic.rest();
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("tagwire_sessions=0"), "the counters stand in the last line: {log}");
    }
}

#[test]
fn each_line_is_there_and_in_its_order_when_many_come_at_once() {
    const PLAYERS: usize = 100;
    for threads in ["1", "2"] {
        let server = Program::start(&["--threads", threads]);
        let address = server.address;
        std::thread::scope(|scope| {
            for player in 0..PLAYERS {
                scope.spawn(move || Player::login(address, &format!("player{player}"), "welcome").unwrap());
            }
        });
        // All ends are logged while it stops.
        let (status, log) = server.stop();
        assert_eq!(status.code(), Some(0));
        let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        assert_eq!(lines("INFO client connected from 127.0.0.1:"), PLAYERS, "{log}");
        for player in 0..PLAYERS {
            let (came, left) =
                (format!("ACCESS GRANTED for player{player} from"), format!("session of player{player} "));
            let at = |text: &str| {
                assert_eq!(lines(text), 1, "{text}: {log}");
                log.find(text)
            };
            assert!(at(&came) < at(&left), "{log}");
        }
        assert!(log.lines().last().unwrap().contains("server down"), "{log}");
        assert!(
            log.lines().all(|line| line.split(' ').next().unwrap().len() == 27),
            "each begins with the time: {log}"
        );
    }
}

#[test]
fn a_server_whose_log_nobody_reads_goes_on() {
    let mut program = command(&["--listen", "127.0.0.1:0", "--log", "debug"]);
    let mut child = program.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0);
        if let Some((_, address)) = line.trim_end().split_once("server up on ") {
            break address.parse().unwrap();
        }
    };
    drop(log);
    // The second of them finds that the first's lines could not be written.
    for name in ["player1", "player2"] {
        let mut player = Player::login(address, name, "welcome").unwrap();
        player.send(&mouse(1, 2));
        player.session.close(CloseCode::NORMAL, "");
        player.flush();
        player.ended();
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn bad_input_names_itself_and_the_fix_and_ends_with_2() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().to_string();
    let unknown_key = config("[limits]\nmax_rom_members = 5\n");
    let wrong_kind = config("\nthreads = \"two\"\n");
    let too_large = config("threads = 2\n[limits]\nmax_frame_bytes = 1000000\n");
    let pem = std::fs::read_to_string(&IDENTITY.pem).unwrap();
    let alone = config(&pem[..pem.find("-----BEGIN PRIVATE KEY").unwrap()]);
    let certificate = alone.path().to_str().unwrap().to_string();
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_string();
    for (arguments, says) in [
        (vec!["--lissen".to_string()], vec!["--lissen", "--listen"]),
        (vec!["--listen".into(), "nowhere".into()], vec!["--listen", "nowhere"]),
        (
            vec!["--listen".into(), port.clone()],
            vec![port.as_str(), "in use", "fix:", "--listen 127.0.0.1:0"],
        ),
        (vec!["--listen".into(), "0.0.0.0:0".into()], vec!["0.0.0.0:0", "--allow-public-dev-auth", "fix:"]),
        (
            vec!["--listen".into(), "192.0.2.1:7".into(), "--allow-public-dev-auth".into()],
            vec!["192.0.2.1:7", "fix:"],
        ),
        (vec!["--threads".into(), "5000".into()], vec!["threads = 5000 (--threads)", "0 to 1024"]),
        (vec!["--log".into(), "a=b=c".into()], vec!["--log", "a=b=c", "fix:"]),
        (vec!["--config".into(), "/does/not/exist".into()], vec!["/does/not/exist", "No such file"]),
        (
            vec!["--tls".into(), "/does/not/exist.pem".into()],
            vec!["tls.certificate = \"/does/not/exist.pem\"", "no such file", "fix:"],
        ),
        (
            vec!["--tls".into(), path(&unknown_key)],
            vec!["tls.certificate = ", "no certificate in it", "fix: name a PEM file"],
        ),
        (
            vec!["--tls".into(), certificate.clone()],
            vec!["tls.certificate = ", "no private key in it", "tls.key"],
        ),
        (vec!["--tls-key".into(), "key.pem".into()], vec!["tls.key = ", "(--tls-key)", "fix:", "--tls"]),
        (
            vec!["--set".into(), "websocket_origins=game.example".into()],
            vec!["websocket_origins = \"game.example\"", "https://game.example"],
        ),
        (vec!["--set".into(), "plaintext=maybe".into()], vec!["--set plaintext = maybe", "auto"]),
        (
            vec!["--config".into(), path(&unknown_key)],
            vec!["line 2", "max_rom_members", "fix: did you mean limits.max_room_members?"],
        ),
        (vec!["--config".into(), path(&wrong_kind)], vec!["line 2", "threads", "two"]),
        (
            vec!["--config".into(), path(&too_large)],
            vec!["limits.outbox_max_bytes = 1048576 (default;", "line 3)", "2000000 to"],
        ),
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (code, _, error) = run(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        for part in says {
            assert!(error.contains(part), "{arguments:?}: no {part:?} in\n{error}");
        }
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[test]
fn help_shows_how_it_is_used() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Examples:") && out.contains("--listen"), "{out}");
}
