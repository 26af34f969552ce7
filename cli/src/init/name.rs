//! What a project may be called: its name is one of a Cargo package, a proto package, and a Python package.

use std::path::Path;

use crate::failure::Problem;

const MAX_NAME_BYTES: usize = 40;

/// Words of Rust, Python and TypeScript that are no names there.
const KEYWORDS: &str = "\
    abstract and as assert async await become box break case catch class const continue crate debugger def \
    default del delete do dyn elif else enum except export extends extern false final finally fn for from \
    function gen global if impl implements import in instanceof interface is lambda let loop macro match \
    mod move mut new none nonlocal not null or override package pass priv private protected pub public \
    raise ref return self static struct super switch this throw trait true try type typeof unsafe unsized \
    use var virtual void where while with yield";

/// Modules that come with Python. Beside `client.py`, a package of that name would take the place of Python's own.
const PYTHON: &str = "\
    abc aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64 \
    bdb binascii bisect builtins bz2 calendar cgi cgitb chunk cmath cmd code codecs codeop collections \
    colorsys compileall compression concurrent configparser contextlib contextvars copy copyreg crypt csv \
    ctypes curses dataclasses datetime dbm decimal difflib dis distutils doctest email encodings ensurepip \
    errno faulthandler fcntl filecmp fileinput fnmatch fractions ftplib functools gc genericpath getopt \
    getpass gettext glob graphlib grp gzip hashlib heapq hmac html http idlelib imaplib imghdr imp \
    importlib inspect io ipaddress itertools json keyword lib2to3 linecache locale logging lzma mailbox \
    mailcap marshal math mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc nis nntplib nt \
    ntpath nturl2path numbers opcode operator optparse os ossaudiodev pathlib pdb pickle pickletools pipes \
    pkgutil platform plistlib poplib posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc \
    pydoc_data pyexpat queue quopri random re readline reprlib resource rlcompleter runpy sched secrets \
    select selectors shelve shlex shutil signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3 \
    sre_compile sre_constants sre_parse ssl stat statistics string stringprep subprocess sunau symtable sys \
    sysconfig syslog tabnanny tarfile telnetlib tempfile termios textwrap threading time timeit tkinter \
    token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types typing unicodedata \
    unittest urllib uu uuid venv warnings wave weakref webbrowser winreg winsound wsgiref xdrlib xml xmlrpc \
    zipapp zipfile zipimport zlib zoneinfo";

/// Names that something in the project has already.
const TAKEN: [(&str, &str); 12] = [
    ("tagwire", "tagwire itself"),
    ("tagwire_server", "a crate of tagwire"),
    ("tagwire_codegen", "a crate of tagwire"),
    ("fastrand", "a crate that the server uses"),
    ("schema", "the module of the server that holds all messages"),
    ("client", "the player in clients/python/client.py"),
    ("google", "the Python package of protobuf"),
    ("buf", "the package of buf.validate"),
    ("build", "a folder of cargo's"),
    ("deps", "a folder of cargo's"),
    ("examples", "a folder of cargo's"),
    ("incremental", "a folder of cargo's"),
];

/// The name of a project that is to be in that folder: `My-Game` becomes `my_game`.
///
/// # Errors
/// The folder has no such name.
pub(super) fn of_folder(folder: &Path) -> Result<String, Problem> {
    let last = folder.file_name().unwrap_or_default().to_string_lossy();
    let name = spelled(&last);
    let words = name.chars().filter(char::is_ascii_alphanumeric);
    let kept = last.chars().filter(|c| c.is_alphanumeric());
    // Where a letter had to go, the name would be a surprise.
    let name = if words.eq(kept.flat_map(char::to_lowercase)) { name } else { last.into_owned() };
    check(&name).map(|()| name)
}

/// Whether a project may be called so.
///
/// # Errors
/// Why not, with a name that it may have.
pub(super) fn check(name: &str) -> Result<(), Problem> {
    match why_not(name) {
        None => Ok(()),
        Some(why) => Err(Problem::new(why).fix(format!("choose another: `--name {}`", better(name)))),
    }
}

fn why_not(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("a project needs a name".to_string())
    } else if name.len() > MAX_NAME_BYTES {
        Some(format!("the name `{name}` has {} bytes, limit {MAX_NAME_BYTES}", name.len()))
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) || spelled(name) != name {
        Some(format!(
            "`{name}` cannot be the name of a Cargo, a proto and a Python package: small letters, digits and single \
             `_` between them, a letter first"
        ))
    } else if has(KEYWORDS, name) {
        Some(format!("`{name}` is a keyword of Rust, Python or TypeScript"))
    } else if has(PYTHON, name) {
        Some(format!("`{name}` is a module of Python's own, and would take its place"))
    } else {
        let (_, what) = TAKEN.iter().find(|(taken, _)| *taken == name)?;
        Some(format!("`{name}` is {what}"))
    }
}

fn has(words: &str, name: &str) -> bool {
    words.split_whitespace().any(|word| word == name)
}

/// In small letters, with one `_` for all between words that is neither letter nor digit.
fn spelled(name: &str) -> String {
    let small = name.to_lowercase();
    let words = small.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

/// A name like that one which may be had.
fn better(name: &str) -> String {
    let mut name = spelled(name);
    name.truncate(MAX_NAME_BYTES - "_game".len());
    let name = name.trim_end_matches('_').to_string();
    let name = match name.chars().next() {
        None => "my_game".to_string(),
        Some(first) if first.is_ascii_digit() => format!("game_{name}"),
        Some(_) => name,
    };
    if why_not(&name).is_none() { name } else { format!("{name}_game") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &str) -> Result<String, String> {
        of_folder(Path::new(path)).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_folder_lends_its_name() {
        for (path, name) in
            [("my_game", "my_game"), ("../My-Game", "my_game"), ("a/Space  Race 2", "space_race_2")]
        {
            assert_eq!(folder(path).as_deref(), Ok(name), "{path}");
        }
        for path in ["größe", "2048", "", "a+ß"] {
            assert!(folder(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_name_that_is_something_else_already_is_refused_with_another_one() {
        for (name, why, better) in [
            ("My-Game", "small letters", "my_game"),
            ("my__game", "single `_`", "my_game"),
            ("_x", "a letter first", "x"),
            ("2048", "a letter first", "game_2048"),
            ("größe", "small letters", "gr_e"),
            ("", "needs a name", "my_game"),
            ("___", "small letters", "my_game"),
            ("match", "keyword", "match_game"),
            ("yield", "keyword", "yield_game"),
            ("queue", "Python's own", "queue_game"),
            ("tagwire", "tagwire itself", "tagwire_game"),
            ("client", "client.py", "client_game"),
            (&"x".repeat(41), "41 bytes, limit 40", &"x".repeat(35)),
        ] {
            let problem = check(name).expect_err(name);
            assert!(problem.what.contains(why), "{name}: {problem}");
            assert_eq!(problem.fix, Some(format!("choose another: `--name {better}`")));
            assert_eq!(check(better), Ok(()));
        }
    }
}
