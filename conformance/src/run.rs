//! Runs cases, several at once, each with a process of its own: what one does to its client is nobody else's trouble.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::cases::Case;
use crate::driver::Driver;
use crate::peer::Peer;
use crate::stage::Stage;

/// Longer than any case that goes well.
const CASE_LIMIT: Duration = Duration::from_secs(60);

/// How one case went.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    /// Why it failed. None: it passed.
    pub(crate) failure: Option<String>,
    /// The end of what the driver wrote to stderr, where it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    stderr: String,
}

/// How all went with one client.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// As it calls itself; its command line where it never did.
    client: String,
    /// What its column is called.
    pub(crate) language: String,
    pub(crate) cases: Vec<Outcome>,
    seconds: f64,
}

impl Report {
    /// For tests: what came of these cases.
    #[cfg(test)]
    pub(crate) fn of(language: &str, cases: &[(&'static Case, bool)]) -> Self {
        let outcome = |(case, passed): &(&'static Case, bool)| Outcome {
            group: case.group,
            name: case.name,
            failure: (!passed).then(|| "it failed".into()),
            stderr: String::new(),
        };
        let cases = cases.iter().map(outcome).collect();
        Report { client: language.into(), language: language.into(), cases, seconds: 0.0 }
    }

    pub(crate) fn passed(&self) -> usize {
        self.cases.iter().filter(|outcome| outcome.failure.is_none()).count()
    }
}

/// Runs these cases. Gives one outcome for each, in their order.
pub(crate) fn run(command: &[String], cases: &[&'static Case], server: Option<&str>, jobs: usize) -> Report {
    let began = Instant::now();
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<(usize, Outcome)>> = Mutex::new(vec![]);
    let who: Mutex<Option<(String, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { break };
                    let (outcome, name) = run_one(command, case, server);
                    lock(&outcomes).push((at, outcome));
                    if let Some(name) = name {
                        *lock(&who) = Some(name);
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    outcomes.sort_by_key(|(at, _)| *at);
    let who = lock(&who).take();
    let (client, language) = who.unwrap_or_else(|| (command.join(" "), command.join(" ")));
    Report {
        client,
        language,
        cases: outcomes.into_iter().map(|(_, outcome)| outcome).collect(),
        seconds: began.elapsed().as_secs_f64(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn run_one(command: &[String], case: &Case, server: Option<&str>) -> (Outcome, Option<(String, String)>) {
    let mut outcome = Outcome { group: case.group, name: case.name, failure: None, stderr: String::new() };
    let stage = Driver::start(command).and_then(|driver| {
        let (client, server) = (command.to_vec(), server.map(str::to_owned));
        Ok(Stage { driver, peer: Peer::bind()?, client, server })
    });
    let mut stage = match stage {
        Ok(stage) => stage,
        Err(error) => {
            outcome.failure = Some(format!("{error:#}"));
            return (outcome, None);
        }
    };
    let who = (stage.driver.name.clone(), stage.driver.language.clone());
    // A driver that reads no commands would keep us waiting for ever.
    let watchdog = stage.driver.watch(CASE_LIMIT);
    let played =
        catch_unwind(AssertUnwindSafe(|| (case.run)(&mut stage).and_then(|()| stage.driver.finish())));
    drop(watchdog);
    let result: Result<()> = played.unwrap_or_else(|_| Err(anyhow!("the case itself failed; see above")));
    if let Err(error) = result {
        let remarks = stage.driver.remarks();
        outcome.failure =
            Some(if remarks.is_empty() { format!("{error:#}") } else { format!("{error:#} ({remarks})") });
        outcome.stderr = stage.driver.stderr();
    }
    (outcome, Some(who))
}

/// Says it to people.
pub(crate) fn tell(report: &Report, out: &mut impl Write) -> Result<()> {
    for Outcome { group, name, failure, stderr } in &report.cases {
        if let Some(failure) = failure {
            writeln!(out, "FAILED {group}: {name}: {failure}")?;
            for line in stderr.lines() {
                writeln!(out, "    {line}")?;
            }
        }
    }
    let (passed, all) = (report.passed(), report.cases.len());
    writeln!(out, "{}: {passed} of {all} cases passed, {:.0} s", report.client, report.seconds)?;
    Ok(())
}
