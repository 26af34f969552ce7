//! What ends a session for a fault of the peer, and the one place that picks its close code.

use std::borrow::Cow;

use crate::close::CloseCode;
use crate::frame::DecodeError;
use crate::session::limits::{FORGIVEN_INVALID, FORGIVEN_RATE, INVALID_WINDOW_US, Limit, RATE_WINDOW_US};
use crate::session::outbox::{AckError, ResumeError};
use crate::tag::Tag;

/// What a peer did that ends its connection.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes that are not a frame, or too large a one.
    #[error(transparent)]
    Frame(#[from] DecodeError),
    /// The first frame is not a login that can be read.
    #[error("the first frame is no login: {0}")]
    Login(prost::DecodeError),
    /// A message of the stack that cannot be read.
    #[error("tag {tag} cannot be read: {error}")]
    Malformed {
        /// Its tag.
        tag: Tag,
        /// What is wrong with it.
        error: prost::DecodeError,
    },
    /// The client speaks another version of the protocol.
    #[error("protocol version {0} is not served; this server speaks version {version}", version = crate::PROTOCOL_VERSION)]
    Version(u32),
    /// A message that this side never sends.
    #[error("{name} (tag {tag}) is not for this side to send")]
    Direction {
        /// Its tag.
        tag: Tag,
        /// Its full name.
        name: Cow<'static, str>,
    },
    /// A message that the session has no right to send.
    #[error("{name} (tag {tag}) is not for this session to send")]
    Access {
        /// Its tag.
        tag: Tag,
        /// Its full name.
        name: Cow<'static, str>,
    },
    /// Too much over a limit, for too long.
    #[error("more than {FORGIVEN_RATE} messages over a limit within {seconds} s; {0}", seconds = RATE_WINDOW_US / 1_000_000)]
    TooFast(Limit),
    /// Too many invalid messages.
    #[error("more than {FORGIVEN_INVALID} invalid messages within {} s", INVALID_WINDOW_US / 1_000_000)]
    TooManyInvalid,
    /// More requests in one Batch than may be.
    #[error("a batch of {0} requests, at most {max} may be", max = crate::session::server::MAX_BATCH)]
    Batch(usize),
    /// A second login.
    #[error("a second login on one connection")]
    SecondLogin,
    /// It says it has handled frames that it was not sent.
    #[error(transparent)]
    Acknowledged(#[from] AckError),
    /// It wants to go on from where this side cannot.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// A frame between the login and its answer.
    #[error("tag {0} before the login was answered")]
    TooEarly(Tag),
}

impl From<&Fault> for CloseCode {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Frame(DecodeError::TooLarge { .. }) => CloseCode::TOO_LARGE,
            Fault::Frame(_) | Fault::Login(_) | Fault::Malformed { .. } => CloseCode::MALFORMED,
            Fault::Version(_) => CloseCode::VERSION,
            Fault::TooFast(_) => CloseCode::RATE_LIMITED,
            Fault::Direction { .. }
            | Fault::Access { .. }
            | Fault::TooManyInvalid
            | Fault::Batch(_)
            | Fault::SecondLogin
            | Fault::Acknowledged(_)
            | Fault::Resume(_)
            | Fault::TooEarly(_) => CloseCode::VIOLATION,
        }
    }
}
