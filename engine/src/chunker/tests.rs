//! Cut points against a reference that follows restic's own steps: one chain, one byte at a time.

use backup_testkit::seed::Seed;
use proptest::prelude::{any, prop, prop_assert_eq, proptest};

use super::{Chunker, ChunkerParams};
use crate::limits::{BLOB_MAX, CHUNK_MAX, CHUNK_MIN};
use crate::polynomial::Polynomial;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn polynomial() -> Polynomial {
    Polynomial::try_from(0x3D_A335_8B4D_C173).unwrap()
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    Seed(seed).random().bytes(length)
}

/// All cuts of a file, the way restic makes them: a ring of 64 bytes that starts with a one slid into zeros, and
/// nothing looked at until 64 bytes before the smallest size.
fn reference_cuts(params: &ChunkerParams, data: &[u8]) -> Vec<usize> {
    const WINDOW: usize = 64;
    let reduce = |value| params.polynomial.remainder_of(value);
    let append = |hash: u64, byte: u8| reduce(hash << 8 | u64::from(byte));
    let out: Vec<u64> = (0..=255_u8).map(|byte| (1..WINDOW).fold(u64::from(byte), |hash, _| append(hash, 0))).collect();
    let table: Vec<u64> = (0..256_u64).map(|top| reduce(top << 53) | top << 53).collect();
    let mask = (1 << params.mask_bits) - 1;

    let (mut cuts, mut chunk_start) = (Vec::new(), 0);
    while data.len() - chunk_start >= params.min {
        let chunk = &data[chunk_start..data.len().min(chunk_start + params.max)];
        let (mut ring, mut slot, mut hash) = ([0_u8; WINDOW], 1, 1_u64);
        ring[0] = 1;
        let mut cut = None;
        for (at, &byte) in chunk.iter().enumerate().skip(params.min - WINDOW) {
            hash ^= out[usize::from(ring[slot])];
            ring[slot] = byte;
            slot = (slot + 1) % WINDOW;
            hash = (hash << 8 | u64::from(byte)) ^ table[usize::try_from(hash >> 45).unwrap()];
            let length = at + 1;
            if length >= params.min && (hash & mask == 0 || length >= params.max) {
                cut = Some(length);
                break;
            }
        }
        let Some(length) = cut else { break };
        chunk_start += length;
        cuts.push(chunk_start);
    }
    if chunk_start < data.len() {
        cuts.push(data.len());
    }
    cuts
}

fn our_cuts(chunker: &Chunker, data: &[u8]) -> Vec<usize> {
    let (mut cuts, mut start) = (Vec::new(), 0);
    while let Some(length) = chunker.next_cut(&data[start..], true) {
        start += length;
        cuts.push(start);
    }
    cuts
}

/// The cuts of the first `length` bytes, given those of the whole: a cut depends on nothing behind it.
fn cuts_of_prefix(cuts: &[usize], length: usize) -> Vec<usize> {
    let mut prefix: Vec<usize> = cuts.iter().copied().filter(|&cut| cut < length).collect();
    prefix.extend((length > 0).then_some(length));
    prefix
}

fn assert_same_cuts(data: &[u8], lengths: impl Iterator<Item = usize>) {
    let params = ChunkerParams::restic(polynomial());
    let chunker = Chunker::rabin(&params).unwrap();
    let all = reference_cuts(&params, data);
    for length in lengths {
        assert_eq!(our_cuts(&chunker, &data[..length]), cuts_of_prefix(&all, length), "in a file of {length} bytes");
    }
}

#[test]
fn random_files_of_all_sizes_are_cut_as_restic_cuts_them() {
    let data = noise(17 * MIB, 23);
    assert_same_cuts(&data, (0..=17 * MIB).step_by(1237 * KIB).chain([17 * MIB]));
}

#[test]
fn files_around_the_smallest_size_are_cut_as_restic_cuts_them() {
    let data = noise(CHUNK_MIN + MIB, 42);
    assert_same_cuts(&data, (0..200).chain(CHUNK_MIN - 130..=CHUNK_MIN + 130).chain([CHUNK_MIN + MIB]));
}

#[test]
fn a_match_right_at_the_smallest_size_is_a_cut_and_one_byte_before_is_none() {
    let params = ChunkerParams::restic(polynomial());
    let chunker = Chunker::rabin(&params).unwrap();
    let found = noise(4 * MIB, 3);
    let end = chunker.next_cut(&found, false).unwrap();
    for position in CHUNK_MIN - 1..=CHUNK_MIN + 64 {
        let mut data = vec![1; CHUNK_MIN + KIB];
        data[position - 64..position].copy_from_slice(&found[end - 64..end]);
        assert_eq!(our_cuts(&chunker, &data), reference_cuts(&params, &data), "match at {position}");
        assert_eq!(chunker.next_cut(&data, false), Some(position).filter(|&position| position >= CHUNK_MIN));
    }
}

#[test]
fn files_around_the_largest_size_are_cut_as_restic_cuts_them() {
    // Ones never match, so every chunk is as large as may be.
    let data = vec![1; 2 * CHUNK_MAX + 2];
    let around = |size: usize| [size - 65, size - 64, size - 1, size, size + 1, size + 64];
    let lengths = around(CHUNK_MAX).into_iter().chain([CHUNK_MAX + CHUNK_MIN, 2 * CHUNK_MAX - 1, 2 * CHUNK_MAX + 1]);
    assert_same_cuts(&data, lengths);
    assert_eq!(our_cuts(&Chunker::rabin(&ChunkerParams::restic(polynomial())).unwrap(), &data)[0], CHUNK_MAX);
}

#[test]
fn zeros_are_cut_at_the_smallest_size() {
    let data = vec![0; 4 * CHUNK_MIN];
    assert_same_cuts(&data, [CHUNK_MIN - 1, CHUNK_MIN, CHUNK_MIN + 1, 4 * CHUNK_MIN].into_iter());
    let chunker = Chunker::rabin(&ChunkerParams::restic(polynomial())).unwrap();
    assert_eq!(our_cuts(&chunker, &data), [CHUNK_MIN, 2 * CHUNK_MIN, 3 * CHUNK_MIN, 4 * CHUNK_MIN]);
}

#[test]
fn needs_more_data_until_a_cut_or_the_end() {
    let chunker = Chunker::rabin(&ChunkerParams::restic(polynomial())).unwrap();
    let data = vec![1; CHUNK_MAX];
    assert_eq!(chunker.next_cut(&[], false), None);
    assert_eq!(chunker.next_cut(&[], true), None);
    assert_eq!(chunker.next_cut(&data[..CHUNK_MAX - 1], false), None);
    assert_eq!(chunker.next_cut(&data[..CHUNK_MAX - 1], true), Some(CHUNK_MAX - 1));
    assert_eq!(chunker.next_cut(&data, false), Some(CHUNK_MAX));
}

#[test]
fn fixed_chunks_have_one_size_and_a_rest() {
    let chunker = Chunker::fixed(1000).unwrap();
    assert_eq!(chunker.max(), 1000);
    assert_eq!(our_cuts(&chunker, &noise(2500, 1)), [1000, 2000, 2500]);
    assert_eq!(our_cuts(&chunker, &noise(2000, 1)), [1000, 2000]);
    assert_eq!(chunker.next_cut(&[0; 999], false), None);
}

#[test]
fn settings_that_contradict_themselves_are_refused() {
    let restic = ChunkerParams::restic(polynomial());
    for (wrong, named) in [
        (ChunkerParams { min: 64, ..restic }, "window"),
        (ChunkerParams { min: 0, ..restic }, "window"),
        (ChunkerParams { max: restic.min - 1, ..restic }, "smallest"),
        (ChunkerParams { max: BLOB_MAX + 1, ..restic }, "limit"),
    ] {
        let problem = Chunker::rabin(&wrong).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(problem.contains(named), "{wrong:?}: {problem}");
    }
    assert!(Chunker::fixed(0).is_err());
    assert!(Chunker::fixed(BLOB_MAX + 1).is_err());
    assert!(ChunkerParams::mask_bits_of(1_000_000).is_err());
    assert_eq!(ChunkerParams::mask_bits_of(MIB).unwrap(), 20);
}

proptest! {
    #[test]
    fn a_buffer_that_grows_is_cut_like_the_whole_file(
        seed in any::<u64>(),
        length in 0_usize..200 * KIB,
        steps in prop::collection::vec(1_usize..9 * KIB, 1..20),
        mask_bits in 8_u32..16,
        min in 65_usize..5000,
        span in 0_usize..60 * KIB,
    ) {
        let data = noise(length, seed);
        let params = ChunkerParams { polynomial: polynomial(), min, max: min + span, mask_bits };
        let mut search = Chunker::rabin(&params).unwrap().search();
        let (mut cuts, mut start, mut end) = (Vec::new(), 0, 0);
        let mut steps = steps.iter().cycle();
        loop {
            match search.next_cut(&data[start..end], end == length) {
                Some(cut) => {
                    start += cut;
                    cuts.push(start);
                }
                None if end == length => break,
                None => end = length.min(end + steps.next().unwrap()),
            }
        }
        prop_assert_eq!(cuts, reference_cuts(&params, &data));
    }
}
