//! Players by name and password, from a file.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::users::Users;
use super::watched::Watched;
use super::{Attempt, AuthError, Authenticator, Denied, Identity};
use crate::config::FileAuth as Settings;

/// Compares passwords with the hashes of a file.
pub(crate) struct FileAuth {
    users: Watched<Users>,
    /// Hashes that were computed, so that a test sees that each login costs one.
    checks: AtomicU64,
}

impl FileAuth {
    pub(crate) fn read(settings: &Settings) -> Result<Self, AuthError> {
        let parse = |bytes: &[u8]| {
            Users::parse(str::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_string())?)
        };
        let fix = format!("tagwire-server users add NAME --file {}", settings.users);
        let users = Watched::new(Path::new(&settings.users), Box::new(parse), &fix)?;
        Ok(FileAuth { users, checks: AtomicU64::new(0) })
    }
}

impl fmt::Display for FileAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.users.get().len();
        write!(f, "players come in by the passwords in {} ({count} users)", self.users.path().display())
    }
}

impl Authenticator for FileAuth {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        let users = self.users.get();
        let user = users.get(&attempt.login.username);
        // Whether somebody has the name or not, it takes the same work.
        let hash = user.map_or(users.nobody(), |user| &user.hash);
        self.checks.fetch_add(1, Ordering::Relaxed);
        let good = hash.is_of(&attempt.login.password);
        match user {
            Some(user) if good => Ok(Identity::new(&user.name, user.role.access())),
            _ => Err(Denied::WrongPassword),
        }
    }

    fn reload(&self) {
        self.users.reload();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tagwire::Access;

    use super::super::tests::login;
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn right_wrong_and_unknown_cost_one_hash_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.toml");
        let text = format!(
            "[users]\nZoe = {{ role = \"operator\", hash = \"{HASH}\" }}\nkit = {{ hash = \"{HASH}\" }}\n"
        );
        fs::write(&path, &text).expect("written");
        let auth = FileAuth::read(&Settings { users: path.display().to_string() }).expect("a file of users");
        assert!(auth.to_string().ends_with("users.toml (2 users)"), "{auth}");
        for (name, password, result) in [
            ("zoe", "password", Ok(Identity::new("Zoe", Access::Operator))),
            ("KIT", "password", Ok(Identity::new("kit", Access::Player))),
            ("zoe", "passwore", Err(Denied::WrongPassword)),
            ("zoe", "", Err(Denied::WrongPassword)),
            ("max", "password", Err(Denied::WrongPassword)),
            ("", "password", Err(Denied::WrongPassword)),
            ("", "", Err(Denied::WrongPassword)),
        ] {
            let before = auth.checks.load(Ordering::Relaxed);
            let judged = auth.authenticate(&Attempt::new(&login(name, password, "")));
            assert_eq!(judged, result, "{name}");
            assert_eq!(auth.checks.load(Ordering::Relaxed) - before, 1, "{name}");
        }
        fs::write(&path, text.replace("kit", "max")).expect("written");
        auth.reload();
        assert!(auth.authenticate(&Attempt::new(&login("max", "password", ""))).is_ok());
        assert!(auth.authenticate(&Attempt::new(&login("kit", "password", ""))).is_err());
    }
}
