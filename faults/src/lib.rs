//! Bad networks for tests: what a connection suffers, at will and again the same from a seed.
//!
//! Owns bytes on their way between two ends. Knows nothing of what they mean: it does not depend on
//! `tagwire`, whose tests depend on it.
//!
//! - [`ends`]: the two ends of a connection, its two directions, the ways it can be cut
//! - [`sim`]: a link in memory, on a clock that the caller turns; for state machines
//! - `proxy`: the same faults on real sockets; feature `proxy`
//! - the program `tagwire-faults`: the proxy for tests in any language; feature `program`
//!
//! ```text
//!            to server: split, delayed, stalled, cut at a byte
//!  client  ----------------------------------------------------->  server
//!          <-----------------------------------------------------
//!            to client: the same, by its own draws
//! ```

pub mod ends;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod sim;
