//! Who may come in.

use tagwire::Access;
use tagwire::session::login::Login;

use crate::config::DevAuth;

/// Most characters of a player's name.
pub const MAX_NAME_CHARS: usize = 32;

/// A player whose credentials are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name; empty: the server makes up a unique guest name.
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
    #[error("a name has at most {MAX_NAME_CHARS} characters and no control characters")]
    BadName,
}

/// Judges credentials. Called before anything of a session exists.
pub trait Authenticator: Send + Sync + 'static {
    /// The player behind a login.
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
        check_name(&login.username)?;
        Ok(Identity { name: login.username.clone(), access: Access::Player })
    }
}

/// Judges the form of a player's name.
///
/// # Errors
/// It is too long or has control characters.
pub fn check_name(name: &str) -> Result<(), Denied> {
    if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(Denied::BadName);
    }
    Ok(())
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
        }
    }

    #[test]
    fn the_development_password_admits_any_well_formed_name() {
        let auth = DevAuth::default();
        for name in ["player1", "", "Müller", &"x".repeat(32)] {
            let identity = auth.authenticate(&login(name, "welcome")).expect(name);
            assert_eq!(identity, Identity { name: name.to_string(), access: Access::Player });
        }
        assert_eq!(auth.authenticate(&login("player1", "wrong")), Err(Denied::WrongPassword));
        assert_eq!(auth.authenticate(&login("", "")), Err(Denied::WrongPassword));
        assert_eq!(auth.authenticate(&login(&"x".repeat(33), "welcome")), Err(Denied::BadName));
        assert_eq!(auth.authenticate(&login("a\nb", "welcome")), Err(Denied::BadName));
    }
}
