//! Trees that are still to be looked at, shared out to several threads; each tree is given out once.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::id::BlobId;

/// A tree, and the path at which it was met first.
pub(super) type Place = (BlobId, PathBuf);

/// Trees that are still to be looked at.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Place>,
    seen: HashSet<BlobId>,
    /// How many threads look at a tree, which may lead to more.
    busy: usize,
}

/// A tree that one thread looks at.
pub(super) struct Turn<'a> {
    queue: &'a Queue,
    pub(super) tree: BlobId,
    pub(super) path: PathBuf,
    /// The trees in it.
    pub(super) found: Vec<Place>,
}

impl Queue {
    pub(super) fn add(&self, place: Place) {
        self.lock().waiting.push(place);
    }

    /// Returns the next tree that was not given out before; waits while others may find more.
    pub(super) fn next(&self) -> Option<Turn<'_>> {
        let mut state = self.lock();
        loop {
            while let Some((tree, path)) = state.waiting.pop() {
                if state.seen.insert(tree) {
                    state.busy += 1;
                    return Some(Turn { queue: self, tree, path, found: Vec::new() });
                }
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one step: a panic elsewhere cannot leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.busy -= 1;
        state.waiting.append(&mut self.found);
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn place(number: u32) -> Place {
        (BlobId::of(&number.to_le_bytes()), PathBuf::from(number.to_string()))
    }

    #[test]
    fn every_tree_is_given_out_once_and_nobody_leaves_before_the_last() {
        let (queue, turns) = (Queue::default(), AtomicU32::new(0));
        queue.add(place(1));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(mut turn) = queue.next() {
                        turns.fetch_add(1, Ordering::Relaxed);
                        let number: u32 = turn.path.to_str().unwrap().parse().unwrap();
                        // A tree of 1000 of which each but the first is met twice.
                        turn.found = [2 * number, 2 * number + 1, 2 * number].map(place).into();
                        turn.found.retain(|(_, path)| path.to_str().unwrap().parse::<u32>().unwrap() <= 1000);
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 1000);
        queue.add(place(7));
        assert!(queue.next().is_none(), "a tree was given out twice");
    }
}
