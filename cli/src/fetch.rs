//! Asks a running server for its schema: one connection, one question, one answer. Blocks.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};
use sha2::{Digest, Sha256};
use tagwire::frame::Decoder;
use tagwire::pb::tagwire::v1::{self, login_part};
pub(crate) use tagwire::session::client::Credentials;
use tagwire::session::{Fault, asking};
use tagwire::{CloseCode, Message as _, Tag};

/// Of every kind of address, as a server has all of them on one port.
const DEFAULT_PORT: u16 = 7777;
/// From the first look for the host to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A server's text is shown so far.
const MAX_SHOWN_CHARS: usize = 300;

/// Whom to trust with `tagwires://`. Without anything: the authorities that the system trusts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    /// A PEM file with the certificates of an authority, which then is the only one trusted.
    pub(crate) ca: Option<PathBuf>,
    /// `sha256:` and the digest of the server's certificate, as servers with a self-signed one print it. Only this very
    /// certificate is then trusted, whatever its name, dates and authority.
    pub(crate) pin: Option<String>,
}

/// Why there is no schema. The text says what is wrong; [`FetchError::fix`] what helps.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{address}: {why}")]
    Address { address: String, why: String },
    #[error("{address} is not reached: {why}")]
    Unreachable { address: String, why: String },
    #[error("{address} does not answer within {} s", TIMEOUT.as_secs())]
    Timeout { address: String },
    #[error("{address}: the connection breaks off: {why}")]
    Cut { address: String, why: String },
    #[error("{address}: the connection is not secured: {why}")]
    Tls { address: String, why: String, fix: &'static str },
    #[error("{what}: {why}")]
    Trust { what: String, why: String },
    #[error("{address} refuses: {reason}")]
    Refused {
        address: String,
        reason: String,
        /// Which part of the credentials it is. Untold: none, and others would not help.
        part: login_part::Value,
        /// Something was shown at all.
        tried: bool,
    },
    #[error("{address} refuses: {reason}")]
    WantsTls {
        address: String,
        reason: String,
        /// The same, with TLS.
        secure: String,
    },
    #[error("{address} speaks another version of the protocol: {reason}")]
    Version { address: String, reason: String },
    #[error("{address} cannot answer now: {reason}")]
    Busy { address: String, reason: String, retry_after_ms: u32 },
    #[error("{address} does not know how to tell its schema: the server is older than this command")]
    TooOld { address: String },
    #[error("{address}: what answers there is no tagwire server: {why}")]
    Foreign { address: String, why: String },
}

impl FetchError {
    /// What helps, where that is known.
    pub(crate) fn fix(&self) -> Option<String> {
        Some(match self {
            FetchError::Address { .. } => "write tagwire://host:7777, or tagwires://host:7777 for TLS".into(),
            FetchError::Unreachable { .. } => {
                "see that the server runs, and listens where others reach it (its setting `listen`)".into()
            }
            FetchError::Timeout { .. } => {
                "see that the port is the server's, and that nothing between holds the connection back".into()
            }
            FetchError::Cut { .. } => {
                "try again; if it stays so, the server's log may say why, or something between is in the way"
                    .into()
            }
            FetchError::Tls { fix, .. } => (*fix).into(),
            FetchError::Trust { .. } => return None,
            // Where credentials are not what is wrong, to ask for them could only give them away.
            FetchError::Refused { part: login_part::Value::Untold, .. } => {
                "make stubs from its .proto files instead".into()
            }
            FetchError::Refused { part: login_part::Value::Token, .. } => {
                "show a token that the server accepts now".into()
            }
            FetchError::Refused { tried: false, .. } => {
                "show the name and password of a player, or a token".into()
            }
            FetchError::Refused { .. } => "see that name and password are those of a player there".into(),
            FetchError::WantsTls { secure, .. } => format!("use {secure}, on the same port"),
            FetchError::Version { .. } => format!(
                "update the older of the two; this command is {}, and speaks version {}",
                env!("CARGO_PKG_VERSION"),
                tagwire::PROTOCOL_VERSION
            ),
            FetchError::Busy { retry_after_ms: 0, .. } => "try again later".into(),
            FetchError::Busy { retry_after_ms, .. } => {
                format!("try again in {} s", retry_after_ms.div_ceil(1000))
            }
            FetchError::TooOld { .. } => "update the server, or make stubs from its .proto files".into(),
            FetchError::Foreign { .. } => "see that host and port are those of the game's server".into(),
        })
    }
}

/// An address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    secure: bool,
    host: String,
    port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { secure, host, port } = self;
        let scheme = if *secure { "tagwires" } else { "tagwire" };
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

/// Asks the server at `url` for its schema: `tagwire://host:7777`, `tagwires://` for TLS; `host:port` and `host` alone mean
/// the first. Gives an encoded `google.protobuf.FileDescriptorSet`, not looked at yet: it is a stranger's, and for
/// `tagwire_codegen::load::load_documented`.
///
/// # Errors
/// Why there is none.
pub(crate) fn fetch(url: &str, credentials: &Credentials, trust: &Trust) -> Result<Vec<u8>, FetchError> {
    let address = parse(url)?;
    let deadline = Instant::now() + TIMEOUT;
    let tls = if address.secure { Some(client_config(trust)?) } else { None };
    let socket = connect(&address, deadline)?;
    let question = asking::question(credentials, "tagwire-cli", env!("CARGO_PKG_VERSION"));
    let answer = match tls {
        None => converse(&mut Timed { socket: &socket, deadline }, &question),
        Some(config) => {
            // OpenSSL knows no zones either, and a name is the same with a dot at its end.
            let host = address.host.split('%').next().unwrap_or_default().trim_end_matches('.');
            let name = ServerName::try_from(host.to_string()).map_err(|_| FetchError::Address {
                address: address.to_string(),
                why: "that is not a host name that a certificate could have".to_string(),
            })?;
            let connection =
                ClientConnection::new(config, name).map_err(|error| tls_error(&address, &error))?;
            let mut stream = StreamOwned::new(connection, Timed { socket: &socket, deadline });
            match converse(&mut stream, &question) {
                // An end without TLS's goodbye. In the handshake it says something else, below.
                Err(Broken::Io(error))
                    if error.kind() == io::ErrorKind::UnexpectedEof && !stream.conn.is_handshaking() =>
                {
                    Err(Broken::Ended)
                }
                told => told,
            }
        }
    };
    answer.map_err(|broken| match broken {
        Broken::Io(error) => io_error(&address, &error),
        Broken::Ended => FetchError::Foreign {
            address: address.to_string(),
            why: "it closes the connection without a word".to_string(),
        },
        Broken::Within(why) => FetchError::Cut {
            address: address.to_string(),
            why: format!("in the middle of the answer: {why}"),
        },
        Broken::Fault(fault) => FetchError::Foreign { address: address.to_string(), why: fault.to_string() },
        Broken::NotTold(not_told) => not_told_error(&address, credentials, not_told),
    })
}

/// What keeps a conversation from its end.
enum Broken {
    Io(io::Error),
    /// Before a word, or what came is no answer of ours.
    Ended,
    /// In the middle of the answer, for this reason.
    Within(String),
    Fault(Fault),
    NotTold(asking::NotTold),
}

fn converse(stream: &mut (impl Read + Write), question: &[u8]) -> Result<Vec<u8>, Broken> {
    stream.write_all(question).and_then(|()| stream.flush()).map_err(Broken::Io)?;
    let mut decoder = Decoder::default();
    decoder.set_limits(asking::decoder_limits());
    let (mut buffer, mut head) = (vec![0; 64 * 1024], vec![]);
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) if is_answer(&head) => return Err(Broken::Within("it ends".to_string())),
            Ok(0) => return Err(Broken::Ended),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_answer(&head) && !is_timeout(&error) => {
                let why = match error.kind() {
                    // TLS's goodbye is missing as well.
                    io::ErrorKind::UnexpectedEof => "it ends".to_string(),
                    _ => error.to_string(),
                };
                return Err(Broken::Within(why));
            }
            Err(error) => return Err(Broken::Io(error)),
        };
        let mut input = &buffer[..count];
        head.extend(input.iter().take(MAX_TAG_END - head.len()));
        match decoder.next(&mut input) {
            Ok(None) => {}
            Ok(Some(frame)) => {
                return asking::answer(frame).map(|told| told.to_vec()).map_err(Broken::NotTold);
            }
            Err(error) => return Err(Broken::Fault(error.into())),
        }
    }
}

/// Where the tag of a frame ends at the latest.
const MAX_TAG_END: usize = 4;

/// Whether what begins so is a frame that may answer, and not what another kind of server says.
fn is_answer(head: &[u8]) -> bool {
    let tag = match *head {
        [0xff, 0, high, low] => u16::from_be_bytes([high, low]),
        [_, tag, ..] => tag.into(),
        _ => return false,
    };
    [v1::SchemaOffer::TAG, v1::Disconnect::TAG, v1::Welcome::TAG, v1::SchemaWanted::TAG].contains(&Tag(tag))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// A socket whose every read and write ends at one time.
struct Timed<'a> {
    socket: &'a TcpStream,
    deadline: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(into)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parse(url: &str) -> Result<Address, FetchError> {
    let url = url.trim();
    let wrong = |address: &str, why: String| FetchError::Address { address: shown(address), why };
    let (scheme, rest) = url.split_once("://").unwrap_or(("tagwire", url));
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "tagwire" => false,
        "tagwires" => true,
        scheme @ ("ws" | "wss") => {
            let same = if scheme == "ws" { "tagwire" } else { "tagwires" };
            let why = format!("a schema is not asked for by WebSocket; use {same}://, on the same port");
            return Err(wrong(url, why));
        }
        _ => return Err(wrong(url, format!("{}:// is not known", shown(scheme)))),
    };
    if let Some((_, behind)) = rest.rsplit_once('@') {
        // What stands before it may be a secret, and is not repeated.
        let why = "name and password are not part of an address; they are given beside it";
        return Err(wrong(&format!("...@{behind}"), why.to_string()));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
        match inner.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) if port.starts_with(':') => (host, Some(&port[1..])),
            _ => return Err(wrong(url, "an IPv6 address is written [address]:port".to_string())),
        }
    } else if rest.matches(':').count() > 1 {
        (rest, None)
    } else {
        match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        }
    };
    if host.is_empty()
        || host.contains(|c: char| "/?#[]\\".contains(c) || c.is_whitespace() || c.is_control())
    {
        return Err(wrong(url, "there is no host name in it".to_string()));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(port) if port != 0 => port,
            _ => return Err(wrong(url, format!("the port is {:?}, not 1 to 65535", shown(port)))),
        },
    };
    Ok(Address { secure, host: host.to_string(), port })
}

/// Does what may block for longer than there is time, as a look for a host may, on a thread that is left alone then.
fn within<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done_tx, done_rx) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || {
        // Nobody may be waiting any more.
        let _ = done_tx.send(work());
    })?;
    let done = done_rx.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    done.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "its name is not resolved in time")))
}

/// Tries every address of the host.
fn connect(address: &Address, deadline: Instant) -> Result<TcpStream, FetchError> {
    let unreachable = |why: String| FetchError::Unreachable { address: address.to_string(), why };
    let (host, port) = (address.host.clone(), address.port);
    let found = within(deadline, move || Ok((host.as_str(), port).to_socket_addrs()?.collect::<Vec<_>>()));
    let found = found.map_err(|error| unreachable(error.to_string()))?;
    let mut last = "the host has no address".to_string();
    for (place, socket) in found.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        // One that does not answer must leave time for the others.
        let share = left / u32::try_from(found.len() - place).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(FetchError::Timeout { address: address.to_string() });
        }
        match TcpStream::connect_timeout(socket, share) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                last = "nothing answers there".to_string();
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(unreachable(last))
}

fn io_error(address: &Address, error: &io::Error) -> FetchError {
    if is_timeout(error) {
        return FetchError::Timeout { address: address.to_string() };
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(inner) => tls_error(address, inner),
        None if address.secure && error.kind() == io::ErrorKind::UnexpectedEof => FetchError::Tls {
            address: address.to_string(),
            why: "the server closes the connection in the handshake".to_string(),
            fix: "does it speak TLS on this port? One without has a tagwire:// address",
        },
        // It was reached, or this would be an error of `connect`.
        None => FetchError::Cut { address: address.to_string(), why: error.to_string() },
    }
}

fn tls_error(address: &Address, error: &rustls::Error) -> FetchError {
    const OTHER_NAME: &str = "use a name that the certificate has";
    const TRUST: &str = "trust the authority that signed it with --ca FILE, or this certificate with --pin sha256:... if \
                         it is self-signed: the server prints that at its start";
    let (why, fix) = match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                ("the server's certificate has expired".to_string(), "the server needs a new one")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                "the server's certificate is not valid yet".to_string(),
                "is the clock of this machine right?",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ("the server's certificate is for another host".to_string(), OTHER_NAME)
            }
            CertificateError::Other(other) => (
                other.to_string(),
                "if the server has got a new certificate, pin that; else somebody stands between",
            ),
            CertificateError::UnknownIssuer => {
                ("nobody whom this machine trusts has signed the server's certificate".to_string(), TRUST)
            }
            other => (format!("the server's certificate is not accepted: {other}"), TRUST),
        },
        rustls::Error::InvalidMessage(_) => (
            "what answers there speaks no TLS".to_string(),
            "use the port on which it does, or tagwire:// if it is meant to be without",
        ),
        other => (
            other.to_string(),
            "see that the server speaks TLS 1.2 or newer, and wants no certificate of clients",
        ),
    };
    FetchError::Tls { address: address.to_string(), why, fix }
}

fn not_told_error(address: &Address, credentials: &Credentials, not_told: asking::NotTold) -> FetchError {
    let secure = Address { secure: true, ..address.clone() }.to_string();
    let (is_secure, address) = (address.secure, address.to_string());
    match not_told {
        asking::NotTold::Refused { code, reason, retry_after_ms, refused } => {
            let reason = match shown(&reason) {
                reason if reason.is_empty() => code.to_string(),
                reason => reason,
            };
            if code.retryable() || code == CloseCode::LOGIN_TIMEOUT || retry_after_ms > 0 {
                return FetchError::Busy { address, reason, retry_after_ms };
            }
            if code == CloseCode::VERSION {
                return FetchError::Version { address, reason };
            }
            // Its words are for people, and yet to be led to TLS by them harms nobody.
            if !is_secure && refused == login_part::Value::Untold && reason.contains("tagwires://") {
                return FetchError::WantsTls { address, reason, secure };
            }
            let Credentials { username, password, token } = credentials;
            let tried = [username, password, token].iter().any(|text| !text.is_empty());
            FetchError::Refused { address, reason, part: refused, tried }
        }
        asking::NotTold::TooOld => FetchError::TooOld { address },
        other => FetchError::Foreign { address, why: shown(&other.to_string()) },
    }
}

/// A stranger's text, fit for a terminal.
fn shown(text: &str) -> String {
    text.chars()
        .take(MAX_SHOWN_CHARS)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, FetchError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of both versions");
    let config = match trust {
        Trust { ca: Some(_), pin: Some(pin) } => {
            return Err(FetchError::Trust {
                what: format!("--pin {}", shown(pin)),
                why: "give --ca or --pin; a pinned certificate is trusted whoever signed it".to_string(),
            });
        }
        Trust { pin: Some(pin), .. } => {
            let digest = digest_of(pin)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { digest, provider }))
        }
        Trust { ca: Some(path), .. } => {
            let wrong = |why: String| FetchError::Trust { what: format!("--ca {}", path.display()), why };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| wrong(error.to_string()))?;
            let mut roots = RootCertStore::empty();
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(wrong("there is no certificate in it, as PEM".to_string()));
            }
            builder.with_root_certificates(roots)
        }
        Trust { .. } => {
            let mut roots = RootCertStore::empty();
            // What cannot be read of them is missed when a certificate needs it, and said then.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            builder.with_root_certificates(roots)
        }
    };
    Ok(Arc::new(config.with_no_client_auth()))
}

/// The digest in a pin; colons in between and capitals are fine.
fn digest_of(pin: &str) -> Result<[u8; 32], FetchError> {
    let digest = || {
        let (scheme, digits) = pin.trim().split_once(':')?;
        let digits = digits.replace(':', "");
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !scheme.eq_ignore_ascii_case("sha256") || digits.len() != 64 || !is_hex {
            return None;
        }
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(digest)
    };
    digest().ok_or_else(|| FetchError::Trust {
        what: format!("--pin {}", shown(pin)),
        why: "a pin is sha256: and 64 hexadecimal digits".to_string(),
    })
}

/// Trusts one certificate alone.
#[derive(Debug)]
struct Pinned {
    digest: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// It is another certificate.
#[derive(Debug, thiserror::Error)]
#[error("the server's certificate is sha256:{found}, pinned is sha256:{pinned}")]
struct OtherCertificate {
    found: String,
    pinned: String,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found: [u8; 32] = Sha256::digest(end_entity).into();
        if found == self.digest {
            return Ok(ServerCertVerified::assertion());
        }
        let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let other = OtherCertificate { found: hex(&found), pinned: hex(&self.digest) };
        Err(CertificateError::Other(rustls::OtherError(Arc::new(other))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_as_elsewhere() {
        for (url, told) in [
            ("tagwire://game.example:7000", "tagwire://game.example:7000"),
            ("TAGWIRES://game.example", "tagwires://game.example:7777"),
            ("localhost", "tagwire://localhost:7777"),
            ("localhost:1/", "tagwire://localhost:1"),
            ("::1", "tagwire://[::1]:7777"),
            ("tagwires://[::1]:9", "tagwires://[::1]:9"),
            (" [::1] ", "tagwire://[::1]:7777"),
        ] {
            assert_eq!(parse(url).unwrap().to_string(), told, "{url}");
        }
        for (url, why) in [
            ("", "no host name"),
            (":7777", "no host name"),
            ("tagwire://a b", "no host name"),
            ("tagwire://host/path", "no host name"),
            ("host:0", "not 1 to 65535"),
            ("host:65536", "not 1 to 65535"),
            ("host:x", "not 1 to 65535"),
            ("[::1", "[address]:port"),
            ("[::1]7", "[address]:port"),
            ("wss://host", "use tagwires://"),
            ("http://host", "http:// is not known"),
            ("tagwire://zoe:secret@host", "name and password"),
        ] {
            let error = parse(url).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(why) && !text.contains("secret"), "{url}: {text}");
            assert!(error.fix().is_some());
        }
    }

    #[test]
    fn what_blocks_is_not_waited_for_beyond_the_deadline() {
        let now = Instant::now();
        // Only when the answer is there is the thread let go on.
        let (go_tx, go_rx) = mpsc::channel::<()>();
        let late = within(now, move || Ok(go_rx.recv().is_ok())).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(go_tx);
        assert_eq!(within(now + TIMEOUT, || Ok(7)).unwrap(), 7);
        let failed = within(now + TIMEOUT, || Err::<(), _>(io::ErrorKind::NotFound.into())).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_pin_is_a_digest_however_it_is_written() {
        let digits = "0123456789abcdef".repeat(4);
        let colons: Vec<_> = (0..32).map(|at| &digits[2 * at..2 * at + 2]).collect();
        let written = [format!("sha256:{digits}"), format!("SHA256:{}", colons.join(":").to_uppercase())];
        for pin in &written {
            assert_eq!(digest_of(pin).unwrap()[..4], [0x01, 0x23, 0x45, 0x67], "{pin}");
        }
        let signs = format!("sha256:{}", "+f".repeat(32));
        for pin in [
            "",
            "sha256:",
            &digits,
            &format!("sha1:{digits}"),
            &format!("sha256:{digits}0"),
            "sha256:é",
            &signs,
        ] {
            assert!(digest_of(pin).is_err(), "{pin}");
        }
    }

    #[test]
    fn what_a_server_says_cannot_write_to_the_terminal() {
        assert_eq!(shown("a\u{1b}[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(shown(&"x".repeat(1000)).len(), MAX_SHOWN_CHARS);
    }
}
