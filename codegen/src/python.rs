//! The Python printer: a package of modules and type stubs around a game's descriptors.
//!
//! ```text
//! <name>/__init__.py       SCHEMA, and the names that only one package has
//!        _schema.py        the descriptors, the rules of each message, the fingerprint
//!        v1/__init__.py    one module a package, `<name>.` taken off: the classes, made by the runtime
//!        **/*.pyi          what a type checker reads
//!        py.typed
//! ```
//!
//! The classes are those of the library `protobuf`, made from the descriptors when the package is imported. Behind
//! them stands a class for each service, printed in full: its base class in the runtime does the asking. All
//! imports within the package are relative: its folder may lie anywhere. The `.pyi` files are made to pass
//! `mypy --strict` for any schema; what cannot be written in Python (a field called `from`) is left out of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;

use heck::ToSnakeCase as _;
use prost::Message as _;

use crate::error::Error;
use crate::fingerprint::fingerprint;
use crate::model::{Method, Model, Origin, RawFileSet, Service};

mod stub;

pub use crate::package::Package;
use crate::package::{default_name, header, is_identifier};
use stub::{Stub, docstring};

/// Prints the messages of `origin` as the package `name`; without a name, the first part that all names of
/// packages share.
///
/// # Errors
/// Where there is no such part, or names of the schema cannot be laid out as Python modules.
pub fn print(model: &Model, origin: Origin, name: Option<&str>) -> Result<Package, Error> {
    let name = match (origin, name) {
        (Origin::Game, Some(name)) => checked_name(name)?,
        (Origin::Game, None) => checked_name(&default_name(model, "Python package")?)?,
        _ => "tagwire".to_string(),
    };
    let printer = Printer::new(model, origin, &name)?;
    let files = printer.files();
    Ok(Package { name, files })
}

fn checked_name(name: &str) -> Result<String, Error> {
    let fix = "choose another: `--name my_game`".to_string();
    if !is_identifier(name) || is_keyword(name) {
        return Err(Error::Layout { what: format!("\"{name}\" cannot be a Python package's name"), fix });
    }
    if matches!(name, "tagwire" | "google") {
        return Err(Error::Layout {
            what: format!("a Python package \"{name}\" would hide the one that the stubs import"),
            fix,
        });
    }
    Ok(name.to_string())
}

fn is_keyword(name: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
        "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in",
        "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
    ];
    KEYWORDS.contains(&name)
}

/// True for what every message class has already, so that a type stub cannot have it as a field or inner class.
fn is_message_member(name: &str) -> bool {
    const MEMBERS: &[&str] = &[
        "ByteSize",
        "Clear",
        "ClearExtension",
        "ClearField",
        "CopyFrom",
        "DESCRIPTOR",
        "DiscardUnknownFields",
        "Extensions",
        "FindInitializationErrors",
        "FromString",
        "HasExtension",
        "HasField",
        "IsInitialized",
        "ListFields",
        "MergeFrom",
        "MergeFromString",
        "ParseFromString",
        "SerializePartialToString",
        "SerializeToString",
        "SetInParent",
        "UnknownFields",
        "WhichOneof",
        "_CheckCalledFromGeneratedFile",
        "_ListFieldsItemKey",
        "_SetListener",
    ];
    MEMBERS.contains(&name) || name.starts_with("__")
}

/// A name at the top of a module, or a part of a module's own name.
fn top_name(name: &str) -> String {
    let taken = is_keyword(name) || matches!(name, "SCHEMA" | "_SCHEMA") || name.starts_with("__");
    if taken { format!("{name}_") } else { name.to_string() }
}

/// Name of the class within a service's that asks by way of a `SyncClient`. No method can have it: theirs are all
/// lower case.
const SYNC: &str = "Sync";

/// A method's name: `GetURL` is `get_url`. Never begins with an underscore, so it hides nothing of the base class.
fn method_name(method: &Method) -> String {
    let name = method.name.to_snake_case();
    if is_keyword(&name) {
        format!("{name}_")
    } else if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("rpc_{name}")
    } else {
        name
    }
}

/// What is printed in one folder.
#[derive(Default)]
struct Module<'a> {
    /// The proto package, where one lies here and is not only passed through.
    package: Option<&'a str>,
    /// Names of the folders in it.
    children: BTreeSet<String>,
    /// Full names of the enums, messages and services at its top, in the order of the schema, with their Python
    /// names.
    names: Vec<(&'a str, String)>,
}

struct Printer<'a> {
    model: &'a Model,
    origin: Origin,
    name: &'a str,
    /// By path from the package's folder.
    modules: BTreeMap<Vec<String>, Module<'a>>,
    /// Where each message, enum and service is: the path of its module and its path within.
    places: HashMap<&'a str, (Vec<String>, Vec<String>)>,
    /// Put behind each alias of an import in a stub, so that no name of the schema hides one.
    mark: String,
}

impl<'a> Printer<'a> {
    fn new(model: &'a Model, origin: Origin, name: &'a str) -> Result<Self, Error> {
        let mut printer = Printer {
            model,
            origin,
            name,
            modules: BTreeMap::from([(vec![], Module::default())]),
            places: HashMap::new(),
            mark: mark(model),
        };
        for package in model.packages(origin) {
            printer.add_module(printer.path_of(package), package)?;
        }
        if model.travelling().any(|f| f.origin == Origin::Google) && origin == Origin::Game {
            printer.add_module(vec!["google".to_string(), "protobuf".to_string()], "google.protobuf")?;
        }
        printer.place_names();
        printer.check_layout()?;
        Ok(printer)
    }

    fn path_of(&self, package: &str) -> Vec<String> {
        let mut parts: Vec<&str> = package.split('.').filter(|p| !p.is_empty()).collect();
        if parts.first() == Some(&self.name) {
            parts.remove(0);
        }
        parts.into_iter().map(top_name).collect()
    }

    fn add_module(&mut self, path: Vec<String>, package: &'a str) -> Result<(), Error> {
        for depth in 0..path.len() {
            let parent = self.modules.entry(path[..depth].to_vec()).or_default();
            parent.children.insert(path[depth].clone());
        }
        let module = self.modules.entry(path.clone()).or_default();
        match module.package.replace(package) {
            None => Ok(()),
            Some(other) => Err(Error::Layout {
                what: format!(
                    "the proto packages \"{other}\" and \"{package}\" would both be the Python module {}",
                    self.dotted(&path)
                ),
                fix: "choose another name for the Python package: `--name my_game`".to_string(),
            }),
        }
    }

    fn dotted(&self, path: &[String]) -> String {
        [self.name].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
    }

    fn place_names(&mut self) {
        let model = self.model;
        let module_of: HashMap<&str, Vec<String>> =
            self.modules.iter().filter_map(|(path, m)| Some((m.package?, path.clone()))).collect();
        let taken = full_names(model);
        for (full_name, package, scope, name) in every_type(model).chain(every_service(model)) {
            let outer = full_name.len().checked_sub(name.len() + 1).map(|end| &full_name[..end]);
            let mut inner = if scope.is_empty() {
                top_name(name)
            } else if is_keyword(name) || is_message_member(name) {
                format!("{name}_")
            } else {
                name.to_string()
            };
            while inner != name && taken.contains(&outer.map_or(inner.clone(), |o| format!("{o}.{inner}"))) {
                inner.push('_');
            }
            let mut path = match outer.and_then(|o| self.places.get(o)) {
                Some((_, path)) if !scope.is_empty() => path.clone(),
                _ => vec![],
            };
            path.push(inner.clone());
            let module = module_of.get(package).cloned().unwrap_or_default();
            let seen = scope.is_empty() && self.travels(full_name);
            if seen
                && let Some(module) = self.modules.get_mut(&module)
                && module.package == Some(package)
            {
                module.names.push((full_name, inner));
            }
            self.places.insert(full_name, (module, path));
        }
    }

    /// True for all but the top names of Google's files that the schema does not carry.
    fn travels(&self, full_name: &str) -> bool {
        google_file(self.model, full_name).is_none_or(|f| self.model.travelling().any(|o| o.name == f))
    }

    fn check_layout(&self) -> Result<(), Error> {
        for (path, module) in &self.modules {
            for (full_name, name) in &module.names {
                if module.children.contains(name) {
                    return Err(Error::Layout {
                        what: format!(
                            "{full_name} and a proto package would both be {}.{name} in Python",
                            self.dotted(path)
                        ),
                        fix: "choose another name for the Python package: `--name my_game`".to_string(),
                    });
                }
            }
            let doubled = module.names.iter().find(|(full_name, name)| {
                module.names.iter().any(|(other, same)| other != full_name && same == name)
            });
            if let Some((full_name, name)) = doubled {
                return Err(Error::Layout {
                    what: format!(
                        "{full_name} must be written {name} in Python, where another has that name"
                    ),
                    fix: "rename one of them".to_string(),
                });
            }
        }
        for service in self.model.services.iter().filter(|s| s.origin == self.origin) {
            let mut names = HashMap::new();
            for method in &service.methods {
                let name = method_name(method);
                if let Some(other) = names.insert(name.clone(), &method.name) {
                    return Err(Error::Layout {
                        what: format!(
                            "the methods {other} and {} of {} would both be {name} in Python",
                            method.name, service.full_name
                        ),
                        fix: "rename one of them".to_string(),
                    });
                }
            }
        }
        if self.modules[&vec![]].children.contains("_schema") {
            return Err(Error::Layout {
                what: format!("the proto package {}._schema has the name of a file of ours", self.name),
                fix: "rename the package".to_string(),
            });
        }
        Ok(())
    }

    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let all: Vec<&str> = self.sources(None);
        files.insert("py.typed".to_string(), self.header(&all));
        files.insert("_schema.py".to_string(), self.schema());
        files.insert(
            "_schema.pyi".to_string(),
            format!("{}from {} import Schema\n\nSCHEMA: Schema\n", self.header(&all), self.runtime()),
        );
        for (path, module) in &self.modules {
            let folder: String = path.iter().map(|p| format!("{p}/")).collect();
            files.insert(format!("{folder}__init__.py"), self.module(path, module));
            files.insert(format!("{folder}__init__.pyi"), self.stub(path, module));
        }
        files
    }

    /// Names of the files of a package, or of all packages that are printed; sorted.
    fn sources(&self, package: Option<&str>) -> Vec<&'a str> {
        let google = package == Some("google.protobuf");
        let travelling: HashSet<&str> = self.model.travelling().map(|f| f.name.as_str()).collect();
        let mut names: Vec<&str> = self
            .model
            .files
            .iter()
            .filter(|f| {
                if google {
                    f.origin == Origin::Google && travelling.contains(f.name.as_str())
                } else {
                    f.origin == self.origin
                }
            })
            .filter(|f| package.is_none_or(|p| f.package == p))
            .map(|f| f.name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    fn header(&self, sources: &[&str]) -> String {
        header("#", sources, "")
    }

    /// Where the runtime's `Schema` and `Rules` come from.
    fn runtime(&self) -> &'static str {
        // The stack's own stubs lie inside of the runtime.
        if self.origin == Origin::Stack { "..schema" } else { "tagwire.schema" }
    }

    fn schema(&self) -> String {
        let (fingerprint, descriptors) = match self.origin {
            Origin::Game => (fingerprint(self.model).to_vec(), self.model.descriptor_set()),
            _ => (vec![], self.stack_descriptors()),
        };
        let fingerprint: String = fingerprint.iter().map(|b| format!("{b:02x}")).collect();
        let mut rules = String::new();
        for (tag, message, its) in self.model.tagged(self.origin) {
            line(
                &mut rules,
                2,
                format_args!(
                    "Rules(tag={tag}, name=\"{}\", sender=\"{}\", target=\"{}\", access=\"{}\", delivery=\"{}\", \
                     max_bytes={}, max_rate={}, request={}),",
                    message.full_name,
                    its.from.as_deref().unwrap_or_default(),
                    its.to,
                    its.access,
                    its.delivery,
                    its.max_bytes,
                    its.rate_per_second().ok().flatten().unwrap_or(0),
                    if self.model.is_request(&message.full_name) { "True" } else { "False" },
                ),
            );
        }
        let rules = if rules.is_empty() { "()".to_string() } else { format!("(\n{rules}    )") };
        let header = header("#", &self.sources(None), &fingerprint);
        format!(
            "{header}\"\"\"The schema as it travels: descriptors, rules and fingerprint.\"\"\"\n\n\
             from {} import Rules, Schema\n\n\
             SCHEMA = Schema(\n    name=\"{}\",\n    fingerprint=bytes.fromhex(\"{fingerprint}\"),\n    \
             descriptors=(\n{}    ),\n    rules={rules},\n)\n",
            self.runtime(),
            self.name,
            bytes_literal(&descriptors),
        )
    }

    fn stack_descriptors(&self) -> Vec<u8> {
        let files = self.model.files.iter().filter(|f| f.origin == Origin::Stack);
        RawFileSet { file: files.map(|f| f.descriptor.clone().into()).collect() }.encode_to_vec()
    }

    /// Names that the root repeats from below: those that one package alone has. With the module of each.
    fn lifted(&self) -> Vec<(&Vec<String>, &'a str, &str)> {
        let root = &self.modules[&vec![]];
        let mut by_name: BTreeMap<&str, Vec<(&Vec<String>, &'a str)>> = BTreeMap::new();
        for (path, module) in &self.modules {
            if path.is_empty() || module.package == Some("google.protobuf") {
                continue;
            }
            for (full_name, name) in &module.names {
                by_name.entry(name).or_default().push((path, full_name));
            }
        }
        by_name
            .into_iter()
            .filter(|(name, from)| {
                from.len() == 1
                    && !root.children.contains(*name)
                    && !root.names.iter().any(|(_, own)| own == name)
            })
            .map(|(name, from)| (from[0].0, from[0].1, name))
            .collect()
    }

    /// What both the module and its stub begin with: the header and what the module is.
    fn opening(&self, path: &[String], module: &Module<'_>) -> String {
        let sources = self.sources(if path.is_empty() { None } else { module.package });
        let what = match module.package {
            _ if path.is_empty() => {
                format!("The messages of {}: `SCHEMA`, and each package below.", self.name)
            }
            Some("google.protobuf") => {
                "Google's well-known types as this schema has them: its messages take these, not those of \
                 `google.protobuf`."
                    .to_string()
            }
            Some(package) => format!("Proto package `{package}`."),
            None => "A part of names of proto packages.".to_string(),
        };
        format!("{}\"\"\"{what}\"\"\"\n\n", self.header(&sources))
    }

    /// Names imported by the `__init__` of a folder: the folders in it and, in the root, all else it repeats.
    fn imports(&self, out: &mut String, path: &[String], module: &Module<'_>, explicit: bool) -> Vec<String> {
        let shown = |name: &str| if explicit { format!("{name} as {name}") } else { name.to_string() };
        let mut all: Vec<String> = vec![];
        if !module.children.is_empty() {
            let children: Vec<String> = module.children.iter().map(|c| shown(c)).collect();
            line(out, 0, format_args!("from . import {}", children.join(", ")));
            all.extend(module.children.iter().cloned());
        }
        if path.is_empty() {
            line(out, 0, format_args!("from ._schema import {}", shown("SCHEMA")));
            all.push("SCHEMA".to_string());
            let mut by_module: BTreeMap<&Vec<String>, Vec<String>> = BTreeMap::new();
            for (from, _, name) in self.lifted() {
                by_module.entry(from).or_default().push(name.to_string());
            }
            for (from, names) in by_module {
                let lines: String = names.iter().map(|n| format!("    {},\n", shown(n))).collect();
                line(out, 0, format_args!("from .{} import (\n{lines})", from.join(".")));
                all.extend(names);
            }
        }
        all.extend(module.names.iter().map(|(_, name)| name.clone()));
        all.sort_unstable();
        all
    }

    fn module(&self, path: &[String], module: &Module<'_>) -> String {
        let mut out = self.opening(path, module);
        let all = self.imports(&mut out, path, module, false);
        let mark = &self.mark;
        if !module.names.is_empty() {
            let dots = ".".repeat(path.len() + 1);
            line(&mut out, 0, format_args!("from {dots}_schema import SCHEMA as _SCHEMA"));
        }
        if module.names.iter().any(|(full_name, _)| self.service(full_name).is_some()) {
            line(&mut out, 0, format_args!("from tagwire import service as _service{mark}"));
        }
        line(&mut out, 0, format_args!("\n__all__ = {}", list(&all)));
        for (full_name, name) in &module.names {
            if let Some(service) = self.service(full_name) {
                self.service_class(&mut out, service, name);
                continue;
            }
            let kind = if self.model.message(full_name).is_some() { "message" } else { "enum" };
            line(&mut out, 0, format_args!("{name} = _SCHEMA.{kind}(\"{full_name}\")"));
        }
        out
    }

    /// The service of that full name.
    fn service(&self, full_name: &str) -> Option<&'a Service> {
        self.model.services.iter().find(|s| s.full_name == full_name)
    }

    fn service_class(&self, out: &mut String, service: &Service, name: &str) {
        let base = format!("_service{}", self.mark);
        line(out, 0, format_args!("\n\nclass {name}({base}.Service):"));
        if !service.comment.is_empty() {
            docstring(out, 1, &service.comment);
            out.push('\n');
        }
        line(out, 1, format_args!("__slots__ = ()"));
        // Capitals, as no method has them; and looked up here, as modules that import each other cannot have all
        // of each other's names.
        let types = |method: &Method| match format!("_{}", method_name(method).to_ascii_uppercase()) {
            // It would hide what the next line looks up.
            name if name == "_SCHEMA" => "_SCHEMA_".to_string(),
            name => name,
        };
        for method in &service.methods {
            line(
                out,
                1,
                format_args!(
                    "{} = _SCHEMA.message(\"{}\"), _SCHEMA.message(\"{}\")",
                    types(method),
                    method.request,
                    method.reply
                ),
            );
        }
        let function = |out: &mut String, depth: usize, method: &Method, head: String, ask: &str| {
            line(out, depth, format_args!("\n{head}:"));
            if !method.comment.is_empty() {
                docstring(out, depth + 1, &method.comment);
            }
            line(out, depth + 1, format_args!("{ask}"));
        };
        for method in &service.methods {
            // No coroutine function: in a batch, the call makes the request, and awaiting only takes its answer.
            let head = format!("def {}(self, request, *, timeout=2.0)", method_name(method));
            let ask = format!("return self._ask({name}.{}, request, timeout)", types(method));
            function(out, 1, method, head, &ask);
        }
        line(out, 1, format_args!("\nclass {SYNC}({base}.SyncService):"));
        docstring(out, 2, &sync_doc(name));
        line(out, 2, format_args!("\n__slots__ = ()"));
        for method in &service.methods {
            let head = format!(
                "def {}(self, request, on_reply, *, on_error=None, timeout=2.0)",
                method_name(method)
            );
            let ask = format!("self._ask({name}.{}, request, on_reply, on_error, timeout)", types(method));
            function(out, 2, method, head, &ask);
        }
    }

    fn stub(&self, path: &[String], module: &Module<'_>) -> String {
        let mut out = self.opening(path, module);
        if module.package == Some("google.protobuf") {
            for (full_name, name) in &module.names {
                let file = google_file(self.model, full_name).unwrap_or_default();
                let (package, library) = google_module(file);
                line(&mut out, 0, format_args!("from {package}.{library} import {name} as {name}"));
            }
            let all: BTreeSet<&String> = module.names.iter().map(|(_, name)| name).collect();
            line(&mut out, 0, format_args!("\n__all__ = {}", list(&all.into_iter().collect::<Vec<_>>())));
            return out;
        }
        let mut stub = Stub::new(self, path);
        for (full_name, name) in &module.names {
            if let Some(service) = self.service(full_name) {
                stub.service(service, name);
                continue;
            }
            match self.model.message(full_name) {
                Some(message) => stub.message(message, 0),
                None => self
                    .model
                    .enums
                    .iter()
                    .filter(|e| e.full_name == *full_name)
                    .for_each(|e| stub.enumeration(e, 0)),
            }
        }
        if !module.names.is_empty() {
            let (whole, parts): (Vec<_>, Vec<_>) =
                stub.imports.iter().partition(|i| i.starts_with("import "));
            for import in whole.into_iter().chain(parts) {
                line(&mut out, 0, format_args!("{import}"));
            }
        }
        let all = self.imports(&mut out, path, module, true);
        line(&mut out, 0, format_args!("\n__all__ = {}", list(&all)));
        out.push_str(&stub.body);
        // Behind the classes: before them, the name of one that is called like a builtin would be the builtin's.
        let typing = format!("_t{}", self.mark);
        if !stub.aliases.is_empty() {
            out.push('\n');
        }
        for (alias, target) in &stub.aliases {
            line(&mut out, 0, format_args!("{alias}: {typing}.TypeAlias = {target}"));
        }
        out
    }
}

/// Full name, package, scope and name of all messages that can be seen and all enums, parents before children.
fn every_type(model: &Model) -> impl Iterator<Item = (&str, &str, &[String], &str)> {
    let enums =
        model.enums.iter().map(|e| (e.full_name.as_str(), e.package.as_str(), &e.scope[..], e.name.as_str()));
    let messages = model
        .messages
        .iter()
        .filter(|m| !m.map_entry)
        .map(|m| (m.full_name.as_str(), m.package.as_str(), &m.scope[..], m.name.as_str()));
    // Nested enums find their message placed; enums at the top come first, as readers like them.
    let (top, inner): (Vec<_>, Vec<_>) = enums.partition(|(_, _, scope, _)| scope.is_empty());
    top.into_iter().chain(messages).chain(inner)
}

/// The same of the services that are printed, which are the game's.
fn every_service(model: &Model) -> impl Iterator<Item = (&str, &str, &[String], &str)> {
    let services = model.services.iter().filter(|s| s.origin == Origin::Game);
    services.map(|s| (s.full_name.as_str(), s.package.as_str(), &[][..], s.name.as_str()))
}

/// Full names of all that stands in a package or message.
fn full_names(model: &Model) -> HashSet<String> {
    let messages = model.messages.iter().map(|m| m.full_name.clone());
    let fields =
        model.messages.iter().flat_map(|m| m.fields.iter().map(|f| format!("{}.{}", m.full_name, f.name)));
    let enums = model.enums.iter().map(|e| e.full_name.clone());
    let values = model.enums.iter().flat_map(|e| {
        let scope = e.full_name.strip_suffix(&e.name).unwrap_or_default();
        e.values.iter().map(move |v| format!("{scope}{}", v.name))
    });
    let services = model.services.iter().map(|s| s.full_name.clone());
    messages.chain(fields).chain(enums).chain(values).chain(services).collect()
}

/// The file of Google's that declares what has this full name, by import name.
fn google_file<'a>(model: &'a Model, full_name: &str) -> Option<&'a str> {
    let files = model.files.iter().filter(|f| f.origin == Origin::Google);
    let found = files.into_iter().find(|f| {
        let top =
            full_name.strip_prefix(&format!("{}.", f.package)).map(|n| n.split('.').next().unwrap_or(n));
        top.is_some_and(|top| {
            f.documented.message_type.iter().any(|m| m.name() == top)
                || f.documented.enum_type.iter().any(|e| e.name() == top)
        })
    });
    found.map(|f| f.name.as_str())
}

/// `google/protobuf/timestamp.proto` is `google.protobuf` `timestamp_pb2` in Google's library.
fn google_module(file: &str) -> (String, String) {
    let stem = file.strip_suffix(".proto").unwrap_or(file);
    let (package, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    (package.replace('/', "."), format!("{name}_pb2"))
}

/// What the class for a `SyncClient` within a service says of itself.
fn sync_doc(service: &str) -> String {
    format!(
        "The same for a `tagwire.SyncClient`: `{service}.{SYNC}(client)`. Answers are told by its `sync`."
    )
}

/// Underscores that no alias of an import collides with: `_t` is free where no name of the schema is `_t`.
fn mark(model: &Model) -> String {
    let names = model
        .messages
        .iter()
        .flat_map(|m| [&m.name].into_iter().chain(&m.oneofs).chain(m.fields.iter().map(|f| &f.name)))
        .chain(model.enums.iter().flat_map(|e| [&e.name].into_iter().chain(e.values.iter().map(|v| &v.name))))
        .chain(model.services.iter().map(|s| &s.name));
    let most = names.filter(|n| n.starts_with('_')).map(|n| n.len() - n.trim_end_matches('_').len()).max();
    "_".repeat(most.map_or(0, |most| most + 1))
}

/// Appends one line, or several with the same indentation.
fn line(out: &mut String, depth: usize, text: std::fmt::Arguments<'_>) {
    for one in text.to_string().split('\n') {
        let indent = if one.is_empty() { 0 } else { depth * 4 };
        writeln!(out, "{:indent$}{one}", "").expect("writing to a String cannot fail");
    }
}

/// `["a", "b"]`.
fn list(names: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("\"{}\"", n.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}

/// Lines of a `bytes` literal. They break where a name may begin (field 1 of most descriptors) and not at a fixed
/// width alone, so that a change of the schema shows as a change of few lines.
fn bytes_literal(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut text = String::new();
    for &byte in bytes {
        if (text.len() >= 60 && byte == b'\n') || text.len() >= 100 {
            line(&mut out, 2, format_args!("b\"{text}\""));
            text.clear();
        }
        match byte {
            b'\n' => text.push_str("\\n"),
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("writing to a String cannot fail"),
        }
    }
    line(&mut out, 2, format_args!("b\"{text}\""));
    out
}
