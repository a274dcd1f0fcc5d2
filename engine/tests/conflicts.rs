//! Restoring over what is there: every kind of entry in the way of every other, and nothing is lost unasked.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use backup_engine::monitor::PlannedAction;
use backup_engine::restorer::{Overwrite, RestoreOptions, RestoreSummary, restore};
use backup_engine::{Class, Gate, Repository};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::{mount, unprivileged};
use common::forge::{Forge, folder, link};
use common::{Place, Remembers};
use serde_json::{Value, json};

fn run(repository: &Arc<Repository>, options: &RestoreOptions) -> (RestoreSummary, Remembers) {
    let monitor = Remembers::default();
    let summary = restore(repository, options, &Gate::new(), &monitor).expect("the restore runs to its end");
    (summary, monitor)
}

/// Says what a path is, in a word.
fn what(path: &Path) -> String {
    let Ok(metadata) = path.symlink_metadata() else { return "nothing".to_owned() };
    match metadata.file_type() {
        kind if kind.is_symlink() => format!("link to {}", fs::read_link(path).unwrap().display()),
        kind if kind.is_dir() => format!("folder of {}", fs::read_dir(path).unwrap().count()),
        kind if kind.is_fifo() => "pipe".to_owned(),
        _ => fs::read_to_string(path).unwrap(),
    }
}

/// Makes an entry that is in the way.
fn put(tree: &Tree, what: &str) {
    let path = match what {
        "theirs" => tree.file("x", b"theirs"),
        "link to theirs" => tree.symlink("x", "theirs"),
        "pipe" => tree.fifo("x"),
        "folder of 0" => tree.folder("x"),
        _ => {
            tree.file("x/inner", b"theirs");
            tree.path("x")
        }
    };
    // Older than what is restored.
    tree.modified(&path, 1_000_000_000, 0);
}

/// A forged repository with a snapshot of each kind of entry, all named `x` and changed in 2024.
fn snapshots(forge: &mut Forge) -> Vec<(&'static str, backup_engine::id::SnapshotId)> {
    let empty = forge.tree(&[]);
    let nodes: Vec<(&str, Value)> = vec![
        ("ours", forge.entry("x", b"ours")),
        ("folder of 0", folder("x", empty)),
        ("link to ours", link("x", Path::new("ours"))),
        ("pipe", json!({ "name": "x", "type": "fifo", "mode": 0o600 })),
    ];
    let dated = |mut node: Value| {
        node["mtime"] = json!("2024-01-02T03:04:05Z");
        node
    };
    nodes
        .into_iter()
        .map(|(name, node)| {
            let tree = forge.tree(&[dated(node)]);
            (name, forge.snapshot(tree))
        })
        .collect()
}

/// Restores one kind of entry over another and checks what is there then.
fn check_replaced(
    place: &Place,
    repository: &Arc<Repository>,
    snapshot: backup_engine::id::SnapshotId,
    (ours, theirs): (&str, &str),
    (overwrite, keep): (Overwrite, bool),
) {
    let case = format!("{ours} over {theirs}, {overwrite:?}, keep {keep}");
    let tree = Tree::new(place.path(&case), Seed(1));
    put(&tree, theirs);
    let mut options = RestoreOptions::new(snapshot, tree.root().to_path_buf());
    (options.overwrite, options.keep_replaced, options.dry_run) = (overwrite, keep, true);
    let plan = run(repository, &options).1.plan();
    options.dry_run = false;
    let (summary, monitor) = run(repository, &options);
    // What is in a folder may be newer than the folder.
    let is_kept = overwrite == Overwrite::Never || (overwrite == Overwrite::Older && theirs == "folder of 1");
    assert_eq!(plan[0].action, if is_kept { PlannedAction::Keep } else { PlannedAction::Replace }, "{case}");
    assert_eq!((summary.kept, summary.failed), (is_kept.into(), is_kept.into()), "{case}: {:?}", monitor.failed());
    assert_eq!(what(&tree.path("x")), if is_kept { theirs } else { ours }, "{case}");
    assert_eq!(what(&tree.path("x.replaced-1")), if keep { theirs } else { "nothing" }, "{case}");
    let entries = fs::read_dir(tree.root()).unwrap().count();
    assert_eq!(entries, if keep { 2 } else { 1 }, "{case}: something stayed behind");
}

#[test]
fn every_kind_in_the_way_of_every_other_is_kept_or_replaced_as_asked() {
    let place = Place::new();
    let mut forge = Forge::new();
    let snapshots = snapshots(&mut forge);
    let repository = forge.open();
    for (ours, snapshot) in &snapshots {
        for theirs in ["theirs", "folder of 0", "folder of 1", "link to theirs", "pipe"] {
            if *ours == theirs || (ours.starts_with("folder") && theirs.starts_with("folder")) {
                continue;
            }
            for (overwrite, keep) in [
                (Overwrite::Never, false),
                (Overwrite::Older, false),
                (Overwrite::Always, false),
                (Overwrite::Always, true),
            ] {
                check_replaced(&place, &repository, *snapshot, (ours, theirs), (overwrite, keep));
            }
        }
    }
}

#[test]
fn what_is_newer_is_kept_whatever_it_is() {
    let place = Place::new();
    let mut forge = Forge::new();
    let snapshots = snapshots(&mut forge);
    let repository = forge.open();
    for (ours, snapshot) in &snapshots {
        for theirs in ["theirs", "folder of 0", "link to theirs"] {
            let tree = Tree::new(place.path(&format!("{ours} over {theirs}")), Seed(1));
            put(&tree, theirs);
            tree.modified(&tree.path("x"), 2_000_000_000, 0);
            let options = RestoreOptions {
                overwrite: Overwrite::Older,
                ..RestoreOptions::new(*snapshot, tree.root().to_path_buf())
            };
            let (summary, _) = run(&repository, &options);
            let is_same = ours.starts_with("folder") && theirs.starts_with("folder");
            assert_eq!((summary.kept, what(&tree.path("x"))), (u64::from(!is_same), theirs.to_owned()), "{ours}");
        }
    }
}

#[test]
fn what_is_in_the_way_goes_only_when_the_new_one_is_whole() {
    let place = Place::new();
    let mut forge = Forge::new();
    let missing = backup_engine::id::BlobId([9; 32]);
    let bad = backup_engine::id::BlobHandle { kind: backup_engine::id::BlobKind::Data, id: missing };
    forge.packed(bad, b"not what the id says", None);
    let lost = |name: &str| json!({ "name": name, "type": "file", "size": 20, "content": [missing] });
    let device = json!({ "name": "device", "type": "chardev", "device": u64::MAX });
    let tree = forge.tree(&[lost("file"), lost("folder"), device]);
    let snapshot = forge.snapshot(tree);
    let to = Tree::new(place.path("to"), Seed(1));
    for name in ["file", "folder/inner", "device"] {
        to.file(name, b"theirs");
    }
    let options = RestoreOptions { overwrite: Overwrite::Always, ..RestoreOptions::new(snapshot, place.path("to")) };
    let (_, monitor) = run(&forge.open(), &options);
    assert_eq!(monitor.failed().len(), 3, "{:?}", monitor.failed());
    for name in ["file", "folder/inner", "device"] {
        assert_eq!(what(&to.path(name)), "theirs", "{name}");
    }
    assert_eq!(fs::read_dir(to.root()).unwrap().count(), 3);
}

#[test]
fn removing_what_is_not_in_the_snapshot_stays_in_the_destination() {
    mount::run("removing_what_is_not_in_the_snapshot_stays_in_the_destination", || {
        let place = Place::new();
        let mut forge = Forge::new();
        let good = forge.entry("good", b"good");
        let tree = forge.tree(&[good]);
        let snapshot = forge.snapshot(tree);
        let outside = Tree::plain(place.path("outside"), Seed(1));
        let to = Tree::new(place.path("to"), Seed(1));
        to.symlink("link", outside.root().as_os_str().as_encoded_bytes());
        to.file("extra/deep/file", b"extra");
        mount::bind(outside.root(), &to.folder("same device/here"));
        mount::tmpfs(&to.folder("other device/here"), 1 << 20);
        to.file("other device/here/file", b"mounted");
        let options = RestoreOptions { delete: true, ..RestoreOptions::new(snapshot, place.path("to")) };
        let (summary, monitor) = run(&forge.open(), &options);
        assert_eq!((summary.deleted, monitor.failed().len()), (2, 2), "{:?}", monitor.failed());
        assert!(to.path("same device/here/folder 0/file 0.bin").exists(), "files of a mounted folder were removed");
        assert!(to.path("other device/here/file").exists());
        assert_eq!((what(&to.path("link")), what(&to.path("extra"))), ("nothing".to_owned(), "nothing".to_owned()));
        mount::unmount(&to.path("same device/here"));
        mount::unmount(&to.path("other device/here"));
    });
}

#[test]
fn further_names_of_a_file_stay_together_when_the_first_cannot_be_restored() {
    let place = Place::new();
    let mut forge = Forge::new();
    let mut shared = |name: &str| {
        let mut node = forge.entry(name, b"shared");
        (node["links"], node["inode"], node["device_id"]) = (json!(4), json!(7), json!(1));
        node
    };
    let nodes = [shared("a"), shared("b"), shared("c")];
    let (inner, top) = (forge.tree(&nodes[1..]), nodes[0].clone());
    let tree = forge.tree(&[top, folder("f", inner), folder("g", inner)]);
    let snapshot = forge.snapshot(tree);
    let to = Tree::new(place.path("to"), Seed(1));
    to.file("a", b"theirs");
    let (summary, _) = run(&forge.open(), &RestoreOptions::new(snapshot, place.path("to")));
    assert_eq!((summary.files, summary.kept), (4, 1));
    let inode = |name: &str| fs::metadata(to.path(name)).unwrap().ino();
    assert!(["f/c", "g/b", "g/c"].iter().all(|name| inode(name) == inode("f/b")));
    assert_ne!(inode("a"), inode("f/b"));
}

#[test]
fn without_roots_rights_nothing_dangerous_is_restored_and_nothing_is_lost() {
    unprivileged::run("without_roots_rights_nothing_dangerous_is_restored_and_nothing_is_lost", || {
        let place = Place::new();
        let mut forge = Forge::new();
        let mut program = forge.entry("program", b"runs as root");
        program["mode"] = json!(0o755_u32 | 1 << 23 | 1 << 22);
        program["extended_attributes"] =
            json!([{ "name": "security.capability", "value": "AQAAAgAgAAAAAAAAAAAAAAAAAAA=" }]);
        let device = json!({ "name": "device", "type": "chardev", "mode": 0o666, "device": 259 });
        let closed = forge.entry("closed", b"ours");
        let tree = forge.tree(&[program, device, closed]);
        let snapshot = forge.snapshot(tree);
        let to = Tree::new(place.path("to"), Seed(1));
        to.file("device", b"theirs");
        to.mode(&to.file("closed", b"theirs"), 0o000);
        let options =
            RestoreOptions { overwrite: Overwrite::Always, ..RestoreOptions::new(snapshot, place.path("to")) };
        let (summary, monitor) = run(&forge.open(), &options);
        let failures = monitor.failures.lock().unwrap().clone();
        assert_eq!(summary.failed, 1, "{failures:?}");
        assert_eq!((failures[0].class, failures[0].path.as_path()), (Class::Permission, &*to.path("device")));
        assert_eq!((what(&to.path("device")), what(&to.path("closed"))), ("theirs".to_owned(), "ours".to_owned()));
        assert_eq!(fs::metadata(to.path("program")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert!(monitor.notices.lock().unwrap()[0].contains("Owners"), "the loss of the owner is not said");
    });
}

#[test]
fn links_in_the_destination_that_the_user_typed_are_followed() {
    let place = Place::new();
    let mut forge = Forge::new();
    let good = forge.entry("good", b"good");
    let tree = forge.tree(&[good]);
    let snapshot = forge.snapshot(tree);
    fs::create_dir(place.path("real")).unwrap();
    symlink("real", place.path("typed")).unwrap();
    run(&forge.open(), &RestoreOptions::new(snapshot, place.path("typed/below")));
    assert_eq!(what(&place.path("real/below/good")), "good");
}
