//! Who is inside, by name and by the slot of the timer wheel.

use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tagwire::name;
use tagwire::session::ping::PING_INTERVAL_US;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use crate::core::Core;
use crate::session::{Due, Session};

/// Slots of the wheel: one turn takes a second, so a slot comes every 50 ms.
const SLOTS: u64 = 20;

/// Sessions by [`tagwire::name::key`], which is not kept: it follows from the name.
#[derive(Debug, Default)]
struct ByName {
    table: HashTable<Arc<Session>>,
    hasher: RandomState,
}

impl ByName {
    fn find(&self, name: &str) -> Option<&Arc<Session>> {
        let key = name::key(name);
        self.table.find(self.hasher.hash_one(&key), |other| name::key(&other.player.name) == key)
    }

    fn entry(&mut self, name: &str) -> Entry<'_, Arc<Session>> {
        let (key, hasher) = (name::key(name), &self.hasher);
        let hash = |key: &str| hasher.hash_one(key);
        self.table.entry(
            hash(&key),
            |other| name::key(&other.player.name) == key,
            |other| hash(&name::key(&other.player.name)),
        )
    }
}

/// All sessions. A session's slot is its id modulo [`SLOTS`], so that Pings are spread over the second.
#[derive(Debug)]
pub(crate) struct Directory {
    by_name: Mutex<ByName>,
    /// Each by session id. The wheel goes through them once a second, in the order in which they came and lie in memory.
    slots: [Mutex<Vec<Arc<Session>>>; SLOTS as usize],
}

fn place(slot: &[Arc<Session>], id: u64) -> Result<usize, usize> {
    slot.binary_search_by_key(&id, |session| session.player.session_id)
}

impl Directory {
    pub(crate) fn new() -> Self {
        Directory { by_name: Mutex::default(), slots: std::array::from_fn(|_| Mutex::default()) }
    }

    fn slot(&self, id: u64) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.slots[(id % SLOTS) as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn by_name(&self) -> MutexGuard<'_, ByName> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session; the one that had its name before is no longer found by it and is returned.
    pub(crate) fn enter(&self, session: &Arc<Session>) -> Option<Arc<Session>> {
        let id = session.player.session_id;
        let mut slot = self.slot(id);
        match place(&slot, id) {
            Ok(at) => slot[at] = Arc::clone(session),
            Err(at) => slot.insert(at, Arc::clone(session)),
        }
        drop(slot);
        match self.by_name().entry(&session.player.name) {
            Entry::Occupied(mut entry) => Some(mem::replace(entry.get_mut(), Arc::clone(session))),
            Entry::Vacant(entry) => {
                entry.insert(Arc::clone(session));
                None
            }
        }
    }

    /// Removes a session; a newer one of its name stays.
    pub(crate) fn leave(&self, session: &Arc<Session>) {
        let mut slot = self.slot(session.player.session_id);
        if let Ok(at) = place(&slot, session.player.session_id) {
            slot.remove(at);
        }
        drop(slot);
        if let Entry::Occupied(entry) = self.by_name().entry(&session.player.name)
            && Arc::ptr_eq(entry.get(), session)
        {
            entry.remove();
        }
    }

    /// True where somebody inside has the name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.by_name().find(name).is_some()
    }

    /// The session of that number.
    pub(crate) fn session(&self, id: u64) -> Option<Arc<Session>> {
        let slot = self.slot(id);
        place(&slot, id).ok().map(|at| Arc::clone(&slot[at]))
    }

    /// Everyone who is inside now.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        (0..SLOTS).flat_map(|slot| self.slot(slot).clone()).collect()
    }

    /// Bytes that wait for all sockets.
    pub(crate) fn outbox_bytes(&self) -> usize {
        (0..SLOTS)
            .map(|slot| self.slot(slot).iter().map(|session| session.outbox_bytes()).sum::<usize>())
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
                due.extend(directory.slot(slot).iter().cloned());
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
