//! One socket's life: what it speaks, the login, the session, the end.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tagwire::CloseCode;
use tagwire::name::{self, NameError};
use tagwire::opening::Opening;
use tagwire::session::login::Login;
use tagwire::session::server::{Admission, Incoming, ServerSession};
use tagwire::session::{Dialect, Fault};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::auth::{Denied, Identity};
use crate::config::Limits;
use crate::core::Core;
use crate::door::Place;
use crate::flusher::TurnGuard;
use crate::reader::{ReadError, Reader, Turn};
use crate::session::{Ending, Player, Session};

/// After the last byte: so long is the peer's input read and forgotten, for what it sent must not turn what we
/// sent into a reset.
const LINGER: Duration = Duration::from_secs(1);
/// TCP itself gives a silent classic peer up after so long.
const CLASSIC_TIMEOUT: Duration = Duration::from_secs(15);

/// Who finds the server full is told to come back after so long.
const FULL_RETRY_US: u64 = 5_000_000;

/// Why nobody came in.
#[derive(Debug, thiserror::Error)]
enum NotIn {
    #[error("it went without a word")]
    Gone,
    #[error("{0:?} is not spoken here")]
    Speaks(Opening),
    #[error("no login within the deadline")]
    Deadline,
    #[error("the server stops")]
    Stopping,
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Counts an open socket, until it is dropped: however the connection's task ends.
struct Connected<'a>(&'a Core);

impl<'a> Connected<'a> {
    fn new(core: &'a Core) -> Self {
        core.metrics.accepted.inc();
        core.metrics.connections.inc();
        Connected(core)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

/// Keeps a session where others find it, until it is dropped: however the connection's task ends.
struct Inside<'a> {
    core: &'a Core,
    session: Arc<Session>,
}

impl<'a> Inside<'a> {
    /// Adds the session; the one that had its name goes.
    fn new(core: &'a Core, session: Arc<Session>) -> Self {
        if let Some(older) = core.directory.enter(&session) {
            older.end(Ending::told(CloseCode::REPLACED, "you logged in again elsewhere"));
            core.router.rooms.leave(&older);
        }
        core.metrics.sessions.inc();
        Inside { core, session }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.core.router.rooms.leave(&self.session);
        self.core.directory.leave(&self.session);
        self.core.metrics.sessions.dec();
    }
}

pub(crate) async fn run(core: Arc<Core>, stream: TcpStream, peer: SocketAddr, place: Place) {
    info!("client connected from {peer}");
    let limits = core.limits.load_full();
    let _connected = Connected::new(&core);
    if let Err(error) = set_options(&stream, core.config.tcp_notsent_lowat_bytes) {
        debug!(%peer, "socket options: {error}");
    }
    let (half, writer) = stream.into_split();
    let mut protocol = ServerSession::new(Arc::clone(&core.router.schema), limits.session());
    let mut reader = Reader::new(half, protocol.decoder_limits(), core.metrics.bytes_received.clone());

    let deadline = Duration::from_millis(limits.login_timeout_ms);
    let login = tokio::select! {
        login = timeout(deadline, read_login(&core, &mut reader, &mut protocol)) => {
            login.unwrap_or(Err(NotIn::Deadline))
        }
        () = core.stopping.cancelled() => Err(NotIn::Stopping),
    };
    let judged = match login {
        Ok(login) => judge(&core, &limits, &place, login, peer),
        Err(not_in) => {
            debug!(%peer, "connection ended before a login: {not_in}");
            core.metrics.denied("no login");
            // A version of the protocol that is not ours is the one thing that such a client is told.
            let last = match &not_in {
                NotIn::Read(ReadError::Fault(fault @ Fault::Version(_))) => {
                    Ending::told(CloseCode::from(fault), fault.to_string()).frame(Dialect::Native)
                }
                _ => None,
            };
            return refuse(&mut reader, writer, last).await;
        }
    };
    match judged {
        Ok((login, identity)) => {
            let inside = admit(&core, &limits, &mut reader, &mut protocol, &login, identity, writer, peer);
            serve(&core, &mut reader, &mut protocol, &inside.session).await;
            leave(inside, &mut reader).await;
        }
        Err(Refused { dialect, reason, ending }) => {
            core.metrics.denied(reason);
            refuse(&mut reader, writer, ending.frame(dialect)).await;
        }
    }
}

/// A login that does not come in.
struct Refused {
    dialect: Dialect,
    /// For the counter.
    reason: &'static str,
    ending: Ending,
}

/// Asks everyone who has a say in whether a player comes in. The name of the login is in its normal form then.
fn judge(
    core: &Core,
    limits: &Limits,
    place: &Place,
    mut login: Login,
    peer: SocketAddr,
) -> Result<(Login, Identity), Refused> {
    let dialect = login.dialect;
    let refused = |reason, code, text: String, wait_us: u64| {
        let retry_after_ms = u32::try_from(wait_us.div_ceil(1000)).unwrap_or(u32::MAX);
        Refused { dialect, reason, ending: Ending::Told { code, reason: text, retry_after_ms } }
    };
    let denied = |name: &str, why: &dyn fmt::Display| {
        info!("ACCESS DENIED for {} from {peer}: {why}", name.escape_debug());
    };
    if dialect == Dialect::Classic && !core.config.classic {
        denied(&login.username, &"classic clients are not served here");
        return Err(refused("classic", CloseCode::VERSION, String::new(), 0));
    }
    if let Some(full) = place.full {
        denied(&login.username, &full.reason());
        core.metrics.limited(full.limit());
        return Err(refused("full", CloseCode::OVERLOAD, full.reason(), FULL_RETRY_US));
    }
    let bad_name = |name: &str, error: NameError| {
        denied(name, &error);
        refused("name", CloseCode::LOGIN_REFUSED, error.to_string(), 0)
    };
    login.username = name::player(&login.username).map_err(|error| bad_name(&login.username, error))?;
    let (now, key) = (core.clock.now(), name::key(&login.username));
    if let Err((limit, wait_us)) = core.door.may_try(now, peer.ip(), &key, limits) {
        let text = format!("too many logins failed; try again in {} s", wait_us.div_ceil(1_000_000));
        denied(&login.username, &text);
        core.metrics.limited(limit);
        return Err(refused("limited", CloseCode::LOGIN_REFUSED, text, wait_us));
    }
    let mut identity = core.auth.authenticate(&login).map_err(|error| {
        denied(&login.username, &error);
        if error == Denied::WrongPassword {
            core.door.failed(now, peer.ip(), &key, limits);
        }
        refused("credentials", CloseCode::LOGIN_REFUSED, error.to_string(), 0)
    })?;
    identity.name = name::player(&identity.name).map_err(|error| bad_name(&identity.name, error))?;
    Ok((login, identity))
}

fn set_options(stream: &TcpStream, notsent_lowat_bytes: u32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if notsent_lowat_bytes > 0 {
        SockRef::from(stream).set_tcp_notsent_lowat(notsent_lowat_bytes)?;
    }
    Ok(())
}

async fn read_login(core: &Core, reader: &mut Reader, protocol: &mut ServerSession) -> Result<Login, NotIn> {
    match poll_fn(|cx| reader.poll_opening(cx)).await.map_err(ReadError::Io)? {
        Some(Opening::Tagwire) => {}
        Some(other) => return Err(NotIn::Speaks(other)),
        None => return Err(NotIn::Gone),
    }
    loop {
        let turn = poll_fn(|cx| {
            reader.poll_turn(cx, |frame| {
                Ok(match protocol.handle_frame(core.clock.now(), frame)? {
                    Incoming::Login(login) => ControlFlow::Break(login),
                    _ => ControlFlow::Continue(()),
                })
            })
        });
        match turn.await? {
            Turn::Broke(login) => return Ok(login),
            Turn::Read => {}
            Turn::Eof => return Err(NotIn::Gone),
        }
    }
}

/// Lets a player in.
#[expect(clippy::too_many_arguments, reason = "all that a connection has becomes part of the session")]
fn admit<'a>(
    core: &'a Core,
    limits: &Limits,
    reader: &mut Reader,
    protocol: &mut ServerSession,
    login: &Login,
    identity: Identity,
    writer: OwnedWriteHalf,
    peer: SocketAddr,
) -> Inside<'a> {
    let now = core.clock.now();
    let (session_id, player_id) = core.ids.next();
    let name = if identity.name.is_empty() { core.guest_name(player_id) } else { identity.name };
    if login.dialect == Dialect::Classic {
        watch_by_tcp(&writer, peer);
    }
    let player = Player { session_id, player_id, name: name.clone(), dialect: login.dialect, peer };
    let session =
        Session::new(player, writer, limits.outbox(), core.flusher(session_id), Arc::clone(&core.metrics));
    let inside = Inside::new(core, session);
    let session = &inside.session;
    let room = core.config.default_room.clone();
    let admission = |room: &str| Admission {
        session_id,
        player_id,
        name,
        room: room.to_string(),
        access: identity.access,
    };
    let entered = core.router.rooms.enter(session, &room, |room| {
        // Before the answer, so that nobody who has it finds it not counted.
        core.metrics.granted.inc();
        if let Some(welcome) = protocol.admit(now, login, admission(room)) {
            session.send(&welcome);
        }
    });
    reader.set_limits(protocol.decoder_limits());
    if let Err(error) = entered {
        session.end(Ending::told(CloseCode::OVERLOAD, error.to_string()));
    } else {
        info!(player = player_id, sdk = ?login.sdk, "ACCESS GRANTED for {} from {peer}", session.player.name);
    }
    if core.stopping.is_cancelled() {
        session.end(core.shutdown_ending());
    }
    inside
}

/// Classic clients owe no answer to a Ping, so TCP itself looks after them.
fn watch_by_tcp(writer: &OwnedWriteHalf, peer: SocketAddr) {
    let socket = SockRef::from(writer.as_ref());
    let keepalive =
        socket2::TcpKeepalive::new().with_time(CLASSIC_TIMEOUT / 3).with_interval(CLASSIC_TIMEOUT / 3);
    let set = socket
        .set_tcp_keepalive(&keepalive)
        .and_then(|()| socket.set_tcp_user_timeout(Some(CLASSIC_TIMEOUT)));
    if let Err(error) = set {
        debug!(%peer, "keepalive: {error}");
    }
}

/// Carries the session until it ends.
async fn serve(core: &Core, reader: &mut Reader, protocol: &mut ServerSession, session: &Arc<Session>) {
    loop {
        let turn = poll_fn(|cx| {
            // One look at the clock a turn, and none where nothing came.
            let mut now = None;
            if session.poll_ended(cx) {
                return Poll::Ready(Ok(Turn::Broke(None)));
            }
            // Whether it is done or waits, reading goes on.
            let _ = session.poll_flush(cx);
            let _turn = TurnGuard::begin();
            reader.poll_turn(cx, |frame| {
                if session.is_ended() {
                    return Ok(ControlFlow::Break(None));
                }
                let now = *now.get_or_insert_with(|| core.clock.now());
                core.router.handle(now, session, protocol, frame).map(|flow| match flow {
                    ControlFlow::Break(ending) => ControlFlow::Break(Some(ending)),
                    ControlFlow::Continue(()) => ControlFlow::Continue(()),
                })
            })
        });
        match turn.await {
            Ok(Turn::Read) => {
                session.heard(protocol.frames_received());
                if let Some(acknowledgement) = protocol.acknowledgement() {
                    session.send(&acknowledgement);
                }
            }
            Ok(Turn::Broke(Some(ending))) => session.end(ending),
            Ok(Turn::Broke(None)) => {}
            Ok(Turn::Eof) => session.end(Ending::Lost("the client closed the connection".to_string())),
            Err(ReadError::Io(error)) => session.end(Ending::Lost(error.to_string())),
            Err(ReadError::Fault(fault)) => {
                session.end(Ending::told(CloseCode::from(&fault), fault.to_string()));
            }
        }
        if session.is_ended() {
            return;
        }
        if reader.has_rest() {
            yield_now().await;
        }
    }
}

/// Everything that follows the end of a session.
async fn leave(inside: Inside<'_>, reader: &mut Reader) {
    let (core, session) = (inside.core, Arc::clone(&inside.session));
    drop(inside);
    let ending = session.ending();
    core.metrics.disconnect(ending.as_ref().and_then(Ending::code));
    let Player { name, peer, .. } = &session.player;
    match &ending {
        Some(ending) => info!("session of {name} from {peer} ended: {ending}"),
        None => info!("session of {name} from {peer} ended"),
    }
    if !matches!(ending, Some(Ending::Lost(_))) {
        // Bounded: a peer that takes nothing any more is left.
        let _ = timeout(LINGER, poll_fn(|cx| session.poll_flush(cx))).await;
        linger(reader, session.writer()).await;
    }
}

/// Ends a connection that has no session, with this last frame where the client can understand one.
async fn refuse(reader: &mut Reader, writer: OwnedWriteHalf, last: Option<Vec<u8>>) {
    // Nothing was written before: the socket's buffer takes it whole, or the peer is gone.
    if let Some(frame) = last
        && let Ok(Ok(())) = timeout(LINGER, writer.writable()).await
        && let Err(error) = writer.try_write(&frame)
    {
        debug!("a refusal could not be sent: {error}");
    }
    linger(reader, &writer).await;
}

/// Says that nothing more comes, and takes in what the peer still sends.
async fn linger(reader: &mut Reader, writer: &OwnedWriteHalf) {
    // An error says that the peer is gone: then there is nothing to wait for.
    if SockRef::from(writer.as_ref()).shutdown(Shutdown::Write).is_ok() {
        let _ = timeout(LINGER, poll_fn(|cx| reader.poll_discard(cx))).await;
    }
}
