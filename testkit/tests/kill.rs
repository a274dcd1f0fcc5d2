//! A daemon that is killed again and again, at any moment of a backup, a restore, a check, its own start and the upgrade
//! of its state, and of a copy, a prune and a repair (`kill/upkeep.rs`): no accepted job is lost, nothing is stored twice,
//! and everything comes back.
//!
//! The moments come from a seed, and each is confirmed afterwards: a kill counts as inside a job when the job has had
//! to begin another attempt, and inside the storing of a backup when packs had come and its snapshot had not.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

#[path = "kill/upkeep.rs"]
mod upkeep;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backup_engine::Repository;
use backup_engine::storage::{FileKind, LocalStorage, Storage};
use backup_testkit::compare::{Options, compare};
use backup_testkit::daemon::{Daemon, Options as DaemonOptions};
use backup_testkit::old_state::{self, Moment};
use backup_testkit::seed::{Random, Seed, rounds};
use backup_testkit::tree::Tree;
use backup_testkit::wait;
use serde_json::Value;
use tempfile::TempDir;

/// Kills in one house; then what is in it is judged and another one is begun.
const KILLS_IN_HOUSE: u64 = 20;

/// New files that a backup finds, and their length: a few packs in all.
const FILES: u64 = 6;
const FILE_LENGTH: usize = 11_000_000;

/// The longest time after which a start is cut short; it takes less than that on a machine that is not busy.
const START_MS_MAX: u64 = 300;

/// The longest time after which a check is cut short.
const VERIFY_MS_MAX: u64 = 150;

/// Looks at an older state before its daemon is killed at most, and how often it is tried to meet the upgrade.
const LOOKS_MAX: u64 = 1_000_000;
const UPGRADE_TRIES: u64 = 3;

/// What was done, for the line at the end.
#[derive(Debug, Default)]
struct Counts {
    backup: u64,
    restore: u64,
    verify: u64,
    start: u64,
    upgrade: u64,
    copy: u64,
    prune: u64,
    repair: u64,
    /// Kills of an upgrade after its first step and before its last.
    upgrading: u64,
    /// Kills after which the job had to begin another attempt.
    inside: u64,
    /// Kills of a backup after its first pack and before its snapshot.
    storing: u64,
    jobs: u64,
    packs: u64,
    blobs: u64,
}

impl Counts {
    fn kills(&self) -> u64 {
        self.backup + self.restore + self.verify + self.start + self.upgrade + self.copy + self.prune + self.repair
    }
}

/// A daemon, what it backs up, and what it was asked to do.
struct House {
    daemon: Daemon,
    ground: TempDir,
    tree: Tree,
    random: Random,
    accepted: Vec<String>,
    restored: Vec<PathBuf>,
}

impl House {
    fn new(seed: u64) -> Self {
        Self::with(seed, DaemonOptions::default())
    }

    fn with(seed: u64, options: DaemonOptions) -> Self {
        let ground = tempfile::tempdir().unwrap();
        let tree = Tree::plain(ground.path().join("tree"), Seed(seed));
        let random = Seed(seed).random();
        Self { daemon: Daemon::start_with(options), ground, tree, random, accepted: Vec::new(), restored: Vec::new() }
    }

    /// Submits a job; from its id on it must not be lost.
    fn submit(&mut self, arguments: &[&str]) -> String {
        let answer = self.daemon.ctl([arguments, &["--detach", "--json"]].concat()).expect(0).json();
        let job = answer[0]["job"].as_str().unwrap().to_owned();
        self.accepted.push(job.clone());
        job
    }

    fn job(&self, id: &str) -> Value {
        self.daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0)
    }

    fn has_ended(&self, id: &str) -> bool {
        ["succeeded", "partial", "failed", "cancelled"].contains(&self.job(id)["state"].as_str().unwrap())
    }

    /// Waits for a moment, kills the daemon and starts it again. Only files are looked at, so that little time passes
    /// between the moment and the kill.
    fn kill_when(&mut self, is_time: impl Fn(&Self) -> bool) {
        wait::until("the job is far enough", || is_time(self).then_some(()));
        self.daemon.kill();
    }

    fn finish(&mut self, id: &str, kills: u64, counts: &mut Counts) {
        wait::until("the job has ended", || self.has_ended(id).then_some(()));
        let job = self.job(id);
        // What a repair cannot save it names.
        let is_repair = job["kind"] == "repair" && job["state"] == "partial";
        assert!(is_repair || job["state"] == "succeeded", "{job}\n{}", self.daemon.log());
        let attempts = job["attempts"].as_array().unwrap().len() as u64;
        counts.inside += attempts.saturating_sub(1).min(kills);
    }

    /// Makes new files and returns their paths.
    fn plant(&mut self) -> Vec<PathBuf> {
        let names = (0..FILES).map(|number| format!("new {} {number}", self.accepted.len()));
        names.map(|name| self.tree.random_file(name, FILE_LENGTH)).collect()
    }

    fn backup(&mut self, counts: &mut Counts) {
        self.plant();
        let source = self.tree.root().to_str().unwrap().to_owned();
        let (packs, snapshots) = (self.count("data"), self.count("snapshots"));
        let job = self.submit(&["backup", &source]);
        let (mut kills, wanted) = (0, self.random.below(2) + 1);
        while kills < wanted && self.count("snapshots") == snapshots {
            let enough = self.count("data").max(packs) + 1 + self.random.below(2);
            self.kill_when(|house| house.count("data") >= enough || house.count("snapshots") > snapshots);
            kills += 1;
            counts.backup += 1;
            counts.storing += u64::from(self.count("data") > packs && self.count("snapshots") == snapshots);
            self.daemon.launch();
        }
        self.finish(&job, kills, counts);
    }

    fn restore(&mut self, counts: &mut Counts) {
        let to = self.ground.path().join(format!("restored {}", self.accepted.len()));
        let job = self.submit(&["restore", "latest", "--to", to.to_str().unwrap()]);
        let enough = self.random.below(u64::try_from(FILE_LENGTH).unwrap()) + 1;
        self.kill_when(|_| length_of(&to) >= enough);
        self.daemon.launch();
        counts.restore += 1;
        self.finish(&job, 1, counts);
        self.restored.push(to);
    }

    fn verify(&mut self, counts: &mut Counts) {
        let job = self.submit(&["verify", "--read-data"]);
        // It begins at once, and reads all data for longer than this.
        wait::for_chosen(Duration::from_millis(self.random.below(VERIFY_MS_MAX)));
        self.daemon.kill();
        self.daemon.launch();
        counts.verify += 1;
        self.finish(&job, 1, counts);
    }

    /// Cuts a start short, while a job waits to go on.
    fn start(&mut self, counts: &mut Counts) {
        let source = self.tree.root().to_str().unwrap().to_owned();
        let job = self.submit(&["backup", &source]);
        self.daemon.kill();
        self.daemon.launch_and_kill(Duration::from_millis(self.random.below(START_MS_MAX)));
        self.daemon.launch();
        counts.start += 1;
        self.finish(&job, 0, counts);
    }

    /// Kills a daemon with an older state until that fell into the upgrade, and lets the next one go on with it.
    fn upgrade(&mut self, counts: &mut Counts) {
        let mut daemon = Daemon::prepare(DaemonOptions::default());
        old_state::give(&daemon);
        for _ in 0..UPGRADE_TRIES {
            let until = [Moment::Copying, Moment::Exchanging][self.random.index(2)];
            let moment = old_state::start_and_kill(&daemon, LOOKS_MAX, until);
            counts.upgrade += 1;
            counts.upgrading += u64::from([Moment::Copying, Moment::Exchanging].contains(&moment));
            if moment != Moment::Before {
                break;
            }
        }
        daemon.launch();
        old_state::assert_upgraded(&daemon);
        daemon.stop();
    }

    /// Counts the files of a kind in the repository.
    fn count(&self, kind: &str) -> u64 {
        count(&self.daemon.repository().join(kind))
    }

    /// Judges what is left when all jobs have ended.
    fn judge(&self, counts: &mut Counts) {
        let jobs = self.daemon.ctl(["jobs", "--all", "--json"]).expect(0).json().remove(0);
        let listed: BTreeSet<&str> = jobs.as_array().unwrap().iter().filter_map(|job| job["id"].as_str()).collect();
        for job in &self.accepted {
            assert!(listed.contains(job.as_str()), "job {job} is lost");
        }
        counts.jobs += self.accepted.len() as u64;
        self.check_blobs(counts);
        self.daemon.restic().check();
        // The last restore that was killed may be older than the last backup, so one more is made.
        let to = self.ground.path().join("the last");
        self.daemon.ctl(["restore", "latest", "--to", to.to_str().unwrap()]).expect(0);
        let copy = to.join(self.tree.root().strip_prefix("/").unwrap());
        compare(self.tree.root(), &copy, &Options::default()).assert_equal();
        for restored in &self.restored {
            self.check_restored(&restored.join(self.tree.root().strip_prefix("/").unwrap()));
        }
    }

    /// A killed restore brought what was there when it was asked for: files that never change later.
    fn check_restored(&self, copy: &Path) {
        let names = files(copy);
        assert!(!names.is_empty());
        for name in names {
            let original = self.tree.root().join(name.strip_prefix(copy).unwrap());
            assert!(fs::read(&name).unwrap() == fs::read(&original).unwrap(), "{} differs", name.display());
        }
    }

    /// Every stored pack is in an index, and every blob in exactly one pack.
    fn check_blobs(&self, counts: &mut Counts) {
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::new(self.daemon.repository()));
        let password = fs::read(self.daemon.password_file()).unwrap();
        let repository = Repository::open(Arc::clone(&storage), password.trim_ascii_end()).unwrap();
        assert!(repository.load_index().unwrap().is_empty());
        let packs = repository.index().by_pack();
        let stored: BTreeSet<[u8; 32]> =
            storage.list(FileKind::Pack).unwrap().iter().map(|(name, _)| name.id).collect();
        assert_eq!(stored, packs.keys().map(|id| id.0).collect(), "a pack is in no index, or in no storage");
        let mut seen = BTreeSet::new();
        for blob in packs.values().flatten() {
            assert!(seen.insert(blob.handle), "{:?} is in more than one pack", blob.handle);
        }
        counts.packs += packs.len() as u64;
        counts.blobs += seen.len() as u64;
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn count(folder: &Path) -> u64 {
    files(folder).iter().filter(|file| file.file_name().is_some_and(|name| name.len() == 64)).count() as u64
}

fn length_of(folder: &Path) -> u64 {
    files(folder).iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn killed_at_any_moment_every_job_is_done_in_the_end_and_nothing_is_stored_twice() {
    let seed = Seed::of_test("backup-testkit", "killed_at_any_moment");
    let mut random = seed.random();
    let mut counts = Counts::default();
    let (wanted, mut turn) = (rounds(KILLS_IN_HOUSE, 300), 0);
    while counts.kills() < wanted {
        let mut house = House::new(random.next_u64());
        let until = counts.kills() + KILLS_IN_HOUSE;
        while counts.kills() < until {
            house.backup(&mut counts);
            // Each kind comes often enough in any house.
            match turn % 4 {
                0 => house.restore(&mut counts),
                1 => house.verify(&mut counts),
                2 => house.upgrade(&mut counts),
                _ => house.start(&mut counts),
            }
            turn += 1;
        }
        house.judge(&mut counts);
    }
    eprintln!("{} kills from seed {seed} held: {counts:?}", counts.kills());
    let in_jobs = counts.kills() - counts.start - counts.upgrade;
    assert!(counts.inside * 4 >= in_jobs * 3, "too few kills fell inside a job: {counts:?}");
    assert!(counts.upgrading > 0, "no kill fell into an upgrade: {counts:?}");
    assert!(counts.storing * 4 >= counts.backup * 3, "too few kills fell between pack and snapshot: {counts:?}");
}
