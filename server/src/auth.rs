//! Who may come in: a login is judged by an [`Authenticator`], the settings' or the game's own.
//!
//! - `dev`: any name, one password. `file`: a file of names and hashes. `jwt`: tokens that somebody else gives out.
//! - [`password`]: hashes of passwords, for those and for one's own. `watched`: files that are read again when they change.
//! - `pool`: where judging takes place, since a hash takes long, and memory.

mod dev;
mod file;
mod jwt;
pub mod password;
mod pool;
pub(crate) mod users;
mod watched;

use std::net::IpAddr;
use std::path::PathBuf;

use tagwire::Access;
use tagwire::name::NameError;
use tagwire::pb::tagwire::v1::login_part;
use tagwire::session::login::Login;

use crate::config::{AuthKind, Config};
pub(crate) use file::FileAuth;
pub(crate) use jwt::JwtAuth;
pub(crate) use pool::Pool;

/// A login that asks to come in.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// What the client says. Its name is in the form that [`tagwire::name::player`] gives it.
    pub login: &'a Login,
    /// The other end of the connection; `None`: it is no socket.
    pub peer: Option<IpAddr>,
    /// The connection has TLS, or does not leave this process.
    pub secure: bool,
    /// The certificate that the client has shown, DER. It was judged by `tls.client_ca`. `None`: it has shown none.
    pub certificate: Option<&'a [u8]>,
}

impl<'a> Attempt<'a> {
    /// An attempt without an address and without TLS, as a test of one's own authenticator makes it.
    pub fn new(login: &'a Login) -> Self {
        Attempt { login, peer: None, secure: false, certificate: None }
    }
}

/// A player whose credentials are good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The name, in the form that [`tagwire::name::player`] gives it; empty: the server makes up a unique guest name.
    pub name: String,
    /// What the player may do.
    pub access: Access,
    /// How long the credentials are good, microseconds since the Unix epoch: later, the session is not resumed without
    /// fresh ones. `None`: for ever.
    pub valid_until_us: Option<u64>,
}

impl Identity {
    /// A player of this name, for ever.
    pub fn new(name: impl Into<String>, access: Access) -> Self {
        Identity { name: name.into(), access, valid_until_us: None }
    }

    /// The same, whose credentials are good until then, microseconds since the Unix epoch.
    #[must_use]
    pub fn valid_until_us(mut self, unix_us: u64) -> Self {
        self.valid_until_us = Some(unix_us);
        self
    }
}

/// Why somebody is not let in. Printing it shows what the client is told: no secret, and nothing of who else has a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// Name and password do not belong together, or nobody has the name: which, is told to nobody. Counts as a failed
    /// login of the address and of the name.
    #[error("wrong name or password")]
    WrongPassword,
    /// The name cannot be one.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// The name is good and may not be used, for this reason, which the client is told.
    #[error("{0}")]
    Refused(String),
    /// The token is not good.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It cannot be judged now, for this reason, which the log alone is told. The client is told OVERLOAD, and to come
    /// back.
    #[error("logins cannot be judged now")]
    Unavailable(String),
}

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is none.
    #[error("a token is needed")]
    Missing,
    /// It was good.
    #[error("the token has expired")]
    Expired,
    /// It will be good.
    #[error("the token is not valid yet")]
    Early,
    /// Somebody else gave it out, or for somebody else; the log is told which.
    #[error("the token is not for this server")]
    Elsewhere(&'static str),
    /// It is none, or forged; the log is told what is wrong. Counts as a failed login of the address.
    #[error("the token is not valid")]
    Invalid(&'static str),
}

impl Denied {
    /// Which part of the login it was, as far as it is safe to say.
    pub fn part(&self) -> login_part::Value {
        match self {
            Denied::WrongPassword => login_part::Value::Password,
            Denied::BadName(_) | Denied::Refused(_) => login_part::Value::Name,
            Denied::Token(_) => login_part::Value::Token,
            Denied::Unavailable(_) => login_part::Value::Untold,
        }
    }

    /// What the log is told besides.
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Denied::Token(TokenError::Elsewhere(detail) | TokenError::Invalid(detail)) => Some(detail),
            Denied::Unavailable(detail) => Some(detail),
            _ => None,
        }
    }

    /// Somebody may have guessed.
    pub(crate) fn is_guess(&self) -> bool {
        matches!(self, Denied::WrongPassword | Denied::Token(TokenError::Invalid(_)))
    }
}

/// Judges credentials. Called before anything of a session exists.
pub trait Authenticator: Send + Sync + 'static {
    /// The player behind a login. May take its time: it is called on a thread of its own, on as many at once as there are
    /// cores, in the order in which logins come. A panic ends this login alone: the client is told OVERLOAD.
    ///
    /// # Errors
    /// The login is refused.
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied>;

    /// True: [`Authenticator::authenticate`] takes microseconds and waits for nothing, so that it can be called on the
    /// connection's thread. Default: false.
    fn is_quick(&self) -> bool {
        false
    }

    /// The settings were read again (SIGHUP): what is kept of files is to be read again, too. Default: nothing is kept.
    fn reload(&self) {}
}

/// Why a server cannot judge logins as its settings ask.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The file of users or keys cannot be had.
    #[error("{path}: {error}{fix}", path = path.display(), fix = crate::config::fix_line(fix.as_deref()))]
    File {
        /// Which.
        path: PathBuf,
        /// Line and what is wrong with it; nothing that is secret.
        error: String,
        /// What helps.
        fix: Option<String>,
    },
    /// The settings leave it to the game, and the game does not say.
    #[error(
        "auth = \"game\", and the game brings no authenticator\n  fix: Server::auth(...) in its main, or another auth"
    )]
    NoneGiven,
}

/// Who judges logins, and what the log says of it at the start.
pub(crate) struct Judge {
    pub(crate) authenticator: Box<dyn Authenticator>,
    pub(crate) told: String,
    /// It is to be told as a warning.
    pub(crate) weak: bool,
}

impl Judge {
    /// A game's own.
    pub(crate) fn own(authenticator: Box<dyn Authenticator>) -> Self {
        Judge { authenticator, told: "players come in by the game's own rules".to_string(), weak: false }
    }

    /// As the settings say.
    pub(crate) fn of(config: &Config) -> Result<Self, AuthError> {
        let (authenticator, told): (Box<dyn Authenticator>, _) = match config.auth {
            AuthKind::Dev => {
                let told = "development passwords: every name is everybody's".to_string();
                (Box::new(config.dev_auth.clone()), told)
            }
            AuthKind::File => {
                let auth = FileAuth::read(&config.file_auth)?;
                let told = auth.to_string();
                (Box::new(auth), told)
            }
            AuthKind::Jwt => {
                let auth = JwtAuth::read(&config.jwt_auth)?;
                let told = auth.to_string();
                (Box::new(auth), told)
            }
            AuthKind::Game => return Err(AuthError::NoneGiven),
        };
        Ok(Judge { authenticator, told, weak: config.auth == AuthKind::Dev })
    }

    /// Lets nobody in, until the game says who judges.
    pub(crate) fn nobody() -> Self {
        struct Nobody;
        impl Authenticator for Nobody {
            fn authenticate(&self, _: &Attempt<'_>) -> Result<Identity, Denied> {
                Err(Denied::Unavailable("there is no authenticator".to_string()))
            }
        }
        Judge { authenticator: Box::new(Nobody), told: "nobody can come in".to_string(), weak: true }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tagwire::session::Dialect;

    pub(crate) fn login(username: &str, password: &str, token: &str) -> Login {
        Login {
            username: username.to_string(),
            password: password.to_string(),
            token: token.to_string(),
            dialect: Dialect::Native,
            fingerprint: tagwire::bytes::Bytes::new(),
            sdk: String::new(),
            resume: None,
            wants_schema: false,
        }
    }

    #[test]
    fn what_a_client_is_told_names_a_part_and_no_detail() {
        for (denied, part, text) in [
            (Denied::WrongPassword, login_part::Value::Password, "wrong name or password"),
            (NameError::Control.into(), login_part::Value::Name, "a name has no control characters"),
            (Denied::Refused("you are banned".into()), login_part::Value::Name, "you are banned"),
            (TokenError::Missing.into(), login_part::Value::Token, "a token is needed"),
            (TokenError::Expired.into(), login_part::Value::Token, "the token has expired"),
            (TokenError::Early.into(), login_part::Value::Token, "the token is not valid yet"),
            (
                TokenError::Elsewhere("hush").into(),
                login_part::Value::Token,
                "the token is not for this server",
            ),
            (TokenError::Invalid("hush").into(), login_part::Value::Token, "the token is not valid"),
            (Denied::Unavailable("hush".into()), login_part::Value::Untold, "logins cannot be judged now"),
        ] {
            assert_eq!((denied.part(), denied.to_string().as_str()), (part, text));
        }
    }
}
