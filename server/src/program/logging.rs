//! The program's log, on standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, Stderr, stderr};

use tracing::error;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::format::{Clock, Human};
use super::lines::Lines;
use crate::config::{LogFormat, log_filter};

/// What the log shows, while the program runs.
pub(super) struct Level(reload::Handle<EnvFilter, Registry>);

/// Starts the log. What a panic says is a line of it. The lines are each written at once until they have a keeper.
pub(super) fn init(filter: &str, format: LogFormat) -> anyhow::Result<(Level, Lines<Stderr>)> {
    let (filter, handle) = reload::Layer::new(read(filter)?);
    let lines = Lines::new(stderr());
    let layer = fmt::layer().with_ansi(stderr().is_terminal()).with_writer(lines.clone());
    let layer = match format {
        LogFormat::Human => layer.event_format(Human::new(Clock)).boxed(),
        LogFormat::Json => layer.json().with_target(false).with_timer(Clock).flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).init();
    std::panic::set_hook(Box::new(|panic| {
        // Empty unless RUST_BACKTRACE asks for it.
        let trace = Backtrace::capture();
        match trace.status() {
            BacktraceStatus::Captured => error!("{panic}\n{trace}"),
            _ => error!("{panic}"),
        }
    }));
    Ok((Level(handle), lines))
}

impl Level {
    pub(super) fn set(&self, filter: &str) -> anyhow::Result<()> {
        Ok(self.0.reload(read(filter)?)?)
    }
}

fn read(filter: &str) -> anyhow::Result<EnvFilter> {
    log_filter(filter).map_err(anyhow::Error::msg)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::{Command, abort};

    use tokio::runtime;
    use tracing::info;

    use super::*;

    /// The log is the process's.
    #[test]
    #[ignore = "run by the test below, in a process of its own"]
    fn panics_and_crashes() {
        let (_level, lines) = init("info", LogFormat::Human).unwrap();
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        runtime.spawn(lines.keep());
        let crashes = runtime.spawn(async {
            info!("before");
            assert!(std::panic::catch_unwind(|| panic!("on purpose")).is_err());
            // Nothing else has a turn.
            abort();
        });
        runtime.block_on(crashes).unwrap();
    }

    #[test]
    fn a_panic_is_logged_at_once_behind_what_was_said_before() {
        let mut this = Command::new(std::env::current_exe().unwrap());
        this.args(["--exact", "program::logging::tests::panics_and_crashes", "--ignored", "--nocapture"]);
        let output = this.env_remove("RUST_BACKTRACE").output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        let (before, panic) = log.split_once('\n').unwrap();
        assert!(before.ends_with("Z  INFO before"), "{log}");
        assert!(panic.contains("Z ERROR panicked at ") && panic.contains("on purpose"), "{log}");
        assert!(!output.status.success());
    }
}
