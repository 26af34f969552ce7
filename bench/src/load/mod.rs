//! The generator of load: one thread, pinned, which reads and writes all clients' sockets. It costs less than the servers: a read
//! takes all there is, a turn writes each socket once, and messages are written and read by hand.

pub mod cpu;
pub mod crowd;
pub mod plays;

pub use crowd::{Crowd, Play};
pub use plays::{Tally, Workload};
