//! Rooms with code: what a game's room is told, and what it may do. Plain data, no tasks: servers run it, and so does
//! a test, at a [`Table`].
//!
//! What a callback does through its [`Context`] is collected and carried out when it returns; where it refuses or
//! panics, nothing of it is.

mod table;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::schema::{Access, Delivery, Message, MessageSet, Sender};
use crate::service::Refusal;
use crate::tag::Tag;
use crate::time::Now;

pub use table::Table;

/// Most ticks in a second.
pub const MAX_TICK_HZ: u32 = 1000;

/// A room of a game. Its callbacks run one after the other, never at the same time, in the order in which things came;
/// while one runs, only this room waits. A panic in one ends the room: its members are told, its state is dropped.
pub trait Room: Sized + Send + 'static {
    /// What clients send to code: the `FromClient` of a package; `()`: nothing.
    type Message: MessageSet;

    /// The services `at: ROOM` that the room answers: the generated `...Server` of one, a tuple of several, `()`.
    type Services: Services<Self>;

    /// How the room is run. Asked once, before anything else.
    fn options(&self) -> Options {
        Options::default()
    }

    /// A player wants in, and is among [`Context::players`] already.
    ///
    /// # Errors
    /// The player does not come in, and is told why.
    fn joined(&mut self, cx: &mut Context<'_>, player: &Player) -> Result<(), Refusal> {
        let _ = (cx, player);
        Ok(())
    }

    /// A player sent a message `to: HANDLER`. It has passed the checks of the schema.
    fn message(&mut self, cx: &mut Context<'_>, player: &Player, message: Self::Message);

    /// A player sent a message `to: ROOM` or `ROOM_ALL`. False: nobody gets it. It has passed the checks of the schema.
    fn relay(&mut self, cx: &mut Context<'_>, player: &Player, message: Relayed<'_>) -> bool {
        let _ = (cx, player, message);
        true
    }

    /// As often as [`Options::tick_hz`] says. A tick that comes late is not made up for.
    fn tick(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// A player lost the connection and may come back: it keeps its seat, and is still among [`Context::players`]. What is
    /// sent to it waits. Then comes [`Room::back`] or [`Room::left`].
    fn away(&mut self, cx: &mut Context<'_>, player: &Player) {
        let _ = (cx, player);
    }

    /// A player who was away is back, and gets what has waited.
    fn back(&mut self, cx: &mut Context<'_>, player: &Player) {
        let _ = (cx, player);
    }

    /// A player went, and is not among [`Context::players`] any more. Not called for those who are inside when the
    /// room ends.
    fn left(&mut self, cx: &mut Context<'_>, player: &Player) {
        let _ = (cx, player);
    }
}

/// How a room is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Ticks a second, at most [`MAX_TICK_HZ`]. Default 0: none.
    pub tick_hz: u32,
    /// When what is sent reaches the sockets. Default: [`Flush::AtOnce`].
    pub flush: Flush,
    /// Members, besides the server's own limit `max_room_members`. Default: no limit but that.
    pub max_members: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { tick_hz: 0, flush: Flush::AtOnce, max_members: usize::MAX }
    }
}

/// When what a room sends reaches the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// With all that comes in the same turn.
    AtOnce,
    /// With the next tick: one write a member and tick, for up to a tick's time of latency. Answers, pings and what
    /// the stack itself says do not wait, and take along what does. What players send to the room is handled with the tick
    /// as well, at the latest and before [`Room::tick`]; who comes, goes or asks does not wait. As [`Flush::AtOnce`] in a room
    /// without ticks.
    OnTick,
}

/// A player in a room, as its code sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Player {
    /// Number of the player, as in Relayed and Member.
    pub id: u32,
    /// Number of the session.
    pub session: u64,
    /// The player's name.
    pub name: Arc<str>,
    /// What the player may do.
    pub access: Access,
}

/// A message on its way to the members of a room.
#[derive(Debug, Clone, Copy)]
pub struct Relayed<'a> {
    /// Its tag.
    pub tag: Tag,
    /// The encoded message.
    pub payload: &'a [u8],
}

impl Relayed<'_> {
    /// The message, where it is one of that type.
    pub fn decode<M: Message>(&self) -> Option<M> {
        if self.tag != M::TAG {
            return None;
        }
        M::decode(self.payload).ok()
    }
}

/// Answers the requests of services `at: ROOM`. Implemented by the `...Server` that the generator prints beside each
/// such service's trait, for every room that implements the trait; by tuples of them; by `()`.
pub trait Services<R> {
    /// The tags of the requests that it answers.
    fn tags() -> Vec<Tag>;

    /// Answers a request whose body has passed the checks of the schema. `None`: nothing here answers that tag.
    fn call(
        room: &mut R,
        cx: &mut Context<'_>,
        player: &Player,
        tag: Tag,
        body: Bytes,
    ) -> Option<Result<Bytes, Refusal>>;
}

impl<R> Services<R> for () {
    fn tags() -> Vec<Tag> {
        vec![]
    }

    fn call(_: &mut R, _: &mut Context<'_>, _: &Player, _: Tag, _: Bytes) -> Option<Result<Bytes, Refusal>> {
        None
    }
}

macro_rules! services_of_tuples {
    ($(($($name:ident)+))+) => {$(
        impl<R, $($name: Services<R>),+> Services<R> for ($($name,)+) {
            fn tags() -> Vec<Tag> {
                [$($name::tags()),+].concat()
            }

            fn call(
                room: &mut R,
                cx: &mut Context<'_>,
                player: &Player,
                tag: Tag,
                body: Bytes,
            ) -> Option<Result<Bytes, Refusal>> {
                None$(.or_else(|| $name::call(room, cx, player, tag, body.clone())))+
            }
        }
    )+};
}

services_of_tuples! { (A) (A B) (A B C) (A B C D) }

impl MessageSet for () {
    const TAGS: &'static [Tag] = &[];

    fn decode(_: Tag, _: Bytes) -> Result<Option<Self>, prost::DecodeError> {
        Ok(None)
    }
}

/// To which members a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// To one.
    One(u32),
    /// To several. Who is named twice gets it once.
    Some(Vec<u32>),
    /// To all.
    All,
    /// To all but one.
    AllBut(u32),
}

/// Something that a room's code did.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect<'a> {
    /// It sent a message.
    Send {
        /// To whom.
        to: &'a To,
        /// Its tag.
        tag: Tag,
        /// `arena.v1.Score`.
        full_name: &'static str,
        /// The encoded message.
        payload: &'a [u8],
        /// What may happen to it on a slow connection.
        delivery: Delivery,
    },
    /// It ended a player's session.
    Kick {
        /// Whose.
        player: u32,
        /// Why; the player is told.
        reason: &'a str,
    },
    /// It ended the room.
    End {
        /// Why; its members are told.
        reason: &'a str,
    },
}

#[derive(Debug)]
enum Done {
    Send { to: To, tag: Tag, full_name: &'static str, payload: Range<usize>, delivery: Delivery },
    Kick { player: u32, reason: String },
    End { reason: String },
}

/// What the callbacks of a room did, in order. To be emptied by who carries it out, and used again.
#[derive(Debug, Default)]
pub struct Effects {
    done: Vec<Done>,
    /// The encoded messages, one behind the other.
    payloads: Vec<u8>,
}

impl Effects {
    /// In the order in which it was done.
    pub fn iter(&self) -> impl Iterator<Item = Effect<'_>> {
        self.done.iter().map(|done| match done {
            Done::Send { to, tag, full_name, payload, delivery } => Effect::Send {
                to,
                tag: *tag,
                full_name,
                payload: self.payloads.get(payload.clone()).unwrap_or_default(),
                delivery: *delivery,
            },
            Done::Kick { player, reason } => Effect::Kick { player: *player, reason },
            Done::End { reason } => Effect::End { reason },
        })
    }

    /// True where nothing was done.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Forgets what was done, and keeps a little memory for what follows.
    pub fn clear(&mut self) {
        self.done.clear();
        self.done.shrink_to(64);
        self.payloads.clear();
        self.payloads.shrink_to(64 * 1024);
    }
}

/// What a room's code sees of its room, and by which it acts.
#[derive(Debug)]
pub struct Context<'a> {
    now: Now,
    tick: u64,
    room: &'a str,
    players: &'a BTreeMap<u32, Player>,
    effects: &'a mut Effects,
}

impl<'a> Context<'a> {
    /// For who runs rooms, and for tests of them: the time, the number of the last tick, the room's name, who is inside,
    /// and where goes what the code does.
    pub fn new(
        now: Now,
        tick: u64,
        room: &'a str,
        players: &'a BTreeMap<u32, Player>,
        effects: &'a mut Effects,
    ) -> Self {
        Context { now, tick, room, players, effects }
    }

    /// The time when this callback began.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Number of the tick that runs, or was the last: from 1; 0 before the first. Does not wrap.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// Name of the room.
    pub fn room(&self) -> &'a str {
        self.room
    }

    /// Who is inside, by number: those who came first are first.
    pub fn players(&self) -> impl ExactSizeIterator<Item = &'a Player> + use<'a> {
        self.players.values()
    }

    /// The player of that number, if inside.
    pub fn player(&self, id: u32) -> Option<&'a Player> {
        self.players.get(&id)
    }

    /// Sends a message to one player. Nothing happens where the player is not inside any more.
    pub fn send<M: Message>(&mut self, player: u32, message: &M) {
        self.send_to(To::One(player), message);
    }

    /// Sends a message to several players.
    pub fn send_some<M: Message>(&mut self, players: impl IntoIterator<Item = u32>, message: &M) {
        self.send_to(To::Some(players.into_iter().collect()), message);
    }

    /// Sends a message to all who are inside. It is encoded once.
    pub fn send_all<M: Message>(&mut self, message: &M) {
        self.send_to(To::All, message);
    }

    /// Sends a message to all but one. It is encoded once.
    pub fn send_all_but<M: Message>(&mut self, player: u32, message: &M) {
        self.send_to(To::AllBut(player), message);
    }

    /// Sends a message, `from: SERVER` or `BOTH`: others do not compile. One that is larger than what clients take is
    /// not sent, and an error in the log.
    pub fn send_to<M: Message>(&mut self, to: To, message: &M) {
        const {
            assert!(!M::TAG.is_reserved(), "a room sends messages of the game");
            assert!(
                !matches!(M::RULES.from, Sender::Client),
                "the schema says `from: CLIENT` of this message: a room sends those `from: SERVER` or `BOTH`"
            );
        }
        let start = self.effects.payloads.len();
        message.encode(&mut self.effects.payloads).expect("a Vec grows");
        let payload = start..self.effects.payloads.len();
        let (tag, full_name, delivery) = (M::TAG, M::FULL_NAME, M::RULES.delivery);
        self.effects.done.push(Done::Send { to, tag, full_name, payload, delivery });
    }

    /// Ends a player's session with KICKED.
    pub fn kick(&mut self, player: u32, reason: impl Into<String>) {
        self.effects.done.push(Done::Kick { player, reason: reason.into() });
    }

    /// Ends the room when this callback returns: its members are told, and are in no room until they join one.
    pub fn end(&mut self, reason: impl Into<String>) {
        self.effects.done.push(Done::End { reason: reason.into() });
    }
}

/// For generated code: answers a request of a service `at: ROOM`.
///
/// # Errors
/// Those of the handler; or the body is not such a message.
#[doc(hidden)]
pub fn answer<Q: prost::Message + Default, A: prost::Message>(
    body: Bytes,
    handler: impl FnOnce(Q) -> Result<A, Refusal>,
) -> Result<Bytes, Refusal> {
    crate::service::decode(body).and_then(handler).map(|reply| reply.encode_to_vec().into())
}
