//! How much a request may make the daemon remember: a job is kept, copied and shown long after its line was read.

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::params::JobSubmit;
use backup_proto::path::WirePath;
use backup_proto::spec::{JobSpec, RestoreItem};

use super::State;
use super::state::json;

/// Bytes of a specification at most, as JSON; it fits into a line with the rest of a `job.get`.
pub(super) const SPEC_BYTES_MAX: usize = 256 * 1024;

/// Bytes up to which a specification is small: as many jobs as there can be may have one.
const SPEC_BYTES_SMALL: usize = 4 * 1024;

/// Bytes of the specifications of all jobs from which on only small ones are taken.
const ALL_SPECS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of a reason at most; a hundred of them are in a status.
pub(super) const REASON_BYTES_MAX: usize = 1024;

/// Refuses what would make the daemon remember too much.
pub(super) fn check(state: &State, params: &JobSubmit) -> Result<(), RpcError> {
    if params.reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(too_large(format!("a reason may have {REASON_BYTES_MAX} bytes"), "Say it in fewer words."));
    }
    let bytes = json(&params.spec).len();
    if bytes > SPEC_BYTES_MAX {
        let message = format!("a job's specification may have {SPEC_BYTES_MAX} bytes, and this one has {bytes}");
        return Err(too_large(message, "Name folders instead of each file, or make several jobs of it."));
    }
    if bytes > SPEC_BYTES_SMALL && bytes + all_bytes(state) > ALL_SPECS_BYTES_MAX {
        let message = "the jobs that are remembered have very long specifications already";
        return Err(RpcError::new(ErrorKind::Busy, message, "Wait until some of them have ended and are forgotten."));
    }
    Ok(())
}

/// Returns about how many bytes the long specifications of all jobs take; small ones are bounded by the number of jobs.
fn all_bytes(state: &State) -> usize {
    let jobs = state.active.values().chain(state.ended.values());
    jobs.map(|job| weight(&job.spec)).filter(|bytes| *bytes > SPEC_BYTES_SMALL).sum()
}

/// Counts the texts and paths of a specification, without writing it as JSON: it is asked for each job there is.
fn weight(spec: &JobSpec) -> usize {
    const EACH: usize = size_of::<String>();
    let texts = |texts: &[String]| texts.iter().map(|text| text.len() + EACH).sum::<usize>();
    let path = |path: &WirePath| path.as_path().as_os_str().len() + EACH;
    match spec {
        JobSpec::Backup(spec) => {
            spec.sources.iter().chain(&spec.exclude).chain(spec.changed.iter().flatten()).map(path).sum::<usize>()
                + texts(&spec.tags)
        }
        JobSpec::Restore(spec) => {
            let item = |item: &RestoreItem| size_of::<RestoreItem>() + item.inside.as_ref().map_or(0, path);
            spec.items.iter().map(item).sum::<usize>() + texts(&spec.include) + texts(&spec.exclude)
        }
        JobSpec::Forget(spec) => {
            let keep = spec.keep.as_ref().map_or(0, |keep| texts(&keep.tags));
            let lists = [&spec.snapshots, &spec.hosts, &spec.tags];
            spec.paths.iter().map(path).sum::<usize>() + lists.iter().map(|list| texts(list)).sum::<usize>() + keep
        }
        JobSpec::Copy(spec) => {
            let lists = [&spec.snapshots, &spec.hosts, &spec.tags];
            spec.paths.iter().map(path).sum::<usize>() + lists.iter().map(|list| texts(list)).sum::<usize>()
        }
        JobSpec::Verify(_) | JobSpec::Prune(_) | JobSpec::Repair(_) | JobSpec::Unknown => 0,
    }
}

fn too_large(message: String, advice: &str) -> RpcError {
    RpcError::new(ErrorKind::InvalidParams, message, advice)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backup_proto::params::RequestId;
    use backup_proto::spec::BackupSpec;

    use super::super::bench::{Bench, backup};
    use super::super::{Step, requests};
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_client_in_a_loop_makes_the_daemon_forget_the_oldest_requests_alone() {
        let mut bench = Bench::new(Config::default());
        for _ in 0..100 {
            bench.submit(backup());
            bench.pass(Duration::from_secs(60));
        }
        let (mut state, mut step) = (bench.state.clone(), Step::default());
        requests::make_room(&mut state, &mut step, 100);
        assert_eq!((state.requests.count(), step.changes.len()), (100, 0), "there is room");
        requests::make_room(&mut state, &mut step, 99);
        assert_eq!((state.requests.count(), step.changes.len()), (90, 10));
        assert!(state.requests.get("request 10").is_none() && state.requests.get("request 11").is_some());
    }

    #[test]
    fn a_job_that_is_too_much_to_remember_is_refused() {
        let mut bench = Bench::new(Config::default());
        let mut large = |number: usize, bytes: usize| {
            let spec = JobSpec::Backup(BackupSpec {
                sources: vec!["/s".into()],
                tags: vec!["t".repeat(bytes)],
                ..BackupSpec::default()
            });
            let request_id = RequestId(format!("large {number}"));
            bench
                .ask(JobSubmit { request_id, spec, priority: None, now: false, reason: None })
                .map_err(|error| error.data.kind)
        };
        assert_eq!(large(0, SPEC_BYTES_MAX).unwrap_err(), ErrorKind::InvalidParams);
        let accepted = (1..).take_while(|number| large(*number, SPEC_BYTES_MAX - 4096).is_ok()).count();
        assert!((200..300).contains(&accepted), "{accepted} jobs of a quarter of a MiB");
        assert_eq!(large(998, SPEC_BYTES_MAX - 4096).unwrap_err(), ErrorKind::Busy);
        assert!(large(999, 10).is_ok(), "small ones are always taken");
        let reason = Some("r".repeat(REASON_BYTES_MAX + 1));
        let long =
            JobSubmit { request_id: RequestId("long".into()), spec: backup(), priority: None, now: false, reason };
        assert_eq!(bench.ask(long).unwrap_err().data.kind, ErrorKind::InvalidParams);
    }
}
