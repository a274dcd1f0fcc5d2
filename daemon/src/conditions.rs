//! The third decider: may jobs run now?
//!
//! So far there are two conditions: a pause of the whole daemon, and room for its state. Readings of power, network
//! and load will join them here.

use std::time::Duration;

use backup_proto::job::{Verdict, VerdictKind};
use backup_proto::status::Pause;
use jiff::Timestamp;

use crate::store::Shortage;
use crate::supervisor::verdict;

/// How often a disk that is full is looked at.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Says whether jobs may run.
#[must_use]
pub fn decide(paused: Option<&Pause>, shortage: Option<&Shortage>, now: Timestamp) -> Option<Verdict> {
    is_paused(paused, now).or_else(|| shortage.map(no_room))
}

/// The sentence holds no amounts: it is the same for as long as it is true.
fn no_room(shortage: &Shortage) -> Verdict {
    let folder = shortage.folder.display();
    let sentence = format!(
        "The disk that holds the daemon's state in {folder} is full; it is looked at every {} seconds and goes on when there is room.",
        LOOK_AGAIN.as_secs()
    );
    verdict(VerdictKind::Conditions, sentence, None)
}

fn is_paused(paused: Option<&Pause>, now: Timestamp) -> Option<Verdict> {
    let pause = paused.filter(|pause| pause.until.is_none_or(|until| until > now))?;
    let sentence = match pause.until {
        Some(until) => format!("The whole daemon is paused until {until:.0}."),
        None => "The whole daemon is paused; `backupctl resume` lets it go on.".to_owned(),
    };
    Some(verdict(VerdictKind::Paused, sentence, pause.until))
}
