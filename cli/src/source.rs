//! Where the schema of a command comes from: files, or a running server.

use std::env;
use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use tagwire_codegen::check::{check, check_patterns};
use tagwire_codegen::load::load_documented;
use tagwire_codegen::model::Model;

use crate::failure::{Failure, Problem};
use crate::fetch::{Credentials, FetchError, Trust, fetch};
use crate::settings::{Server, Settings};

/// Variables with what no command line should show.
const PASSWORD: &str = "TAGWIRE_PASSWORD";
const TOKEN: &str = "TAGWIRE_TOKEN";
/// Longest password that is read, bytes: a file in its place is a mistake.
const MAX_PASSWORD_BYTES: usize = 4096;

/// The flags that say it.
#[derive(clap::Args)]
pub(crate) struct Source {
    /// Folder of .proto files, or one file; imports are relative to the folder. May be given several times.
    /// Default: as in tagwire.toml, else `proto`.
    #[arg(long, value_name = "PATH", conflicts_with = "from")]
    pub(crate) schema: Vec<PathBuf>,
    /// Ask this running server for its schema: `tagwire://host:7777`, or `tagwires://` for TLS.
    #[arg(long, value_name = "URL", conflicts_with_all = ["watch", "stack"])]
    from: Option<String>,
    /// Name of a player there. The password: TAGWIRE_PASSWORD, `--password-stdin`, or you are asked for it.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from the standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// A token that the server accepts, in place of name and password. Default: TAGWIRE_TOKEN.
    #[arg(long, conflicts_with = "username")]
    token: Option<String>,
    /// PEM file of the authority that signed the server's certificate, instead of those that the system trusts.
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    ca: Option<PathBuf>,
    /// The one certificate to trust: `sha256:` and its digest, as the server prints it when it makes its own.
    #[arg(long, value_name = "DIGEST")]
    pin: Option<String>,
}

impl Source {
    /// The checked schema.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn read(&self, settings: &Settings) -> Result<Model, Failure> {
        match (&self.from, &settings.server) {
            (Some(url), set) => self.ask(url, set.as_ref()),
            (None, Some(set)) if self.schema.is_empty() => self.ask(&set.from, Some(set)),
            _ => {
                let flag = [
                    ("--username", self.username.is_some()),
                    ("--token", self.token.is_some()),
                    ("--ca", self.ca.is_some()),
                    ("--pin", self.pin.is_some()),
                ];
                match flag.iter().find(|(_, given)| *given) {
                    Some((flag, _)) => {
                        Err(Problem::new(format!("`{flag}` is for a server, and none is asked"))
                            .fix("name it: `--from tagwire://host:7777`")
                            .into())
                    }
                    None => settings.read_schema(&self.schema),
                }
            }
        }
    }

    /// True where a server is asked.
    pub(crate) fn is_server(&self, settings: &Settings) -> bool {
        self.from.is_some() || settings.server.is_some() && self.schema.is_empty()
    }

    fn ask(&self, url: &str, set: Option<&Server>) -> Result<Model, Failure> {
        let trust = Trust {
            ca: self.ca.clone().or_else(|| set?.ca.clone().filter(|_| self.pin.is_none())),
            pin: self.pin.clone().or_else(|| set?.pin.clone().filter(|_| self.ca.is_none())),
        };
        let bytes = fetch(url, &self.credentials(set)?, &trust).map_err(|error| told(&error))?;
        let strange =
            |what: String| Failure::from(Problem::new(format!("the schema of {url} cannot be used: {what}")));
        let model = load_documented(&bytes).map_err(|error| strange(error.to_string()))?;
        check(&model)
            .and_then(|()| check_patterns(&model))
            .map_err(|findings| strange(findings.to_string()))?;
        Ok(model)
    }

    fn credentials(&self, set: Option<&Server>) -> Result<Credentials, Failure> {
        let said = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(token) = self.token.clone().or_else(|| said(TOKEN).filter(|_| self.username.is_none())) {
            return Ok(Credentials { token, ..Credentials::default() });
        }
        let Some(username) = self.username.clone().or_else(|| set?.username.clone()) else {
            return Ok(Credentials::default());
        };
        let password = if self.password_stdin {
            from_stdin()?
        } else if let Some(password) = said(PASSWORD) {
            password
        } else if std::io::stdin().is_terminal() {
            rpassword::prompt_password(format!("Password of {username}: "))
                .map_err(|error| Problem::new(format!("no password could be read: {error}")))?
        } else {
            let what = format!("there is no password for {username}, and nobody to ask");
            return Err(Problem::new(what).fix(format!("set {PASSWORD}, or use `--password-stdin`")).into());
        };
        Ok(Credentials { username, password, ..Credentials::default() })
    }
}

/// What stands there, without the end of its line.
fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_PASSWORD_BYTES + 1).unwrap_or(u64::MAX);
    std::io::stdin()
        .take(limit)
        .read_to_string(&mut text)
        .map_err(|error| Problem::new(format!("no password could be read: {error}")))?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    match password.len() {
        0 => Err(Problem::new("the standard input has no password")
            .fix("write it there: `printf %s \"$SECRET\" | tagwire ...`")
            .into()),
        1..=MAX_PASSWORD_BYTES => Ok(password.to_string()),
        _ => Err(Problem::new(format!("the password is longer than {MAX_PASSWORD_BYTES} bytes")).into()),
    }
}

fn told(error: &FetchError) -> Failure {
    Problem { fix: error.fix(), ..Problem::new(error.to_string()) }.into()
}
