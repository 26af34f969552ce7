//! Goals and figures in columns, for the terminal.

use std::fmt::Write as _;

use super::figures::{CURVES, Figures, Key, Kind, LIMIT, Quantity};
use super::goals::{GOALS, Outcome};
use super::markdown::ENOUGH_ROUNDS;
use super::numbers::{bound, microseconds, number, of_goal, plain, with_span};

/// All that was measured, and the names of the goals that were not.
pub(super) fn table(figures: &Figures<'_>) -> String {
    let mut text = String::new();
    for workload in figures.workloads() {
        for case in figures.cases(workload) {
            let over = figures
                .base(Key { workload, case, peer: LIMIT })
                .map_or("ratio".to_string(), |(_, words)| format!("over {words}"));
            let mut rows = vec![
                [
                    &format!("{workload} {case}"),
                    "CPU, us",
                    &over,
                    "calls",
                    "messages/s",
                    "p50, us",
                    "p99, us",
                ]
                .map(str::to_string),
            ];
            for peer in figures.peers_of(workload, case) {
                let key = Key { workload, case, peer };
                let figure = |what, print: fn(f64) -> String| {
                    figures.spread(what, key).map_or("-".to_string(), |seen| print(seen.median))
                };
                let to_base = figures.to_base(key);
                rows.push([
                    peer.to_string(),
                    figure(Quantity::Cost, microseconds),
                    to_base.map_or("-".to_string(), |seen| with_span(seen, figures.run.rounds)),
                    figure(Quantity::Calls(Kind::All), number),
                    figure(Quantity::Rate, number),
                    figure(Quantity::P50, microseconds),
                    figure(Quantity::P99, microseconds),
                ]);
            }
            columns(&rows, &mut text);
        }
    }
    for (curve, words) in CURVES {
        let values = figures.values(curve);
        let mut rows = vec![
            ["CPU per message, us".to_string()]
                .into_iter()
                .chain(values.iter().map(|(value, _)| plain(*value)))
                .collect::<Vec<_>>(),
        ];
        for peer in figures.peers() {
            let key = |case| Key { workload: curve, case, peer };
            if values.iter().any(|(_, case)| figures.has(key(case))) {
                let cost = |case| {
                    let seen = figures.spread(Quantity::Cost, key(case));
                    seen.map_or("-".to_string(), |seen| microseconds(seen.median))
                };
                rows.push(
                    std::iter::once(peer.to_string())
                        .chain(values.iter().map(|(_, case)| cost(case)))
                        .collect(),
                );
            }
        }
        if rows.len() > 1 {
            let _ = writeln!(text, "{words}:");
            columns(&rows, &mut text);
        }
    }

    let (mut rows, mut not_measured) = (Vec::new(), Vec::new());
    for goal in &GOALS {
        let (seen, verdict) = match goal.judge(figures) {
            Outcome::Met(seen) => (seen, "met"),
            Outcome::Over(seen) => (seen, "OVER"),
            Outcome::NotMeasured => {
                not_measured.push(format!("{}: {}", goal.workload, goal.what));
                continue;
            }
        };
        rows.push([
            format!("{}: {}", goal.workload, goal.what),
            bound(goal),
            of_goal(goal, seen.median),
            verdict.to_string(),
        ]);
    }
    columns(&rows, &mut text);
    for goal in not_measured {
        let _ = writeln!(text, "not measured: {goal}");
    }
    for (name, why) in &figures.run.missing {
        let _ = writeln!(text, "not here: {name}: {why}");
    }
    if figures.run.rounds < ENOUGH_ROUNDS {
        let _ = writeln!(text, "fewer than {ENOUGH_ROUNDS} rounds: a first look, no result");
    }
    text
}

/// The first column to the left, the others to the right; an empty line behind.
fn columns<Row: AsRef<[String]>>(rows: &[Row], text: &mut String) {
    let many = rows.first().map_or(0, |row| row.as_ref().len());
    let widths: Vec<usize> = (0..many)
        .map(|column| rows.iter().map(|row| row.as_ref()[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let mut line = String::new();
        for (place, (cell, width)) in row.as_ref().iter().zip(&widths).enumerate() {
            let _ =
                if place == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if !rows.is_empty() {
        text.push('\n');
    }
}
