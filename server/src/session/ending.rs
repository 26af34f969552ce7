//! How a session ends, and what is said then.

use std::fmt;

use tagwire::CloseCode;
use tagwire::pb::tagwire::v1::{self, login_part};
use tagwire::session::Dialect;

use crate::auth::Denied;
use crate::transport::Broken;

/// How a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server says so, with a Disconnect where the dialect has it.
    Told {
        code: CloseCode,
        reason: String,
        retry_after_ms: u32,
        findings: Vec<String>,
        /// With LOGIN_REFUSED: what of the login it was.
        refused: login_part::Value,
    },
    /// The client said so.
    Left { code: CloseCode, reason: String },
    /// The socket is at its end.
    Lost(String),
}

impl Ending {
    pub(crate) fn told(code: CloseCode, reason: impl Into<String>) -> Self {
        Ending::told_later(code, reason, 0)
    }

    /// The same, and not to come back before so many milliseconds.
    pub(crate) fn told_later(code: CloseCode, reason: impl Into<String>, retry_after_ms: u32) -> Self {
        let reason = reason.into();
        Ending::Told { code, reason, retry_after_ms, findings: vec![], refused: login_part::Value::Untold }
    }

    /// A login is refused.
    pub(crate) fn refused(denied: &Denied) -> Self {
        Ending::Told {
            code: CloseCode::LOGIN_REFUSED,
            reason: denied.to_string(),
            retry_after_ms: 0,
            findings: vec![],
            refused: denied.part(),
        }
    }

    /// Nothing more can be read from the client.
    pub(crate) fn broken(broken: Broken) -> Self {
        match broken {
            Broken::WebSocket(code, why) => Ending::told(code, why),
            overhead @ Broken::Overhead => Ending::told(CloseCode::RATE_LIMITED, overhead.to_string()),
            broken => Ending::Lost(broken.to_string()),
        }
    }

    /// The last frame of a session that ends so; `None` where nothing is to be said, or not in that dialect.
    pub(crate) fn frame(&self, dialect: Dialect) -> Option<Vec<u8>> {
        let Ending::Told { code, reason, retry_after_ms, findings, refused } = self else { return None };
        let disconnect = v1::Disconnect {
            code: u32::from(code.0),
            reason: reason.clone(),
            retry_after_ms: *retry_after_ms,
            findings: findings.clone(),
            refused: (*refused).into(),
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
