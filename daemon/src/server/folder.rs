//! The socket's folder: what other users can do in it decides whether they could put themselves in the daemon's place.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::error::{Error, Result};

/// The name of the folders that are the daemon's own: those of the table of places, and what service managers make.
const OWN_NAME: &str = "backupd";

const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Makes the folder of a socket of this mode, or makes sure that others cannot replace what is in it.
///
/// A folder of the daemon's own is closed to everybody the socket is closed to. One that somebody chose is left as it
/// is, except that others lose the right to write to it.
///
/// # Errors
/// When it cannot be made, or belongs to somebody who lets everybody write to it.
pub(super) fn prepare(folder: &Path, socket: &Path, socket_mode: u32) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io("create", folder))?;
    let found = fs::metadata(folder).map_err(Error::io("examine", folder))?;
    let own_uid = rustix::process::geteuid().as_raw();
    if found.uid() == own_uid && folder.file_name() == Some(OsStr::new(OWN_NAME)) {
        // To reach a socket, its folder must be passable.
        return set_mode(folder, &found, 0o700 | passers(socket_mode));
    }
    let others_may_write = found.mode() & OTHERS_WRITE != 0 && found.mode() & STICKY == 0;
    if others_may_write && found.uid() == own_uid {
        tracing::warn!(folder = %folder.display(), "others could write to the socket's folder, and cannot any more");
        return set_mode(folder, &found, found.mode() & 0o777 & !OTHERS_WRITE);
    }
    if others_may_write {
        let problem = format!(
            "its folder belongs to user {} and others may write to it, so anybody could put a socket of their own there",
            found.uid()
        );
        return Err(Error::Socket { path: socket.to_path_buf(), problem });
    }
    if found.uid() != own_uid && found.uid() != 0 {
        tracing::warn!(
            folder = %folder.display(),
            owner = found.uid(),
            "the socket's folder belongs to another user, who can replace the socket"
        );
    }
    Ok(())
}

fn set_mode(folder: &Path, found: &Metadata, mode: u32) -> Result<()> {
    if found.mode() & 0o7777 == mode {
        return Ok(());
    }
    fs::set_permissions(folder, Permissions::from_mode(mode)).map_err(Error::io("close to others", folder))
}

/// Returns the right to pass a folder for everybody who may use a socket of this mode in it.
fn passers(socket_mode: u32) -> u32 {
    let class = |uses: u32, pass: u32| if socket_mode & uses == 0 { 0 } else { pass };
    class(0o060, 0o010) | class(0o006, 0o001)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn folder(name: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let folder = home.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        (home, folder)
    }

    #[test]
    fn the_daemons_own_folder_is_as_open_as_its_socket() {
        for (socket_mode, expected) in [(0o600, 0o700), (0o660, 0o710), (0o666, 0o711)] {
            for before in [0o755, 0o777, 0o700, 0o500] {
                let (_home, own) = folder("backupd", before);
                prepare(&own, &own.join("s"), socket_mode).unwrap();
                assert_eq!(mode(&own), expected, "socket {socket_mode:o}, folder {before:o}");
            }
        }
    }

    #[test]
    fn a_folder_that_is_missing_is_made_for_its_owner_alone() {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let folder = home.path().join("a/b");
        prepare(&folder, &folder.join("s"), 0o600).unwrap();
        assert_eq!((mode(&folder), mode(folder.parent().unwrap())), (0o700, 0o700));
    }

    #[test]
    fn a_folder_somebody_chose_stays_as_it_is_but_nobody_else_writes_to_it() {
        for (before, after) in [(0o755, 0o755), (0o777, 0o755), (0o775, 0o755), (0o1777, 0o1777)] {
            let (_home, chosen) = folder("chosen", before);
            prepare(&chosen, &chosen.join("s"), 0o600).unwrap();
            assert_eq!(mode(&chosen), after, "{before:o}");
        }
    }

    #[test]
    fn a_folder_of_somebody_else_that_everybody_may_write_to_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (_home, foreign) = folder("foreign", 0o777);
        std::os::unix::fs::chown(&foreign, Some(12_345), None).unwrap();
        let error = prepare(&foreign, &foreign.join("s"), 0o600).unwrap_err().to_string();
        assert!(error.contains("belongs to user 12345"), "{error}");
        fs::set_permissions(&foreign, Permissions::from_mode(0o755)).unwrap();
        prepare(&foreign, &foreign.join("s"), 0o600).unwrap();
    }
}
