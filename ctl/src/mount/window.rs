//! Which bytes of an open file are asked for and kept: more and more while it is read from one end to the other.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{WINDOW_BYTES_BEHIND, WINDOW_BYTES_FIRST, WINDOW_BYTES_MAX};

/// The room that the windows of all open files share, in bytes.
#[derive(Debug)]
pub(crate) struct Room(Mutex<usize>);

impl Room {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(bytes)))
    }

    /// Changes how much somebody has of it; says no if there is not as much left.
    fn exchange(&self, taken: &mut usize, wanted: usize) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = left.saturating_add(*taken);
        if wanted > free {
            return false;
        }
        (*left, *taken) = (free - wanted, wanted);
        true
    }
}

/// The bytes of one open file that are in memory.
#[derive(Debug)]
pub(crate) struct Window {
    room: Arc<Room>,
    taken: usize,
    start: u64,
    bytes: Vec<u8>,
    /// How many bytes were asked for the last time.
    step: usize,
}

/// What is to be asked for, in bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What is asked for.
    pub(crate) ask: Range<u64>,
    /// From where on what is in memory stays there.
    keep: u64,
    step: usize,
}

impl Window {
    pub(crate) fn new(room: Arc<Room>) -> Self {
        Self { room, taken: 0, start: 0, bytes: Vec::new(), step: WINDOW_BYTES_FIRST }
    }

    /// Returns these bytes if all of them are in memory.
    pub(crate) fn get(&self, wanted: &Range<u64>) -> Option<&[u8]> {
        if wanted.start < self.start || wanted.end > self.end() {
            return None;
        }
        let at = |position: u64| usize::try_from(position - self.start).ok();
        self.bytes.get(at(wanted.start)?..at(wanted.end)?)
    }

    /// Says what to ask for to have these bytes of a file of some size.
    pub(crate) fn plan(&self, wanted: &Range<u64>, size: u64) -> Plan {
        let end = self.end();
        // A little ahead of the end is still in order: the pieces before it are under way.
        let is_next = !self.bytes.is_empty()
            && self.start <= wanted.start
            && wanted.start <= end.saturating_add(self.step as u64);
        if !is_next {
            let until =
                wanted.end.max(wanted.start.saturating_add(WINDOW_BYTES_FIRST as u64)).min(size.max(wanted.end));
            return Plan { ask: wanted.start..until, keep: u64::MAX, step: WINDOW_BYTES_FIRST };
        }
        let step = (self.step * 2).min(WINDOW_BYTES_MAX);
        let until = wanted.end.max(end.saturating_add(step as u64)).min(size.max(wanted.end));
        let keep = wanted.start.min(end).saturating_sub(WINDOW_BYTES_BEHIND as u64).max(self.start);
        Plan { ask: end..until, keep, step }
    }

    /// Says what to ask for beside what is in memory while that is read from some place on; nothing if the file is not
    /// read from one end to the other.
    pub(crate) fn plan_ahead(&self, position: u64, size: u64) -> Option<Plan> {
        let end = self.end();
        if self.step == WINDOW_BYTES_FIRST || end >= size {
            return None;
        }
        let step = (self.step * 2).min(WINDOW_BYTES_MAX);
        let keep = position.saturating_sub(WINDOW_BYTES_BEHIND as u64).max(self.start);
        Some(Plan { ask: end..end.saturating_add(step as u64).min(size), keep, step })
    }

    /// Makes room for a plan, beside what is in memory until the bytes have come; says no if there is not as much left.
    pub(crate) fn make_room(&mut self, plan: &Plan) -> bool {
        let asked = usize::try_from(plan.ask.end - plan.ask.start).unwrap_or(usize::MAX);
        self.room.exchange(&mut self.taken, asked.saturating_add(self.bytes.len()))
    }

    /// Takes the bytes that a plan asked for; there may be fewer.
    pub(crate) fn put(&mut self, plan: &Plan, bytes: Vec<u8>) {
        let behind = usize::try_from(plan.keep.saturating_sub(self.start)).unwrap_or(usize::MAX);
        if plan.keep >= self.end() {
            (self.start, self.bytes) = (plan.ask.start, bytes);
        } else {
            self.bytes.drain(..behind);
            self.bytes.extend_from_slice(&bytes);
            self.start = plan.keep;
        }
        self.step = plan.step;
        // This can only give some back: nobody sends more than was asked for.
        self.room.exchange(&mut self.taken, self.bytes.len());
    }

    /// Gives back what it holds.
    pub(crate) fn clear(&mut self) {
        self.bytes = Vec::new();
        self.room.exchange(&mut self.taken, 0);
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u64 = WINDOW_BYTES_FIRST as u64;
    const SIZE: u64 = 100 << 20;

    fn byte(at: u64) -> u8 {
        at.to_le_bytes()[0] ^ at.to_le_bytes()[2]
    }

    /// Reads as an open file does, and returns how many bytes were asked for.
    fn read(window: &mut Window, wanted: Range<u64>) -> u64 {
        if window.get(&wanted).is_some() {
            return 0;
        }
        let plan = window.plan(&wanted, SIZE);
        assert!(plan.ask.end <= SIZE && plan.ask.start <= wanted.start && wanted.end <= plan.ask.end);
        if !window.make_room(&plan) {
            window.clear();
            return wanted.end - wanted.start;
        }
        window.put(&plan, plan.ask.clone().map(byte).collect());
        let expected: Vec<u8> = wanted.clone().map(byte).collect();
        assert_eq!(window.get(&wanted), Some(&expected[..]));
        plan.ask.end - plan.ask.start
    }

    #[test]
    fn reading_on_and_on_asks_for_more_and_more_but_for_nothing_twice() {
        let mut window = Window::new(Room::new(usize::MAX));
        let asked: Vec<u64> =
            (0..SIZE / FIRST).map(|piece| read(&mut window, piece * FIRST..(piece + 1) * FIRST)).collect();
        assert_eq!(asked.iter().sum::<u64>(), SIZE);
        let asked: Vec<u64> = asked.into_iter().filter(|bytes| *bytes > 0).collect();
        assert_eq!(asked[..4], [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]);
        assert_eq!(asked.iter().max(), Some(&(WINDOW_BYTES_MAX as u64)));
        assert!(window.bytes.len() <= WINDOW_BYTES_MAX + WINDOW_BYTES_BEHIND);
    }

    #[test]
    fn pieces_that_change_places_are_still_in_order() {
        let mut window = Window::new(Room::new(usize::MAX));
        let mut sum = read(&mut window, 0..FIRST);
        for pair in 0..100 {
            let (a, b) = (FIRST + 2 * pair * FIRST, FIRST + (2 * pair + 1) * FIRST);
            sum += read(&mut window, b..b + FIRST);
            sum += read(&mut window, a..a + FIRST);
        }
        assert!(sum < 201 * FIRST + WINDOW_BYTES_MAX as u64 + 1, "nothing was asked for twice, but {sum} bytes");
    }

    #[test]
    fn jumping_about_asks_for_little_each_time() {
        let mut window = Window::new(Room::new(usize::MAX));
        for at in [90 << 20, 3, 50 << 20, 7 << 20] {
            assert_eq!(read(&mut window, at..at + 100), FIRST);
        }
        assert_eq!(read(&mut window, SIZE - 10..SIZE), 10, "no further than the end");
    }

    #[test]
    fn what_is_asked_for_ahead_comes_behind_what_is_there_and_only_of_a_file_that_is_read_on() {
        let mut window = Window::new(Room::new(usize::MAX));
        read(&mut window, 0..FIRST);
        assert_eq!(window.plan_ahead(0, SIZE), None, "it was read once");
        read(&mut window, FIRST..2 * FIRST);
        let plan = window.plan_ahead(2 * FIRST, SIZE).unwrap();
        assert_eq!(plan.ask, 3 * FIRST..7 * FIRST);
        assert!(window.make_room(&plan));
        window.put(&plan, plan.ask.clone().map(byte).collect());
        assert_eq!(read(&mut window, 2 * FIRST..7 * FIRST), 0, "all of it is there");
        assert_eq!(window.plan_ahead(0, 7 * FIRST), None, "there is no more");
        read(&mut window, 50 << 20..(50 << 20) + 10);
        assert_eq!(window.plan_ahead(50 << 20, SIZE), None, "it jumped");
    }

    #[test]
    fn all_windows_together_have_no_more_than_the_room() {
        let room = Room::new(3 * WINDOW_BYTES_FIRST);
        let mut windows: Vec<_> = (0..4).map(|_| Window::new(Arc::clone(&room))).collect();
        for window in &mut windows[..3] {
            assert_eq!(read(window, 0..10), FIRST);
        }
        assert_eq!(read(&mut windows[3], 0..10), 10, "there is no room");
        windows.remove(0);
        assert_eq!(read(&mut windows[2], 0..10), FIRST);
        drop(windows);
        assert_eq!(*room.0.lock().unwrap(), 3 * WINDOW_BYTES_FIRST, "all of it was given back");
    }
}
