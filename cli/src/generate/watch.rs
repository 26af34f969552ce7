//! `tagwire gen --watch`: again whenever something changes that it depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use notify::event::{EventKind, ModifyKind, RemoveKind};
use notify::{Event, RecursiveMode, Watcher};

use crate::failure::{Failure, Problem};
use crate::paths::real;

/// Editors write a file in several steps, and version control many files: what comes within this time is one change.
const QUIET: Duration = Duration::from_millis(100);
/// So long at most: something may change all the time.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Folders may come and go while they are looked at. So often it is tried again.
const MAX_TRIES: usize = 10;
/// What every schema may import without having it.
const BUILT_IN: [&str; 3] = ["google/protobuf/", "tagwire/", "buf/validate/"];

/// What a run depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inputs {
    /// Folders of `.proto` files, or single files.
    schema: Vec<PathBuf>,
    /// Folders of templates.
    templates: Vec<PathBuf>,
    /// The settings.
    settings: Option<PathBuf>,
}

impl Inputs {
    /// Those of a schema, with what its single files import.
    pub(super) fn new(schema: &[PathBuf], templates: Vec<PathBuf>, settings: Option<PathBuf>) -> Self {
        Inputs { schema: with_imports(schema), templates, settings }
    }

    /// True where an event says that what is printed may have changed.
    fn concern(&self, event: &Event) -> bool {
        let moved = matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
        let came_or_went = moved || matches!(event.kind, EventKind::Create(_) | EventKind::Remove(_));
        let all = || self.schema.iter().chain(&self.templates).chain(&self.settings).map(|path| real(path));
        !matches!(event.kind, EventKind::Access(_))
            && event.paths.iter().map(|path| real(path)).any(|path| {
                // What came with a folder may have been there before the folder was watched, and what went with one
                // tells nothing of itself.
                let went = (moved || matches!(event.kind, EventKind::Remove(RemoveKind::Folder)))
                    && path.extension().is_none();
                let schema = path.extension().is_some_and(|e| e == "proto") || path.is_dir() || went;
                let is_in = |root: &PathBuf| path.starts_with(real(root));
                schema && self.schema.iter().any(is_in)
                    || self.templates.iter().any(is_in)
                    || self.settings.as_ref().is_some_and(|file| path == real(file))
                    // A folder around one of them.
                    || came_or_went && all().any(|one| one.starts_with(&path))
            })
    }

    /// The folders to be watched, as the system will report them, and whether all below them.
    fn folders(&self) -> BTreeMap<PathBuf, bool> {
        let mut folders = BTreeMap::new();
        let mut add = |folder: &Path, all: bool| {
            // One that is not there is waited for in what is left of its path.
            let there = folder.ancestors().find(|f| f.is_dir()).unwrap_or(folder);
            *folders.entry(there.to_path_buf()).or_insert(false) |= all && there == folder;
        };
        for folder in self.schema.iter().filter(|path| !is_file(path)).chain(&self.templates) {
            add(&real(folder), true);
        }
        // Whatever is replaced as a whole is another: the folder around it tells.
        for path in self.schema.iter().chain(&self.templates).chain(&self.settings).map(|path| real(path)) {
            add(path.parent().unwrap_or(&path), false);
        }
        folders
    }

    fn watch(&self, watcher: &mut impl Watcher) -> Result<(), Failure> {
        for tried in 1.. {
            let folders = self.folders();
            let watched = folders.iter().try_for_each(|(folder, all)| {
                let mode = if *all { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
                watcher.watch(folder, mode)
            });
            match watched {
                Ok(()) if self.folders() == folders => break,
                Err(error) if tried == MAX_TRIES => return Err(failed(&error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether it is a single file, or was one.
fn is_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "proto") && !path.is_dir()
}

/// These folders and files, with what the files import, and those in turn. Read without a compiler, so that a mistake
/// does not end it.
fn with_imports(roots: &[PathBuf]) -> Vec<PathBuf> {
    let folder = |root: &PathBuf| if is_file(root) { root.with_file_name("") } else { root.clone() };
    let mut all: Vec<PathBuf> = roots.to_vec();
    let mut seen: BTreeSet<PathBuf> = all.iter().cloned().collect();
    let mut at = 0;
    while let Some(file) = all.get(at).cloned() {
        at += 1;
        // One that cannot be read is said to be so by who prints.
        let Some(text) = is_file(&file).then(|| fs::read(&file).ok()).flatten() else { continue };
        for name in imports(&String::from_utf8_lossy(&text)) {
            let places = roots.iter().map(|root| folder(root).join(&name));
            let there: Vec<PathBuf> = places.clone().filter(|place| place.is_file()).collect();
            // One that is missing may come into any of them.
            for place in if there.is_empty() { places.collect() } else { there } {
                if seen.insert(place.clone()) {
                    all.push(place);
                }
            }
        }
    }
    all
}

/// What a file imports, and perhaps more: what is in a comment is no harm.
fn imports(text: &str) -> Vec<String> {
    let name = |rest: &str| {
        let rest = rest.trim_start();
        let rest =
            rest.strip_prefix("public").or_else(|| rest.strip_prefix("weak")).unwrap_or(rest).trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split_once(quote).map(|(name, _)| name.to_string())
    };
    let all = text.split("import").skip(1).filter_map(name);
    all.filter(|name| !BUILT_IN.iter().any(|folder| name.starts_with(folder))).collect()
}

/// Calls `run` now and after each change of what it depends on, which `inputs` tells anew each time: the settings may
/// have changed too. What is not there is waited for. Comes back only when nothing can be watched any more.
///
/// # Errors
/// A folder that cannot be watched; what `inputs` says the first time.
pub(super) fn watch(
    mut inputs: impl FnMut() -> Result<Inputs, Failure>,
    mut run: impl FnMut(),
) -> Result<(), Failure> {
    let mut current = inputs()?;
    loop {
        let (tx, rx) = mpsc::channel::<notify::Result<Event>>();
        let mut watcher = notify::recommended_watcher(tx).map_err(|error| failed(&error))?;
        current.watch(&mut watcher)?;
        // Behind the watch: what changes meanwhile is seen.
        run();
        // Also where something was lost: better once too often.
        let concerns =
            |event: &notify::Result<Event>| event.as_ref().map_or(true, |event| current.concern(event));
        loop {
            match rx.recv() {
                Ok(event) if !concerns(&event) => {}
                Ok(_) => break,
                Err(_) => return Err(Problem::new("nothing can be watched any more").into()),
            }
        }
        let end = Instant::now() + MAX_WAIT;
        let mut quiet = Instant::now() + QUIET;
        loop {
            let left = quiet.min(end).saturating_duration_since(Instant::now());
            match rx.recv_timeout(left) {
                _ if left.is_zero() => break,
                Ok(event) if !concerns(&event) => {}
                Ok(_) => quiet = Instant::now() + QUIET,
                Err(_) => break,
            }
        }
        // What is wrong with the settings is for `run` to say; the folders are those of before then.
        if let Ok(new) = inputs() {
            current = new;
        }
    }
}

fn failed(error: &notify::Error) -> Failure {
    let paths: Vec<String> = error.paths.iter().map(|p| p.display().to_string()).collect();
    Problem::new(format!("cannot watch {}: {error}", paths.join(", "))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_however_they_are_written() {
        let text = "import \"a.proto\"; import public'b/c.proto';\nimport\n  weak \"d.proto\" ;\n\
                    import \"tagwire/v1/options.proto\"; message important {} import é";
        assert_eq!(imports(text), ["a.proto", "b/c.proto", "d.proto"]);
    }
}
