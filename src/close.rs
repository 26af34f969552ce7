//! Close codes: why a connection ended, and whether to come back.
//!
//! The table itself is the enum `tagwire.v1.CloseCode` in `proto/tagwire/v1/session.proto`; every language prints it
//! from there.

use std::fmt;

use crate::pb::tagwire::v1::close_code::Value;

/// Why a connection ended. Numbers that are not in the table are carried, printed and judged by their range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The player leaves; sent by clients only.
    pub const NORMAL: Self = Self(Value::Normal as u16);
    /// The server stops; come back after the delay it names.
    pub const SHUTDOWN: Self = Self(Value::Shutdown as u16);
    /// More waited for the receiver than the limits allow.
    pub const SLOW: Self = Self(Value::Slow as u16);
    /// Nothing was heard for too long.
    pub const TIMEOUT: Self = Self(Value::Timeout as u16);
    /// The server has no room for more.
    pub const OVERLOAD: Self = Self(Value::Overload as u16);
    /// The same player logged in again elsewhere.
    pub const REPLACED: Self = Self(Value::Replaced as u16);
    /// Name, password or token were refused.
    pub const LOGIN_REFUSED: Self = Self(Value::LoginRefused as u16);
    /// The two schemas contradict each other.
    pub const SCHEMA_MISMATCH: Self = Self(Value::SchemaMismatch as u16);
    /// Bytes that are not a frame, or a payload that is not its message.
    pub const MALFORMED: Self = Self(Value::Malformed as u16);
    /// A message that this side may not send, or not now.
    pub const VIOLATION: Self = Self(Value::Violation as u16);
    /// A frame over the limit.
    pub const TOO_LARGE: Self = Self(Value::TooLarge as u16);
    /// More messages than the limits allow, for too long.
    pub const RATE_LIMITED: Self = Self(Value::RateLimited as u16);
    /// No complete login within the deadline.
    pub const LOGIN_TIMEOUT: Self = Self(Value::LoginTimeout as u16);
    /// An operator or the game ended it.
    pub const KICKED: Self = Self(Value::Kicked as u16);
    /// The session that was asked for cannot be had.
    pub const RESUME_REFUSED: Self = Self(Value::ResumeRefused as u16);
    /// The client speaks a version of the protocol that the server does not.
    pub const VERSION: Self = Self(Value::Version as u16);

    /// True where the client should try again with back-off: 3000 to 3499 and 4000 to 4499.
    pub const fn retryable(self) -> bool {
        matches!(self.0, 3000..=3499 | 4000..=4499)
    }

    /// True where the session outlives the connection.
    pub const fn resumable(self) -> bool {
        self.0 == Self::TIMEOUT.0
    }

    /// The name in the table, `SHUTDOWN`.
    pub fn name(self) -> Option<&'static str> {
        Value::try_from(i32::from(self.0)).ok().map(|value| value.as_str_name())
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_advice_for_codes_never_seen() {
        for (code, retryable) in [
            (2999, false),
            (3000, true),
            (3499, true),
            (3500, false),
            (4000, true),
            (4499, true),
            (4500, false),
        ] {
            assert_eq!(CloseCode(code).retryable(), retryable, "{code}");
        }
        assert_eq!(CloseCode(4711).to_string(), "4711");
        assert_eq!(CloseCode::SHUTDOWN.to_string(), "3000 SHUTDOWN");
    }
}
