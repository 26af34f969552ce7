//! A server in Python as one writes it when speed matters (`bench/peers/python`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::{Feature, Peer, Setup, made};
use crate::dialect::plain::Plain;
use crate::dialect::{Dialect, Seat};

/// It.
#[derive(Debug, Default)]
pub struct Python {
    version: String,
    server: PathBuf,
    python: PathBuf,
}

impl Peer for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    fn about(&self) -> String {
        format!(
            "{}, asyncio.Protocol on uvloop 0.23, protobuf 7.36 (upb), a write per message and receiver (uvloop gathers those of a \
             turn); TCP_NODELAY, one thread",
            if self.version.is_empty() { "Python" } else { &self.version }
        )
    }

    fn can(&self, feature: Feature) -> bool {
        match feature {
            Feature::All | Feature::Rooms | Feature::Ping | Feature::Request => true,
            // What a slow reader does not take is kept, without a bound.
            Feature::Latest | Feature::Tick | Feature::Checks | Feature::Resume => false,
        }
    }

    fn prepare(&mut self, home: &Path, target: &Path) -> anyhow::Result<()> {
        let python = made::find("python3", "Python 3.10 or newer (Debian: apt-get install python3-venv)")?;
        self.version = made::output(Command::new(&python).arg("--version"))?;
        let new = "import sys; print(sys.version_info >= (3, 10))";
        if made::output(Command::new(&python).args(["-c", new]))? != "True" {
            bail!("{} is too old; Python 3.10 or newer is needed as python3", self.version);
        }

        let source = std::path::absolute(home)?.join("peers/python");
        self.server = source.join("server.py");
        let pins = source.join("requirements.txt");
        let folder = std::path::absolute(target)?.join("peer-python");
        let environment = folder.join("venv");
        self.python = environment.join("bin/python");
        let pinned = fs::read_to_string(&pins).with_context(|| pins.display().to_string())?;
        let want = format!("{} {}\n{pinned}", self.version, environment.display());
        if !(made::fresh(&folder, &want) && self.python.exists()) {
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            made::output(Command::new(&python).args(["-m", "venv", "--clear"]).arg(&environment)).context(
                "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)",
            )?;
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
            made::output(Command::new(&self.python).args(pip).arg(&pins))?;
            made::remember(&folder, &want)?;
        }
        Ok(())
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.python);
        // `-B`: nothing is written beside the sources.
        command.arg("-B").arg(&self.server).args(["--port", &setup.port.to_string()]);
        if let Some(ms) = setup.ping_ms {
            command.args(["--ping-ms", &ms.to_string()]);
        }
        Ok(command)
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        Box::new(Plain::new(seat))
    }
}
