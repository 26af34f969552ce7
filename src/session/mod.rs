//! Both sides of the conversation, as state machines: frames and the time go in, what to do comes out.
//!
//! - [`server`]: the server's side of one session. [`client`]: the client's.
//! - [`login`]: what opens a session. [`ping`]: round trips. [`dialect`]: what is sent to whom in which form.
//! - [`fan_out`]: what goes to many.
//! - [`resume`]: what opens it again after a lost connection. [`asking`]: asking for the schema instead.
//! - [`requests`]: which keys run and have run. [`limits`]: how much a client may send. [`outbox`]: what waits for a socket. [`fault`]: what ends a session, and
//!   with which code.

pub mod asking;
pub mod client;
pub mod dialect;
pub mod fan_out;
pub mod fault;
pub mod limits;
pub mod login;
pub mod outbox;
pub mod ping;
pub mod requests;
pub mod resume;
pub mod server;

use crate::Message;
use crate::pb::tagwire::v1;
use crate::tag::Tag;

pub use dialect::Dialect;
pub use fault::Fault;

/// A side acknowledges after so many counted frames besides the Pings of every second.
pub const ACK_EVERY_FRAMES: u64 = 256;
/// Or after so many bytes of them.
pub const ACK_EVERY_BYTES: u64 = 64 * 1024;
/// A peer is gone after so long without a byte from it.
pub const PEER_TIMEOUT_US: u64 = 10_000_000;

/// True for the frames that are counted, known or not; those of the connection itself are not.
pub fn is_counted(tag: Tag) -> bool {
    !matches!(
        tag,
        v1::PlayerLogin::TAG
            | v1::Ping::TAG
            | v1::Welcome::TAG
            | v1::Disconnect::TAG
            | v1::SchemaWanted::TAG
            | v1::SchemaOffer::TAG
    )
}

/// Counts what one side received, and says when to tell the other.
#[derive(Debug, Default)]
pub(crate) struct Received {
    frames: u64,
    told_frames: u64,
    untold_bytes: u64,
}

impl Received {
    pub(crate) fn count(&mut self, tag: Tag, payload_bytes: usize) {
        if is_counted(tag) {
            self.frames += 1;
            self.untold_bytes += payload_bytes as u64;
        }
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    pub(crate) fn is_due(&self) -> bool {
        self.frames - self.told_frames >= ACK_EVERY_FRAMES || self.untold_bytes >= ACK_EVERY_BYTES
    }

    /// The number of frames to tell; nothing is due then.
    pub(crate) fn tell(&mut self) -> u64 {
        self.told_frames = self.frames;
        self.untold_bytes = 0;
        self.frames
    }
}
