//! The program, as a test in any language uses it.
#![cfg(feature = "program")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagwire-faults"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs with these commands and the end of input; exit code, standard output, standard error.
fn run(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = command(arguments).spawn().unwrap();
    // Bad flags end it before it reads.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

impl Program {
    fn start(upstream: SocketAddr, arguments: &[&str]) -> Self {
        let upstream = upstream.to_string();
        let arguments = [&["--upstream", &upstream, "--seed", "7"], arguments].concat();
        let mut child = command(&arguments).stderr(Stdio::inherit()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").unwrap().trim().parse().unwrap();
        Program { input: child.stdin.take(), child, output, address }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    fn status(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.ask("status")).unwrap()
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every byte with itself.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &socket, &mut &socket);
                let _ = socket.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

fn ping(socket: &mut TcpStream) -> bool {
    let mut got = [0; 4];
    socket.write_all(b"ping").is_ok() && socket.read_exact(&mut got).is_ok() && &got == b"ping"
}

#[test]
fn help_shows_examples_and_every_command() {
    let (code, out, _) = run(&["--help"], b"");
    assert_eq!(code, Some(0));
    for text in [
        "Examples:",
        "--upstream",
        "--cut-after",
        "--half-open",
        "--reset",
        "--stall",
        "faults off",
        "status",
        "quit",
    ] {
        assert!(out.contains(text), "{text} in {out}");
    }
}

#[test]
fn bad_flags_are_explained_and_end_with_2() {
    let up = ["--upstream", "127.0.0.1:1"];
    for (flags, text) in [
        (&["--cut-after", "9..3"][..], "9 is more than 3"),
        (&["--cut-after", "a..3"], "\"a\" is not a whole number"),
        (&["--cut-after", "-1"], "error"),
        (&["--half-open", "101"], "101"),
        (&["--reset", "x"], "x"),
        (&["--split", "0"], "0"),
        (&["--stall", "5"], "PERCENT:MS"),
        (&["--stall", "500:1"], "more than 100"),
        (&["--delay-ms", ".."], "not a whole number"),
        (&["--listen", "nowhere"], "nowhere"),
        (&["--listen", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1"),
        (&["--cut-direction", "up", "--cut-after", "1"], "to-server"),
        (&["--bogus"], "--bogus"),
    ] {
        let (code, out, error) = run(&[&up, flags].concat(), b"");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{flags:?}: {error}");
        assert!(error.contains(text) && !error.contains("panicked"), "{flags:?}: {error}");
    }
    let (code, _, error) = run(&[], b"");
    assert_eq!(code, Some(2));
    assert!(error.contains("--upstream"), "{error}");
}

#[test]
fn bad_commands_are_explained_and_end_with_2() {
    let long = vec![b'x'; 100_000];
    for line in [&b"bogus\n"[..], b"cut sideways\n", b"faults\n", b"\xff\xfe\n", &long] {
        let (code, out, error) = run(&["--upstream", "127.0.0.1:1", "--seed", "1"], line);
        assert_eq!(code, Some(2), "{error}");
        assert!(out.starts_with("listening on 127.0.0.1:") && out.lines().count() == 1, "{out}");
        assert!(
            error.contains("no such") && error.contains("reset") && !error.contains("panicked"),
            "{error}"
        );
    }
}

#[test]
fn a_seed_that_was_not_given_is_told() {
    let (code, _, error) = run(&["--upstream", "127.0.0.1:1"], b"quit\n");
    assert_eq!(code, Some(0));
    assert!(error.starts_with("seed "), "{error}");
}

#[test]
fn commands_do_what_they_say() {
    let mut program = Program::start(echo(), &["--cut-after", "6", "--cut-direction", "to-client"]);
    let mut socket = program.connect();
    assert!(ping(&mut socket) && !ping(&mut socket));
    assert_eq!(program.status()["cuts"]["closed"], 1);

    assert_eq!(program.ask("faults off"), "faults off");
    let mut socket = program.connect();
    assert!(ping(&mut socket) && ping(&mut socket));
    let status = program.status();
    assert_eq!((&status["connections"], &status["open"]), (&2.into(), &1.into()), "{status}");
    assert_eq!(program.ask("cut reset"), "cut 1");
    let error = socket.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    let mut socket = program.connect();
    assert!(ping(&mut socket));
    assert_eq!(program.ask("cut"), "cut 1");
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);

    assert_eq!(program.ask("pause"), "paused");
    assert!(program.connect().read(&mut [0]).is_err());
    assert_eq!(program.ask("resume"), "resumed");
    let mut socket = program.connect();
    assert!(ping(&mut socket));
    assert_eq!(program.ask("cut client"), "cut 1");
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(socket.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let status = program.status();
    assert_eq!((&status["cuts"]["blind_client"], &status["half_open"]), (&1.into(), &1.into()), "{status}");

    assert_eq!(program.ask("faults on"), "faults on");
    let mut socket = program.connect();
    assert!(ping(&mut socket) && !ping(&mut socket));
    writeln!(program.input.as_mut().unwrap(), "quit").unwrap();
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn the_end_of_input_ends_it_whatever_is_open() {
    let mut program = Program::start(echo(), &["--half-open-ms", "60000"]);
    let mut held = program.connect();
    assert!(ping(&mut held));
    program.ask("cut both");
    let mut open = program.connect();
    assert!(ping(&mut open));
    drop(program.input.take());
    assert_eq!(program.wait().code(), Some(0));
    assert!(open.read(&mut [0]).is_err());
    assert!(held.read(&mut [0]).is_err());
}
