//! Where the schema of a command comes from: files, or a running server.

use std::env;
use std::io::{IsTerminal as _, Read as _};
use std::net::IpAddr;
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
#[derive(Default, clap::Args)]
pub(crate) struct Source {
    /// Folder of .proto files, or one file; imports are relative to the folder. May be given several times.
    /// Default: as in tagwire.toml, else `proto`.
    #[arg(long, value_name = "PATH", conflicts_with = "from")]
    pub(crate) schema: Vec<PathBuf>,
    /// Ask this running server for its schema: `tagwire://host:7777`, or `tagwires://` for TLS, without which passwords
    /// and tokens go to this machine only.
    #[arg(long, value_name = "URL", conflicts_with_all = ["watch", "stack"])]
    from: Option<String>,
    /// Name of a player there. The password: TAGWIRE_PASSWORD, `--password-stdin`, or you are asked for it.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from the standard input.
    #[arg(long, conflicts_with = "token")]
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
                    ("--password-stdin", self.password_stdin),
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
        let credentials = self.credentials(url, set)?;
        let bytes = fetch(url, &credentials, &trust).map_err(|error| told(&error))?;
        usable(url, &bytes)
    }

    /// What is shown to the server at `url`. It is asked for only where it may be sent.
    fn credentials(&self, url: &str, set: Option<&Server>) -> Result<Credentials, Failure> {
        let said = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let username = self.username.clone().or_else(|| set?.username.clone());
        // The variable is there for all servers; a name is written for this one.
        let by_default = said(TOKEN).filter(|_| username.is_none() && !self.password_stdin);
        if let Some(token) = self.token.clone().or(by_default) {
            refuse_open(url)?;
            return Ok(Credentials { token, ..Credentials::default() });
        }
        let Some(username) = username else {
            if self.password_stdin {
                let what = "`--password-stdin` is for a player, and none is named";
                return Err(Problem::new(what).fix("name it: `--username NAME`").into());
            }
            return Ok(Credentials::default());
        };
        refuse_open(url)?;
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

/// Refuses to send what is secret where others can read it: without TLS it stays on this machine.
fn refuse_open(url: &str) -> Result<(), Failure> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").unwrap_or(("tagwire", url));
    // Others than these two are no addresses, and `fetch` says so before it sends anything.
    if !scheme.eq_ignore_ascii_case("tagwire") || rest.contains('@') || is_this_machine(rest) {
        return Ok(());
    }
    let what = format!("to {url} there is no TLS: name and password, or a token, could be read on the way");
    let fix = format!(
        "use tagwires://{rest}; or ask without them, if the server tells everyone: no `username`, no {TOKEN}"
    );
    Err(Problem::new(what).fix(fix).into())
}

/// Whether `host:port` is this machine.
fn is_this_machine(address: &str) -> bool {
    let address = address.strip_suffix('/').unwrap_or(address);
    let host = match address.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, _)) => host,
        // With more colons it is an IPv6 address without a port.
        None if address.matches(':').count() == 1 => address.split(':').next().unwrap_or(address),
        None => address,
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The schema that a server told, if it is one.
fn usable(url: &str, bytes: &[u8]) -> Result<Model, Failure> {
    let strange = |what: &str| format!("the schema of {url} cannot be used: {what}");
    let model = load_documented(bytes).map_err(|error| Problem::new(strange(&error.to_string())))?;
    check(&model).and_then(|()| check_patterns(&model)).map_err(|findings| {
        let mut failure = Failure::from(findings);
        failure.0.iter_mut().for_each(|problem| problem.what = strange(&problem.what));
        failure
    })?;
    Ok(model)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn each_finding_of_a_servers_schema_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let text = "syntax = \"proto3\";\npackage game.v1;\nimport \"tagwire/v1/options.proto\";\nmessage Move {\n  \
                    option (tagwire.v1.rules) = { tag: 3, to: ROOM, max_rate: \"fast\" };\n}\n";
        std::fs::write(dir.path().join("game.proto"), text).unwrap();
        let model = tagwire_codegen::load::load(&[dir.path().to_path_buf()]).unwrap();
        let failure = usable("tagwire://host", &model.documented_set()).unwrap_err();
        assert_eq!(failure.0.len(), 3, "{failure:?}");
        for problem in &failure.0 {
            assert!(problem.what.starts_with("the schema of tagwire://host cannot be used: "), "{problem}");
            assert!(problem.file.is_some() && problem.fix.is_some(), "{problem:?}");
        }
    }
}
