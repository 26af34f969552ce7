//! Nothing becomes dearer unseen: instructions, system calls and bytes, which a busy machine does not change, held to
//! the bounds that are stored in `guards/`. On the release profile; `scripts/guards` runs them and records them anew.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "guards/bounds.rs"]
mod bounds;
mod common;
#[path = "guards/profile.rs"]
mod profile;

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bounds::{Counted, Parts, Store, Toolchain};
use common::callgrind;
use common::program::{Program, command_of};
use common::strace::Strace;
use common::*;
use peak_alloc::PeakAlloc;
use tagwire::frame::{Decoder, Limits, encode};
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire::{Access, CloseCode, Delivery, Message, Rules, Schema, Sender, Tag, Target};
use tagwire_server::read_schema;

/// The messages with which speed is measured, as in `bench/proto`.
macro_rules! message {
    ($name:ident, $tag:literal, $to:ident) => {
        #[derive(Clone, PartialEq, tagwire::prost::Message)]
        #[prost(prost_path = "tagwire::prost")]
        struct $name {
            #[prost(fixed64, tag = "1")]
            sent_ns: u64,
            #[prost(fixed32, tag = "2")]
            number: u32,
            #[prost(uint32, tag = "3")]
            kind: u32,
        }

        impl Message for $name {
            const TAG: Tag = Tag($tag);
            const FULL_NAME: &'static str = concat!("bench.v1.", stringify!($name));
            const RULES: Rules = Rules {
                from: Sender::Client,
                to: Target::$to,
                access: Access::Player,
                delivery: Delivery::Ordered,
                max_bytes: None,
                max_rate: None,
            };
        }

        impl $name {
            fn numbered(number: u32) -> Self {
                $name { sent_ns: 7_000_000_007, number, kind: 1 }
            }
        }
    };
}
message!(Echo, 2, RoomAll);
message!(Cast, 4, Room);
message!(AskRequest, 8, Handler);

fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/proto")
}

/// The server that is measured, which is the shipped one with the messages of the workloads compiled in, on one thread; only
/// that nobody may send too much is turned off.
fn shipped() -> Command {
    let game = std::env::var_os("TAGWIRE_GAME").expect("scripts/guards runs this, and builds what it counts");
    let settings = ["threads=1", "limits.max_frames_per_second=0"];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<_> = ["--listen", "127.0.0.1:0"].into_iter().chain(settings).collect();
    command_of(Path::new(&game), &arguments)
}

fn player(address: SocketAddr, schema: &Arc<Schema>, name: &str) -> Player {
    let end = via::End::connect(address);
    Player::login_by(Schema::clone(schema), end, name, "welcome").unwrap()
}

fn players(server: &Program, count: usize) -> Vec<Player> {
    let schema = Arc::new(read_schema(&proto()).unwrap());
    (0..count).map(|i| player(server.address, &schema, &format!("player{i}"))).collect()
}

/// Sends so many at once.
fn say<M: Message>(player: &mut Player, messages: impl Iterator<Item = M>) {
    for message in messages {
        player.session.send(&message).unwrap();
    }
    player.flush();
}

/// Hears so many messages; how many Pings came between them.
fn hear(player: &mut Player, messages: u32) -> u32 {
    for _ in 0..messages {
        player.message();
    }
    let (mut decoder, mut pings) = (Decoder::default(), 0);
    let mut input = player.received.as_slice();
    while let Some(frame) = decoder.next(&mut input).unwrap() {
        pings += u32::from(frame.tag == v1::Ping::TAG);
    }
    player.received.clear();
    pings
}

/// The first tells the others: so many bursts of so many messages, each heard by all before the next. How many Pings came
/// meanwhile.
fn cast(players: &mut [Player], bursts: u32, messages: u32) -> u32 {
    let (from, others) = players.split_first_mut().unwrap();
    let mut pings = 0;
    for burst in 0..bursts {
        say(from, (0..messages).map(|i| Cast::numbered(burst * messages + i)));
        pings += others.iter_mut().map(|other| hear(other, messages)).sum::<u32>();
    }
    pings
}

fn echo(player: &mut Player, bursts: u32, messages: u32) -> u32 {
    let mut pings = 0;
    for burst in 0..bursts {
        say(player, (0..messages).map(|i| Echo::numbered(burst * messages + i)));
        pings += hear(player, messages);
    }
    pings
}

// ---- Instructions ----

/// The file of a line as others have it too: without where this repository, Rust or the registry lies here.
fn short(file: &str) -> &str {
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let repository = repository.strip_suffix("server/").unwrap();
    let registry = || Some(file.split_once("/registry/src/")?.1.split_once('/')?.1);
    let library = || Some(&file[file.find("/library/")? + 1..]);
    file.strip_prefix(repository).or_else(registry).or_else(library).unwrap_or(file)
}

/// A function without what differs from build to build.
fn stable(function: &str) -> &str {
    let function = function.split('\'').next().unwrap();
    match function.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => name,
        _ => function,
    }
}

/// What a run of `twice` costs more than one of `once`, which has so many messages less: start and end fall out.
fn a_message(once: &callgrind::Profile, twice: &callgrind::Profile, messages: u32) -> Parts {
    let mut parts = Parts::new();
    for (sign, profile) in [(-1.0, once), (1.0, twice)] {
        for ((file, function), cost) in profile {
            let part = format!("{} [{}]", stable(function), short(file));
            *parts.entry(part).or_default() += sign * *cost as f64 / f64::from(messages);
        }
    }
    parts
}

/// Counts a loop of this very program.
fn in_a_loop(name: &str, rounds: u32) -> callgrind::Profile {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile");
    let mut this = Command::new(std::env::current_exe().unwrap());
    this.args(["--exact", name, "--ignored", "--test-threads=1"]).env(ROUNDS, rounds.to_string());
    let output = callgrind::command(&this, &profile).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    callgrind::read(&profile)
}

const ROUNDS: &str = "GUARD_ROUNDS";
const FRAMES: u32 = 1000;

fn rounds() -> u32 {
    std::env::var(ROUNDS).map_or(1, |rounds| rounds.parse().unwrap())
}

/// A thousand frames a round, in reads that end within one.
#[test]
#[ignore = "run by the guards under valgrind"]
fn decode_frames() {
    let bytes: Vec<u8> = (1..=FRAMES).flat_map(|number| frame(&Echo::numbered(number))).collect();
    let mut decoder = Decoder::new(Limits::default());
    let mut frames = 0;
    for _ in 0..rounds() {
        for mut read in bytes.chunks(1000) {
            while let Some(frame) = decoder.next(black_box(&mut read)).unwrap() {
                frames += u32::from(black_box(frame).payload.len() == 16);
            }
        }
    }
    assert_eq!(frames, rounds() * FRAMES);
}

#[test]
#[ignore = "run by the guards under valgrind"]
fn encode_frames() {
    // Encoding the message is prost's, and part of this program: what becomes of it changes with the tests beside it.
    let payload = Echo::numbered(1).encode_to_vec();
    let mut out = Vec::with_capacity(32 * FRAMES as usize);
    for _ in 0..rounds() {
        out.clear();
        for _ in 0..FRAMES {
            encode(black_box(Echo::TAG), black_box(&payload), &mut out);
        }
        assert_eq!(black_box(&out).len(), 18 * FRAMES as usize);
    }
}

/// Instructions of a server with what these clients do.
fn served(talk: impl FnOnce(&Program)) -> callgrind::Profile {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile");
    let server = Program::spawn(callgrind::command(&shipped(), &profile));
    talk(&server);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    callgrind::read(&profile)
}

/// One tells ten others, in bursts.
fn relay(bursts: u32, messages: u32) -> callgrind::Profile {
    served(|server| {
        cast(&mut players(server, 11), bursts, messages);
    })
}

/// Each comes, and leaves when it is in, so that nobody needs to be told of the next.
fn login(logins: u32) -> callgrind::Profile {
    let schema = Arc::new(read_schema(&proto()).unwrap());
    served(|server| {
        for i in 0..logins {
            let mut player = player(server.address, &schema, &format!("player{i}"));
            player.session.close(CloseCode::NORMAL, "");
            player.flush();
            player.ended();
        }
    })
}

fn instructions() -> Vec<Counted> {
    let looped =
        |name, rounds| a_message(&in_a_loop(name, rounds), &in_a_loop(name, 2 * rounds), rounds * FRAMES);
    let relayed = |bursts, messages| {
        a_message(&relay(bursts, messages), &relay(2 * bursts, messages), bursts * messages)
    };
    vec![
        Counted::of("decode", "instructions a frame", looped("decode_frames", 200)),
        Counted::of("encode", "instructions a frame", looped("encode_frames", 200)),
        Counted::of("relay_to_10_by_16", "instructions a message", relayed(64, 16)),
        Counted::of("relay_to_10_by_1", "instructions a message", relayed(256, 1)),
        Counted::of("login", "instructions a login and leaving", a_message(&login(100), &login(200), 100)),
    ]
}

// ---- System calls ----

/// Calls by name during what is done, and how long that took.
fn calls<T>(server: &Program, talk: impl FnOnce() -> T) -> (HashMap<String, u64>, f64, T) {
    let strace = Strace::attach(|| server.threads());
    let told = talk();
    let (calls, seconds) = strace.detach();
    (calls, seconds, told)
}

/// What a message costs besides Pings and Pongs, which are counted, and the wheel that they come from, which turns by the clock.
/// The least of three tries: where the machine does something else in between, a burst is read or written in two parts, so that
/// what it does only adds.
fn calls_a_message(
    name: &'static str,
    clients: usize,
    deliveries: u32,
    talk: impl Fn(&mut Vec<Player>) -> u32,
) -> Counted {
    let server = Program::spawn(shipped());
    let mut players = players(&server, clients);
    answer_pings(&mut players, Duration::from_millis(1100));
    let (idle, idle_seconds, ()) = calls(&server, || answer_pings(&mut players, Duration::from_secs(2)));
    let tries = [(); 3].map(|()| {
        let (busy, busy_seconds, pings) = calls(&server, || talk(&mut players));
        let mut parts = Parts::new();
        for (call, count) in busy {
            let of_pings = match call.as_str() {
                "sendto" | "recvfrom" => f64::from(pings),
                call => idle.get(call).copied().unwrap_or(0) as f64 / idle_seconds * busy_seconds,
            };
            let of_messages = (count as f64 - of_pings).max(0.0);
            if call != "total" {
                parts.insert(call, of_messages / f64::from(deliveries));
            }
        }
        Counted::of(name, "calls a delivery", parts)
    });
    server.stop();
    tries.into_iter().min_by(|a, b| a.value.total_cmp(&b.value)).unwrap()
}

fn system_calls() -> Vec<Counted> {
    vec![
        calls_a_message("echo_by_16", 1, 16 * 200, |players| echo(&mut players[0], 200, 16)),
        calls_a_message("echo_by_1", 1, 2000, |players| echo(&mut players[0], 2000, 1)),
        calls_a_message("one_to_100_by_16", 101, 100 * 16 * 80, |players| cast(players, 80, 16)),
        calls_a_message("one_to_100_by_1", 101, 100 * 256, |players| cast(players, 256, 1)),
    ]
}

// ---- Memory ----

/// Sees to Pings for so long, and to nothing else; of each player once at least.
fn answer_pings(players: &mut [Player], time: Duration) {
    let start = Instant::now();
    loop {
        for player in &mut *players {
            let socket = player.stream.tcp().unwrap();
            socket.set_nonblocking(true).unwrap();
            let came = socket.peek(&mut [0]).is_ok();
            socket.set_nonblocking(false).unwrap();
            if came {
                player.next().unwrap();
                player.received.clear();
            }
        }
        if start.elapsed() >= time {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All that this process has allocated.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// A server in a process of its own, so that its memory is no client's; tells what it has for each line that it reads.
#[test]
#[ignore = "run by the guards"]
fn serve_and_count() {
    let server = TestServer::with_schema(read_schema(&proto()).unwrap(), |config| config.threads = 1);
    println!("\n{LISTENS}{}", server.address);
    for line in std::io::stdin().lines() {
        println!("{}{}", line.unwrap(), HEAP.current_usage());
    }
    server.stop();
}

const LISTENS: &str = "listens on ";
const HAS: &str = "has ";

/// What a session that is in a room of ten, has answered Pings and does nothing else has allocated. Its share of resident
/// memory is this and what the allocator adds; that differed by 5 % from run to run on a busy machine, this does not.
fn idle_session() -> Counted {
    const SESSIONS: usize = 2000;
    tagwire_server::raise_descriptor_limit().unwrap();
    let schema = Arc::new(read_schema(&proto()).unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serve_and_count", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asks = child.stdin.take().unwrap();
    let mut says = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut after = |start: &str| loop {
        let line = says.next().expect("it serves").unwrap();
        if let Some(rest) = line.strip_prefix(start) {
            return rest.to_string();
        }
    };
    let address = after(LISTENS).parse().unwrap();
    let mut players = vec![];
    let mut come = |count, time| {
        for _ in 0..count {
            let i = players.len();
            let mut player = player(address, &schema, &format!("player{i}"));
            player.join(&format!("room{}", i / 10));
            players.push(player);
            if i % 100 == 0 {
                answer_pings(&mut players, Duration::ZERO);
            }
        }
        answer_pings(&mut players, time);
        writeln!(asks, "{HAS}").unwrap();
        after(HAS).parse::<usize>().unwrap()
    };
    // What the first need is there for all.
    let before = come(100, Duration::from_secs(2));
    let with_all = come(SESSIONS, Duration::from_secs(4));
    drop(asks);
    drop(players);
    assert!(child.wait().unwrap().success());
    let value = (with_all - before) as f64 / SESSIONS as f64;
    Counted { name: "idle_session", unit: "bytes", value, parts: Parts::new() }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "of the release profile")]
fn nothing_costs_more_than_its_bound() {
    let (store, toolchain) = (Store::of_repository(), Toolchain::current());
    let is_recording = std::env::var_os("TAGWIRE_RECORD").is_some();
    // At once, not after all was counted.
    let bounds = if is_recording {
        None
    } else {
        Some(store.bounds_for(&toolchain).unwrap_or_else(|e| panic!("{e}")))
    };
    let mut counted = vec![idle_session()];
    counted.extend(system_calls());
    counted.extend(instructions());
    let Some(bounds) = bounds else {
        let because = std::env::var("TAGWIRE_BECAUSE").ok().filter(|because| !because.trim().is_empty());
        for Counted { name, unit, value, .. } in &counted {
            println!("{name}: {value} {unit}");
        }
        return store.record(&toolchain, &counted, because.as_deref()).unwrap_or_else(|e| panic!("{e}"));
    };
    let (kept, broken): (Vec<_>, Vec<_>) =
        counted.iter().map(|one| store.judge(&bounds, one)).partition(Result::is_ok);
    kept.into_iter().flatten().for_each(|line| println!("{line}"));
    let broken: Vec<_> = broken.into_iter().filter_map(Result::err).collect();
    assert!(broken.is_empty(), "dearer than it was:\n{}", broken.join("\n"));
}
