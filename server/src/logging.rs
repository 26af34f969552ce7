//! The program's log, on standard error.

use std::io::{IsTerminal, stderr};

use tagwire_server::{LogFormat, log_filter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// What the log shows, while the program runs.
pub(crate) struct Level(reload::Handle<EnvFilter, Registry>);

/// Starts the log.
pub(crate) fn init(filter: &str, format: LogFormat) -> anyhow::Result<Level> {
    let (filter, handle) = reload::Layer::new(read(filter)?);
    let lines = fmt::layer().with_target(false).with_ansi(stderr().is_terminal()).with_writer(stderr);
    let lines = match format {
        LogFormat::Human => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(Level(handle))
}

impl Level {
    pub(crate) fn set(&self, filter: &str) -> anyhow::Result<()> {
        Ok(self.0.reload(read(filter)?)?)
    }
}

fn read(filter: &str) -> anyhow::Result<EnvFilter> {
    log_filter(filter).map_err(anyhow::Error::msg)
}
