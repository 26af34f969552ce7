//! What can go wrong between `.proto` files and generated code.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::model::Location;

/// Why no code could be made of a schema. The text of each names the place and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No `.proto` file was found.
    #[error(
        "{roots}: no .proto file found\n  fix: name the folder that holds your schema, or write one there"
    )]
    NoSchema {
        /// Where it was looked for.
        roots: String,
    },
    /// Two roots hold a file of the same name.
    #[error("{first} and {second} are both \"{name}\" to imports\n  fix: rename one", first = first.display(), second = second.display())]
    TwoFiles {
        /// The name in imports.
        name: String,
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A file is written in an edition of protobuf.
    #[error(
        "{location}: editions are not supported: {statement}\n  fix: write `syntax = \"proto3\";` there; `optional` gives a field presence"
    )]
    Edition {
        /// Where.
        location: Location,
        /// The statement.
        statement: String,
    },
    /// The files are not valid protobuf.
    #[error("{text}")]
    Compile {
        /// `file:line:column: what`.
        text: String,
    },
    /// The compiler's own output cannot be read.
    #[error("internal: a descriptor cannot be decoded: {0}")]
    Descriptor(prost::DecodeError),
    /// The schema breaks rules of tagwire.
    #[error("{0}")]
    Check(Findings),
    /// Rust code could not be printed.
    #[error("internal: Rust code cannot be generated: {0}")]
    Rust(io::Error),
    /// A name that the printed language or layout cannot have.
    #[error("{what}\n  fix: {fix}")]
    Layout {
        /// What is wrong.
        what: String,
        /// What to do.
        fix: String,
    },
}

/// One thing that a schema must not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub location: Location,
    /// What is wrong, and what it would break.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  fix: {}", self.location, self.what, self.fix)
    }
}

/// All that a check found, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            write!(f, "{}{finding}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
