//! The main job with the real programs: `backupctl` asks, `backupd` backs up and restores, restic judges.

use std::fs;
use std::path::Path;

use backup_testkit::compare::{Comparison, Options, compare};
use backup_testkit::daemon::{self, Daemon};
use backup_testkit::failed::path_of;
use backup_testkit::restic::Restic;
use backup_testkit::seed::Seed;
use backup_testkit::tree::{Tree, open_up};
use backup_testkit::{must, unprivileged};
use serde_json::Value;
use tempfile::TempDir;

/// A folder for sources and destinations that goes away even with read-only folders in it.
struct Ground(TempDir);

impl Ground {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("backupd-e2e").tempdir_in("/tmp");
        let folder = folder.expect("/tmp is writable");
        // Another user must be able to go through it.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
        Self(folder)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        open_up(self.0.path());
    }
}

fn backup(daemon: &Daemon, source: &Path, code: i32) -> Value {
    let source = source.to_str().expect("the source's own path is text");
    daemon.ctl(["backup", source, "--json"]).expect(code).summary()
}

fn restore(daemon: &Daemon, to: &Path) -> Value {
    let to = to.to_str().expect("the destination's own path is text");
    daemon.ctl(["restore", "latest", "--to", to, "--json"]).expect(0).summary()
}

/// Compares a source with its copy below a destination, where it stands under its absolute path.
fn compare_below(source: &Path, destination: &Path, options: &Options) -> Comparison {
    let inside = source.strip_prefix("/").expect("a source is absolute");
    compare(source, &destination.join(inside), options)
}

/// Lets restic check and restore the default target.
fn restic_agrees(restic: &Restic, source: &Path, destination: &Path) {
    restic.check();
    restic.restore("latest", destination);
    let mut found = compare_below(source, destination, &Options::default());
    // What restic 0.14 cannot do with its own snapshots either: holes, and targets of links that are no text.
    found.differences.retain(|one| !one.what.contains("had holes") && !one.what.contains("another target"));
    found.assert_equal();
}

#[test]
fn an_awkward_tree_comes_back_whole_and_restic_agrees() {
    let ground = Ground::new();
    let tree = Tree::awkward(ground.path("tree"), Seed(11));
    let daemon = Daemon::start();
    let summary = backup(&daemon, tree.root(), 0);
    assert_eq!((&summary["state"], &summary["failed_count"]), (&"succeeded".into(), &0.into()), "{summary}");
    let restored = restore(&daemon, &ground.path("restored"));
    assert_eq!((&restored["state"], &restored["bytes_stored"]), (&"succeeded".into(), &0.into()), "{restored}");
    compare_below(tree.root(), &ground.path("restored"), &Options::default()).assert_equal();
    restic_agrees(&daemon.restic(), tree.root(), &ground.path("by restic"));
}

#[test]
fn what_was_backed_up_here_is_known_to_restic_and_the_reverse() {
    let ground = Ground::new();
    let mut tree = Tree::plain(ground.path("tree"), Seed(12));
    tree.random_file("large", 9_000_000);
    let daemon = Daemon::start();
    backup(&daemon, tree.root(), 0);
    let restic = daemon.restic();
    let again = restic.backup(tree.root());
    assert_eq!(again["data_blobs"], 0, "restic stored data again: {again}");
    tree.random_file("new", 9_000_000);
    let added = restic.backup(tree.root());
    assert_ne!(added["data_blobs"], 0, "{added}");
    let known = backup(&daemon, tree.root(), 0);
    let stored = known["bytes_stored"].as_u64().expect("a number");
    assert!(stored < 100_000, "only folders are new, but {stored} bytes were stored: {known}");
    restic_agrees(&restic, tree.root(), &ground.path("by restic"));
}

#[test]
fn the_home_with_the_default_target_in_it_is_backed_up_without_that_target() {
    let daemon = Daemon::start();
    let tree = Tree::plain(daemon.home().join("documents"), Seed(13));
    backup(&daemon, daemon.home(), 0);
    let second = backup(&daemon, daemon.home(), 0);
    let stored = second["bytes_stored"].as_u64().expect("a number");
    assert!(stored < 50_000, "the second run stored {stored} bytes: {second}");
    let names = daemon.restic().ls("latest");
    let inside = |folder: &Path| {
        let prefix = format!("{}/", folder.display());
        names.iter().filter(|node| node["path"].as_str().is_some_and(|path| path.starts_with(&prefix))).count()
    };
    assert_eq!((inside(&daemon.repository()), inside(&daemon.state())), (0, 0), "own folders are in the snapshot");
    assert_eq!(inside(tree.root()), 4 + 32);
}

#[test]
fn an_unreadable_file_is_named_and_the_rest_comes_back() {
    let ground = Ground::new();
    let tree = Tree::plain(ground.path("tree"), Seed(14));
    let closed = tree.file(b"closed \xff", b"secret");
    tree.mode(&closed, 0o000);
    let options = daemon::Options { unprivileged: true, ..daemon::Options::default() };
    unprivileged::give(&ground.path(""));
    let daemon = Daemon::start_with(options);
    let summary = backup(&daemon, tree.root(), 3);
    assert_eq!((&summary["state"], &summary["failed_count"]), (&"partial".into(), &1.into()), "{summary}");
    let failed = &summary["failed"][0];
    assert_eq!(path_of(&failed["path"]).as_deref(), Some(closed.as_path()), "{failed}");
    assert_eq!(failed["class"], "permission", "{failed}");
    restore(&daemon, &ground.path("restored"));
    let reported = Options { reported: [closed].into(), ..Options::default() };
    let mut found = compare_below(tree.root(), &ground.path("restored"), &reported);
    // The comparison may run as root, whose files nobody's restore cannot make.
    found.differences.retain(|one| !one.what.starts_with("belonged to 0:"));
    found.assert_equal();
    assert_eq!(found.reported, 1);
}

#[test]
fn a_backup_goes_on_after_the_daemon_was_killed() {
    let ground = Ground::new();
    let mut tree = Tree::plain(ground.path("tree"), Seed(15));
    for number in 0..4 {
        tree.random_file(format!("large {number}"), 20_000_000);
    }
    let mut daemon = Daemon::start();
    let source = tree.root().to_str().expect("text").to_owned();
    let job = daemon.ctl(["backup", &source, "--detach"]).expect(0).text().trim().to_owned();
    daemon.kill();
    daemon.launch();
    // Somebody waits for it: `job` answers at once, so ask until it has ended.
    let state = backup_testkit::wait::until("the job has ended", || {
        let answer = daemon.ctl(["job", &job, "--json"]).expect(0).json();
        let state = answer[0]["state"].as_str().unwrap_or_else(|| panic!("no state in {answer:?}")).to_owned();
        ["succeeded", "partial", "failed", "cancelled"].contains(&state.as_str()).then_some(state)
    });
    assert_eq!(state, "succeeded", "{}", daemon.log());
    restore(&daemon, &ground.path("restored"));
    compare_below(tree.root(), &ground.path("restored"), &Options::default()).assert_equal();
    restic_agrees(&daemon.restic(), tree.root(), &ground.path("by restic"));
}

#[test]
fn a_stop_is_clean_and_leaves_nothing_behind() {
    let mut daemon = Daemon::start();
    let status = daemon.stop();
    assert!(status.success(), "{status}\n{}", daemon.log());
    assert!(!daemon.socket().exists(), "the socket is still there");
    daemon.launch();
    must("answer", daemon.socket(), Ok::<_, String>(daemon.ctl(["status"]).expect(0)));
}
