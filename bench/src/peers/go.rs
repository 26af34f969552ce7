//! A server in Go as many classic game servers are written (`bench/peers/go`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Feature, Peer, Setup, made};
use crate::dialect::plain::Plain;
use crate::dialect::{Dialect, Seat};

/// It.
#[derive(Debug, Default)]
pub struct Go {
    version: String,
    server: PathBuf,
}

impl Peer for Go {
    fn name(&self) -> &'static str {
        "go"
    }

    fn about(&self) -> String {
        format!(
            "{}, google.golang.org/protobuf 1.36: the classic style, a goroutine per client, two reads a message, a write per message \
             and receiver, rooms under sync.RWMutex; TCP_NODELAY, GOMAXPROCS = threads",
            if self.version.is_empty() { "Go" } else { &self.version }
        )
    }

    fn can(&self, feature: Feature) -> bool {
        match feature {
            Feature::All | Feature::Rooms | Feature::Ping | Feature::Request => true,
            // Steps of a slow reader are neither dropped nor replaced: it holds up its room.
            Feature::Latest | Feature::Tick | Feature::Checks | Feature::Resume => false,
        }
    }

    fn prepare(&mut self, home: &Path, target: &Path) -> anyhow::Result<()> {
        let go = made::find("go", "Go 1.23 or newer (https://go.dev/dl)")?;
        let said = made::output(Command::new(&go).args(["env", "GOVERSION"]))?;
        self.version = said.replacen("go", "Go ", 1);

        let source = home.join("peers/go");
        let folder = std::path::absolute(target)?.join("peer-go");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        self.server = folder.join("server");
        let want = made::inputs(&source, &said)?;
        if !(made::fresh(&folder, &want) && self.server.exists()) {
            // No C: nothing in it needs any, and a compiler of it may be missing.
            made::output(
                Command::new(&go)
                    .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"])
                    .arg(&self.server)
                    .arg(".")
                    .env("CGO_ENABLED", "0")
                    .current_dir(&source),
            )?;
            made::remember(&folder, &want)?;
        }
        Ok(())
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.server);
        command.args(["-port", &setup.port.to_string()]).env("GOMAXPROCS", setup.threads.to_string());
        if let Some(ms) = setup.ping_ms {
            command.args(["-ping", &format!("{ms}ms")]);
        }
        Ok(command)
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        Box::new(Plain::new(seat))
    }
}
