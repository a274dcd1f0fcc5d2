//! What bad things get: each row of the table in `docs/operations.md`, done to the real programs.
//!
//! A sentence that is expected here must stand in that table as well, with `HOME` for the folder of the test.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use backup_testkit::answer::Answer;
use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::{programs, unprivileged, wait};

/// Checks that something was said, and that the table says so too.
#[track_caller]
fn said(daemon: &Daemon, text: &str, sentence: &str) {
    let text = text.replace(&*daemon.home().to_string_lossy(), "HOME");
    assert!(text.contains(sentence), "this is missing: {sentence}\nin:\n{text}");
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md"));
    assert!(table.expect("the table is there").contains(sentence), "docs/operations.md lacks: {sentence}");
}

/// Checks what a command said and how it ended.
#[track_caller]
fn refused(daemon: &Daemon, answer: Answer, code: i32, sentences: &[&str]) {
    let answer = answer.expect(code);
    for sentence in sentences {
        said(daemon, &format!("{}{}", answer.text(), answer.complaint()), sentence);
    }
}

/// Runs a `backupd` that is expected to end by itself.
fn run_backupd(daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = daemon.command(&programs::backupd());
    command.args(arguments).stdin(Stdio::null()).output().expect("backupd starts")
}

/// Starts a daemon with one backup of a small folder in its default target.
fn with_one_backup(options: Options) -> Daemon {
    let daemon = Daemon::start_with(options);
    let source = daemon.home().join("source");
    fs::create_dir(&source).expect("it is made");
    fs::write(source.join("a"), "hello").expect("it is written");
    open_to_all(&source);
    backup(&daemon).expect(0);
    daemon
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("it is ours");
}

fn backup(daemon: &Daemon) -> Answer {
    daemon.ctl(["backup".as_ref(), daemon.home().join("source").as_os_str()])
}

/// Checks that restic finds this many snapshots, and nothing wrong.
fn holds(daemon: &Daemon, snapshots: usize) {
    daemon.restic().check();
    assert_eq!(daemon.restic().snapshots().len(), snapshots);
}

#[test]
fn a_wrong_password_is_said_and_the_right_one_opens_again() {
    let daemon = with_one_backup(Options::default());
    let right = fs::read(daemon.password_file()).expect("it is there");
    fs::write(daemon.password_file(), "wrong\n").expect("it is written");
    let sentences = [
        "wrong password for the repository at HOME/state/backupd/repository",
        "Correct the target's password file or command; nothing was changed.",
    ];
    refused(&daemon, backup(&daemon), 1, &sentences);
    refused(&daemon, daemon.ctl(["snapshots"]), 1, &sentences);
    fs::write(daemon.password_file(), right).expect("it is written");
    backup(&daemon).expect(0);
    holds(&daemon, 2);
}

#[test]
fn a_repository_that_is_missing_is_absent_and_never_made_anew() {
    let daemon = with_one_backup(Options::default());
    let away = daemon.home().join("away");
    fs::rename(daemon.repository(), &away).expect("it is moved");
    let sentences = [
        "the repository of target `local` is not at HOME/state/backupd/repository now",
        "Connect the drive or restore the folder; a missing repository is never made anew by itself.",
    ];
    refused(&daemon, daemon.ctl(["snapshots"]), 1, &sentences);
    assert!(!daemon.repository().exists());
    fs::rename(&away, daemon.repository()).expect("it is moved");
    backup(&daemon).expect(0);
    holds(&daemon, 2);
}

#[test]
fn a_typo_in_the_config_of_a_running_daemon_is_said_by_the_status() {
    let daemon = Daemon::start();
    fs::write(daemon.config(), "[plan.docs]\nsources = [\"~/source\"]\nexlude = [\"*.tmp\"]\n").expect("it is written");
    let sentences = ["The config has a mistake; the one before stays in force.", "Did you mean `exclude`?"];
    refused(&daemon, daemon.ctl(["status"]), 0, &sentences);
}

#[test]
fn a_configured_target_without_a_repository_says_how_to_make_one() {
    let config = "[target.nas]\nurl = \"~/nas\"\npassword-file = \"nas.key\"\n".to_owned();
    let daemon = Daemon::start_with(Options { config: Some(config), ..Options::default() });
    let key = daemon.config().with_file_name("nas.key");
    fs::write(&key, "secret\n").expect("it is written");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
    let sentences = [
        "the target `nas` has no repository at HOME/nas yet",
        "Connect the drive if it should be there, or make it with `backupctl target init nas`.",
    ];
    refused(&daemon, daemon.ctl(["target", "check", "nas"]), 1, &sentences);
    daemon.ctl(["target", "init", "nas"]).expect(0);
    daemon.ctl(["target", "check", "nas"]).expect(0);
}

#[test]
fn a_repository_without_its_config_is_damaged_and_kept() {
    let daemon = with_one_backup(Options::default());
    daemon.ctl(["target", "check", "local"]).expect(0);
    let config = "[target.half]\nurl = \"~/state/backupd/repository\"\npassword-file = \"nas.key\"\n";
    fs::write(daemon.config(), config).expect("it is written");
    fs::write(daemon.config().with_file_name("nas.key"), "secret\n").expect("it is written");
    let kept = daemon.home().join("kept");
    fs::rename(daemon.repository().join("config"), &kept).expect("it is moved");
    let sentences = ["the repository at HOME/state/backupd/repository is damaged: its config file is missing"];
    refused(&daemon, daemon.ctl(["target", "check", "half"]), 1, &sentences);
    fs::rename(&kept, daemon.repository().join("config")).expect("it is moved");
    holds(&daemon, 1);
}

#[test]
fn a_repository_of_an_unknown_version_is_refused_in_words() {
    let daemon = Daemon::prepare(Options::default());
    let text = format!(r#"{{"version":9,"id":"{}","chunker_polynomial":"3da3358b4dc173"}}"#, "0".repeat(64));
    let config = backup_engine::config::Config::decode(text.as_bytes()).expect("it is well-formed");
    let error = config.check("HOME/nas").expect_err("the version is not known");
    said(&daemon, &error.to_string(), "the repository at HOME/nas cannot be used: its format is version 9, not 1 or 2");
    said(&daemon, error.advice(), "Use a version of this program that knows this repository's format.");
}

#[test]
fn a_target_that_may_not_be_written_fails_and_is_used_again_when_it_may() {
    let daemon = with_one_backup(Options { unprivileged: true, ..Options::default() });
    let locks = daemon.repository().join("locks");
    fs::set_permissions(&locks, Permissions::from_mode(0o500)).expect("it is ours");
    let sentences = [
        "cannot create HOME/data/backupd/repository/locks/",
        "permission denied",
        "Give the daemon's user access to it, or exclude it.",
    ];
    refused(&daemon, backup(&daemon), 1, &sentences);
    daemon.ctl(["snapshots"]).expect(0);
    fs::set_permissions(&locks, Permissions::from_mode(0o700)).expect("it is ours");
    backup(&daemon).expect(0);
}

#[test]
fn a_second_daemon_on_the_same_state_or_socket_is_refused_and_the_first_goes_on() {
    let daemon = Daemon::start();
    let advice = "Stop that one first, or give this one its own --state-dir and --socket.";
    let other = daemon.home().join("other").to_string_lossy().into_owned();
    for (arguments, sentence) in [
        (vec!["--socket", &*other], "backupd: another backupd already uses HOME/state/backupd"),
        (vec!["--state-dir", &*other], "backupd: another backupd already uses HOME/s\n"),
    ] {
        let output = run_backupd(&daemon, &arguments);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        said(&daemon, &text, sentence.trim_end());
        assert!(text.replace(&*daemon.home().to_string_lossy(), "HOME").contains(sentence), "{text}");
        said(&daemon, &text, advice);
        daemon.ctl(["status"]).expect(0);
    }
}

#[test]
fn a_stale_socket_is_replaced() {
    let mut daemon = Daemon::start();
    daemon.kill();
    assert!(daemon.socket().exists(), "a killed daemon leaves its socket");
    daemon.launch();
    daemon.ctl(["status"]).expect(0);
}

#[test]
fn a_typo_in_the_config_is_refused_with_line_and_suggestion() {
    let config = "[plan.docs]\nsources = [\"~/docs\"]\nexlude = [\"*.tmp\"]\n".to_owned();
    let daemon = Daemon::prepare(Options { config: Some(config), ..Options::default() });
    let sentence = "HOME/config/backupd/config.toml:3: `exlude` is not known in [plan.docs]. Did you mean `exclude`?";
    for arguments in [&[][..], &["--check-config"]] {
        let output = run_backupd(&daemon, arguments);
        assert_eq!(output.status.code(), Some(2));
        said(&daemon, &String::from_utf8_lossy(&output.stderr), sentence);
    }
}

#[test]
fn a_state_folder_that_cannot_be_written_stops_the_daemon_at_once() {
    let daemon = Daemon::prepare(Options { unprivileged: true, ..Options::default() });
    fs::create_dir(daemon.state()).expect("it is made");
    fs::set_permissions(daemon.state(), Permissions::from_mode(0o555)).expect("it is ours");
    let output = run_backupd(&daemon, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    said(&daemon, &text, "backupd: cannot open HOME/state/backupd/lock: permission denied");
}

#[test]
fn without_a_daemon_the_command_says_where_it_looked_and_how_to_start_one() {
    let daemon = Daemon::prepare(Options::default());
    let sentences = [
        "backupctl: no daemon answers at HOME/s",
        "Start the daemon with `backupd`, or as a service with `systemctl --user start backupd`.",
    ];
    refused(&daemon, daemon.ctl(["status"]), 4, &sentences);
}

#[test]
fn a_target_that_vanishes_in_the_middle_fails_the_attempt_and_nothing_that_was_safe_is_lost() {
    let daemon = with_one_backup(Options::default());
    let big = daemon.home().join("source/big");
    let mut random = backup_testkit::seed::Seed::of_test("backupd", "vanishes").random();
    fs::write(&big, random.bytes(200 << 20)).expect("it is written");
    let source = daemon.home().join("source");
    let job = daemon.ctl(["backup".as_ref(), "--detach".as_ref(), "--json".as_ref(), source.as_os_str()]).expect(0);
    let id = job.json()[0]["job"].as_str().expect("the job's id was printed").to_owned();
    wait::until("the job has stored something or ended", || {
        let job = daemon.ctl(["job", &id, "--json"]).json().remove(0);
        (job["progress"]["bytes_stored"].as_u64().unwrap_or(0) > 0
            || job["state"] != "queued" && job["state"] != "running")
            .then_some(())
    });
    let away = daemon.home().join("away");
    fs::rename(daemon.repository(), &away).expect("it is moved");
    let after = wait::until("the attempt is over", || {
        let job = daemon.ctl(["job", &id, "--json"]).json().remove(0);
        (job["state"] != "running").then_some(job)
    });
    assert_eq!(after["state"], "queued", "{after}");
    let error = &after["error"];
    assert_eq!((&error["kind"], &error["class"]), (&"target_absent".into(), &"transient".into()), "{after}");
    fs::remove_dir_all(daemon.repository()).ok();
    fs::rename(&away, daemon.repository()).expect("it is moved");
    wait::until("the job has gone on by itself and succeeded", || {
        (daemon.ctl(["job", &id, "--json"]).json().remove(0)["state"] == "succeeded").then_some(())
    });
    holds(&daemon, 2);
}

#[test]
fn a_target_that_is_full_fails_with_its_class_and_the_daemon_goes_on() {
    let daemon = Daemon::prepare(Options::default());
    fs::create_dir_all(daemon.repository()).expect("it is made");
    fs::create_dir(daemon.home().join("source")).expect("it is made");
    let mut random = backup_testkit::seed::Seed::of_test("backupd", "full").random();
    fs::write(daemon.home().join("source/big"), random.bytes(40 << 20)).expect("it is written");
    // A mount namespace of its own: the small file system goes away with the daemon.
    let inner = daemon.command(&programs::backupd());
    let mut command = Command::new("unshare");
    if !unprivileged::is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = "mount -t tmpfs -o size=24m none \"$1\" && exec \"$2\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(daemon.repository()).arg(inner.get_program());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child =
        command.current_dir(daemon.home()).stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let ended = wait::until("the daemon answers or ends", || {
        let ended = child.try_wait().ok().flatten();
        let answers = std::os::unix::net::UnixStream::connect(daemon.socket()).is_ok();
        if ended.is_some() || answers { Some(ended) } else { None }
    });
    assert!(ended.is_none(), "unshare and mount must be allowed for this test: {ended:?}");
    let answer = backup(&daemon);
    let status = daemon.ctl(["status"]);
    let _ = child.kill();
    let _ = child.wait();
    refused(&daemon, answer, 1, &["no space left on device", "Free some space on the device, then retry."]);
    status.expect(0);
}
