//! What a schema was: by its lock, by a revision of git, by other files. Nothing is checked out.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tagwire_codegen::load::{self, Text};
use tagwire_codegen::lock::{FILE_NAME, Lock, Retired};

use crate::failure::{Failure, Problem, io_at};

/// A schema of before.
pub(crate) struct Before {
    /// With what it remembers.
    pub(crate) lock: Lock,
    /// What people call it.
    pub(crate) name: String,
}

/// Where the lock of a schema lies: beside its files.
pub(crate) fn lock_path(roots: &[PathBuf]) -> PathBuf {
    let root = roots.first().map_or(Path::new("."), PathBuf::as_path);
    let folder = if root.is_file() { root.parent().unwrap_or(Path::new("")) } else { root };
    folder.join(FILE_NAME)
}

/// The lock, if it is there.
///
/// # Errors
/// It cannot be read, or is none.
pub(crate) fn read_lock(path: &Path) -> Result<Option<Lock>, Failure> {
    match fs::read(path) {
        Ok(bytes) => parse(&bytes, path).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_at(path)(error)),
    }
}

fn parse(bytes: &[u8], path: &Path) -> Result<Lock, Failure> {
    Lock::parse(&String::from_utf8_lossy(bytes), path).map_err(|error| {
        Problem::new(error.what).at(&error.location.path, error.location.line).fix(error.fix).into()
    })
}

/// What `--against` names: what lies there, else a revision. `lock` is the schema's own: it knows what was removed,
/// whatever is compared.
///
/// # Errors
/// There is no such thing, or it holds no schema.
pub(crate) fn find(against: &str, roots: &[PathBuf], lock: Option<&Lock>) -> Result<Before, Failure> {
    let path = Path::new(against);
    let name = against.to_string();
    let with = |model, retired: Option<Retired>| Before {
        lock: Lock {
            model,
            retired: retired.or_else(|| lock.map(|lock| lock.retired.clone())).unwrap_or_default(),
        },
        name,
    };
    if path.is_dir() {
        return Ok(with(load::load(&[path.to_path_buf()])?, None));
    }
    match fs::read(path) {
        Ok(bytes) if std::str::from_utf8(&bytes).is_ok_and(Lock::is_one) => {
            let Lock { model, retired } = parse(&bytes, path)?;
            Ok(with(model, Some(retired)))
        }
        Ok(_) if path.extension().is_some_and(|e| e == "proto") => {
            Ok(with(load::load(&[path.to_path_buf()])?, None))
        }
        Ok(bytes) => Ok(with(load::load_set(&bytes, path)?, None)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let (texts, wanted) = revision(against, roots)?;
            let roots: Vec<_> = roots.iter().map(|r| format!("{against}:{}", r.display())).collect();
            Ok(with(load::load_texts(texts, &wanted, &roots.join(", "))?, None))
        }
        Err(error) => Err(io_at(path)(error)),
    }
}

/// The `.proto` files of a revision below the roots, and the names of those that the roots ask for.
fn revision(name: &str, roots: &[PathBuf]) -> Result<(Vec<Text>, Vec<String>), Failure> {
    let (mut texts, mut wanted) = (vec![], vec![]);
    for root in roots {
        let folder = match root.is_file() {
            true => root.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")),
            false => root,
        };
        let git = Git { folder, revision: name };
        let commit = git.commit()?;
        let files = git.files(&commit)?;
        let contents = git.contents(files.iter().map(|(_, object)| object.as_str()))?;
        for ((file, _), bytes) in files.into_iter().zip(contents) {
            let path = PathBuf::from(format!("{name}:{}", folder.join(&file).display()));
            let text = String::from_utf8(bytes).map_err(|_| {
                Problem::new("it is not UTF-8").at(&path, None).fix("compare with another revision")
            })?;
            if !root.is_file() || root.file_name().is_some_and(|name| name == file.as_str()) {
                wanted.push(file.clone());
            }
            texts.push(Text { name: file, path, text });
        }
    }
    Ok((texts, wanted))
}

/// A revision of the repository around a folder.
struct Git<'a> {
    folder: &'a Path,
    revision: &'a str,
}

impl Git<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.folder).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, mut command: Command, input: &[u8]) -> Result<std::process::Output, Failure> {
        let missing = |error: std::io::Error| -> Failure {
            Problem::new(format!("git cannot be run: {error}"))
                .fix("install git; or compare with a file or folder: `--against FILE`")
                .into()
        };
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(missing)?;
        let mut stdin = child.stdin.take();
        // Written beside the reading: both pipes may fill up.
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // Where git ends early it says why.
                stdin.as_mut().map(|stdin| stdin.write_all(input))
            });
            child.wait_with_output()
        });
        output.map_err(missing)
    }

    fn commit(&self) -> Result<String, Failure> {
        let wanted = format!("{}^{{commit}}", self.revision);
        let command = self.command(&["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted]);
        let output = self.run(command, &[])?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
        let why = match said.lines().next() {
            Some(line) => format!(", and git says: {line}"),
            None => String::new(),
        };
        Err(Problem::new(format!("there is no file `{0}` and no revision `{0}` of git{why}", self.revision))
            .fix("name a schema.lock, a descriptor set, a folder, or a revision that `git log` knows")
            .into())
    }

    /// Paths below the folder, and their objects.
    fn files(&self, commit: &str) -> Result<Vec<(String, String)>, Failure> {
        let output = self.run(self.command(&["ls-tree", "-r", "-z", commit, "--", "."]), &[])?;
        self.check(&output)?;
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        let files = listed.split('\0').filter_map(|line| {
            let (about, path) = line.split_once('\t')?;
            let mut about = about.split(' ').skip(1);
            let (kind, object) = (about.next()?, about.next()?);
            (kind == "blob" && path.ends_with(".proto")).then(|| (path.to_string(), object.to_string()))
        });
        Ok(files.collect())
    }

    /// What is in objects.
    fn contents<'o>(&self, objects: impl Iterator<Item = &'o str>) -> Result<Vec<Vec<u8>>, Failure> {
        let objects: Vec<&str> = objects.collect();
        let output =
            self.run(self.command(&["cat-file", "--batch"]), (objects.join("\n") + "\n").as_bytes())?;
        self.check(&output)?;
        // `OBJECT blob LENGTH`, the bytes, a line feed.
        let mut rest = output.stdout.as_slice();
        let mut contents = vec![];
        for object in objects {
            let bytes = (|| {
                let end = rest.iter().position(|byte| *byte == b'\n')?;
                let length: usize =
                    std::str::from_utf8(&rest[..end]).ok()?.rsplit(' ').next()?.parse().ok()?;
                let bytes = rest.get(end + 1..end + 1 + length)?.to_vec();
                rest = rest.get(end + 2 + length..)?;
                Some(bytes)
            })();
            let lost = || Problem::new(format!("git does not give {object} of {}", self.revision));
            contents.push(bytes.ok_or_else(lost)?);
        }
        Ok(contents)
    }

    fn check(&self, output: &std::process::Output) -> Result<(), Failure> {
        match output.status.success() {
            true => Ok(()),
            false => Err(Problem::new(format!(
                "git cannot read {}: {}",
                self.revision,
                String::from_utf8_lossy(&output.stderr).trim()
            ))
            .into()),
        }
    }
}
