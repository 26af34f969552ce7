//! Tags: the numbers of messages on the wire.

use std::fmt;

/// The number of a message type on the wire, 1 to 65535. Unknown numbers are carried like known ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u16);

impl Tag {
    /// True for the numbers that belong to the stack: 0, 1, 3, 240 to 255 and 65280 to 65535.
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, 0 | 1 | 3 | 240..=255 | 65280..=65535)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
