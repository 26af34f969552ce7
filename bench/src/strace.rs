//! Counts the system calls of a running server.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use crate::load::cpu::Cores;
use crate::process::Process;

/// Counts from its beginning to [`Strace::stop`].
#[derive(Debug)]
pub struct Strace {
    process: Process,
    summary: PathBuf,
}

impl Strace {
    /// Attaches to all threads of a process; what it writes goes into `folder`.
    ///
    /// # Errors
    /// strace is missing, or may not.
    pub fn attach(process: u32, folder: &Path) -> anyhow::Result<Self> {
        let summary = folder.join("strace");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-c", "-U", "name,calls", "-p", &process.to_string(), "-o"])
            .arg(&summary)
            .stderr(Stdio::piped());
        // Not where the generator is, which leaves no time.
        let mut process = Process::start(&mut command, Cores::All).context(
            "strace is missing, with which system calls are counted (Debian: apt-get install strace)",
        )?;
        let mut said = String::new();
        let stderr = process.child().stderr.as_mut().context("strace has no output")?;
        BufReader::new(stderr).read_line(&mut said)?;
        if !said.contains("attached") {
            bail!("strace: {said}");
        }
        Ok(Strace { process, summary })
    }

    /// Detaches: the calls that ended meanwhile, by name.
    ///
    /// # Errors
    /// strace wrote nothing that can be read.
    pub fn stop(mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.process.signal(Signal::INT)?;
        self.process.child().wait()?;
        let text = fs::read_to_string(&self.summary)?;
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_string(), words.next()?.parse().ok()?))
        };
        Ok(text.lines().filter_map(line).filter(|(name, _)| name != "total").collect())
    }
}
