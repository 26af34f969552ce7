//! Sessions that outlive their connection: what who comes back has, and who does not get a session back.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::program::Program;
use common::via::{Via, each};
use common::*;
use tagwire::CloseCode;
use tagwire::bytes::Bytes;
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1::{self, member::event::Value as Change};
use tagwire::prost::Message as _;
use tagwire::session::client::Event;

const REFUSED: &str = "tagwire_resumes_refused_total";

fn chat(player: &mut Player, text: &str) {
    player.send(&arena::Chat { text: text.to_string() });
}

/// The next line of chat.
fn hear(player: &mut Player) -> String {
    let (_, _, payload) = player.message();
    arena::Chat::decode(payload.as_slice()).unwrap().text
}

/// The next change of members.
fn change(player: &mut Player) -> (u32, Change) {
    player.wait(|event| match event {
        Event::Member(member) => Some((member.player, member.event())),
        _ => None,
    })
}

/// Two who know of each other.
fn two(server: &TestServer) -> (Player, Player) {
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    assert_eq!(change(&mut a), (b.id(), Change::Joined));
    assert_eq!(change(&mut b), (a.id(), Change::Present));
    (a, b)
}

fn refused(server: &TestServer, reason: &str) -> f64 {
    server.metric(&format!("{REFUSED}{{reason=\"{reason}\"}}"))
}

/// A login of one's own making, and its answer.
fn log_in(server: &TestServer, password: &str, resume: v1::Resume) -> Result<v1::Welcome, Ended> {
    let login = v1::PlayerLogin {
        username: "a".to_string(),
        password: password.to_string(),
        client: Some(v1::ClientInfo { protocol: 1, ..Default::default() }),
        resume: Some(resume),
        ..Default::default()
    };
    let mut client = Classic::connect(server.address);
    client.send(&frame(&login));
    match client.next().expect("an answer") {
        (240, payload) => Ok(v1::Welcome::decode(payload.as_slice()).unwrap()),
        (241, payload) => {
            let told = v1::Disconnect::decode(payload.as_slice()).unwrap();
            let code = Some(CloseCode(told.code as u16));
            let refused = told.refused();
            let v1::Disconnect { reason, retry_after_ms, .. } = told;
            Err(Ended { code, reason, retry_after_ms, findings: vec![], refused })
        }
        other => panic!("{other:?}"),
    }
}

fn resume_of(player: &Player, frames_received: u64, connection: u32) -> v1::Resume {
    v1::Resume { token: player.welcome.resume_token.clone(), frames_received, connection }
}

each! {
fn who_comes_back_has_missed_nothing_and_is_who_it_was() {
    for threads in [1, 2] {
        let server = TestServer::unlimited(|config| config.threads = threads);
        let (mut a, mut b) = two(&server);
        for round in 0..5 {
            a.lose();
            assert_eq!(change(&mut b), (a.id(), Change::Away));
            server.wait_for("tagwire_sessions_away", 1.0);
            for line in 0..3 {
                chat(&mut b, &format!("{round}.{line}"));
                assert_eq!(hear(&mut b), format!("{round}.{line}"));
            }
            let welcome = a.come_back(server.address).unwrap();
            assert!(welcome.resumed);
            assert_eq!(
                (welcome.player_id, welcome.session_id, welcome.name.as_str(), welcome.room.as_str()),
                (a.id(), a.welcome.session_id, "a", "main")
            );
            assert_eq!(change(&mut b), (a.id(), Change::Back));
            for line in 0..3 {
                assert_eq!(hear(&mut a), format!("{round}.{line}"));
            }
            chat(&mut a, "here again");
            assert_eq!((hear(&mut a), hear(&mut b)), ("here again".to_string(), "here again".to_string()));
        }
        assert_eq!(server.metric("tagwire_sessions"), 2.0);
        assert_eq!(server.metric("tagwire_sessions_away"), 0.0);
        assert_eq!(server.metric("tagwire_sessions_resumed_total"), 5.0);
        assert_eq!(server.metric("tagwire_logins_granted_total"), 2.0);
        [a, b].into_iter().for_each(Player::leave);
        server.wait_for("tagwire_sessions", 0.0);
        assert_eq!(server.stop().snapshot()["tagwire_tasks"], 0.0);
    }
}

/// Wherever the cut finds them: written, on their way, or read and not acknowledged.
fn what_was_said_before_the_cut_is_heard_once_and_in_order() {
    let server = TestServer::unlimited(|_| ());
    let (mut a, mut b) = two(&server);
    for round in 0..50 {
        for line in 0..20 {
            chat(&mut a, &format!("{round}.{line}"));
        }
        if round % 3 == 1 {
            std::thread::sleep(Duration::from_millis(3));
        }
        a.lose();
        assert!(a.come_back(server.address).unwrap().resumed);
        for line in 0..20 {
            assert_eq!(hear(&mut b), format!("{round}.{line}"));
            assert_eq!(hear(&mut a), format!("{round}.{line}"));
        }
    }
    assert_eq!(server.metric("tagwire_message_bytes_received_total{message=\"arena.v1.Chat\"}") as u64, {
        let texts = (0..50).flat_map(|round| (0..20).map(move |line| format!("{round}.{line}")));
        texts.map(|text| arena::Chat { text }.encoded_len() as u64).sum::<u64>()
    });
}

fn who_comes_in_later_is_told_who_is_away() {
    let server = TestServer::start();
    let (mut a, mut b) = two(&server);
    a.lose();
    assert_eq!(change(&mut b), (a.id(), Change::Away));
    let mut c = server.player("c");
    assert_eq!(change(&mut c), (a.id(), Change::Present));
    assert_eq!(change(&mut c), (a.id(), Change::Away));
    assert_eq!(change(&mut c), (b.id(), Change::Present));
    // Away, and moved to another room by a request that was under way: known as away there, too.
    a.come_back(server.address).unwrap();
    assert_eq!(change(&mut c), (a.id(), Change::Back));
    assert_eq!(change(&mut a), (c.id(), Change::Joined));
}

/// The room of 1,000 that comes back after a hiccup of the network: what its members hear of each other while they are
/// away is what is so in the end.
fn who_is_away_hears_only_the_last_of_who_comes_and_goes() {
    let server = TestServer::unlimited(|_| ());
    let (mut a, mut b) = two(&server);
    a.lose();
    assert_eq!(change(&mut b), (a.id(), Change::Away));
    for _ in 0..20 {
        b.lose();
        assert!(b.come_back(server.address).unwrap().resumed);
        // Answered: the room knows that it is back.
        b.request(&mouse(1, 1));
    }
    a.come_back(server.address).unwrap();
    // Said by itself: it is read when the room knows that it is back.
    chat(&mut a, "the end");
    let mut changes = vec![];
    a.wait(|event| match event {
        Event::Member(member) => {
            changes.push((member.player, member.event()));
            None
        }
        Event::Message { .. } => Some(()),
        _ => None,
    });
    assert_eq!(changes, [(b.id(), Change::Back)]);
    // The other way round: who is away when one comes back.
    assert_eq!(change(&mut b), (a.id(), Change::Back));
    a.lose();
    assert_eq!(change(&mut b), (a.id(), Change::Away));
    b.lose();
    server.wait_for("tagwire_sessions_away", 2.0);
    a.come_back(server.address).unwrap();
    assert_eq!(change(&mut a), (b.id(), Change::Away));
}

fn a_session_that_nobody_comes_back_to_ends() {
    let server = TestServer::with(|config| config.limits.resume_window_ms = 1500);
    let (mut a, mut b) = two(&server);
    let start = Instant::now();
    a.lose();
    assert_eq!(change(&mut b), (a.id(), Change::Away));
    assert_eq!(change(&mut b), (a.id(), Change::Left));
    let lasted = start.elapsed();
    assert!((1500..4500).contains(&lasted.as_millis()), "{lasted:?}");
    assert_eq!(server.metric("tagwire_sessions"), 1.0);
    assert_eq!(server.metric("tagwire_sessions_away"), 0.0);
    // Its token opens nothing; its credentials do.
    let ended = log_in(&server, "", resume_of(&a, 0, 2)).unwrap_err();
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (Some(CloseCode::RESUME_REFUSED), "the session has ended")
    );
    let welcome = a.come_back(server.address).unwrap();
    assert!(!welcome.resumed && welcome.player_id != a.id());
    assert_eq!(refused(&server, "ended"), 2.0);
}

fn who_does_not_want_it_has_sessions_that_end_with_their_connection() {
    let server = TestServer::with(|config| config.limits.resume_window_ms = 0);
    let (mut a, mut b) = two(&server);
    assert!(a.welcome.resume_token.is_empty() && a.welcome.resume_window_ms == 0);
    a.lose();
    assert_eq!(change(&mut b), (a.id(), Change::Left));
    server.wait_for("tagwire_sessions", 1.0);
}

fn a_full_buffer_ends_who_is_away() {
    let server = TestServer::unlimited(|_| ());
    let (mut a, mut b) = two(&server);
    a.lose();
    assert_eq!(change(&mut b), (a.id(), Change::Away));
    for line in 0..1024 {
        chat(&mut b, &line.to_string());
        hear(&mut b);
    }
    assert_eq!(server.metric("tagwire_sessions_away"), 1.0, "1024 frames may wait");
    chat(&mut b, "one more");
    assert_eq!(change(&mut b), (a.id(), Change::Left));
    assert_eq!(server.metric("tagwire_disconnects_total{code=\"3001\"}"), 1.0);
    assert!(!a.come_back(server.address).unwrap().resumed);
}

fn what_may_wait_aside_never_ends_who_is_away() {
    let server = TestServer::unlimited(|_| ());
    let (mut a, mut b) = two(&server);
    a.lose();
    assert_eq!(change(&mut b), (a.id(), Change::Away));
    for x in 0..5000 {
        b.send(&mouse(x, 0));
    }
    chat(&mut b, "now");
    assert_eq!(hear(&mut b), "now");
    assert!(a.come_back(server.address).unwrap().resumed);
    assert_eq!(hear(&mut a), "now", "what is ORDERED comes first");
    assert_eq!(a.mouse().1.x, 4999, "and of the others the last");
}

fn the_same_name_takes_the_place_of_one_who_is_away() {
    let server = TestServer::start();
    let (mut a, mut b) = two(&server);
    a.lose();
    assert_eq!(change(&mut b), (a.id(), Change::Away));
    let newer = server.player("a");
    assert_eq!(change(&mut b), (a.id(), Change::Left));
    assert_eq!(change(&mut b), (newer.id(), Change::Joined));
    let ended = log_in(&server, "", resume_of(&a, 1, 2)).unwrap_err();
    assert_eq!(ended.code, Some(CloseCode::RESUME_REFUSED));
    server.wait_for("tagwire_sessions", 2.0);
}

fn a_stop_ends_those_who_are_away_too() {
    let server = TestServer::start();
    let (mut a, mut b) = two(&server);
    a.lose();
    assert_eq!(change(&mut b), (a.id(), Change::Away));
    let counted = server.stop().snapshot();
    for gauge in ["connections", "sessions", "sessions_away", "rooms", "tasks", "outbox_bytes"] {
        assert_eq!(counted[&format!("tagwire_{gauge}")], 0.0, "{gauge}");
    }
}

fn what_is_no_token_opens_nothing() {
    let server = TestServer::start();
    let (a, _b) = two(&server);
    let of_nobody = {
        let mut token = a.welcome.resume_token.to_vec();
        token[8..16].copy_from_slice(&99_u64.to_be_bytes());
        token
    };
    let of_another_process = {
        let mut token = a.welcome.resume_token.to_vec();
        token[0] ^= 1;
        token
    };
    for (token, reason) in [
        (vec![], "wrong token"),
        (vec![7; 31], "wrong token"),
        (vec![7; 64], "wrong token"),
        (vec![7; 5000], "wrong token"),
        (of_nobody, "wrong token"),
        // A server that was started anew must not take its players for thieves.
        (of_another_process, "ended"),
    ] {
        let before = refused(&server, reason);
        let resume = v1::Resume { token: token.into(), frames_received: 0, connection: 2 };
        assert_eq!(log_in(&server, "", resume.clone()).unwrap_err().code, Some(CloseCode::RESUME_REFUSED));
        assert_eq!(refused(&server, reason), before + 1.0);
    }
    assert_eq!(server.metric("tagwire_sessions"), 2.0);
}

/// The token is all there is to show: who has it has the session, and its owner is told.
fn a_stolen_token_takes_the_session_and_its_owner_is_told() {
    let server = TestServer::start();
    let (mut a, mut b) = two(&server);
    let received = a.session.frames_received();
    let welcome = log_in(&server, "", resume_of(&a, received, 2)).unwrap();
    assert!(welcome.resumed && welcome.player_id == a.id());
    assert_eq!(a.ended().code, Some(CloseCode::REPLACED));
    assert_eq!(change(&mut b), (a.id(), Change::Away));
    assert_eq!(change(&mut b), (a.id(), Change::Back));
}

fn a_resume_that_is_sent_twice_gives_the_same_and_one_that_comes_late_disturbs_nobody() {
    let server = TestServer::start();
    let (mut a, mut b) = two(&server);
    let received = a.session.frames_received();
    a.lose();
    chat(&mut b, "while you were away");
    let again = || {
        let welcome = log_in(&server, "", resume_of(&a, received, 2)).unwrap();
        (welcome.resumed, welcome.player_id, welcome.frames_received, welcome.room, welcome.resume_token)
    };
    assert_eq!(again(), again());
    // Its third connection; the second was lost.
    a.session.connect(tagwire::time::Now { monotonic_us: 0, unix_us: 1 });
    assert!(a.come_back(server.address).unwrap().resumed);
    assert_eq!(hear(&mut a), "while you were away");
    // What was sent on the second comes now. With credentials it would else take the session's place by its name.
    for password in ["", "welcome"] {
        let ended = log_in(&server, password, resume_of(&a, received, 2)).unwrap_err();
        assert_eq!(
            (ended.code, ended.reason.as_str()),
            (Some(CloseCode::RESUME_REFUSED), "a later connection has the session already")
        );
    }
    assert_eq!(refused(&server, "late"), 2.0);
    chat(&mut a, "still here");
    assert_eq!(hear(&mut a), "still here");
}

fn a_replay_of_what_was_acknowledged_since_is_refused() {
    let server = TestServer::start();
    let (mut a, mut b) = two(&server);
    chat(&mut b, "one");
    assert_eq!(hear(&mut a), "one");
    a.lose();
    assert!(a.come_back(server.address).unwrap().resumed);
    let stale = v1::Resume { connection: 0, ..resume_of(&a, 0, 0) };
    let ended = log_in(&server, "", stale).unwrap_err();
    assert_eq!(ended.code, Some(CloseCode::RESUME_REFUSED));
    assert_eq!(refused(&server, "forgotten"), 1.0);
    chat(&mut a, "still here");
    assert_eq!(hear(&mut a), "still here");
}

fn of_two_who_come_back_at_once_one_has_the_session() {
    let server = TestServer::unlimited(|config| config.threads = 2);
    let (mut a, mut b) = two(&server);
    let received = a.session.frames_received();
    for round in 0..30 {
        a.lose();
        let (server, a) = (&server, &a);
        let welcomes: Vec<_> = std::thread::scope(|scope| {
            let via = Via::current();
            let back = |_| {
                scope.spawn(move || via.run(|| log_in(server, "", resume_of(a, received, 2 + round))))
            };
            (0..4).map(back).collect::<Vec<_>>().into_iter().map(|one| one.join().unwrap()).collect()
        });
        // Each had it; the last has it still, or has lost its connection as the others have.
        assert!(
            welcomes.iter().all(|welcome| welcome.as_ref().is_ok_and(|welcome| welcome.resumed)),
            "{welcomes:?}"
        );
    }
    for _ in 0..40 {
        a.session.disconnect();
        a.session.connect(tagwire::time::Now { monotonic_us: 0, unix_us: 1 });
    }
    assert!(a.come_back(server.address).unwrap().resumed);
    chat(&mut a, "me alone");
    assert_eq!((hear(&mut a), hear(&mut b)), ("me alone".to_string(), "me alone".to_string()));
    assert_eq!(server.metric("tagwire_sessions"), 2.0);
}

fn a_count_beyond_either_end_is_refused() {
    let server = TestServer::unlimited(|config| {
        config.limits.max_frame_bytes = 8192;
        config.limits.outbox_max_kept_bytes = 16384;
    });
    let (mut a, mut b) = two(&server);
    // It acknowledges nothing, and is sent more than is kept.
    let mut deaf = Classic::connect(server.address);
    let client = v1::ClientInfo { protocol: 1, ..Default::default() };
    deaf.send(&frame(&v1::PlayerLogin {
        username: "deaf".to_string(),
        password: "welcome".to_string(),
        client: Some(client),
        ..Default::default()
    }));
    let welcome = v1::Welcome::decode(deaf.next().unwrap().1.as_slice()).unwrap();
    for line in 0..20 {
        chat(&mut b, &format!("{line} {}", "x".repeat(1000)));
        hear(&mut a);
        while deaf.next().unwrap().0 != 246 {}
    }
    let resume =
        |frames_received| v1::Resume { token: welcome.resume_token.clone(), frames_received, connection: 2 };
    // Two others were there before the twenty lines; of the lines fifteen are kept.
    for (frames_received, reason) in
        [(0, "forgotten"), (5, "forgotten"), (23, "never sent"), (u64::MAX, "never sent")]
    {
        let before = refused(&server, reason);
        let ended = log_in(&server, "", resume(frames_received)).unwrap_err();
        assert_eq!(ended.code, Some(CloseCode::RESUME_REFUSED), "{frames_received}");
        assert_eq!(refused(&server, reason), before + 1.0, "{frames_received}: {}", ended.reason);
        deaf.wait_for_ping();
    }
    assert!(log_in(&server, "", resume(9)).unwrap().resumed);
    chat(&mut a, "undisturbed");
    while hear(&mut b) != "undisturbed" {}
}

/// With credentials beside it a resume that is refused is a login.
fn a_refused_resume_with_credentials_is_a_new_session() {
    let server = TestServer::start();
    let (a, mut b) = two(&server);
    let welcome = log_in(&server, "welcome", resume_of(&a, 999, 2)).unwrap();
    assert!(!welcome.resumed && welcome.player_id != a.id() && welcome.frames_received == 0);
    assert_ne!(welcome.resume_token, a.welcome.resume_token);
    assert_eq!(change(&mut b), (a.id(), Change::Left), "its own name was taken from it");
    let wrong = log_in(&server, "wrong", resume_of(&a, 999, 2)).unwrap_err();
    assert_eq!(wrong.code, Some(CloseCode::LOGIN_REFUSED));
}

fn who_comes_back_needs_no_place_besides_the_one_it_has() {
    let server = TestServer::with(|config| config.limits.max_connections = 2);
    let (mut a, mut b) = two(&server);
    assert_eq!(Player::login(server.address, "c", "welcome").err().unwrap().code, Some(CloseCode::OVERLOAD));
    for _ in 0..3 {
        a.lose();
        assert!(a.come_back(server.address).unwrap().resumed);
    }
    chat(&mut a, "inside");
    assert_eq!(hear(&mut b), "inside");
    a.leave();
    server.wait_for("tagwire_connections", 1.0);
    server.player("c");
}

/// The others hear of each return: a client that comes back all the time is as loud as one that changes rooms all the time.
fn who_comes_back_too_often_waits() {
    let server = TestServer::with(|config| config.limits.max_joins_per_second = 5);
    let (mut a, mut b) = two(&server);
    let start = Instant::now();
    let refused = loop {
        a.lose();
        if let Err(ended) = a.come_back(server.address) {
            break ended;
        }
    };
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Some(CloseCode::OVERLOAD), "you come back too often")
    );
    assert!((1..=200).contains(&refused.retry_after_ms), "{}", refused.retry_after_ms);
    let most = 6.0 + 5.0 * start.elapsed().as_secs_f64();
    let heard = server.metric("tagwire_sessions_resumed_total");
    assert!((5.0..most).contains(&heard), "{heard}");
    // Away all the while, it asks and asks: nobody is told again.
    while a.come_back(server.address).is_err() {}
    chat(&mut a, "at last");
    let mut changes = vec![];
    b.wait(|event| match event {
        Event::Member(member) => {
            changes.push(member.event());
            None
        }
        Event::Message { .. } => Some(()),
        _ => None,
    });
    assert!(changes.chunks(2).all(|two| two == [Change::Away, Change::Back]), "{changes:?}");
    assert!(server.metric("tagwire_limits_reached_total{limit=\"max_joins_per_second\"}") >= 1.0);
}

/// A classic session ends with its connection, whatever its login says.
fn a_classic_client_does_not_come_back() {
    let server = TestServer::start();
    let (a, mut b) = two(&server);
    let mut classic = Classic::connect(server.address);
    classic.send(&frame(&v1::PlayerLogin {
        username: "c".to_string(),
        password: "welcome".to_string(),
        resume: Some(resume_of(&a, 0, 2)),
        ..Default::default()
    }));
    classic.wait_for_ping();
    let (id, event) = change(&mut b);
    assert_eq!(event, Change::Joined);
    drop(classic);
    assert_eq!(change(&mut b), (id, Change::Left));
}

fn every_session_has_a_secret_of_its_own() {
    let server = TestServer::start();
    let tokens: Vec<_> = (0..20).map(|i| server.player(&format!("p{i}")).welcome.resume_token).collect();
    for (at, token) in tokens.iter().enumerate() {
        assert_eq!(token.len(), 32);
        assert!(tokens[..at].iter().all(|other| other[16..] != token[16..]));
    }
}
}

/// The old connection is open as far as the server knows, and is being written to.
#[test]
fn a_connection_that_is_written_to_gives_way() {
    let server = TestServer::unlimited(|config| {
        // More than the buffers of two sockets hold.
        config.limits.outbox_max_kept_bytes = 64 << 20;
        config.limits.outbox_max_bytes = 64 << 20;
        config.limits.outbox_max_frames = 1 << 20;
    });
    let (mut a, mut b) = two(&server);
    let mut old = a.stream.tcp().unwrap().try_clone().unwrap();
    // Its socket fills up while nobody reads.
    let text = "x".repeat(1000);
    let mut said = 0;
    while server.metric("tagwire_outbox_bytes") == 0.0 {
        chat(&mut b, &format!("{said} {text}"));
        hear(&mut b);
        said += 1;
    }
    let welcome = a.come_back(server.address).unwrap();
    assert!(welcome.resumed);
    for line in 0..said {
        assert!(hear(&mut a).starts_with(&format!("{line} ")), "line {line} of {said}");
    }
    chat(&mut a, "all of it");
    while hear(&mut b) != "all of it" {}
    // What the old one was sent ends with a whole frame, and why.
    let mut decoder = tagwire::frame::Decoder::default();
    let (mut frames, mut buffer) = (vec![], [0; 65536]);
    while let Ok(count @ 1..) = std::io::Read::read(&mut old, &mut buffer) {
        let mut input = &buffer[..count];
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            frames.push((frame.tag.0, frame.payload.to_vec()));
        }
    }
    assert!(decoder.is_empty(), "a frame was cut");
    let (tag, last) = frames.pop().unwrap();
    let told = v1::Disconnect::decode(last.as_slice()).unwrap();
    assert_eq!((tag, told.code), (241, u32::from(CloseCode::REPLACED.0)));
}

#[test]
fn a_guess_counts_as_a_failed_login_and_disturbs_nobody() {
    let server = TestServer::with(|config| {
        config.limits.max_failed_logins_per_address = 3;
        config.limits.trusted = vec![];
    });
    let (mut a, mut b) = two(&server);
    for bit in 0..3 {
        let mut token = a.welcome.resume_token.to_vec();
        token[31] ^= 1 << bit;
        let guess = v1::Resume { token: token.into(), frames_received: 0, connection: 2 };
        let ended = log_in(&server, "", guess).unwrap_err();
        assert_eq!(
            (ended.code, ended.reason.as_str()),
            (Some(CloseCode::RESUME_REFUSED), "no session has this token")
        );
    }
    assert_eq!(refused(&server, "wrong token"), 3.0);
    // Now not even the right one is looked at, nor the right password.
    for password in ["", "welcome"] {
        let ended = log_in(&server, password, resume_of(&a, 1, 2)).unwrap_err();
        assert_eq!(ended.code, Some(CloseCode::LOGIN_REFUSED));
        assert!(ended.reason.starts_with("too many logins failed"), "{}", ended.reason);
    }
    chat(&mut a, "undisturbed");
    assert_eq!((hear(&mut a), hear(&mut b)), ("undisturbed".to_string(), "undisturbed".to_string()));
}

/// What a run with everything logged has printed holds no token, in no spelling.
#[test]
fn no_log_shows_a_token() {
    let server = Program::start(&["--log", "trace"]);
    let mut player = Player::login(server.address, "a", "welcome").unwrap();
    let token = player.welcome.resume_token.clone();
    player.lose();
    player.come_back(server.address).unwrap();
    let mut guess = token.to_vec();
    guess[31] ^= 1;
    let login = v1::PlayerLogin {
        client: Some(v1::ClientInfo { protocol: 1, ..Default::default() }),
        resume: Some(v1::Resume { token: guess.into(), ..Default::default() }),
        ..Default::default()
    };
    let mut thief = Classic::connect(server.address);
    thief.send(&frame(&login));
    thief.rest();
    player.leave();
    let (_, log) = server.stop();
    assert!(log.contains("a is back") && log.contains("no session has this token"), "{log}");
    let secret = &token[16..];
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let decimals = format!("{:?}", secret.to_vec());
    let escaped = format!("{:?}", Bytes::copy_from_slice(secret));
    for spelling in [
        hex.as_str(),
        decimals.trim_matches(['[', ']']),
        escaped.trim_start_matches("b\"").trim_end_matches('"'),
    ] {
        assert!(!log.to_lowercase().contains(&spelling.to_lowercase()), "{spelling}");
    }
}
