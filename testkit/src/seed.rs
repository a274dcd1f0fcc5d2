//! Seeds: a random test takes its randomness from one number and prints the line that replays it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// The variable that fixes the seed of the next run.
pub const VARIABLE: &str = "BACKUPD_SEED";

/// The variable that lets random and sampling tests run in full counts; `make soak` sets it.
pub const SOAK: &str = "BACKUPD_SOAK";

/// Returns how many rounds a random test runs: few every day, many in a soak.
#[must_use]
pub fn rounds(everyday: u64, soak: u64) -> u64 {
    if std::env::var_os(SOAK).is_some() { soak } else { everyday }
}

/// The number a random test starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Seed {
    /// Takes the seed from the environment, or a fresh one, and prints the line that runs the test with it again.
    ///
    /// Cargo shows the line when the test fails.
    ///
    /// # Panics
    /// When the variable is not a number.
    #[expect(clippy::print_stderr, reason = "cargo keeps a test's output and shows it when the test fails")]
    pub fn of_test(package: &str, test: &str) -> Self {
        let seed = match std::env::var(VARIABLE) {
            Ok(text) => match text.parse() {
                Ok(number) => Self(number),
                Err(_) => panic!("{VARIABLE} must be a number, not `{text}`"),
            },
            Err(_) => Self(RandomState::new().hash_one(test)),
        };
        eprintln!("replay: {VARIABLE}={seed} cargo test -p {package} {test}");
        seed
    }

    /// Starts a sequence of random numbers.
    #[must_use]
    pub fn random(self) -> Random {
        Random { state: self.0 }
    }
}

/// A sequence of random numbers (SplitMix64), the same for the same seed on every machine.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Returns the next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below the bound.
    ///
    /// # Panics
    /// When the bound is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below zero");
        // The remainder favours small numbers by less than bound / 2^64, which no test can notice.
        self.next_u64() % bound
    }

    /// Returns the index of one of so many things.
    ///
    /// # Panics
    /// When there are none.
    pub fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// Returns random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next_u64().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(Seed(7).random().bytes(100), Seed(7).random().bytes(100));
        assert_ne!(Seed(7).random().bytes(100), Seed(8).random().bytes(100));
    }

    #[test]
    fn the_sequence_is_splitmix64_and_does_not_change_between_versions() {
        // The first numbers of the reference implementation for seed 0.
        let mut random = Seed(0).random();
        assert_eq!(random.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }
}
