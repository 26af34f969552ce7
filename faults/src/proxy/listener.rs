//! Takes connections in, and owns their tasks.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use super::{Shared, connection};

/// What becomes of new connections meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pause {
    /// Each is reset at once. Not "connection refused": the port stays taken, or another program could get it.
    #[default]
    Refuse,
    /// Each waits: to its client it looks open (the kernel opens it), and nobody answers.
    Stall,
}

/// Runs until it is aborted; the connections' tasks end with it.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let mut tasks = JoinSet::new();
    let mut pause = shared.pause.subscribe();
    let mut faults = shared.faults.subscribe();
    let mut number = 0;
    loop {
        let max_connections = faults.borrow_and_update().max_connections;
        let paused = *pause.borrow_and_update();
        let accepts = tasks.len() < max_connections && paused != Some(Pause::Stall);
        tokio::select! {
            // In this order: who connects after a pause must not be taken in before it is seen.
            biased;
            changed = pause.changed() => if changed.is_err() { return },
            changed = faults.changed() => if changed.is_err() { return },
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept(), if accepts => match accepted {
                Ok((client, _)) if paused.is_some() => refuse(client, &shared),
                Ok((client, _)) => {
                    tasks.spawn(connection::run(client, number, Arc::clone(&shared)));
                    number += 1;
                }
                // Too many descriptors, mostly: it passes, and must not be asked about in a hot loop.
                Err(_) => sleep(Duration::from_millis(20)).await,
            },
        }
    }
}

fn refuse(client: TcpStream, shared: &Shared) {
    shared.count(|counters| counters.refused += 1);
    connection::reset(&client);
}
