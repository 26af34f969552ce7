//! mosquitto: the MQTT broker that is everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Feature, Peer, Setup, made};
use crate::dialect::mqtt::Mqtt;
use crate::dialect::{Dialect, Seat};

/// It.
#[derive(Debug, Default)]
pub struct Mosquitto {
    version: String,
    server: PathBuf,
}

impl Peer for Mosquitto {
    fn name(&self) -> &'static str {
        "mosquitto"
    }

    fn about(&self) -> String {
        format!(
            "{}: MQTT 5, QoS 0, a topic per room; set_tcp_nodelay, no persistence, no $SYS, queues unbounded; one thread, as always",
            if self.version.is_empty() { "mosquitto" } else { &self.version }
        )
    }

    fn can(&self, feature: Feature) -> bool {
        match feature {
            Feature::All | Feature::Rooms => true,
            // Pings are the client's in MQTT; requests go to other clients.
            Feature::Ping
            | Feature::Request
            | Feature::Latest
            | Feature::Tick
            | Feature::Checks
            | Feature::Resume => false,
        }
    }

    fn prepare(&mut self, _home: &Path, _target: &Path) -> anyhow::Result<()> {
        self.server = made::find("mosquitto", "Debian: apt-get install mosquitto")?;
        // Its help begins with "mosquitto version 2.0.11"; asking for it counts as a failure.
        let help = Command::new(&self.server)
            .arg("-h")
            .output()
            .with_context(|| format!("{} does not start", self.server.display()))?;
        let help = String::from_utf8_lossy(&help.stdout);
        self.version = help.lines().next().unwrap_or("mosquitto").replace("version ", "");
        Ok(())
    }

    fn command(&self, setup: &Setup) -> anyhow::Result<Command> {
        // What was wrong is in the log, nothing else.
        let settings = format!(
            "listener {} 127.0.0.1\n\
             allow_anonymous true\n\
             persistence false\n\
             set_tcp_nodelay true\n\
             max_connections -1\n\
             max_queued_messages 0\n\
             sys_interval 0\n\
             log_dest stderr\n\
             log_type error\n\
             log_type warning\n\
             connection_messages false\n",
            setup.port
        );
        let path = setup.folder.join("mosquitto.conf");
        fs::write(&path, settings).with_context(|| path.display().to_string())?;
        let mut command = made::unlimited(&self.server);
        command.arg("-c").arg(path);
        Ok(command)
    }

    fn client(&self, seat: &Seat) -> Box<dyn Dialect> {
        Box::new(Mqtt::new(seat))
    }
}
