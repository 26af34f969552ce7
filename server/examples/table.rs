//! The room of the tests as a program of its own, whose log and whose ending they look at.

#![allow(missing_docs)]

use std::process::ExitCode;

use tagwire::room::Options;

#[path = "../tests/common/table.rs"]
mod table;

fn main() -> ExitCode {
    tagwire_server::run(table::game::schema(), |server| {
        server.rooms(|name| {
            table::table(name, Options { tick_hz: 20, ..Options::default() }, &Default::default())
        })
    })
}
