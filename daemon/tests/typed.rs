//! Commands as people type them, through the real programs.

use std::fs;

use backup_testkit::daemon::Daemon;
use serde_json::Value;

/// Backs the home up; returns the lines of what happened, the summary as the last one.
fn backup_home(daemon: &Daemon) -> Vec<Value> {
    daemon.ctl(["backup".as_ref(), daemon.home().as_os_str(), "--json".as_ref()]).expect(0).json()
}

#[test]
fn a_home_with_the_default_target_in_it_is_backed_up_twice_without_the_target() {
    let daemon = Daemon::start();
    let data: Vec<u8> = (0..500_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(daemon.home().join("numbers"), &data).expect("it is written");
    // Its own things are there from the start, so the first run says it as well.
    backup_home(&daemon);
    let lines = backup_home(&daemon);
    let summary = lines.last().expect("there is a summary");
    assert_eq!((&summary["type"], &summary["failed_count"]), (&"summary".into(), &0.into()));
    let stored = summary["bytes_stored"].as_u64().expect("it is counted");
    assert!(stored < 64 * 1024, "only trees and a snapshot are new, not {stored} bytes");
    let is_said = |line: &&Value| {
        line["type"] == "notice" && line["sentence"].as_str().is_some_and(|text| text.contains("own files"))
    };
    assert_eq!(lines.iter().filter(is_said).count(), 1, "{lines:?}");
    let listed = daemon.ctl(["ls", "latest", "--json"]).expect(0).json().remove(0);
    let repository = daemon.repository();
    let paths = listed.as_array().expect("it is a list").iter().filter_map(|entry| entry["path"].as_str());
    let inside: Vec<&str> = paths.filter(|path| std::path::Path::new(path).starts_with(&repository)).collect();
    assert!(inside.is_empty(), "{inside:?}");
}

#[test]
fn a_restore_that_deletes_shows_what_and_does_it_when_it_is_typed_again() {
    let daemon = Daemon::start();
    let (source, restored) = (daemon.home().join("source"), daemon.home().join("restored"));
    fs::create_dir_all(&source).expect("it is made");
    fs::create_dir_all(&restored).expect("it is made");
    fs::write(source.join("a"), "hello").expect("it is written");
    fs::write(restored.join("extra"), "not in the snapshot").expect("it is written");
    daemon.ctl(["backup".as_ref(), source.as_os_str()]).expect(0);
    let what = format!("latest:{}", source.display());
    let restore = |flag: &[&str]| {
        let to = restored.to_string_lossy();
        daemon.ctl([&["restore", &what, "--to", &to, "--delete"], flag].concat())
    };
    let shown = restore(&[]).expect(2);
    assert!(shown.text().contains(&format!("would delete  {}", restored.join("extra").display())), "{}", shown.text());
    assert!(shown.complaint().contains("--yes"), "{}", shown.complaint());
    assert!(restored.join("extra").exists() && !restored.join("a").exists());
    restore(&[]).expect(0);
    assert!(!restored.join("extra").exists() && restored.join("a").exists());
    fs::write(restored.join("extra"), "again").expect("it is written");
    let other = restore(&["--overwrite", "always", "--yes"]).expect(0);
    assert!(other.text().contains("would delete"), "it is shown all the same: {}", other.text());
    assert!(!restored.join("extra").exists());
}
