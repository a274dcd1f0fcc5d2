//! Plans that have had no success on a target for too long: said when that begins, and when it is over.

use std::collections::BTreeSet;
use std::sync::Arc;

use backup_proto::event::{EventBody, PlanEvent};
use backup_proto::status::Stale;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plans::CLOCK_SET;
use super::state::{WATCH, json};
use super::{State, Step};
use crate::store::Change;

/// What is kept of a plan and a target while somebody wants to know when nothing succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Since when: there may never have been a success.
    pub since: Timestamp,
    /// Whether watchers were told that nothing has succeeded for too long.
    pub is_stale: bool,
}

/// Compares each plan's last success on each of its targets with what its configuration allows; returns when the next
/// one is too long ago.
pub(super) fn look(state: &mut State, step: &mut Step, now: Timestamp) -> Option<Timestamp> {
    let config = Arc::clone(&state.config);
    let mut names = BTreeSet::new();
    let mut next: Option<Timestamp> = None;
    let watched = config.plans.iter().filter_map(|(name, plan)| plan.stale_after.map(|after| (name, plan, after)));
    for (plan, target, after) in
        watched.flat_map(|(name, plan, after)| plan.targets.iter().map(move |target| (name, target, after)))
    {
        let name = format!("{plan}/{target}");
        let before = state.watched.get(&name).copied();
        let since = before.map_or(now, |watch| watch.since);
        // Who was added under a clock that has been set back since is watched from now on. A success in the future is
        // one: how old it is nobody knows.
        let since = if since.duration_since(now) > CLOCK_SET { now } else { since };
        let last = state.successes.get(&name).copied();
        // So far away that there is no such time: never.
        let due = last.unwrap_or(since).checked_add(after).ok();
        let watch = Watch { since, is_stale: due.is_some_and(|due| due <= now) };
        if before != Some(watch) {
            step.changes.push(Change::set(format!("{WATCH}{name}"), json(&watch)));
            state.watched.insert(name.clone(), watch);
        }
        if before.is_some_and(|before| before.is_stale) != watch.is_stale {
            let (plan, target, is_stale) = (plan.clone(), target.clone(), watch.is_stale);
            step.publish(EventBody::Plan(PlanEvent { plan, target, is_stale, last_success: last }));
        }
        let coming = due.filter(|_| !watch.is_stale);
        next = next.into_iter().chain(coming).min();
        names.insert(name);
    }
    let gone: Vec<String> = state.watched.keys().filter(|name| !names.contains(*name)).cloned().collect();
    for name in gone {
        step.changes.push(Change::remove(format!("{WATCH}{name}")));
        state.watched.remove(&name);
    }
    next
}

/// Returns the targets on which a plan has had no success for too long.
pub(super) fn of_plan(state: &State, plan: &str) -> Vec<Stale> {
    let stale = state.watched.iter().filter(|(_, watch)| watch.is_stale);
    let of_this = stale.filter_map(|(name, watch)| Some((name, name.strip_prefix(plan)?.strip_prefix('/')?, watch)));
    of_this
        .map(|(name, target, watch)| Stale {
            target: target.to_owned(),
            last_success: state.successes.get(name).copied(),
            watched_since: watch.since,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backup_proto::job::JobId;

    use super::*;
    use crate::config::Config;
    use crate::job::How;
    use crate::supervisor::bench::{Bench, with_plan};

    const HOUR: Duration = Duration::from_secs(3600);

    fn stale(bench: &Bench) -> Vec<String> {
        of_plan(&bench.state, "docs").into_iter().map(|stale| stale.target).collect()
    }

    /// Ends whatever runs.
    fn end_all(bench: &mut Bench, how: &How) {
        let ids: Vec<JobId> = bench.workers.keys().cloned().collect();
        ids.iter().for_each(|id| bench.end(id, how.clone(), 0));
    }

    /// Lets hours pass in which every run ends like this; returns what watchers were told.
    fn hours(bench: &mut Bench, count: u32, how: &How) -> Vec<bool> {
        let already = bench.stale.len();
        for _ in 0..count {
            bench.pass(HOUR);
            end_all(bench, how);
        }
        bench.stale[already..].iter().map(|event| event.is_stale).collect()
    }

    #[test]
    fn it_is_said_once_when_nothing_has_succeeded_for_too_long_and_once_when_that_is_over() {
        let mut bench = Bench::new(with_plan("every 3h"));
        end_all(&mut bench, &How::Done);
        assert_eq!(hours(&mut bench, 100, &How::Done), Vec::<bool>::new());
        assert_eq!(hours(&mut bench, 70, &How::Cancelled), Vec::<bool>::new());
        let success = bench.state.successes["docs/local"];
        assert_eq!(hours(&mut bench, 50, &How::Cancelled), [true]);
        assert_eq!((stale(&bench), bench.stale[0].last_success), (vec!["local".to_owned()], Some(success)));
        bench.restart();
        assert_eq!(
            (stale(&bench), bench.stale.len()),
            (vec!["local".to_owned()], 1),
            "a restart says it no second time"
        );
        assert_eq!(hours(&mut bench, 10, &How::Done), [false]);
        assert!(stale(&bench).is_empty());
        bench.check();
    }

    #[test]
    fn a_plan_without_any_success_is_stale_after_as_long_also_when_the_machine_was_off() {
        let mut bench = Bench::new(with_plan("daily 02:30"));
        bench.now.wall = bench.now.wall.checked_add(HOUR * 71).unwrap();
        bench.restart();
        assert!(bench.stale.is_empty());
        let wake = bench.wake.expect("it is looked at again");
        assert!(wake <= HOUR);
        bench.now.wall = bench.now.wall.checked_add(HOUR).unwrap();
        bench.restart();
        assert_eq!((stale(&bench), bench.stale.len()), (vec!["local".to_owned()], 1));
        assert_eq!(bench.stale[0].last_success, None);
    }

    #[test]
    fn each_target_of_a_plan_counts_for_itself_and_what_is_no_longer_configured_is_forgotten() {
        let two = || {
            let text = "[target.nas]\nurl = \"/nas\"\npassword-file = \"/key\"\n[plan.docs]\nsources = [\"/home\"]\ntargets = [\"local\", \"nas\"]\nschedule = \"every 3h\"\nstale-after = \"1 day\"\n";
            let surroundings = crate::config::Surroundings { folder: "/etc".into(), home: None };
            Config::parse(text, std::path::Path::new("c"), &surroundings).unwrap()
        };
        let mut bench = Bench::new(two());
        for _ in 0..30 {
            let ids: Vec<JobId> = bench.workers.keys().cloned().collect();
            for id in ids {
                let is_local = bench.state.job(&id).unwrap().target.as_deref() == Some("local");
                bench.end(&id, if is_local { How::Done } else { How::Cancelled }, 0);
            }
            bench.pass(HOUR);
        }
        assert_eq!(stale(&bench), ["nas"]);
        let mut config = two();
        config.plans.get_mut("docs").unwrap().targets.pop();
        bench.event(crate::inbox::Event::Configured(Arc::new(config)));
        assert!(stale(&bench).is_empty());
        assert!(!bench.disk.contains_key("watch/docs/nas"), "nothing of it stays");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_stale_and_forward_only_until_the_next_success() {
        let mut bench = Bench::new(with_plan("every 3h"));
        end_all(&mut bench, &How::Done);
        for time in ["1970-01-02T00:00:00Z", "2024-04-30T00:00:00Z"] {
            bench.now.wall = time.parse().unwrap();
            bench.tick();
            assert!(stale(&bench).is_empty(), "{time}");
        }
        bench.now.wall = "2033-01-01T00:00:00Z".parse().unwrap();
        bench.tick();
        assert_eq!(stale(&bench), ["local"]);
        bench.now.wall = "2024-05-01T12:00:00Z".parse().unwrap();
        bench.tick();
        assert!(stale(&bench).is_empty());
        assert_eq!(bench.stale.iter().map(|event| event.is_stale).collect::<Vec<_>>(), [true, false]);
    }
}
