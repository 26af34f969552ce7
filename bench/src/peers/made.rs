//! Servers that are built, installed or found: once, and again only where what they are made of has changed.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Where a program is: in `PATH`, or in one of the places that a user's `PATH` may lack.
pub(super) fn find(program: &str, install: &str) -> anyhow::Result<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&paths).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/usr/local/go/bin"].map(PathBuf::from));
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|path| {
            path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
        .with_context(|| format!("{program} is missing; install it: {install}"))
}

/// What a program prints; what it complains about where it fails.
pub(super) fn output(command: &mut Command) -> anyhow::Result<String> {
    let said = command.output().with_context(|| format!("{command:?} does not start"))?;
    let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    if !said.status.success() {
        let complaint = String::from_utf8_lossy(&said.stderr);
        bail!("{command:?}: {}\n{text}\n{}", said.status, complaint.trim());
    }
    Ok(text)
}

/// Whether what lies in `folder` was made of these files and with this tool; [`remember`] says that it is.
pub(super) fn fresh(folder: &Path, want: &str) -> bool {
    fs::read_to_string(folder.join("made-of")).is_ok_and(|have| have == want)
}

/// What [`fresh`] compares, written when all is done.
pub(super) fn remember(folder: &Path, want: &str) -> anyhow::Result<()> {
    let path = folder.join("made-of");
    fs::write(&path, want).with_context(|| path.display().to_string())
}

/// All files below `folder` with what is in them, and the tool that makes something of them.
pub(super) fn inputs(folder: &Path, tool: &str) -> anyhow::Result<String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read(&path).with_context(|| path.display().to_string())?;
                files.insert(path, String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    Ok(files
        .into_iter()
        .fold(format!("{tool}\n"), |all, (path, text)| format!("{all}=== {}\n{text}", path.display())))
}

/// A command that may open as many sockets as the machine lets it.
pub(super) fn unlimited(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n "$(ulimit -H -n)" && exec "$0" "$@""#]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_not_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        fs::create_dir_all(source.join("gen")).expect("a folder");
        fs::create_dir_all(&target).expect("a folder");
        fs::write(source.join("gen/a"), "1").expect("a file");
        let first = inputs(&source, "tool 1").expect("readable");
        assert!(!fresh(&target, &first));
        remember(&target, &first).expect("writable");
        assert!(fresh(&target, &inputs(&source, "tool 1").expect("readable")));
        assert!(!fresh(&target, &inputs(&source, "tool 2").expect("readable")));
        fs::write(source.join("gen/a"), "2").expect("a file");
        assert!(!fresh(&target, &inputs(&source, "tool 1").expect("readable")));
    }

    #[test]
    fn what_is_missing_says_what_installs_it() {
        let missing = find("no-such-server", "apt-get install it").expect_err("missing").to_string();
        assert_eq!(missing, "no-such-server is missing; install it: apt-get install it");
    }

    #[test]
    fn a_command_may_open_what_the_machine_lets_it() {
        let find = |name| find(name, "").expect("there");
        let hard = output(Command::new("sh").args(["-c", "ulimit -H -n"])).expect("runs");
        assert_eq!(output(unlimited(&find("sh")).args(["-c", "ulimit -n"])).expect("runs"), hard);
    }
}
