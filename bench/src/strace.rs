//! Counts the system calls of a running server.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::load::cpu::{Cores, pin};

/// Counts from its beginning to [`Strace::stop`].
#[derive(Debug)]
pub struct Strace {
    child: Child,
    summary: PathBuf,
}

impl Strace {
    /// Attaches to all threads of a process; what it writes goes into `folder`.
    ///
    /// # Errors
    /// strace is missing, or may not.
    pub fn attach(process: u32, folder: &Path) -> anyhow::Result<Self> {
        let summary = folder.join("strace");
        // Not where the generator is, which leaves no time.
        pin(Cores::All)?;
        let child = Command::new("strace")
            .args(["-f", "-c", "-U", "name,calls", "-p", &process.to_string(), "-o"])
            .arg(&summary)
            .stderr(Stdio::piped())
            .spawn();
        pin(Cores::One(1))?;
        let mut child = child.context(
            "strace is missing, with which system calls are counted (Debian: apt-get install strace)",
        )?;
        let mut said = String::new();
        let stderr = child.stderr.as_mut().context("strace has no output")?;
        BufReader::new(stderr).read_line(&mut said)?;
        if !said.contains("attached") {
            bail!("strace: {said}");
        }
        Ok(Strace { child, summary })
    }

    /// Detaches: the calls that ended meanwhile, by name.
    ///
    /// # Errors
    /// strace wrote nothing that can be read.
    pub fn stop(mut self) -> anyhow::Result<BTreeMap<String, u64>> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        self.child.wait()?;
        let text = fs::read_to_string(&self.summary)?;
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_string(), words.next()?.parse().ok()?))
        };
        Ok(text.lines().filter_map(line).filter(|(name, _)| name != "total").collect())
    }
}
