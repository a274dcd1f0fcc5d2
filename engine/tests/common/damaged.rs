//! A repository of three snapshots, two of ours and one of restic's, and the ways to damage its files.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::ops::{ControlFlow, Range};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use backup_engine::browse::list;
use backup_engine::checker::{VerifyOptions, verify};
use backup_engine::id::{BlobHandle, BlobKind, PackId, SnapshotId};
use backup_engine::restorer::{RestoreOptions, RestoreSummary, restore};
use backup_engine::storage::{Bytes, FileKind, FileName, LocalStorage, MemoryStorage, Storage};
use backup_engine::tree::{Node, NodeKind};
use backup_engine::{Gate, Repository, Result};
use backup_testkit::compare::{Options, compare};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;

use super::{Place, Remembers, back_up, open, options};

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    Delete,
    /// All of it is cut off.
    Empty,
    Halve,
    /// The last byte is cut off.
    Clip,
    BendFirst,
    BendMiddle,
    BendLast,
    /// It and another of its kind have each other's contents.
    Swap,
}

pub(crate) const DAMAGES: [Damage; 8] = [
    Damage::Delete,
    Damage::Empty,
    Damage::Halve,
    Damage::Clip,
    Damage::BendFirst,
    Damage::BendMiddle,
    Damage::BendLast,
    Damage::Swap,
];

impl Damage {
    /// Which bytes of a file of this length are no longer right.
    fn range(self, length: u64) -> Range<u64> {
        match self {
            Self::Delete | Self::Empty | Self::Swap => 0..length,
            Self::Halve => length / 2..length,
            Self::Clip | Self::BendLast => length - 1..length,
            Self::BendFirst => 0..1,
            Self::BendMiddle => length / 2..length / 2 + 1,
        }
    }
}

pub(crate) fn damage(storage: &dyn Storage, name: &FileName, how: Damage, other: &FileName) {
    let mut bytes = storage.read(name).expect("the file is there");
    let range = how.range(bytes.len() as u64);
    let start = usize::try_from(range.start).expect("files of tests fit into memory");
    match how {
        Damage::Delete => return storage.remove(name).expect("a file can be removed"),
        Damage::Empty | Damage::Halve | Damage::Clip => bytes.truncate(start),
        Damage::BendFirst | Damage::BendMiddle | Damage::BendLast => bytes[start] ^= 1,
        Damage::Swap => {
            let others = storage.read(other).expect("the other file is there");
            put(storage, other, &std::mem::replace(&mut bytes, others));
        }
    }
    put(storage, name, &bytes);
}

pub(crate) fn put(storage: &dyn Storage, name: &FileName, bytes: &[u8]) {
    storage.write(name, &mut Bytes::new(bytes)).expect("a file can be written");
}

/// Returns the files of a kind, in the order of their ids.
pub(crate) fn names(storage: &dyn Storage, kind: FileKind) -> Vec<FileName> {
    let mut names: Vec<_> =
        storage.list(kind).expect("files can be listed").into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

/// A snapshot, and a copy of the source as it was then.
pub(crate) struct State {
    pub(crate) snapshot: SnapshotId,
    pub(crate) copy: PathBuf,
}

/// What a restore of a snapshot cannot bring back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Not even the top can be read.
    All,
    /// These files and folders.
    Entries(BTreeSet<PathBuf>),
}

impl Lost {
    pub(crate) fn nothing() -> Self {
        Self::Entries(BTreeSet::new())
    }
}

/// The repository before it is damaged.
pub(crate) struct Whole {
    pub(crate) place: Place,
    pub(crate) storage: MemoryStorage,
    pub(crate) source: PathBuf,
    pub(crate) states: Vec<State>,
    repository: Arc<Repository>,
}

impl Whole {
    pub(crate) fn build() -> Self {
        let place = Place::new();
        let source = place.path("source");
        let mut tree = Tree::new(&source, Seed(31));
        place.create(2);
        fs::write(place.path("other password"), Self::OTHER_PASSWORD).expect("a file can be written");
        let password = place.path("other password");
        place.restic().run([OsStr::new("key"), "add".as_ref(), "--new-password-file".as_ref(), password.as_ref()]);
        let mut states = Vec::new();
        for number in 0..3 {
            tree.random_file(format!("folder {number}/several chunks"), 1_700_000);
            tree.random_file(format!("folder {number}/inner/small"), 1000);
            tree.random_file("changes", 3000);
            let snapshot = if number < 2 {
                back_up(&place.open(), &options(&source)).0.snapshot.expect("a backup makes a snapshot")
            } else {
                place.restic().backup(&source);
                place.open().snapshots().expect("snapshots can be listed").list[2].0
            };
            let copy = place.path(&format!("state {number}"));
            let status = Command::new("cp").arg("-a").args([&source, &copy]).status().expect("cp runs");
            assert!(status.success());
            states.push(State { snapshot, copy });
        }
        let storage = in_memory(&LocalStorage::new(place.repository()));
        let repository = open(Arc::new(storage.snapshot())).expect("it opens");
        assert!(repository.load_index().expect("the index can be read").is_empty());
        Self { place, storage, source, states, repository }
    }

    pub(crate) const OTHER_PASSWORD: &str = "another secret";

    /// What is in the source now, as a new snapshot should have it.
    pub(crate) fn state_of_now(&self, snapshot: SnapshotId) -> State {
        State { snapshot, copy: self.source.clone() }
    }

    /// Returns the blobs that have wrong bytes after their pack was damaged.
    pub(crate) fn blobs_hit(&self, pack: PackId, how: Damage) -> HashSet<BlobHandle> {
        let name = FileName::new(FileKind::Pack, pack.0);
        let length = self.storage.read(&name).expect("the pack is there").len() as u64;
        let range = how.range(length);
        let blobs = &self.repository.index().by_pack()[&pack];
        let hit = blobs.iter().filter(|blob| {
            let (start, end) = (u64::from(blob.offset), u64::from(blob.offset) + u64::from(blob.length));
            start < range.end && range.start < end
        });
        hit.map(|blob| blob.handle).collect()
    }

    /// Returns a pack that holds a file of this snapshot.
    pub(crate) fn data_pack_of(&self, snapshot: &SnapshotId) -> PackId {
        let mut found = None;
        list(&self.repository, snapshot, self.source.as_os_str().as_bytes(), true, &mut |_, node| {
            found = found.or(node.content.iter().flatten().next().copied());
            Ok(ControlFlow::Continue(()))
        })
        .expect("a whole snapshot can be listed");
        let handle = BlobHandle { kind: BlobKind::Data, id: found.expect("the snapshot has a file") };
        self.repository.index().get(&handle).expect("a whole repository knows its blobs").pack
    }

    /// Returns what cannot be restored of a snapshot without these blobs.
    pub(crate) fn lost(&self, snapshot: &SnapshotId, bad: &HashSet<BlobHandle>) -> Lost {
        let found = self.repository.snapshots().expect("snapshots can be listed").list;
        let (_, file) = found.iter().find(|(id, _)| id == snapshot).expect("the snapshot is there");
        if bad.contains(&BlobHandle { kind: BlobKind::Tree, id: file.tree }) {
            return Lost::All;
        }
        let mut lost = BTreeSet::new();
        self.collect_lost(snapshot, Path::new("/"), bad, &mut lost);
        Lost::Entries(lost)
    }

    fn collect_lost(
        &self,
        snapshot: &SnapshotId,
        folder: &Path,
        bad: &HashSet<BlobHandle>,
        lost: &mut BTreeSet<PathBuf>,
    ) {
        let is_bad = |kind, id| bad.contains(&BlobHandle { kind, id });
        let mut folders = Vec::new();
        list(&self.repository, snapshot, folder.as_os_str().as_bytes(), false, &mut |path, node: &Node| {
            let path = PathBuf::from(OsStr::from_bytes(path));
            let gone = node.subtree.is_some_and(|tree| is_bad(BlobKind::Tree, tree))
                || node.content.iter().flatten().any(|id| is_bad(BlobKind::Data, *id));
            if gone {
                lost.insert(path);
            } else if node.kind == NodeKind::Dir {
                folders.push(path);
            }
            Ok(ControlFlow::Continue(()))
        })
        .expect("a whole snapshot can be listed");
        for folder in folders {
            self.collect_lost(snapshot, &folder, bad, lost);
        }
    }

    /// Returns the same for all snapshots together.
    pub(crate) fn lost_paths(&self, bad: &HashSet<BlobHandle>) -> BTreeSet<PathBuf> {
        let lost = |state: &State| match self.lost(&state.snapshot, bad) {
            Lost::All => [PathBuf::from("/")].into(),
            Lost::Entries(paths) => paths,
        };
        self.states.iter().flat_map(lost).collect()
    }

    /// Restores a snapshot of a damaged repository: all but what must be lost is there, and what is lost is reported.
    pub(crate) fn restores(&self, repository: &Arc<Repository>, state: &State, lost: &Lost, what: &str) {
        let to = tempfile::tempdir().expect("a temporary folder can be made");
        let (result, monitor) = run(repository, state, to.path());
        let Lost::Entries(lost) = lost else {
            let error = result.expect_err("there is no top");
            assert!(error.to_string().contains("damaged"), "{what}: {error}");
            return assert_eq!(fs::read_dir(to.path()).expect("it is a folder").count(), 0, "{what}");
        };
        result.unwrap_or_else(|error| panic!("{what}: {error}"));
        let there = |path: &PathBuf| to.path().join(path.strip_prefix("/").expect("an absolute path"));
        let reported: BTreeSet<PathBuf> = monitor.failed().into_iter().map(|(path, _)| path).collect();
        assert_eq!(reported, lost.iter().map(there).collect(), "{what}");
        for path in lost.iter().map(there) {
            assert!(!path.is_file(), "{what}: {} was reported as failed, but is there", path.display());
        }
        if lost.iter().any(|path| self.source.starts_with(path)) {
            return;
        }
        let inside = lost.iter().map(|path| path.strip_prefix(&self.source).expect("all is below the source"));
        let options = Options { reported: inside.map(|path| state.copy.join(path)).collect(), ..Options::default() };
        let found = compare(&state.copy, &there(&self.source), &options);
        assert_eq!(found.differences, [], "{what}");
    }

    pub(crate) fn try_restore(&self, repository: &Arc<Repository>, state: &State) -> Result<RestoreSummary> {
        let to = tempfile::tempdir().expect("a temporary folder can be made");
        run(repository, state, to.path()).0
    }

    /// Compares the source with what was restored of it below a folder.
    pub(crate) fn compare_now(&self, to: &Path) {
        let copy = to.join(self.source.strip_prefix("/").expect("an absolute path"));
        compare(&self.source, &copy, &Options::default()).assert_equal();
    }
}

fn run(repository: &Arc<Repository>, state: &State, to: &Path) -> (Result<RestoreSummary>, Remembers) {
    let monitor = Remembers::default();
    let options = RestoreOptions::new(state.snapshot, to.to_path_buf());
    (restore(repository, &options, &Gate::new(), &monitor), monitor)
}

/// Verifies; returns the names of files that are wrong, and the paths in snapshots that are affected.
pub(crate) fn verify_all(repository: &Arc<Repository>, read_data: bool) -> (BTreeSet<String>, BTreeSet<PathBuf>) {
    let monitor = Remembers::default();
    let options = VerifyOptions { read_data, threads: 2, ..VerifyOptions::default() };
    let summary = verify(repository, &options, &Gate::new(), &monitor).expect("a verification runs to its end");
    let failed = monitor.failed();
    assert_eq!(summary.failed, failed.len() as u64);
    let (mut files, mut affected) = (BTreeSet::new(), BTreeSet::new());
    for (path, _) in failed {
        let text = path.to_str().expect("names of tests are text").to_owned();
        match text.split_once(':') {
            Some((_, path)) => _ = affected.insert(PathBuf::from(path)),
            None => _ = files.insert(text),
        }
    }
    (files, affected)
}

fn in_memory(storage: &dyn Storage) -> MemoryStorage {
    let copy = MemoryStorage::new();
    for name in FileKind::ALL.into_iter().flat_map(|kind| names(storage, kind)) {
        put(&copy, &name, &storage.read(&name).expect("a file can be read"));
    }
    copy
}
