//! A daemon's house without its loop, for tests of workers and queries.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_engine::Gate;
use backup_engine::storage::StepHook;
use backup_proto::job::{JobId, JobState, Priority};
use backup_proto::path::WirePath;
use backup_proto::spec::{BackupSpec, JobSpec};
use backup_testkit::restic::Restic;
use backupd::clock::SystemClock;
use backupd::conditions::FileProbe;
use backupd::config::ConfigFile;
use backupd::context::Context;
use backupd::identity::Identity;
use backupd::inbox::{Event, Inbox, News};
use backupd::job::{Ended, Job};
use backupd::ledger::Ledger;
use backupd::targets::{Targets, TargetsOptions};
use backupd::worker::spawn;
use tempfile::TempDir;

/// A daemon's house without its loop: the test reads the inbox itself.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) context: Arc<Context>,
}

impl House {
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["state", "run", "source"] {
            fs::create_dir(path(name)).expect("it is made");
        }
        fs::write(path("config.toml"), config.replace("HOME", &folder.path().to_string_lossy()))
            .expect("it is written");
        let targets = targets_in(folder.path(), None);
        let ledger = Ledger::open(&path("state")).expect("it opens");
        let probe = Arc::new(FileProbe::new(folder.path()));
        let context = Arc::new(Context::new(Arc::new(SystemClock), targets, ledger, probe));
        Self { folder, context }
    }

    /// Returns the house as a daemon finds it that starts now, with what the config says by now.
    pub(crate) fn again(self) -> Self {
        let Self { folder, context } = self;
        let probe = Arc::clone(&context.probe);
        drop(context);
        let targets = targets_in(folder.path(), None);
        let ledger = Ledger::open(&folder.path().join("state")).expect("it opens");
        let context = Arc::new(Context::new(Arc::new(SystemClock), targets, ledger, probe));
        Self { folder, context }
    }

    /// Returns the targets of a daemon that starts now; its changes in repositories ask the hook.
    pub(crate) fn targets(&self, hook: Option<StepHook>) -> Targets {
        targets_in(self.folder.path(), hook)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn restic(&self) -> Restic {
        Restic::new(&self.path("data/repository"), &self.path("state/keys/local.password"))
    }

    pub(crate) fn run(&self, id: &str, spec: JobSpec) -> (Ended, Vec<News>) {
        self.run_with(id, spec, &Gate::new())
    }

    pub(crate) fn run_with(&self, id: &str, spec: JobSpec, gate: &Gate) -> (Ended, Vec<News>) {
        self.run_job(job(id, spec), gate)
    }

    /// Runs an attempt to its end; returns how it ended and what was said before.
    pub(crate) fn run_job(&self, job: Job, gate: &Gate) -> (Ended, Vec<News>) {
        let (inbox, mut events) = Inbox::new();
        spawn(job, Arc::clone(&self.context), gate.clone(), inbox);
        let mut said = Vec::new();
        while let Some(event) = events.blocking_recv() {
            match event {
                Event::Worker { news: News::Finished(ended), .. } => return (*ended, said),
                Event::Worker { news, .. } => {
                    if let News::Chosen { stored, .. } = &news {
                        stored.send(()).expect("the worker waits");
                    }
                    said.push(news);
                }
                other => panic!("a worker says {other:?}"),
            }
        }
        panic!("the worker ended without a last word");
    }
}

fn targets_in(folder: &Path, hook: Option<StepHook>) -> Targets {
    Targets::open(TargetsOptions {
        state: folder.join("state"),
        socket: folder.join("run/s"),
        default_folder: folder.join("data/repository"),
        config: Arc::new(ConfigFile::open(&folder.join("config.toml"), None).expect("the config is right")),
        identity: Identity::of_this_process(),
        clock: Arc::new(SystemClock),
        hook,
    })
    .expect("the state is readable")
}

pub(crate) fn job(id: &str, spec: JobSpec) -> Job {
    let mut job = Job {
        id: JobId::from(id),
        target: None,
        plan: None,
        chosen: Vec::new(),
        changed_since: None,
        again: None,
        spec,
        priority: Priority::Normal,
        now: false,
        by_hand: false,
        reason: None,
        uid: 0,
        submitted: "2025-05-05T10:00:00Z".parse().expect("a time"),
        state: JobState::Queued,
        paused: None,
        parked: false,
        not_before: None,
        attempts: Vec::new(),
        failures: 0,
        notices: Vec::new(),
        summary: None,
        ended: None,
        cancelling: false,
    };
    job.begin_attempt(job.submitted);
    job
}

pub(crate) fn backup_of(paths: &[&Path]) -> JobSpec {
    let sources = paths.iter().map(|path| WirePath::from(*path)).collect();
    JobSpec::Backup(BackupSpec { sources, ..BackupSpec::default() })
}
