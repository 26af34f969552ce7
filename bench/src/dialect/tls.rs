//! TLS 1.3 around another dialect.

use std::fmt;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use super::rest::Rest;
use super::{Dialect, Heard, Say};

/// Believes everybody: for servers on loopback, whose certificates were made when they started.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What all clients of a run share. Each makes a whole handshake: none of it is kept for the next.
///
/// # Errors
/// The library of TLS has no TLS 1.3.
pub fn config() -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// No more is gathered for a record.
const GATHERED_BYTES: usize = 16 * 1024;

/// A dialect whose bytes are encrypted: what it says in a turn is one record, up to 16 KiB.
pub struct Tls {
    inner: Box<dyn Dialect>,
    config: Arc<ClientConfig>,
    connection: ClientConnection,
    /// What the inner one has just said, in the clear.
    said: Vec<u8>,
    rest: Rest,
}

impl Tls {
    /// Around `inner`.
    ///
    /// # Errors
    /// The settings do not do for a client.
    pub fn new(inner: Box<dyn Dialect>, config: Arc<ClientConfig>) -> anyhow::Result<Self> {
        let name = ServerName::try_from("localhost").context("a name")?;
        let mut connection = ClientConnection::new(Arc::clone(&config), name).context("a client of TLS")?;
        // What is said is written at once; what is said before the handshake is over is little.
        connection.set_buffer_limit(None);
        Ok(Tls { inner, config, connection, said: vec![], rest: Rest::default() })
    }

    /// Encrypts what the inner one has said, and appends what is ready to be sent.
    fn encrypt(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        if !self.said.is_empty() {
            self.connection.writer().write_all(&self.said).context("to encrypt")?;
            self.said.clear();
        }
        while self.connection.wants_write() {
            self.connection.write_tls(out).context("to write TLS")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Dialect for Tls {
    fn open(&mut self, out: &mut Vec<u8>) {
        // Kept by the connection until there are keys.
        self.inner.open(&mut self.said);
        self.encrypt(out).expect("writing into memory does not fail");
    }

    fn say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>) {
        self.inner.say(what, body, &mut self.said);
        if self.said.len() >= GATHERED_BYTES {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.inner.flush(&mut self.said);
        self.encrypt(out).expect("writing into memory does not fail");
    }

    fn take(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize> {
        let bytes = input.len();
        while !input.is_empty() {
            self.connection.read_tls(&mut input).context("to read TLS")?;
            if let Err(error) = self.connection.process_new_packets() {
                // The alert that says why.
                self.encrypt(out)?;
                return Err(error).context("what came is not of this TLS connection");
            }
            loop {
                let mut reader = self.connection.reader();
                // Neither of its errors is one here: nothing more for now, or an end without a farewell.
                let Ok(plain @ [_, ..]) = reader.fill_buf() else { break };
                let bytes = plain.len();
                self.rest.feed(&mut *self.inner, plain, &mut self.said, heard)?;
                reader.consume(bytes);
            }
        }
        self.encrypt(out)?;
        Ok(bytes)
    }

    fn resumed(&self) -> Option<Box<dyn Dialect>> {
        let tls = Tls::new(self.inner.resumed()?, Arc::clone(&self.config));
        Some(Box::new(tls.expect("as it was for this one")))
    }
}
