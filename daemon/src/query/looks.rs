//! The repositories that were looked into last, with their index in memory, for a short time.
//!
//! Who looks once looks again: a mount asks for every folder and every few megabytes of a file by itself, and to load a
//! large index for each of these takes far longer than the answer. Nothing stale is served: the target is opened as for any
//! look, which finds out whether it is another one by now, and what is new in its index is read each time. Only what an
//! index file that is still there has said is not read again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use backup_engine::Repository;

use crate::clock::Clock;

/// How long after the last look an index stays in memory.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// Indexes that are kept at a time, one a repository; those of very large repositories take a gigabyte.
const KEPT_MAX: usize = 2;

/// What is kept between looks.
pub struct Looks {
    clock: Arc<dyn Clock>,
    kept: Arc<Mutex<Vec<Kept>>>,
}

struct Kept {
    /// As the target was opened; another one is not the same repository any more, or was opened with another key.
    opened: Weak<Repository>,
    looked_into: Arc<Repository>,
    last: Duration,
}

impl Looks {
    /// Begins with nothing.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, kept: Arc::default() }
    }

    /// Returns a repository to look into, with the index it had when it was looked into last, if that is not long ago.
    pub(super) fn of(&self, opened: &Arc<Repository>) -> Arc<Repository> {
        let now = self.clock.now().boot;
        let mut kept = lock(&self.kept);
        let is_idle = kept.is_empty();
        let found = kept.iter().position(|kept| std::ptr::eq(kept.opened.as_ptr(), Arc::as_ptr(opened)));
        let looked_into = match found {
            Some(at) => kept.remove(at).looked_into,
            None => opened.for_looks(),
        };
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Kept { opened: Arc::downgrade(opened), looked_into: Arc::clone(&looked_into), last: now });
        drop(kept);
        if is_idle {
            self.give_back_later();
        }
        looked_into
    }

    /// Returns how many indexes are in memory.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.kept).len()
    }

    /// Gives back what was not looked into for a while; returns how long the rest may stay.
    fn give_back(clock: &dyn Clock, kept: &Mutex<Vec<Kept>>) -> Option<Duration> {
        let now = clock.now().boot;
        let mut kept = lock(kept);
        kept.retain(|kept| kept.last + KEPT_FOR > now);
        kept.iter().map(|kept| (kept.last + KEPT_FOR).saturating_sub(now)).min()
    }

    /// Starts a thread that lives as long as something is kept: an idle daemon has none, and is not woken up.
    fn give_back_later(&self) {
        let (clock, kept) = (Arc::clone(&self.clock), Arc::downgrade(&self.kept));
        let sleeping = move || {
            let mut left = Some(KEPT_FOR);
            while let Some(wait) = left {
                std::thread::sleep(wait);
                left = kept.upgrade().and_then(|kept| Self::give_back(&*clock, &kept));
            }
        };
        let started = std::thread::Builder::new().name("looks".to_owned()).spawn(sleeping);
        if started.is_err() {
            // Nobody would give it back.
            lock(&self.kept).clear();
        }
    }
}

fn lock(kept: &Mutex<Vec<Kept>>) -> MutexGuard<'_, Vec<Kept>> {
    // Entries are moved whole: a panic elsewhere leaves nothing half changed.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backup_engine::repository::CreateOptions;
    use backup_engine::storage::MemoryStorage;
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::clock::ManualClock;

    fn repository() -> Arc<Repository> {
        let options = CreateOptions {
            version: 2,
            hostname: String::new(),
            username: String::new(),
            now: Timestamp::UNIX_EPOCH,
            cut_like: None,
        };
        Repository::create(Arc::new(MemoryStorage::new()), b"p", &options).unwrap()
    }

    #[test]
    fn the_same_is_given_until_nobody_has_looked_for_a_while() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH, TimeZone::UTC));
        let looks = Looks::new(clock.clone());
        let (a, b, c) = (repository(), repository(), repository());
        let first = looks.of(&a);
        assert!(Arc::ptr_eq(&first, &looks.of(&a)));
        assert!(!Arc::ptr_eq(&first, &looks.of(&b)));
        clock.advance(KEPT_FOR / 2);
        assert!(Arc::ptr_eq(&first, &looks.of(&a)));
        clock.advance(KEPT_FOR / 2);
        assert_eq!(Looks::give_back(&*clock, &looks.kept), Some(KEPT_FOR / 2), "of the other one");
        assert_eq!(looks.count(), 1);
        clock.advance(KEPT_FOR);
        assert_eq!(Looks::give_back(&*clock, &looks.kept), None::<Duration>);
        for one in [&a, &b, &c] {
            looks.of(one);
        }
        assert_eq!(looks.count(), KEPT_MAX);
    }
}
