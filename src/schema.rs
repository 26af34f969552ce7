//! A schema as a value: which messages there are and what each may do.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::tag::Tag;
use crate::validate::{Validate, Violation};

/// A message with a tag; printed by the generator for every one of a schema.
pub trait Message: prost::Message + Default {
    /// Its number on the wire.
    const TAG: Tag;
    /// `arena.v1.MouseEvent`.
    const FULL_NAME: &'static str;
    /// What it may do.
    const RULES: Rules;
}

/// Several messages as one enum; printed for every package and direction.
pub trait MessageSet: Sized {
    /// The tags of the messages in it.
    const TAGS: &'static [Tag];

    /// The message of that tag; `None` where the set has none.
    ///
    /// # Errors
    /// The payload is not such a message.
    fn decode(tag: Tag, payload: Bytes) -> Result<Option<Self>, prost::DecodeError>;
}

/// Several sets as one enum, for a room that takes the messages of more than one package:
///
/// ```
/// # mod arena { pub type FromClient = (); }
/// # mod chat { pub type FromClient = (); }
/// tagwire::message_set! {
///     /// What clients push to this game's rooms.
///     pub enum FromClient {
///         /// Of the game.
///         Arena(arena::FromClient),
///         /// Of the chat.
///         Chat(chat::FromClient),
///     }
/// }
/// ```
#[macro_export]
macro_rules! message_set {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident($set:ty)),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis enum $name {
            $($(#[$variant_doc])* $variant($set)),+
        }

        impl $crate::MessageSet for $name {
            const TAGS: &'static [$crate::Tag] = {
                const SETS: &[&[$crate::Tag]] = &[$(<$set as $crate::MessageSet>::TAGS),+];
                &$crate::schema::concat::<{ $crate::schema::count(SETS) }>(SETS)
            };

            fn decode(
                tag: $crate::Tag,
                payload: $crate::bytes::Bytes,
            ) -> ::core::result::Result<::core::option::Option<Self>, $crate::prost::DecodeError> {
                $(if let Some(message) = <$set as $crate::MessageSet>::decode(tag, payload.clone())? {
                    return Ok(Some(Self::$variant(message)));
                })+
                Ok(None)
            }
        }
    };
}

/// For [`message_set!`]: how many tags.
#[doc(hidden)]
pub const fn count(sets: &[&[Tag]]) -> usize {
    let (mut count, mut set) = (0, 0);
    while set < sets.len() {
        count += sets[set].len();
        set += 1;
    }
    count
}

/// For [`message_set!`]: all tags.
#[doc(hidden)]
pub const fn concat<const COUNT: usize>(sets: &[&[Tag]]) -> [Tag; COUNT] {
    let (mut tags, mut count, mut set) = ([Tag(0); COUNT], 0, 0);
    while set < sets.len() {
        let mut tag = 0;
        while tag < sets[set].len() {
            tags[count] = sets[set][tag];
            (count, tag) = (count + 1, tag + 1);
        }
        set += 1;
    }
    tags
}

/// Who may send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Clients only.
    Client,
    /// The server only.
    Server,
    /// Either side.
    Both,
}

/// Where the server takes a message of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To code.
    Handler,
    /// To the other members of the sender's room.
    Room,
    /// To all members of the sender's room.
    RoomAll,
}

/// What the session that sends a message must be; later ones may do what earlier ones may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Anyone who is inside.
    Guest,
    /// A player who logged in with credentials.
    Player,
    /// An operator of the server.
    Operator,
}

/// What may happen to a message on its way to a slow receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Never lost, never reordered.
    Ordered,
    /// A newer one replaces one that still waits.
    Latest,
    /// May be dropped.
    Unreliable,
}

/// What a message may do, as said beside it in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Who may send it.
    pub from: Sender,
    /// Where the server takes it.
    pub to: Target,
    /// What its sender must be.
    pub access: Access,
    /// What may happen to it on a slow connection.
    pub delivery: Delivery,
    /// Largest payload in bytes; `None`: the server's limit.
    pub max_bytes: Option<u32>,
    /// Messages per second and session; `None`: the server's limits.
    pub max_rate: Option<u32>,
}

impl Rules {
    /// True where a client may send the message.
    pub fn from_client(&self) -> bool {
        matches!(self.from, Sender::Client | Sender::Both)
    }
}

/// Why a payload is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// It is not such a message.
    #[error(transparent)]
    Malformed(#[from] prost::DecodeError),
    /// It breaks a constraint of the schema.
    #[error(transparent)]
    Rule(#[from] Violation),
}

/// Judges a payload: well-formed for its type, strings UTF-8, constraints kept.
pub type Check = Arc<dyn Fn(&[u8]) -> Result<(), Invalid> + Send + Sync>;

/// What the server knows of one message of the schema.
#[derive(Clone)]
pub struct MessageInfo {
    /// Its number on the wire.
    pub tag: Tag,
    /// `arena.v1.MouseEvent`.
    pub full_name: Cow<'static, str>,
    /// What it may do.
    pub rules: Rules,
    /// True where it is what a service takes: it then comes in a Request, never alone.
    pub request: bool,
    /// What its payload is judged by.
    pub check: Check,
}

impl MessageInfo {
    /// A message that is pushed.
    pub fn push<M: Message>() -> Self {
        MessageInfo {
            tag: M::TAG,
            full_name: Cow::Borrowed(M::FULL_NAME),
            rules: M::RULES,
            request: false,
            check: Arc::new(|payload| Ok(M::decode(payload).map(drop)?)),
        }
    }

    /// A message that asks.
    pub fn request<M: Message>() -> Self {
        MessageInfo { request: true, ..Self::push::<M>() }
    }

    /// The same message, with the constraints of the schema: they are judged after the one decoding.
    #[must_use]
    pub fn validated<M: Message + Validate>(self) -> Self {
        MessageInfo { check: Arc::new(|payload| Ok(M::decode(payload)?.validate()?)), ..self }
    }
}

impl fmt::Debug for MessageInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MessageInfo { tag, full_name, rules, request, .. } = self;
        f.debug_struct("MessageInfo")
            .field("tag", tag)
            .field("full_name", full_name)
            .field("rules", rules)
            .field("request", request)
            .finish_non_exhaustive()
    }
}

/// Sixteen bytes that are equal for schemas that mean the same. Computed by the generator alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// All messages of a game and their rules.
#[derive(Debug, Clone)]
pub struct Schema {
    fingerprint: Fingerprint,
    descriptors: Bytes,
    documented: Bytes,
    /// Sorted by tag.
    messages: Vec<MessageInfo>,
    /// One more than the place of the message of each tag that a short frame can have; 0: there is none.
    places: [u16; 256],
}

impl Schema {
    /// Called by generated code, and where a schema is read at run time. `descriptors` is an encoded `google.protobuf.FileDescriptorSet` of the game's files
    /// and their imports, without the stack's own and `descriptor.proto`.
    ///
    /// # Panics
    /// If two messages have one tag; the generator refuses such a schema.
    pub fn new(fingerprint: Fingerprint, descriptors: Bytes, mut messages: Vec<MessageInfo>) -> Self {
        messages.sort_by_key(|m| m.tag);
        assert!(messages.windows(2).all(|pair| pair[0].tag != pair[1].tag), "a tag occurs twice");
        let mut places = [0; 256];
        for (message, place) in messages.iter().zip(1..) {
            if let Some(of_tag) = places.get_mut(usize::from(message.tag.0)) {
                *of_tag = place;
            }
        }
        Schema { fingerprint, documented: descriptors.clone(), descriptors, messages, places }
    }

    /// The same schema, with the comments of its files: `descriptors` again, and in them what was written beside everything.
    #[must_use]
    pub fn documented(self, descriptors: Bytes) -> Self {
        Schema { documented: descriptors, ..self }
    }

    /// What is compared with the other side's.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The descriptors it was made from.
    pub fn descriptors(&self) -> &Bytes {
        &self.descriptors
    }

    /// The descriptors with comments, for who asks for the schema; without, where none were given.
    pub fn documented_descriptors(&self) -> &Bytes {
        &self.documented
    }

    /// All messages, by tag.
    pub fn messages(&self) -> &[MessageInfo] {
        &self.messages
    }

    /// The message of that tag, and its place in [`Schema::messages`].
    pub fn get(&self, tag: Tag) -> Option<(usize, &MessageInfo)> {
        let index = match self.places.get(usize::from(tag.0)) {
            Some(place) => usize::from(*place).checked_sub(1)?,
            None => self.messages.binary_search_by_key(&tag, |m| m.tag).ok()?,
        };
        Some((index, self.messages.get(index)?))
    }
}
