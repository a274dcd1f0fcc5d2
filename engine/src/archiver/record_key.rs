//! What a record is known by: everything that decides what a snapshot of these sources holds.

use std::os::unix::ffi::OsStrExt;

use super::BackupOptions;
use super::roots::Roots;
use crate::id::sha256;
use crate::repository::Repository;

/// What is collected of an entry. To be raised whenever another version would store something else of an entry that has not
/// changed (another field, an attribute that was left out before, another rounding of times): a folder that is as recorded is
/// taken over as it was stored, and would lack that for ever.
const COLLECTED: u32 = 1;

/// Hashes everything that decides what a snapshot of these sources holds.
pub(super) fn key(repository: &Repository, options: &BackupOptions, roots: &Roots) -> [u8; 32] {
    let flags = [u8::from(options.exclude_caches), u8::from(options.one_file_system)];
    let exclude = options.exclude.text();
    let asked: [&[u8]; 4] = [&repository.id().0, options.hostname.as_bytes(), &flags, &exclude];
    let sources = roots.sources.iter().map(|source| source.as_os_str().as_bytes());
    hash(COLLECTED, asked.into_iter().chain(sources))
}

fn hash<'p>(collected: u32, parts: impl Iterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut all = collected.to_le_bytes().to_vec();
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_le_bytes());
        all.extend_from_slice(part);
    }
    sha256(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_collected_has_another_key() {
        let parts: [&[u8]; 3] = [b"repository", b"host", b""];
        let key = |collected| hash(collected, parts.into_iter());
        assert_eq!(key(COLLECTED), key(COLLECTED));
        assert_ne!(key(COLLECTED), key(COLLECTED + 1));
        let moved: [&[u8]; 3] = [b"repositoryh", b"ost", b""];
        assert_ne!(key(COLLECTED), hash(COLLECTED, moved.into_iter()), "each part has its length");
    }
}
