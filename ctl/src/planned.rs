//! The list of what a job would do, has removed, or has found to differ, as it is shown at the job's end.

use backup_proto::job::JobDetail;
use backup_proto::params::JobPlanned;
use backup_proto::spec::JobSpec;
use serde_json::json;

use crate::exit::Failure;
use crate::report::planned_item;
use crate::session::Session;

/// Shows what a dry run would do, what a forget has removed, or what a check found to differ; returns whether it was a dry run.
pub(crate) fn show_planned(session: &mut Session, detail: &JobDetail) -> Result<bool, Failure> {
    let is_dry = match &detail.spec {
        JobSpec::Restore(spec) => spec.dry_run,
        JobSpec::Forget(spec) => spec.dry_run,
        _ => false,
    };
    let (word, has_list) = match &detail.spec {
        _ if is_dry => ("planned", true),
        JobSpec::Forget(_) => ("removed", true),
        JobSpec::Verify(spec) => ("difference", spec.source),
        _ => return Ok(false),
    };
    if !has_list {
        return Ok(false);
    }
    let id = &detail.job.id;
    session.pages(
        |page| JobPlanned { job: id.clone(), page },
        |out, items| {
            for item in items {
                if out.is_json() {
                    let mut value = serde_json::to_value(&item).map_err(std::io::Error::other)?;
                    value["type"] = word.into();
                    value["job"] = json!(id);
                    out.json(&value)?;
                } else {
                    out.line(&planned_item(&item, is_dry, out.zone()))?;
                }
            }
            Ok(())
        },
    )?;
    Ok(is_dry)
}
