//! A link in memory, for state machines: no I/O, no thread, no clock of its own.
//!
//! Times are microseconds on the caller's clock, which never goes back. Everything that is drawn comes from the
//! seed: the same plan, seed and calls give the same bytes at the same moments.
//!
//! ```
//! use tagwire_faults::ends::{Direction, Side};
//! use tagwire_faults::sim::{CutAt, Link, Plan};
//!
//! let plan = Plan { latency_us: 1_000, ..Plan::clean() }.with_cut(CutAt::new(Direction::ToServer, 3));
//! let mut link = Link::new(plan, 7, 0);
//! assert_eq!(link.write(Side::Client, 0, b"hello"), 5);
//! assert_eq!(link.read(Side::Server, 999), None);
//! assert_eq!(link.next_event_us(), Some(1_000));
//! assert_eq!(link.read(Side::Server, 1_000), Some(&b"hel"[..]));
//! assert!(link.is_ended(Side::Server, 1_000));
//! ```

mod link;
mod pipe;
mod plan;

pub use link::{Bytes, Link};
pub use plan::{CutAt, InFlight, Plan, Stall, StallAt};
