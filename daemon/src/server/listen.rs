//! The socket: in a folder of its own, taken over only when nobody listens on it any more.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use rustix::fs::OFlags;

use super::folder;
use crate::error::{Error, Result};

/// The longest path of a socket in bytes: the system's field less its end mark.
const PATH_MAX: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// How often a lock file that went away while it was locked is made anew.
const LOCK_TRIES: usize = 16;

/// A socket that is listened on, and the lock that keeps it ours.
pub struct Listening {
    pub(super) listener: Listener,
    path: PathBuf,
    mode: u32,
    lock: File,
}

impl Listening {
    /// Listens on a socket of this mode.
    ///
    /// # Errors
    /// When another daemon does, when the path is too long, something else than a socket is in the way, or others
    /// could replace it.
    pub fn on(path: &Path, mode: u32) -> Result<Self> {
        let length = path.as_os_str().as_bytes().len();
        if length > PATH_MAX {
            let problem = format!("the path has {length} bytes and a socket's may have {PATH_MAX}");
            return Err(Error::Socket { path: path.to_path_buf(), problem });
        }
        if let Some(folder) = path.parent() {
            folder::prepare(folder, path, mode)?;
        }
        // Whoever holds the lock listens; a socket file without one is left from a daemon that died.
        let lock = lock_file(&lock_path(path), path)?;
        let listener = bind(path, mode)?;
        Ok(Self { listener, path: path.to_path_buf(), mode, lock })
    }

    /// Listens anew when somebody removed the socket, or the folder that it was in; returns whether it was gone. Who is
    /// connected stays so.
    ///
    /// # Errors
    /// As [`Listening::on`]; then nothing has changed.
    pub fn renew(&mut self) -> Result<bool> {
        if fs::symlink_metadata(&self.path).is_ok() {
            return Ok(false);
        }
        let lock = lock_path(&self.path);
        if is_still_at(&self.lock, &lock) {
            let listener = bind(&self.path, self.mode)?;
            self.replace(listener);
        } else {
            let Self { listener, lock, .. } = Self::on(&self.path, self.mode)?;
            self.lock = lock;
            self.replace(listener);
        }
        Ok(true)
    }

    fn replace(&mut self, listener: Listener) {
        // It would take the name of the new one away.
        self.listener.do_not_reclaim_name_on_drop();
        self.listener = listener;
    }
}

fn lock_path(socket: &Path) -> PathBuf {
    socket.with_added_extension("lock")
}

/// Listens on a path that is ours.
fn bind(path: &Path, mode: u32) -> Result<Listener> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let problem = "something that is no socket is in the way".to_owned();
            return Err(Error::Socket { path: path.to_path_buf(), problem });
        }
        _ => {}
    }
    let listener = listen(path, true).or_else(|error| match error.kind() {
        // Not every system can set the mode of a socket before it is there; the folder is closed to others.
        ErrorKind::Unsupported => listen(path, false),
        _ => Err(error),
    });
    let listener = listener.map_err(Error::io("listen on", path))?;
    // Only now and not through the listener: the process's mask would take from it what is to be opened.
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io("open to others", path))?;
    Ok(listener)
}

fn listen(path: &Path, with_mode: bool) -> io::Result<Listener> {
    let name = path.to_fs_name::<GenericFilePath>()?;
    let options = ListenerOptions::new().name(name).try_overwrite(true);
    if with_mode { options.mode(0o600).create_tokio() } else { options.create_tokio() }
}

/// Takes a lock that ends with this process; `what` is what it stands for.
///
/// # Errors
/// [`Error::AlreadyRunning`] when another process holds it.
pub fn lock_file(path: &Path, what: &Path) -> Result<File> {
    for _ in 0..LOCK_TRIES {
        // A link somebody left here would make and lock a file elsewhere.
        let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow);
        let file = options.open(path).map_err(Error::io("open", path))?;
        match file.try_lock() {
            Ok(()) if is_still_at(&file, path) => return Ok(file),
            // Somebody cleaned up between the two: a lock on a file without a name keeps nobody out.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::AlreadyRunning { path: what.to_path_buf() }),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
        }
    }
    Err(Error::io("lock", path)(ErrorKind::Interrupted.into()))
}

fn is_still_at(file: &File, path: &Path) -> bool {
    let id = |found: &fs::Metadata| (found.dev(), found.ino());
    matches!((&file.metadata(), &fs::symlink_metadata(path)), (Ok(ours), Ok(there)) if id(ours) == id(there))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_second_daemon_is_refused_and_a_stale_socket_taken_over() {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let path = home.path().join("run/s");
        runtime().block_on(async {
            let first = Listening::on(&path, 0o600).unwrap();
            assert!(matches!(Listening::on(&path, 0o600), Err(Error::AlreadyRunning { .. })));
            assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "the first still listens");
            drop(first);
            // What a daemon that was killed leaves: a socket file that nobody listens on.
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            assert!(path.exists());
            assert!(Listening::on(&path, 0o600).is_ok());
        });
    }

    #[test]
    fn a_socket_that_was_removed_is_listened_on_anew_and_no_other_daemon_is_pushed_aside() {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let path = home.path().join("run/s");
        let answers = || std::os::unix::net::UnixStream::connect(&path).is_ok();
        runtime().block_on(async {
            let mut listening = Listening::on(&path, 0o600).unwrap();
            assert!(!listening.renew().unwrap(), "it is there");
            fs::remove_file(&path).unwrap();
            assert!(listening.renew().unwrap() && answers());
            fs::remove_dir_all(home.path().join("run")).unwrap();
            assert!(listening.renew().unwrap() && answers());
            assert!(matches!(Listening::on(&path, 0o600), Err(Error::AlreadyRunning { .. })), "the new lock holds");
            // The folder goes, and another daemon is faster.
            fs::remove_dir_all(home.path().join("run")).unwrap();
            let other = Listening::on(&path, 0o600).unwrap();
            assert!(!listening.renew().unwrap());
            fs::remove_file(&path).unwrap();
            assert!(matches!(listening.renew(), Err(Error::AlreadyRunning { .. })));
            drop((listening, other));
        });
    }

    #[test]
    fn a_path_that_is_too_long_or_taken_by_a_file_is_said() {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        runtime().block_on(async {
            let long = home.path().join("x".repeat(120));
            let error = Listening::on(&long, 0o600).err().unwrap().to_string();
            assert!(error.contains("may have"), "{error}");
            let file = home.path().join("file");
            fs::write(&file, "precious").unwrap();
            assert!(Listening::on(&file, 0o600).err().unwrap().to_string().contains("no socket"));
            assert_eq!(fs::read(&file).unwrap(), b"precious");
        });
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_not_followed() {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let (path, elsewhere) = (home.path().join("s"), home.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, home.path().join("s.lock")).unwrap();
        runtime().block_on(async {
            let error = Listening::on(&path, 0o600).err().unwrap().to_string();
            assert!(error.contains("s.lock"), "{error}");
        });
        assert!(!elsewhere.exists(), "nothing was made where the link leads");
    }

    #[test]
    fn a_lock_on_a_file_that_was_replaced_is_no_lock() {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let path = home.path().join("s.lock");
        let first = lock_file(&path, &path).unwrap();
        assert!(is_still_at(&first, &path));
        fs::remove_file(&path).unwrap();
        assert!(!is_still_at(&first, &path));
        fs::write(&path, "").unwrap();
        assert!(!is_still_at(&first, &path));
    }

    #[test]
    fn a_socket_that_is_opened_to_others_is_so_whatever_the_mask_of_the_process() {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let path = home.path().join("backupd/s");
        runtime().block_on(async {
            let _listening = Listening::on(&path, 0o666).unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o666, 0o711));
        });
    }

    #[test]
    fn socket_and_folder_are_closed_to_others() {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let path = home.path().join("run/s");
        runtime().block_on(async {
            let _listening = Listening::on(&path, 0o600).unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        });
    }
}
