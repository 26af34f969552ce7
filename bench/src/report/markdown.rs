//! The measured part of `docs/PERFORMANCE.md`.

use std::fmt::Write as _;

use super::figures::{CURVES, Figures, Key, Kind, LIMIT, Quantity, RSS_AT_HALF, WORKLOADS};
use super::goals::{GOALS, Goal, Outcome};
use super::numbers::{bound, bytes, mebibytes, microseconds, number, of_goal, plain, with_span};
use super::svg::{About, Plot};
use crate::schedule::CURVE_ROUNDS;

/// Below so many rounds a median says little.
pub(super) const ENOUGH_ROUNDS: u32 = 5;
/// Above this share of its core the generator may have been the limit of a rate.
pub(super) const BUSY_GENERATOR: f64 = 0.95;

/// Everything between the markers.
pub(super) fn measured(figures: &Figures<'_>, plots: &[Plot]) -> String {
    let mut page = String::new();
    how(figures, &mut page);
    goals(figures, &mut page);
    for workload in figures.workloads() {
        workload_tables(figures, workload, &mut page);
        pictures(plots, About::Workload, workload, &mut page);
    }
    for (curve, words) in CURVES {
        growth(figures, curve, words, &mut page);
        pictures(plots, About::Curve, curve, &mut page);
    }
    who(figures, &mut page);
    page
}

/// Writing to a string does not fail.
macro_rules! line {
    ($page:expr $(, $($text:tt)*)?) => { { let _ = writeln!($page $(, $($text)*)?); } };
}

fn how(figures: &Figures<'_>, page: &mut String) {
    let run = figures.run;
    line!(page, "\n## What it was measured on\n");
    line!(page, "| | |\n|---|---|");
    line!(page, "| begun | {} |", cell(&run.began));
    line!(page, "| commit | {} |", cell(&run.commit));
    for (name, found) in &run.machine {
        line!(page, "| {} | {} |", cell(name), cell(found));
    }
    line!(
        page,
        "\n{} rounds, of growth curves at most {CURVE_ROUNDS}; in each every peer starts anew. Figures are medians over the rounds.\n\
         A ratio is taken within a round, between two costs of that round; behind it in brackets the smallest and the largest of all rounds.\n\
         Costs are processor time of all threads and processes of the server. System calls were counted by strace after what was timed.",
        run.rounds
    );
    if run.rounds < ENOUGH_ROUNDS {
        line!(page, "\n**Fewer than {ENOUGH_ROUNDS} rounds: a first look, no result.**");
    }
}

fn goals(figures: &Figures<'_>, page: &mut String) {
    line!(page, "\n## Goals\n");
    line!(page, "| workload | what | goal | measured | span | |\n|---|---|--:|--:|--:|---|");
    for goal in &GOALS {
        let (seen, verdict) = match goal.judge(figures) {
            Outcome::Met(seen) => (Some(seen), "met"),
            Outcome::Over(seen) => (Some(seen), "**over**"),
            Outcome::NotMeasured => (None, "not measured"),
        };
        let measured = seen.map_or("-".to_string(), |seen| of_goal(goal, seen.median));
        let span = seen.map_or("-".to_string(), |seen| span(goal, seen.min, seen.max));
        let Goal { workload, what, .. } = goal;
        line!(page, "| {workload} | {what} | {} | {measured} | {span} | {verdict} |", bound(goal));
    }
}

fn span(goal: &Goal, min: f64, max: f64) -> String {
    format!("{} to {}", of_goal(goal, min), of_goal(goal, max))
}

fn workload_tables(figures: &Figures<'_>, workload: &str, page: &mut String) {
    match WORKLOADS.iter().find(|(name, ..)| *name == workload) {
        Some((_, what, _)) => line!(page, "\n## {workload}: {what}"),
        None => line!(page, "\n## {}", cell(workload)),
    }
    for case in figures.cases(workload) {
        case_table(figures, workload, case, page);
    }
}

fn case_table(figures: &Figures<'_>, workload: &str, case: &str, page: &mut String) {
    let peers = figures.peers_of(workload, case);
    let key = |peer| Key { workload, case, peer };
    let compared = figures.base(key(LIMIT)).map_or("ratio".to_string(), |(_, words)| format!("over {words}"));
    let per_session =
        peers.iter().any(|&peer| figures.spread(Quantity::MemoryPerSession, key(peer)).is_some());
    line!(page, "\n### {}, {}\n", cell(workload), cell(case));
    line!(
        page,
        "| | CPU per message, us | {compared} | reads | writes | all calls | messages/s | p50, us | p99, us | p99.9, us | memory, MiB |{}",
        if per_session { " per session, B |" } else { "" }
    );
    line!(page, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|{}", if per_session { "--:|" } else { "" });
    let mut busy = Vec::new();
    for &peer in &peers {
        let figure = |what, print: fn(f64) -> String| {
            figures.spread(what, key(peer)).map_or("-".to_string(), |seen| print(seen.median))
        };
        let is_busy =
            figures.spread(Quantity::Generator, key(peer)).is_some_and(|seen| seen.max >= BUSY_GENERATOR);
        if is_busy {
            busy.push(cell(peer));
        }
        let to_base = figures.to_base(key(peer));
        let cells = [
            cell(peer),
            figure(Quantity::Cost, microseconds),
            to_base.map_or("-".to_string(), |seen| with_span(seen, figures.run.rounds)),
            figure(Quantity::Calls(Kind::Reads), number),
            figure(Quantity::Calls(Kind::Writes), number),
            figure(Quantity::Calls(Kind::All), number),
            figure(Quantity::Rate, number) + if is_busy { " *" } else { "" },
            figure(Quantity::P50, microseconds),
            figure(Quantity::P99, microseconds),
            figure(Quantity::P999, microseconds),
            figure(Quantity::Memory, mebibytes),
        ];
        let session = if per_session {
            format!(" {} |", figure(Quantity::MemoryPerSession, bytes))
        } else {
            String::new()
        };
        line!(page, "| {} |{session}", cells.join(" | "));
    }
    let mut notes = Vec::new();
    if !busy.is_empty() {
        notes.push("`*`: the generator's core was busy; its rate may be the generator's.".to_string());
    }
    let without: Vec<String> =
        figures.peers().into_iter().filter(|peer| !peers.contains(peer)).map(cell).collect();
    if !without.is_empty() {
        notes.push(format!("Without: {}.", without.join("; ")));
    }
    for &peer in &peers {
        let seen: Vec<String> = figures
            .others(key(peer))
            .into_iter()
            .filter(|(name, _)| *name != RSS_AT_HALF)
            .map(|(name, value)| format!("{} {}", cell(name), plain(value)))
            .collect();
        if !seen.is_empty() {
            notes.push(format!("{}: {}.", cell(peer), seen.join(", ")));
        }
    }
    if !notes.is_empty() {
        line!(page, "\n{}", notes.join("\n\n"));
    }
}

fn growth(figures: &Figures<'_>, curve: &str, words: &str, page: &mut String) {
    let values = figures.values(curve);
    if values.is_empty() {
        return;
    }
    line!(page, "\n## CPU per message as it grows: {words}\n\nMicroseconds.\n");
    let heads: Vec<String> = values.iter().map(|(value, _)| plain(*value)).collect();
    line!(page, "| | {} |\n|---|{}", heads.join(" | "), "--:|".repeat(values.len()));
    for peer in figures.peers() {
        let cells: Vec<Option<f64>> = values
            .iter()
            .map(|(_, case)| {
                figures.spread(Quantity::Cost, Key { workload: curve, case, peer }).map(|seen| seen.median)
            })
            .collect();
        if cells.iter().any(Option::is_some) {
            let cells: Vec<String> =
                cells.into_iter().map(|cost| cost.map_or("-".to_string(), microseconds)).collect();
            line!(page, "| {} | {} |", cell(peer), cells.join(" | "));
        }
    }
}

fn pictures(plots: &[Plot], about: About, name: &str, page: &mut String) {
    for plot in plots.iter().filter(|plot| plot.about == about && plot.of == name) {
        line!(page, "\n![{}](performance/{})", cell(&plot.title), plot.file);
    }
}

fn who(figures: &Figures<'_>, page: &mut String) {
    line!(page, "\n## Who took part\n");
    line!(page, "| | version and settings |\n|---|---|");
    for peer in &figures.run.peers {
        line!(page, "| {} | {} |", cell(&peer.name), cell(&peer.about));
    }
    if !figures.run.missing.is_empty() {
        line!(page, "\nNot here:\n");
        for (name, why) in &figures.run.missing {
            line!(page, "- {}: {}", cell(name), cell(why));
        }
    }
    line!(page);
}

/// In one cell of a table, as text.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        match letter {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => safe.extend(['\\', letter]),
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            _ => safe.push(letter),
        }
    }
    safe
}
