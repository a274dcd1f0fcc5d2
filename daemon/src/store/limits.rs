//! How much room the store keeps free on its disk, and how often it tidies up, each with its reason.

/// Kept aside for what must still be written on a full disk, in bytes: the ends of the jobs that run (at most 300 KiB
/// each), pauses and cancellations (about 2 KiB each with their remembered answers). Enough for thousands of both.
pub(super) const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// The smallest reserve that is of use: the end of one job and some answers.
pub(super) const RESERVE_BYTES_MIN: u64 = 512 * 1024;

/// On a small disk the reserve is this part of it.
pub(super) const RESERVE_PART: u64 = 32;

/// With less free than this the disk counts as full, in bytes: lists of failed items, journals of packs and the copy
/// in sled grow beside the store, and other programs write to the same disk.
pub(super) const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// On a small disk it counts as full with less free than this part of it.
pub(super) const FREE_PART: u64 = 16;

/// Work goes on with half as much again free, so that a job on the same disk does not stop and go all the time.
pub(super) const fn free_again(free_min: u64) -> u64 {
    free_min + free_min / 2
}

/// Written and removed to learn whether a disk that was full takes data again, in bytes: a quota does not show in
/// what the file system says is free.
pub(super) const PROBE_BYTES: u64 = 256 * 1024;

/// Commits that are synced together at most.
pub(super) const GROUP_MAX: usize = 256;

/// A checkpoint is written after this many commits; a start reads at most twice as many.
pub(super) const CHECKPOINT_COMMITS: u64 = 10_000;

/// A checkpoint is written after this many bytes of journal, so that its files stay small.
pub(super) const CHECKPOINT_BYTES: u64 = 32 * 1024 * 1024;

// The disk counts as full before the reserve has to be touched.
const _: () = assert!(FREE_BYTES_MIN > RESERVE_BYTES && FREE_PART < RESERVE_PART);
const _: () = assert!(RESERVE_BYTES_MIN < RESERVE_BYTES && PROBE_BYTES < RESERVE_BYTES_MIN);
