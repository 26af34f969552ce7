//! A server as a process: started, watched, and stopped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::load::cpu::{Cores, cpu_ns, pin, rss_bytes};

/// So long may it take until the server listens.
const START: Duration = Duration::from_secs(20);
/// How often that is tried.
const RETRY: Duration = Duration::from_millis(20);

/// A port of 127.0.0.1 that is free now.
///
/// # Errors
/// None is.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?.local_addr()?.port())
}

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it on `cores`, its output into `log`, and waits until it listens. The caller is on `own` core afterwards.
    ///
    /// # Errors
    /// It does not start: the end of its log is told.
    pub fn start(
        mut command: Command,
        port: u16,
        log: &Path,
        cores: Cores,
        own: Cores,
    ) -> anyhow::Result<Self> {
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // What is started is where we are.
        pin(cores)?;
        let child = command.spawn().with_context(|| format!("{command:?} does not start"));
        pin(own)?;
        let mut server = Server { child: child?, log: log.to_path_buf() };
        let end = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
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
        self.child.id()
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

    /// The end of what it printed.
    pub fn log_end(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
