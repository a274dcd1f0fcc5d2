//! Pruning what other programs write, and while they write it.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backup_engine::prune::{Seen, repack, sweep};
use backup_engine::storage::{FileKind, FileName, LocalStorage, Step, StepHook, Storage};
use backup_engine::{Error, Gate};
use backup_testkit::wait;
use common::damaged::{names, put};
use common::pruning::{
    at, exclusive, is_whole, prepare, prepared, prune, prune_while, restic_is_content, stored, without_grace,
};
use common::rustic::Rustic;
use common::{Place, Remembers, open};
use rustic_core::{ConfigOptions, SnapshotOptions};

#[test]
fn a_snapshot_that_appears_between_the_halves_and_uses_what_was_to_go_stays_whole() {
    for by_rustic in [false, true] {
        let (place, tree) = prepared(2);
        let repository = place.open();
        prune_while(&repository, &without_grace(), &mut Seen::default(), || {
            std::fs::copy(place.path("gone"), tree.path("back again")).unwrap();
            let before = stored(repository.storage());
            if by_rustic {
                Rustic::new(place.repository()).backup(tree.root(), &SnapshotOptions::default());
            } else {
                place.restic().backup(tree.root());
            }
            assert!(stored(repository.storage()) - before < 100_000, "it found the contents, which were to go");
        })
        .unwrap();
        is_whole(&repository, "a backup between the halves");
        place.restic().check();
        // Of the pack that it used again a part is unused.
        prune(&repository, &without_grace(), &mut Seen::default()).unwrap();
        restic_is_content(&place);
        Rustic::new(place.repository()).check();
    }
}

/// Lets restic back up a folder as soon as so many files of a repack are written and not yet in place.
fn backs_up_at(place: &Arc<Place>, at: usize, source: PathBuf) -> (StepHook, Arc<AtomicUsize>) {
    let (place, done) = (place.clone(), Arc::new(AtomicUsize::new(0)));
    let count = done.clone();
    let hook = move |step: &Step| {
        let Step::Sync(path) = step else { return Ok(()) };
        let is_of_repack = path.components().any(|part| part.as_os_str() == "data" || part.as_os_str() == "index");
        if is_of_repack && count.fetch_add(1, Ordering::SeqCst) == at {
            let summary = place.restic().backup(&source);
            assert!(
                summary["data_added"].as_u64().unwrap() < 100_000,
                "it found the contents, which were to go: {summary}"
            );
        }
        Ok(())
    };
    (Arc::new(hook), done)
}

#[test]
fn a_backup_of_restic_that_runs_while_packs_are_moved_stays_whole() {
    for at in 0.. {
        let (place, tree) = prepared(2);
        let place = Arc::new(place);
        std::fs::copy(place.path("gone"), tree.path("back again")).unwrap();
        let (hook, written) = backs_up_at(&place, at, tree.root().to_owned());
        let repository = open(Arc::new(LocalStorage::with_hook(place.repository(), hook))).unwrap();
        let mut seen = Seen::default();
        let (gate, monitor) = (Gate::new(), Remembers::default());
        let used = repack(&common::lock(&repository), &without_grace(), &mut seen, &gate, &monitor).unwrap().1;
        if written.load(Ordering::SeqCst) <= at {
            assert!(at > 2, "packs of data, packs of trees and an index are written");
            return;
        }
        let what = format!("restic backed up at file {at}");
        is_whole(&repository, &what);
        sweep(&exclusive(&repository).unwrap(), &without_grace(), &mut seen, used, &gate, &monitor).unwrap();
        assert_eq!(repository.snapshots().unwrap().list.len(), 4, "{what}");
        is_whole(&repository, &what);
        place.restic().check();
        prune(&place.open(), &without_grace(), &mut Seen::default()).unwrap();
        restic_is_content(&place);
    }
}

#[test]
fn a_sweep_waits_for_a_backup_of_restic_that_is_under_way() {
    let (place, _) = prepared(2);
    let repository = place.open();
    let mut command = place.restic().command();
    let mut restic = command.args(["backup", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait::until("restic holds its lock", || {
        Some(()).filter(|()| !names(repository.storage(), FileKind::Lock).is_empty())
    });
    let before = names(repository.storage(), FileKind::Pack);
    let locked = prune(&repository, &without_grace(), &mut Seen::default());
    assert!(
        matches!(&locked, Err(Error::Locked { holder }) if holder.contains(&restic.id().to_string())),
        "{locked:?}"
    );
    let after = names(repository.storage(), FileKind::Pack);
    assert!(before.iter().all(|pack| after.contains(pack)), "nothing goes beside it");
    restic.stdin.take().unwrap().write_all(b"what it was to save").unwrap();
    assert!(restic.wait().unwrap().success());
    prune(&repository, &without_grace(), &mut Seen::default()).unwrap();
    assert_eq!(repository.snapshots().unwrap().list.len(), 4);
    is_whole(&repository, "after restic");
    restic_is_content(&place);
}

#[test]
fn a_backup_without_a_lock_that_ends_a_day_later_finds_all_it_relied_on() {
    let (place, tree) = prepared(2);
    let (repository, mut seen) = (place.open(), Seen::default());
    prune(&repository, &at(0), &mut seen).unwrap();
    std::fs::copy(place.path("gone"), tree.path("back again")).unwrap();
    // Its index was read before the sweep, and its snapshot comes after that.
    Rustic::new(place.repository()).backup(tree.root(), &SnapshotOptions::default());
    let (id, _) = repository.snapshots().unwrap().list.pop().unwrap();
    let name = FileName::new(FileKind::Snapshot, id.0);
    let snapshot = repository.storage().read(&name).unwrap();
    repository.storage().remove(&name).unwrap();
    prune(&repository, &at(25), &mut seen).unwrap();
    put(repository.storage(), &name, &snapshot);
    let summary = prune(&repository, &at(48), &mut seen).unwrap();
    assert!(summary.packs_listed_again > 0, "{summary:?}");
    prune(&repository, &at(200), &mut seen).unwrap();
    is_whole(&repository, "listed again");
    place.restic().check();
}

#[test]
fn repositories_of_other_programs_are_pruned_and_small_packs_become_few() {
    let by_restic = |place: &Place, version| place.restic().init(version);
    for version in [1, 2] {
        let place = Place::new();
        by_restic(&place, version);
        let restic = place.restic();
        prepare(&place, &mut |tree| _ = restic.backup(tree.root()));
        finish(&place);
    }
    let place = Place::new();
    let rustic = Rustic::new(place.repository());
    rustic.init(&ConfigOptions::default());
    prepare(&place, &mut |tree| _ = rustic.backup(tree.root(), &SnapshotOptions::default()));
    finish(&place);
    rustic.check();
}

/// Prunes without grace: at most one pack of data and one of trees is left.
fn finish(place: &Place) {
    let repository = place.open();
    let before = stored(repository.storage());
    let summary = prune(&repository, &without_grace(), &mut Seen::default()).unwrap();
    assert!(before - stored(repository.storage()) > 1_000_000, "{summary:?}");
    assert!(names(repository.storage(), FileKind::Pack).len() <= 4, "{summary:?}");
    is_whole(&repository, "another program's");
    restic_is_content(place);
}

#[test]
fn blobs_that_two_programs_stored_at_once_are_kept_once() {
    let (place, tree) = prepared(2);
    let storage = LocalStorage::new(place.repository());
    let all = names(&storage, FileKind::Index);
    let kept: Vec<_> = all.iter().map(|name| (*name, storage.read(name).unwrap())).collect();
    all.iter().for_each(|name| storage.remove(name).unwrap());
    // Whoever does not see the others' index stores everything again.
    place.restic().backup(tree.root());
    kept.iter().for_each(|(name, bytes)| put(&storage, name, bytes));
    let repository = place.open();
    let before = stored(&storage);
    prune(&repository, &without_grace(), &mut Seen::default()).unwrap();
    assert!(before - stored(&storage) > 1_700_000, "what was needed once was there twice");
    is_whole(&repository, "stored once");
    restic_is_content(&place);
}
