//! What the connections through a proxy will suffer.

use std::ops::RangeInclusive;

use fastrand::Rng;

use crate::ends::{Cut, Direction, Side};

/// What the connections through a proxy will suffer. Percentages above 100 are as 100.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// Where each connection is cut. Default: nowhere.
    pub cut: Option<CutAfter>,
    /// Of the connections that are cut, how many percent are half-open then. Default: 0.
    pub half_open_percent: u8,
    /// Who is not told when a connection becomes half-open. Default: [`HalfOpen::Drawn`].
    pub half_open: HalfOpen,
    /// How long an end that was not told is held open, not answering, milliseconds; then it is reset. Default: 10,000.
    pub half_open_ms: u64,
    /// Of the connections that are cut, how many percent end by RST instead of FIN, where an end is told. Default: 0.
    pub reset_percent: u8,
    /// Each chunk that was read waits so long before it goes on, milliseconds, drawn from the range. Never reorders: a
    /// chunk that would overtake goes with the one before it. Default: 0 to 0.
    pub delay_ms: RangeInclusive<u64>,
    /// Most bytes that are written in one go, which is drawn from 1 to this. At up to four places in each chunk (at most
    /// 16 KiB) it waits 1 ms, so that the reader sees it; other pieces the kernel may join. Default: `None`, as
    /// they came.
    pub split: Option<usize>,
    /// Chunks that make their direction wait. Default: `None`.
    pub stall: Option<Stalling>,
    /// Most connections at once, half-open ones among them; more wait in the kernel's queue. Default: 4,096.
    pub max_connections: usize,
}

/// After how many bytes a connection is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutAfter {
    /// Whose bytes are counted; `None`: those of both together.
    pub direction: Option<Direction>,
    /// Exactly so many bytes are written on, drawn from the range for each connection. 0 cuts it as it begins.
    pub bytes: RangeInclusive<u64>,
}

/// Who is not told when a connection becomes half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HalfOpen {
    /// The client, the server or both: drawn for each connection.
    #[default]
    Drawn,
    /// The client.
    Client,
    /// The server.
    Server,
    /// Neither is told.
    Both,
}

/// Chunks that make their direction wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalling {
    /// Of the chunks read, so many percent.
    pub percent: u8,
    /// How long, milliseconds.
    pub for_ms: u64,
}

/// How an end is told that the connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Close {
    /// By FIN: it reads all that was sent, then 0 bytes.
    #[default]
    Fin,
    /// By RST: it reads "connection reset", and perhaps not all that was sent before.
    Reset,
}

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct How {
    /// Who is told.
    pub cut: Cut,
    /// In which way.
    pub close: Close,
}

impl Faults {
    /// Bytes go on as they come.
    #[must_use]
    pub fn none() -> Self {
        Faults {
            cut: None,
            half_open_percent: 0,
            half_open: HalfOpen::Drawn,
            half_open_ms: 10_000,
            reset_percent: 0,
            delay_ms: 0..=0,
            split: None,
            stall: None,
            max_connections: 4_096,
        }
    }

    /// How a connection is cut, where nobody says it.
    pub(super) fn how(&self, rng: &mut Rng) -> How {
        // Always the same number of draws, so that a connection's later ones do not depend on these.
        let (half_open, close, drawn) = (rng.u8(0..100), rng.u8(0..100), rng.u8(0..3));
        let blind = match (self.half_open, drawn) {
            (HalfOpen::Client, _) | (HalfOpen::Drawn, 0) => Cut::HalfOpen { blind: Side::Client },
            (HalfOpen::Server, _) | (HalfOpen::Drawn, 1) => Cut::HalfOpen { blind: Side::Server },
            (HalfOpen::Both | HalfOpen::Drawn, _) => Cut::Silent,
        };
        How {
            cut: if half_open < self.half_open_percent { blind } else { Cut::Both },
            close: if close < self.reset_percent { Close::Reset } else { Close::Fin },
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Faults::none()
    }
}
