//! Who may stand at the door: connections in all and from one address, and how often a login may fail.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tagwire::rate::{Rate, TokenBucket};
use tagwire::time::Now;

use crate::config::Limits;

/// So many connections over `max_connections` are still listened to, to be told why they are turned away.
const SPARE_CONNECTIONS: usize = 256;
/// And so many of one address over `max_connections_per_address`.
const SPARE_PER_ADDRESS: usize = 16;
/// Addresses and names whose failed logins are remembered at once, of each.
const MAX_REMEMBERED: usize = 1 << 16;
/// Those that need not be remembered any more are looked for at most so often, microseconds.
const FORGET_INTERVAL_US: u64 = 1_000_000;

/// A limit that turns a client away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Connections(usize),
    Address(usize),
}

impl Full {
    /// The key of the setting.
    pub(crate) fn limit(self) -> &'static str {
        match self {
            Full::Connections(_) => "max_connections",
            Full::Address(_) => "max_connections_per_address",
        }
    }

    pub(crate) fn reason(self) -> String {
        match self {
            Full::Connections(max) => format!("the server is full ({max} connections)"),
            Full::Address(max) => format!("as many connections as may come from your address ({max})"),
        }
    }
}

/// Counts connections and failed logins.
#[derive(Debug, Default)]
pub(crate) struct Door {
    connections: Mutex<Connections>,
    failed_by_address: Failures<IpAddr>,
    failed_by_name: Failures<String>,
}

#[derive(Debug, Default)]
struct Connections {
    all: usize,
    /// Of addresses that are not trusted.
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place among the others, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    door: Arc<Door>,
    address: Option<IpAddr>,
    /// It is one too many: to be told so, and to go.
    pub(crate) full: Option<Full>,
}

impl Door {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in, if only to tell it that it is one too many.
    ///
    /// # Errors
    /// There are too many even for that.
    pub(crate) fn enter(self: &Arc<Self>, peer: Option<IpAddr>, limits: &Limits) -> Result<Place, Full> {
        let (max, max_per_address) = (limits.max_connections, limits.max_connections_per_address);
        let address = limited_address(peer, limits);
        let mut connections = self.connections();
        let all = connections.all + 1;
        let of_address =
            address.map_or(0, |address| connections.by_address.get(&address).map_or(1, |n| n + 1));
        if all > max + SPARE_CONNECTIONS {
            return Err(Full::Connections(max));
        }
        if of_address > max_per_address + SPARE_PER_ADDRESS {
            return Err(Full::Address(max_per_address));
        }
        connections.all = all;
        if let Some(address) = address {
            connections.by_address.insert(address, of_address);
        }
        let full = match () {
            () if all > max => Some(Full::Connections(max)),
            () if of_address > max_per_address => Some(Full::Address(max_per_address)),
            () => None,
        };
        Ok(Place { door: Arc::clone(self), address, full })
    }

    /// Whether somebody may try to log in, after those who failed before.
    ///
    /// # Errors
    /// The limit that is reached, and in how many microseconds it is not any more.
    pub(crate) fn may_try(
        &self,
        now: Now,
        peer: Option<IpAddr>,
        name: &str,
        limits: &Limits,
    ) -> Result<(), (&'static str, u64)> {
        if let Some(address) = limited_address(peer, limits) {
            self.failed_by_address
                .may_try(now, &address, limits.max_failed_logins_per_address)
                .map_err(|wait_us| ("max_failed_logins_per_address", wait_us))?;
        }
        self.failed_by_name
            .may_try(now, &name.to_string(), limits.max_failed_logins_per_name)
            .map_err(|wait_us| ("max_failed_logins_per_name", wait_us))
    }

    /// Remembers that a login failed. A guest's, without a name, counts for its address alone.
    pub(crate) fn failed(&self, now: Now, peer: Option<IpAddr>, name: &str, limits: &Limits) {
        if let Some(address) = limited_address(peer, limits) {
            self.failed_by_address.add(now, address, limits.max_failed_logins_per_address);
        }
        if !name.is_empty() {
            self.failed_by_name.add(now, name.to_string(), limits.max_failed_logins_per_name);
        }
    }
}

impl Connections {
    fn forget(&mut self, address: Option<IpAddr>) {
        if let Some(address) = address
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Place {
    /// A proxy tells that the connection comes from there.
    ///
    /// # Errors
    /// There are too many from there even to be told so.
    pub(crate) fn came_from(&mut self, peer: IpAddr, limits: &Limits) -> Result<(), Full> {
        let max = limits.max_connections_per_address;
        let mut connections = self.door.connections();
        connections.forget(self.address.take());
        let Some(address) = limited_address(Some(peer), limits) else { return Ok(()) };
        let of_address = connections.by_address.entry(address).or_default();
        if *of_address >= max + SPARE_PER_ADDRESS {
            return Err(Full::Address(max));
        }
        *of_address += 1;
        self.address = Some(address);
        if *of_address > max {
            self.full.get_or_insert(Full::Address(max));
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.door.connections();
        connections.all -= 1;
        connections.forget(self.address);
    }
}

/// What an address counts as; `None` where there is none or it is trusted. Who has one IPv6 address has its whole /64.
pub(crate) fn limited_address(peer: Option<IpAddr>, limits: &Limits) -> Option<IpAddr> {
    let peer = peer?.to_canonical();
    if limits.trusted.iter().any(|net| net.contains(&peer)) {
        return None;
    }
    Some(match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
    })
}

/// Failed logins of some kind of key: as many as the limit at once, and as many a minute.
#[derive(Debug)]
struct Failures<K>(Mutex<Remembered<K>>);

#[derive(Debug)]
struct Remembered<K> {
    buckets: HashMap<K, TokenBucket>,
    forgot_at_us: u64,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Failures(Mutex::new(Remembered { buckets: HashMap::new(), forgot_at_us: 0 }))
    }
}

impl<K: Hash + Eq + Clone> Failures<K> {
    fn may_try(&self, now: Now, key: &K, max: u32) -> Result<(), u64> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match remembered.buckets.get_mut(key) {
            // Looked at, not taken: only who fails pays.
            Some(bucket) if max > 0 => bucket.clone().take(now, Rate::per_minute(max), 1),
            _ => Ok(()),
        }
    }

    fn add(&self, now: Now, key: K, max: u32) {
        if max == 0 {
            return;
        }
        let rate = Rate::per_minute(max);
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Remembered { buckets, forgot_at_us } = &mut *remembered;
        if buckets.len() >= MAX_REMEMBERED && !buckets.contains_key(&key) {
            if now.monotonic_us.saturating_sub(*forgot_at_us) >= FORGET_INTERVAL_US {
                *forgot_at_us = now.monotonic_us;
                buckets.retain(|_, bucket| !bucket.is_full(now, rate));
            }
            if buckets.len() >= MAX_REMEMBERED
                && let Some(any) = buckets.keys().next().cloned()
            {
                buckets.remove(&any);
            }
        }
        // An empty bucket stays empty: who tried at the same time has failed as well.
        let _ = buckets.entry(key).or_insert_with(|| TokenBucket::full(now)).take(now, rate, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now { monotonic_us: 5_000_000, unix_us: 1 };

    fn limits() -> Limits {
        Limits {
            max_connections: 3,
            max_connections_per_address: 2,
            max_failed_logins_per_address: 3,
            max_failed_logins_per_name: 2,
            ..Limits::default()
        }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn one_connection_more_than_allowed_is_told_so_and_many_more_are_not() {
        let (door, limits) = (Arc::new(Door::default()), limits());
        let enter = |address| door.enter(ip(address), &limits);
        let mut inside: Vec<_> =
            ["10.0.0.1", "10.0.0.1"].map(|address| enter(address).expect("a place")).into();
        assert!(inside.iter().all(|place| place.full.is_none()));
        inside.extend((0..SPARE_PER_ADDRESS).map(|_| enter("10.0.0.1").expect("a place at the door")));
        assert_eq!(inside[2].full, Some(Full::Address(2)));
        assert_eq!(enter("10.0.0.1").map(drop), Err(Full::Address(2)));
        inside.truncate(2);
        assert_eq!(enter("10.0.0.2").map(|place| place.full), Ok(None), "nobody else is affected");
        // Trusted ones count in all, but not by address.
        inside.extend((0..3).map(|_| enter("127.0.0.1").expect("a place")));
        assert_eq!(
            inside.iter().map(|place| place.full).collect::<Vec<_>>()[2..],
            [None, Some(Full::Connections(3)), Some(Full::Connections(3))]
        );
        inside.extend((0..SPARE_CONNECTIONS - 2).map(|_| enter("::1").expect("a place at the door")));
        assert_eq!(enter("::1").map(drop), Err(Full::Connections(3)));
        drop(inside);
        let connections = door.connections();
        assert_eq!((connections.all, connections.by_address.len()), (0, 0));
    }

    #[test]
    fn who_comes_by_a_proxy_counts_where_it_comes_from() {
        let (door, limits) = (Arc::new(Door::default()), Limits { max_connections: 100, ..limits() });
        let address = ip("10.0.0.1").expect("an address");
        let told = || {
            let mut place = door.enter(None, &limits).expect("a place");
            place.came_from(address, &limits).map(|()| place)
        };
        let mut inside: Vec<_> = (0..2 + SPARE_PER_ADDRESS).map(|_| told().expect("a place")).collect();
        let full: Vec<_> = inside.iter().map(|place| place.full).collect();
        assert_eq!(full[..3], [None, None, Some(Full::Address(2))]);
        assert_eq!(told().map(drop), Err(Full::Address(2)));
        assert_eq!(door.enter(Some(address), &limits).map(drop), Err(Full::Address(2)));
        inside.truncate(1);
        assert_eq!(told().map(|place| place.full), Ok(None));
        drop(inside);
        let connections = door.connections();
        assert_eq!((connections.all, connections.by_address.len()), (0, 0));
    }

    #[test]
    fn an_ipv6_address_counts_by_its_network_and_a_mapped_one_as_what_it_is() {
        let limits = limits();
        let counted = |address| limited_address(ip(address), &limits);
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::ffff:0:0:1"));
        assert_ne!(counted("2001:db8::1"), counted("2001:db8:0:1::1"));
        assert_eq!(counted("::ffff:10.0.0.1"), counted("10.0.0.1"));
        assert_eq!(limited_address(None, &limits), None);
        assert_eq!(counted("::ffff:127.0.0.1"), None);
    }

    #[test]
    fn after_so_many_failures_nobody_of_that_name_or_address_may_try() {
        let (door, limits) = (Door::default(), limits());
        let may_try = |now, address, name| door.may_try(now, ip(address), name, &limits);
        door.failed(START, ip("10.0.0.1"), "alice", &limits);
        assert_eq!(may_try(START, "10.0.0.2", "alice"), Ok(()));
        door.failed(START, ip("10.0.0.1"), "alice", &limits);
        assert_eq!(may_try(START, "10.0.0.2", "alice"), Err(("max_failed_logins_per_name", 30_000_000)));
        assert_eq!(may_try(START, "10.0.0.1", "bob"), Ok(()));
        door.failed(START, ip("10.0.0.1"), "bob", &limits);
        assert_eq!(may_try(START, "10.0.0.1", "carol"), Err(("max_failed_logins_per_address", 20_000_000)));
        assert_eq!(may_try(START, "10.0.0.2", "carol"), Ok(()));
        // Asking costs nothing, and time heals.
        assert_eq!(may_try(START.after_us(30_000_000), "10.0.0.2", "alice"), Ok(()));
        assert_eq!(may_try(START.after_us(30_000_000), "10.0.0.2", "alice"), Ok(()));
        // A trusted address may fail; the name still counts.
        for _ in 0..9 {
            door.failed(START, ip("127.0.0.1"), "", &limits);
        }
        assert_eq!(may_try(START, "127.0.0.1", ""), Ok(()));
    }

    #[test]
    fn what_is_remembered_of_failures_is_bounded() {
        let (door, limits) = (Door::default(), limits());
        for i in 0..=MAX_REMEMBERED {
            door.failed(START, ip("127.0.0.1"), &i.to_string(), &limits);
        }
        let count = || door.failed_by_name.0.lock().expect("nobody panicked").buckets.len();
        assert_eq!(count(), MAX_REMEMBERED);
        door.failed(START.after_us(60_000_000), ip("127.0.0.1"), "later", &limits);
        assert_eq!(count(), 1, "what has come back is forgotten");
    }
}
