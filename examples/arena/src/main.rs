//! An authoritative game server, to copy and change: a room with a tick, a service of the room, one of the whole server.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tagwire::room::{Context, Flush, Options, Player, Relayed, Room};
use tagwire::service::{self, Refusal};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated from proto/")]
mod schema {
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}

use schema::coins::v1::{
    Arena, ArenaServer, BestReply, BestRequest, Chat, Collected, DashReply, DashRequest, FromClient, Pawn,
    Place, Scores, ScoresServer, Steer, World,
};

/// Fields from west to east, and from north to south.
const SIZE: i32 = 64;
const TICK_HZ: u32 = 20;
const COINS_TO_WIN: u32 = 10;
const DASH_STEPS: i32 = 8;
const TICKS_BETWEEN_DASHES: u64 = 20;

fn main() -> ExitCode {
    let best = Best::default();
    tagwire_server::run(schema::schema(), |server| {
        let service = ScoresServer::new(best.clone());
        server.rooms(move |_name| Coins::new(best.clone())).service(service)
    })
}

/// The best player of all rooms, shared by them and the service that tells it.
#[derive(Debug, Clone, Default)]
struct Best(Arc<Mutex<BestReply>>);

impl Best {
    fn get(&self) -> MutexGuard<'_, BestReply> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asked by anyone, from any room; several at once.
impl Scores for Best {
    async fn best(&self, _: service::Context, _: BestRequest) -> Result<BestReply, Refusal> {
        Ok(self.get().clone())
    }
}

/// One player in the arena.
#[derive(Debug, Default)]
struct Walker {
    place: Place,
    steer: Steer,
    coins: u32,
    /// No dash before this tick.
    rested: u64,
}

impl Walker {
    fn walk(&mut self, steps: i32) {
        let step = |at: i32, by: i32| (at + by.signum() * steps).clamp(0, SIZE - 1);
        self.place.east = step(self.place.east, self.steer.east);
        self.place.south = step(self.place.south, self.steer.south);
    }
}

/// One room: an arena with a coin in it. All of its code runs in one order, so it needs no locks.
#[derive(Debug)]
struct Coins {
    walkers: BTreeMap<u32, Walker>,
    coin: Place,
    best: Best,
}

impl Coins {
    fn new(best: Best) -> Self {
        Coins { walkers: BTreeMap::new(), coin: anywhere(), best }
    }

    /// Whoever stands on the coin has it.
    fn collect(&mut self, cx: &mut Context<'_>) {
        let Some((player, walker)) = self.walkers.iter_mut().find(|(_, walker)| walker.place == self.coin)
        else {
            return;
        };
        walker.coins += 1;
        self.coin = anywhere();
        cx.send_all(&Collected { player: *player, coins: walker.coins });
        let Some(player) = cx.player(*player) else { return };
        let mut best = self.best.get();
        if walker.coins > best.coins {
            *best = BestReply { name: player.name.to_string(), coins: walker.coins };
        }
        if walker.coins == COINS_TO_WIN {
            cx.end(format!("{} has won", player.name));
        }
    }
}

fn anywhere() -> Place {
    Place { east: fastrand::i32(0..SIZE), south: fastrand::i32(0..SIZE) }
}

impl Room for Coins {
    type Message = FromClient;
    type Services = ArenaServer;

    fn options(&self) -> Options {
        Options { tick_hz: TICK_HZ, flush: Flush::OnTick, max_members: 50 }
    }

    fn joined(&mut self, _: &mut Context<'_>, player: &Player) -> Result<(), Refusal> {
        self.walkers.insert(player.id, Walker { place: anywhere(), ..Walker::default() });
        Ok(())
    }

    fn message(&mut self, _: &mut Context<'_>, player: &Player, message: FromClient) {
        let Some(walker) = self.walkers.get_mut(&player.id) else { return };
        match message {
            FromClient::Steer(steer) => walker.steer = steer,
        }
    }

    fn relay(&mut self, _: &mut Context<'_>, _: &Player, message: Relayed<'_>) -> bool {
        message.decode::<Chat>().is_none_or(|chat| !chat.text.trim().is_empty())
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        self.walkers.values_mut().for_each(|walker| walker.walk(1));
        self.collect(cx);
        let pawn =
            |(player, of): (&u32, &Walker)| Pawn { player: *player, place: Some(of.place), coins: of.coins };
        let pawns = self.walkers.iter().map(pawn).collect();
        cx.send_all(&World { tick: cx.tick(), coin: Some(self.coin), pawns });
    }

    fn left(&mut self, _: &mut Context<'_>, player: &Player) {
        self.walkers.remove(&player.id);
    }
}

impl Arena for Coins {
    fn dash(&mut self, cx: &mut Context<'_>, player: &Player, _: DashRequest) -> Result<DashReply, Refusal> {
        let walker = self.walkers.get_mut(&player.id).ok_or_else(Refusal::internal)?;
        if walker.steer == Steer::default() {
            return Err(Refusal::illegal("you stand still"));
        }
        if let ticks @ 1.. = walker.rested.saturating_sub(cx.tick()) {
            let wait_ms = u32::try_from(ticks * 1000 / u64::from(TICK_HZ)).unwrap_or(u32::MAX);
            return Err(Refusal::unavailable("you are out of breath", wait_ms));
        }
        walker.rested = cx.tick() + TICKS_BETWEEN_DASHES;
        walker.walk(DASH_STEPS);
        let place = Some(walker.place);
        self.collect(cx);
        Ok(DashReply { place })
    }
}

#[cfg(test)]
mod tests;
