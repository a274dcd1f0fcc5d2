//! Bringing a state of an older version to the present one.
//!
//! ```text
//! queue ─copy─► queue.upgrade ─open, write anew, read back, compare─► well?
//!   then: queue ─► queue.version-1 · queue.upgrade ─► queue · version file
//! ```
//! The old state is never opened, only copied, and it is moved out of the way when the new one was read back and holds
//! the same. A kill at any moment leaves one or the other: a start that finds no `queue` puts the old one back, one
//! that finds an upgraded `queue` writes the version file. The old one stays for a downgrade.

use std::fs;
use std::path::Path;

use super::disk::Disk;
use super::files;
use super::load::{self, STORE_FOLDER};
use super::version::{self, CURRENT, Marked};
use crate::error::{Error, Result};

/// Where the copy is worked on.
const WORK: &str = "queue.upgrade";

/// Refuses a state of a later version, before anything is changed in it.
///
/// # Errors
/// [`Error::Newer`].
pub(super) fn refuse_newer(state: &Path) -> Result<()> {
    let version = match version::marked(state) {
        Marked::Version(version) => Some(version),
        Marked::No | Marked::Damaged => in_files(state),
    };
    match version {
        Some(version) if version > CURRENT => Err(Error::Newer { folder: state.to_path_buf(), version }),
        _ => Ok(()),
    }
}

/// Returns the version that the store's own files have, as far as they can be read.
fn in_files(state: &Path) -> Option<u32> {
    version::of_files(&state.join(STORE_FOLDER)).unwrap_or(None)
}

/// Brings the state in a folder to the present version, if it is older; returns what a person should know.
///
/// # Errors
/// When the upgrade fails, why; the state is as it was.
pub(super) fn prepare(disk: &Disk, state: &Path, stamp: &str) -> Result<Vec<String>> {
    let store = state.join(STORE_FOLDER);
    let marked = version::marked(state);
    put_back(disk, state)?;
    if marked == Marked::Version(CURRENT) {
        return Ok(Vec::new());
    }
    match (marked, in_files(state)) {
        (Marked::No | Marked::Version(_), Some(CURRENT)) => {
            version::mark(disk, state)?;
            Ok(vec!["The version file of the state was missing; the state itself is of the present version.".into()])
        }
        // Of a state that says nothing about itself nothing is known but that this version had been there.
        (Marked::Damaged, Some(CURRENT) | None) => {
            let aside = files::set_aside(&version::path(state), stamp)?;
            version::mark(disk, state)?;
            Ok(vec![format!("The version file of the state is damaged and was set aside as {}.", aside.display())])
        }
        (Marked::No, None) if !store.exists() => version::mark(disk, state).map(|()| Vec::new()),
        _ => upgrade(disk, state, stamp),
    }
}

/// Ends an upgrade that a kill interrupted: what it had begun goes away, and the old state comes back if it had been
/// moved and nothing had taken its place yet.
fn put_back(disk: &Disk, state: &Path) -> Result<()> {
    let (store, work) = (state.join(STORE_FOLDER), state.join(WORK));
    let old = old_versions(state)?;
    if !store.exists()
        && work.exists()
        && let Some(old) = old.last()
    {
        disk.rename(&state.join(old), &store)?;
        disk.sync_folder(state)?;
    }
    disk.remove_tree(&work)
}

/// Returns the names of old states that are kept, newest last.
fn old_versions(state: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(state).map_err(Error::io("list", state))? {
        let name = entry.map_err(Error::io("list", state))?.file_name().to_string_lossy().into_owned();
        if name.strip_prefix("queue.version-").is_some_and(|version| version.parse::<u32>().is_ok()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn upgrade(disk: &Disk, state: &Path, stamp: &str) -> Result<Vec<String>> {
    let (store, work) = (state.join(STORE_FOLDER), state.join(WORK));
    let from = version::of_files(&store)?.unwrap_or(1);
    tracing::info!(from, to = CURRENT, "the state is being upgraded");
    let made = copy(disk, &store, &work).and_then(|()| migrate(disk, &work, stamp));
    let mut notices = match made {
        Ok(notices) => notices,
        Err(error) => {
            // The old state was only read. What was begun is in nobody's way, but takes room.
            let _ = disk.remove_tree(&work);
            return Err(error);
        }
    };
    let old = state.join(format!("queue.version-{from}"));
    if let Err(error) = exchange(disk, state, &old) {
        put_back(disk, state)?;
        return Err(error);
    }
    notices.push(format!(
        "The state was upgraded from version {from} to {CURRENT}. The old one is kept in {}; it may be removed.",
        old.display()
    ));
    Ok(notices)
}

/// Puts the upgraded store in the place of the old one.
fn exchange(disk: &Disk, state: &Path, old: &Path) -> Result<()> {
    let store = state.join(STORE_FOLDER);
    disk.remove_tree(old)?;
    disk.rename(&store, old)?;
    disk.sync_folder(state)?;
    disk.rename(&state.join(WORK), &store)?;
    disk.sync_folder(state)?;
    version::mark(disk, state)
}

/// Copies a store with all that is in it, durably. The reserve is no part of it.
fn copy(disk: &Disk, from: &Path, to: &Path) -> Result<()> {
    disk.create_folder(to)?;
    for entry in fs::read_dir(from).map_err(Error::io("list", from))? {
        let entry = entry.map_err(Error::io("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(Error::io("look at", &source))?;
        if kind.is_dir() {
            copy(disk, &source, &target)?;
        } else if kind.is_file() && !is_left_out(&source) {
            let bytes = files::read_own(&source)?;
            let mut file = disk.create(&target)?;
            file.write(&bytes).and_then(|()| file.sync()).map_err(Error::io("write", &target))?;
        }
    }
    disk.sync_folder(to)
}

fn is_left_out(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "reserve") || path.extension().is_some_and(|end| end == "tmp")
}

/// Writes what a copy of an older store holds in the present form, reads it back and compares.
fn migrate(disk: &Disk, work: &Path, stamp: &str) -> Result<Vec<String>> {
    let (mut writer, loaded) = load::open(disk, work, stamp)?;
    writer.write_anew()?;
    drop(writer);
    let (contents, sequence) = load::read_whole(work)?.ok_or_else(|| failed(work, "it cannot be read back"))?;
    if contents != loaded.contents || sequence < loaded.sequence {
        return Err(failed(work, "what was read back differs"));
    }
    if version::of_files(work)? != Some(CURRENT) {
        return Err(failed(work, "not all of it has the new form"));
    }
    Ok(loaded.notices)
}

fn failed(work: &Path, problem: &str) -> Error {
    Error::Upgrade { folder: work.with_file_name(STORE_FOLDER), problem: problem.to_owned() }
}
