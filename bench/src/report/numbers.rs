//! Numbers as people read them.

use super::figures::{Quantity, Spread};
use super::goals::{Bound, Goal};

/// Three digits that count, and commas: 0.0123, 1.23, 123, 12,345.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        0.0 => 0,
        _ if size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 0.09995 => 3,
        _ => 4,
    };
    let text = with_commas(&format!("{size:.decimals$}"));
    if value < 0.0 { format!("-{text}") } else { text }
}

/// A number that was chosen or counted, as it is: 0.5, 10, 16,384.
pub(super) fn plain(value: f64) -> String {
    let digits = format!("{value:.4}");
    with_commas(digits.trim_end_matches('0').trim_end_matches('.'))
}

/// Digits, and perhaps a point, without a sign.
fn with_commas(digits: &str) -> String {
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut text = String::with_capacity(digits.len() + 4);
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// A ratio: 0.98, 1.05, 15.3.
pub(super) fn ratio(value: f64) -> String {
    if value < 9.995 { format!("{value:.2}") } else { number(value) }
}

/// A ratio with its span, and in how many rounds it was measured where that is not all.
pub(super) fn with_span(seen: Spread, of_rounds: u32) -> String {
    let Spread { median, min, max, rounds } = seen;
    let span = if rounds > 1 { format!(" [{}-{}]", ratio(min), ratio(max)) } else { String::new() };
    let few = if rounds < of_rounds as usize { format!(" ({rounds} of {of_rounds})") } else { String::new() };
    format!("{}{span}{few}", ratio(median))
}

/// Microseconds of nanoseconds.
pub(super) fn microseconds(ns: f64) -> String {
    number(ns / 1e3)
}

/// Mebibytes of bytes.
pub(super) fn mebibytes(bytes: f64) -> String {
    number(bytes / f64::from(1 << 20))
}

/// A figure of a goal, with its unit where it is no ratio.
pub(super) fn of_goal(goal: &Goal, value: f64) -> String {
    match goal.figure() {
        None => format!("{value:.3}"),
        Some(Quantity::MemoryPerSession | Quantity::Memory) => format!("{} B", bytes(value)),
        Some(_) => format!("{:.2} ms", value / 1e6),
    }
}

/// Whole bytes, which may be fewer than before: three digits alone could round them over their bound.
pub(super) fn bytes(value: f64) -> String {
    let text = plain(value.abs().round());
    if value <= -0.5 { format!("-{text}") } else { text }
}

/// "<= 1.20".
pub(super) fn bound(goal: &Goal) -> String {
    let (sign, value) = match goal.bound {
        Bound::AtMost(value) => ("<=", value),
        Bound::Below(value) => ("<", value),
    };
    match goal.figure() {
        None => format!("{sign} {value:.2}"),
        Some(Quantity::MemoryPerSession | Quantity::Memory) => format!("{sign} {} B", bytes(value)),
        Some(_) => format!("{sign} {:.0} ms", value / 1e6),
    }
}
