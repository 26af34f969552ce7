//! How a session ends, and what is said then.

use std::fmt;

use tagwire::CloseCode;
use tagwire::pb::tagwire::v1;
use tagwire::session::Dialect;

use crate::transport::Broken;

/// How a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server says so, with a Disconnect where the dialect has it.
    Told { code: CloseCode, reason: String, retry_after_ms: u32, findings: Vec<String> },
    /// The client said so.
    Left { code: CloseCode, reason: String },
    /// The socket is at its end.
    Lost(String),
}

impl Ending {
    pub(crate) fn told(code: CloseCode, reason: impl Into<String>) -> Self {
        Ending::Told { code, reason: reason.into(), retry_after_ms: 0, findings: vec![] }
    }

    /// Nothing more can be read from the client.
    pub(crate) fn broken(broken: Broken) -> Self {
        match broken {
            Broken::WebSocket(code, why) => Ending::told(code, why),
            broken => Ending::Lost(broken.to_string()),
        }
    }

    /// The last frame of a session that ends so; `None` where nothing is to be said, or not in that dialect.
    pub(crate) fn frame(&self, dialect: Dialect) -> Option<Vec<u8>> {
        let Ending::Told { code, reason, retry_after_ms, findings } = self else { return None };
        let disconnect = v1::Disconnect {
            code: u32::from(code.0),
            reason: reason.clone(),
            retry_after_ms: *retry_after_ms,
            findings: findings.clone(),
            ..v1::Disconnect::default()
        };
        let mut frame = vec![];
        dialect.encode_stack(&disconnect, &mut frame).then_some(frame)
    }

    /// With what a transport that has a goodbye of its own is closed.
    pub(crate) fn close(&self) -> Option<(CloseCode, String)> {
        match self {
            Ending::Told { code, reason, .. } => Some((*code, reason.clone())),
            Ending::Left { .. } => Some((CloseCode::NORMAL, String::new())),
            Ending::Lost(_) => None,
        }
    }

    pub(crate) fn code(&self) -> Option<CloseCode> {
        match self {
            Ending::Told { code, .. } | Ending::Left { code, .. } => Some(*code),
            Ending::Lost(_) => None,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Told { code, reason, .. } => write!(f, "{code}: {reason}"),
            Ending::Left { code, reason } if reason.is_empty() => write!(f, "left with {code}"),
            Ending::Left { code, reason } => write!(f, "left with {code}: {reason:?}"),
            Ending::Lost(why) => f.write_str(why),
        }
    }
}
