//! Services in Rust: what a client is answered, whatever the game's code does.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::via::{End, each};
use common::*;
use tagwire::Tag;
use tagwire::pb::tagwire::v1::{self, status::Value as Status};
use tagwire::prost::Message as _;
use tagwire::service::{Context, Refusal};
use tagwire::session::client::Event;
use tagwire::session::requests::MAX_RUNNING;
use tagwire_server::{Config, Server, bind, read_schema};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod game {
    include!("../../codegen/tests/golden/lobby.rs");
}

use game::lobby::v1::{
    BanReply, BanRequest, Lobby, LobbyServer, PlayReply, PlayRequest, RenameReply, RenameRequest, Shout,
};

/// Does what the request says.
#[derive(Debug, Default)]
struct Plays {
    calls: Arc<AtomicU32>,
}

impl Lobby for Plays {
    async fn rename(&self, context: Context, request: RenameRequest) -> Result<RenameReply, Refusal> {
        match request.name.as_str() {
            "" => Err(Refusal::invalid("a name is needed")),
            "taken" => Err(Refusal::illegal("somebody has it").with_code(7)),
            "later" => Err(Refusal::unavailable("not now", 250)),
            name => Ok(RenameReply { name: format!("{} of {} in {}", name, context.name, context.room) }),
        }
    }

    async fn play(&self, _: Context, request: PlayRequest) -> Result<PlayReply, Refusal> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match request.what.as_str() {
            "sleep" => tokio::time::sleep(Duration::from_millis(request.ms.into())).await,
            "panic" => panic!("the secret of the server"),
            "illegal" => return Err(Refusal::illegal("no")),
            _ => {}
        }
        Ok(PlayReply { calls })
    }

    async fn ban(&self, _: Context, _: BanRequest) -> Result<BanReply, Refusal> {
        Ok(BanReply {})
    }
}

fn serve(change: impl FnOnce(&mut Config)) -> (TestServer, Arc<AtomicU32>) {
    let plays = Plays::default();
    let calls = Arc::clone(&plays.calls);
    let server =
        TestServer::with_game(game::schema(), change, |server| server.service(LobbyServer::new(plays)));
    (server, calls)
}

fn login(server: &TestServer, name: &str) -> Player {
    Player::login_by(game::schema(), End::connect(server.address), name, "welcome").unwrap()
}

fn play(what: &str, ms: u32) -> PlayRequest {
    PlayRequest { what: what.to_string(), ms }
}

fn request(key: u64, asked: &PlayRequest) -> v1::Request {
    v1::Request { key, tag: 301, body: asked.encode_to_vec().into() }
}

fn answer(player: &mut Player) -> v1::Response {
    player.wait(|event| match event {
        Event::Response(response) => Some(response),
        _ => None,
    })
}

fn calls(response: &v1::Response) -> u32 {
    assert_eq!(response.status(), Status::Ok, "{}", response.message);
    PlayReply::decode(response.body.clone()).unwrap().calls
}

each! {
fn a_request_is_answered_by_code() {
    let (server, _) = serve(|_| ());
    let mut player = login(&server, "zoe");
    let rename = |name: &str| RenameRequest { name: name.to_string() };
    let response = player.request(&rename("kit"));
    assert_eq!((response.status(), response.tag), (Status::Ok, 300));
    assert_eq!(RenameReply::decode(response.body).unwrap().name, "kit of zoe in main");
    for (name, status, message, code, retry_after_ms) in [
        ("", Status::Invalid, "a name is needed", 0, 0),
        ("taken", Status::Illegal, "somebody has it", 7, 0),
        ("later", Status::Unavailable, "not now", 0, 250),
    ] {
        let response = player.request(&rename(name));
        assert_eq!(
            (response.status(), response.message.as_str(), response.code, response.retry_after_ms),
            (status, message, code, retry_after_ms)
        );
        assert!(response.body.is_empty());
    }
    let response = player.request(&BanRequest { player: 1 });
    assert_eq!(response.status(), Status::Denied, "{}", response.message);
    for (status, count) in
        [("OK", 1.0), ("INVALID", 1.0), ("ILLEGAL", 1.0), ("DENIED", 1.0), ("UNAVAILABLE", 1.0)]
    {
        let name = format!("tagwire_requests_answered_total{{status=\"{status}\"}}");
        assert_eq!(server.metric(&name), count, "{status}");
    }
    assert_eq!(server.metric("tagwire_request_seconds_count{message=\"lobby.v1.RenameRequest\"}"), 4.0);
}

fn what_the_schema_does_not_admit_never_reaches_the_code() {
    let (server, calls) = serve(|_| ());
    let mut player = login(&server, "zoe");
    for (key, (tag, body, status, says)) in (1..).zip([
        (301, vec![0x0a, 1, 0xff], Status::Invalid, "what"),
        (300, vec![0x12; 41], Status::Invalid, "max_bytes 40"),
        (999, vec![], Status::Unknown, "tag 999"),
        (2, vec![], Status::Unknown, "lobby.v1.Shout"),
    ]) {
        player.send_bytes(&frame(&v1::Request { key, tag, body: body.into() }));
        let response = answer(&mut player);
        assert_eq!((response.key, response.status()), (key, status));
        assert!(response.message.contains(says), "{}", response.message);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    // A schema of which no code answers anything.
    let server = TestServer::with_schema(game::schema(), |_| ());
    let response = login(&server, "zoe").request(&play("", 0));
    assert_eq!(response.status(), Status::Unknown);
    assert_eq!(response.message, "no service here answers lobby.v1.PlayRequest");
}

/// Compiled, and read when the server starts.
fn a_broken_constraint_is_told_with_its_field_and_rule() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../codegen/tests/golden/lobby");
    for schema in [game::schema(), read_schema(&folder).unwrap()] {
        let server = TestServer::with_game(
            schema,
            |_| (),
            |server| server.service(LobbyServer::new(Plays::default())),
        );
        let mut player = login(&server, "zoe");
        let mut other = login(&server, "kit");
        let response = player.request(&RenameRequest { name: "ä".repeat(13) });
        assert_eq!(response.status(), Status::Invalid);
        let told = "lobby.v1.RenameRequest: name: string.max_len: must be at most 12 characters";
        assert_eq!(response.message, told);
        assert_eq!(player.request(&RenameRequest { name: "ä".repeat(12) }).status(), Status::Ok);

        player.send(&Shout { text: String::new() });
        let notice = player.wait(|event| match event {
            Event::Notice(notice) => Some(notice),
            _ => None,
        });
        assert_eq!((notice.reason(), notice.tag), (v1::reason::Value::Invalid, 2));
        assert_eq!(notice.text, "lobby.v1.Shout: text: string.min_len: must be at least 1 characters");
        player.send(&Shout { text: "hi".to_string() });
        let (_, tag, payload) = other.message();
        assert_eq!(
            (tag, payload),
            (Tag(2), Shout { text: "hi".to_string() }.encode_to_vec()),
            "and nothing before"
        );
    }
}

fn a_handler_that_takes_its_time_delays_nothing_else() {
    let (server, _) = serve(|config| config.threads = 1);
    let mut player = login(&server, "zoe");
    player.send_bytes(&frame(&request(1, &play("sleep", 4000))));
    let (mut pings, mut shouts) = (0, 0);
    while pings < 3 {
        if shouts == pings {
            player.send(&Shout { text: "still here".to_string() });
        }
        match player.next().unwrap() {
            Event::Ping(_) => pings += 1,
            Event::Message { tag: Tag(2), .. } => shouts += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(shouts >= 3, "{shouts} shouts");
    // Another request is not held up either.
    player.send_bytes(&frame(&request(2, &play("", 0))));
    assert_eq!(answer(&mut player).key, 2);
    assert_eq!(answer(&mut player).key, 1);
}

fn who_does_not_answer_in_time_is_given_up() {
    let (server, _) = serve(|config| config.limits.request_timeout_ms = 200);
    let mut player = login(&server, "zoe");
    let start = Instant::now();
    let response = player.request(&play("sleep", 60_000));
    assert_eq!((response.status(), response.may_have_run), (Status::Timeout, true));
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(calls(&player.request(&play("", 0))), 2);
}

fn a_panic_ends_its_request_alone_and_tells_nothing() {
    let (server, _) = serve(|_| ());
    let (mut player, mut other) = (login(&server, "zoe"), login(&server, "kit"));
    let response = player.request(&play("panic", 0));
    assert_eq!((response.status(), response.message.as_str()), (Status::Internal, "the server failed"));
    assert!(response.may_have_run);
    assert_eq!(calls(&player.request(&play("", 0))), 2);
    assert_eq!(calls(&other.request(&play("", 0))), 3);
}

fn sixteen_requests_of_a_session_run_at_once() {
    let (server, _) = serve(|_| ());
    let (mut player, mut other) = (login(&server, "zoe"), login(&server, "kit"));
    let many = MAX_RUNNING as u64 + 1;
    player.send_bytes(
        &(1..=many).flat_map(|key| frame(&request(key, &play("sleep", 500)))).collect::<Vec<u8>>(),
    );
    let refused = answer(&mut player);
    assert_eq!((refused.key, refused.status(), refused.may_have_run), (many, Status::Unavailable, false));
    assert_eq!(other.request(&play("", 0)).status(), Status::Ok, "nobody else is affected");
    let mut keys: Vec<_> = (1..many).map(|_| answer(&mut player).key).collect();
    keys.sort_unstable();
    assert_eq!(keys, (1..many).collect::<Vec<_>>());
    player.send_bytes(&frame(&request(many + 1, &play("", 0))));
    assert_eq!(answer(&mut player).status(), Status::Ok);
}

fn a_key_runs_once_however_often_it_is_sent() {
    let (server, count) = serve(|_| ());
    let mut player = login(&server, "zoe");
    let slow = frame(&request(1, &play("sleep", 300)));
    // Twice while it runs: one answer.
    player.send_bytes(&[slow.clone(), slow.clone(), frame(&request(2, &play("", 0)))].concat());
    assert_eq!((answer(&mut player).key, answer(&mut player).key), (2, 1));
    // When it has run: the answer that it got.
    player.send_bytes(&slow);
    assert_eq!(calls(&answer(&mut player)), 1);
    assert_eq!(count.load(Ordering::Relaxed), 2);
    // So many later it is forgotten: it is not run again, and nobody can tell whether it had.
    for key in 3..70 {
        player.send_bytes(&frame(&request(key, &play("", 0))));
        assert_eq!(answer(&mut player).key, key);
    }
    player.send_bytes(&slow);
    let forgotten = answer(&mut player);
    assert_eq!((forgotten.key, forgotten.status(), forgotten.may_have_run), (1, Status::Unavailable, true));
    assert_eq!(count.load(Ordering::Relaxed), 69);
}

fn a_batch_runs_in_order_and_stops_where_it_is_told_to() {
    let (server, count) = serve(|_| ());
    let mut player = login(&server, "zoe");
    let asked = [play("sleep", 100), play("illegal", 0), play("", 0)];
    let batch = |first: u64, stop_on_error| {
        let requests = (first..).zip(&asked).map(|(key, asked)| request(key, asked)).collect();
        frame(&v1::Batch { requests, stop_on_error })
    };
    player.send_bytes(&batch(1, false));
    let answers: Vec<_> = (0..3).map(|_| answer(&mut player)).map(|a| (a.key, a.status())).collect();
    assert_eq!(answers, [(1, Status::Ok), (2, Status::Illegal), (3, Status::Ok)]);
    player.send_bytes(&batch(4, true));
    let answers: Vec<_> = (0..3).map(|_| answer(&mut player)).collect();
    let last = answers.last().unwrap();
    assert_eq!((last.key, last.status(), last.may_have_run), (6, Status::Unavailable, false));
    assert_eq!(last.message, "an earlier request of the batch failed");
    assert_eq!(count.load(Ordering::Relaxed), 5);
    // Rooms are changed in a batch, too, and what follows is asked from there.
    let join = v1::JoinRoom { room: "red".to_string() };
    let rename = RenameRequest { name: "kit".to_string() };
    let requests = vec![
        v1::Request { key: 7, tag: 248, body: join.encode_to_vec().into() },
        v1::Request { key: 8, tag: 300, body: rename.encode_to_vec().into() },
    ];
    player.send_bytes(&frame(&v1::Batch { requests, stop_on_error: true }));
    assert_eq!(answer(&mut player).key, 7);
    assert_eq!(RenameReply::decode(answer(&mut player).body).unwrap().name, "kit of zoe in red");
}

fn a_request_runs_on_though_who_asked_is_gone() {
    let (server, count) = serve(|_| ());
    let mut player = login(&server, "zoe");
    player.send_bytes(&frame(&request(1, &play("sleep", 300))));
    while count.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    player.leave();
    server.wait_for("tagwire_sessions", 0.0);
    server.wait_for("tagwire_requests_answered_total{status=\"OK\"}", 1.0);
}

fn an_answer_waits_for_who_asked() {
    let (server, count) = serve(|_| ());
    let mut player = login(&server, "zoe");
    let before = count.load(Ordering::Relaxed);
    let key = player.session.request(&play("sleep", 300)).unwrap();
    player.flush();
    server.wait_for("tagwire_messages_received_total{message=\"lobby.v1.Shout\"}", 0.0);
    std::thread::sleep(Duration::from_millis(100));
    player.lose();
    server.wait_for("tagwire_sessions_away", 1.0);
    server.wait_for("tagwire_requests_answered_total{status=\"OK\"}", 1.0);
    // Asked, and cut off before it knows whether it was heard.
    let second = player.session.request(&play("", 0)).unwrap();
    assert!(player.come_back(server.address).unwrap().resumed);
    let mut answers = vec![];
    while answers.len() < 2 {
        if let Event::Response(response) = player.next().unwrap() {
            answers.push((response.key, response.status()));
        }
    }
    assert_eq!(answers, [(key, Status::Ok), (second, Status::Ok)]);
    assert_eq!(count.load(Ordering::Relaxed), before + 2, "each ran once");
}

/// Its session is over when it is its turn: nobody enters, and no empty room stays for ever.
fn who_is_gone_enters_no_room() {
    let (server, _) = serve(|_| ());
    let mut player = login(&server, "zoe");
    let join = v1::JoinRoom { room: "ghost".to_string() };
    let requests = vec![
        request(1, &play("sleep", 300)),
        v1::Request { key: 2, tag: 248, body: join.encode_to_vec().into() },
        request(3, &play("", 0)),
    ];
    player.send_bytes(&frame(&v1::Batch { requests, stop_on_error: false }));
    player.leave();
    server.wait_for("tagwire_sessions", 0.0);
    // The batch goes on to its end.
    server.wait_for("tagwire_request_seconds_count{message=\"lobby.v1.PlayRequest\"}", 2.0);
    assert_eq!(server.metric("tagwire_rooms"), 0.0);
    let mut kit = login(&server, "kit");
    assert_eq!(kit.join("ghost").status(), Status::Ok);
    server.wait_for("tagwire_rooms", 1.0);
}

fn two_services_for_one_request_are_no_server() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let serve = |server: Server| {
        runtime.block_on(async {
            let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
            server.serve(vec![listener], std::future::pending()).await.unwrap_err().to_string()
        })
    };
    let service = || LobbyServer::new(Plays::default());
    let twice = Server::new(Config::default(), game::schema()).service(service()).service(service());
    assert_eq!(serve(twice), "lobby.v1.Lobby and lobby.v1.Lobby both answer tag 300");
    let other = Server::new(Config::default(), tagwire::pb::schema()).service(service());
    assert_eq!(
        serve(other),
        "lobby.v1.Lobby answers tag 300, which is no request of the schema that is served"
    );
}
}
