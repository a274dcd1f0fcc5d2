//! What is wrong in the state folder before anything in it is opened: things of the wrong kind, modes that keep us out,
//! records that cannot be read. What cannot be used is set aside, never deleted; what can be put right is. Keys are
//! not touched.

use std::fs::{self, Metadata, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::files;
use super::load::STORE_FOLDER;
use crate::error::{Error, Result};

/// Folders of the state whose files are looked at, beside the state folder itself.
const FOLDERS: [&str; 3] = [STORE_FOLDER, "ledger", "packs"];

/// Files right in the state folder.
const FILES: [&str; 5] = ["version", "lock", TARGETS, TARGETS_COPY, LOCKS];

/// The record of the repository of each target, and its copy.
pub(crate) const TARGETS: &str = "targets.json";
/// See [`TARGETS`].
pub(crate) const TARGETS_COPY: &str = "targets.copy.json";
/// Is there when both were lost.
pub(crate) const TARGETS_LOST: &str = "targets.lost";
/// The record of the locks we hold.
pub(crate) const LOCKS: &str = "locks.json";

/// Puts right what can be, sets aside what cannot be used, and returns what a person should know.
pub(super) fn mend(state: &Path, stamp: &str) -> Result<Vec<String>> {
    let mut mended = Mended { stamp, notices: Vec::new() };
    for name in FOLDERS {
        let folder = state.join(name);
        if mended.is_folder(&folder)? {
            for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
                mended.is_file(&entry.map_err(Error::io("list", &folder))?.path())?;
            }
        }
    }
    for name in FILES {
        mended.is_file(&state.join(name))?;
    }
    mended.locks(&state.join(LOCKS))?;
    mended.targets(state)?;
    Ok(mended.notices)
}

/// Makes room for a lock file where a folder is in its way.
pub(crate) fn free_lock(path: &Path, stamp: &str) -> Result<()> {
    let mut mended = Mended { stamp, notices: Vec::new() };
    mended.is_file(path)?;
    mended.notices.iter().for_each(|notice| tracing::warn!("{notice}"));
    Ok(())
}

/// Tells whether the bytes are a whole record of targets.
pub(crate) fn is_targets(bytes: &[u8]) -> bool {
    decode_checked(bytes).is_some()
}

/// Returns a JSON value with a checksum beside it.
pub(crate) fn encode_checked(value: &serde_json::Value) -> Vec<u8> {
    let crc = format!("{:08x}", crc32fast::hash(value.to_string().as_bytes()));
    let mut text = format!("{:#}", serde_json::json!({ "version": 2, "crc32": crc, "record": value })).into_bytes();
    text.push(b'\n');
    text
}

/// Reads back what [`encode_checked`] wrote, or a record of version 1, which was the bare value; none when it is not
/// what was written.
pub(crate) fn decode_checked(bytes: &[u8]) -> Option<serde_json::Value> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let Some(crc) = value.get("crc32").and_then(serde_json::Value::as_str) else {
        let looks_new = value.get("record").is_some() || value.get("version").is_some();
        return (value.is_object() && !looks_new).then_some(value);
    };
    let record = value.get("record")?;
    (crc == format!("{:08x}", crc32fast::hash(record.to_string().as_bytes()))).then(|| record.clone())
}

struct Mended<'s> {
    stamp: &'s str,
    notices: Vec<String>,
}

impl Mended<'_> {
    /// Tells whether a folder is there that we can list.
    fn is_folder(&mut self, path: &Path) -> Result<bool> {
        let Some(found) = look(path)? else { return Ok(false) };
        if !fs::metadata(path).is_ok_and(|found| found.is_dir()) {
            self.set_aside(path, "is no folder")?;
            return Ok(false);
        }
        self.open_up(path, &found, 0o700)?;
        Ok(true)
    }

    /// Sees to it that what is here, if anything, is a file we can read. sled's folder, and what was set aside before,
    /// are left alone.
    fn is_file(&mut self, path: &Path) -> Result<()> {
        let Some(found) = look(path)? else { return Ok(()) };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.contains(".bad-") || name == super::load::QUEUE_FOLDER {
            return Ok(());
        }
        if !fs::metadata(path).is_ok_and(|found| found.is_file()) {
            return self.set_aside(path, "is no file");
        }
        self.open_up(path, &found, 0o600)
    }

    fn open_up(&mut self, path: &Path, found: &Metadata, mode: u32) -> Result<()> {
        let wanted = mode & 0o500;
        if found.file_type().is_symlink() || found.permissions().mode() & wanted == wanted {
            return Ok(());
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io("open up", path))?;
        self.notices.push(format!("{} could not be read; its mode was set back to {mode:o}.", path.display()));
        Ok(())
    }

    /// A record of locks that is no JSON is of no use; the locks it named grow stale by themselves.
    fn locks(&mut self, path: &Path) -> Result<()> {
        match read(path)? {
            Some(bytes) if serde_json::from_slice::<Vec<serde_json::Value>>(&bytes).is_err() => {
                self.set_aside(path, "is damaged; locks left in repositories grow stale within half an hour")
            }
            _ => Ok(()),
        }
    }

    /// Of the record of targets there are two, because without it a missing repository looks like one that was never
    /// made.
    fn targets(&mut self, state: &Path) -> Result<()> {
        let paths = [state.join(TARGETS), state.join(TARGETS_COPY)];
        let before = self.notices.len();
        let mut whole: Option<Vec<u8>> = None;
        let mut lacking: Vec<&PathBuf> = Vec::new();
        for path in &paths {
            match read(path)? {
                Some(bytes) if is_targets(&bytes) => drop(whole.get_or_insert(bytes)),
                Some(_) => {
                    self.set_aside(path, "is damaged")?;
                    lacking.push(path);
                }
                None => lacking.push(path),
            }
        }
        let Some(bytes) = whole else {
            return if self.notices.len() > before { self.lost_targets(state) } else { Ok(()) };
        };
        for path in lacking {
            match Disk::default().write_whole(path, &bytes) {
                // The other one is as good.
                Err(error) if error.is_full() => tracing::warn!(%error, "the record of targets has no copy"),
                done => done?,
            }
            if path.ends_with(TARGETS) {
                self.notices.push(format!("{} was missing or damaged; its copy is used.", path.display()));
            }
        }
        Ok(())
    }

    /// Leaves a mark that which repositories there had been is not known any more.
    fn lost_targets(&mut self, state: &Path) -> Result<()> {
        let mark = state.join(TARGETS_LOST);
        Disk::default().write_whole(&mark, b"which repositories the targets had is not known\n")?;
        self.notices.push(format!(
            "Which repository each target had is not known any more. Until {} is removed no repository is made by itself, \
             because one that is absent might be taken for one that never was.",
            mark.display()
        ));
        Ok(())
    }

    fn set_aside(&mut self, path: &Path, why: &str) -> Result<()> {
        let aside = files::set_aside(path, self.stamp)?;
        self.notices.push(format!("{} {why}; it was set aside as {}.", path.display(), aside.display()));
        Ok(())
    }
}

/// Looks what is here, without following a link.
fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match files::read_own(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
