//! The limits of speed: what the configuration says at this time of day, what somebody has set, and what the
//! conditions ask for.
//!
//! What somebody has set counts in the place of what the configuration says for the same scope and direction; what the
//! conditions say counts beside both. Whoever moves the bytes takes the lowest of all that concern them.

use std::collections::BTreeMap;
use std::sync::Arc;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::event::{EventBody, LimitsEvent};
use backup_proto::job::JobId;
use backup_proto::limit::{
    Direction, Limit, LimitChange, LimitList, LimitScope, LimitSet, LimitSource, RATE_MAX, RATE_MIN, rate,
};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::state::{LIMITS, State, json};
use super::submit::{check_target, invalid};
use super::{Action, Step, find_job};
use crate::config::{Config, LimitsConfig, RateRule};
use crate::limits::Rates;
use crate::store::Change;

/// Limits that somebody has set, at most: as many as anybody can look over.
const BY_HAND_MAX: usize = 1_000;

/// What is halved for a target that fails and has no limit, in bytes per second.
const FAILING_RATE: u64 = 8 * 1024 * 1024;

/// The slowest that a target becomes because it fails, in bytes per second.
const FAILING_MIN: u64 = 64 * 1024;

/// A limit that somebody has set, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandLimit {
    /// What it is for.
    pub scope: LimitScope,
    /// Which way.
    pub direction: Direction,
    /// Bytes per second; absent: none, whatever the configuration says.
    pub rate: Option<u64>,
    /// Since when.
    pub since: Timestamp,
    /// Until when; absent: until it is changed, or the job has ended.
    pub until: Option<Timestamp>,
}

/// What the conditions ask of a job: to go on, and slowly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slowdown {
    /// Bytes per second, each way.
    pub rate: u64,
    /// Why, in a few words, such as `on battery`.
    pub reason: String,
}

/// Slows a job down, or lets it go at its own pace again: for the conditions, at every decision. It is not stored.
pub(super) fn slow(state: &mut State, job: &JobId, slowdown: Option<Slowdown>) {
    match slowdown {
        Some(slowdown) => state.slowed.insert(job.clone(), slowdown),
        None => state.slowed.remove(job),
    };
}

/// Changes what somebody has set; returns what is in force then.
pub(super) fn set(
    state: &mut State,
    step: &mut Step,
    params: &LimitSet,
    now: Timestamp,
) -> Result<LimitList, RpcError> {
    let scope = scope(state, params.scope.as_ref())?;
    let until = params.for_seconds.map(|seconds| end(seconds, now)).transpose()?;
    let rate = match params.limit {
        LimitChange::Rate(rate) if (RATE_MIN..=RATE_MAX).contains(&rate) => Some(rate),
        LimitChange::Rate(_) => {
            let message = format!("a limit is at least {RATE_MIN} and at most {RATE_MAX} bytes per second");
            return Err(invalid(&message, "Take another one; `off` is for no limit."));
        }
        LimitChange::Off | LimitChange::Reset => None,
    };
    let mut hand_limits = state.hand_limits.clone();
    for direction in Direction::ALL.into_iter().filter(|way| params.direction.is_none_or(|wanted| wanted == *way)) {
        hand_limits.retain(|known| (known.direction, &known.scope) != (direction, &scope));
        // Where the configuration has none, there is nothing to lift.
        let has_effect = rate.is_some() || !rules(&state.config, &scope, direction).is_empty();
        if params.limit != LimitChange::Reset && has_effect {
            hand_limits.push(HandLimit { scope: scope.clone(), direction, rate, since: now, until });
        }
    }
    if hand_limits.len() > BY_HAND_MAX {
        let message = format!("{BY_HAND_MAX} limits are set already");
        return Err(RpcError::new(ErrorKind::Busy, message, "`backupctl limit` lists them; reset some."));
    }
    state.hand_limits = hand_limits;
    store(state, step);
    update(state, step, now);
    Ok(LimitList { limits: state.in_force.to_vec(), ..LimitList::default() })
}

fn scope(state: &State, wanted: Option<&LimitScope>) -> Result<LimitScope, RpcError> {
    match wanted {
        None | Some(LimitScope::Everything) => Ok(LimitScope::Everything),
        Some(LimitScope::Target(target)) => {
            check_target(state, target)?;
            Ok(LimitScope::Target(target.clone()))
        }
        Some(LimitScope::Job(job)) => {
            let job = find_job(state, job)?;
            if job.state.is_final() {
                let message = format!("job {} is {}; it moves nothing any more", job.id, job.state.as_str());
                return Err(RpcError::new(
                    ErrorKind::WrongState,
                    message,
                    "`backupctl jobs` shows what has not ended.",
                ));
            }
            Ok(LimitScope::Job(job.id.clone()))
        }
    }
}

fn end(seconds: u64, now: Timestamp) -> Result<Timestamp, RpcError> {
    let end = i64::try_from(seconds).ok().and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok());
    end.ok_or_else(|| {
        invalid(&format!("{seconds} seconds are too long"), "Leave the time out for until it is changed.")
    })
}

/// Stores what somebody has set.
pub(super) fn store(state: &State, step: &mut Step) {
    step.changes.push(Change::set(LIMITS, json(&state.hand_limits)));
}

/// Ends what is over, and lets everybody know of what is in force now if that is new. Returns when to look again.
pub(super) fn update(state: &mut State, step: &mut Step, now: Timestamp) -> Option<Timestamp> {
    let is_over = |limit: &HandLimit| {
        let is_job_over = matches!(&limit.scope, LimitScope::Job(job) if !state.active.contains_key(job));
        is_job_over || limit.until.is_some_and(|until| until <= now)
    };
    if state.hand_limits.iter().any(is_over) {
        let kept = state.hand_limits.iter().filter(|limit| !is_over(limit)).cloned().collect();
        state.hand_limits = kept;
        store(state, step);
    }
    let active = &state.active;
    state.slowed.retain(|job, _| active.contains_key(job));
    let in_force = in_force(state, &state.config, now);
    if *state.in_force != in_force {
        // Before any job starts.
        step.actions.insert(0, Action::Limit(Arc::new(rates(&in_force))));
        step.publish(EventBody::Limits(LimitsEvent { limits: in_force.clone() }));
        state.in_force = Arc::new(in_force);
    }
    let ends = state.hand_limits.iter().filter_map(|limit| limit.until);
    ends.chain(next_change(&state.config, now, &state.zone)).min()
}

/// Answers `limit.get`: what is in force under a configuration that may be newer than the state's.
#[must_use]
pub fn limit_list(state: &State, config: &Config, now: Timestamp) -> LimitList {
    LimitList { limits: in_force(state, config, now), ..LimitList::default() }
}

fn in_force(state: &State, config: &Config, now: Timestamp) -> Vec<Limit> {
    let mut limits: BTreeMap<(LimitScope, Direction), Limit> = BTreeMap::new();
    for (scope, of) in configured(config) {
        for direction in Direction::ALL {
            if let Some(limit) = of_config(&scope, direction, of, now, &state.zone) {
                limits.insert((scope.clone(), direction), limit);
            }
        }
    }
    for hand in &state.hand_limits {
        let limit = Limit {
            scope: hand.scope.clone(),
            direction: hand.direction,
            bytes_per_second: hand.rate,
            source: LimitSource::Hand,
            since: Some(hand.since),
            until: hand.until,
            reason: None,
        };
        limits.insert((hand.scope.clone(), hand.direction), limit);
    }
    let slowed =
        state.slowed.iter().flat_map(|(job, slowdown)| Direction::ALL.map(|way| of_slowed(job, way, slowdown)));
    let mut limits: Vec<Limit> = limits.into_values().chain(slowed).collect();
    limits.extend(of_failing(state, &limits));
    limits
}

fn configured(config: &Config) -> impl Iterator<Item = (LimitScope, &LimitsConfig)> {
    let targets = config.targets.iter().map(|(name, target)| (LimitScope::Target(name.clone()), &target.limits));
    std::iter::once((LimitScope::Everything, &config.limits)).chain(targets)
}

fn rules<'c>(config: &'c Config, scope: &LimitScope, direction: Direction) -> &'c [RateRule] {
    let limits = match scope {
        LimitScope::Everything => Some(&config.limits),
        LimitScope::Target(target) => config.targets.get(target).map(|target| &target.limits),
        LimitScope::Job(_) => None,
    };
    limits.map_or(&[], |limits| of_direction(limits, direction))
}

fn of_direction(limits: &LimitsConfig, direction: Direction) -> &[RateRule] {
    match direction {
        Direction::Upload => &limits.upload,
        Direction::Download => &limits.download,
    }
}

fn of_config(
    scope: &LimitScope,
    direction: Direction,
    limits: &LimitsConfig,
    now: Timestamp,
    zone: &TimeZone,
) -> Option<Limit> {
    let time = now.to_zoned(zone.clone()).time();
    let rule = of_direction(limits, direction).iter().find(|rule| rule.fits(time))?;
    let (scope, source) = (scope.clone(), LimitSource::Config);
    let reason = rule.between.map(|(from, to)| format!("{} to {}", from.strftime("%H:%M"), to.strftime("%H:%M")));
    rule.rate?;
    Some(Limit { scope, direction, bytes_per_second: rule.rate, source, since: None, until: None, reason })
}

fn of_slowed(job: &JobId, direction: Direction, slowdown: &Slowdown) -> Limit {
    Limit {
        scope: LimitScope::Job(job.clone()),
        direction,
        bytes_per_second: Some(slowdown.rate.clamp(RATE_MIN, RATE_MAX)),
        source: LimitSource::Conditions,
        since: None,
        until: None,
        reason: Some(slowdown.reason.clone()),
    }
}

/// A target that is there and fails gets half of what it had, each time it does so again.
fn of_failing(state: &State, limits: &[Limit]) -> Vec<Limit> {
    let failing = state.breakers.iter().filter(|(_, breaker)| breaker.cuts() > 0);
    let one = |name: &String, cuts: u32, direction| {
        let scope = LimitScope::Target(name.clone());
        let concerns = |limit: &&Limit| {
            limit.direction == direction && (limit.scope == scope || limit.scope == LimitScope::Everything)
        };
        let lowest = limits.iter().filter(concerns).filter_map(|limit| limit.bytes_per_second).min();
        let rate = lowest.unwrap_or(FAILING_RATE).checked_shr(cuts).unwrap_or(0);
        let rate = rate.max(FAILING_MIN).min(lowest.unwrap_or(u64::MAX));
        let reason = Some("it has failed, and no job has succeeded since".to_owned());
        let source = LimitSource::Failures;
        Limit { scope, direction, bytes_per_second: Some(rate), source, since: None, until: None, reason }
    };
    failing.flat_map(|(name, breaker)| Direction::ALL.map(|direction| one(name, breaker.cuts(), direction))).collect()
}

/// Returns the lowest rate of each direction and scope.
fn rates(limits: &[Limit]) -> Rates {
    let mut rates = Rates::new();
    for limit in limits {
        let Some(rate) = limit.bytes_per_second else { continue };
        let lowest = rates.entry((limit.direction, limit.scope.clone())).or_insert(rate);
        *lowest = rate.min(*lowest);
    }
    rates
}

/// Returns when the configuration begins or ends a limit next.
fn next_change(config: &Config, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let today = now.to_zoned(zone.clone()).date();
    let at = |time: jiff::civil::Time| {
        let days = [today, today.saturating_add(1.day())];
        let times = days.map(|day| day.to_datetime(time).to_zoned(zone.clone()).map(|zoned| zoned.timestamp()));
        times.into_iter().flatten().find(|at| *at > now)
    };
    let rules = configured(config).flat_map(|(_, limits)| limits.upload.iter().chain(&limits.download));
    rules.filter_map(|rule| rule.between).flat_map(|(from, to)| [at(from), at(to)]).flatten().min()
}

/// Says the rates in a few words, for the log.
pub fn describe(rates: &Rates) -> String {
    let one = |((direction, scope), bytes): (&(Direction, LimitScope), &u64)| {
        let scope = match scope {
            LimitScope::Everything => "everything".to_owned(),
            LimitScope::Target(name) => format!("target {name}"),
            LimitScope::Job(id) => format!("job {id}"),
        };
        format!("{} of {scope} {}", direction.as_str(), rate(*bytes))
    };
    rates.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
