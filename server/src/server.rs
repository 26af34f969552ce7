//! How a server starts and how it stops.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tagwire::Schema;
use tagwire::room::Room;
use tagwire::service::Service;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::auth::{AuthError, Authenticator, Judge};
use crate::config::Config;
use crate::control::Control;
use crate::core::Core;
use crate::directory::Directory;
use crate::hook::Hook;
use crate::listener;
use crate::metrics::Metrics;
use crate::requests::ServiceError;
use crate::rooms::{Kind, KindError};
use crate::tls::TlsError;
use crate::transport::MemoryStream;
use crate::web::{self, WebError};

/// A stop takes at most so long.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// Connections within the process that wait to be taken.
const MEMORY_BACKLOG: usize = 64;
/// And so long the code of rooms, when nobody is inside any more.
const ROOMS_TIMEOUT: Duration = Duration::from_secs(1);
/// So much of it for those who are at the door already.
const ACCEPT_TIMEOUT: Duration = Duration::from_millis(500);

/// Code of a game that cannot be served.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Kind(#[from] KindError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Web(#[from] WebError),
}

/// Opens connections to a server of the same process, from [`Server::connector`]. A clone is cheap.
#[derive(Debug, Clone)]
pub struct Connector {
    calls: mpsc::Sender<MemoryStream>,
}

impl Connector {
    /// A connection, on which a client speaks as on a socket. What is sent before the server runs waits for it.
    ///
    /// # Errors
    /// The server has stopped.
    pub async fn connect(&self) -> io::Result<MemoryStream> {
        let (here, there) = MemoryStream::pair();
        self.calls.send(there).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(here)
    }
}

/// A server that is not running yet.
pub struct Server {
    core: Arc<Core>,
    /// Why it cannot be served: every reason, for an authenticator that is added takes away those that it mends.
    broken: Vec<Broken>,
    hooks: Vec<Box<dyn Hook>>,
    connector: Connector,
    /// Its other end.
    calls: mpsc::Receiver<MemoryStream>,
    /// What the log says of who judges logins, and whether as a warning.
    judge: (String, bool),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Server {
    /// A server for the messages of `schema`, whose logins are judged as `config.auth` says. That its users or keys cannot
    /// be read is told by [`Server::check`] and [`Server::serve`].
    pub fn new(config: Config, schema: Schema) -> Self {
        let (judge, error) = match Judge::of(&config) {
            Ok(judge) => (judge, None),
            Err(error) => (Judge::nobody(), Some(error)),
        };
        let mut server = Self::with_judge(config, schema, judge);
        server.broken.extend(error.map(Broken::from));
        server
    }

    /// A server that asks `auth` who may come in, whatever `config.auth` says.
    pub fn with_auth(config: Config, schema: Schema, auth: Box<dyn Authenticator>) -> Self {
        Self::with_judge(config, schema, Judge::own(auth))
    }

    fn with_judge(config: Config, schema: Schema, judge: Judge) -> Self {
        let Judge { authenticator, told, weak } = judge;
        let core = Core::new(config, schema, authenticator, weak);
        let mut broken = vec![];
        broken.extend(core.load_tls(&core.config.tls).err().map(Broken::from));
        broken.extend(web::check(&core.config).err().map(Broken::from));
        let (calls, called) = mpsc::channel(MEMORY_BACKLOG);
        let connector = Connector { calls };
        Server { core: Arc::new(core), broken, hooks: vec![], connector, calls: called, judge: (told, weak) }
    }

    /// Has `authenticator` judge logins, whatever the settings say. Settings with `auth = "game"` ask for it.
    #[must_use]
    pub fn auth(mut self, authenticator: impl Authenticator) -> Self {
        let Judge { authenticator, told, weak } = Judge::own(Box::new(authenticator));
        self.core.auth.store(Arc::new(authenticator));
        self.core.dev_auth.store(weak, Ordering::Relaxed);
        self.judge = (told, weak);
        self.broken.retain(|broken| !matches!(broken, Broken::Auth(_)));
        self
    }

    /// Has `service` answer its requests: `server.service(LobbyServer::new(MyLobby))`. That two answer one request, or
    /// one answers what the schema does not have, is told by [`Server::serve`].
    #[must_use]
    pub fn service(mut self, service: impl Service) -> Self {
        if let Err(error) = self.core.router.requests.add(Arc::new(service)) {
            self.broken.push(error.into());
        }
        self
    }

    /// Has every room run the code that `factory` makes from its name: `server.rooms(Arena::new)`. As
    /// [`Server::rooms_named`] with `"*"`.
    #[must_use]
    pub fn rooms<R: Room>(self, factory: impl Fn(&str) -> R + Send + Sync + 'static) -> Self {
        self.rooms_named("*", factory)
    }

    /// Has rooms run the code that `factory` makes from their name: the room called `pattern`, or, where that ends in
    /// `*`, all whose name begins so. What is said first counts; rooms that nothing is said of have no code: what is sent
    /// in them is relayed. That two patterns are the same, or the rooms take what the schema does not have, is told by
    /// [`Server::serve`].
    #[must_use]
    pub fn rooms_named<R: Room>(
        mut self,
        pattern: &str,
        factory: impl Fn(&str) -> R + Send + Sync + 'static,
    ) -> Self {
        if let Err(error) = self.core.router.rooms.add(Kind::new(pattern, factory)) {
            self.broken.push(error.into());
        }
        self
    }

    /// Has `hook` see the messages of the game, behind the hooks that were added before.
    #[must_use]
    pub fn hook(mut self, hook: impl Hook) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// What the server counts, now and while it runs.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.core.metrics)
    }

    /// By which clients in this process connect, without sockets.
    pub fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// Whether it can be served: what [`Server::serve`] would tell at once.
    ///
    /// # Errors
    /// Users, keys or the folder for browsers cannot be read, or a certificate cannot be used; a service or rooms were added
    /// that cannot be served. All of it is told.
    pub fn check(&self) -> io::Result<()> {
        let reasons: Vec<_> = self.broken.iter().map(Broken::to_string).collect();
        if reasons.is_empty() { Ok(()) } else { Err(io::Error::other(reasons.join("\n"))) }
    }

    /// By which the running server is changed.
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.core))
    }

    /// Serves until `shutdown` is ready; then tells everyone, lets what was sent arrive, and returns within 10 s.
    ///
    /// # Errors
    /// A listener has no address; what [`Server::check`] tells.
    pub async fn serve(
        self,
        listeners: Vec<TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.check()?;
        let core = self.core;
        core.router.hooks.set(self.hooks);
        match self.judge {
            (told, true) => warn!("{told}"),
            (told, false) => info!("{told}"),
        }
        for listener in &listeners {
            info!("server up on {}", listener.local_addr()?);
        }
        let connections = TaskTracker::new();
        let mut always = JoinSet::new();
        for flusher in core.flushers.run() {
            always.spawn(flusher);
        }
        always.spawn(Directory::turn(Arc::clone(&core)));
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(listener::accept(Arc::clone(&core), listener, connections.clone()));
        }

        accepting.spawn(listener::accept_memory(Arc::clone(&core), self.calls, connections.clone()));

        tokio::select! {
            () = shutdown => {}
            Some(ended) = always.join_next() => warn!("a task that never ends has ended: {ended:?}"),
        }
        info!("server stops");
        core.stopping.cancel();
        // Bounded, for who connects all the time must not keep the server up.
        if timeout(ACCEPT_TIMEOUT, async { while accepting.join_next().await.is_some() {} }).await.is_err() {
            accepting.shutdown().await;
        }
        for session in core.directory.sessions() {
            session.end(core.shutdown_ending());
        }
        connections.close();
        if timeout(STOP_TIMEOUT, connections.wait()).await.is_err() {
            warn!("{} connections did not end in time", connections.len());
        }
        // No connection and, from now on, no wheel sees to those who are away.
        always.shutdown().await;
        core.removals.close();
        core.removals.wait().await;
        for session in core.directory.sessions() {
            if session.take_handover().is_some() {
                core.metrics.sessions_away.dec();
                core.take_out(&session);
            }
        }
        // With their last members rooms end, unless their code does not come to an end.
        let rooms = core.router.rooms.tasks();
        rooms.close();
        if timeout(ROOMS_TIMEOUT, rooms.wait()).await.is_err() {
            warn!("the code of {} rooms still ran", rooms.len());
        }
        // Nobody is left to be answered; what still runs ends with the runtime.
        let requests = core.router.requests.tasks().len();
        if requests > 0 {
            warn!("{requests} requests still ran");
        }
        // A task is waited for by what it drops last, and counted for a moment longer.
        for _ in 0..100 {
            if Handle::current().metrics().num_alive_tasks() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        core.metrics.tasks.set(core.tasks() as i64);
        core.metrics.outbox_bytes.set(core.directory.outbox_bytes() as i64);
        info!("server down: {}", core.metrics.line());
        Ok(())
    }
}
