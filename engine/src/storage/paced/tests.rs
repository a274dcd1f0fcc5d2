//! Bytes are asked for, waited for and counted; a gate ends each wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::storage::{Bytes, MemoryStorage};

/// A pace with an account that a test fills; it keeps what it was asked for.
#[derive(Default)]
struct Account {
    credit: AtomicUsize,
    is_off: bool,
    refused: AtomicUsize,
    asked: Mutex<Vec<(Way, usize)>>,
}

impl Account {
    fn of(credit: usize) -> Arc<Self> {
        Arc::new(Self { credit: AtomicUsize::new(credit), ..Self::default() })
    }

    fn passed(&self, way: Way) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|(asked, _)| *asked == way).map(|(_, bytes)| bytes).sum()
    }
}

impl Pace for Account {
    fn step(&self, _: Way) -> Option<usize> {
        (!self.is_off).then_some(1000)
    }

    fn take(&self, way: Way, bytes: usize) -> std::result::Result<(), Duration> {
        let pays = |credit: usize| credit.checked_sub(bytes);
        if !self.is_off && self.credit.fetch_update(Ordering::SeqCst, Ordering::SeqCst, pays).is_err() {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Duration::from_secs(3600));
        }
        self.charge(way, bytes);
        Ok(())
    }

    fn charge(&self, way: Way, bytes: usize) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push((way, bytes));
    }
}

const PACK: FileName = FileName { kind: FileKind::Pack, id: [1; 32] };
const INDEX: FileName = FileName { kind: FileKind::Index, id: [2; 32] };

fn stored(length: usize) -> (MemoryStorage, Vec<u8>) {
    let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let inner = MemoryStorage::new();
    for name in [PACK, INDEX] {
        inner.write(&name, &mut Bytes::new(&bytes)).unwrap();
    }
    (inner, bytes)
}

fn paced(inner: &MemoryStorage, pace: &Arc<Account>, gate: &Gate, at_pause: AtPause) -> PacedStorage {
    PacedStorage::new(Arc::new(inner.clone()), Arc::clone(pace) as Arc<dyn Pace>, gate.clone(), at_pause)
}

#[test]
fn every_byte_is_asked_for_in_small_steps_and_arrives() {
    let (inner, bytes) = stored(70_000);
    let pace = Account::of(1 << 30);
    let storage = paced(&inner, &pace, &Gate::new(), AtPause::Wait);
    assert_eq!(storage.read(&INDEX).unwrap(), bytes);
    assert_eq!(storage.read_range(&PACK, 100, 5_500).unwrap(), &bytes[100..5_600]);
    assert!(storage.read_range(&PACK, 69_999, 2).is_err(), "it ends before that");
    assert_eq!(pace.passed(Way::Down), 70_000 + 5_500 + 2);
    storage.write(&FileName::new(FileKind::Pack, [3; 32]), &mut Bytes::new(&bytes)).unwrap();
    assert_eq!(pace.passed(Way::Up), 70_000);
    let asked = pace.asked.lock().unwrap();
    assert!(asked.iter().all(|(_, bytes)| *bytes <= crate::limits::WRITE_STEP), "{asked:?}");
}

#[test]
fn without_a_limit_everything_comes_at_once_and_is_counted() {
    let (inner, bytes) = stored(70_000);
    let pace = Arc::new(Account { is_off: true, ..Account::default() });
    let storage = paced(&inner, &pace, &Gate::new(), AtPause::Wait);
    assert_eq!(storage.read(&INDEX).unwrap(), bytes);
    assert_eq!(storage.read_range(&PACK, 0, 70_000).unwrap(), bytes);
    assert_eq!(*pace.asked.lock().unwrap(), [(Way::Down, 70_000), (Way::Down, 70_000)]);
}

#[test]
fn locks_and_keys_wait_for_nothing() {
    let pace = Account::of(0);
    let storage = paced(&MemoryStorage::new(), &pace, &Gate::new(), AtPause::Wait);
    for kind in [FileKind::Config, FileKind::Key, FileKind::Lock] {
        let name = FileName::new(kind, [9; 32]);
        storage.write(&name, &mut Bytes::new(b"small")).unwrap();
        assert_eq!(storage.read(&name).unwrap(), b"small");
    }
    assert_eq!(pace.refused.load(Ordering::SeqCst), 0);
}

#[test]
fn the_sign_to_end_ends_a_wait_at_once_and_what_was_begun_is_finished() {
    let (inner, bytes) = stored(3_500);
    let (pace, gate) = (Account::of(1_000), Gate::new());
    let storage = paced(&inner, &pace, &gate, AtPause::Wait);
    let reader = std::thread::spawn(move || storage.read_range(&PACK, 0, 3_500));
    while pace.refused.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(pace.passed(Way::Down), 1_000);
    // It waits for an hour at this pace.
    gate.suspend();
    assert_eq!(reader.join().unwrap().unwrap(), bytes);
    assert_eq!(pace.passed(Way::Down), 3_500);
}

#[test]
fn a_paused_reader_asks_for_nothing_more_and_one_that_must_not_stand_still_does() {
    for (at_pause, stands) in [(AtPause::Wait, true), (AtPause::GoOn, false)] {
        let (inner, _) = stored(3_500);
        let (pace, gate) = (Account::of(1_000), Gate::new());
        let storage = paced(&inner, &pace, &gate, at_pause);
        let reader = std::thread::spawn(move || storage.read_range(&PACK, 0, 3_500));
        while pace.refused.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        gate.pause();
        while stands && gate.waiting() == 0 {
            std::thread::yield_now();
        }
        // Whoever stands still does not notice that there is room now.
        pace.credit.store(1 << 20, Ordering::SeqCst);
        if !stands {
            assert_eq!(reader.join().unwrap().unwrap().len(), 3_500);
            continue;
        }
        assert_eq!((pace.passed(Way::Down), gate.waiting()), (1_000, 1));
        gate.resume();
        assert_eq!(reader.join().unwrap().unwrap().len(), 3_500);
    }
}
