//! The raw epoll server: the limit.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Feature, Peer, Setup, folder, program};
use crate::dialect::plain::Plain;
use crate::dialect::{Dialect, Seat};

/// `src/bin/epoll.rs`.
#[derive(Debug, Default)]
pub struct Limit {
    program: PathBuf,
}

impl Peer for Limit {
    fn name(&self) -> &'static str {
        "raw epoll"
    }

    fn about(&self) -> String {
        "the limit: one thread, epoll, one read a wakeup, one write a receiver and wakeup; frames and never decodes, checks or limits"
            .to_string()
    }

    fn can(&self, feature: Feature) -> bool {
        matches!(feature, Feature::All | Feature::Rooms | Feature::Ping | Feature::Request | Feature::Latest)
    }

    fn prepare(&mut self, _: &Path, _: &Path) -> anyhow::Result<()> {
        self.program = program(&folder()?, "epoll", "")?;
        Ok(())
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(["--port", &setup.port.to_string()]);
        command.args(["--ping-ms", &setup.ping_ms.unwrap_or(0).to_string()]);
        Ok(command)
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        Box::new(Plain::new(seat))
    }
}
