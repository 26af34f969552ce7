//! `tagwire-bench`: measures the server beside its peers, and writes what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use tagwire_bench::load::cpu;
use tagwire_bench::measure::measure;
use tagwire_bench::result::Run;
use tagwire_bench::roster::{self, Entry};
use tagwire_bench::schedule::{self, Item, Progress};
use tagwire_bench::{cases, process, report};

/// Measures the speed of tagwire beside the limit and beside what people would use instead.
#[derive(Debug, Parser)]
#[command(version, after_help = "`scripts/bench --help` has examples.")]
struct Args {
    #[command(subcommand)]
    command: Option<What>,

    /// Rounds, each with fresh processes [default: 5]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,

    /// One round, short, fewer cases
    #[arg(long)]
    quick: bool,

    /// Only these besides the limit and tagwire; see `list`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    peers: Option<Vec<String>>,

    /// Only these: W1 to W8, connections, rooms, size; or a case: \"W1 window 16\"
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    workloads: Option<Vec<String>>,

    /// Write the measured part of docs/PERFORMANCE.md and its plots
    #[arg(long)]
    docs: bool,

    /// Where the result goes
    #[arg(long, value_name = "FILE", default_value = "target/bench/run.json")]
    out: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the peers and the cases
    List,
    /// Print the tables of an earlier run; with --docs, write the page
    Report {
        /// What --out wrote
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // As a shell tells of it.
            let signal = process::ended_by().and_then(|number| u8::try_from(128 + number).ok());
            signal.map_or(ExitCode::FAILURE, ExitCode::from)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Some(What::List) => list(),
        Some(What::Report { file }) => {
            let text = fs::read(file).with_context(|| format!("{}", file.display()))?;
            let run = serde_json::from_slice(&text)
                .with_context(|| format!("{}: this is no result of a run", file.display()))?;
            tell(&run, args.docs)
        }
        None => measure_all(args),
    }
}

fn list() -> anyhow::Result<()> {
    println!("peers: {}", roster::names()?.join(", "));
    for case in cases::all() {
        println!("{} {}", case.workload, case.name);
    }
    Ok(())
}

/// The folder of this package.
fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tell(run: &Run, docs: bool) -> anyhow::Result<()> {
    print!("{}", report::table(run));
    if docs {
        for file in report::write(run, &home().join("../docs"))? {
            eprintln!("written: {}", file.display());
        }
    }
    Ok(())
}

fn measure_all(args: &Args) -> anyhow::Result<()> {
    let began = Instant::now();
    let cases = cases::chosen(args.workloads.as_deref(), args.quick)?;
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 5 });
    cpu::raise_descriptors()?;
    process::end_with_signals()?;
    if cpu::cores()? < 2 {
        eprintln!("there is one core only: {}, and costs are higher than they would be", cpu::places()?);
    }
    let target = args.out.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(target).with_context(|| format!("{}", target.display()))?;
    let (entries, missing) = roster::prepare(args.peers.as_deref(), home(), target)?;
    for (name, why) in &missing {
        eprintln!("{name} does not take part: {why}");
    }
    let mut run = Run {
        began: output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        machine: machine()?,
        commit: output("git", &["-C", &home().display().to_string(), "rev-parse", "--short", "HEAD"]),
        rounds,
        peers: entries.iter().map(Entry::about).collect(),
        missing,
        samples: vec![],
    };
    let items = schedule::items(&cases, &entries, rounds);
    let times = |item: &Item| {
        schedule::times(args.quick, item.round, &cases[item.case].plan, entries[item.entry].name())
    };
    let expected = |item: &Item| schedule::expected(times(item), &cases[item.case].plan);
    let mut progress = Progress::new(items.iter().map(expected));
    eprintln!("{} samples, about {:.0} min", items.len(), progress.expected().as_secs_f64() / 60.0);
    let mut is_whole = true;
    for (place, item) in items.iter().enumerate() {
        let (case, entry) = (&cases[item.case], &entries[item.entry]);
        let peer = entry.peer(case).context("it was chosen for this case")?;
        let what = format!("{} {}, {}", case.workload, case.name, entry.name());
        let measured = measure(peer, entry.threads(), case, item.round, times(item));
        if process::ended_by().is_some() {
            let when = if measured.is_ok() { "after" } else { "in the middle of" };
            run.samples.extend(measured.ok());
            save(&run, &args.out)?;
            bail!("ended by a signal {when} {what}; {} has what was measured before", args.out.display());
        }
        progress.done(expected(item));
        let far =
            format!("[{}] round {} of {rounds}: {what}", progress.tell(began.elapsed()), item.round + 1);
        match measured {
            Ok(sample) => {
                eprintln!(
                    "{far}: {:.3} us a message, {:.0} messages/s, generator {:.0} %",
                    sample.cpu_ns as f64 / sample.messages as f64 / 1e3,
                    sample.messages as f64 / sample.seconds,
                    sample.generator * 100.0,
                );
                run.samples.push(sample);
            }
            Err(error) => {
                eprintln!("{far}: {error:#}");
                let why = format!("{error:#}").lines().next().unwrap_or("").to_string();
                is_whole &= !roster::is_needed(entry.name());
                if !run.missing.iter().any(|(name, _)| *name == what) {
                    run.missing.push((what, why));
                }
            }
        }
        // What was measured is not lost where a later round is interrupted.
        if items.get(place + 1).is_none_or(|next| next.round > item.round) {
            save(&run, &args.out)?;
        }
    }
    tell(&run, args.docs)?;
    println!("{}: {} samples, {:.0} s", args.out.display(), run.samples.len(), began.elapsed().as_secs_f64());
    if !is_whole {
        bail!("the limit or tagwire was not measured in all, as is said above");
    }
    Ok(())
}

fn save(run: &Run, file: &Path) -> anyhow::Result<()> {
    fs::write(file, serde_json::to_vec_pretty(run)?).with_context(|| format!("{}", file.display()))
}

/// What a command prints, its first line; empty where it is not there.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("").trim().to_string()
}

fn machine() -> anyhow::Result<Vec<(String, String)>> {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or("").to_string();
        line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_string())
    };
    Ok([
        ("processor", field("/proc/cpuinfo", "model name")),
        ("cores", format!("{}; {}", cpu::cores()?, cpu::places()?)),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", output("uname", &["-sr"])),
        ("libc", output("ldd", &["--version"])),
        ("rustc", output("rustc", &["-V"])),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .to_vec())
}
