//! Which file systems are this machine's own.

use std::os::fd::BorrowedFd;

/// Returns whether a folder is on a file system that only this machine changes, and on which a folder's own times tell
/// that a name was added or removed. Of one that is not known, neither is.
#[cfg(target_os = "linux")]
pub(crate) fn is_local(folder: BorrowedFd<'_>) -> bool {
    /// ext, XFS, btrfs, tmpfs, ramfs, F2FS, ZFS, JFS, ReiserFS, bcachefs, overlay, squashfs: what is left out (NFS, SMB, FUSE and the unknown) may change elsewhere.
    const LOCAL: [u64; 12] = [
        0xEF53,
        0x5846_5342,
        0x9123_683E,
        0x0102_1994,
        0x8584_58F6,
        0xF2F5_2010,
        0x2FC1_2FC1,
        0x3153_464A,
        0x5265_4973,
        0xCA45_1A4E,
        0x794C_7630,
        0x7371_7368,
    ];
    // The numbers are 32 bits wide; where the system's are signed they come with copies of the sign.
    rustix::fs::fstatfs(folder).is_ok_and(|found| LOCAL.contains(&(super::meta::wide(found.f_type) & 0xFFFF_FFFF)))
}

/// Elsewhere nothing is known of any.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_local(_: BorrowedFd<'_>) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsFd;

    use super::is_local;

    #[test]
    fn the_systems_own_folders_are_not_taken_for_a_disk() {
        let open = |path: &str| std::fs::File::open(path).expect("it is there on every Linux");
        assert!(!is_local(open("/proc").as_fd()));
        assert!(!is_local(open("/sys").as_fd()));
    }
}
