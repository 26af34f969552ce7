//! Rooms: who hears whom, who comes and who goes. A room without code is a list of members that the sender's connection
//! walks itself; one with code has a mailbox, and a task that runs the code, on threads that carry no connections.

mod code;
mod mailbox;
mod room;
mod runner;
mod threads;

use std::collections::{HashMap, hash_map};
use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arc_swap::ArcSwap;
use tagwire::name::{self, NameError};
use tagwire::pb::tagwire::v1::{self, member::event};
use tagwire::service::Refusal;
use tagwire::session::Dialect;
use tagwire::session::outbox::Lane;
use tagwire::{CloseCode, Message as _, Schema, Tag};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::clock::Clock;
use crate::config::Limits;
use crate::hook::Hooks;
use crate::metrics::Metrics;
use crate::session::{Ending, Session};

pub(crate) use code::{Kind, KindError};
pub(crate) use mailbox::{Letter, Mailbox, Unposted};
pub(crate) use room::{Delivered, Room};

use mailbox::Mail;
use room::Members;
use runner::Runner;
use threads::Threads;

/// Sends what stands between the frames of the old room and those of the new one, whose name it is given. False: it is too late to move, the
/// session stays where it is.
pub(crate) type Boundary = Box<dyn FnOnce(&str) -> bool + Send>;

/// Why a room is not entered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoomError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the room is full ({0} members)")]
    Full(usize),
    #[error("there are as many rooms as may be ({0})")]
    TooMany(usize),
    /// Its code says no.
    #[error(transparent)]
    Refused(Refusal),
}

impl From<RoomError> for Refusal {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Name(error) => Refusal::invalid(error.to_string()),
            RoomError::Refused(refusal) => refusal,
            error => Refusal::unavailable(error.to_string(), 0),
        }
    }
}

/// Where a session is; changed by [`Rooms`] alone.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    room: Option<Arc<Room>>,
    /// The connection is lost; the session may have another one.
    away: bool,
    /// Number of the change of `away`, of all sessions' in their order.
    changed: u64,
    /// Of the changes up to this number it was told when they happened.
    told: u64,
    /// The session is over: it enters no room any more.
    gone: bool,
}

impl Seat {
    pub(crate) fn room(&self) -> Option<&Arc<Room>> {
        self.room.as_ref()
    }
}

/// All rooms. Coming and going is in one order for all of them, under one lock; messages do not take it, and no code of a
/// game runs under it.
pub(crate) struct Rooms {
    by_name: Mutex<HashMap<String, Entry>>,
    kinds: RwLock<Vec<Arc<Kind>>>,
    schema: Arc<Schema>,
    limits: Arc<ArcSwap<Limits>>,
    metrics: Arc<Metrics>,
    clock: Arc<Clock>,
    hooks: Arc<Hooks>,
    /// How often a session was away or back.
    changes: AtomicU64,
    tasks: TaskTracker,
    threads: Threads,
}

#[derive(Debug)]
struct Entry {
    room: Arc<Room>,
    /// Those about whom its code has not decided.
    joining: usize,
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Rooms {
    pub(crate) fn new(
        schema: Arc<Schema>,
        limits: Arc<ArcSwap<Limits>>,
        metrics: Arc<Metrics>,
        clock: Arc<Clock>,
        hooks: Arc<Hooks>,
        threads: usize,
    ) -> Self {
        let (by_name, kinds, tasks) = (Mutex::default(), RwLock::default(), TaskTracker::new());
        let threads = Threads::new(threads);
        let changes = AtomicU64::new(0);
        Rooms { by_name, kinds, schema, limits, metrics, clock, hooks, changes, tasks, threads }
    }

    /// Has the rooms whose name a kind matches, and no kind before it, run its code. For rooms that are yet to be made.
    pub(crate) fn add(&self, kind: Kind) -> Result<(), KindError> {
        kind.validate(&self.schema)?;
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if kinds.iter().any(|other| other.pattern == kind.pattern) {
            return Err(KindError::SameName(kind.pattern));
        }
        kinds.push(Arc::new(kind));
        Ok(())
    }

    /// The tasks of rooms with code.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True where rooms of some kind answer that request.
    pub(crate) fn answer(&self, tag: Tag) -> bool {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).iter().any(|kind| kind.answers(tag))
    }

    fn kind(&self, room: &str) -> Option<Arc<Kind>> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().find(|kind| kind.matches(room)).cloned()
    }

    /// A room that is not there yet.
    fn make(self: &Arc<Self>, name: &str) -> io::Result<Arc<Room>> {
        let limits = || Arc::clone(&self.limits);
        let Some(kind) = self.kind(name) else { return Ok(Arc::new(Room::new(name, None, limits()))) };
        let threads = self.threads.handle()?;
        let (mailbox, mail) = Mailbox::new(kind, self.limits.load().max_room_mailbox_bytes);
        let room = Arc::new(Room::new(name, Some(mailbox), limits()));
        self.tasks.spawn_on(Runner::new(Arc::clone(self), Arc::clone(&room), mail).run(), &threads);
        Ok(room)
    }

    /// Moves a session into a room, out of the one it is in. Ready when it is inside, and what `boundary` sends stands
    /// between the frames of the two; where it may not enter nothing happens. Given up when it is dropped.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        session: &Arc<Session>,
        name: &str,
        boundary: Boundary,
    ) -> Result<(), RoomError> {
        let name = name::room(name)?;
        let (reply, replied) = oneshot::channel();
        {
            let max_members = self.limits.load().max_room_members;
            let mut by_name = self.by_name();
            let rooms = by_name.len();
            let entry = match by_name.entry(name) {
                hash_map::Entry::Occupied(entry) => entry.into_mut(),
                hash_map::Entry::Vacant(_) if rooms >= self.limits.load().max_rooms => {
                    self.metrics.limited("max_rooms");
                    return Err(RoomError::TooMany(rooms));
                }
                hash_map::Entry::Vacant(entry) => {
                    let room = self.make(entry.key()).map_err(|error| {
                        error!("room {:?} has no threads for its code: {error}", entry.key());
                        RoomError::Refused(Refusal::internal())
                    })?;
                    entry.insert(Entry { room, joining: 0 })
                }
            };
            let room = Arc::clone(&entry.room);
            let inside = room.members().contains_key(&session.player.player_id);
            let count = room.members().len() + entry.joining;
            if !inside && count >= max_members {
                self.metrics.limited("max_room_members");
                return Err(RoomError::Full(count));
            }
            match &room.code {
                Some(code) if !inside => {
                    entry.joining += 1;
                    code.tell(Mail::Join { session: Arc::clone(session), boundary, reply });
                }
                _ => {
                    let placed = self.place(&mut by_name, &room, session, boundary);
                    // It may have been made for one who is gone.
                    self.close_empty(&mut by_name, &room);
                    return if placed { Ok(()) } else { Err(RoomError::Refused(too_late())) };
                }
            }
            self.metrics.rooms.set(by_name.len() as i64);
        }
        match replied.await {
            Ok(decided) => decided.map_err(RoomError::Refused),
            Err(_) => Err(RoomError::Refused(Refusal::unavailable("the room has ended", 0))),
        }
    }

    /// The code of a room has decided about a session: with a boundary it is let in. False where it does not come in.
    fn decide(&self, room: &Arc<Room>, session: &Arc<Session>, boundary: Option<Boundary>) -> bool {
        let mut by_name = self.by_name();
        if let Some(entry) = by_name.get_mut(&*room.name).filter(|entry| Arc::ptr_eq(&entry.room, room)) {
            entry.joining -= 1;
        }
        let placed = boundary.is_some_and(|boundary| self.place(&mut by_name, room, session, boundary));
        self.close_empty(&mut by_name, room);
        placed
    }

    fn place(
        &self,
        by_name: &mut HashMap<String, Entry>,
        room: &Arc<Room>,
        session: &Arc<Session>,
        boundary: Boundary,
    ) -> bool {
        let player = session.player.player_id;
        if session.seat().gone {
            return false;
        }
        if room.members().contains_key(&player) {
            return boundary(&room.name);
        }
        if !self.take_out(by_name, session, || boundary(&room.name)) {
            return false;
        }
        let mut members = room.members_mut();
        let joined = member(session, event::Value::Joined);
        for other in members.values() {
            session.send(&member(other, event::Value::Present));
            if other.seat().away {
                session.send_latest(other.player.player_id, &member(other, event::Value::Away));
            }
            other.send(&joined);
        }
        members.insert(player, Arc::clone(session));
        let away = {
            let mut seat = session.seat();
            seat.room = Some(Arc::clone(room));
            session.moved();
            seat.told = self.changes.load(Ordering::Relaxed);
            seat.away
        };
        if away {
            self.tell_presence(room, &members, session, event::Value::Away);
        }
        true
    }

    /// A session has lost its connection: it keeps its seat.
    pub(crate) fn away(&self, session: &Arc<Session>) {
        self.set_away(session, true);
    }

    /// A session that was away is back.
    pub(crate) fn back(&self, session: &Arc<Session>) {
        self.set_away(session, false);
    }

    fn set_away(&self, session: &Arc<Session>, away: bool) {
        let _in_order = self.by_name();
        let (room, told) = {
            let mut seat = session.seat();
            if mem::replace(&mut seat.away, away) == away {
                return;
            }
            seat.changed = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
            if away {
                seat.told = seat.changed;
            }
            (seat.room.clone(), seat.told)
        };
        let Some(room) = room else { return };
        let members = room.members();
        self.tell_presence(&room, &members, session, presence(away));
        if !away {
            self.tell_missed(&members, session, told);
        }
    }

    /// Tells a session that is back who went away and came back while it was away itself.
    fn tell_missed(&self, members: &Members, session: &Arc<Session>, told: u64) {
        for (id, other) in members.iter().filter(|(id, _)| **id != session.player.player_id) {
            let (away, changed) = {
                let seat = other.seat();
                (seat.away, seat.changed)
            };
            if changed > told {
                session.send_latest(*id, &member(other, presence(away)));
            }
        }
    }

    /// Tells the other members and the code that a member is away or back. Members that are away themselves are told when
    /// they are back: else a thousand who are cut off at once have a million frames for each other.
    fn tell_presence(&self, room: &Room, members: &Members, session: &Session, event: event::Value) {
        let player = session.player.player_id;
        let told = member(session, event);
        let others = members.iter().filter(|(id, other)| **id != player && !other.seat().away);
        // To one who is slow the last of these is enough.
        tell(others.map(|(_, other)| other), &told, Lane::Latest { sender: player, tag: v1::Member::TAG });
        if let Some(code) = &room.code {
            code.tell(match event {
                event::Value::Away => Mail::Away { player },
                _ => Mail::Back { player },
            });
        }
    }

    /// Takes a session that is over out of its room.
    pub(crate) fn leave(&self, session: &Arc<Session>) {
        let mut by_name = self.by_name();
        self.take_out(&mut by_name, session, || true);
        session.seat().gone = true;
    }

    /// Takes a session out of its room, if it is in one and `boundary` agrees: nothing of the room reaches it after that.
    fn take_out(
        &self,
        by_name: &mut HashMap<String, Entry>,
        session: &Arc<Session>,
        boundary: impl FnOnce() -> bool,
    ) -> bool {
        let Some(room) = session.room() else { return boundary() };
        let player = session.player.player_id;
        {
            let mut members = room.members_mut();
            session.forget_room();
            if !boundary() {
                return false;
            }
            members.remove(&player);
            let left = member(session, event::Value::Left);
            members.values().for_each(|other| other.forget_sender(player));
            tell(members.values(), &left, Lane::Ordered);
        }
        session.seat().room = None;
        session.moved();
        if let Some(code) = &room.code {
            code.tell(Mail::Left { player });
        }
        self.close_empty(by_name, &room);
        true
    }

    /// A room goes with the last who is inside or wants in.
    fn close_empty(&self, by_name: &mut HashMap<String, Entry>, room: &Arc<Room>) {
        let empty =
            |entry: &Entry| Arc::ptr_eq(&entry.room, room) && entry.joining == 0 && room.members().is_empty();
        if by_name.get(&*room.name).is_some_and(empty) {
            by_name.remove(&*room.name);
            if let Some(code) = &room.code {
                code.tell(Mail::Close);
            }
        }
        self.metrics.rooms.set(by_name.len() as i64);
    }

    /// Ends a room whose code has ended: its members are in none, and are told so.
    fn end(&self, room: &Arc<Room>, reason: &str) {
        let mut by_name = self.by_name();
        if by_name.get(&*room.name).is_some_and(|entry| Arc::ptr_eq(&entry.room, room)) {
            by_name.remove(&*room.name);
        }
        self.metrics.rooms.set(by_name.len() as i64);
        let ended = v1::RoomEnded { room: room.name.to_string(), reason: reason.to_string() };
        for (_, member) in mem::take(&mut *room.members_mut()) {
            member.seat().room = None;
            member.moved();
            member.forget_room();
            match member.player.dialect {
                Dialect::Native => member.send(&ended),
                // It can neither be told nor ask for another.
                Dialect::Classic => member.end(Ending::told(CloseCode::KICKED, reason)),
            }
        }
    }
}

/// Tells members of one of them. It is encoded once.
fn tell<'m>(members: impl Iterator<Item = &'m Arc<Session>>, message: &v1::Member, lane: Lane) {
    let mut frame = vec![];
    Dialect::Native.encode_stack(message, &mut frame);
    // A classic client knows nothing of members.
    members
        .filter(|other| other.player.dialect == Dialect::Native)
        .for_each(|other| other.send_frame(&frame, lane));
}

fn presence(away: bool) -> event::Value {
    if away { event::Value::Away } else { event::Value::Back }
}

fn too_late() -> Refusal {
    Refusal::unavailable("it is too late to enter the room", 0)
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
