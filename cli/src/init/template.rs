//! The files of a new project, as they lie in `cli/template`: a project called `my_game`, with tagwire beside it. These two
//! names are all that is replaced, so that each file can be read, formatted and checked as what it is.

/// The name that is replaced, in texts and paths.
const NAME: &str = "my_game";
/// The way to tagwire that is replaced, from the project's folder.
const TAGWIRE: &str = "../tagwire";
/// From a folder `n` levels below, the way has `n` of these before it.
const UP: &str = "../";

macro_rules! files {
    ($($path:literal),* $(,)?) => { [$(($path, include_str!(concat!("../../template/", $path)))),*] };
}

/// By path. An end `.in` is dropped: cargo packages no folder that has a Cargo.toml, and git would obey a .gitignore.
const FILES: [(&str, &str); 21] = files![
    ".gitignore.in",
    "Cargo.toml.in",
    "README.md",
    "build.rs",
    "clients/python/client.py",
    "clients/web/.npmrc",
    "clients/web/index.html",
    "clients/web/main.ts",
    "clients/web/package.json",
    "clients/web/tsconfig.json",
    "proto/my_game/v1/my_game.proto",
    "scripts/check",
    "scripts/common.sh",
    "scripts/gen",
    "scripts/play",
    "scripts/run",
    "scripts/test",
    "scripts/web",
    "server/main.rs",
    "server/tests.rs",
    "tagwire.toml",
];

/// A file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Where, below the project's folder.
    pub(super) path: String,
    pub(super) text: String,
    /// True: it is a program.
    pub(super) executable: bool,
}

/// The files of a project called `name`, which finds tagwire at `tagwire`, seen from its folder or absolute.
pub(super) fn render(name: &str, tagwire: &str) -> Vec<File> {
    let file = |(path, text): (&str, &str)| {
        let path = path.strip_suffix(".in").unwrap_or(path);
        let from = format!("{}{TAGWIRE}", UP.repeat(depth_of_paths(path)));
        let to = if tagwire.starts_with('/') {
            tagwire.to_string()
        } else {
            format!("{}{tagwire}", UP.repeat(depth_of_paths(path)))
        };
        File {
            path: path.replace(NAME, name),
            // In this order: the way to tagwire may have the name in it.
            text: text.split(&from).map(|part| part.replace(NAME, name)).collect::<Vec<_>>().join(&to),
            executable: text.starts_with("#!"),
        }
    };
    FILES.into_iter().map(file).collect()
}

/// How far below the project's folder the ways in a file begin: npm's at the file, those of texts at the project.
fn depth_of_paths(path: &str) -> usize {
    if path.ends_with("package.json") { path.matches('/').count() } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn walk(root: &Path, folder: &Path, into: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder of the template") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, into);
            } else {
                let path = path.strip_prefix(root).expect("below it");
                into.insert(path.to_str().expect("UTF-8").to_string());
            }
        }
    }

    #[test]
    fn every_file_of_the_template_is_in_a_project() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("template");
        let mut there = BTreeSet::new();
        walk(&root, &root, &mut there);
        assert_eq!(there, FILES.iter().map(|(path, _)| (*path).to_string()).collect());
    }

    #[test]
    fn nothing_of_the_two_names_is_left() {
        let files = render("chess", "/opt/my_game/tagwire");
        for file in &files {
            let text = file.text.replace("/opt/my_game/tagwire", "");
            assert!(!text.contains(NAME) && !text.contains("../tagwire"), "{}", file.path);
            assert!(!file.path.contains(NAME) && !file.path.ends_with(".in"), "{}", file.path);
            assert_eq!(
                file.executable,
                file.path.starts_with("scripts/") && file.path != "scripts/common.sh"
            );
        }
        let find = |path: &str| &files.iter().find(|file| file.path == path).expect("a file").text;
        assert!(find("Cargo.toml").contains("path = \"/opt/my_game/tagwire/server\""));
        assert!(find("proto/chess/v1/chess.proto").contains("package chess.v1;"));
        assert!(
            find("clients/web/package.json").contains("\"file:/opt/my_game/tagwire/clients/typescript\"")
        );
    }

    #[test]
    fn a_relative_way_is_written_as_seen_from_each_file() {
        let files = render("chess", "../../stack");
        let find = |path: &str| &files.iter().find(|file| file.path == path).expect("a file").text;
        assert!(find("Cargo.toml").contains("tagwire = { path = \"../../stack\" }"));
        assert!(find("clients/web/package.json").contains("\"file:../../../../stack/clients/typescript\""));
        assert!(find("README.md").contains("(../../stack/docs/guides/rooms.md)"));
    }
}
