//! What the system asks through FUSE, answered by [`Mounted`].

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use backup_proto::snapshot::{Attribute, Entry, EntryKind};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr,
    Request,
};

use super::inodes::Node;
use super::listed::Folder;
use super::tree::{Mounted, Trouble};

/// How long the system may remember what never changes.
const FIXED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the system may remember the names of snapshots.
const NAMES_FOR: Duration = Duration::from_secs(1);

/// Answers the system's questions.
pub(super) struct Fuse {
    mounted: Mounted,
    last_handle: AtomicU64,
    folders: Mutex<HashMap<u64, Folder>>,
}

impl Fuse {
    pub(super) fn new(mounted: Mounted) -> Self {
        Self { mounted, last_handle: AtomicU64::new(0), folders: Mutex::default() }
    }

    fn open_folder(&self, folder: u64) -> Result<(u64, FopenFlags), Trouble> {
        let items = self.mounted.list(folder)?;
        let node = self.mounted.node(folder)?;
        let handle = self.last_handle.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.folders).insert(handle, items);
        let is_lasting = matches!(*node, Node::Entry(..) | Node::Top(_));
        let lasting = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
        Ok((handle, if is_lasting { lasting } else { FopenFlags::empty() }))
    }

    /// Lists a folder from some place on, with all that is known of each entry; what is listed counts as looked at.
    fn list(
        &self,
        request: &Request,
        folder: u64,
        handle: u64,
        offset: u64,
        reply: &mut ReplyDirectoryPlus,
    ) -> Result<(), Trouble> {
        let items = lock(&self.folders).get(&handle).cloned().ok_or(Trouble::NotFound)?;
        let own = self.mounted.node(folder)?;
        let mut add = |at: usize, number: u64, name: &[u8], node: &Node| {
            let (name, attributes) = (OsStr::from_bytes(name), attributes(number, node, request));
            reply.add(INodeNo(number), at as u64 + 1, name, &time_to_live(node), &attributes, Generation(0))
        };
        let dots: [&[u8]; 2] = [b".", b".."];
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, name) in dots.into_iter().enumerate().skip(skip) {
            if add(at, folder, name, &own) {
                return Ok(());
            }
        }
        for (at, item) in items.iter().enumerate().skip(skip.saturating_sub(dots.len())) {
            let number = self.mounted.look_at(folder, item);
            if add(at + dots.len(), number, &item.name, &item.node) {
                self.mounted.forget(number, 1);
                break;
            }
        }
        Ok(())
    }
}

impl Filesystem for Fuse {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Without the first, only one name of a folder is looked up at a time. A list tells all of each entry, which is then
        // not asked for by itself, and where a link leads is asked once.
        for wanted in [InitFlags::FUSE_PARALLEL_DIROPS, InitFlags::FUSE_DO_READDIRPLUS, InitFlags::FUSE_CACHE_SYMLINKS]
        {
            let _ = config.add_capabilities(wanted);
        }
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.mounted.look_up(parent.0, name.as_bytes()) {
            Ok((number, node)) => {
                let attributes = attributes(number, &node, request);
                reply.entry(&time_to_live(&node), &attributes, Generation(0));
            }
            Err(trouble) => reply.error(number_of(trouble)),
        }
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        self.mounted.forget(number.0, lookups);
    }

    fn getattr(&self, request: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.mounted.node(number.0) {
            Ok(node) => reply.attr(&time_to_live(&node), &attributes(number.0, &node, request)),
            Err(trouble) => reply.error(number_of(trouble)),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.mounted.node(number.0).as_deref() {
            Ok(Node::Link(to)) => reply.data(to.as_bytes()),
            Ok(Node::Entry(_, Entry { link_target: Some(to), .. })) => reply.data(to.as_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(trouble) => reply.error(number_of(*trouble)),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Says that files are not opened here: the system does not ask again, and keeps what it has read of each.
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut reply = Some(reply);
        let mut answer = |bytes: &[u8]| reply.take().into_iter().for_each(|reply| reply.data(bytes));
        if let Err(trouble) = self.mounted.read(number.0, offset, size, &mut answer) {
            reply.into_iter().for_each(|reply| reply.error(number_of(trouble)));
        }
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_folder(number.0) {
            Ok((handle, flags)) => reply.opened(FileHandle(handle), flags),
            Err(trouble) => reply.error(number_of(trouble)),
        }
    }

    fn readdirplus(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        match self.list(request, number.0, handle.0, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(trouble) => reply.error(number_of(trouble)),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        lock(&self.folders).remove(&handle.0);
        reply.ok();
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let node = self.mounted.node(number.0);
        match node.as_deref().map(|node| extended(node).iter().find(|one| OsStr::new(&one.name) == name)) {
            Ok(Some(attribute)) => answer(reply, size, &attribute.value),
            Ok(None) => reply.error(Errno::NO_XATTR),
            Err(trouble) => reply.error(number_of(*trouble)),
        }
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        match self.mounted.node(number.0) {
            Ok(node) => {
                let names = extended(&node).iter().flat_map(|one| [one.name.as_bytes(), b"\0"]);
                answer(reply, size, &names.collect::<Vec<_>>().concat());
            }
            Err(trouble) => reply.error(number_of(trouble)),
        }
    }
}

fn extended(node: &Node) -> &[Attribute] {
    match node {
        Node::Entry(_, entry) => &entry.attributes,
        Node::Names(_) | Node::Top(_) | Node::Link(_) => &[],
    }
}

/// Answers with bytes, or with how many there are if no room is given for them.
fn answer(reply: ReplyXattr, room: u32, bytes: &[u8]) {
    match u32::try_from(bytes.len()) {
        Ok(length) if room == 0 => reply.size(length),
        Ok(length) if length <= room => reply.data(bytes),
        _ => reply.error(Errno::ERANGE),
    }
}

fn time_to_live(node: &Node) -> Duration {
    if matches!(node, Node::Entry(..)) { FIXED_FOR } else { NAMES_FOR }
}

fn number_of(trouble: Trouble) -> Errno {
    match trouble {
        Trouble::NotFound => Errno::ENOENT,
        Trouble::NoFolder => Errno::ENOTDIR,
        Trouble::NoFile => Errno::EACCES,
        Trouble::Failed => Errno::EIO,
    }
}

fn kind(node: &Node) -> FileType {
    match node {
        Node::Names(_) | Node::Top(_) => FileType::Directory,
        Node::Link(_) => FileType::Symlink,
        Node::Entry(_, entry) => match entry.kind {
            EntryKind::File | EntryKind::Unknown => FileType::RegularFile,
            EntryKind::Folder => FileType::Directory,
            EntryKind::Symlink => FileType::Symlink,
            EntryKind::BlockDevice => FileType::BlockDevice,
            EntryKind::CharacterDevice => FileType::CharDevice,
            EntryKind::Fifo => FileType::NamedPipe,
            EntryKind::Socket => FileType::Socket,
        },
    }
}

fn attributes(number: u64, node: &Node, request: &Request) -> FileAttr {
    let (size, modified) = match node {
        Node::Names(_) => (0, None),
        Node::Link(to) => (to.len() as u64, None),
        Node::Top(snapshot) => (0, Some(snapshot.time)),
        Node::Entry(_, Entry { link_target: Some(to), modified, .. }) => (to.as_bytes().len() as u64, *modified),
        Node::Entry(_, entry) => (entry.size_bytes, entry.modified),
    };
    let (mode, uid, gid) = match node {
        Node::Entry(_, entry) => (entry.mode, entry.uid, entry.gid),
        // Nobody made these: they belong to whoever looks.
        Node::Names(_) | Node::Top(_) | Node::Link(_) => (0o555, request.uid(), request.gid()),
    };
    let time = modified.map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(node),
        perm: u16::try_from(mode & 0o7777).unwrap_or(0),
        nlink: links(node),
        uid,
        gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn links(node: &Node) -> u32 {
    match node {
        Node::Entry(_, entry) if entry.kind != EntryKind::Folder => {
            entry.links.map_or(1, |links| u32::try_from(links).unwrap_or(u32::MAX))
        }
        // How many folders are in one is not known: with 1, nobody relies on it.
        _ => 1,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Entries are put in and taken out whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
