//! A target that goes away under a real daemon: it is left alone, over a kill as well, and used when it is back.

use std::fs;
use std::path::PathBuf;

use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::wait;
use serde_json::Value;

/// Starts a daemon with a target beside the default one, and a plan that goes there.
fn with_target() -> (Daemon, PathBuf) {
    let mut daemon = Daemon::prepare(Options::default());
    let home = daemon.home().to_path_buf();
    let config = format!(
        "[target.usb]\nurl = \"{0}/usb\"\npassword-file = \"{0}/key\"\n[plan.docs]\nsources = [\"{0}/docs\"]\ntargets = [\"usb\"]\n",
        home.display()
    );
    fs::write(daemon.config(), config).expect("it is written");
    fs::write(home.join("key"), "secret\n").expect("it is written");
    fs::create_dir(home.join("docs")).and_then(|()| fs::write(home.join("docs/file"), "text")).expect("it is made");
    daemon.launch();
    daemon.ctl(["target", "init", "usb"]).expect(0);
    (daemon, home)
}

fn breaker(daemon: &Daemon) -> Value {
    let targets = daemon.ctl(["target", "list", "--json"]).expect(0).json().remove(0);
    let targets = targets.as_array().cloned().unwrap_or_else(|| vec![targets]);
    targets.into_iter().find(|target| target["name"] == "usb").expect("it is there")["breaker"].clone()
}

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0)
}

/// Lets a job fail until its target is left alone, without waiting for its own time.
fn fail_until_open(daemon: &Daemon, id: &str) {
    for attempt in 1..=3 {
        wait::until("the attempt to fail", || {
            let job = job(daemon, id);
            let last = job["attempts"].as_array()?.last()?.clone();
            (last["number"] == attempt && job["state"] == "queued").then_some(())
        });
        if attempt < 3 {
            daemon.ctl(["retry", id]).expect(0);
        }
    }
}

#[test]
fn a_target_that_is_gone_is_left_alone_over_a_kill_and_used_again_when_it_is_back() {
    let (mut daemon, home) = with_target();
    fs::rename(home.join("usb"), home.join("away")).expect("it is moved");
    let id = daemon.ctl(["backup", "docs", "--detach"]).expect(0).text().trim().to_owned();
    fail_until_open(&daemon, &id);
    let open = breaker(&daemon);
    assert_eq!((&open["state"], &open["failures"]), (&"open".into(), &3.into()), "{open}");
    assert!(open["reason"].as_str().is_some_and(|reason| reason.contains("is not at")), "{open}");
    // Another job does not even try.
    let other = daemon.ctl(["verify", "--target", "usb", "--detach"]).expect(0).text().trim().to_owned();
    let waits = job(&daemon, &other);
    assert_eq!((&waits["state"], &waits["verdict"]["kind"]), (&"queued".into(), &"breaker".into()), "{waits}");
    let why = daemon.ctl(["why", &other]).expect(0).text();
    assert!(why.contains("The target `usb` keeps failing"), "{why}");
    let shown = daemon.ctl(["status"]).expect(0).text();
    assert!(shown.contains("usb: left alone until"), "{shown}");

    daemon.kill();
    daemon.launch();
    let after = breaker(&daemon);
    assert_eq!((&after["history"], &after["failures"]), (&open["history"], &open["failures"]), "{after}");
    assert_eq!(job(&daemon, &other)["attempts"], serde_json::json!([]), "nobody has used it meanwhile");

    fs::rename(home.join("away"), home.join("usb")).expect("it is moved");
    daemon.ctl(["target", "reset", "usb"]).expect(0);
    for id in [&id, &other] {
        wait::until("the job to succeed", || (job(&daemon, id)["state"] == "succeeded").then_some(()));
    }
    let closed = breaker(&daemon);
    assert_eq!((&closed["state"], &closed["failures"]), (&"closed".into(), &0.into()), "{closed}");
}

#[test]
fn a_target_that_is_left_alone_by_hand_is_used_again_after_a_reset() {
    let (mut daemon, _) = with_target();
    daemon.ctl(["target", "force", "usb", "open"]).expect(0);
    daemon.kill();
    daemon.launch();
    let id = daemon.ctl(["backup", "docs", "--detach"]).expect(0).text().trim().to_owned();
    assert_eq!(job(&daemon, &id)["verdict"]["kind"], "breaker");
    let listed = daemon.ctl(["target", "list"]).expect(0).text();
    assert!(listed.contains("usb: left alone by hand; `backupctl target reset usb` ends that."), "{listed}");
    daemon.ctl(["target", "reset", "usb"]).expect(0);
    wait::until("the job to succeed", || (job(&daemon, &id)["state"] == "succeeded").then_some(()));
    daemon.ctl(["target", "reset", "nowhere"]).expect(1);
}
