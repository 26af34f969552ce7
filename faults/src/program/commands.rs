//! Commands on standard input.

use std::io::{BufRead, Read};

use tagwire_faults::ends::{Cut, Side};
use tagwire_faults::proxy::{Close, Faults, How, Pause, Proxy};
use tokio::sync::mpsc;

/// No command is longer; more is cut off, and thereby none.
const MAX_LINE_BYTES: u64 = 256;

/// What a command answers.
pub(super) enum Answer {
    /// This, on standard output.
    Line(String),
    /// Nothing: it ends the program.
    Quit,
}

/// Carries commands out.
pub(super) struct Console<'a> {
    proxy: &'a Proxy,
    /// Those of the flags.
    faults: Faults,
}

impl<'a> Console<'a> {
    pub(super) fn new(proxy: &'a Proxy) -> Self {
        Console { proxy, faults: proxy.faults() }
    }

    /// Carries one out; an error says what is wrong with it.
    pub(super) fn handle(&mut self, line: &str) -> Result<Answer, String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["cut"] => format!("cut {}", self.proxy.cut_all(None)),
            ["cut", kind] => format!("cut {}", self.proxy.cut_all(Some(how(kind)?))),
            ["faults", "on"] => {
                self.proxy.set(self.faults.clone());
                "faults on".to_string()
            }
            ["faults", "off"] => {
                // Who is half-open is held as long as before.
                let half_open_ms = self.faults.half_open_ms;
                self.proxy.set(Faults { half_open_ms, ..Faults::none() });
                "faults off".to_string()
            }
            ["pause"] => self.pause(Pause::Refuse),
            ["pause", "stall"] => self.pause(Pause::Stall),
            ["resume"] => {
                self.proxy.resume();
                "resumed".to_string()
            }
            ["status"] => self.proxy.counters().to_string(),
            ["quit"] => return Ok(Answer::Quit),
            _ => {
                return Err(format!(
                    "no such command: {line:?}; there are: cut [fin|reset|client|server|both], faults on|off, \
                     pause [stall], resume, status, quit"
                ));
            }
        };
        Ok(Answer::Line(answer))
    }

    fn pause(&self, pause: Pause) -> String {
        self.proxy.pause(pause);
        "paused".to_string()
    }
}

fn how(kind: &str) -> Result<How, String> {
    let (cut, close) = match kind {
        "fin" => (Cut::Both, Close::Fin),
        "reset" => (Cut::Both, Close::Reset),
        "client" => (Cut::HalfOpen { blind: Side::Client }, Close::Fin),
        "server" => (Cut::HalfOpen { blind: Side::Server }, Close::Fin),
        "both" => (Cut::Silent, Close::Fin),
        _ => return Err(format!("no such cut: {kind:?}; there are: fin, reset, client, server, both")),
    };
    Ok(How { cut, close })
}

/// The lines of standard input; it ends with them.
pub(super) fn lines() -> mpsc::Receiver<String> {
    let (lines_tx, lines_rx) = mpsc::channel(1);
    // A thread of its own, which dies with the process: waiting for input cannot be called off.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        while matches!(input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim().to_string();
            line.clear();
            if !text.is_empty() && lines_tx.blocking_send(text).is_err() {
                return;
            }
        }
    });
    lines_rx
}
