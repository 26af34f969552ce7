//! Hooks: a game's own eyes and hands on the way of its messages. They sit at two places, and cost a look at an empty list
//! where there are none: behind the checks of what clients send, and before what is sent is encoded for its receivers.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use tagwire::bytes::Bytes;
use tagwire::room::{Player, To};
use tagwire::service::Refusal;
use tagwire::{CloseCode, Message, Tag};
use tracing::error;

use crate::session::{Ending, Session};

/// Sees the messages of the game, those of the stack not. Called on the threads that carry connections and on those of
/// rooms, by several at once: it must not wait. Where one panics, the message is dropped.
pub trait Hook: Send + Sync + 'static {
    /// A client sent this: a message to the room or to code, or a request. It has passed the checks of the schema.
    fn incoming(&self, from: &Player, message: &mut Passing<'_>) -> Verdict {
        let _ = (from, message);
        Verdict::Pass
    }

    /// This goes to players: what a player sent to the room (`from`), what a room's code sends, or the answer to a request
    /// that went well. Once, however many receive it. Nobody does where the room has had all its deliveries of this second.
    fn outgoing(&self, from: Option<u32>, to: &To, message: &mut Passing<'_>) -> Verdict {
        let _ = (from, to, message);
        Verdict::Pass
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, to the next hook first.
    Pass,
    /// It goes no further, and no other hook sees it. A request is answered with DENIED.
    Drop,
    /// The same, and the session of who sent it, or of who gets the answer, ends. A room's own message is only dropped.
    Close {
        /// With which code; the application's own are 4000 to 4999.
        code: CloseCode,
        /// Why; the client is told.
        reason: String,
    },
}

/// A message on its way past a hook.
#[derive(Debug)]
pub struct Passing<'a> {
    tag: Tag,
    payload: Cow<'a, [u8]>,
}

impl Passing<'_> {
    /// Its tag; of an answer: that of the request.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The encoded message; of an answer: the encoded reply.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The message, where it is one of that type.
    pub fn decode<M: Message>(&self) -> Option<M> {
        if self.tag != M::TAG {
            return None;
        }
        M::decode(&*self.payload).ok()
    }

    /// Puts another payload in its place, which must be of the same type: it is not checked again.
    pub fn replace(&mut self, payload: Vec<u8>) {
        self.payload = Cow::Owned(payload);
    }
}

/// Why a message goes no further.
#[derive(Debug)]
pub(crate) enum Stopped {
    Dropped,
    Closed(Ending),
}

impl Stopped {
    /// What a request of that session is answered; where it is to be closed, it is.
    pub(crate) fn refuse(self, session: &Session) -> Refusal {
        if let Stopped::Closed(ending) = self {
            session.end(ending);
        }
        Refusal::denied("the server does not take this")
    }
}

/// The hooks of a server, in their order.
#[derive(Default)]
pub(crate) struct Hooks(OnceLock<Vec<Box<dyn Hook>>>);

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hooks", self.0.get().map_or(0, Vec::len))
    }
}

impl Hooks {
    /// Sets them, once, before anything passes. None: the list stays unset, which is what costs least.
    pub(crate) fn set(&self, hooks: Vec<Box<dyn Hook>>) {
        if !hooks.is_empty() {
            // A server is served once.
            let _ = self.0.set(hooks);
        }
    }

    /// What a client sent goes on: as it is, or with another payload.
    #[inline]
    pub(crate) fn incoming(
        &self,
        tag: Tag,
        payload: &[u8],
        from: impl FnOnce() -> Player,
    ) -> Result<Option<Vec<u8>>, Stopped> {
        match self.0.get() {
            None => Ok(None),
            Some(hooks) => {
                let from = from();
                run(hooks, tag, payload, |hook, message| hook.incoming(&from, message))
            }
        }
    }

    /// What is sent goes out: as it is, or with another payload.
    #[inline]
    pub(crate) fn outgoing(
        &self,
        from: Option<u32>,
        to: &To,
        tag: Tag,
        payload: &[u8],
    ) -> Result<Option<Vec<u8>>, Stopped> {
        match self.0.get() {
            None => Ok(None),
            Some(hooks) => run(hooks, tag, payload, |hook, message| hook.outgoing(from, to, message)),
        }
    }

    /// A reply goes out: as it is, or another.
    #[inline]
    pub(crate) fn reply(&self, to: &Session, tag: Tag, reply: Bytes) -> Result<Bytes, Stopped> {
        let changed = self.outgoing(None, &To::One(to.player.player_id), tag, &reply)?;
        Ok(changed.map_or(reply, Bytes::from))
    }
}

fn run(
    hooks: &[Box<dyn Hook>],
    tag: Tag,
    payload: &[u8],
    call: impl Fn(&dyn Hook, &mut Passing<'_>) -> Verdict,
) -> Result<Option<Vec<u8>>, Stopped> {
    let mut message = Passing { tag, payload: Cow::Borrowed(payload) };
    for hook in hooks {
        let verdict = catch_unwind(AssertUnwindSafe(|| call(&**hook, &mut message)));
        match verdict {
            Ok(Verdict::Pass) => {}
            Ok(Verdict::Drop) => return Err(Stopped::Dropped),
            Ok(Verdict::Close { code, reason }) => return Err(Stopped::Closed(Ending::told(code, reason))),
            Err(_) => {
                error!("a hook panicked; the message with tag {tag} is dropped");
                return Err(Stopped::Dropped);
            }
        }
    }
    Ok(match message.payload {
        Cow::Borrowed(_) => None,
        Cow::Owned(payload) => Some(payload),
    })
}
