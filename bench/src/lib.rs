//! Measures how fast the server is: the same load, workload by workload, on it and on its peers, in rounds with fresh processes.
//!
//! ```text
//! main -> roster, cases, schedule -> measure -> peers, process (start a server)
//!                                        -> load (sockets, clock, what clients do) -> dialect (bytes)
//!      -> result (JSON) -> report (tables, plots)
//! ```

pub mod body;
pub mod cases;
pub mod dialect;
pub mod load;
pub mod measure;
pub mod peers;
pub mod process;
pub mod report;
pub mod result;
pub mod roster;
pub mod schedule;
pub mod strace;

/// What was generated of `proto/`.
#[allow(dead_code, missing_docs, clippy::all, reason = "generated")]
pub mod schema {
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}
