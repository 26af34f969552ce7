//! One peer, one case, once: a fresh process, its clients, a warm-up, and what it cost.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cases::{Case, Plan};
use crate::dialect::Dialect;
use crate::load::cpu::{Cores, now_ns};
use crate::load::crowd::Entering;
use crate::load::plays::Pace;
use crate::load::{Crowd, Workload};
use crate::peers::{CONFLATED, Peer, Setup};
use crate::process::{Server, free_port};
use crate::report::figures::RSS_AT_HALF;
use crate::result::{Calls, Sample};
use crate::strace::Strace;

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Before anything counts.
    pub warm_up: Duration,
    /// While it counts; half of it where that brings enough messages.
    pub measured: Duration,
    /// While system calls are counted, those of messages and before them those that nobody asks for; zero: they are not.
    pub traced: Duration,
}

/// So long may it take until all clients are in.
const ENTER: Duration = Duration::from_secs(60);
/// Connections that are opened before what the first of them say is written.
const CONNECT_AT_ONCE: usize = 32;
/// Clients that are on their way in at once, but for a storm.
const ENTER_AT_ONCE: usize = 64;
/// Idle servers are measured for a whole number of their seconds.
pub const IDLE: Duration = Duration::from_secs(3);
/// Half of the time is enough when so many messages came in it.
pub const ENOUGH: u64 = 50_000;
/// How long is waited before something has stalled.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Nobody hears anything for so long.
    silence: Duration,
    /// The same of one client, after what was measured.
    wait: Duration,
}

const PATIENCE: Patience = Patience { silence: Duration::from_secs(1), wait: Duration::from_secs(5) };
/// How often is asked who has not heard anything yet.
const LISTEN: Duration = Duration::from_millis(2);
/// All that was on its way has arrived when nothing came for so long.
const QUIET: Duration = Duration::from_millis(100);
/// And is given up after so many times that.
const MAX_DRAINS: u32 = 50;
/// strace follows some thousand calls a second.
const TRACED_SLOWER: u32 = 30;

/// Measures it, on its own core, or with `threads` more than one on all.
///
/// # Errors
/// The server does not start, ends, refuses somebody, or says something that cannot be.
pub fn measure(
    peer: &dyn Peer,
    threads: usize,
    case: &Case,
    round: u32,
    times: Times,
) -> anyhow::Result<Sample> {
    let folder = tempfile::Builder::new().prefix("tagwire-bench-").tempdir()?;
    let plan = &case.plan;
    let is_idle = matches!(plan, Plan::Idle { .. });
    let cores = if threads == 1 { Cores::Server } else { Cores::All };
    let setup = Setup {
        port: free_port()?,
        folder: folder.path().to_path_buf(),
        threads,
        connections: plan.clients(),
        ping_ms: is_idle.then_some(1000),
        body_bytes: plan.bytes(),
    };
    let log = folder.path().join("log");
    let server = Server::start(peer.command(&setup)?, setup.port, &log, cores)?;
    let mut sample = Sample {
        workload: case.workload.to_string(),
        case: case.name.clone(),
        peer: peer.name().to_string(),
        round,
        rss_before_bytes: server.rss_bytes()?,
        ..Sample::default()
    };
    let mut crowd = Crowd::new(setup.port)?;
    let measured = if let Plan::Storm { clients, resume } = *plan {
        storm(peer, plan, clients, resume, &server, &mut crowd, &mut sample)
    } else {
        steady(peer, plan, times, is_idle, &server, &mut crowd, &mut sample, folder.path())
    };
    if measured.is_err() {
        eprintln!("the server's last words:\n{}", server.log_end());
    }
    measured.map(|()| sample)
}

#[allow(clippy::too_many_arguments, reason = "the parts of one measurement")]
fn steady(
    peer: &dyn Peer,
    plan: &Plan,
    times: Times,
    is_idle: bool,
    server: &Server,
    crowd: &mut Crowd,
    sample: &mut Sample,
    folder: &std::path::Path,
) -> anyhow::Result<()> {
    let end = now_ns() + ns(ENTER);
    for number in 0..plan.clients() {
        let client = peer.client(&plan.seat(number));
        if plan.is_slow(number) {
            crowd.connect_thinly(client)?
        } else {
            crowd.connect(client)?
        }
        // No more than wait in the shortest queue of a peer (mosquitto's, 100), or TCP tries again after seconds, in which no ping is
        // answered.
        while crowd.entering() >= ENTER_AT_ONCE && now_ns() < end {
            crowd.play(&mut Entering, now_ns() + 100_000)?;
        }
    }
    crowd.enter(end)?;
    let mut play = plan.play();
    crowd.play(&mut *play, now_ns() + ns(times.warm_up))?;
    let counted = if plan.watches_memory() { peer.counted(server)? } else { vec![] };
    play.tally().reset();
    crowd.listen();
    let (cpu, idle, start) = (server.cpu_ns()?, crowd.idle_ns(), now_ns());
    let measured = if is_idle { times.measured.max(IDLE) } else { times.measured };
    crowd.play(&mut *play, start + ns(measured) / 2)?;
    if plan.watches_memory() {
        sample.other.insert(RSS_AT_HALF.to_string(), server.rss_bytes()? as f64);
    }
    if is_idle || plan.watches_memory() || play.tally().messages < ENOUGH {
        crowd.play(&mut *play, start + ns(measured))?;
    }
    sample.cpu_ns = server.cpu_ns()?.checked_sub(cpu).context("the server's processor time ran backwards")?;
    let took = now_ns() - start;
    sample.seconds = took as f64 / 1e9;
    sample.generator = 1.0 - (crowd.idle_ns() - idle) as f64 / took as f64;
    sample.messages = play.tally().messages;
    sample.latency = play.tally().latency();
    sample.rss_bytes = server.rss_bytes()?;
    if sample.messages == 0 {
        bail!("nothing was heard");
    }
    if plan.watches_memory() {
        let before: BTreeMap<_, _> = counted.into_iter().collect();
        for (name, value) in peer.counted(server)? {
            sample.other.insert(name.to_string(), value - before.get(name).unwrap_or(&0.0));
        }
    }
    goes_on(plan, crowd, &mut *play, PATIENCE)?;
    if (0..plan.clients()).any(|who| plan.is_slow(who)) && sample.other.get(CONFLATED) == Some(&0.0) {
        bail!("nothing was replaced: the slow ones are not slow enough for their sockets to be full");
    }
    sample.other.extend(play.other().into_iter().map(|(name, value)| (name.to_string(), value)));
    if !times.traced.is_zero() {
        sample.calls = Some(calls(times.traced, is_idle, server, crowd, &mut *play, folder)?);
    }
    Ok(())
}

/// Counts system calls for so long. All that is counted is said and heard while it is: nothing is on its way at the beginning, nor at
/// the end.
fn calls(
    traced: Duration,
    is_idle: bool,
    server: &Server,
    crowd: &mut Crowd,
    play: &mut dyn Workload,
    folder: &std::path::Path,
) -> anyhow::Result<Calls> {
    play.set_pace(Pace::Silent);
    let mut unasked = None;
    if !is_idle {
        drain(crowd, play)?;
        let (strace, start) = (Strace::attach(server.id(), folder)?, now_ns());
        crowd.play(play, start + ns(traced))?;
        let took = now_ns() - start;
        unasked = Some((strace.stop()?, took));
    }
    let (strace, start) = (Strace::attach(server.id(), folder)?, now_ns());
    play.tally().reset();
    play.set_pace(Pace::Slower(TRACED_SLOWER));
    crowd.play(play, start + ns(traced))?;
    play.set_pace(Pace::Silent);
    if !is_idle {
        drain(crowd, play)?;
    }
    let (messages, took) = (play.tally().messages, now_ns() - start);
    let mut by_name = strace.stop()?;
    if let Some((unasked, of)) = unasked {
        take_off(&mut by_name, &unasked, took as f64 / of as f64);
    }
    Ok(Calls { messages, by_name })
}

/// What a server does by the clock comes at its own pace: of it messages at a thirtieth of theirs must not bear more. `share`: how
/// much longer all was counted than what is `unasked`.
fn take_off(by_name: &mut BTreeMap<String, u64>, unasked: &BTreeMap<String, u64>, share: f64) {
    for (name, count) in by_name {
        let unasked = unasked.get(name).map_or(0.0, |count| *count as f64 * share);
        *count = count.saturating_sub(unasked.round() as u64);
    }
}

/// Nothing has stalled while it was measured: it was never silent for long, and everyone who receives still hears something.
fn goes_on(
    plan: &Plan,
    crowd: &mut Crowd,
    play: &mut dyn Workload,
    patience: Patience,
) -> anyhow::Result<()> {
    let is_idle = matches!(plan, Plan::Idle { .. });
    // Pings may all come together, once a second.
    let max_silence = if is_idle { 2 * patience.silence } else { patience.silence };
    let silence_ns = crowd.longest_silence_ns();
    if silence_ns > ns(max_silence) {
        bail!("it stalled: nobody heard anything for {:.1} s", silence_ns as f64 / 1e9);
    }
    if !is_idle {
        crowd.listen();
    }
    let deaf = |crowd: &Crowd| -> Vec<usize> {
        (0..plan.clients()).filter(|who| plan.receives(*who) && !crowd.has_heard(*who)).collect()
    };
    let end_ns = now_ns() + ns(patience.wait);
    loop {
        match *deaf(crowd) {
            [] => return Ok(()),
            [first, ..] if now_ns() >= end_ns => bail!(
                "it stalled: {} of {} clients hear nothing any more, the first of them client {first}",
                deaf(crowd).len(),
                plan.clients()
            ),
            _ => crowd.play(play, now_ns() + ns(LISTEN))?,
        }
    }
}

/// Lets all that is on its way arrive.
fn drain(crowd: &mut Crowd, play: &mut dyn Workload) -> anyhow::Result<()> {
    for _ in 0..MAX_DRAINS {
        let before = play.tally().messages;
        crowd.play(play, now_ns() + ns(QUIET))?;
        if play.tally().messages == before {
            return Ok(());
        }
    }
    bail!("what was on its way does not come to an end");
}

/// All come at once; what they cost until the last is in.
fn storm(
    peer: &dyn Peer,
    plan: &Plan,
    clients: usize,
    resume: bool,
    server: &Server,
    crowd: &mut Crowd,
    sample: &mut Sample,
) -> anyhow::Result<()> {
    let enter = |crowd: &mut Crowd, dialects: Vec<Box<dyn Dialect>>| {
        let start = now_ns();
        for (number, dialect) in dialects.into_iter().enumerate() {
            crowd.connect(dialect)?;
            if number % CONNECT_AT_ONCE == 0 {
                crowd.play(&mut Entering, now_ns())?;
            }
        }
        crowd.enter(start + ns(ENTER))
    };
    let mut dialects: Vec<_> = (0..clients).map(|number| peer.client(&plan.seat(number))).collect();
    if resume {
        enter(crowd, dialects)?;
        dialects = crowd.cut()?;
        // The server has noticed when it does nothing more.
        sleep(Duration::from_millis(1500));
    }
    let (cpu, idle, start) = (server.cpu_ns()?, crowd.idle_ns(), now_ns());
    enter(crowd, dialects)?;
    sample.cpu_ns = server.cpu_ns()?.checked_sub(cpu).context("the server's processor time ran backwards")?;
    let took = now_ns() - start;
    sample.seconds = took as f64 / 1e9;
    sample.generator = 1.0 - (crowd.idle_ns() - idle) as f64 / took as f64;
    sample.messages = clients as u64;
    sample.rss_bytes = server.rss_bytes()?;
    sample.other = BTreeMap::new();
    Ok(())
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;
    use crate::body::MIN_BYTES;
    use crate::dialect::plain::Plain;
    use crate::dialect::{Say, Seat};

    /// A server that gives back what clients say, up to so many bytes to each, and then keeps the connection and is silent.
    fn server(bytes: &'static [usize]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for &bytes in bytes {
                let (mut socket, _) = listener.accept().expect("a client");
                thread::spawn(move || {
                    let (mut piece, mut left) = ([0; 1000], bytes);
                    // The client is gone when its test is over.
                    while let Ok(read @ 1..) = socket.read(&mut piece) {
                        let given = read.min(left);
                        left -= given;
                        let _ = socket.write_all(&piece[..given]);
                    }
                });
            }
        });
        port
    }

    /// What comes of an echo of two clients with such a server.
    fn echo(bytes: &'static [usize]) -> anyhow::Result<()> {
        let plan = Plan::Echo { clients: 2, window: 1, bytes: MIN_BYTES, say: Say::All };
        let patience = Patience { silence: Duration::from_millis(300), wait: Duration::from_millis(100) };
        let mut crowd = Crowd::new(server(bytes)).expect("epoll");
        for number in 0..2 {
            let seat = Seat { room: "room".to_string(), ..plan.seat(number) };
            crowd.connect(Box::new(Plain::new(&seat))).expect("connected");
        }
        crowd.enter(now_ns() + ns(ENTER)).expect("both are in");
        let mut play = plan.play();
        crowd.listen();
        crowd.play(&mut *play, now_ns() + ns(patience.silence) + ns(QUIET)).expect("played");
        goes_on(&plan, &mut crowd, &mut *play, patience)
    }

    #[test]
    fn what_a_server_calls_unasked_is_taken_off_by_its_time() {
        let calls = |of: &[(&str, u64)]| of.iter().map(|(name, count)| (name.to_string(), *count)).collect();
        let mut all = calls(&[("sendto", 110), ("recvfrom", 100), ("epoll_wait", 10)]);
        take_off(&mut all, &calls(&[("sendto", 5), ("epoll_wait", 9), ("futex", 1)]), 2.0);
        assert_eq!(all, calls(&[("sendto", 100), ("recvfrom", 100), ("epoll_wait", 0)]));
    }

    #[test]
    fn a_server_that_stalls_has_not_been_measured() {
        // The way in is six bytes, a message 18.
        const LONG: usize = 6 + 3 * 18;
        echo(&[usize::MAX, usize::MAX]).expect("nothing stalls");
        let why = |bytes| echo(bytes).expect_err("it stalls").to_string();
        assert_eq!(
            why(&[usize::MAX, LONG]),
            "it stalled: 1 of 2 clients hear nothing any more, the first of them client 1"
        );
        assert!(why(&[LONG, LONG]).starts_with("it stalled: nobody heard anything for 0."));
    }
}
