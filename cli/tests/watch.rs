//! `tagwire gen --watch` as a user has it in a terminal beside the editor.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use common::{edit, exists, project, write};
use tempfile::TempDir;

/// The command, with all that it says.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn new(dir: &TempDir, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tagwire"))
            .args(["gen", "--watch"])
            .args(args)
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tx, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        for pipe in [Box::new(out) as Box<dyn Read + Send>, Box::new(err)] {
            let tx = tx.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    // The test may be over.
                    let _ = tx.send(line);
                }
            });
        }
        Watching { child, lines }
    }

    /// Waits for a line that begins so.
    fn wait(&self, begin: &str) -> String {
        let mut seen = vec![];
        loop {
            match self.lines.recv_timeout(Duration::from_secs(20)) {
                Ok(line) if line.starts_with(begin) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line \"{begin}...\" came, but {seen:?}"),
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

const STUB: &str = "clients/python/gen/game/v1/__init__.pyi";

#[test]
fn an_edit_is_in_the_stub_soon_after() {
    let dir = project();
    let watching = Watching::new(&dir, &[]);
    watching.wait("clients/python/gen/game: 7 written");
    watching.wait("watching");
    edit(&dir, "int32 x = 1;", "int32 x = 1;\n  int32 height = 2;");
    watching.wait("clients/python/gen/game: 2 written, 0 removed, 5 unchanged");
    assert!(fs::read_to_string(dir.path().join(STUB)).unwrap().contains("height"));
    watching.wait("watching");
    // What is wrong is said, and does not end it.
    edit(&dir, "int32 height = 2;", "int32 height = ;");
    // On another pipe than what is said to be well, so that nothing can be told of what came first.
    watching.wait("error: proto/game.proto:8");
    assert!(fs::read_to_string(dir.path().join(STUB)).unwrap().contains("height"));
    edit(&dir, "int32 height = ;", "int32 width = 2;");
    watching.wait("clients/python/gen/game: 2 written");
    watching.wait("watching");
    // New files in new folders count, in the way editors and git write them: beside it, then renamed.
    write(&dir, "proto/more/new.tmp", "syntax = \"proto3\";\npackage game.more;\nmessage More {}\n");
    fs::rename(dir.path().join("proto/more/new.tmp"), dir.path().join("proto/more/new.proto")).unwrap();
    watching.wait("clients/python/gen/game: 7 written, 0 removed, 2 unchanged");
    watching.wait("watching");
    fs::remove_file(dir.path().join("proto/more/new.proto")).unwrap();
    watching.wait("clients/python/gen/game: 5 written, 2 removed, 2 unchanged");
    assert!(!exists(&dir, "clients/python/gen/game/more"));
}

#[test]
fn templates_and_settings_count_too() {
    let dir = project();
    write(&dir, "t/a.txt.jinja", "one {{ options.word }}");
    let settings = |word: &str| {
        format!("[[gen.output]]\ntemplate = \"t\"\nout = \"out\"\noptions = {{ word = \"{word}\" }}\n")
    };
    write(&dir, "tagwire.toml", &settings("a"));
    let watching = Watching::new(&dir, &["--json"]);
    watching.wait("{\"fingerprint\":");
    write(&dir, "t/a.txt.jinja", "two {{ options.word }}");
    watching.wait("{\"fingerprint\":");
    assert_eq!(fs::read_to_string(dir.path().join("out/a.txt")).unwrap(), "two a");
    write(&dir, "tagwire.toml", "[[gen.output]\n");
    let error = watching.wait("{\"errors\":");
    assert!(error.contains("\"file\":\"tagwire.toml\"") && error.contains("\"line\":1"), "{error}");
    write(&dir, "tagwire.toml", &settings("b"));
    watching.wait("{\"fingerprint\":");
    assert_eq!(fs::read_to_string(dir.path().join("out/a.txt")).unwrap(), "two b");
}

#[test]
fn where_there_is_nothing_to_watch_it_ends() {
    let dir = project();
    fs::remove_dir_all(dir.path().join("proto")).unwrap();
    let (code, out, err) = common::run(&dir, &["gen", "--watch"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.starts_with("error: no schema found"), "{err}");
}
