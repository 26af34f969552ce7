//! `tagwire docs` as a user runs it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{edit, exists, project, run, run_in, tree, write};
use serde_json::Value;

#[test]
fn it_is_written_checked_and_brought_up_to_date() {
    let dir = project();
    let (code, out, _) = run(&dir, &["docs", "--check"]);
    assert!(code == 1 && out.contains("docs/reference/index.html") && out.contains("fix: "), "{out}");
    assert!(!exists(&dir, "docs"));
    let (code, out, err) = run(&dir, &["docs"]);
    assert_eq!((code, &*out, &*err), (0, "docs/reference: 3 written, 0 removed, 0 unchanged\n", ""));
    let first = tree(&dir.path().join("docs"));
    let (code, out, _) = run(&dir, &["docs", "--check"]);
    assert_eq!((code, &*out), (0, "docs/reference: fresh (3 files)\n"));
    edit(&dir, "  int32 x = 1;", "  // Where to.\n  int32 x = 1;");
    let (code, out, _) = run(&dir, &["docs", "--check"]);
    assert!(code == 1 && out.contains("stale: docs/reference/reference.md"), "{out}");
    assert_eq!(tree(&dir.path().join("docs")), first);
    assert_eq!(run(&dir, &["docs"]).0, 0);
    let page = fs::read_to_string(dir.path().join("docs/reference/index.html")).unwrap();
    assert!(page.contains("<td>Where to.</td>"), "{page}");
}

#[test]
fn what_somebody_wrote_stays() {
    let dir = project();
    write(&dir, "site/index.html", "mine");
    let (code, out, err) = run(&dir, &["docs", "--out", "site"]);
    assert_eq!((code, &*out), (2, ""));
    assert!(err.contains("site/index.html") && err.contains("  fix: "), "{err}");
    assert_eq!(fs::read_to_string(dir.path().join("site/index.html")).unwrap(), "mine");
    assert!(!exists(&dir, "site/llms.txt"));
}

#[test]
fn titles_and_the_stack() {
    let dir = project();
    run(&dir, &["docs", "--title", "Tag <you>!", "--stack", "--out", "a"]);
    let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
    assert!(read("a/index.html").contains("<title>Tag &lt;you&gt;!: reference</title>"));
    assert!(read("a/reference.md").contains("\n# Tag &lt;you&gt;\\!: reference\n"));
    assert!(read("a/llms.txt").starts_with("# Tag <you>!\n"));
    assert!(read("a/reference.md").contains("| 3503 | MALFORMED |"));
    assert!(!read("a/reference.md").contains("tagwire.v1.Rules"));
    run(&dir, &["docs", "--out", "b"]);
    assert!(read("b/llms.txt").starts_with("# game\n"));
    assert!(!read("b/reference.md").contains("MALFORMED"));
    assert_eq!(run(&dir, &["docs", "--title", "a\nb"]).0, 2);
}

#[test]
fn json_for_machines() {
    let dir = project();
    let (code, out, _) = run(&dir, &["docs", "--check", "--json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &value["ok"], value["missing"].as_array().unwrap().len()), (1, &false.into(), 3));
}

#[test]
fn this_repositorys_reference_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (code, out, err) = run_in(&root, &["docs", "--check"]);
    assert_eq!((code, &*err), (0, ""), "{out}");
}
