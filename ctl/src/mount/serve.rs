//! Mounting and unmounting: whether the system can, and until when it lasts.

use std::io;
use std::path::Path;
use std::sync::mpsc::channel;

use backup_proto::error::Exit;
use fuser::{Config, MountOption, Session, SessionACL};
use rustix::mount::{UnmountFlags, unmount};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Mounted;
use super::fuse::Fuse;
use super::place::refused;
use crate::exit::Failure;

/// Requests of the system that are answered at a time.
const THREADS: usize = 4;

/// The device through which the system asks.
const DEVICE: &str = "/dev/fuse";

/// Checks that this system can mount at all.
pub(crate) fn check_system() -> Result<(), Failure> {
    match std::fs::File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let problem = format!("you may not use {DEVICE}");
            let advice =
                "Ask whoever runs this machine for it; `backupctl restore` and `cat` need no mount.".to_owned();
            return Err(Failure::Refused { problem, advice, exit: Exit::NotAllowed });
        }
        Err(error) => {
            let problem = format!("this system has no FUSE: {DEVICE}: {error}");
            let advice = "Load it with `modprobe fuse`; in a container, give it the device. `backupctl restore` and \
                          `cat` need no mount.";
            return Err(refused(problem, advice.to_owned()));
        }
    }
    if !rustix::process::geteuid().is_root() && !has_helper() {
        let problem = "the program `fusermount3` is missing, with which users mount".to_owned();
        return Err(refused(problem, "Install it: `apt install fuse3`, or `dnf install fuse3`.".to_owned()));
    }
    Ok(())
}

fn has_helper() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/bin", "/usr/bin", "/sbin"].map(Into::into));
    let names = places.flat_map(|place| [place.join("fusermount3"), place.join("fusermount")]);
    names.into_iter().any(|program| program.is_file())
}

/// Mounts on a folder, says that it is there, and serves it until it is unmounted or a signal ends it.
pub(crate) fn serve(
    mounted: Mounted,
    folder: &Path,
    allow_other: bool,
    is_there: impl FnOnce() -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let (ends, end) = channel();
    // Before the mount, so that none is left behind by a signal that comes just then.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let mut session =
        Session::new(Fuse::new(mounted), folder, &config(allow_other)).map_err(|error| cannot_mount(folder, &error))?;
    let mut mount = session.unmount_callable();
    let by_itself = ends.clone();
    // Who is not waited for any more needs no word.
    std::thread::spawn(move || by_itself.send(Some(session.run())));
    std::thread::spawn(move || signals.forever().next().map(|_| ends.send(None)));
    is_there()?;
    match end.recv() {
        Ok(Some(Err(error))) => return Err(error.into()),
        Ok(Some(Ok(()))) => {}
        // Somebody's working folder may be in there: then it goes when they leave, and nothing of it works any more.
        Ok(None) | Err(_) => {
            if mount.unmount().is_err() {
                unmount(folder, UnmountFlags::DETACH).map_err(io::Error::from)?;
            }
        }
    }
    Ok(Exit::Success)
}

fn config(allow_other: bool) -> Config {
    let mut config = Config::default();
    let name = MountOption::FSName("backupd".to_owned());
    let subtype = MountOption::Subtype("backupd".to_owned());
    config.mount_options = vec![name, subtype, MountOption::RO, MountOption::NoSuid, MountOption::NoDev];
    if allow_other {
        config.acl = SessionACL::All;
        // Others may read what the modes in the snapshot let them read, and no more.
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    config.n_threads = Some(THREADS);
    config
}

fn cannot_mount(folder: &Path, error: &io::Error) -> Failure {
    let problem = format!("cannot mount on {}: {}", folder.display(), error.to_string().trim());
    let advice = if problem.contains("user_allow_other") {
        "Write `user_allow_other` into /etc/fuse.conf, or leave `--allow-other` out."
    } else {
        "Install `fuse3` if `fusermount3` is missing; in a container, it needs the right to mount. `backupctl restore` \
         and `cat` need no mount."
    };
    Failure::Refused { problem, advice: advice.to_owned(), exit: Exit::NotAllowed }
}
