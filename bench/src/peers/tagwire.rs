//! The shipped server, with the messages of the workloads (`src/bin/game.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Feature, Peer, Setup, binary};
use crate::dialect::tagwire::Tagwire as Client;
use crate::dialect::{Dialect, Seat};

/// Settings that differ from the defaults: numbers alone, so that all is still counted and compared.
const SETTINGS: [&str; 6] = [
    "default_room=",
    "limits.max_frames_per_second=1000000000",
    "limits.max_bytes_per_second=1000000000",
    "limits.max_room_members=20000",
    "limits.max_rooms=20000",
    "limits.max_room_deliveries_per_second=1000000000",
];

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
}

impl Tagwire {
    /// Over TCP.
    pub fn new(name: &'static str) -> Self {
        Tagwire { name, over: Over::Tcp, program: PathBuf::new() }
    }

    /// The same, over something else.
    pub fn over(&self, over: Over) -> Self {
        Tagwire { over, program: self.program.clone(), ..*self }
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
        self.program = binary("game")?;
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
        Box::new(Client::new(seat))
    }
}
