//! The server's certificate: from files or made at the start, read again while the server runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tracing::info;

use crate::config::{ClientCertificates, TlsConfig};

/// In place of a file: a certificate is made at the start.
pub(crate) const SELF_SIGNED: &str = "self-signed";
/// What is spoken inside, as TLS itself may ask (ALPN): browsers say the first, a client of ours may say the second.
const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"tagwire.v1"];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{key} = {path:?}: {reason}\n  fix: {fix}", path = path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What helps.
        fix: &'static str,
    },
    /// Certificate and key are not for each other, or of a kind that is not served.
    #[error(
        "tls.certificate = {path:?}: {reason}\n  fix: name the key that belongs to the first certificate of the file, in tls.key or in the same file"
    )]
    Unfit {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    SelfSigned(String),
}

/// What new connections are shown; `None` inside: there is no TLS.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    current: ArcSwapOption<ServerConfig>,
    /// Made at the start: it stays, however often the files are read again.
    self_signed: ArcSwapOption<Identity>,
}

/// A certificate with its chain, and its key.
#[derive(Debug)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Tls {
    /// For new connections from now on.
    pub(crate) fn current(&self) -> Option<Arc<ServerConfig>> {
        self.current.load_full()
    }

    pub(crate) fn is_on(&self) -> bool {
        self.current.load().is_some()
    }

    /// Reads what `config` names. Where that cannot be, all stays as it was.
    pub(crate) fn load(&self, config: &TlsConfig, names: &[String]) -> Result<(), TlsError> {
        if config.certificate.is_empty() {
            self.current.store(None);
            return Ok(());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let identity = if config.certificate == SELF_SIGNED {
            match self.self_signed.load_full() {
                Some(identity) => identity,
                None => Arc::new(self_signed(names)?),
            }
        } else {
            Arc::new(read_identity(config)?)
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(config, error))?;
        let builder = match client_verifier(config, provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|error| unfit(config, error))?;
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        let fingerprint = identity.chain.first().map_or_else(String::new, |first| fingerprint(first));
        if config.certificate == SELF_SIGNED {
            info!("TLS with a certificate made for this run; clients pin {fingerprint}");
            self.self_signed.store(Some(identity));
        } else {
            info!("TLS with {}: {fingerprint}", config.certificate);
        }
        self.current.store(Some(Arc::new(server)));
        Ok(())
    }
}

fn unfit(config: &TlsConfig, error: rustls::Error) -> TlsError {
    TlsError::Unfit { path: config.certificate.clone().into(), reason: error.to_string() }
}

/// `sha256:` and the digest of a certificate in hexadecimal digits: what a client pins.
fn fingerprint(certificate: &[u8]) -> String {
    Sha256::digest(certificate).iter().fold("sha256:".to_string(), |text, byte| format!("{text}{byte:02x}"))
}

fn self_signed(names: &[String]) -> Result<Identity, TlsError> {
    let made = rcgen::generate_simple_self_signed(names.to_vec())
        .map_err(|error| TlsError::SelfSigned(error.to_string()))?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|error| TlsError::SelfSigned(error.to_string()))?;
    Ok(Identity { chain: vec![made.cert.der().clone()], key })
}

fn read_identity(config: &TlsConfig) -> Result<Identity, TlsError> {
    let chain = read_certificates("tls.certificate", config.certificate.as_ref())?;
    let (key_name, path) = match config.key.as_str() {
        "" => ("tls.certificate", Path::new(&config.certificate)),
        path => ("tls.key", Path::new(path)),
    };
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| {
        file_error(key_name, path, &error, "no private key in it", "name a PEM file with the key: tls.key")
    })?;
    Ok(Identity { chain, key })
}

fn read_certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const FIX: &str = "name a PEM file: -----BEGIN CERTIFICATE----- and so on";
    let failed = |error: pem::Error| file_error(key, path, &error, "no certificate in it", FIX);
    let read: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if read.is_empty() {
        return Err(failed(pem::Error::NoItemsFound));
    }
    Ok(read)
}

fn file_error(
    key: &'static str,
    path: &Path,
    error: &pem::Error,
    nothing: &str,
    fix: &'static str,
) -> TlsError {
    let (reason, fix) = match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => (
            "there is no such file".to_string(),
            "name a file that is there, relative to where the server starts",
        ),
        pem::Error::Io(error) => (error.to_string(), "see to it that the server may read it"),
        pem::Error::NoItemsFound => (nothing.to_string(), fix),
        error => (format!("not PEM: {error}"), fix),
    };
    TlsError::File { key, path: path.to_path_buf(), reason, fix }
}

fn client_verifier(
    config: &TlsConfig,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>, TlsError> {
    if config.client_ca.is_empty() {
        return Ok(None);
    }
    let path = Path::new(&config.client_ca);
    let unusable = |reason: String| TlsError::File {
        key: "tls.client_ca",
        path: path.to_path_buf(),
        reason,
        fix: "name a PEM file with the certificates of those who sign clients' certificates",
    };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("tls.client_ca", path)? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match config.client_certificates {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    builder.build().map(Some).map_err(|error| unusable(error.to_string()))
}
