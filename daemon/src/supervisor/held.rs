//! The third decider, for one job: does the state of the machine hold it, or slow it down?

use std::time::Duration;

use backup_proto::job::{JobId, JobKind, Verdict};
use backup_proto::spec::JobSpec;
use backup_proto::status::{Condition, Conditions};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::{Slowdown, State};
use crate::conditions::policy::BATTERY_CRITICAL;
use crate::conditions::rules::{self, Ask, RULES};
use crate::conditions::{self, Closed, Kind, Policy, Reading, Readings, Ruling, Subject};
use crate::config::{Act, Config, Rule, VpnRule, Window};
use crate::job::Job;

/// A job that was accepted in the future by more than this was accepted under a clock that has been set back since.
const CLOCK_SET: SignedDuration = SignedDuration::from_secs(60);

/// Says whether the state of the machine holds a job.
pub(super) fn decide(state: &State, job: &Job, now: Timestamp) -> Option<Verdict> {
    match ruling(state, job, now) {
        Ruling::Wait(no) => Some(no),
        Ruling::Run | Ruling::Slow(_) => None,
    }
}

/// Returns how slowly the state of the machine lets a job run, if not at its own pace.
pub(super) fn slowdown(state: &State, id: &JobId, now: Timestamp) -> Option<Slowdown> {
    match ruling(state, state.active.get(id)?, now) {
        Ruling::Slow(slowdown) => Some(slowdown),
        Ruling::Run | Ruling::Wait(_) => None,
    }
}

fn ruling(state: &State, job: &Job, now: Timestamp) -> Ruling {
    let policy = Policy::of(&state.config, job.plan.as_deref(), job.target.as_deref());
    let due_by = policy.deadline().and_then(|deadline| due_by(state, job, deadline, now));
    let subject = Subject {
        by_hand: job.by_hand,
        now: job.now,
        is_restore: job.spec.kind() == JobKind::Restore,
        over_network: over_network(state, job),
        due_by,
        closed: policy.window().and_then(|window| closed(window, &state.zone, now)),
    };
    rules::decide(&state.seen, &policy, &subject, now)
}

/// Returns what is to be said of a window while it is closed.
fn closed(window: &Window, zone: &TimeZone, now: Timestamp) -> Option<Closed> {
    if window.is_open(now, zone) {
        return None;
    }
    let opens = window.opens(now, zone);
    let when = opens.map(|opens| {
        let is_soon = opens.duration_since(now) < SignedDuration::from_hours(24);
        let form = if is_soon { ", opens at %H:%M" } else { ", opens on %A %Y-%m-%d at %H:%M" };
        opens.to_zoned(zone.clone()).strftime(form).to_string()
    });
    Some(Closed { details: format!("{}{}", window.text(), when.unwrap_or_default()), opens })
}

/// Returns when the window of a job that may run closes.
pub(super) fn window_closes(state: &State, id: &JobId, now: Timestamp) -> Option<Timestamp> {
    let job = state.active.get(id)?;
    let window = Policy::of(&state.config, job.plan.as_deref(), job.target.as_deref()).window()?;
    window.is_open(now, &state.zone).then(|| window.closes(now, &state.zone)).flatten()
}

/// Returns when a plan that is due at a time may begin on the first of its targets.
pub(super) fn may_begin(state: &State, config: &Config, plan: &str, due: Timestamp) -> Timestamp {
    let targets = config.plans.get(plan).map(|plan| plan.targets.as_slice()).unwrap_or_default();
    let on_target = |target: &String| {
        let window = Policy::of(config, Some(plan), Some(target)).window();
        let closed = window.filter(|window| !window.is_open(due, &state.zone));
        closed.map_or(Some(due), |window| window.opens(due, &state.zone))
    };
    targets.iter().filter_map(on_target).min().unwrap_or(due)
}

fn over_network(state: &State, job: &Job) -> bool {
    let from = match &job.spec {
        JobSpec::Copy(spec) => Some(&spec.from),
        _ => None,
    };
    let mut used = job.target.iter().chain(from).filter_map(|target| state.config.targets.get(target));
    used.any(|target| target.over_network)
}

/// Returns when a job has waited for long enough: so long after its plan's last success on the target, or after it was
/// accepted when there was none. What is done by itself after a backup waits for as long as it takes.
fn due_by(state: &State, job: &Job, deadline: Duration, now: Timestamp) -> Option<Timestamp> {
    if !job.by_hand && !job.spec.stores_a_snapshot() {
        // What keeps a target healthy is nothing to empty a battery for, or to pay for.
        return None;
    }
    if job.submitted.duration_since(now) > CLOCK_SET {
        // How long it has waited nobody knows any more; better once too early than never.
        return Some(now);
    }
    let name = job.plan.as_ref().zip(job.target.as_ref()).map(|(plan, target)| format!("{plan}/{target}"));
    let success = name.filter(|_| job.spec.stores_a_snapshot()).and_then(|name| state.successes.get(&name));
    let since = success.map_or(job.submitted, |success| job.submitted.min(*success));
    since.checked_add(deadline).ok()
}

/// Answers `conditions.get` from readings that have just been made.
#[must_use]
pub fn conditions(state: &State, readings: Readings, now: Timestamp) -> Conditions {
    let seen = state.seen.after(readings);
    let policy = Policy::of(&state.config, None, None);
    let closed = policy.window().and_then(|window| closed(window, &state.zone, now));
    let local = now.to_zoned(state.zone.clone());
    let row = |kind: Kind, allows: bool| {
        let (reading, source, read) = reading(kind, &seen.readings, &local);
        let (name, policy) = (kind.as_str().to_owned(), policy_text(kind, &policy));
        Condition { name, reading, policy, allows, source: Some(source.to_owned()), read: Some(read) }
    };
    let allows = |ask: &Ask| ask(&seen, &policy).is_none_or(|finding| finding.act != Act::Pause);
    let rows = RULES.iter().map(|(kind, ask)| row(*kind, allows(ask)));
    let rows = rows.chain(std::iter::once(row(Kind::Window, closed.is_none()))).collect();
    let ruling = match rules::decide(&seen, &policy, &Subject { closed, ..Subject::default() }, now) {
        Ruling::Wait(no) => Some(no),
        Ruling::Run | Ruling::Slow(_) => None,
    };
    let verdict = conditions::decide(state.paused.as_ref(), state.shortage.as_ref(), now).or(ruling);
    Conditions { conditions: rows, verdict }
}

/// Says a reading in words, with its source and its time.
fn reading(kind: Kind, readings: &Readings, local: &Zoned) -> (String, &'static str, Timestamp) {
    let flag =
        |reading: &Reading<bool>, yes: &str, no: &str| said(reading, |is| (if *is { yes } else { no }).to_owned());
    match kind {
        Kind::Battery | Kind::BatteryCritical => {
            said(&readings.power, |power| match (power.on_battery, power.percent) {
                (true, Some(percent)) => format!("on battery, {percent} %"),
                (true, None) => "on battery".to_owned(),
                (false, Some(percent)) => format!("on mains, battery {percent} %"),
                (false, None) => "on mains".to_owned(),
            })
        }
        Kind::PowerSaver => flag(&readings.power_saver, "saving power", "not saving power"),
        Kind::Offline => flag(&readings.online, "online", "offline"),
        Kind::Captive => flag(&readings.captive, "somebody has to sign in", "open"),
        Kind::Metered => flag(&readings.metered, "metered", "not metered"),
        Kind::Networks => said(&readings.connection, |name| format!("`{name}`")),
        Kind::Vpn => flag(&readings.vpn, "in use", "not in use"),
        Kind::Load => said(&readings.load, |load| format!("{load} %")),
        Kind::Idle => flag(&readings.idle, "nobody uses the machine", "somebody uses the machine"),
        Kind::Window => (local.strftime("%A %H:%M").to_string(), "the clock", local.timestamp()),
    }
}

fn said<T>(reading: &Reading<T>, words: impl Fn(&T) -> String) -> (String, &'static str, Timestamp) {
    let text = reading.value.as_ref().map_or_else(|| "unknown".to_owned(), words);
    (text, reading.source, reading.at)
}

/// Says what the configuration, or what counts without it, says of something.
fn policy_text(kind: Kind, policy: &Policy<'_>) -> String {
    let with = |rule: Rule, word: &str| match rule.limit {
        Some(limit) => format!("{} {word} {limit} %", rule.act),
        None => rule.act.to_string(),
    };
    match kind {
        Kind::BatteryCritical if policy.on_battery().act == Act::Run => "run".to_owned(),
        Kind::BatteryCritical => format!("pause below {BATTERY_CRITICAL} %"),
        Kind::Battery => with(policy.on_battery(), "below"),
        Kind::PowerSaver => policy.power_saver().act.to_string(),
        Kind::Offline => policy.offline().act.to_string(),
        Kind::Captive => policy.captive().act.to_string(),
        Kind::Metered => policy.metered().act.to_string(),
        Kind::Networks => policy.networks().map_or_else(
            || "any".to_owned(),
            |rule| match (rule.allow.as_slice(), rule.deny.as_slice()) {
                ([], deny) => format!("not {}", deny.join(", ")),
                (allow, _) => format!("only {}", allow.join(", ")),
            },
        ),
        Kind::Vpn => match policy.vpn() {
            VpnRule::Run => "run".to_owned(),
            VpnRule::Pause => "pause while there is one".to_owned(),
            VpnRule::Only => "pause while there is none".to_owned(),
        },
        Kind::Load => with(policy.load(), "above"),
        Kind::Idle if policy.only_idle() => "pause while somebody uses the machine".to_owned(),
        Kind::Idle => "run".to_owned(),
        Kind::Window => {
            policy.window().map_or_else(|| "run".to_owned(), |window| format!("pause outside {}", window.text()))
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod window_tests;
