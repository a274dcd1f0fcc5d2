//! What is mounted below folders.

use std::path::{Path, PathBuf};

/// Returns a hash of what is mounted at or below these folders: where, which file system, of which kind. None where the system
/// does not say.
#[cfg(target_os = "linux")]
pub(crate) fn mounts_below(folders: &[PathBuf]) -> Option<[u8; 32]> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    // The table has no symbolic links in its paths.
    let folders: Vec<PathBuf> =
        folders.iter().map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.clone())).collect();
    Some(crate::id::sha256(&below(&table, &folders)))
}

/// Elsewhere nothing is known.
#[cfg(not(target_os = "linux"))]
pub(crate) fn mounts_below(_: &[PathBuf]) -> Option<[u8; 32]> {
    None
}

/// Returns what counts of the lines of a table: device, folder of its file system, place, and kind.
#[cfg(target_os = "linux")]
fn below(table: &[u8], folders: &[PathBuf]) -> Vec<u8> {
    let mut found = Vec::new();
    for line in table.split(|byte| *byte == b'\n') {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        // id parent device root place options [optional …] - kind source options
        let [_, _, device, root, place, ..] = words[..] else { continue };
        if !folders.iter().any(|folder| unescape(place).starts_with(folder)) {
            continue;
        }
        let kind = words.iter().position(|word| *word == b"-").and_then(|at| words.get(at + 1));
        for word in [device, root, place, kind.copied().unwrap_or_default()] {
            found.extend_from_slice(word);
            found.push(b' ');
        }
        found.push(b'\n');
    }
    found
}

/// Takes back what the system does to spaces, tabs, line ends and backslashes: `\040` and its like.
#[cfg(target_os = "linux")]
fn unescape(word: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = &after[3..];
            }
            None => {
                path.push(*first);
                rest = after;
            }
        }
    }
    Path::new(std::ffi::OsStr::from_bytes(&path)).to_path_buf()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const TABLE: &str = "29 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                         30 29 0:26 / /home/ada/my\\040nas rw - nfs4 nas:/ rw\n\
                         31 29 0:27 / /home/adam rw shared:9 master:2 - tmpfs tmpfs rw\n";

    #[test]
    fn only_what_is_mounted_below_counts_whatever_its_name() {
        let told = |folders: &[&str]| {
            let folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
            String::from_utf8(below(TABLE.as_bytes(), &folders)).expect("it was text")
        };
        assert_eq!(told(&["/home/ada"]), "0:26 / /home/ada/my\\040nas nfs4 \n");
        assert_eq!(told(&["/home/ada/my nas"]), told(&["/home/ada"]));
        assert_eq!(told(&["/home/adam"]), "0:27 / /home/adam tmpfs \n");
        assert_eq!((told(&["/srv"]), told(&["/"]).lines().count()), (String::new(), 3));
    }
}
