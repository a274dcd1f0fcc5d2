//! The disk that holds a target is full at any write of a backup: the job says so and is parked, goes on when somebody has
//! made room, and its snapshot is whole.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backup_testkit::compare::{Options, compare};
use backup_testkit::daemon::{self, Daemon};
use backup_testkit::restic::Restic;
use backup_testkit::seed::{Seed, rounds};
use backup_testkit::tree::Tree;
use backup_testkit::{mount, wait};
use serde_json::Value;

const CONFIG: &str = "[target.small]\nurl = \"~/small\"\npassword-file = \"key\"\n\
                      [plan.docs]\nsources = [\"~/source\"]\ntargets = [\"small\"]\n";

/// Backups into one target, which is in memory; then another one is begun.
const BACKUPS_IN_HOUSE: u64 = 12;

/// Room enough for all of them.
const PLENTY_BYTES: u64 = 1 << 30;
const PLENTY_FILES: u64 = 100_000;

/// What a target has too little of.
#[derive(Clone, Copy, Debug)]
enum Scarce {
    /// So many more files.
    Files(u64),
    /// So many more bytes.
    Bytes(u64),
}

/// A daemon with a target on a disk of its own.
struct House {
    daemon: Daemon,
    tree: Tree,
    target: PathBuf,
    key: PathBuf,
}

impl House {
    fn new(seed: u64) -> Self {
        let options = daemon::Options { config: Some(CONFIG.to_owned()), ..daemon::Options::default() };
        let daemon = Daemon::start_with(options);
        let (key, target) = (daemon.config().with_file_name("key"), daemon.home().join("small"));
        fs::write(&key, "secret\n").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(&target).unwrap();
        mount::tmpfs(&target, PLENTY_BYTES);
        daemon.ctl(["target", "init", "small"]).expect(0);
        let tree = Tree::plain(daemon.home().join("source"), Seed(seed));
        Self { daemon, tree, target, key }
    }

    fn job(&self, id: &str) -> Value {
        let job = self.daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0);
        assert!(!["failed", "partial", "cancelled"].contains(&job["state"].as_str().unwrap()), "{job}");
        job
    }

    fn make_room(&self) {
        mount::grow(&self.target, PLENTY_BYTES);
        mount::grow_files(&self.target, PLENTY_FILES);
    }

    /// Backs up a new file of this length where there is too little of something; returns whether the job met the end.
    fn backup(&mut self, length: usize, scarce: Scarce) -> bool {
        self.tree.random_file("new", length);
        let used = mount::used(&self.target);
        match scarce {
            Scarce::Files(more) => mount::grow_files(&self.target, used.files + more),
            Scarce::Bytes(more) => mount::grow(&self.target, used.bytes + more),
        }
        let answer = self.daemon.ctl(["backup", "docs", "--detach", "--json"]).expect(0).json();
        let id = answer[0]["job"].as_str().unwrap();
        let waits = wait::until("the job waits or has ended", || {
            let job = self.job(id);
            (job["state"] == "succeeded").then_some(None).or_else(|| {
                let verdict = &job["verdict"];
                (verdict["kind"] == "parked").then(|| Some(verdict["sentence"].to_string()))
            })
        });
        self.make_room();
        if let Some(sentence) = &waits {
            assert!(sentence.contains("no space left") && sentence.contains("Free some space"), "{sentence}");
            self.daemon.ctl(["retry", id]).expect(0);
        }
        self.is_whole(id, waits.is_some());
        waits.is_some()
    }

    /// Waits for a job's end, and lets restic judge what it stored.
    fn is_whole(&self, id: &str, was_full: bool) {
        let job = wait::until("the job has ended", || Some(self.job(id)).filter(|job| job["state"] == "succeeded"));
        assert_eq!(job["attempts"].as_array().unwrap().len() > 1, was_full, "{job}");
        let restic = Restic::new(&self.target, &self.key);
        restic.check();
        let incomplete = restic.snapshots().iter().filter(|one| one["tags"].to_string().contains("incomplete")).count();
        assert_eq!(incomplete, 0, "a whole snapshot has taken its place");
        let to = tempfile::tempdir().unwrap();
        restic.restore(job["summary"]["snapshot"].as_str().unwrap(), to.path());
        compare(self.tree.root(), &below(to.path(), self.tree.root()), &Options::default()).assert_equal();
    }
}

fn below(folder: &Path, source: &Path) -> PathBuf {
    folder.join(source.strip_prefix("/").unwrap())
}

/// Backs up with too little room for the first write, then for the second and so on, until there is enough; returns how
/// often there was not.
fn at_every_write(length: usize, scarce: impl Fn(u64) -> Scarce) -> u64 {
    let mut house = House::new(40);
    for write in 0.. {
        if write > 0 && write % BACKUPS_IN_HOUSE == 0 {
            house = House::new(40 + write);
        }
        if !house.backup(length, scarce(write)) {
            return write;
        }
    }
    unreachable!("the loop has no end of its own")
}

#[test]
fn a_target_that_is_full_at_any_write_holds_the_backup_up_and_breaks_nothing() {
    mount::run("a_target_that_is_full_at_any_write_holds_the_backup_up_and_breaks_nothing", || {
        // In a soak several packs are stored, and a step is shorter than all blobs that are cut from a file.
        let length = usize::try_from(rounds(5_000_000, 36_000_000)).unwrap();
        let step = rounds(1 << 20, 256 << 10);
        let files = at_every_write(length, Scarce::Files);
        let bytes = at_every_write(length, |write| Scarce::Bytes(write * step));
        eprintln!(
            "full target: {} cases held: no room for {files} files one after another, and at {bytes} lengths in steps of {} KiB",
            files + bytes,
            step >> 10
        );
        assert!(files >= 4, "a lock, packs, an index and a snapshot are files");
        assert!(bytes >= length as u64 / step, "each step was too short for all of the file");
    });
}
