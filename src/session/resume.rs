//! What opens a session again: its token.

use std::fmt;

use bytes::Bytes;
use subtle::ConstantTimeEq as _;

use crate::pb::tagwire::v1::Resume;
use crate::session::outbox::ResumeError;

/// Bytes of a token: 8 that say which process gave it out, 8 which session it opens, 16 that are secret.
pub const TOKEN_BYTES: usize = 32;

/// How long a session outlives its connection unless the server is told otherwise, microseconds.
pub const RESUME_WINDOW_US: u64 = 60_000_000;

/// Why a session is not resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeRefused {
    /// The token is none, or not that of the session: somebody guesses.
    #[error("no session has this token")]
    Wrong,
    /// The session has ended, or was another process's.
    #[error("the session has ended")]
    Gone,
    /// The session began under TLS, and this connection has none.
    #[error("the session began under TLS; come back over TLS")]
    Insecure,
    /// What proved the player's name is not valid any more, as with a token that has expired.
    #[error("the credentials of the session have expired; bring fresh ones")]
    Expired,
    /// A later connection of the same client was here first.
    #[error("a later connection has the session already")]
    Late,
    /// One of the two does not have what the other misses.
    #[error(transparent)]
    Count(#[from] ResumeError),
}

/// The secret by which a session is opened again, and what it has been used for. Printing it shows nothing.
#[derive(Clone)]
pub struct ResumeToken {
    bytes: [u8; TOKEN_BYTES],
    secure: bool,
    /// The highest number of a connection that had the session.
    connection: u32,
}

impl ResumeToken {
    /// The token of a session. `process`: a number by which this process differs from those before it; `secret`: from
    /// the system's source of randomness; `secure`: the session begins under TLS.
    pub fn new(process: u64, session_id: u64, secret: [u8; 16], secure: bool) -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..8].copy_from_slice(&process.to_be_bytes());
        bytes[8..16].copy_from_slice(&session_id.to_be_bytes());
        bytes[16..].copy_from_slice(&secret);
        ResumeToken { bytes, secure, connection: 1 }
    }

    /// As it is sent in Welcome.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }

    /// Which process and which session a token is for, as it says itself.
    ///
    /// # Errors
    /// It is none.
    pub fn address(token: &[u8]) -> Result<(u64, u64), ResumeRefused> {
        let token: &[u8; TOKEN_BYTES] = token.try_into().map_err(|_| ResumeRefused::Wrong)?;
        let number =
            |at: usize| token[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok((number(0), number(8)))
    }

    /// Whether this opens the session, on a connection that is `secure` (has TLS) or not. Takes as long whichever byte
    /// of the token is wrong.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, resume: &Resume, secure: bool) -> Result<(), ResumeRefused> {
        if !bool::from(self.bytes.as_slice().ct_eq(&resume.token)) {
            return Err(ResumeRefused::Wrong);
        }
        if self.secure && !secure {
            return Err(ResumeRefused::Insecure);
        }
        if resume.connection != 0 && resume.connection < self.connection {
            return Err(ResumeRefused::Late);
        }
        Ok(())
    }

    /// That connection has the session now.
    pub fn used(&mut self, resume: &Resume) {
        self.connection = self.connection.max(resume.connection);
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeToken").field("secure", &self.secure).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(token: Bytes, connection: u32) -> Resume {
        Resume { token, connection, ..Resume::default() }
    }

    #[test]
    fn a_token_opens_its_session_alone() {
        let token = ResumeToken::new(7, 9, [3; 16], false);
        assert_eq!(ResumeToken::address(&token.to_bytes()), Ok((7, 9)));
        assert_eq!(token.check(&resume(token.to_bytes(), 2), false), Ok(()));
        for at in 0..TOKEN_BYTES {
            let mut other = token.to_bytes().to_vec();
            other[at] ^= 1;
            assert_eq!(token.check(&resume(other.into(), 2), false), Err(ResumeRefused::Wrong), "byte {at}");
        }
        for length in [0, 1, 31, 33, 64] {
            let other = vec![3; length];
            assert_eq!(ResumeToken::address(&other), Err(ResumeRefused::Wrong));
            assert_eq!(token.check(&resume(other.into(), 2), false), Err(ResumeRefused::Wrong));
        }
    }

    #[test]
    fn a_session_that_began_under_tls_is_not_had_without() {
        for (began, comes, result) in [
            (true, false, Err(ResumeRefused::Insecure)),
            (true, true, Ok(())),
            (false, false, Ok(())),
            (false, true, Ok(())),
        ] {
            let token = ResumeToken::new(7, 9, [3; 16], began);
            assert_eq!(token.check(&resume(token.to_bytes(), 2), comes), result, "{began}, {comes}");
        }
    }

    #[test]
    fn who_comes_late_does_not_get_it() {
        let mut token = ResumeToken::new(7, 9, [3; 16], false);
        token.used(&resume(token.to_bytes(), 3));
        let check = |connection| token.check(&resume(token.to_bytes(), connection), false);
        assert_eq!([2, 3, 4, 0].map(check), [Err(ResumeRefused::Late), Ok(()), Ok(()), Ok(())]);
    }

    #[test]
    fn a_token_is_not_printed() {
        let token = ResumeToken::new(7, 9, [0xab; 16], true);
        assert_eq!(format!("{token:?}"), "ResumeToken { secure: true, .. }");
        let resume = resume(token.to_bytes(), 2);
        assert!(!format!("{resume:?}").to_lowercase().contains("ab"), "{resume:?}");
    }
}
