//! `backup --changed`, with the real programs: only what was named is looked at, and nothing is lost by it.

use std::fs;
use std::path::{Path, PathBuf};

use backup_testkit::daemon::Daemon;
use backup_testkit::{mount, wait};
use serde_json::Value;

fn backup(daemon: &Daemon, source: &Path, changed: &[&Path]) -> Value {
    let mut arguments = vec!["backup".to_owned(), source.display().to_string(), "--json".to_owned()];
    arguments.extend(changed.iter().flat_map(|path| ["--changed".to_owned(), path.display().to_string()]));
    daemon.ctl(&arguments).expect(0).json().pop().expect("the summary is last")
}

fn plant(home: &Path) -> PathBuf {
    let source = home.join("source");
    for folder in ["told", "untold"] {
        fs::create_dir_all(source.join(folder)).expect("it is made");
        fs::write(source.join(folder).join("file"), "old").expect("it is written");
    }
    // What was touched in the last seconds before a backup is looked at again by the next one, whatever is said.
    wait::until("the files are not new any more", || {
        let made = fs::metadata(&source).and_then(|found| found.modified()).expect("it is there");
        made.elapsed().ok().filter(|age| age.as_secs() >= 4)
    });
    source
}

fn stored(daemon: &Daemon, source: &Path, name: &str) -> String {
    let item = format!("latest:{}", source.join(name).display());
    daemon.ctl(["cat", &item]).expect(0).text()
}

fn is_marked(daemon: &Daemon) -> bool {
    let snapshots = daemon.restic().snapshots();
    snapshots.last().expect("there is one")["tags"].to_string().contains("backupd:hinted")
}

#[test]
fn only_what_was_named_is_looked_at_and_all_is_after_a_doubt() {
    let daemon = Daemon::start();
    let source = plant(daemon.home());
    let write = |name: &str, text: &str| fs::write(source.join(name), text).expect("it is written");
    let told = source.join("told");

    let first = backup(&daemon, &source, &[&told]);
    assert_eq!(first["hints"]["used"], false, "there is nothing that the word could count from: {first}");

    write("told/file", "new");
    write("untold/file", "missed");
    let hinted = backup(&daemon, &source, &[&told]);
    assert_eq!((&hinted["hints"]["used"], &hinted["files"]), (&true.into(), &2.into()), "{hinted}");
    assert_eq!(
        (stored(&daemon, &source, "told/file"), stored(&daemon, &source, "untold/file")),
        ("new".into(), "old".into())
    );
    assert!(is_marked(&daemon), "a snapshot says that not everything was looked at");

    let elsewhere = backup(&daemon, &source, &[&told, daemon.home()]);
    assert_eq!(elsewhere["hints"]["used"], true, "what is above the source names all of it");
    assert_eq!(stored(&daemon, &source, "untold/file"), "missed");

    write("untold/file", "again");
    let outside = backup(&daemon, &source, &[&told, Path::new("/nowhere/else")]);
    assert_eq!(outside["hints"], serde_json::json!({"used": false, "folders_missed": 0}), "{outside}");
    assert_eq!(stored(&daemon, &source, "untold/file"), "again");
    assert!(!is_marked(&daemon));

    let nothing = daemon.home().join("nothing");
    fs::write(&nothing, "").expect("it is written");
    let source_text = source.display().to_string();
    let none =
        daemon.ctl(["backup", &source_text, "--changed-from", nothing.to_str().expect("it is text")]).expect(0).text();
    assert!(none.contains("Only what was said to have changed was looked at."), "{none}");
    daemon.restic().check();
}

/// What is named counts from the last job of the plan; the record that fits its settings may be an older one.
#[test]
fn what_changed_while_a_plan_had_other_excludes_is_found_when_it_has_the_old_ones_again() {
    let daemon = Daemon::start();
    let source = plant(daemon.home());
    let write = |name: &str, text: &str| fs::write(source.join(name), text).expect("it is written");
    let back_up_without = |excluded: &str| {
        let config = format!("[plan.docs]\nsources = [\"~/source\"]\nexclude = [\"{excluded}\"]\n");
        fs::write(daemon.config(), config).expect("the config is written");
        let told = source.join("told").display().to_string();
        daemon.ctl(["backup", "docs", "--changed", &told, "--json"]).expect(0).json().pop().expect("a summary")
    };
    back_up_without("*.tmp");
    write("untold/file", "named to the backup with other excludes");
    let other = back_up_without("*.bak");
    assert_eq!(other["hints"]["used"], false, "it has no record yet: {other}");
    let back = back_up_without("*.tmp");
    assert_eq!(back["hints"], serde_json::json!({"used": false, "folders_missed": 0}), "{back}");
    assert_eq!(stored(&daemon, &source, "untold/file"), "named to the backup with other excludes");
    let next = back_up_without("*.tmp");
    assert_eq!(next["hints"]["used"], true, "{next}");
}

#[test]
fn a_folder_that_changed_although_nobody_said_so_is_counted_and_said_when_everything_is_looked_at() {
    mount::run(
        "a_folder_that_changed_although_nobody_said_so_is_counted_and_said_when_everything_is_looked_at",
        || {
            let daemon = Daemon::start();
            let source = plant(daemon.home());
            let told = source.join("told");
            backup(&daemon, &source, &[&told]);
            fs::write(source.join("untold/file"), "missed").expect("it is written");
            assert_eq!(
                backup(&daemon, &source, &[&told])["hints"],
                serde_json::json!({"used": true, "folders_missed": 0})
            );
            // A disk that was mounted meanwhile is a reason to look at everything.
            mount::tmpfs(&told, 1 << 20);
            let arguments =
                ["backup", source.to_str().expect("it is text"), "--changed", told.to_str().expect("it is text")];
            let answer = daemon.ctl(arguments).expect(0);
            let said = answer.text();
            assert!(said.contains("Everything was looked at. Changed although nobody said so: 1 folder."), "{said}");
            let id = said.split_whitespace().nth(1).expect("it names the job").to_owned();
            let job = daemon.ctl(["job", &id, "--json"]).expect(0).json().remove(0);
            assert_eq!(job["summary"]["hints"], serde_json::json!({"used": false, "folders_missed": 1}), "{job}");
            let notices = job["notices"].to_string();
            assert!(notices.contains("untold, had not been announced"), "{notices}");
            assert_eq!(stored(&daemon, &source, "untold/file"), "missed");
        },
    );
}
