//! Brings a folder of printed files up to date, and touches no file that is somebody else's.
//!
//! What was written is remembered in the folder itself, in a file `.tagwire-LABEL`: a line a file, with its SHA-256.
//! A file in the way that is not listed there, or has changed since, is somebody's work, and nothing is written at all.
//! A file that is listed and printed no more is removed. It is the same for printers, templates and plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::failure::{Failure, Problem, io_at};
use crate::paths::is_link;

/// Most files that a refusal names.
const MAX_NAMED: usize = 10;

/// What is to be done so that a folder holds what was printed. Files are named by their path below the folder.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Files that are other than what was printed.
    pub(crate) stale: Vec<String>,
    /// Files that are not there.
    pub(crate) missing: Vec<String>,
    /// Files of ours that are printed no more.
    pub(crate) superfluous: Vec<String>,
    /// How many files are as they should be.
    pub(crate) unchanged: usize,
    /// Files of ours that somebody has changed since.
    pub(crate) edited: Vec<String>,
    /// Files that are somebody else's, where one of ours would be.
    pub(crate) foreign: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
    command: String,
    list: List,
    old: Written,
}

/// By path, the hashes that a file of ours may have: two while it is being replaced.
type Written = BTreeMap<String, BTreeSet<String>>;

/// The file with the list.
#[derive(Debug)]
struct List {
    path: PathBuf,
    /// Its text as it is.
    old: Option<String>,
    /// And as it is to be. `None`: nothing is written here.
    new: Option<String>,
}

impl Plan {
    /// Compares `files`, by path below `folder`, with what is there. `command` prints them, and in it `label`.
    ///
    /// # Errors
    /// A file that cannot be read, or one whose path leads out of the folder.
    pub(crate) fn new<T: Into<Vec<u8>>>(
        folder: &Path,
        command: &str,
        label: &str,
        files: BTreeMap<String, T>,
    ) -> Result<Self, Failure> {
        let files: BTreeMap<String, Vec<u8>> =
            files.into_iter().map(|(name, text)| (name, text.into())).collect();
        let list = folder.join(format!(".tagwire-{label}"));
        let text = read(&list)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let old = text.as_deref().map(|text| entries(&list, text)).transpose()?.unwrap_or_default();
        let new: Written = files.iter().map(|(name, text)| (name.clone(), [hash(text)].into())).collect();
        let mut plan = Plan {
            folder: folder.to_path_buf(),
            stale: vec![],
            missing: vec![],
            superfluous: vec![],
            unchanged: 0,
            edited: vec![],
            foreign: vec![],
            command: command.to_string(),
            list: List { path: list, old: text, new: (!new.is_empty()).then(|| listed(command, &new)) },
            files,
            old,
        };
        for name in plan.files.keys().chain(plan.old.keys()) {
            stay_below(folder, name)?;
            no_links(folder, name)?;
        }
        for (name, text) in &plan.files {
            let there = read(&folder.join(name))?;
            let kept =
                there.as_ref().map(|bytes| plan.old.get(name).map(|known| known.contains(&hash(bytes))));
            match (there, kept) {
                (None, _) => plan.missing.push(name.clone()),
                (Some(old), _) if same(&old, text) => plan.unchanged += 1,
                (_, Some(Some(true))) => plan.stale.push(name.clone()),
                (_, Some(Some(false))) => plan.edited.push(name.clone()),
                _ => plan.foreign.push(name.clone()),
            }
        }
        for (name, known) in plan.old.iter().filter(|(name, _)| !new.contains_key(*name)) {
            match read(&folder.join(name))? {
                None => {}
                Some(bytes) if known.contains(&hash(&bytes)) => plan.superfluous.push(name.clone()),
                Some(_) => plan.edited.push(name.clone()),
            }
        }
        Ok(plan)
    }

    /// Takes what others wrote for ours: it will be replaced, and removed where it is printed no more.
    pub(crate) fn overwrite(&mut self) {
        self.stale.append(&mut self.foreign);
        for name in std::mem::take(&mut self.edited) {
            let into = if self.files.contains_key(&name) { &mut self.stale } else { &mut self.superfluous };
            into.push(name);
        }
        self.stale.sort();
        self.superfluous.sort();
    }

    /// What keeps it from being carried out. `edits`: whether files that somebody has changed do.
    pub(crate) fn refusal(&self, edits: bool) -> Option<Failure> {
        let why = |names: &[String], what: &str, fix: &str| {
            let more = names.len().saturating_sub(MAX_NAMED);
            let mut problems: Vec<Problem> = names
                .iter()
                .take(MAX_NAMED)
                .map(|name| Problem::new(what).at(&self.folder.join(name), None).fix(fix))
                .collect();
            if more > 0 {
                problems.push(Problem::new(format!("{more} more like the last one")).at(&self.folder, None));
            }
            problems
        };
        let mut problems = why(
            &self.foreign,
            "it is in the way: tagwire did not generate it",
            "move it away, or write somewhere else: `--out`, `--name` or the settings; `--overwrite` replaces it",
        );
        if edits {
            problems.extend(why(
                &self.edited,
                "it was changed since tagwire generated it",
                "keep the change elsewhere, for it would be lost; then `--overwrite`",
            ));
        }
        if problems.is_empty() { None } else { Some(Failure(problems)) }
    }

    /// True where nothing is to be done.
    pub(crate) fn is_fresh(&self) -> bool {
        self.changes() == 0 && self.edited.is_empty() && self.list.old == self.list.new
    }

    /// How many files are to be written or removed.
    pub(crate) fn changes(&self) -> usize {
        self.stale.len() + self.missing.len() + self.superfluous.len()
    }

    /// What is to be done, a line a file.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![];
        for (what, names) in [
            ("stale", &self.stale),
            ("missing", &self.missing),
            ("edited", &self.edited),
            ("superfluous", &self.superfluous),
        ] {
            lines.extend(names.iter().map(|name| format!("{what}: {}", self.folder.join(name).display())));
        }
        if lines.is_empty() && self.list.old != self.list.new {
            let what = if self.list.old.is_some() { "stale" } else { "missing" };
            lines.push(format!("{what}: {}", self.list.path.display()));
        }
        lines
    }

    /// Does it. Where it is interrupted, the next time finds its own files again.
    ///
    /// # Errors
    /// A file that cannot be written or removed.
    pub(crate) fn carry_out(&self) -> Result<(), Failure> {
        if self.changes() > 0 {
            // Old and new together, until all is done: whatever is found then is known.
            let mut both = self.old.clone();
            for (name, text) in &self.files {
                both.entry(name.clone()).or_default().insert(hash(text));
            }
            write(&self.list.path, listed(&self.command, &both).as_bytes())?;
        }
        for name in self.stale.iter().chain(&self.missing) {
            write(&self.folder.join(name), &self.files[name])?;
        }
        for name in &self.superfluous {
            // Another run may have been faster.
            remove(&self.folder.join(name))?;
        }
        match &self.list.new {
            Some(new) if self.changes() > 0 || self.list.old.as_ref() != Some(new) => {
                write(&self.list.path, new.as_bytes())?
            }
            Some(_) => {}
            None => remove(&self.list.path)?,
        }
        for name in &self.superfluous {
            // Folders that this leaves empty go too; one with anything in it refuses.
            let path = self.folder.join(name);
            let mut folder = path.parent();
            while let Some(empty) = folder.filter(|f| *f != self.folder && fs::remove_dir(f).is_ok()) {
                folder = empty.parent();
            }
        }
        Ok(())
    }
}

/// The bytes of a file, if it is there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_at(path)(error)),
    }
}

/// Replaces a file as a whole: who reads it meanwhile sees the old one or the new one. Two that write it at once do not
/// meet: the one that comes last wins.
fn write(path: &Path, text: &[u8]) -> Result<(), Failure> {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(io_at(path))?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    // Nobody else has it, in this process or another.
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".tagwire-new-{}-{number}", std::process::id()));
    let new = path.with_file_name(name);
    let written = OpenOptions::new().write(true).create_new(true).open(&new);
    written.and_then(|mut file| file.write_all(text)).and_then(|()| fs::rename(&new, path)).map_err(|error| {
        // It may not have come into being.
        let _ = fs::remove_file(&new);
        io_at(path)(error)
    })
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_at(path)(error)),
        _ => Ok(()),
    }
}

/// Names come from plugins, templates and a list that anyone may have edited: none may lead out of the folder.
fn stay_below(folder: &Path, name: &str) -> Result<(), Failure> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let odd = name.chars().any(|c| c.is_control() || c == '\\');
    // Said again, `a//b` and `a/./b` are not what they were.
    let tidy = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let ours = path.file_name().is_some_and(|last| last.to_string_lossy().starts_with(".tagwire-"));
    if plain && tidy && !odd && !ours {
        return Ok(());
    }
    let what = format!("\"{}\" is no path of a file below it", name.escape_debug());
    Err(Problem::new(what)
        .at(folder, None)
        .fix("names like `game/v1/move.lua` are; report it to whom it is from")
        .into())
}

/// A link in between would have a file written, or removed, that is somewhere else. That the folder is one itself is the
/// user's choice.
fn no_links(folder: &Path, name: &str) -> Result<(), Failure> {
    let parents = Path::new(name).ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    match parents.map(|parent| folder.join(parent)).find(|parent| is_link(parent)) {
        Some(link) => Err(leads_elsewhere(&link).into()),
        None => Ok(()),
    }
}

/// What is wrong with a link where a folder of ours would be.
pub(super) fn leads_elsewhere(link: &Path) -> Problem {
    Problem::new("it is a link, and leads elsewhere")
        .at(link, None)
        .fix("remove it; or name that folder itself as `out`")
}

/// The text of a list: what it is, and the files.
fn listed(command: &str, written: &Written) -> String {
    let mut text = format!(
        "# Generated by tagwire: the files that `{command}` wrote here, with their SHA-256. Commit it with them; do not edit.\n"
    );
    for (name, hashes) in written {
        for hash in hashes {
            writeln!(text, "{hash}  {name}").expect("writing to a String cannot fail");
        }
    }
    text
}

fn entries(path: &Path, text: &str) -> Result<Written, Failure> {
    let mut written = Written::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let entry = line.split_once("  ").filter(|(hash, _)| hash.len() == 64);
        let Some((hash, name)) = entry else {
            let fix = "restore it from version control; or delete it, and run again with `--overwrite`";
            return Err(Problem::new("not a line of a list of files").at(path, i + 1).fix(fix).into());
        };
        stay_below(path, name)?;
        written.entry(name.to_string()).or_default().insert(hash.to_string());
    }
    Ok(written)
}

/// The SHA-256 of a file, however a checkout has ended its lines; what is no text has none.
fn hash(bytes: &[u8]) -> String {
    Sha256::digest(unix(bytes)).iter().map(|b| format!("{b:02x}")).collect()
}

fn same(there: &[u8], printed: &[u8]) -> bool {
    there == printed || unix(there) == unix(printed)
}

fn unix(bytes: &[u8]) -> Vec<u8> {
    if bytes.contains(&0) {
        return bytes.to_vec();
    }
    let ends = |i: usize| bytes[i] == b'\r' && bytes.get(i + 1) == Some(&b'\n');
    (0..bytes.len()).filter(|i| !ends(*i)).map(|i| bytes[i]).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    fn plan(folder: &Path, all: &[(&str, &str)]) -> Plan {
        Plan::new(folder, "tagwire gen", "x", files(all)).unwrap()
    }

    #[test]
    fn what_an_interrupted_run_left_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        plan(dir.path(), &[("a", "1"), ("b", "1")]).carry_out().unwrap();
        let second = plan(dir.path(), &[("a", "2"), ("b", "2"), ("c", "2")]);
        // In the way of the last file alone.
        fs::create_dir(dir.path().join("c")).unwrap();
        assert!(second.carry_out().is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "2");
        fs::remove_dir(dir.path().join("c")).unwrap();
        let third = plan(dir.path(), &[("a", "3"), ("b", "3")]);
        assert_eq!((&third.stale[..], third.edited.len()), (&["a".to_string(), "b".to_string()][..], 0));
        third.carry_out().unwrap();
        assert!(plan(dir.path(), &[("a", "3"), ("b", "3")]).is_fresh());
        let list = fs::read_to_string(dir.path().join(".tagwire-x")).unwrap();
        assert_eq!(list.lines().count(), 3, "what was true meanwhile is forgotten: {list}");
    }

    #[test]
    fn a_change_by_hand_is_seen_also_in_what_is_printed_no_more() {
        let dir = tempfile::tempdir().unwrap();
        plan(dir.path(), &[("a", "1"), ("b", "1")]).carry_out().unwrap();
        fs::write(dir.path().join("a"), "mine").unwrap();
        fs::write(dir.path().join("b"), "mine").unwrap();
        let mut next = plan(dir.path(), &[("a", "2")]);
        assert_eq!(next.edited, ["a", "b"]);
        assert_eq!(next.refusal(true).unwrap().0.len(), 2);
        next.overwrite();
        assert!(next.refusal(true).is_none());
        next.carry_out().unwrap();
        assert!(!dir.path().join("b").exists());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "2");
    }

    #[test]
    fn lines_may_end_as_on_windows() {
        let dir = tempfile::tempdir().unwrap();
        plan(dir.path(), &[("a", "1\n2\n")]).carry_out().unwrap();
        for name in ["a", ".tagwire-x"] {
            let text = fs::read_to_string(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name), text.replace('\n', "\r\n")).unwrap();
        }
        assert_eq!(plan(dir.path(), &[("a", "1\n2\n")]).changes(), 0);
        assert_eq!(plan(dir.path(), &[("a", "3\n")]).stale, ["a"]);
    }

    #[test]
    fn nothing_leaves_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["../a", "/a", "a/../../b", "", "a//b", "./a", "a\\b", "a\nb", ".tagwire-x", "a/"] {
            assert!(Plan::new(dir.path(), "tagwire gen", "x", files(&[(name, "")])).is_err(), "{name}");
        }
        let outside = dir.path().join("kept");
        fs::write(&outside, "1").unwrap();
        let folder = dir.path().join("out");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(".tagwire-x"), format!("{}  ../kept\n", hash(b"1"))).unwrap();
        assert!(Plan::new(&folder, "tagwire gen", "x", files(&[("a", "")])).is_err());
        assert!(outside.exists());
    }

    #[test]
    fn two_runs_at_once_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let run = |text: &str| {
            for round in 0..200 {
                let (a, b) = (format!("{text}{round}"), text.to_string());
                let gone = format!("gone{}", round % 2);
                plan(dir.path(), &[("a", &a), ("b", &b), (&gone, "1")]).carry_out().unwrap();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| run("1"));
            run("2");
        });
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("tagwire-new")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn where_nothing_is_printed_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        plan(dir.path(), &[("a/b/c", "1")]).carry_out().unwrap();
        plan(dir.path(), &[]).carry_out().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(plan(dir.path(), &[]).is_fresh());
    }
}
