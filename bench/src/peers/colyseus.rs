//! Colyseus: a framework for games on Node, with rooms and matchmaking. The server is `peers/colyseus`.

use std::path::Path;
use std::process::Command;

use super::node::Node;
use super::{Feature, Peer, Setup};
use crate::dialect::colyseus::Colyseus as Client;
use crate::dialect::{Dialect, Seat};

/// The server.
#[derive(Debug)]
pub struct Colyseus(Node);

impl Default for Colyseus {
    fn default() -> Self {
        Colyseus(Node::new("colyseus", include_str!("../../peers/colyseus/package.json")))
    }
}

impl Peer for Colyseus {
    fn name(&self) -> &'static str {
        "colyseus"
    }

    fn about(&self) -> String {
        let versions = self.0.versions();
        format!(
            "{versions}; rooms without state or patches, bodies as bytes (broadcastBytes), no compression, UTF-8 is not checked; \
             pings of WebSocket"
        )
    }

    fn can(&self, feature: Feature) -> bool {
        matches!(feature, Feature::All | Feature::Rooms | Feature::Ping | Feature::Request)
    }

    fn prepare(&mut self, home: &Path, _target: &Path) -> anyhow::Result<()> {
        self.0.prepare(home)
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        self.0.command(setup)
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        Box::new(Client::new(seat))
    }
}
