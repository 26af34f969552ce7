//! One socket's life: what it speaks, the login, the session, the end.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tagwire::CloseCode;
use tagwire::pb::tagwire::v1;
use tagwire::session::Dialect;
use tagwire::session::server::{Admission, ServerSession};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::config::Limits;
use crate::core::Core;
use crate::door::Place;
use crate::flusher::TurnGuard;
use crate::login::{Granted, Refused, log_in};
use crate::reader::{ReadError, Reader, Turn};
use crate::rooms::{Letter, Room, RoomError};
use crate::router::Stop;
use crate::session::{Ending, Player, Session};

/// After the last byte: so long is the peer's input read and forgotten, for what it sent must not turn what we
/// sent into a reset.
const LINGER: Duration = Duration::from_secs(1);
/// TCP itself gives a silent classic peer up after so long.
const CLASSIC_TIMEOUT: Duration = Duration::from_secs(15);

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

    match log_in(&core, &limits, &place, &mut reader, &mut protocol, &writer, peer).await {
        Ok(granted) => {
            let inside = admit(&core, &limits, &mut reader, &mut protocol, granted, writer, peer).await;
            serve(&core, &mut reader, &mut protocol, &inside.session).await;
            leave(inside, &mut reader).await;
        }
        Err(Refused { dialect, reason, ending }) => {
            core.metrics.denied(reason);
            refuse(&mut reader, writer, ending.and_then(|ending| ending.frame(dialect))).await;
        }
    }
}

fn set_options(stream: &TcpStream, notsent_lowat_bytes: u32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if notsent_lowat_bytes > 0 {
        SockRef::from(stream).set_tcp_notsent_lowat(notsent_lowat_bytes)?;
    }
    Ok(())
}

/// Lets a player in.
async fn admit<'a>(
    core: &'a Core,
    limits: &Limits,
    reader: &mut Reader,
    protocol: &mut ServerSession,
    granted: Granted,
    writer: OwnedWriteHalf,
    peer: SocketAddr,
) -> Inside<'a> {
    let Granted { login, identity, verdict } = granted;
    let now = core.clock.now();
    let (session_id, player_id) = core.ids.next();
    let name = if identity.name.is_empty() { core.guest_name(player_id) } else { identity.name };
    if login.dialect == Dialect::Classic {
        watch_by_tcp(&writer, peer);
    }
    let player = Player {
        session_id,
        player_id,
        name: name.as_str().into(),
        access: identity.access,
        dialect: login.dialect,
        peer,
    };
    let session = Session::new(
        player,
        protocol.requests(),
        writer,
        limits.outbox(),
        core.flusher(session_id),
        Arc::clone(&core.metrics),
    );
    let inside = Inside::new(core, session);
    let session = &inside.session;
    let room = core.config.default_room.clone();
    let admission = Admission { session_id, player_id, name, room, access: identity.access, verdict };
    let entered = enter(core, limits, session, protocol.admit(now, admission)).await;
    reader.set_limits(protocol.decoder_limits());
    match entered {
        Ok(()) => {
            info!(player = player_id, sdk = ?login.sdk, "ACCESS GRANTED for {} from {peer}", session.player.name)
        }
        Err(ending) => session.end(ending),
    }
    if core.stopping.is_cancelled() {
        session.end(core.shutdown_ending());
    }
    inside
}

/// Into the default room, and tells the client so.
async fn enter(
    core: &Core,
    limits: &Limits,
    session: &Arc<Session>,
    welcome: Option<v1::Welcome>,
) -> Result<(), Ending> {
    let (inside, clock, metrics) = (Arc::clone(session), Arc::clone(&core.clock), Arc::clone(&core.metrics));
    let boundary = Box::new(move |room: &str| {
        // Before the answer, so that nobody who has it finds it not counted.
        metrics.granted.inc();
        if let Some(welcome) = welcome {
            inside.send(&v1::Welcome {
                server_time_us: clock.now().unix_us,
                room: room.to_string(),
                ..welcome
            });
        }
        true
    });
    let entered = core.router.rooms.enter(session, &core.config.default_room, boundary);
    let ending = match timeout(limits.request_timeout(), entered).await {
        Ok(Ok(())) => return Ok(()),
        Err(_) => Ending::told(CloseCode::OVERLOAD, "the room did not let you in in time"),
        Ok(Err(RoomError::Refused(refusal))) if refusal.is_final() => {
            Ending::told(CloseCode::LOGIN_REFUSED, refusal.message())
        }
        Ok(Err(RoomError::Refused(refusal))) => Ending::Told {
            code: CloseCode::OVERLOAD,
            reason: refusal.message().to_string(),
            retry_after_ms: refusal.retry_after_ms(),
            findings: vec![],
        },
        Ok(Err(error)) => Ending::told(CloseCode::OVERLOAD, error.to_string()),
    };
    core.metrics.denied("room");
    Err(ending)
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
            Ok(Turn::Broke(Some(Stop::End(ending)))) => session.end(ending),
            Ok(Turn::Broke(Some(Stop::Full(room, letter)))) => wait_for(&room, letter, session).await,
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

/// Posts what a room had no space for when it has, and reads nothing as long. The session is written to as ever.
async fn wait_for(room: &Room, letter: Letter, session: &Arc<Session>) {
    let Some(code) = &room.code else { return };
    session.pause(true);
    let mut posted = pin!(code.post(letter));
    poll_fn(|cx| {
        if session.poll_ended(cx) {
            return Poll::Ready(());
        }
        // Whether it is done or waits, so does the letter.
        let _ = session.poll_flush(cx);
        posted.as_mut().poll(cx)
    })
    .await;
    session.pause(false);
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
