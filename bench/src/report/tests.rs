//! A made-up run, in which each rule shows.

use std::collections::BTreeMap;
use std::path::Path;

use super::figures::{Kind, Quantity, RSS_AT_HALF, Spread};
use super::goals::{GOALS, Outcome};
use super::*;
use crate::result::{About, Calls, Latency, Sample};

fn sample(workload: &str, case: &str, peer: &str, round: u32, cost_ns: u64) -> Sample {
    Sample {
        workload: workload.to_string(),
        case: case.to_string(),
        peer: peer.to_string(),
        round,
        messages: 100_000,
        seconds: 2.0,
        cpu_ns: cost_ns * 100_000,
        latency: Some(Latency { p50_ns: cost_ns * 20, p99_ns: cost_ns * 60, p999_ns: cost_ns * 110 }),
        rss_bytes: 8 << 20,
        rss_before_bytes: 4 << 20,
        generator: 0.4,
        ..Sample::default()
    }
}

fn run(samples: Vec<Sample>) -> Run {
    let about = |name: &str, about: &str| About { name: name.to_string(), about: about.to_string() };
    Run {
        began: "2026-11-21T20:00:00Z".to_string(),
        machine: vec![
            ("processor".to_string(), "Made up | 3000".to_string()),
            ("cores".to_string(), "2".to_string()),
        ],
        commit: "0123abcd".to_string(),
        rounds: 3,
        peers: vec![
            about("raw epoll", "the limit"),
            about("tagwire", "as shipped, threads = 1"),
            about("tagwire on all cores", "as shipped"),
            about("tonic", "0.14 <b>|"),
        ],
        missing: vec![("nats".to_string(), "no nats-server: apt-get install nats-server".to_string())],
        samples,
    }
}

/// Three rounds of costs a case and peer; 0: not in that round.
fn rounds(workload: &str, case: &str, peer: &str, costs: [u64; 3]) -> impl Iterator<Item = Sample> {
    let samples = (0..3).zip(costs).filter(|(_, cost)| *cost > 0);
    samples
        .map(move |(round, cost)| sample(workload, case, peer, round, cost))
        .collect::<Vec<_>>()
        .into_iter()
}

fn made_up() -> Run {
    let mut samples = Vec::new();
    // The machine slows down from round to round: each round's own ratio is 1.1, 1.3 and 1.15.
    samples.extend(rounds("W1", "window 16", "raw epoll", [1000, 2000, 4000]));
    samples.extend(rounds("W1", "window 16", "tagwire", [1100, 2600, 4600]));
    samples.extend(rounds("W1", "window 16", "tonic", [2000, 0, 10_000]));
    samples.extend(rounds("W1", "window 16", "tagwire on all cores", [1100, 2600, 4600]));
    // Out of order, as a growth curve's may be.
    for connections in ["1000", "10", "100"] {
        samples.extend(rounds("connections", connections, "tagwire", [1000, 1010, 1020]));
    }
    samples.extend(rounds("W3", "at once", "raw epoll", [4000; 3]));
    samples.extend(rounds("W3", "at once", "tagwire", [4400; 3]));
    samples.extend(rounds("W3", "20 ms tick", "tagwire", [2000; 3]));
    samples.extend(rounds("W4", "10000 idle", "tagwire", [5000; 3]));
    samples.extend(rounds("W5", "window 16", "tagwire", [2000, 4000, 8000]));
    samples.extend(rounds("W5", "window 16", "tonic", [4000, 8000, 16_000]));
    for sample in &mut samples {
        match (sample.workload.as_str(), sample.case.as_str(), sample.peer.as_str()) {
            ("W1", _, "raw epoll") => {
                let by_name = [("recvfrom", 100), ("sendto", 101), ("epoll_wait", 20)];
                let by_name = by_name.map(|(name, times)| (name.to_string(), times)).into();
                sample.calls = Some(Calls { messages: 100, by_name });
            }
            ("W1", _, "tonic") => sample.generator = 0.99,
            ("W3", "20 ms tick", _) => {
                sample.latency =
                    Some(Latency { p50_ns: 11_000_000, p99_ns: 23_000_001, p999_ns: 30_000_000 });
            }
            ("W4", ..) => {
                (sample.rss_before_bytes, sample.rss_bytes) = (1_000_000, 21_000_000);
                sample.other.insert("dropped".to_string(), 3.0);
                sample.other.insert(RSS_AT_HALF.to_string(), 20_000_000.0);
            }
            _ => {}
        }
    }
    run(samples)
}

fn key<'a>(workload: &'a str, case: &'a str, peer: &'a str) -> figures::Key<'a> {
    figures::Key { workload, case, peer }
}

fn outcome(run: &Run, workload: &str, what: &str) -> Outcome {
    let goal = GOALS.iter().find(|goal| goal.workload == workload && goal.what.starts_with(what));
    goal.expect("a goal").judge(&Figures::new(run))
}

#[test]
fn a_median_is_the_one_in_the_middle_or_between_two() {
    assert_eq!(Spread::of([]), None);
    assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0, rounds: 3 }));
    assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0, rounds: 4 }));
}

#[test]
fn a_ratio_is_taken_within_a_round() {
    let run = made_up();
    let figures = Figures::new(&run);
    let seen = figures.to_base(key("W1", "window 16", "tagwire")).expect("a ratio");
    // Of the medians it would be 1.3.
    assert!((seen.median - 1.15).abs() < 1e-9, "{seen:?}");
    assert!((seen.min - 1.1).abs() < 1e-9 && (seen.max - 1.3).abs() < 1e-9, "{seen:?}");
}

#[test]
fn a_round_in_which_one_is_missing_does_not_count() {
    let run = made_up();
    let figures = Figures::new(&run);
    let seen = figures.to_base(key("W1", "window 16", "tonic")).expect("a ratio");
    assert_eq!(seen, Spread { median: 2.25, min: 2.0, max: 2.5, rounds: 2 });
    assert!(table(&run).contains("2.25 [2.00-2.50] (2 of 3)"), "{}", table(&run));
}

#[test]
fn what_the_limit_has_not_is_compared_with_what_the_goal_says() {
    let run = made_up();
    let figures = Figures::new(&run);
    let ratio = |workload, case| figures.to_base(key(workload, case, "tagwire")).map(|seen| seen.median);
    assert_eq!(ratio("W3", "20 ms tick"), Some(0.5));
    let own = ratio("W5", "window 16").expect("over its own W1");
    assert!((own - 8.0 / 4.6).abs() < 1e-9, "{own}");
    assert_eq!(ratio("W4", "10000 idle"), None);
    assert_eq!(ratio("connections", "10"), None);
}

#[test]
fn goals_are_met_or_over_or_not_measured() {
    let run = made_up();
    assert!(matches!(outcome(&run, "W1, window 16", "CPU per message over the limit's"), Outcome::Met(_)));
    assert!(matches!(outcome(&run, "W3, at once", "CPU per message over the limit's"), Outcome::Over(_)));
    assert!(matches!(outcome(&run, "W3, at once", "p50"), Outcome::Met(_)));
    assert!(matches!(outcome(&run, "W3, 20 ms tick", "CPU"), Outcome::Met(_)));
    // One nanosecond too many.
    assert!(matches!(outcome(&run, "W3, 20 ms tick", "p99"), Outcome::Over(_)));
    // The bound itself meets "at most", and does not meet "below".
    assert!(
        matches!(outcome(&run, "W4, 10,000 idle", "memory"), Outcome::Met(seen) if seen.median == 2000.0)
    );
    assert!(
        matches!(outcome(&run, "W5, window 16", "CPU per request over tonic"), Outcome::Over(seen) if seen.median == 0.5)
    );
    assert_eq!(outcome(&run, "W4, 10,000 idle", "CPU"), Outcome::NotMeasured);
    assert_eq!(outcome(&run, "W7, a tenth slow", "p99"), Outcome::NotMeasured);
}

#[test]
fn the_terminal_names_every_goal() {
    let run = made_up();
    let text = table(&run);
    let figures = Figures::new(&run);
    for goal in &GOALS {
        let name = format!("{}: {}", goal.workload, goal.what);
        let is_measured = goal.judge(&figures) != Outcome::NotMeasured;
        assert_eq!(text.contains(&format!("\nnot measured: {name}\n")), !is_measured, "{name}");
        assert_eq!(text.lines().any(|line| line.starts_with(&name)), is_measured, "{name}");
    }
}

#[test]
fn every_goal_is_measured_where_all_is() {
    let mut samples = Vec::new();
    for (workload, _, cases) in figures::WORKLOADS {
        for case in cases {
            for peer in ["raw epoll", "tagwire", "tagwire on all cores", "tonic"] {
                samples.extend(rounds(workload, case, peer, [1000; 3]).map(|mut sample| {
                    sample.other.insert(RSS_AT_HALF.to_string(), 1e6);
                    sample
                }));
            }
        }
    }
    let run = run(samples);
    for goal in &GOALS {
        assert_ne!(goal.judge(&Figures::new(&run)), Outcome::NotMeasured, "{goal:?}");
    }
}

#[test]
fn what_is_measured_twice_in_a_round_counts_once() {
    let run = run(vec![sample("W1", "alone", "tagwire", 0, 9000), sample("W1", "alone", "tagwire", 0, 5000)]);
    let seen = Figures::new(&run).spread(Quantity::Cost, key("W1", "alone", "tagwire"));
    assert_eq!(seen, Some(Spread { median: 5000.0, min: 5000.0, max: 5000.0, rounds: 1 }));
}

#[test]
fn calls_are_told_apart_and_counted_per_message() {
    let run = made_up();
    let figures = Figures::new(&run);
    let calls = |kind| {
        figures.spread(Quantity::Calls(kind), key("W1", "window 16", "raw epoll")).expect("calls").median
    };
    assert_eq!([Kind::Reads, Kind::Writes, Kind::All].map(calls), [1.0, 1.01, 2.21]);
    assert_eq!(figures.spread(Quantity::Calls(Kind::All), key("W1", "window 16", "tagwire")), None);
}

#[test]
fn a_session_is_counted_where_the_case_says_how_many_are_idle() {
    let run = made_up();
    let figures = Figures::new(&run);
    let per_session = |case: &str, workload: &str| {
        figures.spread(Quantity::MemoryPerSession, key(workload, case, "tagwire")).map(|seen| seen.median)
    };
    assert_eq!(per_session("10000 idle", "W4"), Some(2000.0));
    // Its case begins with a number too.
    assert_eq!(per_session("20 ms tick", "W3"), None);
}

#[test]
fn nothing_is_divided_by_nothing() {
    let empty = Sample {
        workload: "W1".to_string(),
        case: "alone".to_string(),
        peer: "tagwire".to_string(),
        ..Sample::default()
    };
    for what in [
        Quantity::Cost,
        Quantity::Rate,
        Quantity::P99,
        Quantity::Memory,
        Quantity::MemoryPerSession,
        Quantity::MemoryGrowth,
    ] {
        assert_eq!(what.of(&empty), None, "{what:?}");
    }
    let limit = Sample { peer: "raw epoll".to_string(), ..empty.clone() };
    let run = run(vec![empty, limit]);
    assert!(!markdown::measured(&Figures::new(&run), &[]).contains("NaN"));
    assert!(svg::plots(&Figures::new(&run)).is_empty());
}

#[test]
fn numbers_have_three_digits_that_count() {
    let pairs = [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (0.5, "0.500"),
        (1.0, "1.00"),
        (9.996, "10.0"),
        (99.96, "100"),
        (999.6, "1,000"),
        (12345.6, "12,346"),
        (1_234_567.0, "1,234,567"),
        (-2.5, "-2.50"),
    ];
    for (value, text) in pairs {
        assert_eq!(numbers::number(value), text);
    }
    assert_eq!([0.5, 10.0, 16384.0, 0.1 + 0.2].map(numbers::plain), ["0.5", "10", "16,384", "0.3"]);
    assert_eq!([2000.4, -0.4, -1234.0].map(numbers::bytes), ["2,000", "0", "-1,234"]);
    assert_eq!([0.978, 1.0, 9.996, 15.26].map(numbers::ratio), ["0.98", "1.00", "10.0", "15.3"]);
}

/// A failing run writes the page anew: look at the difference.
#[test]
fn the_page_is_as_it_was_looked_at() {
    let run = made_up();
    let figures = Figures::new(&run);
    let page = markdown::measured(&figures, &svg::plots(&figures));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/snapshot.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    if page != before {
        fs::write(&path, page).expect("the snapshot is written");
        panic!("{} was another: look at the difference", path.display());
    }
}

#[test]
fn the_page_outside_the_markers_stays_and_old_plots_go() {
    let docs = tempfile::tempdir().expect("a folder");
    let page = docs.path().join("PERFORMANCE.md");
    let plots = docs.path().join("performance");
    fs::create_dir(&plots).expect("a folder");
    for old in ["ratio-w9.svg", "profile.svg", "growth-old.txt"] {
        fs::write(plots.join(old), "old").expect("a file");
    }
    fs::write(&page, format!("# By hand\n{BEGIN}\nold\n{END}\nby hand too\n")).expect("a page");
    let run = made_up();
    let written = write(&run, docs.path()).expect("written");

    let text = fs::read_to_string(&page).expect("a page");
    assert!(text.starts_with(&format!("# By hand\n{BEGIN}\n\n## What it was measured on")), "{text}");
    assert!(text.ends_with(&format!("\n{END}\nby hand too\n")) && !text.contains("\nold\n"), "{text}");
    assert_eq!(written[0], page);
    let mut there: Vec<_> =
        fs::read_dir(&plots).expect("plots").map(|entry| entry.expect("a plot").path()).collect();
    there.sort();
    let mut expected = written[1..].to_vec();
    expected.extend(["profile.svg", "growth-old.txt"].map(|kept| plots.join(kept)));
    expected.sort();
    assert_eq!(there, expected);
    for plot in &written[1..] {
        let link =
            format!("(performance/{})", plot.file_name().and_then(|name| name.to_str()).expect("a name"));
        assert!(text.contains(&link), "{link}");
    }

    let first: BTreeMap<_, _> =
        written.iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect();
    write(&run, docs.path()).expect("written again");
    for (path, bytes) in first {
        assert_eq!(fs::read(&path).expect("a file"), bytes, "{}", path.display());
    }
}

#[test]
fn a_page_without_its_markers_is_left_alone() {
    for (page, said) in [
        ("by hand".to_string(), "`<!-- measured -->` is there 0 times"),
        (BEGIN.to_string(), "`<!-- /measured -->` is there 0 times"),
        (format!("{BEGIN} {BEGIN} {END}"), "`<!-- measured -->` is there 2 times"),
        (format!("{END} {BEGIN}"), "comes before"),
    ] {
        let docs = tempfile::tempdir().expect("a folder");
        let path = docs.path().join("PERFORMANCE.md");
        fs::write(&path, &page).expect("a page");
        let error = format!("{:#}", write(&made_up(), docs.path()).expect_err("no markers"));
        assert!(error.contains(said) && error.contains("PERFORMANCE.md"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("a page"), page);
        assert!(!docs.path().join("performance").exists());
    }
    let nowhere = tempfile::tempdir().expect("a folder");
    assert!(
        format!("{:#}", write(&made_up(), nowhere.path()).expect_err("no page")).contains("PERFORMANCE.md")
    );
}

#[test]
fn the_docs_have_their_markers() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PERFORMANCE.md");
    let text = fs::read_to_string(page).expect("the page");
    between_markers(&text, "").expect("its markers");
}

#[test]
fn what_stands_in_a_plot_is_text() {
    let mut run = made_up();
    run.samples
        .iter_mut()
        .filter(|sample| sample.peer == "tonic")
        .for_each(|sample| sample.peer = "<a & b>".to_string());
    let plots = svg::plots(&Figures::new(&run));
    let files: Vec<_> = plots.iter().map(|plot| plot.file.as_str()).collect();
    assert_eq!(
        files,
        [
            "ratio-w1.svg",
            "latency-w1.svg",
            "ratio-w3.svg",
            "latency-w3.svg",
            "latency-w4.svg",
            "ratio-w5.svg",
            "latency-w5.svg",
            "growth-connections.svg"
        ]
    );
    assert!(plots[0].svg.contains("&lt;a &amp; b&gt;") && !plots[0].svg.contains("<a"), "{}", plots[0].svg);
    assert!(plots.iter().all(|plot| !plot.svg.contains("NaN") && !plot.svg.contains("inf")));
}
