//! One direction of a link.

use std::collections::VecDeque;

use fastrand::Rng;

use super::plan::{Plan, Stall, StallAt};

/// Read bytes at the front of the buffer are given up from here on, so that it does not grow for ever.
const COMPACT_BYTES: usize = 16 * 1024;

/// Bytes that arrive together: those up to `end`, counted over the pipe's life.
#[derive(Debug, Clone, Copy)]
struct Piece {
    end: u64,
    at_us: u64,
}

/// One direction of a link: a queue of bytes, and when they arrive.
#[derive(Debug, Clone)]
pub(super) struct Pipe {
    rng: Rng,
    start_us: u64,
    stalls: Vec<Stall>,
    /// What will arrive, from `head` on.
    data: Vec<u8>,
    head: usize,
    /// Those that no read has seen arrive.
    pieces: VecDeque<Piece>,
    /// So many bytes have arrived, the last of them then.
    arrived: u64,
    arrived_us: u64,
    /// When the last of all pieces arrives. Later ones never do so before.
    last_us: u64,
    /// Until when the wire is busy, with `bytes_per_s`.
    busy_until_us: u64,
    /// Nothing arrives before: a stall that began at a byte.
    floor_us: u64,
    /// Accepted, for good or bad.
    pub(super) written: u64,
    pub(super) delivered: u64,
    /// Will never be delivered.
    pub(super) lost: u64,
    /// Of the lost, what still fills the writer's buffer.
    held: usize,
    /// The last write was not accepted whole.
    refused: bool,
    /// Since when there is room again for what was refused.
    room_us: Option<u64>,
}

impl Pipe {
    pub(super) fn new(rng: Rng, stalls: Vec<Stall>, start_us: u64) -> Self {
        Pipe {
            rng,
            start_us,
            stalls,
            data: Vec::new(),
            head: 0,
            pieces: VecDeque::new(),
            arrived: 0,
            arrived_us: start_us,
            last_us: start_us,
            busy_until_us: start_us,
            floor_us: start_us,
            written: 0,
            delivered: 0,
            lost: 0,
            held: 0,
            refused: false,
            room_us: None,
        }
    }

    fn unread(&self) -> usize {
        self.data.len() - self.head
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unread() == 0
    }

    /// When the last of what was written arrives.
    pub(super) fn last_us(&self) -> u64 {
        self.last_us
    }

    pub(super) fn room(&self, plan: &Plan) -> usize {
        plan.capacity_bytes.saturating_sub(self.unread().saturating_add(self.held))
    }

    /// How much of so many bytes fits now. Remembers if not all, so that [`Pipe::room_us`] tells of it.
    pub(super) fn accept(&mut self, plan: &Plan, wanted: usize) -> usize {
        let accepted = wanted.min(self.room(plan));
        self.refused = accepted < wanted;
        self.room_us = None;
        accepted
    }

    /// Puts accepted bytes on their way.
    pub(super) fn carry(&mut self, plan: &Plan, now_us: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.head == self.data.len() {
            self.data.clear();
            self.head = 0;
        } else if self.head >= COMPACT_BYTES && self.head >= self.data.len() / 2 {
            self.data.drain(..self.head);
            self.head = 0;
        }
        self.data.extend_from_slice(bytes);
        if plan.jitter_us == 0 && plan.bytes_per_s.is_none() && self.stalls.is_empty() {
            self.written += bytes.len() as u64;
            self.push_piece(now_us + plan.latency_us);
            return;
        }
        let mut rest = bytes.len();
        while rest > 0 {
            let drawn = plan.split.map_or(rest, |most| self.rng.usize(1..=most.max(1)));
            let size = self.begin_stalls(now_us, drawn.min(rest));
            rest -= size;
            self.written += size as u64;
            let at_us = self.arrival_us(plan, now_us, size);
            self.push_piece(at_us);
        }
    }

    /// Takes accepted bytes that will never arrive; in the writer's buffer they stay.
    pub(super) fn vanish(&mut self, count: usize) {
        self.swallow(count);
        self.held = self.held.saturating_add(count);
    }

    /// Takes bytes that will never arrive, and holds nobody up by it.
    pub(super) fn swallow(&mut self, count: usize) {
        self.written += count as u64;
        self.lost += count as u64;
    }

    /// When something of `size` bytes would arrive that is written now.
    pub(super) fn arrival_us(&mut self, plan: &Plan, now_us: u64, size: usize) -> u64 {
        let mut sent_us = now_us;
        if let Some(rate) = plan.bytes_per_s {
            let takes_us = (size as u64).saturating_mul(1_000_000) / rate.max(1);
            self.busy_until_us = self.busy_until_us.max(now_us).saturating_add(takes_us);
            sent_us = self.busy_until_us;
        }
        let jitter_us = if plan.jitter_us == 0 { 0 } else { self.rng.u64(0..=plan.jitter_us) };
        let mut at_us = sent_us.saturating_add(plan.latency_us).saturating_add(jitter_us);
        at_us = at_us.max(self.floor_us).max(self.last_us);
        // One stall may end within another; as many rounds as stalls lead out of all.
        for _ in 0..self.stalls.len() {
            for stall in &self.stalls {
                if let StallAt::Us(from_us) = stall.at {
                    let from_us = self.start_us.saturating_add(from_us);
                    let until_us = from_us.saturating_add(stall.for_us);
                    if (from_us..until_us).contains(&at_us) {
                        at_us = until_us;
                    }
                }
            }
        }
        at_us
    }

    /// Begins the stalls at the next byte; returns how many of the next bytes come before another begins.
    fn begin_stalls(&mut self, now_us: u64, size: usize) -> usize {
        let mut size = size;
        for stall in &self.stalls {
            if let StallAt::Byte(byte) = stall.at {
                if byte == self.written {
                    self.floor_us = self.floor_us.max(now_us.saturating_add(stall.for_us));
                } else if byte > self.written {
                    size = size.min(usize::try_from(byte - self.written).unwrap_or(usize::MAX));
                }
            }
        }
        size
    }

    fn push_piece(&mut self, at_us: u64) {
        let at_us = at_us.max(self.last_us);
        self.last_us = at_us;
        match self.pieces.back_mut() {
            Some(last) if last.at_us == at_us => last.end = self.written,
            _ => self.pieces.push_back(Piece { end: self.written, at_us }),
        }
    }

    /// What has arrived and was not read yet; of it as much as comes in one go.
    pub(super) fn read(&mut self, plan: &Plan, now_us: u64) -> Option<&[u8]> {
        while let Some(piece) = self.pieces.front().filter(|piece| piece.at_us <= now_us) {
            self.arrived = piece.end;
            self.arrived_us = piece.at_us;
            self.pieces.pop_front();
        }
        // Both count from the pipe's first byte. What is lost lies behind all that arrives.
        let available = usize::try_from(self.arrived - self.delivered).unwrap_or(usize::MAX);
        if available == 0 {
            return None;
        }
        let size = match plan.split {
            Some(most) => available.min(self.rng.usize(1..=most.max(1))),
            None => available,
        };
        if self.refused {
            self.room_us = Some(now_us);
        }
        self.delivered += size as u64;
        let from = self.head;
        self.head += size;
        self.data.get(from..self.head)
    }

    /// Of what was not read, only the first `keep` bytes will arrive. The rest stays in the writer's buffer.
    pub(super) fn lose_after(&mut self, keep: usize) {
        let dropped = self.unread().saturating_sub(keep);
        self.data.truncate(self.data.len() - dropped);
        self.lost += dropped as u64;
        self.held = self.held.saturating_add(dropped);
        let end = self.delivered + self.unread() as u64;
        self.arrived = self.arrived.min(end);
        while let Some(last) = self.pieces.back().copied().filter(|last| last.end > end) {
            self.pieces.pop_back();
            let begins = self.pieces.back().map_or(self.arrived, |before| before.end);
            if begins < end {
                self.pieces.push_back(Piece { end, ..last });
            }
        }
    }

    /// Of what was not read, a part by the seed will arrive: all, nothing, or its first bytes.
    pub(super) fn lose_some(&mut self) {
        let unread = self.unread();
        let keep = match self.rng.u32(0..3) {
            0 => 0,
            1 => unread,
            _ => self.rng.usize(0..=unread),
        };
        self.lose_after(keep);
    }

    /// The moments from `from_us` on at which a read finds something, the first only; those that passed while
    /// nobody read are as early as they were.
    pub(super) fn arrives_us(&self, from_us: u64) -> Option<u64> {
        let waiting = (self.arrived > self.delivered).then_some(self.arrived_us);
        let waiting = waiting.filter(|at_us| *at_us >= from_us);
        waiting.or_else(|| self.pieces.iter().map(|piece| piece.at_us).find(|at_us| *at_us >= from_us))
    }

    /// Since when there is room again for what was refused.
    pub(super) fn room_us(&self) -> Option<u64> {
        self.room_us
    }
}
