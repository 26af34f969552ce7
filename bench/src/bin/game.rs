//! The server that is measured: the one that is shipped, with the messages of the workloads, a service that answers at once, and
//! rooms that collect what is sent to them. Its flags and settings are those of `tagwire-server`.

use std::process::ExitCode;

use tagwire::room::{Context, Flush, Options, Player, Room};
use tagwire::service::{self, Refusal};
use tagwire_bench::schema::bench::v1::{AskReply, AskRequest, Asking, AskingServer};
use tagwire_bench::schema::schema;

/// Of the rooms that collect: what is sent waits for up to 20 ms.
const TICK_HZ: u32 = 50;

fn main() -> ExitCode {
    tagwire_server::run(schema(), |server| {
        server.service(AskingServer::new(Answers)).rooms_named("tick-*", |_name| Collecting)
    })
}

/// Answers with what was asked.
#[derive(Debug)]
struct Answers;

impl Asking for Answers {
    async fn ask(&self, _: service::Context, asked: AskRequest) -> Result<AskReply, Refusal> {
        let AskRequest { sent_ns, number, kind, padding } = asked;
        Ok(AskReply { sent_ns, number, kind, padding })
    }
}

/// Relays as the rules of the schema say, and writes to the sockets once a tick.
#[derive(Debug)]
struct Collecting;

impl Room for Collecting {
    type Message = ();
    type Services = ();

    fn options(&self) -> Options {
        Options { tick_hz: TICK_HZ, flush: Flush::OnTick, ..Options::default() }
    }

    fn message(&mut self, _: &mut Context<'_>, _: &Player, (): ()) {}
}
