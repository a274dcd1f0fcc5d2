//! `prune`, with the real programs: what nothing needs waits its time, and other programs' locks are waited for.

use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};

use backup_testkit::daemon::Daemon;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::wait;
use serde_json::Value;

/// A daemon whose target has much that nothing needs, in packs of which something is needed.
fn house() -> Daemon {
    let daemon = Daemon::start();
    let mut tree = Tree::plain(daemon.home().join("source"), Seed(21));
    for number in 0..3 {
        tree.random_file("changes", 400_000);
        tree.random_file(format!("stays {number}"), 100_000);
        daemon.ctl(["backup", tree.root().to_str().expect("it is text")]).expect(0);
    }
    let snapshots = daemon.restic().snapshots();
    let first: Vec<&str> = snapshots[..2].iter().filter_map(|snapshot| snapshot["id"].as_str()).collect();
    daemon.restic().run([&["forget"], &first[..]].concat());
    daemon
}

fn prune(daemon: &Daemon, more: &[&str]) -> Value {
    let arguments = [&["prune", "--max-unused", "0%", "--json"], more].concat();
    daemon.ctl(arguments).expect(0).summary()["prune"].clone()
}

fn packs(daemon: &Daemon) -> usize {
    let folders = fs::read_dir(daemon.repository().join("data")).expect("it is there").flatten();
    folders.map(|folder| fs::read_dir(folder.path()).expect("it is there").count()).sum()
}

#[test]
fn what_nothing_needs_waits_for_a_day_that_a_restart_does_not_begin_anew() {
    let mut daemon = house();
    let before = packs(&daemon);
    let dry = prune(&daemon, &["--dry-run"]);
    assert!(dry["dry_run"] == true && dry["packs_repacked"].as_u64() > Some(0), "{dry}");
    assert_eq!(packs(&daemon), before, "a dry run changes nothing");
    assert!(!daemon.state().join("prune").exists());
    let bounded = prune(&daemon, &["--max-repack-size", "1B"]);
    assert_eq!((&bounded["packs_repacked"], packs(&daemon)), (&0.into(), before), "{bounded}");
    let first = prune(&daemon, &[]);
    assert!(first["packs_repacked"].as_u64() > Some(0) && first["packs_waiting"].as_u64() > Some(0), "{first}");
    assert_eq!(first["packs_removed"], 0, "{first}");
    let (moved, next) = (packs(&daemon), first["next"].clone());
    assert!(moved > before && next.is_string(), "{first}");
    daemon.stop();
    daemon.launch();
    let second = prune(&daemon, &[]);
    assert_eq!(
        (&second["next"], &second["packs_waiting"]),
        (&next, &first["packs_waiting"]),
        "it counts from the first"
    );
    assert_eq!((&second["packs_removed"], packs(&daemon)), (&0.into(), moved), "{second}");
    daemon.restic().check();
    let at_once = prune(&daemon, &["--unsafe-no-grace"]);
    assert_eq!(at_once["packs_removed"], first["packs_waiting"], "{at_once}");
    daemon.restic().check();
}

/// Begins a backup of restic that goes on until its input ends.
fn restic_at_work(daemon: &Daemon) -> Child {
    let mut command = daemon.restic().command();
    let restic = command.args(["backup", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let restic = restic.expect("restic starts");
    let locks = || fs::read_dir(daemon.repository().join("locks")).expect("it is there").count();
    wait::until("restic holds its lock", || Some(()).filter(|()| locks() > 0));
    restic
}

#[test]
fn forget_prune_and_repair_wait_for_somebody_elses_lock_and_say_whose_it_is() {
    let daemon = house();
    let mut restic = restic_at_work(&daemon);
    let newest =
        daemon.restic().snapshots().pop().expect("there is one")["id"].as_str().expect("it has one").to_owned();
    let wanted: [&[&str]; 3] = [&["forget", &newest], &["prune"], &["repair", "--yes"]];
    let job = |id: &str| daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0);
    let ids = wanted.map(|arguments| {
        let answer = daemon.ctl([arguments, &["--detach", "--json"]].concat()).expect(0).json();
        let id = answer[0]["job"].as_str().expect("it has an id").to_owned();
        wait::until("the job waits for the lock", || Some(job(&id)).filter(|job| job["verdict"]["kind"] == "retry"));
        let why = daemon.ctl(["why", &id]).expect(0).text();
        let holder = format!("(process {})", restic.id());
        assert!(why.contains(&holder) && why.contains("locked"), "{arguments:?}: {why}");
        id
    });
    assert!(
        daemon.restic().snapshots().iter().any(|snapshot| snapshot["id"] == newest.as_str()),
        "nothing is done beside it"
    );
    restic.stdin.take().expect("it is piped").write_all(b"contents").expect("restic reads them");
    assert!(restic.wait().expect("it ends").success());
    for id in ids {
        // It would by itself, a little later.
        daemon.ctl(["retry", &id]);
        wait::until("the job has ended", || Some(job(&id)).filter(|job| job["state"] == "succeeded"));
    }
    assert!(daemon.restic().snapshots().iter().all(|snapshot| snapshot["id"] != newest.as_str()));
    daemon.restic().check();
}
