//! What was counted last, and the rules by which something else is judged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// More of anything is a regression, less of it worth recording: both as a share of the bound.
const TOLERANCE: f64 = 0.05;
/// Parts of a value that are kept beside it, and those that are told when it is over its bound.
const KEPT: usize = 60;
const TOLD: usize = 10;

pub const RECORD: &str = "scripts/guards --record";

/// What is needed for one: by part, which adds up to the value; empty where it has none.
pub type Parts = BTreeMap<String, f64>;

/// What a guard counted.
#[derive(Debug, Clone)]
pub struct Counted {
    pub name: &'static str,
    pub unit: &'static str,
    pub value: f64,
    pub parts: Parts,
}

impl Counted {
    /// One whose parts are all of it.
    pub fn of(name: &'static str, unit: &'static str, parts: Parts) -> Self {
        Counted { name, unit, value: parts.values().sum(), parts }
    }
}

/// What the counts depend on besides the code of this repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    pub rustc: String,
    pub libc: String,
}

impl Toolchain {
    /// That of this machine.
    pub fn current() -> Self {
        let first_line = |program: &str, argument| {
            let output = Command::new(program).arg(argument).output();
            let output = output.unwrap_or_else(|e| panic!("{program} {argument}: {e}"));
            String::from_utf8(output.stdout).unwrap().lines().next().unwrap_or_default().to_string()
        };
        Toolchain { rustc: first_line("rustc", "-V"), libc: first_line("ldd", "--version") }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    pub value: f64,
    pub unit: String,
}

/// The file of bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    #[serde(flatten)]
    pub toolchain: Toolchain,
    #[serde(default)]
    pub guards: BTreeMap<String, Bound>,
}

/// Where bounds, the parts of each and the decisions are.
#[derive(Debug, Clone)]
pub struct Store {
    pub folder: PathBuf,
    pub decisions: PathBuf,
}

impl Store {
    /// That of the repository.
    pub fn of_repository() -> Self {
        let server = Path::new(env!("CARGO_MANIFEST_DIR"));
        Store { folder: server.join("tests/guards"), decisions: server.join("../docs/DECISIONS.md") }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("bounds.toml")
    }

    fn parts_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.parts"))
    }

    /// `None`: nothing was ever recorded.
    pub fn read(&self) -> Option<Bounds> {
        let text = std::fs::read_to_string(self.file()).ok()?;
        Some(toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", self.file().display())))
    }

    /// A line a part: value, tab, name.
    fn read_parts(&self, name: &str) -> Parts {
        let Ok(text) = std::fs::read_to_string(self.parts_file(name)) else { return Parts::new() };
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        lines.map(|(value, part)| (part.to_string(), value.parse().unwrap())).collect()
    }

    /// The bounds, where they are of this toolchain. `Err` says how they come to be.
    pub fn bounds_for(&self, toolchain: &Toolchain) -> Result<Bounds, String> {
        let Some(bounds) = self.read() else {
            return Err(format!("{} is missing. This makes it: {RECORD}", self.file().display()));
        };
        if bounds.toolchain != *toolchain {
            return Err(format!(
                "the bounds were recorded with\n    {}\n    {}\nand this is\n    {}\n    {}\n\
                 Without your own changes, record them anew and commit them: {RECORD}",
                bounds.toolchain.rustc, bounds.toolchain.libc, toolchain.rustc, toolchain.libc
            ));
        }
        Ok(bounds)
    }

    /// Holds what was counted against its bound: what to tell. `Err`: it is a regression.
    pub fn judge(&self, bounds: &Bounds, counted: &Counted) -> Result<String, String> {
        let Counted { name, unit, value, parts } = counted;
        let Some(bound) = bounds.guards.get(*name) else {
            return Err(format!("{name}: {value} {unit}, and there is no bound. This sets it: {RECORD}"));
        };
        let share = value / bound.value - 1.0;
        let told = rounded(*value);
        let line = format!("{name}: {told} {unit}, bound {}, {:+.1} %", bound.value, 100.0 * share);
        if share < -TOLERANCE {
            Ok(format!("{line}\n    so much less is worth keeping: {RECORD}"))
        } else if share <= TOLERANCE {
            Ok(line)
        } else {
            let moved = moved(&self.read_parts(name), parts);
            Err(format!("{line}{moved}\n    If it is worth that: {RECORD} --because 'WHAT FOR'"))
        }
    }

    /// Makes these the bounds. One rises only where it is said what for, and by more than chance: a little more leaves it
    /// where it is, so that many little ones do not add up. `Err`: nothing was written.
    pub fn record(
        &self,
        toolchain: &Toolchain,
        all: &[Counted],
        because: Option<&str>,
    ) -> Result<(), String> {
        let old = self.read().map(|bounds| bounds.guards).unwrap_or_default();
        let (mut guards, mut raised, mut refused) = (BTreeMap::new(), String::new(), String::new());
        for Counted { name, unit, value, .. } in all {
            let rounded = rounded(*value);
            let value = match old.get(*name).map(|bound| bound.value) {
                Some(bound) if rounded > bound && rounded <= bound * (1.0 + TOLERANCE) => bound,
                Some(bound) if rounded > bound => {
                    let from_to = format!("from {bound} to {rounded} {unit}");
                    match because {
                        Some(because) => {
                            writeln!(raised, "\n**The bound of `{name}` rises {from_to}.** {because}")
                                .unwrap();
                        }
                        None => writeln!(refused, "    {name}: {from_to}").unwrap(),
                    }
                    rounded
                }
                _ => rounded,
            };
            guards.insert((*name).to_string(), Bound { value, unit: (*unit).to_string() });
        }
        if !refused.is_empty() {
            return Err(format!(
                "bounds rise only for a reason:\n{refused}{RECORD} --because 'WHAT FOR' writes it into docs/DECISIONS.md"
            ));
        }
        let bounds = Bounds { toolchain: toolchain.clone(), guards };
        let text = format!(
            "# What `server/tests/guards.rs` holds the server to. Written by `{RECORD}`.\n\n{}",
            toml::to_string(&bounds).unwrap()
        );
        std::fs::write(self.file(), text).unwrap();
        for counted in all {
            self.write_parts(counted);
        }
        if !raised.is_empty() {
            let decisions = std::fs::read_to_string(&self.decisions).unwrap();
            std::fs::write(&self.decisions, with_entries(&decisions, &raised)).unwrap();
        }
        Ok(())
    }

    fn write_parts(&self, counted: &Counted) {
        let mut parts: Vec<_> = counted.parts.iter().filter(|(_, value)| **value >= 0.001).collect();
        parts.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
        parts.truncate(KEPT);
        let text: String = parts.iter().map(|(part, value)| format!("{value:.3}\t{part}\n")).collect();
        // Some have none.
        if !text.is_empty() {
            std::fs::write(self.parts_file(counted.name), text).unwrap();
        }
    }
}

/// To five digits, which is more than repeats agree in.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap()
}

/// A line for each of the parts that grew most. One that was not among those kept has been small.
fn moved(old: &Parts, new: &Parts) -> String {
    let before = |part: &String| old.get(part).copied().unwrap_or(0.0);
    let mut grown: Vec<_> = new.iter().map(|(part, value)| (value - before(part), part, *value)).collect();
    grown.retain(|(more, ..)| *more > 0.0);
    grown.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let lines = grown
        .iter()
        .take(TOLD)
        .map(|(more, part, value)| format!("\n    {more:+10.3}  {:.3} -> {value:.3}  {part}", before(part)));
    lines.collect()
}

/// The decisions with entries at the end of the section about speed, which is made where it is not there.
fn with_entries(decisions: &str, entries: &str) -> String {
    const HEADING: &str = "\n## Speed\n";
    let Some(start) = decisions.find(HEADING) else { return format!("{decisions}{HEADING}{entries}") };
    let body = start + HEADING.len();
    let end = decisions[body..].find("\n## ").map_or(decisions.len(), |next| body + next);
    format!("{}{entries}{}", &decisions[..end], &decisions[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(rustc: &str) -> Toolchain {
        Toolchain { rustc: rustc.to_string(), libc: "libc 2".to_string() }
    }

    fn counted(name: &'static str, parts: &[(&str, f64)]) -> Counted {
        Counted::of(name, "calls", parts.iter().map(|(part, value)| (part.to_string(), *value)).collect())
    }

    fn in_a_folder(test: impl FnOnce(&Store)) {
        let folder = tempfile::tempdir().unwrap();
        let decisions = folder.path().join("DECISIONS.md");
        std::fs::write(&decisions, "# Decisions\n\n## Speed\n\n**One.**\n\n## Others\n\n**Two.**\n").unwrap();
        test(&Store { folder: folder.path().to_path_buf(), decisions });
    }

    fn value(store: &Store, name: &str) -> f64 {
        store.read().unwrap().guards[name].value
    }

    #[test]
    fn what_costs_more_is_told_with_what_moved() {
        in_a_folder(|store| {
            let rustc = toolchain("rustc 1");
            store.record(&rustc, &[counted("echo", &[("read", 1.0), ("write", 1.0)])], None).unwrap();
            let bounds = store.bounds_for(&rustc).unwrap();
            let judge = |parts: &[(&str, f64)]| store.judge(&bounds, &counted("echo", parts));
            let within = judge(&[("read", 1.0), ("write", 1.098)]).unwrap();
            assert_eq!(within, "echo: 2.098 calls, bound 2, +4.9 %");
            let error = judge(&[("read", 0.9), ("write", 1.0), ("futex", 0.202)]).unwrap_err();
            assert!(error.starts_with("echo: 2.102 calls, bound 2, +5.1 %\n"), "{error}");
            assert!(error.contains("+0.202  0.000 -> 0.202  futex") && !error.contains("read"), "{error}");
            assert!(error.contains("--because"), "{error}");
            let hint = judge(&[("read", 0.9), ("write", 0.9)]).unwrap();
            assert!(hint.contains("-10.0 %") && hint.contains(RECORD), "{hint}");
            assert!(store.judge(&bounds, &counted("other", &[])).unwrap_err().contains(RECORD));
        });
    }

    #[test]
    fn another_toolchain_fails_with_the_command_that_records_anew() {
        in_a_folder(|store| {
            let (old, new) = (toolchain("rustc 1"), toolchain("rustc 2"));
            assert!(store.bounds_for(&old).unwrap_err().contains(RECORD));
            store.record(&old, &[], None).unwrap();
            assert!(store.bounds_for(&old).is_ok());
            let error = store.bounds_for(&new).unwrap_err();
            assert!(["rustc 1", "rustc 2", RECORD].iter().all(|text| error.contains(text)), "{error}");
            assert!(store.bounds_for(&Toolchain { libc: "libc 3".to_string(), ..old }).is_err());
        });
    }

    #[test]
    fn a_bound_falls_at_once_and_rises_for_a_reason() {
        in_a_folder(|store| {
            let rustc = toolchain("rustc 1");
            let record = |read, because| store.record(&rustc, &[counted("echo", &[("read", read)])], because);
            let decisions = || std::fs::read_to_string(&store.decisions).unwrap();
            let before = decisions();
            record(2.0, None).unwrap();
            record(1.0, None).unwrap();
            assert_eq!(value(store, "echo"), 1.0);
            // Little by little it goes nowhere.
            record(1.04, None).unwrap();
            record(1.04, Some("nothing")).unwrap();
            assert_eq!((value(store, "echo"), decisions()), (1.0, before));
            let error = record(1.06, None).unwrap_err();
            assert!(error.contains("echo: from 1 to 1.06 calls") && error.contains("--because"), "{error}");
            assert_eq!(value(store, "echo"), 1.0);
            record(1.06, Some("It is signed.")).unwrap();
            assert_eq!(value(store, "echo"), 1.06);
            assert_eq!(
                decisions(),
                "# Decisions\n\n## Speed\n\n**One.**\n\n**The bound of `echo` rises from 1 to 1.06 calls.** \
                 It is signed.\n\n## Others\n\n**Two.**\n"
            );
        });
    }

    #[test]
    fn the_section_about_speed_is_made_where_it_is_not() {
        let entry = "\n**One.**\n";
        assert_eq!(with_entries("# D\n", entry), "# D\n\n## Speed\n\n**One.**\n");
        assert_eq!(with_entries("\n## Speed\n\n**Zero.**\n", entry), "\n## Speed\n\n**Zero.**\n\n**One.**\n");
    }
}
