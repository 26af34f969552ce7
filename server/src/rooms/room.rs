//! One room: its members, and how what is said in it reaches them.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use tagwire::rate::{Rate, TokenBucket};
use tagwire::room::To;
use tagwire::session::Dialect;
use tagwire::session::fan_out::FanOut;
use tagwire::time::Now;

use super::mailbox::Mailbox;
use crate::config::Limits;
use crate::session::Session;

/// To how many members messages went.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) native: u64,
    /// Got those alone that their dialect can carry.
    pub(crate) classic: u64,
}

pub(crate) type Members = BTreeMap<u32, Arc<Session>>;

/// The members, to be changed; they are counted when it is dropped.
pub(super) struct MembersMut<'a> {
    members: RwLockWriteGuard<'a, Members>,
    count: &'a AtomicUsize,
}

impl Deref for MembersMut<'_> {
    type Target = Members;

    fn deref(&self) -> &Members {
        &self.members
    }
}

impl DerefMut for MembersMut<'_> {
    fn deref_mut(&mut self) -> &mut Members {
        &mut self.members
    }
}

impl Drop for MembersMut<'_> {
    fn drop(&mut self) {
        self.count.store(self.members.len(), Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: Arc<str>,
    /// What its code is told by; `None`: it has no code.
    pub(crate) code: Option<Mailbox>,
    /// By player, so that those who came first are first. Changed by [`super::Rooms`] alone.
    members: RwLock<Members>,
    /// How many they are.
    count: AtomicUsize,
    deliveries: Mutex<Option<TokenBucket>>,
    limits: Arc<ArcSwap<Limits>>,
}

impl Room {
    pub(super) fn new(name: &str, code: Option<Mailbox>, limits: Arc<ArcSwap<Limits>>) -> Self {
        let (members, deliveries) = (RwLock::default(), Mutex::default());
        Room { name: name.into(), code, members, count: AtomicUsize::new(0), deliveries, limits }
    }

    pub(super) fn members(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn members_mut(&self) -> MembersMut<'_> {
        let members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        MembersMut { members, count: &self.count }
    }

    /// Hands messages to members. `deferred`: [`Room::flush`] follows.
    pub(crate) fn deliver(&self, fan_out: &FanOut, to: &To, deferred: bool) -> Delivered {
        let mut delivered = Delivered::default();
        let members = self.members();
        let native = fan_out.frames(Dialect::Native);
        let mut hand = |member: &Arc<Session>| {
            let frames = match member.player.dialect {
                Dialect::Native => {
                    delivered.native += 1;
                    native
                }
                Dialect::Classic => {
                    delivered.classic += 1;
                    fan_out.frames(Dialect::Classic)
                }
            };
            if !frames.bytes().is_empty() {
                member.send_frames(frames, deferred);
            }
        };
        match to {
            To::One(player) => members.get(player).into_iter().for_each(&mut hand),
            To::Some(players) => {
                let mut players = players.clone();
                players.sort_unstable();
                players.dedup();
                players.iter().filter_map(|player| members.get(player)).for_each(&mut hand);
            }
            To::All => members.values().for_each(&mut hand),
            To::AllBut(player) => {
                members.iter().filter(|(id, _)| *id != player).for_each(|(_, member)| hand(member));
            }
        }
        delivered
    }

    /// Has written what was deferred.
    pub(super) fn flush(&self) {
        self.members().values().for_each(|member| member.flush_soon());
    }

    /// How many messages the room may hand to its members in a second, as is set now; 0: no limit.
    pub(crate) fn max_deliveries_per_second(&self) -> u32 {
        self.limits.load().max_room_deliveries_per_second
    }

    /// Takes messages to all members out of what the room may deliver in a second: how many of them it may, the first of
    /// them.
    pub(crate) fn take_deliveries(&self, now: Now, max_per_second: u32, messages: usize) -> usize {
        let max = max_per_second;
        if max == 0 {
            return messages;
        }
        // A room of more members than the limit would else never hear anything.
        let count = u32::try_from(self.count.load(Ordering::Relaxed)).unwrap_or(u32::MAX).min(max);
        let mut bucket = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = bucket.get_or_insert_with(|| TokenBucket::full(now));
        let mut take = |count| bucket.take(now, Rate::per_second(max), count).is_ok();
        let all = u32::try_from(messages).ok().and_then(|messages| count.checked_mul(messages));
        if all.is_some_and(&mut take) {
            return messages;
        }
        (0..messages).take_while(|_| take(count)).count()
    }
}
