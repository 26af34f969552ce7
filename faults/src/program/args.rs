//! The command line.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use clap::{Parser, ValueEnum};
use tagwire_faults::ends::Direction;
use tagwire_faults::proxy::{CutAfter, Faults, HalfOpen, Stalling};

const HELP: &str = "\
Examples:
  tagwire-faults --upstream 127.0.0.1:7777                      nothing bad yet; commands can cut
  tagwire-faults --upstream 127.0.0.1:7777 --seed 7 --cut-after 0..20000 --reset 50
  tagwire-faults --upstream 127.0.0.1:7777 --cut-after 100 --cut-direction to-server     exactly there
  tagwire-faults --upstream 127.0.0.1:7777 --cut-after 0..20000 --half-open 30 --half-open-ms 5000
  tagwire-faults --upstream 127.0.0.1:7777 --delay-ms 5..50 --split 3 --stall 1:500

The first line on standard output is `listening on ADDRESS:PORT`. Then it takes commands on standard input, one a
line, and answers each with one line:
  cut            cuts all connections now, each as its draws say      `cut N`
  cut KIND       ... all this way: fin, reset, client, server, both (client, server, both: who is not told)
  faults off     bytes go on as they come from now on                 `faults off`
  faults on      the faults of the flags; cuts are drawn anew         `faults on`
  pause          resets new connections; `pause stall` lets them wait `paused`
  resume         takes new connections again                          `resumed`
  status         what was counted, as one line of JSON
  quit           ends it, as does the end of standard input
A range is MIN..MAX, both included, or one number. The same seed draws the same for the N-th connection.
Exit codes: 0 told to stop, 1 failed while running, 2 bad flag, address or command.";

/// Stands between clients and a server, and is a bad network to them: delays, splits, stalls and cuts.
#[derive(Debug, Parser)]
#[command(name = "tagwire-faults", version, after_help = HELP)]
pub(super) struct Args {
    /// Where the server listens; it may start later
    #[arg(long, value_name = "ADDR")]
    pub(super) upstream: SocketAddr,

    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(super) listen: SocketAddr,

    /// What all draws come from [default: another one each time, printed on standard error]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Cut each connection after so many bytes, drawn from the range [default: never]
    #[arg(long, value_name = "MIN..MAX", value_parser = range)]
    cut_after: Option<RangeInclusive<u64>>,

    /// Whose bytes --cut-after counts
    #[arg(long, value_enum, value_name = "DIRECTION", default_value = "both", requires = "cut_after")]
    cut_direction: CutDirection,

    /// Of the connections that are cut, how many become half-open
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=100))]
    half_open: u8,

    /// Who is not told then
    #[arg(long, value_enum, value_name = "SIDE", default_value = "drawn")]
    half_open_side: HalfOpenSide,

    /// How long an end that was not told is held open, not answering; then it is reset
    #[arg(long, value_name = "N", default_value = "10000")]
    half_open_ms: u64,

    /// Of the connections that are cut, how many end by RST instead of FIN
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=100))]
    reset: u8,

    /// Delay of each chunk, drawn from the range; never reorders
    #[arg(long, value_name = "MIN..MAX", default_value = "0", value_parser = range)]
    delay_ms: RangeInclusive<u64>,

    /// Write in pieces of 1 to so many bytes [default: as they came]
    #[arg(long, value_name = "MAX", value_parser = clap::value_parser!(u32).range(1..))]
    split: Option<u32>,

    /// Of the chunks, how many percent make their direction wait, and how long [default: none]
    #[arg(long, value_name = "PERCENT:MS", value_parser = stalling)]
    stall: Option<Stalling>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CutDirection {
    ToServer,
    ToClient,
    Both,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HalfOpenSide {
    Client,
    Server,
    Both,
    Drawn,
}

impl Args {
    /// Of this process. Ends it where they are asked to be explained, or are wrong.
    pub(super) fn read() -> Self {
        Args::parse()
    }

    /// The one given, or else any, which is told: without it a failure cannot be repeated.
    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            // Short enough to be typed.
            let seed = fastrand::u64(0..1_000_000);
            super::complain(&format!("seed {seed}"));
            seed
        })
    }

    pub(super) fn faults(&self) -> Faults {
        let direction = match self.cut_direction {
            CutDirection::ToServer => Some(Direction::ToServer),
            CutDirection::ToClient => Some(Direction::ToClient),
            CutDirection::Both => None,
        };
        Faults {
            cut: self.cut_after.clone().map(|bytes| CutAfter { direction, bytes }),
            half_open_percent: self.half_open,
            half_open: match self.half_open_side {
                HalfOpenSide::Client => HalfOpen::Client,
                HalfOpenSide::Server => HalfOpen::Server,
                HalfOpenSide::Both => HalfOpen::Both,
                HalfOpenSide::Drawn => HalfOpen::Drawn,
            },
            half_open_ms: self.half_open_ms,
            reset_percent: self.reset,
            delay_ms: self.delay_ms.clone(),
            split: self.split.map(|most| most as usize),
            stall: self.stall,
            ..Faults::none()
        }
    }
}

fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let (min, max) = (number(min)?, number(max)?);
    if min > max {
        return Err(format!("{min} is more than {max}"));
    }
    Ok(min..=max)
}

fn stalling(text: &str) -> Result<Stalling, String> {
    let (percent, for_ms) = text.split_once(':').ok_or("not PERCENT:MS, like 5:200")?;
    let percent = u8::try_from(number(percent)?).ok().filter(|percent| *percent <= 100);
    Ok(Stalling { percent: percent.ok_or("more than 100 percent")?, for_ms: number(for_ms)? })
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number"))
}
