//! Who may come in, by which proof, and what those are told who may not.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::doors::*;
use common::program::{Program, run};
use common::*;
use jsonwebtoken::Algorithm;
use serde_json::json;
use tagwire::pb::tagwire::v1::{self, login_part};
use tagwire::session::client::Event;
use tagwire::{Access, CloseCode, Schema};
use tagwire_server::auth::{Attempt, Authenticator, Denied, Identity, TokenError};
use tagwire_server::{AuthKind, Config};

const LOGIN_REFUSED: u32 = 3501;

fn with_auth(auth: impl Authenticator, change: impl FnOnce(&mut Config)) -> TestServer {
    TestServer::with_game(tagwire::pb::schema(), change, |server| server.auth(auth))
}

fn refused(part: login_part::Value, reason: &str) -> Refusal {
    Refusal { code: LOGIN_REFUSED, reason: reason.to_string(), part, retry_after_ms: 0 }
}

#[test]
fn names_and_passwords_come_from_the_file() {
    let users = users_file(["zoe".to_string()], "correct horse");
    let server = TestServer::with(|config| {
        config.auth = AuthKind::File;
        config.file_auth.users = users.path().display().to_string();
    });
    let (_zoe, welcome) = knock(server.address, &login("ZOE", "correct horse", ""));
    assert_eq!(welcome.unwrap().name, "zoe", "as it was registered");
    // Nobody is told whether there is a zoe.
    for (name, password) in [("zoe", "wrong"), ("max", "correct horse"), ("", "correct horse"), ("zoe", "")] {
        let (_, answer) = knock(server.address, &login(name, password, ""));
        assert_eq!(answer, Err(refused(login_part::Value::Password, "wrong name or password")), "{name}");
    }
    let (_, answer) = knock(server.address, &login("a\nb", "correct horse", ""));
    assert_eq!(answer, Err(refused(login_part::Value::Name, "a name has no control characters")));
    assert_eq!(
        server.metric("tagwire_logins_judged_total"),
        5.0,
        "one hash each, and none for what is no name"
    );
    let mut classic = Classic::connect(server.address);
    classic.login("zoe", "correct horse");
    classic.wait_for_ping();
}

#[test]
fn tokens_are_judged_and_what_is_wrong_is_told() {
    let server = TestServer::with(|config| {
        config.auth = AuthKind::Jwt;
        config.jwt_auth.key = key_file("rsa.public.pem");
        config.jwt_auth.issuer = "accounts".to_string();
        config.jwt_auth.audience = "game".to_string();
    });
    let claims = |change: fn(&mut serde_json::Value)| {
        let mut claims = json!({ "sub": "zoe", "iss": "accounts", "aud": "game", "exp": now_s() + 60 });
        change(&mut claims);
        claims
    };
    let good = token(Algorithm::RS256, &claims(|_| ()));
    // Whatever name comes along, the token's counts.
    let (_zoe, welcome) = knock(server.address, &login("somebody", "", &good));
    assert_eq!(welcome.unwrap().name, "zoe");
    let parts: Vec<_> = good.split('.').collect();
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    let forged = format!("{}.{}.{}", parts[0], parts[1], parts[2].replace(|c: char| c.is_ascii_digit(), "A"));
    let rs256 = |change| token(Algorithm::RS256, &claims(change));
    for (token, reason) in [
        (String::new(), "a token is needed"),
        ("nonsense".to_string(), "the token is not valid"),
        (forged, "the token is not valid"),
        (unsigned, "the token is not valid"),
        (token(Algorithm::HS256, &claims(|_| ())), "the token is not valid"),
        (token(Algorithm::EdDSA, &claims(|_| ())), "the token is not valid"),
        (rs256(|claims| claims["exp"] = json!(now_s() - 60)), "the token has expired"),
        (rs256(|claims| claims["nbf"] = json!(now_s() + 60)), "the token is not valid yet"),
        (rs256(|claims| claims["iss"] = json!("others")), "the token is not for this server"),
        (rs256(|claims| claims["aud"] = json!("shop")), "the token is not for this server"),
        (rs256(|claims| claims["sub"] = json!("a\nb")), "the token is not valid"),
        (rs256(|claims| claims["exp"] = json!(null)), "the token is not valid"),
    ] {
        let (_, answer) = knock(server.address, &login("zoe", "", &token));
        assert_eq!(answer, Err(refused(login_part::Value::Token, reason)), "{token}");
    }
    assert_eq!(server.metric("tagwire_logins_denied_total{reason=\"credentials\"}"), 12.0);
}

#[test]
fn a_new_key_counts_as_soon_as_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    std::fs::copy(key_file("ed25519.public.pem"), &key).unwrap();
    let server = TestServer::with(|config| {
        config.auth = AuthKind::Jwt;
        config.jwt_auth.key = key.display().to_string();
        config.limits.max_failed_logins_per_address = 0;
    });
    let claims = json!({ "sub": "zoe", "exp": now_s() + 60 });
    let is_good = |algorithm| knock(server.address, &login("", "", &token(algorithm, &claims))).1.is_ok();
    assert!(is_good(Algorithm::EdDSA) && !is_good(Algorithm::RS256));
    let new = folder.path().join("new.pem");
    std::fs::copy(key_file("rsa.public.pem"), &new).unwrap();
    std::fs::rename(new, key).unwrap();
    let start = std::time::Instant::now();
    while !is_good(Algorithm::RS256) {
        assert!(start.elapsed() < PATIENCE, "the new key is not read");
    }
    assert!(!is_good(Algorithm::EdDSA), "the old one is gone");
}

/// The game's schema, where everybody's mouse is for those who may do at least this.
fn mouse_for(access: Access) -> Schema {
    let schema = tagwire::pb::schema();
    let mut messages = schema.messages().to_vec();
    for message in &mut messages {
        if message.full_name == "arena.v1.MouseEvent" {
            message.rules.access = access;
        }
    }
    Schema::new(schema.fingerprint(), schema.descriptors().clone(), messages)
}

#[test]
fn a_role_decides_what_may_be_sent() {
    for (needed, may) in [
        (Access::Guest, [true, true, true]),
        (Access::Player, [false, true, true]),
        (Access::Operator, [false, false, true]),
    ] {
        let server = TestServer::with_schema(mouse_for(needed), |config| {
            config.guests = true;
            config.auth = AuthKind::Jwt;
            config.jwt_auth.key = key_file("ed25519.public.pem");
        });
        let of =
            |role: &str| token(Algorithm::EdDSA, &json!({ "sub": role, "exp": now_s() + 60, "role": role }));
        let logins = [login("", "", ""), login("", "", &of("player")), login("", "", &of("operator"))];
        for (login, may) in logins.iter().zip(may) {
            let (_watcher, welcome) = {
                let mut watcher = Knock::at(server.address, &login.clone());
                let welcome = watcher.answer().unwrap();
                (watcher, welcome)
            };
            let (mut sender, _) = knock(server.address, &login.clone());
            sender.0.send(&frame(&mouse(1, 2)));
            if may {
                // Had it not been taken, the connection would end before this answer.
                sender.0.send(&frame(&v1::Request { key: 1, tag: 248, ..Default::default() }));
                while sender.0.next().expect("still inside").0 != 243 {}
            } else {
                let told = std::iter::from_fn(|| sender.0.next()).find(|(tag, _)| *tag == 241);
                let told = <v1::Disconnect as tagwire::prost::Message>::decode(told.unwrap().1.as_slice());
                assert_eq!(
                    told.unwrap().code,
                    u32::from(CloseCode::VIOLATION.0),
                    "{needed:?} {}",
                    welcome.name
                );
            }
        }
    }
}

#[test]
fn guests_come_in_where_the_settings_say_so() {
    let users = users_file(["zoe".to_string(), "guest-7".to_string()], "correct horse");
    let serve = |guests| {
        TestServer::with(|config| {
            config.guests = guests;
            config.auth = AuthKind::File;
            config.file_auth.users = users.path().display().to_string();
        })
    };
    let server = serve(true);
    let guest = login("", "", "");
    let (_one, welcome) = knock(server.address, &guest);
    let (_two, other) = knock(server.address, &guest);
    let (welcome, other) = (welcome.unwrap(), other.unwrap());
    assert!(welcome.name.starts_with("guest-") && other.name.starts_with("guest-"));
    assert_ne!(welcome.name, other.name);
    assert_eq!(server.metric("tagwire_logins_judged_total"), 0.0, "there is nothing to judge");
    // Who says a name must prove it; and nobody else is called as guests are.
    let wrong = refused(login_part::Value::Password, "wrong name or password");
    assert_eq!(knock(server.address, &login("zoe", "", "")).1, Err(wrong.clone()));
    assert!(knock(server.address, &login("zoe", "correct horse", "")).1.is_ok());
    assert_eq!(
        knock(server.address, &login("Guest-7", "correct horse", "")).1,
        Err(refused(login_part::Value::Name, "names that begin with guest- are for guests"))
    );
    let mut classic = Classic::connect(server.address);
    classic.login("", "");
    assert_eq!(classic.rest(), [], "a classic client is no guest");
    let server = serve(false);
    assert_eq!(knock(server.address, &guest).1, Err(wrong));
    assert!(knock(server.address, &login("guest-7", "correct horse", "")).1.is_ok());
}

#[test]
fn logins_are_judged_in_the_order_in_which_they_come() {
    let gate = Gate::default();
    let (slots, more) = (std::thread::available_parallelism().unwrap().get(), 60);
    let server = with_auth(gate.clone(), |config| config.limits.login_timeout_ms = 60_000);
    let mut waiting = vec![];
    for i in 0..slots + more {
        waiting.push(Knock::at(server.address, &login(&format!("player{i}"), "", "")));
        match i.checked_sub(slots) {
            None => while gate.asked().len() <= i {},
            Some(before) => server.wait_for("tagwire_logins_waiting", before as f64 + 1.0),
        }
    }
    for asked in slots + 1..=slots + more {
        gate.pass();
        let start = std::time::Instant::now();
        while gate.asked().len() < asked {
            assert!(start.elapsed() < PATIENCE, "a free slot is not used");
        }
    }
    gate.open();
    for knock in &mut waiting {
        knock.answer().unwrap();
    }
    let in_order: Vec<_> = (0..slots + more).map(|i| format!("player{i}")).collect();
    assert_eq!(gate.asked(), in_order);
    assert_eq!(server.metric("tagwire_logins_waiting"), 0.0);
}

#[test]
fn who_finds_the_queue_full_is_told_to_come_back() {
    let gate = Gate::default();
    let slots = std::thread::available_parallelism().unwrap().get();
    let server = with_auth(gate.clone(), |config| config.limits.max_logins_waiting = 2);
    let mut inside: Vec<_> =
        (0..slots + 2).map(|i| Knock::at(server.address, &login(&format!("player{i}"), "", ""))).collect();
    server.wait_for("tagwire_logins_waiting", 2.0);
    let (_, answer) = knock(server.address, &login("late", "", ""));
    let answer = answer.unwrap_err();
    assert_eq!((answer.code, answer.part), (u32::from(CloseCode::OVERLOAD.0), login_part::Value::Untold));
    assert_eq!((answer.reason.as_str(), answer.retry_after_ms), ("too many players log in at once", 3000));
    assert_eq!(server.metric("tagwire_limits_reached_total{limit=\"max_logins_waiting\"}"), 1.0);
    gate.open();
    inside.iter_mut().for_each(|knock| drop(knock.answer().unwrap()));
    assert!(knock(server.address, &login("late", "", "")).1.is_ok());
}

#[test]
fn who_gives_up_costs_nothing() {
    let gate = Gate::default();
    let slots = std::thread::available_parallelism().unwrap().get();
    let server = with_auth(gate.clone(), |config| config.limits.login_timeout_ms = 1500);
    let denied = |reason: &str| format!("tagwire_logins_denied_total{{reason=\"{reason}\"}}");
    // As long as these are judged, which they are beyond the deadline, nobody else is.
    let _judged: Vec<_> =
        (0..slots).map(|i| Knock::at(server.address, &login(&format!("slow{i}"), "", ""))).collect();
    while gate.asked().len() < slots {}
    let mut impatient = Knock::at(server.address, &login("impatient", "", ""));
    server.wait_for("tagwire_logins_waiting", 1.0);
    let late = impatient.answer().unwrap_err();
    assert_eq!(late.code, u32::from(CloseCode::LOGIN_TIMEOUT.0));
    server.wait_for("tagwire_logins_waiting", 0.0);
    // Two who wait; one hangs up.
    let gone = Knock::at(server.address, &login("gone", "", ""));
    server.wait_for("tagwire_logins_waiting", 1.0);
    let mut patient = Knock::at(server.address, &login("patient", "", ""));
    server.wait_for("tagwire_logins_waiting", 2.0);
    drop(gone);
    gate.open();
    patient.answer().unwrap();
    server.wait_for(&denied("gone"), 1.0);
    let asked = gate.asked();
    assert!(!asked.contains(&"gone".to_string()) && !asked.contains(&"impatient".to_string()), "{asked:?}");
    assert_eq!(server.metric("tagwire_logins_judged_total"), slots as f64 + 1.0);
}

/// Guessing at one name from many connections at once gains nothing: the limit is looked at again when a guess's turn
/// has come.
#[test]
fn many_guesses_at_once_are_no_more_than_the_limit() {
    struct Wrong(Gate, Arc<AtomicU64>);
    impl Authenticator for Wrong {
        fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
            self.0.authenticate(attempt)?;
            self.1.fetch_add(1, Ordering::Relaxed);
            Err(Denied::WrongPassword)
        }
    }
    let (gate, guesses) = (Gate::default(), Arc::new(AtomicU64::new(0)));
    let server = with_auth(Wrong(gate.clone(), Arc::clone(&guesses)), |_| ());
    let mut waiting: Vec<_> =
        (0..60).map(|_| Knock::at(server.address, &login("zoe", "guess", ""))).collect();
    let slots = std::thread::available_parallelism().unwrap().get();
    server.wait_for("tagwire_logins_waiting", (60 - slots) as f64);
    gate.open();
    let told: Vec<_> = waiting.iter_mut().map(|knock| knock.answer().unwrap_err()).collect();
    let limited = told.iter().filter(|told| told.reason.starts_with("too many logins failed")).count() as u64;
    let guesses = guesses.load(Ordering::Relaxed);
    assert_eq!(guesses + limited, 60);
    assert!((10..10 + slots as u64).contains(&guesses), "{guesses} guesses at the name");
}

#[test]
fn an_authenticator_that_cannot_judge_says_so_to_the_log_alone() {
    struct Down;
    impl Authenticator for Down {
        fn authenticate(&self, _: &Attempt<'_>) -> Result<Identity, Denied> {
            Err(Denied::Unavailable("the database is at 10.0.0.7".to_string()))
        }
    }
    let server = with_auth(Down, |_| ());
    let (_, answer) = knock(server.address, &login("zoe", "x", ""));
    let answer = answer.unwrap_err();
    assert_eq!((answer.code, answer.retry_after_ms), (u32::from(CloseCode::OVERLOAD.0), 5000));
    assert_eq!(answer.reason, "logins cannot be judged now");
}

/// A token is the name, the role, and how many seconds it is still good.
struct Tokens;

impl Authenticator for Tokens {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        let parts: Vec<_> = attempt.login.token.split(' ').collect();
        let [name, role, seconds] = parts[..] else { return Err(TokenError::Missing.into()) };
        if name == "forged" {
            return Err(TokenError::Invalid("forged").into());
        }
        let access = if role == "operator" { Access::Operator } else { Access::Player };
        let until_s = now_s().checked_add_signed(seconds.parse().unwrap()).unwrap();
        Ok(Identity::new(name, access).valid_until_us(until_s * 1_000_000))
    }
}

#[test]
fn a_session_is_not_resumed_when_its_token_has_expired() {
    let server = with_auth(Tokens, |_| ());
    let begin = |token: &str| {
        let (knock, welcome) = knock(server.address, &login("", "", token));
        (knock, welcome.unwrap())
    };
    let resume = |welcome: &v1::Welcome, token: &str| {
        let resume = v1::Resume { token: welcome.resume_token.clone(), connection: 2, ..Default::default() };
        knock(server.address, &v1::PlayerLogin { resume: Some(resume), ..login("", "", token) })
    };
    let told = "the credentials of the session have expired; bring fresh ones";
    // Good for long: nothing is asked.
    let (_one, zoe) = begin("zoe player 60");
    let (_again, back) = resume(&zoe, "");
    assert!(back.unwrap().resumed);
    // Over: not without a token, not with a bad one, and with another's or another role the session is another.
    let (mut one, kit) = begin("kit player -1");
    let answer = resume(&kit, "").1.unwrap_err();
    assert_eq!((answer.code, answer.reason.as_str()), (u32::from(CloseCode::RESUME_REFUSED.0), told));
    let answer = resume(&kit, "forged player 60").1;
    assert_eq!(answer, Err(refused(login_part::Value::Token, "the token is not valid")));
    let (_max, other) = resume(&kit, "max player 60");
    let other = other.unwrap();
    assert_eq!((other.name.as_str(), other.resumed), ("max", false));
    // Nobody who failed so has cut the connection that there is.
    one.0.wait_for_ping();
    // With a fresh one of the same player it goes on, and is good for as long as that says.
    let (_back, back) = resume(&kit, "kit player 60");
    let back = back.unwrap();
    assert_eq!((back.name.as_str(), back.resumed, back.session_id), ("kit", true, kit.session_id));
    let (_back, back) = resume(&kit, "");
    assert!(back.unwrap().resumed, "its validity was extended");
    let (_one, ann) = begin("ann player -1");
    let (_other, promoted) = resume(&ann, "ann operator 60");
    assert!(!promoted.unwrap().resumed, "another role is another session");
    let refused = "tagwire_resumes_refused_total{reason=\"expired\"}";
    assert_eq!(server.metric(refused), 3.0);
}

#[test]
fn a_password_that_is_unknown_takes_as_long_as_a_wrong_one() {
    let users = users_file(["zoe".to_string()], "correct horse");
    let server = TestServer::with(|config| {
        config.auth = AuthKind::File;
        config.file_auth.users = users.path().display().to_string();
        config.limits.max_failed_logins_per_name = 0;
    });
    let tries = if is_long() { 50 } else { 5 };
    let time = |name: &str| {
        let mut knock = Knock(Classic::connect(server.address));
        let start = std::time::Instant::now();
        knock.say(&login(name, "wrong", ""));
        assert_eq!(knock.answer().unwrap_err().reason, "wrong name or password");
        start.elapsed().as_secs_f64()
    };
    let (mut wrong, mut unknown) = (vec![], vec![]);
    for _ in 0..tries {
        wrong.push(time("zoe"));
        unknown.push(time("max"));
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (wrong, unknown) = (median(&mut wrong), median(&mut unknown));
    println!(
        "medians of {tries}: wrong password {:.2} ms, unknown name {:.2} ms",
        wrong * 1e3,
        unknown * 1e3
    );
    assert_eq!(server.metric("tagwire_logins_judged_total"), f64::from(2 * tries));
    if is_long() {
        assert!((wrong - unknown).abs() < 0.1 * wrong.max(unknown), "they can be told apart");
    }
}

#[test]
fn two_hundred_log_in_at_once_and_nobody_inside_notices() {
    let count = if is_long() { 200 } else { 60 };
    let users =
        users_file((0..count).map(|i| format!("player{i}")).chain(["zoe".to_string()]), "correct horse");
    let users = format!("file_auth.users={}", users.path().display());
    let server = Program::start(&[
        "--set",
        "auth=file",
        "--set",
        &users,
        "--set",
        "limits.login_timeout_ms=60000",
        "--set",
        "limits.max_connections_per_address=1000",
    ]);
    let mut zoe = Player::login(server.address, "zoe", "correct horse").unwrap();
    let (done, longest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let watching = std::thread::spawn({
        let (done, longest) = (Arc::clone(&done), Arc::clone(&longest));
        move || {
            let mut last = None;
            while done.load(Ordering::Relaxed) == 0 {
                if let Event::Ping(_) = zoe.next().unwrap() {
                    let now = std::time::Instant::now();
                    let gap = last.replace(now).map_or(0, |last| (now - last).as_millis() as u64);
                    longest.fetch_max(gap, Ordering::Relaxed);
                }
            }
        }
    });
    let mut knocks: Vec<_> = (0..count).map(|_| Knock(Classic::connect(server.address))).collect();
    let (before_kib, _) = server.memory();
    server.reset_peak();
    let start = std::time::Instant::now();
    for (i, knock) in knocks.iter_mut().enumerate() {
        knock.say(&login(&format!("player{i}"), "correct horse", ""));
    }
    // Nobody is patient for ten seconds who may be the last of two hundred.
    let mut answers = vec![];
    for (i, knock) in knocks.iter_mut().enumerate() {
        let welcome = knock.answer().unwrap();
        assert_eq!(welcome.name, format!("player{i}"));
        answers.push(welcome.player_id);
    }
    let took = start.elapsed();
    done.store(1, Ordering::Relaxed);
    watching.join().unwrap();
    let grown_kib = server.memory().1.saturating_sub(before_kib);
    let slots = std::thread::available_parallelism().unwrap().get() as u64;
    let longest_ms = longest.load(Ordering::Relaxed);
    let first = *answers.iter().min().unwrap();
    let displaced = answers.iter().enumerate().map(|(i, id)| (id - first).abs_diff(i as u32)).max().unwrap();
    println!(
        "{count} logins in {:.2} s on {slots} cores; memory +{grown_kib} KiB at the peak; longest gap between Pings \
         {longest_ms} ms; nobody was more than {displaced} places off",
        took.as_secs_f64()
    );
    assert!(grown_kib < slots * 19 * 1024 + 20_000_000 / 1024, "{grown_kib} KiB");
    if is_long() {
        assert!(longest_ms < 1500, "{longest_ms} ms between two Pings");
    }
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_start_says_who_judges_and_what_is_wrong_with_the_file() {
    let users = users_file(["zoe".to_string()], "correct horse");
    let path = users.path().to_str().unwrap();
    let with = |settings: &[&str]| -> Vec<String> {
        settings.iter().flat_map(|set| ["--set".to_string(), (*set).to_string()]).collect()
    };
    let users = format!("file_auth.users={path}");
    let key = format!("jwt_auth.key={}", key_file("ed25519.public.pem"));
    for (settings, says) in [
        (with(&[]), "WARN development passwords: every name is everybody's".to_string()),
        (with(&["auth=file", &users]), format!("INFO players come in by the passwords in {path} (1 users)")),
        (
            with(&["auth=jwt", &key]),
            format!(
                "INFO players come in by tokens (EdDSA), judged by the keys in {}",
                key_file("ed25519.public.pem")
            ),
        ),
    ] {
        let arguments: Vec<_> = settings.iter().map(String::as_str).collect();
        let (_, log) = Program::start(&arguments).stop();
        assert!(log.contains(&says), "no {says:?} in\n{log}");
    }
    // Others may reach it, for it is not development passwords that they meet.
    let (_, log) = Program::spawn(common::program::command(&[
        "--listen",
        "0.0.0.0:0",
        "--set",
        "auth=file",
        "--set",
        &users,
    ]))
    .stop();
    assert!(log.contains("server up on 0.0.0.0:"), "{log}");
    let bad = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bad.path(), "[users]\nzoe = { hash = \"hunter2\" }\n").unwrap();
    let bad = bad.path().to_str().unwrap();
    for (settings, parts) in [
        (
            with(&["auth=file", "file_auth.users=/nowhere/users.toml"]),
            vec![
                "/nowhere/users.toml: No such file",
                "fix: tagwire-server users add NAME --file /nowhere/users.toml",
            ],
        ),
        (
            with(&["auth=file", &format!("file_auth.users={bad}")]),
            vec![bad, "line 2: zoe: hash: it is no hash"],
        ),
        (
            with(&["auth=jwt", &format!("jwt_auth.key={}", key_file("rsa.private.pem"))]),
            vec!["rsa.private.pem: line 1: this is a private key", "fix: the public one: openssl pkey"],
        ),
        (with(&["auth=jwt"]), vec!["jwt_auth.key = \"\"", "fix:"]),
        (with(&["auth=file"]), vec!["file_auth.users = \"\"", "fix:"]),
    ] {
        let arguments: Vec<_> =
            ["--listen", "127.0.0.1:0"].into_iter().chain(settings.iter().map(String::as_str)).collect();
        let (code, _, error) = run(&arguments);
        assert_eq!(code, Some(2), "{error}");
        for part in parts {
            assert!(error.contains(part), "no {part:?} in\n{error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
    // A game that says so must bring its own.
    let (code, _, error) = run(&["--listen", "127.0.0.1:0", "--set", "auth=game"]);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("the game brings no authenticator") && error.contains("fix: Server::auth"),
        "{error}"
    );
}
