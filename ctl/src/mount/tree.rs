//! The folder that is mounted: what is in it, found and read when somebody asks.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_proto::bulk::BulkError;
use backup_proto::client::ClientError;
use backup_proto::error::ErrorKind;
use backup_proto::path::WirePath;
use backup_proto::snapshot::{EntryKind, Snapshot};
use jiff::tz::TimeZone;

use super::inodes::{Inodes, Item, Node};
use super::layout::{Name, Names, names};
use super::listed::{Folder, Listed};
use super::source::{Source, is_away};
use super::windows::{Fetch, Windows};
use super::{LIST_AGE_MAX, WINDOW_BYTES_ALL};

/// Things that went wrong that are remembered, so that each is said once.
const SAID_MAX: usize = 1000;

/// What is at the top.
#[derive(Clone, Debug)]
pub(crate) enum Top {
    /// The names of all snapshots, in this zone's time.
    Names(TimeZone),
    /// What is in one snapshot.
    Snapshot(Arc<Snapshot>),
}

/// Why something cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no such thing.
    NotFound,
    /// It is no folder.
    NoFolder,
    /// It is no file.
    NoFile,
    /// It is damaged, or the daemon does not answer; that was said.
    Failed,
}

/// Where to say what went wrong: one line at a time.
pub(crate) type Say = Box<dyn Fn(&str) + Send + Sync>;

/// Snapshots as a folder.
pub(crate) struct Mounted {
    source: Arc<Source>,
    top: Top,
    say: Say,
    names: Arc<Mutex<Option<Arc<Names>>>>,
    inodes: Mutex<Inodes>,
    folders: Mutex<Listed>,
    windows: Windows,
    said: Mutex<HashSet<WirePath>>,
}

impl Mounted {
    pub(crate) fn new(source: Source, top: Top, say: Say) -> Self {
        let node = match &top {
            Top::Names(_) => Node::Names(Vec::new()),
            Top::Snapshot(snapshot) => Node::Top(Arc::clone(snapshot)),
        };
        Self {
            source: Arc::new(source),
            top,
            say,
            names: Arc::default(),
            inodes: Mutex::new(Inodes::new(node)),
            folders: Mutex::default(),
            windows: Windows::new(WINDOW_BYTES_ALL),
            said: Mutex::default(),
        }
    }

    /// Returns what a number stands for.
    pub(crate) fn node(&self, number: u64) -> Result<Arc<Node>, Trouble> {
        lock(&self.inodes).get(number).ok_or(Trouble::NotFound)
    }

    /// Finds a name in a folder, and counts one look at it.
    pub(crate) fn look_up(&self, folder: u64, name: &[u8]) -> Result<(u64, Arc<Node>), Trouble> {
        let items = self.list(folder)?;
        let at = items.binary_search_by(|item| item.name.as_slice().cmp(name)).map_err(|_| Trouble::NotFound)?;
        Ok((self.look_at(folder, &items[at]), Arc::clone(&items[at].node)))
    }

    /// Counts one look at something in a folder; returns its number.
    pub(crate) fn look_at(&self, folder: u64, item: &Item) -> u64 {
        lock(&self.inodes).enter(folder, item)
    }

    /// Takes looks at something back.
    pub(crate) fn forget(&self, number: u64, lookups: u64) {
        lock(&self.inodes).forget(number, lookups);
    }

    /// Returns what is in a folder.
    pub(crate) fn list(&self, folder: u64) -> Result<Folder, Trouble> {
        match &*self.node(folder)? {
            Node::Names(path) => self.list_names(folder, path),
            Node::Top(snapshot) => self.list_entries(folder, snapshot, &WirePath::from("/")),
            Node::Entry(snapshot, entry) if entry.kind == EntryKind::Folder => {
                self.list_entries(folder, snapshot, &entry.path)
            }
            Node::Entry(..) | Node::Link(_) => Err(Trouble::NoFolder),
        }
    }

    /// Reads from a file and hands out what was read: fewer bytes at its end.
    pub(crate) fn read<T>(
        &self,
        number: u64,
        offset: u64,
        length: u32,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Trouble> {
        let node = self.node(number)?;
        let entry = match &*node {
            Node::Entry(_, entry) if entry.kind == EntryKind::File => entry,
            _ => return Err(Trouble::NoFile),
        };
        let size = entry.size_bytes;
        let wanted = offset.min(size)..offset.saturating_add(length.into()).min(size);
        if wanted.is_empty() {
            return Ok(take(&[]));
        }
        let (source, asked) = (Arc::clone(&self.source), Arc::clone(&node));
        let fetch: Fetch = Arc::new(move |range| match &*asked {
            Node::Entry(snapshot, entry) => source.read(snapshot, &entry.path, range.start, range.end - range.start),
            _ => Ok(Vec::new()),
        });
        let read = self.windows.read(number, &wanted, size, &fetch, take);
        read.map_err(|error| self.failed(&entry.path, &error))
    }

    fn list_names(&self, folder: u64, path: &[String]) -> Result<Folder, Trouble> {
        let all = self.names()?;
        let mut names = &*all;
        for name in path {
            let Some(Name::Folder(inside)) = names.get(name) else { return Err(Trouble::NotFound) };
            names = inside;
        }
        let items = names.iter().map(|(name, what)| {
            let node = match what {
                Name::Folder(_) => Node::Names([path, std::slice::from_ref(name)].concat()),
                Name::Snapshot(snapshot) => Node::Top(Arc::clone(snapshot)),
                Name::Link(to) => Node::Link(to.clone()),
            };
            Item::new(folder, name.clone().into_bytes(), node)
        });
        Ok(Arc::new(items.collect()))
    }

    /// Returns the names of the snapshots there are, or were a moment ago.
    fn names(&self) -> Result<Arc<Names>, Trouble> {
        let Top::Names(zone) = &self.top else { return Err(Trouble::NotFound) };
        let mut listed = lock(&self.names);
        if let Some(names) = &*listed {
            return Ok(Arc::clone(names));
        }
        let top = WirePath::from("/");
        let snapshots = self.source.snapshots().map_err(|error| self.failed(&top, &error))?;
        lock(&self.said).remove(&top);
        let found = Arc::new(names(&snapshots, zone));
        let old = Arc::clone(&self.names);
        // Without a thread the list is not kept at all.
        let aging = std::thread::Builder::new().name("list".to_owned()).spawn(move || {
            std::thread::sleep(LIST_AGE_MAX);
            *lock(&old) = None;
        });
        *listed = aging.is_ok().then(|| Arc::clone(&found));
        Ok(found)
    }

    /// Forgets which snapshots there are, as happens by itself after a moment.
    #[cfg(test)]
    pub(crate) fn age(&self) {
        *lock(&self.names) = None;
    }

    fn list_entries(&self, folder: u64, snapshot: &Arc<Snapshot>, path: &WirePath) -> Result<Folder, Trouble> {
        let known = lock(&self.folders).get(folder);
        if let Some(known) = known {
            return Ok(known);
        }
        let entries = self.source.folder(snapshot, path).map_err(|error| self.failed(path, &error))?;
        let known = entries.into_iter().filter(|entry| entry.kind != EntryKind::Unknown);
        let mut items: Vec<Item> = known
            .map(|entry| {
                let name = entry.path.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
                Item::new(folder, name, Node::Entry(Arc::clone(snapshot), entry))
            })
            .collect();
        items.sort_by(|a, b| a.name.cmp(&b.name));
        let items = Arc::new(items);
        lock(&self.folders).put(folder, &items);
        Ok(items)
    }

    /// Says what went wrong with a path, the first time it does, and returns what the system is to be told.
    fn failed(&self, path: &WirePath, error: &ClientError) -> Trouble {
        if let ClientError::Remote(error) | ClientError::Bulk(BulkError::Remote(error)) = error
            && matches!(error.data.kind, ErrorKind::PathNotFound | ErrorKind::SnapshotNotFound)
        {
            return Trouble::NotFound;
        }
        let is_away = is_away(error);
        let path = if is_away { WirePath::from("/") } else { path.clone() };
        let mut said = lock(&self.said);
        if said.len() < SAID_MAX && said.insert(path.clone()) {
            (self.say)(&if is_away { format!("{error}") } else { format!("{path}: {error}") });
        }
        Trouble::Failed
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is whole, or a window that is read anew: a panic elsewhere leaves nothing that is wrong.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
