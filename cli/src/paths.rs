//! Paths as they are shown, and which of them are the same.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The path without detours: no `.`, and no `a/..` where `a` is no link.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match (part, tidy.components().next_back()) {
            (Component::CurDir, _) => {}
            // Behind a link, the folder above is another one.
            (Component::ParentDir, Some(Component::Normal(_))) if !is_link(&tidy) => {
                tidy.pop();
            }
            _ => tidy.push(part),
        }
    }
    if tidy.as_os_str().is_empty() && !path.as_os_str().is_empty() { PathBuf::from(".") } else { tidy }
}

/// The whole path with links resolved, as far as there is something: two paths of one file are the same so.
pub(crate) fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).map_or_else(|_| path.to_path_buf(), |path| tidy(&path));
    let mut there = whole.clone();
    let mut rest: Vec<OsString> = vec![];
    loop {
        if let Ok(known) = there.canonicalize() {
            return rest.iter().rev().fold(known, |path, part| path.join(part));
        }
        match there.file_name() {
            Some(last) => rest.push(last.to_os_string()),
            None => return whole,
        }
        there.pop();
    }
}

/// True for a link, wherever it leads.
pub(crate) fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|known| known.is_symlink())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detours_go_and_ways_up_stay() {
        for (path, expected) in [
            ("a/./b//c/", "a/b/c"),
            ("./a", "a"),
            ("a/../../b", "../b"),
            ("../../a", "../../a"),
            ("a/..", "."),
            (".", "."),
            ("", ""),
            ("/a/../b", "/b"),
        ] {
            assert_eq!(tidy(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
