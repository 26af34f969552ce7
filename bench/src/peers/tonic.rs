//! gRPC as one would use it for a game with tonic (`src/bin/tonic.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::naive::{built, command};
use super::{Feature, Peer, Setup};
use crate::dialect::grpc::Grpc;
use crate::dialect::{Dialect, Seat};

/// `tonic`.
#[derive(Debug)]
pub struct Tonic {
    folder: PathBuf,
}

impl Tonic {
    /// Its program lies in `folder`: that of the program that asks, where cargo built both.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Tonic { folder: folder.into() }
    }
}

impl Peer for Tonic {
    fn name(&self) -> &'static str {
        "tonic"
    }

    fn about(&self) -> String {
        "tonic 0.14.9 (gRPC; hyper, h2, prost): a stream both ways a client, a unary method for requests, a bounded channel a client; HTTP/2 \
         without TLS, windows of 16 MiB, TCP_NODELAY, a backlog of 4096, no compression; pings are HTTP/2's, after silence; current_thread at one thread, \
         else multi_thread"
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
        built(&self.folder.join("tonic-server"), "--features tonic --bin tonic-server")
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        Ok(command(&self.folder.join("tonic-server"), setup))
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        Box::new(Grpc::new(seat))
    }
}
