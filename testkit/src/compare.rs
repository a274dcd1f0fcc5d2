//! Compares a folder with its copy: bytes, kinds, modes, times, links, extended attributes, owners and holes.
//!
//! The demo and the tests judge by this one comparison. It knows nothing of the engine: it only asks the operating
//! system, and lists every difference instead of stopping at the first.

mod contents;
mod metadata;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What to compare and what to leave out.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Paths of the original that are not compared: they were not asked for.
    pub except: BTreeSet<PathBuf>,
    /// Paths of the original that were reported as failed: they may be missing or incomplete in the copy.
    pub reported: BTreeSet<PathBuf>,
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Every difference, in the order of the paths.
    pub differences: Vec<Difference>,
    /// Regular files that are equal in every respect, or differ as listed.
    pub files: u64,
    /// Folders looked at.
    pub folders: u64,
    /// Symbolic links looked at.
    pub links: u64,
    /// Fifos and devices looked at.
    pub special: u64,
    /// Further names of files that have several.
    pub hard_links: u64,
    /// Bytes of file contents compared.
    pub bytes: u64,
    /// Items that were reported as failed and are therefore not compared.
    pub reported: u64,
    /// Sockets in the original: the programs that serve them make them, so nobody restores them.
    pub sockets: u64,
    /// Whether owners were compared, which only root can restore.
    pub owners: bool,
}

/// One way in which the copy is not the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path in the original.
    pub path: PathBuf,
    /// What differs: one sentence.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug form: names may hold line breaks and bytes that are no text.
        write!(f, "{:?}: {}", self.path, self.what)
    }
}

impl Comparison {
    /// Panics with all differences when there is one.
    ///
    /// # Panics
    /// When the trees differ.
    #[track_caller]
    pub fn assert_equal(&self) {
        let lines: Vec<_> = self.differences.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{} differences:\n{}", lines.len(), lines.join("\n"));
    }
}

/// Compares a folder or file with its copy.
#[must_use]
pub fn compare(original: &Path, copy: &Path, options: &Options) -> Comparison {
    let owners = rustix::process::geteuid().is_root();
    let mut walk = Walk {
        options,
        result: Comparison { owners, ..Comparison::default() },
        twins: Twins::default(),
        todo: Vec::new(),
    };
    walk.todo.push((original.to_path_buf(), copy.to_path_buf()));
    // A list of what is left to do instead of recursion: trees may be deeper than the stack.
    while let Some((original, copy)) = walk.todo.pop() {
        walk.visit(&original, &copy);
    }
    walk.result.differences.sort_by(|a, b| a.path.cmp(&b.path));
    walk.result
}

/// Which file of the copy stands for which of the original, by device and inode, and the first name each was met by.
#[derive(Default)]
struct Twins {
    copy_of: HashMap<(u64, u64), ((u64, u64), PathBuf)>,
    original_of: HashMap<(u64, u64), ((u64, u64), PathBuf)>,
}

struct Walk<'a> {
    options: &'a Options,
    result: Comparison,
    twins: Twins,
    todo: Vec<(PathBuf, PathBuf)>,
}

impl Walk<'_> {
    fn visit(&mut self, original: &Path, copy: &Path) {
        if self.options.except.contains(original) {
            return;
        }
        if self.options.reported.contains(original) {
            self.result.reported += 1;
            return;
        }
        let Some(before) = self.metadata_of(original, original, "the original") else { return };
        if is_socket(&before) {
            self.result.sockets += 1;
            return;
        }
        let Some(after) = self.metadata_of(original, copy, "the copy") else { return };
        if before.mode() & 0o170_000 != after.mode() & 0o170_000 {
            self.differ(original, format!("is {} and became {}", kind_of(&before), kind_of(&after)));
            return;
        }
        for what in metadata::differences(original, &before, copy, &after, self.result.owners) {
            self.differ(original, what);
        }
        self.compare_inside(original, &before, copy, &after);
    }

    fn compare_inside(&mut self, original: &Path, before: &Metadata, copy: &Path, after: &Metadata) {
        if before.is_dir() {
            self.result.folders += 1;
            self.compare_entries(original, copy);
            return;
        }
        let first_name = self.compare_links(original, before, after);
        if before.is_symlink() {
            self.result.links += 1;
            if fs::read_link(original).ok() != fs::read_link(copy).ok() {
                self.differ(original, "the link has another target".to_owned());
            }
        } else if before.is_file() {
            self.result.files += 1;
            // Under its second name the same file would only be read again.
            if first_name {
                self.compare_contents(original, before, copy, after);
            }
        } else {
            self.result.special += 1;
            if before.rdev() != after.rdev() {
                self.differ(original, "the device has another number".to_owned());
            }
        }
    }

    fn compare_contents(&mut self, original: &Path, before: &Metadata, copy: &Path, after: &Metadata) {
        self.result.bytes += before.len();
        match contents::first_difference(original, copy) {
            Ok(None) => {}
            Ok(Some(offset)) => self.differ(original, format!("the contents differ from byte {offset} on")),
            Err(error) => self.differ(original, format!("cannot be compared: {error}")),
        }
        if contents::lost_its_holes(before, after) {
            let (had, has) = (before.blocks() * 512, after.blocks() * 512);
            self.differ(original, format!("had holes ({had} bytes on disk) and lost them ({has} bytes on disk)"));
        }
    }

    fn compare_entries(&mut self, original: &Path, copy: &Path) {
        let before = self.entries(original, original, "the original");
        let after = self.entries(original, copy, "the copy");
        // Backwards, because the last one put there is the next one taken: so the walk follows the names' order.
        for name in before.iter().rev() {
            self.todo.push((original.join(name), copy.join(name)));
        }
        for name in after.difference(&before) {
            let path = original.join(name);
            if !self.options.except.contains(&path) {
                self.differ(&path, "is in the copy only".to_owned());
            }
        }
    }

    /// Checks that names which are one file in the original are one file in the copy, and the reverse. Returns
    /// whether this is the first name of the file.
    fn compare_links(&mut self, path: &Path, before: &Metadata, after: &Metadata) -> bool {
        let (here, there) = ((before.dev(), before.ino()), (after.dev(), after.ino()));
        let copy = self.twins.copy_of.entry(here).or_insert_with(|| (there, path.to_path_buf())).clone();
        let original = self.twins.original_of.entry(there).or_insert_with(|| (here, path.to_path_buf())).clone();
        if copy.0 != there {
            self.differ(path, format!("is no longer one file with {:?}", copy.1));
        }
        if original.0 != here {
            self.differ(path, format!("became one file with {:?}", original.1));
        }
        let first = copy.1 == path;
        self.result.hard_links += u64::from(!first);
        first
    }

    fn metadata_of(&mut self, original: &Path, path: &Path, which: &str) -> Option<Metadata> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.differ(original, format!("is missing in {which}"));
                None
            }
            Err(error) => {
                self.differ(original, format!("cannot be looked at in {which}: {error}"));
                None
            }
        }
    }

    fn entries(&mut self, original: &Path, folder: &Path, which: &str) -> BTreeSet<OsString> {
        let listed: io::Result<_> =
            fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        listed.unwrap_or_else(|error| {
            self.differ(original, format!("cannot be listed in {which}: {error}"));
            BTreeSet::new()
        })
    }

    fn differ(&mut self, path: &Path, what: String) {
        self.result.differences.push(Difference { path: path.to_path_buf(), what });
    }
}

fn is_socket(metadata: &Metadata) -> bool {
    metadata.mode() & 0o170_000 == 0o140_000
}

fn kind_of(metadata: &Metadata) -> &'static str {
    match metadata.mode() & 0o170_000 {
        0o010_000 => "a fifo",
        0o020_000 => "a character device",
        0o040_000 => "a folder",
        0o060_000 => "a block device",
        0o100_000 => "a file",
        0o120_000 => "a symbolic link",
        0o140_000 => "a socket",
        _ => "something unknown",
    }
}

#[cfg(test)]
mod tests;
