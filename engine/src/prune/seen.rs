//! The record of what was seen unused, and since when: kept by the caller, one for each repository.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::PackId;

/// Packs that nothing needs, and since when they were seen so. One that is lost begins anew, which costs time alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seen {
    packs: BTreeMap<PackId, Sight>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sight {
    state: SeenAs,
    since: Timestamp,
}

/// How a pack was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SeenAs {
    /// An index file lists it, and nothing in it is needed.
    Unused,
    /// No index file lists it.
    Unindexed,
}

impl Seen {
    /// Returns since when a pack was seen so, which is now if it was not.
    pub(crate) fn since(&mut self, id: PackId, state: SeenAs, now: Timestamp) -> Timestamp {
        let sight = self.packs.entry(id).or_insert(Sight { state, since: now });
        // What was seen in the future was seen by a clock that was wrong.
        if sight.state != state || sight.since > now {
            *sight = Sight { state, since: now };
        }
        sight.since
    }

    /// Returns whether a pack was seen to be of no use.
    pub(crate) fn contains(&self, id: &PackId) -> bool {
        self.packs.contains_key(id)
    }

    /// Forgets a pack that was removed.
    pub(crate) fn forget(&mut self, id: &PackId) {
        self.packs.remove(id);
    }

    /// Forgets all other packs: they are gone, or needed again.
    pub(crate) fn retain(&mut self, packs: &HashSet<PackId>) {
        self.packs.retain(|id, _| packs.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_otherwise_or_in_the_future_begins_anew() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let pack = PackId([1; 32]);
        let mut seen = Seen::default();
        assert_eq!(seen.since(pack, SeenAs::Unused, at(10)), at(10));
        assert_eq!(seen.since(pack, SeenAs::Unused, at(20)), at(10));
        assert_eq!(seen.since(pack, SeenAs::Unindexed, at(30)), at(30));
        assert_eq!(seen.since(pack, SeenAs::Unindexed, at(5)), at(5));
        let json = serde_json::to_string(&seen).expect("it is JSON");
        assert_eq!(serde_json::from_str::<Seen>(&json).expect("it comes back"), seen);
        seen.retain(&HashSet::new());
        assert_eq!(seen, Seen::default());
    }
}
