//! `tagwire docs`: a reference of the schema for people, browsers and language models.

use std::path::PathBuf;

use serde_json::json;
use tagwire_codegen::docs::Reference;
use tagwire_codegen::load::load_stack;
use tagwire_codegen::model::{Model, Origin};

use crate::failure::{Failure, Problem};
use crate::generate::folder::Plan;
use crate::settings::Settings;
use crate::{Answer, counted, say};

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  tagwire docs                            write docs/reference: reference.md, index.html, llms.txt
  tagwire docs --check                    only tell whether they are fresh (exit code 1: no)
  tagwire docs --stack                    with tagwire's own messages and close codes as an appendix
  tagwire docs --out site --title \"Tag!\"";

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of .proto files, or one file; imports are relative to the folder. May be given several times.
    /// Default: as in tagwire.toml, else `proto`.
    #[arg(long, value_name = "PATH")]
    schema: Vec<PathBuf>,
    /// Folder to write into.
    #[arg(long, value_name = "DIR", default_value = "docs/reference")]
    out: PathBuf,
    /// What the game is called. Default: the name in tagwire.toml, else the first part of the proto packages' names.
    #[arg(long)]
    title: Option<String>,
    /// With tagwire's own messages and close codes.
    #[arg(long)]
    stack: bool,
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
}

/// Writes it.
///
/// # Errors
/// Why nothing was written.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let settings = Settings::load(args.config.as_deref())?;
    let model = settings.read_schema(&args.schema)?;
    let stack = if args.stack { Some(load_stack()?) } else { None };
    let title = args.title.clone().or(settings.name).unwrap_or_else(|| first_name(&model));
    if title.chars().any(char::is_control) {
        return Err(Problem::new("a title is one line without control characters")
            .fix("write another")
            .into());
    }
    let files = Reference::of(&model, stack.as_ref(), &title).files();
    let mut plan = Plan::new(&args.out, "tagwire docs", "docs", files)?;
    if args.overwrite {
        plan.overwrite();
    }
    // With --check an edited file is what was asked about.
    if let Some(refusal) = plan.refusal(!args.check) {
        return Err(refusal);
    }
    if !args.check {
        plan.carry_out()?;
    }
    let answer = if args.check && !plan.is_fresh() { Answer::No } else { Answer::Yes };
    if args.json {
        let value = json!({
            "ok": answer == Answer::Yes,
            "check": args.check,
            "folder": plan.folder,
            "stale": plan.stale,
            "missing": plan.missing,
            "edited": plan.edited,
            "superfluous": plan.superfluous,
            "unchanged": plan.unchanged,
        });
        say(&value.to_string());
        return Ok(answer);
    }
    let folder = plan.folder.display();
    match (args.check, answer) {
        (false, _) => say(&format!(
            "{folder}: {} written, {} removed, {} unchanged",
            plan.stale.len() + plan.missing.len(),
            plan.superfluous.len(),
            plan.unchanged
        )),
        (true, Answer::Yes) => say(&format!("{folder}: fresh ({})", counted(plan.unchanged, "file"))),
        (true, Answer::No) => {
            plan.lines().iter().for_each(|line| say(line));
            say("fix: run this command without `--check`, and commit what it changes");
        }
    }
    Ok(answer)
}

/// The first part of the packages' names, where there are any.
fn first_name(model: &Model) -> String {
    let packages = model.packages(Origin::Game);
    let first =
        packages.iter().find(|package| !package.is_empty()).and_then(|package| package.split('.').next());
    first.unwrap_or("game").to_string()
}
