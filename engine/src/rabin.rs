//! The Rabin fingerprint of the last 64 bytes, and the search for the places where it ends in zeros.
//!
//! A fingerprint is the window's bytes, read as one long polynomial over GF(2), modulo the repository's polynomial.
//! Moving the window by a byte is linear, so it is two table look-ups and some exclusive-ors:
//!
//! ```text
//! next = (fingerprint << 8)  ^  mod[highest byte of fingerprint]  ^  new byte  ^  out[old byte]
//! ```
//!
//! Only the look-up in `mod` has to wait for the byte before it. One such chain leaves a processor mostly idle;
//! since the fingerprint depends on nothing but its window, five chains run through five neighbouring lanes of the
//! data at once, each started with the 64 bytes before its lane. The lowest match wins, so the answer is that of a
//! single chain.
//!
//! Fingerprints are kept shifted to the top of their 64 bits: the shift by a byte then drops what `mod` replaces, and
//! the table's index needs no mask.

use std::array;

use crate::limits::CHUNK_WINDOW as WINDOW;
use crate::polynomial::Polynomial;

/// Lanes searched at once: the chains that hide a look-up's delay and still fit into the registers of x86-64.
/// Measured with two to eight lanes, five are fastest: four times the speed of one.
const LANES: usize = 5;

/// Length of a lane in bytes while there is much data. Longer lanes waste more behind a match, shorter ones more on
/// starting.
const LANE: usize = 8 * 1024;

/// Length of a lane in bytes for what is left.
const LANE_SHORT: usize = 512;

/// How far fingerprints are shifted up.
const SHIFT: u32 = u64::BITS - Polynomial::DEGREE;

/// The tables of one polynomial and mask; built once for a repository and shared.
pub struct Fingerprint {
    /// By the byte that the shift pushes out at the top: what it is modulo the polynomial.
    modulo: [u64; 256],
    /// By the byte that leaves the window: what it has become after 64 more bytes.
    out: [u64; 256],
    /// The bits that are zero at a match.
    mask: u64,
}

impl Fingerprint {
    /// Builds the tables; a match is where the lowest `mask_bits` bits of the fingerprint are zero.
    #[must_use]
    pub fn new(polynomial: Polynomial, mask_bits: u32) -> Self {
        let modulo = array::from_fn(|byte| polynomial.remainder_of((byte as u64) << Polynomial::DEGREE) << SHIFT);
        let out = array::from_fn(|byte| {
            let left = (0..WINDOW).fold(byte as u64, |hash, _| polynomial.remainder_of(hash << 8));
            left << SHIFT
        });
        let ones = 1_u64.checked_shl(mask_bits).map_or(u64::MAX, |bit| bit - 1);
        Self { modulo, out, mask: ones << SHIFT }
    }

    /// Finds the first position behind `start` and up to the end of `data` such that the 64 bytes before it match.
    ///
    /// # Panics
    ///
    /// If fewer than 64 bytes lie before `start`.
    #[must_use]
    pub fn find(&self, data: &[u8], start: usize) -> Option<usize> {
        assert!(start >= WINDOW, "the first window must lie inside the data");
        let mut start = start;
        while data.len().saturating_sub(start) >= LANES * LANE {
            if let Some(offset) = self.find_in_lanes::<LANE>(&data[start - WINDOW..]) {
                return Some(start + offset);
            }
            start += LANES * LANE;
        }
        while data.len().saturating_sub(start) >= LANES * LANE_SHORT {
            if let Some(offset) = self.find_in_lanes::<LANE_SHORT>(&data[start - WINDOW..]) {
                return Some(start + offset);
            }
            start += LANES * LANE_SHORT;
        }
        self.find_in_one(data.get(start - WINDOW..)?).map(|offset| start + offset)
    }

    /// Searches the first `LANES × LENGTH` bytes behind one window of `data`, and returns how many bytes behind it
    /// the first match lies.
    fn find_in_lanes<const LENGTH: usize>(&self, data: &[u8]) -> Option<usize> {
        let lane = |from: usize| -> &[u8; LENGTH] {
            data[from..].first_chunk().expect("the caller made sure that all lanes are there")
        };
        // Arrays, not slices: their length is known when compiling, so the loop below checks no bounds.
        let incoming: [&[u8; LENGTH]; LANES] = array::from_fn(|index| lane(WINDOW + index * LENGTH));
        let outgoing: [&[u8; LENGTH]; LANES] = array::from_fn(|index| lane(index * LENGTH));
        let mut hashes: [u64; LANES] = array::from_fn(|index| self.hash(&outgoing[index][..WINDOW]));
        let mut matches = [None; LANES];
        for at in 0..LENGTH {
            for index in 0..LANES {
                hashes[index] = self.slide(hashes[index], incoming[index][at], outgoing[index][at]);
            }
            if hashes.iter().any(|hash| hash & self.mask == 0) {
                for (first, hash) in matches.iter_mut().zip(hashes) {
                    if hash & self.mask == 0 {
                        first.get_or_insert(at);
                    }
                }
            }
        }
        let (index, at) = matches.iter().enumerate().find_map(|(index, first)| Some((index, (*first)?)))?;
        Some(index * LENGTH + at + 1)
    }

    /// Searches all bytes behind one window of `data`.
    fn find_in_one(&self, data: &[u8]) -> Option<usize> {
        let (window, incoming) = data.split_first_chunk::<WINDOW>()?;
        let mut hash = self.hash(window);
        let at = incoming.iter().zip(data).position(|(&new, &old)| {
            hash = self.slide(hash, new, old);
            hash & self.mask == 0
        })?;
        Some(at + 1)
    }

    /// Returns the fingerprint of a whole window.
    fn hash(&self, window: &[u8]) -> u64 {
        window.iter().fold(0, |hash, &byte| self.append(hash) ^ u64::from(byte) << SHIFT)
    }

    fn slide(&self, hash: u64, new: u8, old: u8) -> u64 {
        self.append(hash) ^ (u64::from(new) << SHIFT ^ self.out[usize::from(old)])
    }

    /// Appends a zero byte.
    fn append(&self, hash: u64) -> u64 {
        hash << 8 ^ self.modulo[usize::from(hash.to_be_bytes()[0])]
    }
}

const _: () = assert!(WINDOW <= LANE_SHORT, "a lane holds the window that the next one starts with");

#[cfg(test)]
mod tests {
    use backup_testkit::seed::Seed;

    use super::*;

    fn polynomial() -> Polynomial {
        Polynomial::try_from(0x3D_A335_8B4D_C173).unwrap()
    }

    /// The definition: the window as one long number, reduced bit by bit.
    fn by_definition(window: &[u8]) -> u64 {
        window.iter().fold(0, |hash, &byte| polynomial().remainder_of(hash << 8 | u64::from(byte)))
    }

    fn noise(length: usize) -> Vec<u8> {
        Seed(9).random().bytes(length)
    }

    #[test]
    fn sliding_gives_the_fingerprint_of_the_window() {
        let fingerprint = Fingerprint::new(polynomial(), 20);
        let data = noise(1000);
        let mut hash = fingerprint.hash(&data[..WINDOW]);
        for end in WINDOW..data.len() {
            assert_eq!(hash >> SHIFT, by_definition(&data[end - WINDOW..end]), "at {end}");
            hash = fingerprint.slide(hash, data[end], data[end - WINDOW]);
        }
    }

    #[test]
    fn finds_what_the_definition_finds_from_every_start_and_at_every_length() {
        let data = noise(3 * LANES * LANE_SHORT);
        let fingerprint = Fingerprint::new(polynomial(), 9);
        let matches: Vec<usize> = (WINDOW + 1..=data.len())
            .filter(|&end| by_definition(&data[end - WINDOW..end]).trailing_zeros() >= 9)
            .collect();
        assert!(matches.len() > 2, "the test needs some matches");
        for start in (WINDOW..data.len()).step_by(7) {
            let expected = matches.iter().copied().find(|&end| end > start);
            assert_eq!(fingerprint.find(&data, start), expected, "from {start}");
        }
        for length in (WINDOW..data.len()).step_by(11) {
            let expected = matches.iter().copied().find(|&end| end <= length);
            assert_eq!(fingerprint.find(&data[..length], WINDOW), expected, "in {length} bytes");
        }
    }

    /// A block of data without a match but for one window, ending at the given position.
    fn data_with_match_at(position: usize, length: usize, window: &[u8]) -> Vec<u8> {
        let mut data = vec![1; length];
        data[position - WINDOW..position].copy_from_slice(window);
        data
    }

    #[test]
    fn finds_the_first_of_two_matches_at_every_lane_seam() {
        const MASK_BITS: u32 = 20;
        let fingerprint = Fingerprint::new(polynomial(), MASK_BITS);
        let noise = noise(8 << 20);
        let end = fingerprint.find(&noise, WINDOW).unwrap();
        let window = &noise[end - WINDOW..end];
        assert!(by_definition(window).trailing_zeros() >= MASK_BITS);

        let length = WINDOW + LANES * LANE + 2 * LANES * LANE_SHORT + 300;
        let long = (0..=LANES).map(|lane| WINDOW + lane * LANE);
        let short = (0..=2 * LANES).map(|lane| WINDOW + LANES * LANE + lane * LANE_SHORT);
        for seam in long.chain(short) {
            for position in seam.saturating_sub(WINDOW + 1).max(WINDOW + 1)..=(seam + WINDOW + 1).min(length) {
                let mut data = data_with_match_at(position, length, window);
                assert_eq!(fingerprint.find(&data, WINDOW), Some(position));
                assert_eq!(fingerprint.find(&data[..position - 1], WINDOW), None);
                // A second match, one window later or at the very end, changes nothing.
                let later = if position + WINDOW <= length { position + WINDOW } else { continue };
                data[later - WINDOW..later].copy_from_slice(window);
                assert_eq!(fingerprint.find(&data, WINDOW), Some(position));
                assert_eq!(fingerprint.find(&data, position), Some(later));
            }
        }
    }

    #[test]
    fn no_mask_matches_everywhere_and_a_full_one_nowhere() {
        let data = noise(5000);
        assert_eq!(Fingerprint::new(polynomial(), 0).find(&data, 100), Some(101));
        assert_eq!(Fingerprint::new(polynomial(), 64).find(&data, 100), None);
        assert_eq!(Fingerprint::new(polynomial(), 0).find(&data[..100], 100), None);
    }
}
