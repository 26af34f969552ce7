//! Who is inside, by name and by the slot of the timer wheel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tagwire::name;
use tagwire::session::ping::PING_INTERVAL_US;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use crate::core::Core;
use crate::session::{Due, Session};

/// Slots of the wheel: one turn takes a second, so a slot comes every 50 ms.
const SLOTS: u64 = 20;

/// All sessions. A session's slot is its id modulo [`SLOTS`], so that Pings are spread over the second.
#[derive(Debug)]
pub(crate) struct Directory {
    /// By [`tagwire::name::key`].
    by_name: Mutex<HashMap<Arc<str>, Arc<Session>>>,
    slots: [Mutex<HashMap<u64, Arc<Session>>>; SLOTS as usize],
}

impl Directory {
    pub(crate) fn new() -> Self {
        Directory { by_name: Mutex::default(), slots: std::array::from_fn(|_| Mutex::default()) }
    }

    fn slot(&self, id: u64) -> MutexGuard<'_, HashMap<u64, Arc<Session>>> {
        self.slots[(id % SLOTS) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session; the one that had its name before is no longer found by it and is returned.
    pub(crate) fn enter(&self, session: &Arc<Session>) -> Option<Arc<Session>> {
        self.slot(session.player.session_id).insert(session.player.session_id, Arc::clone(session));
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let name = &session.player.name;
        let key = name::key(name);
        // Most names are their own key.
        let key = if *key == **name { Arc::clone(name) } else { key.into() };
        by_name.insert(key, Arc::clone(session))
    }

    /// Removes a session; a newer one of its name stays.
    pub(crate) fn leave(&self, session: &Arc<Session>) {
        self.slot(session.player.session_id).remove(&session.player.session_id);
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let key = name::key(&session.player.name);
        if by_name.get(&*key).is_some_and(|current| Arc::ptr_eq(current, session)) {
            by_name.remove(&*key);
        }
    }

    /// True where somebody inside has the name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&*name::key(name))
    }

    /// The session of that number.
    pub(crate) fn session(&self, id: u64) -> Option<Arc<Session>> {
        self.slot(id).get(&id).cloned()
    }

    /// Everyone who is inside now.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        (0..SLOTS).flat_map(|slot| self.slot(slot).values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Bytes that wait for all sockets.
    pub(crate) fn outbox_bytes(&self) -> usize {
        (0..SLOTS)
            .map(|slot| self.slot(slot).values().map(|session| session.outbox_bytes()).sum::<usize>())
            .sum()
    }

    /// Takes out sessions that nobody came back to, one after the other. Pings do not wait for it: each tells a room.
    async fn remove(core: Arc<Core>, sessions: Vec<Arc<Session>>) {
        for session in sessions {
            core.metrics.sessions_away.dec();
            core.take_out(&session);
            yield_now().await;
        }
    }

    /// Turns the wheel for ever: pings every session once a second, ends those that are gone, takes out those that no
    /// connection does, brings the gauges up to date that are not counted as they change.
    pub(crate) async fn turn(core: Arc<Core>) {
        let (directory, metrics) = (&core.directory, &core.metrics);
        let mut ticks = interval(Duration::from_micros(PING_INTERVAL_US / SLOTS));
        // Made up for, or each slot that comes late on a busy server would make the turn longer than its second.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut due = Vec::new();
        loop {
            for slot in 0..SLOTS {
                // Whole turns are not: where we stood still, so did the time of those who are silent.
                if ticks.tick().await.elapsed() >= Duration::from_micros(PING_INTERVAL_US) {
                    ticks.reset();
                }
                core.clock.adjust();
                due.extend(directory.slot(slot).values().cloned());
                let (now, limits) = (core.clock.now(), core.limits.load_full());
                due.retain(|session| session.turn(now, &limits) == Due::Removal);
                if !due.is_empty() {
                    core.removals.spawn(Self::remove(Arc::clone(&core), std::mem::take(&mut due)));
                }
            }
            metrics.outbox_bytes.set(directory.outbox_bytes() as i64);
            metrics.tasks.set(core.tasks() as i64);
        }
    }
}
