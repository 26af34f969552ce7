//! What a proxy has seen and done.

use std::fmt;

use super::faults::{Close, How};
use crate::ends::{Cut, PerDirection, Side};

/// What a proxy has seen and done since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Connections accepted, those refused while paused not among them.
    pub connections: u64,
    /// Of these, forwarding now, or about to.
    pub open: u64,
    /// Of these, cut and held open, not answering.
    pub half_open: u64,
    /// Connections refused while paused.
    pub refused: u64,
    /// Connections that were reset because the server could not be reached, within 10 s.
    pub unreachable: u64,
    /// Connections that their own ends brought to an end.
    pub ended: u64,
    /// Connections cut, by kind.
    pub cuts: CutCounters,
    /// Times that a direction stalled.
    pub stalls: u64,
    /// Bytes written on.
    pub bytes: PerDirection<u64>,
}

/// Connections cut, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CutCounters {
    /// Both ends were told, by FIN.
    pub closed: u64,
    /// Both ends were told, by RST.
    pub reset: u64,
    /// The client was not told.
    pub blind_client: u64,
    /// The server was not told.
    pub blind_server: u64,
    /// Neither was told.
    pub silent: u64,
}

impl CutCounters {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.closed + self.reset + self.blind_client + self.blind_server + self.silent
    }

    pub(super) fn count(&mut self, how: How) {
        let counter = match (how.cut, how.close) {
            (Cut::Both, Close::Fin) => &mut self.closed,
            (Cut::Both, Close::Reset) => &mut self.reset,
            (Cut::HalfOpen { blind: Side::Client }, _) => &mut self.blind_client,
            (Cut::HalfOpen { blind: Side::Server }, _) => &mut self.blind_server,
            (Cut::Silent, _) => &mut self.silent,
        };
        *counter += 1;
    }
}

/// One line of JSON: numbers by the names of the fields, `cuts` and `bytes` objects of their own.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { connections, open, half_open, refused, unreachable, ended, cuts, stalls, bytes } =
            self;
        let CutCounters { closed, reset, blind_client, blind_server, silent } = cuts;
        let PerDirection { to_server, to_client } = bytes;
        write!(
            f,
            "{{\"connections\":{connections},\"open\":{open},\"half_open\":{half_open},\
             \"refused\":{refused},\"unreachable\":{unreachable},\"ended\":{ended},\
             \"cuts\":{{\"closed\":{closed},\"reset\":{reset},\"blind_client\":{blind_client},\
             \"blind_server\":{blind_server},\"silent\":{silent}}},\"stalls\":{stalls},\
             \"bytes\":{{\"to_server\":{to_server},\"to_client\":{to_client}}}}}"
        )
    }
}
