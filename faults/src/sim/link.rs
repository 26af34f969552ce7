//! A connection in memory: two ends, two pipes, and how it ends.

use std::fmt;

use fastrand::Rng;

use super::pipe::Pipe;
use super::plan::{CutAt, InFlight, Plan};
use crate::ends::{Cut, Direction, PerDirection, Side};

/// What a direction has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bytes {
    /// Accepted from the writer, for good or bad.
    pub written: u64,
    /// Read by the reader.
    pub delivered: u64,
    /// Known by now to reach nobody, ever.
    pub lost: u64,
}

/// A connection in memory. Its `Debug` says how to make it again.
#[derive(Clone)]
pub struct Link {
    plan: Plan,
    seed: u64,
    start_us: u64,
    /// Bytes of the session's earlier links.
    before: PerDirection<u64>,
    to_server: Pipe,
    to_client: Pipe,
    client: End,
    server: End,
    broken: Option<Broken>,
}

/// What one end knows.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    /// It closed the link itself.
    closed: bool,
    /// When the other end's end arrives here.
    told_us: Option<u64>,
    /// It has seen it.
    noticed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Broken {
    at_us: u64,
    /// Whose bytes before the cut all arrive; the others' are lost by `pending`.
    direction: Option<Direction>,
    /// Not carried out yet.
    pending: Option<InFlight>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Link { plan, seed, start_us, before, .. } = self;
        write!(f, "Link::with_offsets({plan:?}, {seed}, {start_us}, {before:?})")
    }
}

impl Link {
    /// A link that begins at `now_us`. What is drawn comes from `seed`.
    #[must_use]
    pub fn new(plan: Plan, seed: u64, now_us: u64) -> Self {
        Self::with_offsets(plan, seed, now_us, PerDirection::default())
    }

    /// The same, for a session that had other links: `before` is what those carried. The plan's cut is counted
    /// with them, and is not made here if its byte lies before.
    #[must_use]
    pub fn with_offsets(plan: Plan, seed: u64, now_us: u64, before: PerDirection<u64>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let stalls = |direction| {
            plan.stalls.iter().copied().filter(move |stall| stall.direction == direction).collect::<Vec<_>>()
        };
        let to_server = Pipe::new(rng.fork(), stalls(Direction::ToServer), now_us);
        let to_client = Pipe::new(rng.fork(), stalls(Direction::ToClient), now_us);
        let mut link = Link {
            to_server,
            to_client,
            plan,
            seed,
            start_us: now_us,
            before,
            client: End::default(),
            server: End::default(),
            broken: None,
        };
        if let Some(cut) = link.plan.cut
            && cut.byte == link.before[cut.direction]
        {
            link.cut_at(now_us, cut);
        }
        link
    }

    /// The session's next link, beginning at `now_us`: the same plan, and its cut only if it was not made yet.
    #[must_use]
    pub fn reconnect(&self, now_us: u64) -> Self {
        let plan = if self.is_cut() { self.plan.clone().uncut() } else { self.plan.clone() };
        let before = PerDirection {
            to_server: self.before.to_server + self.to_server.written,
            to_client: self.before.to_client + self.to_client.written,
        };
        // Not the same draws again, and still no others.
        Self::with_offsets(plan, self.seed.wrapping_add(1), now_us, before)
    }

    /// What it suffers.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes from one end; returns how many bytes were accepted, from the first on. Fewer than all: the
    /// buffer is full, and [`Link::next_event_us`] tells when there is room again. What is written into a link that is
    /// cut vanishes: unnoticed by who is blind, until the buffer is full; by who was told, all of it.
    /// After this end's own [`Link::close`] nothing is accepted.
    pub fn write(&mut self, side: Side, now_us: u64, bytes: &[u8]) -> usize {
        if self.broken.is_some() {
            self.settle(now_us);
        }
        if self.end(side).closed {
            return 0;
        }
        let direction = side.sends();
        let told = self.end(side).told_us.is_some_and(|told_us| told_us <= now_us);
        // Through a broken link nobody hears that the other end is gone.
        let deaf = self.end(side.other()).closed && self.broken.is_none();
        let before = self.before[direction];
        let Link { plan, to_server, to_client, broken, .. } = self;
        let pipe = match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        };
        if told || deaf {
            pipe.swallow(bytes.len());
            return bytes.len();
        }
        let accepted = pipe.accept(plan, bytes.len());
        let bytes = bytes.get(..accepted).unwrap_or(bytes);
        match *broken {
            Some(Broken { at_us, direction: cut, .. }) if cut == Some(direction) || at_us <= now_us => {
                pipe.vanish(accepted);
            }
            Some(_) => pipe.carry(plan, now_us, bytes),
            None => match plan.cut.filter(|cut| cut.direction == direction && cut.byte > before) {
                None => pipe.carry(plan, now_us, bytes),
                Some(cut) => {
                    let left = cut.byte - before - pipe.written.min(cut.byte - before);
                    let passes = usize::try_from(left).unwrap_or(usize::MAX).min(accepted);
                    let (arrives, lost) = bytes.split_at(passes);
                    pipe.carry(plan, now_us, arrives);
                    if passes as u64 == left {
                        pipe.vanish(lost.len());
                        let at_us = pipe.last_us();
                        self.breaks(at_us, Some(direction), cut.cut, cut.in_flight);
                        self.settle(now_us);
                    }
                }
            },
        }
        accepted
    }

    /// What has arrived at one end by now, `None` if nothing is there (yet). With [`Plan::split`] only a part of it:
    /// read until `None` comes.
    pub fn read(&mut self, side: Side, now_us: u64) -> Option<&[u8]> {
        if self.broken.is_some() {
            self.settle(now_us);
        }
        if self.end(side).closed {
            return None;
        }
        let Link { plan, to_server, to_client, .. } = self;
        match side.receives() {
            Direction::ToServer => to_server.read(plan, now_us),
            Direction::ToClient => to_client.read(plan, now_us),
        }
    }

    /// How many bytes [`Link::write`] would accept from this end now.
    #[must_use]
    pub fn room(&self, side: Side) -> usize {
        if self.end(side).closed { 0 } else { self.pipe(side.sends()).room(&self.plan) }
    }

    /// Whether this end knows by now that the link is over and has read all that came before. Like the 0 that reads
    /// from a socket.
    pub fn is_ended(&mut self, side: Side, now_us: u64) -> bool {
        self.settle(now_us);
        let told = self.end(side).told_us.is_some_and(|told_us| told_us <= now_us);
        let ended = self.end(side).closed || (told && self.pipe(side.receives()).is_empty());
        self.end_mut(side).noticed |= ended;
        ended
    }

    /// This end closes the link as a program closes a socket: what it wrote still arrives, then the other end sees the
    /// end. It reads nothing any more, and is ended at once.
    pub fn close(&mut self, side: Side, now_us: u64) {
        self.settle(now_us);
        if self.end(side).closed {
            return;
        }
        *self.end_mut(side) = End { closed: true, noticed: true, ..*self.end(side) };
        let Link { plan, to_server, to_client, .. } = self;
        let (sends, receives) = match side {
            Side::Client => (to_server, to_client),
            Side::Server => (to_client, to_server),
        };
        let told_us = sends.arrival_us(plan, now_us, 0);
        receives.lose_after(0);
        // What it says through a link that breaks before is not heard.
        if self.broken.is_none_or(|broken| told_us <= broken.at_us && broken.direction != Some(side.sends()))
        {
            let other = self.end_mut(side.other());
            other.told_us = Some(other.told_us.map_or(told_us, |earlier| earlier.min(told_us)));
        }
    }

    /// Cuts the link now, whatever the plan says. What is on its way is treated as `in_flight` says, in both
    /// directions. Nothing happens to a link that is cut already.
    pub fn cut(&mut self, now_us: u64, cut: Cut, in_flight: InFlight) {
        if self.broken.is_none() {
            self.breaks(now_us, None, cut, in_flight);
            self.settle(now_us);
        }
    }

    /// Whether it was cut, or will be by what is already on its way.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.broken.is_some()
    }

    /// When something happens next, microseconds: something arrives, there is room for what was refused, an end is to be
    /// noticed. Not later than now: something is there to be done. It stays so until the end concerned has read all,
    /// has tried to write, or has asked [`Link::is_ended`]; who leaves bytes unread on purpose wants
    /// [`Link::next_event_after_us`]. `None`: nothing, unless somebody writes.
    #[must_use]
    pub fn next_event_us(&self) -> Option<u64> {
        self.next_from_us(0)
    }

    /// The same, only of what happens later than `now_us`.
    #[must_use]
    pub fn next_event_after_us(&self, now_us: u64) -> Option<u64> {
        self.next_from_us(now_us.saturating_add(1))
    }

    /// What a direction has carried so far.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> Bytes {
        let pipe = self.pipe(direction);
        Bytes { written: pipe.written, delivered: pipe.delivered, lost: pipe.lost }
    }

    fn next_from_us(&self, from_us: u64) -> Option<u64> {
        let mut next = None;
        let mut at = |at_us: u64| {
            if at_us >= from_us {
                next = Some(next.map_or(at_us, |earlier: u64| earlier.min(at_us)));
            }
        };
        for side in Side::BOTH {
            let end = self.end(side);
            if end.closed {
                continue;
            }
            let pipe = self.pipe(side.receives());
            if let Some(at_us) = pipe.arrives_us(from_us) {
                // What arrives after a break may be lost by it; then the break is what happens.
                let breaks_us = self.broken.filter(|broken| {
                    broken.pending.is_some_and(|fate| fate != InFlight::Arrives)
                        && broken.direction != Some(side.receives())
                });
                at(breaks_us.map_or(at_us, |broken| broken.at_us.min(at_us)));
            }
            // Who has seen the end has nothing to write any more.
            if let Some(room_us) = self.pipe(side.sends()).room_us().filter(|_| !end.noticed) {
                at(room_us);
            }
            if let Some(told_us) = end.told_us.filter(|_| !end.noticed) {
                at(if pipe.is_empty() { told_us } else { told_us.max(pipe.last_us()) });
            }
        }
        next
    }

    fn cut_at(&mut self, now_us: u64, cut: CutAt) {
        let at_us = now_us.saturating_add(self.plan.latency_us);
        self.breaks(at_us, Some(cut.direction), cut.cut, cut.in_flight);
    }

    fn breaks(&mut self, at_us: u64, direction: Option<Direction>, cut: Cut, in_flight: InFlight) {
        self.broken = Some(Broken { at_us, direction, pending: Some(in_flight) });
        for side in Side::BOTH {
            let end = self.end_mut(side);
            if cut.tells(side) {
                end.told_us = Some(end.told_us.map_or(at_us, |earlier| earlier.min(at_us)));
            } else {
                // A close that was on its way here does not arrive.
                end.told_us = end.told_us.filter(|told_us| *told_us <= at_us);
            }
        }
    }

    /// Carries out what the break does to the bytes on their way, once it is time.
    fn settle(&mut self, now_us: u64) {
        let Some(broken) = &mut self.broken else { return };
        if now_us < broken.at_us {
            return;
        }
        let Some(fate) = broken.pending.take() else { return };
        let cut = broken.direction;
        for direction in Direction::BOTH.into_iter().filter(|direction| Some(*direction) != cut) {
            let pipe = self.pipe_mut(direction);
            match fate {
                InFlight::Lost => pipe.lose_after(0),
                InFlight::Arrives => {}
                InFlight::Drawn => pipe.lose_some(),
            }
        }
    }

    fn end(&self, side: Side) -> &End {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn pipe(&self, direction: Direction) -> &Pipe {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    fn pipe_mut(&mut self, direction: Direction) -> &mut Pipe {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}
