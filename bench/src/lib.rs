//! Measures how fast the server is: the same load, workload by workload, on it and on its peers, in rounds with fresh processes.
//!
//! ```text
//! main -> round -> peers (start a server) + workloads (what happens) -> load (sockets, clock) -> dialect (bytes)
//!      -> result (JSON) -> report (tables, plots)
//! ```

pub mod body;
pub mod cases;
pub mod dialect;
pub mod load;
pub mod measure;
pub mod peers;
pub mod process;
pub mod result;
pub mod roster;
pub mod strace;

/// What was generated of `proto/`.
#[allow(dead_code, missing_docs, clippy::all, reason = "generated")]
pub mod schema {
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}
