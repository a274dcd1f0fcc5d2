//! The third decider: may jobs run now, and how fast?
//!
//! First what holds the whole daemon: somebody's pause, and a full disk. Then what holds one job: the state of the
//! machine ([`readings`]), measured by what the configuration says about it ([`policy`]); [`rules`] compares the two.
//! Where readings come from is behind [`Probe`]; everything else here is pure.

#[cfg(target_os = "linux")]
pub mod bus;
pub mod files;
pub mod kind;
pub mod policy;
pub mod probe;
pub mod readings;
pub mod rules;

use std::time::Duration;

use backup_proto::job::{Verdict, VerdictKind};
use backup_proto::status::Pause;
use jiff::Timestamp;

pub use files::FileProbe;
pub use kind::Kind;
pub use policy::Policy;
pub use probe::{Probe, ScriptedProbe};
pub use readings::{Power, Reading, Readings, Seen};
pub use rules::{Closed, Ruling, Subject};

use crate::store::Shortage;
use crate::supervisor::verdict;

/// How often a disk that is full is looked at.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How often the machine is looked at while a job runs, or waits for the machine. Otherwise nobody looks.
pub const MACHINE_EVERY: Duration = Duration::from_secs(5);

/// Says whether jobs may run at all.
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

#[cfg(test)]
mod tests;
