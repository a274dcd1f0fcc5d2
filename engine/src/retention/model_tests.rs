//! The policy against a naive model, on random histories.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::tests::{Made, ago, now, numbers, rules};
use super::{Age, Policy};

/// Which snapshots, newest first, a rule with places keeps: the newest of each of the newest periods, and the oldest
/// of all while there are places left.
fn model_counted(times: &[i64], count: u32, period: impl Fn(i64) -> String) -> BTreeSet<usize> {
    let mut newest: Vec<(String, usize)> = Vec::new();
    for (number, time) in times.iter().enumerate() {
        if !newest.iter().any(|(known, _)| *known == period(*time)) {
            newest.push((period(*time), number));
        }
    }
    let places = usize::try_from(count).unwrap();
    let oldest = times.len().checked_sub(1).filter(|_| newest.len() < places);
    newest.into_iter().take(places).map(|(_, number)| number).chain(oldest).collect()
}

fn formatted(format: &'static str) -> impl Fn(i64) -> String {
    move |seconds| (now() - SignedDuration::from_secs(seconds)).strftime(format).to_string()
}

/// Distinct times within some three years, newest first: seconds before now.
fn times() -> impl Strategy<Value = Vec<i64>> {
    let gap = prop_oneof![1..7200_i64, 1..200_000_i64, 1..5_000_000_i64];
    prop::collection::vec(gap, 1..40).prop_map(|gaps| {
        let sums = gaps.iter().scan(0, |sum, gap| {
            *sum += gap;
            Some(*sum)
        });
        sums.collect()
    })
}

fn count() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), (0..12_u32).prop_map(Some), Just(Some(u32::MAX))]
}

fn policies() -> impl Strategy<Value = Policy> {
    let counts = (count(), count(), count(), count(), count(), count());
    (counts, any::<Option<u8>>()).prop_map(|((last, hourly, daily, weekly, monthly, yearly), within)| {
        let within = within.map(|days| Age { days: u32::from(days), ..Age::default() });
        Policy { last, hourly, daily, weekly, monthly, yearly, within, ..Policy::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// S0.65: the policy is what its words say.
    #[test]
    fn the_policy_keeps_what_a_naive_model_keeps(times in times(), policy in policies()) {
        let mut model = BTreeSet::from([0]);
        let rows = [
            (policy.last, "%s"), (policy.hourly, "%F %H"), (policy.daily, "%F"), (policy.weekly, "%G %V"),
            (policy.monthly, "%Y %m"), (policy.yearly, "%Y"),
        ];
        for (count, format) in rows {
            model.extend(model_counted(&times, count.unwrap_or(0), formatted(format)));
        }
        if let Some(age) = policy.within.filter(|age| !age.is_zero()) {
            let limit = times[0] + i64::from(age.days) * 86400;
            model.extend((0..times.len()).filter(|number| times[*number] < limit));
        }
        let made: Vec<Made> = times.iter().map(|seconds| ago(*seconds)).collect();
        let rules = rules(policy);
        if !rules.policy.is_empty() {
            prop_assert_eq!(numbers(&made, &rules), model.into_iter().collect::<Vec<_>>());
        }
    }

    /// Whatever is incomplete or from the future: the complete ones of the past fare as if it were not there.
    #[test]
    fn what_has_no_place_takes_none(times in times(), policy in policies(), odd in prop::collection::vec(0..4_u8, 40)) {
        let policy = Policy { within: None, ..policy };
        let made: Vec<Made> = times.iter().zip(&odd).map(|(seconds, odd)| match odd {
            0 => ago(*seconds).part(),
            1 => ago(-*seconds),
            _ => ago(*seconds),
        }).collect();
        let whole = |number: &usize| odd[*number] > 1;
        let rules = rules(policy);
        if !rules.policy.is_empty() {
            let all: Vec<usize> = numbers(&made, &rules).into_iter().filter(whole).collect();
            let only: Vec<usize> = (0..made.len()).filter(whole).collect();
            let alone = numbers(&only.iter().map(|number| made[*number].clone()).collect::<Vec<_>>(), &rules);
            prop_assert_eq!(all, alone.into_iter().map(|number| only[number]).collect::<Vec<_>>());
        }
    }

    /// S1.22: a hold keeps its snapshot, and changes nothing for the others.
    #[test]
    fn a_hold_takes_no_place_from_another(times in times(), policy in policies(), held in any::<prop::sample::Index>()) {
        let mut made: Vec<Made> = times.iter().map(|seconds| ago(*seconds)).collect();
        let rules = rules(policy);
        if !rules.policy.is_empty() {
            let mut expected: BTreeSet<usize> = numbers(&made, &rules).into_iter().collect();
            let held = held.index(made.len());
            expected.insert(held);
            made[held] = made[held].clone().tag("hold=2030-01-01");
            prop_assert_eq!(numbers(&made, &rules), expected.into_iter().collect::<Vec<_>>());
        }
    }

    /// What is decided once stays decided: judging what stays again removes nothing more.
    #[test]
    fn what_stays_stays_when_it_is_judged_again(times in times(), policy in policies()) {
        let made: Vec<Made> = times.iter().map(|seconds| ago(*seconds)).collect();
        let rules = rules(policy);
        if !rules.policy.is_empty() {
            let first: Vec<Made> = numbers(&made, &rules).into_iter().map(|number| made[number].clone()).collect();
            prop_assert_eq!(numbers(&first, &rules).len(), first.len());
        }
    }
}
