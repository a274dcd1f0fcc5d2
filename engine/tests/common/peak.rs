//! How much memory a process takes, and files that make it take much.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use backup_testkit::seed::Seed;

/// Returns how many bytes of memory the process took at most while something ran.
pub(crate) fn peak_of(run: impl FnOnce()) -> u64 {
    // Makes the kernel forget the highest mark so far.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    run();
    field("VmHWM:")
}

/// Returns a size from the kernel's account of this process, in bytes.
fn field(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// Writes noise of so many MiB, and a hole of as many at the end.
pub(crate) fn write_large(path: &Path, mebibytes: u64) {
    let mut file = File::create(path).unwrap();
    let mut random = Seed(71).random();
    for _ in 0..mebibytes {
        file.write_all(&random.bytes(1 << 20)).unwrap();
    }
    file.seek(SeekFrom::Start(2 * mebibytes * 1024 * 1024)).unwrap();
    file.write_all(b"end").unwrap();
}
