//! What is made of a run: the measured part of `docs/PERFORMANCE.md`, its plots, and a table for the terminal.
//!
//! ```text
//! result::Run -> figures (medians over rounds) -> goals (met, over, not measured) -> markdown, terminal
//!                                              -> svg
//! ```
//! The same run gives the same bytes. Nothing is measured here.

pub mod figures;
pub mod goals;
mod markdown;
mod numbers;
mod svg;
mod terminal;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::result::Run;
use figures::Figures;

/// Begins what is written by [`write()`]; what stands before it is written by hand.
pub const BEGIN: &str = "<!-- measured -->";
/// Ends it.
pub const END: &str = "<!-- /measured -->";

/// Puts `run` into `docs/PERFORMANCE.md`, between its two markers, and its plots into `docs/performance/`, from which those of an
/// earlier run are taken away. Returns what was written, the page first.
///
/// # Errors
/// The page is not there or does not have each marker once, in order: nothing is written then. Or a file cannot be written.
pub fn write(run: &Run, docs: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let page = docs.join("PERFORMANCE.md");
    let before = fs::read_to_string(&page).with_context(|| format!("reading {}", page.display()))?;
    let figures = Figures::new(run);
    let plots = svg::plots(&figures);
    let after = between_markers(&before, &markdown::measured(&figures, &plots))
        .with_context(|| format!("in {}", page.display()))?;

    let folder = docs.join("performance");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(svg::is_plot) {
            fs::remove_file(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    let mut written = vec![page.clone()];
    for plot in &plots {
        let path = folder.join(&plot.file);
        fs::write(&path, &plot.svg).with_context(|| format!("writing {}", path.display()))?;
        written.push(path);
    }
    fs::write(&page, after).with_context(|| format!("writing {}", page.display()))?;
    Ok(written)
}

/// The goals and the figures of `run` in columns, for the terminal.
#[must_use]
pub fn table(run: &Run) -> String {
    terminal::table(&Figures::new(run))
}

/// `page` with `part` between its markers.
fn between_markers(page: &str, part: &str) -> anyhow::Result<String> {
    for marker in [BEGIN, END] {
        let times = page.matches(marker).count();
        ensure!(
            times == 1,
            "the marker `{marker}` is there {times} times: what was measured goes between `{BEGIN}` and `{END}`, each once"
        );
    }
    let (head, rest) = page.split_once(BEGIN).context("no begin")?;
    let (_, tail) = rest.split_once(END).with_context(|| format!("`{END}` comes before `{BEGIN}`"))?;
    Ok(format!("{head}{BEGIN}\n{part}{END}{tail}"))
}
