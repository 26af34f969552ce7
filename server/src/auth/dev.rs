//! One password for every name, while a game is made.

use tagwire::Access;

use super::{Attempt, Authenticator, Denied, Identity};
use crate::config::DevAuth;

impl Authenticator for DevAuth {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        if attempt.login.password != self.password {
            return Err(Denied::WrongPassword);
        }
        Ok(Identity::new(&attempt.login.username, Access::Player))
    }

    fn is_quick(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::login;
    use super::*;

    #[test]
    fn the_development_password_admits_any_name() {
        let auth = DevAuth::default();
        let authenticate =
            |name: &str, password: &str| auth.authenticate(&Attempt::new(&login(name, password, "")));
        for name in ["player1", "", "Müller", &"x".repeat(32)] {
            let identity = authenticate(name, "welcome").expect(name);
            assert_eq!(identity, Identity::new(name, Access::Player));
        }
        assert_eq!(authenticate("player1", "wrong"), Err(Denied::WrongPassword));
        assert_eq!(authenticate("", ""), Err(Denied::WrongPassword));
    }
}
