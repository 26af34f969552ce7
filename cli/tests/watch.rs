//! `tagwire gen --watch` as a user has it in a terminal beside the editor.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
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

#[test]
fn a_schema_that_is_gone_for_a_while_is_waited_for() {
    let dir = project();
    write(
        &dir,
        "deep/tagwire.toml",
        "[gen]\nschema = \"er/proto\"\n[[gen.output]]\nlanguage = \"python\"\nout = \"gen\"\n",
    );
    write(&dir, "deep/er/proto/game.proto", common::GAME);
    let watching = Watching::new(&dir, &["--config", "deep/tagwire.toml"]);
    watching.wait("watching");
    // With the folder around it, so that nothing that was watched is left.
    for gone in ["deep/er/proto", "deep/er"] {
        fs::rename(dir.path().join(gone), dir.path().join("aside")).unwrap();
        // On another pipe than "watching", which may come first. It is watched before anything is said.
        watching.wait("error: deep/tagwire.toml: no schema in deep/er/proto");
        fs::rename(dir.path().join("aside"), dir.path().join(gone)).unwrap();
        watching.wait("deep/gen/game: 0 written");
        watching.wait("watching");
    }
    // And it is watched again.
    let text = common::GAME.replace("int32 x = 1;", "int32 x = 1; int32 y = 2;");
    write(&dir, "deep/er/proto/game.proto", &text);
    watching.wait("deep/gen/game: 2 written");
    // One that is named only later, too.
    watching.wait("watching");
    let settings = fs::read_to_string(dir.path().join("deep/tagwire.toml")).unwrap();
    write(&dir, "deep/tagwire.toml", &settings.replace("er/proto", "new"));
    watching.wait("error: deep/tagwire.toml: no schema in deep/new");
    write(&dir, "deep/aside/game.proto", &text);
    fs::rename(dir.path().join("deep/aside"), dir.path().join("deep/new")).unwrap();
    watching.wait("deep/gen/game: 0 written");
}

#[test]
fn of_a_single_file_the_imports_count() {
    let dir = project();
    write(&dir, "proto/sub/b.proto", "syntax = \"proto3\";\npackage game.v1;\nmessage B { int32 b = 1; }\n");
    write(
        &dir,
        "proto/a.proto",
        "syntax = \"proto3\";\npackage game.v1;\nimport public \"sub/b.proto\";\nmessage A { B b = 1; }\n",
    );
    edit(&dir, "int32 x = 1;", "A a = 1;");
    edit(&dir, "import ", "import\n  'a.proto'; // first\nimport ");
    let watching = Watching::new(&dir, &["--schema", "proto/game.proto"]);
    watching.wait("clients/python/gen/game: 7 written");
    watching.wait("watching");
    write(&dir, "proto/sub/b.proto", "syntax = \"proto3\";\npackage game.v1;\nmessage B { int32 c = 1; }\n");
    watching.wait("clients/python/gen/game: 2 written");
    watching.wait("watching");
    // One that was not there when it was imported.
    write(
        &dir,
        "proto/sub/b.proto",
        "syntax = \"proto3\";\npackage game.v1;\nimport \"far/c.proto\";\nmessage B { C c = 1; }\n",
    );
    watching.wait("error: proto/sub/b.proto:3");
    write(
        &dir,
        "proto/aside/c.proto",
        "syntax = \"proto3\";\npackage game.v1;\nmessage C { int32 c = 1; }\n",
    );
    fs::rename(dir.path().join("proto/aside"), dir.path().join("proto/far")).unwrap();
    watching.wait("clients/python/gen/game: 7 written");
}

/// Writes these files over and over until it is dropped.
struct Noise {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Noise {
    fn new(files: Vec<(PathBuf, String)>) -> Self {
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            // Well within the time of quiet that is waited for.
            while stopped.recv_timeout(Duration::from_millis(15)) == Err(RecvTimeoutError::Timeout) {
                for (path, text) in &files {
                    fs::write(path, text).unwrap();
                }
            }
        });
        Noise { stop, thread: Some(thread) }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn it_does_not_wait_for_ever_for_others_to_be_quiet() {
    let dir = project();
    let watching = Watching::new(&dir, &[]);
    watching.wait("watching");
    // What concerns nobody.
    let noise = Noise::new(vec![(dir.path().join("proto/notes.txt"), "n".to_string())]);
    edit(&dir, "int32 x = 1;", "int32 x = 1;\n  int32 height = 2;");
    watching.wait("clients/python/gen/game: 2 written");
    drop(noise);
    watching.wait("watching");
    // What does.
    let more = "syntax = \"proto3\";\npackage game.v1;\nmessage More {}\n".to_string();
    let _noise = Noise::new(vec![(dir.path().join("proto/more.proto"), more)]);
    watching.wait("clients/python/gen/game: ");
}
