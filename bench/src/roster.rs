//! Who takes part in a run.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::cases::{Case, Only};
use crate::load::cpu;
use crate::peers::built::{naive, tonic};
use crate::peers::colyseus::Colyseus;
use crate::peers::go::Go;
use crate::peers::limit::Limit;
use crate::peers::mosquitto::Mosquitto;
use crate::peers::nats::Nats;
use crate::peers::python::Python;
use crate::peers::tagwire::{Over, Tagwire};
use crate::peers::ws::Ws;
use crate::peers::{Peer, folder};
use crate::result::About;

/// tagwire on one core.
pub const TAGWIRE: &str = "tagwire";
/// tagwire with a thread for each core.
pub const ALL_CORES: &str = "tagwire on all cores";

/// A server that takes part.
pub struct Entry {
    peer: Box<dyn Peer>,
    /// 1: on a core of its own.
    threads: usize,
    /// tagwire over a WebSocket and over TLS; empty for others.
    variants: Vec<(Over, Box<dyn Peer>)>,
}

impl Entry {
    fn new(peer: impl Peer + 'static) -> Self {
        Entry { peer: Box::new(peer), threads: 1, variants: vec![] }
    }

    fn tagwire(name: &'static str, threads: usize) -> Self {
        let over = |over| (over, Box::new(Tagwire::over(name, over)) as Box<dyn Peer>);
        Entry {
            threads,
            variants: vec![over(Over::WebSocket), over(Over::Tls)],
            ..Entry::new(Tagwire::new(name))
        }
    }

    /// As in tables.
    pub fn name(&self) -> &'static str {
        self.peer.name()
    }

    /// Its threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// For the table of settings.
    pub fn about(&self) -> About {
        About { name: self.name().to_string(), about: self.peer.about() }
    }

    /// The server for a case; `None`: it does not take part in that.
    pub fn peer(&self, case: &Case) -> Option<&dyn Peer> {
        let is_tagwire = !self.variants.is_empty();
        let takes_part = match case.only {
            Only::All => true,
            Only::Limit => is_tagwire && self.threads == 1 || self.name() == Limit::default().name(),
            Only::Tagwire => is_tagwire && self.threads == 1,
        };
        let peer = match case.over {
            Over::Tcp => Some(&self.peer),
            over => self.variants.iter().find(|(way, _)| *way == over).map(|(_, peer)| peer),
        }?;
        let can = case.plan.features().into_iter().all(|feature| peer.can(feature));
        (takes_part && can).then_some(peer.as_ref())
    }

    fn prepare(&mut self, home: &Path, target: &Path) -> anyhow::Result<()> {
        self.peer.prepare(home, target)?;
        self.variants.iter_mut().try_for_each(|(_, peer)| peer.prepare(home, target))
    }
}

/// All who may, none of them ready.
///
/// # Errors
/// The kernel does not say how many cores there are.
pub fn everyone() -> anyhow::Result<Vec<Entry>> {
    let programs = folder()?;
    Ok(vec![
        Entry::new(Limit::default()),
        Entry::tagwire(TAGWIRE, 1),
        Entry::tagwire(ALL_CORES, cpu::cores()?),
        Entry::new(naive(&programs)),
        Entry::new(tonic(&programs)),
        Entry::new(Go::default()),
        Entry::new(Nats::default()),
        Entry::new(Mosquitto::default()),
        Entry::new(Ws::default()),
        Entry::new(Colyseus::default()),
        Entry::new(Python::default()),
    ])
}

/// The limit and tagwire: without them a run says nothing.
pub fn is_needed(name: &str) -> bool {
    [Limit::default().name(), TAGWIRE, ALL_CORES].contains(&name)
}

/// The names of all.
///
/// # Errors
/// The kernel does not say how many cores there are.
pub fn names() -> anyhow::Result<Vec<&'static str>> {
    Ok(everyone()?.iter().map(Entry::name).collect())
}

/// Who takes part, made ready, and who does not and why. The limit and tagwire always do; of the others those in `chosen`, or all.
///
/// # Errors
/// Nobody has one of the names; the limit or tagwire cannot take part.
#[allow(clippy::type_complexity, reason = "two lists")]
pub fn prepare(
    chosen: Option<&[String]>,
    home: &Path,
    target: &Path,
) -> anyhow::Result<(Vec<Entry>, Vec<(String, String)>)> {
    let mut entries = everyone()?;
    let names = names()?;
    for name in chosen.into_iter().flatten() {
        if !names.contains(&name.as_str()) {
            bail!("there is no peer {name:?}; there are: {}", names.join(", "));
        }
    }
    let needed = |entry: &Entry| is_needed(entry.name());
    entries.retain(|entry| {
        needed(entry) || chosen.is_none_or(|chosen| chosen.iter().any(|name| name == entry.name()))
    });
    let mut missing = vec![];
    let mut ready = vec![];
    for mut entry in entries {
        match entry.prepare(home, target) {
            Ok(()) => ready.push(entry),
            Err(error) if needed(&entry) => return Err(error).context(entry.name()),
            Err(error) => missing.push((entry.name().to_string(), format!("{error:#}"))),
        }
    }
    Ok((ready, missing))
}
