//! Flushers write what was appended to sessions: one write a session and turn, by direct calls on the sockets.
//!
//! A turn of a connection that only answers writes itself. All else is gathered: whoever appends to a clean session puts it
//! on the list of a flusher, which lets everything else that is ready run once, so that more is appended, then writes
//! them all. What is appended in one turn of a connection reaches the list when the turn ends: a flusher on another thread
//! would else begin to write in the middle of it, and write again for the rest.
//! Each thread has a flusher of its own, so that a turn wakes no other thread. Only where there is much to write does it
//! share with the others.
//! Waking the task of every receiver instead cost 1.2 to 1.5 times as much CPU (measured on a prototype, rooms of
//! 1,000); the guard is the test `system_calls`.

use std::cell::RefCell;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::session::Session;

/// Sockets written before other tasks get their turn, and so many at least for each flusher that shares.
const WRITES_PER_TURN: usize = 64;

/// A longer list is not kept for the next turn.
const MAX_KEPT: usize = 1024;

/// The turn of a thread.
struct Turn {
    /// One runs.
    runs: bool,
    /// Sessions that were appended to in it.
    dirty: Vec<Arc<Session>>,
}

thread_local! {
    static TURN: RefCell<Turn> = const { RefCell::new(Turn { runs: false, dirty: Vec::new() }) };
    /// Number of the thread, among those that have appended.
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
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
            let dirty = &mut turn.dirty;
            if let Some(session) = dirty.last() {
                Arc::clone(session.flushers()).enlist(dirty.drain(..));
            }
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

/// The flushers of a server, one for each of its threads.
#[derive(Debug)]
pub(crate) struct Flushers(Box<[Flusher]>);

impl Flushers {
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        Arc::new(Flushers((0..threads).map(|_| Flusher::default()).collect()))
    }

    /// Sees to it that a session is written; the caller sees to it that this is asked for once.
    pub(crate) fn push(session: &Arc<Session>) {
        let waits = TURN.with_borrow_mut(|turn| {
            if turn.runs {
                turn.dirty.push(Arc::clone(session));
            }
            turn.runs
        });
        if !waits {
            session.flushers().enlist([Arc::clone(session)]);
        }
    }

    fn enlist(&self, sessions: impl IntoIterator<Item = Arc<Session>, IntoIter: ExactSizeIterator>) {
        let mut sessions = sessions.into_iter();
        let share = sessions.len().div_ceil(self.0.len()).max(WRITES_PER_TURN);
        for flusher in self.0.iter().cycle().skip(THREAD.with(|thread| thread % self.0.len())) {
            if sessions.len() == 0 {
                break;
            }
            flusher.enlist(sessions.by_ref().take(share));
        }
    }

    /// Each writes for ever; to be aborted when no session is left.
    pub(crate) fn run(self: &Arc<Self>) -> impl Iterator<Item = impl Future<Output = ()> + Send + 'static> {
        (0..self.0.len()).map(|place| {
            let flushers = Arc::clone(self);
            async move { flushers.0[place].run().await }
        })
    }
}

#[derive(Debug, Default)]
struct Flusher {
    dirty: Mutex<Vec<Arc<Session>>>,
    wake: Notify,
}

impl Flusher {
    fn dirty(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enlist(&self, sessions: impl Iterator<Item = Arc<Session>>) {
        let mut dirty = self.dirty();
        let first = dirty.is_empty();
        dirty.extend(sessions);
        drop(dirty);
        if first {
            self.wake.notify_one();
        }
    }

    async fn run(&self) {
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
