//! How a running server is changed.

use std::sync::Arc;

use crate::config::Config;
use crate::core::Core;

use tracing::error;

/// A handle on a server, from [`Server::control`](crate::Server::control). A clone is cheap.
#[derive(Debug, Clone)]
pub struct Control {
    core: Arc<Core>,
}

impl Control {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Control { core }
    }

    /// Takes the limits and the certificate of `new`, whose values must be [valid](Config::validate), and has users and keys
    /// read again; that blocks. New connections get the certificate, and where it cannot be read the last one, which the log
    /// tells. Returns the keys in which it differs from the start of the server otherwise: they need a restart. `log` is the
    /// program's, and is not among them.
    pub fn reload(&self, new: Config) -> Vec<String> {
        if let Err(error) = self.core.load_tls(&new.tls) {
            error!("the certificate stays as it is: {error}");
        }
        let changes = self.core.config.changes(&new);
        self.core.limits.store(Arc::new(new.limits));
        self.core.auth.load().reload();
        changes.into_iter().filter(|change| !change.is_live()).map(|change| change.key).collect()
    }
}
