//! Servers and what watches them, as processes: started, watched, and stopped, also where a signal stops us.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::load::cpu::{Cores, cpu_ns, pin, rss_bytes};

/// So long may it take until the server listens.
const START: Duration = Duration::from_secs(20);
/// How often that is tried.
const RETRY: Duration = Duration::from_millis(20);
/// So long has the run to end by itself, what it measured written, when a signal has ended its servers.
const ENDING: Duration = Duration::from_secs(3);

/// What runs, and whether it is over: then nothing is started any more.
#[derive(Debug)]
struct Running {
    children: Vec<Pid>,
    ended_by: Option<i32>,
}

static RUNNING: Mutex<Running> = Mutex::new(Running { children: vec![], ended_by: None });

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The signal that has ended the run.
pub fn ended_by() -> Option<i32> {
    running().ended_by
}

/// From now on SIGINT, SIGTERM and SIGHUP end all processes that were started here. What waits for them then fails, and the run with
/// it; if it does not soon, this process ends.
///
/// # Errors
/// The signals cannot be caught.
pub fn end_with_signals() -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        (interrupt?, terminate?, hangup?)
    };
    thread::Builder::new().name("signals".to_string()).spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
            }
            .as_raw_value()
        });
        let mut running = running();
        running.ended_by = Some(number);
        for child in &running.children {
            // One that has ended by itself is not there.
            let _ = kill_process(*child, Signal::KILL);
        }
        drop(running);
        sleep(ENDING);
        exit(128 + number);
    })?;
    Ok(())
}

/// A port of 127.0.0.1 that is free now.
///
/// # Errors
/// None is.
pub fn free_port() -> anyhow::Result<u16> {
    // The system may give one again that has not been listened on yet, and clients would be another server's.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = bound()?.local_addr()?.as_socket().context("no port")?.port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
}

/// A socket with a port. It never listens: who waits for the server that was given that port, and has not begun yet, would be
/// let in, and cut off when this is dropped.
fn bound() -> anyhow::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).context("no port is free")?;
    Ok(socket)
}

/// A child that ends with us; killed when it is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it on `cores`. The caller is where the load is afterwards.
    ///
    /// # Errors
    /// It does not start, or a signal has ended the run.
    pub fn start(command: &mut Command, cores: Cores) -> anyhow::Result<Self> {
        let mut running = running();
        if let Some(number) = running.ended_by {
            bail!("ended by signal {number}");
        }
        // What is started is where we are.
        pin(cores)?;
        let child = command.spawn().with_context(|| format!("{command:?} does not start"));
        pin(Cores::Load)?;
        let child = child?;
        running.children.push(Pid::from_child(&child));
        Ok(Process(child))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// It.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.0), signal).with_context(|| format!("process {}", self.id()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not while a signal is dealt with: the number may be another's when this one was waited for.
        let mut running = running();
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
        let own = Pid::from_child(&self.0);
        running.children.retain(|child| *child != own);
    }
}

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    log: PathBuf,
}

impl Server {
    /// Starts it on `cores`, its output into `log`, and waits until it listens.
    ///
    /// # Errors
    /// It does not start: the end of its log is told.
    pub fn start(mut command: Command, port: u16, log: &Path, cores: Cores) -> anyhow::Result<Self> {
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut server = Server { process: Process::start(&mut command, cores)?, log: log.to_path_buf() };
        let end = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.process.child().try_wait()? {
                bail!("the server ended at once ({status}): {}", server.log_end());
            }
            if Instant::now() > end {
                bail!("the server does not listen after {} s: {}", START.as_secs(), server.log_end());
            }
            sleep(RETRY);
        }
        Ok(server)
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Processor time that it has used, nanoseconds.
    ///
    /// # Errors
    /// It is gone.
    pub fn cpu_ns(&self) -> anyhow::Result<u64> {
        cpu_ns(self.id())
    }

    /// Memory that it has resident, bytes.
    ///
    /// # Errors
    /// It is gone.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        rss_bytes(self.id())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// What it printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of that.
    pub fn log_end(&self) -> String {
        let text = self.log();
        let from = text.len().saturating_sub(2000);
        text[(from..).find(|at| text.is_char_boundary(*at)).unwrap_or(0)..].to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn nobody_is_let_in_while_a_port_is_looked_for() -> anyhow::Result<()> {
        let socket = bound()?;
        let address = socket.local_addr()?.as_socket().context("no port")?;
        let refused = TcpStream::connect(address).expect_err("nothing listens there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    }
}
