//! The command `tagwire`: checks a game's `.proto` files and prints typed clients from them.
//!
//! ```text
//! main       the command line, exit codes, how errors are shown
//! generate   compares what is printed with what is there, and brings it up to date
//! ```
//!
//! Exit codes: 0, all is well; 1, `gen --check` found stale stubs; 2, the input is bad or cannot be read.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tagwire_codegen::model::Origin;
use tagwire_codegen::{Error, fingerprint};

mod generate;

/// Schema-first messaging for games: every message is defined in .proto files.
#[derive(Parser)]
#[command(name = "tagwire", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print typed clients from the schema.
    #[command(after_help = "\
Examples:
  tagwire gen                                  bring this repository's Python stubs up to date
  tagwire gen --check                          only tell whether they are (exit code 1: no)
  tagwire gen --schema proto --out my_client   for a game of your own: writes my_client/<name>/
  tagwire gen --name my_game                   call the Python package so")]
    Gen(Gen),
    /// Check the schema, print nothing.
    #[command(after_help = "\
Examples:
  tagwire check
  tagwire check --schema ../my_game/proto")]
    Check {
        /// Folder of .proto files, or one file; imports are relative to the folder. May be given several times.
        #[arg(long, value_name = "PATH", default_value = "proto")]
        schema: Vec<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Gen {
    /// Folder of .proto files, or one file; imports are relative to the folder. May be given several times.
    #[arg(long, value_name = "PATH", default_value = "proto")]
    schema: Vec<PathBuf>,
    /// Language of the client. May be given several times.
    #[arg(long, value_enum, default_value = "python")]
    lang: Vec<Language>,
    /// Folder to write the package into. Default: `clients/LANG/gen`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Name of the package. Default: the first part of the proto packages' names, where all share it.
    #[arg(long)]
    name: Option<String>,
    /// Write nothing; list what is stale, and exit with 1 if anything is.
    #[arg(long)]
    check: bool,
    /// The stack's own messages instead of a game's, to where the client of the language has them.
    #[arg(long, hide = true, conflicts_with_all = ["schema", "name"])]
    stack: bool,
}

/// A language that clients can be printed in.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Python,
    #[value(name = "typescript")]
    TypeScript,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Gen(gen_) => run_gen(&gen_),
        Command::Check { schema } => run_check(&schema),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let mut err = std::io::stderr().lock();
            // Nobody is left to tell when this fails too.
            let _ = match error {
                Error::Check(findings) => findings.0.iter().try_for_each(|f| writeln!(err, "error: {f}")),
                other => writeln!(err, "error: {other}"),
            };
            ExitCode::from(2)
        }
    }
}

/// Prints a line for people. A reader who went away is no error of ours.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn run_check(schema: &[PathBuf]) -> Result<ExitCode, Error> {
    let model = tagwire_codegen::read(schema)?;
    let services = model.services.iter().filter(|s| s.origin == Origin::Game).count();
    let fingerprint: String = fingerprint::fingerprint(&model).iter().map(|b| format!("{b:02x}")).collect();
    say(&format!(
        "ok: {}, {}, fingerprint {fingerprint}",
        counted(model.tagged(Origin::Game).len(), "message"),
        counted(services, "service"),
    ));
    Ok(ExitCode::SUCCESS)
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn run_gen(args: &Gen) -> Result<ExitCode, Error> {
    let (model, origin) = match args.stack {
        true => (tagwire_codegen::load::load_stack()?, Origin::Stack),
        false => (tagwire_codegen::read(&args.schema)?, Origin::Game),
    };
    let mut languages = args.lang.clone();
    languages.dedup();
    let mut fresh = true;
    for language in languages {
        let print = match language {
            Language::Python => tagwire_codegen::python::print,
            Language::TypeScript => tagwire_codegen::typescript::print,
        };
        let package = print(&model, origin, args.name.as_deref())?;
        let (stubs, stack) = match language {
            Language::Python => ("clients/python/gen", "clients/python/tagwire/gen"),
            Language::TypeScript => ("clients/typescript/gen", "clients/typescript/src/gen"),
        };
        let folder = match (&args.out, origin) {
            (Some(out), Origin::Stack) => out.clone(),
            (None, Origin::Stack) => PathBuf::from(stack),
            (out, _) => out.clone().unwrap_or_else(|| PathBuf::from(stubs)).join(&package.name),
        };
        let plan = generate::Plan::new(&folder, &package.files)?;
        if !args.check {
            plan.carry_out()?;
            say(&format!(
                "{}: {} written, {} removed, {} unchanged",
                folder.display(),
                plan.changed.len(),
                plan.superfluous.len(),
                plan.unchanged
            ));
        } else if plan.is_empty() {
            say(&format!("{}: fresh ({})", folder.display(), counted(plan.unchanged, "file")));
        } else {
            plan.list().iter().for_each(|line| say(line));
            fresh = false;
        }
    }
    if fresh {
        return Ok(ExitCode::SUCCESS);
    }
    say("fix: run `scripts/gen`, or this command without `--check`, and commit what it changes");
    Ok(ExitCode::from(1))
}
