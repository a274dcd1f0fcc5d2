//! Other programs' repositories, and ours in their hands: restic and `rustic_core`, both ways.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_engine::browse::list;
use backup_engine::error::{Class, Error};
use backup_engine::restorer::{RestoreOptions, restore};
use backup_engine::storage::LocalStorage;
use backup_engine::{Gate, Repository};
use backup_testkit::compare::{Options, compare};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::damaged::verify_all;
use common::rustic::Rustic;
use common::{Place, Remembers, back_up, options};
use rustic_core::repofile::DeleteOption;
use rustic_core::{ConfigOptions, SnapshotOptions};

/// A tree of ordinary files, some of several chunks.
fn plant(place: &Place) -> PathBuf {
    let mut tree = Tree::plain(place.path("source"), Seed(41));
    tree.random_file("several chunks", 5_000_000);
    tree.file("text", "the same line again and again\n".repeat(50_000).as_bytes());
    tree.symlink("link", "several chunks");
    tree.root().to_path_buf()
}

/// Lets rustic make a repository; in the first version of the format it makes none any more, but uses them.
fn made_by_rustic(place: &Place, version: u32, config: &ConfigOptions) -> Rustic {
    match version {
        1 => place.restic().init(1),
        _ => rustic(place).init(config),
    }
    rustic(place)
}

fn rustic(place: &Place) -> Rustic {
    Rustic::new(place.repository())
}

/// Verifies everything, and restores the newest snapshot's source.
fn we_read_it_all(place: &Place, source: &Path) {
    let repository = place.open();
    let (files, affected) = verify_all(&repository, true);
    assert!(files.is_empty() && affected.is_empty(), "{files:?} {affected:?}");
    let (snapshot, _) = repository.snapshots().unwrap().list.pop().unwrap();
    let to = tempfile::tempdir().unwrap();
    let path = Some(source.as_os_str().as_encoded_bytes().to_vec());
    let options = RestoreOptions { path, ..RestoreOptions::new(snapshot, to.path().join("restored")) };
    let monitor = Remembers::default();
    restore(&repository, &options, &Gate::new(), &monitor).unwrap();
    assert_eq!(monitor.failed(), []);
    equal_inside(source, &to.path().join("restored"));
}

/// Compares all that is in a folder; of the folder itself rustic neither stores nor restores the metadata.
fn equal_inside(source: &Path, copy: &Path) {
    let found = compare(source, copy, &Options::default());
    assert!(found.files > 30, "{found:?}");
    assert_eq!(found.differences.into_iter().filter(|one| one.path != source).collect::<Vec<_>>(), []);
}

/// Returns the paths of all files, folders and links below a folder.
fn paths_below(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(paths_below(&path));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}

#[test]
fn rustic_checks_lists_and_restores_what_we_wrote() {
    for version in [1, 2] {
        let place = Place::new();
        let source = plant(&place);
        back_up(&place.create(version), &options(&source));
        let rustic = rustic(&place);
        rustic.check();
        let mut listed: Vec<_> = rustic.list(&source).iter().map(|path| source.join(path)).collect();
        listed.sort();
        assert_eq!(listed, paths_below(&source));
        rustic.restore(&source, &place.path("restored"));
        equal_inside(&source, &place.path("restored"));
    }
}

#[test]
fn we_list_verify_and_restore_what_rustic_wrote() {
    for version in [1, 2] {
        let place = Place::new();
        let source = plant(&place);
        let rustic = made_by_rustic(&place, version, &ConfigOptions::default());
        rustic.backup(&source, &SnapshotOptions::default());
        we_read_it_all(&place, &source);
        let repository = place.open();
        repository.load_index().unwrap();
        let (snapshot, _) = repository.snapshots().unwrap().list.pop().unwrap();
        let mut listed = Vec::new();
        list(&repository, &snapshot, source.as_os_str().as_encoded_bytes(), true, &mut |path, _| {
            listed.push(PathBuf::from(std::str::from_utf8(path).unwrap()));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        listed.sort();
        assert_eq!(listed, paths_below(&source));
        rustic.check();
    }
}

#[test]
fn neither_rustic_nor_we_store_what_the_other_stored() {
    for (version, config) in configs() {
        // rustic does not look at the byte before the smallest size until 64 bytes have followed, and so, once in some
        // thousand chunks, cuts elsewhere than restic. Each repository has places of its own.
        let agrees = (0..3).any(|_| the_other_stores_nothing(version, &config));
        assert!(agrees, "{config:?}");
    }
}

/// Lets rustic and us back up the same by turns; returns whether nobody stored what the other had.
fn the_other_stores_nothing(version: u32, config: &ConfigOptions) -> bool {
    let place = Place::new();
    let source = plant(&place);
    let rustic = made_by_rustic(&place, version, config);
    rustic.backup(&source, &SnapshotOptions::default());
    let ours = back_up(&place.open(), &options(&source)).0.data_blobs;
    fs::write(source.join("large"), Seed(42).random().bytes(3_000_000)).unwrap();
    assert!(back_up(&place.open(), &options(&source)).0.data_blobs > 0);
    let theirs = rustic.backup(&source, &SnapshotOptions::default()).summary.unwrap().data_blobs;
    rustic.check();
    we_read_it_all(&place, &source);
    (ours, theirs) == (0, 0)
}

/// Every setting of rustic's that says how data is stored, and the version of the format.
fn configs() -> Vec<(u32, ConfigOptions)> {
    let mut configs = vec![ConfigOptions::default(); 7];
    configs[2].set_chunk_size = Some("256 KiB".parse().unwrap());
    configs[2].set_chunk_min_size = Some("128 KiB".parse().unwrap());
    configs[2].set_chunk_max_size = Some("1 MiB".parse().unwrap());
    configs[3].set_chunker = Some("fixed_size".parse().unwrap());
    configs[3].set_chunk_size = Some("100000".parse().unwrap());
    configs[4].set_compression = Some(0);
    configs[5].set_compression = Some(19);
    configs[5].set_datapack_size = Some("1 MiB".parse().unwrap());
    configs[5].set_treepack_size = Some("1 MiB".parse().unwrap());
    configs[6].set_append_only = Some(true);
    let versions = [2, 1, 2, 2, 2, 2, 2];
    versions.into_iter().zip(configs).collect()
}

#[test]
fn the_hot_half_of_a_pair_is_refused_by_name() {
    let place = Place::new();
    Rustic::pair(place.repository(), place.path("hot")).init(&ConfigOptions::default());
    assert_eq!(place.open().config().version, 2);
    let error = common::open(Arc::new(LocalStorage::new(place.path("hot")))).err().unwrap();
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("hot half"), "{error}");
}

#[test]
fn what_rustic_writes_into_snapshots_is_kept() {
    let place = Place::new();
    let source = plant(&place);
    let rustic = made_by_rustic(&place, 2, &ConfigOptions::default());
    let mut wanted = SnapshotOptions::default().label("a label".to_owned()).delete_never(true);
    wanted.description = Some("a description".to_owned());
    let theirs = rustic.backup(&source, &wanted);
    assert_eq!(theirs.delete, DeleteOption::Never);
    let (_, snapshot) = place.open().snapshots().unwrap().list.pop().unwrap();
    let again = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(again["delete"], "Never");
    assert_eq!((again["label"].as_str(), again["description"].as_str()), (Some("a label"), Some("a description")));
    assert!(again["summary"]["command"].is_string(), "{again}");
    let theirs: rustic_core::repofile::SnapshotFile = serde_json::from_value(again).unwrap();
    assert_eq!(theirs.delete, DeleteOption::Never);
}

#[test]
fn every_key_opens_whatever_it_costs() {
    let place = Place::new();
    place.create(2);
    fs::write(place.path("theirs"), "restic's own").unwrap();
    let theirs = place.path("theirs");
    // restic measures the machine and chooses its own cost.
    place.restic().run([OsStr::new("key"), "add".as_ref(), "--new-password-file".as_ref(), theirs.as_ref()]);
    common::rustic::done("add a key", rustic(&place).open().add_key("rustic's own", &Default::default()));
    let open = |password: &str| Repository::open(Arc::new(LocalStorage::new(place.repository())), password.as_bytes());
    for password in [common::PASSWORD, "restic's own", "rustic's own"] {
        assert_eq!(open(password).unwrap().id(), place.open().id());
    }
    assert_eq!(open("nobody's").err().unwrap().class(), Class::Auth);
}

#[test]
fn restics_compressions_and_an_upgraded_repository_are_read_and_added_to() {
    for compression in ["off", "max"] {
        let place = Place::new();
        let source = plant(&place);
        place.restic().init(2);
        place.restic().run([OsStr::new("backup"), "--compression".as_ref(), compression.as_ref(), source.as_ref()]);
        assert_eq!(back_up(&place.open(), &options(&source)).0.data_blobs, 0, "{compression}");
        we_read_it_all(&place, &source);
    }
    let place = Place::new();
    let source = plant(&place);
    let restic = place.restic();
    back_up(&place.create(1), &options(&source));
    restic.run(["migrate", "upgrade_repo_v2"]);
    fs::write(source.join("later"), "compressed\n".repeat(1000)).unwrap();
    assert_eq!(place.open().config().version, 2);
    assert_eq!(back_up(&place.open(), &options(&source)).0.data_blobs, 1);
    we_read_it_all(&place, &source);
    restic.check();
    // Packs that hold both forms.
    restic.run(["prune", "--repack-uncompressed", "--max-unused", "0"]);
    assert_eq!(back_up(&place.open(), &options(&source)).0.data_blobs, 0);
    we_read_it_all(&place, &source);
    rustic(&place).check();
}
