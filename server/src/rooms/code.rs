//! The rooms of a game without their types, and which rooms are of which kind.

use std::fmt;

use tagwire::bytes::Bytes;
use tagwire::room::{Context, Options, Player, Relayed, Room, Services};
use tagwire::service::Refusal;
use tagwire::{MessageSet, Schema, Tag, Target};

/// A game's room without its type. The methods are those of [`Room`].
pub(super) trait Code: Send {
    fn options(&self) -> Options;
    fn joined(&mut self, cx: &mut Context<'_>, player: &Player) -> Result<(), Refusal>;
    /// Decodes the message first; false where it is none of the room's.
    fn message(&mut self, cx: &mut Context<'_>, player: &Player, tag: Tag, payload: Bytes) -> bool;
    fn relay(&mut self, cx: &mut Context<'_>, player: &Player, message: Relayed<'_>) -> bool;
    fn request(
        &mut self,
        cx: &mut Context<'_>,
        player: &Player,
        tag: Tag,
        body: Bytes,
    ) -> Option<Result<Bytes, Refusal>>;
    fn tick(&mut self, cx: &mut Context<'_>);
    fn away(&mut self, cx: &mut Context<'_>, player: &Player);
    fn back(&mut self, cx: &mut Context<'_>, player: &Player);
    fn left(&mut self, cx: &mut Context<'_>, player: &Player);
}

impl<R: Room> Code for R {
    fn options(&self) -> Options {
        Room::options(self)
    }

    fn joined(&mut self, cx: &mut Context<'_>, player: &Player) -> Result<(), Refusal> {
        Room::joined(self, cx, player)
    }

    fn message(&mut self, cx: &mut Context<'_>, player: &Player, tag: Tag, payload: Bytes) -> bool {
        match R::Message::decode(tag, payload) {
            Ok(Some(message)) => {
                Room::message(self, cx, player, message);
                true
            }
            Ok(None) | Err(_) => false,
        }
    }

    fn relay(&mut self, cx: &mut Context<'_>, player: &Player, message: Relayed<'_>) -> bool {
        Room::relay(self, cx, player, message)
    }

    fn request(
        &mut self,
        cx: &mut Context<'_>,
        player: &Player,
        tag: Tag,
        body: Bytes,
    ) -> Option<Result<Bytes, Refusal>> {
        R::Services::call(self, cx, player, tag, body)
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        Room::tick(self, cx);
    }

    fn away(&mut self, cx: &mut Context<'_>, player: &Player) {
        Room::away(self, cx, player);
    }

    fn back(&mut self, cx: &mut Context<'_>, player: &Player) {
        Room::back(self, cx, player);
    }

    fn left(&mut self, cx: &mut Context<'_>, player: &Player) {
        Room::left(self, cx, player);
    }
}

/// Why a kind of room cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KindError {
    #[error(
        "the rooms {pattern:?} take tag {tag}, which is no message to code from clients of the schema that is served"
    )]
    NotPushed { pattern: String, tag: Tag },
    #[error("the rooms {pattern:?} answer tag {tag}, which is no request of the schema that is served")]
    NotAsked { pattern: String, tag: Tag },
    #[error("the rooms {pattern:?} answer tag {tag} twice")]
    Twice { pattern: String, tag: Tag },
    #[error("two kinds of rooms are called {0:?}")]
    SameName(String),
}

/// What makes the code of a room, from its name.
type Factory = Box<dyn Fn(&str) -> Box<dyn Code> + Send + Sync>;

/// Rooms with the same code.
pub(crate) struct Kind {
    /// Their name; `*` at its end stands for anything.
    pub(super) pattern: String,
    /// What they take of what clients push to code.
    messages: &'static [Tag],
    /// What they answer.
    requests: Vec<Tag>,
    pub(super) factory: Factory,
}

impl Kind {
    pub(crate) fn new<R: Room>(pattern: &str, factory: impl Fn(&str) -> R + Send + Sync + 'static) -> Self {
        Kind {
            pattern: pattern.to_string(),
            messages: R::Message::TAGS,
            requests: R::Services::tags(),
            factory: Box::new(move |name| Box::new(factory(name))),
        }
    }

    pub(super) fn matches(&self, room: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(begin) => room.starts_with(begin),
            None => room == self.pattern,
        }
    }

    /// True where its rooms take that message of clients.
    pub(crate) fn takes(&self, tag: Tag) -> bool {
        self.messages.contains(&tag)
    }

    /// True where its rooms answer that request.
    pub(crate) fn answers(&self, tag: Tag) -> bool {
        self.requests.contains(&tag)
    }

    pub(super) fn validate(&self, schema: &Schema) -> Result<(), KindError> {
        let pattern = || self.pattern.clone();
        for tag in self.messages {
            let pushed = |info: &tagwire::MessageInfo| {
                !info.request && info.rules.from_client() && info.rules.to == Target::Handler
            };
            if !schema.get(*tag).is_some_and(|(_, info)| pushed(info)) {
                return Err(KindError::NotPushed { pattern: pattern(), tag: *tag });
            }
        }
        for (index, tag) in self.requests.iter().enumerate() {
            if !schema.get(*tag).is_some_and(|(_, info)| info.request) {
                return Err(KindError::NotAsked { pattern: pattern(), tag: *tag });
            }
            if self.requests[..index].contains(tag) {
                return Err(KindError::Twice { pattern: pattern(), tag: *tag });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}
