//! How a job ended, in plain words: what is safe, what is missing and why, and what to do next.

use backup_proto::job::{
    FailedItem, HintsReport, Job, JobId, JobKind, JobState, JobSummary, PlannedAction, PlannedItem, PruneReport,
};
use jiff::tz::TimeZone;

use crate::text::{count, plain, sentence, short_id, size, time};

/// Failed items shown to a person; the command to see all is named below them.
const SHOWN_MAX: usize = 10;

/// Returns the lines that tell a person how a job ended.
pub(crate) fn outcome(job: &Job, summary: &JobSummary, notices: &[String]) -> Vec<String> {
    let mut lines = vec![headline(job, summary)];
    if let Some(error) = &summary.error {
        lines.push(sentence(&error.message));
    }
    lines.extend(gain(job, summary));
    lines.extend(summary.prune.iter().flat_map(room));
    lines.extend(summary.repair.iter().flat_map(|report| repair::steps(report)));
    lines.extend(summary.hints.and_then(looked));
    lines.extend(summary.estimate.iter().flat_map(|found| estimate::found(job, summary, found)));
    lines.extend(summary.verify.iter().flat_map(|report| verify::found(report)));
    lines.extend(missing(job, summary));
    lines.extend(notices.iter().map(|notice| notice_line(notice)));
    lines.extend(summary.repair.as_ref().map_or_else(|| next_steps(job, summary), |report| repair::next(report)));
    lines
}

/// A sentence that the job had to say.
pub(crate) fn notice_line(notice: &str) -> String {
    format!("Note: {}", sentence(notice))
}

fn headline(job: &Job, summary: &JobSummary) -> String {
    let kind = capital(job.kind.as_str());
    let id = &job.id;
    match summary.state {
        JobState::Succeeded => format!("{kind} {id} succeeded."),
        JobState::Partial if job.kind == JobKind::Repair => {
            format!("{kind} {id}: {} whole.", count(summary.failed_count, "item is not", "items are not"))
        }
        JobState::Partial => {
            format!("{kind} {id} is partial: done, except for {}.", count(summary.failed_count, "item", "items"))
        }
        JobState::Failed => format!("{kind} {id} failed."),
        JobState::Cancelled => format!("{kind} {id} was cancelled."),
        other => format!("{kind} {id} is {}.", other.as_str()),
    }
}

/// Says what is safe now.
fn gain(job: &Job, summary: &JobSummary) -> Option<String> {
    let files = count(summary.files, "file", "files");
    let bytes = size(summary.bytes);
    let is_usable = matches!(summary.state, JobState::Succeeded | JobState::Partial);
    match (job.kind, &summary.snapshot) {
        (JobKind::Backup, Some(snapshot)) if is_usable => {
            let place = job.target.as_deref().map(|target| format!(" in {target}")).unwrap_or_default();
            let new = size(summary.bytes_stored);
            Some(format!("Safe{place}: {files}, {bytes} in snapshot {}; {new} of it new.", short_id(snapshot)))
        }
        (JobKind::Restore, snapshot) if is_usable => {
            let of = snapshot.as_deref().map(|id| format!(" from snapshot {}", short_id(id))).unwrap_or_default();
            Some(format!("Right in the destination: {files}, {bytes}{of}."))
        }
        (JobKind::Copy, _) if is_usable => {
            let place = job.target.as_deref().unwrap_or("the target");
            let copy = summary.copy.unwrap_or_default();
            let copied = count(copy.snapshots, "snapshot", "snapshots");
            let new = size(summary.bytes_stored);
            Some(format!("Copied to {place}: {copied}, {new} of it new; {} were there already.", copy.there))
        }
        (JobKind::Forget, _) if is_usable => {
            let place = job.target.as_deref().map(|target| format!(" from {target}")).unwrap_or_default();
            Some(format!("Removed{place}: {}.", count(summary.files, "snapshot", "snapshots")))
        }
        _ => None,
    }
}

/// Says how much was looked at.
fn looked(hints: HintsReport) -> Option<String> {
    match (hints.used, hints.folders_missed) {
        (true, _) => Some("Only what was said to have changed was looked at.".to_owned()),
        (false, 0) => None,
        (false, missed) => {
            let folders = count(missed, "folder", "folders");
            Some(format!("Everything was looked at. Changed although nobody said so: {folders}."))
        }
    }
}

/// Says how much room a prune has made, and how much will follow.
fn room(report: &PruneReport) -> Vec<String> {
    let packs = |number| count(number, "pack", "packs");
    let would = if report.dry_run { "Would free" } else { "Freed" };
    let mut lines = Vec::new();
    if report.dry_run {
        lines.push("That was a dry run: nothing was changed.".to_owned());
    }
    lines.push(format!("{would} now: {} ({}).", size(report.bytes_freed), packs(report.packs_removed)));
    if report.packs_repacked > 0 {
        let moved = if report.dry_run { "Would move" } else { "Moved" };
        lines.push(format!(
            "{moved} what is used of {} to new ones: {}.",
            packs(report.packs_repacked),
            size(report.bytes_repacked)
        ));
    }
    if report.packs_waiting > 0 {
        lines.push(format!(
            "Later: {} ({}), once seen unused for a day, and out of the index for another; a program without locks may still \
             use them.",
            size(report.bytes_waiting),
            packs(report.packs_waiting)
        ));
    }
    if let Some(next) = report.next {
        lines.push(format!("The next prune that gets further is one after {next:.0}."));
    }
    let kept = packs(report.packs_kept);
    lines.push(format!("Stays: {kept}, in which {} are unused.", size(report.bytes_unused)));
    lines
}

/// Names what is missing, and why.
fn missing(job: &Job, summary: &JobSummary) -> Vec<String> {
    if summary.failed_count == 0 {
        return Vec::new();
    }
    let mut lines = vec![match job.kind {
        // Also a dry run that failed: there is no snapshot to speak of.
        JobKind::Backup if summary.estimate.is_some() || summary.snapshot.is_none() => {
            "Not looked at, or not wholly:".to_owned()
        }
        JobKind::Backup => "Not in this snapshot, or not whole:".to_owned(),
        JobKind::Restore => "Not restored, or not wholly:".to_owned(),
        JobKind::Forget => "Not forgotten:".to_owned(),
        JobKind::Repair => "Not whole any more:".to_owned(),
        JobKind::Copy => "Not copied:".to_owned(),
        _ => "Not as it should be:".to_owned(),
    }];
    let mut last_advice = "";
    for item in summary.failed.iter().take(SHOWN_MAX) {
        // Items that failed for the same reason mostly come together; the advice is said once for them.
        if last_advice != item.advice && !last_advice.is_empty() {
            lines.push(format!("    {last_advice}"));
        }
        lines.push(format!("  {}", failed_item(item)));
        last_advice = &item.advice;
    }
    if !last_advice.is_empty() {
        lines.push(format!("    {last_advice}"));
    }
    let shown = u64::try_from(summary.failed.len().min(SHOWN_MAX)).unwrap_or(u64::MAX);
    if summary.failed_count > shown {
        lines.push(format!("  … and {} more: `backupctl job {}` lists all.", summary.failed_count - shown, job.id));
    }
    lines
}

/// Says one failed item in one line. Most messages name the path; it is put before those that do not.
pub(crate) fn failed_item(item: &FailedItem) -> String {
    let path = item.path.to_string();
    let message = plain(&item.message);
    if message.contains(&path) { message } else { format!("{path}: {message}") }
}

/// Says what to do next: after a partial job three ways to choose from, else one sentence if there is anything to do.
fn next_steps(job: &Job, summary: &JobSummary) -> Vec<String> {
    let id = &job.id;
    let name = summary.failed.first().and_then(|item| name_of(&item.path.to_string())).unwrap_or("NAME".to_owned());
    let steps = match (summary.state, job.kind) {
        (JobState::Partial, JobKind::Backup) if summary.estimate.is_some() => return Vec::new(),
        (JobState::Partial, JobKind::Backup) => [
            format!("Mend the cause, then `backupctl retry {id}`: it looks at these items only."),
            "Leave them out for good: add them to the plan's `exclude`, or back up with `--exclude`.".to_owned(),
            format!("See what earlier snapshots have of them: `backupctl find '{name}'`."),
        ],
        (JobState::Partial, JobKind::Restore) => [
            "Mend it by hand: move away what is in the way, or restore again with `--overwrite`.".to_owned(),
            format!("Try these items again, now or later: `backupctl retry {id}` leaves alone what is right already."),
            format!("Take them from another snapshot: `backupctl find '{name}'` shows which have them."),
        ],
        (JobState::Partial, JobKind::Forget) => {
            return vec![format!("Once that is right: `backupctl retry {id}`, or forget again as it says above.")];
        }
        (JobState::Succeeded, JobKind::Forget) if summary.files > 0 => {
            return vec![
                "How much room that makes is known only when data that nothing needs any more is looked for: `backupctl prune`."
                    .to_owned(),
            ];
        }
        (JobState::Partial, _) => [
            "Back up again while the source of what is damaged still exists: it is stored anew.".to_owned(),
            "Check the drive and its connection; damage seldom comes alone.".to_owned(),
            format!("Check again after that: `backupctl retry {id}`."),
        ],
        (JobState::Failed, _) => {
            let advice = summary.error.as_ref().map(|error| error.data.advice.as_str()).unwrap_or_default();
            return vec![format!("{} Then `backupctl retry {id}`.", sentence(advice)).trim_start().to_owned()];
        }
        (JobState::Cancelled, _) => return vec![format!("To start it again: `backupctl retry {id}`.")],
        _ => return Vec::new(),
    };
    let numbered = steps.iter().zip(1..).map(|(step, number)| format!("  {number}. {step}"));
    ["Next, whichever fits:".to_owned()].into_iter().chain(numbered).collect()
}

/// Returns the last name of a path, as it can be typed between quotes.
fn name_of(path: &str) -> Option<String> {
    let name = path.rsplit('/').find(|name| !name.is_empty())?;
    (!name.contains(['\'', '\\', '*', '?', '['])).then(|| name.to_owned())
}

/// Says what a dry run would do with one item, or what was done with a snapshot.
pub(crate) fn planned_item(item: &PlannedItem, is_dry: bool, zone: &TimeZone) -> String {
    if let Some(line) = verify::difference(item) {
        return line;
    }
    if let Some(snapshot) = &item.snapshot {
        let verb = match (&item.action, is_dry) {
            (PlannedAction::Delete, true) => "would remove",
            (PlannedAction::Delete, false) => "removed",
            _ => "would keep  ",
        };
        let (id, at) = (short_id(&snapshot.id), time(snapshot.time, zone));
        let paths: Vec<String> = snapshot.paths.iter().map(ToString::to_string).collect();
        let (host, paths, reasons) = (&snapshot.host, paths.join(" "), item.reasons.join(", "));
        return format!("{verb}  {id}  {at}  {host}  {paths}  ({reasons})");
    }
    let verb = match item.action {
        PlannedAction::Create => "would create",
        PlannedAction::Replace => "would replace",
        PlannedAction::Keep => "would keep (differs)",
        PlannedAction::Unchanged => "is right already",
        PlannedAction::Delete => "would delete",
        _ => "?",
    };
    format!("{verb}  {}  {}", item.path, if item.bytes > 0 { size(item.bytes) } else { String::new() })
        .trim_end()
        .to_owned()
}

/// Returns the summary of a job that ended without one, such as one that was cancelled before it began.
pub(crate) fn empty_summary(job: &JobId, state: JobState) -> JobSummary {
    JobSummary {
        job: job.clone(),
        state,
        snapshot: None,
        files: 0,
        bytes: 0,
        bytes_stored: 0,
        failed_count: 0,
        failed: Vec::new(),
        failed_more: false,
        error: None,
        prune: None,
        repair: None,
        copy: None,
        hints: None,
        verify: None,
        estimate: None,
    }
}

fn capital(word: &str) -> String {
    sentence(word).trim_end_matches('.').to_owned()
}

mod estimate;
mod repair;
mod verify;

pub(crate) use verify::coverage;

#[cfg(test)]
mod tests;
