//! A driver that is none, or stops being one: every case says so, the others go on, and none is missing.

#![allow(missing_docs, clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

/// Runs three cases. Gives the exit code and what failed.
fn run(client: &str) -> (i32, Vec<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_tagwire-conformance"))
        .args([
            "--json",
            "--patience",
            "2",
            "--case",
            "code_3500",
            "--case",
            "code_3501",
            "--case",
            "code_3502",
        ])
        .args(["--client", client])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3, "{report}");
    let failures = cases.iter().map(|case| format!("{} {}", case["failure"], case["stderr"]));
    (output.status.code().unwrap(), failures.collect())
}

fn fails_with(driver: &str, why: &[&str]) {
    let (code, failures) = run(&format!("sh {}/tests/drivers/{driver}.sh", env!("CARGO_MANIFEST_DIR")));
    assert_eq!(code, 1);
    for failure in failures {
        for text in why {
            assert!(failure.contains(text), "{failure} should say {text}");
        }
    }
}

#[test]
fn one_that_never_gets_ready() {
    fails_with("absent", &["did not get ready", "the driver has ended, exit status: 3"]);
}

#[test]
fn one_that_crashes() {
    fails_with(
        "crash",
        &["the client did not connect", "the driver has ended, exit status: 3", "what went wrong"],
    );
}

#[test]
fn one_that_prints_what_is_no_report() {
    fails_with("garbage", &["the driver printed what is no report", "hello"]);
}

#[test]
fn one_that_hangs() {
    fails_with("hang", &["the client did not connect"]);
}

#[test]
fn one_that_cannot_be_started() {
    let (code, failures) = run("/nowhere/driver");
    assert_eq!(code, 1);
    assert!(
        failures.iter().all(|failure| failure.contains("/nowhere/driver cannot be started")),
        "{failures:?}"
    );
}

#[test]
fn a_case_that_does_not_exist_is_wrong_use() {
    let binary = env!("CARGO_BIN_EXE_tagwire-conformance");
    let output = Command::new(binary).args(["--list", "--case", "no_such_case"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no case is called no_such_case"));
}
