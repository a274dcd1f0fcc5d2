//! Room on the disk that holds the state: how much is free, from when on that is too little, and a reserve for what
//! must still be written then.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::limits::{
    FREE_BYTES_MIN, FREE_PART, PROBE_BYTES, RESERVE_BYTES, RESERVE_BYTES_MIN, RESERVE_PART, free_again,
};
use crate::error::Error;

/// Name of the reserve inside the store's folder.
const RESERVE: &str = "reserve";

/// The disk that holds the state has too little room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The state folder.
    pub folder: PathBuf,
    /// How much is free for this user, in bytes.
    pub free: u64,
    /// How much has to be free for work to go on, in bytes.
    pub needed: u64,
}

impl Shortage {
    /// Looks whether a folder's disk has too little room now.
    #[must_use]
    pub fn of(folder: &Path) -> Option<Self> {
        let space = Space::of(folder).ok()?;
        (space.free < space.free_min()).then(|| space.shortage(folder))
    }

    /// Makes the shortage of a disk that has refused to take data, whatever it says is free.
    #[must_use]
    pub fn refused(folder: &Path) -> Self {
        Space::of(folder).unwrap_or(Space { free: 0, total: 0 }).shortage(folder)
    }

    /// Says it in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { folder, free, needed } = self;
        let tenths = |bytes: u64| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
        format!(
            "the disk that holds the daemon's state in {} is full: {} free, {} needed",
            folder.display(),
            tenths(*free),
            tenths(*needed)
        )
    }
}

/// What the file system says about itself.
#[derive(Clone, Copy, Debug)]
struct Space {
    free: u64,
    total: u64,
}

/// Returns how many bytes of a folder's disk are to stay free: with less, no job runs.
pub fn kept_free(folder: &Path) -> u64 {
    Space::of(folder).map_or(0, Space::free_min)
}

impl Space {
    fn of(folder: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Self { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }

    fn free_min(self) -> u64 {
        FREE_BYTES_MIN.min(self.total / FREE_PART)
    }

    fn reserve(self) -> u64 {
        (self.total / RESERVE_PART).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES)
    }

    fn shortage(self, folder: &Path) -> Shortage {
        Shortage { folder: folder.to_path_buf(), free: self.free, needed: free_again(self.free_min()) }
    }
}

/// The room the store works in.
#[derive(Debug)]
pub(super) struct Room {
    disk: Disk,
    /// The store's folder.
    folder: PathBuf,
    has_reserve: bool,
}

impl Room {
    /// Looks whether the reserve is there, and makes it if there is room.
    pub(super) fn open(disk: &Disk, folder: &Path) -> Self {
        let mut room = Self { disk: disk.clone(), folder: folder.to_path_buf(), has_reserve: false };
        room.has_reserve = room.reserve_is_whole();
        if !room.has_reserve && Space::of(folder).is_ok_and(|space| space.free >= space.free_min()) {
            room.fill();
        }
        room
    }

    /// Looks whether there is too little room. One who doubts that there is enough, because there was not before, is
    /// content only with more than enough that was tried out.
    pub(super) fn look(&mut self, in_doubt: bool) -> Option<Shortage> {
        // A file system that does not say how much is free says so when it is full.
        let space = Space::of(&self.folder).ok()?;
        let enough = if in_doubt { free_again(space.free_min()) } else { space.free_min() };
        let is_enough = space.free >= enough
            && (self.has_reserve || self.fill())
            && (!in_doubt || self.has_room_for(&self.folder.join("probe.tmp"), PROBE_BYTES, false));
        (!is_enough).then(|| self.shortage())
    }

    /// Makes the shortage of a disk that has just refused.
    pub(super) fn shortage(&self) -> Shortage {
        // People know the state folder, which the store's is in.
        Shortage::refused(self.folder.parent().unwrap_or(&self.folder))
    }

    /// Gives the reserve up, for what must be written now. False when it was given up before.
    pub(super) fn release(&mut self) -> bool {
        let had_reserve = std::mem::take(&mut self.has_reserve);
        if had_reserve && let Err(error) = self.disk.remove(&self.folder.join(RESERVE)) {
            tracing::warn!(%error, "the reserve cannot be given up");
        }
        had_reserve
    }

    fn fill(&mut self) -> bool {
        let bytes = Space::of(&self.folder).map_or(RESERVE_BYTES_MIN, Space::reserve);
        self.has_reserve = self.has_room_for(&self.folder.join(RESERVE), bytes, true);
        self.has_reserve
    }

    /// Takes room by a file, and gives it back unless it is to be kept. Only a disk that is full says no: where no
    /// file can be made for another reason, waiting for room would not help.
    fn has_room_for(&self, path: &Path, bytes: u64, keep: bool) -> bool {
        let taken = self.disk.create(path).and_then(|mut file| file.reserve(bytes).map_err(Error::io("fill", path)));
        if (taken.is_err() || !keep)
            && let Err(error) = self.disk.remove(path)
        {
            tracing::warn!(%error, "room cannot be given back");
        }
        match taken {
            Err(error) if error.is_full() => false,
            Err(error) => {
                tracing::warn!(%error, "no room can be kept in reserve");
                true
            }
            Ok(()) => true,
        }
    }

    fn reserve_is_whole(&self) -> bool {
        // A file with holes holds nothing back.
        let wanted = Space::of(&self.folder).map_or(0, Space::reserve);
        fs::symlink_metadata(self.folder.join(RESERVE))
            .is_ok_and(|found| found.is_file() && found.len() >= wanted && found.blocks() * 512 >= wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(free: u64, total: u64) -> Space {
        Space { free, total }
    }

    #[test]
    fn a_small_disk_keeps_parts_free_and_a_large_one_fixed_amounts() {
        let (small, large) = (space(0, 64 << 20), space(0, 1 << 40));
        assert_eq!((small.free_min(), small.reserve()), (4 << 20, 2 << 20));
        assert_eq!((large.free_min(), large.reserve()), (FREE_BYTES_MIN, RESERVE_BYTES));
        assert_eq!(space(0, 1 << 20).reserve(), RESERVE_BYTES_MIN);
    }

    #[test]
    fn the_sentence_names_folder_and_amounts() {
        let shortage = Shortage { folder: "/var/lib/backupd".into(), free: 1_600_000, needed: 96 << 20 };
        let sentence =
            "the disk that holds the daemon's state in /var/lib/backupd is full: 1.5 MiB free, 96.0 MiB needed";
        assert_eq!(shortage.sentence(), sentence);
    }

    #[test]
    fn the_reserve_takes_room_is_given_up_once_and_comes_back() {
        let home = tempfile::tempdir().unwrap();
        let mut room = Room::open(&Disk::default(), home.path());
        assert!(room.reserve_is_whole() && room.look(true).is_none());
        assert!(room.release() && !room.release());
        assert!(!home.path().join(RESERVE).exists());
        assert_eq!(room.look(false), None);
        assert!(room.reserve_is_whole(), "it was taken again");
        let sparse = std::fs::File::create(home.path().join(RESERVE)).unwrap();
        sparse.set_len(RESERVE_BYTES).unwrap();
        assert!(!room.reserve_is_whole(), "a hole is no room");
    }
}
