//! What opens a session.

use std::fmt;

use bytes::Bytes;
use prost::Message as _;

use crate::PROTOCOL_VERSION;
use crate::pb::tagwire::v1::{PlayerLogin, Resume, Welcome};
use crate::session::{Dialect, Fault};

/// Largest payload of a login, bytes.
pub const MAX_LOGIN_BYTES: usize = 8 * 1024;

/// Largest payload of a SchemaOffer, bytes.
pub const MAX_OFFER_BYTES: usize = 256 * 1024;

/// What a player shows to come in. Printing it never shows a secret.
#[derive(Clone, PartialEq)]
pub struct Login {
    /// The name that is asked for; empty: any.
    pub username: String,
    /// What proves it.
    pub password: String,
    /// Or this.
    pub token: String,
    /// What the client speaks.
    pub dialect: Dialect,
    /// Fingerprint of the client's schema; empty: not told.
    pub fingerprint: Bytes,
    /// Name and version of its library, for logs.
    pub sdk: String,
    /// The session that it wants to have again.
    pub resume: Option<Resume>,
    /// It wants to know the server's schema, and no session.
    pub wants_schema: bool,
}

impl Login {
    /// Reads the payload of a first frame.
    ///
    /// # Errors
    /// It cannot be read, or asks for another version of the protocol.
    pub fn decode(payload: &[u8]) -> Result<Login, Fault> {
        let login = PlayerLogin::decode(payload).map_err(Fault::Login)?;
        let (dialect, fingerprint, sdk, wants_schema) = match login.client {
            None => (Dialect::Classic, Bytes::new(), String::new(), false),
            Some(client) if client.protocol != PROTOCOL_VERSION => {
                return Err(Fault::Version(client.protocol));
            }
            Some(client) => {
                let sdk = format!("{} {}", client.sdk, client.version);
                (Dialect::Native, client.fingerprint, sdk.chars().take(65).collect(), client.wants_schema)
            }
        };
        let PlayerLogin { username, password, token, resume, .. } = login;
        // A classic session ends with its connection.
        let resume = resume.filter(|_| dialect == Dialect::Native);
        Ok(Login { username, password, token, dialect, fingerprint, sdk, resume, wants_schema })
    }

    /// True where it could open a new session: something proves its name.
    pub fn has_credentials(&self) -> bool {
        !self.password.is_empty() || !self.token.is_empty()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Login { username, dialect, sdk, .. } = self;
        f.debug_struct("Login")
            .field("username", username)
            .field("dialect", dialect)
            .field("sdk", sdk)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PlayerLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlayerLogin")
            .field("username", &self.username)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume")
            .field("frames_received", &self.frames_received)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("session_id", &self.session_id)
            .field("player_id", &self.player_id)
            .field("name", &self.name)
            .field("room", &self.room)
            .field("resumed", &self.resumed)
            .field("verdict", &self.verdict())
            .finish_non_exhaustive()
    }
}
