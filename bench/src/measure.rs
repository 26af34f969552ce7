//! One peer, one case, once: a fresh process, its clients, a warm-up, and what it cost.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cases::{Case, Plan};
use crate::load::cpu::{Cores, now_ns};
use crate::load::plays::Pace;
use crate::load::{Crowd, Workload};
use crate::peers::{Peer, Setup};
use crate::process::{Server, free_port};
use crate::report::figures::RSS_AT_HALF;
use crate::result::{Calls, Sample};
use crate::strace::Strace;

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Before anything counts.
    pub warm_up: Duration,
    /// While it counts.
    pub measured: Duration,
    /// While system calls are counted; zero: they are not.
    pub traced: Duration,
}

/// So long may it take until all clients are in.
const ENTER: Duration = Duration::from_secs(60);
/// Connections that are opened before what came on the others is read.
const CONNECT_AT_ONCE: usize = 32;
/// Idle servers are measured for a whole number of their seconds.
const IDLE: Duration = Duration::from_secs(3);
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
    let cores = if threads == 1 { Cores::One(0) } else { Cores::All };
    let setup = Setup {
        port: free_port()?,
        folder: folder.path().to_path_buf(),
        threads,
        connections: plan.clients(),
        tick_ms: if let Plan::Rooms { tick_ms, .. } = plan { *tick_ms } else { None },
        ping_ms: is_idle.then_some(1000),
        body_bytes: plan.bytes(),
    };
    let log = folder.path().join("log");
    let server = Server::start(peer.command(&setup)?, setup.port, &log, cores, Cores::One(1))?;
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
        crowd.connect(peer.client(&plan.seat(number)))?;
        if number % CONNECT_AT_ONCE == 0 {
            crowd.play(&mut crate::load::crowd::Entering, now_ns() + 100_000)?;
        }
    }
    crowd.enter(end)?;
    let mut play = plan.play();
    crowd.play(&mut *play, now_ns() + ns(times.warm_up))?;
    play.tally().reset();
    let (cpu, idle, start) = (server.cpu_ns()?, crowd.idle_ns(), now_ns());
    let measured = if is_idle { times.measured.max(IDLE) } else { times.measured };
    crowd.play(&mut *play, start + ns(measured) / 2)?;
    sample.other.insert(RSS_AT_HALF.to_string(), server.rss_bytes()? as f64);
    crowd.play(&mut *play, start + ns(measured))?;
    sample.cpu_ns = server
        .cpu_ns()?
        .checked_sub(cpu)
        .context("a thread of the server has ended, and took its time along")?;
    let took = now_ns() - start;
    sample.seconds = took as f64 / 1e9;
    sample.generator = 1.0 - (crowd.idle_ns() - idle) as f64 / took as f64;
    sample.messages = play.tally().messages;
    sample.latency = play.tally().latency();
    sample.rss_bytes = server.rss_bytes()?;
    if sample.messages == 0 {
        bail!("nothing was heard");
    }
    sample.other.extend(play.other().into_iter().map(|(name, value)| (name.to_string(), value)));
    if !times.traced.is_zero() {
        // All that is counted is said and heard while it is: nothing is on its way at the beginning, nor at the end.
        play.set_pace(Pace::Silent);
        if !is_idle {
            drain(crowd, &mut *play)?;
        }
        let strace = Strace::attach(server.id(), folder)?;
        play.tally().reset();
        play.set_pace(Pace::Slower(TRACED_SLOWER));
        crowd.play(&mut *play, now_ns() + ns(times.traced))?;
        play.set_pace(Pace::Silent);
        if !is_idle {
            drain(crowd, &mut *play)?;
        }
        let messages = play.tally().messages;
        sample.calls = Some(Calls { messages, by_name: strace.stop()? });
    }
    Ok(())
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
    let enter = |crowd: &mut Crowd, dialects: Vec<Box<dyn crate::dialect::Dialect>>| {
        let start = now_ns();
        for (number, dialect) in dialects.into_iter().enumerate() {
            crowd.connect(dialect)?;
            if number % CONNECT_AT_ONCE == 0 {
                crowd.play(&mut crate::load::crowd::Entering, now_ns())?;
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
    sample.cpu_ns = server
        .cpu_ns()?
        .checked_sub(cpu)
        .context("a thread of the server has ended, and took its time along")?;
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
