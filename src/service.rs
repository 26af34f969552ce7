//! What a game's code is given and answers when it serves requests: plain data. Servers run it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::pb::tagwire::v1::status;
use crate::schema::Access;
use crate::tag::Tag;

/// Who asks, and from where.
#[derive(Debug, Clone)]
pub struct Context {
    /// Number of the session.
    pub session: u64,
    /// Number of the player, as in Relayed and Member.
    pub player: u32,
    /// The player's name.
    pub name: Arc<str>,
    /// The room the player was in when it asked; empty: in none, as it goes.
    pub room: Arc<str>,
    /// What the player may do.
    pub access: Access,
}

/// Why a request is not granted. What is in it reaches the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: status::Value,
    message: String,
    code: u32,
    retry_after_ms: u32,
}

impl Refusal {
    fn new(status: status::Value, message: impl Into<String>) -> Self {
        Refusal { status, message: message.into(), code: 0, retry_after_ms: 0 }
    }

    /// The request is not as the schema wants it.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(status::Value::Invalid, message)
    }

    /// The game's rules say no.
    pub fn illegal(message: impl Into<String>) -> Self {
        Self::new(status::Value::Illegal, message)
    }

    /// This player may not ask this.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(status::Value::Denied, message)
    }

    /// Not now; may be asked again after so many milliseconds.
    pub fn unavailable(message: impl Into<String>, retry_after_ms: u32) -> Self {
        Refusal { retry_after_ms, ..Self::new(status::Value::Unavailable, message) }
    }

    /// A fault of the server's. What went wrong belongs into a log, not here: the client is told nothing of it.
    pub fn internal() -> Self {
        Self::new(status::Value::Internal, "the server failed")
    }

    /// Nothing answers this tag.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(status::Value::Unknown, message)
    }

    /// It was not answered in time.
    pub fn timeout() -> Self {
        Self::new(status::Value::Timeout, "it was not answered in time")
    }

    /// The same with a number of the application's own, not 0.
    #[must_use]
    pub fn with_code(self, code: u32) -> Self {
        Refusal { code, ..self }
    }

    /// True where asking again changes nothing: the request, the game's rules or the player's access say no.
    pub fn is_final(&self) -> bool {
        use status::Value::{Denied, Illegal, Invalid, Unknown};
        matches!(self.status, Invalid | Illegal | Denied | Unknown)
    }

    /// How it is told.
    pub fn status(&self) -> status::Value {
        self.status
    }

    /// Why, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The application's own number; 0: none.
    pub fn code(&self) -> u32 {
        self.code
    }

    /// Not again before so many milliseconds; 0: nothing is said of it.
    pub fn retry_after_ms(&self) -> u32 {
        self.retry_after_ms
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.as_str_name(), self.message)
    }
}

impl std::error::Error for Refusal {}

/// An answer on its way: the encoded reply.
pub type Call = Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send>>;

/// Answers the requests of one service. Implemented by the `...Server` that the generator prints beside each service's
/// trait; a game implements that trait.
pub trait Service: Send + Sync + 'static {
    /// `arena.v1.Lobby`.
    fn name(&self) -> &'static str;

    /// The tags of the requests that it answers.
    fn tags(&self) -> &'static [Tag];

    /// Begins to answer a request whose body has passed the checks of the schema.
    fn call(&self, context: Context, tag: Tag, body: Bytes) -> Call;
}

/// For generated code: reads a request.
///
/// # Errors
/// It is not such a message.
#[doc(hidden)]
pub fn decode<M: prost::Message + Default>(body: Bytes) -> Result<M, Refusal> {
    M::decode(body).map_err(|error| Refusal::invalid(error.to_string()))
}

/// For generated code: a tag that this service does not answer.
#[doc(hidden)]
pub fn not_here(tag: Tag) -> Call {
    Box::pin(async move { Err(Refusal::unknown(format!("no service here answers tag {tag}"))) })
}
