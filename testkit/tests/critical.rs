//! What is critical in a plan is safe before the rest, with the real programs and a kill in between.

use std::fs;
use std::path::PathBuf;

use backup_testkit::compare::{Options as Compare, compare};
use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::wait;
use serde_json::Value;

const PLAN: &str = "[plan.docs]\nsources = [\"~/source\"]\ncritical = [\"~/source/m\"]\n";

fn plant(daemon: &Daemon) -> Tree {
    let mut tree = Tree::new(daemon.home().join("source"), Seed(12));
    for number in 0..8 {
        tree.random_file(format!("a/{number}"), 3_000_000);
    }
    tree.random_file("m/inner/deeds", 5000);
    tree.random_file("m/notes", 300);
    // What was touched in the last seconds before a backup is read again by the next one.
    wait::until("the files are not new any more", || {
        let made = fs::metadata(tree.path("m")).and_then(|found| found.modified()).expect("it is there");
        made.elapsed().ok().filter(|age| age.as_secs() >= 4)
    });
    tree
}

/// Returns the tags of each snapshot, as restic lists them.
fn tags(daemon: &Daemon) -> Vec<String> {
    daemon.restic().snapshots().iter().map(|snapshot| snapshot["tags"].to_string()).collect()
}

fn snapshot_files(daemon: &Daemon) -> usize {
    let is_whole = |name: &str| name.len() == 64;
    let entries = fs::read_dir(daemon.repository().join("snapshots")).into_iter().flatten().flatten();
    entries.filter(|entry| is_whole(&entry.file_name().to_string_lossy())).count()
}

fn ended(daemon: &Daemon, id: &str) -> Value {
    wait::until("the job ends", || {
        let job = daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0);
        (job["state"] != "running" && job["state"] != "queued").then_some(job)
    })
}

#[test]
fn killed_before_the_rest_was_saved_a_daemon_leaves_what_is_critical_and_then_saves_all() {
    // So slow that the rest takes minutes, and what is critical a moment.
    let config = Some(format!("{PLAN}[limits]\nupload = \"64 KiB/s\"\n"));
    let mut daemon = Daemon::start_with(Options { config, ..Options::default() });
    let tree = plant(&daemon);
    let id = daemon.ctl(["backup", "docs", "--detach"]).expect(0).text().trim().to_owned();
    wait::until("what is critical is safe", || (snapshot_files(&daemon) > 0).then_some(()));
    let listed = daemon.ctl(["snapshots"]).expect(0).text();
    assert!(listed.contains("backupd:critical"), "{listed}");
    wait::until("the job says so", || {
        daemon.ctl(["job", &id]).expect(0).text().contains("What is critical is safe in snapshot").then_some(())
    });
    daemon.kill();

    let left = tags(&daemon);
    assert!(left.len() == 1 && left[0].contains("backupd:critical") && left[0].contains("plan=docs"), "{left:?}");
    let to = daemon.home().join("restored");
    daemon.restic().restore("latest", &to);
    let restored = |to: &PathBuf| to.join(tree.root().strip_prefix("/").expect("it is absolute"));
    compare(&tree.path("m"), &restored(&to).join("m"), &Compare::default()).assert_equal();

    fs::write(daemon.config(), PLAN).expect("it is written");
    daemon.launch();
    let job = ended(&daemon, &id);
    assert_eq!((&job["state"], &job["summary"]["files"]), (&"succeeded".into(), &10.into()), "{job}");
    let after = tags(&daemon);
    assert!(after.len() == 1 && !after[0].contains("backupd:critical"), "{after:?}");
    daemon.restic().check();
    let whole = daemon.home().join("whole");
    daemon.ctl(["restore", "latest", "--plan", "docs", "--to", whole.to_str().expect("it is text")]).expect(0);
    compare(tree.root(), &restored(&whole), &Compare::default()).assert_equal();
}

#[test]
fn a_plan_that_is_added_with_what_is_critical_has_it_and_nothing_elsewhere_is_taken() {
    let daemon = Daemon::start();
    let home = daemon.home().display().to_string();
    let (source, inner) = (format!("{home}/source"), format!("{home}/source/m"));
    fs::create_dir_all(&inner).expect("it is made");
    fs::write(format!("{inner}/file"), "text").expect("it is written");
    let refused = daemon.ctl(["plan", "add", "docs", &source, "--critical", &format!("{home}/else")]).expect(1);
    assert!(refused.complaint().contains("is in none of its sources"), "{}", refused.complaint());
    daemon.ctl(["plan", "add", "docs", &source, "--critical", &inner]).expect(0);
    let plan = daemon.ctl(["plan", "list", "--json"]).expect(0).json().remove(0);
    assert!(plan.to_string().contains(&format!("\"critical\":[\"{inner}\"]")), "{plan}");
    let dry = daemon.ctl(["backup", "docs", "--dry-run"]).expect(0).text();
    assert!(dry.contains("1 file"), "{dry}");
    assert_eq!(snapshot_files(&daemon), 0);
    daemon.ctl(["backup", "docs"]).expect(0);
    let left = tags(&daemon);
    assert!(left.len() == 1 && !left[0].contains("critical"), "{left:?}");
}
