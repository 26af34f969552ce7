//! Holds a client of any language to the protocol: whole conversations with a server that says exactly what a case
//! wants, and some with the real one. `README.md` beside this says how a client takes part.
//!
//! ```text
//! main     the command line             driver   one client under test, a process
//! run      cases one after the other    peer     the server that a case plays
//! table    the table in docs/CLIENTS.md stage    both, as a case has them
//! cases    what is said                 outcome  how it went
//! ```
//!
//! Exit codes: 0, all cases passed; 1, some did not, or the table is stale; 2, wrong use.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

mod cases;
mod driver;
mod peer;
mod run;
mod stage;
mod table;

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated from proto/")]
mod schema {
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}

/// Holds clients to the protocol of tagwire, each a process that reads commands and writes reports.
#[derive(Parser)]
#[command(
    name = "tagwire-conformance",
    version,
    after_help = "\
Examples:
  tagwire-conformance --list
  tagwire-conformance --client \"python conformance/drivers/python/driver.py\"
  tagwire-conformance --client \"node clients/typescript/dist/test/conformance/driver.js\" --case resume
  tagwire-conformance --client \"python ...\" --client \"node ...\" --check docs/CLIENTS.md

Cases with the real server need its binary: --server or TAGWIRE_SERVER."
)]
struct Cli {
    /// Command line of a client under test, split at spaces. May be given several times.
    #[arg(long, value_name = "COMMAND", required_unless_present = "list")]
    client: Vec<String>,
    /// Only cases whose name, or whose group's, is this or begins with it. May be given several times.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Say which cases there are, and run none.
    #[arg(long)]
    list: bool,
    /// Print what came out as JSON, one object for each client.
    #[arg(long)]
    json: bool,
    /// Binary of the real server. Default: what TAGWIRE_SERVER says.
    #[arg(long, value_name = "FILE")]
    server: Option<String>,
    /// How many cases run at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// How many seconds each thing that must happen is awaited.
    #[arg(long, value_name = "SECONDS", default_value_t = driver::SOON.as_secs())]
    patience: u64,
    /// Write the table of this run into that file, between its marks.
    #[arg(long, value_name = "FILE", conflicts_with = "case")]
    write: Option<PathBuf>,
    /// Fail unless the table in that file is the one of this run.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["case", "write"])]
    check: Option<PathBuf>,
}

fn main() -> ExitCode {
    match conformance(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is well.
fn conformance(cli: &Cli) -> Result<bool> {
    let all = cases::all();
    let chosen: Vec<_> = all.iter().copied().filter(|case| wanted(case, &cli.case)).collect();
    if chosen.is_empty() {
        bail!("no case is called {}; --list says which there are", cli.case.join(" or "));
    }
    let mut out = std::io::stdout().lock();
    if cli.list {
        for case in &chosen {
            writeln!(out, "{:<11} {}", case.group, case.name)?;
        }
        writeln!(out, "{} of {} cases", chosen.len(), cases::COUNT)?;
        return Ok(true);
    }
    let server = cli.server.clone().or_else(|| std::env::var("TAGWIRE_SERVER").ok());
    if chosen.iter().any(|case| case.real) {
        let server = server.as_deref().context(
            "some cases need the real server: build it (cargo build -p tagwire-server), and say where it is with \
             --server or TAGWIRE_SERVER",
        )?;
        ensure!(PathBuf::from(server).is_file(), "there is no server {server}");
    }
    driver::be_patient(Duration::from_secs(cli.patience));
    let mut results = vec![];
    for command in &cli.client {
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let result = run::run(&command, &chosen, server.as_deref(), cli.jobs.into());
        if cli.json {
            writeln!(out, "{}", serde_json::to_string(&result)?)?;
        } else {
            run::tell(&result, &mut out)?;
        }
        results.push(result);
    }
    let mut good = results.iter().all(|result| result.passed() == chosen.len());
    if let Some(path) = &cli.write {
        table::write(path, &results)?;
    }
    if let Some(path) = &cli.check
        && let Err(error) = table::check(path, &results)
    {
        writeln!(out, "{error:#}")?;
        good = false;
    }
    Ok(good)
}

fn wanted(case: &cases::Case, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| case.group == name || case.name.starts_with(name.as_str()))
}
