//! What the state of the machine means for a job: run, run slowly, or wait and why.
//!
//! ```text
//! readings + policy + job + now ─► Run · Slow(rate, reason) · Wait(verdict)
//! ```
//! The window comes first. Then every rule is asked in the order of `RULES`; the first that says "wait" is the verdict,
//! and of those that say "slowly" the lowest rate counts. Most rules are soft: a job that has waited for long enough runs in spite of them.
//! Hard are those against which it would do harm, or come to nothing. A sentence may change from one look to the next
//! (the battery's charge is in it); its kind says whether it is still the same reason.

use backup_proto::job::{Verdict, VerdictKind};
use jiff::Timestamp;

use super::kind::Kind;
use super::policy::{BATTERY_CRITICAL, Policy};
use super::readings::{BATTERY_BAND, LOAD_BAND, Reading, Seen};
use crate::config::{Act, Rule, VpnRule};
use crate::supervisor::{Slowdown, verdict};

/// What matters about a job.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// Somebody asked for it.
    pub by_hand: bool,
    /// Somebody wants it to run whatever the machine is like.
    pub now: bool,
    /// It brings something back: somebody waits for it.
    pub is_restore: bool,
    /// Its target is reached over a network.
    pub over_network: bool,
    /// When it has waited for long enough.
    pub due_by: Option<Timestamp>,
    /// Its window, while that is closed.
    pub closed: Option<Closed>,
}

/// A window that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What it is, and when it opens, in words.
    pub details: String,
    /// When it opens.
    pub opens: Option<Timestamp>,
}

/// What follows for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It runs.
    Run,
    /// It runs at a rate.
    Slow(Slowdown),
    /// It waits.
    Wait(Verdict),
}

/// What a rule finds.
pub(crate) struct Finding {
    /// What follows.
    pub(crate) act: Act,
    /// What is waited for, or why it is slow: a part of a sentence.
    text: String,
    /// The numbers behind it.
    details: Option<String>,
}

impl Finding {
    /// Says what is waited for, as a sentence.
    fn sentence(&self) -> String {
        match &self.details {
            Some(details) => format!("Waiting for {} ({details}).", self.text),
            None => format!("Waiting for {}.", self.text),
        }
    }
}

/// How a rule is asked.
pub(crate) type Ask = fn(&Seen, &Policy<'_>) -> Option<Finding>;

/// Every rule with how it is asked, in this order.
pub(crate) const RULES: [(Kind, Ask); 10] = [
    (Kind::BatteryCritical, battery_critical),
    (Kind::Battery, battery),
    (Kind::PowerSaver, power_saver),
    (Kind::Offline, offline),
    (Kind::Captive, captive),
    (Kind::Metered, metered),
    (Kind::Networks, networks),
    (Kind::Vpn, vpn),
    (Kind::Load, load),
    (Kind::Idle, idle),
];

/// Says what the state of the machine means for a job.
#[must_use]
pub fn decide(seen: &Seen, policy: &Policy<'_>, job: &Subject, now: Timestamp) -> Ruling {
    if job.now {
        return Ruling::Run;
    }
    let is_overdue = job.due_by.is_some_and(|due_by| due_by <= now);
    let closed = job.closed.as_ref().filter(|_| Kind::Window.concerns(job) && !is_overdue);
    if let Some(closed) = closed {
        return Ruling::Wait(wait_for_window(closed, job));
    }
    let mut slow: Option<Slowdown> = None;
    for (kind, ask) in RULES.iter().filter(|(kind, _)| kind.concerns(job)) {
        let Some(finding) = ask(seen, policy) else { continue };
        match finding.act {
            Act::Run => {}
            Act::Slow(rate) => {
                if slow.as_ref().is_none_or(|known| rate < known.rate) {
                    slow = Some(Slowdown { rate, reason: slow_reason(*kind).to_owned() });
                }
            }
            Act::Pause if kind.is_soft() && is_overdue => {}
            Act::Pause => return Ruling::Wait(wait(*kind, &finding, job)),
        }
    }
    slow.map_or(Ruling::Run, Ruling::Slow)
}

/// What waits for its window looks again when that opens, or when it has waited for long enough.
fn wait_for_window(closed: &Closed, job: &Subject) -> Verdict {
    let finding = Finding { act: Act::Pause, text: "its window".to_owned(), details: Some(closed.details.clone()) };
    let no = wait(Kind::Window, &finding, job);
    Verdict { next_look: closed.opens.into_iter().chain(no.next_look).min(), ..no }
}

fn wait(kind: Kind, finding: &Finding, job: &Subject) -> Verdict {
    let mut sentence = finding.sentence();
    if job.by_hand {
        sentence.push_str(" With `--now` it runs all the same: `backupctl resume --now` and its id.");
    }
    let runs_by = job.due_by.filter(|_| kind.is_soft());
    let condition = Some(kind.as_str().to_owned());
    Verdict { condition, runs_by, ..verdict(VerdictKind::Conditions, sentence, runs_by) }
}

fn slow_reason(kind: Kind) -> &'static str {
    match kind {
        Kind::BatteryCritical | Kind::Battery => "on battery",
        Kind::PowerSaver => "power is saved",
        Kind::Metered => "the network is metered",
        Kind::Load => "the machine is busy",
        Kind::Offline | Kind::Captive | Kind::Networks | Kind::Vpn | Kind::Idle | Kind::Window => "conditions",
    }
}

/// What a rule says of something that nobody can tell.
fn unknown(policy: &Policy<'_>, what: &str) -> Option<Finding> {
    let details = Some("unknown here, and `unknown` is `pause`".to_owned());
    policy.unknown_waits().then(|| Finding { act: Act::Pause, text: what.to_owned(), details })
}

/// A rule without a limit, on a reading that is true or false.
fn on_flag(reading: &Reading<bool>, bad: bool, rule: Rule, policy: &Policy<'_>, text: &str) -> Option<Finding> {
    match reading.value {
        _ if rule.act == Act::Run => None,
        Some(value) if value != bad => None,
        Some(_) => Some(Finding { act: rule.act, text: text.to_owned(), details: None }),
        None => unknown(policy, text),
    }
}

fn battery_critical(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    let counts = seen.battery.filter(|_| policy.on_battery().act != Act::Run)?;
    (counts < BATTERY_CRITICAL).then(|| low(seen, Act::Pause, BATTERY_CRITICAL))
}

fn battery(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    let Rule { act, limit } = policy.on_battery();
    let power = match seen.readings.power.value {
        _ if act == Act::Run => return None,
        Some(power) if !power.on_battery => return None,
        Some(power) => power,
        None => return unknown(policy, "mains power"),
    };
    match (limit, seen.battery) {
        (None, percent) => {
            let details = percent.and(power.percent).map(|percent| format!("battery {percent} %"));
            Some(Finding { act, text: "mains power".to_owned(), details })
        }
        (Some(limit), Some(counts)) => (counts < limit).then(|| low(seen, act, limit)),
        (Some(_), None) => unknown(policy, "mains power"),
    }
}

fn low(seen: &Seen, act: Act, limit: u8) -> Finding {
    let percent = seen.readings.power.value.and_then(|power| power.percent).unwrap_or(0);
    let details = match percent < limit {
        true => format!("battery {percent} %, threshold {limit} %"),
        false => format!("battery {percent} %, goes on at {} %", limit.saturating_add(BATTERY_BAND).min(100)),
    };
    Finding { act, text: "mains power".to_owned(), details: Some(details) }
}

fn power_saver(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    on_flag(&seen.readings.power_saver, true, policy.power_saver(), policy, "the end of saving power")
}

fn offline(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    on_flag(&seen.readings.online, false, policy.offline(), policy, "a network")
}

fn captive(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    on_flag(&seen.readings.captive, true, policy.captive(), policy, "somebody to sign in to the network")
}

fn metered(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    let mut finding = on_flag(&seen.readings.metered, true, policy.metered(), policy, "a network that is not metered")?;
    if let (None, Some(name)) = (&finding.details, &seen.readings.connection.value) {
        finding.details = Some(format!("now `{name}`"));
    }
    Some(finding)
}

fn networks(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    let rule = policy.networks().filter(|rule| !rule.allow.is_empty() || !rule.deny.is_empty())?;
    let Some(name) = &seen.readings.connection.value else { return unknown(policy, "a network that may be used") };
    let why = match (rule.deny.contains(name), rule.allow.is_empty() || rule.allow.contains(name)) {
        (true, _) => "denied",
        (false, false) => "not among the allowed ones",
        (false, true) => return None,
    };
    let details = Some(format!("now `{name}`, which is {why}"));
    Some(Finding { act: Act::Pause, text: "another network".to_owned(), details })
}

fn vpn(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    let pause = Rule { act: Act::Pause, limit: None };
    match policy.vpn() {
        VpnRule::Run => None,
        VpnRule::Pause => on_flag(&seen.readings.vpn, true, pause, policy, "the end of the VPN"),
        VpnRule::Only => on_flag(&seen.readings.vpn, false, pause, policy, "the VPN"),
    }
}

fn load(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    let rule = policy.load();
    let limit = rule.limit.filter(|_| rule.act != Act::Run)?;
    let text = "the machine to be less busy";
    let (Some(counts), Some(now)) = (seen.load, seen.readings.load.value) else { return unknown(policy, text) };
    let details = match now > limit {
        true => format!("load {now} %, threshold {limit} %"),
        false => format!("load {now} %, goes on at {} %", limit.saturating_sub(LOAD_BAND)),
    };
    (counts > limit).then(|| Finding { act: rule.act, text: text.to_owned(), details: Some(details) })
}

fn idle(seen: &Seen, policy: &Policy<'_>) -> Option<Finding> {
    let act = if policy.only_idle() { Act::Pause } else { Act::Run };
    on_flag(&seen.readings.idle, false, Rule { act, limit: None }, policy, "nobody to use the machine")
}
