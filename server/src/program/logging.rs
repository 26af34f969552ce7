//! The program's log, on standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, stderr};

use tracing::error;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{LogFormat, log_filter};

/// What the log shows, while the program runs.
pub(super) struct Level(reload::Handle<EnvFilter, Registry>);

/// Starts the log. What a panic says is a line of it.
pub(super) fn init(filter: &str, format: LogFormat) -> anyhow::Result<Level> {
    let (filter, handle) = reload::Layer::new(read(filter)?);
    let lines = fmt::layer().with_target(false).with_ansi(stderr().is_terminal()).with_writer(stderr);
    let lines = match format {
        LogFormat::Human => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    std::panic::set_hook(Box::new(|panic| {
        // Empty unless RUST_BACKTRACE asks for it.
        let trace = Backtrace::capture();
        match trace.status() {
            BacktraceStatus::Captured => error!("{panic}\n{trace}"),
            _ => error!("{panic}"),
        }
    }));
    Ok(Level(handle))
}

impl Level {
    pub(super) fn set(&self, filter: &str) -> anyhow::Result<()> {
        Ok(self.0.reload(read(filter)?)?)
    }
}

fn read(filter: &str) -> anyhow::Result<EnvFilter> {
    log_filter(filter).map_err(anyhow::Error::msg)
}
