//! What a call over the socket costs: `cargo bench --workspace --bench ipc`, with the real daemon.
#![expect(clippy::unwrap_used, reason = "a helper of a bench fails the bench")]

use std::os::unix::net::UnixStream;

use backup_testkit::caller::Caller;
use backup_testkit::daemon::Daemon;
use divan::Bencher;
use serde_json::json;

fn main() {
    divan::main();
}

/// One question on a connection that is there.
#[divan::bench]
fn status(bencher: Bencher<'_, '_>) {
    let daemon = Daemon::start();
    let mut caller = Caller::hello(&daemon.socket());
    bencher.bench_local(|| caller.call("daemon.status", json!({})));
}

/// A connection, its greeting, and its end.
#[divan::bench]
fn connect(bencher: Bencher<'_, '_>) {
    let daemon = Daemon::start();
    bencher.bench_local(|| Caller::hello(&daemon.socket()));
}

/// A connection that says nothing.
#[divan::bench]
fn knock(bencher: Bencher<'_, '_>) {
    let daemon = Daemon::start();
    bencher.bench_local(|| UnixStream::connect(daemon.socket()).unwrap());
}
