//! Rooms with code: what they are told, what they do, how they end.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::program::{Program, command_of_example};
use common::table::game;
use common::table::game::table::v1::{CountReply, CountRequest, DealReply, Move, Shout, Step, Told, World};
use common::table::{deal, say, table};
use common::via::{End, each};
use common::*;
use rustix::process::Signal;
use tagwire::pb::tagwire::v1::{self, member::event::Value as Change, reason, status::Value as Status};
use tagwire::prost::Message as _;
use tagwire::room::{Flush, Options};
use tagwire::session::client::Event;
use tagwire::{CloseCode, Message};
use tagwire_server::auth::{Attempt, Authenticator, Denied, Identity};
use tagwire_server::{Config, Server, bind, read_schema};

/// Rooms whose name begins with "table" have code; so has "impossible", which cannot be made.
fn serve(options: Options, change: impl FnOnce(&mut Config)) -> (TestServer, Arc<AtomicBool>) {
    let gate = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&gate);
    let server = TestServer::with_game(game::schema(), change, move |server| {
        let other = Arc::clone(&opened);
        server
            .rooms_named("impossible", move |name| table(name, options, &other))
            .rooms_named("table*", move |name| table(name, options, &opened))
    });
    (server, gate)
}

fn at_a_table() -> TestServer {
    serve(Options::default(), |config| config.default_room = "table".to_string()).0
}

const TICKS: Options = Options { tick_hz: 20, flush: Flush::OnTick, max_members: usize::MAX };

fn try_login(server: &TestServer, name: &str) -> Result<Player, Ended> {
    Player::login_by(game::schema(), End::connect(server.address), name, "welcome")
}

fn login(server: &TestServer, name: &str) -> Player {
    try_login(server, name).unwrap()
}

/// The next thing that the room tells.
fn hear(player: &mut Player) -> String {
    player.wait(|event| match event {
        Event::Message { tag, payload, sender } if tag == Told::TAG => {
            assert_eq!(sender, None, "the server says it");
            Some(Told::decode(payload).unwrap().text)
        }
        _ => None,
    })
}

fn ended_room(player: &mut Player) -> v1::RoomEnded {
    player.wait(|event| match event {
        Event::RoomEnded(ended) => Some(ended),
        _ => None,
    })
}

fn hear_what(player: &mut Player, text: &str) -> String {
    loop {
        let heard = hear(player);
        if heard == text {
            return heard;
        }
    }
}

/// The schema of a client that was made before there was a World; its Told has no text yet.
fn older_schema() -> tagwire::Schema {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../codegen/tests/golden/table/table.proto");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, after) = text.split_once("// Where everybody is").unwrap();
    let (_, after) = after.split_once("}\n").unwrap();
    let (told, rest) = before.split_once("// What the room tells.").unwrap();
    let rest = rest.replacen("  // Set by the server.\n  string text = 1;\n", "", 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table.proto");
    std::fs::write(&file, format!("{told}{rest}{after}")).unwrap();
    read_schema(&file).unwrap()
}

/// Panics over one name.
#[derive(Debug)]
struct Fragile;

impl Authenticator for Fragile {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        assert!(attempt.login.username != "bomb", "the secret of the authenticator");
        Ok(Identity::new(&attempt.login.username, tagwire::Access::Player))
    }
}

each! {
fn a_room_hears_who_comes_says_something_and_goes() {
    let server = at_a_table();
    let mut a = login(&server, "a");
    assert_eq!(hear(&mut a), "a joins 0 others");
    let mut b = login(&server, "b");
    // Welcome, then who is there, then what the room says: to a newcomer as to the others.
    assert!(matches!(b.next(), Ok(Event::Member(member)) if member.event() == Change::Present));
    assert_eq!(hear(&mut b), "b joins 1 others");
    assert_eq!(hear(&mut a), "b joins 1 others");
    for (text, hears_a, hears_b) in [
        ("hello", Some("hello"), Some("hello")),
        ("me", Some("me"), None),
        ("others", None, Some("others")),
        ("some", Some("some"), Some("some")),
        ("to all", Some("to all"), Some("to all")),
    ] {
        a.send(&say(text));
        for (player, hears) in [(&mut a, hears_a), (&mut b, hears_b)] {
            if let Some(text) = hears {
                assert_eq!(hear(player), text);
            }
        }
    }
    a.send(&Shout { text: "rude".to_string() });
    assert_eq!(hear(&mut a), "be nice");
    a.send(&Shout { text: "hey".to_string() });
    let (sender, tag, payload) = b.message();
    assert_eq!((sender, tag), (Some(a.id()), Shout::TAG), "the first was vetoed");
    assert_eq!(Shout::decode(payload.as_slice()).unwrap().text, "hey");
    assert_eq!(server.metric("tagwire_messages_dropped_total{reason=\"VETOED\"}"), 1.0);
    a.leave();
    assert_eq!(hear(&mut b), "a left 1");
    b.leave();
    server.wait_for("tagwire_rooms", 0.0);
    let metrics = server.stop();
    assert_eq!(metrics.snapshot()["tagwire_tasks"], 0.0);
}

fn a_room_hears_who_is_away_and_who_is_back() {
    let server = at_a_table();
    let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
    assert_eq!(
        (hear(&mut a), hear(&mut a)),
        ("a joins 0 others".to_string(), "b joins 1 others".to_string())
    );
    assert_eq!(hear(&mut b), "b joins 1 others");
    b.lose();
    assert_eq!(hear(&mut a), "b is away");
    a.send(&say("he may hear this later"));
    assert_eq!(hear(&mut a), "he may hear this later");
    assert!(b.come_back(server.address).unwrap().resumed);
    assert_eq!(hear(&mut a), "b is back");
    assert_eq!((hear(&mut b), hear(&mut b)), ("he may hear this later".to_string(), "b is back".to_string()));
    b.lose();
    assert_eq!(hear(&mut a), "b is away");
    // Everybody else is thrown out; who is away is told by nobody.
    a.send(&say("kick"));
    assert_eq!(hear(&mut a), "b left 1");
    assert!(!b.come_back(server.address).unwrap().resumed);
}

fn a_room_answers_requests_in_its_order() {
    let server = at_a_table();
    let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
    a.send(&say("first"));
    let response = a.request(&deal(""));
    let reply = DealReply::decode(response.body).unwrap();
    assert_eq!((reply.room.as_str(), reply.heard), ("table", vec!["a: first".to_string()]));
    let response = a.request(&deal("illegal"));
    assert_eq!((response.status(), response.message.as_str()), (Status::Illegal, "not your turn"));
    a.send(&say("heard"));
    let heard: Vec<_> = (0..3).map(|_| hear(&mut b)).collect();
    assert_eq!(heard, ["b joins 1 others", "first", "dealt"]);
    assert_eq!(hear(&mut b), "heard", "what a refused request did was not done");
    let count = CountReply::decode(b.request(&CountRequest {}).body).unwrap();
    assert_eq!(count.count, 1, "another service of the same room");
    // Elsewhere nothing answers it.
    a.join("elsewhere");
    let response = a.request(&deal(""));
    assert_eq!(
        (response.status(), response.message.as_str()),
        (Status::Unknown, "no service here answers table.v1.DealRequest")
    );
    a.send(&say("anyone"));
    let notice = a.wait(|event| match event {
        Event::Notice(notice) => Some(notice),
        _ => None,
    });
    assert_eq!(notice.reason(), reason::Value::Unhandled, "{}", notice.text);
}

fn a_room_refuses_who_may_not_come_in() {
    let (server, _) = serve(Options { max_members: 2, ..Options::default() }, |_| ());
    let mut a = login(&server, "a");
    assert_eq!(a.join("table").status(), Status::Ok);
    assert_eq!(hear(&mut a), "a joins 0 others");
    let mut banned = login(&server, "banned");
    let response = banned.join("table");
    assert_eq!(
        (response.status(), response.message.as_str(), response.code),
        (Status::Denied, "you are banned", 9)
    );
    // It is where it was, and hears nothing of the room; nor does the room of it.
    let mut b = login(&server, "b");
    b.send(&Shout { text: "still in main".to_string() });
    assert_eq!(banned.message().1, Shout::TAG);
    assert_eq!(login(&server, "early").join("table").retry_after_ms, 700);
    assert_eq!(b.join("table").status(), Status::Ok);
    assert_eq!(hear(&mut a), "b joins 1 others");
    let response = login(&server, "c").join("table");
    assert_eq!(
        (response.status(), response.message.as_str()),
        (Status::Unavailable, "the room is full (2 members)")
    );
    // Those whom nobody wanted leave no room behind.
    assert_eq!(banned.join("table2").status(), Status::Denied);
    server.wait_for("tagwire_rooms", 2.0);
}

fn a_refused_login_is_told_why_and_leaves_nothing() {
    let server = at_a_table();
    let refused = |name: &str| match try_login(&server, name) {
        Ok(_) => panic!("{name} is inside"),
        Err(ended) => (ended.code.unwrap(), ended.reason, ended.retry_after_ms),
    };
    assert_eq!(refused("banned"), (CloseCode::LOGIN_REFUSED, "you are banned".to_string(), 0));
    assert_eq!(refused("early"), (CloseCode::OVERLOAD, "not yet".to_string(), 700));
    assert_eq!(refused("bomb"), (CloseCode::OVERLOAD, "the server failed".to_string(), 0));
    for gauge in ["tagwire_connections", "tagwire_sessions", "tagwire_rooms"] {
        server.wait_for(gauge, 0.0);
    }
    assert_eq!(server.metric("tagwire_logins_granted_total"), 0.0);
    login(&server, "a");
}

fn the_response_to_a_change_of_rooms_stands_between_them() {
    let (server, _) = serve(Options::default(), |config| {
        config.limits.max_joins_per_second = 0;
        config.limits.max_frames_per_second = 0;
    });
    let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
    for round in 0..20 {
        let (from, to) = (format!("table{round}"), format!("table{}", round + 1));
        b.join(&from);
        a.join(&from);
        // What b says reaches a before the answer or not at all.
        let mut moved = false;
        b.send_bytes(&(0..100).flat_map(|_| frame(&say("here"))).collect::<Vec<u8>>());
        let key = a.session.request(&v1::JoinRoom { room: to.clone() }).unwrap();
        a.flush();
        let own = "a joins 0 others";
        a.wait(|event| match event {
            Event::Response(response) if response.key == key => {
                moved = true;
                None
            }
            Event::Message { payload, .. } if moved => {
                assert_eq!(Told::decode(payload).unwrap().text, own);
                Some(())
            }
            Event::Member(_) if moved => panic!("nobody else is there"),
            _ => None,
        });
    }
}

fn a_room_may_end_and_send_players_away() {
    let server = at_a_table();
    let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
    let mut classic = Classic::connect(server.address);
    classic.login("c", "welcome");
    assert_eq!(hear(&mut b), "b joins 1 others");
    assert_eq!(hear(&mut b), "c joins 2 others");
    b.send(&say("end"));
    for player in [&mut a, &mut b] {
        let ended = ended_room(player);
        assert_eq!((ended.room.as_str(), ended.reason.as_str()), ("table", "the game is over"));
    }
    classic.rest();
    server.wait_for("tagwire_rooms", 0.0);
    // In no room nobody is heard; in the next, everything is new.
    a.send(&Shout { text: "anyone".to_string() });
    let notice = a.wait(|event| match event {
        Event::Notice(notice) => Some(notice),
        _ => None,
    });
    assert_eq!(notice.reason(), reason::Value::Roomless);
    assert_eq!(notice.text, "table.v1.Shout goes to a room, and you are in none");
    let response = a.request(&deal(""));
    assert_eq!(
        (response.status(), response.message.as_str()),
        (Status::Unavailable, "table.v1.DealRequest is answered by rooms, and you are in none")
    );
    assert_eq!(a.join("table").status(), Status::Ok);
    assert_eq!(hear(&mut a), "a joins 0 others");
    assert!(DealReply::decode(a.request(&deal("")).body).unwrap().heard.is_empty());
    assert_eq!(b.join("table").status(), Status::Ok);
    assert_eq!(hear(&mut a), "b joins 1 others");
    a.send(&say("kick"));
    let ended = b.ended();
    assert_eq!((ended.code, ended.reason.as_str()), (Some(CloseCode::KICKED), "out"));
    assert_eq!(hear(&mut a), "b left 1");
}

fn a_message_that_no_client_takes_is_not_sent() {
    let server = at_a_table();
    let mut a = login(&server, "a");
    assert_eq!(hear(&mut a), "a joins 0 others");
    a.send(&say("big"));
    a.send(&say("after"));
    assert_eq!(hear(&mut a), "after");
}

/// Each ends the room and nothing else; what the panic said is told to nobody.
fn a_panic_ends_the_room_alone() {
    type Act = fn(&TestServer, &mut Player);
    let acts: [(&str, Act); 8] = [
        ("joined", |server, _| {
            let mut player = login(server, "bomb");
            let response = player.join("table");
            player.leave();
            assert_eq!(
                (response.status(), response.message.as_str()),
                (Status::Internal, "the server failed")
            );
        }),
        ("message", |_, player| player.send(&say("panic"))),
        ("relay", |_, player| player.send(&Shout { text: "panic".to_string() })),
        ("tick", |_, player| player.send(&say("break"))),
        ("left", |server, _| {
            let mut player = login(server, "last words");
            player.join("table");
            player.leave();
        }),
        ("away", |server, _| {
            let mut player = login(server, "away");
            player.join("table");
            player.lose();
            server.wait_for("tagwire_sessions_away", 1.0);
            assert!(player.come_back(server.address).unwrap().resumed);
            player.leave();
        }),
        ("back", |server, _| {
            let mut player = login(server, "back");
            player.join("table");
            player.lose();
            assert!(player.come_back(server.address).unwrap().resumed);
            player.leave();
        }),
        ("request", |_, player| {
            let response = player.request(&deal("panic"));
            assert_eq!(
                (response.status(), response.message.as_str()),
                (Status::Internal, "the server failed")
            );
            assert!(response.may_have_run);
        }),
    ];
    let (server, _) = serve(TICKS, |_| ());
    let mut elsewhere = login(&server, "elsewhere");
    elsewhere.join("table of others");
    let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
    for (count, (what, act)) in acts.into_iter().enumerate() {
        assert_eq!((a.join("table").status(), b.join("table").status()), (Status::Ok, Status::Ok), "{what}");
        act(&server, &mut a);
        for player in [&mut a, &mut b] {
            let ended = player.wait(|event| match event {
                Event::RoomEnded(ended) => Some(ended),
                Event::Message { payload, .. } => {
                    let text = Told::decode(payload).unwrap().text;
                    assert!(text != "never" && text != "dealt", "{what}: {text}");
                    None
                }
                _ => None,
            });
            assert_eq!((ended.room.as_str(), ended.reason.as_str()), ("table", "the room failed"), "{what}");
        }
        server.wait_for("tagwire_rooms_failed_total", count as f64 + 1.0);
        elsewhere.send(&say(what));
        assert_eq!(hear_what(&mut elsewhere, what), what);
    }
    let response = a.join("impossible");
    assert_eq!(response.status(), Status::Unavailable, "{}", response.message);
    server.wait_for("tagwire_rooms_failed_total", 9.0);
    [a, b, elsewhere].into_iter().for_each(Player::leave);
    for gauge in ["tagwire_connections", "tagwire_sessions", "tagwire_rooms"] {
        server.wait_for(gauge, 0.0);
    }
    assert_eq!(server.stop().snapshot()["tagwire_tasks"], 0.0);
}

fn a_tick_tells_all_at_once_and_the_newest_of_each() {
    let (server, _) = serve(TICKS, |config| config.default_room = "table".to_string());
    let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
    for x in 1..=50 {
        a.send(&Move { x });
    }
    a.send(&Step { x: 7 });
    let mut moves = vec![];
    let world = b.wait(|event| match event {
        Event::Message { tag, payload, sender } if tag == Move::TAG => {
            assert_eq!(sender, Some(a.id()));
            moves.push(Move::decode(payload).unwrap().x);
            None
        }
        Event::Message { tag, payload, .. } if tag == World::TAG => Some(World::decode(payload).unwrap()),
        _ => None,
    });
    assert_eq!(world.x[&a.id()], 7);
    assert!(world.tick > 0);
    assert_eq!(moves.last(), Some(&50));
    assert!(moves.len() <= 10, "{moves:?}: fifty within a moment are the newest of a few ticks");
    assert!(server.metric("tagwire_messages_conflated_total") >= 40.0);
    let ticks = server.metric("tagwire_tick_seconds_count");
    let next: Vec<_> = (0..20)
        .map(|_| {
            b.wait(|event| match event {
                Event::Message { tag, payload, .. } if tag == World::TAG => {
                    Some(World::decode(payload).unwrap().tick)
                }
                _ => None,
            })
        })
        .collect();
    assert!(next.windows(2).all(|two| two[1] == two[0] + 1), "{next:?}");
    assert!(server.metric("tagwire_tick_seconds_count") >= ticks + 18.0);
}

fn ticks_that_take_too_long_keep_no_message_waiting() {
    let (server, _) = serve(TICKS, |config| config.default_room = "table".to_string());
    let mut a = login(&server, "a");
    a.send(&say("slow"));
    let start = Instant::now();
    while server.metric("tagwire_ticks_overrun_total") < 5.0 {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..3 {
        assert_eq!(a.request(&CountRequest {}).status(), Status::Ok);
    }
    let mut b = login(&server, "b");
    assert_eq!(b.request(&CountRequest {}).status(), Status::Ok);
    [a, b].into_iter().for_each(Player::leave);
    server.wait_for("tagwire_rooms", 0.0);
}

/// What was read and had no space in the room's mailbox when the connection was lost is neither lost nor said twice.
fn what_waits_before_a_full_mailbox_outlives_the_connection() {
    let (server, gate) = serve(Options::default(), |config| {
        config.limits.max_room_mailbox_bytes = 16 * 1024;
        config.limits.max_frames_per_second = 0;
    });
    let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
    assert_eq!((a.join("table").status(), b.join("table").status()), (Status::Ok, Status::Ok));
    a.send(&say("wait"));
    for round in 0..3 {
        for number in 0..50 {
            a.send(&say(&format!("number {}", round * 50 + number)));
        }
        // Sixteen in the mailbox, of which the first waits, and one before it.
        server.wait_for("tagwire_messages_received_total{message=\"table.v1.Say\"}", 17.0);
        a.lose();
        server.wait_for("tagwire_sessions_away", 1.0);
        assert!(a.come_back(server.address).unwrap().resumed);
    }
    gate.store(true, Ordering::Relaxed);
    let texts = std::iter::from_fn(|| Some(hear(&mut b))).filter(|text| text.starts_with("number "));
    for (number, text) in texts.take(150).enumerate() {
        assert_eq!(text, format!("number {number}"));
    }
    a.send(&say("and no more"));
    assert_eq!(hear(&mut b), "and no more");
}

/// While the code of a room does not come back, its mailbox fills: who sends is not read from, is pinged all the same,
/// and loses nothing; who does not send is not affected.
fn a_full_mailbox_stops_those_who_fill_it() {
    let (server, gate) = serve(Options::default(), |config| {
        config.limits.max_room_mailbox_bytes = 16 * 1024;
        config.limits.max_frames_per_second = 0;
        config.limits.peer_timeout_ms = 2000;
        config.limits.request_timeout_ms = 600;
    });
    let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
    assert_eq!((a.join("table").status(), b.join("table").status()), (Status::Ok, Status::Ok));
    a.send(&say("wait"));
    server.wait_for("tagwire_messages_received_total{message=\"table.v1.Say\"}", 1.0);
    // What waits in the mailbox is given up, too.
    assert_eq!(b.request(&CountRequest {}).status(), Status::Timeout);
    let texts: Vec<_> = (0..200).map(|number| format!("number {number}")).collect();
    for text in &texts {
        a.send(&say(text));
    }
    let start = Instant::now();
    let mut pings = BTreeSet::new();
    while start.elapsed() < Duration::from_millis(3500) {
        for player in [&mut a, &mut b] {
            let ping = player.wait(|event| match event {
                Event::Ping(ping) => Some(ping),
                _ => None,
            });
            pings.insert((player.id(), ping.sent_epoch));
        }
    }
    assert!(pings.len() >= 6, "{pings:?}: both are pinged, and inside for longer than a silent peer may be");
    let taken = server.metric("tagwire_messages_received_total{message=\"table.v1.Say\"}");
    assert!(taken <= 20.0, "{taken} messages were read, and the mailbox holds sixteen");
    // A request waits for its turn, but not for ever, and is not run when it was given up.
    let response = b.request(&CountRequest {});
    assert_eq!((response.status(), response.may_have_run), (Status::Timeout, true));
    gate.store(true, Ordering::Relaxed);
    assert_eq!(hear_what(&mut b, "number 0"), "number 0");
    for text in &texts[1..] {
        assert_eq!(&hear(&mut b), text, "nothing is lost, and all in order");
    }
    let reply = DealReply::decode(b.request(&deal("")).body).unwrap();
    assert_eq!(reply.heard.len(), 201);
    let count = CountReply::decode(b.request(&CountRequest {}).body).unwrap();
    assert_eq!(count.count, 1, "what was given up was not run");
}

fn each_gets_what_it_can_understand() {
    let (server, _) = serve(TICKS, |config| config.default_room = "table".to_string());
    let mut new = login(&server, "new");
    let older_schema = older_schema();
    let mut older = Player::login_by(older_schema.clone(), End::connect(server.address), "older", "welcome").unwrap();
    assert!(older.offered, "it was compared");
    let mut classic = Classic::connect(server.address);
    classic.login("classic", "welcome");
    assert_eq!(hear_what(&mut new, "classic joins 2 others"), "classic joins 2 others");
    // A classic client acts as any other, and is heard of as a player.
    classic.send(&[frame(&Step { x: 4 }), frame(&Move { x: 5 })].concat());
    older.send(&Shout { text: "hey".to_string() });
    new.send(&say(&"x".repeat(300)));
    new.send(&say("bye"));

    let (mut moved, mut shouted, mut world) = (None, None, None);
    while moved.is_none() || shouted.is_none() || world.is_none() {
        let (sender, tag, payload) = new.message();
        match tag {
            Move::TAG => moved = Some((sender.unwrap(), Move::decode(payload.as_slice()).unwrap().x)),
            Shout::TAG => shouted = sender,
            World::TAG => world = Some(World::decode(payload.as_slice()).unwrap()),
            _ => {}
        }
    }
    let (mover, x) = moved.unwrap();
    assert_eq!((x, shouted), (5, Some(older.id())));
    assert_eq!(world.unwrap().x[&mover], 4);

    // The older one reads what it knows, and drops what it does not.
    let (mut tags, mut dropped) = (BTreeSet::new(), BTreeSet::new());
    while !(tags.contains(&Move::TAG) && tags.contains(&Told::TAG) && dropped.contains(&World::TAG)) {
        match older.next().unwrap() {
            Event::Message { tag, payload, .. } => {
                assert!(
                    older_schema.get(tag).is_some_and(|(_, info)| (info.check)(&payload).is_ok()),
                    "{tag}"
                );
                tags.insert(tag);
            }
            Event::Dropped(tag) => drop(dropped.insert(tag)),
            _ => {}
        }
    }
    assert_eq!(dropped, BTreeSet::from([World::TAG]));

    // The classic one gets the bare messages that fit its frames, and nothing of the stack's.
    let (mut tags, mut told) = (BTreeSet::new(), vec![]);
    while !(tags.contains(&Shout::TAG.0) && tags.contains(&World::TAG.0) && told.contains(&"bye".to_string()))
    {
        let (tag, payload) = classic.next_message().unwrap();
        tags.insert(tag);
        assert!(tag < 240 && payload.len() < 256, "tag {tag}");
        if tag == Told::TAG.0 {
            told.push(Told::decode(payload.as_slice()).unwrap().text);
        }
    }
    assert!(!tags.contains(&Move::TAG.0), "its own");
    assert_eq!(server.metric("tagwire_messages_unfit_total"), 1.0, "the long one");
}

fn rooms_that_cannot_be_served_are_no_server() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let serve = |server: Server| {
        runtime.block_on(async {
            let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
            server.serve(vec![listener], std::future::pending()).await.unwrap_err().to_string()
        })
    };
    let factory = |name: &str| table(name, Options::default(), &Arc::default());
    let twice = Server::new(Config::default(), game::schema()).rooms(factory).rooms(factory);
    assert_eq!(serve(twice), "two kinds of rooms are called \"*\"");
    let other = Server::new(Config::default(), tagwire::pb::schema()).rooms_named("table*", factory);
    assert_eq!(
        serve(other),
        "the rooms \"table*\" take tag 2, which is no message to code from clients of the schema that is served"
    );
}
}

/// What a panic says is for who runs the server: in its log, in the form that the log has, and on no wire.
#[test]
fn what_a_panic_says_is_in_the_log_and_never_on_the_wire() {
    for format in ["human", "json"] {
        let server = Program::spawn(command_of_example("table", &["--log-format", format]));
        let login = |name: &str| {
            Player::login_by(game::schema(), End::connect(server.address), name, "welcome").unwrap()
        };
        let (mut a, mut b) = (login("a"), login("b"));
        b.send(&say("panic"));
        assert_eq!(
            (ended_room(&mut a).reason, ended_room(&mut b).reason),
            ("the room failed".into(), "the room failed".into())
        );
        assert_eq!(
            (a.join("1").status(), a.request(&deal("panic")).status()),
            (Status::Ok, Status::Internal)
        );
        assert_eq!(ended_room(&mut a).room, "1");
        for player in [&a, &b] {
            let text = String::from_utf8_lossy(&player.received);
            assert!(!text.contains("secret") && !text.contains("panic"), "{text}");
        }
        server.signal(Signal::TERM);
        let (status, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        for said in ["the secret of message", "the secret of request", "tests/common/table.rs"] {
            assert!(log.contains(said), "no {said:?} in\n{log}");
        }
        assert!(log.contains("tagwire_panics_total=2") && log.contains("tagwire_sessions=0"), "{log}");
        assert!(log.contains("tagwire_rooms=0") && log.contains("tagwire_rooms_failed_total=2"), "{log}");
        if format == "json" {
            let lines: Vec<_> = log.lines().map(serde_json::from_str::<serde_json::Value>).collect();
            assert!(lines.iter().all(Result::is_ok), "{log}");
        }
    }
}

/// Its server is made by hand, for TCP.
#[test]
fn a_panic_of_the_authenticator_ends_its_login_alone() {
    let server = TestServer::with_game(
        game::schema(),
        |_| (),
        |_| Server::with_auth(Config::default(), game::schema(), Box::new(Fragile)),
    );
    let mut a = login(&server, "a");
    for _ in 0..20 {
        let Err(ended) = try_login(&server, "bomb") else { panic!("it is inside") };
        assert_eq!((ended.code, ended.reason.as_str()), (Some(CloseCode::OVERLOAD), "the server failed"));
    }
    let mut classic = Classic::connect(server.address);
    classic.login("bomb", "welcome");
    assert_eq!(classic.rest(), []);
    let mut b = login(&server, "b");
    b.send(&Shout { text: "hey".to_string() });
    assert_eq!(a.message().1, Shout::TAG);
    assert_eq!(server.metric("tagwire_logins_denied_total{reason=\"panic\"}"), 21.0);
    [a, b].into_iter().for_each(Player::leave);
    drop(classic);
    for gauge in ["tagwire_connections", "tagwire_sessions", "tagwire_rooms"] {
        server.wait_for(gauge, 0.0);
    }
}
