//! `users`: the file that names and passwords come from, changed by the program while a server goes by it.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use common::doors::{knock, login};
use common::program::{Program, command};
use common::*;

struct Folder {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users.toml");
        Folder { _folder: folder, file }
    }

    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// Exit code, standard output, standard error.
    fn users(&self, arguments: &[&str], typed: &str) -> (Option<i32>, String, String) {
        let mut command = command(&[&["users"], arguments, &["--file", self.path()]].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        // Who asks for nothing does not read it.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

#[test]
fn users_come_and_go() {
    let folder = Folder::new();
    let path = folder.path();
    let add = folder.users(&["add", "zoe", "--role", "operator", "--password-stdin"], "correct horse\n");
    assert_eq!(add, (Some(0), format!("zoe is in {path}\n"), String::new()));
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let add = folder.users(&["add", "Kit of the hill", "--password-stdin"], "battery\r\nstaple\n");
    assert_eq!(add.0, Some(0));
    assert!(add.2.contains("warning: fewer than 8 characters"), "{}", add.2);
    let list = folder.users(&["list"], "");
    assert_eq!(list, (Some(0), "Kit of the hill\tplayer\nzoe\toperator\n".to_string(), String::new()));
    assert!(
        folder.users(&["add", "ZOE", "--password-stdin"], "x\n").2.contains("zoe is in the file already")
    );

    let passwd = folder.users(&["passwd", "ZOE", "--password-stdin"], "battery staple");
    assert_eq!(passwd.0, Some(0), "{}", passwd.2);
    assert_eq!(folder.users(&["remove", "kit of the hill"], "").0, Some(0));
    assert_eq!(folder.users(&["list"], "").1, "zoe\toperator\n");
    let text = fs::read_to_string(path).unwrap();
    assert!(!text.contains("battery") && text.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
}

#[test]
fn what_is_wrong_says_so_with_exit_code_2_and_changes_nothing() {
    let folder = Folder::new();
    let (code, _, error) = folder.users(&["list"], "");
    assert_eq!(code, Some(2));
    assert!(error.contains("users.toml: No such file"), "{error}");
    folder.users(&["add", "zoe", "--password-stdin"], "correct horse\n");
    let before = fs::read_to_string(&folder.file).unwrap();
    for (arguments, typed, says) in [
        (
            &["add", "zoe", "--password-stdin"] as &[_],
            "other",
            "zoe is in the file already\n  fix: users passwd",
        ),
        (&["add", "kit", "--password-stdin"], "\n", "a password has at least one character"),
        (&["add", "kit", "--password-stdin"], &"x".repeat(1025), "a password has at most 1024 bytes"),
        (&["add", "a\nb", "--password-stdin"], "x", "a name has no control characters"),
        (&["add", "kit", "--role", "god", "--password-stdin"], "x", "possible values: player, operator"),
        (&["remove", "kit"], "", "nobody in the file is called kit\n  fix: users list"),
        (&["passwd", "kit", "--password-stdin"], "x", "nobody in the file is called kit"),
        (&["adopt", "kit"], "", "unrecognized subcommand 'adopt'"),
    ] {
        let (code, _, error) = folder.users(arguments, typed);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
    assert_eq!(fs::read_to_string(&folder.file).unwrap(), before);
    fs::write(&folder.file, "[users]\nzoe = { hash = \"hunter2\" }\n").unwrap();
    let (code, _, error) = folder.users(&["remove", "zoe"], "");
    assert_eq!(code, Some(2));
    assert!(
        error.contains("users.toml: line 2: zoe: hash: it is no hash") && !error.contains("hunter2"),
        "{error}"
    );
    // Without a file, the settings say which.
    let output = command(&["users", "list"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("which file of users?\n  fix: --file users.toml"), "{error}");
    let mut listed = command(&["users", "list"]);
    let output = listed.env("TAGWIRE_FILE_AUTH_USERS", folder.path()).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("users.toml: line 2"));
}

/// Types at a terminal, each line when it is asked for, and returns all that the terminal showed. `script` is that of
/// util-linux, which every Debian has.
fn type_in(folder: &Folder, name: &str, lines: [&str; 2]) -> (bool, String) {
    let program = env!("CARGO_BIN_EXE_tagwire-server");
    let line = format!("{program} users add {name} --file {}", folder.path());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = String::new();
    let mut wait_for = |shown: &mut String, text: &str| {
        let mut byte = [0];
        while !shown.contains(text) && stdout.read(&mut byte).unwrap() == 1 {
            shown.push(char::from(byte[0]));
        }
    };
    for (prompt, line) in ["Password: ", "Again: "].iter().zip(lines) {
        wait_for(&mut shown, prompt);
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    wait_for(&mut shown, "never shown");
    (child.wait().unwrap().success(), shown)
}

#[test]
fn a_terminal_is_asked_twice_and_shows_nothing() {
    let folder = Folder::new();
    let (good, shown) = type_in(&folder, "zoe", ["correct horse", "correct horse"]);
    assert!(good && shown.contains("zoe is in"), "{shown}");
    assert!(!shown.contains("correct"), "{shown}");
    let (good, shown) = type_in(&folder, "kit", ["correct horse", "correct house"]);
    assert!(!good && shown.contains("the two passwords differ; nothing was changed"), "{shown}");
    assert!(!shown.contains("correct"), "{shown}");
    assert_eq!(folder.users(&["list"], "").1, "zoe\tplayer\n");
}

/// Tries until it succeeds or does not, as is wanted.
fn wait_for_login(server: &Program, name: &str, password: &str, good: bool) {
    let start = Instant::now();
    while knock(server.address, &login(name, password, "")).1.is_ok() != good {
        assert!(start.elapsed() < PATIENCE, "{name} {good}: {}", server.log());
    }
}

#[test]
fn a_running_server_goes_by_the_changed_file_and_not_by_a_broken_one() {
    let folder = Folder::new();
    folder.users(&["add", "zoe", "--password-stdin"], "correct horse\n");
    let users = format!("file_auth.users={}", folder.path());
    let server = Program::start(&[
        "--set",
        "auth=file",
        "--set",
        &users,
        "--set",
        "limits.max_failed_logins_per_name=0",
    ]);
    wait_for_login(&server, "zoe", "correct horse", true);
    folder.users(&["add", "kit", "--password-stdin"], "battery staple\n");
    wait_for_login(&server, "kit", "battery staple", true);
    folder.users(&["passwd", "zoe", "--password-stdin"], "another one\n");
    wait_for_login(&server, "zoe", "another one", true);
    assert!(knock(server.address, &login("zoe", "correct horse", "")).1.is_err());
    folder.users(&["remove", "kit"], "");
    wait_for_login(&server, "kit", "battery staple", false);

    replace(&folder.file, "[users]\nzoe = { hash = \"broken\" }\n");
    let start = Instant::now();
    while !server.log().contains("what was read before stays in force") {
        wait_for_login(&server, "zoe", "another one", true);
        assert!(start.elapsed() < PATIENCE, "nothing is said of it: {}", server.log());
    }
    // It is looked at again for some of these.
    for _ in 0..10 {
        wait_for_login(&server, "zoe", "another one", true);
    }
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_log("settings read again");
    let (_, log) = server.stop();
    let told: Vec<_> = log.lines().filter(|line| line.contains("stays in force")).collect();
    assert_eq!(told.len(), 1, "once, not at every login: {told:#?}");
    assert!(
        told[0].contains("ERROR") && told[0].contains("users.toml: line 2: zoe: hash: it is no hash"),
        "{told:?}"
    );
}

fn replace(file: &Path, text: &str) {
    let new = file.with_extension("other");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}
