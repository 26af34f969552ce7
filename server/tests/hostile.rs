//! Connections that mean harm: half-open logins, dripping bytes, a burst of connects, announced giants, floods. Nobody
//! honest notices, memory stays within its bounds, and nothing is left when they have gone. `TAGWIRE_LONG`: all of it
//! in large, and pings and deadlines judged strictly.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::crowd::End;
use common::program::Program;
use common::siege::*;
use common::*;
use tagwire::CloseCode;
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire_server::raise_descriptor_limit;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// `limits.login_timeout_ms`.
const DEADLINE: Duration = Duration::from_secs(5);
/// Clients before the attack, at least.
const WARM_UP: usize = 3000;
/// Sessions whose connection is lost wait for a second alone, so that the test sees them end.
const WINDOW: &[&str] = &["--set", "limits.resume_window_ms=1000"];
/// Those who send byte by byte.
const SLOW: usize = 20;
/// A byte so often.
const DRIP: Duration = Duration::from_millis(100);
/// What the allocator, the threads' own buffers and the tables of all sessions may take besides, bytes.
const FIXED_BYTES: usize = 8 << 20;
/// What a connection may hold that sends little and is sent little: its task (7 KiB in a debug build), a session with
/// its entries in the tables, the beginnings of a frame.
const IDLE_BYTES: usize = 16 << 10;
/// What a connection that floods may hold: a read (64 KiB) of which a turn took only a part, a partial frame (64 KiB,
/// in a vector that doubles), and what waits for it (1 MiB by `limits.outbox_max_bytes`, in a vector that doubles, and
/// as much aside), behind what is kept to be sent again (256 KiB by `limits.outbox_max_kept_bytes`).
const FULL_BYTES: usize = (64 << 10) + 2 * (64 << 10) + 3 * (1 << 20) + 2 * (256 << 10);

struct Size {
    half_open: usize,
    burst: usize,
    giants: usize,
    flooders: usize,
    flood: Duration,
    /// The length of the line of chat that is sent drop by drop.
    drops: usize,
}

/// How a connection ended: after how long, with how many frames sent to it.
type Cut = (Duration, End, Option<CloseCode>, usize);

/// Starts one future for each number.
fn start<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    runtime: &Runtime,
    count: usize,
    one: impl Fn(usize) -> F,
) -> JoinSet<T> {
    let mut tasks = JoinSet::new();
    (0..count).for_each(|i| drop(tasks.spawn_on(one(i), runtime.handle())));
    tasks
}

fn join<T: 'static>(runtime: &Runtime, tasks: JoinSet<T>) -> Vec<T> {
    let joined = runtime.block_on(async { timeout(6 * PATIENCE, tasks.join_all()).await });
    joined.expect("they all end")
}

async fn cut(start: Instant, stream: impl AsyncRead + Unpin) -> Cut {
    let (end, told, frames) = read_to_end(stream).await;
    (start.elapsed(), end, told, frames)
}

/// Connects, says a part of a login or nothing, and waits.
async fn half_open(address: SocketAddr, i: usize) -> Cut {
    let mut stream = dial(address).await;
    let login = login("half open", i.is_multiple_of(2));
    let part = match i % 5 {
        0 => &[][..],
        1 => &login[..1],
        2 => &login[..2],
        3 => &login[..login.len() - 1],
        // The beginning of a long header.
        _ => &[0xff, 0, 0, 1, 0, 0],
    };
    let start = Instant::now();
    stream.write_all(part).await.unwrap();
    cut(start, &mut stream).await
}

/// Says a login so slowly that the deadline comes first.
async fn drip_login(address: SocketAddr) -> Cut {
    let stream = dial(address).await;
    let start = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    let login = login(&"x".repeat(200), true);
    let drip = async {
        for byte in login.chunks(1) {
            sleep(DRIP).await;
            let _ = writer.write_all(byte).await;
        }
    };
    tokio::select! {
        (end, told, frames) = read_to_end(&mut reader) => (start.elapsed(), end, told, frames),
        () = drip => panic!("it said all of it"),
    }
}

/// Comes in and says a line of chat byte by byte; true where it was heard.
async fn drip_chat(address: SocketAddr, i: usize, length: usize) -> bool {
    let mut stream = dial(address).await;
    stream.write_all(&login(&format!("drip{i}"), i.is_multiple_of(2))).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let drip = async {
        for byte in frame(&arena::Chat { text: "x".repeat(length) }).chunks(1) {
            sleep(DRIP).await;
            writer.write_all(byte).await.unwrap();
        }
        sleep(PATIENCE).await;
    };
    let chat = read_frames(reader, |(_, payload)| payload.len() >= length);
    tokio::select! {
        end = chat => end.is_none(),
        () = drip => false,
    }
}

/// Connects, in a burst with all the others; the time that took, and the end of those who only wait.
async fn knock(address: SocketAddr, i: usize) -> (Duration, Option<Cut>) {
    let start = Instant::now();
    let mut stream = dial(address).await;
    let connected = start.elapsed();
    match i % 3 {
        0 => (connected, Some(cut(start, &mut stream).await)),
        1 => (connected, None),
        _ => {
            stream.write_all(&login(&format!("knock{i}"), i.is_multiple_of(2))).await.unwrap();
            // Whatever comes first: Welcome, a Ping, or that the room is full, which a classic client sees by the end.
            let first = timeout(2 * PATIENCE, stream.read(&mut [0; 64])).await.expect("an answer");
            let is_native = i.is_multiple_of(2);
            assert!(first.as_ref().is_ok_and(|count| *count > 0 || !is_native), "no answer: {first:?}");
            (connected, None)
        }
    }
}

/// Announces a frame that is too large, and sends the beginning of it.
async fn giant(address: SocketAddr, i: usize) -> (bool, bool, Cut) {
    let (is_native, is_inside) = (i.is_multiple_of(2), i % 4 < 2);
    let tag = if is_inside { 2 } else { 1 };
    let length = [(64 << 10) + 1, (16 << 20) + 1, u32::MAX][i / 4 % 3];
    let mut stream = dial(address).await;
    let (mut first, mut count) = ([0; 4096], 0);
    if is_inside {
        stream.write_all(&login(&format!("giant{i}"), is_native)).await.unwrap();
        // Welcome, or the first Ping, and maybe the beginning of what follows.
        count = stream.read(&mut first).await.unwrap();
        assert!(count > 0);
    }
    let start = Instant::now();
    // It is gone maybe before it has heard all.
    let _ = stream.write_all(&extended(tag, length, &vec![7; 32 << 10])).await;
    (is_native, is_inside, cut(start, (&first[..count]).chain(&mut stream)).await)
}

/// Frames of one kind of flood, to be sent again and again.
fn flood(kind: usize) -> Vec<u8> {
    let request = |key: u64| {
        let body = v1::JoinRoom { room: format!("flood {}", key % 7) }.encode_to_vec().into();
        frame(&v1::Request { key, tag: 248, body })
    };
    let frames = (1..1000).map(|i| match kind {
        0 => frame(&mouse(i as i32, 1)),
        1 => frame(&arena::Chat { text: i.to_string() }),
        2 => vec![3, 200, 1, 2, 3],
        3 => request(i),
        _ => frame(&v1::Ping { sent_epoch: i, ..v1::Ping::default() }),
    });
    frames.collect::<Vec<_>>().concat()
}

/// Floods and comes again until `until`; how its connections ended, and the bytes that the kernel took.
async fn flooder(address: SocketAddr, i: usize, until: Instant) -> (bool, Vec<Option<CloseCode>>, usize) {
    let (is_native, flood) = (i.is_multiple_of(2), flood(i / 2 % 5));
    let (mut endings, mut bytes) = (vec![], 0);
    while Instant::now() < until {
        let mut stream = dial(address).await;
        stream.write_all(&login(&format!("flooder{i}"), is_native)).await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let write = async {
            while writer.write_all(&flood).await.is_ok() {
                bytes += flood.len();
            }
            // What was told is still to be read.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            (_, told, _) = read_to_end(reader) => endings.push(told),
            () = write => {}
            () = tokio::time::sleep_until(until.into()) => {}
        }
    }
    (is_native, endings, bytes)
}

/// Closed at the deadline, without a byte.
fn judge_deadline(what: &str, cuts: &[Cut]) {
    let (first, last) = (cuts.iter().map(|cut| cut.0).min(), cuts.iter().map(|cut| cut.0).max());
    println!("  {what}: {} closed after {:.2?} to {:.2?}", cuts.len(), first.unwrap(), last.unwrap());
    for cut in cuts {
        assert_eq!((cut.1, cut.2, cut.3), (End::Eof, None, 0), "{what}: {cut:?}");
    }
    assert!(first.unwrap() >= DEADLINE - Duration::from_millis(100), "{what}: {first:?}");
    let late = Duration::from_secs(if is_long() { 2 } else { 10 });
    assert!(last.unwrap() <= DEADLINE + late, "{what}: {last:?}");
}

#[test]
fn connections_that_mean_harm_leave_nothing_behind() {
    let size = match is_long() {
        true => Size {
            half_open: 500,
            burst: 5000,
            giants: 480,
            flooders: 50,
            flood: Duration::from_secs(20),
            drops: 150,
        },
        false => Size {
            half_open: 50,
            burst: 300,
            giants: 48,
            flooders: 20,
            flood: Duration::from_secs(2),
            drops: 30,
        },
    };
    raise_descriptor_limit().unwrap();
    let siege = Siege::begin(Program::start(WINDOW), size.burst.max(WARM_UP));
    let (address, drops) = (siege.address, size.drops);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();

    let most = (size.half_open + SLOW + size.burst) * IDLE_BYTES + FIXED_BYTES;
    let (half_open, logins, chats, knocked) = siege.attack("half open, dripping, a burst", most, || {
        let half_open = start(&runtime, size.half_open, |i| half_open(address, i));
        let logins = start(&runtime, SLOW / 2, |_| drip_login(address));
        let chats = start(&runtime, SLOW / 2, |i| drip_chat(address, i, drops));
        let knocked = start(&runtime, size.burst, |i| knock(address, i));
        (join(&runtime, half_open), join(&runtime, logins), join(&runtime, chats), join(&runtime, knocked))
    });
    judge_deadline("half open", &half_open);
    judge_deadline("dripping logins", &logins);
    assert!(chats.iter().all(|heard| *heard), "who is inside may speak slowly: {chats:?}");
    let longest = knocked.iter().map(|one| one.0).max().unwrap();
    println!("  {} connected within {longest:.2?}", knocked.len());
    let silent: Vec<_> = knocked.into_iter().filter_map(|one| one.1).collect();
    judge_deadline("silent", &silent);

    let most = size.giants * 2 * (64 << 10) + FIXED_BYTES;
    let giants = siege.attack("announced giants", most, || {
        join(&runtime, start(&runtime, size.giants, |i| giant(address, i)))
    });
    let longest = giants.iter().map(|(_, _, cut)| cut.0).max().unwrap();
    println!("  {} closed within {longest:.2?}", giants.len());
    for (is_native, is_inside, (after, end, told, frames)) in giants {
        let wanted = (is_native && is_inside).then_some(CloseCode::TOO_LARGE);
        assert_eq!((end, told), (End::Eof, wanted), "native {is_native}, inside {is_inside}");
        assert!(is_inside || frames == 0, "told something before a login");
        assert!(after < DEADLINE || !is_long(), "closed after {after:?}, not by the header");
    }

    let most = size.flooders * FULL_BYTES + FIXED_BYTES;
    let until = Instant::now() + size.flood;
    let floods = siege.attack("floods", most, || {
        join(&runtime, start(&runtime, size.flooders, |i| flooder(address, i, until)))
    });
    let mut endings = BTreeMap::<_, usize>::new();
    for (is_native, ended, _) in &floods {
        assert!(!is_native || !ended.is_empty(), "a flooder was let be");
        ended.iter().for_each(|told| *endings.entry((*is_native, *told)).or_default() += 1);
    }
    let bytes: usize = floods.iter().map(|flood| flood.2).sum();
    println!("  {} clients, {} MB, ended (native, code): {endings:?}", size.flooders, bytes / 1_000_000);
    let codes: Vec<_> = endings.into_keys().collect();
    assert_eq!(codes, [(true, Some(CloseCode::RATE_LIMITED))], "and from classic ones all of it is dropped");

    drop(runtime);
    let (counted, _) = siege.end();
    assert!(counted["tagwire_messages_dropped_total{reason=\"RATE_LIMITED\"}"] > 0.0);
}
