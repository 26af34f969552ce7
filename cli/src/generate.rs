//! `tagwire gen`: everything that the settings ask for, from one schema, or nothing at all.
//!
//! ```text
//! flags + settings -> jobs -> schema, read once -> files of each job -> plans -> all of them carried out
//! ```
//!
//! Nothing is written before every job has its files and no plan is refused.

pub(crate) mod folder;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use tagwire_codegen::fingerprint::fingerprint;
use tagwire_codegen::load::load_stack;
use tagwire_codegen::model::{Model, Origin};

use crate::failure::{Failure, Problem};
use crate::language::Language;
use crate::settings::{Maker, Output, Settings};
use crate::{Answer, counted, say};
use folder::Plan;

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  tagwire gen                                  bring all that tagwire.toml asks for up to date
  tagwire gen --check                          only tell whether it is (exit code 1: no)
  tagwire gen --schema proto --out my_client   for a game of your own: writes my_client/<name>/
  tagwire gen --name my_game                   call the Python package so

tagwire.toml, here or in a folder above:
  [gen]
  schema = [\"proto\"]
  [[gen.output]]
  language = \"python\"
  out = \"clients/python/gen\"";

/// Its flags. They win over the settings.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of .proto files, or one file; imports are relative to the folder. May be given several times.
    /// Default: as in tagwire.toml, else `proto`.
    #[arg(long, value_name = "PATH")]
    schema: Vec<PathBuf>,
    /// Language of the client. May be given several times. Default: all that tagwire.toml names, else Python.
    #[arg(long, value_enum)]
    lang: Vec<Language>,
    /// Folder to write into; a client gets one of its own there. Default: as in tagwire.toml, else `clients/LANG/gen`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Name of the package. Default: the first part of the proto packages' names, where all share it.
    #[arg(long)]
    name: Option<String>,
    /// Write nothing; list what is stale, and exit with 1 if anything is.
    #[arg(long)]
    check: bool,
    /// Replace also what is not known to be generated, or was changed since.
    #[arg(long, conflicts_with = "check")]
    overwrite: bool,
    /// Tell all in one JSON object on the standard output, what is wrong too.
    #[arg(long)]
    pub(crate) json: bool,
    /// The file with the settings. Default: the nearest tagwire.toml with a table [gen], up to the repository's root.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The stack's own messages instead of a game's, to `clients/LANG/tagwire/gen`.
    #[arg(long, hide = true, conflicts_with_all = ["schema", "name", "config"])]
    stack: bool,
}

/// Does what the flags ask for.
///
/// # Errors
/// Why nothing was written.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let done = once(args)?;
    if args.json {
        say(&done.json().to_string());
    } else {
        done.lines().iter().for_each(|line| say(line));
    }
    Ok(done.answer())
}

/// What came of one run.
struct Done {
    check: bool,
    fingerprint: String,
    /// How long reading the schema took.
    read: Duration,
    made: Vec<Made>,
}

/// What came of one output.
struct Made {
    label: String,
    plan: Plan,
    /// How long printing took.
    took: Duration,
}

fn once(args: &Args) -> Result<Done, Failure> {
    let (outputs, settings) = match args.stack {
        true => (stack_outputs(args)?, None),
        false => {
            let settings = Settings::load(args.config.as_deref())?;
            (outputs(args, &settings)?, Some(settings))
        }
    };
    let began = Instant::now();
    let model = match &settings {
        None => load_stack()?,
        Some(settings) => settings.read_schema(&args.schema)?,
    };
    let read = began.elapsed();
    let mut made: Vec<Made> = vec![];
    for output in &outputs {
        let began = Instant::now();
        let (folder, files) = print(&model, args.stack, output)?;
        let took = began.elapsed();
        let label = output.maker.label();
        if made.iter().any(|other| other.plan.folder == folder && other.label == label) {
            let what = format!("{label} is to be written twice into {}", folder.display());
            return Err(Problem::new(what).fix("give one of them another `out` or `name`").into());
        }
        let mut plan = Plan::new(&folder, &label, files)?;
        if args.overwrite {
            plan.overwrite();
        }
        made.push(Made { label, plan, took });
    }
    // With --check an edited file is what was asked about.
    let refused: Vec<Problem> =
        made.iter().filter_map(|one| one.plan.refusal(!args.check)).flat_map(|failure| failure.0).collect();
    if !refused.is_empty() {
        return Err(Failure(refused));
    }
    if !args.check {
        made.iter().try_for_each(|one| one.plan.carry_out())?;
    }
    let fingerprint = fingerprint(&model).iter().map(|b| format!("{b:02x}")).collect();
    Ok(Done { check: args.check, fingerprint, read, made })
}

/// What is to be written: the settings' outputs, or those of them that the flags pick, changed by the other flags.
fn outputs(args: &Args, settings: &Settings) -> Result<Vec<Output>, Failure> {
    let default = |language: Language| Output {
        maker: Maker::Language(language),
        out: settings.folder.join(language.out()),
        name: None,
    };
    let mut outputs = vec![];
    for language in &args.lang {
        let set: Vec<_> =
            settings.outputs.iter().filter(|o| o.maker == Maker::Language(*language)).cloned().collect();
        outputs.extend(if set.is_empty() { vec![default(*language)] } else { set });
    }
    if outputs.is_empty() {
        outputs = settings.outputs.clone();
    }
    if outputs.is_empty() {
        outputs.push(default(Language::Python));
    }
    outputs.dedup();
    if let Some(out) = &args.out {
        if outputs.len() > 1 {
            let what = format!("`--out` is one folder, and there are {} to be written", outputs.len());
            return Err(Problem::new(what)
                .fix("say which, `--lang`; or write them into tagwire.toml")
                .into());
        }
        outputs.iter_mut().for_each(|output| output.out.clone_from(out));
    }
    for output in &mut outputs {
        output.name = args.name.clone().or(output.name.take()).or(settings.name.clone());
    }
    Ok(outputs)
}

/// The same of the stack's own messages, in all languages.
fn stack_outputs(args: &Args) -> Result<Vec<Output>, Failure> {
    let all: &[Language] = clap::ValueEnum::value_variants();
    let languages = if args.lang.is_empty() { all } else { &args.lang };
    let outputs: Vec<Output> = languages
        .iter()
        .map(|language| Output {
            maker: Maker::Language(*language),
            out: args.out.clone().unwrap_or_else(|| language.stack_folder()),
            name: None,
        })
        .collect();
    match args.out {
        Some(_) if outputs.len() > 1 => {
            Err(Problem::new("`--out` is one folder, and there are several to be written")
                .fix("say which, `--lang`")
                .into())
        }
        _ => Ok(outputs),
    }
}

/// The files of one output, and the folder that they belong into.
fn print(
    model: &Model,
    stack: bool,
    output: &Output,
) -> Result<(PathBuf, BTreeMap<String, String>), Failure> {
    match &output.maker {
        Maker::Language(language) => {
            let origin = if stack { Origin::Stack } else { Origin::Game };
            let package = language.print(model, origin, output.name.as_deref())?;
            let folder = if stack { output.out.clone() } else { output.out.join(&package.name) };
            Ok((folder, package.files))
        }
        maker @ (Maker::Template(..) | Maker::Plugin(..)) => {
            Err(Problem::new(format!("{}: templates and plugins are not there yet", maker.label())).into())
        }
    }
}

impl Done {
    fn answer(&self) -> Answer {
        let fresh = !self.check || self.made.iter().all(|one| one.plan.is_fresh());
        if fresh { Answer::Yes } else { Answer::No }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![];
        for Made { plan, .. } in &self.made {
            let folder = plan.folder.display();
            if !self.check {
                lines.push(format!(
                    "{folder}: {} written, {} removed, {} unchanged",
                    plan.stale.len() + plan.missing.len(),
                    plan.superfluous.len(),
                    plan.unchanged
                ));
            } else if plan.is_fresh() {
                lines.push(format!("{folder}: fresh ({})", counted(plan.unchanged, "file")));
            } else {
                lines.extend(plan.lines());
            }
        }
        if self.answer() == Answer::No {
            let fix = "fix: run `scripts/gen`, or this command without `--check`, and commit what it changes";
            lines.push(fix.to_string());
        }
        lines
    }

    fn json(&self) -> serde_json::Value {
        let outputs = self.made.iter().map(|Made { label, plan, took }| {
            json!({
                "output": label,
                "folder": plan.folder,
                "stale": plan.stale,
                "missing": plan.missing,
                "edited": plan.edited,
                "superfluous": plan.superfluous,
                "unchanged": plan.unchanged,
                "print_ms": took.as_millis(),
            })
        });
        json!({
            "ok": self.answer() == Answer::Yes,
            "check": self.check,
            "fingerprint": self.fingerprint,
            "read_ms": self.read.as_millis(),
            "outputs": outputs.collect::<Vec<_>>(),
        })
    }
}
