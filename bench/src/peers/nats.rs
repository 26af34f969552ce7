//! nats-server: what many would take for broadcasting.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Feature, Peer, Setup, made};
use crate::dialect::nats::Nats as Client;
use crate::dialect::{Dialect, Seat};

/// It.
#[derive(Debug, Default)]
pub struct Nats {
    version: String,
    server: PathBuf,
}

impl Peer for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn about(&self) -> String {
        format!(
            "{}: core NATS, a subject per room; no JetStream, no cluster; GOMAXPROCS = threads",
            if self.version.is_empty() { "nats-server" } else { &self.version }
        )
    }

    fn can(&self, feature: Feature) -> bool {
        match feature {
            Feature::All | Feature::Rooms | Feature::Ping => true,
            // A request is answered by another client, never by the server; a slow reader is cut off.
            Feature::Request | Feature::Latest | Feature::Tick | Feature::Checks | Feature::Resume => false,
        }
    }

    fn prepare(&mut self, _home: &Path, _target: &Path) -> anyhow::Result<()> {
        self.server = made::find("nats-server", "Debian: apt-get install nats-server")?;
        // "nats-server: v2.9.10"
        self.version = made::output(Command::new(&self.server).arg("--version"))?.replace(": v", " ");
        Ok(())
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        let mut settings = format!(
            "listen: \"127.0.0.1:{}\"\nmax_connections: {}\nmax_payload: {}\n",
            setup.port,
            setup.connections + 100,
            setup.body_bytes.max(1 << 20)
        );
        if let Some(ms) = setup.ping_ms {
            writeln!(settings, "ping_interval: \"{ms}ms\"")?;
        }
        let path = setup.folder.join("nats.conf");
        fs::write(&path, settings).with_context(|| path.display().to_string())?;
        let mut command = made::unlimited(&self.server);
        command.arg("-c").arg(path).env("GOMAXPROCS", setup.threads.to_string());
        Ok(command)
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        Box::new(Client::new(seat))
    }
}
