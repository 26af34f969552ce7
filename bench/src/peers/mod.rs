//! The servers that are compared: how each is made ready and started, and what it can do.

pub mod limit;
pub mod tagwire;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dialect::{Dialect, Seat};

/// What a peer needs to know of a run before it starts.
#[derive(Debug, Clone)]
pub struct Setup {
    /// A free port of 127.0.0.1 to listen on.
    pub port: u16,
    /// A folder of this run, empty, for files of its own.
    pub folder: PathBuf,
    /// Threads, where it can choose: 1, or as many as there are cores.
    pub threads: usize,
    /// How many clients come.
    pub connections: usize,
    /// It collects what is sent to a room for so long; `None`: it does not.
    pub tick_ms: Option<u64>,
    /// It pings each client so often; `None`: as it does by itself.
    pub ping_ms: Option<u64>,
    /// The largest body, bytes.
    pub body_bytes: usize,
}

/// What a workload asks of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// [`crate::dialect::Say::All`].
    All,
    /// [`crate::dialect::Say::Others`] and `Step`, in rooms.
    Rooms,
    /// Collecting by a tick.
    Tick,
    /// Constraints are checked.
    Checks,
    /// Pings that the client answers.
    Ping,
    /// [`crate::dialect::Say::Request`].
    Request,
    /// [`crate::dialect::Say::Latest`].
    Latest,
    /// Sessions that are opened again.
    Resume,
    /// More than one thread.
    Threads,
}

/// A server that can be measured.
pub trait Peer {
    /// As on the command line and in tables.
    fn name(&self) -> &'static str;

    /// One line for the reader: what it is, version, and the settings that make it fast.
    fn about(&self) -> String;

    /// What it can do; what it cannot is left out, and said.
    fn can(&self, feature: Feature) -> bool;

    /// Builds or finds it, once before all rounds. `home` is the folder of this package, `target` one for what is built.
    ///
    /// # Errors
    /// It is missing: why, and what installs it. The run goes on without it.
    fn prepare(&mut self, home: &Path, target: &Path) -> anyhow::Result<()>;

    /// What starts it. It listens as soon as it can; its output is in the log of the run.
    ///
    /// # Errors
    /// A file of its settings cannot be written.
    fn command(&self, setup: &Setup) -> anyhow::Result<Command>;

    /// A client of it.
    fn client(&self, seat: &Seat) -> Box<dyn Dialect>;
}

/// A program of this package: beside the running one.
///
/// # Errors
/// It was not built: the command that builds it.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let mut folder = own.parent().unwrap_or(Path::new("."));
    // Tests run from a folder below.
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap_or(folder);
    }
    let program = folder.join(name);
    anyhow::ensure!(
        program.is_file(),
        "{} is missing; build it: cargo build --release -p tagwire-bench --bins",
        program.display()
    );
    Ok(program)
}
