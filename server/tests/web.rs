//! A folder of files for browsers, on the port of the game: what is shown, what is not, and what it may cost.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::program::{Program, command};
use common::via::{End, Via};
use common::*;
use tagwire::session::client::Event;
use tagwire_server::{Config, JwtAlgorithm, Plaintext, Server};
use tempfile::TempDir;

const PAGE: &str = "<!doctype html><title>arena</title><script type=module src=game.js></script>\n";

/// A page, what it loads, and what nobody is to see.
fn site() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join("dist").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put("index.html", PAGE.as_bytes());
    put("game.js", b"export {};\n");
    put("assets/index.html", b"assets\n");
    put("assets/a b.wasm", b"\0asm");
    put("empty/nothing.txt", b"");
    put(".env", b"SECRET=1");
    put(".git/config", b"SECRET=2");
    fs::write(folder.path().join("secret.txt"), "SECRET=3").unwrap();
    folder
}

fn dist(site: &TempDir) -> String {
    site.path().join("dist").to_str().unwrap().to_string()
}

fn serving(site: &TempDir, change: impl FnOnce(&mut Config)) -> TestServer {
    let folder = dist(site);
    TestServer::with(|config| {
        config.web = folder;
        change(config);
    })
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// All that comes until the server closes.
fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let (mut bytes, start) = (vec![], Instant::now());
    let mut buffer = [0; 65536];
    loop {
        assert!(start.elapsed() < PATIENCE, "it is not closed");
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => panic!("not a clean end: {e}"),
        }
    }
}

fn answer(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    Answer { status, head, body: bytes[end..].to_vec() }
}

fn ask_by(mut stream: End, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    answer(&read_all(&mut stream))
}

fn ask(server: &TestServer, line: &str, headers: &str) -> Answer {
    ask_by(
        End::connect(server.address),
        &format!("{line} HTTP/1.1\r\nHost: game.example:7777\r\n{headers}\r\n"),
    )
}

fn get(server: &TestServer, path: &str) -> Answer {
    ask(server, &format!("GET {path}"), "")
}

fn answered(server: &TestServer, status: u16) -> f64 {
    server.metric(&format!("tagwire_web_requests_total{{status=\"{status}\"}}"))
}

#[test]
fn a_page_and_what_it_loads_are_shown() {
    let site = site();
    let server = serving(&site, |_| ());
    let page = get(&server, "/");
    assert_eq!((page.status, page.text()), (200, PAGE));
    for (name, value) in [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", &PAGE.len().to_string()),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
        ("Connection", "close"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    for (path, kind, body) in [
        ("/index.html?v=1", "text/html; charset=utf-8", PAGE),
        ("/game.js", "text/javascript; charset=utf-8", "export {};\n"),
        ("/assets/", "text/html; charset=utf-8", "assets\n"),
        ("/assets/a%20b.wasm", "application/wasm", "\0asm"),
        ("/empty/nothing.txt", "text/plain; charset=utf-8", ""),
    ] {
        let shown = get(&server, path);
        assert_eq!(
            (shown.status, shown.header("Content-Type"), shown.text()),
            (200, Some(kind), body),
            "{path}"
        );
    }
    assert_eq!(answered(&server, 200), 6.0);
    // Nobody was turned away.
    assert_eq!(server.metric("tagwire_logins_denied_total{reason=\"no login\"}"), 0.0);
    server.wait_for("tagwire_connections", 0.0);
}

#[test]
fn a_head_says_what_a_page_would_and_sends_none() {
    let site = site();
    let server = serving(&site, |_| ());
    let (head, page) = (ask(&server, "HEAD /", ""), get(&server, "/"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.head, page.head);
    let head = ask(&server, "HEAD /none", "");
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[test]
fn a_file_that_is_known_is_not_sent_again_until_it_changes() {
    let site = site();
    let server = serving(&site, |_| ());
    let tag = get(&server, "/game.js").header("ETag").unwrap().to_string();
    let again =
        |server: &TestServer| ask(server, "GET /game.js", &format!("If-None-Match: \"x\", {tag}\r\n"));
    let same = again(&server);
    assert_eq!((same.status, same.body.len(), same.header("ETag")), (304, 0, Some(tag.as_str())));
    // Files are read when they are asked for.
    fs::write(site.path().join("dist/game.js"), "export { 1 as one };\n").unwrap();
    let other = again(&server);
    assert_eq!((other.status, other.text()), (200, "export { 1 as one };\n"));
    fs::write(site.path().join("dist/new.js"), "new").unwrap();
    assert_eq!(get(&server, "/new.js").text(), "new");
    fs::remove_file(site.path().join("dist/new.js")).unwrap();
    assert_eq!(get(&server, "/new.js").status, 404);
}

/// Whatever is asked for, nothing leaves the folder.
#[test]
fn nothing_outside_of_the_folder_is_shown_and_nothing_hidden() {
    let site = site();
    let dist = site.path().join("dist");
    symlink("../secret.txt", dist.join("link.txt")).unwrap();
    symlink(site.path(), dist.join("above")).unwrap();
    symlink("/etc", dist.join("etc")).unwrap();
    symlink("nowhere", dist.join("dangling")).unwrap();
    symlink("loop", dist.join("loop")).unwrap();
    assert!(Command::new("mkfifo").arg(dist.join("pipe")).status().unwrap().success());
    let server = serving(&site, |_| ());
    let long = format!("/{}", "a".repeat(3000));
    let deep = "/assets/..".repeat(100) + "/secret.txt";
    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/assets/../../secret.txt",
        "/./../secret.txt",
        "//etc/passwd",
        "//../secret.txt",
        "/%2fetc/passwd",
        "/etc/passwd",
        "/file:///etc/passwd",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git/",
        "/link.txt",
        "/above/secret.txt",
        "/dangling",
        "/loop",
        "/pipe",
        "/secret.txt%00.html",
        "/index.html%00",
        "/index.html/",
        "/index.html/x",
        "/game.js%0d%0aX:%20y",
        "/%c0%ae%c0%ae/secret.txt",
        "/%zz",
        "/packets",
        "/empty/",
        "/INDEX.HTML",
        "http://game.example/../secret.txt",
        &long,
        &deep,
    ] {
        let shown = get(&server, path);
        assert!(!shown.text().contains("SECRET") && !shown.text().contains("root:"), "{path}: {shown:?}");
        // A link to itself cannot be read, as a file whose rights do not allow it; some are no requests at all.
        let refused = if path == "/loop" { 403 } else { 404 };
        assert!([refused, 400].contains(&shown.status), "{path}: {shown:?}");
        assert_eq!(shown.header("X-Content-Type-Options"), Some("nosniff"), "{path}");
    }
    // Links that stay inside are as good as files.
    symlink("game.js", dist.join("inside.js")).unwrap();
    assert_eq!(get(&server, "/inside.js").text(), "export {};\n");
    // And the folder may be a link itself, that is turned to another one.
    let current = site.path().join("current");
    symlink(&dist, &current).unwrap();
    let server = TestServer::with(|config| config.web = current.to_str().unwrap().to_string());
    assert_eq!(get(&server, "/").text(), PAGE);
    fs::create_dir(site.path().join("next")).unwrap();
    fs::write(site.path().join("next/index.html"), "next").unwrap();
    fs::remove_file(&current).unwrap();
    symlink(site.path().join("next"), &current).unwrap();
    assert_eq!(get(&server, "/").text(), "next");
}

#[test]
fn a_folder_is_sent_on_to_its_page() {
    let site = site();
    let server = serving(&site, |_| ());
    let sent = get(&server, "/assets?x=1");
    assert_eq!((sent.status, sent.header("Location")), (307, Some("/assets/?x=1")));
    assert_eq!(get(&server, "/assets").header("Location"), Some("/assets/"));
    // Without one it is nothing, with a slash and without.
    for path in ["/empty", "/empty/"] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    assert_eq!((answered(&server, 307), answered(&server, 404)), (2.0, 2.0));
}

#[test]
fn without_a_folder_everything_is_as_before() {
    let server = TestServer::start();
    assert!(get(&server, "/").text().contains("This is a tagwire server."));
    assert_eq!(get(&server, "/index.html").status, 404);
    assert_eq!(ask(&server, "HEAD /", "").status, 200);
}

#[test]
fn by_tls_and_in_memory_too_and_beside_players_of_every_kind() {
    let site = site();
    let server = serving(&site, |config| {
        config.tls.certificate = common::via::IDENTITY.pem.to_str().unwrap().to_string();
    });
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for via in [Via::Tcp, Via::Tls, Via::Memory] {
        let page = via.run(|| ask_by(End::connect(server.address), request));
        assert_eq!((page.status, page.text()), (200, PAGE), "{via:?}");
    }
    for via in Via::ALL {
        via.run(|| server.player(&format!("{via:?}")));
    }
}

#[test]
fn where_logins_need_tls_browsers_are_sent_there() {
    let site = site();
    let server = serving(&site, |config| {
        config.plaintext = Plaintext::Deny;
        config.tls.certificate = common::via::IDENTITY.pem.to_str().unwrap().to_string();
    });
    let sent = get(&server, "/assets/?x");
    assert_eq!((sent.status, sent.header("Location")), (307, Some("https://game.example:7777/assets/?x")));
    let nameless = ask_by(End::connect(server.address), "GET / HTTP/1.1\r\n\r\n");
    assert_eq!((nameless.status, nameless.header("Location")), (403, None));
    assert_eq!((answered(&server, 307), answered(&server, 403)), (1.0, 1.0));
    // To where nothing answers nobody is sent.
    let server = serving(&site, |config| config.plaintext = Plaintext::Deny);
    let refused = get(&server, "/");
    assert_eq!((refused.status, refused.header("Location")), (403, None));
    assert!(refused.text().contains("has no certificate"), "{}", refused.text());
}

/// nginx asks so, unless it is told otherwise.
#[test]
fn who_asks_in_http_1_0_is_answered() {
    let site = site();
    let server = serving(&site, |_| ());
    let page = ask_by(End::connect(server.address), "GET / HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((page.status, page.text(), page.header("Connection")), (200, PAGE, Some("close")));
}

#[test]
fn a_full_server_shows_nothing_but_that() {
    let site = site();
    let server = serving(&site, |config| config.limits.max_connections = 1);
    let _there = server.player("zoe");
    let page = get(&server, "/");
    assert_eq!((page.status, page.text()), (503, "the server is full (1 connections)\n"));
    assert_eq!(answered(&server, 503), 1.0);
}

/// More than sockets hold, so that the server waits for the reader.
fn large(site: &TempDir, megabytes: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..megabytes << 20).map(|at| (at % 251) as u8).collect();
    fs::write(site.path().join("dist/large.bin"), &bytes).unwrap();
    bytes
}

/// A reader that has asked and reads nothing.
fn deaf(server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /large.bin HTTP/1.1\r\n\r\n").unwrap();
    stream
}

#[test]
fn a_large_file_outlives_the_deadline_of_the_login_and_comes_whole() {
    let site = site();
    let bytes = large(&site, 24);
    let server = serving(&site, |config| config.limits.login_timeout_ms = 200);
    let mut reader = deaf(&server);
    // Until somebody who says nothing is turned away, which came later.
    let mut silent = TcpStream::connect(server.address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    reader.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let came = answer(&read_all(&mut reader));
    assert_eq!((came.status, came.header("Content-Length")), (200, Some(bytes.len().to_string().as_str())));
    assert!(came.body == bytes, "{} bytes of {}", came.body.len(), bytes.len());
    let request = "GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n";
    let tls = serving(&site, |config| {
        config.tls.certificate = common::via::IDENTITY.pem.to_str().unwrap().to_string();
    });
    let came = Via::Tls.run(|| ask_by(End::connect(tls.address), request));
    assert!(came.body == bytes, "{} bytes of {}", came.body.len(), bytes.len());
}

#[test]
fn who_takes_nothing_is_left_and_who_takes_something_is_not() {
    let site = site();
    let bytes = large(&site, 24);
    let server = serving(&site, |config| config.limits.outbox_max_stuck_ms = 2000);
    let (mut deaf, mut slow) = (deaf(&server), deaf(&server));
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut came = vec![];
    // A megabyte now and then, until the other one is gone and for as long again.
    let mut gone = None;
    while came.len() < bytes.len() && gone.is_none_or(|gone: Instant| gone.elapsed() < Duration::from_secs(3))
    {
        let mut piece = vec![0; 1 << 20];
        slow.read_exact(&mut piece).unwrap();
        came.extend_from_slice(&piece);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            if gone.is_none() && server.metric("tagwire_connections") < 2.0 {
                gone = Some(Instant::now());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(gone.is_some(), "the deaf one is still there");
    slow.read_to_end(&mut came).unwrap();
    assert!(answer(&came).body == bytes);
    let mut came = vec![];
    // What was in the socket, and no more.
    let _ = deaf.read_to_end(&mut came);
    assert!(came.len() < bytes.len());
}

#[test]
fn so_many_files_are_on_their_way_at_once_and_players_do_not_notice() {
    let site = site();
    large(&site, 24);
    let server = serving(&site, |config| {
        config.limits.max_web_requests = 5;
        config.limits.max_connections_per_address = 1000;
    });
    let mut player = server.player("zoe");
    let deaf: Vec<_> = (1..=5)
        .map(|count| {
            let stream = deaf(&server);
            server.wait_for("tagwire_web_requests_total{status=\"200\"}", f64::from(count));
            stream
        })
        .collect();
    for _ in 0..20 {
        let busy = get(&server, "/");
        assert_eq!((busy.status, busy.header("Retry-After")), (503, Some("1")));
    }
    assert_eq!(server.metric("tagwire_limits_reached_total{limit=\"max_web_requests\"}"), 20.0);
    player.wait(|event| matches!(event, Event::Ping(_)).then_some(()));
    player.send(&mouse(1, 2));
    server.player("kit");
    // Who goes makes place.
    drop(deaf);
    server.wait_for("tagwire_connections", 1.0);
    assert_eq!(get(&server, "/").status, 200);
}

#[test]
fn one_address_leaves_turns_for_others() {
    let site = site();
    large(&site, 24);
    let server = serving(&site, |config| {
        config.limits.max_web_requests = 8;
        config.limits.trusted = vec!["127.0.0.2/32".parse().unwrap()];
    });
    let deaf: Vec<_> = (1..=2)
        .map(|count| {
            let stream = deaf(&server);
            server.wait_for("tagwire_web_requests_total{status=\"200\"}", f64::from(count));
            stream
        })
        .collect();
    assert_eq!(get(&server, "/").status, 503);
    drop(deaf);
    server.wait_for("tagwire_connections", 0.0);
    assert_eq!(get(&server, "/").status, 200);
}

#[test]
fn a_file_that_becomes_shorter_ends_the_answer_and_nothing_else() {
    let site = site();
    large(&site, 24);
    let server = serving(&site, |_| ());
    let mut reader = deaf(&server);
    server.wait_for("tagwire_web_requests_total{status=\"200\"}", 1.0);
    fs::write(site.path().join("dist/large.bin"), "short").unwrap();
    let mut came = vec![];
    // Cut off: less than was promised.
    let _ = reader.read_to_end(&mut came);
    assert!(came.len() < 24 << 20);
    assert_eq!(get(&server, "/large.bin").text(), "short");
}

#[test]
fn a_stop_does_not_wait_for_who_reads_slowly() {
    let site = site();
    large(&site, 24);
    let server = serving(&site, |_| ());
    let _reader = deaf(&server);
    server.wait_for("tagwire_web_requests_total{status=\"200\"}", 1.0);
    let begun = Instant::now();
    let metrics = server.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(metrics.snapshot()["tagwire_connections"], 0.0);
}

#[test]
fn a_folder_that_is_not_there_is_told_at_the_start() {
    let site = site();
    for web in ["/no/such/folder", site.path().join("secret.txt").to_str().unwrap()] {
        let config = Config { web: web.to_string(), ..Config::default() };
        let error = Server::new(config, tagwire::pb::schema()).check().unwrap_err().to_string();
        assert!(error.contains("web = ") && error.contains(web) && error.contains("--web DIR"), "{error}");
        let output = command(&["--listen", "127.0.0.1:0", "--web", web]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

/// `--web .` in the folder of a project.
#[test]
fn a_folder_in_which_secrets_are_is_not_shown() {
    let site = site();
    let web = site.path().to_str().unwrap().to_string();
    let place = |name: &str| site.path().join(name).to_str().unwrap().to_string();
    symlink(site.path().join("secret.txt"), site.path().join("dist/link.pem")).unwrap();
    let why = |web: &str, change: &dyn Fn(&mut Config)| {
        let mut config = Config { web: web.to_string(), ..Config::default() };
        change(&mut config);
        let told = Server::new(config, tagwire::pb::schema()).check();
        told.err().map(|error| error.to_string()).unwrap_or_default()
    };
    type Set<'a> = &'a dyn Fn(&mut Config, String);
    let secrets: [(&str, Set<'_>); 5] = [
        ("secret.txt", &|config, path| config.file_auth.users = path),
        ("later/users.toml", &|config, path| config.file_auth.users = path),
        ("secret.txt", &|config, path| config.tls.key = path),
        ("dist/link.pem", &|config, path| config.tls.certificate = path),
        ("secret.txt", &|config, path| {
            config.jwt_auth.key = path;
            config.jwt_auth.algorithms = vec![JwtAlgorithm::Hs256];
        }),
    ];
    fs::create_dir(site.path().join("later")).unwrap();
    for (name, set) in secrets {
        let told = why(&web, &|config| set(config, place(name)));
        assert!(told.contains("which is shown to anyone") && told.contains(&place(name)), "{name}: {told}");
    }
    for allowed in [
        why(&web, &|config| config.jwt_auth.key = place("secret.txt")),
        why(&dist(&site), &|config| config.file_auth.users = place("secret.txt")),
        why(".", &|config| config.tls.certificate = "self-signed".to_string()),
        why("", &|config| config.file_auth.users = place("secret.txt")),
    ] {
        assert_eq!(allowed, "");
    }
    let start = |name: &str| {
        fs::write(site.path().join(name), "web = \".\"\n").unwrap();
        let mut program = command(&["--listen", "127.0.0.1:0", "--config", name]);
        program.current_dir(site.path()).output().unwrap()
    };
    for name in ["tagwire.toml", "dist/other.toml"] {
        let output = start(name);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("which is shown to anyone") && told.contains(name), "{told}");
    }
}

#[test]
fn the_flag_names_the_folder() {
    let site = site();
    let program = Program::spawn(command(&[
        "--listen",
        "127.0.0.1:0",
        "--web",
        Path::new(&dist(&site)).to_str().unwrap(),
    ]));
    let page = ask_by(End::connect(program.address), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(page.text(), PAGE);
    program.stop();
}

/// The commands of the guide, as they stand there.
#[test]
fn what_the_guide_says_works() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/web.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, block) = guide.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let (commands, start) = block.trim_end().rsplit_once('\n').unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert!(
        Command::new("sh").args(["-ec", commands]).current_dir(folder.path()).status().unwrap().success()
    );
    let arguments: Vec<_> = start.strip_prefix("tagwire-server ").unwrap().split(' ').collect();
    let mut program = command(&[&["--listen", "127.0.0.1:0"], arguments.as_slice()].concat());
    program.current_dir(folder.path());
    let program = Program::spawn(program);
    let page = ask_by(End::connect(program.address), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(page.text().contains("<h1>It works</h1>"), "{page:?}");
    program.stop();
    let limits = Config::default().limits;
    assert!(guide.contains(&format!("`limits.max_web_requests` | {} |", limits.max_web_requests)));
    assert_eq!(limits.outbox_max_stuck_ms, 10_000);
    assert!(guide.contains("`limits.outbox_max_stuck_ms` | 10,000 |"));
}
