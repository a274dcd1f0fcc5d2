//! A prune: its two halves under their locks, and the record of what was seen unused.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_engine::monitor::PackRecord;
use backup_engine::prune::{MaxUnused, PruneOptions, PruneSummary, Seen, preview, repack, sweep};
use backup_engine::{Gate, Monitor, Repository};
use backup_proto::job::PruneReport;
use backup_proto::spec::{self, PruneSpec};
use jiff::SignedDuration;

use super::attempt::Failure;
use super::reporter::Reporter;
use super::restore::shared_lock;
use crate::config::DEFAULT_TARGET;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::job::{Job, Totals};
use crate::store::files::write_whole;
use crate::store::mend::{decode_checked, encode_checked};
use crate::targets::{Place, TargetError};

/// Runs one attempt of a prune.
pub(super) fn run(
    job: &Job,
    spec: &PruneSpec,
    adopt: Vec<PackRecord>,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    let name = job.target.as_deref().unwrap_or(DEFAULT_TARGET);
    let (place, repository) = context.targets.open_existing(name)?;
    let repository = context.targets.for_job(&repository, name, job, gate);
    let options = options(spec, adopt, context);
    let record = SeenRecord::new(context.targets.state(), &repository);
    let mut seen = record.read()?;
    let summary = if spec.dry_run {
        let _lock = shared_lock(&place, &repository, context, reporter)?;
        preview(&repository, &options, &seen, gate).map_err(TargetError::engine(name))?
    } else {
        let halves = Halves { place: &place, repository: &repository, options: &options, context, gate, reporter };
        halves.run(&record, &mut seen).map_err(|error| explain(name, error))?
    };
    let prune = Some(report(&summary, spec.dry_run));
    Ok(Totals { files: summary.packs_removed, bytes: summary.bytes_freed, prune, ..Totals::default() })
}

fn explain(name: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Engine(error) => TargetError::engine(name)(error).into(),
        other => other,
    }
}

/// What both halves of a prune need.
struct Halves<'a> {
    place: &'a Place,
    repository: &'a Arc<Repository>,
    options: &'a PruneOptions,
    context: &'a Context,
    gate: &'a Gate,
    reporter: &'a Reporter,
}

impl Halves<'_> {
    /// Moves what is used, and removes what is not. What was seen is kept whatever happens: an attempt that finds somebody
    /// else's lock ends, and the next one goes on counting from there.
    fn run(&self, record: &SeenRecord, seen: &mut Seen) -> Result<PruneSummary, Failure> {
        let Self { place, repository, options, context, gate, reporter } = *self;
        let lock = context.targets.lock(repository, &place.folder, false)?;
        let moved = repack(&lock, options, seen, gate, reporter);
        drop(lock);
        record.write(seen)?;
        let (moved, used) = moved?;
        let lock = context.targets.lock(repository, &place.folder, true)?;
        let removed = sweep(&lock, options, seen, used, gate, reporter);
        drop(lock);
        record.write(seen)?;
        let PruneSummary { packs_repacked, bytes_repacked, .. } = moved;
        let summary = PruneSummary { packs_repacked, bytes_repacked, ..removed? };
        if summary.packs_listed_again > 0 {
            let count = summary.packs_listed_again;
            reporter.notice(&format!("{count} packs that a snapshot needs were in no index; they are listed again."));
        }
        Ok(summary)
    }
}

fn options(spec: &PruneSpec, adopt: Vec<PackRecord>, context: &Context) -> PruneOptions {
    let usual = PruneOptions::new(context.clock.now().wall);
    PruneOptions {
        max_unused: spec.max_unused.map_or(usual.max_unused, |limit| match limit {
            spec::MaxUnused::Percent(percent) => MaxUnused::Percent(percent),
            spec::MaxUnused::Bytes(bytes) => MaxUnused::Bytes(bytes),
            spec::MaxUnused::Unlimited => MaxUnused::Unlimited,
        }),
        max_repack: spec.max_repack_bytes,
        grace: if spec.no_grace { SignedDuration::ZERO } else { usual.grace },
        adopt,
        ..usual
    }
}

fn report(summary: &PruneSummary, dry_run: bool) -> PruneReport {
    PruneReport {
        dry_run,
        packs_repacked: summary.packs_repacked,
        bytes_repacked: summary.bytes_repacked,
        packs_removed: summary.packs_removed,
        bytes_freed: summary.bytes_freed,
        packs_waiting: summary.packs_waiting,
        bytes_waiting: summary.bytes_waiting,
        next: summary.next,
        bytes_unused: summary.bytes_unused,
        packs_kept: summary.packs_kept,
        packs_listed_again: summary.packs_listed_again,
        temporary_removed: summary.temporary_removed,
    }
}

/// The file that says since when packs of a repository were seen unused.
struct SeenRecord {
    path: PathBuf,
}

impl SeenRecord {
    fn new(state: &Path, repository: &Repository) -> Self {
        Self { path: state.join("prune").join(format!("{}.json", repository.id())) }
    }

    /// Reads the record. One that is damaged is none: the time of waiting begins anew.
    fn read(&self) -> Result<Seen> {
        match fs::read(&self.path) {
            Ok(bytes) => {
                let seen = decode_checked(&bytes).and_then(|value| serde_json::from_value(value).ok());
                Ok(seen.unwrap_or_default())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Seen::default()),
            Err(error) => Err(Error::io("read", &self.path)(error)),
        }
    }

    fn write(&self, seen: &Seen) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io("create", folder))?;
        let value = serde_json::to_value(seen).map_err(|error| Error::io("write", &self.path)(error.into()))?;
        write_whole(&self.path, &encode_checked(&value))
    }
}
