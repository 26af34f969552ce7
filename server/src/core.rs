//! What all connections of a server share.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tagwire::{CloseCode, Schema};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::asking::Asking;
use crate::auth::{Authenticator, Pool};
use crate::clock::Clock;
use crate::config::{Config, Limits, Plaintext, SchemaAccess, TlsConfig};
use crate::directory::Directory;
use crate::door::Door;
use crate::exchange::Exchange;
use crate::flusher::Flushers;
use crate::hook::Hooks;
use crate::metrics::Metrics;
use crate::requests::Requests;
use crate::rooms::Rooms;
use crate::router::Router;
use crate::session::{Ending, Session};
use crate::tls::{Tls, TlsError};
use crate::transport::Peer;
use crate::web::Web;

/// What the names begin with that the server makes up.
pub(crate) const GUEST_PREFIX: &str = "guest-";

/// What all connections share.
pub(crate) struct Core {
    /// As at the start; what may change since then is in `limits`.
    pub(crate) config: Config,
    pub(crate) limits: Arc<ArcSwap<Limits>>,
    pub(crate) door: Arc<Door>,
    /// Changed before the server runs alone.
    pub(crate) auth: ArcSwap<Box<dyn Authenticator>>,
    pub(crate) logins: Pool,
    pub(crate) tls: Tls,
    pub(crate) exchange: Exchange,
    pub(crate) asking: Asking,
    pub(crate) web: Web,
    /// Logins are judged by development passwords. Changed before the server runs alone.
    pub(crate) dev_auth: AtomicBool,
    pub(crate) router: Router,
    pub(crate) directory: Arc<Directory>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) ids: Ids,
    /// By which this process differs from those before it, for clients that come back to one of them.
    pub(crate) process: u64,
    /// Tasks that take sessions out.
    pub(crate) removals: TaskTracker,
    /// Cancelled when the server stops.
    pub(crate) stopping: CancellationToken,
    pub(crate) flushers: Arc<Flushers>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

    /// True where there was a session of that number.
    pub(crate) fn was_given(&self, session: u64) -> bool {
        (1..self.session.load(Ordering::Relaxed)).contains(&session)
    }
}

impl Core {
    /// Everything at its beginning. `dev_auth`: `auth` judges by development passwords.
    pub(crate) fn new(config: Config, schema: Schema, auth: Box<dyn Authenticator>, dev_auth: bool) -> Self {
        let metrics = Arc::new(Metrics::new(&schema));
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let limits = Arc::new(ArcSwap::from_pointee(config.limits.clone()));
        let exchange = Exchange::new(&schema, config.schema_policy);
        let asking = Asking::new(&schema);
        let schema = Arc::new(schema);
        let (clock, hooks) = (Arc::new(Clock::start()), Arc::new(Hooks::default()));
        let rooms = Arc::new(Rooms::new(
            Arc::clone(&schema),
            Arc::clone(&limits),
            Arc::clone(&metrics),
            Arc::clone(&clock),
            Arc::clone(&hooks),
            threads,
        ));
        let requests = Arc::new(Requests::new(
            Arc::clone(&schema),
            Arc::clone(&rooms),
            Arc::clone(&limits),
            Arc::clone(&metrics),
            Arc::clone(&hooks),
        ));
        Core {
            door: Arc::default(),
            auth: ArcSwap::from_pointee(auth),
            logins: Pool::new(metrics.logins_waiting.clone()),
            tls: Tls::default(),
            exchange,
            asking,
            web: Web::default(),
            dev_auth: AtomicBool::new(dev_auth),
            router: Router { schema, rooms, requests, hooks, metrics: Arc::clone(&metrics) },
            directory: Arc::new(Directory::new()),
            metrics,
            process: clock.now().unix_us,
            clock,
            ids: Ids { session: AtomicU64::new(1), player: AtomicU32::new(1) },
            removals: TaskTracker::new(),
            stopping: CancellationToken::new(),
            flushers: Flushers::new(threads),
            config,
            limits,
        }
    }

    /// Reads the server's certificate, again if it is not the first time.
    pub(crate) fn load_tls(&self, config: &TlsConfig) -> Result<(), TlsError> {
        // What a certificate that is made here is for.
        let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_string).to_vec();
        let here = self.config.listen.iter().map(|address| address.ip());
        names.extend(here.filter(|ip| !ip.is_loopback() && !ip.is_unspecified()).map(|ip| ip.to_string()));
        self.tls.load(config, &names)
    }

    /// Whether connections from there begin with the header of a proxy.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.config.trusted_proxies.iter().any(|net| net.contains(&address.to_canonical()))
    }

    /// Whether somebody may log in without TLS.
    pub(crate) fn admits_plaintext(&self, peer: Peer) -> bool {
        let is_here = || peer.ip().is_none_or(|ip| ip.to_canonical().is_loopback());
        match self.config.plaintext {
            Plaintext::Allow => true,
            Plaintext::Auto => !self.tls.is_on() || is_here(),
            Plaintext::Loopback => is_here(),
            Plaintext::Deny => false,
        }
    }

    /// Who may ask for the schema; never `Auto`.
    pub(crate) fn schema_access(&self) -> SchemaAccess {
        self.config.schema_access.resolve(self.dev_auth.load(Ordering::Relaxed))
    }

    /// Whether they get its comments, too.
    pub(crate) fn tells_comments(&self) -> bool {
        self.config.schema_comments.resolve(self.dev_auth.load(Ordering::Relaxed))
    }

    /// A name that nobody inside has.
    pub(crate) fn guest_name(&self, player_id: u32) -> String {
        let mut name = format!("{GUEST_PREFIX}{player_id}");
        while self.directory.has_name(&name) {
            name.push('x');
        }
        name
    }

    /// Tasks that there are now, those of rooms among them.
    pub(crate) fn tasks(&self) -> usize {
        Handle::current().metrics().num_alive_tasks() + self.router.rooms.tasks().len()
    }

    /// Takes a session that is over out of everything that knows it.
    pub(crate) fn take_out(&self, session: &Arc<Session>) {
        self.router.rooms.leave(session);
        self.directory.leave(session);
        self.metrics.sessions.dec();
        let ending = session.ending();
        self.metrics.disconnect(ending.as_ref().and_then(Ending::code));
        let name = &session.player.name;
        match (session.peer(), &ending) {
            (Some(peer), Some(ending)) => info!("session of {name} from {peer} ended: {ending}"),
            (Some(peer), None) => info!("session of {name} from {peer} ended"),
            (None, Some(ending)) => info!("session of {name} ended: {ending}"),
            (None, None) => info!("session of {name} ended"),
        }
    }

    pub(crate) fn shutdown_ending(&self) -> Ending {
        Ending::told_later(CloseCode::SHUTDOWN, "the server stops", self.config.shutdown_retry_ms)
    }
}
