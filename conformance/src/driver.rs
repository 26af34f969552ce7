//! One client under test: a process that is told what to do, and reports what happens. `conformance/README.md` is the
//! contract of both.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

/// What must come comes within this; long, for machines that are busy with other things.
pub(crate) const SOON: Duration = Duration::from_secs(15);
static PATIENCE: OnceLock<Duration> = OnceLock::new();

/// From now on that is how long what must come is awaited. Only the first call counts.
pub(crate) fn be_patient(time: Duration) {
    // Set already: by who has called before.
    let _ = PATIENCE.set(time);
}

/// How long that is.
pub(crate) fn soon() -> Duration {
    *PATIENCE.get_or_init(|| SOON)
}
/// Reports whose order among each other is the order in which the application sees things.
const IN_ORDER: &[&str] = &["message", "member", "room_ended"];
/// Reports that nobody has to take.
const OPTIONAL: &[&str] = &["reconnecting"];
const ENDING: Duration = Duration::from_secs(5);
const SHOWN_OF_STDERR: usize = 4000;

/// A report, or why there is none.
enum Line {
    Report(Value),
    Garbage(String),
}

/// The process, and what it has reported.
pub(crate) struct Driver {
    child: Arc<Mutex<Child>>,
    stdin: Option<ChildStdin>,
    lines: Receiver<Line>,
    reports: VecDeque<Value>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    ignored: Vec<&'static str>,
    /// How it called itself: library and version.
    pub(crate) name: String,
    /// What its language is called.
    pub(crate) language: String,
}

/// Ends a driver that takes too long, until it is dropped.
pub(crate) struct Watchdog {
    _over: mpsc::Sender<()>,
}

impl Driver {
    /// Starts the command line and waits until it is ready.
    pub(crate) fn start(command: &[String]) -> Result<Self> {
        let (program, arguments) = command.split_first().context("the command of the client is empty")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        let (tx, lines) = mpsc::channel();
        let stdout = child.stdout.take().context("no stdout")?;
        let mut errors = child.stderr.take().context("no stderr")?;
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stderr);
        let readers = vec![
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).split(b'\n') {
                    let Ok(line) = line else { break };
                    let line = match serde_json::from_slice::<Value>(&line) {
                        Ok(report) if report["report"].is_string() => Line::Report(report),
                        _ => Line::Garbage(String::from_utf8_lossy(&line).chars().take(300).collect()),
                    };
                    if tx.send(line).is_err() {
                        break;
                    }
                }
            }),
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(read @ 1..) = errors.read(&mut chunk) {
                    let mut kept = lock(&kept);
                    kept.extend_from_slice(&chunk[..read]);
                    let over = kept.len().saturating_sub(SHOWN_OF_STDERR);
                    kept.drain(..over);
                }
            }),
        ];
        let stdin = child.stdin.take();
        let mut driver = Driver {
            child: Arc::new(Mutex::new(child)),
            stdin,
            lines,
            reports: VecDeque::new(),
            stderr,
            readers,
            ignored: OPTIONAL.to_vec(),
            name: String::new(),
            language: String::new(),
        };
        let ready = match driver.expect("ready") {
            Ok(ready) => ready,
            Err(error) => bail!("the driver did not get ready: {error:#}\n{}", driver.stderr()),
        };
        driver.name = ready["client"].as_str().unwrap_or_default().into();
        driver.language = ready["language"].as_str().unwrap_or_default().into();
        let told = !driver.name.is_empty() && !driver.language.is_empty();
        ensure!(told, "`ready` does not say `client` and `language`: {ready}");
        Ok(driver)
    }

    /// Ends the process after that time, unless what this gives is dropped before.
    pub(crate) fn watch(&self, time: Duration) -> Watchdog {
        let (over, waiting) = mpsc::channel::<()>();
        let child = Arc::clone(&self.child);
        std::thread::spawn(move || {
            if waiting.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                // It may have ended already, which is no error here.
                let _ = lock(&child).kill();
            }
        });
        Watchdog { _over: over }
    }

    /// Gives one command.
    pub(crate) fn tell(&mut self, command: &Value) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the driver's stdin is closed")?;
        let line = format!("{command}\n");
        stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).context("the driver takes no commands")
    }

    /// The next report of that kind; of those that have an order, it must be the next.
    pub(crate) fn expect(&mut self, kind: &str) -> Result<Value> {
        self.expect_of(kind, None)
    }

    /// With an `id`: the report of that request. Which of two is reported first, nobody promises.
    fn expect_of(&mut self, kind: &str, id: Option<&Value>) -> Result<Value> {
        let by = Instant::now() + soon();
        loop {
            let ordered = IN_ORDER.contains(&kind);
            let found = self.reports.iter().position(|report| {
                let its = report["report"].as_str().unwrap_or_default();
                (its == kind && id.is_none_or(|id| report["id"] == *id))
                    || (ordered && IN_ORDER.contains(&its))
            });
            if let Some(report) = found.and_then(|at| self.reports.remove(at)) {
                ensure!(report["report"] == kind, "expected a report {kind:?}, got {report}");
                return Ok(report);
            }
            if let Some(at) = self.reports.iter().position(|report| report["report"] == "error")
                && let Some(report) = self.reports.remove(at)
            {
                bail!("expected a report {kind:?}, got {report}");
            }
            self.hear(by).with_context(|| format!("while a report {kind:?} was awaited"))?;
        }
    }

    /// The next report of that kind has these fields.
    pub(crate) fn expect_like(&mut self, kind: &str, fields: Value) -> Result<Value> {
        let report = self.expect_of(kind, fields.get("id"))?;
        like(&report, &fields)?;
        Ok(report)
    }

    /// A report of that kind that has come.
    pub(crate) fn take(&mut self, kind: &str) -> Option<Value> {
        let at = self.reports.iter().position(|report| report["report"] == kind)?;
        self.reports.remove(at)
    }

    /// From now on reports of that kind are thrown away.
    pub(crate) fn ignore(&mut self, kind: &'static str) {
        self.ignored.push(kind);
        self.reports.retain(|report| report["report"] != kind);
    }

    fn hear(&mut self, by: Instant) -> Result<()> {
        match self.lines.recv_timeout(by.saturating_duration_since(Instant::now())) {
            Ok(line) => self.keep(line),
            Err(RecvTimeoutError::Timeout) => {
                let other: Vec<_> = self.reports.iter().map(Value::to_string).collect();
                Err(anyhow!("nothing came for {} s; other reports: [{}]", soon().as_secs(), other.join(", ")))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.wait()?;
                Err(anyhow!("the driver has ended, {status}"))
            }
        }
    }

    fn keep(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Report(report) if self.ignored.iter().any(|kind| report["report"] == *kind) => {}
            Line::Report(report) => self.reports.push_back(report),
            Line::Garbage(text) => bail!("the driver printed what is no report: {text:?}"),
        }
        Ok(())
    }

    /// Ends it by the end of its stdin; nothing may be left that nobody has taken.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.stdin = None;
        let status = self.wait().context("the driver was told to end, by the end of its stdin")?;
        ensure!(status.success(), "the driver ended with {status}");
        while let Ok(line) = self.lines.recv() {
            self.keep(line)?;
        }
        let rest =
            self.reports.iter().filter(|report| !OPTIONAL.iter().any(|kind| report["report"] == *kind));
        let rest: Vec<_> = rest.map(Value::to_string).collect();
        ensure!(rest.is_empty(), "these reports should not have come: {}", rest.join(", "));
        Ok(())
    }

    /// What else is to be said of it where a case has failed: reports that nobody has taken, garbage, its end.
    pub(crate) fn remarks(&mut self) -> String {
        let mut remarks = vec![];
        while let Ok(line) = self.lines.try_recv() {
            if let Err(error) = self.keep(line) {
                remarks.push(error.to_string());
            }
        }
        if let Ok(Some(status)) = lock(&self.child).try_wait() {
            remarks.push(format!("the driver has ended, {status}"));
        }
        let shown = self.reports.iter().take(5).map(|report| {
            let text = report.to_string();
            let cut: String = text.chars().take(300).collect();
            format!("it reported {cut}")
        });
        remarks.extend(shown);
        remarks.join("; ")
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let by = Instant::now() + ENDING;
        loop {
            if let Some(status) = lock(&self.child).try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < by, "the driver does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it wrote to stderr, the end of it.
    pub(crate) fn stderr(&self) -> String {
        let kept = lock(&self.stderr);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already, which is no error here.
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
        drop(child);
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Fails unless all these fields are there with these values.
pub(crate) fn like(report: &Value, fields: &Value) -> Result<()> {
    let Value::Object(fields) = fields else { bail!("{fields} has no fields") };
    for (name, value) in fields {
        let found = report.get(name).unwrap_or(&Value::Null);
        ensure!(found == value, "{name} should be {value} in {report}");
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command.
pub(crate) fn command(what: &str, fields: Value) -> Value {
    let mut command = json!({ "do": what });
    if let (Value::Object(all), Value::Object(fields)) = (&mut command, fields) {
        all.extend(fields);
    }
    command
}
