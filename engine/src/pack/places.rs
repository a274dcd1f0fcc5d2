//! How many packs are in memory at once: however many threads fill them and however slow the storage is.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::limits::PACK_BUFFERS;

/// The places for packs in memory that are free.
pub(super) struct Places {
    home: Sender<()>,
    free: Receiver<()>,
}

/// A pack's place in memory; goes back by being dropped.
pub(crate) struct Place(Sender<()>);

impl Places {
    pub(super) fn new() -> Self {
        let (home, free) = bounded(PACK_BUFFERS);
        for _ in 0..PACK_BUFFERS {
            let _ = home.try_send(());
        }
        Self { home, free }
    }

    /// Returns a place if one is free.
    pub(super) fn try_take(&self) -> Option<Place> {
        self.free.try_recv().ok().map(|()| Place(self.home.clone()))
    }

    /// Waits for a place. The caller holds nothing that somebody needs who has one.
    pub(super) fn take(&self) -> Option<Place> {
        self.free.recv().ok().map(|()| Place(self.home.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_and_what_was_dropped_is_free_again() {
        let places = Places::new();
        let mut taken: Vec<Place> = std::iter::from_fn(|| places.try_take()).collect();
        assert_eq!(taken.len(), PACK_BUFFERS);
        taken.pop();
        assert!(places.take().is_some());
    }
}
