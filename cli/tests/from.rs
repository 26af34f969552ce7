//! `tagwire gen --from`: the schema of a running server instead of files.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use common::{exists, project, run, tree, write};
use tagwire_server::auth::{Attempt, Authenticator, Denied, Identity};
use tagwire_server::{AuthKind, Config, Server, bind, read_schema};
use tempfile::TempDir;
use tokio::sync::oneshot;

fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto")
}

/// A server in this process, until it is dropped.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn new(config: Config, game: impl FnOnce(Server) -> Server) -> Self {
        let server = game(Server::new(config, read_schema(&proto()).unwrap()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(async { bind("127.0.0.1:0".parse().unwrap()).unwrap() });
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let shutdown = async { stopped.await.unwrap_or_default() };
            runtime.block_on(server.serve(vec![listener], shutdown)).unwrap();
        });
        Running { address, stop: Some(stop), thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("tagwire://{}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The password is "good", and so is the token.
struct Own;

impl Authenticator for Own {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        match (attempt.login.password.as_str(), attempt.login.token.as_str()) {
            ("good", _) => Ok(Identity::new(&attempt.login.username, tagwire::Access::Player)),
            (_, "good") => Ok(Identity::new("zoe", tagwire::Access::Player)),
            (_, "") => Err(Denied::WrongPassword),
            _ => Err(Denied::Refused("no such token".to_string())),
        }
    }
}

fn players_only() -> Running {
    Running::new(Config { auth: AuthKind::Game, ..Config::default() }, |server| server.auth(Own))
}

/// The command with what it finds in its environment and on its standard input.
fn with(dir: &TempDir, args: &[&str], env: &[(&str, &str)], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tagwire"))
        .args(args)
        .envs(env.iter().copied())
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who does not ask for it does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn it_writes_the_same_bytes_as_from_the_files() {
    let server = Running::new(Config::default(), |server| server);
    let (there, here) = (project(), project());
    let templates = format!("{}/../examples/templates/lua", env!("CARGO_MANIFEST_DIR"));
    let settings = format!(
        "[[gen.output]]\nlanguage = \"python\"\nout = \"py\"\n[[gen.output]]\ntemplate = \"{templates}\"\nout = \"lua\"\n"
    );
    let from_files = format!("[gen]\nschema = \"{}\"\n{settings}", proto().display());
    write(&here, "tagwire.toml", &from_files);
    write(&there, "tagwire.toml", &settings);
    assert_eq!(run(&here, &["gen"]).0, 0);
    let (code, out, err) = run(&there, &["gen", "--from", &server.url()]);
    assert_eq!((code, &*err), (0, ""));
    assert!(out.contains("py/arena: 7 written") && out.contains("lua: 2 written"), "{out}");
    for folder in ["py", "lua"] {
        let files = |dir: &TempDir| -> Vec<_> {
            let root = dir.path().join(folder);
            let all = tree(&root).into_iter();
            all.map(|(name, text)| (name[root.display().to_string().len()..].to_string(), text)).collect()
        };
        // What is made, and the list of it.
        assert!(files(&here).len() >= 3);
        assert_eq!(files(&there), files(&here));
    }
    // Comments came too.
    let stub = fs::read_to_string(there.path().join("py/arena/v1/__init__.pyi")).unwrap();
    assert!(stub.contains("pixels from the left edge"), "{stub}");
    // And the model that templates see.
    let model = |dir: &TempDir, args: &[&str]| run(dir, &[&["gen", "--model"], args].concat());
    assert_eq!(model(&there, &["--from", &server.url()]), model(&here, &[]));
    assert_eq!(run(&there, &["gen", "--check", "--from", &server.url()]).0, 0);
    // In the settings, too.
    write(&there, "tagwire.toml", &format!("[gen]\nfrom = \"{}\"\n{settings}", server.url()));
    assert_eq!(run(&there, &["gen", "--check"]).0, 0);
    let (code, _, err) = run(&there, &["gen", "--watch"]);
    assert!(code == 2 && err.starts_with("error: `--watch` looks at files"), "{err}");
}

#[test]
fn an_unreachable_server() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = project();
    for (url, says) in [
        (
            format!("tagwire://127.0.0.1:{port}"),
            format!("error: tagwire://127.0.0.1:{port} is not reached: "),
        ),
        ("http://127.0.0.1".to_string(), "error: http://127.0.0.1: ".to_string()),
    ] {
        let (code, out, err) = run(&dir, &["gen", "--from", &url]);
        assert_eq!((code, &*out), (2, ""));
        assert!(err.starts_with(&says) && err.contains("\n  fix: "), "{err}");
    }
    let (code, out, err) = run(&dir, &["gen", "--json", "--from", &format!("tagwire://127.0.0.1:{port}")]);
    assert_eq!((code, &*err), (2, ""));
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["ok"], false);
    assert!(told["errors"][0]["fix"].as_str().unwrap().contains("listen"), "{told}");
    assert!(!exists(&dir, "clients"));
}

#[test]
fn where_only_players_are_told_credentials_are_needed() {
    let server = players_only();
    let url = server.url();
    let from = |dir: &TempDir, more: &[&str], env: &[(&str, &str)], input: &str| {
        with(dir, &[&["gen", "--out", "out", "--from", &url], more].concat(), env, input)
    };
    let (name, good) = (&["--username", "zoe"][..], &[("TAGWIRE_PASSWORD", "good")][..]);
    for (more, env, input) in [
        (name, good, ""),
        (&["--username", "zoe", "--password-stdin"][..], &[][..], "good\n"),
        (&["--username", "zoe", "--password-stdin"][..], &[("TAGWIRE_PASSWORD", "bad")][..], "good\r\n"),
        (&["--token", "good"][..], &[][..], ""),
        (&[][..], &[("TAGWIRE_TOKEN", "good")][..], ""),
        (name, &[("TAGWIRE_TOKEN", "bad"), ("TAGWIRE_PASSWORD", "good")][..], ""),
    ] {
        let dir = project();
        let (code, out, err) = from(&dir, more, env, input);
        assert_eq!((code, &*err), (0, ""), "{more:?}");
        assert_eq!(out, "out/arena: 7 written, 0 removed, 0 unchanged\n");
    }
    for (more, env, input, says) in [
        (&[][..], &[][..], "", " refuses: "),
        (name, &[("TAGWIRE_PASSWORD", "bad")][..], "", " refuses: "),
        (&["--token", "bad"][..], &[][..], "", " refuses: "),
        (name, &[][..], "", "there is no password for zoe, and nobody to ask\n  fix: set TAGWIRE_PASSWORD"),
        (&["--username", "zoe", "--password-stdin"][..], &[][..], "", "the standard input has no password"),
    ] {
        let dir = project();
        let (code, out, err) = from(&dir, more, env, input);
        assert_eq!((code, &*out), (2, ""), "{more:?}");
        assert!(
            err.starts_with("error: ") && err.contains(says) && err.contains("\n  fix: "),
            "{more:?}: {err}"
        );
        assert!(!exists(&dir, "out"));
    }
}

#[test]
fn flags_that_do_not_go_together() {
    let dir = project();
    for args in [
        &["gen", "--from", "a", "--schema", "proto"][..],
        &["gen", "--from", "a", "--watch"],
        &["gen", "--password-stdin"],
        &["gen", "--from", "localhost", "--password-stdin"],
        &["gen", "--from", "a", "--token", "t", "--password-stdin"],
        &["gen", "--from", "a", "--token", "t", "--username", "zoe"],
        &["gen", "--username", "zoe"],
        &["gen", "--pin", "sha256:00"],
    ] {
        let (code, out, err) = run(&dir, args);
        assert_eq!((code, &*out), (2, ""), "{args:?}");
        assert!(err.starts_with("error: "), "{err}");
    }
    assert!(!exists(&dir, "clients"));
}

#[test]
fn the_players_name_may_be_in_the_settings() {
    let server = players_only();
    let settings = format!("[gen]\nfrom = \"{}\"\nusername = \"zoe\"\n", server.url());
    for (more, env, input) in [
        (&["--password-stdin"][..], &[][..], "good\n"),
        (&[][..], &[("TAGWIRE_PASSWORD", "good")][..], ""),
        // A token of another server does not take the place of the name that is written there.
        (&[][..], &[("TAGWIRE_TOKEN", "bad"), ("TAGWIRE_PASSWORD", "good")][..], ""),
        (&["--token", "good"][..], &[][..], ""),
    ] {
        let dir = project();
        write(&dir, "tagwire.toml", &settings);
        let (code, _, err) = with(&dir, &[&["gen"], more].concat(), env, input);
        assert_eq!((code, &*err), (0, ""), "{more:?} {env:?}");
    }
}

#[test]
fn what_is_secret_goes_through_no_open_network() {
    let dir = project();
    // Documentation's own network: nobody is there, and nothing is to be sent.
    for url in [
        "192.0.2.1",
        "tagwire://192.0.2.1:7777",
        "TAGWIRE://game.invalid",
        "[2001:db8::1]:7777",
        "127.0.0.1.invalid",
    ] {
        for (args, env) in [
            (&["--username", "zoe"][..], &[("TAGWIRE_PASSWORD", "secret")][..]),
            (&["--username", "zoe"][..], &[][..]),
            (&["--token", "secret"][..], &[][..]),
            (&[][..], &[("TAGWIRE_TOKEN", "secret")][..]),
        ] {
            let (code, out, err) = with(&dir, &[&["gen", "--from", url], args].concat(), env, "");
            assert_eq!((code, &*out), (2, ""));
            assert!(err.contains("could be read on the way") && err.contains("tagwires://"), "{url}: {err}");
            assert!(!err.contains("secret"), "{err}");
        }
    }
    // On this machine they stay: nobody listens, and that is what is said.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for url in [
        format!("LOCALHOST:{port}"),
        format!("tagwire://[::1]:{port}/"),
        format!("127.0.0.2:{port}"),
        "::1".to_string(),
    ] {
        let (_, _, err) = with(&dir, &["gen", "--from", &url, "--token", "t"], &[], "");
        assert!(err.contains(" is not reached: "), "{url}: {err}");
    }
}

#[test]
fn what_is_wrong_with_the_flags_is_told_to_programs_too() {
    let dir = project();
    for (args, what, fix) in [
        (
            &["gen", "--json", "--chekc"][..],
            "unexpected argument '--chekc' found",
            "a similar argument exists: '--check'",
        ),
        (
            &["check", "--json", "--accept-breaking"],
            "the following required arguments were not provided",
            "--update",
        ),
        (
            &["gen", "--lang", "pyhton", "--json"],
            "invalid value 'pyhton'",
            "a similar value exists: 'python'",
        ),
    ] {
        let (code, out, err) = run(&dir, args);
        assert_eq!((code, &*err), (2, ""), "{args:?}");
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        let error = &told["errors"][0];
        assert_eq!(told["ok"], false);
        assert!(error["what"].as_str().unwrap().starts_with(what), "{told}");
        assert!(error.to_string().contains(fix), "{told}");
    }
    let (code, out, _) = run(&dir, &["gen", "--json", "--help"]);
    assert!(code == 0 && out.contains("Examples:"), "help stays help: {out}");
}
