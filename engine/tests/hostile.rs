//! A repository whose maker knows the password and means harm: nothing leaves the destination, each trick is named, and
//! the rest is restored.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use backup_engine::checker::{VerifyOptions, verify};
use backup_engine::id::SnapshotId;
use backup_engine::restorer::{Overwrite, RestoreOptions};
use backup_engine::{Error, Gate};
use common::Remembers;
use common::forge::{folder, link};
use common::trap::{Trap, names, run};
use serde_json::{Value, json};

#[test]
fn a_name_that_leads_elsewhere_is_named_and_left_out() {
    let long = "n".repeat(2000);
    for name in ["..", ".", "", "a/b", "/etc/backupd-was-here", "../outside/file", "a\\x00b", long.as_str()] {
        let mut trap = Trap::new();
        let file = trap.forge.entry(name, b"harm");
        let inner = trap.forge.entry("file", b"harm");
        let tree = trap.forge.tree(&[inner]);
        let outside = trap.place.path("outside");
        let (summary, monitor) = trap.spring(&[file, folder(name, tree), link(name, &outside)]);
        assert_eq!((summary.files, summary.failed), (1, 3), "{name:?}: {:?}", monitor.failed());
        assert_eq!(names(&trap.to()), ["zz good"], "{name:?}");
    }
}

#[test]
fn nothing_is_written_through_a_link_that_the_snapshot_made() {
    for overwrite in [Overwrite::Never, Overwrite::Older, Overwrite::Always] {
        let mut trap = Trap::new();
        let inner = trap.forge.entry("file", b"harm");
        let tree = trap.forge.tree(&[inner]);
        let outside = trap.place.path("outside");
        let file = trap.forge.entry("b", b"harm");
        let nodes = [link("a", &outside), folder("a", tree), link("b", &outside.join("file")), file, folder("b", tree)];
        let (_, monitor) = trap.spring_with(&nodes, |options| options.overwrite = overwrite);
        assert_eq!(monitor.failed().len(), 3, "{:?}", monitor.failed());
        assert!(trap.to().join("a").is_symlink() && trap.to().join("b").is_symlink());
    }
}

#[test]
fn of_two_entries_of_one_name_the_first_is_restored() {
    for overwrite in [Overwrite::Never, Overwrite::Always] {
        let mut trap = Trap::new();
        let first = trap.forge.entry("a", &[1; 100_000]);
        let other = trap.forge.entry("b", b"between");
        let second = trap.forge.entry("a", &[2; 100_000]);
        let nodes = [first.clone(), second.clone(), other, second];
        let (summary, monitor) = trap.spring_with(&nodes, |options| options.overwrite = overwrite);
        assert_eq!((summary.files, summary.failed), (3, 2), "{:?}", monitor.failed());
        assert!(fs::read(trap.to().join("a")).unwrap() == [1; 100_000]);
    }
}

#[test]
fn an_entry_that_poses_as_an_unfinished_file_harms_nobody() {
    let hash = backup_engine::id::sha256(b"victim")[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let part = format!(".backupd-{hash}.part");
    for kind in ["file", "dir", "symlink", "fifo"] {
        let mut trap = Trap::new();
        let tree = trap.forge.tree(&[]);
        let outside = trap.place.path("outside/file");
        let posing = match kind {
            "file" => trap.forge.entry(&part, b"posing"),
            "dir" => folder(&part, tree),
            "symlink" => link(&part, &outside),
            _ => json!({ "name": part, "type": kind, "mode": 0o644 }),
        };
        let victim = trap.forge.entry("victim", b"as it was");
        let (summary, _) = trap.spring(&[posing, victim]);
        assert_eq!((summary.files, summary.failed), (2, 1), "{kind}");
        assert_eq!(fs::read(trap.to().join("victim")).unwrap(), b"as it was", "{kind}");
    }
}

#[test]
fn what_lies_under_the_name_of_an_unfinished_file_is_not_written_through() {
    let hash = backup_engine::id::sha256(b"victim")[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let part = format!(".backupd-{hash}.part");
    for kind in ["symlink", "hard link", "dir", "fifo"] {
        let mut trap = Trap::new();
        let (to, outside) = (trap.to(), trap.place.path("outside/file"));
        fs::create_dir(&to).unwrap();
        match kind {
            "symlink" => symlink(&outside, to.join(&part)).unwrap(),
            "hard link" => fs::hard_link(&outside, to.join(&part)).unwrap(),
            "dir" => fs::create_dir_all(to.join(&part).join("inner")).unwrap(),
            _ => drop(backup_testkit::tree::Tree::new(&to, backup_testkit::seed::Seed(1)).fifo(&part)),
        }
        let victim = trap.forge.entry("victim", b"as it was");
        let (summary, monitor) = trap.spring(&[victim]);
        assert_eq!((summary.files, monitor.failed()), (2, vec![]), "{kind}");
        assert_eq!(fs::read(to.join("victim")).unwrap(), b"as it was", "{kind}");
    }
}

#[test]
fn a_file_that_is_not_as_long_as_it_says_is_named() {
    let mut trap = Trap::new();
    let mut short = trap.forge.entry("short", b"data");
    short["size"] = json!(u64::MAX);
    let mut none = trap.forge.entry("none", b"data");
    none["content"] = Value::Null;
    let (summary, monitor) = trap.spring(&[short, none]);
    assert_eq!(summary.failed, 2, "{:?}", monitor.failed());
    assert_eq!(fs::read(trap.to().join("short")).unwrap(), b"data");
    let monitor = Remembers::default();
    verify(&trap.forge.open(), &VerifyOptions::default(), &Gate::new(), &monitor).unwrap();
    assert_eq!(monitor.failed().len(), 2, "{:?}", monitor.failed());
}

#[test]
fn odd_metadata_harms_nobody() {
    let mut trap = Trap::new();
    let mut odd = trap.forge.entry("odd", b"data");
    odd["mode"] = json!(u32::MAX ^ (1 << 23 | 1 << 22));
    odd["mtime"] = json!("9999-12-31T23:59:59Z");
    odd["atime"] = json!("-000001-01-01T00:00:00Z");
    odd["uid"] = json!(u32::MAX);
    odd["extended_attributes"] = json!([
        { "name": "user.\u{0}", "value": "AAAA" },
        { "name": "", "value": null },
        { "name": "x".repeat(100_000), "value": "AAAA" },
        { "name": "nonsense/../..", "value": "AAAA" },
    ]);
    let device = json!({ "name": "device", "type": "dev", "mode": 0o600, "device": u64::MAX });
    let irregular = json!({ "name": "irregular", "type": "irregular" });
    let unborn = json!({ "name": "unborn", "type": "dir" });
    let (_, monitor) = trap.spring(&[odd, device, irregular, unborn]);
    for name in ["odd", "device", "irregular", "unborn"] {
        assert!(monitor.failed().iter().any(|(path, _)| path.ends_with(name)), "{name}: {:?}", monitor.failed());
    }
    assert_eq!(fs::read(trap.to().join("odd")).unwrap(), b"data");
    assert_eq!(fs::metadata(trap.to().join("odd")).unwrap().mode() & 0o6000, 0);
}

#[test]
fn odd_snapshots_are_listed_or_named() {
    let mut trap = Trap::new();
    let tree = trap.forge.tree(&[]);
    trap.forge.snapshot(tree);
    let write = |value: Value| {
        trap.forge.file(backup_engine::storage::FileKind::Snapshot, value.to_string().as_bytes());
    };
    write(json!({ "time": "2024-01-02T03:04:05Z", "tree": tree, "paths": ["", "..", "a\u{0}b", "/\u{202e}"] }));
    write(json!({ "time": "2024-01-02T03:04:05Z", "tree": tree, "paths": null, "tags": null, "excludes": null }));
    write(json!({ "time": "99999-01-02T03:04:05Z", "tree": tree }));
    write(json!({ "time": "2024-01-02T03:04:05Z", "tree": "../../config" }));
    let list = trap.forge.open().snapshots().unwrap();
    assert_eq!((list.list.len(), list.damaged.len()), (3, 2), "{:?}", list.damaged);
    let missing = RestoreOptions::new(SnapshotId([7; 32]), trap.to());
    assert!(matches!(run(&trap.forge.open(), &missing).0.unwrap_err(), Error::NotFound { .. }));
}
