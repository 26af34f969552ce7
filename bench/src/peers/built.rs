//! The servers in Rust that were written for the comparison: programs of this package, which cargo builds with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Feature, Peer, Setup, program};
use crate::dialect::grpc::Grpc;
use crate::dialect::plain::Plain;
use crate::dialect::{Dialect, Seat};

/// One of them.
#[derive(Debug)]
pub struct Built {
    name: &'static str,
    about: &'static str,
    /// Of `src/bin`, and with which flags of cargo besides `--bins` it is built.
    program: (&'static str, &'static str),
    folder: PathBuf,
    client: fn(&Seat) -> Box<dyn Dialect>,
}

/// The server that one writes first with tokio (`src/bin/naive.rs`): what the rules of the shipped one are worth. Its program lies in
/// `folder`: that of the program that asks, where cargo built both.
pub fn naive(folder: impl Into<PathBuf>) -> Built {
    Built {
        name: "naive",
        about: "a first server with tokio 1: two tasks a client, tokio_util's Framed, prost decodes and encodes again for each receiver, \
                an mpsc channel a client, a flush a message, a timer a client; TCP_NODELAY; current_thread at one thread, else multi_thread",
        program: ("naive", ""),
        folder: folder.into(),
        client: |seat| Box::new(Plain::new(seat)),
    }
}

/// gRPC as one would use it for a game with tonic (`src/bin/tonic.rs`), likewise.
pub fn tonic(folder: impl Into<PathBuf>) -> Built {
    Built {
        name: "tonic",
        about: "tonic 0.14.9 (gRPC; hyper, h2, prost): a stream both ways a client, a unary method for requests, a bounded channel a client; \
                HTTP/2 without TLS, windows of 16 MiB, TCP_NODELAY, a backlog of 4096, no compression; pings are HTTP/2's, after silence; \
                current_thread at one thread, else multi_thread",
        program: ("tonic-server", " --features tonic"),
        folder: folder.into(),
        client: |seat| Box::new(Grpc::new(seat)),
    }
}

impl Peer for Built {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> String {
        self.about.to_owned()
    }

    fn can(&self, feature: Feature) -> bool {
        match feature {
            Feature::All | Feature::Rooms | Feature::Ping | Feature::Request | Feature::Latest => true,
            Feature::Tick | Feature::Checks | Feature::Resume => false,
        }
    }

    fn prepare(&mut self, _home: &Path, _target: &Path) -> anyhow::Result<()> {
        program(&self.folder, self.program.0, self.program.1).map(drop)
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        let mut command = Command::new(self.folder.join(self.program.0));
        command.args(["--port", &setup.port.to_string(), "--threads", &setup.threads.to_string()]);
        if let Some(ping_ms) = setup.ping_ms {
            command.args(["--ping-ms", &ping_ms.to_string()]);
        }
        Ok(command)
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        (self.client)(seat)
    }
}
