//! `tagwire gen`: everything that the settings ask for, from one schema, or nothing at all.
//!
//! ```text
//! flags + settings -> jobs -> schema, read once -> files of each job -> plans -> all of them carried out
//! ```
//!
//! Nothing is written before every job has its files and no plan is refused.

pub(crate) mod folder;
mod keywords;
mod plugin;
mod template;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tagwire_codegen::fingerprint::fingerprint;
use tagwire_codegen::load::load_stack;
use tagwire_codegen::model::{Model, Origin};
use tagwire_codegen::package::default_name;

use crate::failure::{Failure, Problem};
use crate::language::Language;
use crate::paths::{is_link, real, tidy};
use crate::settings::{Maker, Output, Settings};
use crate::source::Source;
use crate::{Answer, counted, say};
use folder::{Plan, leads_elsewhere};
use view::Schema;
use watch::Inputs;

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  tagwire gen                                  bring all that tagwire.toml asks for up to date
  tagwire gen --check                          only tell whether it is (exit code 1: no)
  tagwire gen --schema proto --out my_client   for a game of your own: writes my_client/<name>/
  tagwire gen --name my_game                   call the Python package so
  tagwire gen --from tagwires://play.example.com --username zoe
                                               the schema of a running server
  tagwire gen --watch                          again whenever the schema changes
  tagwire gen --template my/lua --out lua      a folder of Jinja templates (docs/guides/templates.md)
  tagwire gen --plugin protoc-gen-es --options target=ts --out web/gen
                                               a plugin for protoc, without protoc
  tagwire gen --model                          the schema as templates see it

tagwire.toml, here or in a folder above:
  [gen]
  schema = [\"proto\"]
  [[gen.output]]
  language = \"python\"
  out = \"clients/python/gen\"";

/// Its flags. They win over the settings.
#[derive(Default, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    /// Language of the client. May be given several times. Default: all that tagwire.toml names, else Python.
    #[arg(long, value_enum)]
    lang: Vec<Language>,
    /// Folder to write into; a client gets one of its own there. Default: as in tagwire.toml, else `clients/LANG/gen`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Name of the package. Default: the first part of the proto packages' names, where all share it.
    #[arg(long)]
    name: Option<String>,
    /// Folder of templates, instead of what tagwire.toml names. Needs `--out`, if that has no such output.
    #[arg(long, value_name = "DIR")]
    template: Option<PathBuf>,
    /// Plugin for protoc, by name or path, instead of what tagwire.toml names. Needs `--out`, if that has no such output.
    #[arg(long, value_name = "PROGRAM")]
    plugin: Option<String>,
    /// Parameter of the plugin: `key=value,key=value`.
    #[arg(long, requires = "plugin", value_name = "TEXT")]
    options: Option<String>,
    /// Write nothing; list what is stale, and exit with 1 if anything is.
    #[arg(long)]
    check: bool,
    /// Replace also what is not known to be generated, or was changed since.
    #[arg(long, conflicts_with = "check")]
    overwrite: bool,
    /// Do it again whenever the schema, a template or the settings change, until it is ended.
    #[arg(long, conflicts_with_all = ["check", "stack"])]
    watch: bool,
    /// Write nothing; print the schema as templates see it, in JSON.
    #[arg(long, conflicts_with_all = ["check", "watch", "overwrite", "stack", "lang", "template", "plugin", "out"])]
    model: bool,
    /// Tell all in one JSON object on the standard output, what is wrong too.
    #[arg(long)]
    pub(crate) json: bool,
    /// The file with the settings. Default: the nearest tagwire.toml with a table [gen], up to the repository's root.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The stack's own messages instead of a game's, to where the client of the language has them.
    #[arg(long, hide = true, conflicts_with_all = ["schema", "name", "config"])]
    stack: bool,
}

/// Does what the flags ask for.
///
/// # Errors
/// Why nothing was written.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    if args.model {
        let settings = Settings::load(args.config.as_deref())?;
        let model = args.source.read(&settings)?;
        let name = args.name.as_deref().or(settings.name.as_deref());
        let schema = Schema::of(&model, &game_name(&model, name)?)?;
        let text = serde_json::to_string_pretty(&schema).map_err(|error| Problem::new(error.to_string()))?;
        say(&text);
        return Ok(Answer::Yes);
    }
    if args.watch {
        inputs(args)?;
        // Later it is waited for; at the beginning it is a mistake.
        if let Some(problem) = Settings::load(args.config.as_deref())?.lost_schema(&args.source.schema) {
            return Err(problem.into());
        }
        watch::watch(|| inputs(args), || tell_once(args))?;
    }
    let done = once(args)?;
    done.tell(args.json);
    Ok(done.answer())
}

/// Writes all that the settings in `config` ask for.
///
/// # Errors
/// As [`run`].
pub(crate) fn anew(config: &Path) -> Result<(), Failure> {
    once(&Args { config: Some(config.to_path_buf()), ..Args::default() }).map(|_| ())
}

/// One of many runs: what goes wrong is said, and the next may go better.
fn tell_once(args: &Args) {
    match once(args) {
        Ok(done) => done.tell(args.json),
        Err(failure) => failure.tell(args.json),
    }
    if !args.json {
        say("watching; Ctrl-C ends it");
    }
}

/// What a run depends on.
fn inputs(args: &Args) -> Result<Inputs, Failure> {
    let settings = Settings::load(args.config.as_deref())?;
    let outputs = outputs(args, &settings)?;
    let templates = outputs.into_iter().filter_map(|output| match output.maker {
        Maker::Template(folder, _) => Some(folder),
        _ => None,
    });
    if args.source.is_server(&settings) {
        let what = "`--watch` looks at files, and the settings ask a server";
        return Err(Problem::new(what).fix("name the files, `--schema`").into());
    }
    let schema = if args.source.schema.is_empty() { &settings.schema } else { &args.source.schema };
    Ok(Inputs::new(schema, templates.collect(), settings.file.clone()))
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
        Some(settings) => args.source.read(settings)?,
    };
    let read = began.elapsed();
    let mut made: Vec<Made> = vec![];
    let mut written: BTreeMap<PathBuf, String> = BTreeMap::new();
    let inputs = settings.as_ref().map_or_else(Folders::default, |s| Folders::of(args, s, &outputs));
    for output in &outputs {
        let began = Instant::now();
        let beside = settings.as_ref().map_or(Path::new(""), |s| &s.folder);
        let (folder, files) = print(&model, args.stack, output, beside)?;
        let took = began.elapsed();
        let label = output.maker.label();
        let place = real(&folder);
        if made.iter().any(|other| other.label == label && real(&other.plan.folder) == place) {
            let what = format!("{label} is to be written twice into {}", folder.display());
            return Err(Problem::new(what).fix("give one of them another `out` or `name`").into());
        }
        for name in files.keys() {
            if let Some(other) = written.insert(place.join(name), label.clone()) {
                let what = format!("both {other} and {label} would write it");
                let fix = "give one of them another `out`";
                return Err(Problem::new(what).at(&folder.join(name), None).fix(fix).into());
            }
            if let Some(problem) = inputs.refusal(&place.join(name)) {
                return Err(problem.at(&folder.join(name), None).into());
            }
        }
        let mut plan = Plan::new(&folder, "tagwire gen", &label, files)?;
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

/// The folders that all is made of, where nothing may be made: it would be an input of the next run, and that without end.
#[derive(Default)]
struct Folders {
    /// Each as it is shown, and whole.
    templates: Vec<(PathBuf, PathBuf)>,
    schema: Vec<(PathBuf, PathBuf)>,
}

impl Folders {
    fn of(args: &Args, settings: &Settings, outputs: &[Output]) -> Self {
        let both = |folder: &PathBuf| (folder.clone(), real(folder));
        let templates = outputs.iter().filter_map(|output| match &output.maker {
            Maker::Template(folder, _) => Some(both(folder)),
            _ => None,
        });
        let schema = match &args.source.schema {
            _ if args.source.is_server(settings) => &vec![],
            flags if flags.is_empty() => &settings.schema,
            flags => flags,
        };
        Folders { templates: templates.collect(), schema: schema.iter().map(both).collect() }
    }

    /// What is wrong with writing this file. Beside `.proto` files others may be: they are not read.
    fn refusal(&self, file: &Path) -> Option<Problem> {
        let around = |folders: &[(PathBuf, PathBuf)]| {
            folders.iter().find(|(_, folder)| file.starts_with(folder)).map(|(shown, _)| shown.clone())
        };
        let is_schema = file.extension().is_some_and(|ending| ending == "proto");
        let (folder, what) = match (around(&self.templates), around(&self.schema).filter(|_| is_schema)) {
            (Some(folder), _) => (folder, "templates"),
            (None, Some(folder)) => (folder, "the schema"),
            (None, None) => return None,
        };
        let what =
            format!("it is in {}, the folder of {what}, and the next run would read it", folder.display());
        Some(Problem::new(what).fix("write somewhere else: another `out`"))
    }
}

/// What is to be written: the settings' outputs, or those of them that the flags pick, changed by the other flags.
fn outputs(args: &Args, settings: &Settings) -> Result<Vec<Output>, Failure> {
    let default = |language: Language| Output {
        maker: Maker::Language(language),
        out: tidy(&settings.folder.join(language.out())),
        name: None,
    };
    let set =
        |same: &dyn Fn(&Maker) -> bool| settings.outputs.iter().filter(|o| same(&o.maker)).cloned().collect();
    let mut outputs: Vec<Output> = vec![];
    for language in &args.lang {
        let set: Vec<_> = set(&|maker| *maker == Maker::Language(*language));
        outputs.extend(if set.is_empty() { vec![default(*language)] } else { set });
    }
    // By flag, with what the settings say of it, if they do.
    let mut by_flag = |set: Vec<Output>, maker: Maker| match (set.is_empty(), &args.out) {
        (false, _) => {
            outputs.extend(set);
            Ok(())
        }
        (true, Some(out)) => {
            outputs.push(Output { maker, out: tidy(out), name: None });
            Ok(())
        }
        (true, None) => {
            Err(Problem::new(format!("it is not said where to write what {} makes", maker.label()))
                .fix("name a folder, `--out DIR`"))
        }
    };
    if let Some(folder) = &args.template {
        let place = real(folder);
        let set = set(&|maker| matches!(maker, Maker::Template(known, _) if real(known) == place));
        by_flag(set, Maker::Template(tidy(folder), toml::Table::new()))?;
    }
    if let Some(name) = &args.plugin {
        // A name is looked up, a path is a place.
        let path = |name: &str| name.contains('/').then(|| real(Path::new(name)));
        let same = |known: &str| known == name || path(name).is_some() && path(known) == path(name);
        let set = set(&|maker| matches!(maker, Maker::Plugin(known, _) if same(known)));
        by_flag(set, Maker::Plugin(name.clone(), String::new()))?;
    }
    if let Some(text) = &args.options {
        for output in &mut outputs {
            if let Maker::Plugin(_, options) = &mut output.maker {
                options.clone_from(text);
            }
        }
    }
    if outputs.is_empty() {
        outputs = settings.outputs.clone();
    }
    if outputs.is_empty() {
        outputs.push(default(Language::Python));
    }
    for output in &mut outputs {
        output.name = args.name.clone().or(output.name.take()).or(settings.name.clone());
        if let Some(out) = &args.out {
            output.out = tidy(out);
        }
    }
    // What the settings want in several places is one thing where a flag names the place.
    let mut once: Vec<Output> = vec![];
    for output in outputs {
        if !once.contains(&output) {
            once.push(output);
        }
    }
    if args.out.is_some() && once.len() > 1 {
        let what = format!("`--out` is one folder, and there are {} to be written", once.len());
        return Err(Problem::new(what).fix("say which, `--lang`; or write them into tagwire.toml").into());
    }
    Ok(once)
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
    beside: &Path,
) -> Result<(PathBuf, BTreeMap<String, Vec<u8>>), Failure> {
    let bytes =
        |files: BTreeMap<String, String>| files.into_iter().map(|(name, text)| (name, text.into())).collect();
    match &output.maker {
        Maker::Language(language) => {
            let origin = if stack { Origin::Stack } else { Origin::Game };
            let package = language.print(model, origin, output.name.as_deref())?;
            let folder = if stack { output.out.clone() } else { output.out.join(&package.name) };
            // It is not the user who has named this one.
            if !stack && is_link(&folder) {
                return Err(leads_elsewhere(&folder).into());
            }
            Ok((folder, bytes(package.files)))
        }
        Maker::Template(folder, options) => {
            let schema = Schema::of(model, &game_name(model, output.name.as_deref())?)?;
            Ok((output.out.clone(), template::render(&schema, folder, options)?))
        }
        Maker::Plugin(name, options) => {
            Ok((output.out.clone(), bytes(plugin::run(model, name, options, beside)?)))
        }
    }
}

/// The name of the game: the one that was chosen, else the first part that all packages share.
fn game_name(model: &Model, chosen: Option<&str>) -> Result<String, Failure> {
    if let Some(name) = chosen {
        return Ok(name.to_string());
    }
    Ok(default_name(model, "game")?)
}

impl Done {
    fn answer(&self) -> Answer {
        let fresh = !self.check || self.made.iter().all(|one| one.plan.is_fresh());
        if fresh { Answer::Yes } else { Answer::No }
    }

    /// Says it, to people or programs.
    fn tell(&self, json: bool) {
        if json {
            say(&self.json().to_string());
        } else {
            self.lines().iter().for_each(|line| say(line));
        }
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
            let fix = "fix: run `tagwire gen` as here but for `--check`, and commit what it changes";
            lines.push(fix.to_string());
        }
        lines
    }

    fn json(&self) -> serde_json::Value {
        let outputs = self.made.iter().map(|Made { label, plan, took }| {
            let (folder, print_ms) = (&plan.folder, took.as_millis());
            if self.check {
                json!({
                    "output": label,
                    "folder": folder,
                    "fresh": plan.is_fresh(),
                    "stale": plan.stale,
                    "missing": plan.missing,
                    "edited": plan.edited,
                    "superfluous": plan.superfluous,
                    "unchanged": plan.unchanged,
                    "print_ms": print_ms,
                })
            } else {
                json!({
                    "output": label,
                    "folder": folder,
                    "written": Vec::from_iter(plan.stale.iter().chain(&plan.missing)),
                    "removed": plan.superfluous,
                    "unchanged": plan.unchanged,
                    "print_ms": print_ms,
                })
            }
        });
        json!({
            "ok": self.answer() == Answer::Yes,
            "fingerprint": self.fingerprint,
            "read_ms": self.read.as_millis(),
            "outputs": outputs.collect::<Vec<_>>(),
        })
    }
}
