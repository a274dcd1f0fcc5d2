//! Which file systems are this machine's alone, so that everybody sees a change at once.

use std::path::Path;

/// The numbers by which Linux names the file systems that are on a disk or in the memory of this machine
/// (`linux/magic.h`): ext2 to ext4, xfs, btrfs, f2fs, bcachefs, ZFS, tmpfs, and the layers of containers. What is not
/// among them (NFS, SMB, FUSE, and what is not known yet) may keep a list for a while.
#[cfg(target_os = "linux")]
const OF_THIS_MACHINE: [rustix::fs::FsWord; 8] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0xCA45_1A4E, 0x2FC1_2FC1, 0x0102_1994, 0x794C_7630];

/// Returns whether a folder is on a file system of this machine alone, as far as that can be told.
#[cfg(target_os = "linux")]
pub(super) fn is_of_this_machine(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|stat| OF_THIS_MACHINE.contains(&stat.f_type))
}

/// Returns whether a folder is on a file system of this machine alone, as far as that can be told.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_of_this_machine(_: &Path) -> bool {
    false
}
