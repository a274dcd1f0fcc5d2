//! Which packs are worth being repacked: arithmetic alone.

use crate::id::BlobKind;
use crate::limits::PRUNE_SMALL_PACKS;

/// How much may stay unused in packs of which something is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxUnused {
    /// A share of the repository in percent.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
    /// Any amount.
    Unlimited,
}

impl Default for MaxUnused {
    /// restic's.
    fn default() -> Self {
        Self::Percent(5)
    }
}

impl MaxUnused {
    /// Returns how many bytes that is, beside so many that are used.
    fn bytes(self, used: u64) -> u64 {
        match self {
            Self::Percent(percent @ 0..100) => {
                let bytes = u128::from(used) * u128::from(percent) / u128::from(100 - percent);
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
            Self::Bytes(bytes) => bytes,
            Self::Percent(_) | Self::Unlimited => u64::MAX,
        }
    }
}

/// A pack of which something is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// What it holds; none if both.
    pub(super) kind: Option<BlobKind>,
    /// How long it is.
    pub(super) length: u64,
    /// Bytes of what is used.
    pub(super) used: u64,
    /// Bytes of what is not.
    pub(super) unused: u64,
}

/// What bounds the choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max_unused: MaxUnused,
    pub(super) max_repack: u64,
    /// At how many bytes packs of data and of trees are closed.
    pub(super) pack_sizes: [u64; 2],
}

/// Returns the positions of the packs to repack.
///
/// First packs that mix data and trees, then trees of which a part is unused: they are few, and every program keeps them
/// in its cache. Then data, the most unused first, until little enough is. At last small packs, if there are some of them.
pub(super) fn choose(packs: &[Candidate], bounds: &Bounds) -> Vec<usize> {
    let rank = |pack: &Candidate| match (pack.kind, pack.unused) {
        (None, _) => Some(0),
        (_, 0) => None,
        (Some(BlobKind::Tree), _) => Some(1),
        (Some(BlobKind::Data), _) => Some(2),
    };
    let share = |pack: &Candidate| u128::from(pack.unused) * 1_000_000 / u128::from(pack.length.max(1));
    let mut order: Vec<(u8, std::cmp::Reverse<u128>, usize)> = packs
        .iter()
        .enumerate()
        .filter_map(|(at, pack)| Some((rank(pack)?, std::cmp::Reverse(share(pack)), at)))
        .collect();
    order.sort_unstable();
    let used: u64 = packs.iter().map(|pack| pack.used).sum();
    let mut unused: u64 = packs.iter().map(|pack| pack.unused).sum();
    let (max_unused, mut left) = (bounds.max_unused.bytes(used), bounds.max_repack);
    let mut chosen = Vec::new();
    for (rank, _, at) in order {
        let pack = &packs[at];
        if (rank == 2 && unused <= max_unused) || pack.length > left {
            continue;
        }
        left -= pack.length;
        unused -= pack.unused;
        chosen.push(at);
    }
    for kind in [BlobKind::Data, BlobKind::Tree] {
        add_small(packs, kind, bounds.pack_sizes[kind as usize], &mut left, &mut chosen);
    }
    chosen
}

/// Adds the small packs of a kind when there are enough of them to become fewer.
fn add_small(packs: &[Candidate], kind: BlobKind, pack_size: u64, left: &mut u64, chosen: &mut Vec<usize>) {
    let is_small = |at: &usize| {
        let pack = &packs[*at];
        pack.kind == Some(kind) && pack.length < pack_size / 4 && !chosen.contains(at)
    };
    let mut small: Vec<usize> = (0..packs.len()).filter(is_small).collect();
    small.sort_by_key(|at| packs[*at].length);
    let mut sum = 0;
    small.retain(|at| {
        let fits = packs[*at].length <= *left - sum;
        sum += if fits { packs[*at].length } else { 0 };
        fits
    });
    // What is moved of others leaves a small pack as well.
    let others = usize::from(chosen.iter().any(|at| packs[*at].kind.is_none_or(|of| of == kind)));
    if small.len() + others >= PRUNE_SMALL_PACKS {
        *left -= sum;
        chosen.extend(small);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn pack(kind: BlobKind, used: u64, unused: u64) -> Candidate {
        Candidate { kind: Some(kind), length: used + unused, used, unused }
    }

    fn bounds(max_unused: MaxUnused) -> Bounds {
        Bounds { max_unused, max_repack: u64::MAX, pack_sizes: [16 * MIB; 2] }
    }

    #[test]
    fn the_emptiest_packs_go_first_until_little_enough_is_unused() {
        let packs = [10, 1, 5].map(|unused| pack(BlobKind::Data, (16 - unused) * MIB, unused * MIB));
        assert_eq!(choose(&packs, &bounds(MaxUnused::Percent(0))), [0, 2, 1]);
        assert_eq!(choose(&packs, &bounds(MaxUnused::Percent(5))), [0, 2]);
        assert_eq!(choose(&packs, &bounds(MaxUnused::Bytes(6 * MIB))), [0]);
        assert_eq!(choose(&packs, &bounds(MaxUnused::Unlimited)), [0; 0]);
        let few = Bounds { max_repack: 20 * MIB, ..bounds(MaxUnused::Percent(0)) };
        assert_eq!(choose(&packs, &few), [0]);
    }

    #[test]
    fn trees_and_mixed_packs_go_however_little_is_unused() {
        let mixed = Candidate { kind: None, ..pack(BlobKind::Data, 16 * MIB, 0) };
        let packs = [pack(BlobKind::Tree, 16 * MIB, 1), pack(BlobKind::Tree, 16 * MIB, 0), mixed];
        assert_eq!(choose(&packs, &bounds(MaxUnused::Unlimited)), [2, 0]);
    }

    #[test]
    fn small_packs_are_merged_when_there_are_some() {
        let mut packs = vec![pack(BlobKind::Data, MIB, 0); PRUNE_SMALL_PACKS - 1];
        packs.push(pack(BlobKind::Tree, MIB, 0));
        assert_eq!(choose(&packs, &bounds(MaxUnused::Percent(5))), [0; 0]);
        packs.push(pack(BlobKind::Data, MIB, 0));
        assert_eq!(choose(&packs, &bounds(MaxUnused::Percent(5))).len(), PRUNE_SMALL_PACKS);
    }

    proptest! {
        #[test]
        fn no_pack_is_chosen_twice_and_no_bound_is_passed(
            sizes in proptest::collection::vec((any::<bool>(), 1..9_000_000_u64, 0..9_000_000_u64), 0..40),
            percent in 0..=100_u8, max_repack in 0..100_000_000_u64,
        ) {
            let kind = |is_tree| if is_tree { BlobKind::Tree } else { BlobKind::Data };
            let packs: Vec<_> = sizes.iter().map(|(tree, used, unused)| pack(kind(*tree), *used, *unused)).collect();
            let bounds = Bounds { max_repack, ..bounds(MaxUnused::Percent(percent)) };
            let chosen = choose(&packs, &bounds);
            let distinct: std::collections::HashSet<_> = chosen.iter().collect();
            prop_assert_eq!(distinct.len(), chosen.len());
            prop_assert!(chosen.iter().map(|at| packs[*at].length).sum::<u64>() <= max_repack);
        }
    }
}
