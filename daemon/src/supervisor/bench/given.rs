//! Jobs and configs that tests begin with.

use std::path::Path;

use backup_proto::path::WirePath;
use backup_proto::spec::{
    BackupSpec, CopySpec, Destination, JobSpec, Overwrite, PruneSpec, RepairSpec, RestoreItem, RestoreLimits,
    RestoreSpec, SnapshotQuery, VerifySpec,
};

use crate::config::{Config, Surroundings};

pub(in super::super) fn backup() -> JobSpec {
    JobSpec::Backup(BackupSpec { sources: vec![WirePath::from("/home")], ..BackupSpec::default() })
}

pub(in super::super) fn prune() -> JobSpec {
    JobSpec::Prune(PruneSpec::default())
}

pub(in super::super) fn repair() -> JobSpec {
    JobSpec::Repair(RepairSpec::default())
}

pub(in super::super) fn verify(target: &str) -> JobSpec {
    JobSpec::Verify(VerifySpec { target: Some(target.into()), ..VerifySpec::default() })
}

/// A check that goes on where it was.
pub(in super::super) fn read_data() -> JobSpec {
    JobSpec::Verify(VerifySpec { read_data: true, ..VerifySpec::default() })
}

pub(in super::super) fn copy(from: &str) -> JobSpec {
    JobSpec::Copy(CopySpec {
        from: from.into(),
        target: None,
        snapshots: Vec::new(),
        plan: None,
        hosts: Vec::new(),
        paths: Vec::new(),
        tags: Vec::new(),
    })
}

pub(in super::super) fn restore() -> JobSpec {
    let snapshot = SnapshotQuery { snapshot: "latest".into(), target: None, plan: None, host: None, path: None };
    JobSpec::Restore(RestoreSpec {
        items: vec![RestoreItem { snapshot, inside: None }],
        destination: Destination::Folder(WirePath::from("/tmp/out")),
        include: Vec::new(),
        exclude: Vec::new(),
        overwrite: Overwrite::Never,
        keep_replaced: false,
        delete: false,
        dry_run: false,
        limits: RestoreLimits::default(),
    })
}

/// A config with a target beside the default one.
pub(in super::super) fn with_target(name: &str) -> Config {
    parse(&format!("[target.{name}]\nurl = \"/{name}\"\npassword-file = \"/key\"\n"))
}

/// A config with one plan.
pub(in super::super) fn with_plan(schedule: &str) -> Config {
    parse(&format!("[plan.docs]\nsources = [\"/home\"]\ntargets = [\"local\"]\nschedule = \"{schedule}\"\n"))
}

fn parse(text: &str) -> Config {
    let surroundings = Surroundings { folder: "/etc".into(), home: None };
    Config::parse(text, Path::new("/etc/config.toml"), &surroundings).unwrap()
}
