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
    assert!(code == 0 && out.contains("\nok: 1 message"), "{out}");
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
    // Where the settings want one thing in two places, it is one.
    write(&dir, "tagwire.toml", &TWO.replace("\"schema\"", "\"proto\"").replace("name = \"other\"\n", ""));
    let (code, out, err) = run(&dir, &["gen", "--lang", "python", "--out", "d"]);
    assert_eq!((code, &*out, &*err), (0, "d/mine: 9 written, 0 removed, 0 unchanged\n", ""));
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

#[test]
fn outside_a_repository_no_folder_above_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "tagwire.toml", "[[gen.output]]\nplugin = \"./evil.sh\"\nout = \"out\"\n");
    write(&dir, "mine/proto/game.proto", common::GAME);
    let mine = dir.path().join("mine");
    let (code, out, err) = run_in(&mine, &["gen"]);
    assert_eq!((code, &*out, &*err), (0, "clients/python/gen/game: 7 written, 0 removed, 0 unchanged\n", ""));
    // One in the folder itself is.
    write(&dir, "mine/tagwire.toml", "[gen]\nname = \"told\"\n");
    let (code, out, _) = run_in(&mine, &["gen"]);
    assert_eq!((code, &*out), (0, "clients/python/gen/told: 9 written, 0 removed, 0 unchanged\n"));
}

#[test]
fn paths_are_shown_and_compared_in_their_shortest_form() {
    let dir = project();
    fs::create_dir_all(dir.path().join("deep/er")).unwrap();
    let output = |out: &str| format!("[[gen.output]]\nlanguage = \"python\"\nout = \"{out}\"\n");
    write(
        &dir,
        "deep/tagwire.toml",
        &format!("[gen]\nschema = \"../proto\"\n{}", output("../deep/./er/gen")),
    );
    let (code, out, err) = run(&dir, &["gen", "--config", "deep/tagwire.toml"]);
    assert_eq!((code, &*out, &*err), (0, "deep/er/gen/game: 7 written, 0 removed, 0 unchanged\n", ""));
    fs::create_dir(dir.path().join("b")).unwrap();
    let twice = format!("[gen]\n{}{}", output("a"), output("./b/../a"));
    write(&dir, "tagwire.toml", &twice);
    let (code, out, err) = run(&dir, &["gen"]);
    assert_eq!((code, &*out, &*err), (0, "a/game: 7 written, 0 removed, 0 unchanged\n", ""));
    write(&dir, "tagwire.toml", &format!("{twice}name = \"game\"\n"));
    let (code, out, err) = run(&dir, &["gen"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.starts_with("error: python is to be written twice into a/game\n  fix: "), "{err}");
}

#[cfg(unix)]
#[test]
fn two_outputs_may_share_a_folder_but_no_file() {
    let dir = project();
    write(&dir, "t/a.txt.jinja", "1");
    write(&dir, "u/[schema].txt.jinja", "2");
    let output =
        |template: &str, out: &str| format!("[[gen.output]]\ntemplate = \"{template}\"\nout = \"{out}\"\n");
    fs::create_dir(dir.path().join("out")).unwrap();
    std::os::unix::fs::symlink("out", dir.path().join("link")).unwrap();
    write(&dir, "tagwire.toml", &format!("{}{}", output("t", "out"), output("u", "link")));
    assert_eq!(run(&dir, &["gen"]).0, 0);
    write(&dir, "u/a.txt.jinja", "3");
    let (code, out, err) = run(&dir, &["gen"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.starts_with("error: link/a.txt: both t and u would write it\n  fix: "), "{err}");
    assert_eq!(fs::read_to_string(dir.path().join("out/a.txt")).unwrap(), "1");
}

#[test]
fn a_template_in_the_folder_itself_and_one_by_another_path() {
    let dir = project();
    write(&dir, "t/a.txt.jinja", "{{ options.day }} {{ options.all[0] }}");
    let options = "options = { day = 2026-11-21, all = [07:32:00] }\n";
    let settings = format!(
        "[gen]\nschema = \"../proto\"\n[[gen.output]]\ntemplate = \".\"\nout = \"../out\"\n{options}"
    );
    write(&dir, "t/tagwire.toml", &settings);
    let (code, out, err) = run_in(&dir.path().join("t"), &["gen", "--json"]);
    assert_eq!((code, &*err), (0, ""));
    assert!(out.contains("\"output\":\"t\""), "{out}");
    assert!(exists(&dir, "out/.tagwire-t"));
    assert_eq!(fs::read_to_string(dir.path().join("out/a.txt")).unwrap(), "2026-11-21 07:32:00");
    write(&dir, "tagwire.toml", &format!("[[gen.output]]\ntemplate = \"t\"\nout = \"out\"\n{options}"));
    for template in ["./t", "t/", "proto/../t"] {
        let (code, out, err) = run(&dir, &["gen", "--template", template]);
        assert_eq!((code, &*err), (0, ""), "{template}");
        assert!(out.starts_with("out: 0 written, 0 removed, "), "{out}");
    }
}

#[test]
fn commands_that_read_files_say_so_where_the_settings_name_a_server() {
    let dir = project();
    fs::rename(dir.path().join("proto"), dir.path().join("schema")).unwrap();
    write(&dir, "tagwire.toml", "[gen]\nfrom = \"tagwire://localhost\"\n");
    for command in ["check", "docs"] {
        let (code, out, err) = run(&dir, &[command]);
        assert_eq!((code, &*out), (2, ""));
        let says = "error: tagwire.toml: it names a server (`from`), and this command reads files\n  fix: name them, `--schema`\n";
        assert_eq!(err, says);
        assert_eq!(run(&dir, &[command, "--schema", "schema"]).0, 0);
    }
}
