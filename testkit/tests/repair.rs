//! `repair`, with the real programs: it says first what it would do, then does it, and names what is lost.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use backup_testkit::compare::{Options, compare};
use backup_testkit::daemon::Daemon;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;

/// Returns the largest pack: it holds contents and not trees.
fn largest_pack(repository: &Path) -> PathBuf {
    let folders = fs::read_dir(repository.join("data")).expect("it is there").flatten();
    let packs = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("it is there").flatten());
    packs.max_by_key(|pack| pack.metadata().expect("it is there").len()).expect("there is one").path()
}

/// Changes a byte in the middle of a file that may only be read.
fn bend(path: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("root and the owner may");
    let middle = file.metadata().expect("it is there").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("it has a middle");
    file.write_all_at(&[byte[0] ^ 1], middle).expect("it is written");
}

#[test]
fn what_is_damaged_is_named_first_and_repaired_when_that_is_wanted() {
    let daemon = Daemon::start();
    let mut tree = Tree::plain(daemon.home().join("source"), Seed(91));
    for number in 0..12 {
        tree.random_file(format!("file {number}"), 300_000);
    }
    daemon.ctl(["backup", tree.root().to_str().expect("it is text")]).expect(0);
    let pack = largest_pack(&daemon.repository());
    let mut writable = fs::metadata(&pack).expect("it is there").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut writable, 0o600);
    fs::set_permissions(&pack, writable).expect("it is ours");
    bend(&pack);
    daemon.ctl(["verify", "--read-data"]).expect(3);
    let would = daemon.ctl(["repair"]).expect(3).text();
    assert!(would.contains("nothing was changed") && would.contains("/file "), "{would}");
    assert!(pack.exists());
    let done = daemon.ctl(["repair", "--yes", "--forget", "--json"]).expect(3).summary();
    assert_eq!((&done["repair"]["packs_damaged"], &done["repair"]["items_lost"]), (&1.into(), &1.into()), "{done}");
    assert!(!pack.exists());
    daemon.restic().check();
    let snapshots = daemon.restic().snapshots();
    assert_eq!(snapshots.len(), 1, "{snapshots:?}");
    assert!(snapshots[0]["tags"].to_string().contains("backupd:repaired"), "{snapshots:?}");
    daemon.ctl(["verify", "--read-data"]).expect(0);
    let again = daemon.ctl(["repair", "--yes", "--json"]).expect(0).summary();
    assert_eq!(again["repair"]["packs_damaged"], 0, "{again}");
    the_next_backup_stores_again_what_was_lost(&daemon, &tree);
}

/// Every file is where it was and as it was; only the repository lacks a piece of one.
fn the_next_backup_stores_again_what_was_lost(daemon: &Daemon, tree: &Tree) {
    daemon.ctl(["backup", tree.root().to_str().expect("it is text")]).expect(0);
    let to = daemon.home().join("restored");
    daemon.restic().restore("latest", &to);
    let below = to.join(tree.root().strip_prefix("/").expect("a source is absolute"));
    compare(tree.root(), &below, &Options::default()).assert_equal();
    daemon.restic().check();
}
