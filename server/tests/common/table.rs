//! The room of the tests: it does what is said in it.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tagwire::room::{Context, Options, Player as Member, Relayed, Room};
use tagwire::service::Refusal;

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod game {
    include!("../../../codegen/tests/golden/table.rs");
}

use game::table::v1::{
    CountReply, CountRequest, DealReply, DealRequest, Dealer, DealerServer, FromClient, Say, Shout, Step,
    Told, Umpire, UmpireServer, World,
};

/// Does what is said in it.
pub struct Table {
    name: String,
    heard: Vec<String>,
    asked: u32,
    x: BTreeMap<u32, i32>,
    /// Panics with the next tick.
    broken: bool,
    /// Each tick takes longer than the time between two.
    slow: bool,
    /// While it is false, "wait" waits.
    gate: Arc<AtomicBool>,
    options: Options,
}

impl Room for Table {
    type Message = FromClient;
    type Services = (DealerServer, UmpireServer);

    fn options(&self) -> Options {
        self.options
    }

    fn joined(&mut self, cx: &mut Context<'_>, player: &Member) -> Result<(), Refusal> {
        cx.send_all(&told(&format!("{} joins {} others", player.name, cx.players().len() - 1)));
        match &*player.name {
            "banned" => Err(Refusal::denied("you are banned").with_code(9)),
            "early" => Err(Refusal::unavailable("not yet", 700)),
            "bomb" => panic!("the secret of joined"),
            _ => Ok(()),
        }
    }

    fn message(&mut self, cx: &mut Context<'_>, player: &Member, message: FromClient) {
        let said = match message {
            FromClient::Say(said) => said.text,
            FromClient::Step(Step { x }) => {
                self.x.insert(player.id, x);
                return;
            }
        };
        self.heard.push(format!("{}: {said}", player.name));
        let others = cx.players().map(|other| other.id).filter(|id| *id != player.id);
        match said.as_str() {
            "panic" => {
                cx.send_all(&told("never"));
                panic!("the secret of message")
            }
            "break" => self.broken = true,
            "slow" => self.slow = true,
            "end" => cx.end("the game is over"),
            "big" => cx.send(player.id, &told(&"x".repeat(65_537))),
            "kick" => others.collect::<Vec<_>>().into_iter().for_each(|id| cx.kick(id, "out")),
            "some" => {
                cx.send_some(others.chain([player.id, player.id, 999]).collect::<Vec<_>>(), &told("some"))
            }
            "others" => cx.send_all_but(player.id, &told("others")),
            "me" => cx.send(player.id, &told("me")),
            "wait" => {
                while !self.gate.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            text => cx.send_all(&told(text)),
        }
    }

    fn relay(&mut self, cx: &mut Context<'_>, player: &Member, message: Relayed<'_>) -> bool {
        match message.decode::<Shout>() {
            Some(shout) if shout.text == "panic" => panic!("the secret of relay"),
            Some(shout) if shout.text == "rude" => {
                cx.send(player.id, &told("be nice"));
                false
            }
            _ => true,
        }
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        assert!(!self.broken, "the secret of tick");
        if self.slow {
            std::thread::sleep(Duration::from_millis(70));
        }
        if !self.x.is_empty() {
            cx.send_all(&World { tick: cx.tick(), x: self.x.clone().into_iter().collect() });
        }
    }

    fn away(&mut self, cx: &mut Context<'_>, player: &Member) {
        cx.send_all_but(player.id, &told(&format!("{} is away", player.name)));
        assert!(&*player.name != "away", "the secret of away");
    }

    fn back(&mut self, cx: &mut Context<'_>, player: &Member) {
        cx.send_all(&told(&format!("{} is back", player.name)));
        assert!(&*player.name != "back", "the secret of back");
    }

    fn left(&mut self, cx: &mut Context<'_>, player: &Member) {
        self.x.remove(&player.id);
        cx.send_all(&told(&format!("{} left {}", player.name, cx.players().len())));
        assert!(&*player.name != "last words", "the secret of left");
    }
}

impl Dealer for Table {
    fn deal(
        &mut self,
        cx: &mut Context<'_>,
        player: &Member,
        request: DealRequest,
    ) -> Result<DealReply, Refusal> {
        cx.send_all_but(player.id, &told("dealt"));
        match request.what.as_str() {
            "panic" => panic!("the secret of request"),
            "illegal" => Err(Refusal::illegal("not your turn")),
            _ => Ok(DealReply { room: self.name.clone(), heard: self.heard.clone() }),
        }
    }
}

impl Umpire for Table {
    fn count(&mut self, _: &mut Context<'_>, _: &Member, _: CountRequest) -> Result<CountReply, Refusal> {
        self.asked += 1;
        Ok(CountReply { count: self.asked })
    }
}

pub fn told(text: &str) -> Told {
    Told { text: text.to_string() }
}

pub fn say(text: &str) -> Say {
    Say { text: text.to_string() }
}

pub fn deal(what: &str) -> DealRequest {
    DealRequest { what: what.to_string() }
}

pub fn table(name: &str, options: Options, gate: &Arc<AtomicBool>) -> Table {
    assert!(name != "impossible", "the secret of the factory");
    Table {
        name: name.to_string(),
        heard: vec![],
        asked: 0,
        x: BTreeMap::new(),
        broken: false,
        slow: false,
        gate: Arc::clone(gate),
        options,
    }
}
