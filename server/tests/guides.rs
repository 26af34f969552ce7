//! The Rust in `docs/guides` and in the READMEs: every piece that is shown is a piece of a program, of this one or of
//! `examples/arena`, whose tests say that it does what the text says.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::{fs, io};

use common::{Player as Client, TestServer};
use tagwire::pb::tagwire::v1::status::Value as Status;
use tagwire::prost::Message as _;
use tagwire::room::{Context, Effect, Player, Relayed, Room, Table, To};
use tagwire::service::{self, Refusal};
use tagwire::session::client::Event;
use tagwire::{CloseCode, Message};
use tagwire_server::hook::{Hook, Passing, Verdict};
use tagwire_server::{Config, Server};
use tracing::{error, info};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod schema {
    include!("../../codegen/tests/golden/coins.rs");
}

use schema::coins::v1::{BestReply, BestRequest, Chat, Collected, FromClient, Scores, ScoresServer, Steer};

const GUIDES: [&str; 5] = [
    "docs/guides/schema.md",
    "docs/guides/rooms.md",
    "docs/guides/requests.md",
    "docs/guides/hooks.md",
    "docs/guides/auth.md",
];

/// A match of two players.
#[derive(Default)]
struct Match {
    running: bool,
}

impl Room for Match {
    type Message = FromClient;
    type Services = ();

    fn joined(&mut self, cx: &mut Context<'_>, player: &Player) -> Result<(), Refusal> {
        if self.running {
            return Err(Refusal::illegal("the match has begun").with_code(2));
        }
        self.running = cx.players().len() == 2;
        cx.send_all_but(player.id, &Collected { player: player.id, coins: 0 });
        Ok(())
    }

    fn message(&mut self, cx: &mut Context<'_>, player: &Player, message: FromClient) {
        match message {
            FromClient::Steer(steer) if steer.east.abs() > 1 || steer.south.abs() > 1 => {
                cx.kick(player.id, "one step at a time");
            }
            FromClient::Steer(_) => {}
        }
    }

    fn left(&mut self, cx: &mut Context<'_>, player: &Player) {
        if self.running {
            cx.end(format!("{} has left", player.name));
        }
    }
}

/// Tells each step to some.
struct Herald;

impl Room for Herald {
    type Message = FromClient;
    type Services = ();

    fn message(&mut self, cx: &mut Context<'_>, player: &Player, _: FromClient) {
        let news = Collected { player: player.id, coins: 1 };
        cx.send(player.id, &news); // to one
        cx.send_some([player.id, 7], &news); // to several; who is not inside gets nothing
        cx.send_all(&news); // to all
        cx.send_all_but(player.id, &news); // to all but one
    }

    fn relay(&mut self, _: &mut Context<'_>, _: &Player, message: Relayed<'_>) -> bool {
        message.decode::<Chat>().is_none_or(|chat| !chat.text.is_empty())
    }
}

/// Rooms of two kinds; those with another name have no code.
fn add_rooms(server: Server) -> Server {
    server.rooms_named("herald", |_name| Herald).rooms_named("match-*", |_name| Match::default())
}

/// The best player, kept in a file: the name, a space, the coins.
struct Kept {
    path: PathBuf,
}

impl Scores for Kept {
    async fn best(&self, context: service::Context, _: BestRequest) -> Result<BestReply, Refusal> {
        if context.room.is_empty() {
            return Err(Refusal::illegal("join an arena first").with_code(1));
        }
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || fs::read_to_string(path)).await;
        match read.map_err(io::Error::other).and_then(|text| text) {
            Ok(text) => {
                let (name, coins) = text.trim().rsplit_once(' ').unwrap_or_default();
                Ok(BestReply { name: name.to_string(), coins: coins.parse().unwrap_or_default() })
            }
            Err(error) => {
                error!("the scores cannot be read: {error}");
                Err(Refusal::internal())
            }
        }
    }
}

/// Logs the chat, takes a word out of it, and turns out who says another.
struct Polite;

impl Hook for Polite {
    fn incoming(&self, from: &Player, message: &mut Passing<'_>) -> Verdict {
        let Some(mut chat) = message.decode::<Chat>() else { return Verdict::Pass };
        if chat.text.contains("cheat") {
            return Verdict::Close { code: CloseCode(4500), reason: "no cheats here".to_string() };
        }
        info!("{}: {}", from.name, chat.text);
        chat.text = chat.text.replace("darn", "****");
        message.replace(chat.encode_to_vec());
        Verdict::Pass
    }
}

fn steer(east: i32) -> Steer {
    Steer { east, south: 0 }
}

fn collected(player: u32, coins: u32) -> Collected {
    Collected { player, coins }
}

fn serve(game: impl FnOnce(Server) -> Server) -> TestServer {
    TestServer::with_game(schema::schema(), |_| (), game)
}

fn login(server: &TestServer, name: &str) -> Client {
    Client::login_with(schema::schema(), TcpStream::connect(server.address).unwrap(), name, "welcome")
        .unwrap()
}

fn join(client: &mut Client, room: &str) -> tagwire::pb::tagwire::v1::Response {
    client.request(&tagwire::pb::tagwire::v1::JoinRoom { room: room.to_string() })
}

#[test]
fn a_match_takes_two_who_walk_step_by_step_and_ends_with_the_first_who_leaves() {
    let mut table = Table::new(Match::default());
    let zoe = table.join("zoe").unwrap();
    let kit = table.join("kit").unwrap();
    assert_eq!(table.sent::<Collected>()[1], (To::AllBut(kit), collected(kit, 0)));
    let refusal = table.join("max").unwrap_err();
    assert_eq!((refusal.status(), refusal.code()), (Status::Illegal, 2));
    assert!(table.effects().is_empty());

    table.send(zoe, &steer(1));
    assert!(table.effects().is_empty());
    table.send(zoe, &steer(5));
    table.leave(zoe);
    let effects: Vec<_> = table.effects().iter().collect();
    assert_eq!(
        effects,
        [Effect::Kick { player: zoe, reason: "one step at a time" }, Effect::End { reason: "zoe has left" }]
    );
}

#[test]
fn a_herald_tells_one_some_all_and_all_but_one() {
    let mut table = Table::new(Herald);
    let zoe = table.join("zoe").unwrap();
    table.send(zoe, &steer(1));
    let to: Vec<_> = table.sent::<Collected>().into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, [To::One(zoe), To::Some(vec![zoe, 7]), To::All, To::AllBut(zoe)]);
    assert!(table.relay(zoe, &Chat { text: "hi".to_string() }));
    assert!(!table.relay(zoe, &Chat::default()));
}

#[test]
fn names_say_which_code_a_room_runs() {
    let server = serve(add_rooms);
    let (mut zoe, mut kit, mut max) = (login(&server, "zoe"), login(&server, "kit"), login(&server, "max"));
    for client in [&mut zoe, &mut kit] {
        assert_eq!(join(client, "match-1").status(), Status::Ok);
    }
    let refused = join(&mut max, "match-1");
    assert_eq!((refused.status(), refused.code), (Status::Illegal, 2));
    assert_eq!(refused.message, "the match has begun");
    assert_eq!(join(&mut max, "match-2").status(), Status::Ok);
    assert_eq!(join(&mut max, "herald").status(), Status::Ok);
    max.send(&steer(1));
    let id = max.id();
    for _ in 0..3 {
        let (sender, tag, payload) = max.message();
        assert_eq!((sender, tag), (None, Collected::TAG));
        assert_eq!(Collected::decode(&*payload).unwrap(), collected(id, 1));
    }
    // No code: a Steer has nobody to take it.
    assert_eq!(join(&mut max, "elsewhere").status(), Status::Ok);
    max.send(&steer(1));
    max.wait(|event| matches!(event, Event::Notice(_)).then_some(()));
}

#[test]
fn a_service_waits_for_its_file_on_another_thread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best");
    let kept = Kept { path: path.clone() };
    let server = serve(move |server| server.service(ScoresServer::new(kept)));
    let mut zoe = login(&server, "zoe");
    let failed = zoe.request(&BestRequest {});
    assert_eq!((failed.status(), failed.message.as_str()), (Status::Internal, "the server failed"));
    fs::write(path, "kit of the hill 9\n").unwrap();
    let reply = BestReply::decode(zoe.request(&BestRequest {}).body).unwrap();
    assert_eq!(reply, BestReply { name: "kit of the hill".to_string(), coins: 9 });
}

#[test]
fn a_hook_changes_what_is_said_and_ends_sessions() {
    let server = serve(|server| server.hook(Polite));
    let mut zoe = login(&server, "zoe");
    zoe.send(&Chat { text: "darn it".to_string() });
    let (_, _, payload) = zoe.message();
    assert_eq!(Chat::decode(&*payload).unwrap().text, "**** it");
    zoe.send(&Chat { text: "cheat".to_string() });
    let ended = loop {
        if let Err(ended) = zoe.next() {
            break ended;
        }
    };
    assert_eq!((ended.code, ended.reason.as_str()), (Some(CloseCode(4500)), "no cheats here"));
}

/// Every constructor of a refusal, and the row that the guide has of it.
#[test]
fn the_table_of_refusals_is_right() {
    let guide = read("docs/guides/requests.md");
    for (shown, refusal) in [
        ("invalid(text)", Refusal::invalid("")),
        ("illegal(text)", Refusal::illegal("")),
        ("denied(text)", Refusal::denied("")),
        ("unknown(text)", Refusal::unknown("")),
        ("unavailable(text, ms)", Refusal::unavailable("", 1)),
        ("timeout()", Refusal::timeout()),
        ("internal()", Refusal::internal()),
    ] {
        let row = format!("\n| `Refusal::{shown}` | `{}` |", refusal.status().as_str_name());
        assert!(guide.contains(&row), "{row}");
    }
}

#[test]
fn the_limits_in_the_guides_are_the_defaults() {
    let limits = Config::default().to_commented_toml();
    let mut seen = 0;
    for name in GUIDES {
        // As in: `limits.max_rooms` (10000)
        let text = read(name).split_whitespace().collect::<Vec<_>>().join(" ");
        for shown in text.split("`limits.").skip(1) {
            let value = shown.split_once("` (").and_then(|(key, rest)| Some((key, rest.split_once(')')?.0)));
            let Some((key, value)) = value else { panic!("{name} has no default behind {shown:.40}") };
            assert!(limits.contains(&format!("\n{key} = {value}\n")), "{name}: {key} is not {value}");
            seen += 1;
        }
    }
    assert!(seen > 3, "{seen} limits");
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of the piece stand in the program one after the other, however far both are indented.
fn is_piece(program: &str, piece: &str) -> bool {
    (0..=16).step_by(4).any(|indent| {
        let indented: Vec<String> = piece
            .lines()
            .map(|line| if line.is_empty() { String::new() } else { format!("{:indent$}{line}", "") })
            .collect();
        format!("\n{program}").contains(&format!("\n{}\n", indented.join("\n")))
    })
}

#[test]
fn all_rust_that_is_shown_is_a_piece_of_a_program() {
    let programs = [
        "server/tests/guides.rs",
        "server/examples/sqlite.rs",
        "examples/arena/src/main.rs",
        "examples/arena/src/tests.rs",
    ]
    .map(read);
    let mut seen = 0;
    for name in GUIDES.into_iter().chain(["README.md", "examples/arena/README.md"]) {
        for block in read(name).split("```rust\n").skip(1) {
            let piece = block.split("```").next().unwrap().trim_end();
            assert!(
                programs.iter().any(|program| is_piece(program, piece)),
                "{name} shows what is nowhere:\n{piece}"
            );
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} pieces");
}
