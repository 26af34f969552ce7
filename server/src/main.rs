//! The server as shipped: the example game's messages, or those of `--schema`, and no code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tagwire_server::run(tagwire::pb::schema(), |server| server)
}
