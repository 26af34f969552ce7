//! Plugins for protoc, run without protoc: the request is made of our own descriptors.
//!
//! A plugin reads a `CodeGeneratorRequest` on its standard input and writes a `CodeGeneratorResponse`
//! (google/protobuf/compiler/plugin.proto). The files go in as they were encoded, with comments and with the options
//! of tagwire, which the types of a library would drop.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{env, thread};

use prost::Message as _;
use prost::bytes::Bytes;
use tagwire_codegen::model::{File, Model, Origin};

use crate::failure::{Failure, Problem};

/// `CodeGeneratorRequest`, with the files left encoded.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, repeated, tag = "1")]
    file_to_generate: Vec<String>,
    #[prost(string, optional, tag = "2")]
    parameter: Option<String>,
    #[prost(bytes = "bytes", repeated, tag = "15")]
    proto_file: Vec<Bytes>,
}

/// `CodeGeneratorResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(string, optional, tag = "1")]
    error: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    supported_features: Option<u64>,
    #[prost(message, repeated, tag = "15")]
    file: Vec<ResponseFile>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseFile {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    insertion_point: Option<String>,
    #[prost(string, optional, tag = "15")]
    content: Option<String>,
}

/// The part of a file's descriptor that is told apart from the rest.
#[derive(Clone, PartialEq, prost::Message)]
struct Commented {
    #[prost(message, optional, tag = "9")]
    source_code_info: Option<prost_types::SourceCodeInfo>,
}

/// Bit of `supported_features`: `optional` in proto3.
const PROTO3_OPTIONAL: u64 = 1;

/// How the names of programs end; npm's are scripts on Windows.
const ENDINGS: &[&str] = if cfg!(windows) { &[".exe", ".cmd", ".bat"] } else { &[""] };

/// What installs the plugins that people know.
const INSTALLED_BY: [(&str, &str); 14] = [
    ("protoc-gen-es", "npm install --save-dev @bufbuild/protoc-gen-es"),
    ("protoc-gen-ts", "npm install --save-dev @protobuf-ts/plugin"),
    ("protoc-gen-ts_proto", "npm install --save-dev ts-proto"),
    ("protoc-gen-mypy", "pip install mypy-protobuf"),
    ("protoc-gen-mypy_grpc", "pip install mypy-protobuf"),
    ("protoc-gen-py", "pip install protoc-gen-py"),
    ("protoc-gen-python_betterproto2", "pip install betterproto2_compiler"),
    ("protoc-gen-nanopb", "pip install nanopb"),
    ("protoc-gen-go", "go install google.golang.org/protobuf/cmd/protoc-gen-go@latest"),
    ("protoc-gen-go-grpc", "go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@latest"),
    ("protoc-gen-connect-go", "go install connectrpc.com/connect/cmd/protoc-gen-connect-go@latest"),
    ("protoc-gen-doc", "go install github.com/pseudomuto/protoc-gen-doc/cmd/protoc-gen-doc@latest"),
    ("protoc-gen-dart", "dart pub global activate protoc_plugin"),
    ("protoc-gen-prost", "cargo install protoc-gen-prost"),
];

/// The files that the plugin `name` makes of the schema. `beside`: the folder of the settings, whose `node_modules` and
/// `.venv` are looked into before `PATH`.
///
/// # Errors
/// The plugin is not there, fails, or answers what cannot be written.
pub(crate) fn run(
    model: &Model,
    name: &str,
    options: &str,
    beside: &Path,
) -> Result<BTreeMap<String, String>, Failure> {
    let program = find(name, beside)?;
    let files = in_order(model);
    let wanted = files_to_generate(&files);
    let request = Request {
        file_to_generate: wanted.iter().map(|f| f.name.clone()).collect(),
        parameter: (!options.is_empty()).then(|| options.to_string()),
        proto_file: files.iter().map(|f| commented(f).into()).collect(),
    };
    let answer = exchange(name, &program, request.encode_to_vec(), &LIMITS)?;
    let response = Response::decode(answer.as_slice()).map_err(|error| {
        Problem::new(format!("{name} answered what is no CodeGeneratorResponse: {error}"))
    })?;
    if let Some(error) = response.error.filter(|error| !error.is_empty()) {
        return Err(Problem::new(format!("{name}: {}", error.trim_end())).into());
    }
    let optional = wanted.iter().find_map(|f| f.documented.message_type.iter().find_map(optional_field));
    if let Some(field) = optional
        && response.supported_features.unwrap_or(0) & PROTO3_OPTIONAL == 0
    {
        let what = format!("{name} does not know `optional`, which {field} has");
        return Err(Problem::new(what).fix("use a newer version of it").into());
    }
    gather(name, response.file)
}

/// The files by name, each behind what it imports: the same order whether they were read or told by a server.
fn in_order(model: &Model) -> Vec<&File> {
    let by_name: BTreeMap<&str, &File> = model.files.iter().map(|f| (f.name.as_str(), f)).collect();
    let mut ordered = vec![];
    let mut seen = HashSet::new();
    // A path of imports, not recursion: it may be long.
    for name in by_name.keys() {
        let mut path = vec![(*name, false)];
        while let Some((name, imported)) = path.pop() {
            let Some(file) = by_name.get(name).copied() else { continue };
            if imported {
                ordered.push(file);
            } else if seen.insert(name) {
                path.push((name, true));
                path.extend(file.imports.iter().rev().map(|import| (import.as_str(), false)));
            }
        }
    }
    ordered
}

/// The game's files, and those of the stack and of `buf.validate` that they import: what is made of a file refers to
/// what is made of its imports. Google's come with the libraries.
fn files_to_generate<'a>(files: &[&'a File]) -> Vec<&'a File> {
    let mut wanted: HashSet<&str> = HashSet::new();
    for file in files.iter().rev() {
        if file.origin == Origin::Game || wanted.contains(file.name.as_str()) {
            wanted.insert(&file.name);
            wanted.extend(file.imports.iter().map(String::as_str));
        }
    }
    let files = files.iter().copied();
    files.filter(|f| f.origin != Origin::Google && wanted.contains(f.name.as_str())).collect()
}

/// The descriptor with its comments, which are all that a server tells of places too. Never without the field: some
/// plugins count on it.
fn commented(file: &File) -> Vec<u8> {
    let mut source = file.documented.source_code_info.clone().unwrap_or_default();
    source.location.retain(|l| {
        l.leading_comments.is_some()
            || l.trailing_comments.is_some()
            || !l.leading_detached_comments.is_empty()
    });
    let mut bytes = file.descriptor.clone();
    bytes.extend(Commented { source_code_info: Some(source) }.encode_to_vec());
    bytes
}

/// Name of a field of a message, or of one in it, that is `optional` in proto3.
fn optional_field(message: &prost_types::DescriptorProto) -> Option<String> {
    let own = message.field.iter().find(|f| f.proto3_optional());
    own.map(|f| format!("{}.{}", message.name(), f.name()))
        .or_else(|| message.nested_type.iter().find_map(optional_field))
}

fn find(name: &str, beside: &Path) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        // From a folder of its own a relative path would be another.
        let path = PathBuf::from(name);
        return match path.is_file() {
            true => Ok(std::path::absolute(&path).unwrap_or(path)),
            false => Err(Problem::new(format!("there is no plugin {name}")).fix("correct the path").into()),
        };
    }
    let local = ["node_modules/.bin", ".venv/bin", ".venv/Scripts"].map(|folder| beside.join(folder));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = local.into_iter().chain(env::split_paths(&path)).collect();
    let there = |name: &str| {
        folders
            .iter()
            .flat_map(|folder| ENDINGS.iter().map(move |ending| folder.join(format!("{name}{ending}"))))
            .find(|path| path.is_file())
    };
    if let Some(found) = there(name) {
        return Ok(std::path::absolute(&found).unwrap_or(found));
    }
    let full = format!("protoc-gen-{name}");
    let command = INSTALLED_BY.iter().find(|(known, _)| *known == name || *known == full);
    let fix = match (there(&full), command) {
        (Some(_), _) => format!("did you mean `{full}`?"),
        (None, Some((_, command))) => format!("install it: `{command}`"),
        (None, None) => "install it, or name the program by its path".to_string(),
    };
    Err(Problem::new(format!(
        "the plugin {name} is missing: it is not in node_modules/.bin or .venv/bin of {}, nor in PATH",
        if beside.as_os_str().is_empty() { ".".into() } else { beside.display().to_string() }
    ))
    .fix(fix)
    .into())
}

/// What a plugin may take. It is a program of others, and nobody may look while it runs.
struct Limits {
    bytes: usize,
    time: Duration,
}

const LIMITS: Limits = Limits { bytes: 256 << 20, time: Duration::from_secs(5 * 60) };
/// So much of what it complains is shown.
const MAX_COMPLAINT_BYTES: u64 = 64 << 10;
/// How often an ended answer is looked at for the end of its program.
const POLL: Duration = Duration::from_millis(1);

/// What the program answers.
fn exchange(name: &str, program: &Path, request: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, Failure> {
    let failed = |what: String| Failure::from(Problem::new(format!("{name} {what}")).at(program, None));
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let end = Instant::now() + limits.time;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Each pipe in a thread of its own: a plugin may answer before it has read all, and complain meanwhile. They are not
    // waited for longer than the plugin is: a program that it has left behind may hold a pipe open.
    let written = in_thread(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(&request)));
    let most = u64::try_from(limits.bytes).unwrap_or(u64::MAX).saturating_add(1);
    let answered = in_thread(move || {
        let mut answer = vec![];
        stdout.map_or(Ok(0), |stdout| stdout.take(most).read_to_end(&mut answer)).map(|_| answer)
    });
    let complained = in_thread(move || {
        let mut text = vec![];
        if let Some(mut stderr) = stderr {
            // What could be read before a failure is the best there is; the rest must not hold it up.
            let _ = (&mut stderr).take(MAX_COMPLAINT_BYTES).read_to_end(&mut text);
            let _ = io::copy(&mut stderr, &mut io::sink());
        }
        String::from_utf8_lossy(&text).trim_end().to_string()
    });
    let left = || end.saturating_duration_since(Instant::now());
    let mut result = answered.recv_timeout(left()).ok();
    if matches!(&result, Some(Ok(answer)) if answer.len() > limits.bytes) {
        stop(&mut child);
        return Err(failed(format!("answers more than {} MiB, which is no client", limits.bytes >> 20)));
    }
    let mut status = None;
    while result.is_some() && status.is_none() && !left().is_zero() {
        status = child.try_wait().map_err(|error| failed(format!("cannot be waited for: {error}")))?;
        if status.is_none() {
            thread::sleep(POLL);
        }
    }
    let (Some(result), Some(status)) = (result.take(), status) else {
        stop(&mut child);
        let problem =
            Problem::new(format!("{name} does not end within {} s, and was stopped", limits.time.as_secs()));
        return Err(problem.at(program, None).fix("see what it waits for: run it by hand").into());
    };
    let complaints = complained.recv_timeout(left()).unwrap_or_default();
    if !status.success() {
        let said = if complaints.is_empty() { "it said nothing".to_string() } else { complaints };
        return Err(failed(format!("failed ({status}): {said}")));
    }
    // One that needs nothing of the request need not read it.
    let written = match written.recv_timeout(left()) {
        Ok(Err(error)) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    };
    let answer = written.and(result).map_err(|error| failed(format!("cannot be talked to: {error}")))?;
    if !complaints.is_empty() {
        // Its own warnings, for who looks.
        let _ = writeln!(anstream::stderr(), "{name}: {complaints}");
    }
    Ok(answer)
}

/// What comes of it, when it comes.
fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (tx, rx) = mpsc::channel();
    // Nobody may wait for it any more.
    thread::spawn(move || drop(tx.send(work())));
    rx
}

/// Ends a program of which nothing is expected any more.
fn stop(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn gather(plugin: &str, files: Vec<ResponseFile>) -> Result<BTreeMap<String, String>, Failure> {
    let mut gathered: BTreeMap<String, String> = BTreeMap::new();
    let mut last: Option<String> = None;
    for file in files {
        let content = file.content.unwrap_or_default();
        if let Some(point) = file.insertion_point.filter(|point| !point.is_empty()) {
            let of = file.name.or(last).unwrap_or_default();
            let what = format!("{plugin} wants to insert at \"{point}\" into {of}, a file of another plugin");
            return Err(Problem::new(what)
                .fix("use a plugin that writes files of its own; tagwire joins none")
                .into());
        }
        match (file.name.filter(|name| !name.is_empty()), &last) {
            (Some(name), _) => {
                if gathered.insert(name.clone(), content).is_some() {
                    return Err(Problem::new(format!("{plugin} answered the file {name} twice")).into());
                }
                last = Some(name);
            }
            // Without a name it is the rest of the one before.
            (None, Some(before)) => gathered.entry(before.clone()).or_default().push_str(&content),
            (None, None) => {
                return Err(Problem::new(format!("{plugin} answered a file without a name")).into());
            }
        }
    }
    Ok(gathered)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn file(name: &str, content: &str) -> ResponseFile {
        ResponseFile {
            name: (!name.is_empty()).then(|| name.to_string()),
            insertion_point: None,
            content: Some(content.to_string()),
        }
    }

    #[test]
    fn a_file_may_come_in_pieces() {
        let files = gather("p", vec![file("a", "1"), file("", "2"), file("b", "3")]).unwrap();
        assert_eq!(files, BTreeMap::from([("a".into(), "12".into()), ("b".into(), "3".into())]));
        assert!(gather("p", vec![file("", "2")]).is_err());
        assert!(gather("p", vec![file("a", "1"), file("a", "1")]).is_err());
    }

    #[test]
    fn nothing_is_inserted_into_what_others_made() {
        let point = ResponseFile { insertion_point: Some("imports".to_string()), ..file("a", "1") };
        let failure = gather("p", vec![point]).unwrap_err();
        assert!(failure.0[0].what.contains("insert at \"imports\" into a"), "{failure:?}");
    }

    #[cfg(unix)]
    #[test]
    fn one_that_does_not_end_is_ended() {
        let shell = Path::new("/bin/sh");
        let run = |script: &str, time: Duration| {
            exchange("p", shell, script.into(), &Limits { bytes: 1 << 20, time })
        };
        // What it leaves behind, and what closes its answer and goes on.
        for script in ["exec sleep 600\n", "sleep 9 &\nsleep 9\n", "exec >&-\nexec sleep 600\n"] {
            let began = Instant::now();
            let problem = run(script, Duration::from_millis(300)).unwrap_err().0.remove(0);
            assert!(problem.what.starts_with("p does not end within 0 s"), "{script}: {problem}");
            assert!(began.elapsed() < Duration::from_secs(8), "{script}");
        }
        let problem = run("exec cat /dev/zero\n", LIMITS.time).unwrap_err().0.remove(0);
        assert_eq!(problem.what, "p answers more than 1 MiB, which is no client");
        let whole = run("head -c 1048576 /dev/zero\n", LIMITS.time).unwrap();
        assert_eq!(whole.len(), 1 << 20);
        // It may complain without bound.
        assert_eq!(run("head -c 10000000 /dev/zero >&2; echo a\n", LIMITS.time).unwrap(), b"a\n");
    }
}
