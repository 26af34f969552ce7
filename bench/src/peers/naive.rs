//! The server that one writes first with tokio (`src/bin/naive.rs`): what the rules of the shipped one are worth.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Feature, Peer, Setup};
use crate::dialect::plain::Plain;
use crate::dialect::{Dialect, Seat};

/// `naive`.
#[derive(Debug)]
pub struct Naive {
    folder: PathBuf,
}

impl Naive {
    /// Its program lies in `folder`: that of the program that asks, where cargo built both.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Naive { folder: folder.into() }
    }
}

impl Peer for Naive {
    fn name(&self) -> &'static str {
        "naive"
    }

    fn about(&self) -> String {
        "a first server with tokio 1: two tasks a client, tokio_util's Framed, prost decodes and encodes again for each receiver, an mpsc \
         channel a client, a flush a message, a timer a client; TCP_NODELAY; current_thread at one thread, else multi_thread"
            .to_owned()
    }

    fn can(&self, feature: Feature) -> bool {
        match feature {
            Feature::All
            | Feature::Rooms
            | Feature::Ping
            | Feature::Request
            | Feature::Latest
            | Feature::Threads => true,
            Feature::Tick | Feature::Checks | Feature::Resume => false,
        }
    }

    fn prepare(&mut self, _home: &Path, _target: &Path) -> anyhow::Result<()> {
        built(&self.folder.join("naive"), "--bin naive")
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        Ok(command(&self.folder.join("naive"), setup))
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        Box::new(Plain::new(seat))
    }
}

/// Whether a program of this package is there; if not, what builds it.
pub(super) fn built(program: &Path, with: &str) -> anyhow::Result<()> {
    std::fs::metadata(program).with_context(|| {
        format!(
            "{} is missing: build it with `cargo build --release -p tagwire-bench {with}`",
            program.display()
        )
    })?;
    Ok(())
}

/// What starts a program of this package.
pub(super) fn command(program: &Path, setup: &Setup) -> Command {
    let mut command = Command::new(program);
    command.args(["--port", &setup.port.to_string(), "--threads", &setup.threads.to_string()]);
    if let Some(ping_ms) = setup.ping_ms {
        command.args(["--ping-ms", &ping_ms.to_string()]);
    }
    command
}
