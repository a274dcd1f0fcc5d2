//! `copy` and `target init --copy-chunker-params`, with the real programs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use backup_testkit::daemon::{self, Daemon};
use backup_testkit::restic::Restic;

const CONFIG: &str = "[target.usb]\nurl = \"~/usb\"\npassword-file = \"key\"\n";

#[test]
fn snapshots_are_copied_to_another_target_that_cuts_alike_and_not_twice() {
    let options = daemon::Options { config: Some(CONFIG.to_owned()), ..daemon::Options::default() };
    let daemon = Daemon::start_with(options);
    let key = daemon.config().with_file_name("key");
    fs::write(&key, "secret\n").expect("it is written");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
    let source = daemon.home().join("source");
    fs::create_dir(&source).expect("it is made");
    let back_up = |text: &str| {
        fs::write(source.join("file"), text).expect("it is written");
        daemon.ctl(["backup", source.to_str().expect("it is text"), "--tag", text]).expect(0);
    };
    back_up("first");
    daemon.ctl(["target", "init", "usb", "--copy-chunker-params", "local"]).expect(0);
    back_up("second");
    let one = daemon.ctl(["copy", "latest", "--from", "local", "--to", "usb", "--json"]).expect(0).json();
    let summary = one.last().expect("the summary is last");
    assert_eq!(summary["copy"], serde_json::json!({"snapshots": 1, "there": 0}), "{summary}");
    let rest = daemon.ctl(["copy", "--from", "local", "--to", "usb"]).expect(0).text();
    assert!(rest.contains("Copied to usb: 1 snapshot,") && rest.contains("1 were there already"), "{rest}");
    let usb = Restic::new(&daemon.home().join("usb"), &key);
    usb.check();
    let tags: Vec<String> = usb.snapshots().iter().map(|snapshot| snapshot["tags"][0].to_string()).collect();
    assert_eq!(tags, ["\"first\"", "\"second\""]);
    let itself = daemon.ctl(["copy", "--from", "usb", "--to", "usb"]).expect(1).complaint();
    assert!(itself.contains("not copied to itself"), "{itself}");
    let unknown = daemon.ctl(["copy", "abcd", "--from", "local", "--to", "usb"]).expect(1).text();
    assert!(unknown.contains("no snapshot `abcd` in local"), "{unknown}");
}
