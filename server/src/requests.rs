//! Requests: who answers them, where they run, how they end.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Poll, Waker};
use std::time::Instant;

use arc_swap::ArcSwap;
use tagwire::bytes::Bytes;
use tagwire::pb::tagwire::v1::{self, status};
use tagwire::prost::Message as _;
use tagwire::service::{Call, Context, Refusal, Service};
use tagwire::{Message, Schema, Tag};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{debug, error};

use crate::config::Limits;
use crate::hook::{Hooks, Stopped};
use crate::metrics::Metrics;
use crate::rooms::{Letter, Room, Rooms};
use crate::session::Session;

/// One request of a client, on its way through.
#[derive(Debug)]
pub(crate) enum Step {
    /// To be answered by code.
    Run { key: u64, tag: Tag, body: Bytes },
    /// Answered already, by the protocol.
    Answered(v1::Response),
}

/// Why a service cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("{service} answers tag {tag}, which is no request of the schema that is served")]
    NotInSchema { service: &'static str, tag: Tag },
    #[error("{first} and {second} both answer tag {tag}")]
    Twice { first: &'static str, second: &'static str, tag: Tag },
}

/// Answers the requests of all sessions.
pub(crate) struct Requests {
    schema: Arc<Schema>,
    rooms: Arc<Rooms>,
    limits: Arc<ArcSwap<Limits>>,
    metrics: Arc<Metrics>,
    hooks: Arc<Hooks>,
    services: RwLock<HashMap<Tag, Arc<dyn Service>>>,
    tasks: TaskTracker,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl Requests {
    pub(crate) fn new(
        schema: Arc<Schema>,
        rooms: Arc<Rooms>,
        limits: Arc<ArcSwap<Limits>>,
        metrics: Arc<Metrics>,
        hooks: Arc<Hooks>,
    ) -> Self {
        let (services, tasks) = (RwLock::default(), TaskTracker::new());
        Requests { schema, rooms, limits, metrics, hooks, services, tasks }
    }

    /// Has a service answer its requests from now on.
    pub(crate) fn add(&self, service: Arc<dyn Service>) -> Result<(), ServiceError> {
        let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
        for tag in service.tags() {
            if !self.schema.get(*tag).is_some_and(|(_, info)| info.request) {
                return Err(ServiceError::NotInSchema { service: service.name(), tag: *tag });
            }
            if let Some(first) = services.insert(*tag, Arc::clone(&service)) {
                let (first, second) = (first.name(), service.name());
                return Err(ServiceError::Twice { first, second, tag: *tag });
            }
        }
        Ok(())
    }

    /// The tasks of requests that run.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Answers requests one after the other. They begin before this returns, in the order of their arrival; what has to
    /// wait goes on in a task of its own, so that nothing else of the connection waits for it.
    pub(crate) fn run(self: &Arc<Self>, session: &Arc<Session>, steps: Vec<Step>, stop_on_error: bool) {
        if !session.requests.enter() {
            let text = "too many requests of yours run already";
            for step in steps {
                self.refuse(session, step, &Refusal::unavailable(text, 0));
            }
            return;
        }
        let keys = Arc::clone(&session.requests);
        let all = Arc::clone(self).run_all(Arc::clone(session), steps, stop_on_error);
        let mut all = Box::pin(async move {
            all.await;
            keys.leave();
        });
        // The task polls it again, so nothing is missed that would have woken this one.
        if all.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_pending() {
            self.tasks.spawn(all);
        }
    }

    async fn run_all(self: Arc<Self>, session: Arc<Session>, steps: Vec<Step>, stop_on_error: bool) {
        let mut failed = false;
        for step in steps {
            if failed && stop_on_error {
                let text = "an earlier request of the batch failed";
                self.refuse(&session, step, &Refusal::unavailable(text, 0));
                continue;
            }
            let status = match step {
                Step::Answered(response) => {
                    session.send_response(&response);
                    response.status()
                }
                Step::Run { key, tag, body } => self.run_one(&session, key, tag, body).await,
            };
            failed |= status != status::Value::Ok;
        }
    }

    fn refuse(&self, session: &Arc<Session>, step: Step, refusal: &Refusal) {
        match step {
            Step::Run { key, tag, .. } => drop(session.respond(&response(key, tag, Err(refusal.clone())))),
            Step::Answered(response) => session.send_response(&response),
        }
    }

    /// Has a request answered, until the deadline.
    async fn run_one(&self, session: &Arc<Session>, key: u64, tag: Tag, body: Bytes) -> status::Value {
        let answered = async {
            if tag == v1::JoinRoom::TAG {
                return self.join(session, key, body).await;
            }
            let body = match self.hooks.incoming(tag, &body, || session.in_room()) {
                Ok(changed) => changed.map_or(body, Bytes::from),
                Err(stopped) => return Answered::With(Err(self.stopped(session, stopped))),
            };
            match self.room_for(session, tag) {
                Some(room) => ask(&room, session, key, tag, body).await,
                None => Answered::With(self.call(session, tag, body).await),
            }
        };
        let answer = match timeout(self.limits.load().request_timeout(), answered).await {
            Ok(Answered::Already(status)) => return status,
            Ok(Answered::With(answer)) => answer,
            Err(_) => {
                debug!("tag {tag} from {} was not answered in time", session.player.name);
                Err(Refusal::timeout())
            }
        };
        let response = response(key, tag, answer);
        session.respond(&response);
        response.status()
    }

    /// The room that a request is for.
    fn room_for(&self, session: &Session, tag: Tag) -> Option<Arc<Room>> {
        session.room().filter(|room| room.code.as_ref().is_some_and(|code| code.kind().answers(tag)))
    }

    /// Lets a service answer.
    async fn call(&self, session: &Session, tag: Tag, body: Bytes) -> Result<Bytes, Refusal> {
        let Some((index, info)) = self.schema.get(tag) else { return Err(Refusal::internal()) };
        let (name, player) = (&info.full_name, &session.player);
        let service = self.services.read().unwrap_or_else(PoisonError::into_inner).get(&tag).cloned();
        if service.is_none() && session.room().is_none() && self.rooms.answer(tag) {
            return Err(Refusal::unavailable(format!("{name} is answered by rooms, and you are in none"), 0));
        }
        let Some(service) = service else {
            debug!("{name} from {}: nothing answers it", player.name);
            return Err(Refusal::unknown(format!("no service here answers {name}")));
        };
        let context = Context {
            session: player.session_id,
            player: player.player_id,
            name: Arc::clone(&player.name),
            room: session.room().map_or_else(|| "".into(), |room| Arc::clone(&room.name)),
            access: player.access,
        };
        let start = Instant::now();
        let answer = guarded(move || service.call(context, tag, body)).await;
        self.metrics.request(index, start.elapsed());
        let reply = answer.unwrap_or_else(|Panicked| {
            error!("the code that answers {name} panicked; {} is told INTERNAL", player.name);
            Err(Refusal::internal())
        })?;
        self.hooks.reply(session, tag, reply).map_err(|stopped| self.stopped(session, stopped))
    }

    /// A hook says that a request, or its answer, goes no further.
    fn stopped(&self, session: &Session, stopped: Stopped) -> Refusal {
        self.metrics.dropped("HOOK");
        stopped.refuse(session)
    }

    async fn join(&self, session: &Arc<Session>, key: u64, body: Bytes) -> Answered {
        let join = match v1::JoinRoom::decode(body) {
            Ok(join) => join,
            Err(error) => return Answered::With(Err(Refusal::invalid(error.to_string()))),
        };
        let inside = Arc::clone(session);
        let boundary = Box::new(move |room: &str| {
            let reply = v1::JoinRoomReply { room: room.to_string() }.encode_to_vec();
            inside.respond(&response(key, v1::JoinRoom::TAG, Ok(reply.into())))
        });
        match self.rooms.enter(session, &join.room, boundary).await {
            Ok(()) => Answered::Already(status::Value::Ok),
            Err(error) => {
                debug!("{} did not enter a room: {error}", session.player.name);
                Answered::With(Err(error.into()))
            }
        }
    }
}

/// What became of a request.
enum Answered {
    /// The answer was sent where it had to be: between the frames of two rooms, or in the order of a room.
    Already(status::Value),
    /// To be answered so.
    With(Result<Bytes, Refusal>),
}

/// Has the code of a room answer, in the room's order.
async fn ask(room: &Room, session: &Arc<Session>, key: u64, tag: Tag, body: Bytes) -> Answered {
    let (done, answered) = oneshot::channel();
    if let Some(code) = &room.code {
        code.post(Letter::Request { session: Arc::clone(session), key, tag, body, done }).await;
    }
    match answered.await {
        Ok(status) => Answered::Already(status),
        Err(_) => Answered::With(Err(Refusal::unavailable("the room has ended", 0))),
    }
}

/// The answer to a request, as it is sent.
pub(crate) fn response(key: u64, tag: Tag, answer: Result<Bytes, Refusal>) -> v1::Response {
    let tag = u32::from(tag.0);
    match answer {
        Ok(body) => v1::Response { key, tag, body, ..v1::Response::default() },
        Err(refusal) => v1::Response {
            key,
            tag,
            status: refusal.status().into(),
            message: refusal.message().to_string(),
            code: refusal.code(),
            retry_after_ms: refusal.retry_after_ms(),
            // The code ran; how far it came, nobody knows.
            may_have_run: matches!(refusal.status(), status::Value::Timeout | status::Value::Internal),
            ..v1::Response::default()
        },
    }
}

/// The game's code panicked; the panic hook has said how.
struct Panicked;

/// Runs the game's code so that a panic ends it alone.
async fn guarded(call: impl FnOnce() -> Call) -> Result<Result<Bytes, Refusal>, Panicked> {
    let mut call = catch_unwind(AssertUnwindSafe(call)).map_err(|_| Panicked)?;
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
        Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}
