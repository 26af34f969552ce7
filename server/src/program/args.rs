//! The command line, the same for the server as shipped and for a game's own.

use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::users::UsersArgs;
use crate::config::{ConfigError, Flag, Sources};

/// PROGRAM stands for the name that it was called by.
const HELP: &str = "\
Examples:
  PROGRAM
  PROGRAM users add zoe --file users.toml     then: --set auth=file --set file_auth.users=users.toml
  PROGRAM --listen 127.0.0.1:0 --log debug
  PROGRAM --schema ../my_game/proto     another game, nothing compiled
  PROGRAM --listen 0.0.0.0:7777 --allow-public-dev-auth
  PROGRAM --tls cert.pem --tls-key key.pem
  PROGRAM --tls self-signed             its fingerprint, for clients to pin, is in the log
  PROGRAM --web my_game/dist            a page for browsers, at http://127.0.0.1:7777/
  PROGRAM --set limits.max_rooms=5 --set default_room=lobby
  TAGWIRE_LIMITS_MAX_ROOMS=5 PROGRAM
  PROGRAM --print-config > tagwire.toml     every key, its meaning, its value

Settings come from the defaults, then the file, then the environment (TAGWIRE_ and the key), then
flags; the later wins. SIGHUP reads them again: log, limits.* and tls.* change at once. SIGUSR1 logs what is counted.
Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed while running, 2 bad flag, variable, file or address.";

/// What else it does than serve.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Change the file of users, for auth = "file"
    Users(UsersArgs),
}

/// Serves a game: lets players in, and carries their messages as its schema says.
#[derive(Debug, Parser)]
#[command(version)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

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

    /// TLS: PEM file with the certificate, or self-signed: one is made, for development
    #[arg(long, value_name = "FILE|self-signed")]
    tls: Option<String>,

    /// PEM file with the certificate's private key [default: it is in the file of the certificate]
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,

    /// Folder of files to show to browsers, on the same port
    #[arg(long, value_name = "DIR")]
    web: Option<String>,

    /// Admit development passwords on addresses that others can reach
    #[arg(long)]
    allow_public_dev_auth: bool,

    /// Any key, as often as you like: limits.max_rooms=5
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// Print the settings that result as a file with comments, and end
    #[arg(long)]
    pub(super) print_config: bool,
}

impl Args {
    /// Of this process. Ends it where they are asked to be explained, or are wrong.
    pub(super) fn read() -> Self {
        let called = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&called).file_stem().and_then(|name| name.to_str()).unwrap_or("tagwire-server");
        let command = Args::command().name(name.to_string()).after_help(HELP.replace("PROGRAM", name));
        Args::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    pub(super) fn sources(self) -> Result<Sources, ConfigError> {
        let mut flags = self.set.iter().map(|text| Flag::set(text)).collect::<Result<Vec<_>, _>>()?;
        let listen = (!self.listen.is_empty()).then(|| self.listen.join(","));
        let allow_public = self.allow_public_dev_auth.then(|| "true".to_string());
        for (name, key, value) in [
            ("--listen", "listen", listen),
            ("--schema", "schema", self.schema),
            ("--threads", "threads", self.threads),
            ("--log", "log", self.log),
            ("--log-format", "log_format", self.log_format),
            ("--tls", "tls.certificate", self.tls),
            ("--tls-key", "tls.key", self.tls_key),
            ("--web", "web", self.web),
            ("--allow-public-dev-auth", "dev_auth.allow_public", allow_public),
        ] {
            flags.extend(value.map(|value| Flag { name: name.to_string(), key: key.to_string(), value }));
        }
        Ok(Sources { file: self.config, environment: std::env::vars_os().collect(), flags })
    }
}
