//! Hostile clients by the hundred while a backup runs: the daemon still answers, stays small, and the backup is right.
#![cfg(target_os = "linux")]

mod attack;

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use attack::{Attack, Held, Tally, Target};
use backup_testkit::caller::{Caller, kind};
use backup_testkit::compare::{Options, compare};
use backup_testkit::daemon::Daemon;
use backup_testkit::seed::{Seed, rounds};
use backup_testkit::tree::Tree;
use backup_testkit::wait;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

/// What the daemon may have in memory at its worst whoever calls: a backup's own part, and what all clients share.
const MEMORY_SHARED: u64 = 256 * 1024 * 1024;

/// What each client may add to that.
const MEMORY_EACH: u64 = 256 * 1024;

/// A long hole in a file: seconds of reading for a backup, and nothing on the disk.
const HOLE: u64 = 3 << 30;

/// Returns the most memory the daemon has had so far.
fn peak_memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system counts");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("it is a number of kB");
    kib * 1024
}

/// Counts a client that has ended, also one that found a mistake.
struct CountOnDrop<'c>(&'c AtomicUsize);

impl Drop for CountOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn source(home: &Path, seed: Seed) -> std::path::PathBuf {
    let mut tree = Tree::new(home.join("source"), seed);
    for number in 0..200 {
        tree.random_file(format!("folder {}/file {number}", number % 10), 50_000);
    }
    tree.random_file("large", 20_000_000);
    let hole = tree.file("hole", b"");
    fs::File::options().write(true).open(&hole).and_then(|file| file.set_len(HOLE)).expect("it is made");
    tree.root().to_path_buf()
}

fn polite(socket: &Path) -> Caller {
    Caller::admitted(socket).0
}

/// Asks for the status until the attack is over; returns how often it was answered, and how often a job ran then.
fn watch(caller: &mut Caller, is_over: impl Fn() -> bool) -> (usize, usize) {
    let (mut answers, mut running) = (0, 0);
    while !is_over() || answers == 0 {
        let status = caller.call("daemon.status", json!({}));
        assert!(status["result"]["pid"].is_u64(), "{status}");
        answers += 1;
        running += usize::from(status["result"]["counts"]["running"] != 0);
    }
    (answers, running)
}

fn submit(socket: &Path, source: &Path) -> Value {
    let mut caller = polite(socket);
    let spec = json!({"kind": "backup", "sources": [source]});
    let answer = caller.call("job.submit", json!({"request_id": "the backup", "spec": spec}));
    answer["result"]["jobs"][0].clone()
}

fn wait_for_end(socket: &Path, job: &Value) -> Value {
    let mut caller = polite(socket);
    wait::until("the backup to end", || {
        let answer = caller.call("job.get", json!({"job": job}));
        answer["result"]["summary"].is_object().then(|| answer["result"].clone())
    })
}

/// Lets all clients attack at once; returns what they sent and heard, the connections they keep, and what a polite
/// client heard meanwhile.
fn attack(target: &Target, clients: usize, seed: Seed) -> (Tally, Vec<Held>, (usize, usize)) {
    let (ended, start) = (AtomicUsize::new(0), Barrier::new(clients + 1));
    std::thread::scope(|scope| {
        let begin = |number: usize| {
            let (attack, start, ended) = (Attack::of(number, seed), &start, &ended);
            let body = move || {
                start.wait();
                let _ended = CountOnDrop(ended);
                attack.run(target)
            };
            std::thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, body).expect("a thread starts")
        };
        let attackers: Vec<_> = (0..clients).map(begin).collect();
        let mut caller = polite(&target.socket);
        start.wait();
        let heard = watch(&mut caller, || ended.load(Ordering::SeqCst) == clients);
        let (mut all, mut held) = (Tally::default(), Vec::new());
        for attacker in attackers {
            let (tally, connections) = attacker.join().expect("no client was treated wrongly");
            all.add(&tally);
            held.extend(connections);
        }
        (all, held, heard)
    })
}

#[test]
fn hundreds_of_hostile_clients_neither_stop_nor_swell_the_daemon_nor_spoil_a_backup() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a soft limit may be raised");
    let seed = Seed::of_test("backupd", "hundreds_of_hostile_clients");
    let clients = usize::try_from(rounds(200, 1_000)).expect("it is a small number");
    let daemon = Daemon::start();
    let (socket, source) = (daemon.socket(), source(daemon.home(), seed));
    let job = submit(&socket, &source);
    let target = Target { socket: socket.clone(), request_id: "the backup".to_owned(), source: source.clone() };
    let (tally, held, (answers, running)) = attack(&target, clients, seed);
    // Those who hang on are still there: the daemon answers beside them, and the backup ends.
    let end = wait_for_end(&socket, &job);
    let peak = peak_memory(&daemon);
    eprintln!(
        "{clients} clients from seed {seed} held: {tally}; {} connections kept; {answers} statuses answered meanwhile, {running} \
         of them while a job ran; at most {} MiB of memory",
        held.len(),
        peak >> 20
    );
    assert!(running > 0, "the attack fell into the backup");
    let allowed = MEMORY_SHARED + MEMORY_EACH * clients as u64;
    assert!(peak <= allowed, "{peak} bytes of memory; {allowed} are allowed");
    assert_eq!(end["state"], "succeeded", "{end}");
    drop(held);
    check(&daemon, &source);
}

/// Everything is as if nobody had attacked: the snapshot is the source, and no other job was made.
fn check(daemon: &Daemon, source: &Path) {
    let restic = daemon.restic();
    restic.check();
    let restored = daemon.home().join("restored");
    // restic would write the hole out in full; its contents are checked above.
    let arguments =
        ["restore".as_ref(), "latest".as_ref(), "--exclude=hole".as_ref(), "--target".as_ref(), restored.as_os_str()];
    restic.run(arguments);
    let inside = restored.join(source.strip_prefix("/").expect("it is a full path"));
    compare(source, &inside, &Options { except: [source.join("hole")].into(), ..Options::default() }).assert_equal();
    let mut caller = polite(&daemon.socket());
    let jobs = caller.call("job.list", json!({"all": true}));
    assert_eq!(jobs["result"]["items"].as_array().map(Vec::len), Some(1), "{jobs}");
    let status = caller.call("daemon.status", json!({}));
    assert!(status["result"]["paused"].is_null(), "{status}");
}

#[test]
fn a_bulk_token_works_once_and_cannot_be_guessed() {
    let daemon = Daemon::start();
    let (socket, source) = (daemon.socket(), daemon.home().join("file"));
    fs::write(&source, "contents").expect("it is written");
    let job = submit(&socket, &source);
    let end = wait_for_end(&socket, &job);
    let mut caller = polite(&socket);
    let query = json!({"query": {"snapshot": end["summary"]["snapshot"]}, "file": source});
    let token = caller.call("snapshot.cat", query)["result"]["token"].clone();
    for guess in ["", "0", &"0".repeat(32), &"x".repeat(100_000)] {
        let answer = polite(&socket).call("bulk.open", json!({"token": guess}));
        assert_eq!(kind(&answer), "token_invalid");
    }
    let mut carrier = polite(&socket);
    assert_eq!(kind(&carrier.call("bulk.open", json!({"token": token}))), "no error");
    let mut frames = Vec::new();
    std::io::Read::read_to_end(&mut carrier.lines, &mut frames).expect("it ends in order");
    assert_eq!(&frames[..13], b"\0\0\0\0\x08contents");
    assert_eq!(frames[13], 1, "the end frame");
    assert_eq!(kind(&caller.call("bulk.open", json!({"token": token}))), "token_invalid");
}
