//! The servers that are compared: how each is made ready and started, and what it can do.

pub mod built;
pub mod colyseus;
pub mod go;
pub mod limit;
mod made;
pub mod mosquitto;
pub mod nats;
mod node;
pub mod python;
pub mod tagwire;
pub mod ws;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dialect::{Dialect, Seat};
use crate::process::Server;

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
    /// It pings each client so often; `None`: as it does by itself.
    pub ping_ms: Option<u64>,
    /// The largest body, bytes.
    pub body_bytes: usize,
}

/// Messages that the next of their sender replaced: a name in what [`Peer::counted`] tells.
pub const CONFLATED: &str = "conflated";

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

    /// What it has counted itself, by name, for the result.
    ///
    /// # Errors
    /// It does not say.
    fn counted(&self, _server: &Server) -> anyhow::Result<Vec<(&'static str, f64)>> {
        Ok(vec![])
    }
}

/// Where the programs of this package are: beside the running one.
///
/// # Errors
/// The system does not say where that is.
pub fn folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_path_buf())
}

/// A program of this package, in `folder`; `flags` of cargo build it besides `--bins`.
///
/// # Errors
/// It was not built: the command that builds it.
fn program(folder: &Path, name: &str, flags: &str) -> anyhow::Result<PathBuf> {
    let program = folder.join(name);
    anyhow::ensure!(
        program.is_file(),
        "{} is missing; build it: cargo build --release -p tagwire-bench --bins{flags}",
        program.display()
    );
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_built_says_what_builds_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let why =
            program(folder.path(), "tonic-server", " --features tonic").expect_err("missing").to_string();
        assert!(why.contains("tonic-server is missing"), "{why}");
        assert!(why.ends_with("cargo build --release -p tagwire-bench --bins --features tonic"), "{why}");
        std::fs::write(folder.path().join("epoll"), "").expect("a file");
        assert_eq!(program(folder.path(), "epoll", "").expect("there"), folder.path().join("epoll"));
    }
}
