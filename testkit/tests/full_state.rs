//! The disk that holds the daemon's state is full: it says so, takes nothing new, loses nothing, and goes on by itself.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use backup_testkit::compare::{Options, compare};
use backup_testkit::daemon::{self, Daemon};
use backup_testkit::restic::Restic;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::{mount, wait};
use serde_json::Value;

/// Writes a file that takes all the room a disk has.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("ballast");
    let mut file = File::create(&path).expect("it is made");
    while file.write_all(&[1; 64 * 1024]).is_ok() {}
    path
}

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0)
}

fn status(daemon: &Daemon) -> String {
    daemon.ctl(["status"]).expect(0).text()
}

/// Waits until a job waits for room.
fn waits_for_room(daemon: &Daemon, id: &str) {
    wait::until("the job waits for room", || {
        let job = job(daemon, id);
        assert_ne!(job["state"], "failed", "{job}\n{}", daemon.log());
        let sentence = job["verdict"]["sentence"].as_str().unwrap_or_default().to_owned();
        (job["state"] == "queued" && sentence.contains("holds the daemon's state in")).then_some(())
    });
}

/// Says whether a repository holds a pack.
fn has_pack(target: &Path) -> bool {
    let folders = fs::read_dir(target.join("data")).into_iter().flatten().flatten();
    folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten()).next().is_some()
}

fn ends_well(daemon: &Daemon, id: &str) {
    let ended = wait::until("the job has ended", || {
        let job = job(daemon, id);
        ["succeeded", "partial", "failed", "cancelled"].iter().any(|state| job["state"] == *state).then_some(job)
    });
    assert_eq!(ended["state"], "succeeded", "{ended}\n{}", daemon.log());
}

fn large_tree(ground: &Path, seed: u64) -> Tree {
    let mut tree = Tree::plain(ground.join("tree"), Seed(seed));
    for number in 0..8 {
        tree.random_file(format!("large {number}"), 17_000_000);
    }
    tree
}

fn comes_back(daemon: &Daemon, tree: &Tree, to: &Path) {
    daemon.ctl(["restore".as_ref(), "latest".as_ref(), "--to".as_ref(), to.as_os_str()]).expect(0);
    let copy = to.join(tree.root().strip_prefix("/").expect("an absolute path"));
    compare(tree.root(), &copy, &Options::default()).assert_equal();
}

/// A daemon whose state is on a small disk, with a target elsewhere.
fn on_a_small_disk(target: &Path, password: &Path) -> Daemon {
    fs::write(password, "secret\n").expect("it is written");
    let (url, file) = (target.display(), password.display());
    let config = format!("[target.disk]\nurl = \"{url}\"\npassword-file = \"{file}\"\n");
    let mut daemon = Daemon::prepare(daemon::Options { config: Some(config), ..daemon::Options::default() });
    fs::create_dir_all(daemon.state()).expect("it is made");
    mount::tmpfs(&daemon.state(), 48 << 20);
    daemon.launch();
    daemon.ctl(["target", "init", "disk"]).expect(0);
    daemon
}

/// Checks that nothing new is taken, and that it is said why.
fn refuses(daemon: &Daemon, arguments: [&str; 5]) {
    let refused = daemon.ctl(arguments).expect(1);
    assert!(refused.complaint().contains("is full: "), "{}", refused.complaint());
    assert!(refused.complaint().contains("Free some space"), "{}", refused.complaint());
    assert!(status(daemon).contains("No job runs and none is accepted"), "{}", status(daemon));
}

#[test]
fn a_full_state_disk_stops_jobs_at_a_checkpoint_and_they_go_on_without_a_restart() {
    mount::run("a_full_state_disk_stops_jobs_at_a_checkpoint_and_they_go_on_without_a_restart", || {
        let ground = tempfile::tempdir().expect("a temporary folder");
        let tree = large_tree(ground.path(), 31);
        let (target, password) = (ground.path().join("target"), ground.path().join("password"));
        let mut daemon = on_a_small_disk(&target, &password);
        let disk = daemon.state();
        let source = tree.root().to_str().expect("text");
        let arguments = ["backup", source, "--target", "disk", "--detach"];
        let first = daemon.ctl(arguments).expect(0).text().trim().to_owned();
        let second = daemon.ctl(arguments).expect(0).text().trim().to_owned();
        wait::until("a pack is stored", || has_pack(&target).then_some(()));
        let (ballast, pid) = (fill(&disk), daemon.pid());
        waits_for_room(&daemon, &first);
        refuses(&daemon, arguments);
        // What must still be written is: a pause, and the end of a job.
        daemon.ctl(["pause", &first]).expect(0);
        daemon.ctl(["cancel", &second]).expect(0);
        daemon.kill();
        daemon.launch();
        assert_ne!(daemon.pid(), pid);
        assert!(status(&daemon).contains("none is accepted"), "it starts with a full disk, and says so");
        assert_eq!(
            (&job(&daemon, &first)["state"], &job(&daemon, &second)["state"]),
            (&"paused".into(), &"cancelled".into())
        );
        daemon.ctl(["resume", &first]).expect(0);
        fs::remove_file(ballast).expect("it is there");
        let pid = daemon.pid();
        ends_well(&daemon, &first);
        assert_eq!(daemon.pid(), pid, "without a restart");
        assert!(!status(&daemon).contains("none is accepted"), "{}", status(&daemon));
        comes_back(&daemon, &tree, &ground.path().join("restored"));
        Restic::new(&target, &password).check();
        daemon.stop();
        mount::unmount(&disk);
    });
}
