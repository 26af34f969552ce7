//! Cores, clocks and what the kernel says of a process.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The monotonic clock, nanoseconds.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_nanos() as u64
}

/// Where a thread, and what it starts, may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// On the servers' own, the first that this process was given.
    Server,
    /// On that of who makes the load, the second.
    Load,
    /// On all that it was given.
    All,
}

impl Cores {
    /// Which those are of `given`. Fewer than two are shared by all: nobody is kept anywhere.
    fn of(self, given: &[usize]) -> &[usize] {
        match (self, given) {
            (Cores::Server, [server, _, ..]) => std::slice::from_ref(server),
            (Cores::Load, [_, load, ..]) => std::slice::from_ref(load),
            _ => given,
        }
    }
}

/// The cores that this process was given, by their numbers, before any of its threads was pinned.
static GIVEN: OnceLock<Vec<usize>> = OnceLock::new();

fn given() -> anyhow::Result<&'static [usize]> {
    if GIVEN.get().is_none() {
        let set = sched_getaffinity(None).context("the cores of this process")?;
        // Two threads that come here at once have seen the same.
        let _ = GIVEN.set((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect());
    }
    GIVEN.get().map(Vec::as_slice).context("a cell that was filled")
}

/// Keeps this thread, and all processes that it starts from now on, on those cores.
///
/// # Errors
/// The kernel refuses.
pub fn pin(cores: Cores) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    cores.of(given()?).iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).with_context(|| format!("this thread cannot be pinned ({cores:?})"))
}

/// How many cores this process may use.
///
/// # Errors
/// The kernel does not say.
pub fn cores() -> anyhow::Result<usize> {
    Ok(given()?.len())
}

/// Who runs where, in words.
///
/// # Errors
/// The kernel does not say.
pub fn places() -> anyhow::Result<String> {
    Ok(match given()? {
        [server, load, ..] => format!("servers on core {server}, the load on core {load}"),
        _ => "nothing is pinned: servers and load share one core".to_string(),
    })
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

/// Processor time that a process has used, nanoseconds: its living threads to the nanosecond, or the kernel's total of living and
/// ended ones, which has hundredths of a second, where that is more.
///
/// # Errors
/// There is no such process.
pub fn cpu_ns(process: u32) -> anyhow::Result<u64> {
    // First, so that it is more only where threads have ended.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the server is gone")?;
    let total = total_ns(&stat, clock_ticks_per_second())?;
    let mut living = 0;
    for task in fs::read_dir(format!("/proc/{process}/task")).context("the server is gone")? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let first = text.split_whitespace().next().context("an empty schedstat")?;
        living += first.parse::<u64>()?;
    }
    Ok(living.max(total))
}

/// `utime` and `stime` of `/proc/PID/stat` (proc_pid_stat(5): fields 14 and 15, in ticks), nanoseconds.
fn total_ns(stat: &str, ticks_per_second: u64) -> anyhow::Result<u64> {
    // The second field is the program's name, which may have blanks and parentheses in it.
    let (_, rest) = stat.rsplit_once(") ").context("a stat without a name")?;
    let mut fields = rest.split(' ').skip(11);
    let mut ticks = || anyhow::Ok(fields.next().context("a short stat")?.parse::<u64>()?);
    Ok((ticks()? + ticks()?) * 1_000_000_000 / ticks_per_second)
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

#[cfg(test)]
mod tests {
    use std::process::id;
    use std::thread;

    use super::*;

    #[test]
    fn servers_and_load_are_on_cores_that_are_allowed() {
        let of =
            |given: &'static [usize]| [Cores::Server, Cores::Load, Cores::All].map(|cores| cores.of(given));
        assert_eq!(of(&[0, 1]), [&[0][..], &[1], &[0, 1]]);
        assert_eq!(of(&[5, 9, 11]), [&[5][..], &[9], &[5, 9, 11]]);
        assert_eq!(of(&[3]), [&[3][..]; 3]);
    }

    #[test]
    fn the_cores_that_were_given_are_known_when_one_is_pinned() {
        thread::spawn(|| {
            let before = cores().expect("cores");
            pin(Cores::Load).expect("pinned");
            assert_eq!(cores().expect("cores"), before);
            pin(Cores::All).expect("pinned");
            assert_eq!(sched_getaffinity(None).expect("cores").count() as usize, before);
        })
        .join()
        .expect("a thread");
    }

    #[test]
    fn what_ended_threads_used_counts() {
        const BURNT_NS: u64 = 200_000_000;
        let before = cpu_ns(id()).expect("a process");
        let burn = || {
            let used_ns = || {
                let time = clock_gettime(ClockId::ThreadCPUTime);
                Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_nanos() as u64
            };
            while used_ns() < BURNT_NS {}
        };
        thread::spawn(burn).join().expect("a thread");
        let used = cpu_ns(id()).expect("a process") - before;
        // What the other tests use meanwhile is more; what the kernel rounds off is two ticks.
        assert!(used >= BURNT_NS - 20_000_000, "{used}");
    }

    #[test]
    fn the_name_of_a_program_may_be_anything() {
        let stat =
            |name: &str| format!("7 ({name}) S 1 7 7 0 -1 4194560 120 0 0 0 150 25 9 9 20 0 4 0 100\n");
        for name in ["game", "a b", "x) R 1 2 3", ") ("] {
            assert_eq!(total_ns(&stat(name), 100).expect("a total"), 1_750_000_000, "{name}");
        }
        assert!(total_ns("7 (game) S 1", 100).is_err());
    }
}
