//! Who may come in.

use tagwire::Access;
use tagwire::name::NameError;
use tagwire::session::login::Login;

use crate::config::DevAuth;

/// A player whose credentials are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name, in the form that [`tagwire::name::player`] gives it; empty: the server makes up a unique guest name.
    pub name: String,
    /// What the player may do.
    pub access: Access,
}

/// Why somebody is not let in. Printing it shows no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// Name and password do not belong together.
    #[error("wrong name or password")]
    WrongPassword,
    /// The name cannot be one.
    #[error(transparent)]
    BadName(#[from] NameError),
}

/// Judges credentials. Called before anything of a session exists.
pub trait Authenticator: Send + Sync + 'static {
    /// The player behind a login, whose name is in normal form. A panic ends this login alone: the client is told
    /// OVERLOAD.
    ///
    /// # Errors
    /// The login is refused.
    fn authenticate(&self, login: &Login) -> Result<Identity, Denied>;
}

impl Authenticator for DevAuth {
    fn authenticate(&self, login: &Login) -> Result<Identity, Denied> {
        if login.password != self.password {
            return Err(Denied::WrongPassword);
        }
        Ok(Identity { name: login.username.clone(), access: Access::Player })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tagwire::session::Dialect;

    fn login(username: &str, password: &str) -> Login {
        Login {
            username: username.to_string(),
            password: password.to_string(),
            token: String::new(),
            dialect: Dialect::Classic,
            fingerprint: tagwire::bytes::Bytes::new(),
            sdk: String::new(),
            resume: None,
        }
    }

    #[test]
    fn the_development_password_admits_any_name() {
        let auth = DevAuth::default();
        for name in ["player1", "", "Müller", &"x".repeat(32)] {
            let identity = auth.authenticate(&login(name, "welcome")).expect(name);
            assert_eq!(identity, Identity { name: name.to_string(), access: Access::Player });
        }
        assert_eq!(auth.authenticate(&login("player1", "wrong")), Err(Denied::WrongPassword));
        assert_eq!(auth.authenticate(&login("", "")), Err(Denied::WrongPassword));
    }
}
