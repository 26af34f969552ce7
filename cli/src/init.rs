//! `tagwire init`: a project of one's own, whole or not at all.
//!
//! ```text
//! folder, flags -> name, checkout -> template, rendered, in a folder beside -> stubs, as `gen` prints them -> moved
//! ```

mod name;
mod template;

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use crate::failure::{Failure, Problem, io_at};
use crate::{Answer, counted, generate, say};

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  tagwire init ../my_game                          a server in Rust, players in Python and in the browser
  tagwire init ~/games/race --name space_race
  tagwire init . --tagwire ~/src/tagwire           in this folder, which is empty";

/// Where this program was built from, in the folder `cli` of a checkout.
const CLI: &str = env!("CARGO_MANIFEST_DIR");
/// What a project takes from a checkout.
const NEEDED: [&str; 5] = [
    "Cargo.toml",
    "server/Cargo.toml",
    "codegen/Cargo.toml",
    "clients/python/pyproject.toml",
    "clients/typescript/package.json",
];
/// A way with more steps up than this says less than an absolute one.
const MAX_UP: usize = 3;

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of the project. It is made; or it is empty, but for a `.git`.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Name of the project and of its proto and Python packages. Default: that of the folder, `My-Game` as `my_game`.
    #[arg(long)]
    name: Option<String>,
    /// The checkout of tagwire that the project is to use. Default: the one that this program was built from.
    #[arg(long, value_name = "PATH")]
    tagwire: Option<PathBuf>,
    /// Tell all in one JSON object on the standard output, what is wrong too.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Writes the project, and tells what to do next.
///
/// # Errors
/// Why there is none.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let folder = absolute(&args.folder)?;
    let name = match &args.name {
        Some(name) => name::check(name).map(|()| name.clone())?,
        None => name::of_folder(&folder)?,
    };
    refuse_full(&folder, &args.folder)?;
    let cli = Path::new(CLI);
    let checkout = checkout(args.tagwire.as_deref(), cli.parent().unwrap_or(cli))?;
    let tagwire = way(&folder, &checkout)?;
    let files = write(&folder, &name, &checkout, &tagwire)?;
    if args.json {
        let done = json!({ "ok": true, "folder": folder, "name": name, "tagwire": tagwire, "files": files });
        say(&done.to_string());
    } else {
        say(&format!(
            "{}: {} of the project {name}, with tagwire at {tagwire}\n\n\
             What comes next; the first compiles for a while:\n  \
             cd {}\n  \
             scripts/test                # the server's tests\n  \
             scripts/web                 # the page, for which Node is needed\n  \
             scripts/run                 # the server; the page is at http://localhost:7777/\n  \
             scripts/play --name kit     # in another terminal: a player in Python\n\n\
             README.md there says how to add a message.",
            args.folder.display(),
            counted(files.len(), "file"),
            shell(&args.folder),
        ));
    }
    Ok(Answer::Yes)
}

/// The whole path of a folder that need not be there. Links and `..` are resolved as far as there is something.
fn absolute(folder: &Path) -> Result<PathBuf, Failure> {
    let mut there = std::path::absolute(folder).map_err(io_at(folder))?;
    let mut rest = vec![];
    loop {
        match there.canonicalize() {
            Ok(known) => {
                let whole = rest.iter().rev().fold(known, |path: PathBuf, part: &OsString| path.join(part));
                return Ok(whole);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => match there.file_name() {
                Some(last) => {
                    rest.push(last.to_os_string());
                    there.pop();
                }
                None => return Err(io_at(folder)(error)),
            },
            Err(error) => return Err(io_at(folder)(error)),
        }
    }
}

/// Refuses a folder with anything in it, but for the history that somebody has begun before.
fn refuse_full(folder: &Path, shown: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            let fix = "name a folder that is not there yet, or an empty one";
            return Err(Problem::new("it is no folder").at(shown, None).fix(fix).into());
        }
        entries => entries.map_err(io_at(shown))?,
    };
    let mut names = vec![];
    for entry in entries {
        names.push(entry.map_err(io_at(shown))?.file_name());
    }
    names.retain(|name| name != ".git");
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    let some: Vec<_> = names.iter().take(3).map(|name| name.to_string_lossy()).collect();
    let more = match names.len() - some.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let fix = "name a folder that is not there yet, or an empty one";
    let what = format!("it is not empty: there is {}{more}", some.join(", "));
    Err(Problem::new(what).at(shown, None).fix(fix).into())
}

/// The checkout of tagwire that a project is to use: the one given, else `built_from`.
fn checkout(given: Option<&Path>, built_from: &Path) -> Result<PathBuf, Failure> {
    let path = given.unwrap_or(built_from);
    let Some(lost) = NEEDED.into_iter().find(|file| !path.join(file).is_file()) else {
        return path.canonicalize().map_err(io_at(path));
    };
    let (what, fix) = match given {
        Some(_) => (
            format!("it is no checkout of tagwire: it has no {lost}"),
            "name the folder that tagwire was cloned into: `--tagwire PATH`",
        ),
        None => (
            format!("it was the checkout of tagwire that this program was built from, and now has no {lost}"),
            "say where tagwire is now: `--tagwire PATH`",
        ),
    };
    Err(Problem::new(what).at(path, None).fix(fix).into())
}

/// How the project finds the checkout: relative where that is short, so that both may be moved together.
fn way(folder: &Path, checkout: &Path) -> Result<String, Failure> {
    let common =
        folder.components().zip(checkout.components()).take_while(|(one, other)| one == other).count();
    let up = folder.components().count() - common;
    let way = if up > MAX_UP {
        checkout.to_path_buf()
    } else {
        let down = checkout.components().skip(common);
        std::iter::repeat_n(Component::ParentDir, up).chain(down).collect()
    };
    // It is written into TOML, JSON, Markdown and a shell script alike.
    match way.to_str().filter(|text| !text.contains(|c: char| c.is_control() || "\"'\\$`()<>#%?".contains(c)))
    {
        Some(text) => Ok(text.to_string()),
        None => Err(Problem::new("a project cannot write this path into its files")
            .at(checkout, None)
            .fix("move or link the checkout to a path of plain letters, and name that: `--tagwire PATH`")
            .into()),
    }
}

/// Writes the project into a folder beside, and moves it when it is whole. Gives the files, by path.
fn write(folder: &Path, name: &str, checkout: &Path, tagwire: &str) -> Result<Vec<String>, Failure> {
    let parent = folder.parent().unwrap_or(folder);
    let _made = Made::new(parent).map_err(io_at(parent))?;
    let beside =
        tempfile::Builder::new().prefix(".tagwire-init-").tempdir_in(parent).map_err(io_at(parent))?;
    // One level below: what is outside is deleted, whatever becomes of the project.
    let draft = beside.path().join(name);
    for file in template::render(name, tagwire) {
        let path = draft.join(&file.path);
        put(&path, &file.text, file.executable).map_err(io_at(&path))?;
    }
    // The versions that this checkout is tested with; cargo drops what the project does not use.
    match fs::copy(checkout.join("Cargo.lock"), draft.join("Cargo.lock")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_at(checkout)(error)),
        _ => {}
    }
    generate::anew(&draft.join("tagwire.toml"))?;
    let mut files = vec![];
    list(&draft, &draft, &mut files).map_err(io_at(&draft))?;
    files.sort();
    settle(&draft, folder).map_err(io_at(folder))?;
    Ok(files)
}

/// Folders that were made for the project, and go again if they stay empty.
struct Made(Vec<PathBuf>);

impl Made {
    fn new(folder: &Path) -> io::Result<Self> {
        let missing = folder.ancestors().take_while(|f| !f.exists()).map(Path::to_path_buf).collect();
        fs::create_dir_all(folder)?;
        Ok(Made(missing))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // The innermost first; one with anything in it cannot be removed.
        self.0.iter().take_while(|folder| fs::remove_dir(folder).is_ok()).for_each(drop);
    }
}

fn put(path: &Path, text: &str, executable: bool) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text)?;
    #[cfg(unix)]
    if executable {
        use std::os::unix::fs::PermissionsExt;
        let mut permissions = fs::metadata(path)?.permissions();
        // For whom it may be read.
        let mode = permissions.mode();
        permissions.set_mode(mode | (mode & 0o444) >> 2);
        fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

fn list(root: &Path, folder: &Path, into: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(root, &path, into)?;
        } else {
            into.push(path.strip_prefix(root).unwrap_or(&path).display().to_string());
        }
    }
    Ok(())
}

/// Moves the draft to its place. Where the folder is there already, all that is in the draft is moved into it, or nothing.
fn settle(draft: &Path, folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return fs::rename(draft, folder);
    }
    let mut names = fs::read_dir(draft)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    let mut moved = vec![];
    for from in names {
        let to = folder.join(from.file_name().unwrap_or_default());
        if let Err(error) = fs::rename(&from, &to) {
            // The draft takes back what is its own, and is deleted with it.
            for (from, to) in moved {
                fs::rename(to, from)?;
            }
            return Err(error);
        }
        moved.push((from, to));
    }
    Ok(())
}

/// A path as one writes it in a shell.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-~+@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn found(folder: &str, checkout: &str) -> Option<String> {
        way(Path::new(folder), Path::new(checkout)).ok()
    }

    #[test]
    fn the_way_to_the_checkout_is_relative_where_that_is_short() {
        for (folder, checkout, expected) in [
            ("/home/zoe/my_game", "/home/zoe/tagwire", "../tagwire"),
            ("/home/zoe/games/a/my_game", "/home/zoe/tagwire", "../../../tagwire"),
            ("/home/zoe/games/a/b/my_game", "/home/zoe/tagwire", "/home/zoe/tagwire"),
            ("/home/zoe/tagwire/my_game", "/home/zoe/tagwire", ".."),
            ("/my_game", "/home/zoe/tag wire", "../home/zoe/tag wire"),
        ] {
            assert_eq!(found(folder, checkout).as_deref(), Some(expected));
        }
        for unwritable in ["/a\"b", "/a\nb", "/a$b", "/a\\b", "/a'b"] {
            assert_eq!(found("/my_game", unwritable), None, "{unwritable}");
        }
        // It is far away, so the way is absolute and does not end there.
        assert_eq!(found("/a'/b/c/d/e", "/a'/t"), None);
        assert_eq!(found("/a'/b", "/a'/t").as_deref(), Some("../t"));
    }

    #[test]
    fn a_checkout_that_is_no_more_there_is_asked_for() {
        let gone = Path::new("/no/such/checkout");
        let problem = checkout(None, gone).unwrap_err().0.remove(0);
        let text = "/no/such/checkout: it was the checkout of tagwire that this program was built from, and now has no \
                    Cargo.toml\n  fix: say where tagwire is now: `--tagwire PATH`";
        assert_eq!(problem.to_string(), text);
    }

    #[test]
    fn a_path_is_quoted_where_a_shell_needs_it() {
        assert_eq!(shell(Path::new("../my_game")), "../my_game");
        assert_eq!(shell(Path::new("my game")), "'my game'");
        assert_eq!(shell(Path::new("zoe's")), r"'zoe'\''s'");
    }

    #[test]
    fn folders_made_for_a_project_that_came_to_nothing_go_again() {
        let dir = tempfile::tempdir().unwrap();
        drop(Made::new(&dir.path().join("a/b")).unwrap());
        assert!(!dir.path().join("a").exists() && dir.path().exists());
        let made = Made::new(&dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/mine"), "").unwrap();
        drop(made);
        assert!(dir.path().join("a/mine").exists() && !dir.path().join("a/b").exists());
    }

    #[test]
    fn a_draft_is_moved_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (draft, folder) = (dir.path().join("draft"), dir.path().join("folder"));
        for name in ["a", "b", "c"] {
            put(&draft.join(name).join("file"), name, false).unwrap();
        }
        put(&folder.join("b/mine"), "", false).unwrap();
        settle(&draft, &folder).unwrap_err();
        let mut files = vec![];
        list(dir.path(), dir.path(), &mut files).unwrap();
        files.sort();
        assert_eq!(files, ["draft/a/file", "draft/b/file", "draft/c/file", "folder/b/mine"]);
        fs::remove_dir_all(folder.join("b")).unwrap();
        settle(&draft, &folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("c/file")).unwrap(), "c");
    }
}
