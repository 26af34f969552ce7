//! What one player, one address or the whole server may use. All of it can be changed while the server runs.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tagwire::frame::{DEFAULT_MAX_FRAME_BYTES, MAX_FRAME_BYTES};
use tagwire::session::PEER_TIMEOUT_US;
use tagwire::session::limits::SessionLimits;
use tagwire::session::login::MAX_LOGIN_BYTES;
use tagwire::session::outbox::OutboxLimits;
use tagwire::session::resume::RESUME_WINDOW_US;

use super::{ValueError, range};

/// What TLS and WebSocket may add to each of the frames that a client may send, bytes: a header and a mask, a record.
const OVERHEAD_OF_FRAME_BYTES: u64 = 64;
/// And to one in so many bytes: a large message comes in many records.
const OVERHEAD_SHARE: u64 = 16;

/// The table `[limits]`. A session keeps those of its beginning; rooms and the server go by the newest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Accept, first bytes and login must be done within so many milliseconds. Default 5000.
    pub login_timeout_ms: u64,
    /// A client of this protocol from which nothing came for so many milliseconds is gone. Default 10000, at least 2000: it is pinged once a second.
    pub peer_timeout_ms: u64,
    /// Largest payload of a frame, bytes. Default 65536, at most 16777216 and half of `outbox_max_bytes` and of
    /// `outbox_max_kept_bytes`.
    pub max_frame_bytes: usize,
    /// Frames that may wait for one session before it counts as too slow. Default 1024.
    pub outbox_max_frames: u32,
    /// Bytes that may wait for one session before it counts as too slow. Default 1048576.
    pub outbox_max_bytes: u32,
    /// A session whose full socket takes nothing for so many milliseconds is too slow. Default 10000.
    pub outbox_max_stuck_ms: u32,
    /// Bytes that are kept of what was written to one session and not acknowledged, to be written again when it comes back.
    /// Default 262144, at least twice `max_frame_bytes`.
    pub outbox_max_kept_bytes: u32,
    /// So many milliseconds a session outlives a lost connection. Default 60000; 0: it does not.
    pub resume_window_ms: u64,
    /// Sockets in all, logged in or not, and sessions without one. Default 20000, at least 1.
    pub max_connections: usize,
    /// Sockets of one address; an IPv6 address counts by its /64. Default 100, at least 1.
    pub max_connections_per_address: usize,
    /// Frames that one connection may send in a second; 0: no limit. Default 1000.
    pub max_frames_per_second: u32,
    /// Bytes that one connection may send in a second; 0: no limit. Default 1048576, else at least `max_frame_bytes`:
    /// the bucket holds one second, and a larger frame could never pass.
    pub max_bytes_per_second: u32,
    /// Rooms that one client may join in a second, and connections by which it may come back to its session, each of which
    /// tells the members of a room or two; 0: no limit. Default 10.
    pub max_joins_per_second: u32,
    /// A request that the game's code has not answered after so many milliseconds is answered with TIMEOUT. Default 5000.
    pub request_timeout_ms: u64,
    /// Failed logins from one address in a minute; 0: no limit. Default 10.
    pub max_failed_logins_per_address: u32,
    /// Failed logins with one name in a minute; 0: no limit. Default 10.
    pub max_failed_logins_per_name: u32,
    /// Logins that may wait to be judged while as many as there are cores are. Default 256.
    pub max_logins_waiting: usize,
    /// Members of one room. Default 1000.
    pub max_room_members: usize,
    /// What may wait for the code of one room, bytes; a message counts as 1024 at least. Who finds it full is not read
    /// from until there is space. Default 1048576.
    pub max_room_mailbox_bytes: usize,
    /// Rooms in all. Default 10000.
    pub max_rooms: usize,
    /// Messages that a room may hand to its members in a second, each member counted; 0: no limit. Default 2000000.
    pub max_room_deliveries_per_second: u32,
    /// Files of the folder `web` that are on their way at once; a quarter of them to one address. Default 64.
    pub max_web_requests: usize,
    /// Addresses that the limits per address spare. In a file also bare, "::1". Default `["127.0.0.0/8", "::1/128"]`.
    #[serde(deserialize_with = "networks")]
    pub trusted: Vec<IpNet>,
}

impl Default for Limits {
    fn default() -> Self {
        let outbox = OutboxLimits::default();
        Limits {
            login_timeout_ms: 5000,
            peer_timeout_ms: PEER_TIMEOUT_US / 1000,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
            outbox_max_frames: outbox.max_frames,
            outbox_max_bytes: outbox.max_bytes,
            outbox_max_stuck_ms: outbox.max_stuck_us / 1000,
            outbox_max_kept_bytes: outbox.max_kept_bytes,
            resume_window_ms: RESUME_WINDOW_US / 1000,
            max_connections: 20_000,
            max_connections_per_address: 100,
            max_frames_per_second: 1000,
            max_bytes_per_second: 1024 * 1024,
            max_joins_per_second: 10,
            request_timeout_ms: 5000,
            max_failed_logins_per_address: 10,
            max_failed_logins_per_name: 10,
            max_logins_waiting: 256,
            max_room_members: 1000,
            max_room_mailbox_bytes: 1024 * 1024,
            max_rooms: 10_000,
            max_room_deliveries_per_second: 2_000_000,
            max_web_requests: 64,
            trusted: ["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a network")).to_vec(),
        }
    }
}

impl Limits {
    /// Judges the values.
    pub(super) fn validate(&self) -> Result<(), ValueError> {
        let max_frame_bytes = self.max_frame_bytes as u64;
        range("limits.login_timeout_ms", self.login_timeout_ms, 1, 600_000)?;
        range("limits.peer_timeout_ms", self.peer_timeout_ms, 2000, 600_000)?;
        range("limits.max_frame_bytes", max_frame_bytes, MAX_LOGIN_BYTES as u64, MAX_FRAME_BYTES as u64)?;
        range("limits.outbox_max_frames", self.outbox_max_frames.into(), 16, 1 << 20)?;
        range("limits.outbox_max_bytes", self.outbox_max_bytes.into(), 2 * max_frame_bytes, 1 << 30)
            .map_err(|error| error.because_of("limits.max_frame_bytes", max_frame_bytes))?;
        range("limits.outbox_max_stuck_ms", self.outbox_max_stuck_ms.into(), 1000, 600_000)?;
        range(
            "limits.outbox_max_kept_bytes",
            self.outbox_max_kept_bytes.into(),
            2 * max_frame_bytes,
            1 << 30,
        )
        .map_err(|error| error.because_of("limits.max_frame_bytes", max_frame_bytes))?;
        range("limits.resume_window_ms", self.resume_window_ms, 0, 3_600_000)?;
        range("limits.max_connections", self.max_connections as u64, 1, 1 << 24)?;
        range("limits.max_connections_per_address", self.max_connections_per_address as u64, 1, 1 << 24)?;
        range("limits.max_frames_per_second", self.max_frames_per_second.into(), 0, 1 << 30)?;
        if self.max_bytes_per_second > 0 {
            range("limits.max_bytes_per_second", self.max_bytes_per_second.into(), max_frame_bytes, 1 << 30)
                .map_err(|error| error.or("0").because_of("limits.max_frame_bytes", max_frame_bytes))?;
        }
        range("limits.max_joins_per_second", self.max_joins_per_second.into(), 0, 1 << 30)?;
        range("limits.request_timeout_ms", self.request_timeout_ms, 1, 600_000)?;
        let (by_address, by_name) = (self.max_failed_logins_per_address, self.max_failed_logins_per_name);
        range("limits.max_failed_logins_per_address", by_address.into(), 0, 1_000_000)?;
        range("limits.max_failed_logins_per_name", by_name.into(), 0, 1_000_000)?;
        range("limits.max_logins_waiting", self.max_logins_waiting as u64, 0, 1 << 20)?;
        range("limits.max_room_members", self.max_room_members as u64, 1, 1 << 20)?;
        range("limits.max_room_mailbox_bytes", self.max_room_mailbox_bytes as u64, 1024, 1 << 30)?;
        range("limits.max_rooms", self.max_rooms as u64, 1, 1 << 20)?;
        let deliveries = self.max_room_deliveries_per_second;
        range("limits.max_room_deliveries_per_second", deliveries.into(), 0, 1 << 30)?;
        range("limits.max_web_requests", self.max_web_requests as u64, 1, 1 << 12)
    }

    /// So long may the game's code take to answer.
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// The bounds of what one client may send.
    pub(crate) fn session(&self) -> SessionLimits {
        SessionLimits {
            max_frame_bytes: self.max_frame_bytes,
            max_frames_per_second: self.max_frames_per_second,
            max_bytes_per_second: self.max_bytes_per_second,
            max_joins_per_second: self.max_joins_per_second,
        }
    }

    /// Bytes a second that TLS and WebSocket may add to the frames of one client; `None`: no limit. They add 8 to 45 to a frame
    /// that is sent alone, and little to what is sent together.
    pub(crate) fn overhead_per_second(&self) -> Option<u64> {
        let (frames, bytes) = (u64::from(self.max_frames_per_second), u64::from(self.max_bytes_per_second));
        (frames > 0 && bytes > 0).then_some(OVERHEAD_OF_FRAME_BYTES * frames + bytes / OVERHEAD_SHARE)
    }

    /// The bounds of what waits for one session.
    pub(crate) fn outbox(&self) -> OutboxLimits {
        OutboxLimits {
            max_frames: self.outbox_max_frames,
            max_bytes: self.outbox_max_bytes,
            max_stuck_us: self.outbox_max_stuck_ms * 1000,
            max_kept_bytes: self.outbox_max_kept_bytes,
        }
    }
}

/// Reads networks; a bare address is the network of that address alone.
pub(super) fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: String| {
        text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
            let expected = "an address or a network, \"10.0.0.1\" or \"10.0.0.0/8\"";
            serde::de::Error::invalid_value(serde::de::Unexpected::Str(&text), &expected)
        })
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(network).collect()
}
