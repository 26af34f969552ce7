//! Measures the server and its peers.
fn main() {}
