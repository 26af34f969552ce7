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

    /// A player loses the connection.
    ///
    /// # Panics
    /// As [`Table::leave`].
    pub fn away(&mut self, id: u32) {
        self.call_for(id, |room, cx, player| room.away(cx, player));
    }

    /// A player who was away is back.
    ///
    /// # Panics
    /// As [`Table::leave`].
    pub fn back(&mut self, id: u32) {
        self.call_for(id, |room, cx, player| room.back(cx, player));
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

#[cfg(all(test, feature = "arena"))]
mod tests {
    use super::*;
    use crate::pb::arena::v1::{Chat, Score};
    use crate::tag::Tag;
    use bytes::Bytes;

    /// Gives points for what happens, and lets nobody in twice.
    #[derive(Default)]
    struct Points {
        names: Vec<String>,
    }

    impl Points {
        fn give(cx: &mut Context<'_>, player: &Player, points: i32) {
            cx.send_all_but(player.id, &Score { player: player.id, points });
        }
    }

    impl Room for Points {
        type Message = ();
        type Services = Ask;

        fn joined(&mut self, cx: &mut Context<'_>, player: &Player) -> Result<(), Refusal> {
            Self::give(cx, player, 1);
            if self.names.contains(&player.name.to_string()) {
                return Err(Refusal::illegal("you are here"));
            }
            self.names.push(player.name.to_string());
            Ok(())
        }

        fn message(&mut self, _: &mut Context<'_>, _: &Player, (): ()) {}

        fn relay(&mut self, _: &mut Context<'_>, _: &Player, message: Relayed<'_>) -> bool {
            message.decode::<Chat>().is_some_and(|chat| chat.text != "rude")
        }

        fn away(&mut self, cx: &mut Context<'_>, player: &Player) {
            Self::give(cx, player, -1);
        }

        fn back(&mut self, cx: &mut Context<'_>, player: &Player) {
            Self::give(cx, player, 2);
        }

        fn tick(&mut self, cx: &mut Context<'_>) {
            cx.kick(7, format!("tick {} at {}", cx.tick(), cx.now().monotonic_us));
            cx.end("over");
        }

        fn left(&mut self, cx: &mut Context<'_>, player: &Player) {
            cx.send_some([player.id, 2], &Score { player: player.id, points: cx.players().len() as i32 });
        }
    }

    /// Answers Chat with what it says, and nothing to silence.
    struct Ask;

    impl Services<Points> for Ask {
        fn tags() -> Vec<Tag> {
            vec![Chat::TAG]
        }

        fn call(
            _: &mut Points,
            cx: &mut Context<'_>,
            player: &Player,
            tag: Tag,
            body: Bytes,
        ) -> Option<Result<Bytes, Refusal>> {
            Points::give(cx, player, 9);
            (tag == Chat::TAG).then(|| match body.is_empty() {
                true => Err(Refusal::invalid("say something")),
                false => Ok(body),
            })
        }
    }

    fn chat(text: &str) -> Chat {
        Chat { text: text.to_string() }
    }

    fn points(table: &mut Table<Points>) -> Vec<(To, i32)> {
        table.sent::<Score>().into_iter().map(|(to, score)| (to, score.points)).collect()
    }

    #[test]
    fn each_callback_is_told_and_what_it_did_is_kept_in_order() {
        let mut table = Table::new(Points::default());
        let (zoe, kit) = (table.join("zoe").expect("new"), table.join("kit").expect("new"));
        table.away(kit);
        table.back(kit);
        assert_eq!(
            points(&mut table),
            [(To::AllBut(zoe), 1), (To::AllBut(kit), 1), (To::AllBut(kit), -1), (To::AllBut(kit), 2)]
        );
        assert!(table.relay(zoe, &chat("hi")) && !table.relay(zoe, &chat("rude")));
        table.leave(kit);
        assert_eq!(points(&mut table), [(To::Some(vec![kit, 2]), 1)], "it is not among the players any more");
        table.tick();
        table.tick();
        let seen: Vec<_> = table.effects().iter().map(|effect| format!("{effect:?}")).collect();
        assert!(seen[2].contains("tick 2 at 2000000"), "{seen:?}");
        assert_eq!(table.effects().iter().nth(3), Some(Effect::End { reason: "over" }));
    }

    #[test]
    fn what_is_refused_has_done_nothing() {
        let mut table = Table::new(Points::default());
        let zoe = table.join("zoe").expect("new");
        assert_eq!(points(&mut table).len(), 1);
        assert_eq!(table.join("zoe"), Err(Refusal::illegal("you are here")));
        assert!(table.request::<_, Chat>(zoe, &chat("")).is_err());
        assert_eq!(points(&mut table), []);
        assert_eq!(table.call(|_, cx| cx.players().len()), 1);
        assert_eq!(table.request::<_, Chat>(zoe, &chat("hi")), Ok(chat("hi")));
        assert_eq!(points(&mut table), [(To::AllBut(zoe), 9)]);
    }
}
