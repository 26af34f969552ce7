//! An authenticator of a game's own, as `examples/sqlite` has it; and what the guide says of tokens, as it stands there.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::doors::*;
use common::program::{Program, command, command_of_example};
use rusqlite::Connection;
use tagwire::pb::tagwire::v1::login_part;
use tagwire_server::auth::password;

#[test]
fn players_come_from_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("players.sqlite");
    let database = Connection::open(&path).unwrap();
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sqlite.rs")).unwrap();
    let table = example.lines().find_map(|line| line.strip_prefix("//! CREATE TABLE")).unwrap();
    database.execute(&format!("CREATE TABLE {table}"), ()).unwrap();
    let add = |name: &str, password: &str, operator: bool| {
        let row = (tagwire::name::key(name), name, password::hash(password).unwrap(), operator);
        database.execute("INSERT INTO players VALUES (?1, ?2, ?3, ?4)", row).unwrap();
    };
    add("Zoe", "correct horse", true);
    let mut program = command_of_example("sqlite", &["--set", "auth=game"]);
    let server = Program::spawn({
        program.env("PLAYERS", &path);
        program
    });
    let login = |name, password| knock(server.address, &login(name, password, "")).1;
    let welcome = login("zoe", "correct horse").unwrap();
    assert_eq!(welcome.name, "Zoe");
    for (name, password) in [("zoe", "correct house"), ("kit", "correct horse"), ("' OR 1=1 --", "x")] {
        let told = login(name, password).unwrap_err();
        assert_eq!(
            (told.part, told.reason.as_str()),
            (login_part::Value::Password, "wrong name or password")
        );
    }
    add("kit", "battery staple", false);
    assert_eq!(login("KIT", "battery staple").unwrap().name, "kit");
    database.execute("DROP TABLE players", ()).unwrap();
    let told = login("zoe", "correct horse").unwrap_err();
    assert_eq!((told.code, told.reason.as_str()), (3003, "logins cannot be judged now"));
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("players come in by the game's own rules"), "{log}");
    assert!(log.contains("ERROR logins cannot be judged: no such table: players"), "{log}");
}

/// The blocks of a language in a section of the guide.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/auth.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, section) = guide.split_once(&format!("\n## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let begin = format!("```{language}\n");
    let blocks = section.split(&begin).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_string()).collect()
}

#[test]
fn the_guides_tokens_open_the_guides_server() {
    let folder = tempfile::tempdir().unwrap();
    let shell = blocks("Tokens", "sh").join("\n");
    let output = Command::new("bash").args(["-euc", &shell]).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap();
    let [settings] = blocks("Tokens", "toml").try_into().unwrap();
    fs::write(folder.path().join("tagwire.toml"), settings).unwrap();
    let mut program = command(&["--listen", "127.0.0.1:0"]);
    program.current_dir(&folder);
    let server = Program::spawn(program);
    let welcome = knock(server.address, &login("", "", token.trim())).1.unwrap();
    assert_eq!(welcome.name, "zoe");
    let forged = format!("{}A", token.trim());
    assert_eq!(knock(server.address, &login("", "", &forged)).1.unwrap_err().part, login_part::Value::Token);
}

#[test]
fn the_guides_file_of_users_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let [users] = blocks("Names and passwords", "toml").try_into().unwrap();
    let file = folder.path().join("users.toml");
    fs::write(&file, users).unwrap();
    let output = command(&["users", "list", "--file", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Kit of the hill\tplayer\nzoe\toperator\n");
}
