//! Requests: who answers them, where they run, how they end.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{self, Poll, Waker};
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
    services: RwLock<BTreeMap<Tag, Arc<dyn Service>>>,
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
    pub(crate) fn run(
        self: &Arc<Self>,
        session: &Arc<Session>,
        steps: impl IntoIterator<Item = Step>,
        stop_on_error: bool,
    ) {
        let mut steps = steps.into_iter();
        if !session.requests.enter() {
            let text = "too many requests of yours run already";
            for step in steps {
                self.refuse(session, step, &Refusal::unavailable(text, 0));
            }
            return;
        }
        let mut failed = false;
        match self.advance(session, &mut steps, stop_on_error, &mut failed) {
            None => session.requests.leave(),
            Some(waiting) => {
                let (requests, session) = (Arc::clone(self), Arc::clone(session));
                let rest = steps.collect::<Vec<_>>();
                self.tasks.spawn(async move {
                    requests.wait(&session, waiting, rest, stop_on_error, failed).await;
                    session.requests.leave();
                });
            }
        }
    }

    /// Answers requests as long as that can be done at once; gives the first that has to wait.
    fn advance(
        self: &Arc<Self>,
        session: &Arc<Session>,
        steps: &mut impl Iterator<Item = Step>,
        stop_on_error: bool,
        failed: &mut bool,
    ) -> Option<Waiting> {
        for step in steps {
            if *failed && stop_on_error {
                let text = "an earlier request of the batch failed";
                self.refuse(session, step, &Refusal::unavailable(text, 0));
                continue;
            }
            let status = match step {
                Step::Answered(response) => {
                    session.send_response(&response);
                    response.status()
                }
                Step::Run { key, tag, body } => match self.begin(session, key, tag, body) {
                    Begun::Answered(answered) => Self::answer(session, key, tag, answered),
                    Begun::Waits(answer) => return Some(Waiting { key, tag, answer }),
                },
            };
            *failed |= status != status::Value::Ok;
        }
        None
    }

    /// Waits for a request until its deadline, and goes on with the rest.
    async fn wait(
        self: &Arc<Self>,
        session: &Arc<Session>,
        first: Waiting,
        rest: Vec<Step>,
        stop_on_error: bool,
        mut failed: bool,
    ) {
        let mut rest = rest.into_iter();
        let mut next = Some(first);
        while let Some(Waiting { key, tag, answer }) = next {
            let answered = match timeout(self.limits.load().request_timeout(), answer).await {
                Ok(answered) => answered,
                Err(_) => {
                    debug!("tag {tag} from {} was not answered in time", session.player.name);
                    Answered::With(Err(Refusal::timeout()))
                }
            };
            failed |= Self::answer(session, key, tag, answered) != status::Value::Ok;
            next = self.advance(session, &mut rest, stop_on_error, &mut failed);
        }
    }

    /// Sends the answer to a request, where it was not sent yet.
    fn answer(session: &Arc<Session>, key: u64, tag: Tag, answered: Answered) -> status::Value {
        match answered {
            Answered::Already(status) => status,
            Answered::With(answer) => {
                let response = response(key, tag, answer);
                let status = response.status();
                session.respond(response);
                status
            }
        }
    }

    fn refuse(&self, session: &Arc<Session>, step: Step, refusal: &Refusal) {
        match step {
            Step::Run { key, tag, .. } => drop(session.respond(response(key, tag, Err(refusal.clone())))),
            Step::Answered(response) => session.send_response(&response),
        }
    }

    /// Has a request answered.
    fn begin(self: &Arc<Self>, session: &Arc<Session>, key: u64, tag: Tag, body: Bytes) -> Begun {
        if tag == v1::JoinRoom::TAG {
            let (requests, session) = (Arc::clone(self), Arc::clone(session));
            return Begun::of(async move { requests.join(&session, key, body).await });
        }
        let body = match self.hooks.incoming(tag, &body, || session.in_room()) {
            Ok(changed) => changed.map_or(body, Bytes::from),
            Err(stopped) => return Begun::Answered(Answered::With(Err(self.stopped(session, stopped)))),
        };
        match session.room() {
            Some(room) if room.code.as_ref().is_some_and(|code| code.kind().answers(tag)) => {
                let session = Arc::clone(session);
                Begun::of(async move { ask(&room, &session, key, tag, body).await })
            }
            room => self.call(session, room.as_deref(), tag, body),
        }
    }

    /// Lets a service answer.
    fn call(self: &Arc<Self>, session: &Arc<Session>, room: Option<&Room>, tag: Tag, body: Bytes) -> Begun {
        let refused = |refusal| Begun::Answered(Answered::With(Err(refusal)));
        let Some((message, info)) = self.schema.get(tag) else { return refused(Refusal::internal()) };
        let (name, player) = (&info.full_name, &session.player);
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        let Some(service) = services.get(&tag) else {
            if room.is_none() && self.rooms.answer(tag) {
                let text = format!("{name} is answered by rooms, and you are in none");
                return refused(Refusal::unavailable(text, 0));
            }
            debug!("{name} from {}: nothing answers it", player.name);
            return refused(Refusal::unknown(format!("no service here answers {name}")));
        };
        let context = Context {
            session: player.session_id,
            player: player.player_id,
            name: Arc::clone(&player.name),
            room: room.map_or_else(|| "".into(), |room| Arc::clone(&room.name)),
            access: player.access,
        };
        let start = Instant::now();
        let mut call = Guarded::new(|| service.call(context, tag, body));
        drop(services);
        // The task polls it again, so nothing is missed that would have woken this one.
        match call.poll(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Begun::Answered(self.called(session, message, tag, start, answer)),
            Poll::Pending => {
                let (requests, session) = (Arc::clone(self), Arc::clone(session));
                Begun::Waits(Box::pin(async move {
                    let answer = poll_fn(|cx| call.poll(cx)).await;
                    requests.called(&session, message, tag, start, answer)
                }))
            }
        }
    }

    /// A service has answered.
    fn called(
        &self,
        session: &Session,
        message: usize,
        tag: Tag,
        start: Instant,
        answer: Result<Result<Bytes, Refusal>, Panicked>,
    ) -> Answered {
        self.metrics.request(message, start.elapsed());
        let answer = answer.unwrap_or_else(|Panicked| {
            let name = self.schema.messages().get(message).map_or("", |info| &info.full_name);
            error!("the code that answers {name} panicked; {} is told INTERNAL", session.player.name);
            Err(Refusal::internal())
        });
        Answered::With(answer.and_then(|reply| {
            self.hooks.reply(session, tag, reply).map_err(|stopped| self.stopped(session, stopped))
        }))
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
            inside.respond(response(key, v1::JoinRoom::TAG, Ok(reply.into())))
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

/// A request that has begun.
enum Begun {
    Answered(Answered),
    /// To be polled again.
    Waits(Pin<Box<dyn Future<Output = Answered> + Send>>),
}

impl Begun {
    /// Begins with it. The task polls it again, so nothing is missed that would have woken this one.
    fn of(answer: impl Future<Output = Answered> + Send + 'static) -> Self {
        let mut answer = Box::pin(answer);
        match answer.as_mut().poll(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(answered) => Begun::Answered(answered),
            Poll::Pending => Begun::Waits(answer),
        }
    }
}

/// A request that could not be answered at once.
struct Waiting {
    key: u64,
    tag: Tag,
    answer: Pin<Box<dyn Future<Output = Answered> + Send>>,
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

/// An answer of the game's code, run so that a panic ends it alone.
struct Guarded(Result<Call, Panicked>);

impl Guarded {
    fn new(call: impl FnOnce() -> Call) -> Self {
        Guarded(catch_unwind(AssertUnwindSafe(call)).map_err(|_| Panicked))
    }

    /// Not to be polled again when it is ready.
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<Result<Bytes, Refusal>, Panicked>> {
        let Guarded(Ok(call)) = self else { return Poll::Ready(Err(Panicked)) };
        match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
            Ok(answer) => answer.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}
