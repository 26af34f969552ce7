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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reports(fails: &str) -> Vec<Report> {
        let all = cases::all();
        let cases: Vec<_> = all.iter().map(|case| (*case, case.name != fails)).collect();
        vec![Report::of("Python", &cases), Report::of("Lua", &cases)]
    }

    #[test]
    fn the_table_says_group_by_group_what_each_has_passed() {
        let text = replaced(&format!("before\n{BEGIN}old\n{END}after\n"), &reports("refused_name")).unwrap();
        assert!(text.starts_with(&format!(
            "before\n{BEGIN}| cases | what they show | Python | Lua |\n|---|---|---|---|\n"
        )));
        assert!(text.ends_with(&format!("{END}after\n")));
        let all = cases::COUNT;
        assert!(text.contains(" 9/10 | 9/10 |\n"), "{text}");
        assert!(text.contains(&format!("| all | | {}/{all} | {}/{all} |\n", all - 1, all - 1)), "{text}");
    }

    #[test]
    fn the_table_in_the_documents_says_that_every_client_has_passed_all_cases() {
        let text = include_str!("../../docs/CLIENTS.md");
        let table = text.split_once(BEGIN).unwrap().1.split_once(END).unwrap().0;
        let (head, last) = (table.lines().next().unwrap(), table.lines().last().unwrap());
        let languages = head.matches('|').count() - 3;
        assert!(languages >= 2, "{head}");
        assert_eq!(last.matches(&format!(" {0}/{0} |", cases::COUNT)).count(), languages, "{last}");
    }

    #[test]
    fn a_file_without_marks_is_refused() {
        assert!(replaced("no marks\n", &reports("")).is_err());
        assert!(replaced(BEGIN, &reports("")).is_err());
    }
}
