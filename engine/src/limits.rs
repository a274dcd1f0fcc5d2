//! Every bound of the engine, with its unit and its reason.

/// The most bytes a thread reads from a source file between two looks at the gate.
pub const READ_STEP: usize = 256 * 1024;

/// A thread says what it has done after so many small files or folders, in one sentence for all of them.
pub const FILES_A_STEP: u64 = 64;

/// The most bytes of a transfer that go to the storage between two looks at the gate and the throttle, so that a
/// whole pack is no burst.
pub const WRITE_STEP: usize = 16 * 1024;

/// Size of the smallest chunk that is not the end of a file, in bytes: restic's.
pub const CHUNK_MIN: usize = 512 * 1024;

/// Size of the largest chunk in bytes: restic's.
pub const CHUNK_MAX: usize = 8 * 1024 * 1024;

/// Number of low bits of the fingerprint that are zero at a cut: restic's, one cut in about a million positions.
pub const CHUNK_MASK_BITS: u32 = 20;

/// Length of the fingerprint's window in bytes: restic's.
pub const CHUNK_WINDOW: usize = 64;

/// A pack is closed when it reaches this many bytes: restic's default.
pub const PACK_SIZE: usize = 16 * 1024 * 1024;

/// By how much a pack may become longer than at what it is closed, in bytes: its last blob and its header, as a rule.
pub const PACK_MARGIN: usize = CHUNK_MAX + 1024 * 1024;

/// Packs that a backup has in memory at once: one of data and one of trees that are being filled, and one that is full.
pub const PACK_BUFFERS: usize = 3;

/// The memory that all jobs together take unless told otherwise, in bytes: what their threads read, open, seal and write.
/// With what a process needs anyway it stays below 150 MB, with many threads a little above.
pub const ALL_MEMORY: usize = 120 * 1024 * 1024;

/// What each job may take of it whatever the others have taken, in bytes: two threads of a restore, or one that reads a pack.
pub const JOB_MEMORY: usize = 24 * 1024 * 1024;

/// The largest pack that is read. Other programs may be set to make packs of up to 4 GiB − 1; offsets are 32 bits.
pub const PACK_SIZE_MAX: u64 = u32::MAX as u64;

/// The largest blob that is opened or made, compressed or not, in bytes. A folder of a million files makes a tree blob
/// of some 400 MB, and restic has no bound; this one keeps a hostile repository from taking all memory.
pub const BLOB_MAX: usize = 1024 * 1024 * 1024;

/// The largest data blob that is opened, in bytes, unless the repository's config says that files are cut into larger
/// ones: sixteen times restic's largest. Several threads open data at once, and a few hundred bytes may claim to be this much.
pub const DATA_BLOB_MAX: usize = 16 * CHUNK_MAX;

/// The most entries that are read of one folder: some 1.5 GB of memory. A blob of [`BLOB_MAX`] bytes could hold ten
/// times as many.
pub const FOLDER_ENTRIES_MAX: usize = 4_000_000;

/// The most entries of trees that are kept in memory for further looks into snapshots: some 60 MB.
pub const KEPT_TREE_ENTRIES: usize = 128 * 1024;

/// The most snapshots whose top tree is remembered for the same.
pub const KEPT_TOPS: usize = 64;

/// The most bytes of pieces of files that are kept in memory for the same: of a few large files that are read at a time.
pub const KEPT_PIECE_BYTES: usize = 16 * 1024 * 1024;

/// zstd's level where the repository's config names none: it takes 30 % less time than level 3, restic's, and what it
/// makes of source code, programs and logs is 2 to 3 % larger; of files of some kilobytes, no larger.
pub const COMPRESSION_LEVEL: i32 = 1;

/// How many bytes beyond its length at the start are read of a file that grows meanwhile. One that grows as fast as
/// it is read would have no end.
pub const GROWTH_MAX: u64 = 1024 * 1024 * 1024;

/// The largest config, key, lock, snapshot or index file that is read, in bytes.
pub const FILE_MAX: usize = 512 * 1024 * 1024;

/// An index file is closed when it lists this many blobs: restic's order of size.
pub const INDEX_BLOBS: usize = 50_000;

/// A first backup leaves a snapshot of what it has so far each time it has stored this many bytes more, in bytes, and
/// a quarter more than the last time: little is lost to a crash, and a large one does not write hundreds of them.
pub const CHECKPOINT_BYTES: u64 = 256 * 1024 * 1024;

/// A copy reads from the source what is missing as soon as it knows of this many pieces of files: enough to read packs in
/// order, few enough to keep in memory.
pub const COPY_BATCH: usize = 64 * 1024;

/// An extended attribute's buffer is not made larger than this many bytes. Linux allows 64 KiB; the resource forks of
/// macOS may be larger than any memory.
pub const XATTR_MAX: usize = 16 * 1024 * 1024;

/// Deepest nesting of folders that is walked or restored: twice what a path of 4096 bytes can hold.
pub const DEPTH_MAX: usize = 4096;

/// The most trees of which a search for the users of a blob remembers that nothing below them uses it, 32 bytes each.
/// Those beyond are read anew in the next snapshot.
pub const UNUSING_TREES_MAX: usize = 1024 * 1024;

/// Folders without a match that a search by name remembers, in some 12 MB.
pub const BARREN_FOLDERS_MAX: usize = 512 * 1024;

/// The longest name of an entry that is taken from a repository, in bytes: four times what most file systems allow.
/// Without it, names of a hostile repository could make paths of any length.
pub const NAME_MAX: usize = 1023;

/// The most memory that a key file may ask scrypt for, in bytes. restic asks for 32 to 256 MiB.
pub const SCRYPT_MEMORY_MAX: u64 = 1024 * 1024 * 1024;

/// The most bytes that scrypt may pass over for a key file: half a minute or so. restic's keys take half a second.
pub const SCRYPT_WORK_MAX: u64 = 16 * SCRYPT_MEMORY_MAX;

/// A file whose mtime or ctime lies within this many seconds of the moment it was looked at may change again
/// without a new timestamp; it is read again next time.
pub const RACY_SECONDS: i64 = 2;

/// The most snapshots that one run of `forget` decides to remove: the list is written down before the first one goes,
/// and takes some hundred bytes for each. The next run takes the rest.
pub const FORGET_MAX: usize = 10_000;

/// After so many snapshots `forget` gives up its exclusive lock for a moment: removing them takes a local disk a second
/// or so, and a slow one a minute, in which no other program can begin to work on the repository.
pub const FORGET_STEP: usize = 500;

/// How long a pack must have been seen unused before it leaves the index, and then in no index before it is removed, in
/// seconds. rustic takes no locks: what a backup of its own found in the index must be there until its snapshot is.
pub const PRUNE_GRACE_SECONDS: i64 = 24 * 3600;

/// Packs of a kind that are smaller than a quarter of the usual are merged when there are so many of them. With fewer,
/// the last one would be written anew by every prune.
pub const PRUNE_SMALL_PACKS: usize = 4;

/// Index files that list less than a quarter of the usual are merged when there are so many of them.
pub const PRUNE_SMALL_INDEX_FILES: usize = 8;

/// A verification writes down which packs it has read each time it has read this many bytes more: what a kill makes it read
/// again at most.
pub const VERIFIED_STEP: u64 = 1024 * 1024 * 1024;

/// The largest block of the local record, in bytes: a folder of some twenty million entries. One that is larger is not
/// recorded.
pub const RECORD_BLOCK_MAX: u32 = 1 << 30;

/// A local record is written anew when so many of its bytes, and as many as count, do not count any more.
pub const RECORD_WASTE_BYTES: u64 = 4 * 1024 * 1024;

/// The most local records that are kept, by when they were last used: some 60 bytes for each file of a source.
pub const RECORDS_MAX: usize = 32;

/// The most items that a record marks as doubtful. With more, there is none: all of it is looked at again.
pub const RECORD_DOUBTS_MAX: usize = 10_000;

/// A backup counts as a major change when so many percent of the files or of the bytes are others than before.
pub const CHANGE_MAJOR_PERCENT: u64 = 20;

/// So many files with several names are remembered at most while it is added up what a first backup needs: some 50 MB.
pub const NEED_LINKS_MAX: usize = 1_000_000;

/// After this many runs that looked only where they were told to, one looks at everything.
pub const HINTED_RUNS_MAX: u64 = 48;

/// After this many seconds of such runs, one looks at everything.
pub const HINTED_SECONDS_MAX: u64 = 24 * 60 * 60;

/// A lock is refreshed when it is this old, in seconds: restic's.
pub const LOCK_REFRESH_SECONDS: u64 = 5 * 60;

/// A lock that was not refreshed for this long, in seconds, is not relied on any more. Others remove it after 30
/// minutes; what is left is the time for the writes that rely on it.
pub const LOCK_TRUST_SECONDS: u64 = 22 * 60;

/// A foreign lock that is older than this, in seconds, counts as left behind: restic's.
pub const LOCK_STALE_SECONDS: i64 = 30 * 60;

const _: () = assert!(CHUNK_MIN < CHUNK_MAX && CHUNK_WINDOW < CHUNK_MIN);
const _: () = assert!(CHUNK_MAX < PACK_SIZE, "a pack holds at least one whole chunk");
const _: () = assert!(LOCK_REFRESH_SECONDS < LOCK_TRUST_SECONDS);
const _: () = assert!(LOCK_TRUST_SECONDS < LOCK_STALE_SECONDS as u64);
