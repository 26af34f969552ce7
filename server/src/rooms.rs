//! Rooms: who hears whom. A room without code is a list of members that the sender's connection walks itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arc_swap::ArcSwap;
use tagwire::Tag;
use tagwire::pb::tagwire::v1::{self, member::event};
use tagwire::session::dialect::FanOut;
use tagwire::session::outbox::Lane;

use crate::config::Limits;
use crate::metrics::Metrics;
use crate::session::Session;

/// Most characters of a room's name.
const MAX_NAME_CHARS: usize = 64;

/// Why a room is not entered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoomError {
    #[error("a room's name has 1 to {MAX_NAME_CHARS} characters and no control characters")]
    Name,
    #[error("the room is full ({0} members)")]
    Full(usize),
    #[error("there are as many rooms as may be ({0})")]
    TooMany(usize),
}

/// Judges the form of a room's name.
pub(crate) fn check_name(name: &str) -> Result<(), RoomError> {
    let chars = name.chars().count();
    if chars == 0 || chars > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(RoomError::Name);
    }
    Ok(())
}

/// To how many members a message went.
#[derive(Debug, Default)]
pub(crate) struct Relayed {
    pub(crate) delivered: u64,
    /// Those whose dialect cannot carry it.
    pub(crate) unfit: u64,
}

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: String,
    members: RwLock<Vec<Arc<Session>>>,
}

impl Room {
    /// Sends what a member said to the others, or to all. Every form of it is encoded once.
    pub(crate) fn relay(
        &self,
        from: &Arc<Session>,
        tag: Tag,
        payload: &[u8],
        lane: Lane,
        to_all: bool,
    ) -> Relayed {
        let mut fan_out = FanOut::relayed(from.player.player_id, tag, payload);
        let mut relayed = Relayed::default();
        for member in self.members.read().unwrap_or_else(PoisonError::into_inner).iter() {
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
        relayed
    }
}

fn member(session: &Session, event: event::Value) -> v1::Member {
    // The name is told when the member is first heard of.
    let named = matches!(event, event::Value::Present | event::Value::Joined);
    v1::Member {
        player: session.player.player_id,
        event: event.into(),
        name: if named { session.player.name.clone() } else { String::new() },
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

    /// Moves a session into a room, out of the one it is in. `boundary` sends what stands between the frames of the
    /// old room and those of the new one. Where the room cannot be entered nothing happens.
    pub(crate) fn enter(
        &self,
        session: &Arc<Session>,
        name: &str,
        boundary: impl FnOnce(),
    ) -> Result<(), RoomError> {
        check_name(name)?;
        let limits = self.limits.load();
        let mut by_name = self.by_name();
        let rooms = by_name.len();
        let room = match by_name.entry(name.to_string()) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(_) if rooms >= limits.max_rooms => return Err(RoomError::TooMany(rooms)),
            Entry::Vacant(entry) => {
                let room = Room { name: name.to_string(), members: RwLock::default() };
                Arc::clone(entry.insert(Arc::new(room)))
            }
        };
        let there = room.members.read().unwrap_or_else(PoisonError::into_inner);
        let count = there.len();
        let inside = there.iter().any(|member| Arc::ptr_eq(member, session));
        drop(there);
        if inside {
            boundary();
            return Ok(());
        }
        if count >= limits.max_room_members {
            return Err(RoomError::Full(count));
        }
        self.leave_locked(&mut by_name, session);
        boundary();
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
            by_name.remove(&room.name);
        }
    }
}
