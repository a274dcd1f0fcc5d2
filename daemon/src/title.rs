//! What jobs are about, in words, where that takes more than a line.

use backup_proto::spec::{BackupSpec, CopySpec, ReadPart, VerifySpec};

use crate::job::joined;

/// Says what a backup saves, or would.
pub(crate) fn backup(spec: &BackupSpec, target: &str) -> String {
    let what = match &spec.plan {
        Some(plan) => format!("plan {plan}"),
        None => joined(spec.sources.iter().map(ToString::to_string)),
    };
    if spec.dry_run { format!("what {what} would add to {target}") } else { format!("{what} to {target}") }
}

/// Says what a check looks at.
pub(crate) fn verify(spec: &VerifySpec, target: &str) -> String {
    match (&spec.snapshot, spec.read_part) {
        (Some(query), _) if spec.source => format!("snapshot {} in {target} and its files", query.snapshot),
        (Some(query), _) => format!("all data of snapshot {} in {target}", query.snapshot),
        (None, _) if !spec.read_data => format!("the structure of {target}"),
        (None, None) => format!("all data of {target}"),
        (None, Some(part)) => format!("{} of {target}", share(part)),
    }
}

/// Says what a copy copies.
pub(crate) fn copy(spec: &CopySpec, target: &str) -> String {
    let what = if spec.snapshots.is_empty() { "snapshots".to_owned() } else { spec.snapshots.join(", ") };
    format!("{what} of {} to {target}", spec.from)
}

fn share(part: ReadPart) -> String {
    const DAY: u64 = 24 * 3600;
    match part {
        ReadPart::PercentHundredths(hundredths) => {
            format!("{}.{:02} % of the data", hundredths / 100, hundredths % 100)
        }
        ReadPart::Bytes(bytes) => format!("{bytes} bytes of the data"),
        ReadPart::WithinSeconds(seconds) => format!("the data that is due within {} days", seconds.div_ceil(DAY)),
        ReadPart::Group { number, of } => format!("group {number} of {of} of the data"),
    }
}
