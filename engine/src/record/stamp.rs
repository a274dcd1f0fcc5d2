//! What an entry looked like, as bytes that are compared.

use super::code::put_number;
use crate::source::meta::wide;
use crate::source::walk::{Identity, Stat};

/// Appends everything a look at an entry tells that does not change when it is only read.
///
/// It is more than is asked of a file's entry in a tree, and that is safe: what differs is compared with the tree.
pub(crate) fn stamp_into(out: &mut Vec<u8>, stat: &Stat) {
    put_identity(out, stat);
    put_number(out, wide(stat.st_mode));
    put_number(out, wide(stat.st_nlink));
    put_number(out, u64::from(stat.st_uid));
    put_number(out, u64::from(stat.st_gid));
    put_number(out, wide(stat.st_size));
    put_number(out, wide(stat.st_rdev));
    put_number(out, zigzag(stat.st_mtime));
    put_number(out, wide(stat.st_mtime_nsec));
    // The time of the last change is mostly that of the contents.
    put_number(out, zigzag(stat.st_ctime.wrapping_sub(stat.st_mtime)));
    put_number(out, wide(stat.st_ctime_nsec));
}

/// Returns whether a stamp is one of the very same entry, changed or not.
pub(crate) fn starts_with_identity(stamp: &[u8], stat: &Stat) -> bool {
    let mut identity = Vec::with_capacity(20);
    put_identity(&mut identity, stat);
    stamp.starts_with(&identity)
}

fn put_identity(out: &mut Vec<u8>, stat: &Stat) {
    let Identity { device, inode } = Identity::of(stat);
    put_number(out, device);
    put_number(out, inode);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}
