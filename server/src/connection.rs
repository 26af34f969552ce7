//! One socket's life: what it speaks, the login, the session, the end.

use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tagwire::CloseCode;
use tagwire::pb::tagwire::v1;
use tagwire::session::Dialect;
use tagwire::session::login::MAX_LOGIN_BYTES;
use tagwire::session::server::{Admission, ServerSession};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::config::Limits;
use crate::core::Core;
use crate::door::Place;
use crate::link::{Last, Link};
use crate::login::{Entry, Granted, Refused, log_in, until};
use crate::opening::{NotOpened, Opened, What, open};
use crate::reader::{ReadError, Reader, Turn};
use crate::resume::{Resumed, new_token};
use crate::rooms::RoomError;
use crate::router::{InTurn, Stop};
use crate::session::{Ending, Handover, Player, Session, Waiting};
use crate::transport::{Peer, Stream, Wire};
use crate::web;

/// After the last byte: so long is the peer's input read and forgotten, for what it sent must not turn what we
/// sent into a reset.
const LINGER: Duration = Duration::from_secs(1);
/// Who finds too many who ask for the schema is told to come back after so long.
const ASKING_RETRY_MS: u32 = 1000;
/// TCP itself gives a silent classic peer up after so long.
const CLASSIC_TIMEOUT: Duration = Duration::from_secs(15);

/// Counts an open socket, until it is dropped: however the connection's task ends.
struct Connected(Arc<Core>);

impl Connected {
    fn new(core: &Arc<Core>) -> Self {
        core.metrics.accepted.inc();
        core.metrics.connections.inc();
        Connected(Arc::clone(core))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

/// A session in the hands of a connection's task, until it is dropped: however the task ends, the session is taken out then,
/// unless it was handed over.
struct Inside {
    core: Arc<Core>,
    session: Arc<Session>,
    handed_over: bool,
}

impl Inside {
    /// Adds a new session; the one that had its name goes.
    fn new(core: &Arc<Core>, session: Arc<Session>) -> Self {
        if let Some(older) = core.directory.enter(&session) {
            older.end(Ending::told(CloseCode::REPLACED, "you logged in again elsewhere"));
            core.router.rooms.leave(&older);
        }
        core.metrics.sessions.inc();
        Inside { core: Arc::clone(core), session, handed_over: false }
    }

    /// Takes a session that has been away.
    fn again(core: &Arc<Core>, session: Arc<Session>) -> Self {
        core.metrics.sessions_away.dec();
        Inside { core: Arc::clone(core), session, handed_over: false }
    }

    /// Leaves the session to whoever comes for it: its client, or the wheel.
    fn hand_over(mut self, handover: Box<Handover>) {
        self.handed_over = true;
        self.core.router.rooms.away(&self.session);
        self.core.metrics.sessions_away.inc();
        self.session.hand_over(handover);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if !self.handed_over {
            self.core.take_out(&self.session);
        }
    }
}

/// What the task of a connection carries from its login on. A server has as many as it has players: what one of them needs
/// only now and then is in a box while it does.
struct Carried {
    inside: Inside,
    reader: Reader,
    protocol: ServerSession,
    link: Arc<Link>,
    letter: Option<Waiting>,
    /// Given back before the connection counts as closed: who sees that finds it free.
    place: Place,
    _connected: Connected,
}

/// A connection's life. What is over, or comes with the end, is in a box: it must take no room in the task.
pub(crate) fn run(
    core: Arc<Core>,
    stream: Stream,
    peer: Peer,
    place: Place,
) -> impl Future<Output = ()> + Send + 'static {
    let opening = Box::pin(come_in(core, stream, peer, place));
    async move {
        let Some(mut carried) = opening.await else { return };
        carried.serve().await;
        Box::pin(carried.leave()).await;
    }
}

/// From the accept to the session. `None`: there is none, and the connection is over.
async fn come_in(core: Arc<Core>, stream: Stream, peer: Peer, place: Place) -> Option<Carried> {
    info!("client connected from {peer}");
    let limits = core.limits.load_full();
    let connected = Connected::new(&core);
    // Before the connection counts as closed, as in `Carried`.
    let mut place = place;
    let deadline = Instant::now() + Duration::from_millis(limits.login_timeout_ms);
    if let Stream::Tcp(tcp) = &stream
        && let Err(error) = set_options(tcp, core.config.tcp_notsent_lowat_bytes)
    {
        debug!(%peer, "socket options: {error}");
    }
    let mut protocol = ServerSession::new(Arc::clone(&core.router.schema), limits.session());
    let mut wire = Wire::new(stream, core.metrics.bytes_received.clone());
    let opening = Box::pin(open(&core, &mut wire, peer, &mut place));
    let opened = match until(&core, deadline, opening).await {
        Ok(opened) => opened.map_err(|error| not_opened(&core, error, peer)),
        Err(interrupted) => Err(refused(&core, &interrupted.refused(&core, Dialect::Classic))),
    };
    core.metrics.opened(wire.kind());
    // A proxy may have said that it comes from elsewhere.
    let peer = opened.as_ref().map_or(peer, |opened| opened.peer);
    let link = Link::new(peer, wire);
    let mut reader = Reader::new(Arc::clone(&link), protocol.decoder_limits());
    match opened {
        Ok(Opened { what: What::Login(first), .. }) => reader.begin_with(first),
        Ok(Opened { what: What::File(asked), .. }) => {
            if Box::pin(web::answer(&core, &link, asked)).await {
                linger(&mut reader, &link).await;
            }
            return None;
        }
        Err(last) => {
            refuse(&mut reader, &link, last).await;
            return None;
        }
    }
    let login = Box::pin(log_in(&core, &limits, &place, &mut reader, &mut protocol, peer));
    let entry = until(&core, deadline, login).await;
    let entry = entry.unwrap_or_else(|interrupted| Err(interrupted.refused(&core, protocol.dialect())));
    let (inside, letter) = match entry {
        Ok(Entry::New(granted)) => {
            let inside = admit(&core, &limits, &mut protocol, *granted, Arc::clone(&link)).await;
            (inside, None)
        }
        Ok(Entry::Resumed(resumed)) => {
            let (inside, handover) = match resume(&core, *resumed, &link) {
                Ok(resumed) => resumed,
                Err(ending) => {
                    let refused =
                        Refused { dialect: Dialect::Native, reason: "resume", ending: Some(ending) };
                    refuse(&mut reader, &link, refused.last()).await;
                    return None;
                }
            };
            protocol = handover.protocol;
            (inside, handover.letter)
        }
        Ok(Entry::Schema) => {
            let told = Box::pin(tell_schema(&core, &mut reader, &link));
            match until(&core, deadline, told).await {
                Ok(Ok(())) => linger(&mut reader, &link).await,
                Ok(Err(error)) => refuse(&mut reader, &link, refused(&core, &error)).await,
                // It is in the middle of a frame: there is nothing more to say.
                Err(_) => {
                    core.metrics.denied("deadline");
                    debug!(%peer, "the schema was not taken in time");
                }
            }
            return None;
        }
        Err(error) => {
            refuse(&mut reader, &link, refused(&core, &error)).await;
            return None;
        }
    };
    reader.set_limits(protocol.decoder_limits());
    reader.set_max_overhead(limits.overhead_per_second());
    Some(Carried { inside, reader, protocol, link, letter, place, _connected: connected })
}

/// Counts somebody who is not let in; what is said then.
fn refused(core: &Core, refused: &Refused) -> Last {
    core.metrics.denied(refused.reason);
    refused.last()
}

/// The same for somebody whom no login can be had from.
fn not_opened(core: &Core, error: NotOpened, peer: Peer) -> Last {
    core.metrics.denied("no login");
    debug!(%peer, "connection ended before a login: {error}");
    match error {
        NotOpened::Page(status, page) => {
            core.metrics.web_request(status.as_u16());
            Last { bytes: page, close: None }
        }
        NotOpened::Broken(broken) => Last { bytes: vec![], close: Ending::broken(broken).close() },
        NotOpened::Gone | NotOpened::NoProxyHeader(_) => Last::default(),
        NotOpened::Full(full) => {
            core.metrics.limited(full.limit());
            Last::default()
        }
        NotOpened::Speaks(_) => {
            Last { bytes: vec![], close: Some((CloseCode::MALFORMED, "that is no login".to_string())) }
        }
    }
}

/// Answers somebody who asked for the schema.
async fn tell_schema(core: &Core, reader: &mut Reader, link: &Link) -> Result<(), Refused> {
    let peer = link.peer;
    let refused =
        |ending| Refused { dialect: Dialect::Native, reason: "schema access", ending: Some(ending) };
    let Some(_turn) = core.asking.turn() else {
        core.metrics.limited("schemas told at once");
        let text = "too many ask for the schema at once";
        return Err(refused(Ending::told_later(CloseCode::OVERLOAD, text, ASKING_RETRY_MS)));
    };
    let frame = core.asking.frame(core.tells_comments()).map_err(|error| {
        warn!("nobody can be told the schema: {error}");
        refused(Ending::told(CloseCode::LOGIN_REFUSED, error.to_string()))
    })?;
    // Before the answer, so that nobody who has it finds it not counted.
    core.metrics.schemas_told.inc();
    info!("schema told to {peer}");
    reader.set_max_message_bytes(frame.len());
    if let Err(error) = link.say(&frame).await {
        debug!(%peer, "a write failed: {error}");
    }
    reader.set_max_message_bytes(MAX_LOGIN_BYTES);
    Ok(())
}

fn set_options(stream: &TcpStream, notsent_lowat_bytes: u32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if notsent_lowat_bytes > 0 {
        SockRef::from(stream).set_tcp_notsent_lowat(notsent_lowat_bytes)?;
    }
    Ok(())
}

/// Lets a player in.
async fn admit(
    core: &Arc<Core>,
    limits: &Limits,
    protocol: &mut ServerSession,
    granted: Granted,
    link: Arc<Link>,
) -> Inside {
    let Granted { login, identity, verdict } = granted;
    let (session_id, player_id) = core.ids.next();
    let name = if identity.name.is_empty() { core.guest_name(player_id) } else { identity.name };
    let peer = link.peer;
    let token = match login.dialect {
        Dialect::Classic => {
            watch_by_tcp(&link);
            None
        }
        Dialect::Native if limits.resume_window_ms == 0 => None,
        Dialect::Native => new_token(core, session_id, link.is_secure()),
    };
    let player = Player {
        session_id,
        player_id,
        name: name.as_str().into(),
        access: identity.access,
        dialect: login.dialect,
        verdict,
        valid_until_us: AtomicU64::new(identity.valid_until_us.unwrap_or(u64::MAX)),
    };
    let session = Session::new(
        player,
        protocol.requests(),
        link,
        token,
        limits.outbox(),
        Arc::clone(&core.flushers),
        Arc::clone(&core.metrics),
    );
    let inside = Inside::new(core, session);
    let session = &inside.session;
    let admission = admission(session, core.config.default_room.clone(), limits);
    let entered = enter(core, limits, session, protocol.admit(core.clock.now(), admission)).await;
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

/// What a client is told when it comes in, and when it comes back.
fn admission(session: &Session, room: String, limits: &Limits) -> Admission {
    let resume_token = session.resume_token();
    let window_ms = if resume_token.is_empty() { 0 } else { limits.resume_window_ms };
    let player = &session.player;
    Admission {
        session_id: player.session_id,
        player_id: player.player_id,
        name: player.name.to_string(),
        room,
        access: player.access,
        verdict: player.verdict,
        resume_token,
        resume_window_ms: u32::try_from(window_ms).unwrap_or(u32::MAX),
    }
}

/// Puts a session that has been away on this connection. An error is what the client is told; the session waits on, unless it
/// has ended meanwhile.
fn resume(core: &Arc<Core>, resumed: Resumed, link: &Arc<Link>) -> Result<(Inside, Handover), Ending> {
    let Resumed { session, mut handover, resume } = resumed;
    let inside = Inside::again(core, session);
    let session = &inside.session;
    if let Err(wait_us) = handover.protocol.may_resume(core.clock.now()) {
        core.metrics.limited("max_joins_per_second");
        inside.hand_over(handover);
        let retry_after_ms = u32::try_from(wait_us.div_ceil(1000)).unwrap_or(u32::MAX);
        return Err(Ending::told_later(CloseCode::OVERLOAD, "you come back too often", retry_after_ms));
    }
    let room = session.room().map_or_else(String::new, |room| room.name.to_string());
    let admission = admission(session, room, &core.limits.load());
    let welcome = handover.protocol.resume(core.clock.now(), admission);
    let name = &session.player.name;
    if let Err(refused) = session.attach(link, &resume, &welcome) {
        info!("{name} does not come back from {}: {refused}", link.peer);
        core.metrics.not_resumed(&refused);
        if !session.is_ended() {
            inside.hand_over(handover);
        }
        return Err(Ending::told(CloseCode::RESUME_REFUSED, refused.to_string()));
    }
    core.metrics.resumed.inc();
    core.router.rooms.back(session);
    info!("{name} is back from {}", link.peer);
    Ok((inside, *handover))
}

/// Into the default room, if there is one, and tells the client so.
async fn enter(
    core: &Core,
    limits: &Limits,
    session: &Arc<Session>,
    welcome: Option<v1::Welcome>,
) -> Result<(), Ending> {
    let (inside, clock, metrics) = (Arc::clone(session), Arc::clone(&core.clock), Arc::clone(&core.metrics));
    let boundary = move |room: &str| {
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
    };
    let room = &core.config.default_room;
    if room.is_empty() {
        boundary(room);
        return Ok(());
    }
    let entered = core.router.rooms.enter(session, room, Box::new(boundary));
    let ending = match timeout(limits.request_timeout(), entered).await {
        Ok(Ok(())) => return Ok(()),
        Err(_) => Ending::told(CloseCode::OVERLOAD, "the room did not let you in in time"),
        Ok(Err(RoomError::Refused(refusal))) if refusal.is_final() => {
            Ending::told(CloseCode::LOGIN_REFUSED, refusal.message())
        }
        Ok(Err(RoomError::Refused(refusal))) => {
            Ending::told_later(CloseCode::OVERLOAD, refusal.message(), refusal.retry_after_ms())
        }
        Ok(Err(error)) => Ending::told(CloseCode::OVERLOAD, error.to_string()),
    };
    core.metrics.denied("room");
    Err(ending)
}

/// Classic clients owe no answer to a Ping, so TCP itself looks after them.
fn watch_by_tcp(link: &Link) {
    let peer = link.peer;
    let Some(socket) = link.tcp() else { return };
    let keepalive =
        socket2::TcpKeepalive::new().with_time(CLASSIC_TIMEOUT / 3).with_interval(CLASSIC_TIMEOUT / 3);
    let set = socket
        .set_tcp_keepalive(&keepalive)
        .and_then(|()| socket.set_tcp_user_timeout(Some(CLASSIC_TIMEOUT)));
    if let Err(error) = set {
        debug!(%peer, "keepalive: {error}");
    }
}

impl Carried {
    /// Carries the session until its connection is cut. What a room had no space for until then is in `letter`.
    async fn serve(&mut self) {
        loop {
            if let Some(full) = self.letter.take() {
                self.letter = Box::pin(wait_for(full, &self.inside.session, &self.link)).await;
                if self.letter.is_some() && self.link.is_broken() {
                    self.lose_link();
                }
            }
            if self.link.is_cut() {
                return;
            }
            poll_fn(|cx| self.poll_turn(cx)).await;
            if self.letter.is_none() && self.reader.has_rest() {
                yield_now().await;
            }
        }
    }

    /// A turn: one read, and what follows from it.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Carried { inside: Inside { core, session, .. }, reader, protocol, link, letter, .. } = self;
        if link.is_cut() {
            return Poll::Ready(());
        }
        // Whether it is done or waits, reading goes on.
        let _ = session.poll_flush(link, cx);
        // Begun when something has come: mostly there is nothing more.
        let mut in_turn = None;
        let turn = reader.poll_turn(cx, |frame| {
            if link.is_cut() {
                return Ok(ControlFlow::Break(None));
            }
            let begin = || InTurn::begin(core.clock.now(), &core.metrics, session);
            let in_turn = in_turn.get_or_insert_with(begin);
            core.router.handle(in_turn, session, protocol, frame).map(|flow| match flow {
                ControlFlow::Break(stop) => ControlFlow::Break(Some(stop)),
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
            })
        });
        if let Some(in_turn) = &mut in_turn {
            core.router.deliver(in_turn, session, protocol);
        }
        if let Poll::Ready(Ok(Turn::Read)) = turn {
            session.heard(protocol.frames_received());
            // Within the turn, so that it is written with its answers.
            if let Some(acknowledgement) = protocol.acknowledgement() {
                session.send(&acknowledgement);
            }
        }
        drop(in_turn);
        let Poll::Ready(turn) = turn else {
            // Only now: a turn that came to something is followed by another, for which nobody need wake the task.
            if link.poll_cut(cx) {
                return Poll::Ready(());
            }
            let _ = session.poll_flush(link, cx);
            return Poll::Pending;
        };
        match turn {
            Ok(Turn::Read) => {}
            Ok(Turn::Broke(Some(stop))) => match *stop {
                Stop::End(ending) => session.end(ending),
                Stop::Full(room, full) => *letter = Some(Box::new((room, full))),
            },
            Ok(Turn::Broke(None)) => {}
            Ok(Turn::Eof) => match link.goodbye().map(CloseCode) {
                Some(code) if is_meant(code) => session.end(Ending::Left { code, reason: String::new() }),
                _ => self.lose_link(),
            },
            Err(ReadError::Broken(broken)) => match Ending::broken(broken) {
                lost @ Ending::Lost(_) => session.lose_link(link, lost),
                ending => session.end(ending),
            },
            Err(ReadError::Fault(fault)) => {
                session.end(Ending::told(CloseCode::from(&fault), fault.to_string()));
            }
        }
        Poll::Ready(())
    }

    /// The client has gone without a word.
    fn lose_link(&self) {
        let lost = Ending::Lost("the client closed the connection".to_string());
        self.inside.session.lose_link(&self.link, lost);
    }

    /// Everything that follows the end of the connection.
    async fn leave(self) {
        // Dropped from the last to the first, as the fields are from the first to the last.
        let Carried { _connected, place, letter, link, protocol, mut reader, inside } = self;
        let session = Arc::clone(&inside.session);
        if session.is_ended() {
            drop(inside);
            if !matches!(session.ending(), Some(Ending::Lost(_))) {
                // Bounded: a peer that takes nothing any more is left.
                let _ = timeout(LINGER, poll_fn(|cx| session.poll_flush(&link, cx))).await;
                linger(&mut reader, &link).await;
            }
            return;
        }
        if let Some(lost) = session.lost() {
            info!("{} from {} is away: {lost}", session.player.name, link.peer);
        }
        inside.hand_over(Box::new(Handover { protocol, letter, place }));
        linger(&mut reader, &link).await;
    }
}

/// Whether a WebSocket that is closed with this code ends the session: the program has closed it, not a page that is loaded
/// again, nor a network.
fn is_meant(code: CloseCode) -> bool {
    matches!(code.0, 1000 | 3000..=4999)
}

/// Posts what a room had no space for when it has, and reads nothing as long. The session is written to as ever. Gives it
/// back where the connection is cut or broken before.
async fn wait_for(full: Waiting, session: &Arc<Session>, link: &Arc<Link>) -> Option<Waiting> {
    let (room, letter) = *full;
    let code = room.code.as_ref()?;
    session.pause(true);
    let place = {
        let mut place = pin!(code.place_for(&letter));
        poll_fn(|cx| {
            // Nothing is read that would tell of the end.
            if link.poll_cut(cx) || link.is_broken() {
                return Poll::Ready(None);
            }
            // Whether it is done or waits, so does the letter.
            let _ = session.poll_flush(link, cx);
            place.as_mut().poll(cx).map(Some)
        })
        .await
    };
    session.pause(false);
    match place {
        None => Some(Box::new((room, letter))),
        // Where there is no place any more the room has ended.
        Some(place) => {
            if let Some(place) = place {
                code.post_in(place, letter);
            }
            None
        }
    }
}

/// Ends a connection that has no session.
async fn refuse(reader: &mut Reader, link: &Link, last: Last) {
    link.cut(last);
    linger(reader, link).await;
}

/// Says what is left to say and that nothing more comes, and takes in what the peer still sends.
async fn linger(reader: &mut Reader, link: &Link) {
    // A peer that takes nothing any more is left.
    let _ = timeout(LINGER, link.say_last()).await;
    // Where it is gone there is nothing to wait for.
    if link.shut_down() {
        let _ = timeout(LINGER, reader.discard()).await;
    }
}
