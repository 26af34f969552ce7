//! Flushers write what was appended to sessions: one write a session and turn, by direct calls on the sockets.
//!
//! A session belongs to one flusher by its id. Whoever appends to a clean session puts it on the flusher's list;
//! the flusher lets everything else that is ready run once, so that more is appended, then writes them all.
//! Waking the task of every receiver instead cost 1.2 to 1.5 times as much CPU (measured on a prototype, rooms of
//! 1,000); the guard is the test `system_calls`.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::session::Session;

/// Sockets written before other tasks get their turn.
const WRITES_PER_TURN: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Flusher {
    dirty: Mutex<Vec<Arc<Session>>>,
    wake: Notify,
}

impl Flusher {
    /// Puts a session on the list; the caller sees to it that it is there once.
    pub(crate) fn push(&self, session: Arc<Session>) {
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
