//! The program around the proxy: flags, commands on standard input, answers on standard output.

mod args;
mod commands;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use tagwire_faults::proxy::{Faults, Proxy, StartError};

use args::Args;
use commands::{Answer, Console};

/// Bad flags, addresses and commands. clap ends with the same.
const EXIT_BAD_INPUT: u8 = 2;

/// Runs until it is told to stop.
pub(crate) fn main() -> ExitCode {
    let args = Args::read();
    match run(args.listen, args.upstream, args.faults(), args.seed()) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            if error.is::<StartError>() { ExitCode::from(EXIT_BAD_INPUT) } else { ExitCode::FAILURE }
        }
    }
}

fn run(listen: SocketAddr, upstream: SocketAddr, faults: Faults, seed: u64) -> anyhow::Result<ExitCode> {
    // One thread: it waits, mostly, and tests want the other cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let proxy = Proxy::start(listen, upstream, faults, seed).await?;
        say(&format!("listening on {}", proxy.address()))?;
        let mut lines = commands::lines();
        let mut console = Console::new(&proxy);
        while let Some(line) = lines.recv().await {
            match console.handle(&line) {
                Ok(Answer::Line(text)) => say(&text)?,
                Ok(Answer::Quit) => break,
                Err(error) => {
                    complain(&format!("error: {error}"));
                    // Loud, or a test with a misspelt fault would pass without it.
                    return Ok(ExitCode::from(EXIT_BAD_INPUT));
                }
            }
        }
        proxy.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to standard output")
}

/// On standard error. Unlike `eprintln!`, it does not panic where nobody listens any more.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
