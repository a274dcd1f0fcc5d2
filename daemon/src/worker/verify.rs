//! A check of a target, or of one snapshot.

use backup_engine::checker::{Part, SourceOptions, SourceSummary, VerifyOptions, VerifySummary, verify};
use backup_engine::{Gate, Monitor, Repository};
use backup_proto::job::{SourceReport, VerifyReport};
use backup_proto::spec::{ReadPart, SnapshotQuery, VerifySpec};
use jiff::SignedDuration;

use super::attempt::Failure;
use super::find::{FoundSnapshot, find_snapshot};
use super::reporter::Reporter;
use super::restore::shared_lock;
use crate::config::DEFAULT_TARGET;
use crate::context::Context;
use crate::job::{Job, Totals};
use crate::targets::Place;
use crate::wire;

/// Runs one attempt of a check. What is wrong is in the ledger, item by item.
pub(super) fn run(
    job: &Job,
    spec: &VerifySpec,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    let mut options = VerifyOptions {
        read_data: spec.read_data,
        part: spec.read_part.map(part),
        records: Some(context.targets.verified()),
        // What an earlier attempt of this job has read and found to be right is right.
        since: job.attempts.first().map(|attempt| attempt.started).filter(|_| job.attempt_count() > 1),
        now: context.clock.now().wall,
        ..VerifyOptions::default()
    };
    let Some(query) = &spec.snapshot else {
        let name = job.target.as_deref().unwrap_or(DEFAULT_TARGET);
        let (place, repository) = context.targets.open_existing(name)?;
        let summary = check(job, &place, &repository, &options, context, gate, reporter)?;
        if let Some(coverage) = &summary.coverage
            && let Err(error) = context.targets.note_verified(name, wire::coverage(coverage))
        {
            reporter.notice(&format!("How much was ever read could not be put on record: {error}."));
        }
        return Ok(totals(&summary));
    };
    let FoundSnapshot { place, repository, id, .. } = choose(job, spec, query, context, reporter)?;
    options.snapshot = Some(id);
    options.source = spec.source.then(|| SourceOptions { never: context.targets.never() });
    let summary = check(job, &place, &repository, &options, context, gate, reporter)?;
    Ok(Totals { snapshot: Some(id.to_string()), ..totals(&summary) })
}

fn check(
    job: &Job,
    place: &Place,
    repository: &std::sync::Arc<Repository>,
    options: &VerifyOptions,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<VerifySummary, Failure> {
    let _lock = shared_lock(place, repository, context, reporter)?;
    let repository = context.targets.for_job(repository, &place.name, job, gate);
    Ok(verify(&repository, options, gate, reporter)?)
}

/// Finds the snapshot. What `latest` means is settled by the first attempt.
fn choose(
    job: &Job,
    spec: &VerifySpec,
    query: &SnapshotQuery,
    context: &Context,
    reporter: &Reporter,
) -> Result<FoundSnapshot, Failure> {
    if let [chosen] = &job.chosen[..] {
        return Ok(find_snapshot(chosen, context)?);
    }
    let target = query.target.clone().or_else(|| spec.target.clone());
    let found = find_snapshot(&SnapshotQuery { target, ..query.clone() }, context)?;
    let (snapshot, target) = (found.id.to_string(), Some(found.place.name.clone()));
    reporter.choose(vec![SnapshotQuery { snapshot, target, plan: None, host: None, path: None }])?;
    Ok(found)
}

fn part(part: ReadPart) -> Part {
    match part {
        ReadPart::PercentHundredths(hundredths) => Part::Share(hundredths),
        ReadPart::Bytes(bytes) => Part::Bytes(bytes),
        ReadPart::WithinSeconds(seconds) => {
            Part::Within(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
        }
        ReadPart::Group { number, of } => Part::Group { number, of },
    }
}

fn totals(summary: &VerifySummary) -> Totals {
    let source = |source: SourceSummary| {
        let SourceSummary { files, bytes, changed, missing, extra, rotten } = source;
        SourceReport { files, bytes, changed, missing, extra, rotten }
    };
    let report = VerifyReport {
        snapshots: summary.snapshots,
        packs: summary.packs,
        packs_read: summary.packs_read,
        bytes_read: summary.bytes,
        coverage: summary.coverage.as_ref().map(wire::coverage),
        source: summary.source.map(source),
    };
    Totals { files: summary.packs, bytes: summary.bytes, verify: Some(Box::new(report)), ..Totals::default() }
}
