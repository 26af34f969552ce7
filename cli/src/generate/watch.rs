//! `tagwire gen --watch`: again whenever something changes that it depends on.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use notify::event::{EventKind, ModifyKind, RemoveKind};
use notify::{Event, RecursiveMode, Watcher as _};

use crate::failure::{Failure, Problem};

/// Editors write a file in several steps, and version control many files: what comes within this time is one change.
const QUIET: Duration = Duration::from_millis(100);

/// What a run depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inputs {
    /// Folders of `.proto` files, or single files.
    pub(super) schema: Vec<PathBuf>,
    /// Folders of templates.
    pub(super) templates: Vec<PathBuf>,
    /// The settings.
    pub(super) settings: Option<PathBuf>,
}

impl Inputs {
    /// True where an event says that what is printed may have changed.
    fn concern(&self, event: &Event) -> bool {
        let is_in = |path: &Path, folder: &PathBuf| path.starts_with(real(folder));
        !matches!(event.kind, EventKind::Access(_))
            && event.paths.iter().map(|path| real(path)).any(|path| {
                // What came with a folder may have been there before the folder was watched, and what went with one
                // tells nothing of itself.
                let went = matches!(
                    event.kind,
                    EventKind::Remove(RemoveKind::Folder) | EventKind::Modify(ModifyKind::Name(_))
                ) && path.extension().is_none();
                let schema = path.extension().is_some_and(|e| e == "proto") || path.is_dir() || went;
                schema && self.schema.iter().any(|root| is_in(&path, root))
                    || self.templates.iter().any(|folder| is_in(&path, folder))
                    || self.settings.as_ref().is_some_and(|file| path == real(file))
            })
    }

    /// The folders to be watched, and whether all below them.
    fn folders(&self) -> Vec<(PathBuf, RecursiveMode)> {
        let parent = |file: &Path| match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let schema = self.schema.iter().map(|path| match path.is_file() {
            // A file that is replaced is another: its folder tells.
            true => (parent(path), RecursiveMode::Recursive),
            false => (path.clone(), RecursiveMode::Recursive),
        });
        let templates = self.templates.iter().map(|folder| (folder.clone(), RecursiveMode::Recursive));
        let settings = self.settings.iter().map(|file| (parent(file), RecursiveMode::NonRecursive));
        schema.chain(templates).chain(settings).collect()
    }
}

/// A path as the system reports it; one that is gone by what is left of it.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().unwrap_or(parent.to_path_buf()).join(name)
        }
        _ => path.to_path_buf(),
    }
}

/// Calls `run` now and after each change of what it depends on, which `inputs` tells anew each time: the settings may
/// have changed too. Comes back only when nothing can be watched any more.
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
        for (folder, mode) in current.folders() {
            // As the system will report it.
            watcher.watch(&real(&folder), mode).map_err(|error| failed(&error))?;
        }
        // Behind the watch: what changes meanwhile is seen.
        run();
        loop {
            match rx.recv() {
                Ok(Ok(event)) if !current.concern(&event) => {}
                // Also where something was lost: better once too often.
                Ok(_) => break,
                Err(_) => return Err(Problem::new("nothing can be watched any more").into()),
            }
        }
        while rx.recv_timeout(QUIET).is_ok() {}
        // What is wrong with the settings is for `run` to say; the folders are those of before then.
        if let Ok(new) = inputs()
            && new.folders().iter().all(|(folder, _)| folder.exists())
        {
            current = new;
        }
    }
}

fn failed(error: &notify::Error) -> Failure {
    let paths: Vec<String> = error.paths.iter().map(|p| p.display().to_string()).collect();
    Problem::new(format!("cannot watch {}: {error}", paths.join(", "))).into()
}
