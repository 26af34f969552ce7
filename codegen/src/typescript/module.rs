//! The text of one module: what is imported follows from what is used, and gets other names where names are taken.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::names::order;

/// Something that a module exports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Symbol {
    /// Its name there.
    pub(super) name: String,
    /// `./arena/v1/arena_pb.js`, from the folder of the package; or the name of a library.
    pub(super) from: String,
    /// Only its type is used.
    pub(super) type_only: bool,
}

impl Symbol {
    pub(super) fn value(name: impl Into<String>, from: impl Into<String>) -> Self {
        Self { name: name.into(), from: from.into(), type_only: false }
    }

    pub(super) fn typed(name: impl Into<String>, from: impl Into<String>) -> Self {
        Self { name: name.into(), from: from.into(), type_only: true }
    }
}

/// A piece of a module's text.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Text(String),
    /// A name, which may have to be imported.
    Use(Symbol),
    /// A name that the module declares and exports.
    Declare(String),
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Piece::Text(text.to_string())
    }
}

impl From<String> for Piece {
    fn from(text: String) -> Self {
        Piece::Text(text)
    }
}

impl From<Symbol> for Piece {
    fn from(symbol: Symbol) -> Self {
        Piece::Use(symbol)
    }
}

/// Appends the pieces to a module, and ends the line.
macro_rules! line {
    ($module:expr $(, $piece:expr)* $(,)?) => {{
        let pieces: Vec<$crate::typescript::module::Piece> = vec![$($piece.into()),*];
        $module.line(pieces);
    }};
}
pub(super) use line;

/// A module that is being written.
pub(super) struct Module {
    /// Its own path, as in [`Symbol::from`].
    path: String,
    pieces: Vec<Piece>,
    /// Names that nothing may be imported under.
    reserved: HashSet<String>,
}

impl Module {
    pub(super) fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), pieces: vec![], reserved: HashSet::new() }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Keeps a name from being given to what is imported.
    pub(super) fn reserve(&mut self, name: &str) {
        self.reserved.insert(name.to_string());
    }

    pub(super) fn line(&mut self, pieces: Vec<Piece>) {
        self.pieces.extend(pieces);
        self.pieces.push("\n".into());
    }

    /// A block of documentation, one line of text a line.
    pub(super) fn doc(&mut self, indent: &str, text: &str) {
        self.line(vec![doc(indent, text).into()]);
    }

    /// The text, the imports before it.
    pub(super) fn finish(self) -> String {
        let names = self.local_names();
        let mut out = self.imports(&names);
        if !out.is_empty() {
            out.push('\n');
        }
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) | Piece::Declare(text) => out.push_str(text),
                Piece::Use(symbol) => {
                    let foreign = names.get(&(symbol.from.as_str(), symbol.name.as_str()));
                    out.push_str(foreign.map_or(&symbol.name, |alias| alias));
                }
            }
        }
        out
    }

    fn foreign(&self) -> impl Iterator<Item = &Symbol> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Use(symbol) if symbol.from != self.path => Some(symbol),
            _ => None,
        })
    }

    /// What each imported name is called here, by module and name there. A dollar sign can be in no name of a schema.
    fn local_names(&self) -> HashMap<(&str, &str), String> {
        let mut taken = self.reserved.clone();
        for piece in &self.pieces {
            match piece {
                Piece::Declare(name) => taken.insert(name.clone()),
                Piece::Use(symbol) if symbol.from == self.path => taken.insert(symbol.name.clone()),
                _ => false,
            };
        }
        let mut names = HashMap::new();
        for symbol in self.foreign() {
            names.entry((symbol.from.as_str(), symbol.name.as_str())).or_insert_with(|| {
                let aliases = (1..).map(|n| format!("{}${n}", symbol.name));
                let mut all = std::iter::once(symbol.name.clone()).chain(aliases);
                let name = all.find(|name| !taken.contains(name)).expect("numbers do not end");
                taken.insert(name.clone());
                name
            });
        }
        names
    }

    /// The statements: a module's types before its values, modules as they are first used.
    fn imports(&self, names: &HashMap<(&str, &str), String>) -> String {
        let mut order_of_use: Vec<&str> = vec![];
        // By module, then by name: whether only the type is used, everywhere.
        let mut by_module: HashMap<&str, BTreeMap<&str, bool>> = HashMap::new();
        for symbol in self.foreign() {
            let module = by_module.entry(&symbol.from).or_insert_with(|| {
                order_of_use.push(&symbol.from);
                BTreeMap::new()
            });
            *module.entry(&symbol.name).or_insert(true) &= symbol.type_only;
        }
        let mut out = String::new();
        for from in order_of_use {
            let path = relative(&self.path, from);
            for (word, of_types) in [("import type", true), ("import", false)] {
                let mut some: Vec<&str> = by_module[from]
                    .iter()
                    .filter(|(_, type_only)| **type_only == of_types)
                    .map(|(name, _)| *name)
                    .collect();
                some.sort_by(|a, b| order(a, b));
                if some.is_empty() {
                    continue;
                }
                let listed: Vec<String> = some
                    .into_iter()
                    .map(|name| match &names[&(from, name)] {
                        alias if alias != name => format!("{name} as {alias}"),
                        _ => name.to_string(),
                    })
                    .collect();
                out.push_str(&format!("{word} {{ {} }} from {};\n", listed.join(", "), string(&path)));
            }
        }
        out
    }
}

/// The path of a module as another writes it; names of libraries stay as they are.
pub(super) fn relative(importer: &str, module: &str) -> String {
    let (Some(importer), Some(module)) = (importer.strip_prefix("./"), module.strip_prefix("./")) else {
        return module.to_string();
    };
    let mut folders: Vec<&str> = importer.split('/').collect();
    folders.pop();
    let parts: Vec<&str> = module.split('/').collect();
    let same = folders.iter().zip(&parts[..parts.len() - 1]).take_while(|(a, b)| a == b).count();
    let up = vec![".."; folders.len() - same];
    let path = up.into_iter().chain(parts[same..].iter().copied()).collect::<Vec<_>>().join("/");
    if path.starts_with("../") { path } else { format!("./{path}") }
}

/// A comment for tools that read documentation.
pub(super) fn doc(indent: &str, text: &str) -> String {
    let mut out = format!("{indent}/**\n");
    for one in text.split('\n') {
        let space = if one.is_empty() { "" } else { " " };
        out.push_str(&format!("{indent} *{space}{}\n", one.replace("*/", "*\\/")));
    }
    out.push_str(&format!("{indent} */"));
    out
}

/// A literal.
pub(super) fn string(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\r', "\\r").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_folder_of_the_importer() {
        for (importer, module, expected) in [
            ("./a/b/c_pb.js", "./a/b/d_pb.js", "./d_pb.js"),
            ("./a/b/c_pb.js", "./a/d_pb.js", "../d_pb.js"),
            ("./c_pb.js", "./a/d_pb.js", "./a/d_pb.js"),
            ("./a/c_pb.js", "./b/d_pb.js", "../b/d_pb.js"),
            ("./a/c_pb.js", "@tagwire/client", "@tagwire/client"),
        ] {
            assert_eq!(relative(importer, module), expected);
        }
    }

    #[test]
    fn what_is_used_is_imported_under_a_name_that_is_free() {
        let mut module = Module::new("./a_pb.js");
        line!(
            module,
            "export type ",
            Piece::Declare("Message".to_string()),
            " = ",
            Symbol::typed("Message", "lib")
        );
        line!(module, Symbol::typed("T", "./b/t_pb.js"), Symbol::value("T", "./b/t_pb.js"));
        assert_eq!(
            module.finish(),
            "import type { Message as Message$1 } from \"lib\";\nimport { T } from \"./b/t_pb.js\";\n\n\
             export type Message = Message$1\nTT\n"
        );
    }
}
