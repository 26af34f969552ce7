//! What may be set, with units and defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use serde::Deserialize;
use tagwire::frame::{DEFAULT_MAX_FRAME_BYTES, MAX_FRAME_BYTES};
use tagwire::session::PEER_TIMEOUT_US;
use tagwire::session::login::MAX_LOGIN_BYTES;
use tagwire::session::outbox::OutboxLimits;

/// The settings of a server. In a file: TOML, keys as the fields here; an unknown key is an error.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen; port 0 picks a free one. Default `["127.0.0.1:7777"]`.
    pub listen: Vec<SocketAddr>,
    /// Threads that carry connections; 0: as many as cores. Default 0.
    pub threads: usize,
    /// Accept, first bytes and login must be done within so many milliseconds. Default 5000.
    pub login_timeout_ms: u64,
    /// A client of this protocol from which nothing came for so many milliseconds is gone. Default 10000, at least 2000: it is pinged once a second.
    pub peer_timeout_ms: u64,
    /// Largest payload of a frame, bytes. Default 65536, at most 16777216 and half of `outbox_max_bytes`.
    pub max_frame_bytes: usize,
    /// Frames that may wait for one session before it counts as too slow. Default 1024.
    pub outbox_max_frames: usize,
    /// Bytes that may wait for one session before it counts as too slow. Default 1048576.
    pub outbox_max_bytes: usize,
    /// A session whose full socket takes nothing for so many milliseconds is too slow. Default 10000.
    pub outbox_max_stuck_ms: u64,
    /// Bytes that the kernel may hold unsent for one session before it refuses more; 0: as many as it likes.
    /// Default 16384. What waits in the kernel can no longer be replaced by something newer.
    pub tcp_notsent_lowat_bytes: u32,
    /// Name of the room that a login leads to. Default "main".
    pub default_room: String,
    /// Members of one room. Default 1000.
    pub max_room_members: usize,
    /// Rooms in all. Default 10000.
    pub max_rooms: usize,
    /// Milliseconds that clients are told to wait before they come back after a shutdown. Default 1000.
    pub shutdown_retry_ms: u32,
    /// One password for every name, while a game is made.
    pub dev_auth: DevAuth,
}

/// One password for every name: nobody is who they say. Printing it does not show the password.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DevAuth {
    /// The password. Default "welcome".
    pub password: String,
    /// Admit it on addresses that others can reach. Default false: the server then refuses to start there.
    pub allow_public: bool,
}

impl fmt::Debug for DevAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevAuth").field("allow_public", &self.allow_public).finish_non_exhaustive()
    }
}

impl Default for DevAuth {
    fn default() -> Self {
        DevAuth { password: "welcome".to_string(), allow_public: false }
    }
}

impl Default for Config {
    fn default() -> Self {
        let outbox = OutboxLimits::default();
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 7777))],
            threads: 0,
            login_timeout_ms: 5000,
            peer_timeout_ms: PEER_TIMEOUT_US / 1000,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            outbox_max_frames: outbox.max_frames,
            outbox_max_bytes: outbox.max_bytes,
            outbox_max_stuck_ms: outbox.max_stuck_us / 1000,
            tcp_notsent_lowat_bytes: 16 * 1024,
            default_room: "main".to_string(),
            max_room_members: 1000,
            max_rooms: 10_000,
            shutdown_retry_ms: 1000,
            dev_auth: DevAuth::default(),
        }
    }
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has an unknown key or a value of the wrong kind; the text shows the line.
    #[error("{path}: {error}", path = path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where, and what is expected.
        error: toml::de::Error,
    },
    /// A value that cannot be.
    #[error("{key} = {value}: {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// Development passwords where strangers could use them.
    #[error(
        "listen = {0}: others can reach this address, and with development passwords every name is everybody's\n  \
         fix: listen on 127.0.0.1 or [::1], or say that you mean it: --allow-public-dev-auth"
    )]
    PublicDevAuth(SocketAddr),
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or understood. Values are judged by [`Config::validate`].
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse { path: path.to_path_buf(), error })
    }

    /// Judges the values.
    ///
    /// # Errors
    /// The first that cannot be, with its key and what it may be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let range = |key, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(ConfigError::Value { key, value: value.to_string(), expected: format!("{least} to {most}") })
        };
        if self.listen.is_empty() {
            let expected = "at least one address, \"127.0.0.1:7777\"".to_string();
            return Err(ConfigError::Value { key: "listen", value: "[]".to_string(), expected });
        }
        range("threads", self.threads, 0, 1024)?;
        range("login_timeout_ms", self.login_timeout_ms as usize, 1, 600_000)?;
        range("peer_timeout_ms", self.peer_timeout_ms as usize, 2000, 600_000)?;
        range("max_frame_bytes", self.max_frame_bytes, MAX_LOGIN_BYTES, MAX_FRAME_BYTES)?;
        range("outbox_max_frames", self.outbox_max_frames, 16, 1 << 20)?;
        range("outbox_max_bytes", self.outbox_max_bytes, 2 * self.max_frame_bytes, 1 << 30)?;
        range("outbox_max_stuck_ms", self.outbox_max_stuck_ms as usize, 1000, 600_000)?;
        range("max_room_members", self.max_room_members, 1, 1 << 20)?;
        range("max_rooms", self.max_rooms, 1, 1 << 20)?;
        tagwire::name::room(&self.default_room).map_err(|error| ConfigError::Value {
            key: "default_room",
            value: format!("{:?}", self.default_room),
            expected: error.to_string(),
        })?;
        match self.listen.iter().find(|a| !a.ip().is_loopback()) {
            Some(public) if !self.dev_auth.allow_public => Err(ConfigError::PublicDevAuth(*public)),
            _ => Ok(()),
        }
    }

    /// The bounds of what waits for one session.
    pub(crate) fn outbox_limits(&self) -> OutboxLimits {
        OutboxLimits {
            max_frames: self.outbox_max_frames,
            max_bytes: self.outbox_max_bytes,
            max_stuck_us: self.outbox_max_stuck_ms * 1000,
            // Nothing is sent again until sessions can be resumed.
            max_kept_bytes: 0,
        }
    }
}
