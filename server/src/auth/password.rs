//! Hashes of passwords: Argon2id with what OWASP asks for at least, in the PHC string format.
//!
//! The parameters are those of the OWASP Password Storage Cheat Sheet, section "Argon2id":
//! <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>. The format is that of
//! <https://github.com/P-H-C/phc-string-format>: `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
//!
//! A hash takes 19 MiB and 20 to 40 ms of a core, so it belongs on no thread that carries connections: an
//! [`Authenticator`](super::Authenticator) is not called on one.

use std::fmt;

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// Memory, KiB: the minimum of OWASP for two passes.
pub const MEMORY_KIB: u32 = 19_456;
/// Passes over it.
pub const PASSES: u32 = 2;
/// Lanes, one after the other.
pub const LANES: u32 = 1;

/// Most memory that a stored hash may ask for, KiB. Each login takes it, on as many threads as there are cores.
pub const MAX_MEMORY_KIB: u32 = 256 * 1024;
/// Most passes times memory, KiB: some seconds of a core.
pub const MAX_COST_KIB: u64 = 4 * 1024 * 1024;
/// Most lanes.
pub const MAX_LANES: u32 = 64;
/// Fewest bytes of a stored salt and of a stored hash (RFC 9106, section 3.1; fewer are guessed).
const MIN_BYTES: usize = 8;

/// An allocation of so many bytes is never kept for later by the allocator.
const UNCACHED_BYTES: usize = 33 * 1024 * 1024;

/// Why a text is not taken for a hash. Printing it does not show the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// No PHC string.
    #[error("it is no hash like $argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$SALT$HASH")]
    Format,
    /// Of another function.
    #[error("it is not a hash of Argon2, the one function that is known here")]
    Algorithm,
    /// It would take too much memory.
    #[error("it asks for {0} KiB of memory; at most {MAX_MEMORY_KIB}")]
    Memory(u32),
    /// It would take too long.
    #[error(
        "it asks for {0} passes over {1} KiB, {2} lanes; at most {MAX_COST_KIB} KiB in all passes, {MAX_LANES} lanes"
    )]
    Cost(u32, u32, u32),
    /// Salt or hash are too short to be worth anything.
    #[error("its salt or its hash has fewer than {MIN_BYTES} bytes")]
    Short,
    /// The system gives no randomness, or no memory.
    #[error("no hash can be made: {0}")]
    System(String),
}

/// A stored hash, fit to be compared with. Printing it shows nothing.
#[derive(Clone)]
pub struct Hash {
    phc: PasswordHash,
    algorithm: Algorithm,
    version: Version,
    params: Params,
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hash").finish_non_exhaustive()
    }
}

/// The memory of one hash. It goes back to the system when it is dropped: glibc keeps what is freed for the thread that had
/// it, 19 MiB for each of many, but for blocks above 32 MiB (mallopt(3), M_MMAP_THRESHOLD). So more is asked for and never
/// touched. `server/tests/auth.rs` measures what a hundred logins take.
fn blocks(count: usize) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(count.max(UNCACHED_BYTES / size_of::<Block>()));
    blocks.resize(count, Block::default());
    blocks
}

fn own() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("OWASP's parameters are some");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The hash of a new password, with a salt of its own, as a PHC string.
///
/// # Errors
/// The system gives no random bytes.
pub fn hash(password: &str) -> Result<String, HashError> {
    match own().hash_password(password.as_bytes()) {
        Ok(phc) => Ok(phc.to_string()),
        Err(error) => Err(HashError::System(error.to_string())),
    }
}

impl Hash {
    /// Reads a PHC string. Other parameters than [`hash`]'s are taken, within bounds.
    ///
    /// # Errors
    /// It is none, or asks for too much.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let phc = PasswordHash::new(text).map_err(|_| HashError::Format)?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(|_| HashError::Algorithm)?;
        let version = phc.version.map(Version::try_from).transpose().map_err(|_| HashError::Algorithm)?;
        // Before it had a number there was one alone (RFC 9106 is about the next, 0x13).
        let version = version.unwrap_or(Version::V0x10);
        let params = Params::try_from(&phc).map_err(|_| HashError::Format)?;
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        if memory > MAX_MEMORY_KIB {
            return Err(HashError::Memory(memory));
        }
        if u64::from(memory) * u64::from(passes) > MAX_COST_KIB || lanes > MAX_LANES {
            return Err(HashError::Cost(passes, memory, lanes));
        }
        let long = |bytes: Option<usize>| bytes.is_some_and(|bytes| bytes >= MIN_BYTES);
        if !long(phc.salt.map(|salt| salt.len())) || !long(phc.hash.map(|hash| hash.len())) {
            return Err(HashError::Short);
        }
        Ok(Hash { phc, algorithm, version, params })
    }

    /// A hash that no password has, and that takes as long as `like` to be compared with.
    pub(crate) fn of_nobody(like: Option<&Hash>) -> Self {
        let own = own();
        let params = like.map_or(own.params(), |like| &like.params);
        let algorithm = like.map_or("argon2id", |like| like.phc.algorithm.as_str());
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        let (salt, hash) = ("A".repeat(22), "A".repeat(43));
        let phc = format!("${algorithm}$v=19$m={memory},t={passes},p={lanes}${salt}${hash}");
        Hash::parse(&phc).expect("it is built like one")
    }

    /// What decides how long it takes to be compared with: memory in KiB, passes, lanes.
    pub(crate) fn cost(&self) -> (u32, u32, u32) {
        (self.params.m_cost(), self.params.t_cost(), self.params.p_cost())
    }

    /// True where it is the password's. Takes as long for a wrong one.
    pub fn is_of(&self, password: &str) -> bool {
        let (Some(salt), Some(stored)) = (self.phc.salt, self.phc.hash) else { return false };
        let argon2 = Argon2::new(self.algorithm, self.version, self.params.clone());
        let mut computed = [0; Output::MAX_LENGTH];
        let computed = &mut computed[..stored.len()];
        let memory = blocks(self.params.block_count());
        let done = argon2.hash_password_into_with_memory(password.as_bytes(), &salt, computed, memory);
        // Compared in constant time, says the crate of `Output`.
        done.is_ok() && Output::new(computed).is_ok_and(|computed| computed == stored)
    }
}

/// Whether `stored`, a PHC string, is the hash of the password. `None`, where nobody has the name: false, after as long.
///
/// # Errors
/// What is stored is no hash, or asks for too much.
pub fn verify(password: &str, stored: Option<&str>) -> Result<bool, HashError> {
    match stored {
        Some(stored) => Ok(Hash::parse(stored)?.is_of(password)),
        None => Ok(Hash::of_nobody(None).is_of(password)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cheap, for tests.
    pub(crate) const CHEAP: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$";

    #[test]
    fn a_password_has_its_hash_and_no_other() {
        let stored = hash("correct horse").expect("randomness");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "the least that OWASP asks for");
        assert_eq!(verify("correct horse", Some(&stored)), Ok(true));
        assert_eq!(verify("correct Horse", Some(&stored)), Ok(false));
        assert_eq!(verify("", None), Ok(false));
        assert_ne!(hash("correct horse").expect("randomness"), stored, "its salt is its own");
        assert!(!format!("{:?}", Hash::parse(&stored)).contains("argon2"));
    }

    /// The vector of the reference implementation's test.c: version 19, Argon2i and Argon2id, "password", "somesalt".
    #[test]
    fn hashes_of_others_are_understood() {
        for phc in [
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
        ] {
            assert_eq!(verify("password", Some(phc)), Ok(true), "{phc}");
            assert_eq!(verify("passwore", Some(phc)), Ok(false), "{phc}");
        }
    }

    #[test]
    fn what_asks_for_too_much_is_refused_and_not_shown() {
        let with = |params: &str| {
            let phc =
                format!("$argon2id$v=19${params}$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4");
            Hash::parse(&phc).map(drop)
        };
        assert_eq!(with("m=262144,t=16,p=64"), Ok(()));
        assert_eq!(with("m=262145,t=1,p=1"), Err(HashError::Memory(262_145)));
        assert_eq!(with("m=4294967295,t=1,p=1"), Err(HashError::Memory(u32::MAX)));
        assert_eq!(with("m=262144,t=17,p=1"), Err(HashError::Cost(17, 262_144, 1)));
        assert_eq!(with("m=1024,t=4294967295,p=1"), Err(HashError::Cost(u32::MAX, 1024, 1)));
        assert_eq!(with("m=262144,t=1,p=65"), Err(HashError::Cost(1, 262_144, 65)));
        for (text, error) in [
            ("", HashError::Format),
            ("hunter2", HashError::Format),
            ("$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", HashError::Format),
            (
                "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
                HashError::Algorithm,
            ),
            ("$argon2id$v=19$m=256,t=2,p=1", HashError::Short),
            ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", HashError::Short),
            (
                "$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                HashError::Algorithm,
            ),
        ] {
            let refused = Hash::parse(text).map(drop).expect_err(text);
            assert_eq!(refused, error, "{text}");
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn nobodys_hash_costs_what_the_others_do() {
        let other =
            Hash::parse(&format!("{CHEAP}nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")).expect("a hash");
        assert_eq!(Hash::of_nobody(Some(&other)).cost(), (8, 1, 1));
        assert_eq!(Hash::of_nobody(None).cost(), (MEMORY_KIB, PASSES, LANES));
        assert!(!Hash::of_nobody(Some(&other)).is_of(""));
    }
}
