//! The commands around a backup: `before` it, and `after` it however it ends.

use backup_engine::archiver::BackupSummary;
use backup_engine::{Error as EngineError, Gate, GateState, Monitor};
use backup_proto::error::{Class, ErrorKind, RpcError};
use backup_proto::spec::BackupSpec;

use super::attempt::Failure;
use super::reporter::Reporter;
use crate::commands::run::{self, End, Order};
use crate::commands::{Outcome, Owed, Turn, describe, environment};
use crate::config::{DEFAULT_TARGET, PlanCommand, PlanCommands};
use crate::context::Context;
use crate::job::{How, Job};

/// Saves between the plan's commands, if it has any.
pub(super) fn around(
    job: &Job,
    spec: &BackupSpec,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
    save: impl FnOnce() -> Result<BackupSummary, Failure>,
) -> Result<BackupSummary, Failure> {
    let config = context.config();
    let plan = spec.plan.as_ref().and_then(|name| Some((name, &config.plans.get(name)?.commands)));
    let Some((name, commands)) = plan.filter(|(_, commands)| **commands != PlanCommands::default()) else {
        return save();
    };
    let waits = || reporter.notice(&format!("Another backup of `{name}` is between its commands: this one waits."));
    let turn = context.commands.enter(name, gate, waits)?;
    let owed = owed(job, name, commands.after.as_ref());
    if commands.after.is_some() {
        context.commands.owe(&owed)?;
    }
    let outcome = Outcome::of("failed");
    let mut debt = Debt { owed, is_due: commands.after.is_some(), outcome, context, reporter, _turn: turn };
    let begun = commands.before.as_ref().map_or(Ok(()), |before| debt.before(before, gate));
    let result = begun.and_then(|()| save());
    debt.outcome = outcome_of(&result, reporter);
    result
}

fn owed(job: &Job, plan: &str, after: Option<&PlanCommand>) -> Owed {
    Owed {
        plan: plan.to_owned(),
        job: job.id.to_string(),
        attempt: job.attempt_count(),
        target: job.target.clone().unwrap_or_else(|| DEFAULT_TARGET.to_owned()),
        words: after.map(|after| after.words.clone()).unwrap_or_default(),
        limit_seconds: after.map(|after| after.limit.as_secs()).unwrap_or_default(),
    }
}

fn outcome_of(result: &Result<BackupSummary, Failure>, reporter: &Reporter) -> Outcome {
    match result {
        Ok(summary) => {
            let word = if reporter.has_failures() { "partial" } else { "succeeded" };
            Outcome { snapshot: summary.snapshot.map(|id| id.to_string()), ..Outcome::of(word) }
        }
        Err(failure) => match failure.how() {
            How::Cancelled => Outcome::of("cancelled"),
            How::Suspended => Outcome::of("suspended"),
            How::Failed(error) => Outcome { error: Some(error.message), ..Outcome::of("failed") },
            How::Done | How::NoRoom(_) => Outcome::of("failed"),
        },
    }
}

/// What is owed from `before` on; dropping it runs `after`, also when the backup stumbles over a mistake of ours.
struct Debt<'a> {
    owed: Owed,
    is_due: bool,
    outcome: Outcome,
    context: &'a Context,
    reporter: &'a Reporter,
    /// Given back last.
    _turn: Turn,
}

impl Debt<'_> {
    /// Runs `before`.
    fn before(&self, before: &PlanCommand, gate: &Gate) -> Result<(), Failure> {
        let environment = environment("before", &self.owed);
        let order = Order { words: &before.words, environment: &environment, limit: before.limit };
        let ran = run::run(&order, self.context.clock.as_ref(), gate);
        let said = describe("before", &before.words, &ran);
        let has_printed = !ran.output.line().is_empty();
        tracing::info!(job = self.owed.job, "{said}");
        match ran.end {
            End::Stopped => return Err(stopped(gate).into()),
            End::Succeeded if !has_printed => {}
            End::Succeeded => self.reporter.notice(&said),
            _ if before.stops_backup => return Err(refused(&said).into()),
            _ => self.reporter.notice(&said),
        }
        Ok(())
    }
}

impl Drop for Debt<'_> {
    fn drop(&mut self) {
        if self.is_due {
            let ran = self.context.commands.settle(&self.owed, &self.outcome, self.context.clock.as_ref());
            let said = describe("after", &self.owed.words, &ran);
            tracing::info!(job = self.owed.job, "{said}");
            if !matches!(ran.end, End::Succeeded) || !ran.output.line().is_empty() {
                self.reporter.notice(&said);
            }
        }
    }
}

fn stopped(gate: &Gate) -> EngineError {
    match gate.state() {
        GateState::Cancel => EngineError::Cancelled,
        GateState::Run | GateState::Pause | GateState::Suspend => EngineError::Suspended,
    }
}

/// It is not tried again by itself: whatever `before` does to a program would be done to it again and again.
fn refused(said: &str) -> RpcError {
    let advice = "Try the command by hand as the daemon's user, then `backupctl retry`. With `on-failure = \"warn\"` \
                  there is a backup all the same.";
    let said = said.strip_suffix('.').unwrap_or(said);
    RpcError::with_class(ErrorKind::Storage, Class::Misuse, format!("{said}; nothing was saved"), advice)
}
