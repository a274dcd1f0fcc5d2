//! The socket: in a folder of its own, taken over only when nobody listens on it any more.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use interprocess::local_socket::tokio::Listener;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;

use crate::error::{Error, Result};

/// The longest path of a socket in bytes: the system's field less its end mark.
const PATH_MAX: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// A socket that is listened on, and the lock that keeps it ours.
pub struct Listening {
    pub(super) listener: Listener,
    _lock: File,
}

impl Listening {
    /// Listens on a socket.
    ///
    /// # Errors
    /// When another daemon does, when the path is too long, or something else than a socket is in the way.
    pub fn on(path: &Path) -> Result<Self> {
        let length = path.as_os_str().as_bytes().len();
        if length > PATH_MAX {
            let problem = format!("the path has {length} bytes and a socket's may have {PATH_MAX}");
            return Err(Error::Socket { path: path.to_path_buf(), problem });
        }
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io("create", folder))?;
        }
        // Whoever holds the lock listens; a socket file without one is left from a daemon that died.
        let lock = lock_file(&path.with_added_extension("lock"), path)?;
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
        Ok(Self { listener, _lock: lock })
    }
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
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(Error::io("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::AlreadyRunning { path: what.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
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
            let first = Listening::on(&path).unwrap();
            assert!(matches!(Listening::on(&path), Err(Error::AlreadyRunning { .. })));
            assert!(std::os::unix::net::UnixStream::connect(&path).is_ok(), "the first still listens");
            drop(first);
            // What a daemon that was killed leaves: a socket file that nobody listens on.
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            assert!(path.exists());
            assert!(Listening::on(&path).is_ok());
        });
    }

    #[test]
    fn a_path_that_is_too_long_or_taken_by_a_file_is_said() {
        let home = tempfile::tempdir_in("/tmp").unwrap();
        runtime().block_on(async {
            let long = home.path().join("x".repeat(120));
            let error = Listening::on(&long).err().unwrap().to_string();
            assert!(error.contains("may have"), "{error}");
            let file = home.path().join("file");
            fs::write(&file, "precious").unwrap();
            assert!(Listening::on(&file).err().unwrap().to_string().contains("no socket"));
            assert_eq!(fs::read(&file).unwrap(), b"precious");
        });
    }

    #[test]
    fn socket_and_folder_are_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir_in("/tmp").unwrap();
        let path = home.path().join("run/s");
        runtime().block_on(async {
            let _listening = Listening::on(&path).unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        });
    }
}
