//! In what the metadata of two entries differs.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;

/// A fixed room for a list of attribute names and for a value: the kernel's own limit for either.
const ATTRIBUTE_BYTES: usize = 64 << 10;

/// Lists what differs between two entries of the same kind: one sentence each.
pub(super) fn differences(
    original: &Path,
    before: &Metadata,
    copy: &Path,
    after: &Metadata,
    owners: bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let same_owner = before.uid() == after.uid() && before.gid() == after.gid();
    // setuid and setgid are dropped on purpose where the owner could not be restored.
    let bits = if same_owner { 0o7777 } else { 0o1777 };
    let (had, has) = (before.mode() & bits, after.mode() & bits);
    // Linux has no modes of symbolic links.
    if had != has && !before.is_symlink() {
        found.push(format!("had mode {had:04o} and has {has:04o}"));
    }
    if (before.mtime(), before.mtime_nsec()) != (after.mtime(), after.mtime_nsec()) {
        let (had, has) = (time_of(before), time_of(after));
        found.push(format!("was modified at {had} and now says {has} (seconds since 1970)"));
    }
    if before.is_file() && before.len() != after.len() {
        found.push(format!("had {} bytes and has {}", before.len(), after.len()));
    }
    if owners && !same_owner {
        let (had, has) = ((before.uid(), before.gid()), (after.uid(), after.gid()));
        found.push(format!("belonged to {}:{} and belongs to {}:{}", had.0, had.1, has.0, has.1));
    }
    found.extend(attribute_differences(original, copy, owners));
    found
}

fn time_of(metadata: &Metadata) -> String {
    format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec())
}

fn attribute_differences(original: &Path, copy: &Path, privileged: bool) -> Vec<String> {
    let (before, after) = match (attributes(original, privileged), attributes(copy, privileged)) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(error), _) => return vec![format!("its attributes cannot be read in the original: {error}")],
        (_, Err(error)) => return vec![format!("its attributes cannot be read in the copy: {error}")],
    };
    let mut found = Vec::new();
    for (name, value) in &before {
        match after.get(name) {
            Some(now) if now == value => {}
            Some(_) => found.push(format!("the attribute {name} has another value")),
            None => found.push(format!("the attribute {name} is missing in the copy")),
        }
    }
    for name in after.keys().filter(|name| !before.contains_key(*name)) {
        found.push(format!("the attribute {name} is in the copy only"));
    }
    found
}

/// Returns the attributes that a restore by this user can and must bring back.
fn attributes(path: &Path, privileged: bool) -> Result<BTreeMap<String, Vec<u8>>, Errno> {
    let mut names = vec![0; ATTRIBUTE_BYTES];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        // A file system without attributes has none to compare.
        Err(Errno::NOTSUP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let text = String::from_utf8_lossy(name).into_owned();
        // Other namespaces are for root, and `security.selinux` belongs to the place, not to the file.
        let ours = text.starts_with("user.") || text.starts_with("system.posix_acl_");
        let roots = privileged && text != "security.selinux";
        if !(ours || roots) {
            continue;
        }
        let mut value = vec![0; ATTRIBUTE_BYTES];
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                found.insert(text, value);
            }
            // Listed but not for this user to read: it could not have been backed up by this user either.
            Err(Errno::NODATA | Errno::ACCESS | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
