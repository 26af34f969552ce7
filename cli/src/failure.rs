//! What keeps a command from its answer, for people and for programs.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anstyle::AnsiColor;
use serde::Serialize;
use tagwire_codegen::{Error, Finding, Findings};

use crate::say;

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Problem {
    /// The file that it is in.
    pub(crate) file: Option<PathBuf>,
    /// The line there, from 1.
    pub(crate) line: Option<usize>,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) fix: Option<String>,
}

/// Why a command has no answer: at least one problem. Exit code 2.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Vec<Problem>);

impl Problem {
    /// A problem of no file in particular.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Problem { what: what.into(), ..Problem::default() }
    }

    /// With the file, and the line if it is known.
    pub(crate) fn at(mut self, file: &Path, line: impl Into<Option<usize>>) -> Self {
        self.file = Some(file.to_path_buf());
        self.line = line.into();
        self
    }

    /// With what to do about it.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  fix: {fix}"),
            None => Ok(()),
        }
    }
}

impl Failure {
    /// Says it on the standard error, in colour on a terminal; to a program as an object on the standard output.
    pub(crate) fn tell(&self, json: bool) {
        if json {
            return say(&serde_json::json!({ "ok": false, "errors": self.0 }).to_string());
        }
        let red = AnsiColor::Red.on_default().bold();
        let mut err = anstream::stderr().lock();
        for problem in &self.0 {
            // Nobody is left to tell when this fails too.
            let _ = writeln!(err, "{red}error:{red:#} {problem}");
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Failure(vec![problem])
    }
}

/// What is wrong with a command line.
impl From<&clap::Error> for Failure {
    fn from(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let text = text.split_once("\n\nUsage: ").map_or(&*text, |(before, _)| before);
        let (what, tip) = match text.split_once("\n\n  tip: ") {
            Some((what, tip)) => (what, Some(tip)),
            None => (text, None),
        };
        let what = what.trim_start_matches("error: ").trim_end();
        // A second tip, and the word on `--help`.
        let tip = tip.map(|tip| tip.split("\n\n").next().unwrap_or(tip).trim_end().to_string());
        Problem { fix: tip, ..Problem::new(what) }.into()
    }
}

/// A file or folder that cannot be read or written.
pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_path_buf();
    move |error| Problem::new(error.to_string()).at(&path, None).into()
}

impl From<Findings> for Failure {
    fn from(findings: Findings) -> Self {
        let problem = |f: Finding| Problem::new(f.what).at(&f.location.path, f.location.line).fix(f.fix);
        Failure(findings.0.into_iter().map(problem).collect())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Check(findings) => findings.into(),
            Error::Io { path, source } => Problem::new(source.to_string()).at(&path, None).into(),
            other => parsed(&other.to_string()).into(),
        }
    }
}

/// The texts of the other errors are `file:line: what`, or only what; behind them `fix:` on a line of its own.
fn parsed(text: &str) -> Problem {
    let (text, fix) = match text.split_once("\n  fix: ") {
        Some((text, fix)) => (text, Some(fix.to_string())),
        None => (text, None),
    };
    let mut problem = Problem { fix, ..Problem::new(text) };
    if let Some((file, rest)) = text.split_once(':')
        && let Some((line, what)) = rest.split_once(':')
        && let Ok(line) = line.parse::<usize>()
    {
        problem.what = what.trim_start().to_string();
        problem = problem.at(Path::new(file), line);
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_text_is_found() {
        let problem = parsed("proto/a.proto:3:8: no such type\n  fix: import it");
        assert_eq!(problem.file.as_deref(), Some(Path::new("proto/a.proto")));
        assert_eq!((problem.line, &*problem.what), (Some(3), "8: no such type"));
        assert_eq!(problem.to_string(), "proto/a.proto:3: 8: no such type\n  fix: import it");
        assert_eq!(parsed("a: b"), Problem::new("a: b"));
    }
}
