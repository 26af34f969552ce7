//! The server of my_game. Logins, rooms, relayed messages and pings are done as the schema says;
//! here is what the game itself decides.

use std::collections::BTreeMap;
use std::process::ExitCode;

use tagwire::room::{Context, Player, Relayed, Room};
use tagwire::service::Refusal;

#[allow(dead_code, clippy::all, reason = "generated from proto/")]
mod schema {
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}

use schema::my_game::v1::{Chat, Dice, DiceServer, RollReply, RollRequest, Rolled};

/// Between two rolls of one player.
const REST_MS: u32 = 1000;

fn main() -> ExitCode {
    tagwire_server::run(schema::schema(), |server| {
        server.rooms(|_name| Game::default())
    })
}

/// One room with its players. All of its code runs in one order, so it needs no locks.
#[derive(Debug, Default)]
struct Game {
    /// When each player last rolled, on the room's clock.
    rolled_us: BTreeMap<u32, u64>,
}

impl Room for Game {
    /// What players send `to: HANDLER` would come here, as `schema::my_game::v1::FromClient`. The
    /// schema has no such message yet.
    type Message = ();
    type Services = DiceServer;

    fn message(&mut self, _: &mut Context<'_>, _: &Player, (): ()) {}

    /// What players send `to: ROOM` passes here on its way. False: nobody gets it.
    fn relay(&mut self, _: &mut Context<'_>, _: &Player, message: Relayed<'_>) -> bool {
        message
            .decode::<Chat>()
            .is_none_or(|chat| !chat.text.trim().is_empty())
    }

    fn left(&mut self, _: &mut Context<'_>, player: &Player) {
        self.rolled_us.remove(&player.id);
    }
}

impl Dice for Game {
    fn roll(
        &mut self,
        cx: &mut Context<'_>,
        player: &Player,
        _: RollRequest,
    ) -> Result<RollReply, Refusal> {
        let now_us = cx.now().monotonic_us;
        if let Some(before_us) = self.rolled_us.get(&player.id) {
            let passed_ms = u32::try_from((now_us - before_us) / 1000).unwrap_or(u32::MAX);
            if let wait_ms @ 1.. = REST_MS.saturating_sub(passed_ms) {
                return Err(Refusal::unavailable("the die still rolls", wait_ms));
            }
        }
        self.rolled_us.insert(player.id, now_us);
        let eyes = fastrand::u32(1..=6);
        cx.send_all(&Rolled {
            player: player.id,
            eyes,
        });
        Ok(RollReply { eyes })
    }
}

#[cfg(test)]
mod tests;
