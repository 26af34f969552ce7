//! Conversations with the real server, and its own schema read from `proto/`.

use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::cases;
use crate::driver::{Driver, command, like, soon};
use crate::peer::Peer;
use crate::stage::{Stage, question, quick};

cases!["server";
    real_login_is_pinged,
    real_login_with_a_wrong_password,
    real_second_login_replaces_the_first,
    real_messages_reach_others,
    real_rooms,
    real_requests,
    real_connections_cut_anywhere,
];

/// A server of its own for one case. Dropped, it is ended.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(stage: &Stage) -> Result<Self> {
        let binary = stage.server.as_ref().context("nobody says where the server is")?;
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
        let mut command = Command::new(binary);
        command.args(["--listen", "127.0.0.1:0", "--schema", schema]);
        // The caller's settings are not the case's.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TAGWIRE_")) {
            command.env_remove(name);
        }
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{binary} cannot be started"))?;
        let log = process.stderr.take().context("no stderr")?;
        let (tx, rx) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                // Read on, whoever listens: a full pipe would stop the server.
                let _ = tx.send(line);
            }
        });
        let mut server = Server { process, address: String::new() };
        let by = Instant::now() + soon();
        while server.address.is_empty() {
            let line = rx.recv_timeout(by.saturating_duration_since(Instant::now()));
            let line = line.context("the server did not come up")?;
            if let Some((_, address)) = line.split_once("server up on ") {
                server.address = address.split_whitespace().next().unwrap_or_default().into();
            }
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is no error here.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tells a client to log in at an address. Gives what it reports.
fn login(driver: &mut Driver, address: &str, name: &str) -> Result<Value> {
    let fields = json!({ "address": address, "username": name, "password": "welcome", "reconnect": quick() });
    driver.tell(&command("connect", fields))?;
    driver.expect_like("connected", json!({ "name": name, "room": "main", "verdict": "SAME" }))
}

fn send(driver: &mut Driver, kind: &str, message: Value) -> Result<()> {
    driver.tell(&command("send", json!({ "type": format!("conformance.v1.{kind}"), "message": message })))
}

/// Two clients in one room, who know of each other: the one of the stage, and another.
fn two(stage: &mut Stage, address: &str) -> Result<(Driver, u64, u64)> {
    let ann = login(&mut stage.driver, address, "ann")?["player"].as_u64().context("no player")?;
    let mut other = Driver::start(&stage.client)?;
    let bob = login(&mut other, address, "bob")?["player"].as_u64().context("no player")?;
    other.expect_like("member", json!({ "change": "PRESENT", "player": ann, "name": "ann" }))?;
    stage.driver.expect_like("member", json!({ "change": "JOINED", "player": bob, "name": "bob" }))?;
    Ok((other, ann, bob))
}

fn real_login_is_pinged(stage: &mut Stage) -> Result<()> {
    let server = Server::start(stage)?;
    login(&mut stage.driver, &server.address, "ann")?;
    let by = Instant::now() + soon();
    // Told with the second ping: the first must have been answered.
    while stage.state()?["rtt_us"].as_u64().unwrap_or_default() == 0 {
        ensure!(Instant::now() < by, "no round trip was measured");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn real_login_with_a_wrong_password(stage: &mut Stage) -> Result<()> {
    let server = Server::start(stage)?;
    let fields = json!({ "address": server.address, "username": "ann", "password": "wrong" });
    stage.driver.tell(&command("connect", fields))?;
    stage.driver.expect_like("refused", json!({ "code": 3501, "part": "password" }))?;
    Ok(())
}

fn real_second_login_replaces_the_first(stage: &mut Stage) -> Result<()> {
    let server = Server::start(stage)?;
    login(&mut stage.driver, &server.address, "ann")?;
    let mut other = Driver::start(&stage.client)?;
    login(&mut other, &server.address, "ann")?;
    stage.driver.expect_like("closed", json!({ "code": 3500, "by_peer": true }))?;
    other.finish()
}

fn real_messages_reach_others(stage: &mut Stage) -> Result<()> {
    let server = Server::start(stage)?;
    let (mut other, ann, bob) = two(stage, &server.address)?;
    let text = "é".repeat(30_000);
    send(&mut stage.driver, "Move", json!({ "x": -1, "y": 2 }))?;
    send(&mut stage.driver, "Note", json!({ "number": 1, "text": text }))?;
    other.expect_like("message", json!({ "message": { "x": -1, "y": 2 }, "player": ann, "name": "ann" }))?;
    for driver in [&mut other, &mut stage.driver] {
        let fields = json!({ "message": { "number": 1, "text": text }, "player": ann, "name": "ann" });
        driver.expect_like("message", fields)?;
    }
    send(&mut other, "Spark", json!({ "number": 4_000_000_000_u32 }))?;
    let fields = json!({ "message": { "number": 4_000_000_000_u32 }, "player": bob });
    stage.driver.expect_like("message", fields)?;
    other.tell(&command("close", json!({})))?;
    other.expect_like("closed", json!({ "code": 0, "by_peer": false }))?;
    stage.driver.expect_like("member", json!({ "change": "LEFT", "player": bob }))?;
    other.finish()
}

fn real_rooms(stage: &mut Stage) -> Result<()> {
    let server = Server::start(stage)?;
    let (mut other, ann, bob) = two(stage, &server.address)?;
    stage.tell("join", json!({ "id": 1, "room": "red1" }))?;
    stage.driver.expect_like("response", json!({ "id": 1, "message": { "room": "red1" } }))?;
    other.expect_like("member", json!({ "change": "LEFT", "player": ann }))?;
    // Nobody but those in the room hears it.
    send(&mut stage.driver, "Note", json!({ "number": 1 }))?;
    stage.driver.expect_like("message", json!({ "message": { "number": 1 } }))?;
    other.tell(&command("join", json!({ "id": 1, "room": "red1" })))?;
    other.expect_like("response", json!({ "id": 1, "message": { "room": "red1" } }))?;
    other.expect_like("member", json!({ "change": "PRESENT", "player": ann }))?;
    stage.driver.expect_like("member", json!({ "change": "JOINED", "player": bob }))?;
    stage.tell("join", json!({ "id": 2, "room": "" }))?;
    stage.driver.expect_like("response", json!({ "id": 2, "status": "INVALID" }))?;
    // That the other is away then is not what this is about.
    stage.driver.ignore("member");
    other.finish()
}

fn real_requests(stage: &mut Stage) -> Result<()> {
    let server = Server::start(stage)?;
    login(&mut stage.driver, &server.address, "ann")?;
    // A server without code has nobody at the desk.
    stage.tell("request", question(1, 1))?;
    stage.driver.expect_like("response", json!({ "id": 1, "status": "UNKNOWN", "may_have_run": false }))?;
    stage.tell("batch", json!({ "requests": [question(2, 1), question(3, 1)], "stop_on_error": true }))?;
    stage.driver.expect_like("response", json!({ "id": 2, "status": "UNKNOWN" }))?;
    stage.driver.expect_like("response", json!({ "id": 3, "status": "UNAVAILABLE" }))?;
    Ok(())
}

/// Cuts the wire between client and server after some bytes, counted over both directions; for good with `usize::MAX`.
fn cut_after(client: TcpStream, server: TcpStream, bytes: usize) -> Result<()> {
    let left = Arc::new(AtomicUsize::new(bytes));
    let pump = |mut from: TcpStream, mut to: TcpStream, left: Arc<AtomicUsize>| {
        std::thread::spawn(move || {
            let mut chunk = [0; 512];
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    Some(left.saturating_sub(count))
                });
                let before = before.unwrap_or_default();
                let some = &chunk[..count.min(before)];
                if std::io::Write::write_all(&mut to, some).is_err() || before <= count {
                    break;
                }
            }
            for end in [from, to] {
                // It may be closed already, which is no error here.
                let _ = end.shutdown(Shutdown::Both);
            }
        })
    };
    let there = pump(client.try_clone()?, server.try_clone()?, Arc::clone(&left));
    let back = pump(server, client, left);
    for thread in [there, back] {
        ensure!(thread.join().is_ok(), "the wire broke by itself");
    }
    Ok(())
}

fn real_connections_cut_anywhere(stage: &mut Stage) -> Result<()> {
    const CUTS: usize = 12;
    const MOST_NOTES: u64 = 4000;
    let server = Server::start(stage)?;
    let wire = Peer::bind()?;
    let (between, real) = (wire.address(), server.address.clone());
    let made = Arc::new(AtomicUsize::new(0));
    let making = Arc::clone(&made);
    let cutting = std::thread::spawn(move || -> Result<()> {
        let mut random = fastrand::Rng::with_seed(11);
        for cut in 0..=CUTS {
            let client = wire.accept()?.into_stream();
            making.fetch_add(1, Ordering::SeqCst);
            let bytes = match cut {
                0 => 2500, // enough for a first login, which nobody tries again
                CUTS => usize::MAX,
                _ => random.usize(300..2500),
            };
            cut_after(client, TcpStream::connect(&real)?, bytes)?;
        }
        Ok(())
    });
    let ann = login(&mut stage.driver, &between, "ann")?["player"].clone();
    let mut other = Driver::start(&stage.client)?;
    login(&mut other, &server.address, "bob")?;
    // Who is away and who is back is not what this is about.
    for driver in [&mut stage.driver, &mut other] {
        driver.ignore("member");
    }
    let text = "t".repeat(50);
    let mut said = 0;
    while made.load(Ordering::SeqCst) <= CUTS {
        ensure!(said < MOST_NOTES, "{} connections after {said} notes", made.load(Ordering::SeqCst));
        for number in said + 1..=said + 20 {
            send(&mut stage.driver, "Note", json!({ "number": number, "text": text }))?;
        }
        for number in said + 1..=said + 20 {
            for driver in [&mut stage.driver, &mut other] {
                let fields = json!({ "message": { "number": number, "text": text }, "player": ann });
                driver.expect_like("message", fields)?;
            }
        }
        said += 20;
    }
    stage.tell("close", json!({}))?;
    stage.driver.expect_like("closed", json!({ "code": 0 }))?;
    while let Some(report) = stage.driver.take("reconnected") {
        like(&report, &json!({ "resumed": true, "lost": 0 }))?;
    }
    cutting.join().ok().context("the wire broke by itself")??;
    other.finish()
}
