//! What one step of the queue costs with a thousand jobs in it: `cargo bench --workspace --bench queue`.

use std::sync::Arc;
use std::time::Duration;

use backup_proto::message::Request;
use backup_proto::params::{JobSubmit, RequestId};
use backup_proto::spec::{BackupSpec, JobSpec};
use backupd::clock::Now;
use backupd::config::Config;
use backupd::inbox::{Caller, Event, Ticket};
use backupd::store::Contents;
use backupd::supervisor::{State, load, step};
use divan::Bencher;
use jiff::Timestamp;
use jiff::tz::TimeZone;

const NOW: Now = Now { wall: Timestamp::UNIX_EPOCH, boot: Duration::from_secs(1) };

fn main() {
    divan::main();
}

fn submit(number: u64) -> Event {
    let spec = BackupSpec { sources: vec!["/home".into()], ..BackupSpec::default() };
    let submit = JobSubmit {
        request_id: RequestId(number.to_string()),
        spec: JobSpec::Backup(spec),
        priority: None,
        now: false,
        reason: None,
    };
    let caller = Caller { uid: 0, pid: None };
    Event::Request { ticket: Ticket(number), caller, request: Box::new(Request::from(submit)) }
}

/// A state in which so many jobs wait.
fn waiting(jobs: u64) -> State {
    let (empty, _) = load(&Contents::new(), Arc::new(Config::default()), TimeZone::UTC, 0, NOW.wall);
    (0..jobs).fold(empty, |state, number| step(&state, submit(number), NOW).0)
}

/// One more job comes.
#[divan::bench(args = [0, 1000])]
fn submit_to(bencher: Bencher<'_, '_>, jobs: u64) {
    let state = waiting(jobs);
    bencher.with_inputs(|| submit(jobs)).bench_values(|event| step(&state, event, NOW));
}

/// A deadline passes and nothing changes.
#[divan::bench(args = [0, 1000])]
fn tick(bencher: Bencher<'_, '_>, jobs: u64) {
    let state = waiting(jobs);
    bencher.bench(|| step(&state, Event::Tick, NOW));
}
