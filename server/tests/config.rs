//! The settings: where they come from, how they are printed, what is said of wrong ones, and how SIGHUP changes them.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::program::{Program, command, run};
use common::*;
use rustix::process::Signal;
use tagwire_server::{
    AuthKind, ClientCertificates, Config, ConfigError, FileAuth, Flag, JwtAlgorithm, JwtAuth, Limits, Loaded,
    LogFormat, Plaintext, SchemaAccess, SchemaComments, SchemaPolicy, Sources, TlsConfig,
};

/// A folder with this `tagwire.toml`.
fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tagwire.toml");
    fs::write(&file, text).unwrap();
    (folder, file)
}

fn load(file: Option<&Path>, variables: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, ConfigError> {
    let environment = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let flags = flags.iter().map(|text| Flag::set(text)).collect::<Result<_, _>>()?;
    // Without a file of its own, the one that is where the tests run must not count.
    let (_folder, empty) = folder("");
    let file = Some(file.unwrap_or(&empty).to_path_buf());
    Sources { file, environment: environment.collect(), flags }.load()
}

/// A value for every key that is not the default, and none like another.
const ALL: [(&str, &str); 52] = [
    ("listen", "127.0.0.1:1,[::1]:2"),
    ("schema", "game"),
    ("schema_policy", "exact"),
    ("schema_access", "nobody"),
    ("schema_comments", "always"),
    ("threads", "3"),
    ("log", "debug"),
    ("log_format", "json"),
    ("classic", "false"),
    ("auth", "jwt"),
    ("guests", "true"),
    ("default_room", "4"),
    ("shutdown_retry_ms", "5"),
    ("tcp_notsent_lowat_bytes", "6"),
    ("plaintext", "deny"),
    ("trusted_proxies", "10.2.0.0/16"),
    ("websocket_origins", "same,https://game.example"),
    ("limits.login_timeout_ms", "5001"),
    ("limits.peer_timeout_ms", "10001"),
    ("limits.max_frame_bytes", "65537"),
    ("limits.outbox_max_frames", "1025"),
    ("limits.outbox_max_bytes", "1048577"),
    ("limits.outbox_max_stuck_ms", "10002"),
    ("limits.outbox_max_kept_bytes", "262145"),
    ("limits.resume_window_ms", "60001"),
    ("limits.max_connections", "20001"),
    ("limits.max_connections_per_address", "101"),
    ("limits.max_frames_per_second", "1001"),
    ("limits.max_bytes_per_second", "1048578"),
    ("limits.max_joins_per_second", "13"),
    ("limits.request_timeout_ms", "14"),
    ("limits.max_failed_logins_per_address", "11"),
    ("limits.max_failed_logins_per_name", "12"),
    ("limits.max_logins_waiting", "257"),
    ("limits.max_room_members", "1002"),
    ("limits.max_room_mailbox_bytes", "1048577"),
    ("limits.max_rooms", "10003"),
    ("limits.max_room_deliveries_per_second", "2000001"),
    ("limits.trusted", "10.0.0.1,::1,10.1.0.0/16"),
    ("tls.certificate", "cert.pem"),
    ("tls.key", "key.pem"),
    ("tls.client_ca", "ca.pem"),
    ("tls.client_certificates", "optional"),
    ("dev_auth.password", "123"),
    ("dev_auth.allow_public", "true"),
    ("file_auth.users", "users.toml"),
    ("jwt_auth.key", "key.pem"),
    ("jwt_auth.algorithms", "EdDSA,HS256"),
    ("jwt_auth.issuer", "https://accounts.example"),
    ("jwt_auth.audience", "game"),
    ("jwt_auth.leeway_s", "31"),
    ("jwt_auth.roles_claim", "realm_access.roles"),
];

fn all() -> Config {
    let mut config = Config {
        listen: vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()],
        schema: "game".to_string(),
        schema_policy: SchemaPolicy::Exact,
        schema_access: SchemaAccess::Nobody,
        schema_comments: SchemaComments::Always,
        threads: 3,
        log: "debug".to_string(),
        log_format: LogFormat::Json,
        classic: false,
        auth: AuthKind::Jwt,
        guests: true,
        default_room: "4".to_string(),
        shutdown_retry_ms: 5,
        tcp_notsent_lowat_bytes: 6,
        plaintext: Plaintext::Deny,
        trusted_proxies: vec!["10.2.0.0/16".parse().unwrap()],
        websocket_origins: ["same", "https://game.example"].map(str::to_string).to_vec(),
        tls: TlsConfig {
            certificate: "cert.pem".to_string(),
            key: "key.pem".to_string(),
            client_ca: "ca.pem".to_string(),
            client_certificates: ClientCertificates::Optional,
        },
        limits: Limits {
            login_timeout_ms: 5001,
            peer_timeout_ms: 10001,
            max_frame_bytes: 65537,
            outbox_max_frames: 1025,
            outbox_max_bytes: 1048577,
            outbox_max_stuck_ms: 10002,
            outbox_max_kept_bytes: 262_145,
            resume_window_ms: 60_001,
            max_connections: 20001,
            max_connections_per_address: 101,
            max_frames_per_second: 1001,
            max_bytes_per_second: 1048578,
            max_joins_per_second: 13,
            request_timeout_ms: 14,
            max_failed_logins_per_address: 11,
            max_failed_logins_per_name: 12,
            max_logins_waiting: 257,
            max_room_members: 1002,
            max_room_mailbox_bytes: 1_048_577,
            max_rooms: 10003,
            max_room_deliveries_per_second: 2000001,
            trusted: ["10.0.0.1/32", "::1/128", "10.1.0.0/16"].map(|net| net.parse().unwrap()).to_vec(),
        },
        file_auth: FileAuth { users: "users.toml".to_string() },
        jwt_auth: JwtAuth {
            key: "key.pem".to_string(),
            algorithms: vec![JwtAlgorithm::EdDsa, JwtAlgorithm::Hs256],
            issuer: "https://accounts.example".to_string(),
            audience: "game".to_string(),
            leeway_s: 31,
            roles_claim: "realm_access.roles".to_string(),
        },
        ..Config::default()
    };
    config.dev_auth.password = "123".to_string();
    config.dev_auth.allow_public = true;
    config
}

#[test]
fn every_key_can_be_said_by_environment_and_by_flag() {
    let names = ALL.map(|(key, value)| (format!("TAGWIRE_{}", key.to_uppercase().replace('.', "_")), value));
    let variables: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let loaded = load(None, &variables, &[]).unwrap();
    assert_eq!(loaded.config, all());
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let flags = ALL.map(|(key, value)| format!("{key}={value}"));
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    assert_eq!(load(None, &[], &flags).unwrap().config, all());
    // Said here to be all of them, so that a new key is not forgotten above.
    let differ = Config::default().changes(&all());
    assert_eq!(differ.len(), ALL.len());
    let differ: Vec<_> = differ.iter().map(ToString::to_string).collect();
    assert!(differ.contains(&"threads: 0 -> 3".to_string()), "{differ:?}");
    assert!(differ.contains(&"dev_auth.password: changed".to_string()), "{differ:?}");
    let printed = Config::default().to_commented_toml();
    assert_eq!(printed.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count(), 51);
}

#[test]
fn the_later_source_wins() {
    let (_folder, file) =
        folder("threads = 1\nshutdown_retry_ms = 1\n[limits]\nmax_rooms = 1\nmax_room_members = 1\n");
    let variables = [
        ("TAGWIRE_SHUTDOWN_RETRY_MS", "2"),
        ("TAGWIRE_LIMITS_MAX_ROOMS", "2"),
        ("TAGWIRE_LISTEN", "[::1]:7"),
    ];
    let config = load(Some(&file), &variables, &["limits.max_rooms=3", "limits.max_rooms=4"]).unwrap().config;
    let expected = Config {
        threads: 1,
        shutdown_retry_ms: 2,
        listen: vec!["[::1]:7".parse().unwrap()],
        limits: Limits { max_rooms: 4, max_room_members: 1, ..Limits::default() },
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn texts_and_lists_may_be_written_as_toml() {
    let flags = ["default_room=\"the room\"", "limits.trusted=[\"10.0.0.1\"]", "listen=[::1]:1"];
    let config = load(None, &[], &flags).unwrap().config;
    assert_eq!(config.listen, ["[::1]:1".parse().unwrap()]);
    assert_eq!(config.default_room, "the room");
    assert_eq!(config.limits.trusted, ["10.0.0.1/32".parse().unwrap()]);
    // In a variable, quotes belong to the value: nothing else could say them.
    let config = load(None, &[("TAGWIRE_DEFAULT_ROOM", "\"x\"")], &[]).unwrap().config;
    assert_eq!(config.default_room, "\"x\"");
    assert_eq!(load(None, &[("TAGWIRE_LIMITS_TRUSTED", "")], &[]).unwrap().config.limits.trusted, []);
}

#[test]
fn what_is_wrong_names_its_place() {
    let (_folder, file) = folder("\n[limits]\n# none\nmax_rooms = 0\n");
    let path = file.to_str().unwrap();
    let error = load(Some(&file), &[], &[]).unwrap_err().to_string();
    assert_eq!(error, format!("limits.max_rooms = 0 ({path} line 4): expected 1 to 1048576"));
    for (variable, value, says) in [
        ("TAGWIRE_THREADS", "many", "TAGWIRE_THREADS = many: expected a whole number, 0 or more"),
        ("TAGWIRE_THREADS", "-1", "TAGWIRE_THREADS = -1: expected a whole number, 0 or more"),
        ("TAGWIRE_THREADS", "", "TAGWIRE_THREADS = : expected a whole number, 0 or more"),
        (
            "TAGWIRE_SHUTDOWN_RETRY_MS",
            "5000000000",
            "TAGWIRE_SHUTDOWN_RETRY_MS = 5000000000: expected a smaller number",
        ),
        ("TAGWIRE_CLASSIC", "yes", "TAGWIRE_CLASSIC = yes: expected true or false"),
        ("TAGWIRE_LOG_FORMAT", "xml", "TAGWIRE_LOG_FORMAT = xml: expected `human` or `json`"),
        (
            "TAGWIRE_LISTEN",
            "nowhere",
            "TAGWIRE_LISTEN = nowhere: expected a list with commas like 127.0.0.1:7777: invalid socket address syntax",
        ),
        (
            "TAGWIRE_LIMITS_TRUSTED",
            "10.0.0.0/33",
            "TAGWIRE_LIMITS_TRUSTED = 10.0.0.0/33: expected a list with commas like 127.0.0.0/8,::1/128: invalid \
             value: string \"10.0.0.0/33\", expected an address or a network, \"10.0.0.1\" or \"10.0.0.0/8\"",
        ),
        (
            "TAGWIRE_LISTEN",
            "",
            "listen = [] (TAGWIRE_LISTEN): expected at least one address, \"127.0.0.1:7777\"",
        ),
        (
            "TAGWIRE_LIMITS_MAX_BYTES_PER_SECOND",
            "5",
            "limits.max_bytes_per_second = 5 (TAGWIRE_LIMITS_MAX_BYTES_PER_SECOND; limits.max_frame_bytes: default): \
             expected 0 or 65536 to 1073741824, for limits.max_frame_bytes = 65536",
        ),
        (
            "TAGWIRE_LOG",
            "",
            "log =  (TAGWIRE_LOG): expected a level or a filter: \"\" is no level\n  \
             fix: use error, warn, info, debug or trace",
        ),
        (
            "TAGWIRE_AUTH",
            "file",
            "file_auth.users = \"\" (default): expected a file, for auth = \"file\"\n  fix: \
             file_auth.users=users.toml, and somebody in it: tagwire-server users add NAME --file users.toml",
        ),
        ("TAGWIRE_AUTH", "ldap", "TAGWIRE_AUTH = ldap: expected one of `dev`, `file`, `jwt`, `game`"),
        (
            "TAGWIRE_JWT_AUTH_ALGORITHMS",
            "none",
            "TAGWIRE_JWT_AUTH_ALGORITHMS = none: expected a list with commas like RS256,EdDSA: unknown variant `none`, \
             expected one of `HS256`, `RS256`, `EdDSA`",
        ),
        (
            "TAGWIRE_LOG",
            "inof",
            "log = inof (TAGWIRE_LOG): expected a level or a filter: \"inof\" is no level\n  \
             fix: use error, warn, info, debug or trace",
        ),
    ] {
        assert_eq!(load(None, &[(variable, value)], &[]).unwrap_err().to_string(), says);
    }
    for (flag, says) in [
        ("limits.max_rooms", "--set = limits.max_rooms: expected KEY=VALUE, limits.max_rooms=5"),
        ("max_rooms=5", "--set max_rooms: there is no such key\n  fix: did you mean limits.max_rooms?"),
        ("limits=5", "--set limits: there is no such key"),
        (
            "dev_auth.pasword=hunter2",
            "--set dev_auth.pasword: there is no such key\n  fix: did you mean dev_auth.password?",
        ),
        (
            "limits.max_rooms=5 # five",
            "--set limits.max_rooms = 5 # five: expected a whole number, 0 or more",
        ),
        ("threads=5000", "threads = 5000 (--set threads): expected 0 to 1024"),
    ] {
        assert_eq!(load(None, &[], &[flag]).unwrap_err().to_string(), says);
    }
}

#[test]
fn the_table_of_the_command_is_left_alone() {
    let text = "log = \"warn\"\n[limits]\nmax_rooms = 5\n[gen]\nschema = [\"proto\"]\n[[gen.output]]\nlanguage = \"python\"\n";
    let (_folder, file) = folder(text);
    let config = load(Some(&file), &[], &[]).unwrap().config;
    assert_eq!((&*config.log, config.limits.max_rooms), ("warn", 5));
    // What is wrong beside it still names its line, and another table of that kind is not taken for it.
    for (wrong, line) in [("[gen]\nx = 1\n[limits]\nmax_roms = 5\n", "max_roms"), ("[gne]\nx = 1\n", "gne")] {
        let (_folder, file) = folder(wrong);
        let error = load(Some(&file), &[], &[]).unwrap_err().to_string();
        let number = wrong.lines().position(|l| l.contains(line)).unwrap() + 1;
        assert!(error.contains(&format!("line {number}, column")) && error.contains(line), "{error}");
    }
}

#[test]
fn the_names_of_others_are_only_warned_of() {
    let variables = [
        ("TAGWIRE_SERVER", "/bin/x"),
        ("TAGWIRE_MAX_ROOMS", "s3cret"),
        ("TAGWIRE_DEV_AUTH_PASWORD", "s3cret"),
        ("OTHER", "1"),
        ("TAGWIRE_CONFIG", "passed over, for a flag names the file"),
    ];
    let loaded = load(None, &variables, &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(
        loaded.warnings,
        [
            "TAGWIRE_DEV_AUTH_PASWORD is no setting of the server; did you mean TAGWIRE_DEV_AUTH_PASSWORD?",
            "TAGWIRE_MAX_ROOMS is no setting of the server; did you mean TAGWIRE_LIMITS_MAX_ROOMS?",
            "TAGWIRE_SERVER is no setting of the server",
        ]
    );
    let mut command = command(&["--listen", "127.0.0.1:0"]);
    command.env("TAGWIRE_MAX_ROOMS", "5");
    let (_, log) = Program::spawn(command).stop();
    assert!(log.contains("WARN TAGWIRE_MAX_ROOMS is no setting"), "{log}");
}

#[test]
fn an_error_in_a_password_does_not_show_it() {
    for text in [
        "[dev_auth]\npassword = 12345678\n",
        "[dev_auth]\npassword = hunter2\n",
        "[dev_auth]\npassword = \"hunter2\n",
        "[dev_auth]\npassword = [\"hunter2\",\n\"12345678\"]\n",
        "dev_auth = { password = 12345678 }\n",
        "[dev_auth]\npassword = \"\"\"\nhunter2\n",
        "[dev_auth]\npassword = \"\"\"\n12345678\nhunter2\" \" x",
    ] {
        let (_folder, file) = folder(text);
        let error = load(Some(&file), &[], &[]).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && !error.contains("12345678"), "{error}");
        assert!(error.contains("line ") && error.contains("dev_auth.password must be"), "{error}");
    }
    let (_folder, file) = folder("[dev_auth]\npassword = \"hunter2\"\nallow_public = 3\n");
    let error = load(Some(&file), &[], &[]).unwrap_err().to_string();
    assert!(error.contains("line 3") && error.contains("allow_public = 3"), "{error}");
}

#[test]
fn what_is_printed_gives_the_same_settings() {
    let mut config = all();
    // It is not printed.
    config.dev_auth.password = Config::default().dev_auth.password;
    let (_folder, file) = folder(&config.to_commented_toml());
    assert_eq!(load(Some(&file), &[], &[]).unwrap().config, config);

    let (_folder, file) = folder("[dev_auth]\npassword = \"hunter2\"\n[limits]\nmax_rooms = 7\n");
    let (code, printed, error) =
        run(&["--print-config", "--config", file.to_str().unwrap(), "--threads", "3"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(!printed.contains("hunter2"), "{printed}");
    for line in [
        "# Rooms in all: 1 to 1048576.\nmax_rooms = 7\n",
        "\nthreads = 3\n",
        "# password = \"...\"  (left out",
    ] {
        assert!(printed.contains(line), "no {line:?} in\n{printed}");
    }
    let (_folder, again) = folder(&printed);
    let (_, twice, _) = run(&["--print-config", "--config", again.to_str().unwrap()]);
    assert_eq!(printed, twice);
}

#[test]
fn the_file_is_the_named_one_or_the_one_that_is_there() {
    let (folder, file) = folder("threads = 7\n");
    let printed = |command: &mut Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    let program = || command(&["--print-config"]);
    assert!(printed(&mut program()).contains("\nthreads = 0\n"));
    assert!(printed(program().current_dir(folder.path())).contains("\nthreads = 7\n"));
    assert!(printed(program().env("TAGWIRE_CONFIG", &file)).contains("\nthreads = 7\n"));
    let (code, _, error) = run(&["--config", folder.path().join("none.toml").to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(error.contains("none.toml: No such file"), "{error}");
}

#[test]
fn json_is_an_object_a_line() {
    let (_, log) = Program::start(&["--log-format", "json"]).stop();
    assert!(log.lines().count() > 4, "{log}");
    for line in log.lines() {
        let fields: BTreeMap<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        for name in ["timestamp", "level", "message"] {
            assert!(fields.contains_key(name), "no {name} in {line}");
        }
    }
}

#[test]
fn sighup_takes_what_can_be_taken_and_tells_the_rest() {
    let settings = |rooms: u32, log: &str, rest: &str| {
        format!("{rest}log = \"{log}\"\n[limits]\nmax_rooms = {rooms}\n[dev_auth]\npassword = \"hunter2\"\n")
    };
    let (_folder, file) = folder(&settings(10_000, "info", "listen = [\"127.0.0.1:0\"]\n"));
    let server = Program::spawn(command(&["--config", file.to_str().unwrap()]));
    let mut player = Player::login(server.address, "player1", "hunter2").unwrap();
    let mut other = Player::login(server.address, "player2", "hunter2").unwrap();
    assert_eq!(player.join("second").message, "");

    // A bad file changes nothing.
    fs::write(&file, settings(1, "info", "thread = 2\n")).unwrap();
    server.signal(Signal::HUP);
    let log = server.wait_for_log("ERROR the settings stay as they are");
    server.wait_for_log("fix: did you mean threads?");
    assert!(!log.contains("settings read again"), "{log}");
    assert_eq!(other.join("third").message, "");
    assert_eq!(other.join("main").message, "");

    // Limits and the level at once; the rest is told.
    let text =
        settings(2, "debug", "listen = [\"127.0.0.1:1\"]\nthreads = 1\n").replace("hunter2", "hunter3");
    fs::write(&file, text).unwrap();
    server.signal(Signal::HUP);
    let log = server.wait_for_log("settings read again");
    for line in [
        "INFO limits.max_rooms: 10000 -> 2",
        "INFO log: \"info\" -> \"debug\"",
        "WARN changed, and in force after a restart: dev_auth.password, listen, threads",
    ] {
        assert!(log.contains(line), "no {line:?} in\n{log}");
    }
    assert!(!log.contains("limits.max_frame_bytes"), "what is the same is not told: {log}");
    assert!(other.join("third").message.contains("as many rooms as may be"));
    let mut stranger = Classic::connect(server.address);
    stranger.send(b"GET / HTTP/1.1\r\n\r\n");
    stranger.rest();
    let log = server.wait_for_log("DEBUG connection ended before a login");

    assert!(!log.contains("hunter"), "{log}");
    assert_eq!(server.stop().0.code(), Some(0));
}

#[test]
fn a_connection_that_begins_after_a_reload_has_the_new_limits() {
    let server = TestServer::start();
    let before = server.player("before");
    let mut new = Config { threads: 2, listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
    new.limits.max_frame_bytes = 10_000;
    assert_eq!(server.control.reload(new.clone()), Vec::<String>::new());
    assert_eq!(before.welcome.limits.as_ref().unwrap().max_frame_bytes, 65536);
    assert_eq!(server.player("after").welcome.limits.unwrap().max_frame_bytes, 10_000);
    new.default_room = "lobby".to_string();
    assert_eq!(server.control.reload(new), ["default_room"]);
}
