//! The server as a program.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tagwire_server::{Config, Server, bind, raise_descriptor_limit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// Serves the game whose messages are in proto/: lets players in, and carries their messages as the schema says.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  tagwire-server\n  tagwire-server --listen 127.0.0.1:0 --log debug\n  \
                  tagwire-server --listen 0.0.0.0:7777 --allow-public-dev-auth\n\n\
                  What a flag does not say, its environment variable says, then the file, then the default.\n\
                  Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed while running, 2 bad flag, file or address."
)]
struct Args {
    /// Address to listen on, once for each; port 0 picks a free one [default: 127.0.0.1:7777]
    #[arg(long, value_name = "ADDR", env = "TAGWIRE_LISTEN", value_delimiter = ',')]
    listen: Vec<SocketAddr>,

    /// Settings in TOML
    #[arg(long, value_name = "FILE", env = "TAGWIRE_CONFIG")]
    config: Option<PathBuf>,

    /// Threads that carry connections; 0: as many as cores [default: 0]
    #[arg(long, value_name = "N", env = "TAGWIRE_THREADS")]
    threads: Option<usize>,

    /// What to log: error, warn, info, debug, trace, or a filter of the crate tracing-subscriber
    #[arg(long, value_name = "LEVEL", env = "TAGWIRE_LOG", default_value = "info")]
    log: String,

    /// Admit development passwords on addresses that others can reach
    #[arg(long, env = "TAGWIRE_ALLOW_PUBLIC_DEV_AUTH")]
    allow_public_dev_auth: bool,
}

impl Args {
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::from_file(path)?,
            None => Config::default(),
        };
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if let Some(threads) = self.threads {
            config.threads = threads;
        }
        config.dev_auth.allow_public |= self.allow_public_dev_auth;
        config.validate()?;
        Ok(config)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match start(&args) {
        Ok(running) => match running() {
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

/// Everything that the user can get wrong; what is returned then runs the server.
fn start(args: &Args) -> anyhow::Result<impl FnOnce() -> anyhow::Result<()>> {
    let config = args.config()?;
    let filter = EnvFilter::try_new(&args.log).map_err(|error| {
        anyhow::anyhow!("--log {}: {error}\n  fix: use error, warn, info, debug or trace", args.log)
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match config.threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        0 => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        threads => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?
        }
    };
    let listeners = {
        let _inside = runtime.enter();
        config.listen.iter().map(|address| bind(*address)).collect::<Result<Vec<_>, _>>()?
    };
    let mut signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    Ok(move || {
        match raise_descriptor_limit() {
            Ok(limit) => {
                info!("up to {} sockets", limit.map_or("any number of".to_string(), |n| n.to_string()))
            }
            Err(error) => warn!("the number of sockets stays as it is: {error}"),
        }
        let schema = tagwire::pb::schema();
        info!("schema {} with {} messages", schema.fingerprint(), schema.messages().len());
        warn!("development passwords: every name is everybody's");
        let stop = async move {
            tokio::select! {
                _ = signals.0.recv() => {}
                _ = signals.1.recv() => {}
            }
        };
        runtime.block_on(Server::new(config, schema).serve(listeners, stop))?;
        Ok(())
    })
}
