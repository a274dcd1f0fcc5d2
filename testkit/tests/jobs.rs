//! Jobs that do not go straight to their end, with the real programs: cut short, partial, retried, on a full target.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backup_testkit::caller::Caller;
use backup_testkit::compare::{Options, compare};
use backup_testkit::daemon::{self, Daemon};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::{mount, wait};
use serde_json::{Value, json};

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0)
}

/// Submits a job and returns its id.
fn submit(daemon: &Daemon, arguments: &[&str]) -> String {
    let answer = daemon.ctl([arguments, &["--detach", "--json"]].concat()).expect(0).json();
    answer[0]["job"].as_str().expect("it has an id").to_owned()
}

/// Waits until a job has ended, and returns its state.
fn end_of(daemon: &Daemon, id: &str) -> String {
    wait::until("the job has ended", || {
        let state = job(daemon, id)["state"].as_str().expect("it has a state").to_owned();
        ["succeeded", "partial", "failed", "cancelled"].contains(&state.as_str()).then_some(state)
    })
}

fn below(folder: &Path, source: &Path) -> PathBuf {
    folder.join(source.strip_prefix("/").expect("a source is absolute"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the test's own paths are text")
}

/// Plants small files, and last by name one that takes seconds to read and no space on the disk.
fn plant(source: &Path) {
    fs::create_dir(source).expect("it is made");
    for number in 0..20 {
        fs::write(source.join(format!("a small {number}")), format!("{number}")).expect("it is written");
    }
    let big = fs::File::create(source.join("z big")).and_then(|file| file.set_len(6 << 30));
    big.expect("it is made");
}

/// Begins a backup and returns when the small files are done.
fn begin(daemon: &Daemon, source: &Path) -> String {
    let id = submit(daemon, &["backup", text(source)]);
    wait::until("the small files are done", || {
        job(daemon, &id)["progress"]["files"].as_u64().filter(|files| *files >= 20)
    });
    id
}

/// Checks that there is one snapshot, and whether it is marked as incomplete.
fn has_one_snapshot(daemon: &Daemon, is_incomplete: bool) {
    let snapshots = daemon.restic().snapshots();
    assert_eq!(snapshots.len(), 1, "{snapshots:?}");
    assert_eq!(snapshots[0]["tags"].to_string().contains("backupd:incomplete"), is_incomplete, "{snapshots:?}");
    daemon.restic().check();
}

#[test]
fn a_first_backup_that_was_cancelled_can_be_browsed_and_the_next_replaces_it() {
    let daemon = Daemon::start();
    let source = daemon.home().join("source");
    plant(&source);
    let id = begin(&daemon, &source);
    daemon.ctl(["cancel", &id]).expect(0);
    assert_eq!(end_of(&daemon, &id), "cancelled");
    let told = daemon.ctl(["job", &id]).expect(0).text();
    assert!(told.contains("marked as incomplete"), "{told}");
    has_one_snapshot(&daemon, true);
    assert!(daemon.ctl(["snapshots"]).expect(0).text().contains("(incomplete)"));
    let to = daemon.home().join("part");
    let said = daemon.ctl(["restore", "latest", "--to", text(&to)]).expect(0).text();
    assert!(said.contains("is incomplete: its backup was interrupted"), "{said}");
    assert_eq!(fs::read_dir(below(&to, &source)).expect("it is there").count(), 20);
    fs::remove_file(source.join("z big")).expect("it is there");
    daemon.ctl(["backup", text(&source)]).expect(0);
    has_one_snapshot(&daemon, false);
}

#[test]
fn a_first_backup_in_which_the_daemon_is_stopped_leaves_what_it_has_and_goes_on_by_itself() {
    let mut daemon = Daemon::start();
    let source = daemon.home().join("source");
    plant(&source);
    let id = begin(&daemon, &source);
    daemon.stop();
    has_one_snapshot(&daemon, true);
    fs::remove_file(source.join("z big")).expect("it is there");
    daemon.launch();
    assert_eq!(end_of(&daemon, &id), "succeeded");
    has_one_snapshot(&daemon, false);
}

#[test]
fn what_somebody_asked_of_jobs_and_of_the_daemon_holds_after_a_kill() {
    let mut daemon = Daemon::start();
    let source = daemon.home().join("source");
    plant(&source);
    fs::remove_file(source.join("z big")).expect("it is there");
    daemon.ctl(["pause", "--for", "2h"]).expect(0);
    let first = submit(&daemon, &["backup", text(&source)]);
    let second = submit(&daemon, &["backup", text(&source), "--priority", "low"]);
    daemon.ctl(["priority", &second, "high"]).expect(0);
    daemon.ctl(["pause", &first, "--for", "1h"]).expect(0);
    let before = daemon.ctl(["status", "--json"]).expect(0).json().remove(0);
    daemon.kill();
    daemon.launch();
    let after = daemon.ctl(["status", "--json"]).expect(0).json().remove(0);
    assert!(after["paused"]["until"].is_string() && after["paused"] == before["paused"], "{after}");
    let why = daemon.ctl(["why", &second]).expect(0).text();
    assert!(why.contains("whole daemon is paused until"), "{why}");
    assert_eq!(
        (job(&daemon, &first)["state"].clone(), job(&daemon, &second)["priority"].clone()),
        ("paused".into(), "high".into())
    );
    daemon.ctl(["resume"]).expect(0);
    assert_eq!(end_of(&daemon, &second), "succeeded");
    assert_eq!(job(&daemon, &first)["state"], "paused", "its own pause holds");
    daemon.ctl(["resume", &first]).expect(0);
    assert_eq!(end_of(&daemon, &first), "succeeded");
}

/// Returns which of some jobs came to which state, in the order in which a watcher heard of it, until one has ended.
fn heard_until_the_end_of(watcher: &mut Caller, jobs: &[&str], last: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let event = watcher.line()["params"].take();
        let (id, state) = (event["job"].as_str().unwrap_or_default(), event["state"].as_str().unwrap_or_default());
        if event["type"] != "state" || !jobs.contains(&id) {
            continue;
        }
        let step = format!("{id} {state}");
        // A reason for waiting that changes is told as well.
        if heard.last() != Some(&step) {
            heard.push(step);
        }
        assert!(!["failed", "partial", "cancelled"].contains(&state), "{event}");
        if (id, state) == (last, "succeeded") {
            return heard;
        }
    }
}

#[test]
fn a_restore_makes_the_backup_that_runs_on_its_target_pause_and_go_on_by_itself() {
    let daemon = Daemon::start();
    let tree = Tree::plain(daemon.home().join("small"), Seed(5));
    daemon.ctl(["backup", text(tree.root())]).expect(0);
    let source = daemon.home().join("source");
    plant(&source);
    let backup = begin(&daemon, &source);
    let mut watcher = Caller::hello(&daemon.socket());
    watcher.call("events.subscribe", json!({"topics": ["state"]}));
    let to = daemon.home().join("restored");
    let restore = submit(&daemon, &["restore", "latest", "--path", text(tree.root()), "--to", text(&to)]);
    let heard = heard_until_the_end_of(&mut watcher, &[&backup, &restore], &backup);
    let of = |id: &str| -> Vec<&str> { heard.iter().filter_map(|step| step.strip_prefix(id)).map(str::trim).collect() };
    assert_eq!(of(&backup), ["paused", "running", "succeeded"], "{heard:?}");
    assert!(of(&restore).ends_with(&["running", "succeeded"]), "{heard:?}");
    let place = |step: String| heard.iter().position(|found| *found == step).expect("it was heard");
    // The end of the one and the going on of the other are one change, whose events come in the order of ids.
    let end = place(format!("{restore} succeeded"));
    assert!(end.abs_diff(place(format!("{backup} running"))) <= 1, "{heard:?}");
    assert_eq!(job(&daemon, &backup)["attempts"].as_array().map(Vec::len), Some(1), "the same attempt went on");
    compare(tree.root(), &below(&to, tree.root()), &Options::default()).assert_equal();
    daemon.restic().check();
}

/// S0.25: one bad item never fails the rest. S0.26: what was done and what needs attention is listed.
#[test]
fn a_retry_of_a_partial_backup_takes_up_what_failed_and_leaves_a_whole_snapshot() {
    let daemon = Daemon::start_with(daemon::Options { unprivileged: true, ..daemon::Options::default() });
    let mut tree = Tree::plain(daemon.home().join("source"), Seed(3));
    let secret = tree.random_file("folder 1/secret", 1000);
    backup_testkit::unprivileged::give(daemon.home());
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).expect("it is ours");
    let answer = daemon.ctl(["backup", text(tree.root())]).expect(3);
    let said = answer.text();
    for words in ["Safe in local: 32 files", "Not in this snapshot", text(&secret), "permission denied", "  3. "] {
        assert!(said.contains(words), "{words} is missing in:\n{said}");
    }
    let id = said.split_whitespace().nth(1).expect("it names the job").to_owned();
    let listed = job(&daemon, &id)["failed"].clone();
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["class"]), (Some(1), &"permission".into()));
    fs::set_permissions(&secret, Permissions::from_mode(0o644)).expect("it is ours");
    daemon.ctl(["retry", &id]).expect(0);
    assert_eq!(end_of(&daemon, &id), "succeeded");
    let detail = job(&daemon, &id);
    assert_eq!((&detail["summary"]["files"], &detail["failed"]), (&33.into(), &json!([])), "{detail}");
    let restic = daemon.restic();
    restic.check();
    let to = daemon.home().join("by restic");
    restic.restore(detail["summary"]["snapshot"].as_str().expect("there is one"), &to);
    compare(tree.root(), &below(&to, tree.root()), &Options::default()).assert_equal();
}

/// S0.45: what was in the way is moved by hand, and the retry brings that and nothing else.
#[test]
fn a_retry_of_a_partial_restore_takes_up_what_failed() {
    let daemon = Daemon::start();
    let tree = Tree::plain(daemon.home().join("source"), Seed(4));
    daemon.ctl(["backup", text(tree.root())]).expect(0);
    let to = daemon.home().join("restored");
    let copy = below(&to, tree.root());
    let (kept, other) = (copy.join("folder 2/file 3.bin"), copy.join("folder 0/file 0.bin"));
    fs::create_dir_all(copy.join("folder 2")).expect("it is made");
    fs::write(&kept, "mine").expect("it is written");
    let said = daemon.ctl(["restore", "latest", "--to", text(&to)]).expect(3).text();
    assert!(said.contains("Right in the destination: 31 files") && said.contains("  2. Try these"), "{said}");
    let id = said.split_whitespace().nth(1).expect("it names the job").to_owned();
    fs::rename(&kept, daemon.home().join("mine")).expect("it is moved");
    fs::write(&other, "changed since").expect("it is written");
    daemon.ctl(["retry", &id]).expect(0);
    assert_eq!(end_of(&daemon, &id), "succeeded");
    let original = fs::read(tree.path("folder 2/file 3.bin")).expect("it is there");
    assert_eq!(fs::read(&kept).expect("it is back"), original);
    assert_eq!(fs::read(&other).expect("it is there"), b"changed since", "what was right before is left alone");
    assert_eq!(job(&daemon, &id)["summary"]["files"], 32);
}

#[test]
fn a_plan_on_a_full_target_is_parked_with_advice_and_goes_on_when_there_is_room() {
    mount::run("a_plan_on_a_full_target_is_parked_with_advice_and_goes_on_when_there_is_room", || {
        let config = "[target.small]\nurl = \"~/small\"\npassword-file = \"key\"\n\
                      [plan.docs]\nsources = [\"~/source\"]\ntargets = [\"small\"]\n";
        let daemon =
            Daemon::start_with(daemon::Options { config: Some(config.to_owned()), ..daemon::Options::default() });
        let key = daemon.config().with_file_name("key");
        fs::write(&key, "secret\n").expect("it is written");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
        let target = daemon.home().join("small");
        fs::create_dir(&target).expect("it is made");
        mount::tmpfs(&target, 30 << 20);
        daemon.ctl(["target", "init", "small"]).expect(0);
        let mut tree = Tree::plain(daemon.home().join("source"), Seed(8));
        for number in 0..4 {
            tree.random_file(format!("large {number}"), 13_000_000);
        }
        let id = submit(&daemon, &["backup", "docs"]);
        let verdict = wait::until("the job waits", || {
            let job = job(&daemon, &id);
            Some(job["verdict"].clone()).filter(|verdict| verdict["kind"] == "parked")
        });
        let sentence = verdict["sentence"].as_str().expect("it says why");
        assert!(sentence.contains("no space left") && sentence.contains("Free some space"), "{sentence}");
        mount::grow(&target, 200 << 20);
        daemon.ctl(["retry", &id]).expect(0);
        assert_eq!(end_of(&daemon, &id), "succeeded");
        assert!(job(&daemon, &id)["attempts"].as_array().is_some_and(|attempts| attempts.len() >= 2));
        let restic = backup_testkit::restic::Restic::new(&target, &key);
        restic.check();
        let to = daemon.home().join("restored");
        restic.restore("latest", &to);
        compare(tree.root(), &below(&to, tree.root()), &Options::default()).assert_equal();
        drop(daemon);
    });
}
