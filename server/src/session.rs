//! A session: the handle by which everything else sends to a player. `away`: between two connections. `ending`: how it ends.

mod away;
mod ending;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use tagwire::frame::encode_message;
use tagwire::pb::tagwire::v1::{self, verdict};
use tagwire::room;
use tagwire::session::Dialect;
use tagwire::session::fan_out::Frames;
use tagwire::session::outbox::{AckError, Lane, Lost, Outbox, OutboxLimits, Pushed};
use tagwire::session::ping::{PING_INTERVAL_US, Pinger};
use tagwire::session::requests::Requests;
use tagwire::session::resume::ResumeToken;
use tagwire::time::Now;
use tagwire::{Access, CloseCode, Message};
use tokio::sync::Notify;

use crate::config::Limits;
use crate::flusher::Flushers;
use crate::link::{Last, Link};
use crate::metrics::Metrics;
use crate::rooms::{Room, Seat};
use crate::transport::Peer;

pub(crate) use away::{Handover, Waiting};
pub(crate) use ending::Ending;

/// Who a session is.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) session_id: u64,
    pub(crate) player_id: u32,
    pub(crate) name: Arc<str>,
    pub(crate) access: Access,
    pub(crate) dialect: Dialect,
    pub(crate) verdict: verdict::Value,
    /// Later, the session is not resumed without fresh credentials, microseconds since the Unix epoch.
    pub(crate) valid_until_us: AtomicU64,
}

/// One player who is inside. Shared by the connection, the room, the flusher and the wheel.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) player: Player,
    seat: Mutex<Seat>,
    /// How often it came into a room or went out of one.
    moves: AtomicU32,
    /// Which of its requests run and have run.
    pub(crate) requests: Arc<Requests>,
    out: Mutex<Out>,
    /// The hand-over is there, or the session has another connection or none any more. There from when somebody waits for it.
    handed_over: OnceLock<Box<Notify>>,
    flushers: Arc<Flushers>,
    metrics: Arc<Metrics>,
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
    /// `None`: the connection is lost, and another may come.
    link: Option<Arc<Link>>,
    /// What opens the session again; `None`: it ends with its connection.
    token: Option<ResumeToken>,
    /// On the flusher's list.
    dirty: bool,
    /// The socket took something.
    begun: bool,
    /// How the connection was lost, while there is none. In a box, for most sessions have one.
    lost: Option<Box<LostLink>>,
    /// While no connection's task has the session. Whoever takes it out of here sees to what becomes of the session.
    handover: Option<Box<Handover>>,
    ending: Option<Box<Ending>>,
}

/// A connection that was lost.
#[derive(Debug)]
struct LostLink {
    how: Ending,
    /// When the wheel first saw it, microseconds on the monotonic clock.
    seen_us: Option<u64>,
}

/// What becomes of a session in a turn of the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// It goes on, or its connection sees to it.
    Nothing,
    /// It is over, and no connection sees to it.
    Removal,
}

impl Session {
    /// A session on its first connection. `token`: what opens it again.
    pub(crate) fn new(
        player: Player,
        requests: Arc<Requests>,
        link: Arc<Link>,
        token: Option<ResumeToken>,
        limits: OutboxLimits,
        flushers: Arc<Flushers>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let kept = if token.is_some() { limits.max_kept_bytes } else { 0 };
        let outbox = Outbox::new(OutboxLimits { max_kept_bytes: kept, ..limits });
        Arc::new(Session {
            player,
            seat: Mutex::default(),
            moves: AtomicU32::new(0),
            requests,
            out: Mutex::new(Out {
                outbox,
                pinger: Pinger::default(),
                link: Some(link),
                token,
                dirty: false,
                begun: false,
                lost: None,
                handover: None,
                ending: None,
            }),
            handed_over: OnceLock::new(),
            flushers,
            metrics,
            ended: AtomicBool::new(false),
            heard: AtomicBool::new(true),
            paused: AtomicBool::new(false),
            frames_received: AtomicU64::new(0),
        })
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes messages of the game. They are written with all that comes in the same turn; `deferred`: with what comes next
    /// that is not, or with [`Session::flush_soon`].
    pub(crate) fn send_frames(self: &Arc<Self>, frames: Frames<'_>, deferred: bool) {
        self.append(deferred, |out| {
            let Lost { replaced, dropped } = out.outbox.push_all(frames);
            if replaced > 0 {
                self.metrics.conflated.inc_by(replaced);
            }
            if dropped > 0 {
                self.metrics.shed.inc_by(dropped);
            }
        });
    }

    /// Takes one encoded frame of the stack.
    pub(crate) fn send_frame(self: &Arc<Self>, frame: &[u8], lane: Lane) {
        self.append(false, |out| match out.outbox.push(frame, lane) {
            Pushed::Appended | Pushed::Aside => {}
            Pushed::Replaced => drop(self.metrics.conflated.inc()),
            Pushed::Dropped => drop(self.metrics.shed.inc()),
        });
    }

    /// Appends a message of the stack, where the session's dialect has it.
    pub(crate) fn send<M: Message>(self: &Arc<Self>, message: &M) {
        if self.player.dialect.has_stack::<M>() {
            self.append(false, |out| out.outbox.push_message(message));
        }
    }

    /// The same for one that the next about the same player replaces while it waits.
    pub(crate) fn send_latest<M: Message>(self: &Arc<Self>, player: u32, message: &M) {
        let mut frame = Vec::with_capacity(64);
        if self.player.dialect.encode_stack(message, &mut frame) {
            self.send_frame(&frame, Lane::Latest { sender: player, tag: M::TAG });
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

    /// Changes whenever [`Session::room`] does, and costs less to look at.
    pub(crate) fn moves(&self) -> u32 {
        self.moves.load(Ordering::Acquire)
    }

    /// To be called when [`Session::room`] has changed.
    pub(crate) fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Release);
    }

    /// The player, as the code of a room sees one.
    pub(crate) fn in_room(&self) -> room::Player {
        let Player { session_id, player_id, name, access, .. } = &self.player;
        room::Player { id: *player_id, session: *session_id, name: Arc::clone(name), access: *access }
    }

    /// Answers a request that was begun. False: it was answered already.
    pub(crate) fn respond(self: &Arc<Self>, response: v1::Response) -> bool {
        self.requests.finish(&response, |frame| {
            self.metrics.answered(response.status());
            self.send_frame(frame, Lane::Ordered);
        })
    }

    /// Sends an answer, new or remembered.
    pub(crate) fn send_response(self: &Arc<Self>, response: &v1::Response) {
        self.metrics.answered(response.status());
        self.send(response);
    }

    /// The second's work. Where there is a connection: gives it up if the peer is gone or the socket is stuck, else
    /// appends a Ping, before everything that waits. A classic client need not answer anything: TCP judges it. Where
    /// there is none: ends the session when its time is over.
    pub(crate) fn turn(self: &Arc<Self>, now: Now, limits: &Limits) -> Due {
        if self.is_away() {
            self.wait_for_return(now, limits);
            return if self.is_ended() && self.take_handover().is_some() {
                Due::Removal
            } else {
                Due::Nothing
            };
        }
        let frames_received = self.frames_received.load(Ordering::Relaxed);
        let heard = self.heard.swap(false, Ordering::Relaxed)
            || self.paused.load(Ordering::Relaxed)
            || self.player.dialect == Dialect::Classic;
        self.append(false, |out| {
            if out.link.is_none() {
                return;
            }
            let silent_us = u64::from(out.pinger.handle_interval(heard)) * PING_INTERVAL_US;
            if silent_us >= limits.peer_timeout_ms * 1000 {
                let reason = "nothing was heard from you for too long";
                return self.lose(out, Ending::told(CloseCode::TIMEOUT, reason));
            }
            if out.outbox.handle_timer(now) {
                let reason = "your socket took nothing for too long";
                return self.end_locked(out, Ending::told(CloseCode::SLOW, reason));
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
        Due::Nothing
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
        // One without a connection is blocked, too.
        if !out.dirty && !out.outbox.is_blocked() {
            out.dirty = true;
            drop(out);
            Flushers::push(self);
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
        let Out { link: Some(link), outbox, begun, .. } = out else { return };
        if link.is_broken() {
            return;
        }
        let was_waiting = outbox.is_blocked() || link.is_pending();
        let mut failed = None;
        if outbox.is_empty() && link.is_pending() {
            failed = link.flush().err();
        }
        // More than once only where the socket has taken all, and what waited aside has come behind it.
        while !outbox.is_empty() {
            self.metrics.writes.inc();
            match link.try_write(outbox.unwritten()) {
                Ok(count) => {
                    *begun = true;
                    outbox.wrote(count);
                    self.metrics.bytes_sent.inc_by(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => outbox.wrote(0),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            if outbox.is_blocked() {
                break;
            }
        }
        let waits = outbox.is_blocked() || link.is_pending();
        link.set_waits(waits);
        if waits && !was_waiting {
            link.wake();
        }
        match failed {
            // The session has ended, and its last frames cannot be written.
            Some(_) if out.ending.is_some() => out.outbox.clear(),
            // What has come can still be read, a Disconnect maybe: whoever reads comes to the end.
            Some(error) => link.set_broken(&error),
            None => {}
        }
    }

    /// For the connection's task: goes on writing when a full socket has room. Ready where nothing is left, or the
    /// session has ended or is on another connection.
    pub(crate) fn poll_flush(&self, link: &Arc<Link>, cx: &mut Context<'_>) -> Poll<()> {
        // Asked with every turn, and seldom true.
        if !link.may_wait() {
            return Poll::Ready(());
        }
        let mut out = self.out();
        while (out.outbox.is_blocked() || link.is_pending())
            && !link.is_broken()
            && out.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link))
        {
            match link.poll_writable(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.write(&mut out),
            }
        }
        Poll::Ready(())
    }

    /// True from [`Session::end`] on: nothing of the client is taken any more.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends the session; the first ending counts. What its socket takes at once of what waits is still written,
    /// then the Disconnect; the connection's task does the rest, or the wheel where there is none.
    pub(crate) fn end(&self, ending: Ending) {
        self.end_locked(&mut self.out(), ending);
    }

    fn end_locked(&self, out: &mut Out, ending: Ending) {
        if out.ending.is_some() {
            return;
        }
        let (last, close) = (ending.frame(self.player.dialect), ending.close());
        let lost = matches!(ending, Ending::Lost(_));
        out.ending = Some(Box::new(ending));
        if lost || out.link.is_none() {
            // Nothing can be written any more.
            out.outbox.clear();
        } else {
            self.write(out);
            if let Some(frame) = last {
                out.outbox.finish(&frame);
                self.write(out);
            }
        }
        self.ended.store(true, Ordering::Release);
        if let Some(link) = &out.link {
            link.cut(Last { bytes: vec![], close });
        }
        self.notify_handed_over();
    }

    /// The other end of its connection, for the log.
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.out().link.as_ref().map(|link| link.peer)
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.out().ending.as_deref().cloned()
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

    pub(crate) fn flushers(&self) -> &Arc<Flushers> {
        &self.flushers
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tagwire::frame::Decoder;

    use super::*;
    use crate::transport::{MemoryStream, Stream, Wire};

    #[tokio::test]
    async fn no_ping_comes_before_welcome() {
        let (_here, there) = MemoryStream::pair();
        let wire = Wire::new(Stream::Memory(there), Counter::default());
        let now = Now { monotonic_us: 0, unix_us: 1 };
        let name = "player1".into();
        let player = Player {
            session_id: 1,
            player_id: 1,
            name,
            access: Access::Player,
            dialect: Dialect::Native,
            verdict: verdict::Value::Same,
            valid_until_us: AtomicU64::new(u64::MAX),
        };
        let metrics = Arc::new(Metrics::new(&tagwire::pb::schema()));
        let (link, outbox) = (Link::new(Peer::Memory, wire), OutboxLimits::default());
        let session = Session::new(player, Arc::default(), link, None, outbox, Flushers::new(1), metrics);
        let limits = Limits::default();
        let tags = || {
            let out = session.out();
            let mut waiting = out.outbox.unwritten();
            let (mut decoder, mut tags) = (Decoder::default(), vec![]);
            while let Some(frame) = decoder.next(&mut waiting).expect("whole frames") {
                tags.push(frame.tag);
            }
            tags
        };
        session.turn(now, &limits);
        assert_eq!(tags(), []);
        session.send(&v1::Welcome::default());
        session.turn(now, &limits);
        assert_eq!(tags(), [v1::Welcome::TAG, v1::Ping::TAG]);
        session.flush();
        session.send(&v1::Member::default());
        session.turn(now, &limits);
        assert_eq!(tags(), [v1::Ping::TAG, v1::Member::TAG], "later it waits for nothing");
    }
}
