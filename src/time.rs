//! The time as an argument. This crate never asks a clock.

/// A moment, on the two clocks that the protocol needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since any fixed start, never going back: what is measured with.
    pub monotonic_us: u64,
    /// Microseconds since the Unix epoch: what is told to the other side.
    pub unix_us: u64,
}

impl Now {
    /// The moment `us` microseconds later.
    #[must_use]
    pub fn after_us(self, us: u64) -> Self {
        Now { monotonic_us: self.monotonic_us + us, unix_us: self.unix_us + us }
    }
}
