//! A server as a program: its command line, its log, its signals.

mod args;
mod format;
mod lines;
mod logging;
mod users;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use args::{Args, Command};
use logging::Level;
use tagwire::Schema;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use crate::config::{Config, Loaded, Sources};
use crate::control::Control;
use crate::dynamic::read_schema;
use crate::listener::{bind, raise_descriptor_limit};
use crate::metrics::Metrics;
use crate::server::Server;
use crate::web;

/// So long may code of a game that blocks go on when everything else has stopped.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(1);

/// The whole of a game's `main`: reads the command line and the settings, starts the log, and serves the messages of
/// `schema` with what `game` adds, until SIGTERM or SIGINT.
///
/// ```no_run
/// # use tagwire::pb::schema;
/// fn main() -> std::process::ExitCode {
///     tagwire_server::run(schema(), |server| server)
/// }
/// ```
///
/// Exit codes: 0, it was stopped; 1, it failed while it ran; 2, a flag, a variable, a file or an address is wrong.
pub fn run(schema: Schema, game: impl FnOnce(Server) -> Server) -> ExitCode {
    let mut args = Args::read();
    let running = match args.command.take() {
        Some(Command::Users(users)) => users::run(users, args).map(|()| None),
        None if args.print_config => print(args).map(|()| None),
        None => start(args, schema, game).map(Some),
    };
    match running {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(running)) => match running() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn print(args: Args) -> anyhow::Result<()> {
    let Loaded { config, warnings, .. } = args.sources()?.load()?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    match io::stdout().write_all(config.to_commented_toml().as_bytes()) {
        // Who reads no further has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Everything that the user can get wrong; what is returned then runs the server.
fn start(
    args: Args,
    compiled: Schema,
    game: impl FnOnce(Server) -> Server,
) -> anyhow::Result<impl FnOnce() -> anyhow::Result<()>> {
    let sources = args.sources()?;
    let Loaded { config, warnings, file, .. } = sources.load()?;
    if let Some(file) = file {
        web::hides(&config.web, &file)?;
    }
    let schema = match config.schema.as_str() {
        "" => compiled,
        path => read_schema(Path::new(path))?,
    };
    let (level, lines) = logging::init(&config.log, config.log_format)?;
    for warning in warnings {
        warn!("{warning}");
    }
    let runtime = match config.threads {
        1 => runtime::Builder::new_current_thread().enable_all().build()?,
        0 => runtime::Builder::new_multi_thread().enable_all().build()?,
        threads => runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?,
    };
    let (listeners, mut terminate, mut interrupt, hangup, user1) = {
        let _inside = runtime.enter();
        let listeners = config.listen.iter().map(|address| bind(*address)).collect::<Result<Vec<_>, _>>()?;
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (hangup, user1) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
        (listeners, terminate, interrupt, hangup, user1)
    };
    info!("schema {} with {} messages", schema.fingerprint(), schema.messages().len());
    let server = game(Server::new(config.clone(), schema));
    server.check()?;
    Ok(move || {
        match raise_descriptor_limit() {
            Ok(Some(descriptors)) if descriptors < config.limits.max_connections as u64 => warn!(
                "the system lets this process have {descriptors} descriptors, fewer than limits.max_connections = {}; \
                 the rest will wait outside\n  fix: ulimit -n, or LimitNOFILE= of the service",
                config.limits.max_connections
            ),
            Ok(_) => {}
            Err(error) => warn!("the number of descriptors stays as it is: {error}"),
        }
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        server.metrics().count_panics();
        runtime.spawn(lines.keep());
        runtime.spawn(count(user1, server.metrics()));
        runtime.spawn(reload(hangup, sources, config, level, server.control()));
        let served = runtime.block_on(server.serve(listeners, stop));
        // A login that is judged by something that hangs does not keep the program up.
        runtime.shutdown_timeout(BLOCKING_TIMEOUT);
        Ok(served?)
    })
}

/// Reads the settings again whenever the signal comes.
async fn reload(mut hangup: Signal, sources: Sources, mut config: Config, level: Level, control: Control) {
    while hangup.recv().await.is_some() {
        let new = match sources.load() {
            Ok(loaded) => loaded.config,
            Err(error) => {
                error!("the settings stay as they are: {error}");
                continue;
            }
        };
        if let Err(error) = level.set(&new.log) {
            error!("the log stays as it is: {error}");
        }
        for change in config.changes(&new).iter().filter(|change| change.is_live()) {
            info!("{change}");
        }
        // Users and keys are read, too, which takes longer than a thread that carries connections has.
        let (taken, settings) = (control.clone(), new.clone());
        let restart = match spawn_blocking(move || taken.reload(settings)).await {
            Ok(restart) => restart,
            Err(error) => {
                error!("the settings stay as they are: {error}");
                continue;
            }
        };
        if !restart.is_empty() {
            warn!("changed, and in force after a restart: {}", restart.join(", "));
        }
        info!("settings read again");
        config = new;
    }
}

/// Logs what is counted whenever the signal comes.
async fn count(mut user1: Signal, metrics: Arc<Metrics>) {
    while user1.recv().await.is_some() {
        info!("counted: {}", metrics.line());
    }
}
