//! What may be set, with units and defaults. Where it comes from is in `sources`.

mod auth;
mod change;
mod limits;
mod print;
mod sources;

use std::collections::BTreeMap;
use std::net::SocketAddr;

pub use auth::{AuthKind, DevAuth, FileAuth, JwtAlgorithm, JwtAuth};
pub use change::Change;
use ipnet::IpNet;
pub use limits::Limits;
use serde::{Deserialize, Serialize};
pub use sources::{ConfigError, Flag, Loaded, Sources};
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::http::is_origin_rule;

/// The one key whose value is shown to nobody.
const PASSWORD: &str = "dev_auth.password";

/// The settings of a server. In a file: TOML, keys as the fields here; an unknown key is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen; port 0 picks a free one. Default `["127.0.0.1:7777"]`.
    pub listen: Vec<SocketAddr>,
    /// Folder of `.proto` files, or one file, to serve instead of the schema that was compiled in. Default "": none.
    pub schema: String,
    /// Which clients come in, by how their schema compares to the server's. Default `compatible`.
    pub schema_policy: SchemaPolicy,
    /// Who may ask for the schema, to make stubs from. Default `auto`.
    pub schema_access: SchemaAccess,
    /// Whether they get the comments of its files, too. Default `auto`.
    pub schema_comments: SchemaComments,
    /// Threads that carry connections; 0: as many as cores. As many others run the code of rooms, if a game has any. Default 0.
    pub threads: usize,
    /// What to log: a level, or a filter of the crate tracing-subscriber. Default "info".
    pub log: String,
    /// How to log. Default `human`.
    pub log_format: LogFormat,
    /// Admit clients of the reference's wire, whose login has no `client` info. Default true.
    pub classic: bool,
    /// Who judges logins. Default `dev`.
    pub auth: AuthKind,
    /// Admit players without name, password and token, as guests, whose names the server makes up. Default false.
    pub guests: bool,
    /// Name of the room that a login leads to; empty: none, until the client joins one. Default "main".
    pub default_room: String,
    /// Milliseconds that clients are told to wait before they come back after a shutdown. Default 1000.
    pub shutdown_retry_ms: u32,
    /// Bytes that the kernel may hold unsent for one session before it refuses more; 0: as many as it likes.
    /// Default 16384. What waits in the kernel can no longer be replaced by something newer.
    pub tcp_notsent_lowat_bytes: u32,
    /// Who may log in without TLS. Default `auto`.
    pub plaintext: Plaintext,
    /// Addresses from which connections begin with a PROXY header that says who they are for. Default none.
    #[serde(deserialize_with = "limits::networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Pages that may open a WebSocket: "same", those of the host that is asked; "loopback", those of this machine; "*",
    /// all; or origins like `"https://game.example"`. Default `["same", "loopback"]`.
    pub websocket_origins: Vec<String>,
    /// Folder of files to show to browsers, on the same port; `/` is its `index.html`. Default "": none.
    pub web: String,
    /// What may change while the server runs.
    pub limits: Limits,
    /// Encryption.
    pub tls: TlsConfig,
    /// One password for every name, while a game is made. For `auth` = `dev`.
    pub dev_auth: DevAuth,
    /// Names and passwords from a file. For `auth` = `file`.
    pub file_auth: FileAuth,
    /// Tokens that somebody else gives out. For `auth` = `jwt`.
    pub jwt_auth: JwtAuth,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line to read.
    Human,
    /// A JSON object a line.
    Json,
}

/// Who may log in without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plaintext {
    /// Everyone where there is no certificate; where there is one, as `loopback`.
    Auto,
    /// Everyone.
    Allow,
    /// Clients on this machine.
    Loopback,
    /// Nobody.
    Deny,
}

/// Encryption. Paths are as the server's working directory sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the certificate and those between it and the root; "self-signed": one is made at the start. Default "":
    /// no TLS.
    pub certificate: String,
    /// PEM file with the certificate's private key. Default "": it is in the file of the certificate.
    pub key: String,
    /// PEM file with the certificates of those who sign clients' certificates. Default "": clients are not asked for one.
    pub client_ca: String,
    /// Whether clients must show one then. Default `required`.
    pub client_certificates: ClientCertificates,
}

/// Whether clients must show a certificate, where they are asked for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Who shows one shows a good one.
    Optional,
    /// All do.
    Required,
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig {
            certificate: String::new(),
            key: String::new(),
            client_ca: String::new(),
            client_certificates: ClientCertificates::Required,
        }
    }
}

/// Who may ask the server for its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaAccess {
    /// With development passwords `anyone`, else `player`.
    Auto,
    /// Whoever reaches the port.
    Anyone,
    /// Who could log in.
    Player,
    /// Nobody.
    Nobody,
}

/// Whether the schema is told with the comments of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaComments {
    /// With development passwords `always`, else `never`.
    Auto,
    /// With them.
    Always,
    /// Without.
    Never,
}

/// Which clients come in, by how their schema compares to the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaPolicy {
    /// The same, and those that differ by additions.
    Compatible,
    /// The same alone.
    Exact,
    /// All; nothing is compared.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 7777))],
            schema: String::new(),
            schema_policy: SchemaPolicy::Compatible,
            schema_access: SchemaAccess::Auto,
            schema_comments: SchemaComments::Auto,
            threads: 0,
            log: "info".to_string(),
            log_format: LogFormat::Human,
            classic: true,
            auth: AuthKind::Dev,
            guests: false,
            default_room: "main".to_string(),
            shutdown_retry_ms: 1000,
            tcp_notsent_lowat_bytes: 16 * 1024,
            plaintext: Plaintext::Auto,
            trusted_proxies: vec![],
            websocket_origins: ["same", "loopback"].map(str::to_string).to_vec(),
            web: String::new(),
            limits: Limits::default(),
            tls: TlsConfig::default(),
            dev_auth: DevAuth::default(),
            file_auth: FileAuth::default(),
            jwt_auth: JwtAuth::default(),
        }
    }
}

/// A value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: expected {expected}{}", fix_line(*.fix))]
pub struct ValueError {
    /// The key, tables with dots: `limits.max_rooms`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub expected: String,
    /// The key that asks for it, where it is another.
    pub because_of: Option<&'static str>,
    /// What helps, where it is not plain.
    pub fix: Option<&'static str>,
}

pub(crate) fn fix_line(fix: Option<&str>) -> String {
    fix.map(|fix| format!("\n  fix: {fix}")).unwrap_or_default()
}

impl ValueError {
    fn new(key: &'static str, value: impl ToString, expected: impl ToString) -> Self {
        let (value, expected) = (value.to_string(), expected.to_string());
        ValueError { key, value, expected, because_of: None, fix: None }
    }

    fn because_of(mut self, key: &'static str, value: u64) -> Self {
        self.because_of = Some(key);
        self.expected += &format!(", for {key} = {value}");
        self
    }

    fn or(mut self, other: &str) -> Self {
        self.expected = format!("{other} or {}", self.expected);
        self
    }

    fn fix(mut self, fix: &'static str) -> Self {
        self.fix = Some(fix);
        self
    }
}

fn range(key: &'static str, value: u64, least: u64, most: u64) -> Result<(), ValueError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ValueError::new(key, value, format!("{least} to {most}")))
}

impl Config {
    /// Judges the values.
    ///
    /// # Errors
    /// The first that cannot be, with its key and what it may be.
    pub fn validate(&self) -> Result<(), ValueError> {
        if self.listen.is_empty() {
            return Err(ValueError::new("listen", "[]", "at least one address, \"127.0.0.1:7777\""));
        }
        range("threads", self.threads as u64, 0, 1024)?;
        if let Err(error) = log_filter(&self.log) {
            return Err(ValueError::new("log", &self.log, format!("a level or a filter: {error}"))
                .fix("use error, warn, info, debug or trace"));
        }
        if self.default_room.is_empty() {
            if self.classic {
                return Err(ValueError::new(
                    "default_room",
                    "\"\"",
                    "a name: classic clients cannot join a room, and would be in none for ever",
                )
                .fix("set classic = false"));
            }
        } else {
            tagwire::name::room(&self.default_room).map_err(|error| {
                ValueError::new("default_room", format!("{:?}", self.default_room), error)
            })?;
        }
        range("shutdown_retry_ms", self.shutdown_retry_ms.into(), 0, 3_600_000)?;
        range("tcp_notsent_lowat_bytes", self.tcp_notsent_lowat_bytes.into(), 0, 1 << 30)?;
        if let Some(rule) = self.websocket_origins.iter().find(|rule| !is_origin_rule(rule)) {
            return Err(ValueError::new(
                "websocket_origins",
                format!("{rule:?}"),
                "\"same\", \"loopback\", \"*\", or an origin like \"https://game.example\", without a path",
            ));
        }
        self.limits.validate()?;
        for (key, value) in [("tls.key", &self.tls.key), ("tls.client_ca", &self.tls.client_ca)] {
            if !value.is_empty() && self.tls.certificate.is_empty() {
                return Err(ValueError::new(key, format!("{value:?}"), "tls.certificate beside it")
                    .fix("name the server's certificate: --tls FILE, or --tls self-signed"));
            }
        }
        self.validate_auth()
    }

    /// Every key with its value.
    fn leaves(&self) -> BTreeMap<String, Value> {
        leaves(&Table::try_from(self).expect("what validate() admits fits into TOML"))
    }
}

/// Reads a filter of the log. A single word must be a level: a mistyped one would be taken for the name of a module,
/// and nothing else would be logged.
///
/// # Errors
/// It is neither a level nor a filter.
pub fn log_filter(text: &str) -> Result<EnvFilter, String> {
    let is_word = text.chars().all(char::is_alphanumeric);
    if is_word && (text.is_empty() || text.parse::<LevelFilter>().is_err()) {
        return Err(format!("{text:?} is no level"));
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())
}

/// Every key of a table with its value, those of inner tables with dots: `limits.max_rooms`.
fn leaves(table: &Table) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                found.extend(leaves(inner).into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            value => {
                found.insert(key.clone(), value.clone());
            }
        }
    }
    found
}
