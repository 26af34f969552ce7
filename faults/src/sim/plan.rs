//! What a link will suffer.

use fastrand::Rng;

use crate::ends::{Cut, Direction, Side};

/// What a link will suffer. Its `Debug` is nearly the Rust that repeats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// From a write to its arrival, microseconds. Clean: 0.
    pub latency_us: u64,
    /// Added to each piece's way, drawn from 0 to this, microseconds. Never reorders: a piece that would overtake
    /// arrives with the one before it. Clean: 0.
    pub jitter_us: u64,
    /// Bytes a second that a direction carries. Clean: `None`, no limit.
    pub bytes_per_s: Option<u64>,
    /// Most bytes that come in one read, which is drawn from 1 to this; with jitter or `bytes_per_s`, also
    /// the most that travel together. Clean: `None`, a read takes all that has arrived.
    pub split: Option<usize>,
    /// Most bytes that one direction holds between its writer and its reader, as the buffers of two sockets do.
    /// What does not fit is not accepted. Clean: `usize::MAX`.
    pub capacity_bytes: usize,
    /// When a direction delivers nothing for a while. Clean: none.
    pub stalls: Vec<Stall>,
    /// Where the link is cut. Clean: nowhere.
    pub cut: Option<CutAt>,
}

/// A direction that delivers nothing for a while. What arrives meanwhile comes at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// Which stalls.
    pub direction: Direction,
    /// From when on.
    pub at: StallAt,
    /// How long, microseconds.
    pub for_us: u64,
}

/// When a stall begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StallAt {
    /// So many microseconds after the link began.
    Us(u64),
    /// When this byte is written, counted from 0 over the link's life: it and all after it wait.
    Byte(u64),
}

/// Where a link is cut, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutAt {
    /// The direction whose bytes are counted.
    pub direction: Direction,
    /// The first byte that is lost, counted from 0: so many arrive. The link breaks when the one before it arrives;
    /// at 0, one latency after the link began. Counted over the session, where a link has
    /// [an offset](super::Link::with_offsets).
    pub byte: u64,
    /// Who learns of it.
    pub cut: Cut,
    /// What becomes of the other direction's bytes on their way.
    pub in_flight: InFlight,
}

/// What becomes of the bytes on their way against the direction that was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum InFlight {
    /// What was not read before the link broke is lost.
    #[default]
    Lost,
    /// What was written before the link broke still arrives, and the end is noticed after it.
    Arrives,
    /// By the seed: all, nothing, or the first bytes of it arrive.
    Drawn,
}

impl InFlight {
    /// Each of the three, for loops.
    pub const ALL: [InFlight; 3] = [InFlight::Lost, InFlight::Arrives, InFlight::Drawn];
}

impl CutAt {
    /// Both ends are told; what is on its way back is lost.
    #[must_use]
    pub fn new(direction: Direction, byte: u64) -> Self {
        CutAt { direction, byte, cut: Cut::Both, in_flight: InFlight::Lost }
    }

    /// Any cut of a conversation that is `to_server` and `to_client` bytes long: direction, byte (the total itself
    /// too: after the last), who is told, what becomes of the rest.
    #[must_use]
    pub fn random(rng: &mut Rng, to_server: u64, to_client: u64) -> Self {
        let (direction, total) = match rng.bool() {
            true => (Direction::ToServer, to_server),
            false => (Direction::ToClient, to_client),
        };
        CutAt {
            direction,
            byte: rng.u64(0..=total),
            cut: *rng.choice(&Cut::ALL).unwrap_or(&Cut::Both),
            in_flight: *rng.choice(&InFlight::ALL).unwrap_or(&InFlight::Lost),
        }
    }
}

impl Plan {
    /// Nothing in the way: what is written can be read at once.
    #[must_use]
    pub fn clean() -> Self {
        Plan {
            latency_us: 0,
            jitter_us: 0,
            bytes_per_s: None,
            split: None,
            capacity_bytes: usize::MAX,
            stalls: Vec::new(),
            cut: None,
        }
    }

    /// Any mixture of faults without a cut: latency to 50 ms, jitter to 20 ms, pieces from 1 byte on, buffers from
    /// 16 bytes on, 10 kB/s and more, up to two stalls within the first second of up to 500 ms.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        // Each is off half of the time, so that faults meet alone, too.
        let stalls = if rng.bool() { rng.usize(1..=2) } else { 0 };
        Plan {
            latency_us: if rng.bool() { rng.u64(0..=50_000) } else { 0 },
            jitter_us: if rng.bool() { rng.u64(0..=20_000) } else { 0 },
            bytes_per_s: rng.bool().then(|| 10_000 << rng.u32(0..10)),
            // By powers: small pieces are where decoders go wrong.
            split: rng.bool().then(|| 1 << rng.u32(0..12)),
            capacity_bytes: if rng.bool() { 16 << rng.u32(0..14) } else { usize::MAX },
            stalls: (0..stalls).map(|_| Stall::random(rng)).collect(),
            cut: None,
        }
    }

    /// The same with a cut.
    #[must_use]
    pub fn with_cut(mut self, cut: CutAt) -> Self {
        self.cut = Some(cut);
        self
    }

    /// The same without a cut.
    #[must_use]
    pub fn uncut(mut self) -> Self {
        self.cut = None;
        self
    }
}

impl Default for Plan {
    fn default() -> Self {
        Plan::clean()
    }
}

impl Stall {
    fn random(rng: &mut Rng) -> Self {
        let direction = if rng.bool() { Side::Client } else { Side::Server }.sends();
        let at =
            if rng.bool() { StallAt::Us(rng.u64(0..1_000_000)) } else { StallAt::Byte(rng.u64(0..20_000)) };
        Stall { direction, at, for_us: rng.u64(1_000..=500_000) }
    }
}
