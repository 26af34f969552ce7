//! Flushers write what was appended to sessions: one write a session and turn, by direct calls on the sockets.
//!
//! A turn of a connection that only answers writes itself. All else is gathered: a session belongs to one flusher by its
//! id. Whoever appends to a clean session puts it on the flusher's list; the flusher lets everything else that is ready
//! run once, so that more is appended, then writes them all. What is appended in one turn of a connection reaches the
//! lists when the turn ends: a flusher on another thread would else begin to write in the middle of it, and write again
//! for the rest.
//! Waking the task of every receiver instead cost 1.2 to 1.5 times as much CPU (measured on a prototype, rooms of
//! 1,000); the guard is the test `system_calls`.

use std::cell::RefCell;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::session::Session;

/// Sockets written before other tasks get their turn.
const WRITES_PER_TURN: usize = 64;

/// A longer list is not kept for the next turn.
const MAX_KEPT: usize = 1024;

/// The turn of a thread.
struct Turn {
    /// One runs.
    runs: bool,
    /// Sessions that were appended to in it.
    dirty: Vec<Arc<Session>>,
    /// They have not all the same flusher.
    mixed: bool,
}

thread_local! {
    static TURN: RefCell<Turn> = const { RefCell::new(Turn { runs: false, dirty: Vec::new(), mixed: false }) };
}

/// A turn of a connection or of a room, until it is dropped. Not to be held across an await.
#[derive(Debug)]
pub(crate) struct TurnGuard {
    /// Whose connection's it is, by the number of the session.
    own: Option<u64>,
}

impl TurnGuard {
    fn new(own: Option<u64>) -> Self {
        TURN.with_borrow_mut(|turn| turn.runs = true);
        TurnGuard { own }
    }

    /// A turn of a room.
    pub(crate) fn begin() -> Self {
        TurnGuard::new(None)
    }

    /// A turn of that session's connection.
    pub(crate) fn begin_of(session: &Session) -> Self {
        TurnGuard::new(Some(session.player.session_id))
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        let own = TURN.with_borrow_mut(|turn| {
            turn.runs = false;
            if let [session] = turn.dirty.as_slice()
                && Some(session.player.session_id) == self.own
            {
                return turn.dirty.pop();
            }
            let Turn { dirty, mixed, .. } = turn;
            while let Some(session) = dirty.last() {
                let flusher = Arc::clone(session.flusher());
                if *mixed {
                    let of_flusher = |session: &mut Arc<Session>| Arc::ptr_eq(session.flusher(), &flusher);
                    flusher.enlist(dirty.extract_if(.., of_flusher));
                } else {
                    flusher.enlist(dirty.drain(..));
                }
            }
            *mixed = false;
            dirty.shrink_to(MAX_KEPT);
            None
        });
        // Who was read is answered, and nobody else hears anything: the flusher could gather no more for it, and it would be
        // another task's turn on perhaps another core.
        if let Some(session) = own {
            session.flush();
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Flusher {
    dirty: Mutex<Vec<Arc<Session>>>,
    wake: Notify,
}

impl Flusher {
    fn dirty(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that a session is written; the caller sees to it that this is asked for once.
    pub(crate) fn push(session: &Arc<Session>) {
        let waits = TURN.with_borrow_mut(|turn| {
            if turn.runs {
                let first = turn.dirty.first();
                turn.mixed |= first.is_some_and(|first| !Arc::ptr_eq(first.flusher(), session.flusher()));
                turn.dirty.push(Arc::clone(session));
            }
            turn.runs
        });
        if !waits {
            session.flusher().enlist([Arc::clone(session)]);
        }
    }

    fn enlist(&self, sessions: impl IntoIterator<Item = Arc<Session>>) {
        let mut dirty = self.dirty();
        let first = dirty.is_empty();
        dirty.extend(sessions);
        drop(dirty);
        if first {
            self.wake.notify_one();
        }
    }

    /// Writes for ever; to be aborted when no session is left.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut sessions = Vec::new();
        loop {
            self.wake.notified().await;
            yield_now().await;
            mem::swap(&mut sessions, &mut self.dirty());
            for (written, session) in sessions.drain(..).enumerate() {
                if written % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                    yield_now().await;
                }
                session.flush();
            }
        }
    }
}
