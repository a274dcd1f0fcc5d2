//! Which packs a verification of a part reads: those that were read longest ago, so that every one has its turn. Pure.

use jiff::{SignedDuration, Timestamp};

use super::verified::Verified;
use crate::id::PackId;

/// How much of the packs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// So many hundredths of a percent of all bytes, those first that were read longest ago.
    Share(u32),
    /// So many bytes of them.
    Bytes(u64),
    /// As much as it takes to have read everything within this time, if verifications go on in the rhythm they have.
    Within(SignedDuration),
    /// One of so many groups that the packs fall into by their ids, as restic's `n/t`; the number counts from 1.
    Group {
        /// Which group.
        number: u8,
        /// How many there are.
        of: u8,
    },
}

/// How much of a repository was ever read, and how long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Packs that there are.
    pub packs: u64,
    /// Those that were never read, or of which nothing is known any more.
    pub packs_never: u64,
    /// Their bytes.
    pub bytes_never: u64,
    /// Since when everything was read at least once: when that pack was read which was read longest ago. None while there
    /// is one that was never read.
    pub whole_since: Option<Timestamp>,
}

/// What of one pack decides about its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) pack: PackId,
    pub(super) length: u64,
    pub(super) read: Option<Timestamp>,
}

impl Coverage {
    /// Says how much of these packs was read.
    pub(super) fn of(turns: &[Turn]) -> Self {
        let never = turns.iter().filter(|turn| turn.read.is_none());
        let (packs_never, bytes_never) =
            never.fold((0, 0), |(packs, bytes), turn| (packs + 1, u64::saturating_add(bytes, turn.length)));
        let oldest = turns.iter().filter_map(|turn| turn.read).min();
        let whole_since = oldest.filter(|_| packs_never == 0);
        Self { packs: turns.len() as u64, packs_never, bytes_never, whole_since }
    }
}

/// How long a first verification is taken to be behind the one before it.
const FIRST: SignedDuration = SignedDuration::from_hours(24);

/// Returns the numbers of the packs to read. What was read since `since`, by an earlier attempt of the same verification, is
/// not read again and counts as done.
pub(super) fn choose(turns: &[Turn], part: Option<Part>, since: Option<Timestamp>, now: Timestamp) -> Vec<usize> {
    // Times are kept to the millisecond.
    let since = since.map(Timestamp::as_millisecond);
    let is_done = |turn: &Turn| since.is_some_and(|since| turn.read.is_some_and(|read| read.as_millisecond() >= since));
    let mut waiting: Vec<usize> = (0..turns.len()).filter(|number| !is_done(&turns[*number])).collect();
    waiting.sort_by_key(|number| (turns[*number].read, turns[*number].pack));
    let all: u128 = turns.iter().map(|turn| u128::from(turn.length)).sum();
    let wanted = match part {
        None => return waiting,
        Some(Part::Group { number, of }) => {
            waiting.retain(|at| turns[*at].pack.0[0] % of.max(1) == number.saturating_sub(1));
            return waiting;
        }
        Some(Part::Share(hundredths)) => (all * u128::from(hundredths)).div_ceil(10_000),
        Some(Part::Bytes(bytes)) => u128::from(bytes),
        Some(Part::Within(time)) => {
            // Another attempt of this verification does not shorten the time since the one before.
            let before = turns.iter().filter(|turn| !is_done(turn)).filter_map(|turn| turn.read).max();
            let passed = before.map_or(FIRST, |before| now.duration_since(before));
            // As long as it was until now it will be until the next one, which is too late for what is due before that.
            let (passed, time) = (passed.as_millis().max(0), time.as_millis());
            match time - passed {
                left if left > passed => (all * passed.unsigned_abs()).div_ceil(left.unsigned_abs()),
                _ => all,
            }
        }
    };
    let mut sum: u128 = turns.iter().filter(|turn| is_done(turn)).map(|turn| u128::from(turn.length)).sum();
    waiting.retain(|at| {
        let is_taken = sum < wanted;
        sum += if is_taken { u128::from(turns[*at].length) } else { 0 };
        is_taken
    });
    waiting
}

/// Returns what decides about each pack's turn.
pub(super) fn turns(packs: impl Iterator<Item = (PackId, u64)>, verified: &Verified, now: Timestamp) -> Vec<Turn> {
    packs.map(|(pack, length)| Turn { pack, length, read: verified.time(&pack, now) }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1_000_000 + hours)
    }

    fn packs(lengths: &[u64]) -> Vec<Turn> {
        let pack = |number: usize| PackId([u8::try_from(number).expect("few packs"); 32]);
        lengths
            .iter()
            .enumerate()
            .map(|(number, length)| Turn { pack: pack(number), length: *length, read: None })
            .collect()
    }

    /// Reads a part now and then, and returns after how many times everything was read.
    fn times_until_all(turns: &mut [Turn], part: Part, hours: i64) -> usize {
        let mut seen = BTreeSet::new();
        for time in 1..1000 {
            let now = at(hours * i64::try_from(time).expect("few times"));
            for number in choose(turns, Some(part), Some(now), now) {
                turns[number].read = Some(now);
                seen.insert(number);
            }
            if seen.len() == turns.len() {
                return time;
            }
        }
        panic!("{} of {} packs were never read", turns.len() - seen.len(), turns.len())
    }

    #[test]
    fn a_share_reads_everything_after_as_many_times_as_it_says() {
        let lengths: Vec<u64> = (0..97).map(|number| 1 + number * number % 31).collect();
        assert!(times_until_all(&mut packs(&lengths), Part::Share(1000), 24) <= 10);
        assert!(times_until_all(&mut packs(&lengths), Part::Share(250), 24) <= 40);
        assert_eq!(times_until_all(&mut packs(&lengths), Part::Share(10_000), 24), 1);
        assert_eq!(times_until_all(&mut packs(&[5]), Part::Share(1), 24), 1, "at least one pack is read");
    }

    #[test]
    fn everything_is_read_within_the_time_whatever_the_rhythm() {
        let lengths: Vec<u64> = (0..97).map(|number| 1 + number * number % 31).collect();
        let part = Part::Within(SignedDuration::from_hours(30 * 24));
        for hours in [6, 24, 7 * 24, 14 * 24] {
            let times = times_until_all(&mut packs(&lengths), part, hours);
            let last = i64::try_from(times - 1).expect("few times") * hours;
            assert!(last <= 30 * 24, "every {hours} hours: {times} times");
        }
    }

    #[test]
    fn what_was_never_read_comes_first_and_what_was_read_last_comes_last() {
        let mut turns = packs(&[1, 1, 1, 1]);
        turns[0].read = Some(at(3));
        turns[1].read = Some(at(1));
        turns[3].read = Some(at(2));
        assert_eq!(choose(&turns, None, None, at(4)), [2, 1, 3, 0]);
        assert_eq!(choose(&turns, Some(Part::Bytes(2)), None, at(4)), [2, 1]);
    }

    #[test]
    fn another_attempt_goes_on_where_the_first_one_ended() {
        let mut turns = packs(&[1; 10]);
        let first = choose(&turns, Some(Part::Share(5000)), Some(at(0)), at(0));
        assert_eq!(first.len(), 5);
        first[..3].iter().for_each(|number| turns[*number].read = Some(at(0)));
        assert_eq!(choose(&turns, Some(Part::Share(5000)), Some(at(0)), at(1)), first[3..]);
        assert_eq!(choose(&turns, None, Some(at(0)), at(1)).len(), 7);
    }

    #[test]
    fn the_groups_are_those_of_restic_and_together_all() {
        let turns = packs(&[1; 50]);
        let group = |number| choose(&turns, Some(Part::Group { number, of: 7 }), None, at(0));
        assert_eq!(group(1), [0, 7, 14, 21, 28, 35, 42, 49]);
        let all: BTreeSet<usize> = (1..=7).flat_map(group).collect();
        assert_eq!(all.len(), 50);
    }

    #[test]
    fn the_whole_is_as_old_as_its_oldest_part() {
        let mut turns = packs(&[3, 4]);
        turns[0].read = Some(at(1));
        assert_eq!(Coverage::of(&turns), Coverage { packs: 2, packs_never: 1, bytes_never: 4, whole_since: None });
        turns[1].read = Some(at(2));
        assert_eq!(Coverage::of(&turns).whole_since, Some(at(1)));
    }
}
