//! Cores, clocks and what the kernel says of a process.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The monotonic clock, nanoseconds.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_nanos() as u64
}

/// Where a process may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// On this one alone.
    One(usize),
    /// On all.
    All,
}

/// Keeps this thread, and all processes that it starts from now on, on those cores.
///
/// # Errors
/// The kernel refuses.
pub fn pin(cores: Cores) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    match cores {
        Cores::One(core) => set.set(core),
        Cores::All => (0..CpuSet::MAX_CPU).for_each(|core| set.set(core)),
    }
    sched_setaffinity(None, &set).context("this thread cannot be pinned to a core")
}

/// How many cores this process may use.
///
/// # Errors
/// The kernel does not say.
pub fn cores() -> anyhow::Result<usize> {
    Ok(sched_getaffinity(None)?.count() as usize)
}

/// Lets this process, and those that it starts, have as many descriptors as they may. How many that is.
///
/// # Errors
/// The kernel refuses.
pub fn raise_descriptors() -> anyhow::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Processor time of all threads that a process has, nanoseconds.
///
/// # Errors
/// There is no such process.
pub fn cpu_ns(process: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{process}/task")).context("the server is gone")? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let first = text.split_whitespace().next().context("an empty schedstat")?;
        sum += first.parse::<u64>()?;
    }
    Ok(sum)
}

/// Memory that a process has resident, bytes.
///
/// # Errors
/// There is no such process.
pub fn rss_bytes(process: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).context("the server is gone")?;
    let pages = text.split_whitespace().nth(1).context("an empty statm")?;
    Ok(pages.parse::<u64>()? * rustix::param::page_size() as u64)
}
