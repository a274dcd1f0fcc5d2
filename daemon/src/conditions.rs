//! The third decider: may jobs run now?
//!
//! So far one condition exists, a pause of the whole daemon. Readings of power, network and load will join it here.

use backup_proto::job::{Verdict, VerdictKind};
use backup_proto::status::Pause;
use jiff::Timestamp;

use crate::supervisor::verdict;

/// Says whether jobs may run.
#[must_use]
pub fn decide(paused: Option<&Pause>, now: Timestamp) -> Option<Verdict> {
    let pause = paused.filter(|pause| pause.until.is_none_or(|until| until > now))?;
    let sentence = match pause.until {
        Some(until) => format!("The whole daemon is paused until {until:.0}."),
        None => "The whole daemon is paused; `backupctl resume` lets it go on.".to_owned(),
    };
    Some(verdict(VerdictKind::Paused, sentence, pause.until))
}
