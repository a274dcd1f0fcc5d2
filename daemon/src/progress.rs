//! How far a job is: many small steps of an engine become a few pictures a second, with a speed and an honest guess
//! at the time that is left.
//!
//! A byte that needs no reading costs next to nothing, one that is read costs a lot, so their speeds are learned apart.
//! What is left is taken to be mixed as what was done so far. Where a speed that is needed has not been seen, or the
//! total is not known, there is no guess.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_engine::monitor::Progress as Step;
use backup_proto::job::Progress;
use backup_proto::path::WirePath;

/// The shortest time between two pictures: four a second.
const SAY_EVERY: Duration = Duration::from_millis(250);

/// The shortest time a speed is measured over.
const MEASURE_EVERY: Duration = Duration::from_millis(500);

/// The longest time that counts between two steps; what is beyond was a pause or a sleep of the machine.
const GAP_MAX: Duration = Duration::from_secs(5);

/// How far back the speed that is shown reaches, in seconds.
const SHOWN_SECONDS: f64 = 5.0;

/// How far back the speeds that the guess is made from reach, in seconds.
const LEARNED_SECONDS: f64 = 60.0;

/// How long speeds are learned before a guess is made.
const LEARN_AT_LEAST: Duration = Duration::from_secs(2);

/// The state of one attempt's progress. All times are readings of the clock that includes sleep.
#[derive(Debug)]
pub struct Tracker {
    done: Step,
    total: Option<(u64, u64)>,
    failed: u64,
    current: Option<PathBuf>,
    said: Option<Duration>,
    measured: Measured,
    spent: Duration,
    shown: Speed,
    read: Speed,
    skipped: Speed,
}

/// What was done when speeds were last measured.
#[derive(Debug)]
struct Measured {
    at: Duration,
    bytes: u64,
    unchanged: u64,
}

/// Bytes over time, the older the less they count.
#[derive(Debug, Default)]
struct Speed {
    bytes: f64,
    seconds: f64,
}

impl Speed {
    fn add(&mut self, bytes: u64, seconds: f64, memory: f64) {
        let fade = (-seconds / memory).exp();
        // A number of bytes below 2^53 is exact, and an estimate does not mind the others.
        self.bytes = self.bytes * fade + bytes as f64;
        self.seconds = self.seconds * fade + seconds;
    }

    fn per_second(&self) -> Option<f64> {
        (self.seconds > 0.0 && self.bytes > 0.0).then(|| self.bytes / self.seconds)
    }
}

impl Tracker {
    /// Starts at nothing.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            done: Step::default(),
            total: None,
            failed: 0,
            current: None,
            said: None,
            measured: Measured { at: now, bytes: 0, unchanged: 0 },
            spent: Duration::ZERO,
            shown: Speed::default(),
            read: Speed::default(),
            skipped: Speed::default(),
        }
    }

    /// Adds a step; returns a picture when it is time for one.
    pub fn step(&mut self, step: &Step, now: Duration) -> Option<Progress> {
        self.done.add(step);
        self.measure(now);
        let is_due = self.said.is_none_or(|said| now.saturating_sub(said) >= SAY_EVERY);
        is_due.then(|| {
            self.said = Some(now);
            self.picture()
        })
    }

    /// Sets how much there is in all.
    pub fn set_total(&mut self, files: u64, bytes: u64) {
        self.total = Some((files, bytes));
    }

    /// Names the file that is being worked on.
    pub fn set_current(&mut self, path: &Path) {
        self.current = Some(path.to_path_buf());
    }

    /// Counts an item that could not be done.
    pub fn count_failure(&mut self) {
        self.failed += 1;
    }

    /// Returns the picture as it is now.
    #[must_use]
    pub fn picture(&self) -> Progress {
        Progress {
            files: self.done.files,
            folders: self.done.folders,
            files_total: self.total.map(|(files, _)| files),
            bytes: self.done.bytes,
            bytes_total: self.total.map(|(_, bytes)| bytes),
            bytes_unchanged: self.done.bytes_unchanged,
            bytes_known: self.done.bytes_known,
            bytes_stored: self.done.bytes_stored,
            bytes_per_second: self.shown.per_second().and_then(whole),
            eta_seconds: self.seconds_left().and_then(whole),
            current: self.current.as_deref().map(WirePath::from),
            failed_count: self.failed,
        }
    }

    /// Returns what was done.
    #[must_use]
    pub fn done(&self) -> &Step {
        &self.done
    }

    fn measure(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.measured.at);
        if elapsed < MEASURE_EVERY {
            return;
        }
        let elapsed = elapsed.min(GAP_MAX);
        let skipped = self.done.bytes_unchanged.saturating_sub(self.measured.unchanged);
        let read = self.done.bytes.saturating_sub(self.measured.bytes).saturating_sub(skipped);
        let seconds = elapsed.as_secs_f64();
        self.shown.add(read.saturating_add(skipped), seconds, SHOWN_SECONDS);
        // Of a time in which both happened, what is skipped gets no more than it is known to need: reading is the
        // slow part, and is what the guess depends on.
        let for_skipped = match (read, self.skipped.per_second()) {
            (0, _) => seconds,
            (_, Some(speed)) => (skipped as f64 / speed).min(seconds),
            (_, None) => 0.0,
        };
        if for_skipped > 0.0 && skipped > 0 {
            self.skipped.add(skipped, for_skipped, LEARNED_SECONDS);
        }
        if read > 0 {
            self.read.add(read, seconds - for_skipped, LEARNED_SECONDS);
        } else if skipped == 0 {
            // Nothing moved: whatever it waits for is slow.
            self.read.add(0, seconds, LEARNED_SECONDS);
        }
        self.spent += elapsed;
        self.measured = Measured { at: now, bytes: self.done.bytes, unchanged: self.done.bytes_unchanged };
    }

    fn seconds_left(&self) -> Option<f64> {
        let (_, total) = self.total?;
        let left = total.saturating_sub(self.done.bytes);
        if left == 0 {
            return Some(0.0);
        }
        if self.spent < LEARN_AT_LEAST || self.done.bytes == 0 {
            return None;
        }
        let unchanged = self.done.bytes_unchanged.min(self.done.bytes);
        let share_skipped = unchanged as f64 / self.done.bytes as f64;
        let time_for = |share: f64, speed: &Speed| {
            if share <= 0.0 { Some(0.0) } else { Some(left as f64 * share / speed.per_second()?) }
        };
        let reading = time_for(1.0 - share_skipped, &self.read)?;
        // A speed of skipping that was never seen alone is too fast to matter beside the reading.
        let skipping = time_for(share_skipped, &self.skipped).unwrap_or(0.0);
        Some(reading + skipping)
    }
}

/// Rounds to a whole number; `None` for what is none or too large to mean anything.
fn whole(value: f64) -> Option<u64> {
    Duration::try_from_secs_f64(value.round()).ok().map(|whole| whole.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn read(bytes: u64) -> Step {
        Step { bytes, ..Step::default() }
    }

    fn skip(bytes: u64) -> Step {
        Step { bytes, bytes_unchanged: bytes, ..Step::default() }
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(1_000_000 + milliseconds)
    }

    #[test]
    fn a_thousand_steps_a_second_become_four_pictures() {
        let mut tracker = Tracker::new(at(0));
        let pictures = (0..5000).filter(|step| tracker.step(&read(1), at(*step)).is_some()).count();
        assert_eq!(pictures, 20);
        assert_eq!(tracker.picture().bytes, 5000, "what is not said is counted");
    }

    #[test]
    fn without_a_total_there_is_no_guess() {
        let mut tracker = Tracker::new(at(0));
        for second in 1..60 {
            tracker.step(&read(MIB), at(second * 1000));
        }
        assert_eq!(tracker.picture().eta_seconds, None);
        assert_eq!(tracker.picture().bytes_per_second, Some(MIB));
    }

    #[test]
    fn a_steady_read_is_guessed_exactly() {
        let mut tracker = Tracker::new(at(0));
        tracker.set_total(1, 100 * MIB);
        assert_eq!(tracker.picture().eta_seconds, None, "nothing was seen yet");
        for second in 1..=40 {
            tracker.step(&read(MIB), at(second * 1000));
        }
        assert_eq!(tracker.picture().eta_seconds, Some(60));
    }

    #[test]
    fn skipped_bytes_do_not_make_the_rest_look_fast() {
        let mut tracker = Tracker::new(at(0));
        tracker.set_total(1, 2000 * MIB);
        // Half of the data is unchanged and passes in a second, the other half is read at 10 MiB a second.
        tracker.step(&skip(500 * MIB), at(1000));
        for second in 1..=50 {
            tracker.step(&read(10 * MIB), at(1000 + second * 1000));
        }
        let eta = tracker.picture().eta_seconds.expect("both speeds are known");
        // Left are 500 MiB to skip, one second, and 500 MiB to read, fifty seconds.
        assert!((48..=54).contains(&eta), "{eta}");
    }

    #[test]
    fn a_pause_does_not_count_as_slowness() {
        let mut tracker = Tracker::new(at(0));
        tracker.set_total(1, 200 * MIB);
        for second in 1..=50 {
            tracker.step(&read(MIB), at(second * 1000));
        }
        let before = tracker.picture().eta_seconds.expect("it is known");
        tracker.step(&read(MIB), at(3_600_000));
        let after = tracker.picture().eta_seconds.expect("it is known");
        assert!(after < before + before / 4, "{before} became {after}");
    }

    #[test]
    fn what_is_done_takes_no_time() {
        let mut tracker = Tracker::new(at(0));
        tracker.set_total(1, MIB);
        tracker.step(&read(MIB), at(1));
        assert_eq!(tracker.picture().eta_seconds, Some(0));
    }
}
