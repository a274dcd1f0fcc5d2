//! From restic's words about an entry back to the file system: owner, attributes, permissions, times.

use std::io;

use rustix::fs::{Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};

use super::handle::{Handle, Place};
use super::meta::{Aspect, Problem, permissions};
use crate::tree::{Node, NodeKind};

/// The attribute that gives a program rights of root's.
const CAPABILITY: &str = "security.capability";

/// Attributes that are taken away where the backup has none: those that a new entry may inherit from its folder, and
/// those that nobody but users and this program sets.
const REMOVABLE: [&str; 3] = ["user.", "system.posix_acl_", CAPABILITY];

/// Gives an entry that was just made the metadata of its node, as far as possible, and returns what was not.
///
/// Folders come after everything in them, since writing into one changes its times. As in restic, owners go by
/// number. The order matters: changing the owner takes setuid and capabilities away, attributes need permission to
/// write, access lists change permissions, and everything changes times.
///
/// Where the owner could not be restored, setuid, setgid and capabilities are left out: they would lend somebody
/// else's program to the wrong owner's rights.
#[must_use]
pub fn apply(node: &Node, place: Place<'_>) -> Vec<Problem> {
    let handle = match Handle::new(place) {
        Ok(handle) => handle,
        Err(source) => return vec![Problem { aspect: Aspect::Mode, source }],
    };
    let mut problems = Vec::new();
    let owner = restore_owner(node, &handle, &mut problems);
    restore_attributes(node, &handle, owner, &mut problems);
    if node.kind != NodeKind::Symlink {
        restore_mode(node, &handle, owner, &mut problems);
    }
    if let Err(source) = handle.set_times(&times(node)) {
        problems.push(Problem { aspect: Aspect::Times, source });
    }
    problems
}

/// Whether user and group are now those of the node.
#[derive(Clone, Copy)]
struct OwnerRestored {
    user: bool,
    group: bool,
}

impl OwnerRestored {
    fn both(self) -> bool {
        self.user && self.group
    }
}

fn restore_owner(node: &Node, handle: &Handle<'_>, problems: &mut Vec<Problem>) -> OwnerRestored {
    let compare = || {
        let stat = handle.stat()?;
        Ok(OwnerRestored { user: stat.st_uid == node.uid, group: stat.st_gid == node.gid })
    };
    let restored = compare().and_then(|before| {
        if before.both() {
            return Ok((before, None));
        }
        // All ones is the system's word for "leave it".
        let uid = (node.uid != u32::MAX).then(|| Uid::from_raw(node.uid));
        let gid = (node.gid != u32::MAX).then(|| Gid::from_raw(node.gid));
        let refused = handle.set_owner(uid, gid).err();
        if refused.is_some() {
            // Anybody may give a file to another group of theirs.
            _ = handle.set_owner(None, gid);
        }
        compare().map(|after| (after, refused))
    });
    match restored {
        Ok((owner, _)) if owner.both() => owner,
        Ok((owner, refused)) => {
            let source = refused.unwrap_or_else(|| io::ErrorKind::InvalidInput.into());
            problems.push(Problem { aspect: Aspect::Owner, source });
            owner
        }
        Err(source) => {
            problems.push(Problem { aspect: Aspect::Owner, source });
            OwnerRestored { user: false, group: false }
        }
    }
}

fn restore_attributes(node: &Node, handle: &Handle<'_>, owner: OwnerRestored, problems: &mut Vec<Problem>) {
    let wanted = || node.extended_attributes.iter().filter(|wanted| wanted.name != CAPABILITY || owner.both());
    for attribute in wanted() {
        let name = attribute.name.as_bytes();
        // Labels of the security system cannot be set by everybody, but often are right already.
        let is_right = matches!(handle.attribute(name), Ok(Some(value)) if value == attribute.value);
        if !is_right && let Err(source) = handle.set_attribute(name, &attribute.value) {
            problems.push(Problem { aspect: Aspect::Attribute(attribute.name.clone()), source });
        }
    }
    for name in handle.attribute_names().unwrap_or_default() {
        let removable = REMOVABLE.iter().any(|start| name.starts_with(start.as_bytes()));
        let surplus = removable && !wanted().any(|wanted| wanted.name.as_bytes() == name);
        if surplus && let Err(source) = handle.remove_attribute(&name) {
            let name = String::from_utf8_lossy(&name).into_owned();
            problems.push(Problem { aspect: Aspect::Attribute(name), source });
        }
    }
}

fn restore_mode(node: &Node, handle: &Handle<'_>, owner: OwnerRestored, problems: &mut Vec<Problem>) {
    let mut mode = permissions(node.mode);
    // On a folder setgid lends no rights; it hands the folder's group on.
    let keeps_group = if node.kind == NodeKind::Dir { owner.group } else { owner.both() };
    mode.set(Mode::SUID, mode.contains(Mode::SUID) && owner.both());
    mode.set(Mode::SGID, mode.contains(Mode::SGID) && keeps_group);
    let is_set = || {
        // Without the right to set one of the special bits, some systems leave it out and say nothing.
        let is_special = mode.intersects(Mode::SUID | Mode::SGID | Mode::SVTX);
        Ok(!is_special || Mode::from_raw_mode(handle.stat()?.st_mode) == mode)
    };
    let refused = |is_set| if is_set { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) };
    let set = handle.set_mode(mode).and_then(|()| is_set()).and_then(refused);
    if let Err(source) = set {
        problems.push(Problem { aspect: Aspect::Mode, source });
    }
}

fn times(node: &Node) -> Timestamps {
    let time = |time: Option<jiff::Timestamp>| match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(time) => {
            // Before 1970 the fraction counts backwards in jiff and forwards in the system.
            let (seconds, nanoseconds) = (time.as_second(), time.subsec_nanosecond());
            let borrow = i64::from(nanoseconds < 0);
            let nanoseconds = i64::from(nanoseconds) + borrow * 1_000_000_000;
            Timespec { tv_sec: seconds - borrow, tv_nsec: nanoseconds }
        }
    };
    Timestamps { last_access: time(node.atime), last_modification: time(node.mtime) }
}

#[cfg(test)]
mod tests;
