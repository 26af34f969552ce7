//! The shipped server, with the messages of the workloads (`src/bin/game.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::Signal;
use rustls::ClientConfig;

use super::{CONFLATED, Feature, Peer, Setup, folder, program};
use crate::dialect::tagwire::Tagwire as Client;
use crate::dialect::tls::{self, Tls};
use crate::dialect::websocket::WebSocket;
use crate::dialect::{Dialect, Seat};
use crate::process::Server;

/// Settings that differ from the defaults. Limits stay on, with other numbers; a login leads to no room, for in one room each of
/// thousands would be told of all the others.
const SETTINGS: [&str; 7] = [
    "default_room=",
    "classic=false",
    "limits.max_frames_per_second=1000000000",
    "limits.max_bytes_per_second=1000000000",
    "limits.max_room_members=20000",
    "limits.max_rooms=20000",
    "limits.max_room_deliveries_per_second=1000000000",
];

/// What the line in the log begins with that SIGUSR1 asks for.
const COUNTED: &str = "counted: ";
/// So long may it take until it is there.
const TOLD: Duration = Duration::from_secs(5);
/// How often that is looked at.
const RETRY: Duration = Duration::from_millis(5);

/// What carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A TCP connection.
    Tcp,
    /// A WebSocket.
    WebSocket,
    /// TLS 1.3.
    Tls,
}

/// The server with its defaults.
#[derive(Debug)]
pub struct Tagwire {
    name: &'static str,
    over: Over,
    program: PathBuf,
    tls: Option<Arc<ClientConfig>>,
}

impl Tagwire {
    /// Over TCP.
    pub fn new(name: &'static str) -> Self {
        Tagwire { name, over: Over::Tcp, program: PathBuf::new(), tls: None }
    }

    /// Over something else.
    pub fn over(name: &'static str, over: Over) -> Self {
        Tagwire { over, ..Tagwire::new(name) }
    }
}

impl Peer for Tagwire {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> String {
        format!(
            "tagwire-server {} with the messages of the workloads; login, checks, limits and counters on; besides the defaults: \
             threads, {}",
            env!("CARGO_PKG_VERSION"),
            SETTINGS.join(", ")
        )
    }

    fn can(&self, _: Feature) -> bool {
        true
    }

    fn prepare(&mut self, _: &Path, _: &Path) -> anyhow::Result<()> {
        self.program = program(&folder()?, "game", "")?;
        self.tls = Some(tls::config()?);
        Ok(())
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.program);
        // Where no settings file is, so that none of the user's is found.
        command.current_dir(&setup.folder);
        command.args(["--listen", &format!("127.0.0.1:{}", setup.port)]);
        command.args(["--set", &format!("threads={}", setup.threads)]);
        for setting in SETTINGS {
            command.args(["--set", setting]);
        }
        if self.over == Over::Tls {
            command.args(["--tls", "self-signed"]);
        }
        Ok(command)
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        let client = Box::new(Client::new(seat));
        match (self.over, &self.tls) {
            (Over::Tls, Some(config)) => {
                let tls = Tls::new(client, Arc::clone(config));
                Box::new(tls.expect("the name of the server is a constant"))
            }
            (Over::WebSocket, _) => Box::new(WebSocket::tagwire(client)),
            _ => client,
        }
    }

    fn counted(&self, server: &Server) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let lines = |log: &str| log.lines().filter(|line| line.contains(COUNTED)).count();
        let before = lines(&server.log());
        server.signal(Signal::USR1)?;
        let end = Instant::now() + TOLD;
        loop {
            let log = server.log();
            if lines(&log) > before
                && let Some(counted) = counters(&log)
            {
                return Ok(counted);
            }
            ensure!(Instant::now() < end, "the server does not log what it counted");
            sleep(RETRY);
        }
    }
}

/// What is told of the counters that SIGUSR1 has logged: messages that the next of the same sender replaced. What never happened is not
/// in the log.
fn counters(log: &str) -> Option<Vec<(&'static str, f64)>> {
    // Its last newline is written with the line.
    let line = log.lines().rev().find(|line| line.contains(COUNTED))?;
    log.ends_with('\n').then_some(())?;
    let value = |name: &str| -> f64 {
        let of = |word: &str| word.split_once('=').filter(|(key, _)| *key == name)?.1.parse().ok();
        line.split(' ').find_map(of).unwrap_or(0.0)
    };
    Some(vec![(CONFLATED, value("tagwire_messages_conflated_total"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_when_the_line_is_whole() {
        let line = "INFO counted: x=1 tagwire_messages_conflated_total=41";
        assert_eq!(counters(line), None);
        assert_eq!(counters(&format!("{line}7\n")), Some(vec![("conflated", 417.0)]));
        assert_eq!(counters("INFO counted: x=1\n"), Some(vec![("conflated", 0.0)]));
        assert_eq!(counters("INFO listening\n"), None);
    }
}
