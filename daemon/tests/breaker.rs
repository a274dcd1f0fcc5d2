//! Whose fault a failure is: what the storage of a target could not do is told from what a source could not.

mod house;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backup_engine::Gate;
use backup_engine::storage::{Step, StepHook};
use backup_proto::error::Class;
use backup_proto::path::WirePath;
use backup_proto::spec::{BackupSpec, JobSpec};
use backupd::clock::SystemClock;
use backupd::context::Context;
use backupd::job::{Ended, How};
use backupd::ledger::Ledger;
use house::{House, job};

/// A house whose repository can be made to fail at every write of a pack.
fn failing_house() -> (House, Arc<AtomicBool>) {
    let mut house = House::new("");
    let fails = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&fails);
    let hook: StepHook = Arc::new(move |step: &Step| match step {
        Step::Write(path) if seen.load(Ordering::SeqCst) && path.iter().any(|part| part == "data") => {
            Err(io::Error::from_raw_os_error(5))
        }
        _ => Ok(()),
    });
    let ledger = Ledger::open(&house.path("state")).expect("it opens");
    let probe = Arc::clone(&house.context.probe);
    house.context = Arc::new(Context::new(Arc::new(SystemClock), house.targets(Some(hook)), ledger, probe));
    (house, fails)
}

fn backup_of(house: &House, id: &str, source: &Path, plan: Option<&str>) -> Ended {
    let spec = BackupSpec { sources: vec![WirePath::from(source)], ..BackupSpec::default() };
    let mut job = job(id, JobSpec::Backup(BackupSpec { target: Some("local".into()), ..spec }));
    job.target = Some("local".into());
    job.plan = plan.map(str::to_owned);
    house.run_job(job, &Gate::new()).0
}

#[test]
fn a_storage_that_fails_is_named_and_a_source_that_fails_is_not() {
    let (house, fails) = failing_house();
    let source = house.path("source");
    fs::write(source.join("file"), vec![7; 100_000]).expect("it is written");
    assert_eq!(backup_of(&house, "j1", &source, None).totals.target_failed, None);

    fs::write(source.join("file"), vec![8; 100_000]).expect("it is written");
    fails.store(true, Ordering::SeqCst);
    let ended = backup_of(&house, "j2", &source, None);
    assert_eq!((ended.class(), ended.totals.target_failed.as_deref()), (Some(Class::Transient), Some("local")));
    assert_eq!(house.context.targets.take_fault(&"j2".into()), None, "what was said is not said again");
    assert!(house.context.targets.ask("local").is_ok(), "it answers, and its next failure counts for more");

    fails.store(false, Ordering::SeqCst);
    let missing = backup_of(&house, "j3", &house.path("nowhere"), None);
    assert!(matches!(missing.how, How::Failed(_)));
    assert_eq!(missing.totals.target_failed, None);
    assert_eq!(backup_of(&house, "j4", &source, None).how, How::Done);
}

#[test]
fn a_target_that_is_gone_is_named_by_its_job_and_by_the_question() {
    let (house, _) = failing_house();
    let source = house.path("source");
    fs::write(source.join("file"), "text").expect("it is written");
    assert_eq!(backup_of(&house, "j1", &source, None).how, How::Done);
    let (there, away) = (house.path("data/repository"), house.path("data/away"));
    fs::rename(&there, &away).expect("it is moved");
    let ended = backup_of(&house, "j2", &source, None);
    assert_eq!((ended.class(), ended.totals.target_failed.as_deref()), (Some(Class::Transient), Some("local")));
    let error = house.context.targets.ask("local").expect_err("it is not there");
    assert_eq!(error.failed_target(), Some("local"));
    fs::rename(&away, &there).expect("it is moved");
    assert!(house.context.targets.ask("local").is_ok());
}
