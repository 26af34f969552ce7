//! `tagwire check`: whether the schema keeps the rules.

use std::path::PathBuf;

use tagwire_codegen::fingerprint;
use tagwire_codegen::model::Origin;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::{Answer, counted, say};

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of .proto files, or one file; imports are relative to the folder. May be given several times.
    /// Default: as in tagwire.toml, else `proto`.
    #[arg(long, value_name = "PATH")]
    schema: Vec<PathBuf>,
}

/// Judges the schema and tells what there is.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let model = Settings::load(None)?.read_schema(&args.schema)?;
    let services = model.services.iter().filter(|s| s.origin == Origin::Game).count();
    let fingerprint: String = fingerprint::fingerprint(&model).iter().map(|b| format!("{b:02x}")).collect();
    say(&format!(
        "ok: {}, {}, fingerprint {fingerprint}",
        counted(model.tagged(Origin::Game).len(), "message"),
        counted(services, "service"),
    ));
    Ok(Answer::Yes)
}
