//! A session between two connections: how it loses one, who has it meanwhile, and how it gets another.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tagwire::CloseCode;
use tagwire::bytes::Bytes;
use tagwire::frame::encode_message;
use tagwire::pb::tagwire::v1;
use tagwire::session::ping::Pinger;
use tagwire::session::resume::{ResumeRefused, ResumeToken};
use tagwire::session::server::ServerSession;
use tagwire::time::Now;
use tokio::sync::futures::Notified;

use super::{Ending, LostLink, Out, Session};
use crate::config::Limits;
use crate::door::Place;
use crate::link::{Last, Link};
use crate::rooms::{Letter, Room};

/// What a room had no space for yet. In a box, for hardly any session has one.
pub(crate) type Waiting = Box<(Arc<Room>, Letter)>;

/// What of a connection goes on with its session, from one to the next.
#[derive(Debug)]
pub(crate) struct Handover {
    /// Counts, keys, rates.
    pub(crate) protocol: ServerSession,
    /// What a room had no space for yet.
    pub(crate) letter: Option<Waiting>,
    /// A session counts among the connections, whether it has one or not.
    #[expect(dead_code, reason = "frees its place when it is dropped")]
    pub(crate) place: Place,
}

impl Session {
    /// A connection is of no use any more. The session goes on without, if it can be opened again; else it ends. Where
    /// it has another one by now, nothing happens.
    pub(crate) fn lose_link(&self, link: &Arc<Link>, ending: Ending) {
        let mut out = self.out();
        if out.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            self.lose(&mut out, ending);
        }
    }

    pub(super) fn lose(&self, out: &mut Out, ending: Ending) {
        if out.token.is_none() || out.ending.is_some() {
            return self.end_locked(out, ending);
        }
        let Some(link) = out.link.take() else { return };
        // The frame that has begun must not be cut by what is said last.
        let last = ending.frame(self.player.dialect).map(|last| [out.outbox.rest_of_frame(), &last].concat());
        let last = Last { bytes: last.unwrap_or_default(), close: ending.close() };
        out.outbox.detach();
        out.lost = Some(Box::new(LostLink { how: ending, seen_us: None }));
        link.cut(last);
    }

    /// True where no connection has the session.
    pub(crate) fn is_away(&self) -> bool {
        self.out().handover.is_some()
    }

    /// Waits for what [`Session::hand_over`] brings, or for the end. To be made before it is looked for.
    pub(crate) fn handed_over(&self) -> Notified<'_> {
        self.handed_over.get_or_init(Box::default).notified()
    }

    /// To be called behind what it tells of: who comes to wait after it finds that out.
    pub(super) fn notify_handed_over(&self) {
        if let Some(handed_over) = self.handed_over.get() {
            handed_over.notify_waiters();
        }
    }

    /// A connection's task gives the session out of its hands.
    pub(crate) fn hand_over(&self, handover: Box<Handover>) {
        self.out().handover = Some(handover);
        self.notify_handed_over();
    }

    /// The session is in the caller's hands, until [`Session::hand_over`]. `None`: it is in other hands.
    pub(crate) fn take_handover(&self) -> Option<Box<Handover>> {
        self.out().handover.take()
    }

    /// Cuts the connection that the session has, for another one that may have it: this opens it, and it can go on from
    /// there.
    pub(crate) fn cut_for(&self, now: Now, resume: &v1::Resume, secure: bool) -> Result<(), ResumeRefused> {
        let mut out = self.out();
        let Some(token) = &out.token else { return Err(ResumeRefused::Gone) };
        token.check(resume, secure)?;
        if out.ending.is_some() {
            return Err(ResumeRefused::Gone);
        }
        if now.unix_us > self.player.valid_until_us.load(Ordering::Relaxed) {
            return Err(ResumeRefused::Expired);
        }
        out.outbox.may_resume(resume.frames_received)?;
        self.lose(&mut out, Ending::told(CloseCode::REPLACED, "you came back on another connection"));
        Ok(())
    }

    /// Puts the session on another connection: `welcome`, then all that its client has not handled.
    pub(crate) fn attach(
        &self,
        link: &Arc<Link>,
        resume: &v1::Resume,
        welcome: &v1::Welcome,
    ) -> Result<(), ResumeRefused> {
        let mut out = self.out();
        if out.ending.is_some() {
            return Err(ResumeRefused::Gone);
        }
        out.outbox.resume(resume.frames_received)?;
        if let Some(token) = &mut out.token {
            token.used(resume);
        }
        let mut frame = vec![];
        encode_message(welcome, &mut frame);
        out.outbox.push_urgent(&frame);
        out.link = Some(Arc::clone(link));
        (out.pinger, out.begun, out.lost) = (Pinger::default(), false, None);
        self.heard(welcome.frames_received);
        self.notify_handed_over();
        self.write(&mut out);
        Ok(())
    }

    /// The second's work while there is no connection: ends the session when its time is over.
    pub(super) fn wait_for_return(&self, now: Now, limits: &Limits) {
        let mut out = self.out();
        if out.link.is_some() || out.ending.is_some() {
            return;
        }
        out.outbox.shrink();
        let Some(lost) = &mut out.lost else { return };
        let seen_us = *lost.seen_us.get_or_insert(now.monotonic_us);
        if now.monotonic_us.saturating_sub(seen_us) >= limits.resume_window_ms * 1000 {
            let why = lost.how.to_string();
            self.end_locked(&mut out, Ending::Lost(format!("{why}; it did not come back in time")));
        }
    }

    /// How the last connection was lost, for the log.
    pub(crate) fn lost(&self) -> Option<Ending> {
        self.out().lost.as_ref().map(|lost| lost.how.clone())
    }

    /// What opens the session again, as Welcome says it; empty: nothing does.
    pub(crate) fn resume_token(&self) -> Bytes {
        self.out().token.as_ref().map(ResumeToken::to_bytes).unwrap_or_default()
    }
}
