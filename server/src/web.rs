//! A folder of files for browsers, on the port of the game: a page and what it loads. The folder and the names in it are the
//! operator's, everything that is asked for is a stranger's.

use std::collections::HashMap;
use std::fs::{self, File};
use std::future::poll_fn;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::config::{Config, JwtAlgorithm, Limits};
use crate::core::Core;
use crate::door::limited_address;
use crate::http::{Asked, Head, Status};
use crate::link::Link;
use crate::tls::SELF_SIGNED;

/// A file goes in pieces of so many bytes: as much memory as one that is asked for takes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Who takes less than so many bytes a second is left, and who takes nothing for as long as a session may.
const LEAST_BYTES_PER_SECOND: u64 = 16 * 1024;
/// Longest path that is looked for, bytes, and how many folders it may go down.
const MAX_PATH_BYTES: usize = 1024;
const MAX_DEPTH: usize = 32;
/// Who finds too many at once may ask again in so many seconds.
const BUSY_RETRY_S: u32 = 1;

/// What files are, by the ends of their names.
const TYPES: [(&str, &str); 34] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("xml", "application/xml"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("ico", "image/x-icon"),
    ("wasm", "application/wasm"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("wav", "audio/wav"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
];

/// One address has at most one in so many of the turns that there are.
const TURNS_PER_ADDRESS: usize = 4;

/// Counts those who are answered now.
#[derive(Debug, Default)]
pub(crate) struct Web(Arc<Mutex<Answered>>);

#[derive(Debug, Default)]
struct Answered {
    all: usize,
    /// Of addresses that are not trusted.
    by_address: HashMap<IpAddr, usize>,
}

/// Somebody who is answered, until it is dropped.
#[derive(Debug)]
struct Turn {
    answered: Arc<Mutex<Answered>>,
    address: Option<IpAddr>,
}

impl Web {
    /// `None`: too many are answered, of all or of that address.
    fn turn(&self, peer: Option<IpAddr>, limits: &Limits) -> Option<Turn> {
        let max = limits.max_web_requests;
        let address = limited_address(peer, limits);
        let mut answered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = address.and_then(|address| answered.by_address.get(&address)).map_or(0, |n| *n);
        if answered.all >= max || of_address >= (max / TURNS_PER_ADDRESS).max(1) {
            return None;
        }
        answered.all += 1;
        if let Some(address) = address {
            answered.by_address.insert(address, of_address + 1);
        }
        Some(Turn { answered: Arc::clone(&self.0), address })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.all -= 1;
        if let Some(address) = self.address
            && let Some(count) = answered.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                answered.by_address.remove(&address);
            }
        }
    }
}

/// What is answered: a head, and a file where there is one.
#[derive(Debug)]
struct Found {
    head: Head,
    file: Option<(File, u64)>,
}

impl From<Head> for Found {
    fn from(head: Head) -> Self {
        Found { head, file: None }
    }
}

/// How an answer ended early.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it takes too little")]
    Slow,
    #[error("the file became shorter")]
    Shorter,
    #[error("the server stops")]
    Stopping,
}

/// Answers a request with a file of the folder, or says that there is none. True: all of it was written.
pub(crate) async fn answer(core: &Core, link: &Link, asked: Asked) -> bool {
    let (turn, stall) = {
        let limits = core.limits.load();
        let turn = core.web.turn(link.peer.ip(), &limits);
        (turn, Duration::from_millis(limits.outbox_max_stuck_ms.into()))
    };
    let found = match turn {
        Some(_) => look(&core.config.web, asked.clone()).await,
        None => {
            core.metrics.limited("max_web_requests");
            Head::page(Status::SERVICE_UNAVAILABLE, "Too much is asked for at once.")
                .with("Retry-After", &BUSY_RETRY_S.to_string())
                .into()
        }
    };
    let status = found.head.status();
    core.metrics.web_request(status.as_u16());
    debug!(peer = %link.peer, "{} {:?}: {status}", asked.method(), asked.path);
    let sent = tokio::select! {
        sent = send(link, found, asked.is_head, stall) => sent,
        () = core.stopping.cancelled() => Err(Cut::Stopping),
    };
    if let Err(cut) = &sent {
        debug!(peer = %link.peer, "{:?} ended early: {cut}", asked.path);
    }
    sent.is_ok()
}

/// Finds the file, away from the threads of the network.
async fn look(folder: &str, asked: Asked) -> Found {
    let folder = PathBuf::from(folder);
    spawn_blocking(move || find(&folder, &asked)).await.unwrap_or_else(|_| {
        // It has panicked, and that is logged and counted.
        Head::page(Status::INTERNAL_SERVER_ERROR, "The server failed.").into()
    })
}

async fn send(link: &Link, found: Found, is_head: bool, stall: Duration) -> Result<(), Cut> {
    let Found { head, file } = found;
    let mut patience = Patience::new(stall);
    write(link, &head.encode(is_head), &mut patience).await?;
    if let (Some((mut file, mut left)), false) = (file, is_head) {
        let mut chunk = vec![];
        while left > 0 {
            let want = left.min(CHUNK_BYTES as u64) as usize;
            let read = spawn_blocking(move || {
                chunk.resize(want, 0);
                file.read(&mut chunk).map(|count| (file, chunk, count))
            });
            let count;
            (file, chunk, count) = read.await.map_err(io::Error::other)??;
            if count == 0 {
                return Err(Cut::Shorter);
            }
            write(link, &chunk[..count], &mut patience).await?;
            left -= count as u64;
        }
    }
    let closed = timeout_at(patience.until(), link.say_goodbye()).await;
    Ok(closed.map_err(|_| Cut::Slow)??)
}

/// How long somebody is waited for who takes an answer slowly.
#[derive(Debug)]
struct Patience {
    stall: Duration,
    start: Instant,
    /// When something was taken last, and how much in all, bytes.
    taken_at: Instant,
    taken: u64,
}

impl Patience {
    /// From now on. `stall`: as long as nothing is taken, and in all as long as too little is.
    fn new(stall: Duration) -> Self {
        let now = Instant::now();
        Patience { stall, start: now, taken_at: now, taken: 0 }
    }

    fn took(&mut self, bytes: usize) {
        self.taken_at = Instant::now();
        self.taken += bytes as u64;
    }

    /// Until when more must be taken. What was taken earns time, what is still to come does not: who asks for a large file
    /// could stay for as long as it likes.
    fn until(&self) -> Instant {
        let earned = Duration::from_millis(self.taken.saturating_mul(1000) / LEAST_BYTES_PER_SECOND);
        self.taken_at.min(self.start + earned) + self.stall
    }
}

/// Writes all of it, to who takes some of it now and then.
async fn write(link: &Link, mut bytes: &[u8], patience: &mut Patience) -> Result<(), Cut> {
    while !bytes.is_empty() {
        if Instant::now() >= patience.until() {
            return Err(Cut::Slow);
        }
        match link.try_write(bytes) {
            Ok(count) => {
                bytes = &bytes[count..];
                patience.took(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let writable = poll_fn(|cx| link.poll_writable(cx));
                timeout_at(patience.until(), writable).await.map_err(|_| Cut::Slow)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What there is at the path. Blocks.
fn find(folder: &Path, asked: &Asked) -> Found {
    let nothing = || Found::from(Head::page(Status::NOT_FOUND, "There is nothing here."));
    let Some(inner) = inner_path(&asked.path) else { return nothing() };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => nothing(),
        _ => {
            debug!(path = ?asked.path, "cannot be read: {error}");
            Head::page(Status::FORBIDDEN, "The server cannot read that.").into()
        }
    };
    match open(folder, &inner, asked.path.ends_with('/')) {
        Ok(Opened::File { file, length, tag, kind }) => {
            let head = |status| Head::new(status).with("ETag", &tag).with("Cache-Control", "no-cache");
            if asked.knows(&tag) {
                return head(Status::NOT_MODIFIED).into();
            }
            let head =
                head(Status::OK).with("Content-Type", kind).with("Content-Length", &length.to_string());
            Found { head, file: Some((file, length)) }
        }
        // What the page there refers to is meant from inside of it. Not for ever: a file may take its place.
        Ok(Opened::Folder) => {
            let there = asked.with_query(&format!("{}/", asked.path));
            Head::page(Status::TEMPORARY_REDIRECT, &format!("It is at {there}"))
                .with("Location", &there)
                .into()
        }
        Ok(Opened::Nothing) => nothing(),
        Err(error) => failed(error),
    }
}

enum Opened {
    File {
        file: File,
        length: u64,
        tag: String,
        kind: &'static str,
    },
    /// It has an `index.html`, and was asked for as if it were a file.
    Folder,
    Nothing,
}

/// Opens a file in the folder, or the `index.html` of a folder in it. Links may lead anywhere inside, and nowhere else.
fn open(folder: &Path, inner: &Path, is_folder: bool) -> io::Result<Opened> {
    // Looked up each time: the folder may be a link that a new version of the page is put behind.
    let folder = folder.canonicalize()?;
    let mut path = folder.join(inner);
    if is_folder {
        path.push("index.html");
    }
    let path = path.canonicalize()?;
    if !path.starts_with(&folder) {
        return Ok(Opened::Nothing);
    }
    // Before it is opened, for to open a pipe is to wait for its other end.
    let found = fs::metadata(&path)?;
    if found.is_dir() && !is_folder {
        return Ok(match open(&folder, inner, true)? {
            Opened::File { .. } => Opened::Folder,
            Opened::Folder | Opened::Nothing => Opened::Nothing,
        });
    }
    if !found.is_file() {
        return Ok(Opened::Nothing);
    }
    let file = File::open(&path)?;
    let found = file.metadata()?;
    let modified = found.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let (length, kind) = (found.len(), kind_of(&path));
    Ok(Opened::File { file, length, tag: format!("\"{modified:x}-{length:x}\""), kind })
}

/// The path in the folder that a request means. `None`: none that anybody is shown.
fn inner_path(path: &str) -> Option<PathBuf> {
    let names = path.strip_prefix('/')?;
    let names = names.strip_suffix('/').unwrap_or(names);
    if path.len() > MAX_PATH_BYTES {
        return None;
    }
    let mut inner = PathBuf::new();
    if path == "/" {
        return Some(inner);
    }
    for (depth, name) in names.split('/').enumerate() {
        let name = decoded(name)?;
        let is_odd = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
        // What begins with a dot is the folder above, or hidden.
        if depth >= MAX_DEPTH || name.is_empty() || name.starts_with('.') || name.contains(is_odd) {
            return None;
        }
        inner.push(name);
    }
    Some(inner)
}

/// A name with its `%20` and the like resolved, once (RFC 3986, section 2.1).
fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(16 * digit(rest.next())? + digit(rest.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn kind_of(path: &Path) -> &'static str {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    TYPES.iter().find(|(known, _)| *known == end).map_or("application/octet-stream", |(_, kind)| kind)
}

/// Why a folder cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error("web = {0:?}: {1}\n  fix: name a folder that is there: --web DIR")]
    Folder(String, io::Error),
    #[error(
        "web = {0:?}: {file} is in that folder, which is shown to anyone\n  fix: a folder of its own for the page: --web dist",
        file = .1.display()
    )]
    Secret(String, PathBuf),
}

/// Whether the folder can be shown, at the start.
pub(crate) fn check(config: &Config) -> Result<(), WebError> {
    let web = &config.web;
    if web.is_empty() {
        return Ok(());
    }
    let folder = |error| WebError::Folder(web.clone(), error);
    if !fs::metadata(web).map_err(folder)?.is_dir() {
        return Err(folder(io::ErrorKind::NotADirectory.into()));
    }
    let Config { tls, file_auth, jwt_auth, .. } = config;
    let key = match (tls.key.as_str(), tls.certificate.as_str()) {
        ("", SELF_SIGNED) => "",
        ("", certificate) => certificate,
        (key, _) => key,
    };
    // Keys that only judge may be read by anyone.
    let is_secret = jwt_auth.algorithms.contains(&JwtAlgorithm::Hs256);
    let secrets = [key, &file_auth.users].into_iter().chain(is_secret.then_some(jwt_auth.key.as_str()));
    secrets.filter(|path| !path.is_empty()).try_for_each(|path| hides(web, Path::new(path)))
}

/// Refuses a folder in which the file is, whatever links lead to either. One that is not there yet counts by its name.
pub(crate) fn hides(web: &str, file: &Path) -> Result<(), WebError> {
    if web.is_empty() {
        return Ok(());
    }
    let folder = fs::canonicalize(web).map_err(|error| WebError::Folder(web.to_string(), error))?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What a link leads to is what would be shown.
    let place = file.canonicalize().or_else(|_| parent.canonicalize());
    match place.is_ok_and(|place| place.starts_with(&folder)) {
        true => Err(WebError::Secret(web.to_string(), file.to_path_buf())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{MemoryStream, Peer, Stream, Wire};
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::AsyncReadExt;
    use tokio::time::sleep;

    #[test]
    fn paths_lead_into_the_folder_and_nowhere_else() {
        let inner = |path: &str| inner_path(path).map(|path| path.to_str().unwrap_or_default().to_string());
        for (path, expected) in [
            ("/", ""),
            ("/index.html", "index.html"),
            ("/a/b/", "a/b"),
            ("/a%20b/%C3%BC.js", "a b/ü.js"),
            ("/%2525", "%25"),
            ("/a..b/c.", "a..b/c."),
            ("/~", "~"),
        ] {
            assert_eq!(inner(path).as_deref(), Some(expected), "{path}");
        }
        for path in [
            "",
            "a",
            "*",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/../a",
            "/a/../b",
            "/a/..",
            "/%2e%2e/a",
            "/%2E./a",
            "/.git",
            "/a/.env",
            "/%2egit",
            "/a%2fb",
            "/..%2fa",
            "/a\\b",
            "/..\\a",
            "/%5c..%5ca",
            "/c:/x",
            "/c%3a",
            "/a%00",
            "/a%0a",
            "/%7f",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/%ff",
            "/%c0%ae",
            "/%e2%80",
            "/./a",
            "/...",
        ] {
            assert_eq!(inner(path), None, "{path}");
        }
        assert!(inner(&"/a".repeat(MAX_DEPTH)).is_some());
        assert_eq!(inner(&"/a".repeat(MAX_DEPTH + 1)), None);
        assert_eq!(inner(&format!("/{}", "a".repeat(MAX_PATH_BYTES))), None);
    }

    #[test]
    fn types_are_those_that_browsers_insist_on() {
        for (name, kind) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.MJS", "text/javascript; charset=utf-8"),
            ("x.min.js", "text/javascript; charset=utf-8"),
            ("game.wasm", "application/wasm"),
            ("a.js.map", "application/json"),
            ("Makefile", "application/octet-stream"),
            ("a.exe", "application/octet-stream"),
        ] {
            assert_eq!(kind_of(Path::new(name)), kind, "{name}");
        }
        let ends: std::collections::HashSet<_> = TYPES.iter().map(|(end, _)| end).collect();
        assert_eq!(ends.len(), TYPES.len());
    }

    /// Sends a file of so many bytes to somebody who takes `take` bytes every `pace`, while what lies between is `full` or
    /// not. How it ended, and after how many seconds.
    async fn sent(bytes: u64, is_head: bool, full: bool, take: usize, pace: Duration) -> (bool, u64) {
        let (mut reader, there) = MemoryStream::pair();
        let wire = Wire::new(Stream::Memory(there), Counter::default());
        let link = Link::new(Peer::Memory, wire);
        while full && link.try_write(&[0; 1024]).is_ok() {}
        let reading = tokio::spawn(async move {
            let mut piece = vec![0; take];
            sleep(pace).await;
            while reader.read(&mut piece).await.is_ok_and(|count| count > 0) {
                sleep(pace).await;
            }
        });
        let file = tempfile::tempfile().expect("a folder for it");
        file.set_len(bytes).expect("room for it");
        let found = Found { head: Head::new(Status::OK), file: Some((file, bytes)) };
        let begun = Instant::now();
        let sent = send(&link, found, is_head, Duration::from_secs(10)).await;
        reading.abort();
        (sent.is_ok(), begun.elapsed().as_secs())
    }

    /// 64 KiB are between the ends, and earn four seconds.
    #[tokio::test(start_paused = true)]
    async fn who_takes_less_than_the_least_rate_is_left_however_large_the_file_is() {
        let second = Duration::from_secs(1);
        assert_eq!(sent(2 << 20, false, false, 20 * 1024, second).await, (true, 100));
        assert_eq!(sent(2 << 20, false, false, 7 * 1024, second).await, (false, 24));
        assert_eq!(sent(1 << 30, false, false, 7 * 1024, second).await, (false, 24));
        assert_eq!(sent(1 << 30, false, false, 1, second).await, (false, 14));
        // Who takes nothing is not waited for as long as what it took has earned.
        assert_eq!(sent(1 << 20, false, false, 1, 1000 * second).await, (false, 10));
        // The size of a file that is not sent earns nothing either.
        assert_eq!(sent(1 << 30, true, true, 1, second).await, (false, 10));
        assert_eq!(sent(1 << 30, true, true, 1024, second).await, (true, 1));
    }

    #[test]
    fn so_many_at_once_and_of_one_address_a_quarter() {
        let (web, limits) = (Web::default(), Limits { max_web_requests: 9, ..Limits::default() });
        let turn = |peer: &str| web.turn(Some(peer.parse().expect("an address")), &limits);
        let mut turns: Vec<_> = (0..2).map(|_| turn("10.0.0.1").expect("a turn")).collect();
        assert!(turn("10.0.0.1").is_none());
        turns.pop();
        turns.push(turn("10.0.0.1").expect("what was given back"));
        turns.extend(["2001:db8::1", "2001:db8::2"].map(|peer| turn(peer).expect("a turn")));
        assert!(turn("2001:db8::3").is_none(), "who has one has a whole network");
        // Who is trusted counts among all alone, as who is in this process.
        turns.extend((0..3).map(|_| turn("127.0.0.1").expect("a turn")));
        turns.extend((0..2).map(|_| web.turn(None, &limits).expect("a turn")));
        assert!(
            turn("127.0.0.1").is_none() && turn("10.0.0.2").is_none() && web.turn(None, &limits).is_none()
        );
        drop(turns);
        let answered = web.0.lock().expect("nobody panicked");
        assert_eq!((answered.all, answered.by_address.len()), (0, 0));
    }

    #[test]
    fn few_turns_leave_one_for_each_address() {
        let (web, limits) = (Web::default(), Limits { max_web_requests: 2, ..Limits::default() });
        let turn = |peer: &str| web.turn(Some(peer.parse().expect("an address")), &limits);
        let _turn = turn("10.0.0.1").expect("a turn");
        assert!(turn("10.0.0.1").is_none() && turn("10.0.0.2").is_some());
    }
}
