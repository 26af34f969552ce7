//! Who may come in, and what proves it.

use std::fmt;

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};

use super::{Config, ValueError, range};

/// Who judges logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthKind {
    /// One password for every name, as `[dev_auth]` says.
    Dev,
    /// A file of names and hashes of passwords, as `[file_auth]` says.
    File,
    /// Tokens, as `[jwt_auth]` says.
    Jwt,
    /// The game's own code: [`Server::auth`](crate::Server::auth).
    Game,
}

/// One password for every name: nobody is who they say. `Debug` does not show the password; serialising does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DevAuth {
    /// The password. Default "welcome".
    pub password: String,
    /// Admit it on addresses that others can reach. Default false: the server then refuses to start there.
    pub allow_public: bool,
}

impl fmt::Debug for DevAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevAuth").field("allow_public", &self.allow_public).finish_non_exhaustive()
    }
}

impl Default for DevAuth {
    fn default() -> Self {
        DevAuth { password: "welcome".to_string(), allow_public: false }
    }
}

/// Names and passwords from a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileAuth {
    /// The file, as `tagwire-server users` writes it. Default "": none.
    pub users: String,
}

/// Tokens that somebody else gives out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtAuth {
    /// The file of the key: a public one or several in PEM, a JWKS, or a secret for HS256. Default "": none.
    pub key: String,
    /// What a token may be signed with; all else is refused. Default RS256 and EdDSA.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Who must have given a token out, its `iss`. Default "": anyone who has the key.
    pub issuer: String,
    /// Whom a token must be for, its `aud`. Default "": nobody; a token that names somebody is then refused.
    pub audience: String,
    /// So many seconds may the clock of who gives tokens out differ from ours. Default 30.
    pub leeway_s: u64,
    /// The claim that holds a player's role or roles; dots lead into inner ones. Default "role".
    pub roles_claim: String,
}

impl Default for JwtAuth {
    fn default() -> Self {
        JwtAuth {
            key: String::new(),
            algorithms: vec![JwtAlgorithm::Rs256, JwtAlgorithm::EdDsa],
            issuer: String::new(),
            audience: String::new(),
            leeway_s: 30,
            roles_claim: "role".to_string(),
        }
    }
}

/// What a token may be signed with (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JwtAlgorithm {
    /// A secret that both have.
    #[serde(rename = "HS256")]
    Hs256,
    /// An RSA key.
    #[serde(rename = "RS256")]
    Rs256,
    /// An Ed25519 key.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    pub(crate) fn of(self) -> Algorithm {
        match self {
            JwtAlgorithm::Hs256 => Algorithm::HS256,
            JwtAlgorithm::Rs256 => Algorithm::RS256,
            JwtAlgorithm::EdDsa => Algorithm::EdDSA,
        }
    }
}

impl Config {
    /// Judges who may come in.
    pub(super) fn validate_auth(&self) -> Result<(), ValueError> {
        range("jwt_auth.leeway_s", self.jwt_auth.leeway_s, 0, 3600)?;
        match self.auth {
            AuthKind::Dev => self.validate_dev_auth(),
            AuthKind::File if self.file_auth.users.is_empty() => {
                Err(ValueError::new("file_auth.users", "\"\"", "a file, for auth = \"file\"").fix(
                    "file_auth.users=users.toml, and somebody in it: tagwire-server users add NAME --file users.toml",
                ))
            }
            AuthKind::Jwt if self.jwt_auth.key.is_empty() => {
                Err(ValueError::new("jwt_auth.key", "\"\"", "a file, for auth = \"jwt\"")
                    .fix("jwt_auth.key=key.pem, the public key of who gives tokens out, or a JWKS, or a secret for HS256"))
            }
            AuthKind::Jwt if self.jwt_auth.algorithms.is_empty() => Err(ValueError::new(
                "jwt_auth.algorithms",
                "[]",
                "at least one of HS256, RS256, EdDSA, for auth = \"jwt\"",
            )),
            AuthKind::File | AuthKind::Jwt | AuthKind::Game => Ok(()),
        }
    }

    fn validate_dev_auth(&self) -> Result<(), ValueError> {
        match self.listen.iter().find(|a| !a.ip().is_loopback()) {
            Some(public) if !self.dev_auth.allow_public => Err(ValueError::new(
                "listen",
                public,
                "an address that others cannot reach, for with development passwords every name is everybody's",
            )
            .fix("listen on 127.0.0.1 or [::1], or say that you mean it: --allow-public-dev-auth")),
            _ => Ok(()),
        }
    }
}
