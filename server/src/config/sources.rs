//! Where settings come from: defaults, then the file, then the environment, then flags; the later wins. What is wrong
//! names its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue, Deserializer};
use toml::{Table, Value};

use super::{Config, PASSWORD, ValueError, fix_line, leaves};

/// What the environment variables of the settings begin with.
const PREFIX: &str = "TAGWIRE_";
/// The variable that names the file.
const FILE_VARIABLE: &str = "TAGWIRE_CONFIG";
/// The file that is read, if it is there, where none is named.
const FILE: &str = "tagwire.toml";

/// The table of the file that is the command's, `tagwire`.
const TOOL: &str = "gen";

/// Where to look for settings.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file. `None`: what `TAGWIRE_CONFIG` names, if it is not empty, or `tagwire.toml` in the working directory if it is there.
    pub file: Option<PathBuf>,
    /// The environment; what does not begin with `TAGWIRE_` is passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags; the last of a key wins.
    pub flags: Vec<Flag>,
}

/// A setting from the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As it was written: `--threads`, `--set limits.max_rooms`.
    pub name: String,
    /// The key that it sets, tables with dots.
    pub key: String,
    /// The value.
    pub value: String,
}

/// What the sources say together.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The settings; they are valid.
    pub config: Config,
    /// What a log should mention: variables that look like settings and are none.
    pub warnings: Vec<String>,
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has an unknown key or a value of the wrong kind.
    #[error("{path}: {text}", path = path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Line and key, and what is expected.
        text: String,
    },
    /// A flag sets a key that there is not.
    #[error("{flag}: there is no such key{}", fix_line(fix.as_deref()))]
    UnknownKey {
        /// The flag.
        flag: String,
        /// The key that may have been meant.
        fix: Option<String>,
    },
    /// A variable or flag has a value of the wrong kind.
    #[error("{place} = {value}: expected {expected}")]
    Kind {
        /// Name of the variable or flag.
        place: String,
        /// Its value.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// A value that cannot be.
    #[error("{} = {} ({origins}): expected {}{}", error.key, error.value, error.expected, fix_line(error.fix))]
    Value {
        /// Key and value.
        error: ValueError,
        /// Where the value comes from, and that of the key that it must fit.
        origins: String,
    },
}

impl Flag {
    /// What `--set` was given: `KEY=VALUE`.
    ///
    /// # Errors
    /// There is no `=`.
    pub fn set(text: &str) -> Result<Self, ConfigError> {
        let Some((key, value)) = text.split_once('=') else {
            let expected = "KEY=VALUE, limits.max_rooms=5".to_string();
            return Err(ConfigError::Kind { place: "--set".to_string(), value: text.to_string(), expected });
        };
        let key = key.trim();
        Ok(Flag { name: format!("--set {key}"), key: key.to_string(), value: value.to_string() })
    }
}

impl Sources {
    /// Reads all of them.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut layers = Layers::new();
        let mut file = None;
        if let Some((path, text)) = self.read_file()? {
            layers.add_file(&path, &text)?;
            file = Some(path);
        }
        let mut warnings = vec![];
        let mut variables: Vec<_> = self.environment.iter().collect();
        variables.sort();
        for (name, value) in variables {
            let name = name.to_string_lossy();
            if !name.starts_with(PREFIX) || name == FILE_VARIABLE {
                continue;
            }
            match layers.known.keys().find(|key| variable(key) == name).cloned() {
                Some(key) => layers.add_variable(&key, &name, value)?,
                None => warnings.push(layers.unknown_variable(&name)),
            }
        }
        for flag in &self.flags {
            layers.add_flag(flag)?;
        }
        Ok(Loaded { config: layers.into_config()?, warnings, file })
    }

    fn read_file(&self) -> Result<Option<(PathBuf, String)>, ConfigError> {
        let variable =
            || self.environment.iter().find(|(name, path)| name == FILE_VARIABLE && !path.is_empty());
        let named = self.file.clone().or_else(|| variable().map(|(_, path)| path.into()));
        let path = named.clone().unwrap_or_else(|| FILE.into());
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }
}

/// The variable of a key: `limits.max_rooms` is `TAGWIRE_LIMITS_MAX_ROOMS`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Who said a value.
#[derive(Debug, Clone)]
enum Origin {
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{} line {line}", path.display()),
            Origin::Variable(name) | Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// What was said so far.
#[derive(Debug)]
struct Layers {
    /// Every key with its default, which tells its kind.
    known: BTreeMap<String, Value>,
    said: BTreeMap<String, (Value, Origin)>,
}

impl Layers {
    fn new() -> Self {
        Layers { known: Config::default().leaves(), said: BTreeMap::new() }
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let refused = |error: toml::de::Error, fix: Option<String>| {
            let text =
                without_secret(&error, text).unwrap_or_else(|| error.to_string().trim_end().to_string());
            ConfigError::Parse { path: path.to_path_buf(), text: text + &fix_line(fix.as_deref()) }
        };
        let mut root = DeTable::parse(text).map_err(|error| refused(error, None))?;
        // Not ours: it is what the command `tagwire` is to write.
        root.get_mut().remove(TOOL);
        let mut table: Table = text.parse().map_err(|error| refused(error, None))?;
        table.remove(TOOL);
        // For the error alone: it has the line.
        if let Err(mut error) = Config::deserialize(Deserializer::from(root)) {
            error.set_input(Some(text));
            let unknown = leaves(&table).into_keys().find(|key| !self.known.contains_key(key));
            return Err(refused(error, unknown.and_then(|key| self.meant(&key, str::to_string))));
        }
        let spans = DeTable::parse(text).map(|table| key_spans(table.get_ref())).unwrap_or_default();
        for (key, value) in leaves(&table) {
            let line = spans.get(&key).map_or(0, |at| line_of(text, *at));
            self.said.insert(key, (value, Origin::File { path: path.to_path_buf(), line }));
        }
        Ok(())
    }

    fn add_variable(&mut self, key: &str, name: &str, value: &OsString) -> Result<(), ConfigError> {
        let Some(value) = value.to_str() else {
            let expected = "UTF-8".to_string();
            return Err(ConfigError::Kind {
                place: name.to_string(),
                value: "(not to be shown)".to_string(),
                expected,
            });
        };
        self.add_text(key, value, false, Origin::Variable(name.to_string()))
    }

    fn add_flag(&mut self, flag: &Flag) -> Result<(), ConfigError> {
        if !self.known.contains_key(&flag.key) {
            let fix = self.meant(&flag.key, str::to_string);
            return Err(ConfigError::UnknownKey { flag: flag.name.clone(), fix });
        }
        self.add_text(&flag.key, &flag.value, true, Origin::Flag(flag.name.clone()))
    }

    fn add_text(&mut self, key: &str, text: &str, quotes: bool, origin: Origin) -> Result<(), ConfigError> {
        let default = &self.known[key];
        let refused = |expected: String| ConfigError::Kind {
            place: origin.to_string(),
            value: text.to_string(),
            expected,
        };
        let value = value_of(default, text, quotes).ok_or_else(|| refused(expected(default, text)))?;
        let alone = table([(key, value.clone())]);
        if let Err(error) = alone.try_into::<Config>() {
            return Err(refused(match default {
                Value::String(_) => {
                    let text = error.message();
                    text.rsplit_once("expected ").map_or(text, |(_, what)| what).to_string()
                }
                Value::Array(_) => format!("{}: {}", expected(default, text), error.message()),
                _ => expected(default, text),
            }));
        }
        self.said.insert(key.to_string(), (value, origin));
        Ok(())
    }

    fn unknown_variable(&self, name: &str) -> String {
        let key = name.trim_start_matches(PREFIX).to_lowercase();
        let meant = self.meant(&key, variable).map(|fix| format!("; {fix}")).unwrap_or_default();
        format!("{name} is no setting of the server{meant}")
    }

    /// The key that is nearest to an unknown one, if it is near; also where only the table was left out.
    fn meant(&self, unknown: &str, shown: impl Fn(&str) -> String) -> Option<String> {
        let unknown = unknown.replace('.', "_");
        let distance = |key: &str| {
            let last = key.rsplit('.').next().unwrap_or(key);
            [key.replace('.', "_").as_str(), last]
                .map(|name| strsim::damerau_levenshtein(&unknown, name))
                .into_iter()
                .min()
        };
        let nearest = self.known.keys().min_by_key(|key| distance(key))?;
        let near = distance(nearest)? <= (unknown.len() / 3).max(1);
        near.then(|| format!("did you mean {}?", shown(nearest)))
    }

    fn origin(&self, key: &str) -> String {
        self.said.get(key).map_or("default".to_string(), |(_, origin)| origin.to_string())
    }

    fn into_config(self) -> Result<Config, ConfigError> {
        let said = table(self.said.iter().map(|(key, (value, _))| (key.as_str(), value.clone())));
        let config: Config = said.try_into().expect("each value was read alone before");
        match config.validate() {
            Ok(()) => Ok(config),
            Err(error) => {
                let mut origins = self.origin(error.key);
                if let Some(other) = error.because_of {
                    origins += &format!("; {other}: {}", self.origin(other));
                }
                Err(ConfigError::Value { error, origins })
            }
        }
    }
}

/// A table with these keys; dots make inner tables.
fn table<'a>(leaves: impl IntoIterator<Item = (&'a str, Value)>) -> Table {
    let mut root = Table::new();
    for (key, value) in leaves {
        let Some((outer, inner)) = key.split_once('.') else {
            root.insert(key.to_string(), value);
            continue;
        };
        let entry = root.entry(outer).or_insert_with(|| Value::Table(Table::new()));
        entry.as_table_mut().expect("a key is either a table or a value").insert(inner.to_string(), value);
    }
    root
}

/// Reads a text as a value of the default's kind. `quotes`: TOML's quotes around a string are no part of it.
fn value_of(default: &Value, text: &str, quotes: bool) -> Option<Value> {
    let parsed = || text.trim().parse::<Value>().ok();
    match default {
        Value::String(_) => {
            let unquoted = parsed().filter(|value| quotes && value.is_str());
            Some(unquoted.unwrap_or_else(|| Value::String(text.to_string())))
        }
        // Not everything that begins with a bracket is TOML: [::1]:7777.
        Value::Array(_) => parsed().filter(Value::is_array).or_else(|| {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Some(Value::Array(parts.map(|part| Value::String(part.to_string())).collect()))
        }),
        _ => parsed().filter(|value| value.same_type(default)),
    }
}

/// What a text should have been.
fn expected(default: &Value, text: &str) -> String {
    match default {
        Value::Integer(_) if text.trim().parse::<u64>().is_ok() => "a smaller number".to_string(),
        Value::Integer(_) => "a whole number, 0 or more".to_string(),
        Value::Boolean(_) => "true or false".to_string(),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
            format!("a list with commas like {}", values.join(","))
        }
        _ => "text".to_string(),
    }
}

/// Where each key of a file stands, bytes from its beginning.
fn key_spans(table: &DeTable<'_>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (key, value) in table {
        match value.get_ref() {
            DeValue::Table(inner) => {
                let inner = key_spans(inner);
                found.extend(inner.into_iter().map(|(name, at)| (format!("{}.{name}", key.get_ref()), at)));
            }
            _ => {
                found.insert(key.get_ref().to_string(), key.span().start);
            }
        }
    }
    found
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// What is wrong with a password's line, without the line: TOML's own text would show it, and so a log would.
fn without_secret(error: &toml::de::Error, text: &str) -> Option<String> {
    let (_, key) = PASSWORD.split_once('.')?;
    let start = error.span()?.start;
    let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let since = &text[text[..line_end].rfind(key)?..line_end];
    let shows_it = !since.contains('\n') || since.contains("\"\"\"") || since.contains("'''");
    shows_it.then(|| format!("line {}: {PASSWORD} must be a text in quotes", line_of(text, start)))
}
