//! Any text as a schema: code, or an error that people can read; never a panic. The same bytes as the descriptor set
//! of a stranger.
//!
//! Input: the text of a `.proto` file. Where its first byte is 0: edits of the shipped example, each of kind,
//! place (two bytes) and what the kind needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tagwire_codegen::diff::{Verdict, compare};
use tagwire_codegen::load::DescriptorsError;
use tagwire_codegen::model::{Model, Origin};
use tagwire_codegen::package::Package;
use tagwire_codegen::{Error, check, fingerprint, load, python, rust, typescript};

use super::input::Input;

const EXAMPLE: &str = include_str!("../../proto/arena/v1/arena.proto");

/// What an edit may put in.
const PIECES: [&str; 52] = [
    "syntax = \"proto2\";",
    "edition = \"2023\";",
    "package a.tagwire.v1;",
    "package self.v1;",
    "import \"google/protobuf/any.proto\";",
    "import \"google/protobuf/descriptor.proto\";",
    "import public \"tagwire/v1/session.proto\";",
    "import \"arena.proto\";",
    "message Chat {}",
    "message Self { Self self = 1; }",
    "message A { message A { A a = 1; } A a = 1; .arena.v1.A b = 2; }",
    "enum E { option allow_alias = true; A = 0; B = 0; C = -2147483648; }",
    "enum Colour { NONE = 0; }",
    "service S { rpc A(Chat) returns (Score); }",
    "service S { rpc Tags(stream Chat) returns (stream Chat) {} }",
    "option (tagwire.v1.service) = { at: CLIENT };",
    "option (tagwire.v1.rules) = { tag: 3 };",
    "option (tagwire.v1.rules).tag = 7;",
    "option (.tagwire.v1.rules) = { tag: 8, from: BOTH, max_rate: \"\\xff\" };",
    "option (tagwire.v1.rules) = { tag: 4294967295, from: 7, to: 9, access: -1, max_bytes: 4294967295 };",
    "option (tagwire.v1.rules) = { [tagwire.v1.rules]: { tag: 1 } };",
    "option deprecated = true;",
    "option java_package = \"\\u00e9\\n\";",
    "extend google.protobuf.MessageOptions { string x = 50700; }",
    "extend google.protobuf.FieldOptions { Chat y = 50001; }",
    "map<string, Chat> m = 9;",
    "map<int32, Colour> m = 536870911;",
    "map<float, Chat> m = 9;",
    "oneof self { Chat c = 20; Score s = 21; }",
    "oneof o { bytes async = 22; google.protobuf.Any any = 23; }",
    "optional Colour none = 24;",
    "repeated sint64 from = 25 [packed = false, json_name = \"\", deprecated = true];",
    "repeated group G = 26 { optional int32 x = 1; }",
    "required int32 x = 27 [default = -0x1];",
    "optional double d = 28 [default = nan];",
    "optional string s = 29 [default = \"\\377\"];",
    "reserved 1 to max, 5;",
    "reserved \"x\", \"x\";",
    "extensions 100 to 199;",
    "int32 X = 30; int32 x_ = 31; int32 __init__ = 32;",
    "tagwire.v1.PlayerLogin login = 33;",
    "google.protobuf.Timestamp t = 34;",
    "message M {",
    "}",
    "{ tag: 2 /* } */",
    "// ```\n//     code\n// \\\"\"\"\n",
    "/*",
    "\u{feff}",
    "string v = 35 [(buf.validate.field).string = { min_len: 2, pattern: \"^\\\\w\" }];",
    "repeated int32 v = 36 [(buf.validate.field).repeated = { unique: true, items: { int32: { in: [1, 2] } } }];",
    "option (buf.validate.message).oneof = { fields: [\"x\", \"y\"] };",
    "float v = 37 [(buf.validate.field).float.lt = nan, (buf.validate.field).cel_expression = \"\\n\"];",
];

/// A folder with one file, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn with(text: &[u8]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tagwire-fuzz-{}-{number}", std::process::id()));
        let folder = Folder(path);
        fs::create_dir_all(&folder.0).expect("a folder for temporary files");
        fs::write(folder.0.join("game.proto"), text).expect("a file");
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn run(data: &[u8]) {
    offered(data);
    asked_for(data);
    let text = match data {
        [0, edits @ ..] => edited(Input(edits)).into_bytes(),
        _ => data.to_vec(),
    };
    let folder = Folder::with(&text);
    let Some(model) = loaded(&folder.0) else { return };
    match check::check(&model) {
        Ok(()) => {
            comes_back(&model);
            travels(&model);
            printed(&model, &folder.0);
        }
        Err(findings) => {
            assert!(!findings.0.is_empty());
            for finding in &findings.0 {
                assert!(!finding.what.is_empty() && !finding.fix.is_empty(), "{finding}");
                assert!(finding.location.line > 0, "{finding}");
            }
        }
    }
}

/// A client's descriptor set, as the server judges it.
fn offered(bytes: &[u8]) {
    static OURS: LazyLock<Model> =
        LazyLock::new(|| loaded(&Folder::with(EXAMPLE.as_bytes()).0).expect("the example is right"));
    match load::load_descriptors(bytes) {
        Ok(theirs) => {
            if let Err(findings) = check::check(&theirs) {
                assert!(!findings.0.is_empty());
            }
            compared(&theirs, &OURS);
            compared(&OURS, &theirs);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!matches!(error, DescriptorsError::BuiltIn(_)), "{text}");
            assert!(text.len() < 4096 && !text.chars().any(char::is_control), "{text}");
        }
    }
}

/// A server's descriptor set, as the command takes it: what keeps the rules is printed.
fn asked_for(bytes: &[u8]) {
    let Ok(model) = load::load_documented(bytes) else { return };
    if check::check(&model).is_ok() {
        Code::of(&model);
    }
}

fn compared(theirs: &Model, ours: &Model) {
    let comparison = compare(theirs, ours);
    let same = fingerprint::listing(theirs) == fingerprint::listing(ours);
    assert_eq!(comparison.verdict == Verdict::Same, same);
    assert_eq!(comparison.differences.is_empty(), same);
    let breaks = comparison.differences.iter().any(|d| d.breaks.is_some());
    assert_eq!(comparison.verdict == Verdict::Breaking, breaks);
    for difference in &comparison.differences {
        assert!(!difference.to_string().chars().any(char::is_control), "{difference}");
    }
}

/// What a right schema carries in its stubs is itself again, unless it is over a limit of what strangers may send.
fn comes_back(model: &Model) {
    match load::load_descriptors(&model.descriptor_set()) {
        Ok(again) => {
            assert_eq!(fingerprint::listing(&again), fingerprint::listing(model));
            assert_eq!(check::check(&again), Ok(()));
        }
        Err(
            DescriptorsError::TooLarge { .. }
            | DescriptorsError::TooManyParts { .. }
            | DescriptorsError::TooDeep
            | DescriptorsError::LongName { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}

/// From what a server gives of it the same code is printed.
fn travels(model: &Model) {
    match load::load_documented(&model.documented_set()) {
        Ok(there) => assert!(Code::of(&there) == Code::of(model), "another code from what travels"),
        Err(
            DescriptorsError::TooManyParts { .. }
            | DescriptorsError::TooDeep
            | DescriptorsError::LongName { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}

fn loaded(folder: &Path) -> Option<Model> {
    load::load(&[folder.to_path_buf()]).map_err(|error| is_clean(&error)).ok()
}

fn printed(model: &Model, folder: &Path) {
    let fingerprint = fingerprint::fingerprint(model);
    let listing = fingerprint::listing(model);
    let code = Code::of(model);
    let again = loaded(folder).expect("it was read before");
    assert_eq!(fingerprint::listing(&again), listing);
    assert_eq!(fingerprint::fingerprint(&again), fingerprint);
    assert!(Code::of(&again) == code, "another code from the same files");
}

/// What all printers make of a schema; nothing where one refuses.
#[derive(PartialEq)]
struct Code {
    rust: Option<String>,
    packages: Vec<Option<Package>>,
}

impl Code {
    fn of(model: &Model) -> Self {
        let mut packages = vec![];
        for name in [None, Some("game")] {
            let python = python::print(model, Origin::Game, name);
            packages.push(Self::package(python, "# ", "__init__.py"));
            let typescript = typescript::print(model, Origin::Game, name);
            packages.push(Self::package(typescript, "// ", "index.ts"));
        }
        Self { rust: rust::print(model, Origin::Game).map_err(|error| is_clean(&error)).ok(), packages }
    }

    fn package(package: Result<Package, Error>, comment: &str, root: &str) -> Option<Package> {
        let package = package.map_err(|error| is_clean(&error)).ok()?;
        assert!(package.files.contains_key(root));
        for (path, text) in &package.files {
            assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
            let first = text.lines().next().unwrap_or_default();
            let ours = first.starts_with(&format!("{comment}Generated by tagwire "))
                && first.ends_with("; do not edit.");
            assert!(text.is_empty() || ours, "{path}");
        }
        Some(package)
    }
}

/// An error is for the author of the schema: nothing internal, and something to read.
fn is_clean(error: &Error) {
    let text = error.to_string();
    assert!(!text.trim().is_empty());
    assert!(!matches!(error, Error::Descriptor(_) | Error::Rust(_)), "{text}");
}

/// The example after these edits.
fn edited(mut input: Input<'_>) -> String {
    let mut text = EXAMPLE.to_string();
    for _ in 0..64 {
        if input.is_empty() || text.len() > 32 * 1024 {
            break;
        }
        let kind = input.byte();
        let place = boundary(&text, input.number(2) as usize % (text.len() + 1));
        match kind % 6 {
            0 => text.insert_str(place, input.pick(&PIECES)),
            1 => {
                let end = boundary(&text, (place + usize::from(input.byte())).min(text.len()));
                text.replace_range(place..end, "");
            }
            2 => text.insert_str(place, &String::from_utf8_lossy(input.bytes())),
            3 => {
                let end = boundary(&text, (place + input.number(2) as usize).min(text.len()));
                let part = text[place..end].to_string();
                text.push_str(&part);
            }
            // Whole lines, which keeps more of it valid.
            4 => {
                let line = text[place..].find('\n').map_or(text.len(), |at| place + at + 1);
                text.insert_str(line, input.pick(&PIECES));
            }
            _ => {
                let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                let start = text[..place].rfind(word).map_or(0, |at| at + 1);
                let start = boundary(&text, start);
                let end = text[place..].find(word).map_or(text.len(), |at| place + at);
                let new = String::from_utf8_lossy(input.bytes()).into_owned();
                text.replace_range(start..end, &new);
            }
        }
    }
    text
}

/// The place itself or the nearest before it that cuts no character.
fn boundary(text: &str, mut place: usize) -> usize {
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}
