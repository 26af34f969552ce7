//! What `tagwire.toml` says to the command: its table `[gen]`. The rest of the file is the server's.
//!
//! The file is looked for in the current folder and its parents, up to the root of the repository, and outside of one in
//! the current folder alone; one without the table is passed over. Paths in it are relative to it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tagwire_codegen::model::Model;
use toml::de::{DeTable, DeValue};

use crate::failure::{Failure, Problem, io_at};
use crate::language::{Language, nearest};
use crate::paths::{real, tidy};

/// The file's name.
const FILE: &str = "tagwire.toml";
/// Keys of the table `[gen]`, and of each `[[gen.output]]`.
const KEYS: [&str; 7] = ["schema", "from", "username", "ca", "pin", "name", "output"];
const OUTPUT_KEYS: [&str; 6] = ["language", "template", "plugin", "out", "name", "options"];

/// The settings of the command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// The file that they are from, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// Its folder, which paths are relative to, as seen from here.
    pub(crate) folder: PathBuf,
    /// Folders of `.proto` files, or single files. Default: `proto`.
    pub(crate) schema: Vec<PathBuf>,
    /// The server to be asked instead of files.
    pub(crate) server: Option<Server>,
    /// Name of the game, and so of what is printed; default: the first part of the proto packages' names.
    pub(crate) name: Option<String>,
    /// What is to be written.
    pub(crate) outputs: Vec<Output>,
    /// The folders that were searched for the file.
    pub(crate) searched: Vec<PathBuf>,
}

/// A server that tells its schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Server {
    /// Its address.
    pub(crate) from: String,
    /// Name of a player there. There is no key for the password: the file is for everyone to read.
    pub(crate) username: Option<String>,
    /// PEM file of the authority to trust.
    pub(crate) ca: Option<PathBuf>,
    /// Digest of the certificate to trust.
    pub(crate) pin: Option<String>,
}

/// One thing to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Output {
    /// What writes it.
    pub(crate) maker: Maker,
    /// Where to; a language's package gets a folder of its own there.
    pub(crate) out: PathBuf,
    /// Its name, instead of that of the game.
    pub(crate) name: Option<String>,
}

/// What writes an output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Maker {
    /// A printer of ours.
    Language(Language),
    /// A folder of templates, with what they get as `options`.
    Template(PathBuf, toml::Table),
    /// A plugin for protoc, by its name or path, with its parameter.
    Plugin(String, String),
}

impl Maker {
    /// A short name: of the language, the folder or the plugin.
    pub(crate) fn label(&self) -> String {
        let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        match self {
            Maker::Language(language) => language.name().to_string(),
            // That of `.` is the folder's own.
            Maker::Template(folder, _) => {
                last(folder).or_else(|| last(&real(folder))).unwrap_or_else(|| "template".to_string())
            }
            Maker::Plugin(name, _) => last(Path::new(name)).unwrap_or_else(|| name.clone()),
        }
    }
}

impl Settings {
    /// Those of the file `named`, or of the nearest one. Without any: the defaults, relative to the current folder.
    ///
    /// # Errors
    /// What is wrong in the file, by line.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let mut settings = Settings {
            file: None,
            folder: PathBuf::new(),
            schema: vec![PathBuf::from("proto")],
            server: None,
            name: None,
            outputs: vec![],
            searched: vec![],
        };
        if let Some(path) = named {
            let text = fs::read_to_string(path).map_err(io_at(path))?;
            if !settings.read(path, &text)? {
                let fix = "write `[gen]` into it, or leave out `--config`";
                return Err(Problem::new("it has no table [gen]").at(path, None).fix(fix).into());
            }
            return Ok(settings);
        }
        let here = std::env::current_dir().map_err(io_at(Path::new(".")))?;
        // Outside a repository the folders above are anybody's, as /tmp is, and settings name programs to be run.
        let is_root = |folder: &Path| folder.join(".git").exists();
        let in_repository = here.ancestors().any(is_root);
        // As seen from here, so that paths in messages stay short.
        let mut folder = PathBuf::new();
        for parent in here.ancestors() {
            settings.searched.push(parent.to_path_buf());
            let path = folder.join(FILE);
            match fs::read_to_string(&path) {
                Ok(text) if settings.read(&path, &text)? => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(io_at(&path)(error)),
            }
            // A file in a work tree that is linked to another repository, else a folder.
            if !in_repository || is_root(parent) {
                break;
            }
            folder.push("..");
        }
        Ok(settings)
    }

    /// The checked schema of the folders or files `flags`; without any, of those that the settings name.
    ///
    /// # Errors
    /// What is wrong with it, or where it was looked for in vain.
    pub(crate) fn read_schema(&self, flags: &[PathBuf]) -> Result<Model, Failure> {
        match self.lost_schema(flags) {
            Some(problem) => Err(problem.into()),
            None => Ok(tagwire_codegen::read(if flags.is_empty() { &self.schema } else { flags })?),
        }
    }

    /// What is wrong where a folder or file of the schema is not there.
    pub(crate) fn lost_schema(&self, flags: &[PathBuf]) -> Option<Problem> {
        let roots = if flags.is_empty() { &self.schema } else { flags };
        let lost = roots.iter().find(|root| !root.exists())?;
        Some(match &self.file {
            _ if !flags.is_empty() => {
                Problem::new("no such file or folder").at(lost, None).fix("correct `--schema`")
            }
            Some(file) if self.server.is_some() => {
                Problem::new("it names a server (`from`), and this command reads files")
                    .at(file, None)
                    .fix("name them, `--schema`")
            }
            Some(file) => Problem::new(format!("no schema in {}: it is not there", lost.display()))
                .at(file, None)
                .fix("correct `schema` in the table [gen], or make the folder"),
            // Nobody has named it: the user is at the very beginning, or in the wrong folder.
            None => self.no_schema(),
        })
    }

    fn no_schema(&self) -> Problem {
        let folders: Vec<String> = self.searched.iter().map(|f| f.display().to_string()).collect();
        Problem::new(format!(
            "no schema found: there is no folder `proto` here, and no {FILE} with a table [gen] in {}",
            folders.join(", ")
        ))
        .fix("name it, `--schema FOLDER`; or begin a project of your own: `tagwire init FOLDER`")
    }

    /// Takes in the table `[gen]` of a file, and tells whether there is one.
    fn read(&mut self, path: &Path, text: &str) -> Result<bool, Failure> {
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            Failure::from(Problem::new(error.message().trim_end().to_string()).at(path, line))
        })?;
        let Some(table) = root.get_ref().get("gen") else { return Ok(false) };
        let mut reader =
            Reader { path, text, folder: path.parent().unwrap_or(Path::new("")), problems: vec![] };
        let line = line_of(text, table.span().start);
        match table.get_ref() {
            DeValue::Table(table) => reader.gen_table(table, self),
            _ => reader.wrong(line, "`gen` must be a table", "write `[gen]` on a line of its own"),
        }
        self.file = Some(path.to_path_buf());
        self.folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        if reader.problems.is_empty() { Ok(true) } else { Err(Failure(reader.problems)) }
    }
}

/// Reads one file, and gathers what is wrong with it.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    folder: &'a Path,
    problems: Vec<Problem>,
}

/// A value of a table and the line of its key.
type Found<'a> = (usize, &'a DeValue<'a>);

impl Reader<'_> {
    fn wrong(&mut self, line: usize, what: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(what).at(self.path, line).fix(fix));
    }

    /// Says which keys of a table are none.
    fn unknown(&mut self, table: &DeTable<'_>, shown: &str, known: &[&'static str]) {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let fix = match nearest(name, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("there are {}", known.join(", ")),
                };
                self.wrong(line_of(self.text, key.span().start), format!("{shown} has no key `{name}`"), fix);
            }
        }
    }

    fn find<'t>(&self, table: &'t DeTable<'t>, key: &str) -> Option<Found<'t>> {
        let (found, value) = table.get_key_value(key)?;
        Some((line_of(self.text, found.span().start), value.get_ref()))
    }

    fn string(&mut self, table: &DeTable<'_>, key: &str) -> Option<(usize, String)> {
        let (line, value) = self.find(table, key)?;
        match value {
            DeValue::String(text) if !text.is_empty() => Some((line, text.to_string())),
            _ => {
                self.wrong(line, format!("`{key}` must be a text"), format!("write `{key} = \"...\"`"));
                None
            }
        }
    }

    /// A path as seen from here.
    fn path(&self, text: &str) -> PathBuf {
        tidy(&self.folder.join(text))
    }

    fn gen_table(&mut self, table: &DeTable<'_>, into: &mut Settings) {
        self.unknown(table, "[gen]", &KEYS);
        if let Some((line, value)) = self.find(table, "schema") {
            let texts: Option<Vec<&str>> = match value {
                DeValue::String(text) => Some(vec![text]),
                DeValue::Array(all) => all.iter().map(|v| v.get_ref().as_str()).collect(),
                _ => None,
            };
            match texts.filter(|texts| !texts.is_empty() && texts.iter().all(|t| !t.is_empty())) {
                Some(texts) => into.schema = texts.iter().map(|t| self.path(t)).collect(),
                None => self.wrong(line, "`schema` must name folders", "write `schema = [\"proto\"]`"),
            }
        } else {
            into.schema = vec![self.path("proto")];
        }
        let [from, username, ca, pin] = ["from", "username", "ca", "pin"].map(|key| self.string(table, key));
        match from {
            Some((line, _)) if table.contains_key("schema") => {
                self.wrong(line, "`from` and `schema` exclude each other", "leave one of them");
            }
            Some((_, from)) => {
                into.server = Some(Server {
                    from,
                    username: username.map(|(_, name)| name),
                    ca: ca.map(|(_, file)| self.path(&file)),
                    pin: pin.map(|(_, pin)| pin),
                });
            }
            None => {
                for (key, found) in [("username", username), ("ca", ca), ("pin", pin)] {
                    if let Some((line, _)) = found {
                        let fix = "write `from = \"tagwire://host:7777\"`";
                        self.wrong(line, format!("`{key}` is for a server, and none is named"), fix);
                    }
                }
            }
        }
        into.name = self.string(table, "name").map(|(_, name)| name);
        match self.find(table, "output") {
            None => {}
            Some((_, DeValue::Array(all))) if all.iter().all(|one| one.get_ref().is_table()) => {
                for one in all.iter() {
                    let line = line_of(self.text, one.span().start);
                    if let Some(output) = one.get_ref().as_table().and_then(|table| self.output(line, table))
                    {
                        into.outputs.push(output);
                    }
                }
            }
            Some((line, _)) => {
                self.wrong(line, "`output` must be a list of tables", "write `[[gen.output]]` before each");
            }
        }
    }

    fn output(&mut self, line: usize, table: &DeTable<'_>) -> Option<Output> {
        let before = self.problems.len();
        self.unknown(table, "[[gen.output]]", &OUTPUT_KEYS);
        let language = self.string(table, "language");
        let template = self.string(table, "template");
        let plugin = self.string(table, "plugin");
        let out = self.string(table, "out").map(|(_, out)| self.path(&out));
        let name = self.string(table, "name");
        let options = self.find(table, "options");
        if self.problems.len() > before {
            return None;
        }
        let maker = match (language, template, plugin) {
            (Some((line, name)), None, None) => Maker::Language(self.language(line, &name)?),
            (None, Some((_, folder)), None) => {
                let options = match options {
                    None => toml::Table::new(),
                    Some((_, DeValue::Table(table))) => owned(table),
                    Some((line, _)) => {
                        self.wrong(
                            line,
                            "a template's options are a table",
                            "write `options = { key = \"value\" }`",
                        );
                        return None;
                    }
                };
                Maker::Template(self.path(&folder), options)
            }
            (None, None, Some((_, name))) => {
                let options = match options {
                    None => String::new(),
                    Some((_, DeValue::String(text))) => text.to_string(),
                    Some((line, _)) => {
                        self.wrong(
                            line,
                            "a plugin's options are a text",
                            "write `options = \"key=value,key=value\"`",
                        );
                        return None;
                    }
                };
                // A name is looked up in PATH; what has a slash is a path.
                let name = if name.contains('/') { self.path(&name).display().to_string() } else { name };
                Maker::Plugin(name, options)
            }
            (None, None, None) => {
                self.wrong(line, "it does not say what writes it", "add `language`, `template` or `plugin`");
                return None;
            }
            _ => {
                let fix = "leave one of them; each output has a [[gen.output]] of its own";
                self.wrong(line, "`language`, `template` and `plugin` exclude each other", fix);
                return None;
            }
        };
        match &maker {
            Maker::Language(of) if options.is_some() => {
                let line = options.map_or(line, |(line, _)| line);
                self.wrong(line, format!("{} has no options", of.name()), "remove `options`");
            }
            Maker::Plugin(..) if name.is_some() => {
                let line = name.as_ref().map_or(line, |(line, _)| *line);
                self.wrong(line, "a plugin has no name to print under", "remove `name`");
            }
            Maker::Template(..) | Maker::Plugin(..) if out.is_none() => {
                self.wrong(line, "it does not say where to write", "add `out = \"folder\"`");
            }
            _ => {}
        }
        let default = match maker {
            Maker::Language(language) => tidy(&self.folder.join(language.out())),
            _ => PathBuf::new(),
        };
        (self.problems.len() == before).then_some(Output {
            maker,
            out: out.unwrap_or(default),
            name: name.map(|(_, name)| name),
        })
    }

    fn language(&mut self, line: usize, name: &str) -> Option<Language> {
        let found = Language::of(name);
        if found.is_none() {
            let all = format!("there are {}; others by `template` or `plugin`", Language::names().join(", "));
            let fix =
                nearest(name, Language::names()).map_or(all, |meant| format!("did you mean `{meant}`?"));
            self.wrong(line, format!("no printer for the language `{name}`"), fix);
        }
        found
    }
}

/// A table's values without their places.
fn owned(table: &DeTable<'_>) -> toml::Table {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), owned_value(value.get_ref()))).collect()
}

fn owned_value(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::Table(table) => toml::Value::Table(owned(table)),
        DeValue::Array(all) => all.iter().map(|v| owned_value(v.get_ref())).collect::<Vec<_>>().into(),
        DeValue::String(text) => text.to_string().into(),
        DeValue::Boolean(value) => (*value).into(),
        // Templates have no dates of their own.
        DeValue::Datetime(value) => value.to_string().into(),
        // The parser has seen that they are numbers; what does not fit stays text.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.as_str().to_string().into(), toml::Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| number.as_str().to_string().into(), toml::Value::Float)
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}
