//! Random histories: with a record and with hints a backup finds what a look at everything finds.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use backup_engine::archiver::BackupOptions;
use backup_engine::source::Excludes;
use backup_testkit::seed::{Seed, rounds};
use common::scene::Scene;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// One step of a history; numbers choose names.
#[derive(Clone, Debug)]
enum Event {
    Write { name: u8, size: u16, seed: u64 },
    Delete { name: u8 },
    Rename { from: u8, to: u8 },
    Link { name: u8 },
    Mode { name: u8, mode: u16 },
    Folder { name: u8 },
    BackUp { hinted: bool },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (any::<u8>(), any::<u16>(), any::<u64>()).prop_map(|(name, size, seed)| Event::Write { name, size, seed }),
        2 => any::<u8>().prop_map(|name| Event::Delete { name }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Event::Rename { from, to }),
        1 => any::<u8>().prop_map(|name| Event::Link { name }),
        1 => (any::<u8>(), 0_u16..0o777).prop_map(|(name, mode)| Event::Mode { name, mode }),
        1 => any::<u8>().prop_map(|name| Event::Folder { name }),
        4 => any::<bool>().prop_map(|hinted| Event::BackUp { hinted }),
        1 => Just(Event::BackUp { hinted: true }),
    ];
    proptest::collection::vec(event, 10..40)
}

/// Few names, files and folders alike, so that histories meet them again.
fn name_of(number: u8) -> String {
    let part = |number: u8| ["a", "b", "c.tmp", "d"][usize::from(number % 4)];
    match number % 3 {
        0 => part(number / 3).to_owned(),
        1 => format!("{}/{}", part(number / 3), part(number / 12)),
        _ => format!("{}/{}/{}", part(number / 3), part(number / 12), part(number / 48)),
    }
}

/// Does a step; returns the paths that it touched.
fn happen(root: &Path, event: &Event) -> Vec<PathBuf> {
    let path = |name: &u8| root.join(name_of(*name));
    let remove = |path: &Path| {
        let _ = fs::remove_file(path);
        let _ = fs::remove_dir_all(path);
    };
    match event {
        Event::Write { name, size, seed } => {
            let _ = fs::create_dir_all(path(name).parent().unwrap());
            let _ = fs::write(path(name), Seed(*seed).random().bytes(usize::from(*size)));
            // The folders on the way may be new.
            path(name).ancestors().take_while(|above| *above != root).map(Path::to_owned).collect()
        }
        Event::Delete { name } => {
            remove(&path(name));
            vec![path(name)]
        }
        Event::Rename { from, to } => {
            let _ = fs::rename(path(from), path(to));
            vec![path(from), path(to)]
        }
        Event::Link { name } => {
            remove(&path(name));
            let _ = symlink("somewhere", path(name));
            vec![path(name)]
        }
        Event::Mode { name, mode } => {
            if !path(name).is_symlink() {
                let _ = fs::set_permissions(path(name), fs::Permissions::from_mode(u32::from(*mode) | 0o700));
            }
            vec![path(name)]
        }
        Event::Folder { name } => {
            let _ = fs::create_dir_all(path(name));
            path(name).ancestors().take_while(|above| *above != root).map(Path::to_owned).collect()
        }
        Event::BackUp { .. } => Vec::new(),
    }
}

#[test]
fn in_every_history_record_and_hints_find_what_a_look_at_everything_finds() {
    let mut seed = Seed::of_test("backup-engine", "--test record_histories").random();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.bytes(32));
    let cases = u32::try_from(rounds(5, 1000)).unwrap();
    let config = Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let run = |mut events: Vec<Event>| {
        events.push(Event::BackUp { hinted: true });
        let mut scene = Scene::new();
        scene.plant();
        let mut changed = BTreeSet::new();
        for event in &events {
            changed.extend(happen(scene.tree.root(), event));
            let Event::BackUp { hinted } = event else { continue };
            let hints = hinted.then(|| std::mem::take(&mut changed));
            changed.clear();
            let exclude = Excludes::new(&["*.tmp"]).unwrap();
            let changed = hints.and_then(|paths| scene.changed(paths));
            let options = BackupOptions { changed, exclude: exclude.clone(), ..scene.options(true) };
            let (with, _) = scene.back_up(&options);
            let options = BackupOptions { exclude, ..scene.options(false) };
            let (without, _) = scene.back_up(&options);
            assert_eq!(scene.entries_of(&with), scene.entries_of(&without), "{event:?}");
            assert_eq!((with.files, with.folders), (without.files, without.folders));
            assert_eq!(with.hints_missed, 0);
        }
        scene.place.restic().check();
        Ok::<(), TestCaseError>(())
    };
    TestRunner::new_with_rng(config, rng).run(&events(), run).unwrap_or_else(|error| panic!("{error}"));
}
