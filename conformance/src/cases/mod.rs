//! The cases, group by group. Each is a conversation; the first thing that is not as the protocol has it ends it.

use anyhow::Result;

use crate::stage::Stage;

mod closing;
mod login;
mod messages;
mod ping;
mod refusals;
mod requests;
mod resume;
mod rooms;
mod server;
mod vectors;

/// One conversation.
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Stage) -> Result<()>,
    /// It is held with the real server.
    pub(crate) real: bool,
}

/// The cases of one group: functions, or `name = function`.
macro_rules! cases {
    ($group:literal; $($name:ident $(= $run:expr)?),* $(,)?) => {
        pub(super) const CASES: &[$crate::cases::Case] = &[
            $($crate::cases::Case {
                group: $group,
                name: stringify!($name),
                run: $crate::cases::cases!(@run $name $(= $run)?),
                real: $crate::cases::same($group, "server"),
            }),*
        ];
    };
    (@run $name:ident) => { $name };
    (@run $name:ident = $run:expr) => { $run };
}
use cases;

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The groups in their order, and what each shows.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("login", "name, password, token, guest; Welcome; nothing between the two"),
    ("refusals", "every reason to refuse a login, told with what it says, and not tried again"),
    ("ping", "answers, acknowledgements, round trip, the server's clock"),
    (
        "messages",
        "sending and receiving, short and extended frames; what cannot be read is counted and dropped",
    ),
    ("requests", "replies, each status, time-outs, late answers, batches"),
    ("rooms", "members, changing rooms, rooms that end"),
    (
        "resume",
        "connections cut anywhere, both ways: nothing is lost or doubled; sessions that cannot be resumed",
    ),
    ("closing", "every close code: who comes back, to what, and not before the server asks"),
    ("vectors", "every message of conformance/vectors, good and bad, as a client receives it"),
    ("server", "the real server: logins, rooms, relayed messages, connections cut anywhere"),
];

/// How many cases there are. A client that is held to fewer has not passed.
pub(crate) const COUNT: usize = 160;

/// All of them.
pub(crate) fn all() -> Vec<&'static Case> {
    let groups = [
        login::CASES,
        refusals::CASES,
        ping::CASES,
        messages::CASES,
        requests::CASES,
        rooms::CASES,
        resume::CASES,
        closing::CASES,
        vectors::CASES,
        server::CASES,
    ];
    let all: Vec<_> = groups.into_iter().flatten().collect();
    assert_eq!(all.len(), COUNT, "COUNT says how many cases there are");
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_a_group_of_the_table() {
        let names: BTreeSet<_> = all().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), COUNT);
        let used: BTreeSet<_> = all().iter().map(|case| case.group).collect();
        assert_eq!(used, GROUPS.iter().map(|(group, _)| *group).collect());
    }
}
