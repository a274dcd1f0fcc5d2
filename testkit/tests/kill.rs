//! A daemon that is killed again and again while it backs up: no accepted job is lost, and every snapshot is whole.

use std::path::Path;

use backup_testkit::compare::{Options, compare};
use backup_testkit::daemon::Daemon;
use backup_testkit::seed::{Seed, rounds};
use backup_testkit::tree::Tree;
use backup_testkit::wait;

/// How many times the daemon is killed during one backup at most.
const KILLS_MAX: u64 = 4;

/// Counts the packs that are in the repository.
fn packs(repository: &Path) -> u64 {
    let folders = std::fs::read_dir(repository.join("data")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files.filter(|file| file.file_name().len() == 64).count() as u64
}

/// Returns the state of a job if it has ended.
fn final_state(daemon: &Daemon, job: &str) -> Option<String> {
    let answer = daemon.ctl(["job", job, "--json"]).expect(0).json();
    let state = answer[0]["state"].as_str().unwrap_or_else(|| panic!("no state in {answer:?}")).to_owned();
    ["succeeded", "partial", "failed", "cancelled"].contains(&state.as_str()).then_some(state)
}

#[test]
fn killed_at_any_number_of_packs_the_job_is_done_in_the_end() {
    let mut random = Seed::of_test("backup-testkit", "killed_at_any_number_of_packs").random();
    for _ in 0..rounds(1, 50) {
        let ground = tempfile::tempdir().expect("a temporary folder");
        let mut tree = Tree::plain(ground.path().join("tree"), Seed(random.next_u64()));
        for number in 0..8 {
            tree.random_file(format!("large {number}"), 17_000_000);
        }
        let source = tree.root().to_str().expect("text");
        let mut daemon = Daemon::start();
        // The detached form prints the id of the job that was accepted: from here on it must not be lost.
        let answer = daemon.ctl(["backup", source, "--detach", "--json"]).expect(0).json();
        let job = answer[0]["job"].as_str().unwrap_or_else(|| panic!("no id in {answer:?}")).to_owned();
        for _ in 0..random.below(KILLS_MAX) + 1 {
            let enough = packs(&daemon.repository()) + random.below(3);
            let ended = wait::until("there are more packs or the job has ended", || {
                let there = packs(&daemon.repository()) >= enough;
                final_state(&daemon, &job).map(|_| true).or(there.then_some(false))
            });
            daemon.kill();
            daemon.launch();
            if ended {
                break;
            }
        }
        let state = wait::until("the job has ended", || final_state(&daemon, &job));
        assert_eq!(state, "succeeded", "{}", daemon.log());
        let to = ground.path().join("restored");
        daemon.ctl(["restore", "latest", "--to", to.to_str().expect("text")]).expect(0);
        let copy = to.join(source.trim_start_matches('/'));
        compare(tree.root(), &copy, &Options::default()).assert_equal();
        daemon.restic().check();
    }
}
