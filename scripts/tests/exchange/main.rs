//! The server of the game after the edit: relays what goes to the room, and gives back what its services are asked for.

use std::process::ExitCode;

use tagwire::service::{Context, Refusal};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated from proto/")]
mod schema {
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}

use schema::duel::v1::{
    ForgeReply, ForgeRequest, MendReply, MendRequest, Smithy, SmithyServer,
};

struct Fire;

impl Smithy for Fire {
    async fn mend(&self, _: Context, request: MendRequest) -> Result<MendReply, Refusal> {
        Ok(MendReply { weapon: request.weapon })
    }

    async fn forge(&self, _: Context, request: ForgeRequest) -> Result<ForgeReply, Refusal> {
        Ok(ForgeReply { weapon: request.weapon, sketches: request.sketches })
    }
}

fn main() -> ExitCode {
    tagwire_server::run(schema::schema(), |server| server.service(SmithyServer::new(Fire)))
}
