//! Rooms: who hears whom. A room without code is a list of members that the sender's connection walks itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arc_swap::ArcSwap;
use tagwire::Tag;
use tagwire::name::{self, NameError};
use tagwire::pb::tagwire::v1::{self, member::event};
use tagwire::rate::{Rate, TokenBucket};
use tagwire::session::dialect::FanOut;
use tagwire::session::outbox::Lane;
use tagwire::time::Now;

use crate::config::Limits;
use crate::metrics::Metrics;
use crate::session::Session;

/// Why a room is not entered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoomError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the room is full ({0} members)")]
    Full(usize),
    #[error("there are as many rooms as may be ({0})")]
    TooMany(usize),
}

/// To how many members a message went.
#[derive(Debug, Default)]
pub(crate) struct Relayed {
    pub(crate) delivered: u64,
    /// Those whose dialect cannot carry it.
    pub(crate) unfit: u64,
}

/// A room has as many deliveries in a second as it may have: this many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy(pub(crate) u32);

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: Arc<str>,
    members: RwLock<Vec<Arc<Session>>>,
    deliveries: Mutex<Option<TokenBucket>>,
    limits: Arc<ArcSwap<Limits>>,
}

impl Room {
    /// Sends what a member said to the others, or to all. Every form of it is encoded once.
    ///
    /// # Errors
    /// The room is busy; nobody gets it.
    pub(crate) fn relay(
        &self,
        now: Now,
        from: &Arc<Session>,
        tag: Tag,
        payload: &[u8],
        lane: Lane,
        to_all: bool,
    ) -> Result<Relayed, Busy> {
        let mut fan_out = FanOut::relayed(from.player.player_id, tag, payload);
        let mut relayed = Relayed::default();
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        self.take_deliveries(now, members.len())?;
        for member in members.iter() {
            if !to_all && Arc::ptr_eq(member, from) {
                continue;
            }
            match fan_out.frame(member.player.dialect) {
                Some(frame) => {
                    member.send_frame(frame, lane);
                    relayed.delivered += 1;
                }
                None => relayed.unfit += 1,
            }
        }
        Ok(relayed)
    }

    fn take_deliveries(&self, now: Now, count: usize) -> Result<(), Busy> {
        let max = self.limits.load().max_room_deliveries_per_second;
        if max == 0 {
            return Ok(());
        }
        let mut bucket = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = bucket.get_or_insert_with(|| TokenBucket::full(now));
        // A room of more members than the limit would else never hear anything.
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(max);
        bucket.take(now, Rate::per_second(max), count).map_err(|_| Busy(max))
    }
}

fn member(session: &Session, event: event::Value) -> v1::Member {
    // The name is told when the member is first heard of.
    let named = matches!(event, event::Value::Present | event::Value::Joined);
    v1::Member {
        player: session.player.player_id,
        event: event.into(),
        name: if named { session.player.name.to_string() } else { String::new() },
    }
}

/// All rooms. Coming and going is in one order for all of them, under one lock; messages do not take it.
#[derive(Debug)]
pub(crate) struct Rooms {
    by_name: Mutex<HashMap<String, Arc<Room>>>,
    limits: Arc<ArcSwap<Limits>>,
    metrics: Arc<Metrics>,
}

impl Rooms {
    pub(crate) fn new(limits: Arc<ArcSwap<Limits>>, metrics: Arc<Metrics>) -> Self {
        Rooms { by_name: Mutex::default(), limits, metrics }
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<String, Arc<Room>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a session into a room, out of the one it is in. `boundary` is given the room's name in its one form and
    /// sends what stands between the frames of the old room and those of the new one. Where the room cannot be entered
    /// nothing happens.
    pub(crate) fn enter(
        &self,
        session: &Arc<Session>,
        name: &str,
        boundary: impl FnOnce(&str),
    ) -> Result<(), RoomError> {
        let name = name::room(name)?;
        let limits = self.limits.load();
        let mut by_name = self.by_name();
        let rooms = by_name.len();
        let room = match by_name.entry(name) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(_) if rooms >= limits.max_rooms => {
                self.metrics.limited("max_rooms");
                return Err(RoomError::TooMany(rooms));
            }
            Entry::Vacant(entry) => {
                let room = Room {
                    name: entry.key().as_str().into(),
                    members: RwLock::default(),
                    deliveries: Mutex::default(),
                    limits: Arc::clone(&self.limits),
                };
                Arc::clone(entry.insert(Arc::new(room)))
            }
        };
        let there = room.members.read().unwrap_or_else(PoisonError::into_inner);
        let count = there.len();
        let inside = there.iter().any(|member| Arc::ptr_eq(member, session));
        drop(there);
        if inside {
            boundary(&room.name);
            return Ok(());
        }
        if count >= limits.max_room_members {
            self.metrics.limited("max_room_members");
            return Err(RoomError::Full(count));
        }
        self.leave_locked(&mut by_name, session);
        boundary(&room.name);
        let mut members = room.members.write().unwrap_or_else(PoisonError::into_inner);
        let joined = member(session, event::Value::Joined);
        for other in members.iter() {
            session.send(&member(other, event::Value::Present));
            other.send(&joined);
        }
        members.push(Arc::clone(session));
        drop(members);
        *session.room.lock().unwrap_or_else(PoisonError::into_inner) = Some(room);
        self.metrics.rooms.set(by_name.len() as i64);
        Ok(())
    }

    /// Takes a session out of its room, if it is in one.
    pub(crate) fn leave(&self, session: &Arc<Session>) {
        let mut by_name = self.by_name();
        self.leave_locked(&mut by_name, session);
        self.metrics.rooms.set(by_name.len() as i64);
    }

    fn leave_locked(&self, by_name: &mut HashMap<String, Arc<Room>>, session: &Arc<Session>) {
        let Some(room) = session.room.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let mut members = room.members.write().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| !Arc::ptr_eq(member, session));
        let left = member(session, event::Value::Left);
        for other in members.iter() {
            other.forget_sender(session.player.player_id);
            other.send(&left);
        }
        session.forget_room();
        if members.is_empty() {
            by_name.remove(&*room.name);
        }
    }
}
