//! Kills in a copy to another target, in a prune and in a repair.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backup_engine::Repository;
use backup_engine::id::BlobId;
use backup_engine::storage::LocalStorage;
use backup_testkit::compare::{Options, compare};
use backup_testkit::daemon::Options as DaemonOptions;
use backup_testkit::restic::Restic;
use backup_testkit::seed::{Seed, rounds};
use backup_testkit::wait;

use super::{Counts, House, count, files};

/// The other target, to which is copied.
const CONFIG: &str = "[target.usb]\nurl = \"~/usb\"\npassword-file = \"key\"\n";

/// Kills in one house of these kinds.
const KILLS_IN_HOUSE: u64 = 9;

/// The longest time for which a repair reads before it is killed, and the longest between what is seen of a job's first
/// change and the kill.
const READ_MS_MAX: u64 = 150;
const CHANGE_MS_MAX: u64 = 30;

/// What a prune removes of that which nothing needs: all, at once.
const PRUNE: [&str; 4] = ["prune", "--unsafe-no-grace", "--max-unused", "0%"];

/// A house with two targets.
struct Upkeep {
    house: House,
    key: PathBuf,
}

impl Upkeep {
    fn new(seed: u64) -> Self {
        let options = DaemonOptions { config: Some(CONFIG.to_owned()), ..DaemonOptions::default() };
        let house = House::with(seed, options);
        let key = house.daemon.config().with_file_name("key");
        fs::write(&key, "secret\n").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let new = Self { house, key };
        new.back_up();
        new.house.daemon.ctl(["target", "init", "usb", "--copy-chunker-params", "local"]).expect(0);
        new
    }

    fn usb(&self) -> PathBuf {
        self.house.daemon.home().join("usb")
    }

    fn back_up(&self) {
        self.house.daemon.ctl(["backup", self.house.tree.root().to_str().unwrap()]).expect(0);
    }

    /// Returns the files that the default target consists of, locks apart.
    fn listing(&self) -> BTreeSet<PathBuf> {
        let repository = self.house.daemon.repository();
        ["data", "index", "snapshots"].iter().flat_map(|folder| files(&repository.join(folder))).collect()
    }

    /// Kills the daemon when it has begun to change the target, or some time after that.
    fn kill_in_a_change(&mut self, before: &BTreeSet<PathBuf>) {
        let pause = Duration::from_millis(self.house.random.below(2) * self.house.random.below(CHANGE_MS_MAX));
        wait::until("the target changes", || (self.listing() != *before).then_some(()));
        wait::for_chosen(pause);
        self.house.daemon.kill();
    }

    fn copy(&mut self, counts: &mut Counts) {
        self.house.plant();
        self.back_up();
        let (data, snapshots) = (self.usb().join("data"), self.usb().join("snapshots"));
        let (packs, copied) = (count(&data), count(&snapshots));
        let job = self.house.submit(&["copy", "--from", "local", "--to", "usb"]);
        let enough = packs + 1 + self.house.random.below(3);
        self.house.kill_when(|_| count(&data) >= enough || count(&snapshots) > copied);
        counts.copy += 1;
        counts.storing += u64::from(count(&data) > packs && count(&snapshots) == copied);
        self.house.daemon.launch();
        self.house.finish(&job, 1, counts);
        self.assert_copied();
    }

    /// Half of what was stored last is not needed any more, and all older snapshots are forgotten.
    fn prune(&mut self, counts: &mut Counts) {
        let planted = self.house.plant();
        self.back_up();
        planted.iter().step_by(2).for_each(|path| fs::remove_file(path).unwrap());
        self.back_up();
        self.house.daemon.ctl(["forget", "--keep-last", "1", "--confirm-shrunk"]).expect(0);
        let before = self.listing();
        let job = self.house.submit(&PRUNE);
        self.kill_in_a_change(&before);
        counts.prune += 1;
        self.house.daemon.launch();
        self.house.finish(&job, 1, counts);
    }

    /// A pack of files is damaged. What is lost with it is stored again by the next backup: the files are still there.
    fn repair(&mut self, counts: &mut Counts) {
        bend(&self.largest_pack());
        let before = self.listing();
        let job = self.house.submit(&["repair", "--yes", "--forget"]);
        if self.house.random.below(2) == 0 {
            wait::for_chosen(Duration::from_millis(self.house.random.below(READ_MS_MAX)));
            self.house.daemon.kill();
        } else {
            self.kill_in_a_change(&before);
        }
        counts.repair += 1;
        self.house.daemon.launch();
        self.house.finish(&job, 1, counts);
        self.back_up();
    }

    fn largest_pack(&self) -> PathBuf {
        let packs = files(&self.house.daemon.repository().join("data"));
        packs.into_iter().max_by_key(|pack| pack.metadata().unwrap().len()).unwrap()
    }

    /// Every snapshot of the default target is in the other one.
    fn assert_copied(&self) {
        let missing = &trees(&self.house.daemon.repository(), &self.house.daemon.password_file())
            - &trees(&self.usb(), &self.key);
        assert!(missing.is_empty(), "{missing:?} was not copied\n{}", self.house.daemon.log());
    }

    /// Judges both targets when all jobs have ended. What a kill has left in no index goes with a last prune.
    fn judge(&self, counts: &mut Counts) {
        self.house.daemon.ctl(PRUNE).expect(0);
        self.house.daemon.ctl(["copy", "--from", "local", "--to", "usb"]).expect(0);
        self.house.judge(counts);
        self.assert_copied();
        let usb = Restic::new(&self.usb(), &self.key);
        usb.check();
        let to = self.house.ground.path().join("from usb");
        usb.restore("latest", &to);
        let copy = to.join(self.house.tree.root().strip_prefix("/").unwrap());
        compare(self.house.tree.root(), &copy, &Options::default()).assert_equal();
    }
}

/// Returns the tops of all snapshots: equal trees are equal snapshots, wherever they are.
fn trees(repository: &Path, password: &Path) -> BTreeSet<BlobId> {
    let password = fs::read(password).unwrap();
    let repository = Repository::open(Arc::new(LocalStorage::new(repository)), password.trim_ascii_end()).unwrap();
    let snapshots = repository.snapshots().unwrap();
    assert!(snapshots.damaged.is_empty());
    snapshots.list.into_iter().map(|(_, snapshot)| snapshot.tree).collect()
}

/// Changes a byte in the middle of a file that may only be read.
fn bend(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
}

#[test]
fn killed_in_a_copy_a_prune_or_a_repair_every_job_is_done_in_the_end_and_nothing_is_missing() {
    let seed = Seed::of_test("backup-testkit", "killed_in_a_copy_a_prune_or_a_repair");
    let mut random = seed.random();
    let mut counts = Counts::default();
    let wanted = rounds(KILLS_IN_HOUSE, 150);
    while counts.kills() < wanted {
        let mut upkeep = Upkeep::new(random.next_u64());
        for turn in 0..KILLS_IN_HOUSE {
            match turn % 3 {
                0 => upkeep.copy(&mut counts),
                1 => upkeep.prune(&mut counts),
                _ => upkeep.repair(&mut counts),
            }
        }
        upkeep.judge(&mut counts);
    }
    eprintln!("{} kills from seed {seed} held: {counts:?}", counts.kills());
    assert!(counts.inside * 3 >= counts.kills() * 2, "too few kills fell inside a job: {counts:?}");
    assert!(counts.storing * 3 >= counts.copy * 2, "too few kills fell between pack and snapshot: {counts:?}");
}
