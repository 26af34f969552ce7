//! No secret in anything that a server prints: a run with known ones, and everything that came of it, searched for them.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;

use common::doors::*;
use common::program::{Program, run};
use common::*;
use jsonwebtoken::Algorithm;
use rustix::process::Signal;
use serde_json::json;
use tagwire::pb::tagwire::v1;

/// Everything that must not be found, in each form in which somebody may have printed it.
#[derive(Default)]
struct Secrets(Vec<String>);

impl Secrets {
    fn text(&mut self, secret: &str) {
        assert!(secret.len() >= 8, "{secret} may be found by chance");
        self.0.push(secret.to_string());
        self.bytes(secret.as_bytes());
    }

    fn bytes(&mut self, secret: &[u8]) {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{secret:?}");
        self.0.extend([hex.to_uppercase(), hex, list.trim_matches(['[', ']']).to_string()]);
        self.0.push(tagwire::bytes::Bytes::copy_from_slice(secret).escape_ascii().to_string());
    }

    fn search(&self, place: &str, printed: &str) {
        for secret in &self.0 {
            assert!(!printed.contains(secret), "{place} has {secret:?}:\n{printed}");
        }
    }
}

fn resumed(address: std::net::SocketAddr, token: &[u8], login: v1::PlayerLogin) -> Knock {
    let token = tagwire::bytes::Bytes::copy_from_slice(token);
    let resume = v1::Resume { token, connection: 2, ..Default::default() };
    knock(address, &v1::PlayerLogin { resume: Some(resume), ..login }).0
}

#[test]
fn nothing_that_is_printed_has_a_secret_in_it() {
    let mut secrets = Secrets::default();
    let (good, wrong, dev) = ("c0rrect-h0rse", "wr0ng-guess-1", "dev-s3cret-0");
    [good, wrong, dev].iter().for_each(|secret| secrets.text(secret));
    let users = users_file(["zoe".to_string()], good);
    let text = fs::read_to_string(users.path()).unwrap();
    // Salt and hash; what comes before is the same for all.
    for part in text.split('$').skip(4).map(|part| part.trim_end_matches(['"', ' ', '}', '\n'])) {
        secrets.text(part);
    }
    let secret = "0123456789-secret-of-the-account-server";
    secrets.text(secret);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret");
    fs::write(&key, secret).unwrap();
    let signed = |claims: &serde_json::Value| {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::HS256), claims, &key).unwrap()
    };
    let token = signed(&json!({ "sub": "zoe", "exp": now_s() + 60, "note": "cl4im-of-a-player" }));
    let expired = signed(&json!({ "sub": "zoe", "exp": now_s() - 600 }));
    for token in [&token, &expired] {
        token.split('.').skip(1).for_each(|part| secrets.text(part));
    }
    secrets.text("cl4im-of-a-player");
    let alien = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ6b2UifQ.Zm9yZ2VkLXNpZ25hdHVyZS0wMDA";
    secrets.text("t0ken-that-is-none");
    secrets.text(alien.split('.').nth(2).unwrap());

    let config = folder.path().join("tagwire.toml");
    fs::write(
        &config,
        format!(
            "[dev_auth]\npassword = \"{dev}\"\n[file_auth]\nusers = \"{}\"\n[jwt_auth]\nkey = \"{}\"\n\
             algorithms = [\"HS256\"]\n",
            users.path().display(),
            key.display()
        ),
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let mut printed = vec![];
    for (auth, ours) in
        [("dev", login("zoe", dev, "")), ("file", login("zoe", good, "")), ("jwt", login("zoe", "", &token))]
    {
        let server = Program::start(&[
            "--log",
            "trace",
            "--config",
            config,
            "--set",
            &format!("auth={auth}"),
            "--set",
            "guests=true",
        ]);
        let (mut zoe, welcome) = knock(server.address, &ours);
        let welcome = welcome.unwrap();
        secrets.bytes(&welcome.resume_token);
        secrets.bytes(&welcome.resume_token[16..]);
        for login in [
            login("zoe", wrong, ""),
            login("max", wrong, ""),
            login("zoe", "", &expired),
            login("zoe", "", alien),
            login("zoe", wrong, "t0ken-that-is-none"),
            login(good, wrong, ""),
        ] {
            // What is told to the client is printed by the client.
            let (_, answer) = knock(server.address, &login);
            printed.push(("what a client is told", format!("{answer:?}")));
        }
        let mut classic = Classic::connect(server.address);
        classic.login("zoe", wrong);
        classic.rest();
        zoe.0.send(&frame(&mouse(1, 2)));
        // Answered when that was handled, and logged.
        zoe.0.send(&frame(&v1::Request { key: 1, tag: 248, ..Default::default() }));
        while zoe.0.next().expect("still inside").0 != 243 {}
        let _again = resumed(server.address, &welcome.resume_token, login("", "", ""));
        let mut other = welcome.resume_token.to_vec();
        other[20] ^= 1;
        secrets.bytes(&other);
        let _not = resumed(server.address, &other, login("", wrong, ""));
        let _guest = knock(server.address, &login("", "", ""));
        server.signal(Signal::HUP);
        server.wait_for_log("settings read again");
        server.signal(Signal::USR1);
        server.wait_for_log("counted: ");
        let (status, log) = server.stop();
        assert_eq!(status.code(), Some(0));
        assert!(log.contains("message arena.v1.MouseEvent"), "not all is logged: {log}");
        printed.push((auth, log));
    }
    // A name is no secret, even where somebody took a password for one.
    let typed = format!("ACCESS DENIED for {good} from");
    for (place, text) in &mut printed {
        *text = text.replace(&typed, "").replace(&format!("no session is resumed for {good}"), "");
        assert!(!place.is_empty());
    }
    for arguments in [
        vec!["--print-config", "--config", config],
        vec![
            "--config",
            config,
            "--set",
            "auth=jwt",
            "--set",
            "jwt_auth.algorithms=RS256",
            "--listen",
            "127.0.0.1:0",
        ],
        vec![
            "--config",
            config,
            "--set",
            "auth=file",
            "--listen",
            "127.0.0.1:0",
            "--set",
            "file_auth.users=/dev/null",
            "--set",
            "threads=5000",
        ],
        vec!["users", "list", "--file", users.path().to_str().unwrap()],
        vec!["users", "remove", "nobody", "--file", users.path().to_str().unwrap()],
    ] {
        let (_, out, error) = run(&arguments);
        printed.push(("a program", out + &error));
    }
    let mut searched = 0;
    for (place, text) in &printed {
        secrets.search(place, text);
        searched += text.len();
    }
    assert!(searched > 10_000 && secrets.0.len() > 50, "{searched} bytes, {} secrets", secrets.0.len());
}
