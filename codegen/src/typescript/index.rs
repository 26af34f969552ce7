//! What users import: the schema, all names of it, and a class for each service.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::model::{Model, Origin, Rules, Service};
use crate::package::{base64, header};

use super::messages::method_name;
use super::module::{Module, Piece, Symbol, doc, line, relative, string};
use super::names::{Kind, identifier, is_forgotten, salted};
use super::schema::{Item, Schema, What};

/// The runtime.
const CLIENT: &str = "@tagwire/client";
/// What the root has beside names of the schema.
const SCHEMA: &str = "SCHEMA";

/// Something that a package has.
struct Export<'a> {
    what: Exported<'a>,
    /// The names it is exported under.
    names: Vec<String>,
    /// Where those come from and are called.
    from: String,
    sources: Vec<Symbol>,
}

#[derive(Clone, Copy)]
enum Exported<'a> {
    /// A message, enum or extension.
    Type,
    Service(&'a Service),
}

/// A folder with an `index.ts`.
#[derive(Default)]
struct Folder<'a> {
    /// The packages whose names lie here. Two only in the root: that without a name, and that of the printed one's.
    packages: BTreeSet<&'a str>,
    /// Folders in it, by the name that they are exported under.
    children: BTreeMap<String, String>,
    exports: Vec<Export<'a>>,
}

/// The modules that are called `index`.
pub(super) struct Index<'a> {
    model: &'a Model,
    schema: &'a Schema<'a>,
    name: &'a str,
    fingerprint: &'a str,
    /// By path from the package's folder.
    folders: BTreeMap<Vec<String>, Folder<'a>>,
}

fn module_of(path: &[String]) -> String {
    let folder: String = path.iter().map(|p| format!("{p}/")).collect();
    format!("./{folder}index.js")
}

impl<'a> Index<'a> {
    pub(super) fn new(model: &'a Model, schema: &'a Schema<'a>, name: &'a str, fingerprint: &'a str) -> Self {
        let root = BTreeMap::from([(vec![], Folder::default())]);
        let mut index = Self { model, schema, name, fingerprint, folders: root };
        for package in model.packages(Origin::Game) {
            let mut path: Vec<String> =
                package.split('.').filter(|p| !p.is_empty()).map(str::to_string).collect();
            if path.first().is_some_and(|p| p == name) {
                path.remove(0);
            }
            for depth in 0..path.len() {
                let part = &path[depth];
                let parent = index.folders.entry(path[..depth].to_vec()).or_default();
                parent.children.insert(identifier(part), part.clone());
            }
            index.folders.entry(path).or_default().packages.insert(package);
        }
        for (path, folder) in &mut index.folders {
            folder.collect(model, schema, path);
        }
        index
    }

    pub(super) fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for (path, folder) in &self.folders {
            let name: String = path.iter().map(|p| format!("{p}/")).chain(["index.ts".to_string()]).collect();
            files.insert(name, self.print(path, folder));
        }
        files
    }

    /// Names of the files that a folder is made of; for the root, of all.
    fn sources(&self, path: &[String], folder: &Folder<'_>) -> Vec<&'a str> {
        let files = self.model.files.iter().filter(|f| f.origin == Origin::Game);
        let here = files.filter(|f| path.is_empty() || folder.packages.contains(f.package.as_str()));
        let mut names: Vec<&str> = here.map(|f| f.name.as_str()).collect();
        if names.is_empty() {
            // A part of names of packages.
            let inner = |f: &&crate::model::File| {
                self.folders
                    .iter()
                    .any(|(p, o)| p.starts_with(path) && o.packages.contains(f.package.as_str()))
            };
            let files = self.model.files.iter().filter(|f| f.origin == Origin::Game);
            names = files.filter(inner).map(|f| f.name.as_str()).collect();
        }
        names.sort_unstable();
        names
    }

    fn print(&self, path: &[String], folder: &Folder<'_>) -> String {
        let mut module = Module::new(module_of(path));
        // What methods return is the global one.
        module.reserve("Promise");
        if path.is_empty() {
            self.schema_constant(&mut module);
        }
        for (name, child) in &folder.children {
            line!(
                module,
                "export * as ",
                name.clone(),
                " from ",
                string(&format!("./{child}/index.js")),
                ";"
            );
        }
        if !folder.children.is_empty() {
            line!(module);
        }
        let lifted = if path.is_empty() { self.lifted() } else { vec![] };
        // Statements by module, in the order of first use; classes behind them.
        let own = module_of(path);
        let mut by_module: Vec<(&str, Vec<String>)> = vec![];
        for export in folder.exports.iter().chain(lifted) {
            if export.from == own {
                continue;
            }
            let at = by_module.iter().position(|(from, _)| *from == export.from).unwrap_or_else(|| {
                by_module.push((&export.from, vec![]));
                by_module.len() - 1
            });
            for (name, source) in export.names.iter().zip(&export.sources) {
                let word = if source.type_only { "type " } else { "" };
                let shown =
                    if *name == source.name { name.clone() } else { format!("{} as {name}", source.name) };
                by_module[at].1.push(format!("{word}{shown}"));
            }
        }
        for (from, names) in by_module {
            let listed: String = names.iter().map(|n| format!("  {n},\n")).collect();
            line!(module, "export {\n", listed, "} from ", string(&relative(&own, from)), ";");
            line!(module);
        }
        for export in &folder.exports {
            if let Exported::Service(service) = export.what {
                self.service(&mut module, service, &export.names[0]);
            }
        }
        let mut text = module.finish();
        text.truncate(text.trim_end().len());
        if text.is_empty() {
            // A package of no names: without this it would be no module.
            text.push_str("export {};");
        }
        let header = header("//", &self.sources(path, folder), self.fingerprint);
        format!("{header}/* eslint-disable */\n\n{text}\n")
    }

    /// What the root repeats from below: that whose names one package alone has.
    fn lifted(&self) -> Vec<&Export<'a>> {
        let root = &self.folders[&vec![]];
        let mut count: HashMap<&str, usize> = HashMap::new();
        let below = self.folders.iter().filter(|(path, _)| !path.is_empty());
        for name in below.clone().flat_map(|(_, f)| &f.exports).flat_map(|e| &e.names) {
            *count.entry(name).or_default() += 1;
        }
        let own: HashSet<&str> = root
            .exports
            .iter()
            .flat_map(|e| &e.names)
            .chain(root.children.keys())
            .map(String::as_str)
            .collect();
        below
            .flat_map(|(_, folder)| &folder.exports)
            .filter(|e| e.names.iter().all(|n| count[&**n] == 1 && !own.contains(&**n) && n != SCHEMA))
            .collect()
    }

    fn schema_constant(&self, module: &mut Module) {
        module.doc(
            "",
            &format!(
                "The schema of {}: its messages, their rules, and the number that sides compare.",
                self.name
            ),
        );
        let class = Symbol::value("Schema", CLIENT);
        line!(
            module,
            "export const ",
            Piece::Declare(SCHEMA.to_string()),
            ": ",
            class.clone(),
            " = /* @__PURE__ */ new ",
            class,
            "({",
        );
        line!(module, "  name: ", string(self.name), ",");
        line!(module, "  fingerprint: ", string(self.fingerprint), ",");
        line!(module, "  descriptors:");
        line!(module, "    ", string(&base64(&self.model.descriptor_set(), true)), ",");
        line!(module, "  messages: [");
        let tagged = self.model.tagged(Origin::Game);
        let many = tagged.len() > MANY;
        for (tag, message, rules) in tagged {
            let (item, from) = self.schema.find(&message.full_name);
            let rules = rules_literal(tag, rules, self.model.is_request(&message.full_name));
            let mut pieces: Vec<Piece> = vec!["    [".into(), Symbol::value(&item.desc, from).into()];
            if many {
                pieces.extend([" as ".into(), Symbol::typed("DescMessage", "@bufbuild/protobuf").into()]);
            }
            pieces.extend([", ".into(), rules.into(), "],".into()]);
            module.line(pieces);
        }
        line!(module, "  ],");
        line!(module, "});");
        line!(module);
    }

    fn service(&self, module: &mut Module, service: &Service, name: &str) {
        let (item, proto) = self.schema.service(&service.full_name);
        if let Some(text) = doc_text(&service.comment, item.deprecated) {
            module.doc("", &text);
        }
        let base = Symbol::value("Service", CLIENT);
        line!(module, "export class ", Piece::Declare(name.to_string()), " extends ", base, " {");
        for (at, method) in service.methods.iter().enumerate() {
            if at > 0 {
                line!(module);
            }
            let written = proto.method.iter().find(|m| m.name() == method.name);
            let options = written.and_then(|m| m.options.as_ref());
            let old = options.is_some_and(prost_types::MethodOptions::deprecated);
            if let Some(text) = doc_text(&method.comment, old) {
                line!(module, doc("  ", &text));
            }
            let (request, request_from) = self.schema.find(&method.request);
            let (reply, reply_from) = self.schema.find(&method.reply);
            let request = Symbol::value(&request.desc, request_from);
            line!(
                module,
                "  ",
                own_method(&method.name),
                "(request: ",
                Symbol::typed("MessageInit", CLIENT),
                "<typeof ",
                request.clone(),
                ">, options?: ",
                Symbol::typed("RequestOptions", CLIENT),
                "): Promise<",
                Symbol::typed(&reply.shape, reply_from),
                "> {",
            );
            let reply = Symbol::value(&reply.desc, reply_from);
            line!(module, "    return this.request(", request, ", ", reply, ", request, options);");
            line!(module, "  }");
        }
        line!(module, "}");
        line!(module);
    }
}

/// From about a thousand types in one list on, tsc gives up; so longer ones are told that theirs is one.
const MANY: usize = 500;

/// What is said of a class or a method, where anything is. Marked as in the modules of protobuf-es: a method by its own
/// option, a service also by its file's.
fn doc_text(comment: &str, deprecated: bool) -> Option<String> {
    match (comment, deprecated) {
        ("", false) => None,
        ("", true) => Some("@deprecated".to_string()),
        (comment, false) => Some(comment.to_string()),
        (comment, true) => Some(format!("{comment}\n\n@deprecated")),
    }
}

/// A method's name in a service's class, where the base class has names of its own.
fn own_method(name: &str) -> String {
    let name = method_name(name);
    // The others every object has; one who writes over them without a word is refused with `noImplicitOverride`.
    const TAKEN: &[&str] =
        &["request", "client", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString"];
    if TAKEN.contains(&&*name) { format!("{name}$") } else { name }
}

impl<'a> Folder<'a> {
    fn collect(&mut self, model: &'a Model, schema: &'a Schema<'a>, path: &[String]) {
        let mut taken: HashSet<String> = self.children.keys().cloned().collect();
        if path.is_empty() {
            taken.insert(SCHEMA.to_string());
        }
        let packages = self.packages.clone();
        let here = |origin, package: &str| origin == Origin::Game && packages.contains(package);
        for file in schema.files.iter().filter(|f| here(f.file.origin, &f.file.package)) {
            for item in &file.items {
                let sources = sources(item, &file.module);
                if sources.is_empty() {
                    continue;
                }
                // One salt for all names of a thing, so that they go on to belong together.
                let first = &sources[0].name;
                let salted = salted(first, |name| {
                    let salt = name.strip_prefix(first.as_str()).unwrap_or_default();
                    sources.iter().all(|s| !taken.contains(&format!("{}{salt}", s.name)))
                });
                let salt = salted.strip_prefix(first.as_str()).unwrap_or_default();
                let names: Vec<String> = sources.iter().map(|s| format!("{}{salt}", s.name)).collect();
                taken.extend(names.iter().cloned());
                self.exports.push(Export { what: Exported::Type, names, from: file.module.clone(), sources });
            }
        }
        for service in model.services.iter().filter(|s| here(s.origin, &s.package)) {
            let name = salted(&service.name, |n| !taken.contains(n) && !is_forgotten(Kind::Class, n));
            taken.insert(name.clone());
            let from = module_of(path);
            let sources = vec![Symbol::value(&name, &from)];
            self.exports.push(Export { what: Exported::Service(service), names: vec![name], from, sources });
        }
    }
}

/// What a module of a file exports of an item. Nothing of a service: its class takes the place.
fn sources(item: &Item<'_>, from: &str) -> Vec<Symbol> {
    let desc = Symbol::value(&item.desc, from);
    match item.what {
        What::Message(_) => vec![Symbol::typed(&item.shape, from), desc],
        What::Enum(_) => vec![Symbol::value(&item.shape, from), desc],
        What::Extension(_) => vec![desc],
        What::Service(_) => vec![],
    }
}

/// The rules of a message, without what is the default.
fn rules_literal(tag: u16, rules: &Rules, request: bool) -> String {
    let mut parts = vec![format!("tag: {tag}")];
    let words = [
        ("from", rules.from.as_deref().unwrap_or_default(), ""),
        ("to", &rules.to, "HANDLER"),
        ("access", &rules.access, "PLAYER"),
        ("delivery", &rules.delivery, "ORDERED"),
    ];
    for (name, word, default) in words {
        if word != default {
            parts.push(format!("{name}: \"{word}\""));
        }
    }
    let rate = rules.rate_per_second().ok().flatten().unwrap_or(0);
    for (name, number) in [("maxBytes", rules.max_bytes), ("maxRate", rate)] {
        if number != 0 {
            parts.push(format!("{name}: {number}"));
        }
    }
    if request {
        parts.push("request: true".to_string());
    }
    format!("{{ {} }}", parts.join(", "))
}
