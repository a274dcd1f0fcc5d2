//! A check of a target.

use backup_engine::Gate;
use backup_engine::checker::{VerifyOptions, verify};
use backup_proto::spec::VerifySpec;

use super::attempt::Failure;
use super::reporter::Reporter;
use super::restore::shared_lock;
use crate::config::DEFAULT_TARGET;
use crate::context::Context;
use crate::job::{Job, Totals};

/// Runs one attempt of a check. What is wrong is in the ledger, item by item.
pub(super) fn run(
    job: &Job,
    spec: &VerifySpec,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    let name = job.target.as_deref().unwrap_or(DEFAULT_TARGET);
    let (place, repository) = context.targets.open_existing(name)?;
    let _lock = shared_lock(&place, &repository, context, reporter)?;
    let options = VerifyOptions { read_data: spec.read_data, threads: 0 };
    let summary = verify(&repository.with_own_index(), &options, gate, reporter)?;
    Ok(Totals { files: summary.packs, bytes: summary.bytes, ..Totals::default() })
}
