//! Random histories: the source changes, we and restic back it up in turns, and every snapshot is restored. The model
//! is a plain copy of the folder as it was.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use backup_engine::id::SnapshotId;
use backup_engine::restorer::{RestoreOptions, restore};
use backup_engine::{Gate, Repository};
use backup_testkit::compare::{Options, compare};
use backup_testkit::seed::{Random, Seed, rounds};
use backup_testkit::tree::Tree;
use common::{Place, Remembers, back_up, options};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// One step of a history; numbers choose among what is there.
#[derive(Clone, Debug)]
enum Event {
    Add {
        name: u8,
        size: u32,
        seed: u64,
    },
    /// Some bytes in the middle of a file become others; its length stays.
    Change {
        which: u8,
        seed: u64,
    },
    /// A file becomes longer or shorter.
    Resize {
        which: u8,
        size: u32,
    },
    Delete {
        which: u8,
    },
    Rename {
        which: u8,
        name: u8,
    },
    ChangeMode {
        which: u8,
        mode: u16,
    },
    BackUp,
    BackUpByRestic,
    Restore {
        which: u8,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Empty, tiny, and around the shortest chunk and beyond it.
    let size = prop_oneof![3 => 0..5000_u32, 1 => Just(512 * 1024), 1 => 500_000..2_500_000_u32];
    let event = prop_oneof![
        4 => (any::<u8>(), size, any::<u64>()).prop_map(|(name, size, seed)| Event::Add { name, size, seed }),
        3 => any::<(u8, u64)>().prop_map(|(which, seed)| Event::Change { which, seed }),
        2 => (any::<u8>(), 0..1_500_000_u32).prop_map(|(which, size)| Event::Resize { which, size }),
        2 => any::<u8>().prop_map(|which| Event::Delete { which }),
        2 => any::<(u8, u8)>().prop_map(|(which, name)| Event::Rename { which, name }),
        1 => (any::<u8>(), 0..0o1000_u16).prop_map(|(which, mode)| Event::ChangeMode { which, mode }),
        3 => Just(Event::BackUp),
        1 => Just(Event::BackUpByRestic),
        2 => any::<u8>().prop_map(|which| Event::Restore { which }),
    ];
    proptest::collection::vec(event, 10..30)
}

/// A history while it happens.
struct History {
    place: Place,
    tree: Tree,
    repository: Arc<Repository>,
    /// Each snapshot, and the copy of the source as it was.
    states: Vec<(SnapshotId, PathBuf)>,
}

impl History {
    fn new() -> Self {
        let place = Place::new();
        let tree = Tree::new(place.path("source"), Seed(81));
        tree.file("always there", b"so that the source is never empty");
        let repository = place.create(2);
        Self { place, tree, repository, states: Vec::new() }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Add { name, size, seed } => {
                let path = self.tree.path(name_of(name));
                // A folder may stand in its way, or a file in the way of its folder.
                let _ = fs::create_dir_all(path.parent().expect("it lies in the source"));
                let _ = fs::write(path, Seed(seed).random().bytes(size as usize));
            }
            Event::Change { which, seed } => self.change(which, &mut Seed(seed).random()),
            Event::Resize { which, size } => {
                let Some(path) = self.pick(which) else { return };
                fs::File::options().write(true).open(path).unwrap().set_len(u64::from(size)).unwrap();
            }
            Event::Delete { which } => _ = self.pick(which).map(|path| fs::remove_file(path).unwrap()),
            Event::Rename { which, name } => {
                let (Some(from), to) = (self.pick(which), self.tree.path(name_of(name))) else { return };
                let _ = fs::create_dir_all(to.parent().expect("it lies in the source"));
                let _ = fs::rename(from, to);
            }
            Event::ChangeMode { which, mode } => {
                let Some(path) = self.pick(which) else { return };
                // Its owner must be able to read and write it, or the history ends here for whoever is not root.
                self.tree.mode(&path, u32::from(mode) | 0o600);
            }
            Event::BackUp => self.back_up(),
            Event::BackUpByRestic => self.back_up_by_restic(),
            Event::Restore { which } if self.states.is_empty() => _ = which,
            Event::Restore { which } => self.restore(usize::from(which) % self.states.len()),
        }
    }

    fn back_up(&mut self) {
        let (summary, monitor) = back_up(&self.repository, &options(self.tree.root()));
        // A source that shrank by half is said, and is no failure of the backup.
        assert!(monitor.failed().iter().all(|(_, why)| why.contains("less than half")), "{:?}", monitor.failed());
        self.remember(summary.snapshot.unwrap());
    }

    fn back_up_by_restic(&mut self) {
        self.place.restic().backup(self.tree.root());
        let list = self.place.restic().snapshots();
        self.remember(list.last().unwrap()["id"].as_str().unwrap().parse().unwrap());
    }

    fn change(&self, which: u8, random: &mut Random) {
        let Some(path) = self.pick(which) else { return };
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len().min(bytes.len() / 2 + 100);
        let start = bytes.len() / 2;
        bytes[start..end].copy_from_slice(&random.bytes(end - start));
        fs::write(&path, bytes).unwrap();
    }

    /// Returns one of the files, if there is one.
    fn pick(&self, which: u8) -> Option<PathBuf> {
        let mut files = Vec::new();
        files_below(self.tree.root(), &mut files);
        files.retain(|path| !path.ends_with("always there"));
        files.sort();
        let count = files.len();
        files.into_iter().nth(usize::from(which).checked_rem(count)?)
    }

    fn remember(&mut self, snapshot: SnapshotId) {
        let copy = self.place.path(&format!("state {}", self.states.len()));
        let status = Command::new("cp").arg("-a").args([self.tree.root(), &copy]).status().unwrap();
        assert!(status.success());
        self.states.push((snapshot, copy));
    }

    fn restore(&self, which: usize) {
        let (snapshot, copy) = &self.states[which];
        let to = tempfile::tempdir().unwrap();
        let path = Some(self.tree.root().as_os_str().as_encoded_bytes().to_vec());
        let options = RestoreOptions { path, ..RestoreOptions::new(*snapshot, to.path().join("restored")) };
        let monitor = Remembers::default();
        restore(&self.repository, &options, &Gate::new(), &monitor).unwrap();
        assert_eq!(monitor.failed(), []);
        compare(copy, &to.path().join("restored"), &Options::default()).assert_equal();
    }
}

/// Few names in few folders, so that histories meet them again.
fn name_of(number: u8) -> String {
    match number % 12 {
        name @ 0..4 => format!("file {name}"),
        name @ 4..8 => format!("folder/file {name}"),
        name => format!("folder/inner {}/file", name % 2),
    }
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn every_snapshot_of_a_random_history_is_what_the_source_was() {
    let mut seed = Seed::of_test("backup-engine", "--test histories").random();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.bytes(32));
    let cases = u32::try_from(rounds(4, 200)).unwrap();
    let config = Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let run = |events: Vec<Event>| {
        let mut history = History::new();
        events.iter().for_each(|event| history.happen(event));
        history.happen(&Event::BackUp);
        (0..history.states.len()).for_each(|which| history.restore(which));
        history.place.restic().check();
        Ok::<(), TestCaseError>(())
    };
    TestRunner::new_with_rng(config, rng).run(&events(), run).unwrap_or_else(|error| panic!("{error}"));
}
