//! Lines of the log on their way to where they are shown: those of one round of the tasks by one write.
//!
//! A write for each was a sixth of the system calls in a storm of logins. A task, the keeper, is woken by the first line, and so
//! runs behind all that is ready by then. Written at once is what it could come too late for: warnings and errors, a panic's
//! among them, and what is said outside of tasks: before the runtime, after it, and on threads of others.

use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{try_id, yield_now};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// So many are written at most by one write, and gathered for it: a pipe takes them whole (PIPE_BUF, pipe(7)), so that what
/// others write into it comes between two lines and never into one.
const MAX_GATHERED_BYTES: usize = 4096;

/// The lines that go to `W`. Clones are the same.
#[derive(Debug)]
pub(super) struct Lines<W>(Arc<Mutex<Gathered<W>>>);

#[derive(Debug)]
struct Gathered<W> {
    out: W,
    lines: Vec<u8>,
    /// The keeper runs.
    is_kept: bool,
    /// Of the keeper, while it waits for the first line.
    waker: Option<Waker>,
}

impl<W: Write> Gathered<W> {
    fn write(&mut self) {
        // Where this fails there is nobody to tell, and a server goes on whose log does not.
        let _ = self.out.write_all(&self.lines);
        self.lines.clear();
        // One line may be longer than all that is gathered.
        self.lines.shrink_to(MAX_GATHERED_BYTES);
    }
}

impl<W> Clone for Lines<W> {
    fn clone(&self) -> Self {
        Lines(Arc::clone(&self.0))
    }
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        let lines = Vec::with_capacity(MAX_GATHERED_BYTES);
        Lines(Arc::new(Mutex::new(Gathered { out, lines, is_kept: false, waker: None })))
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &[u8], may_wait: bool) {
        let mut gathered = self.gathered();
        if !gathered.lines.is_empty() && gathered.lines.len() + line.len() > MAX_GATHERED_BYTES {
            gathered.write();
        }
        gathered.lines.extend_from_slice(line);
        let waits = may_wait && gathered.is_kept && gathered.lines.len() < MAX_GATHERED_BYTES;
        if !waits {
            return gathered.write();
        }
        let waker = gathered.waker.take();
        // What is woken may be dropped by that, and writes then.
        drop(gathered);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Writes what is gathered, for ever. When it is dropped, as the runtime's end does, all is written, and later lines at once.
    pub(super) async fn keep(self) {
        let kept = Kept::new(self);
        // There, what a task wakes runs next, before all that is ready.
        let runs_next = Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread;
        loop {
            poll_fn(|context| {
                let mut gathered = kept.0.gathered();
                if !gathered.lines.is_empty() {
                    return Poll::Ready(());
                }
                gathered.waker = Some(context.waker().clone());
                Poll::Pending
            })
            .await;
            if runs_next {
                yield_now().await;
            }
            kept.0.gathered().write();
        }
    }
}

/// Lines are gathered as long as there is this.
struct Kept<W: Write>(Lines<W>);

impl<W: Write> Kept<W> {
    fn new(lines: Lines<W>) -> Self {
        lines.gathered().is_kept = true;
        Kept(lines)
    }
}

impl<W: Write> Drop for Kept<W> {
    fn drop(&mut self) {
        let mut gathered = self.0.gathered();
        gathered.is_kept = false;
        gathered.write();
    }
}

/// Takes lines of one level, whole ones.
#[derive(Debug)]
pub(super) struct Writer<'a, W> {
    lines: &'a Lines<W>,
    level: Level,
}

impl<W: Write> Write for Writer<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.add(line, self.level > Level::WARN && try_id().is_some());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.gathered().write();
        Ok(())
    }
}

impl<'a, W: Write + 'a> MakeWriter<'a> for Lines<W> {
    type Writer = Writer<'a, W>;

    /// Of what has no level: written at once.
    fn make_writer(&'a self) -> Self::Writer {
        Writer { lines: self, level: Level::ERROR }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Self::Writer {
        Writer { lines: self, level: *of.level() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::{self, Runtime};
    use tokio::spawn;
    use tracing::{error, info, warn};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Each write by itself; fails as often as it is told to.
    #[derive(Clone, Debug, Default)]
    struct Shown(Arc<Mutex<(Vec<String>, usize)>>);

    impl Shown {
        fn writes(&self) -> Vec<String> {
            self.0.lock().unwrap().0.clone()
        }

        fn fail(&self, times: usize) {
            self.0.lock().unwrap().1 = times;
        }

        fn still_fails(&self) -> usize {
            self.0.lock().unwrap().1
        }
    }

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut shown = self.0.lock().unwrap();
            if shown.1 > 0 {
                shown.1 -= 1;
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            shown.0.push(str::from_utf8(bytes).unwrap().to_string());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say<W: Write>(lines: &Lines<W>, level: Level, line: &str) {
        let mut writer = Writer { lines, level };
        writer.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn lines() -> (Lines<Shown>, Shown) {
        let shown = Shown::default();
        (Lines::new(shown.clone()), shown)
    }

    /// On one thread, and whoever runs it looks at each task whether it is done.
    fn by_the_task() -> Runtime {
        runtime::Builder::new_current_thread().event_interval(1).build().unwrap()
    }

    async fn in_a_task<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        spawn(async { run() }).await.unwrap()
    }

    /// With a keeper that waits.
    async fn kept() -> (Lines<Shown>, Shown) {
        let (lines, shown) = lines();
        spawn(lines.clone().keep());
        yield_now().await;
        assert!(lines.gathered().waker.is_some());
        (lines, shown)
    }

    #[tokio::test]
    async fn the_lines_of_a_round_are_one_write_behind_all_that_is_ready() {
        let (lines, shown) = kept().await;
        for round in 0..3 {
            for i in 0..3 {
                let lines = lines.clone();
                spawn(async move { say(&lines, Level::INFO, &format!("{round} {i}")) });
            }
            let shown = shown.clone();
            let (before, after) = spawn(async move {
                let before = shown.writes();
                yield_now().await;
                (before, shown.writes())
            })
            .await
            .unwrap();
            assert_eq!((before.len(), after.len()), (round, round + 1), "{after:?}");
            assert_eq!(after[round], format!("{round} 0\n{round} 1\n{round} 2\n"));
        }
    }

    #[tokio::test]
    async fn what_is_gathered_is_bounded_and_written_by_whole_lines() {
        let (lines, shown) = kept().await;
        let (mut said, shown) = in_a_task(move || {
            let mut said = String::new();
            for i in 0..1000 {
                let line = format!("{i} {}", "x".repeat(i % 70));
                say(&lines, Level::INFO, &line);
                said += &(line + "\n");
                let written: usize = shown.writes().iter().map(String::len).sum();
                assert!(said.len() - written < MAX_GATHERED_BYTES);
            }
            for length in [MAX_GATHERED_BYTES - 1, 10 * MAX_GATHERED_BYTES] {
                let line = "y".repeat(length);
                say(&lines, Level::INFO, &line);
                said += &(line + "\n");
                assert!(shown.writes().concat() == said, "at once");
                assert_eq!(lines.gathered().lines.capacity(), MAX_GATHERED_BYTES);
            }
            say(&lines, Level::INFO, "last");
            (said, shown)
        })
        .await;
        yield_now().await;
        said += "last\n";
        let writes = shown.writes();
        assert!(writes.concat() == said);
        let (long, short): (Vec<_>, Vec<_>) = writes.iter().partition(|text| text.len() > MAX_GATHERED_BYTES);
        assert_eq!(long.len(), 1, "a line alone");
        assert!(short.iter().all(|text| text.ends_with('\n')));
        assert!(short.len() <= said.len() / (MAX_GATHERED_BYTES - 80), "{}", short.len());
    }

    #[tokio::test]
    async fn warnings_and_errors_are_written_at_once_with_all_before() {
        let (lines, shown) = kept().await;
        in_a_task(move || {
            let layer = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_target(false);
            let subscriber = tracing_subscriber::registry().with(layer.with_writer(lines));
            tracing::subscriber::with_default(subscriber, || {
                info!("1");
                assert!(shown.writes().is_empty());
                warn!("2");
                assert_eq!(shown.writes(), [" INFO 1\n WARN 2\n"]);
                info!("3");
                error!("4");
                assert_eq!(shown.writes()[1..], [" INFO 3\nERROR 4\n"]);
            });
        })
        .await;
    }

    #[test]
    fn what_is_said_outside_of_tasks_is_written_at_once() {
        let (lines, shown) = lines();
        let is_at_once = |line| {
            say(&lines, Level::INFO, line);
            assert_eq!(shown.writes().last().unwrap(), &format!("{line}\n"));
        };
        is_at_once("before");
        let runtime = by_the_task();
        runtime.block_on(async {
            let (early, shown) = (lines.clone(), shown.clone());
            in_a_task(move || {
                say(&early, Level::INFO, "no keeper");
                assert_eq!(shown.writes().last().unwrap(), "no keeper\n");
            })
            .await;
            spawn(lines.clone().keep());
            yield_now().await;
            assert!(lines.gathered().is_kept);
            is_at_once("beside the tasks");
            std::thread::scope(|scope| scope.spawn(|| is_at_once("another thread")).join().unwrap());
        });
        drop(runtime);
        is_at_once("after");
    }

    #[test]
    fn the_end_of_the_runtime_loses_nothing() {
        let (lines, shown) = lines();
        let runtime = by_the_task();
        runtime.block_on(async {
            spawn(lines.clone().keep());
            yield_now().await;
            let last = lines.clone();
            in_a_task(move || say(&last, Level::INFO, "last")).await;
        });
        assert!(shown.writes().is_empty(), "it ended before the keeper's turn");
        runtime.shutdown_timeout(Duration::from_secs(1));
        assert_eq!(shown.writes(), ["last\n"]);
        assert!(!lines.gathered().is_kept);
    }

    #[tokio::test]
    async fn where_nothing_can_be_written_all_goes_on() {
        let (lines, shown) = kept().await;
        shown.fail(3);
        for left in [2, 1, 0] {
            let gathers = lines.clone();
            in_a_task(move || say(&gathers, Level::INFO, "lost")).await;
            yield_now().await;
            assert_eq!(shown.still_fails(), left, "tried once");
            assert!(lines.gathered().lines.is_empty());
        }
        let gathers = lines.clone();
        in_a_task(move || say(&gathers, Level::INFO, "heard")).await;
        yield_now().await;
        assert_eq!(shown.writes(), ["heard\n"]);
    }

    #[test]
    fn on_threads_too_the_lines_of_a_round_are_one_write() {
        let (lines, shown) = lines();
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.spawn(lines.clone().keep());
        let (tx, rx) = mpsc::channel::<()>();
        runtime.spawn(async move {
            while lines.gathered().waker.is_none() {
                yield_now().await;
            }
            for i in 0..20 {
                let (lines, tx) = (lines.clone(), tx.clone());
                spawn(async move {
                    say(&lines, Level::INFO, &i.to_string());
                    drop(tx);
                });
            }
        });
        assert!(rx.recv().is_err(), "all have said theirs");
        drop(runtime);
        let writes = shown.writes();
        // The runtime may begin another round among them.
        assert!(writes.len() <= 2, "{writes:?}");
        assert_eq!(writes.concat().lines().count(), 20);
    }

    #[test]
    fn on_threads_nothing_is_lost_and_what_one_says_keeps_its_order() {
        const LINES: usize = 500;

        struct Sent(mpsc::Sender<String>);

        impl Write for Sent {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.send(str::from_utf8(bytes).unwrap().to_string()).unwrap();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let (tx, rx) = mpsc::channel();
        let lines = Lines::new(Sent(tx));
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.spawn(lines.clone().keep());
        for task in 0..4 {
            let lines = lines.clone();
            runtime.spawn(async move {
                for i in 0..LINES {
                    say(&lines, Level::INFO, &format!("{task} {i}"));
                    if i % 7 == 0 {
                        yield_now().await;
                    }
                }
            });
        }
        let mut next = [0; 4];
        // Nothing else comes to wake the keeper for the last.
        while next != [LINES; 4] {
            for line in rx.recv_timeout(Duration::from_secs(10)).expect("all are written").lines() {
                let (task, i) = line.split_once(' ').unwrap();
                let next = &mut next[task.parse::<usize>().unwrap()];
                assert_eq!(i.parse(), Ok(*next));
                *next += 1;
            }
        }
    }
}
