//! A room at a table: called without a server, a socket or a clock, for the tests of games.

use std::collections::BTreeMap;

use super::{Context, Effect, Effects, Player, Relayed, Room, Services, To};
use crate::schema::{Access, Message, MessageSet};
use crate::service::Refusal;
use crate::time::Now;

/// A room and those who are inside, to be played with in a test. What the room does is kept until it is asked for.
///
/// ```
/// # use tagwire::room::{Context, Player, Room, Table};
/// # struct Arena;
/// # impl Room for Arena {
/// #     type Message = ();
/// #     type Services = ();
/// #     fn message(&mut self, _: &mut Context<'_>, _: &Player, _: ()) {}
/// # }
/// let mut table = Table::new(Arena);
/// let zoe = table.join("zoe").expect("anyone may come in");
/// table.tick();
/// assert!(table.effects().is_empty());
/// table.leave(zoe);
/// ```
#[derive(Debug)]
pub struct Table<R> {
    /// The room itself, to be looked at and changed.
    pub room: R,
    /// The time that the room is told. It goes on by itself with ticks alone.
    pub now: Now,
    players: BTreeMap<u32, Player>,
    effects: Effects,
    tick: u64,
    next_player: u32,
}

impl<R: Room> Table<R> {
    /// An empty room called "table".
    pub fn new(room: R) -> Self {
        let now = Now { monotonic_us: 0, unix_us: 1 };
        Table { room, now, players: BTreeMap::new(), effects: Effects::default(), tick: 0, next_player: 1 }
    }

    /// Calls the room with a context.
    pub fn call<T>(&mut self, call: impl FnOnce(&mut R, &mut Context<'_>) -> T) -> T {
        let mut cx = Context::new(self.now, self.tick, "table", &self.players, &mut self.effects);
        call(&mut self.room, &mut cx)
    }

    fn call_for<T>(&mut self, id: u32, call: impl FnOnce(&mut R, &mut Context<'_>, &Player) -> T) -> T {
        let player = self.players.get(&id).cloned().unwrap_or_else(|| panic!("player {id} is not inside"));
        self.call(|room, cx| call(room, cx, &player))
    }

    /// A player comes in: the first is number 1.
    ///
    /// # Errors
    /// The room refuses; what it did is dropped.
    pub fn join(&mut self, name: &str) -> Result<u32, Refusal> {
        let id = self.next_player;
        self.next_player += 1;
        self.players.insert(id, Player { id, session: id.into(), name: name.into(), access: Access::Player });
        let joined = self.call_for(id, |room, cx, player| room.joined(cx, player));
        if joined.is_err() {
            self.players.remove(&id);
            self.effects.clear();
        }
        joined.map(|()| id)
    }

    /// A player goes.
    ///
    /// # Panics
    /// There is no such player inside; so in all that follows.
    pub fn leave(&mut self, id: u32) {
        let player = self.players.remove(&id).unwrap_or_else(|| panic!("player {id} is not inside"));
        self.call(|room, cx| room.left(cx, &player));
    }

    /// A player sends a message to the room's code.
    ///
    /// # Panics
    /// The room does not take such messages.
    pub fn send<M: Message>(&mut self, id: u32, message: &M) {
        let message = R::Message::decode(M::TAG, message.encode_to_vec().into());
        let message = message.ok().flatten().unwrap_or_else(|| panic!("the room takes no {}", M::FULL_NAME));
        self.call_for(id, |room, cx, player| room.message(cx, player, message));
    }

    /// A player sends a message to the others; false where the room does not let it.
    pub fn relay<M: Message>(&mut self, id: u32, message: &M) -> bool {
        let payload = message.encode_to_vec();
        self.call_for(id, |room, cx, player| {
            room.relay(cx, player, Relayed { tag: M::TAG, payload: &payload })
        })
    }

    /// A player asks the room.
    ///
    /// # Errors
    /// The room refuses; what it did is dropped.
    ///
    /// # Panics
    /// The room answers no such request, or with another reply.
    pub fn request<Q: Message, A: prost::Message + Default>(
        &mut self,
        id: u32,
        request: &Q,
    ) -> Result<A, Refusal> {
        let body = request.encode_to_vec().into();
        let answer = self.call_for(id, |room, cx, player| R::Services::call(room, cx, player, Q::TAG, body));
        let answer = answer.unwrap_or_else(|| panic!("the room answers no {}", Q::FULL_NAME));
        if answer.is_err() {
            self.effects.clear();
        }
        answer.map(|reply| A::decode(reply).expect("the reply of another method"))
    }

    /// One tick. The time goes on by as much as the options say lies between two.
    pub fn tick(&mut self) {
        self.tick += 1;
        let period_us = 1_000_000 / u64::from(self.room.options().tick_hz.max(1));
        self.now.monotonic_us += period_us;
        self.now.unix_us += period_us;
        self.call(|room, cx| room.tick(cx));
    }

    /// What the room did since this was last cleared.
    pub fn effects(&self) -> &Effects {
        &self.effects
    }

    /// The messages of that type that the room sent, with those they went to; forgets all that it did.
    pub fn sent<M: Message>(&mut self) -> Vec<(To, M)> {
        let sent = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send { to, tag, payload, .. } if tag == M::TAG => {
                Some((to.clone(), M::decode(payload).expect("the room encoded it")))
            }
            _ => None,
        });
        let sent = sent.collect();
        self.effects.clear();
        sent
    }
}
