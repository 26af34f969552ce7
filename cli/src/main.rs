//! The command `tagwire`: checks a game's `.proto` files and prints typed clients from them.
//!
//! ```text
//! main       the command line and exit codes
//! failure    what is wrong, where, and what to do: for people and for programs
//! source     where the schema is from: files, or a running server
//! paths      paths as they are shown, and which are the same
//! fetch      a server is asked for its schema
//! settings   the table [gen] of tagwire.toml
//! language   the languages there are printers for
//! generate   `gen`: makers of files, and folders that they are written into
//! check      `check`: the rules of a schema, and what it was before
//! history    where that is found: schema.lock, git, files
//! docs       `docs`: the reference
//! init       `init`: a project of one's own
//! ```
//!
//! A command is a module with `Args` and `run`. Exit codes: 0, all is well; 1, the answer is no (`gen --check` found
//! stale stubs, `check` a change that breaks something); 2, the input is bad, or it cannot be done. What goes wrong is said on the standard error, with nothing
//! on the standard output; with `--json` it is an object there.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

mod check;
mod docs;
mod failure;
mod fetch;
mod generate;
mod history;
mod init;
mod language;
mod paths;
mod settings;
mod source;

/// Schema-first messaging for games: every message is defined in .proto files.
#[derive(Parser)]
#[command(name = "tagwire", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print typed clients from the schema, as tagwire.toml says.
    #[command(after_help = generate::EXAMPLES)]
    Gen(Box<generate::Args>),
    /// Check the schema, and whether it may come after what it was: schema.lock, a revision of git, a file.
    #[command(after_help = check::EXAMPLES)]
    Check(check::Args),
    /// Write a reference of the schema: Markdown, a page, and llms.txt.
    #[command(after_help = docs::EXAMPLES)]
    Docs(docs::Args),
    /// Begin a project of one's own.
    #[command(after_help = init::EXAMPLES)]
    Init(init::Args),
}

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// All is well.
    Yes,
    /// It is not.
    No,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help is no error.
        Err(error) if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") => {
            Failure::from(&error).tell(true);
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    let (result, json) = match cli.command {
        Command::Gen(args) => (generate::run(&args), args.json),
        Command::Check(args) => (check::run(&args), args.json),
        Command::Docs(args) => (docs::run(&args), args.json),
        Command::Init(args) => (init::run(&args), args.json),
    };
    match result {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(failure) => {
            failure.tell(json);
            ExitCode::from(2)
        }
    }
}

/// Prints a line for people or programs. A reader who went away is no error of ours.
fn say(text: &str) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
