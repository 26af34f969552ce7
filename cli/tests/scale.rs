//! A large schema is no reason to wait: all printers together, in time of the processor. The command has one thread, so
//! that on an idle machine this is the time by the clock; on a busy one the clock says nothing of the command.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{project, run, write};
use tempfile::TempDir;

const MESSAGES: usize = 500;
/// What is promised of all printers together, reading included; also of a build that is not optimised.
const PROMISED: Duration = Duration::from_secs(2);
/// The best of these counts: another may be disturbed.
const RUNS: usize = 3;
/// Of the kernel's clock, in which /proc tells times (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u32 = 100;

/// Messages with ten fields each, most with rules, enums, and services that ask with a hundred of them.
fn large() -> String {
    let kinds = ["int32", "sint64", "uint32", "string", "bytes", "bool", "double", "float"];
    let mut text = "syntax = \"proto3\";\npackage big.v1;\nimport \"tagwire/v1/options.proto\";\n\
                    import \"buf/validate/validate.proto\";\n"
        .to_string();
    for e in 0..20 {
        let values: String = (0..8).map(|v| format!("  // Value {v}.\n  E{e}_V{v} = {v};\n")).collect();
        writeln!(text, "// Enum {e}.\nenum E{e} {{\n{values}}}").unwrap();
    }
    for m in 0..MESSAGES {
        writeln!(text, "// Message {m}, of those that are many.\nmessage M{m} {{").unwrap();
        if m < 400 {
            writeln!(text, "  option (tagwire.v1.rules) = {{ tag: {}, from: CLIENT }};", 256 + m).unwrap();
        }
        for (f, kind) in kinds.iter().enumerate() {
            let rule = if f == 3 { " [(buf.validate.field).string.max_len = 40]" } else { "" };
            writeln!(text, "  // Field {f} of {m}.\n  {kind} f{f} = {}{rule};", f + 1).unwrap();
        }
        writeln!(text, "  E{} f8 = 9;\n  repeated M{} f9 = 10;\n}}", m % 20, m * 7 % MESSAGES).unwrap();
    }
    for s in 0..10 {
        writeln!(text, "service S{s} {{").unwrap();
        for d in 0..10 {
            writeln!(text, "  rpc Do{d}(M{}) returns (M{});", s * 10 + d, 400 + s * 10 + d).unwrap();
        }
        writeln!(text, "}}").unwrap();
    }
    text
}

/// Runs the command; what it prints, and the processor's time that it took.
fn timed(dir: &TempDir, args: &[&str]) -> (String, Duration) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tagwire"))
        .args(args)
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    // It has ended, or is about to; until it is waited for, the kernel keeps its times.
    let deadline = Instant::now() + Duration::from_secs(20);
    let ticks: u32 = loop {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        // The name stands in parentheses and may hold anything; behind it is the state, and 11 further the times.
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        if fields[0] == "Z" {
            break fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
        }
        assert!(Instant::now() < deadline, "it does not end: {stat}");
        thread::yield_now();
    };
    assert!(child.wait().unwrap().success(), "{out}");
    (out, Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
}

#[test]
fn five_hundred_messages_are_printed_within_two_seconds() {
    let dir = project();
    write(&dir, "proto/game.proto", &large());
    let help = run(&dir, &["gen", "--help"]).1;
    let languages = ["python", "typescript"];
    for language in languages {
        assert!(help.contains(&format!("- {language}:")), "{language} is not measured: {help}");
    }
    let mut settings: String = languages
        .iter()
        .map(|l| format!("[[gen.output]]\nlanguage = \"{l}\"\nout = \"out/{l}\"\n"))
        .collect();
    let templates = format!("{}/../examples/templates/lua", env!("CARGO_MANIFEST_DIR"));
    write!(settings, "[[gen.output]]\ntemplate = \"{templates}\"\nout = \"out/lua\"\n").unwrap();
    write(&dir, "tagwire.toml", &settings);
    let mut best: Option<(Duration, String)> = None;
    for _ in 0..RUNS {
        // From nothing: all is written, too.
        let _ = fs::remove_dir_all(dir.path().join("out"));
        let (out, took) = timed(&dir, &["gen", "--json"]);
        if best.as_ref().is_none_or(|(best, _)| took < *best) {
            best = Some((took, out));
        }
    }
    let (took, out) = best.unwrap();
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let mut parts = format!("reading {} ms", told["read_ms"]);
    for output in told["outputs"].as_array().unwrap() {
        write!(parts, ", {} {} ms", output["output"].as_str().unwrap(), output["print_ms"]).unwrap();
    }
    println!("{MESSAGES} messages: {} ms of the processor; by the clock {parts}", took.as_millis());
    assert!(took < PROMISED, "{MESSAGES} messages take {took:?} of the processor: {parts}");
}
