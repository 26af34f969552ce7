//! Flushers write what was appended to sessions: one write a session and turn, by direct calls on the sockets.
//!
//! A session belongs to one flusher by its id. Whoever appends to a clean session puts it on the flusher's list;
//! the flusher lets everything else that is ready run once, so that more is appended, then writes them all. What is
//! appended in one turn of a connection reaches the lists when the turn ends: a flusher on another thread would else
//! begin to write in the middle of it, and write again for the rest.
//! Waking the task of every receiver instead cost 1.2 to 1.5 times as much CPU (measured on a prototype, rooms of
//! 1,000); the guard is the test `system_calls`.

use std::cell::RefCell;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::session::Session;

/// Sockets written before other tasks get their turn.
const WRITES_PER_TURN: usize = 64;

thread_local! {
    /// Sessions that were appended to in the turn that runs on this thread; `None` between turns.
    static TURN: RefCell<Option<Vec<Arc<Session>>>> = const { RefCell::new(None) };
}

/// A turn of a connection, until it is dropped. Not to be held across an await.
#[derive(Debug)]
pub(crate) struct TurnGuard(());

impl TurnGuard {
    pub(crate) fn begin() -> Self {
        TURN.set(Some(Vec::new()));
        TurnGuard(())
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        for session in TURN.take().into_iter().flatten() {
            session.flusher().enlist(session);
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Flusher {
    dirty: Mutex<Vec<Arc<Session>>>,
    wake: Notify,
}

impl Flusher {
    /// Sees to it that a session is written; the caller sees to it that this is asked for once.
    pub(crate) fn push(&self, session: Arc<Session>) {
        let now = TURN.with_borrow_mut(|turn| match turn {
            Some(turn) => {
                turn.push(session);
                None
            }
            None => Some(session),
        });
        if let Some(session) = now {
            self.enlist(session);
        }
    }

    fn enlist(&self, session: Arc<Session>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let first = dirty.is_empty();
        dirty.push(session);
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
            mem::swap(&mut sessions, &mut self.dirty.lock().unwrap_or_else(PoisonError::into_inner));
            for (written, session) in sessions.drain(..).enumerate() {
                if written % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                    yield_now().await;
                }
                session.flush();
            }
        }
    }
}
