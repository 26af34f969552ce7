//! Where logins are judged: on threads of their own, as many at once as there are cores, in the order in which they come.
//! More would not be faster, and each takes the memory of a hash.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};

/// Logins that are judged and that wait for it.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Fair: who waits longest is next.
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// The same, for those who watch.
    gauge: Gauge,
}

/// As many wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

/// A login's turn to be judged.
#[derive(Debug)]
pub(crate) struct Slot(
    #[expect(dead_code, reason = "frees the slot when it is dropped")] OwnedSemaphorePermit,
);

/// Counts one who waits, until it is dropped: its turn has come, or it gave up.
struct Waiting<'a>(&'a Pool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}

impl Pool {
    /// As many slots as cores. `gauge`: how many wait.
    pub(crate) fn new(gauge: Gauge) -> Self {
        Self::with_slots(available_parallelism().map_or(1, usize::from), gauge)
    }

    fn with_slots(slots: usize, gauge: Gauge) -> Self {
        Pool { slots: Arc::new(Semaphore::new(slots)), waiting: AtomicUsize::new(0), gauge }
    }

    /// Waits for a turn, behind at most `max_waiting` others. Who drops it is out of the queue, and costs nothing.
    pub(crate) async fn turn(&self, max_waiting: usize) -> Result<Slot, Crowded> {
        // While others wait there is none to be had so.
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Slot(permit));
        }
        let taken = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < max_waiting).then_some(waiting + 1)
        });
        taken.map_err(|_| Crowded)?;
        self.gauge.inc();
        let _waiting = Waiting(self);
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        Ok(Slot(permit.expect("the semaphore is never closed")))
    }
}

impl Slot {
    /// Runs what may take long. It goes on where this is dropped, and keeps the slot until it is done. The slot comes back
    /// with the result: nobody's turn is next before what was judged has had its effect.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        judge: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Slot), JoinError> {
        spawn_blocking(move || (judge(), self)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_of_arrival_and_who_gave_up_has_none() {
        let pool = Arc::new(Pool::with_slots(2, Gauge::default()));
        let first = [pool.turn(0).await.expect("free"), pool.turn(0).await.expect("free")];
        assert_eq!(pool.turn(0).await.map(drop), Err(Crowded), "nobody may wait");
        let order = Arc::new(Mutex::new(vec![]));
        let mut waiting = JoinSet::new();
        let mut gave_up = vec![];
        for i in 0..10 {
            let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
            let task = waiting.spawn(async move {
                let slot = pool.turn(10).await.expect("there is room for ten");
                order.lock().expect("nobody panicked").push(i);
                slot.run(|| ()).await.expect("no panic");
            });
            if i % 3 == 1 {
                gave_up.push(task);
            }
            // Its place is taken before the next one comes.
            yield_now().await;
        }
        assert_eq!(pool.turn(10).await.map(drop), Err(Crowded));
        gave_up.iter().for_each(|task| task.abort());
        yield_now().await;
        assert_eq!(pool.waiting.load(Ordering::Relaxed), 7, "who gave up waits no more");
        drop(first);
        while waiting.join_next().await.is_some() {}
        assert_eq!(*order.lock().expect("nobody panicked"), [0, 2, 3, 5, 6, 8, 9]);
        assert_eq!((pool.waiting.load(Ordering::Relaxed), pool.slots.available_permits()), (0, 2));
    }

    #[tokio::test]
    async fn a_panic_gives_the_slot_back() {
        let pool = Pool::with_slots(1, Gauge::default());
        let slot = pool.turn(0).await.expect("free");
        let panicked = slot.run(|| -> () { panic!("as a game's code may") }).await;
        assert!(panicked.is_err_and(|error| error.is_panic()));
        assert!(pool.turn(0).await.is_ok());
    }
}
