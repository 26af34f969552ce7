//! Brings a folder of printed files up to date, and touches no file that is somebody else's.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tagwire_codegen::Error;
use tagwire_codegen::package::is_ours;

/// What is to be done so that a folder holds what was printed.
pub(crate) struct Plan<'a> {
    /// Files to write: the path, the text, and whether there is an older one.
    pub(crate) changed: Vec<(PathBuf, &'a str, bool)>,
    /// Files of ours that are printed no more.
    pub(crate) superfluous: Vec<PathBuf>,
    /// How many files are as they should be.
    pub(crate) unchanged: usize,
    folder: &'a Path,
}

impl<'a> Plan<'a> {
    /// Compares `files`, by path below `folder`, with what is there.
    ///
    /// # Errors
    /// A file that cannot be read, or one in the way that is not ours.
    pub(crate) fn new(folder: &'a Path, files: &'a BTreeMap<String, String>) -> Result<Self, Error> {
        let mut plan = Plan { changed: vec![], superfluous: vec![], unchanged: 0, folder };
        for (name, text) in files {
            let path = folder.join(name);
            match fs::read(&path) {
                Ok(old) if old == text.as_bytes() => plan.unchanged += 1,
                Ok(old) if std::str::from_utf8(&old).is_ok_and(is_ours) => {
                    plan.changed.push((path, text, true));
                }
                Ok(_) => {
                    return Err(Error::Layout {
                        what: format!("{} is in the way: tagwire did not generate it", path.display()),
                        fix: "move it away, or choose another folder with `--out` or name with `--name`"
                            .to_string(),
                    });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => plan.changed.push((path, text, false)),
                Err(source) => return Err(Error::Io { path, source }),
            }
        }
        let mut there = vec![];
        walk(folder, &mut there)?;
        there.sort();
        for path in there {
            let known = path
                .strip_prefix(folder)
                .ok()
                .and_then(Path::to_str)
                .is_some_and(|p| files.contains_key(&p.replace(std::path::MAIN_SEPARATOR, "/")));
            if !known && fs::read_to_string(&path).is_ok_and(|text| is_ours(&text)) {
                plan.superfluous.push(path);
            }
        }
        Ok(plan)
    }

    /// True where nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.superfluous.is_empty()
    }

    /// What is to be done, a line a file.
    pub(crate) fn list(&self) -> Vec<String> {
        let changed = self.changed.iter().map(|(path, _, older)| {
            format!("{}: {}", if *older { "stale" } else { "missing" }, path.display())
        });
        let superfluous = self.superfluous.iter().map(|path| format!("superfluous: {}", path.display()));
        changed.chain(superfluous).collect()
    }

    /// Does it.
    ///
    /// # Errors
    /// A file that cannot be written or removed.
    pub(crate) fn carry_out(&self) -> Result<(), Error> {
        for (path, text, _) in &self.changed {
            let parent = path.parent().unwrap_or(self.folder);
            fs::create_dir_all(parent).and_then(|()| fs::write(path, text)).map_err(at(path))?;
        }
        for path in &self.superfluous {
            fs::remove_file(path).map_err(at(path))?;
            // Folders that this leaves empty go too; one with anything in it refuses.
            let mut folder = path.parent();
            while let Some(empty) = folder.filter(|f| *f != self.folder && fs::remove_dir(f).is_ok()) {
                folder = empty.parent();
            }
        }
        Ok(())
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, source }
}

/// All files below a folder, which need not exist. Links are not followed.
fn walk(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(at(folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(at(folder))?;
        let kind = entry.file_type().map_err(at(&entry.path()))?;
        if kind.is_dir() {
            walk(&entry.path(), into)?;
        } else if kind.is_file() {
            into.push(entry.path());
        }
    }
    Ok(())
}
