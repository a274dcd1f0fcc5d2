//! The power fails while jobs are accepted: the disk with the state is copied as it is at that moment, and a daemon that
//! starts from the copy knows every job that was acknowledged.
//!
//! The disk is an ext4 on a loop device. Stopping the daemon and copying the image until nothing changes under the copy
//! gives a state that the disk was in, with all that the kernel had not written yet missing. That takes root and loop
//! devices, which not every machine gives its tests: `make soak` runs it, with the feature `soak`.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::seed::Seed;
use backup_testkit::{mount, wait};
use rustix::process::{Pid, Signal, kill_process};

/// How large the disk is, in bytes.
const DISK_BYTES: u64 = 96 << 20;

/// The longest time for which jobs are submitted before the power fails.
const RUN_MS_MAX: u64 = 500;

/// Makes a file that holds an empty file system.
fn make_disk(image: &Path) {
    File::create(image).and_then(|file| file.set_len(DISK_BYTES)).unwrap();
    let output = Command::new("mkfs.ext4").arg("-q").arg(image).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run mkfs.ext4, which is in e2fsprogs: {error}"));
    assert!(output.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&output.stderr));
}

/// Copies an image until it did not change while it was copied.
fn copy_still(image: &Path, copy: &Path) {
    wait::until("nothing is written to the disk", || {
        fs::copy(image, copy).unwrap();
        is_same(image, copy).then_some(())
    });
}

fn is_same(a: &Path, b: &Path) -> bool {
    let (mut a, mut b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let (mut of_a, mut of_b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let length = a.read(&mut of_a).unwrap();
        if length == 0 {
            return true;
        }
        b.read_exact(&mut of_b[..length]).unwrap();
        if of_a[..length] != of_b[..length] {
            return false;
        }
    }
}

/// Submits jobs until it is told to stop; each goes on the list when the daemon has acknowledged it.
fn submit_jobs(daemon: &Daemon, stop: &AtomicBool, acknowledged: &Mutex<Vec<String>>) {
    while !stop.load(Ordering::SeqCst) {
        let answer = daemon.ctl(["backup", "/etc/hostname", "--detach", "--json"]).expect(0).json();
        acknowledged.lock().unwrap().push(answer[0]["job"].as_str().unwrap().to_owned());
    }
}

fn signal(daemon: &Daemon, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Lets the power fail at a chosen moment; returns the jobs that had been acknowledged by then.
fn cut(daemon: &Daemon, after: Duration, image: &Path, copy: &Path, known: &Mutex<Vec<String>>) -> Vec<String> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| submit_jobs(daemon, &stop, known));
        wait::for_chosen(after);
        let acknowledged = known.lock().unwrap().clone();
        signal(daemon, Signal::STOP);
        copy_still(image, copy);
        stop.store(true, Ordering::SeqCst);
        signal(daemon, Signal::CONT);
        acknowledged
    })
}

/// Starts a daemon from a copy of the disk and returns the jobs that it knows.
fn jobs_on(copy: &Path) -> BTreeSet<String> {
    let mut daemon = Daemon::prepare(Options::default());
    fs::create_dir_all(daemon.state()).unwrap();
    mount::image(copy, &daemon.state());
    daemon.launch();
    let jobs = daemon.ctl(["jobs", "--all", "--json"]).expect(0).json();
    let ids = jobs[0].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    assert!(!daemon.log().contains("damaged"), "{}", daemon.log());
    daemon.kill();
    mount::unmount(&daemon.state());
    ids
}

#[test]
fn a_power_cut_of_the_disk_with_the_state_loses_no_acknowledged_job() {
    mount::run("a_power_cut_of_the_disk_with_the_state_loses_no_acknowledged_job", || {
        let mut random = Seed::of_test("backup-testkit", "a_power_cut_of_the_disk_with_the_state").random();
        let ground = tempfile::tempdir().unwrap();
        let (image, copy) = (ground.path().join("disk"), ground.path().join("copy"));
        make_disk(&image);
        let mut daemon = Daemon::prepare(Options::default());
        fs::create_dir_all(daemon.state()).unwrap();
        mount::image(&image, &daemon.state());
        daemon.launch();
        daemon.ctl(["pause", "--all"]).expect(0);
        let known = Mutex::default();
        let cuts = 40;
        for number in 0..cuts {
            // Each start of the daemon and of sled leaves other files behind.
            if random.below(3) == 0 {
                daemon.kill();
                daemon.launch();
            }
            let after = Duration::from_millis(random.below(RUN_MS_MAX));
            let acknowledged = cut(&daemon, after, &image, &copy, &known);
            let there = jobs_on(&copy);
            let lost: Vec<_> = acknowledged.iter().filter(|job| !there.contains(*job)).collect();
            assert!(lost.is_empty(), "cut {number} lost {lost:?} of {}", acknowledged.len());
        }
        println!("power cut of the disk: {cuts} cuts held, {} jobs acknowledged", known.lock().unwrap().len());
        daemon.kill();
        mount::unmount(&daemon.state());
    });
}
