//! The same faults on real sockets: a proxy between clients and a server. Feature `proxy`.
//!
//! ```no_run
//! # async fn example() -> Result<(), tagwire_faults::proxy::StartError> {
//! use tagwire_faults::ends::Cut;
//! use tagwire_faults::proxy::{Close, Faults, How, Proxy};
//!
//! let upstream = ([127, 0, 0, 1], 7777).into();
//! let faults = Faults { split: Some(7), delay_ms: 0..=20, ..Faults::none() };
//! let proxy = Proxy::start(([127, 0, 0, 1], 0).into(), upstream, faults, 1).await?;
//! println!("clients connect to {}", proxy.address());
//! proxy.cut_all(Some(How { cut: Cut::Both, close: Close::Reset }));
//! proxy.set(Faults::none());
//! proxy.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  listener -> one task a connection ----> pump to server: read -> queue (64 KiB) -> wait -> split -> write
//!                 |  cut? -> close          pump to client: the same
//!                 +- holds what is half-open, for half_open_ms
//! ```

mod connection;
mod counters;
mod faults;
mod listener;
mod pump;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use counters::{Counters, CutCounters};
pub use faults::{Close, CutAfter, Faults, HalfOpen, How, Stalling};
pub use listener::Pause;

/// A proxy that could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address to listen on cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A proxy that runs in tasks of the current runtime, until it is stopped or dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

/// What the proxy and its connections share.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    seed: u64,
    faults: watch::Sender<Arc<Faults>>,
    /// How often all were cut, and how the last time.
    cuts: watch::Sender<(u64, Option<How>)>,
    pause: watch::Sender<Option<Pause>>,
    counters: Mutex<Counters>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Proxy {
    /// Listens on `listen` (port 0 picks a free one) and carries each connection to `upstream`, which need not be there
    /// yet. Everything drawn comes from `seed` and the connection's number in the order of arrival.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn start(
        listen: SocketAddr,
        upstream: SocketAddr,
        faults: Faults,
        seed: u64,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            upstream,
            seed,
            faults: watch::Sender::new(Arc::new(faults)),
            cuts: watch::Sender::new((0, None)),
            pause: watch::Sender::new(None),
            counters: Mutex::new(Counters::default()),
        });
        let listening = tokio::spawn(listener::run(listener, Arc::clone(&shared)));
        Ok(Proxy { address, shared, listening })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Other faults from now on, for connections that are there as well. A cut among them is drawn anew for each, its
    /// bytes counted from now; half-open connections stay.
    pub fn set(&self, faults: Faults) {
        self.shared.faults.send_replace(Arc::new(faults));
    }

    /// The faults as they are now.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::clone(&self.shared.faults.borrow())
    }

    /// Cuts all connections that forward now; `None`: each as its own draws say. Returns how many those are. They follow within
    /// moments, each in its task; those whose server is being connected to, right after that. [`Counters::open`] shows it.
    pub fn cut_all(&self, how: Option<How>) -> u64 {
        let open = self.counters().open;
        self.shared.cuts.send_modify(|(round, last)| {
            *round += 1;
            *last = how;
        });
        open
    }

    /// No new connections from now on; those that are there go on.
    pub fn pause(&self, pause: Pause) {
        self.shared.pause.send_replace(Some(pause));
    }

    /// New connections again; those that were stalled come in now.
    pub fn resume(&self) {
        self.shared.pause.send_replace(None);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it and waits until all of its tasks and sockets are gone. Its connections are reset.
    pub async fn stop(mut self) {
        self.listening.abort();
        // Only whether it is over matters, not how.
        let _ = (&mut self.listening).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections' tasks go with it.
        self.listening.abort();
    }
}
