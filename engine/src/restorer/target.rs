//! Folders of the destination, held open: every entry is made and looked at relative to one of them, no link that is
//! there is followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat, mkdirat, openat, renameat, renameat_with, statat,
};
use rustix::io::Errno;

use crate::id::sha256;

/// How a folder is opened; a link to one is none.
pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How names of unfinished files begin. They are hidden, and short whatever the file's own name is.
const PART_PREFIX: &str = ".backupd-";

/// How names of unfinished files end.
const PART_SUFFIX: &str = ".part";

/// A folder of the destination.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) fd: OwnedFd,
    /// Where it is, for messages.
    pub(super) path: PathBuf,
    /// Whether this restore made it.
    pub(super) made: bool,
}

impl Target {
    /// Opens the destination, which is made with all above it if it is not there; links in its path are the user's.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
        let made = !path.exists();
        std::fs::create_dir_all(path)?;
        Self::open_root(path, made)
    }

    /// Opens the destination if it is there.
    pub(super) fn existing_root(path: &Path) -> io::Result<Self> {
        Self::open_root(path, false)
    }

    fn open_root(path: &Path, made: bool) -> io::Result<Self> {
        let fd = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path: path.to_path_buf(), made })
    }

    /// Opens a folder in this one, which is made if it is not there.
    pub(super) fn child(&self, name: &OsStr) -> io::Result<Self> {
        let made = match mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let mut child = self.existing_child(name)?;
        child.made = made;
        Ok(child)
    }

    /// Opens a folder in this one if it is there; a link to one is none.
    pub(super) fn existing_child(&self, name: &OsStr) -> io::Result<Self> {
        let fd = openat(&self.fd, name, FOLDER, Mode::empty())?;
        Ok(Self { fd, path: self.path.join(name), made: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_made(&self) -> bool {
        self.made
    }

    /// Looks at an entry, where one may be: of what comes into a folder that we made meanwhile, the name that is given
    /// last does not take the place.
    pub(super) fn look_for(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        if self.made { Ok(None) } else { self.look(name) }
    }

    /// Looks at an entry; `None` if there is none of that name.
    pub(super) fn look(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a regular file for reading.
    pub(super) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::empty())?))
    }

    /// Opens the unfinished file of a name, which only we may read; it is made if it is not there.
    pub(super) fn open_part(&self, name: &OsStr) -> io::Result<File> {
        let part = part_name(name);
        // Somebody's pipe or link, or another name of somebody's file, is not ours to write to.
        let is_ours = |stat: &Stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && stat.st_nlink == 1
                && stat.st_uid == rustix::process::geteuid().as_raw()
        };
        if self.look(&part)?.is_some_and(|stat| !is_ours(&stat)) {
            self.remove(&part)?;
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let private = Mode::RUSR | Mode::WUSR;
        let file = File::from(openat(&self.fd, &part, flags, private)?);
        let stat = rustix::fs::fstat(&file)?;
        if !is_ours(&stat) {
            return Err(Errno::EXIST.into());
        }
        // An attempt that ended just before the name was given has left the mode of the file that it was. What is
        // written now may be another's contents. A file system that knows no modes has the same one for all.
        if Mode::from_raw_mode(stat.st_mode) != private {
            let _ = rustix::fs::fchmod(&file, private);
        }
        Ok(file)
    }

    /// Returns whether an earlier attempt may have left an unfinished entry of this name.
    pub(super) fn may_have_part(&self, name: &OsStr) -> bool {
        !self.made && !matches!(self.look(&part_name(name)), Ok(None))
    }

    /// Makes the empty unfinished form of a file that only we may read, with one call if there is none yet.
    pub(super) fn new_part(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.fd, part_name(name), flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => {
                let file = self.open_part(name)?;
                file.set_len(0)?;
                Ok(file)
            }
            other => Ok(File::from(other?)),
        }
    }

    /// Makes the unfinished form of an entry that is no regular file; what an earlier attempt left is removed.
    pub(super) fn make_part(&self, name: &OsStr, make: impl FnOnce(&OsStr) -> io::Result<()>) -> io::Result<OsString> {
        let part = part_name(name);
        if self.look(&part)?.is_some() {
            self.remove(&part)?;
        }
        make(&part)?;
        Ok(part)
    }

    /// Makes an empty unfinished folder, see [`make_part`](Self::make_part).
    pub(super) fn make_part_folder(&self, name: &OsStr) -> io::Result<()> {
        self.make_part(name, |part| Ok(mkdirat(&self.fd, part, Mode::RWXU)?)).map(|_| ())
    }

    /// Removes the unfinished entry of a name, if there is one.
    pub(super) fn remove_part(&self, name: &OsStr) {
        // It is in nobody's way; an error here would hide the one that led here.
        let _ = self.remove(&part_name(name));
    }

    /// Gives the finished entry its name, where nothing may be.
    pub(super) fn finish_new(&self, name: &OsStr) -> io::Result<()> {
        let part = part_name(name);
        match renameat_with(&self.fd, &part, &self.fd, name, RenameFlags::NOREPLACE) {
            // Not every file system can; then there is a moment in which somebody else's file could be lost.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match self.look(name)? {
                Some(_) => Err(Errno::EXIST.into()),
                None => Ok(renameat(&self.fd, &part, &self.fd, name)?),
            },
            other => Ok(other?),
        }
    }

    /// Gives the finished entry the name of another, which is kept under a name of its own if `keep` says so, or goes.
    pub(super) fn finish_replacing(&self, name: &OsStr, keep: bool) -> io::Result<()> {
        if keep {
            let kept = self.free_name(name)?;
            // A file has both names until the new one takes its own, so that there is one of them at any time.
            match rustix::fs::linkat(&self.fd, name, &self.fd, &kept, AtFlags::empty()) {
                Ok(()) => {}
                Err(_) => renameat(&self.fd, name, &self.fd, &kept)?,
            }
        }
        let part = part_name(name);
        match renameat(&self.fd, &part, &self.fd, name) {
            // One of the two is a folder.
            Err(Errno::NOTDIR | Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => self.exchange(&part, name),
            other => Ok(other?),
        }
    }

    /// Lets the finished entry and the one that has its name change places, and removes the latter.
    fn exchange(&self, part: &OsStr, name: &OsStr) -> io::Result<()> {
        match renameat_with(&self.fd, part, &self.fd, name, RenameFlags::EXCHANGE) {
            // Not every file system can; then there is a moment in which there is neither.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                self.remove(name)?;
                Ok(renameat(&self.fd, part, &self.fd, name)?)
            }
            Err(error) => Err(error.into()),
            // What cannot be removed, such as a folder in which something is mounted, must not stay hidden.
            Ok(()) => self.remove(part).or_else(|_| Ok(renameat(&self.fd, part, &self.fd, self.free_name(name)?)?)),
        }
    }

    /// Returns the first name under which a replaced entry can be kept.
    fn free_name(&self, name: &OsStr) -> io::Result<OsString> {
        for number in 1..=u32::MAX {
            let candidate = kept_name(name, number);
            if self.look(&candidate)?.is_none() {
                return Ok(candidate);
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Opens a folder that took its name just now.
    pub(super) fn made_child(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self { made: true, ..self.existing_child(name)? })
    }

    /// Gives an entry a further name in another folder.
    pub(super) fn link_to(&self, name: &OsStr, folder: &Self, new_name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(&self.fd, name, &folder.fd, new_name, AtFlags::empty())?)
    }

    /// Returns the names of all entries but unfinished files.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = self.all_names()?;
        names.retain(|name| !is_part_name(name.as_bytes()));
        names.sort();
        Ok(names)
    }

    pub(super) fn all_names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Returns whether there is nothing in the folder of this name; also if it cannot be listed, there may be.
    pub(super) fn is_empty_folder(&self, name: &OsStr) -> bool {
        self.existing_child(name).and_then(|folder| folder.all_names()).is_ok_and(|names| names.is_empty())
    }

    /// Returns whether the folder was removed meanwhile.
    pub(super) fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Makes everything below durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.fd)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The name of an unfinished entry: always the same for a name, so that a later attempt finds it.
fn part_name(name: &OsStr) -> OsString {
    format!("{PART_PREFIX}{}{PART_SUFFIX}", hex::encode(&sha256(name.as_bytes())[..8])).into()
}

/// Returns whether an entry of this name could be taken for an unfinished one.
pub(super) fn is_part_name(name: &[u8]) -> bool {
    name.starts_with(PART_PREFIX.as_bytes()) && name.ends_with(PART_SUFFIX.as_bytes())
}

/// Returns the name under which a replaced entry is kept, with a number from 1 on.
fn kept_name(name: &OsStr, number: u32) -> OsString {
    let suffix = format!(".replaced-{number}");
    let room = 255 - suffix.len();
    let bytes = name.as_bytes();
    let mut kept = OsStr::from_bytes(&bytes[..bytes.len().min(room)]).to_owned();
    kept.push(suffix);
    kept
}
