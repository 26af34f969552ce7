//! `tagwire-bench`: measures the server beside its peers, and writes what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use tagwire_bench::cases::{self, Case, Plan};
use tagwire_bench::load::cpu;
use tagwire_bench::measure::{Times, measure};
use tagwire_bench::report;
use tagwire_bench::result::Run;
use tagwire_bench::roster::{self, Entry};

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
            ExitCode::FAILURE
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

/// Those that were asked for.
fn chosen(args: &Args) -> anyhow::Result<Vec<Case>> {
    let mut cases = cases::all();
    if let Some(names) = &args.workloads {
        let is = |case: &Case, name: &String| {
            *name == case.workload || *name == format!("{} {}", case.workload, case.name)
        };
        for name in names {
            if !cases.iter().any(|case| is(case, name)) {
                bail!("there is no workload {name:?}; `scripts/bench list` prints all");
            }
        }
        cases.retain(|case| names.iter().any(|name| is(case, name)));
    } else if args.quick {
        // What takes thousands of connections is left out, and so are the growth curves.
        cases.retain(|case| case.plan.clients() <= 1001 && case.workload.starts_with('W'));
    }
    Ok(cases)
}

fn times(quick: bool, round: u32, plan: &Plan) -> Times {
    let ms = Duration::from_millis;
    let traced = if round > 0 || matches!(plan, Plan::Storm { .. }) { ms(0) } else { ms(700) };
    if quick {
        Times { warm_up: ms(200), measured: ms(500), traced: traced / 3 }
    } else {
        Times { warm_up: ms(500), measured: ms(2000), traced }
    }
}

fn measure_all(args: &Args) -> anyhow::Result<()> {
    let began = Instant::now();
    let cases = chosen(args)?;
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 5 });
    cpu::raise_descriptors()?;
    if cpu::cores()? < 2 {
        bail!("two cores are needed: one for the servers, one for the load");
    }
    let target = args.out.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(target).with_context(|| format!("{}", target.display()))?;
    let (entries, missing) = roster::prepare(args.peers.as_deref(), home(), target)?;
    for (name, why) in &missing {
        eprintln!("{name} does not take part: {why}");
    }
    let mut run = Run {
        began: output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        machine: machine(),
        commit: output("git", &["-C", &home().display().to_string(), "rev-parse", "--short", "HEAD"]),
        rounds,
        peers: entries.iter().map(Entry::about).collect(),
        missing,
        samples: vec![],
    };
    let mut is_whole = true;
    for round in 0..rounds {
        for case in &cases {
            // Each is first in turn, so that none always runs on a machine that is warmer.
            for place in 0..entries.len() {
                let entry = &entries[(place + round as usize) % entries.len()];
                let Some(peer) = entry.peer(case) else { continue };
                let what = format!("{} {}, {}", case.workload, case.name, entry.name());
                let times = times(args.quick, round, &case.plan);
                match measure(peer, entry.threads(), case, round, times) {
                    Ok(sample) => {
                        eprintln!(
                            "[{:4.0} s] round {} of {rounds}: {what}: {:.3} us a message, {:.0} messages/s, generator {:.0} %",
                            began.elapsed().as_secs_f64(),
                            round + 1,
                            sample.cpu_ns as f64 / sample.messages as f64 / 1e3,
                            sample.messages as f64 / sample.seconds,
                            sample.generator * 100.0,
                        );
                        run.samples.push(sample);
                    }
                    Err(error) => {
                        eprintln!("{what}: {error:#}");
                        let why = format!("{error:#}").lines().next().unwrap_or("").to_string();
                        is_whole &= !roster::is_needed(entry.name());
                        if !run.missing.iter().any(|(name, _)| *name == what) {
                            run.missing.push((what, why));
                        }
                    }
                }
            }
        }
        // What was measured is not lost where a later round is interrupted.
        fs::write(&args.out, serde_json::to_vec_pretty(&run)?)?;
    }
    tell(&run, args.docs)?;
    println!("{}: {} samples, {:.0} s", args.out.display(), run.samples.len(), began.elapsed().as_secs_f64());
    if !is_whole {
        bail!("the limit or tagwire was not measured in all, as is said above");
    }
    Ok(())
}

/// What a command prints, its first line; empty where it is not there.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("").trim().to_string()
}

fn machine() -> Vec<(String, String)> {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or("").to_string();
        line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_string())
    };
    [
        ("processor", field("/proc/cpuinfo", "model name")),
        ("cores", cpu::cores().map_or(String::new(), |cores| cores.to_string())),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", output("uname", &["-sr"])),
        ("libc", output("ldd", &["--version"])),
        ("rustc", output("rustc", &["-V"])),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .to_vec()
}
