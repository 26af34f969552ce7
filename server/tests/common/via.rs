//! The ways to a server, and a client's end of each. A test that is made by [`each`] runs once over every one of them.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::SockRef;
use tagwire::frame::whole_frames;
use tagwire_server::{Connector, MemoryStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// A way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    Tcp,
    Tls,
    WebSocket,
    WebSocketTls,
    Memory,
}

thread_local! {
    static VIA: Cell<Via> = const { Cell::new(Via::Tcp) };
}

impl Via {
    pub const ALL: [Via; 5] = [Via::Tcp, Via::Tls, Via::WebSocket, Via::WebSocketTls, Via::Memory];

    /// By which the clients of this thread connect.
    pub fn current() -> Via {
        VIA.get()
    }

    /// Runs a part of a test whose clients go this way.
    pub fn run<T>(self, part: impl FnOnce() -> T) -> T {
        let before = VIA.replace(self);
        let result = part();
        VIA.set(before);
        result
    }

    pub fn has_tls(self) -> bool {
        matches!(self, Via::Tls | Via::WebSocketTls)
    }

    pub fn has_websocket(self) -> bool {
        matches!(self, Via::WebSocket | Via::WebSocketTls)
    }
}

/// Makes of each function a test over TCP, one over TLS, one over WebSocket and one in memory.
#[allow(unused_macros)]
macro_rules! each {
    ($($(#[doc = $doc:literal])* fn $name:ident() $body:block)*) => {
        $($(#[doc = $doc])* fn $name() $body)*
        $crate::common::via::each!(@ tcp Tcp $($name)*);
        $crate::common::via::each!(@ tls Tls $($name)*);
        $crate::common::via::each!(@ websocket WebSocket $($name)*);
        $crate::common::via::each!(@ memory Memory $($name)*);
    };
    (@ $module:ident $via:ident $($name:ident)*) => {
        mod $module {
            $(#[test] fn $name() { $crate::common::via::Via::$via.run(super::$name) })*
        }
    };
}
#[allow(unused_imports)]
pub(crate) use each;

/// The certificate of all servers here, and the file that it and its key are in.
pub struct Identity {
    pub pem: PathBuf,
    pub certificate: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

/// Made once for a process.
pub static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_string).to_vec();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("server.pem");
    std::fs::write(&pem, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    Identity { pem, certificate: made.cert.der().clone(), _folder: folder }
});

/// Trusts [`IDENTITY`] alone. `me`: what it shows if it is asked.
pub fn client_config(me: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(IDENTITY.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match me {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => builder.with_no_client_auth(),
    })
}

static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| client_config(None));

/// Servers of this process, for those who come in memory.
static CONNECTORS: LazyLock<Mutex<HashMap<SocketAddr, Connector>>> = LazyLock::new(Mutex::default);

pub fn register(address: SocketAddr, connector: Connector) {
    CONNECTORS.lock().unwrap_or_else(PoisonError::into_inner).insert(address, connector);
}

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A client's end of a connection. Reads give `WouldBlock` after a moment in which nothing came.
pub enum End {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    WebSocket(Box<WebSocketEnd<TcpStream>>),
    WebSocketTls(Box<WebSocketEnd<TlsStream>>),
    Memory(MemoryEnd),
    /// Lost.
    Nothing,
}

const MOMENT: Duration = Duration::from_millis(50);

impl End {
    /// By the way of this thread.
    pub fn connect(address: SocketAddr) -> End {
        match Via::current() {
            Via::Memory => {
                let connector = CONNECTORS.lock().unwrap_or_else(PoisonError::into_inner)[&address].clone();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let stream = runtime.block_on(connector.connect()).unwrap();
                End::Memory(MemoryEnd { runtime, stream })
            }
            _ => End::over(TcpStream::connect(address).unwrap()),
        }
    }

    /// The same on a socket that there is.
    pub fn over(stream: TcpStream) -> End {
        stream.set_nodelay(true).unwrap();
        match Via::current() {
            Via::Tcp => {
                stream.set_read_timeout(Some(MOMENT)).unwrap();
                End::Tcp(stream)
            }
            Via::Tls => End::Tls(Box::new(tls_over(stream, Arc::clone(&CONFIG)))),
            Via::WebSocket => End::WebSocket(Box::new(WebSocketEnd::open("ws", stream))),
            Via::WebSocketTls => {
                let stream = tls_over(stream, Arc::clone(&CONFIG));
                stream.sock.set_read_timeout(None).unwrap();
                End::WebSocketTls(Box::new(WebSocketEnd::open("wss", stream)))
            }
            Via::Memory => panic!("memory goes over no socket"),
        }
        .with_moment()
    }

    fn with_moment(self) -> Self {
        self.tcp().unwrap().set_read_timeout(Some(MOMENT)).unwrap();
        self
    }

    /// The socket below.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            End::Tcp(stream) => Some(stream),
            End::Tls(stream) => Some(&stream.sock),
            End::WebSocket(end) => Some(end.socket.get_ref()),
            End::WebSocketTls(end) => Some(&end.socket.get_ref().sock),
            End::Memory(_) | End::Nothing => None,
        }
    }

    /// Loses it, as where a cable is pulled that was in the way.
    pub fn lose(&mut self) {
        if let Some(stream) = self.tcp() {
            SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        *self = End::Nothing;
    }

    /// The code with which the server closed its WebSocket.
    pub fn closed_with(&self) -> Option<(u16, String)> {
        match self {
            End::WebSocket(end) => end.closed_with.clone(),
            End::WebSocketTls(end) => end.closed_with.clone(),
            _ => None,
        }
    }
}

pub fn tls_over(stream: TcpStream, config: Arc<ClientConfig>) -> TlsStream {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            End::Tcp(stream) => stream.read(buffer),
            End::Tls(stream) => stream.read(buffer),
            End::WebSocket(end) => end.read(buffer),
            End::WebSocketTls(end) => end.read(buffer),
            End::Memory(end) => end.read(buffer),
            End::Nothing => Ok(0),
        }
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            End::Tcp(stream) => stream.write(bytes),
            End::Tls(stream) => stream.write(bytes),
            End::WebSocket(end) => end.write(bytes),
            End::WebSocketTls(end) => end.write(bytes),
            End::Memory(end) => end.runtime.block_on(end.stream.write(bytes)),
            End::Nothing => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            End::Tls(stream) => stream.flush(),
            _ => Ok(()),
        }
    }
}

pub struct WebSocketEnd<S> {
    pub socket: WebSocket<S>,
    /// Of a message, not taken yet.
    rest: Vec<u8>,
    closed_with: Option<(u16, String)>,
}

impl<S: Read + Write> WebSocketEnd<S> {
    fn open(scheme: &str, stream: S) -> Self {
        let mut request = format!("{scheme}://localhost/").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "tagwire.v1".parse().unwrap());
        let (socket, _) = tungstenite::client(request, stream).map_err(|e| e.to_string()).unwrap();
        WebSocketEnd { socket, rest: vec![], closed_with: None }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(frames)) => {
                    assert_eq!(
                        whole_frames(&frames, frames.len()),
                        frames.len(),
                        "a message holds whole frames"
                    );
                    self.rest = frames.to_vec();
                }
                Ok(Message::Close(close)) => {
                    self.closed_with = close.map(|close| (close.code.into(), close.reason.to_string()));
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("{other:?}"),
                Err(tungstenite::Error::Io(error)) => return Err(error),
                Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                    return Ok(0);
                }
                Err(error) => panic!("not a clean end: {error}"),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let message = match whole_frames(bytes, 64 * 1024) {
            0 => bytes.len(),
            whole => whole,
        };
        match self.socket.send(Message::Binary(bytes[..message].to_vec().into())) {
            Ok(()) => Ok(message),
            Err(tungstenite::Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

pub struct MemoryEnd {
    runtime: Runtime,
    stream: MemoryStream,
}

impl MemoryEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let MemoryEnd { runtime, stream } = self;
        runtime.block_on(async {
            match tokio::time::timeout(MOMENT, stream.read(buffer)).await {
                Ok(read) => read,
                Err(_) => Err(ErrorKind::WouldBlock.into()),
            }
        })
    }
}
