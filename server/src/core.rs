//! The server as a whole: what its parts share, how it starts and how it stops.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tagwire::{CloseCode, Schema};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::config::Config;
use crate::directory::Directory;
use crate::flusher::Flusher;
use crate::listener;
use crate::metrics::Metrics;
use crate::rooms::Rooms;
use crate::router::Router;
use crate::session::Ending;

/// A stop takes at most so long.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// So much of it for those who are at the door already.
const ACCEPT_TIMEOUT: Duration = Duration::from_millis(500);

/// A server that is not running yet.
#[derive(Debug)]
pub struct Server {
    core: Arc<Core>,
}

/// What all connections share.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) auth: Box<dyn Authenticator>,
    pub(crate) router: Router,
    pub(crate) directory: Arc<Directory>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) ids: Ids,
    /// Cancelled when the server stops.
    pub(crate) stopping: CancellationToken,
    flushers: Vec<Arc<Flusher>>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Numbers that are never given twice in a process.
#[derive(Debug)]
pub(crate) struct Ids {
    session: AtomicU64,
    player: AtomicU32,
}

impl Ids {
    /// The next session's number and its player's.
    pub(crate) fn next(&self) -> (u64, u32) {
        (self.session.fetch_add(1, Ordering::Relaxed), self.player.fetch_add(1, Ordering::Relaxed))
    }
}

impl Core {
    /// The flusher that a session belongs to.
    pub(crate) fn flusher(&self, session_id: u64) -> Arc<Flusher> {
        let index = session_id % self.flushers.len() as u64;
        Arc::clone(&self.flushers[index as usize])
    }

    /// A name that nobody inside has.
    pub(crate) fn guest_name(&self, player_id: u32) -> String {
        let mut name = format!("guest-{player_id}");
        while self.directory.has_name(&name) {
            name.push('x');
        }
        name
    }

    pub(crate) fn shutdown_ending(&self) -> Ending {
        Ending::Told {
            code: CloseCode::SHUTDOWN,
            reason: "the server stops".to_string(),
            retry_after_ms: self.config.shutdown_retry_ms,
        }
    }

    fn count_outboxes(&self) {
        let bytes: usize = self.directory.sessions().iter().map(|s| s.outbox_bytes()).sum();
        self.metrics.outbox_bytes.set(bytes as i64);
    }
}

impl Server {
    /// A server for the messages of `schema`, with development passwords.
    pub fn new(config: Config, schema: Schema) -> Self {
        let auth = Box::new(config.dev_auth.clone());
        Self::with_auth(config, schema, auth)
    }

    /// A server that asks `auth` who may come in.
    pub fn with_auth(config: Config, schema: Schema, auth: Box<dyn Authenticator>) -> Self {
        let metrics = Arc::new(Metrics::new(&schema));
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let rooms = Rooms::new(config.max_rooms, config.max_room_members, Arc::clone(&metrics));
        Server {
            core: Arc::new(Core {
                auth,
                router: Router { schema: Arc::new(schema), rooms, metrics: Arc::clone(&metrics) },
                directory: Arc::new(Directory::new()),
                metrics,
                clock: Arc::new(Clock::start()),
                ids: Ids { session: AtomicU64::new(1), player: AtomicU32::new(1) },
                stopping: CancellationToken::new(),
                flushers: (0..threads).map(|_| Arc::new(Flusher::default())).collect(),
                config,
            }),
        }
    }

    /// What the server counts, now and while it runs.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.core.metrics)
    }

    /// Serves until `shutdown` is ready; then tells everyone, lets what was sent arrive, and returns within 10 s.
    ///
    /// # Errors
    /// A listener has no address.
    pub async fn serve(
        self,
        listeners: Vec<TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let core = self.core;
        for listener in &listeners {
            info!("server up on {}", listener.local_addr()?);
        }
        let connections = TaskTracker::new();
        let mut always = JoinSet::new();
        for flusher in &core.flushers {
            always.spawn(Arc::clone(flusher).run());
        }
        let peer_timeout_us = core.config.peer_timeout_ms * 1000;
        always.spawn(Arc::clone(&core.directory).turn(Arc::clone(&core.clock), peer_timeout_us));
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(listener::accept(Arc::clone(&core), listener, connections.clone()));
        }

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
        always.shutdown().await;
        core.count_outboxes();
        let counted = core.metrics.snapshot();
        let counted: Vec<_> = counted.iter().map(|(name, value)| format!("{name}={value}")).collect();
        info!("server down: {}", counted.join(" "));
        Ok(())
    }
}
