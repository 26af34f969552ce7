//! The table of clients in `docs/CLIENTS.md`: what each has passed, group by group.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::cases;
use crate::run::Report;

const BEGIN: &str = "<!-- cases: written by tagwire-conformance --write -->\n";
const END: &str = "<!-- end of cases -->\n";

/// Puts the table into the file, between its marks.
pub(crate) fn write(path: &Path, reports: &[Report]) -> Result<()> {
    let text = read(path)?;
    let fresh = replaced(&text, reports).with_context(|| path.display().to_string())?;
    if fresh != text {
        std::fs::write(path, fresh).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// Fails unless the file has this table.
pub(crate) fn check(path: &Path, reports: &[Report]) -> Result<()> {
    let text = read(path)?;
    let fresh = replaced(&text, reports).with_context(|| path.display().to_string())?;
    ensure!(fresh == text, "the table in {} is not that of this run; write it with --write", path.display());
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn replaced(text: &str, reports: &[Report]) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("no line {}", BEGIN.trim()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("no line {}", END.trim()))?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", table(reports)))
}

fn table(reports: &[Report]) -> String {
    let mut text = String::from("| cases | what they show |");
    let mut rule = String::from("|---|---|");
    for report in reports {
        text += &format!(" {} |", report.language);
        rule += "---|";
    }
    text += &format!("\n{rule}\n");
    for (group, shows) in cases::GROUPS {
        text += &format!("| {group} | {shows} |");
        for report in reports {
            let of_group = || report.cases.iter().filter(|outcome| outcome.group == *group);
            let passed = of_group().filter(|outcome| outcome.failure.is_none()).count();
            text += &format!(" {passed}/{} |", of_group().count());
        }
        text.push('\n');
    }
    text += "| all | |";
    for report in reports {
        text += &format!(" {}/{} |", report.passed(), cases::COUNT);
    }
    text.push('\n');
    text
}
