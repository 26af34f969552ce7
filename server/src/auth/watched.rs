//! A file that is read again when it changes.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tracing::{error, info};

use super::AuthError;

/// The file is looked at at most so often.
const INTERVAL: Duration = Duration::from_millis(100);
/// A file that is written in place, as an editor may do, is read when nobody has written for so long: half of it may be a
/// file as well. One that was put in the place of the other is whole, and read at once.
const SETTLED: Duration = Duration::from_secs(1);

/// Makes a value of a file's bytes; an error names the line and shows nothing that is secret.
type Parse<T> = Box<dyn Fn(&[u8]) -> Result<T, String> + Send + Sync>;

/// What a file says, as of its last version that could be read.
pub(super) struct Watched<T> {
    path: PathBuf,
    parse: Parse<T>,
    value: ArcSwap<T>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// Of the version that was read, could it be understood or not. `None`: the file could not be read.
    stamp: Option<Stamp>,
    looked: Option<Instant>,
}

/// By which two versions of a file differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    modified: (i64, i64),
    bytes: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            bytes: metadata.len(),
        }
    }
}

/// The bytes of a file; `None`: it was written meanwhile.
fn read(path: &Path) -> io::Result<Option<(Stamp, Vec<u8>)>> {
    let mut file = File::open(path)?;
    let before = Stamp::of(&file.metadata()?);
    let mut bytes = vec![];
    file.read_to_end(&mut bytes)?;
    let after = Stamp::of(&file.metadata()?);
    Ok((before == after).then_some((after, bytes)))
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the file for the first time. `fix`: what helps where there is none.
    pub(super) fn new(path: &Path, parse: Parse<T>, fix: &str) -> Result<Self, AuthError> {
        let wrong = |error: String, fix: Option<&str>| AuthError::File {
            path: path.to_path_buf(),
            error,
            fix: fix.map(str::to_string),
        };
        let missing = |error: io::Error| {
            let fix = (error.kind() == io::ErrorKind::NotFound).then_some(fix);
            wrong(error.to_string(), fix)
        };
        let (stamp, bytes) =
            read(path).map_err(missing)?.ok_or_else(|| wrong("it is being written".to_string(), None))?;
        let value = parse(&bytes).map_err(|error| wrong(error, None))?;
        Ok(Watched {
            path: path.to_path_buf(),
            parse,
            value: ArcSwap::from_pointee(value),
            seen: Mutex::new(Seen { stamp: Some(stamp), looked: None }),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says now. Reads it where it has changed: not for a thread that carries connections.
    pub(super) fn get(&self) -> Arc<T> {
        self.look(Instant::now(), SystemTime::now(), false);
        self.value.load_full()
    }

    /// Reads the file where it has changed, without waiting until it settles: somebody said that it is ready.
    pub(super) fn reload(&self) {
        self.look(Instant::now(), SystemTime::now(), true);
    }

    fn look(&self, now: Instant, clock: SystemTime, at_once: bool) {
        let mut seen = match self.seen.try_lock() {
            Ok(seen) => seen,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody is at it. Who asks to have it read waits; a login goes by what is known.
            Err(TryLockError::WouldBlock) if at_once => {
                self.seen.lock().unwrap_or_else(PoisonError::into_inner)
            }
            Err(TryLockError::WouldBlock) => return,
        };
        if !at_once && seen.looked.is_some_and(|looked| now.duration_since(looked) < INTERVAL) {
            return;
        }
        seen.looked = Some(now);
        let path = self.path.display();
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) => return complain(&mut seen, None, &format!("{path}: {error}")),
        };
        let stamp = Stamp::of(&metadata);
        if seen.stamp == Some(stamp) {
            return;
        }
        let in_place = seen.stamp.is_none_or(|seen| seen.file == stamp.file);
        let age = metadata.modified().map(|at| clock.duration_since(at).unwrap_or_default());
        if !at_once && in_place && age.is_ok_and(|age| age < SETTLED) {
            return;
        }
        match read(&self.path) {
            Err(error) => complain(&mut seen, None, &format!("{path}: {error}")),
            // Written right now: at the next look.
            Ok(None) => {}
            Ok(Some((stamp, bytes))) => match (self.parse)(&bytes) {
                Ok(value) => {
                    self.value.store(Arc::new(value));
                    seen.stamp = Some(stamp);
                    info!("{path} was read again");
                }
                Err(error) => complain(&mut seen, Some(stamp), &format!("{path}: {error}")),
            },
        }
    }
}

/// Once for each version of the file.
fn complain(seen: &mut Seen, stamp: Option<Stamp>, text: &str) {
    if seen.stamp != stamp {
        error!("what was read before stays in force: {text}");
    }
    seen.stamp = stamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> Result<u32, String> {
        str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok()).ok_or("no number".to_string())
    }

    struct File {
        _folder: tempfile::TempDir,
        path: PathBuf,
        watched: Watched<u32>,
        start: Instant,
        looks: u32,
    }

    impl File {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("number");
            fs::write(&path, "1").expect("written");
            let watched = Watched::new(&path, Box::new(number), "write one").expect("a number");
            File { _folder: folder, path, watched, start: Instant::now(), looks: 0 }
        }

        /// A look, so long after the last one and so long after the file was written.
        fn look(&mut self, age: Duration) -> u32 {
            self.looks += 1;
            let modified = fs::metadata(&self.path).and_then(|metadata| metadata.modified());
            let clock = modified.unwrap_or_else(|_| SystemTime::now()) + age;
            self.watched.look(self.start + INTERVAL * self.looks, clock, false);
            **self.watched.value.load()
        }

        fn replace(&self, text: &str) {
            let new = self.path.with_extension("new");
            fs::write(&new, text).expect("written");
            fs::rename(new, &self.path).expect("renamed");
        }
    }

    #[test]
    fn a_file_that_takes_the_place_of_another_is_read_at_once() {
        let mut file = File::new();
        assert_eq!(file.look(Duration::ZERO), 1);
        file.replace("22");
        assert_eq!(file.look(Duration::ZERO), 22);
    }

    #[test]
    fn one_that_is_written_in_place_is_read_when_it_has_settled() {
        let mut file = File::new();
        fs::write(&file.path, "22").expect("written");
        assert_eq!(file.look(SETTLED - Duration::from_millis(1)), 1);
        assert_eq!(file.look(SETTLED), 22);
        fs::write(&file.path, "333").expect("written");
        file.watched.reload();
        assert_eq!(**file.watched.value.load(), 333, "who says that it is ready is believed");
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let mut file = File::new();
        file.replace("two");
        assert_eq!(file.look(SETTLED), 1);
        fs::remove_file(&file.path).expect("removed");
        assert_eq!(file.look(SETTLED), 1);
        file.replace("4444");
        assert_eq!(file.look(SETTLED), 4444);
    }

    #[test]
    fn it_is_not_looked_at_all_the_time() {
        let mut file = File::new();
        assert_eq!(file.look(SETTLED), 1);
        file.replace("22");
        let again = file.start + INTERVAL * file.looks + INTERVAL / 2;
        file.watched.look(again, SystemTime::now(), false);
        assert_eq!(**file.watched.value.load(), 1);
        assert_eq!(file.look(SETTLED), 22);
    }

    #[test]
    fn a_first_reading_that_fails_names_the_file_and_the_fix() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("none");
        let error = |path: &Path| {
            Watched::new(path, Box::new(number), "write one").map(drop).expect_err("no number").to_string()
        };
        assert_eq!(
            error(&path),
            format!("{}: No such file or directory (os error 2)\n  fix: write one", path.display())
        );
        fs::write(&path, "two").expect("written");
        assert_eq!(error(&path), format!("{}: no number", path.display()));
    }
}
