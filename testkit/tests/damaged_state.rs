//! Each file of the state folder deleted, cut, flipped, replaced by a folder or closed: the daemon starts, says it where
//! it can know, and loses nothing but what was in that file alone.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backup_testkit::daemon::{Daemon, Options};

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Deleted,
    Cut,
    Flipped,
    Folder,
    Closed,
}

const HARMS: [Harm; 5] = [Harm::Deleted, Harm::Cut, Harm::Flipped, Harm::Folder, Harm::Closed];

impl Harm {
    fn is_done_to(self, path: &Path) {
        let mut bytes = fs::read(path).expect("it is there");
        let middle = bytes.len() / 2;
        match self {
            Self::Deleted => fs::remove_file(path).expect("it is there"),
            Self::Cut => fs::write(path, &bytes[..middle]).expect("it is written"),
            Self::Flipped => {
                // The lock file is empty.
                if let Some(byte) = bytes.get_mut(middle / 2) {
                    *byte ^= 1;
                }
                fs::write(path, bytes).expect("it is written");
            }
            Self::Folder => {
                fs::remove_file(path).expect("it is there");
                fs::create_dir(path).expect("it is made");
            }
            Self::Closed => fs::set_permissions(path, Permissions::from_mode(0o000)).expect("it is ours"),
        }
    }
}

/// A state with jobs in a checkpoint and jobs in the journal alone.
struct Sample {
    daemon: Daemon,
    /// Jobs that are in checkpoint and journal.
    older: BTreeSet<String>,
    /// Jobs that are in the last journal file alone.
    newer: BTreeSet<String>,
}

fn jobs(daemon: &Daemon) -> BTreeSet<String> {
    let text = daemon.ctl(["jobs", "--all"]).expect(0).text();
    let ids = text.lines().skip(1).filter_map(|line| line.split(' ').next()).map(str::to_owned);
    ids.filter(|id| !id.is_empty()).collect()
}

fn sample() -> Sample {
    let mut daemon = Daemon::start();
    let source = daemon.home().join("source");
    fs::create_dir(&source).expect("it is made");
    fs::write(source.join("a"), "hello").expect("it is written");
    let source = source.to_str().expect("text").to_owned();
    daemon.ctl(["backup", &source]).expect(0);
    daemon.ctl(["backup", "/no/such/folder"]).expect(1);
    daemon.stop();
    // A second stop, so that there are two checkpoints.
    daemon.launch();
    daemon.ctl(["pause"]).expect(0);
    daemon.ctl(["backup", &source, "--detach"]).expect(0);
    daemon.stop();
    daemon.launch();
    let older = jobs(&daemon);
    daemon.ctl(["backup", &source, "--detach"]).expect(0);
    daemon.ctl(["backup", &source, "--detach"]).expect(0);
    let newer: BTreeSet<String> = jobs(&daemon).difference(&older).cloned().collect();
    daemon.kill();
    assert_eq!((older.len(), newer.len()), (3, 2));
    // What a backup that was killed leaves.
    fs::create_dir_all(daemon.state().join("packs")).expect("it is made");
    fs::write(daemon.state().join("packs/j1.jsonl"), "00000000 {}\n").expect("it is written");
    Sample { daemon, older, newer }
}

/// Copies a folder with modes, and without the reserve and the repository, which need not be.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it is made");
    for entry in fs::read_dir(from).expect("it is listed") {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).expect("it is listed");
        if path.is_dir() && name != "repository" {
            copy(&path, &to.join(&name));
        } else if path.is_file() && name != "reserve" {
            fs::copy(&path, to.join(&name)).expect("it is copied");
        }
    }
}

/// Lists the files of the state that may be damaged.
fn files(state: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["", "queue", "queue/queue", "ledger", "packs"] {
        for entry in fs::read_dir(state.join(folder)).expect("it is there") {
            let path = entry.expect("it is listed").path();
            let name = path.strip_prefix(state).expect("it is inside").to_path_buf();
            files.extend(path.is_file().then_some(name));
        }
    }
    files.retain(|name| name != Path::new("queue/reserve"));
    files.sort();
    files
}

/// Tells whether damage of this kind in a file can be known from the file.
fn is_told(name: &str, harm: Harm) -> bool {
    match harm {
        // There is nothing in it.
        _ if name == "lock" => false,
        Harm::Deleted => name == "version" || name == "targets.json",
        Harm::Folder | Harm::Closed => !name.starts_with("queue/queue/"),
        Harm::Flipped => {
            name.contains("checkpoint")
                || name.contains("journal")
                || name.contains(".json") && !name.ends_with('l')
                || name == "version"
        }
        Harm::Cut => name.contains("checkpoint") || name.contains(".json") && !name.ends_with('l') || name == "version",
    }
}

fn check(sample: &Sample, name: &Path, harm: Harm) {
    let mut daemon = Daemon::prepare(Options::default());
    copy(&sample.daemon.state(), &daemon.state());
    let key = fs::read(daemon.password_file()).expect("the key is there");
    harm.is_done_to(&daemon.state().join(name));
    daemon.launch();
    let name = name.to_str().expect("text");
    let found = jobs(&daemon);
    let last_journal = name.contains("journal") && name == last_journal_of(&sample.daemon.state());
    let wanted: BTreeSet<String> = match last_journal {
        true => sample.older.clone(),
        false => sample.older.union(&sample.newer).cloned().collect(),
    };
    let lost: Vec<&String> = wanted.difference(&found).collect();
    assert!(lost.is_empty(), "{name} {harm:?}: {lost:?} are lost\n{}", daemon.log());
    let status = daemon.ctl(["status"]).expect(0).text();
    assert!(
        !is_told(name, harm) || status.contains("Please note"),
        "{name} {harm:?} is not said:\n{status}\n{}",
        daemon.log()
    );
    assert_eq!(fs::read(daemon.password_file()).expect("the key is there"), key, "{name} {harm:?}");
    // It is not only up, it works.
    let submitted = daemon.ctl(["backup", "/etc/hostname", "--detach"]).expect(0).text();
    let found = jobs(&daemon);
    assert!(found.contains(submitted.trim()), "{name} {harm:?}: {submitted} is not in {found:?}");
}

fn last_journal_of(state: &Path) -> String {
    let names = files(state).into_iter().filter_map(|name| name.to_str().map(str::to_owned));
    names.filter(|name| name.contains("journal")).max().expect("there is one")
}

#[test]
fn whichever_file_of_the_state_is_damaged_the_daemon_starts_and_loses_nothing_else() {
    let sample = sample();
    let files = files(&sample.daemon.state());
    let mut cases = 0;
    for name in &files {
        for harm in HARMS {
            check(&sample, name, harm);
            cases += 1;
        }
    }
    println!("damaged state: {cases} cases held, {} files", files.len());
    assert!(cases >= 50, "only {cases} cases: {files:?}");
}

#[test]
fn without_any_record_of_targets_a_missing_repository_is_not_made_anew() {
    let mut daemon = Daemon::start();
    fs::write(daemon.home().join("file"), "hello").expect("it is written");
    let source = daemon.home().join("file").to_str().expect("text").to_owned();
    daemon.ctl(["backup", &source]).expect(0);
    daemon.stop();
    for name in ["targets.json", "targets.copy.json"] {
        Harm::Cut.is_done_to(&daemon.state().join(name));
    }
    let away = daemon.home().join("away");
    fs::rename(daemon.repository(), &away).expect("it is moved");
    daemon.launch();
    daemon.ctl(["backup", &source]).expect(1);
    assert!(!daemon.repository().join("config").exists(), "a second repository was made");
    fs::rename(&away, daemon.repository()).expect("it is moved");
    daemon.ctl(["backup", &source]).expect(0);
    daemon.restic().check();
}
