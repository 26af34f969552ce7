//! Where the instructions of a message go: what callgrind counted for each function, by the part of the server that it belongs
//! to. `scripts/guards --profile` runs it.

use std::fmt::Write as _;

use tagwire::session::client::Event;

use super::*;

/// The rows of the table, and the names by which each part is known: of modules, and of functions where nothing else tells; the
/// longest that fits counts. Code that was inlined belongs to the module that it is written in; where this has no part, as the
/// standard library has none, to the function that it became part of.
const PARTS: &[(&str, &[&str])] = &[
    (TOKIO, &["atomic_waker", "epoll_wait", "mio", "parking_lot", "parking_lot_core", "tokio", "tokio_util"]),
    (
        "a connection's turn, reading",
        &[
            "recv",
            "socket2",
            "tagwire_server::connection",
            "tagwire_server::reader",
            "tagwire_server::transport::reading",
            "tagwire_server::transport::stream",
        ],
    ),
    (
        "the clock",
        &[
            "clock_gettime",
            "std::sys::pal::unix::time",
            "std::sys::time",
            "std::time",
            "tagwire::time",
            "tagwire_server::clock",
        ],
    ),
    ("header and bounds of the frame", &["tagwire::frame", "tagwire::tag"]),
    (
        "whether it may be said: direction, access, rates",
        &["tagwire::rate", "tagwire::schema", "tagwire::session"],
    ),
    (
        "protobuf: the schema's check, requests, answers",
        &["bytes::buf", "bytes::bytes_mut", "prost", "tagwire::validate", "tagwire_server::constraints"],
    ),
    (
        "router: room, hooks, lane, counters",
        &[
            "arc_swap",
            "prometheus_client",
            "tagwire::room",
            "tagwire_server::hook",
            "tagwire_server::metrics",
            // The router is inlined into it.
            "tagwire_server::reader::take",
            "tagwire_server::rooms",
            "tagwire_server::router",
        ],
    ),
    (ENCODING, &["tagwire::session::dialect", "tagwire::session::fan_out"]),
    (
        "outboxes and writes",
        &[
            "send",
            "std::net::tcp::TcpStream as std::io::Write",
            "tagwire::session::outbox",
            "tagwire_server::flusher",
            "tagwire_server::link",
            "tagwire_server::session",
            "tagwire_server::transport::wire",
        ],
    ),
    (ACKNOWLEDGED, &[]),
    (
        "requests: keys, service, answer, remembering",
        &[
            "game",
            "tagwire::service",
            "tagwire::session::requests",
            "tagwire_bench::schema::bench::v1::Asking",
            "tagwire_bench::schema::bench::v1::AskingServer",
            "tagwire_server::requests",
        ],
    ),
    (
        WAY_IN,
        &[
            "ipnet",
            "tagwire::opening",
            "tagwire::session::login",
            "tagwire::session::resume",
            "tagwire_server::auth",
            "tagwire_server::core",
            "tagwire_server::directory",
            "tagwire_server::door",
            "tagwire_server::exchange",
            "tagwire_server::listener",
            "tagwire_server::login",
            "tagwire_server::opening",
            "tagwire_server::resume",
            "tagwire_server::server",
            "tagwire_server::session::away",
            "tagwire_server::session::ending",
        ],
    ),
    (
        "names, in the form in which they are compared",
        &[
            "alloc::string::String as core::iter::traits::collect::FromIterator",
            "caseless",
            "tagwire::name",
            "tinyvec",
            "unicode_normalization",
        ],
    ),
    (
        "lines of the log",
        &[
            "alloc::fmt",
            "core::fmt",
            "itoa",
            "nu_ansi_term",
            "std::io::stdio",
            "tagwire_server::program::format",
            "tagwire_server::program::lines",
            "tagwire_server::program::logging",
            "tagwire_server::transport::Peer as core::fmt::Display",
            "tracing",
            "tracing_core",
            "tracing_log",
            "tracing_subscriber",
        ],
    ),
    (
        "malloc and free; buffers that grow or are shared",
        &["./malloc", "__rustc", "alloc::alloc", "alloc::raw_vec", "bytes::bytes"],
    ),
    ("memcpy and its like", &["./string"]),
    (REST, &[]),
];

const TOKIO: &str = "tokio: tasks, timers, readiness";
const ENCODING: &str = "encoding for receivers";
const ACKNOWLEDGED: &str = "frames given back that were acknowledged";
const WAY_IN: &str = "the way in, and the end";
/// What no part is known by.
const REST: &str = "the rest";

/// Functions that belong to a part with all that is inlined into them, whatever module that is of.
const WHOLE: &[(&str, &str)] = &[
    (ENCODING, "tagwire::frame::encode_header"),
    (ENCODING, "tagwire::frame::encode_message"),
    (ACKNOWLEDGED, "tagwire::session::outbox::Outbox::acknowledge"),
    (WAY_IN, "tagwire_server::connection::come_in"),
];

/// The module that a file is, as its functions are named; a file that is not Rust's is itself. `None`: of the standard library,
/// whose code belongs to who uses it.
fn module(file: &str) -> Option<String> {
    if file.starts_with("library/") {
        return None;
    }
    let (folder, inside) = match file.split_once("src/") {
        Some(("", inside)) => ("tagwire", inside),
        Some(("server/", inside)) => ("tagwire_server", inside),
        Some((folder, inside)) => (folder.trim_end_matches('/').rsplit('/').next().unwrap(), inside),
        None => return Some(file.to_string()),
    };
    // Folders of the registry end with the version.
    let name = match folder.rsplit_once('-') {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => folder,
    };
    let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    Some(format!("{}::{inside}", name.replace('-', "_")))
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `path` is `name`, or something in it.
fn is_in(path: &str, name: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_of_a_name))
}

/// The part of the longest name that this is in.
fn part_of_path(path: &str) -> Option<&'static str> {
    let names = PARTS.iter().flat_map(|(part, names)| names.iter().map(move |name| (*part, *name)));
    let fitting = names.filter(|(_, name)| is_in(path, name));
    fitting.max_by_key(|(_, name)| name.len()).map(|(part, _)| part)
}

/// The part of `function [file]`.
fn part_of(line: &str) -> &'static str {
    let (function, file) = line.strip_suffix(']').and_then(|line| line.rsplit_once(" [")).unwrap();
    if let Some((part, _)) = WHOLE.iter().find(|(_, whole)| is_in(function, whole)) {
        return part;
    }
    // Of a name like `<Vec<T> as Trait>::f` or `drop_in_place<T>` the first path in it that is of a part.
    let begins = |at: usize| !function[..at].ends_with(|c| is_of_a_name(c) || c == ':');
    let paths = || function.char_indices().filter(|(at, _)| begins(*at)).map(|(at, _)| &function[at..]);
    let of_file = module(file).and_then(|module| part_of_path(&module));
    of_file.or_else(|| paths().find_map(part_of_path)).unwrap_or(REST)
}

/// What is counted of one thing that a server does.
struct Column {
    head: &'static str,
    cost: Parts,
    of_parts: HashMap<&'static str, f64>,
}

impl Column {
    fn new(head: &'static str, cost: Parts) -> Self {
        let mut of_parts = HashMap::new();
        for (line, cost) in &cost {
            *of_parts.entry(part_of(line)).or_default() += cost;
        }
        Column { head, cost, of_parts }
    }

    fn of_echoes(head: &'static str, bursts: u32, messages: u32) -> Self {
        let run = |bursts| {
            served(|server| {
                echo(&mut players(server, 1)[0], bursts, messages);
            })
        };
        Column::new(head, a_message(&run(bursts), &run(2 * bursts), bursts * messages))
    }

    fn of_relays(head: &'static str, bursts: u32, messages: u32) -> Self {
        Column::new(
            head,
            a_message(&relay(bursts, messages), &relay(2 * bursts, messages), bursts * messages),
        )
    }

    fn of_requests(head: &'static str, bursts: u32, requests: u32) -> Self {
        let run = |bursts| served(|server| ask(&mut players(server, 1)[0], bursts, requests));
        Column::new(head, a_message(&run(bursts), &run(2 * bursts), bursts * requests))
    }

    fn of_logins(head: &'static str, logins: u32) -> Self {
        Column::new(head, a_message(&login(logins), &login(2 * logins), logins))
    }

    fn of(&self, part: &str) -> f64 {
        self.of_parts.get(part).copied().unwrap_or(0.0)
    }

    fn all(&self) -> f64 {
        self.cost.values().sum()
    }

    /// The functions that cost most, for who wants to know more than the table tells.
    fn dearest(&self) -> String {
        const TOLD: usize = 10;
        let mut lines: Vec<_> = self.cost.iter().collect();
        lines.sort_by(|a, b| b.1.total_cmp(a.1));
        let mut text = format!("{}, the dearest:\n", self.head);
        for (line, cost) in lines.into_iter().take(TOLD) {
            writeln!(text, "{:>10}  {line}: {}", number(*cost), part_of(line)).unwrap();
        }
        text
    }
}

/// So many bursts of so many requests, each burst answered before the next.
fn ask(player: &mut Player, bursts: u32, requests: u32) {
    for burst in 0..bursts {
        for i in 0..requests {
            player.session.request(&AskRequest::numbered(burst * requests + i)).unwrap();
        }
        player.flush();
        for _ in 0..requests {
            let response = player.wait(|event| match event {
                Event::Response(response) => Some(response),
                _ => None,
            });
            assert_eq!(response.status(), v1::status::Value::Ok, "{response:?}");
        }
        player.received.clear();
    }
}

/// A whole number with commas, `-` for none.
fn number(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    if digits == "0" {
        return "-".to_string();
    }
    let mut text = if value < 0.0 { "-".to_string() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A row a part, and one of all. `Err`: the rows do not add up to it.
fn table(columns: &[Column]) -> Result<String, String> {
    for column in columns {
        let sum: f64 = PARTS.iter().map(|(part, _)| column.of(part)).sum();
        let all = column.all();
        if (sum - all).abs() >= 0.01 {
            return Err(format!("{}: the parts have {sum} of {all}", column.head));
        }
    }
    let cells = |cell: &dyn Fn(&Column) -> String| columns.iter().map(cell).collect::<Vec<_>>().join(" | ");
    let mut text = format!(
        "| | {} |\n|---|{}\n",
        cells(&|column| column.head.to_string()),
        "--:|".repeat(columns.len())
    );
    for (part, _) in PARTS {
        writeln!(text, "| {part} | {} |", cells(&|column| number(column.of(part)))).unwrap();
    }
    writeln!(text, "| **all** | {} |", cells(&|column| format!("**{}**", number(column.all())))).unwrap();
    Ok(text)
}

const BEGIN: &str = "<!-- profile -->";
const END: &str = "<!-- /profile -->";

/// `page` with `table` between its markers. `Err`: each of them must be there once, in order.
fn with_table(page: &str, table: &str) -> Result<String, String> {
    let once = [BEGIN, END].iter().all(|marker| page.matches(marker).count() == 1);
    let around = page.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    match around {
        Some((head, tail)) if once => Ok(format!("{head}{BEGIN}\n\n{table}\n{END}{tail}")),
        _ => Err(format!("the table goes between `{BEGIN}` and `{END}`, each of which must be there once")),
    }
}

const PAGE: &str = "docs/PERFORMANCE.md";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE)
}

#[test]
#[ignore = "run by scripts/guards --profile"]
fn where_the_time_goes() {
    let columns = [
        Column::of_echoes("W1, window 16", 256, 16),
        Column::of_echoes("W1, window 1", 2048, 1),
        Column::of_relays("to 10, 16 at once", 256, 16),
        Column::of_relays("to 10, one", 2048, 1),
        Column::of_requests("W5, window 16", 256, 16),
        Column::of_logins("login and leaving", 200),
    ];
    let table = table(&columns).unwrap();
    println!("\n{table}");
    columns.iter().for_each(|column| println!("{}", column.dearest()));
    if std::env::var_os("TAGWIRE_PROFILE_DOCS").is_some() {
        let written = with_table(&std::fs::read_to_string(page()).unwrap(), &table);
        std::fs::write(page(), written.unwrap_or_else(|e| panic!("{PAGE}: {e}"))).unwrap();
        println!("written into {PAGE}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As callgrind writes it: names once, then by their numbers; inlined code by `fi` and `fe`; behind `calls` what was spent
    /// in there.
    const PROFILE: &str = "\
events: Ir
fl=(1) server/src/reader.rs
fn=(1) tagwire_server::reader::take'2
10 20
fi=(2) server/src/router.rs
+3 300
fi=(3) /rustc/0123/library/core/src/result.rs
* 40
fi=(10) /rustc/0123/library/core/src/fmt/mod.rs
1 6
fi=(4) /home/player/.cargo/registry/src/index-0123/tokio-util-0.7.20/src/task/task_tracker.rs
7 5000
fe=(1)
cfi=(5) src/session/outbox.rs
cfn=(2) <tagwire::session::outbox::Outbox>::push_all
calls=3 12
11 99999
fl=(5)
fn=(2)
12 600
fi=(6) src/frame.rs
3 7
fn=(3) tagwire::session::outbox::Outbox::acknowledge::h0123456789abcdef
4 80
fl=(7) ./malloc/./malloc/malloc.c
fn=(4) _int_free
1 900
fl=(8) ./string/../sysdeps/x86_64/multiarch/memmove-vec-unaligned-erms.S
fn=(5) __memcpy_avx_unaligned_erms
1 11
fl=(9) ./socket/../sysdeps/unix/sysv/linux/send.c
fn=(6) send
1 2
fn=(7) sendmmsg
1 3
fl=(3)
fn=(8) core::ptr::drop_in_place<core::option::Option<tagwire_server::router::InTurn>>
1 4
fn=(9) <alloc::string::String as core::fmt::Write>::write_char
1 1200
fn=(10) not_tokio::run
1 5
totals: 8178
";

    fn column(profile: &str) -> Column {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profile");
        std::fs::write(&file, profile).unwrap();
        Column::new("one", a_message(&callgrind::Profile::new(), &callgrind::read(&file), 1))
    }

    #[test]
    fn each_instruction_is_of_one_part() {
        let table = table(&[column(PROFILE)]).unwrap();
        let (mut lines, mut sum) = (table.lines(), 0);
        assert_eq!([lines.next().unwrap(), lines.next().unwrap()], ["| | one |", "|---|--:|"]);
        let rows: Vec<_> = lines.filter(|line| !line.ends_with("| - |")).collect();
        for row in &rows[..rows.len() - 1] {
            sum += row.split('|').nth(2).unwrap().trim().replace(',', "").parse::<u64>().unwrap();
        }
        assert_eq!(
            rows,
            [
                "| tokio: tasks, timers, readiness | 5,000 |",
                "| a connection's turn, reading | 20 |",
                "| header and bounds of the frame | 7 |",
                "| router: room, hooks, lane, counters | 350 |",
                "| outboxes and writes | 602 |",
                "| frames given back that were acknowledged | 80 |",
                "| lines of the log | 1,200 |",
                "| malloc and free; buffers that grow or are shared | 900 |",
                "| memcpy and its like | 11 |",
                "| the rest | 8 |",
                "| **all** | **8,178** |",
            ]
        );
        assert_eq!(sum, 8178, "the total that callgrind tells");
    }

    #[test]
    fn a_part_without_a_row_is_an_error() {
        let mut column = column(PROFILE);
        column.of_parts.remove(ACKNOWLEDGED).unwrap();
        assert_eq!(table(&[column]), Err("one: the parts have 8098 of 8178".to_string()));
    }

    #[test]
    fn no_name_is_of_two_parts() {
        let mut names: Vec<_> = PARTS.iter().flat_map(|(_, names)| names.iter()).collect();
        names.extend(WHOLE.iter().map(|(_, name)| name));
        names.sort();
        let twice: Vec<_> = names.windows(2).filter(|two| two[0] == two[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
        let has_row = |part| PARTS.iter().any(|(row, _)| *row == part);
        assert!(WHOLE.iter().all(|(part, _)| has_row(*part)));
    }

    #[test]
    fn numbers_are_read_by_people() {
        let told = [0.4, -0.4, 1.0, 999.6, 13_664.2, 1_234_567.0, -1000.0].map(number);
        assert_eq!(told, ["-", "-", "1", "1,000", "13,664", "1,234,567", "-1,000"]);
    }

    #[test]
    fn the_table_goes_between_its_markers() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let written = with_table(&page, "| new |\n").unwrap();
        assert_eq!(written, format!("before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"));
        assert_eq!(with_table(&written, "| new |\n").unwrap(), written);
        for page in [
            "by hand".to_string(),
            format!("{END} {BEGIN}"),
            format!("{BEGIN} {BEGIN} {END}"),
            BEGIN.to_string(),
        ] {
            assert!(with_table(&page, "").unwrap_err().contains(END), "{page}");
        }
        with_table(&std::fs::read_to_string(super::page()).unwrap(), "").unwrap();
    }

    /// Where the name is wrong, `cargo test` runs nothing and is content.
    #[test]
    fn the_script_runs_it_by_its_name() {
        let script = include_str!("../../../scripts/guards");
        let (_, name) = std::any::type_name_of_val(&where_the_time_goes).split_once("::").unwrap();
        assert!(script.contains(&format!(" --exact {name} ")), "{name}");
    }
}
