//! Waiting for something that another process does, the one place where tests look at real time.
//!
//! Time ends a wait that would never end; it never decides whether a test passes in time.

use std::time::{Duration, Instant};

/// How long a wait may take before the test is given up: far longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The pause between two looks.
const STEP: Duration = Duration::from_millis(5);

/// Looks again and again until there is an answer.
///
/// # Panics
/// When there is still none after two minutes, with what was waited for.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    #[expect(clippy::disallowed_methods, reason = "only ends a wait that would never end")]
    let start = Instant::now();
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(STEP);
    }
}

/// Does something and says how long it took, for a line that is printed; nothing may depend on it.
pub fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    #[expect(clippy::disallowed_methods, reason = "it is printed and nothing depends on it")]
    let start = Instant::now();
    let made = act();
    (made, start.elapsed())
}

/// Does something again and again for so long, with the number of the round; at least once, however slow it is.
pub fn repeatedly(duration: Duration, mut round: impl FnMut(u64)) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "only ends a loop that would never end")]
    let start = Instant::now();
    let mut count = 0;
    loop {
        round(count);
        count += 1;
        if start.elapsed() >= duration {
            return count;
        }
    }
}

/// Lets time pass until a moment that a seed has chosen, for what may happen at any moment.
pub fn for_chosen(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_until_there_is_an_answer() {
        let mut looks = 0;
        let answer = until("the third look", || {
            looks += 1;
            (looks == 3).then_some("found")
        });
        assert_eq!((answer, looks), ("found", 3));
    }
}
