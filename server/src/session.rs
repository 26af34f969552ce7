//! A session: the handle by which everything else sends to a player.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use tagwire::frame::encode_message;
use tagwire::pb::tagwire::v1;
use tagwire::room;
use tagwire::session::Dialect;
use tagwire::session::outbox::{AckError, Lane, Outbox, OutboxLimits, Pushed};
use tagwire::session::ping::{PING_INTERVAL_US, Pinger};
use tagwire::session::requests::Requests;
use tagwire::time::Now;
use tagwire::{Access, CloseCode, Message};
use tokio::net::tcp::OwnedWriteHalf;

use crate::flusher::Flusher;
use crate::metrics::Metrics;
use crate::rooms::{Room, Seat};

/// How a session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server says so, with a Disconnect where the dialect has it.
    Told { code: CloseCode, reason: String, retry_after_ms: u32, findings: Vec<String> },
    /// The client said so.
    Left { code: CloseCode, reason: String },
    /// The socket is at its end.
    Lost(String),
}

impl Ending {
    pub(crate) fn told(code: CloseCode, reason: impl Into<String>) -> Self {
        Ending::Told { code, reason: reason.into(), retry_after_ms: 0, findings: vec![] }
    }

    /// The last frame of a session that ends so; `None` where nothing is to be said, or not in that dialect.
    pub(crate) fn frame(&self, dialect: Dialect) -> Option<Vec<u8>> {
        let Ending::Told { code, reason, retry_after_ms, findings } = self else { return None };
        let disconnect = v1::Disconnect {
            code: u32::from(code.0),
            reason: reason.clone(),
            retry_after_ms: *retry_after_ms,
            findings: findings.clone(),
            ..v1::Disconnect::default()
        };
        let mut frame = vec![];
        dialect.encode_stack(&disconnect, &mut frame).then_some(frame)
    }

    pub(crate) fn code(&self) -> Option<CloseCode> {
        match self {
            Ending::Told { code, .. } | Ending::Left { code, .. } => Some(*code),
            Ending::Lost(_) => None,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Told { code, reason, .. } => write!(f, "{code}: {reason}"),
            Ending::Left { code, reason } if reason.is_empty() => write!(f, "left with {code}"),
            Ending::Left { code, reason } => write!(f, "left with {code}: {reason:?}"),
            Ending::Lost(why) => f.write_str(why),
        }
    }
}

/// Who a session is.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) session_id: u64,
    pub(crate) player_id: u32,
    pub(crate) name: Arc<str>,
    pub(crate) access: Access,
    pub(crate) dialect: Dialect,
    pub(crate) peer: SocketAddr,
}

/// One player who is inside. Shared by the connection, the room, the flusher and the wheel.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) player: Player,
    seat: Mutex<Seat>,
    /// Which of its requests run and have run.
    pub(crate) requests: Arc<Requests>,
    out: Mutex<Out>,
    writer: OwnedWriteHalf,
    flusher: Arc<Flusher>,
    metrics: Arc<Metrics>,
    /// Wakes the connection's task: the session ends, or its socket is full.
    task: AtomicWaker,
    ended: AtomicBool,
    /// Something came since the last Ping.
    heard: AtomicBool,
    /// It is not read from, since something must make room first: what it may have sent is not heard.
    paused: AtomicBool,
    frames_received: AtomicU64,
}

/// What one lock guards.
#[derive(Debug)]
struct Out {
    outbox: Outbox,
    pinger: Pinger,
    /// On the flusher's list.
    dirty: bool,
    /// The socket took something.
    begun: bool,
    ending: Option<Ending>,
}

impl Session {
    pub(crate) fn new(
        player: Player,
        requests: Arc<Requests>,
        writer: OwnedWriteHalf,
        limits: OutboxLimits,
        flusher: Arc<Flusher>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let outbox = Outbox::new(limits);
        Arc::new(Session {
            player,
            seat: Mutex::default(),
            requests,
            out: Mutex::new(Out {
                outbox,
                pinger: Pinger::default(),
                dirty: false,
                begun: false,
                ending: None,
            }),
            writer,
            flusher,
            metrics,
            task: AtomicWaker::new(),
            ended: AtomicBool::new(false),
            heard: AtomicBool::new(true),
            paused: AtomicBool::new(false),
            frames_received: AtomicU64::new(0),
        })
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one encoded frame. It is written with all that comes in the same turn; `deferred`: with what comes next that
    /// is not, or with [`Session::flush_soon`].
    pub(crate) fn send_frame(self: &Arc<Self>, frame: &[u8], lane: Lane, deferred: bool) {
        self.append(deferred, |out| match out.outbox.push(frame, lane) {
            Pushed::Appended | Pushed::Aside => {}
            Pushed::Replaced => drop(self.metrics.conflated.inc()),
            Pushed::Dropped => drop(self.metrics.shed.inc()),
        });
    }

    /// Appends a message of the stack, where the session's dialect has it.
    pub(crate) fn send<M: Message>(self: &Arc<Self>, message: &M) {
        let mut frame = Vec::with_capacity(64);
        if self.player.dialect.encode_stack(message, &mut frame) {
            self.send_frame(&frame, Lane::Ordered, false);
        }
    }

    /// Where it is; changed by [`crate::rooms::Rooms`] alone.
    pub(crate) fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room it is in; `None`: it goes, or its room has ended.
    pub(crate) fn room(&self) -> Option<Arc<Room>> {
        self.seat().room().cloned()
    }

    /// The player, as the code of a room sees one.
    pub(crate) fn in_room(&self) -> room::Player {
        let Player { session_id, player_id, name, access, .. } = &self.player;
        room::Player { id: *player_id, session: *session_id, name: Arc::clone(name), access: *access }
    }

    /// Answers a request that was begun. False: it was answered already.
    pub(crate) fn respond(self: &Arc<Self>, response: &v1::Response) -> bool {
        let first = self.requests.finish(response);
        if first {
            self.send_response(response);
        }
        first
    }

    /// Sends an answer, new or remembered.
    pub(crate) fn send_response(self: &Arc<Self>, response: &v1::Response) {
        self.metrics.answered(response.status());
        self.send(response);
    }

    /// The second's work: ends a session that is gone or whose socket is stuck, else appends a Ping, before everything
    /// that waits. A classic client need not answer anything: TCP judges it.
    pub(crate) fn ping(self: &Arc<Self>, now: Now, peer_timeout_ms: u64) {
        let frames_received = self.frames_received.load(Ordering::Relaxed);
        let heard = self.heard.swap(false, Ordering::Relaxed)
            || self.paused.load(Ordering::Relaxed)
            || self.player.dialect == Dialect::Classic;
        self.append(false, |out| {
            let silent_us = u64::from(out.pinger.handle_interval(heard)) * PING_INTERVAL_US;
            let gone = match () {
                () if silent_us >= peer_timeout_ms * 1000 => {
                    Some((CloseCode::TIMEOUT, "nothing was heard from you for too long"))
                }
                () if out.outbox.handle_timer(now) => {
                    Some((CloseCode::SLOW, "your socket took nothing for too long"))
                }
                () => None,
            };
            if let Some((code, reason)) = gone {
                return self.end_locked(out, Ending::told(code, reason));
            }
            // Nothing comes before Welcome, not even a Ping.
            let welcome_waits = self.player.dialect == Dialect::Native && !out.begun;
            if welcome_waits && out.outbox.is_empty() {
                return;
            }
            let ping = out.pinger.next_ping(now, self.player.dialect, frames_received);
            let mut frame = Vec::with_capacity(48);
            encode_message(&ping, &mut frame);
            if welcome_waits {
                out.outbox.push(&frame, Lane::Ordered);
            } else {
                out.outbox.push_urgent(&frame);
            }
        });
    }

    /// Bytes that wait for the socket.
    pub(crate) fn outbox_bytes(&self) -> usize {
        self.out().outbox.len()
    }

    fn append(self: &Arc<Self>, deferred: bool, push: impl FnOnce(&mut Out)) {
        let mut out = self.out();
        if out.ending.is_some() {
            return;
        }
        push(&mut out);
        if out.ending.is_some() {
            return;
        }
        if out.outbox.is_over() {
            // Nothing was refused by the socket yet if all of it came in one turn.
            self.write(&mut out);
            if out.outbox.is_over() {
                let (bytes, frames) = (out.outbox.len(), out.outbox.frames());
                let reason =
                    format!("{bytes} bytes in {frames} frames wait for you, more than the limits allow");
                self.end_locked(&mut out, Ending::told(CloseCode::SLOW, reason));
                return;
            }
        }
        if !deferred {
            self.enlist(out);
        }
    }

    fn enlist(self: &Arc<Self>, mut out: MutexGuard<'_, Out>) {
        if !out.dirty && !out.outbox.is_blocked() {
            out.dirty = true;
            drop(out);
            self.flusher.push(Arc::clone(self));
        }
    }

    /// Has what was deferred written with all that comes in the same turn.
    pub(crate) fn flush_soon(self: &Arc<Self>) {
        let out = self.out();
        if out.ending.is_none() && !out.outbox.is_empty() {
            self.enlist(out);
        }
    }

    /// Writes what waits, as much as the socket takes.
    pub(crate) fn flush(&self) {
        let mut out = self.out();
        out.dirty = false;
        self.write(&mut out);
    }

    fn write(&self, out: &mut Out) {
        let was_blocked = out.outbox.is_blocked();
        // More than once only where the socket has taken all, and what waited aside has come behind it.
        while !out.outbox.is_empty() {
            self.metrics.writes.inc();
            match self.writer.try_write(out.outbox.unwritten()) {
                Ok(count) => {
                    out.begun = true;
                    out.outbox.wrote(count);
                    self.metrics.bytes_sent.inc_by(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => out.outbox.wrote(0),
                Err(error) => {
                    // Nothing can be written any more, whatever the session ended with before.
                    out.outbox.clear();
                    self.end_locked(out, Ending::Lost(error.to_string()));
                }
            }
            if out.outbox.is_blocked() {
                break;
            }
        }
        if out.outbox.is_blocked() && !was_blocked {
            self.task.wake();
        }
    }

    /// For the connection's task: goes on writing when a full socket has room. Ready where nothing is left or the
    /// session has ended.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut out = self.out();
        while out.outbox.is_blocked() {
            match self.writer.as_ref().poll_write_ready(cx) {
                Poll::Pending => return Poll::Pending,
                // An error of the socket comes out of the write.
                Poll::Ready(_) => self.write(&mut out),
            }
        }
        Poll::Ready(())
    }

    /// Registers the connection's task; true where the session has ended.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> bool {
        self.task.register(cx.waker());
        self.is_ended()
    }

    /// True from [`Session::end`] on: nothing of the client is taken any more.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends the session; the first ending counts. What its socket takes at once of what waits is still written,
    /// then the Disconnect; the connection's task does the rest.
    pub(crate) fn end(&self, ending: Ending) {
        self.end_locked(&mut self.out(), ending);
    }

    fn end_locked(&self, out: &mut Out, ending: Ending) {
        if out.ending.is_some() {
            return;
        }
        let last = ending.frame(self.player.dialect);
        let lost = matches!(ending, Ending::Lost(_));
        out.ending = Some(ending);
        if !lost {
            self.write(out);
            if let Some(frame) = last {
                out.outbox.finish(&frame);
                self.write(out);
            }
        }
        self.ended.store(true, Ordering::Release);
        self.task.wake();
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.out().ending.clone()
    }

    /// Something came from the client.
    pub(crate) fn heard(&self, frames_received: u64) {
        self.heard.store(true, Ordering::Relaxed);
        self.frames_received.store(frames_received, Ordering::Relaxed);
    }

    /// While it is paused nothing is read, and that nothing comes does not count against the peer.
    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Takes the answer to a Ping, or an acknowledgement.
    pub(crate) fn pong(&self, now: Now, pong: &v1::Ping) -> Result<(), AckError> {
        let mut out = self.out();
        if let Some(rtt_us) = out.pinger.handle_pong(now, pong) {
            self.metrics.rtt.observe(f64::from(rtt_us) / 1e6);
        }
        match self.player.dialect {
            Dialect::Native => out.outbox.acknowledge(pong.frames_received),
            Dialect::Classic => Ok(()),
        }
    }

    /// A player has left the room: what waits aside of it is not worth sending.
    pub(crate) fn forget_sender(&self, player: u32) {
        self.out().outbox.forget_sender(player);
    }

    /// This player has left the room: what waits aside belongs to it.
    pub(crate) fn forget_room(&self) {
        self.out().outbox.clear_aside();
    }

    pub(crate) fn flusher(&self) -> Arc<Flusher> {
        Arc::clone(&self.flusher)
    }

    /// The sending half, for what a connection does to its socket at the end.
    pub(crate) fn writer(&self) -> &OwnedWriteHalf {
        &self.writer
    }
}

#[cfg(test)]
mod tests {
    use tagwire::frame::Decoder;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn no_ping_comes_before_welcome() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = listener.local_addr().expect("an address");
        let (_reader, writer) = TcpStream::connect(peer).await.expect("connected").into_split();
        let now = Now { monotonic_us: 0, unix_us: 1 };
        let name = "player1".into();
        let player = Player {
            session_id: 1,
            player_id: 1,
            name,
            access: Access::Player,
            dialect: Dialect::Native,
            peer,
        };
        let metrics = Arc::new(Metrics::new(&tagwire::pb::schema()));
        let session =
            Session::new(player, Arc::default(), writer, OutboxLimits::default(), Arc::default(), metrics);
        let tags = || {
            let out = session.out();
            let mut waiting = out.outbox.unwritten();
            let (mut decoder, mut tags) = (Decoder::default(), vec![]);
            while let Some(frame) = decoder.next(&mut waiting).expect("whole frames") {
                tags.push(frame.tag);
            }
            tags
        };
        session.ping(now, 10_000);
        assert_eq!(tags(), []);
        session.send(&v1::Welcome::default());
        session.ping(now, 10_000);
        assert_eq!(tags(), [v1::Welcome::TAG, v1::Ping::TAG]);
        session.flush();
        session.send(&v1::Member::default());
        session.ping(now, 10_000);
        assert_eq!(tags(), [v1::Ping::TAG, v1::Member::TAG], "later it waits for nothing");
    }
}
