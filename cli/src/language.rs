//! The languages that clients are printed in: one place that knows their names, folders and printers.

use std::path::PathBuf;

use clap::ValueEnum;
use tagwire_codegen::model::{Model, Origin};
use tagwire_codegen::package::Package;
use tagwire_codegen::{Error, python, typescript};

/// A language that clients can be printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Python 3.10 or newer.
    Python,
    /// TypeScript, for browsers and Node.
    #[value(name = "typescript")]
    TypeScript,
}

impl Language {
    /// As it is written in flags and settings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::TypeScript => "typescript",
        }
    }

    /// The language of that name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|l| l.name() == name)
    }

    /// The names of all.
    pub(crate) fn names() -> Vec<&'static str> {
        Self::value_variants().iter().map(|l| l.name()).collect()
    }

    /// The folder that packages are written into where none is named.
    pub(crate) fn out(self) -> PathBuf {
        PathBuf::from(format!("clients/{}/gen", self.name()))
    }

    /// The folder of the stack's own messages, in the repository of tagwire.
    pub(crate) fn stack_folder(self) -> PathBuf {
        PathBuf::from(match self {
            Language::Python => "clients/python/tagwire/gen",
            Language::TypeScript => "clients/typescript/src/gen",
        })
    }

    /// Prints the messages of `origin`.
    ///
    /// # Errors
    /// What cannot be said in the language.
    pub(crate) fn print(self, model: &Model, origin: Origin, name: Option<&str>) -> Result<Package, Error> {
        match self {
            Language::Python => python::print(model, origin, name),
            Language::TypeScript => typescript::print(model, origin, name),
        }
    }
}

/// Of `known`, the one that `unknown` is nearest to, if it is near: what was meant.
pub(crate) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = unknown.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&unknown, name), name))
        .filter(|(distance, name)| *distance <= (unknown.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}
