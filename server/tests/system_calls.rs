//! Speed is the number of system calls per message: counted with strace on the server's threads.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::crowd::{Crowd, End, Talk};
use common::raw::{FIN, PING, PONG, inside, next_ws_frame, open_server, plain, ws_frame};
use common::strace::{Strace, sum};
use common::*;
use game::table::v1::{FromClient, Step, World};
use tagwire::room::{Context, Flush, Options, Player as Member, Room};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod game {
    include!("../../codegen/tests/golden/table.rs");
}

const MEMBERS: usize = 10;

/// One at a time: the threads of rooms cannot be told apart, and what is counted by the clock wants the machine.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that read or write, the wake-ups of threads too.
fn reads_and_writes(calls: &HashMap<String, u64>) -> (u64, u64) {
    let reads = sum(calls, &["read", "readv", "recvfrom", "recvmsg", "recvmmsg"]);
    let writes = sum(calls, &["write", "writev", "sendto", "sendmsg", "sendmmsg"]);
    (reads, writes)
}

#[test]
fn a_hundred_pipelined_frames_cost_three_reads_and_writes_a_connection_at_most() {
    let _alone = alone();
    const BURSTS: u64 = 20;
    for threads in [1, 2] {
        let server = TestServer::unlimited(|config| config.threads = threads);
        let mut members: Vec<_> = (0..MEMBERS).map(|i| server.classic(&format!("member{i}"))).collect();
        let mut sender = server.classic("sender");
        sender.wait_for_ping();
        let burst: Vec<u8> = (0..100).flat_map(|i| frame(&mouse(i, i))).collect();

        let strace = Strace::attach(|| server.threads());
        for _ in 0..BURSTS {
            sender.send(&burst);
            for member in &mut members {
                for _ in 0..100 {
                    member.next_message().unwrap();
                }
            }
        }
        let (calls, seconds) = strace.detach();
        let (reads, writes) = reads_and_writes(&calls);
        let connections = MEMBERS as u64 + 1;
        println!(
            "{threads} threads, {BURSTS} bursts in {seconds:.1} s: {reads} reads, {writes} writes; {calls:?}"
        );
        // The last frame may be here before the call that sent it has ended, and strace counts calls that ended.
        let ended = BURSTS * MEMBERS as u64 - threads as u64;
        assert!(sum(&calls, &["sendto"]) >= ended, "strace saw too few writes: {calls:?}");
        assert!(reads <= 3 * BURSTS * connections, "{reads} reads");
        assert!(writes <= 3 * BURSTS * connections, "{writes} writes");
    }
}

#[test]
fn an_idle_session_costs_one_write_a_second_and_no_read_but_its_answers() {
    let _alone = alone();
    let server = TestServer::with(|config| config.threads = 1);
    let classic: Vec<_> = (0..MEMBERS).map(|i| server.classic(&format!("classic{i}"))).collect();
    let players: Vec<_> = (0..MEMBERS)
        .map(|i| {
            let mut player = server.player(&format!("player{i}"));
            // Each answers its Pings for as long as the server is there.
            std::thread::spawn(move || player.ended())
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1500));

    let strace = Strace::attach(|| server.threads());
    std::thread::sleep(Duration::from_secs(4));
    let (calls, seconds) = strace.detach();
    let (reads, writes) = reads_and_writes(&calls);
    println!("{seconds:.1} s: {reads} reads, {writes} writes; {calls:?}");
    // A window cuts the seconds of a session somewhere: one Ping more or less for each.
    let (least, most) = ((seconds - 1.0).floor() as u64, (seconds + 1.0).ceil() as u64);
    let sessions = (classic.len() + players.len()) as u64;
    let wakes = sum(&calls, &["write"]);
    let sent = writes - wakes;
    assert!((sessions * least..=sessions * most).contains(&sent), "{sent} writes to sockets");
    // The timer wheel's own, for the whole process: one for each of its twenty slots a second.
    assert!(wakes <= 20 * most, "{wakes} wake-ups");
    let answering = players.len() as u64;
    assert!((answering * least..=answering * most).contains(&reads), "{reads} reads");
    server.stop();
    players.into_iter().for_each(|p| drop(p.join().unwrap()));
}

/// Tells everybody where everybody is, with each tick.
#[derive(Default)]
struct Field(HashMap<u32, i32>);

impl Room for Field {
    type Message = FromClient;
    type Services = ();

    fn options(&self) -> Options {
        Options { tick_hz: TICK_HZ, flush: Flush::OnTick, ..Options::default() }
    }

    fn message(&mut self, _: &mut Context<'_>, player: &Member, message: FromClient) {
        if let FromClient::Step(Step { x }) = message {
            self.0.insert(player.id, x);
        }
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        cx.send_all(&World { tick: cx.tick(), x: self.0.clone() });
    }

    fn left(&mut self, _: &mut Context<'_>, player: &Member) {
        self.0.remove(&player.id);
    }
}

const TICK_HZ: u32 = 20;
const MOVES: &str = "tagwire_messages_received_total{message=\"table.v1.Step\"}";

/// Everyone moves twenty times a second, and hears of everyone twenty times a second: without the tick that would be a
/// write for each move and member, a thousand times as many.
#[test]
fn a_room_with_a_tick_costs_one_write_a_member_and_tick() {
    let _alone = alone();
    let (members, seconds) = if is_long() { (1000, 10) } else { (100, 3) };
    let server = TestServer::with_game(
        game::schema(),
        |config| {
            config.limits.max_frames_per_second = 0;
            config.limits.max_room_members = 1001;
        },
        |server| server.rooms(|_| Field::default()),
    );
    let crowd = Crowd::with_schema(1, game::schema());
    let players: Vec<_> = (0..members)
        .map(|number| {
            let client = crowd.runtime.block_on(async {
                let mut client = crowd.native(server.address, &format!("player{number}")).await;
                assert!(client.welcomed().await);
                client
            });
            let next = |now_us| frame(&Step { x: now_us as i32 });
            let talk = Talk { every: Duration::from_secs(1) / TICK_HZ, next: Box::new(next) };
            crowd.spawn(client, Some(talk), |_, _| ())
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    let counted = || {
        let of = |name| server.metric(name);
        (of("tagwire_tick_seconds_count"), of("tagwire_socket_writes_total"), of(MOVES))
    };
    let during = |from: (f64, f64, f64), to: (f64, f64, f64)| (to.0 - from.0, to.1 - from.1, to.2 - from.2);
    let (cpu, start, before) = (server.cpu_ticks(), Instant::now(), counted());
    std::thread::sleep(Duration::from_secs(seconds));
    let ((ticks, writes, moves), took) = (during(before, counted()), start.elapsed().as_secs_f64());
    println!(
        "{members} members: {:.1} ticks/s, {:.0} moves/s, {:.0} writes/s, {:.0} % of a core, {} ticks overrun",
        ticks / took,
        moves / took,
        writes / took,
        (server.cpu_ticks() - cpu) as f64 / took,
        server.metric("tagwire_ticks_overrun_total"),
    );
    // Each member is pinged once a second besides.
    let most = (ticks + took + 2.0) * members as f64;
    assert!(
        (0.8 * ticks * members as f64..=1.1 * most).contains(&writes),
        "{writes} writes in {ticks} ticks"
    );
    assert!(moves > 0.8 * took * f64::from(TICK_HZ) * members as f64, "{moves} moves");

    // The counter tells the truth: strace counts the same, and nothing else that writes to sockets.
    let before = counted();
    let strace = Strace::attach(|| server.threads());
    std::thread::sleep(Duration::from_secs(3));
    let (ticks, writes, _) = during(before, counted());
    let (calls, took) = strace.detach();
    println!("under strace, {took:.1} s: {ticks} ticks, {writes} writes counted; {calls:?}");
    let seen = sum(&calls, &["sendto", "sendmsg", "writev"]) as f64;
    // It begins to look a moment after we do.
    assert!((0.75..1.1).contains(&(seen / writes)), "{seen} writes seen, {writes} counted");
    crowd.leave.cancel();
    let seen = crowd.ended(players);
    assert!(seen.iter().all(|one| one.end == End::Left), "{seen:?}");
}

#[test]
fn a_thousand_pings_of_a_websocket_are_answered_by_a_few_writes() {
    const PINGS: usize = 1000;
    let _alone = alone();
    let server = open_server(|_| ());
    let mut stream = inside(plain(&server), "a player");
    let strace = Strace::attach(|| server.threads());
    stream.write_all(&ws_frame(FIN | PING, b"x").repeat(PINGS)).unwrap();
    let mut pongs = 0;
    while pongs < PINGS {
        let (first, _) = next_ws_frame(&mut stream).expect("it stays open");
        pongs += usize::from(first == FIN | PONG);
    }
    let (calls, took) = strace.detach();
    let writes = sum(&calls, &["write", "writev", "sendto", "sendmsg"]);
    println!("{PINGS} pongs in {writes} writes, {took:.1} s: {calls:?}");
    assert!((1..PINGS as u64 / 10).contains(&writes), "{writes} writes");
}
