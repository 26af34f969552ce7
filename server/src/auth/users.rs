//! The file of users: who has a name here, what they may do, and the hash of their password. TOML:
//!
//! ```toml
//! [users]
//! zoe = { role = "operator", hash = "$argon2id$v=19$m=19456,t=2,p=1$..." }
//! "Kit of the hill" = { hash = "$argon2id$v=19$m=19456,t=2,p=1$..." }
//! ```
//!
//! `role` is `player`, where it is not said, or `operator`. What is wrong with a file is told with the line, and never
//! shows the line: it may hold a hash.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use tagwire::Access;
use tagwire::name;
use toml::de::{DeTable, DeValue};
use toml_edit::{DocumentMut, InlineTable, Item, TableLike, Value};

use super::password::{self, Hash, HashError};

/// The table of the file.
const TABLE: &str = "users";
/// What a new file begins with.
const HEADER: &str = "\
# Who may come in, for auth = \"file\" of tagwire-server. To be changed with `tagwire-server users`, or by hand; a running
# server reads it again. role: \"player\" or \"operator\".

[users]
";

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Play.
    Player,
    /// Send what the schema has for operators alone, too.
    Operator,
}

impl Role {
    fn parse(text: &str) -> Option<Self> {
        <Role as clap::ValueEnum>::from_str(text, false).ok()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Player => "player",
            Role::Operator => "operator",
        }
    }

    pub(crate) fn access(self) -> Access {
        match self {
            Role::Player => Access::Player,
            Role::Operator => Access::Operator,
        }
    }
}

/// Somebody who has a name here.
#[derive(Debug, Clone)]
pub(crate) struct User {
    /// As it was registered; others may write it with other capitals.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) hash: Hash,
}

/// What a file of users says.
#[derive(Debug)]
pub(crate) struct Users {
    by_key: HashMap<String, User>,
    /// As costly as the hashes of most users, and of no password.
    nobody: Hash,
}

impl Users {
    /// Reads a file. An error names the line and shows no hash.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let at = |span: Range<usize>| format!("line {}", text[..span.start].matches('\n').count() + 1);
        let file = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or_else(|| "somewhere".to_string(), at);
            format!("{line}: this is not TOML")
        })?;
        let mut by_key: HashMap<String, User> = HashMap::new();
        for (key, value) in file.get_ref() {
            if key.get_ref() != TABLE {
                return Err(format!("{}: expected [{TABLE}] and nothing else", at(key.span())));
            }
            let DeValue::Table(users) = value.get_ref() else {
                return Err(format!("{}: {TABLE} is a table: [{TABLE}]", at(value.span())));
            };
            for (key, value) in users {
                let (line, written) = (at(key.span()), key.get_ref());
                let wrong = |what: String| format!("{line}: {}: {what}", written.escape_debug());
                let name = name::player(written).map_err(|error| wrong(error.to_string()))?;
                if name.is_empty() {
                    return Err(wrong("a name has at least one character".to_string()));
                }
                let (role, hash) = user(value.get_ref()).map_err(wrong)?;
                if let Some(other) = by_key.insert(name::key(&name).into_owned(), User { name, role, hash }) {
                    return Err(wrong(format!("the same name as {}", other.name.escape_debug())));
                }
            }
        }
        let nobody = Hash::of_nobody(most_common(&by_key));
        Ok(Users { by_key, nobody })
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&User> {
        self.by_key.get(&*name::key(name))
    }

    /// In the order of their names.
    pub(crate) fn all(&self) -> Vec<&User> {
        let mut all: Vec<_> = self.by_key.values().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// What the password of somebody who is not here is compared with.
    pub(crate) fn nobody(&self) -> &Hash {
        &self.nobody
    }
}

fn user(value: &DeValue<'_>) -> Result<(Role, Hash), String> {
    let DeValue::Table(fields) = value else {
        return Err("expected { role = \"player\", hash = \"$argon2id$...\" }".to_string());
    };
    let (mut role, mut hash) = (Role::Player, None);
    for (key, value) in fields {
        let text = match value.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => None,
        };
        match key.get_ref().as_ref() {
            "role" => {
                role = text.and_then(Role::parse).ok_or("role is \"player\" or \"operator\"")?;
            }
            "hash" => {
                let text = text.ok_or("hash is a text in quotes")?;
                hash = Some(Hash::parse(text).map_err(|error| format!("hash: {error}"))?);
            }
            // Not shown: the hash itself may stand where a key belongs.
            _ => return Err("expected role and hash and nothing else".to_string()),
        }
    }
    Ok((role, hash.ok_or("it has no hash")?))
}

/// A hash with the parameters that most have, for who is not here must not be told apart by the time it takes.
fn most_common(users: &HashMap<String, User>) -> Option<&Hash> {
    let mut counted: HashMap<_, (usize, &Hash)> = HashMap::new();
    for user in users.values() {
        counted.entry(user.hash.cost()).or_insert((0, &user.hash)).0 += 1;
    }
    counted.into_iter().max_by_key(|(cost, (count, _))| (*count, *cost)).map(|(_, (_, hash))| hash)
}

/// Why a file of users is not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Io(PathBuf, io::Error),
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    File(PathBuf, String),
    #[error("{0:?} is no name: {1}")]
    Name(String, name::NameError),
    #[error(
        "{0} is in the file already\n  fix: users passwd gives another password, users remove takes it out"
    )]
    Exists(String),
    #[error("nobody in the file is called {0}\n  fix: users list shows who is")]
    Missing(String),
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// A file of users that nobody else changes at the same time, until it is dropped.
pub(crate) struct Editor {
    path: PathBuf,
    document: DocumentMut,
    _lock: File,
}

impl Editor {
    /// Opens the file, or one that is not there yet. Waits for others who change it.
    pub(crate) fn open(path: &Path) -> Result<Self, EditError> {
        let failed = |error| EditError::Io(path.to_path_buf(), error);
        // What a link leads to is replaced, not the link.
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
            Err(error) => return Err(failed(error)),
        };
        let lock = beside(&path, "lock");
        let locked = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
        let locked = locked
            .and_then(|file| Ok(flock(&file, FlockOperation::LockExclusive).map(|()| file)?))
            .map_err(|error| EditError::Io(lock, error))?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => HEADER.to_string(),
            Err(error) => return Err(EditError::Io(path, error)),
        };
        Users::parse(&text).map_err(|error| EditError::File(path.clone(), error))?;
        let document =
            text.parse().map_err(|_| EditError::File(path.clone(), "this is not TOML".to_string()))?;
        Ok(Editor { path, document, _lock: locked })
    }

    fn users(&mut self) -> &mut dyn TableLike {
        let users = self.document.entry(TABLE).or_insert_with(toml_edit::table);
        users.as_table_like_mut().expect("it was parsed as a table of users")
    }

    /// The key under which somebody stands in the file.
    fn find(&mut self, name: &str) -> Option<String> {
        let wanted = name::key(name);
        let written = self.users().iter().map(|(written, _)| written.to_string());
        written.into_iter().find(|written| name::key(written) == wanted)
    }

    /// Adds somebody.
    pub(crate) fn add(&mut self, name: &str, role: Role, password: &str) -> Result<(), EditError> {
        let name = name::player(name)
            .and_then(|name| if name.is_empty() { Err(name::NameError::Empty) } else { Ok(name) })
            .map_err(|error| EditError::Name(name.to_string(), error))?;
        if let Some(written) = self.find(&name) {
            return Err(EditError::Exists(written));
        }
        let mut user = InlineTable::new();
        user.insert("role", role.name().into());
        user.insert("hash", password::hash(password)?.into());
        self.users().insert(&name, Item::Value(Value::InlineTable(user)));
        Ok(())
    }

    /// Gives somebody another password.
    pub(crate) fn set_password(&mut self, name: &str, password: &str) -> Result<(), EditError> {
        let written = self.find(name).ok_or_else(|| EditError::Missing(name.to_string()))?;
        let hash = password::hash(password)?;
        if let Some(user) = self.users().get_mut(&written).and_then(Item::as_table_like_mut) {
            user.insert("hash", toml_edit::value(hash));
        }
        Ok(())
    }

    /// Takes somebody out.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), EditError> {
        let written = self.find(name).ok_or_else(|| EditError::Missing(name.to_string()))?;
        self.users().remove(&written);
        Ok(())
    }

    /// Puts the changed file in the place of the old one, for its owner alone to read; one that was there before keeps
    /// its owner and who may read it.
    pub(crate) fn save(self) -> Result<(), EditError> {
        let new = beside(&self.path, "new");
        self.write(&new).map_err(|error| EditError::Io(new.clone(), error))?;
        let renamed = fs::rename(&new, &self.path).and_then(|()| {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        });
        renamed.map_err(|error| EditError::Io(self.path, error))
    }

    fn write(&self, new: &Path) -> io::Result<()> {
        // Left by somebody who was interrupted, for the lock is ours.
        match fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
        if let Ok(old) = fs::metadata(&self.path) {
            let ours = file.metadata()?;
            if (ours.uid(), ours.gid()) != (old.uid(), old.gid()) {
                fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
        }
        file.write_all(self.document.to_string().as_bytes())?;
        file.sync_all()
    }
}

/// A file in the same folder, so that it can be renamed.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const HASH: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    fn file(text: &str) -> Result<Users, String> {
        Users::parse(&text.replace("HASH", HASH))
    }

    #[test]
    fn users_are_read_by_any_spelling_of_their_name() {
        let users = file(
            "# ours\n[users]\nzoe = { role = \"operator\", hash = \"HASH\" }\n\"Mu\u{308}ller 2\" = { hash = \"HASH\" }\n\
             [users.kit]\nhash = \"HASH\"\n",
        )
        .expect("a file of users");
        let roles: Vec<_> = users.all().into_iter().map(|user| (user.name.as_str(), user.role)).collect();
        assert_eq!(roles, [("Müller 2", Role::Player), ("kit", Role::Player), ("zoe", Role::Operator)]);
        assert_eq!(users.get("ZOE").map(|user| user.name.as_str()), Some("zoe"));
        assert!(users.get("MÜLLER 2").is_some() && users.get("zoe2").is_none());
        assert_eq!(users.nobody().cost(), (256, 2, 1), "as costly as the others");
        assert_eq!(file("").expect("nobody").nobody().cost().0, password::MEMORY_KIB);
    }

    #[test]
    fn what_is_wrong_names_the_line_and_shows_no_hash() {
        for (text, says) in [
            ("[users]\nzoe = { hash = \"HASH }\n", "line 2: this is not TOML"),
            ("[users]\nzoe = { hash = HASH }\n", "line 2: this is not TOML"),
            ("zoe = \"HASH\"\n", "line 1: expected [users] and nothing else"),
            ("users = \"HASH\"\n", "line 1: users is a table: [users]"),
            (
                "[users]\n\nzoe = \"HASH\"\n",
                "line 3: zoe: expected { role = \"player\", hash = \"$argon2id$...\" }",
            ),
            ("[users]\nzoe = { role = \"player\" }\n", "line 2: zoe: it has no hash"),
            (
                "[users]\nzoe = { role = \"admin\", hash = \"HASH\" }\n",
                "line 2: zoe: role is \"player\" or \"operator\"",
            ),
            ("[users]\nzoe = { \"HASH\" = 1 }\n", "line 2: zoe: expected role and hash and nothing else"),
            ("[users]\nzoe = { hash = 12345678 }\n", "line 2: zoe: hash is a text in quotes"),
            (
                "[users]\nzoe = { hash = \"hunter2\" }\n",
                "line 2: zoe: hash: it is no hash like $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH",
            ),
            ("[users]\n\"\" = { hash = \"HASH\" }\n", "line 2: : a name has at least one character"),
            (
                "[users]\n\"zoe\\n\" = { hash = \"HASH\" }\n",
                "line 2: zoe\\n: a name has no control characters",
            ),
        ] {
            let error = file(text).map(drop).expect_err(text);
            assert_eq!(error, says);
        }
        let error = file("[users]\nzoe = { hash = \"HASH\" }\nZoe = { hash = \"HASH\" }\n").map(drop);
        let error = error.expect_err("one name twice");
        assert!(error.contains("the same name as"), "{error}");
        let greedy = HASH.replace("m=256", "m=4194304");
        let error = file(&format!("[users]\nzoe = {{ hash = \"{greedy}\" }}\n")).map(drop);
        assert_eq!(
            error.expect_err("too much"),
            "line 2: zoe: hash: it asks for 4194304 KiB of memory; at most 262144"
        );
    }

    #[test]
    fn a_file_is_changed_and_what_others_wrote_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.toml");
        let edit = |change: &dyn Fn(&mut Editor) -> Result<(), EditError>| {
            let mut editor = Editor::open(&path)?;
            change(&mut editor)?;
            editor.save()
        };
        let read = || fs::read_to_string(&path).expect("a file");
        let users = || Users::parse(&read()).expect("a file of users");
        edit(&|editor| editor.add("zoe", Role::Operator, "one")).expect("added");
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        assert!(read().starts_with("# Who may come in") && !read().contains("one\""));
        fs::write(&path, read() + "# a friend\n\"Kit of the hill\" = { hash = \"" + HASH + "\" } # old\n")
            .expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("its own");
        edit(&|editor| editor.add("Mu\u{308}ller", Role::Player, "two")).expect("added");
        edit(&|editor| editor.set_password("ZOE", "three")).expect("changed");
        assert!(read().contains("# a friend\n\"Kit of the hill\" =") && read().contains("# old"));
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o640, "who may read it stays");
        assert_eq!(users().len(), 3);
        let is = |name: &str, password: &str| users().get(name).expect("a user").hash.is_of(password);
        assert!(is("zoe", "three") && !is("zoe", "one") && is("müller", "two"));
        assert!(is("kit of the hill", "password"));
        assert_eq!(users().get("zoe").map(|user| user.role), Some(Role::Operator));
        edit(&|editor| editor.remove("KIT OF THE HILL")).expect("removed");
        assert_eq!(users().len(), 2);

        let before = read();
        for (change, says) in [
            (
                edit(&|editor| editor.add("Zoe", Role::Player, "x")),
                "zoe is in the file already\n  fix: users passwd gives another password, users remove takes it out",
            ),
            (
                edit(&|editor| editor.remove("max")),
                "nobody in the file is called max\n  fix: users list shows who is",
            ),
            (
                edit(&|editor| editor.set_password("max", "x")),
                "nobody in the file is called max\n  fix: users list shows who is",
            ),
            (
                edit(&|editor| editor.add("", Role::Player, "x")),
                "\"\" is no name: a name has at least one character",
            ),
            (
                edit(&|editor| editor.add("a\nb", Role::Player, "x")),
                "\"a\\nb\" is no name: a name has no control characters",
            ),
        ] {
            assert_eq!(change.expect_err(says).to_string(), says);
        }
        assert_eq!(read(), before);
        fs::write(&path, "[users]\nzoe = 1\n").expect("written");
        let error = edit(&|editor| editor.remove("zoe")).expect_err("a broken file").to_string();
        assert!(error.contains("users.toml: line 2: zoe: expected"), "{error}");
        assert_eq!(read(), "[users]\nzoe = 1\n", "nothing is written over what is not understood");
    }

    #[test]
    fn two_who_change_a_file_do_it_one_after_the_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.toml");
        std::thread::scope(|scope| {
            for i in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    let mut editor = Editor::open(path).expect("opened");
                    editor.add(&format!("player{i}"), Role::Player, "x").expect("added");
                    editor.save().expect("saved");
                });
            }
        });
        let users = Users::parse(&fs::read_to_string(&path).expect("a file")).expect("a file of users");
        assert_eq!(users.len(), 4);
    }
}
