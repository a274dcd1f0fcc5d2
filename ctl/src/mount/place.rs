//! Where a mount is to be, and whether this system can make one: found out before anything is begun, to say it clearly.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use backup_proto::error::Exit;
use rustix::io::Errno;

use crate::exit::Failure;

/// Checks that a folder is there, empty, and no mount.
pub(crate) fn check_folder(folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(refused(format!("there is no folder {shown}"), format!("Make it with `mkdir {shown}`.")));
        }
        // What the system says of a mount whose program was killed.
        Err(error) if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => {
            let problem = format!("{shown} is a mount whose program has gone away");
            return Err(refused(problem, format!("Take it away with `fusermount3 -u {shown}`.")));
        }
        Err(source) => return Err(Failure::File { path: folder.to_path_buf(), source }),
    };
    if !metadata.is_dir() {
        return Err(refused(format!("{shown} is not a folder"), "Name an empty folder.".to_owned()));
    }
    let above = fs::metadata(folder.join("..")).ok();
    if above.is_some_and(|above| above.dev() != metadata.dev() || above.ino() == metadata.ino()) {
        let advice = format!("Take it away with `umount {shown}`, or name another folder.");
        return Err(refused(format!("something is mounted on {shown} already"), advice));
    }
    let mut inside = fs::read_dir(folder).map_err(|source| Failure::File { path: folder.to_path_buf(), source })?;
    if inside.next().is_some() {
        let advice = "What is in it could not be seen while the snapshots are there; name an empty folder.".to_owned();
        return Err(refused(format!("{shown} is not empty"), advice));
    }
    Ok(())
}

/// Says that something was refused, and what to do.
pub(crate) fn refused(problem: String, advice: String) -> Failure {
    Failure::Refused { problem, advice, exit: Exit::Failed }
}

/// Says that there is no mount on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn check_system() -> Result<(), Failure> {
    let problem = "mount needs FUSE, which this program uses on Linux only".to_owned();
    Err(refused(problem, "Use `backupctl restore`, or `backupctl cat` for single files.".to_owned()))
}

/// Is never reached: [`check_system`] has refused.
#[cfg(not(target_os = "linux"))]
pub(crate) fn serve(
    _: super::Mounted,
    _: &Path,
    _: bool,
    _: impl FnOnce() -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    check_system().map(|()| Exit::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_used_is_refused_in_words_that_say_why() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::create_dir_all(path("full/inside")).unwrap();
        fs::create_dir(path("empty")).unwrap();
        fs::write(path("file"), "x").unwrap();
        let word = |name: &str| check_folder(&path(name)).map_err(|failure| (failure.to_string(), failure.advice()));
        assert!(word("none").unwrap_err().0.starts_with("there is no folder"));
        assert!(word("file").unwrap_err().0.ends_with("is not a folder"));
        assert!(word("full").unwrap_err().0.ends_with("is not empty"));
        assert!(check_folder(Path::new("/")).unwrap_err().to_string().contains("mounted"));
        word("empty").unwrap();
    }
}
