//! The table `[gen]` of `tagwire.toml` as a user meets it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;

use common::{exists, project, run, run_in, write};

const TWO: &str = "\
[gen]
schema = \"schema\"
name = \"mine\"

[[gen.output]]
language = \"python\"
out = \"a\"

[[gen.output]]
language = \"python\"
out = \"b\"
name = \"other\"
";

#[test]
fn one_command_does_all_that_they_say() {
    let dir = project();
    fs::rename(dir.path().join("proto"), dir.path().join("schema")).unwrap();
    write(&dir, "tagwire.toml", TWO);
    let (code, out, err) = run(&dir, &["gen"]);
    assert_eq!((code, &*err), (0, ""));
    assert_eq!(
        out,
        "a/mine: 9 written, 0 removed, 0 unchanged\nb/other: 9 written, 0 removed, 0 unchanged\n"
    );
    let (code, out, _) = run(&dir, &["check"]);
    assert!(code == 0 && out.starts_with("ok: 1 message"), "{out}");
}

#[test]
fn they_are_found_from_below_up_to_the_root_of_the_repository() {
    let dir = project();
    write(&dir, "tagwire.toml", "log = \"info\"\n[gen]\nschema = [\"proto\"]\n");
    // The server's alone: it is passed over.
    write(&dir, "server/tagwire.toml", "log = \"info\"\n");
    fs::create_dir_all(dir.path().join("server/src")).unwrap();
    let (code, out, err) = run_in(&dir.path().join("server/src"), &["gen"]);
    assert_eq!((code, &*err), (0, ""));
    assert_eq!(out, "../../clients/python/gen/game: 7 written, 0 removed, 0 unchanged\n");
    assert!(exists(&dir, "clients/python/gen/game/py.typed"));
    // Another repository within does not look outside.
    fs::create_dir_all(dir.path().join("server/.git")).unwrap();
    let (code, _, err) = run_in(&dir.path().join("server/src"), &["gen"]);
    assert!(code == 2 && err.starts_with("error: no schema found"), "{err}");
}

#[test]
fn flags_win() {
    let dir = project();
    write(
        &dir,
        "tagwire.toml",
        "[gen]\nschema = \"lost\"\nname = \"set\"\n[[gen.output]]\nlanguage = \"python\"\nout = \"a\"\n",
    );
    let (code, out, _) = run(&dir, &["gen", "--schema", "proto", "--out", "b", "--name", "said"]);
    assert_eq!((code, &*out), (0, "b/said: 9 written, 0 removed, 0 unchanged\n"));
    let (code, _, err) = run(&dir, &["gen"]);
    assert_eq!(
        (code, &*err),
        (
            2,
            "error: tagwire.toml: no schema in lost: it is not there\n  fix: correct `schema` in the table [gen], or make the folder\n"
        )
    );
    write(&dir, "tagwire.toml", &TWO.replace("\"schema\"", "\"proto\""));
    let (code, out, err) = run(&dir, &["gen", "--out", "c"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.starts_with("error: `--out` is one folder, and there are 2 to be written\n  fix: "), "{err}");
}

#[test]
fn a_file_may_be_named() {
    let dir = project();
    write(
        &dir,
        "deep/my.toml",
        "[gen]\nschema = \"../proto\"\n[[gen.output]]\nlanguage = \"python\"\nout = \"gen\"\n",
    );
    let (code, out, _) = run(&dir, &["gen", "--config", "deep/my.toml"]);
    assert_eq!((code, &*out), (0, "deep/gen/game: 7 written, 0 removed, 0 unchanged\n"));
    let (code, _, err) = run(&dir, &["gen", "--config", "lost.toml"]);
    assert!(code == 2 && err.starts_with("error: lost.toml: "), "{err}");
    write(&dir, "server.toml", "log = \"info\"\n");
    let (code, _, err) = run(&dir, &["gen", "--config", "server.toml"]);
    assert!(code == 2 && err.starts_with("error: server.toml: it has no table [gen]\n"), "{err}");
}

#[test]
fn each_thing_that_is_wrong_names_its_line_and_a_fix() {
    for (text, says) in [
        ("[gen]\nshcema = \"proto\"\n", "2: [gen] has no key `shcema`\n  fix: did you mean `schema`?"),
        (
            "[gen]\nqqqqq = 1\n",
            "2: [gen] has no key `qqqqq`\n  fix: there are schema, from, username, ca, pin, name, output",
        ),
        ("[gen]\nfrom = \"a:1\"\nschema = \"proto\"\n", "2: `from` and `schema` exclude each other"),
        ("[gen]\nusername = \"zoe\"\n", "2: `username` is for a server, and none is named"),
        ("gen = 5\n", "1: `gen` must be a table"),
        ("[gen]\nschema = 5\n", "2: `schema` must name folders"),
        ("[gen]\nschema = []\n", "2: `schema` must name folders"),
        ("[gen]\nname = \"\"\n", "2: `name` must be a text"),
        ("[gen]\noutput = 5\n", "2: `output` must be a list of tables"),
        ("[[gen.output]]\nout = \"a\"\n", "1: it does not say what writes it"),
        (
            "[[gen.output]]\nlanguage = \"pyhton\"\n",
            "2: no printer for the language `pyhton`\n  fix: did you mean `python`?",
        ),
        (
            "[[gen.output]]\nlanguage = \"brainfuck\"\n",
            "2: no printer for the language `brainfuck`\n  fix: there are python",
        ),
        (
            "[[gen.output]]\nlanguage = \"python\"\nouut = \"a\"\n",
            "3: [[gen.output]] has no key `ouut`\n  fix: did you mean `out`?",
        ),
        ("[[gen.output]]\nlanguage = \"python\"\noptions = \"a\"\n", "3: python has no options"),
        ("[gen]\nschema = \n", "2: "),
    ] {
        let dir = project();
        write(&dir, "tagwire.toml", text);
        for command in ["gen", "check"] {
            let (code, out, err) = run(&dir, &[command]);
            assert_eq!((code, &*out), (2, ""), "{text}");
            assert!(err.starts_with(&format!("error: tagwire.toml:{says}")), "{text}{err}");
        }
        assert!(!exists(&dir, "clients"));
    }
    let dir = project();
    write(&dir, "tagwire.toml", "[gen]\na = 1\nb = 2\n");
    let (_, _, err) = run(&dir, &["gen"]);
    assert_eq!(
        err.lines().filter(|l| l.starts_with("error: tagwire.toml:")).count(),
        2,
        "all at once: {err}"
    );
}
