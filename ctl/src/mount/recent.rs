//! What was used last, by the number of its file or folder.

use std::collections::VecDeque;

/// Things by number; the one that was used last is the last one.
#[derive(Debug)]
pub(crate) struct Recent<T>(VecDeque<(u64, T)>);

impl<T: Clone> Recent<T> {
    pub(crate) fn get(&mut self, number: u64) -> Option<T> {
        let found = self.take(number)?;
        self.0.push_back((number, found.clone()));
        Some(found)
    }

    /// Puts something in, in place of what has this number.
    pub(crate) fn put(&mut self, number: u64, item: T) {
        self.take(number);
        self.0.push_back((number, item));
    }

    pub(crate) fn take(&mut self, number: u64) -> Option<T> {
        let at = self.0.iter().rposition(|(other, _)| *other == number)?;
        self.0.remove(at).map(|(_, item)| item)
    }

    /// Takes out what has not been used for longest.
    pub(crate) fn take_oldest(&mut self) -> Option<(u64, T)> {
        self.0.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_goes_last_and_a_number_has_one_item() {
        let mut recent = Recent::default();
        for number in [1, 2, 3] {
            recent.put(number, "old");
        }
        assert_eq!(recent.get(1), Some("old"));
        recent.put(2, "new");
        assert_eq!((recent.len(), recent.get(4)), (3, None));
        let rest: Vec<_> = std::iter::from_fn(|| recent.take_oldest()).collect();
        assert_eq!(rest, [(3, "old"), (1, "old"), (2, "new")]);
    }
}
