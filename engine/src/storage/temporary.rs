//! Files in a local repository that writers were killed over: their names, and their removal.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::local::entries;
use crate::error::{Error, Result};

/// What stands between a file's id and the number of an unfinished write, in our names as in restic's.
pub(super) const TEMPORARY: &str = "-tmp-";

/// Removes the half-written files in a folder that were last written before a time; returns their number and bytes.
pub(super) fn remove_old(folder: &Path, before: Timestamp) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in entries(folder)? {
        let entry = entry.map_err(Error::io("list", folder))?;
        if !is_temporary(entry.file_name().as_encoded_bytes()) {
            continue;
        }
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else { continue };
        let written = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        if !metadata.is_file() || written.is_none_or(|written| written >= before) {
            continue;
        }
        match fs::remove_file(&path) {
            Ok(()) => (files, bytes) = (files + 1, bytes + metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("remove", &path)(error)),
        }
    }
    Ok((files, bytes))
}

/// Tells a half-written file by its name: an id, and a number behind it.
fn is_temporary(name: &[u8]) -> bool {
    let Some((id, rest)) = name.split_at_checked(64) else { return false };
    let number = rest.strip_prefix(TEMPORARY.as_bytes());
    hex::decode_to_slice(id, &mut [0; 32]).is_ok() && number.is_some_and(|number| !number.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_with_a_number_behind_them_are_half_written() {
        let id = "ab".repeat(32);
        for (name, is) in [(format!("{id}-tmp-12"), true), (format!("{id}-tmp-1-2"), true), (id.clone(), false)] {
            assert_eq!(is_temporary(name.as_bytes()), is, "{name}");
        }
        for name in ["", "lost+found", &format!("{id}-tmp-"), &format!("x{id}-tmp-1"), "config-tmp-1"] {
            assert!(!is_temporary(name.as_bytes()), "{name}");
        }
    }
}
