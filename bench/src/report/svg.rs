//! Plots, as SVG of a few plain shapes and real text: on white, so that they read on a dark page too.

use std::fmt::Write as _;

use super::figures::{CURVES, Figures, Key, LIMIT, OURS, OURS_ALL_CORES, Quantity, Spread, WORKLOADS};
use super::numbers::{microseconds, plain, ratio};

/// A file of `docs/performance/`.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) file: String,
    pub(super) title: String,
    pub(super) about: About,
    /// The workload or the curve.
    pub(super) of: String,
    pub(super) svg: String,
}

/// Where a plot belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Workload,
    Curve,
}

const KINDS: [&str; 3] = ["ratio-", "latency-", "growth-"];

/// All that the figures suffice for, in the order of the page.
pub(super) fn plots(figures: &Figures<'_>) -> Vec<Plot> {
    let mut plots = Vec::new();
    for workload in figures.workloads() {
        let what = WORKLOADS.iter().find(|(name, ..)| *name == workload).map_or("", |(_, what, _)| *what);
        let mut add = |kind: &str, title: String, svg: Option<String>| {
            if let Some(svg) = svg {
                let file = format!("{kind}{}.svg", in_file_name(workload));
                plots.push(Plot { file, title, about: About::Workload, of: workload.to_string(), svg });
            }
        };
        let title = format!("{workload}, {what}: CPU per message as a ratio");
        let svg = ratios(figures, workload, &title);
        add(KINDS[0], title, svg);
        let title = format!("{workload}, {what}: latency");
        let svg = latencies(figures, workload, &title);
        add(KINDS[1], title, svg);
    }
    for (curve, words) in CURVES {
        let title = format!("CPU per message as it grows: {words}");
        if let Some(svg) = growth(figures, curve, words, &title) {
            let file = format!("{}{}.svg", KINDS[2], in_file_name(curve));
            plots.push(Plot { file, title, about: About::Curve, of: curve.to_string(), svg });
        }
    }
    plots
}

/// Whether a file's name is one that [`plots`] gives.
pub(super) fn is_plot(file: &str) -> bool {
    file.ends_with(".svg") && KINDS.iter().any(|kind| file.starts_with(kind))
}

fn in_file_name(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect()
}

const INK: &str = "#1f2328";
const FAINT: &str = "#59636e";
const GRID: &str = "#d8dee4";
const OTHERS: &str = "#57606a";

/// Wide enough for a letter of 13 pixels in most sans-serif fonts.
const LETTER: f64 = 7.3;
const ROW: f64 = 20.0;
const TOP: f64 = 72.0;
const INNER: f64 = 520.0;

/// A row of a plot with one row per peer and case.
struct Row {
    peer: String,
    marks: Vec<Mark>,
    /// From where to where a line goes.
    line: (f64, f64),
    /// What stands at its right.
    value: String,
}

enum Mark {
    Dot(f64),
    Ring(f64),
    Bar(f64),
}

impl Mark {
    fn at(&self) -> f64 {
        match self {
            Mark::Dot(at) | Mark::Ring(at) | Mark::Bar(at) => *at,
        }
    }
}

/// A panel of them: its name, and its rows.
type Panel = (String, Vec<Row>);

fn ratios(figures: &Figures<'_>, workload: &str, title: &str) -> Option<String> {
    let panels: Vec<Panel> = panels(figures, workload, |key| {
        let Spread { median, min, max, .. } = figures.to_base(key).filter(|seen| seen.min > 0.0)?;
        Some(Row {
            peer: key.peer.to_string(),
            marks: vec![Mark::Dot(median)],
            line: (min, max),
            value: ratio(median),
        })
    });
    let panels = panels
        .into_iter()
        .map(|(case, rows)| {
            let base = figures.base(Key { workload, case: &case, peer: LIMIT });
            (base.map_or(case.clone(), |(_, words)| format!("{case}, over {words}")), rows)
        })
        .collect();
    let foot = "median and span of the rounds; smaller is better";
    rows(panels, &Axis { title, foot, one: true, head: "ratio", tick: plain }, &[])
}

fn latencies(figures: &Figures<'_>, workload: &str, title: &str) -> Option<String> {
    let panels = panels(figures, workload, |key| {
        let median = |what| figures.spread(what, key).map(|seen| seen.median).filter(|ns| *ns > 0.0);
        let (p50, p99, p999) = (median(Quantity::P50)?, median(Quantity::P99)?, median(Quantity::P999)?);
        let value = [p50, p99, p999].map(microseconds).join(" / ");
        let marks = vec![Mark::Dot(p50), Mark::Ring(p99), Mark::Bar(p999)];
        Some(Row { peer: key.peer.to_string(), marks, line: (p50, p999), value })
    });
    let legend = [(Mark::Dot(0.0), "p50"), (Mark::Ring(0.0), "p99"), (Mark::Bar(0.0), "p99.9")];
    let axis = Axis {
        title,
        foot: "microseconds from sending to receiving; medians of the rounds",
        one: false,
        head: "p50 / p99 / p99.9",
        tick: |ns| plain(ns / 1e3),
    };
    rows(panels, &axis, &legend)
}

/// Cases with at least one row.
fn panels(figures: &Figures<'_>, workload: &str, row: impl Fn(Key<'_>) -> Option<Row>) -> Vec<Panel> {
    let mut panels = Vec::new();
    for case in figures.cases(workload) {
        let peers = figures.peers_of(workload, case);
        let rows: Vec<Row> = peers.into_iter().filter_map(|peer| row(Key { workload, case, peer })).collect();
        if !rows.is_empty() {
            panels.push((case.to_string(), rows));
        }
    }
    panels
}

struct Axis<'a> {
    title: &'a str,
    foot: &'a str,
    /// A line at 1.
    one: bool,
    /// Over the values at the right.
    head: &'a str,
    tick: fn(f64) -> String,
}

fn rows(panels: Vec<Panel>, axis: &Axis<'_>, legend: &[(Mark, &str)]) -> Option<String> {
    if panels.is_empty() {
        return None;
    }
    let all = || panels.iter().flat_map(|(_, rows)| rows);
    let ends = all().flat_map(|row| row.marks.iter().map(Mark::at).chain([row.line.0, row.line.1]));
    let seen = Spread::of(ends.chain(axis.one.then_some([0.5, 2.0]).into_iter().flatten()))?;
    let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0) as f64 * LETTER;
    let left = 24.0 + widest(&mut all().map(|row| row.peer.chars().count()));
    let values = widest(&mut all().map(|row| row.value.chars().count()).chain([axis.head.len()]));
    let width = (left + INNER + 20.0 + values + 16.0).max(axis.title.chars().count() as f64 * 8.6 + 32.0);
    let deep: f64 = panels.iter().map(|(_, rows)| 30.0 + rows.len() as f64 * ROW).sum();
    let height = TOP + deep + 52.0;

    let mut canvas = Canvas::new(width, height, axis.title);
    let scale = Scale::new(seen.min, seen.max, left, left + INNER);
    let floor = TOP + deep + 4.0;
    let mut free = f64::NEG_INFINITY;
    for tick in scale.ticks() {
        let x = scale.at(tick);
        canvas.line((x, TOP), (x, floor), GRID, 1.0);
        canvas.tick((x, floor + 16.0), &(axis.tick)(tick), &mut free);
    }
    if axis.one {
        let x = scale.at(1.0);
        canvas.line((x, TOP), (x, floor), INK, 1.5);
    }
    canvas.text((left + INNER / 2.0, floor + 36.0), Anchor::Middle, 12, FAINT, axis.foot);
    canvas.text((width - 16.0, TOP - 8.0), Anchor::End, 12, FAINT, axis.head);
    let mut x = left;
    for (mark, name) in legend {
        canvas.mark(mark, x, TOP - 12.0, INK);
        canvas.text((x + 12.0, TOP - 8.0), Anchor::Start, 12, INK, name);
        x += 40.0 + name.len() as f64 * LETTER;
    }

    let mut y = TOP;
    for (name, rows) in &panels {
        // On white, or the grid goes through the words.
        canvas.rect((0.0, y + 2.0), (width, 24.0), "#f3f5f7");
        canvas.text((12.0, y + 19.0), Anchor::Start, 13, INK, name);
        y += 30.0;
        for row in rows {
            let middle = y + ROW / 2.0;
            let colour = match row.peer.as_str() {
                OURS | OURS_ALL_CORES => "#cf222e",
                LIMIT => INK,
                _ => OTHERS,
            };
            canvas.text((left - 12.0, middle + 4.5), Anchor::End, 13, colour, &row.peer);
            canvas.line((scale.at(row.line.0), middle), (scale.at(row.line.1), middle), colour, 2.0);
            for mark in &row.marks {
                canvas.mark(mark, scale.at(mark.at()), middle, colour);
            }
            canvas.text((width - 16.0, middle + 4.5), Anchor::End, 13, colour, &row.value);
            y += ROW;
        }
    }
    Some(canvas.close())
}

/// A colour for each peer that there may be, told apart by dashes too.
const COLOURS: [(&str, &str, &str); 11] = [
    (LIMIT, "#1f2328", ""),
    (OURS, "#cf222e", ""),
    (OURS_ALL_CORES, "#e8590c", "6 3"),
    ("naive", "#1f77b4", ""),
    ("tonic", "#2b8a3e", ""),
    ("go", "#0b7285", "6 3"),
    ("nats", "#6741d9", ""),
    ("mosquitto", "#8c564b", ""),
    ("ws", "#b08800", ""),
    ("colyseus", "#c2255c", "6 3"),
    ("python", "#5c7cfa", "2 3"),
];

fn growth(figures: &Figures<'_>, curve: &str, words: &str, title: &str) -> Option<String> {
    let values = figures.values(curve);
    let curves: Vec<(&str, Vec<(f64, f64)>)> = figures
        .peers()
        .into_iter()
        .filter_map(|peer| {
            let cost = |case| figures.spread(Quantity::Cost, Key { workload: curve, case, peer });
            let points: Vec<(f64, f64)> = values
                .iter()
                .filter_map(|(value, case)| Some((*value, cost(case)?.median)))
                .filter(|(_, cost)| *cost > 0.0)
                .collect();
            (!points.is_empty()).then_some((peer, points))
        })
        .collect();
    let points = || curves.iter().flat_map(|(_, points)| points);
    let across = Spread::of(points().map(|point| point.0))?;
    let up = Spread::of(points().map(|point| point.1))?;
    let named = curves.iter().map(|(peer, _)| peer.chars().count()).max().unwrap_or(0) as f64 * LETTER;

    let left = 76.0;
    let deep = (curves.len() as f64 * 18.0).max(320.0);
    let (width, floor) = (left + INNER + 40.0 + named + 16.0, TOP + deep);
    let mut canvas = Canvas::new(width, floor + 58.0, title);
    let (x, y) =
        (Scale::new(across.min, across.max, left, left + INNER), Scale::new(up.min, up.max, floor, TOP));
    for tick in y.ticks() {
        canvas.line((left, y.at(tick)), (left + INNER, y.at(tick)), GRID, 1.0);
        canvas.text((left - 8.0, y.at(tick) + 4.0), Anchor::End, 12, FAINT, &plain(tick / 1e3));
    }
    let mut free = f64::NEG_INFINITY;
    for (value, _) in &values {
        let at = x.at(*value);
        canvas.line((at, TOP), (at, floor), GRID, 1.0);
        canvas.tick((at, floor + 18.0), &plain(*value), &mut free);
    }
    canvas.text((left + INNER / 2.0, floor + 40.0), Anchor::Middle, 12, FAINT, words);
    canvas.text((16.0, TOP - 14.0), Anchor::Start, 12, FAINT, "microseconds per message");

    let ends: Vec<f64> =
        curves.iter().map(|(_, points)| points.last().map_or(floor, |point| y.at(point.1))).collect();
    let names = apart(&ends, 17.0, TOP, floor);
    // The first last: they lie on top.
    for ((peer, points), name_y) in curves.iter().zip(names).rev() {
        let (colour, dashes) = colour(peer);
        let points: Vec<(f64, f64)> =
            points.iter().map(|(value, cost)| (x.at(*value), y.at(*cost))).collect();
        canvas.path(&points, colour, dashes);
        for point in &points {
            canvas.mark(&Mark::Dot(0.0), point.0, point.1, colour);
        }
        let Some(end) = points.last() else { continue };
        canvas.line((end.0 + 6.0, end.1), (left + INNER + 30.0, name_y), colour, 1.0);
        canvas.text((left + INNER + 36.0, name_y + 4.5), Anchor::Start, 13, colour, peer);
    }
    Some(canvas.close())
}

fn colour(peer: &str) -> (&'static str, &'static str) {
    COLOURS
        .iter()
        .find(|(name, ..)| *name == peer)
        .map_or((OTHERS, "2 3"), |(_, colour, dashes)| (colour, dashes))
}

/// Places for words: as near as they can be to where they are wanted, `step` apart, within `top` and `floor`.
fn apart(wanted: &[f64], step: f64, top: f64, floor: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]).then(a.cmp(b)));
    let mut places = wanted.to_vec();
    let mut free = top;
    for &place in &order {
        places[place] = places[place].max(free);
        free = places[place] + step;
    }
    let mut free = floor;
    for &place in order.iter().rev() {
        places[place] = places[place].min(free);
        free = places[place] - step;
    }
    places
}

/// A logarithmic axis.
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Of values from `min` to `max`, with a little air around them.
    fn new(min: f64, max: f64, start: f64, end: f64) -> Self {
        let air = 0.04 * (max / min).ln().max(0.5);
        Scale { from: min.ln() - air, to: max.ln() + air, start, end }
    }

    fn at(&self, value: f64) -> f64 {
        self.start + (value.ln() - self.from) / (self.to - self.from) * (self.end - self.start)
    }

    /// 1, 2 and 5 of each power of ten; where those would be many, the powers alone.
    fn ticks(&self) -> Vec<f64> {
        let decades = (self.to - self.from) / std::f64::consts::LN_10;
        let steps: &[f64] = if decades > 3.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = (self.from / std::f64::consts::LN_10).floor() as i32
            ..=(self.to / std::f64::consts::LN_10).ceil() as i32;
        let all = powers.flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
        all.filter(|tick| (self.from..=self.to).contains(&tick.ln())).collect()
    }
}

#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

struct Canvas(String);

/// Writing to a string does not fail.
macro_rules! put {
    ($canvas:expr, $($text:tt)*) => { { let _ = writeln!($canvas.0, $($text)*); } };
}

impl Canvas {
    fn new(width: f64, height: f64, title: &str) -> Self {
        let mut canvas = Canvas(String::new());
        put!(
            canvas,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" role="img" font-family="sans-serif">"#
        );
        put!(canvas, "<title>{}</title>", escaped(title));
        canvas.rect((0.0, 0.0), (width, height), "#ffffff");
        put!(
            canvas,
            r#"<text x="16" y="28" font-size="16" font-weight="bold" fill="{INK}">{}</text>"#,
            escaped(title)
        );
        canvas
    }

    fn text(&mut self, at: (f64, f64), anchor: Anchor, size: u32, colour: &str, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y) = at;
        put!(
            self,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{}</text>"#,
            escaped(words)
        );
    }

    /// Words below an axis, unless they would touch those before them, which reach to `free`.
    fn tick(&mut self, at: (f64, f64), words: &str, free: &mut f64) {
        let half = words.chars().count() as f64 * 3.3;
        if at.0 - half > *free {
            self.text(at, Anchor::Middle, 12, FAINT, words);
            *free = at.0 + half + 4.0;
        }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, thick: f64) {
        let ((x1, y1), (x2, y2)) = (from, to);
        put!(
            self,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{thick}"/>"#
        );
    }

    fn rect(&mut self, at: (f64, f64), size: (f64, f64), colour: &str) {
        let ((x, y), (width, height)) = (at, size);
        put!(
            self,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        );
    }

    fn mark(&mut self, mark: &Mark, x: f64, y: f64, colour: &str) {
        match mark {
            Mark::Dot(_) => put!(self, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{colour}"/>"#),
            Mark::Ring(_) => put!(
                self,
                r##"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="#ffffff" stroke="{colour}" stroke-width="2"/>"##
            ),
            Mark::Bar(_) => self.line((x, y - 6.0), (x, y + 6.0), colour, 3.0),
        }
    }

    fn path(&mut self, points: &[(f64, f64)], colour: &str, dashes: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dashes =
            if dashes.is_empty() { String::new() } else { format!(r#" stroke-dasharray="{dashes}""#) };
        put!(
            self,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>"#,
            points.join(" ")
        );
    }

    fn close(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
