//! Sockets that connections come in by.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::connection;
use crate::core::Core;
use crate::transport::{MemoryStream, Peer, Stream};

/// Connections the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;
/// After a failed accept: without descriptors it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}\n  fix: {fix}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
    fix: &'static str,
}

/// Opens a listening socket; port 0 picks a free one. Must be called inside a runtime.
///
/// # Errors
/// The address is in use, or not ours.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the connections of the last run to time out.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source: io::Error| {
        let fix = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "end the program that has the port, or pick another: --listen 127.0.0.1:0"
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need rights: use --listen 127.0.0.1:7777",
            _ => "listen on an address of this machine, 127.0.0.1:7777 or [::1]:7777",
        };
        ListenError { address, source, fix }
    })
}

/// Raises the number of sockets this process may have to what the system allows; returns it.
///
/// # Errors
/// The system refuses.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current)
}

/// From the first accept that failed until nobody waits: told when it begins and when it is over, not at every try.
struct Shortage {
    start: Instant,
    /// Connections that came in since.
    waited: u64,
}

/// Accepts until the server stops; who knocked before is still let in, to be told.
pub(crate) async fn accept(core: Arc<Core>, listener: TcpListener, connections: TaskTracker) {
    let mut shortage: Option<Shortage> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            // Nobody waits any more.
            Some(Shortage { start, waited }) = async { shortage.take() } => {
                let lasted = start.elapsed();
                info!("connections are accepted again: for {lasted:.1?} there was not room for all, {waited} waited");
                continue;
            }
            () = core.stopping.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(shortage) = &mut shortage {
                    shortage.waited += 1;
                }
                take_in(&core, Stream::Tcp(stream), Peer::Network(peer), &connections);
            }
            Err(error) if is_about_one_connection(&error) => {
                debug!("a connection was lost before it began: {error}")
            }
            Err(error) => {
                shortage.get_or_insert_with(|| {
                    warn!("no connection can be accepted now, new ones wait: {error}");
                    Shortage { start: Instant::now(), waited: 0 }
                });
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The runtime may not have heard yet of who knocked last: the system knows. Dropping the listener resets them.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG {
        let Ok((stream, peer)) = listener.accept() else { return };
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
            take_in(&core, Stream::Tcp(stream), Peer::Network(peer), &connections);
        }
    }
}

/// Takes connections within the process until the server stops.
pub(crate) async fn accept_memory(
    core: Arc<Core>,
    mut calls: mpsc::Receiver<MemoryStream>,
    connections: TaskTracker,
) {
    while let Some(Some(stream)) = core.stopping.run_until_cancelled(calls.recv()).await {
        take_in(&core, Stream::Memory(stream), Peer::Memory, &connections);
    }
}

fn take_in(core: &Arc<Core>, stream: Stream, peer: Peer, connections: &TaskTracker) {
    // Where it really comes from is told later.
    let address = peer.ip().filter(|ip| !core.is_proxy(*ip));
    match core.door.enter(address, &core.limits.load()) {
        Ok(place) => drop(connections.spawn(connection::run(Arc::clone(core), stream, peer, place))),
        Err(full) => {
            core.metrics.limited(full.limit());
            debug!(%peer, "closed at once: {}", full.reason());
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
