//! Whether a backup fits is known before it runs, through the real programs and a target with a disk of its own.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use backup_testkit::daemon::{self, Daemon};
use backup_testkit::restic::Restic;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::{mount, wait};
use serde_json::Value;

const CONFIG: &str = "[target.small]\nurl = \"~/small\"\npassword-file = \"key\"\n\
                      [plan.docs]\nsources = [\"~/source\"]\ntargets = [\"small\"]\n";

/// What the disk of the target holds: less than the source, and more than an empty repository.
const SMALL_BYTES: u64 = 24 << 20;
const SOURCE_BYTES: usize = 40 << 20;

/// A daemon with a target on a small disk, which nobody has made yet, and a plan whose source is larger.
struct House {
    daemon: Daemon,
    target: PathBuf,
    key: PathBuf,
}

impl House {
    fn new() -> Self {
        let options = daemon::Options { config: Some(CONFIG.to_owned()), ..daemon::Options::default() };
        let daemon = Daemon::start_with(options);
        let (key, target) = (daemon.config().with_file_name("key"), daemon.home().join("small"));
        fs::write(&key, "secret\n").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(&target).unwrap();
        mount::tmpfs(&target, SMALL_BYTES);
        Tree::new(daemon.home().join("source"), Seed(15)).random_file("large", SOURCE_BYTES);
        Self { daemon, target, key }
    }

    /// Asks by a dry run whether the plan fits, and says that nothing came of it.
    fn asks(&self) -> String {
        let used = mount::used(&self.target);
        let said = self.daemon.ctl(["backup", "docs", "--dry-run"]).expect(0).text().to_owned();
        let now = mount::used(&self.target);
        assert_eq!((now.bytes, now.files), (used.bytes, used.files), "{said}");
        assert!(said.contains("nothing was stored"), "{said}");
        said
    }

    fn job(&self, id: &str) -> Value {
        self.daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0)
    }
}

/// Says how often a job says that there may be too little room.
fn warnings(job: &Value) -> usize {
    let notices = job["notices"].as_array().cloned().unwrap_or_default();
    notices.iter().filter(|one| one.to_string().contains("has found 40.0 MiB to read so far")).count()
}

/// S2.15: storage need is predicted before the first run and against quota.
#[test]
fn what_does_not_fit_is_said_before_it_runs() {
    mount::run("what_does_not_fit_is_said_before_it_runs", || {
        let house = House::new();
        let unmade = house.asks();
        assert!(unmade.contains("`backupctl target init small` makes it"), "{unmade}");
        assert_eq!(fs::read_dir(&house.target).unwrap().count(), 0);
        house.daemon.ctl(["target", "init", "small"]).expect(0);
        let said = house.asks();
        assert!(said.contains("it does not fit. Make room there") && said.contains("prune"), "{said}");
        let lines = house.daemon.ctl(["backup", "docs", "--dry-run", "--json"]).expect(0).json();
        let summary = lines.last().unwrap();
        let estimate = &summary["estimate"];
        assert_eq!((&summary["state"], &estimate["fits"]), (&"succeeded".into(), &false.into()), "{summary}");
        assert!(estimate["free_bytes"].as_u64().unwrap() <= SMALL_BYTES && summary["snapshot"].is_null(), "{summary}");
        assert!(summary["bytes_stored"].as_u64().unwrap() > SOURCE_BYTES as u64, "noise stays as long: {summary}");
        let plans = house.daemon.ctl(["plan", "list", "--json"]).expect(0).json().remove(0);
        assert!(plans[0]["last_success"].is_null(), "{plans}");
        // A target that is full to the last byte takes no lock either.
        mount::grow(&house.target, mount::used(&house.target).bytes);
        let said = house.asks();
        assert!(said.contains("has 0 B free: it does not fit") && said.contains("without a lock"), "{said}");
    });
}

/// S2.15: who has not asked is told as soon as it is known, and nothing is held up.
#[test]
fn a_first_backup_that_may_not_fit_says_so_and_goes_on() {
    mount::run("a_first_backup_that_may_not_fit_says_so_and_goes_on", || {
        let house = House::new();
        house.daemon.ctl(["target", "init", "small"]).expect(0);
        let answer = house.daemon.ctl(["backup", "docs", "--detach", "--json"]).expect(0).json();
        let id = answer[0]["job"].as_str().unwrap();
        let waiting = || Some(house.job(id)).filter(|job| job["verdict"]["kind"] == "parked");
        let job = wait::until("the job is parked for lack of room", waiting);
        assert_eq!(warnings(&job), 1, "{job}");
        mount::grow(&house.target, 1 << 30);
        house.daemon.ctl(["retry", id]).expect(0);
        let job = wait::until("the job has ended", || Some(house.job(id)).filter(|job| job["state"] == "succeeded"));
        assert_eq!(warnings(&job), 1, "{job}");
        assert!(house.asks().contains("it fits"));
        Restic::new(&house.target, &house.key).check();
    });
}
