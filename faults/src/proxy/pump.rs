//! One direction of a connection through the proxy.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

use super::Shared;
use super::faults::Faults;
use crate::ends::Direction;

/// Most bytes that wait in a direction. Then its sender is not read from.
const MAX_QUEUED_BYTES: usize = 64 * 1024;

/// Most bytes of one read.
const MAX_CHUNK_BYTES: usize = 16 * 1024;

/// Most chunks that wait in a direction, for senders of many small ones.
const MAX_QUEUED_CHUNKS: usize = 1_024;

/// At so many places a chunk's pieces wait for [`PAUSE_MS`], drawn. Without any, the kernel joins them before a reader
/// wakes up (the test `a_split_shows_as_small_reads` saw 2 reads for 50 pieces); at each, 20 KB would take 20 s.
const MAX_PAUSES: u32 = 4;

/// As short as timers are.
const PAUSE_MS: u64 = 1;

/// How long the last bytes before a cut may take to be written. The ends may wait for each other meanwhile.
const MAX_CUT_MS: u64 = 1_000;

/// Why a pump stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The sender said that nothing more comes, and all was written on.
    Ended,
    /// Byte for byte up to the cut, all was written on.
    AtCut,
    /// A socket failed.
    Failed,
}

/// The cut of a connection, which both of its pumps count towards.
#[derive(Debug)]
pub(super) struct Budget {
    state: Mutex<BudgetState>,
}

#[derive(Debug)]
struct BudgetState {
    rng: Rng,
    /// The settings that it was drawn by.
    drawn_by: Arc<Faults>,
    /// Bytes until the cut; nothing: no cut.
    left: Option<u64>,
    /// One of the pumps has taken the last of them, and will cut.
    reached: bool,
}

/// What a pump may do next.
enum Allowed {
    /// Write so many bytes on.
    Bytes(usize),
    /// The same, and they are the last before the cut.
    Last(usize),
    /// Nothing: the other pump is about to cut.
    Nothing,
}

impl Budget {
    pub(super) fn new(mut rng: Rng, faults: Arc<Faults>) -> Self {
        let left = draw(&mut rng, &faults);
        Budget { state: Mutex::new(BudgetState { rng, drawn_by: faults, left, reached: false }) }
    }

    /// Takes what may be written on in this direction, of so many bytes.
    fn take(&self, direction: Direction, wanted: usize, faults: &Arc<Faults>) -> Allowed {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let BudgetState { rng, drawn_by, left, reached } = &mut *state;
        if !Arc::ptr_eq(drawn_by, faults) {
            *left = draw(rng, faults);
            *drawn_by = Arc::clone(faults);
            *reached = false;
        }
        if *reached {
            return Allowed::Nothing;
        }
        let counted = faults.cut.as_ref().and_then(|cut| cut.direction).is_none_or(|only| only == direction);
        let Some(left) = left.as_mut().filter(|_| counted) else { return Allowed::Bytes(wanted) };
        let taken = wanted.min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= taken as u64;
        *reached = *left == 0;
        if *reached { Allowed::Last(taken) } else { Allowed::Bytes(taken) }
    }
}

fn draw(rng: &mut Rng, faults: &Faults) -> Option<u64> {
    let cut = faults.cut.as_ref()?;
    // An empty range has no number in it: then its start.
    let (start, end) = (*cut.bytes.start(), *cut.bytes.end());
    Some(if start < end { rng.u64(start..=end) } else { start })
}

/// One direction of a connection.
pub(super) struct Pump<'a> {
    pub(super) direction: Direction,
    pub(super) from: ReadHalf<'a>,
    pub(super) to: WriteHalf<'a>,
    pub(super) rng: Rng,
    pub(super) faults: watch::Receiver<Arc<Faults>>,
    pub(super) budget: &'a Budget,
    pub(super) shared: &'a Shared,
}

/// What was read, and when it goes on.
struct Chunk {
    bytes: Vec<u8>,
    due: Instant,
}

impl Pump<'_> {
    /// Carries bytes until the end or the cut. Dropped in between, it loses what it had read.
    pub(super) async fn run(mut self) -> Stopped {
        let mut queue = VecDeque::<Chunk>::new();
        let mut queued = 0;
        let mut last_due = Instant::now();
        let (mut ended, mut failed) = (false, false);
        let mut buffer = vec![0; MAX_CHUNK_BYTES];
        if self.is_at_cut() {
            return Stopped::AtCut;
        }
        loop {
            let due = queue.front().map(|chunk| chunk.due);
            // Asked before the timer is, which knows only whole milliseconds.
            if due.is_some_and(|due| due <= Instant::now())
                && let Some(chunk) = queue.pop_front()
            {
                queued -= chunk.bytes.len();
                match self.write(&chunk.bytes).await {
                    Ok(false) => continue,
                    Ok(true) => return Stopped::AtCut,
                    Err(_) => return Stopped::Failed,
                }
            }
            let reads = !ended && queued < MAX_QUEUED_BYTES && queue.len() < MAX_QUEUED_CHUNKS;
            if due.is_none() && ended {
                if failed {
                    return Stopped::Failed;
                }
                // The receiver may be gone already: it is over, either way.
                let _ = self.to.shutdown().await;
                return Stopped::Ended;
            }
            tokio::select! {
                () = sleep_until(due.unwrap_or(last_due)), if due.is_some() => {}
                read = self.from.read(&mut buffer), if reads => match read {
                    Ok(0) => ended = true,
                    Ok(size) => {
                        last_due = last_due.max(Instant::now() + self.delay());
                        queued += size;
                        let bytes = buffer.get(..size).unwrap_or_default().to_vec();
                        queue.push_back(Chunk { bytes, due: last_due });
                    }
                    // What came before it still goes on, as it would through a network.
                    Err(_) => (ended, failed) = (true, true),
                },
                // New settings may cut at 0 bytes.
                Ok(()) = self.faults.changed() => if self.is_at_cut() {
                    return Stopped::AtCut;
                },
            }
        }
    }

    fn is_at_cut(&mut self) -> bool {
        let faults = Arc::clone(&self.faults.borrow_and_update());
        matches!(self.budget.take(self.direction, 0, &faults), Allowed::Last(_))
    }

    fn delay(&mut self) -> Duration {
        let faults = Arc::clone(&self.faults.borrow());
        let (start, end) = (*faults.delay_ms.start(), *faults.delay_ms.end());
        let mut delay_ms = if start < end { self.rng.u64(start..=end) } else { start };
        if let Some(stall) = faults.stall
            && self.rng.u8(0..100) < stall.percent
        {
            self.shared.count(|counters| counters.stalls += 1);
            delay_ms = delay_ms.saturating_add(stall.for_ms);
        }
        // A year: the sum with the present must be a moment.
        Duration::from_millis(delay_ms.min(365 * 24 * 3_600_000))
    }

    /// Writes on, in pieces; whether the cut was reached.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut rest = bytes;
        let mut pauses = 0;
        while !rest.is_empty() {
            let faults = Arc::clone(&self.faults.borrow());
            let drawn = faults.split.map_or(rest.len(), |most| self.rng.usize(1..=most.max(1)));
            let (size, cut) = match self.budget.take(self.direction, drawn.min(rest.len()), &faults) {
                Allowed::Bytes(size) => (size, false),
                Allowed::Last(size) => (size, true),
                Allowed::Nothing => std::future::pending().await,
            };
            let (piece, after) = rest.split_at(size);
            rest = after;
            let writing = self.to.write_all(piece);
            if cut {
                // Not in time: then fewer arrive, rather than never an end.
                let written = timeout(Duration::from_millis(MAX_CUT_MS), writing).await;
                if matches!(written, Ok(Ok(()))) {
                    self.count(size);
                }
                return Ok(true);
            }
            writing.await?;
            self.count(size);
            if faults.split.is_some() && !rest.is_empty() && pauses < MAX_PAUSES && self.rng.bool() {
                pauses += 1;
                sleep(Duration::from_millis(PAUSE_MS)).await;
            }
        }
        Ok(false)
    }

    fn count(&self, size: usize) {
        self.shared.count(|counters| counters.bytes[self.direction] += size as u64);
    }
}
