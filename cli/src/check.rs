//! `tagwire check`: whether the schema keeps the rules, and whether it may come after what it was.

use std::fs;
use std::path::PathBuf;

use anstyle::AnsiColor;
use serde_json::json;
use tagwire_codegen::fingerprint;
use tagwire_codegen::lock::{Broken, Judgement, Lock, judge};
use tagwire_codegen::model::{Model, Origin};

use crate::failure::{Failure, io_at};
use crate::history::{self, Before};
use crate::settings::Settings;
use crate::{Answer, counted, say};

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  tagwire check                           the rules, and schema.lock if there is one
  tagwire check --update                  the schema as it is now goes into schema.lock; commit it when you release
  tagwire check --against main            compare with a branch, a tag or a commit of git
  tagwire check --against ../old/proto    with a folder, another schema.lock, or a descriptor set
  tagwire check --json | jq .breaking

schema.lock lies beside the .proto files. It remembers what players out there have, and each tag and number that was
ever used, so that none is given to something else.

Exit codes: 0, nothing breaks; 1, something does; 2, it cannot be told.";

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of .proto files, or one file; imports are relative to the folder. May be given several times.
    /// Default: as in tagwire.toml, else `proto`.
    #[arg(long, value_name = "PATH")]
    schema: Vec<PathBuf>,
    /// What the schema is compared with: a schema.lock, a descriptor set, a folder, or a revision of git.
    /// Default: schema.lock beside the schema, if it is there.
    #[arg(long, value_name = "GIT_REV|FILE")]
    against: Option<String>,
    /// Write the schema as it is now into schema.lock, if nothing breaks.
    #[arg(long, conflicts_with = "against")]
    update: bool,
    /// With --update: write it though something breaks, because no client out there has the old schema.
    #[arg(long, requires = "update")]
    accept_breaking: bool,
    /// Tell all in one JSON object on the standard output, what is wrong too.
    #[arg(long)]
    pub(crate) json: bool,
    /// The file with the settings. Default: the nearest tagwire.toml with a table [gen], up to the repository's root.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Judges the schema and tells what there is.
///
/// # Errors
/// Why that cannot be told: the schema is wrong, or what it is to be compared with cannot be read.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let settings = Settings::load(args.config.as_deref())?;
    let model = settings.read_schema(&args.schema)?;
    let roots = if args.schema.is_empty() { &settings.schema } else { &args.schema };
    let path = history::lock_path(roots);
    let lock = history::read_lock(&path)?;
    let before = match &args.against {
        Some(against) => Some(history::find(against, roots, lock.as_ref())?),
        None => lock.clone().map(|lock| Before { lock, name: path.display().to_string() }),
    };
    let judgement = before.as_ref().map(|before| judge(&before.lock, &model)).unwrap_or_default();
    let fine = judgement.broken.is_empty();
    let mut done = Done { model: &model, before: before.as_ref(), judgement, lock: path, written: None };
    if args.update && (fine || args.accept_breaking) {
        let text = Lock::of(&model, lock.as_ref()).to_string();
        let old = fs::read_to_string(&done.lock).unwrap_or_default();
        if old != text {
            fs::write(&done.lock, &text).map_err(io_at(&done.lock))?;
        }
        done.written = Some(old != text);
    }
    if args.json {
        say(&done.json().to_string());
    } else {
        done.lines(args).iter().for_each(|line| say(line));
    }
    Ok(done.answer())
}

/// What came of it.
struct Done<'a> {
    model: &'a Model,
    before: Option<&'a Before>,
    judgement: Judgement,
    lock: PathBuf,
    /// Whether the lock became another; `None`: it was not to be written.
    written: Option<bool>,
}

impl Done<'_> {
    fn answer(&self) -> Answer {
        if self.judgement.broken.is_empty() || self.written.is_some() { Answer::Yes } else { Answer::No }
    }

    fn services(&self) -> usize {
        self.model.services.iter().filter(|s| s.origin == Origin::Game).count()
    }

    fn messages(&self) -> usize {
        self.model.tagged(Origin::Game).len()
    }

    fn fingerprint(&self) -> String {
        fingerprint::fingerprint(self.model).iter().map(|b| format!("{b:02x}")).collect()
    }

    fn lines(&self, args: &Args) -> Vec<String> {
        let Judgement { broken, changes } = &self.judgement;
        let word = match self.answer() {
            Answer::No => AnsiColor::Red.on_default().bold(),
            Answer::Yes => AnsiColor::Yellow.on_default().bold(),
        };
        let mut lines: Vec<String> = broken
            .iter()
            .map(|b| {
                let Broken { location, place, what, breaks, who, fix } = b;
                format!(
                    "{word}breaking:{word:#} {location}: {place}: {what}: {breaks}\n  who: {who}\n  fix: {fix}"
                )
            })
            .collect();
        lines.extend(changes.iter().map(|(place, what)| format!("compatible: {place}: {what}")));
        if let Some(before) = self.before
            && self.answer() == Answer::No
        {
            lines.push(format!("{} since {}", counted(broken.len(), "breaking change"), before.name));
            if args.against.is_none() {
                lines.push(format!(
                    "fix: as said with each; where no client has the old schema, `tagwire check --update \
                     --accept-breaking` writes the new one into {}",
                    self.lock.display()
                ));
            }
            return lines;
        }
        lines.push(match (self.written, self.before) {
            (Some(true), _) => format!("{}: written; commit it", self.lock.display()),
            (Some(false), _) => format!("{}: unchanged", self.lock.display()),
            (None, Some(before)) if changes.is_empty() => format!("{}: no change", before.name),
            (None, Some(before)) => {
                format!("{}: {}, all compatible", before.name, counted(changes.len(), "change"))
            }
            (None, None) => format!(
                "{}: not there, so nothing is compared; `tagwire check --update` writes it",
                self.lock.display()
            ),
        });
        lines.push(format!(
            "ok: {}, {}, fingerprint {}",
            counted(self.messages(), "message"),
            counted(self.services(), "service"),
            self.fingerprint(),
        ));
        lines
    }

    fn json(&self) -> serde_json::Value {
        let broken = self.judgement.broken.iter().map(|b| {
            json!({
                "file": b.location.path,
                "line": b.location.line,
                "place": b.place,
                "what": b.what,
                "breaks": b.breaks,
                "who": b.who,
                "fix": b.fix,
            })
        });
        let changes = self.judgement.changes.iter();
        let changes = changes.map(|(place, what)| json!({ "place": place, "what": what }));
        json!({
            "ok": self.answer() == Answer::Yes,
            "fingerprint": self.fingerprint(),
            "messages": self.messages(),
            "services": self.services(),
            "against": self.before.map(|before| &before.name),
            "breaking": broken.collect::<Vec<_>>(),
            "compatible": changes.collect::<Vec<_>>(),
            "lock": self.lock,
            "written": self.written,
        })
    }
}
