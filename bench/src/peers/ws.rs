//! Node's `ws`: what most write who write a game's server in JavaScript. The server is `peers/ws`.

use std::path::Path;
use std::process::Command;

use super::node::Node;
use super::{Feature, Peer, Setup};
use crate::dialect::plain::Plain;
use crate::dialect::websocket::WebSocket;
use crate::dialect::{Dialect, Seat};

/// The server, and its clients: frames of the plain wire in messages of a WebSocket.
#[derive(Debug)]
pub struct Ws(Node);

impl Default for Ws {
    fn default() -> Self {
        Ws(Node::new("ws", include_str!("../../peers/ws/package.json")))
    }
}

impl Peer for Ws {
    fn name(&self) -> &'static str {
        "ws"
    }

    fn about(&self) -> String {
        let versions = self.0.versions();
        format!(
            "{versions}; a message is decoded, encoded once and sent to each; no compression, UTF-8 is not checked"
        )
    }

    fn can(&self, feature: Feature) -> bool {
        // `Latest` goes through, and nothing is ever replaced.
        matches!(feature, Feature::All | Feature::Rooms | Feature::Ping | Feature::Request)
    }

    fn prepare(&mut self, home: &Path, _target: &Path) -> anyhow::Result<()> {
        self.0.prepare(home)
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        self.0.command(setup)
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        Box::new(WebSocket::new(Box::new(Plain::new(seat)), "/", None))
    }
}
