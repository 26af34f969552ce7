//! What is measured.

use anyhow::bail;

use crate::body::MIN_BYTES;
use crate::dialect::{Say, Seat};
use crate::load::Workload;
use crate::load::plays::{Closed, Fan, Idle, Paced, Slow};
use crate::peers::Feature;
use crate::peers::tagwire::Over;

/// One row of a table.
#[derive(Debug, Clone)]
pub struct Case {
    /// "W1" to "W8", or the name of a growth curve.
    pub workload: &'static str,
    /// What of it.
    pub name: String,
    /// What happens.
    pub plan: Plan,
    /// What carries tagwire's frames.
    pub over: Over,
    /// Only tagwire takes part, or only it and the limit.
    pub only: Only,
}

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// All who can.
    All,
    /// The limit and tagwire.
    Limit,
    /// tagwire alone.
    Tagwire,
}

/// Idle players are in rooms of so many.
const IDLE_MEMBERS: usize = 10;

/// What happens in a case.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "each says what its fields are")]
pub enum Plan {
    /// Each of `clients`, in a room of its own, has `window` messages of `bytes` on their way.
    Echo { clients: usize, window: u32, bytes: usize, say: Say },
    /// The same at a steady `hz` each.
    SteadyEcho { clients: usize, hz: f64 },
    /// One sends to `subscribers`, `flight` messages on their way.
    Fan { subscribers: usize, flight: u32, bytes: usize },
    /// `players` in rooms of `members`; each sends `hz` times a second to the others. Some are `slow`; what is sent is
    /// `collected` for a tick of 20 ms.
    Rooms { players: usize, members: usize, hz: f64, say: Say, collected: bool, slow: Option<Slow> },
    /// `clients` are there, each pinged once a second.
    Idle { clients: usize },
    /// `clients` connect and log in, all at once; or all come back to their sessions at once, to `resume` them.
    Storm { clients: usize, resume: bool },
}

impl Plan {
    /// How many clients there are.
    pub fn clients(&self) -> usize {
        match *self {
            Plan::Echo { clients, .. }
            | Plan::SteadyEcho { clients, .. }
            | Plan::Idle { clients }
            | Plan::Storm { clients, .. } => clients,
            Plan::Fan { subscribers, .. } => subscribers + 1,
            Plan::Rooms { players, .. } => players,
        }
    }

    /// The largest body.
    pub fn bytes(&self) -> usize {
        match *self {
            Plan::Echo { bytes, .. } | Plan::Fan { bytes, .. } => bytes,
            _ => MIN_BYTES + 1,
        }
    }

    /// What a server must be able to do.
    pub fn features(&self) -> Vec<Feature> {
        match *self {
            Plan::Echo { say: Say::Request, .. } => vec![Feature::Request],
            Plan::Echo { .. } | Plan::SteadyEcho { .. } => vec![Feature::All],
            Plan::Fan { .. } => vec![Feature::Rooms],
            Plan::Rooms { say, collected, .. } => {
                let mut features = vec![Feature::Rooms];
                if collected {
                    features.push(Feature::Tick);
                }
                match say {
                    Say::CheckedStep => features.push(Feature::Checks),
                    Say::Latest => features.push(Feature::Latest),
                    _ => {}
                }
                features
            }
            Plan::Idle { .. } => vec![Feature::Ping],
            Plan::Storm { resume: true, .. } => vec![Feature::Resume],
            Plan::Storm { .. } => vec![Feature::All],
        }
    }

    /// What becomes of memory while it goes on is judged too: it is measured for the whole time.
    pub fn watches_memory(&self) -> bool {
        matches!(self, Plan::Rooms { say: Say::Latest, .. })
    }

    /// A client hears something, again and again.
    pub fn receives(&self, number: usize) -> bool {
        self.seat(number).receives
    }

    /// A client reads little at a time.
    pub fn is_slow(&self, number: usize) -> bool {
        matches!(self, Plan::Rooms { slow: Some(slow), .. } if slow.has(number))
    }

    /// Who the clients are.
    pub fn seat(&self, number: usize) -> Seat {
        let (room, sends, receives) = match *self {
            Plan::Echo { .. } | Plan::SteadyEcho { .. } => (format!("echo-{number}"), true, true),
            // One room, for those who cannot be without: making thousands is no part of a login.
            Plan::Storm { .. } => ("storm".to_string(), false, false),
            Plan::Fan { .. } => ("fan".to_string(), number == 0, number > 0),
            Plan::Rooms { members, collected, .. } => {
                let kind = if collected { "tick" } else { "room" };
                (format!("{kind}-{}", number / members), true, true)
            }
            Plan::Idle { .. } => (format!("room-{}", number / IDLE_MEMBERS), false, true),
        };
        Seat { number: number as u32, name: format!("player{number}"), room, sends, receives }
    }

    /// What the clients do.
    pub fn play(&self) -> Box<dyn Workload> {
        match *self {
            Plan::Echo { clients, window, bytes, say } => Box::new(Closed::new(clients, say, window, bytes)),
            Plan::SteadyEcho { clients, hz } => Box::new(Paced::new(clients, Say::All, hz, MIN_BYTES, None)),
            Plan::Fan { subscribers, flight, bytes } => Box::new(Fan::new(subscribers + 1, flight, bytes)),
            Plan::Rooms { players, hz, say, slow, .. } => {
                Box::new(Paced::new(players, say, hz, MIN_BYTES, slow))
            }
            Plan::Idle { .. } | Plan::Storm { .. } => Box::new(Idle::default()),
        }
    }
}

/// Those that were asked for, by workload or as "W1 window 16"; else all, or those of a first look.
///
/// # Errors
/// There is none of that name.
pub fn chosen(names: Option<&[String]>, is_quick: bool) -> anyhow::Result<Vec<Case>> {
    let mut cases = all();
    if let Some(names) = names {
        let is = |case: &Case, name: &String| {
            *name == case.workload || *name == format!("{} {}", case.workload, case.name)
        };
        for name in names {
            if !cases.iter().any(|case| is(case, name)) {
                bail!("there is no workload {name:?}; `scripts/bench list` prints all");
            }
        }
        cases.retain(|case| names.iter().any(|name| is(case, name)));
    } else if is_quick {
        // What takes thousands of connections is left out, and so are the growth curves and what no goal is about.
        cases.retain(|case| {
            case.plan.clients() <= 1001
                && case.workload.starts_with('W')
                && !["W2 1 KiB", "W5 window 1"].contains(&&*format!("{} {}", case.workload, case.name))
        });
    }
    Ok(cases)
}

/// All that is measured, in the order of the tables.
pub fn all() -> Vec<Case> {
    let case = |workload, name: &str, plan| Case {
        workload,
        name: name.to_string(),
        plan,
        over: Over::Tcp,
        only: Only::All,
    };
    let echo = |clients, window| Plan::Echo { clients, window, bytes: MIN_BYTES, say: Say::All };
    let fan = |flight, bytes| Plan::Fan { subscribers: 1000, flight, bytes };
    let rooms =
        |say, collected| Plan::Rooms { players: 500, members: 10, hz: 20.0, say, collected, slow: None };
    let ask = |window| Plan::Echo { clients: 100, window, bytes: MIN_BYTES, say: Say::Request };
    let crowd = |slow| Plan::Rooms {
        players: 1000,
        members: 1000,
        hz: 2.0,
        say: Say::Latest,
        collected: false,
        slow,
    };
    let ours = |case: Case| Case { only: Only::Tagwire, ..case };
    let over = |over, case: Case| Case { over, only: Only::Tagwire, ..case };
    let mut cases = vec![
        case("W1", "window 16", echo(100, 16)),
        case("W1", "window 1", echo(100, 1)),
        case("W1", "alone", echo(1, 1)),
        case("W2", "1 in flight", fan(1, MIN_BYTES)),
        case("W2", "16 in flight", fan(16, MIN_BYTES)),
        case("W2", "1 KiB", fan(1, 1024)),
        case("W3", "at once", rooms(Say::Step, false)),
        case("W3", "20 ms tick", rooms(Say::Step, true)),
        ours(case("W3", "with constraints", rooms(Say::CheckedStep, false))),
        case("W4", "10000 idle", Plan::Idle { clients: 10_000 }),
        case("W4", "19000 idle", Plan::Idle { clients: 19_000 }),
        case("W5", "window 16", ask(16)),
        case("W5", "window 1", ask(1)),
        case("W6", "logins", Plan::Storm { clients: 5000, resume: false }),
        ours(case("W6", "resumes", Plan::Storm { clients: 5000, resume: true })),
        ours(case("W7", "all fast", crowd(None))),
        ours(case("W7", "a tenth slow", crowd(Some(Slow { every: 10, bytes: 1024 })))),
        over(Over::WebSocket, case("W8", "W1 websocket", echo(100, 16))),
        over(Over::Tls, case("W8", "W1 tls", echo(100, 16))),
        over(Over::WebSocket, case("W8", "W3 websocket", rooms(Say::Step, false))),
        over(Over::Tls, case("W8", "W3 tls", rooms(Say::Step, false))),
    ];
    let limit =
        |workload, name: usize, plan| Case { only: Only::Limit, ..case(workload, &name.to_string(), plan) };
    for clients in [10, 100, 1000, 10_000] {
        let plan = Plan::SteadyEcho { clients, hz: 20_000.0 / clients as f64 };
        cases.push(limit("connections", clients, plan));
    }
    for count in [1, 10, 100, 1000] {
        let players = count * 10;
        let hz = 5_000.0 / players as f64;
        let plan = Plan::Rooms { players, members: 10, hz, say: Say::Step, collected: false, slow: None };
        cases.push(limit("rooms", count, plan));
    }
    for bytes in [16, 64, 256, 1024, 4096, 16_384] {
        cases.push(limit("size", bytes, Plan::Echo { clients: 100, window: 1, bytes, say: Say::All }));
    }
    cases
}
