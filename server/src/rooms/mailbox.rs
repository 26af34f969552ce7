//! What waits for the code of a room, in the order in which it came. What clients send is bounded in messages and
//! bytes: who finds it full waits, and is not read from as long. Who comes and goes is always told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tagwire::Tag;
use tagwire::bytes::Bytes;
use tagwire::pb::tagwire::v1::status;
use tagwire::service::Refusal;
use tagwire::session::outbox::Lane;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::Boundary;
use super::code::Kind;
use crate::session::Session;

/// A message counts as so many bytes at least, for what is around it.
const MIN_BYTES: usize = 1024;

/// What a room's code is told.
pub(super) enum Mail {
    /// Somebody wants in. Answered when it is decided; not to be asked where nobody waits for that any more.
    Join { session: Arc<Session>, boundary: Boundary, reply: oneshot::Sender<Result<(), Refusal>> },
    /// A player lost the connection.
    Away { player: u32 },
    /// A player is back.
    Back { player: u32 },
    /// A player went.
    Left { player: u32 },
    /// Nobody is inside, and nobody comes any more.
    Close,
    /// From a client.
    Letter(Letter, #[expect(dead_code, reason = "frees its place when it is dropped")] OwnedSemaphorePermit),
}

/// What a client sends to a room's code.
#[derive(Debug)]
pub(crate) enum Letter {
    /// A message to code.
    Push { player: u32, tag: Tag, payload: Bytes },
    /// A message to the others, if the code lets it.
    Relay { player: u32, message: usize, tag: Tag, payload: Bytes, lane: Lane, to_all: bool },
    /// A request. `done` is told how it was answered; where nobody waits for that any more it is not to be run.
    Request { session: Arc<Session>, key: u64, tag: Tag, body: Bytes, done: oneshot::Sender<status::Value> },
}

impl Letter {
    fn bytes(&self) -> usize {
        match self {
            Letter::Push { payload, .. } | Letter::Relay { payload, .. } => payload.len(),
            Letter::Request { body, .. } => body.len(),
        }
    }
}

/// The mailbox is full, or was closed: the letter comes back.
#[derive(Debug)]
pub(crate) struct Unposted(pub(crate) Letter);

/// Room for one letter.
#[derive(Debug)]
pub(crate) struct Place(OwnedSemaphorePermit);

/// The room's side that all may post to.
#[derive(Debug)]
pub(crate) struct Mailbox {
    tx: UnboundedSender<Mail>,
    /// Bytes that are free.
    space: Arc<Semaphore>,
    max_bytes: usize,
    /// What is posted waits for the tick.
    is_patient: AtomicBool,
    wake: Notify,
    kind: Arc<Kind>,
}

impl Mailbox {
    /// An empty mailbox, and what it is emptied by.
    pub(super) fn new(kind: Arc<Kind>, max_bytes: usize) -> (Self, UnboundedReceiver<Mail>) {
        let (tx, rx) = unbounded_channel();
        let space = Arc::new(Semaphore::new(max_bytes));
        (Mailbox { tx, space, max_bytes, is_patient: AtomicBool::new(false), wake: Notify::new(), kind }, rx)
    }

    /// From now on messages wait for the tick: each would else wake the room's thread, for what is sent with the tick anyway.
    pub(super) fn wait_for_ticks(&self) {
        self.is_patient.store(true, Ordering::Relaxed);
    }

    /// Something was posted that does not wait for the tick, or [`Mailbox::wake`] was called.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Has the room look into it.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// What kind of room it belongs to.
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(super) fn tell(&self, mail: Mail) {
        let waits = self.is_patient.load(Ordering::Relaxed)
            && matches!(&mail, Mail::Letter(Letter::Push { .. } | Letter::Relay { .. }, _))
            // Before it is full, and senders have to wait.
            && self.space.available_permits() > self.max_bytes / 2;
        // Where nobody reads any more the room has ended, and who is told of that elsewhere.
        let _ = self.tx.send(mail);
        if !waits {
            self.wake();
        }
    }

    /// Posts at once.
    ///
    /// # Errors
    /// There is no room for it now.
    pub(crate) fn try_post(&self, letter: Letter) -> Result<(), Unposted> {
        match Arc::clone(&self.space).try_acquire_many_owned(self.price(&letter)) {
            Ok(place) => {
                self.tell(Mail::Letter(letter, place));
                Ok(())
            }
            Err(_) => Err(Unposted(letter)),
        }
    }

    /// Posts when there is room; after others who wait already. Where the room ends meanwhile the letter is dropped.
    pub(crate) async fn post(&self, letter: Letter) {
        if let Some(place) = self.place_for(&letter).await {
            self.post_in(place, letter);
        }
    }

    /// Waits for room for a letter; after others who wait already. `None`: the room has ended.
    pub(crate) async fn place_for(&self, letter: &Letter) -> Option<Place> {
        // It may fit only when what waits for the tick is gone.
        self.wake();
        Arc::clone(&self.space).acquire_many_owned(self.price(letter)).await.ok().map(Place)
    }

    /// Posts a letter in the room that there was for it.
    pub(crate) fn post_in(&self, Place(place): Place, letter: Letter) {
        self.tell(Mail::Letter(letter, place));
    }

    /// Nothing is taken any more; who waits goes on.
    pub(super) fn close(&self) {
        self.space.close();
    }

    fn price(&self, letter: &Letter) -> u32 {
        u32::try_from(letter.bytes().max(MIN_BYTES).min(self.max_bytes)).unwrap_or(u32::MAX)
    }
}
