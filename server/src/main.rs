//! The server as a program.

mod logging;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use logging::Level;
use tagwire::Schema;
use tagwire_server::metrics::Metrics;
use tagwire_server::{
    Config, ConfigError, Control, Flag, Loaded, Server, Sources, bind, raise_descriptor_limit, read_schema,
};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

/// Serves the game whose messages are in proto/: lets players in, and carries their messages as the schema says.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  tagwire-server\n  tagwire-server --listen 127.0.0.1:0 --log debug\n  \
                  tagwire-server --schema ../my_game/proto     another game, nothing compiled\n  \
                  tagwire-server --listen 0.0.0.0:7777 --allow-public-dev-auth\n  \
                  tagwire-server --set limits.max_rooms=5 --set default_room=lobby\n  \
                  TAGWIRE_LIMITS_MAX_ROOMS=5 tagwire-server\n  \
                  tagwire-server --print-config > tagwire.toml     every key, its meaning, its value\n\n\
                  Settings come from the defaults, then the file, then the environment (TAGWIRE_ and the key), then\n\
                  flags; the later wins. SIGHUP reads them again: log and limits.* change at once. SIGUSR1 logs what is counted.\n\
                  Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed while running, 2 bad flag, variable, file or \
                  address."
)]
struct Args {
    /// Settings in TOML [default: $TAGWIRE_CONFIG, or tagwire.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Address to listen on, once for each; port 0 picks a free one [default: 127.0.0.1:7777]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<String>,

    /// Folder of .proto files, or one file, to serve instead of the schema that was compiled in
    #[arg(long, value_name = "DIR|FILE")]
    schema: Option<String>,

    /// Threads that carry connections; 0: as many as cores [default: 0]
    #[arg(long, value_name = "N")]
    threads: Option<String>,

    /// What to log: error, warn, info, debug, trace, or a filter like info,tagwire_server=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,

    /// How to log: human or json [default: human]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    /// Admit development passwords on addresses that others can reach
    #[arg(long)]
    allow_public_dev_auth: bool,

    /// Any key, as often as you like: limits.max_rooms=5
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// Print the settings that result as a file with comments, and end
    #[arg(long)]
    print_config: bool,
}

impl Args {
    fn sources(self) -> Result<Sources, ConfigError> {
        let mut flags = self.set.iter().map(|text| Flag::set(text)).collect::<Result<Vec<_>, _>>()?;
        let listen = (!self.listen.is_empty()).then(|| self.listen.join(","));
        let allow_public = self.allow_public_dev_auth.then(|| "true".to_string());
        for (name, key, value) in [
            ("--listen", "listen", listen),
            ("--schema", "schema", self.schema),
            ("--threads", "threads", self.threads),
            ("--log", "log", self.log),
            ("--log-format", "log_format", self.log_format),
            ("--allow-public-dev-auth", "dev_auth.allow_public", allow_public),
        ] {
            flags.extend(value.map(|value| Flag { name: name.to_string(), key: key.to_string(), value }));
        }
        Ok(Sources { file: self.config, environment: std::env::vars_os().collect(), flags })
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let running = if args.print_config { print(args).map(|()| None) } else { start(args).map(Some) };
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

/// The schema that the settings name, or the one that was compiled in.
fn schema(config: &Config) -> anyhow::Result<Schema> {
    if config.schema.is_empty() {
        return Ok(tagwire::pb::schema());
    }
    Ok(read_schema(Path::new(&config.schema))?)
}

/// Everything that the user can get wrong; what is returned then runs the server.
fn start(args: Args) -> anyhow::Result<impl FnOnce() -> anyhow::Result<()>> {
    let sources = args.sources()?;
    let Loaded { config, warnings, .. } = sources.load()?;
    let schema = schema(&config)?;
    let level = logging::init(&config.log, config.log_format)?;
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
        info!("schema {} with {} messages", schema.fingerprint(), schema.messages().len());
        warn!("development passwords: every name is everybody's");
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let server = Server::new(config.clone(), schema);
        server.metrics().count_panics();
        runtime.spawn(count(user1, server.metrics()));
        runtime.spawn(reload(hangup, sources, config, level, server.control()));
        runtime.block_on(server.serve(listeners, stop))?;
        Ok(())
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
        let restart = control.reload(new.clone());
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
