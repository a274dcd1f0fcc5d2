//! What a first backup needs at most, added up beside the walk, so that it is said early if the target may be too small.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::BackupOptions;
use super::past::Past;
use super::session::Session;
use crate::limits::NEED_LINKS_MAX;
use crate::source::walk::{Identity, Stat};

/// The bytes of files that were met: what a backup stores of them if nothing can be compressed and nothing is there twice.
#[derive(Default)]
pub(super) struct Need {
    bytes: u64,
    /// Files with several names that were met.
    links: HashSet<Identity>,
}

/// The room that the target of a first backup has.
pub(super) struct Room {
    free: u64,
    is_said: AtomicBool,
}

impl Room {
    /// Returns the room that is to be watched: nothing is known of what a later backup stores, and a dry run says it all.
    pub(super) fn new(options: &BackupOptions, past: &Past, is_dry: bool) -> Option<Self> {
        let is_first = past.parent.is_none() && past.leftovers.is_empty();
        let free = options.room.filter(|_| is_first && !is_dry)?;
        Some(Self { free, is_said: AtomicBool::new(false) })
    }
}

impl Need {
    /// Adds a file: its holes take no room, and neither does its second name.
    fn add(&mut self, stat: &Stat) {
        const BLOCK: u64 = 512;
        let [length, blocks] =
            [u64::try_from(stat.st_size), u64::try_from(stat.st_blocks)].map(Result::unwrap_or_default);
        let has_many = stat.st_nlink > 1;
        // Where there are too many names to remember, the number stays one that is certain.
        if has_many && (self.links.len() >= NEED_LINKS_MAX || !self.links.insert(Identity::of(stat))) {
            return;
        }
        self.bytes = self.bytes.saturating_add(length.min(blocks.saturating_mul(BLOCK)));
    }
}

impl Session<'_> {
    /// Adds a file to what is needed, and says it once if that becomes more than there is room for.
    pub(super) fn weigh(&self, need: &mut Need, stat: &Stat) {
        let Some(room) = &self.room else { return };
        need.add(stat);
        if need.bytes > room.free && !room.is_said.swap(true, Ordering::Relaxed) {
            self.monitor.outgrows(need.bytes, room.free);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_hole_and_a_second_name_need_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), vec![7; 300_000]).unwrap();
        fs::hard_link(path("a"), path("b")).unwrap();
        File::create(path("hole")).unwrap().set_len(1 << 40).unwrap();
        let mut need = Need::default();
        for name in ["a", "b", "hole"] {
            need.add(&rustix::fs::lstat(path(name)).unwrap());
        }
        assert!((300_000..310_000).contains(&need.bytes), "{}", need.bytes);
    }
}
