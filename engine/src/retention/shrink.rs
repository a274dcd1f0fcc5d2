//! A source that shrank by more than half is most likely a mistake: a drive that was not mounted, files that somebody
//! deleted. What it held before must not go before somebody says that it is meant to be so.

use std::collections::BTreeMap;

use super::{Judged, Rules};
use crate::id::SnapshotId;

/// A source that shrank, because of which snapshots stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The machine.
    pub host: String,
    /// The sources.
    pub paths: Vec<String>,
    /// The snapshot in which that shows.
    pub snapshot: SnapshotId,
    /// Files in the snapshot before it, and in it.
    pub files: (u64, u64),
    /// Bytes in the snapshot before it, and in it.
    pub bytes: (u64, u64),
    /// How many snapshots stay because of it.
    pub held_back: usize,
}

/// Keeps what would go of sources that shrank, and returns those.
///
/// Each complete snapshot is compared with the one before it, as far as the snapshots say how much is in them; only what
/// came after the time until which shrinking is accepted counts.
pub(super) fn hold_back(judged: &mut [Judged], rules: &Rules) -> Vec<Shrunk> {
    let mut sources: BTreeMap<(String, Vec<String>), Vec<usize>> = BTreeMap::new();
    for (at, one) in judged.iter().enumerate() {
        let key = (one.candidate.snapshot.hostname.clone(), one.candidate.sorted_paths());
        sources.entry(key).or_default().push(at);
    }
    let mut all = Vec::new();
    for ((host, paths), places) in sources {
        let held_back = places.iter().filter(|at| !judged[**at].keep).count();
        let Some((snapshot, files, bytes)) = shrinking(judged, &places, rules).filter(|_| held_back > 0) else {
            continue;
        };
        all.push(Shrunk { host, paths, snapshot, files, bytes, held_back });
        for at in places {
            if !judged[at].keep {
                judged[at].keep = true;
                judged[at].reasons.push("its source shrank by more than half".to_owned());
            }
        }
    }
    all
}

type Sizes = (u64, u64);

/// Finds the newest snapshot of a source that holds less than half of the one before it.
fn shrinking(judged: &[Judged], places: &[usize], rules: &Rules) -> Option<(SnapshotId, Sizes, Sizes)> {
    let is_complete = |one: &&Judged| {
        let snapshot = &one.candidate.snapshot;
        snapshot.time <= rules.now && !rules.incomplete_tag.as_ref().is_some_and(|tag| snapshot.tags.contains(tag))
    };
    let mut sizes: Vec<_> = places
        .iter()
        .map(|at| &judged[*at])
        .filter(is_complete)
        .filter_map(|one| {
            let (snapshot, id) = (&one.candidate.snapshot, one.candidate.id);
            let summary = snapshot.summary.as_ref()?;
            Some((snapshot.time, id, summary.total_files_processed, summary.total_bytes_processed))
        })
        .collect();
    sizes.sort_unstable();
    sizes.windows(2).rev().find_map(|pair| {
        let [before, after] = pair else { return None };
        let is_less = |before: u64, after: u64| after < before.div_ceil(2);
        let is_new = rules.accepted_until.is_none_or(|until| after.0 > until);
        let shrank = is_less(before.2, after.2) || is_less(before.3, after.3);
        (is_new && shrank).then_some((after.1, (before.2, after.2), (before.3, after.3)))
    })
}
