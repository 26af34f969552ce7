//! Who is inside, by name and by the slot of the timer wheel.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tagwire::CloseCode;
use tagwire::session::ping::PING_INTERVAL_US;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::session::{Ending, Session};

/// Slots of the wheel: one turn takes a second, so a slot comes every 50 ms.
const SLOTS: u64 = 20;

/// All sessions. A session's slot is its id modulo [`SLOTS`], so that Pings are spread over the second.
#[derive(Debug)]
pub(crate) struct Directory {
    by_name: Mutex<HashMap<String, Arc<Session>>>,
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
        by_name.insert(session.player.name.clone(), Arc::clone(session))
    }

    /// Removes a session; a newer one of its name stays.
    pub(crate) fn leave(&self, session: &Arc<Session>) {
        self.slot(session.player.session_id).remove(&session.player.session_id);
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if by_name.get(&session.player.name).is_some_and(|current| Arc::ptr_eq(current, session)) {
            by_name.remove(&session.player.name);
        }
    }

    /// True where somebody inside has the name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// Everyone who is inside now.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        (0..SLOTS).flat_map(|slot| self.slot(slot).values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Turns the wheel for ever: pings every session once a second, ends those that are gone, and
    /// adds up what waits for them.
    pub(crate) async fn turn(self: Arc<Self>, clock: Arc<Clock>, peer_timeout_us: u64, outbox_bytes: Gauge) {
        let mut ticks = interval(Duration::from_micros(PING_INTERVAL_US / SLOTS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut due = Vec::new();
        let mut waiting = 0;
        for slot in (0..SLOTS).cycle() {
            ticks.tick().await;
            if slot == 0 {
                outbox_bytes.set(mem::take(&mut waiting) as i64);
            }
            due.extend(self.slot(slot).values().cloned());
            let now = clock.now();
            for session in due.drain(..) {
                waiting += session.outbox_bytes();
                if session.is_silent(now, peer_timeout_us) {
                    session.end(Ending::told(CloseCode::TIMEOUT, "nothing was heard from you for too long"));
                } else {
                    session.ping(now);
                }
            }
        }
    }
}
