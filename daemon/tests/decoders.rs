//! Every decoder with every stored sample, and for ten seconds each with what comes of bending them: no panic, no
//! memory for what is only claimed, and what is accepted comes back.
//!
//! The samples lie in `fuzz/corpus/NAME`; `make fuzz` goes on from them with libFuzzer. A run prints its seed and its
//! counts. The n-th input of a seed is always the same; time only says how many there are.

mod allocator;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backup_engine::decoders::Decoder;
use backup_testkit::bend::bend;
use backup_testkit::seed::{Seed, rounds};
use backup_testkit::wait;
use backupd::decoders::all;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// Memory that a decoder may take whatever it is given.
const MEMORY_FREE: usize = 256 * 1024;

/// Memory that it may take for each byte it is given: an entry of a tree or an index is some hundred bytes in memory and
/// can be a few dozen on the wire, and lists double as they grow.
const MEMORY_EACH: usize = 256;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name)
}

/// Returns the samples of a decoder, in a fixed order.
fn samples(decoder: &Decoder) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(corpus(decoder.name)).unwrap_or_else(|error| panic!("{}: {error}", decoder.name));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("a sample is readable")).collect()
}

/// Decodes and returns whether the bytes were accepted; fails when that took too much memory.
fn decode(decoder: &Decoder, bytes: &[u8]) -> bool {
    let (outcome, peak) = allocator::peak(|| (decoder.decode)(bytes).is_ok());
    let allowed = MEMORY_FREE + MEMORY_EACH * bytes.len();
    assert!(peak <= allowed, "{peak} bytes of memory for {} bytes; {allowed} are allowed", bytes.len());
    outcome
}

/// Says which input made a decoder fail, when it does.
struct Blame<'b>(&'b str, &'b [u8]);

impl Drop for Blame<'_> {
    #[expect(clippy::print_stderr, reason = "cargo keeps a test's output and shows it when the test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the decoder `{}` failed on {:?}", self.0, self.1.escape_ascii().to_string());
        }
    }
}

#[test]
fn every_stored_sample_is_decoded_and_every_decoder_accepts_some() {
    for decoder in all() {
        let samples = samples(&decoder);
        let accepted = samples.iter().filter(|bytes| {
            let _blame = Blame(decoder.name, bytes);
            decode(&decoder, bytes)
        });
        assert!(accepted.count() > 0, "no sample of `{}` is a good one", decoder.name);
    }
}

#[test]
fn every_folder_of_samples_has_its_decoder() {
    for entry in fs::read_dir(corpus("")).expect("the corpus is there") {
        let name = entry.expect("it can be listed").file_name().into_string().expect("a name is text");
        assert!(all().any(|decoder| decoder.name == name), "nobody decodes the samples in `{name}`");
    }
}

/// Bends the samples of a decoder for a while; returns how many inputs there were, and how many were accepted.
fn torment(decoder: &Decoder, seed: Seed, duration: Duration) -> (u64, u64) {
    let samples = samples(decoder);
    let mut accepted = 0;
    let inputs = wait::repeatedly(duration, |round| {
        // Each input by itself can be made again from the seed and its number.
        let mut random = Seed(seed.0.wrapping_add(round)).random();
        let bytes = bend(&samples[random.index(samples.len())], &mut random);
        let _blame = Blame(decoder.name, &bytes);
        accepted += u64::from(decode(decoder, &bytes));
    });
    (inputs, accepted)
}

#[test]
fn bent_samples_are_refused_or_come_back_and_nothing_panics() {
    let seed = Seed::of_test("backupd", "bent_samples_are_refused");
    let duration = Duration::from_secs(rounds(10, 120));
    let decoders: Vec<Decoder> = all().collect();
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(decoder) = decoders.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let (inputs, accepted) = torment(decoder, seed, duration);
                    eprintln!("{}: {inputs} inputs from seed {seed} held, {accepted} of them accepted", decoder.name);
                    assert!(accepted < inputs, "nothing was ever refused");
                }
            });
        }
    });
}
